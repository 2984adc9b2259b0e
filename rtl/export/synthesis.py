# SPDX-License-Identifier: Apache-2.0
"""Cell counts of an exported design from Yosys, which runs in a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fxsim.errors import FxsimError, show
from fxsim.extras import require
from fxsim.families import canonical
from fxsim.files.folder import MANIFEST, read_json, write_whole
from fxsim.pages.check_results import CELLS

from .tools import call, complaint, output

#: The Yosys pass of each family. Ports stay bare: the design is an IP, not a chip.
PASSES = {
    "xc7": "synth_xilinx -family xc7 -flatten -noiopad",
    "xcu": "synth_xilinx -family xcu -flatten -noiopad",
    "xcup": "synth_xilinx -family xcup -flatten -noiopad",
    "ecp5": "synth_ecp5",
}

#: What each cell is and how many of it: patterns of cell types, tried in order.
_PATTERNS = [
    (re.compile(pattern), kind, count)
    for pattern, kind, count in (
        (r"LUT[1-6](_2)?", "lut", 1.0),
        (r"SRL16E|SRLC16E|SRLC32E", "lutram", 1.0),
        (r"RAM32M|RAM64M", "lutram", 4.0),
        (r"RAM32M16|RAM64M8|RAM256X1D", "lutram", 8.0),
        (r"RAM\d+X1[SD]|RAM128X1D", "lutram", 2.0),
        (r"TRELLIS_DPR16X4", "lutram", 2.0),
        (r"CCU2C", "lut", 2.0),  # a carry cell is two LUTs with a chain
        (r"FD[RSCP]E(_1)?|TRELLIS_FF", "ff", 1.0),
        (r"DSP48E[12]|MULT18X18D", "dsp", 1.0),
        (r"RAMB36E[12]|DP16KD", "bram", 1.0),
        (r"RAMB18E[12]", "bram", 0.5),
    )
]


def synthesize(folder: Path, family: str | None = None, netlist: Path | None = None) -> dict[str, Any]:
    """Synthesize an exported design and count its cells.

    Returns ``family``, ``top``, ``digest``, the totals ``lut``, ``lutram`` (LUTs used as memory or shift register),
    ``ff``, ``dsp``, ``bram`` (of 36 Kbit, on ECP5 18 Kbit) and ``cells`` by type; ``synth_<family>.json`` in the folder
    holds the same, and ``netlist``, if given, the cells for place and route. Raises ``FxsimError`` for a folder that is
    no export, or with what Yosys complains about.
    """
    facts = read_json(folder / MANIFEST)
    family = canonical(facts.get("family", "xc7") if family is None else family)
    top, names = facts.get("top"), facts.get("files")
    # It becomes a word of a Yosys command, and Yosys has commands that start others.
    if not isinstance(top, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", top):
        raise FxsimError(f"{folder / MANIFEST}: 'top' must be a Verilog identifier, not {show(top)}")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FxsimError(f"{folder / MANIFEST}: 'files' must be a list of Verilog files, not {show(names)}")
    for name in names:
        # Unlike Path's, this isfile takes names that no system does.
        if not os.path.isfile(folder / name):
            raise FxsimError(f"{folder}: no such file as {show(name)}")
    files = [(folder / name).resolve() for name in names]
    require("synth", "synth")
    cells = _run(top, files, family, netlist)
    result = {"family": family, "top": top, "digest": facts.get("digest"), **totals(cells), "cells": cells}
    write_whole(folder / f"synth_{family}.json", (json.dumps(result, indent=1) + "\n").encode())
    return result


def planned(folder: Path, facts: Mapping[str, Any]) -> tuple[float, float]:
    """The clock in MHz that a manifest was planned for, and its longest path in ns; raises ``FxsimError`` without."""
    clock, path = facts.get("clock_mhz"), facts.get("longest_path_ns")
    if not isinstance(path, int | float) or not isinstance(clock, int | float) or not clock > 0:
        raise FxsimError(f"{folder / MANIFEST}: must have longest_path_ns and clock_mhz")
    return float(clock), float(path)


def results(folder: Path) -> list[dict[str, Any]]:
    """What :func:`synthesize` has written into a folder, family by family; raises ``FxsimError`` for something else."""
    found = []
    for family in PASSES:
        path = folder / f"synth_{family}.json"
        if path.is_file():
            one = read_json(path)
            numbers = [one.get(kind) for kind in CELLS] if isinstance(one, dict) else [None]
            if not all(type(number) in (int, float) for number in numbers) or one.get("family") != family:
                raise FxsimError(f"{path}: is not what fxsim synth writes; delete it")
            found.append(one)
    return found


def totals(cells: Mapping[str, int]) -> dict[str, float]:
    """LUTs, flip-flops, DSP blocks and block RAMs of a count of cells by type."""
    found = dict.fromkeys(CELLS, 0.0)
    for name, number in cells.items():
        for pattern, kind, count in _PATTERNS:
            if pattern.fullmatch(name):
                found[kind] += number * count
                break
    return {kind: int(value) if value == int(value) else value for kind, value in found.items()}


def _run(top: str, files: list[Path], family: str, netlist: Path | None) -> dict[str, int]:
    with tempfile.TemporaryDirectory(prefix="fxsim_synth_") as work:
        stat = Path(work) / "stat.json"
        # Yosys splits commands at blanks, so every path is a link without any.
        links = []
        for number, path in enumerate(files):
            link = Path(work) / f"{number}.v"
            link.symlink_to(path)
            links.append(link.name)
        commands = [
            f"read_verilog {' '.join(links)}",
            f"{PASSES[family]} -top {top}",
            "check -assert",
            "tee -q -o stat.json stat -json",
            *(["write_json netlist.json"] if netlist else []),
        ]
        # Found where this module was found, also when fxsim is not installed.
        here = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
        paths = {"PYTHONPATH": os.pathsep.join(filter(None, here))}
        ended = call([sys.executable, "-m", "rtl.export.synthesis", *commands], Path(work), extra=paths)
        output("Yosys", ended)
        if not stat.is_file():
            raise FxsimError(f"Yosys counted no cells: {complaint(ended)}")
        text = stat.read_text()
        if netlist:
            shutil.move(Path(work) / "netlist.json", netlist)
    counts = json.loads(text[text.index("{") :])["modules"][f"\\{top}"]["num_cells_by_type"]
    return {name: int(number) for name, number in sorted(counts.items())}


def _work(commands: list[str]) -> None:
    """Run Yosys commands, in the process that :func:`synthesize` starts."""
    from pyosys import libyosys

    design = libyosys.Design()
    for command in commands:
        libyosys.run_pass(command, design)


if __name__ == "__main__":
    _work(sys.argv[1:])
