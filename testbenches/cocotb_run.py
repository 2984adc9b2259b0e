# SPDX-License-Identifier: Apache-2.0
"""Build and run the cocotb tests on an exported folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .errors import CheckError, Mismatch, count
from .manifest import Manifest
from .packages import require
from .tools import MOMENT, buildable, building, compiling, complaint, linked, started
from .vectors import Vectors
from .verilator import Verilator, find_verilator
from .watch import SILENT, Watch
from .waves import prepare, verilate

__all__ = ["COCOTB", "FEW", "SIMULATORS", "TESTS", "run_cocotb"]

#: The tests by name; one with parameters stands for all of its values. Those of TLAST fit designs of one framing each.
_ALWAYS = ("x_free_after_reset", "no_stalls", "stalls", "stable_while_stalled", "reset_in_flight", "reset_anywhere")
TESTS = (*_ALWAYS, "early_tlast", "missing_tlast")
COUNTED_TESTS = (*_ALWAYS, "packets")
#: Python packages that they need.
COCOTB = ("cocotb", "cocotbext.axi")
#: Those that say most of a design whose sequences are too long for all of them.
FEW = (
    "x_free_after_reset",
    "stalls/idle=random/backpressure=random",
    "early_tlast/stall=none",
    "reset_in_flight/moment=first_beat",
)
#: Simulators that the tests run on.
SIMULATORS = ("verilator", "icarus")
#: Options of Verilator.
_VERILATE = ("-Wno-fatal", "-Wno-WIDTH", "-O3", "--output-split", "10000")
#: The line with which cocotb says which test begins.
_TEST = re.compile(r"running .*\((\d+)/(\d+)\)")


def run_cocotb(
    folder: str | Path,
    vectors: str | Path,
    *,
    simulator: str = "verilator",
    sequences: int = 20,
    few: bool = False,
    timing: bool = True,
    build_dir: str | Path | None = None,
    tests: Sequence[str] = (),
    plusargs: Sequence[str] = (),
    waves: Path | None = None,
    watch: Watch = SILENT,
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
    few : bool
        Whether to run only ``FEW`` of the tests, with few and short pauses.
    timing : bool
        Whether measured cycles must be the manifest's.
    build_dir : path, optional
        Keeps the build; a temporary folder by default.
    tests : sequence of str
        Names of the tests to run; all by default.
    plusargs : sequence of str
        Passed to the simulation, as ``+name=value``.
    waves : path, optional
        An FST file to write, of all tests that run.
    watch : Watch
        Told of building and running, and how many tests are done.

    Raises
    ------
    Mismatch
        A test failed; its message is the first failure.
    CheckError
        The tests cannot be run.
    """
    if simulator not in SIMULATORS:
        raise CheckError(f"simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}")
    sequences = count(sequences, "sequences")
    require(*COCOTB)
    manifest = Manifest.load(folder)
    Vectors.load(vectors, manifest)
    tool = find_verilator() if simulator == "verilator" else None
    if tool is None and shutil.which("iverilog") is None:
        raise CheckError("Icarus Verilog is not installed: iverilog is not on PATH")
    settings = {
        "FXSIM_MANIFEST": str(manifest.folder),
        "FXSIM_VECTORS": str(Path(vectors).resolve()),
        "FXSIM_SEQUENCES": str(sequences),
        "FXSIM_TIMING": str(int(timing)),
        "FXSIM_FEW": str(int(few)),
    }
    order: dict[str, Any] = {
        "simulator": simulator,
        "sources": [str(path) for path in manifest.files],
        "top": manifest.top,
        "tests": list(tests or (FEW if few else COUNTED_TESTS if manifest.counted else TESTS)),
        "waves": waves is not None,
        "plusargs": [f"+{text}" for text in plusargs],
    }
    with building(build_dir, "fxsim_cocotb_") as where:
        work = where / f"cocotb_{simulator}{'_waves' if waves else ''}"
        work.mkdir(parents=True, exist_ok=True)
        return _run(order, settings, tool, work, waves, watch)


def _run(
    order: dict[str, Any],
    settings: dict[str, str],
    tool: Verilator | None,
    work: Path,
    waves: Path | None,
    watch: Watch,
) -> tuple[str, ...]:
    """Build and run in a process of its own, for the runner works through os.environ, sys.path and sys.exit.

    ``order``: what :func:`_work` is to do there; ``settings``: environment variables for the tests.
    """
    log, results = work / "run.log", work / "results.xml"
    results.unlink(missing_ok=True)
    watch.begin("build for cocotb")
    with log.open("wb") as file, buildable(work) as place:
        if waves is not None and tool is not None:
            prepare(place)
        command = [sys.executable, "-m", "testbenches.cocotb_run", json.dumps(order | {"work": str(place)})]
        env = _environment(tool, place) | settings
        with started(command, env=env, cwd=place, stdout=file, stderr=subprocess.STDOUT) as process:
            status = _wait(process, place, log, watch)
        if waves is not None:
            _take(place, waves)
    return _read(results, log, status)


def _wait(process: subprocess.Popen[str], place: Path, log: Path, watch: Watch) -> int:
    """Wait for the process and tell how far it is; the log says which test runs."""
    compiled, running = compiling(place, watch.progress), False
    while True:
        try:
            return process.wait(timeout=MOMENT)
        except subprocess.TimeoutExpired:
            if watch.phase is None and watch.progress is None:
                continue
        found = _TEST.findall(log.read_text(errors="replace"))
        if found and not running:
            running = True
            watch.begin("run the cocotb tests")
        if found and watch.progress is not None:
            watch.progress(int(found[-1][0]) - 1, int(found[-1][1]))
        elif compiled is not None and not found:
            compiled()


def _take(place: Path, waves: Path) -> None:
    """The FST file that a simulator has left, to where it is wanted."""
    found = sorted(place.rglob("*.fst"))
    if found:
        shutil.copy(found[0], waves)


def _environment(tool: Verilator | None, place: Path) -> dict[str, str]:
    env = dict(os.environ) if tool is None else tool.environment(place)
    if tool is not None:
        # cocotb's build makes every signal public, which is a lot of set-up code: no use optimising that.
        env["MAKEFLAGS"] = f"-j{os.cpu_count() or 1} OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O1 {env['MAKEFLAGS']}"
    # under pytest the runner would report to pytest and exit
    env.pop("PYTEST_CURRENT_TEST", None)
    package = str(Path(__file__).resolve().parent.parent)
    paths = os.pathsep.join([package, *filter(None, [env.get("PYTHONPATH")])])
    return env | {"PYTHONPATH": paths, "TMPDIR": str(place)}


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
        raise Mismatch(f"cocotb test {name} failed{others}: {line}", "test", log=log, test=name.rpartition(".")[2])
    if not passed:
        raise CheckError("cocotb ran no test", log=log)
    return tuple(passed)


def _work(order: dict[str, Any]) -> None:
    """Build and run, in the process that :func:`run_cocotb` starts."""
    from cocotb_tools import config
    from cocotb_tools.runner import get_runner

    # It writes these into makefiles.
    config.libs_dir, config.share_dir = (
        linked(path, Path(order["work"])) for path in (config.libs_dir, config.share_dir)
    )
    runner = get_runner(order["simulator"])
    icarus = order["simulator"] == "icarus"
    runner.build(
        sources=order["sources"],
        hdl_toplevel=order["top"],
        build_dir=order["work"],
        # Icarus follows the dates of the sources only, and builds in no time; make knows what has changed.
        always=icarus,
        # cocotb's own file that dumps waveforms is SystemVerilog.
        build_args=["-g2012" if order["waves"] else "-g2005"]
        if icarus
        else [*_VERILATE, *(verilate() if order["waves"] else [])],
        waves=order["waves"],
        timescale=("1ns", "1ps"),
    )
    runner.test(
        test_module="testbenches.cocotb_tests",
        hdl_toplevel=order["top"],
        hdl_toplevel_lang="verilog",
        build_dir=order["work"],
        test_dir=order["work"],
        # one name stands for all of its parameters
        test_filter=rf"\.({'|'.join(map(re.escape, order['tests']))})(/.*)?$",
        waves=order["waves"],
        plusargs=order["plusargs"],
        results_xml=str(Path(order["work"]) / "results.xml"),
        seed=1,
    )


if __name__ == "__main__":
    _work(json.loads(sys.argv[1]))
