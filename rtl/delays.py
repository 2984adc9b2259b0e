# SPDX-License-Identifier: Apache-2.0
"""How long operators take, by device family: what the scheduler inserts registers from.

Delays are in ns, net of a register's own clock-to-output and set-up time (``register``). They were measured after place
and route with open tools on Kintex-7 -2 (register to register, 16-bit operands); the other families scale that table.
``margin`` is the share of the clock period that a path may use; the rest pays for fan-out and long wires.
"""

from __future__ import annotations

from dataclasses import dataclass

from fxsim.errors import FxsimError
from fxsim.fixed import Fixed, Overflow, Round


@dataclass(frozen=True)
class Family:
    """Operator delays of one device family, in ns."""

    name: str
    register: float = 0.6
    add: float = 0.65
    add_bit: float = 0.02
    multiply: float = 3.0
    compare: float = 0.9
    select: float = 0.35
    table: float = 1.4
    table_out: float = 1.2
    scale: float = 1.0
    margin: float = 0.9

    def budget(self, clock_mhz: float) -> float:
        """Delay that fits between two registers."""
        return (1000.0 / clock_mhz) * self.margin - self.register * self.scale

    def adder(self, width: int) -> float:
        """An addition or subtraction of ``width`` bits."""
        return (self.add + self.add_bit * width) * self.scale

    def multiplier(self, width: int) -> float:
        """A product whose wider operand has ``width`` bits, in one or several DSP blocks."""
        return self.multiply * self.scale * (1 if width <= 18 else 1.35)

    def comparison(self, width: int) -> float:
        """A comparison and the choice it makes."""
        return (self.compare + self.add_bit * width / 2) * self.scale

    def cast(self, frac: int, to: Fixed, low: int, high: int) -> float:
        """A cast of values ``low..high`` on the grid ``frac`` to ``to``: rounding adds, saturation compares."""
        delay = 0.0
        shift = frac - to.frac
        if shift > 0 and to.round is not Round.TRN:
            delay += self.adder(to.width)
        grid = (low >> max(shift, 0), (high >> max(shift, 0)) + 1)
        if to.overflow is not Overflow.WRAP and (grid[0] < to.min or grid[1] > to.max):
            delay += self.comparison(to.width)
        return delay


FAMILIES = {
    family.name: family
    for family in (
        Family("xc7"),
        Family("xcu", scale=0.72),
        Family("xcup", scale=0.65),
        Family("ecp5", scale=1.7),
    )
}


def family(name: str) -> Family:
    """The family of that name; raises ``FxsimError`` naming the known ones."""
    if name not in FAMILIES:
        raise FxsimError(f"family must be one of {', '.join(FAMILIES)}, not {name!r}")
    return FAMILIES[name]
