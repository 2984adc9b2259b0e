# SPDX-License-Identifier: Apache-2.0
"""Statistics of values that come in parts: ranges, quartiles, errors, correlation, and formats that hold them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..program.fixed import Fixed, smallest

Array = NDArray[np.float64]

#: Quartiles are found among bins of this many to a factor of two, from 2**-_OCTAVES to 2**_OCTAVES: to within 2.2 %.
_BINS, _OCTAVES = 16, 96


@dataclass(frozen=True)
class Box:
    """Magnitudes of values other than zero: least, quartiles, largest."""

    least: float
    lower: float
    median: float
    upper: float
    largest: float


@dataclass
class Spread:
    """Range and quartiles of values."""

    low: float = np.inf
    high: float = -np.inf
    _least: float = np.inf
    _largest: float = 0.0
    _bins: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2 * _OCTAVES * _BINS, np.int64))

    def add(self, values: Array) -> None:
        """Count these values in, one at least."""
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        sizes = np.abs(values[values != 0])
        if len(sizes):
            self._least = min(self._least, float(sizes.min()))
            self._largest = max(self._largest, float(sizes.max()))
            places = np.clip((np.log2(sizes) + _OCTAVES) * _BINS, 0, len(self._bins) - 1).astype(np.int64)
            self._bins += np.bincount(places, minlength=len(self._bins))

    @property
    def box(self) -> Box | None:
        """What a box plot draws; None if all values are zero."""
        total = self._bins.cumsum()
        if not total[-1]:
            return None
        lower, median, upper = (self._at(total, share) for share in (0.25, 0.5, 0.75))
        return Box(self._least, lower, median, upper, self._largest)

    def _at(self, total: NDArray[np.int64], share: float) -> float:
        """The middle of the bin that a share of the magnitudes is in or below."""
        place = int(np.searchsorted(total, share * total[-1]))
        middle: float = 2.0 ** ((place + 0.5) / _BINS - _OCTAVES)
        return min(max(middle, self._least), self._largest)


@dataclass
class Difference:
    """Error and correlation of values against others, of which there are as many."""

    largest: float = 0.0
    _count: int = 0
    _squares: float = 0.0
    _means: Array = field(default_factory=lambda: np.zeros(2))
    _moments: Array = field(default_factory=lambda: np.zeros((2, 2)))

    def add(self, got: Array, want: Array) -> None:
        """Count these pairs in."""
        error = np.abs(got - want)
        self.largest = max(self.largest, float(error.max()))
        self._squares += float(np.square(error).sum())
        # Means and sums of products of two parts joined, with what was taken off each (Chan, Golub and LeVeque 1979).
        pairs = np.stack([got.ravel(), want.ravel()])
        count, means = pairs.shape[1], pairs.mean(axis=1)
        apart = pairs - means[:, None]
        step, both = means - self._means, self._count + count
        self._moments += apart @ apart.T + np.outer(step, step) * (self._count * count / both)
        self._means = self._means + step * (count / both)
        self._count = both

    @property
    def rms(self) -> float:
        """Root of the mean square error."""
        return float(np.sqrt(self._squares / self._count))

    @property
    def correlation(self) -> float | None:
        """Pearson's; None where either side is one and the same value."""
        one, two = self._moments.diagonal()
        return float(self._moments[0, 1] / np.sqrt(one * two)) if one > 0 and two > 0 else None


@dataclass
class Kept:
    """Raw integers of one format: their range, and the bits that any of them uses."""

    low: int = 0
    high: int = 0
    _used: int = 0
    _any: bool = False

    def add(self, raw: NDArray[Any]) -> None:
        """Count these integers in, one at least."""
        low, high = int(raw.min()), int(raw.max())
        self.low, self.high = (min(self.low, low), max(self.high, high)) if self._any else (low, high)
        self._used |= int(np.bitwise_or.reduce(raw, axis=None))
        self._any = True

    def widen(self, low: int, high: int) -> None:
        """Count in a range of which only the ends matter."""
        self.low, self.high = min(self.low, low), max(self.high, high)

    def format(self, frac: int) -> Fixed:
        """The smallest format that holds all of them exactly, where they stand for ``raw * 2**-frac``."""
        # Trailing zeros are those of a number and of its negative alike.
        unused = (self._used & -self._used).bit_length() - 1 if self._used else 0
        return smallest(self.low >> unused, self.high >> unused, frac - unused)
