# SPDX-License-Identifier: Apache-2.0
"""The buffers behind layers: the harness takes each through all that it can do, and notices faults in them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from campaigns import buffers
from campaigns.designs import BUFFERED, Design, export
from native_builds import build

from testbenches.buffers import demand, events
from testbenches.errors import CheckError, Mismatch
from testbenches.manifest import Buffer, Manifest
from testbenches.mutants import STAGES, Stage
from testbenches.native import Harness
from testbenches.vectors import Vectors

PASSING = Buffer("rnn", "buffer0_push", "buffer0_pop", "buffer0_filled", 2, True, 1)


def filled(name: str, work: Path) -> tuple[Manifest, Harness, Vectors]:
    manifest, vectors = export(name, work, 16, inner=True)
    return manifest, build(manifest, work / "native", taps=manifest.taps), vectors


@pytest.fixture(scope="module")
def stacked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Harness, Vectors]:
    """A buffer of steps and one of results."""
    return filled("stacked", tmp_path_factory.mktemp("stacked"))


def test_what_a_buffer_can_do() -> None:
    assert events(PASSING) == ("push_0", "push_1", "hold_1", "hold_2", "pop_1", "pop_2", "both_0", "both_1")
    assert set(events(PASSING)) - set(events(replace(PASSING, passes=False))) == {"both_0"}


@pytest.mark.parametrize("event", events(PASSING))
def test_what_a_buffer_never_did_is_told(event: str) -> None:
    seen = dict.fromkeys(events(PASSING), 1)
    assert demand([PASSING], [(seen,)]) == 8
    assert demand([PASSING], [(seen | {event: 0},), (dict.fromkeys(events(PASSING), 0) | {event: 1},)]) == 8
    with pytest.raises(Mismatch, match=r"^the buffer behind layer 'rnn', which has room for 2, never held \d beats?"):
        demand([PASSING], [(seen | {event: 0},)])


def test_the_fill_reaches_all_of_it(stacked: tuple[Manifest, Harness, Vectors], tmp_path: Path) -> None:
    manifest, harness, vectors = stacked
    assert [buffer.beats_per_sequence for buffer in manifest.buffers] == [4, 1]
    run = harness.run(vectors, tmp_path / "fill", sequences=100, fill=True, looking=True)
    assert run.fault is None
    demand(manifest.buffers, [run.buffers])
    # It ends when there is nothing left to try.
    assert run.sent < 40 * manifest.input.beats_per_sequence
    # Sequences one after another fill nothing.
    plain = harness.run(vectors, tmp_path / "plain", sequences=100)
    with pytest.raises(Mismatch, match="never held"):
        demand(manifest.buffers, [plain.buffers])


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in BUFFERED if name != "stacked"])
def test_the_fill_reaches_all_of_other_designs(name: str, tmp_path: Path) -> None:
    manifest, harness, vectors = filled(name, tmp_path)
    run = harness.run(vectors, tmp_path / "fill", sequences=100, fill=True, looking=True)
    assert run.fault is None
    demand(manifest.buffers, [run.buffers])


def test_what_cannot_be_filled_is_refused(stacked: tuple[Manifest, Harness, Vectors], tmp_path: Path) -> None:
    manifest, harness, vectors = stacked
    for options in ({"idle": 0.1}, {"alone": True}):
        with pytest.raises(CheckError, match=r"^fill needs a manifest with buffers, and neither stalls nor"):
            harness.run(vectors, tmp_path, fill=True, **options)  # type: ignore[arg-type]
    with pytest.raises(CheckError, match=r"^fill needs a manifest with buffers"):
        replace(harness, manifest=replace(manifest, buffers=())).run(vectors, tmp_path, fill=True)


def test_faults_are_noticed_or_equivalent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The campaign on a small scale, with no run but the one that fills buffers and the one without stalls."""
    monkeypatch.setitem(BUFFERED, "tiny", Design("gru", units=1, tail=1, reuse=2, seed=12))
    monkeypatch.setattr(buffers, "STAGES", (Stage("plain"), Stage("full buffers", fill=True)))
    row = buffers.campaign("tiny", tmp_path, 60, 30, most=60)
    assert row["faults"] > 40
    assert (row["not noticed"], row["undecided"]) == (0, 0), row["left"]
    # Faults in what a buffer holds do not show while nothing waits.
    assert row["noticed by"]["full buffers"] > 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 0}, "'depth' must be at least 1, not 0"),
        ({"depth": 5000}, "'depth' must be at most 4096, not 5000"),
        ({"passes": 1}, "'passes' must be of type bool, not 1"),
        ({"push": "a b"}, "'push' must be a Verilog identifier without '__', not 'a b'"),
        ({"module": "other"}, "'module' must be the top module 'stacked', not 'other'"),
        ({"beats_per_sequence": True}, "'beats_per_sequence' must be of type int, not True"),
    ],
)
def test_damaged_lists_of_buffers_are_refused(
    stacked: tuple[Manifest, Harness, Vectors], tmp_path: Path, change: dict[str, object], message: str
) -> None:
    manifest = stacked[0]
    facts = json.loads((manifest.folder / "manifest.json").read_text())
    facts["files"] = [str(path) for path in manifest.files]
    facts["buffers"][0] |= change
    (tmp_path / "manifest.json").write_text(json.dumps(facts))
    with pytest.raises(CheckError, match=f"manifest.json: buffers: {message}$"):
        Manifest.load(tmp_path)


def test_a_signal_that_is_not_there_is_named(stacked: tuple[Manifest, Harness, Vectors], tmp_path: Path) -> None:
    manifest = stacked[0]
    wrong = replace(manifest, buffers=(replace(manifest.buffers[0], push="nowhere"),))
    with pytest.raises(CheckError, match=r"'nowhere'"):
        build(wrong, tmp_path / "native")


def test_the_regression_fills_buffers() -> None:
    assert any(stage.fill for stage in STAGES) and not Stage("plain").fill
