# SPDX-License-Identifier: Apache-2.0
"""Golden vectors: what they hold, that they repeat, and that taps lie as the gateware gives them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from networks import network

from fxsim import FxsimError, simulate
from fxsim.golden import CORNERS, encode, golden, random_inputs
from fxsim.program import reference


def test_inputs_hold_the_corners() -> None:
    graph = network("lstm", steps=3, features=2)
    low, high = graph.input.min, graph.input.max
    raw = random_inputs(graph, 200)
    assert raw.shape == (200, 3, 2)
    assert raw.dtype == np.int64
    assert (raw[0] == 0).all()
    assert (raw[1] == low).all()
    assert (raw[2] == high).all()
    assert raw[3].tolist() == [[high, low], [low, high], [high, low]]
    assert raw.min() == low
    assert raw.max() == high
    # Every magnitude: some sequences are small throughout, some reach the ends.
    sizes = np.abs(raw[CORNERS:]).max(axis=(1, 2))
    assert (sizes <= 2).any()
    assert (sizes > high // 2).any()


def test_inputs_repeat() -> None:
    graph = network("gru")
    assert np.array_equal(random_inputs(graph, 9, seed=5), random_inputs(graph, 9, seed=5))
    assert not np.array_equal(random_inputs(graph, 9, seed=5), random_inputs(graph, 9, seed=6))
    assert len(random_inputs(graph, 2)) == 2


@pytest.mark.parametrize("sequences", [0, -1, True, 1.5, "3"])
def test_inputs_refuse(sequences: Any) -> None:
    with pytest.raises(FxsimError, match=r"^sequences must be a positive integer, not "):
        random_inputs(network("gru"), sequences)


@pytest.mark.parametrize("return_sequences", [False, True])
def test_outputs_are_the_reference(return_sequences: bool) -> None:
    graph = network("gru", steps=3, features=2, units=4, return_sequences=return_sequences)
    raw = random_inputs(graph, 6)
    arrays = golden(graph, raw)
    program = graph.nodes[0].program
    assert program is not None
    for sequence in range(6):
        trace, _ = reference.scan(program, raw[sequence].tolist(), reference.initial_state(program))
        expected = [step[program.output] for step in trace]
        assert arrays["outputs"][sequence].tolist() == (expected if return_sequences else expected[-1:])
    assert np.array_equal(arrays["inputs"], raw)
    assert str(arrays["digest"]) == graph.digest


def test_a_network_without_time_has_one_beat() -> None:
    whole = network("lstm", steps=3, features=2, flatten=True, tail=(5,))
    assert golden(whole, random_inputs(whole, 4))["outputs"].shape == (4, 1, 5)


def test_taps_are_in_the_order_of_beats() -> None:
    graph = network("lstm", steps=3, features=2, units=4)
    raw = random_inputs(graph, 5)
    run = simulate(graph, raw, raw=True, trace=["lstm.c"])
    arrays = golden(graph, raw, [{"layer": "lstm", "op": "c", "elements": 2, "beats_per_step": 2}])
    state = run.trace["lstm.c"]
    assert arrays["tap:lstm.c"].shape == (5, 6, 2)
    assert np.array_equal(arrays["tap:lstm.c"][:, 3], state[:, 1, 2:])


def test_files_repeat_and_hold_no_objects() -> None:
    graph = network("gru")
    data = encode(golden(graph, random_inputs(graph, 3)))
    assert data == encode(golden(graph, random_inputs(graph, 3)))
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        assert set(file.files) == {"inputs", "outputs", "digest"}
