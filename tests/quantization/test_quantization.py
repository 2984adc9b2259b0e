# SPDX-License-Identifier: Apache-2.0
"""Which preset a user's arguments mean, and which arguments contradict each other."""

import json
import re
import sys

import numpy as np
import pytest

from fxsim.errors import FxsimError
from fxsim.importers.source import Activation, Dense, Function, Source
from fxsim.program.fixed import Fixed
from fxsim.quantization import exact, hls4ml
from fxsim.quantization.hls4ml_files import read_config
from fxsim.quantization.presets import DEFAULT, quantize

MODEL = {"Model": {"Precision": {"default": "fixed<12,5>"}, "ReuseFactor": 1, "Strategy": "Latency"}}


@pytest.fixture(scope="module")
def source() -> Source:
    rng = np.random.default_rng(1)
    dense = {"kernel": rng.normal(0, 1, (3, 2)), "bias": rng.normal(0, 1, 2)}
    layers = (
        Dense("dense", units=2, use_bias=True, weights=dense),
        Activation("act", Function("sigmoid")),
    )
    return Source.row("net", "input", (3,), layers)


def test_exact_is_the_default(source):
    assert DEFAULT == "ap_fixed<16,6>"
    assert quantize(source) == exact.quantize(source, DEFAULT)
    assert quantize(source, preset="exact") == exact.quantize(source, DEFAULT)
    assert quantize(source, precision="ap_fixed<12,5>") == exact.quantize(source, "ap_fixed<12,5>")
    assert quantize(source, precision=Fixed(12, 7)) == exact.quantize(source, "ap_fixed<12,5>")
    assert quantize(source, table_size=64) == exact.quantize(source, DEFAULT, table_size=64)
    assert quantize(source, table_size=64) != quantize(source)


def test_hls4ml_with_a_precision_is_that_for_everything(source):
    want = hls4ml.quantize(source, MODEL)
    assert quantize(source, preset="hls4ml", precision="ap_fixed<12,5>") == want
    assert quantize(source, preset="hls4ml", precision=Fixed(12, 7)) == want
    assert quantize(source, preset="hls4ml").input == Fixed.parse(DEFAULT)
    assert str(quantize(source, preset="hls4ml", precision="ap_fixed<12,5,AP_RND,AP_SAT>").input).endswith("AP_SAT>")
    sized = {**MODEL, "LayerName": {"act": {"TableSize": 64}}}
    options = {"preset": "hls4ml", "precision": "ap_fixed<12,5>"}
    assert quantize(source, **options, table_size=64) == hls4ml.quantize(source, sized)
    own = {"dense": {"Precision": "ap_fixed<9,5>"}, "act": {"TableSize": 64}}
    wanted = hls4ml.quantize(source, {**MODEL, "LayerName": own})
    assert quantize(source, **options, table_size=64, layers={"dense": "ap_fixed<9,5>"}) == wanted


def test_a_config_implies_hls4ml(source, tmp_path):
    want = hls4ml.quantize(source, MODEL)
    assert quantize(source, config=MODEL) == want
    assert quantize(source, config=MODEL, preset="hls4ml") == want
    (tmp_path / "config.json").write_text(json.dumps(MODEL))
    assert quantize(source, config=tmp_path / "config.json") == want
    assert quantize(source, config=str(tmp_path / "config.json")) == want
    pytest.importorskip("yaml")
    for name in ("config.yml", "config.YAML"):
        text = "Model:\n  Precision:\n    default: fixed<12,5>\n  ReuseFactor: 1\n  Strategy: Latency\n"
        (tmp_path / name).write_text(text)
        assert quantize(source, config=tmp_path / name) == want


def refused(message: str):
    return pytest.raises(FxsimError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "best"}, "preset must be one of exact, hls4ml, not 'best'"),
        (
            {"preset": "exact", "config": MODEL},
            "preset must be hls4ml with a config, not exact: give exact a precision",
        ),
        (
            {"precision": "ap_fixed<16,6>", "config": MODEL},
            "precision must be left out with a config, which has its own: Model, Precision",
        ),
        (
            {"config": MODEL, "table_size": 64},
            "table_size must be left out with a config, which has its own: LayerName, TableSize",
        ),
        ({"table_size": 1 << 17}, "table_size must be an integer from 16 to 65536, not 131072"),
        ({"table_size": True}, "table_size must be an integer from 16 to 65536, not True"),
        (
            {"preset": "hls4ml", "table_size": 1},
            "table_size must be an integer from 2 to 1048576 in preset hls4ml, not 1",
        ),
        (
            {"preset": "hls4ml", "table_size": "64"},
            "table_size must be an integer from 2 to 1048576 in preset hls4ml, not '64'",
        ),
        ({"preset": "hls4ml", "precision": 16}, "precision must be a text like 'ap_fixed<16,6>' or a Fixed, not 16"),
        (
            {"preset": "hls4ml", "precision": "16,6"},
            (
                "precision must look like ap_fixed<W,I[,Q[,O]]>, ap_ufixed<W,I[,Q[,O]]>, ap_int<W> or ap_uint<W>, "
                "not '16,6'"
            ),
        ),
        ({"config": 3}, "config must be a dictionary or the path of a file, not 3"),
    ],
)
def test_refuses(source, arguments, message):
    with refused(message):
        quantize(source, **arguments)


def test_refuses_files(tmp_path, monkeypatch):
    path = tmp_path / "config.txt"
    with refused(f"{path}: a config must be a .json, .yml or .yaml file"):
        read_config(path)
    path = tmp_path / "none.json"
    with refused(f"{path}: cannot be read (No such file or directory)"):
        read_config(path)
    path = tmp_path / "bad.json"
    path.write_text("{")
    with pytest.raises(FxsimError, match=rf"^{re.escape(str(path))}: not JSON \([^\n]+\)$"):
        read_config(path)
    path.write_text("[" * 100_000)
    with pytest.raises(FxsimError, match=rf"^{re.escape(str(path))}: not JSON \([^\n]+\)$"):
        read_config(path)
    path.write_text("[1]")
    with refused(f"{path}: a config must be a dictionary, not list"):
        read_config(path)
    path.write_bytes(b"\xff\xfe\x00")
    with refused(f"{path}: is not text in UTF-8"):
        read_config(path)
    path = tmp_path / "bad.yml"
    path.write_text("a: [1")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "yaml", None)
        with refused(f'yaml is not installed; reading {path} needs: pip install "pyyaml>=6"'):
            read_config(path)
    pytest.importorskip("yaml")
    path.write_text("!!python/object/apply:os.system ['true']")
    with refused(f"{path}: a config must be a dictionary, not list"):
        read_config(path)
    for text in ("a: [1", "a: 2026-99-99"):
        path.write_text(text)
        with pytest.raises(FxsimError, match=rf"^{re.escape(str(path))}: not YAML that a config can be \([^\n]+\)$"):
            read_config(path)
