# SPDX-License-Identifier: Apache-2.0
"""How well outputs tell classes apart (accuracy, areas under ROC curves, the curves) or meet real numbers (R²)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FxsimError

Array = NDArray[np.float64]
Classes = NDArray[np.int64]


def classes(labels: NDArray[Any], outputs: Array) -> Classes:
    """Labels as integers, (batch,), for outputs (batch, outputs).

    ``labels`` are (batch,) or (batch, 1) classes, 0 and 1 for one output; or (batch, outputs) one-hot. Raises
    ``FxsimError`` for others.
    """
    if outputs.ndim != 2:
        raise FxsimError(f"labels need a network with (batch, outputs), not {outputs.shape}")
    batch, count = outputs.shape
    if labels.ndim == 2 and labels.shape == outputs.shape and count > 1:
        labels = labels.argmax(axis=1)
    labels = labels.reshape(batch) if labels.shape == (batch, 1) else labels
    most = max(count, 2)
    if labels.shape != (batch,) or labels.dtype.kind not in "iufb":
        raise FxsimError(f"labels y must be {batch} numbers (or one-hot rows), not {labels.dtype} {labels.shape}")
    found = labels.astype(np.int64)
    if not np.array_equal(found, labels) or found.min() < 0 or found.max() >= most:
        raise FxsimError(f"labels y must be integers from 0 to {most - 1}")
    return found


def are_real(labels: NDArray[Any], outputs: Array) -> bool:
    """Whether labels are real numbers to be met rather than classes: they are not class numbers, nor one-hot rows.

    Integers (batch,) are always class numbers, of a network with one vector a sequence.
    """
    if outputs.ndim != 2:
        return True
    count = outputs.shape[1]
    if labels.ndim == 2 and labels.shape[1] == count > 1:
        return not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all())
    if labels.dtype.kind != "f":
        return False
    return not (np.isin(labels, np.arange(max(count, 2))).all())


def targets(labels: NDArray[Any], outputs: Array) -> Array:
    """Labels as real numbers of the shape of the outputs, (batch, *output shape); (batch,) will do for one output.

    Raises ``FxsimError`` for others, and for those that are not finite.
    """
    shapes = (outputs.shape, outputs.shape[:1]) if outputs[0].size == 1 else (outputs.shape,)
    if labels.dtype.kind not in "iufb" or labels.shape not in shapes:
        raise FxsimError(f"labels y must be numbers of shape {outputs.shape}, not {labels.dtype} {labels.shape}")
    found = labels.astype(np.float64).reshape(outputs.shape)
    if not np.isfinite(found).all():
        raise FxsimError("labels y must be finite")
    return found


def r2(outputs: Array, target: Array) -> float | None:
    """The coefficient of determination, 1 - sum (y - t)² / sum (t - mean t)², of each output, and of these the mean.

    Outputs whose labels are all the same have none; None where that are all of them.
    """
    y, t = (values.reshape(-1, values.shape[-1]) for values in (outputs, target))
    whole = ((t - t.mean(axis=0)) ** 2).sum(axis=0)
    known = whole > 0
    if not known.any():
        return None
    return float((1 - ((y - t) ** 2).sum(axis=0)[known] / whole[known]).mean())


def accuracy(outputs: Array, truth: Classes) -> float:
    """Share of (batch, outputs) whose largest output is at the label; one output: whose side of 0.5 is the label's."""
    found = outputs[:, 0] > 0.5 if outputs.shape[1] == 1 else outputs.argmax(axis=1)
    return float(np.mean(found == truth))


def scores(outputs: Array, truth: Classes) -> list[tuple[Array, NDArray[np.bool_]]]:
    """For every class its scores and which sequences are of it; one output is the score of class 1."""
    labels = [1] if outputs.shape[1] == 1 else range(outputs.shape[1])
    return [(outputs[:, column], truth == label) for column, label in enumerate(labels)]


def class_aucs(outputs: Array, truth: Classes) -> tuple[float | None, ...]:
    """Area under the ROC curve of each class against the rest; one output has a single one, that of class 1.

    The share of pairs (one of the class, one of the rest) in which the one of the class scores higher; equal scores
    count half. None where a class or its rest has no examples.
    """
    return tuple(_auc(score, positive) for score, positive in scores(outputs, truth))


def _auc(score: Array, positive: NDArray[np.bool_]) -> float | None:
    ones, batch = int(positive.sum()), len(positive)
    if not 0 < ones < batch:
        return None
    # The rank sum statistic; equal scores share their mean rank, so that coarse outputs count as ties.
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * (batch - ones)))


def mean_auc(areas: tuple[float | None, ...]) -> float | None:
    """Mean of the classes' areas, each against the rest; None where no class has one."""
    found = [area for area in areas if area is not None]
    return float(np.mean(found)) if found else None


def roc(score: Array, positive: NDArray[np.bool_]) -> tuple[Array, Array]:
    """The ROC curve: shares of the rest and of the class that score at least some threshold, falling, from 0 to 1.

    One point for each distinct score, so that the area under straight lines between them is that of
    :func:`class_aucs`. Both must have examples.
    """
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    hits = np.cumsum(positive[order])[last]
    false = last + 1 - hits
    return tuple(np.append(0.0, count / count[-1]) for count in (false, hits))  # type: ignore[return-value]
