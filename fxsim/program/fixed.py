# SPDX-License-Identifier: Apache-2.0
"""The numeric law: two's complement fixed point with the rounding and overflow modes of ``ap_fixed``.

A number is a raw integer ``r`` that stands for ``r * 2**-frac``. Every operation of a program computes its exact
result and calls :func:`cast` once; nothing else ever rounds, saturates or wraps.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import flag, integer
from ..errors import FxsimError, show

IntArray = NDArray[np.int64]


class Round(Enum):
    """What becomes of the bits below the last kept one; names as in ``ap_fixed`` without the ``AP_``."""

    TRN = "toward minus infinity"
    TRN_ZERO = "toward zero"
    RND = "to nearest, ties toward plus infinity"
    RND_ZERO = "to nearest, ties toward zero"
    RND_INF = "to nearest, ties away from zero"
    RND_MIN_INF = "to nearest, ties toward minus infinity"
    RND_CONV = "to nearest, ties to even"


class Overflow(Enum):
    """What becomes of a rounded value outside the format's range."""

    WRAP = "keep the low bits"
    SAT = "the nearest value of the range"
    SAT_ZERO = "zero"
    SAT_SYM = "as SAT, with the range made symmetric: the most negative value is not used"


_NAME = re.compile(r"\s*(?:ap_)?(u?)(fixed|int)\s*<([^<>]*)>\s*", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?[0-9]+")  # int() also takes 1_6 and other alphabets' digits
_LEGAL = "ap_fixed<W,I[,Q[,O]]>, ap_ufixed<W,I[,Q[,O]]>, ap_int<W> or ap_uint<W>"

#: Formats wider than this are refused: far beyond any use, they only slow a machine down.
MAX_WIDTH = 1024


@dataclass(frozen=True, slots=True)
class Fixed:
    """A fixed-point format of ``width`` bits, ``frac`` of them after the point.

    ``frac`` may be negative or larger than ``width``. ``round`` and ``overflow`` say how a value is cast *into* the
    format. Raises ``FxsimError`` for a width outside 1..1024 or fields of the wrong kind.
    """

    width: int
    frac: int
    signed: bool = True
    round: Round = Round.TRN
    overflow: Overflow = Overflow.WRAP

    def __post_init__(self) -> None:
        # Other types' integers become Python's, so that equal formats look equal, in files too.
        object.__setattr__(self, "width", integer(self.width, "Fixed width", 1, MAX_WIDTH))
        object.__setattr__(self, "frac", integer(self.frac, "Fixed frac", -MAX_WIDTH, MAX_WIDTH))
        object.__setattr__(self, "signed", flag(self.signed, "Fixed signed"))
        if not isinstance(self.round, Round) or not isinstance(self.overflow, Overflow):
            raise FxsimError(
                f"Fixed modes must be a Round and an Overflow, not {show(self.round)} and {show(self.overflow)}"
            )

    @property
    def integer(self) -> int:
        """Bits before the point, the sign included: ``I`` of ``ap_fixed<W,I>``."""
        return self.width - self.frac

    @property
    def min(self) -> int:
        """Smallest raw integer a cast can give."""
        if not self.signed:
            return 0
        return -(1 << (self.width - 1)) + (self.overflow is Overflow.SAT_SYM)

    @property
    def max(self) -> int:
        """Largest raw integer of the format."""
        return (1 << (self.width - self.signed)) - 1

    @property
    def lsb(self) -> float:
        """Value of one raw step."""
        return 2.0**-self.frac

    @property
    def plain(self) -> Fixed:
        """The same grid and range with truncation and wrap-around."""
        return Fixed(self.width, self.frac, self.signed)

    def __str__(self) -> str:
        head = f"ap_{'' if self.signed else 'u'}fixed<{self.width},{self.integer}"
        if self.round is Round.TRN and self.overflow is Overflow.WRAP:
            return head + ">"
        return f"{head},AP_{self.round.name},AP_{self.overflow.name}>"

    @classmethod
    def parse(cls, text: str) -> Fixed:
        """The format that ``text`` names, e.g. ``ap_fixed<16,6,AP_RND,AP_SAT>`` or hls4ml's ``fixed<16,6,RND,SAT,0>``.

        Raises ``FxsimError`` with the legal forms for anything else.
        """
        match = _NAME.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise FxsimError(f"precision must look like {_LEGAL}, not {show(text)}")
        unsigned, kind, inside = match.groups()
        fields = [field.strip() for field in inside.split(",")]
        least, most = (2, 5) if kind.lower() == "fixed" else (1, 1)
        if not least <= len(fields) <= most or not all(fields):
            raise FxsimError(f"precision must look like {_LEGAL}, not {show(text)}")
        if not all(_NUMBER.fullmatch(field) and len(field) < 20 for field in (*fields[:least], *fields[4:])):
            raise FxsimError(f"precision must look like {_LEGAL}, not {show(text)}")
        numbers = [int(field) for field in fields[:least]]
        bits = int(fields[4]) if len(fields) > 4 else 0
        if bits != 0:
            raise FxsimError(f"precision {show(text)}: the number of saturation bits must be 0, not {bits}")
        width, integer = numbers[0], numbers[-1]
        names = [re.sub(r"^AP_", "", field.upper()) for field in fields[2:4]]
        for name, modes, word in zip(names, (Round, Overflow), ("rounding", "overflow"), strict=False):
            if name not in modes.__members__:
                legal = ", ".join(modes.__members__)
                raise FxsimError(f"precision {show(text)}: {word} must be one of {legal}, not {show(name)[1:-1]}")
        if not 1 <= width <= MAX_WIDTH or abs(integer) > MAX_WIDTH // 2:
            raise FxsimError(f"precision {show(text)}: the width must be from 1 to {MAX_WIDTH}")
        rounding = Round[names[0]] if names else Round.TRN
        overflow = Overflow[names[1]] if len(names) > 1 else Overflow.WRAP
        return cls(width, width - integer, not unsigned, rounding, overflow)


def round_shift(raw: int, shift: int, mode: Round) -> int:
    """``raw * 2**-shift`` rounded to an integer; exact when ``shift <= 0``."""
    if shift <= 0:
        return raw << -shift
    floor = raw >> shift
    rest = raw - (floor << shift)
    half = 1 << (shift - 1)
    up = {
        Round.TRN: False,
        Round.TRN_ZERO: raw < 0 and rest != 0,
        Round.RND: rest >= half,
        Round.RND_MIN_INF: rest > half,
        Round.RND_ZERO: rest > half or (rest == half and raw < 0),
        Round.RND_INF: rest > half or (rest == half and raw >= 0),
        Round.RND_CONV: rest > half or (rest == half and floor % 2 == 1),
    }[mode]
    return floor + up


def round_shifts(raw: Any, shift: int, mode: Round) -> Any:
    """:func:`round_shift` of every element of an integer array (int64, or object for unbounded integers).

    The caller sees to it that int64 holds the results.
    """
    if shift <= 0:
        return raw * (1 << -shift)
    if raw.dtype != object and shift > 62:
        # |raw| < 2**63 is less than half a step: one step is as good as 2**62 of them for what the modes ask.
        raw, shift = np.sign(raw) * np.minimum(np.abs(raw), 1), 2
    floor = raw >> shift
    rest = raw - (floor << shift)
    half = 1 << (shift - 1)
    modes: dict[Round, Callable[[], Any]] = {
        Round.TRN: lambda: False,
        Round.TRN_ZERO: lambda: (raw < 0) & (rest != 0),
        Round.RND: lambda: rest >= half,
        Round.RND_MIN_INF: lambda: rest > half,
        Round.RND_ZERO: lambda: (rest > half) | ((rest == half) & (raw < 0)),
        Round.RND_INF: lambda: (rest > half) | ((rest == half) & (raw >= 0)),
        Round.RND_CONV: lambda: (rest > half) | ((rest == half) & (floor % 2 == 1)),
    }
    return floor + modes[mode]()


def overflow(value: int, to: Fixed) -> int:
    """An already rounded integer brought into the range of ``to`` by its overflow mode."""
    if to.overflow is Overflow.WRAP:
        value &= (1 << to.width) - 1
        return value - (1 << to.width) if to.signed and value >> (to.width - 1) else value
    if to.min <= value <= to.max:
        return value
    if to.overflow is Overflow.SAT_ZERO:
        return 0
    return to.max if value > to.max else to.min


def cast(raw: int, frac: int, to: Fixed) -> int:
    """Raw integer of ``raw * 2**-frac`` in the format ``to``: round, then overflow.

    This is the executable specification of ``ap_fixed`` assignment: unbounded integers, no cleverness.
    """
    return overflow(round_shift(raw, frac - to.frac, to.round), to)


def cast_float(value: float, to: Fixed) -> int:
    """Raw integer of the exact value of a double in the format ``to``.

    Infinity behaves as 2**1024, as in the ``ap_fixed`` headers. Raises ``FxsimError`` for NaN.
    """
    value = float(value)
    if value != value:
        raise FxsimError("NaN has no fixed-point value")
    if value in (float("inf"), float("-inf")):
        return cast(1 << 1024 if value > 0 else -(1 << 1024), 0, to)
    numerator, denominator = value.as_integer_ratio()
    return cast(numerator, denominator.bit_length() - 1, to)


def cast_floats(values: Any, to: Fixed) -> IntArray:
    """:func:`cast_float` of every element of an array; int64 of the same shape.

    Raises ``FxsimError`` for NaN or infinity, naming the first place, and for formats that do not fit int64.
    """
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise FxsimError(f"value at {where} is {array[where]}; every value must be finite")
    if to.min < -(1 << 63) or to.max >= 1 << 63:
        raise FxsimError(f"{to} does not fit 64-bit integers")
    out = np.empty(array.shape, np.int64)
    # Scaling by a power of two is exact unless it leaves the range of a double or meets denormals; below 2**52 the
    # floor and the rest are exact too. Anything else (rare) goes through the specification.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        scaled = np.ldexp(array, to.frac)
        plain = (np.abs(scaled) < 2.0**52) & ((np.abs(array) > 1e-290) | (array == 0)) & (np.abs(scaled) > 1e-290)
        plain |= array == 0
        safe = np.where(plain, scaled, 0.0)
    floor = np.floor(safe)
    rest = safe - floor
    value = floor.astype(np.int64)
    modes: dict[Round, Callable[[], Any]] = {
        Round.TRN: lambda: np.False_,
        Round.TRN_ZERO: lambda: (safe < 0) & (rest != 0),
        Round.RND: lambda: rest >= 0.5,
        Round.RND_MIN_INF: lambda: rest > 0.5,
        Round.RND_ZERO: lambda: (rest > 0.5) | ((rest == 0.5) & (safe < 0)),
        Round.RND_INF: lambda: (rest > 0.5) | ((rest == 0.5) & (safe >= 0)),
        Round.RND_CONV: lambda: (rest > 0.5) | ((rest == 0.5) & (value % 2 == 1)),
    }
    value = value + modes[to.round]()
    if to.overflow is Overflow.WRAP:
        if to.width < 64:
            value = value & ((1 << to.width) - 1)
            if to.signed:
                value = value - ((value >> (to.width - 1)) << to.width)
    elif to.overflow is Overflow.SAT_ZERO:
        value = np.where((value < to.min) | (value > to.max), 0, value)
    else:
        value = np.clip(value, to.min, to.max)
    out[...] = value
    for index in np.argwhere(~plain):
        place = tuple(int(i) for i in index)
        out[place] = cast_float(float(array[place]), to)
    return out


def outside(values: Any, to: Fixed) -> NDArray[np.bool_]:
    """Which elements of an array leave the format when they are cast to it; finite values."""
    # Two bits more tell what is beyond either end, and saturate what is far beyond.
    wider = Fixed(to.width + 2, to.frac, True, to.round, Overflow.SAT)
    if wider.width <= 64:
        raw = cast_floats(values, wider)
    else:
        array = np.asarray(values, np.float64)
        raw = np.array([cast_float(value, wider) for value in array.flat], object).reshape(array.shape)
    return np.asarray((raw < to.min) | (raw > to.max), np.bool_)


def to_float(raw: IntArray, type: Fixed) -> NDArray[np.float64]:
    """Values of raw integers as float64, rounded to nearest even where 53 bits are not enough."""
    scaled: NDArray[np.float64] = np.ldexp(np.asarray(raw, np.int64).astype(np.float64), -type.frac)
    return scaled


def exact_product(a: Fixed, b: Fixed) -> Fixed:
    """The smallest format that holds every product of an ``a`` and a ``b``."""
    signed = a.signed or b.signed
    # A signed by unsigned product needs no more than the sum of the widths.
    return Fixed(a.width + b.width, a.frac + b.frac, signed)


def exact_sum(a: Fixed, b: Fixed, subtract: bool = False) -> Fixed:
    """The smallest format that holds every sum (or difference) of an ``a`` and a ``b``."""
    frac = max(a.frac, b.frac)
    signed = a.signed or b.signed or subtract
    # Integer bits without the sign, of the wider one, one more for the carry, one for the sign.
    magnitude = max(a.integer - a.signed, b.integer - b.signed) + 1
    return Fixed(max(1, magnitude + signed + frac), frac, signed)


def smallest(low: int, high: int, frac: int) -> Fixed:
    """The narrowest format with ``frac`` fractional bits that holds all raw integers ``low..high``."""
    signed = low < 0
    magnitude = max(max(high, 0).bit_length(), (-low - 1).bit_length() if signed else 0)
    return Fixed(max(1, magnitude + signed), frac, signed)
