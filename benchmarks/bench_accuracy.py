# SPDX-License-Identifier: Apache-2.0
"""Accuracy against bits: preset exact, and hls4ml's arithmetic with its default modes and with rounding and saturation.

    python benchmarks/bench_accuracy.py --shared DIR

DIR holds ``models``, ``data`` and ``golden`` (the trained networks of arXiv:2207.00559, 125 drawings, test inputs);
without it only the demo network is measured. For every width each preset has the best of a few numbers of integer
bits, by its mean error. The preset exact is measured with the tables that follow from the precision and with tables of
1024 entries, also at <16,6>. The table goes to standard output, the rows to JSON, the curves to two pictures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
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


@dataclass(frozen=True)
class Kind:
    """A preset with the modes of its precision and the size of its tables; widths, and its look in the pictures."""

    preset: str
    modes: str
    table_size: int | None
    widths: tuple[int, ...]
    colour: str
    marker: str
    text: str


EXACT, ENTRIES = "exact", "exact, 1024 entries"
KINDS = {
    EXACT: Kind("exact", "", None, tuple(range(8, 25)), "#0b6e99", "o", "fxsim, preset exact"),
    ENTRIES: Kind("exact", "", 1024, tuple(range(8, 25)), "#9db8c4", "", "the same with tables\nof 1024 entries"),
    "hls4ml": Kind(
        "hls4ml", "", None, tuple(range(8, 21, 2)), "#c44e34", "s",
        "hls4ml arithmetic, default modes\n(AP_TRN, AP_WRAP)",
    ),
    "hls4ml RND SAT": Kind(
        "hls4ml", ",AP_RND,AP_SAT", None, tuple(range(8, 21, 2)), "#d99a2b", "^", "hls4ml arithmetic,\nAP_RND, AP_SAT"
    ),
}  # fmt: skip
#: The precision that is used where none is given.
DEFAULT = (16, 6)
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
    """One measurement of a kind, or with `` at <16,6>`` behind its name of that precision.

    ``accuracy``: share of right classes, or of those that float gives where none are known.
    """

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


def measure(case: Case, kinds: Sequence[str]) -> Iterator[Row]:
    """A row for every kind and width, and those of the preset exact at <16,6>."""
    want = predict_float(case.source, case.x)
    labels = classes(want) if case.y is None else case.y
    right = float(np.mean(classes(want) == labels))

    def row(label: str, width: int, integer: int) -> Row:
        kind = KINDS[label]
        precision = f"ap_fixed<{width},{integer}{kind.modes}>"
        graph = quantize(case.source, precision=precision, preset=kind.preset, table_size=kind.table_size)
        got = predict(graph, case.x, warn=False)
        error, accuracy = np.abs(got - want), float(np.mean(classes(got) == labels))
        return Row(case.name, label, width, integer, accuracy, right, float(error.mean()), float(error.max()))

    for label in kinds:
        for width in KINDS[label].widths:
            rows = [row(label, width, integer) for integer in case.integers]
            yield min(rows, key=lambda row: row.mean_error)
            if (width, KINDS[label].preset) == (DEFAULT[0], "exact"):
                yield replace(rows[case.integers.index(DEFAULT[1])], preset=f"{label} at <{width},{DEFAULT[1]}>")


def plot(rows: Sequence[Row], path: Path) -> None:
    """Accuracy where classes are known, below it the mean error of the other networks on a logarithmic axis."""
    plt = _pyplot()
    rows = [row for row in rows if row.width <= 20]
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
            for label in reversed([label for label in KINDS if label != ENTRIES]):
                own = [row for row in rows if row.network == name and row.preset == label]
                values = [100 * row.accuracy if line is labelled else row.mean_error for row in own]
                handles[label] = _curve(axes, label, own, values)
            _frame(axes, name)
            axes.set_xticks(range(8, 21, 2))
            if line is labelled:
                right = 100 * next(row.float_accuracy for row in rows if row.network == name)
                handles["float"] = axes.axhline(right, color="#444444", linestyle="--", linewidth=1.1, zorder=0.5)
                axes.set_ylim(0, 104)
            else:
                axes.set_yscale("log")
        panels[0].set_ylabel("accuracy (%)" if line is labelled else "mean error of the output")
    _legend(grid[0][-1], handles)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def plot_errors(rows: Sequence[Row], path: Path) -> None:
    """The largest error of every network on a logarithmic axis."""
    plt = _pyplot()
    names = [name for name in TITLES if any(row.network == name for row in rows)]
    columns = min(4, len(names) + 1)
    lines = -(-(len(names) + 1) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(3.3 * columns, 3.0 * lines), squeeze=False)
    panels = list(grid.flat)
    handles: dict[str, Any] = {}
    for name, axes in zip(names, panels, strict=False):
        for label in reversed(KINDS):
            own = [row for row in rows if row.network == name and row.preset == label]
            handles[label] = _curve(axes, label, own, [row.max_error for row in own])
        _frame(axes, name)
        axes.set_xticks(range(8, 25, 4))
        axes.set_yscale("log")
    for line in grid:
        line[0].set_ylabel("largest error of the output")
    for axes in panels[len(names) :]:
        axes.axis("off")
    _legend(panels[len(names)], handles)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _curve(axes: Any, label: str, rows: Sequence[Row], values: Sequence[float]) -> Any:
    look = {"color": KINDS[label].colour, "marker": KINDS[label].marker, "markersize": 4.5, "linewidth": 1.6}
    return axes.plot([row.width for row in rows], values, **look)[0]


def _frame(axes: Any, name: str) -> None:
    axes.set_title(TITLES[name], fontsize=10)
    axes.set_xlabel("width W (bits)")
    axes.tick_params(labelleft=True)
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _legend(axes: Any, handles: dict[str, Any]) -> None:
    texts = {label: kind.text for label, kind in KINDS.items()} | {"float": "float"}
    order = [label for label in texts if label in handles]
    axes.legend(
        [handles[label] for label in order], [texts[label] for label in order],
        loc="center left", frameon=False, fontsize=9.5, labelspacing=1.0,
    )  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, help="folder with models, data and golden")
    parser.add_argument("--json", type=Path, default=HERE / "baselines" / "accuracy.json")
    parser.add_argument("--plots", type=Path, default=HERE.parent / "docs" / "images", help="folder for both pictures")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS), help="measure these, keep the others")
    parser.add_argument("--replot", action="store_true", help="draw what the JSON file holds, measure nothing")
    arguments = parser.parse_args()
    rows = [Row(**row) for row in json.loads(arguments.json.read_text())] if arguments.json.exists() else []
    if not arguments.replot:
        rows = [row for row in rows if row.preset.split(" at ")[0] not in arguments.kinds]
        print("network         preset                         precision  accuracy   float  mean error   max error")
        for case in cases(arguments.shared):
            for row in measure(case, arguments.kinds):
                rows.append(row)
                print(
                    f"{row.network:15} {row.preset:30} {f'<{row.width},{row.integer}>':>9} {row.accuracy:9.3f} "
                    f"{row.float_accuracy:7.3f} {row.mean_error:11.2e} {row.max_error:11.2e}",
                    flush=True,
                )
        order = [*KINDS, *(f"{label} at <{DEFAULT[0]},{DEFAULT[1]}>" for label in KINDS)]
        rows.sort(key=lambda row: (list(TITLES).index(row.network), order.index(row.preset), row.width))
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    plot(rows, arguments.plots / "accuracy.png")
    plot_errors(rows, arguments.plots / "errors.png")


if __name__ == "__main__":
    main()
