# SPDX-License-Identifier: Apache-2.0
"""A large design is announced before the minutes that it takes, and only written if that is wanted."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from networks import network

import fxsim
import rtl.cost.size
from fxsim.__main__ import main
from rtl.cost.size import MOST_LUTS, LargeDesign, check_size, size
from rtl.export.verilog import to_verilog
from rtl.plan.folding import Folding, by_reuse, make_plan

LARGE = {"units": 160, "features": 96, "steps": 20}


@pytest.mark.parametrize("family", ["xc7", "ecp5"])
@pytest.mark.parametrize(("cell", "reuse"), [("lstm", 1), ("gru", 1), ("lstm", 4)])
def test_the_size_of_the_verilog_is_about_right(family, cell, reuse):
    graph = network(cell, units=6, features=4, seed=2)
    plan = make_plan(graph, by_reuse(graph, reuse, "dsp"), 60.0, family)
    # A rough number, of large designs at that: what is the same in all counts for more in these.
    most = 2 if reuse == 1 else 3
    assert 1 / most < size(plan).verilog / len(to_verilog(plan, "dut").text) < most


@pytest.mark.parametrize("family", ["xc7", "ecp5"])
def test_a_large_design_is_announced(family, tmp_path):
    graph = network("lstm", **LARGE)
    options = {"family": family, "clock_mhz": 60.0}
    message = (
        r"^the design is large: \d+ multipliers, \d+ DSP blocks(, about \d\.\d million LUTs)?; some \d+ MB of Verilog "
        r"and \d+ (minutes|s) to write\. Above 10000 multipliers or 300000 LUTs, export needs --yes \(large=True in "
        r"Python\), or a budget such as --multipliers 1000 \(see fxsim plan\)$"
    )
    with pytest.raises(LargeDesign, match=message) as caught:
        fxsim.export(graph, tmp_path / "ip", **options)
    assert not (tmp_path / "ip").exists() and caught.value.size.multipliers > 10_000
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert check_size(make_plan(graph, by_reuse(graph, {})), True).lut > MOST_LUTS


def test_what_is_wanted_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(rtl.cost.size, "MOST_MULTIPLIERS", 1)
    graph = network("lstm", units=2, features=2, steps=2)
    for options in ({}, {"reuse": 1}, {"folding": Folding({})}, {"latency": 40}):
        with pytest.raises(LargeDesign, match="export needs --yes"):
            fxsim.export(graph, tmp_path / "ip", **options)
    seen: list[tuple[int, int]] = []
    for options in ({"large": True}, {"multipliers": 60}, {"lut": 100_000}):
        fxsim.export(graph, tmp_path / "ip", **options, progress=lambda *step: seen.append(step))
    assert seen == 3 * [(k, 5) for k in range(1, 6)]


def test_the_command_asks_for_yes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rtl.cost.size, "MOST_MULTIPLIERS", 1)
    monkeypatch.chdir(tmp_path)
    network("lstm", units=2, features=2, steps=2).save("net.fx")
    assert main(["export", "net.fx", "-o", "ip"]) == 2
    assert capsys.readouterr().err.startswith("fxsim: the design is large: ") and not Path("ip").exists()
    assert main(["export", "net.fx", "-o", "ip", "--yes"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("fxsim: warning: a large design: ") and "LUTs" in err and out.startswith("ip: ")
    assert main(["export", "net.fx", "-o", "ip", "--multipliers", "60"]) == 0
    assert capsys.readouterr().err == ""
