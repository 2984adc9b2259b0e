# SPDX-License-Identifier: Apache-2.0
"""A network in float64, straight from its source: what every precision is measured against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from .. import arguments
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

Array = NDArray[np.float64]


def predict(source: Source, x: Any) -> Any:
    """Outputs in float64, (batch, *output shape), for ``x`` of shape (batch, *source.shape).

    Several inputs are a dictionary by their names, or a list in their order; several outputs come by their names. The
    formulas are Keras', computed by numpy in double precision. Raises ``FxsimError`` for an input of another shape, or
    a kind of layer or function that is not known.
    """
    source = source.active
    flow = _inputs(source, x)
    for layer in source.layers:
        flow[layer.name] = _layer(layer, *(flow[name] for name in layer.sources))
    found = {name: flow[name] for name in source.outputs}
    return found if len(found) > 1 else found[source.outputs[0]]


def layers(source: Source, x: Any) -> Iterator[tuple[SourceLayer, Array]]:
    """Every layer with its result, (batch, *its shape), for inputs as those of :func:`predict`."""
    source = source.active
    flow = _inputs(source, x)
    for layer in source.layers:
        flow[layer.name] = _layer(layer, *(flow[name] for name in layer.sources))
        yield layer, flow[layer.name]


def trace(source: Source, x: Any) -> dict[str, Array]:
    """Inner values by ``layer.op``, (batch, steps, elements), named as the ops of :mod:`~fxsim.program.cells` and of
    their trace in :class:`~fxsim.simulator.run.Run`.

    Of a cell: its input, products, gates and states; of other layers their input and result. Raises ``FxsimError`` as
    :func:`predict` does.
    """
    source = source.active
    flow = _inputs(source, x)
    found: dict[str, Array] = {}
    for layer in source.layers:
        inner, flow[layer.name] = _traced(layer, *(flow[name] for name in layer.sources))
        found |= inner
    return found


def _traced(layer: SourceLayer, *xs: Array) -> tuple[dict[str, Array], Array]:
    """A layer's inner values, and its result."""
    x = xs[0]
    match layer:
        case LSTM() | GRU() | SimpleRNN():
            inner = _cell_trace(layer, x)
            return {f"{layer.name}.{op}": value for op, value in inner.items()}, _ends(layer, inner["h"])
        case Bidirectional():
            return _traced_directions(layer, x)
        case Flatten() | Reshape() | Idle() | Reverse() | Repeat():
            return {}, _layer(layer, x)
        case Merge():
            result = _layer(layer, *xs)
            found = {f"{layer.name}.x{number}": _by_steps(one) for number, one in enumerate(xs)}
            return {**found, f"{layer.name}.y": _by_steps(result)}, result
        case Dense() | Activation() | BatchNormalization():
            result = _layer(layer, x)
            name = "wx" if isinstance(layer, Dense) else "y"
            return {f"{layer.name}.x": _by_steps(x), f"{layer.name}.{name}": _by_steps(result)}, result
        case _:
            assert_never(layer)


def _traced_directions(layer: Bidirectional, x: Array) -> tuple[dict[str, Array], Array]:
    found: dict[str, Array] = {}
    hidden = []
    for (side, cell), step in zip(layer.sides.items(), (1, -1), strict=True):
        # A trace has the steps in the order in which the cell takes them.
        inner = _cell_trace(cell, x[:, ::step])
        found |= {f"{layer.name}.{side}.{op}": value for op, value in inner.items()}
        hidden.append(inner["h"][:, ::step])
    one, two = _both_ends(layer, *hidden)
    result = _merge(layer.merge_mode, one, two)
    found[f"{layer.name}_{layer.merge_mode}.x"] = _by_steps(np.concatenate([one, two], axis=-1))
    found[f"{layer.name}_{layer.merge_mode}.y"] = _by_steps(result)
    return found, result


def _by_steps(x: Array) -> Array:
    return x if x.ndim == 3 else x[:, None]


def _cell_trace(layer: Recurrent, x: Array) -> dict[str, Array]:
    steps = list(_steps(layer, x))
    found = {op: np.stack([step[op] for step in steps], axis=1) for op in steps[0]}
    for state in ("h", "c") if "c" in found else ("h",):
        found[f"{state}_old"] = np.concatenate([np.zeros_like(found[state][:, :1]), found[state][:, :-1]], axis=1)
    return found | {"x": x}


def _inputs(source: Source, x: Any) -> dict[str, Array]:
    given = arguments.by_name([door.name for door in source.inputs], x)
    flow = {}
    for door in source.inputs:
        what = "input" if len(source.inputs) == 1 else f"input {door.name!r}"
        one = flow[door.name] = arguments.array(given[door.name], what).astype(np.float64, copy=False)
        if one.ndim != 1 + len(door.shape) or one.shape[1:] != door.shape:
            raise FxsimError(f"{what} must have shape (batch, {', '.join(map(str, door.shape))}), not {one.shape}")
        if len(one) != len(flow[source.inputs[0].name]):
            batch = len(flow[source.inputs[0].name])
            raise FxsimError(f"{what} must have as many sequences as the others, {batch}, not {len(one)}")
    return flow


def _layer(layer: SourceLayer, *xs: Array) -> Array:
    x = xs[0]
    match layer:
        case Idle():
            return x
        case Flatten() | Reshape():
            return x.reshape(len(x), *layer.result(x.shape[1:]))
        case Reverse():
            return x[:, ::-1]
        case Repeat():
            return np.repeat(x[:, None], layer.steps, axis=1)
        case BatchNormalization():
            scaled: Array = x * layer.scale + layer.shift
            return scaled
        case Merge():
            return _merged(layer.function, xs)
        case Dense():
            dense: Array = x @ layer.weights["kernel"] + layer.weights["bias"]
            return dense
        case Activation():
            return _function(layer, layer.function)(x)
        case LSTM() | GRU() | SimpleRNN():
            return _ends(layer, _scan(layer, x))
        case Bidirectional():
            one, two = _scan(layer.forward, x), _scan(layer.backward, x[:, ::-1])[:, ::-1]
            return _merge(layer.merge_mode, *_both_ends(layer, one, two))
        case _:
            assert_never(layer)


def _merged(function: str, xs: Sequence[Array]) -> Array:
    if function == "concatenate":
        return np.concatenate(xs, axis=-1)
    if function == "average":
        mean: Array = sum(xs[1:], xs[0]) / len(xs)
        return mean
    return reduce(_MERGES[function], xs)


_MERGES: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "maximum": np.maximum, "minimum": np.minimum,
}  # fmt: skip


def _ends(layer: Recurrent, states: Array) -> Array:
    """What a layer gives of its hidden states: those of all steps, or of the last one."""
    return states if layer.return_sequences else states[:, -1]


def _both_ends(layer: Bidirectional, one: Array, two: Array) -> tuple[Array, Array]:
    """The same of both directions, in the sequence's order; the backward one's last step is the first of that."""
    return (one, two) if layer.return_sequences else (one[:, -1], two[:, 0])


def _merge(mode: str, one: Array, two: Array) -> Array:
    if mode == "concat":
        return np.concatenate([one, two], axis=-1)
    if mode == "mul":
        return one * two
    return (one + two) / (2 if mode == "ave" else 1)


def _scan(layer: Recurrent, x: Array) -> Array:
    """Hidden states after every step, (batch, steps, units)."""
    return np.stack([step["h"] for step in _steps(layer, x)], axis=1)


def _steps(layer: Recurrent, x: Array) -> Iterator[dict[str, Array]]:
    """The values of every step, by the names of a cell's ops."""
    units = layer.weights["recurrent_kernel"].shape[0]
    from_input = x @ layer.weights["kernel"] + layer.weights["bias"]
    h = c = np.zeros((len(x), units))
    for t in range(x.shape[1]):
        step = _step(layer, from_input[:, t], h, c)
        h, c = step["h"], step.get("c", c)
        yield {"wx": from_input[:, t], **step}


def _step(layer: Recurrent, wx: Array, h: Array, c: Array) -> dict[str, Array]:
    match layer:
        case LSTM():
            return _lstm(layer, wx, h, c)
        case GRU():
            return _gru(layer, wx, h)
        case SimpleRNN():
            return _simple_rnn(layer, wx, h)
        case _:
            assert_never(layer)


def _lstm(layer: LSTM, wx: Array, h: Array, c: Array) -> dict[str, Array]:
    act, gate = _function(layer, layer.activation), _function(layer, layer.recurrent_activation)
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


def _gru(layer: GRU, wx: Array, h: Array) -> dict[str, Array]:
    act, gate = _function(layer, layer.activation), _function(layer, layer.recurrent_activation)
    matrix, bias = layer.weights["recurrent_kernel"], layer.weights["recurrent_bias"]
    units = matrix.shape[0]
    after = layer.reset_after
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


def _simple_rnn(layer: SimpleRNN, wx: Array, h: Array) -> dict[str, Array]:
    act = _function(layer, layer.activation)
    uh = h @ layer.weights["recurrent_kernel"] + layer.weights.get("recurrent_bias", 0.0)
    return {"uh": uh, "sum": wx + uh, "h": act(wx + uh)}


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


def _function(layer: Activation | Recurrent, function: Function) -> Callable[[Array], Array]:
    """An activation function of a layer, with its parameters."""
    match function:
        case Function(name) if name in _PLAIN:
            return _PLAIN[name]
        case Function("hard_sigmoid", slope=float(slope), shift=float(shift)):
            return lambda x: np.clip(slope * x + shift, 0.0, 1.0)
        case Function("elu", alpha=float(alpha)):
            return lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))
        case Function("leaky_relu", alpha=slopes):
            below = np.array(slopes, np.float64)
            return lambda x: np.where(x > 0, x, below * x)
        case Function("thresholded_relu", theta=float(theta)):
            return lambda x: np.where(x > theta, x, 0.0)
    legal = ", ".join((*_PLAIN, "hard_sigmoid", "elu", "leaky_relu", "thresholded_relu"))
    raise FxsimError(f"{layer.where}: activation must be one of {legal}, not {function.name!r}")
