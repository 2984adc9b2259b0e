# SPDX-License-Identifier: Apache-2.0
"""Build and run the cocotb tests on an exported folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from testbenches.errors import CheckError, Mismatch
from testbenches.manifest import Manifest
from testbenches.packages import require
from testbenches.tools import buildable, complaint
from testbenches.vectors import Vectors
from testbenches.verilator import find_verilator

__all__ = ["COCOTB", "SIMULATORS", "TESTS", "run_cocotb"]

#: The tests by name; one with parameters stands for all of its values. Those of TLAST fit designs of one framing each.
_ALWAYS = ("x_free_after_reset", "no_stalls", "stalls", "stable_while_stalled", "reset_in_flight", "reset_anywhere")
TESTS = (*_ALWAYS, "early_tlast", "missing_tlast")
COUNTED_TESTS = (*_ALWAYS, "packets")
#: Python packages that they need.
COCOTB = ("cocotb", "cocotbext.axi")
#: Simulators that the tests run on.
SIMULATORS = ("verilator", "icarus")


def run_cocotb(
    folder: str | Path,
    vectors: str | Path,
    *,
    simulator: str = "verilator",
    sequences: int = 20,
    timing: bool = True,
    build_dir: str | Path | None = None,
    tests: Sequence[str] = (),
    plusargs: Sequence[str] = (),
) -> tuple[str, ...]:
    """Run the tests and return the names of those that passed.

    Parameters
    ----------
    folder, vectors : path
        As for :func:`testbenches.check_folder`.
    simulator : {"verilator", "icarus"}
        What to run on.
    sequences : int
        How many of the vectors each test uses.
    timing : bool
        Whether measured cycles must be the manifest's.
    build_dir : path, optional
        Keeps the build; a temporary folder by default.
    tests : sequence of str
        Names of the tests to run; all by default.
    plusargs : sequence of str
        Passed to the simulation, as ``+name=value``.

    Raises
    ------
    Mismatch
        A test failed; its message is the first failure.
    CheckError
        The tests cannot be run.
    """
    if simulator not in SIMULATORS:
        raise CheckError(f"simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}")
    if sequences < 1:
        raise CheckError(f"sequences must be at least 1, not {sequences!r}")
    require(*COCOTB)
    manifest = Manifest.load(folder)
    Vectors.load(vectors, manifest)
    if simulator == "verilator":
        env = find_verilator().environment()
        # cocotb's build makes every signal public, which is a lot of set-up code: no use optimising that.
        env["MAKEFLAGS"] = f"-j{os.cpu_count() or 1} OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O1 {env['MAKEFLAGS']}"
    else:
        if shutil.which("iverilog") is None:
            raise CheckError("Icarus Verilog is not installed: iverilog is not on PATH")
        env = dict(os.environ)
    keep = build_dir is not None
    where = (Path(tempfile.mkdtemp(prefix="fxsim_cocotb_") if build_dir is None else build_dir)).resolve()
    work = where / f"cocotb_{simulator}"
    work.mkdir(parents=True, exist_ok=True)
    # under pytest the runner would report to pytest and exit
    env.pop("PYTEST_CURRENT_TEST", None)
    package = str(Path(__file__).resolve().parent.parent)
    env["PYTHONPATH"] = os.pathsep.join([package, *filter(None, [env.get("PYTHONPATH")])])
    env["FXSIM_MANIFEST"] = str(manifest.folder)
    env["FXSIM_VECTORS"] = str(Path(vectors).resolve())
    env["FXSIM_SEQUENCES"] = str(sequences)
    env["FXSIM_TIMING"] = str(int(timing))
    order: dict[str, Any] = {
        "simulator": simulator,
        "sources": [str(path) for path in manifest.files],
        "top": manifest.top,
        "tests": list(tests or (COUNTED_TESTS if manifest.counted else TESTS)),
        "plusargs": [f"+{text}" for text in plusargs],
    }
    log = work / "run.log"
    results = work / "results.xml"
    results.unlink(missing_ok=True)
    try:
        # The runner works through os.environ, sys.path and sys.exit, so it gets a process of its own.
        with log.open("wb") as file, buildable(work) as place:
            status = subprocess.run(
                [sys.executable, "-m", "testbenches.cocotb_run", json.dumps(order | {"work": str(place)})],
                env=env,
                cwd=place,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        return _read(results, log, status)
    except CheckError as error:
        keep = keep or error.log is not None
        raise
    finally:
        if not keep:
            shutil.rmtree(where, ignore_errors=True)


def _read(results: Path, log: Path, status: int) -> tuple[str, ...]:
    if not results.is_file():
        text = log.read_text(errors="replace")
        before, _, trace = text.rpartition("Traceback (most recent call last):")
        # The runner's own complaint about a command says nothing but that it failed.
        text = before if "Command failed with return code" in trace else text
        raise CheckError(f"cocotb did not run: {complaint(status, text)}", log=log)
    passed, failed = [], []
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        name = str(case.get("name"))
        fault = case.find("failure")
        fault = case.find("error") if fault is None else fault
        if fault is not None:
            failed.append((name, fault.get("message") or fault.get("type") or "failed"))
        elif case.find("skipped") is None:
            passed.append(name)
    if failed:
        name, message = failed[0]
        others = f", and {len(failed) - 1} more of {len(failed) + len(passed)} tests" if len(failed) > 1 else ""
        line = message.strip().splitlines()[0]
        raise Mismatch(f"cocotb test {name} failed{others}: {line}", "test", log=log)
    if not passed:
        raise CheckError("cocotb ran no test", log=log)
    return tuple(passed)


def _work(order: dict[str, Any]) -> None:
    """Build and run, in the process that :func:`run_cocotb` starts."""
    from cocotb_tools.runner import get_runner

    runner = get_runner(order["simulator"])
    icarus = order["simulator"] == "icarus"
    runner.build(
        sources=order["sources"],
        hdl_toplevel=order["top"],
        build_dir=order["work"],
        # Icarus follows the dates of the sources only, and builds in no time; make knows what has changed.
        always=icarus,
        build_args=["-g2005"] if icarus else ["-Wno-fatal", "-Wno-WIDTH", "-O3", "--output-split", "10000"],
        timescale=("1ns", "1ps"),
    )
    runner.test(
        test_module="testbenches.cocotb_tests",
        hdl_toplevel=order["top"],
        hdl_toplevel_lang="verilog",
        build_dir=order["work"],
        test_dir=order["work"],
        # one name stands for all of its parameters
        test_filter=rf"\.({'|'.join(order['tests'])})(/.*)?$",
        plusargs=order["plusargs"],
        results_xml=str(Path(order["work"]) / "results.xml"),
        seed=1,
    )


if __name__ == "__main__":
    _work(json.loads(sys.argv[1]))
