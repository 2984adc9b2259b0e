# SPDX-License-Identifier: Apache-2.0
"""What was found out about an exported design after it was written, as sections of its ``report.html``."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FxsimError
from ..files.folder import read_text, write_whole
from .listing import Column, Listing
from .page import Facts, Folded, Part, Section, Table, Text, Verdict, replace_section

if TYPE_CHECKING:
    from rtl.export.timing_report import Timed
    from testbenches import CheckReport, Mismatch

#: The page of an exported folder.
REPORT = "report.html"
#: Cells that Yosys counts, and their names for people.
CELLS = {"lut": "logic LUT", "lutram": "memory LUT", "ff": "FF", "dsp": "DSP", "bram": "BRAM"}


def unchecked() -> Section:
    """Before the first check."""
    return _verification([Verdict(None, "Not checked yet:", "run fxsim check DIR")])


def agrees(found: CheckReport, width: int, inputs: str, doubts: Iterable[str] = ()) -> Section:
    """After a check that passed. ``width``: bits of an output value; ``inputs``: what went in, in words."""
    parts: list[Part] = []
    rows: list[tuple[object, object]] = [("inputs", inputs)]
    if found.measured is not None:
        text = f"{found.values * width} output bits of {found.values} values, {found.differences} different; "
        parts.append(Verdict(True, "The Verilog agrees:", text + "every cycle as predicted"))
        rows += [("sequences run, at full rate and with stalls", found.sequences), ("output values", found.values)]
        rows += [("different", found.differences), ("clock cycles run", found.cycles)]
        if found.inner:
            rows.append(("results of inner operations compared", found.inner))
        if found.events:
            rows.append(("events of buffers behind layers, all seen", found.events))
    else:
        parts.append(Verdict(True, "The Verilog agrees:", f"{len(found.tests)} tests passed"))
    parts.append(Facts(rows))
    if found.measured is not None and found.predicted is not None:
        names = ("latency", "latency_after_last", "interval")
        cycles = [
            (name.replace("_", " "), getattr(found.predicted, name), _measured(getattr(found.measured, name)))
            for name in names
        ]
        parts.append(Table(("<cycles", "predicted", "measured"), cycles))
    parts += [Verdict(None, "Note:", doubt) for doubt in doubts]
    if found.tests:
        tests = [(name.rpartition(".")[2].replace("_", " "),) for name in found.tests]
        parts.append(Folded(f"{len(found.tests)} cocotb tests passed", [Table(("<",), tests)]))
    return _verification(parts)


def _measured(cycles: object) -> object:
    return "not measured" if cycles is None else cycles


def differs(error: Mismatch, folders: Iterable[Path]) -> Section:
    """After a check that failed; ``folders`` of this machine are left out of what it says."""
    text = str(error).removesuffix(f" (log: {error.log})")
    for path in folders:
        for name in (path.resolve(), path.absolute()):
            text = text.replace(f"{name}/", "")
    known = {"layer": error.layer, "operation": error.op, "sequence": error.sequence, "step": error.step}
    known |= {"element": error.element, "expected": error.expected, "got": error.got}
    rows = [(name, value) for name, value in known.items() if value is not None]
    return _verification([Verdict(False, "The Verilog differs:", text), Facts([("kind", error.kind), *rows])])


def _verification(parts: list[Part]) -> Section:
    return Section("verification", "Verification", parts)


#: Columns of the longest paths.
_TIMING = (
    Column("part", "layer", left=True), Column("kind", "ends in", left=True), Column("path_ns", "ns", form=".2f"),
    Column("source", "from", left=True, rank=2), Column("target", "to", left=True),
    Column("cells", "through", left=True, rank=3, prose=True), Column("fan_out", "fan-out", rank=1),
)  # fmt: skip


def timing_listing(timed: Timed) -> Listing:
    """The longest paths of a design, for terminals, programs and pages."""
    rows = [
        (one.part, one.kind, one.path_ns, one.source, one.target, _through(one.cells), one.fan_out)
        for one in timed.paths
    ]
    return Listing("timing", f"Longest paths between registers on {timed.family}, by static timing", _TIMING, rows)


def timing_line(timed: Timed) -> str:
    """The clock that the longest path holds, beside the one that was planned."""
    verdict = "is met" if timed.path_ns <= timed.period_ns else "is not met"
    return (
        f"{timed.clock_mhz:g} MHz {verdict}: the longest path takes {timed.path_ns:.2f} ns of "
        f"{timed.period_ns:.2f} ({timed.fmax_mhz:.0f} MHz); planned: {timed.planned_ns:.2f} ns"
    )


def _through(cells: Iterable[str]) -> str:
    """Cells in a row, equal ones counted."""
    return ", ".join(f"{count} {name}" if (count := len(list(group))) > 1 else name for name, group in groupby(cells))


def synthesis(found: Iterable[Mapping[str, Any]], timed: Timed | None = None) -> Section:
    """Cells as Yosys counts them, a row for each result of ``fxsim synth``, and the longest paths."""
    rows = [(one["family"], *(f"{one[name]:g}" for name in CELLS)) for one in found]
    parts: list[Part] = [Table(("<family", *CELLS.values()), rows)] if rows else []
    if not rows:
        parts.append(Text("Not synthesized yet: run fxsim synth DIR", soft=True))
    if timed is not None:
        parts.append(Text(timing_line(timed)))
        parts.append(timing_listing(timed).part())
    return Section("synthesis", "Cells, counted by Yosys", parts)


def stamp(folder: Path, section: Section, files: Iterable[str] = ()) -> None:
    """Put a section into the page of a folder, if it has one; warns where that cannot be written.

    ``files``: what it is about, in the folder; their hashes stand with it, so that it is not taken for others'.
    """
    place = folder / REPORT
    if not place.is_file():
        return
    hashes = ((name, hashlib.sha256((folder / name).read_bytes()).hexdigest()) for name in files)
    lines = [Text(f"{name}: SHA-256 {value}", soft=True) for name, value in hashes]
    try:
        text = replace_section(read_text(place), replace(section, parts=[*section.parts, *lines]))
        if text is not None:
            write_whole(place, text.encode())
    except FxsimError as error:
        warnings.warn(f"report.html could not be updated: {error}", stacklevel=2)
