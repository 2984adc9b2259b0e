# SPDX-License-Identifier: Apache-2.0
"""Random programs of all ops, formats and modes, and what the reference says of them, for tests."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
from networks import Part, in_row

from fxsim.program import reference
from fxsim.program.fixed import Fixed, Overflow, Round
from fxsim.program.graph import Graph, Node
from fxsim.program.integers import Const, Table
from fxsim.program.nodes import bidirectional
from fxsim.program.ops import (
    OPS,
    Add,
    Cast,
    Concat,
    Constant,
    Dot,
    Input,
    Lookup,
    Max,
    Min,
    Mul,
    Op,
    Remainder,
    Select,
    Slice,
    State,
    Sub,
)
from fxsim.program.program import Builder, Program
from fxsim.program.ranges import bounds
from fxsim.simulator import run as simulation
from fxsim.simulator import widths

STEPS, BATCH = 3, 5
MODES = list(itertools.product(Round, Overflow))
#: Elements that the ops of an odd network compute for one sequence; the reference takes about a microsecond for each.
MOST_WORK = 100_000
#: Sizes beside, at and between multiples of the lanes of every machine, far from those of the other ops.
ODD_SIZES = (1, 7, 8, 15, 16, 17, 31, 33, 64, 70, 130)


class Random:
    """Draws programs; ``most`` bounds the widths of formats. With ``odd`` some vectors are much longer than others.

    Even seeds have remainders in the place of casts.
    """

    def __init__(self, seed: int, most: int = 16, *, steps: int = STEPS, odd: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.seed, self.most, self.steps, self.odd = seed, most, steps, odd
        self.b = Builder()
        self.sizes: dict[str, int] = {}

    def int(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def flip(self) -> bool:
        return bool(self.rng.integers(2))

    def size(self, most: int) -> int:
        """Elements of a vector: up to ``most``, or an odd number of them."""
        if self.odd and self.int(0, 2) == 0:
            return int(self.rng.choice(ODD_SIZES))
        return self.int(1, most)

    def type(self) -> Fixed:
        rounding, over = MODES[self.int(0, len(MODES) - 1)]
        width = self.int(1, self.most)
        # Mostly near one another, so that casts drop few bits and ties are frequent.
        frac = self.int(0, 5) if self.int(0, 3) else self.int(-3, self.most - 3)
        return Fixed(width, frac, self.flip(), rounding, over)

    def const(self, *shape: int) -> Const:
        type = self.type()
        # Often the ends: there things overflow.
        values = self.rng.integers(type.min, type.max, size=shape, endpoint=True)
        return Const(np.where(self.rng.random(shape) < 0.1, type.min, values), type)

    def table(self) -> Table:
        rounding = list(Round)[self.int(0, 6)]
        frac, first, entries = self.int(-3, 4), self.int(-20, 5), self.int(2, 30)
        if self.odd and self.int(0, 3) == 0:
            entries = int(self.rng.choice([2, 3, 1000]))
            first = int(self.rng.choice([-(1 << 40), -(1 << 31), (1 << 31) - 1, 1 << 33, -entries, 0]))
        return Table("t", frac, rounding, first, self.const(entries), self.int(1, 7))

    def any(self, *sizes: int) -> str:
        """An op of one of these sizes, or any."""
        fitting = [name for name, size in self.sizes.items() if not sizes or size in sizes]
        return fitting[self.int(0, len(fitting) - 1)]

    def add(self, op: Op) -> str:
        self.sizes[op.name] = op.size(*(self.sizes[arg] for arg in op.args))
        return self.b.add(op)

    def op(self, name: str) -> str:
        """One more op of a random kind."""
        kinds = [kind for kind in OPS.values() if kind is not Remainder]
        kind = kinds[self.int(2, len(kinds) - 1)]
        type, arg = self.type(), self.any()
        size = self.sizes[arg]
        fields: dict[str, object] = {"arg": arg}
        if kind is Constant:
            values = self.const(self.size(4))
            type, fields = values.type, {"values": values}
        elif kind is Dot:
            outputs = self.size(6)
            shape = (self.steps, size, outputs) if self.int(0, 3) == 0 else (size, outputs)
            bias = self.const(outputs) if self.flip() else None
            fields |= {"weights": self.const(*shape), "bias": bias, "stride": self.int(1, size)}
        elif kind in (Add, Sub, Mul, Max, Min):
            fields = {"a": arg, "b": arg if self.int(0, 5) == 0 else self.any(1, size) if size > 1 else self.any()}
        elif kind is Cast and self.seed % 2 == 0:
            kind, fields = Remainder, fields | {"frac": self.int(-3, 6)}
        elif kind is Select:
            fields = {"condition": self.any(1, size), "a": arg, "b": self.any(1, size)}
        elif kind is Lookup:
            fields |= {"table": self.table()}
        elif kind is Slice:
            start = self.int(0, size - 1)
            type = self.b.type(arg)
            fields |= {"start": start, "stop": self.int(start + 1, size)}
        elif kind is Concat:
            type = self.b.type(arg)
            alike = [other for other in self.sizes if self.b.type(other) == type]
            fields = {"parts": (arg, *alike[: self.int(0, 2)])}
        return self.add(kind(name=name, type=type, **fields))

    def program(
        self, input: tuple[Fixed, int] | None = None, result: Fixed | None = None, *, stateful: bool = False
    ) -> Program:
        """A program; of an ``input`` of this format and size, with a ``result`` of this format, if they are given."""
        type, elements = input or (self.type(), self.size(5))
        self.add(Input(name="x", type=type, elements=elements))
        states = []
        for k in range(self.int(int(stateful), 2)):
            init = self.const(self.size(4))
            state = State(name=f"s{k}", type=init.type, elements=init.shape[0], update=f"next{k}", init=init)
            if self.flip():
                state = State(name=state.name, type=state.type, elements=state.elements, update=state.update)
            states.append(state)
            self.add(state)
        for k in range(self.int(2, 9)):
            self.op(f"op{k}")
        for k, state in enumerate(states):
            kind = (Add, Sub, Max)[self.int(0, 2)]
            other = self.any(1, state.elements)
            self.add(kind(name=f"next{k}", type=state.type, a=state.name, b=other))
        if result:
            self.add(Cast(name="result", type=result, arg=self.any()))
        return self.b.build("result" if result else self.any())

    def beside(self, program: Program) -> Program | None:
        """A program for the other direction, which has other sizes; None if this one has no states."""
        if not program.states:
            return None
        draw = Random(self.seed + 500, self.most, steps=self.steps, odd=self.odd)
        return draw.program((program.input.type, program.input.elements), program.type, stateful=True)

    def inputs(self, type: Fixed, elements: int, batch: int = BATCH) -> np.ndarray:
        raw = self.rng.integers(type.min, type.max, size=(batch, self.steps, elements), endpoint=True)
        return np.where(self.rng.random(raw.shape) < 0.1, type.max, raw)


def graph_of(program: Program, *, last: bool = False, backward: Program | None = None, steps: int = STEPS) -> Graph:
    """A network of one layer."""
    all_steps = not (last and program.states)
    layer: Part = Node("layer", "random", program, all_steps)
    if backward:
        layer = partial(bidirectional, "layer", "random", program, backward, all_steps)
    return in_row("g", (steps, program.input.elements), program.input.type, (layer,))


def odd_graph(seed: int) -> Graph:
    """One to three layers whose sizes have nothing in common: steps, elements, directions, states, tables."""
    rng = np.random.default_rng(seed)
    while True:
        steps = int(rng.choice([1, 1, 2, 3, 17, 200]))
        shape: tuple[int, ...] = ()
        layers: list[Part] = []
        for number in range(int(rng.integers(1, 4))):
            draw = Random(int(rng.integers(1 << 31)), int(rng.choice([7, 12, 16, 20])), steps=steps, odd=True)
            if not layers:
                program = draw.program()
                type = input = program.input.type
                elements = program.input.elements
                shape = (steps, elements)
            else:
                if len(shape) == 2 and math.prod(shape) < 500 and rng.random() < 0.3:
                    layers.append(Node(f"flat{number}", "flatten", None))
                    shape = (math.prod(shape),)
                draw.steps = shape[0] if len(shape) == 2 else 1
                program = draw.program((type, shape[-1]))
                if len(shape) == 1 and program.states:
                    continue
            backward = draw.beside(program) if rng.random() < 0.5 else None
            last = bool(program.states) and rng.random() < 0.4
            if backward:
                layers.append(partial(bidirectional, f"layer{number}", "random", program, backward, not last))
            else:
                layers.append(Node(f"layer{number}", "random", program, not last))
            graph = in_row("odd", (steps, elements), input, tuple(layers))
            shape, type = graph.output_shape, graph.output
        if graph.work < MOST_WORK:
            return graph


def inputs_of(graph: Graph, batch: int, seed: int = 0) -> np.ndarray:
    """Raw inputs, many of them the largest."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(graph.input.min, graph.input.max, (batch, *graph.shape), endpoint=True)
    return np.where(rng.random(raw.shape) < 0.1, graph.input.max, raw)


def agree(graph: Graph, batch: int, seed: int = 0) -> None:
    """Checked kernels give the reference's outputs, for blocks of sequences and for single ones."""
    raw = inputs_of(graph, batch, seed)
    want = by_reference(graph, raw)
    for more in ({"trace": True}, {"overflows": False}):
        run = simulation.simulate(graph, raw, raw=True, threads=1, checked=True, **more)
        assert np.array_equal(run.raw, want), more


def check(graph: Graph) -> None:
    """Raise TooWide where simulate would compare the reference with itself."""
    for program in graph.programs.values():
        widths.check(program, bounds(program))


def expected(graph: Graph, raw: np.ndarray, prefix: str = "layer"):
    """What the reference says of every op, the states after the last step, and the overflows, of the first layer."""
    program = graph.programs[prefix]
    overflows: dict[str, int] = {}
    traces, states = [], []
    for sequence in raw.tolist():
        trace, state = reference.scan(
            program, sequence[::-1] if prefix.endswith("backward") else sequence, None, overflows
        )
        traces.append(trace)
        states.append(state)
    values = {op.name: [[step[op.name] for step in trace] for trace in traces] for op in program}
    return values, {op.name: [state[op.name] for state in states] for op in program.states}, overflows


def by_reference(graph: Graph, raw: np.ndarray) -> np.ndarray:
    """Outputs of a whole network in Python integers, (batch, *output shape)."""
    results = []
    for sequence in raw.tolist():
        vectors = sequence if len(graph.shape) == 2 else [sequence]
        results.append(reference.network(graph, {graph.inputs[0].name: vectors})[graph.outputs[0]])
    return np.array(results).reshape(len(raw), *graph.output_shape)


def same(one: simulation.Run, two: simulation.Run) -> None:
    """Every number of one run is in the other, and equal."""
    assert np.array_equal(one.raw, two.raw)
    for field in ("state", "overflow_counts", "trace"):
        a, b = getattr(one, field), getattr(two, field)
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[name], b[name]) for name in a), field


def compare(graph: Graph, raw: np.ndarray) -> int:
    """Number of values compared; asserts that the compiled fold equals the reference in all of them."""
    check(graph)
    run = simulation.simulate(graph, raw, raw=True, trace=True, threads=1)
    same(run, simulation.simulate(graph, raw, raw=True, trace=True, threads=1, checked=True))
    # What is not asked for, sums may leave out: they are other kernels.
    plain = simulation.simulate(graph, raw, raw=True, overflows=False, threads=1)
    assert np.array_equal(plain.raw, run.raw)
    assert all(np.array_equal(plain.state[name], state) for name, state in run.state.items())
    # A few sequences without counts go one by one, their elements in the lanes.
    alone = simulation.simulate(graph, raw[:2], raw=True, overflows=False, trace=True, threads=1)
    assert np.array_equal(alone.raw, run.raw[:2])
    assert all(np.array_equal(value, run.trace[name][:2]) for name, value in alone.trace.items())
    same(alone, simulation.simulate(graph, raw[:2], raw=True, overflows=False, trace=True, threads=1, checked=True))
    compared = 0
    for prefix, program in graph.programs.items():
        values, states, overflows = expected(graph, raw, prefix)
        limits = bounds(program)
        for op in program:
            got = run.trace[f"{prefix}.{op.name}"]
            assert got.tolist() == values[op.name], op
            low, high = np.array(limits[op.name].result).T
            assert (low <= got).all() and (got <= high).all(), (op, limits[op.name])
            assert overflows[op.name] == run.overflows.get(f"{prefix}.{op.name}", 0), op
            assert limits[op.name].overflows or not overflows[op.name], op
            compared += got.size
        for name, state in states.items():
            assert run.state[f"{prefix}.{name}"].tolist() == state
    assert np.array_equal(run.raw, by_reference(graph, raw))
    return compared
