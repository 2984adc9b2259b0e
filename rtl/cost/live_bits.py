# SPDX-License-Identifier: Apache-2.0
"""Low bits that are always zero, or that nobody looks at: synthesis keeps no register and no memory for them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from fxsim.program.fixed import Fixed, IntArray, Round
from fxsim.program.integers import Table
from fxsim.program.ops import Add, Cast, Concat, Constant, Dot, Input, Lookup, Mul, OneHot, Op, Slice, State, Sub
from fxsim.program.program import Program
from fxsim.program.ranges import Bounds

from ..plan.folds import known_bounds

#: More than any format has.
_ALL = 1 << 10


@lru_cache(maxsize=256)
def zero_bits(program: Program, given: int) -> dict[str, int]:
    """How many low bits of each op are always zero; ``given``: of the input's."""
    known = known_bounds(program)
    found = {state.name: _of(state.init.data.tolist() if state.init else []) for state in program.states}
    while True:
        before = {state.name: found[state.name] for state in program.states}
        for op in program.ops:
            if not isinstance(op, State):
                found[op.name] = _zeros(program, known, op, found, given)
        for state in program.states:
            found[state.name] = min(before[state.name], found[state.update])
        if all(found[name] == value for name, value in before.items()):
            return found


def _zeros(program: Program, known: Mapping[str, Bounds], op: Op, found: Mapping[str, int], given: int) -> int:
    if isinstance(op, Input):
        return given
    if isinstance(op, Constant):
        return _of(op.values.data.tolist())
    if isinstance(op, Lookup):
        return _table(op.table, op.type)
    if isinstance(op, Dot | OneHot) or known[op.name].overflows:
        # A saturated value has ones at the low end.
        return 0
    places = [found[arg] - program[arg].type.frac for arg in op.args]
    exact = sum(places) if isinstance(op, Mul) else min(places)
    return min(max(exact + op.type.frac, 0), _ALL)


@lru_cache(maxsize=256)
def unseen_bits(program: Program, given: int) -> dict[tuple[str, str], int]:
    """How many low bits of an operand its reader does not look at, by the names of both.

    ``given``: how many low bits of the input are always zero.
    """
    known, zeros = known_bounds(program), zero_bits(program, given)
    found: dict[tuple[str, str], int] = {}
    kept = {program.output, *(state.update for state in program.states)}
    unseen: dict[str, int] = {}
    for op in reversed(program.ops):
        readers = [found[reader.name, op.name] for reader in program.ops if op.name in reader.args]
        unseen[op.name] = 0 if op.name in kept or not readers else min(readers)
        for arg in op.args:
            found[op.name, arg] = max(_unseen(program, known[op.name], op, arg, unseen[op.name], zeros), 0)
    return found


def _unseen(program: Program, known: Bounds, op: Op, arg: str, unseen: int, zeros: Mapping[str, int]) -> int:
    """Low bits of ``arg`` that do not change an op of whose result so many low bits are ``unseen``."""
    frac = program[arg].type.frac
    if isinstance(op, Lookup):
        return _cut(frac - op.table.frac, op.table.round) if op.table.scale == 1 else 0
    if isinstance(op, Slice | Concat):
        return unseen
    if not isinstance(op, Cast | Add | Sub) or known.overflows:
        return 0
    # Places are counted on the grid of the exact result.
    shift = known.exact_frac - op.type.frac
    # What a rounding adds is carried through bits that nobody looks at; what is dropped carries nothing.
    lowest = unseen + shift if shift <= 0 or op.type.round is Round.TRN else _cut(shift, op.type.round)
    if isinstance(op, Cast):
        return lowest
    edges = {name: known.exact_frac - program[name].type.frac + zeros[name] for name in op.args}
    if isinstance(op, Sub) and arg == op.args[1]:
        return 0
    # Below the lowest bit of the other term nothing is carried.
    other = max((edge for name, edge in edges.items() if name != arg), default=edges[arg])
    return min(other, lowest) - (known.exact_frac - frac)


def _cut(shift: int, round: Round) -> int:
    """Low bits that a rounding by ``shift`` places does not look at."""
    return {Round.TRN: shift, Round.RND: shift - 1}.get(round, 0)


@lru_cache(maxsize=256)
def _table(table: Table, to: Fixed) -> int:
    return _of(table.entries(to).tolist())


def _of(values: list[int]) -> int:
    """Low bits that are zero in all the values."""
    every = 0
    for value in values:
        every |= value
    return (every & -every).bit_length() - 1 if every else _ALL


@lru_cache(maxsize=256)
def moving_bits(table: Table, to: Fixed, width: int) -> int:
    """Bits of a table's entries, ``width`` each, that are not the same in all of them."""
    entries: IntArray = table.entries(to)
    changes = 0
    for value in (entries ^ entries[0]).tolist():
        changes |= value
    return (changes & ((1 << width) - 1)).bit_count()
