# SPDX-License-Identifier: Apache-2.0
"""The waveforms in docs/interface.md: true to the design in every cycle, and drawn from their sources."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path

import pytest
from waves import Wave, compare, shown_plan

WAVES = Path(__file__).resolve().parents[2] / "docs" / "waves"
SOURCES = sorted(WAVES.glob("*.json"))


def read(name: str) -> dict:
    return json.loads((WAVES / f"{name}.json").read_text())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_design_does_what_the_waveform_shows(path):
    compare(shown_plan(), Wave(json.loads(path.read_text())), framing(path.stem))


def framing(name: str) -> str:
    """Of the design that a waveform shows."""
    return "count" if name.startswith("packet") else "tlast"


def test_each_waveform_shows_what_its_name_says():
    lanes = {path.stem: Wave(json.loads(path.read_text())) for path in SOURCES}
    framed, counted = (
        {"sequence", "interval", "backpressure", "frame_error", "frame_missing"},
        {"packet", "packet_inside"},
    )
    assert set(lanes) == framed | counted
    assert set(lanes["sequence"].arrows()) == {"latency", "latency after last"}
    assert set(lanes["interval"].arrows()) == {"interval"}
    assert "0" in lanes["backpressure"].lanes["m_axis_tready"]
    for name in ("frame_error", "frame_missing"):
        assert lanes[name].lanes["frame_error"].count("1") == 1


@pytest.mark.parametrize(
    ("name", "lane", "cycle", "symbol"),
    [
        ("sequence", "s_axis_tready", 2, "1"),
        ("sequence", "m_axis_tvalid", 13, "1"),
        ("interval", "m_axis_tlast", 13, "0"),
        ("backpressure", "m_axis_tready", 12, "1"),
        ("frame_error", "frame_error", 4, "1"),
        ("frame_error", "s_axis_tlast", 2, "0"),
        ("packet", "m_axis_tlast", 13, "1"),
        ("packet_inside", "m_axis_tlast", 13, "0"),
        ("packet_inside", "s_axis_tlast", 1, "0"),
    ],
)
def test_a_wrong_cycle_is_noticed(name, lane, cycle, symbol):
    source = copy.deepcopy(read(name))
    one = next(one for one in source["signal"] if one and one["name"] == lane)
    wave = one["wave"]
    assert wave[cycle] != symbol
    one["wave"] = wave[:cycle] + symbol + wave[cycle + 1 :]
    with pytest.raises(AssertionError):
        compare(shown_plan(), Wave(source), framing(name))


def test_a_wrong_result_and_a_wrong_arrow_are_noticed():
    source = read("sequence")
    result = next(one for one in source["signal"] if one and one["name"] == "m_axis_tdata")
    result["data"] = ["yB"]
    with pytest.raises(AssertionError, match="not yB"):
        compare(shown_plan(), Wave(source))
    source = read("sequence")
    source["edge"][0] = source["edge"][0].replace("13", "12")
    with pytest.raises(AssertionError, match="is 13 cycles long"):
        compare(shown_plan(), Wave(source))


@pytest.mark.skipif(importlib.util.find_spec("wavedrom") is None, reason="wavedrom is not installed")
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_picture_is_that_of_the_source(path):
    spec = importlib.util.spec_from_file_location("draw_waves", WAVES / "__main__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert path.with_suffix(".svg").read_text() == module.draw(path), "run: python docs/waves"
