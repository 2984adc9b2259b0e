# SPDX-License-Identifier: Apache-2.0
"""Four ways to the same bits: reference, kernels, Amaranth's simulator, and the emitted Verilog in Verilator.

Networks, formats with all roundings and overflows, foldings, sequences that take turns and copies for each step are
drawn as for test_random_plans.py; inputs are the corners of the input's format, and random ones. What one of the four
computes is held against the others in every bit, and the two of hardware against the plan in every cycle, with stalls
and without.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from native_builds import check_native
from networks import network
from rtl_bench import folding, rtl_run
from test_exact import cell, dense
from test_exact import network as source
from test_random_plans import draw, interpolated, narrow

import fxsim
from fxsim.program import reference
from fxsim.program.fixed import Overflow, Round
from fxsim.program.graph import Graph
from fxsim.quantization.presets import quantize
from fxsim.simulator.run import simulate
from rtl.gateware.fixed import rounded
from rtl.plan.folding import Plan, make_plan
from rtl.plan.timing import follow
from testbenches.errors import Mismatch
from testbenches.manifest import Manifest
from testbenches.vectors import Vectors


def corners(graph: Graph, count: int, seed: int) -> np.ndarray:
    """Raw inputs: everything at its largest, smallest and zero, extremes in turns by step and by element, random."""
    low, high = graph.input.min, graph.input.max
    steps, elements = graph.shape
    turns = np.indices((steps, elements))
    fixed = [
        np.full(graph.shape, high),
        np.full(graph.shape, low),
        np.zeros(graph.shape, np.int64),
        np.where(turns[0] % 2, low, high),
        np.where(turns[1] % 2, high, low),
        np.where(turns.sum(axis=0) % 2, low, high),
    ]
    random = np.random.default_rng(seed).integers(
        low, high, (max(2, count - len(fixed)), steps, elements), endpoint=True
    )
    return np.concatenate([np.stack(fixed), random])


def by_reference(graph: Graph, raw: np.ndarray) -> np.ndarray:
    """Outputs of Python integers, op by op."""
    results = []
    for sequence in raw.tolist():
        results.append(reference.network(graph, {graph.inputs[0].name: sequence})[graph.outputs[0]])
    return np.array(results)


def battle(plan: Plan, folder: Path, seed: int) -> int:
    """Compare the four; gives how many sequences."""
    graph, ways = plan.graph, plan.source.ways
    raw = corners(graph, 4 * ways, seed)
    raw = np.concatenate([raw, raw[: -len(raw) % ways]])
    expected = by_reference(graph, raw)
    for checked in (False, True):
        assert np.array_equal(simulate(graph, raw, raw=True, checked=checked).raw.reshape(expected.shape), expected)
        alone = [simulate(graph, one[None], raw=True, overflows=False, checked=checked).raw for one in raw]
        assert np.array_equal(np.concatenate(alone).reshape(expected.shape), expected)
    run = rtl_run(plan, raw)
    assert np.array_equal(run.outputs, expected.reshape(run.outputs.shape))
    taken, given = follow(plan.stages, plan.source, len(raw))
    assert [edge - run.taken[0] for edge in run.taken] == [edge - taken[0] for edge in taken]
    assert [edge - run.taken[0] for edge in run.given] == [edge - taken[0] for edge in given]
    stalled = rtl_run(plan, raw, idle=0.5, backpressure=0.3, seed=seed)
    assert np.array_equal(stalled.outputs, run.outputs)
    ip = fxsim.export(
        graph, folder, folding=plan.folding, clock_mhz=plan.clock_mhz, family=plan.family.name, top="battery"
    )
    manifest = Manifest.load(ip.folder)
    beats = expected.reshape(len(raw), manifest.output.beats_per_sequence, -1)
    vectors = Vectors(raw.reshape(len(raw), manifest.input.beats_per_sequence, -1), beats, {})
    check_native(manifest, vectors, folder / "build", stalls=((0.5, 0.3), (0.0, 0.7)))
    return len(raw)


@pytest.mark.parametrize("seed", range(200, 203))
def test_some(seed, tmp_path):
    assert battle(draw(seed), tmp_path / "ip", seed) >= 8


def test_interpolated_tables(tmp_path):
    assert battle(draw(300, made=interpolated), tmp_path / "ip", 300) >= 8


@pytest.mark.parametrize("reuse", [1, 3])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_narrow_sums(kind, reuse, tmp_path):
    """Both cells, parallel and folded."""
    rng = np.random.default_rng(reuse)
    layers = cell(kind, rng, "cell", 3, 5), dense(rng, 5, 3)
    graph = quantize(source(*layers, shape=(4, 3)), precision="ap_fixed<16,6>", sums="narrow")
    assert all(op.type.frac < 16 for layer in graph.nodes for op in layer.program.dots)
    assert battle(make_plan(graph, folding(graph, reuse)), tmp_path / "ip", reuse) >= 8


@pytest.mark.long
@pytest.mark.parametrize("seed", range(400, 420))
def test_many_narrow_sums(seed, tmp_path):
    assert battle(draw(seed, made=narrow), tmp_path / "ip", seed) >= 8


def test_a_product_that_is_not_cut_is_noticed(monkeypatch):
    rng = np.random.default_rng(1)
    graph = quantize(source(cell("lstm", rng, "cell", 3, 5), shape=(4, 3)), precision="ap_fixed<16,6>", sums="narrow")
    raw = np.random.default_rng(2).integers(-1024, 1024, (40, *graph.shape))  # from -1 to 1, where no gate is flat
    expected = simulate(graph, raw, raw=True).raw.tolist()
    plan = make_plan(graph, folding(graph, 1))
    assert rtl_run(plan, raw).outputs.tolist() == expected
    monkeypatch.setattr("rtl.gateware.matvec.rounded", lambda value, shift, mode: rounded(value, shift, Round.RND))
    assert rtl_run(plan, raw).outputs.tolist() != expected


@pytest.mark.long
@pytest.mark.parametrize("seed", range(301, 321))
def test_many_interpolated_tables(seed, tmp_path):
    assert battle(draw(seed, made=interpolated), tmp_path / "ip", seed) >= 8


@pytest.mark.long
@pytest.mark.parametrize("seed", range(203, 263))
def test_many(seed, tmp_path):
    assert battle(draw(seed), tmp_path / "ip", seed) >= 8


def test_every_mode_is_drawn():
    """The casts of the networks above have every rounding, every overflow, odd widths, every cell, every way."""
    plans = [draw(seed) for seed in range(200, 263)]
    types = {op.type for plan in plans for layer in plan.graph.nodes if layer.program for op in layer.program.ops}
    assert {type.round for type in types} == set(Round) and {type.overflow for type in types} == set(Overflow)
    assert any(type.width % 2 for type in types)
    assert {plan.graph.nodes[0].kind for plan in plans} == {"lstm", "gru", "gru_before", "simple_rnn"}
    assert any(plan.folding.interleave > 1 for plan in plans) and any(plan.folding.unroll > 1 for plan in plans)


def with_last_bit_flipped(graph: Graph, place: tuple[int, int]) -> Graph:
    """The network, but for the last bit of one recurrent weight."""
    layer = graph.nodes[0]
    assert layer.program is not None
    dot = layer.program.dots[1]
    weights = dot.weights.data.copy()
    weights[place] ^= 1
    changed = replace(dot, weights=replace(dot.weights, data=weights))
    ops = tuple(changed if op.name == dot.name else op for op in layer.program.ops)
    return replace(graph, nodes=(replace(layer, program=replace(layer.program, ops=ops)), *graph.nodes[1:]))


def test_a_weight_that_differs_in_its_last_bit_is_caught(tmp_path):
    """The Verilog of one network against the bits of another."""
    graph = network("lstm", seed=4)
    raw = corners(graph, 40, 1)
    right = by_reference(graph, raw)
    others = (by_reference(with_last_bit_flipped(graph, (k, 0)), raw) for k in range(4))
    wrong = next(outputs for outputs in others if not np.array_equal(outputs, right))
    manifest = Manifest.load(fxsim.export(graph, tmp_path / "ip", top="battery").folder)
    beats = raw.reshape(len(raw), manifest.input.beats_per_sequence, -1)

    def held_against(outputs: np.ndarray) -> None:
        shaped = outputs.reshape(len(raw), manifest.output.beats_per_sequence, -1)
        check_native(manifest, Vectors(beats, shaped, {}), tmp_path / "build")

    held_against(right)
    with pytest.raises(Mismatch, match="output, sequence"):
        held_against(wrong)
