# SPDX-License-Identifier: Apache-2.0
"""Pictures of scans and profiles: what is drawn where, and that every row and tensor is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import fxsim
from fxsim.demo.run import DATA, MODEL
from fxsim.pages.table_files import png, to_csv
from fxsim.program.fixed import Fixed
from fxsim.study import box_plots, metrics, scan_plots
from fxsim.study.profiles import Profile, profile
from fxsim.study.scan_file import ScanRow

pytest.importorskip("matplotlib")

NONE = ScanRow("float", "", None, None, "float", 0.9, 0.8, 1.0, (0.8,), 0.0, 0.0)


def rows() -> list[ScanRow]:
    """Two presets, two layers, two numbers of integer bits, widths from wide to narrow."""
    found = [NONE]
    for preset in ("exact", "hls4ml"):
        for layer in ("", "lstm"):
            for integer in (2, 4):
                for width in (12, 8):
                    ratio = width / 12 - 0.01 * integer - 0.1 * (preset == "hls4ml") - 0.05 * (layer == "lstm")
                    row = replace(NONE, preset=preset, layers=layer, width=width, integer=integer)
                    found.append(replace(row, auc_ratio=ratio, mean_error=1 - ratio))
    return found


class TestScan:
    def test_a_panel_for_each_preset_and_layer_and_a_line_for_each_number_of_integer_bits(self) -> None:
        all_rows = rows()
        picked = [all_rows[1], all_rows[-2]]
        picture = scan_plots.ratio_figure(all_rows, 0.9, picked)
        titles = ["preset exact", "preset hls4ml", "preset exact, layer lstm", "preset hls4ml, layer lstm"]
        assert [axes.get_title() for axes in picture.axes] == titles
        for axes in picture.axes:
            _, preset, *layer = axes.get_title().replace(",", "").split()
            lines = {line.get_label(): line for line in axes.lines}
            for integer in (2, 4):
                wanted = sorted(
                    (row.frac, row.auc_ratio)
                    for row in all_rows
                    if (row.preset, row.layers, row.integer) == (preset, "".join(layer[1:]), integer)
                )
                line = lines[f"{integer} integer bits"]
                assert [tuple(point) for point in line.get_xydata()] == wanted
                assert len(wanted) == 2
            assert set(lines["held: 0.9"].get_ydata()) == {0.9}
            rings = [line.get_xydata().tolist() for line in axes.lines if line.get_fillstyle() == "none"]
            mine = [row for row in picked if (row.preset, row.layers) == (preset, "".join(layer[1:]))]
            assert rings == [[[row.frac, row.auc_ratio]] for row in mine]
        # Presets stand side by side on one scale.
        assert picture.axes[0].get_ylim() == picture.axes[1].get_ylim()
        assert png(picture).startswith(b"\x89PNG")

    def test_errors(self) -> None:
        picture = scan_plots.error_figure(rows())
        assert [axes.get_yscale() for axes in picture.axes] == ["log"] * 4
        (line, *_) = picture.axes[0].lines
        assert [tuple(point) for point in line.get_xydata()] == sorted(
            (row.frac, row.mean_error)
            for row in rows()[1:]
            if (row.preset, row.layers, row.integer) == ("exact", "", 2)
        )
        png(picture)

    def test_roc_of_float_is_solid_and_of_fixed_dash_dot(self) -> None:
        rng = np.random.default_rng(2)
        truth = rng.integers(0, 2, 100)
        floats, fixed = (truth[:, None] + rng.normal(size=(100, 1)) for _ in range(2))
        picture = scan_plots.roc_figure(truth, floats, {"a": fixed, "b": floats, "c": fixed})
        assert [axes.get_title()[:1] for axes in picture.axes if axes.get_visible()] == ["a", "b", "c"]
        for axes, outputs in zip(picture.axes, (fixed, floats, fixed), strict=False):
            one, two = axes.lines
            assert (one.get_linestyle(), two.get_linestyle()) == ("-", "-.")
            for line, values in ((one, floats), (two, outputs)):
                false, true = metrics.roc(values[:, 0], truth == 1)
                assert np.array_equal(line.get_xdata(), true) and np.array_equal(line.get_ydata(), false)
        png(picture)

    def test_roc_of_classes(self) -> None:
        rng = np.random.default_rng(3)
        truth = rng.integers(0, 3, 60)  # no example of class 3
        outputs = np.eye(4)[truth] + rng.normal(size=(60, 4))
        picture = scan_plots.roc_figure(truth, outputs, {"a": outputs})
        (axes,) = picture.axes
        assert len(axes.lines) == 6
        for k in range(3):
            one, two = axes.lines[k], axes.lines[3 + k]
            assert one.get_label() == f"class {k}"
            assert one.get_color() == two.get_color()
            assert (one.get_linestyle(), two.get_linestyle()) == ("-", "-.")
            assert np.array_equal(two.get_xdata(), metrics.roc(outputs[:, k], truth == k)[1])
        png(picture)


class TestBoxes:
    @pytest.fixture(scope="class")
    @staticmethod
    def found() -> Profile:
        graph = fxsim.load(MODEL, precision="ap_fixed<12,4>", preset="hls4ml")
        return profile(graph, np.load(DATA)["x"][:30], fxsim.read_source(MODEL))

    def test_a_row_for_each_tensor_before_its_format(self, found: Profile) -> None:
        shown = [row for row in found.tensors if row.kind not in ("constant", "slice", "concat")]
        picture = box_plots.activation_figure(found)
        (axes,) = picture.axes
        assert [label.get_text() for label in reversed(axes.get_yticklabels())] == [row.tensor for row in shown]
        bars = {
            round(bar.get_y() + bar.get_height() / 2, 6): (bar.get_x(), bar.get_x() + bar.get_width())
            for bar in axes.patches
            if round(bar.get_height(), 6) == 0.8
        }
        for y, row in enumerate(reversed(shown)):
            type = Fixed.parse(row.format)
            assert bars[y] == pytest.approx((type.lsb, max(type.max, -type.min) * type.lsb))
        boxed = [bar for bar in axes.patches if round(bar.get_height(), 6) == 0.46]
        assert len(boxed) == sum(found.boxes[row.tensor] is not None for row in shown)
        red = [bar for bar in boxed if bar.get_facecolor()[0] > 0.5]
        assert len(red) == sum(bool(row.overflows) for row in shown) > 0
        box = found.boxes["lstm.sum_i"]
        assert box is not None
        place = len(shown) - 1 - [row.tensor for row in shown].index("lstm.sum_i")
        (mine,) = (bar for bar in boxed if round(bar.get_y() + 0.23, 6) == place)
        assert (mine.get_x(), mine.get_x() + mine.get_width()) == pytest.approx((box.lower, box.upper))
        png(picture)

    def test_weights(self, found: Profile) -> None:
        (axes,) = box_plots.weight_figure(found).axes
        assert [label.get_text() for label in reversed(axes.get_yticklabels())] == [row.tensor for row in found.weights]

    def test_rows_as_csv(self, found: Profile) -> None:
        lines = to_csv(found.tensors).decode().splitlines()
        assert lines[0].startswith("tensor,kind,elements,format,")
        assert len(lines) == 1 + len(found.tensors)
        assert to_csv([replace(NONE, class_aucs=(0.5, None))]).decode().splitlines()[1].split(",")[8] == "0.5 None"
