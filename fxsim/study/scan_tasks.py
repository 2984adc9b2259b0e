# SPDX-License-Identifier: Apache-2.0
"""What a scan has to find: a job for each row, and the task that all of them share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import arguments
from ..errors import FxsimError, show
from ..importers.source import Source
from ..program.fixed import Fixed
from ..program.graph import Graph
from ..quantization.exact_formats import Formats
from ..quantization.presets import DEFAULT, PRESETS, check_layers, check_sums, check_table_size, quantize
from ..system.forks import cached_property
from . import floating, metrics
from .scan_file import ScanRow

#: The preset that stands for all of them, side by side.
BOTH = "both"


@dataclass(frozen=True)
class Job:
    """One row to find: a format for some layers, or with none for the whole network."""

    preset: str
    layers: tuple[str, ...]
    width: int | None
    integer: int | None
    precision: str


#: The row that others are held against, and the preset of a graph's row.
FLOAT, GRAPH = Job("float", (), None, None, "float"), "graph"


@dataclass(frozen=True)
class Task:
    """What all rows of a scan share: the network, the batch, its labels if there are any, float's outputs.

    ``truth``: labels that are classes; ``target``: those that are real numbers, (batch, *output shape). ``precision``
    is that of layers which are not varied; ``table_size`` and ``sums`` as for :func:`fxsim.quantize`.
    """

    source: Source
    x: NDArray[Any]
    truth: metrics.Classes | None
    want: metrics.Array
    precision: str
    table_size: int | None = None
    sums: str | None = None
    target: metrics.Array | None = None

    @cached_property
    def best(self) -> float | None:
        """Float's own AUC or R²."""
        if self.target is not None:
            return metrics.r2(self.want, self.target)
        return None if self.truth is None else metrics.mean_auc(metrics.class_aucs(self.want, self.truth))

    def row(self, job: Job | None, got: metrics.Array) -> ScanRow:
        """The row of a job's outputs; float's own without a job."""
        job = job or FLOAT
        error = np.abs(got - self.want)
        row = ScanRow(
            job.preset,
            ",".join(job.layers),
            job.width,
            job.integer,
            job.precision,
            None,
            None,
            None,
            (),
            float(error.max()),
            float(error.mean()),
        )
        if self.target is not None:
            r2, missed = metrics.r2(got, self.target), np.abs(got - self.target)
            return replace(
                row,
                r2=r2,
                r2_ratio=self._ratio(r2),
                label_largest_error=float(missed.max()),
                label_mean_error=float(missed.mean()),
            )
        if self.truth is None:
            return row
        areas = metrics.class_aucs(got, self.truth)
        area, right = metrics.mean_auc(areas), metrics.accuracy(got, self.truth)
        return replace(row, accuracy=right, auc=area, auc_ratio=self._ratio(area), class_aucs=areas)

    def _ratio(self, score: float | None) -> float | None:
        return score / self.best if score is not None and self.best is not None and self.best > 0 else None

    def of_graph(self, graph: Graph) -> ScanRow:
        """The row of a graph as it is; raises ``FxsimError`` where it does not take the batch."""
        got = graph.predict(self.x, warn=False)
        if got.shape != self.want.shape:
            shapes = f"{got.shape}, the float network {self.want.shape}"
            raise FxsimError(f"the graph gives outputs of shape {shapes}: they are not of one model")
        return self.row(Job(GRAPH, (), None, None, str(graph.input)), got)

    def outputs(
        self, preset: str, layers: tuple[str, ...], precision: str, threads: int | None = None
    ) -> metrics.Array:
        """Outputs (batch, *output shape) with a precision for some layers, or for all."""
        from ..simulator.run import predict  # late: it brings a compiler

        own = dict.fromkeys(layers, precision)
        base = self.precision if own else precision
        graph = quantize(
            self.source, precision=base, preset=preset, layers=own, table_size=self.table_size, sums=self.sums
        )
        found: metrics.Array = predict(graph, self.x, threads=threads, warn=False)  # narrow formats are what it tries
        return found

    def measure(self, job: Job, threads: int | None = None) -> ScanRow:
        """The row of a job; raises ``FxsimError`` that begins with the format where the network cannot have it."""
        try:
            return self.row(job, self.outputs(job.preset, job.layers, job.precision, threads))
        except FxsimError as error:
            raise FxsimError(f"{job.preset}, {job.precision}: {error}") from None


def make_task(
    source: Source,
    x: ArrayLike,
    labels: ArrayLike | None,
    precision: str = DEFAULT,
    table_size: int | None = None,
    sums: str | None = None,
    regression: bool | None = None,
) -> Task:
    """Check the batch and its labels, and run it in float; raises ``FxsimError`` for what does not fit.

    ``regression`` as for :func:`scan`.
    """
    for what, names in (("input", [door.name for door in source.inputs]), ("output", source.outputs)):
        if len(names) != 1:
            raise FxsimError(
                f"a scan needs a network of one {what}, not of {len(names)}: {', '.join(map(repr, names))}"
            )
    values = arguments.array(x, "input")
    if not values.size:
        raise FxsimError("a scan needs at least one sequence")
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        where = tuple(map(int, bad[0]))
        raise FxsimError(f"input value at {where} is {values[where]}; every value must be finite")
    want = floating.predict(source, values)
    size = None if table_size is None else arguments.integer(table_size, "table_size", 1)
    if labels is None:
        if regression is not None:
            raise FxsimError("regression must be left out without labels y")
        return Task(source, values, None, want, precision, size, sums)
    y = arguments.array(labels, "labels y")
    if metrics.are_real(y, want) if regression is None else regression:
        return Task(source, values, None, want, precision, size, sums, metrics.targets(y, want))
    return Task(source, values, metrics.classes(y, want), want, precision, size, sums)


def make_jobs(
    source: Source,
    widths: Iterable[int],
    *,
    precision: str = DEFAULT,
    integers: Iterable[int] | None = None,
    preset: str | None = None,
    layers: Iterable[str] = (),
    table_size: int | None = None,
    sums: str | None = None,
) -> list[Job]:
    """Every combination, as for :func:`scan`; raises ``FxsimError`` for one that no network can have."""
    if preset not in (None, *PRESETS, BOTH):
        raise FxsimError(f"preset must be one of {', '.join((*PRESETS, BOTH))}, not {show(preset)}")
    presets = PRESETS if preset == BOTH else (preset or PRESETS[0],)
    if table_size is not None:
        for name in presets:
            check_table_size(table_size, name)
    for name in presets:
        check_sums(sums, name)
    groups = [tuple(group.split(",")) for group in layers] or [()]
    for group in groups:
        check_layers(source, group)
    bits = [Fixed.parse(precision).integer]
    if integers is not None:
        bits = list(dict.fromkeys(arguments.integer(bit, "integer bits") for bit in integers))
    widths = [arguments.integer(width, "width") for width in widths]
    jobs = []
    for integer in bits:
        for width in dict.fromkeys(widths):
            text = with_bits(precision, width, None if integers is None else integer)
            for name in presets:
                if name == "exact":
                    Formats.of(text)
                jobs += [Job(name, group, width, integer, text) for group in groups]
    if not jobs:
        raise FxsimError("a scan needs at least one width and one number of integer bits")
    return sorted(jobs, key=lambda job: (presets.index(job.preset), groups.index(job.layers)))


def with_bits(precision: str, width: int, integer: int | None) -> str:
    """A precision with another width and, unless None, other integer bits; its modes stay as they are written."""
    Fixed.parse(precision)
    head, inside, tail = re.split(r"[<>]", precision, maxsplit=2)
    fields = [field.strip() for field in inside.split(",")]
    if integer is not None:
        if len(fields) < 2:
            raise FxsimError(f"precision must be like ap_fixed<W,I> where integer bits vary, not {show(precision)}")
        fields[1] = str(integer)
    text = f"{head}<{','.join((str(width), *fields[1:]))}>{tail}"
    Fixed.parse(text)
    return text
