# SPDX-License-Identifier: Apache-2.0
"""The whole check of an exported folder: native harness for volume and timing, cocotb for the protocol."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from testbenches.cocotb_run import COCOTB, SIMULATORS, run_cocotb
from testbenches.errors import CheckError
from testbenches.locate import at_output, at_taps
from testbenches.manifest import Manifest, Timing
from testbenches.native import Harness, NativeRun, build
from testbenches.packages import require
from testbenches.timing import compare
from testbenches.vectors import Vectors
from testbenches.verilator import is_absent

__all__ = ["CheckReport", "check_folder", "check_native"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CheckReport:
    """A check that passed (one that did not raises :class:`Mismatch`)."""

    top: str
    sequences: int  #: sequences the native harness ran, over all its runs
    cycles: int  #: clock cycles of those runs
    values: int  #: output elements compared there
    inner: int  #: results of inner ops compared there
    differences: int  #: of them, those that differ; 0, or there would be no report
    measured: Timing | None  #: by the native harness, without stalls
    predicted: Timing | None  #: from the manifest
    tests: tuple[str, ...]  #: cocotb tests that passed

    def __str__(self) -> str:
        lines = [f"{self.top}: {self.sequences} sequences, {self.values} values, {self.differences} differences"]
        if self.inner:
            lines.append(f"{self.inner} results of inner ops compared")
        if self.measured is not None:
            lines.append(
                f"latency {self.measured.latency}, after the last beat {self.measured.latency_after_last}, "
                f"interval {self.measured.interval or 'not measured'} (cycles)"
            )
        if self.tests:
            lines.append(f"{len(self.tests)} cocotb tests passed")
        return "\n".join(lines)


def check_folder(
    folder: str | Path,
    vectors: str | Path,
    *,
    inner: str | Path | None = None,
    simulator: str = "verilator",
    native: bool = True,
    cocotb: bool = True,
    sequences: int = 20,
    stalls: Sequence[tuple[float, float]] = ((0.3, 0.3),),
    timing: bool = True,
    progress: Progress | None = None,
    build_dir: str | Path | None = None,
) -> CheckReport:
    """Hold the Verilog of an exported folder against golden vectors.

    Parameters
    ----------
    folder : path
        Holds ``manifest.json`` and the Verilog.
    vectors : path
        An .npz file with ``inputs``, ``outputs`` and perhaps ``tap:layer.op`` arrays.
    inner : path, optional
        Vectors with taps, fewer than those above: the design's inner ops are compared on them first. By default on
        ``vectors``, as far as it has taps.
    simulator : {"verilator", "icarus"}
        What cocotb runs on. The native harness is Verilator's, so it does not run with Icarus.
    native, cocotb : bool
        Which halves to run.
    sequences : int
        How many of the vectors each cocotb test uses; the native harness takes all of them.
    stalls : sequence of (idle, backpressure)
        One more native run for each pair of probabilities, after the run without stalls.
    timing : bool
        Whether measured cycles must be the manifest's.
    progress : callable, optional
        Called with sequences done and sequences in all, for each native run.
    build_dir : path, optional
        Keeps the builds, so that an unchanged design is not built again; a temporary folder by default.

    Raises
    ------
    Mismatch
        The design is wrong; the attributes say where.
    CheckError
        The check cannot be done.
    """
    if simulator not in SIMULATORS:
        raise CheckError(f"simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}")
    native = native and simulator == "verilator"
    if cocotb:
        # Refused now, not after the native half.
        require(*COCOTB, *(["verilator"] if simulator == "verilator" and is_absent() else []))
    if not (native or cocotb):
        raise CheckError("nothing to run: neither the native harness, which needs Verilator, nor cocotb")
    manifest = Manifest.load(folder)
    golden = Vectors.load(vectors, manifest)
    where = Path(tempfile.mkdtemp(prefix="fxsim_check_") if build_dir is None else build_dir).resolve()
    keep = build_dir is not None
    try:
        report = CheckReport(manifest.top, 0, 0, 0, 0, 0, None, manifest.timing, ())
        if native:
            looked = golden if inner is None else Vectors.load(inner, manifest)
            report = check_native(
                manifest, golden, where, inner=looked, stalls=stalls, timing=timing, progress=progress
            )
        if cocotb:
            tests = run_cocotb(
                folder, vectors, simulator=simulator, sequences=sequences, timing=timing, build_dir=where
            )
            report = replace(report, tests=tests)
        return report
    except CheckError as error:
        # the message sends the reader to the log
        keep = keep or error.log is not None
        raise
    finally:
        if not keep:
            shutil.rmtree(where, ignore_errors=True)


def check_native(
    manifest: Manifest,
    vectors: Vectors,
    build_dir: Path,
    *,
    inner: Vectors | None = None,
    stalls: Sequence[tuple[float, float]] = ((0.3, 0.3),),
    timing: bool = True,
    plusargs: Sequence[str] = (),
    progress: Progress | None = None,
) -> CheckReport:
    """Do the native half of :func:`check_folder`; ``plusargs`` go to the simulation."""
    known = vectors if inner is None else inner
    harness = build(manifest, build_dir / "native", taps=[tap for tap in manifest.taps if tap.name in known.taps])
    values = 0
    if harness.taps:
        # Outputs alone hide faults that saturate or round away on their way out.
        values = _look(harness, known, build_dir, (0.0, 0.0), plusargs)
    # the interval needs a steady state, so few vectors are run more than once
    first = _run(harness, vectors, build_dir, max(len(vectors), manifest.settling), (0.0, 0.0), plusargs, progress)
    if timing and first.timing is not None and manifest.timing is not None:
        compare(first.timing, manifest.timing)
    runs = [first]
    for stall in stalls:
        runs.append(_run(harness, vectors, build_dir, len(vectors), stall, plusargs, progress))
    count = sum(run.sequences for run in runs)
    return CheckReport(
        top=manifest.top,
        sequences=count,
        cycles=sum(run.cycles for run in runs),
        values=count * manifest.output.beats_per_sequence * manifest.output.elements_per_beat,
        inner=values,
        differences=0,
        measured=first.timing,
        predicted=manifest.timing,
        tests=(),
    )


def _run(
    harness: Harness,
    vectors: Vectors,
    build_dir: Path,
    sequences: int,
    stall: tuple[float, float],
    plusargs: Sequence[str],
    progress: Progress | None,
) -> NativeRun:
    idle, backpressure = stall
    # the same seed and stalls again give the same run again, cycle for cycle
    work = build_dir / "native_run"
    run = harness.run(
        vectors, work, sequences=sequences, idle=idle, backpressure=backpressure, plusargs=plusargs, progress=progress
    )
    if run.fault is None:
        return run
    found = at_output(harness.manifest, vectors, run)
    if found.kind == "value" and vectors.taps:
        _look(harness, vectors, build_dir, stall, plusargs, sequences)
    raise found


def _look(
    harness: Harness,
    vectors: Vectors,
    build_dir: Path,
    stall: tuple[float, float],
    plusargs: Sequence[str],
    sequences: int | None = None,
) -> int:
    """Compare what the taps see; returns the number of values, or raises the first difference as :class:`Mismatch`."""
    idle, backpressure = stall
    run = harness.run(
        vectors,
        build_dir / "native_taps",
        sequences=sequences,
        idle=idle,
        backpressure=backpressure,
        looking=True,
        plusargs=plusargs,
    )
    earlier = at_taps(harness.manifest, vectors, run, harness.taps)
    if earlier is not None:
        raise earlier
    return sum(int(run.tap(order, tap).size) for order, tap in enumerate(harness.taps))
