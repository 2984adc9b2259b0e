# SPDX-License-Identifier: Apache-2.0
"""How a layer's work can be spread over time, and how many multipliers each way needs: pure Python."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import assert_never

from fxsim.arguments import settle
from fxsim.errors import FxsimError
from fxsim.program.fixed import Overflow
from fxsim.program.integers import Const, Table
from fxsim.program.interpolation import pieces
from fxsim.program.ops import (
    AnyOp,
    Concat,
    Constant,
    Dot,
    Elementwise,
    Input,
    Largest,
    Mul,
    OneHot,
    Slice,
    State,
    Total,
)
from fxsim.program.program import Program
from fxsim.program.ranges import Bounds, bounds

from .signed_digits import digit_counts, most_digits

#: Words from which on a memory of weights may be block RAM.
BLOCK_ROM = 64
#: Bits from which on a read-only memory is block RAM, and one of an interpolated table: behind the sum that is looked
#: up, synthesis makes four times as many LUTs of a table as it would need.
BLOCK_BITS, PIECES_BITS = 4096, 1024
#: Most cycles that a beat may take; a counter of the gateware counts them.
MOST_CYCLES = 1 << 24


@dataclass(frozen=True)
class Fold:
    """How a layer's work is spread over time: ``beats`` groups of units, ``cycles`` clock cycles each.

    ``multiplier``: which products by constants are made without one, a key of ``constants.CHOICES``. ``input``: cycles
    a step of the products of a recurrent layer's input, which run ahead of the loop; None: as those of the loop.
    """

    beats: int = 1
    cycles: int = 1
    multiplier: str = "auto"
    input: int | None = None

    def __post_init__(self) -> None:
        settle(self, "beats", "cycles", "input")

    @property
    def reuse(self) -> int:
        """Cycles in which the engines work on one step."""
        return self.beats * self.cycles


def lane_products(program: Program, op: Mul, fold: Fold) -> int:
    """Multipliers of an element-wise product; a constant factor that is a power of two costs none."""
    if program.is_shift(op):
        return 0
    size = program.sizes[op.name]
    return size // fold.beats if size == units_of(program) else size


def lane_multipliers(program: Program, fold: Fold) -> int:
    """Multipliers of all element-wise products."""
    return sum(lane_products(program, op, fold) for op in program.ops if isinstance(op, Mul))


def least_bits(program: Program, table: Table) -> int:
    """Bits from which on the memory of a program's table is block RAM."""
    return PIECES_BITS if table in pieces(program) else BLOCK_BITS


def units_of(program: Program) -> int:
    """Elements of the result: the units that beats divide."""
    return program.elements


def regular(program: Program) -> bool:
    """Whether every op works unit by unit (or is a product whose outputs are whole sets of units)."""
    units = units_of(program)
    if not all(_by_unit(program, op, units) for op in program.ops):
        return False
    # An input used unit by unit must have units elements.
    lanes = {arg for op in program.ops if isinstance(op, Elementwise) for arg in op.args}
    return program.input.name not in lanes or program.input.elements == units


def _by_unit(program: Program, op: AnyOp, units: int) -> bool:
    size = program.sizes[op.name]
    if isinstance(op, Elementwise):
        return size in (1, units)
    match op:
        case Input():
            return True  # it depends on what reads it
        case State():
            return size == units
        case Constant():
            return size in (1, units)
        case Dot():
            return size % units == 0
        case Slice():
            return isinstance(program[op.arg], Dot) and op.start % units == 0 and size == units
        case Concat() | Total() | Largest() | OneHot():
            return False
        case _:
            assert_never(op)


@lru_cache(maxsize=256)
def legal_beats(program: Program) -> list[int]:
    """Numbers of beats that divide the layer's units; 1 alone where ops cross units."""
    units = units_of(program)
    return [g for g in range(1, units + 1) if units % g == 0] if regular(program) else [1]


@lru_cache(maxsize=256)
def input_products(program: Program) -> frozenset[str]:
    """The matrix products of the input that may have cycles of their own.

    There are others in the step, and element-wise ops alone read their results.
    """
    found = {op.name for op in program.dots if op.arg == program.input.name}
    slices = {op.name for op in program.ops if isinstance(op, Slice) and op.arg in found}
    users = [op for op in program.ops if (found | slices) & set(op.args) and op.name not in slices]
    kept = {program.output, *(state.update for state in program.states)}
    apart = not kept & (found | slices) and all(isinstance(op, Elementwise) for op in users)
    return frozenset(found if apart and len(found) < len(program.dots) else ())


def is_chained(program: Program) -> bool:
    """Whether products follow each other in a token and nothing stays until the next one: tokens may be close."""
    slices = {op.name for op in program.ops if isinstance(op, Slice) and op.arg == program.input.name}
    return not program.states and any(op.arg not in slices | {program.input.name} for op in program.dots)


def engine_fold(program: Program, op: Dot, fold: Fold) -> Fold:
    """The fold of one engine: that of the layer, or the input's own."""
    if fold.input is None or op.name not in input_products(program):
        return fold
    return Fold(1, fold.input, fold.multiplier)


def products(program: Program) -> int:
    """Products of the largest matrix product: the reuse at which it has one multiplier."""
    return max((dot.weights.shape[-1] * dot.weights.shape[-2] for dot in program.dots), default=1)


@lru_cache(maxsize=256)
def known_bounds(program: Program) -> dict[str, Bounds]:
    """Bounds of a program, computed once."""
    return bounds(program)


def is_ordered(op: Dot, known: Bounds) -> bool:
    """Whether the sum saturates, so that its order counts."""
    return known.overflows and op.type.overflow is not Overflow.WRAP


@lru_cache(maxsize=4096)
def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def engine_shape(op: Dot, rows: int, fold: Fold, ordered: bool) -> tuple[int, int] | None:
    """(passes, width) with the fewest multipliers that finishes a beat in the fold's cycles; None if none does."""
    cycles, inputs = fold.cycles, op.weights.shape[-2]
    best: tuple[int, int, int] | None = None
    for passes in _divisors(rows):
        if passes > cycles:
            break
        room = cycles // passes
        # As narrow as time allows, or all at once, where constants may need fewer multipliers.
        for width in (1,) if ordered else (ceil(inputs / min(room, inputs)), inputs):
            if ceil(inputs / width) > room:
                continue
            # Of equal cost, fewer passes: results come together.
            cost = engine_multipliers(op, rows, passes, width, fold.multiplier)
            if best is None or cost < best[0]:
                best = (cost, passes, width)
    return None if best is None else best[1:]


def rows_of(program: Program, op: Dot, fold: Fold) -> int:
    """Outputs that a product gives a beat."""
    return program.sizes[op.name] // fold.beats


def engine_multipliers(op: Dot, rows: int, passes: int, width: int, multiplier: str) -> int:
    """Multipliers of an engine; with one weight for ever, only those that its constants need."""
    if rows == op.weights.shape[-1] and passes == 1 and width == op.weights.shape[-2] and op.weights.data.ndim == 2:
        return _of_constants(op.weights, multiplier)
    return rows // passes * width


@lru_cache(maxsize=1024)
def _of_constants(weights: Const, multiplier: str) -> int:
    return int((digit_counts(weights.data) > most_digits(multiplier)).sum())


def fold_for_reuse(program: Program, reuse: int, multiplier: str = "auto") -> Fold:
    """The folding with the fewest multipliers whose engines work at most ``reuse`` cycles a step.

    Raises ``FxsimError`` with the legal values if ``reuse`` is outside them.
    """
    least = least_reuse(program)
    if not least <= reuse:
        raise FxsimError(
            f"reuse must be at least {least}, not {reuse}: a saturating accumulator adds one product a cycle, in order"
        )
    # Of equal multipliers the faster one; of equal speed more beats, whose results need fewer and narrower registers.
    legal = folds(program, reuse, multiplier)
    return min(legal, key=lambda fold: (fold_multipliers(program, fold), fold.reuse, -fold.beats))


def least_reuse(program: Program) -> int:
    """Smallest reuse: 1, or the inputs of a product whose accumulator saturates."""
    known = known_bounds(program)
    return max((op.weights.shape[-2] for op in program.dots if is_ordered(op, known[op.name])), default=1)


def folds(program: Program, reuse: int, multiplier: str) -> Iterator[Fold]:
    """The useful foldings of at most ``reuse`` cycles: for each number of beats, the one that uses them best."""
    known = known_bounds(program)
    for beats in legal_beats(program):
        if beats > reuse:
            break
        cycles = reuse // beats
        busy = 1
        for op in program.dots:
            fold = Fold(beats, cycles, multiplier)
            shape = engine_shape(op, rows_of(program, op, fold), fold, is_ordered(op, known[op.name]))
            if shape is None:
                break
            busy = max(busy, shape[0] * ceil(op.weights.shape[-2] / shape[1]))
        else:
            yield Fold(beats, busy, multiplier)


def fold_multipliers(program: Program, fold: Fold) -> int:
    """Multipliers of a folding."""
    known = known_bounds(program)
    total = lane_multipliers(program, fold)
    for op in program.dots:
        own = engine_fold(program, op, fold)
        rows = rows_of(program, op, own)
        shape = engine_shape(op, rows, own, is_ordered(op, known[op.name]))
        assert shape is not None
        total += engine_multipliers(op, rows, *shape, fold.multiplier)
    return total
