# SPDX-License-Identifier: Apache-2.0
"""The synthesized netlist of a design through the regression: the same bits in the same cycles."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from campaigns.designs import export
from testbenches.check import check_folder
from testbenches.cocotb_run import run_cocotb
from testbenches.gates import netlist

__all__ = ["COLUMNS", "NAMES", "campaign"]

#: Designs that are synthesized by default.
NAMES = ("lstm", "gru")
COLUMNS = ("design", "cells", "sequences", "differences", "cycles", "latency", "cocotb tests", "seconds")
#: Idle and backpressure of the native runs after the one without.
STALLS = ((0.3, 0.3), (0.0, 0.8), (0.8, 0.0))
#: Of each cocotb test, and which of them; none: all.
COCOTB_SEQUENCES = 4
COCOTB_TESTS: tuple[str, ...] = ()


def campaign(name: str, work: Path, sequences: int) -> dict[str, Any]:
    """Check the netlist of one design; raises :class:`testbenches.Mismatch` with the first difference."""
    began = time.perf_counter()
    manifest, _ = export(name, work, sequences)
    gates, cells = netlist(manifest, work / "gates")
    report = check_folder(gates.folder, work / "vectors.npz", stalls=STALLS, cocotb=False, build_dir=work / "build")
    # cocotb's Verilator build takes minutes for thousands of cells, Icarus seconds
    tests = run_cocotb(
        gates.folder,
        work / "vectors.npz",
        simulator="icarus",
        sequences=COCOTB_SEQUENCES,
        tests=COCOTB_TESTS,
        build_dir=work / "build",
    )
    assert report.measured is not None
    return {
        "design": name,
        "cells": sum(cells.values()),
        "cells by type": cells,
        "sequences": report.sequences,
        "differences": report.differences,
        "cycles": report.cycles,
        "latency": report.measured.latency,
        "cocotb tests": len(tests),
        "seconds": round(time.perf_counter() - began),
    }
