# SPDX-License-Identifier: Apache-2.0
"""The command line: what it writes, and that every wrong input is one line, status 2, and nothing left behind."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import network

from fxsim.__main__ import main
from fxsim.api import load, read_source
from fxsim.command.cli import parser
from fxsim.demo.run import DATA, MODEL
from fxsim.program.fixed import Fixed
from fxsim.program.graph import Graph
from fxsim.study.floating import predict as predict_float

ROOT = Path(__file__).resolve().parents[2]
Fx = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fx(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fx:
    """Runs a command line in ``tmp_path``; gives status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as error:
            status = int(str(error.code))
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs and models, right and wrong ones; tests only read here."""
    where = tmp_path_factory.mktemp("inputs")
    x = np.load(DATA)["x"][:20]
    np.save(where / "x.npy", x)
    np.save(where / "shape.npy", x[:, :, :5])
    np.save(where / "flat.npy", x[0])
    np.save(where / "none.npy", x[:0])
    np.save(where / "text.npy", np.array(["a", "b"]))
    np.save(where / "complex.npy", x * 1j)
    np.save(where / "fields.npy", np.zeros(3, [("a", "i4")]))
    np.save(where / "object.npy", np.array([{}, []], object), allow_pickle=True)
    nan = x.copy()
    nan[3, 2, 1] = np.nan
    np.save(where / "nan.npy", nan)
    whole = (where / "x.npy").read_bytes()
    (where / "truncated.npy").write_bytes(whole[:-100])
    (where / "header.npy").write_bytes(whole[:20])
    (where / "huge.npy").write_bytes(whole.replace(b"(20, 8, 8), ", b"(99999999999, 8, 8), ").replace(b" " * 9, b"", 1))
    (where / "empty.npy").write_bytes(b"")
    np.savez(where / "data.npz", x=x, y=np.load(DATA)["y"][:20])
    np.savez(where / "no_x.npz", z=x)
    np.savez(where / "bare.npz", x=x)
    np.savez(where / "nan.npz", x=nan)
    np.savez(where / "zero.npz", x=x[:0])
    for name, record in (("noise", "noise"), ("other", '{"fxsim": "0"}')):
        (where / name).mkdir()
        (where / name / "scan.json").write_text(record)
    np.savez(where / "labels.npz", x=x, y=np.full(20, 11))
    np.savez(where / "few.npz", x=x, y=np.arange(3))
    (where / "not.npz").write_bytes(b"PK\x03\x04 and no more")
    (where / "noise.fx").write_bytes(b"noise")
    (where / "noise.keras").write_bytes(b"noise")
    (where / "noise.h5").write_bytes(b"noise")
    (where / "list.json").write_text("[1, 2]")
    (where / "cut.json").write_text('{"Model": ')
    (where / "folding.json").write_text('{"nowhere": {"reuse": 1}}')
    (where / "zero.json").write_text('{"lstm": {"reuse": 0}}')
    (where / "file").write_text("a file\n")
    (where / "foreign").mkdir()
    (where / "foreign" / "thesis.tex").write_text("years of work\n")
    for name, one, other in (
        ("unsupported.keras", b'"class_name": "LSTM"', b'"class_name": "ConvLSTM1D"'),
        ("open.keras", b"[null, 8, 8]", b"[null, null, 8]"),
    ):
        with zipfile.ZipFile(MODEL) as old, zipfile.ZipFile(where / name, "w") as new:
            for member in old.namelist():
                new.writestr(member, old.read(member).replace(one, other))
    network("lstm", steps=3, features=2, units=4).save(where / "tiny.fx")
    load(MODEL).save(where / "digits.fx")
    return where


class TestRefuses:
    """Each row: arguments, where {} stands for the folder of inputs, and what the one line must say."""

    ROWS = (
        ("synthesise ip", "argument VERB: invalid choice: 'synthesise'"),
        ("info {}/tiny.fx --colour", "unrecognized arguments: --colour"),
        ("info {}/tiny.fx --prec x", "unrecognized arguments: --prec"),
        # Models
        ("info {}/no.keras", "no.keras"),
        ("info {}/no.h5", "no.h5"),
        ("info {}/no.fx", "no.fx: no such file"),
        ("info {}/foreign", "foreign"),
        ("info {}/file", "file"),
        ("info {}/noise.keras", "noise.keras"),
        ("info {}/noise.h5", "noise.h5"),
        ("info {}/noise.fx", "noise.fx: not a readable .fx file"),
        ("info {}/unsupported.keras", "ConvLSTM1D"),
        ("info {}/list.json", "weights"),
        ("info {}/open.keras", "the length of a sequence is left open; give it as steps= (--steps)"),
        ("scan {}/open.keras {}/data.npz -o s --width 8", "give it as steps= (--steps)"),
        ("info {}/open.keras --steps 0", "steps must be an integer from 1 to 1048576, not 0"),
        ("info {}/open.keras --steps many", "argument --steps: invalid int value: 'many'"),
        ("info {model} --steps 5", "steps must be 8, as in the model, not 5"),
        ("predict {}/open.keras {}/x.npy -o y.npy --steps 5", "input must have shape (batch, 5, 8), not (20, 8, 8)"),
        ("info {}/tiny.fx --steps 3", "has its weights, formats, tables and steps"),
        # Numerics
        ("info {model} --precision ap_fixed<99>", "precision must look like ap_fixed<W,I"),
        ("info {model} --precision 16", "precision must look like ap_fixed<W,I"),
        ("info {model} --preset magic", "argument --preset: invalid choice: 'magic'"),
        ("info {model} --config {}/no.json", "no.json: cannot be read"),
        ("info {model} --config {}/cut.json", "cut.json: not JSON"),
        ("info {model} --config {}/list.json", "list.json: a config must be a dictionary"),
        ("info {model} --config {}/list.json --precision ap_fixed<8,4>", "precision must be left out with a config"),
        ("info {}/tiny.fx --precision ap_fixed<8,4>", "has its weights, formats, tables and steps"),
        ("info {}/tiny.fx --table-size 64", "has its weights, formats, tables and steps"),
        ("info {model} --config {}/list.json --table-size 64", "table_size must be left out with a config"),
        ("info {model} --table-size 1e3", "argument --table-size: invalid int value: '1e3'"),
        ("info {model} --table-size 8", "table_size must be an integer from 16 to 65536, not 8"),
        ("predict {model} {}/x.npy -o y.npy --table-size 8", "table_size must be an integer from 16 to 65536, not 8"),
        ("profile {model} {}/x.npy -o p --table-size 8", "table_size must be an integer from 16 to 65536, not 8"),
        ("scan {model} {}/data.npz -o s --width 8 --table-size 8", "table_size must be an integer from 16 to 65536"),
        ("plan {model} --table-size 8", "table_size must be an integer from 16 to 65536, not 8"),
        ("export {model} -o ip --table-size 8", "table_size must be an integer from 16 to 65536, not 8"),
        ("export {model} -o ip --data {}/data.npz --table-size 8", "table_size must be an integer from 16 to 65536"),
        ("info {model} --sums wide", "argument --sums: invalid choice: 'wide'"),
        ("info {}/tiny.fx --sums narrow", "has its weights, formats, tables and steps"),
        ("info {model} --sums narrow --preset hls4ml", "sums must be left out in preset hls4ml"),
        ("export {model} -o ip --config {}/list.json --sums narrow", "sums must be left out in preset hls4ml"),
        (
            "scan {model} {}/data.npz -o s --width 8 --preset both --sums exact",
            "sums must be left out in preset hls4ml",
        ),
        ("info {model} --preset hls4ml --table-size 1", "table_size must be an integer from 2 to 1048576 in preset"),
        # Arrays
        ("predict {model} {}/no.npy -o y.npy", "no.npy: cannot be read (No such file or directory)"),
        ("predict {model} {}/foreign -o y.npy", "foreign: cannot be read (Is a directory)"),
        ("predict {model} {}/shape.npy -o y.npy", "input must have shape (batch, 8, 8), not (20, 8, 5)"),
        ("predict {model} {}/flat.npy -o y.npy", "input must have shape (batch, 8, 8), not (8, 8)"),
        ("predict {model} {}/nan.npy -o y.npy", "input value at (3, 2, 1) is nan; every value must be finite"),
        ("predict {model} {}/object.npy -o y.npy", "object.npy: is not an .npy file of plain numbers"),
        ("predict {model} {}/text.npy -o y.npy", "input must be numbers"),
        ("predict {model} {}/complex.npy -o y.npy", "input must be numbers"),
        ("predict {model} {}/fields.npy -o y.npy", "input must be numbers"),
        ("predict {model} {}/truncated.npy -o y.npy", "truncated.npy: is not an .npy file"),
        ("predict {model} {}/header.npy -o y.npy", "header.npy: is not an .npy file"),
        ("predict {model} {}/huge.npy -o y.npy", "huge.npy: is not an .npy file"),
        ("predict {model} {}/empty.npy -o y.npy", "empty.npy: is not an .npy file"),
        ("predict {model} {}/file -o y.npy", "file: is not an .npy file"),
        ("predict {model} {}/data.npz -o y.npy", "data.npz: is an .npz file, an .npy file is needed"),
        ("predict {model} {}/x.npy -o nowhere/y.npy", "nowhere/y.npy: cannot write (No such file or directory)"),
        ("predict {model} {}/x.npy -o {}/file/y.npy", "file/y.npy: cannot write (Not a directory)"),
        ("predict {model} {}/x.npy", "the following arguments are required: -o/--output"),
        # Profile and scan
        ("profile {model} {}/none.npy -o p", "profile needs at least one sequence"),
        ("profile {model} {}/nan.npy -o p", "every value must be finite"),
        ("profile {model} {}/x.npy -o {}/file/p", "file/p: cannot write"),
        ("scan {model} {}/data.npz -o s", "the following arguments are required: --width"),
        ("scan {model} {}/data.npz -o s --width 8 --float {model}", "--float goes with a .fx graph as MODEL"),
        ("profile {model} {}/x.npy -o p --float {model}", "--float goes with a .fx graph as MODEL"),
        ("profile {}/digits.fx {}/x.npy -o p --float {}/digits.fx", "digits.fx: is a quantised graph; this needs the"),
        ("scan {}/tiny.fx {}/data.npz -o s --float {model}", "input must have shape (batch, 3, 2), not (20, 8, 8)"),
        ("profile {}/digits.fx {}/x.npy -o p --precision ap_fixed<8,4>", "has its weights, formats"),
        ("scan {model} {}/bare.npz -o s --width 8 --regression", "regression must be left out without labels y"),
        ("quantize {model} -o net.h5", "the output must be a .fx file, not net.h5"),
        ("quantize {}/tiny.fx -o net.fx", "tiny.fx: is quantised already"),
        ("quantize {model} -o nowhere/net.fx", "nowhere/net.fx: cannot write (No such file or directory)"),
        ("quantize {model} -o net.fx --precision ap_fixed<99>", "precision must look like ap_fixed<W,I"),
        ("quantize {model}", "the following arguments are required: -o/--output"),
        ("scan {model} {}/data.npz -o s --width x", "must be A:B or a list, for example 8:20 or 8,12,16, not 'x'"),
        ("scan {model} {}/data.npz -o s --width 8:9:10", "argument --width: must be A:B or a list"),
        ("scan {model} {}/data.npz -o s --width 8,,9", "argument --width: must be A:B or a list"),
        ("scan {model} {}/data.npz -o s --width 9:8", "argument --width: must be A:B with 1 <= A <= B <= 64"),
        ("scan {model} {}/data.npz -o s --width 8:1000000000000", "argument --width: must be A:B with 1 <= A <= B"),
        ("scan {model} {}/data.npz -o s --width 8,65", "argument --width: must be A:B with 1 <= A <= B <= 64, or such"),
        ("scan {model} {}/data.npz -o s --width 8 --integer 65", "argument --integer: must be A:B with -32 <= A <= B"),
        ("scan {model} {}/data.npz -o s --width 8 --integer a:b", "for example 2:6 or 2,4,6, not 'a:b'"),
        ("scan {model} {}/data.npz -o s --width 40", "precision ap_fixed<40,6>: width must be from 2 to 32"),
        ("scan {model} {}/data.npz -o s --width 8 --layer gru", "layer must be one of lstm, dense, dense_softmax"),
        (
            "scan {model} {}/data.npz -o s --width 8 --hold 3",
            "the ratio to hold must be above 0 and at most 2, not 3.0",
        ),
        ("scan {model} {}/data.npz -o s --width 8 --hold nan", "the ratio to hold must be above 0 and at most 2"),
        ("scan {model} {}/bare.npz -o s --width 8 --hold 0.9", "a ratio can be held only with labels y"),
        ("scan {model} {}/nan.npz -o s --width 8", "input value at (3, 2, 1) is nan; every value must be finite"),
        ("scan {model} {}/zero.npz -o s --width 8", "a scan needs at least one sequence"),
        ("scan {model} {}/data.npz -o {}/file/s --width 8", "file/s: cannot write"),
        ("scan {model} {}/data.npz -o {}/noise --width 8", "noise/scan.json: is not JSON"),
        ("scan {model} {}/data.npz -o {}/other --width 8", "other/scan.json: is not the record of a scan"),
        ("scan {model} {}/data.npz -o s --width 8 --preset magic", "argument --preset: invalid choice: 'magic'"),
        ("profile {model} {}/x.npy -o p --preset both", "argument --preset: invalid choice: 'both'"),
        ("scan {model} {}/data.npz -o s --width 8:9 --config {}/list.json", "takes --precision and --preset"),
        ("export {}/tiny.fx -o ip --data {}/data.npz", "is a quantised graph; for --data, give the trained model with"),
        ("export {model} -o ip --data {}/x.npy", "x.npy"),
        ("scan {}/tiny.fx {}/data.npz -o s --width 8:9", "is a quantised graph; for scan, give the trained model with"),
        ("scan {model} {}/no.npz -o s --width 8:9", "no.npz: cannot be read"),
        ("scan {model} {}/not.npz -o s --width 8:9", "not.npz: is not an .npz file"),
        ("scan {model} {}/x.npy -o s --width 8:9", "x.npy: is an .npy file, an .npz file with x is needed"),
        ("scan {model} {}/no_x.npz -o s --width 8:9", "no_x.npz: array 'x' is missing; it has z"),
        ("scan {model} {}/labels.npz -o s --width 8:9", "labels y must be integers from 0 to 9"),
        ("scan {model} {}/few.npz -o s --width 8:9", "labels y must be 20 numbers"),
        # Foldings
        ("plan {}/tiny.fx --multipliers 1", "multipliers must be at least"),
        ("plan {}/tiny.fx --latency 1", "latency must be at least"),
        ("plan {}/tiny.fx --interval 1", "interval must be at least"),
        ("plan {}/tiny.fx --latency 0", "the budget must be a positive integer, not 0"),
        ("plan {}/tiny.fx --latency 9 --multipliers 9", "not allowed with argument --latency"),
        ("plan {}/tiny.fx -o f.json", "--output needs one of --multipliers, --dsp, --lut, --latency, --interval"),
        ("export {}/tiny.fx -o ip --reuse 0", "reuse must be an integer from 1 to"),
        ("export {}/tiny.fx -o ip --reuse -1", "reuse must be an integer from 1 to"),
        ("export {}/tiny.fx -o ip --reuse 1000000000000", "reuse must be an integer from 1 to"),
        ("export {}/tiny.fx -o ip --reuse 1.5", "argument --reuse: invalid int value: '1.5'"),
        ("export {}/tiny.fx -o ip --reuse 2 --folding {}/zero.json", "not allowed with argument --reuse"),
        ("export {}/tiny.fx -o ip --folding {}/no.json", "no.json: cannot be read"),
        ("export {}/tiny.fx -o ip --folding {}/cut.json", "cut.json: not JSON"),
        ("export {}/tiny.fx -o ip --folding {}/x.npy", "x.npy: is not text"),
        ("export {}/tiny.fx -o ip --folding {}/folding.json", "folding names layer 'nowhere'"),
        ("export {}/tiny.fx -o ip --folding {}/zero.json", "reuse of layer 'lstm' must be an integer from 1"),
        ("export {}/tiny.fx -o ip --clock-mhz 0", "clock must be from 1 to 2000 MHz, not 0.0"),
        ("export {}/tiny.fx -o ip --clock-mhz nan", "clock must be from 1 to 2000 MHz, not nan"),
        ("export {}/tiny.fx -o ip --family virtex", "argument --family: family must be one of xc7 (artix7,"),
        ("plan {}/tiny.fx --stages", "--stages needs one of --multipliers, --dsp, --lut, --latency, --interval"),
        ("export {}/tiny.fx -o ip --interleave 0", "interleave must be an integer from 1 to 64, not 0"),
        ("export {}/tiny.fx -o ip --unroll 0", "unroll must be 1 or 3, the steps of a sequence, not 0"),
        ("export {}/tiny.fx -o ip --top 1st", "top must be an identifier"),
        ("export {}/tiny.fx -o ip --top module", "a word of SystemVerilog"),
        ("export {}/tiny.fx -o ip --top a__b", "top must be an identifier"),
        ("export {}/tiny.fx -o ip --top ../x", "top must be an identifier"),
        # Places
        ("export {}/tiny.fx --output=", "the output folder must have a name"),
        ("export {}/tiny.fx -o {}/file", "file: is not a folder"),
        ("export {}/tiny.fx -o {}/file/sub", "file/sub: cannot write (Not a directory)"),
        ("export {}/tiny.fx -o {}/foreign", "foreign: is neither empty nor an earlier export, so it is left alone"),
        ("demo -o {}/file/sub", "file/sub: cannot write"),
        # Exported folders
        ("check no", "no/manifest.json: cannot be read"),
        ("check {}/foreign", "foreign/manifest.json: cannot be read"),
        ("check {}/tiny.fx", "tiny.fx/manifest.json: cannot be read"),
        ("check no --sequences 3 --inputs x.npy", "not allowed with argument --sequences"),
        ("check no --simulator modelsim", "argument --simulator: invalid choice: 'modelsim'"),
        ("synth no", "no/manifest.json: cannot be read"),
        ("synth no --route", "no/manifest.json: cannot be read"),
        ("synth no --family xc7 --route", "family must be ecp5 to be routed, not 'xc7'"),
        ("synth no --family spartan3", "argument --family: family must be one of xc7 (artix7,"),
    )

    @pytest.mark.parametrize(("arguments", "message"), ROWS, ids=[row[0] or "nothing" for row in ROWS])
    def test_one_line(self, fx: Fx, folder: Path, tmp_path: Path, arguments: str, message: str) -> None:
        before = sorted(folder.rglob("*"))
        status, out, err = fx(
            *(word.replace("{}", str(folder)).replace("{model}", str(MODEL)) for word in arguments.split())
        )
        assert (status, out) == (2, "")
        assert message in err
        assert err.startswith("fxsim: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        assert "internal error" not in err
        assert list(tmp_path.iterdir()) == []
        assert sorted(folder.rglob("*")) == before

    def test_reader_that_leaves(self, folder: Path) -> None:
        command = ["bash", "-c", f"{sys.executable} -m fxsim info {MODEL} | head -n 1"]
        run = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
        # Whether the pipe is full before the reader leaves is chance; what may not be is a traceback.
        assert run.stderr in ("", "fxsim: standard output was closed\n")

    def test_full_disk(self, folder: Path) -> None:
        if not Path("/dev/full").exists():
            pytest.skip("no /dev/full on this system")
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-m", "fxsim", "info", str(MODEL)]
            run = subprocess.run(
                command, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert run.returncode == 2
        assert run.stderr == "fxsim: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_difference_is_status_1_and_a_missing_tool_2(
    fx: Fx, folder: Path, monkeypatch: pytest.MonkeyPatch, form: tuple[str, ...]
) -> None:
    from testbenches import CheckError, Mismatch

    assert fx("export", folder / "tiny.fx", "-o", "ip")[0] == 0
    wrong = Mismatch("output, sequence 3, step 0, element 1: expected 5, got 6", "value", sequence=3, expected=5, got=6)
    for error, status in ((wrong, 1), (CheckError("Verilator is not installed"), 2)):
        monkeypatch.setattr("fxsim.api.check", lambda *_, error=error, **__: (_ for _ in ()).throw(error))
        found, out, err = fx("check", "ip", *form)
        assert (found, err) == (status, f"fxsim: {error}\n")
        if form and status == 1:
            check = json.loads(out)["check"]
            assert (check["agrees"], check["kind"], check["sequence"], check["got"]) == (False, "value", 3, 6)
        else:
            assert out == ""


def test_a_pipe_or_device_is_not_replaced(fx: Fx, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    status, _, err = fx("plan", str(MODEL), "--multipliers", "300", "-o", str(pipe))
    assert (status, err) == (2, f"fxsim: {pipe}: is not a regular file, so it is left alone\n")
    assert pipe.is_fifo()


def environment() -> dict[str, str]:
    """In which processes find this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_export_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "fxsim", "export", str(MODEL), "-o", "ip"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.iterdir()):  # the temporary folder
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, f"fxsim: interrupted by {number.name}\n")
    assert list(tmp_path.iterdir()) == []


class TestWorks:
    def test_version_and_help(self, fx: Fx) -> None:
        assert fx("--version") == (0, "fxsim 0.1.0\n", "")
        for verb in ("info", "quantize", "predict", "profile", "scan", "plan", "export", "check", "synth", "demo"):
            status, out, err = fx(verb, "--help")
            assert (status, err) == (0, "")
            assert out.startswith(f"usage: fxsim {verb}")

    def test_alone_it_shows_help(self, fx: Fx) -> None:
        status, out, err = fx()
        assert (status, err) == (0, "")
        assert (status, out, err) == fx("--help")
        assert out.startswith("usage: fxsim")
        assert "Exit status: 0 for success; 1 if check finds a difference; 2 for any other error" in " ".join(
            out.split()
        )

    @pytest.mark.parametrize("before", [True, False])
    def test_quiet(self, fx: Fx, folder: Path, before: bool) -> None:
        def quiet(verb: str, *more: object) -> tuple[int, str, str]:
            return fx("-q", verb, *more) if before else fx(verb, *more, "--quiet")

        assert quiet("info", folder / "tiny.fx") == (0, "", "")
        assert quiet("predict", MODEL, folder / "x.npy", "-o", "y.npy") == (0, "", "")
        assert np.load("y.npy").shape == (20, 10)
        assert quiet("export", folder / "tiny.fx", "-o", "ip") == (0, "", "")
        status, out, err = quiet("plan", folder / "tiny.fx", "--latency", 1)
        assert (status, out, err.count("\n")) == (2, "", 1)
        # What a program has asked for still comes.
        assert json.loads(quiet("info", folder / "tiny.fx", "--json")[1])["network"]["name"]

    def test_no_color_is_the_same_as_the_variable(self, fx: Fx, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        assert "\x1b[1m" in fx("info", folder / "tiny.fx")[1]
        monkeypatch.setenv("NO_COLOR", "1")
        plain = fx("info", folder / "tiny.fx")[1]
        assert "\x1b" not in plain
        for words in (("--no-color", "info", folder / "tiny.fx"), ("info", folder / "tiny.fx", "--no-color")):
            monkeypatch.setenv("NO_COLOR", "")
            assert fx(*words)[1] == plain

    def test_info(self, fx: Fx) -> None:
        status, out, err = fx("info", MODEL, "--precision", "ap_fixed<12,5>")
        assert (status, err) == (0, "")
        for text in (
            "digits: 3 layers, 1770 parameters; input 8 x 8 x ap_fixed<12,5,AP_RND,AP_SAT>",
            "lstm.h",
            "sigmoid",
            "dense_softmax",
        ):
            assert text in out
        assert fx("info", MODEL, "--preset", "hls4ml")[0] == 0

    def test_predict(self, fx: Fx, folder: Path) -> None:
        graph, x = load(MODEL, precision="ap_fixed<10,4>"), np.load(folder / "x.npy")
        assert fx("predict", MODEL, folder / "x.npy", "-o", "y.npy", "--precision", "ap_fixed<10,4>")[0] == 0
        y = np.load("y.npy")
        assert y.dtype == np.float64
        assert np.array_equal(y, graph.predict(x))
        assert fx("predict", MODEL, folder / "x.npy", "-o", "r.npy", "--precision", "ap_fixed<10,4>", "--raw")[0] == 0
        raw = np.load("r.npy")
        assert raw.dtype == np.int64
        assert np.array_equal(raw, y * 2.0**graph.output.frac)
        assert fx("predict", MODEL, folder / "none.npy", "-o", "n.npy")[0] == 0
        assert np.load("n.npy").shape == (0, 10)

    def test_tables_of_a_size(self, fx: Fx, folder: Path) -> None:
        x, options = np.load(folder / "x.npy"), ("--precision", "ap_fixed<14,4>", "--table-size", "64")
        assert fx("predict", MODEL, folder / "x.npy", "-o", "y.npy", *options)[0] == 0
        got, usual = np.load("y.npy"), load(MODEL, precision="ap_fixed<14,4>").predict(x)
        assert np.array_equal(got, load(MODEL, precision="ap_fixed<14,4>", table_size=64).predict(x))
        assert not np.array_equal(got, usual)
        assert fx("scan", MODEL, folder / "data.npz", "-o", "s", "--width", "14", *options)[0] == 0
        assert json.loads(Path("s/scan.json").read_text())["table_size"] == 64
        status, _, err = fx("export", MODEL, "-o", "ip", "--data", folder / "data.npz", *options)
        assert (status, err) == (0, "")
        assert Graph.load("ip/graph.fx") == load(MODEL, precision="ap_fixed<14,4>", table_size=64)

    def test_narrow_sums(self, fx: Fx, folder: Path) -> None:
        x, options = np.load(folder / "x.npy"), ("--precision", "ap_fixed<14,4>", "--sums", "narrow")
        graph = load(MODEL, precision="ap_fixed<14,4>", sums="narrow")
        assert fx("predict", MODEL, folder / "x.npy", "-o", "y.npy", *options)[0] == 0
        assert np.array_equal(np.load("y.npy"), graph.predict(x))
        assert not np.array_equal(graph.predict(x), load(MODEL, precision="ap_fixed<14,4>").predict(x))
        assert fx("quantize", MODEL, "-o", "n.fx", *options)[0] == 0
        assert Graph.load("n.fx") == graph
        assert fx("scan", MODEL, folder / "data.npz", "-o", "s", "--width", "14", *options)[0] == 0
        assert json.loads(Path("s/scan.json").read_text())["sums"] == "narrow"

    def test_a_saved_graph_is_a_model(self, fx: Fx, folder: Path) -> None:
        for name, model in (("a", MODEL), ("b", folder / "digits.fx")):
            assert fx("predict", model, folder / "x.npy", "-o", f"{name}.npy")[0] == 0
        assert np.array_equal(np.load("a.npy"), np.load("b.npy"))

    def test_steps_of_a_model_that_leaves_them_open(self, fx: Fx, folder: Path, tmp_path: Path) -> None:
        model, options = folder / "open.keras", ("--steps", 8)
        for verb in (
            ("info",),
            ("predict", folder / "x.npy", "-o", "y.npy"),
            ("profile", folder / "x.npy", "-o", "p"),
            ("scan", folder / "data.npz", "-o", "s", "--width", "8"),
            ("plan", "--multipliers", 100),
            ("export", "-o", "ip", "--reuse", 64, "--data", folder / "data.npz"),
        ):
            status, _, error = fx(verb[0], model, *verb[1:], *options)
            assert (status, error.startswith("fxsim:")) == (0, False), verb
        assert np.array_equal(np.load(tmp_path / "y.npy"), load(MODEL).predict(np.load(folder / "x.npy")))
        assert Graph.load(tmp_path / "ip" / "graph.fx").shape == (8, 8)

    def test_every_verb_that_reads_a_model_takes_steps(self) -> None:
        (verbs,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
        takes = {
            name: {option for action in one._actions for option in (action.dest, *action.option_strings)}
            for name, one in verbs.choices.items()
        }
        assert all("--steps" in options for options in takes.values() if "model" in options)
        assert sum("model" in options for options in takes.values()) >= 6

    def test_a_precision_is_given_once(self, fx: Fx, folder: Path, tmp_path: Path) -> None:
        """Whatever a verb does with a model and its numerics, it does with the .fx graph that they give."""
        numerics = ("--preset", "hls4ml", "--precision", "ap_fixed<12,5>")
        status, out, err = fx("quantize", MODEL, "-o", "net.fx", *numerics)
        assert (status, err) == (0, "")
        graph = Graph.load("net.fx")
        assert graph.digest == load(MODEL, preset="hls4ml", precision="ap_fixed<12,5>").digest
        assert out.splitlines()[-1] == f"net.fx: digest {graph.digest}"
        (tmp_path / "net.fx").rename(tmp_path / "digits.fx")  # named as the model, which is the name of a design
        beside = ("--float", MODEL)
        for verb, more, apart in (
            ("info", (), ()),
            ("predict", (folder / "x.npy", "-o", "y.npy"), ()),
            ("profile", (folder / "x.npy", "-o", "p"), beside),
            ("plan", ("--multipliers", 100, "-o", "f.json"), ()),
            ("export", ("-o", "ip", "--reuse", 64, "--data", folder / "data.npz"), beside),
        ):
            found = []
            for model in ((MODEL, *more, *numerics), ("digits.fx", *more, *apart)):
                shown = fx(verb, *model)
                assert shown[0] == 0, shown
                found.append((shown, contents(tmp_path)))
            assert found[0] == found[1]

    def test_weights_are_those_of_the_float_model(self, fx: Fx, folder: Path, tmp_path: Path) -> None:
        with zipfile.ZipFile(MODEL) as archive:
            (tmp_path / "m.json").write_bytes(archive.read("config.json"))
            (tmp_path / "w.h5").write_bytes(archive.read("model.weights.h5"))
        beside = ("--float", "m.json", "--weights", "w.h5")
        assert fx("profile", folder / "digits.fx", folder / "x.npy", "-o", "p", *beside)[0] == 0
        assert (tmp_path / "p" / "errors.csv").exists()

    def test_a_scan_beside_a_graph(self, fx: Fx, folder: Path, tmp_path: Path) -> None:
        graph = folder / "digits.fx"
        status, out, err = fx("scan", graph, folder / "data.npz", "-o", "s", "--float", MODEL, "--json")
        assert (status, err) == (0, "")
        found = json.loads(out)
        assert [row["preset"] for row in found["rows"]] == ["float", "graph"]
        assert found["files"]["names"] == ["scan.json", "scan.csv", "report.html"]
        status, out, err = fx(
            "scan", graph, folder / "data.npz", "-o", "t", "--float", MODEL, "--width", "6,8", "--json"
        )
        rows = json.loads(out)["rows"]
        assert [row["preset"] for row in rows] == ["float", "graph", "exact", "exact"]
        assert rows[1] == found["rows"][1]

    def test_a_scan_of_real_numbers(self, fx: Fx, folder: Path, tmp_path: Path) -> None:
        data = dict(np.load(folder / "data.npz"))
        target = predict_float(read_source(MODEL), data["x"])
        np.savez(tmp_path / "real.npz", x=data["x"], y=1.05 * target)
        status, out, err = fx("scan", MODEL, "real.npz", "-o", "s", "--width", "6,10")
        assert (status, err) == (0, "")
        assert "R²" in out and "AUC" not in out
        assert "0.99 of float's R²" in out
        row = json.loads((tmp_path / "s" / "scan.json").read_text())["rows"][0]
        assert row["label_mean_error"] == pytest.approx(0.05 * np.abs(target).mean())
        assert row["label_largest_error"] == pytest.approx(0.05 * np.abs(target).max())
        assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
            "errors.png", "report.html", "scan.csv", "scan.json", "scan.png",
        ]  # fmt: skip

    def test_a_config_implies_hls4ml(self, fx: Fx, folder: Path, tmp_path: Path) -> None:
        config = {"Model": {"Precision": "ap_fixed<14,5>", "ReuseFactor": 1}}
        (tmp_path / "c.json").write_text(json.dumps(config))
        assert fx("predict", MODEL, folder / "x.npy", "-o", "a.npy", "--config", "c.json")[0] == 0
        expected = load(MODEL, config=config, preset="hls4ml").predict(np.load(folder / "x.npy"))
        assert np.array_equal(np.load("a.npy"), expected)

    def test_profile(self, fx: Fx, folder: Path, tmp_path: Path) -> None:
        status, out, err = fx("profile", MODEL, folder / "x.npy", "-o", "deep/p", "--precision", "ap_fixed<8,3>")
        assert (status, err) == (0, "")
        assert "Results against float" in out
        lines = [line.split() for line in out.splitlines()]
        assert any(line[:2] == ["lstm.h", "ap_fixed<8,1,AP_RND,AP_SAT>"] for line in lines)
        assert any(line[:1] == ["lstm.uh.weights"] for line in lines)
        place = tmp_path / "deep" / "p"
        names = ["errors.csv", *(f"profile.{e}" for e in ("csv", "json", "png")), "weights.csv", "weights.png"]
        assert sorted(path.name for path in place.iterdir()) == names
        assert out.splitlines()[-1] == (
            "deep/p: profile.csv, profile.json, profile.png, weights.csv, weights.png, errors.csv"
        )
        for name in ("profile.png", "weights.png"):
            assert (place / name).read_bytes().startswith(b"\x89PNG")
        found = json.loads((place / "profile.json").read_text())
        rows = {row["tensor"]: row for row in found["tensors"]}
        assert rows["lstm.x"]["seen_high"] == 1.0
        assert all(row["can_low"] <= row["seen_low"] <= row["seen_high"] <= row["can_high"] for row in rows.values())
        assert [row["layer"] for row in found["layers"]] == ["lstm", "dense", "dense_softmax"]
        assert all(0 < row["rms_error"] <= row["largest_error"] for row in found["layers"])
        assert len((place / "profile.csv").read_text().splitlines()) == 1 + len(rows)
        status, out, err = fx("profile", folder / "digits.fx", folder / "x.npy", "-o", "q")
        assert (status, err) == (0, "")
        assert "against float" not in out
        assert sorted(path.name for path in (tmp_path / "q").iterdir()) == names[1:]

    def test_scan(self, fx: Fx, folder: Path, tmp_path: Path) -> None:
        status, out, err = fx("scan", MODEL, folder / "data.npz", "-o", "s", "--width", "6:9")
        assert (status, err) == (0, "")
        rows = json.loads((tmp_path / "s" / "scan.json").read_text())["rows"]
        assert [row["width"] for row in rows] == [None, 6, 7, 8, 9]
        errors = [row["mean_error"] for row in rows]
        assert errors[0] == 0 < errors[4] < errors[1]
        assert rows[0]["accuracy"] == 1.0
        names = ["scan.json", "scan.csv", "errors.png", "scan.png", "roc.png", "report.html"]
        assert out.splitlines()[-1] == f"s: {', '.join(names)}"
        assert sorted(path.name for path in (tmp_path / "s").iterdir()) == sorted(names)
        for name in names[2:5]:
            assert (tmp_path / "s" / name).read_bytes().startswith(b"\x89PNG")
        table = [line.split(",") for line in (tmp_path / "s" / "scan.csv").read_text().splitlines()]
        assert len(table) == 6
        # It goes on from what is there, and another one is refused.
        again = fx("scan", MODEL, folder / "data.npz", "-o", "s", "--width", "6:9", "--hold", "0.5")
        assert again[1].partition("exact: ")[0] == out.partition("exact: ")[0] != out
        refused = fx("scan", MODEL, folder / "data.npz", "-o", "s", "--width", "6:10")
        assert refused[0] == 2
        assert (
            "scan.json: is the record of a scan of another width, 6:9 and not 6:10; give another folder" in refused[2]
        )

    def test_scan_of_everything(self, fx: Fx, folder: Path, tmp_path: Path) -> None:
        options = "--width 5,8 --integer 3:4 --layer lstm dense,dense_softmax --preset both --precision ap_fixed<14,5>"
        status, out, err = fx("scan", MODEL, folder / "data.npz", "-o", "s", *options.split(), "--hold", "0.97")
        assert (status, err) == (0, "")
        data = json.loads((tmp_path / "s" / "scan.json").read_text())
        assert data["precision"] == "ap_fixed<14,5>"
        found = [(row["preset"], row["layers"], row["integer"], row["width"]) for row in data["rows"][1:]]
        layers = ("lstm", "dense,dense_softmax")
        assert found == [(p, n, i, w) for p in ("exact", "hls4ml") for n in layers for i in (3, 4) for w in (5, 8)]
        picked = [line for line in out.splitlines() if " 0.97 of float's AUC" in line]
        least = {(row["preset"], row["layers"]): 99 for row in data["rows"][1:]}
        for row in data["rows"][1:]:
            if row["auc_ratio"] >= 0.97:
                key = row["preset"], row["layers"]
                least[key] = min(least[key], row["width"])
        assert {width < 99 for width in least.values()} == {False, True}
        for line, ((preset, layer), width) in zip(picked, least.items(), strict=True):
            held = f"ap_fixed<{width}," if width < 99 else "none of these formats holds 0.97 of float's AUC"
            assert line.startswith(f"{preset}, layer {layer}: {held}")
        page = (tmp_path / "s" / "report.html").read_text()
        assert page.count("<b>Enough:</b>") == sum(width < 99 for width in least.values())
        assert page.count("<b>Not enough:</b>") == sum(width == 99 for width in least.values())
        assert page.count("<img") == 3
        assert all(f"<td>{row['auc_ratio']:.5g}</td>" in page for row in data["rows"])
        assert page.count('<tr class="m">') == page.count("<b>Enough:</b>")

    def test_scan_that_nothing_holds(self, fx: Fx, folder: Path) -> None:
        status, out, err = fx("scan", MODEL, folder / "data.npz", "-o", "s", "--width", "3", "--hold", "1.5")
        assert (status, err) == (0, "")
        assert "\nexact: none of these formats holds 1.5 of float's AUC\n" in out

    def test_scan_without_labels(self, fx: Fx, folder: Path, tmp_path: Path) -> None:
        status, _, err = fx("scan", MODEL, folder / "bare.npz", "-o", "s", "--width", "8,6")
        assert (status, err) == (0, "")
        assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
            "errors.png", "report.html", "scan.csv", "scan.json",
        ]  # fmt: skip
        assert "compared with float's outputs alone" in (tmp_path / "s" / "report.html").read_text()
        rows = json.loads((tmp_path / "s" / "scan.json").read_text())["rows"]
        assert [row["width"] for row in rows] == [None, 8, 6]
        assert {row["auc"] for row in rows} == {None}

    def test_an_export_tells_how_well_it_does(self, fx: Fx, folder: Path, tmp_path: Path) -> None:
        status, _, err = fx("export", MODEL, "-o", "ip", "--precision", "ap_fixed<8,3>", "--data", folder / "data.npz")
        assert (status, err) == (0, "")
        text = (tmp_path / "ip" / "report.html").read_text()
        told = text.partition('id="accuracy"')[2].partition("</section>")[0]
        assert "20 sequences" in told
        x, y = np.load(folder / "data.npz").values()
        got, want = load(MODEL, precision="ap_fixed<8,3>").predict(x), predict_float(read_source(MODEL), x)
        assert f"<td>{np.mean(got.argmax(axis=1) == y):.5g}</td>" in told
        assert f"<td>{np.abs(got - want).max():.5g}</td>" in told

    def test_a_planned_folding_is_the_exported_one(self, fx: Fx, folder: Path, tmp_path: Path) -> None:
        status, out, err = fx("plan", folder / "tiny.fx", "--multipliers", 30, "-o", "f.json")
        assert (status, err) == (0, "")
        chosen = next(line.split() for line in out.splitlines() if "<-" in line)
        assert fx("export", folder / "tiny.fx", "-o", "a", "--folding", "f.json")[0] == 0
        assert fx("export", folder / "tiny.fx", "-o", "b", "--multipliers", 30)[0] == 0
        manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
        assert manifest["folding"] == json.loads((tmp_path / "f.json").read_text())["layers"]
        cost = manifest["cost"]
        luts = cost["lut"] + cost["lutram"]
        cells = [cost["multipliers"], cost["dsp"], luts, cost["ff"], cost["bram"], manifest["timing"]["latency"]]
        assert chosen[1:7] == [f"{number:g}" for number in cells]
        assert contents(tmp_path / "a") == contents(tmp_path / "b")

    def test_a_folding_file_says_clock_and_family(self, fx: Fx, folder: Path, tmp_path: Path) -> None:
        tiny = folder / "tiny.fx"
        options = ("--clock-mhz", 300, "--family", "virtexup")
        assert fx("plan", tiny, "--latency", 90, "-o", "f.json", *options)[0] == 0
        assert fx("export", tiny, "-o", "ip", "--folding", "f.json")[0] == 0
        manifest = json.loads((tmp_path / "ip" / "manifest.json").read_text())
        assert (manifest["clock_mhz"], manifest["family"]) == (300.0, "xcup")
        assert fx("export", tiny, "-o", "ip", "--folding", "f.json", *options)[0] == 0
        network("lstm", steps=3, features=2, units=4, seed=5).save(tmp_path / "other.fx")
        for model, more, said in (
            (tiny, ("--clock-mhz", 200), "clock_mhz must be 300.0, for which the folding was planned, not 200.0"),
            (tiny, ("--family", "xc7"), "family must be xcup, for which the folding was planned, not 'xc7'"),
            (tiny, ("--multiplier", "lut"), "multiplier must be left out with a folding, which has its own, not 'lut'"),
            ("other.fx", (), "f.json: was planned for another network or other formats"),
        ):
            before = contents(tmp_path / "ip")
            status, out, err = fx("export", model, "-o", "ip", "--folding", "f.json", *more)
            assert (status, out) == (2, "")
            assert said in err
            assert contents(tmp_path / "ip") == before
        # Interleaving is an option of export where the folding says nothing of it, and else the same.
        assert fx("export", tiny, "-o", "ip", "--folding", "f.json", "--interleave", 2)[0] == 0
        data = json.loads((tmp_path / "f.json").read_text()) | {"interleave": 3}
        (tmp_path / "g.json").write_text(json.dumps(data))
        assert fx("export", tiny, "-o", "ip", "--folding", "g.json", "--interleave", 3)[0] == 0
        refused = fx("export", tiny, "-o", "ip", "--folding", "g.json", "--interleave", 2)
        assert refused[2] == "fxsim: interleave must be left out or 3, as in the folding, not 2\n"

    def test_plans_beside_each_other(self, fx: Fx, folder: Path, tmp_path: Path) -> None:
        status, out, err = fx("plan", folder / "tiny.fx", "--latency", 60, "--plot", "front.png")
        assert (status, err) == (0, "")
        assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
        names = next(line.split() for line in out.splitlines() if "multipliers" in line)
        assert names[:7] == ["reuse", "multipliers", "DSP", "LUT", "FF", "BRAM", "latency"]
        rows = [line.split() for line in out.splitlines() if line.split()[1:2] and line.split()[1].isdigit()]
        # From fast to small.
        latency, multipliers = ([int(row[place]) for row in rows] for place in (6, 1))
        assert len(rows) > 3
        assert latency == sorted(latency)
        assert multipliers == sorted(multipliers, reverse=True)
        assert sum("<-" in row for row in rows) == 1

    def test_plans_for_ecp5(self, fx: Fx, folder: Path) -> None:
        status, out, err = fx("plan", folder / "tiny.fx", "--family", "ecp5", "--clock-mhz", 50, "--plot", "front.png")
        assert (status, err) == (0, "")
        assert "DSP" in out and "LUT" in out
        found = fx("plan", folder / "tiny.fx", "--family", "ecp5", "--clock-mhz", 50, "--lut", 5000)
        assert (found[0], found[2]) == (0, "")

    def test_an_earlier_export_is_replaced_whole(self, fx: Fx, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "ip").mkdir()
        assert fx("export", folder / "tiny.fx", "-o", "ip", "--reuse", 4, "--top", "first")[0] == 0
        first = contents(tmp_path / "ip")
        assert {"first.v", "graph.fx", "manifest.json", "vectors.npz"} <= set(first)
        assert fx("export", folder / "tiny.fx", "-o", "ip", "--reuse", 0)[0] == 2
        assert contents(tmp_path / "ip") == first
        assert fx("export", folder / "tiny.fx", "-o", "ip", "--reuse", 4, "--top", "second")[0] == 0
        named = {"graph.fx", "manifest.json", "second.v", "second.core", "sim/second_tb.v", "vivado/second.xdc"}
        found = set(contents(tmp_path / "ip"))
        assert named <= found and not any("tiny" in name for name in found)
        assert [path.name for path in tmp_path.iterdir()] == ["ip"]

    def test_export_of_a_trained_model(self, fx: Fx, tmp_path: Path) -> None:
        status, out, err = fx("export", MODEL, "-o", "new/ip", "--reuse", 64, "--clock-mhz", 250, "--family", "xcup")
        assert (status, err) == (0, "")
        names = "Makefile, README.md, component.xml, digits.core, digits.v, graph.fx, manifest.json, "
        names += "report.html, sim/, vectors.npz"
        assert f"new/ip: {names}, vivado/\n" in out
        manifest: dict[str, Any] = json.loads((tmp_path / "new" / "ip" / "manifest.json").read_text())
        graph = Graph.load(tmp_path / "new" / "ip" / "graph.fx")
        assert manifest["digest"] == graph.digest == load(MODEL).digest
        assert (manifest["top"], manifest["files"]) == ("digits", ["digits.v"])
        assert (manifest["clock_mhz"], manifest["family"]) == (250.0, "xcup")
        assert (manifest["clock"], manifest["reset"]) == ("aclk", "aresetn")
        sides = {"input": ("s_axis", 8, 8), "output": ("m_axis", 10, 1)}
        for name, (prefix, elements, beats) in sides.items():
            side = manifest[name]
            assert (side["prefix"], side["elements_per_beat"], side["beats_per_sequence"]) == (prefix, elements, beats)
            assert Fixed.parse(side["element"]) == getattr(graph, name).plain
            assert side["stride_bits"] == 16
        assert set(manifest["timing"]) == {"latency", "latency_after_last", "interval"}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
