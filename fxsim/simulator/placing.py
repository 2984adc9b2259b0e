# SPDX-License-Identifier: Apache-2.0
"""Where the tensors of a network stand while one function computes them: views, copies, and memory by lifetime.

Flatten, Reshape, Reverse and Repeat are other views of the same values, and a tensor that only a Concat reads is
written where it stands there; what is left are copies.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from ..program.graph import Graph, Node, Tensor
from ..program.ops import Input
from ..program.program import Program

#: A block of memory: an input or an output by its number, or working memory by that.
Home = tuple[str, int]


@dataclass(frozen=True)
class View:
    """A tensor in a block of memory, in rows of one element each.

    Step ``t`` stands ``t * row + offset`` rows behind the beginning, or as many of the last step's before that if
    ``backward``. ``row`` 0: the same vector at every step.
    """

    home: Home
    tensor: Tensor
    row: int
    offset: int = 0
    backward: bool = False

    @property
    def joined(self) -> bool:
        """Whether the steps stand behind one another, and nothing between them."""
        return self.tensor.tokens == 1 or (self.row == self.tensor.elements and not self.backward)

    def turned(self, tensor: Tensor) -> View:
        """The steps in the other order."""
        return replace(self, tensor=tensor, backward=not self.backward)

    def shaped(self, tensor: Tensor) -> View:
        """Values that are joined, as a tensor of another shape."""
        return replace(self, tensor=tensor, row=tensor.elements, backward=False)

    def repeated(self, tensor: Tensor) -> View:
        """A vector at every step."""
        return replace(self, tensor=tensor, row=0)

    def same(self, other: View) -> bool:
        """Whether both are the same rows of memory, in the same order."""
        if self.tensor.tokens == 1:
            return (self.home, self.offset) == (other.home, other.offset)
        places = [(one.home, one.offset, one.row, one.backward) for one in (self, other)]
        return places[0] == places[1]


@dataclass(frozen=True)
class Task:
    """A program run over the steps of ``sources``; ``to`` takes its results, or the last one's if ``last``."""

    name: str
    program: Program
    sources: tuple[View, ...]
    to: View
    last: bool = False


@dataclass(frozen=True)
class Placed:
    """Tasks in order, and the tensors that blocks of working memory hold."""

    tasks: tuple[Task, ...]
    memory: tuple[Tensor, ...]

    def lifetimes(self) -> dict[Home, tuple[int, int]]:
        """The first and the last task that uses each block of working memory."""
        found: dict[Home, tuple[int, int]] = {}
        for number, task in enumerate(self.tasks):
            for view in (*task.sources, task.to):
                if view.home[0] == "memory":
                    found[view.home] = (found.get(view.home, (number,))[0], number)
        return found


def placed(graph: Graph) -> Placed:
    """The tasks of a network, and where their tensors stand."""
    return _Placing(graph).run()


class _Placing:
    def __init__(self, graph: Graph) -> None:
        self.graph, self.tensors = graph, graph.tensors
        self.memory: list[Tensor] = []
        self.tasks: list[Task] = []
        self.readers: dict[str, list[tuple[Node, int]]] = defaultdict(list)
        for node in graph.nodes:
            for place, source in enumerate(node.sources):
                self.readers[source].append((node, place))
        self.sinks: dict[str, View | None] = {}

    def run(self) -> Placed:
        for node in reversed(self.graph.nodes):
            self.sinks[node.name] = self._sink(node)
        views = {
            tensor.name: View(("input", number), tensor, tensor.elements)
            for number, tensor in enumerate(self.graph.inputs)
        }
        for node in self.graph.nodes:
            sources = [views[name] for name in node.sources]
            to = self.sinks[node.name]
            if node.program is not None:
                to = to or self._fresh(self.tensors[node.name])
                last = node.recurrent and not node.return_sequences
                self.tasks.append(Task(node.name, node.program, tuple(sources), to, last))
                views[node.name] = to
            else:
                views[node.name] = self._move(node, sources, to)
        return Placed(tuple(self.tasks), tuple(self.memory))

    def _fresh(self, tensor: Tensor) -> View:
        self.memory.append(tensor)
        return View(("memory", len(self.memory) - 1), tensor, tensor.elements)

    def _sink(self, node: Node) -> View | None:
        """Where a node's result has to be written, if that is not a place of its own."""
        tensor, readers = self.tensors[node.name], self.readers[node.name]
        if node.name in self.graph.outputs:
            return View(("output", self.graph.outputs.index(node.name)), tensor, tensor.elements)
        found = self._in_reader(tensor, *readers[0]) if len(readers) == 1 else None
        if found is None and node.program is None and node.kind == "concat":
            return self._fresh(tensor)
        return found

    def _in_reader(self, tensor: Tensor, reader: Node, place: int) -> View | None:
        """Where a tensor stands in what its only reader makes of it."""
        into = None if reader.program is not None else self.sinks[reader.name]
        if into is None:
            return None
        match reader.kind:
            case "concat":
                return self._part(into, reader, place)
            case "reverse":
                return into.turned(tensor)
            case "flatten" | "reshape" if into.joined:
                return into.shaped(tensor)
        return None

    def _part(self, into: View, node: Node, place: int) -> View:
        """The place of one of a Concat's sources."""
        before = sum(self.tensors[name].elements for name in node.sources[:place])
        return replace(into, tensor=self.tensors[node.sources[place]], offset=into.offset + before)

    def _move(self, node: Node, sources: list[View], to: View | None) -> View:
        tensor, first = self.tensors[node.name], sources[0]
        if node.kind == "concat":
            assert to is not None
            for place, source in enumerate(sources):
                self._copy(node, source, self._part(to, node, place))
            return to
        if node.kind == "flatten" and (to is not None or not first.joined):
            flat = to or self._fresh(tensor)
            self._copy(node, first, flat.shaped(first.tensor))
            return flat
        if node.kind == "reverse":
            view = first.turned(tensor)
        else:
            view = first.repeated(tensor) if node.kind == "repeat" else first.shaped(tensor)
        if to is not None:
            self._copy(node, view, to)
        return to or view

    def _copy(self, node: Node, source: View, to: View) -> None:
        if source.same(to):
            return
        op = Input(name="x", type=source.tensor.type, elements=source.tensor.elements)
        self.tasks.append(Task(node.name, Program((op,), op.name), (source,), to))


def offsets(sizes: dict[Home, int], lifetimes: dict[Home, tuple[int, int]]) -> dict[Home, int]:
    """Offsets of blocks of some bytes, of which those that are in use at the same time stand apart."""
    found: dict[Home, int] = {}
    for home, size in sizes.items():
        first, last = lifetimes[home]
        beside = [one for one in found if lifetimes[one][0] <= last and first <= lifetimes[one][1]]
        start = 0
        for other in sorted(beside, key=found.__getitem__):
            if start + size <= found[other]:
                break
            start = max(start, found[other] + sizes[other])
        found[home] = start
    return found
