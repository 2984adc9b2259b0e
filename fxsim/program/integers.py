# SPDX-License-Identifier: Apache-2.0
"""What a program is given: arrays of integers with a format, and functions of one number as tables of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import FxsimError, show
from ..system.forks import cached_property
from .fixed import MAX_WIDTH, Fixed, IntArray, Round, cast, round_shift

_MOST_SCALE = 1 << 32


@dataclass(frozen=True, eq=False, repr=False)
class Const:
    """Raw integers together with their format: ``data * 2**-type.frac``.

    ``data`` is int64 of any shape and becomes read-only. Raises ``FxsimError`` if a value does not fit the format.
    """

    data: IntArray
    type: Fixed

    def __repr__(self) -> str:
        return f"Const of shape {self.data.shape} in {self.type}"

    def __post_init__(self) -> None:
        data = np.array(self.data)
        if data.dtype.kind not in "iu":
            raise FxsimError(f"Const data must be integers, not {data.dtype}")
        data = data.astype(np.int64)
        if data.size and (int(data.min()) < self.type.min or int(data.max()) > self.type.max):
            raise FxsimError(f"Const data must fit {self.type}, not span {data.min()}..{data.max()}")
        data.flags.writeable = False
        object.__setattr__(self, "data", data)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Const)
            and self.type == other.type
            and self.data.shape == other.data.shape
            and bool(np.array_equal(self.data, other.data))
        )

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # Kept, for plans look programs up thousands of times.
        return hash((self.type, self.data.shape, self.data.tobytes()))

    def __reduce__(self) -> tuple[object, ...]:
        # Hashes are of one process: a copy in another one makes its own.
        return Const, (self.data, self.type)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the data."""
        return self.data.shape


@dataclass(frozen=True)
class Table:
    """A function of one number as integers: entry ``clamp(round(x * scale * 2**frac)) - first``.

    ``values`` is one-dimensional; index ``first`` reads its first entry, and indices beyond either end read that end.
    ``name`` is for people (``sigmoid``). The index is rounded by ``round``.
    """

    name: str
    frac: int
    round: Round
    first: int
    values: Const
    scale: int = 1

    def __post_init__(self) -> None:
        if len(self.values.shape) != 1 or not 2 <= self.values.shape[0] <= 1 << 20:
            raise FxsimError(f"Table values must be a vector of 2 to 2**20 entries, not of shape {self.values.shape}")
        if self.scale < 1:
            raise FxsimError(f"Table scale must be a positive integer, not {show(self.scale)}")
        if self.scale > _MOST_SCALE:
            raise FxsimError(f"Table scale must be at most {_MOST_SCALE}, not {show(self.scale)}")
        if abs(self.frac) > MAX_WIDTH or abs(self.first) > 1 << 62:
            raise FxsimError(
                f"Table frac and first must be within {MAX_WIDTH} and 2**62, not {self.frac}, {self.first}"
            )

    @property
    def last(self) -> int:
        """Index that reads the last entry."""
        return self.first + self.values.shape[0] - 1

    def index(self, raw: int, frac: int) -> int:
        """Position in ``values`` that the raw input ``raw * 2**-frac`` reads."""
        return self.place(round_shift(raw * self.scale, frac - self.frac, self.round))

    def place(self, index: int) -> int:
        """Position in ``values`` that an index reads."""
        return min(max(index, self.first), self.last) - self.first

    def entries(self, to: Fixed) -> IntArray:
        """All values cast to the format ``to``, int64; read only."""
        return _entries(self.values, to)


@lru_cache(maxsize=256)
def _entries(values: Const, to: Fixed) -> IntArray:
    if to.frac == values.type.frac and to.min <= int(values.data.min()) and int(values.data.max()) <= to.max:
        return values.data  # read only, too
    entries = np.array([cast(int(v), values.type.frac, to) for v in values.data], np.int64)
    entries.flags.writeable = False
    return entries
