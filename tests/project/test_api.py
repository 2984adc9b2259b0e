# SPDX-License-Identifier: Apache-2.0
"""The Python interface: lazy names, loading, export, and a check that finds a changed Verilog."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import network

import fxsim
from fxsim.demo.run import DATA, MODEL
from fxsim.program.ops import Lookup
from testbenches import CheckError, CheckReport, Mismatch

ROOT = Path(__file__).resolve().parents[2]


class TestNames:
    def test_every_name_is_there(self) -> None:
        assert set(fxsim.__all__) <= set(dir(fxsim))
        for name in fxsim.__all__:
            assert getattr(fxsim, name) is not None
        with pytest.raises(AttributeError, match=r"^module 'fxsim' has no attribute 'nothing'$"):
            fxsim.nothing  # noqa: B018

    def test_import_is_light(self) -> None:
        heavy = ("numpy", "numba", "h5py", "amaranth", "rtl", "testbenches", "rich", "matplotlib")
        loaded = f"[name for name in {heavy} if name in sys.modules]"
        code = f"import sys, fxsim; print({loaded}); fxsim.load, fxsim.export; print({loaded})"
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert run.stdout == "[]\n['numpy']\n"

    def test_verbs_stay_verbs_when_their_modules_are_imported(self) -> None:
        import fxsim.quantization.presets
        import fxsim.simulator.run
        import fxsim.study.scans

        for verb in (fxsim.simulate, fxsim.quantize, fxsim.scan):
            assert callable(verb)
        assert sys.modules["fxsim.simulator.run"].simulate is fxsim.simulate


class TestLoad:
    def test_forms_of_one_model(self, tmp_path: Path) -> None:
        graph = fxsim.load(MODEL)
        assert graph == fxsim.load(str(MODEL), precision="ap_fixed<16,6>")
        assert graph == fxsim.quantize(fxsim.read_source(MODEL))
        graph.save(tmp_path / "other.fx")
        assert fxsim.load(tmp_path / "other.fx") == graph
        assert graph.name == "digits"

    def test_table_size(self) -> None:
        for options in ({}, {"preset": "hls4ml"}):
            small, large = (fxsim.load(MODEL, table_size=size, **options) for size in (64, 2048))
            program = small.nodes[0].program
            sizes = {len(op.table.values.data) for op in program.ops if isinstance(op, Lookup)}
            assert 32 < max(sizes) <= 64
            assert small == fxsim.quantize(fxsim.read_source(MODEL), table_size=64, **options)
            assert large != small

    def test_sums(self) -> None:
        usual, narrow = fxsim.load(MODEL), fxsim.load(MODEL, sums="narrow")
        assert narrow == fxsim.quantize(fxsim.read_source(MODEL), sums="narrow") != usual
        assert fxsim.load(MODEL, sums="exact") == usual

    def test_predict(self) -> None:
        x = np.load(DATA)["x"][:50]
        graph = fxsim.load(MODEL)
        run = fxsim.simulate(graph, x, trace=True)
        assert np.array_equal(graph.predict(x), run.values)
        assert run.trace["lstm.c"].shape == (50, 8, 16)
        assert np.abs(graph.predict(x) - fxsim.predict_float(fxsim.read_source(MODEL), x)).max() < 0.05

    @pytest.mark.parametrize(
        ("model", "options", "message"),
        [
            ("a.fx", {"weights": "w.h5"}, r"^a\.fx: has its weights, formats, tables and steps; give no weights, "),
            ("a.fx", {"preset": "exact"}, r"^a\.fx: has its weights, formats, tables and steps"),
            (
                "a.fx",
                {"table_size": 64},
                r"^a\.fx: .*; give no weights, precision, config, preset, table_size, sums or steps$",
            ),
            ("a.fx", {"sums": "exact"}, r"^a\.fx: has its weights, formats, tables and steps"),
            (MODEL, {"sums": "wide"}, r"^sums must be one of exact, narrow, not 'wide'$"),
            (MODEL, {"sums": "narrow", "preset": "hls4ml"}, r"^sums must be left out in preset hls4ml, which has its "),
            (MODEL, {"table_size": 15}, r"^table_size must be an integer from 16 to 65536, not 15$"),
            (object(), {"weights": "w.h5"}, r"^weights must be given for an architecture \.json only$"),
            (3, {}, "needs a Keras model"),
            (None, {}, "needs a Keras model"),
        ],
    )
    def test_refuses(self, model: Any, options: dict[str, Any], message: str) -> None:
        with pytest.raises(fxsim.FxsimError, match=message):
            fxsim.load(model, **options)


class TestExport:
    def test_arguments(self, tmp_path: Path) -> None:
        graph = network("gru")
        for options, message in (
            (
                {"reuse": 2, "latency": 9},
                r"^give one of folding, reuse, multipliers, dsp, lut, latency, interval, not both",
            ),
            ({"folding": 3}, r"^folding must be a Folding or a file, not int$"),
            ({"interleave": True}, r"^interleave must be an integer from 1 to 64, not True$"),
            ({"unroll": True}, r"^unroll must be 1 or 4, the steps of a sequence, not True$"),
            ({"input_beat": "half"}, r"^input beat must be step, sequence or a number of elements, not 'half'$"),
            ({"input_beat": 5}, r"^input beat must have 1, 3, 12 elements, not 5$"),
            ({"multiplier": "ram"}, r"multiplier must be one of auto, dsp, lut, not 'ram'$"),
            ({"clock_mhz": "200"}, r"^clock must be from 1 to 2000 MHz, not '200'$"),
        ):
            with pytest.raises(fxsim.FxsimError, match=message):
                fxsim.export(graph, tmp_path / "ip", **options)  # type: ignore[arg-type]
        with pytest.raises(
            fxsim.FxsimError, match=r"^a plan needs exactly one of multipliers, dsp, lut, latency, interval and reuse$"
        ):
            fxsim.plan(graph)
        assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def ip(tmp_path_factory: pytest.TempPathFactory) -> fxsim.Ip:
    """A small design; tests only read it, but for the verdicts on its page."""
    graph = network("lstm", steps=3, features=2, units=4)
    place = tmp_path_factory.mktemp("ip") / "ip"
    return fxsim.export(graph, place, folding=fxsim.plan(graph, reuse=2), top="tiny")


class TestCheck:
    def test_agrees(self, ip: fxsim.Ip) -> None:
        report = fxsim.check(ip.folder, sequences=30)
        assert report.differences == 0
        assert report.measured == report.predicted
        assert report.measured is not None
        assert report.measured.latency == ip.manifest["timing"]["latency"]
        assert ip.latency_us == ip.manifest["timing"]["latency"] / 200
        assert len(report.tests) > 10

    def test_finds_a_changed_verilog_and_says_where(self, ip: fxsim.Ip, tmp_path: Path) -> None:
        place = tmp_path / "ip"
        shutil.copytree(ip.folder, place)
        text = (place / "tiny.v").read_text()
        start = text.index("module tiny_network_lstm ")
        found = re.compile(r"= \$signed\([^;]*\) (\+) \$signed").search(text, start)
        assert found is not None
        (place / "tiny.v").write_text(text[: found.start(1)] + "-" + text[found.end(1) :])
        message = r"^layer 'lstm', op '\w+', sequence \d+, step \d+, unit \d: expected "
        with pytest.raises(Mismatch, match=message) as caught:
            fxsim.check(place, sequences=20)
        assert caught.value.layer == "lstm"

    def test_inner_ops_are_compared_too(self, ip: fxsim.Ip, tmp_path: Path) -> None:
        # Outputs saturate and round much away: a wrong inner result must not need to reach them.
        assert fxsim.check(ip.folder, sequences=8).inner > 1000
        place = tmp_path / "wrong"
        shutil.copytree(ip.folder, place)
        tap = next(tap for tap in ip.manifest["taps"] if tap["op"] == "cf")
        text = (place / "tiny.v").read_text()
        wrong = re.sub(rf"assign {tap['data']} = (.*);", rf"assign {tap['data']} = (\1) ^ 1'b1;", text)
        assert wrong != text
        (place / "tiny.v").write_text(wrong)
        with pytest.raises(Mismatch, match=r"^layer 'lstm', op 'cf', sequence 0, step 0, unit 0: expected"):
            fxsim.check(place, sequences=8)

    def test_refuses(self, ip: fxsim.Ip, tmp_path: Path) -> None:
        for name, message in (
            ("manifest.json", r"manifest\.json: cannot be read"),
            ("graph.fx", r"graph\.fx: no such file"),
            ("tiny.v", r"file 'tiny\.v' of files does not exist"),
        ):
            place = tmp_path / name
            shutil.copytree(ip.folder, place)
            (place / name).unlink()
            with pytest.raises((fxsim.FxsimError, CheckError), match=message):
                fxsim.check(place)
        place = tmp_path / "other"
        shutil.copytree(ip.folder, place)
        network("lstm", seed=3, steps=3, features=2, units=4).save(place / "graph.fx")
        with pytest.raises(fxsim.FxsimError, match=r"not of one export \(their digests differ\)$"):
            fxsim.check(place)
        for options, message in (
            ({"sequences": 0}, r"^sequences must be a positive integer, not 0$"),
            ({"inputs": np.zeros((0, 3, 2))}, r"^inputs hold no sequence$"),
            ({"inputs": np.zeros((1, 3, 5))}, r"^input must have shape \(batch, 3, 2\), not \(1, 3, 5\)$"),
            ({"simulator": "modelsim"}, r"^simulator must be one of verilator, icarus, not 'modelsim'$"),
        ):
            with pytest.raises((fxsim.FxsimError, CheckError), match=message):
                fxsim.check(ip.folder, **options)

    def test_doubts_a_constant_output(self, ip: fxsim.Ip, monkeypatch: pytest.MonkeyPatch) -> None:
        passed = CheckReport("tiny", 3, 9, 12, 0, 0, None, None, ("a",))
        monkeypatch.setattr("testbenches.check_folder", lambda *_, **__: passed)
        with pytest.warns(UserWarning, match=r"^all 3 sequences have the same output, which hides most faults$"):
            fxsim.check(ip.folder, inputs=np.zeros((3, 3, 2)))
        assert "all 3 sequences have the same output" in (ip.folder / "report.html").read_text()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fxsim.check(ip.folder, sequences=20)


class TestSynth:
    def test_counts(self, ip: fxsim.Ip, tmp_path: Path) -> None:
        pytest.importorskip("pyosys")
        place = tmp_path / "with a blank"
        shutil.copytree(ip.folder, place)
        found = fxsim.synth(place)
        assert (found["family"], found["top"], found["digest"]) == ("xc7", "tiny", ip.manifest["digest"])
        assert found["lut"] > 100
        assert found["ff"] > 100
        assert 0 < found["dsp"] <= ip.manifest["cost"]["multipliers"]
        assert (place / "synth_xc7.json").is_file()

    def test_refuses(self, ip: fxsim.Ip, tmp_path: Path) -> None:
        pytest.importorskip("pyosys")
        place = tmp_path / "ip"
        shutil.copytree(ip.folder, place)
        (place / "tiny.v").write_text("module tiny(input a; endmodule\n")
        with pytest.raises(fxsim.FxsimError, match=r"^Yosys ended with status \d+: .*syntax error"):
            fxsim.synth(place)
        with pytest.raises(fxsim.FxsimError, match=r"^family must be one of xc7 \(artix7, .*, not 'virtex'$"):
            fxsim.synth(place, family="virtex")
        assert not (place / "synth_xc7.json").exists()


@pytest.mark.parametrize("verb", [lambda it: fxsim.plan(it, reuse=1), lambda it: fxsim.export(it, "ip")])
def test_what_is_no_graph_is_refused(verb: Any) -> None:
    with pytest.raises(fxsim.FxsimError, match=r"^graph must be a Graph, as fxsim\.load gives it, not str$"):
        verb("model.keras")
