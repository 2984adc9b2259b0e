# SPDX-License-Identifier: Apache-2.0
"""Pictures of a scan: AUC against bits with a line for each number of integer bits, errors, ROC curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..pages.table_files import figure
from . import metrics
from .scan_file import ScanRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Finish = Callable[[Axes, tuple[str, str]], None]

#: Colours of lines, distinct for readers who tell few colours apart as well; and markers.
_COLORS = ("#0b6e99", "#c44e34", "#2e8b57", "#7b4fa3", "#d99a2b", "#4a4a4a", "#d0669a", "#5bb5c9", "#8a6d3b", "#9bbf30")
_MARKERS = "os^Dv<>Phd"
#: Errors below this are drawn at it.
_LEAST = 1e-12


def ratio_figure(rows: Sequence[ScanRow], hold: float | None = None, picked: Sequence[ScanRow] = ()) -> Figure:
    """AUC (or R²) over float's against fractional bits; ``hold`` is drawn as a line, rows of ``picked`` with a ring.

    A panel for each preset and layer, in it a line for each number of integer bits, as in arXiv:2207.00559.
    """

    def finish(axes: Axes, panel: tuple[str, str]) -> None:
        axes.axhline(1, color="black", linewidth=0.8)
        if hold is not None:
            axes.axhline(hold, color="black", linestyle=":", linewidth=1.2, label=f"held: {hold:g}")
        for row in picked:
            if (row.preset, row.layers) == panel and row.ratio is not None:
                axes.plot(row.frac, row.ratio, "o", markersize=12, fillstyle="none", color="black")

    score = "AUC" if rows[0].r2 is None else "R²"
    return _panels(rows, lambda row: row.ratio, f"{score}(fixed) / {score}(float)", finish)


def error_figure(rows: Sequence[ScanRow]) -> Figure:
    """Mean error of the outputs against float's, against fractional bits; panels and lines as for the ratio."""
    return _panels(rows, lambda row: max(row.mean_error, _LEAST), "mean error", lambda axes, _: axes.set_yscale("log"))


def _panels(rows: Sequence[ScanRow], value: Callable[[ScanRow], float | None], label: str, finish: Finish) -> Figure:
    points = [row for row in rows if row.width is not None]
    presets = list(dict.fromkeys(row.preset for row in points))
    layers = list(dict.fromkeys(row.layers for row in points))
    integers = sorted({row.integer or 0 for row in points})
    picture = figure(4.6 * len(presets) + 0.8, 3.4 * len(layers) + 0.4)
    grid = picture.subplots(len(layers), len(presets), squeeze=False, sharex=True, sharey="row")
    for place, axes in np.ndenumerate(grid):
        preset, layer = presets[place[1]], layers[place[0]]
        for k, integer in enumerate(integers):
            line = [row for row in points if (row.preset, row.layers, row.integer) == (preset, layer, integer)]
            line.sort(key=lambda row: row.frac)
            axes.plot(
                [row.frac for row in line],
                [value(row) for row in line],
                color=_COLORS[k % len(_COLORS)],
                marker=_MARKERS[k % len(_MARKERS)],
                markersize=4.5,
                linewidth=1.4,
                label=f"{integer} integer bits",
            )
        finish(axes, (preset, layer))
        axes.set_title(f"preset {preset}{f', layer {layer}' if layer else ''}", fontsize=10)
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if place[1] == 0:
            axes.set_ylabel(label)
        if place[0] == len(layers) - 1:
            axes.set_xlabel("fractional bits")
    grid[0, 0].legend(fontsize=8)
    return picture


def roc_figure(truth: metrics.Classes, floats: metrics.Array, fixed: Mapping[str, metrics.Array]) -> Figure:
    """ROC curves, a panel for each of ``fixed``: outputs (batch, outputs) by the name of their format.

    Float's curve is solid and that of the format dash-dot, one colour for each class against the rest. Classes without
    examples are left out.
    """
    across = min(len(fixed), 2)
    down = math.ceil(len(fixed) / across)
    picture = figure(4.6 * across + 0.8, 4.2 * down + 0.4)
    grid = picture.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    single = floats.shape[1] == 1
    least = 1.0
    for axes, (name, outputs) in zip(grid.flat, fixed.items(), strict=False):
        for style, which, wide in (("-", "float", 1.4), ("-.", name, 2.0)):
            pairs = metrics.scores(floats if which == "float" else outputs, truth)
            for k, (score, positive) in enumerate(pairs):
                if 0 < positive.sum() < len(positive):
                    false, true = metrics.roc(score, positive)
                    least = min(least, 1 / int((~positive).sum()))
                    label = which if single else f"class {k}" if which == "float" else None
                    color = _COLORS[(k if not single else which != "float") % len(_COLORS)]
                    axes.plot(true, false, style, color=color, linewidth=wide, label=label)
        axes.set_title(f"{name} (dash-dot), float (solid)", fontsize=10)
        axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("share of the class found (signal efficiency)")
    for axes in grid[:, 0]:
        axes.set_ylabel("share of the rest taken for it\n(background efficiency)")
    grid[0, 0].set_ylim(least / 2, 1.2)
    for axes in list(grid.flat)[len(fixed) :]:
        axes.set_visible(False)
    return picture
