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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from ..errors import FxsimError
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
    Recurrent,
    Repeat,
    Reshape,
    Reverse,
    SimpleRNN,
    SourceLayer,
)
from ..program import cells
from ..program.cells import CellTypes, Kernel
from ..program.fixed import Fixed, IntArray, cast_float, cast_floats
from ..program.graph import INPUT, Graph, Node, Shape, Tensor, Wiring
from ..program.integers import Const
from ..program.nodes import bidirectional
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
    ``strides`` gives the order of a product's sum by the name of its weights, 1 where there is none. ``line``: slope
    and shift of a hard_sigmoid or hard_tanh, in place of the model's. ``whole``: a softmax over all elements of all
    steps together.
    """

    layer: SourceLayer
    types: Mapping[str, Fixed]
    table_size: int = TABLE_SIZE
    strides: Mapping[str, int] = field(default_factory=dict)
    line: tuple[float, float] | None = None
    implementation: str = "stable"
    whole: bool = False

    @property
    def where(self) -> str:
        """How messages about this layer begin."""
        return self.layer.where


def build(
    name: str, shape: Shape, input: Fixed, layers: Sequence[Resolved], stream: bool, input_name: str = INPUT
) -> Graph:
    """The graph of these layers; ``stream``: whether hls4ml builds the project with io_stream."""
    wiring = Wiring(Tensor.of(input_name, shape, input))
    x = wiring.inputs[0]
    for one in layers:
        x = wiring.add(*nodes(one, [x], stream))
    return wiring.graph(name, x.name)


def nodes(one: Resolved, xs: Sequence[Tensor], stream: bool) -> list[Node]:
    """The nodes of the graph for one layer of the model that reads ``xs``."""
    layer, x = one.layer, xs[0]

    def node(program: Program | None, kind: str = layer.kind) -> Node:
        return Node(layer.name, kind, program, sources=tuple(x.name for x in xs))

    match layer:
        case Flatten():
            return [node(None)]
        case Reshape():
            return [replace(node(None), steps=layer.steps)]
        case Dense():
            return [node(cells.dense(_kernel(one, layer, "kernel", "weight", "bias"), x.type, one.types["result"]))]
        case Activation(function=Function(name="softmax")):
            if one.whole and x.steps is not None:
                # It normalises over the elements of all steps together.
                flat = Node(f"{layer.name}_flat", "flatten", sources=(x.name,))
                whole = node(_softmax(one, x.size, x.type, stream), "softmax")
                return [flat, replace(whole, sources=(flat.name,))]
            return [node(_softmax(one, x.elements, x.type, stream), "softmax")]
        case Activation():
            function = _activation(one, layer.function, x.type, stream)
            return [node(cells.pointwise(function, x.type, x.elements, one.types["result"]))]
        case LSTM() | GRU() | SimpleRNN():
            return [replace(node(_cell(one, layer, x.type, "")), return_sequences=layer.return_sequences)]
        case Bidirectional():
            return _bidirectional(one, layer, x)
        case Reverse() | Repeat():
            steps = layer.steps if isinstance(layer, Repeat) else None
            return [replace(node(None), steps=steps)]
        case BatchNormalization():
            return [node(_batch_normalization(one, layer, x.type))]
        case Merge(function=function):
            types, sizes, result = [x.type for x in xs], [x.elements for x in xs], one.types["result"]
            half = Const(np.array([1]), Fixed(1, 1, False))
            return [node(cells.combine(function, types, sizes, result, half), function)]
        case Idle():
            return []
        case _:
            assert_never(layer)


def check_sequence_reuse(where: str, factor: int, inputs: int, stream: bool) -> None:
    """Refuse a reuse factor of a Dense over a sequence on which hls4ml's emulator does not compile or aborts."""
    if inputs % factor and (factor % inputs or not stream):
        legal = f"divide {inputs}{' or be a multiple of it' if stream else ''}"
        raise FxsimError(f"{where}: ReuseFactor of a Dense over a sequence must {legal}, not {factor}")


# --- Layers without weights


def _activation(one: Resolved, function: Function, x: Fixed, stream: bool) -> cells.Activation:
    """The function of an activation layer, with hls4ml's table and constants."""
    activation = _function(function.name, one)
    if one.line is not None:
        slope, shift = (_const(value, one.types[key]) for key, value in zip(("slope", "shift"), one.line, strict=True))
        return replace(activation, slope=slope, shift=shift)
    match function:
        case Function("selu") if stream:
            return replace(activation, slope=_const(SELU, x))
        case Function("elu", alpha=float(alpha)):
            return replace(activation, alpha=_const(alpha, one.types["param"]))
        case Function("leaky_relu", alpha=float(alpha)):
            return replace(activation, slope=_const(alpha, one.types["param"]))
        case Function("leaky_relu", alpha=tuple(slopes)):
            # One an element is an array of weights.
            return replace(activation, slope=_weights(slopes, one, "param"))
        case Function("thresholded_relu", theta=float(theta)):
            return replace(activation, shift=_const(theta, one.types["param"]))
        case _:
            return activation


def _function(function: str, one: Resolved) -> cells.Activation:
    """An activation with hls4ml's tables and constants, as it is inside a cell."""
    if function in cells.TABLED + cells.HALF_TABLED:
        slope = _const(SELU, _SELU_TYPE) if function == "selu" else None
        alpha = _const(1.0, Fixed(1, 0, False)) if function == "elu" else None
        table = hls4ml_table(function, one.table_size, one.types["table"])
        return cells.Activation(function, table, slope, alpha=alpha)
    if function == "hard_sigmoid":
        return cells.Activation(function, None, _const(SLOPE, SLOPE_TYPE), _const(SHIFT, SHIFT_TYPE))
    if function == "hard_tanh":
        return cells.Activation(function, None, _const(0.5, SHIFT_TYPE), _const(SHIFT, SHIFT_TYPE))
    return cells.Activation(function)


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


def _bidirectional(one: Resolved, layer: Bidirectional, x: Tensor) -> list[Node]:
    forward, backward = (_cell(one, cell, x.type, f"{side}_") for side, cell in layer.sides.items())
    nodes = bidirectional(layer.name, layer.forward.kind, forward, backward, layer.return_sequences, x.name)
    mode = layer.merge_mode
    if mode != "concat":
        merge = cells.merge(mode, forward.type, forward.elements, forward.type)
        nodes.append(Node(f"{layer.name}_{mode}", "merge", merge, sources=(layer.name,)))
    return nodes


def _cell(one: Resolved, cell: Recurrent, x: Fixed, prefix: str) -> Program:
    accum, result = one.types["accum"], one.types["result"]
    of_input = _kernel(one, cell, "kernel", f"{prefix}weight", f"{prefix}bias")
    of_state = _kernel(one, cell, "recurrent_kernel", f"{prefix}recurrent_weight", f"{prefix}recurrent_bias")

    def made(function: Function) -> cells.Activation:
        activation = _function(function.name, one)
        return activation if function.slope is None else replace(activation, slope=_const(function.slope, SLOPE_TYPE))

    types = CellTypes(x, gate=accum, hidden=result, cell=result, sum=accum, reset=accum)
    activation = made(cell.activation)
    match cell:
        case SimpleRNN():
            return cells.simple_rnn(of_input, of_state, types, activation)
        case LSTM():
            return cells.lstm(of_input, of_state, types, activation, made(cell.recurrent_activation))
        case GRU(reset_after=after):
            types = types if after else replace(types, reset=result)
            return cells.gru(of_input, of_state, types, activation, made(cell.recurrent_activation), after)
        case _:
            assert_never(cell)


def single(layer: BatchNormalization) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale and shift as hls4ml makes them: in single precision, by numpy."""
    gamma, beta, mean, variance = (
        layer.weights[key].astype(np.float32) for key in ("gamma", "beta", "mean", "variance")
    )
    scale = gamma / np.sqrt(variance + np.float32(layer.epsilon))
    return scale, beta - scale * mean


def _batch_normalization(one: Resolved, layer: BatchNormalization, x: Fixed) -> Program:
    scale, shift = single(layer)
    return cells.scaled(x, _weights(scale, one, "scale"), _weights(shift, one, "bias"), one.types["result"])


def _kernel(one: Resolved, layer: Dense | Recurrent, matrix: str, weight: str, bias: str) -> Kernel:
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
