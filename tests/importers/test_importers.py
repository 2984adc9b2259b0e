# SPDX-License-Identifier: Apache-2.0
"""The Keras importer: every layout it reads, every refusal's message, and files made to break it."""

from __future__ import annotations

import copy
import io
import json
import random
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from fuzz.mutators import mutate
from shared import SHARED, needs_shared

from fxsim.errors import FxsimError, ModelError
from fxsim.importers import from_keras, read_model
from fxsim.importers import source as layers
from fxsim.importers.keras import source_from_contents
from fxsim.importers.keras_files import MAX_JSON, Contents
from fxsim.importers.keras_weights import Live
from fxsim.importers.source import Idle, Source
from fxsim.study.floating import predict as predict_float

# --- Small models, written as Keras writes them

KERNEL = {"kernel_initializer": {"class_name": "GlorotUniform"}, "kernel_regularizer": None, "bias_constraint": None}
RNN = {
    "return_sequences": False,
    "return_state": False,
    "go_backwards": False,
    "stateful": False,
    "activation": "tanh",
    "use_bias": True,
    "dropout": 0.1,
    "unroll": False,
    **KERNEL,
}


def layer(class_name: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": {"name": name, "trainable": True, "dtype": "float32", **config}}


def lstm(name: str = "lstm", units: int = 2, **config: Any) -> dict[str, Any]:
    return layer("LSTM", name, **{**RNN, "units": units, "recurrent_activation": "sigmoid", **config})


def gru(name: str = "gru", units: int = 2, **config: Any) -> dict[str, Any]:
    return lstm(name, units, **config) | {"class_name": "GRU"}


def dense(name: str = "dense", units: int = 3, **config: Any) -> dict[str, Any]:
    return layer("Dense", name, **{**KERNEL, "units": units, "activation": "linear", "use_bias": True, **config})


def inputs(*shape: int | None) -> dict[str, Any]:
    return {"class_name": "InputLayer", "config": {"name": "inp", "batch_input_shape": [None, *shape]}}


def sequential(*layers: dict[str, Any], shape: tuple[int | None, ...] = (4, 3), **extra: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "net", "layers": [inputs(*shape), *layers]}, **extra}


def functional(*layers: dict[str, Any], keras3: bool = False) -> dict[str, Any]:
    entries = [inputs(4, 3), *copy.deepcopy(layers)]
    for before, entry in zip([None, *entries], entries, strict=False):
        entry["name"] = entry["config"]["name"]
        if before is None:
            entry["inbound_nodes"] = []
        elif keras3:
            tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": [before["name"], 0, 0]}}
            entry["inbound_nodes"] = [{"args": [tensor], "kwargs": {"training": False, "mask": None}}]
        else:
            entry["inbound_nodes"] = [[[before["name"], 0, 0, {}]]]
    ends = {"input_layers": [["inp", 0, 0]], "output_layers": [[entries[-1]["name"], 0, 0]]}
    return {"class_name": "Functional", "config": {"name": "net", "layers": entries, **ends}}


def ramp(*shape: int) -> np.ndarray:
    return (np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 1) / np.float32(7)


def lstm_weights(n: int = 3, u: int = 2) -> list[np.ndarray]:
    return [ramp(n, 4 * u), ramp(u, 4 * u), ramp(4 * u)]


def gru_weights(n: int = 3, u: int = 2, *, after: bool = True) -> list[np.ndarray]:
    return [ramp(n, 3 * u), ramp(u, 3 * u), ramp(2, 3 * u) if after else ramp(3 * u)]


def dense_weights(n: int = 2, u: int = 3) -> list[np.ndarray]:
    return [ramp(n, u), ramp(u)]


def live(config: dict[str, Any], generation: int = 2, **weights: list[np.ndarray]) -> Source:
    return source_from_contents(Contents(config, generation, Live(weights)))


LEAVES = ("kernel:0", "recurrent_kernel:0", "bias:0")


def write_layers(group: h5py.Group, weights: dict[str, list[np.ndarray]]) -> None:
    group.attrs["layer_names"] = [name.encode() for name in weights]
    for name, arrays in weights.items():
        leaves = LEAVES if len(arrays) == 3 else ("kernel:0", "bias:0")
        sub = group.create_group(name)
        names = [f"{name}/cell/{leaf}" for leaf, _ in zip(leaves, arrays, strict=False)]
        sub.attrs["weight_names"] = [path.encode() for path in names]
        for path, array in zip(names, arrays, strict=True):
            sub.create_dataset(path, data=array)


def write_h5(path: Path, config: dict[str, Any] | str, **weights: list[np.ndarray]) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.15.0"
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        write_layers(file.create_group("model_weights"), weights)
        file.create_group("optimizer_weights").create_dataset("Adam/iter:0", data=3)
    return path


def weights_h5(arrays: dict[str, np.ndarray], names: dict[str, str] | None = None) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for path, array in arrays.items():
            file.create_dataset(path, data=array)
        for group, name in (names or {}).items():
            file.require_group(f"{group}/vars").attrs["name"] = name
        file.create_dataset("optimizer/vars/0", data=1)
    return stream.getvalue()


def write_keras(path: Path, config: object, data: bytes, version: str = "3.5.0") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", data)
    return path


CELL = {f"layers/lstm/cell/vars/{i}": array for i, array in enumerate(lstm_weights())}
DENSE = {f"layers/dense/vars/{i}": array for i, array in enumerate(dense_weights())}
SMALL = sequential(lstm(), dense(activation="relu"))
SMALL_WEIGHTS = {"lstm": lstm_weights(), "dense": dense_weights()}


def refused(message: str, config: dict[str, Any], generation: int = 2, **weights: list[np.ndarray]) -> None:
    with pytest.raises(ModelError) as caught:
        live(config, generation, **weights)
    assert str(caught.value) == message


def refused_file(message: str, path: Path, weights: Path | None = None) -> None:
    with pytest.raises(ModelError) as caught:
        read_model(path, weights)
    assert str(caught.value) == f"{str(path)!r}: {message}"


# --- What is read


def test_small_model_from_every_place(tmp_path: Path) -> None:
    source = live(SMALL, **SMALL_WEIGHTS)
    assert (source.name, source.input_name, source.shape) == ("net", "inp", (4, 3))
    assert [(entry.name, entry.kind) for entry in source.layers] == [
        ("lstm", "lstm"),
        ("dense", "dense"),
        ("dense_relu", "activation"),
    ]
    weights = dict(zip(("kernel", "recurrent_kernel", "bias"), lstm_weights(), strict=True))
    assert source.layers[0] == layers.LSTM(
        "lstm",
        units=2,
        activation=layers.Function("tanh"),
        recurrent_activation=layers.Function("sigmoid"),
        return_sequences=False,
        use_bias=True,
        weights=weights,
    )
    for key, array in weights.items():
        value = source.layers[0].weights[key]
        assert value.dtype == np.float64 and not value.flags.writeable
        assert np.array_equal(value, array)

    h5 = write_h5(tmp_path / "m.h5", SMALL, **SMALL_WEIGHTS)
    archive = write_keras(tmp_path / "m.keras", SMALL, weights_h5(CELL | DENSE))
    text = tmp_path / "m.json"
    text.write_text(json.dumps(SMALL))
    layers_only = tmp_path / "w.h5"
    with h5py.File(layers_only, "w") as file:
        write_layers(file, SMALL_WEIGHTS)
    vars_only = tmp_path / "w.weights.h5"
    vars_only.write_bytes(weights_h5(CELL | DENSE))
    old_keras = tmp_path / "old.keras"  # TensorFlow before 2.12 writes HDF5 under this name.
    old_keras.write_bytes(h5.read_bytes())
    for path in (h5, archive, old_keras):
        assert read_model(path) == source
        assert read_model(str(path)) == source
    for weights in (h5, layers_only, vars_only):
        assert read_model(text, weights) == source


def test_functional_chain_of_both_styles() -> None:
    source = live(SMALL, **SMALL_WEIGHTS)
    for keras3 in (False, True):
        assert live(functional(lstm(), dense(activation="relu"), keras3=keras3), **SMALL_WEIGHTS) == source


def test_sources_differ_by_any_weight() -> None:
    source = live(SMALL, **SMALL_WEIGHTS)
    other = copy.deepcopy(SMALL_WEIGHTS)
    other["dense"][1][0] += 1
    assert live(SMALL, **other) != source


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("keyed", [False, True])
def test_gru_bias(after: bool, keyed: bool) -> None:
    config = gru(reset_after=after) if keyed else gru()
    (found,) = live(sequential(config), gru=gru_weights(after=after)).layers
    assert isinstance(found, layers.GRU) and found.reset_after is after
    bias = gru_weights(after=after)[2]
    assert np.array_equal(found.weights["bias"], bias[0] if after else bias)
    assert np.array_equal(found.weights["recurrent_bias"], bias[1] if after else np.zeros(6))


def test_no_bias_is_zeros() -> None:
    config = sequential(gru(use_bias=False, reset_after=True), dense(use_bias=False))
    found = live(config, gru=gru_weights()[:2], dense=dense_weights()[:1]).layers
    assert isinstance(found[0], layers.GRU) and found[0].use_bias is False and found[0].reset_after is True
    assert not found[0].weights["bias"].any() and not found[0].weights["recurrent_bias"].any()
    assert isinstance(found[1], layers.Dense) and (found[1].units, found[1].use_bias) == (3, False)
    assert not found[1].weights["bias"].any()


def test_simple_rnn() -> None:
    config = lstm("rnn") | {"class_name": "SimpleRNN"}
    del config["config"]["recurrent_activation"]
    (found,) = live(sequential(config), rnn=[ramp(3, 2), ramp(2, 2), ramp(2)]).layers
    assert isinstance(found, layers.SimpleRNN) and (found.units, found.activation) == (2, layers.Function("tanh"))
    assert (found.return_sequences, found.use_bias) == (False, True)


def bidirectional(merge: str | None = "concat", *, backward: dict[str, Any] | None = None) -> dict[str, Any]:
    given = {} if backward is None else {"backward_layer": backward}
    return layer("Bidirectional", "bi", merge_mode=merge, layer=lstm("rnn"), **given)


def test_bidirectional() -> None:
    values = lstm_weights() + [array + 1 for array in lstm_weights()]
    source = live(sequential(bidirectional(), dense(units=1)), bi=values, dense=dense_weights(4, 1))
    twin = bidirectional(backward=lstm("backward_rnn", go_backwards=True))
    assert live(sequential(twin, dense(units=1)), bi=values, dense=dense_weights(4, 1)) == source
    found = source.layers[0]
    assert isinstance(found, layers.Bidirectional)
    assert found.merge_mode == "concat" and found.return_sequences is False
    forward, backward = found.forward, found.backward
    assert (forward.name, backward.name, forward.kind) == ("forward_rnn", "backward_rnn", "lstm")
    assert np.array_equal(forward.weights["kernel"], values[0]) and np.array_equal(backward.weights["bias"], values[5])


def test_bidirectional_in_an_archive(tmp_path: Path) -> None:
    sides = {
        f"layers/bidirectional/{side}_layer/cell/vars/{i}": array + k
        for k, side in enumerate(("forward", "backward"))
        for i, array in enumerate(lstm_weights())
    }
    path = write_keras(tmp_path / "m.keras", sequential(bidirectional("sum")), weights_h5(sides))
    values = lstm_weights() + [array + 1 for array in lstm_weights()]
    assert read_model(path) == live(sequential(bidirectional("sum")), 3, bi=values)


@pytest.mark.parametrize(("units", "sequences"), [(5, False), (1, True), (2, True)])
def test_directions_that_are_not_alike(units: int, sequences: bool, tmp_path: Path) -> None:
    """A cell of another class, with units, functions and bias of its own, from each kind of file."""
    own = gru("back", units, go_backwards=True, activation="relu", return_sequences=sequences, reset_after=True)
    wrapper = bidirectional(backward=own)
    wrapper["config"]["layer"]["config"]["return_sequences"] = sequences
    config = sequential(wrapper, dense(units=1))
    arrays = [*lstm_weights(), *gru_weights(u=units)]
    source = live(config, bi=arrays, dense=dense_weights(2 + units, 1))
    found = source.layers[0]
    assert isinstance(found, layers.Bidirectional)
    forward, backward = found.forward, found.backward
    assert (forward.kind, backward.kind, backward.name) == ("lstm", "gru", "backward_back")
    assert (forward.units, backward.units) == (2, units)
    assert (forward.activation, backward.activation) == (layers.Function("tanh"), layers.Function("relu"))
    assert np.array_equal(backward.weights["recurrent_bias"], arrays[5][1])
    x = np.random.default_rng(0).normal(size=(6, 4, 3))
    expected = forward_pass(source, x)
    assert expected.shape == ((6, 4, 1) if sequences else (6, 1))
    assert np.allclose(predict_float(source, x), expected, rtol=0, atol=1e-12)
    sides = {f"layers/bidirectional/forward_layer/cell/vars/{i}": array for i, array in enumerate(arrays[:3])}
    sides |= {f"layers/bidirectional/backward_layer/cell/vars/{i}": array for i, array in enumerate(arrays[3:])}
    ends = {f"layers/dense/vars/{i}": array for i, array in enumerate(dense_weights(2 + units, 1))}
    assert read_model(write_keras(tmp_path / "m.keras", config, weights_h5(sides | ends))) == live(
        config, 3, bi=arrays, dense=dense_weights(2 + units, 1)
    )


def test_layers_that_do_nothing_are_left_out_and_wrappers_opened() -> None:
    config = sequential(
        lstm(return_sequences=True),
        layer("Dropout", "drop", rate=0.5, noise_shape=None, seed=None),
        layer("TimeDistributed", "td", layer=dense("inner", activation="tanh")),
        layer("TimeDistributed", "td2", layer=layer("Softmax", "soft", axis=1)),
        layer("GaussianNoise", "noise", stddev=1.0),
        layer("Reshape", "flat", target_shape=[-1]),
    )
    source = live(config, lstm=lstm_weights(), td=dense_weights())
    assert [(entry.name, entry.kind) for entry in source.layers] == [
        ("lstm", "lstm"),
        ("inner", "dense"),
        ("inner_tanh", "activation"),
        ("soft", "activation"),
        ("flat", "flatten"),
    ]


def idle_of(source: Source) -> tuple[tuple[int, str], ...]:
    """Layers that do nothing, with the number of others before them."""
    found: list[tuple[int, str]] = []
    for place, layer in enumerate(source.layers):
        if isinstance(layer, Idle):
            found.append((place - len(found), layer.name))
    return tuple(found)


@pytest.mark.parametrize(("generation", "idle"), [(2, ()), (3, ((0, "first"), (1, "drop"), (2, "last")))])
def test_idle_layers_of_keras_3_are_remembered(generation: int, idle: tuple[tuple[int, str], ...]) -> None:
    config = sequential(
        layer("SpatialDropout1D", "first", rate=0.5),
        layer("ReLU", "r", max_value=None, negative_slope=0.0, threshold=0.0),
        layer("Dropout", "drop", rate=0.5),
        layer("Activation", "a", activation="relu"),
        layer("GaussianNoise", "noise", stddev=1.0),
        layer("GaussianDropout", "last", rate=0.5),
    )
    source = live(config, generation)
    assert idle_of(source) == idle
    assert [entry.origin for entry in source.active.layers] == ["ReLU" if generation == 3 else "", ""]


def test_names_that_are_made_are_unique() -> None:
    config = sequential(
        dense("d", activation="relu"),
        layer("Dropout", "d_relu", rate=0.5),
        layer("TimeDistributed", "td", layer=layer("ReLU", "r", max_value=None, negative_slope=0.0, threshold=0.0)),
        layer("TimeDistributed", "td2", layer=layer("ReLU", "r", max_value=None, negative_slope=0.0, threshold=0.0)),
        layer("Activation", "d_relu_1", activation="tanh"),
    )
    source = live(config, 3, d=dense_weights(3))
    assert [entry.name for entry in source.active.layers] == ["d", "d/d_relu", "r", "td2/r", "d_relu_1"]
    assert idle_of(source) == ((2, "d_relu"),)


def test_archive_numbers_layers_by_class_in_order(tmp_path: Path) -> None:
    # Names and numbers cross on purpose: the first Dense is named dense_1.
    config = sequential(dense("dense_1", 2), dense("dense", 2), layer("Dropout", "d"), dense("x", 2), shape=(2,))
    for root, numbers in (("layers", ("", "_1", "_2")), ("_layer_checkpoint_dependencies", ("", "_2", "_10"))):
        arrays = {}
        for value, number in enumerate(numbers):
            arrays[f"{root}/dense{number}/vars/0"] = np.full((2, 2), value)
            arrays[f"{root}/dense{number}/vars/1"] = np.zeros(2)
        arrays[f"{root}/dropout/seed_generator/vars/0"] = np.zeros(2)
        floats = {key: array.astype(np.float32) for key, array in arrays.items()}
        source = read_model(write_keras(tmp_path / f"{root}.keras", config, weights_h5(floats), "2.14.0"))
        assert [(entry.name, entry.weights["kernel"][0, 0]) for entry in source.layers] == [
            ("dense_1", 0),
            ("dense", 1),
            ("x", 2),
        ]


@pytest.mark.parametrize(
    ("config", "generation", "options"),
    [
        (layer("Activation", "a", activation="hard_sigmoid"), 2, ("hard_sigmoid", {"slope": 0.2, "shift": 0.5})),
        (layer("Activation", "a", activation="hard_sigmoid"), 3, ("hard_sigmoid", {"slope": 1 / 6, "shift": 0.5})),
        (layer("Activation", "a", activation="elu"), 3, ("elu", {"alpha": 1.0})),
        (layer("Activation", "a", activation="linear"), 3, ("linear", {})),
        (layer("Activation", "a", activation="hard_tanh"), 3, ("hard_tanh", {})),
        (layer("Activation", "a", activation="leaky_relu"), 3, ("leaky_relu", {"alpha": 0.2})),
        (layer("ELU", "a", alpha=0.5), 2, ("elu", {"alpha": 0.5})),
        (layer("LeakyReLU", "a", alpha=0.25), 2, ("leaky_relu", {"alpha": 0.25})),
        (layer("LeakyReLU", "a", negative_slope=0.25), 3, ("leaky_relu", {"alpha": 0.25})),
        (layer("ThresholdedReLU", "a", theta=1), 2, ("thresholded_relu", {"theta": 1.0})),
        (layer("ReLU", "a", max_value=None, negative_slope=0.0, threshold=0.0), 3, ("relu", {})),
        (layer("ReLU", "a", max_value=None, negative_slope=0.5, threshold=0), 3, ("leaky_relu", {"alpha": 0.5})),
        (layer("Softmax", "a", axis=-1), 3, ("softmax", {})),
        (layer("Softmax", "a", axis=[2]), 3, ("softmax", {})),
    ],
)
def test_activations(config: dict[str, Any], generation: int, options: tuple[str, dict[str, float]]) -> None:
    (found,) = live(sequential(config), generation).layers
    assert isinstance(found, layers.Activation) and found.function == layers.Function(options[0], **options[1])


@pytest.mark.parametrize("generation", [2, 3])
def test_prelu(generation: int) -> None:
    """A slope for each feature; of a sequence, the same at every step."""
    slopes = np.array([0.25, -0.5, 1.0], np.float32)
    options: dict[str, Any] = {"alpha_initializer": {}, "alpha_regularizer": None, "alpha_constraint": None}
    for shape, axes, stored in (
        ((3,), None, slopes),
        ((5, 3), [1], slopes[None]),
        ((5, 3), None, np.tile(slopes, (5, 1))),
        ((5, 3), [1, 2], np.array([[0.25]], np.float32)),
    ):
        config = sequential(layer("PReLU", "a", shared_axes=axes, **options), shape=shape)
        (found,) = live(config, generation, a=[stored]).layers
        assert isinstance(found, layers.Activation) and found.origin == "PReLU"
        assert found.function == layers.Function(
            "leaky_relu", alpha=(0.25, -0.5, 1.0) if stored.size > 1 else (0.25,) * 3
        )
    uneven = np.arange(15, dtype=np.float32).reshape(5, 3)
    config = sequential(layer("PReLU", "a", shared_axes=None), shape=(5, 3))
    refused("layer 'a' (PReLU): its alpha must be the same at every step, as with shared_axes=[1]", config, a=[uneven])
    for axes in ([0], [3], "1", [True]):
        config = sequential(layer("PReLU", "a", shared_axes=axes), shape=(5, 3))
        message = f"option 'shared_axes' must be None or a list of axes from 1 to 2, not {axes!r}"
        refused(f"layer 'a' (PReLU): {message}", config, a=[slopes])


def test_layers_remember_their_time_distributed() -> None:
    inner = layer("TimeDistributed", "td", layer=dense(activation="relu"))
    found = live(sequential(inner, shape=(5, 2)), td=dense_weights()).layers
    assert [(one.name, one.wrapper) for one in found] == [("dense", "td"), ("dense_relu", "td")]


@pytest.mark.parametrize(("generation", "slope"), [(2, 0.2), (3, 1 / 6)])
def test_recurrent_hard_sigmoid(generation: int, slope: float) -> None:
    config = sequential(lstm(recurrent_activation="hard_sigmoid"))
    (found,) = live(config, generation, lstm=lstm_weights()).layers
    assert isinstance(found, layers.LSTM)
    assert found.recurrent_activation == layers.Function("hard_sigmoid", slope=slope, shift=0.5)


def test_activation_layer_inside_dense() -> None:
    inner = layer("LeakyReLU", "lr", alpha=0.25)
    found = live(sequential(dense(activation=inner), shape=(2,)), dense=dense_weights()).layers
    assert found[1:] == (layers.Activation("dense_leaky_relu", layers.Function("leaky_relu", alpha=0.25)),)


def test_input_shape_beside_the_layers() -> None:
    config = sequential(lstm())
    del config["config"]["layers"][0]
    refused("layer 'lstm': the model was saved without its input's shape; build it first", config)
    config["config"]["build_input_shape"] = [None, 4, 3]
    assert live(config, lstm=lstm_weights()).input_name == "lstm_input"
    del config["config"]["build_input_shape"]
    config["config"]["layers"][0]["config"]["batch_input_shape"] = [None, 4, 3]
    assert live(config, lstm=lstm_weights()).shape == (4, 3)
    config["config"] = config["config"]["layers"]
    assert live(config, lstm=lstm_weights()).name == "sequential"


def test_attributes_in_chunks(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "m.h5", SMALL, **SMALL_WEIGHTS)
    with h5py.File(path, "r+") as file:
        group = file["model_weights"]
        names = list(group.attrs["layer_names"])
        del group.attrs["layer_names"]
        for i, name in enumerate(names):
            group.attrs[f"layer_names{i}"] = [name]
    assert read_model(path) == live(SMALL, **SMALL_WEIGHTS)


# --- What is refused in a config

LSTM = "layer 'lstm' (LSTM): option"
UNITS = "layer 'b' (LSTM): option 'units' must be that of the forward layer, 2,"
BI = "layer 'bi' (Bidirectional): option"
LEGAL_DTYPE = "one of 'float32', 'float64', 'float16', 'mixed_float16', 'mixed_bfloat16'"
LEGAL_CELL = "'linear', 'relu', 'sigmoid', 'tanh', 'hard_sigmoid', 'softplus', 'softsign', 'elu', 'selu'"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (lstm(stateful=True), "layer 'lstm' (LSTM): option 'stateful' must be False, not True"),
        (lstm(stateful=0), "layer 'lstm' (LSTM): option 'stateful' must be False, not 0"),
        (lstm(return_state=True), "layer 'lstm' (LSTM): option 'return_state' must be False, not True"),
        (lstm(time_major=True), "layer 'lstm' (LSTM): option 'time_major' must be False, not True"),
        (lstm(peephole=1), "layer 'lstm' (LSTM): option 'peephole' is not known to fxsim, which reads or refuses all"),
        (lstm(units=0), "layer 'lstm' (LSTM): option 'units' must be an integer from 1 to 1048576, not 0"),
        (lstm(units=2.0), "layer 'lstm' (LSTM): option 'units' must be an integer from 1 to 1048576, not 2.0"),
        (lstm(units=True), "layer 'lstm' (LSTM): option 'units' must be an integer from 1 to 1048576, not True"),
        (lstm(units=-3), "layer 'lstm' (LSTM): option 'units' must be an integer from 1 to 1048576, not -3"),
        (lstm(units=None), "layer 'lstm' (LSTM): option 'units' must be an integer from 1 to 1048576, not None"),
        (lstm(units=1 << 20), "the model has 4398067482624 weights; fxsim imports at most 67108864"),
        (lstm(use_bias=1), "layer 'lstm' (LSTM): option 'use_bias' must be True or False, not 1"),
        (lstm(activation="softmax"), f"{LSTM} 'activation' must be one of {LEGAL_CELL}, not 'softmax'"),
        (lstm(dtype="int8"), f"{LSTM} 'dtype' must be {LEGAL_DTYPE}, not 'int8'"),
        (
            dense(dtype={"class_name": "DTypePolicy", "config": {"name": "bfloat16"}}),
            f"layer 'dense' (Dense): option 'dtype' must be {LEGAL_DTYPE}, not 'bfloat16'",
        ),
        (dense(quantization_config={}), "layer 'dense' (Dense): option 'quantization_config' must be None, not {}"),
        (layer("Dense", "d", units=2, use_bias=True), "layer 'd' (Dense): option 'activation' is missing"),
        (layer("ReLU", "r", max_value=6.0), "layer 'r' (ReLU): option 'max_value' must be None, not 6.0"),
        (layer("ReLU", "r", threshold=1.0), "layer 'r' (ReLU): option 'threshold' must be None or 0.0, not 1.0"),
        (layer("Softmax", "s", axis=1), "layer 's' (Softmax): option 'axis' must be -1 (the last axis, 2), not 1"),
        (layer("ELU", "e", alpha=float("nan")), "layer 'e' (ELU): option 'alpha' must be a finite number, not nan"),
        (
            layer("Flatten", "f", data_format="channels_first"),
            "layer 'f' (Flatten): option 'data_format' must be 'channels_last' or None, not 'channels_first'",
        ),
        (
            layer("Reshape", "r", target_shape=[6, 3]),
            "layer 'r' (Reshape): option 'target_shape' must have 12 elements, not [6, 3]",
        ),
        (
            layer("Reshape", "r", target_shape=[2, 3, 2]),
            "layer 'r' (Reshape): option 'target_shape' must be [steps, features] or one flat axis, not [2, 3, 2]",
        ),
        (bidirectional(None), f"{BI} 'merge_mode' must be one of 'concat', 'sum', 'ave', 'mul', not None"),
        (
            bidirectional(backward=lstm("b")),
            "layer 'b' (LSTM): option 'go_backwards' must be True, not False",
        ),
        *(
            (
                bidirectional(mode, backward=lstm("b", 5, go_backwards=True)),
                f"{UNITS} unless merge_mode is 'concat', not 5",
            )
            for mode in ("sum", "ave", "mul")
        ),
        (
            bidirectional(backward=lstm("b", go_backwards=True, return_sequences=True)),
            "layer 'b' (LSTM): option 'return_sequences' must be that of the forward layer, False, not True",
        ),
        (
            layer("Bidirectional", "bi", merge_mode="sum", layer=dense()),
            f"{BI} 'layer' is a 'Dense'; it must be one of LSTM, GRU, SimpleRNN, CuDNNLSTM, CuDNNGRU, RNN",
        ),
        (lstm() | {"registered_name": "Mine>LSTM"}, "layer 'lstm' is a custom 'LSTM' of 'Mine>LSTM', not one of Keras"),
        (lstm() | {"module": "mine"}, "layer 'lstm' is a custom 'LSTM' of 'mine', not one of Keras"),
        (lstm() | {"extra": 1}, "layer 'lstm': key 'extra' is not known to fxsim, which reads or refuses all"),
        (lstm("inp"), "two layers are named 'inp'; names must be unique"),
        (lstm("a\nb"), "layer number 1: name must be a text, not 'a\\nb'"),
    ],
)  # fmt: skip
def test_refused_layers(config: dict[str, Any], message: str) -> None:
    refused(message, sequential(config))


@pytest.mark.parametrize("class_name", ["Lambda", "LayerNormalization", "Masking", "Embedding", "QLSTM"])
def test_other_classes_are_refused_by_name(class_name: str) -> None:
    why = {
        "Lambda": "whose function is Python code, which fxsim does not run",
        "Masking": "which leaves out steps; fxsim computes every step of a sequence",
    }.get(class_name, "which fxsim does not import")
    refused(f"layer 'x' is a {class_name}, {why}", sequential(lstm(), layer(class_name, "x", function="anything")))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((None, 3), "layer 'inp': the length of a sequence is left open; give it as steps= (--steps)"),
        ((4, None), "layer 'inp': input shape must have sizes from 1 to 1048576, not [None, 4, None]"),
        ((0, 3), "layer 'inp': input shape must have sizes from 1 to 1048576, not [None, 0, 3]"),
        ((2.5, 3), "layer 'inp': input shape must have sizes from 1 to 1048576, not [None, 2.5, 3]"),
        ((True, 3), "layer 'inp': input shape must have sizes from 1 to 1048576, not [None, True, 3]"),
        (
            (4, 3, 2),
            "layer 'inp': input shape must be [batch, steps, features] or [batch, features], not [None, 4, 3, 2]",
        ),
    ],
)
def test_refused_input_shapes(shape: tuple[Any, ...], message: str) -> None:
    refused(message, sequential(lstm(), shape=shape))


def test_recurrent_layer_needs_steps() -> None:
    refused("layer 'lstm' (LSTM): its input must be (steps, features), not (3,)", sequential(lstm(), shape=(3,)))


def test_no_layers() -> None:
    refused("the model has no layer that computes anything", sequential(layer("Dropout", "d")))
    refused("the model is a 'Mine'; fxsim imports Sequential and Functional models", {"class_name": "Mine"})


def test_graphs_that_make_no_sense() -> None:
    def changed(change: Any) -> dict[str, Any]:
        config = functional(lstm(), dense("a", 2), dense("b", 2))
        change(config["config"], config["config"]["layers"])
        return config

    def swapped(c: Any, layers: Any) -> None:
        layers[2].update(inbound_nodes=[[["b", 0, 0, {}]]])
        layers[3].update(inbound_nodes=[[["a", 0, 0, {}]]])

    for message, change in (
        (
            "layer 'b' (Dense): it must be called on 1 tensor, not on 2",
            lambda c, layers: layers[3].update(inbound_nodes=[[["a", 0, 0, {}], ["lstm", 0, 0, {}]]]),
        ),
        ("layer 'b' is called on no tensor", lambda c, layers: layers[3].update(inbound_nodes=[[]])),
        ("layer 'b' is not called on anything", lambda c, layers: layers[3].update(inbound_nodes=[])),
        (
            "layer 'b': call argument 'training' must be None or False, not True",
            lambda c, layers: layers[3].update(inbound_nodes=[[["a", 0, 0, {"training": True}]]]),
        ),
        (
            "layer 'b': its input 'nobody' is no layer of the model",
            lambda c, layers: layers[3].update(inbound_nodes=[[["nobody", 0, 0, {}]]]),
        ),
        (
            "layer 'b': its input ['a', 0, 1] must be a result of that layer, which is called 1 times",
            lambda c, layers: layers[3].update(inbound_nodes=[[["a", 0, 1, {}]]]),
        ),
        ("layer 'a' of the model needs its own result", swapped),
        ("the model has no output layers", lambda c, layers: c.update(output_layers=[])),
        ("the model's output_layers must be [layer, 0, 0], not 7", lambda c, layers: c.update(output_layers=[7])),
        (
            "the model's output 'nobody' is no layer of the model",
            lambda c, layers: c.update(output_layers=[["nobody", 0, 0]]),
        ),
        (
            "the model's input 'a' is no InputLayer of the model",
            lambda c, layers: c.update(input_layers=[["a", 0, 0]]),
        ),
    ):
        refused(message, changed(change))


# --- What is refused in weights


def test_refused_weights() -> None:
    def changed(index: int, array: np.ndarray) -> dict[str, list[np.ndarray]]:
        arrays = lstm_weights()
        arrays[index] = array
        return {"lstm": arrays}

    config = sequential(lstm())
    bad = lstm_weights()[1]
    bad[1, 3] = np.nan
    refused("layer 'lstm': weight 'recurrent_kernel' is nan at index (1, 3)", config, **changed(1, bad))
    refused(
        "layer 'lstm': weight 'kernel' has shape (3, 7), expected (3, 8)",
        config, **changed(0, ramp(3, 7)),
    )  # fmt: skip
    refused(
        "layer 'lstm': weight 'bias' has type 'int64', expected float32 or float64",
        config, **changed(2, np.zeros(8, np.int64)),
    )  # fmt: skip
    refused(
        "there are weights of a layer 'other' that the model does not have",
        config, **changed(0, ramp(3, 8)), other=[ramp(2)],
    )  # fmt: skip
    refused("layer 'lstm' has the weights [], expected ['kernel', 'recurrent_kernel', 'bias']", config)
    refused(
        "layer 'gru': weight 'bias' has shape (6,), expected (2, 6) or (12,)",
        sequential(gru(reset_after=True)), gru=gru_weights(after=False),
    )  # fmt: skip


def test_refused_h5_weights(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    write_h5(path, SMALL, lstm=lstm_weights())
    refused_file("weights file: the weights of layer 'dense' are missing", path)
    write_h5(path, SMALL, **SMALL_WEIGHTS, extra=dense_weights())
    refused_file("weights file: it has weights of 'extra', a layer that the model does not have", path)
    write_h5(path, SMALL, **SMALL_WEIGHTS)
    with h5py.File(path, "r+") as file:
        group = file["model_weights/dense"]
        group.attrs["weight_names"] = list(reversed(group.attrs["weight_names"]))
    refused_file("layer 'dense' has the weights ['bias', 'kernel'], expected ['kernel', 'bias']", path)
    with h5py.File(path, "r+") as file:
        file["model_weights/dense"].attrs["weight_names"] = [b"a/../../kernel:0", b"bias:0"]
    refused_file("weights file: layer 'dense': weight 'a/../../kernel:0' is missing", path)


def test_links_and_outside_data_are_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    (tmp_path / "secret").write_bytes(np.ones(8, np.float32).tobytes())
    link = "weights file: 'bias:0' is a link to another place, which fxsim does not follow"
    for target in (h5py.ExternalLink("other.h5", "/x"), h5py.SoftLink("/model_weights/dense")):
        write_h5(path, SMALL, **SMALL_WEIGHTS)
        with h5py.File(path, "r+") as file:
            cell = file["model_weights/lstm/lstm/cell"]
            del cell["bias:0"]
            cell["bias:0"] = target
        refused_file(link, path)
    with h5py.File(path, "r+") as file:
        cell = file["model_weights/lstm/lstm/cell"]
        del cell["bias:0"]
        cell.create_dataset("bias:0", (8,), np.float32, external=[(str(tmp_path / "secret"), 0, 32)])
    refused_file("weights file: 'lstm/cell/bias:0' keeps its values in another file, which fxsim does not follow", path)


def test_absurd_size_is_seen_before_reading(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "m.h5", SMALL, **SMALL_WEIGHTS)
    with h5py.File(path, "r+") as file:
        cell = file["model_weights/lstm/lstm/cell"]
        del cell["kernel:0"]
        cell.create_dataset("kernel:0", (1 << 40, 1 << 20), np.float32, chunks=(1024, 1024))
    refused_file("layer 'lstm': weight 'kernel' has shape (1099511627776, 1048576), expected (3, 8)", path)


def test_refused_archive_weights(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    write_keras(path, SMALL, weights_h5(CELL))
    refused_file("weights file: the weights of layer 'dense' are missing", path)
    write_keras(path, SMALL, weights_h5(CELL | DENSE | {"layers/dense_1/vars/0": ramp(2)}))
    refused_file("weights file: 'dense_1' has weights of no layer of the model", path)
    write_keras(path, SMALL, weights_h5(CELL | DENSE | {"layers/gru/vars/0": ramp(2)}))
    refused_file("weights file: 'gru' has weights of no layer of the model", path)
    write_keras(path, SMALL, weights_h5(CELL | DENSE | {"layers/dense/vars/2": ramp(2)}))
    refused_file("weights file: layer 'dense' ('dense') has a weight 'vars/2' that the layer does not have", path)
    write_keras(path, SMALL, weights_h5(CELL | {"layers/dense/vars/0": ramp(2, 3)}))
    refused_file("weights file: layer 'dense' ('dense'): weight 'bias' is missing", path)
    write_keras(path, SMALL, weights_h5(CELL | DENSE, {"layers/dense": "other"}))
    refused_file("weights file: layer 'dense' ('dense') has the weights of a layer named 'other'", path)
    stream = io.BytesIO(weights_h5(CELL | DENSE))
    with h5py.File(stream, "r+") as file:
        file["layers/lstm/loop"] = file["layers"]
    write_keras(path, SMALL, stream.getvalue())
    refused_file("the file is damaged or cannot be read: groups are nested too deep", path)


# --- What is refused as a file


def test_refused_paths(tmp_path: Path) -> None:
    refused_file("no such file", tmp_path / "none.h5")
    refused_file("is a directory, not a file", tmp_path)
    other = tmp_path / "m.onnx"
    other.write_bytes(b"")
    refused_file("suffix '.onnx' is not one of .keras, .h5, .hdf5, .json", other)
    text = tmp_path / "m.json"
    text.write_text(json.dumps(SMALL))
    refused_file("an architecture .json needs weights=, an HDF5 file with its weights", text)
    path = write_h5(tmp_path / "m.h5", SMALL, **SMALL_WEIGHTS)
    refused_file("weights= goes with an architecture .json only; this file has its own weights", path, path)
    refused_file(f"{str(tmp_path / 'w.h5')!r}: no such file", text, tmp_path / "w.h5")
    refused_file(f"{str(text)!r}: is neither an HDF5 file nor a .keras archive", text, text)
    for bad in ("a\0b.h5", "x" * 5000 + ".h5", 3):
        with pytest.raises(ModelError, match=r"\A.+\Z"):
            read_model(bad)  # type: ignore[arg-type]
    with pytest.raises(FxsimError):
        read_model("")


def test_refused_files(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    for content in (b"", b"hello", b"\x80\x04pickle"):
        path.write_bytes(content)
        refused_file("is neither an HDF5 file nor a .keras archive", path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    refused_file("the archive has no metadata.json", path)
    write_keras(path, SMALL, b"not HDF5")
    with pytest.raises(ModelError, match=r"\A.*: the file is damaged or cannot be read: OSError: .*\Z"):
        read_model(path)
    write_keras(path, [], b"")
    refused_file("config.json must be a JSON object, not []", path)
    write_keras(path, SMALL, weights_h5(CELL | DENSE), version="4.0.0")
    refused_file("keras_version must be 2.x or 3.x, not '4.0.0'", path)

    h5 = tmp_path / "m.h5"
    h5.write_bytes(weights_h5(CELL))
    refused_file("has no model_config, only weights at most: give the architecture .json and weights=", h5)
    write_h5(h5, "{")
    with pytest.raises(ModelError, match=r"model_config is not valid JSON: JSONDecodeError: .*\Z"):
        read_model(h5)
    write_h5(h5, '{"class_name": ' + "[" * 30000)
    refused_file("model_config is nested too deep", h5)


def test_bombs(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", b" " * (MAX_JSON + 1))
        archive.writestr("model.weights.h5", b"")
    refused_file("config.json declares 16777217 bytes, more than 16777216", path)
    write_keras(path, SMALL, weights_h5(CELL | DENSE))
    # The size in the central directory is what the reader believes.
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = ((1 << 30) + 1).to_bytes(4, "little")
    path.write_bytes(data)
    refused_file("model.weights.h5 declares 1073741825 bytes, more than 1073741824", path)


def test_from_keras_refuses_other_objects() -> None:
    with pytest.raises(ModelError, match=r"^from_keras needs a Keras model, not 'int'$"):
        from_keras(3)

    class Broken:
        layers = ()

        def to_json(self) -> str:
            raise NotImplementedError("no\nconfig")

    with pytest.raises(ModelError, match=r"^the Keras model does not .* weights: NotImplementedError: no$"):
        from_keras(Broken())


def test_reading_a_file_needs_no_framework(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "m.h5", SMALL, **SMALL_WEIGHTS)
    code = (
        "import sys; from fxsim.importers import read_model; "
        f"read_model({str(path)!r}); assert not {{'h5py', 'keras', 'tensorflow', 'torch'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


# --- Fuzzing: nothing but a ModelError of one line may come out

RICH = functional(
    lstm(return_sequences=True),
    {
        "class_name": "Sequential",
        "config": {
            "name": "body",
            "layers": [
                inputs(4, 2),
                layer("Reshape", "deal", target_shape=[-1, 2]),
                layer("CuDNNGRU", "fast", units=2, return_sequences=True, go_backwards=False),
            ],
        },
    },
    layer(
        "RNN",
        "loop",
        return_sequences=True,
        cell=layer("SimpleRNNCell", "cell", units=2, activation="tanh", use_bias=True),
    ),
    layer("Dropout", "drop", rate=0.5),
    layer("TimeDistributed", "td", layer=dense("inner", 2, activation="tanh")),
    layer("Bidirectional", "bi", merge_mode="concat", layer=gru("g", reset_after=True, return_sequences=True)),
    layer("Flatten", "flat", data_format="channels_last"),
    layer("LeakyReLU", "leaky", alpha=0.5),
    dense(activation="softmax"),
    layer("Softmax", "soft", axis=-1),
    keras3=True,
)
RICH_WEIGHTS = {
    "lstm": lstm_weights(),
    "body/fast": gru_weights(2),
    "loop": [ramp(2, 2), ramp(2, 2), ramp(2)],
    "td": dense_weights(2, 2),
    "bi": gru_weights(2) * 2,
    "dense": dense_weights(16, 3),
}


def one_line(error: ModelError) -> None:
    text = str(error)
    assert text and len(text.splitlines()) == 1 and len(text) < 1200, text


def test_rich_model_is_read() -> None:
    assert [entry.name for entry in live(RICH, **RICH_WEIGHTS).layers] == [
        "lstm", "body/fast", "loop", "inner", "inner_tanh", "bi", "flat", "leaky", "dense", "dense_softmax", "soft",
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_fuzz_config(seed: int) -> None:
    rng = random.Random(seed)
    refusals = 0
    for _ in range(1500):
        config = copy.deepcopy(RICH)
        for _ in range(rng.choice([1, 1, 2, 5])):
            mutate(config, rng)
        try:
            live(config, **RICH_WEIGHTS)
        except ModelError as error:
            one_line(error)
            refusals += 1
    assert refusals > 900


@pytest.mark.parametrize("kind", ["h5", "keras", "json"])
def test_fuzz_bytes(kind: str, tmp_path: Path) -> None:
    rng = random.Random(kind)
    weights = None
    path = tmp_path / f"m.{kind}"
    if kind == "h5":
        write_h5(path, SMALL, **SMALL_WEIGHTS)
    elif kind == "keras":
        write_keras(path, SMALL, weights_h5(CELL | DENSE))
    else:
        weights = write_h5(tmp_path / "w.h5", SMALL, **SMALL_WEIGHTS)
        path.write_text(json.dumps(SMALL))
    original = path.read_bytes()
    refusals = 0
    # Each HDF5 file is read by a process of its own; tests/fuzz reads thousands without.
    for _ in range(60):
        data = bytearray(original)
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        for _ in range(rng.choice([0, 1, 2, 20, 200])):
            if data:
                data[rng.randrange(len(data))] = rng.choice([0, 1, 0xFF, 0x7F, rng.randrange(256)])
        path.write_bytes(data)
        try:
            read_model(path, weights)
        except ModelError as error:
            one_line(error)
            refusals += 1
    assert refusals > 15


# --- Trained models and Keras's own answers


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


FUNCTIONS: dict[str, Any] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "softmax": softmax,
}


def scan(cell: layers.Recurrent, x: np.ndarray) -> np.ndarray:
    """Every step's output of an LSTM or GRU, from its definition."""
    assert isinstance(cell, layers.LSTM | layers.GRU)
    u, w = cell.units, cell.weights
    act, gate = FUNCTIONS[cell.activation.name], FUNCTIONS[cell.recurrent_activation.name]
    h = c = np.zeros((len(x), u))
    steps = []
    for t in range(x.shape[1]):
        a = x[:, t] @ w["kernel"] + w["bias"]
        if isinstance(cell, layers.LSTM):
            a = a + h @ w["recurrent_kernel"]
            i, f, g, o = (a[:, k * u : (k + 1) * u] for k in range(4))
            c = gate(f) * c + gate(i) * act(g)
            h = gate(o) * act(c)
        else:
            assert cell.reset_after
            b = h @ w["recurrent_kernel"] + w["recurrent_bias"]
            z, r = gate(a[:, :u] + b[:, :u]), gate(a[:, u : 2 * u] + b[:, u : 2 * u])
            h = z * h + (1 - z) * act(a[:, 2 * u :] + r * b[:, 2 * u :])
        steps.append(h)
    return np.stack(steps, axis=1)


def forward_pass(source: Source, x: np.ndarray) -> np.ndarray:
    for entry in source.layers:
        if isinstance(entry, layers.Dense):
            x = x @ entry.weights["kernel"] + entry.weights["bias"]
        elif isinstance(entry, layers.Activation):
            x = FUNCTIONS[entry.function.name](x)
        elif isinstance(entry, layers.Flatten):
            x = x.reshape(len(x), -1)
        elif isinstance(entry, layers.Bidirectional):
            assert entry.merge_mode == "concat"
            there, back = scan(entry.forward, x), scan(entry.backward, x[:, ::-1])
            if entry.return_sequences:
                x = np.concatenate([there, back[:, ::-1]], axis=-1)
            else:
                x = np.concatenate([there[:, -1], back[:, -1]], axis=-1)
        else:
            assert isinstance(entry, layers.Recurrent)
            x = scan(entry, x)
            x = x if entry.return_sequences else x[:, -1]
    return x


@needs_shared
@pytest.mark.parametrize(
    "case",
    ["bi_lstm", "bi_lstm_last", "flav_gru", "flav_lstm", "jet_gru", "jet_lstm", "qd_lstm", "top_gru", "top_lstm"],
)
def test_golden_floats(case: str) -> None:
    assert SHARED is not None
    for folder in sorted((SHARED / "golden").glob(f"{case}__p16_6_*")):
        (path,) = folder.glob("model.*")
        got = forward_pass(read_model(path), np.load(folder / "inputs.npy").astype(np.float64))
        want = np.load(folder / "float_outputs.npy")
        assert np.abs(got.reshape(want.shape) - want).max() < 1e-5


@needs_shared
def test_every_golden_model_and_trained_network_is_read() -> None:
    assert SHARED is not None
    for path in sorted((SHARED / "golden").glob("*/model.*")):
        assert read_model(path).layers
    for name in ("toptag/lstm", "toptag/gru", "quickdraw/lstm", "quickdraw/gru"):
        assert read_model(SHARED / "models" / f"{name}.h5").layers
    for name in ("lstm", "gru"):
        folder = SHARED / "models" / "ftag"
        source = read_model(folder / f"{name}_arch.json", folder / f"{name}_weights.h5")
        assert (source.input_name, source.shape, source.layers[0].kind) == ("input_1", (15, 6), name)


def test_live_keras_equals_its_files(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    layers = keras.layers

    def stack() -> list[Any]:
        return [
            layers.LSTM(4, return_sequences=True, dropout=0.1),
            layers.Dropout(0.2),
            layers.GRU(4, return_sequences=True, recurrent_activation="hard_sigmoid", name="gru_1"),
            layers.GRU(3, return_sequences=True, reset_after=False, name="gru"),
            layers.TimeDistributed(layers.Dense(4, activation="relu", name="per_step")),
            layers.TimeDistributed(layers.Activation("tanh")),
            layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode="ave"),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.SimpleRNN(3, return_sequences=True),
            layers.Flatten(),
            layers.Dense(4, "relu", name="dense_9"),
            layers.Dense(4, use_bias=False, name="dense"),
            layers.ReLU(negative_slope=0.1),
            layers.Dense(2, activation="softmax", name="out"),
        ]

    chained = [keras.Input((5, 3), name="inp"), *stack()]
    out = chained[0]
    for each in chained[1:]:
        out = each(out)
    built = keras.Sequential(stack()[:4])
    built.build((None, 5, 3))
    for i, model in enumerate((keras.Sequential([keras.Input((5, 3)), *stack()]), keras.Model(chained[0], out), built)):
        source = from_keras(model)
        assert source.shape == (5, 3)
        for suffix in ("keras", "h5"):
            model.save(tmp_path / f"{i}.{suffix}")
            assert read_model(tmp_path / f"{i}.{suffix}") == source
        model.save_weights(tmp_path / f"{i}.weights.h5")
        (tmp_path / f"{i}.json").write_text(model.to_json())
        assert read_model(tmp_path / f"{i}.json", tmp_path / f"{i}.weights.h5") == source
        assert re.fullmatch(r"lstm(_\d+)?", source.layers[0].name)
