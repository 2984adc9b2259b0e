# SPDX-License-Identifier: Apache-2.0
"""Fold 2: programs in numba. One compiled machine runs every program; shifts, limits and weights are its data.

A program is translated once to a table of numbers (``translation.py``), and :func:`run` walks that table for a block of
sequences. The batch is the innermost axis everywhere, so that every op, lookups included, is one vector loop; the walk
itself costs a few nanoseconds an op and block. Nothing is compiled for a new network or a new precision.

The rounding here is written apart from ``fixed.py`` on purpose: shared code would share its bugs. Tests tie them.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from .translation import (
    A_LEFT,
    A_SIZE,
    ADD,
    B_LEFT,
    B_SIZE,
    C_LEFT,
    C_SIZE,
    CAST,
    COPY,
    DATA,
    DATA_2,
    DOT_ORDERED,
    DOT_ROUNDED,
    DOT_SUM,
    EXACT_32,
    EXTRA,
    EXTRA_2,
    FITS,
    HIGH,
    KIND,
    LARGEST,
    LOOKUP,
    LOW,
    MAX,
    MIN,
    MODULO_32,
    MUL,
    NARROW,
    ONEHOT,
    OUT,
    OVER,
    RND,
    RND_INF,
    RND_MIN_INF,
    RND_ZERO,
    ROUND,
    SAT,
    SAT_ZERO,
    SHIFT,
    SIZE,
    SLOT,
    STEP,
    SUB,
    TOTAL,
    TRN,
    TRN_ZERO,
    WIDTH,
    WRAP,
    A,
    B,
    C,
)  # fmt: skip


@nb.njit(inline="always")
def _round_row(row: Any, shift: int, mode: int) -> None:
    """``row * 2**-shift`` rounded, in place."""
    n = row.shape[0]
    if shift == 0:
        return
    if shift < 0:
        for b in range(n):
            row[b] = row[b] << -shift
        return
    if mode == TRN:
        for b in range(n):
            row[b] = row[b] >> shift
        return
    # guard: the first dropped bit; sticky: any below it. Up to 62 bits of magnitude, so shift 63 leaves the sign.
    below = (np.int64(1) << (shift - 1)) - 1
    for b in range(n):
        v = row[b]
        guard = (v >> (shift - 1)) & 1
        sticky = np.int64((v & below) != 0)
        negative = np.int64(v < 0)
        kept = v >> shift
        if mode == RND:
            up = guard
        elif mode == TRN_ZERO:
            up = negative & (guard | sticky)
        elif mode == RND_ZERO:
            up = guard & (sticky | negative)
        elif mode == RND_INF:
            up = guard & (sticky | (1 - negative))
        elif mode == RND_MIN_INF:
            up = guard & sticky
        else:
            up = guard & (sticky | (kept & 1))
        row[b] = kept + up


@nb.njit(inline="always")
def _overflow_row(row: Any, over: int, low: int, high: int, width: int) -> None:
    n = row.shape[0]
    if over == SAT:
        for b in range(n):
            row[b] = min(max(row[b], low), high)
    elif over == WRAP:
        if low < 0:
            up = 64 - width
            for b in range(n):
                row[b] = (row[b] << up) >> up
        elif width < 64:
            mask = (np.int64(1) << width) - 1
            for b in range(n):
                row[b] = row[b] & mask
    elif over == SAT_ZERO:
        for b in range(n):
            v = row[b]
            row[b] = v if low <= v <= high else 0


@nb.njit(inline="always")
def _count_row(row: Any, low: int, high: int, count: Any) -> None:
    for b in range(row.shape[0]):
        count[b] += np.int64(row[b] < low) | np.int64(row[b] > high)


@nb.njit(inline="always")
def _cast_row(row: Any, c: Any, counts: Any, counting: bool) -> None:
    """Round, count, overflow: the row into the instruction's format."""
    _round_row(row, c[SHIFT], c[ROUND])
    if c[OVER] != FITS:
        if counting:
            _count_row(row, c[LOW], c[HIGH], counts[c[SLOT]])
        _overflow_row(row, c[OVER], c[LOW], c[HIGH], c[WIDTH])


@nb.njit(nogil=True, cache=True)
def cast_rows(rows: Any, shift: int, mode: int, over: int, low: int, high: int, width: int) -> None:
    """The compiled cast alone, in place, of int64 (rows, batch); for tests."""
    for j in range(rows.shape[0]):
        _round_row(rows[j], shift, mode)
        _overflow_row(rows[j], over, low, high, width)


@nb.njit(nogil=True, cache=True)
def _accumulate(weights: Any, x: Any, sums: Any) -> None:
    """``sums += weights @ x`` in the arrays' own integers, four outputs by four inputs at a time.

    Sixteen products for each load and store of four sums keep the multipliers, not the memory ports, busy.
    """
    outputs, inputs = weights.shape
    batch = x.shape[1]
    for r in range(0, outputs - 3, 4):
        w = weights[r : r + 4]
        s0, s1, s2, s3 = sums[r], sums[r + 1], sums[r + 2], sums[r + 3]
        for k in range(0, inputs - 3, 4):
            x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
            w00, w01, w02, w03 = w[0, k], w[0, k + 1], w[0, k + 2], w[0, k + 3]
            w10, w11, w12, w13 = w[1, k], w[1, k + 1], w[1, k + 2], w[1, k + 3]
            w20, w21, w22, w23 = w[2, k], w[2, k + 1], w[2, k + 2], w[2, k + 3]
            w30, w31, w32, w33 = w[3, k], w[3, k + 1], w[3, k + 2], w[3, k + 3]
            for b in range(batch):
                v0, v1, v2, v3 = x0[b], x1[b], x2[b], x3[b]
                s0[b] += w00 * v0 + w01 * v1 + w02 * v2 + w03 * v3
                s1[b] += w10 * v0 + w11 * v1 + w12 * v2 + w13 * v3
                s2[b] += w20 * v0 + w21 * v1 + w22 * v2 + w23 * v3
                s3[b] += w30 * v0 + w31 * v1 + w32 * v2 + w33 * v3
        for k in range(inputs - inputs % 4, inputs):
            x0 = x[k]
            w00, w10, w20, w30 = w[0, k], w[1, k], w[2, k], w[3, k]
            for b in range(batch):
                v0 = x0[b]
                s0[b] += w00 * v0
                s1[b] += w10 * v0
                s2[b] += w20 * v0
                s3[b] += w30 * v0
    for r in range(outputs - outputs % 4, outputs):
        s0 = sums[r]
        for k in range(inputs):
            x0, w00 = x[k], weights[r, k]
            for b in range(batch):
                s0[b] += w00 * x0[b]


@nb.njit(nogil=True, cache=True)
def _accumulate_rounded(weights: Any, x: Any, sums: Any, shift: Any, half: Any) -> None:
    """``sums += (weights * x + half) >> shift`` product by product, four outputs by two inputs at a time."""
    outputs, inputs = weights.shape
    batch = x.shape[1]
    for r in range(0, outputs - 3, 4):
        w = weights[r : r + 4]
        s0, s1, s2, s3 = sums[r], sums[r + 1], sums[r + 2], sums[r + 3]
        for k in range(0, inputs - 1, 2):
            x0, x1 = x[k], x[k + 1]
            w00, w01, w10, w11 = w[0, k], w[0, k + 1], w[1, k], w[1, k + 1]
            w20, w21, w30, w31 = w[2, k], w[2, k + 1], w[3, k], w[3, k + 1]
            for b in range(batch):
                v0, v1 = x0[b], x1[b]
                s0[b] += ((w00 * v0 + half) >> shift) + ((w01 * v1 + half) >> shift)
                s1[b] += ((w10 * v0 + half) >> shift) + ((w11 * v1 + half) >> shift)
                s2[b] += ((w20 * v0 + half) >> shift) + ((w21 * v1 + half) >> shift)
                s3[b] += ((w30 * v0 + half) >> shift) + ((w31 * v1 + half) >> shift)
        for k in range(inputs - inputs % 2, inputs):
            x0 = x[k]
            w00, w10, w20, w30 = w[0, k], w[1, k], w[2, k], w[3, k]
            for b in range(batch):
                v0 = x0[b]
                s0[b] += (w00 * v0 + half) >> shift
                s1[b] += (w10 * v0 + half) >> shift
                s2[b] += (w20 * v0 + half) >> shift
                s3[b] += (w30 * v0 + half) >> shift
    for r in range(outputs - outputs % 4, outputs):
        s0 = sums[r]
        for k in range(inputs):
            x0, w00 = x[k], weights[r, k]
            for b in range(batch):
                s0[b] += (w00 * x0[b] + half) >> shift


@nb.njit(nogil=True, cache=True)
def _dot(c: Any, data: Any, data32: Any, mem: Any, offset: int, x32: Any, sum32: Any, narrow: bool) -> None:
    """A matrix product whose products are exact, truncated or rounded half up; 32-bit integers where they suffice."""
    inputs, size = c[A_SIZE], c[SIZE]
    x = mem[c[A] : c[A] + inputs]
    out = mem[c[OUT] : c[OUT] + size]
    shift = max(c[SHIFT], 0)
    half = np.int64(1) << (shift - 1) if shift > 0 and c[ROUND] == RND else np.int64(0)
    if narrow:
        for k in range(inputs):
            for b in range(x.shape[1]):
                x32[k, b] = np.int32(x[k, b])
        sums = sum32[:size]
        sums[:] = 0
        weights = data32[offset : offset + size * inputs].reshape(size, inputs)
        if shift == 0:
            _accumulate(weights, x32, sums)
        else:
            _accumulate_rounded(weights, x32, sums, np.int32(shift), np.int32(half))
        for r in range(size):
            bias = data[c[DATA_2] + r]
            for b in range(x.shape[1]):
                out[r, b] = np.int64(sums[r, b]) + bias
        return
    out[:] = 0
    wide = data[offset : offset + size * inputs].reshape(size, inputs)
    if shift == 0:
        _accumulate(wide, x, out)
    else:
        _accumulate_rounded(wide, x, out, shift, half)
    left = max(-c[SHIFT], 0)
    for r in range(size):
        bias = data[c[DATA_2] + r]
        for b in range(x.shape[1]):
            out[r, b] = (out[r, b] << left) + bias


@nb.njit(nogil=True, cache=True)
def _dot_rounded(c: Any, data: Any, mem: Any, offset: int, term: Any) -> None:
    """Each product rounded by a mode that needs more than an addition; the sum wraps or fits."""
    inputs = c[A_SIZE]
    for r in range(c[SIZE]):
        row = mem[c[OUT] + r]
        row[:] = data[c[DATA_2] + r]
        base = offset + r * inputs
        for k in range(inputs):
            w = data[base + k]
            if w == 0:
                continue
            x = mem[c[A] + k]
            for b in range(row.shape[0]):
                term[b] = w * x[b]
            _round_row(term, c[SHIFT], c[ROUND])
            for b in range(row.shape[0]):
                row[b] += term[b]


@nb.njit(nogil=True, cache=True)
def _dot_ordered(c: Any, data: Any, mem: Any, offset: int, term: Any, hit: Any, counts: Any, counting: bool) -> None:
    """Products and partial sums saturate, one after another in the op's order."""
    inputs = c[A_SIZE]
    for r in range(c[SIZE]):
        row = mem[c[OUT] + r]
        row[:] = data[c[DATA_2] + r]
        hit[:] = 0
        base = offset + r * inputs
        for k in range(inputs):
            w = data[base + k]
            x = mem[c[A] + data[c[EXTRA] + k]]
            for b in range(row.shape[0]):
                term[b] = w * x[b]
            _round_row(term, c[SHIFT], c[ROUND])
            if counting:
                _count_row(term, c[LOW], c[HIGH], hit)
            _overflow_row(term, c[OVER], c[LOW], c[HIGH], c[WIDTH])
            for b in range(row.shape[0]):
                row[b] += term[b]
            if counting:
                _count_row(row, c[LOW], c[HIGH], hit)
            _overflow_row(row, c[OVER], c[LOW], c[HIGH], c[WIDTH])
        if counting:
            for b in range(row.shape[0]):
                counts[c[SLOT], b] += np.int64(hit[b] != 0)


@nb.njit(nogil=True, cache=True)
def _total(c: Any, mem: Any, scratch: Any, hit: Any, counts: Any, counting: bool) -> None:
    """Balanced tree, each partial sum cast; the left part is a power of two, so pairs at growing strides do it."""
    n = c[A_SIZE]
    batch = mem.shape[1]
    hit[:] = 0
    for k in range(n):
        scratch[k, :batch] = mem[c[A] + k]
        _round_row(scratch[k], c[SHIFT], c[ROUND])
        if c[OVER] != FITS:
            if counting:
                _count_row(scratch[k], c[LOW], c[HIGH], hit)
            _overflow_row(scratch[k], c[OVER], c[LOW], c[HIGH], c[WIDTH])
    stride = 1
    while stride < n:
        for k in range(0, n - stride, 2 * stride):
            left, right = scratch[k], scratch[k + stride]
            for b in range(batch):
                left[b] += right[b]
            if c[OVER] != FITS:
                if counting:
                    _count_row(left, c[LOW], c[HIGH], hit)
                _overflow_row(left, c[OVER], c[LOW], c[HIGH], c[WIDTH])
        stride *= 2
    mem[c[OUT]] = scratch[0, :batch]
    if counting:
        for b in range(batch):
            counts[c[SLOT], b] += np.int64(hit[b] != 0)


@nb.njit(nogil=True, cache=True)
def _elementwise(c: Any, data: Any, mem: Any, counts: Any, counting: bool) -> None:
    kind = c[KIND]
    batch = mem.shape[1]
    for j in range(c[SIZE]):
        row = mem[c[OUT] + j]
        a = mem[c[A] + (j if c[A_SIZE] > 1 else 0)]
        la, lb = c[A_LEFT], c[B_LEFT]
        if kind in (CAST, COPY):
            for b in range(batch):
                row[b] = a[b]
        elif kind == LOOKUP:
            scale = c[EXTRA]
            for b in range(batch):
                row[b] = a[b] * scale
            _round_row(row, c[SHIFT], c[ROUND])
            low, high, base = c[LOW], c[HIGH], c[DATA] - c[LOW]
            for b in range(batch):
                row[b] = data[base + min(max(row[b], low), high)]
            continue
        else:
            o = mem[c[B] + (j if c[B_SIZE] > 1 else 0)]
            if kind == ADD:
                for b in range(batch):
                    row[b] = (a[b] << la) + (o[b] << lb)
            elif kind == SUB:
                for b in range(batch):
                    row[b] = (a[b] << la) - (o[b] << lb)
            elif kind == MUL:
                for b in range(batch):
                    row[b] = a[b] * o[b]
            elif kind == MAX:
                for b in range(batch):
                    row[b] = max(a[b] << la, o[b] << lb)
            elif kind == MIN:
                for b in range(batch):
                    row[b] = min(a[b] << la, o[b] << lb)
            else:
                e = mem[c[C] + (j if c[C_SIZE] > 1 else 0)]
                lc = c[C_LEFT]
                for b in range(batch):
                    row[b] = (o[b] << lb) if a[b] > 0 else (e[b] << lc)
        if kind != COPY:
            _cast_row(row, c, counts, counting)


@nb.njit(nogil=True, cache=True)
def _reduce(c: Any, mem: Any, best: Any, counts: Any, counting: bool) -> None:
    """Largest element, or one-hot of the first one."""
    batch = mem.shape[1]
    row = mem[c[OUT]]
    if c[KIND] == LARGEST:
        row[:] = mem[c[A]]
        for k in range(1, c[A_SIZE]):
            a = mem[c[A] + k]
            for b in range(batch):
                row[b] = max(row[b], a[b])
        _cast_row(row, c, counts, counting)
        return
    best[:batch] = 0
    for k in range(1, c[A_SIZE]):
        for b in range(batch):
            if mem[c[A] + k, b] > mem[c[A] + best[b], b]:
                best[b] = k
    for k in range(c[SIZE]):
        for b in range(batch):
            mem[c[OUT] + k, b] = c[EXTRA] if best[b] == k else c[EXTRA_2]


@nb.njit(nogil=True, cache=True)
def run(
    code: Any,
    data: Any,
    data32: Any,
    loads: Any,
    updates: Any,
    mem: Any,
    input_row: int,
    x: Any,
    output_row: int,
    out: Any,
    reverse: bool,
    counts: Any,
    counting: bool,
    trace: Any,
    tracing: bool,
) -> None:
    """Run a translated program over a block.

    ``x`` is int64 (steps, elements, batch); ``mem`` (rows, batch) holds the states at entry and exit; ``out`` is
    (steps or 1, elements, batch): with 1, the last step's result. ``reverse`` walks the steps backward. ``counts`` is
    (slots, batch), ``trace`` (steps, rows, batch).
    """
    steps, elements, batch = x.shape
    widest = 1
    largest = 1
    for i in range(code.shape[0]):
        widest = max(widest, code[i, A_SIZE])
        largest = max(largest, code[i, SIZE])
    scratch = np.empty((widest, batch), np.int64)
    term = np.empty(batch, np.int64)
    hit = np.empty(batch, np.int64)
    x32 = np.empty((widest, batch), np.int32)
    sum32 = np.empty((largest, batch), np.int32)
    for i in range(loads.shape[0]):
        for j in range(loads[i, 1]):
            mem[loads[i, 0] + j] = data[loads[i, 2] + j]
    for t in range(steps):
        step = steps - 1 - t if reverse else t
        for j in range(elements):
            mem[input_row + j] = x[step, j]
        for i in range(code.shape[0]):
            c = code[i]
            kind = c[KIND]
            if kind in (DOT_SUM, DOT_ROUNDED):
                offset = c[DATA] + t * c[STEP]
                if kind == DOT_SUM:
                    narrow = c[NARROW] == EXACT_32 or (c[NARROW] == MODULO_32 and not counting)
                    _dot(c, data, data32, mem, offset, x32, sum32, narrow)
                else:
                    _dot_rounded(c, data, mem, offset, term)
                if c[OVER] != FITS:
                    for j in range(c[SIZE]):
                        row = mem[c[OUT] + j]
                        if counting:
                            _count_row(row, c[LOW], c[HIGH], counts[c[SLOT]])
                        _overflow_row(row, c[OVER], c[LOW], c[HIGH], c[WIDTH])
            elif kind == DOT_ORDERED:
                _dot_ordered(c, data, mem, c[DATA] + t * c[STEP], term, hit, counts, counting)
            elif kind == TOTAL:
                _total(c, mem, scratch, hit, counts, counting)
            elif kind in (LARGEST, ONEHOT):
                _reduce(c, mem, hit, counts, counting)
            else:
                _elementwise(c, data, mem, counts, counting)
        if tracing:
            trace[step] = mem
        place = step if out.shape[0] == steps else 0
        for j in range(out.shape[1]):
            out[place, j] = mem[output_row + j]
        # All updates are read before any state changes: one state's update may be another state.
        at = 0
        for i in range(updates.shape[0]):
            for j in range(updates[i, 2]):
                scratch_row = mem[updates[i, 1] + j]
                mem[mem.shape[0] - 1 - at] = scratch_row
                at += 1
        at = 0
        for i in range(updates.shape[0]):
            for j in range(updates[i, 2]):
                mem[updates[i, 0] + j] = mem[mem.shape[0] - 1 - at]
                at += 1
