# SPDX-License-Identifier: Apache-2.0
"""Thousands of sequences a second: the Verilog under Verilator, driven by ``native.cpp``."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .buffers import Counts, counts
from .errors import CheckError, count, probability
from .manifest import Manifest, Stream, Tap, Timing, pack, unpack, unpack_tap
from .timing import steady_interval
from .tools import Progress, buildable, call, compiling, complaint, ending, started
from .vectors import Vectors
from .verilator import Verilator, find_verilator
from .waves import prepare, verilate

__all__ = ["Harness", "NativeRun", "build"]

_SOURCE = Path(__file__).with_name("native.cpp")
_HEADER = Path(__file__).with_name("native_buffers.h")
_PORT = re.compile(r"VL_(IN|OUT)(?:8|16|64|W)?\(&(\w+),(\d+),(\d+)")
# Completion edges kept for the interval: far more than one period of any schedule.
_KEEP = 8192
_CHUNK = 4096
_NUMBERS = (
    *("cycles", "sent", "received", "due", "memory_early", "memory_late"),
    *("first_in", "first_last_in", "last_in", "first_out"),
)
_WARNINGS = ("-Wno-WIDTH", "-Wno-UNOPTFLAT", "-Wno-MULTIDRIVEN", "-Wno-fatal")


@dataclass(frozen=True)
class NativeRun:
    """What one run gave; ``fault`` is None or the kind of the first deviation, where the run stopped.

    ``received`` counts whole right output beats before the fault; the files hold one beat more when a beat was wrong.
    ``due`` is the number of the sequence whose output should have come next. ``memory`` is that of the process in kB,
    mapped files not counted, after 1000 sequences and at the end (0 where there were not so many). ``buffers``: cycles
    by what each buffer did and how many beats it held, as :mod:`testbenches.buffers` names them.
    """

    sequences: int
    fault: str | None
    cycles: int
    sent: int
    received: int
    due: int
    memory: tuple[int, int]
    timing: Timing | None
    outputs_file: Path
    tap_files: tuple[Path, ...]
    buffers: tuple[Counts, ...] = ()

    def outputs(self, stream: Stream, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Output beats (beats, elements) as integers on the whole stride, so that wrong padding shows."""
        words = np.fromfile(self.outputs_file, dtype="<u4").reshape(-1, stream.words)
        return unpack(words[start:stop], stream)

    def tap(self, index: int, tap: Tap) -> NDArray[np.int64]:
        """All beats (beats, elements) that a tap carried, in the order in which they came."""
        words = np.fromfile(self.tap_files[index], dtype="<u4").reshape(-1, tap.words)
        return unpack_tap(words, tap)


@dataclass(frozen=True)
class Harness:
    """A built harness; :func:`build` makes it."""

    manifest: Manifest
    executable: Path
    taps: tuple[Tap, ...]

    def run(
        self,
        vectors: Vectors,
        work: Path,
        *,
        sequences: int | None = None,
        idle: float = 0.0,
        backpressure: float = 0.0,
        faults: float = 0.0,
        resets: float = 0.0,
        alone: bool = False,
        fill: bool = False,
        seed: int = 1,
        looking: bool = False,
        plusargs: Sequence[str] = (),
        progress: Progress | None = None,
        waves: tuple[Path, int] | None = None,
    ) -> NativeRun:
        """Drive sequences and stop at the first deviation.

        Parameters
        ----------
        vectors : Vectors
            Inputs and expected outputs.
        work : Path
            Folder for the files of the run.
        sequences : int, optional
            How many; more than the vectors hold start over at their first. All of the vectors by default.
        idle, backpressure : float
            Probability, each cycle, that the source offers no new beat and that the sink is not ready. Where it is
            not 0 there are also bursts, long enough to stop a design whose sequences are far apart.
        faults : float
            Probability that a frame of wrong length comes before the next sequence, with TLAST early or missing: it
            must raise ``frame_error`` in the cycle after the beat that breaks it, and give no output. Where sequences
            are counted there is none; then packets end anywhere, with each beat, or never, by turns.
        resets : float
            Probability, each cycle, of a reset for one edge: sequences under way give no output, later ones theirs.
        alone : bool
            Send each sequence into an empty design, after a pause: it must be taken at once, and its latency be the
            manifest's; neither ``faults`` nor stalls with it.
        fill : bool
            Fill the buffers behind the layers from the last one on, and take each of them through all that it can do,
            whatever number of beats it holds. ``sequences`` are the most that this may take.
        seed : int
            Of the stalls, faults and resets, and of registers without reset.
        looking : bool
            Whether to write down what the taps see.
        plusargs : sequence of str
            Passed to the simulation, as ``+name=value``.
        progress : callable, optional
            Called with sequences done and sequences in all.
        waves : (Path, int), optional
            An FST file to write and the number of the sequence to show there, in a harness that was built for it.
        """
        manifest = self.manifest
        total = len(vectors) if sequences is None else count(sequences, "sequences")
        given = {"idle": idle, "backpressure": backpressure, "faults": faults, "resets": resets}
        chances = {name: probability(value, name) for name, value in given.items()}
        seed = count(seed, "seed", 0)
        _check_drive(manifest, chances, alone, fill)
        work.mkdir(parents=True, exist_ok=True)
        held = min(total, len(vectors))
        _write(work / "inputs.bin", vectors.inputs[:held], manifest.input)
        _write(work / "expected.bin", vectors.outputs[:held], manifest.output)
        settings: dict[str, object] = {
            **_settings(manifest, work),
            "looking": int(looking),
            "alone": int(alone),
            "fill": int(fill),
            "stored": held,
            "sequences": total,
            **{name: round(value * 65536) for name, value in chances.items()},
            "seed": seed,
            # stalls stretch the time between two handshakes
            "timeout": int(manifest.timeout / ((1 - chances["idle"]) * (1 - chances["backpressure"]))),
        }
        if waves is not None:
            settings |= {"waves": waves[0], "shown": waves[1], "period": manifest.period_ps}
        pairs = (f"{name}={value}" for name, value in settings.items())
        command = [str(self.executable), *pairs, *(f"+{text}" for text in plusargs)]
        facts = _execute(command, work / "result.txt", total, progress)
        number = {name: int(facts[name]) for name in _NUMBERS}
        return NativeRun(
            sequences=total,
            fault=None if facts["fault"] == "none" else facts["fault"],
            cycles=number["cycles"],
            sent=number["sent"],
            received=number["received"],
            due=number["due"],
            memory=(number["memory_early"], number["memory_late"]),
            timing=None if alone or fill or any(chances.values()) else _timing(number, work),
            outputs_file=work / "outputs.bin",
            tap_files=tuple(work / f"tap{index}.bin" for index in range(len(self.taps))),
            buffers=counts(facts, manifest.buffers),
        )


def _check_drive(manifest: Manifest, chances: Mapping[str, float], alone: bool, fill: bool) -> None:
    """Raise ``CheckError`` for what a design cannot be driven with."""
    if (chances["faults"] or chances["resets"]) and manifest.output.beats_per_sequence > 1:
        raise CheckError("faults and resets need a design with one output beat a sequence: cocotb tests the others")
    if chances["faults"] and manifest.counted:
        raise CheckError("faults need a design whose sequences end with TLAST: of counted ones none is broken")
    if alone and (manifest.timing is None or any(chances.values())):
        raise CheckError("alone needs a manifest with timing, and neither stalls nor faults nor resets")
    if fill and (alone or any(chances.values()) or not manifest.buffers):
        raise CheckError("fill needs a manifest with buffers, and neither stalls nor faults nor resets nor alone")


def _settings(manifest: Manifest, work: Path) -> dict[str, object]:
    """What ``native.cpp`` is told of files and of the design, whatever the run."""
    return {
        "inputs": work / "inputs.bin",
        "expected": work / "expected.bin",
        "outputs": work / "outputs.bin",
        "completions": work / "completions.bin",
        "taps": work / "tap",
        "coverage": work / "coverage.dat",
        "patience": manifest.patience,
        "latency": manifest.timing.latency if manifest.timing else 0,
        "drain": manifest.drain,
        "burst": manifest.burst,
        "keep": _KEEP,
    }


def _timing(number: Mapping[str, int], work: Path) -> Timing | None:
    """What a run at full rate measured; None if it gave no result."""
    if number["first_last_in"] < 0 or number["first_out"] < 0:
        return None
    completions = np.fromfile(work / "completions.bin", dtype="<u8").tolist()
    return Timing(
        latency=number["first_out"] - number["first_in"],
        latency_after_last=number["first_out"] - number["first_last_in"],
        interval=steady_interval(completions, number["last_in"]),
    )


def build(
    manifest: Manifest,
    folder: Path,
    *,
    taps: Sequence[Tap] = (),
    verilator: Verilator | None = None,
    coverage: bool = False,
    waves: bool = False,
    optimize: bool = True,
    progress: Progress | None = None,
) -> Harness:
    """Build the harness in a folder, or take the one that stands there if nothing has changed since.

    With ``taps`` a control file makes their signals readable; the Verilog itself is never touched. With ``coverage``
    each run writes ``coverage.dat`` into its folder, which :mod:`testbenches.coverage` reads; with ``waves`` it can
    write waveforms. ``optimize``: whether it will run for long, so that the compiler should take its time. ``progress``
    is called with files compiled and files in all.
    """
    tool = verilator or find_verilator()
    taps = tuple(taps)
    folder = folder.resolve()
    executable = folder / "Vdut"
    header = _header(manifest, taps) + ("#define FX_COVERAGE\n" if coverage else "")
    header += "#define FX_WAVES\n" if waves else ""
    digest = hashlib.sha256(repr((tool.version, str(tool.executable), optimize)).encode())
    digest.update(header.encode())
    for path in (_SOURCE, _HEADER, *manifest.files):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    stamp = folder / "fxsim_stamp"
    if executable.is_file() and stamp.is_file() and stamp.read_text() == digest.hexdigest():
        return Harness(manifest, executable, taps)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    verilating = (*(("--coverage-line", "--coverage-toggle") if coverage else ()), *(verilate() if waves else ()))
    log = folder / "build.log"
    with buildable(folder) as place:
        env = tool.environment(place)
        (place / "fxsim_dut.h").write_text(header)
        (place / "fxsim_taps.vlt").write_text(_control(manifest, taps))
        _verilate(manifest, place, (str(tool.executable), *verilating), env, log)
        _check_inside(manifest, taps, place)
        if waves:
            prepare(place)
        _compile(place, env, log, optimize, progress)
    stamp.write_text(digest.hexdigest())
    return Harness(manifest, executable, taps)


def _verilate(manifest: Manifest, place: Path, tool: Sequence[str], env: dict[str, str], log: Path) -> None:
    """Verilog to C++ in the folder ``place``, by Verilator with options, ``tool``; its ports are the manifest's."""
    for path in (_SOURCE, _HEADER):
        shutil.copy(path, place)  # make takes no name with blanks, and where this package stands may have some
    command = [
        *(*tool, "--cc", "--exe", "--prefix", "Vdut", "--top-module", manifest.top),
        *("--Mdir", str(place), "-O3", "--x-assign", "fast", "--x-initial", "unique", "--noassert", "--no-timing"),
        *("--output-split", "20000", *_WARNINGS, str(place / "fxsim_taps.vlt")),
        *(str(path) for path in manifest.files),
        str(place / _SOURCE.name),
    ]
    _call(command, env, log, "Verilator does not accept the Verilog")
    _check_ports(manifest, (place / "Vdut.h").read_text())


def _compile(place: Path, env: dict[str, str], log: Path, optimize: bool, progress: Progress | None) -> None:
    """C++ to the executable; ``optimize`` and ``progress`` as in :func:`build`."""
    jobs = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    fast, rest = ("-O2", "-O2") if optimize else ("-O1", "-O0")
    options = (f"OPT_FAST={fast}", "OPT_SLOW=-O0", f"OPT_GLOBAL={rest}")
    command = ["make", "-C", str(place), "-f", "Vdut.mk", "-j", jobs, *options]
    _call(command, env, log, "the Verilated design does not compile", compiling(place, progress))


def _header(manifest: Manifest, taps: tuple[Tap, ...]) -> str:
    source, sink = manifest.input, manifest.output
    lines = [
        f"#define FX_CLOCK {manifest.clock}",
        f"#define FX_RESET {manifest.reset}",
        "#define FX_ERROR frame_error",
        f"#define FX_S(port) {source.prefix}_##port",
        f"#define FX_M(port) {sink.prefix}_##port",
        f"#define FX_IN_BITS {source.data_bits}",
        f"#define FX_IN_BEATS {source.beats_per_sequence}ull",
        f"#define FX_OUT_WORDS {sink.words}",
        f"#define FX_OUT_BEATS {sink.beats_per_sequence}ull",
        f"#define FX_COUNTED {int(manifest.counted)}",
    ]
    if taps or manifest.buffers:
        lines.append('#include "Vdut___024root.h"')
    signal = f"dut->rootp->{manifest.top}__DOT__"
    calls = [f"    FX_TAP({signal}{tap.valid}, {signal}{tap.data}, {tap.words})" for tap in taps]
    lines.append(" \\\n".join(["#define FX_TAPS", *calls]))
    calls = []
    for one in manifest.buffers:
        signals = ", ".join(signal + name for name in (one.push, one.pop, one.filled))
        calls.append(f"    FX_BUFFER({signals}, {one.depth}, {str(one.beats_per_sequence > 1).lower()})")
    lines.append(" \\\n".join(["#define FX_BUFFERS", *calls]))
    steps = max((one.beats_per_sequence for one in manifest.buffers), default=1)
    lines.append(f"#define FX_GROUP {max(1, source.beats_per_sequence // steps if steps > 1 else 1)}ull")
    return "\n".join(lines) + "\n"


def _control(manifest: Manifest, taps: tuple[Tap, ...]) -> str:
    names = _inside(manifest, taps)
    lines = [f'public_flat_rd -module "{manifest.top}" -var "{name}"' for name in names]
    return "\n".join(["`verilator_config", *lines]) + "\n"


def _inside(manifest: Manifest, taps: tuple[Tap, ...]) -> dict[str, str]:
    """Signals inside the design that the harness reads, and what for."""
    found: dict[str, str] = {}
    for tap in taps:
        found |= dict.fromkeys((tap.valid, tap.data), f"tap {tap.name!r}")
    for one in manifest.buffers:
        found |= dict.fromkeys((one.push, one.pop, one.filled), f"the buffer behind {one.layer!r}")
    return found


def _check_ports(manifest: Manifest, header: str) -> None:
    found = {name: (way, int(high) - int(low) + 1) for way, name, high, low in _PORT.findall(header)}
    wanted = {manifest.clock: ("IN", 1), manifest.reset: ("IN", 1), "frame_error": ("OUT", 1)}
    for stream, ahead, back in ((manifest.input, "IN", "OUT"), (manifest.output, "OUT", "IN")):
        wanted[f"{stream.prefix}_tdata"] = ahead, stream.data_bits
        wanted[f"{stream.prefix}_tvalid"] = wanted[f"{stream.prefix}_tlast"] = ahead, 1
        wanted[f"{stream.prefix}_tready"] = back, 1
    for name, (way, width) in wanted.items():
        if name not in found:
            raise CheckError(f"module {manifest.top!r} has no port {name!r}")
        if found[name][0] != way:
            raise CheckError(f"port {name!r} must be an {way.lower()}put of module {manifest.top!r}")
        if found[name][1] != width:
            raise CheckError(f"port {name!r} is {found[name][1]} bits wide, the manifest says {width}")


def _check_inside(manifest: Manifest, taps: tuple[Tap, ...], folder: Path) -> None:
    inside = _inside(manifest, taps)
    text = (folder / "Vdut___024root.h").read_text() if inside else ""
    for name, what in inside.items():
        if not re.search(rf"\b{manifest.top}__DOT__{name}\b", text):
            raise CheckError(f"module {manifest.top!r} has no signal {name!r} for {what}")


def _call(
    command: list[str], env: dict[str, str], log: Path, failure: str, waiting: Callable[[], None] | None = None
) -> None:
    ended = call(command, env, log=log, waiting=waiting)
    if ended.returncode:
        raise CheckError(f"{failure}: {complaint(ended.returncode, ended.stderr, ended.stdout)}", log=log)


def _write(path: Path, values: NDArray[np.int64], stream: Stream) -> None:
    with path.open("wb") as file:
        for start in range(0, len(values), _CHUNK):
            pack(values[start : start + _CHUNK], stream).tofile(file)


def _execute(command: list[str], result: Path, total: int, progress: Progress | None) -> dict[str, str]:
    # The result goes to a file: a design that prints much would fill a pipe nobody reads.
    said = ""
    with result.open("wb") as out, started(command, stdout=out, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for line in process.stderr:
            word, _, rest = line.strip().partition(" ")
            if word == "progress" and rest.isdigit():
                if progress is not None:
                    progress(int(rest), total)
            else:
                said += line
    text = result.read_text(errors="replace")
    lines = [line.split() for line in text.splitlines()]
    facts = {line[0]: line[1] for line in lines if len(line) == 2}
    if process.returncode or "first_out" not in facts:
        why = complaint(process.returncode, said, text)
        raise CheckError(f"the simulation broke off with {ending(process.returncode)}: {why}")
    return facts
