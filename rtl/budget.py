# SPDX-License-Identifier: Apache-2.0
"""The best foldings of all layers together, out of what each layer alone may cost and take: pure Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .folds import Fold


@dataclass(frozen=True)
class Option:
    """A choice of folds: its multipliers, its cycles from first beat to last result, and those it is busy for."""

    multipliers: int
    cycles: int
    busy: int
    folds: tuple[Fold, ...]

    def __add__(self, other: Option) -> Option:
        """Both layers, one behind the other."""
        return Option(
            self.multipliers + other.multipliers,
            self.cycles + other.cycles,
            max(self.busy, other.busy),
            self.folds + other.folds,
        )


def fastest(option: Option) -> tuple[int, int]:
    """What counts where the latency does."""
    return option.cycles, option.busy


def busiest(option: Option) -> tuple[int, int]:
    """What counts where the interval does: the layer that is busy for longest sets it."""
    return option.busy, option.cycles


def front(options: Iterable[Option], time: Callable[[Option], tuple[int, int]]) -> list[Option]:
    """Those that no other beats, from the fewest multipliers to the shortest ``time``."""
    found: list[Option] = []
    for one in sorted(options, key=lambda option: (option.multipliers, time(option))):
        if not found or time(one)[0] < time(found[-1])[0]:
            found.append(one)
    return found


def together(rows: Sequence[Sequence[Option]], time: Callable[[Option], tuple[int, int]]) -> list[Option]:
    """The front of all layers, of which each row holds one's options."""
    best = [Option(0, 0, 0, ())]
    for row in rows:
        useful = front(row, time)
        best = front((one + other for one in best for other in useful), time)
    return best
