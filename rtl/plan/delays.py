# SPDX-License-Identifier: Apache-2.0
"""How long operators take, by device family: what the scheduler inserts registers from.

Delays are in ns, net of what every path from register to register pays (``register``: clock to output, set-up). They
are calibrated on paths placed and routed with open tools for Kintex-7 -2, operands of 16 bits and more; UltraScale and
UltraScale+ scale that table, ECP5 has one of its own, of operators that nextpnr has routed. All of them stay estimates
for a whole design. ``margin`` is the share of the clock period that a path may use; the rest pays for fan-out and long
wires. ``docs/architecture.md`` lists the measured paths beside what the tables make of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

from fxsim.families import canonical
from fxsim.program.fixed import Fixed, Overflow, Round


@dataclass(frozen=True)
class Family:
    """Operator delays of one device family, in ns; ``factors`` are the signed bits that one DSP block multiplies;
    ``unsigned``: it multiplies as many bits without a sign.

    ``multiply``: from a register through a DSP block's multiplier into the register inside it; ``multiply_out``:
    through it without a register; ``multiply_wide``: between the registers inside of several joined blocks;
    ``block_out``: what the way out of a block takes longer than that out of a register. ``rounding``: what rounding
    takes longer than its addition; ``ties``: what a mode that looks at all the bits below takes longer than one that
    looks at the first; ``rounded``: what a saturation behind it does. ``constant``: what a third, constant operand of
    an addition takes: nothing where the LUTs before the carries have an input left for it. ``compress``: a level of
    additions without carries, up to six rows to three; 0: never made, for LUTs have but four inputs. ``clamp``: into
    the range of a table; ``table_in``: into the address of a block RAM; ``table_out``: from its clock to its output.
    """

    name: str
    register: float = 0.6
    add: float = 0.33
    add_bit: float = 0.02
    multiply: float = 1.7
    multiply_wide: float = 3.4
    multiply_out: float = 3.6
    block_out: float = 0.35
    compare: float = 0.9
    compare_bit: float = 0.01
    select: float = 0.35
    rounding: float = 0.15
    ties: float = 0.0
    rounded: float = 0.6
    constant: float = 0.0
    compress: float = 0.8
    clamp: float = 0.55
    table_in: float = 1.7
    table_out: float = 2.1
    scale: float = 1.0
    margin: float = 0.9
    factors: tuple[int, int] = (25, 18)
    unsigned: bool = False

    def budget(self, clock_mhz: float) -> float:
        """Delay that fits between two registers, on the scale of this table."""
        return ((1000.0 / clock_mhz) * self.margin) / self.scale - self.register

    def path(self, delay: float) -> float:
        """What a delay of this table is from register to register, in ns."""
        return (delay + self.register) * self.scale

    def fastest(self, delay: float) -> float:
        """The clock in MHz whose budget ``delay`` is."""
        return 1000.0 * self.margin / self.path(delay)

    def adder(self, width: int) -> float:
        """An addition or subtraction of ``width`` bits."""
        return self.add + self.add_bit * width

    def blocks(self, one: int, two: int) -> int:
        """DSP blocks that a signed product of factors of so many bits takes."""
        wide, narrow = self.factors

        def parts(width: int, bits: int) -> int:
            if self.unsigned:
                # Those below the top have all bits; of one bit that is left, LUTs make the products.
                return max(1, ceil((width - 1) / bits))
            # Those below the top have no sign, and so a bit less.
            return 1 + max(0, ceil((width - bits) / (bits - 1)))

        return min(parts(one, wide) * parts(two, narrow), parts(one, narrow) * parts(two, wide))

    def product(self, one: int, two: int) -> tuple[float, int]:
        """A product of factors of so many bits: the delay into its first register, and how many it has."""
        return (self.multiply, 1) if self.blocks(one, two) == 1 else (self.multiply_wide, 2)

    def logic_product(self, one: int, two: int) -> float:
        """The same in LUTs: one factor for each bit of the other, added in a tree."""
        return self.adder(one + two) * (min(one, two) - 1).bit_length() + self.select

    def comparison(self, width: int) -> float:
        """A comparison and the choice it makes."""
        return self.compare + self.compare_bit * width

    def choice(self, count: int) -> float:
        """One of ``count`` values."""
        return self.select * ceil(log2(count) / 2)

    def decision(self, round: Round) -> float:
        """Whether a rounding adds one; that is ready at once if a bit of the number says it."""
        return 0.0 if round in (Round.TRN, Round.RND) else self.ties

    def cast(self, frac: int, to: Fixed, low: int, high: int) -> float:
        """A cast of values ``low..high`` on the grid ``frac`` to ``to``: rounding adds, saturation compares."""
        delay = 0.0
        shift = frac - to.frac
        if shift > 0 and to.round is not Round.TRN:
            delay += self.adder(to.width) + self.rounding + self.decision(to.round)
        grid = (low >> max(shift, 0), (high >> max(shift, 0)) + 1)
        if to.overflow is not Overflow.WRAP and (grid[0] < to.min or grid[1] > to.max):
            delay += self.comparison(to.width) + (self.rounded if delay else 0.0)
        return delay


FAMILIES = {
    family.name: family
    for family in (
        Family("xc7"),
        Family("xcu", scale=0.72, factors=(27, 18)),
        Family("xcup", scale=0.65, factors=(27, 18)),
        # Slowest grade. Yosys leaves the registers in its DSP blocks and block RAMs unused, so that a product's first
        # register is behind the whole multiplier. Of clamp and table_in only the sum was measured: a table has both.
        Family(
            "ecp5",
            register=0.75,
            add=1.65,
            add_bit=0.034,
            multiply=6.2,
            multiply_wide=10.0,
            multiply_out=6.2,
            block_out=0.0,
            compare=2.14,
            select=1.7,
            ties=1.6,
            rounded=0.3,
            constant=1.7,
            compress=0.0,
            clamp=4.1,
            table_in=2.3,
            table_out=5.9,
            factors=(18, 18),
            unsigned=True,
        ),
    )
}


def family(name: str) -> Family:
    """The family of that name (``fxsim.families``); raises ``FxsimError`` naming the known ones."""
    return FAMILIES[canonical(name)]
