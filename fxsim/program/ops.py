# SPDX-License-Identifier: Apache-2.0
"""The kinds of ops: what each computes from its operands, and which sizes they may have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Self, get_args

from ..arguments import index, settle
from ..errors import FxsimError, show
from .fixed import MAX_WIDTH, Fixed
from .integers import Const, Table


@dataclass(frozen=True, kw_only=True)
class Op:
    """One named vector of the program: ``type`` is its format, ``args`` the names it reads."""

    name: str
    type: Fixed
    kind: ClassVar[str] = ""
    #: The fields that are integers.
    counts: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        settle(self, *self.counts)

    @property
    def args(self) -> tuple[str, ...]:
        """Names of the operands, in order."""
        return ()

    def with_args(self, *args: str) -> Self:
        """The op with other operands, as many as it has."""
        () = args
        return self

    def size(self, *sizes: int) -> int:
        """Elements of the result, given those of the operands; raises ``FxsimError`` where they do not fit."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Input(Op):
    """The step's input vector."""

    elements: int
    kind: ClassVar[str] = "input"
    counts: ClassVar[tuple[str, ...]] = ("elements",)

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
    counts: ClassVar[tuple[str, ...]] = ("elements",)

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
class _Unary(Op):
    arg: str

    @property
    def args(self) -> tuple[str, ...]:
        """The one operand."""
        return (self.arg,)

    def with_args(self, *args: str) -> Self:
        """The op with another operand."""
        (arg,) = args
        return replace(self, arg=arg)

    def size(self, *sizes: int) -> int:
        """The operand's size."""
        return sizes[0]


@dataclass(frozen=True, kw_only=True)
class Dot(_Unary):
    """``bias + sum_j arg[j] * weights[j]``: each product is cast to ``type``, then added in ``type``, in order.

    ``weights`` is (inputs, outputs), or (steps, inputs, outputs) for weights that change with the step of the
    sequence. ``bias`` is (outputs,). With an accumulator that wraps, or that cannot overflow, the order of the sum is
    of no consequence; one that saturates adds ``j = 0, stride, 2*stride, …, 1, 1 + stride, …``, which is the order of
    hls4ml's Resource strategy with that effective reuse factor (1: natural order).
    """

    weights: Const
    bias: Const | None = None
    stride: int = 1
    kind: ClassVar[str] = "dot"
    counts: ClassVar[tuple[str, ...]] = ("stride",)

    def size(self, *sizes: int) -> int:
        """Number of outputs."""
        shape = self.weights.shape
        if len(shape) not in (2, 3) or 0 in shape or shape[-2] != sizes[0]:
            raise FxsimError(f"op {self.name!r}: weights must be ([steps,] {sizes[0]}, outputs), not {shape}")
        if self.bias is not None and self.bias.shape != (shape[-1],):
            raise FxsimError(f"op {self.name!r}: bias must be ({shape[-1]},), not {self.bias.shape}")
        if index(self.stride) is None or not 1 <= self.stride <= sizes[0]:
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

    def with_args(self, *args: str) -> Self:
        """The op with two other operands."""
        a, b = args
        return replace(self, a=a, b=b)

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

    def with_args(self, *args: str) -> Self:
        """The op with another condition and other choices."""
        condition, a, b = args
        return replace(self, condition=condition, a=a, b=b)

    def size(self, *sizes: int) -> int:
        """The operands' common size; a size of 1 meets any other."""
        return _broadcast(self, sizes)


@dataclass(frozen=True, kw_only=True)
class Cast(_Unary):
    """``cast(arg)``."""

    kind: ClassVar[str] = "cast"


@dataclass(frozen=True, kw_only=True)
class Remainder(_Unary):
    """``cast(arg - floor(arg * 2**frac) * 2**-frac)``, element by element: what rounding down to a grid drops."""

    frac: int
    kind: ClassVar[str] = "remainder"

    def size(self, *sizes: int) -> int:
        """The operand's size."""
        if type(self.frac) is not int or abs(self.frac) > MAX_WIDTH:
            raise FxsimError(f"op {self.name!r}: frac must be from -{MAX_WIDTH} to {MAX_WIDTH}, not {show(self.frac)}")
        return sizes[0]


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
    counts: ClassVar[tuple[str, ...]] = ("start", "stop")

    def size(self, *sizes: int) -> int:
        """``stop - start``."""
        ends = index(self.start), index(self.stop)
        if None in ends or not 0 <= self.start < self.stop <= sizes[0]:
            where = f"{show(self.start)}:{show(self.stop)}"
            raise FxsimError(f"op {self.name!r}: slice {where} is not inside 0:{sizes[0]}")
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

    def with_args(self, *args: str) -> Self:
        """The op with other parts."""
        return replace(self, parts=args)

    def size(self, *sizes: int) -> int:
        """Sum of the parts' sizes."""
        return _positive(self, sum(sizes))


def _positive(op: Op, size: int) -> int:
    if index(size) is None or not 1 <= size <= 1 << 24:
        raise FxsimError(f"op {op.name!r}: size must be from 1 to 2**24, not {show(size)}")
    return size


def _broadcast(op: Op, sizes: Iterable[int]) -> int:
    distinct = {size for size in sizes if size != 1}
    if len(distinct) > 1:
        raise FxsimError(f"op {op.name!r}: operands must have one size (or 1), not {sorted(distinct)}")
    return distinct.pop() if distinct else 1


#: Ops without operands: what a step starts from.
Leaf = Input | State | Constant
#: Ops that compute each element from those in the same place, by arithmetic or by a table.
Arithmetic = Add | Sub | Mul | Max | Min | Select | Cast | Remainder
Elementwise = Arithmetic | Lookup
#: Those of them whose operands meet on a common grid.
Aligned = Add | Sub | Max | Min | Select
#: Ops that look at all elements of their operand to find any of theirs; a :class:`Dot` is a group of its own.
Reduction = Total | Largest | OneHot
#: Ops that compute nothing: they take elements from other places.
Move = Slice | Concat
#: Any op. Groups are closed: where all kinds are treated, mypy finds the one that is missing.
AnyOp = Leaf | Dot | Elementwise | Reduction | Move

#: Every op by its kind.
OPS: dict[str, type[AnyOp]] = {op.kind: op for op in get_args(AnyOp)}
