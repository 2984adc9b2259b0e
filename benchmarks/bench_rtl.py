# SPDX-License-Identifier: Apache-2.0
"""Cycles and cells of the paper networks: predicted, measured under Verilator, counted by Yosys; beside published HLS.

    python benchmarks/bench_rtl.py [--shared DIR] [--only NAME …] [--cells]

DIR holds ``models`` (the trained networks of arXiv:2207.00559) and ``data/toptag_hls_scan.csv`` (864 runs of Vivado HLS
by its authors); without it the weights are seeded (published.py), and nothing is held against the runs. Every case is
exported, compared with the simulator bit for bit, and its cycles with the plan's; with ``--cells`` Yosys counts the
cells of those marked ``counted``, which takes minutes for the parallel ones. ``loops`` are the cycles of a step at
other clocks. Then the plans of top tagging at every precision of the scan are held against it: a run is dominated if
one of them has fewer cycles and fewer DSP blocks. Results of earlier runs stay in the JSON file, cells only while the
Verilog is the same. figures.py draws the picture and writes the pages.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import published

import fxsim
from fxsim import golden
from fxsim.errors import FxsimError
from fxsim.files.folder import write_whole
from fxsim.pages.check_results import CELLS
from fxsim.pages.table_files import figure
from fxsim.program.graph import Graph
from fxsim.quantization.presets import quantize
from rtl.plan.folding import Folding, Plan, by_reuse, make_plan
from rtl.plan.search import by_budget
from rtl.plan.signed_digits import CHOICES
from testbenches import check_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: HLS latencies are in microseconds at this clock.
HLS_MHZ = 200.0
#: The precision that the picture shows.
DRAWN = "ap_fixed<16,6>"


@dataclass(frozen=True)
class Case:
    """A network, how it is quantised and folded, and what it is compared with."""

    name: str
    network: str
    precision: str = "ap_fixed<16,6>"
    preset: str = "hls4ml"
    reuse: Mapping[str, int] = field(default_factory=dict)
    multipliers: int | None = None
    interleave: int = 1
    clock_mhz: float = 200.0
    family: str = "xc7"
    sequences: int = 20
    published: str = ""
    #: Whether ``--cells`` counts it: Yosys takes more than half an hour for the largest.
    counted: bool = False


DENSE = "layer3_layer3_relu"
FTAG_PRECISION = "ap_fixed<16,8>"
CASES = (
    Case("toptag_lstm_parallel", "toptag/lstm", reuse={DENSE: 4}, published="332 cycles, 2720 DSP, 109k LUT, 68k FF",
         counted=True),
    Case("toptag_gru_parallel", "toptag/gru", reuse={DENSE: 3}, published="333 cycles, 2448 DSP, 89k LUT, 61k FF",
         counted=True),
    Case("toptag_lstm_exact", "toptag/lstm", preset="exact", reuse={DENSE: 4}, counted=True),
    Case("toptag_gru_exact", "toptag/gru", preset="exact", reuse={DENSE: 4}),
    Case("toptag_lstm_xcup_300", "toptag/lstm", reuse={DENSE: 4}, clock_mhz=300.0, family="xcup"),
    Case("toptag_lstm_150", "toptag/lstm", multipliers=150, published="1506 cycles, 150 DSP, 71k LUT, 33k FF",
         counted=True),
    Case("toptag_lstm_64", "toptag/lstm", multipliers=64, published="34000 cycles, 64 DSP, 69k LUT, 32k FF",
         counted=True),
    Case("toptag_lstm_interleave", "toptag/lstm", reuse={DENSE: 16}, interleave=8),
    Case("ftag_lstm_2024", "ftag/lstm", FTAG_PRECISION, multipliers=2024, sequences=8,
         published="1554 cycles, 2024 DSP, 244k LUT"),
    Case("quickdraw_lstm_2000", "quickdraw/lstm", multipliers=2000, sequences=4, published="206 a step"),
)  # fmt: skip


#: Clocks at which the loop from step to step is planned: family and MHz.
LOOPS = (("xc7", 100.0), ("xc7", 200.0), ("xcup", 150.0), ("xcup", 200.0), ("xcup", 300.0))


def load(case: Case, shared: Path | None) -> Graph:
    """The case's network."""
    return quantize(published.source(case.network, shared), precision=case.precision, preset=case.preset)


def folding(case: Case, graph: Graph) -> Folding:
    """The case's folding."""
    base = Folding({}, case.interleave)
    if case.multipliers is None:
        return by_reuse(graph, case.reuse, base=base)
    return by_budget(
        graph,
        multipliers=case.multipliers,
        clock_mhz=case.clock_mhz,
        family_name=case.family,
        base=base,
    )


def measure(case: Case, shared: Path | None, cells: bool) -> dict[str, Any]:
    """Export, compare, count."""
    graph = load(case, shared)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        began = time.perf_counter()
        ip = fxsim.export(
            graph, folder / "ip", folding=folding(case, graph), clock_mhz=case.clock_mhz, family=case.family, top="dut",
            large=True,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        raw = golden.random_inputs(graph, case.sequences)
        (folder / "vectors.npz").write_bytes(golden.encode(golden.golden(graph, raw)))
        report = check_folder(
            folder / "ip", folder / "vectors.npz", cocotb=False, stalls=(), build_dir=folder / "build"
        )
        assert report.measured is not None
        steps = graph.shape[0]
        row: dict[str, Any] = {
            "preset": case.preset,
            "precision": case.precision,
            "clock_mhz": case.clock_mhz,
            "family": case.family,
            "interleave": case.interleave,
            "cycles_a_step": ip.plan.schedules[0].interval if ip.plan.schedules[0] else None,
            "latency": report.measured.latency,
            "latency_after_last": report.measured.latency_after_last,
            "interval": float(report.measured.interval or 0),
            "predicted": report.measured == report.predicted,
            "different": report.differences,
            "values": report.values,
            "multipliers": ip.plan.multipliers,
            "busy": _busy(ip.plan, float(report.measured.interval or 0), steps),
            "seconds": round(seconds, 1),
            "published": case.published,
            "estimate": ip.plan.cost.to_json(),
            "verilog": hashlib.sha256((folder / "ip" / "dut.v").read_bytes()).hexdigest(),
        }
        if cells and case.counted:
            found = fxsim.synth(folder / "ip", family=case.family)
            row |= {kind: found[kind] for kind in CELLS}
    return row


def _busy(plan: Plan, interval: float, steps: int) -> float:
    """Share of cycles in which the recurrent multipliers work at full load."""
    first = plan.schedules[0]
    return 0.0 if first is None else round(steps * first.fold.reuse / interval, 3)


def loops(shared: Path | None) -> Iterator[dict[str, Any]]:
    """Cycles of a step and in all of top tagging at ``LOOPS``, everything as parallel as it can be."""
    for preset in ("hls4ml", "exact"):
        for cell in ("lstm", "gru"):
            case = Case("loop", f"toptag/{cell}", preset=preset)
            graph = load(case, shared)
            for family, clock_mhz in LOOPS:
                plan = make_plan(graph, by_reuse(graph, {}), clock_mhz, family)
                assert plan.schedules[0] is not None
                yield {"preset": preset, "cell": cell, "family": family, "clock_mhz": clock_mhz} | {
                    "cycles_a_step": plan.schedules[0].interval,
                    "latency": plan.timing.latency,
                }


def plans(graph: Graph) -> Iterator[Plan]:
    """Plans of a network from fast to small, with products made in every way."""
    for choice in CHOICES:
        for reuse in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1280):
            # Products by adding alone may be too slow for the clock; few layers have as many products as that.
            with suppress(FxsimError):
                yield make_plan(graph, by_reuse(graph, reuse, choice))


def scan(shared: Path) -> dict[str, Any]:
    """For every HLS run the plan of its precision with the fewest DSP blocks among those with fewer cycles.

    ``fronts`` and ``published`` are pairs of cycles and DSP blocks at <16,6>, of our best plans and of the runs.
    """
    with (shared / "data" / "toptag_hls_scan.csv").open(encoding="utf-8") as file:
        runs = list(csv.DictReader(file))
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    others: dict[str, list[tuple[int, int]]] = {"lstm": [], "gru": []}
    left = []
    for run in runs:
        precision = f"ap_fixed<{run['ap_tot']},{run['ap_int']}>"
        key = (run["model"], precision)
        if key not in found:
            graph = load(Case("scan", f"toptag/{run['model']}", precision), shared)
            found[key] = [(plan.timing.latency, plan.dsp) for plan in plans(graph)]
        cycles, dsp = round(float(run["LAT_min"]) * HLS_MHZ), int(run["DSP48E"])
        if not any(pair[0] < cycles and pair[1] < dsp for pair in found[key]):
            left.append({"model": run["model"], "precision": precision, "strategy": run["strategy"]}
                        | {"reuse": int(run["reuse"]), "cycles": cycles, "dsp": dsp})  # fmt: skip
        if precision == DRAWN:
            others[run["model"]].append((cycles, dsp))
    return {
        "runs": len(runs),
        "dominated": len(runs) - len(left),
        "not dominated": left,
        "fronts": {cell: pareto(found[cell, DRAWN]) for cell in others},
        "published": {cell: sorted(set(pairs)) for cell, pairs in others.items()},
    }


def picture(results: Mapping[str, Any]) -> Figure:
    """Cycles against DSP blocks, HLS runs and our plans."""
    whole = figure(9.5, 3.8)
    first = None
    for place, cell in enumerate(("lstm", "gru")):
        axes = first = whole.add_subplot(1, 2, place + 1, sharey=first)
        axes.plot(*zip(*results["fronts"][cell], strict=True), "o-", color="#0b6e99", markersize=4, label="fxsim")
        axes.plot(*zip(*results["published"][cell], strict=True), "s", color="#c44e34", markersize=5,
                  label="hls4ml (Vivado HLS)")  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(f"Top tagging {cell.upper()}, <16,6>, 200 MHz", fontsize=10)
        axes.set_xlabel("latency (cycles)")
        axes.grid(True, color="#dddddd", linewidth=0.6)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    whole.axes[0].set_ylabel("DSP blocks")
    whole.axes[1].legend(frameon=False)
    return whole


def pareto(pairs: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """The pairs that no other beats in both, from fast to small."""
    best: list[tuple[int, int]] = []
    for cycles, dsp in sorted((int(a), int(b)) for a, b in pairs):
        if not best or dsp < best[-1][1]:
            best.append((cycles, dsp))
    return best


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    published.options(parser, "rtl.json")
    names = [*(case.name for case in CASES), "loops", "scan"]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, default=names, help=", ".join(names))
    parser.add_argument("--cells", action="store_true", help="count cells by Yosys")
    given = published.parse(parser)
    results: dict[str, Any] = {"cases": {}}
    if given.json is not None and given.json.exists():
        results = json.loads(given.json.read_text())
    results["weights"] = published.kind(given.shared)

    def keep() -> None:
        if given.json is not None:
            write_whole(given.json, (json.dumps(results, indent=1) + "\n").encode())

    for case in CASES:
        if case.name in given.only:
            row = measure(case, given.shared, given.cells)
            known = results["cases"].get(case.name, {})
            if known.get("verilog") == row["verilog"]:
                row = {**{kind: known[kind] for kind in CELLS if kind in known}, **row}
            results["cases"][case.name] = row
            print(case.name, json.dumps(row), flush=True)
            keep()
    if "loops" in given.only:
        results["loops"] = list(loops(given.shared))
        for row in results["loops"]:
            print("loop", json.dumps(row), flush=True)
        keep()
    if "scan" in given.only and given.shared is None:
        print("scan: left out, for the runs of Vivado HLS are in the folder that --shared names")
    elif "scan" in given.only:
        results["scan"] = found = scan(given.shared)
        print(f"dominated: {found['dominated']} of {found['runs']} HLS runs")
        for row in found["not dominated"]:
            print("  not:", row)
        keep()


if __name__ == "__main__":
    main()
