# SPDX-License-Identifier: Apache-2.0
"""Formats of the exact preset: what each number of a network is kept in, given one precision."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import FxsimError, show
from ..importers.source import GRU, LSTM, Recurrent
from ..program.fixed import Fixed, Overflow, Round, cast_floats, smallest
from ..program.integers import Const
from ..program.ops import Add, AnyOp, Cast, Max, Min, Mul, Select, Sub
from ..program.program import Program
from ..program.ranges import bounds

#: Widths and integer bits that a precision can have.
WIDTHS = (2, 32)
INTEGERS = (-32, 64)
#: Ranges of the functions that have one.
RANGES = {"sigmoid": (0, 1), "hard_sigmoid": (0, 1), "tanh": (-1, 1), "softsign": (-1, 1), "hard_tanh": (-1, 1)}
#: Operands of one DSP block are this wide, the sign included; so are words of half a block RAM.
BLOCK = 18
#: Most fractional bits that tables follow: with more of them, an interpolated table of exp would pass 65536 pieces.
_PLACES = 23
#: Bits of a bias beyond which its grid is coarser than that of the products: constants are 64-bit integers.
_BIAS = 62
_EXACT = (Add, Sub, Mul, Max, Min, Select)


@dataclass(frozen=True)
class Formats:
    """The formats that follow from a precision."""

    precision: Fixed

    @classmethod
    def of(cls, precision: Fixed | str) -> Formats:
        """Check a precision; raises ``FxsimError`` with what is legal."""
        if isinstance(precision, str):
            type = Fixed.parse(precision)
            bare = precision.count(",") < 2
        elif isinstance(precision, Fixed):
            type, bare = precision, precision == precision.plain
        else:
            raise FxsimError(f"precision must be a text like 'ap_fixed<16,6>' or a Fixed, not {show(precision)}")
        if not type.signed:
            raise FxsimError(f"precision must be signed in the exact preset, ap_fixed<W,I>, not {type}")
        for name, value, (low, high) in (("width", type.width, WIDTHS), ("integer bits", type.integer, INTEGERS)):
            if not low <= value <= high:
                raise FxsimError(f"precision {type}: {name} must be from {low} to {high} in the exact preset")
        return cls(replace(type, round=Round.RND, overflow=Overflow.SAT) if bare else type)

    @property
    def width(self) -> int:
        """W: bits of what matrix products multiply."""
        return self.precision.width

    @property
    def wide(self) -> int:
        """Bits of what stays inside a lane: a DSP block and half a block RAM take 18 as well as fewer."""
        return max(self.width, BLOCK)

    @property
    def places(self) -> int:
        """Fractional bits that tables must serve: those of the network's input, as far as a hidden state has them."""
        return min(self.precision.frac, self.width - 1, _PLACES)

    @property
    def gate(self) -> int:
        """Bits of a gate, its sign included, whose table is as fine as the precision: two more than that serves.

        For what a gate multiplies is rounded, too.
        """
        return max(BLOCK, min(self.width, self.places + 3))

    def fit(self, low: int, high: int, frac: int, width: int) -> Fixed:
        """The finest format of ``width`` bits for results ``low..high`` on the grid ``frac``.

        It has the precision's integer bits, or fewer where the range proves that they are enough; and no sign where
        results are never negative, unless the bit that this frees costs a second DSP block.
        """
        need = smallest(low, high, frac)
        signed = low < 0 or width >= BLOCK
        integer = min(need.integer - need.signed, self.precision.integer - 1)
        return replace(self.precision, width=width, frac=width - signed - integer, signed=signed)

    def common(self, one: Fixed, two: Fixed) -> Fixed:
        """The finest format of no more bits that has both ranges: of two directions, whose results are one vector.

        It saturates, for the largest value of a finer format may round to one more than its own largest.
        """
        width, signed = max(one.width, two.width), one.signed or two.signed
        integer = max(type.integer - type.signed for type in (one, two))
        return replace(self.precision, width=width, frac=width - signed - integer, signed=signed, overflow=Overflow.SAT)

    def logits(self, low: int, high: int, frac: int) -> Fixed:
        """The format of softmax's input: all integer bits that ``low..high`` on the grid ``frac`` can need."""
        need = smallest(low, high, frac)
        width = min(self.wide, need.width)
        return replace(self.precision, width=width, frac=width - need.integer, signed=need.signed)

    def unit(self, low: int, width: int) -> Fixed:
        """The format of ``width`` bits for results from ``low`` (-1 or 0) to 1; always saturates.

        1 itself is not in it but the number next to it, so that one bit more is left for all others.
        """
        if low < 0:
            return Fixed(width, width - 1, True, self.precision.round, Overflow.SAT)
        width -= width >= BLOCK
        return Fixed(width, width, False, self.precision.round, Overflow.SAT)

    def ranged(self, function: str, width: int) -> Fixed | None:
        """The format for a function's result in at most ``width`` bits, if the function has a range."""
        return self.unit(RANGES[function][0], width) if function in RANGES else None

    def states(self, layer: Recurrent, act: str, gate: str, steps: int) -> tuple[Fixed, Fixed | None]:
        """Formats of the hidden and the cell state of a layer with these two functions."""
        lstm = isinstance(layer, LSTM)
        bounded = act in RANGES and gate in RANGES
        # A GRU's state is a mean of the old one and a candidate only if z is a share of one.
        if isinstance(layer, GRU):
            bounded = bounded and RANGES[gate][0] == 0
        if not bounded:
            return self.precision, self.precision if lstm else None
        low = min(RANGES[act][0], RANGES[gate][0]) if lstm else RANGES[act][0]
        hidden = self.unit(low, self.width)
        # |c| grows by less than 1 a step; and beyond 16 tanh is 1 to the last bit of any format here.
        integer = min((steps - 1).bit_length(), max(self.precision.integer - 1, 4))
        cell = replace(self.precision, width=self.wide, frac=self.wide - 1 - integer)
        return hidden, cell if lstm else None


def weight_const(values: NDArray[np.float64], width: int) -> Const:
    """Weights in ``width`` bits, all of which the largest needs; that one may be off by a step, others by half."""
    largest = float(np.abs(values).max())
    exponent = math.ceil(math.log2(largest)) if largest else 0
    type = Fixed(width, width - 1 - exponent, True, Round.RND, Overflow.SAT)
    return Const(cast_floats(values, type), type.plain)


def bias_const(values: NDArray[np.float64], frac: int) -> Const:
    """A bias on the grid ``frac`` of the products it is added to, in as many bits as it needs."""
    frac = min(frac, _BIAS - math.frexp(float(np.abs(values).max()))[1])
    raw = cast_floats(values, Fixed(64, frac, True, Round.RND))
    return Const(raw, smallest(int(raw.min()), int(raw.max()), frac))


def lean(program: Program, width: int) -> Program:
    """The program with factors of at most ``width`` bits, and exact results just as wide as they can get.

    A wider factor (an exact sum that a gate multiplies) is rounded to its upper bits first.
    """
    found = bounds(program)
    ops: list[AnyOp] = []
    names: set[str] = set()

    def factor(arg: str) -> str:
        fits = found[arg].narrow(program[arg].type)
        bits = width - (not fits.signed)
        if fits.width <= bits:
            return arg
        short = f"{arg}_short"
        if short not in names:
            names.add(short)
            type = Fixed(bits, fits.frac - (fits.width - bits), fits.signed, Round.RND, Overflow.SAT)
            ops.append(Cast(name=short, type=type, arg=arg))
        return short

    for op in program.ops:
        if isinstance(op, Mul) and not program.is_shift(op):
            op = op.with_args(*map(factor, op.args))
        ops.append(op)
    return _narrowed(Program(tuple(ops), program.output))


def _narrowed(program: Program) -> Program:
    """Exact results in the narrowest formats; the result and the states keep theirs."""
    kept = {program.output} | {op.update for op in program.states}
    while True:
        found = bounds(program)
        ops = []
        for op in program.ops:
            known = found[op.name]
            exact = isinstance(op, _EXACT) and not known.overflows and op.type.frac >= known.exact_frac
            if exact and op.name not in kept:
                op = replace(op, type=smallest(*known.exact, known.exact_frac))
            ops.append(op)
        new = Program(tuple(ops), program.output)
        if [op.type for op in new.ops] == [op.type for op in program.ops]:
            return new
        program = new
