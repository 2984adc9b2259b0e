# SPDX-License-Identifier: Apache-2.0
"""Bounds against every input there is, for what they know beyond interval arithmetic."""

import itertools

import numpy as np
import pytest
from networks import network

from fxsim.program import reference
from fxsim.program.cells import add, mul, sub
from fxsim.program.fixed import Fixed, Overflow, Round
from fxsim.program.integers import Const
from fxsim.program.ops import Cast, Constant, Input, Max, Min, Remainder, Slice
from fxsim.program.program import Builder, Program
from fxsim.program.ranges import bounds

X = Fixed(3, 1)


def blend(z: Fixed, result: Fixed, limit: Const | None = None, wide: bool = True) -> Program:
    """``z * p + (limit - z) * q`` of an input's three elements, ``z`` without their sign."""
    b = Builder()
    b.add(Input(name="x", type=X, elements=3))
    for k, name in enumerate(("raw", "p", "q")):
        b.add(Slice(name=name, type=X, arg="x", start=k, stop=k + 1))
    b.add(Cast(name="z", type=z, arg="raw"))
    one = limit or Const(np.array([1]), Fixed(2, 0, False))
    b.add(Constant(name="one", type=one.type, values=one))
    rest = sub(b, "rest", "one", "z", None if wide else Fixed(3, 0))
    add(b, "h", mul(b, "kept", "p", "z"), mul(b, "fresh", rest, "q"), result)
    return b.build("h")


def seen(program: Program) -> tuple[int, int]:
    every = itertools.product(range(X.min, X.max + 1), repeat=3)
    values = [reference.scan(program, [list(x)], reference.initial_state(program), None)[0][0]["h"][0] for x in every]
    return min(values), max(values)


UNIT = Fixed(2, 2, False, Round.TRN, Overflow.SAT)  # 0 to 0.75


@pytest.mark.parametrize("rounding", list(Round))
@pytest.mark.parametrize("frac", [-1, 0, 1, 3])
def test_a_blend_stays_between_its_parts(rounding, frac):
    program = blend(UNIT, Fixed(12, frac, True, rounding))
    known = bounds(program)["h"]
    assert (known.low, known.high) == seen(program)
    assert known.exact == (4 * X.min, 4 * X.max)  # on the grid of the products, no more than the parts themselves


@pytest.mark.parametrize(
    "program",
    [
        blend(Fixed(3, 2, False, Round.TRN, Overflow.SAT), Fixed(12, 3)),  # z up to 1.5
        blend(Fixed(3, 2, True), Fixed(12, 3)),  # z below zero
        blend(UNIT, Fixed(12, 3), wide=False),  # 1 - z is rounded
        blend(UNIT, Fixed(12, 3), Const(np.array([1]), Fixed(3, 1))),  # 0.5 - z
    ],
    ids=["above", "below", "rounded", "half"],
)
def test_what_is_no_blend_is_not_taken_for_one(program):
    known = bounds(program)["h"]
    low, high = seen(program)
    assert known.low <= low and high <= known.high
    unit = 1 << known.exact_frac - X.frac
    assert known.exact[0] < X.min * unit and known.exact[1] > X.max * unit


def test_the_state_of_a_gru_is_in_the_range_of_its_candidates():
    narrower = 0
    for seed in range(8):
        program = network("gru", seed=seed).nodes[0].program
        known = bounds(program)
        if known["z"].low < 0 or known["z"].high > 1 << program["z"].type.frac:
            continue
        unit = program["hh"].type.lsb / program["h"].type.lsb
        room = 1 + abs(unit)  # a step of either grid
        assert known["h_old"].low >= min(0, known["hh"].low) * unit - room
        assert known["h_old"].high <= max(0, known["hh"].high) * unit + room
        narrower += known["h_old"].high < program["h_old"].type.max
    assert narrower


@pytest.mark.parametrize("frac", [-3, 0, 1, 2, 3, 5])
@pytest.mark.parametrize("argument", [Fixed(6, 3), Fixed(4, 4, False), Fixed(3, -2)], ids=str)
def test_remainders(argument, frac):
    """Bounds of what rounding down drops, of a whole format and of the numbers between two neighbours."""
    for low, high in itertools.combinations_with_replacement(range(argument.min, argument.max + 1), 2):
        b = Builder()
        b.add(Input(name="x", type=argument, elements=1))
        b.scalar("low", low, argument)
        b.scalar("high", high, argument)
        b.add(Max(name="above", type=argument, a="x", b="low"))
        b.add(Min(name="between", type=argument, a="above", b="high"))
        b.add(Remainder(name="y", type=Fixed(12, argument.frac, False), arg="between", frac=frac))
        program = b.build("y")
        got = {reference.step(program, [x], {})[0]["y"][0] for x in range(argument.min, argument.max + 1)}
        step = 2 ** max(argument.frac - frac, 0)
        assert got == {x % step for x in range(low, high + 1)}
        assert (bounds(program)["y"].low, bounds(program)["y"].high) == (min(got), max(got)), (low, high)
