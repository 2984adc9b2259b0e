# SPDX-License-Identifier: Apache-2.0
"""Families by all their names, in Python and on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from networks import network

import fxsim
from fxsim.__main__ import main
from fxsim.command.cli import parser
from fxsim.errors import FxsimError
from fxsim.families import FAMILIES, _plain, canonical
from rtl.export import ipxact, synthesis
from rtl.plan import delays

LEGAL = (
    "family must be one of xc7 (artix7, kintex7, spartan7, virtex7, zynq7000), xcu (kintexu, virtexu), "
    "xcup (artixup, kintexup, virtexup, zynqup), ecp5, not "
)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("xc7", "xc7"), ("XC7", "xc7"), ("artix7", "xc7"), ("Kintex-7", "xc7"), ("virtex 7", "xc7"),
        ("zynq7000", "xc7"), ("Zynq-7000", "xc7"), ("zynq", "xc7"), ("spartan7", "xc7"), ("kintexu", "xcu"),
        ("Virtex UltraScale", "xcu"), ("kintexup", "xcup"), ("kintexuplus", "xcup"), ("Kintex UltraScale+", "xcup"),
        ("virtexup", "xcup"), ("zynquplus", "xcup"), ("zynqup", "xcup"), ("Zynq UltraScale+", "xcup"),
        ("virtexuplusHBM", "xcup"), ("artix_ultrascale_plus", "xcup"), ("ecp5", "ecp5"), ("LFE5U", "ecp5"),
    ],
)  # fmt: skip
def test_names(name: str, family: str) -> None:
    assert canonical(name) == family
    assert delays.family(name) is delays.FAMILIES[family]


@pytest.mark.parametrize("name", ["", "virtex", "spartan6", "xc7k325t", "kintex", None, 7, ["xc7"], "xc7\n\nx"])
def test_others_are_refused(name: object) -> None:
    with pytest.raises(FxsimError) as error:
        canonical(name)
    assert str(error.value).startswith(LEGAL)
    assert "\n" not in str(error.value)


def test_no_name_stands_for_two() -> None:
    each = [{_plain(name) for name in (one.name, *one.parts, *one.vivado, *one.others)} for one in FAMILIES.values()]
    assert sum(map(len, each)) == len(set().union(*each))


def test_every_table_has_the_same_families() -> None:
    assert set(delays.FAMILIES) == set(synthesis.PASSES) == set(FAMILIES)
    assert set(ipxact.FAMILIES) == set(FAMILIES) - {"ecp5"}


def test_what_is_said_of_the_delays_is_so() -> None:
    assert delays.FAMILIES["xc7"].scale == 1
    for name in ("xcu", "xcup"):
        assert f"times {delays.FAMILIES[name].scale:g}," in FAMILIES[name].delays


def test_help_spells_them_out() -> None:
    shown = {name: verb.format_help() for name, verb in parser()._subparsers._group_actions[0].choices.items()}  # type: ignore
    for verb in ("plan", "export", "synth"):
        text = " ".join(shown[verb].split())
        for one in FAMILIES.values():
            assert one.delays in text
            assert ", ".join(one.parts) in text


def test_the_verbs_take_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = network("lstm", steps=3, features=2, units=4)
    graph.save(tmp_path / "tiny.fx")
    for options in ({"reuse": 4}, {"lut": 100000}, {"interval": 60}):
        assert fxsim.plan(graph, family="Kintex UltraScale+", **options) == fxsim.plan(graph, family="xcup", **options)
    one, two = (fxsim.pareto(graph, family=family, multiplier="lut") for family in ("zynq7000", "xc7"))
    assert [plan.timing for plan in one] == [plan.timing for plan in two]
    ip = fxsim.export(graph, tmp_path / "ip", family="zynqup")
    assert ip.manifest["family"] == "xcup"
    assert main(["export", str(tmp_path / "tiny.fx"), "-o", str(tmp_path / "ip"), "--family", "virtexup", "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["plan", str(tmp_path / "tiny.fx"), "--family", "Artix-7"]) == 0
    assert ", xc7;" in capsys.readouterr().out
