# SPDX-License-Identifier: Apache-2.0
"""What each verb of the command line does with its options: call the API, show and write what comes back."""

from __future__ import annotations

import dataclasses
import json
import warnings
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import api, files, report
from .errors import FxsimError
from .exact_tables import table_report
from .folder import MANIFEST, read_json
from .graph import SUFFIX, Graph, write_whole
from .program import Lookup, Program
from .quantization import DEFAULT
from .ranges import bounds
from .scans import plot as plot_scan
from .scans import scan as scan_widths
from .simulation import simulate
from .terminal import progress, show_table

if TYPE_CHECKING:
    from rtl.folding import Plan


#: Marks the row of the folding that a plan chose.
_CHOSEN = "<- chosen"


def _load(given: Namespace) -> Graph:
    return api.load(
        given.model, weights=given.weights, precision=given.precision, config=given.config, preset=given.preset
    )


def info(given: Namespace) -> None:
    """Show layers, formats, ranges and tables."""
    graph = _load(given)
    print(f"{graph.name}: input {_shape(graph.shape)} x {graph.input}, {graph.parameters} parameters, {graph.digest}")
    layers = [
        (layer.name, layer.kind, _shape(out), type, sum(program.parameters for program in layer.programs.values()))
        for layer, _, _, out, type in graph.flow()
    ]
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


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


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
    graph, x = _load(given), files.load_array(given.inputs)
    with progress("simulate") as update:
        run = simulate(graph, x, overflows=False, progress=update)
    out = run.raw if given.raw else run.values
    files.save_array(given.output, out)
    print(f"{given.output}: {out.dtype} {out.shape}, {graph.output}")


def profile(given: Namespace) -> None:
    """Show and write ranges, overflows and errors."""
    picture = report.figure(9, 7)
    graph, x = _load(given), files.load_array(given.inputs)
    # A saved graph has no float network to compare with.
    source = None if str(given.model).endswith(SUFFIX) else api.read_source(given.model, given.weights)
    with progress("profile") as update:
        found = report.profile(graph, x, source, update)
    report.plot(found, picture)
    names = _write(given.output, "profile", dataclasses.asdict(found), found.tensors, report.png(picture))
    limits = ("from", "to", "can from", "can to", "seen from", "seen to")
    columns: Sequence[str] = ("<tensor", "<op", "elements", "<format", *limits, "overflows")
    rows = [report.short(dataclasses.astuple(row)) for row in found.tensors]
    show_table(f"Ranges, {found.sequences} sequences", columns, rows)
    if found.layers:
        write_whole(Path(given.output) / "errors.csv", report.to_csv(found.layers))
        columns = ("<layer", "<format", "float from", "float to", "from", "to", "largest error", "rms error")
        show_table("Errors against float", columns, [report.short(dataclasses.astuple(row)) for row in found.layers])
    print(f"{given.output}: {names}{', errors.csv' if found.layers else ''}")


def _write(folder: str, name: str, data: object, rows: Sequence[Any], picture: bytes) -> str:
    place = files.make_folder(folder)
    write_whole(place / f"{name}.csv", report.to_csv(rows))
    write_whole(place / f"{name}.json", (json.dumps(data, indent=1) + "\n").encode())
    write_whole(place / f"{name}.png", picture)
    return f"{name}.csv, {name}.json, {name}.png"


def scan(given: Namespace) -> None:
    """Show and write accuracy and error against width."""
    if given.dask is not None:
        raise FxsimError("--dask is not in this version; a scan of one width after the other takes seconds")
    if given.config is not None:
        raise FxsimError("a scan varies the precision, so it takes --precision and --preset but no --config")
    picture = report.figure(7, 6)
    source = api.read_source(given.model, given.weights)
    data = files.load_arrays(given.data, "x")
    with progress("scan") as update:
        rows = scan_widths(
            source,
            data["x"],
            data.get("y"),
            given.width,
            precision=DEFAULT if given.precision is None else given.precision,
            preset=given.preset,
            progress=update,
        )
    plot_scan(rows, picture)
    names = _write(given.output, "scan", [dataclasses.asdict(row) for row in rows], rows, report.png(picture))
    columns = ("bits", "<precision", "largest error", "mean error", "accuracy", "AUC")
    cells = [report.short(dataclasses.astuple(row)) for row in rows]
    show_table(f"{source.name}, {len(data['x'])} sequences", columns, cells)
    print(f"{given.output}: {names}")


def plan(given: Namespace) -> None:
    """Show foldings from fast to small, and the chosen one among them."""
    from rtl.folding import by_reuse, computing, make_plan
    from rtl.folds import products

    graph = _load(given)
    wanted = {name: getattr(given, name) for name in ("multipliers", "latency", "interval", "reuse")}
    where = {"clock_mhz": given.clock_mhz, "family": given.family, "multiplier": given.multiplier}
    chosen = api.plan(graph, **wanted, **where) if any(v is not None for v in wanted.values()) else None
    if given.output is not None and chosen is None:
        raise FxsimError("--output needs one of --multipliers, --latency, --interval and --reuse")
    if given.stages and chosen is None:
        raise FxsimError("--stages needs one of --multipliers, --latency, --interval and --reuse")
    foldings = {"least": by_reuse(graph, {}, given.multiplier)}
    most = max(products(layer.program) for layer in computing(graph) if layer.program is not None)
    for power in range(1, most.bit_length()):
        # A saturating sum adds in order, so smaller values are not legal there.
        with suppress(FxsimError):
            foldings[str(1 << power)] = api.plan(graph, reuse=1 << power, **where)
    rows = [(make_plan(graph, one, given.clock_mhz, given.family), name) for name, one in foldings.items()]
    if chosen is not None:
        rows = [row for row in rows if row[0].folding != chosen]
        rows.append((make_plan(graph, chosen, given.clock_mhz, given.family), _CHOSEN))
    # Beside the chosen one, those that no other beats.
    rows = [row for row in rows if row[1] == _CHOSEN or not any(_beats(other[0], row[0]) for other in rows)]
    rows.sort(key=lambda row: (row[0].timing.latency, row[0].multipliers))
    columns = ("reuse", "multipliers", "latency", "us", "after last", "interval", "sequences/s", "")
    cells = [_plan_row(one, name) for one, name in rows]
    title = f"{graph.name} at {given.clock_mhz:g} MHz, {given.family}; latency and interval in cycles"
    show_table(title, columns, cells)
    if chosen is not None and given.stages:
        _show_stages(next(one for one, name in rows if name == _CHOSEN))
    if chosen is not None and given.output is not None:
        write_whole(given.output, (json.dumps(chosen.to_json(), indent=1) + "\n").encode())


def _show_stages(one: Plan) -> None:
    from rtl.stages import stages

    for layer, schedule in zip(one.layers, one.schedules, strict=True):
        if schedule is not None:
            rows = [(stage.cycle, ", ".join(stage.operators)) for stage in stages(schedule)]
            title = f"{layer.name}: interval {schedule.interval}, result in cycle {schedule.result}"
            show_table(title, ("cycle", "<operators of the first beat"), rows)


def _beats(a: Plan, b: Plan) -> bool:
    ours, theirs = ((p.multipliers, p.timing.latency, p.timing.interval) for p in (a, b))
    return ours != theirs and all(x <= y for x, y in zip(ours, theirs, strict=True))


def _plan_row(one: Plan, name: str) -> Sequence[object]:
    timing, clock = one.timing, one.clock_mhz
    rate = f"{clock * 1e6 / float(timing.interval):.0f}"
    reuse, mark = ("", _CHOSEN) if name == _CHOSEN else (name, "")
    after = timing.latency_after_last
    return reuse, one.multipliers, timing.latency, f"{timing.latency / clock:.3f}", after, timing.interval, rate, mark


def _beat(text: str | None) -> str | int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else text


def export(given: Namespace) -> None:
    """Write a design."""
    ip = api.export(
        _load(given),
        given.output,
        folding=given.folding,
        reuse=given.reuse,
        multipliers=given.multipliers,
        latency=given.latency,
        interval=given.interval,
        clock_mhz=given.clock_mhz,
        family=given.family,
        interleave=given.interleave,
        unroll=given.unroll,
        multiplier=given.multiplier,
        input_beat=_beat(given.input_beat),
        top=given.top,
    )
    timing, cost = ip.manifest["timing"], ip.manifest["cost"]
    print(f"{ip.folder}: {', '.join(ip.manifest['files'])}, {MANIFEST}, graph.fx, vectors.npz")
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
    columns = ("<family", "LUT", "LUT as memory", "FF", "DSP", "BRAM", "latency", "interval")
    numbers = [found[name] for name in ("lut", "lutram", "ff", "dsp", "bram")]
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
