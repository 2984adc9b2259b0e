# SPDX-License-Identifier: Apache-2.0
"""What a batch does to a network's formats: ranges, overflows, errors, and the formats that would have been enough."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .. import arguments
from ..errors import FxsimError
from ..importers.source import BatchNormalization, Bidirectional, Source, SourceLayer
from ..pages.listing import Summary
from ..program.fixed import Fixed, IntArray, round_shift, smallest, to_float
from ..program.graph import Graph
from ..program.integers import Const
from ..program.ops import Cast, Op, Slice
from ..program.program import Program
from ..program.ranges import Bounds, bounds
from ..quantization.batch_norm import folded
from ..simulator.overflows import input_keys
from . import floating
from .statistics import Array, Box, Difference, Kept, Spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Sequences whose traces are held at once.
_CHUNK = 256
_MOST_CHUNK_BYTES = 64 << 20


@dataclass(frozen=True)
class TensorRow:
    """One op of a layer's program, beside the same value of the float network where that has it.

    ``format``: its own, with the range it can hold. ``can``: what no input whatever can leave. ``seen``, ``float``:
    what the batch reached. ``overflows``: casts that left the format; None where it is proven that none can.
    ``largest_error``, ``rms_error``, ``correlation``: against float, with all errors that came in from above.
    ``enough``: the smallest format that holds every value of this batch exactly, and float's to within a step; empty
    where an overflow leaves unknown how large values are. ``proven``: the one on the op's grid that no input can leave.
    """

    tensor: str
    kind: str
    elements: int
    format: str
    format_low: float
    format_high: float
    can_low: float
    can_high: float
    seen_low: float
    seen_high: float
    float_low: float | None
    float_high: float | None
    overflows: int | None
    largest_error: float | None
    rms_error: float | None
    correlation: float | None
    enough: str
    proven: str


@dataclass(frozen=True)
class WeightRow:
    """Weights or biases of one product, in their format and (None for a saved graph) as they were trained.

    ``zeros``: those other than zero that the format rounds to zero. ``outside``: those that its range does not reach.
    ``enough``: the smallest format that holds them as they are quantised.
    """

    tensor: str
    elements: int
    format: str
    format_low: float
    format_high: float
    seen_low: float
    seen_high: float
    float_low: float | None
    float_high: float | None
    zeros: int | None
    outside: int | None
    largest_error: float | None
    rms_error: float | None
    enough: str


@dataclass(frozen=True)
class LayerRow:
    """One layer's result against the float network's: ranges, largest and root mean square error, correlation."""

    layer: str
    format: str
    float_low: float
    float_high: float
    fixed_low: float
    fixed_high: float
    largest_error: float
    rms_error: float
    correlation: float | None


@dataclass(frozen=True, repr=False)
class Profile:
    """Rows by op, by weights, and by layer where the float network is known.

    ``boxes``: magnitudes by tensor, of float values where they are known and of fixed ones elsewhere; None for a tensor
    that is all zeros.
    """

    sequences: int
    tensors: tuple[TensorRow, ...]
    weights: tuple[WeightRow, ...]
    layers: tuple[LayerRow, ...]
    boxes: Mapping[str, Box | None]
    name: str = ""

    def plot(self, what: str = "values") -> Figure:
        """Box plots, which notebooks show: of the "values" of every tensor, or of the "weights".

        Raises ``FxsimError`` for another ``what``, or without matplotlib.
        """
        from . import box_plots as boxes

        figures = {"values": boxes.activation_figure, "weights": boxes.weight_figure}
        if what not in figures:
            raise FxsimError(f"a profile plots {' or '.join(figures)}, not {what!r}")
        return figures[what](self)

    def files(self, draws: bool = True) -> dict[str, bytes]:
        """What the command line writes: the rows as CSV and JSON, and pictures (if ``draws``), by name."""
        from ..pages import table_files

        data = {
            "profile.csv": table_files.to_csv(self.tensors),
            "profile.json": (json.dumps(asdict(self), indent=1) + "\n").encode(),
        }
        if draws:
            data["profile.png"] = table_files.png(self.plot("values"))
        data["weights.csv"] = table_files.to_csv(self.weights)
        if draws:
            data["weights.png"] = table_files.png(self.plot("weights"))
        if self.layers:
            data["errors.csv"] = table_files.to_csv(self.layers)
        return data

    def save(self, folder: str | os.PathLike[str]) -> list[str]:
        """Write rows and pictures into a folder; returns the names of the files."""
        from ..files.arrays import write_files

        return write_files(folder, self.files())

    def summary(self) -> Summary:
        """All rows as tables, for people, notebooks and programs."""
        from .summaries import profile

        return profile(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, as ``fxsim profile --json`` prints it."""
        return self.summary().to_dict()

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def __repr__(self) -> str:
        over = sum(bool(row.overflows) for row in self.tensors)
        told = f"{len(self.tensors)} tensors, {over} of which overflowed"
        return f"Profile of {self.name}: {self.sequences} sequences, {told}" + (
            f"; largest error of the outputs {self.layers[-1].largest_error:.5g}" if self.layers else ""
        )


def profile(
    graph: Graph, x: Any, source: Source | None = None, progress: Callable[[int, int], None] | None = None
) -> Profile:
    """Run a batch (batch, *graph.shape) and collect what its values do, with ``source`` beside the float network's.

    Several inputs are a dictionary by their names, or a list in their order. What the graph has made a part of the
    weights beside it is so in the float network, too.

    Raises ``FxsimError`` for a batch that is empty or does not fit.
    """
    from ..simulator.run import simulate  # late: it brings a compiler

    values = {name: arguments.array(one, "input") for name, one in graph.by_input(x).items()}
    if not all(one.ndim and len(one) for one in values.values()):
        raise FxsimError("profile needs at least one sequence")
    count = len(next(iter(values.values())))
    if source:
        source = folded(source.active, graph.by_name.keys() & {layer.name for layer in _statistics(source)})
    found = {name: _Tensor(program, op) for name, program, op in _ops(graph)}
    # What the network's input goes to, as it is.
    first = _entered(graph)
    chunk = max(1, min(_CHUNK, _MOST_CHUNK_BYTES // (8 * graph.traced())))
    for start in range(0, count, chunk):
        part = {name: one[start : start + chunk] for name, one in values.items()}
        run = simulate(graph, part, trace=True)
        floats = floating.trace(source, _by_door(source, part)) if source else {}
        for prefix, program in graph.programs.items():
            real = _by_op(prefix, program, floats)
            for op in program.ops:
                name = f"{prefix}.{op.name}"
                found[name].add(run.trace[name], real.get(op.name), run.overflows.get(first.get(name, name)))
        if progress:
            progress(min(start + chunk, count), count)
    if source and not any(one.floats for one in found.values()):
        raise FxsimError("no layer of the float network has the name of one of the graph: they are not of one model")
    proofs = {
        f"{prefix}.{name}": proof for prefix, one in graph.programs.items() for name, proof in bounds(one).items()
    }
    boxes = {name: (one.real if one.floats else one.fixed).box for name, one in found.items()}
    weights = list(_weights(graph, source))
    boxes |= {row.tensor: box for row, box in weights}
    return Profile(
        count,
        tuple(one.row(name, proofs[name]) for name, one in found.items()),
        tuple(row for row, _ in weights),
        tuple(_layers(graph, source, values)) if source else (),
        boxes,
        graph.name,
    )


def _statistics(source: Source) -> list[BatchNormalization]:
    return [layer for layer in source.layers if isinstance(layer, BatchNormalization)]


def _by_door(source: Source, values: Mapping[str, Array]) -> Mapping[str, Array]:
    """The values of inputs by the names that the float network gives these, in their order."""
    if len(source.inputs) != len(values):
        raise FxsimError(f"the float network has {len(source.inputs)} inputs, the graph {len(values)}")
    return dict(zip((door.name for door in source.inputs), values.values(), strict=True))


def _entered(graph: Graph) -> dict[str, str]:
    """Input ops that take a network's input as it is, and what the overflows of that are called."""
    keys = {tensor.name: key for tensor, key in zip(graph.inputs, input_keys(graph), strict=True)}
    found = {}
    for node in graph.nodes:
        if node.program is None:
            if node.sources[0] in keys and len(node.sources) == 1:
                keys[node.name] = keys[node.sources[0]]
            continue
        for op, source in zip(node.program.inputs, node.sources, strict=True):
            if source in keys:
                found[f"{node.name}.{op.name}"] = keys[source]
    return found


def _ops(graph: Graph) -> Iterator[tuple[str, Program, Op]]:
    for prefix, program in graph.programs.items():
        for op in program.ops:
            yield f"{prefix}.{op.name}", program, op


def _by_op(prefix: str, program: Program, floats: Mapping[str, Array]) -> dict[str, Array]:
    """Float values of the ops that have a counterpart, and of the parts and casts of these."""
    known: dict[str, Array] = {}
    for op in program.ops:
        given = floats.get(f"{prefix}.{op.name}")
        if given is not None:
            known[op.name] = given
        elif isinstance(op, Slice) and op.arg in known:
            known[op.name] = known[op.arg][..., op.start : op.stop]
        elif isinstance(op, Cast) and op.arg in known:
            known[op.name] = known[op.arg]
    return known


@dataclass
class _Tensor:
    """What is collected of one op."""

    program: Program
    op: Op
    kept: Kept = field(default_factory=Kept)
    fixed: Spread = field(default_factory=Spread)
    real: Spread = field(default_factory=Spread)
    error: Difference = field(default_factory=Difference)
    floats: bool = False
    overflows: int | None = None

    def add(self, raw: IntArray, real: Array | None, overflows: int | None) -> None:
        self.kept.add(raw)
        values = to_float(raw, self.op.type)
        self.fixed.add(values)
        if real is not None:
            if real.shape != values.shape:
                raise FxsimError(
                    f"{self.op.name}: the float network's values have shape {real.shape[1:]}, the graph's "
                    f"{values.shape[1:]}: they are not of one model"
                )
            self.floats = True
            self.real.add(real)
            self.error.add(values, real)
        if overflows is not None:
            self.overflows = (self.overflows or 0) + overflows

    def row(self, name: str, proof: Bounds) -> TensorRow:
        type, real = self.op.type, self.real if self.floats else None
        return TensorRow(
            name,
            self.op.kind,
            self.program.sizes[self.op.name],
            str(type),
            type.min * type.lsb,
            type.max * type.lsb,
            proof.low * type.lsb,
            proof.high * type.lsb,
            self.kept.low * type.lsb,
            self.kept.high * type.lsb,
            real.low if real else None,
            real.high if real else None,
            self.overflows,
            self.error.largest if real else None,
            self.error.rms if real else None,
            self.error.correlation if real else None,
            self.enough(),
            str(proven(proof, type)),
        )

    def enough(self) -> str:
        frac = self.op.type.frac
        if self.floats:
            # What wrapped or saturated, here or above, does not say how large it should be.
            self.kept.widen(math.trunc(math.ldexp(self.real.low, frac)), math.trunc(math.ldexp(self.real.high, frac)))
        elif self.overflows:
            return ""
        return str(self.kept.format(frac))


def proven(proof: Bounds, type: Fixed) -> Fixed:
    """The smallest format on the grid of ``type`` that no input can leave."""
    if not proof.overflows:
        return proof.narrow(type)
    low, high = (round_shift(end, proof.exact_frac - type.frac, type.round) for end in proof.exact)
    return smallest(low, high, type.frac)


def _weights(graph: Graph, source: Source | None) -> Iterator[tuple[WeightRow, Box | None]]:
    trained = _trained(source) if source else {}
    for prefix, program in graph.programs.items():
        for op in program.dots:
            for part, const in (("weights", op.weights), ("bias", op.bias)):
                if const is not None:
                    real = trained.get((prefix, op.name, part))
                    # Both products of a cell may be parts of one matrix.
                    if real is not None:
                        real = real[..., -const.shape[-1] :] if op.name == "uh_h" else real[..., : const.shape[-1]]
                    yield _weight(f"{prefix}.{op.name}.{part}", const, real)


def _trained(source: Source) -> dict[tuple[str, str, str], Array]:
    """Weights of the float network by layer, product and part."""
    found: dict[tuple[str, str, str], Array] = {}

    def take(prefix: str, layer: SourceLayer) -> None:
        for product, matrix, bias in (
            ("wx", "kernel", "bias"),
            ("uh", "recurrent_kernel", "recurrent_bias"),
            ("uh_h", "recurrent_kernel", "recurrent_bias"),
        ):
            for part, name in (("weights", matrix), ("bias", bias)):
                if name in layer.weights:
                    found[prefix, product, part] = layer.weights[name]

    for layer in source.layers:
        take(layer.name, layer)
        if isinstance(layer, Bidirectional):
            for side, one in layer.sides.items():
                take(f"{layer.name}.{side}", one)
    return found


def _weight(name: str, const: Const, real: Array | None) -> tuple[WeightRow, Box | None]:
    type, spread, kept = const.type, Spread(), Kept()
    kept.add(const.data)
    values = to_float(const.data, type)
    spread.add(values if real is None or real.shape != values.shape else real)
    zeros = outside = largest = rms = None
    if real is not None and real.shape == values.shape:
        error = Difference()
        error.add(values, real)
        largest, rms = error.largest, error.rms
        zeros = int(((values == 0) & (real != 0)).sum())
        outside = int(((real <= (type.min - 1) * type.lsb) | (real >= (type.max + 1) * type.lsb)).sum())
    row = WeightRow(
        name,
        const.data.size,
        str(type),
        type.min * type.lsb,
        type.max * type.lsb,
        kept.low * type.lsb,
        kept.high * type.lsb,
        None if largest is None else spread.low,
        None if largest is None else spread.high,
        zeros,
        outside,
        largest,
        rms,
        str(kept.format(type.frac)),
    )
    return row, spread.box


def _layers(graph: Graph, source: Source, x: Mapping[str, Array]) -> Iterator[LayerRow]:
    """Each layer of the source that the graph has too, both cut off behind it."""
    for layer, want in floating.layers(source, _by_door(source, x)):
        name = layer.name
        if isinstance(layer, Bidirectional) and f"{name}_{layer.merge_mode}" in graph.by_name:
            # The merge of its directions is a layer of its own behind it.
            name = f"{name}_{layer.merge_mode}"
        if name not in graph.by_name:
            continue
        fixed = graph.until(name)
        got = fixed.predict({tensor.name: x[tensor.name] for tensor in fixed.inputs}, warn=False)
        error = Difference()
        error.add(got, want)
        yield LayerRow(
            layer.name,
            str(fixed.output),
            float(want.min()),
            float(want.max()),
            float(got.min()),
            float(got.max()),
            error.largest,
            error.rms,
            error.correlation,
        )
