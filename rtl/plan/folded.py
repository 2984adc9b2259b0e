# SPDX-License-Identifier: Apache-2.0
"""A layer's program with its folding: what is known of it before anything has a place in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from fxsim.program.fixed import smallest
from fxsim.program.ops import Dot, Op
from fxsim.program.program import Program
from fxsim.program.ranges import Bounds

from .delays import Family
from .folds import Fold
from .merged_sums import Absorbed


@dataclass(frozen=True)
class Engine:
    """A matrix product: ``rows`` outputs a beat, in ``passes`` groups, each from ``depth`` cycles of ``width`` inputs.

    ``start`` is the cycle of its first slot; ``ready`` and ``offset`` the cycle and the delay (ns) within it at which
    beat 0's results stand. ``fetch`` and ``stages``: registers before and behind each multiplier. ``registers[i]``:
    whether a register stands before adder level i (the last one: before the accumulator). ``ordered``: a saturating
    sum, one product at a time. ``direct``: the operand stands still, so that it has no register beside those of the
    weights, and is read only when these come. ``compressed``: terms are added without carries, but for the last
    addition. ``digits``: constants of up to so many signed digits need no multiplier;
    ``multipliers``: how many are left.
    """

    op: str
    inputs: int
    rows: int
    passes: int
    width: int
    steps: int
    beats: int
    ordered: bool
    registers: tuple[bool, ...]
    stages: int
    fetch: int
    digits: int
    multipliers: int
    compressed: bool = False
    direct: bool = False
    start: int = 0
    ready: int = 0
    offset: float = 0.0

    @property
    def depth(self) -> int:
        """Cycles a pass takes."""
        return ceil(self.inputs / self.width)

    @property
    def busy(self) -> int:
        """Cycles a beat takes."""
        return self.passes * self.depth

    @property
    def slots(self) -> int:
        """Weights of a multiplier."""
        return self.steps * self.beats * self.busy

    @property
    def constant(self) -> bool:
        """Whether every multiplier has one weight for ever."""
        return self.slots == 1

    @property
    def selected(self) -> bool:
        """Whether a counter says which product it is (a register stage before the multipliers).

        It chooses weights and operands, and tells an ordered sum, even of one product, when to begin.
        """
        return self.ordered or not self.constant

    @property
    def reads(self) -> int:
        """Cycle in which slot 0 looks at its operand."""
        return self.start + (self.fetch if self.direct else 0)

    @property
    def accumulates(self) -> bool:
        """Whether partial sums are kept from cycle to cycle."""
        return self.depth > 1 or self.ordered

    @property
    def product_cycle(self) -> int:
        """Cycle in which the products of slot 0 stand in their registers."""
        return self.start + self.fetch + self.stages


@dataclass(frozen=True)
class FoldedProgram:
    """A layer's program with its folding, for one family and clock.

    ``ways``: sequences whose tokens take turns. ``bounds``: proven ranges of the ops. ``parked``: products of the
    input, made in cycles of their own, that wait as whole vectors for the beats. ``chained``: products follow each
    other within a token, each over the fold's cycles, and all vectors move with their token. ``absorbed``: sums that
    products make themselves.
    """

    program: Program
    fold: Fold
    units: int
    family: Family
    clock_mhz: float
    ways: int
    bounds: Mapping[str, Bounds]
    parked: frozenset[str]
    chained: bool
    absorbed: Mapping[str, Absorbed]

    @property
    def lanes(self) -> int:
        """Units worked on at once."""
        return self.units // self.fold.beats

    @property
    def tail(self) -> int:
        """Cycles from beat 0 to the last beat."""
        return (self.fold.beats - 1) * self.fold.cycles

    @property
    def flows_input(self) -> bool:
        """Whether the input moves with the token; else it is held for the cycles of the step."""
        return self.chained or (self.fold.reuse == 1 and self.fold.input is None)

    @property
    def flows_state(self) -> bool:
        """Whether a state moves with its token; else it is held for the cycles of the step."""
        return self.ways > 1 and self.fold.reuse == 1

    def widths(self, op: Op) -> tuple[int, int]:
        """Bits of an op's first and last operand, or of the factors of a matrix product."""
        bits = [self.bounds[arg].narrow(self.program[arg].type).width for arg in op.args]
        if isinstance(op, Dot):
            bits.append(_weight_width(op))
        return bits[0], bits[-1]

    def turns(self, engine: Engine) -> list[tuple[int, int, int]]:
        """For each pass of a parked product: the cycle in which it stands, the first and the last beat that need it."""
        gates, parallel = engine.rows // self.units, engine.rows // engine.passes
        found = []
        for k in range(engine.passes):
            # Unit by unit, so that the first beats need not wait for the last pass.
            first, last = k * parallel // gates, ((k + 1) * parallel - 1) // gates
            ready = engine.ready - (engine.passes - 1 - k) * engine.depth
            found.append((ready, first // self.lanes, last // self.lanes))
        return found


@lru_cache(maxsize=256)
def _weight_width(op: Dot) -> int:
    return smallest(int(op.weights.data.min()), int(op.weights.data.max()), 0).width
