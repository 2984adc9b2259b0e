# SPDX-License-Identifier: Apache-2.0
"""The page of an exported design: network, cycles, stages, cells, and what else could have been built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fxsim.errors import FxsimError
from fxsim.pages import check_results, plan_table
from fxsim.pages.charts import Bar, Lane, Plot, Series, Timeline
from fxsim.pages.page import Facts, Folded, Part, Section, Table, Text, render
from fxsim.pages.table_files import dimensions

from ..cost.cost import cells, parts_by_layer
from ..plan.folding import Plan
from ..plan.search import pareto
from ..plan.stages import heading, stages
from ..plan.target import Target
from ..plan.timing import passages

#: What the framings mean.
_FRAMINGS = {"tlast": "tlast: a sequence ends with TLAST", "count": "count: a sequence ends after its number of beats"}
#: Plans of the table beside the chosen one, at most.
_PLANS = 16


def report(plan: Plan, facts: Mapping[str, Any], extra: Sequence[Part] = ()) -> str:
    """The text of ``report.html``; ``facts`` is the manifest, ``extra`` says how well the network does its work."""
    graph = plan.graph
    timing, mhz = facts["timing"], float(facts["clock_mhz"])
    lead = (
        f"A recurrent network in fixed point, {facts['input']['element']}, as Verilog for {facts['family']} at "
        f"{mhz:g} MHz: {timing['latency']} cycles, {_us(timing['latency'], mhz)} us, from the first input to the "
        f"answer. Written by fxsim {facts['fxsim']}."
    )
    sections = [
        Section("summary", "At a glance", [Facts(list(_summary(plan, facts)))]),
        *([Section("accuracy", "Accuracy", extra)] if extra else []),
        check_results.unchecked(),
        Section(
            "network", "Network and formats", [_network(plan), Text(f"Digest (SHA-256): {graph.digest}", soft=True)]
        ),
        Section("cycles", "Where the cycles go", list(_cycles(plan, mhz))),
        Section("stages", "Pipeline stages", list(_stages(plan))),
        Section("cells", "Cells, estimated", list(_cells(plan, facts))),
        check_results.synthesis([]),
        Section("plans", "Other foldings", list(_plans(plan))),
    ]
    return render(facts["top"], lead, sections)


def _us(cycles: float, mhz: float) -> str:
    return f"{cycles / mhz:.3f}"


def _summary(plan: Plan, facts: Mapping[str, Any]) -> Iterator[tuple[object, object]]:
    timing, cost, mhz = facts["timing"], facts["cost"], float(facts["clock_mhz"])
    yield "network", plan.graph.name
    yield "parameters", plan.graph.parameters
    for name in ("input", "output"):
        side = facts[name]
        beats = side["beats_per_sequence"]
        yield name, f"{beats} beat{'s' * (beats > 1)} of {side['elements_per_beat']} x {side['element']}"
    yield "framing", _FRAMINGS[facts["framing"]]
    yield "latency", f"{timing['latency']} cycles, {_us(timing['latency'], mhz)} us"
    after = timing["latency_after_last"]
    yield "after the last beat", f"{after} cycles, {_us(after, mhz)} us"
    yield "interval", f"{timing['interval']} cycles, {mhz * 1e6 / timing['interval']:.0f} sequences/s"
    yield "multipliers", cost["multipliers"]
    yield "DSP blocks", cost["dsp"]
    yield "LUTs, estimated", cost["lut"] + cost["lutram"]
    yield "flip-flops, estimated", cost["ff"]
    yield "block RAMs", f"{cost['bram']:g}"
    yield "longest path", f"{facts['longest_path_ns']:g} ns of {1000 / mhz:g}, by the delay table"


def _network(plan: Plan) -> Table:
    graph = plan.graph
    rows: list[Sequence[object]] = [("input", "", dimensions(graph.shape), graph.input, "", "")]
    for layer, _, _, out, format in graph.flow():
        programs = [layer.program] if layer.program else []
        weights = sorted({str(dot.weights.type.plain) for program in programs for dot in program.dots})
        parameters = sum(program.parameters for program in programs)
        rows.append((layer.name, layer.kind, dimensions(out), format, parameters or "", ", ".join(weights)))
    return Table(("<layer", "<kind", "<result", "<format", "parameters", "<weights"), rows)


def _cycles(plan: Plan, mhz: float) -> Iterator[Part]:
    last, passed = passages(plan.stages, plan.source)
    lanes = [Lane("input beats", [Bar(0, last + 1, 0)])]
    rows: list[Sequence[object]] = []
    before = 0
    for layer, stage, one in zip(plan.layers, plan.stages, passed, strict=True):
        lanes.append(Lane(layer.name, [Bar(one.begun, one.taken, 1), Bar(one.taken, one.left, 2)]))
        steps = layer.steps if one.taken > one.begun else 1
        waits = (
            f"{steps} steps, one every {stage.interval * plan.folding.ways(layer.steps)} cycles" if steps > 1 else ""
        )
        rows.append((layer.name, one.taken - before, one.left - one.taken, one.left, waits))
        before = one.left
    kinds = ("input beats arrive", "takes in steps", "computes the result after the last step")
    yield Timeline(lanes, kinds, "cycles", "One sequence, from its first beat to its first result")
    columns = ("<layer", "cycles until it has all steps", "from there to its result", "total so far", "<")
    yield Table(columns, rows)
    total = passed[-1].left
    yield Text(
        f"{total} cycles in all, {_us(total, mhz)} us at {mhz:g} MHz; the last input beat arrives in cycle {last}."
    )


def _stages(plan: Plan) -> Iterator[Part]:
    yield Text("What each layer does in each cycle after a step enters it, as fxsim plan --stages shows it.", True)
    for layer, schedule in zip(plan.layers, plan.schedules, strict=True):
        if schedule is not None:
            rows = [
                (stage.cycle, f"{stage.offset:.2f}" if stage.offset else "", ", ".join(stage.operators))
                for stage in stages(schedule, layer.labels)
            ]
            table = Table(("cycle", "last result, ns", "<<operators of the first beat"), rows)
            yield Folded(heading(layer.name, schedule), [table])


def _cells(plan: Plan, facts: Mapping[str, Any]) -> Iterator[Part]:
    family, cost, modules = plan.family.name, facts["cost"], facts["modules"]
    rows: list[Sequence[object]] = []
    for layer, schedule, parts in zip(plan.layers, plan.schedules, parts_by_layer(plan), strict=True):
        if schedule is None:
            continue
        found = cells(parts, family)
        numbers = [f"{getattr(found, name):g}" for name in check_results.CELLS]
        rows.append((layer.name, modules[layer.name], schedule.fold.reuse, schedule.multipliers, *numbers))
    whole = [f"{cost[name]:g}" for name in check_results.CELLS]
    rows.append(("whole design", facts["top"], "", cost["multipliers"], *whole))
    columns = ("<layer", "<module", "reuse", "multipliers", *check_results.CELLS.values())
    yield Table(columns, rows, marked=len(rows) - 1)
    yield Text("The whole design includes the ports, and its figures are rounded separately.", soft=True)


def _plans(plan: Plan) -> Iterator[Part]:
    multiplier = {one.fold.multiplier for one in plan.schedules if one is not None}
    chosen = multiplier.pop() if len(multiplier) == 1 else "auto"
    try:
        front = pareto(plan.graph, Target(plan.clock_mhz, plan.family, chosen), _PLANS)
    except FxsimError as error:
        # A network that can only be built unrolled has no foldings without that.
        yield Text(f"No other foldings: {error}")
        return
    yield _front("DSP blocks", [(one.timing.latency, one.dsp) for one in (*front, plan)])
    yield _front("LUTs, estimated", [(one.timing.latency, one.cost.luts) for one in (*front, plan)])
    yield plan_table.listing(front, plan).part("chosen")
    yield Text(
        f"As fxsim plan lists them, at {plan.clock_mhz:g} MHz for {plan.family.name}; reuse of each layer in turn.",
        soft=True,
    )


def _front(name: str, points: Sequence[tuple[int, int]]) -> Plot:
    """A front of plans, the last of which is this design."""
    series = [Series("best foldings", points[:-1]), Series("this design", points[-1:], large=True)]
    return Plot(series, "latency, cycles", name, f"{name} against latency", log_x=True, log_y=True)
