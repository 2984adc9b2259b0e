# SPDX-License-Identifier: Apache-2.0
"""Accuracy against bits: preset exact, and hls4ml's arithmetic with its default modes and with rounding and saturation.

    python benchmarks/bench_accuracy.py [--shared DIR]

DIR holds ``models``, ``data`` and ``golden`` (the trained networks of arXiv:2207.00559, 125 drawings, test inputs);
without it, beside the demo network, their weights are seeded (published.py): errors against float are then those of
random networks. For every width each preset has the best of a few numbers of integer bits, by its mean error. The table
goes to standard output, the rows to JSON; figures.py draws the picture and writes the pages.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import published
from numpy.typing import NDArray

import fxsim
from fxsim.files.folder import write_whole
from fxsim.importers import read_model
from fxsim.importers.source import Source
from fxsim.pages.table_files import figure
from fxsim.quantization.presets import quantize
from fxsim.simulator.run import predict
from fxsim.study.floating import predict as predict_float

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTHS = (8, 10, 12, 14, 16, 18, 20)
#: Label, preset and modes of the precision, colour and marker in the picture.
PRESETS = {
    "exact": ("exact", "", "#0b6e99", "o"),
    "hls4ml": ("hls4ml", "", "#c44e34", "s"),
    "hls4ml RND SAT": ("hls4ml", ",AP_RND,AP_SAT", "#d99a2b", "^"),
}
TITLES = {"quickdraw": ", 5 classes", "digits": "Digits (demo), 10 classes"}
#: Networks in the order of the picture, integer bits that are tried, and widths that the pictures show.
INTEGERS = {"quickdraw": (6, 8, 9, 10), "toptag": (2, 3, 4, 6), "ftag": (4, 5, 6, 8), "digits": (2, 3, 4, 6)}
LABELLED = ("quickdraw/lstm", "quickdraw/gru", "digits")


def title(name: str) -> str:
    """A network over its panel."""
    more = TITLES.get(name.partition("/")[0], "")
    return f"{published.NETWORKS[name].title}{more}" if name in published.NETWORKS else more


@dataclass(frozen=True)
class Case:
    """A network with inputs; ``y`` are the classes, where known; ``integers`` the integer bits that are tried."""

    name: str
    source: Source
    x: NDArray[np.float64]
    y: NDArray[np.int64] | None
    integers: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One measurement. ``accuracy``: share of right classes, or of those that float gives where none are known."""

    network: str
    preset: str
    width: int
    integer: int
    accuracy: float
    float_accuracy: float
    mean_error: float
    max_error: float

    def __str__(self) -> str:
        return (
            f"{self.network:15} {self.preset:15} {f'<{self.width},{self.integer}>':>9} {self.accuracy:9.3f} "
            f"{self.float_accuracy:7.3f} {self.mean_error:11.6f} {self.max_error:8.4f}"
        )


def printed(rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Print each row as soon as it is measured; their fields, for JSON."""
    found = []
    for row in rows:
        found.append(asdict(row))
        print(row, flush=True)
    return found


def cases(shared: Path | None) -> Iterator[Case]:
    """The demo network and the six of the paper, trained with ``shared``, else seeded."""
    demo = Path(fxsim.__path__[0]) / "demo"
    test = np.load(demo / "digits_test.npz")
    yield Case("digits", read_model(demo / "digits.keras"), test["x"].astype(float), test["y"], INTEGERS["digits"])
    for name in sorted(published.NETWORKS):
        kind = name.partition("/")[0]
        y = None
        if kind == "quickdraw" and shared is not None:
            y = np.load(shared / "data" / "quickdraw125.npz")["y"]
        yield Case(name, published.source(name, shared), published.inputs(name, shared), y, INTEGERS[kind])


def classes(y: NDArray[np.float64]) -> NDArray[np.int64]:
    """The class of each output: the largest, or for one output whether it passes a half."""
    return (y[:, 0] > 0.5).astype(np.int64) if y.shape[1] == 1 else y.argmax(axis=1)


def measure(case: Case, widths: Sequence[int]) -> Iterator[Row]:
    """A row for every preset and width."""
    want = predict_float(case.source, case.x)
    labels = classes(want) if case.y is None else case.y
    right = float(np.mean(classes(want) == labels))
    for label, (preset, modes, _, _) in PRESETS.items():
        for width in widths:
            rows = []
            for integer in case.integers:
                precision = f"ap_fixed<{width},{integer}{modes}>"
                got = predict(quantize(case.source, precision=precision, preset=preset), case.x, warn=False)
                error = np.abs(got - want)
                accuracy = float(np.mean(classes(got) == labels))
                rows.append(
                    Row(case.name, label, width, integer, accuracy, right, float(error.mean()), float(error.max()))
                )
            yield min(rows, key=lambda row: row.mean_error)


def picture(rows: Sequence[Row]) -> Figure:
    """Accuracy where classes are known, below it the mean error of the other networks on a logarithmic axis."""
    names = list(dict.fromkeys(row.network for row in rows))
    labelled = [name for name in LABELLED if name in names]
    lines = [labelled, [name for name in published.NETWORKS if name in names and name not in labelled]]
    columns = max(len(labelled) + 1, len(lines[1]))
    whole = figure(3.3 * columns, 6.0)
    grid = whole.subplots(2, columns, squeeze=False, sharey="row")
    handles: dict[str, Any] = {}
    for line, panels in zip(lines, grid, strict=True):
        for axes in panels[len(line) :]:
            axes.axis("off")
        for name, axes in zip(line, panels, strict=False):
            for label, (_, _, colour, marker) in reversed(PRESETS.items()):
                own = [row for row in rows if row.network == name and row.preset == label]
                values = [100 * row.accuracy if line is labelled else row.mean_error for row in own]
                (handles[label],) = axes.plot(
                    [row.width for row in own], values, color=colour, marker=marker, markersize=4.5, linewidth=1.6
                )
            axes.set_title(title(name), fontsize=10)
            axes.set_xlabel("width W (bits)")
            axes.set_xticks(sorted({row.width for row in rows}))
            axes.tick_params(labelleft=True)
            axes.grid(True, color="#dddddd", linewidth=0.6)
            axes.set_axisbelow(True)
            if line is labelled:
                right = 100 * next(row.float_accuracy for row in rows if row.network == name)
                handles["float"] = axes.axhline(right, color="#444444", linestyle="--", linewidth=1.1, zorder=0.5)
                axes.set_ylim(0, 104)
            else:
                axes.set_yscale("log")
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
        panels[0].set_ylabel("accuracy (%)" if line is labelled else "mean error of the output")
    texts = {
        "exact": "fxsim, preset exact",
        "hls4ml": "hls4ml arithmetic, default modes\n(AP_TRN, AP_WRAP)",
        "hls4ml RND SAT": "hls4ml arithmetic,\nAP_RND, AP_SAT",
        "float": "float",
    }
    order = [label for label in texts if label in handles]
    grid[0][-1].legend(
        [handles[label] for label in order], [texts[label] for label in order],
        loc="center left", frameon=False, fontsize=9.5, labelspacing=1.0,
    )  # fmt: skip
    return whole


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    published.options(parser, "accuracy.json")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS, help="bits (default: %(default)s)")
    given = published.parse(parser)
    print("network         preset          precision  accuracy   float  mean error max error")
    rows = printed(row for case in cases(given.shared) for row in measure(case, given.widths))
    if given.json is not None:
        results = {"weights": published.kind(given.shared), "rows": rows}
        write_whole(given.json, (json.dumps(results, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
