# SPDX-License-Identifier: Apache-2.0
"""Streams between layers: what a beat carries, and the buffer behind each layer."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out


class Beat(data.StructLayout):
    """One step's vector: ``data`` (elements packed without gaps, element 0 low), ``last`` of its sequence, ``abort``.

    ``abort`` comes only with ``last``: the sequence was broken, its steps so far are to be forgotten.
    """

    def __init__(self, bits: int) -> None:
        super().__init__({"data": bits, "last": 1, "abort": 1})


class Buffer(wiring.Component):
    """A queue of ``depth`` beats in registers; its producer keeps count of the room itself and never asks.

    Latency: 1 cycle from ``push`` to ``o.valid`` if ``registered``; else none, for a beat that meets an empty queue.

    Parameters
    ----------
    bits: width of ``data``. depth: beats it holds. registered: whether the output comes from registers alone.

    Members
    -------
    push : In(1), beat : In(Beat(bits)), o : Out(stream.Signature(Beat(bits)))
    """

    def __init__(self, bits: int, depth: int, registered: bool) -> None:
        self.bits, self.depth, self.registered = bits, depth, registered
        super().__init__({"push": In(1), "beat": In(Beat(bits)), "o": Out(stream.Signature(Beat(bits)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Entry 0 is the oldest and drives the output; entries move down when it leaves.
        entries = [Signal(Beat(self.bits), name=f"entry{k}", reset_less=True) for k in range(self.depth)]
        filled = Signal(range(self.depth + 1))
        pop = Signal()
        if self.registered:
            m.d.comb += [self.o.valid.eq(filled != 0), self.o.payload.eq(entries[0])]
        else:
            m.d.comb += [
                self.o.valid.eq((filled != 0) | self.push),
                self.o.payload.eq(Mux(filled != 0, entries[0], self.beat)),
            ]
        m.d.comb += pop.eq(self.o.valid & self.o.ready)
        m.d.sync += filled.eq(filled + self.push - pop)
        for k, entry in enumerate(entries):
            lands = Signal(name=f"lands{k}")
            # A beat that passes through an empty queue would land below entry 0.
            m.d.comb += lands.eq(self.push & (filled == k + pop))
            with m.If(lands):
                m.d.sync += entry.eq(self.beat)
            if k + 1 < self.depth:
                with m.Elif(pop):
                    m.d.sync += entry.eq(entries[k + 1])
        return m


def elements(bits: Value, count: int, width: int, signed: bool) -> list[Value]:
    """The elements of a packed vector."""
    parts = [bits[k * width : (k + 1) * width] for k in range(count)]
    return [part.as_signed() for part in parts] if signed else list(parts)
