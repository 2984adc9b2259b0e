# SPDX-License-Identifier: Apache-2.0
"""The small designs that campaigns work on: random weights, each folded in another way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import fxsim
from fxsim import golden as vectors
from fxsim.program.cells import Activation, CellTypes, Kernel, dense, gru, lstm, pointwise
from fxsim.program.fixed import Fixed, IntArray, Overflow, Round
from fxsim.program.graph import Graph, Node, chain
from fxsim.program.integers import Const, Table
from rtl.plan.folding import Folding, by_reuse
from testbenches.manifest import Manifest
from testbenches.vectors import Vectors

__all__ = ["BUFFERED", "DESIGNS", "Design", "export", "inputs"]

#: Steps and features of a sequence.
SHAPE = (4, 3)
#: Narrow formats, so that few bits are rounded away and a wrong one shows at the output.
INPUT, WEIGHT, GATE, HIDDEN = Fixed(6, 4), Fixed(5, 3), Fixed(7, 6), Fixed(7, 6, True, Round.RND, Overflow.SAT)
ACCUM, SUM, CELL = Fixed(11, 6), Fixed(8, 5, True, Round.RND, Overflow.SAT), Fixed(9, 6, True, Round.RND, Overflow.SAT)
TYPES = CellTypes(INPUT, GATE, HIDDEN, CELL, SUM, GATE, SUM)
#: Entries of a table, and fractional bits of its index: it reaches from -4 to 4.
ENTRIES, INDEX_FRAC = 64, 3


@dataclass(frozen=True)
class Design:
    """Recurrent layers, perhaps with a Dense layer and relu behind them, and how they are built."""

    cell: str
    units: int = 4
    tail: int = 0  #: outputs of the Dense layer; 0: none
    reuse: int = 1
    interleave: int = 1
    seed: int = 1
    layers: int = 1  #: recurrent ones
    flatten: bool = False  #: join all steps of the last one
    beat: int | None = None  #: elements of an input beat; those of a step by default

    def graph(self) -> Graph:
        """The network; its weights are drawn over their whole range, so that every gate opens, closes, saturates."""
        rng = np.random.default_rng(self.seed)

        def kernel(inputs: int, outputs: int, biased: bool = True) -> Kernel:
            low, high = WEIGHT.min, WEIGHT.max + 1
            bias = Const(rng.integers(low, high, outputs), WEIGHT) if biased else None
            return Kernel(Const(rng.integers(low, high, (inputs, outputs)), WEIGHT), bias, ACCUM)

        acts = _activation("tanh"), _activation("sigmoid")
        features, units = SHAPE[1], self.units
        layers: list[Node] = []
        for number in range(self.layers):
            types = TYPES if number == 0 else replace(TYPES, input=HIDDEN)
            if self.cell == "lstm":
                program = lstm(kernel(features, 4 * units), kernel(units, 4 * units, False), types, *acts)
            else:
                program = gru(kernel(features, 3 * units), kernel(units, 3 * units), types, *acts, reset_after=True)
            sequences = number + 1 < self.layers or self.flatten
            layers.append(Node(f"rnn{number}" if number else "rnn", self.cell, program, sequences))
            features = units
        if self.flatten:
            layers.append(Node("flatten", "flatten", None))
        if self.tail:
            layers.append(Node("dense", "dense", dense(kernel(units, self.tail), HIDDEN, SUM)))
            layers.append(Node("relu", "activation", pointwise(Activation("relu"), SUM, self.tail, SUM)))
        return chain(self.cell, SHAPE, INPUT, tuple(layers))


def _activation(name: str) -> Activation:
    index = np.arange(-ENTRIES // 2, ENTRIES // 2)
    x = index * 2.0**-INDEX_FRAC
    y = 1 / (1 + np.exp(-x)) if name == "sigmoid" else np.tanh(x)
    raw = np.clip(np.floor(y * 2.0**GATE.frac), GATE.min, GATE.max).astype(np.int64)
    return Activation(name, Table(name, INDEX_FRAC, Round.TRN, int(index[0]), Const(raw, GATE)))


#: By name; seeds under which the outputs take many values.
DESIGNS = {
    "lstm": Design("lstm", seed=10),
    "gru": Design("gru", seed=21),
    "folded": Design("lstm", tail=2, reuse=4, seed=13),
    "interleaved": Design("gru", tail=2, reuse=2, interleave=3, seed=12),
}


#: Designs with a buffer between layers, each filled in another way.
BUFFERED = {
    "parallel": Design("gru", units=2, tail=2, seed=12),
    "folded": DESIGNS["folded"],
    "interleaved": DESIGNS["interleaved"],
    "narrow": Design("gru", units=2, tail=2, reuse=2, beat=1, seed=12),
    "whole": Design("gru", units=2, tail=2, reuse=2, beat=SHAPE[0] * SHAPE[1], seed=12),
    "stacked": Design("gru", units=2, reuse=2, layers=2, seed=12),
    "joined": Design("gru", units=2, flatten=True, seed=12),
}


def inputs(graph: Graph, sequences: int) -> IntArray:
    """Raw inputs: those that exports come with, and from the second half on random ones with ever more extremes.

    Extremes in a row drive sums to where they saturate, which random numbers hardly do.
    """
    raw = vectors.random_inputs(graph, sequences)
    rng = np.random.default_rng(sequences)
    half = raw[sequences // 2 :]
    extremes = rng.choice([graph.input.min, graph.input.max], half.shape)
    uniform = rng.integers(graph.input.min, graph.input.max, half.shape, endpoint=True)
    half[:] = np.where(rng.random(half.shape) < rng.random((len(half), 1, 1)), extremes, uniform)
    return raw


def export(name: str, folder: Path, sequences: int, inner: bool = False) -> tuple[Manifest, Vectors]:
    """Export a design and golden vectors for that many sequences, as ``ip`` and ``vectors.npz`` of a folder.

    ``inner``: with the results of inner ops.
    """
    design = (BUFFERED | DESIGNS)[name]
    graph = design.graph()
    folder.mkdir(parents=True, exist_ok=True)
    reuse = {"rnn" if number == 0 else f"rnn{number}": design.reuse for number in range(design.layers)}
    fold = by_reuse(graph, reuse, base=Folding({}, design.interleave, beat=design.beat))
    facts = fxsim.export(graph, folder / "ip", folding=fold, top=name).manifest
    taps = facts["taps"] if inner else ()
    golden = vectors.golden(graph, inputs(graph, sequences), taps, design.beat)
    (folder / "vectors.npz").write_bytes(vectors.encode(golden))
    manifest = Manifest.load(folder / "ip")
    return manifest, Vectors.load(folder / "vectors.npz", manifest)
