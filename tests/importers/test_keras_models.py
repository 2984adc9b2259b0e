# SPDX-License-Identifier: Apache-2.0
"""What a Keras model's config may say: models inside models, options with and without effect, all obstacles at once."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from test_importers import (
    LEGAL_CELL,
    SMALL,
    dense,
    dense_weights,
    functional,
    gru,
    gru_weights,
    inputs,
    layer,
    live,
    lstm,
    lstm_weights,
    ramp,
    refused,
    refused_file,
    sequential,
    write_h5,
)

from fxsim.errors import ModelError
from fxsim.importers import read_model
from fxsim.importers.keras import source_from_contents
from fxsim.importers.keras_files import Contents
from fxsim.importers.keras_layers import MERGES
from fxsim.importers.keras_options import CELLS, LAYERS, Options
from fxsim.importers.keras_weights import Live
from fxsim.importers.source import Source
from fxsim.study.floating import predict

DOCS = Path(__file__).resolve().parents[2] / "docs" / "models.md"


def obstacles(config: dict[str, Any], steps: int | None = None, **weights: list[np.ndarray]) -> tuple[str, ...]:
    with pytest.raises(ModelError) as caught:
        source_from_contents(Contents(config, 2, Live(weights)), steps)
    assert "\n" not in str(caught.value)
    return caught.value.obstacles


def with_steps(config: dict[str, Any], steps: int | None, **weights: list[np.ndarray]) -> Source:
    return source_from_contents(Contents(config, 2, Live(weights)), steps)


def model(name: str, *layers: dict[str, Any], **extra: Any) -> dict[str, Any]:
    """A Sequential model as a layer."""
    return {"class_name": "Sequential", "config": {"name": name, "layers": [*layers], **extra}}


# --- All obstacles at once


def test_every_obstacle_is_named() -> None:
    config = sequential(
        layer("Masking", "mask", mask_value=0.0),
        layer("Conv1D", "c1", filters=3),
        layer("LayerNormalization", "n1", axis=-1),
        layer("Conv1D", "c2", filters=3),
        lstm("r", units=0, stateful=True, activation="gelu", peephole=1),
        layer("TimeDistributed", "td", layer=layer("Lambda", "f", function="x")),
        dense("d", activation={"class_name": "function", "config": "mine"}, use_bias=7),
        shape=(None, 3),
    )
    td = "layer 'td' (TimeDistributed): option"
    assert obstacles(config) == (
        "layer 'inp': the length of a sequence is left open; give it as steps= (--steps)",
        "layer 'mask' is a Masking, which leaves out steps; fxsim computes every step of a sequence",
        "layers 'c1', 'c2' are Conv1D, which fxsim does not import",
        "layer 'n1' is a LayerNormalization, which fxsim does not import",
        "layer 'r' (LSTM): option 'stateful' must be False, not True",
        "layer 'r' (LSTM): option 'peephole' is not known to fxsim, which reads or refuses all",
        "layer 'r' (LSTM): option 'units' must be an integer from 1 to 1048576, not 0",
        f"layer 'r' (LSTM): option 'activation' must be one of {LEGAL_CELL}, not 'gelu'",
        f"{td} 'layer' is a 'Lambda'; it must be a Dense, an activation or a model of these",
        "layer 'd' (Dense): option 'use_bias' must be True or False, not 7",
        "layer 'd' (Dense): option 'activation' is the Python function 'mine', which fxsim does not run",
    )  # fmt: skip


def test_the_message_lists_them_in_one_line() -> None:
    config = sequential(lstm(stateful=True), layer("Lambda", "f"))
    refused(
        "2 obstacles: (1) layer 'lstm' (LSTM): option 'stateful' must be False, not True "
        "(2) layer 'f' is a Lambda, whose function is Python code, which fxsim does not run",
        config,
    )
    many = obstacles(sequential(*(lstm(f"r{k}", stateful=True, return_sequences=True) for k in range(14))))
    assert len(many) == 14
    assert str(ModelError(*many)).startswith("14 obstacles: (1) layer 'r0' (LSTM)")
    assert str(ModelError(*many)).endswith("not True and 1 more")
    assert len(str(ModelError(*many))) < 1000
    same = obstacles(sequential(*(layer("Conv1D", f"c{k}") for k in range(14))))
    assert same == ("layers 'c0', 'c1', 'c2', 'c3' and 10 more are Conv1D, which fxsim does not import",)


def test_errors_survive_a_process_border() -> None:
    error = ModelError("one", "two", where="'m.keras'")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.obstacles) == ("'m.keras': 2 obstacles: (1) one (2) two", ("one", "two"))


def test_a_shape_in_doubt_accuses_nobody() -> None:
    """Behind a layer that is not known, nothing is said about shapes."""
    for unknown in (layer("Conv1D", "c"), lstm("c", units=None), layer("Reshape", "c", target_shape=[5])):
        config = sequential(unknown, layer("Softmax", "s", axis=1), layer("Reshape", "r", target_shape=[7]), lstm())
        assert len(obstacles(config)) == 1
    config = sequential(lstm(stateful=True), layer("Softmax", "s", axis=7))
    assert len(obstacles(config)) == 2


def test_obstacles_of_a_graph_come_with_those_of_its_layers() -> None:
    config = functional(lstm(stateful=True), dense("a", 2), layer("Lambda", "b"))
    layers = config["config"]["layers"]
    layers[3]["inbound_nodes"] = [[["a", 0, 0, {}], ["lstm", 0, 0, {}]]]
    config["config"]["output_layers"] = [["a", 0, 0], ["b", 0, 0]]
    assert obstacles(config) == (
        "layer 'lstm' (LSTM): option 'stateful' must be False, not True",
        "layer 'b' is a Lambda, whose function is Python code, which fxsim does not run",
    )


def test_all_weights_that_do_not_fit_are_named() -> None:
    bad = {"lstm": [ramp(3, 7), ramp(2, 8), ramp(8)], "dense": [ramp(2, 3).astype(int), ramp(4)]}
    assert obstacles(SMALL, **bad) == (
        "layer 'lstm': weight 'kernel' has shape (3, 7), expected (3, 8)",
        "layer 'dense': weight 'kernel' has type 'int64', expected float32 or float64",
        "layer 'dense': weight 'bias' has shape (4,), expected (3,)",
    )


# --- Steps


def test_steps() -> None:
    config = sequential(lstm(), shape=(None, 3))
    assert with_steps(config, 7, lstm=lstm_weights()).shape == (7, 3)
    assert with_steps(config, np.int64(7), lstm=lstm_weights()).shape == (7, 3)
    assert with_steps(sequential(lstm()), 4, lstm=lstm_weights()).shape == (4, 3)
    assert obstacles(sequential(lstm()), 5) == ("layer 'inp': steps must be 4, as in the model, not 5",)
    message = "layer 'inp': steps are for a model of sequences, not 5"
    assert obstacles(sequential(dense(), shape=(3,)), 5) == (message,)
    for bad in (0, -1, 1 << 40, 2.5, True, "7"):
        with pytest.raises(ValueError, match=r"^steps must be an integer from 1 to 1048576, not "):
            with_steps(config, bad)  # type: ignore[arg-type]
    flat = sequential(lstm(return_sequences=True), layer("Flatten", "f"), dense(units=2), shape=(None, 3))
    found = with_steps(flat, 5, lstm=lstm_weights(), dense=dense_weights(10, 2))
    assert found.layers[-1].weights["kernel"].shape == (10, 2)


# --- Models inside models


INNER = model("body", inputs(4, 3), lstm("rnn", return_sequences=True), model("deep", gru("rnn", reset_after=True)))
INNER_WEIGHTS = {"body/rnn": lstm_weights(), "body/deep/rnn": gru_weights(2), "dense": dense_weights()}


def test_models_inside_are_inlined() -> None:
    source = live(sequential(INNER, dense(activation="relu")), **INNER_WEIGHTS)
    assert [entry.name for entry in source.layers] == ["body/rnn", "body/deep/rnn", "dense", "dense_relu"]
    flat = live(
        sequential(lstm("a", return_sequences=True), gru("b", reset_after=True), dense(activation="relu")),
        a=lstm_weights(), b=gru_weights(2), dense=dense_weights(),
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(3, 4, 3))
    assert np.array_equal(predict(source, x), predict(flat, x))


def test_models_inside_functional_models() -> None:
    inner = functional(lstm("rnn"), dense("head"))
    inner["config"]["name"] = "body"
    for keras3, nodes in ((False, (0, 1)), (True, (0, 1))):
        for node in nodes:
            config = functional(inner, dense(units=1), keras3=keras3)
            for entry in config["config"]["layers"][2:]:
                where: Any = entry["inbound_nodes"][0]
                tensor = where["args"][0]["config"]["keras_history"] if keras3 else where[0]
                tensor[1] = node
            weights = {"body/rnn": lstm_weights(), "body/head": dense_weights(), "dense": dense_weights(3, 1)}
            assert [entry.name for entry in live(config, **weights).layers] == ["body/rnn", "body/head", "dense"]
    config = functional(lstm(), dense(units=1))
    config["config"]["layers"][2]["inbound_nodes"][0][0][1] = 1
    message = "layer 'dense': its input ['lstm', 1, 0] must be a result of that layer, which is called 1 times"
    refused(message, config)


def test_names_of_models_inside_meet_those_outside() -> None:
    config = sequential(
        model("a", dense("b")), dense("a/b", 3), layer("Flatten", "f"), model("c", dense("d", activation="relu")),
        layer("ReLU", "d_relu", negative_slope=0.0), shape=(3,),
    )  # fmt: skip
    with pytest.raises(ModelError, match=r"^there are weights of a layer 'x' that the model does not have$"):
        live(config, x=dense_weights())
    config["config"]["layers"][2]["config"]["name"] = "a-b"
    weights = {"a/b": dense_weights(3), "a-b": dense_weights(3), "c/d": dense_weights(3)}
    names = [entry.name for entry in live(config, **weights).layers]
    assert names == ["a/b", "a-b", "f", "c/d", "c/d_relu", "d_relu"]


def test_an_input_of_a_model_inside_must_fit() -> None:
    inner = model("body", inputs(5, 3), lstm())
    refused("model 'body': its input is [None, 5, 3], what comes is [None, 4, 3]", sequential(inner))
    open_inner = model("body", inputs(None, 3), lstm())
    assert live(sequential(open_inner), **{"body/lstm": lstm_weights()}).shape == (4, 3)
    assert obstacles(sequential(model("m", lstm(stateful=True), layer("Lambda", "f")))) == (
        "layer 'm/lstm' (LSTM): option 'stateful' must be False, not True",
        "layer 'm/f' is a Lambda, whose function is Python code, which fxsim does not run",
    )
    deep = lstm()
    for level in range(12):
        deep = model(f"m{level}", deep)
    assert "nested too deep" in obstacles(sequential(deep))[0]


def test_the_shape_may_stand_in_the_model_inside() -> None:
    config = model("net", model("body", inputs(4, 3), lstm()), dense())
    source = live(config, **{"body/lstm": lstm_weights(), "dense": dense_weights()})
    assert (source.shape, source.input_name) == ((4, 3), "body_input")


def test_on_every_step() -> None:
    each = model("each", inputs(3), dense("one", activation="relu"), layer("Flatten", "flat"), dense("two", 2))
    config = sequential(layer("TimeDistributed", "td", layer=each), lstm())
    weights = {"each/one": dense_weights(3), "each/two": dense_weights(3, 2), "lstm": lstm_weights(2)}
    source = live(config, **weights)
    assert [entry.name for entry in source.layers] == ["each/one", "each/one_relu", "each/two", "lstm"]
    wrong = model("each", lstm("r", return_sequences=True))
    assert obstacles(sequential(layer("TimeDistributed", "td", layer=wrong))) == (
        "layer 'td' (TimeDistributed): 'r' in its model is a LSTM, which is not for one step",
    )


# --- Weights of models inside, in the order of Keras 2


def write_group(path: Path, config: dict[str, Any], keys: list[str], arrays: list[np.ndarray]) -> Path:
    write_h5(path, config, dense=dense_weights())
    with h5py.File(path, "r+") as file:
        group = file["model_weights"]
        group.attrs["layer_names"] = [b"body", b"dense"]
        body = group.create_group("body")
        body.attrs["weight_names"] = [key.encode() for key in keys]
        for key, array in zip(keys, arrays, strict=True):
            body.create_dataset(key, data=array)
    return path


def test_frozen_weights_stand_behind_the_others(tmp_path: Path) -> None:
    one, two = dense("one", 3), dense("two", 3)
    keys = ["one/kernel:0", "one/bias:0", "two/kernel:0", "two/bias:0"]
    arrays = [*dense_weights(3), *(array + 1 for array in dense_weights(3))]
    for frozen, order in ((None, (0, 1, 2, 3)), (two, (0, 1, 2, 3)), (one, (2, 3, 0, 1))):
        first, second = copy.deepcopy(one), copy.deepcopy(two)
        for entry in (first, second):
            entry["config"]["trainable"] = frozen is None or entry["config"]["name"] != frozen["config"]["name"]
        config = sequential(model("body", first, second), dense(units=3), shape=(3,))
        path = tmp_path / "m.h5"
        write_group(path, config, [keys[k] for k in order], [arrays[k] for k in order])
        with h5py.File(path, "r+") as file:
            del file["model_weights/dense/dense/cell/kernel:0"]
            file["model_weights/dense/dense/cell/kernel:0"] = ramp(3, 3)
        source = read_model(path)
        for k, entry in enumerate(source.layers[:2]):
            assert np.array_equal(entry.weights["kernel"], arrays[2 * k])
        if frozen is one:
            # Another order than that of the config's flags would be silently wrong.
            write_group(path, config, keys, arrays)
            refused_file(
                "layer 'body': the weights 'one/kernel:0' stand where those of 'two' must be, not of 'one'", path
            )


# --- CuDNN


def cudnn_config(class_name: str, name: str, units: int = 2, **extra: Any) -> dict[str, Any]:
    options = {"units": units, "return_sequences": False, "return_state": False, "stateful": False}
    return layer(class_name, name, **options, go_backwards=False, kernel_initializer={}, **extra)


def to_cudnn(kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray, gates: int) -> list[np.ndarray]:
    """Keras' weights in CuDNN's layout, by the definition in Keras 2's hdf5_format.py."""
    parts = [
        np.hstack([part.T.reshape(part.shape, order="C") for part in np.hsplit(kernel, gates)]),
        np.hstack([part.T for part in np.hsplit(recurrent, gates)]),
    ]
    return [*parts, np.tile(0.5 * bias, 2) if gates == 4 else bias.reshape(-1)]


def test_cudnn_weights_are_brought_into_keras_order() -> None:
    plain = live(sequential(lstm("r")), r=lstm_weights())
    for config in (lstm("r"), cudnn_config("CuDNNLSTM", "r")):
        for weights in (lstm_weights(), to_cudnn(*lstm_weights(), 4)):
            assert live(sequential(config), r=weights) == plain
    plain = live(sequential(gru("r", reset_after=True)), r=gru_weights())
    for config in (gru("r", reset_after=True), gru("r"), cudnn_config("CuDNNGRU", "r")):
        for weights in (gru_weights(), to_cudnn(*gru_weights(), 3)):
            assert live(sequential(config), r=weights) == plain
    refused(
        "layer 'r': weight 'bias' has shape (12,), expected (6,)",
        sequential(gru("r", reset_after=False)), r=to_cudnn(*gru_weights(), 3),
    )  # fmt: skip
    refused(
        "layer 'r' (CuDNNLSTM): option 'activation' is not known to fxsim, which reads or refuses all",
        sequential(cudnn_config("CuDNNLSTM", "r", activation="relu")),
    )


def test_biases_of_cudnn_are_added_as_keras_adds_them() -> None:
    one, two = np.float32(1 / 3) * np.arange(1, 9, dtype=np.float32), np.float32(1e-4) * np.ones(8, np.float32)
    weights = to_cudnn(*lstm_weights(), 4)
    weights[2] = np.concatenate([one, two])
    (found,) = live(sequential(lstm("r")), r=weights).layers
    assert np.array_equal(found.weights["bias"], one + two)
    weights[2] = weights[2].astype(np.float64) / 3
    (found,) = live(sequential(lstm("r")), r=weights).layers
    assert np.array_equal(found.weights["bias"], weights[2][:8] + weights[2][8:])


# --- Options


#: A layer of each class with the options that it needs, on an input of (4, 3), and its weights.
COMPLETE: dict[str, tuple[dict[str, Any], list[np.ndarray]]] = {
    "LSTM": (lstm("x"), lstm_weights()),
    "GRU": (gru("x", reset_after=True), gru_weights()),
    "SimpleRNN": (
        layer("SimpleRNN", "x", units=2, activation="tanh", use_bias=True, return_sequences=False, go_backwards=False),
        [ramp(3, 2), ramp(2, 2), ramp(2)],
    ),
    "CuDNNLSTM": (cudnn_config("CuDNNLSTM", "x"), lstm_weights()),
    "CuDNNGRU": (cudnn_config("CuDNNGRU", "x"), gru_weights()),
    "RNN": (
        layer("RNN", "x", return_sequences=False, go_backwards=False, cell=layer(
            "LSTMCell", "c", units=2, activation="tanh", recurrent_activation="sigmoid", use_bias=True)),
        lstm_weights(),
    ),
    "Bidirectional": (layer("Bidirectional", "x", merge_mode="sum", layer=lstm("r")), lstm_weights() * 2),
    "TimeDistributed": (layer("TimeDistributed", "x", layer=layer("Activation", "t", activation="tanh")), []),
    "Dense": (dense("x"), dense_weights(3)),
    "Activation": (layer("Activation", "x", activation="tanh"), []),
    "ReLU": (layer("ReLU", "x", negative_slope=0.0), []),
    "LeakyReLU": (layer("LeakyReLU", "x", alpha=0.5), []),
    "ThresholdedReLU": (layer("ThresholdedReLU", "x", theta=0.5), []),
    "ELU": (layer("ELU", "x", alpha=0.5), []),
    "PReLU": (layer("PReLU", "x", shared_axes=[1]), [ramp(1, 3)]),
    "Softmax": (layer("Softmax", "x", axis=-1), []),
    "Flatten": (layer("Flatten", "x"), []),
    "Reshape": (layer("Reshape", "x", target_shape=[-1]), []),
    "RepeatVector": (layer("RepeatVector", "x", n=3), []),
    "BatchNormalization": (
        layer("BatchNormalization", "x", axis=[-1], epsilon=0.01, scale=True, center=True),
        [ramp(3), ramp(3), ramp(3), np.abs(ramp(3)) + 1],
    ),
    "Concatenate": (layer("Concatenate", "x", axis=-1), []),
    **{name: (layer(name, "x"), []) for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")},
    **{name: (layer(name, "x"), []) for name in (
        "Dropout", "SpatialDropout1D", "AlphaDropout", "GaussianNoise", "GaussianDropout", "ActivityRegularization",
        "Identity", "Cast",
    )},
}  # fmt: skip
#: Options that may be missing, because some version of Keras does not write them.
OPTIONAL = {"go_backwards", "backward_layer", "reset_after", "negative_slope", "alpha", "shared_axes"}
#: Those of every layer.
COMMON = {"name", "dtype", "batch_input_shape", "batch_shape", "input_shape"}


def with_layer(config: dict[str, Any], weights: list[np.ndarray]) -> Source:
    tail = layer("Activation", "tail", activation="tanh")
    if config["class_name"] in MERGES:
        whole = functional(config, tail)
        whole["config"]["layers"][1]["inbound_nodes"] = [[["inp", 0, 0, {}], ["inp", 0, 0, {}]]]
        return live(whole)
    before = [layer("Flatten", "flat")] if config["class_name"] == "RepeatVector" else []
    return live(sequential(*before, config, tail), **({"x": weights} if weights else {}))


@pytest.mark.parametrize("class_name", COMPLETE)
def test_every_option_is_read_or_refused(class_name: str) -> None:
    config, weights = COMPLETE[class_name]
    spec = LAYERS[class_name]
    want = with_layer(config, weights)

    def changed(key: str, value: object) -> dict[str, Any]:
        return {**config, "config": {**config["config"], key: value}}

    for key in spec.ignored | {"trainable", "activity_regularizer", "build_config", "batch_input_shape", "input_shape"}:
        assert with_layer(changed(key, [None, 77, "anything"]), weights) == want, key
    for key, legal in spec.only.items():
        for value in legal:
            assert with_layer(changed(key, value), weights) == want, key
        with pytest.raises(ModelError, match=rf"option '{key}' must be "):
            with_layer(changed(key, "other"), weights)
    for key in spec.used - COMMON:
        with pytest.raises(ModelError):
            with_layer(changed(key, ["other"]), weights)
        short = {name: value for name, value in config["config"].items() if name != key}
        if key not in OPTIONAL:
            with pytest.raises(ModelError, match=rf"option '{key}' is missing"):
                with_layer({**config, "config": short}, weights)
    with pytest.raises(ModelError, match=r"option 'other' is not known to fxsim"):
        with_layer(changed("other", None), weights)


def test_every_class_is_tried() -> None:
    assert {*COMPLETE, "InputLayer"} == set(LAYERS)


@pytest.mark.parametrize(
    ("dtype", "legal"),
    [
        ("float32", True),
        ("mixed_float16", True),
        ("mixed_bfloat16", True),
        ({"class_name": "DTypePolicy", "module": "keras", "config": {"name": "mixed_float16"}}, True),
        ({"class_name": "Policy", "config": {"name": "mixed_bfloat16"}}, True),
        ({"class_name": "DTypePolicyMap", "config": {"default_policy": "mixed_float16", "policy_map": {}}}, True),
        ({"class_name": "DTypePolicyMap", "config": {"default_policy": "float32", "policy_map": {"a": 1}}}, False),
        ({"class_name": "QuantizedDTypePolicy", "config": {"mode": "int8"}}, False),
        ("bfloat16", False),
        ("int8_from_float32", False),
        ("int32", False),
        (7, False),
    ],
)
def test_policies(dtype: object, legal: bool) -> None:
    options = Options("LSTM", "r", {"dtype": dtype})
    assert bool(options.notes.problems) is not legal


def test_stacked_cells() -> None:
    def a_cell(class_name: str, name: str, units: int, **extra: Any) -> dict[str, Any]:
        gates = {} if class_name == "SimpleRNNCell" else {"recurrent_activation": "sigmoid"}
        return layer(class_name, name, units=units, activation="tanh", use_bias=True, **gates, **extra)

    cells = [a_cell("LSTMCell", "a", 2), a_cell("GRUCell", "b", 2, reset_after=True), a_cell("SimpleRNNCell", "c", 2)]
    stack = layer("StackedRNNCells", "s", cells=cells)
    config = layer("RNN", "r", cell=stack, return_sequences=False, go_backwards=False)
    weights = [*lstm_weights(), *gru_weights(2), ramp(2, 2), ramp(2, 2), ramp(2)]
    found = live(sequential(config), r=weights).layers
    assert [(entry.name, entry.return_sequences) for entry in found] == [
        ("r/a", True), ("r/b", True), ("r/c", False),
    ]  # fmt: skip
    for bad, message in (
        (layer("Mine", "m"), "its cell is a 'Mine'; it must be one of LSTMCell, GRUCell, SimpleRNNCell, Stacked"),
        (layer("StackedRNNCells", "s", cells=[]), "option 'cells' must be a list of cells, not []"),
        (layer("StackedRNNCells", "s", cells=[stack]), "its cells must be LSTMCell, GRUCell or SimpleRNNCell"),
    ):
        text = obstacles(sequential(layer("RNN", "r", cell=bad, return_sequences=False)))
        assert message in text[0]
    two = layer("RNN", "r", cell=stack, return_sequences=False)
    text = obstacles(sequential(layer("Bidirectional", "b", merge_mode="sum", layer=two)))
    assert text == ("layer 'r' (RNN): it must have a single cell in a Bidirectional",)
    assert set(CELLS) == {"LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells"}


def test_the_page_of_models_lists_what_is_read() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for name in (*LAYERS, *CELLS):
        assert re.search(rf"\b{name}\b", text), name
    ignored = frozenset().union(*(spec.ignored for spec in LAYERS.values()))
    for key in ignored | {"trainable", "activity_regularizer", "build_config", "autocast"}:
        general = re.sub(r"^.*_(initializer|regularizer|constraint)$", r"…_\1", key)
        # `alpha`-like options of no effect would be a mistake; sizes of a batch and data formats are said in words.
        assert general in text or key in ("batch_size", "data_format"), key
