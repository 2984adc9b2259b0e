# SPDX-License-Identifier: Apache-2.0
"""Elementwise ops on vectors: exact results in the narrowest word that holds them, cast to the op's format.

The rounding here is written apart from ``fixed.py`` on purpose: shared code would share its bugs. Tests tie them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import assert_never

from ..program.fixed import Fixed, Overflow
from ..program.ops import Add, Aligned, Arithmetic, Cast, Lookup, Max, Min, Mul, Remainder, Select, Sub
from ..program.program import Program
from ..program.ranges import Bounds
from .llvm import ROUNDS, Code, Var, Vec, fits, magnitude
from .widths import Span, common


def apply(
    code: Code, op: Arithmetic, args: list[Vec], program: Program, bounds: Mapping[str, Bounds], tally: Var | None
) -> Vec:
    """An op on vectors of its operands; ``tally`` counts what leaves its format."""
    known = bounds[op.name]
    bits = compute_bits(op.type, known.exact_frac, [known.exact, *common(op, program, bounds)], known)
    fracs = [program[name].type.frac for name in op.args]
    wide = [code.resize(arg, bits) for arg in args]
    match op:
        case Mul():
            exact = code.binary("mul", *wide)
        case Cast():
            exact = wide[0]
        case Remainder():
            dropped = max(fracs[0] - op.frac, 0)
            exact = code.binary("and", wide[0], code.constant((1 << min(dropped, bits - 1)) - 1, bits))
        case _:
            grid = [code.shift("shl", arg, max(fracs) - frac) for arg, frac in zip(wide, fracs, strict=True)]
            exact = _on_grid(code, op, args, grid)
    return cast(code, op.type, exact, known, tally)


def _on_grid(code: Code, op: Aligned, args: list[Vec], grid: list[Vec]) -> Vec:
    match op:
        case Add():
            return code.binary("add", *grid)
        case Sub():
            return code.binary("sub", *grid)
        case Max():
            return code.larger(*grid)
        case Min():
            return code.smaller(*grid)
        case Select():
            return code.select(code.compare("sgt", args[0], code.constant(0, args[0].bits)), *grid[1:])
        case _:
            assert_never(op)


def compute_bits(to: Fixed, frac: int, spans: Iterable[Span], known: Bounds) -> int:
    """32 where such a word holds all of ``spans`` on the grid of ``frac``, their rounding and the result; else 64."""
    return _bits(frac - to.frac, spans, (known.low, known.high))


def _bits(shift: int, spans: Iterable[Span], result: Span) -> int:
    half = 1 << (shift - 1) if 0 < shift < 32 else 0
    left = max(0, -shift)
    wide = [((low << left) - half, (high << left) + half) for low, high in spans]
    return 32 if shift < 32 and all(fits(*span, 32) for span in [*wide, result]) else 64


def cast(code: Code, to: Fixed, exact: Vec, known: Bounds, tally: Var | None) -> Vec:
    """The exact result on its grid into a format."""
    shift, bits = known.exact_frac - to.frac, magnitude(*known.exact)
    return fit(code, to, code.round(exact, shift, ROUNDS[to.round], bits), known.overflows, tally)


def fit(code: Code, to: Fixed, value: Vec, overflows: bool, tally: Var | None) -> Vec:
    """A rounded value into a format's range, its overflows counted."""
    if not overflows:
        return value
    if tally is not None:
        count(code, tally, code.outside(value, to.min, to.max))
    return overflow(code, to, value)


def count(code: Code, tally: Var, truth: Vec) -> None:
    """One more in the lanes that are true."""
    code.set(tally, code.add(code.get(tally), code.truth(truth, 32)))


def overflow(code: Code, to: Fixed, value: Vec) -> Vec:
    """A rounded value into a format's range by its mode."""
    if to.overflow is Overflow.WRAP:
        return code.wrap(value, to.width, to.signed) if to.width < value.bits else value
    if to.overflow is Overflow.SAT_ZERO:
        return code.select(code.outside(value, to.min, to.max), code.constant(0, value.bits), value)
    return code.clamp(value, to.min, to.max)


def index(code: Code, op: Lookup, arg: Vec, frac: int, span: Span) -> Vec:
    """Position in the table, 32 bits, for an argument with ``frac`` that is within ``span``."""
    table = op.table
    shift = frac - table.frac
    scaled = (span[0] * table.scale, span[1] * table.scale)
    bits = _bits(shift, [scaled], (table.first, table.last))
    value = code.resize(arg, bits)
    if table.scale != 1:
        value = code.binary("mul", value, code.constant(table.scale, bits))
    value = code.round(value, shift, ROUNDS[table.round], magnitude(*scaled))
    return _entry(code, op, value)


def _entry(code: Code, op: Lookup, index: Vec) -> Vec:
    first, last = op.table.first, op.table.last
    return code.resize(code.plus(code.clamp(index, first, last), -first), 32)


def upper_sum(code: Code, upper: Vec, lower: Vec, split: int, other: Vec, left: int) -> Vec:
    """``upper * 2**split + lower + other * 2**left``, all of 32 bits, without its first ``split`` bits."""
    if left >= split:
        upper = code.add(upper, code.shift("shl", other, left - split))
    else:
        upper = code.add(upper, code.shift("ashr", other, split - left))
        rest = code.binary("and", other, code.constant((1 << (split - left)) - 1, 32))
        lower = code.add(lower, code.shift("shl", rest, left))
    # What is left of ``split`` bits under the floor is less than one and cannot change the floors after it.
    return code.add(upper, code.shift("ashr", lower, split))


def upper_index(code: Code, op: Lookup, total: Vec, shift: int) -> Vec:
    """:func:`index` for a sum without its first bits; ``shift`` more, at least one, take it to the table's grid.

    Rounding is toward minus infinity or to nearest.
    """
    return _entry(code, op, code.round(total, shift, ROUNDS[op.table.round], 31))


def bits(code: Code, value: Vec, first: int, count: int) -> Vec:
    """``count`` bits of a number from ``first`` on, as a number that is not negative."""
    return code.binary("and", code.shift("ashr", value, first), code.constant((1 << count) - 1, value.bits))
