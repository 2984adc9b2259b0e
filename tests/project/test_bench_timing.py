# SPDX-License-Identifier: Apache-2.0
"""The benchmark of clocks: what it counts, and what it keeps."""

from __future__ import annotations

import json

import bench_timing
import pytest


def row(planned: float, static: float, clock: float = 200.0) -> dict[str, float]:
    return {"planned_ns": planned, "static_ns": static, "clock_mhz": clock}


def test_a_design_holds_its_clock_up_to_the_whole_period():
    assert bench_timing.held(row(4.0, 5.0)) and not bench_timing.held(row(4.0, 5.01))
    assert bench_timing.held(row(4.0, 9.9, 100.0))


@pytest.mark.parametrize(("planned", "near"), [(8.4, False), (8.6, True), (11.4, True), (11.6, False)])
def test_a_plan_is_near_within_15_percent_of_what_was_found(planned, near):
    assert bench_timing.near(row(planned, 10.0)) is near


def test_summary():
    found = bench_timing.summary([row(4.0, 5.0), row(4.4, 4.4), row(4.0, 8.0)])
    assert found == {
        "designs": 3,
        "static_within_clock": 2,
        "planned_within_15_percent": 1,
        "planned_off_percent": {"median": 20.0, "worst": 50.0},
    }


def test_networks_do_not_depend_on_what_the_plan_says_of_their_clock():
    """A design's clock comes after its network: the slower ones are those of the same network."""
    for family, clocks in bench_timing.CLOCKS.items():
        assert len(set(clocks)) == 3
        assert bench_timing.LOT.clocks[family] == clocks[:1] == (min(clocks),)


def test_a_netlist_is_kept_by_its_verilog(tmp_path, monkeypatch):
    calls = []

    def synthesize(folder, family, netlist):
        calls.append(family)
        netlist.write_text(json.dumps({"modules": {bench_timing.TOP: {"cells": {}, "netnames": {}}}}))
        return {"lut": len(calls)}

    monkeypatch.setattr(bench_timing, "synthesize", synthesize)
    cache = tmp_path / "cache"
    cache.mkdir()

    def cells(text: str, family: str = "xc7") -> tuple[int, str]:
        (tmp_path / "dut.v").write_text(text)
        _, found, digest = bench_timing.synthesized(tmp_path, family, cache)
        return found["lut"], digest

    first = cells("module dut; endmodule")
    assert cells("module dut; endmodule") == first and calls == ["xc7"]
    assert cells("module dut; wire x; endmodule")[0] == 2
    assert cells("module dut; endmodule", "xcup")[0] == 3
    assert cells("module dut; endmodule") == first and len(calls) == 3
