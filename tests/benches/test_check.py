# SPDX-License-Identifier: Apache-2.0
"""How the verb check decides what to run: how many sequences, what of cocotb, and what it says of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import network

import fxsim
from fxsim import checks
from fxsim.__main__ import main
from fxsim.errors import FxsimError
from testbenches import CheckError, CheckReport, Mismatch
from testbenches.manifest import Manifest

PASSED = CheckReport("tiny", 3, 9, 12, 0, 0, None, None, ("a",))
Call = dict[str, Any]


@pytest.fixture(scope="module")
def ip(tmp_path_factory: pytest.TempPathFactory) -> fxsim.Ip:
    graph = network("lstm", steps=40, features=2, units=4, tail=(2,))
    return fxsim.export(graph, tmp_path_factory.mktemp("ip") / "ip", reuse=4, top="tiny")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What the benches are asked for; nothing is simulated."""
    made: list[Call] = []

    def check_folder(folder: Path, vectors: Path, **options: Any) -> CheckReport:
        golden = np.load(vectors)
        made.append({"folder": folder, "count": len(golden["inputs"]), **options})
        if options.get("protocol"):
            place, path = options["protocol"]
            made[-1]["manifest"] = Manifest.load(place)
            made[-1]["inputs"] = np.load(path)["inputs"].shape
        return PASSED

    monkeypatch.setattr("testbenches.check_folder", check_folder)
    return made


def slower(ip: fxsim.Ip, to: Path, interval: int) -> Path:
    """The same folder with another interval in its manifest."""
    shutil.copytree(ip.folder, to)
    facts = json.loads((to / "manifest.json").read_text())
    facts["timing"]["interval"] = facts["timing"]["latency"] = interval
    (to / "manifest.json").write_text(json.dumps(facts))
    return to


class TestHowMany:
    def test_as_many_as_asked_for(self, ip: fxsim.Ip, calls: list[Call]) -> None:
        for count in (1, 3, 77, 150):
            fxsim.check(ip.folder, sequences=count)
            assert (calls[-1]["count"], calls[-1]["settle"]) == (count, False)
        fxsim.check(ip.folder, inputs=np.linspace(-1, 1, 5 * 80).reshape(5, 40, 2))
        assert (calls[-1]["count"], calls[-1]["settle"]) == (5, False)

    def test_a_hundred_by_default(self, ip: fxsim.Ip, calls: list[Call]) -> None:
        found = fxsim.check(ip.folder)
        assert (calls[-1]["count"], calls[-1]["settle"], calls[-1]["sequences"]) == (100, True, 20)
        assert (found.remarks, calls[-1]["optimize"], calls[-1]["faults"]) == ((), True, False)

    @pytest.mark.parametrize(("interval", "count"), [(40_000, 100), (80_000, 50), (184_000, 21), (5_000_000, 4)])
    def test_fewer_of_long_ones_which_it_says(
        self, ip: fxsim.Ip, tmp_path: Path, calls: list[Call], interval: int, count: int
    ) -> None:
        place = slower(ip, tmp_path / "slow", interval)
        found = fxsim.check(place)
        assert calls[-1]["count"] == count
        said = f"{count} sequences instead of 100, because one takes {interval} cycles"
        assert (said in found.remarks) == (count < 100)
        assert calls[-1]["settle"] == (interval * 64 <= 4_000_000)
        assert said in (place / "report.html").read_text() or count == 100
        fxsim.check(place, sequences=60)
        assert calls[-1]["count"] == 60

    def test_quick(self, ip: fxsim.Ip, calls: list[Call]) -> None:
        found = fxsim.check(ip.folder, quick=True)
        (call,) = calls
        assert (call["count"], call["cocotb"], call["faults"], call["optimize"]) == (16, False, True, False)
        assert call["inner"].name == "vectors.npz"  # without taps
        assert found.remarks == ()
        with pytest.raises(FxsimError, match=r"^simulator must be verilator for a quick check, .*, not icarus$"):
            fxsim.check(ip.folder, quick=True, simulator="icarus")


class TestCocotb:
    def test_fewer_sequences_of_slow_designs(self, ip: fxsim.Ip, tmp_path: Path, calls: list[Call]) -> None:
        for interval, count in ((1000, 20), (4000, 14), (8000, 3)):
            found = fxsim.check(slower(ip, tmp_path / str(interval), interval))
            assert calls[-1]["sequences"] == count
            said = f"{count} sequences in a cocotb test instead of 20: one takes {interval} cycles"
            assert (said in found.remarks) == (count < 20)

    def test_a_copy_with_shorter_sequences(self, ip: fxsim.Ip, tmp_path: Path, calls: list[Call]) -> None:
        place = slower(ip, tmp_path / "slow", 10_000)
        found = fxsim.check(place)
        call = calls[-1]
        manifest = call["manifest"]
        assert call["inputs"] == (20, 8, 2)
        assert (manifest.top, manifest.input.beats_per_sequence, manifest.output.elements_per_beat) == ("tiny", 8, 2)
        assert (call["folder"], call["sequences"], call["faults"]) == (place, 20, True)
        said = "cocotb tests on a copy of the design with 8 of its 40 steps, because a sequence takes 10000 cycles"
        assert said in found.remarks
        facts = json.loads((place / "manifest.json").read_text())
        assert facts["folding"] == ip.manifest["folding"]

    def test_a_few_tests_where_there_can_be_no_copy(
        self, ip: fxsim.Ip, tmp_path: Path, calls: list[Call], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checks, "missing", lambda extra: ["amaranth"])
        found = fxsim.check(slower(ip, tmp_path / "slow", 10_000))
        assert (calls[-1]["sequences"], calls[-1]["few"], calls[-1]["faults"]) == (1, True, True)
        said = "only a few cocotb tests, of one sequence each, because a sequence takes 10000 cycles"
        assert said in found.remarks


class TestWaves:
    def test_of_the_first_sequence(
        self, ip: fxsim.Ip, tmp_path: Path, calls: list[Call], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = shutil.copytree(ip.folder, tmp_path / "ip")

        def record(folder: Path, vectors: Path, to: Path, **options: Any) -> str:
            assert (folder, options.get("error")) == (place, None)
            to.write_bytes(b"waves")
            return "the first sequence"

        monkeypatch.setattr("testbenches.record.record", record)
        found = fxsim.check(place, waves=True)
        assert found.waves == place / "waves.fst"
        assert found.waves.read_bytes() == b"waves"
        assert found.remarks == (f"{place}/waves.fst: waveforms of the first sequence",)
        assert f"waveforms: {place}/waves.fst" in str(found)

    @pytest.mark.parametrize("fails", [False, True])
    def test_of_what_is_wrong(
        self,
        ip: fxsim.Ip,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        fails: bool,
    ) -> None:
        place = shutil.copytree(ip.folder, tmp_path / "ip")
        wrong = Mismatch("output, sequence 2: no", "tlast", sequence=2)
        monkeypatch.setattr("testbenches.check_folder", lambda *_, **__: (_ for _ in ()).throw(wrong))

        def record(folder: Path, vectors: Path, to: Path, **options: Any) -> str:
            assert options["error"] is wrong
            if fails:
                raise CheckError("no compiler")
            return "sequence 2"

        monkeypatch.setattr("testbenches.record.record", record)
        assert main(["check", str(place), "--waves"]) == 1
        said = "(no waveforms: no compiler)" if fails else f"; {place}/waves.fst: waveforms of sequence 2"
        assert f"output, sequence 2: no{' ' * fails}{said}" in capsys.readouterr().err


def test_phases_have_names(ip: fxsim.Ip, calls: list[Call]) -> None:
    begun: list[str] = []
    fxsim.check(ip.folder, phase=begun.append)
    assert begun == ["simulate in Python"]
    assert calls[-1]["phase"] is not None


def test_what_the_command_line_says(
    ip: fxsim.Ip, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Call] = []

    def check(folder: str, **options: Any) -> CheckReport:
        given.append(options)
        return replace(PASSED, remarks=("4 sequences instead of 100",))

    monkeypatch.setattr("fxsim.api.check", check)
    assert main(["check", "ip", "--quick", "--waves", "--sequences", "7"]) == 0
    assert (given[0]["quick"], given[0]["waves"], given[0]["sequences"]) == (True, True, 7)
    assert "\n4 sequences instead of 100\n" in capsys.readouterr().out
    assert main(["check", "ip"]) == 0
    assert (given[1]["quick"], given[1]["waves"], given[1]["sequences"]) == (False, False, None)
