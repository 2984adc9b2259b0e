# SPDX-License-Identifier: Apache-2.0
"""The verb check: an exported folder's Verilog against the simulator, in every bit and cycle.

Whatever tests hardware is imported inside the function that needs it.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from . import golden as vectors
from .errors import FxsimError
from .extras import importing, missing
from .files.exported import complete
from .files.folder import MANIFEST, read_json
from .pages import check_results
from .program.fixed import IntArray
from .program.graph import Graph
from .program.shorten import shorten

if TYPE_CHECKING:
    from testbenches import CheckReport, Mismatch
    from testbenches.manifest import Manifest

Progress = Callable[[int, int], None]
Phase = Callable[[str], None]

#: Random sequences of a check, and of a quick one, where no number is given.
SEQUENCES, QUICK_SEQUENCES = 100, 16
#: Most sequences that each cocotb test of a check runs; the native harness takes all of them.
COCOTB_SEQUENCES = 20
#: Most sequences of a check whose inner ops are compared too.
INNER_SEQUENCES = 16
#: Bytes of traces that a check makes for that.
_TRACE_BYTES = 64 << 20
#: Cycles that the default number of sequences may take at full rate; in a quick check; and all cocotb tests together,
#: which run a hundred times more slowly.
_CYCLES, _QUICK_CYCLES, _COCOTB_CYCLES = 4_000_000, 200_000, 1_000_000
#: Fewest sequences by default; and for a cocotb test, below which its sequences are shortened.
_FEWEST, _FEWEST_COCOTB = 4, 3
#: Sequences of all cocotb tests together: so many, and so many for each that a test is given.
_COCOTB_FIXED, _COCOTB_EACH = 90, 11
#: Cycles of a shortened sequence.
_SHORT = 2_000
#: Where waveforms go, in the folder of the design.
WAVES = "waves.fst"


def check(
    folder: str | os.PathLike[str],
    *,
    sequences: int | None = None,
    inputs: ArrayLike | None = None,
    simulator: str = "verilator",
    quick: bool = False,
    waves: bool = False,
    seed: int = 1,
    progress: Progress | None = None,
    phase: Phase | None = None,
) -> CheckReport:
    """Simulate the Verilog of an exported folder; compare every output bit, inner ops and cycles with the prediction.

    Inner ops are compared on the first sequences, outputs on all. The verdict also goes into the folder's report.html.

    Parameters
    ----------
    folder : path
        An export.
    sequences : int, optional
        How many random sequences (the corners among them) are run, each at full rate and with stalls, if ``inputs`` is
        not given. By default 100, or fewer where these take many cycles; ``remarks`` of the report say so.
    inputs : array, optional
        Values (batch, time, features) to use instead.
    simulator : {"verilator", "icarus"}
        What the cocotb tests run on. Verilator also runs every sequence natively, with and without stalls.
    quick : bool
        Whether to leave out the cocotb tests and the inner ops: 16 sequences at full rate, with stalls, and with wrong
        TLAST and resets between them.
    waves : bool
        Whether to write ``waves.fst`` into the folder: the waveforms of the first sequence, or where something is wrong
        of the sequence in which it shows.
    seed : int
        Of the random sequences.
    progress : callable, optional
        Called with what is done of a phase and all of it: files compiled, sequences, tests.
    phase : callable, optional
        Called with the name of each phase as it begins.

    Warns
    -----
    UserWarning
        All outputs are the same, so that few faults would show.

    Raises
    ------
    testbenches.Mismatch
        The design is wrong; its attributes name layer, op, sequence, step and unit of the first difference.
    testbenches.CheckError, FxsimError
        The check cannot be done.
    """
    from .simulator.run import quantize_inputs  # late: it brings a compiler

    if quick and simulator != "verilator":
        raise FxsimError(f"simulator must be verilator for a quick check, which has no cocotb tests, not {simulator}")
    place = Path(folder)
    complete(place)
    facts = read_json(place / MANIFEST)
    graph = Graph.load(place / "graph.fx")
    if facts.get("digest") != graph.digest:
        raise FxsimError(f"{place}: manifest.json and graph.fx are not of one export (their digests differ)")
    with importing("check", "testbenches"):
        from testbenches.manifest import Manifest

    manifest = Manifest.load(place)
    remarks: list[str] = []
    if inputs is not None:
        raw = quantize_inputs(graph, inputs)
    else:
        count = _affordable(manifest, quick, remarks) if sequences is None else sequences
        raw = vectors.random_inputs(graph, count, seed)
    if not len(raw):
        raise FxsimError("inputs hold no sequence")
    given = f"{len(raw)} random sequences, corners among them" if inputs is None else f"{len(raw)} given sequences"
    work = Path(tempfile.mkdtemp(prefix="fxsim_check_"))
    run = _Check(place, graph, manifest, facts, raw, simulator, quick, work, progress, phase, remarks)
    keep = False
    try:
        return _stamped(run, sequences is None and inputs is None, waves, f"{given}; {simulator}")
    except Exception as error:
        # The message sends the reader to the log.
        keep = getattr(error, "log", None) is not None
        raise
    finally:
        if not keep:
            shutil.rmtree(work, ignore_errors=True)


def _stamped(run: _Check, settle: bool, waves: bool, given: str) -> CheckReport:
    """Compare, show what was asked for, and put the verdict into the folder's report, whatever it is."""
    with importing("check", "testbenches"):
        from testbenches import Mismatch

    files = run.facts["files"]
    try:
        found = run.compare(settle=settle)
        if waves:
            found = run.show(found)
    except Mismatch as error:
        check_results.stamp(run.place, check_results.differs(error, (run.place, run.work)), files)
        if waves:
            run.show_fault(error)
        raise
    told = check_results.agrees(found, run.graph.output.width, given, (*run.doubts, *found.remarks))
    check_results.stamp(run.place, told, files)
    return found


def _cycles(manifest: Manifest) -> int:
    """Cycles that a sequence takes of a run, more or less."""
    timing = manifest.timing
    return 1 if timing is None else max(1, int(timing.interval or 0), timing.latency // manifest.interleave)


def _affordable(manifest: Manifest, quick: bool, remarks: list[str]) -> int:
    """How many sequences to run where nobody says it; a remark where they are fewer than usual."""
    usual, most = (QUICK_SEQUENCES, _QUICK_CYCLES) if quick else (SEQUENCES, _CYCLES)
    count = max(_FEWEST, min(usual, most // _cycles(manifest)))
    if count < usual:
        remarks.append(f"{count} sequences instead of {usual}, because one takes {_cycles(manifest)} cycles")
    return count


@dataclass
class _Check:
    """A check of one design; ``work`` is a folder for its files."""

    place: Path
    graph: Graph
    manifest: Manifest
    facts: dict[str, Any]
    raw: IntArray
    simulator: str
    quick: bool
    work: Path
    progress: Progress | None
    phase: Phase | None
    remarks: list[str]
    doubts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # The design and the vectors that cocotb runs on, and those in which something is wrong.
        self.protocol: tuple[Path, Path] | None = None
        self.wrong = self.inner = self.path

    @property
    def path(self) -> Path:
        return self.work / "vectors.npz"

    def begin(self, name: str) -> None:
        if self.phase is not None:
            self.phase(name)

    def compare(self, settle: bool) -> CheckReport:
        """Everything but waveforms; ``settle`` as for :func:`testbenches.check_folder`."""
        with importing("check", "testbenches"):
            from testbenches import Mismatch, check_folder

        self.begin("simulate in Python")
        beat = self.manifest.input.elements_per_beat
        golden = vectors.golden(self.graph, self.raw, beat=beat)
        if len(self.raw) > 1 and (golden["outputs"] == golden["outputs"][0]).all():
            self.doubts.append(f"all {len(self.raw)} sequences have the same output, which hides most faults")
            warnings.warn(self.doubts[0], stacklevel=4)
        self.path.write_bytes(vectors.encode(golden))
        taps = [asdict(tap) for tap in self.manifest.taps]
        if not self.quick:
            # Traces of all ops are large, so the inner ops are compared on as many of the first sequences as fit.
            self.inner = self.work / "inner.npz"
            looked = max(1, min(len(self.raw), INNER_SEQUENCES, _TRACE_BYTES // (8 * self.graph.traced())))
            self.inner.write_bytes(vectors.encode(vectors.golden(self.graph, self.raw[:looked], taps, beat)))
        options: dict[str, Any] = {"cocotb": False} if self.quick else self._cocotb()
        long = _cycles(self.manifest) * self.manifest.settling > _CYCLES
        try:
            found = check_folder(
                self.place,
                self.path,
                inner=self.inner,
                simulator=self.simulator,
                faults=not self.manifest.counted and (self.quick or len(options) > 1),
                settle=settle and not long and not self.quick,
                fill=not self.quick,
                optimize=not self.quick,
                build_dir=self.work,
                progress=self.progress,
                phase=self.phase,
                **options,
            )
            return replace(found, remarks=(*found.remarks, *self.remarks))
        except Mismatch as error:
            if error.kind != "value" or error.sequence is None or error.layer is not None:
                raise
            # A sequence that was not looked into: alone, for sequences know nothing of each other.
            alone = error.sequence % len(self.raw)
            golden = vectors.golden(self.graph, self.raw[alone : alone + 1], taps, beat) | {"first": np.array(alone)}
            path = self.work / "alone.npz"
            path.write_bytes(vectors.encode(golden))
            try:
                self.begin("look for the first difference")
                check_folder(
                    self.place, path, simulator=self.simulator, cocotb=False, settle=False, timing=False, stalls=(),
                    build_dir=self.work,
                )  # fmt: skip
            except Mismatch:
                self.wrong = path
                raise
            raise

    def _cocotb(self) -> dict[str, Any]:
        """How cocotb runs: with as many sequences as it has time for, or on a copy with shorter ones."""
        cycles = _cycles(self.manifest)
        count = (_COCOTB_CYCLES // cycles - _COCOTB_FIXED) // _COCOTB_EACH
        usual = min(len(self.raw), COCOTB_SEQUENCES)
        if count >= usual:
            return {"sequences": usual}
        if count >= min(usual, _FEWEST_COCOTB):
            self.remarks.append(f"{count} sequences in a cocotb test instead of {usual}: one takes {cycles} cycles")
            return {"sequences": count}
        steps = self.graph.shape[0]
        copy = self._copy(max(_FEWEST, steps * _SHORT // cycles))
        if copy is not None:
            self.protocol, short = copy
            self.remarks.append(
                f"cocotb tests on a copy of the design with {short} of its {steps} steps, because a sequence takes "
                f"{cycles} cycles"
            )
            return {"sequences": min(usual, COCOTB_SEQUENCES), "protocol": self.protocol}
        self.remarks.append(f"only a few cocotb tests, of one sequence each, because a sequence takes {cycles} cycles")
        return {"sequences": 1, "few": True}

    def _copy(self, steps: int) -> tuple[tuple[Path, Path], int] | None:
        """A design like this one with shorter sequences: folder, vectors, and steps; None if there is none."""
        if len(self.graph.shape) != 2 or steps >= self.graph.shape[0] or missing("rtl"):
            return None
        with importing("check", "rtl"):
            from rtl.plan.folding import from_json

        from .api import export

        self.begin("make a copy with shorter sequences")
        try:
            graph = shorten(self.graph, steps)
            folding = dict(self.facts["folding"])
            whole = self.manifest.input.beats_per_sequence == 1
            if folding.get("unroll", 1) != 1:
                return None
            if whole:
                folding["beat"] = math.prod(graph.shape)
            made = export(
                graph,
                self.work / "short",
                folding=from_json(graph, json.dumps(folding)),
                clock_mhz=self.facts["clock_mhz"],
                framing=self.facts.get("framing", "tlast"),
                family=self.facts["family"],
                top=self.manifest.top,
            )
        except FxsimError:
            return None
        raw = vectors.random_inputs(graph, COCOTB_SEQUENCES)
        path = self.work / "short.npz"
        path.write_bytes(vectors.encode(vectors.golden(graph, raw, beat=made.plan.beat)))
        return (made.folder, path), steps

    def show(self, found: CheckReport) -> CheckReport:
        """Waveforms of the first sequence."""
        with importing("check", "testbenches"):
            from testbenches.record import record

        path, watch = self.place / WAVES, self._watch()
        shown = record(self.place, self.path, path, simulator=self.simulator, build_dir=self.work, watch=watch)
        return replace(found, waves=path, remarks=(*found.remarks, f"{path}: waveforms of {shown}"))

    def show_fault(self, error: Mismatch) -> None:
        """Waveforms of what is wrong; the message says where they are, or why there are none."""
        with importing("check", "testbenches"):
            from testbenches import CheckError
            from testbenches.record import record

        path = self.place / WAVES
        of = (self.place, self.wrong)
        if error.inner and self.wrong == self.path:
            of = (self.place, self.inner)
        elif error.test is not None and self.protocol is not None:
            of = self.protocol
        try:
            options: dict[str, Any] = {"simulator": self.simulator, "build_dir": self.work, "watch": self._watch()}
            shown = record(*of, path, error=error, **options)
        except CheckError as problem:
            error.args = (f"{error} (no waveforms: {problem})",)
        else:
            error.args = (f"{error}; {path}: waveforms of {shown}",)

    def _watch(self) -> Any:
        with importing("check", "testbenches"):
            from testbenches.watch import Watch

        return Watch(self.phase, self.progress)
