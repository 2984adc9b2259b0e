# SPDX-License-Identifier: Apache-2.0
"""Typed straight-line programs: what one time step of a layer computes, as data.

A :class:`Program` is a tuple of ops. Each op names one vector of raw integers of one :class:`~fxsim.fixed.Fixed`
format, computes its exact result from earlier ops and casts it once to its own format. The reference, the
compiled kernels and the gateware are three folds over the same ops. ``docs/program.md`` is the specification in prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np

from .errors import FxsimError, show
from .fixed import MAX_WIDTH, Fixed, IntArray, Round, cast, round_shift

_MOST_SCALE = 1 << 32


@dataclass(frozen=True, eq=False)
class Const:
    """Raw integers together with their format: ``data * 2**-type.frac``.

    ``data`` is int64 of any shape and becomes read-only. Raises ``FxsimError`` if a value does not fit the format.
    """

    data: IntArray
    type: Fixed

    def __post_init__(self) -> None:
        data = np.array(self.data)
        if data.dtype.kind not in "iu":
            raise FxsimError(f"Const data must be integers, not {data.dtype}")
        data = data.astype(np.int64)
        if data.size and (int(data.min()) < self.type.min or int(data.max()) > self.type.max):
            raise FxsimError(f"Const data must fit {self.type}, not span {data.min()}..{data.max()}")
        data.flags.writeable = False
        object.__setattr__(self, "data", data)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Const)
            and self.type == other.type
            and self.data.shape == other.data.shape
            and bool(np.array_equal(self.data, other.data))
        )

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # Kept, for plans look programs up thousands of times.
        return hash((self.type, self.data.shape, self.data.tobytes()))

    def __reduce__(self) -> tuple[object, ...]:
        # Hashes are of one process: a copy in another one makes its own.
        return Const, (self.data, self.type)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the data."""
        return self.data.shape


@dataclass(frozen=True)
class Table:
    """A function of one number as integers: entry ``clamp(round(x * scale * 2**frac)) - first``.

    ``values`` is one-dimensional; index ``first`` reads its first entry, and indices beyond either end read that end.
    ``name`` is for people (``sigmoid``). The index is rounded by ``round``.
    """

    name: str
    frac: int
    round: Round
    first: int
    values: Const
    scale: int = 1

    def __post_init__(self) -> None:
        if len(self.values.shape) != 1 or not 2 <= self.values.shape[0] <= 1 << 20:
            raise FxsimError(f"Table values must be a vector of 2 to 2**20 entries, not of shape {self.values.shape}")
        if self.scale < 1:
            raise FxsimError(f"Table scale must be a positive integer, not {show(self.scale)}")
        if self.scale > _MOST_SCALE:
            raise FxsimError(f"Table scale must be at most {_MOST_SCALE}, not {show(self.scale)}")
        if abs(self.frac) > MAX_WIDTH or abs(self.first) > 1 << 62:
            raise FxsimError(
                f"Table frac and first must be within {MAX_WIDTH} and 2**62, not {self.frac}, {self.first}"
            )

    @property
    def last(self) -> int:
        """Index that reads the last entry."""
        return self.first + self.values.shape[0] - 1

    def index(self, raw: int, frac: int) -> int:
        """Position in ``values`` that the raw input ``raw * 2**-frac`` reads."""
        return self.place(round_shift(raw * self.scale, frac - self.frac, self.round))

    def place(self, index: int) -> int:
        """Position in ``values`` that an index reads."""
        return min(max(index, self.first), self.last) - self.first

    def entries(self, to: Fixed) -> IntArray:
        """All values cast to the format ``to``, int64; read only."""
        return _entries(self.values, to)


@lru_cache(maxsize=256)
def _entries(values: Const, to: Fixed) -> IntArray:
    entries = np.array([cast(int(v), values.type.frac, to) for v in values.data], np.int64)
    entries.flags.writeable = False
    return entries


@dataclass(frozen=True, kw_only=True)
class Op:
    """One named vector of the program: ``type`` is its format, ``args`` the names it reads."""

    name: str
    type: Fixed
    kind: ClassVar[str] = ""

    @property
    def args(self) -> tuple[str, ...]:
        """Names of the operands, in order."""
        return ()

    def size(self, *sizes: int) -> int:
        """Elements of the result, given those of the operands; raises ``FxsimError`` where they do not fit."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Input(Op):
    """The step's input vector."""

    elements: int
    kind: ClassVar[str] = "input"

    def size(self, *sizes: int) -> int:
        """``elements``."""
        return _positive(self, self.elements)


@dataclass(frozen=True, kw_only=True)
class State(Op):
    """A vector kept from step to step: the op ``update`` of the step before, ``init`` (or zero) in the first step."""

    elements: int
    update: str
    init: Const | None = None
    kind: ClassVar[str] = "state"

    def size(self, *sizes: int) -> int:
        """``elements``."""
        if self.init is not None and (self.init.shape != (self.elements,) or self.init.type != self.type):
            raise FxsimError(f"op {self.name!r}: init must be {self.elements} values of {self.type}")
        return _positive(self, self.elements)


@dataclass(frozen=True, kw_only=True)
class Constant(Op):
    """A constant vector (or a scalar, which every element of the other operand meets)."""

    values: Const
    kind: ClassVar[str] = "constant"

    def size(self, *sizes: int) -> int:
        """Length of ``values``."""
        if len(self.values.shape) != 1 or self.values.type != self.type:
            raise FxsimError(f"op {self.name!r}: values must be a vector of {self.type}")
        return _positive(self, self.values.shape[0])


@dataclass(frozen=True, kw_only=True)
class Dot(Op):
    """``bias + sum_j arg[j] * weights[j]``: each product is cast to ``type``, then added in ``type``, in order.

    ``weights`` is (inputs, outputs), or (steps, inputs, outputs) for weights that change with the step of the
    sequence. ``bias`` is (outputs,). With an accumulator that wraps, or that cannot overflow, the order of the sum is
    of no consequence; one that saturates adds ``j = 0, stride, 2*stride, …, 1, 1 + stride, …``, which is the order of
    hls4ml's Resource strategy with that effective reuse factor (1: natural order).
    """

    arg: str
    weights: Const
    bias: Const | None = None
    stride: int = 1
    kind: ClassVar[str] = "dot"

    @property
    def args(self) -> tuple[str, ...]:
        """The one operand."""
        return (self.arg,)

    def size(self, *sizes: int) -> int:
        """Number of outputs."""
        shape = self.weights.shape
        if len(shape) not in (2, 3) or 0 in shape or shape[-2] != sizes[0]:
            raise FxsimError(f"op {self.name!r}: weights must be ([steps,] {sizes[0]}, outputs), not {shape}")
        if self.bias is not None and self.bias.shape != (shape[-1],):
            raise FxsimError(f"op {self.name!r}: bias must be ({shape[-1]},), not {self.bias.shape}")
        if type(self.stride) is not int or not 1 <= self.stride <= sizes[0]:
            raise FxsimError(f"op {self.name!r}: stride must be from 1 to {sizes[0]}, not {show(self.stride)}")
        return shape[-1]

    def order(self) -> list[int]:
        """The inputs in the order in which their products are added."""
        inputs = self.weights.shape[-2]
        return [j for start in range(self.stride) for j in range(start, inputs, self.stride)]


@dataclass(frozen=True, kw_only=True)
class _Binary(Op):
    a: str
    b: str

    @property
    def args(self) -> tuple[str, ...]:
        """Both operands."""
        return (self.a, self.b)

    def size(self, *sizes: int) -> int:
        """The operands' common size; a size of 1 meets any other."""
        return _broadcast(self, sizes)


@dataclass(frozen=True, kw_only=True)
class Add(_Binary):
    """``cast(a + b)``, element by element."""

    kind: ClassVar[str] = "add"


@dataclass(frozen=True, kw_only=True)
class Sub(_Binary):
    """``cast(a - b)``, element by element."""

    kind: ClassVar[str] = "sub"


@dataclass(frozen=True, kw_only=True)
class Mul(_Binary):
    """``cast(a * b)``, element by element."""

    kind: ClassVar[str] = "mul"


@dataclass(frozen=True, kw_only=True)
class Max(_Binary):
    """``cast(max(a, b))``, element by element, compared as values."""

    kind: ClassVar[str] = "max"


@dataclass(frozen=True, kw_only=True)
class Min(_Binary):
    """``cast(min(a, b))``, element by element, compared as values."""

    kind: ClassVar[str] = "min"


@dataclass(frozen=True, kw_only=True)
class Select(Op):
    """``cast(a)`` where ``condition > 0``, else ``cast(b)``."""

    condition: str
    a: str
    b: str
    kind: ClassVar[str] = "select"

    @property
    def args(self) -> tuple[str, ...]:
        """Condition, then both choices."""
        return (self.condition, self.a, self.b)

    def size(self, *sizes: int) -> int:
        """The operands' common size; a size of 1 meets any other."""
        return _broadcast(self, sizes)


@dataclass(frozen=True, kw_only=True)
class _Unary(Op):
    arg: str

    @property
    def args(self) -> tuple[str, ...]:
        """The one operand."""
        return (self.arg,)

    def size(self, *sizes: int) -> int:
        """The operand's size."""
        return sizes[0]


@dataclass(frozen=True, kw_only=True)
class Cast(_Unary):
    """``cast(arg)``."""

    kind: ClassVar[str] = "cast"


@dataclass(frozen=True, kw_only=True)
class Lookup(_Unary):
    """``cast(table[arg])``, element by element."""

    table: Table
    kind: ClassVar[str] = "lookup"


@dataclass(frozen=True, kw_only=True)
class Total(_Unary):
    """Sum of all elements by a balanced tree, each partial sum cast to ``type``; one element.

    The left part of every split is the largest power of two below the number of terms (hls4ml's ``reduce``). The
    elements themselves are cast to ``type`` first.
    """

    kind: ClassVar[str] = "total"

    def size(self, *sizes: int) -> int:
        """1."""
        return 1


@dataclass(frozen=True, kw_only=True)
class Largest(_Unary):
    """``cast`` of the largest element; one element."""

    kind: ClassVar[str] = "largest"

    def size(self, *sizes: int) -> int:
        """1."""
        return 1


@dataclass(frozen=True, kw_only=True)
class OneHot(_Unary):
    """``cast(1)`` at the first largest element, ``cast(0)`` elsewhere."""

    kind: ClassVar[str] = "onehot"


@dataclass(frozen=True, kw_only=True)
class Slice(_Unary):
    """Elements ``start..stop-1`` of the operand, unchanged: ``type`` must be the operand's."""

    start: int
    stop: int
    kind: ClassVar[str] = "slice"

    def size(self, *sizes: int) -> int:
        """``stop - start``."""
        if not 0 <= self.start < self.stop <= sizes[0]:
            raise FxsimError(f"op {self.name!r}: slice {self.start}:{self.stop} is not inside 0:{sizes[0]}")
        return self.stop - self.start


@dataclass(frozen=True, kw_only=True)
class Concat(Op):
    """The operands one after another, unchanged: all have this op's ``type``."""

    parts: tuple[str, ...]
    kind: ClassVar[str] = "concat"

    @property
    def args(self) -> tuple[str, ...]:
        """The parts."""
        return self.parts

    def size(self, *sizes: int) -> int:
        """Sum of the parts' sizes."""
        return _positive(self, sum(sizes))


def _positive(op: Op, size: int) -> int:
    if type(size) is not int or not 1 <= size <= 1 << 24:
        raise FxsimError(f"op {op.name!r}: size must be from 1 to 2**24, not {show(size)}")
    return size


def _broadcast(op: Op, sizes: Iterable[int]) -> int:
    distinct = {size for size in sizes if size != 1}
    if len(distinct) > 1:
        raise FxsimError(f"op {op.name!r}: operands must have one size (or 1), not {sorted(distinct)}")
    return distinct.pop() if distinct else 1


#: Every op by its kind.
OPS: dict[str, type[Op]] = {
    op.kind: op
    for op in (
        Input,
        State,
        Constant,
        Dot,
        Add,
        Sub,
        Mul,
        Max,
        Min,
        Select,
        Cast,
        Lookup,
        Total,
        Largest,
        OneHot,
        Slice,
        Concat,
    )
}

#: Elements of all ops of a program. Bounds are kept for each; a network for an FPGA has a hundredth of it.
MOST_ELEMENTS = 1 << 20
#: Characters of the name of an op or a layer.
LONGEST_NAME = 200
_IDENTIFIER = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{LONGEST_NAME - 1}}}")


@dataclass(frozen=True)
class Program:
    """Ops in order, and the name of the one that is the step's result.

    Verified on construction: raises ``FxsimError`` that names the op and what is wrong with it.
    """

    ops: tuple[Op, ...]
    output: str
    sizes: dict[str, int] = field(init=False, compare=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.verify()

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
            if isinstance(op, Slice | Concat):
                for arg in op.args:
                    if types[arg] != op.type:
                        raise FxsimError(f"op {op.name!r}: type must be that of {arg!r}, {types[arg]}, not {op.type}")
            sizes[op.name] = op.size(*(sizes[arg] for arg in op.args))
            types[op.name] = op.type
            if (total := total + sizes[op.name]) > MOST_ELEMENTS:
                raise FxsimError(f"the ops of a program must have at most {MOST_ELEMENTS} elements together")
        if sum(isinstance(op, Input) for op in self.ops) != 1:
            raise FxsimError("a program must have exactly one input")
        for op in self.states:
            if op.update not in sizes:
                raise FxsimError(f"state {op.name!r} is updated by {show(op.update)}, which no op defines")
            if sizes[op.update] != op.elements or types[op.update] != op.type:
                raise FxsimError(
                    f"state {op.name!r} is {op.elements} x {op.type}, its update {op.update!r} is "
                    f"{sizes[op.update]} x {types[op.update]}"
                )
        if self.output not in sizes:
            raise FxsimError(f"output {show(self.output)} is not the name of an op")

    @cached_property
    def by_name(self) -> dict[str, Op]:
        """Ops by name."""
        return {op.name: op for op in self.ops}

    def __getitem__(self, name: str) -> Op:
        return self.by_name[name]

    def __iter__(self) -> Iterator[Op]:
        return iter(self.ops)

    @property
    def input(self) -> Input:
        """The input op."""
        return next(op for op in self.ops if isinstance(op, Input))

    @property
    def states(self) -> tuple[State, ...]:
        """The state ops, in order."""
        return tuple(op for op in self.ops if isinstance(op, State))

    @cached_property
    def dots(self) -> tuple[Dot, ...]:
        """The dot products, in order."""
        return tuple(op for op in self.ops if isinstance(op, Dot))

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
        self.ops: list[Op] = []
        self._by_name: dict[str, Op] = {}

    def add(self, op: Op) -> str:
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
