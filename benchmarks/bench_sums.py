# SPDX-License-Identifier: Apache-2.0
"""Narrow sums of the preset exact beside exact ones: accuracy, AUC and error of trained networks, bits of the sums.

    python benchmarks/bench_sums.py [--shared DIR] [--cells]

DIR is as for bench_accuracy.py, whose networks and inputs these are. At every width the precision has those integer
bits, of a few, with which exact sums have the smallest mean error. ``--cells`` also counts the cells of the top tagging
LSTM at <16,6>, as parallel as in bench_rtl.py, with Yosys (it takes many minutes). The table goes to standard output,
the rows to JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import published
from bench_accuracy import Case, cases, classes, printed
from bench_rtl import DENSE

import fxsim
from fxsim.files.folder import write_whole
from fxsim.program.graph import Graph
from fxsim.quantization.exact_sums import SUMS
from fxsim.quantization.presets import quantize
from fxsim.simulator.run import predict
from fxsim.study import metrics
from fxsim.study.floating import predict as predict_float

WIDTHS = (12, 14, 16, 18, 20)
CELLS = ("lut", "ff", "dsp", "bram")


@dataclass(frozen=True)
class Row:
    """One measurement: ``accuracy`` and ``auc`` by the labels, or by float's own classes where there are none.

    ``bits``: width of the sum of the recurrent products.
    """

    network: str
    precision: str
    sums: str
    bits: int
    accuracy: float
    auc: float
    float_accuracy: float
    float_auc: float
    mean_error: float
    max_error: float

    def __str__(self) -> str:
        return (
            f"{self.network:15} {self.precision:15} {self.sums:7} {self.bits:4} {self.accuracy:9.3f} {self.auc:7.4f} "
            f"{self.mean_error:11.6f} {self.max_error:9.4f}"
        )


def measure(case: Case, widths: Sequence[int]) -> Iterator[Row]:
    """A row for every width and kind of sums."""
    want = predict_float(case.source, case.x)
    truth = metrics.classes(classes(want) if case.y is None else case.y, want)

    def scores(y: metrics.Array) -> tuple[float, float]:
        area = metrics.mean_auc(metrics.class_aucs(y, truth))
        assert area is not None
        return metrics.accuracy(y, truth), area

    def row(graph: Graph, precision: str, sums: str) -> Row:
        got = predict(graph, case.x, warn=False)
        error = np.abs(got - want)
        bits = next(p for p in graph.programs.values() if p.states)["uh"].type.width
        return Row(
            case.name, precision, sums, bits, *scores(got), *scores(want), float(error.mean()), float(error.max())
        )

    for width in widths:
        texts = [f"ap_fixed<{width},{integer}>" for integer in case.integers]
        exact = min(
            (row(quantize(case.source, precision=text), text, "exact") for text in texts),
            key=lambda one: one.mean_error,
        )
        yield exact
        yield row(quantize(case.source, precision=exact.precision, sums="narrow"), exact.precision, "narrow")


def count(shared: Path | None, sums: str) -> dict[str, Any]:
    """Estimated and counted cells of the top tagging LSTM, and its cycles."""
    graph = quantize(published.source("toptag/lstm", shared), precision="ap_fixed<16,6>", sums=sums)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "ip"
        ip = fxsim.export(graph, folder, reuse={DENSE: 4}, clock_mhz=200.0, family="xc7", top="dut", large=True)
        found = fxsim.synth(folder, family="xc7")
        return {
            "cycles_a_step": ip.plan.schedules[0].interval if ip.plan.schedules[0] else None,
            "latency": ip.plan.timing.latency,
            "estimate": ip.plan.cost.to_json(),
            **{kind: found[kind] for kind in CELLS},
        }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    published.options(parser, "sums.json")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS, help="bits (default: %(default)s)")
    parser.add_argument("--cells", action="store_true", help="count cells with Yosys, too; else those of the file stay")
    given = published.parse(parser)
    print("network         precision       sums    bits  accuracy     AUC  mean error max error")
    rows = printed(row for case in cases(given.shared) for row in measure(case, given.widths))
    cells = {sums: count(given.shared, sums) for sums in SUMS} if given.cells else {}
    if given.json is not None:
        if not cells and given.json.exists():
            cells = json.loads(given.json.read_text(encoding="utf-8"))["cells"]
        results = {"weights": published.kind(given.shared), "rows": rows, "cells": cells}
        write_whole(given.json, (json.dumps(results, indent=1) + "\n").encode())
    for sums, found in cells.items() if given.cells else ():
        print(f"top tagging LSTM, {sums} sums: " + ", ".join(f"{found[kind]:g} {kind.upper()}" for kind in CELLS))


if __name__ == "__main__":
    main()
