# SPDX-License-Identifier: Apache-2.0
"""Tables of rounded sums whose index needs no rounded sum: both roundings are one constant added to the exact one."""

from __future__ import annotations

from fxsim.program.fixed import Fixed, Overflow, Round
from fxsim.program.ops import Add, Lookup, Op
from fxsim.program.ranges import Bounds


def looked_through(op: Lookup, total: Op, known: Bounds) -> tuple[int, int] | None:
    """The constant and the shift that make the index of an exact sum: ``(sum + constant) >> shift``.

    ``floor((floor(x) + n) / m) = floor((x + n) / m)`` for integers n and m: rounding down, or half up, twice is adding
    both halves and rounding down once. A saturation of the sum does not matter where all that it cuts off lies beyond
    the ends of the table. None where that does not hold.
    """
    table = op.table
    first, second = known.exact_frac - total.type.frac, total.type.frac - table.frac
    plain = (Round.TRN, Round.RND)
    if not isinstance(total, Add) or table.scale != 1 or first < 0 or second < 0:
        return None
    if total.type.round not in plain or table.round not in plain or not _beyond(op, total.type, known):
        return None
    constant = 0
    if first and total.type.round is Round.RND:
        constant += 1 << (first - 1)
    if second and table.round is Round.RND:
        constant += 1 << (first + second - 1)
    return constant, first + second


def _beyond(op: Lookup, type: Fixed, known: Bounds) -> bool:
    """Whether the ends of a format read the ends of the table, or are never passed."""
    if not known.overflows:
        return True
    if type.overflow not in (Overflow.SAT, Overflow.SAT_SYM):
        return False
    ends = op.table.index(type.min, type.frac), op.table.index(type.max, type.frac)
    return ends == (0, len(op.table.values.data) - 1)
