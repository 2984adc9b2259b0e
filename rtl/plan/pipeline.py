# SPDX-License-Identifier: Apache-2.0
"""Operators in a row between registers: what still fits into a clock period, and where the next register goes.

Arithmetic is written once, as the ops of a program; this module only says at which cycle, and how far into it, each
result stands. A :class:`Place` is such a moment. An operator whose delay no longer fits behind its operands starts in
the next cycle, from registers; products and tables have registers of their own inside, as DSP blocks and block RAMs do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fxsim.errors import FxsimError

from .delays import Family

#: Rounding of sums of delays: what is over by less than this fits.
_EPSILON = 1e-9


class Place(NamedTuple):
    """A moment: ``offset`` ns after the registers' outputs of ``cycle``."""

    cycle: int
    offset: float


@dataclass(frozen=True)
class Slot:
    """An op of beat 0: its operands stand together in cycle ``start``, its result in ``cycle`` after ``offset`` ns.

    ``cycle - start`` registers are inside: of a product behind the multiplier, of a lookup in and before the memory, of
    others before the cast.
    ``doubled``: a table with two entries an index, of which the rounding chooses one instead of adding to the index.
    ``through``: a table read by the operands of the sum that it looks up, ahead of the sum's own rounding.
    """

    start: int
    cycle: int
    offset: float
    doubled: bool = False
    through: bool = False

    @property
    def stands(self) -> Place:
        """When the result stands."""
        return Place(self.cycle, self.offset)


class Pipeline:
    """Places operators for one family and clock; raises ``FxsimError`` for a clock that one alone is too slow for."""

    def __init__(self, family: Family, clock_mhz: float) -> None:
        self.family, self.clock_mhz = family, clock_mhz
        self.budget = family.budget(clock_mhz)
        #: The longest delay between two registers so far.
        self.longest = 0.0

    def reach(self, delay: float) -> None:
        """Take note of a path between two registers."""
        self.longest = max(self.longest, delay)

    def fits(self, delay: float) -> bool:
        """Whether a path of this delay fits between two registers."""
        return delay <= self.budget + _EPSILON

    def from_place(self, at: Place, delay: float, what: str) -> Place:
        """``at``, or the beginning of the next cycle if ``delay`` no longer fits behind it."""
        if not self.fits(delay):
            fastest = int(self.family.fastest(delay))
            raise FxsimError(
                f"clock must be at most {fastest} MHz in family {self.family.name}, not {self.clock_mhz:g}: "
                f"{what} takes {delay:.1f} ns between two registers"
            )
        start = at if self.fits(at.offset + delay) else Place(at.cycle + 1, 0.0)
        self.reach(start.offset + delay)
        return start

    def operator(self, at: Place, delay: float, cast: float, what: str) -> Slot:
        """An operator and its cast, with a register in between only if they do not fit between two."""
        if not self.fits(delay + cast):
            start = self.from_place(at, delay, what)
            self.from_place(Place(0, 0.0), cast, f"the cast of {what}")
            return Slot(start.cycle, start.cycle + 1, cast)
        start = self.from_place(at, delay + cast, what)
        return Slot(start.cycle, start.cycle, start.offset + delay + cast)

    def multiplier(self, widths: tuple[int, int], logic: bool) -> tuple[float, int]:
        """A product of such factors, in DSP blocks or in logic: the delay to its first register, how many it has."""
        return (self.family.logic_product(*widths), 1) if logic else self.family.product(*widths)

    def product(self, at: Place, widths: tuple[int, int], cast: float, logic: bool, what: str) -> Slot:
        """A product and its cast: with registers behind the multiplier, unless without them there is time to spare."""
        into, registers = self.multiplier(widths, logic)
        through = at.offset + max(self.family.multiply_out, into) + cast
        if registers == 1 and self.fits(through + self.family.adder(max(widths))):
            self.reach(through)
            return Slot(at.cycle, at.cycle, through)
        start = self.from_place(at, into, what)
        out = self.family.block_out + cast
        self.from_place(Place(0, 0.0), out, f"the cast of {what}")
        return Slot(start.cycle, start.cycle + registers, out)

    def lookup(self, at: Place, index: float, rounding: float, what: str) -> Slot:
        """A table read. ``index`` and ``rounding``: delays of the address's arithmetic.

        The rounding moves into the table where that saves a cycle; what still is too slow has a register in between.
        """
        family = self.family
        into = index + family.table_in
        if not self.fits(into):
            start = self.from_place(at, index + rounding, what)
            return Slot(start.cycle, start.cycle + 2, family.table_out)
        start = self.from_place(at, into, what)
        doubled = rounding > 0 and not self.fits(start.offset + into + rounding)
        self.reach(start.offset + into + (0.0 if doubled else rounding))
        return Slot(start.cycle, start.cycle + 1, family.table_out, doubled)

    def levels(self, offset: float, delays: Sequence[float], what: str) -> tuple[list[bool], float]:
        """Operators in a row: whether each has a register before it, and the last one's end."""
        registers = []
        at = Place(0, offset)
        for delay in delays:
            start = self.from_place(at, delay, what)
            registers.append(start.cycle > at.cycle)
            at = Place(start.cycle, start.offset + delay)
        return registers, at.offset
