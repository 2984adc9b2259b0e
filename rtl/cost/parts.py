# SPDX-License-Identifier: Apache-2.0
"""What gateware is made of, in bits: trees of adders, multiplexers, memories. Pure Python, for :mod:`rtl.cost.cost`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from fxsim.program.fixed import Fixed, IntArray, Overflow, Round

from ..plan.delays import Family
from ..plan.folds import BLOCK_BITS, BLOCK_ROM


class Parts(defaultdict[str, float]):
    """How much there is of each kind; ``cost.KINDS`` says what the kinds are."""

    def __init__(self, amounts: Mapping[str, float] | None = None) -> None:
        super().__init__(float, amounts or {})

    def include(self, other: Mapping[str, float], times: float = 1) -> None:
        """Add what there is in others, so many times."""
        for kind, amount in other.items():
            self[kind] += amount * times


def bits(count: int) -> int:
    """Bits that count to ``count``."""
    return max(count - 1, 1).bit_length()


def multiplexer(count: int) -> float:
    """Six-input LUTs of a bit of a multiplexer: a tree that joins four values in each."""
    return (count - 1) / 3


@dataclass(frozen=True)
class Synthesis:
    """What synthesis makes of a family's cells.

    ``blocks``: sizes of a block RAM, each with the bits of the address of its single bits, the widest word, and how
    many of it are one. ``shifts``: stages of a shift register in a LUT, 0 if there is none; ``words``: of a memory in a
    LUT. ``adds``: whether a DSP block adds behind its product. ``least``: bits of the narrowest product that gets one.
    """

    blocks: tuple[tuple[int, int, float], ...] = ((14, 36, 0.5), (15, 72, 1.0))
    shifts: int = 32
    words: int = 32
    adds: bool = False
    least: int = 9


SYNTHESIS: Mapping[str, Synthesis] = {
    "xc7": Synthesis(adds=True),
    "xcu": Synthesis(),
    "xcup": Synthesis(),
    "ecp5": Synthesis(blocks=((14, 36, 1.0),), shifts=0, words=16, least=4),
}
#: Fewest registers in a row that become a shift register.
SHIFT = 3
#: Bits of the narrowest factor that gets a DSP block.
LEAST_FACTOR = 2


def in_dsp(family: str, one: int, two: int) -> bool:
    """Whether synthesis gives a product of factors of so many bits a DSP block."""
    return min(one, two) >= LEAST_FACTOR and one + two >= SYNTHESIS[family].least


def dsp_blocks(family: Family, factors: tuple[int, int], signs: tuple[bool, bool]) -> int:
    """DSP blocks of a product of factors of so many bits, of which one is a sign or not.

    A factor without a sign gets one beside a factor that has one, and always where blocks multiply signed numbers only.
    """
    extended = not family.unsigned or any(signs)
    one, two = (bits + (extended and not signed) for bits, signed in zip(factors, signs, strict=True))
    return family.blocks(one, two)


def block_rams(depth: int, width: int, ports: int, family: str = "xc7") -> float:
    """Block RAMs of a read-only memory (of 36 Kbit, of which half a one holds 18 Kbit; on ECP5 of 18 Kbit)."""
    best = 0.0
    for abits, widest, size in SYNTHESIS[family].blocks:
        for each in (1, 2, 4, 9, 18, 36, 72):
            # With two ports, each has half of the wires. What is deeper than a block stands side by side in it.
            if each <= widest // ports:
                words = 1 << (abits - (each.bit_length() - 1))
                count = size * ceil(ceil(depth / words) * width / each)
                best = count if not best else min(best, count)
    return best


def in_logic(depth: int, width: int, kind: str) -> Parts:
    """A memory as functions of its address, each with a register."""
    each = distinct(depth, width)
    # Synthesis finds a multiplexer of constants, and few of its symmetries.
    return Parts({kind: each * depth / 16, f"{kind} register": each})


def distinct(depth: int, count: int) -> float:
    """How many different functions ``count`` random ones of ``depth`` places are, but for constants and wires."""
    if depth > 8:
        return float(count)
    all_of_them = 2.0**depth
    return max(0.0, all_of_them * (1 - (1 - 1 / all_of_them) ** count) - 2)


def in_blocks(depth: int, width: int, least: int = BLOCK_BITS) -> bool:
    """Whether a read-only memory is asked to be block RAM; those of fewer bits than ``least`` are left to synthesis."""
    return depth >= BLOCK_ROM and depth * width >= least


def deep(words: int) -> bool:
    """Whether a memory that is written, too, is asked to be block RAM: LUTs hold up to 64 words each."""
    return words > 64


def casts(low: int, high: int, frac: int, to: Fixed, width: int, count: float) -> Parts:
    """``count`` casts of values ``low..high`` on the grid ``frac`` to ``to``, of which ``width`` bits are kept."""
    parts = Parts()
    shift = frac - to.frac
    if shift > 0 and to.round is not Round.TRN:
        parts["round"] = (width + 1) * count
        if to.round is not Round.RND:
            parts["sticky"] = max(shift - 1, 0) * count
    down, up = low >> max(shift, 0), (high >> max(shift, 0)) + (shift > 0 and to.round is not Round.TRN)
    if to.overflow is not Overflow.WRAP and (down < to.min or up > to.max):
        parts["limit"] = width * count
        parts["detect"] = max(max(up.bit_length(), (-down - 1).bit_length()) + 1 - to.width, 1) * count
    return parts


def tree(terms: IntArray, limit: int, registers: Sequence[bool], inside: float, ends: bool, passed: int) -> Parts:
    """Sums of each column's terms, of so many bits (0: none), level by level.

    ``registers``: whether there are any in front of each level. ``inside``: the share of the first level that DSP
    blocks can add to their products. ``ends``: whether a register follows, or what else does not add: of three and more
    additions in a row only the last one is an adder, those before it become carry-save adders of three numbers.
    ``passed``: registers that the terms come from and synthesis can move; with those in which a term without partner
    waits they are a shift register.
    """
    parts = Parts()
    # Terms that are not there are left out before neighbours are added.
    terms = np.take_along_axis(terms, np.argsort(terms == 0, axis=0, kind="stable"), axis=0)
    waited = np.full(terms.shape, passed)
    ends_at = [level for level, registered in enumerate(registers) if registered] + [len(registers) + (not ends)]
    begin = 0
    for level, registered in enumerate(registers):
        if registered:
            parts["ff"] += int(terms.sum())
            waited, begin = waited + 1, level
        end = next(each for each in ends_at if each > level)
        if len(terms) > 1:
            if len(terms) % 2:
                terms, waited = (np.concatenate([each, np.zeros_like(each[:1])]) for each in (terms, waited))
            one, two = terms[::2], terms[1::2]
            both = (one > 0) & (two > 0)
            shifts = (waited >= SHIFT) & np.repeat(both, 2, axis=0)
            parts["shift"] += int(terms.sum(where=shifts))
            parts["ff"] -= int((terms * waited).sum(where=shifts))
            sums = np.minimum(np.maximum(one, two) + 1, limit)
            added = int((sums - 1).sum(where=both))
            first = inside if level == 0 and not registered else 0.0
            parts["post"] += added * first
            parts["adder" if level == end - 1 or end - begin < 3 else "tree"] += added * (1 - first)
            terms, waited = np.where(both, sums, one + two), np.where(both, 0, waited[::2])
    return parts


def carry_save(width: int, count: int, size: int, registers: Sequence[bool]) -> Parts:
    """``count`` numbers of ``size`` bits in all, added without carries to two of ``width`` bits, and these with.

    ``registers``: whether there are any in front of each level, and of the last addition.
    """
    parts = Parts()
    for level, registered in enumerate(registers):
        if registered:
            parts["ff"] += size
        if level < len(registers) - 1:
            whole, rest = divmod(count, 6)
            # Each bit of a row that comes out is a function of the bits that go in.
            made = 3 * whole + (0, 0, 0, 2, 2, 3)[rest]
            # Behind another level, synthesis joins and divides them as it likes.
            parts["compress" if registered or level == 0 else "compress again"] += made * width
            count = made + (rest if rest < 3 else rest == 4)
            size = count * width
    parts["adder"] += width * (count > 1)
    return parts
