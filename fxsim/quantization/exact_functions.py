# SPDX-License-Identifier: Apache-2.0
"""The functions that the exact preset has tables of, and what they do over the bins of inputs that a table divides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import FxsimError
from ..program.fixed import Fixed, Overflow, Round, cast_float

Array = NDArray[np.float64]

#: selu's two constants (Klambauer et al., arXiv:1706.02515, with the digits that frameworks use).
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
_SELU = SELU_SCALE * SELU_ALPHA


@dataclass(frozen=True)
class Function:
    """A monotonic function: its largest slope and curvature (second derivative), and where its table is asked for.

    ``steps``: how much its table may be off, in steps of the precision. ``low`` and ``high`` limit the inputs (values);
    the curvature changes its sign nowhere but at 0. ``ends_low``: below the table's range its entry is the function's
    limit instead of the middle. ``pieces``: the most that an interpolated table has.
    """

    value: Callable[[Array], Array]
    slope: float
    curvature: float
    steps: float
    low: float = -np.inf
    high: float = np.inf
    ends_low: bool = False
    pieces: int = 1 << 16


def _sigmoid(x: Array) -> Array:
    # exp never overflows: its argument is not positive.
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1.0 + e)


#: softplus is relu(x) and a table of the rest, log(1 + exp(-|x|)); elu and selu are tables below zero only; softmax
#: asks for exp below zero, and from 1 to 2 for 1/x, log_softmax there for log x. exp ends in 0: of many elements that
#: are next to nothing, the sum would else be too large by half the last entry each.
FUNCTIONS: dict[str, Function] = {
    "sigmoid": Function(_sigmoid, 0.25, 1 / (6 * np.sqrt(3)), 0.5),
    "tanh": Function(np.tanh, 1.0, 4 / (3 * np.sqrt(3)), 1.0),
    "softplus_rest": Function(lambda x: np.log1p(np.exp(-np.abs(x))), 0.5, 0.25, 0.5, low=0.0),
    # It is so slow to approach 1 that the pieces would be tens of thousands.
    "softsign": Function(lambda x: x / (1.0 + np.abs(x)), 1.0, 2.0, 1.0, pieces=1 << 12),
    "elu": Function(lambda x: np.expm1(np.minimum(x, 0.0)), 1.0, 1.0, 1.0, high=0.0),
    "selu": Function(lambda x: _SELU * np.expm1(np.minimum(x, 0.0)), _SELU, _SELU, _SELU, high=0.0),
    # A share e / sum(e) is off by at most half of what exp is.
    "exp": Function(lambda x: np.exp(np.minimum(x, 0.0)), 1.0, 1.0, 1.0, high=0.0, ends_low=True),
    "inverse": Function(lambda x: 1.0 / np.maximum(x, 1.0), 1.0, 2.0, 0.25, low=1.0, high=2.0),
    "log": Function(lambda x: np.log(np.maximum(x, 1.0)), 1.0, 1.0, 0.5, low=1.0, high=2.0),
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
    return replace(
        found,
        value=lambda x: scale * found.value(x),
        slope=abs(scale) * found.slope,
        curvature=abs(scale) * found.curvature,
        steps=abs(scale) * found.steps,
    )


def extremes(name: str, argument: Fixed) -> tuple[float, float]:
    """Least and largest value of a function over the inputs of a format that it is asked for."""
    of = function(name)
    ends = np.ldexp(np.array(domain(of, argument), np.float64), -argument.frac)
    values = of.value(ends)
    return float(values.min()), float(values.max())


def domain(of: Function, argument: Fixed) -> tuple[int, int]:
    """Raw inputs of the format at which the function is asked for."""
    low, high = argument.min, argument.max
    if of.low > -np.inf:
        low = max(low, int(of.low * 2.0**argument.frac))
    if of.high < np.inf:
        high = min(high, int(of.high * 2.0**argument.frac))
    return low, max(low, high)


@dataclass(frozen=True)
class Bins:
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

    def reach(self, index: int, right: bool) -> Array:
        """The function at the inner edge of the bin ``index`` and at the end of everything beyond it."""
        edge = (index << self.shift) - self.half + (0 if right else (1 << self.shift) - 1)
        return self.at(np.clip(np.array([edge, self.high if right else self.low], np.float64), self.low, self.high))

    def tail(self, index: int, right: bool) -> float:
        """Half the function's range over the bin ``index`` and everything beyond it."""
        ends = self.reach(index, right)
        return float(abs(ends[0] - ends[1])) / 2

    def flat(self, index: int, right: bool, error: float) -> bool:
        """Whether one entry stands for the bin ``index`` and everything beyond it with at most this error."""
        return self.tail(index, right) * (2 if self.of.ends_low and not right else 1) <= error

    def level(self, index: int, right: bool, to: Fixed) -> int:
        """That entry: the middle of the function's range there, or its limit."""
        edge, end = self.reach(index, right)
        value = end if self.of.ends_low and not right else (edge + end) / 2
        return cast_float(float(value), replace(to, round=Round.RND, overflow=Overflow.SAT))

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


def beyond(bins: Bins, type: Fixed) -> float:
    """How far the function goes beyond the numbers of a format."""
    ends = bins.at(np.array([bins.low, bins.high], np.float64))
    return max(float(ends.max()) - type.max * type.lsb, type.min * type.lsb - float(ends.min()))
