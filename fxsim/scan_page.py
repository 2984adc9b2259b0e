# SPDX-License-Identifier: Apache-2.0
"""The page of a scan: which formats hold what float can do, the pictures, and every row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .page import Facts, Part, Picture, Section, Table, Text, Verdict, render
from .records import ScanRow
from .report import short

#: What the pictures show, by the names of their files; they stand in this order.
PICTURES = {
    "scan.png": "AUC over that of float against bits behind the point, a line for each number of integer bits; "
    "ringed: the narrowest format that holds the wanted share",
    "roc.png": "ROC curves: float solid, fixed point dash-dot",
    "errors.png": "mean error of the outputs against float's",
}


def columns(rows: Sequence[ScanRow]) -> tuple[str, ...]:
    """Names of the columns that :func:`cells` fills."""
    classes = len(rows[0].class_aucs)
    areas = (f"AUC {k}" for k in range(classes if classes > 1 else 0))
    return ("bits", "integer", "<precision", "accuracy", "AUC", "ratio", *areas, "largest error", "mean error")


def cells(row: ScanRow) -> list[str]:
    """One row of a scan, as people read it; AUCs of single classes only where there are several."""
    areas = row.class_aucs if len(row.class_aucs) > 1 else ()
    head = (row.width, row.integer, row.precision, row.accuracy, row.auc, row.auc_ratio)
    return short((*head, *areas, row.largest_error, row.mean_error))


def groups(rows: Sequence[ScanRow]) -> dict[tuple[str, str], list[ScanRow]]:
    """The rows behind float's by preset and layers."""
    found: dict[tuple[str, str], list[ScanRow]] = {}
    for row in rows[1:]:
        found.setdefault((row.preset, row.layers), []).append(row)
    return found


def verdict(key: tuple[str, str], hold: float, picked: Sequence[ScanRow]) -> tuple[bool, str]:
    """Whether some format of a preset and layers holds the share of float's AUC, and the sentence that says so."""
    preset, layers = key
    where = f"{preset}{f', layer {layers}' if layers else ''}"
    for row in picked:
        if (row.preset, row.layers) == key:
            return True, f"{where}: {row.precision} holds {hold:g} of float's AUC ({row.auc_ratio:.5f} of it)"
    return False, f"{where}: none of these formats holds {hold:g} of float's AUC"


def report(
    name: str,
    sequences: int,
    rows: Sequence[ScanRow],
    hold: float | None,
    picked: Sequence[ScanRow],
    pictures: Mapping[str, bytes],
) -> str:
    """The text of ``report.html``; ``pictures`` are PNG files by name, of those in ``PICTURES``, or none."""
    lead = f"{len(rows) - 1} fixed-point formats of a recurrent network beside float, on {sequences} sequences."
    shown: list[Part] = [Picture(pictures[file], text) for file, text in PICTURES.items() if file in pictures]
    sections = [
        Section("summary", "At a glance", list(_summary(sequences, rows, hold, picked))),
        *([Section("curves", "Curves", shown)] if shown else []),
        Section("rows", "Every format", list(_tables(rows, picked))),
    ]
    return render(name, lead, sections)


def _summary(sequences: int, rows: Sequence[ScanRow], hold: float | None, picked: Sequence[ScanRow]) -> Iterator[Part]:
    if hold is None:
        yield Text("There are no labels of more than one class, so formats are held against float's outputs alone.")
    else:
        for key in groups(rows):
            passed, text = verdict(key, hold, picked)
            yield Verdict(passed, "Held:" if passed else "Not held:", text)
    first = rows[0]
    facts: list[tuple[object, object]] = [("sequences", sequences), ("formats", len(rows) - 1)]
    facts += [
        (f"{name}, float", value)
        for name, value in (("accuracy", first.accuracy), ("AUC", first.auc))
        if value is not None
    ]
    yield Facts(facts)
    if len(first.class_aucs) > 1:
        yield Text("AUC: mean over the classes, each against the rest.", soft=True)


def _tables(rows: Sequence[ScanRow], picked: Sequence[ScanRow]) -> Iterator[Part]:
    for (preset, layers), some in groups(rows).items():
        lines = [rows[0], *some]
        marked = next((place for place, row in enumerate(lines) if row in picked), None)
        title = f"Preset {preset}{f', layer {layers}' if layers else ''}"
        yield Table(columns(rows), [cells(row) for row in lines], title, marked)
