# SPDX-License-Identifier: Apache-2.0
"""Compilers and simulators in processes of their own: where they can work, and what they say of a failure."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import CheckError

__all__ = [
    "MOMENT",
    "Ended",
    "Progress",
    "buildable",
    "building",
    "call",
    "compiling",
    "complaint",
    "ending",
    "linked",
    "started",
    "temporary",
]

Ended = subprocess.CompletedProcess[str]
Progress = Callable[[int, int], None]

#: A line that names an error as compilers do, and not a count of them, an option or a file.
_ERROR = re.compile(r"(^|[\s%*])((fatal|internal|system) )*error(-\w+)?\s*(:|\[|\d+:)|^ERROR\b", re.IGNORECASE)
#: What stands around the line that matters: make and the linker's driver repeat that something failed.
_AROUND = re.compile(r"g?make(\[\d+\])?: |collect2: |compilation terminated|ninja: |-{3,}|={3,}")
#: Characters of paths that make, the shell and Yosys all take as they are.
_PLAIN = re.compile(r"[\w./+-]+")
_LONGEST = 300
#: Seconds between two looks at a program that works, and files below which there is nothing to count.
MOMENT, _COUNTED = 0.3, 6


@contextmanager
def started(command: Sequence[str], **given: Any) -> Iterator[subprocess.Popen[str]]:
    """A program without input in a group of its own, for the block.

    An error or an interrupt in the block ends the whole group: the compiler that make waits for, too.
    """
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "text": True, "errors": "replace", "process_group": 0}
    with subprocess.Popen(command, **options | given) as process:
        try:
            yield process
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


def call(
    command: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
    seconds: float | None = None,
    waiting: Callable[[], None] | None = None,
) -> Ended:
    """Run a program to its end; what it prints is also added to ``log``.

    ``waiting`` is called now and then meanwhile. Raises :class:`CheckError` for one that cannot be started, and
    ``subprocess.TimeoutExpired`` if it, and all that it has started, were ended after ``seconds``.
    """
    words = list(map(str, command))
    ends = None if seconds is None else time.monotonic() + seconds
    try:
        with started(words, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            while True:
                left = None if ends is None else max(0.0, ends - time.monotonic())
                pause = left if waiting is None else MOMENT if left is None else min(MOMENT, left)
                try:
                    printed, said = process.communicate(timeout=pause)
                    break
                except subprocess.TimeoutExpired:
                    if ends is not None and time.monotonic() >= ends:
                        raise
                    if waiting is not None:
                        waiting()
    except OSError as error:
        raise CheckError(f"{command[0]} cannot be started: {error.strerror}") from None
    ended = Ended(words, process.returncode, printed, said)
    if log is not None:
        with log.open("a", errors="replace") as file:
            file.write(f"$ {' '.join(map(str, command))}\n{ended.stdout}{ended.stderr}")
    return ended


def compiling(folder: Path, progress: Progress | None) -> Callable[[], None] | None:
    """What tells ``progress`` how many files of a Verilated design are compiled while make works in its folder."""
    if progress is None:
        return None

    def look() -> None:
        total = sum(1 for _ in folder.glob("*.cpp"))
        done = sum(1 for _ in folder.glob("*.o"))
        # A small design is compiled as one file, of which there is nothing to count.
        if total > _COUNTED and not any(folder.glob("*__ALL.cpp")):
            progress(min(done, total), total)

    return look


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
def building(folder: str | Path | None, prefix: str) -> Iterator[Path]:
    """A folder that builds stay in or, by default, a temporary one, which goes unless an error sends its reader there.

    Such an error is a :class:`CheckError` with a ``log``.
    """
    place, keep = Path(tempfile.mkdtemp(prefix=prefix) if folder is None else folder).resolve(), folder is not None
    try:
        yield place
    except CheckError as error:
        keep = keep or error.log is not None
        raise
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def buildable(folder: Path) -> Iterator[Path]:
    """A place in which make builds: the folder, or if its path has blanks, one whose files come there at the end."""
    if _PLAIN.fullmatch(str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="fxsim_build_", dir=temporary()) as place:
        yield Path(place)
        shutil.copytree(place, folder, symlinks=True, dirs_exist_ok=True)


def linked(path: Path, place: Path) -> Path:
    """The path or, if it has blanks, a link to it in a folder whose path has none."""
    if _PLAIN.fullmatch(str(path)):
        return path
    link = place / f"linked_{re.sub(r'[^A-Za-z0-9.]', '_', path.name)}"
    if not link.is_symlink():
        link.symlink_to(path)
    return link


def temporary() -> str:
    """A folder for temporary files whose path has no blanks; raises :class:`CheckError` if there is none."""
    given = tempfile.gettempdir()
    for place in (given, "/tmp", "/var/tmp", "/dev/shm"):
        if _PLAIN.fullmatch(place) and os.access(place, os.W_OK | os.X_OK):
            return place
    raise CheckError(f"make cannot build in {given!r}, whose path has blanks: set TMPDIR to a folder without any")
