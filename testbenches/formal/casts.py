# SPDX-License-Identifier: Apache-2.0
"""What a cast means, as bit vectors: the tables of docs/arithmetic.md, by distances instead of guard and sticky bits.

Nothing here comes from the gateware or the simulator. A test ties it to ``fxsim.program.fixed.cast``, and proofs tie
the gateware to it for all inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Module, Mux, Shape, Signal, Value

from .bench import Bench


@dataclass(frozen=True)
class Format:
    """Integers of ``width`` bits, ``frac`` of them behind the point."""

    width: int
    frac: int
    signed: bool

    def __str__(self) -> str:
        return f"ap_{'' if self.signed else 'u'}fixed<{self.width},{self.width - self.frac}>"

    @property
    def shape(self) -> Shape:
        """The same for Amaranth."""
        return Shape(self.width, self.signed)

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest integer."""
        half = 1 << (self.width - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)


def cast(m: Module, value: Value, source: Format, to: Format, rounding: str, overflow: str) -> Value:
    """The integer that ``value`` of ``source`` becomes in ``to``; the modes are named without ``AP_``."""
    shift = source.frac - to.frac
    # Wide enough for every step, and the same for all of them: what Amaranth makes of mixed widths plays no part.
    wide = Shape(max(source.width + max(-shift, 0), shift, to.width) + 3, True)

    def number(expression: Any) -> Signal:
        signal = Signal(wide)
        m.d.comb += signal.eq(expression)
        return signal

    x = number(value)
    if shift <= 0:
        rounded = number(x << -shift)
    else:
        # Two numbers of the coarser grid lie around x; so far it is to either, in steps of the finer grid.
        below = number(x >> shift)
        above = number(below + 1)
        down, up = number(x - (below << shift)), number((above << shift) - x)
        toward_zero, away = Mux(x < 0, above, below), Mux(x < 0, below, above)
        even = Mux(below[0], above, below)

        def nearest(tie: Value) -> Value:
            return Mux(down < up, below, Mux(up < down, above, tie))

        chosen = {
            "TRN": below,
            "TRN_ZERO": toward_zero,
            "RND": nearest(above),
            "RND_ZERO": nearest(toward_zero),
            "RND_INF": nearest(away),
            "RND_MIN_INF": nearest(below),
            "RND_CONV": nearest(even),
        }[rounding]
        rounded = number(Mux(down == 0, below, chosen))
    low, high = to.range
    if overflow == "SAT_SYM" and to.signed:
        low = -high
    residue = number(rounded & ((1 << to.width) - 1))
    limit = Mux(rounded < low, low, high)
    outside = {
        "WRAP": Mux(residue > high, residue - (1 << to.width), residue),
        "SAT": limit,
        "SAT_SYM": limit,
        "SAT_ZERO": 0,
    }[overflow]
    return number(Mux((rounded >= low) & (rounded <= high), rounded, outside))


#: A cast to be proven: the value, its format, the format wanted, and the names of the modes; gives the result.
Cast = Callable[[Value, Format, Format, str, str], Value]


def casts(dut: Cast, pairs: list[tuple[Format, Format]], rounding: str, overflow: str) -> Bench:
    """A cast equals the specification for each value of each pair of formats."""
    b = Bench()
    for k, (source, to) in enumerate(pairs):
        x = b.free(source.shape, f"x{k}")
        result = Value.cast(dut(x, source, to, rounding, overflow))
        wanted = cast(b.m, x, source, to, rounding, overflow)
        same = result == wanted if result.shape() == to.shape else 0
        b.check(f"{source} to {to}", same)
    return b


def pairs() -> list[tuple[Format, Format]]:
    """Formats of one bit to forty, odd ones among them, with and without sign, with shifts both ways and beyond."""
    found = []
    shapes = [(1, 0), (2, 1), (3, -2), (5, 2), (8, 8), (13, 9), (16, 10), (17, 17), (23, 25), (40, 29)]
    for n, (width, frac) in enumerate(shapes):
        for m, shift in enumerate((-9, -1, 0, 1, 2, width // 2 + 1, width - 1, width, width + 1, width + 4)):
            for k, wanted in enumerate((1, max(1, width - shift), max(1, width - shift + 1), 7, width)):
                # Of the four ways to have signs each with another one of these.
                signs = (n + m + k) % 4
                source = Format(width, frac, bool(signs & 1))
                found.append((source, Format(wanted, frac - shift, bool(signs & 2))))
    return list(dict.fromkeys(found))
