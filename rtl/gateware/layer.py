# SPDX-License-Identifier: Apache-2.0
"""One layer as hardware: engines, lanes and states of a scheduled program behind a stream."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from fxsim.program.fixed import Fixed
from fxsim.program.ops import AnyOp, Concat, Dot, Elementwise, Leaf, Lookup, Op, Reduction, Slice

from ..plan.folds import engine_fold
from ..plan.reads import RESULT, Read
from ..plan.schedule import LayerSchedule
from .control import Flow, Phase
from .elementwise import exact
from .fixed import cast, shape
from .lookup import Tables
from .matvec import MatVec
from .reduction import Reductions
from .states import States
from .stream import Beat, Buffer, elements


@dataclass(frozen=True)
class Tap:
    """A window on an op for tests: ``data`` holds ``count`` elements whenever ``valid``."""

    op: str
    valid: Value
    data: Value
    width: int
    signed: bool
    count: int
    beats: int


class LayerCore(wiring.Component):
    """A layer: takes one step's vector, gives one step's (or, without ``return_sequences``, one sequence's) vector.

    Latency: ``plan.latency`` edges from the one that takes a token to the first at which its result stands, 1 more if
    ``registered``; a token enters every ``plan.interval`` cycles as long as the buffer behind has room.

    Parameters
    ----------
    plan: the schedule. return_sequences: whether every step's result leaves. depth: beats the output buffer holds.
    registered: whether the output comes from that buffer's registers alone.

    Members
    -------
    i : In(stream.Signature(Beat(...))), o : Out(stream.Signature(Beat(...)))
    """

    def __init__(self, plan: LayerSchedule, return_sequences: bool, depth: int, registered: bool) -> None:
        self.plan, self.return_sequences, self.depth, self.registered = plan, return_sequences, depth, registered
        program = plan.program
        self.bits_in = program.input.elements * program.input.type.width
        self.bits_out = program.elements * program.type.width
        super().__init__(
            {"i": In(stream.Signature(Beat(self.bits_in))), "o": Out(stream.Signature(Beat(self.bits_out)))}
        )
        # Built here, so that the taps are known to whoever instantiates the layer.
        self._module = m = Module()
        m.submodules.buffer = self.buffer = Buffer(self.bits_out, self.depth, registered, return_sequences)
        wiring.connect(m, self.buffer.o, wiring.flipped(self.o))
        body = _Body(m, plan, self.i, self.buffer, return_sequences)
        body.build()
        self.taps: list[Tap] = body.taps

    def elaborate(self, platform: object) -> Module:
        return self._module


class _Body(States):
    def __init__(self, m: Module, plan: LayerSchedule, i: stream.Interface, buffer: Buffer, sequences: bool) -> None:
        super().__init__(m, plan)
        self.i, self.buffer, self.sequences = i, buffer, sequences
        self.taps: list[Tap] = []
        self.engines: dict[str, MatVec] = {}
        self.tables = Tables(m, self.registers, plan, self.names)
        self.reductions = Reductions(self.registers, plan)

    # -- order of things -----------------------------------------------------------------------------------------------
    def build(self) -> None:
        plan, program = self.plan, self.program
        self.accept()
        self.prepare()
        for op in program.ops:
            while plan.segment[op.name] >= len(self.phases):
                self.open_segment(len(self.phases))
            self.add(op)
        for state in program.states:
            self.update(state)
        self.emit()
        self.registers.finish(self.m)

    def accept(self) -> None:
        """Take a token when the last one's interval is over and its result will find room."""
        m, plan, i = self.m, self.plan, self.i
        take, go = self.take, Signal(name="start0")
        room = Signal(range(self.buffer.depth + 1), init=self.buffer.depth)
        wait = Signal(range(max(plan.interval, 2)))
        m.d.comb += [i.ready.eq((wait == 0) & (room != 0)), take.eq(i.valid & i.ready)]
        m.d.sync += [go.eq(take), wait.eq(Mux(take, plan.interval - 1, Mux(wait == 0, 0, wait - 1)))]
        x = Signal(len(i.payload.data), reset_less=True)
        last, abort = (Signal(name=name, reset_less=True) for name in ("last0", "abort0"))
        with m.If(take):
            m.d.sync += [x.eq(i.payload.data), last.eq(i.payload.last), abort.eq(i.payload.abort)]
        # Room is spoken for when a token that gives a result enters, and free again when the result leaves.
        gives = Const(1, 1) if self.sequences else i.payload.last & ~i.payload.abort
        m.d.sync += room.eq(room - (take & gives) + self.buffer.pop)
        self.phases.append(Phase(m, self.registers, "phase0", self.fold, go, last, abort))
        op = self.program.input
        if plan.ways == 1:
            size, signed = op.type.width, op.type.signed
            self.taps.append(Tap(op.name, take, i.payload.data, size, signed, op.elements, 1))
        values = elements(x, op.elements, op.type.width, op.type.signed)
        if plan.flows_input:
            self.flows[op.name] = self.flow(op.name, 0, values, plan.interval)
        else:
            self.kept[op.name] = values

    def open_segment(self, number: int) -> None:
        """A phase that starts when the operands of its products are whole."""
        m, plan, before = self.m, self.plan, self.phases[-1]
        time = plan.segments[number] - plan.segments[number - 1] - plan.tail - 1
        start = Signal(name=f"start{number}")
        m.d.sync += start.eq(before.final(time))
        last, abort = Signal(name=f"last{number}"), Signal(name=f"abort{number}")
        m.d.sync += [last.eq(before.ends(time)), abort.eq(before.broken(time))]
        self.phases.append(Phase(m, self.registers, f"phase{number}", self.fold, start, last, abort))

    # -- ops -----------------------------------------------------------------------------------------------------------
    def add(self, op: AnyOp) -> None:
        segment, reads = self.plan.segment[op.name], self.plan.reads
        if isinstance(op, Slice) and op.name in self.plan.collected:
            read = reads[op.name, op.arg]
            part = self.flow(op.name, read.cycle, self.values(read))
            self.store(self.kept[op.name], part, segment, None)
        if isinstance(op, Leaf | Slice):
            return
        if isinstance(op, Dot):
            flow = self.dot(op, segment)
        elif op.name in self.plan.absorbed:
            dot, start = self.plan.absorbed[op.name].dot, self.plan.absorbed[op.name].start
            results = self.engines[dot].result[start : start + self.program.sizes[op.name]]
            flow = self.flow(op.name, self.plan.slots[op.name].cycle, list(results))
        elif isinstance(op, Concat):
            parts = [reads[op.name, arg] for arg in op.args]
            flow = self.flow(op.name, parts[0].cycle, [value for read in parts for value in self.values(read)])
        elif isinstance(op, Reduction):
            slot = self.plan.slots[op.name]
            results = self.reductions.build(op, self.values(reads[op.name, op.args[0]]))
            flow = self.flow(op.name, slot.cycle, results)
        else:
            flow = self.lane(op, segment)
        self.flows[op.name] = flow
        if op.name in self.plan.collected:
            self.store(self.kept[op.name], flow, segment, None)
        self.tap(op, flow, segment)

    def dot(self, op: Dot, segment: int) -> Flow:
        plan, m = self.plan, self.m
        engine = plan.engines[op.name]
        arg = self.program[op.arg]
        sums: dict[int, tuple[Fixed, Fixed]] = {}
        absorbed = {name: part for name, part in plan.absorbed.items() if part.dot == op.name}
        for name, part in absorbed.items():
            types = [plan.bounds[arg].narrow(self.program[arg].type) for arg in (name, part.other)]
            sums |= {part.start + k: (types[0], types[1]) for k in range(self.program.sizes[name])}
        fold, parked = engine_fold(self.program, op, self.fold), op.name in plan.parked
        unit = MatVec(op, plan.bounds[op.name], engine, fold, plan.units, arg.type, plan.bounds[op.arg], parked, sums)
        m.submodules[self.names.take(op.name, "dot")] = self.engines[op.name] = unit
        for name, part in absorbed.items():
            values = self.values(plan.reads[name, part.other])
            m.d.comb += [unit.other[part.start + k].eq(value) for k, value in enumerate(values)]
        phase, start = self.phases[segment], self.local(segment, engine.start)
        read = plan.reads[op.name, op.arg]
        x = self.standing(read) if read.kept else self.values(read)
        m.d.comb += [a.eq(b) for a, b in zip(unit.x, x, strict=True)]
        m.d.comb += [unit.start.eq(phase.first(start)), unit.last.eq(phase.ends(start))]
        if parked:
            self.kept[op.name] = list(unit.result)
        return self.flow(op.name, engine.ready + parked, list(unit.result))

    def lane(self, op: Elementwise, segment: int) -> Flow:
        plan, m = self.plan, self.m
        slot = plan.slots[op.name]
        size = self.program.sizes[op.name]
        count = size // self.fold.beats if size == plan.units else size
        read = self.program[op.args[0]].args if slot.through else op.args
        operands = [self.operand(plan.reads[op.name, arg]) for arg in read]
        kind = shape(plan.bounds[op.name].narrow(op.type))
        results: list[Value] = []
        for u in range(count):
            args = [values[u] if len(values) > 1 else values[0] for values in operands]
            result = Signal(kind, name=f"{op.name}_{u}")
            if isinstance(op, Lookup) and slot.through:
                value = self.tables.read_through(op, args)
            elif isinstance(op, Lookup):
                value = self.tables.read(op, args[0])
            else:
                value, frac = exact(m, plan, op, args, f"{op.name}_exact{u}")
                for stage in range(slot.start, slot.cycle):
                    # A held op keeps its last register until the next step.
                    last = op.name in plan.held and stage == slot.cycle - 1
                    value = self.later(value, f"{op.name}_product{u}", segment, stage if last else None)
                value = cast(value, frac, op.type)
            m.d.comb += result.eq(value)
            results.append(result)
        return self.flow(op.name, slot.cycle, results)

    def operand(self, read: Read) -> list[Value]:
        """An operand of a lane op; a held one may keep it until the next step."""
        values = self.values(read)
        if not read.kept:
            return values
        name = f"{read.reader}_{read.operand}_held"
        return [self.later(v, f"{name}{u}", read.segment, read.cycle) for u, v in enumerate(values)]

    # -- what leaves --------------------------------------------------------------------------------------------------
    def emit(self) -> None:
        """Put the result of each step, or of each whole sequence, into the output buffer."""
        m, program, name = self.m, self.program, self.program.output
        segment = self.plan.segment[name]
        cycle = self.plan.result
        flow = self.flow(name, cycle, self.values(self.plan.reads[RESULT, name]))
        phase, time = self.phases[segment], self.local(segment, flow.cycle)
        ends, broken = phase.ends(time), phase.broken(time)
        type = program.type
        values = []
        for k, value in enumerate(self.whole(name, flow, segment)):
            sized = Signal(shape(type), name=f"out{k}")
            m.d.comb += sized.eq(value)
            values.append(sized)
        push = phase.final(time) if self.sequences else phase.final(time) & ends & ~broken
        m.d.comb += [
            self.buffer.push.eq(push),
            self.buffer.beat.data.eq(Cat(*values)),
            self.buffer.beat.last.eq(ends),
            self.buffer.beat.abort.eq(broken),
        ]

    def tap(self, op: Op, flow: Flow, segment: int) -> None:
        """Show an op's results to tests, where its beats hold them in the op's own order."""
        if self.plan.ways > 1:
            return  # tests look at sequences one after another
        if any(part.dot == op.name for part in self.plan.absorbed.values()):
            return  # it has no value of its own
        size, count = self.program.sizes[op.name], len(flow.values)
        parked = op.name in self.plan.parked
        whole = size == count and (self.fold.beats == 1 or parked)
        if whole or (size == self.plan.units and count * self.fold.beats == size):
            kind = flow.values[0].shape()
            phase, time = self.phases[segment], self.local(segment, flow.cycle)
            valid = phase.first(time) if parked else phase.strobe(time)
            self.taps.append(Tap(op.name, valid, Cat(*flow.values), kind.width, kind.signed, count, size // count))
