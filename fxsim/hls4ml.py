# SPDX-License-Identifier: Apache-2.0
"""A float network and an hls4ml configuration -> the graph that computes what hls4ml 1.3.0's emulator computes.

The formats come from :mod:`~fxsim.hls4ml_config`, the inference of those left 'auto' is here. Where hls4ml's own
result is wrong or undefined, the graph does what the model says, by the rule that is nearest to hls4ml's:

- GRU with reset_after=False: ``r * h`` is cast to the result's format, the rest is as with reset_after=True;
- SimpleRNN: two products and their sum as in the other cells, the activation's result cast to the result's format;
- Bidirectional that adds, averages or multiplies: computed exactly from both directions, and cast once;
- activations inside cells other than relu, sigmoid and tanh: as in layers of their own;
- inputs of a table so large that hls4ml's index wraps around: the last entry of their side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from . import cells
from .cells import Activation, CellTypes, Kernel
from .errors import FxsimError
from .fixed import Fixed, IntArray, cast_float, cast_floats
from .graph import Graph, Layer, Shape
from .hls4ml_config import TABLE, Config, Settings
from .importers.source import Source, SourceLayer
from .program import Const, Program
from .tables import (
    hls4ml_table,
    legacy_exp_table,
    legacy_inverse_table,
    softmax_exp_table,
    softmax_inverse_table,
)

_KINDS = {
    "lstm": "LSTM",
    "gru": "GRU",
    "simple_rnn": "SimpleRNN",
    "bidirectional": "Bidirectional",
    "dense": "Dense",
    "flatten": "Reshape",
}
_FUNCTIONS = {
    "softmax": "Softmax",
    "hard_sigmoid": "HardActivation",
    "elu": "ParametrizedActivation",
    "leaky_relu": "ParametrizedActivation",
    "thresholded_relu": "ParametrizedActivation",
}
#: Layers whose result's format hls4ml may take over from a linear activation behind them.
_SAFE = ("Dense", "PointwiseConv1D", "Activation", "ParametrizedActivation", "HardActivation", "Softmax")

#: Constants of hls4ml: the slope above zero of selu, and the line of hard_sigmoid, whatever the model's is.
_SELU = 1.0507009873554805
_SELU_TYPE = Fixed(16, 15, False)
_SLOPE, _SLOPE_TYPE = 0.2, Fixed(16, 16, False)
_SHIFT, _SHIFT_TYPE = 0.5, Fixed(2, 2, False)
#: Tables of softmax, and the format of everything in its legacy form.
_SOFTMAX_TABLE = "fixed<18,8,RND,SAT>"
_LEGACY = Fixed(18, 10)
_IMPLEMENTATIONS = ("stable", "latency", "legacy", "argmax")


def quantize(source: Source, config: Mapping[str, Any]) -> Graph:
    """The network in the formats of an hls4ml configuration; raises ``FxsimError`` that names layer and key.

    ``config`` is what ``hls4ml.utils.config_from_keras_model`` gives (granularity model, type or name), or a whole
    project's dictionary with it under ``HLSConfig``. Layers have the model's names. A linear activation that a
    configuration names ``<dense>_linear`` is there if the configuration has it, as with Keras 2.
    """
    steps = _steps(source)
    kinds = {source.input_name: "Input"}
    for layer, shape in steps:
        kinds[layer.name] = _kind(layer, shape)
    linears = _linears(source)
    kinds |= dict.fromkeys(linears.values(), "Activation")
    read = Config(config, kinds)
    flow = _Flow(read, read.layer(source.input_name).type("result"))
    layers: list[Layer] = []
    for index, (layer, shape) in enumerate(steps):
        built = flow.layer(layer, kinds[layer.name], shape, last=index + 1 == len(steps))
        linear = linears.get(layer.name)
        if linear and read.has(linear):
            behind = SourceLayer(linear, "activation", {"function": "linear"}, {})
            built += flow.layer(behind, "Activation", (*shape[:-1], _int(layer, "units")), last=False)
        layers += built
    return Graph(source.name, source.shape, flow.input, tuple(layers))


def _linears(source: Source) -> dict[str, str]:
    """Names of the linear activations that hls4ml sees behind Dense layers of Keras 2, by the Dense layer's name."""
    names = {layer.name for layer in source.layers}
    # A Dense with an activation of its own has that one behind it, and no linear one.
    own = {one.name for one, two in pairwise(source.layers) if two.name == f"{one.name}_{two.options.get('function')}"}
    dense = [layer.name for layer in source.layers if layer.kind == "dense" and layer.name not in own]
    return {name: f"{name}_linear" for name in dense if f"{name}_linear" not in names}


def _steps(source: Source) -> list[tuple[SourceLayer, Shape]]:
    """Every layer with the shape of its input."""
    found = []
    shape = source.shape
    for layer in source.layers:
        found.append((layer, shape))
        if layer.kind == "flatten":
            shape = (int(np.prod(shape)),)
        elif layer.kind == "dense":
            shape = (*shape[:-1], _int(layer, "units"))
        elif layer.kind != "activation":
            cell, merged = layer, 1
            if layer.kind == "bidirectional":
                cell, merged = _part(layer, "forward"), 2 if layer.options["merge_mode"] == "concat" else 1
            units = merged * _int(cell, "units")
            shape = (shape[0], units) if layer.options["return_sequences"] else (units,)
    return found


def _kind(layer: SourceLayer, shape: Shape) -> str:
    """hls4ml's class of a layer."""
    if layer.kind == "activation":
        return _FUNCTIONS.get(str(layer.options["function"]), "Activation")
    if layer.kind == "dense" and len(shape) > 1:
        return "PointwiseConv1D"
    return _KINDS[layer.kind]


def _int(layer: SourceLayer, key: str) -> int:
    value = layer.options[key]
    assert isinstance(value, int)
    return value


def _float(layer: SourceLayer, key: str) -> float:
    value = layer.options[key]
    assert isinstance(value, int | float)
    return float(value)


def _part(layer: SourceLayer, side: str) -> SourceLayer:
    value = layer.options[side]
    assert isinstance(value, SourceLayer)
    return value


@dataclass
class _Flow:
    """The walk from layer to layer.

    ``type`` is the format that the next layer receives. ``declared`` is the one that inference takes it for; a Reshape
    leaves the data's format alone but may be declared to have another. ``auto``: whether the last result's format was
    inferred; ``kind``: the last layer's class.
    """

    config: Config
    input: Fixed

    def __post_init__(self) -> None:
        self.type = self.declared = self.input
        self.auto, self.kind = False, "Input"

    def layer(self, layer: SourceLayer, kind: str, shape: Shape, last: bool) -> list[Layer]:
        """The layers of the graph for one of the model, which may be none."""
        settings = self.config.layer(layer.name)
        build = getattr(self, f"_{layer.kind}" if layer.kind in ("dense", "flatten", "activation") else "_recurrent")
        auto = settings.precision("result") is None
        built: list[Layer] = build(layer, settings, shape, last)
        if built:
            for one in built:
                shape, self.type = one.result(shape, self.type)
            if kind != "Reshape":
                self.declared = self.type
            self.auto, self.kind = auto, kind
        return built

    # --- Layers without weights

    def _flatten(self, layer: SourceLayer, settings: Settings, shape: Shape, last: bool) -> list[Layer]:
        self.declared = settings.precision("result") or self.declared
        return [Layer(layer.name, "flatten", None)]

    def _activation(self, layer: SourceLayer, settings: Settings, shape: Shape, last: bool) -> list[Layer]:
        function = str(layer.options["function"])
        size = shape[-1]
        explicit = settings.precision("result")
        if function == "softmax":
            if settings.choice("Skip", False, (False, True)):
                if not last:
                    raise FxsimError(f"{settings.where}: Skip must be False for a layer that is not the last one")
                return []
            program = self._softmax(settings, size, settings.type("result"))
        elif function == "linear" and self._vanishes(explicit):
            return []
        else:
            table = settings.table("table_t", TABLE)
            activation = _function(function, settings.table_size, table)
            if function == "hard_tanh":
                activation = replace(activation, slope=_const(0.5, _SHIFT_TYPE))
            elif function == "selu" and self.config.stream:
                activation = replace(activation, slope=_const(_SELU, self.type))
            elif function in ("elu", "leaky_relu", "thresholded_relu"):
                value = _float(layer, "theta" if function == "thresholded_relu" else "alpha")
                param = settings.precision("param") or (
                    self.declared if function == "thresholded_relu" else _constant_type(value)
                )
                constant = _const(value, param)
                if function == "elu":
                    activation = replace(activation, alpha=constant)
                elif function == "leaky_relu":
                    activation = replace(activation, slope=constant)
                else:
                    activation = replace(activation, shift=constant)
            program = cells.pointwise(activation, self.type, size, settings.type("result"))
        return [Layer(layer.name, "softmax" if function == "softmax" else "activation", program)]

    def _vanishes(self, explicit: Fixed | None) -> bool:
        """Whether hls4ml removes a linear activation, and with it the format of its result."""
        if self.auto:
            return explicit is None or self.kind in _SAFE
        return explicit == self.declared

    def _softmax(self, settings: Settings, size: int, result: Fixed) -> Program:
        x = self.type
        implementation = settings.choice("Implementation", "stable", _IMPLEMENTATIONS)
        exp_type, inverse_type, sum_in = (
            settings.table(key, _SOFTMAX_TABLE) for key in ("exp_table_t", "inv_table_t", "inv_inp_t")
        )
        entries = min(settings.table_size, 1 << min(x.width, inverse_type.width))
        if implementation == "argmax":
            return cells.argmax(x, size, result)
        if implementation == "legacy":
            exp, inverse = legacy_exp_table(entries, _LEGACY), legacy_inverse_table(entries, _LEGACY)
            return cells.softmax_pairwise(x, size, result, exp, inverse, _LEGACY)
        if entries & (entries - 1):
            raise FxsimError(f"{settings.where}: TableSize must be a power of two for softmax, not {entries}")
        if entries > 1 << sum_in.width:
            least = entries.bit_length() - 1
            raise FxsimError(f"{settings.where}: inv_inp_t must have at least {least} bits, not {sum_in}")
        accum = settings.type("accum")
        inverse = softmax_inverse_table(entries, sum_in, inverse_type)
        if implementation == "latency":
            exp = softmax_exp_table(entries, x, exp_type, negative=False)
            return cells.softmax(x, size, result, exp, inverse, accum, sum_in, None)
        if x.width - x.signed < 1:
            raise FxsimError(f"{settings.where}: the input of softmax must have at least 2 bits, not {x}")
        # As wide as the input without its sign: differences of half the range and more wrap around.
        difference = Fixed(x.width - x.signed, x.frac, False)
        exp = softmax_exp_table(min(entries, 1 << difference.width), difference, exp_type, negative=True)
        return cells.softmax(x, size, result, exp, inverse, accum, sum_in, difference)

    # --- Layers with weights

    def _dense(self, layer: SourceLayer, settings: Settings, shape: Shape, last: bool) -> list[Layer]:
        kernel = layer.weights["kernel"]
        inputs, units = kernel.shape
        weight = settings.type("weight")
        # A Dense without bias gets a zero of one bit, which inference counts in.
        bias = settings.type("bias") if layer.options["use_bias"] else Fixed(1, 0, False)
        accum, result = settings.precision("accum"), settings.precision("result")
        if accum is None or result is None:
            exact = inferred(inputs, self.declared, weight, bias, settings.maximum)
            accum, result = accum or exact, result or exact
        program = cells.dense(
            Kernel(
                _weights(kernel, weight, settings, "weight"),
                _weights(layer.weights["bias"], bias, settings, "bias"),
                accum,
                _stride(settings, inputs, units, unrolled=len(shape) == 1 or self.config.stream),
            ),
            self.type,
            result,
        )
        return [Layer(layer.name, "dense", program)]

    def _recurrent(self, layer: SourceLayer, settings: Settings, shape: Shape, last: bool) -> list[Layer]:
        sequences = bool(layer.options["return_sequences"])
        if layer.kind != "bidirectional":
            program = self._cell(layer, settings, "")
            return [Layer(layer.name, layer.kind, program, sequences)]
        forward, backward = (self._cell(_part(layer, side), settings, f"{side}_") for side in ("forward", "backward"))
        layers = [Layer(layer.name, "bidirectional", forward, sequences, backward)]
        mode = str(layer.options["merge_mode"])
        if mode != "concat":
            merge = cells.merge(mode, forward.type, forward.elements, forward.type)
            layers.append(Layer(f"{layer.name}_{mode}", "merge", merge))
        return layers

    def _cell(self, layer: SourceLayer, settings: Settings, prefix: str) -> Program:
        weights = layer.weights
        accum, result = settings.type("accum"), settings.type("result")
        # hls4ml counts three gates in both directions of a Bidirectional, whatever the cell.
        outputs = weights["kernel"].shape[1]
        units = weights["recurrent_kernel"].shape[0]
        counted = 3 * units if prefix else outputs

        def kernel(matrix: str, variable: str, bias: str) -> Kernel:
            values = weights.get(bias, np.zeros(outputs))
            bias_name = prefix + ("recurrent_bias" if variable.startswith("recurrent") else "bias")
            rows = weights[matrix].shape[0]
            return Kernel(
                _weights(weights[matrix], settings.type(prefix + variable), settings, prefix + variable),
                _weights(values, settings.type(bias_name), settings, bias_name),
                accum,
                _stride(settings, rows, counted, unrolled=not prefix),
            )

        of_input = kernel("kernel", "weight", "bias")
        of_state = kernel("recurrent_kernel", "recurrent_weight", "recurrent_bias")
        table = settings.table("table_t", TABLE)

        def function(key: str) -> Activation:
            slope = layer.options.get("hard_sigmoid_slope", _SLOPE)
            assert isinstance(slope, float)
            activation = _function(str(layer.options[key]), settings.table_size, table)
            if activation.function == "hard_sigmoid":
                return replace(activation, slope=_const(slope, _SLOPE_TYPE))
            if activation.function == "hard_tanh":
                return replace(activation, slope=_const(0.5, _SHIFT_TYPE))
            if activation.function == "elu":
                return replace(activation, alpha=_const(1.0, Fixed(1, 0, False)))
            return activation

        types = CellTypes(self.type, gate=accum, hidden=result, cell=result, sum=accum, reset=accum)
        if layer.kind == "simple_rnn":
            return cells.simple_rnn(of_input, of_state, types, function("activation"))
        both = function("activation"), function("recurrent_activation")
        if layer.kind == "lstm":
            return cells.lstm(of_input, of_state, types, *both)
        after = bool(layer.options["reset_after"])
        return cells.gru(of_input, of_state, types if after else replace(types, reset=result), *both, after)


def inferred(inputs: int, x: Fixed, weight: Fixed, bias: Fixed, maximum: Fixed | None) -> Fixed:
    """hls4ml's format for the exact sum of ``inputs`` products and a bias, its bits cut to those of ``maximum``."""
    growth = (inputs - 1).bit_length()
    integer = x.integer + weight.integer + growth
    signed = x.signed or weight.signed
    wide = integer + (bias.signed and not signed)
    integer = max(wide, bias.integer + (signed and not bias.signed)) + 1
    width = integer + max(x.frac + weight.frac, bias.frac)
    if maximum is not None:
        width, integer = min(width, maximum.width), min(integer, maximum.integer)
    return Fixed(width, width - integer, signed or bias.signed)


def _constant_type(value: float) -> Fixed:
    """hls4ml's format for a constant parameter: exact, or the eight highest bits."""
    if value == 0:
        return Fixed(1, 0, False)
    # hls4ml looks for at most 32 fractional bits.
    frac = next((f for f in range(-31, 33) if value * 2.0**f == int(value * 2.0**f)), 32)
    signed = value < 0
    integer = int(np.ceil(np.log2(max(value + 2.0**-frac, -value))))
    width = min(signed + integer + frac, signed + 8)
    return Fixed(width, width - (signed + integer), signed)


def _function(function: str, size: int, table: Fixed) -> Activation:
    """An activation with hls4ml's tables and constants."""
    if function in cells.TABLED + cells.HALF_TABLED:
        slope = _const(_SELU, _SELU_TYPE) if function == "selu" else None
        return Activation(function, hls4ml_table(function, size, table), slope)
    if function in ("hard_sigmoid", "hard_tanh"):
        return Activation(function, None, _const(_SLOPE, _SLOPE_TYPE), _const(_SHIFT, _SHIFT_TYPE))
    return Activation(function)


def _const(value: float, type: Fixed) -> Const:
    return Const(np.array([cast_float(value, type)]), type)


def _weights(values: Any, type: Fixed, settings: Settings, variable: str) -> Const:
    """Weights as hls4ml writes and reads them: as text with as many decimals as the format has fractional bits."""
    digits = max(0, type.frac)
    read = [float(f"{value:.{digits}f}") for value in np.asarray(values).reshape(-1).tolist()]
    try:
        raw: IntArray = cast_floats(np.array(read).reshape(np.shape(values)), type)
    except FxsimError as error:
        raise FxsimError(f"{settings.where}: Precision {variable}: {error}") from None
    return Const(raw, type)


def _stride(settings: Settings, inputs: int, outputs: int, unrolled: bool) -> int:
    """The stride of a product's sum under the layer's strategy and effective reuse factor.

    ``unrolled``: whether hls4ml has an unrolled form of the layer; else resource_unrolled means resource.
    """
    strategy, requested = settings.strategy, settings.reuse_factor
    if strategy == "latency" or requested == 1:
        return 1
    legal = [n for n in range(1, inputs) if inputs % n == 0]
    legal += [inputs * n for n in range(1, outputs + 1) if outputs % n == 0]
    if strategy == "resource_unrolled" and unrolled and len(legal) > 1:
        legal.pop()
    # The nearest one, the smaller of two as near.
    effective = min(legal, key=lambda factor: (abs(factor - requested), factor))
    return effective if effective < inputs else 1
