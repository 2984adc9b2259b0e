# SPDX-License-Identifier: Apache-2.0
"""What each verb prints: no line too long at 80, 100 and 160 columns, no number broken; all of it as JSON and CSV."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from networks import network

from fxsim import api
from fxsim.__main__ import main
from fxsim.api import load
from fxsim.command import terminal
from fxsim.command.cli import parser
from fxsim.command.terminal import Output
from fxsim.demo import run as demo
from fxsim.demo.run import DATA, MODEL
from fxsim.pages.listing import Listing, csv_text, json_text
from fxsim.program.graph import chain
from testbenches import CheckReport
from testbenches.manifest import Timing

ROOT = Path(__file__).resolve().parents[2]
#: Longest name that a layer may have on these screens without being broken at 80 columns.
NAME = "lstm_[1]_of_the_first_encoder"
TIMING = Timing(283, 66, Fraction(53, 3))
REPORT = CheckReport("digits", 200, 52448, 123456789, 777, 0, TIMING, TIMING, ("a.no_stalls", "a.stalls"))
CELLS = {"family": "xc7", "top": "digits", "lut": 123456, "lutram": 421, "ff": 3701, "dsp": 100, "bram": 5.5}
VERBS = {
    "info": "info model.keras",
    "info of hls4ml": "info model.keras --preset hls4ml --precision ap_fixed<12,4>",
    "info of long names": "info long.fx",
    "quantize": "quantize model.keras -o net.fx --precision ap_fixed<10,4>",
    "predict": "predict model.keras x.npy -o y.npy",
    "profile": "profile model.keras x.npy -o p --precision ap_fixed<8,3,AP_RND_CONV,AP_SAT_SYM>",
    "profile of a graph": "profile long.fx long.npy -o q",
    "scan": "scan model.keras data.npz -o s --width 6,8 --integer 3 --preset both",
    "scan of real numbers": "scan model.keras real.npz -o r --width 6,8 --precision ap_fixed<16,4,AP_RND,AP_SAT>",
    "scan of layers": "scan model.keras data.npz -o t --width 6 --layer lstm dense,dense_softmax",
    "plan": "plan model.keras --multipliers 100 --stages",
    "plan without cells": "plan long.fx --family ecp5 --clock-mhz 50",
    "export": "export long.fx -o ip",
    "check": "check ip",
    "synth": "synth ip",
    "demo": "demo",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("screen")
    (where / "model.keras").write_bytes(MODEL.read_bytes())
    data = np.load(DATA)
    np.save(where / "x.npy", data["x"][:40])
    np.savez(where / "data.npz", x=data["x"][:40], y=data["y"][:40])
    np.savez(where / "real.npz", x=data["x"][:40], y=np.sin(np.arange(400.0)).reshape(40, 10))
    graph = network("lstm", steps=3, features=2, units=4)
    graph = chain(graph.name, graph.shape, graph.input, [replace(layer, name=NAME) for layer in graph.nodes])
    graph.save(where / "long.fx")
    np.save(where / "long.npy", np.linspace(-1, 1, 24).reshape(4, 3, 2))
    api.export(graph, where / "ip")
    return where


class Recorder(Output):
    """Keeps what a verb shows, for any width, and what it gives to programs."""

    def __init__(self) -> None:
        super().__init__("json")
        self.shown: list[Listing | str] = []

    def table(self, listing: Listing) -> None:
        super().table(listing)
        self.shown.append(listing)

    def fact(self, key: str, shown: str | Listing | None, values: Mapping[str, object]) -> None:
        super().fact(key, shown, values)
        self.shown += [] if shown is None else [shown]

    def note(self, line: str) -> None:
        self.shown.append(line)

    def text(self, width: int | None) -> str:
        """What a terminal of that width has in the end."""

        def text(one: Listing | str) -> str:
            return terminal.render(one, width) if isinstance(one, Listing) else terminal.fold(one, width)

        return "\n".join(map(text, self.shown))


@pytest.fixture(scope="module")
def found(place: Path) -> Callable[[str], Recorder]:
    """Runs a verb once. What takes a tool gives a made-up result: only what is shown of it matters here."""

    @lru_cache
    def run(verb: str) -> Recorder:
        x = np.load(DATA)["x"]
        raw = load(MODEL).predict(x).astype(np.int64)
        recorder = Recorder()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(place)
            patch.setattr(api, "check", lambda *_, **__: REPORT)
            patch.setattr(api, "synth", lambda *_, **__: CELLS)
            patch.setattr(demo, "MULTIPLIERS", 16)
            patch.setattr(demo, "_run_verilog", lambda *_: (raw, REPORT))
            given = parser().parse_args(VERBS[verb].split())
            given.run(given, recorder)
        return recorder

    return run


def tokens(text: str) -> set[str]:
    text = " ".join(word for word in text.split() if set(word) != {"─"})
    return set(re.sub(r"Left out for lack of width: [^.]*\. --json and --csv print every column\.", "", text).split())


@pytest.mark.parametrize("width", [80, 100, 160])
@pytest.mark.parametrize("verb", VERBS)
def test_at_every_width(found: Callable[[str], Recorder], verb: str, width: int) -> None:
    whole, shown = (found(verb).text(room) for room in (None, width))
    assert [line for line in shown.splitlines() if len(line) > width] == []
    # No number and no name is broken, for then there would be a word that the whole table does not have.
    assert tokens(shown) <= tokens(whole)
    # Titles, heads and each row are there: what lines begin with.
    first = {line.split()[0] for line in whole.splitlines() if line[:1].strip()}
    assert first & tokens(whole) <= tokens(shown)


def test_a_broken_number_would_be_seen(found: Callable[[str], Recorder], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fxsim.command.table_layout._least", lambda column, cells: 3)
    with pytest.raises(AssertionError):
        test_at_every_width(found, "plan", 80)


class TestForPrograms:
    """Everything, exactly."""

    #: Parts of each verb's result, and of some of them the number of rows.
    PARTS: ClassVar[dict[str, dict[str, int | None]]] = {
        "info": {"network": None, "layers": 3, "tensors": None, "tables": 7},
        "quantize": {"network": None},
        "predict": {"output": None},
        "profile": {"profile": None, "tensors": None, "weights": 5, "layers": 3, "files": None},
        "scan": {"scan": None, "rows": 5, "held": 2, "files": None},
        "scan of real numbers": {"scan": None, "rows": 3, "files": None},
        "scan of layers": {"scan": None, "rows": 3, "held": 2, "files": None},
        "plan": {"network": None, "plans": None, "stages": None},
        "export": {"files": None, "design": None},
        "check": {"check": None, "doubts": 0},
        "synth": {"cells": 1, "files": None},
        "demo": {"precisions": 5, "verilog": None, "files": None},
    }

    @pytest.mark.parametrize("verb", PARTS)
    def test_parts(self, found: Callable[[str], Recorder], verb: str) -> None:
        parts = json.loads(json_text(found(verb).parts), parse_constant=pytest.fail)
        assert set(parts) == set(self.PARTS[verb])
        for name, count in self.PARTS[verb].items():
            assert count is None or len(parts[name]) == count
        lines = list(csv.reader(io.StringIO(csv_text(found(verb).parts))))
        assert lines[0][0] == "table"
        assert {len(line) for line in lines} == {len(lines[0])}
        assert {line[0] for line in lines[1:]} == {name for name, part in parts.items() if part}

    def test_numbers_are_whole(self, found: Callable[[str], Recorder], place: Path) -> None:
        parts = found("scan").parts
        kept = json.loads((place / "s" / "scan.json").read_text())["rows"]
        for row, same in zip(parts["rows"], kept, strict=True):
            assert row["mean_error"] == same["mean_error"]
            assert [row[f"auc_{k}"] for k in range(10)] == same["class_aucs"]
        table = list(csv.DictReader(io.StringIO(csv_text(parts))))
        errors = [float(row["mean_error"]) for row in table if row["table"] == "rows"]
        assert errors == [row["mean_error"] for row in kept]

    def test_a_profile_has_what_its_files_have(self, found: Callable[[str], Recorder], place: Path) -> None:
        parts = found("profile").parts
        kept = json.loads((place / "p" / "profile.json").read_text())
        for part in ("tensors", "weights", "layers"):
            assert parts[part] == kept[part]

    def test_what_a_check_found(self, found: Callable[[str], Recorder]) -> None:
        check = found("check").parts["check"]
        assert check["values"] == 123456789
        assert check["measured"] == {"latency": 283, "latency_after_last": 66, "interval": 53 / 3}
        assert check["tests"] == ["a.no_stalls", "a.stalls"]

    def test_nothing_else_on_standard_output(self, capsys: pytest.CaptureFixture[str], place: Path) -> None:
        model = str(place / "long.fx")
        for arguments in (["info"], ["plan", "--multipliers", "30", "--stages"]):
            verb, *options = arguments
            assert main([verb, model, *options, "--json"]) == 0
            as_json, err = capsys.readouterr()
            assert err == ""
            assert main([verb, model, *options, "--csv"]) == 0
            as_csv, _ = capsys.readouterr()
            parts = json.loads(as_json)
            rows = list(csv.DictReader(io.StringIO(as_csv)))
            assert len(rows) == sum(len(part) if isinstance(part, list) else 1 for part in parts.values())
            assert parts["network"]["digest"] == rows[0]["digest"]

    def test_an_error_leaves_standard_output_empty(self, capsys: pytest.CaptureFixture[str], place: Path) -> None:
        assert main(["plan", str(place / "long.fx"), "--latency", "1", "--json"]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)

    def test_not_both(self, place: Path) -> None:
        with pytest.raises(SystemExit) as error:
            main(["info", str(place / "long.fx"), "--json", "--csv"])
        assert error.value.code == 2


@pytest.mark.parametrize("width", [80, 160])
def test_a_real_terminal(place: Path, width: int) -> None:
    """The width is the terminal's; a pipe gets every column, whatever COLUMNS says."""
    above, below = pty.openpty()
    fcntl.ioctl(below, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    command = [sys.executable, "-m", "fxsim", "plan", "model.keras"]
    with subprocess.Popen(command, cwd=place, env=environment, stdin=below, stdout=below, stderr=below) as process:
        os.close(below)
        shown = b"".join(read(above)).decode()
    assert process.returncode == 0
    lines = shown.replace("\r\n", "\n").splitlines()
    assert "\x1b" not in shown
    assert max(map(len, lines)) <= width
    assert ("Left out for lack of width" in shown) == (width == 80)
    piped = subprocess.run(
        command, cwd=place, env={**environment, "COLUMNS": "40"}, capture_output=True, text=True, check=True
    ).stdout
    assert max(map(len, piped.splitlines())) > 80
    assert tokens(shown) <= tokens(piped)


def read(handle: int) -> Iterator[bytes]:
    while True:
        try:
            part = os.read(handle, 1 << 16)
        except OSError:  # the other end is closed
            return
        if not part:
            return
        yield part


def test_output_of_unknown_values() -> None:
    """What a verb has found is data before it is text: a part that is no JSON would be seen at once."""
    out = Output("json")
    out.fact("x", "a line", {"array": np.float64(1.5), "path": Path("a/b")})
    assert out.parts["x"] == {"array": 1.5, "path": "a/b"}
