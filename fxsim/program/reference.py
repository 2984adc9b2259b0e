# SPDX-License-Identifier: Apache-2.0
"""Fold 1: programs in Python integers. Unbounded, slow and obvious; what every other fold must equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

from .fixed import Fixed, Overflow, overflow, round_shift
from .fixed import cast as fixed_cast
from .graph import Graph, Node
from .ops import (
    Add,
    AnyOp,
    Cast,
    Concat,
    Constant,
    Dot,
    Elementwise,
    Input,
    Largest,
    Lookup,
    Max,
    Min,
    Mul,
    OneHot,
    Reduction,
    Remainder,
    Select,
    Slice,
    State,
    Sub,
    Total,
)
from .program import Program

Vector = list[int]
#: A program's input vector; of one with several inputs, those by their names.
Vectors = Sequence[int] | Mapping[str, Sequence[int]]


def initial_state(program: Program) -> dict[str, Vector]:
    """The states before the first step of a sequence, by name."""
    return {op.name: op.init.data.tolist() if op.init else [0] * op.elements for op in program.states}


class Caster:
    """:func:`~fxsim.program.fixed.cast` into one format, remembering whether a value left it.

    ``count`` is the number of elements that did; a dot product or a total counts once, however many of its partial
    sums did.
    """

    def __init__(self, to: Fixed) -> None:
        self.to = to
        self.count = 0

    def __call__(self, raw: int, frac: int) -> int:
        value = round_shift(raw, frac - self.to.frac, self.to.round)
        result = overflow(value, self.to)
        self.count += not _inside(value, self.to)
        return result


def _inside(value: int, to: Fixed) -> bool:
    return to.min <= value <= to.max


def step(
    program: Program,
    x: Vectors,
    state: Mapping[str, Vector],
    time: int = 0,
    overflows: dict[str, int] | None = None,
) -> tuple[dict[str, Vector], dict[str, Vector]]:
    """One step of a program on one input vector.

    ``x`` are raw integers of the input's format (of each input by its name, if there are several), ``time`` the number
    of the step in its sequence. Returns every op's raw result by name, and the states after the step. ``overflows``
    collects by op how many elements left its format.
    """
    values: dict[str, Vector] = {}
    x = x if isinstance(x, Mapping) else {program.input.name: x}
    for op in program.ops:
        cast = Caster(op.type)
        values[op.name] = evaluate(op, program, values, x, state, time, cast)
        if overflows is not None:
            overflows[op.name] = overflows.get(op.name, 0) + cast.count
    return values, {op.name: values[op.update] for op in program.states}


def evaluate(
    op: AnyOp,
    program: Program,
    values: Mapping[str, Vector],
    x: Mapping[str, Sequence[int]],
    state: Mapping[str, Vector],
    time: int,
    cast: Caster,
) -> Vector:
    """Raw result of one op from the results of the earlier ones; ``cast`` is into the op's format."""
    args = [values[name] for name in op.args]
    fracs = [program[name].type.frac for name in op.args]
    match op:
        case Input():
            return [int(v) for v in x[op.name]]
        case State():
            return list(state[op.name])
        case Constant():
            return [int(v) for v in op.values.data]
        case Dot():
            return dot(op, args[0], fracs[0], time, cast)
        case Slice():
            return args[0][op.start : op.stop]
        case Concat():
            return [v for part in args for v in part]
        case Total() | Largest() | OneHot():
            return reduction(op, args[0], fracs[0], cast)
        case _:
            return elementwise(op, args, fracs, program.sizes[op.name], cast)


def elementwise(op: Elementwise, args: list[Vector], fracs: list[int], size: int, cast: Caster) -> Vector:
    """An element-wise op; an operand of one element meets all of the others'."""
    wide = [vector * size if len(vector) == 1 else vector for vector in args]
    frac = max(fracs)
    # All but products meet on a common grid.
    grid = [[v << (frac - f) for v in vector] for vector, f in zip(wide, fracs, strict=True)]
    match op:
        case Cast():
            return [cast(v, frac) for v in grid[0]]
        case Remainder():
            step = 1 << max(frac - op.frac, 0)
            return [cast(v % step, frac) for v in grid[0]]
        case Lookup():
            # The table is cast once, when it is built: nothing leaves a format at run time.
            entries = op.table.entries(op.type)
            return [int(entries[op.table.index(v, frac)]) for v in grid[0]]
        case Mul():
            return [cast(a * b, sum(fracs)) for a, b in zip(*wide, strict=True)]
        case Add():
            return [cast(a + b, frac) for a, b in zip(*grid, strict=True)]
        case Sub():
            return [cast(a - b, frac) for a, b in zip(*grid, strict=True)]
        case Max():
            return [cast(max(a, b), frac) for a, b in zip(*grid, strict=True)]
        case Min():
            return [cast(min(a, b), frac) for a, b in zip(*grid, strict=True)]
        case Select():
            return [cast(a if c > 0 else b, frac) for c, a, b in zip(*grid, strict=True)]
        case _:
            assert_never(op)


def reduction(op: Reduction, arg: Vector, frac: int, cast: Caster) -> Vector:
    """An op over all elements of a vector."""
    match op:
        case Total():
            total = tree_total([cast(v, frac) for v in arg], cast)
            cast.count = min(cast.count, 1)
            return [total]
        case Largest():
            return [cast(max(arg), frac)]
        case OneHot():
            first = arg.index(max(arg))
            return [fixed_cast(int(i == first), 0, op.type) for i in range(len(arg))]
        case _:
            assert_never(op)


def dot(op: Dot, x: Vector, frac: int, time: int, cast: Caster) -> Vector:
    """``bias + x @ weights``, product by product in the op's order."""
    weights = op.weights.data[time] if op.weights.data.ndim == 3 else op.weights.data
    product_frac = frac + op.weights.type.frac
    result = []
    overflowed = 0
    for k in range(weights.shape[1]):
        total = exact = fixed_cast(int(op.bias.data[k]), op.bias.type.frac, op.type) if op.bias else 0
        cast.count = 0
        for j in op.order():
            product = x[j] * int(weights[j, k])
            exact += round_shift(product, product_frac - op.type.frac, op.type.round)
            total = cast(total + cast(product, product_frac), op.type.frac)
        # A sum that wraps and comes back has lost nothing; one that saturated on the way has.
        wraps = op.type.overflow is Overflow.WRAP
        overflowed += not _inside(exact, op.type) if wraps else cast.count > 0
        result.append(total)
    cast.count = overflowed
    return result


def tree_total(values: Vector, cast: Caster) -> int:
    """Sum of values in the caster's format by the balanced tree of :class:`~fxsim.program.program.Total`."""
    if len(values) == 1:
        return values[0]
    left = 1 << ((len(values) - 1).bit_length() - 1)
    return cast(tree_total(values[:left], cast) + tree_total(values[left:], cast), cast.to.frac)


def scan(
    program: Program,
    xs: Sequence[Vectors],
    state: Mapping[str, Vector] | None = None,
    overflows: dict[str, int] | None = None,
) -> tuple[list[dict[str, Vector]], dict[str, Vector]]:
    """A program over one sequence: every op's result at every step, and the states after the last one."""
    now = dict(initial_state(program) if state is None else state)
    trace = []
    for time, x in enumerate(xs):
        values, now = step(program, x, now, time, overflows)
        trace.append(values)
    return trace, now


def network(
    graph: Graph,
    inputs: Mapping[str, Sequence[Vector]],
    trace: dict[str, list[Vector]] | None = None,
    overflows: dict[str, int] | None = None,
) -> dict[str, list[Vector]]:
    """A network on one sequence: all tensors by their names, each as its vectors step by step.

    ``inputs`` are the raw integers of each input; a tensor without steps is one vector. ``trace`` takes the results of
    all ops by ``layer.op``, in the order in which their layer takes the steps, ``overflows`` how many elements left
    their format.
    """
    flow = {tensor.name: [list(vector) for vector in inputs[tensor.name]] for tensor in graph.inputs}
    for node in graph.nodes:
        sources = [flow[name] for name in node.sources]
        if node.program is None:
            flow[node.name] = move(node, sources)
            continue
        names = [op.name for op in node.program.inputs]
        counts: dict[str, int] = {}
        steps, _ = scan(
            node.program, [dict(zip(names, at, strict=True)) for at in zip(*sources, strict=True)], None, counts
        )
        results = [values[node.program.output] for values in steps]
        flow[node.name] = results if node.return_sequences else results[-1:]
        if trace is not None:
            trace |= {f"{node.name}.{op.name}": [values[op.name] for values in steps] for op in node.program.ops}
        if overflows is not None:
            overflows |= {f"{node.name}.{name}": count for name, count in counts.items()}
    return flow


def move(node: Node, sources: Sequence[list[Vector]]) -> list[Vector]:
    """The vectors that a node without a program makes of those of its sources."""
    first = sources[0]
    match node.kind:
        case "flatten":
            return [[value for vector in first for value in vector]]
        case "reshape":
            elements = len(first[0]) // (node.steps or 1)
            return [first[0][start : start + elements] for start in range(0, len(first[0]), elements)]
        case "reverse":
            return first[::-1]
        case "repeat":
            return [list(first[0]) for _ in range(node.steps or 1)]
        case _:
            return [[value for vector in at for value in vector] for at in zip(*sources, strict=True)]
