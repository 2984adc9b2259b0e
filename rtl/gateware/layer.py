# SPDX-License-Identifier: Apache-2.0
"""One layer as hardware: engines, lanes and states of a scheduled program behind a stream."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from fxsim.program.ops import AnyOp, Leaf, Op, Slice
from fxsim.system.forks import cached_property

from ..plan.names import Names
from ..plan.reads import RESULT
from ..plan.schedule import LayerSchedule
from .control import Flow, Phase
from .datapath import Datapath
from .fixed import shape
from .operands import Operands
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
    i : In(stream.Signature(Beat(bits_in)))
        The steps of sequences.
    o : Out(stream.Signature(Beat(bits_out)))
        The results, out of the buffer.
    """

    def __init__(self, plan: LayerSchedule, return_sequences: bool, depth: int, registered: bool) -> None:
        self.plan, self.return_sequences, self.depth, self.registered = plan, return_sequences, depth, registered
        program = plan.program
        self.bits_in = program.input.elements * program.input.type.width
        self.bits_out = program.elements * program.type.width
        self.buffer = Buffer(self.bits_out, depth, registered, return_sequences)
        super().__init__(
            {"i": In(stream.Signature(Beat(self.bits_in))), "o": Out(stream.Signature(Beat(self.bits_out)))}
        )

    @property
    def taps(self) -> list[Tap]:
        """Windows on the input and the ops, in program order; whoever asks for them has the layer built."""
        return self._control.taps

    def elaborate(self, platform: object) -> Module:
        return self._control.m

    @cached_property
    def _control(self) -> _Control:
        # Kept, for a tap shows signals of the module that is elaborated.
        control = _Control(self)
        control.build()
        return control


class _Control:
    """What moves a layer's tokens: from its input through the segments of its schedule to its buffer."""

    def __init__(self, layer: LayerCore) -> None:
        self.layer, self.plan, self.buffer = layer, layer.plan, layer.buffer
        self.m = Module()
        self.taps: list[Tap] = []
        self.operands = Operands(self.m, self.plan)
        names = Names(["buffer"])
        self.states = States(self.operands, names)
        self.datapath = Datapath(self.operands, names)

    def build(self) -> None:
        """Put all of it into the module, in the order of the program."""
        m, plan, operands = self.m, self.plan, self.operands
        m.submodules.buffer = self.buffer
        wiring.connect(m, self.buffer.o, wiring.flipped(self.layer.o))
        self.states.prepare(self.accept())
        for op in plan.program.ops:
            while plan.segment[op.name] >= len(operands.phases):
                self.open_segment(len(operands.phases))
            self.add(op)
        for state in plan.program.states:
            self.states.update(state)
        self.emit()
        operands.registers.finish(m)

    def accept(self) -> Value:
        """Take a token when the last one's interval is over and its result will find room; high when one is taken."""
        m, plan, i, operands = self.m, self.plan, self.layer.i, self.operands
        take, go = Signal(name="take"), Signal(name="start0")
        room = Signal(range(self.buffer.depth + 1), init=self.buffer.depth)
        wait = Signal(range(max(plan.interval, 2)))
        m.d.comb += [i.ready.eq((wait == 0) & (room != 0)), take.eq(i.valid & i.ready)]
        m.d.sync += [go.eq(take), wait.eq(Mux(take, plan.interval - 1, Mux(wait == 0, 0, wait - 1)))]
        x = Signal(len(i.payload.data), reset_less=True)
        last, abort = (Signal(name=name, reset_less=True) for name in ("last0", "abort0"))
        with m.If(take):
            m.d.sync += [x.eq(i.payload.data), last.eq(i.payload.last), abort.eq(i.payload.abort)]
        # Room is spoken for when a token that gives a result enters, and free again when the result leaves.
        gives = Const(1, 1) if self.layer.return_sequences else i.payload.last & ~i.payload.abort
        m.d.sync += room.eq(room - (take & gives) + self.buffer.pop)
        operands.phases.append(Phase(m, operands.registers, "phase0", plan.fold, go, last, abort))
        op = plan.program.input
        if plan.ways == 1:
            size, signed = op.type.width, op.type.signed
            self.taps.append(Tap(op.name, take, i.payload.data, size, signed, op.elements, 1))
        values = elements(x, op.elements, op.type.width, op.type.signed)
        if plan.flows_input:
            operands.flows[op.name] = operands.flow(op.name, 0, values, plan.interval)
        else:
            operands.kept[op.name] = values
        return take

    def open_segment(self, number: int) -> None:
        """A phase that starts when the operands of its products are whole."""
        m, plan, operands = self.m, self.plan, self.operands
        before = operands.phases[-1]
        time = plan.segments[number] - plan.segments[number - 1] - plan.tail - 1
        start = Signal(name=f"start{number}")
        m.d.sync += start.eq(before.final(time))
        last, abort = Signal(name=f"last{number}"), Signal(name=f"abort{number}")
        m.d.sync += [last.eq(before.ends(time)), abort.eq(before.broken(time))]
        operands.phases.append(Phase(m, operands.registers, f"phase{number}", plan.fold, start, last, abort))

    def add(self, op: AnyOp) -> None:
        """An op as hardware, and what later segments and tests want of it."""
        plan, operands = self.plan, self.operands
        if isinstance(op, Slice) and op.name in plan.collected:
            read = plan.reads[op.name, op.arg]
            self.states.collect(op.name, operands.flow(op.name, read.cycle, operands.values(read)))
        if isinstance(op, Leaf | Slice):
            return
        flow = operands.flows[op.name] = self.datapath.build(op)
        if op.name in plan.collected:
            self.states.collect(op.name, flow)
        self.tap(op, flow)

    def emit(self) -> None:
        """Put the result of each step, or of each whole sequence, into the output buffer."""
        m, plan, operands, buffer = self.m, self.plan, self.operands, self.buffer
        name, type = plan.program.output, plan.program.type
        segment = plan.segment[name]
        cycle = plan.result
        flow = operands.flow(name, cycle, operands.values(plan.reads[RESULT, name]))
        phase, time = operands.when(flow, segment)
        ends, broken = phase.ends(time), phase.broken(time)
        values = []
        for k, value in enumerate(self.states.whole(name, flow, segment)):
            sized = Signal(shape(type), name=f"out{k}")
            m.d.comb += sized.eq(value)
            values.append(sized)
        push = phase.final(time) if self.layer.return_sequences else phase.final(time) & ends & ~broken
        m.d.comb += [
            buffer.push.eq(push),
            buffer.beat.data.eq(Cat(*values)),
            buffer.beat.last.eq(ends),
            buffer.beat.abort.eq(broken),
        ]

    def tap(self, op: Op, flow: Flow) -> None:
        """Show an op's results to tests, where its beats hold them in the op's own order."""
        plan, beats = self.plan, self.plan.fold.beats
        if plan.ways > 1:
            return  # tests look at sequences one after another
        if any(part.dot == op.name for part in plan.absorbed.values()):
            return  # it has no value of its own
        size, count = plan.program.sizes[op.name], len(flow.values)
        parked = op.name in plan.parked
        whole = size == count and (beats == 1 or parked)
        if whole or (size == plan.units and count * beats == size):
            kind = flow.values[0].shape()
            phase, time = self.operands.when(flow, plan.segment[op.name])
            valid = phase.first(time) if parked else phase.strobe(time)
            self.taps.append(Tap(op.name, valid, Cat(*flow.values), kind.width, kind.signed, count, size // count))
