# SPDX-License-Identifier: Apache-2.0
"""What a layer keeps: states from step to step, vectors from beat to beat."""

from __future__ import annotations

from amaranth.hdl import Const, Mux, Shape, Signal, Value

from fxsim.errors import FxsimError
from fxsim.program.ops import Dot, State

from ..plan.names import Names
from .control import Flow
from .fixed import shape
from .operands import Operands
from .state_memory import StateRing


class States:
    """The registers behind a layer's operands: those of its states, and of vectors that wait until they are whole.

    ``names``: of submodules, in use so far.
    """

    def __init__(self, operands: Operands, names: Names) -> None:
        self.operands, self.names = operands, names
        self.m, self.plan, self.fold = operands.m, operands.plan, operands.fold
        self.rings: dict[str, StateRing] = {}  # states of interleaved sequences

    def prepare(self, take: Value) -> None:
        """Registers of states and of collected vectors; ``take`` is high when a token enters."""
        kept, opened = self.operands.kept, self.operands.opened
        for op in self.plan.program.states:
            init = _initial(op)
            kind = shape(self.plan.bounds[op.name].narrow(op.type))
            if self.plan.ways > 1:
                self.add_ring(op, init, kind, take)
                continue
            kept[op.name] = [Signal(kind, name=f"{op.name}{k}", init=int(v)) for k, v in enumerate(init)]
            if op.name in self.plan.opened:
                opened[op.name] = [Signal(kind, name=f"{op.name}_next{k}") for k in range(op.elements)]
        for name in sorted(self.plan.collected):
            kind = shape(self.plan.bounds[name].narrow(self.plan.program[name].type))
            size = self.plan.program.sizes[name]
            kept[name] = [Signal(kind, name=f"whole_{name}{k}", reset_less=True) for k in range(size)]

    def add_ring(self, op: State, init: list[int], kind: Shape, take: Value) -> None:
        """The states of interleaved sequences, of which each token finds its own."""
        ring = self.rings[op.name] = StateRing(self.plan.ways, init, kind, self.fold.beats)
        self.m.submodules[self.names.take(f"ring_{op.name}", "ring")] = ring
        enters = self.plan.enters.get(op.name, 0)
        self.m.d.comb += ring.take.eq(self.operands.phases[0].first(enters - 1) if enters else take)
        if self.plan.flows_state:
            self.operands.flows[op.name] = self.operands.flow(op.name, enters, list(ring.now))
        else:
            self.operands.kept[op.name] = list(ring.now)

    def collect(self, name: str, flow: Flow) -> None:
        """Keep an op's elements, beat by beat, for later segments."""
        self.store(self.operands.kept[name], flow, self.plan.segment[name], None)

    def store(self, registers: list[Value], flow: Flow, segment: int, clear: list[int] | None) -> None:
        """Write each beat's elements to their registers; with ``clear``, initial values at the end of a sequence."""
        phase, time = self.operands.when(flow, segment)
        ends = phase.ends(time)
        values = flow.values * self.fold.beats
        if clear is not None:
            pairs = zip(clear, values, registers, strict=True)
            values = [Mux(ends, Const(init, register.shape()), value) for init, value, register in pairs]
        self.write(registers, values, flow, segment)

    def write(self, registers: list[Value], values: list[Value], flow: Flow, segment: int) -> None:
        """Registers take values in the beats of a flow, as many in each as the flow has elements."""
        m, lanes = self.m, len(flow.values)
        phase, time = self.operands.when(flow, segment)
        with m.If(phase.strobe(time)):
            if self.fold.beats == 1:
                m.d.sync += [register.eq(value) for register, value in zip(registers, values, strict=True)]
                return
            with m.Switch(phase.index(time)):
                for g in range(len(registers) // lanes):
                    with m.Case(g):
                        part = slice(g * lanes, (g + 1) * lanes)
                        pairs = zip(registers[part], values[part], strict=True)
                        m.d.sync += [register.eq(value) for register, value in pairs]

    def whole(self, name: str, flow: Flow, segment: int) -> list[Value]:
        """All elements of an op in the cycle of its last beat: earlier beats wait in registers."""
        if self.fold.beats == 1:
            return flow.values
        kept, key = self.operands.kept, f"whole:{name}"
        if key not in kept:
            kind, early = flow.values[0].shape(), len(flow.values) * (self.fold.beats - 1)
            kept[key] = [Signal(kind, name=f"next_{name}{k}", reset_less=True) for k in range(early)]
            self.write(kept[key], flow.values * (self.fold.beats - 1), flow, segment)
        return kept[key] + flow.values

    def update(self, state: State) -> None:
        """Give a state its next value; the last step of a sequence gives it its initial one."""
        m, operands = self.m, self.operands
        if state.update not in operands.flows:
            raise FxsimError(f"state {state.name!r}: its update {state.update!r} is not computed in the step")
        segment, flow = self.plan.segment[state.update], operands.flows[state.update]
        init = _initial(state)
        if state.name in self.rings:
            ring, (phase, time) = self.rings[state.name], operands.when(flow, segment)
            m.d.comb += [a.eq(b) for a, b in zip(ring.next, flow.values, strict=True)]
            m.d.comb += [
                ring.put.eq(phase.strobe(time)),
                ring.part.eq(1 << phase.index(time) if self.fold.beats > 1 else 1),
                ring.done.eq(phase.final(time)),
                ring.ends.eq(phase.ends(time)),
            ]
            return
        registers = operands.kept[state.name]
        if state.name in operands.opened:
            self.open_state(state, flow, segment, init)
            return
        read_whole = any(isinstance(op, Dot) and op.arg == state.name for op in self.plan.program.ops)
        if self.fold.beats == 1 or not read_whole:
            self.store(registers, flow, segment, init)
            return
        # A product still reads the old vector while the new one comes in: change all of it at once.
        values = self.whole(state.update, flow, segment)
        phase, time = operands.when(flow, segment)
        with m.If(phase.final(time)):
            m.d.sync += [
                register.eq(Mux(phase.ends(time), Const(v, register.shape()), value))
                for register, v, value in zip(registers, init, values, strict=True)
            ]

    def open_state(self, state: State, flow: Flow, segment: int, init: list[int]) -> None:
        """A state as it stands in the cycle in which it is new; its register only follows, for those who read later.

        The held registers that it is made of keep the last step's; the first step of a sequence has its initial value.
        """
        operands = self.operands
        phase, time = operands.when(flow, segment, -1)
        begins = Signal(name=f"{state.name}_begins", init=1)
        with self.m.If(phase.strobe(time)):
            self.m.d.sync += begins.eq(phase.ends(time))
        now, copy = operands.opened[state.name], operands.kept[state.name]
        for signal, register, v, value in zip(now, copy, init, flow.values, strict=True):
            self.m.d.comb += signal.eq(Mux(begins, Const(v, signal.shape()), value))
            operands.registers.add(register, signal)


def _initial(state: State) -> list[int]:
    return state.init.data.tolist() if state.init else [0] * state.elements
