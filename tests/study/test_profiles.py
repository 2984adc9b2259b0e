# SPDX-License-Identifier: Apache-2.0
"""Profiles: every number against a run by hand, and formats that are enough but not more than enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from networks import network
from sources import activation, dense, recurrent

import fxsim
from fxsim.demo.run import DATA, MODEL
from fxsim.errors import FxsimError
from fxsim.importers.source import Bidirectional, Dense, Recurrent, Source
from fxsim.program.fixed import Fixed, Overflow, smallest
from fxsim.program.ops import Dot
from fxsim.program.ranges import bounds
from fxsim.study import profiles
from fxsim.study.floating import predict as predict_float
from fxsim.study.floating import trace
from fxsim.study.profiles import Profile, profile
from fxsim.study.statistics import Difference, Kept, Spread

SOURCE = fxsim.read_source(MODEL)
X = np.load(DATA)["x"][:40].astype(np.float64)


def cell(kind: str, features: int, units: int, sequences: bool, seed: int, **options: Any) -> Recurrent:
    rng = np.random.default_rng(seed)
    gates = {"lstm": 4, "gru": 3, "simple_rnn": 1}[kind]
    weights = {
        "kernel": rng.normal(size=(features, gates * units)),
        "recurrent_kernel": rng.normal(size=(units, gates * units)) / 2,
        "bias": rng.normal(size=gates * units),
    }
    if kind == "gru":
        weights["recurrent_bias"] = rng.normal(size=gates * units)
    return recurrent(kind, kind, weights, return_sequences=sequences, **options)


def network_of(kind: str, mode: str | None) -> Source:
    """A recurrent layer (or two directions of it), another one, Dense over what comes, relu, Dense, softmax."""
    rng = np.random.default_rng(9)
    options = {"reset_after": not kind.endswith("before")} if kind.startswith("gru") else {}
    first = cell(kind.removesuffix("_before"), 3, 4, True, 1, **options)
    units = 4
    if mode:
        second = cell(kind.removesuffix("_before"), 3, 7 if mode == "concat" else 4, True, 2, **options)
        first = Bidirectional("both", merge_mode=mode, forward=first, backward=second)
        units = 11 if mode == "concat" else 4
    second = replace(cell(kind.removesuffix("_before"), units, 5, False, 3, **options), name="second")

    def linear(name: str, inputs: int, outputs: int) -> Dense:
        return dense(name, {"kernel": rng.normal(size=(inputs, outputs)), "bias": rng.normal(size=outputs)})

    tail = linear("d", 5, 6), activation("relu", "relu"), linear("e", 6, 3), activation("softmax", "softmax")
    layers = (first, second, *tail)
    return Source.row("net", "x", (6, 3), layers)


CELLS = ("lstm", "gru", "gru_before", "simple_rnn")


class TestFloats:
    @pytest.mark.parametrize(
        ("kind", "mode", "preset"),
        [
            *((kind, mode, "exact") for kind in CELLS for mode in (None, "concat")),
            *((kind, mode, "hls4ml") for kind, mode in zip(CELLS, ("sum", "ave", "mul", None), strict=True)),
        ],
    )
    def test_inner_values_are_those_of_the_fixed_network(self, kind: str, mode: str | None, preset: str) -> None:
        source = network_of(kind, mode)
        graph = fxsim.quantize(source, precision="ap_fixed<28,8,RND,SAT>", preset=preset)
        found = profile(graph, np.random.default_rng(5).normal(size=(50, 6, 3)), source)
        softmax = [row for row in found.tensors if row.tensor.startswith("softmax.")]
        known = {"constant", "concat"}
        for row in found.tensors:
            if row in softmax and row.tensor.rpartition(".")[2] not in ("x", "y"):
                assert row.correlation is None  # a softmax is computed in other ways
            elif row.tensor.endswith(("_value", "_slope", "_rest", "_rise", "_line")):
                assert row.correlation is None  # parts of an interpolated table
            elif row.kind not in known and not row.tensor.endswith(("_short", "_table", ".both")):
                # hls4ml's tables of softmax are coarse.
                assert row.correlation is not None and row.correlation > (0.98 if row in softmax else 0.995), row
                assert row.largest_error is not None and row.rms_error is not None
                assert row.rms_error < 0.06 * max(1.0, abs(row.seen_low), abs(row.seen_high)), row
        assert all(row.correlation is not None and row.correlation > 0.98 for row in found.layers)
        assert [row.layer for row in found.layers] == [layer.name for layer in source.layers]

    @pytest.mark.parametrize("kind", CELLS)
    def test_a_trace_ends_in_the_outputs(self, kind: str) -> None:
        source, x = network_of(kind, "concat"), np.random.default_rng(5).normal(size=(4, 6, 3))
        values = trace(source, x)
        assert np.array_equal(values["softmax.y"][:, 0], predict_float(source, x))
        first = predict_float(Source.row(source.name, source.input_name, source.shape, source.layers[:1]), x)
        # The backward direction takes the steps from the last one on.
        sides = [values["both.forward.h"], values["both.backward.h"][:, ::-1]]
        assert np.array_equal(np.concatenate(sides, axis=-1), first)
        assert np.array_equal(values["second.h_old"][:, 1:], values["second.h"][:, :-1])
        assert not values["second.h_old"][:, 0].any()


@pytest.fixture(scope="module")
def found() -> Profile:
    return profile(fxsim.load(MODEL, precision="ap_fixed<9,3>", preset="hls4ml"), X, SOURCE)


class TestNumbers:
    def test_by_hand(self, found: Profile) -> None:
        graph = fxsim.load(MODEL, precision="ap_fixed<9,3>", preset="hls4ml")
        run, floats = fxsim.simulate(graph, X, trace=True), trace(SOURCE, X)
        assert found.sequences == 40
        assert {row.tensor for row in found.tensors} == set(run.trace)
        assert sum(bool(row.overflows) for row in found.tensors) > 3
        for row in found.tensors:
            type, raw = Fixed.parse(row.format), run.trace[row.tensor]
            values = raw * type.lsb
            assert row.elements == raw.shape[2]
            assert (row.format_low, row.format_high) == (type.min * type.lsb, type.max * type.lsb)
            assert (row.seen_low, row.seen_high) == (values.min(), values.max())
            assert row.overflows == run.overflows.get("input" if row.tensor == "lstm.x" else row.tensor)
            if row.tensor in floats:
                want = floats[row.tensor]
                assert (row.float_low, row.float_high) == (want.min(), want.max())
                assert row.largest_error == np.abs(values - want).max()
                assert row.rms_error == pytest.approx(np.sqrt(np.mean((values - want) ** 2)), rel=1e-12)
                assert row.correlation == pytest.approx(np.corrcoef(values.ravel(), want.ravel())[0, 1], rel=1e-9)

    def test_chunks_do_not_show(self, found: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(profiles, "_CHUNK", 7)
        seen: list[tuple[int, int]] = []
        graph = fxsim.load(MODEL, precision="ap_fixed<9,3>", preset="hls4ml")
        other = profile(graph, X, SOURCE, lambda *at: seen.append(at))
        assert seen == [(done, 40) for done in (7, 14, 21, 28, 35, 40)]
        assert other.boxes == found.boxes
        for one, two in zip(other.tensors, found.tensors, strict=True):
            if one.rms_error is not None:
                for name in ("rms_error", "correlation"):
                    assert getattr(one, name) == pytest.approx(getattr(two, name), rel=1e-9)
            assert replace(one, rms_error=0, correlation=0) == replace(two, rms_error=0, correlation=0)

    def test_layers(self, found: Profile) -> None:
        graph = fxsim.load(MODEL, precision="ap_fixed<9,3>", preset="hls4ml")
        got, want = graph.predict(X), predict_float(SOURCE, X)
        last = found.layers[-1]
        assert (last.float_low, last.fixed_high) == (want.min(), got.max())
        assert last.largest_error == np.abs(got - want).max()
        assert last.correlation == pytest.approx(np.corrcoef(got.ravel(), want.ravel())[0, 1], rel=1e-9)

    def test_weights(self, found: Profile) -> None:
        graph = fxsim.load(MODEL, precision="ap_fixed<9,3>", preset="hls4ml")
        program = graph.nodes[0].program
        assert program is not None
        uh = program["uh"]
        assert isinstance(uh, Dot)
        rows = {row.tensor: row for row in found.weights}
        assert list(rows) == [
            f"{op}.{part}" for op in ("lstm.wx", "lstm.uh", "dense.wx") for part in ("weights", "bias")
        ]
        row, real = rows["lstm.uh.weights"], SOURCE.layers[0].weights["recurrent_kernel"]
        values = uh.weights.data * uh.weights.type.lsb
        assert (row.seen_low, row.seen_high) == (values.min(), values.max())
        assert (row.float_low, row.float_high) == (real.min(), real.max())
        assert (row.elements, row.largest_error) == (real.size, np.abs(values - real).max())
        assert row.zeros == ((values == 0) & (real != 0)).sum() > 0
        assert row.outside == 0
        box = found.boxes["lstm.uh.weights"]
        assert box is not None
        sizes = np.abs(real)
        assert (box.least, box.largest) == (sizes.min(), sizes.max())
        quartiles = np.quantile(sizes, [0.25, 0.5, 0.75])
        assert [box.lower, box.median, box.upper] == pytest.approx(quartiles.tolist(), rel=0.05)

    def test_weights_outside_of_the_format(self) -> None:
        graph = fxsim.load(MODEL, precision="ap_fixed<9,0,RND,SAT>", preset="hls4ml")
        real = SOURCE.layers[0].weights["recurrent_kernel"]
        row = {row.tensor: row for row in profile(graph, X, SOURCE).weights}["lstm.uh.weights"]
        step = 2.0**-9
        assert row.outside == ((real >= 0.5) | (real <= -0.5 - step)).sum() > 10
        assert row.enough == "ap_fixed<9,0>"

    @pytest.mark.parametrize("kind", CELLS)
    @pytest.mark.parametrize("preset", ["exact", "hls4ml"])
    def test_all_weights_have_their_floats(self, kind: str, preset: str) -> None:
        source = network_of(kind, "sum")
        graph = fxsim.quantize(source, precision="ap_fixed<24,8>", preset=preset)
        found = profile(graph, np.zeros((2, 6, 3)), source)
        assert len(found.weights) >= 10
        for row in found.weights:
            if row.largest_error is None:  # biases of products whose layers have none
                assert (row.seen_low, row.seen_high) == (0, 0) and row.tensor.endswith("uh.bias")
            else:
                assert row.largest_error < 2.0**-14 and row.outside == 0

    def test_a_saved_graph(self) -> None:
        found = profile(fxsim.load(MODEL, precision="ap_fixed<9,3>"), X)
        assert found.layers == ()
        assert {row.correlation for row in found.tensors} == {None} == {row.float_low for row in found.tensors}
        assert {row.largest_error for row in found.weights} == {None}
        assert found.boxes["lstm.h"] is not None

    def test_refuses(self) -> None:
        for x in (X[:0], np.float64(3)):
            with pytest.raises(FxsimError, match=r"^profile needs at least one sequence$"):
                profile(fxsim.load(MODEL), x)


class TestEnough:
    """The suggested format holds what was seen, and neither end of it can be a bit shorter."""

    @pytest.mark.parametrize("seed", range(6))
    def test_holds_every_value_and_no_smaller_one_does(self, seed: int) -> None:
        graph = network("gru" if seed % 2 else "lstm", seed=seed, tail=(3,))
        x = np.random.default_rng(seed).normal(size=(30, 4, 3))
        run = fxsim.simulate(graph, x, trace=True)
        rows = [row for row in profile(graph, x).tensors if row.enough]
        assert len(rows) > 8
        for row in rows:
            type, raw = Fixed.parse(row.format), run.trace[row.tensor]
            values = raw * type.lsb
            enough = Fixed.parse(row.enough)
            assert np.array_equal(into(values, enough), values)
            if enough.width > 1 and raw.any():
                for less in (
                    replace(enough, width=enough.width - 1),
                    replace(enough, width=enough.width - 1, frac=enough.frac - 1),
                ):
                    assert not np.array_equal(into(values, less), values), (row.tensor, less)

    def test_after_an_overflow_float_says_how_large(self) -> None:
        # Two integer bits wrap what three hold; the format that is enough has room for what float has.
        graph = fxsim.load(MODEL, precision="ap_fixed<12,2>", preset="hls4ml")
        rows = {row.tensor: row for row in profile(graph, X, SOURCE).tensors}
        row = rows["lstm.sum_g"]
        assert row.overflows
        enough = Fixed.parse(row.enough)
        assert enough.integer > 2
        step = Fixed.parse(row.format).lsb
        assert enough.min * enough.lsb - step < row.float_low < row.float_high < enough.max * enough.lsb + step
        # What comes after it did not overflow itself, and is too small all the same.
        later = rows["dense_softmax.x"]
        assert not later.overflows and later.seen_high < 2 < 8 < later.float_high
        assert Fixed.parse(later.enough).integer == 5
        alone = {row.tensor: row for row in profile(graph, X).tensors}["lstm.sum_g"]
        assert alone.overflows and alone.enough == ""

    def test_proven(self) -> None:
        graph = fxsim.load(MODEL, precision="ap_fixed<12,2>", preset="hls4ml")
        program = graph.nodes[0].program
        assert program is not None
        proofs = bounds(program)
        rows = {row.tensor: row for row in profile(graph, X, SOURCE).tensors}
        for name, proof in proofs.items():
            proven = Fixed.parse(rows[f"lstm.{name}"].proven)
            own = program[name].type
            assert proven.frac == own.frac
            if proof.overflows:
                assert proven.integer > own.integer
            else:
                assert proven.min <= proof.low <= proof.high <= proven.max <= max(own.max, proven.max)
                assert proven == smallest(proof.low, proof.high, own.frac)


def into(values: np.ndarray, type: Fixed) -> np.ndarray:
    from fxsim.program.fixed import cast_floats

    result: np.ndarray = cast_floats(values, replace(type, overflow=Overflow.SAT)) * type.lsb
    return result


class TestSpreads:
    def test_quartiles_of_magnitudes(self) -> None:
        rng = np.random.default_rng(3)
        values = rng.normal(size=5000) * np.exp2(rng.integers(-20, 20, 5000))
        spread = Spread()
        for part in np.split(values, 10):
            spread.add(np.append(part, 0.0))  # zeros do not count
        box = spread.box
        assert box is not None
        sizes = np.abs(values)
        assert (spread.low, spread.high, box.least, box.largest) == (
            values.min(),
            values.max(),
            sizes.min(),
            sizes.max(),
        )
        wanted = np.quantile(sizes, [0.25, 0.5, 0.75], method="inverted_cdf")
        assert [box.lower, box.median, box.upper] == pytest.approx(wanted.tolist(), rel=0.023)
        nothing = Spread()
        nothing.add(np.zeros(3))
        assert (nothing.box, nothing.low, nothing.high) == (None, 0, 0)

    def test_difference(self) -> None:
        rng = np.random.default_rng(4)
        want = rng.normal(size=900) * 1e-3 + 1e6  # where sums of squares would cancel
        got = want + rng.normal(size=900) * 1e-4
        error = Difference()
        for start in range(0, 900, 70):
            error.add(got[start : start + 70], want[start : start + 70])
        assert error.largest == np.abs(got - want).max()
        assert error.rms == pytest.approx(np.sqrt(np.mean((got - want) ** 2)), rel=1e-9)
        assert error.correlation == pytest.approx(np.corrcoef(got, want)[0, 1], rel=1e-6)
        constant = Difference()
        constant.add(np.ones(5), np.arange(5.0))
        assert constant.correlation is None

    @pytest.mark.parametrize(
        ("raw", "format"),
        [
            ([0, 0], "ap_ufixed<1,-3>"),
            ([4, 8], "ap_ufixed<2,0>"),
            ([-4, 8], "ap_fixed<3,1>"),
            ([-8, 4], "ap_fixed<2,0>"),
            ([5], "ap_ufixed<3,-1>"),
            ([-1], "ap_fixed<1,-3>"),
            ([1 << 40, -(1 << 20)], "ap_fixed<22,38>"),
        ],
    )
    def test_kept(self, raw: list[int], format: str) -> None:
        for values in (np.array(raw), np.array(raw, object)):
            kept = Kept()
            for value in values:
                kept.add(np.array([value], values.dtype))
            assert str(kept.format(4)) == format
