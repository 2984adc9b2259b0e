# SPDX-License-Identifier: Apache-2.0
"""Input beats of other widths than a step's, and copies of the cell for every step: bits, edges, stalls."""

from __future__ import annotations

from dataclasses import replace

import pytest
from networks import network
from rtl_bench import agrees, folding, random_raw, rtl_run

from fxsim.errors import FxsimError
from fxsim.program.graph import Node, chain
from fxsim.simulator.run import simulate
from rtl.gateware.control import Relay
from rtl.plan.folding import Folding, by_reuse, from_json, make_plan
from rtl.plan.folds import Fold
from rtl.plan.lower import lower
from rtl.plan.search import by_budget


@pytest.mark.parametrize("beat", [1, 2, 3, 24])
@pytest.mark.parametrize(("reuse", "ways"), [(1, 1), (3, 1), (1, 3)])
def test_beats(beat, reuse, ways):
    graph = network("lstm", seed=beat, features=6, tail=(3,))
    plan = make_plan(graph, replace(folding(graph, reuse), beat=beat, interleave=ways))
    assert plan.source.beats == 24 // beat
    agrees(plan, 4 * ways)


def test_narrow_beats_of_a_network_without_sequences():
    graph = network("gru", seed=1, features=4, tail=(3,))
    dense = chain("dense", (4,), graph.nodes[0].program.type, graph.nodes[1:])
    agrees(make_plan(dense, Folding({}, beat=2)), 10)


@pytest.mark.parametrize("beat", [3, 12])
@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_before", "simple_rnn"])
def test_unrolled_cells(cell, beat):
    graph = network(cell, seed=3, tail=(4,))
    plan = make_plan(graph, Folding({}, unroll=4, beat=beat))
    assert not any(op.name.startswith("h_old") for op in plan.schedules[0].program.states)
    assert plan.timing.interval == 12 // beat
    agrees(plan, 12)


@pytest.mark.parametrize("cycles", [2, 3, 7])
@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_before", "simple_rnn"])
def test_unrolled_cells_take_a_sequence_every_reuse_cycles(cell, cycles):
    graph = network(cell, seed=cycles, features=4, tail=(4,))
    plan = make_plan(graph, Folding({cell: Fold(1, cycles, "dsp")}, unroll=4, beat=16))
    assert plan.timing.interval == plan.schedules[0].interval == cycles
    assert plan.multipliers < make_plan(graph, Folding({cell: Fold(1, 1, "dsp")}, unroll=4)).multipliers
    agrees(plan, 12)


@pytest.mark.parametrize("seed", range(2))
def test_unrolled_cells_with_saturating_sums(seed):
    graph = network("lstm", seed=seed, wrap=False)
    agrees(make_plan(graph, Folding({"lstm": Fold(1, 5)}, unroll=4, beat=12)), 8)


@pytest.mark.parametrize("cell", ["lstm", "gru_before"])
def test_a_copy_that_comes_too_late_is_noticed(cell, monkeypatch):
    """Registers that are to keep a vector for longer than the next sequence stays away."""
    graph = network(cell, seed=3, features=4)
    plan = make_plan(graph, Folding({cell: Fold(1, 4, "dsp")}, unroll=4, beat=16))
    raw = random_raw(graph, 8)
    expected = simulate(graph, raw, raw=True).raw.reshape(-1, 4).tolist()
    assert rtl_run(plan, raw).outputs.tolist() == expected

    def late(registers, name, cycle, values, phase, interval, stands):
        return Relay(registers, name, cycle, values, phase, interval + 1, stands)

    monkeypatch.setattr("rtl.gateware.operands.Relay", late)
    assert rtl_run(plan, raw).outputs.tolist() != expected


def test_plans_of_unrolled_networks():
    graph = network("lstm", units=6, tail=(4,))
    base = Folding({}, unroll=4, beat=12)
    last = None
    for reuse in (1, 2, 6):
        plan = make_plan(graph, by_reuse(graph, reuse, "dsp", base=base))
        assert plan.timing.interval == reuse
        assert last is None or plan.multipliers < last
        last = plan.multipliers
        assert make_plan(graph, by_budget(graph, interval=reuse, multiplier="dsp", base=base)).multipliers <= last
    plan = make_plan(graph, by_budget(graph, multipliers=last, base=base))
    assert plan.folding.unroll == 4
    assert plan.multipliers <= last


def test_unrolled_stacks_and_flattened_sequences():
    agrees(make_plan(network("gru", seed=2, flatten=True, tail=(3,)), Folding({}, unroll=4, beat=12)), 6)
    agrees(make_plan(network("gru", seed=2, flatten=True), Folding({"gru": Fold(1, 3, "dsp")}, unroll=4)), 6)
    one, two = network("lstm", seed=1, return_sequences=True, units=4), network("gru", seed=2, features=4)
    program = two.nodes[0].program
    ops = tuple(replace(op, type=one.nodes[0].program.type) if op.name == "x" else op for op in program.ops)
    second = Node("second", "gru", replace(program, ops=ops), False)
    agrees(make_plan(chain("stacked", one.shape, one.input, (one.nodes[0], second)), Folding({}, unroll=4)), 6)


def test_the_first_step_needs_no_products_with_the_state():
    graph = network("lstm", units=3)
    program = lower(graph, 4)[0].program
    assert len([op for op in program.dots if op.name.startswith("wx")]) == 4
    assert [op.name for op in program.dots if op.name.startswith("uh")] == ["uh_1", "uh_2", "uh_3"]


@pytest.mark.parametrize(
    ("graph", "changes", "message"),
    [
        (network("lstm"), {"beat": 2}, r"^input beat must have 1, 3, 12 elements, not 2$"),
        (network("lstm"), {"beat": True}, r"not True$"),
        (network("lstm"), {"unroll": 2}, r"^unroll must be 1 or 4, the steps of a sequence, not 2$"),
        (network("lstm"), {"unroll": "4"}, r"not '4'$"),
        (network("lstm", return_sequences=True), {"unroll": 4}, r"^unroll must be 1 for a network that gives a result"),
        (network("lstm"), {"unroll": 4, "interleave": 2}, r"^interleave must be 1 for a network without sequences"),
    ],
)
def test_what_is_refused(graph, changes, message):
    with pytest.raises(FxsimError, match=message):
        make_plan(graph, Folding({}, **changes))


def test_in_a_folding_file():
    graph = network("lstm")
    chosen = from_json(graph, '{"unroll": 4, "beat": 12}')
    assert (chosen.unroll, chosen.beat) == (4, 12)
    assert from_json(graph, '{"beat": 12}').to_json()["beat"] == 12
