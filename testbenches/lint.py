# SPDX-License-Identifier: Apache-2.0
"""Lint the exported Verilog with Verilator and, where it is present, Icarus."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from .errors import CheckError, Mismatch
from .manifest import Manifest
from .tools import call, complaint, ending
from .verilator import find_verilator

__all__ = ["VERILATOR_OFF", "lint_folder"]

#: Verilator warnings that generated netlists cannot avoid, each with its reason.
VERILATOR_OFF = {
    "WIDTH": "Yosys writes sums and comparisons whose operands extend to the result by the rules of the language",
    "UNUSEDSIGNAL": "a cast that drops low or high bits leaves those bits unread",
    "DECLFILENAME": "all modules stand in one file",
    "EOFNEWLINE": "style",
    "CASEINCOMPLETE": "the value for the codes that a case leaves out is assigned before it",
    "PROCASSINIT": "Yosys gives the value after configuration with the declaration, and the reset value in the process",
}


def lint_folder(folder: str | Path) -> tuple[str, ...]:
    """Lint and return the names of the tools that found nothing; raise :class:`Mismatch` with the first finding."""
    manifest = Manifest.load(folder)
    tool = find_verilator()
    files = [str(path) for path in manifest.files]
    command = [str(tool.executable), "--lint-only", "-Wall", "--no-timing", "--top-module", manifest.top]
    command += [f"-Wno-{name}" for name in VERILATOR_OFF]
    _run("Verilator", [*command, *files], tool.environment(), r"^%(?:Error|Warning).*")
    passed = ["verilator"]
    icarus = shutil.which("iverilog")
    if icarus is not None:
        # without a `timescale directive anywhere, delays are unused and its absence says nothing
        options = ["-g2005", "-Wall", "-Wno-timescale", "-t", "null", "-s", manifest.top]
        _run("Icarus", [icarus, *options, *files], None, r".*(?:error|warning|sorry).*")
        passed.append("icarus")
    return tuple(passed)


def _run(name: str, command: list[str], env: dict[str, str] | None, finding: str) -> None:
    run = call(command, env)
    found = re.search(finding, run.stderr + run.stdout, re.MULTILINE | re.IGNORECASE)
    if found is not None:
        raise Mismatch(f"{name} lint: {found[0].strip()}", "lint")
    if run.returncode:
        why = complaint(run.returncode, run.stderr, run.stdout)
        raise CheckError(f"{name} ended with {ending(run.returncode)}: {why}")
