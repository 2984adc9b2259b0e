# SPDX-License-Identifier: Apache-2.0
"""What fxsim is measured against: hls4ml's emulator, onnxruntime and numpy, each built from one ``Source``.

They know chains of LSTM and GRU (reset after) that give their last step, Dense, and a few activation functions: what
the trained networks have. Packages are imported by the functions that need them: all of them are optional.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fxsim
from fxsim.importers.source import GRU, LSTM, Activation, Dense, Source, SourceLayer

Batch = NDArray[Any]
Predict = Callable[[Batch], Batch]

#: Activation functions by their names in ONNX, and computed in the precision of their argument.
_ONNX = {"linear": "Identity", "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softmax": "Softmax"}
_NUMPY: dict[str, Predict] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 0.5 + 0.5 * np.tanh(0.5 * x),  # cannot overflow, and quicker than exp
    "tanh": np.tanh,
    "softmax": lambda x: (e := np.exp(x - x.max(axis=-1, keepdims=True))) / e.sum(axis=-1, keepdims=True),
}


#: The packages that a contender needs beside fxsim's own.
_NEEDS = {"hls4ml": ("keras", "hls4ml.converters"), "onnxruntime": ("onnx", "onnxruntime")}


def available(name: str) -> bool:
    """Whether the contender's packages are installed; they are imported."""
    with _quiet():
        try:
            for package in _NEEDS.get(name, ()):
                importlib.import_module(package)
        except ImportError:
            return False
    return True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress and the warnings that other packages print."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def hls4ml_config(precision: str) -> dict[str, Any]:
    """hls4ml's configuration that preset ``hls4ml`` makes of a precision."""
    return {"Model": {"Precision": {"default": precision}, "ReuseFactor": 1, "Strategy": "Latency"}}


def hls4ml(source: Source, precision: str, folder: str | os.PathLike[str]) -> Predict:
    """hls4ml's emulator, compiled in ``folder`` by its own script; takes and gives float64."""
    from hls4ml.converters import convert_from_keras_model

    with _quiet():
        model = convert_from_keras_model(
            _keras(source), hls_config=hls4ml_config(precision), output_dir=str(folder), project_name="peer",
            backend="Vivado", io_type="io_parallel",
        )  # fmt: skip
        model.compile()
    return lambda x: np.asarray(model.predict(x)).reshape(len(x), -1)


def _keras(source: Source) -> Any:
    """The network as a live Keras model. (Keras 3 refuses the files of some versions before it.)"""
    import keras

    layers: list[Any] = [keras.Input(source.shape, name=source.input_name)]
    weights: list[Any] = []
    for layer in source.layers:
        own = layer.weights
        if isinstance(layer, Activation):
            layers.append(keras.layers.Activation(layer.function.name, name=layer.name))
            weights.append([])
        elif isinstance(layer, Dense):
            layers.append(keras.layers.Dense(layer.units, name=layer.name))
            weights.append([own["kernel"], own["bias"]])
        else:
            cell = _known(layer)
            kind = keras.layers.LSTM if isinstance(cell, LSTM) else keras.layers.GRU
            layers.append(kind(cell.units, "tanh", "sigmoid", name=cell.name))
            bias = own["bias"] if isinstance(cell, LSTM) else np.stack([own["bias"], own["recurrent_bias"]])
            weights.append([own["kernel"], own["recurrent_kernel"], bias])
    model = keras.Sequential(layers)
    for layer, values in zip(model.layers, weights, strict=True):
        layer.set_weights(values)
    return model


def onnxruntime(source: Source, threads: int) -> Predict:
    """onnxruntime in float32 on ``threads`` threads."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(_onnx(source), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def _onnx(source: Source) -> bytes:
    """The network as an ONNX model with ONNX's own LSTM and GRU, input "x" (batch, steps, features)."""
    from onnx import TensorProto, checker, helper, numpy_helper

    nodes: list[Any] = []
    constants: list[Any] = []

    def constant(value: Any, dtype: type = np.float32) -> str:
        name = f"w{len(constants)}"
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype), name))
        return name

    def node(op: str, *inputs: str, outputs: tuple[str, ...] = (), **attributes: Any) -> str:
        names = outputs or (f"v{len(nodes)}",)
        nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names[-1]

    flow = "x"
    for layer in source.layers:
        if isinstance(layer, Activation):
            flow = node(_ONNX[layer.function.name], flow)
        elif isinstance(layer, Dense):
            flow = node("Gemm", flow, constant(layer.weights["kernel"]), constant(layer.weights["bias"]))
        else:
            op, units = "LSTM" if isinstance(_known(layer), LSTM) else "GRU", layer.weights["recurrent_kernel"].shape[0]
            # Gates of Keras: i f g o and z r h; of ONNX: i o f g and z r h.
            order = (0, 3, 1, 2) if op == "LSTM" else (0, 1, 2)
            columns = np.concatenate([np.arange(units) + units * gate for gate in order])
            zero = np.zeros(len(columns))
            biases = [layer.weights["bias"][columns], layer.weights.get("recurrent_bias", zero)[columns]]
            arrays = [layer.weights["kernel"].T[columns], layer.weights["recurrent_kernel"].T[columns]]
            more = {"linear_before_reset": 1} if op == "GRU" else {}
            steps = node("Transpose", flow, perm=[1, 0, 2])
            inputs = [steps, *(constant(array[None]) for array in arrays), constant(np.concatenate(biases)[None])]
            last = node(op, *inputs, outputs=("", f"last{len(nodes)}"), hidden_size=units, **more)
            flow = node("Squeeze", last, constant([0], np.int64))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, source.name, [value("x", TensorProto.FLOAT, ["batch", *source.shape])],
        [value(flow, TensorProto.FLOAT, ["batch", "outputs"])], constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def numpy(source: Source) -> Predict:
    """numpy in float32, a batch at a time, one product with the inputs and one with the state for every step."""
    steps = [_numpy_layer(layer) for layer in source.layers]

    def predict(x: Batch) -> Batch:
        for step in steps:
            x = step(x)
        return x

    return predict


def _numpy_layer(layer: SourceLayer) -> Predict:
    if isinstance(layer, Activation):
        return _NUMPY[layer.function.name]
    weights = {name: value.astype(np.float32) for name, value in layer.weights.items()}
    kernel, bias = weights["kernel"], weights["bias"]
    if isinstance(layer, Dense):
        return lambda x: x @ kernel + bias
    cell = _known(layer)
    matrix, sigmoid, units = weights["recurrent_kernel"], _NUMPY["sigmoid"], len(weights["recurrent_kernel"])

    def lstm(x: Batch) -> Batch:
        h = c = np.zeros((len(x), units), np.float32)
        for t in range(x.shape[1]):
            i, f, g, o = np.split(x[:, t] @ kernel + h @ matrix + bias, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        return h

    def gru(x: Batch) -> Batch:
        h = np.zeros((len(x), units), np.float32)
        for t in range(x.shape[1]):
            wx, uh = x[:, t] @ kernel + bias, h @ matrix + weights["recurrent_bias"]
            z, r = np.split(sigmoid(wx[:, : 2 * units] + uh[:, : 2 * units]), 2, axis=1)
            g = np.tanh(wx[:, 2 * units :] + r * uh[:, 2 * units :])
            h = g + z * (h - g)
        return h

    return lstm if isinstance(cell, LSTM) else gru


def _known(layer: SourceLayer) -> LSTM | GRU:
    """The layer, if it is a recurrent one that this module writes down; others are refused."""
    match layer:
        case LSTM() | GRU(reset_after=True) if not layer.return_sequences:
            if (layer.activation.name, layer.recurrent_activation.name) == ("tanh", "sigmoid"):
                return layer
    raise fxsim.FxsimError(f"layer {layer.name!r}: must be an LSTM or GRU with tanh, sigmoid and one result")


def multiply_adds(source: Source) -> int:
    """Multiplications of a weight with a value for one sequence."""
    steps = source.shape[0]
    total = 0
    for layer in source.layers:
        recurrent = isinstance(layer, LSTM | GRU)
        matrices = sum(value.size for name, value in layer.weights.items() if name.endswith("kernel"))
        total += matrices * (steps if recurrent else 1)
    return total
