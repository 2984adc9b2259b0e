# SPDX-License-Identifier: Apache-2.0
"""What a layer keeps: states from step to step, vectors from beat to beat."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Shape, Signal, Value

from fxsim.errors import FxsimError
from fxsim.program.ops import Dot, State

from ..plan.names import Names
from ..plan.schedule import LayerSchedule
from .control import Flow
from .fixed import shape
from .operands import Operands
from .state_memory import StateRing


class States(Operands):
    """The operands of a layer with the registers of its states."""

    def __init__(self, m: Module, plan: LayerSchedule) -> None:
        super().__init__(m, plan)
        self.take = Signal(name="take")  # high when a token enters
        self.names = Names(["buffer"])  # of the submodules
        self.rings: dict[str, StateRing] = {}  # states of interleaved sequences

    def prepare(self) -> None:
        """Registers of states and of vectors kept between segments."""
        for op in self.program.states:
            init = op.init.data.tolist() if op.init else [0] * op.elements
            kind = shape(self.plan.bounds[op.name].narrow(op.type))
            if self.plan.ways > 1:
                self.add_ring(op, init, kind)
                continue
            self.kept[op.name] = [Signal(kind, name=f"{op.name}{k}", init=int(v)) for k, v in enumerate(init)]
            if op.name in self.plan.opened:
                self.opened[op.name] = [Signal(kind, name=f"{op.name}_next{k}") for k in range(op.elements)]
        for name in sorted(self.plan.collected):
            kind = shape(self.plan.bounds[name].narrow(self.program[name].type))
            self.kept[name] = [
                Signal(kind, name=f"whole_{name}{k}", reset_less=True) for k in range(self.program.sizes[name])
            ]

    def add_ring(self, op: State, init: list[int], kind: Shape) -> None:
        """The states of interleaved sequences, of which each token finds its own."""
        ring = self.rings[op.name] = StateRing(self.plan.ways, init, kind, self.fold.beats)
        self.m.submodules[self.names.take(f"ring_{op.name}", "ring")] = ring
        enters = self.plan.enters.get(op.name, 0)
        self.m.d.comb += ring.take.eq(self.phases[0].first(enters - 1) if enters else self.take)
        if self.plan.flows_state:
            self.flows[op.name] = self.flow(op.name, enters, list(ring.now))
        else:
            self.kept[op.name] = list(ring.now)

    def store(self, registers: list[Value], flow: Flow, segment: int, clear: list[int] | None) -> None:
        """Write each beat's elements to their registers; with ``clear``, initial values at the end of a sequence."""
        m, phase = self.m, self.phases[segment]
        time = self.local(segment, flow.cycle)
        ends = phase.ends(time)
        lanes = len(flow.values)

        def value(k: int, u: int) -> Value:
            if clear is None:
                return flow.values[u]
            return Mux(ends, Const(clear[k], registers[k].shape()), flow.values[u])

        with m.If(phase.strobe(time)):
            if self.fold.beats == 1:
                m.d.sync += [register.eq(value(k, k)) for k, register in enumerate(registers)]
                return
            with m.Switch(phase.index(time)):
                for g in range(self.fold.beats):
                    with m.Case(g):
                        m.d.sync += [registers[g * lanes + u].eq(value(g * lanes + u, u)) for u in range(lanes)]

    def whole(self, name: str, flow: Flow, segment: int) -> list[Value]:
        """All elements of an op in the cycle of its last beat: earlier beats wait in registers."""
        if self.fold.beats == 1:
            return flow.values
        key = f"whole:{name}"
        if key not in self.kept:
            lanes = len(flow.values)
            waiting: list[Value] = [
                Signal(flow.values[0].shape(), name=f"next_{name}{k}", reset_less=True)
                for k in range(lanes * (self.fold.beats - 1))
            ]
            phase, time = self.phases[segment], self.local(segment, flow.cycle)
            with self.m.If(phase.strobe(time)):
                with self.m.Switch(phase.index(time)):
                    for g in range(self.fold.beats - 1):
                        with self.m.Case(g):
                            self.m.d.sync += [waiting[g * lanes + u].eq(flow.values[u]) for u in range(lanes)]
            self.kept[key] = waiting
        return self.kept[key] + flow.values

    def update(self, state: State) -> None:
        """Give a state its next value; the last step of a sequence gives it its initial one."""
        m, program = self.m, self.program
        if state.update not in self.flows:
            raise FxsimError(f"state {state.name!r}: its update {state.update!r} is not computed in the step")
        segment, flow = self.plan.segment[state.update], self.flows[state.update]
        init = state.init.data.tolist() if state.init else [0] * state.elements
        if state.name in self.rings:
            ring, phase, time = self.rings[state.name], self.phases[segment], self.local(segment, flow.cycle)
            m.d.comb += [a.eq(b) for a, b in zip(ring.next, flow.values, strict=True)]
            m.d.comb += [
                ring.put.eq(phase.strobe(time)),
                ring.part.eq(1 << phase.index(time) if self.fold.beats > 1 else 1),
                ring.done.eq(phase.final(time)),
                ring.ends.eq(phase.ends(time)),
            ]
            return
        registers = self.kept[state.name]
        if state.name in self.opened:
            self.open_state(state, flow, segment, init)
            return
        read_whole = any(isinstance(op, Dot) and op.arg == state.name for op in program.ops)
        if self.fold.beats == 1 or not read_whole:
            self.store(registers, flow, segment, init)
            return
        # A product still reads the old vector while the new one comes in: change all of it at once.
        values = self.whole(state.update, flow, segment)
        phase, time = self.phases[segment], self.local(segment, flow.cycle)
        with m.If(phase.final(time)):
            m.d.sync += [
                register.eq(Mux(phase.ends(time), Const(v, register.shape()), value))
                for register, v, value in zip(registers, init, values, strict=True)
            ]

    def open_state(self, state: State, flow: Flow, segment: int, init: list[int]) -> None:
        """A state as it stands in the cycle in which it is new; its register only follows, for those who read later.

        The held registers that it is made of keep the last step's; the first step of a sequence has its initial value.
        """
        phase, time = self.phases[segment], self.local(segment, flow.cycle - 1)
        begins = Signal(name=f"{state.name}_begins", init=1)
        with self.m.If(phase.strobe(time)):
            self.m.d.sync += begins.eq(phase.ends(time))
        now, copy = self.opened[state.name], self.kept[state.name]
        for signal, register, v, value in zip(now, copy, init, flow.values, strict=True):
            self.m.d.comb += signal.eq(Mux(begins, Const(v, signal.shape()), value))
            self.registers.add(register, signal)
