# SPDX-License-Identifier: Apache-2.0
"""A PyTorch model's weights and the order of its layers -> a `Source`; all conventions of PyTorch end here.

What a PyTorch model computes is code, which is not read: the caller names the layers in their order. Weights are found
by the names that PyTorch gives them, and each must be used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import arguments
from ..arguments import sizes
from ..errors import ModelError, show
from .gates import PYTORCH, reorder
from .keras_options import ACTIVATIONS, MAX_AXIS
from .source import (
    GRU,
    LSTM,
    Activation,
    Bidirectional,
    Dense,
    Flatten,
    Function,
    Recurrent,
    SimpleRNN,
    Source,
    SourceLayer,
    result,
)

__all__ = ["source_from_state"]

Array = NDArray[np.float64]
Shape = tuple[int, ...]

#: Functions with PyTorch's meaning. Its leaky_relu and hard_sigmoid differ from Keras' in their constants.
FUNCTIONS: dict[str, dict[str, float]] = {
    **{name: {} for name, parameters in ACTIVATIONS.items() if not parameters},
    "elu": {"alpha": 1.0},
    "leaky_relu": {"alpha": 0.01},
    "hard_sigmoid": {"slope": 1 / 6, "shift": 0.5},
}
#: Modules that are a function, with the names of their parameters here by their own, and what others must be.
MODULES: dict[str, tuple[str, dict[str, str], dict[str, tuple[object, ...]]]] = {
    "ReLU": ("relu", {}, {}),
    "Sigmoid": ("sigmoid", {}, {}),
    "Tanh": ("tanh", {}, {}),
    "LeakyReLU": ("leaky_relu", {"negative_slope": "alpha"}, {}),
    "ELU": ("elu", {"alpha": "alpha"}, {}),
    "SELU": ("selu", {}, {}),
    "Softplus": ("softplus", {}, {"beta": (1, 1.0)}),
    "Softsign": ("softsign", {}, {}),
    "Threshold": ("thresholded_relu", {"threshold": "theta"}, {"value": (0, 0.0)}),
    "Hardsigmoid": ("hard_sigmoid", {}, {}),
    "Hardtanh": ("hard_tanh", {}, {"min_val": (-1, -1.0), "max_val": (1, 1.0)}),
    "Softmax": ("softmax", {}, {"dim": (-1,)}),
    "Identity": ("linear", {}, {}),
}
_CELLS: dict[int, type[Recurrent]] = {4: LSTM, 3: GRU, 1: SimpleRNN}
_SUFFIXES = {"weight_ih": "kernel", "weight_hh": "recurrent_kernel", "bias_ih": "bias", "bias_hh": "recurrent_bias"}
_STEPS = ("last", "state", "flatten")


def source_from_state(
    state: Mapping[str, Any],
    shape: Sequence[int],
    layers: Sequence[str],
    name: str,
    input_name: str,
    modules: Mapping[str, Any] | None = None,
) -> Source:
    """The network of these layers, as :func:`fxsim.importers.from_pytorch` says, by modules with their parameters."""
    size = sizes(shape, "shape", MAX_AXIS, ModelError)
    walk = _Walk({key: _array(key, value) for key, value in state.items()}, size, modules or {})
    for entry in layers:
        walk.entry(entry)
    if not walk.layers:
        raise ModelError("layers must name at least one layer")
    left = sorted(walk.state.keys() - walk.used)
    if left:
        raise ModelError(f"the weights {show(left[0])} belong to no layer of the list")
    names = [input_name, *(layer.name for layer in walk.layers)]
    for one in names:
        if names.count(one) > 1:
            raise ModelError(f"two layers are named {show(one)}; give one a name of its own, as in 'name: relu'")
    return Source.row(name, input_name, size, walk.layers, framework="pytorch")


def _array(key: str, value: Any) -> Array:
    """A tensor or array as float64, read-only."""
    held = value.detach().cpu() if hasattr(value, "detach") else value
    array = arguments.array(held, f"weights {show(key)}", error=ModelError)
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise ModelError(f"weights {show(key)} have type {show(str(array.dtype))}, expected float32 or float64")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ModelError(f"weights {show(key)} must be finite")
    array.setflags(write=False)
    return array


class _Walk:
    """Builds layers in order, for an input of that shape."""

    def __init__(self, state: Mapping[str, Array], shape: Shape, modules: Mapping[str, Any]) -> None:
        self.state, self.input, self.modules = state, shape, modules
        self.used: set[str] = set()
        self.layers: list[SourceLayer] = []

    @property
    def shape(self) -> Shape:
        """Of what the last layer gives."""
        return result(self.layers, self.input)

    def entry(self, entry: str) -> None:
        """One entry of the list: a step, a layer with weights, a function, or a name and a function."""
        if not isinstance(entry, str):
            raise ModelError(f"an entry of layers must be a text, not {show(entry)}")
        name, _, function = (part.strip() for part in entry.partition(":"))
        if entry in _STEPS:
            self._step(entry)
        elif f"{name}.weight_ih_l0" in self.state:
            self._recurrent(name, function)
        elif f"{name}.weight" in self.state and not function:
            (self._prelu if self.state[f"{name}.weight"].ndim == 1 else self._linear)(name)
        elif not function and type(self.modules.get(name)).__name__ in MODULES:
            self._module(name, self.modules[name])
        elif (function or name) in FUNCTIONS:
            self._function(name, function or name)
        else:
            legal = ", ".join((*_STEPS, *FUNCTIONS))
            raise ModelError(f"layer {show(entry)} must have weights in the model or be one of {legal}")

    def _step(self, step: str) -> None:
        if len(self.shape) != 2:
            raise ModelError(f"{step!r} must come while there is a sequence, not at shape {self.shape}")
        if step == "flatten":
            self.layers.append(Flatten("flatten"))
            return
        before = self.layers[-1] if self.layers else None
        if isinstance(before, Recurrent):
            self.layers[-1] = replace(before, return_sequences=False)
            return
        if not isinstance(before, Bidirectional):
            raise ModelError(f"{step!r} must come behind a recurrent layer")
        if step == "last":
            # The last step of the backward direction is its first, which no layer gives.
            raise ModelError("'last' must be 'state' behind a bidirectional layer: the final states of both directions")
        forward, backward = (replace(side, return_sequences=False) for side in before.sides.values())
        self.layers[-1] = replace(before, forward=forward, backward=backward)

    def _module(self, name: str, module: Any) -> None:
        """A module without weights, whose parameters are its attributes."""
        function, parameters, others = MODULES[type(module).__name__]
        for key, legal in others.items():
            value = getattr(module, key)
            # The last axis may be counted from the front.
            if value not in (*legal, *((len(self.shape),) if key == "dim" else ())):
                raise ModelError(f"layer {show(name)}: {key} must be {legal[0]}, not {show(value)}")
        read = {own: float(getattr(module, key)) for key, own in parameters.items()}
        for key, own in parameters.items():
            if not math.isfinite(read[own]):
                raise ModelError(f"layer {show(name)}: {key} must be a finite number, not {read[own]!r}")
        self._function(name, function, **read)

    def _function(self, name: str, function: str, **parameters: float) -> None:
        names = {layer.name for layer in self.layers}
        behind = next(n for n in (name, *(f"{name}_{k}" for k in range(1, len(names) + 2))) if n not in names)
        self.layers.append(Activation(behind, Function(function, **{**FUNCTIONS.get(function, {}), **parameters})))

    def _weights(self, key: str, shape: Shape) -> Array:
        if key not in self.state:
            raise ModelError(f"weights {show(key)} are missing")
        if self.state[key].shape != shape:
            raise ModelError(f"weights {show(key)} must have shape {shape}, not {self.state[key].shape}")
        self.used.add(key)
        return self.state[key]

    def _linear(self, name: str) -> None:
        units = self.state[f"{name}.weight"].shape[0]
        kernel = self._weights(f"{name}.weight", (units, self.shape[-1]))
        biased = f"{name}.bias" in self.state
        bias = self._weights(f"{name}.bias", (units,)) if biased else np.zeros(units)
        weights = {"kernel": kernel.T, "bias": bias}
        self.layers.append(Dense(name, units=units, use_bias=biased, weights=weights))

    def _prelu(self, name: str) -> None:
        """A module with one vector of weights: leaky_relu with a slope for all elements, or one for each.

        PyTorch counts the slopes along the axis behind the batch, which in a sequence is that of the steps.
        """
        legal = [(1,), (self.shape[0],)] if len(self.shape) == 1 else [(1,)]
        slopes = self.state[f"{name}.weight"]
        if slopes.shape not in legal:
            raise ModelError(f"weights {show(f'{name}.weight')} must have shape {legal[-1]}, not {slopes.shape}")
        self.used.add(f"{name}.weight")
        alpha = tuple(np.broadcast_to(slopes, self.shape[-1:]).tolist())
        self.layers.append(Activation(name, Function("leaky_relu", alpha=alpha), origin="PReLU"))

    def _recurrent(self, name: str, function: str) -> None:
        """An LSTM, GRU or RNN module with all its layers and directions, told apart by their numbers of gates."""
        if len(self.shape) != 2:
            raise ModelError(f"layer {show(name)}: its input must be (steps, features), not {self.shape}")
        rows, units = (*self.state.get(f"{name}.weight_hh_l0", np.zeros((0, 0))).shape, 0)[:2]
        kind = _CELLS.get(rows // units if units and rows % units == 0 else 0)
        if kind is None:
            raise ModelError(
                f"layer {show(name)}: weight_hh_l0 must have 4, 3 or 1 rows a unit, not {rows} for {units}"
            )
        legal = ("tanh", "relu") if kind is SimpleRNN else ("",)
        if function not in legal:
            # An RNN's weights do not tell its function, which the others have fixed.
            wanted = f"'{name}: tanh' or '{name}: relu'" if kind is SimpleRNN else repr(name)
            raise ModelError(f"layer {show(name)} is of kind {kind.kind}: its entry must be {wanted}")
        depth = 0
        while f"{name}.weight_ih_l{depth}" in self.state:
            both = f"{name}.weight_ih_l{depth}_reverse" in self.state
            plain = name if f"{name}.weight_ih_l1" not in self.state else f"{name}_l{depth}"
            sides = ("", "_reverse") if both else ("",)
            cells = [self._cell(name, f"l{depth}{side}", kind, units, function, plain + side) for side in sides]
            layer: SourceLayer = cells[0]
            if both:
                layer = Bidirectional(plain, merge_mode="concat", forward=cells[0], backward=cells[1])
            self.layers.append(layer)
            depth += 1

    def _cell(self, module: str, place: str, kind: type[Recurrent], units: int, function: str, name: str) -> Recurrent:
        order = PYTORCH[kind.kind]
        wide = len(order) * units
        biased = f"{module}.bias_ih_{place}" in self.state
        shapes = {"kernel": (wide, self.shape[1]), "recurrent_kernel": (wide, units)}
        weights = {}
        for prefix, key in _SUFFIXES.items():
            found = np.zeros(wide)
            if key in shapes or biased:
                found = self._weights(f"{module}.{prefix}_{place}", shapes.get(key, (wide,)))
            weights[key] = reorder(kind.kind, order, found.T)
        settings: dict[str, Any] = {"activation": Function(function or "tanh")}
        if kind is not SimpleRNN:
            settings["recurrent_activation"] = Function("sigmoid")
        if kind is GRU:
            settings["reset_after"] = True
        return kind(name, units=units, use_bias=biased, return_sequences=True, weights=weights, **settings)
