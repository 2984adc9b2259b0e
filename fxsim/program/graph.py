# SPDX-License-Identifier: Apache-2.0
"""A network as data: a graph of nodes, each a program and how it runs over its sources, or a move of values."""

from __future__ import annotations

import math
import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..arguments import by_name, sizes
from ..errors import FxsimError, show
from ..system.forks import cached_property
from . import fx_file
from .fixed import Fixed
from .nodes import MOST_ELEMENTS, Node, Shape, Tensor
from .program import LONGEST_NAME, Program

if TYPE_CHECKING:
    from ..pages.listing import Summary

__all__ = ["INPUT", "SUFFIX", "Graph", "Node", "Shape", "Tensor", "Wiring", "chain", "free_name", "row"]

SUFFIX = ".fx"
#: Moves that hardware does not make yet.
_UNBUILT = {"reverse": "turns the order of the steps around", "repeat": "gives a vector at every step"}
#: Name of the input of a network that does not give it one.
INPUT = "input"


@dataclass(frozen=True, repr=False)
class Graph:
    """A quantised network: what both the simulator and the gateware compute.

    ``inputs`` are the tensors that come from outside, ``nodes`` in an order in which each follows its sources, and
    ``outputs`` the names of the nodes whose results are the network's. A chain is the special case of one input, one
    output, and nodes that read the one before them. Raises ``FxsimError`` that names the node and the tensor, and what
    is wrong.
    """

    name: str
    inputs: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        self.verify()

    def verify(self) -> None:
        """The executable specification of a legal network; raises ``FxsimError``."""
        if not self.inputs:
            raise FxsimError("a network must have at least one input")
        if not self.nodes:
            raise FxsimError("a network must have at least one layer")
        nodes = [node.name for node in self.nodes]
        names = [*(tensor.name for tensor in self.inputs), *nodes]
        for name in names:
            kind = "layer" if name in nodes else "input"
            if not isinstance(name, str) or len(name) > LONGEST_NAME or not name.isprintable():
                raise FxsimError(
                    f"{kind} names must have at most {LONGEST_NAME} printable characters, not {show(name)}"
                )
            if not name or names.count(name) > 1:
                raise FxsimError(f"{kind} names must be distinct and not empty, not {show(name)}")
        found = self._flow()
        ops = {f"{node.name}.{op.name}" for node in self.nodes if node.program for op in node.program.ops}
        for tensor in self.inputs:
            if tensor.name in ops:
                raise FxsimError(f"input names must not be those of ops of layers, as {show(tensor.name)} is")
        for name in self.outputs:
            if name not in nodes or self.outputs.count(name) > 1:
                raise FxsimError(f"outputs must be distinct names of layers, not {show(name)}")
        read = {*self.outputs, *(source for node in self.nodes for source in node.sources)}
        for name in found:
            if name not in read:
                what = f"layer {name!r}: its result" if name in nodes else f"input {name!r}"
                raise FxsimError(f"{what} is read by no layer and is no output")

    def _flow(self) -> dict[str, Tensor]:
        found = {tensor.name: tensor for tensor in self.inputs}
        for node in self.nodes:
            for source in node.sources:
                if source not in found:
                    raise FxsimError(
                        f"layer {node.name!r} reads {show(source)}, which is no input and no earlier layer"
                    )
            found[node.name] = node.result(*(found[source] for source in node.sources))
        return found

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """All tensors by their names: the inputs, and the result of each node."""
        return MappingProxyType(self._flow())

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Nodes by their names."""
        return MappingProxyType({node.name: node for node in self.nodes})

    @cached_property
    def programs(self) -> Mapping[str, Program]:
        """Programs by the names of their nodes, with which the names of their ops begin in a trace."""
        return MappingProxyType({node.name: node.program for node in self.nodes if node.program is not None})

    def __getstate__(self) -> dict[str, Any]:
        # What is cached is found again; views of dictionaries cannot be pickled.
        return {name: getattr(self, name) for name in ("name", "inputs", "nodes", "outputs")}

    def by_input(self, x: Any) -> dict[str, Any]:
        """What is given for each input, by their names, in their order: ``x`` itself for the only one.

        For several inputs ``x`` is a dictionary or a list in their order. Raises ``FxsimError`` with the names of the
        inputs where some are missing or others are there.
        """
        return by_name([tensor.name for tensor in self.inputs], x)

    # --- One input, one output

    def _only(self, tensors: Sequence[Tensor], what: str) -> Tensor:
        if len(tensors) != 1:
            names = ", ".join(repr(one.name) for one in tensors)
            raise FxsimError(f"this needs a network of one {what}; {self.name!r} has {len(tensors)}: {names}")
        return tensors[0]

    @property
    def results(self) -> tuple[Tensor, ...]:
        """The output tensors."""
        return tuple(self.tensors[name] for name in self.outputs)

    @property
    def shape(self) -> Shape:
        """Shape of the only input, without the batch; raises ``FxsimError`` if there are several."""
        return self._only(self.inputs, "input").shape

    @property
    def input(self) -> Fixed:
        """Format of the only input; raises ``FxsimError`` if there are several."""
        return self._only(self.inputs, "input").type

    @property
    def output_shape(self) -> Shape:
        """Shape of the only output, without the batch; raises ``FxsimError`` if there are several."""
        return self._only(self.results, "output").shape

    @property
    def output(self) -> Fixed:
        """Format of the only output; raises ``FxsimError`` if there are several."""
        return self._only(self.results, "output").type

    # --- Chains, which are what hardware is built of

    @cached_property
    def loose(self) -> str:
        """What makes this no chain of layers that hardware is built of, beginning with the node; empty for a chain."""
        for what, tensors in (("inputs", self.inputs), ("outputs", self.results)):
            if len(tensors) > 1:
                return f"the network has {len(tensors)} {what}: {', '.join(repr(one.name) for one in tensors)}"
        before = self.inputs[0].name
        for node in self.nodes:
            if len(node.sources) > 1:
                return f"{node.where} reads {len(node.sources)} tensors: {', '.join(map(repr, node.sources))}"
            if node.program is None and node.kind in _UNBUILT:
                return f"{node.where} {_UNBUILT[node.kind]}"
            if node.sources != (before,):
                return f"{node.where} reads {node.sources[0]!r}, which {self._readers(node.sources[0])} read"
            before = node.name
        return "" if self.outputs == (before,) else f"{self.by_name[before].where} is behind an output"

    def _readers(self, name: str) -> str:
        readers = [repr(node.name) for node in self.nodes if name in node.sources]
        return " and ".join((*readers, *(["the output"] if name in self.outputs else [])))

    def flow(self) -> Iterator[tuple[Node, Shape, Fixed, Shape, Fixed]]:
        """Every node of a chain with the shape and format of its input and of its result.

        Raises ``FxsimError`` that names the node which hardware is not built of yet.
        """
        if self.loose:
            raise FxsimError(f"{self.loose}; fxsim simulates it, but does not build it in hardware yet")
        for node in self.nodes:
            source, result = self.tensors[node.sources[0]], self.tensors[node.name]
            yield node, source.shape, source.type, result.shape, result.type

    @cached_property
    def entry(self) -> Shape:
        """Shape in which a chain's values come in: behind a Reshape in front of all layers that compute, if any."""
        found: Shape | None = None
        for node, shape, _, result, _ in self.flow():
            found = found or shape
            if node.program is not None:
                break
            if node.steps is not None:
                found = result
        assert found is not None
        return found

    # --- Parts

    def alone(self, node: Node) -> Graph:
        """The network of one node, whose inputs are its sources."""
        return Graph(
            self.name, tuple(self.tensors[name] for name in dict.fromkeys(node.sources)), (node,), (node.name,)
        )

    def until(self, name: str) -> Graph:
        """The part of the network that the result of a node needs, with that as its only output."""
        needed = {name}
        for node in reversed(self.nodes):
            if node.name in needed:
                needed |= {*node.sources}
        nodes = tuple(node for node in self.nodes if node.name in needed)
        return Graph(self.name, tuple(one for one in self.inputs if one.name in needed), nodes, (name,))

    # --- Sizes

    @property
    def parameters(self) -> int:
        """Weights and biases of all layers."""
        return sum(program.parameters for program in self.programs.values())

    @cached_property
    def tokens(self) -> Mapping[str, int]:
        """Steps of a sequence that each node with a program runs over, by its name."""
        return MappingProxyType({
            node.name: self.tensors[node.sources[0]].tokens for node in self.nodes if node.program is not None
        })  # fmt: skip

    @cached_property
    def work(self) -> int:
        """Elements that ops of one sequence compute, products of matrices included."""
        total = 0
        for name, program in self.programs.items():
            products = sum(dot.weights.shape[-1] * dot.weights.shape[-2] for dot in program.dots)
            total += self.tokens[name] * (products + sum(program.sizes.values()))
        return total

    def traced(self, names: Container[str] | None = None) -> int:
        """Integers in the traces of one sequence: of the ops that are named as ``layer.op``, or of all."""
        return sum(
            self.tokens[name] * size
            for name, program in self.programs.items()
            for op, size in program.sizes.items()
            if names is None or f"{name}.{op}" in names
        )

    # --- For people

    def summary(self) -> Summary:
        """Layers, tensors with their proven ranges, and tables, for people, notebooks and programs.

        ``print`` it, let a notebook show it, or take its ``to_dict()``.
        """
        from ..study.summaries import network  # it looks at the programs through others, which import this module

        return network(self)

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain values, as ``fxsim info --json`` prints it. Files are for :meth:`save`."""
        return self.summary().to_dict()

    def _repr_html_(self) -> str:
        from ..study.summaries import brief

        return brief(self)._repr_html_()

    def __repr__(self) -> str:
        def side(what: str, tensors: Sequence[Tensor]) -> str:
            single = len(tensors) == 1
            told = [
                f"{'' if single else f'{one.name} '}{' x '.join(map(str, one.shape))} x {one.type}" for one in tensors
            ]
            return f"{what}{'' if single else 's'} {' and '.join(told)}"

        ends = f"{side('input', self.inputs)}, {side('output', self.results)}"
        count = len(self.nodes)
        return f"Graph {self.name}: {count} layer{'s' * (count > 1)}, {self.parameters} parameters; {ends}"

    def predict(self, x: Any, *, warn: bool = True) -> Any:
        """Outputs as float64 on the output's grid, (batch, *output shape), for ``x`` (batch, *shape).

        A network of several inputs takes them by name, or as a list in their order; one of several outputs gives a
        dictionary. Warns (``OverflowWarning``), if not told otherwise, where inputs or outputs leave their formats.
        """
        from ..simulator.run import predict  # the simulator imports this module

        return predict(self, x, warn=warn, stacklevel=3)

    # --- Files

    @property
    def digest(self) -> str:
        """SHA-256 over everything that decides the network's bits; equal graphs have equal digests.

        A chain's is that of version 1 of the file, in which inputs have no names.
        """
        return fx_file.digest(self if self.loose else fx_file.version_1(self))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the graph as ``.fx``: the same bytes for the same graph. See ``docs/program.md`` for the layout."""
        fx_file.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Graph:
        """Read a ``.fx`` file; raises ``FxsimError`` with one line for anything but a whole one."""
        return fx_file.load(path)


class Wiring:
    """Collects the nodes of a network, each behind its sources, and knows their tensors."""

    def __init__(self, *inputs: Tensor) -> None:
        self.inputs = inputs
        self.nodes: list[Node] = []
        self.tensors = {tensor.name: tensor for tensor in inputs}

    def add(self, *nodes: Node) -> Tensor:
        """Append nodes; the result of the last one. Raises ``FxsimError`` where they do not fit their sources."""
        for node in nodes:
            self.nodes.append(node)
            self.tensors[node.name] = found = node.result(*(self.tensors[name] for name in node.sources))
        return found

    def graph(self, name: str, *outputs: str) -> Graph:
        """The network, verified."""
        return Graph(name, self.inputs, tuple(self.nodes), outputs)


def chain(name: str, shape: Shape, input: Fixed, nodes: Sequence[Node], input_name: str = INPUT) -> Graph:
    """The network of nodes in a row, each of which reads the one before it.

    ``shape`` is that of one input without the batch: (steps, features) or (features,). ``input`` is its format.
    """
    input_name = free_name((node.name for node in nodes), input_name)
    before = [input_name, *(node.name for node in nodes)]
    linked = [replace(node, sources=(source,)) for node, source in zip(nodes, before, strict=False)]
    return row(name, shape, input, linked, input_name)


def row(name: str, shape: Shape, input: Fixed, nodes: Sequence[Node], input_name: str) -> Graph:
    """The network of one input whose output is the last node's."""
    shape = sizes(shape, "input shape", 1 << 20)
    if math.prod(shape) > MOST_ELEMENTS:
        raise FxsimError(f"an input must have at most {MOST_ELEMENTS} elements, not {math.prod(shape)}")
    outputs = tuple(node.name for node in nodes[-1:])
    return Graph(name, (Tensor.of(input_name, shape, input),), tuple(nodes), outputs)


def free_name(taken: Iterable[str], wanted: str = INPUT) -> str:
    """The name, with as many underscores behind it as it takes to be no other's."""
    names = set(taken)
    while wanted in names:
        wanted += "_"
    return wanted
