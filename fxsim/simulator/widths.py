# SPDX-License-Identifier: Apache-2.0
"""What 64-bit words hold: the check that a program can be computed in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import assert_never

from ..program.ops import Aligned, AnyOp, Arithmetic, Dot, Largest, Leaf, Lookup, Move, OneHot, Total
from ..program.program import Program
from ..program.ranges import Bounds
from .llvm import fits

#: Machine integers hold exact results below this magnitude. A shift by more than 63 then rounds as one by 63 does.
_LIMIT = 1 << 62
Span = tuple[int, int]
#: Ops that give elements or constants as they are, without arithmetic.
_TAKEN = Leaf | Move | OneHot
#: Ops that pass through no integers but their operands and their exact result.
_PLAIN = Arithmetic | Largest


class TooWide(Exception):
    """An op's exact result does not fit a machine integer; the reference fold must compute it."""


def check(program: Program, known: Mapping[str, Bounds]) -> None:
    """Raise :class:`TooWide` where 64 bits do not hold an exact result."""
    for op in program.ops:
        for low, high in _spans(op, program, known):
            if low <= -_LIMIT or high >= _LIMIT:
                raise TooWide(f"op {op.name!r} needs {max(-low, high).bit_length() + 1} bits")
        if not fits(known[op.name].low, known[op.name].high, 64):
            raise TooWide(f"op {op.name!r} has results wider than 64 bits")


def _spans(op: AnyOp, program: Program, known: Mapping[str, Bounds]) -> Iterator[Span]:
    """Every range of integers that computing the op passes through."""
    own = known[op.name]
    yield own.exact
    yield from common(op, program, known)
    if isinstance(op, _TAKEN):
        return
    yield _up(own.exact, op.type.frac - own.exact_frac)
    if isinstance(op, _PLAIN):
        return
    arg, frac = known[op.arg], program[op.arg].type.frac
    match op:
        case Dot():
            left = op.type.frac - frac - op.weights.type.frac
            yield own.product
            yield _up(own.product, left)
            yield _up((int(op.weights.data.min()), int(op.weights.data.max())), left)
        case Lookup():
            yield _up((arg.low * op.table.scale, arg.high * op.table.scale), op.table.frac - frac)
        case Total():
            yield _up((arg.low, arg.high), op.type.frac - frac)
        case _:
            assert_never(op)


def common(op: AnyOp, program: Program, known: Mapping[str, Bounds]) -> list[Span]:
    """Operands on their common grid, where the op has one."""
    if not isinstance(op, Aligned):
        return []
    fracs = [program[name].type.frac for name in op.args]
    return [_up((known[name].low, known[name].high), max(fracs) - f) for name, f in zip(op.args, fracs, strict=True)]


def _up(span: Span, left: int) -> Span:
    """A range shifted left, if it is."""
    return (span[0] << left, span[1] << left) if left > 0 else span
