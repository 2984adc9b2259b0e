# SPDX-License-Identifier: Apache-2.0
"""Vectors of a program in memory: where each op's stands, and how a loop reads and writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..program.ops import Constant, Slice
from ..program.program import Program
from ..program.ranges import Bounds
from .llvm import Var, Vec, word
from .memory import Frame, Rows


class Vectors:
    """The vectors of one program in a function.

    ``places`` are those in memory by op, ``counters`` the addresses of a block's overflow counts by counted op. In a
    block of one sequence a vector holds some elements, the last one of a row only those that are left.
    """

    def __init__(self, frame: Frame, prefix: str, program: Program, bounds: Mapping[str, Bounds]) -> None:
        self.frame, self.code, self.prefix, self.program, self.bounds = frame, frame.code, prefix, program, bounds
        self.places: dict[str, Rows] = {}
        self.counters: dict[str, str] = {}
        self.first = 0  # where positions count from, in elements

    def full(self, name: str) -> str:
        """Name of an op in the network."""
        return f"{self.prefix}.{name}"

    def fresh(self, name: str, count: int, bits: int, what: str = "") -> Rows:
        """Fresh working memory for an op, or for ``what`` it needs beside its result."""
        return self.frame.rows(count, bits, f"{self.full(name)}{what and f' ({what})'}")

    def constants(self, name: str, values: NDArray[np.generic], what: str) -> str:
        """Address of constants of an op."""
        return self.frame.constants(values, f"{self.full(name)} ({what})")

    def size(self, name: str) -> int:
        """Elements of an op."""
        return self.program.sizes[name]

    def bits(self, name: str) -> int:
        """Word of an op in memory."""
        known = self.bounds[name]
        return word(known.low, known.high)

    def position(self, j: str, v: str) -> str:
        """Vector ``v`` of row ``j``, counted in vectors."""
        vectors = self.frame.vectors
        if vectors == 1 or j == "0":
            return j if vectors == 1 else v
        row = self.code.op(f"mul nuw nsw i64 {j}, {vectors}")
        return row if v == "0" else self.code.op(f"add nuw nsw i64 {row}, {v}")

    def each(self, rows: int, body: Callable[[str], None]) -> None:
        """One loop over every vector of some rows."""
        code = self.code
        if not self.frame.single:
            with code.loop(rows * self.frame.vectors) as at:
                body(at)
            return
        whole, rest = divmod(rows, code.lanes)
        if whole:
            with code.loop(whole) as at:
                body(at)
        if rest:
            self.first = rows - rest
            with code.lanes_of(rest):
                body("0")
            self.first = 0

    def address(self, rows: Rows, at: str, behind: int = 0) -> str:
        """Address of a vector of some rows, or of what stands ``behind`` bytes behind it."""
        offset = rows.offset + behind + self.first * self.frame.row(rows.bits)
        return self.code.address(rows.base, offset, (at, self.code.lanes * rows.bits // 8))

    def place(self, name: str) -> Rows:
        """Where an op's vector stands; a slice is a view."""
        start = 0
        while isinstance(op := self.program[name], Slice):
            name, start = op.arg, start + op.start
        rows = self.places[name]
        return replace(rows, offset=rows.offset + start * self.frame.row(rows.bits)) if start else rows

    def take(self, rows: Rows, at: str, bits: int = 0) -> Vec:
        """A vector of some rows, in words of at least 32 bits; of ``bits`` where sums in two parts are joined."""
        code = self.code
        value = code.load(self.address(rows, at), rows.bits)
        if not rows.split:
            return code.resize(value, max(32, rows.bits))
        lower = code.load(self.address(rows, at, rows.apart), rows.bits)
        upper = code.shift("shl", code.resize(value, bits or 64), rows.split)
        return code.add(upper, code.resize(lower, bits or 64))

    def value(self, name: str, at: str) -> Vec:
        """An op's vector from memory, in the narrowest word from 32 bits on."""
        bits = max(32, self.bits(name))
        return self.code.resize(self.take(self.place(name), at, bits), bits)

    def put(self, value: Vec, rows: Rows, at: str) -> None:
        self.code.store(self.code.resize(value, rows.bits), self.address(rows, at))

    def move(self, rows: Rows, to: Rows, count: int) -> None:
        """Rows to other rows."""
        self.each(count, lambda at: self.put(self.take(rows, at), to, at))

    def copy(self, name: str, to: Rows) -> None:
        """An op's rows to other rows."""
        self.each(self.size(name), lambda at: self.put(self.value(name, at), to, at))

    @contextmanager
    def tallies(self, names: Iterable[str], v: str) -> Iterator[dict[str, Var]]:
        """Overflow counts of a vector of sequences, in registers meanwhile; of those ops alone that are counted."""
        code = self.code
        found = {name: code.variable(code.constant(0, 32)) for name in names if name in self.counters}
        yield found
        for name, tally in found.items():
            bits = self.frame.counts[self.full(name)].bits
            place = code.address(self.counters[name], 0, (v, code.lanes * bits // 8))
            code.store(code.add(code.load(place, bits), code.resize(code.get(tally), bits)), place)

    def argument(self, name: str, at: str) -> Vec:
        """An operand from outside of a loop: a number, or from memory."""
        number = self.number(name)
        if number is None:
            return self.value(name, at)
        return self.code.constant(number, max(32, self.bits(name)))

    def every(self, name: str, v: str) -> Vec:
        """The only element of an op, for all elements of vector ``v`` of sequences."""
        code = self.code
        if not self.frame.single or self.number(name) is not None:
            return self.argument(name, v)
        lanes, first, self.first = code.lanes, self.first, 0
        with code.lanes_of(1):
            one = self.value(name, "0")
        self.first = first
        return code.spread(one, lanes)

    def number(self, name: str) -> int | None:
        """The number that a constant of one element is."""
        op = self.program[name]
        return int(op.values.data[0]) if isinstance(op, Constant) and op.values.shape[0] == 1 else None
