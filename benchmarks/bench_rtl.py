# SPDX-License-Identifier: Apache-2.0
"""Cycles and cells of the paper networks: predicted, measured under Verilator, counted by Yosys; beside published HLS.

    python benchmarks/bench_rtl.py --shared DIR [--only NAME …] [--cells]

DIR holds ``models`` (the trained networks of arXiv:2207.00559) and ``data/toptag_hls_scan.csv`` (864 runs of Vivado HLS
by its authors). Every case is exported, compared with the simulator bit for bit, and its cycles with the plan's; with
``--cells`` Yosys counts its cells, which takes minutes for the parallel ones. Then the plans of top tagging at every
precision of the scan are held against it: a run is dominated if one of them has fewer cycles and fewer DSP blocks.
Results of earlier runs stay in the JSON file; the Pareto fronts go to a picture.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fxsim
from fxsim import vectors
from fxsim.errors import FxsimError
from fxsim.graph import Graph
from fxsim.importers import read_model
from fxsim.quantization import quantize
from fxsim.verdicts import CELLS
from rtl.constants import CHOICES
from rtl.folding import Folding, Plan, by_reuse, make_plan
from rtl.search import by_budget
from testbenches import check_folder

HERE = Path(__file__).resolve().parent
#: HLS latencies are in microseconds at this clock.
HLS_MHZ = 200.0


@dataclass(frozen=True)
class Case:
    """A network, how it is quantised and folded, and what it is compared with."""

    name: str
    model: str
    weights: str | None = None
    precision: str = "ap_fixed<16,6>"
    preset: str = "hls4ml"
    reuse: Mapping[str, int] = field(default_factory=dict)
    multipliers: int | None = None
    interleave: int = 1
    clock_mhz: float = 200.0
    family: str = "xc7"
    sequences: int = 20
    published: str = ""


TOPTAG = {"lstm": "models/toptag/lstm.h5", "gru": "models/toptag/gru.h5"}
DENSE = "layer3_layer3_relu"
FTAG = ("models/ftag/lstm_arch.json", "models/ftag/lstm_weights.h5", "ap_fixed<16,8>")
CASES = (
    Case("toptag_lstm_parallel", TOPTAG["lstm"], reuse={DENSE: 4}, published="332 cycles, 2720 DSP, 109k LUT, 68k FF"),
    Case("toptag_gru_parallel", TOPTAG["gru"], reuse={DENSE: 3}, published="333 cycles, 2448 DSP, 89k LUT, 61k FF"),
    Case("toptag_lstm_exact", TOPTAG["lstm"], preset="exact", reuse={DENSE: 4}),
    Case("toptag_gru_exact", TOPTAG["gru"], preset="exact", reuse={DENSE: 4}),
    Case("toptag_lstm_xcup_300", TOPTAG["lstm"], reuse={DENSE: 4}, clock_mhz=300.0, family="xcup"),
    Case("toptag_lstm_150", TOPTAG["lstm"], multipliers=150, published="1506 cycles, 150 DSP, 71k LUT, 33k FF"),
    Case("toptag_lstm_64", TOPTAG["lstm"], multipliers=64, published="34000 cycles, 64 DSP, 69k LUT, 32k FF"),
    Case("toptag_lstm_interleave", TOPTAG["lstm"], reuse={DENSE: 16}, interleave=8),
    Case("ftag_lstm_2024", *FTAG, multipliers=2024, sequences=8, published="1554 cycles, 2024 DSP, 244k LUT"),
    Case("quickdraw_lstm_2000", "models/quickdraw/lstm.h5", multipliers=2000, sequences=4, published="206 a step"),
)  # fmt: skip


def load(case: Case, shared: Path) -> Graph:
    """The case's network."""
    weights = None if case.weights is None else shared / case.weights
    return quantize(read_model(shared / case.model, weights), precision=case.precision, preset=case.preset)


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


def measure(case: Case, shared: Path, cells: bool) -> dict[str, Any]:
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
        raw = vectors.random_inputs(graph, case.sequences)
        (folder / "vectors.npz").write_bytes(vectors.encode(vectors.golden(graph, raw)))
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
        }
        if cells:
            found = fxsim.synth(folder / "ip", family=case.family)
            row |= {kind: found[kind] for kind in CELLS}
    return row


def _busy(plan: Plan, interval: float, steps: int) -> float:
    """Share of cycles in which the recurrent multipliers work at full load."""
    first = plan.schedules[0]
    return 0.0 if first is None else round(steps * first.fold.reuse / interval, 3)


def plans(graph: Graph) -> Iterator[Plan]:
    """Plans of a network from fast to small, with products made in every way."""
    for choice in CHOICES:
        for reuse in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1280):
            # Products by adding alone may be too slow for the clock; few layers have as many products as that.
            with suppress(FxsimError):
                yield make_plan(graph, by_reuse(graph, reuse, choice))


def scan(shared: Path) -> list[dict[str, Any]]:
    """For every HLS run the plan of its precision with the fewest DSP blocks among those with fewer cycles."""
    with (shared / "data" / "toptag_hls_scan.csv").open(encoding="utf-8") as file:
        runs = list(csv.DictReader(file))
    fronts: dict[tuple[str, str], list[tuple[int, int]]] = {}
    rows = []
    for run in runs:
        precision = f"ap_fixed<{run['ap_tot']},{run['ap_int']}>"
        key = (run["model"], precision)
        if key not in fronts:
            source = read_model(shared / TOPTAG[run["model"]])
            graph = quantize(source, precision=precision, preset="hls4ml")
            fronts[key] = [(plan.timing.latency, plan.dsp) for plan in plans(graph)]
        cycles, dsp = float(run["LAT_min"]) * HLS_MHZ, int(run["DSP48E"])
        better = [pair for pair in fronts[key] if pair[0] < cycles and pair[1] < dsp]
        rows.append(
            {"model": run["model"], "precision": precision, "strategy": run["strategy"], "reuse": int(run["reuse"])}
            | {"cycles": cycles, "dsp": dsp, "ours": min(better, key=lambda pair: pair[1]) if better else None}
            | {"front": sorted(set(fronts[key]))}
        )
    return rows


def plot(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Cycles against DSP blocks at <16,6>, HLS runs and our plans."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
    for axes, model in zip(panels, ("lstm", "gru"), strict=True):
        own = [row for row in rows if row["model"] == model and row["precision"] == "ap_fixed<16,6>"]
        front = pareto(own[0]["front"])
        axes.plot([x for x, _ in front], [y for _, y in front], "o-", color="#0b6e99", markersize=4, label="fxsim")
        axes.plot([row["cycles"] for row in own], [row["dsp"] for row in own], "s", color="#c44e34", markersize=5,
                  label="hls4ml (Vivado HLS)")  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(f"Top tagging {model.upper()}, <16,6>, 200 MHz", fontsize=10)
        axes.set_xlabel("latency (cycles)")
        axes.grid(True, color="#dddddd", linewidth=0.6)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    panels[0].set_ylabel("DSP blocks")
    panels[1].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


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
    parser.add_argument("--shared", type=Path, required=True, help="folder with models and data")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these cases alone ('scan' for the scan)")
    parser.add_argument("--cells", action="store_true", help="count cells by Yosys")
    parser.add_argument("--json", type=Path, default=HERE / "baselines" / "rtl.json")
    parser.add_argument("--plot", type=Path, default=HERE.parent / "docs" / "images" / "rtl.png")
    given = parser.parse_args()
    results = json.loads(given.json.read_text()) if given.json.exists() else {"cases": {}}
    for case in CASES:
        if given.only is None or case.name in given.only:
            row = measure(case, given.shared, given.cells)
            # Cells that were counted before stay; nothing else of them is older than this run.
            results["cases"][case.name] = {**results["cases"].get(case.name, {}), **row}
            print(case.name, json.dumps(results["cases"][case.name]), flush=True)
            given.json.write_text(json.dumps(results, indent=1) + "\n")
    if given.only is None or "scan" in given.only:
        rows = scan(given.shared)
        beaten = sum(row["ours"] is not None for row in rows)
        print(f"dominated: {beaten} of {len(rows)} HLS runs")
        for row in rows:
            if row["ours"] is None:
                print("  not:", {key: value for key, value in row.items() if key not in ("front", "ours")})
        results["scan"] = {"runs": len(rows), "dominated": beaten}
        given.json.write_text(json.dumps(results, indent=1) + "\n")
        plot(rows, given.plot)


if __name__ == "__main__":
    main()
