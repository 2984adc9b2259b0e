# SPDX-License-Identifier: Apache-2.0
"""Prove that a mutant cannot be told from its original, or find the inputs that tell them apart.

Both run from the state after configuration on under the same inputs, which are free in every cycle, resets included.
Compared are tready, tvalid, frame_error, and while tvalid is high tdata and tlast.

The circuit of the proof has every register once, as in the original, and asks: can the next value of any register, or
an output, ever differ? Where a register's can and no output's does, the mutant gets a copy of it, and the question is
asked anew, with that register free to differ. ABC's ``pdr`` (property-directed reachability) answers for all reachable
states and without a bound in time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .aiger import Aig, Builder
from .errors import CheckError
from .manifest import Manifest
from .mutants import SELECT, Mutant, planting, read
from .yosys import run_abc, run_yosys

__all__ = ["Proof", "Prover"]

#: From RTLIL to AIGER, which has no enables and resets in its registers.
_MAP = (
    "opt -nodffe -nosdff",
    "memory_map",
    "setundef -zero",  # a value that no table entry defines is 0 in both
    "opt -nodffe -nosdff",
    "techmap",
    "opt -nodffe -nosdff",
    "dffunmap",
    "aigmap",
    "clean",
    "write_aiger -zinit -map planted.map planted.aig",
)


@dataclass(frozen=True)
class Proof:
    """``equivalent``: True, False with ``frames`` to the first differing output, or None when no answer was found."""

    equivalent: bool | None
    frames: int | None = None
    free: int = 0  #: registers in which the two may differ without harm

    def __str__(self) -> str:
        if self.equivalent is None:
            return "undecided"
        if self.equivalent:
            return "equivalent" + (f", {self.free} registers may differ" if self.free else "")
        return f"differs after {self.frames} cycles"


class Prover:
    """Compares mutants of a design with their original; all of them are mapped to gates at once.

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
        self._work = work
        run_yosys([*read(manifest, work), *planting(mutants), *_MAP], work)
        self._aig = Aig.read(work / "planted.aig")
        places: dict[tuple[str, str, int], int] = {}
        for line in (work / "planted.map").read_text().splitlines():
            found = re.fullmatch(r"(input|output) (\d+) (\d+) (\S+)", line)
            if found:
                places[found[1], found[4], int(found[3])] = int(found[2])
        self._select = [places["input", "mutsel", bit] for bit in range(SELECT)]
        source, sink = manifest.input.prefix, manifest.output.prefix
        ends = {(name, bit): place for (way, name, bit), place in places.items() if way == "output"}
        always = (f"{source}_tready", f"{sink}_tvalid", "frame_error")
        self._always = [place for (name, _), place in ends.items() if name in always]
        self._with_valid = [place for (name, _), place in ends.items() if name not in always]
        self._valid = ends[f"{sink}_tvalid", 0]
        # The map leaves out outputs that are constant, whichever mutant is awake.
        unknown = [place for place in range(len(self._aig.outputs)) if place not in ends.values()]
        constant = all(self._aig.outputs[place] <= 1 for place in unknown)
        if len(self._aig.outputs) != manifest.output.data_bits + 4 or len(self._always) != 3 or not constant:
            raise CheckError("the netlist has lost some of its outputs")

    def compare(self, mutant: Mutant, seconds: int = 60) -> Proof:
        """Compare one mutant with the original; all its questions together may take about ``seconds``."""
        if mutant.port == "CLK":
            raise CheckError("the registers of an AIG have no clock")
        free: list[int] = []
        end = time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0:
            question = self._question(mutant.number, free)
            if question.outputs == (0,):
                return Proof(True, free=len(free))
            question.write(self._work / "question.aig")
            (self._work / "answer.cex").unlink(missing_ok=True)
            text = run_abc(
                ["read_aiger question.aig", "strash", f"pdr -T {max(1, round(rest))}", "write_cex -n answer.cex"],
                self._work,
                2 * rest + 30,
            )
            if "Property proved" in text:
                return Proof(True, free=len(free))
            if "was asserted in frame" not in text:
                return Proof(None)
            frames, differing = self._replay(mutant.number, free)
            if not differing:
                return Proof(False, frames)
            free += differing
        return Proof(None)

    def _copies(self, number: int, free: Sequence[int], builder: Builder) -> tuple[list[int], list[int]]:
        """Literals of the original and of the mutant, whose registers are the original's but for the ``free`` ones."""
        aig = self._aig
        first = 1 + aig.inputs
        asleep = {1 + place: 0 for place in self._select}
        awake = {1 + place: number >> bit & 1 for bit, place in enumerate(self._select)}
        own = {first + latch: 2 * (first + len(aig.latches) + k) for k, latch in enumerate(free)}
        return builder.copy(aig, asleep), builder.copy(aig, awake | own)

    def _question(self, number: int, free: Sequence[int]) -> Aig:
        aig = self._aig
        builder = Builder(aig.inputs, len(aig.latches) + len(free))
        one, two = self._copies(number, free, builder)

        def differ(literal: int) -> int:
            return builder.differ(one[literal >> 1] ^ literal & 1, two[literal >> 1] ^ literal & 1)

        bad = 0
        for latch, literal in enumerate(aig.latches):
            if latch not in free:
                bad = builder.either(bad, differ(literal))
        for place in self._always:
            bad = builder.either(bad, differ(aig.outputs[place]))
        valid = aig.outputs[self._valid]
        for place in self._with_valid:
            wrong = builder.both(one[valid >> 1] ^ valid & 1, differ(aig.outputs[place]))
            bad = builder.either(bad, wrong)
        following = [one[literal >> 1] ^ literal & 1 for literal in aig.latches]
        following += [two[aig.latches[latch] >> 1] ^ aig.latches[latch] & 1 for latch in free]
        return Aig(aig.inputs, tuple(following), (bad,), tuple(builder.gates))

    def _replay(self, number: int, free: Sequence[int]) -> tuple[int, list[int]]:
        """Cycles of a counterexample, and the registers that differ after it; none when outputs do."""
        aig = self._aig
        frames = _counterexample((self._work / "answer.cex").read_text(), aig.inputs)
        states = [0] * len(aig.latches), [0] * len(aig.latches)

        def read(values: list[int], literal: int) -> int:
            return values[literal >> 1] ^ literal & 1

        for count, inputs in enumerate(frames, 1):
            values = []
            for state, chosen in zip(states, (0, number), strict=True):
                given = list(inputs)
                for bit, place in enumerate(self._select):
                    given[place] = chosen >> bit & 1
                values.append(aig.settle(given, state))
            one, two = values
            ends = list(self._always)
            if read(one, aig.outputs[self._valid]):
                ends += self._with_valid
            if any(read(one, aig.outputs[place]) != read(two, aig.outputs[place]) for place in ends):
                return count, []
            states = tuple([read(values, literal) for literal in aig.latches] for values in (one, two))  # type: ignore[assignment]
            differing = [k for k, (a, b) in enumerate(zip(*states, strict=True)) if a != b and k not in free]
            if differing:
                return count, differing
        raise CheckError("ABC's counterexample shows no difference")


def _counterexample(text: str, inputs: int) -> list[list[int]]:
    """Values of the inputs in each cycle, from what ABC writes; those that do not matter are 0."""
    found = [tuple(map(int, match)) for match in re.findall(r"^pi(\d+)@(\d+)=([01])$", text, re.MULTILINE)]
    frames = [[0] * inputs for _ in range(1 + max((frame for _, frame, _ in found), default=0))]
    for place, frame, value in found:
        frames[frame][place] = value
    return frames
