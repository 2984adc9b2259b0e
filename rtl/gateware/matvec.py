# SPDX-License-Identifier: Apache-2.0
"""Matrix-vector products: any number of products a cycle, with constant weights or weights from memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from amaranth.hdl import Array, C, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from fxsim.program.fixed import Fixed, smallest
from fxsim.program.fixed import cast as cast_integer
from fxsim.program.ops import Dot
from fxsim.program.ranges import Bounds

from ..plan.folded import Engine
from ..plan.folds import Fold
from ..plan.signed_digits import LOGIC, digits
from ..plan.widths import WIDEST
from .carry_save import fewer, row
from .control import Delay, Phase, Registers, after
from .fixed import added, cast, limited, logic_product, rounded, shape, shifted
from .rom import rom
from .stream import elements, numbered


class MatVec(wiring.Component):
    """``bias + weights · x`` of one token, ``engine.rows`` outputs a beat.

    Latency: as ``engine`` says; ``result`` stands in cycle ``engine.ready`` of beat 0, and a beat later for the next.

    Parameters
    ----------
    op, known: the product and its bounds. engine, fold: when and how. units: units of the layer.
    arg, arg_known: format and bounds of the operand. parked: whether results wait in registers, each pass's from the
    cycle after it stands. sums: for rows that are sums with another term, the formats of both.

    Members
    -------
    x0, x1, … : In(shape of arg)
        The operand's elements, still for the engine's cycles of the token (or for one cycle, if those are one); ``x``
        lists them.
    start : In(1)
        High in the engine's first cycle of a token.
    last : In(1)
        With ``start``: whether the token is the last of its sequence.
    y0, y1, … : Out(shape of the row)
        The results, output ``k * units + beat * lanes + u`` in row ``k * lanes + u``; ``result`` lists them.
    other0, … : In(shape of the term)
        For each row of ``sums`` its other term, when the products of slot 0 stand; ``other`` has them by row.
    """

    def __init__(
        self,
        op: Dot,
        known: Bounds,
        engine: Engine,
        fold: Fold,
        units: int,
        arg: Fixed,
        arg_known: Bounds,
        parked: bool = False,
        sums: Mapping[int, tuple[Fixed, Fixed]] | None = None,
    ) -> None:
        self.op, self.known, self.engine, self.fold, self.units = op, known, engine, fold, units
        self.arg, self.parked = arg, parked
        narrow = arg_known.narrow(arg)
        self.type = known.narrow(op.type)
        self.sums = sums or {}
        types = [self.sums[r][0] if r in self.sums else self.type for r in range(engine.rows)]
        x = numbered("x", [In(shape(narrow))] * engine.inputs)
        y = numbered("y", [Out(shape(type)) for type in types])
        others = {f"other{r}": In(shape(term)) for r, (_, term) in self.sums.items()}
        super().__init__({**x, "start": In(1), "last": In(1), **y, **others})
        self.x, self.result = ([getattr(self, name) for name in names] for names in (x, y))
        self.other = {r: getattr(self, f"other{r}") for r in self.sums}

    def weight_index(self, beat: int, row: int) -> int:
        """Output that ``row`` computes in ``beat``."""
        lanes = self.units // self.fold.beats
        if self.parked:
            gates = self.engine.rows // self.units
            return row % gates * self.units + row // gates
        if self.fold.beats == 1:
            return row
        return row // lanes * self.units + beat * lanes + row % lanes

    def elaborate(self, platform: object) -> Module:
        m = Module()
        e, op = self.engine, self.op
        registers = Registers()
        phase = Phase(m, registers, "slot", self.fold, self.start, self.last, Const(0, 1))
        slot = _Slots(m, registers, e, phase) if e.selected else None
        operands = self.operands(m, slot)
        frac = self.arg.frac + op.weights.type.frac
        lanes = [self.row(m, p, self.weights(m, p, slot), operands, frac, slot) for p in range(e.rows // e.passes)]
        if e.passes == 1 and not self.parked:
            m.d.comb += [row.eq(value) for row, value in zip(self.result, lanes, strict=True)]
        else:
            self.collect(m, registers, lanes, slot)
        registers.finish(m)
        return m

    def collect(self, m: Module, registers: Registers, lanes: list[Value], slot: _Slots | None) -> None:
        """Rows of earlier passes wait for the last pass of their beat; parked ones all wait."""
        e = self.engine
        parallel = len(lanes)
        time = self._tree_time() + e.accumulates
        done = slot.done(time) if slot else Delay(registers, self.start, "done", reset_less=False)(time)
        number = slot.number(time) if slot else Const(0, 1)
        for k in range(e.passes):
            for p, value in enumerate(lanes):
                row = self.result[k * parallel + p]
                if self.parked:
                    row = self.result[self.weight_index(0, k * parallel + p)]
                if k == e.passes - 1 and not self.parked:
                    m.d.comb += row.eq(value)
                else:
                    kept = Signal(shape(self.type), name=f"kept{k}_{p}", reset_less=True)
                    with m.If(done & (number == k) if e.passes > 1 else done):
                        m.d.sync += kept.eq(value)
                    m.d.comb += row.eq(kept)

    def _tree_time(self) -> int:
        e = self.engine
        return e.product_cycle - e.start + sum(e.registers)

    def operands(self, m: Module, slot: _Slots | None) -> list[Value]:
        """The inputs of this cycle's products."""
        e = self.engine
        if slot is None or e.depth == 1:
            if slot is None or e.direct:
                return list(self.x)
            # Only weights change: the operand waits for them in a register.
            return [self.fetched(m, x, f"operand{j}", e.fetch) for j, x in enumerate(self.x)]
        order = self.op.order() if e.ordered else list(range(e.inputs))
        result: list[Value] = []
        for i in range(e.width):
            choices = [self.x[order[d * e.width + i]] if d * e.width + i < e.inputs else None for d in range(e.depth)]
            filled = [c if c is not None else Const(0, self.x[0].shape()) for c in choices]
            chosen = Signal(self.x[0].shape(), name=f"chosen{i}")
            m.d.comb += chosen.eq(Array(filled)[slot.step])
            result.append(self.fetched(m, chosen, f"operand{i}", e.fetch))
        return result

    def slot_weights(self, p: int, i: int) -> list[int]:
        """Weights of input position ``i`` of row position ``p`` in every slot: steps, beats, passes, depth."""
        e = self.engine
        order = np.array(self.op.order() if e.ordered else range(e.inputs))
        matrices = self.op.weights.data if self.op.weights.data.ndim == 3 else self.op.weights.data[None]
        parallel = e.rows // e.passes
        found: list[int] = []
        for matrix in matrices:
            for beat in range(e.beats):
                for k in range(e.passes):
                    column = matrix[:, self.weight_index(beat, k * parallel + p)]
                    for d in range(e.depth):
                        j = d * e.width + i
                        found.append(int(column[order[j]]) if j < e.inputs else 0)
        return found

    def weights(self, m: Module, p: int, slot: _Slots | None) -> list[Value | int]:
        """This cycle's weights of row position ``p``: a constant where it never changes, else from a memory.

        A word of it holds as many weights as a signal can have bits for; there is one more for those that are left.
        """
        slots = [self.slot_weights(p, i) for i in range(self.engine.width)]
        result: list[Value | int] = [values[0] for values in slots]
        moving = [i for i, values in enumerate(slots) if len(set(values)) > 1]
        if not moving:
            return result
        assert slot is not None
        low = min(min(slots[i]) for i in moving)
        high = max(max(slots[i]) for i in moving)
        type = smallest(low, high, 0)
        mask = (1 << type.width) - 1
        most = WIDEST // type.width
        for start in range(0, len(moving), most):
            part = moving[start : start + most]
            words = [
                sum((slots[i][address] & mask) << (k * type.width) for k, i in enumerate(part))
                for address in range(len(slots[0]))
            ]
            width = type.width * len(part)
            m.submodules[f"rom{p}_{start}" if start else f"rom{p}"] = memory = rom(words, width)
            port = memory.read_port()
            m.d.comb += [port.addr.eq(slot.address), port.en.eq(1)]
            for i, weight in zip(part, elements(port.data, len(part), type.width, type.signed), strict=True):
                # The memory's output is one register already.
                result[i] = self.fetched(m, weight, f"weight{p}_{i}", self.engine.fetch - 1)
        return result

    def row(
        self, m: Module, p: int, weights: list[Any], operands: list[Value], frac: int, slot: _Slots | None
    ) -> Value:
        """One row position: products, adder tree, accumulator."""
        e, op = self.engine, self.op
        if e.compressed:
            return self.compressed(m, p, weights, operands, frac)
        terms: list[Value] = []
        for i, (weight, operand) in enumerate(zip(weights, operands, strict=True)):
            if isinstance(weight, int) and weight == 0:
                continue
            kept = self.registered_product(m, operand, weight, f"p{p}_{i}")
            # A sum that cannot saturate is right modulo its width, so that products need only be rounded.
            term = cast(kept, frac, op.type) if e.ordered else rounded(kept, frac - op.type.frac, op.type.round)
            terms.append(self.resized(m, term, f"t{p}_{i}"))
        bias = [cast_integer(int(v), op.bias.type.frac, op.type) for v in op.bias.data] if op.bias else None
        if not e.accumulates and bias is not None:
            terms.append(self.bias(m, bias, p, slot, e.product_cycle - e.start))
        if not terms:
            terms = [Const(0, shape(self.type))]
        # Levels with nothing left to add still cost their registers, so that all rows keep time.
        levels = len(e.registers) - e.accumulates
        for level in range(levels):
            if e.registers[level]:
                terms = [self.register(m, term, f"r{p}_{level}_{k}") for k, term in enumerate(terms)]
            sums = []
            for k in range(0, len(terms) - 1, 2):
                sums.append(self.resized(m, terms[k] + terms[k + 1], f"s{p}_{level}_{k}"))
            terms = sums + ([terms[-1]] if len(terms) % 2 else [])
        assert len(terms) == 1
        if not e.accumulates:
            return terms[0]
        assert slot is not None
        term = self.register(m, terms[0], f"r{p}_last") if e.registers[-1] else terms[0]
        time = self._tree_time()
        total = Signal(shape(self.type), name=f"acc{p}", reset_less=True)
        begin: Value = Const(0) if bias is None else self.bias(m, bias, p, slot, time)
        before = Mux(slot.opens(time), begin, total)
        after = before + term
        m.d.sync += total.eq(limited(after, op.type) if e.ordered else after)
        return total

    def registered_product(self, m: Module, operand: Value, weight: Value | int, name: str) -> Value:
        """A product behind its registers."""
        kept = self.product(operand, weight)
        for stage in range(self.engine.stages):
            kept = self.register(m, kept, f"{name}_{stage}")
        return kept

    def compressed(self, m: Module, p: int, weights: list[Any], operands: list[Value], frac: int) -> Value:
        """One row as a sum without carries, but for the last addition; its products are exact."""
        e, op, width = self.engine, self.op, len(self.result[p])
        pairs = [(w, x) for w, x in zip(weights, operands, strict=True) if not (isinstance(w, int) and w == 0)]
        terms = [(self.registered_product(m, x, w, f"p{p}_{i}"), frac) for i, (w, x) in enumerate(pairs)]
        if op.bias is not None:
            bias = cast_integer(int(op.bias.data[p]), op.bias.type.frac, op.type)
            terms.append((Const(bias, shape(op.type)), op.type.frac))
        if p in self.sums:
            terms.append((self.other[p], self.sums[p][1].frac))
        grid = self.sums[p][0].frac if p in self.sums else op.type.frac
        rows = [row(shifted(term, grid - low), width) for term, low in terms] or [C(0, width)]
        for k, registered in enumerate(e.registers):
            if registered:
                rows = [self.register(m, bits, f"r{p}_{k}_{n}") for n, bits in enumerate(rows)]
            if k < len(e.registers) - 1:
                rows = fewer(rows, lambda bits: self.named(m, bits, f"c{p}"))
        total = rows[0] if len(rows) == 1 else (rows[0] + rows[1])[:width]
        return total.as_signed() if self.result[p].shape().signed else total

    def product(self, operand: Value, weight: Value | int) -> Value:
        """A product; by a constant of few signed digits as a sum of shifted operands."""
        if not isinstance(weight, int) or not self.engine.constant or len(digits(weight)) > self.engine.digits:
            if self.fold.multiplier == LOGIC:
                return logic_product(operand, Value.cast(weight))
            return operand * weight
        # As many levels as the schedule has counted.
        return added([operand << shift if sign > 0 else -(operand << shift) for sign, shift in digits(weight)])

    def bias(self, m: Module, bias: list[int], p: int, slot: _Slots | None, time: int) -> Value:
        """The bias of row position ``p`` for the pass whose cycle ``time`` it is."""
        e = self.engine
        parallel = e.rows // e.passes
        values = [bias[self.weight_index(beat, k * parallel + p)] for beat in range(e.beats) for k in range(e.passes)]
        constants = [Const(v, shape(self.type)) for v in values]
        if slot is None or len(set(values)) == 1:
            return constants[0]
        chosen = Signal(shape(self.type), name=f"bias{p}")
        m.d.comb += chosen.eq(Array(constants)[slot.group(time)])
        return chosen

    def resized(self, m: Module, value: Value, name: str) -> Value:
        """A named signal of the accumulator's width: right modulo 2**width, as the total is meant."""
        limit = shape(self.type)
        exact = self.engine.ordered or len(value) <= limit.width
        signal = Signal(value.shape() if exact else limit, name=name)
        m.d.comb += signal.eq(value)
        return signal

    def named(self, m: Module, value: Value, name: str) -> Value:
        """``value`` in a signal of its own."""
        signal = Signal(value.shape(), name=name)
        m.d.comb += signal.eq(value)
        return signal

    def fetched(self, m: Module, value: Value, name: str, cycles: int) -> Value:
        """``value`` so many cycles later."""
        for _ in range(cycles):
            value = self.register(m, value, name)
        return value

    def register(self, m: Module, value: Value, name: str) -> Value:
        """``value`` one cycle later."""
        kept = Signal(value.shape(), name=name, reset_less=True)
        m.d.sync += kept.eq(value)
        return kept


class _Slots:
    """Which products an engine makes in which cycle: counters over beats, passes and steps of the sum."""

    def __init__(self, m: Module, registers: Registers, e: Engine, phase: Phase) -> None:
        self.step = Signal(range(max(e.depth, 2)), name="step")
        self.turn = Signal(range(max(e.passes, 2)), name="turn")
        self.address = Signal(range(e.slots), name="address")
        self.busy = Signal(name="busy")
        m.d.comb += self.busy.eq(phase.active if e.busy == phase.fold.cycles else phase.active & (phase.cycle < e.busy))
        closing = Signal(name="closing")
        m.d.comb += closing.eq(self.step == e.depth - 1)
        with m.If(self.busy):
            m.d.sync += self.step.eq(Mux(closing, 0, self.step + 1))
            with m.If(closing):
                m.d.sync += self.turn.eq(after(self.turn, e.passes))
            # Weights that change with the step go on where the last token stopped, until the sequence ends.
            final = closing & (self.turn == e.passes - 1) & (phase.beat == e.beats - 1)
            restart = final & phase.last if e.steps > 1 else final
            m.d.sync += self.address.eq(Mux(restart, 0, self.address + 1))
        self._opens = Delay(registers, self.busy & (self.step == 0), "opens")
        self._done = Delay(registers, self.busy & closing, "done", reset_less=False)
        self._turn = Delay(registers, self.turn, "turn")
        group = Signal(range(max(e.beats * e.passes, 2)), name="group")
        m.d.comb += group.eq(phase.beat * e.passes + self.turn)
        self._group = Delay(registers, group, "group")

    def opens(self, time: int) -> Value:
        """Whether the products of slot cycle 0 were a pass's first, ``time`` cycles later."""
        return self._opens(time)

    def done(self, time: int) -> Value:
        """Whether a pass's last products are ``time`` cycles old."""
        return self._done(time)

    def number(self, time: int) -> Value:
        """Number of the pass ``time`` cycles later."""
        return self._turn(time)

    def group(self, time: int) -> Value:
        """Number of beat and pass ``time`` cycles later."""
        return self._group(time)
