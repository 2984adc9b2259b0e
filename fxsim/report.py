# SPDX-License-Identifier: Apache-2.0
"""What a batch does to a network's formats: ranges, overflows, and the error against float, tensor by tensor."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import floating
from .errors import FxsimError
from .graph import Graph
from .importers.source import Source
from .ranges import bounds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Sequences whose traces are held at once.
_CHUNK = 256


@dataclass(frozen=True)
class TensorRow:
    """One op: its format, what no input can leave (``can``), what the batch reached (``seen``), overflows counted."""

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
    overflows: int | None


@dataclass(frozen=True)
class LayerRow:
    """One layer's result against the float network's: ranges, largest and root mean square error."""

    layer: str
    format: str
    float_low: float
    float_high: float
    fixed_low: float
    fixed_high: float
    largest_error: float
    rms_error: float


@dataclass(frozen=True)
class Profile:
    """Rows by op, and by layer where the float network is known."""

    sequences: int
    tensors: tuple[TensorRow, ...]
    layers: tuple[LayerRow, ...]


def profile(
    graph: Graph, x: ArrayLike, source: Source | None = None, progress: Callable[[int, int], None] | None = None
) -> Profile:
    """Run a batch (batch, *graph.shape) and collect its ranges, overflows and, with ``source``, errors.

    Raises ``FxsimError`` for a batch that is empty or does not fit.
    """
    from .simulation import simulate  # late: it brings a compiler

    values = np.asarray(x)
    if not values.ndim or not len(values):
        raise FxsimError("profile needs at least one sequence")
    low: dict[str, int] = {}
    high: dict[str, int] = {}
    counts: dict[str, int] = {}
    for start in range(0, len(values), _CHUNK):
        run = simulate(graph, values[start : start + _CHUNK], trace=True)
        for name, trace in run.trace.items():
            low[name] = min(low.get(name, int(trace.min())), int(trace.min()))
            high[name] = max(high.get(name, int(trace.max())), int(trace.max()))
        for name, count in run.overflows.items():
            counts[name] = counts.get(name, 0) + count
        if progress:
            progress(min(start + _CHUNK, len(values)), len(values))
    tensors = tuple(_tensors(graph, low, high, counts))
    return Profile(len(values), tensors, tuple(_layers(graph, source, values)) if source else ())


def _tensors(graph: Graph, low: dict[str, int], high: dict[str, int], counts: dict[str, int]) -> Iterator[TensorRow]:
    for layer in graph.layers:
        for prefix, program in layer.programs.items():
            proven = bounds(program)
            for op in program.ops:
                name, lsb = f"{prefix}.{op.name}", op.type.lsb
                yield TensorRow(
                    name,
                    op.kind,
                    program.sizes[op.name],
                    str(op.type),
                    op.type.min * lsb,
                    op.type.max * lsb,
                    proven[op.name].low * lsb,
                    proven[op.name].high * lsb,
                    low[name] * lsb,
                    high[name] * lsb,
                    counts.get(name),
                )


def _layers(graph: Graph, source: Source, x: NDArray[Any]) -> Iterator[LayerRow]:
    """Each layer of the source that the graph has too, both cut off behind it."""
    places = {layer.name: index for index, layer in enumerate(graph.layers)}
    for index, layer in enumerate(source.layers):
        # The merge of a Bidirectional's directions is a layer of its own behind it.
        merged = f"{layer.name}_{layer.options.get('merge_mode')}"
        place = places.get(merged, places.get(layer.name))
        if place is None:
            continue
        fixed = replace(graph, layers=graph.layers[: place + 1])
        want = floating.predict(replace(source, layers=source.layers[: index + 1]), x)
        got = fixed.predict(x)
        error = np.abs(got - want)
        yield LayerRow(
            layer.name,
            str(fixed.output),
            float(want.min()),
            float(want.max()),
            float(got.min()),
            float(got.max()),
            float(error.max()),
            float(np.sqrt(np.mean(error**2))),
        )


def to_csv(rows: Sequence[Any]) -> bytes:
    """Rows of one dataclass as CSV with a header."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if rows:
        writer.writerow([field.name for field in fields(rows[0])])
        writer.writerows(asdict(row).values() for row in rows)
    return text.getvalue().encode()


def short(values: Iterable[object]) -> list[str]:
    """Cells of a table: numbers with few digits, nothing for None."""
    return ["" if v is None else f"{v:.5g}" if isinstance(v, float) else str(v) for v in values]


def figure(width: float, height: float) -> Figure:
    """An empty figure that needs no display; raises ``FxsimError`` if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise FxsimError('matplotlib is not installed; plots need: pip install "fxsim[plots]"') from None
    return Figure(figsize=(width, height), layout="constrained")


def png(picture: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def plot(found: Profile, picture: Figure) -> None:
    """Draw a profile: the range of each tensor's format, and within it what the batch reached and what could be."""
    rows = [row for row in found.tensors if row.kind != "constant"]
    axes = picture.add_subplot()
    for y, row in enumerate(reversed(rows)):
        for low, high, height, color in (
            (row.format_low, row.format_high, 0.8, "#dddddd"),
            (row.can_low, row.can_high, 0.5, "#9ecae1"),
            (row.seen_low, row.seen_high, 0.25, "#d62728" if row.overflows else "#08519c"),
        ):
            axes.barh(y, high - low, left=low, height=height, color=color)
    axes.set_yticks(range(len(rows)), [row.tensor for row in reversed(rows)], fontsize=7)
    axes.set_xscale("symlog", linthresh=2.0**-4, base=2)
    axes.set_xlabel("value; grey: format, light: possible, dark: reached (red: with overflow)")
