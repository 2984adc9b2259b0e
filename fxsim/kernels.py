# SPDX-License-Identifier: Apache-2.0
"""Fold 2: programs in numba. One compiled machine runs every program; shifts, limits and weights are its data.

A program is translated once to a table of numbers (:func:`translate`), and :func:`run` walks that table for a block of
sequences. The batch is the innermost axis everywhere, so that every op, lookups included, is one vector loop; the walk
itself costs a few nanoseconds an op and block. Nothing is compiled for a new network or a new precision.

The rounding here is written apart from ``fixed.py`` on purpose: shared code would share its bugs. Tests tie them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from .fixed import Fixed, IntArray, Overflow, Round, cast
from .program import (
    Add,
    Cast,
    Concat,
    Constant,
    Dot,
    Largest,
    Lookup,
    Max,
    Min,
    Mul,
    OneHot,
    Op,
    Program,
    Select,
    Slice,
    Sub,
    Total,
)
from .ranges import Bounds, bounds

#: Machine integers hold exact results below this magnitude. A shift by more than 63 then rounds as one by 63 does.
_LIMIT = 1 << 62

_ROUNDS = {mode: i for i, mode in enumerate(Round)}
TRN, TRN_ZERO, RND, RND_ZERO, RND_INF, RND_MIN_INF, RND_CONV = range(7)
_OVERFLOWS = {Overflow.WRAP: 1, Overflow.SAT: 2, Overflow.SAT_ZERO: 3, Overflow.SAT_SYM: 2}
FITS, WRAP, SAT, SAT_ZERO = range(4)

# Columns of the instruction table.
KIND, OUT, SIZE, A, A_SIZE, B, B_SIZE, C, C_SIZE = range(9)
SHIFT, ROUND, OVER, LOW, HIGH, WIDTH = range(9, 15)
A_LEFT, B_LEFT, C_LEFT = range(15, 18)
DATA, DATA_2, EXTRA, EXTRA_2, SLOT, STEP, NARROW = range(18, 25)
COLUMNS = 25
#: What 32-bit integers do for a matrix product.
WIDE, EXACT_32, MODULO_32 = range(3)

ADD, SUB, MUL, MAX, MIN, SELECT, CAST, LOOKUP, TOTAL, LARGEST, ONEHOT, COPY = range(12)
DOT_SUM, DOT_ROUNDED, DOT_ORDERED = range(12, 15)
_KINDS: dict[type[Op], int] = {
    Add: ADD, Sub: SUB, Mul: MUL, Max: MAX, Min: MIN, Select: SELECT, Cast: CAST, Lookup: LOOKUP, Total: TOTAL,
    Largest: LARGEST, OneHot: ONEHOT,
}  # fmt: skip


class TooWide(Exception):
    """An op's exact result does not fit a machine integer; the reference fold must compute it."""


@dataclass(frozen=True)
class Machine:
    """A program translated for :func:`run`.

    ``code`` is the instruction table, ``data`` its constants (weights, biases, tables), ``rows`` the height of the
    working memory, ``places`` where each op's rows start, ``loads`` (row, size, offset in ``data``) of constants,
    ``updates`` (state row, update row, size) of the states, ``counted`` the ops whose overflows have a slot.
    """

    program: Program
    code: IntArray
    data: IntArray
    data32: NDArray[np.int32]
    rows: int
    places: dict[str, int]
    loads: IntArray
    updates: IntArray
    counted: tuple[str, ...]


def translate(program: Program) -> Machine:
    """The program as numbers; raises :class:`TooWide` if machine integers cannot hold a result."""
    return _Translator(program).machine()


class _Translator:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.bounds = bounds(program)
        self.places: dict[str, int] = {}
        self.rows = 0
        self.code: list[list[int]] = []
        self.data: list[IntArray] = []
        self.filled = 0
        self.loads: list[tuple[int, int, int]] = []
        self.counted: list[str] = []

    def machine(self) -> Machine:
        for op in self.program.ops:
            self.translate(op)
        updates = [(self.places[s.name], self.places[s.update], s.elements) for s in self.program.states]
        data = np.concatenate(self.data) if self.data else np.zeros(1, np.int64)
        fits = (data >= -(1 << 31)) & (data < 1 << 31)
        return Machine(
            self.program,
            np.array(self.code, np.int64).reshape(-1, COLUMNS),
            data,
            np.where(fits, data, 0).astype(np.int32),
            self.rows,
            self.places,
            np.array(self.loads, np.int64).reshape(-1, 3),
            np.array(updates, np.int64).reshape(-1, 3),
            tuple(self.counted),
        )

    def keep(self, values: Any) -> int:
        """Offset of ``values`` in the constants."""
        flat = np.asarray(values, np.int64).reshape(-1)
        self.data.append(flat)
        self.filled += flat.size
        return self.filled - flat.size

    def translate(self, op: Op) -> None:
        size = self.program.sizes[op.name]
        if isinstance(op, Slice):  # a view
            self.places[op.name] = self.places[op.arg] + op.start
            return
        self.places[op.name] = self.rows
        self.rows += size
        known = self.bounds[op.name]
        _check(op, known.exact)
        if known.low < -(1 << 63) or known.high >= 1 << 63:
            raise TooWide(f"op {op.name!r} has results wider than 64 bits")
        if isinstance(op, Constant):
            self.loads.append((self.places[op.name], size, self.keep(op.values.data)))
        elif isinstance(op, Dot):
            self.dot(op, known)
        elif isinstance(op, Concat):
            at = self.places[op.name]
            for part in op.parts:
                row = self.row(COPY, op, known, [part])
                row[OUT], row[SIZE] = at, self.program.sizes[part]
                at += row[SIZE]
                self.code.append(row)
        elif type(op) in _KINDS:
            self.plain(op, known)

    def row(self, kind: int, op: Op, known: Bounds, args: list[str]) -> list[int]:
        """An instruction with its operands and the cast to the op's format."""
        row = [0] * COLUMNS
        row[KIND], row[OUT], row[SIZE] = kind, self.places[op.name], self.program.sizes[op.name]
        for i, arg in enumerate(args):
            row[A + 2 * i], row[A_SIZE + 2 * i] = self.places[arg], self.program.sizes[arg]
        to = op.type
        shift = known.exact_frac - to.frac
        row[SHIFT] = self.shift(op, shift, known.exact)
        row[ROUND] = _ROUNDS[to.round]
        row[OVER] = _OVERFLOWS[to.overflow] if known.overflows else FITS
        row[LOW], row[HIGH], row[WIDTH] = _word(to.min), _word(to.max), min(to.width, 64)
        row[SLOT] = len(self.counted)
        self.counted.append(op.name)
        return row

    def shift(self, op: Op, shift: int, exact: tuple[int, int]) -> int:
        if shift < 0:
            _check(op, (exact[0] << -shift, exact[1] << -shift))
        return min(shift, 63)

    def plain(self, op: Op, known: Bounds) -> None:
        program = self.program
        row = self.row(_KINDS[type(op)], op, known, list(op.args))
        fracs = [program[name].type.frac for name in op.args]
        if isinstance(op, Add | Sub | Max | Min | Select):
            for i, (name, frac) in enumerate(zip(op.args, fracs, strict=True)):
                row[A_LEFT + i] = max(fracs) - frac
                arg = self.bounds[name]
                _check(op, (arg.low << row[A_LEFT + i], arg.high << row[A_LEFT + i]))
        elif isinstance(op, Lookup):
            table = op.table
            arg = self.bounds[op.arg]
            scaled = (arg.low * table.scale, arg.high * table.scale)
            _check(op, scaled)
            shift = fracs[0] - table.frac
            row[SHIFT] = self.shift(op, shift, scaled)
            row[ROUND] = _ROUNDS[table.round]
            row[DATA] = self.keep(table.entries(op.type))
            row[LOW], row[HIGH], row[EXTRA] = table.first, table.last, table.scale
            row[OVER] = FITS
        elif isinstance(op, Total):
            shift = fracs[0] - op.type.frac
            arg = self.bounds[op.arg]
            row[SHIFT] = self.shift(op, shift, (arg.low, arg.high))
        elif isinstance(op, OneHot):
            row[EXTRA], row[EXTRA_2] = cast(1, 0, op.type), cast(0, 0, op.type)
        self.code.append(row)

    def dot(self, op: Dot, known: Bounds) -> None:
        to = op.type
        _check(op, known.product)
        shift = self.program[op.arg].type.frac + op.weights.type.frac - to.frac
        ordered = known.overflows and to.overflow is not Overflow.WRAP
        simple = shift <= 0 or (to.round in (Round.TRN, Round.RND) and shift < 63)
        kind = DOT_ORDERED if ordered else DOT_SUM if simple else DOT_ROUNDED
        row = self.row(kind, op, known, [op.arg])
        row[SHIFT] = self.shift(op, shift, known.product)
        # A wrapping sum may pass through machine wrap-around too: 2**64 is a multiple of its own modulus.
        weights = np.swapaxes(op.weights.data, -1, -2)
        if ordered:
            weights = weights[..., op.order()]
            row[EXTRA] = self.keep(op.order())
        row[DATA] = self.keep(np.ascontiguousarray(weights))
        biases = [cast(int(v), op.bias.type.frac, to) for v in op.bias.data] if op.bias else [0] * row[SIZE]
        row[DATA_2] = self.keep([_word(v) for v in biases])
        row[STEP] = weights.shape[-1] * weights.shape[-2] if weights.ndim == 3 else 0
        row[NARROW] = self.narrow(op, known, shift, weights) if kind == DOT_SUM else WIDE
        self.code.append(row)

    def narrow(self, op: Dot, known: Bounds, shift: int, weights: IntArray) -> int:
        """Whether 32-bit integers hold a product and its sum, or its sum modulo 2**32 where the accumulator wraps."""
        arg = self.bounds[op.arg]
        limit = 1 << 31
        half = 1 << (shift - 1) if shift > 0 else 0
        product = max(-known.product[0], known.product[1]) + half
        operands = max(-arg.low, arg.high, int(np.abs(weights).max()))
        if not 0 <= shift < 31 or max(product, operands) >= limit:
            return WIDE
        # Sums without their bias, which may be the larger part of them.
        sums = max(-known.exact[0], known.exact[1]) * 2
        if sums < limit:
            return EXACT_32
        return MODULO_32 if op.type.overflow is Overflow.WRAP and op.type.width <= 32 else WIDE


def _check(op: Op, interval: tuple[int, int]) -> None:
    if interval[0] <= -_LIMIT or interval[1] >= _LIMIT:
        raise TooWide(f"op {op.name!r} needs {max(-interval[0], interval[1]).bit_length() + 1} bits")


def _word(value: int) -> int:
    """Limits beyond a machine integer are beyond every value that meets them."""
    return min(max(value, -(1 << 63)), (1 << 63) - 1)


def translated_type(type: Fixed) -> tuple[int, int]:
    """Codes of the rounding and overflow modes, for tests of the compiled cast."""
    return _ROUNDS[type.round], _OVERFLOWS[type.overflow]


@nb.njit(inline="always")
def _round_row(row: Any, shift: int, mode: int) -> None:
    """``row * 2**-shift`` rounded, in place."""
    n = row.shape[0]
    if shift == 0:
        return
    if shift < 0:
        for b in range(n):
            row[b] = row[b] << -shift
        return
    if mode == TRN:
        for b in range(n):
            row[b] = row[b] >> shift
        return
    # guard: the first dropped bit; sticky: any below it. Up to 62 bits of magnitude, so shift 63 leaves the sign.
    below = (np.int64(1) << (shift - 1)) - 1
    for b in range(n):
        v = row[b]
        guard = (v >> (shift - 1)) & 1
        sticky = np.int64((v & below) != 0)
        negative = np.int64(v < 0)
        kept = v >> shift
        if mode == RND:
            up = guard
        elif mode == TRN_ZERO:
            up = negative & (guard | sticky)
        elif mode == RND_ZERO:
            up = guard & (sticky | negative)
        elif mode == RND_INF:
            up = guard & (sticky | (1 - negative))
        elif mode == RND_MIN_INF:
            up = guard & sticky
        else:
            up = guard & (sticky | (kept & 1))
        row[b] = kept + up


@nb.njit(inline="always")
def _overflow_row(row: Any, over: int, low: int, high: int, width: int) -> None:
    n = row.shape[0]
    if over == SAT:
        for b in range(n):
            row[b] = min(max(row[b], low), high)
    elif over == WRAP:
        if low < 0:
            up = 64 - width
            for b in range(n):
                row[b] = (row[b] << up) >> up
        elif width < 64:
            mask = (np.int64(1) << width) - 1
            for b in range(n):
                row[b] = row[b] & mask
    elif over == SAT_ZERO:
        for b in range(n):
            v = row[b]
            row[b] = v if low <= v <= high else 0


@nb.njit(inline="always")
def _count_row(row: Any, low: int, high: int, count: Any) -> None:
    for b in range(row.shape[0]):
        count[b] += np.int64(row[b] < low) | np.int64(row[b] > high)


@nb.njit(inline="always")
def _cast_row(row: Any, c: Any, counts: Any, counting: bool) -> None:
    """Round, count, overflow: the row into the instruction's format."""
    _round_row(row, c[SHIFT], c[ROUND])
    if c[OVER] != FITS:
        if counting:
            _count_row(row, c[LOW], c[HIGH], counts[c[SLOT]])
        _overflow_row(row, c[OVER], c[LOW], c[HIGH], c[WIDTH])


@nb.njit(nogil=True, cache=True)
def cast_rows(rows: Any, shift: int, mode: int, over: int, low: int, high: int, width: int) -> None:
    """The compiled cast alone, in place, of int64 (rows, batch); for tests."""
    for j in range(rows.shape[0]):
        _round_row(rows[j], shift, mode)
        _overflow_row(rows[j], over, low, high, width)


@nb.njit(nogil=True, cache=True)
def _accumulate(weights: Any, x: Any, sums: Any) -> None:
    """``sums += weights @ x`` in the arrays' own integers, four outputs by four inputs at a time.

    Sixteen products for each load and store of four sums keep the multipliers, not the memory ports, busy.
    """
    outputs, inputs = weights.shape
    batch = x.shape[1]
    for r in range(0, outputs - 3, 4):
        w = weights[r : r + 4]
        s0, s1, s2, s3 = sums[r], sums[r + 1], sums[r + 2], sums[r + 3]
        for k in range(0, inputs - 3, 4):
            x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
            w00, w01, w02, w03 = w[0, k], w[0, k + 1], w[0, k + 2], w[0, k + 3]
            w10, w11, w12, w13 = w[1, k], w[1, k + 1], w[1, k + 2], w[1, k + 3]
            w20, w21, w22, w23 = w[2, k], w[2, k + 1], w[2, k + 2], w[2, k + 3]
            w30, w31, w32, w33 = w[3, k], w[3, k + 1], w[3, k + 2], w[3, k + 3]
            for b in range(batch):
                v0, v1, v2, v3 = x0[b], x1[b], x2[b], x3[b]
                s0[b] += w00 * v0 + w01 * v1 + w02 * v2 + w03 * v3
                s1[b] += w10 * v0 + w11 * v1 + w12 * v2 + w13 * v3
                s2[b] += w20 * v0 + w21 * v1 + w22 * v2 + w23 * v3
                s3[b] += w30 * v0 + w31 * v1 + w32 * v2 + w33 * v3
        for k in range(inputs - inputs % 4, inputs):
            x0 = x[k]
            w00, w10, w20, w30 = w[0, k], w[1, k], w[2, k], w[3, k]
            for b in range(batch):
                v0 = x0[b]
                s0[b] += w00 * v0
                s1[b] += w10 * v0
                s2[b] += w20 * v0
                s3[b] += w30 * v0
    for r in range(outputs - outputs % 4, outputs):
        s0 = sums[r]
        for k in range(inputs):
            x0, w00 = x[k], weights[r, k]
            for b in range(batch):
                s0[b] += w00 * x0[b]


@nb.njit(nogil=True, cache=True)
def _accumulate_rounded(weights: Any, x: Any, sums: Any, shift: int, half: int) -> None:
    """``sums += (weights * x + half) >> shift`` product by product, four outputs by two inputs at a time."""
    outputs, inputs = weights.shape
    batch = x.shape[1]
    for r in range(0, outputs - 3, 4):
        w = weights[r : r + 4]
        s0, s1, s2, s3 = sums[r], sums[r + 1], sums[r + 2], sums[r + 3]
        for k in range(0, inputs - 1, 2):
            x0, x1 = x[k], x[k + 1]
            w00, w01, w10, w11 = w[0, k], w[0, k + 1], w[1, k], w[1, k + 1]
            w20, w21, w30, w31 = w[2, k], w[2, k + 1], w[3, k], w[3, k + 1]
            for b in range(batch):
                v0, v1 = x0[b], x1[b]
                s0[b] += ((w00 * v0 + half) >> shift) + ((w01 * v1 + half) >> shift)
                s1[b] += ((w10 * v0 + half) >> shift) + ((w11 * v1 + half) >> shift)
                s2[b] += ((w20 * v0 + half) >> shift) + ((w21 * v1 + half) >> shift)
                s3[b] += ((w30 * v0 + half) >> shift) + ((w31 * v1 + half) >> shift)
        for k in range(inputs - inputs % 2, inputs):
            x0 = x[k]
            w00, w10, w20, w30 = w[0, k], w[1, k], w[2, k], w[3, k]
            for b in range(batch):
                v0 = x0[b]
                s0[b] += (w00 * v0 + half) >> shift
                s1[b] += (w10 * v0 + half) >> shift
                s2[b] += (w20 * v0 + half) >> shift
                s3[b] += (w30 * v0 + half) >> shift
    for r in range(outputs - outputs % 4, outputs):
        s0 = sums[r]
        for k in range(inputs):
            x0, w00 = x[k], weights[r, k]
            for b in range(batch):
                s0[b] += (w00 * x0[b] + half) >> shift


@nb.njit(nogil=True, cache=True)
def _dot(c: Any, data: Any, data32: Any, mem: Any, offset: int, x32: Any, sum32: Any, narrow: bool) -> None:
    """A matrix product whose products are exact, truncated or rounded half up; 32-bit integers where they suffice."""
    inputs, size = c[A_SIZE], c[SIZE]
    x = mem[c[A] : c[A] + inputs]
    out = mem[c[OUT] : c[OUT] + size]
    shift = max(c[SHIFT], 0)
    half = np.int64(1) << (shift - 1) if shift > 0 and c[ROUND] == RND else np.int64(0)
    if narrow:
        for k in range(inputs):
            for b in range(x.shape[1]):
                x32[k, b] = np.int32(x[k, b])
        sums = sum32[:size]
        sums[:] = 0
        weights = data32[offset : offset + size * inputs].reshape(size, inputs)
        if shift == 0:
            _accumulate(weights, x32, sums)
        else:
            _accumulate_rounded(weights, x32, sums, np.int32(shift), np.int32(half))
        for r in range(size):
            bias = data[c[DATA_2] + r]
            for b in range(x.shape[1]):
                out[r, b] = np.int64(sums[r, b]) + bias
        return
    out[:] = 0
    wide = data[offset : offset + size * inputs].reshape(size, inputs)
    if shift == 0:
        _accumulate(wide, x, out)
    else:
        _accumulate_rounded(wide, x, out, shift, half)
    left = max(-c[SHIFT], 0)
    for r in range(size):
        bias = data[c[DATA_2] + r]
        for b in range(x.shape[1]):
            out[r, b] = (out[r, b] << left) + bias


@nb.njit(nogil=True, cache=True)
def _dot_rounded(c: Any, data: Any, mem: Any, offset: int, term: Any) -> None:
    """Each product rounded by a mode that needs more than an addition; the sum wraps or fits."""
    inputs = c[A_SIZE]
    for r in range(c[SIZE]):
        row = mem[c[OUT] + r]
        row[:] = data[c[DATA_2] + r]
        base = offset + r * inputs
        for k in range(inputs):
            w = data[base + k]
            if w == 0:
                continue
            x = mem[c[A] + k]
            for b in range(row.shape[0]):
                term[b] = w * x[b]
            _round_row(term, c[SHIFT], c[ROUND])
            for b in range(row.shape[0]):
                row[b] += term[b]


@nb.njit(nogil=True, cache=True)
def _dot_ordered(c: Any, data: Any, mem: Any, offset: int, term: Any, hit: Any, counts: Any, counting: bool) -> None:
    """Products and partial sums saturate, one after another in the op's order."""
    inputs = c[A_SIZE]
    for r in range(c[SIZE]):
        row = mem[c[OUT] + r]
        row[:] = data[c[DATA_2] + r]
        hit[:] = 0
        base = offset + r * inputs
        for k in range(inputs):
            w = data[base + k]
            x = mem[c[A] + data[c[EXTRA] + k]]
            for b in range(row.shape[0]):
                term[b] = w * x[b]
            _round_row(term, c[SHIFT], c[ROUND])
            if counting:
                _count_row(term, c[LOW], c[HIGH], hit)
            _overflow_row(term, c[OVER], c[LOW], c[HIGH], c[WIDTH])
            for b in range(row.shape[0]):
                row[b] += term[b]
            if counting:
                _count_row(row, c[LOW], c[HIGH], hit)
            _overflow_row(row, c[OVER], c[LOW], c[HIGH], c[WIDTH])
        if counting:
            for b in range(row.shape[0]):
                counts[c[SLOT], b] += np.int64(hit[b] != 0)


@nb.njit(nogil=True, cache=True)
def _total(c: Any, mem: Any, scratch: Any, hit: Any, counts: Any, counting: bool) -> None:
    """Balanced tree, each partial sum cast; the left part is a power of two, so pairs at growing strides do it."""
    n = c[A_SIZE]
    batch = mem.shape[1]
    hit[:] = 0
    for k in range(n):
        scratch[k, :batch] = mem[c[A] + k]
        _round_row(scratch[k], c[SHIFT], c[ROUND])
        if c[OVER] != FITS:
            if counting:
                _count_row(scratch[k], c[LOW], c[HIGH], hit)
            _overflow_row(scratch[k], c[OVER], c[LOW], c[HIGH], c[WIDTH])
    stride = 1
    while stride < n:
        for k in range(0, n - stride, 2 * stride):
            left, right = scratch[k], scratch[k + stride]
            for b in range(batch):
                left[b] += right[b]
            if c[OVER] != FITS:
                if counting:
                    _count_row(left, c[LOW], c[HIGH], hit)
                _overflow_row(left, c[OVER], c[LOW], c[HIGH], c[WIDTH])
        stride *= 2
    mem[c[OUT]] = scratch[0, :batch]
    if counting:
        for b in range(batch):
            counts[c[SLOT], b] += np.int64(hit[b] != 0)


@nb.njit(nogil=True, cache=True)
def _elementwise(c: Any, data: Any, mem: Any, counts: Any, counting: bool) -> None:
    kind = c[KIND]
    batch = mem.shape[1]
    for j in range(c[SIZE]):
        row = mem[c[OUT] + j]
        a = mem[c[A] + (j if c[A_SIZE] > 1 else 0)]
        la, lb = c[A_LEFT], c[B_LEFT]
        if kind in (CAST, COPY):
            for b in range(batch):
                row[b] = a[b]
        elif kind == LOOKUP:
            scale = c[EXTRA]
            for b in range(batch):
                row[b] = a[b] * scale
            _round_row(row, c[SHIFT], c[ROUND])
            low, high, base = c[LOW], c[HIGH], c[DATA] - c[LOW]
            for b in range(batch):
                row[b] = data[base + min(max(row[b], low), high)]
            continue
        else:
            o = mem[c[B] + (j if c[B_SIZE] > 1 else 0)]
            if kind == ADD:
                for b in range(batch):
                    row[b] = (a[b] << la) + (o[b] << lb)
            elif kind == SUB:
                for b in range(batch):
                    row[b] = (a[b] << la) - (o[b] << lb)
            elif kind == MUL:
                for b in range(batch):
                    row[b] = a[b] * o[b]
            elif kind == MAX:
                for b in range(batch):
                    row[b] = max(a[b] << la, o[b] << lb)
            elif kind == MIN:
                for b in range(batch):
                    row[b] = min(a[b] << la, o[b] << lb)
            else:
                e = mem[c[C] + (j if c[C_SIZE] > 1 else 0)]
                lc = c[C_LEFT]
                for b in range(batch):
                    row[b] = (o[b] << lb) if a[b] > 0 else (e[b] << lc)
        if kind != COPY:
            _cast_row(row, c, counts, counting)


@nb.njit(nogil=True, cache=True)
def _reduce(c: Any, mem: Any, best: Any, counts: Any, counting: bool) -> None:
    """Largest element, or one-hot of the first one."""
    batch = mem.shape[1]
    row = mem[c[OUT]]
    if c[KIND] == LARGEST:
        row[:] = mem[c[A]]
        for k in range(1, c[A_SIZE]):
            a = mem[c[A] + k]
            for b in range(batch):
                row[b] = max(row[b], a[b])
        _cast_row(row, c, counts, counting)
        return
    best[:batch] = 0
    for k in range(1, c[A_SIZE]):
        for b in range(batch):
            if mem[c[A] + k, b] > mem[c[A] + best[b], b]:
                best[b] = k
    for k in range(c[SIZE]):
        for b in range(batch):
            mem[c[OUT] + k, b] = c[EXTRA] if best[b] == k else c[EXTRA_2]


@nb.njit(nogil=True, cache=True)
def run(
    code: Any,
    data: Any,
    data32: Any,
    loads: Any,
    updates: Any,
    mem: Any,
    input_row: int,
    x: Any,
    output_row: int,
    out: Any,
    reverse: bool,
    counts: Any,
    counting: bool,
    trace: Any,
    tracing: bool,
) -> None:
    """Run a translated program over a block.

    ``x`` is int64 (steps, elements, batch); ``mem`` (rows, batch) holds the states at entry and exit; ``out`` is
    (steps or 1, elements, batch): with 1, the last step's result. ``reverse`` walks the steps backward. ``counts`` is
    (slots, batch), ``trace`` (steps, rows, batch).
    """
    steps, elements, batch = x.shape
    widest = 1
    largest = 1
    for i in range(code.shape[0]):
        widest = max(widest, code[i, A_SIZE])
        largest = max(largest, code[i, SIZE])
    scratch = np.empty((widest, batch), np.int64)
    term = np.empty(batch, np.int64)
    hit = np.empty(batch, np.int64)
    x32 = np.empty((widest, batch), np.int32)
    sum32 = np.empty((largest, batch), np.int32)
    for i in range(loads.shape[0]):
        for j in range(loads[i, 1]):
            mem[loads[i, 0] + j] = data[loads[i, 2] + j]
    for t in range(steps):
        step = steps - 1 - t if reverse else t
        for j in range(elements):
            mem[input_row + j] = x[step, j]
        for i in range(code.shape[0]):
            c = code[i]
            kind = c[KIND]
            if kind in (DOT_SUM, DOT_ROUNDED):
                offset = c[DATA] + t * c[STEP]
                if kind == DOT_SUM:
                    narrow = c[NARROW] == EXACT_32 or (c[NARROW] == MODULO_32 and not counting)
                    _dot(c, data, data32, mem, offset, x32, sum32, narrow)
                else:
                    _dot_rounded(c, data, mem, offset, term)
                if c[OVER] != FITS:
                    for j in range(c[SIZE]):
                        row = mem[c[OUT] + j]
                        if counting:
                            _count_row(row, c[LOW], c[HIGH], counts[c[SLOT]])
                        _overflow_row(row, c[OVER], c[LOW], c[HIGH], c[WIDTH])
            elif kind == DOT_ORDERED:
                _dot_ordered(c, data, mem, c[DATA] + t * c[STEP], term, hit, counts, counting)
            elif kind == TOTAL:
                _total(c, mem, scratch, hit, counts, counting)
            elif kind in (LARGEST, ONEHOT):
                _reduce(c, mem, hit, counts, counting)
            else:
                _elementwise(c, data, mem, counts, counting)
        if tracing:
            trace[step] = mem
        place = step if out.shape[0] == steps else 0
        for j in range(out.shape[1]):
            out[place, j] = mem[output_row + j]
        # All updates are read before any state changes: one state's update may be another state.
        at = 0
        for i in range(updates.shape[0]):
            for j in range(updates[i, 2]):
                scratch_row = mem[updates[i, 1] + j]
                mem[mem.shape[0] - 1 - at] = scratch_row
                at += 1
        at = 0
        for i in range(updates.shape[0]):
            for j in range(updates[i, 2]):
                mem[updates[i, 0] + j] = mem[mem.shape[0] - 1 - at]
                at += 1


def first_state(machine: Machine, batch: int) -> IntArray:
    """Working memory for a block of ``batch`` sequences, with the states before their first step."""
    kept = sum(op.elements for op in machine.program.states)
    mem = np.zeros((machine.rows + kept, batch), np.int64)
    for op in machine.program.states:
        if op.init is not None:
            place = machine.places[op.name]
            mem[place : place + op.elements] = op.init.data[:, None]
    return mem
