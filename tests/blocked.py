# SPDX-License-Identifier: Apache-2.0
"""Command lines in a process of its own: of another user, or one in which packages cannot be imported.

    python tests/blocked.py '["amaranth"]' '[["plan", "model.fx"], ...]'

prints JSON: status, standard output and standard error of each. With ``"import"`` for a verb, the module that follows
is imported instead.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class Blocked:
    """A finder before all others that finds some packages not to be there."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = frozenset(names)

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def run_blocked(
    names: Sequence[str],
    lines: Sequence[Sequence[object]],
    cwd: Path,
    env: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
) -> list[tuple[int, str, str]]:
    """Status, output and errors of each command line, all in one process without these packages.

    ``env`` is its environment, this one's by default; ``before`` a command that starts it.
    """
    words = [[str(word) for word in line] for line in lines]
    env = {**(os.environ if env is None else env), "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [*before, sys.executable, __file__, json.dumps(list(names)), json.dumps(words)],
        cwd=cwd, env=env, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return [(status, out, err) for status, out, err in json.loads(run.stdout)]


def _main(words: Sequence[str]) -> Any:
    if words[0] == "import":
        try:
            importlib.import_module(words[1])
        except ImportError as error:
            print(f"{words[1]}: {error}", file=sys.stderr)
            return 1
        return 0
    try:
        return importlib.import_module("fxsim.__main__").main(words)
    except SystemExit as error:
        return error.code


if __name__ == "__main__":
    sys.meta_path.insert(0, Blocked(json.loads(sys.argv[1])))  # type: ignore[arg-type]
    found = []
    for line in json.loads(sys.argv[2]):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = _main(line)
        found.append((status, out.getvalue(), err.getvalue()))
    print(json.dumps(found))
