# SPDX-License-Identifier: Apache-2.0
"""Values that leave their formats, as one line: which tensor, what share of it, and the integer bits that hold it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..program.fixed import MAX_WIDTH, Fixed, IntArray, round_shift, smallest
from ..program.graph import Graph
from ..program.ops import Dot, Lookup, State
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

    Those of the layers that give outputs, and of what comes before them up to the last weights. Of a layer with states
    it is the result alone: to watch all casts of its loop takes time. What comes out of a table fits its format.
    """
    found: set[str] = set()
    wanted = set(graph.outputs)
    for node in reversed(graph.nodes):
        if node.name not in wanted:
            continue
        program = node.program
        if program is None:
            wanted |= {*node.sources}
            continue
        kinds = {type(op) for op in program.ops}
        if Lookup in kinds and State not in kinds:
            continue
        known = bounds(program)
        names = [base(program, program.output)] if program.states else known
        may = [name for name in names if known[name].overflows and not isinstance(program[name], Lookup)]
        found |= {f"{node.name}.{name}" for name in may}
        if not kinds & {Dot, State}:
            wanted |= {*node.sources}
    return frozenset(found)


def input_keys(graph: Graph) -> list[str]:
    """What the overflows of each input are called: ``input``, or where there are several, its name."""
    return [INPUT] if len(graph.inputs) == 1 else [tensor.name for tensor in graph.inputs]


def describe(graph: Graph, x: Any, run: Run) -> str:
    """One line for a run on ``x`` that counted overflows; empty where there are none."""
    xs: dict[str, NDArray[Any]] = {name: np.asarray(one) for name, one in graph.by_input(x).items()}
    doors = {key: (tensor, xs[tensor.name]) for key, tensor in zip(input_keys(graph), graph.inputs, strict=True)}
    places = {f"{prefix}.{op}": prefix for prefix, program in graph.programs.items() for op in program.sizes}
    shares: dict[str, float] = {}
    for name, count in run.overflows.items():
        if count and name in doors:
            shares[name] = count / doors[name][1].size
        elif count:
            prefix = places[name]
            size = graph.programs[prefix].sizes[name.rpartition(".")[2]]
            shares[name] = count / (len(next(iter(xs.values()))) * graph.tokens[prefix] * size)
    if not shares:
        return ""
    order = sorted(shares, key=lambda name: (name not in doors, -shares[name]))
    told = []
    for name in order[:_MOST]:
        if name in doors:
            tensor, x = doors[name]
            type, text = tensor.type, _bits(tensor.type, _extent(x, tensor.type))
        else:
            type = graph.programs[places[name]][name.rpartition(".")[2]].type
            text = _enough(graph, xs, run.overflow_counts[name], places[name], name)
        told.append(f"{100 * shares[name]:.3g} % of {name} in {type.plain} ({text})")
    more = f", and of {len(order) - _MOST} other tensors" if len(order) > _MOST else ""
    return f"values do not fit their formats: {', '.join(told)}{more}"


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


def _enough(graph: Graph, xs: Mapping[str, NDArray[Any]], counts: IntArray, prefix: str, name: str) -> str:
    """The integer bits for an op: its operands as they were, its result without limit."""
    from .run import simulate  # which imports this module

    program, steps = graph.programs[prefix], graph.tokens[prefix]
    op = program[name.rpartition(".")[2]]
    wide = replace(op, type=Fixed(MAX_WIDTH, op.type.frac, True, op.type.round))
    work = math.prod(op.weights.shape[-2:]) if isinstance(op, Dot) else program.sizes[op.name]
    where = np.flatnonzero(counts)
    some = where[: max(1, _BUDGET // (steps * work))]
    names = {arg: f"{prefix}.{arg}" for arg in op.args}
    run = simulate(graph, {one: x[some] for one, x in xs.items()}, trace=names.values(), overflows=False)
    low = high = 0
    every = max(1, -(-steps * work // _BUDGET))
    for sequence in range(len(some)):
        for step in range(0, steps, every):
            values: Mapping[str, list[int]] = {
                arg: run.trace[full][sequence, step].tolist() for arg, full in names.items()
            }
            result = evaluate(wide, program, values, {}, {}, step, Caster(wide.type))
            low, high = min(low, *result), max(high, *result)
    return _bits(op.type, (low, high), "at least " * (len(some) < len(where) or every > 1))
