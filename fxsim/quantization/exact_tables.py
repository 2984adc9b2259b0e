# SPDX-License-Identifier: Apache-2.0
"""Tables of the exact preset: of all tables of a size, the one whose largest error is smallest.

A table reads ``round(x * 2**k)``, so every entry stands for a bin of inputs. Each entry is the middle of the range of
the function over its bin, rounded to nearest; ``k`` and the first and last entry are chosen by the largest error over
the whole input format. All functions here are monotonic, so a bin's largest error is at one of its two ends, and
every error below is exact and not sampled. ``docs/arithmetic.md`` derives the bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..arguments import integer
from ..errors import FxsimError
from ..program.fixed import Fixed, Overflow, Round, cast_floats, to_float
from ..program.graph import Graph
from ..program.integers import Const, Table
from ..program.interpolation import interpolated
from ..program.ops import Lookup
from ..program.program import Program
from . import exact_lines
from .exact_functions import Bins, beyond, domain, extremes, function
from .exact_lines import Lines, best_lines

#: Sizes that a table can have.
SIZES = (16, 1 << 16)
#: Sizes of plain tables, of which the first is taken that is good enough: half a block RAM, one, and two.
PLAIN = (1 << 10, 1 << 11, 1 << 12)
#: Fractional bits that the smallest of them serves.
LEAST_PLACES = 8


def check_size(size: int) -> int:
    """A legal number of entries; raises ``FxsimError`` for another."""
    return integer(size, "table_size", *SIZES)


@lru_cache(512)
def best_table(name: str, argument: Fixed, values: Fixed, size: int, round: Round = Round.RND) -> Table:
    """The table of function ``name`` with at most ``size`` entries of format ``values`` and the smallest largest error.

    ``argument`` is the format of the input, ``round`` the rounding of the index (RND, or TRN). Of tables equally good
    to a hundredth of a step of ``values``, the one with the fewest entries. Raises ``FxsimError`` for another name or
    size.
    """
    check_size(size)
    of = function(name)
    low, high = domain(of, argument)
    nearest = Fixed(values.width, values.frac, values.signed, Round.RND, Overflow.SAT)
    best: tuple[tuple[int, int], Table] | None = None
    # From one bin for everything to one bin an input; steps finer than that would only leave bins empty.
    widest = max(abs(low), abs(high), 1).bit_length()
    for frac in range(argument.frac - widest, argument.frac + 1):
        bins = Bins(of, argument, low, high, frac, round)
        first, last = bins.window(size)
        one, two = bins.ends(first, last)
        middle = (one + two) / 2
        if of.ends_low:
            middle[0] = one[0]
        raw = cast_floats(middle, nearest)
        entry = to_float(raw, nearest)
        error = float(np.maximum(np.abs(entry - one), np.abs(entry - two)).max())
        # Ends that repeat are what the clamp gives anyway.
        changes = np.flatnonzero(np.diff(raw))
        start, stop = (int(changes[0]), int(changes[-1]) + 2) if changes.size else (0, 2)
        # A hundredth of a step is far above what one machine's exp differs from another's.
        key = (int(error * 2.0**values.frac * 100), stop - start)
        if best is None or key < best[0]:
            best = key, Table(name, frac, round, first + start, Const(raw[start:stop], nearest))
    assert best is not None
    return best[1]


def bound(table: Table, argument: Fixed) -> float:
    """Bound of :func:`largest_error` from the function's largest slope alone; ``docs/arithmetic.md`` derives it."""
    of = function(table.name)
    bins = Bins(of, argument, *domain(of, argument), table.frac, table.round)
    lsb, type = table.values.type.lsb, table.values.type
    # With a bin for each input the middle of a bin is the function itself.
    inside = of.slope * 2.0**-table.frac / 2 if bins.shift else 0.0
    tails = (bins.tail(table.first, False) * (2 if of.ends_low else 1), bins.tail(table.last, True))
    return max(inside, *tails) + max(lsb / 2, beyond(bins, type))


def largest_error(table: Table, argument: Fixed) -> float:
    """Largest difference between table and function over all inputs of the format ``argument`` that are asked for."""
    of = function(table.name)
    bins = Bins(of, argument, *domain(of, argument), table.frac, table.round)
    one, two = bins.ends(table.first, table.last)
    entry = to_float(table.values.data, table.values.type)
    return float(np.maximum(np.abs(entry - one), np.abs(entry - two)).max())


@lru_cache(512)
def choose(
    name: str, argument: Fixed, values: Fixed, size: int | None, places: int, round: Round = Round.RND
) -> Table | Lines:
    """The table of function ``name``: the best of ``size`` entries; None: the smallest that serves so many places.

    Such a table errs by at most ``2**-places`` times the function's ``steps``, and a step of ``values``. Where neither
    a plain nor an interpolated one does, it is the better of the largest ones.
    """
    if size is not None:
        return best_table(name, argument, values, size, round)
    of = function(name)
    error = of.steps * 2.0**-places
    low, high = extremes(name, argument)
    first, last = domain(of, argument)
    for size in PLAIN:
        # Fewer values than inputs leave at least the error of values that are spread evenly.
        if last - first < size or (high - low) / (2 * size) <= error + values.lsb:
            table = best_table(name, argument, values, size, round)
            if largest_error(table, argument) <= error + values.lsb:
                return table
    lines = best_lines(name, argument, values, error)
    return lines or _best(name, argument, values, error, round)


def _best(name: str, argument: Fixed, values: Fixed, error: float, round: Round) -> Table | Lines:
    """The better one of the largest tables, plain and interpolated, where none has the error asked for."""
    table = best_table(name, argument, values, PLAIN[-1], round)
    least = largest_error(table, argument)
    lines = None
    while lines is None and error < least:
        error *= 2
        lines = best_lines(name, argument, values, error)
    return lines if lines and exact_lines.largest_error(lines, argument) < least else table


@dataclass(frozen=True)
class TableReport:
    """One lookup of a graph: ``low..high`` is the range of inputs that its entries tell apart, in steps of ``step``.

    ``error`` is the largest difference from the function over the whole input format, as a value; ``error_lsb`` the
    same in steps of the values' format; ``bound`` what the derivation promises.
    """

    layer: str
    op: str
    function: str
    entries: int
    values: str
    low: float
    high: float
    step: float
    error: float
    error_lsb: float
    bound: float


def table_report(graph: Graph) -> list[TableReport]:
    """Every table of a graph of the exact preset with its largest error; raises ``FxsimError`` for other tables.

    Both tables of an interpolated one have its error.
    """
    return [
        _report(prefix, program, op)
        for prefix, program in graph.programs.items()
        for op in program.ops
        if isinstance(op, Lookup)
    ]


def _report(layer: str, program: Program, op: Lookup) -> TableReport:
    table, argument, lines = op.table, program[op.arg].type, _lines(program, op)
    type = table.values.type
    if table.scale != 1 or table.round not in (Round.RND, Round.TRN):
        raise FxsimError(f"layer {layer!r}: op {op.name!r} has a table that is not of the exact preset")
    if lines is None:
        error, limit = largest_error(table, argument), bound(table, argument)
    else:
        error, limit = exact_lines.largest_error(lines, argument), exact_lines.bound(lines, argument)
        type = lines.result
    step = 2.0**-table.frac
    return TableReport(
        layer, op.name, table.name, table.values.shape[0], str(table.values.type.plain),
        table.first * step, table.last * step, step, error, error / type.lsb, limit,
    )  # fmt: skip


def _lines(program: Program, op: Lookup) -> Lines | None:
    """The interpolated table that a lookup is part of."""
    for other in program.ops:
        parts = interpolated(program, other)
        if parts is not None and op in (parts.values, parts.slopes):
            return Lines(parts.values.table, parts.slopes.table, parts.rest.type, other.type.plain)
    return None
