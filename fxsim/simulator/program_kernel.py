# SPDX-License-Identifier: Apache-2.0
"""A program's way over all steps of a block of sequences.

Within a step, matrix products are loops of their own (``dot.py``); runs of elementwise ops become one loop whose
values never leave the registers (``fused_loop.py``). Every value has the narrowest word that the bounds of
``ranges.py`` prove to hold it.
"""

from __future__ import annotations

from collections.abc import Iterable
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
class Flow:
    """What a layer passes over: its steps of elements in words of ``input_bits``, and its result."""

    steps: int
    elements: int
    input_bits: int
    output_steps: int
    output_elements: int
    output_bits: int
    output_rows: int


class Pass(Vectors):
    """A program's way over all steps of a block, as part of a network's function."""

    def __init__(self, frame: Frame, flow: Flow, prefix: str, program: Program) -> None:
        wanted = frame.wanted
        whole = {op.name: [(op.type.min, op.type.max)] * op.elements for op in program.states}
        super().__init__(frame, prefix, program, bounds(program, whole if wanted.given else None))
        check(program, self.bounds)
        self.flow = flow
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
            frame.counts[self.full(name)] = Kept(1, 1, word(0, max(1 << 16, flow.steps * self.size(name))))
        for name in self.traced:
            frame.trace[self.full(name)] = Kept(flow.steps, self.size(name), self.bits(name))

    def emit(self, source: str, to: str, first: int, *, backward: bool) -> None:
        """Write the program's pass over all steps: from inputs at ``source`` to results at ``to``.

        ``first`` is where they begin among the elements of a step's result.
        """
        code, flow, program, frame = self.code, self.flow, self.program, self.frame
        mark = frame.memory.size
        code.work = self.prefix
        self.counters = {name: frame.kept(frame.counts, self.full(name)) for name in self.counted}
        traces = {name: frame.kept(frame.trace, self.full(name)) for name in self.traced}
        for op in program.ops:
            if isinstance(op, Constant | State):
                self.places[op.name] = self.fresh(op.name, program.sizes[op.name], self.bits(op.name))
                self.begin(op)
        all_rows = flow.output_elements
        first_row = frame.row(flow.output_bits) * first
        last_only = flow.output_steps != flow.steps
        old = isinstance(program[base(program, program.output)], State)
        with code.loop(flow.steps) as t:
            step = t
            if backward and flow.steps > 1:
                step = code.op(f"sub nsw i64 {flow.steps - 1}, {t}")
            size = flow.elements * frame.row(flow.input_bits)
            here = code.tensor(code.address(source, 0, (step, size)), size, self.full(program.input.name))
            self.places[program.input.name] = Rows(here, 0, flow.input_bits)
            for stage in self.stages:
                self.stage(stage, t)
            for name, place in traces.items():
                code.work = f"trace of {self.full(name)}"
                rows, bits = program.sizes[name], self.bits(name)
                self.copy(name, Rows(code.address(place, 0, (step, rows * frame.row(bits))), 0, bits))
            code.work = f"result of {self.prefix}"
            if not last_only:
                row = all_rows * frame.row(flow.output_bits)
                self.copy(program.output, Rows(code.address(to, first_row, (step, row)), 0, flow.output_bits))
            elif old:
                self.copy(program.output, Rows(to, first_row, flow.output_bits))
            self.update()
        code.work = f"result of {self.prefix}"
        if last_only and not old:
            self.copy(program.output, Rows(to, first_row, flow.output_bits))
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
