# SPDX-License-Identifier: Apache-2.0
"""Configurations drawn at random over cells, sizes, formats, foldings, clocks, interleaving, copies and beats.

Every output bit equals the simulator's, every edge at which a beat is taken or given the model's.
"""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from rtl_bench import random_raw, rtl_run

from fxsim.errors import FxsimError
from fxsim.simulation import simulate
from rtl.folding import Folding, Plan, computing, make_plan
from rtl.folds import Fold, least_reuse, legal_beats
from rtl.timing import follow


def draw(seed: int, clocks=(60, 120, 200, 280), families=("xc7", "xcup")) -> Plan:
    """A plan; clocks and choices that do not go together are drawn again."""
    rng = np.random.default_rng(seed)
    while True:
        steps, features = int(rng.integers(2, 6)), int(rng.integers(1, 5))
        cell = str(rng.choice(["lstm", "gru", "gru_before", "simple_rnn"]))
        graph = network(
            cell, seed=int(rng.integers(1000)), steps=steps, features=features, units=int(rng.integers(1, 6)),
            tail=tuple(int(n) for n in rng.integers(1, 5, int(rng.integers(0, 3)))), wrap=bool(rng.random() < 0.8),
        )  # fmt: skip
        way = str(rng.choice(["alone", "interleave", "unroll"]))
        choice = str(rng.choice(["auto", "auto", "dsp", "lut"]))
        folds = {}
        for layer in computing(graph):
            beats = int(rng.choice(legal_beats(layer.program)))
            cycles = max(int(rng.integers(1, 7)), least_reuse(layer.program))
            recurrent = layer.steps > 1
            folds[layer.name] = Fold(1, 1, choice) if way == "unroll" and recurrent else Fold(beats, cycles, choice)
        folding = Folding(
            folds,
            interleave=int(rng.integers(2, 6)) if way == "interleave" else 1,
            unroll=steps if way == "unroll" else 1,
            beat=int(rng.choice([1, features, features * steps])),
        )
        try:
            return make_plan(graph, folding, float(rng.choice(clocks)), str(rng.choice(families)))
        except FxsimError:
            continue


def agrees(plan: Plan) -> None:
    graph, sequences = plan.graph, 4 * plan.source.ways
    raw = random_raw(graph, sequences)
    expected = simulate(graph, raw, raw=True).raw.reshape(-1, graph.output_shape[-1])
    run = rtl_run(plan, raw)
    assert run.outputs.tolist() == expected.tolist()
    taken, given = follow(plan.stages, plan.source, sequences)
    assert [edge - run.taken[0] for edge in run.taken] == [edge - taken[0] for edge in taken]
    assert [edge - run.taken[0] for edge in run.given] == [edge - taken[0] for edge in given]
    assert given[0] - taken[0] == plan.timing.latency
    assert given[0] - taken[plan.source.beats - 1] == plan.timing.latency_after_last


@pytest.mark.parametrize("seed", range(6))
def test_some(seed):
    agrees(draw(seed))


@pytest.mark.parametrize("seed", range(100, 103))
def test_some_for_ecp5(seed):
    """Where a product has no register inside, and little fits into a cycle."""
    agrees(draw(seed, (60, 120), ("ecp5",)))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6, 80))
def test_many(seed):
    agrees(draw(seed))
