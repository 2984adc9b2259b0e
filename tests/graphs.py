# SPDX-License-Identifier: Apache-2.0
"""Random networks that are no chains, and what the reference says of them, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from programs import Random

from fxsim.program import reference
from fxsim.program.fixed import Fixed, Overflow, Round
from fxsim.program.graph import Graph, Node, Tensor, Wiring
from fxsim.program.ops import Add, Cast, Concat, Input, Max, Mul, Op, Sub
from fxsim.program.program import Program

#: Elements of any tensor of a random network.
MOST_ELEMENTS = 60


def random_format(rng: np.random.Generator) -> Fixed:
    """A format of 5 to 12 bits with any modes."""
    width = int(rng.integers(5, 13))
    modes = list(Round)[rng.integers(len(Round))], list(Overflow)[rng.integers(len(Overflow))]
    return Fixed(width, width - 3, True, *modes)


def merge(rng: np.random.Generator, sources: list[Tensor]) -> Program:
    """A program of several inputs: sums, products and maxima of pairs, or all of them behind one another."""
    to = random_format(rng)
    ops: list[Op] = [
        Input(name=f"x{number}", type=one.type, elements=one.elements) for number, one in enumerate(sources)
    ]
    if len({one.elements for one in sources}) > 1 or len(sources) == 1 or rng.random() < 0.2:
        casts = [Cast(name=f"c{number}", type=to, arg=f"x{number}") for number in range(len(sources))]
        return Program((*ops, *casts, Concat(name="y", type=to, parts=tuple(op.name for op in casts))), "y")
    before = "x0"
    for number in range(1, len(sources)):
        kind = [Add, Sub, Mul, Max][rng.integers(4)]
        ops.append(kind(name=f"y{number}", type=to, a=before, b=f"x{number}"))
        before = f"y{number}"
    return Program(tuple(ops), before)


def random_graph(seed: int, nodes: int = 0) -> Graph:
    """A network of one to three inputs and up to so many nodes (3 to 12 of each kind, if 0), all of which are used."""
    rng = np.random.default_rng(seed)
    steps = int(rng.choice([1, 2, 3, 5]))
    wiring = Wiring(*(
        Tensor(f"in{number}", steps if number == 0 or rng.random() < 0.6 else None, int(rng.integers(1, 6)),
               random_format(rng))
        for number in range(int(rng.integers(1, 4)))
    ))  # fmt: skip
    count = nodes or int(rng.integers(3, 13))
    while len(wiring.nodes) < count:
        name = f"n{len(wiring.nodes)}"
        for node in _node(rng, wiring, name, steps):
            wiring.add(node)
    read = {source for node in wiring.nodes for source in node.sources}
    loose = [name for name in wiring.tensors if name not in read]
    for number, name in enumerate([name for name in loose if name.startswith("in")]):
        wiring.add(Node(f"end{number}", "end", merge(rng, [wiring.tensors[name]]), sources=(name,)))
    read = {source for node in wiring.nodes for source in node.sources}
    outputs = [node.name for node in wiring.nodes if node.name not in read]
    # An output may be read as well.
    more = [node.name for node in wiring.nodes if node.name in read and rng.random() < 0.15]
    return wiring.graph(f"random{seed}", *outputs, *more)


def _node(rng: np.random.Generator, wiring: Wiring, name: str, steps: int) -> list[Node]:
    names = list(wiring.tensors)
    # Those that nobody reads are taken rather than others.
    read = {source for node in wiring.nodes for source in node.sources}
    fresh = [one for one in names if one not in read]
    source = str(rng.choice(fresh if fresh and rng.random() < 0.7 else names))
    x = wiring.tensors[source]
    kind = str(rng.choice(["cell", "line", "merge", "concat", "reverse", "flatten", "reshape", "repeat"]))
    if kind in ("cell", "line"):
        draw = Random(int(rng.integers(1 << 30)), 12, steps=x.tokens)
        program = draw.program((x.type, x.elements), stateful=kind == "cell" and x.steps is not None)
        last = bool(program.states) and rng.random() < 0.4
        if program.elements > MOST_ELEMENTS or (program.states and x.steps is None):
            return []
        return [Node(name, kind, program, not last, sources=(source,))]
    if kind in ("merge", "concat"):
        beside = [one for one in names if wiring.tensors[one].steps == x.steps]
        some = [source, *map(str, rng.choice(beside, int(rng.integers(1, 3))))]
        tensors = [wiring.tensors[one] for one in some]
        if sum(one.size for one in tensors) > MOST_ELEMENTS:
            return []
        if kind == "merge":
            return [Node(name, kind, merge(rng, tensors), sources=tuple(some))]
        if len({one.type for one in tensors}) > 1:
            return []
        return [Node(name, kind, sources=tuple(some))]
    if kind == "repeat":
        if x.steps is not None or x.elements * steps > MOST_ELEMENTS:
            return []
        return [Node(name, kind, steps=steps, sources=(source,))]
    if kind == "reshape":
        ways = [n for n in range(1, x.size + 1) if x.size % n == 0]
        return [] if x.steps is not None else [Node(name, kind, steps=int(rng.choice(ways)), sources=(source,))]
    if kind == "reverse" and x.steps is None:
        return []
    return [Node(name, kind, sources=(source,))]


def raw_inputs(graph: Graph, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Raw integers for every input, many of them the largest."""
    rng = np.random.default_rng(seed)
    found = {}
    for one in graph.inputs:
        raw = rng.integers(one.type.min, one.type.max, (batch, *one.shape), endpoint=True)
        found[one.name] = np.where(rng.random(raw.shape) < 0.1, one.type.max, raw)
    return found


def by_reference(graph: Graph, raw: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any], dict[str, int]]:
    """Outputs, traces and overflows of a batch in Python integers."""
    outputs: dict[str, list[Any]] = {name: [] for name in graph.outputs}
    traces: dict[str, list[Any]] = {}
    overflows: dict[str, int] = {}
    for b in range(len(next(iter(raw.values())))):
        given = {one.name: raw[one.name][b].reshape(one.tokens, one.elements).tolist() for one in graph.inputs}
        trace: dict[str, Any] = {}
        counts: dict[str, int] = {}
        flow = reference.network(graph, given, trace, counts)
        for name, found in outputs.items():
            found.append(np.array(flow[name]).reshape(graph.tensors[name].shape).tolist())
        for name, values in trace.items():
            traces.setdefault(name, []).append(values)
        for name, number in counts.items():
            overflows[name] = overflows.get(name, 0) + number
    return outputs, traces, overflows
