# SPDX-License-Identifier: Apache-2.0
"""Interpolated tables in a program: ``values[x] + slopes[x] * rest(x)``, and what such a sum can be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .fixed import IntArray, Round
from .integers import Table
from .ops import Add, Lookup, Mul, Op, Remainder
from .program import Program


@dataclass(frozen=True)
class Interpolated:
    """The ops of one: two tables with the same argument and pieces, the argument's bits below these, the product."""

    values: Lookup
    slopes: Lookup
    rest: Remainder
    rise: Mul


def interpolated(program: Program, op: Op) -> Interpolated | None:
    """The interpolated table whose sum an op is; None for any other op."""
    if not isinstance(op, Add):
        return None
    for one, two in ((op.a, op.b), (op.b, op.a)):
        values, rise = program[one], program[two]
        if not isinstance(values, Lookup) or not isinstance(rise, Mul):
            continue
        for three, four in ((rise.a, rise.b), (rise.b, rise.a)):
            slopes, rest = program[three], program[four]
            if isinstance(slopes, Lookup) and isinstance(rest, Remainder) and _alike(values, slopes, rest):
                return Interpolated(values, slopes, rest, rise)
    return None


def _alike(values: Lookup, slopes: Lookup, rest: Remainder) -> bool:
    one, two = values.table, slopes.table
    return (
        values.arg == slopes.arg == rest.arg
        and one.round is two.round is Round.TRN
        and (one.scale, one.frac, one.first, one.last) == (1, two.frac, two.first, two.last)
        and (two.scale, rest.frac) == (1, one.frac)
    )


@lru_cache(256)
def pieces(program: Program) -> frozenset[Table]:
    """All tables that are interpolated, of values and of slopes."""
    found = filter(None, (interpolated(program, op) for op in program.ops))
    return frozenset(table for parts in found for table in (parts.values.table, parts.slopes.table))


def limits(parts: Interpolated, rest: tuple[int, int], frac: int) -> tuple[IntArray, IntArray] | None:
    """Least and largest sum of each piece on the grid ``frac``, for rests within ``rest``; None if 64 bits hold none.

    The product must be exact, and ``frac`` not coarser than values and product.
    """
    values, slopes = (op.table.entries(op.type) for op in (parts.values, parts.slopes))
    up = frac - parts.values.type.frac, frac - parts.slopes.type.frac - parts.rest.type.frac
    most = [int(np.abs(entries).max()).bit_length() for entries in (values, slopes)]
    if max(most[0] + up[0], most[1] + max(map(int.bit_length, rest)) + up[1]) > 61 or min(up) < 0:
        return None
    ends = [slopes * end << up[1] for end in rest]
    return (values << up[0]) + np.minimum(*ends), (values << up[0]) + np.maximum(*ends)
