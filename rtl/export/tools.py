# SPDX-License-Identifier: Apache-2.0
"""Other programs, run to their end, and what they say of a failure in one line."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import PIPE, CompletedProcess

from fxsim.errors import FxsimError
from fxsim.system.processes import started

Ended = CompletedProcess[str]

#: What says where a program keeps what it wants to find again.
_PLACES = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "YOWASP_CACHE_DIR")


def call(command: Sequence[str], work: Path, given: str = "", extra: Mapping[str, str] | None = None) -> Ended:
    """Run a program in the folder ``work``, with ``given`` as its input and ``extra`` in its environment.

    Tools that come as WebAssembly (Amaranth's Yosys, YoWASP) keep what they compile in the user's cache folder, and end
    in a traceback where they cannot. Then they run once more, with a cache in ``work``. Raises ``FxsimError`` for a
    program that cannot be started.
    """
    env = {**os.environ, "TMPDIR": _temporary(work), **(extra or {})}
    ended = _run(command, work, given, env)
    if ended.returncode and re.search(r"Traceback \(.*(wasmtime|yowasp)", ended.stderr + ended.stdout, re.DOTALL):
        ended = _run(command, work, given, env | dict.fromkeys(_PLACES, str(work.resolve() / "cache")))
    return ended


def output(name: str, ended: Ended) -> str:
    """What a program printed; raises ``FxsimError`` with its complaint if it failed."""
    if ended.returncode:
        raise FxsimError(f"{name} ended with {ending(ended)}: {complaint(ended)}")
    return ended.stdout


def ending(ended: Ended) -> str:
    """How a program ended: the status it gave, or the signal that stopped it."""
    number = ended.returncode
    known = -number in {one.value for one in signal.Signals}
    return signal.Signals(-number).name if known else f"status {number}"


def complaint(ended: Ended) -> str:
    """The line of a program's messages that says why it failed."""
    errors, lines = (
        [line.strip() for line in text.splitlines() if line.strip()] for text in (ended.stderr, ended.stdout)
    )
    marked = [line for line in (*errors, *lines) if re.search(r"(^|[\s%])error\s*:", line, re.IGNORECASE)]
    # One that has other words for it says it last.
    return (marked[:1] or errors[-1:] or lines[-1:] or ["it printed nothing"])[0]


def _temporary(work: Path) -> str:
    """A folder for temporary files: ``work``, with which goes what a program leaves when it is ended.

    Yosys stumbles at blanks in its path: then another one without, if there is any.
    """
    others = [place for place in (tempfile.gettempdir(), "/tmp", "/var/tmp") if os.access(place, os.W_OK | os.X_OK)]
    return next((place for place in (str(work), *others) if re.fullmatch(r"[\w./+-]+", place)), tempfile.gettempdir())


def _run(command: Sequence[str], work: Path, given: str, env: Mapping[str, str]) -> Ended:
    try:
        with started(
            command, cwd=work, env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE, encoding="utf-8", errors="replace"
        ) as process:
            printed, said = process.communicate(given)
    except OSError as error:
        raise FxsimError(f"{command[0]} cannot be started: {error.strerror}") from None
    return Ended(command, process.returncode, printed, said)
