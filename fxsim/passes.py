# SPDX-License-Identifier: Apache-2.0
"""A program's way over all steps of a block of sequences.

Within a step, matrix products are loops of their own (``products.py``); runs of elementwise ops become one loop whose
values never leave the registers. Every value has the narrowest word that the bounds of ``ranges.py`` prove to hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from . import arithmetic, products
from .fixed import Round, cast
from .frame import WORDS, Frame, Kept, Rows
from .lanes import Var, Vec, fits, magnitude, word
from .program import (
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
from .ranges import bounds
from .words import check

_ELEMENTWISE = Add | Sub | Mul | Max | Min | Select | Cast | Lookup
Stage = Op | list[Op]


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


class Pass:
    """A program's way over all steps of a block, as part of a network's function."""

    def __init__(self, frame: Frame, flow: Flow, prefix: str, program: Program) -> None:
        self.frame, self.flow, self.program, self.prefix = frame, flow, program, prefix
        self.code, self.width = frame.code, frame.width
        wanted = frame.wanted
        whole = {op.name: [(op.type.min, op.type.max)] * op.elements for op in program.states}
        self.bounds = bounds(program, whole if wanted.given else None)
        check(program, self.bounds)
        self.traced = [op.name for op in program.ops if f"{prefix}.{op.name}" in wanted.trace]
        self.counted = [
            op.name for op in program.ops
            if wanted.counts and self.bounds[op.name].overflows and not isinstance(op, Lookup)
        ]  # fmt: skip
        self.products: dict[str, products.Product] = {}
        self.witnesses: dict[str, products.Witness] = {}
        for dot in program.dots:
            self.choose(dot)
        self.places: dict[str, Rows] = {}
        self.stages = self.plan()
        self.stored = self.store()
        for op in program.states:
            if wanted.states:
                frame.states[self.full(op.name)] = Kept(1, op.elements, self.bits(op.name))
        for name in self.counted:
            frame.counts[self.full(name)] = Kept(1, 1, 32)
        for name in self.traced:
            frame.trace[self.full(name)] = Kept(flow.steps, program.sizes[name], self.bits(name))

    def full(self, name: str) -> str:
        return f"{self.prefix}.{name}"

    def bits(self, name: str) -> int:
        """Word of an op in memory."""
        known = self.bounds[name]
        return word(known.low, known.high)

    def choose(self, op: Dot) -> None:
        """The arithmetic of a matrix product, and what tells its overflows if it does not itself."""
        frac, x, known = self.program[op.arg].type.frac, self.bounds[op.arg], self.bounds[op.name]
        self.products[op.name] = product = products.choose(op, frac, x, known, False)
        if op.name in self.counted and product.saturate is None:
            found = products.witness(product, op, x)
            if found is not None:
                self.witnesses[op.name] = found
            else:
                self.products[op.name] = products.choose(op, frac, x, known, True)

    # --- Plan

    def plan(self) -> list[Stage]:
        """Ops in order; runs of elementwise ones of a size, which need no element but their own, are one stage."""
        stages: list[Stage] = []
        group: list[Op] = []
        for op in self.program.ops:
            if isinstance(op, Input | State | Constant | Slice):
                continue
            if isinstance(op, _ELEMENTWISE):
                inside = {member.name for member in group}
                size = self.program.sizes
                alike = bool(group) and size[op.name] == size[group[0].name]
                bases = {self.base(name) for name in op.args if isinstance(self.program[name], Slice)}
                if not alike or bases & inside:
                    group = []
                    stages.append(group)
                group.append(op)
                continue
            group = []
            stages.append(op)
        return stages

    def base(self, name: str) -> str:
        """The op of which this one is a view, or itself."""
        op = self.program[name]
        while isinstance(op, Slice):
            op = self.program[op.arg]
        return op.name

    def store(self) -> set[str]:
        """Ops that must stand in memory: those that another stage, the next step or the caller reads."""
        stored = {self.base(self.program.output), *(self.base(op.update) for op in self.program.states)}
        stored |= {self.base(name) for name in self.traced}
        for stage in self.stages:
            ops = stage if isinstance(stage, list) else [stage]
            inside = {op.name for op in ops} if isinstance(stage, list) else set()
            stored |= {self.base(name) for op in ops for name in op.args if name not in inside}
        return stored

    # --- One step

    def emit(self, source: str, to: str, *, backward: bool) -> None:
        """Write the program's pass over all steps: from inputs at ``source`` to results at ``to``."""
        code, flow, program, frame = self.code, self.flow, self.program, self.frame
        mark = frame.memory.size
        self.counters = {name: frame.kept(frame.counts, self.full(name)) for name in self.counted}
        traces = {name: frame.kept(frame.trace, self.full(name)) for name in self.traced}
        for op in program.ops:
            if isinstance(op, Constant | State):
                self.places[op.name] = self.frame.rows(program.sizes[op.name], self.bits(op.name))
                self.begin(op)
        elements = program.elements
        all_rows = flow.output_elements
        first_row = self.frame.row(flow.output_bits) * (elements if backward else 0)
        last_only = flow.output_steps != flow.steps
        old = isinstance(program[self.base(program.output)], State)
        with code.loop(flow.steps) as t:
            step = t
            if backward and flow.steps > 1:
                step = code.op(f"sub nsw i64 {flow.steps - 1}, {t}")
            here = code.address(source, 0, (step, flow.elements * frame.row(flow.input_bits)))
            self.places[program.input.name] = Rows(here, 0, flow.input_bits)
            for stage in self.stages:
                self.stage(stage, t)
            for name, place in traces.items():
                rows, bits = program.sizes[name], self.bits(name)
                self.copy(name, Rows(code.address(place, 0, (step, rows * frame.row(bits))), 0, bits))
            if not last_only:
                row = all_rows * frame.row(flow.output_bits)
                self.copy(program.output, Rows(code.address(to, first_row, (step, row)), 0, flow.output_bits))
            elif old:
                self.copy(program.output, Rows(to, first_row, flow.output_bits))
            self.update()
        if last_only and not old:
            self.copy(program.output, Rows(to, first_row, flow.output_bits))
        if frame.wanted.states:
            for op in program.states:
                place = frame.kept(frame.states, self.full(op.name))
                self.copy(op.name, Rows(place, 0, self.bits(op.name)))
        frame.memory.size = mark

    def begin(self, op: State | Constant) -> None:
        """Fill a constant, or a state before the first step."""
        code, frame, rows = self.code, self.frame, self.places[op.name]
        if isinstance(op, State) and frame.wanted.states:
            place = frame.kept(frame.states, self.full(op.name))
            self.move(Rows(place, 0, rows.bits), rows, op.elements)
            return
        first = op.values.data if isinstance(op, Constant) else op.init.data if op.init else None
        if first is None:
            zero = code.constant(0, rows.bits)
            self.each(self.program.sizes[op.name], lambda at: self.put(zero, rows, at))
            return
        values = frame.constants(first.astype(WORDS[rows.bits]))
        vectors = self.frame.vectors
        with code.loop(first.size) as j, code.loop(vectors) as v:
            one = code.splat(code.address(values, 0, (j, rows.bits // 8)), rows.bits)
            self.put(one, rows, self.position(j, v))

    def stage(self, stage: Stage, t: str) -> None:
        if isinstance(stage, list):
            self.group(stage)
        elif isinstance(stage, Dot):
            self.dot(stage, t)
        elif isinstance(stage, Concat):
            self.concat(stage)
        elif isinstance(stage, Total):
            self.total(stage)
        elif isinstance(stage, Largest):
            self.largest(stage)
        elif isinstance(stage, OneHot):
            self.one_hot(stage)
        else:
            raise NotImplementedError(f"no kernel for {stage.kind}")

    def update(self) -> None:
        """States take their next values; a state that follows another state does so before that one changes."""
        program = self.program
        later = []
        for op in program.states:
            if isinstance(program[self.base(op.update)], State):
                aside = self.frame.rows(op.elements, self.bits(op.name))
                self.copy(op.update, aside)
                later.append((op, aside))
        for op in program.states:
            if not isinstance(program[self.base(op.update)], State):
                self.copy(op.update, self.places[op.name])
        for op, aside in later:
            self.move(aside, self.places[op.name], op.elements)

    # --- Rows

    def position(self, j: str, v: str) -> str:
        """Vector ``v`` of row ``j``, counted in vectors."""
        vectors = self.frame.vectors
        if vectors == 1 or j == "0":
            return j if vectors == 1 else v
        row = self.code.op(f"mul nuw nsw i64 {j}, {vectors}")
        return row if v == "0" else self.code.op(f"add nuw nsw i64 {row}, {v}")

    def each(self, rows: int, body: Callable[[str], None]) -> None:
        """One loop over every vector of some rows."""
        with self.code.loop(rows * self.frame.vectors) as at:
            body(at)

    def place(self, name: str) -> Rows:
        """Where an op's vector stands; a slice is a view."""
        op = self.program[name]
        if isinstance(op, Slice):
            rows = self.place(op.arg)
            return replace(rows, offset=rows.offset + op.start * self.frame.row(rows.bits))
        return self.places[name]

    def take(self, rows: Rows, at: str, bits: int = 0) -> Vec:
        """A vector of some rows, in words of at least 32 bits; of ``bits`` where sums in two parts are joined."""
        code = self.code
        step = code.lanes * rows.bits // 8
        value = code.load(code.address(rows.base, rows.offset, (at, step)), rows.bits)
        if not rows.split:
            return code.resize(value, max(32, rows.bits))
        lower = code.load(code.address(rows.base, rows.offset + rows.apart, (at, step)), rows.bits)
        upper = code.shift("shl", code.resize(value, bits or 64), rows.split)
        return code.add(upper, code.resize(lower, bits or 64))

    def value(self, name: str, at: str) -> Vec:
        """An op's vector from memory, in the narrowest word from 32 bits on."""
        bits = max(32, self.bits(name))
        return self.code.resize(self.take(self.place(name), at, bits), bits)

    def put(self, value: Vec, rows: Rows, at: str) -> None:
        code = self.code
        place = code.address(rows.base, rows.offset, (at, code.lanes * rows.bits // 8))
        code.store(code.resize(value, rows.bits), place)

    def move(self, rows: Rows, to: Rows, count: int) -> None:
        """Rows to other rows."""
        self.each(count, lambda at: self.put(self.take(rows, at), to, at))

    def copy(self, name: str, to: Rows) -> None:
        """An op's rows to other rows."""
        self.each(self.program.sizes[name], lambda at: self.put(self.value(name, at), to, at))

    # --- Elementwise ops

    def group(self, ops: list[Op]) -> None:
        """Ops of one size in one loop; what only they read stays in registers."""
        code, sizes = self.code, self.program.sizes
        size = sizes[ops[0].name]
        for op in ops:
            if op.name in self.stored:
                self.places[op.name] = self.frame.rows(size, self.bits(op.name))
        counted = [op.name for op in ops if op.name in self.counted]
        spread = any(sizes[name] < size and self.number(name) is None for op in ops for name in op.args)
        apart = spread or bool(counted)
        sums = self.split_sums(ops)
        with code.loop(self.frame.vectors if apart else 1) as v, self.tallies(counted, v) as tallies:
            with code.loop(size if apart else size * self.frame.vectors) as j:
                at = self.position(j, v) if apart else j
                known: dict[str, Vec] = {}
                for op in ops:
                    if op.name in sums:
                        continue
                    if isinstance(op, Lookup) and op.arg in sums:
                        result = self.read(op, self.index_of_sum(op, sums[op.arg], at))
                    else:
                        for name in op.args:
                            if name not in known:
                                known[name] = self.argument(name, v if sizes[name] < size else at)
                        result = self.apply(op, [known[name] for name in op.args], tallies.get(op.name))
                    known[op.name] = code.resize(result, max(32, self.bits(op.name)))
                    if op.name in self.stored:
                        self.put(known[op.name], self.places[op.name], at)

    def argument(self, name: str, at: str) -> Vec:
        """An operand from outside of a loop: a number, or from memory."""
        number = self.number(name)
        if number is None:
            return self.value(name, at)
        return self.code.constant(number, max(32, self.bits(name)))

    def apply(self, op: Op, args: list[Vec], tally: Var | None) -> Vec:
        """An elementwise op on vectors."""
        code = self.code
        if not isinstance(op, Lookup):
            return arithmetic.apply(code, op, args, self.program, self.bounds, tally)
        arg = self.bounds[op.arg]
        index = arithmetic.index(code, op, args[0], self.program[op.arg].type.frac, (arg.low, arg.high))
        return self.read(op, index)

    def read(self, op: Lookup, index: Vec) -> Vec:
        """Entries of the op's table."""
        entries = op.table.entries(op.type)
        bits = word(int(entries.min()), int(entries.max()))
        table = self.frame.constants(entries.astype(WORDS[bits]))
        return self.code.resize(self.code.lookup(table, bits, index), max(32, bits))

    def split_sums(self, ops: list[Op]) -> dict[str, str]:
        """Sums of which only a table's index is wanted, with the operand that stands in memory in two parts.

        The gates of a recurrent cell: their index needs no word that holds the sum.
        """
        found = {}
        for op in ops:
            add = self.program[op.arg] if isinstance(op, Lookup) else None
            if not isinstance(op, Lookup) or not isinstance(add, Add) or add not in ops or add.name in self.stored:
                continue
            users = [one for one in self.program.ops if add.name in one.args]
            plain = op.table.scale == 1 and op.table.round in (Round.TRN, Round.RND)
            known = self.bounds[add.name]
            if users == [op] and plain and not known.overflows and known.exact_frac == add.type.frac:
                inside = {one.name for one in ops}
                parts = [name for name in add.args if self.is_part_of_sum(name, op, add, inside)]
                if parts:
                    found[add.name] = parts[0]
        return found

    def is_part_of_sum(self, name: str, op: Lookup, add: Add, inside: set[str]) -> bool:
        """Whether an operand is in two parts, and 32-bit words hold all that the index of its sum takes."""
        other = add.b if name == add.a else add.a
        sizes, known = self.program.sizes, self.bounds[add.name]
        outside = not {name, other} & inside and sizes[name] == sizes[other] and self.number(name) is None
        if not outside or not self.place(name).split or self.program[name].type.frac != add.type.frac:
            return False
        split, shift = self.place(name).split, add.type.frac - op.table.frac
        if not split < shift < split + 30 or self.bits(other) > 32:
            return False
        half = 1 << (shift - split - 1)
        return fits((known.low >> split) - half, (known.high >> split) + half, 32)

    def index_of_sum(self, op: Lookup, name: str, at: str) -> Vec:
        """Index of a sum whose operand ``name`` is in two parts."""
        code, add, rows = self.code, self.program[op.arg], self.place(name)
        assert isinstance(add, Add)
        other = add.b if name == add.a else add.a
        step = code.lanes * rows.bits // 8
        upper, lower = (
            code.load(code.address(rows.base, rows.offset + apart, (at, step)), rows.bits) for apart in (0, rows.apart)
        )
        left = add.type.frac - self.program[other].type.frac
        shift = add.type.frac - op.table.frac
        return arithmetic.index_of_sum(code, op, upper, lower, rows.split, self.argument(other, at), left, shift)

    @contextmanager
    def tallies(self, names: Iterable[str], v: str) -> Iterator[dict[str, Var]]:
        """Overflow counts of a vector of sequences, in registers while the code inside runs."""
        code = self.code
        found = {name: code.variable(code.constant(0, 32)) for name in names}
        yield found
        for name, tally in found.items():
            place = code.address(self.counters[name], 0, (v, code.lanes * 4))
            code.store(code.add(code.load(place, 32), code.get(tally)), place)

    def number(self, name: str) -> int | None:
        """The number that a constant of one element is."""
        op = self.program[name]
        return int(op.values.data[0]) if isinstance(op, Constant) and op.values.shape[0] == 1 else None

    # --- Ops over whole vectors

    def dot(self, op: Dot, t: str) -> None:
        """A matrix product, and the wrap-around of its sum."""
        code, frame, known = self.code, self.frame, self.bounds[op.name]
        product = self.products[op.name]
        size = self.program.sizes[op.name]
        counting = op.name in self.counted
        hits = None
        if counting and product.saturate:
            hits = self.frame.rows(products.tile(product, self.width, code.lanes, frame.machine.registers).outputs, 32)
        sums = self.multiply(op, product, t, hits)
        if op.name in self.witnesses:
            self.watch(op, self.witnesses[op.name], sums, t)
            counting = False
        if product.split:
            sums = replace(sums, split=product.split, apart=size * frame.row(32))
        self.places[op.name] = sums
        names = [op.name] if counting else []
        if hits is not None:
            with code.loop(self.frame.vectors) as v, self.tallies(names, v) as tallies, code.loop(size) as j:
                hit = code.compare("ne", self.take(hits, self.position(j, v)), code.constant(0, 32))
                arithmetic.count(code, tallies[op.name], hit)
            return
        to = op.type
        done = product.bits == to.width and to.signed and not product.split
        if product.saturate or not known.overflows or (done and not counting):
            return
        wrapped = self.places[op.name] = self.frame.rows(size, self.bits(op.name))
        with code.loop(self.frame.vectors) as v, self.tallies(names, v) as tallies, code.loop(size) as j:
            at = self.position(j, v)
            self.put(arithmetic.fit(code, to, self.take(sums, at), True, tallies.get(op.name)), wrapped, at)

    def multiply(self, op: Dot, product: products.Product, t: str, hits: Rows | None = None) -> Rows:
        """The sums of a matrix product, padded to whole tiles."""
        code, frame = self.code, self.frame
        cut = products.tile(product, self.width, code.lanes, frame.machine.registers)
        weights, bias = products.packed(product, cut)
        step = weights[0].nbytes if product.weights.ndim == 3 else 0
        operands = self.operands(op, product)
        sums = self.frame.rows(cut.outputs, product.bits)
        places = (
            code.address(operands.base, operands.offset),
            code.address(frame.constants(weights), 0, *([(t, step)] if step else [])),
            frame.constants(bias),
            code.address(sums.base, sums.offset),
        )
        products.emit(code, product, cut, self.width, places, code.address(hits.base, hits.offset) if hits else None)
        return sums

    def watch(self, op: Dot, witness: products.Witness, sums: Rows, t: str) -> None:
        """Count the overflows of sums that were computed modulo their width."""
        if not witness.rows.size:
            return
        code = self.code
        whole = self.multiply(op, witness.product, t)
        rows = self.frame.constants(witness.rows.astype(np.int64))
        count = len(witness.rows)
        with code.loop(self.frame.vectors) as v, self.tallies([op.name], v) as tallies, code.loop(count) as k:
            row = code.op(f"load i64, ptr {code.address(rows, 0, (k, 8))}, align 8")
            near = code.shift("ashr", self.take(whole, self.position(k, v)), witness.shift)
            apart = code.binary("sub", near, self.take(sums, self.position(row, v)))
            arithmetic.count(code, tallies[op.name], code.outside(apart, 0, witness.inputs - 1))

    def operands(self, op: Dot, product: products.Product) -> Rows:
        """The argument as the product multiplies it."""
        code, frame = self.code, self.frame
        rows = self.place(op.arg)
        count, bits = products.operand_rows(product)
        inputs = self.program.sizes[op.arg]
        vectors = self.frame.vectors
        moved = rows.split or product.offset or product.left or product.order
        if product.kind != products.PAIRS and not moved and rows.bits == bits:
            return rows
        packed = self.frame.rows(count, bits)

        def shifted(at: str) -> Vec:
            value = code.resize(self.take(rows, at), max(32, bits))
            return code.shift("shl", code.plus(value, -product.offset), product.left)

        if product.kind != products.PAIRS:
            order = product.order if product.order and product.order != tuple(range(inputs)) else None
            table = frame.constants(np.array(order, np.int64)) if order else ""
            with code.loop(inputs) as k, code.loop(vectors) as v:
                source = k
                if order:
                    source = code.op(f"load i64, ptr {code.address(table, 0, (k, 8))}, align 8")
                self.put(shifted(self.position(source, v)), packed, self.position(k, v))
            return packed
        if inputs >= 2:
            with code.loop(inputs // 2) as k, code.loop(vectors) as v:
                two = code.op(f"shl nuw nsw i64 {k}, 1")
                first, second = (
                    shifted(self.position(two, v)),
                    shifted(self.position(code.op(f"or disjoint i64 {two}, 1"), v)),
                )
                lower = code.binary("and", first, code.constant(0xFFFF, 32))
                self.put(code.binary("or", lower, code.shift("shl", second, 16)), packed, self.position(k, v))
        if inputs % 2:
            with code.loop(vectors) as v:
                lower = code.binary("and", shifted(self.position(str(inputs - 1), v)), code.constant(0xFFFF, 32))
                self.put(lower, packed, self.position(str(inputs // 2), v))
        return packed

    def concat(self, op: Concat) -> None:
        rows = self.places[op.name] = self.frame.rows(self.program.sizes[op.name], self.bits(op.name))
        for part in op.parts:
            self.copy(part, rows)
            rows = replace(rows, offset=rows.offset + self.program.sizes[part] * self.frame.row(rows.bits))

    def total(self, op: Total) -> None:
        """Balanced tree; the left part is a power of two, so pairs at growing strides do it."""
        code, known, arg = self.code, self.bounds[op.name], self.bounds[op.arg]
        frac = self.program[op.arg].type.frac
        bits = max(
            arithmetic.compute_bits(op.type, frac, [(arg.low, arg.high)], known),
            32 if fits(*known.exact, 32) else 64,
        )
        terms = self.program.sizes[op.arg]
        scratch = self.frame.rows(terms, bits)
        result = self.places[op.name] = self.frame.rows(1, self.bits(op.name))
        shift, size = frac - op.type.frac, magnitude(arg.low, arg.high)
        mode = products.ROUNDS[op.type.round]
        counting = op.name in self.counted
        with code.loop(self.frame.vectors) as v:
            hit = code.variable(code.constant(0, 32))

            def fit(value: Vec) -> Vec:
                if counting:
                    outside = code.truth(code.outside(value, op.type.min, op.type.max), 32)
                    code.set(hit, code.binary("or", code.get(hit), outside))
                return arithmetic.fit(code, op.type, value, known.overflows, None)

            with code.loop(terms) as k:
                value = code.resize(self.value(op.arg, self.position(k, v)), bits)
                self.put(fit(code.round(value, shift, mode, size)), scratch, self.position(k, v))
            stride = 1
            while stride < terms:
                with code.loop(-(-(terms - stride) // (2 * stride))) as k:
                    left = code.op(f"mul nuw nsw i64 {k}, {2 * stride}")
                    right = code.op(f"add nuw nsw i64 {left}, {stride}")
                    a, b = (self.take(scratch, self.position(at, v)) for at in (left, right))
                    self.put(fit(code.add(a, b)), scratch, self.position(left, v))
                stride *= 2
            self.put(self.take(scratch, v), result, v)
            with self.tallies([op.name] if counting else [], v) as tallies:
                for tally in tallies.values():
                    code.set(tally, code.get(hit))

    def largest(self, op: Largest) -> None:
        code, known = self.code, self.bounds[op.name]
        result = self.places[op.name] = self.frame.rows(1, self.bits(op.name))
        bits = arithmetic.compute_bits(
            op.type, known.exact_frac, [known.exact, (self.bounds[op.arg].low, self.bounds[op.arg].high)], known
        )
        with code.loop(self.frame.vectors) as v:
            best = code.variable(code.resize(self.value(op.arg, v), bits))
            with code.loop(self.program.sizes[op.arg]) as k:
                value = code.resize(self.value(op.arg, self.position(k, v)), bits)
                code.set(best, code.larger(code.get(best), value))
            with self.tallies([op.name] if op.name in self.counted else [], v) as tallies:
                value = arithmetic.cast(code, op.type, code.get(best), known, tallies.get(op.name))
                self.put(value, result, v)

    def one_hot(self, op: OneHot) -> None:
        """1 at the first largest element."""
        code = self.code
        size = self.program.sizes[op.arg]
        result = self.places[op.name] = self.frame.rows(size, self.bits(op.name))
        one, zero = (code.constant(cast(v, 0, op.type), result.bits) for v in (1, 0))
        with code.loop(self.frame.vectors) as v:
            best = code.variable(self.value(op.arg, v))
            first = code.variable(code.constant(0, 32))
            now = code.variable(code.constant(0, 32))
            with code.loop(size) as k:
                value = self.value(op.arg, self.position(k, v))
                larger = code.compare("sgt", value, code.get(best))
                code.set(best, code.select(larger, value, code.get(best)))
                code.set(first, code.select(larger, code.get(now), code.get(first)))
                code.set(now, code.plus(code.get(now), 1))
            code.set(now, code.constant(0, 32))
            with code.loop(size) as k:
                chosen = code.compare("eq", code.get(now), code.get(first))
                self.put(code.select(chosen, one, zero), result, self.position(k, v))
                code.set(now, code.plus(code.get(now), 1))
