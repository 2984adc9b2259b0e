# SPDX-License-Identifier: Apache-2.0
"""A float network and an hls4ml configuration -> the layers as hls4ml 1.3.0 resolves them, and the graph of these.

The formats come from :mod:`~fxsim.quantization.hls4ml_config`, the inference of those left 'auto' is here. What is
computed with them is in :mod:`~fxsim.quantization.hls4ml_layers`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, assert_never

import numpy as np

from ..errors import FxsimError
from ..importers.source import (
    GRU,
    LSTM,
    Activation,
    Bidirectional,
    Dense,
    Flatten,
    Function,
    Recurrent,
    Reshape,
    SimpleRNN,
    Source,
    SourceLayer,
)
from ..program.fixed import Fixed
from ..program.graph import Graph, Shape
from .hls4ml_config import TABLE, Config, Settings
from .hls4ml_layers import (
    IMPLEMENTATIONS,
    NO_BIAS,
    SHIFT,
    SHIFT_TYPE,
    SLOPE,
    SLOPE_TYPE,
    Resolved,
    build,
    check_sequence_reuse,
)

_FUNCTIONS = {
    "softmax": "Softmax",
    "hard_sigmoid": "HardActivation",
    "elu": "ParametrizedActivation",
    "leaky_relu": "ParametrizedActivation",
    "thresholded_relu": "ParametrizedActivation",
}
#: Layers whose result's format hls4ml may take over from a linear activation behind them.
_SAFE = ("Dense", "PointwiseConv1D", "Activation", "ParametrizedActivation", "PReLU", "HardActivation", "Softmax")
#: Format of softmax's tables.
_SOFTMAX_TABLE = "fixed<18,8,RND,SAT>"
#: Variables of a cell, and of both directions of a Bidirectional.
_CELL = ("weight", "bias", "recurrent_weight", "recurrent_bias")


def quantize(source: Source, config: Mapping[str, Any]) -> Graph:
    """The network in the formats of an hls4ml configuration; raises ``FxsimError`` that names layer and key.

    ``config`` is what ``hls4ml.utils.config_from_keras_model`` gives (granularity model, type or name), or a whole
    project's dictionary with it under ``HLSConfig``. Layers have the model's names. A linear activation that a
    configuration names ``<dense>_linear`` is there if the configuration has it, as with Keras 2.
    """
    source = _with_idle(source)
    steps = list(source.flow())
    kinds = {source.input_name: "Input"}
    for layer, shape in steps:
        kinds[layer.name] = _kind(layer, shape)
        if layer.wrapper:
            kinds |= dict.fromkeys((layer.wrapper, f"{layer.wrapper}_end"), "TimeDistributed")
    linears = _linears(source)
    kinds |= dict.fromkeys(linears.values(), "Activation")
    read = Config(config, kinds, _aliases(source))
    input = read.layer(source.input_name).type("result")
    walk = _Walk(read, input, input)
    layers: list[Resolved] = []
    for index, (layer, shape) in enumerate(steps):
        walk.marker(layer.wrapper)
        layers += walk.layer(layer, kinds[layer.name], shape, last=index + 1 == len(steps))
        linear = linears.get(layer.name)
        if linear and read.has(linear):
            layers += walk.layer(_linear(linear), "Activation", layer.result(shape), last=False)
        walk.marker(f"{layer.wrapper}_end")
    return build(source.name, source.shape, input, layers, read.stream, source.input_name)


def _aliases(source: Source) -> dict[str, str]:
    """PyTorch's names of modules by those that hls4ml takes from the trace: ``head.0`` is ``head_0`` there."""
    if source.framework != "pytorch":
        return {}
    names = {}
    for layer in source.layers:
        traced = re.sub(r"\W", "_", re.sub(r"(?<=[a-z])([A-Z])", r"_\1", layer.name).lower())
        names["_" * traced[:1].isdigit() + traced] = layer.name
    return names


def _with_idle(source: Source) -> Source:
    """The network with the linear activations that hls4ml has for layers such as Dropout."""
    layers = list(source.layers)
    for place, name in reversed(source.idle):
        layers.insert(place, _linear(name))
    return replace(source, layers=tuple(layers))


def _linear(name: str) -> Activation:
    return Activation(name, Function("linear"))


def _linears(source: Source) -> dict[str, str]:
    """Names of the linear activations that hls4ml sees behind Dense layers of Keras 2, by the Dense layer's name."""
    names = {layer.name for layer in source.layers}
    if source.framework != "keras":
        return {}
    # A Dense with an activation of its own has that one behind it, and no linear one.
    own = {
        one.name
        for one, two in pairwise(source.layers)
        if isinstance(two, Activation) and two.name == f"{one.name}_{two.function.name}"
    }
    dense = [layer.name for layer in source.layers if isinstance(layer, Dense) and layer.name not in own]
    return {name: f"{name}_linear" for name in dense if f"{name}_linear" not in names}


def _kind(layer: SourceLayer, shape: Shape) -> str:
    """hls4ml's class of a layer for an input of that shape."""
    match layer:
        case Activation():
            if layer.function.name == "log_softmax":
                raise FxsimError(
                    f"{layer.where}: log_softmax is a function of preset exact, which hls4ml does not have"
                )
            if layer.origin in ("ReLU", "PReLU"):
                return {"ReLU": "ParametrizedActivation", "PReLU": "PReLU"}[layer.origin]
            return _FUNCTIONS.get(layer.function.name, "Activation")
        case Dense():
            return "PointwiseConv1D" if len(shape) > 1 and not layer.wrapper else "Dense"
        case Flatten() | Reshape():
            return "Reshape"
        case LSTM():
            return "LSTM"
        case GRU():
            return "GRU"
        case SimpleRNN():
            return "SimpleRNN"
        case Bidirectional():
            return "Bidirectional"
        case _:
            assert_never(layer)


@dataclass
class _Walk:
    """The walk from layer to layer.

    ``type`` is the format that the next layer receives. ``declared`` is the one that inference takes it for; a Reshape
    leaves the data's format alone but may be declared to have another. ``auto``: whether the last result's format was
    inferred; ``kind``: the last layer's class.
    """

    config: Config
    type: Fixed
    declared: Fixed
    auto: bool = False
    kind: str = "Input"

    def layer(self, layer: SourceLayer, kind: str, shape: Shape, last: bool) -> list[Resolved]:
        """The layer resolved, or none where hls4ml removes it."""
        settings = self.config.layer(layer.name)
        auto = settings.precision("result") is None
        match layer:
            case Flatten() | Reshape():
                one = Resolved(layer, {})
                self.declared = settings.precision("result") or self.declared
            case Activation():
                if self._removed(layer, settings, last):
                    return []
                one = self._softmax(layer, settings, shape) if kind == "Softmax" else self._activation(layer, settings)
            case Dense():
                one = self._dense(layer, settings)
            case LSTM() | GRU() | SimpleRNN():
                one = self._recurrent(layer, {"": layer}, settings)
            case Bidirectional():
                one = self._recurrent(layer, {f"{side}_": cell for side, cell in layer.sides.items()}, settings)
            case _:
                assert_never(layer)
        if "result" in one.types:
            self.type = self.declared = one.types["result"]
        self.auto, self.kind = auto, kind
        return [one]

    def marker(self, name: str) -> None:
        """Refuse a format of a TimeDistributed, in front of its layers or behind them, that is not the one there."""
        if self.config.has(name):
            settings = self.config.layer(name)
            explicit = settings.precision("result")
            if explicit not in (None, self.type):
                raise FxsimError(
                    f"{settings.where}: Precision result must be that of its input, {self.type}, not {explicit}"
                )

    def _removed(self, layer: Activation, settings: Settings, last: bool) -> bool:
        """Whether hls4ml removes an activation: a softmax to be skipped, or a linear one with its result's format."""
        if layer.function.name == "softmax":
            skip: bool = settings.choice("Skip", False, (False, True))
            if skip and not last:
                raise FxsimError(f"{settings.where}: Skip must be False for a layer that is not the last one")
            return skip
        if layer.function.name != "linear":
            return False
        explicit = settings.precision("result")
        if self.auto:
            return explicit is None or self.kind in _SAFE
        return explicit == self.declared

    def _activation(self, layer: Activation, settings: Settings) -> Resolved:
        types = {"result": settings.type("result"), "table": settings.table("table_t", TABLE)}
        line = None
        match layer.function:
            case Function("hard_sigmoid" | "hard_tanh" as name):
                types |= {"slope": SLOPE_TYPE, "shift": SHIFT_TYPE}
                # Whatever the model's slope is.
                line = (SLOPE if name == "hard_sigmoid" else 0.5, SHIFT)
            case Function("elu" | "leaky_relu", alpha=float(alpha)) if layer.origin != "PReLU":
                types["param"] = settings.precision("param") or _constant_type(alpha)
            case Function("leaky_relu" | "thresholded_relu"):
                types["param"] = settings.precision("param") or self.declared
        return Resolved(layer, types, settings.table_size, line=line)

    def _softmax(self, layer: Activation, settings: Settings, shape: Shape) -> Resolved:
        types = {name: settings.table(f"{name}_t", _SOFTMAX_TABLE) for name in ("exp_table", "inv_table", "inv_inp")}
        types |= {"result": settings.type("result"), "accum": settings.type("accum")}
        entries = min(settings.table_size, 1 << min(self.type.width, types["inv_table"].width))
        implementation: str = settings.choice("Implementation", "stable", IMPLEMENTATIONS)
        # hls4ml knows the axis of Keras' own Softmax layer, and of what runs at every step for itself.
        whole = len(shape) > 1 and not (self.config.stream or layer.origin == "Softmax" or layer.wrapper)
        return Resolved(layer, types, entries, implementation=implementation, whole=whole)

    def _dense(self, layer: Dense, settings: Settings) -> Resolved:
        inputs, units = layer.weights["kernel"].shape
        weight = settings.type("weight")
        # A Dense without bias gets a zero of one bit, which inference counts in.
        bias = settings.type("bias") if layer.use_bias else NO_BIAS
        accum, result = settings.precision("accum"), settings.precision("result")
        if accum is None or result is None:
            exact = inferred(inputs, self.declared, weight, bias, settings.maximum)
            accum, result = accum or exact, result or exact
        types = {"weight": weight, "bias": bias, "accum": accum, "result": result}
        return Resolved(layer, types, strides={"weight": _stride(settings, inputs, units, self.config.stream)})

    def _recurrent(
        self, layer: Recurrent | Bidirectional, sides: Mapping[str, Recurrent], settings: Settings
    ) -> Resolved:
        """``sides``: the cells by the prefix of their variables."""
        types = {"accum": settings.type("accum"), "result": settings.type("result")}
        types["table"] = settings.table("table_t", TABLE)
        strides = {}
        for prefix, cell in sides.items():
            types |= {prefix + variable: settings.type(prefix + variable) for variable in _CELL}
            for variable, matrix in (("weight", "kernel"), ("recurrent_weight", "recurrent_kernel")):
                inputs, outputs = cell.weights[matrix].shape
                # hls4ml counts three gates in both directions of a Bidirectional, whatever the cell.
                counted = 3 * cell.units if prefix else outputs
                strides[prefix + variable] = _stride(settings, inputs, counted, self.config.stream)
        return Resolved(layer, types, settings.table_size, strides)


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


def _stride(settings: Settings, inputs: int, outputs: int, stream: bool) -> int:
    """The stride of a product's sum under the layer's strategy and effective reuse factor."""
    strategy, requested = settings.strategy, settings.reuse_factor
    if strategy == "latency" or requested == 1:
        return 1
    sequence = settings.kind == "PointwiseConv1D"
    effective = requested
    # hls4ml takes the nearest legal one, but leaves that which a Dense over a sequence has of its own as it is.
    if not (sequence and settings.own_reuse):
        legal = [n for n in range(1, inputs) if inputs % n == 0]
        legal += [inputs * n for n in range(1, outputs + 1) if outputs % n == 0]
        # Where it has no unrolled form of the layer, resource_unrolled means resource.
        unrolled = settings.kind != "Bidirectional" and (stream or not sequence)
        if strategy == "resource_unrolled" and unrolled and len(legal) > 1:
            legal.pop()
        # The smaller of two as near.
        effective = min(legal, key=lambda factor: (abs(factor - requested), factor))
    if sequence:
        check_sequence_reuse(settings.where, effective, inputs, stream)
    return effective if effective < inputs else 1
