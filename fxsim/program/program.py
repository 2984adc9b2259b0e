# SPDX-License-Identifier: Apache-2.0
"""Typed straight-line programs: what one time step of a layer computes, as data.

A :class:`Program` is a tuple of ops. Each op names one vector of raw integers of one
:class:`~fxsim.program.fixed.Fixed` format, computes its exact result from earlier ops and casts it once to its own
format. The reference, the compiled kernels and the gateware are three folds over the same ops. ``docs/program.md`` is
the specification in prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..errors import FxsimError, show
from ..system.forks import cached_property
from .fixed import Fixed
from .integers import Const, Table
from .ops import (
    OPS,
    Add,
    AnyOp,
    Cast,
    Concat,
    Constant,
    Dot,
    Input,
    Largest,
    Lookup,
    Max,
    Min,
    Move,
    Mul,
    OneHot,
    Op,
    Remainder,
    Select,
    Slice,
    State,
    Sub,
    Total,
)

__all__ = [
    "LONGEST_NAME",
    "MOST_ELEMENTS",
    "OPS",
    "Add",
    "Builder",
    "Cast",
    "Concat",
    "Const",
    "Constant",
    "Dot",
    "Input",
    "Largest",
    "Lookup",
    "Max",
    "Min",
    "Mul",
    "OneHot",
    "Op",
    "Program",
    "Remainder",
    "Select",
    "Slice",
    "State",
    "Sub",
    "Table",
    "Total",
]

#: Elements of all ops of a program. Bounds are kept for each; a network for an FPGA has a hundredth of it.
MOST_ELEMENTS = 1 << 20
#: Characters of the name of an op or a layer.
LONGEST_NAME = 200
_IDENTIFIER = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{LONGEST_NAME - 1}}}")


@dataclass(frozen=True, repr=False)
class Program:
    """Ops in order, and the name of the one that is the step's result.

    Verified on construction: raises ``FxsimError`` that names the op and what is wrong with it.
    """

    ops: tuple[AnyOp, ...]
    output: str
    sizes: dict[str, int] = field(init=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.verify()

    def __repr__(self) -> str:
        return f"Program of {len(self.ops)} ops, {self.parameters} parameters; result {self.output!r}, {self.type}"

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.ops, self.output))

    def __reduce__(self) -> tuple[object, ...]:
        return Program, (self.ops, self.output)

    def verify(self) -> None:
        """The executable specification of a legal program; raises ``FxsimError``."""
        types: dict[str, Fixed] = {}
        sizes = self.sizes
        sizes.clear()
        total = 0
        for op in self.ops:
            if OPS.get(op.kind) is not type(op):
                raise FxsimError(f"op {op.name!r}: {type(op).__name__} is not one of {', '.join(OPS)}")
            if not _IDENTIFIER.fullmatch(op.name):
                raise FxsimError(f"op name must be letters, digits and underscores, not {show(op.name)}")
            if op.name in sizes:
                raise FxsimError(f"op {op.name!r} is defined twice")
            for arg in op.args:
                if arg not in sizes:
                    raise FxsimError(f"op {op.name!r} reads {show(arg)}, which no earlier op defines")
            if isinstance(op, Move):
                for arg in op.args:
                    if types[arg] != op.type:
                        raise FxsimError(f"op {op.name!r}: type must be that of {arg!r}, {types[arg]}, not {op.type}")
            sizes[op.name] = op.size(*(sizes[arg] for arg in op.args))
            types[op.name] = op.type
            if (total := total + sizes[op.name]) > MOST_ELEMENTS:
                raise FxsimError(f"the ops of a program must have at most {MOST_ELEMENTS} elements together")
        if not any(isinstance(op, Input) for op in self.ops):
            raise FxsimError("a program must have at least one input")
        self._verify_states(types)
        if self.output not in sizes:
            raise FxsimError(f"output {show(self.output)} is not the name of an op")

    def _verify_states(self, types: Mapping[str, Fixed]) -> None:
        sizes = self.sizes
        for op in self.states:
            if op.update not in sizes:
                raise FxsimError(f"state {op.name!r} is updated by {show(op.update)}, which no op defines")
            if sizes[op.update] != op.elements or types[op.update] != op.type:
                raise FxsimError(
                    f"state {op.name!r} is {op.elements} x {op.type}, its update {op.update!r} is "
                    f"{sizes[op.update]} x {types[op.update]}"
                )

    @cached_property
    def by_name(self) -> dict[str, AnyOp]:
        """Ops by name."""
        return {op.name: op for op in self.ops}

    def __getitem__(self, name: str) -> AnyOp:
        return self.by_name[name]

    def __iter__(self) -> Iterator[AnyOp]:
        return iter(self.ops)

    @property
    def input(self) -> Input:
        """The first input op, or the only one."""
        return next(op for op in self.ops if isinstance(op, Input))

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The input ops, in order: one for each tensor that a node reads."""
        return tuple(op for op in self.ops if isinstance(op, Input))

    @property
    def states(self) -> tuple[State, ...]:
        """The state ops, in order."""
        return tuple(op for op in self.ops if isinstance(op, State))

    @cached_property
    def dots(self) -> tuple[Dot, ...]:
        """The dot products, in order."""
        return tuple(op for op in self.ops if isinstance(op, Dot))

    def is_shift(self, op: Mul) -> bool:
        """Whether an element-wise product has a constant factor whose values are powers of two."""
        factors = (self[arg] for arg in op.args)
        return any(
            isinstance(one, Constant) and all(v > 0 and v & (v - 1) == 0 for v in map(int, one.values.data))
            for one in factors
        )

    @property
    def type(self) -> Fixed:
        """Format of the result."""
        return self[self.output].type

    @property
    def elements(self) -> int:
        """Elements of the result."""
        return self.sizes[self.output]

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(int(op.weights.data.size) + (int(op.bias.data.size) if op.bias else 0) for op in self.dots)


class Builder:
    """Collects ops; each call adds one and returns its name, so that programs read like formulas."""

    def __init__(self) -> None:
        self.ops: list[AnyOp] = []
        self._by_name: dict[str, AnyOp] = {}

    def add(self, op: AnyOp) -> str:
        """Append ``op`` and return its name."""
        self.ops.append(op)
        self._by_name[op.name] = op
        return op.name

    def type(self, name: str) -> Fixed:
        """Format of an op added before."""
        return self._by_name[name].type

    def scalar(self, name: str, raw: int, type: Fixed) -> str:
        """A constant of one element."""
        return self.add(Constant(name=name, type=type, values=Const(np.array([raw]), type)))

    def build(self, output: str) -> Program:
        """The program, verified."""
        return Program(tuple(self.ops), output)
