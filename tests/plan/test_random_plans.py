# SPDX-License-Identifier: Apache-2.0
"""Configurations drawn at random over cells, sizes, formats, foldings, clocks, interleaving, copies and beats.

Every output bit equals the simulator's, every edge at which a beat is taken or given the model's.
"""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from rtl_bench import agrees
from test_exact import activation, cell, dense
from test_exact import network as source

from fxsim.errors import FxsimError
from fxsim.program.graph import Graph
from fxsim.quantization.presets import quantize
from rtl.plan.folding import Folding, Plan, computing, make_plan
from rtl.plan.folds import Fold, input_products, least_reuse, legal_beats


def rough(rng, steps: int, features: int) -> Graph:
    """A network whose formats are random."""
    return network(
        str(rng.choice(["lstm", "gru", "gru_before", "simple_rnn"])),
        seed=int(rng.integers(1000)), steps=steps, features=features, units=int(rng.integers(1, 6)),
        tail=tuple(int(n) for n in rng.integers(1, 5, int(rng.integers(0, 3)))), wrap=bool(rng.random() < 0.8),
    )  # fmt: skip


def exact(rng, steps: int, features: int) -> Graph:
    """One of the preset whose sums are exact."""
    kind, units = str(rng.choice(["lstm", "gru", "simple_rnn"])), int(rng.integers(2, 13))
    layers = cell(kind, rng, "cell", features, units), dense(rng, units, 3)
    return quantize(source(*layers, shape=(steps, features)), precision=f"ap_fixed<{rng.integers(8, 17)},4>")


def interpolated(rng, steps: int, features: int) -> Graph:
    """One of that preset whose precision asks for interpolated tables, a function's layer with one among them."""
    kind, units = str(rng.choice(["lstm", "gru", "simple_rnn"])), int(rng.integers(2, 7))
    integer = int(rng.integers(1, 4))
    function = str(rng.choice(["elu", "selu", "softplus", "tanh", "softmax"]))
    layers = cell(kind, rng, "cell", features, units), dense(rng, units, 3), activation(function)
    precision = f"ap_fixed<{integer + rng.integers(11, 20)},{integer}>"
    return quantize(source(*layers, shape=(steps, features)), precision=precision)


def narrow(rng, steps: int, features: int) -> Graph:
    """One of that preset whose products are cut before they are added, with a Dense layer in front of a function."""
    kind, units = str(rng.choice(["lstm", "gru", "gru_before", "simple_rnn"])), int(rng.integers(2, 7))
    options = {"reset_after": False} if kind == "gru_before" else {}
    one = cell(kind.removesuffix("_before"), rng, "cell", features, units, **options)
    layers = one, dense(rng, units, 4), activation("relu"), dense(rng, 4, 2, "out")
    precision = f"ap_fixed<{rng.integers(12, 19)},{rng.integers(3, 7)}>"
    return quantize(source(*layers, shape=(steps, features)), precision=precision, sums="narrow")


def draw(seed: int, clocks=(60, 120, 200, 280), families=("xc7", "xcup"), made=None) -> Plan:
    """A plan; clocks and choices that do not go together are drawn again. ``made`` draws its network."""
    rng = np.random.default_rng(seed)
    while True:
        steps, features = int(rng.integers(2, 6)), int(rng.integers(1, 5))
        graph = (made or (exact if rng.random() < 0.3 else rough))(rng, steps, features)
        way = str(rng.choice(["alone", "interleave", "unroll"]))
        choice = str(rng.choice(["auto", "auto", "dsp", "lut"]))
        parallel, folds = rng.random() < 0.3, {}
        for layer in computing(graph):
            beats = int(rng.choice(legal_beats(layer.program)))
            cycles = max(int(rng.integers(1, 7)), least_reuse(layer.program))
            if parallel:
                beats, cycles = 1, least_reuse(layer.program)
            recurrent = layer.steps > 1
            if way == "unroll" and recurrent:
                folds[layer.name] = Fold(1, cycles, choice)
                continue
            apart = bool(input_products(layer.program)) and rng.random() < 0.5
            folds[layer.name] = Fold(beats, cycles, choice, int(rng.integers(1, 25)) if apart else None)
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


def draw_absorbed(seed: int) -> Plan:
    """A parallel plan in which a product of the loop adds that of the input itself, as few drawn at large do."""
    rng = np.random.default_rng(seed)
    while True:
        graph = exact(rng, int(rng.integers(2, 6)), int(rng.integers(1, 5)))
        folding = Folding({}, interleave=int(rng.choice([1, 1, 2, 3])))
        plan = make_plan(graph, folding, float(rng.choice([180, 200, 220, 240])))
        if plan.schedules[0] is not None and plan.schedules[0].absorbed:
            return plan


def holds(plan: Plan) -> None:
    agrees(plan, 4 * plan.source.ways, stalls=())


@pytest.mark.parametrize("seed", range(6))
def test_some(seed):
    holds(draw(seed))


@pytest.mark.parametrize("seed", range(100, 103))
def test_some_for_ecp5(seed):
    """Where a product has no register inside, and little fits into a cycle."""
    holds(draw(seed, (60, 120), ("ecp5",)))


@pytest.mark.parametrize("seed", range(200, 203))
def test_some_absorbed(seed):
    holds(draw_absorbed(seed))


@pytest.mark.parametrize("seed", range(300, 304))
def test_some_with_interpolated_tables(seed):
    holds(draw(seed, made=interpolated))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(304, 340))
def test_many_with_interpolated_tables(seed):
    holds(draw(seed, made=interpolated))


def test_interpolated_tables_are_drawn_in_every_way():
    plans = [draw(seed, made=interpolated) for seed in range(300, 340)]
    for plan in plans:
        kinds = [op.kind for layer in plan.layers if layer.program for op in layer.program.ops]
        assert "remainder" in kinds
    assert any(plan.folding.interleave > 1 for plan in plans) and any(plan.folding.unroll > 1 for plan in plans)
    assert {schedule.fold.beats > 1 for plan in plans for schedule in plan.schedules} == {True, False}


@pytest.mark.long
@pytest.mark.parametrize("seed", range(203, 220))
def test_many_absorbed(seed):
    holds(draw_absorbed(seed))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6, 80))
def test_many(seed):
    holds(draw(seed))
