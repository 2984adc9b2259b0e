# SPDX-License-Identifier: Apache-2.0
"""Places every op of a layer: operators chained within the clock period, engines aligned, states read early."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import ceil
from types import MappingProxyType
from typing import assert_never

from fxsim.arguments import index, integer
from fxsim.errors import FxsimError, show
from fxsim.program.ops import (
    AnyOp,
    Concat,
    Constant,
    Dot,
    Elementwise,
    Input,
    Leaf,
    Lookup,
    Move,
    Reduction,
    Slice,
    State,
)
from fxsim.program.program import Program

from .delays import Family
from .engines import Engines
from .folded import FoldedProgram
from .folds import (
    MOST_CYCLES,
    Fold,
    input_products,
    is_chained,
    known_bounds,
    legal_beats,
    units_of,
)
from .merged_sums import Absorbed, absorbable
from .pipeline import Place, Slot
from .placement import Places
from .reads import RESULT, Read, Way
from .schedule import LayerSchedule

#: Ops that look at their operands beat by beat.
_LOOKING = Elementwise | Reduction | Concat
#: Those whose own registers cannot keep a value until the next step.
_UNHELD = Lookup | Reduction


def schedule(program: Program, fold: Fold, family: Family, clock_mhz: float, ways: int = 1) -> LayerSchedule:
    """The schedule of one layer's program for ``ways`` interleaved sequences.

    Raises ``FxsimError`` for a folding that the program does not allow.
    """
    _check(program, fold)
    parked = input_products(program) if fold.input is not None and fold.beats > 1 else frozenset()
    chained = fold.beats == 1 and fold.reuse > 1 and is_chained(program)

    def make(absorbed: Mapping[str, Absorbed]) -> LayerSchedule:
        units, bounds = units_of(program), known_bounds(program)
        layer = FoldedProgram(program, fold, units, family, clock_mhz, ways, bounds, parked, chained, absorbed)
        return _with_opened(layer)

    best = make({})
    if fold.reuse == 1 and fold.input is None and family.compress and (sums := absorbable(program)):
        other = make(sums)
        return other if other.interval < best.interval else best
    return best


def _check(program: Program, fold: Fold) -> None:
    """Raise ``FxsimError`` for a fold that the program does not allow."""
    legal = legal_beats(program)
    if index(fold.beats) not in legal:
        raise FxsimError(f"beats must be one of {', '.join(map(str, legal))}, not {show(fold.beats)}")
    integer(fold.cycles, "cycles", 1, MOST_CYCLES)
    if fold.input is None:
        return
    if not input_products(program):
        raise FxsimError("input must be left out where no other product runs beside those of the input")
    integer(fold.input, "input", 1, MOST_CYCLES, note=" cycles")


def _with_opened(layer: FoldedProgram) -> LayerSchedule:
    """The better of a schedule with registers behind its states and one without."""
    plain = _Scheduler(layer, {})
    best = plain.run()
    offsets = plain.openable()
    if offsets:
        opened = _Scheduler(layer, offsets)
        other = opened.run()
        # The new places must bear out the offsets that they were found with.
        if opened.openable() == offsets and other.interval < best.interval:
            return other
    return best


class _Scheduler:
    """Places one layer's ops. ``opened``: states to be read out of their update's ops, and how late they stand (ns)."""

    def __init__(self, layer: FoldedProgram, opened: dict[str, float]) -> None:
        self.layer, self.program, self.fold, self.opened = layer, layer.program, layer.fold, opened
        self.places = Places(layer, opened)
        self.pipeline = self.places.pipeline
        self.shapes = Engines(layer, self.pipeline)

    def run(self) -> LayerSchedule:
        layer, program, places = self.layer, self.program, self.places
        self.find_segments()
        self.align_engines(0)
        self.find_entries()
        for op in program.ops:
            if isinstance(op, Dot):
                self.place_engine(op)
            elif op.name in layer.absorbed:
                engine = places.engines[layer.absorbed[op.name].dot]
                places.slots[op.name] = Slot(engine.product_cycle, engine.ready, engine.offset)
            elif isinstance(op, Elementwise):
                places.slots[op.name] = places.place(op)
            elif isinstance(op, Reduction):
                places.slots[op.name] = places.place_reduction(op)
            elif not isinstance(op, Leaf | Move):  # which have no place of their own
                assert_never(op)
        self.delay_engines()
        self.find_entries()
        # Through the buffer behind, which may be empty, into the next layer's register.
        at = places.when(program.output, places.segment[program.output])
        result = self.pipeline.from_place(at, places.family.select, "the result").cycle
        held: frozenset[str] = frozenset().union(*(self.cone_of(name) or () for name in self.opened))
        for name, offset in self.opened.items():
            for op in program.dots:
                if op.arg == name:
                    self.pipeline.reach(offset + self.shapes.into(places.engines[op.name]))
        reads = list(self.find_reads(held, result))
        return LayerSchedule(
            **vars(layer),
            engines=MappingProxyType(places.engines),
            slots=MappingProxyType(places.slots),
            segment=MappingProxyType(places.segment),
            segments=tuple(places.segments),
            collected=frozenset(places.collected),
            opened=frozenset(self.opened),
            held=held,
            enters=MappingProxyType(places.enters),
            reads=MappingProxyType({(read.reader, read.operand): read for read in reads}),
            interval=self.find_interval(reads),
            result=result,
            longest=self.pipeline.longest,
        )

    # -- segments ------------------------------------------------------------------------------------------------------
    def find_segments(self) -> None:
        """A product (over several cycles) of a vector computed in this step starts a new segment."""
        segment, collected = self.places.segment, self.places.collected
        for op in self.program.ops:
            before = max((segment[arg] for arg in op.args), default=0)
            if (
                isinstance(op, Dot)
                and self.fold.reuse > 1
                and not (self.layer.chained or self.places.stands_still(op.arg))
            ):
                before += 1
                collected.add(op.arg)
            segment[op.name] = before
        for op in self.program.ops:
            if isinstance(op, _LOOKING):
                for arg in op.args:
                    if not (self.places.stands_still(arg) or self.is_parked(arg)) and segment[arg] < segment[op.name]:
                        collected.add(arg)

    def is_parked(self, name: str) -> bool:
        """Whether an op is (part of) a vector that waits for the beats."""
        op = self.program[name]
        return name in self.layer.parked or (isinstance(op, Slice) and op.arg in self.layer.parked)

    # -- states --------------------------------------------------------------------------------------------------------
    def openable(self) -> dict[str, float]:
        """States whose products can start without a register in between, and how late in the cycle they then stand."""
        places = self.places
        found: dict[str, float] = {}
        if self.fold.beats > 1 or len(places.segments) > 1 or self.layer.ways > 1:
            return found
        for state in self.program.states:
            engines = [places.engines[op.name] for op in self.program.dots if op.arg == state.name]
            if not engines or self.cone_of(state.name) is None:
                continue
            # Behind the ops: at a sequence's first step the initial value is chosen instead.
            offset = places.slots[state.update].offset + places.family.select
            if all(self.pipeline.fits(offset + self.shapes.into(engine)) for engine in engines):
                found[state.name] = offset
        return found

    def cone_of(self, state: str) -> set[str] | None:
        """Ops between the registers before a state's next value and that value; None if those cannot keep it."""
        op = self.program[state]
        assert isinstance(op, State)
        slot = self.places.slots.get(op.update)
        return None if slot is None else self.cone(op.update, slot.cycle)

    def cone(self, name: str, cycle: int) -> set[str] | None:
        """Ops of ``cycle`` that ``name`` is made of in that cycle; None if they need something that cannot be held."""
        op, slot = self.program[name], self.places.slots.get(name)
        if isinstance(op, Constant):
            return set()
        stands = self.places.when(name, self.places.segment[name]).cycle
        if stands < cycle:
            return set()
        if slot is None or name in self.layer.absorbed or isinstance(op, _UNHELD):
            return None
        if slot.start < cycle:
            return {name}
        below = [self.cone(arg, cycle) for arg in op.args]
        if any(part is None for part in below):
            return None
        return {name}.union(*(part for part in below if part is not None))

    def find_entries(self) -> None:
        """Each state of interleaved sequences comes in the cycle before its first reader looks at it."""
        for state in self.program.states if self.layer.ways > 1 else ():
            first = min((first for _, first in self.first_looks(state.name)), default=0)
            if state.name not in self.places.enters and first > 0:
                self.places.enters[state.name] = first - 1

    def first_looks(self, name: str) -> Iterator[tuple[AnyOp, int]]:
        """Users of a vector that have a place already, with the first cycle in which they look at it."""
        names = {name} | {op.name for op in self.program.ops if isinstance(op, Slice) and op.arg == name}
        for op in self.program.ops:
            if names & set(op.args):
                if isinstance(op, Dot) and op.name in self.places.engines:
                    yield op, self.places.engines[op.name].reads
                elif op.name in self.places.slots:
                    yield op, self.places.slots[op.name].start - (self.fold.beats > 1)

    # -- engines -------------------------------------------------------------------------------------------------------
    def align_engines(self, segment: int) -> None:
        """Start the engines of a segment so that their results come together; a parked one's are chosen from first."""
        dots = [op for op in self.program.dots if self.places.segment[op.name] == segment]
        engines = {op.name: self.shapes.engine(op) for op in dots}
        ready = {name: self.places.usable(engine) for name, engine in engines.items()}
        for part in self.layer.absorbed.values():
            # What is absorbed stands in a register when the products do.
            term, engine = self.source(part.other), engines[part.dot]
            ready[term] = max(ready[term], engines[term].ready + 1 + engine.ready - engine.product_cycle)
        last = max(ready.values(), default=0)
        begin = self.places.segments[segment]
        for name, engine in engines.items():
            start = begin + last - ready[name]
            self.places.engines[name] = replace(engine, start=start, ready=engine.ready + start)

    def source(self, name: str) -> str:
        """The op that a name is (part of)."""
        op = self.program[name]
        return self.source(op.arg) if isinstance(op, Slice) else name

    def place_engine(self, op: Dot) -> None:
        places = self.places
        segment = places.segment[op.name]
        if segment >= len(places.segments):
            # Its operands are whole once the last beat of their op is in.
            args = [dot.arg for dot in self.program.dots if places.segment[dot.name] == segment]
            last = max(places.when(arg, places.segment[arg]).cycle for arg in args) + self.layer.tail
            places.segments.append(last + 1)
            self.align_engines(segment)
        elif (self.fold.reuse == 1 or self.layer.chained) and not self.places.stands_still(op.arg):
            engine, at = places.engines[op.name], places.when(op.arg, segment)
            if engine.busy == 1:
                at = self.pipeline.from_place(at, self.shapes.into(engine), f"a product of op {op.name!r}")
            elif at != Place(0, 0.0):
                # The operand stands for the engine's cycles in a register.
                at = Place(at.cycle + 1, 0.0)
            wait = max(at.cycle - engine.start, 0)
            places.engines[op.name] = replace(engine, start=engine.start + wait, ready=engine.ready + wait)

    def delay_engines(self) -> None:
        """Products of an input that moves with the token start as late as their users allow: it has fewer bits."""
        places, program = self.places, self.program
        for op in program.dots:
            source = program[op.arg]
            while isinstance(source, Slice):
                source = program[source.arg]
            if not (isinstance(source, Input) and self.layer.flows_input):
                continue
            parts = {op.name} | {part.name for part in program.ops if isinstance(part, Slice) and part.arg == op.name}
            users = [user for user in program.ops if parts & set(user.args) and user.name not in parts]
            if program.output in parts or not all(user.name in places.slots for user in users):
                continue
            engine = places.engines[op.name]
            # A cycle before they are used, so that no path becomes longer.
            wait = min((places.slots[user.name].start for user in users), default=0) - 1 - engine.ready
            if wait > 0:
                places.engines[op.name] = replace(engine, start=engine.start + wait, ready=engine.ready + wait)

    # -- reads ---------------------------------------------------------------------------------------------------------
    def find_reads(self, held: frozenset[str], result: int) -> Iterator[Read]:
        """Where each op finds each operand, once everything has its place."""
        places, program = self.places, self.program
        for op in program.ops:
            segment = places.segment[op.name]
            if isinstance(op, Dot):
                yield self.engine_read(op)
            elif op.name in self.layer.absorbed:
                part = self.layer.absorbed[op.name]
                yield self.read(op.name, part.other, segment, places.engines[part.dot].product_cycle)
            elif isinstance(op, Concat):
                cycle = max(self.stands(arg, segment) for arg in op.args)
                for arg in op.args:
                    yield self.read(op.name, arg, segment, cycle)
            elif isinstance(op, Slice) and op.name in places.collected:
                # It looks at its own elements only.
                whole = self.read(op.name, op.arg, segment, self.stands(op.arg, segment))
                yield replace(whole, origin=places.origin(op.name, segment))
            elif op.name in places.slots:
                slot = places.slots[op.name]
                looked_through = isinstance(op, Lookup) and slot.through
                for arg in dict.fromkeys(program[op.args[0]].args if looked_through else op.args):
                    # An op without a register that keeps its value keeps those operands that do not keep theirs.
                    apart = op.name in held and slot.start == slot.cycle and arg not in held
                    kept = apart and not isinstance(program[arg], Constant)
                    yield self.read(op.name, arg, segment, slot.start - kept, kept)
        output = program.output
        yield self.read(RESULT, output, places.segment[output], result)

    def engine_read(self, op: Dot) -> Read:
        """Where an engine finds its vector."""
        engine, segment = self.places.engines[op.name], self.places.segment[op.name]
        found = self.places.origin(op.arg, segment)
        last = engine.reads + (engine.beats - 1) * self.fold.cycles + engine.busy - 1
        if op.arg in self.opened:
            return Read(op.name, op.arg, replace(found, way=Way.OPENED), segment, engine.reads, last)
        if found.way is Way.CHOSEN:
            # It sees the whole vector, and chooses among its elements itself.
            found = replace(found, way=Way.STANDING)
        if found.way is Way.STANDING:
            return Read(op.name, op.arg, found, segment, engine.reads, last)
        # In a register of its own for as long as the products take.
        kept = self.layer.chained and engine.busy > 1 and engine.start > 0
        return Read(op.name, op.arg, found, segment, engine.start - kept, last, kept)

    def read(self, reader: str, operand: str, segment: int, cycle: int, kept: bool = False) -> Read:
        """An op that looks once a beat."""
        found = self.places.origin(operand, segment)
        first = cycle - (found.way is Way.CHOSEN)
        return Read(reader, operand, found, segment, cycle, first + self.layer.tail, kept)

    def stands(self, name: str, segment: int) -> int:
        """The cycle of beat 0 in which an operand first stands."""
        found = self.places.origin(name, segment)
        op = self.program[found.op]
        if found.way not in (Way.PASSING, Way.RELAYED):
            return self.places.segments[segment]
        if isinstance(op, Concat):
            return max(self.stands(arg, segment) for arg in op.args)
        return self.places.when(found.op, segment).cycle

    # -- interval ------------------------------------------------------------------------------------------------------
    def find_interval(self, reads: list[Read]) -> int:
        """Cycles between tokens: as many as engines, registers and states need."""
        layer, program, places = self.layer, self.program, self.places
        need = [self.fold.reuse, self.fold.input or 1]

        # What only joins or hands on takes its operands as they come.
        working = {op.name for op in program.ops if not isinstance(op, Concat | Slice)}

        def of(name: str) -> list[Read]:
            return [read for read in reads if read.origin.op == name and read.reader in working]

        if not layer.flows_input:
            # The next token overwrites the input register.
            need += [read.last + 1 for read in of(program.input.name)]
        for state in program.states:
            cycle = places.when(state.update, places.segment[state.update]).cycle
            if layer.ways > 1:
                # Written at the end of that cycle, read a cycle before it enters with the sequence's next token.
                enters = places.enters.get(state.name, 0)
                need.append(ceil((cycle + layer.tail + 2 - enters) / layer.ways))
                if not layer.flows_state:
                    need += [read.last + 1 - enters for read in of(state.name)]
                continue
            whole = any(op.arg == state.name for op in program.dots)
            for read in of(state.name):
                # A register later, but for products that read an opened state.
                later = read.origin.way is not Way.OPENED
                need.append(cycle + later + (layer.tail if whole else 0) - read.first)
        for name in layer.parked:
            for ready, _, beat in layer.turns(places.engines[name]):
                need += [read.first + beat * self.fold.cycles - ready for read in of(name)]
        for name in places.collected:
            cycle = places.when(name, places.segment[name]).cycle
            need += [read.last - cycle + 1 for read in of(name)]
        return max(need)
