# SPDX-License-Identifier: Apache-2.0
"""Element-wise ops as Amaranth expressions."""

from __future__ import annotations

from typing import assert_never

from amaranth.hdl import Module, Mux, Signal, Value

from fxsim.program.fixed import smallest
from fxsim.program.ops import Add, Arithmetic, Cast, Max, Min, Mul, Remainder, Select, Sub

from ..plan.schedule import LayerSchedule
from ..plan.signed_digits import LOGIC
from .fixed import logic_product, low_bits, shape, shifted


def exact(m: Module, plan: LayerSchedule, op: Arithmetic, args: list[Value], name: str) -> tuple[Value, int]:
    """The exact result of an element-wise op, in no more bits than its bounds need, and its grid.

    It stands in a signal of its own, for a cast looks at its bits many times; what never overflows is not limited.
    """
    fracs = [plan.program[arg].type.frac for arg in op.args]
    frac = sum(fracs) if isinstance(op, Mul) else max(fracs)
    grid = [shifted(value, max(fracs) - f) for value, f in zip(args, fracs, strict=True)]
    match op:
        case Mul():
            logic = plan.fold.multiplier == LOGIC and not plan.program.is_shift(op)
            value = logic_product(args[0], args[1]) if logic else args[0] * args[1]
        case Cast():
            value = args[0]
        case Remainder():
            value = low_bits(args[0], frac - op.frac)
        case Add():
            value = grid[0] + grid[1]
        case Sub():
            value = grid[0] - grid[1]
        case Max():
            value = Mux(grid[0] > grid[1], grid[0], grid[1])
        case Min():
            value = Mux(grid[0] < grid[1], grid[0], grid[1])
        case Select():
            value = Mux(args[0] > 0, grid[1], grid[2])
        case _:
            assert_never(op)
    low, high = plan.bounds[op.name].exact
    exact = Signal(shape(smallest(low, high, frac)), name=name)
    m.d.comb += exact.eq(value)
    return exact, frac
