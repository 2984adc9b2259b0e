# SPDX-License-Identifier: Apache-2.0
"""Interpolated tables of the exact preset: a value and a slope for each piece of a function.

A piece is all inputs from ``j * 2**-k`` to just below ``(j + 1) * 2**-k``. There the function is
``value + slope * rest``, where the rest is the next bits of the input. The slope is that of the chord; the value makes
the largest errors above and below the line equal. The outermost pieces are flat where they stand for all that lies
beyond them, too. ``docs/arithmetic.md`` derives the bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..program.fixed import Fixed, IntArray, Round, cast_floats, smallest, to_float
from ..program.integers import Const, Table
from .exact_functions import Bins, beyond, domain, function

Array = NDArray[np.float64]

#: How the error asked for is shared out: to the curve between the ends of a line, to the bits of the input that the
#: rest leaves out, and to the rounding of the slope.
_CURVE, _REST, _SLOPE = 13 / 16, 1 / 8, 1 / 16
#: Bits of a value behind those of the result: for the half that makes rounding down rounding to nearest.
_GUARD = 1


@dataclass(frozen=True)
class Lines:
    """An interpolated table: ``values[x] + slopes[x] * rest``, rounded down to ``result``.

    Both tables have the same pieces. ``rest`` is the format of what rounding the input down to a piece drops. Half a
    step of ``result`` is part of every value, and no sum leaves the range of ``result``.
    """

    values: Table
    slopes: Table
    rest: Fixed
    result: Fixed


@lru_cache(512)
def best_lines(name: str, argument: Fixed, result: Fixed, error: float) -> Lines | None:
    """The interpolated table of a function whose largest error is at most ``error`` and a step of ``result``.

    ``argument`` and ``result`` are the formats of the function's input and value. None where it would have more pieces
    than the function may have, or one for every input. Raises ``FxsimError`` for a name that is no function's.
    """
    of, whole = function(name), result.plain
    low, high = domain(of, argument)
    # s**2 / 16 * curvature, for a step s, is at most the curve's share.
    frac = math.ceil(math.log2(of.curvature / (16 * _CURVE * error)) / 2)
    frac = max(frac, argument.frac - max(abs(low), abs(high), 1).bit_length() + 1)
    if frac >= argument.frac:
        return None
    bins = Bins(of, argument, low, high, frac, Round.TRN)
    first, last = _ends(bins, error)
    return None if last - first >= of.pieces else _Pieces(bins, first, last, error).lines(name, whole)


def _ends(bins: Bins, error: float) -> tuple[int, int]:
    """The outermost pieces: flat ones as far inside as the error allows, or the first and the last that there are."""
    first, last = bins.index(bins.low), bins.index(bins.high)
    below, above = first, last
    while below < above:  # for the last one that is flat from the left
        middle = (below + above + 1) // 2
        below, above = (middle, above) if bins.flat(middle, False, error) else (below, middle - 1)
    left, above = below, last
    while below < above:  # for the first one that is flat from there to the right
        middle = (below + above) // 2
        below, above = (below, middle) if bins.flat(middle, True, error) else (middle + 1, above)
    return left, max(above, left + 1)


class _Pieces:
    """The pieces ``first`` to ``last`` of a function with lines that have the error ``error``."""

    def __init__(self, bins: Bins, first: int, last: int, error: float) -> None:
        self.bins, self.first, self.step = bins, first, 2.0**-bins.frac
        self.index = np.arange(first, last + 1, dtype=np.float64)
        # Half of what the function changes over a step of the rest, and a quarter of a step of the slope over a piece.
        unit = 2 * _REST * error / bins.of.slope
        self.bits = min(bins.shift, max(1, math.ceil(math.log2(self.step / unit))))
        self.slope_frac = max(0, math.ceil(math.log2(self.step / (4 * _SLOPE * error))))
        #: Indices of the flat pieces, with the side on which they have no end.
        self.flat = [(end - first, right) for end, right in ((first, False), (last, True))
                     if bins.flat(end, right, error)]  # fmt: skip

    def at(self, raw: Array | float) -> Array:
        """The function at raw inputs counted from the start of each piece."""
        return self.bins.at(np.ldexp(self.index, self.bins.shift) + raw)

    def chords(self) -> Array:
        """The slopes of the chords; 0 of flat pieces."""
        slopes = (self.at(float(1 << self.bins.shift)) - self.at(0.0)) / self.step
        slopes[[place for place, _ in self.flat]] = 0.0
        return slopes

    def lines(self, name: str, result: Fixed) -> Lines:
        """The tables, with values that are best for slopes once these are rounded."""
        bins, nearest = self.bins, Fixed(64, self.slope_frac, True, Round.RND)
        slopes = cast_floats(self.chords(), nearest)
        low, high = offsets(bins, self.index, to_float(slopes, nearest), self.bits)
        frac = result.frac + _GUARD
        values = cast_floats((low + high) / 2 + result.lsb / 2, Fixed(64, frac, True, Round.RND))
        values = self.within(values, slopes, result)
        for place, right in self.flat:
            values[place] = bins.level(self.first + place, right, result) << _GUARD
        return Lines(
            self.table(name, values, frac),
            self.table(f"{name} slope", slopes, self.slope_frac),
            Fixed(self.bits, bins.frac + self.bits, False),
            result,
        )

    def table(self, name: str, raw: IntArray, frac: int) -> Table:
        """One of both tables."""
        values = Const(raw, smallest(int(raw.min()), int(raw.max()), frac))
        return Table(name, self.bins.frac, Round.TRN, self.first, values)

    def within(self, values: IntArray, slopes: IntArray, result: Fixed) -> IntArray:
        """Values moved so far that the sums of their lines stay in the range of ``result``."""
        frac, grid = result.frac + _GUARD, self.slope_frac + self.bins.frac + self.bits
        fine = max(frac, grid)
        most = np.full(values.shape, result.max, np.int64)
        if self.bins.of.ends_low:  # only the end of all pieces has the function's largest value
            most[:-1] = cast_floats(self.at(0.0)[-1], result) - 1
        rise = slopes * ((1 << self.bits) - 1) << (fine - grid)
        upper = (((most + 1) << (fine - result.frac)) - 1 - np.maximum(rise, 0)) >> (fine - frac)
        lower = -((np.minimum(rise, 0) - (result.min << (fine - result.frac))) >> (fine - frac))
        return np.clip(values, lower, upper)


def offsets(bins: Bins, index: Array, slopes: Array, bits: int) -> tuple[Array, Array]:
    """Least and largest of function minus ``slope * rest`` over the pieces ``index``, of rests of so many bits.

    A piece has no turning point of the function, so that the difference turns at most once: its extremes are at both
    ends of the piece and where it turns.
    """
    drop, last = bins.shift - bits, np.full(index.shape, float((1 << bits) - 1))
    start, unit = np.ldexp(index, bins.shift), 2.0 ** -(bins.frac + bits)
    left, middle, right = (bins.at(start + float(part << (bins.shift - 1))) for part in (0, 1, 2))
    hollow = 2 * middle > left + right
    low, high = np.full(index.shape, np.inf), np.full(index.shape, -np.inf)
    for inside in {0.0, float((1 << drop) - 1)}:  # the first and the last input of a rest

        def difference(rest: Array, inside: float = inside) -> Array:
            return bins.at(start + np.ldexp(rest, drop) + inside) - slopes * rest * unit

        below, above = np.zeros(index.shape), last
        for _ in range(bits):
            rest = np.floor((below + above) / 2)
            turned = (difference(rest + 1) > difference(rest)) != hollow
            below, above = np.where(turned, below, np.minimum(rest + 1, last)), np.where(turned, rest, above)
        for rest in (np.zeros(index.shape), last, below):
            value = difference(rest)
            low, high = np.minimum(low, value), np.maximum(high, value)
    return low, high


def largest_error(lines: Lines, argument: Fixed) -> float:
    """A limit of the difference between lines and function over all inputs of ``argument`` that are asked for.

    The largest difference before the sum is rounded, and half a step: at most a step above the largest one.
    """
    bins, index = _bins(lines, argument)
    values = to_float(lines.values.values.data, lines.values.values.type)
    slopes = to_float(lines.slopes.values.data, lines.slopes.values.type)
    low, high = offsets(bins, index, slopes, lines.rest.width)
    level = values - lines.result.lsb / 2
    error = np.maximum(np.abs(high - level), np.abs(level - low)) + lines.result.lsb / 2
    for place, right in ((0, False), (len(index) - 1, True)):
        if not lines.slopes.values.data[place]:
            # A flat piece is the only one without a slope; its value is a number of the result.
            error[place] = np.abs(bins.reach(int(index[place]), right) - values[place]).max()
    return float(error.max())


def bound(lines: Lines, argument: Fixed) -> float:
    """Bound of :func:`largest_error` from the function's slope and curvature; ``docs/arithmetic.md`` derives it."""
    bins, index = _bins(lines, argument)
    of, step, lsb = bins.of, 2.0**-bins.frac, lines.result.lsb
    unit = 2.0**-lines.rest.frac if lines.rest.width < bins.shift else 0.0
    rest, level = of.slope * unit / 2 + lines.slopes.values.type.lsb * step / 4, lines.values.values.type.lsb
    curve = of.curvature * step * step / 16 + rest + level / 2
    if of.ends_low:  # the last line ends a step below the largest value, and may be moved as a whole
        curve = max(curve, lsb / 2 + 2 * rest + level)
    flat = [bins.tail(int(index[place]), right) * (2 if of.ends_low and not right else 1)
            for place, right in ((0, False), (-1, True)) if not lines.slopes.values.data[place]]  # fmt: skip
    return max(curve, *flat, 0.0) + max(lsb / 2, beyond(bins, lines.result))


def _bins(lines: Lines, argument: Fixed) -> tuple[Bins, Array]:
    table = lines.values
    of = function(table.name)
    bins = Bins(of, argument, *domain(of, argument), table.frac, Round.TRN)
    return bins, np.arange(table.first, table.last + 1, dtype=np.float64)
