# SPDX-License-Identifier: Apache-2.0
"""Reshape: a vector dealt into steps, whose values stay where they are."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import network

import fxsim
from fxsim.errors import FxsimError
from fxsim.program.fixed import Fixed
from fxsim.program.graph import Graph, Node, chain
from rtl.export.verilog import to_verilog
from rtl.plan.folding import Folding, by_reuse, make_plan

DEAL = Node("deal", "reshape", None, steps=4)
FLAT = Node("flat", "flatten", None)


def plain(**options: object) -> Graph:
    return network("lstm", steps=4, features=3, units=2, tail=(2,), **options)  # type: ignore[arg-type]


def dealt(graph: Graph, *before: Node) -> Graph:
    return chain(graph.name, (12,), graph.input, (*before, DEAL, *graph.nodes))


def x(count: int = 9) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1.5, (count, 12))


def test_values_stay_where_they_are() -> None:
    graph = plain()
    one = fxsim.simulate(dealt(graph), x(), trace=True)
    two = fxsim.simulate(graph, x().reshape(-1, 4, 3), trace=True)
    assert np.array_equal(one.raw, two.raw) and one.overflows == two.overflows
    assert one.trace.keys() == two.trace.keys()
    assert all(np.array_equal(one.trace[name], two.trace[name]) for name in two.trace)
    assert np.array_equal(fxsim.predict(dealt(graph), x(3)), one.values[:3])
    assert fxsim.predict(dealt(graph), x(70)).shape == (70, 2)


def test_at_the_end_and_from_steps_to_other_steps() -> None:
    first = network("gru", steps=4, features=3, units=3, return_sequences=True)
    both = chain("both", (4, 3), first.input, (*first.nodes, FLAT, replace(DEAL, steps=2)))
    assert both.output_shape == (2, 6)
    raw = fxsim.simulate(first, x().reshape(-1, 4, 3)).raw
    assert np.array_equal(fxsim.simulate(both, x().reshape(-1, 4, 3)).raw, raw.reshape(-1, 2, 6))


def test_saved_and_read(tmp_path: Path) -> None:
    graph = dealt(plain())
    graph.save(tmp_path / "r.fx")
    assert Graph.load(tmp_path / "r.fx") == graph
    assert graph.digest != dealt(plain(), FLAT).digest
    # A graph without Reshape has the bytes, and so the digest, that it had before there was one.
    plain().save(tmp_path / "p.fx")
    with zipfile.ZipFile(tmp_path / "p.fx") as archive:
        nodes = json.loads(archive.read("graph.json"))["nodes"]
    assert all(node["steps"] is None for node in nodes)


@pytest.mark.parametrize(
    ("shape", "steps", "message"),
    [
        ((12,), 5, r"^layer 'deal': steps must divide a vector of 12, not 5$"),
        ((12,), 0, r"^layer 'deal': steps must divide a vector of 12, not 0$"),
        ((12,), 24, r"^layer 'deal': steps must divide a vector of 12, not 24$"),
        ((12,), True, r"^layer 'deal': steps must divide a vector of 12, not True$"),
        ((4, 3), 2, r"^layer 'deal': steps must divide a vector of 12, not 2$"),
    ],
)
def test_refused(shape: tuple[int, ...], steps: int, message: str) -> None:
    with pytest.raises(FxsimError, match=message):
        chain("g", shape, Fixed(8, 3), (replace(DEAL, steps=steps),))


def test_steps_are_for_reshape_alone() -> None:
    graph = plain()
    with pytest.raises(FxsimError, match=r"^layer 'lstm': steps must be left out where there is a program$"):
        replace(graph, nodes=(replace(graph.nodes[0], steps=4), *graph.nodes[1:]))


@pytest.mark.parametrize(
    "folding",
    [Folding({}), Folding({}, beat=1), Folding({}, beat=12), Folding({}, unroll=4), Folding({}, interleave=2)],
    ids=str,
)
def test_in_front_of_all_layers_it_costs_no_hardware(folding: Folding) -> None:
    graph = plain()
    want, got = (make_plan(one, folding) for one in (graph, dealt(graph)))
    assert (got.timing, got.beat, got.cost) == (want.timing, want.beat, want.cost)
    texts = [to_verilog(plan, "top").text.replace(plan.graph.digest, "digest") for plan in (want, got)]
    assert texts[0] == texts[1]
    assert make_plan(dealt(graph, FLAT), folding).timing == want.timing
    assert by_reuse(dealt(graph), 2) == by_reuse(graph, 2)


def test_steps_dealt_anew_in_front_cost_no_hardware() -> None:
    graph = network("gru", steps=2, features=6, units=2)
    other = chain(graph.name, (4, 3), graph.input, (FLAT, replace(DEAL, steps=2), *graph.nodes))
    want, got = (make_plan(one, Folding({})) for one in (graph, other))
    assert (got.timing, got.beat) == (want.timing, 6)
    texts = [to_verilog(plan, "top").text.replace(plan.graph.digest, "digest") for plan in (want, got)]
    assert texts[0] == texts[1]


def test_beats_of_a_vector_that_is_dealt() -> None:
    graph = dealt(plain())
    assert fxsim.plan(graph, reuse=1, input_beat="step").beat == 3
    assert fxsim.plan(graph, reuse=1, input_beat="sequence").beat == 12
    with pytest.raises(FxsimError, match=r"^input beat must have 1, 3, 12 elements, not 6$"):
        make_plan(graph, Folding({}, beat=6))


def test_behind_other_layers_it_is_not_built() -> None:
    graph = plain()
    later = chain(graph.name, graph.shape, graph.input, (*graph.nodes, replace(DEAL, steps=2)))
    assert fxsim.predict(later, x().reshape(-1, 4, 3)).shape == (9, 2, 1)
    with pytest.raises(FxsimError, match=r"^layer 'deal' reshapes a vector to steps, which fxsim builds in hardware"):
        make_plan(later, Folding({}))
