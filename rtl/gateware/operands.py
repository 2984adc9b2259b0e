# SPDX-License-Identifier: Apache-2.0
"""The signals of a layer's ops, each as it stands in some cycle of beat 0."""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Signal, Value

from fxsim.program.ops import Constant, Dot
from fxsim.program.program import Program

from ..plan.reads import Origin, Read, Way
from ..plan.schedule import LayerSchedule
from .control import Flow, Phase, Registers, Relay
from .fixed import shape


class Operands:
    """What the ops of a layer read: signals that pass by, vectors that stay, and this beat's part of them."""

    def __init__(self, m: Module, plan: LayerSchedule) -> None:
        self.m, self.plan = m, plan
        self.program: Program = plan.program
        self.fold = plan.fold
        self.registers = Registers()
        self.flows: dict[str, Flow] = {}
        self.kept: dict[str, list[Value]] = {}  # whole vectors: held input, states, collected ops
        self.opened: dict[str, list[Signal]] = {}  # states before their register
        self.phases: list[Phase] = []
        self._chosen: dict[tuple[str, Origin, int, int], list[Value]] = {}

    def flow(self, name: str, cycle: int, values: list[Value], stands: int = 1) -> Flow:
        """Signals that pass by; ``stands``: cycles for which they do not change."""
        if self.plan.chained:
            return Relay(self.registers, name, cycle, values, self.phases[0], self.plan.interval, stands)
        return Flow(self.registers, name, cycle, values)

    def when(self, flow: Flow, segment: int, later: int = 0) -> tuple[Phase, int]:
        """The phase of a segment, and the cycle in it in which a flow stands, or one so much ``later``."""
        return self.phases[segment], self.local(segment, flow.cycle + later)

    def local(self, segment: int, cycle: int) -> int:
        """A cycle counted from the start of a segment."""
        return cycle - self.plan.segments[segment]

    def values(self, read: Read) -> list[Value]:
        """The signals of an operand as its reader sees them, in ``read.cycle`` of beat 0."""
        found = read.origin
        if isinstance(op := self.program[found.op], Constant):
            constants: list[Value] = [Const(int(v), shape(op.type)) for v in op.values.data[found.start : found.stop]]
            return self.choose(read, constants) if found.way is Way.CHOSEN else constants
        if found.way is Way.CHOSEN:
            return self.choose(read, self.kept[found.op][found.start : found.stop])
        if found.way is Way.STANDING:
            return self.kept[found.op][found.start : found.stop]
        if found.way is Way.OPENED:
            return list(self.opened[found.op])
        passing, start, stop = self.flows[found.op].at(read.cycle), found.start, found.stop
        if self.fold.beats > 1 and isinstance(op, Dot):
            # A beat of a product holds this beat's units of every gate.
            lanes, units = self.plan.lanes, self.plan.units
            start, stop = start // units * lanes, stop // units * lanes
        return passing[start:stop]

    def choose(self, read: Read, whole: list[Value]) -> list[Value]:
        """This beat's elements of a whole vector, chosen in the cycle before."""
        name, _, segment, cycle = key = read.operand, read.origin, read.segment, read.cycle
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

    def standing(self, read: Read) -> list[Value]:
        """An operand that stands until the next token's, from the cycle on after that in which it is looked at."""
        if isinstance(self.program[read.origin.op], Constant):
            return self.values(read)
        key = f"{read.operand}_from{read.cycle + 1}"
        if key not in self.kept:
            self.kept[key] = self.registers.captured(self.values(read), self.phases[0].strobe(read.cycle), key)
        return self.kept[key]

    def later(self, value: Value, name: str, segment: int, when: int | None) -> Value:
        """``value`` one cycle later; with ``when``, that of the last step's cycle ``when``."""
        if when is None:
            return self.registers.later(value, name)
        register = Signal(value.shape(), name=name, reset_less=True)
        with self.m.If(self.phases[segment].strobe(self.local(segment, when))):
            self.m.d.sync += register.eq(value)
        return register
