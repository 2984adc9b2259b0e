# SPDX-License-Identifier: Apache-2.0
"""Runs a graph's gateware in Amaranth's simulator: pure functions, so that a test is one equality."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from fxsim.program.graph import Graph
from fxsim.simulator.run import simulate
from rtl.gateware.network import Network
from rtl.plan.folding import Folding, Plan, by_reuse, computing, make_plan
from rtl.plan.folds import least_reuse, products
from rtl.plan.timing import follow


@dataclass
class RtlRun:
    """Raw outputs (sequences * beats, elements), and the edges at which beats were taken and given."""

    outputs: np.ndarray
    taken: list[int]
    given: list[int]


def answers(m: Module, x: Signal, values: Iterable[int], results: Sequence[Signal]) -> dict[int, list[int]]:
    """What combinational logic makes of each value of its input ``x``."""
    found = {}

    async def bench(ctx):
        for value in values:
            ctx.set(x, value)
            await ctx.delay(1e-9)
            found[value] = [ctx.get(y) for y in results]

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def pack(values, width: int) -> int:
    return sum((int(v) & ((1 << width) - 1)) << (k * width) for k, v in enumerate(values))


def unpack(word: int, count: int, width: int, signed: bool) -> list[int]:
    parts = [(word >> (k * width)) & ((1 << width) - 1) for k in range(count)]
    return [p - (1 << width) if signed and p >> (width - 1) else p for p in parts]


def rtl_run(
    plan: Plan, raw: np.ndarray, idle: float = 0.0, backpressure: float = 0.0, seed: int = 0, pause: int = 0
) -> RtlRun:
    """Feed raw inputs (sequences, *shape) to the network's component and collect what comes out.

    ``idle``, ``backpressure``: probability of a stall each cycle; ``pause``: cycles between sequences.
    """
    graph = plan.graph
    network = Network(plan)
    xs = raw.reshape(len(raw), -1, plan.beat)
    beats = graph.output_shape[0] if len(graph.output_shape) == 2 else 1
    rng = np.random.default_rng(seed)
    outputs: list[list[int]] = []
    taken: list[int] = []
    given: list[int] = []
    now = [0]

    async def count(ctx):
        async for _ in ctx.tick():
            now[0] += 1

    async def feed(ctx):
        for x in xs:
            if pause:
                await ctx.tick().repeat(pause)
            for step, vector in enumerate(x):
                while rng.random() < idle:
                    await ctx.tick()
                ctx.set(network.i.payload.data, pack(vector, graph.input.width))
                ctx.set(network.i.payload.last, step == len(x) - 1)
                ctx.set(network.i.valid, 1)
                await ctx.tick().until(network.i.ready)
                taken.append(now[0])
                ctx.set(network.i.valid, 0)

    async def drain(ctx):
        limit = 4 * len(xs) * plan.timing.latency + 2000
        while len(outputs) < len(xs) * beats:
            assert now[0] < limit, f"no output after {limit} cycles"
            ctx.set(network.o.ready, int(rng.random() >= backpressure))
            _, _, valid, ready, data = await ctx.tick().sample(network.o.valid, network.o.ready, network.o.payload.data)
            if valid and ready:
                outputs.append(unpack(data, graph.output_shape[-1], graph.output.width, graph.output.signed))
                given.append(now[0])

    simulator = Simulator(network)
    simulator.add_clock(1e-6)
    simulator.add_process(count)
    simulator.add_testbench(feed, background=True)
    simulator.add_testbench(drain)
    simulator.run()
    return RtlRun(np.array(outputs), taken, given)


def folding(graph: Graph, reuse: int) -> Folding:
    """Every layer at ``reuse``, or at the nearest reuse that it allows."""
    wanted = {}
    for layer in computing(graph):
        wanted[layer.name] = min(max(reuse, least_reuse(layer.program)), products(layer.program))
    return by_reuse(graph, wanted)


def plan_for(graph: Graph, reuse: int, clock_mhz: float = 200.0) -> Plan:
    return make_plan(graph, folding(graph, reuse), clock_mhz)


def random_raw(graph: Graph, sequences: int, seed: int = 0) -> np.ndarray:
    """Random raw inputs over the whole range; the first sequences are all extremes."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(graph.input.min, graph.input.max + 1, (sequences, *graph.shape))
    raw[0] = rng.choice([graph.input.min, graph.input.max], graph.shape)
    return raw


def agrees(plan: Plan, sequences: int, stalls: tuple[tuple[float, float], ...] = ((0.4, 0.4),)) -> RtlRun:
    """Bits equal the simulator's, every edge the model's, and its first ones the plan's latencies.

    ``stalls``: pairs of idle and backpressure, of which none changes bits or order. Gives the run without any.
    """
    graph = plan.graph
    raw = random_raw(graph, sequences)
    expected = simulate(graph, raw, raw=True).raw.reshape(-1, graph.output_shape[-1])
    run = rtl_run(plan, raw)
    assert run.outputs.tolist() == expected.tolist()
    taken, given = follow(plan.stages, plan.source, sequences)
    assert [edge - run.taken[0] for edge in run.taken] == [edge - taken[0] for edge in taken]
    assert [edge - run.taken[0] for edge in run.given] == [edge - taken[0] for edge in given]
    assert given[0] - taken[0] == plan.timing.latency
    assert given[0] - taken[plan.source.beats - 1] == plan.timing.latency_after_last
    for idle, backpressure in stalls:
        stalled = rtl_run(plan, raw, idle=idle, backpressure=backpressure, seed=1)
        assert stalled.outputs.tolist() == expected.tolist()
    return run
