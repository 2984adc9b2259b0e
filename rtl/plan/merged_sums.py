# SPDX-License-Identifier: Apache-2.0
"""Sums that a matrix product makes itself: what is added to its result becomes one more term of its tree."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from fxsim.program.ops import Add, Dot, Op, Slice
from fxsim.program.program import Program

from .folds import is_ordered, known_bounds


@dataclass(frozen=True)
class Absorbed:
    """A sum of outputs ``start`` on of the product ``dot`` and of ``other``, (part of) another product."""

    dot: str
    start: int
    other: str


@lru_cache(maxsize=256)
def absorbable(program: Program) -> dict[str, Absorbed]:
    """The sums of two matrix products, one of them of the input, by name: exact ones, whose parts nobody else reads."""
    known = known_bounds(program)
    kept = {program.output, *(state.update for state in program.states)}
    found: dict[str, Absorbed] = {}

    def root(name: str) -> Op:
        op = program[name]
        return root(op.arg) if isinstance(op, Slice) else op

    def exact(op: Dot) -> bool:
        whole = known[op.name]
        products = program[op.arg].type.frac + op.weights.type.frac
        return op.weights.data.ndim == 2 and products == op.type.frac and not (whole.overflows or is_ordered(op, whole))

    for op in program.ops:
        if not isinstance(op, Add) or known[op.name].overflows:
            continue
        for one, other in ((op.a, op.b), (op.b, op.a)):
            dot, term = root(one), root(other)
            if not isinstance(dot, Dot) or not isinstance(term, Dot) or root(dot.arg) is program.input:
                continue
            part = program[one]
            read_once = [user for user in program.ops if one in user.args] == [op]
            if (
                root(term.arg) is program.input
                and program.ops.index(term) < program.ops.index(dot)
                and (part is dot or (isinstance(part, Slice) and part.arg == dot.name))
                and read_once
                and not {one, dot.name} & kept
                and program.sizes[one] == program.sizes[other] == program.sizes[op.name]
                and op.type.frac == max(dot.type.frac, term.type.frac)
                and exact(dot)
            ):
                found[op.name] = Absorbed(dot.name, part.start if isinstance(part, Slice) else 0, other)
    return found
