# SPDX-License-Identifier: Apache-2.0
"""Clocks of random whole designs: what the plan says of the longest path, static timing finds, and nextpnr routes.

    python benchmarks/bench_timing.py [--limit N] [--families F …] [--seeds N] [--jobs N] [--json FILE]

Networks, foldings, interleaving and clocks are drawn by their number; N numbers of each family are measured, of which
some cannot be planned for their clock. Yosys takes about half a minute a design. For ECP5 nextpnr places and routes,
from several seeds, whose median counts; the wires of static timing were fitted to the designs of even numbers
(``--fit`` does it again), so that those of odd numbers judge it. Netlists and routed clocks stay in a cache by the
digest of their Verilog, so that a design that has not changed is timed again within seconds, and a run that was stopped
goes on. ``--json`` puts each row into a file as soon as it is there, in the place of the one of the same number, and
sums up all rows of the file. A baseline is renewed as a whole by

    python benchmarks/bench_timing.py --json benchmarks/baselines/timing.json
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from calibrate_cost import Lot, draw, plan
from numpy.typing import NDArray

from fxsim.errors import FxsimError
from fxsim.files.folder import MANIFEST, write_whole
from fxsim.simulator.jit import folder as cache_folder
from rtl.export.netlist import Netlist, read_netlist
from rtl.export.route import FAMILY, find_command, place_and_route, read_report
from rtl.export.static_timing import StaticTiming
from rtl.export.synthesis import PASSES, synthesize
from rtl.export.timing_report import time_netlist
from rtl.export.tools import call
from rtl.export.verilog import manifest, to_verilog
from rtl.plan.cell_delays import CELL_DELAYS, CellDelays

#: Numbers that are drawn of each family.
DESIGNS = {"xc7": 30, "xcup": 30, "ecp5": 36}
#: Clocks in MHz; a design's number says which of them.
CLOCKS = {"xc7": (100.0, 150.0, 200.0), "xcup": (200.0, 300.0, 400.0), "ecp5": (25.0, 40.0, 60.0)}
#: Drawn for the slowest clock, so that a design's network and folding do not depend on what can be planned for others.
_SLOWEST = {family: clocks[:1] for family, clocks in CLOCKS.items()}
#: Small enough for half a minute of Yosys, and for a minute of nextpnr.
_LARGE = Lot(3, _SLOWEST, units=20, multipliers=250, bits=8000)
LOTS = {"xc7": _LARGE, "xcup": _LARGE, "ecp5": Lot(3, _SLOWEST, units=12, multipliers=48, bits=2000)}
#: What is fitted of wires, and how many times over.
WIRES = ("net", "fan_out", "block")
FITS = 8
#: Seeds of nextpnr.
SEEDS = 3
#: The families that are not routed, together.
TIMED = "xc7, xcup"
#: How far the plan's longest path may be from the one found.
NEAR = 0.15
#: What is asked of designs.
ASKED = (
    (TIMED, "static_within_clock", "xc7 and xcup, static timing within the planned clock", (58, 60)),
    (
        TIMED,
        "planned_within_15_percent",
        "xc7 and xcup, the plan's longest path within 15 % of the one found",
        (54, 60),
    ),
    (FAMILY, "routed_within_clock", "ecp5, routed within the planned clock", (28, 30)),
)
TOP = "dut"


def measure(family: str, number: int, kept: Path, seeds: int) -> dict[str, Any]:
    """A design, planned, timed and routed; ``refused`` instead of times if it cannot be planned for its clock."""
    clocks = CLOCKS[family]
    spec = draw(family, number, LOTS[family]) | {"clock_mhz": clocks[number % len(clocks)]}
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
        netlist, cells, digest = synthesized(folder, family, kept)
        timed = time_netlist(folder, netlist, family)
        if family == FAMILY:
            found = [routed(folder / "netlist.json", made.clock_mhz, seed + 1, kept / digest) for seed in range(seeds)]
            row |= {"routed_ns": round(median(found), 2), "seeds_ns": found}
    worst = timed.paths[0]
    row |= {key: cells[key] for key in ("lut", "ff", "dsp", "bram")} | {"verilog": digest}
    row |= {"planned_ns": round(made.longest_path_ns, 2), "static_ns": round(timed.path_ns, 2)}
    path = {"part": worst.part, "kind": worst.kind, "source": worst.source, "target": worst.target}
    return row | {"path": path | {"cells": " ".join(worst.cells), "fan_out": worst.fan_out}}


def synthesized(folder: Path, family: str, kept: Path) -> tuple[Netlist, dict[str, Any], str]:
    """The netlist of the Verilog in a folder, its cells, and the digest by which both are kept."""
    what = "\n".join((PASSES[family], version("pyosys"), (folder / "dut.v").read_text()))
    digest = hashlib.sha256(what.encode()).hexdigest()[:20]
    counts = kept / f"{digest}.cells.json"
    if not counts.exists():
        cells = synthesize(folder, family, folder / "netlist.json")
        write_whole(kept / f"{digest}.json.gz", gzip.compress((folder / "netlist.json").read_bytes(), 5))
        write_whole(counts, json.dumps(cells).encode())
    return _kept_netlist(kept / digest, folder / "netlist.json"), json.loads(counts.read_text()), digest


def _kept_netlist(name: Path, plain: Path | None = None) -> Netlist:
    """A netlist out of the cache; ``plain``: where it is written as Yosys did."""
    with tempfile.TemporaryDirectory() as temporary:
        file = plain or Path(temporary) / "netlist.json"
        file.write_bytes(gzip.decompress(name.with_name(f"{name.name}.json.gz").read_bytes()))
        return read_netlist(file, TOP)


def routed(netlist: Path, clock_mhz: float, seed: int, kept: Path) -> float:
    """A cycle of the fastest clock that nextpnr reaches, in ns; ``kept``: the beginning of the name of what is kept."""
    file = kept.with_name(f"{kept.name}.{_nextpnr()}.{clock_mhz:g}.{seed}.json")
    if not file.exists():
        report = place_and_route(netlist, clock_mhz, seed)
        write_whole(file, json.dumps(report).encode())
    fmax, *_ = read_report(json.loads(file.read_text()))
    return round(1e3 / fmax, 2)


@cache
def _nextpnr() -> str:
    """A digest of nextpnr's version."""
    with tempfile.TemporaryDirectory() as temporary:
        ended = call([find_command(), "--version"], Path(temporary))
    return hashlib.sha256((ended.stdout + ended.stderr).encode()).hexdigest()[:8]


def held(row: Mapping[str, Any]) -> bool:
    """Whether static timing is within the planned clock."""
    return bool(row["static_ns"] <= 1e3 / row["clock_mhz"])


def near(row: Mapping[str, Any]) -> bool:
    """Whether the plan knew of the longest path."""
    return bool(abs(row["planned_ns"] - row["static_ns"]) <= NEAR * row["static_ns"])


def summaries(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each family, and of those that are timed only."""
    planned = [row for row in rows if "refused" not in row]
    groups = {family: (family,) for family in DESIGNS} | {TIMED: tuple(set(DESIGNS) - {FAMILY})}
    chosen = {name: [row for row in planned if row["family"] in group] for name, group in groups.items()}
    return {name: summary(own) for name, own in chosen.items() if own}


def asked(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What holds of designs, and what is asked of them."""
    for name, key, what, share in ASKED:
        if name in found:
            designs = found[name].get("routed", found[name]["designs"])
            yield f"{what}: {found[name][key]} of {designs}; asked: {share[0]} of {share[1]}"


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts and errors of designs that could be planned, and of routed ones how far static timing is off."""
    found = {
        "designs": len(rows),
        "static_within_clock": sum(map(held, rows)),
        "planned_within_15_percent": sum(map(near, rows)),
        "planned_off_percent": _errors([row["planned_ns"] / row["static_ns"] for row in rows]),
    }
    if own := [row for row in rows if "routed_ns" in row]:
        found["routed"] = len(own)
        found["routed_within_clock"] = sum(row["routed_ns"] <= 1e3 / row["clock_mhz"] for row in own)
        for name, judged in (("fitted", False), ("judged", True)):
            ratios = [row["static_ns"] / row["routed_ns"] for row in own if judges(row) == judged]
            found[f"static_off_percent_{name}"] = _errors(ratios)
    return found


def _errors(ratios: Iterable[float]) -> dict[str, float]:
    """How far ratios are from 1, in per cent."""
    off = [100 * abs(float(ratio) - 1) for ratio in ratios]
    return {"designs": len(off), "median": round(median(off or [0.0]), 1), "worst": round(max(off, default=0.0), 1)}


def judges(row: Mapping[str, Any]) -> bool:
    """Whether the wires of static timing were not fitted to a design."""
    return bool(row["number"] % 2)


def fit(rows: Sequence[Mapping[str, Any]], kept: Path) -> CellDelays:
    """Delays of ECP5 whose wires make static timing as long as what was routed: the least squares of relative errors.

    With the wires the longest path changes, and with it what they add up to, so that this goes on by half steps, and
    the best of them counts.
    """
    own = [row for row in rows if "routed_ns" in row and not judges(row)]
    netlists = [_kept_netlist(kept / row["verilog"]) for row in own]
    routed_ns = np.array([row["routed_ns"] for row in own])

    def lengths(delays: CellDelays) -> NDArray[np.float64]:
        return np.array([max(length for length, *_ in StaticTiming(one, delays).ends()) for one in netlists])

    found = best = CELL_DELAYS[FAMILY]
    least, step = np.inf, 1e-4
    for _ in range(FITS):
        now = lengths(found)
        error = float(np.sum((now / routed_ns - 1) ** 2))
        print(f"{ {name: getattr(found, name) for name in WIRES} }: {_errors(now / routed_ns)}", flush=True)
        if error < least:
            least, best = error, found
        slopes = [(lengths(replace(found, **{name: getattr(found, name) + step})) - now) / step for name in WIRES]
        ways = (np.array(slopes) / routed_ns).T
        more = np.linalg.lstsq(ways, 1 - now / routed_ns, rcond=None)[0]
        halves = {name: max(0.0, getattr(found, name) + add / 2) for name, add in zip(WIRES, more, strict=True)}
        found = replace(found, **{name: round(float(value), 3) for name, value in halves.items()})
    print(f"best: { {name: getattr(best, name) for name in WIRES} }")
    return best


def line(row: Mapping[str, Any]) -> str:
    """A design in a line."""
    found = f"{row['family']:5}{row['number']:3} {row['cell'][:6]:6} {row['preset']:6} {row['units']:2}"
    found += f" {row['precision'][9:-1]:>5} {row['clock_mhz']:4.0f} MHz"
    if "refused" in row:
        return f"{found}  {row['refused']}"
    path = row["path"]
    marks = ("" if held(row) else ", too slow") + ("" if near(row) else ", not planned")
    found += f" {row['multipliers']:4} multipliers {row['lut']:6} LUT  planned {row['planned_ns']:5.2f}"
    if "routed_ns" in row:
        marks += f"  routed {row['routed_ns']:5.2f}"
    found += f"  static {row['static_ns']:5.2f}{marks}\n      {path['part']} {path['kind']}: {path['source']} to"
    return f"{found} {path['target']} by {path['cells']} ({path['fan_out']} pins)"


def measured(wanted: Sequence[tuple[str, int]], kept: Path, seeds: int, jobs: int) -> Iterator[dict[str, Any]]:
    """Rows in their order, each as soon as it is there."""
    one = partial(measure, kept=kept, seeds=seeds)
    families, numbers = zip(*wanted, strict=True)
    if jobs == 1:
        yield from map(one, families, numbers)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(one, families, numbers)


def written(rows: Collection[Mapping[str, Any]]) -> bytes:
    """The JSON file: a line for each design."""
    order = list(DESIGNS)
    lines = ",\n  ".join(json.dumps(row) for row in sorted(rows, key=lambda x: (order.index(x["family"]), x["number"])))
    found = json.dumps(summaries(rows), indent=1).replace("\n", "\n ")
    return f'{{\n "summary": {found},\n "designs": [\n  {lines}\n ]\n}}\n'.encode()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(DESIGNS), choices=list(DESIGNS), metavar="F",
                        help=f"of {', '.join(DESIGNS)}")  # fmt: skip
    parser.add_argument("--limit", metavar="N", type=int, help="numbers of each family (default: 30; ecp5: 36)")
    parser.add_argument("--first", metavar="N", type=int, default=0, help="the first number (default: 0)")
    parser.add_argument("--seeds", metavar="N", type=int, default=SEEDS, help=f"of nextpnr (default: {SEEDS})")
    parser.add_argument("--fit", action="store_true", help="print what wires of ECP5 fit the designs of even numbers")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="designs at a time (default: 1)")
    parser.add_argument("--cache", type=Path, help="where netlists are kept (default: in fxsim's cache folder)")
    parser.add_argument("--json", type=Path, help="write the rows and their summary")
    given = parser.parse_args()
    place = cache_folder()
    if given.cache is None and place is None:
        parser.error("there is no cache folder: give --cache DIR")
    kept = given.cache or Path(str(place)) / "netlists"
    kept.mkdir(parents=True, exist_ok=True)
    wanted = [
        (family, number)
        for family in given.families
        for number in range(given.first, given.first + (given.limit or DESIGNS[family]))
    ]
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    if given.json and given.json.exists():
        rows = {(row["family"], row["number"]): row for row in json.loads(given.json.read_text())["designs"]}
    for row in measured(wanted, kept, given.seeds, given.jobs):
        rows[row["family"], row["number"]] = row
        print(line(row), flush=True)
        if given.json:
            write_whole(given.json, written(rows.values()))
    found = summaries(rows.values())
    print(json.dumps(found, indent=1))
    print("\n".join(asked(found)))
    if given.fit:
        fit(list(rows.values()), kept)


if __name__ == "__main__":
    main()
