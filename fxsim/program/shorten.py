# SPDX-License-Identifier: Apache-2.0
"""The same network for shorter sequences, for tests that would take too long on the whole ones."""

from __future__ import annotations

from dataclasses import replace

from ..errors import FxsimError
from .graph import Graph, Node, Shape, Tensor, chain
from .integers import Const
from .ops import Dot, Input
from .program import Program


def shorten(graph: Graph, steps: int) -> Graph:
    """The network with only the first ``steps`` of its sequences; weights of later steps are left out.

    Raises ``FxsimError`` for a network that is no chain, does not take sequences, or has no more than so many steps.
    """
    if len(graph.shape) != 2 or not 1 <= steps < graph.shape[0]:
        raise FxsimError(f"steps must be from 1 to {graph.shape[0] - 1} of a network that takes sequences, not {steps}")
    nodes: list[Node] = []
    shape: Shape = (steps, graph.shape[1])
    type = graph.input
    for node, whole, _, _, _ in graph.flow():
        nodes.append(_node(node, whole, shape))
        found = nodes[-1].result(Tensor.of("", shape, type))
        shape, type = found.shape, found.type
    return chain(graph.name, (steps, graph.shape[1]), graph.input, nodes, graph.inputs[0].name)


def _node(node: Node, whole: Shape, shape: Shape) -> Node:
    if node.program is None or (whole[-1] == shape[-1] and not _stepwise(node.program)):
        return node
    return replace(node, program=_program(node.program, whole, shape))


def _stepwise(program: Program) -> bool:
    """Whether a step has weights of its own."""
    return any(dot.weights.data.ndim == 3 for dot in program.dots)


def _program(program: Program, whole: Shape, shape: Shape) -> Program:
    """A program whose input has fewer elements (steps that Flatten joins), or fewer steps with weights of their own."""
    elements = shape[-1]
    ops = []
    for op in program.ops:
        if isinstance(op, Input):
            op = replace(op, elements=elements)
        elif isinstance(op, Dot):
            data = op.weights.data
            if data.ndim == 3:
                data = data[: shape[0]]
            elif op.arg == program.input.name and data.shape[0] == whole[-1]:
                data = data[:elements]
            op = replace(op, weights=Const(data, op.weights.type))
        ops.append(op)
    return replace(program, ops=tuple(ops))
