# SPDX-License-Identifier: Apache-2.0
"""How large a design will be, before the minutes are spent that a large one takes to write."""

from __future__ import annotations

from dataclasses import dataclass

from fxsim.errors import FxsimError

from ..plan.folding import Plan

#: The largest design that is written without being asked for as such: about a minute, 10 MB of Verilog.
MOST_MULTIPLIERS, MOST_LUTS = 10_000, 300_000
#: Bytes of Verilog and milliseconds of one processor a LUT. Measured on fully parallel LSTM layers of 8 to 24 units:
#: 32 to 49 bytes, 0.16 to 0.21 ms.
_BYTES, _MILLISECONDS = 36, 0.18


@dataclass(frozen=True)
class Size:
    """A design's size. ``lut``: estimated; ``verilog``: bytes of it; ``seconds``: to write it."""

    multipliers: int
    dsp: int
    lut: int
    verilog: int
    seconds: int

    @property
    def large(self) -> bool:
        """Whether it is beyond what is written without being asked for."""
        return self.multipliers > MOST_MULTIPLIERS or self.lut > MOST_LUTS

    def __str__(self) -> str:
        time = f"{self.seconds // 60} minutes" if self.seconds >= 120 else f"{self.seconds} s"
        return (
            f"{self.multipliers} multipliers, {self.dsp} DSP blocks, about {_round(self.lut)} LUTs; some "
            f"{_round(self.verilog >> 20)} MB of Verilog and {time} to write"
        )


class LargeDesign(FxsimError):
    """A design that is written only if that is really wanted; ``size``: how large it is."""

    def __init__(self, size: Size) -> None:
        super().__init__(
            f"the design is large: {size}. Above {MOST_MULTIPLIERS} multipliers or {MOST_LUTS} LUTs, export needs "
            "--yes (large=True in Python), or a budget such as --multipliers 1000 (see fxsim plan)"
        )
        self.size = size


def size(plan: Plan) -> Size:
    """The size of a planned design."""
    lut = plan.cost.luts
    return Size(plan.multipliers, plan.dsp, lut, round(lut * _BYTES), round(lut * _MILLISECONDS / 1000))


def check_size(plan: Plan, large: bool) -> Size:
    """The size of a design; raises :class:`LargeDesign` for a large one, unless that is what is wanted."""
    found = size(plan)
    if found.large and not large:
        raise LargeDesign(found)
    return found


def _round(number: int) -> str:
    """Two digits of a number, and what they stand for."""
    if number >= 1_000_000:
        return f"{number / 1e6:.1f} million"
    digits = max(len(str(number)) - 2, 0)
    return str(round(number, -digits))
