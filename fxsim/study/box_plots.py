# SPDX-License-Identifier: Apache-2.0
"""Box plots of a profile, in the manner of hls4ml's: magnitudes in powers of two, before the range of each format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..extras import importing
from ..pages.table_files import figure
from ..program.fixed import Fixed
from .profiles import Profile
from .statistics import Box

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

_FORMAT, _PROVEN, _BOX, _OVERFLOW = "#dcdcdc", "#f2e2b8", "#0b6e99", "#c8102e"
#: Ops that are others' parts, or are known beforehand.
HIDDEN = ("constant", "slice", "concat")


def activation_figure(found: Profile) -> Figure:
    """Magnitudes of every tensor that the batch gave, before the range of its format and what is proven beyond it."""
    rows = [row for row in found.tensors if row.kind not in HIDDEN]
    lines = [
        (row.tensor, row.format, found.boxes[row.tensor], max(-row.can_low, row.can_high), bool(row.overflows))
        for row in rows
    ]
    text = "value can be, by proof"
    return _boxes(lines, f"Activations, {found.sequences} sequences", text, "format overflowed")


def weight_figure(found: Profile) -> Figure:
    """Magnitudes of weights and biases as they were trained, before the range of their formats."""
    lines = [(row.tensor, row.format, found.boxes[row.tensor], 0.0, bool(row.outside)) for row in found.weights]
    return _boxes(lines, "Weights and biases", None, "some outside of the format")


def _boxes(lines: Sequence[tuple[str, str, Box | None, float, bool]], title: str, can: str | None, over: str) -> Figure:
    with importing("a picture"):
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

    picture = figure(9, 1.6 + 0.24 * len(lines))
    axes = picture.add_subplot()
    least, largest = np.inf, 0.0
    for y, (_, format, box, most, overflowed) in enumerate(reversed(lines)):
        type = Fixed.parse(format)
        low, high = type.lsb, max(type.max, -type.min) * type.lsb
        # The least magnitude of many values is next to nothing; quartiles say where they are.
        least = min(least, low, box.lower if box else low)
        largest = max(largest, high, most, box.largest if box else 0.0)
        if most > high:
            axes.barh(y, most - low, left=low, height=0.8, color=_PROVEN)
        axes.barh(y, high - low, left=low, height=0.8, color=_FORMAT)
        if most and most <= high:
            axes.plot([most, most], [y - 0.4, y + 0.4], color="#a08030", linewidth=1.5)
        if box is not None:
            color = _OVERFLOW if overflowed else _BOX
            axes.plot([box.least, box.largest], [y, y], color=color, linewidth=1, marker="|", markersize=5)
            axes.barh(y, box.upper - box.lower, left=box.lower, height=0.46, color=color, alpha=0.55, edgecolor=color)
            axes.plot([box.median, box.median], [y - 0.23, y + 0.23], color="black", linewidth=1.4)
    axes.set_yticks(range(len(lines)), [line[0] for line in reversed(lines)], fontsize=8)
    axes.set_ylim(-0.7, len(lines) - 0.3)
    axes.set_xscale("log", base=2)
    axes.set_xlim(least / 8, largest * 2)
    axes.set_xlabel("magnitude of values other than zero")
    axes.set_title(f"{title}: least, quartiles, largest", fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    legend: list[Artist] = [
        Patch(color=_FORMAT, label="format, from its step to its end"),
        Patch(color=_BOX, alpha=0.55, label="values, float's where known"),
    ]
    if can:
        legend.append(Line2D([], [], color="#a08030", label=can))
    if any(line[4] for line in lines):
        legend.append(Patch(color=_OVERFLOW, alpha=0.55, label=over))
    picture.legend(handles=legend, loc="outside lower center", ncols=len(legend), fontsize=8, frameon=False)
    return picture
