# SPDX-License-Identifier: Apache-2.0
"""What a layer is made of around its engines; the same structure as :mod:`rtl.gateware.layer` builds. Pure Python."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from fxsim.program.fixed import Fixed, Round, smallest
from fxsim.program.integers import Table
from fxsim.program.ops import (
    Add,
    Concat,
    Constant,
    Dot,
    Elementwise,
    Input,
    Lookup,
    Max,
    Min,
    Mul,
    OneHot,
    Op,
    Reduction,
    Select,
    State,
    Sub,
    Total,
)
from fxsim.program.program import Program

from ..plan.folds import known_bounds, least_bits
from ..plan.reads import Read, Way
from ..plan.schedule import LayerSchedule
from ..plan.signed_digits import LOGIC
from .engine_parts import engine_parts, multipliers
from .live_bits import moving_bits, unseen_bits, zero_bits
from .parts import (
    SHIFT,
    SYNTHESIS,
    Parts,
    bits,
    block_rams,
    casts,
    dsp_blocks,
    in_blocks,
    in_dsp,
    in_logic,
    multiplexer,
)


@dataclass(frozen=True)
class Wires:
    """A vector's elements as synthesis sees them: so many bits that differ, above ``zeros`` that are always zero."""

    width: int
    zeros: int = 0


def layer_parts(plan: LayerSchedule, sequences: bool, depth: int, registered: bool, given: Wires) -> Parts:
    """All parts of a layer with the input ``given``; ``sequences``, ``depth`` and ``registered`` as in LayerCore."""
    return _Layer(plan, sequences, depth, registered, given).count()


def result_wires(program: Program, given: Wires) -> Wires:
    """The result of a program with the input ``given``."""
    zeros = zero_bits(program, given.zeros)[program.output]
    narrow = known_bounds(program)[program.output].narrow(program.type)
    return Wires(max(narrow.width - zeros, 0), zeros)


class _Layer:
    def __init__(self, plan: LayerSchedule, sequences: bool, depth: int, registered: bool, given: Wires) -> None:
        self.plan, self.program, self.beats = plan, plan.program, plan.fold.beats
        self.zeros, self.given = zero_bits(plan.program, given.zeros), given
        self.unseen = unseen_bits(plan.program, given.zeros)
        self.result = result_wires(plan.program, given)
        self.sequences, self.depth, self.registered = sequences, depth, registered
        self.parts = Parts()

    def count(self) -> Parts:
        plan, program = self.plan, self.program
        for dot in program.dots:
            self.parts.include(engine_parts(plan, dot))
        self.tables()
        used = {read.operand for read in plan.reads.values()} | {state.update for state in program.states}
        for op in program.ops:
            # Nothing is built of a sum that a product makes, or whose only reader looks through it.
            if op.name in plan.absorbed or op.name not in used:
                continue
            if isinstance(op, Elementwise):
                self.lane(op)
            elif isinstance(op, Reduction):
                self.reduction(op)
        self.stores()
        self.passing()
        self.chosen()
        self.frame()
        return self.parts

    # -- sizes ---------------------------------------------------------------------------------------------------------
    def width(self, name: str) -> int:
        """Bits of an element of an op that differ."""
        if name == self.program.input.name:
            return self.given.width
        return max(self.plan.bounds[name].narrow(self.program[name].type).width - self.zeros[name], 0)

    def elements(self, name: str) -> int:
        """Elements of an op that stand at once."""
        size = self.program.sizes[name]
        return size // self.beats if size == self.plan.units or isinstance(self.program[name], Dot) else size

    # -- what is read, when --------------------------------------------------------------------------------------------
    def stands(self, name: str) -> int:
        """The cycle from which on a passing value stands."""
        plan, op = self.plan, self.program[name]
        if isinstance(op, Concat):
            return plan.reads[name, op.args[0]].cycle
        if isinstance(op, Dot):
            return plan.engines[name].ready
        if isinstance(op, State):
            return plan.enters.get(name, 0)
        return plan.slots[name].cycle if name in plan.slots else 0

    def passing(self) -> None:
        """Registers of values on their way; three and more in a row are a shift register."""
        looks: defaultdict[str, list[Read]] = defaultdict(list)
        for read in self.plan.reads.values():
            if read.kept:
                self.parts["ff"] += self.elements(read.operand) * self.width(read.operand)
            if read.origin.way in (Way.PASSING, Way.RELAYED):
                looks[read.origin.op].append(read)
        for name, reads in looks.items():
            # Readers of parts: each element has registers up to its own last reader.
            edges = sorted({edge for read in reads for edge in (read.origin.start, read.origin.stop)})
            share = self.elements(name) / self.program.sizes[name]
            for start, stop in pairwise(edges):
                here = [read for read in reads if read.origin.start <= start and stop <= read.origin.stop]
                if here:
                    unseen = min(self.unseen.get((read.reader, read.operand), 0) for read in here)
                    unseen = max(unseen - self.zeros[name], 0)
                    self.delayed(name, here, (stop - start) * share * max(self.width(name) - unseen, 0))

    def delayed(self, name: str, reads: Sequence[Read], size: float) -> None:
        """``size`` bits of an op on their way to their readers."""
        plan, program, stages = self.plan, self.program, SYNTHESIS[self.plan.family.name].shifts
        cycles = {read.cycle - self.stands(name) for read in reads}
        if plan.chained:
            # Each copy stands as long as a token does.
            late = max(cycles) - (plan.interval if isinstance(program[name], Input) else 1)
            self.parts["ff"] += size * (0 if late < 0 else 1 + late // plan.interval)
            return
        # A DSP block has a register behind its product or sum, and two in front of each factor.
        before = 1 if (self.multiplies(name) or self.summed(name)) and max(cycles) else 0
        within = before
        if len(cycles) == 1 and all(self.multiplies(read.reader or program.input.name) for read in reads):
            within += min(2, max(cycles) - before)
            cycles = {max(cycles) - within + before}
        self.parts["inside"] += size * within
        for cycle in sorted(cycles):
            if cycle - before >= SHIFT and stages:
                self.parts["shift"] += size * ceil((cycle - before) / stages)
            else:
                self.parts["ff"] += size * (cycle - before)
            before = cycle

    def chosen(self) -> None:
        """This beat's part of vectors that stand: multiplexers, and a register behind each."""
        chosen = [read for read in self.plan.reads.values() if read.origin.way is Way.CHOSEN]
        # In their order, so that sums of fractions are the same in each run.
        for name, _, _ in dict.fromkeys((read.operand, read.segment, read.cycle) for read in chosen):
            size = self.elements(name) * self.width(name)
            if isinstance(self.program[name], Constant):
                self.parts.include(in_logic(min(self.beats, 63), size, "rom"))
            else:
                self.parts["mux"] += multiplexer(self.beats) * size
                self.parts["ff"] += size

    # -- ops -----------------------------------------------------------------------------------------------------------
    def lane(self, op: Op) -> None:
        """Element-wise ops: their arithmetic, its registers and their cast."""
        plan, known, slot = self.plan, self.plan.bounds[op.name], self.plan.slots[op.name]
        count = self.elements(op.name)
        if isinstance(op, Lookup):
            return  # with the tables
        exact = smallest(*known.exact, known.exact_frac).width
        if isinstance(op, Mul):
            if not self.program.is_shift(op):
                logic, stages = plan.fold.multiplier == LOGIC, slot.cycle - slot.start
                found = multipliers(plan.family, plan.widths(op), self.signs(op), count, stages, logic, exact)
                self.parts.include(found)
            else:
                self.parts["ff"] += exact * count * (slot.cycle - slot.start)
        else:
            within = isinstance(op, Add | Sub) and any(self.blocked(arg, known.exact_frac) for arg in op.args)
            self.parts["inside" if within else "ff"] += exact * count * (slot.cycle - slot.start)
            if isinstance(op, Add | Sub):
                self.parts["post" if within else "adder"] += exact * count
            elif isinstance(op, Max | Min | Select):
                constant = any(isinstance(self.program[arg], Constant) for arg in op.args)
                self.parts["select" if constant or isinstance(op, Select) else "compare"] += exact * count
        self.parts.include(casts(*known.exact, known.exact_frac, op.type, self.width(op.name), count))

    def signs(self, op: Mul) -> tuple[bool, bool]:
        """Whether each factor of a product has a sign."""
        return self.plan.bounds[op.a].low < 0, self.plan.bounds[op.b].low < 0

    def multiplies(self, name: str) -> bool:
        """Whether an op is the product of one DSP block each, with its register."""
        op = self.program[name]
        if not isinstance(op, Mul) or self.plan.fold.multiplier == LOGIC:
            return False
        if self.program.is_shift(op):
            return False
        slot, both = self.plan.slots[name], self.plan.widths(op)
        inside = in_dsp(self.plan.family.name, *both) and dsp_blocks(self.plan.family, both, self.signs(op)) == 1
        return slot.cycle > slot.start and inside

    def summed(self, name: str) -> bool:
        """Whether an op is a sum that a DSP block makes behind its product, as it is and without a register."""
        op, known = self.program[name], self.plan.bounds[name]
        if not isinstance(op, Add | Sub) or name in self.plan.absorbed or known.overflows:
            return False
        slot, plain = self.plan.slots[name], op.type.round is Round.TRN or known.exact_frac <= op.type.frac
        return slot.cycle == slot.start and plain and any(self.blocked(arg, known.exact_frac) for arg in op.args)

    def blocked(self, name: str, frac: int) -> bool:
        """Whether an op is the product of a DSP block as it is, on the grid ``frac``: it adds to that, too."""
        plain = self.program[name].type.frac == self.plan.bounds[name].exact_frac == frac
        return SYNTHESIS[self.plan.family.name].adds and plain and self.multiplies(name)

    def tables(self) -> None:
        """Table reads: the index, and the memories, of which two readers share one."""
        plan = self.plan
        readers: Counter[tuple[Table, Fixed, Fixed, bool]] = Counter()
        for op in self.program.ops:
            if not isinstance(op, Lookup):
                continue
            slot, type = plan.slots[op.name], plan.bounds[op.name].narrow(op.type)
            count, entries = self.elements(op.name), len(op.table.values.data)
            index = bits(entries)
            self.parts["clamp"] += index * count
            if slot.through:
                low, high = plan.bounds[op.arg].exact
                self.parts["adder"] += smallest(low, high, 0).width * count
            low, high = plan.bounds[op.arg].low, plan.bounds[op.arg].high
            shift = self.program[op.arg].type.frac - op.table.frac
            whole = smallest(low * op.table.scale >> max(shift, 0), high * op.table.scale >> max(shift, 0), 0).width
            self.parts["detect"] += max(whole - index, 0) * count
            if shift > 0 and op.table.round is not Round.TRN and not (slot.doubled or slot.through):
                self.parts["round"] += whole * count
            if op.table.scale & (op.table.scale - 1):
                self.parts["dsp"] += count
            if slot.cycle - slot.start == 2:
                self.parts["ff"] += (index + slot.doubled) * count
            readers[(op.table, op.type, type, slot.doubled)] += count
        for (table, to, type, doubled), count in readers.items():
            entries = len(table.values.data) << doubled
            asked = in_blocks(entries, type.width, least_bits(self.program, table))
            width = moving_bits(table, to, type.width)
            for ports, number in ((2, count // 2), (1, count % 2)):
                if asked:
                    self.parts["bram"] += block_rams(entries, width, ports, plan.family.name) * number
                else:
                    self.parts.include(in_logic(entries, width * ports, "table"), number)

    def reduction(self, op: Op) -> None:
        """Trees with a register behind every level."""
        (arg,) = op.args
        size, width = self.program.sizes[arg], self.width(arg)
        total, kind = self.width(op.name), "adder" if isinstance(op, Total) else "compare"
        if isinstance(op, OneHot):
            width, total = width + size, 1
        left = size
        while left > 1:
            each = min(width, total) if isinstance(op, Total) else width
            self.parts[kind] += left // 2 * each
            left = (left + 1) // 2
            self.parts["ff"] += left * each
        self.parts["ff"] += total * self.program.sizes[op.name]

    # -- what stays ----------------------------------------------------------------------------------------------------
    def stores(self) -> None:
        """Registers of states and of whole vectors."""
        plan, program, waiting = self.plan, self.program, set()
        for name in plan.collected:
            self.parts["ff"] += program.sizes[name] * self.width(name)
        for state in program.states:
            size = state.elements * self.width(state.name)
            if plan.ways > 1:
                self.parts["ring"] += size
                self.parts["memory"] += size * ceil(plan.ways / SYNTHESIS[plan.family.name].words)
                self.parts["ff"] += size
                self.parts["ff control"] += plan.ways + 2 * bits(plan.ways)
                continue
            read = any(isinstance(op, Dot) and op.arg == state.name for op in program.ops)
            if state.name in plan.opened:
                self.parts["select"] += size
                if all(isinstance(op, Dot) for op in program.ops if state.name in op.args):
                    continue
            self.parts["ff"] += size
            # Units that are written in turn share the choice, unless all of them change at once.
            self.parts["clear"] += size if read else size / self.beats
            if read and self.beats > 1:
                waiting.add(state.update)
        output = program.output
        if self.beats > 1:
            waiting.add(output)
        for name in waiting:
            self.parts["ff"] += program.sizes[name] // self.beats * (self.beats - 1) * self.width(name)

    def frame(self) -> None:
        """The token's register, counters of beats and cycles, and the buffer behind."""
        plan, program, fold = self.plan, self.program, self.plan.fold
        self.parts["ff"] += program.input.elements * self.width(program.input.name)
        counters = bits(fold.beats) * (fold.beats > 1) + bits(fold.cycles) * (fold.cycles > 1) + 1
        counters *= len(plan.segments)
        counters += bits(plan.interval) + bits(self.depth + 1) + 3
        self.parts["control"] += counters
        self.parts["ff control"] += counters + plan.result
        # The designs that the coefficients were fitted to kept ``last`` behind every layer.
        size = program.elements * self.result.width + 1 + self.sequences
        self.parts["ff"] += size * self.depth
        self.parts["buffer"] += size * (self.depth - 1 + (not self.registered))
