# SPDX-License-Identifier: Apache-2.0
"""Packets around sequences that are counted by beats: which results end one."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .control import after


class Packets(wiring.Component):
    """A bit for each sequence under way, in order: whether a packet ended in it.

    Latency: 1 edge from ``put`` to ``front``, if no other sequence is under way.

    Parameters
    ----------
    depth: sequences that can be under way.

    Members
    -------
    put : In(1)
        High when a sequence is in; not while ``full``.
    ends : In(1)
        With ``put``: whether a packet ended with one of its beats.
    full : Out(1)
        High while no sequence may be put.
    front : Out(1)
        The bit of the oldest sequence, if there is one.
    get : In(1)
        High when the oldest sequence has left.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        super().__init__({"put": In(1), "ends": In(1), "full": Out(1), "front": Out(1), "get": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        attributes = {"ram_style": "distributed"}
        m.submodules.bits = memory = Memory(shape=1, depth=self.depth, init=[], attrs=attributes)
        write, read = memory.write_port(), memory.read_port(domain="comb")
        newest, oldest = (Signal(range(self.depth), name=name) for name in ("newest", "oldest"))
        count = Signal(range(self.depth + 1), name="count")
        m.d.comb += [
            self.full.eq(count == self.depth),
            write.en.eq(self.put),
            write.addr.eq(newest),
            write.data.eq(self.ends),
            read.addr.eq(oldest),
            self.front.eq(read.data),
        ]
        m.d.sync += count.eq(count + self.put - self.get)
        for place, moves in ((newest, self.put), (oldest, self.get)):
            with m.If(moves):
                m.d.sync += place.eq(after(place, self.depth))
        return m
