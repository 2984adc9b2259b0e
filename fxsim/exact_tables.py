# SPDX-License-Identifier: Apache-2.0
"""Tables of the exact preset: of all tables of a size, the one whose largest error is smallest.

A table reads ``round(x * 2**k)``, so every entry stands for a bin of inputs. Each entry is the middle of the range of
the function over its bin, rounded to nearest; ``k`` and the first and last entry are chosen by the largest error over
the whole input format. All functions here are monotonic, so a bin's largest error is at one of its two ends, and
every error below is exact and not sampled. ``docs/arithmetic.md`` derives the bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .arguments import integer
from .errors import FxsimError
from .fixed import Fixed, Overflow, Round, cast_floats, to_float
from .graph import Graph
from .program import Const, Lookup, Program, Table

Array = NDArray[np.float64]

#: Sizes that a table can have.
SIZES = (16, 1 << 16)
#: selu's two constants (Klambauer et al., arXiv:1706.02515, with the digits that frameworks use).
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
_SELU = SELU_SCALE * SELU_ALPHA
#: What a table keeps of a number: bits of half a block RAM's words.
WORD = 18


@dataclass(frozen=True)
class Function:
    """A monotonic function, its largest slope, and the inputs (values) at which its table is ever asked for.

    ``ends_low``: below the table's range its entry is the function's limit instead of the middle.
    """

    value: Callable[[Array], Array]
    slope: float
    low: float = -np.inf
    high: float = np.inf
    ends_low: bool = False


def _sigmoid(x: Array) -> Array:
    # exp never overflows: its argument is not positive.
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1.0 + e)


#: softplus is relu(x) and a table of the rest, log(1 + exp(-|x|)); elu and selu are tables below zero only; softmax
#: asks for exp below zero, and from 1 to 2 for 1/x, log_softmax there for log x. exp ends in 0: of many elements that
#: are next to nothing, the sum would else be too large by half the last entry each.
FUNCTIONS: dict[str, Function] = {
    "sigmoid": Function(_sigmoid, 0.25),
    "tanh": Function(np.tanh, 1.0),
    "softplus_rest": Function(lambda x: np.log1p(np.exp(-np.abs(x))), 0.5, low=0.0),
    "softsign": Function(lambda x: x / (1.0 + np.abs(x)), 1.0),
    "elu": Function(lambda x: np.expm1(np.minimum(x, 0.0)), 1.0, high=0.0),
    "selu": Function(lambda x: _SELU * np.expm1(np.minimum(x, 0.0)), _SELU, high=0.0),
    "exp": Function(lambda x: np.exp(np.minimum(x, 0.0)), 1.0, high=0.0, ends_low=True),
    "inverse": Function(lambda x: 1.0 / np.maximum(x, 1.0), 1.0, low=1.0, high=2.0),
    "log": Function(lambda x: np.log(np.maximum(x, 1.0)), 1.0, low=1.0, high=2.0),
}  # fmt: skip


def function(name: str) -> Function:
    """The function that a table's name says; ``elu*0.5`` is half of elu. Raises ``FxsimError`` for another name."""
    stem, star, factor = name.partition("*")
    if stem not in FUNCTIONS:
        raise FxsimError(f"table must be of one of {', '.join(FUNCTIONS)}, not {name!r}")
    found = FUNCTIONS[stem]
    if not star:
        return found
    scale = float(factor)
    return Function(lambda x: scale * found.value(x), abs(scale) * found.slope, found.low, found.high, found.ends_low)


def extremes(name: str, argument: Fixed) -> tuple[float, float]:
    """Least and largest value of a function over the inputs of a format that it is asked for."""
    of = function(name)
    ends = np.ldexp(np.array(_domain(of, argument), np.float64), -argument.frac)
    values = of.value(ends)
    return float(values.min()), float(values.max())


def check_size(size: int) -> int:
    """A legal number of entries; raises ``FxsimError`` for another."""
    return integer(size, "table_size", *SIZES)


def _domain(of: Function, argument: Fixed) -> tuple[int, int]:
    """Raw inputs of the format at which the function is asked for."""
    low, high = argument.min, argument.max
    if of.low > -np.inf:
        low = max(low, int(of.low * 2.0**argument.frac))
    if of.high < np.inf:
        high = min(high, int(of.high * 2.0**argument.frac))
    return low, max(low, high)


@dataclass(frozen=True)
class _Bins:
    """The bins of one step ``2**-frac`` over the raw inputs ``low..high`` of the format ``argument``."""

    of: Function
    argument: Fixed
    low: int
    high: int
    frac: int
    round: Round

    @property
    def shift(self) -> int:
        return self.argument.frac - self.frac

    @property
    def half(self) -> int:
        """What rounding to nearest adds to an input before its low bits go."""
        return 1 << (self.shift - 1) if self.round is Round.RND and self.shift else 0

    def index(self, raw: int) -> int:
        return (raw + self.half) >> self.shift

    def ends(self, first: int, last: int) -> tuple[Array, Array]:
        """The function at both ends of each bin first..last, where the outer bins reach to the end of the inputs."""
        index = np.arange(first, last + 1).astype(np.float64)
        left = np.ldexp(index, self.shift) - self.half
        right = left + float((1 << self.shift) - 1)
        left[0], right[-1] = self.low, self.high
        return self.at(np.clip(left, self.low, self.high)), self.at(np.clip(right, self.low, self.high))

    def at(self, raw: Array) -> Array:
        return self.of.value(np.ldexp(raw, -self.argument.frac))

    def tail(self, index: int, right: bool) -> float:
        """Half the function's range over the bin ``index`` and everything beyond it."""
        edge = (index << self.shift) - self.half + (0 if right else (1 << self.shift) - 1)
        ends = self.at(np.clip(np.array([edge, self.high if right else self.low], np.float64), self.low, self.high))
        return float(abs(ends[0] - ends[1])) / 2

    def window(self, size: int) -> tuple[int, int]:
        """First and last index: all bins, or those ``size`` that make the worse of both tails best."""
        first, last = self.index(self.low), self.index(self.high)
        if last - first < size:
            return first, max(last, first + 1)
        # The left tail's error grows with the window's place, the right one's falls: bisect for where they meet.
        below, above = first, last - size + 1
        while below < above:
            middle = (below + above) // 2
            if self.tail(middle, False) >= self.tail(middle + size - 1, True) * (1 - 1e-9):
                above = middle
            else:
                below = middle + 1
        # The best place is this one or the one before; alike to a billionth they count as equal on every machine.
        if below > first and self.worse(below - 1, size) < self.worse(below, size) * (1 - 1e-9):
            below -= 1
        return below, below + size - 1

    def worse(self, place: int, size: int) -> float:
        """The worse tail of the window at ``place``."""
        return max(self.tail(place, False), self.tail(place + size - 1, True))


@lru_cache(512)
def best_table(name: str, argument: Fixed, values: Fixed, size: int, round: Round = Round.RND) -> Table:
    """The table of function ``name`` with at most ``size`` entries of format ``values`` and the smallest largest error.

    ``argument`` is the format of the input, ``round`` the rounding of the index (RND, or TRN). Of tables equally good
    to a hundredth of a step of ``values``, the one with the fewest entries. Raises ``FxsimError`` for another name or
    size.
    """
    check_size(size)
    of = function(name)
    low, high = _domain(of, argument)
    nearest = Fixed(values.width, values.frac, values.signed, Round.RND, Overflow.SAT)
    best: tuple[tuple[int, int], Table] | None = None
    # From one bin for everything to one bin an input; steps finer than that would only leave bins empty.
    widest = max(abs(low), abs(high), 1).bit_length()
    for frac in range(argument.frac - widest, argument.frac + 1):
        bins = _Bins(of, argument, low, high, frac, round)
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
    bins = _Bins(of, argument, *_domain(of, argument), table.frac, table.round)
    lsb, type = table.values.type.lsb, table.values.type
    # With a bin for each input the middle of a bin is the function itself.
    inside = of.slope * 2.0**-table.frac / 2 if bins.shift else 0.0
    tails = (bins.tail(table.first, False) * (2 if of.ends_low else 1), bins.tail(table.last, True))
    ends = bins.at(np.array([bins.low, bins.high], np.float64))
    beyond = max(float(ends.max()) - type.max * lsb, type.min * lsb - float(ends.min()))
    return max(inside, *tails) + max(lsb / 2, beyond)


def largest_error(table: Table, argument: Fixed) -> float:
    """Largest difference between table and function over all inputs of the format ``argument`` that are asked for."""
    of = function(table.name)
    bins = _Bins(of, argument, *_domain(of, argument), table.frac, table.round)
    one, two = bins.ends(table.first, table.last)
    entry = to_float(table.values.data, table.values.type)
    return float(np.maximum(np.abs(entry - one), np.abs(entry - two)).max())


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
    """Every table of a graph of the exact preset with its largest error; raises ``FxsimError`` for other tables."""
    return [
        _report(prefix, program, op)
        for layer in graph.layers
        for prefix, program in layer.programs.items()
        for op in _lookups(program)
    ]


def _lookups(program: Program) -> Iterator[Lookup]:
    return (op for op in program.ops if isinstance(op, Lookup))


def _report(layer: str, program: Program, op: Lookup) -> TableReport:
    table, argument = op.table, program[op.arg].type
    type = table.values.type
    if table.scale != 1 or table.round not in (Round.RND, Round.TRN):
        raise FxsimError(f"layer {layer!r}: op {op.name!r} has a table that is not of the exact preset")
    step = 2.0**-table.frac
    error = largest_error(table, argument)
    return TableReport(
        layer, op.name, table.name, table.values.shape[0], str(type.plain),
        table.first * step, table.last * step, step, error, error / type.lsb, bound(table, argument),
    )  # fmt: skip
