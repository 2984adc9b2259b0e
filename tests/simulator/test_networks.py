# SPDX-License-Identifier: Apache-2.0
"""The paper's networks from model file to Verilog: every output bit and every cycle, under Verilator."""

from dataclasses import dataclass

import numpy as np
import pytest
from native_builds import check_folder
from shared import SHARED, needs_shared

import fxsim
from fxsim import golden as vectors
from fxsim.simulator.run import quantize_inputs


@dataclass(frozen=True)
class Case:
    """A network, how it is folded, and how many random sequences it gets (0: real drawings).

    ``quick``: whether the test command runs it; the others say nothing of another kind, and take minutes.
    """

    name: str
    model: str
    weights: str | None = None
    reuse: int | None = None
    multipliers: int | None = None
    sequences: int = 20
    quick: bool = False


CASES = [
    Case("toptag_lstm_parallel", "models/toptag/lstm.h5"),
    Case("toptag_gru_parallel", "models/toptag/gru.h5"),
    Case("toptag_lstm_reuse4", "models/toptag/lstm.h5", reuse=4),
    Case("toptag_gru_reuse4", "models/toptag/gru.h5", reuse=4, quick=True),
    Case("toptag_lstm_reuse32", "models/toptag/lstm.h5", reuse=32, quick=True),
    Case("toptag_gru_reuse32", "models/toptag/gru.h5", reuse=32),
    Case("jets_lstm", "golden/jet_lstm__p16_6_model/model.h5", reuse=8),
    Case("jets_gru", "golden/jet_gru__p16_6_model/model.h5", reuse=8, quick=True),
    Case("ftag_lstm", "models/ftag/lstm_arch.json", "models/ftag/lstm_weights.h5", None, 600, sequences=8, quick=True),
    Case("quickdraw_gru", "models/quickdraw/gru.h5", multipliers=1000, sequences=0, quick=True),
    Case("quickdraw_lstm", "models/quickdraw/lstm.h5", multipliers=1000, sequences=0),
]
SOME = [pytest.param(case, id=case.name, marks=() if case.quick else pytest.mark.long) for case in CASES]


@needs_shared
@pytest.mark.parametrize("case", SOME)
def test_the_verilog_of_a_network_equals_the_simulator(case, tmp_path):
    weights = None if case.weights is None else SHARED / case.weights
    graph = fxsim.load(SHARED / case.model, weights=weights, precision="ap_fixed<16,6>")
    folder = tmp_path / "ip"
    ip = fxsim.export(graph, folder, reuse=case.reuse, multipliers=case.multipliers, top=case.name)
    if case.multipliers:
        assert ip.plan.multipliers <= case.multipliers
    if case.sequences:
        raw = vectors.random_inputs(graph, case.sequences)
    else:
        drawings = np.load(SHARED / "data" / "quickdraw125.npz")["x"]
        raw = quantize_inputs(graph, drawings[::42])
    path = tmp_path / "vectors.npz"
    path.write_bytes(vectors.encode(vectors.golden(graph, raw)))
    report = check_folder(folder, path, cocotb=False, stalls=(), build_dir=tmp_path / "build")
    assert report.differences == 0
    assert report.sequences >= len(raw)
    assert report.measured == report.predicted
    assert report.predicted.latency == ip.manifest["timing"]["latency"]


@needs_shared
@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_yosys_accepts_every_network(case, tmp_path):
    """No latch, no net without a driver or with two; folded products are DSP blocks, large tables block RAM."""
    weights = None if case.weights is None else SHARED / case.weights
    graph = fxsim.load(SHARED / case.model, weights=weights, precision="ap_fixed<16,6>")
    ip = fxsim.export(graph, tmp_path / "ip", reuse=case.reuse, multipliers=case.multipliers, top=case.name)
    found = fxsim.synth(tmp_path / "ip")
    assert not [name for name in found["cells"] if name.startswith(("LD", "$")) and name != "$scopeinfo"]
    assert found["bram"] > 0
    if case.reuse or case.multipliers:
        assert found["dsp"] == ip.plan.multipliers
    else:
        assert found["dsp"] <= ip.plan.multipliers


@needs_shared
@pytest.mark.parametrize(
    ("name", "reuse"),
    [
        ("jet_gru__mixed2_res3", 64),
        ("top_lstm__p12_5_rnd_sat", 64),
        ("zoo_act__mixed1", 8),
        ("zoo_gru2__softmax_legacy", 8),
        ("zoo_lstm_seqdense__mixed1", 8),
    ],
)
def test_the_verilog_equals_hls4ml(name, reuse, tmp_path):
    """hls4ml's own answers, through its configuration, from Verilog: modes, orders and tables of every kind."""
    folder = SHARED / "golden" / name
    model = next(path for path in (folder / "model.keras", folder / "model.h5") if path.exists())
    graph = fxsim.load(model, config=folder / "hls_config.json")
    fxsim.export(graph, tmp_path / "ip", reuse=reuse)
    raw = quantize_inputs(graph, np.load(folder / "inputs.npy")[:24])
    answers = np.load(folder / "outputs.npy")[:24]
    expected = np.ldexp(answers, graph.output.frac).astype(np.int64).reshape(len(raw), -1, graph.output_shape[-1])
    golden = vectors.golden(graph, raw)
    assert np.array_equal(golden["outputs"], expected)
    path = tmp_path / "vectors.npz"
    path.write_bytes(vectors.encode(golden))
    report = check_folder(tmp_path / "ip", path, cocotb=False, stalls=(), build_dir=tmp_path / "build")
    assert report.differences == 0
    assert report.measured == report.predicted
