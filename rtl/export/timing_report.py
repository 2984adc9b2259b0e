# SPDX-License-Identifier: Apache-2.0
"""The longest paths of an exported design beside what was planned, by static timing of its netlist."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fxsim.errors import FxsimError
from fxsim.families import canonical
from fxsim.files.folder import MANIFEST, read_json, write_whole

from ..plan.cell_delays import CELL_DELAYS
from .cell_timing import Capture
from .netlist import Cell, Netlist, read_netlist
from .static_timing import StaticTiming
from .synthesis import planned, synthesize


@dataclass(frozen=True)
class LongPath:
    """The longest path of a kind in a part of a design.

    ``part``: a layer, or ``ports`` for what stands around the layers. ``kind``: what it ends in: ``data``, ``enable``
    or ``reset`` of a register, a pin of a ``memory``, or a register in the same ``block``. ``source``, ``target``: the
    registers or blocks between which it runs; ``cells``: what lies on it, in order; ``fan_out``: the most pins that one
    of its wires drives.
    """

    part: str
    kind: str
    path_ns: float
    source: str
    target: str
    cells: tuple[str, ...]
    fan_out: int


@dataclass(frozen=True)
class Timed:
    """What static timing found.

    ``planned_ns``: the longest path by the plan for ``clock_mhz``; ``path_ns``, ``fmax_mhz``: the longest path of the
    netlist, and the clock that it holds; ``paths``: the longest ones by part and kind, longest first.
    """

    family: str
    clock_mhz: float
    planned_ns: float
    path_ns: float
    fmax_mhz: float
    paths: tuple[LongPath, ...]

    @property
    def period_ns(self) -> float:
        """A cycle of the clock that was planned for."""
        return 1e3 / self.clock_mhz


def time_design(folder: Path, family: str | None = None) -> tuple[dict[str, Any], Timed]:
    """Synthesize an exported design and time its netlist: its cells, as ``synthesize`` counts them, and its paths.

    ``family`` is that of the export by default. ``timing_<family>.json`` in the folder holds the second part. Raises
    ``FxsimError`` for what ``synthesize`` refuses.
    """
    facts = read_json(folder / MANIFEST)
    family = canonical(facts.get("family", "xc7") if family is None else family)
    planned(folder, facts)
    with tempfile.TemporaryDirectory(prefix="fxsim_timing_") as work:
        file = Path(work) / "netlist.json"
        cells = synthesize(folder, family, file)
        found = time_netlist(folder, read_netlist(file, cells["top"]), family)
    write_whole(folder / f"timing_{family}.json", (json.dumps(asdict(found), indent=1) + "\n").encode())
    return cells, found


def time_netlist(folder: Path, netlist: Netlist, family: str) -> Timed:
    """Time the netlist of an exported design; raises ``FxsimError`` for one without a path between registers."""
    facts = read_json(folder / MANIFEST)
    clock, path = planned(folder, facts)
    paths = long_paths(netlist, family, _ops(facts.get("taps")))
    if not paths:
        raise FxsimError(f"{folder}: has no path between two registers")
    longest = paths[0].path_ns
    return Timed(family, clock, path, longest, 1e3 / longest, paths)


def long_paths(netlist: Netlist, family: str, ops: Mapping[str, str] | None = None) -> tuple[LongPath, ...]:
    """The longest path of each part of a design and each kind of end, longest first.

    ``ops``: the layers of ops whose signals carry only the op's name.
    """
    timing = StaticTiming(netlist, CELL_DELAYS[family])
    ends: dict[tuple[str, str], tuple[float, Cell, Capture]] = {}
    inside: dict[str, tuple[float, Cell]] = {}
    for one in timing.ends():
        key = part(timing.name(one[1]), ops or {}), one[2].end
        if key not in ends or one[0] > ends[key][0]:
            ends[key] = one
    for cell, length in timing.inside:
        layer = part(timing.name(cell), ops or {})
        if layer not in inside or length > inside[layer][0]:
            inside[layer] = length, cell
    found = [
        LongPath(layer, "block", length, timing.name(cell), timing.name(cell), (cell.type,), 0)
        for layer, (length, cell) in inside.items()
    ]
    for (layer, kind), end in ends.items():
        route = timing.path(*end)
        source = next((hop.name for hop in route.hops if hop.name), "")
        cells, pins = tuple(hop.cell for hop in route.hops), max(hop.pins for hop in route.hops)
        found.append(LongPath(layer, kind, route.length, source, route.target, cells, pins))
    return tuple(sorted(found, key=lambda path: (-path.path_ns, path.part, path.kind)))


def part(name: str, ops: Mapping[str, str]) -> str:
    """The layer that a signal of the flat netlist is in, or ``ports``."""
    words = name.split(".")
    if words[0] == "network" and len(words) > 2:
        return words[1]
    return ops.get(re.sub(r"(_\d+)*(\[\d+\])?$", "", name), "ports")


def _ops(taps: object) -> dict[str, str]:
    """The layer of each op that only one layer has, by a manifest's taps."""
    found: dict[str, str] = {}
    for tap in taps if isinstance(taps, list) else []:
        if isinstance(tap, dict):
            op, layer = str(tap.get("op")), str(tap.get("layer"))
            found[op] = layer if found.get(op, layer) == layer else "ports"
    return found
