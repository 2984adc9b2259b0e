# SPDX-License-Identifier: Apache-2.0
"""A network in float64, straight from its source: what every precision is measured against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import FxsimError
from .importers.source import Source, SourceLayer

Array = NDArray[np.float64]


def predict(source: Source, x: ArrayLike) -> Array:
    """Outputs in float64, (batch, *output shape), for ``x`` of shape (batch, *source.shape).

    The formulas are Keras', computed by numpy in double precision. Raises ``FxsimError`` for an input of another
    shape, or a kind of layer or function that is not known.
    """
    flow = np.asarray(x, dtype=np.float64)
    if flow.ndim != 1 + len(source.shape) or flow.shape[1:] != source.shape:
        raise FxsimError(f"input must have shape (batch, {', '.join(map(str, source.shape))}), not {flow.shape}")
    for layer in source.layers:
        flow = _layer(layer, flow)
    return flow


def _layer(layer: SourceLayer, x: Array) -> Array:
    options = layer.options
    if layer.kind == "flatten":
        return x.reshape(len(x), -1)
    if layer.kind == "dense":
        dense: Array = x @ layer.weights["kernel"] + layer.weights["bias"]
        return dense
    if layer.kind == "activation":
        return _function(layer, str(options["function"]))(x)
    sequences = bool(options["return_sequences"])
    if layer.kind != "bidirectional":
        states = _scan(layer, x)
        return states if sequences else states[:, -1]
    forward, backward = options["forward"], options["backward"]
    assert isinstance(forward, SourceLayer) and isinstance(backward, SourceLayer)
    one, two = _scan(forward, x), _scan(backward, x[:, ::-1])[:, ::-1]
    # The backward layer's last step is the sequence's first.
    return _merge(str(options["merge_mode"]), *((one, two) if sequences else (one[:, -1], two[:, 0])))


def _merge(mode: str, one: Array, two: Array) -> Array:
    if mode == "concat":
        return np.concatenate([one, two], axis=-1)
    if mode == "mul":
        return one * two
    if mode not in ("sum", "ave"):
        raise FxsimError(f"merge_mode must be one of concat, sum, ave, mul, not {mode!r}")
    return (one + two) / (2 if mode == "ave" else 1)


def _scan(layer: SourceLayer, x: Array) -> Array:
    """Hidden states after every step, (batch, steps, units)."""
    if layer.kind not in _CELLS:
        raise FxsimError(f"layer {layer.name!r}: kind must be one of {', '.join(_CELLS)}, not {layer.kind!r}")
    units = layer.weights["recurrent_kernel"].shape[0]
    from_input = x @ layer.weights["kernel"] + layer.weights["bias"]
    if layer.kind != "gru":
        # A GRU has its in the product with the reset gate.
        from_input += layer.weights.get("recurrent_bias", 0.0)
    h = c = np.zeros((len(x), units))
    states = np.empty((*x.shape[:2], units))
    for t in range(x.shape[1]):
        h, c = _CELLS[layer.kind](layer, from_input[:, t], h, c)
        states[:, t] = h
    return states


def _lstm(layer: SourceLayer, wx: Array, h: Array, c: Array) -> tuple[Array, Array]:
    act, gate = (_function(layer, str(layer.options[key])) for key in ("activation", "recurrent_activation"))
    i, f, g, o = np.split(wx + h @ layer.weights["recurrent_kernel"], 4, axis=-1)
    c = gate(f) * c + gate(i) * act(g)
    return gate(o) * act(c), c


def _gru(layer: SourceLayer, wx: Array, h: Array, c: Array) -> tuple[Array, Array]:
    act, gate = (_function(layer, str(layer.options[key])) for key in ("activation", "recurrent_activation"))
    matrix, bias = layer.weights["recurrent_kernel"], layer.weights["recurrent_bias"]
    units = matrix.shape[0]
    z, r = np.split(gate(wx[:, : 2 * units] + h @ matrix[:, : 2 * units] + bias[: 2 * units]), 2, axis=-1)
    matrix, bias = matrix[:, 2 * units :], bias[2 * units :]
    inner = r * (h @ matrix + bias) if layer.options["reset_after"] else (r * h) @ matrix + bias
    return z * h + (1 - z) * act(wx[:, 2 * units :] + inner), c


def _simple_rnn(layer: SourceLayer, wx: Array, h: Array, c: Array) -> tuple[Array, Array]:
    act = _function(layer, str(layer.options["activation"]))
    return act(wx + h @ layer.weights["recurrent_kernel"]), c


_CELLS = {"lstm": _lstm, "gru": _gru, "simple_rnn": _simple_rnn}


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))  # of a number that is not positive, so it cannot overflow
    return np.where(x < 0, e, 1.0) / (1.0 + e)


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    total: Array = e / e.sum(axis=-1, keepdims=True)
    return total


_PLAIN: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0.0),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "hard_tanh": lambda x: np.clip(x, -1.0, 1.0),
    "softplus": lambda x: np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))),
    "softsign": lambda x: x / (1.0 + np.abs(x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0.0))),
    "softmax": _softmax,
}


def _function(layer: SourceLayer, name: str) -> Callable[[Array], Array]:
    """An activation function with the layer's parameters; within a cell those it has by default."""
    if name in _PLAIN:
        return _PLAIN[name]

    def number(*keys: str, default: float | None = None) -> float:
        value = next((layer.options[key] for key in keys if key in layer.options), default)
        if not isinstance(value, int | float):
            raise FxsimError(f"layer {layer.name!r}: option {keys[0]!r} of {name} must be a number, not {value!r}")
        return float(value)

    if name == "hard_sigmoid":
        slope, shift = number("slope", "hard_sigmoid_slope"), number("shift", default=0.5)
        return lambda x: np.clip(slope * x + shift, 0.0, 1.0)
    if name == "elu":
        alpha = number("alpha", default=1.0)
        return lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))
    if name == "leaky_relu":
        below = number("alpha")
        return lambda x: np.where(x > 0, x, below * x)
    if name == "thresholded_relu":
        theta = number("theta")
        return lambda x: np.where(x > theta, x, 0.0)
    legal = ", ".join((*_PLAIN, "hard_sigmoid", "elu", "leaky_relu", "thresholded_relu"))
    raise FxsimError(f"layer {layer.name!r}: activation must be one of {legal}, not {name!r}")
