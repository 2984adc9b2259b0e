# SPDX-License-Identifier: Apache-2.0
"""The ops of a layer as hardware, each from its operands."""

from __future__ import annotations

from amaranth.hdl import Signal, Value

from fxsim.program.fixed import Fixed
from fxsim.program.ops import Concat, Dot, Elementwise, Lookup, Reduction

from ..plan.folds import engine_fold
from ..plan.names import Names
from ..plan.reads import Read
from .control import Flow
from .elementwise import exact
from .fixed import cast, shape
from .lookup import Tables
from .matvec import MatVec
from .operands import Operands
from .reduction import Reductions


class Datapath:
    """Engines, lanes, tables and reductions of a layer; ``names``: of submodules, in use so far."""

    def __init__(self, operands: Operands, names: Names) -> None:
        self.operands, self.names = operands, names
        self.m, self.plan, self.program = operands.m, operands.plan, operands.program
        self.engines: dict[str, MatVec] = {}
        self.tables = Tables(self.m, operands.registers, self.plan, names)
        self.reductions = Reductions(operands.registers, self.plan)

    def build(self, op: Dot | Elementwise | Reduction | Concat) -> Flow:
        """The results of an op that computes something."""
        plan, operands = self.plan, self.operands
        if isinstance(op, Dot):
            return self.dot(op)
        if op.name in plan.absorbed:
            part = plan.absorbed[op.name]
            results = self.engines[part.dot].result[part.start : part.start + self.program.sizes[op.name]]
            return operands.flow(op.name, plan.slots[op.name].cycle, results)
        if isinstance(op, Concat):
            parts = [plan.reads[op.name, arg] for arg in op.args]
            values = [value for read in parts for value in operands.values(read)]
            return operands.flow(op.name, parts[0].cycle, values)
        if isinstance(op, Reduction):
            results = self.reductions.build(op, operands.values(plan.reads[op.name, op.args[0]]))
            return operands.flow(op.name, plan.slots[op.name].cycle, results)
        return self.lanes(op)

    def dot(self, op: Dot) -> Flow:
        """A matrix product in an engine of its own, which adds other terms to the rows of sums that it absorbs."""
        plan, m, operands, segment = self.plan, self.m, self.operands, self.plan.segment[op.name]
        engine = plan.engines[op.name]
        arg = self.program[op.arg]
        sums: dict[int, tuple[Fixed, Fixed]] = {}
        absorbed = {name: part for name, part in plan.absorbed.items() if part.dot == op.name}
        for name, part in absorbed.items():
            types = [plan.bounds[arg].narrow(self.program[arg].type) for arg in (name, part.other)]
            sums |= {part.start + k: (types[0], types[1]) for k in range(self.program.sizes[name])}
        fold, parked = engine_fold(self.program, op, plan.fold), op.name in plan.parked
        unit = MatVec(op, plan.bounds[op.name], engine, fold, plan.units, arg.type, plan.bounds[op.arg], parked, sums)
        m.submodules[self.names.take(op.name, "dot")] = self.engines[op.name] = unit
        for name, part in absorbed.items():
            values = operands.values(plan.reads[name, part.other])
            m.d.comb += [unit.other[part.start + k].eq(value) for k, value in enumerate(values)]
        phase, start = operands.phases[segment], operands.local(segment, engine.start)
        read = plan.reads[op.name, op.arg]
        x = operands.standing(read) if read.kept else operands.values(read)
        m.d.comb += [a.eq(b) for a, b in zip(unit.x, x, strict=True)]
        m.d.comb += [unit.start.eq(phase.first(start)), unit.last.eq(phase.ends(start))]
        if parked:
            operands.kept[op.name] = list(unit.result)
        return operands.flow(op.name, engine.ready + parked, list(unit.result))

    def lanes(self, op: Elementwise) -> Flow:
        """An op on elements, once for each element of a beat."""
        plan = self.plan
        slot, size = plan.slots[op.name], self.program.sizes[op.name]
        count = size // plan.fold.beats if size == plan.units else size
        read = self.program[op.args[0]].args if slot.through else op.args
        vectors = [self.held(plan.reads[op.name, arg]) for arg in read]
        kind = shape(plan.bounds[op.name].narrow(op.type))
        results: list[Value] = []
        for u in range(count):
            result = Signal(kind, name=f"{op.name}_{u}")
            value = self.lane(op, u, [values[u] if len(values) > 1 else values[0] for values in vectors])
            self.m.d.comb += result.eq(value)
            results.append(result)
        return self.operands.flow(op.name, slot.cycle, results)

    def lane(self, op: Elementwise, u: int, args: list[Value]) -> Value:
        """One element of it."""
        slot = self.plan.slots[op.name]
        if isinstance(op, Lookup):
            return self.tables.read_through(op, args) if slot.through else self.tables.read(op, args[0])
        value, frac = exact(self.m, self.plan, op, args, f"{op.name}_exact{u}")
        for stage in range(slot.start, slot.cycle):
            # A held op keeps its last register until the next step.
            last = op.name in self.plan.held and stage == slot.cycle - 1
            segment = self.plan.segment[op.name]
            value = self.operands.later(value, f"{op.name}_product{u}", segment, stage if last else None)
        return cast(value, frac, op.type)

    def held(self, read: Read) -> list[Value]:
        """An operand of such an op, which may be kept until the next step."""
        values = self.operands.values(read)
        if not read.kept:
            return values
        name = f"{read.reader}_{read.operand}_held"
        return [self.operands.later(v, f"{name}{u}", read.segment, read.cycle) for u, v in enumerate(values)]
