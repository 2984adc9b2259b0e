# SPDX-License-Identifier: Apache-2.0
"""The default preset: the best accuracy for the bits that cost hardware.

A precision ``ap_fixed<W,I>`` is the format of the network's input and output, and W the width of everything that a
matrix product multiplies. Products and sums are exact; a value is rounded once, where it is kept or multiplied again.
How each format follows from W, I, the weights and proven ranges is written in ``docs/arithmetic.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..arguments import integer, real
from ..errors import FxsimError
from ..importers.source import MOVING, Source, SourceLayer
from ..program import cells
from ..program.cells import Activation, CellTypes, Kernel
from ..program.fixed import Fixed
from ..program.graph import Graph, Layer, Shape
from ..program.ops import Cast, Input
from ..program.program import Builder, Program
from ..program.ranges import bounds
from .exact_activations import Exact, Tables, log_softmax, softmax
from .exact_formats import Formats, bias_const, lean, weight_const
from .exact_tables import check_size

_GATES = {"lstm": 4, "gru": 3, "simple_rnn": 1}
_CELL = frozenset({"units", "activation", "return_sequences", "use_bias"})
_GATED = _CELL | {"recurrent_activation"}
#: The options that a layer must have, by kind, and those of an activation layer by its function.
_OPTIONS: dict[str, frozenset[str]] = {
    "lstm": _GATED,
    "gru": _GATED | {"reset_after"},
    "simple_rnn": _CELL,
    "bidirectional": frozenset({"merge_mode", "return_sequences", "forward", "backward"}),
    "dense": frozenset({"units", "use_bias"}),
    "activation": frozenset({"function"}),
    "flatten": frozenset(),
    "reshape": frozenset({"steps"}),
}
_PARAMETERS: dict[str, frozenset[str]] = {
    "elu": frozenset({"alpha"}),
    "leaky_relu": frozenset({"alpha"}),
    "thresholded_relu": frozenset({"theta"}),
    "hard_sigmoid": frozenset({"slope", "shift"}),
}
#: Functions of a whole vector, which only subtract and compare their operands.
_SOFTMAX = ("softmax", "log_softmax")
_FUNCTIONS = (*cells.ARITHMETIC, *cells.TABLED, *cells.HALF_TABLED)


def quantize(
    source: Source,
    precision: Fixed | str,
    *,
    layers: Mapping[str, Fixed | str] | None = None,
    table_size: int | None = None,
) -> Graph:
    """The network in formats that follow from one precision; raises ``FxsimError`` naming what is not legal.

    ``precision`` is ``ap_fixed<W,I>`` with W from 2 to 32; values round to nearest and saturate unless it has modes of
    its own (a ``Fixed`` that truncates and wraps counts as one without). ``layers`` gives layers a precision of their
    own: for weights, for what they keep inside, and for their result; the network's input keeps ``precision``.
    ``table_size`` is the most entries that a table of a function has, from 16 to 65536; None: tables as large as the
    precision asks for, and interpolated where those would be too large.
    """
    if table_size is not None:
        table_size = check_size(table_size)
    whole = Formats.of(precision)
    own = {name: Formats.of(one) for name, one in (layers or {}).items()}
    flow = _Flow(whole, table_size, source.shape)
    built: list[Layer] = []
    for index, layer in enumerate(source.layers):
        rest = source.layers[index + 1 :]
        after = str(rest[0].options.get("function")) if rest and rest[0].kind == "activation" else None
        flow.formats = own.get(layer.name, whole)
        built += flow.layer(layer, after, last=all(later.kind in MOVING for later in rest))
    return Graph(source.name, source.shape, whole.precision, tuple(built))


class _Flow:
    """Builds layers in order; ``shape`` and ``type`` are of what flows from one to the next."""

    def __init__(self, formats: Formats, table_size: int | None, shape: Shape) -> None:
        self.formats = formats
        self.type = formats.precision
        self.table_size = table_size
        self.shape = shape

    @property
    def tables(self) -> Tables:
        """How large the tables of the layer are."""
        return Tables(self.formats, self.table_size)

    def layer(self, layer: SourceLayer, after: str | None, last: bool) -> list[Layer]:
        """The graph's layers for one of the source's.

        ``after``: function of the activation layer behind it. ``last``: it gives the network's result.
        """
        _check(layer)
        if layer.kind == "flatten":
            layers = [Layer(layer.name, "flatten", None)]
        elif layer.kind == "reshape":
            layers = [Layer(layer.name, "reshape", None, steps=_int(layer, "steps"))]
        elif layer.kind == "dense":
            layers = [self.dense(layer, after, last)]
        elif layer.kind == "activation":
            layers = [self.activation(layer, last)]
        else:
            layers = self.recurrent(layer, last)
        for built in layers:
            self.shape, self.type = built.result(self.shape, self.type)
        return layers

    def kernel(self, layer: SourceLayer, matrix: str, bias: str, x: Fixed, shape: tuple[int, int]) -> Kernel:
        """Weights in W bits, bias on the grid of the products, and an accumulator that no input can overflow."""
        weights = weight_const(_array(layer, matrix, shape), self.formats.width)
        frac = x.frac + weights.type.frac
        values = _array(layer, bias, shape[1:]) if bias in layer.weights else np.zeros(shape[1])
        if not _flag(layer, "use_bias") and values.any():
            raise FxsimError(f"layer {layer.name!r}: weight {bias!r} must be zero without use_bias")
        constant = bias_const(values, frac) if values.any() else None
        # First with more than enough bits, to see how many a sum can need.
        bits = x.width + weights.type.width + shape[0].bit_length() + (constant.type.integer + frac if constant else 0)
        wide = Kernel(weights, constant, Fixed(bits + 8, frac))
        b = Builder()
        program = b.build(wide.dot(b, "wx", b.add(Input(name="x", type=x.plain, elements=shape[0]))))
        low, high = bounds(program)["wx"].exact
        accum = Fixed(max((high + 1).bit_length(), (-low).bit_length()) + 1, frac)
        return replace(wide, accum=accum)

    def dense(self, layer: SourceLayer, after: str | None, last: bool) -> Layer:
        """A Dense layer; a function behind it reads the exact sum, so that only the function's result is rounded."""
        formats, units = self.formats, _int(layer, "units")
        kernel = self.kernel(layer, "kernel", "bias", self.type, (self.shape[-1], units))
        result = kernel.accum
        if last:
            result = formats.precision
        elif after is None or after in _SOFTMAX:
            found = bounds(cells.dense(kernel, self.type, result))["y"]
            # Softmax only compares and subtracts: bits cost it no multiplier, and logits must not saturate.
            if after:
                result = formats.logits(found.low, found.high, result.frac)
            else:
                result = formats.fit(found.low, found.high, result.frac, formats.width)
        return Layer(layer.name, "dense", cells.dense(kernel, self.type, result))

    def activation(self, layer: SourceLayer, last: bool) -> Layer:
        """An activation layer: functions with a range in all bits, others in the integer bits that they need."""
        formats, name, size = self.formats, str(layer.options["function"]), self.shape[-1]
        if name == "softmax":
            result = formats.precision if last else formats.unit(0, formats.width)
            return Layer(layer.name, "softmax", lean(softmax(self.type, size, result, self.tables), formats.wide))
        if name == "log_softmax":
            program = log_softmax(self.type, size, formats.precision, self.tables)
            return Layer(layer.name, "log_softmax", lean(program, formats.wide))
        function = self.function(name, layer, layer.options)

        def build(result: Fixed) -> Program:
            return lean(cells.pointwise(function, self.type.plain, size, result), formats.wide)

        result = formats.precision
        if not last:
            found = bounds(build(result))["y"]
            ranged = formats.ranged(name, formats.width)
            result = ranged or formats.fit(*found.exact, found.exact_frac, formats.width)
        return Layer(layer.name, "activation", build(result))

    def recurrent(self, layer: SourceLayer, last: bool) -> list[Layer]:
        """A recurrent layer; two directions that are not put side by side have a layer that merges them."""
        formats, sequences = self.formats, _flag(layer, "return_sequences")
        if layer.kind != "bidirectional":
            return [Layer(layer.name, layer.kind, self.cell(layer, last), sequences)]
        mode = str(layer.options["merge_mode"])
        forward, backward = (self.side(layer, side, last and mode == "concat") for side in ("forward", "backward"))
        cells.check_merge(f"layer {layer.name!r}", mode, forward.elements, backward.elements)
        if forward.type != backward.type:
            common = formats.common(forward.type, backward.type)
            forward, backward = (_with_result(side, common) for side in (forward, backward))
        layers = [Layer(layer.name, "bidirectional", forward, sequences, backward)]
        if mode != "concat":
            result = formats.precision
            if not last:
                found = bounds(cells.merge(mode, forward.type, forward.elements, result))["y"]
                result = formats.fit(*found.exact, found.exact_frac, formats.width)
            merge = cells.merge(mode, forward.type, forward.elements, result)
            layers.append(Layer(f"{layer.name}_{mode}", "merge", lean(merge, formats.wide)))
        return layers

    def side(self, layer: SourceLayer, which: str, last: bool) -> Program:
        """The cell of one direction; how the sequence is walked is the whole layer's."""
        side = layer.options[which]
        if not isinstance(side, SourceLayer) or side.kind not in _GATES:
            raise FxsimError(f"layer {layer.name!r}: option {which!r} must be a recurrent layer")
        _check(side)
        if side.options["return_sequences"] != layer.options["return_sequences"]:
            raise FxsimError(f"layer {layer.name!r}: option 'return_sequences' must be that of its {which} layer")
        return self.cell(side, last)

    def cell(self, layer: SourceLayer, last: bool) -> Program:
        """A cell's program; its result is the hidden state, cast to the precision where it is the network's result."""
        formats, units = self.formats, _int(layer, "units")
        outputs = _GATES[layer.kind] * units
        after = layer.kind == "gru" and _flag(layer, "reset_after")
        act = str(layer.options["activation"])
        gate = str(layer.options.get("recurrent_activation", act))
        hidden, cell = formats.states(layer.kind, act, gate, self.shape[0])
        of_input = self.kernel(layer, "kernel", "bias", self.type, (self.shape[-1], outputs))
        of_state = self.kernel(layer, "recurrent_kernel", "recurrent_bias", hidden, (units, outputs))
        types = CellTypes(
            self.type.plain,
            gate=formats.ranged(gate, self.tables.gate) or formats.precision,
            candidate=formats.ranged(act, self.tables.gate) or formats.precision,
            hidden=hidden,
            cell=cell,
            reset=None if after else hidden,
        )
        slope = {"slope": layer.options.get("hard_sigmoid_slope", 0.0), "shift": 0.5, "alpha": 1.0}
        if "hard_sigmoid" in (act, gate) and "hard_sigmoid_slope" not in layer.options:
            raise FxsimError(f"layer {layer.name!r}: option 'hard_sigmoid_slope' is missing")
        activation, recurrent = (self.function(name, layer, slope) for name in (act, gate))
        if layer.kind == "lstm":
            program = cells.lstm(of_input, of_state, types, activation, recurrent)
        elif layer.kind == "gru":
            program = cells.gru(of_input, of_state, types, activation, recurrent, after)
        else:
            program = cells.simple_rnn(of_input, of_state, types, activation)
        program = lean(program, formats.wide)
        return _with_result(program, formats.precision) if last else program

    def function(self, name: str, layer: SourceLayer, options: Mapping[str, object]) -> Activation:
        """An activation function with its parameters."""
        if name not in _FUNCTIONS:
            raise FxsimError(f"layer {layer.name!r}: activation must be one of {', '.join(_FUNCTIONS)}, not {name!r}")
        values = {key: float(value) for key, value in options.items() if isinstance(value, int | float)}
        alpha = options.get("alpha")
        slopes = alpha if isinstance(alpha, tuple) else ()
        return Exact(name, tables=self.tables, values=values, slopes=slopes)


def _with_result(program: Program, type: Fixed) -> Program:
    """The program, its result cast to a format."""
    return Program((*program.ops, Cast(name="y", type=type, arg=program.output)), "y")


def _check(layer: SourceLayer) -> None:
    """Refuse what would otherwise be ignored."""
    where = f"layer {layer.name!r}"
    if layer.kind not in _OPTIONS:
        raise FxsimError(f"{where}: kind must be one of {', '.join(_OPTIONS)}, not {layer.kind!r}")
    needed = _OPTIONS[layer.kind]
    if layer.kind == "activation":
        needed |= _PARAMETERS.get(str(layer.options.get("function")), frozenset())
    allowed = needed | {"hard_sigmoid_slope"} if layer.kind in _GATES else needed
    for key in layer.options:
        if key not in allowed:
            raise FxsimError(f"{where}: option {key!r} is not known to the exact preset, which reads or refuses all")
    for key in sorted(needed):
        if key not in layer.options:
            raise FxsimError(f"{where}: option {key!r} is missing")
    for key in needed & {"alpha", "theta", "slope", "shift"}:
        value = layer.options[key]
        several = key == "alpha" and layer.options.get("function") == "leaky_relu" and isinstance(value, tuple)
        for number in value if several else (value,):  # type: ignore[attr-defined]
            real(number, f"{where}: option {key!r}")


def _int(layer: SourceLayer, key: str) -> int:
    return integer(layer.options[key], f"layer {layer.name!r}: option {key!r}", 1)


def _flag(layer: SourceLayer, key: str) -> bool:
    value = layer.options[key]
    if not isinstance(value, bool):
        raise FxsimError(f"layer {layer.name!r}: option {key!r} must be True or False, not {value!r}")
    return value


def _array(layer: SourceLayer, key: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    if key not in layer.weights or layer.weights[key].shape != shape:
        have = layer.weights[key].shape if key in layer.weights else "none"
        raise FxsimError(f"layer {layer.name!r}: weight {key!r} must have shape {shape}, not {have}")
    return layer.weights[key]
