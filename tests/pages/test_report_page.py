# SPDX-License-Identifier: Apache-2.0
"""The page of an exported folder: its numbers are the manifest's, and verdicts come to stand on it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from networks import network
from test_battery import with_last_bit_flipped
from test_page import HOSTILE, read

import fxsim
from fxsim.pages import check_results
from fxsim.pages.page import Section, Text, render
from fxsim.program.graph import chain
from rtl.export.report import report
from rtl.export.verilog import Design, manifest
from rtl.plan.folding import Folding, by_reuse, make_plan
from rtl.plan.stages import stages
from rtl.plan.timing import passages
from testbenches import Mismatch


@pytest.fixture(scope="module")
def ip(tmp_path_factory):
    return fxsim.export(network("lstm", seed=4, tail=(3,)), tmp_path_factory.mktemp("ip") / "tiny", top="tiny")


def text_of(folder: Path) -> str:
    return (folder / check_results.REPORT).read_text(encoding="utf-8")


def facts(text: str) -> dict[str, str]:
    reader = read(text)
    tags = [tag for tag, _ in reader.elements]
    assert tags.count("dt") == tags.count("dd")
    found = {}
    for piece in text.split("<dt>")[1:]:
        name, _, rest = piece.partition("</dt><dd>")
        found[name] = unescape(rest.partition("</dd>")[0])
    return found


def section(text: str, name: str) -> str:
    return text.partition(f'<section id="{name}">')[2].partition("</section>")[0]


def test_numbers_are_the_manifests(ip):
    text = text_of(ip.folder)
    timing, cost, found = ip.manifest["timing"], ip.manifest["cost"], facts(text)
    mhz = ip.manifest["clock_mhz"]
    assert found["parameters"] == str(ip.plan.graph.parameters)
    assert found["latency"] == f"{timing['latency']} cycles, {timing['latency'] / mhz:.3f} us"
    assert found["after the last beat"].startswith(f"{timing['latency_after_last']} cycles")
    assert found["interval"].startswith(f"{timing['interval']} cycles")
    assert found["multipliers"] == str(cost["multipliers"]) and found["DSP blocks"] == str(cost["dsp"])
    assert found["LUTs, estimated"] == str(cost["lut"] + cost["lutram"])
    assert found["flip-flops, estimated"] == str(cost["ff"]) and found["block RAMs"] == f"{cost['bram']:g}"
    side = ip.manifest["input"]
    beat = f"{side['beats_per_sequence']} beats of {side['elements_per_beat']} x {side['element']}"
    assert found["input"] == beat
    assert f"{timing['latency']} cycles in all" in text
    whole = section(text, "cells").partition("whole design")[2].replace("</td><td>", " ")
    numbers = " ".join(f"{cost[name]:g}" for name in ("multipliers", *check_results.CELLS))
    assert numbers in " ".join(whole.split())
    assert ip.manifest["digest"] in text


def test_every_stage_and_plan_stands_there(ip):
    text = text_of(ip.folder)
    for layer, schedule in zip(ip.plan.layers, ip.plan.schedules, strict=True):
        assert f"<summary>{layer.name}: interval {schedule.interval}, result in cycle {schedule.result}<" in text
        for stage in stages(schedule, layer.labels):
            assert ", ".join(stage.operators) in text
    for one in fxsim.pareto(ip.plan.graph, count=16):
        assert f"<td>{one.multipliers}</td><td>{one.dsp}</td>" in section(text, "plans").replace("\n", "")
    assert section(text, "plans").count('class="m"') == 1


@pytest.mark.parametrize(
    ("options", "folding"),
    [
        ({}, {}),
        ({"tail": (3, 2)}, {}),
        ({"return_sequences": True}, {}),
        ({"return_sequences": True, "tail": (3,)}, {"beat": 1}),
        ({"return_sequences": True, "flatten": True, "tail": (2,)}, {"beat": 12}),
        ({"tail": (3,)}, {"interleave": 3}),
        ({"tail": (3,)}, {"unroll": 4, "beat": 12}),
        ({}, {"beat": 1, "interleave": 2}),
    ],
)
@pytest.mark.parametrize("reuse", [1, 5])
def test_cycles_add_up_to_the_latency(options, folding, reuse):
    graph = network("gru", seed=2, **options)
    chosen = by_reuse(graph, reuse if folding.get("unroll", 1) == 1 else {}, base=Folding({}, **folding))
    plan = make_plan(graph, chosen)
    last, passed = passages(plan.stages, plan.source)
    assert passed[-1].left == plan.timing.latency
    assert plan.timing.latency - last == plan.timing.latency_after_last
    before = 0
    for one, stage in zip(passed, plan.stages, strict=True):
        assert before <= one.taken and one.begun <= one.taken and one.left >= one.taken + stage.latency
        before = one.left
    facts = manifest(plan, "t", ["t.v"], Design("", [], [], {one.name: one.module for one in plan.layers}))
    read(report(plan, facts))


def test_ecp5():
    plan = make_plan(network("lstm", seed=1), Folding({}), 60.0, "ecp5")
    text = report(plan, manifest(plan, "t", ["t.v"], Design("", [], [], {one.name: one.module for one in plan.layers})))
    assert "LUTs, estimated" in text
    read(text)


def test_hostile_names_stay_text():
    graph = network("lstm", seed=1, tail=(2,))
    bad = '<img src=x onerror="alert(1)">&'
    nodes = [replace(graph.nodes[0], name=bad), *graph.nodes[1:]]
    graph = chain(graph.name, graph.shape, graph.input, nodes)
    plan = make_plan(graph, Folding({}))
    text = report(
        plan,
        manifest(plan, "t", ["t.v"], Design("", [], [], {one.name: one.module for one in plan.layers})),
        [Text(HOSTILE)],
    )
    reader = read(text)
    assert "".join(reader.text).count(bad) >= 4
    assert "<img" not in text


def test_nothing_of_this_machine_or_day(ip, tmp_path):
    again = fxsim.export(ip.plan.graph, tmp_path / "elsewhere" / "x", top="tiny")
    assert text_of(again.folder) == text_of(ip.folder)
    for path in (ip.folder, tmp_path, Path.cwd(), Path.home()):
        assert str(path) not in text_of(ip.folder)


def test_before_a_check_nothing_is_claimed(ip):
    told = section(text_of(ip.folder), "verification")
    assert "Not checked yet" in told and "passed" not in told and "failed" not in told


def test_a_check_tells_the_page(ip, tmp_path):
    folder = tmp_path / "ip"
    shutil.copytree(ip.folder, folder)
    before = text_of(folder)
    found = fxsim.check(folder, sequences=8)
    text = text_of(folder)
    told = section(text, "verification")
    assert 'class="verdict passed"' in told and "Not checked" not in told
    bits = found.values * ip.plan.graph.output.width
    assert f"{bits} output bits of {found.values} values, 0 different" in told
    assert facts(text)["clock cycles run"] == str(found.cycles)
    assert f"<td>{ip.manifest['timing']['latency']}</td>" * 2 in told.replace("\n", "")
    assert f"{len(found.tests)} cocotb tests passed" in told
    # Nothing else has changed, and a verdict takes the place of the one before.
    assert text.replace(told, "") == before.replace(section(before, "verification"), "")
    check_results.stamp(folder, check_results.unchecked())
    assert text_of(folder) == before
    read(text)

    # A weight's bit is flipped: the page no longer says that it agrees.
    graph = ip.plan.graph
    wrong = fxsim.export(with_last_bit_flipped(graph, (0, 0)), tmp_path / "wrong", top="tiny")
    shutil.copy(wrong.folder / "tiny.v", folder)
    with pytest.raises(Mismatch):
        fxsim.check(folder, sequences=8)
    text = text_of(folder)
    told = section(text, "verification")
    assert 'class="verdict failed"' in told and "passed" not in told
    assert facts(text)["kind"] == "value"
    assert str(tmp_path) not in text and "/tmp/" not in text
    read(text)


def test_a_failure_names_no_folder_of_this_machine(tmp_path):
    log = tmp_path / "work" / "run.log"
    error = Mismatch(f"{tmp_path}/ip/tiny.v:3: {tmp_path}/work/x says <b>", "lint", log=log, step=2)
    told = render("T", "l", [check_results.differs(error, (tmp_path / "ip", tmp_path / "work"))])
    assert "tiny.v:3: x says &lt;b&gt;" in told and str(tmp_path) not in told and "run.log" not in told
    assert facts(told) == {"kind": "lint", "step": "2"}


def test_a_folder_without_a_page_is_left_alone(tmp_path):
    check_results.stamp(tmp_path, check_results.unchecked())
    assert list(tmp_path.iterdir()) == []
    (tmp_path / check_results.REPORT).write_text("somebody's own")
    check_results.stamp(tmp_path, check_results.unchecked())
    assert text_of(tmp_path) == "somebody's own"
    (tmp_path / check_results.REPORT).write_bytes(b"\xff")
    with pytest.warns(UserWarning, match=r"report\.html could not be updated: .*not text in UTF-8"):
        check_results.stamp(tmp_path, Section("verification", "V", []))


def test_synthesis_tells_the_page(ip, tmp_path):
    pytest.importorskip("pyosys")
    folder = tmp_path / "ip"
    shutil.copytree(ip.folder, folder)
    assert "Not synthesized yet" in text_of(folder)
    cells = fxsim.synth(folder)
    told = section(text_of(folder), "synthesis").replace("\n", "")
    assert "Not synthesized" not in told
    row = "".join(f"<td>{cells[name]:g}</td>" for name in check_results.CELLS)
    assert f'<td class="l">xc7</td>{row}' in told
