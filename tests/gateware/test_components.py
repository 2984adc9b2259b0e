# SPDX-License-Identifier: Apache-2.0
"""Blocks of the gateware are components: each port is declared and has its sentence, and nothing is built too early."""

from __future__ import annotations

import inspect
import pkgutil
import re
from importlib import import_module

import pytest
from amaranth.hdl import Elaboratable, Fragment
from amaranth.lib import wiring
from networks import network
from rtl_bench import folding, plan_for
from test_compress import exact

import rtl.gateware
from rtl.gateware.axi import axi_top
from rtl.gateware.beats import Gather, Spread
from rtl.gateware.network import Collect
from rtl.plan.folding import Folding, make_plan

MODULES = [import_module(f"rtl.gateware.{found.name}") for found in pkgutil.iter_modules(rtl.gateware.__path__)]
BLOCKS = {
    thing.__name__: thing
    for module in MODULES
    for thing in vars(module).values()
    if inspect.isclass(thing) and issubclass(thing, Elaboratable) and thing.__module__ == module.__name__
}
#: ``name : In(shape)``, or ``name0, name1, … : In(shape)`` for signals that are numbered; below it its sentences.
ENTRY = re.compile(r"(?P<name>[a-z]\w*?)(?P<many>0(, \w+1)?, …)? : (?P<flow>In|Out)\(.+\)")


def documented(block: type) -> dict[str, str]:
    """The members that a docstring lists, with their directions; numbered ones end in ``#``."""
    lines = (inspect.getdoc(block) or "").partition("\nMembers\n-------\n")[2].splitlines()
    found = {}
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith(" "):
            continue
        entry = ENTRY.fullmatch(line)
        assert entry, f"{block.__name__}: {line!r} is no member"
        assert re.match(r"    [A-Z]", below), f"{block.__name__}: {line!r} has no sentence"
        found[f"{entry['name']}#" if entry["many"] else entry["name"]] = entry["flow"]
    sentences = " ".join(line for line in lines if line.startswith(" "))
    assert sentences.endswith("."), block.__name__
    return found


def declared(component: wiring.Component, known: dict[str, str]) -> dict[str, str]:
    """The members that a component has; those whose family is documented as numbered end in ``#``."""
    found = {}
    for name, member in component.signature.members.items():
        family = f"{name.rstrip('0123456789')}#"
        found[family if family in known else name] = member.flow.name
    return found


@pytest.fixture(scope="module")
def components() -> dict[str, list[wiring.Component]]:
    """All components of some designs, by their kinds."""
    made: dict[str, list[wiring.Component]] = {}
    init = wiring.Component.__init__

    def recorded(self: wiring.Component, *arguments: object, **options: object) -> None:
        init(self, *arguments, **options)
        if type(self).__name__ in BLOCKS:
            made.setdefault(type(self).__name__, []).append(self)

    small = network("lstm", steps=3, units=2, features=2)
    reuse = folding(small, 1)
    turns = make_plan(small, Folding(reuse.folds, interleave=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring.Component, "__init__", recorded)
        for top in (axi_top(plan_for(exact("lstm"), 1)), axi_top(turns, "count")):
            Fragment.get(top, None)
        for part in (Gather(4, 2), Spread(4, 2, True), Collect(2, 4, 1, True)):
            Fragment.get(part, None)
    return made


def test_all_blocks_are_components(components: dict[str, list[wiring.Component]]) -> None:
    assert all(issubclass(block, wiring.Component) for block in BLOCKS.values())
    assert set(components) == set(BLOCKS)


@pytest.mark.parametrize("name", BLOCKS)
def test_every_member_has_a_sentence(name: str, components: dict[str, list[wiring.Component]]) -> None:
    known = documented(BLOCKS[name])
    found: dict[str, str] = {}
    for component in components[name]:
        found |= declared(component, known)
    assert found == known


def test_a_member_without_a_sentence_is_noticed() -> None:
    class Bare(wiring.Component):
        """A block.

        Members
        -------
        i : In(1)
        o : Out(1)
            What leaves.
        """

    with pytest.raises(AssertionError, match=r"Bare: 'i : In\(1\)' has no sentence"):
        documented(Bare)


def test_nothing_is_built_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_for(network("gru", steps=3, units=2, features=2), 1)

    def refuse() -> None:
        raise RuntimeError("built")

    with monkeypatch.context() as patch:
        for module in MODULES:
            if "Module" in vars(module):
                patch.setattr(module, "Module", refuse)
        top = axi_top(plan)
        with pytest.raises(RuntimeError, match="built"):
            _ = top.taps
    Fragment.get(top, None)
    assert top.taps
