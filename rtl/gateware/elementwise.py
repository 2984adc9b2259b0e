# SPDX-License-Identifier: Apache-2.0
"""Element-wise ops as Amaranth expressions."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value

from fxsim.program.fixed import smallest
from fxsim.program.ops import Add, Cast, Max, Min, Mul, Op, Remainder, Select, Sub

from ..plan.folds import is_shift
from ..plan.schedule import LayerSchedule
from ..plan.signed_digits import LOGIC
from .fixed import logic_product, low_bits, shape, shifted


def exact(m: Module, plan: LayerSchedule, op: Op, args: list[Value], name: str) -> tuple[Value, int]:
    """The exact result of an element-wise op, in no more bits than its bounds need, and its grid.

    It stands in a signal of its own, for a cast looks at its bits many times; what never overflows is not limited.
    """
    fracs = [plan.program[arg].type.frac for arg in op.args]
    frac = sum(fracs) if isinstance(op, Mul) else max(fracs)
    grid = [shifted(value, max(fracs) - f) for value, f in zip(args, fracs, strict=True)]
    if isinstance(op, Mul):
        logic = plan.fold.multiplier == LOGIC and not is_shift(plan.program, op)
        value = logic_product(args[0], args[1]) if logic else args[0] * args[1]
    elif isinstance(op, Cast):
        value = args[0]
    elif isinstance(op, Remainder):
        value = low_bits(args[0], frac - op.frac)
    elif isinstance(op, Add):
        value = grid[0] + grid[1]
    elif isinstance(op, Sub):
        value = grid[0] - grid[1]
    elif isinstance(op, Max):
        value = Mux(grid[0] > grid[1], grid[0], grid[1])
    elif isinstance(op, Min):
        value = Mux(grid[0] < grid[1], grid[0], grid[1])
    else:
        assert isinstance(op, Select)
        value = Mux(args[0] > 0, grid[1], grid[2])
    low, high = plan.bounds[op.name].exact
    exact = Signal(shape(smallest(low, high, frac)), name=name)
    m.d.comb += exact.eq(value)
    return exact, frac
