# SPDX-License-Identifier: Apache-2.0
"""A campaign: every target's cases in workers, which are started again when a case takes them down; what was found."""

from __future__ import annotations

import argparse
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import worker

ROOT = Path(__file__).resolve().parents[2]
#: A worker that says nothing for longer hangs where no signal reaches.
SILENCE = 3 * worker.SECONDS


@dataclass
class Count:
    """What became of the cases of one target."""

    cases: int = 0
    taken: int = 0
    refused: int = 0
    #: Cases that took a worker down inside of the HDF5 library, and were refused when a process of its own read them.
    contained: list[int] = field(default_factory=list)
    seconds: float = 0.0
    slowest: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)

    def add(self, found: dict[str, Any], contained: bool = False) -> None:
        """Count one case."""
        self.cases += 1
        self.slowest = max(self.slowest, found.get("seconds", 0.0))
        self.contained += [found["number"]] * contained
        if found["result"] == "wrong":
            self.findings.append(found)
        else:
            setattr(self, found["result"], getattr(self, found["result"]) + 1)
            reason = "".join(c for c in found.get("why", "") if c.isalpha() or c == " ")[:60]
            self.reasons[reason] = self.reasons.get(reason, 0) + 1


def _lines(
    target: str, first: int, last: int, real: bool, plant: str, enough: int | None
) -> tuple[list[str], int | None]:
    """What a worker says, until it calls ``enough`` cases wrong, and its exit status; None if it hangs."""
    silence = worker.SECONDS_REAL + 10 if real else SILENCE
    where = [target, str(first), str(last), "real" if real else "here", plant]
    command = [sys.executable, str(Path(__file__).parent), "--worker", *where]
    data = b""
    # Kernels that are kept are the user's own; seeds and what a case leaves go with the folder.
    with tempfile.TemporaryDirectory(prefix="fxsim_fuzz_") as work, selectors.DefaultSelector() as selector:
        environment = {**os.environ, "FXSIM_CACHE_DIR": work, "TMPDIR": work, "OPENBLAS_NUM_THREADS": "1"}
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            selector.register(process.stdout, selectors.EVENT_READ)
            # The first line waits for imports.
            while selector.select(silence if data else silence + 120):
                chunk = os.read(process.stdout.fileno(), 1 << 16)
                if not chunk:
                    return data.decode().splitlines(), process.wait()
                data += chunk
                if enough is not None and data.count(b'"wrong"') >= enough and data.endswith(b"\n"):
                    process.kill()
                    return data[: data.rindex(b"}") + 2].decode().splitlines(), 0
            process.kill()
            return data.decode().splitlines(), None


def run(target: str, first: int, last: int, real: bool = False, *, plant: str = "", enough: int | None = None) -> Count:
    """Run the cases of one target; a case that ends its worker is run once more by itself with the true child.

    ``plant`` puts a fault into the product; ``enough`` findings end the run.
    """
    count = Count()
    start = time.perf_counter()
    while first < last and (enough is None or len(count.findings) < enough):
        lines, status = _lines(target, first, last, real, plant, enough)
        at = first - 1
        for line in lines:
            if line.startswith("{"):
                found = json.loads(line)
                count.add(found)
            else:
                at = int(line)
        first = at + 1
        if lines and lines[-1].startswith("{"):
            if status and not found.get("full"):
                raise RuntimeError(f"the worker of {target} ended with status {status} after case {at}")
        elif not lines:
            raise RuntimeError(f"the worker of {target} does not start")
        elif real:
            count.add({"number": at, "result": "wrong", "why": "hangs" if status is None else f"ends with {status}"})
        else:
            again = run(target, at, at + 1, real=True, plant=plant)
            for one in again.findings:
                count.add(one)
            if not again.findings:
                count.add(
                    {"number": at, "result": "refused" if again.refused else "taken", "seconds": again.slowest}, True
                )
    count.seconds = time.perf_counter() - start
    return count


def campaign(cases: int, names: Sequence[str], first: int = 0, show: bool = False) -> dict[str, Count]:
    """``cases`` in all, by the targets' shares."""
    from .targets import TARGETS

    whole = sum(TARGETS[name][1] for name in names)
    counts = {}
    for name in names:
        counts[name] = run(name, first, first + -(-cases * TARGETS[name][1] // whole))
        if show:
            print(_row(name, counts[name]), flush=True)
            for found in counts[name].findings[:20]:
                print(f"  {name}:{found['number']}: {found['why']}\n{found.get('trace', '')}", flush=True)
    return counts


def _row(name: str, c: Count) -> str:
    return (
        f"{name:14}{c.cases:8}{c.taken:8}{c.refused:8}{len(c.reasons):8}{len(c.contained):10}{len(c.findings):9}"
        f"{c.seconds:8.0f}{c.slowest:9.2f}"
    )


def main() -> int:
    """The command; status 1 if anything was found."""
    from .targets import TARGETS

    parser = argparse.ArgumentParser(prog="python tests/fuzz", description="Fuzz everything that fxsim reads.")
    parser.add_argument("--cases", type=int, default=2000, help="in all targets together (default: 2000)")
    parser.add_argument("--first", type=int, default=0, help="number of each target's first case (default: 0)")
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one; may be repeated")
    parser.add_argument("--case", metavar="TARGET:NUMBER", help="run one case with the true HDF5 process, and show it")
    parser.add_argument("--report", metavar="FILE", help="write counts and findings as JSON")
    given = parser.parse_args()
    if given.case:
        name, _, number = given.case.partition(":")
        one = run(name, int(number), int(number) + 1, real=True)
        print(json.dumps(asdict(one), indent=1))
        return 1 if one.findings else 0
    head = ("cases", "taken", "refused", "reasons", "contained", "findings", "s", "slowest")
    print(
        f"{'target':14}"
        + "".join(f"{text:>{width}}" for text, width in zip(head, (8, 8, 8, 8, 10, 9, 8, 9), strict=True))
    )
    counts = campaign(given.cases, given.target or list(TARGETS), given.first, show=True)
    total = Count()
    for one in counts.values():
        for name in ("cases", "taken", "refused", "contained", "seconds"):
            setattr(total, name, getattr(total, name) + getattr(one, name))
        total.slowest = max(total.slowest, one.slowest)
        total.findings += one.findings
        total.reasons |= one.reasons
    print(_row("all", total))
    if given.report:
        Path(given.report).write_text(json.dumps({name: asdict(one) for name, one in counts.items()}, indent=1) + "\n")
    return 1 if total.findings else 0
