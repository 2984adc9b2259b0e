# SPDX-License-Identifier: Apache-2.0
"""Exact bounds of every op from the constant weights and the formats.

Bounds are raw integers that no input whatever can leave. They prove which accumulators cannot overflow (so that the
order of a sum is free), how wide every exact result really is (so that adders are narrow), and which integers a
machine word holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations, product
from typing import assert_never

import numpy as np

from ..system.forks import cached_property
from .fixed import Fixed, Overflow, Round, cast, round_shift, round_shifts, smallest
from .interpolation import interpolated, limits
from .ops import (
    Add,
    AnyOp,
    Arithmetic,
    Cast,
    Concat,
    Constant,
    Dot,
    Input,
    Largest,
    Lookup,
    Max,
    Min,
    Mul,
    OneHot,
    Op,
    Reduction,
    Remainder,
    Select,
    Slice,
    State,
    Sub,
    Total,
)
from .program import Program

Interval = tuple[int, int]
Intervals = list[Interval]
#: Rounds of plain iteration over the states before one that still grows gets its format's whole range.
_ROUNDS = 4


@dataclass(frozen=True)
class Bounds:
    """Bounds of one op.

    ``result``: raw interval of each element. ``exact``: interval, over all elements, of the exact result before its
    cast, on the grid of ``exact_frac``; for a dot product this includes every partial sum in every order, on the
    accumulator's grid. ``product``: interval of a dot's exact products. ``overflows``: whether the cast (of a dot: a
    product or a partial sum) can leave the format.
    """

    result: Intervals
    exact: Interval
    exact_frac: int
    overflows: bool
    product: Interval = (0, 0)

    @cached_property
    def low(self) -> int:
        """Smallest raw result of any element."""
        return min(low for low, _ in self.result)

    @cached_property
    def high(self) -> int:
        """Largest raw result of any element."""
        return max(high for _, high in self.result)

    def narrow(self, type: Fixed) -> Fixed:
        """The narrowest format on the grid of ``type`` that holds every result."""
        return smallest(self.low, self.high, type.frac)


def bounds(program: Program, state: dict[str, Intervals] | None = None) -> dict[str, Bounds]:
    """Bounds of every op by name.

    ``state`` gives intervals for the states if they are known to be narrower (unused states keep their proof). The
    states' own bounds are found by iterating from their initial values; one that keeps growing gets its whole format.
    """
    now = {op.name: [(v, v) for v in _initial(op)] for op in program.states}
    if state:
        now |= state
    rounds = 0
    while True:
        found: dict[str, Bounds] = {}
        for op in program.ops:
            found[op.name] = _bound(op, program, found, now)
        grown = False
        for op in program.states:
            new = _union(now[op.name], found[op.update].result)
            if new != now[op.name]:
                grown = True
                now[op.name] = new if rounds < _ROUNDS else [(op.type.min, op.type.max)] * op.elements
        if not grown:
            return found
        rounds += 1


def _initial(op: State) -> list[int]:
    return op.init.data.tolist() if op.init is not None else [0] * op.elements


def _union(a: Intervals, b: Intervals) -> Intervals:
    return [(min(p[0], q[0]), max(p[1], q[1])) for p, q in zip(a, b, strict=True)]


def _rounded(intervals: Iterable[Interval], shift: int, mode: Round) -> Intervals:
    """Intervals of ``round_shift`` of everything in some; rounding never decreases, so the ends bound the inside."""
    ends = [end for interval in intervals for end in interval]
    if max(map(int.bit_length, ends)) - min(shift, 0) <= 62:
        ends = round_shifts(np.array(ends, np.int64), shift, mode).tolist()
    else:
        ends = [round_shift(end, shift, mode) for end in ends]
    return list(zip(ends[::2], ends[1::2], strict=True))


def _limited(a: int, b: int, to: Fixed) -> tuple[Interval, bool]:
    """Interval of everything in ``a..b`` in a format, and whether any leaves it."""
    if to.min <= a and b <= to.max:
        return (a, b), False
    if to.overflow in (Overflow.SAT, Overflow.SAT_SYM):
        return (min(max(a, to.min), to.max), min(max(b, to.min), to.max)), True
    if to.overflow is Overflow.SAT_ZERO:
        return (min(max(a, to.min), 0), max(min(b, to.max), 0)), True
    return (to.min, to.max), True


def _casts(exact: Intervals, frac: int, to: Fixed) -> Bounds:
    # Most elements of a vector have the same interval.
    each = set(exact)
    rounded = _rounded(each, frac - to.frac, to.round)
    casts = {interval: _limited(*ends, to) for interval, ends in zip(each, rounded, strict=True)}
    whole = (min(low for low, _ in casts), max(high for _, high in casts))
    return Bounds([casts[interval][0] for interval in exact], whole, frac, any(over for _, over in casts.values()))


def _bound(op: AnyOp, program: Program, found: dict[str, Bounds], states: dict[str, Intervals]) -> Bounds:
    to = op.type
    args = [found[name].result for name in op.args]
    fracs = [program[name].type.frac for name in op.args]
    match op:
        case Input():
            return _casts([(to.min, to.max)] * op.elements, to.frac, to)
        case State():
            return _casts(states[op.name], to.frac, to)
        case Constant():
            return _casts([(int(v), int(v)) for v in op.values.data], to.frac, to)
        case Dot():
            return _dot(op, args[0], fracs[0])
        case Slice():
            return _casts(args[0][op.start : op.stop], to.frac, to)
        case Concat():
            return _casts([interval for part in args for interval in part], to.frac, to)
        case Total() | Largest() | OneHot():
            return _reduction(op, args[0], fracs[0])
        case Lookup():
            return _lookup(op, args[0], fracs[0])
        case _:
            size = program.sizes[op.name]
            wide = [arg * size if len(arg) == 1 else arg for arg in args]
            return _elementwise(op, program, found, wide, fracs)


def _reduction(op: Reduction, arg: Intervals, frac: int) -> Bounds:
    match op:
        case Total():
            return _total(op, arg, frac)
        case Largest():
            return _casts([(max(low for low, _ in arg), max(high for _, high in arg))], frac, op.type)
        case OneHot():
            return _casts([(0, 1)] * len(arg), 0, op.type)
        case _:
            assert_never(op)


def _elementwise(
    op: Arithmetic, program: Program, found: dict[str, Bounds], wide: list[Intervals], fracs: list[int]
) -> Bounds:
    """Bounds of an op on ``wide``: operands of as many elements as it has."""
    frac = max(fracs)
    grid = [_shifted(arg, frac - f) for arg, f in zip(wide, fracs, strict=True)]
    match op:
        case Cast():
            exact = grid[0]
        case Remainder():
            exact = [_remainder(low, high, frac - op.frac) for low, high in grid[0]]
        case Mul():
            return _casts(_products(op, wide), sum(fracs), op.type)
        case Add():
            sums = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(*grid, strict=True)]
            exact = _between(op, program, found, frac) or _on_lines(op, program, found, frac) or sums
        case Sub():
            exact = [(a[0] - b[1], a[1] - b[0]) for a, b in zip(*grid, strict=True)]
        case Max():
            exact = [(max(a[0], b[0]), max(a[1], b[1])) for a, b in zip(*grid, strict=True)]
        case Min():
            exact = [(min(a[0], b[0]), min(a[1], b[1])) for a, b in zip(*grid, strict=True)]
        case Select():
            exact = _union(grid[1], grid[2])
        case _:
            assert_never(op)
    return _casts(exact, frac, op.type)


def _shifted(intervals: Intervals, left: int) -> Intervals:
    return [(low << left, high << left) for low, high in intervals] if left else intervals


def _products(op: Mul, wide: list[Intervals]) -> Intervals:
    """Intervals of the exact products of two operands."""
    if op.a == op.b:  # a square is not negative
        squares = [(low * low, high * high) for low, high in wide[0]]
        return [(0 if low <= 0 <= high else min(s), max(s)) for (low, high), s in zip(wide[0], squares, strict=True)]
    corners = [[p * q for p in a for q in b] for a, b in zip(*wide, strict=True)]
    return [(min(c), max(c)) for c in corners]


def _between(op: Add, program: Program, found: dict[str, Bounds], frac: int) -> Intervals | None:
    """Bounds, on the grid of ``frac``, of ``z * p + (k - z) * q`` where ``0 <= z <= k``; None for any other sum.

    It lies between ``k * p`` and ``k * q``: the new state of a GRU between its old one and the candidate, so that it
    never leaves the range of candidates, where a sum of intervals would grow with every step.
    """

    products = [program[name] for name in op.args]
    if not all(isinstance(one, Mul) and _exact(one, found) for one in products):
        return None
    for kept, fresh in permutations(products):
        for (z, p), (rest, q) in product(permutations(kept.args), permutations(fresh.args)):
            less = program[rest]
            if isinstance(less, Sub) and less.b == z and _exact(less, found) and program.sizes[less.a] == 1:
                limit, left = found[less.a], frac - program[less.a].type.frac
                shifts = [left - program[name].type.frac for name in (p, q)]
                size = program.sizes[op.name]
                known = limit.low == limit.high and not min(shifts) < 0
                if known and _within(found[z], program[z].type, limit.low, program[less.a].type):
                    ends = [_scaled(found[n], limit.low << s, size) for n, s in zip((p, q), shifts, strict=True)]
                    return _union(*ends)
    return None


def _exact(op: Op, found: dict[str, Bounds]) -> bool:
    """Whether an op keeps its exact result."""
    return not found[op.name].overflows and op.type.frac >= found[op.name].exact_frac


def _on_lines(op: Add, program: Program, found: dict[str, Bounds], frac: int) -> Intervals | None:
    """Bounds, on the grid of ``frac``, of an interpolated table: piece by piece; None for any other sum."""
    parts = interpolated(program, op)
    if parts is None or not _exact(parts.rise, found):
        return None
    pieces = limits(parts, (found[parts.rest.name].low, found[parts.rest.name].high), frac)
    if pieces is None:
        return None
    arg = found[parts.values.arg].result
    spans = _spans(parts.values, arg, program[parts.values.arg].type.frac)
    ends = {(a, b): (int(pieces[0][a : b + 1].min()), int(pieces[1][a : b + 1].max())) for a, b in set(spans.values())}
    return [ends[spans[interval]] for interval in arg]


def _within(value: Bounds, type: Fixed, limit: int, its: Fixed) -> bool:
    """Whether a value is from 0 to a limit."""
    frac = max(type.frac, its.frac)
    return value.low >= 0 and value.high << (frac - type.frac) <= limit << (frac - its.frac)


def _scaled(value: Bounds, factor: int, size: int) -> Intervals:
    """A value times a factor that is not negative, as ``size`` elements."""
    result = value.result * size if len(value.result) == 1 else value.result
    return [(low * factor, high * factor) for low, high in result]


def _remainder(low: int, high: int, bits: int) -> Interval:
    """The low bits of everything in ``low..high``."""
    if bits <= 0:
        return 0, 0
    if low >> bits == high >> bits:
        return low & ((1 << bits) - 1), high & ((1 << bits) - 1)
    return 0, (1 << bits) - 1


def _lookup(op: Lookup, arg: Intervals, frac: int) -> Bounds:
    entries = op.table.entries(op.type)
    raw = op.table.values
    spans = _spans(op, arg, frac)
    read = set(spans.values())
    ends = {(a, b): (int(entries[a : b + 1].min()), int(entries[a : b + 1].max())) for a, b in read}
    result = [ends[spans[interval]] for interval in arg]
    used = np.concatenate([raw.data[a : b + 1] for a, b in read])
    exact = (int(used.min()), int(used.max()))
    return Bounds(result, exact, raw.type.frac, _casts([exact], raw.type.frac, op.type).overflows)


def _spans(op: Lookup, arg: Intervals, frac: int) -> dict[Interval, Interval]:
    """First and last place in the table that each interval of the operand reads."""
    each, table = set(arg), op.table
    scaled = ((low * table.scale, high * table.scale) for low, high in each)
    indices = _rounded(scaled, frac - table.frac, table.round)
    return {of: (table.place(a), table.place(b)) for of, (a, b) in zip(each, indices, strict=True)}


def _total(op: Total, arg: Intervals, frac: int) -> Bounds:
    first = _casts(arg, frac, op.type)
    overflows, low, high = first.overflows, 0, 0

    def tree(terms: Intervals) -> Interval:
        nonlocal overflows, low, high
        if len(terms) == 1:
            return terms[0]
        left = 1 << ((len(terms) - 1).bit_length() - 1)
        a, b = tree(terms[:left]), tree(terms[left:])
        low, high = min(low, a[0] + b[0]), max(high, a[1] + b[1])
        interval, over = _limited(a[0] + b[0], a[1] + b[1], op.type)
        overflows |= over
        return interval

    interval = tree(first.result)
    return Bounds([interval], (min(low, interval[0]), max(high, interval[1])), op.type.frac, overflows)


def _dot(op: Dot, arg: Intervals, frac: int) -> Bounds:
    to = op.type
    weights = op.weights.data
    low_x = np.array([low for low, _ in arg], dtype=object)[:, None]
    high_x = np.array([high for _, high in arg], dtype=object)[:, None]
    bits = max(max(low.bit_length(), high.bit_length()) for low, high in arg)
    shift = frac + op.weights.type.frac - to.frac
    # Where products and their sums stay below 2**62: the same in machine integers.
    if bits + op.weights.type.width + max(0, -shift) + len(arg).bit_length() <= 62:
        low_x, high_x = low_x.astype(np.int64), high_x.astype(np.int64)
    steps = weights if weights.ndim == 3 else weights[None]
    biases = [cast(int(v), op.bias.type.frac, to) for v in op.bias.data] if op.bias else [0] * weights.shape[-1]
    results: Intervals = []
    partial_low = partial_high = product_low = product_high = 0
    overflows = False
    for matrix in steps:
        one, two = low_x * matrix, high_x * matrix
        low, high = np.minimum(one, two), np.maximum(one, two)
        product_low, product_high = min(product_low, int(low.min())), max(product_high, int(high.max()))
        low, high = round_shifts(low, shift, to.round), round_shifts(high, shift, to.round)
        if int(low.min()) < to.min or int(high.max()) > to.max:
            overflows = True
        sums = [
            (bias + int(down), bias + int(up))
            for bias, down, up in zip(biases, low.sum(axis=0), high.sum(axis=0), strict=True)
        ]
        # A partial sum holds some of the terms; the worst leaves out those of the other sign.
        down, up = np.minimum(low, 0).sum(axis=0), np.maximum(high, 0).sum(axis=0)
        partial_low = min(partial_low, *(min(bias, 0) + int(v) for bias, v in zip(biases, down, strict=True)))
        partial_high = max(partial_high, *(max(bias, 0) + int(v) for bias, v in zip(biases, up, strict=True)))
        results = sums if not results else _union(results, sums)
    overflows = overflows or partial_low < to.min or partial_high > to.max
    if overflows:
        results = [(to.min, to.max)] * weights.shape[-1]
    return Bounds(results, (partial_low, partial_high), to.frac, overflows, (product_low, product_high))
