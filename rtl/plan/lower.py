# SPDX-License-Identifier: Apache-2.0
"""From a graph's layers to hardware layers: what is merged, what is refused.

Flatten followed by Dense becomes a product that accumulates as the steps arrive, with weights that change with the
step; element-wise layers join the layer before them. Neither changes a bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from fxsim.arguments import index
from fxsim.errors import FxsimError, show
from fxsim.program.fixed import Fixed
from fxsim.program.fixed import cast as cast_integer
from fxsim.program.graph import Graph, Node, Shape
from fxsim.program.integers import Const
from fxsim.program.ops import Add, AnyOp, Dot, Input, State
from fxsim.program.program import Program

from .folds import is_ordered, known_bounds, regular
from .names import Names, words
from .rename import renamed
from .unroll import unrolled

#: Fields of a folding file that are of the whole network, so that no layer of it can be called so.
WHOLE = ("interleave", "unroll", "beat")
#: Instances of a network's module that are no layers, and its clock and reset.
MODULES = ("gather", "spread", "deal", "clk", "rst")


@dataclass(frozen=True)
class HardLayer:
    """One layer of hardware.

    ``name``: those of its layers in the graph, for people, and no other's; ``module``: the same for the Verilog.
    ``program`` None: Flatten that only collects. The names of its ops are words (:mod:`rtl.plan.names`); ``labels``
    are the names for people of those that are called otherwise. ``steps``: tokens of a sequence that enter.
    ``origin``: for each op of the program, the (layer, op) of the graph that it is, where it is one.
    """

    name: str
    program: Program | None
    steps: int
    return_sequences: bool
    origin: Mapping[str, tuple[str, str]]
    type: Fixed
    elements: int
    module: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def lower(graph: Graph, unroll: int = 1) -> list[HardLayer]:
    """The hardware layers of a graph; raises ``FxsimError`` for what cannot be built.

    ``unroll``: 1, or the number of steps: each layer then takes a whole sequence, with a copy of its cell a step.
    """
    _check_unroll(graph, unroll)
    result: list[HardLayer] = []
    flow = list(graph.flow())
    k = 0
    while k < len(flow):
        layer, shape, type, out, _ = flow[k]
        if layer.steps is not None:
            if not any(one[0].program for one in flow[:k]):
                # The input's values come in as steps from the first.
                result.clear()
                k += 1
                continue
            raise FxsimError(
                f"layer {layer.name!r} reshapes a vector to steps, which fxsim builds in hardware only before all "
                "layers that compute; it simulates it anywhere"
            )
        if unroll > 1 and len(shape) == 2:
            if layer.program is not None:
                result.append(_unrolled(layer, shape[0]))
        elif layer.program is None:
            following = flow[k + 1] if k + 1 < len(flow) else None
            merged = _accumulating(shape, following[0]) if following is not None else None
            if merged is not None and following is not None:
                result.append(merged)
                k += 2
                continue
            if len(shape) == 2 and shape[0] > 1:
                elements = out[-1]
                result.append(HardLayer(layer.name, None, shape[0], False, {}, type, elements))
        else:
            result.append(_plain(layer, shape))
        k += 1
    if not result:
        raise FxsimError("the network has no layer that computes anything")
    return _named(_join(result))


def _named(layers: list[HardLayer]) -> list[HardLayer]:
    """The layers under names that are theirs alone, for people and for the Verilog."""
    people = Names(WHOLE)
    layers = [replace(layer, name=people.distinct(layer.name)) for layer in layers]
    modules = words([layer.name for layer in layers], "layer", MODULES)
    return [_named_ops(replace(layer, module=modules[layer.name])) for layer in layers]


def _named_ops(layer: HardLayer) -> HardLayer:
    """A layer whose ops have names that signals can have; nearly always those that they have."""
    program = layer.program
    if program is None:
        return layer
    names = words([op.name for op in program.ops], "op")
    if all(old == new for old, new in names.items()):
        return layer
    ops = tuple(renamed(op, names) for op in program.ops)
    labels = {new: layer.labels.get(old, old) for old, new in names.items() if layer.labels.get(old, old) != new}
    origin = {names[op]: place for op, place in layer.origin.items()}
    return replace(layer, program=Program(ops, names[program.output]), origin=origin, labels=labels)


def _check_unroll(graph: Graph, unroll: int) -> None:
    steps = graph.entry[0] if len(graph.entry) == 2 else 1
    if index(unroll) not in (1, steps):
        legal = f"1 or {steps}, the steps of a sequence" if steps > 1 else "1 for a network without sequences"
        raise FxsimError(f"unroll must be {legal}, not {show(unroll)}")
    if unroll > 1 and len(graph.output_shape) == 2:
        raise FxsimError(f"unroll must be 1 for a network that gives a result every step, not {unroll}")


def _unrolled(layer: Node, steps: int) -> HardLayer:
    assert layer.program is not None
    name = layer.program.input.name
    program = unrolled(layer.program, steps, layer.return_sequences or not layer.recurrent)
    return HardLayer(layer.name, program, 1, False, {name: (layer.name, name)}, program.type, program.elements)


def _plain(layer: Node, shape: Shape) -> HardLayer:
    program = layer.program
    assert program is not None
    origin = {op.name: (layer.name, op.name) for op in program.ops}
    steps = shape[0] if len(shape) == 2 else 1
    return HardLayer(layer.name, program, steps, layer.return_sequences, origin, program.type, program.elements)


def _accumulating(shape: Shape, layer: Node) -> HardLayer | None:
    """A Dense of the flattened sequence as a sum over its steps, or None if that is not what follows."""
    program = layer.program
    if program is None or layer.recurrent or len(shape) != 2 or shape[0] == 1 or not regular(program):
        return None
    steps, features = shape
    uses = [op for op in program.ops if program.input.name in op.args]
    if len(uses) != 1 or not isinstance(uses[0], Dot) or uses[0].weights.data.ndim != 2:
        return None
    dot, names = uses[0], Names(op.name for op in program.ops)
    so_far, last = names.take("so_far", "op"), names.take(f"{dot.name}_step", "op")
    if is_ordered(dot, known_bounds(program)[dot.name]):
        return None  # a saturating sum keeps its order only within one product
    weights = Const(dot.weights.data.reshape(steps, features, -1), dot.weights.type)
    outputs = dot.weights.shape[-1]
    bias = np.zeros(outputs, np.int64)
    if dot.bias is not None:
        bias = np.array([cast_integer(int(v), dot.bias.type.frac, dot.type) for v in dot.bias.data], np.int64)
    ops: list[AnyOp] = []
    for op in program.ops:
        if isinstance(op, Input):
            ops.append(replace(op, elements=features))
            ops.append(State(name=so_far, type=dot.type, elements=outputs, update=dot.name, init=Const(bias, dot.type)))
        elif op is dot:
            part = replace(dot, name=last, weights=weights, bias=None, stride=1)
            ops += [part, Add(name=dot.name, type=dot.type, a=so_far, b=last)]
        else:
            ops.append(op)
    # In hardware the ops behind the sum have a value every step, in the graph one a sequence: they cannot be compared.
    origin = {program.input.name: (layer.name, program.input.name)}
    return HardLayer(
        layer.name, Program(tuple(ops), program.output), steps, False, origin, program.type, program.elements
    )


def _join(layers: list[HardLayer]) -> list[HardLayer]:
    """Element-wise layers into the layer before them."""
    result = [layers[0]]
    for layer in layers[1:]:
        before = result[-1]
        if before.program is not None and layer.program is not None and _elementwise(layer.program, before.program):
            result[-1] = _compose(before, layer)
        else:
            result.append(layer)
    return result


def _elementwise(program: Program, before: Program) -> bool:
    return (
        not program.states
        and not program.dots
        and program.elements == before.elements
        and regular(program)
        and program.output != program.input.name
    )


def _compose(before: HardLayer, after: HardLayer) -> HardLayer:
    assert before.program is not None and after.program is not None
    source = before.program.output
    free = Names(op.name for op in before.program.ops)
    names = {
        op.name: source if isinstance(op, Input) else free.take(f"{after.name}_{op.name}", "op")
        for op in after.program.ops
    }
    ops = list(before.program.ops)
    origin, labels = dict(before.origin), dict(before.labels)
    for op in after.program.ops:
        if isinstance(op, Input):
            continue
        ops.append(renamed(op, names))
        labels[names[op.name]] = f"{after.name}.{op.name}"
        if op.name in after.origin and (before.return_sequences or before.steps == 1):
            origin[names[op.name]] = after.origin[op.name]
    program = Program(tuple(ops), names[after.program.output])
    return HardLayer(
        f"{before.name}_{after.name}", program, before.steps, before.return_sequences, origin,
        program.type, program.elements, labels=labels,
    )  # fmt: skip
