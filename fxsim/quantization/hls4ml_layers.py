# SPDX-License-Identifier: Apache-2.0
"""Layers with all that hls4ml has decided about them -> the graph that computes what hls4ml 1.3.0's emulator computes.

Two ways lead here: a float network with an hls4ml configuration (:mod:`~fxsim.quantization.hls4ml`), and a live hls4ml
model (:mod:`~fxsim.quantization.hls4ml_model`). Where hls4ml's own result is wrong or undefined, the graph does what
the model says, by the rule that is nearest to hls4ml's:

- GRU with reset_after=False: ``r * h`` is cast to the result's format, the rest is as with reset_after=True;
- SimpleRNN: two products and their sum as in the other cells, the activation's result cast to the result's format;
- Bidirectional that adds, averages or multiplies: computed exactly from both directions, and cast once;
- activations inside cells other than relu, sigmoid and tanh: as in layers of their own;
- inputs of a table so large that hls4ml's index wraps around: the last entry of their side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import FxsimError
from ..importers.source import SourceLayer
from ..program import cells
from ..program.cells import Activation, CellTypes, Kernel
from ..program.fixed import Fixed, IntArray, cast_float, cast_floats
from ..program.graph import Graph, Layer, Shape
from ..program.integers import Const
from ..program.program import Program
from .hls4ml_config import TABLE_SIZE
from .hls4ml_tables import (
    hls4ml_table,
    legacy_exp_table,
    legacy_inverse_table,
    softmax_exp_table,
    softmax_inverse_table,
)

#: hls4ml's constants for the slope above zero of selu, and the line of hard_sigmoid.
SELU = 1.0507009873554805
_SELU_TYPE = Fixed(16, 15, False)
SLOPE, SLOPE_TYPE = 0.2, Fixed(16, 16, False)
SHIFT, SHIFT_TYPE = 0.5, Fixed(2, 2, False)
#: Format of everything in the legacy form of softmax.
_LEGACY = Fixed(18, 10)
IMPLEMENTATIONS = ("stable", "latency", "legacy", "argmax")
#: Format of the constant that stands for the bias of a Dense without one.
NO_BIAS = Fixed(1, 0, False)


@dataclass(frozen=True)
class Resolved:
    """A layer and all that hls4ml has decided about it.

    ``types`` are formats by hls4ml's names without ``_t`` (``result``, ``accum``, ``forward_weight``, ``table``, ...).
    ``strides`` gives the order of a product's sum by the name of its weights, 1 where there is none. ``whole``: a
    softmax over all elements of all steps together.
    """

    layer: SourceLayer
    types: Mapping[str, Fixed]
    table_size: int = TABLE_SIZE
    strides: Mapping[str, int] = field(default_factory=dict)
    implementation: str = "stable"
    whole: bool = False

    @property
    def where(self) -> str:
        """How messages about this layer begin."""
        return f"layer {self.layer.name!r}"


def build(name: str, shape: Shape, input: Fixed, layers: Sequence[Resolved], stream: bool) -> Graph:
    """The graph of these layers; ``stream``: whether hls4ml builds the project with io_stream."""
    built: list[Layer] = []
    flow, type = shape, input
    for one in layers:
        for layer in _layer(one, flow, type, stream):
            flow, type = layer.result(flow, type)
            built.append(layer)
    return Graph(name, shape, input, tuple(built))


def _layer(one: Resolved, shape: Shape, x: Fixed, stream: bool) -> list[Layer]:
    """The layers of the graph for one of the model."""
    layer = one.layer
    if layer.kind == "flatten":
        return [Layer(layer.name, "flatten", None)]
    if layer.kind == "reshape":
        steps = layer.options["steps"]
        assert isinstance(steps, int)
        return [Layer(layer.name, "reshape", None, steps=steps)]
    if layer.kind == "dense":
        program = cells.dense(_kernel(one, layer, "kernel", "weight", "bias"), x, one.types["result"])
        return [Layer(layer.name, "dense", program)]
    if layer.kind != "activation":
        return _recurrent(one, x)
    if layer.options["function"] == "softmax":
        if one.whole and len(shape) > 1:
            return _over_all_steps(one, shape, x, stream)
        return [Layer(layer.name, "softmax", _softmax(one, shape[-1], x, stream))]
    program = cells.pointwise(_activation(one, x, stream), x, shape[-1], one.types["result"])
    return [Layer(layer.name, "activation", program)]


def number(layer: SourceLayer, key: str) -> float:
    """An option that is a number."""
    value = layer.options[key]
    assert isinstance(value, int | float)
    return float(value)


def part(layer: SourceLayer, side: str) -> SourceLayer:
    """The cell of one direction of a Bidirectional."""
    value = layer.options[side]
    assert isinstance(value, SourceLayer)
    return value


def check_sequence_reuse(where: str, factor: int, inputs: int, stream: bool) -> None:
    """Refuse a reuse factor of a Dense over a sequence on which hls4ml's emulator does not compile or aborts."""
    if inputs % factor and (factor % inputs or not stream):
        legal = f"divide {inputs}{' or be a multiple of it' if stream else ''}"
        raise FxsimError(f"{where}: ReuseFactor of a Dense over a sequence must {legal}, not {factor}")


# --- Layers without weights


def _activation(one: Resolved, x: Fixed, stream: bool) -> Activation:
    """The function of an activation layer, with hls4ml's table and constants."""
    layer = one.layer
    function = str(layer.options["function"])
    activation = _function(function, one)
    if function in ("hard_sigmoid", "hard_tanh"):
        slope, shift = (_const(number(layer, key), one.types[key]) for key in ("slope", "shift"))
        return replace(activation, slope=slope, shift=shift)
    if function == "selu" and stream:
        return replace(activation, slope=_const(SELU, x))
    if function == "elu":
        return replace(activation, alpha=_const(number(layer, "alpha"), one.types["param"]))
    if function == "leaky_relu":
        slopes = layer.options["alpha"]
        # One an element is an array of weights.
        several = isinstance(slopes, tuple)
        return replace(
            activation,
            slope=_weights(slopes, one, "param") if several else _const(number(layer, "alpha"), one.types["param"]),
        )
    if function == "thresholded_relu":
        return replace(activation, shift=_const(number(layer, "theta"), one.types["param"]))
    return activation


def _function(function: str, one: Resolved) -> Activation:
    """An activation with hls4ml's tables and constants, as it is inside a cell."""
    if function in cells.TABLED + cells.HALF_TABLED:
        slope = _const(SELU, _SELU_TYPE) if function == "selu" else None
        alpha = _const(1.0, Fixed(1, 0, False)) if function == "elu" else None
        return Activation(function, hls4ml_table(function, one.table_size, one.types["table"]), slope, alpha=alpha)
    if function == "hard_sigmoid":
        return Activation(function, None, _const(SLOPE, SLOPE_TYPE), _const(SHIFT, SHIFT_TYPE))
    if function == "hard_tanh":
        return Activation(function, None, _const(0.5, SHIFT_TYPE), _const(SHIFT, SHIFT_TYPE))
    return Activation(function)


def _over_all_steps(one: Resolved, shape: Shape, x: Fixed, stream: bool) -> list[Layer]:
    """A softmax that normalises over the elements of all steps together."""
    flat = Layer(f"{one.layer.name}_flat", "flatten", None)
    return [flat, Layer(one.layer.name, "softmax", _softmax(one, math.prod(shape), x, stream))]


def _softmax(one: Resolved, size: int, x: Fixed, stream: bool) -> Program:
    result, entries = one.types["result"], one.table_size
    if one.implementation == "argmax":
        return cells.argmax(x, size, result)
    if one.implementation == "legacy":
        # In a stream, hls4ml's legacy form does not know the layer's size of tables.
        entries = TABLE_SIZE if stream else entries
        exp, inverse = legacy_exp_table(entries, _LEGACY), legacy_inverse_table(entries, _LEGACY)
        return cells.softmax_pairwise(x, size, result, exp, inverse, _LEGACY)
    accum, sum_in = one.types["accum"], one.types["inv_inp"]
    if entries & (entries - 1):
        raise FxsimError(f"{one.where}: TableSize must be a power of two for softmax, not {entries}")
    if entries > 1 << sum_in.width:
        least = entries.bit_length() - 1
        raise FxsimError(f"{one.where}: inv_inp_t must have at least {least} bits, not {sum_in}")
    inverse = softmax_inverse_table(entries, sum_in, one.types["inv_table"])
    if one.implementation == "latency":
        exp = softmax_exp_table(entries, x, one.types["exp_table"], negative=False)
        return cells.softmax(x, size, result, exp, inverse, accum, sum_in, None)
    if x.width - x.signed < 1:
        raise FxsimError(f"{one.where}: the input of softmax must have at least 2 bits, not {x}")
    # As wide as the input without its sign: differences of half the range and more wrap around.
    difference = Fixed(x.width - x.signed, x.frac, False)
    exp = softmax_exp_table(min(entries, 1 << difference.width), difference, one.types["exp_table"], negative=True)
    return cells.softmax(x, size, result, exp, inverse, accum, sum_in, difference)


# --- Layers with weights


def _recurrent(one: Resolved, x: Fixed) -> list[Layer]:
    layer = one.layer
    sequences = bool(layer.options["return_sequences"])
    if layer.kind != "bidirectional":
        return [Layer(layer.name, layer.kind, _cell(one, layer, x, ""), sequences)]
    forward, backward = (_cell(one, part(layer, side), x, f"{side}_") for side in ("forward", "backward"))
    layers = [Layer(layer.name, "bidirectional", forward, sequences, backward)]
    mode = str(layer.options["merge_mode"])
    cells.check_merge(one.where, mode, forward.elements, backward.elements)
    if mode != "concat":
        merge = cells.merge(mode, forward.type, forward.elements, forward.type)
        layers.append(Layer(f"{layer.name}_{mode}", "merge", merge))
    return layers


def _cell(one: Resolved, cell: SourceLayer, x: Fixed, prefix: str) -> Program:
    accum, result = one.types["accum"], one.types["result"]
    of_input = _kernel(one, cell, "kernel", f"{prefix}weight", f"{prefix}bias")
    of_state = _kernel(one, cell, "recurrent_kernel", f"{prefix}recurrent_weight", f"{prefix}recurrent_bias")

    def function(key: str) -> Activation:
        activation = _function(str(cell.options[key]), one)
        if activation.function != "hard_sigmoid":
            return activation
        slope = number(cell, "hard_sigmoid_slope") if "hard_sigmoid_slope" in cell.options else SLOPE
        return replace(activation, slope=_const(slope, SLOPE_TYPE))

    types = CellTypes(x, gate=accum, hidden=result, cell=result, sum=accum, reset=accum)
    if cell.kind == "simple_rnn":
        return cells.simple_rnn(of_input, of_state, types, function("activation"))
    both = function("activation"), function("recurrent_activation")
    if cell.kind == "lstm":
        return cells.lstm(of_input, of_state, types, *both)
    after = bool(cell.options["reset_after"])
    return cells.gru(of_input, of_state, types if after else replace(types, reset=result), *both, after)


def _kernel(one: Resolved, layer: SourceLayer, matrix: str, weight: str, bias: str) -> Kernel:
    """A product with its weights; a bias that the layer does not have is zero."""
    weights = layer.weights[matrix]
    return Kernel(
        _weights(weights, one, weight),
        _weights(layer.weights.get(matrix.replace("kernel", "bias"), np.zeros(weights.shape[1])), one, bias),
        one.types["accum"],
        one.strides.get(weight, 1),
    )


def _const(value: float, type: Fixed) -> Const:
    return Const(np.array([cast_float(value, type)]), type)


def _weights(values: Any, one: Resolved, variable: str) -> Const:
    """Weights as hls4ml writes and reads them: as text with as many decimals as the format has fractional bits."""
    type = one.types[variable]
    digits = max(0, type.frac)
    read = [float(f"{value:.{digits}f}") for value in np.asarray(values).reshape(-1).tolist()]
    try:
        raw: IntArray = cast_floats(np.array(read).reshape(np.shape(values)), type)
    except FxsimError as error:
        raise FxsimError(f"{one.where}: Precision {variable}: {error}") from None
    return Const(raw, type)
