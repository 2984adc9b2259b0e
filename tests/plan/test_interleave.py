# SPDX-License-Identifier: Apache-2.0
"""Interleaved sequences: bits, order, predicted cycles and stalls, over cells, foldings and ways."""

from __future__ import annotations

from dataclasses import replace

import pytest
from networks import network
from rtl_bench import agrees, folding, random_raw, rtl_run

from fxsim.errors import FxsimError
from fxsim.program.graph import Graph, Node, chain
from fxsim.simulator.run import simulate
from rtl.plan.folding import Folding, Plan, from_json, make_plan
from rtl.plan.folds import Fold

#: Probabilities of an idle cycle at the input and of backpressure at the output.
STALLS = ((0.7, 0.0), (0.3, 0.6))


def planned(graph: Graph, reuse: int, ways: int) -> Plan:
    return make_plan(graph, replace(folding(graph, reuse), interleave=ways))


@pytest.mark.parametrize(
    ("cell", "reuse", "ways"),
    [
        ("lstm", 1, 3), ("lstm", 1, 8), ("lstm", 3, 3), ("lstm", 8, 2), ("gru", 1, 2), ("gru", 1, 5), ("gru", 4, 4),
        ("gru_before", 1, 4), ("gru_before", 3, 3), ("simple_rnn", 1, 3), ("simple_rnn", 6, 2),
    ],
)  # fmt: skip
def test_cells(cell, reuse, ways):
    agrees(planned(network(cell, seed=reuse + ways, tail=(3,)), reuse, ways), 5 * ways, STALLS)


@pytest.mark.parametrize("seed", range(3))
def test_saturating_sums(seed):
    agrees(planned(network("lstm", seed=seed, wrap=False, steps=5), 1, 4), 16, STALLS)


def test_stacked_cells():
    one, two = network("lstm", seed=1, return_sequences=True, units=4), network("gru", seed=2, features=4)
    program = two.nodes[0].program
    ops = tuple(replace(op, type=one.nodes[0].program.type) if op.name == "x" else op for op in program.ops)
    second = Node("second", "gru", replace(program, ops=ops), False)
    agrees(planned(chain("stacked", one.shape, one.input, (one.nodes[0], second)), 2, 4), 16, STALLS)


def test_as_many_ways_as_the_loop_is_long_keep_the_multipliers_busy():
    graph = network("lstm", seed=1, steps=6, tail=(3,))
    alone = planned(graph, 1, 1)
    loop = alone.schedules[0].interval
    assert alone.timing.interval == 6 * loop
    woven = planned(graph, 1, loop + 2)
    assert woven.timing.interval == 6
    assert woven.multipliers == alone.multipliers


def test_one_sequence_alone_and_then_others():
    """With nothing else under way a sequence starts at once, in whichever slot it falls."""
    graph = network("gru", seed=3)
    plan = planned(graph, 1, 4)
    raw = random_raw(graph, 7)
    expected = simulate(graph, raw, raw=True).raw.reshape(-1, graph.output_shape[-1])
    run = rtl_run(plan, raw, pause=200)
    assert run.outputs.tolist() == expected.tolist()
    firsts = run.taken[:: graph.shape[0]]
    assert len({given - first for given, first in zip(run.given, firsts, strict=True)}) == 1


def test_a_state_of_the_wrong_sequence_is_noticed(monkeypatch):
    graph = network("lstm", seed=4)
    plan = planned(graph, 1, 3)
    raw = random_raw(graph, 9)
    expected = simulate(graph, raw, raw=True).raw.reshape(-1, graph.output_shape[-1])
    wrong = replace(plan, schedules=tuple(replace(s, ways=2) for s in plan.schedules))
    assert rtl_run(wrong, raw).outputs.tolist() != expected.tolist()


@pytest.mark.parametrize(
    ("graph", "ways", "message"),
    [
        (network("lstm"), 0, r"^interleave must be an integer from 1 to 64, not 0$"),
        (network("lstm"), 65, r"not 65$"),
        (network("lstm"), "2", r"not '2'$"),
        (
            network("lstm", return_sequences=True),
            2,
            r"^interleave must be 1, not 2, because layer 'lstm' joins all steps",
        ),
        (
            network("lstm", flatten=True, tail=(3,)),
            2,
            r"because layer 'dense0_relu0' joins all steps or gives a result for each$",
        ),
        (network("lstm", flatten=True), 2, r"because layer 'flatten' joins all steps or gives a result for each$"),
    ],
)
def test_illegal_ways_are_refused(graph, ways, message):
    with pytest.raises(FxsimError, match=message):
        make_plan(graph, Folding({}, ways))


def test_interleave_in_a_folding_file():
    graph = network("lstm")
    chosen = Folding({"lstm": Fold(2, 3)}, 4)
    assert from_json(graph, '{"interleave": 4, "lstm": {"beats": 2, "cycles": 3}}') == chosen
    assert chosen.to_json() == {"lstm": {"beats": 2, "cycles": 3, "multiplier": "auto"}, "interleave": 4}
    assert make_plan(graph, chosen).source.ways == 4
