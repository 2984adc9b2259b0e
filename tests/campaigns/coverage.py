# SPDX-License-Identifier: Apache-2.0
"""Lines and toggles of a design's Verilog under the native regression."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from campaigns.designs import export
from testbenches.coverage import read
from testbenches.errors import CheckError
from testbenches.mutants import STAGES
from testbenches.native import build

__all__ = ["COLUMNS", "campaign"]

COLUMNS = ("design", "lines", "toggles", "toggles missed of", "seconds")
#: Verilator counts branches of an ``if`` apart from the lines that always run.
LINES = ("line", "branch")


def campaign(name: str, work: Path, sequences: int) -> dict[str, Any]:
    """Run the stages of the regression on one design; raises :class:`testbenches.CheckError` if it fails one."""
    began = time.perf_counter()
    manifest, vectors = export(name, work, sequences)
    harness = build(manifest, work / "native", coverage=True)
    files = []
    for number, stage in enumerate(STAGES):
        kind = stage.run(harness, vectors, work / f"run{number}", 0)
        if kind is not None:
            raise CheckError(f"stage {stage.name!r} finds {kind!r}")
        files.append(work / f"run{number}" / "coverage.dat")
    found = read(files)
    source = manifest.files[0].read_text().splitlines()
    lines, toggles = found.share(LINES), found.share(("toggle",))
    missed = Counter(point.name.partition("[")[0].partition(":")[0] for point in found.missed(("toggle",)))
    return {
        "design": name,
        "lines": f"{lines[0]} of {lines[1]}",
        "toggles": f"{toggles[0]} of {toggles[1]}",
        "toggles missed of": f"{len(missed)} signals",
        "seconds": round(time.perf_counter() - began),
        "missed lines": [f"{point.line}: {source[point.line - 1].strip()}" for point in found.missed(LINES)],
        "missed toggles": dict(missed.most_common()),
    }
