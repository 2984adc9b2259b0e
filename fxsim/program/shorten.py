# SPDX-License-Identifier: Apache-2.0
"""The same network for shorter sequences, for tests that would take too long on the whole ones."""

from __future__ import annotations

from dataclasses import replace

from ..errors import FxsimError
from .graph import Graph, Layer
from .integers import Const
from .ops import Dot, Input
from .program import Program


def shorten(graph: Graph, steps: int) -> Graph:
    """The network with only the first ``steps`` of its sequences; weights of later steps are left out.

    Raises ``FxsimError`` for a network that does not take sequences, or has no more than so many steps.
    """
    if len(graph.shape) != 2 or not 1 <= steps < graph.shape[0]:
        raise FxsimError(f"steps must be from 1 to {graph.shape[0] - 1} of a network that takes sequences, not {steps}")
    layers = []
    shape = (steps, graph.shape[1])
    type = graph.input
    for layer, whole, _, _, _ in graph.flow():
        short = _layer(layer, whole, shape)
        layers.append(short)
        shape, type = short.result(shape, type)  # type: ignore[assignment]
    return replace(graph, shape=(steps, graph.shape[1]), layers=tuple(layers))


def _layer(layer: Layer, whole: tuple[int, ...], shape: tuple[int, ...]) -> Layer:
    if layer.program is None or (whole[-1] == shape[-1] and not _stepwise(layer.program)):
        return layer
    return replace(layer, program=_program(layer.program, whole, shape))


def _stepwise(program: Program) -> bool:
    """Whether a step has weights of its own."""
    return any(dot.weights.data.ndim == 3 for dot in program.dots)


def _program(program: Program, whole: tuple[int, ...], shape: tuple[int, ...]) -> Program:
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
