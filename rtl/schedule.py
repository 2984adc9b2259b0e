# SPDX-License-Identifier: Apache-2.0
"""When everything happens: the cycle of every op of a layer, from its program, folding and clock.

Pure Python. The gateware is built from a :class:`LayerSchedule` and contains no other decision about time, so latency
and interval are known before anything is built.

A layer takes a *token*, one step's input vector, and works through it in ``beats`` groups of units, each beat taking
``cycles`` clock cycles; all times below are cycles after the first one in which the token stands in the layer's input
register (cycle 0), for beat 0. Beat g follows ``g * cycles`` later. Nothing inside a layer ever waits: a token enters
only when the layer can carry it to its end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil

from fxsim.fixed import smallest
from fxsim.program import (
    Dot,
    Mul,
    Op,
    Program,
)
from fxsim.ranges import Bounds

from .absorb import Absorbed
from .constants import LOGIC
from .delays import Family
from .folds import (
    Fold,
    lane_multipliers,
    lane_products,
)
from .pipeline import Slot


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


@dataclass
class LayerSchedule:
    """Everything about the time of one layer; see the fields of the classes above.

    ``segments`` are the cycles at which each group of beats starts: a matrix product of something computed in the
    step begins a new one. ``collected`` are the ops kept as whole vectors between segments, ``parked`` the products of
    the input that wait as whole vectors for the beats, made in cycles of their own. ``opened`` are the states
    that products read without a register of their own: out of the ops ``held``, whose registers keep their values until
    the next step. ``ways``: sequences whose tokens take turns; ``enters``: the cycle in which a token then finds its
    states. ``absorbed``: sums that products make themselves. ``chained``: products follow each other within a token,
    each over the fold's cycles, and all vectors move with their token. ``interval``: cycles between tokens; ``result``:
    the cycle in which beat 0 of the result is given to the buffer behind. ``longest``: the longest delay between two
    registers, on the scale of the family's table.
    """

    program: Program
    fold: Fold
    units: int
    family: Family
    clock_mhz: float
    ways: int = 1
    engines: dict[str, Engine] = field(default_factory=dict)
    slots: dict[str, Slot] = field(default_factory=dict)
    segment: dict[str, int] = field(default_factory=dict)
    segments: list[int] = field(default_factory=list)
    absorbed: dict[str, Absorbed] = field(default_factory=dict)
    collected: set[str] = field(default_factory=set)
    parked: set[str] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    enters: dict[str, int] = field(default_factory=dict)
    bounds: dict[str, Bounds] = field(default_factory=dict)
    chained: bool = False
    interval: int = 1
    result: int = 0
    longest: float = 0.0

    @property
    def lanes(self) -> int:
        """Units worked on at once."""
        return self.units // self.fold.beats

    @property
    def flows_input(self) -> bool:
        """Whether the input moves with the token; else it is held for the cycles of the step."""
        return self.chained or (self.fold.reuse == 1 and self.fold.input is None)

    @property
    def flows_state(self) -> bool:
        """Whether a state moves with its token; else it is held for the cycles of the step."""
        return self.ways > 1 and self.fold.reuse == 1

    @property
    def multipliers(self) -> int:
        """Multipliers of engines and lanes."""
        return sum(e.multipliers for e in self.engines.values()) + lane_multipliers(self.program, self.fold)

    @property
    def dsp(self) -> int:
        """DSP blocks of those multipliers; a product of wide factors takes several, one in logic none."""
        if self.fold.multiplier == LOGIC:
            return 0
        total = 0
        for op in self.program.ops:
            if isinstance(op, Dot):
                total += self.engines[op.name].multipliers * self.family.blocks(*widths(self, op))
            elif isinstance(op, Mul):
                total += lane_products(self.program, op, self.fold) * self.family.blocks(*widths(self, op))
        return total

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

    @property
    def tail(self) -> int:
        """Cycles from beat 0 to the last beat."""
        return (self.fold.beats - 1) * self.fold.cycles

    @property
    def latency(self) -> int:
        """Edges from the one that takes a token to the one that brings its result into the buffer behind."""
        return self.result + self.tail + 1


def widths(plan: LayerSchedule, op: Op) -> tuple[int, int]:
    """Bits of an op's first and last operand, or of the factors of a matrix product."""
    bits = [plan.bounds[arg].narrow(plan.program[arg].type).width for arg in op.args]
    if isinstance(op, Dot):
        bits.append(_weight_width(op))
    return bits[0], bits[-1]


@lru_cache(maxsize=256)
def _weight_width(op: Dot) -> int:
    return smallest(int(op.weights.data.min()), int(op.weights.data.max()), 0).width
