# SPDX-License-Identifier: Apache-2.0
"""Clocks of random whole designs: what the plan says of the longest path, and what static timing finds.

    python benchmarks/bench_timing.py [--limit N] [--families F …] [--jobs N] [--json FILE]

Networks, foldings, interleaving and clocks are drawn by their number; N numbers of each family are measured, of which
some cannot be planned for their clock. Yosys takes about half a minute a design. Netlists stay in a cache by the
digest of their Verilog, so that a design that has not changed is timed again within seconds, and a run that was stopped
goes on. ``--json`` writes the rows; ``baselines/timing.json`` is of

    python benchmarks/bench_timing.py --json benchmarks/baselines/timing.json
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from calibrate_cost import Lot, draw, plan

from fxsim.errors import FxsimError
from fxsim.files.folder import MANIFEST, write_whole
from fxsim.simulator.jit import folder as kept
from rtl.export.netlist import Netlist, read_netlist
from rtl.export.synthesis import PASSES, synthesize
from rtl.export.timing_report import time_netlist
from rtl.export.verilog import manifest, to_verilog

#: Numbers that are drawn of each family.
DESIGNS = {"xc7": 30, "xcup": 30}
#: Clocks in MHz; a design's number says which of them.
CLOCKS = {"xc7": (100.0, 150.0, 200.0), "xcup": (200.0, 300.0, 400.0)}
#: Drawn for the slowest clock, so that a design's network and folding do not depend on what can be planned for others.
#: Small enough for half a minute of Yosys.
LOT = Lot(3, {family: clocks[:1] for family, clocks in CLOCKS.items()}, units=20, multipliers=250, bits=8000)
#: What is asked of the designs: the plan's longest path within this share of the one found, ...
NEAR = 0.15
TOP = "dut"


def measure(family: str, number: int, cache: Path) -> dict[str, Any]:
    """A design, planned and timed; ``refused`` instead of times if it cannot be planned."""
    clocks = CLOCKS[family]
    spec = draw(family, number, LOT) | {"clock_mhz": clocks[number % len(clocks)]}
    row: dict[str, Any] = {key: spec[key] for key in ("family", "number", "clock_mhz", "cell", "preset", "precision")}
    row |= {"units": spec["units"], "layers": spec["layers"]}
    try:
        made = plan(spec)
    except FxsimError as error:
        return row | {"refused": str(error)}
    row |= {"multipliers": made.multipliers, "interleave": made.folding.interleave}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        design = to_verilog(made, TOP)
        (folder / "dut.v").write_text(design.text)
        (folder / MANIFEST).write_text(json.dumps(manifest(made, TOP, ["dut.v"], design)))
        netlist, cells, digest = synthesized(folder, family, cache)
        timed = time_netlist(folder, netlist, family)
    worst = timed.paths[0]
    row |= {key: cells[key] for key in ("lut", "ff", "dsp", "bram")} | {"verilog": digest}
    row |= {"planned_ns": round(made.longest_path_ns, 2), "static_ns": round(timed.path_ns, 2)}
    path = {"part": worst.part, "kind": worst.kind, "source": worst.source, "target": worst.target}
    return row | {"path": path | {"cells": " ".join(worst.cells), "fan_out": worst.fan_out}}


def synthesized(folder: Path, family: str, cache: Path) -> tuple[Netlist, dict[str, Any], str]:
    """The netlist of the Verilog in a folder, its cells, and the digest by which both are kept."""
    what = "\n".join((PASSES[family], version("pyosys"), (folder / "dut.v").read_text()))
    digest = hashlib.sha256(what.encode()).hexdigest()[:20]
    file, counts = cache / f"{digest}.json.gz", cache / f"{digest}.cells.json"
    plain = folder / "netlist.json"
    if counts.exists():
        plain.write_bytes(gzip.decompress(file.read_bytes()))
        cells = json.loads(counts.read_text())
    else:
        cells = synthesize(folder, family, plain)
        write_whole(file, gzip.compress(plain.read_bytes(), 5))
        write_whole(counts, json.dumps(cells).encode())
    return read_netlist(plain, TOP), cells, digest


def held(row: Mapping[str, Any]) -> bool:
    """Whether static timing is within the planned clock."""
    return bool(row["static_ns"] <= 1e3 / row["clock_mhz"])


def near(row: Mapping[str, Any]) -> bool:
    """Whether the plan knew of the longest path."""
    return bool(abs(row["planned_ns"] - row["static_ns"]) <= NEAR * row["static_ns"])


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts and errors of designs that could be planned."""
    off = [100 * abs(row["planned_ns"] / row["static_ns"] - 1) for row in rows]
    return {
        "designs": len(rows),
        "static_within_clock": sum(map(held, rows)),
        "planned_within_15_percent": sum(map(near, rows)),
        "planned_off_percent": {"median": round(median(off), 1), "worst": round(max(off), 1)},
    }


def line(row: Mapping[str, Any]) -> str:
    """A design in a line."""
    found = f"{row['family']:5}{row['number']:3} {row['cell'][:6]:6} {row['preset']:6} {row['units']:2}"
    found += f" {row['precision'][9:-1]:>5} {row['clock_mhz']:4.0f} MHz"
    if "refused" in row:
        return f"{found}  {row['refused']}"
    path = row["path"]
    marks = ("" if held(row) else ", too slow") + ("" if near(row) else ", not planned")
    found += f" {row['multipliers']:4} multipliers {row['lut']:6} LUT  planned {row['planned_ns']:5.2f}"
    found += f"  static {row['static_ns']:5.2f}{marks}\n      {path['part']} {path['kind']}: {path['source']} to"
    return f"{found} {path['target']} by {path['cells']} ({path['fan_out']} pins)"


def measured(wanted: Sequence[tuple[str, int]], cache: Path, jobs: int) -> Iterator[dict[str, Any]]:
    """Rows in their order, each as soon as it is there."""
    families, numbers = zip(*wanted, strict=True)
    if jobs == 1:
        yield from map(measure, families, numbers, [cache] * len(wanted))
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(measure, families, numbers, [cache] * len(wanted))


def written(rows: Sequence[Mapping[str, Any]], summaries: Mapping[str, Any]) -> bytes:
    """The JSON file: a line for each design."""
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    found = json.dumps(summaries, indent=1).replace("\n", "\n ")
    return f'{{\n "summary": {found},\n "designs": [\n  {lines}\n ]\n}}\n'.encode()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(DESIGNS), choices=list(DESIGNS), metavar="F",
                        help=f"of {', '.join(DESIGNS)}")  # fmt: skip
    parser.add_argument("--limit", metavar="N", type=int, help="numbers of each family (default: 30)")
    parser.add_argument("--first", metavar="N", type=int, default=0, help="the first number (default: 0)")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="designs at a time (default: 1)")
    parser.add_argument("--cache", type=Path, help="where netlists are kept (default: in fxsim's cache folder)")
    parser.add_argument("--json", type=Path, help="write the rows and their summary")
    given = parser.parse_args()
    place = kept()
    if given.cache is None and place is None:
        parser.error("there is no cache folder: give --cache DIR")
    cache = given.cache or Path(str(place)) / "netlists"
    cache.mkdir(parents=True, exist_ok=True)
    wanted = [
        (family, number)
        for family in given.families
        for number in range(given.first, given.first + (given.limit or DESIGNS[family]))
    ]
    rows = []
    for row in measured(wanted, cache, given.jobs):
        rows.append(row)
        print(line(row), flush=True)
    summaries = {}
    planned = [row for row in rows if "refused" not in row]
    for name in (*given.families, "all"):
        if own := [row for row in planned if name in (row["family"], "all")]:
            summaries[name] = summary(own)
            print(f"{name}: {json.dumps(summaries[name])}")
    if given.json:
        write_whole(given.json, written(rows, summaries))


if __name__ == "__main__":
    main()
