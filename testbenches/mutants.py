# SPDX-License-Identifier: Apache-2.0
"""Plant faults in an exported design, one at a time, and see which the native harness notices.

Yosys draws the faults (``mutate``): a bit of a port of a cell inverted, stuck, or inverted where a neighbour is 0 or 1.
All of them stand in one netlist, of which ``+mutant=N`` wakes one, so that one build serves them all; 0 wakes none.
"""

from __future__ import annotations

import fnmatch
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .buffers import demand
from .errors import CheckError, Mismatch
from .locate import at_taps
from .manifest import Manifest, Stream
from .native import Harness, build
from .timing import compare
from .vectors import Vectors
from .yosys import run_yosys

__all__ = [
    "SELECT",
    "STAGES",
    "Mutant",
    "Stage",
    "Verdict",
    "declarations",
    "draw",
    "draw_each",
    "hunt",
    "plant",
    "planting",
    "read",
]

#: Bits of the input ``mutsel`` that wakes a mutant, and so their largest number.
SELECT = 16
#: Pins without mutants. A clock with a gate in it races against the clock: what such a mutant does is the simulator's
#: choice. The others are no wires of the design: where a memory is read without a clock, Yosys gives them constants.
_UNTOUCHED = frozenset({"CLK", "RD_CLK", "WR_CLK", "RD_EN", "RD_ARST", "RD_SRST"})
_OPTION = re.compile(r"-(\w+) (\S+)")


@dataclass(frozen=True)
class Mutant:
    """One fault: what ``mutate`` does, and the lines of the Verilog that it touches."""

    number: int
    command: str  #: Yosys command that plants it, without its selection
    mode: str
    cell: str
    port: str
    bit: int
    lines: tuple[int, ...]

    def renumbered(self, number: int) -> Mutant:
        """The same fault under another number."""
        return replace(self, number=number)

    def __str__(self) -> str:
        return f"{self.mode} of bit {self.bit} of {self.port} of {self.cell}, lines {', '.join(map(str, self.lines))}"


@dataclass(frozen=True)
class Stage:
    """One run of the regression: probabilities as :meth:`testbenches.native.Harness.run` takes them."""

    name: str
    idle: float = 0.0
    backpressure: float = 0.0
    faults: float = 0.0
    resets: float = 0.0
    alone: bool = False
    fill: bool = False
    sequences: int = 400  #: as many, or all there are; those with faults, resets and full buffers start over

    def run(self, harness: Harness, vectors: Vectors, work: Path, mutant: int) -> str | None:
        """None, or what was wrong: the kind of fault as :class:`testbenches.Mismatch` names it.

        With stalls and while buffers are filled, what the harness's taps see is compared, too.
        """
        manifest = harness.manifest
        faults = 0.0 if manifest.counted else self.faults
        broken = bool(self.faults or self.resets)
        plain = not (self.idle or self.backpressure or broken or self.fill)
        known = bool(harness.taps) and all(tap.name in vectors.taps for tap in harness.taps)
        looking = known and not (plain or broken)
        total = self.sequences if broken or self.fill else min(self.sequences, len(vectors))
        run = harness.run(
            vectors,
            work,
            sequences=max(total, manifest.settling if plain else 1),
            idle=self.idle,
            backpressure=self.backpressure,
            faults=faults,
            resets=self.resets,
            alone=self.alone,
            fill=self.fill,
            looking=looking,
            plusargs=[f"mutant={mutant}"],
        )
        if run.fault is None and run.timing is not None and manifest.timing is not None:
            try:
                compare(run.timing, manifest.timing)
            except Mismatch:
                return "timing"
        if run.fault is None and looking and at_taps(manifest, vectors, run, harness.taps) is not None:
            return "value"
        if run.fault is None and self.fill:
            try:
                demand(manifest.buffers, [run.buffers])
            except Mismatch:
                return "buffer"
        return run.fault


#: The regression, cheapest first. Resets are rare enough for most sequences to be answered.
STAGES = (
    Stage("bits and cycles"),
    Stage("alone", alone=True, sequences=100),
    Stage("stalls", idle=0.3, backpressure=0.3),
    Stage("slow sink", backpressure=0.8),
    Stage("slow source", idle=0.8),
    Stage("full buffers", fill=True),
    Stage("broken frames", faults=0.5),
    Stage("broken frames, stalls", idle=0.2, backpressure=0.5, faults=0.5, sequences=800),
    Stage("resets", faults=0.3, resets=0.004, sequences=1600),
    Stage("resets, stalls", idle=0.2, backpressure=0.5, faults=0.3, resets=0.01, sequences=1600),
    Stage("volume", sequences=1 << 62),
)


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: the stage that noticed it and how, or None twice."""

    mutant: Mutant
    stage: str | None
    kind: str | None


def read(manifest: Manifest, work: Path, keep: Sequence[str] = ()) -> list[str]:
    """Yosys commands that read a design as one module; what only testbenches look at is left out, but for ``keep``."""
    links = []
    for number, path in enumerate(manifest.files):
        link = work / f"{number}.v"
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        links.append(link.name)
    return [
        f"read_verilog {' '.join(links)}",
        f"hierarchy -check -top {manifest.top}",
        "proc",
        "flatten",
        *(f"setattr -set keep 1 w:{name}" for name in keep),
        "opt_clean -purge",
        "memory_collect",
    ]


def draw(manifest: Manifest, work: Path, count: int, seed: int = 1) -> list[Mutant]:
    """Draw mutants, spread evenly over cells, wires and lines; none of clock pins, fewer if there are no more."""
    if not 1 <= count < 1 << SELECT:
        raise CheckError(f"count must be from 1 to {(1 << SELECT) - 1}, not {count!r}")
    work.mkdir(parents=True, exist_ok=True)
    run_yosys([*read(manifest, work), f"mutate -list {count + count // 10 + 10} -seed {seed} -o list.txt"], work)
    drawn = [_mutant(number, line) for number, line in enumerate((work / "list.txt").read_text().splitlines())]
    kept = [mutant for mutant in drawn if mutant.port not in _UNTOUCHED][:count]
    return [mutant.renumbered(number) for number, mutant in enumerate(kept, 1)]


def draw_each(manifest: Manifest, work: Path, cells: str, seed: int = 1) -> list[Mutant]:
    """Invert one bit, drawn at random, of each port of each cell whose name has the pattern; none of clock pins."""
    work.mkdir(parents=True, exist_ok=True)
    run_yosys([*read(manifest, work), "write_json cells.json"], work)
    module = json.loads((work / "cells.json").read_text())["modules"][manifest.top]
    rng = random.Random(seed)
    found: list[Mutant] = []
    for name, cell in module["cells"].items():
        if not fnmatch.fnmatchcase(name, cells):
            continue
        escaped = name if name.startswith("$") else f"\\{name}"
        for port, bits in cell["connections"].items():
            if bits and port not in _UNTOUCHED:
                line = f"mutate -mode inv -module {manifest.top} -cell {escaped} -port {port}"
                line += f" -portbit {rng.randrange(len(bits))} -src {cell['attributes'].get('src', '')}"
                found.append(_mutant(len(found) + 1, line))
    return found


def _mutant(number: int, line: str) -> Mutant:
    options = dict(_OPTION.findall(line))
    source = sorted({int(start) for start in re.findall(r"-src \S+?:(\d+)", line)})
    return Mutant(
        number, line, options["mode"], options["cell"], options["port"], int(options["portbit"]), tuple(source)
    )


def declarations(manifest: Manifest) -> list[str]:
    """The ports of a top module, as Verilog declares them."""

    def stream(side: Stream, ahead: str, back: str) -> Iterator[str]:
        yield f"{ahead} wire [{side.data_bits - 1}:0] {side.prefix}_tdata"
        yield f"{ahead} wire {side.prefix}_tvalid"
        yield f"{back} wire {side.prefix}_tready"
        yield f"{ahead} wire {side.prefix}_tlast"

    return [
        f"input wire {manifest.clock}",
        f"input wire {manifest.reset}",
        *stream(manifest.input, "input", "output"),
        *stream(manifest.output, "output", "input"),
        "output wire frame_error",
    ]


def planting(mutants: Sequence[Mutant]) -> list[str]:
    """Yosys commands that plant all mutants in the design it holds; its new input ``mutsel`` wakes one."""
    control = f"mutate -ctrl mutsel {SELECT}"
    return [mutant.command.replace("mutate ", f"{control} {mutant.number} ", 1) for mutant in mutants]


def plant(manifest: Manifest, mutants: Sequence[Mutant], work: Path) -> Manifest:
    """Write all mutants as one design; its manifest is the original's but for the files."""
    work.mkdir(parents=True, exist_ok=True)
    top, inner = manifest.top, f"{manifest.top}_mutants"
    looked = _looked_at(manifest)
    run_yosys(
        [
            *read(manifest, work, list(looked)),
            *planting(mutants),
            *(f"expose w:{name}" for name in looked),
            f"rename {top} {inner}",
            "write_verilog -noattr mutants.v",
        ],
        work,
    )
    ports = declarations(manifest)
    names = [*(port.split()[-1] for port in ports), *looked]
    wrapper = [
        f"module {top} (",
        "  " + ",\n  ".join(ports),
        ");",
        *(f"  wire [{bits - 1}:0] {name};" for name, bits in looked.items()),
        f"  reg [{SELECT - 1}:0] mutant;",
        '  initial if (!$value$plusargs("mutant=%d", mutant)) mutant = 0;',
        f"  {inner} mutated ({', '.join(f'.{name}({name})' for name in names)}, .mutsel(mutant));",
        "endmodule",
    ]
    (work / "wrapper.v").write_text("\n".join(wrapper) + "\n")
    return replace(manifest, files=(work / "mutants.v", work / "wrapper.v"))


def _looked_at(manifest: Manifest) -> dict[str, int]:
    """The wires that testbenches look at in a design, and how many bits they have."""
    found: dict[str, int] = {}
    for tap in manifest.taps:
        found |= {tap.valid: 1, tap.data: tap.width * tap.elements}
    for buffer in manifest.buffers:
        found |= {buffer.push: 1, buffer.pop: 1, buffer.filled: buffer.depth.bit_length()}
    return found


def hunt(
    manifest: Manifest,
    vectors: Vectors,
    mutants: Sequence[Mutant],
    work: Path,
    stages: Sequence[Stage] = STAGES,
    progress: Callable[[int, int], None] | None = None,
) -> list[Verdict]:
    """Run the regression on each mutant until it is noticed; without a mutant it must pass, or :class:`CheckError`."""
    work = work.resolve()
    planted = plant(manifest, mutants, work / "planted")
    harness = build(planted, work / "native", taps=[tap for tap in planted.taps if tap.name in vectors.taps])
    for stage in stages:
        kind = stage.run(harness, vectors, work / "run", 0)
        if kind is not None:
            raise CheckError(f"stage {stage.name!r} finds {kind!r} without any mutant")
    verdicts = []
    for mutant in mutants:
        found: tuple[str | None, str | None] = None, None
        for stage in stages:
            kind = stage.run(harness, vectors, work / "run", mutant.number)
            if kind is not None:
                found = stage.name, kind
                break
        verdicts.append(Verdict(mutant, *found))
        if progress is not None:
            progress(len(verdicts), len(mutants))
    return verdicts
