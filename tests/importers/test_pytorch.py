# SPDX-License-Identifier: Apache-2.0
"""Weights as PyTorch names and orders them, against PyTorch's formulas written out."""

import numpy as np
import pytest

import fxsim
from fxsim.errors import ModelError
from fxsim.importers import from_pytorch
from fxsim.importers.source import Activation, Function

STEPS, FEATURES, UNITS = 5, 3, 4
X = np.random.default_rng(3).normal(0, 1, (7, STEPS, FEATURES))


def module(name: str, gates: int, *, depth: int = 1, both: bool = False, bias: bool = True, inputs: int = FEATURES):
    """The state of an LSTM (4 gates), GRU (3) or RNN (1)."""
    rng = np.random.default_rng(gates)
    state = {}
    for level in range(depth):
        for side in ("", "_reverse") if both else ("",):
            for key, columns in (("weight_ih", inputs), ("weight_hh", UNITS), ("bias_ih", 0), ("bias_hh", 0)):
                if columns or bias:
                    shape = (gates * UNITS, columns) if columns else (gates * UNITS,)
                    state[f"{name}.{key}_l{level}{side}"] = rng.normal(0, 0.5, shape).astype(np.float32)
        inputs = UNITS * (2 if both else 1)
    return state


def linear(name: str, inputs: int, outputs: int):
    rng = np.random.default_rng(outputs)
    return {f"{name}.weight": rng.normal(0, 0.5, (outputs, inputs)), f"{name}.bias": rng.normal(0, 0.5, outputs)}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def run(state, x, place: str, function=np.tanh):
    """All hidden states of one layer and direction, as PyTorch's documentation has them."""
    wi, wh = (np.float64(state[f"rnn.weight_{part}_{place}"]) for part in ("ih", "hh"))
    bi, bh = (np.float64(state.get(f"rnn.bias_{part}_{place}", np.zeros(len(wi)))) for part in ("ih", "hh"))
    gates = len(wi) // UNITS
    h = c = np.zeros((len(x), UNITS))
    states = []
    for t in range(x.shape[1]):
        a, b = (np.split(v, gates, axis=1) for v in (x[:, t] @ wi.T + bi, h @ wh.T + bh))
        if gates == 4:
            i, f, g, o = (p + q for p, q in zip(a, b, strict=True))
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif gates == 3:
            r, z = sigmoid(a[0] + b[0]), sigmoid(a[1] + b[1])
            h = (1 - z) * np.tanh(a[2] + r * b[2]) + z * h
        else:
            h = function(a[0] + b[0])
        states.append(h)
    return np.stack(states, axis=1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("gates", [4, 3])
def test_last_step(gates, depth, bias):
    state = module("rnn", gates, depth=depth, bias=bias)
    got = fxsim.predict_float(from_pytorch(state, (STEPS, FEATURES), ["rnn", "last"]), X)
    want = X
    for level in range(depth):
        want = run(state, want, f"l{level}")
    assert np.allclose(got, want[:, -1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "function"), [("tanh", np.tanh), ("relu", lambda x: np.maximum(x, 0))])
def test_simple_cell(name, function):
    state = module("rnn", 1)
    got = fxsim.predict_float(from_pytorch(state, (STEPS, FEATURES), [f"rnn: {name}"]), X)
    assert np.allclose(got, run(state, X, "l0", function), rtol=0, atol=1e-12)


def test_both_directions():
    state = module("rnn", 3, both=True)
    forward, backward = run(state, X, "l0"), run(state, X[:, ::-1], "l0_reverse")
    sequence = fxsim.predict_float(from_pytorch(state, (STEPS, FEATURES), ["rnn"]), X)
    assert np.allclose(sequence, np.concatenate([forward, backward[:, ::-1]], axis=2), rtol=0, atol=1e-12)
    final = fxsim.predict_float(from_pytorch(state, (STEPS, FEATURES), ["rnn", "state"]), X)
    assert np.allclose(final, np.concatenate([forward[:, -1], backward[:, -1]], axis=1), rtol=0, atol=1e-12)


TAIL = ["rnn", "flatten", "fc1", "relu", "fc2", "out: softmax"]


def whole():
    return module("rnn", 4) | linear("fc1", STEPS * UNITS, 6) | linear("fc2", 6, 3)


def test_a_whole_network():
    state = whole()
    source = from_pytorch(state, (STEPS, FEATURES), TAIL)
    assert [layer.name for layer in source.layers] == ["rnn", "flatten", "fc1", "relu", "fc2", "out"]
    hidden = np.maximum(run(state, X, "l0").reshape(7, -1) @ state["fc1.weight"].T + state["fc1.bias"], 0)
    logits = np.exp(hidden @ state["fc2.weight"].T + state["fc2.bias"])
    want = logits / logits.sum(axis=1, keepdims=True)
    assert np.allclose(fxsim.predict_float(source, X), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("preset", ["exact", "hls4ml"])
def test_both_presets_take_it(preset):
    source = from_pytorch(whole(), (STEPS, FEATURES), TAIL[:-1])
    graph = fxsim.load(source, preset=preset, precision="ap_fixed<24,8>")
    # hls4ml's tables have a step of 1/64 here.
    assert np.abs(fxsim.predict(graph, X) - fxsim.predict_float(source, X)).max() < 0.1


def test_both_biases_of_an_lstm_are_rounded_by_themselves_in_the_preset_hls4ml():
    state = module("rnn", 4)
    graph = fxsim.load(from_pytorch(state, (STEPS, FEATURES), ["rnn"]), preset="hls4ml", precision="ap_fixed<12,4>")
    biases = [np.floor(np.float64(state[f"rnn.bias_{part}_l0"]) * 256) for part in ("ih", "hh")]
    assert [dot.bias.data.tolist() for dot in graph.nodes[0].program.dots] == [b.tolist() for b in biases]


class Tensor:
    """What a tensor does when it is asked for its values."""

    def __init__(self, values):
        self.values = values

    def detach(self):
        return self

    def cpu(self):
        return self.values


def test_modules_and_tensors():
    class Module:
        def state_dict(self):
            return {key: Tensor(value) for key, value in whole().items()}

    assert from_pytorch(Module(), (STEPS, FEATURES), TAIL) == from_pytorch(whole(), (STEPS, FEATURES), TAIL)


class Functions:
    """A model of functions alone, as modules with their parameters."""

    def __init__(self, **modules):
        self.modules = {f"act.{name}": type(kind, (), options)() for name, (kind, options) in modules.items()}

    def state_dict(self):
        return {}

    def named_modules(self):
        return [("", self), *self.modules.items()]


@pytest.mark.parametrize(
    ("kind", "options", "want"),
    [
        ("ReLU", {"inplace": False}, Function("relu")),
        ("LeakyReLU", {"negative_slope": 0.3}, Function("leaky_relu", alpha=0.3)),
        ("ELU", {"alpha": 2}, Function("elu", alpha=2.0)),
        ("Threshold", {"threshold": 0.5, "value": 0}, Function("thresholded_relu", theta=0.5)),
        ("Hardtanh", {"min_val": -1.0, "max_val": 1.0}, Function("hard_tanh")),
        ("Softmax", {"dim": 2}, Function("softmax")),
        ("Softmax", {"dim": -1}, Function("softmax")),
        ("Identity", {}, Function("linear")),
    ],
)
def test_functions_have_the_parameters_of_their_modules(kind, options, want):
    (layer,) = from_pytorch(Functions(f=(kind, options)), (STEPS, FEATURES), ["act.f"]).layers
    assert layer == Activation("act.f", want)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("Threshold", {"threshold": 0.5, "value": 0.1}, r"^layer 'act.f': value must be 0, not 0.1$"),
        ("Hardtanh", {"min_val": -2.0, "max_val": 1.0}, r"^layer 'act.f': min_val must be -1, not -2.0$"),
        ("Softplus", {"beta": 2}, r"^layer 'act.f': beta must be 1, not 2$"),
        ("Softmax", {"dim": 1}, r"^layer 'act.f': dim must be -1, not 1$"),
        (
            "LeakyReLU",
            {"negative_slope": float("nan")},
            "^layer 'act.f': negative_slope must be a finite number, not nan$",
        ),
        ("ELU", {"alpha": -np.inf}, "^layer 'act.f': alpha must be a finite number, not -inf$"),
        ("GELU", {}, r"^layer 'act.f' must have weights in the model or be one of last, "),
    ],
)
def test_parameters_of_modules_that_are_refused(kind, options, message):
    with pytest.raises(ModelError, match=message):
        from_pytorch(Functions(f=(kind, options)), (STEPS, FEATURES), ["act.f"])


def test_prelu():
    """One slope for all elements, or one for each of a vector."""
    x = np.random.default_rng(0).normal(0, 1, (5, 3))
    for slopes in (np.array([0.25]), np.array([0.25, -1.0, 2.0])):
        source = from_pytorch({"act.weight": slopes}, (3,), ["act"])
        assert np.array_equal(fxsim.predict_float(source, x), np.where(x > 0, x, slopes * x))
    sequence = from_pytorch({"act.weight": np.array([0.25])}, (2, 3), ["act"])
    assert np.array_equal(fxsim.predict_float(sequence, x[None, :2]), np.where(x > 0, x, x / 4)[None, :2])
    # PyTorch counts along the axis behind the batch, which is that of the steps.
    with pytest.raises(ModelError, match=r"^weights 'act.weight' must have shape \(1,\), not \(3,\)$"):
        from_pytorch({"act.weight": np.ones(3)}, (2, 3), ["act"])
    with pytest.raises(ModelError, match=r"^weights 'act.weight' must have shape \(3,\), not \(2,\)$"):
        from_pytorch({"act.weight": np.ones(2)}, (3,), ["act"])


@pytest.mark.parametrize(
    ("change", "shape", "layers", "message"),
    [
        ({}, (5,), ["rnn", "last"], r"^layer 'rnn': its input must be \(steps, features\), not \(5,\)$"),
        ({}, (5, 0), ["rnn"], r"^shape must be \(steps, features\) or \(features,\), not \(5, 0\)$"),
        ({}, (5, 2), ["rnn"], r"^weights 'rnn.weight_ih_l0' must have shape \(16, 2\), not \(16, 3\)$"),
        ({}, (5, 3), [], r"^layers must name at least one layer$"),
        ({}, (5, 3), [7], r"^an entry of layers must be a text, not 7$"),
        (
            {},
            (5, 3),
            ["rnn", "cut"],
            r"^layer 'cut' must have weights in the model or be one of last, ",
        ),
        ({}, (5, 3), ["relu", "last"], r"^'last' must come behind a recurrent layer$"),
        ({}, (5, 3), ["rnn", "last", "state"], r"^'state' must come while there is a sequence, not at shape \(4,\)$"),
        ({}, (5, 3), ["rnn", "x: relu"], r"^two layers are named 'x'; give one a name of its own"),
        ({}, (5, 3), ["rnn: tanh"], r"^layer 'rnn' is of kind lstm: its entry must be 'rnn'$"),
        (module("rnn", 1), (5, 3), ["rnn"], r"^layer 'rnn' is of kind simple_rnn: its entry must be 'rnn: tanh' or "),
        ({"bn.weight": np.zeros(3)}, (5, 3), ["rnn"], r"^the weights 'bn.weight' belong to no layer of the list$"),
        ({"rnn.weight_hr_l0": np.zeros((2, 4))}, (5, 3), ["rnn"], r"^the weights 'rnn.weight_hr_l0' belong to no "),
        ({"rnn.bias_hh_l0": np.zeros(3)}, (5, 3), ["rnn"], r"^weights 'rnn.bias_hh_l0' must have shape \(16,\), not"),
        ({"rnn.weight_hh_l0": np.zeros((8, 4))}, (5, 3), ["rnn"], r"weight_hh_l0 must have 4, 3 or 1 rows a unit"),
        ({"rnn.bias_hh_l0": np.full(16, np.inf)}, (5, 3), ["rnn"], r"^weights 'rnn.bias_hh_l0' must be finite$"),
        ({"rnn.bias_hh_l0": np.zeros(16, int)}, (5, 3), ["rnn"], r"^weights 'rnn.bias_hh_l0' have type 'int64'"),
        (module("rnn", 4, both=True), (5, 3), ["rnn", "last"], r"^'last' must be 'state' behind a bidirectional layer"),
    ],
)
def test_refusals(change, shape, layers, message):
    with pytest.raises(ModelError, match=message) as refusal:
        from_pytorch({**module("rnn", 4), **change}, shape, layers)
    assert "\n" not in str(refusal.value)


def test_weights_that_are_missing():
    state = module("rnn", 4)
    del state["rnn.bias_hh_l0"]
    with pytest.raises(ModelError, match=r"^weights 'rnn.bias_hh_l0' are missing$"):
        from_pytorch(state, (5, 3), ["rnn"])
