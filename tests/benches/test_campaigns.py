# SPDX-License-Identifier: Apache-2.0
"""Mutants, gate level, coverage and soak on a small scale, and that each of them can fail."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from campaigns import command, coverage, gates, plants, soak
from campaigns.designs import DESIGNS, Design, export
from native_builds import build
from shared import SHARED, needs_shared
from test_testbenches import export as export_sum

from testbenches.aiger import Aig, Builder
from testbenches.errors import CheckError, Mismatch
from testbenches.gates import netlist
from testbenches.manifest import Manifest
from testbenches.mutants import STAGES, Mutant, Stage, draw, draw_each, hunt, plant
from testbenches.vectors import Vectors

pytest.importorskip("pyosys")
from testbenches.equivalence import Proof, Prover

TINY = Design("lstm", units=2, seed=10)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Vectors, Path]:
    folder = tmp_path_factory.mktemp("tiny")
    patch = pytest.MonkeyPatch()
    patch.setitem(DESIGNS, "tiny", TINY)
    manifest, vectors = export("tiny", folder, 400)
    patch.undo()
    return manifest, vectors, folder


@pytest.fixture(scope="module")
def running_sum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_sum(tmp_path_factory.mktemp("sum"))


class TestFrames:
    @pytest.mark.parametrize(
        ("bug", "options", "fault"),
        [
            (0, {"faults": 0.5, "idle": 0.3, "backpressure": 0.5}, None),
            (0, {"faults": 0.3, "resets": 0.02, "backpressure": 0.5}, None),
            (0, {"alone": True}, None),
            (5, {"faults": 0.5}, "no_frame_error"),
            (6, {"faults": 0.5}, "extra"),
            (11, {"faults": 0.5}, "value"),
            (13, {"faults": 0.5, "idle": 0.5}, "frame_error"),
            (15, {"resets": 0.1}, "frame_error"),
            (4, {"alone": True}, "timing"),
        ],
    )
    def test_planted(self, running_sum: Path, bug: int, options: dict[str, float], fault: str | None) -> None:
        manifest = Manifest.load(running_sum)
        vectors = Vectors.load(running_sum / "vectors.npz", manifest)
        harness = build(manifest, running_sum / "frames")
        run = harness.run(vectors, running_sum / "run", sequences=200, plusargs=[f"bug={bug}"], **options)  # type: ignore[arg-type]
        assert run.fault == fault

    def test_refuses(self, tmp_path: Path) -> None:
        folder = export_sum(tmp_path, every=True)
        manifest = Manifest.load(folder)
        vectors = Vectors.load(folder / "vectors.npz", manifest)
        harness = build(manifest, folder / "build")
        with pytest.raises(CheckError, match=r"^faults and resets need a design with one output beat a sequence"):
            harness.run(vectors, tmp_path / "run", faults=0.1)
        with pytest.raises(CheckError, match=r"^alone needs a manifest with timing, and neither stalls nor"):
            harness.run(vectors, tmp_path / "run", alone=True, idle=0.1)


class TestMutants:
    def test_sample(self, tiny: tuple[Manifest, Vectors, Path]) -> None:
        """No mutant of a sample that is left is shown to be one; the campaign's proofs have more time."""
        manifest, vectors, folder = tiny
        mutants = draw(manifest, folder / "draw", 24)
        assert [mutant.number for mutant in mutants] == list(range(1, 25))
        verdicts = hunt(manifest, vectors, mutants, folder / "hunt")
        left = [verdict.mutant for verdict in verdicts if verdict.stage is None]
        assert len(left) < len(mutants) / 2
        prover = Prover(manifest, mutants, folder / "prove")
        proven = {str(mutant): prover.compare(mutant, 20).equivalent for mutant in left}
        assert [name for name, equivalent in proven.items() if equivalent is False] == []
        assert any(proven.values())
        # what the regression notices is no mutant that the proof lets pass
        killed = [verdict.mutant for verdict in verdicts if verdict.stage is not None]
        assert not any(prover.compare(mutant, 2).equivalent for mutant in killed[:6])

    @pytest.mark.parametrize("every", [False, True], ids=["drawn", "each"])
    def test_memories_have_mutants_of_their_wires_alone(
        self, tiny: tuple[Manifest, Vectors, Path], every: bool, tmp_path: Path
    ) -> None:
        """Yosys ends with an error for one of what it gives a memory that is read without a clock."""
        manifest, _, _ = tiny
        drawn = draw_each(manifest, tmp_path, "*table*") if every else draw(manifest, tmp_path, 6000)
        ports = {mutant.port for mutant in drawn if "rnn.table" in mutant.cell}
        assert ports == {"RD_ADDR", "RD_DATA"}
        assert [mutant.number for mutant in drawn] == list(range(1, len(drawn) + 1))
        of_tables = [mutant for mutant in drawn if mutant.port in ports]
        assert plant(manifest, of_tables, tmp_path / "planted").files[0].is_file()

    def test_a_blind_regression_lets_mutants_live(self, tiny: tuple[Manifest, Vectors, Path]) -> None:
        manifest, vectors, folder = tiny
        mutants = draw(manifest, folder / "draw", 24)
        left = hunt(manifest, vectors, mutants, folder / "hunt", [])
        all_seen = hunt(manifest, vectors, mutants, folder / "hunt")
        assert sum(v.stage is None for v in left) == 24 > sum(v.stage is None for v in all_seen)

    def test_a_regression_that_fails_without_mutants_is_refused(self, tiny: tuple[Manifest, Vectors, Path]) -> None:
        manifest, vectors, folder = tiny
        wrong = replace(vectors, outputs=vectors.outputs ^ 1)
        mutants = draw(manifest, folder / "draw", 24)
        with pytest.raises(CheckError, match=r"^stage 'bits and cycles' finds 'value' without any mutant$"):
            hunt(manifest, wrong, mutants, folder / "hunt")

    def test_illegal_count(self, tiny: tuple[Manifest, Vectors, Path], tmp_path: Path) -> None:
        with pytest.raises(CheckError, match=r"^count must be from 1 to 65535, not 0$"):
            draw(tiny[0], tmp_path, 0)


def test_clock_pins_are_not_compared(tiny: tuple[Manifest, Vectors, Path], tmp_path: Path) -> None:
    manifest, _, folder = tiny
    prover = Prover(manifest, draw(manifest, folder / "draw", 2), tmp_path)
    with pytest.raises(CheckError, match="no clock"):
        prover.compare(Mutant(1, "", "inv", "x", "CLK", 0, ()))
    assert str(Proof(None)) == "undecided"


def test_aiger_round_trip(tmp_path: Path) -> None:
    builder = Builder(2, 1)
    x, y, state = 2, 4, 6
    one = builder.differ(builder.both(x, y), state)
    assert builder.both(y, x) == builder.both(x, y) and builder.either(x, x ^ 1) == 1
    aig = Aig(2, (one,), (one ^ 1,), tuple(builder.gates))
    aig.write(tmp_path / "x.aig")
    assert Aig.read(tmp_path / "x.aig") == aig
    for bits in range(8):
        a, b, c = bits & 1, bits >> 1 & 1, bits >> 2
        values = aig.settle([a, b], [c])
        assert values[one >> 1] ^ one & 1 == (a & b) ^ c


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_gates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DESIGNS, "tiny", TINY)
    monkeypatch.setattr(gates, "COCOTB_TESTS", ("no_stalls",))
    row = gates.campaign("tiny", tmp_path, 100)
    assert row["cells by type"]["FDRE"] > 100 and row["differences"] == 0
    assert row["latency"] == Manifest.load(tmp_path / "ip").timing.latency  # type: ignore[union-attr]


def test_a_wrong_cell_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DESIGNS, "tiny", TINY)
    manifest, vectors = export("tiny", tmp_path, 50)
    found, _ = netlist(manifest, tmp_path / "gates")
    path = found.files[0]
    text, count = re.subn(r"(LUT6 #\(\s*\.INIT\(64'h)(.)", lambda m: m[1] + f"{int(m[2], 16) ^ 15:x}", path.read_text())
    assert count
    path.write_text(text)
    assert STAGES[0].run(build(found, tmp_path / "build"), vectors, tmp_path / "run", 0) is not None


def test_coverage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DESIGNS, "tiny", TINY)
    row = coverage.campaign("tiny", tmp_path, 200)
    assert row["missed lines"] == []
    monkeypatch.setattr(coverage, "STAGES", (Stage("one", sequences=1),))
    less = coverage.campaign("tiny", tmp_path, 1)
    assert int(less["toggles"].split()[0]) < int(row["toggles"].split()[0])


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (["coverage", "--design", "lstm"], True),
        (["coverage", "--sequences", "50"], False),
        (["soak"], False),
        (["soak", "--shared", "x"], True),
        (["soak", "--shared", "x", "--sequences", "50"], False),
        (["soak", "--report", "own.json"], True),
    ],
)
def test_only_whole_campaigns_write_the_committed_report(given, written, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "REPORTS", tmp_path / "reports")
    for one in (coverage, soak):
        monkeypatch.setattr(one, "campaign", lambda *given: dict.fromkeys((*coverage.COLUMNS, *soak.COLUMNS), "1"))
    assert command.main(given) == 0
    assert any(tmp_path.rglob("*.json")) == written


@pytest.mark.long
@pytest.mark.parametrize("shared", [None, pytest.param(SHARED, marks=needs_shared)], ids=["seeded", "trained"])
def test_soak(shared: Path | None, tmp_path: Path) -> None:
    row = soak.campaign("toptag_gru", shared, tmp_path, 3000, 1500)
    assert row["sequences"] == 3000 and row["differences"] == 0
    assert row["weights"] == ("seeded" if shared is None else "trained")


@pytest.mark.long
def test_soak_stops_at_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = soak.vectors.golden

    def wrong(graph, raw):  # type: ignore[no-untyped-def]
        found = right(graph, raw)
        found["outputs"][7] ^= 1
        return found

    monkeypatch.setattr(soak.vectors, "golden", wrong)
    with pytest.raises(Mismatch, match=r"^output, sequence 7, "):
        soak.campaign("toptag_gru", None, tmp_path, 20, 20)


class TestPlants:
    def test_each_fits_its_file(self) -> None:
        for one in plants.PLANTS.values():
            assert (plants.ROOT / one.path).read_text(encoding="utf-8").count(one.old) == 1, one
            for name in one.tests.split():
                assert len(list((plants.ROOT / "tests").glob(f"*/{name}.py"))) == 1, one

    def test_one_is_noticed(self, tmp_path: Path) -> None:
        row = plants.campaign("round-fixed-1", tmp_path)
        assert row["noticed by"].startswith("test_fixed.py::")

    def test_one_that_changes_nothing_is_not(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        old = "Round.RND: rest >= half,"
        idle = plants.Plant("none", "fxsim/program/fixed.py", old, f"{old}  # the same", "test_gates")
        monkeypatch.setitem(plants.PLANTS, "idle", idle)
        assert plants.campaign("idle", tmp_path)["noticed by"] == "none"

    def test_one_that_no_longer_fits_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / plants.PLANTS["round-fixed-1"].path
        file.parent.mkdir(parents=True)
        file.write_text("", encoding="utf-8")
        with pytest.raises(CheckError, match="stands there 0 times"):
            plants.PLANTS["round-fixed-1"].apply(tmp_path)
