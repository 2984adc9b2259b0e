# SPDX-License-Identifier: Apache-2.0
"""Layers of several tensors, BatchNormalization, Repeat and Reverse: presets against float and reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graphs import by_reference

import fxsim
from fxsim.errors import FxsimError
from fxsim.importers.source import (
    FUNCTIONS,
    GRU,
    Activation,
    BatchNormalization,
    Bidirectional,
    Dense,
    Door,
    Function,
    Idle,
    Merge,
    Repeat,
    Reverse,
    Source,
    SourceLayer,
)
from fxsim.program.fixed import Fixed
from fxsim.quantization.batch_norm import folded
from fxsim.quantization.hls4ml import merged
from fxsim.simulator.run import quantize_inputs, simulate

RNG = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.6, shape)


def gru(name: str, inputs: int, units: int, *sources: str, **options: object) -> GRU:
    weights = {"kernel": normal(inputs, 3 * units), "recurrent_kernel": normal(units, 3 * units)}
    weights |= {"bias": normal(3 * units), "recurrent_bias": normal(3 * units)}
    settings = {"activation": Function("tanh"), "recurrent_activation": Function("sigmoid"), "reset_after": True}
    settings |= {"return_sequences": False, "use_bias": True, **options}
    return GRU(name, units=units, weights=weights, sources=sources, **settings)  # type: ignore[arg-type]


def dense(name: str, inputs: int, units: int, *sources: str) -> Dense:
    weights = {"kernel": normal(inputs, units), "bias": normal(units)}
    return Dense(name, units=units, use_bias=True, weights=weights, sources=sources)


def statistics(name: str, size: int, *sources: str) -> BatchNormalization:
    weights = {"gamma": normal(size), "beta": normal(size), "mean": normal(size), "variance": normal(size) ** 2 + 0.2}
    return BatchNormalization(name, epsilon=0.001, weights=weights, sources=sources)


def inputs(source: Source, batch: int = 20) -> dict[str, np.ndarray]:
    return {door.name: np.clip(normal(batch, *door.shape) * 2, -7, 7) for door in source.inputs}


def holds(source: Source, preset: str = "exact", precision: str = "ap_fixed<26,8>", error: float = 1e-3) -> None:
    """Kernels equal the reference in every op, and the float network but for so much."""
    graph = fxsim.quantize(source, precision=precision, preset=preset)
    x = inputs(source)
    raw = quantize_inputs(graph, x)
    raw = raw if isinstance(raw, dict) else {graph.inputs[0].name: raw}
    run = simulate(graph, raw, raw=True, trace=True)
    want, traces, _ = by_reference(graph, raw)
    found = run.raw if isinstance(run.raw, dict) else {graph.outputs[0]: run.raw}
    values = run.values if isinstance(run.values, dict) else {graph.outputs[0]: run.values}
    assert {name: one.tolist() for name, one in found.items()} == want
    assert all(run.trace[name].tolist() == one for name, one in traces.items())
    floats = fxsim.predict_float(source, x)
    floats = floats if isinstance(floats, dict) else {graph.outputs[0]: floats}
    for (name, got), one in zip(values.items(), floats.values(), strict=True):
        assert np.abs(one).max() > 0.05
        assert np.abs(got - one).max() < error, name


def two(*layers: SourceLayer, outputs: tuple[str, ...] = ("out",)) -> Source:
    """A sequence and a vector; a GRU of the one, a Dense of the other, and what follows."""
    first = (gru("a", 3, 4, "x"), dense("b", 2, 4, "y"))
    return Source("net", (Door("x", (5, 3)), Door("y", (2,))), (*first, *layers), outputs)


@pytest.mark.parametrize("preset", ["exact", "hls4ml"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_two_tensors(function: str, preset: str) -> None:
    width = 8 if function == "concatenate" else 4
    # hls4ml's tables have steps of 1/64 and values of 10 bits.
    holds(two(Merge("m", function, sources=("a", "b")), dense("out", width, 2, "m")), preset, error={"exact": 1e-3}.get(
        preset, 0.15))  # fmt: skip


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if name != "subtract"])
@pytest.mark.parametrize("precision", ["ap_fixed<26,8>", "ap_fixed<32,9>"])
def test_three_tensors_that_are_the_output(function: str, precision: str) -> None:
    more = Activation("c", Function("relu"), sources=("b",))
    holds(two(more, Merge("out", function, sources=("a", "c", "b"))), precision=precision, error=2e-3)
    with pytest.raises(FxsimError, match=r"^layer 'out': hls4ml merges 2 tensors, not 3$"):
        fxsim.quantize(two(more, Merge("out", function, sources=("a", "c", "b"))), preset="hls4ml")


@pytest.mark.parametrize(
    "precision", ["ap_fixed<8,4>", "ap_fixed<12,5>", "ap_fixed<10,2,AP_TRN,AP_WRAP>", "ap_fixed<18,6>"]
)
@pytest.mark.parametrize("preset", ["exact", "hls4ml"])
def test_any_format(preset: str, precision: str) -> None:
    layers = [Merge("m", "multiply", sources=("a", "b")), Merge("n", "average", sources=("m", "a"))]
    layers += [statistics("s", 4, "n"), Merge("c", "concatenate", sources=("s", "b"))]  # type: ignore[list-item]
    holds(two(*layers, dense("out", 8, 2, "c"), outputs=("out", "m")), preset, precision, error=100.0)


@pytest.mark.parametrize("preset", ["exact", "hls4ml"])
def test_vectors_at_every_step_and_steps_backwards(preset: str) -> None:
    layers = (Repeat("again", 4, sources=("b",)), gru("d", 4, 3, "again", return_sequences=True),
              Reverse("back", sources=("d",)), dense("out", 3, 2, "back"))  # fmt: skip
    source = two(*layers, outputs=("a", "out"))
    holds(source, preset, error={"exact": 1e-3}.get(preset, 0.15))
    found = fxsim.predict_float(source, inputs(source))
    assert found["out"].shape == (20, 4, 2)


# --- BatchNormalization


def row(*layers: SourceLayer) -> Source:
    return Source.row("net", "x", (5, 3), layers)


BOTH = Bidirectional(
    "both", merge_mode="concat", forward=gru("forward_r", 3, 2), backward=gru("backward_r", 3, 3, use_bias=True)
)


@pytest.mark.parametrize(
    ("source", "left"),
    [
        (row(statistics("s", 3), gru("r", 3, 4), dense("d", 4, 2)), 2),
        (row(gru("r", 3, 4), dense("d", 4, 2), statistics("s", 2)), 2),
        (row(statistics("s", 3), BOTH, Idle("drop"), statistics("t", 5), dense("d", 5, 2)), 2),
        (row(dense("c", 3, 3), statistics("s", 3), statistics("t", 3), gru("r", 3, 2), dense("d", 2, 2)), 3),
        # Neither beside weights.
        (row(gru("r", 3, 4), statistics("s", 4), Activation("t", Function("tanh")), dense("d", 4, 2)), 4),
    ],
)
def test_folding(source: Source, left: int) -> None:
    less = folded(source.active)
    assert len(less.layers) == left
    x = inputs(source)
    # Both in float64, on values near 1.
    assert np.abs(fxsim.predict_float(less, x) - fxsim.predict_float(source, x)).max() < 1e-13
    graph = fxsim.quantize(source, precision="ap_fixed<24,7>")
    assert [node.kind == "batch_normalization" for node in graph.nodes].count(True) == (left == 4)
    holds(source)


def test_what_is_not_folded() -> None:
    """A layer with a precision of its own; a tensor that something else reads, or that is an output."""
    source = row(gru("r", 3, 4), dense("d", 4, 2), statistics("s", 2))
    graph = fxsim.quantize(source, layers={"s": "ap_fixed<12,5>"})
    assert [node.name for node in graph.nodes] == ["r", "d", "s"]
    assert graph.output.plain == Fixed(12, 7)
    watched = replace(source, outputs=("s", "d"))
    assert folded(watched) is watched
    layers = (*source.layers, Merge("sum", "add", sources=("d", "s")))
    assert len(folded(replace(source, layers=layers, outputs=("sum",))).layers) == 4
    holds(watched)


def test_a_chain_with_one_is_built() -> None:
    source = row(gru("r", 3, 4), statistics("s", 4), Activation("t", Function("tanh")), dense("d", 4, 2))
    assert fxsim.plan(fxsim.quantize(source), reuse=1)


# --- Refusals, and formats of hls4ml


def test_what_does_not_fit() -> None:
    for layer, message in (
        (
            Merge("m", "add", sources=("a", "x")),
            r"^layer 'm' takes tensors that fit each other, not of \(4,\) and \(5, 3",
        ),
        (Merge("m", "subtract", sources=("a", "b", "a")), r"^layer 'm' takes 2 tensors, not 3$"),
        (Merge("m", "concatenate", sources=("a",)), r"^layer 'm' takes at least 2 tensors, not 1$"),
        (Repeat("m", 3, sources=("x",)), r"^layer 'm' takes a vector, not \(5, 3\)$"),
        (Reverse("m", sources=("a",)), r"^layer 'm' takes \(steps, features\), not \(4,\)$"),
        (statistics("m", 3, "a"), r"^layer 'm' takes 3 elements a step, its input has 4$"),
        (Reverse("m", sources=("x", "x")), r"^layer 'm' takes 1 tensor, not 2$"),
        (Reverse("m", sources=("z",)), r"^layer 'm' reads 'z', which is no input and no layer before it$"),
    ):
        with pytest.raises(FxsimError, match=message):
            two(layer, outputs=("m",))
    with pytest.raises(FxsimError, match=r"^layer 'm': function must be one of add, subtract, .*, not 'dot'$"):
        Merge("m", "dot")
    source = two(Merge("m", "maximum", sources=("a", "b")), outputs=("m",))
    with pytest.raises(FxsimError, match=r"^layer 'm': a maximum of hls4ml takes tensors of one format, not "):
        fxsim.quantize(source, preset="hls4ml", layers={"a": "ap_fixed<9,3>"})


@pytest.mark.parametrize(
    ("function", "want"),
    [
        ("add", Fixed(13, 7)), ("average", Fixed(13, 7)), ("subtract", Fixed(13, 7)), ("multiply", Fixed(18, 10)),
        ("maximum", Fixed(12, 7)), ("concatenate", Fixed(12, 7)),
    ],
)  # fmt: skip
def test_formats_of_hls4ml(function: str, want: Fixed) -> None:
    """Two integer bits more for a sum of an unsigned and a signed tensor, one less for either of them."""
    assert merged(function, Fixed(8, 3), Fixed(10, 7, False), None) == want
    assert merged(function, Fixed(8, 3), Fixed(8, 3), None).frac == (6 if function == "multiply" else 3)


def test_profiles_follow() -> None:
    """Branches, several inputs, and a float network in which what the graph has folded is folded, too."""
    source = two(statistics("s", 4, "b"), Merge("m", "add", sources=("a", "s")), dense("out", 4, 2, "m"))
    graph = fxsim.quantize(source, precision="ap_fixed<26,8>")
    assert "s" not in graph.by_name
    found = fxsim.profile(graph, inputs(source), source)
    assert [row.layer for row in found.layers] == ["a", "b", "m", "out"]
    assert max(row.largest_error for row in found.layers) < 1e-3
    rows = {row.tensor: row for row in found.tensors}
    assert rows["m.x1"].largest_error is not None and rows["b.wx"].largest_error < 1e-3
    with pytest.raises(FxsimError, match=r"^a scan needs a network of one input, not of 2: 'x', 'y'$"):
        fxsim.scan(source, inputs(source)["x"], None, [8])


def test_a_dense_layer_without_a_bias_takes_a_shift_for_one():
    kernel = np.array([[0.5, -0.25], [1.0, 0.75]])
    values = {"gamma": [1.0, 2.0], "beta": [0.5, -1.0], "mean": [0.25, 0.5], "variance": [1.0, 4.0]}
    norm = BatchNormalization("b", epsilon=0.0, weights={key: np.array(one) for key, one in values.items()})
    dense = Dense("d", units=2, use_bias=False, weights={"kernel": kernel})
    (found,) = folded(Source.row("n", "x", (2,), (dense, norm))).layers
    assert found.weights["kernel"].tolist() == (kernel * [1.0, 1.0]).tolist()
    assert found.weights["bias"].tolist() == [0.25, -1.5]


@pytest.mark.parametrize("key", ["gamma", "beta", "mean", "variance"])
def test_a_scale_without_a_weight_is_refused(key):
    weights = {name: np.ones(2) for name in ("gamma", "beta", "mean", "variance") if name != key}
    source = Source.row("n", "x", (2,), (BatchNormalization("b", epsilon=1e-3, weights=weights),))
    legal = r"\(features,\)" if key == "mean" else r"\(2,\)"
    with pytest.raises(FxsimError, match=rf"^layer 'b': weight '{key}' must have shape {legal}, not none$"):
        fxsim.quantize(source, precision="ap_fixed<16,6>")


@pytest.mark.parametrize("key", ["gamma", "beta", "variance"])
def test_a_scale_with_a_weight_of_another_size_is_refused(key):
    weights = {name: np.ones(2) for name in ("gamma", "beta", "mean", "variance")} | {key: np.ones(1)}
    source = Source.row("n", "x", (2,), (BatchNormalization("b", epsilon=1e-3, weights=weights),))
    with pytest.raises(FxsimError, match=rf"^layer 'b': weight '{key}' must have shape \(2,\), not \(1,\)$"):
        fxsim.quantize(source, precision="ap_fixed<16,6>")
