# SPDX-License-Identifier: Apache-2.0
"""Programs that are started, and that end with whoever started them, together with all that they started themselves."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

#: Linux: orphans of a process's descendants become its own children.
_SET_CHILD_SUBREAPER = 36
#: Seconds that processes get to go away.
_PATIENCE = 5.0


@contextmanager
def started(command: Sequence[str | Path], **given: Any) -> Iterator[subprocess.Popen[str]]:
    """A program in a group of its own, for the block; an error or an interrupt there ends it and all in its group.

    subprocess itself would end the program alone, not the compiler or simulator that it is waiting for.
    """
    with subprocess.Popen(command, process_group=0, **given) as process:
        try:
            yield process
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


def end_descendants(word: bytes = b"") -> None:
    """End every process that this one has started, and those that they have, down to the last.

    With ``word``, only those that have it in their command line, and what these have started. Where there is no /proc,
    nothing happens.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    end = time.monotonic() + _PATIENCE
    while (found := _descendants(word)) and time.monotonic() < end:
        for process in found:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
            with suppress(OSError):
                os.waitpid(process, os.WNOHANG)
        time.sleep(0.01)


def _descendants(word: bytes) -> list[int]:
    children: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            # The name stands in brackets, and may have some itself.
            parent = int((place / "stat").read_bytes().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(int(place.name))
    found: list[int] = []
    left = [(child, not word) for child in children.get(os.getpid(), [])]
    while left:
        process, wanted = left.pop()
        with suppress(OSError):
            wanted = wanted or word in Path(f"/proc/{process}/cmdline").read_bytes()
        if wanted:
            found.append(process)
        left += [(child, wanted) for child in children.get(process, [])]
    return found
