# SPDX-License-Identifier: Apache-2.0
"""Values that leave their formats, as one line: which tensor, what share of it, and the integer bits that hold it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..program.fixed import MAX_WIDTH, Fixed, IntArray, round_shift, smallest
from ..program.graph import Graph
from ..program.ops import Dot, Lookup, State
from ..program.program import Program
from ..program.ranges import bounds
from ..program.reference import Caster, evaluate
from .program_kernel import base

if TYPE_CHECKING:
    from .run import Run

#: The input among the tensors, whose other names are all ``layer.op``.
INPUT = "input"
#: Tensors that a line names.
_MOST = 3
#: Elements that are computed once more, products of matrices included, to see how large they would be.
_BUDGET = 100_000


def door(graph: Graph) -> frozenset[str]:
    """The ops, by full name, whose casts make the outputs and can overflow.

    Those of the last layer, and of what comes before it up to the last weights. Of a layer with states it is the result
    alone: to watch all casts of its loop takes time. What comes out of a table fits its format.
    """
    found: set[str] = set()
    for layer in reversed(graph.layers):
        programs = layer.programs.items()
        kinds = {type(op) for _, program in programs for op in program.ops}
        if Lookup in kinds and State not in kinds:
            break
        for prefix, program in programs:
            known = bounds(program)
            names = [base(program, program.output)] if program.states else known
            may = [name for name in names if known[name].overflows and not isinstance(program[name], Lookup)]
            found |= {f"{prefix}.{name}" for name in may}
        if kinds & {Dot, State}:
            break
    return frozenset(found)


def describe(graph: Graph, x: NDArray[Any], run: Run) -> str:
    """One line for a run on values ``x`` (batch, *shape) that counted overflows; empty where there are none."""
    places = {f"{prefix}.{op.name}": (prefix, program) for prefix, program, op in _ops(graph)}
    steps = {
        prefix: shape[0] if len(shape) == 2 else 1
        for layer, shape, _, _, _ in graph.flow()
        for prefix in layer.programs
    }
    shares: dict[str, float] = {}
    for name, count in run.overflows.items():
        if count and name == INPUT:
            shares[name] = count / x.size
        elif count:
            prefix, program = places[name]
            shares[name] = count / (len(x) * steps[prefix] * program.sizes[name.rpartition(".")[2]])
    if not shares:
        return ""
    order = sorted(shares, key=lambda name: (name != INPUT, -shares[name]))
    told = []
    for name in order[:_MOST]:
        if name == INPUT:
            type, text = graph.input, _bits(graph.input, _extent(x, graph.input))
        else:
            prefix, program = places[name]
            type = program[name.rpartition(".")[2]].type
            text = _enough(graph, x, run.overflow_counts[name], prefix, program, name)
        told.append(f"{100 * shares[name]:.3g} % of {name} in {type.plain} ({text})")
    more = f", and of {len(order) - _MOST} other tensors" if len(order) > _MOST else ""
    return f"values do not fit their formats: {', '.join(told)}{more}"


def _ops(graph: Graph) -> Iterator[tuple[str, Program, Any]]:
    for layer in graph.layers:
        for prefix, program in layer.programs.items():
            for op in program.ops:
                yield prefix, program, op


def _extent(x: NDArray[Any], to: Fixed) -> tuple[int, int]:
    """The least and the largest of some values as raw integers without limit."""
    ends = [float(end).as_integer_ratio() for end in (x.min(), x.max())]
    low, high = (round_shift(up, down.bit_length() - 1 - to.frac, to.round) for up, down in ends)
    return low, high


def _bits(type: Fixed, extent: tuple[int, int], least: str = "") -> str:
    """The integer bits that a format of this kind needs for raw integers from one to another."""
    needed = smallest(*extent, type.frac)
    if needed.signed and not type.signed:
        return f"{least}{needed.integer} integer bits and a sign would do"
    return f"{least}{needed.integer + (type.signed and not needed.signed)} integer bits would do"


def _enough(graph: Graph, x: NDArray[Any], counts: IntArray, prefix: str, program: Program, name: str) -> str:
    """The integer bits for an op: its operands as they were, its result without limit."""
    from .run import simulate  # which imports this module

    op = program[name.rpartition(".")[2]]
    wide = replace(op, type=Fixed(MAX_WIDTH, op.type.frac, True, op.type.round))
    shape = next(shape for layer, shape, _, _, _ in graph.flow() if prefix in layer.programs)
    steps = shape[0] if len(shape) == 2 else 1
    work = math.prod(op.weights.shape[-2:]) if isinstance(op, Dot) else program.sizes[op.name]
    where = np.flatnonzero(counts)
    some = where[: max(1, _BUDGET // (steps * work))]
    names = {arg: f"{prefix}.{arg}" for arg in op.args}
    run = simulate(graph, x[some], trace=names.values(), overflows=False)
    low = high = 0
    every = max(1, -(-steps * work // _BUDGET))
    for sequence in range(len(some)):
        for step in range(0, steps, every):
            values: Mapping[str, list[int]] = {
                arg: run.trace[full][sequence, step].tolist() for arg, full in names.items()
            }
            result = evaluate(wide, program, values, (), {}, step, Caster(wide.type))
            low, high = min(low, *result), max(high, *result)
    return _bits(op.type, (low, high), "at least " * (len(some) < len(where) or every > 1))
