# SPDX-License-Identifier: Apache-2.0
"""The folding that options ask for: one that is given, of a reuse, within a budget, or as parallel as can be."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fxsim.errors import FxsimError, show
from fxsim.files.folder import read_text
from fxsim.program.graph import Graph

from .folding import Folding, for_reuse, from_json
from .search import for_budget
from .target import Budget, Target


def one_of(choices: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The one choice that is given, by name; None if none is. Raises ``FxsimError`` for two."""
    found = given(**choices)
    if len(found) > 1:
        raise FxsimError(f"give one of {', '.join(choices)}, not both {' and '.join([*found][:2])}")
    return next(iter(found.items()), None)


def given(**options: Any) -> dict[str, Any]:
    """The options that are not left open, as None is."""
    return {name: value for name, value in options.items() if value is not None}


def choose(graph: Graph, choice: tuple[str, Any] | None, target: Target, base: Folding) -> Folding:
    """The folding of a choice: ``reuse`` or one of the budgets. It remembers its graph, clock and family.

    ``base``: what it has beside folds. Without a choice it is as parallel as can be, whatever the clock, and remembers
    nothing. Raises ``FxsimError`` with what can be had where the choice cannot.
    """
    if choice is None:
        return for_reuse(graph, {}, target, base)
    name, value = choice
    if name == "reuse":
        found = for_reuse(graph, value, target, base)
    else:
        found = for_budget(graph, Budget(name, value), target, base)
    return replace(found, clock_mhz=target.clock_mhz, family=target.family.name, digest=graph.digest)


def complete_folding(graph: Graph, folding: object, multiplier: str | None, whole: Mapping[str, Any]) -> Folding:
    """A folding, or that of a file, with what it leaves open of interleave, unroll and beat taken from ``whole``.

    Raises ``FxsimError`` where ``whole`` contradicts it, and for a multiplier, which is the folding's own.
    """
    if isinstance(folding, str | os.PathLike):
        folding = from_json(graph, read_text(Path(folding)), str(folding))
    elif not isinstance(folding, Folding):
        raise FxsimError(f"folding must be a Folding or a file, not {type(folding).__name__}")
    if multiplier is not None:
        raise FxsimError(f"multiplier must be left out with a folding, which has its own, not {show(multiplier)}")
    for name, value in whole.items():
        if getattr(folding, name) not in (getattr(Folding, name), value):
            raise FxsimError(f"{name} must be left out or {getattr(folding, name)}, as in the folding, not {value}")
    return replace(folding, **whole)
