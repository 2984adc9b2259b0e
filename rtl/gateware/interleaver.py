# SPDX-License-Identifier: Apache-2.0
"""Interleaving: sequences that come one after another are dealt to slots, whose steps then follow each other."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .control import after
from .stream import Beat


class Deal(wiring.Component):
    """Gives a step of each of ``ways`` slots in turn; a sequence fills one slot, the next sequence the next one.

    Sequences start in order, and so end in order. A slot without one gives a filler, which ends a broken sequence that
    never was; a slot that waits for its next step makes the others wait. With no sequence under way nothing is given,
    and the next one starts at once.

    Latency: 2 edges from a sequence's first step to its standing at the output, if no other is under way; what comes
    when later is the model in ``timing``, cycle by cycle.

    Parameters
    ----------
    bits: width of a step. ways: slots. depth: steps that each slot holds.

    Members
    -------
    i : In(stream.Signature(Beat(bits)))
        The steps of sequences, one sequence after another.
    o : Out(stream.Signature(Beat(bits)))
        A step of each slot in turn, or a filler.
    """

    def __init__(self, bits: int, ways: int, depth: int) -> None:
        self.bits, self.ways, self.depth = bits, ways, depth
        super().__init__({"i": In(stream.Signature(Beat(bits))), "o": Out(stream.Signature(Beat(bits)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ways, depth = self.ways, self.depth
        m.submodules.steps = memory = Memory(shape=Beat(self.bits), depth=ways * depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        filled = Array(Signal(range(depth + 1), name=f"filled{k}") for k in range(ways))
        newest = Array(Signal(range(max(depth, 2)), name=f"newest{k}") for k in range(ways))
        oldest = Array(Signal(range(max(depth, 2)), name=f"oldest{k}") for k in range(ways))
        active = Array(Signal(name=f"active{k}") for k in range(ways))
        # The slot being filled, the one whose sequence starts next, the one whose turn it is, the one at the output.
        into, first, turn, given = (Signal(range(ways), name=name) for name in ("into", "first", "turn", "given"))
        put, get, fill, stands, filler = (Signal(name=name) for name in ("put", "get", "fill", "stands", "filler"))
        m.d.comb += [
            self.i.ready.eq(filled[into] != depth),
            put.eq(self.i.valid & self.i.ready),
            write.en.eq(put),
            write.addr.eq(into * depth + newest[into]),
            write.data.eq(self.i.payload),
            self.o.valid.eq(stands),
        ]
        with m.If(put):
            m.d.sync += newest[into].eq(after(newest[into], depth))
            with m.If(self.i.payload.last):
                m.d.sync += into.eq(after(into, ways))
        # A slot counts as active from its first step's reading until its last one stands at the output.
        free, some = Signal(name="free"), Signal(name="some")
        m.d.comb += [
            free.eq(~stands | self.o.ready),
            some.eq(Cat(*active).any() | Cat(*(count != 0 for count in filled)).any()),
            get.eq(free & (filled[turn] != 0) & (active[turn] | (turn == first))),
            fill.eq(free & ~get & ~active[turn] & some),
            read.en.eq(get),
            read.addr.eq(turn * depth + oldest[turn]),
        ]
        with m.If(free):
            m.d.sync += [stands.eq(get | fill), filler.eq(fill), given.eq(turn)]
        with m.If(stands & ~filler & read.data.last):
            m.d.sync += active[given].eq(0)
        with m.If(get):
            m.d.sync += [active[turn].eq(1), oldest[turn].eq(after(oldest[turn], depth))]
            with m.If(~active[turn]):
                m.d.sync += first.eq(after(first, ways))
        with m.If(get | fill):
            m.d.sync += turn.eq(after(turn, ways))
        with m.Elif(~some):
            m.d.sync += turn.eq(into)
        for k in range(ways):
            m.d.sync += filled[k].eq(filled[k] + (put & (into == k)) - (get & (turn == k)))
        nothing = Const(3 << self.bits, self.bits + 2)  # last and abort, no data
        m.d.comb += self.o.payload.eq(Mux(filler, nothing, read.data.as_value()))
        return m
