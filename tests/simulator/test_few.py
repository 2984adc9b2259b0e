# SPDX-License-Identifier: Apache-2.0
"""A few sequences, whose elements are the lanes, against the same in a batch."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from networks import network

from fxsim.errors import FxsimError
from fxsim.program.fixed import Fixed
from fxsim.program.graph import Graph, Node, chain
from fxsim.program.ops import Cast, Input
from fxsim.program.program import Program
from fxsim.simulator import dispatch, dot_arithmetic, run
from fxsim.simulator.run import predict, simulate


def values(graph: Graph, sequences: int, seed: int = 0):
    """Inputs on and between the input's grid, beyond its ends, too."""
    rng = np.random.default_rng(seed)
    ends = 1.2 * graph.input.max * graph.input.lsb
    return rng.uniform(-ends, ends, (sequences, *graph.shape))


def in_a_batch(graph: Graph, x):
    """Outputs of sequences that each lie in a batch of others."""
    return simulate(graph, np.concatenate([x, values(graph, 70, seed=1)])).values[: len(x)]


@pytest.mark.parametrize(
    ("cell", "units"), [("lstm", 1), ("lstm", 33), ("gru", 17), ("gru_before", 4), ("simple_rnn", 5)]
)
def test_few_are_as_in_a_batch(cell, units):
    """Units below, above and at no multiple of the lanes."""
    graph = network(cell, seed=units, units=units, features=3, tail=(5, 2))
    for count in (1, dispatch.Few.MOST, dispatch.Few.MOST + 1, 20):
        x = values(graph, count)
        expected = in_a_batch(graph, x)
        assert np.array_equal(predict(graph, x, warn=False), expected)
        assert np.array_equal(simulate(graph, x, overflows=False).values, expected)


def test_a_product_of_the_wrong_elements_is_caught(monkeypatch):
    right = dot_arithmetic.emit_single

    def mistaken(code, product, cut, places):
        right(code, product, cut, (code.address(places[0], 2), *places[1:]))

    monkeypatch.setattr(dot_arithmetic, "emit_single", mistaken)
    with pytest.raises(AssertionError):
        test_few_are_as_in_a_batch("lstm", 4)


def test_threads_share_nothing():
    graph = network("lstm", seed=5)
    x = values(graph, 64)
    expected = in_a_batch(graph, x)
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda k: predict(graph, x[k % 64][None], warn=False), range(512)))
    assert np.array_equal(np.concatenate(got).reshape(8, 64, -1), np.stack([expected.reshape(64, -1)] * 8))


def test_results_are_not_overwritten_by_the_next_call():
    graph = network("gru", seed=2)
    x = values(graph, 2)
    first = predict(graph, x[:1])
    kept = first.copy()
    predict(graph, x[1:])
    assert np.array_equal(first, kept)


def test_bad_inputs_are_refused_as_in_a_batch():
    graph = network("lstm", seed=1)
    x = values(graph, 2)
    x[1, 0, 0] = np.nan
    with pytest.raises(FxsimError, match="nan"):
        predict(graph, x, warn=False)
    with pytest.raises(FxsimError, match="input must have shape"):
        predict(graph, x[:, :-1])
    with pytest.raises(FxsimError, match="threads must be a positive integer"):
        predict(graph, values(graph, 1), threads=0)
    assert predict(graph, x[:0]).shape == (0, *graph.output_shape)


def test_numbers_that_are_not_plain():
    """Values whose cast float64 does not compute, and outputs that float64 rounds."""
    graph = network("lstm", seed=1)
    x = values(graph, 1)
    x[0, 0, 0] = 1e300
    x[0, 1, 0] = 5e-324
    assert np.array_equal(predict(graph, x, warn=False), in_a_batch(graph, x))
    wide = Fixed(60, 0)
    program = Program((Input(name="x", type=wide, elements=1), Cast(name="y", type=wide, arg="x")), "y")
    graph = chain("wide", (1, 1), wide, (Node("layer", "cast", program),))
    assert dispatch.few(graph) is None
    x = np.array([[[2.0**58]]])
    assert np.array_equal(predict(graph, x, warn=False), x)


def test_a_batch_is_cut_without_empty_lanes():
    graph = network("lstm", seed=1)
    lanes = run.host().lanes
    wanted = run.Wanted()
    for batch in (1, lanes // 2, lanes, lanes + 1, 5 * lanes + 3, 100, 1000, 5000):
        cuts = run._cuts(graph, batch, wanted, 2)
        assert [cut.start for cut in cuts] == [0, *(cut.stop for cut in cuts)][:-1] and cuts[-1].stop == batch
        computed = sum(-(-(cut.stop - cut.start) // cut.width) * cut.width for cut in cuts)
        assert computed - batch < max(lanes // 2, batch // 8)
