# SPDX-License-Identifier: Apache-2.0
"""Narrow sums of the exact preset: products cut below what the reader of their sum can see.

Cutting a product to ``frac`` fractional bits takes from 0 to just below one step away from it. A constant, half of the
most that an output's products can lose together, is added with the bias, so that the sum errs by as much in both
directions. ``frac`` is the smallest for which that is no more than the reader's own error: a table may be off as if
its input were off by a step of the precision, and a cast is off by half a step of its result. ``docs/arithmetic.md``
derives the bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from ..errors import FxsimError, show
from ..importers.source import Function
from ..program.cells import HALF_TABLED, TABLED, Kernel
from ..program.fixed import Fixed, smallest
from ..program.integers import Const
from ..program.ops import Input
from ..program.program import Builder
from ..program.ranges import bounds
from .exact_functions import SELU_SCALE

#: How matrix products are added.
SUMS = ("exact", "narrow")


def check_sums(sums: str) -> str:
    """One of ``SUMS``; raises ``FxsimError`` for anything else."""
    if not isinstance(sums, str) or sums not in SUMS:
        raise FxsimError(f"sums must be one of {', '.join(SUMS)}, not {show(sums)}")
    return sums


def fitted(kernel: Kernel, x: Fixed, frac: int) -> Kernel:
    """The kernel with an accumulator on the grid ``frac`` that no input of format ``x`` can overflow."""
    weights, bias = kernel.weights, kernel.bias
    # First with more than enough bits, to see how many a sum can need.
    bits = x.width + weights.type.width + weights.shape[0].bit_length() + max(0, frac - x.frac - weights.type.frac)
    bits += bias.type.integer + frac if bias else 0
    wide = replace(kernel, accum=Fixed(bits + 8, frac))
    b = Builder()
    program = b.build(wide.dot(b, "wx", b.add(Input(name="x", type=x.plain, elements=weights.shape[0]))))
    low, high = bounds(program)["wx"].exact
    return replace(wide, accum=Fixed(max((high + 1).bit_length(), (-low).bit_length()) + 1, frac))


def tolerance(function: Function, result: Fixed, places: int) -> Fraction:
    """How far the sum may be off that an activation function reads; 0 where the function jumps.

    ``result`` is the format of the function's result, ``places`` the fractional bits that its table serves: a table
    may be off as if its input were off by a step of them. What is a line instead is off by half a step of ``result``.
    """
    name, table, steepest = function.name, Fraction(2) ** -places, 1.0
    if name in TABLED and name != "softplus":
        return table
    if name == "thresholded_relu":
        return Fraction(0)
    if name == "selu":
        steepest = SELU_SCALE
    elif name == "hard_sigmoid" and function.slope:
        steepest = abs(function.slope)
    elif name == "leaky_relu":
        alphas = function.alpha if isinstance(function.alpha, tuple) else (function.alpha or 0.0,)
        steepest = max(1.0, *map(abs, alphas))
    line = half_step(result) / Fraction(steepest)
    return min(line, table) if name in (*HALF_TABLED, "softplus") else line


def half_step(type: Fixed) -> Fraction:
    """How far rounding to nearest is off."""
    return Fraction(2) ** -(type.frac + 1)


def losses(kernel: Kernel, frac: int) -> list[Fraction]:
    """The most that cutting the products of an exact kernel to ``frac`` fractional bits takes from each output's sum.

    The product of a weight ``w`` is a multiple of the lowest bit of ``w``: the most that the cut takes is a step of
    ``2**-frac`` but for that bit, and nothing where that bit is a step or more.
    """
    cut = kernel.accum.frac - frac
    weights = kernel.weights.data
    if cut <= 0:
        return [Fraction(0)] * weights.shape[1]
    lowest, step = (weights & -weights).astype(object), 1 << cut
    lost = np.where((lowest > 0) & (lowest < step), step - lowest, 0).sum(axis=0)
    return [int(one) * Fraction(2) ** -kernel.accum.frac for one in lost]


def bound(kernels: Sequence[Kernel], frac: int) -> Fraction:
    """How far sums of the products of exact kernels, cut to ``frac``, can be off with their constants.

    Half of what all cuts of an output can take, and half a step for the rounding of the constant of each kernel.
    """
    whole = max(map(sum, zip(*(losses(kernel, frac) for kernel in kernels), strict=True)))
    return (whole + len(kernels) * Fraction(2) ** -frac) / 2


def places(kernels: Sequence[Kernel], error: Fraction) -> int | None:
    """The fewest fractional bits for which :func:`bound` is at most ``error``; None where nothing can be cut."""
    if not error:
        return None
    frac = math.floor(-math.log2(error)) - 1
    while frac < max(kernel.accum.frac for kernel in kernels):
        if bound(kernels, frac) <= error:
            return frac
        frac += 1
    return None


def cut(kernel: Kernel, x: Fixed, frac: int, centre: Sequence[Fraction]) -> Kernel:
    """An exact kernel with products cut to ``frac`` fractional bits, and ``centre`` added to its bias."""
    values = list(centre)
    if kernel.bias is not None:
        step = Fraction(2) ** -kernel.bias.type.frac
        values = [int(raw) * step + more for raw, more in zip(kernel.bias.data, values, strict=True)]
    raws = [math.floor(value * Fraction(2) ** frac + Fraction(1, 2)) for value in values]
    bias = Const(np.array(raws), smallest(min(raws), max(raws), frac)) if any(raws) else None
    return fitted(replace(kernel, bias=bias), x, frac)


def centres(kernel: Kernel, frac: int) -> list[Fraction]:
    """What centres the error of each output's sum: half of what cutting its products can take."""
    return [lost / 2 for lost in losses(kernel, frac)]


def narrow_pair(
    one: Kernel, other: Kernel, x: Fixed, h: Fixed, errors: Sequence[Fraction], scaled: range
) -> tuple[Kernel, Kernel]:
    """Exact kernels of two products that are added, cut so that their sum is off by at most the least of ``errors``.

    ``x`` and ``h`` are what they multiply. The constants of both stand in the first one's bias, but for the second
    one's outputs ``scaled``, which are multiplied by a number from 0 to 1 before they are added.
    """
    frac = places((one, other), min(errors))
    if frac is None:
        return one, other
    own = centres(other, frac)
    here = [mine if k in scaled else Fraction(0) for k, mine in enumerate(own)]
    there = [its + mine - kept for its, mine, kept in zip(centres(one, frac), own, here, strict=True)]
    return cut(one, x, frac, there), cut(other, h, frac, here)
