# SPDX-License-Identifier: Apache-2.0
"""A matrix product in a function: its operands from memory, its sums to memory, its overflows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..program.ops import Dot
from . import dot_arithmetic, elementwise
from .llvm import Var, Vec
from .memory import Rows
from .operands import Vectors


def _choose(on: Vectors, op: Dot) -> tuple[dot_arithmetic.Product, dot_arithmetic.Witness | None]:
    """The arithmetic of a matrix product, and what tells its overflows if it cannot itself."""
    frac, x, known = on.program[op.arg].type.frac, on.bounds[op.arg], on.bounds[op.name]
    product = dot_arithmetic.choose(op, frac, x, known, exact=False)
    if op.name not in on.counters or product.saturate is not None:
        return product, None
    witness = dot_arithmetic.witness(product, op, x)
    return (product, witness) if witness else (dot_arithmetic.choose(op, frac, x, known, exact=True), None)


def emit(on: Vectors, op: Dot, t: str) -> None:
    """A matrix product, and the wrap-around of its sum."""
    code, frame, known = on.code, on.frame, on.bounds[op.name]
    product, witness = _choose(on, op)
    size = on.size(op.name)
    counting = op.name in on.counters
    hits = None
    if counting and product.saturate:
        cut = dot_arithmetic.tile(product, frame.width, code.lanes, frame.machine.registers)
        hits = on.fresh(op.name, cut.outputs, 32, "overflows")
    sums = _multiply(on, op, product, t, hits)
    if witness:
        _watch(on, op, witness, sums, t)
        counting = False
    if product.split:
        sums = replace(sums, split=product.split, apart=size * frame.row(32))
    on.places[op.name] = sums
    names = [op.name] if counting else []
    if hits is not None:
        with code.loop(on.frame.vectors) as v, on.tallies(names, v) as tallies, code.loop(size) as j:
            hit = code.compare("ne", on.take(hits, on.position(j, v)), code.constant(0, 32))
            elementwise.count(code, tallies[op.name], hit)
        return
    to = op.type
    done = product.bits == to.width and to.signed and not product.split
    if product.saturate or not known.overflows or (done and not counting):
        return
    wrapped = on.places[op.name] = on.fresh(op.name, size, on.bits(op.name))

    def wrap(at: str, tally: Var | None) -> None:
        total = on.take(sums, at)
        # What wraps may be wider afterwards: -1 without a sign is the largest number.
        total = code.resize(total, max(total.bits, on.bits(op.name)))
        on.put(elementwise.fit(code, to, total, True, tally), wrapped, at)

    if not names:
        on.each(size, lambda at: wrap(at, None))
        return
    with code.loop(on.frame.vectors) as v, on.tallies(names, v) as tallies, code.loop(size) as j:
        wrap(on.position(j, v), tallies[op.name])


def _multiply(on: Vectors, op: Dot, product: dot_arithmetic.Product, t: str, hits: Rows | None = None) -> Rows:
    """The sums of a matrix product, padded to whole tiles."""
    code, frame = on.code, on.frame
    cut = dot_arithmetic.tile(product, on.frame.width, code.lanes, frame.machine.registers)
    weights, bias = dot_arithmetic.packed(product, cut)
    step = weights[0].nbytes if product.weights.ndim == 3 else 0
    operands = _operands(on, op, product)
    sums = on.fresh(op.name, cut.outputs, product.bits, "sums")
    places = (
        code.address(operands.base, operands.offset),
        code.address(on.constants(op.name, weights, "weights"), 0, *([(t, step)] if step else [])),
        on.constants(op.name, bias, "bias"),
        code.address(sums.base, sums.offset),
    )
    if frame.single:
        dot_arithmetic.emit_single(code, product, cut, places)
    else:
        hit = code.address(hits.base, hits.offset) if hits else None
        dot_arithmetic.emit(code, product, cut, frame.width, places, hit)
    return sums


def _watch(on: Vectors, op: Dot, witness: dot_arithmetic.Witness, sums: Rows, t: str) -> None:
    """Count the overflows of sums that were computed modulo their width."""
    if not witness.rows.size:
        return
    code = on.code
    whole = _multiply(on, op, witness.product, t)
    rows = on.constants(op.name, witness.rows.astype(np.int64), "rows that can overflow")
    count = len(witness.rows)
    with code.loop(on.frame.vectors) as v, on.tallies([op.name], v) as tallies, code.loop(count) as k:
        row = code.number(code.address(rows, 0, (k, 8)))
        near = code.shift("ashr", on.take(whole, on.position(k, v)), witness.shift)
        apart = code.binary("sub", near, on.take(sums, on.position(row, v)))
        elementwise.count(code, tallies[op.name], code.outside(apart, 0, witness.inputs - 1))


def _operands(on: Vectors, op: Dot, product: dot_arithmetic.Product) -> Rows:
    """The argument as the product multiplies it."""
    code, frame = on.code, on.frame
    rows = on.place(op.arg)
    count, bits = dot_arithmetic.operand_rows(product)
    inputs = on.size(op.arg)
    vectors = on.frame.vectors
    moved = rows.split or product.offset or product.left or product.order
    if product.kind != dot_arithmetic.PAIRS and not moved and rows.bits == bits:
        return rows
    if frame.single:
        bits = product.operand_bits
        if not moved and rows.bits == bits and not inputs % 2:
            return rows
        count = inputs + inputs % 2  # the last one of an odd number meets a weight of zero
    packed = on.fresh(op.name, count, bits, "operands")

    def shifted(at: str) -> Vec:
        value = code.resize(on.take(rows, at), max(32, bits))
        return code.shift("shl", code.plus(value, -product.offset), product.left)

    order = product.order if product.order and product.order != tuple(range(inputs)) else None
    if frame.single and not order:
        on.each(inputs, lambda at: on.put(shifted(at), packed, at))
        return packed
    if product.kind != dot_arithmetic.PAIRS:
        table = on.constants(op.name, np.array(order, np.int64), "order") if order else ""
        lanes = 1 if frame.single else code.lanes
        with code.lanes_of(lanes), code.loop(inputs) as k, code.loop(vectors) as v:
            source = k
            if order:
                source = code.number(code.address(table, 0, (k, 8)))
            on.put(shifted(on.position(source, v)), packed, on.position(k, v))
        return packed
    if inputs >= 2:
        with code.loop(inputs // 2) as k, code.loop(vectors) as v:
            two = code.op(f"shl nuw nsw i64 {k}, 1")
            first, second = (
                shifted(on.position(two, v)),
                shifted(on.position(code.op(f"or disjoint i64 {two}, 1"), v)),
            )
            lower = code.binary("and", first, code.constant(0xFFFF, 32))
            on.put(code.binary("or", lower, code.shift("shl", second, 16)), packed, on.position(k, v))
    if inputs % 2:
        with code.loop(vectors) as v:
            lower = code.binary("and", shifted(on.position(str(inputs - 1), v)), code.constant(0xFFFF, 32))
            on.put(lower, packed, on.position(str(inputs // 2), v))
    return packed
