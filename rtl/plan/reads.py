# SPDX-License-Identifier: Apache-2.0
"""Who reads what, when and from where: decided once, for the scheduler, the gateware and the cost model alike."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from fxsim.program.ops import Constant, Input, Slice, State

from .folded import FoldedProgram

#: The reader of a layer's result: the buffer behind it.
RESULT = ""


class Way(Enum):
    """How an operand comes to the op that reads it."""

    CONSTANT = "never changes"
    PASSING = "passes by in registers, one a cycle"
    RELAYED = "passes by in registers that stand until the next token"
    STANDING = "stands in registers of the layer while the step is worked on"
    CHOSEN = "is this beat's part of a vector that stands, chosen in the cycle before"
    OPENED = "is a state as its ops give it, ahead of its own register"


@dataclass(frozen=True)
class Origin:
    """Where an operand's elements stand: elements ``start`` to ``stop`` of the op ``op``, and how they come."""

    op: str
    start: int
    stop: int
    way: Way


@dataclass(frozen=True)
class Read:
    """One op that reads one operand.

    ``cycle``: in which cycle of beat 0 it looks; ``last``: the same of the last beat, and of an engine's last product.
    ``kept``: it looks a cycle early and keeps what it saw in registers of its own until the next step.
    """

    reader: str
    operand: str
    origin: Origin
    segment: int
    cycle: int
    last: int
    kept: bool = False

    @property
    def first(self) -> int:
        """The cycle in which the vector is looked at: that before, where this beat's part is chosen."""
        return self.cycle - (self.origin.way is Way.CHOSEN)


def origin(
    layer: FoldedProgram, segments: Mapping[str, int], collected: Container[str], name: str, segment: int
) -> Origin:
    """Where a reader in ``segment`` finds an operand.

    ``segments``: the segment of each op; ``collected``: the ops whose whole vectors are kept for later segments.
    """
    op, size = layer.program[name], layer.program.sizes[name]
    chosen = Way.CHOSEN if layer.fold.beats > 1 else Way.STANDING
    if isinstance(op, Constant):
        return Origin(name, 0, size, Way.CHOSEN if size > 1 and layer.fold.beats > 1 else Way.CONSTANT)
    if isinstance(op, Slice) and not (name in collected and segments[name] < segment):
        whole = origin(layer, segments, collected, op.arg, segment)
        return replace(whole, start=whole.start + op.start, stop=whole.start + op.stop)
    stands = (isinstance(op, Input) and not layer.flows_input) or (isinstance(op, State) and not layer.flows_state)
    if stands or name in layer.parked or segments[name] < segment:
        return Origin(name, 0, size, chosen)
    return Origin(name, 0, size, Way.RELAYED if layer.chained else Way.PASSING)
