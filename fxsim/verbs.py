# SPDX-License-Identifier: Apache-2.0
"""What each verb of the command line does with its options: call the API, show and write what comes back."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import warnings
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import api, boxes, curves, files, plans, profiles, report, scan_page, scans
from .errors import FxsimError
from .exact_tables import table_report
from .extras import importing
from .fixed import Fixed
from .folder import MANIFEST, read_json
from .graph import SUFFIX, Graph, write_whole
from .page import Part, Table, Text
from .program import Lookup, Program
from .quantization import DEFAULT
from .ranges import bounds
from .records import NAME, ScanRow
from .terminal import progress, show_table
from .verdicts import CELLS, REPORT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rtl.folding import Plan


#: What a folding is chosen by.
_BUDGETS = ("multipliers", "dsp", "lut", "latency", "interval", "reuse")


def _load(given: Namespace) -> Graph:
    return api.load(
        given.model,
        weights=given.weights,
        precision=given.precision,
        config=given.config,
        preset=given.preset,
        table_size=given.table_size,
    )


def info(given: Namespace) -> None:
    """Show layers, formats, ranges and tables."""
    graph = _load(given)
    shape = report.dimensions(graph.shape)
    print(f"{graph.name}: input {shape} x {graph.input}, {graph.parameters} parameters, {graph.digest}")
    layers = []
    for layer, _, _, out, type in graph.flow():
        parameters = sum(program.parameters for program in layer.programs.values())
        layers.append((layer.name, layer.kind, report.dimensions(out), type, parameters))
    show_table("Layers", ("<layer", "<kind", "<result", "<format", "parameters"), layers)
    programs = [item for layer in graph.layers for item in layer.programs.items()]
    columns: Sequence[str] = ("<tensor", "<op", "elements", "<format", "smallest", "largest", "<can overflow")
    show_table("Tensors, with proven ranges", columns, (row for item in programs for row in _tensors(*item)))
    tables: list[Sequence[object]] = [row for item in programs for row in _tables(*item)]
    if tables:
        with suppress(FxsimError):  # hls4ml's tables: their errors are what hls4ml's are
            tables = [(*row, *report.short([one.error])) for row, one in zip(tables, table_report(graph), strict=True)]
        columns = ("<tensor", "<function", "entries", "step", "from", "to", "<values", "largest error")
        show_table("Tables", columns, tables)


def _tensors(prefix: str, program: Program) -> Iterator[Sequence[object]]:
    for name, found in bounds(program).items():
        op = program[name]
        low, high = found.low * op.type.lsb, found.high * op.type.lsb
        over = "yes" if found.overflows else ""
        yield f"{prefix}.{name}", op.kind, program.sizes[name], op.type, *report.short((low, high)), over


def _tables(prefix: str, program: Program) -> Iterator[Sequence[object]]:
    for op in program.ops:
        if isinstance(op, Lookup):
            table, step = op.table, 2.0**-op.table.frac / op.table.scale
            ends = report.short((step, table.first * step, table.last * step))
            yield f"{prefix}.{op.name}", table.name, len(table.values.data), *ends, table.values.type


def predict(given: Namespace) -> None:
    """Write the outputs for a batch."""
    from .overflows import describe
    from .simulation import simulate  # late: it brings a compiler

    graph, x = _load(given), files.load_array(given.inputs)
    with progress("simulate") as update:
        run = simulate(graph, x, progress=update)
    told = describe(graph, np.asarray(x), run)
    if told:
        print(f"fxsim: {told}", file=sys.stderr)
    out = run.raw if given.raw else run.values
    files.save_array(given.output, out)
    print(f"{given.output}: {out.dtype} {out.shape}, {graph.output}")


def _can_draw() -> bool:
    """Whether matplotlib is there; says so where it is not, before the work rather than after it."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # its remarks on folders and fonts
    try:
        report.figure(1, 1)
    except FxsimError as error:
        print(f"fxsim: tables without pictures: {error}", file=sys.stderr)
        return False
    return True


def profile(given: Namespace) -> None:
    """Show and write ranges, overflows, errors, and formats that would be enough."""
    draws = _can_draw()
    graph, x = _load(given), files.load_array(given.inputs)
    # A saved graph has no float network to compare with.
    source = None if str(given.model).endswith(SUFFIX) else api.read_source(given.model, given.weights)
    with progress("profile") as update:
        found = profiles.profile(graph, x, source, update)
    data = {
        "profile.csv": report.to_csv(found.tensors),
        "profile.json": _json(dataclasses.asdict(found)),
    }
    if draws:
        data["profile.png"] = report.png(boxes.activation_figure(found))
    data["weights.csv"] = report.to_csv(found.weights)
    if draws:
        data["weights.png"] = report.png(boxes.weight_figure(found))
    if found.layers:
        data["errors.csv"] = report.to_csv(found.layers)
    names = _write(given.output, data)
    _show_profile(found)
    print(names)


def _show_profile(found: profiles.Profile) -> None:
    limits = ("float from", "to", "fixed from", "to")
    columns: Sequence[str] = ("<tensor", "<format", *limits, "overflows", "largest error", "rms error", "correlation")
    columns = (*columns, "<enough here", "<proven")
    rows = []
    for row in found.tensors:
        if row.kind not in boxes.HIDDEN:
            ends = (row.float_low, row.float_high, row.seen_low, row.seen_high)
            errors = (row.overflows, row.largest_error, row.rms_error, row.correlation)
            rows.append(report.short((row.tensor, row.format, *ends, *errors, row.enough, row.proven)))
    show_table(f"Values of {found.sequences} sequences", columns, rows)
    columns = ("<weights", "<format", *limits, "to zero", "outside", "largest error", "rms error", "<enough")
    rows = []
    for one in found.weights:
        ends = (one.float_low, one.float_high, one.seen_low, one.seen_high)
        errors = (one.zeros, one.outside, one.largest_error, one.rms_error)
        rows.append(report.short((one.tensor, one.format, *ends, *errors, one.enough)))
    show_table("Weights", columns, rows)
    if found.layers:
        columns = ("<layer", "<format", *limits, "largest error", "rms error", "correlation")
        show_table("Results against float", columns, [report.short(dataclasses.astuple(row)) for row in found.layers])


def _json(data: object) -> bytes:
    return (json.dumps(data, indent=1) + "\n").encode()


def _write(folder: str, data: dict[str, bytes], *there: str) -> str:
    place = files.make_folder(folder)
    for name, content in data.items():
        write_whole(place / name, content)
    return f"{folder}: {', '.join((*there, *data))}"


def scan(given: Namespace) -> None:
    """Show and write accuracy, AUC and error against formats, and the narrowest that holds a share of the AUC."""
    if given.config is not None:
        raise FxsimError("a scan varies the precision, so it takes --precision and --preset but no --config")
    draws = _can_draw()
    source = api.read_source(given.model, given.weights)
    arrays = files.load_arrays(given.data, "x")
    labels = arrays.get("y")
    precision = DEFAULT if given.precision is None else given.precision
    options = {"integers": given.integer, "preset": given.preset, "layers": given.layer}
    jobs = scans.make_jobs(source, given.width, precision=precision, table_size=given.table_size, **options)
    task = scans.make_task(source, arrays["x"], labels, precision, given.table_size)
    hold, reference = given.hold, task.row(None, task.want)
    if hold is not None or reference.auc is not None:
        hold = scans.HOLD if hold is None else hold
        scans.held([reference], hold)  # refused now, too
    with progress("scan") as update:
        rows = scans.run(task, jobs, labels, folder=given.output, dask=given.dask, progress=update)
    picked = [] if hold is None else scans.held(rows, hold)
    figures = {"errors.png": curves.error_figure(rows)} if draws else {}
    if draws and hold is not None:
        figures |= {"scan.png": curves.ratio_figure(rows, hold, picked), "roc.png": _roc(task, rows, picked)}
    pictures = {name: report.png(one) for name, one in figures.items()}
    page = scan_page.report(source.name, len(task.x), rows, hold, picked, pictures)
    names = _write(given.output, {"scan.csv": report.to_csv(rows), **pictures, REPORT: page.encode()}, NAME)
    columns = ("<preset", "<layer", *scan_page.columns(rows))
    lines = ((row.preset, row.layers, *scan_page.cells(row)) for row in rows)
    show_table(f"{source.name}, {len(task.x)} sequences", columns, lines)
    for key in scan_page.groups(rows) if hold is not None else ():
        print(scan_page.verdict(key, hold, picked)[1])
    print(names)


def _roc(task: scans.Task, rows: Sequence[ScanRow], picked: Sequence[ScanRow]) -> Figure:
    """ROC curves of the formats that were picked; where there are none, of the best."""
    chosen = picked or [max(rows[1:], key=lambda row: row.auc_ratio or 0.0)]
    assert task.truth is not None
    outputs = {}
    for row in chosen:
        layers = tuple(row.layers.split(",")) if row.layers else ()
        name = f"{row.preset}, {row.precision}{f' for {row.layers}' if row.layers else ''}"
        outputs[name] = task.outputs(row.preset, layers, row.precision)
    return curves.roc_figure(task.truth, task.want, outputs)


def plan(given: Namespace) -> None:
    """Show the foldings that no other beats, from fast to small, and the chosen one among them."""
    with importing("plan", "rtl"):
        from rtl.folding import make_plan

    picture = None if given.plot is None else report.figure(9, 4)
    graph = _load(given)
    wanted = {name: getattr(given, name) for name in _BUDGETS}
    where = {"clock_mhz": given.clock_mhz, "family": given.family, "multiplier": given.multiplier}
    chosen = None
    if any(value is not None for value in wanted.values()):
        chosen = make_plan(graph, api.plan(graph, **wanted, **where), given.clock_mhz, given.family)
    for name in ("output", "stages"):
        if chosen is None and getattr(given, name):
            raise FxsimError(f"--{name} needs one of --{', --'.join(_BUDGETS[:-1])} and --{_BUDGETS[-1]}")
    front = api.pareto(graph, **where)
    title = f"{graph.name} at {given.clock_mhz:g} MHz, {given.family}; latency and interval in cycles"
    show_table(title, plans.COLUMNS, plans.rows(front, chosen))
    if chosen is not None and given.stages:
        _show_stages(chosen)
    if chosen is not None and given.output is not None:
        write_whole(given.output, (json.dumps(chosen.folding.to_json(), indent=1) + "\n").encode())
    if picture is not None:
        plans.draw(front, chosen, picture)
        write_whole(given.plot, report.png(picture))


def _show_stages(one: Plan) -> None:
    with importing("plan", "rtl"):
        from rtl.stages import heading, stages

    for layer, schedule in zip(one.layers, one.schedules, strict=True):
        if schedule is not None:
            rows = [(stage.cycle, ", ".join(stage.operators)) for stage in stages(schedule, layer.labels)]
            show_table(heading(layer.name, schedule), ("cycle", "<operators of the first beat"), rows)


def _beat(text: str | None) -> str | int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else text


def _accuracy(given: Namespace) -> list[Part]:
    """How well a network does on data, for the page of its design."""
    if given.data is None:
        return []
    if given.config is not None:
        raise FxsimError("--data takes --precision and --preset but no --config")
    source, data = api.read_source(given.model, given.weights), files.load_arrays(given.data, "x")
    precision = DEFAULT if given.precision is None else given.precision
    widths = [Fixed.parse(precision).width]
    rows = scans.scan(
        source, data["x"], data.get("y"), widths,
        precision=precision, preset=given.preset, table_size=given.table_size,
    )  # fmt: skip
    cells = [(row.precision, *report.short([row.accuracy, row.auc, row.largest_error, row.mean_error])) for row in rows]
    table = Table(("<precision", "accuracy", "AUC", "largest error", "mean error"), cells)
    return [Text(f"{len(data['x'])} sequences, beside the same in float."), table]


def export(given: Namespace) -> None:
    """Write a design."""
    with importing("export", "rtl"):
        from rtl.size import LargeDesign

    accuracy = _accuracy(given)
    write = partial(
        api.export,
        _load(given),
        given.output,
        folding=given.folding,
        reuse=given.reuse,
        multipliers=given.multipliers,
        dsp=given.dsp,
        lut=given.lut,
        latency=given.latency,
        interval=given.interval,
        clock_mhz=given.clock_mhz,
        family=given.family,
        interleave=given.interleave,
        unroll=given.unroll,
        multiplier=given.multiplier,
        input_beat=_beat(given.input_beat),
        framing=given.framing,
        top=given.top,
        accuracy=accuracy,
    )
    with warnings.catch_warnings(record=True) as notes, progress("export") as update:
        warnings.simplefilter("always", UserWarning)
        try:
            ip = write(progress=update)
        except LargeDesign as error:
            if not given.yes:
                raise
            print(f"a large design: {error.size}", file=sys.stderr, flush=True)
            ip = write(progress=update, large=True)
    timing, cost = ip.manifest["timing"], ip.manifest["cost"]
    written = (MANIFEST, *ip.manifest["written"])
    names = sorted({name.partition("/")[0] + "/" * ("/" in name) for name in written})
    print(f"{ip.folder}: {', '.join(names)}")
    for note in notes:
        print(note.message)
    print(
        f"{cost['multipliers']} multipliers, latency {timing['latency']} cycles ({ip.latency_us:.3f} us at "
        f"{ip.manifest['clock_mhz']:g} MHz), {timing['latency_after_last']} after the last beat, "
        f"interval {timing['interval']} cycles"
    )


def check(given: Namespace) -> None:
    """Hold a design's Verilog against the simulator."""
    inputs = None if given.inputs is None else np.asarray(files.load_array(given.inputs))
    with warnings.catch_warnings(record=True) as doubts, progress("check") as update:
        warnings.simplefilter("always", UserWarning)
        found = api.check(
            given.folder, sequences=given.sequences, inputs=inputs, simulator=given.simulator, progress=update
        )
    rows: list[Sequence[object]] = []
    if found.measured is not None:
        rows += [("sequences", found.sequences), ("values compared", found.values), ("different", found.differences)]
        rows += [("clock cycles", found.cycles)]
        for name in ("latency", "latency_after_last", "interval"):
            measured, predicted = getattr(found.measured, name), getattr(found.predicted, name)
            rows.append((f"{name.replace('_', ' ')}, predicted = measured", f"{predicted} = {measured}"))
    rows.append((f"cocotb tests passed ({given.simulator})", len(found.tests)))
    show_table(f"{found.top}: the Verilog agrees", ("<", ""), rows)
    for doubt in doubts:
        print(f"but: {doubt.message}")


def synth(given: Namespace) -> None:
    """Count the cells of a design."""
    found = api.synth(given.folder, family=given.family, route=given.route)
    timing = read_json(Path(given.folder) / MANIFEST).get("timing", {})
    columns = ("<family", *CELLS.values(), "latency", "interval")
    numbers = [found[name] for name in CELLS]
    row = (found["family"], *numbers, timing.get("latency", ""), timing.get("interval", ""))
    show_table(found["top"], columns, [row])
    written = f"synth_{found['family']}.json"
    if given.route:
        routed = found["route"]
        speeds = [(routed.clock_mhz, routed.planned_ns), (routed.fmax_mhz, routed.path_ns)]
        rows = [(name, *(f"{x:.1f}" for x in pair)) for name, pair in zip(("planned", "routed"), speeds, strict=True)]
        show_table("Between registers", ("<", "clock, MHz", "longest path, ns"), rows)
        print(f"{routed.logic_ns:.1f} ns of the path are logic; from {routed.path[0]} to {routed.path[-1]}")
        written += f", route_{found['family']}.json"
    print(f"{given.folder}: {written}")


def demo(given: Namespace) -> None:
    """Everything, on the network that ships with the package."""
    from .demo.run import run

    run(given.output)
