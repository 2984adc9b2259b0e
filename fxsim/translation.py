# SPDX-License-Identifier: Apache-2.0
"""A program as a table of numbers, for the compiled machine of ``kernels.py`` to walk.

Each instruction is a row of integers: what to do, where operands and result stand in the working memory, shifts, limits
and modes of the cast, and where its constants are. :class:`TooWide` says that machine integers cannot hold a result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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


def first_state(machine: Machine, batch: int) -> IntArray:
    """Working memory for a block of ``batch`` sequences, with the states before their first step."""
    kept = sum(op.elements for op in machine.program.states)
    mem = np.zeros((machine.rows + kept, batch), np.int64)
    for op in machine.program.states:
        if op.init is not None:
            place = machine.places[op.name]
            mem[place : place + op.elements] = op.init.data[:, None]
    return mem
