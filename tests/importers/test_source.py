# SPDX-License-Identifier: Apache-2.0
"""The layers of a float network: the shapes that they give, what does not fit them, and when two are equal."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sources import activation, dense, recurrent

from fxsim.errors import FxsimError
from fxsim.importers.source import (
    Bidirectional,
    Dense,
    Flatten,
    Function,
    Reshape,
    Source,
    SourceLayer,
    reshaped,
    result,
)


def cell(kind: str, features: int = 3, units: int = 2, **settings: Any) -> Any:
    wide = {"lstm": 4, "gru": 3, "simple_rnn": 1}[kind] * units
    weights = {"kernel": np.ones((features, wide)), "recurrent_kernel": np.ones((units, wide)), "bias": np.ones(wide)}
    return recurrent(kind, "rnn", weights, **settings)


def both(merge: str, units: tuple[int, int] = (2, 2), sequences: bool = False) -> Bidirectional:
    forward, backward = (cell("lstm", units=size, return_sequences=sequences) for size in units)
    return Bidirectional("bi", merge_mode=merge, forward=forward, backward=backward)


DENSE = dense("d", {"kernel": np.ones((3, 5)), "bias": np.ones(5)})


@pytest.mark.parametrize(
    ("layer", "shape", "want"),
    [
        *((cell(kind), (4, 3), (2,)) for kind in ("lstm", "gru", "simple_rnn")),
        *((cell(kind, return_sequences=True), (4, 3), (4, 2)) for kind in ("lstm", "gru", "simple_rnn")),
        (both("concat", (2, 5)), (4, 3), (7,)),
        (both("concat", (2, 5), True), (4, 3), (4, 7)),
        (both("mul"), (4, 3), (2,)),
        (both("sum", sequences=True), (4, 3), (4, 2)),
        (DENSE, (4, 3), (4, 5)),
        (DENSE, (3,), (5,)),
        (activation("a", "softmax"), (4, 3), (4, 3)),
        (Flatten("f"), (4, 3), (12,)),
        (Flatten("f"), (3,), (3,)),
        (Reshape("r", 4), (12,), (4, 3)),
    ],
)
def test_shapes(layer: SourceLayer, shape: tuple[int, ...], want: tuple[int, ...]) -> None:
    assert layer.result(shape) == want


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (cell("gru"), (3,), "layer 'rnn' is recurrent and takes (steps, features), not (3,)"),
        (both("sum"), (3,), "layer 'rnn' is recurrent and takes (steps, features), not (3,)"),
        (cell("lstm"), (4, 5), "layer 'rnn' takes 3 elements a step, its input has 5"),
        (both("concat"), (4, 5), "layer 'rnn' takes 3 elements a step, its input has 5"),
        (DENSE, (4,), "layer 'd' takes 3 elements a step, its input has 4"),
        (Reshape("r", 5), (12,), "layer 'r': steps must divide a vector of 12, not 5"),
        (Reshape("r", 4), (4, 3), "layer 'r': steps must divide a vector of 12, not 4"),
    ],
)
def test_shapes_that_do_not_fit(layer: SourceLayer, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(FxsimError, match=f"^{re.escape(message)}$"):
        layer.result(shape)


def test_shapes_in_a_row() -> None:
    layers = (Reshape("r", 4), cell("lstm", return_sequences=True), Flatten("f"))
    source = Source.row("net", "x", (12,), layers)
    assert source.layers == layers and source.edges == (("x",), ("r",), ("rnn",))
    assert dict(source.shapes) == {"x": (12,), "r": (4, 3), "rnn": (4, 2), "f": (8,)}
    assert result(layers, source.shape) == (8,)


@pytest.mark.parametrize("shape", [(12,), (4, 3), (2, 6)])
@pytest.mark.parametrize("target", [(12,), (4, 3), (3, 4)])
def test_values_that_stay_in_their_order(shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    layers = reshaped("r", shape, target)
    assert result(layers, shape) == target
    assert [layer.name for layer in layers] == ["r", "r_steps"][: len(layers)]


def test_layers_are_equal_if_all_of_them_is() -> None:
    one = cell("gru")
    assert one == cell("gru") and one != cell("lstm")
    changed = [
        replace(one, units=3),
        replace(one, activation=Function("relu")),
        replace(one, reset_after=False),
        replace(one, origin="GRU"),
        replace(one, wrapper="td"),
        replace(one, weights={**one.weights, "kernel": 2 * one.weights["kernel"]}),
        replace(one, weights={}),
    ]
    assert all(other != one for other in changed)
    assert one == replace(changed[0], units=2)
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_layers_say_what_they_are() -> None:
    want = "SourceLayer 'rnn': gru; kernel (3, 6), recurrent_kernel (2, 6), bias (6,)"
    assert repr(cell("gru")) == want
    assert repr(Flatten("f")) == "SourceLayer 'f': flatten"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense("d", units=0, use_bias=True), "layer 'd': option 'units' must be a positive integer, not 0"),
        (lambda: Dense("d", units=2, use_bias=1), "layer 'd': option 'use_bias' must be True or False, not 1"),
        (lambda: Reshape("r", 0), "layer 'r': option 'steps' must be a positive integer, not 0"),
        (
            lambda: both("sum", (2, 3)),
            "layer 'bi': merge_mode 'sum' takes directions of equal units, not 2 and 3; 'concat' takes any",
        ),
    ],
)
def test_settings_that_are_not_legal(make: Any, message: str) -> None:
    with pytest.raises(FxsimError, match=f"^{re.escape(message)}$"):
        make()
