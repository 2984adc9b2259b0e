# SPDX-License-Identifier: Apache-2.0
"""A design as cells of a Xilinx FPGA: what Yosys makes of it, with the simulation models that come with Yosys."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from .manifest import Manifest
from .yosys import run_yosys, share

__all__ = ["netlist"]


def netlist(manifest: Manifest, folder: Path, family: str = "xc7") -> tuple[Manifest, dict[str, int]]:
    """Synthesize a design into a folder; returns its manifest and the number of cells of each type.

    The folder holds the netlist, the models and a ``manifest.json`` without taps, so that it can be checked like an
    export. Raises :class:`testbenches.CheckError` with what Yosys complains about.
    """
    folder.mkdir(parents=True, exist_ok=True)
    links = []
    for number, path in enumerate(manifest.files):
        links.append(f"{number}.v")
        (folder / links[-1]).unlink(missing_ok=True)
        (folder / links[-1]).symlink_to(path)
    top = manifest.top
    run_yosys(
        [
            f"read_verilog {' '.join(links)}",
            f"synth_xilinx -family {family} -flatten -noiopad -top {top}",
            "check -assert",
            "tee -q -o stat.json stat -json",
            f"write_verilog -noattr {top}.v",
        ],
        folder,
    )
    shutil.copyfile(share() / "xilinx" / "cells_sim.v", folder / "cells_sim.v")
    text = (folder / "stat.json").read_text()
    cells = json.loads(text[text.index("{") :])["modules"][f"\\{top}"]["num_cells_by_type"]
    facts = json.loads((manifest.folder / "manifest.json").read_text(encoding="utf-8"))
    facts |= {"files": [f"{top}.v", "cells_sim.v"], "taps": [], "buffers": []}
    (folder / "manifest.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return Manifest.load(folder), {name: int(number) for name, number in sorted(cells.items())}
