# SPDX-License-Identifier: Apache-2.0
"""The networks of arXiv:2207.00559 on one page: parameters, accuracy against bits, cycles and cells beside the paper's.

    python benchmarks/paper.py [--shared DIR] [-o DIR] [--cells] [--jets FILE …] [--quickdraw FILE …]

DIR holds ``models`` and ``data`` (see bench_rtl.py); without it the weights of the designs are seeded (published.py),
and of accuracy only that on toy jets is measured, whose networks are in the repository. Cycles are those of the
exact model, which bench_rtl.py compares with Verilator; cells are estimated, with ``--cells`` counted by Yosys (minutes
each). AUC and accuracy: top tagging on toy jets (toy_jets.py) with networks trained on them, QuickDraw on 125 drawings,
and both on public data sets where files of these are given (public_data.py). Writes paper.html, paper.json, paper.png.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import published
from bench_rtl import DENSE, FTAG_PRECISION, Case, folding, load
from numpy.typing import NDArray
from public_data import JET_FEATURES, lhc_jets, quickdraw, top_or_light
from toy_jets import TEST, jets

import fxsim
from fxsim.errors import FxsimError
from fxsim.files.arrays import make_folder
from fxsim.files.folder import write_whole
from fxsim.importers import read_model
from fxsim.importers.source import Source
from fxsim.pages.charts import Plot, Series
from fxsim.pages.page import Facts, Part, Section, Table, Text, render
from fxsim.pages.table_files import figure, png
from fxsim.quantization.presets import quantize
from fxsim.study.floating import predict as predict_float
from fxsim.study.metrics import accuracy, class_aucs
from rtl.plan.folding import make_plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
CLOCK_MHZ = 200.0
FRACTIONS = (2, 4, 6, 8, 10, 12, 14)
Measure = Callable[[NDArray[np.float64], NDArray[np.int64]], float]


@dataclass(frozen=True)
class Published:
    """Vivado HLS by the paper's authors at 200 MHz; None where nothing is published."""

    how: str = ""
    cycles: int | None = None
    dsp: int | None = None
    lut: int | None = None
    ff: int | None = None


#: Designs of ours, each beside the published one that it is to be compared with.
DESIGNS = (
    (
        Case("Top tagging LSTM, parallel", "toptag/lstm", reuse={DENSE: 4}),
        Published("Latency", 332, 2720, 109_000, 68_000),
    ),
    (
        Case("Top tagging GRU, parallel", "toptag/gru", reuse={DENSE: 3}),
        Published("Latency", 333, 2448, 89_000, 61_000),
    ),
    (
        Case("Top tagging LSTM, 150 multipliers", "toptag/lstm", multipliers=150),
        Published("Resource, reuse 32", 1506, 150, 71_000, 33_000),
    ),
    (
        Case("Top tagging GRU, 136 multipliers", "toptag/gru", multipliers=136),
        Published("Resource, reuse 32", 3900, 136, 65_000, 30_000),
    ),
    (
        Case("Top tagging LSTM, 64 multipliers", "toptag/lstm", multipliers=64),
        Published("Resource, reuse 2048", 34_000, 64, 69_000, 32_000),
    ),
    (
        Case("Flavour tagging LSTM, 2024 multipliers", "ftag/lstm", FTAG_PRECISION, multipliers=2024),
        Published("Resource, reuse 50", 1554, 2024, 244_000),
    ),
    (
        Case("Flavour tagging GRU, 1649 multipliers", "ftag/gru", FTAG_PRECISION, multipliers=1649),
        Published("Resource, reuse 50", 16_000, 1649),
    ),
    (
        Case("QuickDraw LSTM, 2000 multipliers", "quickdraw/lstm", multipliers=2000),
        Published("206 cycles a step at best", 20_600),
    ),
    (Case("QuickDraw GRU, 2000 multipliers", "quickdraw/gru", multipliers=2000), Published()),
)


@dataclass(frozen=True)
class Curve:
    """A measure against fractional bits, at some integer bits, in some arithmetic."""

    name: str
    preset: str
    integer: int
    points: list[tuple[int, float]]
    published: bool = False

    @property
    def title(self) -> str:
        """For a legend."""
        return f"{self.name}, {self.preset}, I={self.integer}"


@dataclass(frozen=True)
class Study:
    """Curves of one data set; ``base``: the measure in float by network, which curves are divided by if ``ratio``."""

    title: str
    what: str
    data: str
    base: dict[str, float]
    ratio: bool
    curves: list[Curve] = field(default_factory=list)


def auc(outputs: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """Area under the ROC curve of one output."""
    (area,) = class_aucs(outputs, y)
    assert area is not None
    return area


def study(
    title: str,
    data: str,
    networks: dict[str, Source],
    x: NDArray[Any],
    y: NDArray[np.int64],
    measure: Measure,
    integers: dict[str, Sequence[int]],
    fractions: Sequence[int],
) -> Study:
    """Measure networks at all formats; an AUC is given as its share of float's."""
    ratio = measure is auc
    base = {name: measure(predict_float(source, x), y) for name, source in networks.items()}
    found = Study(title, "AUC / AUC of float" if ratio else "accuracy", data, base, ratio)
    for name, source in networks.items():
        for preset, wanted in integers.items():
            for integer in wanted:
                points = []
                for fraction in fractions:
                    graph = quantize(source, precision=f"ap_fixed<{integer + fraction},{integer}>", preset=preset)
                    value = measure(graph.predict(x, warn=False), y)
                    points.append((fraction, value / base[name] if ratio else value))
                found.curves.append(Curve(name, preset, integer, points))
                print(f"{title}: {found.curves[-1].title}", file=sys.stderr, flush=True)
    return found


def published_curves(shared: Path, most: int) -> Iterator[Curve]:
    """The paper's own AUC ratios of top tagging at 6 integer bits: the median of its runs at each width.

    ``most``: fractional bits up to which they are given.
    """
    with (shared / "data" / "toptag_hls_scan.csv").open(encoding="utf-8") as file:
        runs = [run for run in csv.DictReader(file) if run["ap_int"] == "6" and run["ap_over"] == "AP_WRAP"]
    for cell in ("lstm", "gru"):
        values: dict[int, list[float]] = {}
        for run in runs:
            if run["model"] == cell:
                values.setdefault(int(run["ap_frac"]), []).append(float(run["rel_auc"]))
        points = [(bits, statistics.median(found)) for bits, found in sorted(values.items()) if bits <= most]
        yield Curve(f"paper's {cell.upper()}", "HLS", 6, points, True)


def studies(given: argparse.Namespace) -> Iterator[Study]:
    """Everything that there is data for."""
    toy = {cell.upper(): read_model(HERE / "toy" / f"{cell}.keras") for cell in ("lstm", "gru")}
    x, y = jets(given.jets_of_toy, TEST)
    text = f"{len(x)} toy jets that were not trained on; the networks are of the paper's shape, trained on such jets"
    wanted: dict[str, Sequence[int]] = {"hls4ml": (3, 6), "exact": (3,)}
    found = study("Top tagging, toy jets", text, toy, x, y, auc, wanted, given.fractions)
    if given.shared is not None:
        found.curves.extend(published_curves(given.shared, max(given.fractions)))
    yield found
    if given.shared is None:
        return
    if given.jets:
        x, y = top_or_light(*lhc_jets(given.jets, given.jet_features))
        text = f"{len(x)} jets of hls4ml_LHCjet with {', '.join(given.jet_features)}; the paper's networks as published"
        known = {cell.upper(): published.source(f"toptag/{cell}", given.shared) for cell in ("lstm", "gru")}
        yield study("Top tagging, LHC jets", text, known, x, y, auc, wanted, given.fractions)
    known = {cell.upper(): published.source(f"quickdraw/{cell}", given.shared) for cell in ("lstm", "gru")}
    with np.load(given.shared / "data" / "quickdraw125.npz") as drawings:
        x, y, classes = drawings["x"].astype(float), drawings["y"], drawings["classes"].tolist()
    text = "125 drawings, 25 a class"
    if given.quickdraw:
        x, y = quickdraw(given.quickdraw, classes)
        text = f"{len(x)} drawings of the files given"
    wanted = {"hls4ml": (10,), "exact": (10,)}
    yield study("QuickDraw", text, known, x, y, accuracy, wanted, given.fractions)


def parameters(shared: Path | None) -> list[dict[str, Any]]:
    """Parameters of each network, ours as read from its file beside the paper's."""
    rows = []
    for name, one in published.NETWORKS.items():
        graph = quantize(published.source(name, shared))
        rows.append({"network": one.title, "shape": one.shape, "parameters": graph.parameters, "paper": one.parameters})
    return rows


def designs(shared: Path | None, cells: bool) -> Iterator[dict[str, Any]]:
    """Cycles and cells of each design beside the published one's."""
    for case, other in DESIGNS:
        graph = load(case, shared)
        plan = make_plan(graph, folding(case, graph), case.clock_mhz, case.family)
        count: dict[str, float] = plan.cost.to_json()
        if cells:
            with tempfile.TemporaryDirectory() as temporary:
                place = Path(temporary) / "ip"
                fxsim.export(graph, place, folding=plan.folding, clock_mhz=case.clock_mhz, top="dut", large=True)
                found = fxsim.synth(place)
            count = {name: found[name] for name in count}
        first = plan.schedules[0]
        yield {
            "design": case.name,
            "precision": case.precision,
            "latency": plan.timing.latency,
            "latency_us": round(plan.timing.latency / case.clock_mhz, 3),
            "cycles_a_step": None if first is None else first.interval,
            "interval": float(plan.timing.interval),
            "cells": "Yosys" if cells else "estimated",
            **count,
            "published": asdict(other),
        }
        print(case.name, file=sys.stderr, flush=True)


def page(results: dict[str, Any], found: Sequence[Study]) -> str:
    """The page of all results."""
    sections = []
    rows = [tuple(row.values()) for row in results["networks"]]
    table = Table(("<network", "<steps x features -> layers", "parameters", "in the paper"), rows)
    sections.append(Section("networks", "Networks", [table]))
    for place, one in enumerate(found):
        sections.append(Section("bits-" + "abc"[place], f"{one.title}: {one.what} against fractional bits", _bits(one)))
    parts = list(_designs(results["designs"]))
    if results["weights"] == published.SEEDED:
        parts.append(Text("The weights of these designs are seeded: the trained networks were not given (--shared)."))
    sections.append(Section("designs", "Cycles and cells", parts))
    lead = (
        "Ultra-low latency recurrent networks on FPGAs (arXiv:2207.00559): what its networks are and take with fxsim."
    )
    return render("The paper's networks", lead, sections)


_NOTE = (
    "I: integer bits. hls4ml: truncation and wrap, as in the paper; exact: rounding and saturation; HLS: the authors' "
    "runs of Vivado HLS, on their jets."
)


def _bits(one: Study) -> list[Part]:
    facts = Facts(
        [(f"{name} in float", f"{value:.4f} {'AUC' if one.ratio else 'right'}") for name, value in one.base.items()]
    )
    series = [Series(curve.title, curve.points, dashed=curve.published) for curve in one.curves]
    bits = sorted({bit for curve in one.curves for bit, _ in curve.points})
    values = [dict(curve.points) for curve in one.curves]
    rows = [
        (curve.title, *(f"{known[bit]:.4f}" if bit in known else "" for bit in bits))
        for curve, known in zip(one.curves, values, strict=True)
    ]
    parts: list[Part] = [Text(f"{one.data}."), facts, Plot(series, "fractional bits", one.what, one.title)]
    parts.append(Table(("<fractional bits", *map(str, bits)), rows))
    parts.append(Text(_NOTE, soft=True))
    return parts


def _designs(rows: Sequence[dict[str, Any]]) -> Iterator[Part]:
    cells = {"cycles": "latency", "DSP": "dsp", "LUT": "lut", "FF": "ff"}
    columns = ("<design", *(word for name in cells for word in (name, "paper")), "BRAM", "us", "a step")
    table = []
    for row in rows:
        ours = {**row, "lut": row["lut"] + row["lutram"]}
        theirs = {**row["published"], "latency": row["published"]["cycles"]}
        pairs = [value for name in cells.values() for value in (ours[name], theirs[name])]
        rest = (f"{row['bram']:g}", row["latency_us"], row["cycles_a_step"], row["precision"], theirs["how"])
        table.append((row["design"], *pairs, *rest))
    yield Table(
        (*columns, "<precision", "<how published"),
        table,
        caption=f"At {CLOCK_MHZ:g} MHz, preset hls4ml; cells {rows[0]['cells']}",
    )
    text = (
        "Cycles from the first input beat to the answer, by the exact model; every check compares it with Verilator. "
        "Published: estimates of Vivado HLS by the paper's authors; for QuickDraw, the best that is known on an FPGA."
    )
    yield Text(text, soft=True)


def picture(found: Sequence[Study]) -> Figure:
    """All curves, a panel for each data set."""
    whole = figure(5.2 * len(found), 4.4)
    for place, one in enumerate(found):
        axes = whole.add_subplot(1, len(found), place + 1)
        for curve in one.curves:
            style = "--" if curve.published else "o-"
            axes.plot(*zip(*curve.points, strict=True), style, markersize=4, linewidth=1.3, label=curve.title)
        axes.set_title(one.title, fontsize=10)
        axes.set_xlabel("fractional bits")
        axes.set_ylabel(one.what)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.legend(fontsize=7, frameon=False)
    return whole


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    published.options(parser)
    parser.add_argument("-o", "--output", default="paper", help="folder to write to")
    parser.add_argument("--cells", action="store_true", help="count cells by Yosys")
    parser.add_argument("--jets", type=Path, nargs="+", default=[], help="HDF5 files of hls4ml_LHCjet")
    parser.add_argument("--jet-features", nargs=6, default=list(JET_FEATURES), help="columns of a constituent")
    parser.add_argument("--quickdraw", type=Path, nargs="+", default=[], help=".ndjson or .npz files of Quick, Draw!")
    parser.add_argument("--fractions", type=int, nargs="+", default=list(FRACTIONS), help="fractional bits")
    parser.add_argument("--jets-of-toy", type=int, default=10_000, help="how many toy jets")
    found = published.parse(parser, given)
    if (found.jets or found.quickdraw) and found.shared is None:
        parser.error("the data sets are for the paper's networks: give --shared, too")
    return found


def main(command: Sequence[str] | None = None) -> None:
    """Measure, write."""
    given = arguments(command)
    try:
        found = list(studies(given))
        results = {
            "weights": published.kind(given.shared),
            "networks": parameters(given.shared),
            "studies": [asdict(one) for one in found],
            "designs": list(designs(given.shared, given.cells)),
        }
        place = make_folder(given.output)
        text = (json.dumps(results, indent=1) + "\n").encode()
        write_whole(place / "paper.json", text)
        if given.json is not None:
            write_whole(given.json, text)
        write_whole(place / "paper.png", png(picture(found)))
        write_whole(place / "paper.html", page(results, found).encode())
    except FxsimError as error:
        raise SystemExit(f"paper.py: {error}") from None
    print(f"{place}: paper.html, paper.json, paper.png")


if __name__ == "__main__":
    main()
