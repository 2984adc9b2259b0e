# SPDX-License-Identifier: Apache-2.0
"""Prove that a mutant cannot be told from its original, or find the input that tells them apart.

Both get the same inputs, from the state after configuration on, resets at any time included. The source keeps the
rules of AXI4-Stream: what it offers stands until it is taken. Compared in every cycle: tready, tvalid, frame_error, and
while tvalid is high tdata and tlast. A proof has no bound in time: ABC merges what is equal in both by induction
(``scorr``) and shows the rest by property-directed reachability (``pdr``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbenches.errors import CheckError
from testbenches.manifest import Manifest
from testbenches.mutants import SELECT, Mutant, declarations, planting, read
from testbenches.yosys import run_abc, run_yosys

__all__ = ["Proof", "Prover"]

#: From RTLIL to AIGER, without enables and resets in the flip-flops, which it does not have.
_MAP = (
    "opt -nodffe -nosdff",
    "memory_map",
    "opt -nodffe -nosdff",
    "techmap",
    "opt -nodffe -nosdff",
    "dffunmap",
    "aigmap",
    "clean",
    "write_aiger -zinit -map miter.map miter.aig",
)


@dataclass(frozen=True)
class Proof:
    """``equivalent``: True or False, None if neither was found in time; ``frames``: cycles to the first difference."""

    equivalent: bool | None
    frames: int | None = None


class Prover:
    """Compares mutants of one design with their original; all of them are mapped to gates at once.

    Parameters
    ----------
    manifest : Manifest
        The original.
    mutants : sequence of Mutant
        Those to compare.
    work : Path
        A folder for files.
    """

    def __init__(self, manifest: Manifest, mutants: Sequence[Mutant], work: Path) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.work = work
        top = manifest.top
        (work / "miter.v").write_text(_miter(manifest))
        run_yosys(
            [
                *read(manifest, work),
                f"copy {top} original",
                *planting(mutants),
                f"rename {top} mutants",
                "read_verilog miter.v",
                "hierarchy -check -top miter",
                "proc",
                "flatten",
                *_MAP,
            ],
            work,
        )
        self._lines, self._rest = _split((work / "miter.aig").read_bytes())
        places = re.findall(r"^input (\d+) (\d+) choice$", (work / "miter.map").read_text(), re.MULTILINE)
        inputs = {int(bit): int(index) for index, bit in places}
        if len(inputs) != SELECT:
            raise CheckError("the miter has lost its selection")
        ahead = {2 * (index + 1): bit for bit, index in inputs.items()}
        self._inputs = int(self._lines[0].split()[2])
        self._latches = {
            place: ahead[int(line.split()[0])]
            for place, line in enumerate(self._lines[1:])
            if int(line.split()[0]) in ahead
        }
        if sorted(self._latches.values()) != list(range(SELECT)):
            raise CheckError("the miter has lost the registers of its selection")

    def compare(self, mutant: Mutant, seconds: int = 60) -> Proof:
        """Compare one mutant with the original."""
        lines = list(self._lines)
        for place, bit in self._latches.items():
            # a register that keeps its first value
            lines[1 + place] = f"{2 * (1 + self._inputs + place)} {mutant.number >> bit & 1}"
        (self.work / "one.aig").write_bytes("\n".join([*lines, ""]).encode() + self._rest)
        commands = ["read_aiger one.aig", "strash", "scl", "scorr", "ps", f"pdr -T {seconds}"]
        return _verdict(run_abc(commands, self.work, 4 * seconds))


def _verdict(text: str) -> Proof:
    found = re.search(r"asserted in frame (\d+)", text)
    if found:
        return Proof(False, int(found[1]))
    return Proof(True) if re.search(r"Property proved", text) else Proof(None)


def _split(data: bytes) -> tuple[list[str], bytes]:
    """Header and latches of a binary AIGER file, a line each, and what follows."""
    header, _, rest = data.partition(b"\n")
    lines = [header.decode()]
    for _ in range(int(header.split()[3])):
        line, _, rest = rest.partition(b"\n")
        lines.append(line.decode())
    return lines, rest


def _miter(manifest: Manifest) -> str:
    source, sink = manifest.input.prefix, manifest.output.prefix
    ports = declarations(manifest)
    inputs = [port for port in ports if port.startswith("input")]
    outputs = [port.removeprefix("output wire ") for port in ports if port.startswith("output")]
    names = [port.rpartition(" ")[2] for port in inputs]
    ends = [port.rpartition(" ")[2] for port in outputs]
    lines = [
        f"module miter ({', '.join(inputs)}, input wire [{SELECT - 1}:0] choice, output wire differs);",
        f"  reg [{SELECT - 1}:0] mutsel = 0;",
        f"  always @(posedge {manifest.clock}) mutsel <= choice;",
    ]
    for side, module in (("a", "original"), ("b", "mutants")):
        for port in outputs:
            shape, _, name = port.rpartition(" ")
            lines.append(f"  wire {shape} {side}_{name};")
        pins = [f".{name}({name})" for name in names] + [f".{name}({side}_{name})" for name in ends]
        pins += [".mutsel(mutsel)"] if side == "b" else []
        lines.append(f"  {module} {side} ({', '.join(pins)});")
    beat = f"{{{source}_tdata, {source}_tlast}}"
    lines += [
        # what was offered and not taken must stand; after the first breach nothing counts
        f"  reg waited = 0, legal = 1; reg [{manifest.input.data_bits}:0] held = 0;",
        f"  wire good = legal && (!waited || ({source}_tvalid && held == {beat}));",
        f"  always @(posedge {manifest.clock}) begin",
        f"    waited <= {manifest.reset} && {source}_tvalid && !a_{source}_tready;",
        f"    held <= {beat};",
        "    legal <= good;",
        "  end",
        f"  assign differs = good && (a_{source}_tready != b_{source}_tready || a_{sink}_tvalid != b_{sink}_tvalid",
        "    || a_frame_error != b_frame_error",
        f"    || a_{sink}_tvalid && {{a_{sink}_tdata, a_{sink}_tlast}} != {{b_{sink}_tdata, b_{sink}_tlast}});",
        "endmodule",
    ]
    return "\n".join(lines) + "\n"
