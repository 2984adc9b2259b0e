# SPDX-License-Identifier: Apache-2.0
"""What was found out about an exported design after it was written, as sections of its ``report.html``."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import FxsimError
from .folder import read_text, write_whole
from .page import Facts, Folded, Part, Section, Table, Text, Verdict, replace_section

if TYPE_CHECKING:
    from testbenches import CheckReport, Mismatch

#: The page of an exported folder.
REPORT = "report.html"
#: Cells that Yosys counts, and their names for people.
CELLS = {"lut": "LUT", "lutram": "LUT as memory", "ff": "FF", "dsp": "DSP", "bram": "BRAM"}


def unchecked() -> Section:
    """Before the first check."""
    return _verification([Verdict(None, "Not checked yet:", "fxsim check DIR")])


def agrees(found: CheckReport, width: int, inputs: str, doubts: Iterable[str] = ()) -> Section:
    """After a check that passed. ``width``: bits of an output value; ``inputs``: what went in, in words."""
    parts: list[Part] = []
    rows: list[tuple[object, object]] = [("inputs", inputs)]
    if found.measured is not None:
        text = f"{found.values * width} output bits of {found.values} values, {found.differences} different; "
        parts.append(Verdict(True, "The Verilog agrees:", text + "every cycle as predicted"))
        rows += [("sequences run, with stalls and without", found.sequences), ("output values", found.values)]
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
    parts += [Verdict(None, "But:", doubt) for doubt in doubts]
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


def synthesis(found: Iterable[Mapping[str, Any]]) -> Section:
    """Cells as Yosys counts them, a row for each result of ``fxsim synth``."""
    rows = [(one["family"], *(f"{one[name]:g}" for name in CELLS)) for one in found]
    parts: list[Part] = [Table(("<family", *CELLS.values()), rows)] if rows else []
    if not rows:
        parts.append(Text("Not synthesized yet: fxsim synth DIR", soft=True))
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
        warnings.warn(f"the page does not tell it: {error}", stacklevel=2)
