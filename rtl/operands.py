# SPDX-License-Identifier: Apache-2.0
"""The signals of a layer's ops, each as it stands in some cycle of beat 0."""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Signal, Value

from fxsim.program import Constant, Dot, Program, Slice

from .control import Flow, Phase, Registers, Relay
from .fixed import shape
from .schedule import LayerSchedule


class Operands:
    """What the ops of a layer read: signals that pass by, vectors that stay, and this beat's part of them."""

    def __init__(self, m: Module, plan: LayerSchedule) -> None:
        self.m, self.plan = m, plan
        self.program: Program = plan.program
        self.fold = plan.fold
        self.registers = Registers()
        self.flows: dict[str, Flow] = {}
        self.kept: dict[str, list[Value]] = {}  # whole vectors: held input, states, collected ops
        self.phases: list[Phase] = []
        self._chosen: dict[tuple[str, int, int], list[Value]] = {}

    def flow(self, name: str, cycle: int, values: list[Value], stands: int = 1) -> Flow:
        """Signals that pass by; ``stands``: cycles for which they do not change."""
        if self.plan.chained:
            return Relay(self.registers, name, cycle, values, self.phases[0], self.plan.interval, stands)
        return Flow(self.registers, name, cycle, values)

    def local(self, segment: int, cycle: int) -> int:
        """A cycle counted from the start of a segment."""
        return cycle - self.plan.segments[segment]

    def cycle(self, name: str, segment: int) -> int:
        op = self.program[name]
        if isinstance(op, Slice):
            return self.cycle(op.arg, segment)
        if name in self.flows and self.plan.segment[name] == segment:
            return self.flows[name].cycle
        return self.plan.segments[segment]

    def values(self, name: str, segment: int, cycle: int) -> list[Value]:
        """The signals of an operand as they stand in ``cycle`` of beat 0."""
        op, size = self.program[name], self.program.sizes[name]
        if isinstance(op, Constant):
            constants: list[Value] = [Const(int(v), shape(op.type)) for v in op.values.data]
            return constants if size == 1 else self.choose(name, constants, segment, cycle)
        if name in self.plan.parked:
            return self.choose(name, self.kept[name], segment, cycle)
        if isinstance(op, Slice) and op.arg in self.plan.parked:
            return self.choose(name, self.kept[op.arg][op.start : op.stop], segment, cycle)
        if isinstance(op, Slice) and self.plan.segment[name] == segment:
            whole = self.program[op.arg]
            if isinstance(whole, Dot):
                # A beat of a product holds this beat's units of every gate.
                lanes = self.plan.lanes if self.fold.beats > 1 else 1
                units = self.plan.units if self.fold.beats > 1 else 1
                flow = self.flows[op.arg].at(cycle)
                return flow[op.start // units * lanes : op.stop // units * lanes]
            if op.arg in self.kept:
                return self.choose(name, self.kept[op.arg][op.start : op.stop], segment, cycle)
            return self.values(op.arg, segment, cycle)[op.start : op.stop]
        if name in self.flows and self.plan.segment[name] == segment:
            return self.flows[name].at(cycle)
        return self.choose(name, self.kept[name], segment, cycle)

    def choose(self, name: str, whole: list[Value], segment: int, cycle: int) -> list[Value]:
        """This beat's elements of a whole vector, chosen in the cycle before."""
        if self.fold.beats == 1:
            return whole
        key = (name, segment, cycle)
        if key not in self._chosen:
            lanes = len(whole) // self.fold.beats
            index = self.phases[segment].index(self.local(segment, cycle) - 1)
            chosen: list[Value] = []
            for u in range(lanes):
                signal = Signal(whole[u].shape(), name=f"{name}_at{cycle}_{u}", reset_less=True)
                self.m.d.sync += signal.eq(Array(whole[u::lanes])[index])
                chosen.append(signal)
            self._chosen[key] = chosen
        return self._chosen[key]

    def standing(self, name: str, cycle: int) -> list[Value]:
        """An operand that stands from ``cycle`` on until the next token's."""
        if isinstance(self.program[name], Constant):
            return self.values(name, 0, cycle)
        key = f"{name}_from{cycle}"
        if key not in self.kept:
            before = self.values(name, 0, cycle - 1)
            self.kept[key] = self.registers.captured(before, self.phases[0].strobe(cycle - 1), key)
        return self.kept[key]

    def later(self, value: Value, name: str, segment: int, when: int | None) -> Value:
        """``value`` one cycle later; with ``when``, that of the last step's cycle ``when``."""
        register = Signal(value.shape(), name=name, reset_less=True)
        if when is None:
            self.registers.add(register, value)
        else:
            with self.m.If(self.phases[segment].strobe(self.local(segment, when))):
                self.m.d.sync += register.eq(value)
        return register
