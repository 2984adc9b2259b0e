# SPDX-License-Identifier: Apache-2.0
"""Other programs, run to their end, and what they say of a failure in one line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from fxsim.errors import FxsimError

Ended = subprocess.CompletedProcess[str]

#: What says where a program keeps what it wants to find again.
_PLACES = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "YOWASP_CACHE_DIR")


def call(command: Sequence[str], work: Path, given: str = "", extra: Mapping[str, str] | None = None) -> Ended:
    """Run a program in the folder ``work``, with ``given`` as its input and ``extra`` in its environment.

    Tools that come as WebAssembly (Amaranth's Yosys, YoWASP) keep what they compile in the user's cache folder, and end
    in a traceback where they cannot. Then they run once more, with a cache in ``work``. Raises ``FxsimError`` for a
    program that cannot be started.
    """
    env = {**os.environ, "TMPDIR": _temporary(), **(extra or {})}
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


def _temporary() -> str:
    """A folder for temporary files; one whose path has no blanks, at which Yosys stumbles, if there is any."""
    places = [place for place in (tempfile.gettempdir(), "/tmp", "/var/tmp") if os.access(place, os.W_OK | os.X_OK)]
    return next((place for place in places if re.fullmatch(r"[\w./+-]+", place)), tempfile.gettempdir())


def _run(command: Sequence[str], work: Path, given: str, env: Mapping[str, str]) -> Ended:
    try:
        return subprocess.run(
            command,
            cwd=work,
            env=env,
            input=given,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise FxsimError(f"{command[0]} cannot be started: {error.strerror}") from None
