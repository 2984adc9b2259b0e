# SPDX-License-Identifier: Apache-2.0
"""Sums without carries, and matrix products that take a sum's other term in: bits, cycles, when they are made."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, Value
from amaranth.sim import Simulator
from rtl_bench import agrees, random_raw, rtl_run
from test_exact import cell, network

from fxsim.program.graph import Graph
from fxsim.quantization.presets import quantize
from fxsim.simulator.run import simulate
from rtl.gateware.carry_save import fewer, with_constant
from rtl.plan.engines import compressor_levels
from rtl.plan.folding import Folding, make_plan
from rtl.plan.folds import Fold
from rtl.plan.merged_sums import absorbable
from rtl.plan.stages import stages

CELLS = ["lstm", "gru", "simple_rnn"]


def exact(kind: str, units: int = 12, features: int = 4) -> Graph:
    """A layer of the preset whose sums are exact."""
    layer = cell(kind, np.random.default_rng(7), "cell", features, units)
    return quantize(network(layer, shape=(3, features)), precision="ap_fixed<14,5>")


def summed(width: int, make) -> int:
    """What a combinational sum of ``width`` bits is."""
    m, found = Module(), Signal(width)

    def named(value: Value) -> Value:
        signal = Signal(value.shape())
        m.d.comb += signal.eq(value)
        return signal

    m.d.comb += found.eq(make(named))
    results = []

    async def read(ctx):
        results.append(ctx.get(found))

    simulator = Simulator(m)
    simulator.add_testbench(read)
    simulator.run()
    return results[0]


@pytest.mark.parametrize("count", range(1, 25))
def test_rows_of_every_number(count):
    width = 9
    values = np.random.default_rng(count).integers(0, 1 << width, count).tolist()

    def make(named):
        rows = [Signal(width, init=value) for value in values]
        for _ in range(compressor_levels(count)):
            rows = fewer(rows, named)
        assert len(rows) <= 2
        return sum(rows)

    assert summed(width, make) == sum(values) % (1 << width)


def test_two_operands_and_a_constant():
    for a, b, constant in np.random.default_rng(0).integers(0, 512, (40, 3)).tolist():
        one, two = Signal(9, init=a), Signal(9, init=b)
        total = summed(9, lambda _, one=one, two=two, k=constant: with_constant(one, two, k, 9))
        assert total == (a + b + constant) % 512


@pytest.mark.parametrize(("kind", "clock_mhz"), [*((kind, 200.0) for kind in CELLS), ("lstm", 220.0)])
def test_cells(kind, clock_mhz):
    graph = exact(kind)
    plan = make_plan(graph, Folding({}), clock_mhz)
    if clock_mhz == 200.0:
        assert plan.schedules[0].absorbed
        assert plan.schedules[0].engines["uh"].compressed
    agrees(plan, 4)


def test_interleaved_and_unrolled_cells():
    graph = exact("lstm")
    for folding in (Folding({}, interleave=3), Folding({}, unroll=3, beat=12)):
        agrees(make_plan(graph, folding), 6, ())


def test_they_save_a_cycle(monkeypatch):
    graph = exact("lstm", units=20, features=6)
    assert make_plan(graph, Folding({})).schedules[0].interval == 6
    texts = [text for stage in stages(make_plan(graph, Folding({})).schedules[0]) for text in stage.operators]
    assert {"sum_i: a term of uh", "uh: 4 levels without carries", "uh: addition"} < set(texts)
    monkeypatch.setattr("rtl.plan.scheduler.absorbable", lambda program: {})
    assert make_plan(graph, Folding({})).schedules[0].interval == 7


def test_what_is_absorbed():
    program = exact("gru").nodes[0].program
    # The candidate's part is multiplied by the reset gate before it is added.
    assert set(absorbable(program)) == {"sum_z", "sum_r"}
    assert make_plan(exact("lstm"), Folding({})).schedules[0].absorbed
    assert not make_plan(exact("lstm"), Folding({"cell": Fold(1, 3)})).schedules[0].absorbed
    assert not make_plan(exact("lstm"), Folding({}), 60.0, "ecp5").schedules[0].absorbed


@pytest.mark.parametrize("fault", ["carry", "term"])
def test_faults_are_noticed(fault, monkeypatch):
    graph = exact("lstm")
    plan = make_plan(graph, Folding({}))
    raw = random_raw(graph, 6)
    expected = simulate(graph, raw, raw=True).raw.reshape(-1, 12).tolist()
    assert rtl_run(plan, raw).outputs.tolist() == expected
    if fault == "carry":
        monkeypatch.setattr("rtl.gateware.matvec.fewer", lambda rows, signal: fewer(rows, signal)[:-1] or rows)
    else:
        schedule = plan.schedules[0]
        reads = {**schedule.reads, ("sum_f", "wx_f"): schedule.reads["sum_i", "wx_i"]}
        object.__setattr__(schedule, "reads", reads)  # it is frozen
    assert rtl_run(plan, raw).outputs.tolist() != expected
