# SPDX-License-Identifier: Apache-2.0
"""The list of operators by stage: complete, and in the cycles of the schedule."""

import pytest
from networks import network
from rtl_bench import plan_for

from rtl.plan.folding import Folding, make_plan
from rtl.plan.stages import stages


def test_a_parallel_cell():
    plan = make_plan(network("lstm", seed=2), Folding({}))
    found = stages(plan.schedules[0])
    assert [stage.cycle for stage in found] == list(range(plan.schedules[0].result + 1))
    assert "uh: 2 adder levels" in found[1].operators
    assert "h: cast" in found[-1].operators
    budget = plan.family.budget(plan.clock_mhz)
    assert all(stage.offset <= budget for stage in found)


@pytest.mark.parametrize("reuse", [1, 4, 16])
@pytest.mark.parametrize("cell", ["lstm", "gru_before"])
def test_every_operator_is_there(cell, reuse):
    schedule = plan_for(network(cell, seed=reuse, tail=(3,)), reuse).schedules[0]
    texts = [text for stage in stages(schedule) for text in stage.operators]
    assert {text.partition(":")[0] for text in texts} == set(schedule.engines) | set(schedule.slots)
    for name, engine in schedule.engines.items():
        assert f"{name}: {engine.multipliers} products" in texts
        assert (f"{name}: sum of {engine.depth} parts" in texts) == engine.accumulates
