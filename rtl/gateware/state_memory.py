# SPDX-License-Identifier: Apache-2.0
"""States of interleaved sequences: each token finds the state that the token as many places before it has left."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Shape, Signal, Value
from amaranth.lib.memory import Memory

from .stream import elements


class StateRing(Elaboratable):
    """One state vector for each of ``ways`` sequences, read and written in turn.

    Latency: ``now`` stands in the cycle after ``take`` and until the next one.

    Parameters
    ----------
    ways: sequences. init: the initial vector. shape: of an element. beats: parts in which a vector is written.

    Members
    -------
    take : high when a token enters, which is to find its state
    now : its elements
    put, part, next : high for each part of the new vector; one bit for each part that it may be; its elements
    done, ends : high with the last part; whether the sequence ends, so that the next one starts from ``init``
    """

    def __init__(self, ways: int, init: list[int], shape: Shape, beats: int) -> None:
        self.ways, self.init, self.shape, self.beats = ways, init, shape, beats
        self.take, self.put, self.done, self.ends = (Signal(name=name) for name in ("take", "put", "done", "ends"))
        self.part = Signal(beats)
        self.now = [Signal(shape, name=f"now{k}") for k in range(len(init))]
        self.next = [Signal(shape, name=f"next{k}") for k in range(len(init) // beats)]

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
            m.d.sync += [reading.eq(self._after(reading)), begin.eq(begins.bit_select(reading, 1))]
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
            m.d.sync += [writing.eq(self._after(writing)), begins.bit_select(writing, 1).eq(self.ends)]
        return m

    def _after(self, value: Signal) -> Value:
        return Mux(value == self.ways - 1, 0, value + 1)
