# SPDX-License-Identifier: Apache-2.0
"""Static timing: sums of delays over small netlists written by hand, and the longest paths of a design."""

from __future__ import annotations

import json
from dataclasses import replace
from math import log2
from pathlib import Path
from typing import Any

import pytest

import fxsim
from benchmarks.calibrate_cost import network as design
from fxsim.__main__ import main
from fxsim.errors import FxsimError
from rtl.export.netlist import Netlist, read_netlist
from rtl.export.static_timing import StaticTiming
from rtl.export.timing_report import long_paths, part
from rtl.plan.cell_delays import CELL_DELAYS

D = CELL_DELAYS["xc7"]
TINY = {
    "seed": 5, "cell": "gru", "reset_after": True, "units": 4, "features": 2, "steps": 3, "activation": "relu",
    "dense": [3], "precision": "ap_fixed<9,3>", "preset": "exact",
}  # fmt: skip
#: Bit 2 is the clock.
CLOCK = [2]


def flop(d: int, q: int, ce: int | str = "1", r: int | str = "0") -> dict[str, Any]:
    return cell("FDRE", {"D": [d], "CE": [ce], "R": [r], "C": CLOCK}, Q=[q])


def lut(out: int, *pins: int) -> dict[str, Any]:
    return cell(f"LUT{len(pins)}", {f"I{place}": [bit] for place, bit in enumerate(pins)}, O=[out])


def cell(type: str, inputs: dict[str, list[int | str]], parameters: Any = None, **outputs: list[int]) -> dict[str, Any]:
    directions = {**dict.fromkeys(inputs, "input"), **dict.fromkeys(outputs, "output")}
    connections = {**inputs, **outputs}
    return {
        "type": type, "parameters": parameters or {}, "port_directions": directions, "connections": connections,
    }  # fmt: skip


def netlist(tmp_path: Path, *cells: dict[str, Any], **names: int) -> Netlist:
    module = {
        "cells": {f"cell{number}": one for number, one in enumerate(cells)},
        "netnames": {name.replace("__", "."): {"hide_name": 0, "bits": [bit]} for name, bit in names.items()},
    }
    path = tmp_path / "netlist.json"
    path.write_text(json.dumps({"modules": {"top": module}}))
    return read_netlist(path, "top")


def lengths(found: Netlist, delays=D) -> list[float]:
    return sorted((length for length, _, _ in StaticTiming(found, delays).ends()), reverse=True)


def test_registers_with_a_lut_between(tmp_path):
    found = netlist(tmp_path, flop(10, 11), lut(12, 11, 13), flop(12, 14), flop(14, 13))
    wire = D.net
    # A LUT stands before the register that it feeds.
    assert lengths(found)[0] == pytest.approx(D.register + wire + D.lut + D.setup)
    slower = replace(D, lut=D.lut + 1)
    assert lengths(found, slower)[0] == pytest.approx(lengths(found)[0] + 1)


@pytest.mark.parametrize("pins", [1, 2, 8, 100])
def test_wires_are_longer_with_every_pin(tmp_path, pins):
    luts = [lut(100 + n, 11) for n in range(pins)]
    ends = [flop(100 + n, 300 + n) for n in range(pins)]
    found = netlist(tmp_path, flop(10, 11), *luts, *ends)
    assert lengths(found)[0] == pytest.approx(D.register + D.net + D.fan_out * log2(pins) + D.lut + D.setup)


def test_enable_and_reset_are_ends_of_their_own(tmp_path):
    found = netlist(
        tmp_path, flop(10, 11), flop(20, 21, ce=11), flop(30, 31, r=11), network__a__x=11, network__b__y=21, z=31
    )
    paths = long_paths(found, "xc7", {"z": "c"})
    assert {(one.part, one.kind) for one in paths} == {("b", "enable"), ("c", "reset")}
    wire = D.net + D.fan_out
    by_kind = {one.kind: one for one in paths}
    assert by_kind["enable"].path_ns == pytest.approx(D.register + wire + D.enable)
    assert by_kind["reset"].path_ns == pytest.approx(D.register + wire + D.reset)
    assert (by_kind["enable"].source, by_kind["enable"].target) == ("network.a.x", "network.b.y")
    assert by_kind["enable"].fan_out == 2


def test_an_addition(tmp_path):
    """Into the chain at its first place, along it, and out at the last sum."""
    chain = []
    width = 8
    for block in range(width // 4):
        bits = range(4 * block, 4 * block + 4)
        chain.append(
            cell(
                "CARRY4",
                {
                    "CI": [60 + block - 1] if block else ["0"], "CYINIT": ["0"],
                    "DI": [100 + n for n in bits], "S": [200 + n for n in bits],
                },
                O=[300 + n for n in bits],
                CO=[400 + 10 * block, 401 + 10 * block, 402 + 10 * block, 60 + block],
            )
        )  # fmt: skip
    luts = [lut(200 + n, 100 + n, 500 + n) for n in range(width)]
    regs = [flop(900 + n, 100 + n) for n in range(width)] + [flop(800 + n, 500 + n) for n in range(width)]
    found = netlist(tmp_path, *chain, *luts, *regs, *(flop(300 + n, 700 + n) for n in range(width)))
    wire = D.net + D.fan_out  # an operand goes to a LUT and to the chain
    first = D.register + wire + D.lut + D.carry_select + 3 * D.carry_place
    assert lengths(found)[0] == pytest.approx(first + D.carry_sum + 3 * D.carry_place + D.setup)


def ecp5_flop(d: int, q: int, **pins: int) -> dict[str, Any]:
    return cell("TRELLIS_FF", {"DI": [d], "CLK": CLOCK, **{pin: [bit] for pin, bit in pins.items()}}, Q=[q])


class TestEcp5:
    D = CELL_DELAYS["ecp5"]

    def longest(self, tmp_path: Path, *cells: dict[str, Any]) -> float:
        return lengths(netlist(tmp_path, *cells), self.D)[0]

    def test_luts_and_the_multiplexers_behind_them(self, tmp_path):
        """Two LUTs, PFUMX and L6MUX21 are a wider LUT: there are no wires between them, nor before the register."""
        luts = [cell("LUT4", {"A": [11]}, Z=[20 + n]) for n in range(4)]
        pairs = [cell("PFUMX", {"ALUT": [20 + 2 * n], "BLUT": [21 + 2 * n], "C0": ["0"]}, Z=[30 + n]) for n in range(2)]
        six = cell("L6MUX21", {"D0": [30], "D1": [31], "SD": ["0"]}, Z=[40])
        found = self.longest(tmp_path, ecp5_flop(10, 11), *luts, *pairs, six, ecp5_flop(40, 41))
        wire = self.D.net + 2 * self.D.fan_out
        assert found == pytest.approx(self.D.register + wire + self.D.lut + 2 * self.D.mux + self.D.setup)

    @pytest.mark.parametrize(
        ("pin", "target", "place"),
        [("A0", "S0", 0), ("B0", "S1", 0), ("C1", "S1", 1), ("D1", "S1", 0), ("A0", "S0", 2)],
    )
    def test_a_sum(self, tmp_path, pin, target, place):
        """Out of the CCU2C that an operand goes into, or out of one ``place`` cells behind it."""
        cells = []
        for number in range(3):
            inputs = {name: ["0"] for name in ("A0", "B0", "C0", "D0", "A1", "B1", "C1", "D1")}
            inputs["CIN"] = [50 + number] if number else ["0"]
            if number == 0:
                inputs[pin] = [11]
            cells.append(cell("CCU2C", inputs, S0=[60 + number], S1=[70 + number], COUT=[51 + number]))
        end = {"S0": 60, "S1": 70}[target] + place
        found = self.longest(tmp_path, ecp5_flop(10, 11), *cells, ecp5_flop(end, 41))
        D = self.D
        if place:
            through = D.carry_data + (place - 1) * D.carry_on + D.carry_sum + D.carry_place * (target == "S1")
        elif pin[1] == target[1]:
            through = D.carry_select
        else:
            through = D.carry_select + D.carry_place + D.carry_sum
        assert found == pytest.approx(D.register + D.net + through + D.setup)

    def test_products(self, tmp_path):
        product = cell("MULT18X18D", {"A0": [11], "B3": [12], "SIGNEDA": ["1"], "CLK0": CLOCK}, P0=[13])
        found = self.longest(tmp_path, ecp5_flop(10, 11), ecp5_flop(20, 12), product, ecp5_flop(13, 14))
        wire = self.D.net + self.D.block  # to a block, and from it
        assert found == pytest.approx(self.D.register + wire + self.D.through[0] + wire + self.D.setup)

    def test_enable_and_reset(self, tmp_path):
        found = netlist(
            tmp_path, ecp5_flop(10, 11), ecp5_flop(20, 21, CE=11), ecp5_flop(30, 31, LSR=11), network__a__x=21, z=31
        )
        paths = {one.kind: one.path_ns for one in long_paths(found, "ecp5", {"z": "c"})}
        wire = self.D.register + self.D.net + self.D.fan_out
        assert paths == pytest.approx({"enable": wire + self.D.enable, "reset": wire + self.D.reset})

    def test_memories(self, tmp_path):
        """Both are written at the edge; one in LUTs is read at once, and a block at the edge."""
        pins = {"DI": [11], "WAD": [12], "RAD": [17], "WRE": [14], "WCK": CLOCK}
        source = [ecp5_flop(bit + 10, bit) for bit in (11, 12, 13, 14)]
        luts = cell("TRELLIS_DPR16X4", pins, DO=[15])
        before = cell("LUT4", {"A": [13]}, Z=[17])
        found = sorted(lengths(netlist(tmp_path, *source, before, luts, ecp5_flop(15, 16)), self.D))
        start, wire = self.D.register, self.D.net
        read = start + 2 * (wire + self.D.lut) + wire + self.D.setup
        assert found == pytest.approx(sorted([start + wire + self.D.setup] * 2 + [start + wire + self.D.write, read]))
        block = cell("DP16KD", {"ADA0": [11], "DIA3": [12], "CEA": [13], "RSTA": [14], "CLKA": CLOCK}, DOA0=[15])
        found = sorted(lengths(netlist(tmp_path, *source, block, ecp5_flop(15, 16)), self.D))
        into = [self.D.ram_address, self.D.ram_data, self.D.ram_enable, self.D.ram_enable]
        far = wire + self.D.block
        assert found == pytest.approx(sorted([*(start + far + one for one in into), self.D.ram + far + self.D.setup]))

    def test_a_wire_between_blocks_is_longer_twice(self, tmp_path):
        block = cell("DP16KD", {"ADA0": [11], "CLKA": CLOCK}, DOA0=[12])
        product = cell("MULT18X18D", {"A0": [12], "CLK0": CLOCK}, P0=[13])
        found = netlist(tmp_path, ecp5_flop(10, 11), block, product, ecp5_flop(13, 14))
        slower = replace(self.D, block=self.D.block + 1)
        assert lengths(found, slower)[0] == pytest.approx(lengths(found, self.D)[0] + 3)


def test_products_end_in_the_register_inside(tmp_path):
    def product(**registers: int) -> float:
        dsp = cell(
            "DSP48E1", {"A": [11], "B": [12], "CLK": CLOCK}, {name: f"{n:b}" for name, n in registers.items()}, P=[13]
        )
        found = netlist(tmp_path, flop(10, 11), flop(20, 12), dsp, flop(13, 14), network__l__p=13)
        return max(one.path_ns for one in long_paths(found, "xc7"))

    wire = D.net
    assert product() == pytest.approx(D.register + 2 * wire + D.through[0] + D.setup)
    assert product(MREG=1) == pytest.approx(max(D.register + wire + D.product[0], D.product_out + wire + D.setup))
    assert product(PREG=1) == pytest.approx(max(D.register + wire + D.result[0], D.result_out + wire + D.setup))
    # Both: the longest path stays inside of the block, or leads into it.
    both = max(D.register + wire + D.product[0], D.product_out - D.result_out, D.result_out + wire + D.setup)
    assert product(MREG=1, PREG=1) == pytest.approx(both)


def test_a_path_inside_of_a_block(tmp_path):
    """Between its own two registers; of two blocks of a layer the longer one."""
    blocks = [
        cell("DSP48E1", {"A": [11], "B": [11], "CLK": CLOCK}, dict.fromkeys(names, "1"), P=[13 + place])
        for place, names in enumerate((("MREG", "PREG"), ("AREG", "PREG")))
    ]
    alone = netlist(tmp_path, flop(10, 11), blocks[0], network__l__p=13)
    assert [one.path_ns for one in long_paths(alone, "xc7") if one.kind == "block"] == [D.product_out - D.result_out]
    found = netlist(tmp_path, flop(10, 11), *blocks, network__l__p=13, network__l__q=14)
    paths = {one.kind: one for one in long_paths(found, "xc7")}
    assert paths["block"].path_ns == pytest.approx(D.factor_out[0] - D.result_out)
    assert (paths["block"].part, paths["block"].target, paths["block"].cells) == ("l", "network.l.q", ("DSP48E1",))


@pytest.mark.parametrize("turned", [False, True])
def test_the_longest_of_a_kind(tmp_path, turned):
    ends = [flop(11, 21), lut(12, 11, 21), flop(12, 22)]
    found = netlist(
        tmp_path, flop(10, 11), *(ends[::-1] if turned else ends), network__l__short=21, network__l__long=22
    )
    (path,) = long_paths(found, "xc7")
    assert (path.target, path.cells) == ("network.l.long", ("FDRE", "LUT2"))
    assert path.path_ns == max(lengths(found))


def test_refusals(tmp_path):
    with pytest.raises(FxsimError, match=r"^the netlist has a loop without a register$"):
        StaticTiming(netlist(tmp_path, lut(11, 12), lut(12, 11)), D)
    with pytest.raises(FxsimError, match=r"^cell type MAGIC has no known timing$"):
        StaticTiming(netlist(tmp_path, cell("MAGIC", {"A": [3]}, Y=[4])), D)
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(FxsimError, match=r"bad\.json: is no netlist of Yosys"):
        read_netlist(tmp_path / "bad.json", "top")


@pytest.mark.parametrize(
    ("name", "found"),
    [("network.lstm.x[3]", "lstm"), ("gi_0[17]", "lstm"), ("act_c_0_1", "lstm"), ("s_tready", "ports"), ("", "ports")],
)
def test_parts(name, found):
    assert part(name, {"gi": "lstm", "act_c": "lstm"}) == found


@pytest.fixture(scope="module")
def ip(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("timing") / "ip"
    fxsim.export(design(TINY), place, reuse=8)
    return place


class TestDesign:
    def test_longest_paths(self, ip, capsys):
        assert main(["synth", str(ip), "--timing"]) == 0
        out = capsys.readouterr().out
        found = json.loads((ip / "timing_xc7.json").read_text())
        facts = json.loads((ip / "manifest.json").read_text())
        assert (found["planned_ns"], found["clock_mhz"]) == (facts["longest_path_ns"], 200)
        assert found["path_ns"] == max(one["path_ns"] for one in found["paths"]) > 2
        assert {one["part"] for one in found["paths"]} >= {"gru", "ports"}
        assert {one["kind"] for one in found["paths"]} >= {"data", "enable", "reset"}
        assert f"{found['path_ns']:.2f} ns" in out
        assert "static timing" in (ip / "report.html").read_text()

    def test_another_family(self, ip, capsys):
        assert main(["synth", str(ip), "--timing", "--family", "ecp5"]) == 0
        found = json.loads((ip / "timing_ecp5.json").read_text())
        assert (found["family"], found["clock_mhz"]) == ("ecp5", 200)
        assert {one["part"] for one in found["paths"]} >= {"gru", "ports"}
        assert {one["kind"] for one in found["paths"]} >= {"data", "enable", "reset"}
        assert found["path_ns"] > 5
        assert "Longest paths between registers on ecp5" in capsys.readouterr().out
        assert "on ecp5, by static timing" in (ip / "report.html").read_text()

    def test_refuses_to_route_as_well(self, ip, capsys):
        assert main(["synth", str(ip), "--timing", "--route"]) == 2
        message = "route and timing exclude each other: routed designs are timed by nextpnr"
        assert capsys.readouterr().err == f"fxsim: {message}\n"
