# SPDX-License-Identifier: Apache-2.0
"""The gateware's cast against the specification, exhaustively for small formats."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator
from rtl_bench import answers

import rtl.gateware.fixed as gateware
from fxsim.program.fixed import Fixed, Overflow, Round, cast


def rtl_casts(source: Fixed, targets: list[Fixed]) -> dict[int, list[int]]:
    """Every value of ``source`` cast to every target by combinational logic."""
    m = Module()
    x = Signal(gateware.shape(source))
    results = [Signal(gateware.shape(to)) for to in targets]
    m.d.comb += [y.eq(gateware.cast(x, source.frac, to)) for y, to in zip(results, targets, strict=True)]
    return answers(m, x, range(source.plain.min, source.max + 1), results)


def targets(rounding: Round) -> list[Fixed]:
    return [
        Fixed(width, frac, signed, rounding, over)
        for signed in (True, False)
        for width in range(1, 5)
        for frac in range(-2, 6)
        for over in Overflow
    ]


@pytest.mark.parametrize("rounding", Round, ids=lambda r: r.name)
@pytest.mark.parametrize("source", [Fixed(6, 3), Fixed(5, 2, False), Fixed(2, 1), Fixed(1, 0)], ids=str)
def test_equals_the_specification(source, rounding):
    for value, results in rtl_casts(source, targets(rounding)).items():
        assert results == [cast(value, source.frac, to) for to in targets(rounding)], value


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("count", [-1, 0, 1, 3, 5, 6, 9])
def test_low_bits(signed, count):
    """A number modulo a power of two, also one beyond its width."""
    source, m = Fixed(5, 2, signed), Module()
    x, y = Signal(gateware.shape(source)), Signal(12)
    m.d.comb += y.eq(gateware.low_bits(x, count))

    async def bench(ctx):
        for value in range(source.min, source.max + 1):
            ctx.set(x, value)
            await ctx.delay(1e-9)
            assert ctx.get(y) == value % 2 ** max(count, 0)

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


def test_a_wrong_rounding_is_noticed(monkeypatch):
    right = gateware.rounded
    monkeypatch.setattr(gateware, "rounded", lambda v, s, mode: right(v, s, Round.TRN if mode is Round.RND else mode))
    source, to = Fixed(6, 3), Fixed(4, 1, True, Round.RND)
    got = rtl_casts(source, [to])
    assert any(results != [cast(value, source.frac, to)] for value, results in got.items())
