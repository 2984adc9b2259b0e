# SPDX-License-Identifier: Apache-2.0
"""The search for a folding against all foldings there are."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import pytest
from networks import network

import fxsim
from fxsim.errors import FxsimError
from fxsim.program.graph import Graph
from rtl.plan.delays import FAMILIES
from rtl.plan.folding import Folding, Plan, by_reuse, choices, computing, make_plan, slower_inputs
from rtl.plan.search import by_budget, pareto
from rtl.plan.signed_digits import CHOICES
from rtl.plan.target import Target

GRAPHS = {
    "dense behind": {"cell": "lstm", "units": 4, "tail": (3, 2)},
    "sums over the sequence": {"cell": "gru", "units": 4, "flatten": True, "tail": (3,)},
    "a result each step": {"cell": "gru_before", "units": 4, "return_sequences": True, "tail": (3,)},
}


def graph_of(name: str) -> Graph:
    return network(**GRAPHS[name], seed=3)


@lru_cache(maxsize=8)
def every_plan(name: str) -> list[Plan]:
    """Every combination of the layers' foldings, with products of the input as slow as they may be, exactly."""
    graph = graph_of(name)
    layers = computing(graph)
    target = Target.of()
    each = [
        [slow for fold in choices(layer.program) for slow, _ in slower_inputs(layer.program, fold, target, 1)]
        for layer in layers
    ]
    found = product(*each)
    names = [layer.name for layer in layers]
    return [make_plan(graph, Folding(dict(zip(names, folds, strict=True)))) for folds in found]


@pytest.mark.parametrize("name", GRAPHS)
def test_the_fastest_of_so_many_multipliers(name):
    plans = every_plan(name)
    assert len(plans) > 20
    for budget in sorted({plan.multipliers for plan in plans})[::5]:
        found = make_plan(graph_of(name), by_budget(graph_of(name), multipliers=budget))
        assert found.multipliers <= budget
        best = min(plan.timing.latency for plan in plans if plan.multipliers <= budget)
        assert found.timing.latency == best


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("what", ["latency", "interval"])
def test_the_smallest_of_so_many_cycles(name, what):
    plans = every_plan(name)
    for budget in sorted({int(getattr(plan.timing, what)) for plan in plans})[::7]:
        found = make_plan(graph_of(name), by_budget(graph_of(name), **{what: budget}))
        assert getattr(found.timing, what) <= budget
        assert found.multipliers == min(plan.multipliers for plan in plans if getattr(plan.timing, what) <= budget)


@pytest.mark.parametrize("name", ["dense behind", "sums over the sequence"])
def test_the_front_is_one(name):
    plans = every_plan(name)
    shown = pareto(graph_of(name), Target.of(), count=1000)
    assert len(shown) > 5
    for one in shown:
        better = [p for p in plans if p.timing.latency <= one.timing.latency and p.multipliers < one.multipliers]
        assert better == []
    # Nothing is left out: each plan is matched or beaten by one that is shown.
    for plan in plans:
        assert any(
            one.timing.latency <= plan.timing.latency and one.multipliers <= plan.multipliers for one in shown
        )  # fmt: skip


@pytest.mark.parametrize("resource", ["dsp", "lut"])
def test_budgets_of_cells(resource):
    graph = graph_of("dense behind")
    shown = pareto(graph, Target.of())
    used = [plan.dsp if resource == "dsp" else plan.cost.luts for plan in shown]
    before = None
    for budget in (min(used) + 5, (min(used) + max(used)) // 2, max(used)):
        plan = make_plan(graph, by_budget(graph, **{resource: budget}))
        assert (plan.dsp if resource == "dsp" else plan.cost.luts) <= budget
        assert before is None or plan.timing.latency <= before
        before = plan.timing.latency
        # No shown plan of so little is faster.
        little = [one.timing.latency for one, amount in zip(shown, used, strict=True) if amount <= budget]
        assert plan.timing.latency <= min(little)
    with pytest.raises(FxsimError, match=rf"^{resource} must be at least \d+, not 1$"):
        by_budget(graph, **{resource: 1})


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_each_family_has_a_budget_of_luts(name):
    graph = graph_of("dense behind")
    most = make_plan(graph, Folding({}), 50, name).cost.luts
    few, many = (
        make_plan(graph, by_budget(graph, lut=luts, family_name=name, clock_mhz=50), 50, name)
        for luts in (most * 2 // 3, most)
    )
    assert few.cost.luts <= most * 2 // 3 < many.cost.luts <= most
    assert few.timing.latency > many.timing.latency


@pytest.mark.parametrize("count", [1, 0, -3, 2.5, True])
def test_a_front_of_too_few(count):
    with pytest.raises(FxsimError, match=r"^count must be an integer of at least 2, not"):
        fxsim.pareto(graph_of("dense behind"), count=count)


#: What is no clock, no family and no multiplier, and how each is refused.
NO_TARGETS = {
    "clock_mhz": ((0, None, "fast", []), r"^clock must be from 1 to 2000 MHz, not "),
    "family": (("stratix", None, 7, []), r"^family must be one of xc7 \(.*, ecp5, not "),
    "multiplier": (("bram", None, 7, []), r"^multiplier must be one of auto, dsp, lut, not "),
}


@pytest.mark.parametrize("name", NO_TARGETS)
def test_an_illegal_target_is_refused_alike_wherever_it_is_given(name):
    graph = graph_of("dense behind")
    values, message = NO_TARGETS[name]
    inner = {"family": "family_name"}.get(name, name)
    calls = [
        lambda value: fxsim.plan(graph, reuse=2, **{name: value}),
        lambda value: fxsim.plan(graph, latency=500, **{name: value}),
        lambda value: fxsim.pareto(graph, **{name: value}),
        lambda value: by_reuse(graph, 2, **{inner: value}),
        lambda value: by_budget(graph, latency=500, **{inner: value}),
    ]
    for call, value in product(calls, values):
        with pytest.raises(FxsimError, match=message):
            call(value)


def test_in_logic_the_front_is_one_of_luts():
    assert "lut" in CHOICES
    shown = fxsim.pareto(graph_of("dense behind"), clock_mhz=100.0, multiplier="lut")
    assert len(shown) > 3
    assert all(plan.dsp == 0 for plan in shown)
    luts = [plan.cost.luts for plan in shown]
    assert luts == sorted(luts, reverse=True)
    assert [plan.timing.latency for plan in shown] == sorted(plan.timing.latency for plan in shown)
