# SPDX-License-Identifier: Apache-2.0
"""Networks as graphs: what is refused, parts, files of both versions, and what hardware is not built of yet."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fuzz.mutators import rezip, unzip
from graphs import random_graph
from networks import network

import fxsim
from fxsim.errors import FxsimError
from fxsim.golden import random_inputs
from fxsim.program.fixed import Fixed
from fxsim.program.graph import Graph, Node, Tensor, Wiring, chain
from fxsim.program.ops import Add, Cast, Input
from fxsim.program.program import Program
from fxsim.simulator.run import simulate
from rtl.plan.folding import Folding, make_plan

X, Y = Fixed(8, 4), Fixed(10, 4)
SAVED = Path(__file__).resolve().parents[1] / "saved"


def line(name: str, source: str, elements: int = 2, type: Fixed = X) -> Node:
    program = Program((Input(name="x", type=type, elements=elements), Cast(name="y", type=X, arg="x")), "y")
    return Node(name, "line", program, sources=(source,))


def summed(name: str, *sources: str, types: tuple[Fixed, Fixed] = (X, X)) -> Node:
    ops = [Input(name=name, type=type, elements=2) for name, type in zip("ab", types, strict=True)]
    return Node(name, "add", Program((*ops, Add(name="y", type=X, a="a", b="b")), "y"), sources=sources)


def diamond(*more: Node, inputs: tuple[Tensor, ...] = (Tensor("x", 3, 2, X),), outputs: tuple[str, ...] = ("s",)):
    """Two ways from one input to a sum, and more nodes."""
    return Graph("g", inputs, (line("a", "x"), line("b", "x"), summed("s", "a", "b"), *more), outputs)


# --- What is refused


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: diamond(inputs=()), r"^a network must have at least one input$"),
        (lambda: diamond(line("x", "a")), r"^layer names must be distinct and not empty, not 'x'$"),
        (lambda: diamond(line("s", "a")), r"^layer names must be distinct and not empty, not 's'$"),
        (lambda: diamond(line("c", "later")), r"^layer 'c' reads 'later', which is no input and no earlier layer$"),
        (lambda: diamond(line("c", "c")), r"^layer 'c' reads 'c', which is no input and no earlier layer$"),
        (lambda: diamond(line("c", "a")), r"^layer 'c': its result is read by no layer and is no output$"),
        (lambda: diamond(outputs=()), r"^layer 's': its result is read by no layer and is no output$"),
        (lambda: diamond(outputs=("s", "s")), r"^outputs must be distinct names of layers, not 's'$"),
        (lambda: diamond(outputs=("s", "x")), r"^outputs must be distinct names of layers, not 'x'$"),
        (
            lambda: diamond(inputs=(Tensor("x", 3, 2, X), Tensor("z", 3, 2, X))),
            r"^input 'z' is read by no layer and is no output$",
        ),
        (lambda: diamond(inputs=(Tensor("x", 0, 2, X),)), r"^tensor 'x': steps must be at least 1, not 0$"),
        (
            lambda: diamond(line("c", "x"), summed("t", "s", "c", types=(X, Y)), outputs=("t",)),
            r"^layer 't' takes ap_fixed<10,6>, its input 'b', 'c', is ap_fixed<8,4>$",
        ),
        (
            lambda: diamond(Node("f", "flatten", sources=("s",)), line("c", "f", 6), outputs=("c", "z")),
            r"^outputs must be distinct names of layers, not 'z'$",
        ),
        (lambda: diamond(replace(summed("t", "s"), sources=("s",))), r"^layer 't' takes 2 tensors, not 1$"),
        (lambda: diamond(Node("m", "turn", sources=("s",))), r"^layer 'm': without a program kind must be one of fla"),
        (lambda: diamond(Node("m", "concat", sources=("s",))), r"^layer 'm' takes at least 2 tensors, not 1$"),
        (lambda: diamond(Node("m", "reverse", sources=("s", "a"))), r"^layer 'm' takes 1 tensor, not 2$"),
        (lambda: diamond(Node("m", "reverse", steps=2, sources=("s",))), r"^layer 'm': steps must be left out for rev"),
        (
            lambda: diamond(Node("m", "repeat", sources=("s",))),
            r"^layer 'm': steps must be given for repeat, not None$",
        ),
        (
            lambda: diamond(Node("m", "repeat", steps=2, sources=("s",))),
            r"^layer 'm' takes one vector a sequence, not 's', \(3, 2\)$",
        ),
        (
            lambda: diamond(Node("f", "flatten", sources=("s",)), Node("m", "reverse", sources=("f",))),
            r"^layer 'm' takes \(steps, features\), not 'f', \(6,\)$",
        ),
        (
            lambda: diamond(Node("f", "flatten", sources=("s",)), Node("m", "concat", sources=("f", "s"))),
            r"^layer 'm' takes tensors of equally many steps: 'f' has shape \(6,\), 's' \(3, 2\)$",
        ),
        (
            lambda: diamond(
                Node("m", "concat", sources=("s", "z")), inputs=(Tensor("x", 3, 2, X), Tensor("z", 3, 2, Y))
            ),
            r"^layer 'm' takes tensors of one format: 's' is ap_fixed<8,4>, 'z' ap_fixed<10,6>$",
        ),
        (
            lambda: diamond(
                line("c", "a.y"), inputs=(Tensor("x", 3, 2, X), Tensor("a.y", 3, 2, X)), outputs=("s", "c")
            ),
            r"^input names must not be those of ops of layers, as 'a\.y' is$",
        ),
        (lambda: diamond(outputs=("s", "a")).output, r"^this needs a network of one output; 'g' has 2: 's', 'a'$"),
    ],
)
def test_illegal_graphs_are_refused(build, message: str) -> None:
    with pytest.raises(FxsimError, match=message):
        build()


# --- What is not built yet


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (
            diamond(),
            r"^layer 'b' reads 'x', which 'a' and 'b' read; fxsim simulates it, but does not build it in hardw",
        ),
        (
            Graph("g", (Tensor("x", 3, 2, X), Tensor("z", 3, 2, X)), (summed("s", "x", "z"),), ("s",)),
            r"^the network has 2 inputs: 'x', 'z'; fxsim simulates it",
        ),
        (diamond(outputs=("s", "a")), r"^the network has 2 outputs: 's', 'a'; fxsim simulates it"),
        (
            Graph("g", (Tensor("x", 3, 2, X),), (line("a", "x"), summed("s", "a", "a")), ("s",)),
            r"^layer 's' reads 2 tensors: 'a', 'a'; fxsim simulates it",
        ),
        (
            chain("g", (3, 2), X, [Node("r", "reverse"), line("a", "")]),
            r"^layer 'r' turns the order of the steps around",
        ),
        (
            chain("g", (2,), X, [Node("r", "repeat", steps=3), line("a", "")]),
            r"^layer 'r' gives a vector at every step",
        ),
        (network("lstm", backward=("gru", 3)), r"^layer 'lstm\.reversed' turns the order of the steps around; fxsim"),
    ],
)
def test_hardware_is_refused(graph: Graph, message: str, tmp_path: Path) -> None:
    for build in (
        lambda: fxsim.plan(graph, reuse=1),
        lambda: fxsim.export(graph, tmp_path / "ip"),
        lambda: fxsim.export(graph, tmp_path / "ip", input_beat="step"),
        lambda: fxsim.pareto(graph),
        lambda: make_plan(graph, Folding({})),
    ):
        with pytest.raises(FxsimError, match=message):
            build()
    assert not (tmp_path / "ip").exists()


# --- Parts, summaries, copies


def test_parts() -> None:
    graph = diamond(Node("f", "flatten", sources=("s",)), outputs=("f", "a"))
    assert [node.name for node in graph.until("a").nodes] == ["a"]
    part = graph.until("s")
    assert (part.outputs, [node.name for node in part.nodes]) == (("s",), ["a", "b", "s"])
    alone = graph.alone(graph.by_name["s"])
    assert [tensor.name for tensor in alone.inputs] == ["a", "b"] and alone.output_shape == (3, 2)
    assert pickle.loads(pickle.dumps(graph)) == graph
    assert hash(graph) == hash(pickle.loads(pickle.dumps(graph)))


def test_summary() -> None:
    facts = diamond(outputs=("s", "a")).to_dict()
    assert facts["network"]["outputs"] == {"s": "3 x 2, ap_fixed<8,4>", "a": "3 x 2, ap_fixed<8,4>"}
    assert [row["layer"] for row in facts["layers"]] == ["a", "b", "s"]


# --- Files


def test_saved_and_read(tmp_path: Path) -> None:
    for seed in range(20):
        graph = random_graph(seed)
        graph.save(tmp_path / "g.fx")
        assert Graph.load(tmp_path / "g.fx") == graph
    assert json.loads(unzip((tmp_path / "g.fx").read_bytes())["version.json"])["fxsim"] == 2


def test_the_digest_sees_the_graph() -> None:
    base = diamond(outputs=("s", "a"))
    others = [
        diamond(outputs=("a", "s")),
        replace(base, inputs=(Tensor("y", 3, 2, X),), nodes=tuple(
            replace(one, sources=tuple("y" if name == "x" else name for name in one.sources)) for one in base.nodes)),
        replace(base, nodes=(base.nodes[1], base.nodes[0], base.nodes[2])),
        replace(base, nodes=(*base.nodes[:2], summed("s", "b", "a"))),
    ]  # fmt: skip
    assert len({graph.digest for graph in [base, *others]}) == 5
    # The input's name is no part of a chain's.
    graph = network("gru")
    named = chain(graph.name, graph.shape, graph.input, graph.nodes, "other")
    assert named != graph and named.digest == graph.digest


@pytest.mark.parametrize("name", ["chain", "both"])
def test_files_of_version_1(name: str, tmp_path: Path) -> None:
    """Written before there were graphs: a chain with a Reshape, and two Bidirectionals."""
    want = json.loads((SAVED / "fx-1.json").read_text())[name]
    graph = Graph.load(SAVED / f"{name}-1.fx")
    raw = random_inputs(graph, 6)
    run = simulate(graph, raw, raw=True)
    assert run.raw.tolist() == want["outputs"] and run.overflows == want["overflows"]
    assert (graph.digest == want["digest"]) == (not graph.loose)
    graph.save(tmp_path / "g.fx")
    assert Graph.load(tmp_path / "g.fx") == graph


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"kind":"lstm"', '"kind":"gru"', "digest does not match"),
        ('"backward":', '"forward":', "Layer must have the fields backward, kind,"),
        ('"layers":', '"nodes":', "Graph must have the fields input, layers, name, shape, not"),
        ('"backward":{', '"backward":"', "not a readable .fx file"),
    ],
)
def test_damaged_files_of_version_1(old: str, new: str, message: str, tmp_path: Path) -> None:
    members = unzip((SAVED / "both-1.fx").read_bytes())
    text = members["graph.json"].decode()
    assert old in text
    members["graph.json"] = text.replace(old, new, 1).encode()
    (tmp_path / "g.fx").write_bytes(rezip(list(members.items())))
    with pytest.raises(FxsimError, match=message):
        Graph.load(tmp_path / "g.fx")


@pytest.mark.parametrize("version", [0, 3, "2", 2.0, True, None])
def test_other_versions(version: object, tmp_path: Path) -> None:
    members = unzip((SAVED / "both-1.fx").read_bytes())
    members["version.json"] = json.dumps({**json.loads(members["version.json"]), "fxsim": version}).encode()
    (tmp_path / "g.fx").write_bytes(rezip(list(members.items())))
    with pytest.raises(FxsimError, match=r"\.fx version must be 1 or 2, not "):
        Graph.load(tmp_path / "g.fx")


def test_wiring_says_what_does_not_fit() -> None:
    wiring = Wiring(Tensor("x", 3, 2, X))
    with pytest.raises(FxsimError, match=r"^layer 'a' takes 3 elements a step, its input has 2$"):
        wiring.add(line("a", "x", 3))
    assert np.array_equal(simulate(diamond(), np.ones((1, 3, 2))).values, 2 * np.ones((1, 3, 2)))
