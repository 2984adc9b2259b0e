# SPDX-License-Identifier: Apache-2.0
"""Activation functions and softmax of the exact preset: the ops, with tables made for the formats they meet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ..program.cells import HALF_TABLED, TABLED, Activation, add, mul, sub, zero
from ..program.fixed import Fixed, Overflow, Round, cast_float, smallest
from ..program.integers import Const, Table
from ..program.ops import Cast, Input, Largest, Lookup, Max, Remainder, Select, Total
from ..program.program import Builder, Program
from .exact_formats import BLOCK, Formats
from .exact_functions import SELU_SCALE, extremes
from .exact_lines import Lines
from .exact_tables import choose


@dataclass(frozen=True)
class Tables:
    """How large tables are: ``size`` is the most entries; None: what follows from the precision of ``formats``."""

    formats: Formats
    size: int | None = None

    @property
    def gate(self) -> int:
        """Bits of a gate, its sign included: no table of a given size is so fine that 18 are too few."""
        return self.formats.gate if self.size is None else BLOCK

    @property
    def share(self) -> Fixed:
        """What softmax keeps of exp and 1/sum: from 0 to 1, with the bits of a gate but for its sign."""
        bits = self.gate - 1
        return Fixed(bits, bits - 1, False, Round.RND, Overflow.SAT)

    def lookup(
        self, b: Builder, name: str, function: str, x: str, type: Fixed, values: Fixed, round: Round = Round.RND
    ) -> str:
        """Add a function of ``x`` by a table of ``values``, cast to ``type``; the last op is called ``name``.

        ``round``: how a table that is not interpolated rounds its index.
        """
        table = choose(function, b.type(x).plain, values, self.size, self.formats.places, round)
        if isinstance(table, Table):
            return b.add(Lookup(name=name, type=type, arg=x, table=table))
        return interpolate(b, name, x, table, type)


def interpolate(b: Builder, name: str, x: str, lines: Lines, type: Fixed) -> str:
    """Add the ops of an interpolated table of ``x``, cast to ``type``; the last op is called ``name``."""
    value, slope = (
        b.add(Lookup(name=f"{name}_{what}", type=table.values.type, arg=x, table=table))
        for what, table in (("value", lines.values), ("slope", lines.slopes))
    )
    rest = b.add(Remainder(name=f"{name}_rest", type=lines.rest, arg=x, frac=lines.values.frac))
    rise = mul(b, f"{name}_rise", slope, rest)
    return b.add(Cast(name=name, type=type, arg=add(b, f"{name}_line", value, rise, lines.result)))


@dataclass(frozen=True)
class Exact(Activation):
    """An activation function whose tables and constants are made when it meets its operand.

    ``values``: its parameters, alpha, theta, slope and shift as far as it has them; ``slopes``: of leaky_relu, one an
    element, in place of alpha.
    """

    tables: Tables = field(kw_only=True)
    values: Mapping[str, float] = field(default_factory=dict, kw_only=True)
    slopes: tuple[float, ...] = field(default=(), kw_only=True)

    def apply(self, b: Builder, name: str, x: str, type: Fixed) -> str:
        """Add the ops that compute this function of ``x`` into format ``type``; the last is called ``name``."""
        argument, wide = b.type(x), self.tables.formats.wide
        if self.function == "softplus":
            # Above zero softplus is x and a rest that vanishes on both sides: a table of that is small and exact.
            size = b.add(Max(name=f"{name}_abs", type=replace(argument.plain, width=argument.width + 1), a=x,
                             b=sub(b, f"{name}_minus", zero(b, f"{name}_minus"), x)))  # fmt: skip
            values = word("softplus_rest", b.type(size), type, wide)
            rest = self.tables.lookup(b, f"{name}_rest", "softplus_rest", size, values, values)
            line = b.add(Max(name=f"{name}_line", type=argument.plain, a=x, b=zero(b, name)))
            return add(b, name, line, rest, type)
        if self.function in TABLED:
            values = word(self.function, argument, type, wide)
            if type.width <= wide:
                return self.tables.lookup(b, name, self.function, x, type, values)
            found = self.tables.lookup(b, f"{name}_table", self.function, x, values, values)
            return b.add(Cast(name=name, type=type, arg=found))
        if self.function in HALF_TABLED:
            alpha = self.values.get("alpha", 1.0)
            function = self.function if alpha == 1.0 else f"{self.function}*{alpha!r}"
            values, above = word(function, argument, type, wide), x
            nearest = replace(values, round=Round.RND, overflow=Overflow.SAT)
            below = self.tables.lookup(b, f"{name}_table", function, x, nearest, values)
            if self.function == "selu":
                slope = constant(SELU_SCALE, wide=wide)
                above = mul(b, f"{name}_above", x, b.scalar(f"{name}_slope", int(slope.data[0]), slope.type))
            return b.add(Select(name=name, type=type, condition=x, a=above, b=below))
        if self.function == "thresholded_relu":
            return replace(self.plain(), shift=threshold(self.values["theta"], argument)).apply(b, name, x, type)
        if self.function == "leaky_relu":
            slopes = self.slopes or (self.values["alpha"],)
            return replace(self.plain(), slope=constant(*slopes, wide=wide)).apply(b, name, x, type)
        if self.function == "hard_sigmoid":
            slope, shift = (constant(self.values[key], wide=wide) for key in ("slope", "shift"))
            return replace(self.plain(), slope=slope, shift=shift).apply(b, name, x, type)
        if self.function == "hard_tanh":
            return replace(self.plain(), slope=constant(0.5, wide=wide), shift=constant(0.5, wide=wide)).apply(
                b, name, x, type
            )
        return self.plain().apply(b, name, x, type)

    def plain(self) -> Activation:
        """The function alone."""
        return Activation(self.function)


def word(function: str, argument: Fixed, type: Fixed, wide: int) -> Fixed:
    """The narrowest format for a function's values inside the range of ``type``, at most ``wide`` bits."""
    low, high = (math.ldexp(value, type.frac) for value in extremes(function, argument))
    fits = smallest(max(math.floor(low), type.min), min(math.ceil(high), type.max), type.frac)
    over = max(0, fits.width - wide)
    return Fixed(fits.width - over, fits.frac - over, fits.signed)


def constant(*values: float, wide: int = BLOCK) -> Const:
    """A factor, or several of one format, in ``wide`` bits, the sign included."""
    largest, signed = max(map(abs, values)), min(values) < 0
    if largest == 0:
        return Const(np.zeros(len(values), np.int64), Fixed(1, 0, False))
    frac = wide - 1 - math.frexp(largest)[1]
    type = Fixed(wide - 1 + signed, frac, signed, Round.RND, Overflow.SAT)
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


def softmax(input: Fixed, elements: int, result: Fixed, tables: Tables) -> Program:
    """Softmax by tables, ``y = e / sum(e)`` with ``e = exp(x - max x)``.

    The index of exp rounds down, so that only the largest element has the entry 1 and stays the largest however near
    the next one is. The sum, from 1 to the number of elements, is halved until it is at most 2, looked up in a table
    of 1/x from 1 to 2, and the result halved as often.
    """
    b = Builder()
    share = tables.share
    _, e = _exponentials(b, input, elements, tables)
    total, stages = _halved(b, e, elements)
    found = tables.lookup(b, "inverse", "inverse", total, share, share.plain)
    for shift, over, half in stages:
        less = mul(b, f"inverse_less_{shift}", found, half)
        found = b.add(Select(name=f"inverse_{shift}", type=share, condition=over, a=less, b=found))
    mul(b, "y", e, found, result)
    return b.build("y")


def log_softmax(input: Fixed, elements: int, result: Fixed, tables: Tables) -> Program:
    """The logarithm of softmax, ``y = (x - max x) - log(sum(e))``, with the tables and the halvings of :func:`softmax`.

    Each halving of the sum adds its share of log 2. With an error of exp of at most ε but for the largest element,
    which is exactly 1, the sum is off by at most (n - 1)·ε; as it is at least 1, so is its logarithm. The error is then
    at most (n - 1)·ε, the error of the table of the logarithm, half a step of the constants for each halving, and half
    a step of ``result``, where that does not saturate.
    """
    b = Builder()
    below, e = _exponentials(b, input, elements, tables)
    total, stages = _halved(b, e, elements)
    bits = tables.share.width
    logs = Fixed(bits, bits, False, Round.RND, Overflow.SAT)
    found = tables.lookup(b, "log", "log", total, logs, logs.plain)
    for shift, over, _ in stages:
        value = cast_float(shift * math.log(2.0), Fixed(64, bits, True, Round.RND))
        more = b.scalar(f"log_of_{shift}", value, smallest(0, value, bits))
        step = b.add(
            Select(name=f"log_{shift}_or_0", type=b.type(more), condition=over, a=more, b=zero(b, f"log_{shift}"))
        )
        found = add(b, f"log_{shift}", found, step)
    sub(b, "y", below, found, result)
    return b.build("y")


def _exponentials(b: Builder, input: Fixed, elements: int, tables: Tables) -> tuple[str, str]:
    """Add ``x - max x`` and exp of it."""
    x = b.add(Input(name="x", type=input, elements=elements))
    top = b.add(Largest(name="top", type=input, arg=x))
    below = sub(b, "below_top", x, top)
    share = tables.share
    return below, tables.lookup(b, "e", "exp", below, share, share.plain, Round.TRN)


def _halved(b: Builder, e: str, elements: int) -> tuple[str, list[tuple[int, str, str]]]:
    """Add the sum of e, halved until it is at most 2; for each shift whether it was made, and its factor."""
    frac = b.type(e).frac
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
