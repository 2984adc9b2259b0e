# SPDX-License-Identifier: Apache-2.0
"""Fixed-point casts as Amaranth expressions.

Written apart from ``fxsim.program.fixed`` and ``fxsim.simulator.network_kernel`` on purpose: code that all three share
would share its bugs. Tests tie them exhaustively.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Mux, Shape, Value

from fxsim.program.fixed import Fixed, Overflow, Round


def shape(type: Fixed) -> Shape:
    """The Amaranth shape of a raw integer of ``type``."""
    return Shape(type.width, signed=type.signed)


def shifted(value: Value, left: int) -> Value:
    """``value * 2**left`` for ``left >= 0``."""
    return value if left == 0 else value << left


def logic_product(one: Value, two: Value) -> Value:
    """``one * two`` without a multiplier: the longer for each bit of the shorter, added in a tree."""
    one, two = sorted((one, two), key=len, reverse=True)
    parts = [shifted(Mux(bit, one, 0), place) for place, bit in enumerate(two)]
    if two.shape().signed:
        parts[-1] = -parts[-1]
    return added(parts)


def added(parts: list[Value]) -> Value:
    """The sum of some values: pairs, then pairs of pairs."""
    while len(parts) > 1:
        odd = parts[len(parts) & ~1 :]
        parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=False)] + odd
    return parts[0]


def low_bits(value: Value, count: int) -> Value:
    """``value`` modulo ``2**count``: that many of its bits, as a number that is not negative."""
    if count <= 0:
        return Const(0, 1)
    sign = value[-1] if value.shape().signed else Const(0, 1)
    return Cat(value, sign.replicate(max(count - len(value), 0)))[:count]


def rounded(value: Value, shift: int, mode: Round) -> Value:
    """``value * 2**-shift`` rounded to an integer, at full width."""
    if shift <= 0:
        return shifted(value, -shift)
    floor, up = split(value, shift, mode)
    return floor if mode is Round.TRN else floor + up


def split(value: Value, shift: int, mode: Round) -> tuple[Value, Value]:
    """``value * 2**-shift`` for ``shift > 0`` rounded down, and one bit: whether ``mode`` rounds it up."""
    width, signed = len(value), value.shape().signed
    negative = value[-1] if signed else Const(0, 1)
    if shift >= width:
        # All bits are dropped: what is left is the sign, once more below the point.
        floor: Value = negative.as_signed() if signed else Const(0, 1)
    else:
        floor = value[shift:].as_signed() if signed else value[shift:]

    def bit(index: int) -> Value:
        return value[index] if index < width else negative

    guard = bit(shift - 1)
    sticky = value[: min(shift - 1, width)].any() if shift > 1 else Const(0, 1)
    if shift - 1 > width and signed:
        sticky = sticky | negative
    up = {
        Round.TRN: Const(0, 1),
        Round.TRN_ZERO: negative & (guard | sticky),
        Round.RND: guard,
        Round.RND_ZERO: guard & (sticky | negative),
        Round.RND_INF: guard & (sticky | ~negative),
        Round.RND_MIN_INF: guard & sticky,
        Round.RND_CONV: guard & (sticky | bit(shift)),
    }[mode]
    # One bit, taken as 0 or 1: a signed operand of one bit would count as -1.
    return floor, up[0]


def limited(value: Value, to: Fixed) -> Value:
    """An already rounded integer brought into the range of ``to`` by its overflow mode; has the width of ``to``."""
    low, high = _range(value)
    if to.min <= low and high <= to.max:
        return _sized(value, to)
    if to.overflow is Overflow.WRAP:
        return _sized(value, to)
    over = _above(value, to.max) if high > to.max else Const(0, 1)
    under = _below(value, to.min) if low < to.min else Const(0, 1)
    if to.overflow is Overflow.SAT_ZERO:
        return Mux(over | under, Const(0, shape(to)), _sized(value, to))
    return Mux(over, Const(to.max, shape(to)), Mux(under, Const(to.min, shape(to)), _sized(value, to)))


def _above(value: Value, limit: int) -> Value:
    """``value > limit``; for ``2**k - 1`` by the bits from k on alone, without a subtraction."""
    k = limit.bit_length()
    if limit != (1 << k) - 1:
        return value > Const(limit)
    if not value.shape().signed:
        return value[k:].any()
    return ~value[-1] & value[k:-1].any()


def _below(value: Value, limit: int) -> Value:
    """``value < limit`` of a signed value; for ``-2**k`` and 0 by the bits from k on alone."""
    if limit == 0:
        return value[-1]
    k = (-limit).bit_length() - 1
    if limit != -1 << k:
        return value < Const(limit)
    return value[-1] & ~value[k:-1].all()


def cast(value: Value, frac: int, to: Fixed) -> Value:
    """Raw ``value * 2**-frac`` in the format ``to``: round, then overflow."""
    return limited(rounded(value, frac - to.frac, to.round), to)


def _range(value: Value) -> tuple[int, int]:
    kind = value.shape()
    if kind.signed:
        return -(1 << (kind.width - 1)), (1 << (kind.width - 1)) - 1
    return 0, (1 << kind.width) - 1


def _sized(value: Value, to: Fixed) -> Value:
    """The low bits of ``value`` (extended by its own sign if it is shorter), read as ``to``."""
    if len(value) > to.width:
        bits: Value = value[: to.width]
    elif len(value) < to.width:
        sign = value[-1] if value.shape().signed else Const(0, 1)
        bits = Cat(value, sign.replicate(to.width - len(value)))
    else:
        bits = value
    return bits.as_signed() if to.signed else bits.as_unsigned()
