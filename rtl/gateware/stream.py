# SPDX-License-Identifier: Apache-2.0
"""Streams between layers: what a beat carries, and the buffer behind each layer."""

from __future__ import annotations

from collections.abc import Iterable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Member, Out


class Beat(data.StructLayout):
    """One step's vector: ``data`` (elements packed without gaps, element 0 low), ``last`` of its sequence, ``abort``.

    ``abort`` comes only with ``last``: the sequence was broken, its steps so far are to be forgotten.
    """

    def __init__(self, bits: int) -> None:
        super().__init__({"data": bits, "last": 1, "abort": 1})


class Buffer(wiring.Component):
    """A queue of ``depth`` beats in registers; its producer keeps count of the room itself and never asks.

    A full queue is never pushed into, not even while a beat leaves it: room comes back the cycle after.

    Latency: 1 cycle from ``push`` to ``o.valid`` if ``registered``; else none, for a beat that meets an empty queue.

    Parameters
    ----------
    bits: width of ``data``. depth: beats it holds. registered: whether the output comes from registers alone. steps:
    whether beats are steps of sequences; else each is a whole result, so that ``last`` is always 1 and ``abort`` 0.

    Members
    -------
    push : In(1)
        High when a beat enters; there must be room for it.
    beat : In(Beat(bits))
        With ``push``: the beat.
    o : Out(stream.Signature(Beat(bits)))
        The oldest beat.
    filled : Out(range(depth + 1))
        How many beats it holds.
    pop : Out(1)
        High when one leaves.
    """

    def __init__(self, bits: int, depth: int, registered: bool, steps: bool) -> None:
        self.bits, self.depth, self.registered, self.steps = bits, depth, registered, steps
        super().__init__(
            {
                "filled": Out(range(depth + 1)),
                "pop": Out(1),
                "push": In(1),
                "beat": In(Beat(bits)),
                "o": Out(stream.Signature(Beat(bits))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Entry 0 is the oldest and drives the output; entries move down when it leaves.
        filled, pop = self.filled, self.pop
        beat = Value.cast(self.beat) if self.steps else self.beat.data
        entries = [Signal(len(beat), name=f"entry{k}", reset_less=True) for k in range(self.depth)]
        oldest: Value = entries[0]
        if self.registered:
            m.d.comb += self.o.valid.eq(filled != 0)
        else:
            m.d.comb += self.o.valid.eq((filled != 0) | self.push)
            oldest = Mux(filled != 0, oldest, beat)
        whole = oldest if self.steps else Cat(oldest, Const(1, 2))
        m.d.comb += [self.o.payload.eq(whole), pop.eq(self.o.valid & self.o.ready)]
        m.d.sync += filled.eq(filled + self.push - pop)
        for k, entry in enumerate(entries):
            lands = Signal(name=f"lands{k}")
            # A beat that passes through an empty queue would land below entry 0; none comes to a full queue.
            below = filled == k + pop if k + 1 < self.depth else (filled == k) & ~pop
            m.d.comb += lands.eq(self.push & below)
            with m.If(lands):
                m.d.sync += entry.eq(beat)
            if k + 1 < self.depth:
                with m.Elif(pop):
                    m.d.sync += entry.eq(entries[k + 1])
        return m


def fill(m: Module, parts: list[Signal], take: Value, number: Value, data: Value) -> None:
    """Each of some registers keeps the ``data`` that is taken while ``number`` is its own."""
    for k, part in enumerate(parts):
        # One condition each: a switch over all of them would be written out for each of them.
        with m.If(take & (number == k)):
            m.d.sync += part.eq(data)


def numbered(name: str, members: Iterable[Member]) -> dict[str, Member]:
    """Members ``name0``, ``name1``, … for the elements of a vector, each of which may have a shape of its own."""
    return {f"{name}{k}": member for k, member in enumerate(members)}


def elements(bits: Value, count: int, width: int, signed: bool) -> list[Value]:
    """The elements of a packed vector, at the low end of ``bits``.

    Amaranth writes out all bits of what a part is taken of, unless that is a signal.
    """
    parts = [bits[k * width : (k + 1) * width] for k in range(count)]
    return [part.as_signed() for part in parts] if signed else list(parts)
