# SPDX-License-Identifier: Apache-2.0
"""Matrix products as engines: their shape for a fold, and where registers stand inside."""

from __future__ import annotations

from dataclasses import replace

from fxsim.errors import FxsimError
from fxsim.program.ops import Dot, Op, State

from .folded import Engine, FoldedProgram
from .folds import BLOCK_ROM, engine_fold, engine_multipliers, engine_shape, is_ordered, rows_of
from .pipeline import Pipeline, Place
from .signed_digits import LOGIC, digit_counts, most_digits

#: Rows that so many rows become in a level of compressors: each bit of the result is a function of at most six bits.
_ROWS = {6: 3, 5: 3, 4: 3, 3: 2, 2: 2, 1: 1}


def compressor_levels(count: int) -> int:
    """Levels of LUTs until ``count`` rows of bits are two (``rtl.gateware.carry_save``)."""
    found = 0
    while count > 2:
        count, found = sum(_ROWS[min(6, count - k)] for k in range(0, count, 6)), found + 1
    return found


class Engines:
    """Makes the engines of a layer; the scheduler says when they start."""

    def __init__(self, layer: FoldedProgram, pipeline: Pipeline) -> None:
        self.layer, self.program, self.fold, self.family = layer, layer.program, layer.fold, layer.family
        self.pipeline, self.known = pipeline, layer.bounds

    def into(self, engine: Engine) -> float:
        """Delay from an engine's operand to its first register."""
        op = self.program[engine.op]
        assert isinstance(op, Dot)
        if engine.direct:
            return self.multiplier(op)[0]
        if engine.selected:
            return self.family.choice(engine.depth)
        counts = digit_counts(op.weights.data)
        shifted = int(counts.max(where=counts <= engine.digits, initial=1))
        factors = self.layer.widths(op)
        added = self.family.adder(sum(factors)) * (shifted - 1).bit_length()
        return max(added, self.multiplier(op)[0] if engine.multipliers else 0.0)

    def multiplier(self, op: Op) -> tuple[float, int]:
        """Delay into the first register of a product, and how many it has."""
        return self.pipeline.multiplier(self.layer.widths(op), self.fold.multiplier == LOGIC)

    def engine(self, op: Dot) -> Engine:
        """The engine of a product, as if it started in cycle 0."""
        fold, family, pipeline = engine_fold(self.program, op, self.fold), self.family, self.pipeline
        known = self.known[op.name]
        ordered = is_ordered(op, known)
        rows = rows_of(self.program, op, fold)
        shape = engine_shape(op, rows, fold, ordered)
        if shape is None:
            raise FxsimError(f"op {op.name!r}: {fold.cycles} cycles are not enough for its products, in order")
        passes, width = shape
        steps = op.weights.shape[0] if op.weights.data.ndim == 3 else 1
        engine = Engine(
            op.name, op.weights.shape[-2], rows, passes, width, steps, fold.beats, ordered, (),
            stages=self.multiplier(op)[1],
            fetch=0,
            digits=most_digits(fold.multiplier),
            multipliers=engine_multipliers(op, rows, passes, width, fold.multiplier),
        )  # fmt: skip
        pipeline.from_place(Place(0, 0.0), max(self.into(engine), self.multiplier(op)[0]), "a product")
        if engine.selected:
            # Out of a block RAM weights may come too late for the multiplier: then they have a register in between.
            memory = family.table_out if engine.slots >= BLOCK_ROM else 0.0
            whole = memory + self.multiplier(op)[0]
            engine = replace(engine, fetch=1 if pipeline.fits(whole) else 2)
            pipeline.reach(whole if engine.fetch == 1 else memory)
            still = isinstance(self.program[op.arg], State) and self.layer.ways == 1
            engine = replace(engine, direct=still and engine.depth == 1)
        # From the product's register: its cast, adder levels, the accumulator.
        low, high = known.product
        arg_frac = self.program[op.arg].type.frac
        offset = family.block_out + family.cast(arg_frac + op.weights.type.frac, op.type, low, high)
        add = family.adder(known.narrow(op.type).width)
        terms = width + (0 if engine.accumulates or op.bias is None else 1)
        delays = [add] * (terms - 1).bit_length()
        sums = [name for name, part in self.layer.absorbed.items() if part.dot == op.name]
        if sums:
            engine = replace(engine, compressed=True)
            wide = max(self.known[name].narrow(self.program[name].type).width for name in (op.name, *sums))
            delays = [family.compress] * compressor_levels(terms + 1) + [family.adder(wide)]
        registers, offset = pipeline.levels(offset, delays, f"an addition of op {op.name!r}")
        cycles = sum(registers)
        if engine.accumulates:
            last = add + (family.comparison(op.type.width) if ordered else 0.0)
            begin, _ = pipeline.levels(offset, [last], f"the accumulator of op {op.name!r}")
            registers += begin
            cycles += sum(begin) + 1
            offset = 0.0
        ready = engine.busy - 1 + engine.product_cycle + cycles
        return replace(engine, registers=tuple(registers), ready=ready, offset=offset)
