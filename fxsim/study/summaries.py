# SPDX-License-Identifier: Apache-2.0
"""What there is to say of a network and of a profile, as listings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import FxsimError
from ..pages.listing import Column, Listing, Summary, of_records, pairs
from ..pages.table_files import dimensions
from ..program.graph import Graph, Tensor
from ..program.ops import Lookup
from ..program.program import Program
from ..program.ranges import bounds
from ..quantization.exact_tables import table_report
from .box_plots import HIDDEN
from .profiles import Profile

if TYPE_CHECKING:
    from testbenches import CheckReport

_LAYERS = (
    Column("layer", left=True), Column("kind", left=True, rank=1), Column("result", left=True, rank=2),
    Column("format", left=True), Column("parameters", rank=3),
)  # fmt: skip
_TENSORS = (
    Column("tensor", left=True), Column("op", left=True, rank=4), Column("elements", rank=3),
    Column("format", left=True), Column("smallest", rank=1), Column("largest", rank=1), Column("can_overflow", rank=2),
)  # fmt: skip
_TABLES = (
    Column("tensor", left=True), Column("function", left=True), Column("entries", rank=1), Column("step", rank=3),
    Column("from", rank=4), Column("to", rank=4), Column("values", left=True, rank=5), Column("largest_error", rank=2),
)  # fmt: skip
_FLOAT = (Column("float_low", "float from", rank=6), Column("float_high", "float to", rank=6))
_SEEN = (Column("seen_low", "fixed from", rank=5), Column("seen_high", "fixed to", rank=5))
_ERRORS = (Column("largest_error", rank=3), Column("rms_error", rank=7))
_ENOUGH = (Column("tensor", left=True), Column("format", left=True))
_VALUES = (
    *_ENOUGH, *_FLOAT, *_SEEN, Column("overflows", rank=1), *_ERRORS, Column("correlation", rank=4),
    Column("enough", "enough here", left=True, rank=2), Column("proven", left=True, rank=8),
)  # fmt: skip
_WEIGHTS = (
    Column("tensor", "weights", left=True), Column("format", left=True), *_FLOAT, *_SEEN,
    Column("zeros", "to zero", rank=4), Column("outside", rank=1), *_ERRORS, Column("enough", left=True, rank=2),
)  # fmt: skip
_RESULTS = (
    Column("layer", left=True), Column("format", left=True, rank=4), *_FLOAT, Column("fixed_low", "fixed from", rank=5),
    Column("fixed_high", "fixed to", rank=5), Column("largest_error"), Column("rms_error", rank=1),
    Column("correlation", rank=2),
)  # fmt: skip


def heading(graph: Graph) -> str:
    """A network in a line."""
    return repr(graph).removeprefix("Graph ")


def facts(graph: Graph) -> dict[str, object]:
    """A network's name, shapes, formats, size and digest."""
    return {
        "name": graph.name,
        **(_door("input", graph.inputs) | _door("output", graph.results)),
        "parameters": graph.parameters,
        "digest": graph.digest,
    }


def _door(side: str, tensors: Sequence[Tensor]) -> dict[str, object]:
    """Shape and format of the only input or output, or those of several by their names."""
    if len(tensors) == 1:
        return {f"{side}_shape": tensors[0].shape, side: str(tensors[0].type)}
    return {f"{side}s": {one.name: f"{dimensions(one.shape)}, {one.type}" for one in tensors}}


def layers(graph: Graph) -> Listing:
    """The layers of a network."""
    rows = []
    for node in graph.nodes:
        result, parameters = graph.tensors[node.name], node.program.parameters if node.program else 0
        rows.append((node.name, node.kind, dimensions(result.shape), str(result.type), parameters))
    return Listing("layers", "Layers", _LAYERS, rows)


def brief(graph: Graph) -> Summary:
    """The layers alone."""
    return Summary(heading(graph), {"network": facts(graph)}, [layers(graph)])


def network(graph: Graph) -> Summary:
    """Layers, tensors with proven ranges, and tables."""
    programs = list(graph.programs.items())
    found = [
        layers(graph),
        Listing(
            "tensors", "Tensors, with proven ranges", _TENSORS, [row for one in programs for row in _tensors(*one)]
        ),
    ]
    tables: list[Sequence[object]] = [row for one in programs for row in _tables(*one)]
    if tables:
        errors: list[float | None] = [None] * len(tables)
        with suppress(FxsimError):  # hls4ml's tables: their errors are what hls4ml's are
            errors = [one.error for one in table_report(graph)]
        rows = [(*row, error) for row, error in zip(tables, errors, strict=True)]
        found.append(Listing("tables", "Tables", _TABLES, rows))
    return Summary(f"{heading(graph)}\ndigest {graph.digest}", {"network": facts(graph)}, found)


def _tensors(prefix: str, program: Program) -> Iterator[Sequence[object]]:
    for name, found in bounds(program).items():
        op = program[name]
        low, high = found.low * op.type.lsb, found.high * op.type.lsb
        yield f"{prefix}.{name}", op.kind, program.sizes[name], str(op.type), low, high, found.overflows


def _tables(prefix: str, program: Program) -> Iterator[Sequence[object]]:
    for op in program.ops:
        if isinstance(op, Lookup):
            table, step = op.table, 2.0**-op.table.frac / op.table.scale
            ends = (step, table.first * step, table.last * step)
            yield f"{prefix}.{op.name}", table.name, len(table.values.data), *ends, str(table.values.type)


def profile(found: Profile) -> Summary:
    """Values by tensor, weights, and results against float where that is known; the screen leaves inner parts out."""
    values = of_records("tensors", f"Values of {found.sequences} sequences", _VALUES, found.tensors)
    inner = frozenset(n for n, row in enumerate(found.tensors) if row.kind in HIDDEN)
    listings = [
        replace(values, minor=inner),
        of_records("weights", "Weights", _WEIGHTS, found.weights),
    ]
    if found.layers:
        listings.append(of_records("layers", "Results against float", _RESULTS, found.layers))
    facts = {"name": found.name, "sequences": found.sequences}
    return Summary(repr(found), {"profile": facts}, listings)


#: The native runs of a check, in order.
_RUNS = ("at full rate", "with stalls", "with wrong TLAST and resets")


def check(found: CheckReport, simulator: str) -> Listing:
    """What a check that passed has compared."""
    rows: list[Sequence[object]] = []
    if found.measured is not None and found.predicted is not None:
        rows += [(f"sequences {name}", count) for name, count in zip(_RUNS, found.runs, strict=False)]
        rows += [("values compared", found.values), ("different", found.differences), ("clock cycles", found.cycles)]
        if found.inner:
            rows.append(("results of inner operations compared", found.inner))
        if found.events:
            rows.append(("events of buffers, all seen", found.events))
        for name in ("latency", "latency_after_last", "interval"):
            measured, predicted = getattr(found.measured, name), getattr(found.predicted, name)
            told = f"{predicted}, not measured" if measured is None else f"{predicted} = {measured}"
            rows.append((f"{name.replace('_', ' ')}, predicted = measured", told))
    tests = (f"cocotb tests passed ({simulator})", len(found.tests))
    rows.append(tests if found.tests else ("cocotb tests", "not run"))
    return pairs("check", f"{found.top}: the Verilog agrees", rows)
