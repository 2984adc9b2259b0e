# SPDX-License-Identifier: Apache-2.0
"""Small projects of hls4ml with the answers of its emulator, made once and kept beside this file.

``python tests/quantization/hls4ml_projects/make.py keras3 | keras2 | pytorch | old`` in an environment with hls4ml,
that framework and g++ (``old``: hls4ml before 1.3.0 with Keras 2, whose projects alone are kept). Of each case there
is the file ``hls4ml_config.yml`` that hls4ml wrote, the model, and in ``answers.json`` inputs, outputs and all nodes
of the live model, so that the tests need none of these packages.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
SAMPLES = 12
#: Attributes that are objects of hls4ml and tell no numbers.
_OMITTED = ("config_cpp", "function_cpp", "include_header", "wrapped_layer", "line_buffer_codegen")


# --- Networks


def keras_cases() -> dict[str, Callable[[], tuple[Any, dict[str, Any], dict[str, Any]]]]:
    """Keras models with changes of their configuration and of the project, by the case's name."""
    import keras

    make, version = keras.layers, keras.__version__[0]

    def model(*layers: Any) -> Any:
        rng = np.random.default_rng(7)
        made = keras.Sequential([keras.Input((4, 3), name="inp"), *layers], name="net")
        for layer in made.layers:
            layer.set_weights([rng.normal(0, 0.6, w.shape).astype("float32") for w in layer.get_weights()])
        return made

    def plain() -> tuple[Any, dict[str, Any], dict[str, Any]]:
        net = model(make.GRU(2, name="rnn"), make.Dense(3, activation="softmax", name="out"))
        changes = {"rnn": {"static": False, "table_size": 512, "Strategy": "Resource", "ReuseFactor": np.int64(2)}}
        return net, changes, {}

    def dense() -> tuple[Any, dict[str, Any], dict[str, Any]]:
        return model(make.Flatten(name="flat"), make.Dense(3, activation="sigmoid", name="fc")), {}, {}

    def activation() -> tuple[Any, dict[str, Any], dict[str, Any]]:
        net = model(make.LSTM(2, name="rnn"), make.Dense(3, name="fc"), make.Activation("tanh", name="activation"))
        return net, {"activation": {"table_t": "ap_fixed<12,2>"}}, {"backend": "Vitis", "io_type": "io_stream"}

    def softmax_steps() -> tuple[Any, dict[str, Any], dict[str, Any]]:
        gru = make.GRU(2, return_sequences=True, name="rnn")
        return model(gru, make.Dense(3, activation="softmax", name="out")), {"out": {"Precision": "ap_fixed<14,5>"}}, {}

    def softmax_layer() -> tuple[Any, dict[str, Any], dict[str, Any]]:
        return model(make.GRU(2, return_sequences=True, name="rnn"), make.Softmax(name="out")), {}, {}

    def prelu() -> tuple[Any, dict[str, Any], dict[str, Any]]:
        return model(make.GRU(3, name="rnn"), make.PReLU(name="slopes")), {}, {}

    def time_distributed() -> tuple[Any, dict[str, Any], dict[str, Any]]:
        inner = make.TimeDistributed(make.Dense(2, name="inner"), name="td")
        return model(make.GRU(2, return_sequences=True, name="rnn"), inner), {}, {}

    def lost_activation() -> tuple[Any, dict[str, Any], dict[str, Any]]:
        inner = make.TimeDistributed(make.Dense(2, activation="relu", name="inner"), name="td")
        return model(make.GRU(2, return_sequences=True, name="rnn"), inner), {}, {}

    def relu_max() -> tuple[Any, dict[str, Any], dict[str, Any]]:
        return model(make.GRU(3, name="rnn"), make.ReLU(max_value=0.125, name="act")), {}, {}

    cases = {"plain": plain, "activation": activation, "softmax_steps": softmax_steps, "prelu": prelu}
    if OLD:
        # The oldest has no recurrent layers.
        cases = {"plain": plain, "dense": dense}
    elif version == "2":
        cases |= {"time_distributed": time_distributed, "lost_activation": lost_activation, "relu_max": relu_max}
    else:
        # Of Keras 2 it does not compile.
        cases["softmax_layer"] = softmax_layer
    return {f"keras{version}_{name}": case for name, case in cases.items()}


def pytorch_cases() -> dict[str, Callable[[], tuple[Any, dict[str, Any], dict[str, Any]]]]:
    """PyTorch modules likewise."""
    import torch
    from torch import nn

    torch.manual_seed(7)

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(3, 2, batch_first=True)
            self.act = nn.Sequential(nn.LeakyReLU(), nn.Sigmoid())

        def forward(self, x: Any) -> Any:
            return self.act(self.rnn(x)[0][:, -1])

    class All(Last):
        def forward(self, x: Any) -> Any:
            return self.act(self.rnn(x)[0])

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(3, 2, batch_first=True)
            self.head = nn.Sequential(nn.Linear(2, 3), nn.ReLU())

        def forward(self, x: Any) -> Any:
            return self.head(self.rnn(x)[0][:, -1])

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(3, 2, batch_first=True)
            self.flat = nn.Flatten()
            self.fc = nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            return self.fc(self.flat(self.rnn(x)[0]))

    changes = {"act_1": {"TableSize": 256}}
    return {
        "pytorch_last": lambda: (Last(), changes, {}),
        "pytorch_all": lambda: (All(), changes, {}),
        "pytorch_head": lambda: (Head(), {"head_0": {"Precision": {"result": "ap_fixed<14,5>"}}}, {}),
        "pytorch_flat": lambda: (Flat(), {}, {}),
    }


# --- What is kept


def record(model: Any) -> dict[str, Any]:
    """The nodes of a live model and what is asked of its project, as JSON has it."""
    nodes = []
    for node in model.get_layers():
        shape = [int(size) for size in node.get_output_variable().shape]
        read = {key: _value(value) for key, value in node.attributes.attributes.items() if key not in _OMITTED}
        nodes.append({
            "name": node.name, "class": node.class_name, "inputs": node.inputs, "outputs": node.outputs,
            "shape": shape, "attributes": read,
        })  # fmt: skip
    options = model.config.config["HLSConfig"].get("Model", {}).get("ChannelsLastConversion")
    return {"io": model.config.get_config_value("IOType"), "nodes": nodes, "channels_last": options}


def _value(value: Any) -> Any:
    if hasattr(value, "precision"):
        return {"precision": str(value.precision)}
    if hasattr(value, "data") and hasattr(value, "shape") and hasattr(value, "type"):
        return {"data": np.asarray(value.data, dtype=np.float64).tolist()}
    if isinstance(value, np.ndarray):
        return None
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, int | float | str | bool | list | tuple | None):
        return value
    return {"shape": [int(size) for size in value.shape]} if hasattr(value, "shape") else None


def convert(name: str, net: Any, changes: dict[str, Any], project: dict[str, Any], folder: Path) -> Any:
    """The hls4ml model of a case."""
    import hls4ml

    backend = project.get("backend", "Vivado")
    if name.startswith("pytorch"):
        config = hls4ml.utils.config_from_pytorch_model(
            net, (4, 3), granularity="name", backend=backend, channels_last_conversion="off", transpose_outputs=False
        )
        convert_from = hls4ml.converters.convert_from_pytorch_model
    else:
        config = hls4ml.utils.config_from_keras_model(net, granularity="name", **({} if OLD else {"backend": backend}))
        convert_from = hls4ml.converters.convert_from_keras_model
    for layer, entry in changes.items():
        config["LayerName"].setdefault(layer, {}).update(entry)
    return convert_from(net, hls_config=config, output_dir="prj", project_name="net", **project)


OLD = False


def main(which: str) -> None:
    """Make the cases of one front end."""
    global OLD
    OLD = which == "old"
    import hls4ml

    cases = pytorch_cases() if which == "pytorch" else keras_cases()
    if OLD:
        cases = {f"{name}_{hls4ml.__version__.replace('.', '_')}": case for name, case in cases.items()}
    answers_file = HERE / "answers.json"
    answers = json.loads(answers_file.read_text()) if answers_file.is_file() else {}
    rng = np.random.default_rng(3)
    x = np.round(rng.normal(0, 1.5, (SAMPLES, 4, 3)) * 4096) / 4096
    for name, case in cases.items():
        with tempfile.TemporaryDirectory() as temporary, contextlib.chdir(temporary):
            net, changes, project = case()
            with contextlib.redirect_stdout(io.StringIO()):
                model = convert(name, net, changes, project, Path("prj"))
                model.write()
                shutil.copy("prj/hls4ml_config.yml", HERE / f"{name}.yml")
                if OLD:
                    print(name, file=sys.stderr)
                    continue
                model._compile()
                y = np.asarray(model.predict(np.ascontiguousarray(x)))
            answers[name] = {**record(model), "x": x.tolist(), "y": y.reshape(SAMPLES, -1).tolist()}
            if which == "pytorch":
                state = {key: value.tolist() for key, value in net.state_dict().items()}
                answers[name]["state"] = state
            else:
                net.save(HERE / f"{name}.{'h5' if which == 'keras2' else 'keras'}")
            print(name, y.shape, file=sys.stderr)
    answers_file.write_text(json.dumps(dict(sorted(answers.items())), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
