# SPDX-License-Identifier: Apache-2.0
"""What foldings are looked for: the target that they are for, and the budget that they keep."""

from __future__ import annotations

from dataclasses import dataclass

from fxsim.arguments import integer, real
from fxsim.errors import FxsimError

from .delays import Family, family
from .signed_digits import LOGIC, most_digits

#: Clock and family where neither an argument nor a folding says them.
CLOCK_MHZ, FAMILY = 200.0, "xc7"
#: What a budget can limit: at most so much of it, for as few cycles as that gives.
RESOURCES = ("multipliers", "dsp", "lut")


@dataclass(frozen=True)
class Target:
    """What registers are placed for, and how weights that never change are multiplied (``signed_digits.CHOICES``)."""

    clock_mhz: float
    family: Family
    multiplier: str

    @classmethod
    def of(cls, clock_mhz: float = CLOCK_MHZ, family_name: str = FAMILY, multiplier: str = "auto") -> Target:
        """The target of options as users give them; raises ``FxsimError`` with what is legal for anything else."""
        target = cls(check_clock(clock_mhz), family(family_name), multiplier)
        most_digits(multiplier)
        return target

    @property
    def scarce(self) -> str:
        """What a design is to have few of: multipliers, or LUTs where all multipliers are made of these."""
        return "lut" if self.multiplier == LOGIC else "multipliers"


@dataclass(frozen=True)
class Budget:
    """At most so much of a resource, or so many cycles; raises ``FxsimError`` for what is no positive integer.

    ``what``: one of ``RESOURCES``; latency: cycles from the first input to the first result; interval: cycles between
    sequences.
    """

    what: str
    most: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "most", integer(self.most, "the budget", 1))

    def too_small(self, least: object, target: Target) -> FxsimError:
        """The refusal of a budget that only ``least`` would keep."""
        units = {"multipliers": " (one for each engine)", "dsp": "", "lut": ""}
        unit = units.get(self.what, f" cycles at {target.clock_mhz:g} MHz")
        return FxsimError(f"{self.what} must be at least {least}{unit}, not {self.most}")


def check_clock(clock_mhz: float) -> float:
    """The clock in MHz; raises ``FxsimError`` for one that no family has."""
    return real(clock_mhz, "clock", 1, 2000, unit=" MHz")
