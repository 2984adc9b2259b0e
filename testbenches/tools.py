# SPDX-License-Identifier: Apache-2.0
"""Compilers and simulators in processes of their own: where they can work, and what they say of a failure."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from testbenches.errors import CheckError

__all__ = ["Ended", "buildable", "call", "complaint", "ending", "temporary"]

Ended = subprocess.CompletedProcess[str]

#: A line that names an error as compilers do, and not a count of them, an option or a file.
_ERROR = re.compile(r"(^|[\s%*])((fatal|internal|system) )*error(-\w+)?\s*(:|\[|\d+:)|^ERROR\b", re.IGNORECASE)
#: What stands around the line that matters: make and the linker's driver repeat that something failed.
_AROUND = re.compile(r"g?make(\[\d+\])?: |collect2: |compilation terminated|ninja: |-{3,}|={3,}")
#: Characters of paths that make, the shell and Yosys all take as they are.
_PLAIN = re.compile(r"[\w./+-]+")
_LONGEST = 300


def call(
    command: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
) -> Ended:
    """Run a program to its end; what it prints is also added to ``log``.

    Raises :class:`CheckError` for one that cannot be started.
    """
    try:
        ended = subprocess.run(
            list(map(str, command)),
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise CheckError(f"{command[0]} cannot be started: {error.strerror}") from None
    if log is not None:
        with log.open("a", errors="replace") as file:
            file.write(f"$ {' '.join(map(str, command))}\n{ended.stdout}{ended.stderr}")
    return ended


def ending(status: int) -> str:
    """How a program ended: with a status, or by a signal."""
    if -status in {one.value for one in signal.Signals}:
        return f"signal {signal.Signals(-status).name}"
    return f"exit status {status}"


def complaint(status: int, *texts: str) -> str:
    """The line in which a program says why it failed, from what it printed (first what is most likely to hold it).

    The first that names an error; from one that has other words for it the last, for it ended there.
    """
    kept = [[line.strip() for line in text.splitlines() if line.strip()] for text in texts]
    named = [line for lines in kept for line in lines if _ERROR.search(line) and not _AROUND.match(line)]
    last = [lines[-1] for lines in ([one for one in lines if not _AROUND.match(one)] for lines in kept) if lines]
    # Where nobody but make has spoken.
    stars = [line for lines in kept for line in lines if "***" in line]
    found = (named or last or stars or ["it printed nothing"])[0]
    found = found if len(found) <= _LONGEST else f"{found[:_LONGEST]}..."
    return f"{found} ({ending(status)})" if status < 0 or found == "it printed nothing" else found


@contextmanager
def buildable(folder: Path) -> Iterator[Path]:
    """A place in which make builds: the folder, or if its path has blanks, one whose files come there at the end."""
    if _PLAIN.fullmatch(str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="fxsim_build_", dir=temporary()) as place:
        yield Path(place)
        shutil.copytree(place, folder, symlinks=True, dirs_exist_ok=True)


def temporary() -> str:
    """A folder for temporary files whose path has no blanks; raises :class:`CheckError` if there is none."""
    given = tempfile.gettempdir()
    for place in (given, "/tmp", "/var/tmp", "/dev/shm"):
        if _PLAIN.fullmatch(place) and os.access(place, os.W_OK | os.X_OK):
            return place
    raise CheckError(f"make builds nothing in {given!r}, for its path has blanks: set TMPDIR to a folder without any")
