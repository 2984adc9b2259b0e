# SPDX-License-Identifier: Apache-2.0
"""What function tables cost, and what they bring: speed, cycles and cells by the kind of the tables; errors by bits.

    python benchmarks/bench_tables.py [--errors]

For the two networks in ``toy`` (those of arXiv:2207.00559 for top tagging, trained on toy jets), one precision for each
kind of table that it asks for, beside tables of 1024 entries at the same precision. Speed is sequences a second of
processor time on one thread, the best of several turns in which all take part; cycles and cells are those of the
fastest plan, before it is built. Errors are differences from float at every width, with six integer bits, on toy jets.
The tables go to standard output, the rows to JSON; ``--errors`` measures these alone and keeps the rest.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from toy_jets import TEST, jets

from fxsim.importers import read_model
from fxsim.program.graph import Graph
from fxsim.program.ops import Remainder
from fxsim.quantization.presets import quantize
from fxsim.simulator.run import predict
from fxsim.study.floating import predict as predict_float
from rtl.plan.folding import by_reuse, make_plan

HERE = Path(__file__).resolve().parent
PRECISIONS = ("ap_fixed<16,8>", "ap_fixed<16,7>", "ap_fixed<16,6>", "ap_fixed<16,4>", "ap_fixed<24,6>")
FAMILY, CLOCK_MHZ = "xc7", 200.0
NETWORKS = ("lstm", "gru")
#: Widths of which errors are measured, and on how many jets.
WIDTHS, JETS = range(12, 25), 1000
_BATCH, _TURNS = 4000, 9


@dataclass(frozen=True)
class Row:
    """One network at one precision. ``entries``: of the table of a gate; pieces, if it is ``interpolated``."""

    network: str
    precision: str
    table_size: int | None
    entries: int
    interpolated: bool
    sequences_a_second: int
    cycles_a_step: int
    latency: int
    dsp: int
    bram: float


@dataclass(frozen=True)
class Error:
    """How far a network is from float at one precision."""

    network: str
    precision: str
    table_size: int | None
    mean_error: float
    max_error: float


def gate(graph: Graph) -> tuple[int, bool]:
    """Entries of the largest table of the cell, and whether it is interpolated."""
    program = graph.nodes[0].program
    assert program is not None
    sizes = [op.table.values.shape[0] for op in program.ops if op.kind == "lookup"]  # type: ignore[attr-defined]
    return max(sizes), any(isinstance(op, Remainder) for op in program.ops)


def speeds(graphs: Sequence[Graph]) -> list[float]:
    """Sequences a second of each, taken in turns."""
    x = np.random.default_rng(0).uniform(-1, 1, (_BATCH, *graphs[0].shape))
    best = [float("inf")] * len(graphs)
    for turn in range(_TURNS + 1):
        for k, graph in enumerate(graphs):
            began = time.process_time()
            predict(graph, x, threads=1)
            if turn:  # the first one compiles
                best[k] = min(best[k], time.process_time() - began)
    return [_BATCH / seconds for seconds in best]


def measure() -> Iterator[Row]:
    """All rows."""
    for name in NETWORKS:
        source = read_model(HERE / "toy" / f"{name}.keras")
        cases = [(precision, size) for precision in PRECISIONS for size in (None, 1024)]
        graphs = [quantize(source, precision=precision, table_size=size) for precision, size in cases]
        for (precision, size), graph, speed in zip(cases, graphs, speeds(graphs), strict=True):
            plan = make_plan(graph, by_reuse(graph, 1), CLOCK_MHZ, FAMILY)
            assert plan.schedules[0] is not None
            yield Row(
                name, precision, size, *gate(graph), round(speed), plan.schedules[0].interval, plan.timing.latency,
                plan.cost.dsp, plan.cost.bram,
            )  # fmt: skip


def errors() -> Iterator[Error]:
    """A row for every width, and beside it one with tables of 1024 entries."""
    x, _ = jets(JETS, TEST)
    for name in NETWORKS:
        source = read_model(HERE / "toy" / f"{name}.keras")
        want = predict_float(source, x)
        for size in (None, 1024):
            for width in WIDTHS:
                precision = f"ap_fixed<{width},6>"
                got = predict(quantize(source, precision=precision, table_size=size), x, warn=False)
                error = np.abs(got - want)
                yield Error(name, precision, size, float(error.mean()), float(error.max()))


def kept(path: Path) -> list[Row]:
    """The costs that a JSON file holds."""
    return [Row(**row) for row in json.loads(path.read_text())["costs"]]


def show_rows(rows: Sequence[Row]) -> None:
    """The table of costs."""
    print("network precision       tables           sequences/s  cycles a step  latency   DSP  block RAM")
    for row in rows:
        kind = f"{row.entries} {'pieces' if row.interpolated else 'entries'}"
        print(
            f"{row.network:7} {row.precision:15} {kind:16} {row.sequences_a_second:11,} {row.cycles_a_step:14} "
            f"{row.latency:8} {row.dsp:5} {row.bram:10.1f}"
        )


def show_errors(found: Sequence[Error]) -> None:
    """The table of errors, both kinds of tables side by side."""
    print("network precision       mean error (1024 entries)   largest error (1024 entries)")
    plain = {(row.network, row.precision): row for row in found if row.table_size is not None}
    for row in found:
        if row.table_size is None:
            other = plain[row.network, row.precision]
            print(
                f"{row.network:7} {row.precision:15} {row.mean_error:10.2e} {f'({other.mean_error:.2e})':>16} "
                f"{row.max_error:15.2e} {f'({other.max_error:.2e})':>16}"
            )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=HERE / "baselines" / "tables.json")
    parser.add_argument(
        "--errors", action="store_true", help="measure errors only; the costs are those of the JSON file"
    )
    arguments = parser.parse_args()
    rows = list(measure()) if not arguments.errors else kept(arguments.json)
    found = list(errors())
    show_rows(rows)
    show_errors(found)
    results = {"costs": [asdict(row) for row in rows], "errors": [asdict(row) for row in found]}
    arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
