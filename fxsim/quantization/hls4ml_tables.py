# SPDX-License-Identifier: Apache-2.0
"""hls4ml's tables of activation functions and softmax, entry for entry.

hls4ml fills its tables when its emulator starts, in single precision, by the C library's ``expf`` and ``tanhf``. What
those return is part of its answer, and differs from correct rounding in some last bits. So the two functions are
written out here in the elementary operations that the library's own consist of, each rounded once as IEEE 754 says:
the same tables on every machine. Everything below follows hls4ml 1.3.0, ``nnet_utils/nnet_activation.h``.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..arguments import integer
from ..errors import FxsimError
from ..program.fixed import Fixed, Round, cast_float, cast_floats
from ..program.integers import Const, Table

Single = NDArray[np.float32]
Double = NDArray[np.float64]

#: Sizes that a table can have.
SIZES = (2, 1 << 20)
#: Half the range, around zero, of the functions that are tabled on both sides of it.
RANGES = {"sigmoid": 8, "tanh": 4, "softplus": 8, "softsign": 8}
#: Functions tabled from -8 to 0 only.
BELOW_ZERO = ("elu", "selu")

_BITS = 32  # entries of the table in expf
_POWERS = np.array([float(Decimal(2) ** (Decimal(i) / _BITS)) for i in range(_BITS)])
_EXP = (
    float.fromhex("0x1.c6af84b912394p-5") / _BITS**3,
    float.fromhex("0x1.ebfce50fac4f3p-3") / _BITS**2,
    float.fromhex("0x1.62e42ff0c52d6p-1") / _BITS,
)


def expf(x: Single) -> Single:
    """``expf`` of glibc since 2.27 (ARM's optimized routines): ``2**(k/32) * p(r)`` in double precision."""
    # Beyond +-200 the result is 0 or infinity all the same, and k stays small.
    wide = np.clip(x.astype(np.float64), -200.0, 200.0)
    scaled = wide * (float.fromhex("0x1.71547652b82fep+0") * _BITS)
    nearest = np.rint(scaled)
    r = scaled - nearest
    k = nearest.astype(np.int64)
    power = np.ldexp(_POWERS[k % _BITS], k // _BITS)
    y = (_EXP[0] * r + _EXP[1]) * (r * r) + (_EXP[2] * r + 1.0)
    with np.errstate(over="ignore", under="ignore"):
        result: Single = (y * power).astype(np.float32)
    return result


def _expm1f(x: Single) -> Single:
    """``expm1f`` of fdlibm for ``|x| <= 18``, in single precision throughout."""
    f = np.float32
    q = [f(v) for v in (-3.3333335072e-02, 1.5873016091e-03, -7.9365076090e-05, 4.0082177293e-06, -2.0109921195e-07)]
    size = np.abs(x)
    # k is the nearest integer to x / log 2, but 0 up to log(2)/2 and +-1 up to 3*log(2)/2, as their bits are compared.
    half, three_halves = (np.array(bits, np.uint32).view(f) for bits in (0x3EB17218, 0x3F851592))
    k = (f(1.4426950216) * x + np.where(x < 0, f(-0.5), f(0.5))).astype(np.int32)
    k = np.where(size < three_halves, np.where(x < 0, -1, 1), k)
    k = np.where(size <= half, 0, k)
    t = k.astype(f)
    high = x - t * f(6.9313812256e-01)
    low = t * f(9.0580006145e-06)
    y = high - low
    c = (high - y) - low
    hfx = f(0.5) * y
    hxs = y * hfx
    r = f(1) + hxs * (q[0] + hxs * (q[1] + hxs * (q[2] + hxs * (q[3] + hxs * q[4]))))
    t = f(3) - r * hfx
    e = hxs * ((r - t) / (f(6) - y * t))
    at_zero = y - (y * e - hxs)
    e = (y * (e - c) - c) - hxs
    at_minus_one = f(0.5) * (y - e) - f(0.5)
    at_one = np.where(y < f(-0.25), f(-2) * (e - (y + f(0.5))), f(1) + f(2) * (y - e))
    power = np.ldexp(f(1), k)
    below = (f(1) - (e - y)) * power - f(1)
    above = ((f(1) - np.ldexp(f(1), -k)) - (e - y)) * power
    result: Single = np.select([k == 0, k == -1, k == 1, k < -1], [at_zero, at_minus_one, at_one, below], above)
    return result.astype(f)


def tanhf(x: Single) -> Single:
    """``tanhf`` of fdlibm for ``|x| <= 9``, which was glibc's for decades; a later one may round otherwise."""
    f = np.float32
    size = np.abs(x)
    up = _expm1f(f(2) * size)
    down = _expm1f(f(-2) * size)
    value = np.where(size >= 1, f(1) - f(2) / (up + f(2)), -down / (down + f(2)))
    return np.where(x < 0, -value, value).astype(f)


def _sigmoid(x: Single) -> Double:
    return 1.0 / (np.float32(1) + expf(-x)).astype(np.float64)


def _softplus(x: Single) -> Double:
    return np.log(expf(x).astype(np.float64) + 1.0)


def _softsign(x: Single) -> Double:
    wide = x.astype(np.float64)
    return wide / (np.abs(wide) + 1.0)


def _elu(x: Single) -> Double:
    return expf(x).astype(np.float64) - 1.0


def _selu(x: Single) -> Double:
    return 1.0507009873554805 * (1.6732632423543772 * _elu(x))


#: Values before their last rounding, to single precision.
_FUNCTIONS: dict[str, Callable[[Single], Double | Single]] = {
    "sigmoid": _sigmoid,
    "tanh": tanhf,
    "softplus": _softplus,
    "softsign": _softsign,
    "elu": _elu,
    "selu": _selu,
}


@lru_cache(256, typed=True)
def hls4ml_table(function: str, size: int, type: Fixed) -> Table:
    """hls4ml's table of ``function``, with ``size`` entries of format ``type``.

    sigmoid, softplus and softsign cover [-8, 8), tanh [-4, 4); elu and selu (-8, 0], for inputs below zero. Indices
    truncate toward zero, and inputs beyond the range read its end. Raises ``FxsimError`` for another function or size.
    """
    _check_size(size)
    if function in RANGES:
        span = 2 * RANGES[function]
        x = (span * (np.arange(size) - size / 2) / size).astype(np.float32)
        return _indexed(function, size, span, -(span // 2 * size // span), _single(function, x), type)
    if function in BELOW_ZERO:
        x = (-8.0 * np.arange(size) / size).astype(np.float32)
        return _indexed(function, size, 8, 1 - size, _single(function, x)[::-1], type)
    raise FxsimError(f"table must be of one of {', '.join(_FUNCTIONS)}, not {function!r}")


def softmax_exp_table(size: int, argument: Fixed, type: Fixed, negative: bool) -> Table:
    """``exp(x)``, or with ``negative`` ``exp(-x)``, addressed by the top bits of a word of the format ``argument``.

    ``size`` is a power of two and at most ``2**argument.width``. Each bin has the value at its lower end.
    """
    x, first = _top_bits(size, argument)
    return _sliced("exp_minus" if negative else "exp", size, argument, first, expf(-x if negative else x), type)


def softmax_inverse_table(size: int, argument: Fixed, type: Fixed) -> Table:
    """``1/x``, addressed as :func:`softmax_exp_table`; 1/0 is the largest number, or 0 in a format that wraps."""
    x, first = _top_bits(size, argument)
    with np.errstate(divide="ignore"):
        return _sliced("inverse", size, argument, first, np.float32(1) / x, type)


def legacy_exp_table(size: int, type: Fixed) -> Table:
    """``exp`` over [-8, 8), for hls4ml's ``legacy`` softmax."""
    _check_size(size)
    x = (16 * (np.arange(size) - size / 2) / size).astype(np.float32)
    return _indexed("exp", size, 16, -(8 * size // 16), expf(x), type)


def legacy_inverse_table(size: int, type: Fixed) -> Table:
    """``1/x`` over [0, 64) with 0 at 0, for hls4ml's ``legacy`` softmax."""
    _check_size(size)
    x = (64.0 * np.arange(size) / size).astype(np.float32).astype(np.float64)
    values = np.zeros(size)
    values[1:] = 1.0 / x[1:]
    return _indexed("inverse", size, 64, 0, values, type)


def _check_size(size: int) -> None:
    integer(size, "table size", *SIZES)


def _single(function: str, x: Single) -> Single:
    return np.asarray(_FUNCTIONS[function](x)).astype(np.float32)


def _indexed(name: str, size: int, span: int, first: int, values: Single | Double, type: Fixed) -> Table:
    """A table whose index is ``x * size / span``, truncated toward zero; ``span`` is a power of two."""
    twos = (size & -size).bit_length() - 1
    frac = twos - (span.bit_length() - 1)
    return Table(name, frac, Round.TRN_ZERO, first, _const(values, type), size >> twos)


def _top_bits(size: int, argument: Fixed) -> tuple[Single, int]:
    """The numbers whose words have the top bits 0, 1, ... in ascending order, and the index of the first."""
    _check_size(size)
    if size & (size - 1) or size > 1 << argument.width:
        raise FxsimError(f"table size must be a power of two up to 2**{argument.width}, not {size}")
    first = -(size // 2) if argument.signed else 0
    steps = np.arange(first, first + size).astype(np.float64)
    return np.ldexp(steps, argument.integer - (size.bit_length() - 1)).astype(np.float32), first


def _sliced(name: str, size: int, argument: Fixed, first: int, values: Single, type: Fixed) -> Table:
    frac = size.bit_length() - 1 - argument.integer
    return Table(name, frac, Round.TRN, first, _const(values, type))


def _const(values: Single | Double, type: Fixed) -> Const:
    wide = values.astype(np.float64)
    finite = np.isfinite(wide)
    raw = cast_floats(np.where(finite, wide, 0.0), type)
    for place in np.flatnonzero(~finite):
        raw[place] = cast_float(float(wide[place]), type)
    return Const(raw, type)
