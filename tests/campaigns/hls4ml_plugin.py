# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin for hls4ml's own tests: each model that they predict with is computed by fxsim, too.

``pytest -p campaigns.hls4ml_plugin --fxsim-records FILE --fxsim-answers FOLDER`` in hls4ml's folder of tests. The
first call of ``predict`` of every model on Vivado and Vitis is compared twice: with ``from_hls4ml`` of the live model,
and with the network and the configuration that hls4ml wrote into its project (``hls4ml_config.yml``). Each model is a
line of JSON in FILE. Of a model that fxsim refuses both ways, the emulator is not compiled. With ``--fxsim-one-of N``
it is compiled in one of N tests, chosen by their names; graphs are made in all. Answers of the emulator are kept in
FOLDER by what they depend on (the generated C++, weights and inputs), so that a second run compiles nothing; random
numbers are seeded by the name of the test, so that it finds them.
"""

from __future__ import annotations

import hashlib
import json
import operator
import random
import sys
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fxsim

BACKENDS = ("Vivado", "Vitis")
#: Packages whose random numbers are seeded, with the function that does it.
_SEEDS = {"torch": "manual_seed", "tensorflow": "random.set_seed", "keras": "utils.set_random_seed"}
_FRONTS = ("PytorchModel", "OnnxModel", "KerasModel", "KerasJson", "KerasH5")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The two places."""
    parser.addoption("--fxsim-records", type=Path, help="file that gets a line of JSON for each model")
    parser.addoption("--fxsim-answers", type=Path, help="folder of the emulator's answers")
    parser.addoption("--fxsim-one-of", type=int, default=1, help="compile the emulator in one of so many tests")


def pytest_configure(config: pytest.Config) -> None:
    """Hook hls4ml's models."""
    records, answers, one_of = (config.getoption(f"--fxsim-{name}") for name in ("records", "answers", "one-of"))
    if records is not None and answers is not None:
        answers.mkdir(parents=True, exist_ok=True)
        config.pluginmanager.register(_Beside(records.resolve(), answers.resolve(), one_of), "fxsim-beside")


class _Beside:
    """fxsim beside hls4ml's ``ModelGraph``."""

    def __init__(self, records: Path, answers: Path, one_of: int) -> None:
        from hls4ml.model.graph import ModelGraph

        self._records, self._answers = records, answers
        self._test = ""
        self._compile, self._predict = ModelGraph._compile, ModelGraph.predict
        beside = self

        def compile(model: Any) -> None:
            """Write the project and read it; what compiles it is the first question that no answer is kept for."""
            if model.config.get_config_value("Backend") not in BACKENDS:
                pytest.skip("not a backend that fxsim follows")
            model.write()
            model._top_function_lib = None
            graphs = {way: _graph(make, model) for way, make in _WAYS.items()}
            if all("result" in graph for graph in graphs.values()):
                beside.write({**_facts(model), **graphs})
                pytest.skip("fxsim refuses it")
            if zlib.crc32(beside._test.encode()) % one_of:
                accepted = {"result": "not compared"}
                beside.write({**_facts(model), **{w: accepted if "graph" in g else g for w, g in graphs.items()}})
                pytest.skip("not one of those that are compared")
            model._fxsim_graphs = graphs

        def predict(model: Any, x: Any, *args: Any, **options: Any) -> Any:
            return beside.predict(model, x)

        ModelGraph.compile, ModelGraph.predict = compile, predict

    @pytest.fixture(autouse=True)
    def _seeded(self, request: pytest.FixtureRequest) -> None:
        self._test = request.node.nodeid.rpartition("/")[2]
        seed = zlib.crc32(self._test.encode())
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - what the tests draw from
        for module, function in _SEEDS.items():
            if module in sys.modules:
                operator.attrgetter(function)(sys.modules[module])(seed)

    def predict(self, model: Any, x: Any) -> Any:
        """The emulator's answer, compared with fxsim's if it is the model's first."""
        graphs, model._fxsim_graphs = getattr(model, "_fxsim_graphs", None), None
        if graphs:
            # What stays alone in the records ended the process.
            self.write({"begun": True})
        answer = self._answer(model, x)
        if graphs:
            self.write({**_facts(model), **{way: _outcome(graph, x, answer) for way, graph in graphs.items()}})
        return answer

    def _answer(self, model: Any, x: Any) -> Any:
        key = _key(model, x)
        kept = self._answers / f"{key}.npz"
        if kept.is_file():
            with np.load(kept) as file:
                parts = [file[name] for name in file.files]
                return parts if len(parts) > 1 else parts[0]
        if model._top_function_lib is None:
            script = Path(model.config.get_output_dir()) / "build_lib.sh"
            # Optimising takes longer than it saves.
            script.write_text(script.read_text().replace("-O3", "-O1"))
            self._compile(model)
        answer = self._predict(model, x)
        parts = answer if isinstance(answer, list) else [answer]
        temporary = kept.with_suffix(f".{self._test and zlib.crc32(self._test.encode())}.npz")
        np.savez_compressed(temporary, *parts)
        temporary.replace(kept)
        return answer

    def write(self, record: dict[str, Any]) -> None:
        """Add a line to the records."""
        record = {"test": self._test, **record}
        with self._records.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def _key(model: Any, x: Any) -> str:
    """A hash of all that an answer depends on."""
    import hls4ml

    folder = Path(model.config.get_output_dir())
    stamp, place = str(model.config.get_config_value("Stamp")).encode(), str(folder).encode()
    sha = hashlib.sha256(hls4ml.__version__.encode())
    # What is the same in every project of a version (ap_types, nnet_utils) says nothing; code generated there does.
    paths = [*folder.glob("*_bridge.cpp"), *folder.glob("firmware/*"), *folder.glob("firmware/weights/*.txt")]
    paths += folder.glob("firmware/nnet_utils/nnet_code_gen.h")
    for path in sorted(paths):
        if path.is_file() and path.suffix != ".so":
            sha.update(path.relative_to(folder).as_posix().encode())
            sha.update(path.read_bytes().replace(stamp, b"").replace(place, b""))
    for array in x if isinstance(x, list | tuple) else [x]:
        sha.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()[:32]


def _facts(model: Any) -> dict[str, Any]:
    project = model.config.config
    front = next((name for name in _FRONTS if name in project), "")
    if front.startswith("Keras"):
        keras = sys.modules.get("keras")
        front = f"Keras {getattr(keras, '__version__', '?').split('.')[0]}"
    return {
        "front": front.removesuffix("Model"),
        "backend": project["Backend"],
        "io": project["IOType"],
        "nodes": [node.class_name for node in model.get_layers()],
    }


def _graph(make: Callable[[Any], Any], model: Any) -> dict[str, Any]:
    """The graph, or the words of a refusal; ``failed`` is an exception that is none."""
    try:
        return {"graph": make(model)}
    except fxsim.FxsimError as error:
        return {"result": "refused", "words": str(error)}
    except Exception as error:  # a defect of fxsim's
        return {"result": "failed", "words": traceback.format_exc()[-1500:], "error": type(error).__name__}


def _outcome(made: dict[str, Any], x: Any, answer: Any) -> dict[str, Any]:
    """equal or different, with the words."""
    if "graph" not in made:
        return made
    graph, want = made["graph"], np.asarray(answer).reshape(-1)
    # The emulator's answers have the type of the inputs.
    got = fxsim.predict(graph, np.asarray(x).reshape(-1, *graph.shape)).reshape(-1).astype(want.dtype)
    if np.array_equal(got, want):
        return {"result": "equal", "values": want.size}
    if got.shape != want.shape:
        return {"result": "different", "words": f"{got.size} values, not {want.size}"}
    return {"result": "different", "words": f"{np.count_nonzero(got != want)} of {want.size} values"}


def _configured(model: Any) -> Any:
    """The graph of the network and of the configuration in the project's file."""
    project = model.config.config
    config = Path(model.config.get_output_dir()) / "hls4ml_config.yml"
    if "PytorchModel" in project:
        network = _pytorch(model)
    elif "OnnxModel" in project:
        raise fxsim.FxsimError("an ONNX model must be read from hls4ml")
    else:
        network = project.get("KerasModel") or project.get("KerasH5")
    return fxsim.load(network, config=config)


def _pytorch(model: Any) -> Any:
    """A PyTorch module with its layers in the order in which they run, by the names that hls4ml gives them."""
    module = model.config.config["PytorchModel"]
    first, *nodes = model.get_layers()
    names = dict(module.named_modules())
    paths = {name.replace(".", "_"): name for name in names}
    layers = []
    for node in nodes:
        path = paths.get(node.name, node.name)
        if node.class_name in ("LSTM", "GRU"):
            layers += [path, "last"]
        elif node.class_name == "SimpleRNN":
            layers += [f"{path}: {names[path].nonlinearity}", "last"]
        elif node.class_name in ("Dense", "PointwiseConv1D"):
            layers.append(path)
        elif node.class_name in ("Reshape", "Repack"):
            layers.append("flatten")
        else:
            function = str(node.get_attr("activation")).lower()
            layers.append(path if path in names else f"{node.name}: {function}")
    return fxsim.from_pytorch(module, tuple(first.get_output_variable().shape), layers, input_name=first.name)


_WAYS = {"live": fxsim.from_hls4ml, "configured": _configured}
