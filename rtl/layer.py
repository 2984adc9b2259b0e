# SPDX-License-Identifier: Apache-2.0
"""One layer as hardware: engines, lanes and states of a scheduled program behind a stream."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Array, Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from fxsim.errors import FxsimError
from fxsim.program import Concat, Constant, Dot, Input, Lookup, Op, Program, Slice, State

from .control import Flow, Phase, Registers, Relay
from .fixed import cast, shape
from .folds import REDUCTIONS, engine_fold
from .lane import exact
from .lookup import Tables
from .matvec import MatVec
from .reduction import Reductions
from .ring import StateRing
from .schedule import LayerSchedule
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
        m.submodules.buffer = buffer = Buffer(self.bits_out, self.depth, registered)
        wiring.connect(m, buffer.o, wiring.flipped(self.o))
        body = _Body(m, plan, self.i, buffer, return_sequences)
        body.build()
        self.taps: list[Tap] = body.taps

    def elaborate(self, platform: object) -> Module:
        return self._module


class _Body:
    def __init__(self, m: Module, plan: LayerSchedule, i: stream.Interface, buffer: Buffer, sequences: bool) -> None:
        self.m, self.plan, self.i, self.buffer, self.sequences = m, plan, i, buffer, sequences
        self.program: Program = plan.program
        self.fold = plan.fold
        self.registers = Registers()
        self.flows: dict[str, Flow] = {}
        self.kept: dict[str, list[Value]] = {}  # whole vectors: held input, states, collected ops
        self.opened: dict[str, list[Signal]] = {}  # states before their register
        self.rings: dict[str, StateRing] = {}  # states of interleaved sequences
        self.phases: list[Phase] = []
        self.taps: list[Tap] = []
        self._chosen: dict[tuple[str, int, int], list[Value]] = {}
        self.tables = Tables(m, self.registers, plan)
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
        take, go = Signal(), Signal()
        room = Signal(range(self.buffer.depth + 1), init=self.buffer.depth)
        wait = Signal(range(max(plan.interval, 2)))
        m.d.comb += [i.ready.eq((wait == 0) & (room != 0)), take.eq(i.valid & i.ready)]
        m.d.sync += [go.eq(take), wait.eq(Mux(take, plan.interval - 1, Mux(wait == 0, 0, wait - 1)))]
        x = Signal(len(i.payload.data), reset_less=True)
        last, abort = Signal(reset_less=True), Signal(reset_less=True)
        self.take = take
        with m.If(take):
            m.d.sync += [x.eq(i.payload.data), last.eq(i.payload.last), abort.eq(i.payload.abort)]
        # Room is spoken for when a token that gives a result enters, and free again when the result leaves.
        gives = Const(1, 1) if self.sequences else i.payload.last & ~i.payload.abort
        left = self.buffer.o.valid & self.buffer.o.ready
        m.d.sync += room.eq(room - (take & gives) + left)
        self.phases.append(Phase(m, self.registers, "phase0", self.fold, go, last, abort))
        op = self.program.input
        values = elements(x, op.elements, op.type.width, op.type.signed)
        if plan.flows_input:
            self.flows[op.name] = self.flow(op.name, 0, values, plan.interval)
        else:
            self.kept[op.name] = values

    def flow(self, name: str, cycle: int, values: list[Value], stands: int = 1) -> Flow:
        """Signals that pass by; ``stands``: cycles for which they do not change."""
        if self.plan.chained:
            return Relay(self.registers, name, cycle, values, self.phases[0], self.plan.interval, stands)
        return Flow(self.registers, name, cycle, values)

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
        self.m.submodules[f"ring_{op.name}"] = ring
        enters = self.plan.enters.get(op.name, 0)
        self.m.d.comb += ring.take.eq(self.phases[0].first(enters - 1) if enters else self.take)
        if self.plan.flows_state:
            self.flows[op.name] = self.flow(op.name, enters, list(ring.now))
        else:
            self.kept[op.name] = list(ring.now)

    def open_segment(self, number: int) -> None:
        """A phase that starts when the operands of its products are whole."""
        m, plan, before = self.m, self.plan, self.phases[-1]
        time = plan.segments[number] - plan.segments[number - 1] - plan.tail - 1
        start = Signal(name=f"start{number}")
        m.d.sync += start.eq(before.final(time))
        last, abort = Signal(name=f"last{number}"), Signal(name=f"abort{number}")
        m.d.sync += [last.eq(before.ends(time)), abort.eq(before.broken(time))]
        self.phases.append(Phase(m, self.registers, f"phase{number}", self.fold, start, last, abort))

    def local(self, segment: int, cycle: int) -> int:
        """A cycle counted from the start of a segment."""
        return cycle - self.plan.segments[segment]

    # -- ops -----------------------------------------------------------------------------------------------------------
    def add(self, op: Op) -> None:
        segment = self.plan.segment[op.name]
        if isinstance(op, Slice) and op.name in self.plan.collected:
            cycle = self.cycle(op.name, segment)
            part = self.flow(op.name, cycle, self.values(op.name, segment, cycle))
            self.store(self.kept[op.name], part, segment, None)
        if isinstance(op, Input | State | Constant | Slice):
            return
        if isinstance(op, Dot):
            flow = self.dot(op, segment)
        elif isinstance(op, Concat):
            cycle = max(self.cycle(arg, segment) for arg in op.args)
            flow = self.flow(op.name, cycle, [v for arg in op.args for v in self.values(arg, segment, cycle)])
        elif isinstance(op, REDUCTIONS):
            slot = self.plan.slots[op.name]
            results = self.reductions.build(op, self.values(op.args[0], segment, slot.start))
            flow = self.flow(op.name, slot.cycle, results)
        else:
            flow = self.lane(op, segment)
        self.flows[op.name] = flow
        if op.name in self.plan.collected:
            self.store(self.kept[op.name], flow, segment, None)
        self.tap(op, flow, segment)

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

    def dot(self, op: Dot, segment: int) -> Flow:
        plan, m = self.plan, self.m
        engine = plan.engines[op.name]
        arg = self.program[op.arg]
        fold, parked = engine_fold(self.program, op, self.fold), op.name in plan.parked
        unit = MatVec(op, plan.bounds[op.name], engine, fold, plan.units, arg.type, plan.bounds[op.arg], parked)
        m.submodules[op.name] = unit
        phase, start = self.phases[segment], self.local(segment, engine.start)
        x: list[Value]
        if op.arg in self.opened:
            x = list(self.opened[op.arg])
        elif op.arg in self.kept:
            x = self.kept[op.arg]
        elif plan.chained and engine.busy > 1 and engine.start > 0:
            x = self.standing(op.arg, engine.start)
        else:
            x = self.values(op.arg, segment, engine.start)
        m.d.comb += [a.eq(b) for a, b in zip(unit.x, x, strict=True)]
        m.d.comb += [unit.start.eq(phase.first(start)), unit.last.eq(phase.ends(start))]
        if parked:
            self.kept[op.name] = list(unit.result)
        return self.flow(op.name, engine.ready + parked, list(unit.result))

    def standing(self, name: str, cycle: int) -> list[Value]:
        """An operand that stands from ``cycle`` on until the next token's."""
        if isinstance(self.program[name], Constant):
            return self.values(name, 0, cycle)
        key = f"{name}_from{cycle}"
        if key not in self.kept:
            before = self.values(name, 0, cycle - 1)
            self.kept[key] = self.registers.captured(before, self.phases[0].strobe(cycle - 1), key)
        return self.kept[key]

    def lane(self, op: Op, segment: int) -> Flow:
        plan, m = self.plan, self.m
        slot = plan.slots[op.name]
        size = self.program.sizes[op.name]
        count = size // self.fold.beats if size == plan.units else size
        read = self.program[op.args[0]].args if slot.through else op.args
        operands = [self.operand(op, arg, segment) for arg in read]
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

    def operand(self, op: Op, arg: str, segment: int) -> list[Value]:
        """An operand of a lane op; that of a held one stays until the next step, if it is not held itself."""
        start = self.plan.slots[op.name].start
        apart = op.name in self.plan.held and start == self.plan.slots[op.name].cycle
        if not apart or arg in self.plan.held or isinstance(self.program[arg], Constant):
            return self.values(arg, segment, start)
        before = self.values(arg, segment, start - 1)
        return [self.later(v, f"{op.name}_{arg}_held{u}", segment, start - 1) for u, v in enumerate(before)]

    def later(self, value: Value, name: str, segment: int, when: int | None) -> Value:
        """``value`` one cycle later; with ``when``, that of the last step's cycle ``when``."""
        register = Signal(value.shape(), name=name, reset_less=True)
        if when is None:
            self.registers.add(register, value)
        else:
            with self.m.If(self.phases[segment].strobe(self.local(segment, when))):
                self.m.d.sync += register.eq(value)
        return register

    # -- what stays ----------------------------------------------------------------------------------------------------
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

    def emit(self) -> None:
        """Put the result of each step, or of each whole sequence, into the output buffer."""
        m, program, name = self.m, self.program, self.program.output
        segment = self.plan.segment[name]
        cycle = self.plan.result
        flow = self.flow(name, cycle, self.values(name, segment, cycle))
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
        size, count = self.program.sizes[op.name], len(flow.values)
        parked = op.name in self.plan.parked
        whole = size == count and (self.fold.beats == 1 or parked)
        if whole or (size == self.plan.units and count * self.fold.beats == size):
            kind = flow.values[0].shape()
            phase, time = self.phases[segment], self.local(segment, flow.cycle)
            valid = phase.first(time) if parked else phase.strobe(time)
            self.taps.append(Tap(op.name, valid, Cat(*flow.values), kind.width, kind.signed, count, size // count))
