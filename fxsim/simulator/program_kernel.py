# SPDX-License-Identifier: Apache-2.0
"""A program's way over all steps of a block of sequences.

Within a step, matrix products are loops of their own (``dot.py``); runs of elementwise ops become one loop whose
values never leave the registers (``fused_loop.py``). Every value has the narrowest word that the bounds of
``ranges.py`` prove to hold it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import assert_never

from ..program.ops import (
    Concat,
    Constant,
    Dot,
    Elementwise,
    Largest,
    Leaf,
    Lookup,
    OneHot,
    Reduction,
    Slice,
    State,
    Total,
)
from ..program.program import Program
from ..program.ranges import bounds
from . import dot, fused_loop, reductions
from .llvm import word
from .memory import WORDS, Frame, Kept, Rows, wants_count
from .operands import Vectors
from .widths import check

#: An op that computes or copies, or elementwise ops of one size that are one loop.
Stage = Dot | Concat | Reduction | list[Elementwise]


@dataclass(frozen=True)
class Spot:
    """Where a tensor of a block begins: a pointer, and what of it a step is; words of ``bits``.

    Step ``t`` stands ``offset + t * stride`` bytes behind it, or, ``backward``, as far as the last one's but t.
    """

    base: str
    offset: int
    stride: int
    bits: int
    backward: bool = False


class Pass(Vectors):
    """A program's way over all steps of a block, as part of a network's function."""

    def __init__(self, frame: Frame, prefix: str, program: Program, steps: int) -> None:
        wanted = frame.wanted
        whole = {op.name: [(op.type.min, op.type.max)] * op.elements for op in program.states}
        super().__init__(frame, prefix, program, bounds(program, whole if wanted.given else None))
        check(program, self.bounds)
        self.steps = steps
        self.traced = [op.name for op in program.ops if self.full(op.name) in wanted.trace]
        # A table is cast once, when it is built: nothing leaves its format at run time.
        may = [op.name for op in program.ops if self.bounds[op.name].overflows and not isinstance(op, Lookup)]
        self.counted = [name for name in may if wants_count(wanted, self.full(name))]
        self.stages = plan(program)
        self.stored = stored(program, self.stages, self.traced)
        for op in program.states if wanted.states else ():
            frame.states[self.full(op.name)] = Kept(1, op.elements, self.bits(op.name))
        for name in self.counted:
            # As many as all elements of all steps.
            frame.counts[self.full(name)] = Kept(1, 1, word(0, max(1 << 16, steps * self.size(name))))
        for name in self.traced:
            frame.trace[self.full(name)] = Kept(steps, self.size(name), self.bits(name))

    def emit(self, sources: Sequence[Spot], to: Spot, *, last: bool) -> None:
        """Write the program's pass over all steps: from inputs at ``sources`` to results, or the ``last`` one."""
        code, program, frame, steps = self.code, self.program, self.frame, self.steps
        mark = frame.memory.size
        code.work = self.prefix
        self.counters = {name: frame.kept(frame.counts, self.full(name)) for name in self.counted}
        traces = {name: frame.kept(frame.trace, self.full(name)) for name in self.traced}
        for op in program.ops:
            if isinstance(op, Constant | State):
                self.places[op.name] = self.fresh(op.name, program.sizes[op.name], self.bits(op.name))
                self.begin(op)
        old = isinstance(program[base(program, program.output)], State)
        with code.loop(steps) as t:
            turned = t
            if any(spot.backward for spot in (*sources, to)) and steps > 1:
                turned = code.op(f"sub nsw i64 {steps - 1}, {t}")
            for op, spot in zip(program.inputs, sources, strict=True):
                at = turned if spot.backward else t
                here = code.address(spot.base, spot.offset, *([(at, spot.stride)] if spot.stride else []))
                here = code.tensor(here, op.elements * frame.row(spot.bits), self.full(op.name))
                self.places[op.name] = Rows(here, 0, spot.bits)
            for stage in self.stages:
                self.stage(stage, t)
            for name, place in traces.items():
                code.work = f"trace of {self.full(name)}"
                rows, bits = program.sizes[name], self.bits(name)
                self.copy(name, Rows(code.address(place, 0, (t, rows * frame.row(bits))), 0, bits))
            code.work = f"result of {self.prefix}"
            if not last:
                at = turned if to.backward else t
                self.copy(program.output, Rows(code.address(to.base, to.offset, (at, to.stride)), 0, to.bits))
            elif old:
                self.copy(program.output, Rows(to.base, to.offset, to.bits))
            self.update()
        code.work = f"result of {self.prefix}"
        if last and not old:
            self.copy(program.output, Rows(to.base, to.offset, to.bits))
        if frame.wanted.states:
            for op in program.states:
                place = frame.kept(frame.states, self.full(op.name))
                self.copy(op.name, Rows(place, 0, self.bits(op.name)))
        frame.memory.leave(mark)

    def begin(self, op: State | Constant) -> None:
        """Fill a constant, or a state before the first step."""
        code, frame, rows = self.code, self.frame, self.places[op.name]
        code.work = self.full(op.name)
        if isinstance(op, State) and frame.wanted.states:
            place = frame.kept(frame.states, self.full(op.name))
            self.move(Rows(place, 0, rows.bits), rows, op.elements)
            return
        first = op.values.data if isinstance(op, Constant) else op.init.data if op.init else None
        if first is None:
            zero = code.constant(0, rows.bits)
            self.each(self.program.sizes[op.name], lambda at: self.put(zero, rows, at))
            return
        values = self.constants(op.name, first.astype(WORDS[rows.bits]), "values")
        vectors = self.frame.vectors
        if frame.single:
            self.move(Rows(values, 0, rows.bits), rows, first.size)
            return
        with code.loop(first.size) as j, code.loop(vectors) as v:
            one = code.splat(code.address(values, 0, (j, rows.bits // 8)), rows.bits)
            self.put(one, rows, self.position(j, v))

    def stage(self, stage: Stage, t: str) -> None:
        self.code.work = self.full((stage[0] if isinstance(stage, list) else stage).name)
        match stage:
            case list():
                fused_loop.emit(self, stage, self.stored)
            case Dot():
                dot.emit(self, stage, t)
            case Concat():
                reductions.concat(self, stage)
            case Total() | Largest() | OneHot():
                reductions.emit(self, stage)
            case _:
                assert_never(stage)

    def update(self) -> None:
        """States take their next values; a state that follows another state does so before that one changes."""
        program = self.program
        self.code.work = f"states of {self.prefix}"
        later = []
        for op in program.states:
            if isinstance(program[base(program, op.update)], State):
                aside = self.fresh(op.name, op.elements, self.bits(op.name), "next")
                self.copy(op.update, aside)
                later.append((op, aside))
        for op in program.states:
            if not isinstance(program[base(program, op.update)], State):
                self.copy(op.update, self.places[op.name])
        for op, aside in later:
            self.move(aside, self.places[op.name], op.elements)


def plan(program: Program) -> list[Stage]:
    """Ops in order; runs of elementwise ones of a size, which need no element but their own, are one stage."""
    stages: list[Stage] = []
    group: list[Elementwise] = []
    for op in program.ops:
        if isinstance(op, Leaf | Slice):
            continue
        if not isinstance(op, Elementwise):
            group = []
            stages.append(op)
            continue
        inside = {member.name for member in group}
        alike = bool(group) and program.sizes[op.name] == program.sizes[group[0].name]
        bases = {base(program, name) for name in op.args if isinstance(program[name], Slice)}
        if not alike or bases & inside:
            group = []
            stages.append(group)
        group.append(op)
    return stages


def base(program: Program, name: str) -> str:
    """The op of which this one is a view, or itself."""
    op = program[name]
    while isinstance(op, Slice):
        op = program[op.arg]
    return op.name


def stored(program: Program, stages: list[Stage], traced: Iterable[str]) -> set[str]:
    """Ops that must stand in memory: those that another stage, the next step or the caller reads."""
    found = {base(program, program.output), *(base(program, op.update) for op in program.states)}
    found |= {base(program, name) for name in traced}
    for stage in stages:
        ops = stage if isinstance(stage, list) else [stage]
        inside = {op.name for op in ops} if isinstance(stage, list) else set()
        found |= {base(program, name) for op in ops for name in op.args if name not in inside}
    return found
