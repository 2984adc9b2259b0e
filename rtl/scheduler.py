# SPDX-License-Identifier: Apache-2.0
"""Places every op of a layer: operators chained within the clock period, engines aligned, states read early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil

from fxsim.arguments import index, integer
from fxsim.errors import FxsimError, show
from fxsim.program import (
    Concat,
    Constant,
    Dot,
    Input,
    Lookup,
    Op,
    Program,
    Slice,
    State,
)

from .absorb import absorbable
from .delays import Family
from .folds import (
    LANE,
    MOST_CYCLES,
    REDUCTIONS,
    Fold,
    input_products,
    is_chained,
    legal_beats,
    units_of,
)
from .pipeline import Place, Slot
from .places import Places
from .schedule import LayerSchedule


def schedule(program: Program, fold: Fold, family: Family, clock_mhz: float, ways: int = 1) -> LayerSchedule:
    """The schedule of one layer's program for ``ways`` interleaved sequences.

    Raises ``FxsimError`` for a folding that the program does not allow.
    """

    def make() -> LayerSchedule:
        return LayerSchedule(program, fold, units_of(program), family, clock_mhz, ways)

    best = _with_opened(make)
    if fold.reuse == 1 and fold.input is None and family.compress and (sums := absorbable(program)):
        other = _with_opened(lambda: replace(make(), absorbed=dict(sums)))
        return other if other.interval < best.interval else best
    return best


def _with_opened(make: Callable[[], LayerSchedule]) -> LayerSchedule:
    """The better of a schedule with registers behind its states and one without."""
    plain = _Scheduler(make(), {})
    best = plain.run()
    offsets = plain.openable()
    if offsets:
        opened = _Scheduler(make(), offsets)
        other = opened.run()
        # The new places must bear out the offsets that they were found with.
        if opened.openable() == offsets and other.interval < best.interval:
            return other
    return best


class _Scheduler(Places):
    """Places one layer's ops. ``opened``: states to be read out of their update's ops, and how late they stand (ns)."""

    def __init__(self, plan: LayerSchedule, opened: dict[str, float]) -> None:
        program, fold = plan.program, plan.fold
        legal = legal_beats(program)
        if index(fold.beats) not in legal:
            raise FxsimError(f"beats must be one of {', '.join(map(str, legal))}, not {show(fold.beats)}")
        integer(fold.cycles, "cycles", 1, MOST_CYCLES)
        self.check_input(program, fold)
        super().__init__(plan)
        self.opened = opened
        plan.segments = [0]
        if fold.input is not None and fold.beats > 1:
            plan.parked |= input_products(program)
        plan.chained = fold.beats == 1 and fold.reuse > 1 and is_chained(program)

    @staticmethod
    def check_input(program: Program, fold: Fold) -> None:
        if fold.input is None:
            return
        if not input_products(program):
            raise FxsimError("input must be left out where no other product runs beside those of the input")
        integer(fold.input, "input", 1, MOST_CYCLES, note=" cycles")

    def run(self) -> LayerSchedule:
        plan, program = self.plan, self.program
        self.find_segments()
        self.align_engines(0)
        self.find_entries()
        for op in program.ops:
            if isinstance(op, Dot):
                self.place_engine(op)
            elif op.name in plan.absorbed:
                engine = plan.engines[plan.absorbed[op.name].dot]
                plan.slots[op.name] = Slot(engine.product_cycle, engine.ready, engine.offset)
            elif isinstance(op, LANE):
                plan.slots[op.name] = self.place(op)
            elif isinstance(op, REDUCTIONS):
                plan.slots[op.name] = self.place_reduction(op)
        self.delay_engines()
        self.find_entries()
        output = program.output
        # Through the buffer behind, which may be empty, into the next layer's register.
        at = self.when(output, plan.segment[output])
        plan.result = self.pipeline.from_place(at, self.family.select, "the result").cycle
        for name in self.opened:
            plan.opened.add(name)
            plan.held |= self.cone_of(name) or set()
        for name, offset in self.opened.items():
            for op in program.dots:
                if op.arg == name:
                    self.pipeline.reach(offset + self.engines.into(plan.engines[op.name]))
        plan.longest = self.pipeline.longest
        plan.interval = self.find_interval()
        return plan

    # -- segments ------------------------------------------------------------------------------------------------------
    def find_segments(self) -> None:
        """A product (over several cycles) of a vector computed in this step starts a new segment."""
        segment = self.plan.segment
        for op in self.program.ops:
            before = max((segment[arg] for arg in op.args), default=0)
            if isinstance(op, Dot) and self.fold.reuse > 1 and not (self.plan.chained or self.is_held(op.arg)):
                before += 1
                self.plan.collected.add(op.arg)
            segment[op.name] = before
        for op in self.program.ops:
            if isinstance(op, (*LANE, *REDUCTIONS, Concat)):
                for arg in op.args:
                    if not (self.is_held(arg) or self.is_parked(arg)) and segment[arg] < segment[op.name]:
                        self.plan.collected.add(arg)

    def is_parked(self, name: str) -> bool:
        """Whether an op is (part of) a vector that waits for the beats."""
        op = self.program[name]
        return name in self.plan.parked or (isinstance(op, Slice) and op.arg in self.plan.parked)

    # -- states --------------------------------------------------------------------------------------------------------
    def openable(self) -> dict[str, float]:
        """States whose products can start without a register in between, and how late in the cycle they then stand."""
        plan = self.plan
        found: dict[str, float] = {}
        if self.fold.beats > 1 or len(plan.segments) > 1 or plan.ways > 1:
            return found
        for state in self.program.states:
            engines = [plan.engines[op.name] for op in self.program.dots if op.arg == state.name]
            if not engines or self.cone_of(state.name) is None:
                continue
            # Behind the ops: at a sequence's first step the initial value is chosen instead.
            offset = plan.slots[state.update].offset + self.family.select
            if all(self.pipeline.fits(offset + self.engines.into(engine)) for engine in engines):
                found[state.name] = offset
        return found

    def cone_of(self, state: str) -> set[str] | None:
        """Ops between the registers before a state's next value and that value; None if those cannot keep it."""
        op = self.program[state]
        assert isinstance(op, State)
        slot = self.plan.slots.get(op.update)
        return None if slot is None else self.cone(op.update, slot.cycle)

    def cone(self, name: str, cycle: int) -> set[str] | None:
        """Ops of ``cycle`` that ``name`` is made of in that cycle; None if they need something that cannot be held."""
        op, slot = self.program[name], self.plan.slots.get(name)
        if isinstance(op, Constant):
            return set()
        stands = self.when(name, self.plan.segment[name]).cycle
        if stands < cycle:
            return set()
        if slot is None or name in self.plan.absorbed or isinstance(op, (Lookup, *REDUCTIONS)):
            return None
        if slot.start < cycle:
            return {name}
        below = [self.cone(arg, cycle) for arg in op.args]
        if any(part is None for part in below):
            return None
        return {name}.union(*(part for part in below if part is not None))

    def find_entries(self) -> None:
        """Each state of interleaved sequences comes in the cycle before its first reader looks at it."""
        for state in self.program.states if self.plan.ways > 1 else ():
            first = min((first for op, first, _ in self.reads(state.name)), default=0)
            if state.name not in self.plan.enters and first > 0:
                self.plan.enters[state.name] = first - 1

    # -- engines -------------------------------------------------------------------------------------------------------
    def align_engines(self, segment: int) -> None:
        """Start the engines of a segment so that their results come together; a parked one's are chosen from first."""
        dots = [op for op in self.program.dots if self.plan.segment[op.name] == segment]
        engines = {op.name: self.engines.engine(op) for op in dots}
        ready = {name: self.usable(engine) for name, engine in engines.items()}
        for part in self.plan.absorbed.values():
            # What is absorbed stands in a register when the products do.
            term, engine = self.source(part.other), engines[part.dot]
            ready[term] = max(ready[term], engines[term].ready + 1 + engine.ready - engine.product_cycle)
        last = max(ready.values(), default=0)
        begin = self.plan.segments[segment]
        for name, engine in engines.items():
            start = begin + last - ready[name]
            self.plan.engines[name] = replace(engine, start=start, ready=engine.ready + start)

    def source(self, name: str) -> str:
        """The op that a name is (part of)."""
        op = self.program[name]
        return self.source(op.arg) if isinstance(op, Slice) else name

    def place_engine(self, op: Dot) -> None:
        plan = self.plan
        segment = plan.segment[op.name]
        if segment >= len(plan.segments):
            # Its operands are whole once the last beat of their op is in.
            args = [dot.arg for dot in self.program.dots if plan.segment[dot.name] == segment]
            plan.segments.append(max(self.when(arg, plan.segment[arg]).cycle for arg in args) + plan.tail + 1)
            self.align_engines(segment)
        elif (self.fold.reuse == 1 or plan.chained) and not self.is_held(op.arg):
            engine, at = plan.engines[op.name], self.when(op.arg, segment)
            if engine.busy == 1:
                at = self.pipeline.from_place(at, self.engines.into(engine), f"a product of op {op.name!r}")
            elif at != Place(0, 0.0):
                # The operand stands for the engine's cycles in a register.
                at = Place(at.cycle + 1, 0.0)
            wait = max(at.cycle - engine.start, 0)
            plan.engines[op.name] = replace(engine, start=engine.start + wait, ready=engine.ready + wait)

    def delay_engines(self) -> None:
        """Products of an input that moves with the token start as late as their users allow: it has fewer bits."""
        plan, program = self.plan, self.program
        for op in program.dots:
            source = program[op.arg]
            while isinstance(source, Slice):
                source = program[source.arg]
            if not (isinstance(source, Input) and plan.flows_input):
                continue
            parts = {op.name} | {part.name for part in program.ops if isinstance(part, Slice) and part.arg == op.name}
            users = [user for user in program.ops if parts & set(user.args) and user.name not in parts]
            if program.output in parts or not all(user.name in plan.slots for user in users):
                continue
            engine = plan.engines[op.name]
            # A cycle before they are used, so that no path becomes longer.
            wait = min((plan.slots[user.name].start for user in users), default=0) - 1 - engine.ready
            if wait > 0:
                plan.engines[op.name] = replace(engine, start=engine.start + wait, ready=engine.ready + wait)

    # -- interval ------------------------------------------------------------------------------------------------------
    def reads(self, name: str) -> list[tuple[Op, int, int]]:
        """Users of a held vector, with the first and last cycle in which they look at it."""
        plan, fold = self.plan, self.fold
        names = {name} | {op.name for op in self.program.ops if isinstance(op, Slice) and op.arg == name}
        found: list[tuple[Op, int, int]] = []
        for op in self.program.ops:
            if not names & set(op.args) or isinstance(op, Slice):
                continue
            if isinstance(op, Dot) and op.name in plan.engines:
                engine = plan.engines[op.name]
                last = engine.reads + (engine.beats - 1) * fold.cycles + engine.busy - 1
                found.append((op, engine.reads, last))
            elif op.name in plan.slots:
                first = plan.slots[op.name].start - (fold.beats > 1)
                found.append((op, first, first + plan.tail))
        return found

    def find_interval(self) -> int:
        plan, program = self.plan, self.program
        need = [self.fold.reuse, self.fold.input or 1]
        if not plan.flows_input:
            # The next token overwrites the input register.
            need += [last + 1 for _, _, last in self.reads(program.input.name)]
        for state in program.states:
            cycle = self.when(state.update, plan.segment[state.update]).cycle
            if plan.ways > 1:
                # Written at the end of that cycle, read a cycle before it enters with the sequence's next token.
                enters = plan.enters.get(state.name, 0)
                need.append(ceil((cycle + plan.tail + 2 - enters) / plan.ways))
                if not plan.flows_state:
                    need += [last + 1 - enters for _, _, last in self.reads(state.name)]
                continue
            whole = any(isinstance(op, Dot) and op.arg == state.name for op in program.ops)
            for op, first, _ in self.reads(state.name):
                # A register later, but for products that read an opened state.
                later = not (state.name in self.opened and isinstance(op, Dot) and op.arg == state.name)
                need.append(cycle + later + (plan.tail if whole else 0) - first)
        for name in plan.parked:
            for ready, _, beat in plan.turns(plan.engines[name]):
                need += [first + beat * self.fold.cycles - ready for _, first, _ in self.reads(name)]
        for name in plan.collected:
            cycle = self.when(name, plan.segment[name]).cycle
            need += [last - cycle + 1 for _, _, last in self.reads(name)]
        return max(need)
