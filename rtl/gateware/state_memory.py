# SPDX-License-Identifier: Apache-2.0
"""States of interleaved sequences: each token finds the state that the token as many places before it has left."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .control import after
from .stream import elements, numbered


class StateRing(wiring.Component):
    """One state vector for each of ``ways`` sequences, read and written in turn.

    Latency: ``now`` stands in the cycle after ``take`` and until the next one.

    Parameters
    ----------
    ways: sequences. init: the initial vector. shape: of an element. beats: parts in which a vector is written.

    Members
    -------
    take : In(1)
        High when a token enters, which is to find its state.
    put : In(1)
        High for each part of the new vector.
    done : In(1)
        High with its last part.
    ends : In(1)
        With ``done``: whether the sequence ends, so that the next one starts from ``init``.
    part : In(beats)
        With ``put``: which part it is, a bit for each.
    now0, now1, … : Out(shape)
        The elements of the state; ``now`` lists them.
    next0, next1, … : In(shape)
        With ``put``: the elements of the part; ``next`` lists them.
    """

    def __init__(self, ways: int, init: list[int], shape: Shape, beats: int) -> None:
        self.ways, self.init, self.shape, self.beats = ways, init, shape, beats
        now = numbered("now", [Out(shape)] * len(init))
        next = numbered("next", [In(shape)] * (len(init) // beats))
        super().__init__({"take": In(1), "put": In(1), "done": In(1), "ends": In(1), "part": In(beats), **now, **next})
        self.now, self.next = ([getattr(self, name) for name in names] for names in (now, next))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = self.shape.width * len(self.init)
        m.submodules.vectors = memory = Memory(shape=bits, depth=self.ways, init=[], attrs={"ram_style": "distributed"})
        write, read = memory.write_port(granularity=bits // self.beats), memory.read_port()
        reading, writing = (Signal(range(self.ways), name=name) for name in ("reading", "writing"))
        # The memory knows nothing of initial values: these bits say who starts from them.
        begins = Signal(self.ways, init=-1)
        begin = Signal()
        m.d.comb += [read.en.eq(self.take), read.addr.eq(reading)]
        with m.If(self.take):
            m.d.sync += [reading.eq(after(reading, self.ways)), begin.eq(begins.bit_select(reading, 1))]
        values = elements(read.data, len(self.init), self.shape.width, self.shape.signed)
        m.d.comb += [
            now.eq(Mux(begin, Const(v, self.shape), value))
            for now, v, value in zip(self.now, self.init, values, strict=True)
        ]
        m.d.comb += [
            write.addr.eq(writing),
            write.data.eq(Cat(*self.next * self.beats)),
            write.en.eq(Mux(self.put, self.part, 0)),
        ]
        with m.If(self.done):
            m.d.sync += [writing.eq(after(writing, self.ways)), begins.bit_select(writing, 1).eq(self.ends)]
        return m
