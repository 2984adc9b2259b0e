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

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import ceil

from fxsim.errors import FxsimError
from fxsim.fixed import Overflow
from fxsim.program import (
    Add,
    Cast,
    Concat,
    Constant,
    Dot,
    Input,
    Largest,
    Lookup,
    Max,
    Min,
    Mul,
    OneHot,
    Op,
    Program,
    Select,
    Slice,
    State,
    Sub,
    Total,
)
from fxsim.ranges import Bounds, bounds

from .delays import Family

LANE = (Add, Sub, Mul, Max, Min, Select, Cast, Lookup)
REDUCTIONS = (Total, Largest, OneHot)
#: Most cycles that a beat may take; a counter of the gateware counts them.
MOST_CYCLES = 1 << 24


@dataclass(frozen=True)
class Fold:
    """How a layer's work is spread over time: ``beats`` groups of units, ``cycles`` clock cycles each."""

    beats: int = 1
    cycles: int = 1

    @property
    def reuse(self) -> int:
        """Cycles in which the engines work on one step."""
        return self.beats * self.cycles


@dataclass(frozen=True)
class Engine:
    """A matrix product: ``rows`` outputs a beat, in ``passes`` groups, each from ``depth`` cycles of ``width`` inputs.

    ``start`` is the cycle of its first slot; ``ready`` and ``offset`` the cycle and the delay (ns) within it at which
    beat 0's results stand. ``registers[i]`` says whether a register stands before adder level i (the last one: before
    the accumulator). ``ordered``: a saturating sum, one product at a time.
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
    def constant(self) -> bool:
        """Whether every multiplier has one weight for ever."""
        return self.steps * self.beats * self.busy == 1

    @property
    def selected(self) -> bool:
        """Whether a counter says which product it is (a register stage before the multipliers).

        It chooses weights and operands, and tells an ordered sum, even of one product, when to begin.
        """
        return self.ordered or not self.constant

    @property
    def accumulates(self) -> bool:
        """Whether partial sums are kept from cycle to cycle."""
        return self.depth > 1 or self.ordered

    @property
    def multipliers(self) -> int:
        """Products a cycle."""
        return self.rows // self.passes * self.width

    @property
    def product_cycle(self) -> int:
        """Cycle in which the products of slot 0 stand in their registers."""
        return self.start + self.selected + 1


@dataclass(frozen=True)
class Slot:
    """A lane op of beat 0: operands stand together in cycle ``start``, the result in ``cycle`` after ``offset`` ns."""

    start: int
    cycle: int
    offset: float


@dataclass
class LayerSchedule:
    """Everything about the time of one layer; see the fields of the classes above.

    ``segments`` are the cycles at which each group of beats starts: a matrix product of something computed in the
    step begins a new one. ``collected`` are the ops kept as whole vectors between segments. ``interval``: cycles
    between tokens; ``latency``: edges from the one that takes a token to the first at which its result stands.
    """

    program: Program
    fold: Fold
    units: int
    family: Family
    clock_mhz: float
    engines: dict[str, Engine] = field(default_factory=dict)
    slots: dict[str, Slot] = field(default_factory=dict)
    segment: dict[str, int] = field(default_factory=dict)
    segments: list[int] = field(default_factory=list)
    collected: set[str] = field(default_factory=set)
    bounds: dict[str, Bounds] = field(default_factory=dict)
    interval: int = 1
    latency: int = 0

    @property
    def lanes(self) -> int:
        """Units worked on at once."""
        return self.units // self.fold.beats

    @property
    def flows_input(self) -> bool:
        """Whether the input moves with the token; else it is held for the cycles of the step."""
        return self.fold.reuse == 1

    @property
    def multipliers(self) -> int:
        """Multipliers of engines and lanes."""
        return sum(e.multipliers for e in self.engines.values()) + lane_multipliers(self.program, self.fold, self.units)

    @property
    def tail(self) -> int:
        """Cycles from beat 0 to the last beat."""
        return (self.fold.beats - 1) * self.fold.cycles


def lane_multipliers(program: Program, fold: Fold, units: int) -> int:
    """Multipliers of the element-wise products; a constant factor that is a power of two costs none."""
    total = 0
    for op in program.ops:
        if isinstance(op, Mul) and not any(_power_of_two(program[arg]) for arg in op.args):
            size = program.sizes[op.name]
            total += size // fold.beats if size == units else size
    return total


def _power_of_two(op: Op) -> bool:
    return isinstance(op, Constant) and all(v > 0 and v & (v - 1) == 0 for v in map(int, op.values.data))


def units_of(program: Program) -> int:
    """Elements of the result: the units that beats divide."""
    return program.elements


def regular(program: Program) -> bool:
    """Whether every op works unit by unit (or is a product whose outputs are whole sets of units)."""
    units = units_of(program)
    for op in program.ops:
        size = program.sizes[op.name]
        if isinstance(op, Dot):
            if size % units:
                return False
        elif isinstance(op, Slice):
            if not isinstance(program[op.arg], Dot) or op.start % units or size != units:
                return False
        elif isinstance(op, (Concat, *REDUCTIONS)):
            return False
        elif isinstance(op, (*LANE, Constant)):
            if size not in (1, units):
                return False
        elif isinstance(op, State) and size != units:
            return False
    # An input used unit by unit must have units elements.
    lanes = {arg for op in program.ops if isinstance(op, LANE) for arg in op.args}
    return program.input.name not in lanes or program.input.elements == units


def legal_beats(program: Program) -> list[int]:
    """Numbers of beats that divide the layer's units; 1 alone where ops cross units."""
    units = units_of(program)
    return [g for g in range(1, units + 1) if units % g == 0] if regular(program) else [1]


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


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def engine_shape(op: Dot, rows: int, beats: int, cycles: int, ordered: bool) -> tuple[int, int] | None:
    """(passes, width) with the fewest multipliers that finishes a beat in ``cycles``; None if none does."""
    inputs = op.weights.shape[-2]
    best: tuple[int, int, int] | None = None
    for passes in _divisors(rows):
        if passes > cycles:
            break
        room = cycles // passes
        width = 1 if ordered else ceil(inputs / min(room, inputs))
        if ceil(inputs / width) > room:
            continue
        # Of equal cost, fewer passes: results come together.
        cost = rows // passes * width
        if best is None or cost < best[0]:
            best = (cost, passes, width)
    return None if best is None else best[1:]


def _rows(program: Program, op: Dot, fold: Fold) -> int:
    return program.sizes[op.name] // fold.beats


def fold_for_reuse(program: Program, reuse: int) -> Fold:
    """The folding with the fewest multipliers whose engines work at most ``reuse`` cycles a step.

    Raises ``FxsimError`` with the legal values if ``reuse`` is outside them.
    """
    least = least_reuse(program)
    if not least <= reuse:
        raise FxsimError(
            f"reuse must be at least {least}, not {reuse}: a saturating accumulator adds one product a cycle, in order"
        )
    # Of equal multipliers the faster one; of equal speed more beats, whose results need fewer and narrower registers.
    return min(folds(program, reuse), key=lambda fold: (fold_multipliers(program, fold), fold.reuse, -fold.beats))


def least_reuse(program: Program) -> int:
    """Smallest reuse: 1, or the inputs of a product whose accumulator saturates."""
    known = known_bounds(program)
    return max((op.weights.shape[-2] for op in program.dots if is_ordered(op, known[op.name])), default=1)


def folds(program: Program, reuse: int) -> Iterator[Fold]:
    """The useful foldings of at most ``reuse`` cycles: for each number of beats, the one that uses them best."""
    known = known_bounds(program)
    for beats in legal_beats(program):
        if beats > reuse:
            break
        cycles = reuse // beats
        busy = 1
        for op in program.dots:
            rows = _rows(program, op, Fold(beats))
            shape = engine_shape(op, rows, beats, cycles, is_ordered(op, known[op.name]))
            if shape is None:
                break
            busy = max(busy, shape[0] * ceil(op.weights.shape[-2] / shape[1]))
        else:
            yield Fold(beats, busy)


def fold_multipliers(program: Program, fold: Fold) -> int:
    """Multipliers of a folding."""
    known = known_bounds(program)
    total = lane_multipliers(program, fold, units_of(program))
    for op in program.dots:
        rows = _rows(program, op, fold)
        shape = engine_shape(op, rows, fold.beats, fold.cycles, is_ordered(op, known[op.name]))
        assert shape is not None
        total += rows // shape[0] * shape[1]
    return total


def schedule(program: Program, fold: Fold, family: Family, clock_mhz: float) -> LayerSchedule:
    """The schedule of one layer's program; raises ``FxsimError`` for a folding that the program does not allow."""
    return _Scheduler(program, fold, family, clock_mhz).run()


class _Scheduler:
    def __init__(self, program: Program, fold: Fold, family: Family, clock_mhz: float) -> None:
        legal = legal_beats(program)
        if fold.beats not in legal:
            raise FxsimError(f"beats must be one of {', '.join(map(str, legal))}, not {fold.beats}")
        if fold.cycles < 1:
            raise FxsimError(f"cycles must be a positive integer, not {fold.cycles}")
        if fold.cycles > MOST_CYCLES:
            raise FxsimError(f"cycles must be at most {MOST_CYCLES}, not {fold.cycles}")
        self.program, self.fold, self.family = program, fold, family
        self.budget = family.budget(clock_mhz)
        if self.budget < family.multiplier(18):
            fastest = 1000 * family.margin / (family.multiplier(18) + family.register * family.scale)
            raise FxsimError(
                f"clock must be at most {fastest:.0f} MHz in family {family.name}, not {clock_mhz:g}: "
                "a product must fit between two registers"
            )
        self.plan = LayerSchedule(program, fold, units_of(program), family, clock_mhz)
        self.known = self.plan.bounds = known_bounds(program)
        self.plan.segments = [0]

    def run(self) -> LayerSchedule:
        plan, program = self.plan, self.program
        self.find_segments()
        self.align_engines(0)
        for op in program.ops:
            if isinstance(op, Dot):
                self.place_engine(op)
            elif isinstance(op, LANE):
                plan.slots[op.name] = self.place(op.args, self.delay(op), plan.segment[op.name], isinstance(op, Lookup))
            elif isinstance(op, REDUCTIONS):
                plan.slots[op.name] = self.place_reduction(op)
        output = program.output
        cycle, _ = self.when(output, plan.segment[output])
        plan.latency = cycle + plan.tail + 2
        plan.interval = self.find_interval()
        return plan

    # -- segments ------------------------------------------------------------------------------------------------------
    def find_segments(self) -> None:
        """A product (over several cycles) of a vector computed in this step starts a new segment."""
        segment = self.plan.segment
        for op in self.program.ops:
            before = max((segment[arg] for arg in op.args), default=0)
            if isinstance(op, Dot) and self.fold.reuse > 1 and not self.is_held(op.arg):
                before += 1
                self.plan.collected.add(op.arg)
            segment[op.name] = before
        for op in self.program.ops:
            if isinstance(op, (*LANE, *REDUCTIONS, Concat)):
                for arg in op.args:
                    if not self.is_held(arg) and segment[arg] < segment[op.name]:
                        self.plan.collected.add(arg)

    def is_held(self, name: str) -> bool:
        """Whether an op stands still in registers (or is constant) while the step is worked on."""
        op = self.program[name]
        if isinstance(op, Slice):
            return self.is_held(op.arg)
        if isinstance(op, Input):
            return self.fold.reuse > 1
        return isinstance(op, (State, Constant))

    # -- engines -------------------------------------------------------------------------------------------------------
    def engine(self, op: Dot) -> Engine:
        """The engine of a product, as if it started in cycle 0."""
        fold, family = self.fold, self.family
        known = self.known[op.name]
        ordered = is_ordered(op, known)
        rows = _rows(self.program, op, fold)
        shape = engine_shape(op, rows, fold.beats, fold.cycles, ordered)
        if shape is None:
            raise FxsimError(f"op {op.name!r}: {fold.cycles} cycles are not enough for its products, in order")
        passes, width = shape
        steps = op.weights.shape[0] if op.weights.data.ndim == 3 else 1
        engine = Engine(op.name, op.weights.shape[-2], rows, passes, width, steps, fold.beats, ordered, ())
        # From the product's register: its cast, adder levels, the accumulator.
        low, high = known.product
        arg_frac = self.program[op.arg].type.frac
        offset = family.cast(arg_frac + op.weights.type.frac, op.type, low, high)
        add = family.adder(known.narrow(op.type).width)
        terms = width + (0 if engine.accumulates or op.bias is None else 1)
        registers = []
        for _ in range((terms - 1).bit_length()):
            registers.append(offset + add > self.budget)
            offset = add if registers[-1] else offset + add
        cycles = sum(registers)
        if engine.accumulates:
            last = add + (family.comparison(op.type.width) if ordered else 0.0)
            registers.append(offset + last > self.budget)
            cycles += registers[-1] + 1
            offset = 0.0
        ready = engine.busy - 1 + engine.selected + 1 + cycles
        return replace(engine, registers=tuple(registers), ready=ready, offset=offset)

    def align_engines(self, segment: int) -> None:
        """Start the engines of a segment so that their results come together."""
        engines = {op.name: self.engine(op) for op in self.program.dots if self.plan.segment[op.name] == segment}
        last = max((engine.ready for engine in engines.values()), default=0)
        begin = self.plan.segments[segment]
        for name, engine in engines.items():
            start = begin + last - engine.ready
            self.plan.engines[name] = replace(engine, start=start, ready=engine.ready + start)

    def place_engine(self, op: Dot) -> None:
        plan = self.plan
        segment = plan.segment[op.name]
        if segment >= len(plan.segments):
            # Its operands are whole once the last beat of their op is in.
            args = [dot.arg for dot in self.program.dots if plan.segment[dot.name] == segment]
            plan.segments.append(max(self.when(arg, plan.segment[arg])[0] for arg in args) + plan.tail + 1)
            self.align_engines(segment)
        elif self.fold.reuse == 1 and not self.is_held(op.arg):
            cycle, offset = self.when(op.arg, segment)
            engine = plan.engines[op.name]
            if offset + self.family.multiplier(op.type.width) > self.budget:
                cycle += 1
            wait = max(cycle - engine.start, 0)
            plan.engines[op.name] = replace(engine, start=engine.start + wait, ready=engine.ready + wait)

    # -- lanes ---------------------------------------------------------------------------------------------------------
    def when(self, name: str, segment: int) -> tuple[int, float]:
        """First cycle, and delay within it, at which a value stands for a user in ``segment`` (beat 0)."""
        plan, op = self.plan, self.program[name]
        if isinstance(op, Constant) and (self.program.sizes[name] == 1 or self.fold.beats == 1):
            return 0, 0.0
        if isinstance(op, Slice):
            return self.when(op.arg, segment)
        if self.is_held(name) or plan.segment[name] < segment:
            # Chosen by the beat's number, one register later.
            return plan.segments[segment] + (self.fold.beats > 1), 0.0
        if isinstance(op, Input):
            return 0, 0.0
        if isinstance(op, Concat):
            return max(self.when(arg, segment) for arg in op.args)
        if isinstance(op, Dot):
            engine = plan.engines[name]
            return engine.ready, engine.offset
        slot = plan.slots[name]
        return slot.cycle, slot.offset

    def delay(self, op: Op) -> float:
        """Delay of a lane op, its cast included."""
        family, known = self.family, self.known[op.name]
        if isinstance(op, Lookup):
            # Into the table's address: round and clamp.
            arg = self.known[op.arg]
            delay = family.table * family.scale + family.comparison(12)
            shift = self.program[op.arg].type.frac - op.table.frac
            if shift > 0 and op.table.round.name != "TRN":
                delay += family.adder(12)
            if op.table.scale > 1:
                delay += 2 * family.adder((op.table.scale * (arg.high - arg.low)).bit_length())
            return delay
        width = max(self.known[arg].narrow(self.program[arg].type).width for arg in op.args)
        cast = family.cast(known.exact_frac, op.type, *known.exact)
        if isinstance(op, Mul):
            constant = any(_power_of_two(self.program[arg]) for arg in op.args)
            return cast + (0.0 if constant else family.multiplier(width))
        if isinstance(op, Add | Sub):
            return cast + family.adder(width)
        if isinstance(op, Max | Min):
            return cast + family.comparison(width)
        return cast + (family.select * family.scale if isinstance(op, Select) else 0.0)

    def place(self, args: tuple[str, ...], delay: float, segment: int, table: bool = False) -> Slot:
        """The first place after its operands where ``delay`` fits before a register."""
        start, offset = max(self.when(arg, segment) for arg in args)
        if offset + delay > self.budget:
            start, offset = start + 1, 0.0
        if table:
            return Slot(start, start + 1, self.family.table_out * self.family.scale)
        return Slot(start, start, min(offset + delay, self.budget))

    def place_reduction(self, op: Op) -> Slot:
        """A reduction's levels, each an op of its own with a register where it needs one."""
        size = self.program.sizes[op.args[0]]
        width = self.known[op.name].narrow(op.type).width
        level = self.family.comparison(width) if not isinstance(op, Total) else self.family.adder(width)
        level += self.family.cast(op.type.frac, op.type, *self.known[op.name].exact)
        levels = reduction_levels(size)
        # One register after each level keeps this simple and never slow.
        start, _ = self.when(op.args[0], self.plan.segment[op.name])
        if isinstance(op, Total) and self.program[op.args[0]].type.frac != op.type.frac:
            levels += 1
        if level > self.budget:
            raise FxsimError(f"op {op.name!r}: one level takes {level:.1f} ns, the clock leaves {self.budget:.1f}")
        return Slot(start, start + 1 + levels, 0.0)

    # -- interval ------------------------------------------------------------------------------------------------------
    def reads(self, name: str) -> list[tuple[int, int]]:
        """(first, last) cycles in which users look at a held vector."""
        plan, fold = self.plan, self.fold
        names = {name} | {op.name for op in self.program.ops if isinstance(op, Slice) and op.arg == name}
        found = []
        for op in self.program.ops:
            if not names & set(op.args) or isinstance(op, Slice):
                continue
            if isinstance(op, Dot):
                engine = plan.engines[op.name]
                found.append((engine.start, engine.start + plan.tail + engine.busy - 1))
            elif op.name in plan.slots:
                first = plan.slots[op.name].start - (fold.beats > 1)
                found.append((first, first + plan.tail))
        return found

    def find_interval(self) -> int:
        plan, program = self.plan, self.program
        need = [self.fold.reuse]
        if not self.flows_input:
            # The next token overwrites the input register.
            need += [last + 1 for _, last in self.reads(program.input.name)]
        for state in program.states:
            cycle, _ = self.when(state.update, plan.segment[state.update])
            whole = any(isinstance(op, Dot) and op.arg == state.name for op in program.ops)
            for first, _ in self.reads(state.name):
                need.append(cycle + 1 + (plan.tail if whole else 0) - first)
        for name in plan.collected:
            cycle, _ = self.when(name, plan.segment[name])
            need += [last - cycle + 1 for _, last in self.reads(name)]
        if len(plan.segments) > 1:
            # One token at a time: vectors kept between segments are kept once.
            need.append(plan.latency)
        return max(need)

    @property
    def flows_input(self) -> bool:
        return self.plan.flows_input


def reduction_levels(size: int) -> int:
    """Levels of a tree over ``size`` elements."""
    return (size - 1).bit_length()
