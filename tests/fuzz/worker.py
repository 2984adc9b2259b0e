# SPDX-License-Identifier: Apache-2.0
"""Runs cases of one target under limits: ``python tests/fuzz --worker TARGET FIRST LAST REAL FAULT``.

Before each case its number goes to standard output, after it what became of it, as JSON: so the campaign knows which
case took the process with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from fxsim.errors import FxsimError
from fxsim.importers import hdf5_child
from fxsim.importers.hdf5 import MAX_VALUES
from testbenches.errors import CheckError

from .mutators import CANARY

MEMORY = 2 << 30
#: Resident bytes above which a case is a finding, whether or not the limit was reached.
RESIDENT = 1200 << 20
SECONDS = 10
#: With the true child, whose own limits come first.
SECONDS_REAL = 90
LONGEST = 3000


class Late(BaseException):
    """A case took too long; no ``except Exception`` of the product may catch it."""


class ReadHere(BaseException):
    """It took too long while the HDF5 library read a file: where its own process would be ended."""


_reading = False


def read_here(source: IO[bytes], out: IO[bytes]) -> None:
    """In place of ``hdf5._run``: the child's function reads the file in this process, under its limits."""
    global _reading
    _reading = True
    source.seek(0)
    try:
        hdf5_child.read(source, MAX_VALUES, out)
    except Exception as error:
        out.seek(0)
        out.truncate()
        # The child has memory of its own, so this is not the parent's trouble.
        why = hdf5_child.reason(error).replace("MemoryError", "its limit")
        hdf5_child.write_tree({"damaged": why}, out)
    out.flush()
    _reading = False


def _most_resident() -> int:
    """The most bytes that this process has had in memory; what getrusage says may be those of the one it comes from."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def outcome(target: str, number: int, place: Path) -> dict[str, Any]:
    """Run one case; gives ``result`` (taken, refused or wrong) and why."""
    from .targets import TARGETS

    rng = random.Random(f"{target}:{number}")
    start = time.perf_counter()
    found: dict[str, Any] = {"number": number, "result": "taken"}
    try:
        TARGETS[target][0](rng, place)
    except (FxsimError, CheckError) as error:
        text = str(error)
        found.update(result="refused", why=text[:200])
        if not text or len(text.splitlines()) != 1 or len(text) > LONGEST:
            found.update(
                result="wrong", why=f"a message of {len(text.splitlines())} lines, {len(text)}: {text[:300]!r}"
            )
        elif "MemoryError" in text or "out of memory" in text:
            found.update(result="wrong", why=f"takes all memory: {text[:300]}")
    except BaseException as error:
        if isinstance(error, ReadHere):
            raise
        if isinstance(error, MemoryError):
            error.__traceback__ = None
        found.update(
            result="wrong", why=f"{type(error).__name__}: {str(error)[:600]}", trace=traceback.format_exc()[-1800:]
        )
    if (place / CANARY).exists() or Path(CANARY).exists():
        found.update(result="wrong", why="code in the input was executed")
    if _most_resident() > RESIDENT:
        found.update(result="wrong", why="more resident memory than allowed", full=True)
    found["seconds"] = round(time.perf_counter() - start, 3)
    return found


@contextlib.contextmanager
def alarm(seconds: int) -> Iterator[None]:
    """Raise Late in the block after so many seconds of processor time; other work on the machine counts for nothing."""

    def late(*given: object) -> None:
        raise ReadHere if _reading else Late(f"more than {seconds} s")

    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main(target: str, first: int, last: int, real: bool, fault: str) -> None:
    """Run the cases ``first`` to ``last - 1``, with a fault planted if one is named."""
    from .targets import plant, stand_ins

    warnings.simplefilter("ignore")
    stand_ins(real)
    if fault:
        plant(fault)
    report = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    place = Path(tempfile.mkdtemp(prefix="fxsim_fuzz_"))
    os.chdir(place)
    try:
        for number in range(first, last):
            print(number, file=report)
            with alarm(SECONDS_REAL if real else SECONDS):
                found = outcome(target, number, place)
            print(json.dumps(found), file=report)
            for left in place.iterdir():
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
            if found.get("full"):
                sys.exit(3)
    finally:
        shutil.rmtree(place, ignore_errors=True)
