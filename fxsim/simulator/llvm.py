# SPDX-License-Identifier: Apache-2.0
"""Vectors of integers as text of LLVM's intermediate language: what a kernel is written in.

A :class:`Code` is one function under construction. Every value is a :class:`Vec`: ``lanes`` integers of 16, 32 or 64
bits, one sequence a lane. Nothing here knows of programs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import KernelError
from ..program.fixed import Round

#: Rounding modes as the numbers that kernels compare.
ROUNDS = {mode: i for i, mode in enumerate(Round)}
TRN, TRN_ZERO, RND, RND_ZERO, RND_INF, RND_MIN_INF, RND_CONV = ROUNDS.values()


@dataclass(frozen=True)
class Vec:
    """A value: its name in the text, the bits of an element, its elements."""

    name: str
    bits: int
    lanes: int

    @property
    def type(self) -> str:
        """Its type in the text."""
        return f"<{self.lanes} x i{self.bits}>"


@dataclass(frozen=True)
class Var:
    """A vector that loops change."""

    place: str
    bits: int
    lanes: int


def fits(low: int, high: int, bits: int) -> bool:
    """Whether signed integers of ``bits`` hold everything from ``low`` to ``high``."""
    return low >= -(1 << (bits - 1)) and high < 1 << (bits - 1)


def magnitude(low: int, high: int) -> int:
    """Bits without the sign of everything from ``low`` to ``high``."""
    return max(-low - 1, high, 0).bit_length()


def word(low: int, high: int) -> int:
    """Bits of the smallest word (16, 32 or 64) that holds ``low..high``."""
    return next((bits for bits in (16, 32) if fits(low, high, bits)), 64)


class Code:
    """A function ``void name(args)`` of pointers and 64-bit integers, written line by line.

    ``lanes`` is how many 32-bit integers a vector register holds. Vectors of another width have as many lanes, unless
    said otherwise.
    """

    def __init__(self, name: str, pointers: Sequence[str], integers: Sequence[str], lanes: int) -> None:
        args = [f"ptr noalias %{a}" for a in pointers] + [f"i64 %{a}" for a in integers]
        self.head = f"define void @{name}({', '.join(args)}) nounwind {{"
        self.lanes = lanes
        self.variables: list[str] = []
        self.lines: list[str] = []
        self.declared: dict[str, str] = {}
        self.count = 0
        self.label = "start"
        self.work = ""  # the op that is being written, for those who ask

    def text(self) -> str:
        """The whole module."""
        body = ["entry:", *self.variables, "  br label %start", "start:", *self.lines, "  ret void", "}"]
        return "\n".join([*self.declared.values(), self.head, *body, ""])

    # --- Lines

    def new(self) -> str:
        self.count += 1
        return f"%v{self.count}"

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def op(self, text: str) -> str:
        """A line that names its value."""
        name = self.new()
        self.lines.append(f"  {name} = {text}")
        return name

    @contextmanager
    def loop(self, count: int) -> Iterator[str]:
        """Repeat what is written inside ``count`` (1 or more) times; gives the index, an i64."""
        if count == 1:
            yield "0"
            return
        with self.loop_while(str(count)) as index:
            yield index

    @contextmanager
    def loop_while(self, count: str) -> Iterator[str]:
        """:meth:`loop` with a count that is known when the code runs."""
        before, index = self.label, self.new()
        body, after = f"body{self.count}", f"after{self.count}"
        self.lines += [f"  br label %{body}", f"{body}:", ""]
        place = len(self.lines) - 1
        self.label = body
        yield index
        after_index = self.op(f"add nuw nsw i64 {index}, 1")
        again = self.op(f"icmp ult i64 {after_index}, {count}")
        self.line(f"br i1 {again}, label %{body}, label %{after}")
        self.lines[place] = f"  {index} = phi i64 [ 0, %{before} ], [ {after_index}, %{self.label} ]"
        self.lines.append(f"{after}:")
        self.label = after

    def address(self, base: str, offset: int = 0, *terms: tuple[str, int]) -> str:
        """``base + offset + sum(index * stride)``, in bytes."""
        total = str(offset)
        for index, stride in terms:
            if index == "0":
                continue
            scaled = index if stride == 1 else self.op(f"mul nsw i64 {index}, {stride}")
            total = scaled if total == "0" else self.op(f"add nsw i64 {scaled}, {total}")
        return base if total == "0" else self.op(f"getelementptr i8, ptr {base}, i64 {total}")

    # --- Memory. What checks it (``guards.py``) wants to know which tensor an address belongs to.

    def part(self, base: str, offset: int, size: int, name: str) -> tuple[str, int]:
        """A tensor of ``size`` bytes, ``offset`` bytes behind an argument: from where, and how far, it is addressed."""
        return base, offset

    def tensor(self, pointer: str, size: int, name: str) -> str:
        """A pointer to a tensor of ``size`` bytes."""
        return pointer

    def number(self, place: str) -> str:
        """A 64-bit integer in memory."""
        return self.op(f"load i64, ptr {place}, align 8")

    def entry(self, table: str, bits: int, index: str) -> str:
        """An integer of a table in memory."""
        place = self.op(f"getelementptr i{bits}, ptr {table}, i64 {index}")
        return self.op(f"load i{bits}, ptr {place}, align {bits // 8}")

    # --- Vectors

    @contextmanager
    def lanes_of(self, lanes: int) -> Iterator[None]:
        """Vectors inside have ``lanes`` lanes unless said otherwise."""
        before, self.lanes = self.lanes, lanes
        yield
        self.lanes = before

    def constant(self, value: int, bits: int, lanes: int = 0) -> Vec:
        """The same number in every lane; one without a sign may have the word's last bit."""
        if not -(1 << (bits - 1)) <= value < 1 << bits:
            raise KernelError(f"op {self.work!r}: {value} does not fit a word of {bits} bits")
        return Vec(f"splat (i{bits} {value})", bits, lanes or self.lanes)

    def load(self, place: str, bits: int, lanes: int = 0) -> Vec:
        """A vector from memory."""
        lanes = lanes or self.lanes
        return Vec(self.op(f"load <{lanes} x i{bits}>, ptr {place}, align {bits // 8}"), bits, lanes)

    def store(self, value: Vec, place: str) -> None:
        """A vector to memory."""
        self.line(f"store {value.type} {value.name}, ptr {place}, align {value.bits // 8}")

    def splat(self, place: str, bits: int, lanes: int = 0) -> Vec:
        """A number in memory, in every lane."""
        return self.spread(self.load(place, bits, 1), lanes or self.lanes)

    def spread(self, some: Vec, times: int) -> Vec:
        """The lanes of a vector, ``times`` times one after another."""
        lanes = times * some.lanes
        picked = ", ".join(f"i32 {i % some.lanes}" for i in range(lanes))
        every = f"shufflevector {some.type} {some.name}, {some.type} poison, <{lanes} x i32> <{picked}>"
        return Vec(self.op(every), some.bits, lanes)

    def variable(self, value: Vec) -> Var:
        """A variable with its first value."""
        place = f"%x{len(self.variables)}"
        self.variables.append(f"  {place} = alloca {value.type}, align 64")
        variable = Var(place, value.bits, value.lanes)
        self.set(variable, value)
        return variable

    def get(self, variable: Var) -> Vec:
        value = Vec("", variable.bits, variable.lanes)
        return Vec(self.op(f"load {value.type}, ptr {variable.place}, align 64"), value.bits, value.lanes)

    def set(self, variable: Var, value: Vec) -> None:
        self.line(f"store {value.type} {value.name}, ptr {variable.place}, align 64")

    def binary(self, what: str, a: Vec, b: Vec) -> Vec:
        """An instruction of two vectors of one type."""
        return Vec(self.op(f"{what} {a.type} {a.name}, {b.name}"), a.bits, a.lanes)

    def add(self, a: Vec, b: Vec) -> Vec:
        return self.binary("add", a, b)

    def plus(self, a: Vec, value: int) -> Vec:
        """``a + value``."""
        return self.add(a, self.constant(value, a.bits, a.lanes)) if value else a

    def shift(self, what: str, a: Vec, by: int) -> Vec:
        """``shl``, ``ashr`` or ``lshr`` by a number; what leaves the word on the left is lost."""
        if what == "shl" and by >= a.bits:
            return self.constant(0, a.bits, a.lanes)
        return self.binary(what, a, self.constant(by, a.bits, a.lanes)) if by else a

    def resize(self, a: Vec, bits: int) -> Vec:
        """The same numbers in wider words, or their low bits in narrower ones."""
        if a.bits == bits:
            return a
        how = "sext" if bits > a.bits else "trunc"
        to = Vec("", bits, a.lanes)
        return Vec(self.op(f"{how} {a.type} {a.name} to {to.type}"), bits, a.lanes)

    def compare(self, how: str, a: Vec, b: Vec) -> Vec:
        """A vector of truths: ``how`` is one of LLVM's, such as slt."""
        return Vec(self.op(f"icmp {how} {a.type} {a.name}, {b.name}"), 1, a.lanes)

    def select(self, which: Vec, a: Vec, b: Vec) -> Vec:
        return Vec(self.op(f"select {which.type} {which.name}, {a.type} {a.name}, {a.type} {b.name}"), a.bits, a.lanes)

    def truth(self, a: Vec, bits: int) -> Vec:
        """Truths as 0 and 1."""
        return Vec(self.op(f"zext {a.type} {a.name} to <{a.lanes} x i{bits}>"), bits, a.lanes)

    def call(self, name: str, *args: Vec) -> Vec:
        """One of LLVM's functions whose operands and result are of one type."""
        first = args[0]
        full = f"@llvm.{name}.v{first.lanes}i{first.bits}"
        self.declared[full] = f"declare {first.type} {full}({', '.join(a.type for a in args)})"
        operands = ", ".join(f"{a.type} {a.name}" for a in args)
        return Vec(self.op(f"call {first.type} {full}({operands})"), first.bits, first.lanes)

    def smaller(self, a: Vec, b: Vec) -> Vec:
        return self.call("smin", a, b)

    def larger(self, a: Vec, b: Vec) -> Vec:
        return self.call("smax", a, b)

    def clamp(self, a: Vec, low: int, high: int) -> Vec:
        """Limits beyond the word clamp nothing."""
        low, high = max(low, -(1 << (a.bits - 1))), min(high, (1 << (a.bits - 1)) - 1)
        low_v, high_v = (self.constant(v, a.bits, a.lanes) for v in (low, high))
        return self.smaller(self.larger(a, low_v), high_v)

    def outside(self, a: Vec, low: int, high: int) -> Vec:
        """Truth of every lane that is not in ``low..high``; limits beyond the word are met by none."""
        low, high = max(low, -(1 << (a.bits - 1))), min(high, (1 << (a.bits - 1)) - 1)
        under = self.compare("slt", a, self.constant(low, a.bits, a.lanes))
        over = self.compare("sgt", a, self.constant(high, a.bits, a.lanes))
        return self.binary("or", under, over)

    def lookup(self, table: str, bits: int, index: Vec) -> Vec:
        """Entries of a table in memory, at 32-bit indices that are not negative and within it."""
        result = Vec("poison", bits, index.lanes)
        # Indices leave the vector two at a time: that is what it has the fewest ports for.
        twos = index.lanes // 2
        pairs = "" if index.lanes % 2 else self.op(f"bitcast {index.type} {index.name} to <{twos} x i64>")
        for lane in range(index.lanes):
            if not pairs:
                one = self.op(f"extractelement {index.type} {index.name}, i32 {lane}")
                one = self.op(f"zext i32 {one} to i64")
            elif lane % 2 == 0:
                two = self.op(f"extractelement <{twos} x i64> {pairs}, i32 {lane // 2}")
                one = self.op(f"and i64 {two}, {0xFFFFFFFF}")
            else:
                one = self.op(f"lshr i64 {two}, 32")
            entry = self.entry(table, bits, one)
            inserted = self.op(f"insertelement {result.type} {result.name}, i{bits} {entry}, i32 {lane}")
            result = Vec(inserted, bits, index.lanes)
        return result

    # --- Arithmetic of formats

    def round(self, a: Vec, shift: int, mode: int, bits: int) -> Vec:
        """``a * 2**-shift`` rounded.

        ``bits`` says that ``a`` is in ``-2**bits .. 2**bits - 1``; with half a step more it must fit its word.
        """
        if shift <= 0:
            return self.shift("shl", a, -shift)
        # All that a longer shift leaves is the sign. LLVM 22 gets some of them wrong, too: a product of 16-bit numbers
        # shifted by 32 or more becomes a shift of its upper half by more than 15.
        most = min(shift, bits)
        if mode == TRN:
            return self.shift("ashr", a, most)
        if shift > bits + 1:
            return self.constant(0, a.bits, a.lanes)
        if mode == RND and shift < a.bits - 1:
            return self.shift("ashr", self.plus(a, 1 << (shift - 1)), shift)
        # guard: the first dropped bit; sticky: any below it.
        one = self.constant(1, a.bits, a.lanes)
        zero = self.constant(0, a.bits, a.lanes)
        guard = self.binary("and", self.shift("lshr", a, shift - 1), one)
        below = self.binary("and", a, self.constant((1 << (shift - 1)) - 1, a.bits, a.lanes))
        sticky = self.truth(self.compare("ne", below, zero), a.bits)
        negative = self.shift("lshr", a, a.bits - 1)
        kept = self.shift("ashr", a, most)
        if mode == RND:
            up = guard
        elif mode == TRN_ZERO:
            up = self.binary("and", negative, self.binary("or", guard, sticky))
        else:
            others = {
                RND_ZERO: lambda: self.binary("or", sticky, negative),
                RND_INF: lambda: self.binary("or", sticky, self.binary("xor", negative, one)),
                RND_MIN_INF: lambda: sticky,
                RND_CONV: lambda: self.binary("or", sticky, self.binary("and", kept, one)),
            }
            up = self.binary("and", guard, others[mode]())
        return self.add(kept, up)

    def wrap(self, a: Vec, width: int, signed: bool) -> Vec:
        """The low ``width`` bits as a number."""
        if signed:
            up = a.bits - width
            return self.shift("ashr", self.shift("shl", a, up), up)
        return self.binary("and", a, self.constant((1 << width) - 1, a.bits, a.lanes))

    # --- Products

    def pair_products(self, x: Vec, w: Vec) -> Vec:
        """``x[2i] * w[2i] + x[2i+1] * w[2i+1]`` of 16-bit lanes, in half as many of 32: one instruction where there is
        one for it, which LLVM recognises."""
        product = self.binary("mul", self.resize(x, 32), self.resize(w, 32))
        half = x.lanes // 2
        parts = []
        for first in (0, 1):
            picked = ", ".join(f"i32 {i}" for i in range(first, x.lanes, 2))
            shuffled = f"shufflevector {product.type} {product.name}, {product.type} poison, <{half} x i32> <{picked}>"
            parts.append(Vec(self.op(shuffled), 32, half))
        return self.add(*parts)

    def high_product(self, a: Vec, b: Vec) -> Vec:
        """The upper 16 bits of products of 16-bit lanes."""
        product = self.binary("mul", self.resize(a, 32), self.resize(b, 32))
        return self.resize(self.shift("lshr", product, 16), 16)

    def as_pairs(self, a: Vec) -> Vec:
        """32-bit lanes as twice as many of 16."""
        to = Vec("", 16, 2 * a.lanes)
        return Vec(self.op(f"bitcast {a.type} {a.name} to {to.type}"), 16, to.lanes)
