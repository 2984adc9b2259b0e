# SPDX-License-Identifier: Apache-2.0
"""What each verb of the command line does with its options: call the API, show and write what comes back."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import api
from ..errors import FxsimError
from ..extras import importing
from ..files import arrays as files
from ..files.folder import MANIFEST, read_json, write_whole
from ..pages import plan_table, table_files
from ..pages.check_results import CELLS, timing_line, timing_listing
from ..pages.listing import Column, Listing
from ..pages.page import Part, Text
from ..program.graph import SUFFIX, Graph
from ..quantization.presets import DEFAULT
from ..study import profiles, scan_page, scan_tasks, scans, summaries
from ..study.scan_file import NAME
from .terminal import Output

if TYPE_CHECKING:
    from rtl.plan.folding import Plan

    from ..importers.source import Source


#: What a folding is chosen by.
_BUDGETS = ("multipliers", "dsp", "lut", "latency", "interval", "reuse")
#: What it is chosen for.
_TARGET = ("clock_mhz", "family", "multiplier")
#: Options of export that go to ``fxsim.export`` as they are.
_DESIGN = ("folding", *_BUDGETS, *_TARGET, "interleave", "unroll", "framing", "top")


def _load(given: Namespace) -> Graph:
    return api.load(
        given.model,
        weights=None if given.float is not None else given.weights,  # of the float model then
        precision=given.precision,
        config=given.config,
        preset=given.preset,
        table_size=given.table_size,
        sums=given.sums,
        steps=given.steps,
    )


def _is_graph(given: Namespace) -> bool:
    return str(given.model).endswith(SUFFIX)


def _source(given: Namespace, purpose: str) -> Source:
    """The float network: MODEL itself, or --float beside a .fx graph."""
    if not _is_graph(given):
        if given.float is not None:
            raise FxsimError(f"--float goes with a {SUFFIX} graph as MODEL; {given.model} is a float model itself")
        return api.read_source(given.model, given.weights, steps=given.steps)
    if given.float is None:
        raise FxsimError(f"{given.model}: is a quantised graph; for {purpose}, give the trained model with --float")
    return api.read_source(given.float, given.weights, steps=given.steps)


def info(given: Namespace, out: Output) -> None:
    """Show layers, formats, ranges and tables."""
    graph = _load(given)
    facts = summaries.facts(graph)
    out.fact("network", summaries.heading(graph), facts)
    out.note(f"digest {graph.digest}\n")
    for listing in graph.summary().listings:
        out.table(listing)


def quantize(given: Namespace, out: Output) -> None:
    """Write the quantised network, which every verb takes as MODEL."""
    if _is_graph(given):
        raise FxsimError(f"{given.model}: is quantised already")
    if not given.output.endswith(SUFFIX):
        raise FxsimError(f"the output must be a {SUFFIX} file, not {given.output}")
    graph = _load(given)
    graph.save(given.output)
    out.fact("network", f"{summaries.heading(graph)}\n{given.output}: digest {graph.digest}", summaries.facts(graph))


def predict(given: Namespace, out: Output) -> None:
    """Write the outputs for a batch."""
    from ..simulator.overflows import describe
    from ..simulator.run import simulate  # late: it brings a compiler

    graph = _load(given)
    x = _inputs(graph, given.inputs)
    with out.progress("simulate") as update:
        run = simulate(graph, x, progress=update)
    told = describe(graph, x, run)
    if told:
        out.warn(told)
    y = run.raw if given.raw else run.values
    if isinstance(y, dict):
        files.save_arrays(given.output, y)
        facts: dict[str, object] = {name: {"type": str(one.dtype), "shape": one.shape} for name, one in y.items()}
        shapes = ", ".join(f"{name} {one.shape}" for name, one in y.items())
        out.fact("output", f"{given.output}: {shapes}", {"file": given.output, "arrays": facts})
        return
    files.save_array(given.output, y)
    facts = {"file": given.output, "type": str(y.dtype), "shape": y.shape, "format": str(graph.output)}
    out.fact("output", f"{given.output}: {y.dtype} {y.shape}, {graph.output}", facts)


def _inputs(graph: Graph, path: str) -> Any:
    """What a file has for the inputs: an .npy file for the only one, an .npz file with their names for several."""
    if len(graph.inputs) == 1:
        return files.load_array(path)
    return files.load_arrays(path, *(tensor.name for tensor in graph.inputs))


def _can_draw(out: Output) -> bool:
    """Whether matplotlib is there; says so where it is not, before the work rather than after it."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # its remarks on folders and fonts
    try:
        table_files.figure(1, 1)
    except FxsimError as error:
        out.warn(f"tables without pictures: {error}")
        return False
    return True


def profile(given: Namespace, out: Output) -> None:
    """Show and write ranges, overflows, errors, and formats that would be enough."""
    draws = _can_draw(out)
    graph = _load(given)
    x = _inputs(graph, given.inputs)
    # A saved graph has no float network to compare with, unless it is given.
    source = None if _is_graph(given) and given.float is None else _source(given, "profile")
    with out.progress("profile") as update:
        found = profiles.profile(graph, x, source, update)
    names = files.write_files(given.output, found.files(draws))
    out.fact("profile", None, {"name": graph.name, "digest": graph.digest, "sequences": found.sequences})
    for listing in found.summary().listings:
        out.table(listing)
    out.files(given.output, names)


def scan(given: Namespace, out: Output) -> None:
    """Show and write accuracy, AUC, R² and error against formats, and the narrowest that holds a share of float's."""
    if given.config is not None:
        raise FxsimError("a scan varies the precision, so it takes --precision and --preset but no --config")
    draws = _can_draw(out)
    graph = Graph.load(given.model) if _is_graph(given) else None
    if graph is None and given.width is None:
        raise FxsimError("the following arguments are required: --width (or a .fx graph as MODEL, with --float)")
    source = _source(given, "scan")
    arrays = files.load_arrays(given.data, "x")
    labels = arrays.get("y")
    precision = DEFAULT if given.precision is None else given.precision
    shared = {"precision": precision, "table_size": given.table_size, "sums": given.sums}
    jobs = []
    if given.width is not None:
        options = {"integers": given.integer, "preset": given.preset, "layers": given.layer}
        jobs = scan_tasks.make_jobs(source, given.width, **shared, **options)
    task = scan_tasks.make_task(source, arrays["x"], labels, **shared, regression=given.regression or None)
    hold = scans.Scan([task.row(None, task.want)], task).share(given.hold)  # refused now, not after the work
    with out.progress("scan") as update:
        rows = scans.run(task, jobs, labels, graph=graph, folder=given.output, dask=given.dask, progress=update)
    names = files.write_files(given.output, rows.files(hold, draws))
    out.fact("scan", None, {"name": source.name, "sequences": len(task.x), "precision": precision})
    out.table(scan_page.listing(rows, f"{source.name}, {len(task.x)} sequences"))
    if hold is not None:
        picked, groups = rows.held(hold), scan_page.groups(rows)
        for key in groups:
            out.note(scan_page.verdict(key, hold, picked, scan_page.score(rows))[1])
        out.records("held", [scan_page.choice(key, hold, picked) for key in groups])
    out.files(given.output, [NAME, *names])


def plan(given: Namespace, out: Output) -> None:
    """Show the foldings that no other beats, from fast to small, and the chosen one among them."""
    with importing("plan", "rtl"):
        from rtl.plan.folding import make_plan

    picture = None if given.plot is None else table_files.figure(9, 4)
    graph = _load(given)
    wanted = {name: getattr(given, name) for name in _BUDGETS}
    where = {name: getattr(given, name) for name in _TARGET}
    chosen = None
    if any(value is not None for value in wanted.values()):
        chosen = make_plan(graph, api.plan(graph, **wanted, **where, framing=given.framing))
    for name in ("output", "stages"):
        if chosen is None and getattr(given, name):
            raise FxsimError(f"--{name} needs one of --{', --'.join(_BUDGETS[:-1])} and --{_BUDGETS[-1]}")
    front = api.pareto(graph, **where)
    title = f"{graph.name} at {given.clock_mhz:g} MHz, {given.family}; latency and interval in cycles"
    facts = {"name": graph.name, "digest": graph.digest, "clock_mhz": given.clock_mhz, "family": given.family}
    out.fact("network", None, facts)
    out.table(plan_table.listing(front, chosen, title))
    if chosen is not None and given.stages:
        _show_stages(chosen, out)
    if chosen is not None and given.output is not None:
        write_whole(given.output, chosen.folding.to_file().encode())
    if picture is not None:
        plan_table.draw(front, chosen, picture)
        write_whole(given.plot, table_files.png(picture))


def _show_stages(one: Plan, out: Output) -> None:
    with importing("plan", "rtl"):
        from rtl.plan.stages import heading, stages

    for layer, schedule in zip(one.layers, one.schedules, strict=True):
        if schedule is not None:
            rows = [(layer.name, stage.cycle, stage.operators) for stage in stages(schedule, layer.labels)]
            out.table(Listing("stages", heading(layer.name, schedule), plan_table.STAGES, rows))


def _beat(text: str | None) -> str | int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else text


def _accuracy(given: Namespace, graph: Graph) -> list[Part]:
    """How well a network does on data, for the page of its design."""
    if given.data is None:
        return []
    source, data = _source(given, "--data"), files.load_arrays(given.data, "x")
    task = scan_tasks.make_task(source, data["x"], data.get("y"))
    table = scan_page.listing([task.row(None, task.want), task.of_graph(graph)]).part("preset")
    return [Text(f"{len(data['x'])} sequences, in float and in fixed point."), table]


def export(given: Namespace, out: Output) -> None:
    """Write a design."""
    with importing("export", "rtl"):
        from rtl.cost.size import LargeDesign

    graph = _load(given)
    write = partial(
        api.export,
        graph,
        given.output,
        **{name: getattr(given, name) for name in _DESIGN},
        input_beat=_beat(given.input_beat),
        accuracy=_accuracy(given, graph),
    )
    with warnings.catch_warnings(record=True) as notes, out.progress("export") as update:
        warnings.simplefilter("always", UserWarning)
        try:
            ip = write(progress=update)
        except LargeDesign as error:
            if not given.yes:
                raise
            out.warn(f"a large design: {error.size}")
            ip = write(progress=update, large=True)
    timing, cost = ip.manifest["timing"], ip.manifest["cost"]
    written = (MANIFEST, *ip.manifest["written"])
    out.files(ip.folder, sorted({name.partition("/")[0] + "/" * ("/" in name) for name in written}))
    for note in notes:
        out.warn(str(note.message))
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
    with warnings.catch_warnings(record=True) as doubts, out.phases("check") as bars:
        warnings.simplefilter("always", UserWarning)
        try:
            found = api.check(
                given.folder,
                sequences=given.sequences,
                inputs=inputs,
                simulator=given.simulator,
                quick=given.quick,
                waves=given.waves,
                phase=None if bars is None else bars.phase,
                progress=None if bars is None else bars.progress,
            )
        except Exception as error:
            if hasattr(error, "kind"):  # a Mismatch, which is a result, too
                out.fact("check", None, {"agrees": False, **_where(error), "message": str(error)})
                out.finish()
            raise
    facts = {"agrees": True, **dataclasses.asdict(found), "simulator": given.simulator}
    out.fact("check", summaries.check(found, given.simulator), facts)
    for remark in found.remarks:
        out.note(remark)
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
    found = api.synth(given.folder, family=given.family, route=given.route, timing=given.timing)
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
    if given.timing:
        timed = found["timing"]
        out.table(timing_listing(timed))
        out.fact("clock", timing_line(timed), {"planned_ns": timed.planned_ns, "fmax_mhz": timed.fmax_mhz})
        written.append(f"timing_{timed.family}.json")
    out.files(given.folder, written)


def completion(given: Namespace, out: Output) -> None:
    """Print the script that a shell reads."""
    from .cli import parser
    from .completion import script

    print(script(parser(), given.shell), end="")


def demo(given: Namespace, out: Output) -> None:
    """Everything, on the network that ships with the package."""
    from ..demo.run import run

    run(given.output, out)
