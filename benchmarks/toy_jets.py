# SPDX-License-Identifier: Apache-2.0
"""Jets made of random numbers, in the manner of top tagging: what a network trained on them loses by fixed point.

A jet is 20 constituents, the hardest first, with 6 features each, zero where there are fewer. Class 1 falls into three
prongs (two where they merge) of about equal momentum, class 0 into one, now and then with a softer one or two beside
it. A prong's momentum is shared by constituents with weights from a gamma distribution; the softer one is, the farther
it lies from its prong. Nothing of this is physics beyond that, and no detector is in it: the classes are told apart by
the same thing as tops are (prongs, and how momentum is shared), with an AUC near that of the published networks.

Features, relative to the jet: share of transverse momentum, its logarithm (a quarter of it), pseudorapidity and
azimuth from the axis (times 4), distance from the axis (times 4), share of energy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEPS, FEATURES = 20, 6
#: Seeds of the jets that networks are trained, watched and measured on.
TRAIN, WATCH, TEST = 1, 2, 3
#: Constituents before the hardest ones are taken.
_MOST = 48


def jets(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """``count`` jets (count, 20, 6) and their classes (count,), half of them 1 on average."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, count)
    prongs = np.where(
        label == 1, rng.choice([2, 3], count, p=[0.35, 0.65]), rng.choice([1, 2, 3], count, p=[0.5, 0.35, 0.15])
    )
    # Momentum of the prongs: even for class 1, one far ahead of the others for class 0.
    even = rng.gamma(4.0, size=(count, 3))
    steep = rng.gamma(np.array([4.0, 1.4, 1.0]), size=(count, 3))
    share = np.where(label[:, None] == 1, even, steep) * (np.arange(3) < prongs[:, None])
    share /= share.sum(axis=1, keepdims=True)
    # Axes: around the first prong, then moved so that the jet's own axis is the middle.
    distance = np.where(label[:, None] == 1, rng.normal(0.28, 0.09, (count, 3)), rng.gamma(2.0, 0.11, (count, 3)))
    angle = rng.uniform(0, 2 * np.pi, (count, 3))
    axes = np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=2) * (np.arange(3) > 0)[None, :, None]

    number = np.clip(rng.poisson(np.where(label == 1, 28, 24)), 4, _MOST)
    prong = (rng.random((count, _MOST, 1)) > np.cumsum(share, axis=1)[:, None, :2]).sum(axis=2)
    weight = rng.gamma(0.55, size=(count, _MOST)) * (np.arange(_MOST) < number[:, None])
    each = np.arange(count)[:, None]
    inside = np.zeros((count, 3))
    np.add.at(inside, (np.broadcast_to(each, prong.shape), prong), weight)
    pt = weight * share[each, prong] / np.maximum(inside[each, prong], 1e-9)
    pt /= pt.sum(axis=1, keepdims=True)
    spread = 0.035 * np.maximum(pt, 1e-4) ** -0.3
    place = axes[each, prong] + rng.normal(size=(count, _MOST, 2)) * spread[:, :, None]
    place -= (place * pt[:, :, None]).sum(axis=1, keepdims=True)

    order = np.argsort(-pt, axis=1)[:, :STEPS]
    pt = pt[each, order]
    eta, phi = place[each, order, 0], place[each, order, 1]
    energy = pt * np.cosh(eta + rng.normal(0, 0.7, (count, 1)))
    energy /= np.maximum(energy.sum(axis=1, keepdims=True), 1e-9)
    there = pt > 0
    logarithm = np.log(np.where(there, pt, 1.0)) / 4
    features = np.stack([pt, logarithm, 4 * eta, 4 * phi, 4 * np.hypot(eta, phi), energy], axis=2)
    return (features * there[:, :, None]).astype(np.float32), label
