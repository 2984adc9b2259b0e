# SPDX-License-Identifier: Apache-2.0
"""Networks with branches, several inputs and BatchNormalization: hls4ml's compiled emulator, bit for bit.

A case compiles C++ for some ten seconds.
"""

import os

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]

PRECISIONS = ("ap_fixed<16,6>", "ap_fixed<14,5,AP_RND,AP_SAT>", "ap_fixed<18,7,AP_RND_CONV,AP_WRAP>")
MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")


def network(dice: np.random.Generator, merge: str):
    """Two inputs, a recurrent branch and a Dense one with BatchNormalization, merged, and a skip over two layers."""
    import keras

    layers = keras.layers
    steps, features, units = (int(dice.integers(2, 5)) for _ in range(3))
    x, y = keras.Input((steps, features), name="x"), keras.Input((3,), name="y")
    normal = layers.BatchNormalization(name="normal")(x)
    one = layers.GRU(units, name="gru")(normal)
    two = layers.BatchNormalization(name="fused", scale=bool(dice.integers(2)))(layers.Dense(units, name="dense")(y))
    two = layers.Activation("tanh", name="act")(two)
    both = getattr(layers, merge)(name="both")([one, two])
    hidden = layers.BatchNormalization(name="after", epsilon=0.01)(layers.Dense(units, "relu", name="hidden")(both))
    skip = layers.Concatenate(name="skip")([hidden, one])
    model = keras.Model([x, y], [layers.Dense(2, name="out")(skip), two])
    for weight in model.weights:
        value = dice.normal(0, 0.6, weight.shape)
        weight.assign(np.abs(value) + 0.3 if "variance" in weight.path else value)
    return model


@pytest.mark.parametrize("seed", range(14))
def test_random_graphs(seed: int, tmp_path) -> None:
    hls4ml = pytest.importorskip("hls4ml", reason="hls4ml is not installed")
    import fxsim

    dice = np.random.default_rng(seed)
    merge = MERGES[seed % len(MERGES)]
    model = network(dice, merge)
    granularity = ("model", "name")[seed // len(MERGES) % 2]
    precision = PRECISIONS[int(dice.integers(len(PRECISIONS)))]
    config = hls4ml.utils.config_from_keras_model(
        model, granularity=granularity, backend="Vivado", default_precision=precision
    )
    if granularity == "name":
        for name in ("skip", "after", "hidden", "normal"):
            if dice.random() < 0.5:
                config["LayerName"][name]["Precision"]["result"] = PRECISIONS[int(dice.integers(len(PRECISIONS)))]
    if merge in ("Maximum", "Minimum"):
        # Otherwise both have one expression in C++ without a type.
        config.setdefault("LayerName", {}).setdefault("act", {}).setdefault("Precision", {})["result"] = precision
    made = hls4ml.converters.convert_from_keras_model(
        model, hls_config=config, output_dir=str(tmp_path), project_name="peer", backend="Vivado"
    )
    made.compile()
    xs = [dice.normal(0, 1.5, (40, *one.shape[1:])) for one in model.inputs]
    want = made.predict(xs)
    graph = fxsim.load(model, config=config)
    got = fxsim.predict(graph, xs, warn=False)
    assert len(got) == len(want) == 2
    for have, one in zip(got.values(), want, strict=True):
        assert np.array_equal(have, one.reshape(have.shape))
    assert np.abs(want[0]).max() > 0.05
