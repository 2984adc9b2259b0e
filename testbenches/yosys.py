# SPDX-License-Identifier: Apache-2.0
"""Run Yosys, and the ABC that comes with it, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import CheckError
from .packages import find, require
from .tools import call, complaint, ending, temporary

__all__ = ["run_abc", "run_yosys", "share"]


def run_yosys(commands: Sequence[str], work: Path) -> str:
    """Run commands in a folder and return what Yosys printed; raise :class:`CheckError` with its complaint.

    Yosys splits commands at blanks: name files in ``work``, or without any.
    """
    _home()
    script = work / "commands.ys"
    script.write_text("\n".join(commands) + "\n")
    # found where this module was found, installed or not
    here = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    # ABC takes no temporary folder with blanks
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, here)), "TMPDIR": temporary()}
    run = call([sys.executable, "-m", "testbenches.yosys", script.name], env, work)
    if run.returncode:
        why = complaint(run.returncode, run.stderr, run.stdout)
        raise CheckError(f"Yosys ended with {ending(run.returncode)}: {why}")
    return run.stdout


def run_abc(commands: Sequence[str], work: Path, seconds: float) -> str:
    """Run ABC's commands in a folder and return what it printed; what is not done after ``seconds`` is stopped."""
    command = [str(_home() / "yosys-abc"), "-c", "; ".join(commands)]
    try:
        run = call(command, cwd=work, seconds=seconds)
    except subprocess.TimeoutExpired:
        return ""
    if run.returncode:
        raise CheckError(
            f"ABC ended with {ending(run.returncode)}: {complaint(run.returncode, run.stderr, run.stdout)}"
        )
    return run.stdout


def share() -> Path:
    """The folder of cell libraries that comes with Yosys."""
    return _home() / "share"


def _home() -> Path:
    require("pyosys")
    spec = find("pyosys")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _work(script: str) -> None:
    """Run a script, in the process that :func:`run_yosys` starts."""
    from pyosys import libyosys

    libyosys.run_pass(f"script {script}", libyosys.Design())


if __name__ == "__main__":
    _work(sys.argv[1])
