# SPDX-License-Identifier: Apache-2.0
"""Activation functions and softmax of the exact preset: the ops, with tables made for the formats they meet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .cells import HALF_TABLED, TABLED, Activation, add, mul, sub, zero
from .exact_tables import SELU_SCALE, WORD, best_table, extremes
from .fixed import Fixed, Overflow, Round, cast_float, smallest
from .program import Builder, Cast, Const, Input, Largest, Lookup, Max, Program, Select, Table, Total

#: Bits of a constant factor: with a sign, one operand of a DSP block.
_CONSTANT = 17
#: What softmax keeps of exp and 1/sum.
_SHARE = Fixed(_CONSTANT, _CONSTANT - 1, False, Round.RND, Overflow.SAT)


@dataclass(frozen=True)
class Exact(Activation):
    """An activation function whose tables and constants are made when it meets its operand.

    ``size``: most entries of a table. ``values``: its parameters, alpha, theta, slope and shift as far as it has them;
    ``slopes``: of leaky_relu, one an element, in place of alpha.
    """

    size: int = 1024
    values: Mapping[str, float] = field(default_factory=dict)
    slopes: tuple[float, ...] = ()

    def apply(self, b: Builder, name: str, x: str, type: Fixed) -> str:
        """Add the ops that compute this function of ``x`` into format ``type``; the last is called ``name``."""
        argument = b.type(x)
        if self.function == "softplus":
            # Above zero softplus is x and a rest that vanishes on both sides: a table of that is small and exact.
            size = b.add(Max(name=f"{name}_abs", type=replace(argument.plain, width=argument.width + 1), a=x,
                             b=sub(b, f"{name}_minus", zero(b, f"{name}_minus"), x)))  # fmt: skip
            rest = self.lookup(b, f"{name}_rest", "softplus_rest", size, type)
            line = b.add(Max(name=f"{name}_line", type=argument.plain, a=x, b=zero(b, name)))
            return add(b, name, line, rest, type)
        if self.function in TABLED:
            values = word(self.function, argument, type)
            if type.width <= WORD:
                return b.add(Lookup(name=name, type=type, arg=x, table=self.table_of(self.function, argument, values)))
            return b.add(Cast(name=name, type=type, arg=self.lookup(b, f"{name}_table", self.function, x, type)))
        if self.function in HALF_TABLED:
            alpha = self.values.get("alpha", 1.0)
            function = self.function if alpha == 1.0 else f"{self.function}*{alpha!r}"
            table = self.table_of(function, argument, word(function, argument, type))
            slope = constant(SELU_SCALE) if self.function == "selu" else None
            return replace(self.plain(), table=table, slope=slope).apply(b, name, x, type)
        if self.function == "thresholded_relu":
            return replace(self.plain(), shift=threshold(self.values["theta"], argument)).apply(b, name, x, type)
        if self.function == "leaky_relu":
            slopes = self.slopes or (self.values["alpha"],)
            return replace(self.plain(), slope=constant(*slopes)).apply(b, name, x, type)
        if self.function == "hard_sigmoid":
            slope, shift = (constant(self.values[key]) for key in ("slope", "shift"))
            return replace(self.plain(), slope=slope, shift=shift).apply(b, name, x, type)
        if self.function == "hard_tanh":
            return replace(self.plain(), slope=constant(0.5), shift=constant(0.5)).apply(b, name, x, type)
        return self.plain().apply(b, name, x, type)

    def plain(self) -> Activation:
        """The function alone."""
        return Activation(self.function)

    def table_of(self, function: str, argument: Fixed, values: Fixed) -> Table:
        """The best table of this size."""
        return best_table(function, argument.plain, values, self.size)

    def lookup(self, b: Builder, name: str, function: str, x: str, type: Fixed) -> str:
        """Add a lookup in a word of the memory, on the grid of ``type`` if that fits."""
        values = word(function, b.type(x), type)
        return b.add(Lookup(name=name, type=values, arg=x, table=self.table_of(function, b.type(x), values)))


def word(function: str, argument: Fixed, type: Fixed) -> Fixed:
    """The narrowest format for a function's values inside the range of ``type``, at most a memory's word wide."""
    low, high = (math.ldexp(value, type.frac) for value in extremes(function, argument))
    fits = smallest(max(math.floor(low), type.min), min(math.ceil(high), type.max), type.frac)
    over = max(0, fits.width - WORD)
    return Fixed(fits.width - over, fits.frac - over, fits.signed)


def constant(*values: float) -> Const:
    """A factor, or several of one format, in 17 bits and a sign."""
    largest, signed = max(map(abs, values)), min(values) < 0
    if largest == 0:
        return Const(np.zeros(len(values), np.int64), Fixed(1, 0, False))
    frac = _CONSTANT - math.frexp(largest)[1]
    type = Fixed(_CONSTANT + signed, frac, signed, Round.RND, Overflow.SAT)
    raws = [cast_float(value, type) for value in values]
    # 0.5 is one bit and needs no multiplier.
    zeros = min((raw & -raw).bit_length() - 1 for raw in raws if raw)
    raws, frac = [raw >> zeros for raw in raws], frac - zeros
    return Const(np.array(raws), smallest(min(raws), max(raws), frac))


def threshold(theta: float, argument: Fixed) -> Const:
    """The number on the operand's grid that the same operands exceed as exceed ``theta``."""
    numerator, denominator = theta.as_integer_ratio()
    scaled = numerator << max(0, argument.frac)
    floor = scaled // (denominator << max(0, -argument.frac))
    raw = min(max(floor, argument.min - 1), argument.max)
    return Const(np.array([raw]), smallest(raw, raw, argument.frac))


def softmax(input: Fixed, elements: int, result: Fixed, size: int) -> Program:
    """Softmax by tables, ``y = e / sum(e)`` with ``e = exp(x - max x)``; ``size`` is the most entries of a table.

    The index of exp rounds down, so that only the largest element has the entry 1 and stays the largest however near
    the next one is. The sum, from 1 to the number of elements, is halved until it is at most 2, looked up in a table
    of 1/x from 1 to 2, and the result halved as often.
    """
    b = Builder()
    _, e = _exponentials(b, input, elements, size)
    total, stages = _halved(b, e, elements)
    inverse = best_table("inverse", b.type(total), _SHARE.plain, size)
    found = b.add(Lookup(name="inverse", type=_SHARE, arg=total, table=inverse))
    for shift, over, half in stages:
        less = mul(b, f"inverse_less_{shift}", found, half)
        found = b.add(Select(name=f"inverse_{shift}", type=_SHARE, condition=over, a=less, b=found))
    mul(b, "y", e, found, result)
    return b.build("y")


def log_softmax(input: Fixed, elements: int, result: Fixed, size: int) -> Program:
    """The logarithm of softmax, ``y = (x - max x) - log(sum(e))``, with the tables and the halvings of :func:`softmax`.

    Each halving of the sum adds its share of log 2. With an error of exp of at most ε but for the largest element,
    which is exactly 1, the sum is off by at most (n - 1)·ε; as it is at least 1, so is its logarithm. The error is then
    at most (n - 1)·ε, the error of the table of the logarithm, half a step of the constants for each halving, and half
    a step of ``result``, where that does not saturate.
    """
    b = Builder()
    below, e = _exponentials(b, input, elements, size)
    total, stages = _halved(b, e, elements)
    logs = Fixed(_CONSTANT, _CONSTANT, False, Round.RND, Overflow.SAT)
    table = best_table("log", b.type(total), logs.plain, size)
    found = b.add(Lookup(name="log", type=logs, arg=total, table=table))
    for shift, over, _ in stages:
        value = cast_float(shift * math.log(2.0), Fixed(64, _CONSTANT, True, Round.RND))
        more = b.scalar(f"log_of_{shift}", value, smallest(0, value, _CONSTANT))
        step = b.add(
            Select(name=f"log_{shift}_or_0", type=b.type(more), condition=over, a=more, b=zero(b, f"log_{shift}"))
        )
        found = add(b, f"log_{shift}", found, step)
    sub(b, "y", below, found, result)
    return b.build("y")


def _exponentials(b: Builder, input: Fixed, elements: int, size: int) -> tuple[str, str]:
    """Add ``x - max x`` and exp of it."""
    x = b.add(Input(name="x", type=input, elements=elements))
    top = b.add(Largest(name="top", type=input, arg=x))
    below = sub(b, "below_top", x, top)
    exp = best_table("exp", b.type(below), _SHARE.plain, size, Round.TRN)
    return below, b.add(Lookup(name="e", type=_SHARE, arg=below, table=exp))


def _halved(b: Builder, e: str, elements: int) -> tuple[str, list[tuple[int, str, str]]]:
    """Add the sum of e, halved until it is at most 2; for each shift whether it was made, and its factor."""
    frac = _SHARE.frac
    total = b.add(Total(name="total", type=smallest(0, elements << frac, frac), arg=e))
    stages = []
    shift = 1
    while 2 * shift < (elements - 1).bit_length():
        shift *= 2
    while shift and elements > 2:
        over = sub(b, f"over_{shift}", total, b.scalar(f"limit_{shift}", 1, Fixed(1, -shift, False)))
        half = b.scalar(f"shift_{shift}", 1, Fixed(1, shift, False))
        less = mul(b, f"less_{shift}", total, half)
        frac = b.type(less).frac
        kept = smallest(0, elements << frac, frac)
        total = b.add(Select(name=f"total_{shift}", type=kept, condition=over, a=less, b=total))
        stages.append((shift, over, half))
        shift //= 2
    return total, stages
