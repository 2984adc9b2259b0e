# SPDX-License-Identifier: Apache-2.0
"""Accuracy, AUC and error of a network against the formats it is given."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import floating, metrics
from .errors import FxsimError, show
from .exact_formats import Formats
from .fixed import Fixed
from .importers.source import Source
from .quantization import DEFAULT, PRESETS, check_layers, check_table_size, quantize
from .records import ScanRow, digest_arrays, digest_source, record

Progress = Callable[[int, int], None]
Measure = Callable[["Task", Sequence["Job"]], Iterator[ScanRow]]
#: The preset that stands for all of them, side by side.
BOTH = "both"
#: Share of float's AUC that a format is to hold where nothing else is asked for.
HOLD = 0.99


@dataclass(frozen=True)
class Job:
    """One row to find: a format for some layers, or with none for the whole network."""

    preset: str
    layers: tuple[str, ...]
    width: int
    integer: int
    precision: str


@dataclass(frozen=True)
class Task:
    """What all rows of a scan share: the network, the batch, its classes if there are labels, float's outputs.

    ``precision`` is that of layers which are not varied; ``table_size`` as for :func:`fxsim.quantize`.
    """

    source: Source
    x: NDArray[Any]
    truth: metrics.Classes | None
    want: metrics.Array
    precision: str
    table_size: int | None = None

    @cached_property
    def best(self) -> float | None:
        """Float's own AUC."""
        return None if self.truth is None else metrics.mean_auc(metrics.class_aucs(self.want, self.truth))

    def row(self, job: Job | None, got: metrics.Array) -> ScanRow:
        """The row of a job's outputs; float's own without a job."""
        error = np.abs(got - self.want)
        right = area = ratio = None
        areas: tuple[float | None, ...] = ()
        if self.truth is not None:
            right = metrics.accuracy(got, self.truth)
            areas = metrics.class_aucs(got, self.truth)
            area = metrics.mean_auc(areas)
            ratio = area / self.best if area is not None and self.best else None
        return ScanRow(
            job.preset if job else "float",
            ",".join(job.layers) if job else "",
            job.width if job else None,
            job.integer if job else None,
            job.precision if job else "float",
            right,
            area,
            ratio,
            areas,
            float(error.max()),
            float(error.mean()),
        )

    def outputs(
        self, preset: str, layers: tuple[str, ...], precision: str, threads: int | None = None
    ) -> metrics.Array:
        """Outputs (batch, *output shape) with a precision for some layers, or for all."""
        from .simulation import predict  # late: it brings a compiler

        own = dict.fromkeys(layers, precision)
        base = self.precision if own else precision
        graph = quantize(self.source, precision=base, preset=preset, layers=own, table_size=self.table_size)
        return predict(graph, self.x, threads=threads, warn=False)  # narrow formats are what a scan tries

    def measure(self, job: Job, threads: int | None = None) -> ScanRow:
        """The row of a job; raises ``FxsimError`` that begins with the format where the network cannot have it."""
        try:
            return self.row(job, self.outputs(job.preset, job.layers, job.precision, threads))
        except FxsimError as error:
            raise FxsimError(f"{job.preset}, {job.precision}: {error}") from None


def make_task(
    source: Source, x: ArrayLike, labels: ArrayLike | None, precision: str = DEFAULT, table_size: int | None = None
) -> Task:
    """Check the batch and its labels, and run it in float; raises ``FxsimError`` for what does not fit."""
    values = np.asarray(x)
    if values.dtype.kind not in "fiub":
        raise FxsimError(f"input must be numbers, not {values.dtype}")
    if not values.size:
        raise FxsimError("a scan needs at least one sequence")
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        where = tuple(map(int, bad[0]))
        raise FxsimError(f"input value at {where} is {values[where]}; every value must be finite")
    want = floating.predict(source, values)
    truth = None if labels is None else metrics.classes(np.asarray(labels), want)
    return Task(source, values, truth, want, precision, table_size)


def make_jobs(
    source: Source,
    widths: Iterable[int],
    *,
    precision: str = DEFAULT,
    integers: Iterable[int] | None = None,
    preset: str | None = None,
    layers: Iterable[str] = (),
    table_size: int | None = None,
) -> list[Job]:
    """Every combination, as for :func:`scan`; raises ``FxsimError`` for one that no network can have."""
    if preset not in (None, *PRESETS, BOTH):
        raise FxsimError(f"preset must be one of {', '.join((*PRESETS, BOTH))}, not {show(preset)}")
    presets = PRESETS if preset == BOTH else (preset or PRESETS[0],)
    if table_size is not None:
        for name in presets:
            check_table_size(table_size, name)
    groups = [tuple(group.split(",")) for group in layers] or [()]
    for group in groups:
        check_layers(source, group)
    bits = [Fixed.parse(precision).integer] if integers is None else list(dict.fromkeys(integers))
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


def scan(
    source: Source,
    x: ArrayLike,
    labels: ArrayLike | None,
    widths: Iterable[int],
    *,
    precision: str = DEFAULT,
    integers: Iterable[int] | None = None,
    preset: str | None = None,
    layers: Iterable[str] = (),
    table_size: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    dask: str | None = None,
    progress: Progress | None = None,
) -> list[ScanRow]:
    """Float first, then a row for each preset, layer, number of integer bits and width.

    Parameters
    ----------
    x, labels
        A batch (batch, *source.shape), and perhaps its classes: (batch,) integers, 0 and 1 for one output; or (batch,
        outputs) one-hot. AUC of several classes: the mean over the classes, each against the rest; those of each class
        stand in ``ScanRow.class_aucs``.
    widths, integers
        They take the place of the bits of ``precision``, whose modes stay; without ``integers`` its integer bits do.
    preset : {"exact", "hls4ml", "both"}
        Rules for the formats inside; "both" puts the presets side by side.
    layers
        Names of layers, each of which gets the formats alone while all others keep ``precision``; names joined by
        commas get them together. Empty: the whole network gets them.
    table_size : int, optional
        Entries of every function table, as for :func:`fxsim.quantize`.
    folder : path, optional
        Where each row is kept as it is done, in ``scan.json``. What is there already is not computed again.
    dask : str, optional
        Address of a Dask scheduler whose workers compute the rows, the same as without.
    progress : callable, optional
        Called with rows done and rows in all.

    Raises
    ------
    FxsimError
        The labels do not fit, a format is not legal, a layer is not there, ``folder`` holds the scan of another model,
        data or options, or the cluster cannot be reached.
    """
    widths, integers, layers = list(widths), None if integers is None else list(integers), list(layers)
    shared: dict[str, Any] = {"precision": precision, "table_size": table_size}
    jobs = make_jobs(source, widths, integers=integers, preset=preset, layers=layers, **shared)
    task = make_task(source, x, labels, **shared)
    return run(task, jobs, labels, folder=folder, dask=dask, progress=progress)


def run(
    task: Task,
    jobs: Sequence[Job],
    labels: ArrayLike | None,
    *,
    folder: str | os.PathLike[str] | None = None,
    dask: str | None = None,
    progress: Progress | None = None,
) -> list[ScanRow]:
    """The rows of some jobs, float's in front; options as for :func:`scan`."""
    reference = task.row(None, task.want)
    with _measurer(dask) as measure:
        if folder is None:
            found = list(_measure(measure, task, jobs, [], progress))
            return [reference, *_ordered(jobs, found)]
        with record(os.fspath(folder), _facts(task, jobs, labels)) as kept:
            if not kept.rows:
                kept.rows.append(reference)  # and written with the first row that is found
            for row in _measure(measure, task, jobs, kept.rows[1:], progress):
                kept.add(row)
            rows = [reference, *_ordered(jobs, kept.rows[1:])]
            kept.write(rows)
            return rows


@contextmanager
def _measurer(dask: str | None) -> Iterator[Measure]:
    """What gives the rows of jobs: this machine, with all its processors for one after the other, or a cluster."""
    if dask is None:
        yield lambda task, jobs: map(task.measure, jobs)
        return
    from .clusters import connect

    with connect(dask) as measure:
        yield measure


def _facts(task: Task, jobs: Sequence[Job], labels: ArrayLike | None) -> dict[str, Any]:
    from . import __version__

    def each(name: str) -> list[Any]:
        return list(dict.fromkeys(getattr(job, name) for job in jobs))

    return {
        "fxsim": __version__,
        "model": digest_source(task.source),
        "data": digest_arrays(task.x, None if labels is None else np.asarray(labels)),
        "precision": task.precision,
        "table_size": task.table_size,
        "preset": each("preset"),
        "layer": [",".join(group) for group in each("layers")],
        "width": each("width"),
        "integer": each("integer"),
    }


def _key(row: ScanRow | Job) -> tuple[str, str, str]:
    return row.preset, row.layers if isinstance(row, ScanRow) else ",".join(row.layers), row.precision


def _ordered(jobs: Sequence[Job], rows: Sequence[ScanRow]) -> list[ScanRow]:
    found = {_key(row): row for row in rows}
    return [found[_key(job)] for job in jobs]


def _measure(
    measure: Measure, task: Task, jobs: Sequence[Job], done: Sequence[ScanRow], progress: Progress | None
) -> Iterator[ScanRow]:
    """The rows that are not done yet, in whatever order they come."""
    known = {_key(row) for row in done}
    left = [job for job in jobs if _key(job) not in known]
    count = len(jobs) - len(left)
    if progress:
        progress(count, len(jobs))
    for row in measure(task, left):
        count += 1
        yield row
        if progress:
            progress(count, len(jobs))


def held(rows: Sequence[ScanRow], ratio: float) -> list[ScanRow]:
    """For each preset and layer of a scan the narrowest row whose AUC is at least ``ratio`` times that of float.

    Of several equally narrow ones it is the best. Those that none holds are left out. Raises ``FxsimError`` for a
    ratio outside 0 to 2, or rows without an AUC.
    """
    if not 0 < ratio <= 2:
        raise FxsimError(f"the ratio to hold must be above 0 and at most 2, not {ratio}")
    if not rows[0].auc:
        raise FxsimError("a ratio can be held only with labels y, of more than one class")
    found: dict[tuple[str, str], ScanRow] = {}
    for row in rows[1:]:
        assert row.width is not None and row.auc_ratio is not None
        best = found.get((row.preset, row.layers))
        order = (row.width, -row.auc_ratio)
        if row.auc_ratio >= ratio and (best is None or order < (best.width, -(best.auc_ratio or 0.0))):
            found[row.preset, row.layers] = row
    return list(found.values())
