# SPDX-License-Identifier: Apache-2.0
"""Estimated cells: against counts by Yosys that were measured before, and against Yosys itself on tiny designs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from networks import network

import fxsim
from benchmarks.calibrate_cost import BASELINE, GROUPS, errors, held_out, plan
from benchmarks.calibrate_cost import network as drawn
from fxsim.pages.plan_table import listing
from fxsim.program.fixed import Fixed, smallest
from fxsim.program.integers import Const
from fxsim.program.ops import Add, Cast, Constant, Input
from fxsim.program.program import Program
from rtl.cost.coefficients import COEFFICIENTS
from rtl.cost.cost import KINDS, plan_parts
from rtl.cost.engine_parts import _added_bits, engine_parts, multipliers
from rtl.cost.layer_parts import Wires, layer_parts
from rtl.cost.live_bits import unseen_bits, zero_bits
from rtl.cost.parts import block_rams, carry_save, distinct, dsp_blocks, in_blocks, multiplexer, tree
from rtl.cost.size import size
from rtl.plan.delays import FAMILIES
from rtl.plan.folding import Folding, by_reuse, make_plan

MEASURED = json.loads(BASELINE.read_text())
CELLS = ("lut", "lutram", "ff", "dsp", "bram")


@pytest.mark.parametrize("group", GROUPS, ids=", ".join)
def test_the_model_against_designs_that_it_was_not_fitted_on(group):
    unseen = [one for one in MEASURED["designs"] if one["family"] in group and held_out(one)]
    assert len(unseen) >= 5
    found = errors(unseen)
    assert found["lut"]["median"] <= 7 and found["ff"]["median"] <= 6
    assert max(found["lut"]["worst"], found["ff"]["worst"]) <= 20
    # DSP blocks follow from rules alone: they are exact in each design.
    seen = [one for one in MEASURED["designs"] if one["family"] in group and not held_out(one)]
    fitted = errors(seen)
    assert fitted["dsp"]["worst"] == found["dsp"]["worst"] == found["bram"]["worst"] == 0
    # What the baseline and the documents say is of this model.
    assert {"fitted": fitted, "held out": found} == MEASURED["errors"][", ".join(group)]


def test_all_designs_that_it_was_not_fitted_on():
    unseen = [one for one in MEASURED["designs"] if held_out(one)]
    assert len(unseen) >= 40 and len(MEASURED["designs"]) - len(unseen) >= 80
    found = errors(unseen)
    assert found["lut"]["median"] <= 6 and found["ff"]["median"] <= 6


def test_a_changed_coefficient_is_noticed(monkeypatch):
    unseen = [one for one in MEASURED["designs"] if one["family"] == "xc7" and held_out(one)]
    for cell, kind in (("lut", "tree"), ("ff", "ff")):
        changed = {name: dict(each) for name, each in COEFFICIENTS["xc7"].items()}
        changed[cell][kind] *= 4
        monkeypatch.setitem(COEFFICIENTS, "xc7", changed)
        assert errors(unseen)[cell]["median"] > 1.3 * MEASURED["errors"]["xc7"]["held out"][cell]["median"]


#: Designs that are not among the measured ones.
TINY = {"seed": 5, "reset_after": True, "units": 4, "features": 2, "steps": 3, "activation": "relu"}


@pytest.mark.parametrize(
    ("more", "reuse"),
    [
        ({"cell": "lstm", "dense": [3], "precision": "ap_fixed<10,4>", "preset": "hls4ml"}, 8),
        ({"cell": "gru", "dense": [], "precision": "ap_fixed<9,3>", "preset": "exact"}, 1),
        # With interpolated tables.
        ({"cell": "gru", "dense": [], "precision": "ap_fixed<13,2>", "preset": "exact", "table_size": None}, 2),
    ],
)
def test_tiny_designs_synthesized_now(more, reuse, tmp_path):
    pytest.importorskip("pyosys")
    graph = drawn({**TINY, **more})
    folding = by_reuse(graph, reuse)
    fxsim.export(graph, tmp_path / "ip", folding=folding)
    counted, estimated = fxsim.synth(tmp_path / "ip"), make_plan(graph, folding).cost
    assert estimated.dsp == counted["dsp"]
    assert estimated.bram == counted["bram"]
    assert estimated.lut == pytest.approx(counted["lut"], rel=0.35)
    assert estimated.ff == pytest.approx(counted["ff"], rel=0.35)


def test_an_unrolled_design_against_its_count():
    """Vectors move with their token, each copy as long as a token stands; Yosys counted 771 LUTs and 1294 registers."""
    graph = drawn({**TINY, "units": 3, "cell": "gru", "dense": [], "precision": "ap_fixed<9,3>", "preset": "hls4ml"})
    made = make_plan(graph, by_reuse(graph, 6, base=Folding({}, unroll=3)))
    assert made.schedules[0] is not None and made.schedules[0].chained
    assert made.cost.lut == pytest.approx(771, rel=0.2)
    assert made.cost.ff == pytest.approx(1294, rel=0.2)


def test_sums_that_products_make_are_counted_once():
    spec = {**TINY, "units": 12, "features": 4, "dense": [], "cell": "lstm", "preset": "exact"}
    schedule = make_plan(drawn({**spec, "precision": "ap_fixed<14,5>"}), Folding({})).schedules[0]
    assert schedule is not None
    assert sorted(schedule.absorbed) == ["sum_f", "sum_g", "sum_i", "sum_o"]
    whole = layer_parts(schedule, False, 1, True, Wires(14))
    engines = {dot.name: engine_parts(schedule, dot) for dot in schedule.program.dots}
    assert engines["uh"]["compress"] == whole["compress"] > 0 == engines["wx"]["compress"]
    # Beside those of the products, only that of the cell state, through which its table is read.
    low, high = schedule.bounds["c"].exact
    assert whole["adder"] - sum(each["adder"] for each in engines.values()) == 12 * smallest(low, high, 0).width


def test_luts_used_as_memory_count_wherever_luts_are_one_number(tmp_path):
    graph = network("lstm", units=4, tail=(3,))
    made = make_plan(graph, replace(by_reuse(graph, 16), interleave=3))
    cost = made.cost
    assert cost.luts == cost.lut + cost.lutram > cost.lut
    (row,) = listing([made], None).rows
    assert row[3] == cost.luts == size(made).lut


def test_a_manifest_says_what_is_estimated(tmp_path):
    graph = network("lstm", tail=(3,))
    ip = fxsim.export(graph, tmp_path / "ip", reuse=4)
    assert ip.manifest["cost"] == {"multipliers": ip.plan.multipliers, **ip.plan.cost.to_json()}
    other = fxsim.export(graph, tmp_path / "other", reuse=4, family="ecp5", clock_mhz=50)
    assert other.manifest["cost"] == {"multipliers": other.plan.multipliers, **other.plan.cost.to_json()}


def test_every_coefficient_is_of_a_known_kind_and_every_part_costs_something():
    for family in FAMILIES:
        used = {kind for each in COEFFICIENTS[family].values() for kind in each} | {"dsp", "bram"}
        assert used | {"inside"} == set(KINDS)
    for one in MEASURED["designs"]:
        assert set(plan_parts(plan(one))) <= set(KINDS)


@pytest.mark.parametrize(
    ("depth", "width", "ports", "blocks"),
    [(1024, 18, 1, 0.5), (3374, 22, 1, 2.5), (3374, 22, 2, 2.5), (3374, 14, 1, 1.5), (3374, 14, 2, 2),
     (1300, 10, 1, 0.5), (1024, 18, 2, 0.5), (512, 36, 1, 0.5), (512, 36, 2, 1), (2048, 16, 2, 1), (1024, 72, 1, 2),
     (4096, 9, 1, 1), (100, 300, 1, 4.5)],
)  # fmt: skip
def test_block_rams(depth, width, ports, blocks):
    assert block_rams(depth, width, ports) == blocks


def test_memories_are_where_the_gateware_asks_for_them():
    from rtl.gateware.rom import rom_style

    for depth in (16, 63, 64, 100, 512):
        for width in (1, 8, 63, 64, 65, 300):
            assert in_blocks(depth, width) == bool(rom_style(depth, width))
            assert in_blocks(depth, width, 1024) == bool(rom_style(depth, width, 1024))
    assert in_blocks(64, 16, 1024)
    assert not in_blocks(64, 16) and not in_blocks(63, 20, 1024)


def test_different_functions():
    rng = np.random.default_rng(1)
    for depth, count in ((2, 10), (4, 40), (8, 200)):
        # Neither constants nor the address bits themselves need a register each time they are asked for.
        drawn = [len({tuple(bits) for bits in rng.integers(0, 2, (count, depth))}) for _ in range(200)]
        assert distinct(depth, count) == pytest.approx(np.mean(drawn) - 2, abs=0.3)
    assert distinct(20, 500) == 500


def test_trees():
    terms = np.array([[8, 8], [8, 0], [9, 9], [8, 0]])
    none = {"post": 0, "shift": 0, "ff": 0}
    # 8 + 8 in 9 bits, 9 + 8 in 10, both together in 11; beside it 8 + 9 in 10, alone; the lowest bits need no adder.
    assert tree(terms, 32, (False, False), 0.0, True, 0) == none | {"adder": 8 + 9 + 10 + 9}
    # Of three in a row, the first two are made without carries, also if the third stands elsewhere.
    assert tree(terms, 32, (False, False), 0.0, False, 0) == none | {"tree": 8 + 9 + 10 + 9}
    assert tree(np.full((8, 1), 8), 32, (False,) * 3, 0.0, True, 0) == none | {"tree": 4 * 8 + 2 * 9, "adder": 10}


def test_a_term_that_waits_for_its_partner_is_a_shift_register():
    registers, adders = 5 * 8 + 2 * 9 + 8 + 10 + 8, {"adder": 2 * 8 + 9 + 10, "post": 0}
    five = np.full((5, 1), 8)
    assert tree(five, 32, (True,) * 3, 0.0, True, 0) == adders | {"ff": registers - 3 * 8, "shift": 8}
    # Where the products come out of such registers, too, these are the first; where there are none, all are registers.
    assert tree(five, 32, (True,) * 3, 0.0, True, 2)["ff"] == registers - 5 * 8 - 4 * 3 * 8
    assert tree(five, 32, (True,) * 3, 0.0, True, -3) == adders | {"ff": registers, "shift": 0}


def test_additions_that_multiply_by_a_constant():
    assert _added_bits(5, 8, 32) == (9, 0)  # x + 4x: two bits of x are not added to
    assert _added_bits(3, 8, 32) == (11, 0)  # 4x - x: but subtracted
    assert _added_bits(5, 8, 6) == (4, 0)
    assert _added_bits(1 + 4 + 16 + 64, 8, 32) == (16 - 4, 9 + 9)


def test_registers_of_wide_products():
    """As counted by Yosys: the block takes in the first register of all but 17 bits."""
    for stages, outside in ((1, 17), (2, 57)):
        found = multipliers(FAMILIES["xc7"], (20, 20), (True, True), 1, stages, False, 40)
        assert (found["dsp"], found["ff"], found["inside"]) == (2, outside, 40 * stages - outside)
    assert multipliers(FAMILIES["xc7"], (16, 16), (True, True), 1, 2, False, 32)["ff"] == 0


@pytest.mark.parametrize(
    ("one", "two", "xc7", "xcup", "ecp5"),
    [
        ("u18", "u18", 2, 2, 1),
        ("u18", "s18", 1, 1, 1),
        ("u17", "s20", 1, 1, 2),
        ("u18", "s20", 2, 2, 2),
        ("u19", "s20", 2, 2, 4),
        ("s19", "s20", 2, 2, 2),
        ("u19", "u20", 2, 2, 2),
        ("u24", "s18", 1, 1, 2),
        ("u25", "s18", 2, 1, 2),
        ("u27", "s18", 2, 2, 2),
    ],
)
def test_blocks_of_factors_with_and_without_a_sign(one, two, xc7, xcup, ecp5):
    """As counted by Yosys for a single product between registers, an unsigned factor extended as Amaranth does."""
    counted = {"xc7": xc7, "xcup": xcup, "ecp5": ecp5}
    factors, signs = (int(one[1:]), int(two[1:])), (one[0] == "s", two[0] == "s")
    assert {name: dsp_blocks(FAMILIES[name], factors, signs) for name in counted} == counted
    assert {name: dsp_blocks(FAMILIES[name], factors[::-1], signs[::-1]) for name in counted} == counted


def test_sums_without_carries():
    # Seven rows of 10 bits, 56 bits in all behind a register: six become three, the seventh stays; then four, three.
    found = carry_save(10, 7, 56, [True, False, False, False])
    assert found == {"ff": 56, "compress": 30, "compress again": 20 + 20, "adder": 10}
    assert carry_save(10, 1, 8, [False, False]) == {"compress": 0, "adder": 0}


def test_bits_that_nobody_looks_at_or_that_are_zero():
    """``round down(a + b)``, of which a has one bit below the other, and the sum two that are dropped."""
    fine, coarse = Fixed.parse("ap_fixed<10,4>"), Fixed.parse("ap_fixed<9,4>")
    ops = (
        Input(name="x", type=coarse, elements=1),
        Constant(name="a", type=fine, values=Const(np.array([16]), fine)),
        Add(name="sum", type=Fixed.parse("ap_fixed<8,5>"), a="x", b="a"),
        Cast(name="y", type=Fixed.parse("ap_fixed<7,5>"), arg="sum"),
    )
    program = Program(ops=ops, output="y")
    zeros = zero_bits(program, 1)
    assert (zeros["x"], zeros["a"], zeros["sum"]) == (1, 4, 0)
    # y drops one bit of sum, which drops three of the exact sum; of x, the lowest that is not zero may carry.
    assert unseen_bits(program, 1) == {("y", "sum"): 1, ("sum", "x"): 3, ("sum", "a"): 2}


def test_multiplexers():
    assert [multiplexer(n) for n in (1, 4, 16, 64)] == [0, 1, 5, 21]


def test_more_of_everything_costs_more():
    graph = network("lstm", units=4, tail=(3,))
    small, large = (make_plan(graph, by_reuse(graph, reuse)).cost for reuse in (16, 1))
    assert small.lut < large.lut
    assert small.dsp < large.dsp
    both = make_plan(graph, replace(by_reuse(graph, 16), interleave=3)).cost
    assert both.ff > small.ff
    assert both.lutram > small.lutram
