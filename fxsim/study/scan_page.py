# SPDX-License-Identifier: Apache-2.0
"""The page of a scan: which formats hold what float can do, the pictures, and every row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..pages.listing import Column, Listing
from ..pages.page import Facts, Part, Picture, Section, Text, Verdict, render
from .scan_file import ScanRow

#: What the pictures show, by the names of their files; they stand in this order.
PICTURES = {
    "scan.png": "Score relative to float against fractional bits, a line for each number of integer bits; "
    "the ring marks the narrowest format that holds the wanted share",
    "roc.png": "ROC curves: float solid, fixed point dash-dot",
    "errors.png": "mean error of the outputs against float's",
}


_COLUMNS = (
    Column("preset", left=True), Column("layers", "layer", left=True), Column("width", "bits", rank=6),
    Column("integer", rank=6), Column("precision", left=True), Column("accuracy", rank=1), Column("auc", "AUC", rank=3),
    Column("auc_ratio", "ratio", rank=2), Column("r2", "R²", rank=1), Column("r2_ratio", "ratio", rank=2),
    Column("label_largest_error", "largest error, labels", rank=3),
    Column("label_mean_error", "mean error, labels", rank=3),
)  # fmt: skip
_ERRORS = (Column("largest_error", rank=4), Column("mean_error", rank=5))


def listing(rows: Sequence[ScanRow], title: str = "", marked: int | None = None) -> Listing:
    """The rows of a scan; AUCs of single classes only where there are several."""
    classes = len(rows[0].class_aucs)
    classes = classes if classes > 1 else 0
    each = [Column(f"auc_{k}", f"AUC {k}", rank=8) for k in range(classes)]
    cells = []
    for row in rows:
        values = [getattr(row, column.key) for column in _COLUMNS]
        areas = row.class_aucs[:classes]
        cells.append([*(None if value == "" else value for value in values), *areas, row.largest_error, row.mean_error])
    return Listing("rows", title, (*_COLUMNS, *each, *_ERRORS), cells, marked)


def score(rows: Sequence[ScanRow]) -> str:
    """What the formats are held by."""
    return "AUC" if rows[0].r2 is None else "R²"


def groups(rows: Sequence[ScanRow]) -> dict[tuple[str, str], list[ScanRow]]:
    """The rows behind float's by preset and layers."""
    found: dict[tuple[str, str], list[ScanRow]] = {}
    for row in rows[1:]:
        if row.width is None:
            continue  # that of a graph
        found.setdefault((row.preset, row.layers), []).append(row)
    return found


def verdict(key: tuple[str, str], hold: float, picked: Sequence[ScanRow], score: str) -> tuple[bool, str]:
    """Whether some format of a preset and layers holds the share of float's score, and the sentence that says so."""
    preset, layers = key
    where = f"{preset}{f', layer {layers}' if layers else ''}"
    for row in picked:
        if (row.preset, row.layers) == key:
            return True, f"{where}: {row.precision} holds {hold:g} of float's {score} ({row.ratio:.5f} of it)"
    return False, f"{where}: none of these formats holds {hold:g} of float's {score}"


def choice(key: tuple[str, str], hold: float, picked: Sequence[ScanRow]) -> dict[str, object]:
    """The same for programs; ``precision`` is None where none holds it."""
    preset, layers = key
    found = next((row for row in picked if (row.preset, row.layers) == key), None)
    return {
        "preset": preset,
        "layers": layers,
        "hold": hold,
        "precision": found.precision if found else None,
        "ratio": found.ratio if found else None,
    }


def report(
    name: str,
    sequences: int,
    rows: Sequence[ScanRow],
    hold: float | None,
    picked: Sequence[ScanRow],
    pictures: Mapping[str, bytes],
) -> str:
    """The text of ``report.html``; ``pictures`` are PNG files by name, of those in ``PICTURES``, or none."""
    count = sum(row.width is not None for row in rows)
    lead = f"{count} fixed-point formats of a recurrent network beside float, on {sequences} sequences."
    shown: list[Part] = [Picture(pictures[file], text) for file, text in PICTURES.items() if file in pictures]
    sections = [
        Section("summary", "At a glance", list(_summary(sequences, rows, hold, picked))),
        *([Section("curves", "Curves", shown)] if shown else []),
        Section("rows", "Every format", list(_tables(rows, picked))),
    ]
    return render(name, lead, sections)


def _summary(sequences: int, rows: Sequence[ScanRow], hold: float | None, picked: Sequence[ScanRow]) -> Iterator[Part]:
    if hold is None:
        yield Text("No labels tell the formats apart, so they are compared with float's outputs alone.")
    else:
        for key in groups(rows):
            passed, text = verdict(key, hold, picked, score(rows))
            yield Verdict(passed, "Enough:" if passed else "Not enough:", text)
    first = rows[0]
    facts: list[tuple[object, object]] = [("sequences", sequences), ("formats", sum(r.width is not None for r in rows))]
    facts += [
        (f"{name}, float", value)
        for name, value in (("accuracy", first.accuracy), ("AUC", first.auc), ("R²", first.r2))
        if value is not None
    ]
    yield Facts(facts)
    if len(first.class_aucs) > 1:
        yield Text("AUC: mean over the classes, each against the rest.", soft=True)


def _tables(rows: Sequence[ScanRow], picked: Sequence[ScanRow]) -> Iterator[Part]:
    for (preset, layers), some in groups(rows).items():
        lines = [*(row for row in rows if row.width is None), *some]
        marked = next((place for place, row in enumerate(lines) if row in picked), None)
        title = f"Preset {preset}{f', layer {layers}' if layers else ''}"
        yield listing(lines, title, marked).part("preset", "layers")
