# SPDX-License-Identifier: Apache-2.0
"""Streams between beats of one width and another: several beats to a vector, or a whole sequence to its steps."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .stream import Beat, fill


class Gather(wiring.Component):
    """Joins every ``count`` beats into one vector, the first low; ``last`` and ``abort`` are those of the last beat.

    A beat that breaks its sequence ends the vector, whatever of it is there.

    Latency: none from the last beat.

    Parameters
    ----------
    bits: width of a beat. count: beats of a vector.

    Members
    -------
    i : In(stream.Signature(Beat(bits)))
        The beats.
    o : Out(stream.Signature(Beat(count * bits)))
        The vectors.
    """

    def __init__(self, bits: int, count: int) -> None:
        self.bits, self.count = bits, count
        super().__init__({"i": In(stream.Signature(Beat(bits))), "o": Out(stream.Signature(Beat(count * bits)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        number = Signal(range(self.count))
        take = Signal()
        parts = [Signal(self.bits, name=f"part{k}", reset_less=True) for k in range(self.count - 1)]
        ends = Signal()
        m.d.comb += [
            ends.eq((number == self.count - 1) | self.i.payload.last),
            self.o.valid.eq(self.i.valid & ends),
            self.i.ready.eq(self.o.ready | ~ends),
            self.o.payload.data.eq(Cat(*parts, self.i.payload.data)),
            self.o.payload.last.eq(self.i.payload.last),
            self.o.payload.abort.eq(self.i.payload.abort),
            take.eq(self.i.valid & self.i.ready),
        ]
        with m.If(take):
            m.d.sync += number.eq(Mux(ends, 0, number + 1))
        fill(m, parts, take, number, self.i.payload.data)
        return m


class Spread(wiring.Component):
    """Gives the ``count`` steps of a sequence that comes in one beat, the low one first.

    Latency: 1 edge from a sequence to its first step; the next sequence is taken together with the last step if
    ``eager``, else an edge later, which is soon enough for whoever takes no two steps in a row.

    Parameters
    ----------
    bits: width of a step. count: steps of a sequence. eager: whether sequences follow each other without a gap.

    Members
    -------
    i : In(stream.Signature(Beat(count * bits)))
        Whole sequences.
    o : Out(stream.Signature(Beat(bits)))
        Their steps.
    """

    def __init__(self, bits: int, count: int, eager: bool) -> None:
        self.bits, self.count, self.eager = bits, count, eager
        super().__init__({"i": In(stream.Signature(Beat(count * bits))), "o": Out(stream.Signature(Beat(bits)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal(range(self.count + 1))
        steps = Signal(self.count * self.bits, reset_less=True)
        broken = Signal(reset_less=True)
        give = Signal()
        m.d.comb += [
            self.o.valid.eq(left != 0),
            give.eq(self.o.valid & self.o.ready),
            self.i.ready.eq((left == 0) | ((left == 1) & give) if self.eager else left == 0),
            self.o.payload.data.eq(steps[: self.bits]),
            self.o.payload.last.eq(left == 1),
            self.o.payload.abort.eq((left == 1) & broken),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [steps.eq(self.i.payload.data), broken.eq(self.i.payload.abort), left.eq(self.count)]
        with m.Elif(give):
            m.d.sync += [steps.eq(steps[self.bits :]), left.eq(left - 1)]
        return m
