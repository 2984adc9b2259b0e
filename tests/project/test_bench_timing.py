# SPDX-License-Identifier: Apache-2.0
"""The benchmark of clocks: what it counts, and what it keeps."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from statistics import median
from typing import Any

import bench_timing
import pytest
from figure_texts import ROOT

from rtl.export.netlist import read_netlist
from rtl.export.static_timing import StaticTiming
from rtl.plan.cell_delays import CELL_DELAYS


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
        "planned_off_percent": {"designs": 3, "median": 20.0, "worst": 50.0},
    }


def test_static_timing_is_judged_by_designs_that_it_was_not_fitted_to():
    rows = [
        {**row(16.0, 18.0, 50.0), "family": "ecp5", "number": number, "routed_ns": routed}
        for number, routed in ((0, 18.0), (1, 20.0), (2, 20.1), (3, 14.4))
    ]
    found = bench_timing.summaries(rows)
    assert list(found) == ["ecp5"]
    assert (found["ecp5"]["routed"], found["ecp5"]["routed_within_clock"]) == (4, 3)
    assert found["ecp5"]["static_off_percent_fitted"] == {"designs": 2, "median": 5.2, "worst": 10.4}
    assert found["ecp5"]["static_off_percent_judged"] == {"designs": 2, "median": 17.5, "worst": 25.0}
    (line,) = bench_timing.asked(found)
    assert line == "ecp5, routed within the planned clock: 3 of 4; asked: 28 of 30"


def test_what_is_asked_of_the_timed_families_counts_no_routed_design():
    rows = [
        {**row(4.0, 4.4), "family": "xc7"},
        {**row(3.0, 3.5), "family": "xcup"},
        {**row(3.0, 6.0), "family": "xcup"},
        {"family": "xcup", "refused": "clock must be at most 300 MHz"},
        {**row(9.0, 30.0), "family": "ecp5", "number": 1, "routed_ns": 30.0},
    ]
    assert list(bench_timing.asked(bench_timing.summaries(rows))) == [
        "xc7 and xcup, static timing within the planned clock: 2 of 3; asked: 58 of 60",
        "xc7 and xcup, the plan's longest path within 15 % of the one found: 2 of 3; asked: 54 of 60",
        "ecp5, routed within the planned clock: 0 of 1; asked: 28 of 30",
    ]


def test_networks_do_not_depend_on_what_the_plan_says_of_their_clock():
    """A design's clock comes after its network: the slower ones are those of the same network."""
    for family, clocks in bench_timing.CLOCKS.items():
        assert len(set(clocks)) == 3
        assert bench_timing.LOTS[family].clocks[family] == clocks[:1] == (min(clocks),)


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


def test_wires_are_fitted_to_what_was_routed(tmp_path, monkeypatch):
    """To lengths that the model makes of other wires: these are found."""
    rows = []
    truth = replace(CELL_DELAYS["ecp5"], net=1.3, fan_out=0.2)
    for number in range(0, 8, 2):
        # A register, some LUTs in a row, each of which drives some pins, and a register.
        cells = {"first": flop(10, 20)}
        for place in range(number + 1):
            for pin in range(number + 2):
                out = 21 + place if pin == 0 else 100 + 10 * place + pin
                cells[f"lut{place}_{pin}"] = ecp5("LUT4", {"A": [20 + place]}, {"Z": [out]})
        cells["last"] = flop(20 + number + 1, 99)
        text = json.dumps({"modules": {bench_timing.TOP: {"cells": cells, "netnames": {}}}})
        (tmp_path / f"n{number}.json.gz").write_bytes(gzip.compress(text.encode()))
        (tmp_path / "netlist.json").write_text(text)
        timing = StaticTiming(read_netlist(tmp_path / "netlist.json", bench_timing.TOP), truth)
        routed = max(length for length, *_ in timing.ends())
        rows.append({"number": number, "verilog": f"n{number}", "routed_ns": routed})
    found = bench_timing.fit([*rows, {"number": 1, "verilog": "none", "routed_ns": 1.0}], tmp_path)
    assert (found.net, found.fan_out) == pytest.approx((1.3, 0.2), abs=0.01)


def ecp5(type: str, inputs: dict[str, list[int]], outputs: dict[str, list[int]]) -> dict[str, Any]:
    directions = {**dict.fromkeys(inputs, "input"), **dict.fromkeys(outputs, "output")}
    return {"type": type, "parameters": {}, "port_directions": directions, "connections": {**inputs, **outputs}}


def flop(d: int, q: int) -> dict[str, Any]:
    return ecp5("TRELLIS_FF", {"DI": [d], "CLK": [2]}, {"Q": [q]})


def test_the_baseline_sums_up_its_designs():
    text = (ROOT / "benchmarks" / "baselines" / "timing.json").read_bytes()
    found = json.loads(text)
    assert bench_timing.written(found["designs"]) == text
    ecp5_rows = [one for one in found["designs"] if one["family"] == "ecp5" and "refused" not in one]
    assert all(one["routed_ns"] == median(one["seeds_ns"]) for one in ecp5_rows)
    assert {one["preset"] for one in found["designs"]} == {"exact", "hls4ml"}
