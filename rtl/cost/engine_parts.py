# SPDX-License-Identifier: Apache-2.0
"""What the engine of a matrix product is made of; the structure is what :mod:`rtl.gateware.matvec` builds."""

from __future__ import annotations

from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

from fxsim.program.fixed import IntArray, Round
from fxsim.program.ops import Dot

from ..plan.delays import Family
from ..plan.folded import Engine
from ..plan.schedule import LayerSchedule
from ..plan.signed_digits import LOGIC, digit_counts, digits
from .parts import (
    LEAST_FACTOR,
    SYNTHESIS,
    Parts,
    bits,
    block_rams,
    carry_save,
    casts,
    distinct,
    dsp_blocks,
    in_blocks,
    in_dsp,
    in_logic,
    multiplexer,
    tree,
)


def engine_parts(plan: LayerSchedule, op: Dot) -> Parts:
    """The engine of a matrix product of a layer."""
    engine, known = plan.engines[op.name], plan.bounds[op.name]
    wide, narrow = plan.widths(op)
    shift = plan.program[op.arg].type.frac + op.weights.type.frac - op.type.frac
    total = known.narrow(op.type).width
    parallel = engine.rows // engine.passes
    logic = plan.fold.multiplier == LOGIC
    # Bits of a product that its register keeps: those below the sum's grid are dropped, unless they round.
    dropped = max(shift, 0) if op.type.round is Round.TRN and not engine.ordered else 0
    parts = Parts()
    if engine.compressed:
        parts.include(_compressed(plan, op, engine, logic))
        return parts
    if engine.constant:
        signed = plan.bounds[op.arg].low < 0
        parts.include(_constant_products(op, engine.digits, wide, signed, plan.family, engine.stages, (dropped, total)))
        terms = _constant_terms(op, wide, shift, total)
    else:
        parts.include(_memory_products(plan, op, engine, logic, dropped))
        terms = np.full((engine.width, 1), min(wide + narrow - max(shift, 0), total))
    if engine.ordered:
        low, high = known.product
        parts.include(casts(low, high, shift + op.type.frac, op.type, op.type.width, parallel * engine.width))
    elif shift > 0 and op.type.round is not Round.TRN:
        parts["round"] += int(terms.sum()) * (1 if engine.constant else parallel)
    groups = engine.beats * engine.passes
    if op.bias is not None and not engine.accumulates:
        # One that never changes is half an addition.
        parts["bias" if groups == 1 else "tree"] += total * parallel
    # The adder behind the multiplier of a DSP block takes the product as it is.
    inside = 0.0
    if SYNTHESIS[plan.family.name].adds and shift <= 0 and not logic and not engine.ordered:
        inside = _multiplied(op, engine.digits) if engine.constant else 1.0
    levels = engine.registers[: len(engine.registers) - engine.accumulates]
    copies = 1 if engine.constant else parallel
    ends = not engine.accumulates or engine.registers[-1]
    synthesis = SYNTHESIS[plan.family.name]
    # Of the registers behind a product a DSP block takes in the first.
    passed = engine.stages - synthesis.adds if synthesis.shifts else -len(levels)
    parts.include(tree(terms, total, levels, inside, ends, passed), copies)
    if engine.accumulates:
        within = inside == 1.0 and engine.width == 1 and not engine.registers[-1]
        parts["post" if within else "accumulate"] += total * parallel
        parts["inside" if within else "ff"] += total * parallel
        parts["ff"] += total * parallel * engine.registers[-1]
        if engine.ordered:
            parts["limit"] += total * parallel
    if op.bias is not None and groups > 1:
        parts["rom"] += distinct(groups, total * parallel) * groups / 16
    # Rows of earlier passes wait for the last; parked ones all wait.
    parts["ff"] += (engine.passes - (op.name not in plan.parked)) * parallel * total
    parts.include(_control(engine))
    return parts


def _compressed(plan: LayerSchedule, op: Dot, engine: Engine, logic: bool) -> Parts:
    """An engine that adds without carries, and to each row what is read from another product."""
    wide, narrow = plan.widths(op)
    absorbed = {name: part for name, part in plan.absorbed.items() if part.dot == op.name}
    widths = np.full(engine.rows, plan.bounds[op.name].narrow(op.type).width)
    more = np.full(engine.rows, op.bias is not None, np.int64)
    for name, part in absorbed.items():
        rows = slice(part.start, part.start + plan.program.sizes[name])
        widths[rows] = plan.bounds[name].narrow(plan.program[name].type).width
        more[rows] += 1
    if engine.constant:
        signed = plan.bounds[op.arg].low < 0
        kept = 0, int(widths.max())
        parts = Parts(_constant_products(op, engine.digits, wide, signed, plan.family, engine.stages, kept))
        terms = (op.weights.data != 0).sum(axis=0)
        size = _constant_terms(op, wide, 0, int(widths.max())).sum(axis=0) + more * widths
    else:
        parts = _memory_products(plan, op, engine, logic, 0)
        terms = np.full(engine.rows, engine.width)
        size = terms * np.minimum(wide + narrow, widths) + more * widths
    for width, count, bits_in in zip(widths.tolist(), (terms + more).tolist(), size.tolist(), strict=True):
        parts.include(carry_save(width, count, bits_in, engine.registers))
    parts.include(_control(engine))
    return parts


def _signed_widths(low: IntArray, high: IntArray) -> IntArray:
    """Bits of signed integers that are ``low`` and ``high`` at the ends; none of only zeros."""
    size = np.maximum(np.where(low < 0, -low - 1, 0), np.maximum(high, 0))
    found: IntArray = np.ceil(np.log2(size + 1.0)).astype(np.int64) + (low < 0)
    return found


def _memory_products(plan: LayerSchedule, op: Dot, engine: Engine, logic: bool, dropped: int) -> Parts:
    """Multipliers whose weights come from memories, and the choice of their operands."""
    parts, (wide, narrow), signed = Parts(), plan.widths(op), plan.bounds[op.arg].low < 0
    if engine.depth > 1:
        parts["mux"] += multiplexer(engine.depth) * wide * engine.width
    inside = not logic and in_dsp(plan.family.name, wide, narrow)
    parts["inside" if inside else "ff"] += engine.fetch * wide * engine.width
    in_luts = 0
    low, high = _memory_ranges(plan, op, engine)
    formats, numbers = np.unique(np.stack([_signed_widths(low, high), low < 0]), axis=1, return_counts=True)
    for width, sign, number in zip(*formats.tolist(), numbers.tolist(), strict=True):
        count, kept = number * engine.width, wide + width - dropped
        signs = signed, bool(sign)
        parts.include(multipliers(plan.family, (wide, width), signs, count, engine.stages, logic, kept))
        parts["inside" if inside else "ff"] += (engine.fetch - 1) * width * count
        if in_blocks(engine.slots, width * engine.width):
            parts["bram"] += block_rams(engine.slots, width * engine.width, 1, plan.family.name) * number
        else:
            in_luts += width * count
    # What is the same in several memories is made once.
    if in_luts:
        parts.include(in_logic(engine.slots, in_luts, "rom"))
    return parts


def _memory_ranges(plan: LayerSchedule, op: Dot, engine: Engine) -> tuple[IntArray, IntArray]:
    """Least and largest weight in the memory of each row position: of its units of every gate, in each beat and pass.

    What is positive in one pass is stored with a sign if there is a negative weight in another.
    """
    rows, lanes = np.arange(engine.rows), plan.units // engine.beats
    outputs = rows[:, None]
    if engine.beats > 1:
        outputs = (rows // lanes * plan.units + rows % lanes)[:, None] + np.arange(engine.beats)[None] * lanes
    low, high = _column_ranges(op)
    return (
        low[outputs].min(axis=1).reshape(engine.passes, -1).min(axis=0),
        high[outputs].max(axis=1).reshape(engine.passes, -1).max(axis=0),
    )


@lru_cache(maxsize=256)
def _column_ranges(op: Dot) -> tuple[IntArray, IntArray]:
    """Least and largest weight of each output."""
    weights = op.weights.data.reshape(-1, op.weights.shape[-1])
    return weights.min(axis=0), weights.max(axis=0)


def multipliers(
    family: Family, factors: tuple[int, int], signs: tuple[bool, bool], count: int, stages: int, logic: bool, kept: int
) -> Parts:
    """``count`` multipliers of such ``factors``, whose products are kept in ``stages`` registers of ``kept`` bits."""
    parts = Parts()
    if logic or not in_dsp(family.name, *factors):
        parts["logic"] = factors[0] * factors[1] * count
        parts["ff"] = kept * stages * count
        return parts
    blocks = dsp_blocks(family, factors, signs)
    parts["dsp"] = blocks * count
    # Of several blocks, the last has the first register of all but the low bits of the others.
    inside = max(kept - (family.factors[1] - 1) * (blocks - 1), 0) * (1 if blocks > 1 else stages)
    parts["joint"] = sum(factors) * (blocks - 1) * count
    parts["ff"] = (kept * stages - inside) * count
    parts["inside"] = inside * count
    return parts


@lru_cache(maxsize=256)
def _constant_products(
    op: Dot, digits: int, wide: int, signed: bool, family: Family, stages: int, kept: tuple[int, int]
) -> Parts:
    """Products by weights that never change: the same products of an input are made once.

    ``kept``: how many low bits of a product are dropped, and how many are kept above them.
    """
    weights, counts, parts = op.weights.data, digit_counts(op.weights.data), Parts()
    values = _different(weights, counts > digits)
    # Low zeros are left out of the product.
    values = values // np.maximum(values & -values, 1)
    size = _signed_widths(values, values)
    # Beside an operand without a sign, a negative constant is extended to the width of the product.
    extended = np.where(values < 0, size + wide, size)
    if signed:
        # A positive one has a sign, too, which only counts where it gets a block at all.
        extended = size + ((values > 0) & (size + wide >= SYNTHESIS[family.name].least))
    # What is too narrow for a block is made of additions as well, but not shared.
    block = (np.minimum(extended, wide) >= LEAST_FACTOR) & (extended + wide >= SYNTHESIS[family.name].least)
    shapes, numbers = np.unique(np.stack([size, extended, signed | (values < 0)])[:, block], axis=1, return_counts=True)
    for narrow, factor, sign, number in zip(*shapes.tolist(), numbers.tolist(), strict=True):
        bits_kept, signs = min(wide + narrow - kept[0], kept[1]), (signed, bool(sign))
        parts.include(multipliers(family, (wide, factor), signs, number, stages, False, bits_kept))
    # By shifting and adding: of those that differ in a shift alone, one.
    few = (counts > 0) & (counts <= digits)
    odd = np.concatenate([_different(weights // np.maximum(weights & -weights, 1), few), values[~block]])
    size = wide + _signed_widths(odd, odd) - (odd == 1)
    # They are shifted further, each user's differently, before low bits are dropped.
    parts["ff"] += int(np.minimum(size, sum(kept)).sum()) * stages
    for value in odd[digit_counts(odd) > 1].tolist():
        last, others = _added_bits(value, wide, sum(kept))
        parts["adder"] += last
        parts["tree"] += others
    parts["negate"] += int(size.sum(where=odd == -1))
    return parts


@lru_cache(maxsize=1 << 14)
def _added_bits(value: int, wide: int, seen: int) -> tuple[int, int]:
    """Bits of the last of the additions that multiply by a constant, and of the others; ``seen``: of the product.

    What lies below one of two terms needs no adder, unless the term that reaches there is subtracted.
    """
    terms = [(shift, shift + wide, sign < 0) for sign, shift in digits(value)]
    last = total = 0
    while len(terms) > 1:
        sums = []
        for (low, top, less), (other, end, _) in zip(terms[::2], terms[1::2], strict=False):
            high = min(max(top, end) + 1, seen)
            last = max(high - (low if less else other), 0)
            total += last
            sums.append((low, high, False))
        terms = sums + terms[len(terms) & ~1 :]
    return last, total - last


def _different(weights: IntArray, which: NDArray[np.bool_]) -> IntArray:
    """The different weights of each input, out of those that ``which`` marks."""
    if not which.any():
        return np.zeros(0, np.int64)
    most = int(np.abs(weights).max())
    place = np.arange(weights.shape[0])[:, None] * (2 * most + 1) + most
    found: IntArray = np.unique((place + weights)[which]) % (2 * most + 1) - most
    return found


def _multiplied(op: Dot, digits: int) -> float:
    """The share of first sums of constant products in which there is one of a multiplier."""
    counts = digit_counts(op.weights.data)
    return 1.0 - float((counts[counts > 0] <= digits).mean()) ** 2 if counts.any() else 0.0


@lru_cache(maxsize=256)
def _constant_terms(op: Dot, wide: int, shift: int, total: int) -> IntArray:
    """Bits of every product by a weight that never changes, 0 where there is none."""
    weights = op.weights.data
    size = wide + _signed_widths(weights, weights) - max(shift, 0)
    found: IntArray = np.where(weights == 0, 0, np.clip(size, 1, total))
    return found


def _control(engine: Engine) -> Parts:
    """Counters of an engine, and what follows its products."""
    parts = Parts()
    if engine.selected:
        counters = bits(engine.depth) * (engine.depth > 1) + bits(engine.passes) * (engine.passes > 1)
        counters += bits(engine.slots) * (engine.slots > 1) + bits(ceil(engine.slots / engine.steps)) + 3
        time = engine.product_cycle - engine.start + sum(engine.registers)
        parts["control"] += counters
        parts["ff control"] += counters + time * (engine.accumulates + bits(engine.passes) * (engine.passes > 1))
    return parts
