# SPDX-License-Identifier: Apache-2.0
"""Lowering, folding and timing: pure Python, before any gateware."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from networks import network
from rtl_bench import random_raw

import fxsim
from fxsim.errors import FxsimError
from fxsim.program.graph import Graph, Node, chain
from fxsim.simulator.run import simulate
from rtl.plan.delays import FAMILIES, family
from rtl.plan.folding import Folding, by_reuse, computing, from_json, make_plan
from rtl.plan.folds import Fold, fold_for_reuse, fold_multipliers, legal_beats, products
from rtl.plan.lower import lower
from rtl.plan.search import by_budget
from rtl.plan.signed_digits import CHOICES, digit_counts, digits
from rtl.plan.timing import Source, Stage, Timing, timing


def relowered(graph: Graph) -> Graph:
    """The hardware layers as a graph of their own, for the simulator."""
    layers = [Node(h.name, "hard", h.program, h.return_sequences) for h in lower(graph)]
    return chain(graph.name, graph.shape, graph.input, tuple(layers))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_before"])
def test_lowering_changes_no_bit(cell, seed):
    graph = network(cell, seed=seed, flatten=seed % 2 == 0, tail=(5, 3))
    hard = relowered(graph)
    assert len(hard.nodes) == 3
    raw = random_raw(graph, 50, seed)
    assert np.array_equal(simulate(hard, raw, raw=True).raw, simulate(graph, raw, raw=True).raw)


def test_merged_layers_keep_their_names_for_tests():
    merged = lower(network("lstm", tail=(5,)))[1]
    assert merged.name == "dense0_relu0"
    assert merged.origin["wx"] == ("dense0", "wx")
    assert merged.origin["relu0_y"] == ("relu0", "y")


def test_sums_over_the_sequence_have_no_value_to_compare_each_step():
    merged = lower(network("lstm", flatten=True, tail=(5,)))[1]
    assert merged.steps == 4
    assert not merged.return_sequences
    # But for what it takes each step, a part of the flattened sequence.
    assert list(merged.origin.values()) == [("dense0", "x")]


def test_bidirectional_layers_are_refused():
    message = r"^layer 'lstm\.reversed' turns the order of the steps around; fxsim simulates it, but does not build"
    with pytest.raises(FxsimError, match=message):
        lower(network("lstm", backward=("gru", 3)))


@pytest.mark.parametrize("reuse", [1, 2, 3, 5, 7, 16, 48, 64])
def test_reuse_is_obeyed_with_the_fewest_multipliers(reuse):
    program = network("lstm", units=4, features=3).nodes[0].program
    fold = fold_for_reuse(program, reuse)
    assert fold.reuse <= reuse
    # Brute force over beats and cycles: nothing that is as quick is smaller.
    for beats in legal_beats(program):
        for cycles in range(1, reuse // beats + 1):
            assert fold_multipliers(program, fold) <= fold_multipliers(program, Fold(beats, cycles))


def test_the_most_reuse_is_one_multiplier_an_engine():
    program = network("lstm", units=4, features=3).nodes[0].program
    assert products(program) == 64
    fold = fold_for_reuse(program, 64)
    # One for the input, one for the recurrence, three of the unit that the lanes work on.
    assert fold_multipliers(program, fold) == 5


@pytest.mark.parametrize(
    ("reuse", "message"),
    [
        (0, r"^reuse must be an integer from 1 to 64 \(one multiplier\), not 0$"),
        (-3, r"not -3$"),
        (65, r"^reuse must be an integer from 1 to 64 \(one multiplier\), not 65$"),
        (1.5, r"not 1\.5$"),
        ({"nothing": 1}, r"^folding names layer 'nothing'; the hardware layers are lstm$"),
        ({"lstm": 0}, r"^reuse of layer 'lstm' must be an integer from 1 to 64, not 0$"),
    ],
)
def test_illegal_reuse_is_refused(reuse, message):
    with pytest.raises(FxsimError, match=message):
        by_reuse(network("lstm"), reuse)


def test_a_saturating_sum_names_its_least_reuse():
    with pytest.raises(FxsimError, match=r"^layer 'lstm': reuse must be at least 4, not 1: a saturating accumulator"):
        by_reuse(network("lstm", seed=1, wrap=False), 1)


def test_budget_of_multipliers():
    graph = network("lstm", tail=(6, 2))
    last = None
    for budget in (9, 20, 60, 300):
        plan = make_plan(graph, by_budget(graph, multipliers=budget))
        assert plan.multipliers <= budget
        assert last is None or plan.timing.latency <= last
        last = plan.timing.latency
    with pytest.raises(FxsimError, match=r"^multipliers must be at least \d+ \(one for each engine\), not 1$"):
        by_budget(graph, multipliers=1)


def test_budget_of_cycles():
    graph = network("gru", tail=(6, 2))
    fastest = make_plan(graph, by_reuse(graph, 1))
    for latency in (fastest.timing.latency, 2 * fastest.timing.latency):
        plan = make_plan(graph, by_budget(graph, latency=latency))
        assert plan.timing.latency <= latency
        assert plan.multipliers <= fastest.multipliers
    with pytest.raises(FxsimError, match=r"^latency must be at least \d+ cycles at 200 MHz, not 3$"):
        by_budget(graph, latency=3)


def test_budget_of_an_interval():
    graph = network("gru", tail=(6, 2))
    fastest = make_plan(graph, by_reuse(graph, 1))
    least = fastest.timing.interval
    last = None
    for interval in (least, least + 7, 2 * least, 5 * least):
        plan = make_plan(graph, by_budget(graph, interval=interval))
        assert plan.timing.interval <= interval
        assert last is None or plan.multipliers <= last
        last = plan.multipliers
    assert last is not None and last < fastest.multipliers
    with pytest.raises(FxsimError, match=rf"^interval must be at least {least} cycles at 200 MHz, not 3$"):
        by_budget(graph, interval=3)
    with pytest.raises(FxsimError, match=r"^give one of multipliers, dsp, lut, latency and interval$"):
        by_budget(graph, interval=300, latency=300)


@pytest.mark.parametrize("clock_mhz", [0, -5, float("nan"), 3000, "200", True])
def test_a_budget_at_an_impossible_clock_is_refused(clock_mhz):
    with pytest.raises(FxsimError, match=r"^clock must be from 1 to 2000 MHz, not"):
        by_budget(network("lstm"), latency=500, clock_mhz=clock_mhz)


def test_folding_files():
    graph = network("lstm", tail=(6,))
    folding = by_reuse(graph, 4)
    assert from_json(graph, json.dumps(folding.to_json())) == folding
    mixed = from_json(graph, '{"lstm": {"reuse": 8}}')
    assert mixed.folds["lstm"].reuse == 8
    assert mixed.folds["dense0_relu0"] == Fold(1, 1)


def test_a_folding_file_remembers_what_it_was_planned_for():
    graph = network("lstm", tail=(6,))
    folding = fxsim.plan(graph, reuse=4, clock_mhz=300, family="Kintex UltraScale+", interleave=2)
    data = json.loads(folding.to_file())
    assert (data["digest"], data["clock_mhz"], data["family"]) == (graph.digest, 300, "xcup")
    assert (data["interleave"], set(data["layers"])) == (2, {"lstm", "dense0_relu0"})
    read = from_json(graph, folding.to_file())
    assert (read, read.clock_mhz, read.family, read.digest) == (folding, 300, "xcup", graph.digest)
    plan = make_plan(graph, read)
    assert (plan.clock_mhz, plan.family.name, plan.source.ways) == (300, "xcup", 2)
    assert plan.timing == make_plan(graph, folding, 300.0, "kintexup").timing
    # What is known of it is not part of the folding in a manifest.
    assert set(folding.to_json()) == {"lstm", "dense0_relu0", "interleave"}
    # Without it, clock and family are anybody's.
    for name in ("digest", "clock_mhz", "family"):
        del data[name]
    assert make_plan(graph, from_json(graph, json.dumps(data)), 100, "xc7").clock_mhz == 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"clock_mhz": 250},
            r"^clock_mhz must be 300\.0, for which the folding was planned, not 250: leave it out or plan",
        ),
        (
            {"family_name": "xc7"},
            r"^family must be xcup, for which the folding was planned, not 'xc7': leave it out or plan",
        ),
    ],
)
def test_a_contradiction_to_the_folding_is_refused(options, message):
    graph = network("lstm", tail=(6,))
    folding = fxsim.plan(graph, reuse=4, clock_mhz=300.0, family="xcup")
    with pytest.raises(FxsimError, match=message):
        make_plan(graph, folding, **options)


def test_a_folding_of_another_graph_is_refused():
    graph, other = network("lstm", seed=0), network("lstm", seed=1)
    folding = fxsim.plan(graph, reuse=4)
    with pytest.raises(FxsimError, match=r"^the folding was planned for another graph \(digest [0-9a-f]{12}"):
        make_plan(other, folding)
    with pytest.raises(
        FxsimError, match=r"^f: was planned for another network or other formats \(digest [0-9a-f]{12}, not"
    ):
        from_json(other, folding.to_file(), "f")


def test_layers_may_have_the_names_of_fields():
    graph = network("lstm", tail=(6,))
    names = iter(("layers", "beat"))
    nodes = [replace(layer, name=next(names, layer.name)) for layer in graph.nodes]
    named = chain(graph.name, graph.shape, graph.input, nodes)
    folding = by_reuse(named, 4)
    assert "layers" in folding.folds
    assert from_json(named, json.dumps(folding.to_json())) == folding
    assert from_json(named, folding.to_file()) == folding


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"layers": {}, "clock_mhz": 0}', r"^folding: clock must be from 1 to 2000 MHz, not 0$"),
        ('{"layers": {}, "clock_mhz": "fast"}', r"^folding: clock must be from 1 to 2000 MHz, not 'fast'$"),
        ('{"layers": {}, "family": 7}', r"^folding: family must be one of xc7 \(artix7,.*, not 7$"),
        ('{"layers": {}, "digest": null}', r"^folding: was planned for another network or other formats \(digest None"),
        (
            '{"layers": {}, "colour": "red"}',
            r"^folding: must be \{\"layers\".*may stand digest, clock_mhz, fam",
        ),
        ('{"layers": {"lstm": 3}}', r"^folding names layer 'layers'; the hardware"),
        ("{", r"^folding: not JSON"),
        ("[]", r"^folding: must be"),
        ('{"x": {"reuse": 1}}', r"^folding names layer 'x'; the hardware layers are lstm$"),
        ('{"lstm": {"beats": 2}}', r"^folding: layer 'lstm' must have reuse, or beats and cycles, not \{'beats': 2\}$"),
        ('{"lstm": {"reuse": "2"}}', r"^reuse of layer 'lstm' must be an integer from 1 to 64, not '2'$"),
        ('{"lstm": {"beats": 3, "cycles": 1}}', r"^layer 'lstm': beats must be one of 1, 2, 4, not 3$"),
        ('{"lstm": {"beats": 4, "cycles": 0}}', r"^layer 'lstm': cycles must be an integer from 1 to 16777216, not 0$"),
        (
            '{"lstm": {"beats": 4, "cycles": 99999999999999999999}}',
            r"^layer 'lstm': cycles must be an integer from 1 to 16777216, not 9{20}$",
        ),
    ],
)
def test_bad_folding_files_are_refused(text, message):
    graph = network("lstm")
    with pytest.raises(FxsimError, match=message):
        make_plan(graph, from_json(graph, text))


def test_faster_clocks_and_slower_families_need_more_cycles():
    graph = network("lstm", tail=(6,))
    latency = [make_plan(graph, by_reuse(graph, 1), mhz).timing.latency for mhz in (50, 100, 200, 250)]
    assert latency == sorted(latency)
    assert latency[0] < latency[-1]
    plus = make_plan(graph, by_reuse(graph, 1), 200, "xcup").timing.latency
    assert plus < make_plan(graph, by_reuse(graph, 1), 200, "xc7").timing.latency
    assert set(FAMILIES) == {"xc7", "xcu", "xcup", "ecp5"}
    with pytest.raises(FxsimError, match=r"^family must be one of xc7 \(artix7.*, ecp5, not 'stratix'$"):
        family("stratix")


def test_timing_of_a_register_and_of_two_layers():
    register = Stage(1, 1, 2, True)
    assert timing([register], Source(1)) == Timing(1, 1, 1)
    # Twenty steps of six cycles, then one result every 120 cycles through a slow and a fast layer.
    cell, slow, fast = Stage(6, 7, 2, False), Stage(100, 103, 3, True), Stage(1, 4, 2, True)
    assert timing([cell, slow, fast], Source(20)) == Timing(19 * 6 + 7 + 103 + 4, 7 + 103 + 4, 120)
    # A layer behind that is slower than the cell sets the pace.
    assert timing([cell, Stage(150, 151, 2, True)], Source(20)).interval == 150


def test_a_buffer_that_is_too_short_slows_the_model_down():
    assert timing([Stage(1, 8, 10, True)], Source(1)).interval == 1
    assert timing([Stage(1, 8, 3, True)], Source(1)).interval == 3


def test_plans_name_unknown_layers():
    with pytest.raises(FxsimError, match=r"^folding names layer 'x'"):
        make_plan(network("lstm"), Folding({"x": Fold()}))


def test_every_computing_layer_has_a_fold():
    graph = network("lstm", tail=(6,))
    assert list(by_reuse(graph, 2).folds) == [layer.name for layer in computing(graph)]


def test_signed_digits():
    values = np.arange(-3000, 3001)
    for value, count in zip(values, digit_counts(values), strict=True):
        found = digits(int(value))
        assert sum(sign << shift for sign, shift in found) == value
        assert len(found) == count
        # Canonical: no two digits beside each other, hence none fewer.
        assert all(b - a > 1 for (_, a), (_, b) in pairwise(found))


def test_constants_of_few_digits_need_no_multiplier():
    program = network("lstm", units=4, features=3).nodes[0].program
    counts = np.concatenate([digit_counts(op.weights.data).ravel() for op in program.dots])
    for choice, most in CHOICES.items():
        assert fold_multipliers(program, Fold(1, 1, choice)) == (counts > most).sum() + 3 * 4
    with pytest.raises(FxsimError, match=r"^multiplier must be one of auto, dsp, lut, not 'ram'$"):
        fold_multipliers(program, Fold(1, 1, "ram"))
