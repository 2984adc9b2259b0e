# SPDX-License-Identifier: Apache-2.0
"""Nodes of a network and the tensors between them: what each node makes of its sources, and of which shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..arguments import flag, index, settle
from ..errors import FxsimError, show
from .fixed import Fixed
from .program import Program

#: Elements of one tensor of one sequence; memory and traces hold hundreds of them.
MOST_ELEMENTS = 1 << 22
#: Nodes without a program, by their kind, and how many tensors each takes (None: two or more).
MOVES: dict[str, int | None] = {"flatten": 1, "reshape": 1, "reverse": 1, "repeat": 1, "concat": None}
#: Those of them that say how many ``steps`` their result has.
_STEPPED = ("reshape", "repeat")
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Tensor:
    """What flows along an edge: ``steps`` vectors of ``elements`` a sequence, or one vector where ``steps`` is None."""

    name: str
    steps: int | None
    elements: int
    type: Fixed

    def __post_init__(self) -> None:
        settle(self, "steps", "elements")
        for name, value in (("steps", 1 if self.steps is None else self.steps), ("elements", self.elements)):
            if index(value) is None or value < 1:
                raise FxsimError(f"tensor {self.name!r}: {name} must be at least 1, not {show(value)}")
        if self.size > MOST_ELEMENTS:
            raise FxsimError(f"tensor {self.name!r} must have at most {MOST_ELEMENTS} elements, not {self.size}")

    @classmethod
    def of(cls, name: str, shape: Shape, type: Fixed) -> Tensor:
        """A tensor of a shape: (steps, elements) or (elements,)."""
        return cls(name, shape[0] if len(shape) == 2 else None, shape[-1], type)

    @property
    def shape(self) -> Shape:
        """(steps, elements) or (elements,), without the batch."""
        return (self.elements,) if self.steps is None else (self.steps, self.elements)

    @property
    def tokens(self) -> int:
        """Vectors of a sequence."""
        return 1 if self.steps is None else self.steps

    @property
    def size(self) -> int:
        """Elements of a sequence."""
        return self.tokens * self.elements


@dataclass(frozen=True, repr=False)
class Node:
    """A program that runs over the steps of its sources, or a move of values without one.

    ``sources`` are the tensors that it reads by their names: a program has one ``Input`` for each, in their order. Its
    result is a tensor that has its own name. A program without states runs on every step by itself. One with states
    runs along the sequence from its initial states and gives every step's result if ``return_sequences``, else the
    last one's. Without a program ``kind`` is one of :data:`MOVES`, and all values stay as they are: ``flatten`` joins
    the steps to one vector, ``reshape`` deals a vector into so many ``steps``, ``reverse`` turns the order of the steps
    around, ``repeat`` gives a vector at so many ``steps``, ``concat`` puts the elements of several tensors behind one
    another, step by step.
    """

    name: str
    kind: str
    program: Program | None = None
    return_sequences: bool = True
    steps: int | None = None
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        settle(self, "steps")
        object.__setattr__(self, "return_sequences", flag(self.return_sequences, f"{self.where}: return_sequences"))

    def __repr__(self) -> str:
        return f"Node {self.name!r}: {self.kind}, {len(self.program.ops) if self.program else 0} ops"

    @property
    def where(self) -> str:
        """How messages about this node begin."""
        return f"layer {self.name!r}"

    @property
    def recurrent(self) -> bool:
        """Whether the program has states."""
        return self.program is not None and bool(self.program.states)

    def result(self, *sources: Tensor) -> Tensor:
        """The tensor that it makes of its sources; raises ``FxsimError`` where they do not fit."""
        if self.program is None:
            return self._moved(sources)
        if self.steps is not None:
            raise FxsimError(f"{self.where}: steps must be left out where there is a program")
        self._check_sources(self.program, sources)
        steps = sources[0].steps
        if not self.recurrent:
            if not self.return_sequences:
                raise FxsimError(f"{self.where} has no states, so return_sequences must be True")
        else:
            for source in sources:
                if source.steps is None:
                    raise FxsimError(f"{self.where} is recurrent and takes (steps, features), not {source.shape}")
            steps = steps if self.return_sequences else None
        return Tensor(self.name, steps, self.program.elements, self.program.type)

    def _check_sources(self, program: Program, sources: Sequence[Tensor]) -> None:
        inputs = program.inputs
        if len(inputs) != len(sources):
            raise FxsimError(f"{self.where} takes {len(inputs)} tensors, not {len(sources)}")
        for op, source in zip(inputs, sources, strict=True):
            what = "its input" if len(inputs) == 1 else f"its input {op.name!r}, {source.name!r},"
            if op.elements != source.elements:
                raise FxsimError(f"{self.where} takes {op.elements} elements a step, {what} has {source.elements}")
            if op.type.plain != source.type.plain or op.type.min > source.type.min:
                raise FxsimError(f"{self.where} takes {op.type}, {what} is {source.type}")
            self._check_steps(source, sources[0])
        for dot in program.dots:
            if dot.weights.data.ndim == 3 and dot.weights.shape[0] != sources[0].tokens:
                raise FxsimError(f"{self.where}: op {dot.name!r} has weights for another number of steps")

    def _check_steps(self, one: Tensor, other: Tensor) -> None:
        if one.steps != other.steps:
            names = f"{other.name!r} has shape {other.shape}, {one.name!r} {one.shape}"
            raise FxsimError(f"{self.where} takes tensors of equally many steps: {names}")

    def _moved(self, sources: Sequence[Tensor]) -> Tensor:
        """The result without a program."""
        if self.kind not in MOVES:
            raise FxsimError(
                f"{self.where}: without a program kind must be one of {', '.join(MOVES)}, not {self.kind!r}"
            )
        count = MOVES[self.kind]
        if len(sources) != count if count is not None else len(sources) < 2:
            need = "at least 2 tensors" if count is None else "1 tensor"
            raise FxsimError(f"{self.where} takes {need}, not {len(sources)}")
        if not self.return_sequences:
            raise FxsimError(f"{self.where} has no states, so return_sequences must be True")
        if (self.steps is not None) != (self.kind in _STEPPED):
            must = "be given" if self.kind in _STEPPED else "be left out"
            raise FxsimError(f"{self.where}: steps must {must} for {self.kind}, not {show(self.steps)}")
        first = sources[0]
        match self.kind:
            case "flatten":
                return Tensor(self.name, None, first.size, first.type)
            case "reshape":
                steps = index(self.steps)
                if steps is None or not 1 <= steps <= first.size or first.size % steps or first.steps is not None:
                    raise FxsimError(
                        f"{self.where}: steps must divide a vector of {first.size}, not {show(self.steps)}"
                    )
                return Tensor(self.name, steps, first.size // steps, first.type)
            case "repeat":
                if first.steps is not None:
                    raise FxsimError(f"{self.where} takes one vector a sequence, not {first.name!r}, {first.shape}")
                return Tensor(self.name, self.steps, first.elements, first.type)
            case "reverse":
                if first.steps is None:
                    raise FxsimError(f"{self.where} takes (steps, features), not {first.name!r}, {first.shape}")
                return Tensor(self.name, first.steps, first.elements, first.type)
        for one in sources:
            self._check_steps(one, first)
            if one.type != first.type:
                types = f"{first.name!r} is {first.type}, {one.name!r} {one.type}"
                raise FxsimError(f"{self.where} takes tensors of one format: {types}")
        return Tensor(self.name, first.steps, sum(one.elements for one in sources), first.type)


def bidirectional(
    name: str, kind: str, forward: Program, backward: Program, return_sequences: bool, source: str = ""
) -> list[Node]:
    """Two cells over one sequence, the second from its end to its beginning, their results side by side.

    The cells are the nodes ``name.forward`` and ``name.backward``, of that ``kind``; the last node has the ``name``.
    Raises ``FxsimError`` where the cells have no states, or not one result format.
    """
    if backward.type != forward.type or not (forward.states and backward.states):
        raise FxsimError(f"layer {name!r}: both directions must have states and one result format")
    ends = [f"{name}.forward", f"{name}.backward"]
    nodes = [
        Node(ends[0], kind, forward, return_sequences, sources=(source,)),
        Node(f"{name}.reversed", "reverse", sources=(source,)),
        Node(ends[1], kind, backward, return_sequences, sources=(f"{name}.reversed",)),
    ]
    if return_sequences:
        nodes.append(Node(f"{name}.restored", "reverse", sources=(ends[1],)))
        ends[1] = f"{name}.restored"
    return [*nodes, Node(name, "concat", sources=tuple(ends))]
