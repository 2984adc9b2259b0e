# SPDX-License-Identifier: Apache-2.0
"""Products of a recurrent layer's input over cycles of their own: bits, predicted cycles, what is planned, refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from networks import network
from rtl_bench import agrees, random_raw, rtl_run

from fxsim.errors import FxsimError
from fxsim.simulator.run import simulate
from rtl.plan.folding import Folding, Plan, by_reuse, choices, computing, from_json, make_plan
from rtl.plan.folds import Fold, input_products
from rtl.plan.search import by_budget

CELLS = ["lstm", "gru", "gru_before", "simple_rnn"]


def planned(cell: str, fold: Fold, ways: int = 1, **network_options) -> Plan:
    graph = network(cell, seed=fold.reuse + ways, features=4, tail=(3,), **network_options)
    return make_plan(graph, Folding({cell: fold}, ways))


@pytest.mark.parametrize(
    "fold",
    [
        Fold(1, 1, input=2), Fold(1, 1, input=5), Fold(1, 4, input=3), Fold(1, 4, input=14),
        Fold(2, 2, input=5), Fold(4, 2, input=1), Fold(4, 2, input=24), Fold(2, 1, input=7),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("cell", CELLS)
def test_cells(cell, fold):
    agrees(planned(cell, fold), 3)


@pytest.mark.parametrize("fold", [Fold(1, 1, input=3), Fold(2, 3, input=9), Fold(4, 1, input=4)], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_interleaved_cells(cell, fold):
    agrees(planned(cell, fold, 3), 12)


@pytest.mark.parametrize(("beats", "cycles"), [(1, 4), (4, 4)])
def test_saturating_sums_keep_their_order(beats, cycles):
    graph = network("lstm", seed=beats, features=4, wrap=False)
    agrees(make_plan(graph, Folding({"lstm": Fold(beats, cycles, input=20)})), 3)


def test_the_input_costs_no_cycle_of_the_loop():
    """While a step is in the loop, the next one is in the input's engine."""
    shared, apart = planned("lstm", Fold(1, 1)), planned("lstm", Fold(1, 1, input=8))
    assert apart.schedules[0].interval == shared.schedules[0].interval == 8
    assert apart.schedules[0].engines["wx"].multipliers < shared.schedules[0].engines["wx"].multipliers
    assert apart.timing.interval == shared.timing.interval


def test_beats_do_not_wait_for_the_last_pass():
    plan = planned("lstm", Fold(4, 2, input=16)).schedules[0]
    assert plan.engines["wx"].passes > 1
    assert plan.engines["uh"].ready < plan.engines["wx"].ready


@pytest.mark.parametrize("fold", [Fold(4, 2, input=12), Fold(2, 1, input=7)], ids=str)
def test_an_input_that_is_a_cycle_late_is_noticed(fold):
    plan = planned("lstm", fold)
    raw = random_raw(plan.graph, 4)
    expected = simulate(plan.graph, raw, raw=True).raw.reshape(-1, 3).tolist()
    assert rtl_run(plan, raw).outputs.tolist() == expected
    first = plan.schedules[0]
    late = replace(first.engines["wx"], start=first.engines["wx"].start + 1)
    wrong = replace(plan, schedules=(replace(first, engines=first.engines | {"wx": late}), *plan.schedules[1:]))
    assert rtl_run(wrong, raw).outputs.tolist() != expected


@pytest.mark.parametrize("fold", [Fold(2, 2, input=9), Fold(4, 1, input=11)], ids=str)
def test_an_interval_that_is_a_cycle_short_is_noticed(fold):
    """The next step's products would come over those that wait, or start before the last ones are done."""
    plan = planned("lstm", fold)
    raw = random_raw(plan.graph, 4)
    expected = simulate(plan.graph, raw, raw=True).raw.reshape(-1, 3).tolist()
    first = plan.schedules[0]
    wrong = replace(plan, schedules=(replace(first, interval=first.interval - 1), *plan.schedules[1:]))
    assert rtl_run(wrong, raw).outputs.tolist() != expected


@pytest.mark.parametrize("interleave", [1, 4])
@pytest.mark.parametrize("reuse", [2, 4, 8, 16])
def test_reuse_leaves_no_engine_waiting(reuse, interleave):
    graph = network("lstm", units=8, features=6, tail=(3,))
    found = make_plan(graph, by_reuse(graph, reuse, "dsp", base=Folding({}, interleave)))
    fold = found.folding.folds["lstm"]
    shared = make_plan(graph, Folding({**found.folding.folds, "lstm": replace(fold, input=None)}, interleave))
    assert found.schedules[0].interval == shared.schedules[0].interval
    assert fold.input is None or found.multipliers < shared.multipliers
    if reuse == 4 and interleave == 1:
        assert fold.input is not None


def test_reuse_1_is_parallel():
    graph = network("lstm", tail=(3,))
    assert all(fold.input is None for fold in by_reuse(graph, 1).folds.values())


def test_a_budget_uses_the_input_s_own_cycles():
    """Of all foldings of the first layer, alone and with a slower input, none within the budget is faster."""
    graph = network("lstm", units=8, features=6, steps=6)
    slower = 0
    for budget in (20, 40, 90, 200):
        found = make_plan(graph, by_budget(graph, multipliers=budget, multiplier="dsp"))
        assert found.multipliers <= budget
        slower += found.folding.folds["lstm"].input is not None
        for fold in choices(computing(graph)[0].program, "dsp"):
            for cycles in (None, fold.reuse, 2 * fold.reuse):
                other = make_plan(graph, Folding({"lstm": replace(fold, input=cycles)}))
                assert other.multipliers > budget or other.timing.latency >= found.timing.latency
    assert slower


def test_in_a_folding_file():
    graph = network("lstm", tail=(3,))
    text = '{"lstm": {"beats": 2, "cycles": 3, "input": 12}}'
    folding = from_json(graph, text)
    assert folding.folds["lstm"] == Fold(2, 3, input=12)
    assert folding.to_json()["lstm"] == {"beats": 2, "cycles": 3, "multiplier": "auto", "input": 12}
    assert from_json(graph, json.dumps(folding.to_json())) == folding


@pytest.mark.parametrize(
    ("graph", "text", "message"),
    [
        (network("lstm"), '{"lstm": {"beats": 1, "cycles": 1, "input": 0}}', r"^layer 'lstm': input must be an"),
        (network("lstm"), '{"lstm": {"beats": 1, "cycles": 1, "input": "2"}}', r"^folding: layer 'lstm' must have"),
        (network("lstm"), '{"lstm": {"reuse": 1, "input": 2}}', r"^folding: layer 'lstm' must have"),
        (
            network("lstm", tail=(3,)), '{"dense0_relu0": {"beats": 1, "cycles": 1, "input": 2}}',
            r"^layer 'dense0_relu0': input must be left out where no other product runs beside those of the input",
        ),
        (
            network("lstm", wrap=False, features=4), '{"lstm": {"beats": 1, "cycles": 4, "input": 3}}',
            r"^layer 'lstm': op 'wx': 3 cycles are not enough for its products, in order",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(graph, text, message):
    with pytest.raises(FxsimError, match=message):
        make_plan(graph, from_json(graph, text))


def test_which_products_are_the_input_s():
    assert input_products(network("lstm").nodes[0].program) == {"wx"}
    assert input_products(network("lstm", tail=(3,)).nodes[1].program) == frozenset()
