# SPDX-License-Identifier: Apache-2.0
"""Tables read by the operands of the rounded sum that they look up: every bit of every input, and when they are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rtl_bench import agrees, rtl_run

from fxsim.program.cells import mul
from fxsim.program.fixed import Fixed, Overflow, Round
from fxsim.program.graph import Node, chain
from fxsim.program.integers import Const, Table
from fxsim.program.ops import Add, Input, Lookup
from fxsim.program.program import Builder, Program
from fxsim.simulator.run import simulate
from rtl.plan.early_lookup import looked_through
from rtl.plan.folding import Folding, Plan, make_plan

X = Fixed(9, 5)


def program(total: Fixed, rounding: Round, first: int = -20, entries: int = 40, frac: int = 1) -> Program:
    """``table[cast(3.14 x + 11 x)]``, of which both products have a grid of their own."""
    values = Const(np.random.default_rng(0).integers(-100, 100, entries), Fixed(10, 8))
    b = Builder()
    x = b.add(Input(name="x", type=X, elements=4))
    one = mul(b, "one", x, b.scalar("k1", 101, Fixed(9, 5)))
    two = mul(b, "two", x, b.scalar("k2", 11, Fixed(6, 0)))
    b.add(Add(name="total", type=total, a=one, b=two))
    b.add(Lookup(name="y", type=Fixed(8, 6), arg="total", table=Table("table", frac, rounding, first, values)))
    return b.build("y")


def planned(made: Program, clock_mhz: float = 200.0) -> Plan:
    return make_plan(chain("alone", (4,), X, (Node("layer", "activation", made),)), Folding({}), clock_mhz)


RAW = np.arange(X.min, X.max + 1).reshape(-1, 4)


@pytest.mark.parametrize("second", [Round.TRN, Round.RND], ids=lambda r: r.name)
@pytest.mark.parametrize("first", [Round.TRN, Round.RND], ids=lambda r: r.name)
@pytest.mark.parametrize("total", [Fixed(14, 4), Fixed(10, 4, overflow=Overflow.SAT), Fixed(11, 1)], ids=str)
def test_every_input(total, first, second):
    plan = planned(program(replace(total, round=first), second))
    assert rtl_run(plan, RAW).outputs.tolist() == simulate(plan.graph, RAW, raw=True).raw.tolist()
    agrees(plan, 8)
    if (total.overflow, first) == (Overflow.SAT, Round.RND):
        assert plan.schedules[0].slots["y"].through


def test_it_saves_a_cycle():
    made = program(Fixed(10, 4, True, Round.RND, Overflow.SAT), Round.RND)
    other = program(Fixed(10, 4, True, Round.RND_CONV, Overflow.SAT), Round.RND)
    assert planned(made).timing.latency < planned(other).timing.latency


@pytest.mark.parametrize(
    ("total", "rounding", "options"),
    [
        (Fixed(10, 4, True, Round.RND_CONV, Overflow.SAT), Round.RND, {}),
        (Fixed(10, 4, True, Round.RND, Overflow.SAT), Round.TRN_ZERO, {}),
        (Fixed(10, 4, True, Round.RND, Overflow.WRAP), Round.RND, {}),
        (Fixed(10, 4, True, Round.RND, Overflow.SAT_ZERO), Round.RND, {}),
        # The table goes on where the sum is cut off.
        (Fixed(10, 4, True, Round.RND, Overflow.SAT), Round.RND, {"first": -200, "entries": 400}),
        # A grid of the table that is finer than the sum's.
        (Fixed(14, 2, True, Round.RND, Overflow.SAT), Round.RND, {"frac": 4}),
    ],
)
def test_sums_that_must_be_seen(total, rounding, options):
    made = program(total, rounding, **options)
    plan = planned(made)
    known = plan.schedules[0].bounds["total"]
    assert looked_through(made["y"], made["total"], known) is None
    assert rtl_run(plan, RAW).outputs.tolist() == simulate(plan.graph, RAW, raw=True).raw.tolist()


def test_a_rounding_that_is_left_out_is_noticed(monkeypatch):
    plan = planned(program(Fixed(10, 4, True, Round.RND, Overflow.SAT), Round.RND))

    def off(op, total, known):
        constant, shift = looked_through(op, total, known)
        return constant - (1 << (known.exact_frac - total.type.frac - 1)), shift

    monkeypatch.setattr("rtl.gateware.lookup.looked_through", off)
    assert rtl_run(plan, RAW).outputs.tolist() != simulate(plan.graph, RAW, raw=True).raw.tolist()
