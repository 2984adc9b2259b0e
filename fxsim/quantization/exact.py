# SPDX-License-Identifier: Apache-2.0
"""The default preset: the best accuracy for the bits that cost hardware.

A precision ``ap_fixed<W,I>`` is the format of the network's input and output, and W the width of everything that a
matrix product multiplies. Products and sums are exact; a value is rounded once, where it is kept or multiplied again.
How each format follows from W, I, the weights and proven ranges is written in ``docs/arithmetic.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial, reduce
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from ..errors import FxsimError
from ..importers.gates import GATES
from ..importers.source import (
    GRU,
    LSTM,
    Activation,
    BatchNormalization,
    Bidirectional,
    Dense,
    Flatten,
    Function,
    Idle,
    Merge,
    Moving,
    Recurrent,
    Repeat,
    Reshape,
    Reverse,
    SimpleRNN,
    Source,
    SourceLayer,
)
from ..program import cells
from ..program.cells import CellTypes, Kernel
from ..program.fixed import Fixed, smallest
from ..program.graph import Graph, Node, Tensor, Wiring
from ..program.nodes import bidirectional
from ..program.ops import Cast
from ..program.program import Program
from ..program.ranges import bounds
from .batch_norm import folded
from .exact_activations import Exact, Tables, constant, log_softmax, softmax
from .exact_formats import Formats, bias_const, lean, weight_const
from .exact_sums import SUMS, bound, centres, check_sums, cut, fitted, half_step, narrow_pair, places, tolerance
from .exact_tables import LEAST_PLACES, check_size

#: Functions of a whole vector, which only subtract and compare their operands.
_SOFTMAX = ("softmax", "log_softmax")
_FUNCTIONS = (*cells.ARITHMETIC, *cells.TABLED, *cells.HALF_TABLED)


def quantize(
    source: Source,
    precision: Fixed | str,
    *,
    layers: Mapping[str, Fixed | str] | None = None,
    table_size: int | None = None,
    sums: str = SUMS[0],
) -> Graph:
    """The network in formats that follow from one precision; raises ``FxsimError`` naming what is not legal.

    ``precision`` is ``ap_fixed<W,I>`` with W from 2 to 32; values round to nearest and saturate unless it has modes of
    its own (a ``Fixed`` that truncates and wraps counts as one without). ``layers`` gives layers a precision of their
    own: for weights, for what they keep inside, and for their result; the network's input keeps ``precision``.
    ``table_size`` is the most entries that a table of a function has, from 16 to 65536; None: tables as large as the
    precision asks for, and interpolated where those would be too large. ``sums``: "exact", or "narrow", which cuts
    products of matrices below what reads their sum (:mod:`fxsim.quantization.exact_sums`).
    """
    if table_size is not None:
        table_size = check_size(table_size)
    whole = Formats.of(precision)
    own = {name: Formats.of(one) for name, one in (layers or {}).items()}
    source = folded(source.active, own)
    doors = [Tensor.of(door.name, door.shape, whole.precision) for door in source.inputs]
    wiring = Wiring(*doors)
    # A layer may be several nodes, of which the last one has another name.
    results = dict(wiring.tensors)
    for layer in source.layers:
        xs = tuple(results[name] for name in layer.sources)
        flow = _Flow(own.get(layer.name, whole), xs, table_size, check_sums(sums) == "narrow")
        after = None
        readers = source.readers(layer.name)
        if len(readers) == 1 and isinstance(readers[0], Activation) and layer.name not in source.outputs:
            after = _After(readers[0], own.get(readers[0].name, whole), _given(source, readers[0].name))
        results[layer.name] = wiring.add(*flow.layer(layer, after, _given(source, layer.name)))
    return wiring.graph(source.name, *(results[name].name for name in source.outputs))


def _given(source: Source, name: str) -> bool:
    """Whether a layer's result is the network's, at most moved."""
    moved = (layer.name for layer in source.readers(name) if isinstance(layer, Moving | Reverse | Repeat))
    return name in source.outputs or any(_given(source, one) for one in moved)


@dataclass(frozen=True)
class _After:
    """The activation layer behind a layer, its formats, and whether it gives the network's result."""

    layer: Activation
    formats: Formats
    last: bool


class _Flow:
    """Builds the nodes of a layer that reads ``xs``; ``x`` is the first of them."""

    def __init__(self, formats: Formats, xs: tuple[Tensor, ...], table_size: int | None, narrow: bool) -> None:
        self.formats = formats
        self.xs, self.x = xs, xs[0]
        self.table_size = table_size
        self.narrow = narrow

    @property
    def tables(self) -> Tables:
        """How large the tables of the layer are."""
        return Tables(self.formats, self.table_size)

    def layer(self, layer: SourceLayer, after: _After | None, last: bool) -> list[Node]:
        """The graph's nodes for a layer of the source; ``last``: it gives the network's result."""
        match layer:
            case Flatten():
                return [self.node(layer, None)]
            case Reshape():
                return [replace(self.node(layer, None), steps=layer.steps)]
            case Dense():
                return [self.node(layer, self.dense(layer, after, last))]
            case Activation():
                return [self.node(layer, self.activation(layer, last))]
            case LSTM() | GRU() | SimpleRNN():
                return [replace(self.node(layer, self.cell(layer, last)), return_sequences=layer.return_sequences)]
            case Bidirectional():
                return self.bidirectional(layer, last)
            case Reverse():
                return [self.node(layer, None)]
            case Repeat():
                return [replace(self.node(layer, None), steps=layer.steps)]
            case BatchNormalization():
                return [self.node(layer, self.scaled(layer, after, last))]
            case Merge():
                return [self.merge(layer, last)]
            case Idle():
                return []
            case _:
                assert_never(layer)

    def node(self, layer: SourceLayer, program: Program | None) -> Node:
        """The node of a layer that reads ``x``."""
        kind = layer.kind
        if isinstance(layer, Activation) and layer.function.name in _SOFTMAX:
            kind = layer.function.name
        return Node(layer.name, kind, program, sources=tuple(x.name for x in self.xs))

    def kernel(self, layer: Dense | Recurrent, matrix: str, bias: str, x: Fixed, shape: tuple[int, int]) -> Kernel:
        """Weights in W bits, bias on the grid of the products, and an accumulator that no input can overflow."""
        weights = weight_const(_array(layer, matrix, shape), self.formats.width)
        frac = x.frac + weights.type.frac
        values = _array(layer, bias, shape[1:]) if bias in layer.weights else np.zeros(shape[1])
        if not layer.use_bias and values.any():
            raise FxsimError(f"{layer.where}: weight {bias!r} must be zero without use_bias")
        constant = bias_const(values, frac) if values.any() else None
        return fitted(Kernel(weights, constant, x), x, frac)

    def dense(self, layer: Dense, after: _After | None, last: bool) -> Program:
        """A Dense layer; a function behind it reads the exact sum, so that only the function's result is rounded."""
        formats = self.formats
        kernel = self.kernel(layer, "kernel", "bias", self.x.type, (self.x.elements, layer.units))
        if after is not None and not last and after.layer.function.name not in _SOFTMAX:
            if self.narrow:
                kernel = self.read_by(after, kernel)
            return cells.dense(kernel, self.x.type, kernel.accum)
        result = formats.precision
        if not last:
            found = bounds(cells.dense(kernel, self.x.type, kernel.accum))["y"]
            # Softmax only compares and subtracts: bits cost it no multiplier, and logits must not saturate.
            fit = formats.logits if after else partial(formats.fit, width=formats.width)
            result = fit(found.low, found.high, kernel.accum.frac)
        if self.narrow:
            frac = places([kernel], half_step(result))
            kernel = kernel if frac is None else cut(kernel, self.x.type, frac, centres(kernel, frac))
        return cells.dense(kernel, self.x.type, result)

    def scaled(self, layer: BatchNormalization, after: _After | None, last: bool) -> Program:
        """A scale and a shift; as behind a Dense layer, a function that follows reads the exact sum."""
        formats = self.formats
        scale = weight_const(layer.scale, formats.width)
        shift = bias_const(layer.shift, self.x.type.frac + scale.type.frac)

        def build(result: Fixed | None) -> Program:
            return cells.scaled(self.x.type.plain, scale, shift, result)

        exact = bounds(build(None))["y"]
        if after is not None and not last and after.layer.function.name not in _SOFTMAX:
            return build(smallest(exact.low, exact.high, exact.exact_frac))
        result = formats.precision
        if not last:
            fit = formats.logits if after else partial(formats.fit, width=formats.width)
            result = fit(exact.low, exact.high, exact.exact_frac)
        return lean(build(result), formats.wide)

    def merge(self, layer: Merge, last: bool) -> Node:
        """Several tensors as one: exact, and cast once; side by side they take the format that holds all of them."""
        formats, types = self.formats, [x.type.plain for x in self.xs]
        sizes = [x.elements for x in self.xs]
        sources = tuple(x.name for x in self.xs)
        if layer.function == "concatenate":
            result = formats.precision if last else reduce(formats.common, (x.type for x in self.xs))
            if all(x.type == result for x in self.xs):
                return Node(layer.name, "concat", sources=sources)
            program = cells.combine(layer.function, types, sizes, result)
            return Node(layer.name, layer.function, program, sources=sources)
        share = constant(1 / len(types), wide=formats.wide)

        def build(result: Fixed) -> Program:
            return lean(cells.combine(layer.function, types, sizes, result, share), formats.wide)

        result = formats.precision
        if not last:
            found = bounds(build(result))["y"]
            result = formats.fit(*found.exact, found.exact_frac, formats.width)
        return Node(layer.name, layer.function, build(result), sources=sources)

    def read_by(self, after: _After, kernel: Kernel) -> Kernel:
        """The kernel of a Dense layer, its products cut below what the function behind it can see."""
        sums = Tensor(after.layer.name, None, kernel.weights.shape[1], kernel.accum)
        flow = _Flow(after.formats, (sums,), self.table_size, self.narrow)
        frac = places([kernel], flow.error_behind(after, kernel.accum))
        while frac is not None and frac < kernel.accum.frac:
            narrow = cut(kernel, self.x.type, frac, centres(kernel, frac))
            # The function's result may have another format where the sum has one.
            if bound([kernel], frac) <= flow.error_behind(after, narrow.accum):
                return narrow
            frac += 1
        return kernel

    def error_behind(self, after: _After, type: Fixed) -> Fraction:
        """How far a sum in some format may be off where an activation layer reads it."""
        self.x = replace(self.x, type=type)
        return self.error(after.layer.function, self.activation(after.layer, after.last).type)

    def error(self, function: Function, result: Fixed) -> Fraction:
        """How far a sum may be off where a function of some result reads it."""
        return tolerance(function, result, max(self.formats.places, LEAST_PLACES))

    def activation(self, layer: Activation, last: bool) -> Program:
        """An activation layer: functions with a range in all bits, others in the integer bits that they need."""
        formats, name, size = self.formats, layer.function.name, self.x.elements
        if name == "softmax":
            result = formats.precision if last else formats.unit(0, formats.width)
            return lean(softmax(self.x.type, size, result, self.tables), formats.wide)
        if name == "log_softmax":
            program = log_softmax(self.x.type, size, formats.precision, self.tables)
            return lean(program, formats.wide)
        function = self.function(layer, layer.function)

        def build(result: Fixed) -> Program:
            return lean(cells.pointwise(function, self.x.type.plain, size, result), formats.wide)

        result = formats.precision
        if not last:
            found = bounds(build(result))["y"]
            ranged = formats.ranged(name, formats.width)
            result = ranged or formats.fit(*found.exact, found.exact_frac, formats.width)
        return build(result)

    def bidirectional(self, layer: Bidirectional, last: bool) -> list[Node]:
        """Both directions; where they are not put side by side, a layer that merges them follows."""
        formats, mode = self.formats, layer.merge_mode
        forward, backward = (self.cell(side, last and mode == "concat") for side in layer.sides.values())
        if forward.type != backward.type:
            common = formats.common(forward.type, backward.type)
            forward, backward = (_with_result(side, common) for side in (forward, backward))
        sequences, kind = layer.return_sequences, layer.forward.kind
        nodes = bidirectional(layer.name, kind, forward, backward, sequences, self.x.name)
        if mode != "concat":
            result = formats.precision
            if not last:
                found = bounds(cells.merge(mode, forward.type, forward.elements, result))["y"]
                result = formats.fit(*found.exact, found.exact_frac, formats.width)
            merge = cells.merge(mode, forward.type, forward.elements, result)
            program = lean(merge, formats.wide)
            nodes.append(Node(f"{layer.name}_{mode}", "merge", program, sources=(layer.name,)))
        return nodes

    def cell(self, layer: Recurrent, last: bool) -> Program:
        """A cell's program; its result is the hidden state, cast to the precision where it is the network's result."""
        formats, units = self.formats, layer.units
        outputs = len(GATES[layer.kind]) * units
        after = isinstance(layer, GRU) and layer.reset_after
        act = layer.activation
        gate = act if isinstance(layer, SimpleRNN) else layer.recurrent_activation
        hidden, cell = formats.states(layer, act.name, gate.name, self.x.tokens)
        of_input = self.kernel(layer, "kernel", "bias", self.x.type, (self.x.elements, outputs))
        of_state = self.kernel(layer, "recurrent_kernel", "recurrent_bias", hidden, (units, outputs))
        types = CellTypes(
            self.x.type.plain,
            gate=formats.ranged(gate.name, self.tables.gate) or formats.precision,
            candidate=formats.ranged(act.name, self.tables.gate) or formats.precision,
            hidden=hidden,
            cell=cell,
            reset=None if after else hidden,
        )
        if self.narrow:
            result = hidden if isinstance(layer, SimpleRNN) else types.candidate
            errors = self.error(act, result or types.gate), self.error(gate, types.gate)
            scaled = range(2 * units, 3 * units) if after else range(0)
            of_input, of_state = narrow_pair(of_input, of_state, self.x.type, hidden, errors, scaled)
        activation, recurrent = (self.function(layer, one) for one in (act, gate))
        match layer:
            case LSTM():
                program = cells.lstm(of_input, of_state, types, activation, recurrent)
            case GRU():
                program = cells.gru(of_input, of_state, types, activation, recurrent, after)
            case SimpleRNN():
                program = cells.simple_rnn(of_input, of_state, types, activation)
            case _:
                assert_never(layer)
        program = lean(program, formats.wide)
        return _with_result(program, formats.precision) if last else program

    def function(self, layer: Activation | Recurrent, function: Function) -> Exact:
        """An activation function with its parameters."""
        if function.name not in _FUNCTIONS:
            legal = ", ".join(_FUNCTIONS)
            raise FxsimError(f"{layer.where}: activation must be one of {legal}, not {function.name!r}")
        values = {key: value for key, value in function.parameters.items() if isinstance(value, float)}
        slopes = function.alpha if isinstance(function.alpha, tuple) else ()
        return Exact(function.name, tables=self.tables, values=values, slopes=slopes)


def _with_result(program: Program, type: Fixed) -> Program:
    """The program, its result cast to a format."""
    return Program((*program.ops, Cast(name="y", type=type, arg=program.output)), "y")


def _array(layer: SourceLayer, key: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    if key not in layer.weights or layer.weights[key].shape != shape:
        have = layer.weights[key].shape if key in layer.weights else "none"
        raise FxsimError(f"{layer.where}: weight {key!r} must have shape {shape}, not {have}")
    return layer.weights[key]
