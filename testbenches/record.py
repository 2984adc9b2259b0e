# SPDX-License-Identifier: Apache-2.0
"""Waveforms of a check as an FST file: of the sequence that is wrong, or of the first."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from .cocotb_run import run_cocotb
from .errors import CheckError, Mismatch
from .manifest import Manifest
from .native import build
from .vectors import Vectors
from .watch import SILENT, Watch

__all__ = ["record"]


def record(
    folder: str | Path,
    vectors: str | Path,
    to: str | Path,
    *,
    error: Mismatch | None = None,
    simulator: str = "verilator",
    build_dir: str | Path | None = None,
    watch: Watch = SILENT,
) -> str:
    """Write the waveforms of a design and say in words what they show.

    Parameters
    ----------
    folder, vectors : path
        As for :func:`testbenches.check_folder`.
    to : path
        The FST file, written whole or not at all.
    error : Mismatch, optional
        What a check of these vectors has raised: the same run is shown from the first beat of its sequence to the
        deviation; of a cocotb test, all of it. Without one, the first sequence from the reset to its result.
    simulator : {"verilator", "icarus"}
        Icarus shows a cocotb test.

    Raises
    ------
    CheckError
        The waveforms cannot be made.
    """
    target = Path(to)
    work = Path(tempfile.mkdtemp(prefix="fxsim_waves_", dir=build_dir))
    try:
        made = work / "waves.fst"
        if simulator == "verilator" and (error is None or error.test is None):
            shown = _native(folder, vectors, made, work, error, watch)
        else:
            shown = _cocotb(folder, vectors, made, work, error, simulator, watch)
        if not made.is_file():
            raise CheckError("the simulator has written no waveforms")
        whole = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            shutil.copy(made, whole)
            os.replace(whole, target)
        except OSError as problem:
            with suppress(OSError):
                whole.unlink()
            raise CheckError(f"{target}: cannot write ({problem.strerror})") from None
        return shown
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _native(
    folder: str | Path, vectors: str | Path, made: Path, work: Path, error: Mismatch | None, watch: Watch
) -> str:
    manifest = Manifest.load(folder)
    golden = Vectors.load(vectors, manifest)
    watch.begin("build with waveforms")
    harness = build(manifest, work / "build", waves=True, optimize=False, progress=watch.progress)
    drive = error.drive if error is not None and error.drive is not None else {"sequences": 1}
    sequence = 0 if error is None or error.sequence is None else error.sequence - golden.first
    if not 0 <= sequence < drive["sequences"]:
        sequence = 0
    watch.begin("record the waveforms")
    run = harness.run(golden, work / "run", **drive, progress=watch.progress, waves=(made, sequence))
    name = "the first sequence" if sequence == 0 else f"sequence {sequence + golden.first}"
    if run.fault is not None:
        return f"{name}, to what is wrong at clock edge {run.cycles}"
    return f"{name}, to its result"


def _cocotb(
    folder: str | Path,
    vectors: str | Path,
    made: Path,
    work: Path,
    error: Mismatch | None,
    simulator: str,
    watch: Watch,
) -> str:
    test = "x_free_after_reset" if error is None or error.test is None else error.test
    try:
        run_cocotb(folder, vectors, simulator=simulator, build_dir=work, tests=[test], waves=made, watch=watch)
    except Mismatch:
        return f"cocotb test {test}, which fails"
    return f"cocotb test {test}" + (": the first sequence" if error is None else "")
