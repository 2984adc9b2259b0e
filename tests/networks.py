# SPDX-License-Identifier: Apache-2.0
"""Small random networks with random formats, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from fxsim.program.cells import Activation, CellTypes, Kernel, dense, gru, lstm, pointwise, simple_rnn
from fxsim.program.fixed import Fixed, Overflow, Round
from fxsim.program.graph import Graph, Node, row
from fxsim.program.integers import Const, Table
from fxsim.program.nodes import bidirectional
from fxsim.program.program import Program

#: A node, or what makes nodes that end in one, for the tensor that they read.
Part = Node | Callable[[str], list[Node]]


def in_row(name: str, shape: tuple[int, ...], input: Fixed, parts: Sequence[Part]) -> Graph:
    """A network of parts behind one another."""
    nodes: list[Node] = []
    source = "input"
    for part in parts:
        nodes += [replace(part, sources=(source,))] if isinstance(part, Node) else part(source)
        source = nodes[-1].name
    return row(name, shape, input, nodes, "input")


def table(function: str, type: Fixed, rounding: Round = Round.TRN_ZERO, entries: int = 64, frac: int = 3) -> Table:
    """A coarse table of sigmoid or tanh."""
    index = np.arange(-entries // 2, entries // 2)
    x = index * 2.0**-frac
    y = 1 / (1 + np.exp(-x)) if function == "sigmoid" else np.tanh(x)
    raw = np.clip(np.floor(y * 2.0**type.frac), type.min, type.max).astype(np.int64)
    return Table(function, frac, rounding, int(index[0]), Const(raw, type))


def formats(seed: int, wrap: bool) -> dict[str, Fixed]:
    """A format with random modes for every place of a cell; accumulators that wrap, or saturate."""
    rng = np.random.default_rng(seed)

    def one(low: int, high: int, integer: int, overflow: Overflow | None = None) -> Fixed:
        width = int(rng.integers(low, high))
        rounding = list(Round)[int(rng.integers(len(Round)))]
        over = overflow or list(Overflow)[int(rng.integers(len(Overflow)))]
        return Fixed(width, width - integer, True, rounding, over)

    # Narrow enough for sums to leave it.
    accum = one(9, 16, 3, Overflow.WRAP) if wrap else one(7, 14, 2, Overflow.SAT)
    return {
        "input": one(5, 12, 2),
        "weight": one(5, 10, 2).plain,
        "accum": accum,
        "sum": one(8, 14, 3),
        "gate": one(6, 12, 2),
        "cell": one(8, 14, 3),
        "hidden": one(7, 12, 1),
        "result": one(7, 12, 3),
    }


def network(
    cell: str = "lstm",
    *,
    seed: int = 0,
    steps: int = 4,
    features: int = 3,
    units: int = 4,
    backward: tuple[str, int] | None = None,
    tail: tuple[int, ...] = (),
    return_sequences: bool = False,
    flatten: bool = False,
    wrap: bool = True,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    entries: int = 64,
) -> Graph:
    """A recurrent layer and a tail of Dense + relu layers, all weights and formats random from ``seed``.

    ``cell`` is lstm, gru, gru_before (reset_after=False) or simple_rnn; ``entries`` those of its tables, from -4 to 4.
    ``backward`` are cell and units of the other direction, whose formats inside are others.
    """
    rng = np.random.default_rng(seed + 1000)
    f = formats(seed, wrap)

    def kernel(inputs: int, outputs: int, biased: bool = True) -> Kernel:
        w = f["weight"]
        weights = rng.integers(w.min, w.max + 1, (inputs, outputs))
        weights[rng.random(weights.shape) < 0.1] = 0
        bias = Const(rng.integers(w.min, w.max + 1, outputs), w) if biased else None
        return Kernel(Const(weights, w), bias, f["accum"])

    def function(name: str) -> Activation:
        if name in ("sigmoid", "tanh"):
            return Activation(name, table(name, Fixed(10, 8), entries=entries, frac=entries.bit_length() - 4))
        return Activation(name)

    def recurrent(cell: str, units: int) -> Program:
        types = CellTypes(f["input"], f["gate"], f["hidden"], f["cell"], f["sum"], f["gate"], f["sum"])
        acts = function(activation), function(recurrent_activation)
        if cell == "lstm":
            return lstm(kernel(features, 4 * units), kernel(units, 4 * units, False), types, *acts)
        if cell == "simple_rnn":
            return simple_rnn(kernel(features, units), kernel(units, units, False), types, acts[0])
        return gru(
            kernel(features, 3 * units), kernel(units, 3 * units), types, *acts, reset_after=cell != "gru_before"
        )

    program, other = recurrent(cell, units), None
    elements, type = units, program.type
    if backward:
        f = formats(seed + 1, wrap) | {"input": f["input"], "hidden": f["hidden"], "result": f["result"]}
        other = recurrent(*backward)
        elements += other.elements
    layers: list[Part] = [Node(cell, cell, program, return_sequences or flatten)]
    if other:
        layers = [partial(bidirectional, cell, cell, program, other, return_sequences or flatten)]
    if flatten:
        layers.append(Node("flatten", "flatten", None))
        elements *= steps
    for k, size in enumerate(tail):
        layers.append(Node(f"dense{k}", "dense", dense(kernel(elements, size), type, f["result"])))
        relu = pointwise(Activation("relu"), f["result"], size, f["result"])
        layers.append(Node(f"relu{k}", "activation", relu))
        elements, type = size, f["result"]
    return in_row(f"{cell}{seed}", (steps, features), f["input"], tuple(layers))
