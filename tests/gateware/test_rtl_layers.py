# SPDX-License-Identifier: Apache-2.0
"""Layers as gateware against the simulator: bits, predicted cycles, and stalls, over foldings, formats and cells."""

from dataclasses import replace

import numpy as np
import pytest
from networks import network
from rtl_bench import agrees, plan_for, random_raw, rtl_run

from fxsim.errors import FxsimError
from fxsim.program.cells import Activation, argmax, pointwise, softmax, softmax_pairwise
from fxsim.program.fixed import Fixed, Overflow, Round
from fxsim.program.graph import Graph, Node, chain
from fxsim.program.integers import Const, Table
from fxsim.program.program import Program
from fxsim.simulator.run import simulate
from rtl.plan.folding import Folding, Plan, make_plan
from rtl.plan.folds import Fold


def holds(graph: Graph, reuse: int, clock_mhz: float = 200.0, sequences: int = 3) -> None:
    """Bits equal the simulator's and cycles the plan's; random stalls on both sides change neither bits nor order."""
    on_time(plan_for(graph, reuse, clock_mhz), sequences)


def on_time(plan: Plan, sequences: int = 3) -> None:
    """The same of a plan; its interval, too."""
    run = agrees(plan, sequences)
    beats = len(run.given) // sequences
    assert run.given[-1] - run.given[-1 - beats] == plan.timing.interval


CELLS = ["lstm", "gru", "gru_before", "simple_rnn"]


@pytest.mark.parametrize("reuse", [1, 2, 3, 8, 1000])
@pytest.mark.parametrize("cell", CELLS)
def test_cells_at_every_folding(cell, reuse):
    holds(network(cell, seed=reuse, tail=(5, 2)), reuse)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("cell", CELLS)
def test_random_formats(cell, seed):
    holds(network(cell, seed=seed, units=3 + seed % 3, features=1 + seed % 4), 1 + 3 * (seed % 4))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_saturating_accumulators_keep_their_order(cell, seed):
    holds(network(cell, seed=seed, wrap=False, tail=(3,)), 1)


@pytest.mark.parametrize(("cell", "seed"), [("lstm", 9), ("gru", 6), ("gru", 10)])
def test_readers_of_one_table_with_different_ranges(cell, seed):
    """A gate that is always positive needs fewer bits of the table than its neighbour, which reads the same one."""
    holds(network(cell, seed=seed, units=1, features=1, steps=2, recurrent_activation="tanh"), 1)


@pytest.mark.parametrize("cell", CELLS)
def test_saturating_sums_of_one_product(cell):
    holds(network(cell, seed=4, units=1, features=1, wrap=False, tail=(1,)), 1)


@pytest.mark.parametrize("reuse", [1, 4, 16])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_sequences_flattened_into_a_dense(cell, reuse):
    holds(network(cell, seed=reuse, flatten=True, tail=(5,)), reuse)


def test_sequences_flattened_alone_and_before_a_saturating_sum():
    holds(network("gru", seed=1, flatten=True), 2)
    holds(network("gru", seed=2, flatten=True, wrap=False, tail=(3,)), 1)


@pytest.mark.parametrize("reuse", [1, 4])
def test_a_result_every_step(reuse):
    holds(network("lstm", seed=5, return_sequences=True), reuse)
    holds(network("gru", seed=6, return_sequences=True, tail=(4,)), reuse)


def test_stacked_cells():
    one, two = network("lstm", seed=1, return_sequences=True, units=4), network("gru", seed=2, features=4)
    input = one.nodes[0].program.type
    program = two.nodes[0].program
    ops = tuple(replace(op, type=input) if op.name == "x" else op for op in program.ops)
    second = Node("second", "gru", Program(ops, program.output), False)
    holds(chain("stacked", one.shape, one.input, (one.nodes[0], second)), 4)


@pytest.mark.parametrize("clock_mhz", [50, 100, 250, 300])
def test_registers_follow_the_clock(clock_mhz):
    holds(network("lstm", seed=3, tail=(4,)), 1, clock_mhz)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("cycles", [1, 4])
def test_products_start_from_a_state_that_has_no_register_yet(cell, cycles):
    """Their operand comes straight from the ops that make it, and stays there while the next token is awaited."""
    found = 0
    for seed in range(8):
        graph = network(cell, seed=seed, return_sequences=seed % 2 == 0)
        plan = make_plan(graph, Folding({cell: Fold(1, cycles)}))
        if plan.schedules[0].opened:
            found += 1
            on_time(plan)
    assert found >= 2


@pytest.mark.parametrize("rounding", Round, ids=lambda r: r.name)
def test_tables_that_round_their_index_by_an_entry_more(rounding):
    """A clock at which the index's addition no longer fits: the table has two entries an index instead."""
    result = Fixed(7, 4, True, Round.RND_CONV, Overflow.SAT)
    function = Activation("tanh", replace(ramp("tanh", 50, -20, 2, Fixed(10, 8)), round=rounding))
    graph = alone(pointwise(function, X, 4, result), 4)
    raw = np.arange(X.min, X.max + 1).reshape(-1, 4)
    expected = simulate(graph, raw, raw=True).raw
    for clock_mhz, doubled in ((100.0, False), (300.0, rounding is not Round.TRN)):
        plan = make_plan(graph, Folding({}), clock_mhz)
        assert [slot.doubled for slot in plan.schedules[0].slots.values()] == [doubled]
        assert rtl_run(plan, raw).outputs.tolist() == expected.tolist()


@pytest.mark.parametrize("choice", ["auto", "dsp", "lut"])
def test_constant_products_by_block_or_by_adding(choice):
    graph = network("gru", seed=7, tail=(4,))
    for cycles in (1, 3):
        on_time(make_plan(graph, Folding({name: Fold(1, cycles, choice) for name in ("gru", "dense0_relu0")}), 100.0))


def test_products_of_several_blocks_have_two_registers():
    graph = network("lstm", seed=2)
    ops = []
    for op in graph.nodes[0].program.ops:
        if op.name == "uh":
            data, type = (op.weights.data << 20) + 12345, op.weights.type
            op = replace(op, weights=Const(data, Fixed(type.width + 20, type.frac + 20)))
        ops.append(op)
    program = Program(tuple(ops), graph.nodes[0].program.output)
    graph = replace(graph, nodes=(replace(graph.nodes[0], program=program),))
    assert plan_for(graph, 1).schedules[0].engines["uh"].stages == 2
    holds(graph, 1)
    holds(graph, 3)


@pytest.mark.parametrize("flatten", [False, True])
def test_weights_of_a_block_memory_have_a_register_at_a_fast_clock(flatten):
    graph = network("lstm", seed=6, flatten=flatten, tail=(5,))
    fetch = [engine.fetch for s in plan_for(graph, 64, 250.0).schedules for engine in s.engines.values()]
    assert 2 in fetch
    holds(graph, 64, 250.0)


X = Fixed(9, 5, True, Round.RND, Overflow.SAT)


def alone(program: Program, elements: int) -> Graph:
    return chain("alone", (elements,), X, (Node("layer", "activation", program),))


def scalar(value: float, type: Fixed) -> Const:
    return Const(np.array([round(value * 2**type.frac)]), type)


def ramp(name: str, entries: int, first: int, frac: int, type: Fixed) -> Table:
    raw = np.linspace(type.min, type.max, entries).astype(np.int64)
    return Table(name, frac, Round.RND, first, Const(raw, type))


SLOPE, SHIFT = scalar(0.2, Fixed(16, 16, False)), scalar(0.5, Fixed(2, 2, False))
ACTIVATIONS = {
    "linear": Activation("linear"),
    "relu": Activation("relu"),
    "sigmoid": Activation("sigmoid", ramp("sigmoid", 60, -30, 2, Fixed(10, 8))),
    "odd_scale": Activation("tanh", replace(ramp("tanh", 50, -25, 0, Fixed(10, 8)), scale=3)),
    "hard_sigmoid": Activation("hard_sigmoid", slope=SLOPE, shift=SHIFT),
    "hard_tanh": Activation("hard_tanh", slope=SLOPE, shift=SHIFT),
    "leaky_relu": Activation("leaky_relu", slope=scalar(0.3, Fixed(8, 9, False))),
    "prelu": Activation("leaky_relu", slope=Const(np.array([77, -90, 0, 127, 1]), Fixed(8, 6))),
    "thresholded_relu": Activation("thresholded_relu", shift=scalar(1.5, Fixed(6, 3))),
    "elu": Activation("elu", ramp("elu", 40, -39, 3, Fixed(10, 8)), alpha=scalar(0.7, Fixed(6, 5))),
    "selu": Activation("selu", ramp("selu", 40, -39, 3, Fixed(10, 8)), slope=scalar(1.05, Fixed(16, 15, False))),
}


@pytest.mark.parametrize("reuse", [1, 5])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, reuse):
    result = Fixed(7, 4, True, Round.RND_CONV, Overflow.SAT)
    graph = alone(pointwise(ACTIVATIONS[name], X, 5, result), 5)
    raw = random_raw(graph, 40)
    beats = 1 if reuse == 1 else 5
    plan = make_plan(graph, Folding({"layer": Fold(beats, 1)}))
    expected = simulate(graph, raw, raw=True).raw
    assert rtl_run(plan, raw).outputs.tolist() == expected.tolist()


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_softmax_forms(size):
    result = Fixed(9, 8, False, Round.RND, Overflow.SAT)
    accum = Fixed(12, 8, True, Round.RND, Overflow.SAT)
    exp = ramp("exp", 64, 0, 2, Fixed(9, 8, False))
    inverse = ramp("inverse", 64, 0, 3, Fixed(10, 8, False))
    total = Fixed(12, 6, True, Round.TRN, Overflow.SAT)
    for program in (
        softmax(X, size, result, exp, inverse, accum, total, Fixed(8, 5, False)),
        softmax(X, size, result, exp, inverse, accum, total, None),
        softmax_pairwise(X, size, result, exp, inverse, accum),
        argmax(X, size, result),
    ):
        holds(alone(program, size), 1, sequences=12)


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        (Fold(3, 1), r"layer 'lstm': beats must be one of 1, 2, 4, not 3"),
        (Fold(2, 0), r"layer 'lstm': cycles must be an integer from 1 to 16777216, not 0"),
    ],
)
def test_illegal_foldings_are_refused(fold, message):
    with pytest.raises(FxsimError, match=message):
        make_plan(network("lstm"), Folding({"lstm": fold}))


def test_too_fast_a_clock_is_refused():
    with pytest.raises(FxsimError, match=r"clock must be at most \d+ MHz in family xc7, not 900"):
        plan_for(network("lstm"), 1, 900.0)


def mutant(graph: Graph, what: str) -> Graph:
    """The same network with one small fault in its cell."""
    layer = graph.nodes[0]
    ops = list(layer.program.ops)
    for k, op in enumerate(ops):
        if what == "weight" and op.name == "uh":
            data = op.weights.data.copy()
            data[0, 0] ^= 1
            ops[k] = replace(op, weights=Const(data, op.weights.type))
        if what == "rounding" and op.name in ("c", "c_old"):
            other = Round.TRN if op.type.round is not Round.TRN else Round.RND
            ops[k] = replace(op, type=replace(op.type, round=other))
        if what == "limit" and op.name.startswith("sum_"):
            other = Overflow.WRAP if op.type.overflow is not Overflow.WRAP else Overflow.SAT
            ops[k] = replace(op, type=replace(op.type, overflow=other))
        if what == "order" and op.name == "uh":
            ops[k] = replace(op, stride=2)
        if what == "gates" and op.name in ("gi", "h"):
            ops[k] = replace(op, a="f" if op.name == "gi" else "i")
    return replace(graph, nodes=(replace(layer, program=Program(tuple(ops), layer.program.output)),))


@pytest.mark.parametrize("what", ["weight", "rounding", "limit", "order", "gates"])
def test_mutants_are_caught(what):
    """The comparison above can fail: hardware of a network with one small fault gives other bits."""
    for seed in range(40):
        graph = network("lstm", seed=seed, wrap=what != "order", return_sequences=True)
        raw = random_raw(graph, 6)
        expected = simulate(graph, raw, raw=True).raw
        wrong = mutant(graph, what)
        if not np.array_equal(simulate(wrong, raw, raw=True).raw, expected):
            break
    else:
        pytest.fail("no seed makes this fault visible")
    got = rtl_run(plan_for(wrong, 4), raw).outputs
    assert got.tolist() != expected.reshape(got.shape).tolist()


def test_a_latency_that_is_off_by_one_is_noticed(monkeypatch):
    graph = network("lstm", seed=2)
    plan = plan_for(graph, 4)
    wrong = replace(plan, timing=replace(plan.timing, latency=plan.timing.latency - 1))
    monkeypatch.setattr("test_rtl_layers.plan_for", lambda *_: wrong)
    with pytest.raises(AssertionError):
        holds(graph, 4)
