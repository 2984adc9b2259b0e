# SPDX-License-Identifier: Apache-2.0
"""Ops over all elements of a vector, as trees with a register behind every level."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from amaranth.hdl import Cat, Const, Mux, Value

from fxsim.program.fixed import cast as cast_integer
from fxsim.program.ops import Largest, OneHot, Op, Reduction, Total

from ..plan.schedule import LayerSchedule
from .control import Registers
from .fixed import cast, limited, shape


class Reductions:
    """Builds the reductions of a layer."""

    def __init__(self, registers: Registers, plan: LayerSchedule) -> None:
        self.registers, self.plan = registers, plan

    def build(self, op: Reduction, values: list[Value]) -> list[Value]:
        """The result of a reduction of ``values``."""
        match op:
            case OneHot():
                return self.one_hot(op, values)
            case Total():
                return [self.total(op, values)]
            case Largest():
                frac = self.plan.program[op.arg].type.frac
                top = self.tree(op, values, lambda a, b: Mux(b > a, b, a))
                return [self.kept(op, cast(top, frac, op.type))]
            case _:
                assert_never(op)

    def kept(self, op: Op, value: Value) -> Value:
        """``value`` one cycle later."""
        return self.registers.later(value, f"{op.name}_level")

    def tree(self, op: Op, values: list[Value], join: Callable[[Value, Value], Value]) -> Value:
        """Neighbours joined level by level, which is the tree of :class:`~fxsim.program.program.Total`."""
        while len(values) > 1:
            joined = [join(a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
            values = [self.kept(op, v) for v in joined + values[len(joined) * 2 :]]
        return values[0]

    def total(self, op: Total, values: list[Value]) -> Value:
        frac = self.plan.program[op.arg].type.frac
        if frac == op.type.frac:
            terms = [limited(v, op.type) for v in values]
        else:
            terms = [self.kept(op, cast(v, frac, op.type)) for v in values]
        return self.kept(op, self.tree(op, terms, lambda a, b: limited(a + b, op.type)))

    def one_hot(self, op: OneHot, values: list[Value]) -> list[Value]:
        """Carries each value with a one-hot of its place; of equals the left one stays."""
        size = len(values)
        pairs: list[Value] = [Cat(v, Const(1 << k, size)) for k, v in enumerate(values)]
        width, signed = len(values[0]), values[0].shape().signed

        def number(pair: Value) -> Value:
            return pair[:width].as_signed() if signed else pair[:width]

        best = self.tree(op, pairs, lambda a, b: Mux(number(b) > number(a), b, a))
        one, zero = (Const(cast_integer(v, 0, op.type), shape(op.type)) for v in (1, 0))
        return [self.kept(op, Mux(best[width + k], one, zero)) for k in range(size)]
