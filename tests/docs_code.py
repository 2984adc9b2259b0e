# SPDX-License-Identifier: Apache-2.0
"""The code in Markdown pages, found and run.

A page's fenced blocks run in their order, in one folder and one Python namespace. What a block is stands behind its
fence: ``python`` runs, ``pycon`` is compared as doctests are, of ``console`` the lines that start with ``$`` run and
what is shown below them is compared ("..." stands for anything), ``json`` must be JSON, ``text`` is no code. Any other
language, and none, is refused. A comment in the line above a fence says more about a block:

``<!-- not run: REASON -->``
    It cannot run here.
``<!-- long: REASON -->``
    It runs where the tests marked long run; the blocks behind it that need it say so themselves.
``<!-- needs: PROGRAM -->``
    It runs where the program is installed; where it is not, the page's test says so when the rest has run.
``<!-- varies: REGEX -->``
    What matches differs from run to run or machine to machine; the rest is compared.
``<!-- status: NUMBER -->``
    Every command of the transcript ends with this status and not with 0.
``<!-- before: CODE -->``
    Python that the block needs and readers do not.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RUN = ("python", "pycon", "console", "json")
#: Seconds that a command may take.
LIMIT = 300
_FENCE = re.compile(r"^( *)(`{3,}|~{3,})(.*)$")
_NOTE = re.compile(r"<!--\s*(not run|long|needs|varies|status|before):(.*?)-->\s*\Z", re.DOTALL)
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Refused(ValueError):
    """A page is not written as this module reads pages."""


@dataclass(frozen=True)
class Block:
    """One fenced block, its line in the page, and the notes above it."""

    line: int
    language: str
    text: str
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        """Whether it is code that runs in the test command."""
        return self.language in RUN and not {"not run", "long"} & set(self.notes)


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a page, those that do not run included."""
    found, lines, at = [], text.splitlines(), 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if not fence:
            at += 1
            continue
        indent, marks, language = len(fence[1]), fence[2], fence[3].strip()
        end = next((k for k in range(at + 1, len(lines)) if lines[k].strip() == marks), None)
        if end is None:
            raise Refused(f"line {at + 1}: a fence without end")
        notes = _notes("\n".join(lines[:at]))
        if language not in (*RUN, "text") and "not run" not in notes:
            raise Refused(f"line {at + 1}: {language or 'no language'} is not run, and no comment says why")
        if any(not notes[name] for name in notes):
            raise Refused(f"line {at + 1}: a comment without its reason")
        body = "\n".join(line[indent:] for line in lines[at + 1 : end]) + "\n"
        found.append(Block(at + 1, language, body, notes))
        at = end + 1
    return found


def _notes(above: str) -> dict[str, str]:
    """The comments that end a text, by what they say."""
    notes: dict[str, str] = {}
    while match := _NOTE.search(above):
        # Not from an earlier comment on: the last one alone.
        start = above.rindex("<!--")
        match = _NOTE.match(above, start)
        if match is None:
            break
        notes[match[1]] = match[2].strip() if match[1] != "before" else match[2].strip("\n")
        above = above[:start].rstrip(" ").removesuffix("\n")
    return notes


def run_page(text: str, folder: Path, *, long: bool = False) -> tuple[int, set[str]]:
    """Run a page's blocks in an empty folder; give how many ran, and the programs that others needed in vain.

    Raises ``AssertionError`` that names the line.
    """
    names: dict[str, Any] = {"__name__": "page"}
    environment = _environment(folder)
    ran, absent = 0, set()
    for block in blocks(text):
        if not (block.runs or (long and "long" in block.notes)):
            continue
        if "needs" in block.notes and shutil.which(block.notes["needs"]) is None:
            absent.add(block.notes["needs"])
            continue
        ran += 1
        if "before" in block.notes:
            _python(block.notes["before"], block.line, names)
        if block.language == "python":
            _python(block.text, block.line, names)
        elif block.language == "pycon":
            _doctest(block, names)
        elif block.language == "json":
            _check(block.line, lambda: json.loads(block.text))  # noqa: B023 - called at once
        else:
            _transcript(block, folder, environment)
    return ran, absent


def _environment(folder: Path) -> dict[str, str]:
    """One in which fxsim, python and pytest are those of the tests."""
    tools = folder.parent / "bin"
    tools.mkdir()
    for name, arguments in (("fxsim", "-m fxsim"), ("pytest", "-m pytest"), ("python", "")):
        script = tools / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments} "$@"\n')
        script.chmod(0o755)
    path = os.pathsep.join([str(tools), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}


def _check(line: int, call: Any) -> None:
    try:
        call()
    except Exception as error:
        raise AssertionError(f"line {line}: {type(error).__name__}: {error}") from error


def _python(text: str, line: int, names: dict[str, Any]) -> None:
    _check(line, lambda: exec(compile("\n" * line + text, "page", "exec", dont_inherit=True), names))


def _doctest(block: Block, names: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(block.text, names, "page", "page", block.line)
    assert test.examples, f"line {block.line}: no example"
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=_FLAGS).run(test, out=said.append, clear_globs=False)
    names.update(test.globs)
    assert not result.failed, "".join(said)


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Commands of a transcript with what it shows below each."""
    command, shown = "", ""
    for line in text.splitlines(keepends=True):
        if line.startswith("$ ") or command.endswith("\\\n"):
            if not command.endswith("\\\n") and command:
                yield command, shown
                command, shown = "", ""
            command += line.removeprefix("$ ")
        elif not command:
            raise Refused(f"a transcript must begin with a command, not {line!r}")
        else:
            shown += line
    if command:
        yield command, shown


def _transcript(block: Block, folder: Path, environment: dict[str, str]) -> None:
    for command, shown in commands(block.text):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder, env=environment, stdin=subprocess.DEVNULL, text=True, timeout=LIMIT,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        where = f"line {block.line}: {command.strip()}"
        wanted = int(block.notes.get("status", "0"))
        assert done.returncode == wanted, f"{where}: exit status {done.returncode}\n{done.stdout[-4000:]}"
        if shown.strip():
            want, got = (_stable(text, block.notes.get("varies")) for text in (shown, done.stdout))
            assert doctest.OutputChecker().check_output(want, got, _FLAGS), f"{where}: shows\n{done.stdout}"


def _stable(text: str, varies: str | None) -> str:
    """Without what varies and without the lengths of rules, which follow the width of the columns."""
    text = text if varies is None else re.sub(varies, "~", text)
    return re.sub("─+", "─", text)
