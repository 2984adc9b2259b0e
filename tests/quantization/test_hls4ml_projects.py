# SPDX-License-Identifier: Apache-2.0
"""Projects that hls4ml wrote, and the answers of its emulator: as configurations, and as live models by stand-ins.

``hls4ml_projects/make.py`` made them.
"""

from __future__ import annotations

import codecs
import json
import sys
from pathlib import Path
from types import SimpleNamespace as Plain
from typing import Any

import hls4ml_models as stand
import numpy as np
import pytest

import fxsim
from fxsim.errors import FxsimError
from fxsim.quantization.hls4ml_files import read_config

pytest.importorskip("yaml")
HERE = Path(__file__).resolve().parent / "hls4ml_projects"
ANSWERS = json.loads((HERE / "answers.json").read_text())
CASES = sorted(ANSWERS)
#: What hls4ml leaves out of the network, by the case; the emulator's answers are those of another network.
LOST_LIVE = {
    "keras2_lost_activation": r"^layer 'inner': hls4ml loses the activation 'relu' of a Dense inside a TimeDistributed",
    "keras2_relu_max": r"^layer 'act': max_value of a ReLU must be None, not 0\.125, which hls4ml ignores$",
    "pytorch_all": r"^layer 'rnn': the PyTorch model goes on with all 4 steps, of which hls4ml takes the last alone: ",
    "pytorch_flat": r"^layer 'rnn': the PyTorch model goes on with all 4 steps, of which hls4ml takes the last alone: ",
}


def model_of(name: str) -> Any:
    """The network of a case."""
    if name.startswith("pytorch"):
        state = {key: np.array(value) for key, value in ANSWERS[name]["state"].items()}
        layers = {
            "pytorch_last": ["rnn", "last", "act.0: leaky_relu", "act.1: sigmoid"],
            "pytorch_head": ["rnn", "last", "head.0", "head.1: relu"],
        }[name]
        return fxsim.from_pytorch(state, (4, 3), layers)
    return HERE / f"{name}.{'h5' if name.startswith('keras2') else 'keras'}"


def emulated(name: str) -> tuple[np.ndarray, np.ndarray]:
    x, y = (np.array(ANSWERS[name][key]) for key in ("x", "y"))
    return x, y


def different(graph: fxsim.Graph, name: str) -> int:
    x, y = emulated(name)
    return int(np.count_nonzero(graph.predict(x).reshape(y.shape) != y))


# --- The configurations


@pytest.mark.parametrize("name", [name for name in CASES if name not in LOST_LIVE and name != "pytorch_head"])
def test_project_files(name):
    assert different(fxsim.load(model_of(name), config=HERE / f"{name}.yml"), name) == 0


def test_weights_of_linear_that_hls4ml_reads_in_the_wrong_order():
    """The emulator's answers are those of the weights in the order of their memory, taken for (inputs, outputs)."""
    record, (x, y) = ANSWERS["pytorch_head"], emulated("pytorch_head")
    state = {key: np.array(value) for key, value in record["state"].items()}
    layers, config = ["rnn", "last", "head.0", "head.1: relu"], HERE / "pytorch_head.yml"
    right = fxsim.load(fxsim.from_pytorch(state, (4, 3), layers), config=config).predict(x)
    state["head.0.weight"] = state["head.0.weight"].reshape(2, 3).T
    assert np.array_equal(fxsim.load(fxsim.from_pytorch(state, (4, 3), layers), config=config).predict(x), y)
    assert not np.array_equal(right, y)


def test_what_hls4ml_loses_is_computed_from_the_model():
    """From its own model and configuration, the graph is right where hls4ml loses something."""
    name = "keras2_lost_activation"
    graph = fxsim.load(model_of(name), config=HERE / f"{name}.yml")
    assert [layer.name for layer in graph.nodes] == ["rnn", "inner", "inner_relu"]
    x, y = emulated(name)
    assert np.array_equal(graph.predict(x).reshape(y.shape), np.maximum(y, 0))


@pytest.mark.parametrize(
    ("name", "model"),
    [("keras2_dense_0_6_0", None), ("keras2_dense_0_8_1", None), ("keras2_plain_1_0_0", "keras2_plain")],
)
def test_projects_of_older_versions_are_read(name, model):
    """Their keys and tags are known; the arithmetic is that of the version that fxsim follows."""
    config = read_config(HERE / f"{name}.yml")
    assert config["KerasModel"] == f"prj/keras_model.{'keras' if name.endswith('1_0_0') else 'h5'}"
    if model:
        assert fxsim.load(model_of(model), config=config).input == fxsim.Fixed.parse("ap_fixed<16,6>")
    else:
        rng = np.random.default_rng(0)
        source = fxsim.from_pytorch(
            {"fc.weight": rng.normal(0, 1, (3, 12)), "fc.bias": np.zeros(3)},
            (4, 3), ["flatten", "fc", "fc_sigmoid: sigmoid"], input_name="inp",
        )  # fmt: skip
        if "0_8" in name:
            config["HLSConfig"]["LayerName"]["flatten"] = config["HLSConfig"]["LayerName"].pop("flat")
        assert fxsim.load(source, config=config).output_shape == (3,)


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
@pytest.mark.parametrize("suffix", ["yml", "json"])
def test_byte_order_marks(suffix, mark, tmp_path):
    """Editors and shells of Windows write them."""
    want = read_config(HERE / "keras3_plain.yml")
    text = json.dumps(want) if suffix == "json" else (HERE / "keras3_plain.yml").read_text()
    encoding = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}[mark]
    path = tmp_path / f"config.{suffix}"
    path.write_bytes(mark + text.encode(encoding))
    assert read_config(path) == want


def test_tags_make_no_objects(tmp_path, monkeypatch):
    """Scalars are text, sequences lists, mappings dictionaries, numbers of numpy numbers."""
    monkeypatch.chdir(tmp_path)
    config = read_config(HERE / "pytorch_last.yml")
    module = config["PytorchModel"]
    assert isinstance(module, dict) and {type(value) for value in module.values()} <= {
        dict,
        list,
        str,
        bool,
        type(None),
        set,
    }
    assert config["InputShape"] == [4, 3]
    assert read_config(HERE / "keras3_plain.yml")["HLSConfig"]["LayerName"]["rnn"]["ReuseFactor"] == 2
    path = tmp_path / "c.yml"
    for text, want in {
        "a: !!python/object/apply:os.system ['touch here']": ["touch here"],
        "a: !!python/name:os.system ''": "",
        "a: !keras_model 'a path'": "a path",
        "a: !!python/object/new:dict {b: !x [1, !y 2]}": {"b": [1, "2"]},
        "a: !!python/object/apply:numpy.core.multiarray.scalar [1, 2]": [1, 2],
        "a: !!python/object/apply:numpy.core.multiarray.scalar [{args: [O8], state: [3, '|']}, !!binary AAAA]": [
            {"args": ["O8"], "state": [3, "|"]},
            b"\0\0\0",
        ],
    }.items():
        path.write_text(text)
        assert read_config(path) == {"a": want}
    path.write_text("a: &1 !!python/object:x.Y {self: *1, all: !!python/tuple [*1]}")
    made = read_config(path)["a"]
    assert made["self"] is made and made["all"][0] is made
    assert [file.name for file in tmp_path.iterdir()] == ["c.yml"]


def test_unknown_keys_of_a_project_are_refused_by_name(tmp_path):
    text = (HERE / "keras3_plain.yml").read_text()
    path = tmp_path / "c.yml"
    for old, new, message in [
        ("ClockPeriod:", "ClokPeriod:", r"^the project: key 'ClokPeriod' must be one of .*, ClockPeriod, "),
        ("Backend: Vivado", "Backend: Quartus", r"^Backend must be one of Vivado, .*, not 'Quartus'$"),
        ("Backend: Vivado", "Backend: !!python/name:x 'oneAPI'", r"^Backend must be one of Vivado, .*, not 'oneAPI'$"),
        ("  Model:", "  Modell:", r"^HLSConfig: key 'Modell' must be one of .*Model"),
        ("      static:", "      statik:", r"^layer 'rnn': key 'statik' must be one of .*Static"),
    ]:
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(FxsimError, match=message):
            fxsim.load(model_of("keras3_plain"), config=path)


# --- The live models


@pytest.fixture(autouse=True)
def hls4ml(monkeypatch):
    tracer = Plain(trace=lambda module: Plain(nodes=module.trace))
    monkeypatch.setitem(sys.modules, "hls4ml", Plain(__version__="1.3.0"))
    monkeypatch.setitem(sys.modules, "hls4ml.utils.torch", Plain(CustomFXTracer=lambda: tracer))


def live(name: str) -> Any:
    if name.startswith("pytorch"):
        taken = (0, (slice(None), -1)) if name in ("pytorch_last", "pytorch_head") else (0,)
        return stand.replayed(ANSWERS[name], PytorchModel=stand.Module(taken))
    key = "KerasH5" if name.startswith("keras2") else "KerasModel"
    return stand.replayed(ANSWERS[name], **{key: str(model_of(name))})


@pytest.mark.parametrize("name", CASES)
def test_live_models(name):
    if name in LOST_LIVE:
        with pytest.raises(FxsimError, match=LOST_LIVE[name]):
            fxsim.from_hls4ml(live(name))
    elif name == "pytorch_head":
        # hls4ml reads the weights of Linear in the wrong order, and the graph is right.
        with pytest.warns(
            UserWarning, match=r"^hls4ml reads the weights of a PyTorch Linear in the wrong order here; "
        ):
            graph = fxsim.from_hls4ml(live(name))
        configured = fxsim.load(model_of(name), config=HERE / f"{name}.yml")
        assert np.array_equal(graph.predict(emulated(name)[0]), configured.predict(emulated(name)[0]))
    else:
        assert different(fxsim.from_hls4ml(live(name)), name) == 0


def test_a_changed_answer_is_noticed():
    """What all of these tests come down to can fail."""
    for name in ("keras3_softmax_steps", "keras2_prelu"):
        record = json.loads(json.dumps(ANSWERS[name]))
        for node in record["nodes"]:
            for key, value in node["attributes"].items():
                if key in ("weight", "param"):
                    value["data"] = (np.array(value["data"]) * 1.25).tolist()
        graph = fxsim.from_hls4ml(stand.replayed(record, KerasModel=str(model_of(name))))
        assert different(graph, name) > 0
