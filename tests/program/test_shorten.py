# SPDX-License-Identifier: Apache-2.0
"""Shorter networks: those of the first steps of the long ones."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network

import fxsim
from fxsim.errors import FxsimError
from fxsim.golden import random_inputs
from fxsim.program.graph import Graph
from fxsim.program.shorten import shorten

SHAPES = {"steps": 9, "features": 3, "units": 4}


def outputs(graph: Graph, raw: np.ndarray) -> np.ndarray:
    return fxsim.simulate(graph, raw, raw=True).raw


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple_rnn"])
@pytest.mark.parametrize("options", [{}, {"tail": (3,)}, {"return_sequences": True}], ids=str)
def test_a_recurrent_network_runs_on_fewer_steps(cell: str, options: dict[str, object]) -> None:
    graph = network(cell, **SHAPES, **options)
    raw = random_inputs(graph, 12)[:, :5]
    short = shorten(graph, 5)
    assert short.shape == (5, 3)
    # What every step gives does not depend on those behind it; of one that gives the last, a network of all shows it.
    if options.get("return_sequences"):
        whole = outputs(graph, np.concatenate([raw, raw[:, :4]], axis=1))
        assert np.array_equal(outputs(short, raw), whole[:, :5])
    else:
        assert outputs(short, raw).shape == outputs(graph, random_inputs(graph, 12)).shape
        assert len({*map(bytes, outputs(short, raw))}) > 1


def test_weights_behind_the_last_step_are_left_out() -> None:
    graph = network("lstm", **SHAPES, flatten=True, tail=(3,))
    short = shorten(graph, 4)
    raw = random_inputs(short, 6)
    assert outputs(short, raw).shape == (6, 3)
    dense = next(layer for layer in short.nodes if layer.kind.startswith("dense"))
    whole = next(layer for layer in graph.nodes if layer.kind.startswith("dense"))
    assert dense.program is not None and whole.program is not None
    (one,), (all,) = dense.program.dots, whole.program.dots
    assert one.weights.shape[0] == 4 * 4 < all.weights.shape[0] == 9 * 4
    assert np.array_equal(one.weights.data, all.weights.data[:16])


def test_it_can_be_built() -> None:
    graph = network("gru", **SHAPES, tail=(2,))
    folding = fxsim.plan(graph, reuse=4)
    assert fxsim.plan(shorten(graph, 3), reuse=4).folds == folding.folds


@pytest.mark.parametrize("steps", [0, 9, 10])
def test_refuses(steps: int) -> None:
    with pytest.raises(
        FxsimError, match=rf"^steps must be from 1 to 8 of a network that takes sequences, not {steps}$"
    ):
        shorten(network("lstm", **SHAPES), steps)
