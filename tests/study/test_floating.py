# SPDX-License-Identifier: Apache-2.0
"""The float model against Keras' own outputs, and what it refuses."""

import json
import re

import numpy as np
import pytest
import sources
from shared import SHARED, needs_shared
from sources import activation

from fxsim.errors import FxsimError
from fxsim.importers import read_model
from fxsim.importers.source import Bidirectional, Flatten, Recurrent, Reshape, Source, SourceLayer
from fxsim.study.floating import predict, trace

GOLDEN = None if SHARED is None else SHARED / "golden"
CASES = [] if GOLDEN is None else sorted(f.name for f in GOLDEN.iterdir() if (f / "float_outputs.npy").is_file())
REAL = [] if GOLDEN is None else sorted(f.name for f in (GOLDEN / "real").iterdir())


@needs_shared
def test_all_cases_are_here():
    assert len(CASES) >= 40
    assert len(REAL) == 6


@needs_shared
@pytest.mark.parametrize("name", CASES)
def test_outputs_of_keras(name):
    folder = GOLDEN / name
    want = np.load(folder / "float_outputs.npy")
    got = predict(read_model(next(folder.glob("model.*"))), np.load(folder / "inputs.npy"))
    assert got.dtype == np.float64
    assert np.abs(got.reshape(want.shape) - want).max() < 1e-5


@needs_shared
@pytest.mark.parametrize("name", REAL)
def test_outputs_of_trained_networks(name):
    folder = GOLDEN / "real" / name
    case, io = json.loads((folder / "case.json").read_text()), np.load(folder / "io.npz")
    weights = SHARED / "models" / case["weights"] if "weights" in case else None
    source = read_model(SHARED / "models" / case["model"], weights)
    assert np.abs(predict(source, io["x"]) - io["y_float"]).max() < 1e-5


# --- What has no golden answer, by hand


def cell(kind: str, kernel, recurrent, sequences=False, **options) -> Recurrent:
    kernel, recurrent = np.array([kernel], float), np.array([recurrent], float)
    zeros = np.zeros(kernel.shape[1])
    options = {"activation": "linear", "return_sequences": sequences, "use_bias": False, **options}
    weights = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": zeros, "recurrent_bias": zeros}
    return sources.recurrent(kind, kind, weights, **options)


def single(layer: SourceLayer, shape=(2, 1)) -> Source:
    return Source.row("net", "input", shape, (layer,))


X = np.array([[[1.0], [2.0]]])


def test_simple_rnn():
    # h1 = 3*1, h2 = 3*2 + 0.5*3
    assert predict(single(cell("simple_rnn", [3], [0.5])), X).tolist() == [[7.5]]
    assert predict(single(cell("simple_rnn", [3], [0.5], True)), X).tolist() == [[[3.0], [7.5]]]


def test_gru_conventions():
    # Linear gates: step 1: z = 1, r = 2, hh = 3: h = z*0 + (1 - z)*3 = 0; so a candidate's bias shows them apart.
    def value(after):
        layer = cell("gru", [0.5, 1, 1], [0, 0, 1], recurrent_activation="linear", reset_after=after)
        layer.weights["recurrent_bias"] = np.array([0, 0, 1.0])
        return predict(single(layer), X)[0, 0]

    # After: hh1 = 1 + 1*(0 + 1) = 2, h1 = 0.5*2 = 1; z2 = 1, r2 = 2: h2 = 1*1 + 0 = 1.
    assert value(True) == 1.0
    # Before: hh1 = 1 + (1*0) + 1 = 2, the same h1; h2 = h1.
    assert value(False) == 1.0
    three = np.array([[[1.0], [0.5], [0.5]]])

    def longer(after):
        layer = cell("gru", [0.5, 1, 1], [0, 0, 1], recurrent_activation="linear", reset_after=after)
        layer.weights["recurrent_bias"] = np.array([0, 0, 1.0])
        return predict(Source.row("net", "input", (3, 1), (layer,)), three)[0, 0]

    # h1 = 1 both ways. After: hh2 = .5 + .5*(1 + 1) = 1.5, h2 = .25 + .75*1.5 = 1.375; before: .5 + .5*1 + 1 = 2.
    after2 = 0.25 * 1 + 0.75 * 1.5
    before2 = 0.25 * 1 + 0.75 * 2.0
    assert longer(True) == pytest.approx(0.25 * after2 + 0.75 * (0.5 + 0.5 * (after2 + 1)))
    assert longer(False) == pytest.approx(0.25 * before2 + 0.75 * (0.5 + 0.5 * before2 + 1))


@pytest.mark.parametrize(("mode", "want"), [("concat", [7.5, 4.0]), ("sum", [11.5]), ("ave", [5.75]), ("mul", [30.0])])
def test_merge_modes(mode, want):
    # Backward over (2, 1) with weights 2 and 0.5: h = 4, then 2 + 2.
    sides = {"forward": cell("simple_rnn", [3], [0.5]), "backward": cell("simple_rnn", [2], [0.5])}
    source = single(Bidirectional("one", merge_mode=mode, **sides))
    assert predict(source, X).tolist() == [want]


def test_backward_sequences_stand_at_their_steps():
    sides = {side: cell("simple_rnn", [1], [1], True) for side in ("forward", "backward")}
    source = single(Bidirectional("one", merge_mode="concat", **sides))
    assert predict(source, X).tolist() == [[[1.0, 3.0], [3.0, 2.0]]]


@pytest.mark.parametrize(
    ("name", "parameters", "want"),
    [
        ("linear", {}, [-2.0, 0.0, 0.5]),
        ("relu", {}, [0.0, 0.0, 0.5]),
        ("leaky_relu", {"alpha": 0.25}, [-0.5, 0.0, 0.5]),
        ("thresholded_relu", {"theta": 0.5}, [0.0, 0.0, 0.0]),
        ("hard_sigmoid", {"slope": 0.25, "shift": 0.5}, [0.0, 0.5, 0.625]),
        ("hard_tanh", {}, [-1.0, 0.0, 0.5]),
        ("softsign", {}, [-2 / 3, 0.0, 1 / 3]),
        ("elu", {"alpha": 2.0}, [2 * (np.exp(-2) - 1), 0.0, 0.5]),
        ("selu", {}, [1.0507009873554805 * 1.6732632423543772 * (np.exp(-2) - 1), 0.0, 0.52535049367]),
        ("softplus", {}, np.log(1 + np.exp([-2.0, 0.0, 0.5]))),
        ("sigmoid", {}, 1 / (1 + np.exp([2.0, 0.0, -0.5]))),
        ("softmax", {}, np.exp([-2.0, 0.0, 0.5]) / np.exp([-2.0, 0.0, 0.5]).sum()),
    ],
)
def test_functions(name, parameters, want):
    got = predict(single(activation("one", name, **parameters), (3,)), [[-2.0, 0.0, 0.5]])[0]
    assert np.allclose(got, want, atol=1e-10)


def test_functions_far_out_warn_of_nothing():
    for name in ("sigmoid", "softplus", "selu", "softmax", "tanh"):
        got = predict(single(activation("one", name), (2,)), [[-1e6, 1e6]])
        assert np.isfinite(got).all()


# --- Refusals


@pytest.mark.parametrize(
    ("source", "x", "message"),
    [
        (single(Flatten("one")), np.zeros((1, 3, 1)), "input must have shape (batch, 2, 1), not (1, 3, 1)"),
        (single(Flatten("one")), np.zeros((2, 1)), "input must have shape (batch, 2, 1), not (2, 1)"),
        (
            single(activation("one", "swish")),
            X,
            (
                "layer 'one': activation must be one of linear, relu, sigmoid, tanh, hard_tanh, softplus, softsign, "
                "selu, softmax, log_softmax, hard_sigmoid, elu, leaky_relu, thresholded_relu, not 'swish'"
            ),
        ),
    ],
)
def test_refusals(source, x, message):
    with pytest.raises(FxsimError, match=f"^{re.escape(message)}$"):
        predict(source, x)


def test_log_softmax_is_the_logarithm_of_softmax():
    x = np.random.default_rng(0).normal(0, 5, (20, 3, 4))
    layers = [activation("a", name) for name in ("softmax", "log_softmax")]
    soft, log = (predict(Source.row("net", "input", (3, 4), (layer,)), x) for layer in layers)
    assert np.abs(np.exp(log) - soft).max() < 1e-15
    # Where softmax underflows its logarithm does not.
    far = np.array([[[0.0, -2000.0, -1e6, 0.0]] * 3])
    assert predict(Source.row("net", "input", (3, 4), (layers[1],)), far)[0, 0, 2] == pytest.approx(-1e6 - np.log(2))


def test_reshape():
    layer = Reshape("r", 3)
    x = np.arange(24.0).reshape(2, 12)
    assert np.array_equal(predict(Source.row("net", "input", (12,), (layer,)), x), x.reshape(2, 3, 4))
    assert trace(Source.row("net", "input", (12,), (layer,)), x) == {}
