# SPDX-License-Identifier: Apache-2.0
"""Saves small networks with Keras 2 or Keras 3: ``python tests/saved/make.py keras2|keras3 [FOLDER] [--check]``.

Each case is a network and how it is trained before it is saved. Its zip file holds every container that the framework
writes (``m.keras``, ``m.h5``, ``m.json`` with ``m.weights.h5`` and, of Keras 2, ``old.h5``), inputs ``x.npy`` and the
framework's outputs for them, ``y.npy``; of several inputs ``x.npz`` and ``y.npz``. ``--check`` also compares the live
model with its files.

Keras 2 is the package tf_keras. Keras 3 runs on the backend that KERAS_BACKEND says.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
#: What training, and loading a model of an unknown batch, has where the model leaves a size open.
STEPS = 5
Model = Any
Keras = Any


def chained(keras: Keras, *layers: Any) -> Model:
    """A functional model that is one chain; the first of ``layers`` is its input."""
    out = layers[0]
    for layer in layers[1:]:
        out = layer(out)
    return keras.Model(layers[0], out)


# --- Networks


def plain(keras: Keras) -> Model:
    layers = keras.layers
    return keras.Sequential([keras.Input((4, 3)), layers.LSTM(3), layers.Dense(2, activation="softmax")])


def gates(keras: Keras) -> Model:
    """GRUs of both kinds, functions and options that matter; and some that do not at inference."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4, 3), batch_size=2),
            layers.GRU(3, return_sequences=True, recurrent_activation="hard_sigmoid", dropout=0.1, implementation=1)
            if "2" in framework(keras)
            else layers.GRU(3, return_sequences=True, recurrent_activation="hard_sigmoid", dropout=0.1),
            layers.GRU(3, return_sequences=True, reset_after=False, unroll=True, kernel_regularizer="l2"),
            layers.LSTM(3, return_sequences=True, use_bias=False, activation="softsign", activity_regularizer="l1"),
            layers.SimpleRNN(3, recurrent_dropout=0.2, bias_initializer="ones", bias_constraint="non_neg"),
            layers.Dense(3, use_bias=False, activation=layers.LeakyReLU(0.25)),
            layers.Dense(2, activation="hard_sigmoid", kernel_constraint=keras.constraints.MaxNorm(2.0)),
        ]
    )


def names(keras: Keras) -> Model:
    """Names that look like classes, groups of a file, numbers of other layers; in Keras 3 with a space."""
    layers = keras.layers
    space = "the head" if framework(keras) == "keras3" else "the/head"
    return chained(
        keras,
        keras.Input((4, 3), name="data"),
        layers.LSTM(3, return_sequences=True, name="layers"),
        layers.Dropout(0.3, name="optimizer_weights"),
        layers.GRU(3, return_sequences=True, name="metrics"),
        layers.TimeDistributed(layers.Dense(3, activation="relu"), name="each"),
        layers.Flatten(name="vars"),
        layers.Dense(3, activation="relu", name="dense_7"),
        layers.ActivityRegularization(l1=0.1),
        layers.Dense(3, name="dense_1"),
        layers.ELU(name="lstm"),
        layers.Dense(2, name=space),
    )


def both(keras: Keras) -> Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4, 3)),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.Bidirectional(layers.GRU(2, return_sequences=True), merge_mode="sum"),
            layers.Bidirectional(
                layers.SimpleRNN(3, return_sequences=True, name="there"),
                backward_layer=layers.SimpleRNN(3, return_sequences=True, go_backwards=True, name="back"),
                merge_mode="ave",
            ),
            layers.Bidirectional(layers.SimpleRNN(2), name="last"),
            layers.Dense(2),
        ]
    )


def nested(keras: Keras) -> Model:
    """Sequential models inside a Sequential model, one frozen in parts, one on every step."""
    layers = keras.layers
    body = keras.Sequential(
        [
            keras.Input((4, 3)),
            layers.LSTM(3, return_sequences=True),
            layers.Bidirectional(layers.GRU(2, return_sequences=True)),
            layers.Dense(3),
        ],
        name="body",
    )
    for frozen in (body.layers[0], body.layers[2]):
        frozen.trainable = False
    each = keras.Sequential([keras.Input((3,)), layers.Dense(3, activation="relu"), layers.Dense(2)], name="each")
    deep = keras.Sequential([keras.Input((8,)), keras.Sequential([keras.Input((8,)), layers.Dense(3)], name="inner")])
    both_of = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="frozen")
    both_of.trainable = False
    return keras.Sequential(
        [keras.Input((4, 3)), both_of, layers.Dense(3), body, layers.TimeDistributed(each), layers.Flatten(), deep]
    )


def functional(keras: Keras) -> Model:
    """Functional models inside a functional model; the whole of one is frozen."""
    layers = keras.layers
    body = chained(keras, keras.Input((4, 3)), layers.LSTM(3, return_sequences=True), layers.GRU(3))
    body.trainable = False
    inner = chained(keras, keras.Input((3,)), layers.Dense(3, activation="tanh"), layers.Dropout(0.2), layers.Dense(3))
    return chained(
        keras, keras.Input((4, 3)), body, inner, keras.Sequential([keras.Input((3,)), layers.Dense(2)], name="head")
    )


def cells(keras: Keras) -> Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4, 3)),
            layers.RNN(layers.LSTMCell(3), return_sequences=True),
            layers.RNN([layers.LSTMCell(2), layers.GRUCell(3), layers.LSTMCell(3)], return_sequences=True),
            layers.Bidirectional(layers.RNN(layers.GRUCell(2), return_sequences=True)),
            layers.RNN(layers.SimpleRNNCell(2)),
            layers.Dense(2),
        ]
    )


def open_steps(keras: Keras) -> Model:
    layers = keras.layers
    return keras.Sequential([keras.Input((None, 3)), layers.GRU(3, return_sequences=True), layers.LSTM(2)])


def reshaped(keras: Keras) -> Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((12,)),
            layers.Reshape((4, 3)),
            layers.LSTM(3, return_sequences=True),
            layers.Reshape((-1, 6)),
            layers.GRU(4),
            layers.Reshape((2, -1)),
            layers.LSTM(2),
        ]
    )


def mixed(policy: str) -> Callable[[Keras], Model]:
    """A network whose layers compute in 16 bits; its weights have 32."""

    def build(keras: Keras) -> Model:
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input((4, 3)),
                layers.LSTM(3, return_sequences=True, dtype=policy),
                layers.Bidirectional(layers.GRU(2, dtype=policy), dtype=policy),
                layers.Dense(3, activation="relu", dtype=policy),
                layers.Dense(2, dtype="float32"),
            ]
        )

    return build


def cudnn(keras: Keras) -> Model:
    """Old Keras 2's layers for CuDNN alone, which no processor runs."""
    from tf_keras.src.layers.rnn.cudnn_gru import CuDNNGRU
    from tf_keras.src.layers.rnn.cudnn_lstm import CuDNNLSTM

    return _cudnn(keras, CuDNNLSTM, CuDNNGRU)


def _cudnn(keras: Keras, lstm: Any, gru: Any) -> Model:
    layers = keras.layers
    rnn = layers.Bidirectional(lstm(3, return_sequences=True, name="rnn"), name="bi")
    return keras.Sequential([keras.Input((4, 3)), rnn, gru(2, name="gru"), layers.Dense(2, name="dense")])


def graph(keras: Keras) -> Model:
    """Two inputs, two outputs, branches, every way to merge, statistics, a vector at every step, steps backwards."""
    layers = keras.layers
    tracks, jet = keras.Input((4, 3), name="tracks"), keras.Input((3,), name="jet")
    back = layers.LSTM(3, go_backwards=True, return_sequences=True, name="back")(tracks)
    normal = layers.BatchNormalization(name="normal")(tracks)
    both = layers.Concatenate(name="both")([back, normal, tracks])
    one = layers.GRU(3, name="one")(both)
    two = layers.RNN([layers.GRUCell(2), layers.LSTMCell(3)], go_backwards=True, name="two")(back)
    dense = layers.Dense(3, name="dense")(layers.BatchNormalization(scale=False, name="shift")(jet))
    sums = [
        layers.Add(name="add")([one, two, dense]),
        layers.Subtract(name="subtract")([one, dense]),
        layers.Multiply(name="multiply")([one, two]),
        layers.Average(name="average")([one, two, jet]),
        layers.Maximum(name="maximum")([two, dense]),
        layers.Minimum(name="minimum")([one, dense, jet]),
    ]
    found = layers.BatchNormalization(center=False, epsilon=0.01, name="scale")(layers.Concatenate(name="sums")(sums))
    label = layers.Dense(2, activation="softmax", name="label")(found)
    again = layers.RepeatVector(3, name="again")(layers.Dropout(0.1, name="drop")(found))
    decoded = layers.TimeDistributed(layers.Dense(2), name="decoded")(layers.GRU(2, return_sequences=True)(again))
    return keras.Model([tracks, jet], [label, decoded])


def shared(keras: Keras) -> Model:
    """Layers and models that are called twice; a model inside of two inputs and two outputs."""
    layers = keras.layers
    one, two = keras.Input((4, 3), name="one"), keras.Input((4, 3), name="two")
    cell, dense = layers.LSTM(3, return_sequences=True, name="cell"), layers.Dense(3, name="each")
    a, b = keras.Input((4, 3)), keras.Input((3,))
    body = keras.Model(
        [a, b], [layers.GRU(2, name="last")(a), layers.Add(name="plus")([b, layers.GRU(3)(a)])], name="body"
    )
    vectors = [dense(layers.Flatten()(cell(x))) for x in (one, two)]
    first = body([cell(one), vectors[0]])
    second = body([cell(two), vectors[1]])
    head = chained(keras, keras.Input((4,)), layers.Dense(3, activation="tanh", name="inner"))
    heads = [head(layers.Concatenate()([x, y])) for x, y in ((first[0], second[0]), (second[0], first[0]))]
    return keras.Model([two, one], layers.Subtract(name="out")([layers.Add()([first[1], heads[0]]), heads[1]]))


# --- States of training


def fit(model: Model, optimizer: Any, loss: str = "mse", **options: Any) -> None:
    model.compile(optimizer, loss, **options)
    rng = np.random.default_rng(0)
    batch = model.input_shape[0] or 8
    x = rng.normal(size=(batch, *(size or STEPS for size in model.input_shape[1:])))
    y = rng.random((batch, *model.output_shape[1:]))
    model.fit(x.astype("f4"), y.astype("f4"), epochs=1, batch_size=batch, verbose=0)


def untrained(model: Model, keras: Keras) -> None:
    pass


def compiled(model: Model, keras: Keras) -> None:
    model.compile("adam", "mse", metrics=["mae"])


def trained(model: Model, keras: Keras) -> None:
    fit(model, "adam")


def measured(model: Model, keras: Keras) -> None:
    metrics = ["mae", "accuracy", keras.metrics.AUC(num_thresholds=5, name="area"), keras.metrics.MeanSquaredError()]
    fit(model, "rmsprop", metrics=metrics, weighted_metrics=["mse"])


def averaged(model: Model, keras: Keras) -> None:
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    fit(model, keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, use_ema=True, clipnorm=1.0))


def scaled(model: Model, keras: Keras) -> None:
    scaling = getattr(keras.optimizers, "LossScaleOptimizer", None) or keras.mixed_precision.LossScaleOptimizer
    fit(model, scaling(keras.optimizers.Adam(amsgrad=True)), metrics=["mse"])


Train = Callable[[Model, Keras], None]
#: How a network is built, and trained before it is saved.
CASES: dict[str, tuple[Callable[[Keras], Model], Train]] = {
    "graph": (graph, compiled),
    "shared": (shared, compiled),
    "untrained": (plain, untrained),
    "measured": (plain, measured),
    "gates": (gates, averaged),
    "names": (names, measured),
    "both": (both, compiled),
    "nested": (nested, measured),
    "functional": (functional, compiled),
    "cells": (cells, compiled),
    "open": (open_steps, compiled),
    "reshaped": (reshaped, scaled),
    "float16": (mixed("mixed_float16"), scaled),
    "bfloat16": (mixed("mixed_bfloat16"), trained),
}
#: Those that only Keras 2 can make.
KERAS2 = {"cudnn": (cudnn, untrained)}


# --- Files


def framework(keras: Keras) -> str:
    return "keras2" if keras.__name__ == "tf_keras" else "keras3"


def import_keras(name: str) -> Keras:
    """The framework by its name here."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if name == "keras2":
        import tf_keras

        return tf_keras
    import keras

    return keras


def cases(name: str) -> dict[str, tuple[Callable[[Keras], Model], Train]]:
    """The cases of a framework."""
    return CASES | (KERAS2 if name == "keras2" else {})


def reference(case: str, keras: Keras, model: Model, folder: Path) -> Model:
    """The model whose outputs are in float32, with the weights of ``model``."""
    if case == "cudnn":
        # Keras itself converts the weights as it loads them.
        twin = _cudnn(keras, keras.layers.LSTM, keras.layers.GRU)
        twin.load_weights(folder / "old.h5")
        return twin
    if case in ("float16", "bfloat16"):
        twin = mixed("float32")(keras)
        twin.set_weights(model.get_weights())
        return twin
    return model


def save(case: str, keras: Keras, folder: Path, check: bool) -> None:
    """Save a case's containers, inputs and outputs into a folder."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    build, train = cases(framework(keras))[case]
    model = build(keras)
    # Of many magnitudes, the biases too, so that no two weights can change places unseen.
    rng = np.random.default_rng(5)
    weights = [rng.normal(0, 0.7, weight.shape).astype(weight.dtype) for weight in model.get_weights()]
    weights = [
        np.abs(new) + 0.2 if "variance" in one.name or "variance" in getattr(one, "path", "") else new
        for new, one in zip(weights, model.weights, strict=True)
    ]
    model.set_weights(weights)
    train(model, keras)
    model.save(folder / "m.keras")
    model.save(folder / "m.h5")
    model.save_weights(folder / "m.weights.h5")
    if framework(keras) == "keras2":
        model.save_weights(folder / "old.h5")
    (folder / "m.json").write_text(model.to_json())
    if isinstance(model.input_shape, list):
        # By the names of inputs; outputs in their order.
        xs = {one.name: rng.normal(size=(6, *one.shape[1:])).astype("f4") for one in model.inputs}
        found = model.predict(list(xs.values()), verbose=0)
        np.savez(folder / "x.npz", **xs)
        np.savez(folder / "y.npz", *(found if isinstance(found, list) else [found]))
    else:
        x = rng.normal(size=(model.input_shape[0] or 6, *(size or STEPS for size in model.input_shape[1:])))
        np.save(folder / "x.npy", x.astype("f4"))
        np.save(folder / "y.npy", np.asarray(reference(case, keras, model, folder).predict(x.astype("f4"), verbose=0)))
    if check:
        from fxsim.importers import from_keras, read_model

        steps = STEPS if case == "open" else None
        assert from_keras(model, steps) == read_model(folder / "m.keras", steps=steps), case


def pack(folder: Path, target: Path) -> None:
    """A folder's files as a zip that depends on them alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(folder.iterdir()):
            info = zipfile.ZipInfo(path.name)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, path.read_bytes())
    target.write_bytes(buffer.getvalue())


def main(arguments: list[str]) -> None:
    check = "--check" in arguments
    name, *places = [one for one in arguments if one != "--check"]
    keras = import_keras(name)
    target = Path(places[0]) if places else HERE
    for case in cases(name):
        with tempfile.TemporaryDirectory() as folder:
            save(case, keras, Path(folder), check)
            pack(Path(folder), target / f"{name}-{case}.zip")
        print(f"{name}-{case}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
