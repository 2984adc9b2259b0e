# SPDX-License-Identifier: Apache-2.0
"""Turns a Keras model's config and weights into a `Source`; all conventions of Keras end here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxsim.errors import ModelError, show
from fxsim.importers.keras_chain import Entry, chain
from fxsim.importers.keras_files import Contents
from fxsim.importers.keras_options import ACTIVATIONS, LAYERS, MAX_AXIS, Options
from fxsim.importers.keras_weights import Expected, LayerWeights, read_all
from fxsim.importers.source import Source, SourceLayer

__all__ = ["source_from_contents"]

Shape = tuple[int, ...]
Weights = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Planned:
    """A layer before its weights are read: what it needs, and what it then becomes."""

    shape: Shape
    expected: tuple[Expected, ...] = ()
    build: Callable[[Weights], list[SourceLayer]] = field(default=lambda weights: [])
    idle: str = ""  #: name of a layer that Keras 3 keeps in a model though it does nothing at inference


def source_from_contents(contents: Contents) -> Source:
    """Judge every layer of the config in order, then read the weights. Raises ModelError."""
    model = chain(contents.config)
    shape = _input_shape(model.input_where, model.input_shape)
    planned: list[Planned] = []
    needs: list[LayerWeights] = []
    start = shape
    for entry in model.layers:
        plan = _plan(entry, shape, contents.generation)
        planned.append(plan)
        needs.append(LayerWeights(entry.class_name, entry.name, plan.expected))
        shape = plan.shape
    arrays = read_all(contents.weights, needs)
    layers: list[SourceLayer] = []
    idle: list[tuple[int, str]] = []
    for plan, values in zip(planned, arrays, strict=True):
        if plan.idle:
            idle.append((len(layers), plan.idle))
        layers += plan.build({want.key: value for want, value in zip(plan.expected, values, strict=True)})
    if not layers:
        raise ModelError("the model has no layer that computes anything")
    names = {model.input_name}
    for name in [*(layer.name for layer in layers), *(name for _, name in idle)]:
        if name in names:
            raise ModelError(f"two layers are named {show(name)}; names must be unique, those of activations too")
        names.add(name)
    return Source(model.name, model.input_name, start, tuple(layers), tuple(idle))


def _input_shape(where: str, batch_shape: object) -> Shape:
    """Give (steps, features) or (features,) out of a shape with the batch in front."""
    if not isinstance(batch_shape, list) or not 2 <= len(batch_shape) <= 3:
        raise ModelError(
            f"{where}: input shape must be [batch, steps, features] or [batch, features], not {show(batch_shape)}"
        )
    batch, *sizes = batch_shape
    if len(sizes) == 2 and sizes[0] is None:
        raise ModelError(f"{where}: sequence length is variable; give a fixed number of steps")
    for size in [*sizes, 1 if batch is None else batch]:
        if type(size) is not int or not 1 <= size <= MAX_AXIS:
            raise ModelError(f"{where}: input shape must have sizes from 1 to {MAX_AXIS}, not {show(batch_shape)}")
    return tuple(sizes)


def _plan(entry: Entry, shape: Shape, generation: int) -> Planned:
    options = Options(entry.class_name, entry.name, entry.config)
    repeated = entry.config.get("batch_input_shape")
    if repeated is not None and not _agrees(repeated, shape):
        raise options.refuse("batch_input_shape", repeated, str([None, *shape]))
    return _PLANNERS[entry.class_name](options, shape, generation)


def _agrees(batch_shape: object, shape: Shape) -> bool:
    if not isinstance(batch_shape, list) or len(batch_shape) != len(shape) + 1:
        return False
    return all(have is None or have == want for have, want in zip(batch_shape[1:], shape, strict=True))


# --- Activations


def _function(options: Options, key: str, generation: int) -> dict[str, object]:
    """Give an activation option as {function, parameters}; it is a name, or a whole activation layer."""
    value = options.get(key)
    if value is None:
        value = "linear"
    if isinstance(value, dict):
        inner = _wrapped(options, key, tuple(_ACTIVATION_LAYERS))
        return _ACTIVATION_LAYERS[inner.class_name](inner, 1)
    legal = [name for name in ACTIVATIONS if generation == 3 or name != "hard_tanh"]
    if not isinstance(value, str) or value not in legal:
        raise options.refuse(key, value, "one of " + ", ".join(map(repr, legal)))
    parameters: dict[str, object] = {**ACTIVATIONS[value]}
    if value == "hard_sigmoid" and generation == 3:
        parameters["slope"] = 1 / 6
    return {"function": value, **parameters}


def _relu(options: Options, rank: int) -> dict[str, object]:
    # Older configs of Keras 2 have none of the three options.
    slope = options.number("negative_slope") if "negative_slope" in options else 0.0
    return {"function": "leaky_relu", "alpha": slope} if slope else {"function": "relu"}


def _leaky_relu(options: Options, rank: int) -> dict[str, object]:
    # Keras 2 calls it alpha, Keras 3 negative_slope.
    keys = [key for key in ("alpha", "negative_slope") if key in options]
    if len(keys) == 2:
        raise ModelError(f"{options.where}: options 'alpha' and 'negative_slope' are the same; one must be given")
    return {"function": "leaky_relu", "alpha": options.number(keys[0] if keys else "negative_slope")}


def _softmax(options: Options, rank: int) -> dict[str, object]:
    axis = options.get("axis")
    if isinstance(axis, list) and len(axis) == 1:
        axis = axis[0]
    if type(axis) is not int or axis not in (-1, rank):
        raise options.refuse("axis", axis, f"-1 (the last axis, {rank})")
    return {"function": "softmax"}


#: Layers that are an activation function; `rank` is that of their input without the batch.
_ACTIVATION_LAYERS: dict[str, Callable[[Options, int], dict[str, object]]] = {
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ThresholdedReLU": lambda options, rank: {"function": "thresholded_relu", "theta": options.number("theta")},
    "ELU": lambda options, rank: {"function": "elu", "alpha": options.number("alpha")},
    "Softmax": _softmax,
}


def _activation(options: Options, shape: Shape, generation: int) -> Planned:
    if options.class_name == "Activation":
        function = _function(options, "activation", generation)
    else:
        function = _ACTIVATION_LAYERS[options.class_name](options, len(shape))
    # hls4ml reads Keras 3's layer ReLU as one with a threshold, and knows the axis of no softmax but the layer's.
    of_its_own = options.class_name == "Softmax" or (options.class_name == "ReLU" and generation == 3)
    origin = options.class_name if of_its_own else ""
    layer = SourceLayer(options.name, "activation", function, {}, origin)
    return Planned(shape, build=lambda weights: [layer])


def _prelu(options: Options, shape: Shape, generation: int) -> Planned:
    """A leaky_relu with a slope for each feature, which must be the same at every step."""
    axes = options.get("shared_axes") if "shared_axes" in options else None
    shared = axes if isinstance(axes, list) else [] if axes is None else None
    if shared is None or any(type(axis) is not int or not 1 <= axis <= len(shape) for axis in shared):
        raise options.refuse("shared_axes", axes, f"None or a list of axes from 1 to {len(shape)}")
    stored = tuple(1 if axis in shared else size for axis, size in enumerate(shape, start=1))

    def build(weights: Weights) -> list[SourceLayer]:
        slopes = np.broadcast_to(weights["alpha"], shape).reshape(-1, shape[-1])
        if np.any(slopes != slopes[0]):
            raise ModelError(f"{options.where}: its alpha must be the same at every step, as with shared_axes=[1]")
        function = {"function": "leaky_relu", "alpha": tuple(slopes[0].tolist())}
        return [SourceLayer(options.name, "activation", function, {}, "PReLU")]

    return Planned(shape, (Expected("alpha", (stored,), 0),), build)


# --- Layers with weights


def _zeros(*shape: int) -> NDArray[np.float64]:
    zeros = np.zeros(shape)
    zeros.setflags(write=False)
    return zeros


def _dense(options: Options, shape: Shape, generation: int) -> Planned:
    units, use_bias = options.size("units"), options.flag("use_bias")
    function = _function(options, "activation", generation)
    expected = [Expected("kernel", ((shape[-1], units),), 0)]
    if use_bias:
        expected.append(Expected("bias", ((units,),), 1))

    def build(weights: Weights) -> list[SourceLayer]:
        values = {"kernel": weights["kernel"], "bias": weights["bias"] if use_bias else _zeros(units)}
        layers = [SourceLayer(options.name, "dense", {"units": units, "use_bias": use_bias}, values)]
        if function["function"] != "linear":
            layers.append(SourceLayer(f"{options.name}_{function['function']}", "activation", function, {}))
        return layers

    return Planned((*shape[:-1], units), tuple(expected), build)


#: Functions inside a recurrent layer: applied to each element, and without a parameter but hard_sigmoid's slope.
_RECURRENT_FUNCTIONS = (
    "linear", "relu", "sigmoid", "tanh", "hard_sigmoid", "hard_tanh", "softplus", "softsign", "elu", "selu",
)  # fmt: skip

_GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}
_KINDS = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "simple_rnn"}


@dataclass(frozen=True)
class Cell:
    """A recurrent layer before its weights are read."""

    options: Mapping[str, Any]
    expected: tuple[Expected, ...]
    build: Callable[[str, Weights], SourceLayer]


def _cell(options: Options, shape: Shape, generation: int, *, backwards: bool = False) -> Cell:
    if len(shape) != 2:
        raise ModelError(f"{options.where}: its input must be (steps, features), not {shape}")
    direction = options.flag("go_backwards") if "go_backwards" in options else False
    if direction is not backwards:
        raise options.refuse("go_backwards", direction, repr(backwards))
    units, use_bias = options.size("units"), options.flag("use_bias")
    read: dict[str, Any] = {"units": units, "use_bias": use_bias, "return_sequences": options.flag("return_sequences")}
    for key in ("activation",) if options.class_name == "SimpleRNN" else ("activation", "recurrent_activation"):
        function = _function(options, key, generation)
        name = function["function"]
        if not isinstance(options.get(key), str) or name not in _RECURRENT_FUNCTIONS:
            raise options.refuse(key, options.get(key), "one of " + ", ".join(map(repr, _RECURRENT_FUNCTIONS)))
        read[key] = name
        if name == "hard_sigmoid":
            read["hard_sigmoid_slope"] = function["slope"]

    wide = _GATES[options.class_name] * units
    bias: tuple[Shape, ...] = ((wide,),)
    reset_after: bool | None = None
    if options.class_name == "GRU":
        # Configs older than the option have no key; then the shape of the bias tells, and without a bias the default
        # of the Keras of that time does.
        if "reset_after" in options:
            reset_after = options.flag("reset_after")
            bias = ((2, wide),) if reset_after else ((wide,),)
        elif use_bias:
            bias = ((wide,), (2, wide))
        else:
            reset_after = False
    expected = [
        Expected("kernel", ((shape[1], wide),), 0, "cell"),
        Expected("recurrent_kernel", ((units, wide),), 1, "cell"),
    ]
    if use_bias:
        expected.append(Expected("bias", bias, 2, "cell"))

    def build(name: str, weights: Weights) -> SourceLayer:
        options_read = dict(read)
        values = dict(weights)
        stored = values.pop("bias", _zeros(wide))
        values["bias"] = stored if stored.ndim == 1 else stored[0]
        if options.class_name == "GRU":
            options_read["reset_after"] = stored.ndim == 2 if reset_after is None else reset_after
            values["recurrent_bias"] = _zeros(wide) if stored.ndim == 1 else stored[1]
        return SourceLayer(name, _KINDS[options.class_name], options_read, values)

    return Cell(read, tuple(expected), build)


def _recurrent_shape(shape: Shape, units: int, return_sequences: bool) -> Shape:
    return (shape[0], units) if return_sequences else (units,)


def _recurrent(options: Options, shape: Shape, generation: int) -> Planned:
    cell = _cell(options, shape, generation)
    out = _recurrent_shape(shape, cell.options["units"], cell.options["return_sequences"])
    return Planned(out, cell.expected, lambda weights: [cell.build(options.name, weights)])


# --- Wrappers


def _wrapped(options: Options, key: str, legal: tuple[str, ...]) -> Options:
    """Give the layer inside a wrapper, one of the `legal` classes."""
    value = options.get(key)
    where = f"{options.where}: option {show(key)}"
    entry = Entry.of(value, where)
    if entry.class_name not in legal:
        raise ModelError(f"{where} is a {show(entry.class_name)}; it must be one of {', '.join(legal)}")
    return Options(entry.class_name, entry.name, entry.config)


def _bidirectional(options: Options, shape: Shape, generation: int) -> Planned:
    merge = options.choice("merge_mode", ("concat", "sum", "ave", "mul"))
    inner = {"forward": _wrapped(options, "layer", ("LSTM", "GRU"))}
    cells = {"forward": _cell(inner["forward"], shape, generation)}
    if "backward_layer" in options:
        inner["backward"] = _wrapped(options, "backward_layer", ("LSTM", "GRU"))
        cells["backward"] = _cell(inner["backward"], shape, generation, backwards=True)
    else:
        # Keras 2 writes it only if the user gave one; else it is the forward layer's twin.
        inner["backward"], cells["backward"] = inner["forward"], cells["forward"]
    forward, backward = cells["forward"].options, cells["backward"].options
    # Two directions may differ in class, functions and units; put together element by element, not in units.
    for key in ("return_sequences",) if merge == "concat" else ("return_sequences", "units"):
        if forward[key] != backward[key]:
            legal = f"that of the forward layer, {forward[key]!r}"
            if key == "units":
                legal += ", unless merge_mode is 'concat'"
            raise inner["backward"].refuse(key, backward[key], legal)
    expected = tuple(
        Expected(f"{side}/{want.key}", want.shapes, want.index, f"{side}_layer/{want.group}")
        for side, cell in cells.items()
        for want in cell.expected
    )

    def build(weights: Weights) -> list[SourceLayer]:
        sides: dict[str, object] = {}
        for side, cell in cells.items():
            # Keras names the two by a prefix when it makes the wrapper, so a config may have it or not.
            name = f"{side}_{inner[side].name.removeprefix('forward_').removeprefix('backward_')}"
            own = {key.partition("/")[2]: value for key, value in weights.items() if key.startswith(f"{side}/")}
            sides[side] = cell.build(name, own)
        read = {"merge_mode": merge, "return_sequences": forward["return_sequences"], **sides}
        return [SourceLayer(options.name, "bidirectional", read, {})]

    units = forward["units"] + (backward["units"] if merge == "concat" else 0)
    return Planned(_recurrent_shape(shape, units, forward["return_sequences"]), expected, build)


_PER_STEP = ("Dense", "Activation", "PReLU", *_ACTIVATION_LAYERS)
_NOTHING = ("Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "ActivityRegularization")


def _time_distributed(options: Options, shape: Shape, generation: int) -> Planned:
    if len(shape) != 2:
        raise ModelError(f"{options.where}: its input must be (steps, features), not {shape}")
    inner = _wrapped(options, "layer", (*_PER_STEP, *_NOTHING))
    plan = _PLANNERS[inner.class_name](inner, shape[1:], generation)
    expected = tuple(Expected(want.key, want.shapes, want.index, "layer") for want in plan.expected)

    def build(weights: Weights) -> list[SourceLayer]:
        return [replace(layer, wrapper=options.name) for layer in plan.build(weights)]

    return Planned((shape[0], *plan.shape), expected, build)


# --- Layers that move or leave values


def _flatten(options: Options, shape: Shape, generation: int) -> Planned:
    size = math.prod(shape)
    if options.class_name == "Reshape":
        target = options.get("target_shape")
        if not isinstance(target, list) or target not in ([-1], [size]) or type(target[0]) is not int:
            raise options.refuse("target_shape", target, f"one flat axis, [{size}] or [-1]")
    layer = SourceLayer(options.name, "flatten", {}, {})
    return Planned((size,), build=lambda weights: [layer])


#: What hls4ml reads as a linear activation in a model of Keras 3.
_DROPOUT = ("Dropout", "SpatialDropout1D", "GaussianDropout")


def _nothing(options: Options, shape: Shape, generation: int) -> Planned:
    return Planned(shape, idle=options.name if options.class_name in _DROPOUT and generation == 3 else "")


_PLANNERS: dict[str, Callable[[Options, Shape, int], Planned]] = {
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN"), _recurrent),
    **dict.fromkeys(("Activation", *_ACTIVATION_LAYERS), _activation),
    **dict.fromkeys(("Flatten", "Reshape"), _flatten),
    **dict.fromkeys(_NOTHING, _nothing),
    "PReLU": _prelu,
    "Dense": _dense,
    "Bidirectional": _bidirectional,
    "TimeDistributed": _time_distributed,
}
assert {*_PLANNERS, "InputLayer"} == set(LAYERS)
