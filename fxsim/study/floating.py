# SPDX-License-Identifier: Apache-2.0
"""A network in float64, straight from its source: what every precision is measured against."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import arguments
from ..arguments import integer
from ..errors import FxsimError
from ..importers.source import MOVING, Source, SourceLayer
from ..program.cells import check_merge

Array = NDArray[np.float64]


def predict(source: Source, x: ArrayLike) -> Array:
    """Outputs in float64, (batch, *output shape), for ``x`` of shape (batch, *source.shape).

    The formulas are Keras', computed by numpy in double precision. Raises ``FxsimError`` for an input of another
    shape, or a kind of layer or function that is not known.
    """
    flow = _input(source, x)
    for layer in source.layers:
        flow = _layer(layer, flow)
    return flow


def layers(source: Source, x: ArrayLike) -> Iterator[tuple[SourceLayer, Array]]:
    """Every layer with its result, (batch, *its shape), for inputs as those of :func:`predict`."""
    flow = _input(source, x)
    for layer in source.layers:
        flow = _layer(layer, flow)
        yield layer, flow


def trace(source: Source, x: ArrayLike) -> dict[str, Array]:
    """Inner values by ``layer.op``, (batch, steps, elements), named as the ops of :mod:`~fxsim.program.cells` and of
    their trace in :class:`~fxsim.simulator.run.Run`.

    Of a cell: its input, products, gates and states; of other layers their input and result. Raises ``FxsimError`` as
    :func:`predict` does.
    """
    flow = _input(source, x)
    found: dict[str, Array] = {}
    for layer in source.layers:
        inner, flow = _traced(layer, flow)
        found |= inner
    return found


def _traced(layer: SourceLayer, x: Array) -> tuple[dict[str, Array], Array]:
    """A layer's inner values, and its result."""
    if layer.kind in _CELLS:
        inner = _cell_trace(layer, x)
        return {f"{layer.name}.{op}": value for op, value in inner.items()}, _ends(layer, inner["h"])
    if layer.kind != "bidirectional":
        result = _layer(layer, x)
        if layer.kind in MOVING:
            return {}, result
        name = "wx" if layer.kind == "dense" else "y"
        return {f"{layer.name}.x": _by_steps(x), f"{layer.name}.{name}": _by_steps(result)}, result
    found: dict[str, Array] = {}
    hidden = []
    for side, step in (("forward", 1), ("backward", -1)):
        # A trace has the steps in the sequence's order, whichever way the cell walks.
        inner = {op: value[:, ::step] for op, value in _cell_trace(_side(layer, side), x[:, ::step]).items()}
        found |= {f"{layer.name}.{side}.{op}": value for op, value in inner.items()}
        hidden.append(inner["h"])
    one, two = _both_ends(layer, *hidden)
    mode = str(layer.options["merge_mode"])
    result = _merge(layer, one, two)
    found[f"{layer.name}_{mode}.x"] = _by_steps(np.concatenate([one, two], axis=-1))
    found[f"{layer.name}_{mode}.y"] = _by_steps(result)
    return found, result


def _by_steps(x: Array) -> Array:
    return x if x.ndim == 3 else x[:, None]


def _cell_trace(layer: SourceLayer, x: Array) -> dict[str, Array]:
    steps = list(_steps(layer, x))
    found = {op: np.stack([step[op] for step in steps], axis=1) for op in steps[0]}
    for state in ("h", "c") if "c" in found else ("h",):
        found[f"{state}_old"] = np.concatenate([np.zeros_like(found[state][:, :1]), found[state][:, :-1]], axis=1)
    return found | {"x": x}


def _input(source: Source, x: ArrayLike) -> Array:
    flow = arguments.array(x, "input").astype(np.float64, copy=False)
    if flow.ndim != 1 + len(source.shape) or flow.shape[1:] != source.shape:
        raise FxsimError(f"input must have shape (batch, {', '.join(map(str, source.shape))}), not {flow.shape}")
    return flow


def _side(layer: SourceLayer, which: str) -> SourceLayer:
    side = layer.options[which]
    assert isinstance(side, SourceLayer)
    return side


def _layer(layer: SourceLayer, x: Array) -> Array:
    options = layer.options
    if layer.kind == "flatten":
        return x.reshape(len(x), -1)
    if layer.kind == "reshape":
        steps = integer(options["steps"], f"layer {layer.name!r}: option 'steps'", 1)
        return x.reshape(len(x), steps, -1)
    if layer.kind == "dense":
        dense: Array = x @ layer.weights["kernel"] + layer.weights["bias"]
        return dense
    if layer.kind == "activation":
        return _function(layer, str(options["function"]))(x)
    if layer.kind != "bidirectional":
        return _ends(layer, _scan(layer, x))
    one, two = _scan(_side(layer, "forward"), x), _scan(_side(layer, "backward"), x[:, ::-1])[:, ::-1]
    return _merge(layer, *_both_ends(layer, one, two))


def _ends(layer: SourceLayer, states: Array) -> Array:
    """What a layer gives of its hidden states: those of all steps, or of the last one."""
    return states if layer.options["return_sequences"] else states[:, -1]


def _both_ends(layer: SourceLayer, one: Array, two: Array) -> tuple[Array, Array]:
    """The same of both directions, in the sequence's order; the backward one's last step is the first of that."""
    return (one, two) if layer.options["return_sequences"] else (one[:, -1], two[:, 0])


def _merge(layer: SourceLayer, one: Array, two: Array) -> Array:
    mode = str(layer.options["merge_mode"])
    check_merge(f"layer {layer.name!r}", mode, one.shape[-1], two.shape[-1])
    if mode == "concat":
        return np.concatenate([one, two], axis=-1)
    if mode == "mul":
        return one * two
    if mode not in ("sum", "ave"):
        raise FxsimError(f"merge_mode must be one of concat, sum, ave, mul, not {mode!r}")
    return (one + two) / (2 if mode == "ave" else 1)


def _scan(layer: SourceLayer, x: Array) -> Array:
    """Hidden states after every step, (batch, steps, units)."""
    return np.stack([step["h"] for step in _steps(layer, x)], axis=1)


def _steps(layer: SourceLayer, x: Array) -> Iterator[dict[str, Array]]:
    """The values of every step, by the names of a cell's ops."""
    if layer.kind not in _CELLS:
        raise FxsimError(f"layer {layer.name!r}: kind must be one of {', '.join(_CELLS)}, not {layer.kind!r}")
    units = layer.weights["recurrent_kernel"].shape[0]
    from_input = x @ layer.weights["kernel"] + layer.weights["bias"]
    h = c = np.zeros((len(x), units))
    for t in range(x.shape[1]):
        step = _CELLS[layer.kind](layer, from_input[:, t], h, c)
        h, c = step["h"], step.get("c", c)
        yield {"wx": from_input[:, t], **step}


def _lstm(layer: SourceLayer, wx: Array, h: Array, c: Array) -> dict[str, Array]:
    act, gate = (_function(layer, str(layer.options[key])) for key in ("activation", "recurrent_activation"))
    uh = h @ layer.weights["recurrent_kernel"] + layer.weights.get("recurrent_bias", 0.0)
    sums = dict(zip(("sum_i", "sum_f", "sum_g", "sum_o"), np.split(wx + uh, 4, axis=-1), strict=True))
    i, f, g, o = gate(sums["sum_i"]), gate(sums["sum_f"]), act(sums["sum_g"]), gate(sums["sum_o"])
    cf, gi = f * c, i * g
    c = cf + gi
    act_c = act(c)
    return {
        "uh": uh,
        **sums,
        "i": i,
        "f": f,
        "g": g,
        "o": o,
        "gi": gi,
        "cf": cf,
        "c": c,
        "act_c": act_c,
        "h": o * act_c,
    }


def _gru(layer: SourceLayer, wx: Array, h: Array, c: Array) -> dict[str, Array]:
    act, gate = (_function(layer, str(layer.options[key])) for key in ("activation", "recurrent_activation"))
    matrix, bias = layer.weights["recurrent_kernel"], layer.weights["recurrent_bias"]
    units = matrix.shape[0]
    after = bool(layer.options["reset_after"])
    known = 3 * units if after else 2 * units
    uh = h @ matrix[:, :known] + bias[:known]
    sum_z, sum_r = np.split(wx[:, : 2 * units] + uh[:, : 2 * units], 2, axis=-1)
    z, r = gate(sum_z), gate(sum_r)
    rh = r * (uh[:, 2 * units :] if after else h)
    inner = rh if after else rh @ matrix[:, 2 * units :] + bias[2 * units :]
    sum_h = wx[:, 2 * units :] + inner
    hh = act(sum_h)
    rest = 1 - z
    fresh, kept = rest * hh, z * h
    found = {"uh": uh, "sum_z": sum_z, "sum_r": sum_r, "z": z, "r": r, "rh": rh, "sum_h": sum_h, "hh": hh}
    if not after:
        found["uh_h"] = inner
    return {**found, "rest": rest, "fresh": fresh, "kept": kept, "h": kept + fresh}


def _simple_rnn(layer: SourceLayer, wx: Array, h: Array, c: Array) -> dict[str, Array]:
    act = _function(layer, str(layer.options["activation"]))
    uh = h @ layer.weights["recurrent_kernel"] + layer.weights.get("recurrent_bias", 0.0)
    return {"uh": uh, "sum": wx + uh, "h": act(wx + uh)}


_CELLS = {"lstm": _lstm, "gru": _gru, "simple_rnn": _simple_rnn}


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))  # of a number that is not positive, so it cannot overflow
    return np.where(x < 0, e, 1.0) / (1.0 + e)


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    total: Array = e / e.sum(axis=-1, keepdims=True)
    return total


def _log_softmax(x: Array) -> Array:
    below = x - x.max(axis=-1, keepdims=True)
    result: Array = below - np.log(np.exp(below).sum(axis=-1, keepdims=True))
    return result


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
    "log_softmax": _log_softmax,
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
        slopes = layer.options.get("alpha")
        below = np.array(slopes) if isinstance(slopes, tuple) else number("alpha")
        return lambda x: np.where(x > 0, x, below * x)
    if name == "thresholded_relu":
        theta = number("theta")
        return lambda x: np.where(x > theta, x, 0.0)
    legal = ", ".join((*_PLAIN, "hard_sigmoid", "elu", "leaky_relu", "thresholded_relu"))
    raise FxsimError(f"layer {layer.name!r}: activation must be one of {legal}, not {name!r}")
