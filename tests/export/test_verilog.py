# SPDX-License-Identifier: Apache-2.0
"""The emitted Verilog: deterministic, accepted by every front end, mapped to the cells it is meant for."""

import json
import re

import numpy as np
import pytest
from networks import network
from rtl_bench import plan_for
from sources import recurrent

from fxsim.importers import read_model
from fxsim.importers.source import Source
from fxsim.quantization.presets import quantize
from rtl.export.synthesis import synthesize
from rtl.export.verilog import manifest, to_verilog
from rtl.plan.folding import by_reuse, make_plan
from testbenches import lint_folder

DEMO = "fxsim/demo/digits.keras"


def write(plan, folder, top="dut"):
    """An exported folder's Verilog and manifest, without vectors."""
    design = to_verilog(plan, top)
    facts = manifest(plan, top, [f"{top}.v"], design)
    (folder / f"{top}.v").write_text(design.text)
    (folder / "manifest.json").write_text(json.dumps(facts))
    return design.text, facts


@pytest.fixture(scope="module")
def digits(request):
    return quantize(read_model(request.config.rootpath / DEMO), precision="ap_fixed<16,6>")


def test_the_same_design_is_the_same_text():
    graph = network("gru", seed=4, tail=(3,))
    texts = [to_verilog(plan_for(graph, 4), "dut") for _ in range(2)]
    assert texts[0] == texts[1]
    assert to_verilog(plan_for(graph, 2), "dut") != texts[0]


def test_module_names_need_no_escape(tmp_path):
    text, _ = write(plan_for(network("lstm", tail=(3,)), 4), tmp_path)
    names = re.findall(r"^module ([^ (]+)", text, re.MULTILINE)
    assert "dut" in names
    assert "dut_network_lstm" in names
    assert all(re.fullmatch(r"dut\w*", name) for name in names)
    assert not re.search(r"\[-1:0\]", text)


@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_before"])
@pytest.mark.parametrize("reuse", [1, 4, 16])
def test_front_ends_find_nothing(cell, reuse, tmp_path):
    write(plan_for(network(cell, seed=reuse, flatten=reuse == 4, tail=(3,)), reuse), tmp_path)
    assert "verilator" in lint_folder(tmp_path)


def test_synthesis_of_a_folded_network(tmp_path):
    """Yosys finds no latch, no undriven net, no second driver; products are DSP blocks and tables block RAMs."""
    rng = np.random.default_rng(1)
    shapes = {"kernel": (3, 16), "recurrent_kernel": (4, 16), "bias": (16,)}
    layer = recurrent("lstm", "lstm", {name: rng.normal(0, 0.5, shape) for name, shape in shapes.items()})
    graph = quantize(Source.row("net", "input", (4, 3), (layer,)), precision="ap_fixed<16,6>", table_size=1024)
    plan = make_plan(graph, by_reuse(graph, 16))
    write(plan, tmp_path)
    found = synthesize(tmp_path, "xc7")
    assert not [name for name in found["cells"] if name.startswith(("LD", "$")) and name != "$scopeinfo"]
    assert found["dsp"] == plan.multipliers
    assert found["bram"] >= 2


def test_manifest(digits, tmp_path):
    plan = make_plan(digits, by_reuse(digits, 16))
    _, facts = write(plan, tmp_path)
    assert facts["top"] == "dut"
    assert facts["files"] == ["dut.v"]
    assert facts["digest"] == digits.digest
    assert facts["input"] == {
        "prefix": "s_axis",
        "element": "ap_fixed<16,6>",
        "stride_bits": 16,
        "elements_per_beat": 8,
        "beats_per_sequence": 8,
    }
    assert facts["output"] == {
        "prefix": "m_axis",
        "element": "ap_fixed<16,6>",
        "stride_bits": 16,
        "elements_per_beat": 10,
        "beats_per_sequence": 1,
    }
    timing = plan.timing
    assert facts["timing"] == {
        "latency": timing.latency,
        "latency_after_last": timing.latency_after_last,
        "interval": timing.interval,
    }
    assert facts["cost"] == {"multipliers": plan.multipliers, "dsp": plan.dsp, **plan.cost.to_json()}
