# SPDX-License-Identifier: Apache-2.0
"""Sequences that are counted by beats: whatever TLAST does, every result comes, and packets end where they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from native_builds import build, check_folder
from networks import network

import fxsim
from fxsim import golden
from fxsim.__main__ import main
from rtl.export.verilog import to_verilog
from rtl.gateware.axi import most_sequences
from rtl.plan.folding import Folding, make_plan
from testbenches import CheckError, Mismatch, lint_folder
from testbenches.cocotb_run import COUNTED_TESTS, run_cocotb
from testbenches.equivalence import Prover
from testbenches.manifest import Manifest
from testbenches.mutants import STAGES, draw, hunt
from testbenches.vectors import Vectors

needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")

SMALL = {"steps": 3, "features": 2, "units": 2, "seed": 5}
#: Ways in which sequences come in, are computed and leave: options of the network, of the export.
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a step a beat": ({}, {"reuse": 2}),
    "an element a beat": ({}, {"input_beat": 1}),
    "a sequence a beat": ({"tail": (2,)}, {"input_beat": "sequence"}),
    "interleaved": ({"tail": (2,)}, {"interleave": 3, "reuse": 1}),
    "unrolled": ({}, {"unroll": 3, "input_beat": "sequence", "reuse": 1}),
    "a result a step": ({"return_sequences": True}, {}),
    "flattened": ({"flatten": True, "tail": (2,)}, {}),
}


def counted(folder: Path, shape: str) -> tuple[fxsim.Ip, Path]:
    """A design, and vectors of more sequences than it can hold."""
    options, how = SHAPES[shape]
    graph = network("gru", **SMALL, **options)
    ip = fxsim.export(graph, folder / "ip", framing="count", top="dut", **how)
    raw = golden.random_inputs(graph, 120, 3)
    (folder / "vectors.npz").write_bytes(golden.encode(golden.golden(graph, raw, beat=ip.plan.beat)))
    return ip, folder / "vectors.npz"


@pytest.mark.parametrize("shape", [
    "an element a beat", "interleaved", "a result a step",
    *(pytest.param(name, marks=pytest.mark.long) for name in ("a step a beat", "a sequence a beat", "unrolled")),
    pytest.param("flattened", marks=pytest.mark.long),
])  # fmt: skip
def test_every_bit_cycle_and_packet(shape, tmp_path):
    """The native harness ends packets with each sequence, never, with each beat, now and then, and inside sequences."""
    ip, path = counted(tmp_path, shape)
    assert ip.manifest["framing"] == "count"
    lint_folder(ip.folder)
    report = check_folder(
        ip.folder, path, cocotb=False, build_dir=tmp_path / "build", stalls=((0.3, 0.3), (0.0, 0.8), (0.8, 0.0))
    )
    assert report.differences == 0 and report.measured == report.predicted
    manifest = Manifest.load(ip.folder)
    harness = build(manifest, tmp_path / "build" / "native")
    if manifest.output.beats_per_sequence == 1:
        resets = next(stage for stage in STAGES if stage.name == "resets, stalls")
        assert resets.run(harness, Vectors.load(path, manifest), tmp_path / "run", 0) is None
    with pytest.raises(CheckError, match=r"of counted ones none is broken|one output beat a sequence"):
        harness.run(Vectors.load(path, manifest), tmp_path / "run", faults=0.5)


@needs_icarus
@pytest.mark.parametrize("shape", ["a step a beat", pytest.param("a result a step", marks=pytest.mark.long)])
def test_protocol(shape, tmp_path):
    ip, path = counted(tmp_path, shape)
    passed = run_cocotb(ip.folder, path, simulator="icarus", sequences=6, build_dir=tmp_path)
    assert {name.partition("/")[0] for name in passed} == set(COUNTED_TESTS)
    assert sum(name.startswith("packets/") for name in passed) == 8


#: Mistakes in the Verilog, what the native harness calls them, and what cocotb says.
MISTAKES = (
    (r"assign m_axis_tlast = .*;", "assign m_axis_tlast = 1'h1;", "tlast", "TLAST came with"),
    (r"assign m_axis_tlast = .*;", "assign m_axis_tlast = 1'h0;", "tlast", "TLAST came with"),
    (r"\.ends\([^)]*\)", ".ends(s_axis_tlast)", "tlast", "TLAST came with"),
    (r"assign frame_error = .*;", "assign frame_error = s_axis_tlast;", "frame_error", "frame_error is 1"),
)


@needs_icarus
def test_mistakes_are_noticed(tmp_path):
    ip, path = counted(tmp_path, "a step a beat")
    text = (ip.folder / "dut.v").read_text()
    for number, (before, after, kind, message) in enumerate(MISTAKES):
        wrong, count = re.subn(before, after, text)
        assert count == 1, before
        (ip.folder / "dut.v").write_text(wrong)
        if number in (2, 3):  # a build of Verilator's each
            with pytest.raises(Mismatch) as caught:
                check_folder(ip.folder, path, cocotb=False, build_dir=tmp_path / "build")
            assert caught.value.kind == kind
        with pytest.raises(Mismatch, match=message):
            run_cocotb(ip.folder, path, simulator="icarus", sequences=6, build_dir=tmp_path, tests=["packets"])


@needs_icarus
def test_the_plain_testbench(tmp_path):
    ip, _ = counted(tmp_path, "a step a beat")

    def run() -> str:
        return subprocess.run(
            ["make", "-s", "icarus"], cwd=ip.folder, capture_output=True, text=True, check=False
        ).stdout

    assert run().startswith("PASS: 32 sequences at full rate and 32 stalled")
    text = (ip.folder / "dut.v").read_text()
    (ip.folder / "dut.v").write_text(re.sub(r"assign m_axis_tlast = .*;", "assign m_axis_tlast = 1'h1;", text))
    assert "FAIL: TLAST differs" in run()


def test_everything_else_is_as_it_was():
    """The same plan, timing and cells; but for the framing the manifest is the same."""
    plan = make_plan(network("lstm", **SMALL), Folding({}))
    framed, counted = to_verilog(plan, "dut"), to_verilog(plan, "dut", "count")
    assert framed.taps == counted.taps and framed.modules == counted.modules
    modules = [set(re.findall(r"^module (\w+)", one.text, re.MULTILINE)) for one in (framed, counted)]
    assert modules[1] - modules[0] == {"dut_packets"} and modules[0] < modules[1]


@pytest.mark.parametrize("framing", ["beats", "", True, 3, "TLAST"])
def test_other_framings_are_refused(framing, tmp_path):
    with pytest.raises(fxsim.FxsimError, match=r"^framing must be one of tlast, count, not "):
        fxsim.export(network("lstm", **SMALL), tmp_path / "ip", framing=framing)
    assert not (tmp_path / "ip").exists()


def test_the_manifest_is_read_or_refused(tmp_path):
    ip = fxsim.export(network("lstm", **SMALL), tmp_path / "ip")
    assert ip.manifest["framing"] == "tlast" and not Manifest.load(ip.folder).counted
    for value, message in (
        (3, "'framing' must be of type str"),
        ("beats", "'framing' must be tlast or count, not 'beats'"),
    ):
        facts = {**ip.manifest, "framing": value}
        (ip.folder / "manifest.json").write_text(json.dumps(facts))
        with pytest.raises(CheckError, match=message):
            Manifest.load(ip.folder)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_more_sequences_are_inside_than_there_is_room_for(shape, monkeypatch):
    """The queue of packets is never what the input waits for: with a longer one no more sequences come in."""
    from amaranth.sim import Simulator

    from rtl.gateware import axi

    options, how = SHAPES[shape]
    graph = network("gru", **SMALL, **options)
    base = Folding(
        {}, how.get("interleave", 1), how.get("unroll", 1), {1: 1, "sequence": 6}.get(how.get("input_beat", 0))
    )
    plan = make_plan(graph, base)
    bound = most_sequences(plan)

    def fullest(ready: Any) -> int:
        top = axi.axi_top(plan, "count")
        most = 0

        async def bench(ctx: Any) -> None:
            nonlocal most
            inside = 0
            ctx.set(top.aresetn, 1)
            ctx.set(top.s_axis_tvalid, 1)
            ctx.set(top.s_axis_tlast, 1)
            for cycle in range(600):
                ctx.set(top.m_axis_tready, int(ready(cycle)))
                await ctx.delay(1e-6)
                put, got = ctx.get(top.packets.put), ctx.get(top.packets.get)
                inside += put - got
                most = max(most, inside)
                ctx.set(top.aclk, 1)
                await ctx.delay(1e-6)
                ctx.set(top.aclk, 0)

        simulator = Simulator(top)
        simulator.add_testbench(bench)
        simulator.run()
        return most

    stuck = fullest(lambda cycle: cycle > 500)
    assert 0 < stuck <= bound
    # With room for many more, no more come in: it is the network that holds them back.
    monkeypatch.setattr(axi, "most_sequences", lambda plan: 4 * bound + 8)
    assert fullest(lambda cycle: cycle > 500) == stuck


def test_the_command(tmp_path):
    network("lstm", **SMALL).save(tmp_path / "net.fx")
    assert main(["export", str(tmp_path / "net.fx"), "-o", str(tmp_path / "ip"), "--framing", "count"]) == 0
    assert json.loads((tmp_path / "ip" / "manifest.json").read_text())["framing"] == "count"
    text = (tmp_path / "ip" / "README.md").read_text()
    assert "Every 3 beats are a sequence, whatever TLAST does" in text and "comes too soon" not in text
    assert "input beats a sequence, counted, latency" in (tmp_path / "ip" / "component.xml").read_text()
    assert "after its number of beats" in (tmp_path / "ip" / "report.html").read_text()


@pytest.mark.long
@pytest.mark.parametrize("shape", ["a step a beat", "interleaved"])
def test_planted_faults(shape, tmp_path):
    """Faults that Yosys plants in what the framing adds: none that shows at the ports is missed."""
    pytest.importorskip("pyosys")
    ip, path = counted(tmp_path, shape)
    manifest = Manifest.load(ip.folder)
    known = Vectors.load(path, manifest)
    drawn = [one for one in draw(manifest, tmp_path / "drawn", 2000) if "packets" in one.cell or "ended" in one.cell]
    assert len(drawn) >= 10
    found = hunt(manifest, known, drawn, tmp_path / "hunt")
    missed = [one.mutant for one in found if one.stage is None]
    assert len(missed) < len(drawn) / 4
    if missed:
        prover = Prover(manifest, missed, tmp_path / "prove")
        # True, or None where no proof was found in that time.
        assert [str(one) for one in missed if prover.compare(one, 60).equivalent is False] == []
