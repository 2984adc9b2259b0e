# SPDX-License-Identifier: Apache-2.0
"""The whole check of an exported folder: native harness for volume and timing, cocotb for the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .buffers import demand
from .cocotb_run import COCOTB, SIMULATORS, run_cocotb
from .errors import CheckError
from .locate import at_output, at_taps
from .manifest import Manifest, Timing
from .native import Harness, NativeRun, build
from .packages import require
from .timing import compare
from .tools import Progress, building
from .vectors import Vectors
from .verilator import is_absent
from .watch import SILENT, Phase, Watch

__all__ = ["CheckReport", "check_folder", "check_native"]


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
    events: int = 0  #: all that the buffers behind layers can do, seen by the native harness
    runs: tuple[int, ...] = ()  #: sequences of each native run: at full rate, with stalls, with wrong TLAST and resets
    remarks: tuple[str, ...] = ()  #: what was left out or done on less than the whole design, and why
    waves: Path | None = None  #: the waveforms that were asked for

    def __str__(self) -> str:
        lines = [f"{self.top}: {self.sequences} sequences, {self.values} values, {self.differences} differences"]
        if self.inner:
            lines.append(f"{self.inner} results of inner ops compared")
        if self.events:
            lines.append(f"buffers behind layers: each of their {self.events} events seen")
        if self.measured is not None:
            lines.append(
                f"latency {self.measured.latency}, after the last beat {self.measured.latency_after_last}, "
                f"interval {self.measured.interval or 'not measured'} (cycles)"
            )
        if self.tests:
            lines.append(f"{len(self.tests)} cocotb tests passed")
        lines += self.remarks
        if self.waves is not None:
            lines.append(f"waveforms: {self.waves}")
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
    faults: bool = False,
    fill: bool = True,
    settle: bool = True,
    timing: bool = True,
    optimize: bool = True,
    protocol: tuple[str | Path, str | Path] | None = None,
    few: bool = False,
    progress: Progress | None = None,
    phase: Phase | None = None,
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
    faults : bool
        Whether to add a native run with frames of wrong length and resets, for a design with one output beat.
    fill : bool
        Whether to add a native run that fills the buffers behind layers.
    settle : bool
        Whether few vectors are run more than once without stalls, so that the interval can be measured.
    timing : bool
        Whether measured cycles must be the manifest's.
    optimize : bool
        Whether the native harness is compiled to run fast, rather than compiled fast.
    protocol : (path, path), optional
        Another folder and vectors for cocotb: a design like this one with shorter sequences.
    few : bool
        Whether cocotb runs few tests of few sequences, for designs whose sequences are long.
    progress : callable, optional
        Called with what is done of a phase and all of it: files compiled, sequences, tests.
    phase : callable, optional
        Called with the name of each phase as it begins.
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
    watch = Watch(phase, progress)
    with building(build_dir, "fxsim_check_") as where:
        report = CheckReport(manifest.top, 0, 0, 0, 0, 0, None, manifest.timing, ())
        if native:
            looked = golden if inner is None else Vectors.load(inner, manifest)
            report = check_native(
                manifest, golden, where, inner=looked, stalls=stalls, faults=faults, fill=fill, settle=settle,
                timing=timing, optimize=optimize, watch=watch,
            )  # fmt: skip
        if cocotb:
            at, of = (folder, vectors) if protocol is None else protocol
            tests = run_cocotb(
                at, of, simulator=simulator, sequences=sequences, few=few, timing=timing, watch=watch, build_dir=where
            )
            report = replace(report, tests=tests)
        return report


def check_native(
    manifest: Manifest,
    vectors: Vectors,
    build_dir: Path,
    *,
    inner: Vectors | None = None,
    stalls: Sequence[tuple[float, float]] = ((0.3, 0.3),),
    faults: bool = False,
    fill: bool = True,
    settle: bool = True,
    timing: bool = True,
    optimize: bool = True,
    plusargs: Sequence[str] = (),
    watch: Watch = SILENT,
) -> CheckReport:
    """Do the native half of :func:`check_folder`; ``plusargs`` go to the simulation."""
    known = vectors if inner is None else inner
    watch.begin("build for Verilator")
    taps = [tap for tap in manifest.taps if tap.name in known.taps]
    harness = build(manifest, build_dir / "native", taps=taps, optimize=optimize, progress=watch.progress)
    bench = _Bench(harness, build_dir, plusargs, watch)
    values = 0
    if harness.taps:
        # Outputs alone hide faults that saturate or round away on their way out.
        watch.begin("compare inner operations")
        values = bench.look(known)
    watch.begin("run at full rate")
    # the interval needs a steady state, so few vectors are run more than once
    first = bench.run(vectors, sequences=max(len(vectors), manifest.settling) if settle else len(vectors))
    measured = _measured(first, manifest, timing)
    runs = [first]
    for idle, backpressure in stalls:
        watch.begin("run with stalls")
        runs.append(bench.run(vectors, sequences=len(vectors), idle=idle, backpressure=backpressure))
        if harness.taps:
            values += bench.look(known, idle=idle, backpressure=backpressure)
    if faults and manifest.output.beats_per_sequence == 1:
        watch.begin("run with wrong TLAST and resets")
        chances = {"idle": 0.1, "backpressure": 0.1, "faults": 0.25, "resets": 0.2 / manifest.drain}
        runs.append(bench.run(vectors, sequences=len(vectors), **chances))
    count = sum(run.sequences for run in runs)
    events = 0
    if manifest.buffers and fill:
        watch.begin("fill the buffers")
        full, compared = bench.fill(known)
        events = demand(manifest.buffers, [*(run.buffers for run in runs), full.buffers])
        values += compared
    return CheckReport(
        top=manifest.top,
        sequences=count,
        cycles=sum(run.cycles for run in runs),
        values=count * manifest.output.beats_per_sequence * manifest.output.elements_per_beat,
        inner=values,
        differences=0,
        measured=measured,
        predicted=manifest.timing,
        tests=(),
        events=events,
        runs=tuple(run.sequences for run in runs),
    )


def _measured(run: NativeRun, manifest: Manifest, hold: bool) -> Timing | None:
    """What a run at full rate measured; raises :class:`Mismatch` if it must be the manifest's and is not."""
    measured = run.timing
    if measured is not None and run.sequences < manifest.steady:
        measured = replace(measured, interval=None)
    if hold and measured is not None and manifest.timing is not None:
        compare(measured, manifest.timing)
    return measured


@dataclass(frozen=True)
class _Bench:
    """A harness with where and how it runs; ``drive`` are arguments of :meth:`Harness.run`."""

    harness: Harness
    build_dir: Path
    plusargs: Sequence[str]
    watch: Watch

    def run(self, vectors: Vectors, **drive: Any) -> NativeRun:
        """Run sequences and compare what comes out; raises the first deviation as :class:`Mismatch`."""
        # the same seed and stalls again give the same run again, cycle for cycle
        work = self.build_dir / "native_run"
        run = self.harness.run(vectors, work, **drive, plusargs=self.plusargs, progress=self.watch.progress)
        if run.fault is None:
            return run
        found = at_output(self.harness.manifest, vectors, run)
        if found.kind == "value" and vectors.taps:
            self.look(vectors, **drive)
        found.drive = drive
        raise found

    def fill(self, vectors: Vectors) -> tuple[NativeRun, int]:
        """A run that fills the buffers behind layers, and the number of results of inner ops compared in it."""
        manifest, taps = self.harness.manifest, self.harness.taps
        # Few sequences bring a buffer to the next number of beats; what is not used of them is not sent.
        drive: dict[str, Any] = {"sequences": 32 * (1 + sum(buffer.depth for buffer in manifest.buffers)), "fill": True}
        work = self.build_dir / "native_fill"
        run = self.harness.run(vectors, work, **drive, looking=bool(taps), plusargs=self.plusargs)
        found = at_taps(manifest, vectors, run, taps) if run.fault in (None, "value") and taps else None
        if found is None and run.fault is not None:
            found = at_output(manifest, vectors, run)
        if found is not None:
            found.drive, found.inner = drive, True
            raise found
        return run, sum(int(run.tap(order, tap).size) for order, tap in enumerate(taps))

    def look(self, vectors: Vectors, **drive: Any) -> int:
        """Compare what the taps see: the number of values, or raises the first difference as :class:`Mismatch`."""
        work = self.build_dir / "native_taps"
        run = self.harness.run(
            vectors, work, **drive, looking=True, plusargs=self.plusargs, progress=self.watch.progress
        )
        earlier = at_taps(self.harness.manifest, vectors, run, self.harness.taps)
        if earlier is not None:
            earlier.drive, earlier.inner = {"sequences": len(vectors), **drive}, True
            raise earlier
        return sum(int(run.tap(order, tap).size) for order, tap in enumerate(self.harness.taps))
