# SPDX-License-Identifier: Apache-2.0
"""A float network and an hls4ml configuration -> the layers as hls4ml 1.3.0 resolves them, and the graph of these.

The formats come from :mod:`~fxsim.quantization.hls4ml_config`, the inference of those left 'auto' is here. What is
computed with them is in :mod:`~fxsim.quantization.hls4ml_layers`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

import numpy as np

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
    Source,
    SourceLayer,
)
from ..program.fixed import Fixed, Overflow, Round
from ..program.graph import Graph, Shape, Tensor, Wiring
from .batch_norm import alone, without
from .hls4ml_config import TABLE, Config, Settings
from .hls4ml_layers import (
    IMPLEMENTATIONS,
    NO_BIAS,
    SHIFT,
    SHIFT_TYPE,
    SLOPE,
    SLOPE_TYPE,
    Resolved,
    check_sequence_reuse,
    nodes,
    single,
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
    kinds = {door.name: "Input" for door in source.inputs}
    for layer in source.layers:
        kinds[layer.name] = _kind(layer, source.shapes[layer.sources[0]])
        if layer.wrapper:
            kinds |= dict.fromkeys((layer.wrapper, f"{layer.wrapper}_end"), "TimeDistributed")
    linears = _linears(source)
    kinds |= dict.fromkeys(linears.values(), "Activation")
    read = Config(config, kinds, _aliases(source))
    source = _fused(source, kinds, read)
    flows: dict[str, Flow] = {}
    wiring = Wiring(*(
        Tensor.of(door.name, door.shape, read.layer(door.name).type("result")) for door in source.inputs
    ))  # fmt: skip
    for tensor in wiring.inputs:
        flows[tensor.name] = Flow(tensor, tensor.type)
    for layer in source.layers:
        before = [flows[name] for name in layer.sources]
        walk = _Walk(read, before)
        walk.marker(layer.wrapper)
        one = walk.layer(layer, kinds[layer.name], source.shapes[layer.sources[0]], layer.name in source.outputs)
        flow = walk.flow if one is None else walk.behind(wiring.add(*nodes(one, walk.xs, read.stream)))
        linear = linears.get(layer.name)
        if linear and read.has(linear):
            walk = _Walk(read, [flow])
            more = walk.layer(_linear(linear, layer.name), "Activation", source.shapes[layer.name], last=False)
            flow = flow if more is None else walk.behind(wiring.add(*nodes(more, walk.xs, read.stream)))
        _Walk(read, [flow]).marker(f"{layer.wrapper}_end")
        flows[layer.name] = flow
    outputs = [flows[name].tensor.name for name in source.outputs]
    return wiring.graph(source.name, *outputs)


def _fused(source: Source, kinds: Mapping[str, str], config: Config) -> Source:
    """The network without what hls4ml makes a part of the Dense layer in front: a BatchNormalization.

    It does so where the Dense layer's result is 'auto' and nothing else reads that, whatever formats the
    BatchNormalization has; the product of the weights is one of single precision.
    """
    by_name = {layer.name: layer for layer in source.layers}
    for layer in source.layers:
        before = by_name.get(layer.sources[0])
        if not isinstance(layer, BatchNormalization) or not isinstance(before, Dense) or before.wrapper:
            continue
        if not alone(source, before.name) or config.layer(before.name).precision("result") is not None:
            continue
        scale, shift = single(layer)
        kernel, bias = (before.weights[key].astype(np.float32) for key in ("kernel", "bias"))
        weights = {"kernel": (scale * kernel).astype(np.float64), "bias": (scale * bias + shift).astype(np.float64)}
        source = without(source, layer, replace(before, use_bias=True, weights=weights))
        by_name[before.name] = next(one for one in source.layers if one.name == before.name)
    return source


def _aliases(source: Source) -> dict[str, str]:
    """PyTorch's names of modules by those that hls4ml takes from the trace: ``head.0`` is ``head_0`` there."""
    if source.framework != "pytorch":
        return {}
    names = {}
    for layer in source.layers:
        traced = re.sub(r"\W", "_", re.sub(r"(?<=[a-z])([A-Z])", r"_\1", layer.name).lower())
        names["_" * traced[:1].isdigit() + traced] = layer.name
    return names


def _linear(name: str, *sources: str) -> Activation:
    return Activation(name, Function("linear"), sources=sources)


def _linears(source: Source) -> dict[str, str]:
    """Names of the linear activations that hls4ml sees behind Dense layers of Keras 2, by the Dense layer's name."""
    names = {layer.name for layer in source.layers}
    if source.framework != "keras":
        return {}
    # A Dense with an activation of its own has that one behind it, and no linear one.
    own = {
        two.sources[0]
        for two in source.layers
        if isinstance(two, Activation) and two.name == f"{two.sources[0]}_{two.function.name}"
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
        case Idle():
            return "Activation"
        case Merge():
            return "Concatenate" if layer.function == "concatenate" else "Merge"
        case BatchNormalization():
            return "BatchNormalization"
        case Repeat():
            return "RepeatVector"
        case Reverse():
            return "Reverse"
        case _:
            assert_never(layer)


@dataclass(frozen=True)
class Flow:
    """A tensor on its way from layer to layer.

    ``declared`` is the format that inference takes it for; a Reshape leaves the data's format alone but may be declared
    to have another. ``auto``: whether the format was inferred; ``kind``: the class of the layer that gives it.
    """

    tensor: Tensor
    declared: Fixed
    auto: bool = False
    kind: str = "Input"


@dataclass
class _Walk:
    """A layer's turn: what it reads, and what becomes of that."""

    config: Config
    before: Sequence[Flow]
    declared: Fixed | None = None
    auto: bool = False
    kind: str = "Input"

    @property
    def flow(self) -> Flow:
        """The first tensor that it reads."""
        return self.before[0]

    @property
    def xs(self) -> list[Tensor]:
        """All that it reads."""
        return [flow.tensor for flow in self.before]

    @property
    def type(self) -> Fixed:
        """The format of the first tensor's data."""
        return self.flow.tensor.type

    def behind(self, tensor: Tensor) -> Flow:
        """The layer's result."""
        return Flow(tensor, self.declared or tensor.type, self.auto, self.kind)

    def layer(self, layer: SourceLayer, kind: str, shape: Shape, last: bool) -> Resolved | None:
        """The layer resolved, or None where hls4ml removes it."""
        if isinstance(layer, Idle):
            # Keras 3 keeps a Dropout in the model, which hls4ml reads as a linear activation.
            layer = _linear(layer.name, *layer.sources)
        settings = self.config.layer(layer.name)
        self.auto, self.kind = settings.precision("result") is None, kind
        match layer:
            case Flatten() | Reshape():
                self.declared = settings.precision("result") or self.flow.declared
                return Resolved(layer, {})
            case Reverse() | Repeat():
                self.declared = self.flow.declared
                return Resolved(layer, {})
            case Activation():
                if self._removed(layer, settings, last):
                    return None
                return self._softmax(layer, settings, shape) if kind == "Softmax" else self._activation(layer, settings)
            case Dense():
                return self._dense(layer, settings)
            case LSTM() | GRU() | SimpleRNN():
                return self._recurrent(layer, {"": layer}, settings)
            case Bidirectional():
                return self._recurrent(layer, {f"{side}_": cell for side, cell in layer.sides.items()}, settings)
            case BatchNormalization():
                return self._batch_normalization(layer, settings)
            case Merge():
                return self._merge(layer, settings)
            case _:
                assert_never(layer)

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
        if self.flow.auto:
            return explicit is None or self.flow.kind in _SAFE
        return explicit == self.flow.declared

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
                types["param"] = settings.precision("param") or self.flow.declared
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
            exact = inferred(inputs, self.flow.declared, weight, bias, settings.maximum)
            accum, result = accum or exact, result or exact
        types = {"weight": weight, "bias": bias, "accum": accum, "result": result}
        return Resolved(layer, types, strides={"weight": _stride(settings, inputs, units, self.config.stream)})

    def _batch_normalization(self, layer: BatchNormalization, settings: Settings) -> Resolved:
        types = {"scale": settings.type("scale"), "bias": settings.type("bias")}
        exact = inferred(1, self.flow.declared, types["scale"], types["bias"], settings.maximum)
        return Resolved(layer, {**types, "result": settings.precision("result") or exact})

    def _merge(self, layer: Merge, settings: Settings) -> Resolved:
        if len(self.before) != 2:
            raise FxsimError(f"{layer.where}: hls4ml merges 2 tensors, not {len(self.before)}")
        one, two = (flow.declared for flow in self.before)
        if layer.function in ("maximum", "minimum") and one.plain != two.plain:
            # The emulator's code has both in one expression, which has no type.
            raise FxsimError(
                f"{layer.where}: a {layer.function} of hls4ml takes tensors of one format, not {one} and {two}"
            )
        result = settings.precision("result") or merged(layer.function, one, two, settings.maximum)
        return Resolved(layer, {"result": result})

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


def merged(function: str, one: Fixed, two: Fixed, maximum: Fixed | None) -> Fixed:
    """hls4ml's format for two tensors as one, its bits cut to those of ``maximum``."""
    signed = one.signed or two.signed
    integer = max(type.integer + (signed and not type.signed) for type in (one, two))
    frac = max(one.frac, two.frac)
    if function in ("maximum", "minimum"):
        return one if one == two else Fixed(integer + frac, frac, signed)
    if function == "concatenate":
        if one == two:
            return one
        limit = maximum or Fixed(integer + frac, frac)
        width, integer = min(integer + frac, limit.width), min(integer, limit.integer)
        rounding = one.round if one.round is not Round.TRN else two.round
        overflow = one.overflow if one.overflow is not Overflow.WRAP else two.overflow
        return Fixed(width, width - integer, signed, rounding, overflow)
    if function == "multiply":
        integer, width = one.integer + two.integer, one.width + two.width
    else:
        integer += 1
        width = integer + frac
    if maximum is not None:
        width, integer = min(width, maximum.width), min(integer, maximum.integer)
    return Fixed(width, width - integer, signed or function == "subtract")


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
