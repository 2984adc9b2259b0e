# SPDX-License-Identifier: Apache-2.0
"""Accuracy against bits: preset exact, and hls4ml's arithmetic with its default modes and with rounding and saturation.

    python benchmarks/bench_accuracy.py --shared DIR

DIR holds ``models``, ``data`` and ``golden`` (the trained networks of arXiv:2207.00559, 125 drawings, test inputs);
without it only the demo network is measured. For every width each preset has the best of a few numbers of integer
bits, by its mean error. The table goes to standard output, the rows to JSON, the curves to a picture.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fxsim
from fxsim.floating import predict as predict_float
from fxsim.importers import read_model
from fxsim.importers.source import Source
from fxsim.quantization import quantize
from fxsim.simulation import predict

HERE = Path(__file__).resolve().parent
WIDTHS = (8, 10, 12, 14, 16, 18, 20)
#: Label, preset and modes of the precision, colour and marker in the picture.
PRESETS = {
    "exact": ("exact", "", "#0b6e99", "o"),
    "hls4ml": ("hls4ml", "", "#c44e34", "s"),
    "hls4ml RND SAT": ("hls4ml", ",AP_RND,AP_SAT", "#d99a2b", "^"),
}
TITLES = {
    "quickdraw/lstm": "QuickDraw LSTM, 5 classes",
    "quickdraw/gru": "QuickDraw GRU, 5 classes",
    "digits": "Digits (demo), 10 classes",
    "toptag/lstm": "Top tagging LSTM",
    "toptag/gru": "Top tagging GRU",
    "ftag/lstm": "Flavour tagging LSTM",
    "ftag/gru": "Flavour tagging GRU",
}


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


def cases(shared: Path | None) -> Iterator[Case]:
    """The demo network and, with ``shared``, the six trained ones."""
    demo = Path(fxsim.__path__[0]) / "demo"
    test = np.load(demo / "digits_test.npz")
    yield Case("digits", read_model(demo / "digits.keras"), test["x"].astype(float), test["y"], (2, 3, 4, 6))
    if shared is None:
        return
    integers = {"quickdraw": (6, 8, 9, 10), "toptag": (2, 3, 4, 6), "ftag": (4, 5, 6, 8)}
    for folder in sorted((shared / "golden" / "real").iterdir()):
        name = folder.name.partition("__")[0].replace("_", "/")
        case = json.loads((folder / "case.json").read_text())
        weights = shared / "models" / case["weights"] if "weights" in case else None
        kind = name.partition("/")[0]
        x = np.load(folder / "io.npz")["x"].astype(float)
        y = np.load(shared / "data" / "quickdraw125.npz")["y"] if kind == "quickdraw" else None
        yield Case(name, read_model(shared / "models" / case["model"], weights), x, y, integers[kind])


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


def plot(rows: Sequence[Row], path: Path) -> None:
    """Accuracy where classes are known, below it the mean error of the other networks on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = [name for name in TITLES if any(row.network == name for row in rows)]
    labelled = [name for name in names if name == "digits" or name.startswith("quickdraw")]
    lines = [line for line in (labelled, [name for name in names if name not in labelled]) if line]
    columns = max(len(labelled) + 1, *map(len, lines))
    figure, grid = plt.subplots(
        len(lines), columns, figsize=(3.3 * columns, 3.0 * len(lines)), squeeze=False, sharey="row"
    )
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
            axes.set_title(TITLES[name], fontsize=10)
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
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, help="folder with models, data and golden")
    parser.add_argument("--json", type=Path, default=HERE / "baselines" / "accuracy.json")
    parser.add_argument("--plot", type=Path, default=HERE.parent / "docs" / "images" / "accuracy.png")
    parser.add_argument("--replot", action="store_true", help="draw what the JSON file holds, measure nothing")
    arguments = parser.parse_args()
    if arguments.replot:
        rows = [Row(**row) for row in json.loads(arguments.json.read_text())]
    else:
        rows = []
        print("network         preset          precision  accuracy   float  mean error max error")
        for case in cases(arguments.shared):
            for row in measure(case, WIDTHS):
                rows.append(row)
                print(
                    f"{row.network:15} {row.preset:15} {f'<{row.width},{row.integer}>':>9} {row.accuracy:9.3f} "
                    f"{row.float_accuracy:7.3f} {row.mean_error:11.6f} {row.max_error:8.4f}",
                    flush=True,
                )
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
