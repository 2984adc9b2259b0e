# SPDX-License-Identifier: Apache-2.0
"""Where an op fits first behind its operands: when values stand, and what the operators of a family take."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from typing import assert_never

from fxsim.program.fixed import Round, smallest
from fxsim.program.ops import (
    Add,
    Cast,
    Concat,
    Constant,
    Dot,
    Elementwise,
    Input,
    Lookup,
    Max,
    Min,
    Mul,
    Op,
    Reduction,
    Remainder,
    Select,
    Slice,
    State,
    Sub,
    Total,
)
from fxsim.program.program import Program

from .early_lookup import looked_through
from .folded import Engine, FoldedProgram
from .pipeline import Pipeline, Place, Slot
from .reads import Origin, Way, origin
from .signed_digits import LOGIC

#: Cycles from a parked result to its part of a beat: the register that it waits in, and that of the choice.
_PARKING = 2


class Places:
    """The places of a layer's ops, as far as they are known: filled by the scheduler, op by op.

    ``engines``, ``slots``, ``segment``, ``segments``, ``collected`` and ``enters`` are those of a
    :class:`~rtl.plan.schedule.LayerSchedule`. ``opened``: states that products read out of their update's ops.
    """

    def __init__(self, layer: FoldedProgram, opened: Container[str]) -> None:
        self.layer, self.fold, self.family = layer, layer.fold, layer.family
        self.program: Program = layer.program
        self.opened = opened
        self.pipeline = Pipeline(layer.family, layer.clock_mhz)
        self.known = layer.bounds
        self.engines: dict[str, Engine] = {}
        self.slots: dict[str, Slot] = {}
        self.segment: dict[str, int] = {}
        self.segments = [0]
        self.collected: set[str] = set()
        self.enters: dict[str, int] = {}

    def origin(self, name: str, segment: int) -> Origin:
        """Where a reader in ``segment`` finds an operand."""
        return origin(self.layer, self.segment, self.collected, name, segment)

    def stands_still(self, name: str) -> bool:
        """Whether an op stands in registers (or is constant) while the step is worked on."""
        match op := self.program[name]:
            case Slice():
                return self.stands_still(op.arg)
            case Input():
                return not self.layer.flows_input
            case State():
                return not self.layer.flows_state
            case _:
                return isinstance(op, Constant)

    def usable(self, engine: Engine) -> int:
        """The cycle of beat 0 in which a product's results stand for their users; later beats find theirs in time."""
        if engine.op not in self.layer.parked:
            return engine.ready
        return max(ready - first * self.fold.cycles for ready, first, _ in self.layer.turns(engine)) + _PARKING

    def when(self, name: str, segment: int) -> Place:
        """When a value first stands for a user in ``segment`` (beat 0)."""
        found = self.origin(name, segment)
        op = self.program[found.op]
        if found.way is Way.CONSTANT:
            return Place(0, 0.0)
        if found.op in self.layer.parked:
            return Place(max(self.usable(self.engines[found.op]), self.segments[segment] + 1), 0.0)
        if found.way in (Way.CHOSEN, Way.STANDING):
            # Chosen by the beat's number, one register later.
            begin = max(self.segments[segment], self.enters.get(found.op, 0))
            return Place(begin + (found.way is Way.CHOSEN), 0.0)
        if isinstance(op, Input):
            return Place(0, 0.0)
        if isinstance(op, State):
            # Chosen from the memory's word and the initial value.
            return Place(self.enters.get(found.op, 0), self.family.select)
        if isinstance(op, Concat):
            return max(self.when(arg, segment) for arg in op.args)
        if isinstance(op, Dot):
            engine = self.engines[found.op]
            return Place(engine.ready, engine.offset)
        return self.slots[found.op].stands

    def behind(self, op: Op) -> Place:
        """When all operands stand."""
        return max(self.when(arg, self.segment[op.name]) for arg in op.args)

    def lookup(self, op: Lookup, at: Place) -> Slot:
        """A table read: scale, round and clamp the index, then the memory."""
        family, arg = self.family, self.known[op.arg]
        index, rounding = family.clamp, 0.0
        if op.table.scale > 1:
            index += 2 * family.adder((op.table.scale * (arg.high - arg.low)).bit_length())
        if self.program[op.arg].type.frac > op.table.frac and op.table.round is not Round.TRN:
            rounding = family.adder(len(op.table.values.data).bit_length()) + family.decision(op.table.round)
        return self.pipeline.lookup(at, index, rounding, f"op {op.name!r}")

    def lookup_through(self, op: Lookup) -> Slot | None:
        """A table read by the operands of the sum that it looks up; None if the sum's rounding must be seen."""
        total = self.program[op.arg]
        shifts = looked_through(op, total, self.known[op.arg])
        if shifts is None or not all(arg in self.slots for arg in total.args):
            return None
        low, high = self.known[op.arg].exact
        index = self.family.adder(smallest(low, high, 0).width) + self.family.constant + self.family.clamp
        if not self.pipeline.fits(index + self.family.table_in):
            return None
        return replace(self.pipeline.lookup(self.behind(total), index, 0.0, f"op {op.name!r}"), through=True)

    def place(self, op: Elementwise) -> Slot:
        """The first place of a lane op behind its operands."""
        family, known, pipeline, name = self.family, self.known[op.name], self.pipeline, f"op {op.name!r}"
        at = self.behind(op)
        if isinstance(op, Lookup):
            slot = self.lookup(op, at)
            through = self.lookup_through(op)
            return through if through is not None and through.stands < slot.stands else slot
        width = max(self.layer.widths(op))
        cast = family.cast(known.exact_frac, op.type, *known.exact)
        match op:
            case Mul() if not self.program.is_shift(op):
                return pipeline.product(at, self.layer.widths(op), cast, self.fold.multiplier == LOGIC, name)
            case Mul() | Cast() | Remainder():
                delay = 0.0
            case Add() | Sub():
                delay = family.adder(width)
            case Max() | Min():
                delay = family.comparison(width)
            case Select():
                delay = family.select
            case _:
                assert_never(op)
        return pipeline.operator(at, delay, cast, name)

    def place_reduction(self, op: Reduction) -> Slot:
        """A reduction's levels, each an op of its own with a register behind it: simple, and never slow."""
        size = self.program.sizes[op.arg]
        width = self.known[op.name].narrow(op.type).width
        level = self.family.comparison(width) if not isinstance(op, Total) else self.family.adder(width)
        level += self.family.cast(op.type.frac, op.type, *self.known[op.name].exact)
        levels = reduction_levels(size)
        at = self.when(op.arg, self.segment[op.name])
        start = self.pipeline.from_place(at, level, f"a level of op {op.name!r}").cycle
        if isinstance(op, Total) and self.program[op.arg].type.frac != op.type.frac:
            levels += 1
        return Slot(start, start + 1 + levels, 0.0)


def reduction_levels(size: int) -> int:
    """Levels of a tree over ``size`` elements."""
    return (size - 1).bit_length()
