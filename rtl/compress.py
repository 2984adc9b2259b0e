# SPDX-License-Identifier: Apache-2.0
"""Sums without carries: rows of bits become fewer rows of the same sum, a level of LUTs at a time."""

from __future__ import annotations

from amaranth.hdl import C, Cat, Const, Value


def full_adder(a: Value, b: Value, c: Value) -> tuple[Value, Value]:
    """Three bit vectors added place by place: the sums, and the carries, which belong one place higher."""
    return a ^ b ^ c, (a & b) | (a & c) | (b & c)


def row(value: Value, width: int) -> Value:
    """``value`` modulo ``2**width`` as plain bits."""
    sign = value[-1] if value.shape().signed else Const(0, 1)
    return Cat(value, sign.replicate(max(width - len(value), 0)))[:width]


def with_constant(a: Value, b: Value, constant: int, width: int) -> Value:
    """``a + b + constant`` modulo ``2**width``: a LUT before each bit of one carry chain takes the constant in."""
    total, carry = full_adder(row(a, width), row(b, width), C(constant % (1 << width), width))
    return (total + Cat(Const(0, 1), carry[:-1]))[:width]
