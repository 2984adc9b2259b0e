# SPDX-License-Identifier: Apache-2.0
"""Sums without carries: rows of bits become fewer rows of the same sum, a level of LUTs at a time."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import C, Cat, Const, Value


def full_adder(a: Value, b: Value, c: Value) -> tuple[Value, Value]:
    """Three bit vectors added place by place: the sums, and the carries, which belong one place higher."""
    return a ^ b ^ c, (a & b) | (a & c) | (b & c)


def row(value: Value, width: int) -> Value:
    """``value`` modulo ``2**width`` as plain bits."""
    sign = value[-1] if value.shape().signed else Const(0, 1)
    return Cat(value, sign.replicate(max(width - len(value), 0)))[:width]


def fewer(rows: list[Value], signal: Callable[[Value], Value]) -> list[Value]:
    """The rows of the next level, six at a time; all have one width, modulo which their sum is meant.

    ``signal`` puts a value that is read more than once into a signal of its own.
    """
    found: list[Value] = []
    for k in range(0, len(rows), 6):
        found += [signal(bits) for bits in _level(rows[k : k + 6], signal)]
    return found


def _level(rows: list[Value], signal: Callable[[Value], Value]) -> list[Value]:
    if len(rows) < 3:
        return rows
    width = len(rows[0])

    def higher(bits: Value, places: int) -> Value:
        return Cat(Const(0, places), bits)[:width]

    one, high = map(signal, full_adder(*rows[:3]))
    if len(rows) < 5:
        return [one, higher(high, 1), *rows[3:]]
    other, second = map(signal, full_adder(rows[3], rows[4], rows[5] if len(rows) == 6 else C(0, width)))
    twice, four = full_adder(high, second, signal(one & other))
    return [one ^ other, higher(twice, 1), higher(four, 2)]


def with_constant(a: Value, b: Value, constant: int, width: int) -> Value:
    """``a + b + constant`` modulo ``2**width``: a LUT before each bit of one carry chain takes the constant in."""
    total, carry = full_adder(row(a, width), row(b, width), C(constant % (1 << width), width))
    return (total + Cat(Const(0, 1), carry[:-1]))[:width]
