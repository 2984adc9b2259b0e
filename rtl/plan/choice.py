# SPDX-License-Identifier: Apache-2.0
"""The folding that options ask for: one that is given, of a reuse, within a budget, or as parallel as can be."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fxsim.errors import FxsimError, show
from fxsim.families import canonical
from fxsim.files.folder import read_text
from fxsim.program.graph import Graph

from .folding import CLOCK_MHZ, FAMILY, Folding, by_reuse, check_framing, from_json
from .search import by_budget


@dataclass(frozen=True)
class Target:
    """What a design is planned for; None: what a folding was planned for, or the usual.

    ``clock_mhz`` and ``family``: what registers are placed for; ``multiplier``: how weights that never change are
    multiplied; ``framing``: what ends a sequence on the input.
    """

    clock_mhz: float | None = None
    family: str | None = None
    multiplier: str | None = None
    framing: str | None = None


def asked(choices: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The one choice that is given, by name; None if none is. Raises ``FxsimError`` for two."""
    given = [(name, value) for name, value in choices.items() if value is not None]
    if len(given) > 1:
        raise FxsimError(f"give one of {', '.join(choices)}, not both {given[0][0]} and {given[1][0]}")
    return given[0] if given else None


def choose(graph: Graph, choice: tuple[str, Any] | None, target: Target, whole: Mapping[str, int | None]) -> Folding:
    """The folding of a choice: ``folding`` (or a file with one), ``reuse`` or one of the budgets.

    ``whole``: interleave, unroll and beat where they are given. The folding remembers what it was planned for. Raises
    ``FxsimError`` with what can be had where the choice cannot.
    """
    wanted: dict[str, Any] = {name: value for name, value in whole.items() if value is not None}
    if choice is not None and choice[0] == "folding":
        return _given(graph, choice[1], target, wanted)
    base = replace(Folding({}), **wanted)
    multiplier = "auto" if target.multiplier is None else target.multiplier
    if choice is None:
        return replace(by_reuse(graph, {}, multiplier, base=Folding({}, unroll=base.unroll)), **wanted)
    clock_mhz = CLOCK_MHZ if target.clock_mhz is None else target.clock_mhz
    family = FAMILY if target.family is None else target.family
    where: dict[str, Any] = {"multiplier": multiplier, "clock_mhz": clock_mhz, "family_name": family, "base": base}
    name, value = choice
    found = by_reuse(graph, value, **where) if name == "reuse" else by_budget(graph, **{name: value, **where})
    framing = None if target.framing is None else check_framing(target.framing)
    return replace(found, clock_mhz=clock_mhz, family=canonical(family), digest=graph.digest, framing=framing)


def _given(graph: Graph, folding: object, target: Target, wanted: Mapping[str, Any]) -> Folding:
    """A folding from elsewhere, with what it leaves open."""
    if isinstance(folding, str | os.PathLike):
        folding = from_json(graph, read_text(Path(folding)), str(folding))
    elif not isinstance(folding, Folding):
        raise FxsimError(f"folding must be a Folding or a file, not {type(folding).__name__}")
    if target.multiplier is not None:
        asked_for = show(target.multiplier)
        raise FxsimError(f"multiplier must be left out with a folding, which has its own, not {asked_for}")
    for name, value in wanted.items():
        if getattr(folding, name) not in (getattr(Folding, name), value):
            raise FxsimError(f"{name} must be left out or {getattr(folding, name)}, as in the folding, not {value}")
    return replace(folding, **wanted)
