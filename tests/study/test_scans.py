# SPDX-License-Identifier: Apache-2.0
"""Scans: rows against the network run by hand, every option, and scans that are stopped and go on."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import network
from sources import activation, recurrent

import fxsim
from fxsim.demo.run import DATA, MODEL
from fxsim.errors import FxsimError
from fxsim.importers.source import Bidirectional, Dense, Flatten, Function, Idle, Reshape, Source
from fxsim.study import metrics
from fxsim.study.scan_file import NAME, ScanRow, digest_arrays, digest_source
from fxsim.study.scan_tasks import make_jobs, make_task, with_bits
from fxsim.study.scans import held, run

ROOT = Path(__file__).resolve().parents[2]
SOURCE = fxsim.read_source(MODEL)
X, Y = np.load(DATA)["x"][:100], np.load(DATA)["y"][:100]


class TestRows:
    @pytest.mark.parametrize("preset", ["exact", "hls4ml"])
    def test_are_of_the_network_in_these_formats(self, preset: str) -> None:
        rows = fxsim.scan(SOURCE, X, Y, [7, 9], integers=[3, 4], precision="ap_fixed<16,6,RND,SAT>", preset=preset)
        want = fxsim.predict_float(SOURCE, X)
        best = metrics.mean_auc(metrics.class_aucs(want, Y))
        assert best is not None
        first = rows[0]
        assert (first.preset, first.width, first.precision, first.auc, first.auc_ratio) == (
            "float",
            None,
            "float",
            best,
            1,
        )
        assert (first.largest_error, first.mean_error) == (0, 0)
        assert [(row.width, row.integer) for row in rows[1:]] == [(7, 3), (9, 3), (7, 4), (9, 4)]
        for row in rows[1:]:
            assert row.precision == f"ap_fixed<{row.width},{row.integer},RND,SAT>"
            got = fxsim.load(MODEL, precision=row.precision, preset=preset).predict(X)
            areas = metrics.class_aucs(got, Y)
            assert (row.preset, row.layers, row.class_aucs) == (preset, "", areas)
            assert row.auc == metrics.mean_auc(areas) == row.auc_ratio * best
            assert row.accuracy == np.mean(got.argmax(axis=1) == Y)
            assert (row.largest_error, row.mean_error) == (np.abs(got - want).max(), np.abs(got - want).mean())
            assert row.frac == row.width - row.integer

    def test_presets_side_by_side(self) -> None:
        both = fxsim.scan(SOURCE, X, Y, [8, 12], preset="both")
        one, two = (fxsim.scan(SOURCE, X, Y, [8, 12], preset=preset) for preset in ("exact", "hls4ml"))
        assert both == [*one, *two[1:]]
        assert [row.preset for row in both] == ["float", "exact", "exact", "hls4ml", "hls4ml"]

    @pytest.mark.parametrize("preset", ["exact", "hls4ml"])
    def test_layers_by_themselves_and_together(self, preset: str) -> None:
        base = "ap_fixed<16,6>"
        rows = fxsim.scan(SOURCE, X, Y, [6], integers=[3], preset=preset, layers=["lstm", "lstm,dense"])
        whole = fxsim.scan(SOURCE, X, Y, [6], integers=[3], preset=preset)
        assert [row.layers for row in rows] == ["", "lstm", "lstm,dense"]
        for row in rows[1:]:
            names = dict.fromkeys(row.layers.split(","), "ap_fixed<6,3>")
            got = fxsim.quantize(SOURCE, precision=base, preset=preset, layers=names).predict(X)
            assert row.mean_error == np.abs(got - fxsim.predict_float(SOURCE, X)).mean()
        # What is narrow in fewer layers is nearer to float.
        assert len({row.mean_error for row in (*rows[1:], *whole[1:])}) == 3

    def test_layers_of_their_own(self) -> None:
        same = {layer.name: "ap_fixed<10,4>" for layer in SOURCE.layers if layer.kind != "flatten"}
        for preset in ("exact", "hls4ml"):
            one = fxsim.quantize(SOURCE, precision="ap_fixed<10,4>", preset=preset)
            assert fxsim.quantize(SOURCE, precision="ap_fixed<10,4>", preset=preset, layers=same) == one
            other = fxsim.quantize(SOURCE, precision="ap_fixed<10,4>", preset=preset, layers={"dense": "ap_fixed<9,4>"})
            assert one.nodes[0] == other.nodes[0] and one.nodes[1] != other.nodes[1]
        config = {"Model": {"Precision": "ap_fixed<10,4>"}}
        with pytest.raises(FxsimError, match=r"^layers must be left out with a config, which has its own: LayerName, "):
            fxsim.quantize(SOURCE, config=config, layers={"dense": "ap_fixed<9,4>"})
        with pytest.raises(FxsimError, match=r"^layer must be one of lstm, dense, dense_softmax, not 'gru'$"):
            fxsim.quantize(SOURCE, layers={"gru": "ap_fixed<9,4>"})

    def test_without_labels(self) -> None:
        rows = fxsim.scan(SOURCE, X, None, [8])
        for row in rows:
            assert (row.accuracy, row.auc, row.auc_ratio, row.class_aucs) == (None, None, None, ())
        assert rows[1].mean_error > 0
        message = "^a ratio can be held only with labels y, of more than one class, or with float's R² above 0$"
        with pytest.raises(FxsimError, match=message):
            held(rows, 0.9)

    @pytest.mark.parametrize("preset", ["exact", "hls4ml"])
    def test_tables_of_a_size(self, preset: str) -> None:
        row = fxsim.scan(SOURCE, X, Y, [14], preset=preset, table_size=64)[1]
        got = fxsim.quantize(SOURCE, precision="ap_fixed<14,6>", preset=preset, table_size=64).predict(X)
        assert row.largest_error == np.abs(got - fxsim.predict_float(SOURCE, X)).max()
        assert row != fxsim.scan(SOURCE, X, Y, [14], preset=preset)[1]

    def test_narrow_sums(self) -> None:
        row = fxsim.scan(SOURCE, X, Y, [14], sums="narrow")[1]
        got = fxsim.quantize(SOURCE, precision="ap_fixed<14,6>", sums="narrow").predict(X)
        assert row.largest_error == np.abs(got - fxsim.predict_float(SOURCE, X)).max()
        assert row != fxsim.scan(SOURCE, X, Y, [14])[1]

    def test_one_hot_labels(self) -> None:
        assert fxsim.scan(SOURCE, X, np.eye(10)[Y], [8]) == fxsim.scan(SOURCE, X, Y, [8])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"preset": "magic"}, r"^preset must be one of exact, hls4ml, both, not 'magic'$"),
            ({"table_size": 15}, r"^table_size must be an integer from 16 to 65536, not 15$"),
            ({"table_size": 1 << 17, "preset": "both"}, r"^table_size must be an integer from 16 to 65536, not 131"),
            ({"table_size": 1, "preset": "hls4ml"}, r"^table_size must be an integer from 2 to 1048576 in preset hls4"),
            ({"sums": "wide"}, r"^sums must be one of exact, narrow, not 'wide'$"),
            ({"sums": "narrow", "preset": "both"}, r"^sums must be left out in preset hls4ml"),
            ({"layers": ["gru"]}, r"^layer must be one of lstm, dense, dense_softmax, not 'gru'$"),
            ({"layers": ["lstm,"]}, r"^layer must be one of lstm, dense, dense_softmax, not ''$"),
            ({"widths": [40]}, r"^precision ap_fixed<40,6>: width must be from 2 to 32 in the exact preset$"),
            ({"widths": []}, r"^a scan needs at least one width and one number of integer bits$"),
            ({"integers": []}, r"^a scan needs at least one width and one number of integer bits$"),
            (
                {"precision": "ap_int<8>", "integers": [2]},
                r"^precision must be like ap_fixed<W,I> where integer bits vary",
            ),
            ({"precision": "8"}, r"^precision must look like ap_fixed<W,I"),
            ({"x": X[:0]}, r"^a scan needs at least one sequence$"),
            ({"x": X[..., :5]}, r"^input must have shape \(batch, 8, 8\), not \(100, 8, 5\)$"),
            ({"x": X.astype(str)}, r"^input must be numbers, not <U"),
            (
                {"x": np.where(np.arange(8) == 3, np.inf, X)},
                r"^input value at \(0, 0, 3\) is inf; every value must be ",
            ),
            ({"labels": Y[:5]}, r"^labels y must be 100 numbers"),
            ({"widths": [1], "integers": [1], "preset": "hls4ml"}, r"^hls4ml, ap_fixed<1,1>: layer 'dense_softmax': "),
        ],
    )
    def test_refuses(self, options: dict[str, Any], message: str) -> None:
        given = {"x": X, "labels": Y, "widths": [8], **options}
        with pytest.raises(FxsimError, match=message):
            fxsim.scan(SOURCE, **given)

    def test_precisions_keep_how_they_are_written(self) -> None:
        assert with_bits(" fixed< 16 , 6 , RND,SAT >", 8, None) == " fixed<8,6,RND,SAT>"
        assert with_bits("ap_ufixed<16,6>", 8, -2) == "ap_ufixed<8,-2>"
        assert with_bits("ap_int<8>", 12, None) == "ap_int<12>"
        with pytest.raises(FxsimError, match="the width must be from 1 to 1024"):
            with_bits("ap_fixed<16,6>", 2000, None)


class TestHeld:
    @staticmethod
    def rows(*found: tuple[int, int, float, str]) -> list[ScanRow]:
        none = ScanRow("float", "", None, None, "float", 1.0, 1.0, 1.0, (1.0,), 0.0, 0.0)
        rows = [replace(none, width=w, integer=i, auc=r, auc_ratio=r, preset=p) for w, i, r, p in found]
        return [none, *rows]

    def test_the_narrowest_and_then_the_best(self) -> None:
        rows = self.rows((8, 2, 0.98, "exact"), (9, 2, 0.991, "exact"), (9, 3, 0.995, "exact"), (10, 2, 1.0, "exact"),
                         (12, 2, 0.99, "hls4ml"), (14, 2, 0.999, "hls4ml"))  # fmt: skip
        assert [(row.width, row.integer) for row in held(rows, 0.99)] == [(9, 3), (12, 2)]
        assert [(row.width, row.integer) for row in held(rows, 0.9951)] == [(10, 2), (14, 2)]
        assert [(row.width, row.preset) for row in held(rows, 1.0)] == [(10, "exact")]
        assert held(rows, 1.01) == []

    @pytest.mark.parametrize("ratio", [0, -1, 2.5, float("nan"), float("inf")])
    def test_refuses(self, ratio: float) -> None:
        with pytest.raises(FxsimError, match=rf"^the ratio to hold must be above 0 and at most 2, not {ratio}$"):
            held(self.rows((8, 2, 0.98, "exact")), ratio)


def keep(path: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Change the rows of a record, with the digest that is theirs."""
    data = json.loads(path.read_text())
    data["rows"] = change(data["rows"])
    data["digest"] = hashlib.sha256(json.dumps(data["rows"]).encode()).hexdigest()
    path.write_text(json.dumps(data))


class TestGoesOn:
    """A folder keeps rows as they are done; a scan of the same goes on from them, one of anything else is refused."""

    OPTIONS: dict[str, Any] = {"preset": "both", "integers": [3, 4]}  # noqa: RUF012

    def test_rows_that_are_there_are_not_computed_again(self, tmp_path: Path) -> None:
        jobs = make_jobs(SOURCE, [7, 8], **self.OPTIONS)
        task = make_task(SOURCE, X, Y)
        whole = run(task, jobs, Y)
        seen: list[tuple[int, int]] = []

        def stop(done: int, count: int) -> None:
            seen.append((done, count))
            if done == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(task, jobs, Y, folder=tmp_path, progress=stop)
        kept = json.loads((tmp_path / NAME).read_text())["rows"]
        assert [row["precision"] for row in kept] == ["float", "ap_fixed<7,3>", "ap_fixed<8,3>", "ap_fixed<7,4>"]
        seen.clear()
        assert run(task, jobs, Y, folder=tmp_path, progress=lambda *at: seen.append(at)) == whole
        assert seen == [(done, 8) for done in range(3, 9)]
        seen.clear()
        assert run(task, jobs, Y, folder=tmp_path, progress=lambda *at: seen.append(at)) == whole
        assert seen == [(8, 8)]
        assert [path.name for path in tmp_path.iterdir()] == [NAME]

    def test_what_is_kept_is_what_is_given(self, tmp_path: Path) -> None:
        # A row that was changed stays so: nothing is computed that is there.
        fxsim.scan(SOURCE, X, Y, [7, 8], folder=tmp_path)
        keep(tmp_path / NAME, lambda rows: [*rows[:2], {**rows[2], "accuracy": 0.123}])
        assert fxsim.scan(SOURCE, X, Y, [7, 8], folder=tmp_path)[2].accuracy == 0.123

    @pytest.mark.parametrize("others", [(), (1,), (2, 0)])
    def test_rows_in_any_order(self, tmp_path: Path, others: tuple[int, ...]) -> None:
        jobs = make_jobs(SOURCE, [7, 8, 9])
        task = make_task(SOURCE, X, Y)
        whole = run(task, jobs, Y, folder=tmp_path)
        keep(tmp_path / NAME, lambda rows: [rows[0], *(rows[1 + place] for place in others)])
        assert run(task, jobs, Y, folder=tmp_path) == whole
        assert [row["precision"] for row in json.loads((tmp_path / NAME).read_text())["rows"]] == [
            row.precision for row in whole
        ]

    def test_other_scans_are_refused(self, tmp_path: Path) -> None:
        fxsim.scan(SOURCE, X, Y, [7], folder=tmp_path, **self.OPTIONS)
        before = (tmp_path / NAME).read_bytes()
        other = replace(
            SOURCE, layers=(*SOURCE.layers[:-1], replace(SOURCE.layers[-1], name="other")), outputs=("other",)
        )
        nudged = X.copy()
        nudged[99, 7, 7] += 1e-9
        for what, change in {
            r"model; give another folder": {"source": other},
            r"data; give another folder": {"x": nudged},
            r"data; give another folder ": {"labels": (Y + 1) % 10},
            r"data; give another folder  ": {"labels": None},
            r"width, 7 and not 6:9; give another folder": {"widths": [6, 7, 8, 9]},
            r"integer, 3,4 and not 4; give another folder": {"integers": [4]},
            r"preset, exact,hls4ml and not exact; give another folder": {"preset": "exact"},
            r"layer, none and not lstm; give another folder": {"layers": ["lstm"]},
            r"table_size, none and not 512; give another folder": {"table_size": 512},
            r"sums, none and not narrow; give another folder": {"sums": "narrow", "preset": "exact"},
            r"precision, ap_fixed<16,6> and not ap_fixed<16,6,RND>; give another folder": {
                "precision": "ap_fixed<16,6,RND>"
            },
        }.items():
            given = {"source": SOURCE, "x": X, "labels": Y, "widths": [7], **self.OPTIONS, **change}
            with pytest.raises(FxsimError, match=rf"scan\.json: is the record of a scan of another {what.strip()}$"):
                fxsim.scan(**given, folder=tmp_path)
        assert (tmp_path / NAME).read_bytes() == before

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"rows": 3}', "noise"])
    def test_what_is_no_record_is_left_alone(self, tmp_path: Path, content: str) -> None:
        (tmp_path / NAME).write_text(content)
        with pytest.raises(FxsimError, match=r"scan\.json: "):
            fxsim.scan(SOURCE, X, Y, [7], folder=tmp_path)
        assert (tmp_path / NAME).read_text() == content

    def test_damaged_records(self, tmp_path: Path) -> None:
        jobs, task = make_jobs(SOURCE, [7, 8]), make_task(SOURCE, X, Y)
        whole = run(task, jobs, Y, folder=tmp_path)
        good = (tmp_path / NAME).read_bytes()
        rng = np.random.default_rng(1)
        refused = 0
        for _ in range(300):
            bad = bytearray(good)
            for place in rng.integers(0, len(bad), rng.integers(1, 4)):
                bad[place] = rng.choice(list(b'{}[],:"0x \n\xff'))
            (tmp_path / NAME).write_bytes(bad[: rng.integers(0, len(bad))] if rng.random() < 0.2 else bad)
            try:
                # Blanks may change.
                assert run(task, jobs, Y, folder=tmp_path) == whole
            except FxsimError:
                refused += 1
        assert 250 < refused < 300

    def test_changed_rows(self, tmp_path: Path) -> None:
        fxsim.scan(SOURCE, X, Y, [7], folder=tmp_path)
        text = (tmp_path / NAME).read_text()
        (tmp_path / NAME).write_text(text.replace('"accuracy": 0.', '"accuracy": 0.0', 1))
        with pytest.raises(FxsimError, match=r"scan\.json: the digest does not match the rows; the file was changed$"):
            fxsim.scan(SOURCE, X, Y, [7], folder=tmp_path)

    def test_a_first_row_that_fails_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(FxsimError, match=r"^hls4ml, ap_fixed<1,1>: "):
            fxsim.scan(SOURCE, X, Y, [1], integers=[1], preset="hls4ml", folder=tmp_path / "new")
        assert list(tmp_path.iterdir()) == []

    def test_without_dask(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "distributed", None)
        with pytest.raises(
            FxsimError, match=r'^distributed is not installed; --dask needs: pip install "distributed>='
        ):
            fxsim.scan(SOURCE, X, Y, [7], dask="tcp://127.0.0.1:1")

    def test_two_at_once(self, tmp_path: Path) -> None:
        def again(done: int, count: int) -> None:
            with pytest.raises(FxsimError, match=r": another process is writing there$"):
                fxsim.scan(SOURCE, X, Y, [7], folder=tmp_path)

        assert len(fxsim.scan(SOURCE, X, Y, [7], folder=tmp_path, progress=again)) == 2

    def test_a_killed_scan_goes_on_with_the_same_rows(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "data.npz", x=X, y=Y)
        env = {**os.environ, "PYTHONPATH": str(ROOT)}

        def command(folder: str) -> list[str]:
            options = "--width 6:16 --integer 3,4 --preset both".split()
            return [sys.executable, "-m", "fxsim", "scan", str(MODEL), "data.npz", "-o", folder, *options]

        path = tmp_path / "killed" / NAME
        kills = 0
        for wanted in (3, 17):
            with subprocess.Popen(command("killed"), cwd=tmp_path, env=env, stdout=subprocess.PIPE) as process:
                deadline = time.monotonic() + 120
                while not path.exists() or len(json.loads(path.read_text())["rows"]) < wanted:
                    assert time.monotonic() < deadline and process.poll() is None
                    time.sleep(0.005)
                process.send_signal(signal.SIGKILL)
                process.communicate()
            kills += process.returncode == -signal.SIGKILL
            assert wanted <= len(json.loads(path.read_text())["rows"]) < 45  # of 1 + 11 * 2 * 2
        assert kills == 2
        (tmp_path / "killed" / f".{NAME}.half").write_text("what the kill left")
        for folder in ("killed", "whole"):
            subprocess.run(command(folder), cwd=tmp_path, env=env, check=True, capture_output=True, timeout=300)
        assert path.read_bytes() == (tmp_path / "whole" / NAME).read_bytes()
        for name in ("scan.csv", "report.html"):
            assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        for folder in ("killed", "whole"):
            names = sorted(one.name for one in (tmp_path / folder).iterdir())
            assert names == ["errors.png", "report.html", "roc.png", "scan.csv", NAME, "scan.png"]


def test_digests_see_everything() -> None:
    lstm, *rest = SOURCE.layers
    kernel = lstm.weights["kernel"].copy()
    kernel[0, 0] = np.nextafter(kernel[0, 0], 1)
    changed = [
        replace(lstm, weights={**lstm.weights, "kernel": kernel}),
        replace(lstm, weights={**lstm.weights, "kernel": lstm.weights["kernel"].T.copy().reshape(kernel.shape)}),
        replace(lstm, activation=Function("relu")),
        replace(lstm, name="other"),
        replace(lstm, origin="other"),
    ]
    rows = [(one, *rest) for one in changed] + [(lstm, Idle("a"), *rest)]
    sources = [SOURCE, *(Source.row(SOURCE.name, SOURCE.input_name, SOURCE.shape, row) for row in rows)]
    assert len({digest_source(one) for one in sources}) == len(sources)
    assert digest_source(replace(SOURCE, name="other")) == digest_source(SOURCE)


def test_digests_stay_as_they_are_in_files() -> None:
    """Of a network of all kinds of layers and parameters: a scan that an older fxsim began goes on."""

    def values(*shape: int) -> np.ndarray:
        return (np.arange(np.prod(shape), dtype=float).reshape(shape) - 3) / 8

    def cell(kind: str, name: str, features: int, units: int, **settings: Any) -> Any:
        wide = {"lstm": 4, "gru": 3, "simple_rnn": 1}[kind] * units
        weights = {"kernel": values(features, wide), "recurrent_kernel": values(units, wide), "bias": values(wide)}
        if kind == "gru":
            weights["recurrent_bias"] = values(wide)
        return recurrent(kind, name, weights, return_sequences=True, **settings)

    forward = cell("gru", "forward_b", 2, 2, reset_after=False)
    backward = cell("simple_rnn", "backward_b", 2, 1, activation="relu", use_bias=False)
    layers = (
        Reshape("r", 4),
        cell("lstm", "a", 6, 2, activation="elu", recurrent_activation="hard_sigmoid"),
        Bidirectional("b", merge_mode="concat", forward=forward, backward=backward),
        activation("c", "leaky_relu", "PReLU", alpha=(0.1, 0.2, 0.3)),
        activation("d", "hard_sigmoid", slope=1 / 6),
        activation("e", "thresholded_relu"),
        activation("f", "hard_tanh"),
        Flatten("g"),
        Dense("h", units=2, use_bias=True, weights={"kernel": values(12, 2), "bias": values(2)}),
        activation("i", "elu", alpha=0.5),
        activation("j", "softmax", "Softmax"),
    )
    digest = digest_source(Source.row("net", "x", (24,), (*layers[:3], Idle("drop"), *layers[3:])))
    assert digest == "ce74adb1e3012ed69aec5249eed658d567e9bccf0a5912d237d3c04aaadadf2e"
    arrays = [X, X.astype(np.float16), X.reshape(100, 64), -X]
    assert len({digest_arrays(one) for one in arrays} | {digest_arrays(X, None), digest_arrays(X, Y)}) == 6


class TestRealNumbers:
    """Labels that are real numbers: R² and errors instead of accuracy and AUC."""

    TARGET = fxsim.predict_float(SOURCE, X) + np.random.default_rng(1).normal(0, 0.05, (len(X), 10))

    def test_rows(self) -> None:
        rows = fxsim.scan(SOURCE, X, self.TARGET, [7, 9])
        want = fxsim.predict_float(SOURCE, X)
        best = metrics.r2(want, self.TARGET)
        assert best is not None and best > 0.9
        for row in rows:
            got = want if row.width is None else fxsim.load(MODEL, precision=row.precision).predict(X)
            missed = np.abs(got - self.TARGET)
            assert (row.label_largest_error, row.label_mean_error) == (missed.max(), missed.mean())
            r2 = metrics.r2(got, self.TARGET)
            assert r2 is not None
            assert (row.r2, row.r2_ratio, row.score, row.ratio) == (r2, r2 / best, r2, r2 / best)
            assert (row.accuracy, row.auc, row.auc_ratio, row.class_aucs) == (None, None, None, ())
        assert rows[1].r2 != rows[2].r2

    def test_formats_are_held_by_it(self) -> None:
        scan = fxsim.scan(SOURCE, X, self.TARGET, range(5, 10))
        (best,) = scan.held(0.9)
        enough = [row.width for row in scan.formats if row.r2_ratio is not None and row.r2_ratio >= 0.9]
        assert 5 < min(enough) == best.width
        page = scan.page()
        assert "of float's R²" in page and "AUC" not in page.partition("<section")[2].replace("AUC or R² over", "")
        assert "R²(fixed) / R²(float)" in scan.plot().axes[0].get_ylabel()
        with pytest.raises(FxsimError, match=r"^roc needs labels y that are classes$"):
            scan.plot("roc")
        assert set(scan.files()) == {"scan.csv", "errors.png", "scan.png", "report.html"}

    def test_a_float_network_that_explains_nothing_holds_nothing(self) -> None:
        scan = fxsim.scan(SOURCE, X, self.TARGET[::-1], [8])
        assert scan[0].r2 is not None and scan[0].r2 < 0
        assert (scan[0].r2_ratio, scan[1].r2_ratio, scan.share(None)) == (None, None, None)
        with pytest.raises(FxsimError, match=r"^a ratio can be held only with labels y, .* with float's R² above 0$"):
            scan.held(0.9)

    def test_whether_they_are_may_be_said(self) -> None:
        source = one_output()
        x = np.random.default_rng(0).normal(size=(30, 8, 8))
        y = np.arange(30) % 2
        assert fxsim.scan(source, x, y, [8])[0].accuracy is not None
        assert fxsim.scan(source, x, y, [8], regression=True)[0].r2 is not None
        assert fxsim.scan(source, x, y + 0.5, [8])[0].r2 is not None
        with pytest.raises(FxsimError, match=r"^labels y must be integers from 0 to 1$"):
            fxsim.scan(source, x, y + 0.5, [8], regression=False)
        with pytest.raises(FxsimError, match=r"^regression must be left out without labels y$"):
            fxsim.scan(source, x, None, [8], regression=True)

    def test_the_record_tells_them_apart(self, tmp_path: Path) -> None:
        source, x = one_output(), np.random.default_rng(0).normal(size=(30, 8, 8))
        y = np.arange(30) % 2
        fxsim.scan(source, x, y, [8], folder=tmp_path)
        with pytest.raises(FxsimError, match=r"is the record of a scan of another regression, False and not True"):
            fxsim.scan(source, x, y, [8], folder=tmp_path, regression=True)


def one_output() -> Source:
    """The digits' network with the first of its outputs alone, in front of its softmax."""
    lstm, dense = SOURCE.layers[:2]
    weights = {"kernel": dense.weights["kernel"][:, :1], "bias": dense.weights["bias"][:1]}
    return replace(SOURCE, layers=(lstm, replace(dense, units=1, weights=weights)), outputs=(dense.name,))


class TestGraph:
    """A graph beside the formats of its float network."""

    GRAPH = fxsim.load(MODEL, precision="ap_fixed<9,4>")

    def test_it_has_a_row_of_its_own(self, tmp_path: Path) -> None:
        scan = fxsim.scan(SOURCE, X, Y, [6, 8], graph=self.GRAPH, folder=tmp_path)
        alone = fxsim.scan(SOURCE, X, Y, [9], integers=[4])
        assert [row.preset for row in scan] == ["float", "graph", "exact", "exact"]
        assert replace(scan[1], preset="exact", width=9, integer=4, precision="ap_fixed<9,4>") == alone[1]
        assert scan[1].precision == str(self.GRAPH.input)
        assert [row.width for row in scan.formats] == [6, 8]
        assert {row.preset for row in scan.held(0.5)} == {"exact"}
        kept = json.loads((tmp_path / NAME).read_text())
        assert (kept["graph"], [row["preset"] for row in kept["rows"]]) == (
            self.GRAPH.digest, ["float", "graph", "exact", "exact"],
        )  # fmt: skip
        assert fxsim.scan(SOURCE, X, Y, [6, 8], graph=self.GRAPH, folder=tmp_path) == scan
        with pytest.raises(FxsimError, match=r"is the record of a scan of another graph, "):
            fxsim.scan(SOURCE, X, Y, [6, 8], folder=tmp_path)
        assert str(self.GRAPH.input).replace("<", "&lt;").replace(">", "&gt;") in scan.page()
        for what in ("ratio", "errors", "roc"):
            scan.plot(what)

    def test_it_needs_no_widths(self, tmp_path: Path) -> None:
        scan = fxsim.scan(SOURCE, X, Y, [], graph=self.GRAPH, folder=tmp_path)
        assert [row.preset for row in scan] == ["float", "graph"]
        assert len(json.loads((tmp_path / NAME).read_text())["rows"]) == 2
        assert set(scan.files()) == {"scan.csv", "report.html"}
        with pytest.raises(FxsimError, match=r"^a scan needs at least one width"):
            fxsim.scan(SOURCE, X, Y, [])

    def test_one_of_another_model_is_refused(self) -> None:
        with pytest.raises(FxsimError, match=r"^input must have shape \(batch, 4, 3\)"):
            fxsim.scan(SOURCE, X, Y, [8], graph=network("lstm", steps=4, features=3))
        with pytest.raises(FxsimError, match=r"^the graph gives outputs of shape \(100, 4\), the float"):
            fxsim.scan(SOURCE, X, Y, [8], graph=network("lstm", steps=8, features=8, units=4))
