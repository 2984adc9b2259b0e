# SPDX-License-Identifier: Apache-2.0
"""Naive models that blocks are compared with, written without the gateware: a queue, a history."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Mux, Signal, Value

from .bench import Bench


class Queue:
    """First in, first out: a ring of ``depth`` words with a place to write and a place to read.

    ``count``: words in it. ``front``: the oldest. ``word(k)``: the one behind k others.
    """

    def __init__(self, b: Bench, name: str, bits: int, depth: int, push: Value, value: Value, pop: Value) -> None:
        self._b, self._name, self._depth = b, name, depth
        self._words = [b.register(bits, f"{name}_word{k}", reset=False) for k in range(depth)]
        self._write, self._read = (b.register(range(depth), f"{name}_{end}") for end in ("write", "read"))
        self.count = b.register(range(depth + 1), f"{name}_count")
        self._found: dict[int, Value] = {}
        with b.m.If(push):
            b.m.d.sync += [Array(self._words)[self._write].eq(value), self._write.eq(after(self._write, depth))]
        with b.m.If(pop):
            b.m.d.sync += self._read.eq(after(self._read, depth))
        b.m.d.sync += self.count.eq(self.count + push - pop)
        self.front = self.word(0)

    def word(self, k: int) -> Value:
        """The word behind ``k`` others."""
        if k not in self._found:
            place = self._b.signal(range(2 * self._depth), f"{self._name}_place{k}")
            self._b.m.d.comb += place.eq(self._read + k)
            self._found[k] = Array(self._words)[Mux(place >= self._depth, place - self._depth, place)]
        return self._found[k]

    def lemma(self) -> None:
        """What ties count and places together, which an induction must know."""
        ahead = self._b.signal(range(2 * self._depth), f"{self._name}_ahead")
        self._b.m.d.comb += ahead.eq(self._read + self.count)
        wrapped = Mux(ahead >= self._depth, ahead - self._depth, ahead)
        self._b.lemma(
            "the model's queue is sound",
            (self.count <= self._depth)
            & (self._write < self._depth)
            & (self._read < self._depth)
            & (self._write == wrapped),
        )


class History:
    """What a value was in each of the last ``cycles`` cycles; 0 before the last reset."""

    def __init__(self, b: Bench, name: str, value: Value, cycles: int) -> None:
        self.cycles = cycles
        self._copies: list[Value] = [value]
        for k in range(1, cycles + 1):
            self._copies.append(b.later(self._copies[-1], f"{name}_ago{k}"))

    def __call__(self, cycles: int) -> Value:
        """The value so many cycles ago."""
        return self._copies[cycles]

    def any(self, cycles: Any) -> Value:
        """Whether it was high in one of these cycles."""
        return Cat(*(self._copies[k] for k in cycles)).any()

    def number(self, cycles: range) -> Value:
        """In how many of these cycles it was high."""
        return count_ones([self._copies[k] for k in cycles])


def count_ones(bits: list[Value]) -> Value:
    """How many of the bits are high."""
    while len(bits) > 1:
        bits = [a + b for a, b in zip(bits[::2], bits[1::2], strict=False)] + bits[len(bits) & ~1 :]
    return bits[0]


def after(value: Signal, count: int) -> Value:
    """The next of ``count`` numbers, around."""
    return Mux(value == count - 1, 0, value + 1)
