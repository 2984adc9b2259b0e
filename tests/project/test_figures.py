# SPDX-License-Identifier: Apache-2.0
"""Figures in the pages are those of the committed baselines, and a changed one is noticed; seeded networks."""

from __future__ import annotations

import copy
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import bench_rtl
import figure_texts
import figures
import numpy as np
import paper
import published
import pytest
from figure_texts import ROOT
from shared import SHARED, needs_shared

from fxsim.errors import FxsimError
from fxsim.quantization.presets import quantize

RENEW = "run: python benchmarks/figures.py"


def copied(tmp_path: Path) -> Path:
    """README.md and docs/*.md somewhere else."""
    (tmp_path / "docs").mkdir()
    for path in figures.pages():
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    return tmp_path


def stale(root: Path) -> list[str]:
    return [line for _, _, lines in figures.stale_pages(root) for line in lines]


class TestPages:
    def test_they_show_the_baselines(self):
        assert stale(ROOT) == [], RENEW

    def test_a_changed_figure_is_named_and_written_again(self, tmp_path):
        root = copied(tmp_path)
        readme = root / "README.md"
        right = readme.read_text()
        mark = "<!-- = rtl.cases.toptag_lstm_parallel.latency -->"
        value = re.search(f"{mark}(.*?)<!--", right)[1]
        readme.write_text(right.replace(f"{mark}{value}", f"{mark}7{value}"))
        line = right[: right.index(mark)].count("\n") + 1
        ((path, text, lines),) = figures.stale_pages(root)
        assert lines == [f"README.md, line {line}: {mark[7:-4]} is '7{value}', must be '{value}'"]
        assert path == readme and text == right

    def test_every_figure_of_every_page_is_compared(self, tmp_path):
        """Each with a digit more, or a dash."""
        root = copied(tmp_path)
        count = 0
        for path in figures.pages(root):
            page = path.read_text()
            count += len(figures._MARK.findall(page))
            path.write_text(figures._MARK.sub(lambda m: m[0].replace("-->" + m["old"], "-->" + m["old"] + "0"), page))
        assert count > 50 and len(stale(root)) == count

    def test_a_changed_baseline_is_noticed(self, monkeypatch):
        right = figure_texts.baseline

        def changed(name, root=ROOT):
            found = copy.deepcopy(right(name, root))
            if name == "rtl":
                found["scan"]["dominated"] -= 1
            return found

        monkeypatch.setattr(figure_texts, "baseline", changed)
        runs = right("rtl")["scan"]["runs"]
        assert [line.split(" is ")[1] for line in stale(ROOT)] == [f"'each', must be '{runs - 1} of {runs}'"]

    def test_two_baselines_that_contradict_each_other_are_refused(self, monkeypatch):
        right = figure_texts.baseline

        def changed(name, root=ROOT):
            found = copy.deepcopy(right(name, root))
            if name == "rtl":
                found["cases"]["toptag_lstm_150"]["latency"] += 1
            return found

        monkeypatch.setattr(figure_texts, "baseline", changed)
        with pytest.raises(
            FxsimError, match=r"paper\.md, line \d+: rtl\.json and paper\.json differ on latency or int"
        ):
            stale(ROOT)

    @pytest.mark.parametrize(
        ("page", "message"),
        [
            ("a\n<!-- = rtl.scan.runs -->864\n", "line 2: a mark of a figure without its other one"),
            ("a<!-- / -->\n", "line 1: a mark of a figure without its other one"),
            (
                "<!-- = rtl.scan.runs -->\n<!-- = rtl.scan.runs -->864<!-- / -->",
                "line 1: figure 'rtl.scan.runs' does not end before the next one",
            ),
            ("\n<!-- = no.such -->1<!-- / -->", "line 2: there is no figure 'no.such'"),
            (
                "<!-- = rtl.cases.none.latency -->1<!-- / -->",
                "line 1: there is no figure 'rtl.cases.none.latency': benchmarks/baselines/rtl.json has no 'none' th",
            ),
            (
                "<!-- = rtl.cases.toptag_lstm_parallel.busy -->1<!-- / -->",
                "line 1: figure 'rtl.cases.toptag_lstm_parallel.busy' must be a whole number or a text, not 0.167",
            ),
        ],
    )
    def test_wrong_marks_are_refused(self, page, message):
        with pytest.raises(FxsimError, match=f"^{re.escape(message)}"):
            figures.fill(page)

    def test_a_figure_that_no_page_has_is_refused(self, tmp_path):
        root = copied(tmp_path)
        page = root / "docs" / "paper.md"
        text = page.read_text()
        page.write_text(re.sub("<!-- = paper.toy_auc -->.*?<!-- / -->", "0.92", text))
        with pytest.raises(FxsimError, match=r"^no page has the figures paper\.toy_auc$"):
            stale(root)

    def test_a_baseline_of_seeded_networks_is_refused(self, tmp_path):
        place = tmp_path / "benchmarks" / "baselines" / "rtl.json"
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps({"weights": "seeded"}))
        with pytest.raises(FxsimError, match=r"^benchmarks/baselines/rtl\.json: is of networks with seeded weights$"):
            figure_texts.baseline("rtl", tmp_path)


class TestPictures:
    def test_they_show_the_baselines(self):
        assert figures.stale_pictures() == [], RENEW

    def test_another_picture_or_none_is_noticed(self, tmp_path):
        shutil.copytree(figures.IMAGES, tmp_path / "images")
        images = tmp_path / "images"
        shutil.copy(images / "paper.png", images / "rtl.png")
        (images / "emulator.png").unlink()
        assert figures.stale_pictures(images) == ["rtl.png", "emulator.png"]

    def test_the_plan_is_that_of_the_demo(self):
        assert list(figures.stale_demo(["plan.png"])) == [], RENEW

    @pytest.mark.long
    def test_profile_and_scan_are_those_of_the_demo(self):
        assert [name for name, _ in figures.stale_demo()] == [], RENEW

    def test_a_signed_picture_stays_one(self):
        matplotlib = pytest.importorskip("matplotlib.image")
        data = figures.PICTURES["rtl.png"].data()
        plain = figures.PICTURES["rtl.png"].draw(data)
        signed = figures.sign(plain, figures.digest(data))
        assert figures.signature(plain) == "" and figures.signature(signed) == figures.digest(data)
        import io

        assert np.array_equal(matplotlib.imread(io.BytesIO(signed)), matplotlib.imread(io.BytesIO(plain)))

    def test_the_digest_is_of_what_is_shown(self):
        data = figures.PICTURES["rtl.png"].data()
        other = copy.deepcopy(data)
        other["fronts"]["lstm"][0] = [other["fronts"]["lstm"][0][0] + 1, other["fronts"]["lstm"][0][1]]
        assert figures.digest(other) != figures.digest(data)
        assert figures.digest([0.1 + 0.2]) == figures.digest([0.3]) != figures.digest([0.30001])

    def test_commands_of_the_demo_are_those_of_the_pages(self):
        text = "".join(path.read_text() for path in figures.pages()).replace("'", "").replace(" --json", "")
        for command, *_ in figures.DEMO.values():
            assert f"$ fxsim {command}" in text


class TestCommand:
    def test_check(self, capsys):
        assert figures.main(["--check", "--no-demo"]) == 0
        assert capsys.readouterr().out == "0 figures are stale\n"

    @pytest.mark.parametrize("given", [["--measure"], ["--shared", "x"], ["--check", "--measure", "--shared", "x"]])
    def test_options_that_contradict_each_other(self, given, capsys):
        with pytest.raises(SystemExit) as ended:
            figures.main(given)
        assert ended.value.code == 2 and "--measure" in capsys.readouterr().err


class TestNetworks:
    @pytest.mark.parametrize("name", list(published.NETWORKS))
    def test_seeded_ones_have_the_published_number_of_parameters(self, name):
        known = published.NETWORKS[name]
        graph = quantize(published.source(name, None))
        assert graph.parameters == known.parameters
        assert graph.digest == quantize(published.source(name, None)).digest
        x = published.inputs(name, None)
        assert x.shape[1:] == (known.steps, known.features) and np.isfinite(graph.predict(x[:4], warn=False)).all()

    @needs_shared
    @pytest.mark.parametrize("name", list(published.NETWORKS))
    def test_seeded_ones_have_the_layers_of_the_trained_ones(self, name):
        def layers(source):
            shapes = [{key: value.shape for key, value in layer.weights.items()} for layer in source.layers]
            return source.shape, [replace(one, weights={}) for one in source.layers], shapes

        seeded, trained = published.source(name, None), published.source(name, SHARED)
        assert layers(seeded) == layers(trained)
        assert not np.array_equal(seeded.layers[0].weights["kernel"], trained.layers[0].weights["kernel"])

    def test_baselines_are_never_of_seeded_networks(self, capsys, monkeypatch):
        place = published.BASELINES / "rtl.json"
        before = place.read_bytes()
        monkeypatch.setattr("sys.argv", ["bench_rtl.py", "--only", "loops", "--json", str(place)])
        with pytest.raises(SystemExit) as ended:
            bench_rtl.main()
        assert ended.value.code == 2 and "baselines are of the trained networks" in capsys.readouterr().err
        monkeypatch.setattr("sys.argv", ["bench_rtl.py", "--only", "loops"])
        monkeypatch.setattr(bench_rtl, "LOOPS", (("xc7", 100.0),))
        bench_rtl.main()
        out, err = capsys.readouterr()
        assert err.startswith("bench_rtl.py: no --shared: networks of the same architectures with seeded weights")
        assert out.count("loop {") == 4 and place.read_bytes() == before

    def test_a_folder_without_models_is_refused(self, tmp_path, capsys):
        with pytest.raises(SystemExit) as ended:
            paper.main(["--shared", str(tmp_path)])
        assert ended.value.code == 2 and "has no models" in capsys.readouterr().err
