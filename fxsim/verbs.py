# SPDX-License-Identifier: Apache-2.0
"""What each verb of the command line does with its options: call the API, show and write what comes back."""

from __future__ import annotations

import dataclasses
import json
import logging
import warnings
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import api, boxes, curves, files, plans, profiles, report, scan_page, scans, summaries
from .errors import FxsimError
from .extras import importing
from .fixed import Fixed
from .folder import MANIFEST, read_json
from .graph import SUFFIX, Graph, write_whole
from .listing import Column, Listing
from .page import Part, Text
from .quantization import DEFAULT
from .records import NAME, ScanRow
from .terminal import Output
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


def info(given: Namespace, out: Output) -> None:
    """Show layers, formats, ranges and tables."""
    graph = _load(given)
    facts = summaries.facts(graph)
    out.fact("network", summaries.heading(graph), facts)
    out.note(f"digest {graph.digest}\n")
    for listing in summaries.network(graph):
        out.table(listing)


def predict(given: Namespace, out: Output) -> None:
    """Write the outputs for a batch."""
    from .simulation import simulate  # late: it brings a compiler

    graph, x = _load(given), files.load_array(given.inputs)
    with out.progress("simulate") as update:
        run = simulate(graph, x, overflows=False, progress=update)
    y = run.raw if given.raw else run.values
    files.save_array(given.output, y)
    facts = {"file": given.output, "type": str(y.dtype), "shape": y.shape, "format": str(graph.output)}
    out.fact("output", f"{given.output}: {y.dtype} {y.shape}, {graph.output}", facts)


def _can_draw(out: Output) -> bool:
    """Whether matplotlib is there; says so where it is not, before the work rather than after it."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # its remarks on folders and fonts
    try:
        report.figure(1, 1)
    except FxsimError as error:
        out.warn(f"tables without pictures: {error}")
        return False
    return True


def profile(given: Namespace, out: Output) -> None:
    """Show and write ranges, overflows, errors, and formats that would be enough."""
    draws = _can_draw(out)
    graph, x = _load(given), files.load_array(given.inputs)
    # A saved graph has no float network to compare with.
    source = None if str(given.model).endswith(SUFFIX) else api.read_source(given.model, given.weights)
    with out.progress("profile") as update:
        found = profiles.profile(graph, x, source, update)
    data = {
        "profile.csv": report.to_csv(found.tensors),
        "profile.json": _json(dataclasses.asdict(found)),
        "weights.csv": report.to_csv(found.weights),
    }
    if draws:
        data["profile.png"] = report.png(boxes.activation_figure(found))
        data["weights.png"] = report.png(boxes.weight_figure(found))
    if found.layers:
        data["errors.csv"] = report.to_csv(found.layers)
    _write(given.output, data)
    out.fact("profile", None, {"name": graph.name, "digest": graph.digest, "sequences": found.sequences})
    for listing in summaries.profile(found):
        out.table(listing)
    out.files(given.output, list(data))


def _json(data: object) -> bytes:
    return (json.dumps(data, indent=1) + "\n").encode()


def _write(folder: str, data: dict[str, bytes]) -> None:
    place = files.make_folder(folder)
    for name, content in data.items():
        write_whole(place / name, content)


def scan(given: Namespace, out: Output) -> None:
    """Show and write accuracy, AUC and error against formats, and the narrowest that holds a share of the AUC."""
    if given.config is not None:
        raise FxsimError("a scan varies the precision, so it takes --precision and --preset but no --config")
    draws = _can_draw(out)
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
    with out.progress("scan") as update:
        rows = scans.run(task, jobs, labels, folder=given.output, dask=given.dask, progress=update)
    picked = [] if hold is None else scans.held(rows, hold)
    figures = {"errors.png": curves.error_figure(rows)} if draws else {}
    if draws and hold is not None:
        figures |= {"scan.png": curves.ratio_figure(rows, hold, picked), "roc.png": _roc(task, rows, picked)}
    pictures = {name: report.png(one) for name, one in figures.items()}
    page = scan_page.report(source.name, len(task.x), rows, hold, picked, pictures)
    data = {"scan.csv": report.to_csv(rows), **pictures, REPORT: page.encode()}
    _write(given.output, data)
    out.fact("scan", None, {"name": source.name, "sequences": len(task.x), "precision": precision})
    out.table(scan_page.listing(rows, f"{source.name}, {len(task.x)} sequences"))
    if hold is not None:
        for key in scan_page.groups(rows):
            out.note(scan_page.verdict(key, hold, picked)[1])
        out.records("held", [scan_page.choice(key, hold, picked) for key in scan_page.groups(rows)])
    out.files(given.output, [NAME, *data])


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


def plan(given: Namespace, out: Output) -> None:
    """Show the foldings that no other beats, from fast to small, and the chosen one among them."""
    with importing("plan", "rtl"):
        from rtl.folding import make_plan

    picture = None if given.plot is None else report.figure(9, 4)
    graph = _load(given)
    wanted = {name: getattr(given, name) for name in _BUDGETS}
    where = {"clock_mhz": given.clock_mhz, "family": given.family, "multiplier": given.multiplier}
    chosen = None
    if any(value is not None for value in wanted.values()):
        chosen = make_plan(graph, api.plan(graph, **wanted, **where))
    for name in ("output", "stages"):
        if chosen is None and getattr(given, name):
            raise FxsimError(f"--{name} needs one of --{', --'.join(_BUDGETS[:-1])} and --{_BUDGETS[-1]}")
    front = api.pareto(graph, **where)
    title = f"{graph.name} at {given.clock_mhz:g} MHz, {given.family}; latency and interval in cycles"
    facts = {"name": graph.name, "digest": graph.digest, "clock_mhz": given.clock_mhz, "family": given.family}
    out.fact("network", None, facts)
    out.table(plans.listing(front, chosen, title))
    if chosen is not None and given.stages:
        _show_stages(chosen, out)
    if chosen is not None and given.output is not None:
        write_whole(given.output, chosen.folding.to_file().encode())
    if picture is not None:
        plans.draw(front, chosen, picture)
        write_whole(given.plot, report.png(picture))


def _show_stages(one: Plan, out: Output) -> None:
    with importing("plan", "rtl"):
        from rtl.stages import heading, stages

    for layer, schedule in zip(one.layers, one.schedules, strict=True):
        if schedule is not None:
            rows = [(layer.name, stage.cycle, stage.operators) for stage in stages(schedule)]
            out.table(Listing("stages", heading(layer.name, schedule), plans.STAGES, rows))


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
    table = scan_page.listing(rows).part("preset", "width", "integer")
    return [Text(f"{len(data['x'])} sequences, beside the same in float."), table]


def export(given: Namespace, out: Output) -> None:
    """Write a design."""
    accuracy = _accuracy(given)
    ip = api.export(
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
        top=given.top,
        accuracy=accuracy,
    )
    timing, cost = ip.manifest["timing"], ip.manifest["cost"]
    out.files(ip.folder, sorted(path.name + "/" * path.is_dir() for path in ip.folder.iterdir()))
    line = (
        f"{cost['multipliers']} multipliers, latency {timing['latency']} cycles ({ip.latency_us:.3f} us at "
        f"{ip.manifest['clock_mhz']:g} MHz), {timing['latency_after_last']} after the last beat, "
        f"interval {timing['interval']} cycles"
    )
    kept = ("top", "digest", "family", "clock_mhz", "timing", "folding", "cost")
    out.fact("design", line, {name: ip.manifest[name] for name in kept})


def check(given: Namespace, out: Output) -> None:
    """Hold a design's Verilog against the simulator."""
    inputs = None if given.inputs is None else np.asarray(files.load_array(given.inputs))
    with warnings.catch_warnings(record=True) as doubts, out.progress("check") as update:
        warnings.simplefilter("always", UserWarning)
        try:
            found = api.check(
                given.folder, sequences=given.sequences, inputs=inputs, simulator=given.simulator, progress=update
            )
        except Exception as error:
            if hasattr(error, "kind"):  # a Mismatch, which is a result, too
                out.fact("check", None, {"agrees": False, **_where(error), "message": str(error)})
                out.finish()
            raise
    facts = {"agrees": True, **dataclasses.asdict(found), "simulator": given.simulator}
    out.fact("check", summaries.check(found, given.simulator), facts)
    for doubt in doubts:
        out.warn(str(doubt.message))
    out.records("doubts", [{"doubt": str(doubt.message)} for doubt in doubts])


def _where(error: Exception) -> dict[str, object]:
    names = ("kind", "layer", "op", "sequence", "step", "element", "expected", "got")
    return {name: getattr(error, name) for name in names}


_SYNTH = (
    Column("family", left=True), *(Column(name, head) for name, head in CELLS.items()), Column("latency"),
    Column("interval"),
)  # fmt: skip
_ROUTE = (Column("where", "", left=True), Column("clock_mhz", "clock, MHz"), Column("path_ns", "longest path, ns"))


def synth(given: Namespace, out: Output) -> None:
    """Count the cells of a design."""
    found = api.synth(given.folder, family=given.family, route=given.route)
    timing = read_json(Path(given.folder) / MANIFEST).get("timing", {})
    row = (found["family"], *(found[name] for name in CELLS), timing.get("latency"), timing.get("interval"))
    out.table(Listing("cells", found["top"], _SYNTH, [row]))
    written = [f"synth_{found['family']}.json"]
    if given.route:
        routed = found["route"]
        rows = [("planned", routed.clock_mhz, routed.planned_ns), ("routed", routed.fmax_mhz, routed.path_ns)]
        out.table(Listing("route", "Between registers", _ROUTE, rows))
        line = f"{routed.logic_ns:.1f} ns of the path are logic; from {routed.path[0]} to {routed.path[-1]}"
        out.fact("path", line, {"logic_ns": routed.logic_ns, "path": routed.path})
        written.append(f"route_{found['family']}.json")
    out.files(given.folder, written)


def completion(given: Namespace, out: Output) -> None:
    """Print the script that a shell reads."""
    from .cli import parser
    from .completion import script

    print(script(parser(), given.shell), end="")


def demo(given: Namespace, out: Output) -> None:
    """Everything, on the network that ships with the package."""
    from .demo.run import run

    run(given.output, out)
