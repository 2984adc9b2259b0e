# SPDX-License-Identifier: Apache-2.0
"""Cells and activations as programs: LSTM, GRU, simple RNN, Dense, activation functions, softmax.

One gate order for the whole project, that of Keras: LSTM i, f, g, o; GRU z, r, h. Importers bring weights into it.
Formats come from ``quantize``; where a format is None here, the result is kept exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..errors import FxsimError
from .fixed import Fixed, exact_product, exact_sum
from .integers import Const, Table
from .ops import (
    Add,
    Cast,
    Concat,
    Constant,
    Dot,
    Input,
    Largest,
    Lookup,
    Max,
    Min,
    Mul,
    OneHot,
    Select,
    Slice,
    State,
    Sub,
    Total,
)
from .program import Builder, Program

T = TypeVar("T")

#: Activation functions that are computed, not looked up.
ARITHMETIC = ("linear", "relu", "hard_sigmoid", "hard_tanh", "leaky_relu", "thresholded_relu")
#: Activation functions read from a table over the whole line.
TABLED = ("sigmoid", "tanh", "softplus", "softsign")
#: Activation functions that are a line above zero and a table below.
HALF_TABLED = ("elu", "selu")


@dataclass(frozen=True)
class Activation:
    """A function of one number with the integers it needs.

    ``table`` for tabled functions; ``slope`` and ``shift`` (scalars) for hard_sigmoid and hard_tanh, whose result is
    clip(slope*x + shift, 0, 1) (hard_tanh: twice that minus one); ``slope`` for leaky_relu (or one an element: PReLU)
    and selu (of the line above zero), ``shift`` for the threshold of thresholded_relu; ``alpha`` multiplies the table
    of elu.
    """

    function: str
    table: Table | None = None
    slope: Const | None = None
    shift: Const | None = None
    alpha: Const | None = None

    def __post_init__(self) -> None:
        if self.function not in ARITHMETIC + TABLED + HALF_TABLED:
            legal = ", ".join(ARITHMETIC + TABLED + HALF_TABLED)
            raise FxsimError(f"activation must be one of {legal}, not {self.function!r}")

    def apply(self, b: Builder, name: str, x: str, type: Fixed) -> str:
        """Add the ops that compute this function of ``x`` into format ``type``; the last is called ``name``."""
        function = self.function
        if function == "linear":
            return b.add(Cast(name=name, type=type, arg=x))
        if function == "relu":
            return b.add(Max(name=name, type=type, a=x, b=zero(b, name)))
        if function in TABLED:
            return b.add(Lookup(name=name, type=type, arg=x, table=_given(self.table)))
        if function in ("hard_sigmoid", "hard_tanh"):
            line = add(b, f"{name}_line", mul(b, f"{name}_scaled", x, self._constant(b, name, "slope")),
                       self._constant(b, name, "shift"))  # fmt: skip
            one = b.scalar(f"{name}_one", 1, Fixed(1, 0, False))
            low = b.add(Min(name=f"{name}_low", type=b.type(line), a=line, b=one))
            if function == "hard_sigmoid":
                return b.add(Max(name=name, type=type, a=low, b=zero(b, name)))
            clip = b.add(Max(name=f"{name}_clip", type=b.type(line), a=low, b=zero(b, name)))
            twice = mul(b, f"{name}_twice", clip, b.scalar(f"{name}_two", 2, Fixed(2, 0, False)))
            return b.add(Sub(name=name, type=type, a=twice, b=one))
        if function == "leaky_relu":
            below = mul(b, f"{name}_below", x, self._constant(b, name, "slope"))
            return b.add(Select(name=name, type=type, condition=x, a=x, b=below))
        if function == "thresholded_relu":
            over = sub(b, f"{name}_over", x, self._constant(b, name, "shift"))
            return b.add(Select(name=name, type=type, condition=over, a=x, b=zero(b, name)))
        table = _given(self.table)
        below = b.add(Lookup(name=f"{name}_table", type=table.values.type, arg=x, table=table))
        if self.alpha is not None:
            below = mul(b, f"{name}_below", below, self._constant(b, name, "alpha"))
        above = x if self.slope is None else mul(b, f"{name}_above", x, self._constant(b, name, "slope"))
        return b.add(Select(name=name, type=type, condition=x, a=above, b=below))

    def _constant(self, b: Builder, name: str, which: str) -> str:
        """The constant as an op: of one number, or of one an element."""
        value: Const = _given(getattr(self, which))
        return b.add(
            Constant(name=f"{name}_{which}", type=value.type, values=Const(value.data.reshape(-1), value.type))
        )


def _given(value: T | None) -> T:
    if value is None:
        raise FxsimError("this activation needs a table or constant that was not given")
    return value


def zero(b: Builder, name: str) -> str:
    """A constant 0 for the op ``name``."""
    return b.scalar(f"{name}_zero", 0, Fixed(1, 0, False))


def mul(b: Builder, name: str, x: str, y: str, type: Fixed | None = None) -> str:
    """``x * y``, exact unless ``type`` is given."""
    return b.add(Mul(name=name, type=type or exact_product(b.type(x), b.type(y)), a=x, b=y))


def add(b: Builder, name: str, x: str, y: str, type: Fixed | None = None) -> str:
    """``x + y``, exact unless ``type`` is given."""
    return b.add(Add(name=name, type=type or exact_sum(b.type(x), b.type(y)), a=x, b=y))


def sub(b: Builder, name: str, x: str, y: str, type: Fixed | None = None) -> str:
    """``x - y``, exact unless ``type`` is given."""
    return b.add(Sub(name=name, type=type or exact_sum(b.type(x), b.type(y), subtract=True), a=x, b=y))


@dataclass(frozen=True)
class Kernel:
    """Weights of one matrix product: (inputs, outputs), the bias, the accumulator's format and its order of adding."""

    weights: Const
    bias: Const | None
    accum: Fixed
    stride: int = 1

    def dot(self, b: Builder, name: str, x: str) -> str:
        """Add the product with ``x``."""
        return b.add(Dot(name=name, type=self.accum, arg=x, weights=self.weights, bias=self.bias, stride=self.stride))

    def columns(self, start: int, stop: int) -> Kernel:
        """The same product for outputs ``start..stop-1`` only."""
        bias = None if self.bias is None else Const(self.bias.data[start:stop], self.bias.type)
        return Kernel(Const(self.weights.data[..., start:stop], self.weights.type), bias, self.accum, self.stride)


@dataclass(frozen=True)
class CellTypes:
    """Formats inside a recurrent cell.

    ``sum``: of input part + recurrent part (None: exact). ``gate``: results of the gates' activations. ``candidate``:
    of the candidate's activation (None: as ``gate``). ``reset``: of r * (U h) or r * h in a GRU (None: exact).
    ``cell``, ``hidden``: the states.
    """

    input: Fixed
    gate: Fixed
    hidden: Fixed
    cell: Fixed | None = None
    sum: Fixed | None = None
    candidate: Fixed | None = None
    reset: Fixed | None = None


def _gates(b: Builder, names: str, units: int, vector: str, prefix: str) -> dict[str, str]:
    """Slices of a dot product, one for each gate of ``names``."""
    return {
        gate: b.add(
            Slice(name=f"{prefix}_{gate}", type=b.type(vector), arg=vector, start=k * units, stop=(k + 1) * units)
        )
        for k, gate in enumerate(names)
    }


def lstm(
    kernel: Kernel, recurrent: Kernel, types: CellTypes, activation: Activation, recurrent_activation: Activation
) -> Program:
    """LSTM step (Hochreiter & Schmidhuber with forget gate, as Keras): ops i, f, g, o, c, h.

    ``kernel.weights`` is (features, 4*units), ``recurrent.weights`` (units, 4*units), gates in the order i, f, g, o::

        i, f, o = σ(W x + U h)    g = φ(W x + U h)    c' = g·i + c·f    h' = o·φ(c')
    """
    units = recurrent.weights.shape[0]
    cell = _given(types.cell)
    b = Builder()
    x = b.add(Input(name="x", type=types.input, elements=kernel.weights.shape[0]))
    h = b.add(State(name="h_old", type=types.hidden, elements=units, update="h"))
    c = b.add(State(name="c_old", type=cell, elements=units, update="c"))
    parts = _gates(b, "ifgo", units, kernel.dot(b, "wx", x), "wx")
    loops = _gates(b, "ifgo", units, recurrent.dot(b, "uh", h), "uh")
    gates = {}
    for gate in "ifgo":
        total = add(b, f"sum_{gate}", parts[gate], loops[gate], types.sum)
        function = activation if gate == "g" else recurrent_activation
        format = (types.candidate or types.gate) if gate == "g" else types.gate
        gates[gate] = function.apply(b, gate, total, format)
    new = mul(b, "gi", gates["g"], gates["i"])
    kept = mul(b, "cf", c, gates["f"])
    add(b, "c", new, kept, cell)
    squashed = activation.apply(b, "act_c", "c", types.candidate or types.gate)
    mul(b, "h", gates["o"], squashed, types.hidden)
    return b.build("h")


def gru(
    kernel: Kernel,
    recurrent: Kernel,
    types: CellTypes,
    activation: Activation,
    recurrent_activation: Activation,
    reset_after: bool = True,
) -> Program:
    """GRU step (as Keras, both conventions): ops z, r, hh, h.

    ``kernel.weights`` is (features, 3*units), ``recurrent.weights`` (units, 3*units), gates in the order z, r, h::

        z, r = σ(W x + U h)    h' = z·h + (1 - z)·hh
        hh = φ(W x + r·(U h + b))   with reset_after, else   hh = φ(W x + U (r·h))
    """
    units = recurrent.weights.shape[0]
    b = Builder()
    x = b.add(Input(name="x", type=types.input, elements=kernel.weights.shape[0]))
    h = b.add(State(name="h_old", type=types.hidden, elements=units, update="h"))
    parts = _gates(b, "zrh", units, kernel.dot(b, "wx", x), "wx")
    if reset_after:
        loops = _gates(b, "zrh", units, recurrent.dot(b, "uh", h), "uh")
    else:
        loops = _gates(b, "zr", units, recurrent.columns(0, 2 * units).dot(b, "uh", h), "uh")
    gates = {
        gate: recurrent_activation.apply(
            b, gate, add(b, f"sum_{gate}", parts[gate], loops[gate], types.sum), types.gate
        )
        for gate in "zr"
    }
    if reset_after:
        inner = mul(b, "rh", gates["r"], loops["h"], types.reset)
    else:
        reset = mul(b, "rh", gates["r"], h, types.reset)
        inner = recurrent.columns(2 * units, 3 * units).dot(b, "uh_h", reset)
    total = add(b, "sum_h", parts["h"], inner, types.sum)
    candidate = activation.apply(b, "hh", total, types.candidate or types.gate)
    rest = sub(b, "rest", b.scalar("one", 1, Fixed(1, 0, False)), gates["z"])
    fresh = mul(b, "fresh", candidate, rest)
    kept = mul(b, "kept", h, gates["z"])
    add(b, "h", fresh, kept, types.hidden)
    return b.build("h")


def simple_rnn(kernel: Kernel, recurrent: Kernel, types: CellTypes, activation: Activation) -> Program:
    """Elman step, ops sum, h: ``h' = φ(W x + U h + b)``; weights (features, units) and (units, units)."""
    b = Builder()
    x = b.add(Input(name="x", type=types.input, elements=kernel.weights.shape[0]))
    h = b.add(State(name="h_old", type=types.hidden, elements=recurrent.weights.shape[0], update="h"))
    add(b, "sum", kernel.dot(b, "wx", x), recurrent.dot(b, "uh", h), types.sum)
    activation.apply(b, "h", "sum", types.hidden)
    return b.build("h")


def dense(kernel: Kernel, input: Fixed, result: Fixed) -> Program:
    """``y = cast(W x + b)``; weights (inputs, units)."""
    b = Builder()
    x = b.add(Input(name="x", type=input, elements=kernel.weights.shape[-2]))
    b.add(Cast(name="y", type=result, arg=kernel.dot(b, "wx", x)))
    return b.build("y")


def pointwise(activation: Activation, input: Fixed, elements: int, result: Fixed) -> Program:
    """``y = activation(x)``, element by element."""
    b = Builder()
    activation.apply(b, "y", b.add(Input(name="x", type=input, elements=elements)), result)
    return b.build("y")


def softmax(
    input: Fixed,
    elements: int,
    result: Fixed,
    exp: Table,
    inverse: Table,
    accum: Fixed,
    sum_in: Fixed,
    difference: Fixed | None,
) -> Program:
    """Softmax by tables: ``e = exp(x - max)``, ``y = e * inverse(sum e)``.

    ``difference`` is the format of max - x for the stable form, whose table is of exp(-d); None gives the form without
    subtraction (hls4ml's ``latency``). ``exp`` values are cast to ``accum``, the sum is a balanced tree in ``accum``,
    cast to ``sum_in`` before the inverse is looked up.
    """
    b = Builder()
    x = b.add(Input(name="x", type=input, elements=elements))
    if difference is not None:
        top = b.add(Largest(name="top", type=input, arg=x))
        x = sub(b, "below_top", top, x, difference)
    e = b.add(Lookup(name="e", type=accum, arg=x, table=exp))
    total = b.add(Total(name="total", type=accum, arg=e))
    total = b.add(Cast(name="total_in", type=sum_in, arg=total))
    share = b.add(Lookup(name="inverse", type=inverse.values.type, arg=total, table=inverse))
    mul(b, "y", e, share, result)
    return b.build("y")


def softmax_pairwise(input: Fixed, elements: int, result: Fixed, exp: Table, inverse: Table, accum: Fixed) -> Program:
    """hls4ml's ``legacy`` softmax: ``y_i = inverse(sum_j exp(x_j - x_i))``, each sum cast to ``accum``."""
    b = Builder()
    x = b.add(Input(name="x", type=input, elements=elements))
    one = b.add(Constant(name="one", type=Fixed(1, 0, False), values=Const(np.array([1]), Fixed(1, 0, False))))
    one_accum = b.add(Cast(name="one_accum", type=accum, arg=one))
    singles = [b.add(Slice(name=f"x{i}", type=input, arg=x, start=i, stop=i + 1)) for i in range(elements)]
    totals = []
    for i in range(elements):
        differences = sub(b, f"d{i}", x, singles[i])
        e = b.add(Lookup(name=f"e{i}", type=accum, arg=differences, table=exp))
        total = b.scalar(f"s{i}", 0, accum)
        for j in range(elements):
            term = one_accum
            if j != i:
                term = b.add(Slice(name=f"e{i}_{j}", type=accum, arg=e, start=j, stop=j + 1))
            total = add(b, f"s{i}_{j}", total, term, accum)
        totals.append(total)
    sums = b.add(Concat(name="sums", type=accum, parts=tuple(totals)))
    b.add(Lookup(name="y", type=result, arg=sums, table=inverse))
    return b.build("y")


def argmax(input: Fixed, elements: int, result: Fixed) -> Program:
    """1 at the first largest element, 0 elsewhere."""
    b = Builder()
    b.add(OneHot(name="y", type=result, arg=b.add(Input(name="x", type=input, elements=elements))))
    return b.build("y")


def combine(
    function: str, inputs: Sequence[Fixed], elements: Sequence[int], result: Fixed, share: Const | None = None
) -> Program:
    """Several tensors as one: ``add``, ``subtract``, ``multiply``, ``average``, ``maximum``, ``minimum`` of as many
    elements, two at a time; ``concatenate`` puts their elements side by side. ``share`` is what an average multiplies
    the sum with.

    The inputs are the ops x0, x1, ...; the result, y, is cast once.
    """
    b = Builder()
    xs = [
        b.add(Input(name=f"x{number}", type=type, elements=count))
        for number, (type, count) in enumerate(zip(inputs, elements, strict=True))
    ]
    if function == "concatenate":
        casts = [b.add(Cast(name=f"c{number}", type=result, arg=x)) for number, x in enumerate(xs)]
        b.add(Concat(name="y", type=result, parts=tuple(casts)))
        return b.build("y")
    before = xs[0]
    for number, x in enumerate(xs[1:], start=1):
        type = None if number < len(xs) - 1 or function == "average" else result
        name = "y" if type is not None else f"y{number}"
        if function in ("maximum", "minimum"):
            kind = Max if function == "maximum" else Min
            wide = exact_sum(b.type(before), b.type(x))
            before = b.add(kind(name=name, type=type or wide, a=before, b=x))
        else:
            pair = {"multiply": mul, "subtract": sub}.get(function, add)
            before = pair(b, name, before, x, type)
    if function == "average":
        share = _given(share)
        of = b.add(Constant(name="share", type=share.type, values=share))
        mul(b, "y", before, of, result)
    return b.build("y")


def scaled(input: Fixed, scale: Const, shift: Const, result: Fixed | None) -> Program:
    """``y = cast(scale * x + shift)``, element by element, exact without ``result``; constants of one number each."""
    b = Builder()
    x = b.add(Input(name="x", type=input, elements=scale.shape[0]))
    product = mul(b, "product", x, b.add(Constant(name="scale", type=scale.type, values=scale)))
    add(b, "y", product, b.add(Constant(name="shift", type=shift.type, values=shift)), result)
    return b.build("y")


def merge(function: str, input: Fixed, elements: int, result: Fixed) -> Program:
    """Both halves of a vector combined as Keras' Bidirectional does: ``function`` is sum, ave or mul."""
    b = Builder()
    x = b.add(Input(name="x", type=input, elements=2 * elements))
    one, two = (
        b.add(Slice(name=n, type=input, arg=x, start=s, stop=s + elements))
        for n, s in (("forward", 0), ("backward", elements))
    )
    if function == "mul":
        mul(b, "y", one, two, result)
    elif function == "sum":
        add(b, "y", one, two, result)
    elif function == "ave":
        half = b.scalar("half", 1, Fixed(1, 1, False))
        mul(b, "y", add(b, "both", one, two), half, result)
    else:
        raise FxsimError(f"merge must be one of sum, ave, mul, not {function!r}")
    return b.build("y")
