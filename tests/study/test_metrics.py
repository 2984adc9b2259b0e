# SPDX-License-Identifier: Apache-2.0
"""Accuracy and ROC curves, held against their definitions written out pair by pair."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fxsim.errors import FxsimError
from fxsim.study import metrics


def by_pairs(score: np.ndarray, positive: np.ndarray) -> Fraction:
    """The share of pairs in the right order; equal scores count half."""
    ones, rest = score[positive].tolist(), score[~positive].tolist()
    won = sum(Fraction(1) if one > other else Fraction(1, 2) if one == other else 0 for one in ones for other in rest)
    return Fraction(won, len(ones) * len(rest))


@pytest.mark.parametrize("levels", [2, 5, 1000])
@pytest.mark.parametrize("classes", [1, 3])
def test_auc_is_the_share_of_pairs_in_order(levels: int, classes: int) -> None:
    rng = np.random.default_rng(levels * 10 + classes)
    outputs = rng.integers(0, levels, (60, classes)) / levels  # with few levels most pairs are ties
    truth = rng.integers(0, max(classes, 2), 60)
    areas = metrics.class_aucs(outputs, truth)
    expected = [by_pairs(score, positive) for score, positive in metrics.scores(outputs, truth)]
    assert len(areas) == classes
    assert areas == pytest.approx([float(one) for one in expected], rel=1e-14)
    assert metrics.mean_auc(areas) == pytest.approx(float(sum(expected) / classes), rel=1e-14)


def test_auc_of_few() -> None:
    scores, truth = np.array([[0.1], [0.4], [0.35], [0.8]]), np.array([0, 0, 1, 1])
    assert metrics.class_aucs(scores, truth) == (0.75,)
    assert metrics.class_aucs(-scores, truth) == (0.25,)
    assert metrics.class_aucs(np.zeros((4, 1)), truth) == (0.5,)  # all tied
    assert metrics.class_aucs(scores, np.ones(4, int)) == (None,)
    assert metrics.mean_auc((None,)) is None
    three = np.array([[3.0, 1, 0], [0, 2, 1], [1, 0, 2]])
    assert metrics.class_aucs(three, np.arange(3)) == (1.0, 1.0, 1.0)
    # A class that is not there has no area, and the mean is that of the others.
    assert metrics.class_aucs(three, np.array([0, 1, 1])) == (1.0, 0.5, None)
    assert metrics.mean_auc((1.0, 0.5, None)) == 0.75
    assert metrics.accuracy(scores, truth) == 0.75
    assert metrics.accuracy(np.array([[0.49], [0.5], [0.51]]), np.array([0, 0, 1])) == 1.0
    assert metrics.accuracy(three, np.array([0, 1, 1])) == pytest.approx(2 / 3)


@pytest.mark.parametrize("levels", [3, 1000])
def test_the_area_under_the_curve_is_the_auc(levels: int) -> None:
    rng = np.random.default_rng(levels)
    score, positive = rng.integers(0, levels, 200) / levels, rng.random(200) < 0.3
    false, true = metrics.roc(score, positive)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert (np.diff(false) >= 0).all() and (np.diff(true) >= 0).all()
    assert len(false) == len(np.unique(score)) + 1
    assert np.trapezoid(true, false) == pytest.approx(float(by_pairs(score, positive)), rel=1e-12)


def test_labels() -> None:
    one, three = np.zeros((4, 1)), np.zeros((4, 3))
    for labels in (np.array([0, 1, 1, 0]), np.array([[0], [1], [1], [0]]), np.array([0.0, 1, 1, 0])):
        assert metrics.classes(labels, one).tolist() == [0, 1, 1, 0]
    assert metrics.classes(np.eye(3)[[2, 0, 1, 1]], three).tolist() == [2, 0, 1, 1]
    for labels, outputs, message in (
        (np.array([0, 1, 2, 0]), one, r"^labels y must be integers from 0 to 1$"),
        (np.array([0, 1, 2.5, 0]), three, r"^labels y must be integers from 0 to 2$"),
        (np.array([0, 1, -1, 0]), three, r"^labels y must be integers from 0 to 2$"),
        (np.array([0, 1]), three, r"^labels y must be 4 numbers \(or one-hot rows\), not int64 \(2,\)$"),
        (np.array(list("abcd")), three, r"^labels y must be 4 numbers \(or one-hot rows\), not <U1 \(4,\)$"),
        (np.arange(4), np.zeros((4, 2, 3)), r"^labels need a network with \(batch, outputs\), not \(4, 2, 3\)$"),
    ):
        with pytest.raises(FxsimError, match=message):
            metrics.classes(labels, outputs)


class TestRealNumbers:
    def test_r2_is_its_definition(self) -> None:
        rng = np.random.default_rng(1)
        target = rng.normal(size=(50, 3)) * (1, 10, 0.1)
        outputs = target + rng.normal(size=(50, 3)) * (0.1, 3, 0.2)
        want = []
        for k in range(3):
            t, y = target[:, k], outputs[:, k]
            want.append(1 - sum((t - y) ** 2) / sum((t - sum(t) / 50) ** 2))
        assert metrics.r2(outputs, target) == pytest.approx(np.mean(want), rel=1e-12)
        assert metrics.r2(target, target) == 1
        assert metrics.r2(np.broadcast_to(target.mean(axis=0), target.shape), target) == pytest.approx(0)

    def test_r2_of_sequences_is_over_all_steps(self) -> None:
        target = np.arange(24.0).reshape(3, 4, 2)
        got = target + np.where(target > 11, 1.0, 0.0)
        assert metrics.r2(got, target) == metrics.r2(got.reshape(12, 2), target.reshape(12, 2))

    def test_outputs_whose_labels_are_all_the_same_have_none(self) -> None:
        target = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
        assert metrics.r2(target, target) == 1
        assert metrics.r2(target + np.array([[0.5, 9]]), target) == metrics.r2(target[:, :1] + 0.5, target[:, :1])
        assert metrics.r2(target, np.ones((3, 2))) is None

    @pytest.mark.parametrize(
        ("labels", "outputs", "real"),
        [
            ([0, 1, 1], 1, False), ([0.0, 1.0, 1.0], 1, False), ([0.0, 0.5, 1.0], 1, True), ([0.0, 2.0, 1.0], 1, True),
            ([0.0, 2.0, 1.0], 3, False), ([7, 1, 2], 3, False), ([[0, 1], [1, 0], [1, 0]], 2, False),
            ([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]], 2, False), ([[0, 1], [1, 1], [1, 0]], 2, True),
            ([[0.2, 0.8], [1, 0], [1, 0]], 2, True), ([[3, 1], [1, 2], [1, 0]], 2, True),
            ([[True], [False], [True]], 1, False),
        ],
    )  # fmt: skip
    def test_which_labels_they_are(self, labels: list[Any], outputs: int, real: bool) -> None:
        assert metrics.are_real(np.array(labels), np.zeros((3, outputs))) == real

    def test_labels_of_sequences_are(self) -> None:
        assert metrics.are_real(np.zeros((3, 4, 2), int), np.zeros((3, 4, 2)))

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (np.zeros((4, 2)), r"^labels y must be numbers of shape \(3, 2\), not float64 \(4, 2\)$"),
            (np.zeros(3), r"^labels y must be numbers of shape \(3, 2\), not float64 \(3,\)$"),
            (np.array([["a"] * 2] * 3), r"^labels y must be numbers of shape \(3, 2\), not <U1 \(3, 2\)$"),
            (np.full((3, 2), np.nan), r"^labels y must be finite$"),
        ],
    )
    def test_others_are_refused(self, labels: Any, message: str) -> None:
        with pytest.raises(FxsimError, match=message):
            metrics.targets(labels, np.zeros((3, 2)))

    def test_a_vector_will_do_for_one_output(self) -> None:
        assert metrics.targets(np.arange(3), np.zeros((3, 1))).tolist() == [[0], [1], [2]]
