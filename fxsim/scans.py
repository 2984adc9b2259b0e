# SPDX-License-Identifier: Apache-2.0
"""Accuracy, AUC and error of a network against the width of its formats."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import floating
from .errors import FxsimError
from .fixed import Fixed
from .importers.source import Source
from .quantization import DEFAULT, quantize

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ScanRow:
    """One width; ``precision`` is "float" in the row that the others are to be held against.

    ``largest_error`` and ``mean_error``: absolute, against float, over all outputs. ``accuracy`` and ``auc`` are None
    without labels.
    """

    width: int | None
    precision: str
    largest_error: float
    mean_error: float
    accuracy: float | None
    auc: float | None


def scan(
    source: Source,
    x: ArrayLike,
    labels: ArrayLike | None,
    widths: Iterable[int],
    *,
    precision: str = DEFAULT,
    preset: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[ScanRow]:
    """Float first, then each width in the place of the one of ``precision``, whose integer bits and modes stay.

    ``labels`` are (batch,) classes, or 0 and 1 for one output; or (batch, outputs) one-hot. Raises ``FxsimError`` for
    labels that do not fit.
    """
    from .simulation import quantize_inputs  # late: it brings a compiler

    Fixed.parse(precision)
    formats = [re.sub(r"(?<=<)[^,>]*", str(width), precision, count=1) for width in widths]
    graphs = (quantize(source, precision=format, preset=preset) for format in formats)
    rows: list[ScanRow] = []
    for done, (format, graph) in enumerate(zip(formats, graphs, strict=True)):
        if not rows:
            # What is no batch for one width is none for any, nor for float.
            if not len(quantize_inputs(graph, x)):
                raise FxsimError("a scan needs at least one sequence")
            want = floating.predict(source, x)
            truth = None if labels is None else _classes(np.asarray(labels), want)
            rows.append(_row(None, "float", want, want, truth))
        rows.append(_row(Fixed.parse(format).width, format, graph.predict(x), want, truth))
        if progress:
            progress(done + 1, len(formats))
    return rows


def _row(
    width: int | None,
    name: str,
    got: NDArray[np.float64],
    want: NDArray[np.float64],
    truth: NDArray[np.int64] | None,
) -> ScanRow:
    error = np.abs(got - want)
    right = None if truth is None else accuracy(got, truth)
    area = None if truth is None else auc(got, truth)
    return ScanRow(width, name, float(error.max()), float(error.mean()), right, area)


def _classes(labels: NDArray[Any], outputs: NDArray[np.float64]) -> NDArray[np.int64]:
    if outputs.ndim != 2:
        raise FxsimError(f"labels need a network with (batch, outputs), not {outputs.shape}")
    batch, classes = outputs.shape
    if labels.ndim == 2 and labels.shape == outputs.shape and classes > 1:
        labels = labels.argmax(axis=1)
    labels = labels.reshape(batch) if labels.shape == (batch, 1) else labels
    most = max(classes, 2)
    if labels.shape != (batch,) or labels.dtype.kind not in "iufb":
        raise FxsimError(f"labels y must be {batch} numbers (or one-hot rows), not {labels.dtype} {labels.shape}")
    found = labels.astype(np.int64)
    if not np.array_equal(found, labels) or found.min() < 0 or found.max() >= most:
        raise FxsimError(f"labels y must be integers from 0 to {most - 1}")
    return found


def accuracy(outputs: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Share of (batch, outputs) whose largest output is at the label; one output: whose side of 0.5 is the label's."""
    found = outputs[:, 0] > 0.5 if outputs.shape[1] == 1 else outputs.argmax(axis=1)
    return float(np.mean(found == truth))


def auc(outputs: NDArray[np.float64], truth: NDArray[np.int64]) -> float | None:
    """Area under the ROC curve; of several outputs, the mean over the classes, each against the rest.

    None where no class has both right and wrong examples.
    """
    classes = [1] if outputs.shape[1] == 1 else range(outputs.shape[1])
    found = []
    for column, label in enumerate(classes):
        positive = truth == label
        ones = int(positive.sum())
        if 0 < ones < len(truth):
            # The rank sum statistic; equal scores share their mean rank, so that coarse outputs count as ties.
            _, inverse, counts = np.unique(outputs[:, column], return_inverse=True, return_counts=True)
            ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
            found.append((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * (len(truth) - ones)))
    return float(np.mean(found)) if found else None


def plot(rows: list[ScanRow], picture: Figure) -> None:
    """Draw accuracy and AUC (if there are labels) above the error, against width."""
    reference, *points = rows
    widths = [row.width or 0 for row in points]
    labelled = reference.accuracy is not None
    if labelled:
        upper = picture.add_subplot(2, 1, 1)
        for name, color in (("accuracy", "#08519c"), ("auc", "#d62728")):
            best = getattr(reference, name)
            if best is not None:
                upper.plot(widths, [getattr(row, name) for row in points], "o-", color=color, label=name)
                upper.axhline(best, color=color, linestyle=":", label=f"{name}, float")
        upper.legend()
        upper.grid(alpha=0.3)
    lower = picture.add_subplot(2 if labelled else 1, 1, 2 if labelled else 1)
    for name in ("largest_error", "mean_error"):
        lower.semilogy(widths, [max(getattr(row, name), 1e-12) for row in points], "o-", label=name.replace("_", " "))
    lower.set_xlabel(f"bits, {points[0].precision} and so on")
    lower.legend()
    lower.grid(alpha=0.3)
