# SPDX-License-Identifier: Apache-2.0
"""Ops over whole vectors: concatenation, sums, the largest element."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from ..program.fixed import cast
from ..program.ops import Concat, Largest, OneHot, Reduction, Total
from . import elementwise
from .llvm import ROUNDS, Vec, fits, magnitude
from .operands import Vectors


def concat(on: Vectors, op: Concat) -> None:
    """Parts behind one another."""
    rows = on.places[op.name] = on.fresh(op.name, on.program.sizes[op.name], on.bits(op.name))
    for part in op.parts:
        on.copy(part, rows)
        rows = replace(rows, offset=rows.offset + on.program.sizes[part] * on.frame.row(rows.bits))


def emit(on: Vectors, op: Reduction) -> None:
    """A sum or the largest element; of one sequence, a vector holds one element."""
    with on.code.lanes_of(1 if on.frame.single else on.code.lanes):
        match op:
            case Total():
                _total(on, op)
            case Largest():
                _largest(on, op)
            case OneHot():
                _one_hot(on, op)
            case _:
                assert_never(op)


def _total(on: Vectors, op: Total) -> None:
    """Balanced tree; the left part is a power of two, so pairs at growing strides do it."""
    code, known, arg = on.code, on.bounds[op.name], on.bounds[op.arg]
    frac = on.program[op.arg].type.frac
    bits = max(
        elementwise.compute_bits(op.type, frac, [(arg.low, arg.high)], known),
        32 if fits(*known.exact, 32) else 64,
    )
    terms = on.program.sizes[op.arg]
    scratch = on.fresh(op.name, terms, bits, "partial sums")
    result = on.places[op.name] = on.fresh(op.name, 1, on.bits(op.name))
    shift, size = frac - op.type.frac, magnitude(arg.low, arg.high)
    mode = ROUNDS[op.type.round]
    counting = op.name in on.counters
    with code.loop(on.frame.vectors) as v:
        hit = code.variable(code.constant(0, 32))

        def fit(value: Vec) -> Vec:
            if counting:
                outside = code.truth(code.outside(value, op.type.min, op.type.max), 32)
                code.set(hit, code.binary("or", code.get(hit), outside))
            return elementwise.fit(code, op.type, value, known.overflows, None)

        with code.loop(terms) as k:
            value = code.resize(on.value(op.arg, on.position(k, v)), bits)
            on.put(fit(code.round(value, shift, mode, size)), scratch, on.position(k, v))
        stride = 1
        while stride < terms:
            with code.loop(-(-(terms - stride) // (2 * stride))) as k:
                left = code.op(f"mul nuw nsw i64 {k}, {2 * stride}")
                right = code.op(f"add nuw nsw i64 {left}, {stride}")
                a, b = (on.take(scratch, on.position(at, v)) for at in (left, right))
                on.put(fit(code.add(a, b)), scratch, on.position(left, v))
            stride *= 2
        on.put(on.take(scratch, v), result, v)
        with on.tallies([op.name], v) as tallies:
            for tally in tallies.values():
                code.set(tally, code.get(hit))


def _largest(on: Vectors, op: Largest) -> None:
    """The largest element, cast."""
    code, known = on.code, on.bounds[op.name]
    result = on.places[op.name] = on.fresh(op.name, 1, on.bits(op.name))
    bits = elementwise.compute_bits(
        op.type, known.exact_frac, [known.exact, (on.bounds[op.arg].low, on.bounds[op.arg].high)], known
    )
    with code.loop(on.frame.vectors) as v:
        best = code.variable(code.resize(on.value(op.arg, v), bits))
        with code.loop(on.program.sizes[op.arg]) as k:
            value = code.resize(on.value(op.arg, on.position(k, v)), bits)
            code.set(best, code.larger(code.get(best), value))
        with on.tallies([op.name], v) as tallies:
            value = elementwise.cast(code, op.type, code.get(best), known, tallies.get(op.name))
            on.put(value, result, v)


def _one_hot(on: Vectors, op: OneHot) -> None:
    """1 at the first largest element."""
    code = on.code
    size = on.program.sizes[op.arg]
    result = on.places[op.name] = on.fresh(op.name, size, on.bits(op.name))
    one, zero = (code.constant(cast(v, 0, op.type), result.bits) for v in (1, 0))
    with code.loop(on.frame.vectors) as v:
        best = code.variable(on.value(op.arg, v))
        first = code.variable(code.constant(0, 32))
        now = code.variable(code.constant(0, 32))
        with code.loop(size) as k:
            value = on.value(op.arg, on.position(k, v))
            larger = code.compare("sgt", value, code.get(best))
            code.set(best, code.select(larger, value, code.get(best)))
            code.set(first, code.select(larger, code.get(now), code.get(first)))
            code.set(now, code.plus(code.get(now), 1))
        code.set(now, code.constant(0, 32))
        with code.loop(size) as k:
            chosen = code.compare("eq", code.get(now), code.get(first))
            on.put(code.select(chosen, one, zero), result, on.position(k, v))
            code.set(now, code.plus(code.get(now), 1))
