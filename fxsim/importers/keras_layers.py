# SPDX-License-Identifier: Apache-2.0
"""What each class of Keras' layers is in a `Source`: the weights that it must have, and the layers that it becomes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import FxsimError, ModelError, show
from . import source
from .keras_cells import Cell, cell, stacked
from .keras_functions import ACTIVATION_LAYERS, function, inner
from .keras_graph import Entry
from .keras_options import LAYERS, Options
from .keras_weights import Expected
from .source import (
    Activation,
    BatchNormalization,
    Bidirectional,
    Dense,
    Flatten,
    Function,
    Idle,
    Merge,
    Repeat,
    Reverse,
    SourceLayer,
    reshaped,
    result,
)

__all__ = ["MERGES", "PER_STEP", "Planned", "plan", "wrapped"]

Shape = tuple[int, ...]
Weights = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Planned:
    """A layer before its weights are read: what it needs, and what it then becomes."""

    shape: Shape
    expected: tuple[Expected, ...] = ()
    build: Callable[[Weights], list[SourceLayer]] = field(default=lambda weights: [])
    wrapper: str = ""  #: name of the TimeDistributed around it


def plan(options: Options, shapes: Sequence[Shape], generation: int) -> Planned:
    """A layer behind results of those shapes, without the batch; `options` takes what is wrong with it.

    Only one of MERGES takes several. `generation` is the major version of Keras.
    """
    if options.class_name in MERGES:
        return _merge(options, shapes)
    return _PLANNERS[options.class_name](options, shapes[0], generation)


def _row(shape: Shape, layers: Sequence[SourceLayer]) -> Planned:
    """Layers that have no weights, for an input of that shape."""
    return Planned(result(layers, shape), build=lambda weights: [*layers])


def _activation(options: Options, shape: Shape, generation: int) -> Planned:
    if options.class_name == "Activation":
        read = function(options, "activation", generation)
    else:
        read = ACTIVATION_LAYERS[options.class_name](options, len(shape))
    # hls4ml reads Keras 3's layer ReLU as one with a threshold, and knows the axis of no softmax but the layer's.
    of_its_own = options.class_name == "Softmax" or (options.class_name == "ReLU" and generation == 3)
    return _row(shape, [Activation(options.name, read, origin=options.class_name if of_its_own else "")])


def _prelu(options: Options, shape: Shape, generation: int) -> Planned:
    """A leaky_relu with a slope for each feature, which must be the same at every step."""
    axes = options.get("shared_axes", None) if "shared_axes" in options else None
    shared = axes if isinstance(axes, list) else [] if axes is None else None
    if shared is None or any(type(axis) is not int or not 1 <= axis <= len(shape) for axis in shared):
        options.refuse("shared_axes", axes, f"None or a list of axes from 1 to {len(shape)}")
        return Planned(shape)
    stored = tuple(1 if axis in shared else size for axis, size in enumerate(shape, start=1))

    def build(weights: Weights) -> list[SourceLayer]:
        slopes = np.broadcast_to(weights["alpha"], shape).reshape(-1, shape[-1])
        if np.any(slopes != slopes[0]):
            raise ModelError(f"{options.where}: its alpha must be the same at every step, as with shared_axes=[1]")
        return [Activation(options.name, Function("leaky_relu", alpha=tuple(slopes[0].tolist())), origin="PReLU")]

    return Planned(shape, (Expected("alpha", (stored,), 0),), build)


def _dense(options: Options, shape: Shape, generation: int) -> Planned:
    units, use_bias = options.size("units"), options.flag("use_bias")
    read = function(options, "activation", generation)
    dense = Dense(options.name, units=units, use_bias=use_bias)
    behind = [Activation(f"{options.name}_{read.name}", read)] if read.name != "linear" else []
    expected = [Expected("kernel", ((shape[-1], units),), 0)]
    if use_bias:
        expected.append(Expected("bias", ((units,),), 1))

    def build(weights: Weights) -> list[SourceLayer]:
        zeros = np.zeros(units)
        zeros.setflags(write=False)
        values = {"kernel": weights["kernel"], "bias": weights["bias"] if use_bias else zeros}
        return [replace(dense, weights=values), *behind]

    return Planned(result([dense, *behind], shape), tuple(expected), build)


# --- Recurrent layers


def _sequence(options: Options, shape: Shape) -> tuple[int, int]:
    if len(shape) != 2:
        options.misfit(f"its input must be (steps, features), not {shape}")
        return 1, shape[-1]
    return shape


def _check_direction(options: Options, backwards: bool) -> None:
    direction = options.flag("go_backwards") if "go_backwards" in options else False
    if direction is not backwards:
        options.refuse("go_backwards", direction, repr(backwards))


def _recurrent(options: Options, shape: Shape, generation: int) -> Planned:
    sequence, turned = _sequence(options, shape), _turned(options)
    found = cell(options, sequence[-1], generation).named(options.name, options.flag("return_sequences"))
    return Planned(found.layer.result(sequence), found.expected, lambda weights: [*turned, found.build(weights)])


def _turned(options: Options) -> list[SourceLayer]:
    """What stands in front of a recurrent layer that goes backwards. Its results come in the order in which it goes."""
    backwards = "go_backwards" in options and options.flag("go_backwards")
    return [Reverse(f"{options.name}_reversed")] if backwards else []


def _rnn(options: Options, shape: Shape, generation: int) -> Planned:
    """An RNN with a cell, or with cells on top of each other: layers, all of whose steps but the last one's go on."""
    sequence, turned = _sequence(options, shape), _turned(options)
    sequences = options.flag("return_sequences")
    found = stacked(options, sequence[-1], generation)
    if not found:
        return Planned(shape)
    names = [options.name] if len(found) == 1 else [f"{options.name}/{one.layer.name}" for one in found]
    cells = [one.named(name, sequences or one is not found[-1]) for name, one in zip(names, found, strict=True)]
    expected = tuple(
        Expected(f"{number}/{want.key}", want.shapes, want.index, want.group, one.trainable)
        for number, one in enumerate(cells)
        for want in one.expected
    )

    def build(weights: Weights) -> list[SourceLayer]:
        return [*turned, *(one.build(_part(weights, str(number))) for number, one in enumerate(cells))]

    return Planned(result([one.layer for one in cells], sequence), expected, build)


def _part(weights: Weights, head: str) -> Weights:
    """The weights whose keys begin with a part's name, without it."""
    return {key.partition("/")[2]: value for key, value in weights.items() if key.startswith(f"{head}/")}


# --- Wrappers


def wrapped(options: Options, key: str, legal: Sequence[str], wanted: str = "") -> Entry | None:
    """The layer inside a wrapper, one of the `legal` classes; what is none is noted, with what is `wanted`."""
    entry = inner(options, options.get(key, {}), f"option {show(key)}", legal, wanted)
    options.notes.doubt = options.notes.doubt or entry is None
    return entry


_CELLS = ("LSTM", "GRU", "SimpleRNN", "CuDNNLSTM", "CuDNNGRU")


def _one_cell(options: Options, features: int, generation: int) -> Cell | None:
    """The cell of one direction; an RNN must have a single one."""
    if options.class_name != "RNN":
        return cell(options, features, generation)
    found = stacked(options, features, generation)
    if len(found) > 1:
        options.problem("it must have a single cell in a Bidirectional", doubt=True)
    return found[0].named(options.name, True) if found else None


def _bidirectional(options: Options, shape: Shape, generation: int) -> Planned:
    sequence = _sequence(options, shape)
    merge = options.choice("merge_mode", source.MERGES)
    # Keras 2 writes the backward layer only if the user gave one; else it is the forward layer's twin.
    keys = ("layer", "backward_layer") if "backward_layer" in options else ("layer",)
    entries = [wrapped(options, key, (*_CELLS, "RNN")) for key in keys]
    found = [Options(one.class_name, one.name, one.config, options) for one in entries if one is not None]
    if len(found) < len(keys):
        return Planned(shape)
    cells = [_one_cell(one, sequence[-1], generation) for one in found]
    for one, backwards in zip(found, (False, True), strict=False):
        _check_direction(one, backwards)
    forward, backward = cells[0], cells[-1]
    if forward is None or backward is None:
        return Planned(shape)
    sequences = [one.flag("return_sequences") for one in found]
    units = forward.layer.units, backward.layer.units
    pairs = {"units": units, "return_sequences": (sequences[0], sequences[-1])}
    # Two directions may differ in class, functions and units; put together element by element, not in units.
    for key, (want, have) in pairs.items():
        if have != want and not (key == "units" and merge == "concat"):
            legal = f"that of the forward layer, {want!r}"
            if key == "units":
                legal += ", unless merge_mode is 'concat'"
            found[-1].refuse(key, have, legal, doubt=True)
            backward = forward  # for a result that has a shape
    # Keras names the two by a prefix when it makes the wrapper, so a config may have it or not.
    sides = {
        side: one.named(f"{side}_{one.layer.name.removeprefix('forward_').removeprefix('backward_')}", sequences[0])
        for side, one in (("forward", forward), ("backward", backward))
    }
    expected = tuple(
        Expected(
            f"{side}/{want.key}", want.shapes, want.index, f"{side}_layer/{want.group}".rstrip("/"), each.trainable
        )
        for side, each in sides.items()
        for want in each.expected
    )

    layer = Bidirectional(
        options.name, merge_mode=merge, forward=sides["forward"].layer, backward=sides["backward"].layer
    )

    def build(weights: Weights) -> list[SourceLayer]:
        forward, backward = (one.build(_part(weights, side)) for side, one in sides.items())
        return [replace(layer, forward=forward, backward=backward)]

    return Planned(layer.result(sequence), expected, build)


# --- Layers that move or leave values


def _flatten(options: Options, shape: Shape, generation: int) -> Planned:
    return _row(shape, [Flatten(options.name)])


def _reshape(options: Options, shape: Shape, generation: int) -> Planned:
    """To one flat axis, or to (steps, features), whatever the shape was: values stay in their order."""
    target, size = options.get("target_shape", []), math.prod(shape)
    if not isinstance(target, list) or not 1 <= len(target) <= 2 or any(type(axis) is not int for axis in target):
        options.refuse("target_shape", target, "[steps, features] or one flat axis", doubt=True)
        return Planned(shape)
    known = math.prod(axis for axis in target if axis != -1)
    if target.count(-1) == 1 and known > 0 and size % known == 0:
        target = [size // known if axis == -1 else axis for axis in target]
    if min(target) < 1 or math.prod(target) != size:
        options.misfit(f"option 'target_shape' must have {size} elements, not {show(options.get('target_shape'))}")
        return Planned(shape)
    return _row(shape, reshaped(options.name, shape, tuple(target)))


#: What hls4ml reads as a linear activation in a model of Keras 3.
_DROPOUT = ("Dropout", "SpatialDropout1D", "GaussianDropout")
_NOTHING = (*_DROPOUT, "AlphaDropout", "GaussianNoise", "ActivityRegularization", "Identity", "Cast")


def _nothing(options: Options, shape: Shape, generation: int) -> Planned:
    # Of those that a model of Keras 3 has, other tools know the names.
    kept = options.class_name in _DROPOUT and generation == 3
    return _row(shape, [Idle(options.name)] if kept else [])


# --- Several tensors, statistics, vectors at every step

#: Layers that make one tensor of several, and the function that each is.
MERGES = {
    "Add": "add",
    "Subtract": "subtract",
    "Multiply": "multiply",
    "Average": "average",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Concatenate": "concatenate",
}


def _merge(options: Options, shapes: Sequence[Shape]) -> Planned:
    layer = Merge(options.name, MERGES[options.class_name])
    if layer.function == "concatenate":
        axis, rank = options.get("axis", -1), len(shapes[0])
        if type(axis) is not int or axis not in (-1, rank):
            options.refuse("axis", axis, f"-1 or {rank}, the elements of a step")
    try:
        return Planned(layer.result(*shapes), build=lambda weights: [layer])
    except FxsimError as error:
        options.misfit(str(error).removeprefix(f"{layer.where} "))
        return Planned(shapes[0])


def _batch_normalization(options: Options, shape: Shape, generation: int) -> Planned:
    axis, rank = options.get("axis", -1), len(shape)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if type(axis) is not int or axis not in (-1, rank):
        options.refuse("axis", axis, f"-1 or {rank}, the elements of a step")
    epsilon = options.number("epsilon")
    if epsilon < 0:
        options.refuse("epsilon", epsilon, "a number that is not negative")
    has = {"gamma": options.flag("scale"), "beta": options.flag("center")}
    keys = [*(key for key, there in has.items() if there), "moving_mean", "moving_variance"]
    expected = tuple(
        Expected(key, (shape[-1:],), index, trainable=not key.startswith("moving")) for index, key in enumerate(keys)
    )

    def build(weights: Weights) -> list[SourceLayer]:
        variance = weights["moving_variance"]
        if np.any(variance + epsilon <= 0):
            raise ModelError(f"{options.where}: its variances must be positive")
        values = {
            "gamma": weights.get("gamma", np.ones(shape[-1:])),
            "beta": weights.get("beta", np.zeros(shape[-1:])),
            "mean": weights["moving_mean"],
            "variance": variance,
        }
        for value in values.values():
            value.setflags(write=False)
        return [BatchNormalization(options.name, epsilon=epsilon, weights=values)]

    return Planned(shape, expected, build)


def _repeat(options: Options, shape: Shape, generation: int) -> Planned:
    layer = Repeat(options.name, options.size("n"))
    if len(shape) != 1:
        options.misfit(f"its input must be (features,), not {shape}")
        return Planned((layer.steps, shape[-1]))
    return _row(shape, [layer])


#: Layers that TimeDistributed may have inside: on one step they do what they do on a sequence.
PER_STEP = ("Dense", "Activation", "PReLU", "BatchNormalization", *ACTIVATION_LAYERS, *_NOTHING)
_PLANNERS: dict[str, Callable[[Options, Shape, int], Planned]] = {
    **dict.fromkeys(_CELLS, _recurrent),
    **dict.fromkeys(("Activation", *ACTIVATION_LAYERS), _activation),
    **dict.fromkeys(_NOTHING, _nothing),
    "PReLU": _prelu,
    "RNN": _rnn,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Dense": _dense,
    "Bidirectional": _bidirectional,
    "BatchNormalization": _batch_normalization,
    "RepeatVector": _repeat,
}
assert {*_PLANNERS, *MERGES, "InputLayer", "TimeDistributed"} == set(LAYERS)
