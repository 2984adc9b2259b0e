# SPDX-License-Identifier: Apache-2.0
"""Scripts with which a shell completes verbs, options and files."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from ..extras import importing
from ..families import FAMILIES

SHELLS = ("bash", "zsh", "tcsh")


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for one of ``SHELLS``; raises ``FxsimError`` if shtab is not installed."""
    with importing("completion"):
        import shtab
    for action in _actions(parser):
        # What an argument takes is what its help calls it.
        name = action.metavar if isinstance(action.metavar, str) else ""
        if name == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif name == "FAMILY":
            action.choices = [known for one in FAMILIES.values() for known in (one.name, *one.parts)]
        elif re.fullmatch(r"MODEL|FILE|[A-Z]+\.[a-z0-9]+", name):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from _actions(verb)
