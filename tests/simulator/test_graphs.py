# SPDX-License-Identifier: Apache-2.0
"""Networks that are no chains: kernels equal the reference in every op; where tensors stand, and when."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graphs import by_reference, random_graph, raw_inputs

from fxsim.errors import FxsimError, OverflowWarning
from fxsim.program.fixed import Fixed, Overflow
from fxsim.program.graph import Graph, Node, Tensor, Wiring
from fxsim.program.integers import Const
from fxsim.program.ops import Add, Cast, Dot, Input
from fxsim.program.program import Program
from fxsim.simulator import network_kernel
from fxsim.simulator.placing import offsets, placed
from fxsim.simulator.run import Run, predict, simulate

X = Fixed(9, 4)
SEEDS = 60


def outputs(graph: Graph, run: Run) -> dict[str, np.ndarray]:
    return run.raw if len(graph.outputs) > 1 else {graph.outputs[0]: run.raw}


def agrees(graph: Graph, batch: int) -> None:
    """Outputs, traces and overflow counts are those of the reference, whatever a kernel is built for."""
    raw = raw_inputs(graph, batch)
    want, traces, overflows = by_reference(graph, raw)
    given = raw if len(raw) > 1 else next(iter(raw.values()))
    for more in ({"trace": True}, {"overflows": False}, {"trace": True, "checked": True}):
        run = simulate(graph, given, raw=True, threads=1, **more)
        assert {name: value.tolist() for name, value in outputs(graph, run).items()} == want
        for name, values in traces.items() if run.trace else ():
            assert run.trace[name].tolist() == values, name
        for name, count in overflows.items() if run.overflows else ():
            assert run.overflows.get(name, 0) == count, name


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_networks(seed: int) -> None:
    agrees(random_graph(seed), 1 + seed % 7)


def test_all_kinds_are_drawn() -> None:
    graphs = [random_graph(seed) for seed in range(SEEDS)]
    kinds = {node.kind for graph in graphs for node in graph.nodes}
    assert kinds >= {"cell", "line", "merge", "concat", "reverse", "flatten", "reshape", "repeat"}
    assert {len(graph.inputs) for graph in graphs} == {1, 2, 3}
    assert any(len(graph.outputs) > 2 for graph in graphs) and any(len(graph.nodes) > 10 for graph in graphs)
    # All three ways of a move: written in place, read as a view, copied.
    tasks = [task for graph in graphs for task in placed(graph).tasks]
    assert any(task.to.backward for task in tasks) and any(view.backward for task in tasks for view in task.sources)
    assert any(view.row == 0 for task in tasks for view in task.sources)
    assert any(len(task.program.ops) == 1 for task in tasks)


# --- Each move, by hand


def line(name: str, source: Tensor | str, elements: int = 2, type: Fixed = X) -> Node:
    program = Program((Input(name="x", type=type, elements=elements), Cast(name="y", type=X, arg="x")), "y")
    return Node(name, "line", program, sources=(source if isinstance(source, str) else source.name,))


def one(kind: str, shape: tuple[int, ...], **fields: object) -> np.ndarray:
    """What a move makes of 0, 1, 2, ..., between two programs."""
    wiring = Wiring(Tensor.of("x", shape, X))
    wiring.add(line("a", "x", shape[-1]))
    moved = wiring.add(Node("m", kind, sources=("a",), **fields))
    wiring.add(line("b", "m", moved.elements))
    size = int(np.prod(shape))
    return simulate(wiring.graph("g", "b"), np.arange(size).reshape(1, *shape), raw=True).raw[0]


def test_moves() -> None:
    assert one("reverse", (3, 2)).tolist() == [[4, 5], [2, 3], [0, 1]]
    assert one("repeat", (2,), steps=3).tolist() == [[0, 1]] * 3
    assert one("flatten", (2, 2)).tolist() == [0, 1, 2, 3]
    assert one("reshape", (4,), steps=2).tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize("order", [("x", "y"), ("y", "x"), ("x", "x")])
def test_concat(order: tuple[str, str]) -> None:
    wiring = Wiring(Tensor("x", 2, 1, X), Tensor("y", 2, 2, X))
    wiring.add(line("a", "x", 1), line("b", "y", 2))
    named = {"x": "a", "y": "b"}
    wiring.add(Node("both", "concat", sources=tuple(named[name] for name in order)))
    graph = wiring.graph("g", "both", *({"a", "b"} - {named[name] for name in order}))
    given = {"x": np.array([[[1], [2]]]), "y": np.array([[[3, 4], [5, 6]]])}
    run = simulate(graph, given, raw=True)
    want = np.concatenate([given[name] for name in order], axis=-1)
    assert np.array_equal(outputs(graph, run)["both"], want)


def test_a_flattened_reverse_and_a_repeat_that_are_outputs() -> None:
    wiring = Wiring(Tensor("x", 3, 2, X))
    wiring.add(line("a", "x"), Node("r", "reverse", sources=("a",)), Node("f", "flatten", sources=("r",)))
    wiring.add(Node("t", "repeat", steps=2, sources=("f",)), line("b", "t", 6))
    graph = wiring.graph("g", "f", "t", "b", "r")
    run = simulate(graph, np.arange(6).reshape(1, 3, 2), raw=True)
    flat = [4, 5, 2, 3, 0, 1]
    assert run.raw["f"].tolist() == [flat] and run.raw["t"].tolist() == run.raw["b"].tolist() == [[flat] * 2]
    assert run.raw["r"].tolist() == [[flat[:2], flat[2:4], flat[4:]]]


# --- Memory


def test_what_is_in_use_at_the_same_time_stands_apart() -> None:
    saved = 0
    for seed in range(200):
        plan = placed(random_graph(seed))
        lives = plan.lifetimes()
        sizes = {("memory", number): 64 * (1 + tensor.size % 5) for number, tensor in enumerate(plan.memory)}
        places = offsets(sizes, lives)
        homes = list(sizes)
        for number, one in enumerate(homes):
            for two in homes[:number]:
                if lives[one][0] <= lives[two][1] and lives[two][0] <= lives[one][1]:
                    a, b = sorted((one, two), key=places.__getitem__)
                    assert places[a] + sizes[a] <= places[b]
        saved += sum(sizes.values()) - max((places[home] + sizes[home] for home in homes), default=0)
    assert saved > 0


def test_memory_that_is_handed_out_too_early_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both branches at one place."""
    wiring = Wiring(Tensor("x", 2, 2, X))
    ops = Input(name="p", type=X, elements=2), Input(name="q", type=X, elements=2), Add(name="y", type=X, a="p", b="q")
    double = Program((Input(name="x", type=X, elements=2), Add(name="y", type=X, a="x", b="x")), "y")
    wiring.add(line("a", "x"), Node("b", "line", double, sources=("x",)))
    wiring.add(Node("sum", "merge", Program(ops, "y"), sources=("a", "b")))
    graph = wiring.graph("g", "sum")
    raw = np.arange(8).reshape(2, 2, 2)
    assert np.array_equal(simulate(graph, raw, raw=True).raw, 3 * raw)
    monkeypatch.setattr(network_kernel, "offsets", lambda sizes, lives: dict.fromkeys(sizes, 0))
    assert not np.array_equal(simulate(replace(graph, name="again"), raw, raw=True).raw, 3 * raw)


# --- Several inputs and outputs


def two_ways() -> Graph:
    wiring = Wiring(Tensor("track", 2, 2, X), Tensor("jet", None, 3, Fixed(7, 2, True, X.round, Overflow.SAT)))
    wiring.add(line("a", "track"), line("b", "jet", 3, wiring.tensors["jet"].type))
    return wiring.graph("g", "b", "a")


def test_by_name_and_in_order() -> None:
    graph = two_ways()
    track, jet = np.full((3, 2, 2), 1.5), np.full((3, 3), -0.25)
    for given in ({"jet": jet, "track": track}, [track, jet], (track, jet)):
        found = predict(graph, given)
        assert list(found) == ["b", "a"]
        assert np.array_equal(found["a"], track) and np.array_equal(found["b"], jet)
    assert repr(simulate(graph, [track, jet])) == "Run of 3 sequences: outputs b (3, 3), a (3, 2, 2), 0 overflows"
    text = "inputs track 2 x 2 x ap_fixed<9,5> and jet 3 x ap_fixed<7,5,AP_TRN,AP_SAT>, outputs b 3 x"
    assert text in repr(graph)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((3, 2, 2)), r"^inputs must be 2 arrays, by name or in this order: 'track', 'jet'; not one ndarray$"),
        ([np.zeros((3, 2, 2))], r"^inputs must be 2 arrays, by name or in this order: 'track', 'jet'; not 1$"),
        ({"track": 0}, r"^inputs must be 'track', 'jet', not 'track'$"),
        ([np.zeros((3, 2, 2)), np.zeros((2, 3))], r"^input 'jet' must have as many sequences as the others, 3, not 2$"),
        ([np.zeros((3, 2, 2)), np.zeros((3, 4))], r"^input 'jet' must have shape \(batch, 3\), not \(3, 4\)$"),
        ([np.zeros((3, 2, 2)), np.full((3, 3), np.nan)], r"^input 'jet' value at \(0, 0\) is nan"),
    ],
)
def test_inputs_are_refused(given: object, message: str) -> None:
    with pytest.raises(FxsimError, match=message):
        simulate(two_ways(), given)


def test_overflows_have_the_names_of_inputs() -> None:
    graph, given = two_ways(), [np.zeros((4, 2, 2)), np.full((4, 3), 99.0)]
    run = simulate(graph, given)
    assert run.overflows["jet"] == 12 and run.overflows["track"] == 0
    assert run.overflow_counts["jet"].tolist() == [3] * 4
    with pytest.warns(OverflowWarning, match=r"100 % of jet in ap_fixed<7,5> \(8 integer bits would do\)$"):
        predict(graph, given)


def test_results_that_64_bits_do_not_hold() -> None:
    """Node by node: kernels where they can, the reference where they cannot, moves between them."""
    wide, big = Fixed(40, 0), Fixed(40, 20)
    weights = Const(np.full((2, 2), wide.max), wide)
    wiring = Wiring(Tensor("x", 2, 2, big), Tensor("z", 2, 2, X))
    ops = Input(name="x", type=big, elements=2), Dot(name="d", type=Fixed(90, 20), arg="x", weights=weights)
    wiring.add(Node("wide", "dense", Program((*ops, Cast(name="y", type=X, arg="d")), "y"), sources=("x",)))
    wiring.add(line("a", "z"), Node("r", "reverse", sources=("wide",)), Node("c", "concat", sources=("a", "r")))
    wiring.add(line("out", "c", 4))
    agrees(wiring.graph("g", "out", "r"), 5)
