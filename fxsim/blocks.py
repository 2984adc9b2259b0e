# SPDX-License-Identifier: Apache-2.0
"""Batches to blocks, one sequence a lane, and back.

Compiled by numba: numpy would pass over the batch half a dozen times, which costs as much as a small network.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from .fixed import Fixed, IntArray, Overflow, Round, cast_floats

_ROUNDS = {mode: i for i, mode in enumerate(Round)}
_TRN, _TRN_ZERO, _RND, _RND_ZERO, _RND_INF, _RND_MIN_INF, _RND_CONV = range(7)
_OVERFLOWS = {Overflow.SAT: 0, Overflow.SAT_SYM: 0, Overflow.SAT_ZERO: 1, Overflow.WRAP: 2}


@nb.njit(nogil=True, cache=True)
def _quantize(x: Any, out: Any, scale: float, mode: int, over: int, low: int, high: int, width: int) -> bool:
    """Values ``x`` (sequences, rows) to raw integers ``out`` (blocks, rows, lanes); False where that is not plain."""
    sequences, rows = x.shape
    lanes = out.shape[2]
    raw = np.empty(rows, np.int64)
    plain = True
    for b in range(sequences):
        values = x[b]
        for r in range(rows):
            # Scaling by a power of two is exact unless it meets denormals; below 2**52 floor and rest are exact too.
            v = values[r] * scale
            size = abs(v)
            plain &= (size < 4503599627370496.0) & ((size > 1e-290) | (values[r] == 0.0))
            floor = np.floor(v)
            rest = v - floor
            if mode == _TRN:
                up = False
            elif mode == _TRN_ZERO:
                up = (v < 0.0) & (rest != 0.0)
            elif mode == _RND:
                up = rest >= 0.5
            elif mode == _RND_MIN_INF:
                up = rest > 0.5
            elif mode == _RND_ZERO:
                up = (rest > 0.5) | ((rest == 0.5) & (v < 0.0))
            elif mode == _RND_INF:
                up = (rest > 0.5) | ((rest == 0.5) & (v >= 0.0))
            else:
                up = (rest > 0.5) | ((rest == 0.5) & (np.floor(0.5 * floor) != 0.5 * floor))
            raw[r] = np.int64(floor) + np.int64(up)
        if not plain:
            return False
        for r in range(rows):
            v = raw[r]
            if over == 0:
                raw[r] = min(max(v, low), high)
            elif over == 1:
                raw[r] = v if low <= v <= high else 0
            elif width < 64:
                kept = v & ((np.int64(1) << width) - 1)
                raw[r] = kept - ((kept << 1) & (np.int64(1) << width)) if low < 0 else kept
        block, lane = b // lanes, b % lanes
        for r in range(rows):
            out[block, r, lane] = raw[r]
    return True


def quantize(x: NDArray[np.float64], to: Fixed, out: NDArray[Any]) -> None:
    """Values (sequences, rows) cast to ``to`` into ``out`` (blocks, rows, lanes); lanes beyond the batch are left.

    Raises ``FxsimError`` as :func:`~fxsim.fixed.cast_floats` does, which also casts what is not plain arithmetic.
    """
    machine = to.max < 1 << 63 and -1000 < to.frac < 1000
    if machine and _quantize(
        x, out, 2.0**to.frac, _ROUNDS[to.round], _OVERFLOWS[to.overflow], to.min, to.max, to.width
    ):
        return
    spread(cast_floats(x, to), out)


@nb.njit(nogil=True, cache=True)
def spread(raw: Any, out: Any) -> None:
    """Integers (sequences, rows) into blocks (blocks, rows, lanes)."""
    lanes = out.shape[2]
    for b in range(raw.shape[0]):
        block, lane = b // lanes, b % lanes
        for r in range(raw.shape[1]):
            out[block, r, lane] = raw[b, r]


def gather(blocks: NDArray[Any], sequences: int) -> IntArray:
    """Blocks (blocks, rows, lanes) as int64 (sequences, rows)."""
    rows = blocks.shape[1]
    return np.ascontiguousarray(blocks.transpose(0, 2, 1)).reshape(-1, rows)[:sequences].astype(np.int64)
