# SPDX-License-Identifier: Apache-2.0
"""Batches to blocks, one sequence a lane, and back.

Compiled by numba: numpy would pass over the batch half a dozen times, which costs as much as a small network.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numba as nb
import numpy as np
from numba.core.compiler_lock import global_compiler_lock
from numpy.typing import NDArray

from ..program.fixed import Fixed, IntArray, Overflow, cast_floats, outside
from ..system.forks import hold_over_forks
from .jit import folder
from .llvm import RND, RND_INF, RND_MIN_INF, RND_ZERO, ROUNDS, TRN, TRN_ZERO

#: Casts values into blocks, and writes how many of each sequence left the format; all of these, or -1 if not plain.
hold_over_forks(global_compiler_lock)

Quantizer = Callable[[NDArray[np.float64], NDArray[Any], IntArray], int]
_OVERFLOWS = {Overflow.SAT: 0, Overflow.SAT_SYM: 0, Overflow.SAT_ZERO: 1, Overflow.WRAP: 2}


def _kept(function: Callable[..., Any]) -> Any:
    """numba's ``njit``, with its machine code beside the kernels; a place that fails only costs time."""
    compiled: Any = nb.njit(nogil=True)(function)
    config: Any = nb.config
    place = config.CACHE_DIR or folder()
    if place:
        before, config.CACHE_DIR = config.CACHE_DIR, str(place)
        try:
            compiled.enable_caching()
        except (OSError, RuntimeError):  # which numba raises where it finds no place
            return compiled
        finally:
            config.CACHE_DIR = before
        cache = compiled._cache
        for name in ("load_overload", "save_overload"):
            setattr(cache, name, _harmless(getattr(cache, name)))
    return compiled


def _harmless(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        # A disk that is full or cannot be read, or a file on it that is not whole: numba raises whatever comes of it.
        with suppress(Exception):
            return method(*arguments)
        return None

    return call


# One loop that is compiled, in which each rounding mode stays inline.
@_kept
def _quantize(  # noqa: C901, PLR0912
    x: Any, out: Any, left: Any, scale: float, mode: int, over: int, low: int, high: int, width: int
) -> int:
    """Values ``x`` (sequences, rows) to raw integers ``out`` (blocks, rows, lanes).

    ``left`` (sequences) becomes how many of a sequence left the format; gives their sum, or -1 where a value is not
    plain.
    """
    sequences, rows = x.shape
    lanes = out.shape[2]
    if rows != out.shape[1] or sequences > out.shape[0] * lanes or sequences > left.shape[0]:
        raise ValueError("blocks of another shape")
    raw = np.empty((lanes, rows), np.int64)
    plain = True
    total = 0
    for start in range(0, sequences, lanes):
        count = min(lanes, sequences - start)
        for b in range(count):
            values = x[start + b]
            for r in range(rows):
                # Scaling by a power of two is exact unless it meets denormals; below 2**52 floor and rest are too.
                v = values[r] * scale
                size = abs(v)
                plain &= (size < 4503599627370496.0) & ((size > 1e-290) | (values[r] == 0.0))
                floor = np.floor(v)
                rest = v - floor
                if mode == TRN:
                    up = False
                elif mode == TRN_ZERO:
                    up = (v < 0.0) & (rest != 0.0)
                elif mode == RND:
                    up = rest >= 0.5
                elif mode == RND_MIN_INF:
                    up = rest > 0.5
                elif mode == RND_ZERO:
                    up = (rest > 0.5) | ((rest == 0.5) & (v < 0.0))
                elif mode == RND_INF:
                    up = (rest > 0.5) | ((rest == 0.5) & (v >= 0.0))
                else:
                    up = (rest > 0.5) | ((rest == 0.5) & (np.floor(0.5 * floor) != 0.5 * floor))
                raw[b, r] = np.int64(floor) + np.int64(up)
            if not plain:
                return -1
            row = raw[b]
            beyond = 0
            for r in range(rows):
                beyond += (row[r] < low) | (row[r] > high)
            left[start + b] = beyond
            total += beyond
            if beyond == 0:
                continue
            if over == 0:
                for r in range(rows):
                    row[r] = min(max(row[r], low), high)
            elif over == 1:
                for r in range(rows):
                    row[r] = row[r] if low <= row[r] <= high else 0
            elif width < 64:
                mask = (np.int64(1) << width) - 1
                sign = (np.int64(1) << width) if low < 0 else np.int64(0)
                for r in range(rows):
                    kept = row[r] & mask
                    row[r] = kept - ((kept << 1) & sign)
        _turn(raw[:count], out[start // lanes])
    return total


@nb.njit(nogil=True, inline="always")
def _turn(x: Any, out: Any) -> None:
    """``out[r, b] = x[b, r]``, some rows at a time so that lines of cache are used whole."""
    count, rows = x.shape
    for first in range(0, rows, 16):
        for r in range(first, min(first + 16, rows)):
            row = out[r]
            for b in range(count):
                row[b] = x[b, r]


def quantize(x: NDArray[np.float64], to: Fixed, out: NDArray[Any], left: IntArray) -> int:
    """Values (sequences, rows) cast to ``to`` into ``out`` (blocks, rows, lanes); lanes beyond the batch are left.

    ``left`` (sequences) becomes how many values left the format; gives their sum. Raises ``FxsimError`` as
    :func:`~fxsim.program.fixed.cast_floats` does, which also casts what is not plain arithmetic.
    """
    plain = quantizer(to)
    total = plain(x, out, left) if plain else -1
    if total >= 0:
        return total
    spread(cast_floats(x, to), out)
    left[:] = outside(x, to).sum(axis=1)
    return int(left.sum())


def quantizer(to: Fixed) -> Quantizer | None:
    """:func:`quantize` for a format, where machine numbers do for it."""
    if to.max >= 1 << 63 or not -1000 < to.frac < 1000:
        return None
    scale, mode, over = 2.0**to.frac, ROUNDS[to.round], _OVERFLOWS[to.overflow]
    low, high, width = to.min, to.max, to.width

    def plain(x: NDArray[np.float64], out: NDArray[Any], left: IntArray) -> int:
        return int(_quantize(x, out, left, scale, mode, over, low, high, width))

    return plain


@_kept
def touches(blocks: Any, low: int, high: int) -> bool:
    """Whether an integer of two dimensions is at one of the limits, or beyond."""
    for row in blocks:
        for value in row:
            if value <= low or value >= high:
                return True
    return False


@_kept
def spread(raw: Any, out: Any) -> None:
    """Integers (sequences, rows) into blocks (blocks, rows, lanes); lanes beyond the batch are left."""
    lanes = out.shape[2]
    if raw.shape[1] != out.shape[1] or raw.shape[0] > out.shape[0] * lanes:
        raise ValueError("blocks of another shape")
    for start in range(0, raw.shape[0], lanes):
        _turn(raw[start : min(start + lanes, raw.shape[0])], out[start // lanes])


@_kept
def gather(blocks: Any, out: Any) -> None:
    """Blocks (blocks, rows, lanes) to integers (sequences, rows)."""
    rows, lanes = blocks.shape[1:]
    if out.shape[1] != rows or out.shape[0] > blocks.shape[0] * lanes:
        raise ValueError("blocks of another shape")
    for start in range(0, out.shape[0], lanes):
        block = blocks[start // lanes]
        count = min(lanes, out.shape[0] - start)
        # A known number of rows at a time is unrolled.
        for first in range(0, rows - 15, 16):
            for b in range(count):
                row = out[start + b]
                for r in range(16):
                    row[first + r] = block[first + r, b]
        for r in range(rows // 16 * 16, rows):
            for b in range(count):
                out[start + b, r] = block[r, b]
