# SPDX-License-Identifier: Apache-2.0
"""The waveform in the README of an export: what the design does in each of its cycles."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from amaranth.sim import Simulator
from networks import network
from rtl_bench import pack, random_raw

from fxsim.simulator.run import simulate
from rtl.export.waveform import cycles, waveform
from rtl.gateware.axi import axi_top
from rtl.plan.folding import Folding, Plan, by_reuse, make_plan
from rtl.plan.widths import stride

#: Options of the network, and how it is built.
DESIGNS = {
    "a step a beat": ({"steps": 3}, Folding({})),
    "an element a beat": ({"steps": 6}, Folding({}, beat=1)),
    "a sequence a beat": ({"steps": 6, "tail": (3,)}, Folding({}, beat=18)),
    "a result a step": ({"return_sequences": True}, Folding({})),
    "interleaved": ({"steps": 5}, Folding({}, 3)),
    "unrolled": ({"steps": 4}, Folding({}, 1, 4, 12)),
    "flattened": ({"flatten": True, "tail": (2,)}, Folding({})),
}


def play(plan: Plan, count: int) -> list[dict[str, str]]:
    """What the ports show in each cycle while two sequences come in at full rate; results by their names."""
    graph = plan.graph
    top = axi_top(plan)
    raw = random_raw(graph, 2, 3)
    results = simulate(graph, raw, raw=True).raw.reshape(-1, graph.output_shape[-1])
    beats = raw.reshape(-1, plan.beat)
    each, steps = len(beats) // 2, len(results) // 2
    wide = stride(top.in_type)
    seen: list[dict[str, str]] = []

    def name(prefix: str, k: int, of: int) -> str:
        return f"{prefix}{'AB'[k // of]}{k % of if of > 1 else ''}"

    async def bench(ctx):
        async def edge():
            await ctx.delay(1e-6)
            ctx.set(top.aclk, 1)
            await ctx.delay(1e-6)
            ctx.set(top.aclk, 0)

        await edge()
        ctx.set(top.aresetn, 1)
        ctx.set(top.m_axis_tready, 1)
        sent = came = 0
        for _ in range(count):
            more = sent < len(beats)
            ctx.set(top.s_axis_tvalid, int(more))
            ctx.set(top.s_axis_tdata, pack(beats[min(sent, len(beats) - 1)], wide))
            ctx.set(top.s_axis_tlast, int(sent % each == each - 1))
            await ctx.delay(1e-6)
            valid = ctx.get(top.m_axis_tvalid)
            if valid:
                assert ctx.get(top.m_axis_tdata) == pack(results[came], stride(top.out_type))
            seen.append({
                "s_axis_tvalid": str(int(more)),
                "s_axis_tready": str(ctx.get(top.s_axis_tready)) if more else "",
                "s_axis_tdata": name("", sent, each) if more else "",
                "s_axis_tlast": str(ctx.get(top.s_axis_tlast)) if more else "",
                "m_axis_tvalid": str(valid),
                "m_axis_tdata": name("y", came, steps) if valid else "",
                "m_axis_tlast": str(ctx.get(top.m_axis_tlast)) if valid else "",
            })  # fmt: skip
            sent += more and ctx.get(top.s_axis_tready)
            came += valid
            await edge()

    simulator = Simulator(top)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


@pytest.mark.parametrize("reuse", [None, 3])
@pytest.mark.parametrize("kind", DESIGNS)
def test_every_cycle_is_the_designs(kind, reuse):
    options, base = DESIGNS[kind]
    graph = network("lstm", seed=6, units=2, **options)
    plan = make_plan(graph, base if reuse is None else by_reuse(graph, reuse, base=base))
    rows = cycles(plan)
    shown = list(rows["s_axis_tvalid"])
    assert plan.timing.latency in shown and shown[0] == 0
    found = play(plan, shown[-1] + 1)
    for port, row in rows.items():
        for cycle, cell in row.items():
            assert cell == found[cycle][port], (port, cycle)


def test_the_text(capsys):
    plan = make_plan(network("lstm", seed=6, steps=3, units=2, features=2), Folding({}))
    lines = waveform(plan).splitlines()
    assert len({len(line) for line in lines}) == 1
    numbers = [int(word) for word in lines[0].split()[1:] if word != ".."]
    assert lines[0].split().count("..") == sum(b > a + 1 for a, b in pairwise(numbers))
    ready = next(line for line in lines if line.startswith("s_axis_tready")).split()
    assert ready.count("0") > ready.count("1") > 1
    assert np.unique([len(line.split()) for line in lines]).size == 1
