# SPDX-License-Identifier: Apache-2.0
"""Accuracy, AUC, R² and error of a network against the formats it is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .. import arguments
from ..errors import FxsimError
from ..importers.source import Source
from ..pages.listing import Summary
from ..program.graph import Graph
from ..quantization.presets import DEFAULT
from .scan_file import ScanRow, digest_arrays, digest_source, record
from .scan_tasks import Job, Task, make_jobs, make_task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Progress = Callable[[int, int], None]
Measure = Callable[[Task, Sequence[Job]], Iterator[ScanRow]]
#: Share of float's AUC or R² that a format is to hold where nothing else is asked for.
HOLD = 0.99
#: What :meth:`Scan.plot` draws.
PLOTS = ("ratio", "errors", "roc")


class Scan(list[ScanRow]):
    """The rows of a scan, float's in front, and what they are of.

    A list of :class:`ScanRow` with pictures and a page beside it. ``task``: the network, the batch and its labels.
    """

    def __init__(self, rows: Iterable[ScanRow], task: Task) -> None:
        super().__init__(rows)
        self.task = task

    @property
    def formats(self) -> list[ScanRow]:
        """The rows of formats: all but float's, and that of a graph."""
        return [row for row in self if row.width is not None]

    def held(self, ratio: float = HOLD) -> list[ScanRow]:
        """For each preset and layer the narrowest format whose AUC (or R²) is at least ``ratio`` times float's.

        Of several equally narrow ones it is the best. Those that none holds are left out. Raises ``FxsimError`` for a
        ratio outside 0 to 2, or without labels.
        """
        return held(self, ratio)

    def plot(self, what: str | None = None, *, hold: float | None = None) -> Figure:
        """A picture, which notebooks show: "ratio" (AUC or R² over float's against bits), "errors" or "roc".

        ``ratio`` by default, and ``errors`` without labels. ``hold``: the share of float's AUC or R² that is drawn as
        a line, with the formats that hold it; 0.99 by default. Raises ``FxsimError`` for what the scan does not have.
        """
        from . import scan_plots

        labelled = bool(self[0].ratio)
        what = what or ("ratio" if labelled else "errors")
        if what not in PLOTS:
            raise FxsimError(f"a scan plots {', '.join(PLOTS)}, not {what!r}")
        if what == "errors":
            return scan_plots.error_figure(self)
        if not labelled:
            raise FxsimError(f"{what} needs labels y, of more than one class or varying")
        picked = self.held(HOLD if hold is None else hold)
        if what == "ratio":
            return scan_plots.ratio_figure(self, HOLD if hold is None else hold, picked)
        if self.task.truth is None:
            raise FxsimError("roc needs labels y that are classes")
        return scan_plots.roc_figure(self.task.truth, self.task.want, self._outputs(picked))

    def _outputs(self, picked: Sequence[ScanRow]) -> dict[str, Any]:
        """Outputs of the formats that were picked; where there are none, of the best; by what they are."""
        chosen = picked or ([max(self.formats, key=lambda row: row.ratio or 0.0)] if self.formats else [])
        outputs = {}
        for row in chosen:
            layers = tuple(row.layers.split(",")) if row.layers else ()
            name = f"{row.preset}, {row.precision}{f' for {row.layers}' if row.layers else ''}"
            outputs[name] = self.task.outputs(row.preset, layers, row.precision)
        return outputs

    def page(self, hold: float | None = None) -> str:
        """``report.html`` as text: verdicts, pictures, every row."""
        return self.files(hold)["report.html"].decode()

    def files(self, hold: float | None = None, draws: bool = True) -> dict[str, bytes]:
        """What the command line writes beside ``scan.json``: rows, pictures (if ``draws``) and the page."""
        from ..pages import table_files
        from . import scan_page, scan_plots

        hold = self.share(hold)
        picked = [] if hold is None else self.held(hold)
        figures = {}
        if draws and self.formats:
            figures["errors.png"] = scan_plots.error_figure(self)
            if hold is not None:
                figures["scan.png"] = self.plot("ratio", hold=hold)
        if draws and hold is not None and self.task.truth is not None and self.formats:
            figures["roc.png"] = self.plot("roc", hold=hold)
        pictures = {name: table_files.png(one) for name, one in figures.items()}
        page = scan_page.report(self.task.source.name, len(self.task.x), self, hold, picked, pictures)
        return {"scan.csv": table_files.to_csv(self), **pictures, "report.html": page.encode()}

    def share(self, hold: float | None) -> float | None:
        """The share to hold: as given, or 0.99 where there are labels. Raises ``FxsimError`` where it cannot be."""
        if hold is None and not self[0].ratio:
            return None
        hold = HOLD if hold is None else hold
        held(self[:1], hold)
        return hold

    def save(self, folder: str | os.PathLike[str], hold: float | None = None) -> list[str]:
        """Write rows, pictures and page into a folder; returns the names of the files."""
        from ..files.arrays import write_files

        return write_files(folder, self.files(hold))

    def summary(self) -> Summary:
        """All rows as a table, for people, notebooks and programs."""
        from . import scan_page

        facts = {"name": self.task.source.name, "sequences": len(self.task.x), "precision": self.task.precision}
        return Summary(repr(self), {"scan": facts}, [scan_page.listing(self)])

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, as ``fxsim scan --json`` prints it."""
        return self.summary().to_dict()

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def __repr__(self) -> str:
        name, first = self.task.source.name, self[0]
        known = {"accuracy": first.accuracy, "AUC": first.auc, "R²": first.r2}
        scores = ", ".join(f"{name} {value:.5g}" for name, value in known.items() if value is not None)
        count = len(self.formats)
        return f"Scan of {name}: {count} format{'s' * (count != 1)}, {len(self.task.x)} sequences" + (
            f"; float: {scores}" if scores else ""
        )


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
    sums: str | None = None,
    regression: bool | None = None,
    graph: Graph | None = None,
    folder: str | os.PathLike[str] | None = None,
    dask: str | None = None,
    progress: Progress | None = None,
) -> Scan:
    """Float first, then a row for each preset, layer, number of integer bits and width.

    Parameters
    ----------
    x, labels
        A batch (batch, *source.shape), and perhaps labels. Classes: (batch,) integers, 0 and 1 for one output; or
        (batch, outputs) one-hot. AUC of several classes: the mean over the classes, each against the rest; those of
        each class stand in ``ScanRow.class_aucs``. Real numbers: (batch, *output shape), or (batch,) for one output,
        to which R² and errors are found.
    widths, integers
        They take the place of the bits of ``precision``, whose modes stay; without ``integers`` its integer bits do.
    preset : {"exact", "hls4ml", "both"}
        Rules for the formats inside; "both" puts the presets side by side.
    layers
        Names of layers, each of which gets the formats alone while all others keep ``precision``; names joined by
        commas get them together. Empty: the whole network gets them.
    table_size : int, optional
        Entries of every function table, as for :func:`fxsim.quantize`.
    sums : {"exact", "narrow"}, optional
        How matrix products are added, as for :func:`fxsim.quantize`; in preset "exact" alone.
    regression : bool, optional
        Whether labels are real numbers. By default they are if they are not class numbers or one-hot rows.
    graph : Graph, optional
        A graph of the same network, which gets a row of its own behind float's. With it there need be no widths.
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
    shared: dict[str, Any] = {"precision": precision, "table_size": table_size, "sums": sums}
    jobs = []
    if widths or graph is None:
        jobs = make_jobs(source, widths, integers=integers, preset=preset, layers=layers, **shared)
    task = make_task(source, x, labels, **shared, regression=regression)
    return run(task, jobs, labels, graph=graph, folder=folder, dask=dask, progress=progress)


def run(
    task: Task,
    jobs: Sequence[Job],
    labels: ArrayLike | None,
    *,
    graph: Graph | None = None,
    folder: str | os.PathLike[str] | None = None,
    dask: str | None = None,
    progress: Progress | None = None,
) -> Scan:
    """The rows of some jobs, float's in front; options as for :func:`scan`."""
    first = [task.row(None, task.want), *([] if graph is None else [task.of_graph(graph)])]
    with _measurer(dask) as measure:
        if folder is None:
            found = list(_measure(measure, task, jobs, [], progress))
            return Scan([*first, *_ordered(jobs, found)], task)
        with record(os.fspath(folder), _facts(task, jobs, labels, graph)) as kept:
            if not kept.rows:
                kept.rows.extend(first)  # and written with the first row that is found
            for row in _measure(measure, task, jobs, kept.rows, progress):
                kept.add(row)
            rows = [*first, *_ordered(jobs, kept.rows)]
            kept.write(rows)
            return Scan(rows, task)


@contextmanager
def _measurer(dask: str | None) -> Iterator[Measure]:
    """What gives the rows of jobs: this machine, with all its processors for one after the other, or a cluster."""
    if dask is None:
        yield lambda task, jobs: map(task.measure, jobs)
        return
    from .clusters import connect

    with connect(dask) as measure:
        yield measure


def _facts(task: Task, jobs: Sequence[Job], labels: ArrayLike | None, graph: Graph | None) -> dict[str, Any]:
    from .. import __version__

    def each(name: str) -> list[Any]:
        return list(dict.fromkeys(getattr(job, name) for job in jobs))

    return {
        "fxsim": __version__,
        "model": digest_source(task.source),
        "data": digest_arrays(task.x, None if labels is None else np.asarray(labels)),
        "precision": task.precision,
        "table_size": task.table_size,
        "sums": task.sums,
        "regression": task.target is not None,
        "graph": graph and graph.digest,
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
    """As :meth:`Scan.held`."""
    ratio = arguments.real(ratio, "the ratio to hold", 0, 2, above=True)
    if not rows[0].ratio:
        raise FxsimError("a ratio can be held only with labels y, of more than one class, or with float's R² above 0")
    found: dict[tuple[str, str], ScanRow] = {}
    for row in rows[1:]:
        if row.width is None:
            continue  # a graph's
        assert row.ratio is not None
        best = found.get((row.preset, row.layers))
        order = (row.width, -row.ratio)
        if row.ratio >= ratio and (best is None or order < (best.width, -(best.ratio or 0.0))):
            found[row.preset, row.layers] = row
    return list(found.values())
