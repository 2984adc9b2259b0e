# SPDX-License-Identifier: Apache-2.0
"""Values that leave their formats on the way in, inside, on the way out: counted, told in one line, or not."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import network

import fxsim
from fxsim.__main__ import main
from fxsim.demo.run import DATA, MODEL
from fxsim.errors import OverflowWarning
from fxsim.importers.source import Dense, Source
from fxsim.program.cells import Kernel, dense
from fxsim.program.fixed import Fixed, Overflow, Round, outside
from fxsim.program.graph import Graph, Node, chain
from fxsim.program.integers import Const
from fxsim.program.reference import Caster
from fxsim.quantization.presets import quantize
from fxsim.simulator import batches
from fxsim.simulator import run as simulation
from fxsim.simulator.memory import Wanted
from fxsim.simulator.overflows import INPUT, describe, door
from fxsim.study import profiles

X = np.load(DATA)["x"].astype(np.float64)


def left_format(values: np.ndarray, to: Fixed) -> np.ndarray:
    """Which values leave a format, one by one in Python integers."""
    found = []
    for value in values.flat:
        numerator, denominator = float(value).as_integer_ratio()
        caster = Caster(to)
        caster(numerator, denominator.bit_length() - 1)
        found.append(bool(caster.count))
    return np.array(found).reshape(values.shape)


def some_values(to: Fixed, shape: tuple[int, ...], seed: int, huge: bool) -> np.ndarray:
    """Values on, at and between the steps around both ends of a format; some without measure."""
    rng = np.random.default_rng(seed)
    ends = np.where(rng.random(shape) < 0.5, to.min, to.max)
    x = (ends + rng.integers(-3, 4, shape) + rng.choice([0.0, 0.25, 0.5, 0.75], shape)) * to.lsb
    x = np.where(rng.random(shape) < 0.2, 0.0, x)
    if huge:
        x.flat[::7] = rng.choice([1e30, -1e30, 5e-324, 1e-300, -1e300], x.flat[::7].shape)
    return x


def regression(precision: str = "ap_fixed<16,6>", preset: str = "exact", scale: float = 1.0) -> Graph:
    """A Dense whose outputs reach 252 times ``scale``."""
    weights = {"kernel": np.full((2, 3), 126.0 * scale), "bias": np.zeros(3)}
    source = Source.row("net", "input", (2,), (Dense("dense", units=3, use_bias=True, weights=weights),))
    return quantize(source, precision=precision, preset=preset)


class TestCounts:
    @pytest.mark.parametrize("overflow", Overflow)
    @pytest.mark.parametrize("signed", [True, False])
    @pytest.mark.parametrize("huge", [True, False])
    def test_the_inputs_cast_is_counted(self, overflow: Overflow, signed: bool, huge: bool) -> None:
        """Against Python integers: all roundings, batches of every path, machine numbers and those that are none."""
        for seed, rounding in enumerate(Round):
            for width, frac in ((6, 3), (9, -2), (62, 30), (64, 20)):
                to = Fixed(width, frac, signed, rounding, overflow)
                if to.max >= 1 << 63:
                    continue
                graph = _only_input(to)
                for sequences in (1, 8, 70):
                    x = some_values(to, (sequences, 3), seed, huge)
                    expected = left_format(x, to)
                    assert np.array_equal(outside(x, to), expected)
                    run = simulation.simulate(graph, x, threads=2)
                    assert np.array_equal(run.overflow_counts[INPUT], expected.sum(axis=1))
                    assert run.overflows[INPUT] == expected.sum()

    def test_raw_integers_are_not_cast(self) -> None:
        graph = network("lstm", seed=1)
        run = simulation.simulate(graph, np.zeros((2, *graph.shape), np.int64), raw=True)
        assert INPUT not in run.overflows
        assert simulation.simulate(graph, np.full((2, *graph.shape), 1e6), overflows=False).overflows == {}

    def test_a_count_that_is_off_by_one_is_caught(self, monkeypatch: pytest.MonkeyPatch) -> None:
        right = batches.quantizer

        def mistaken(to: Fixed):
            return right(replace(to, width=to.width - 1) if to.width == 6 else to)

        monkeypatch.setattr(batches, "quantizer", mistaken)
        with pytest.raises(AssertionError):
            self.test_the_inputs_cast_is_counted(Overflow.SAT, True, False)

    @pytest.mark.parametrize("cell", ["lstm", "gru"])
    def test_some_counts_are_those_of_all(self, cell: str) -> None:
        graph = network(cell, seed=3, tail=(4,), units=5)
        x = np.random.default_rng(0).normal(0, 4, (50, *graph.shape))
        everything = simulation.simulate(graph, x)
        names = frozenset(sorted(name for name, count in everything.overflows.items() if count and name != INPUT)[::2])
        run = simulation._simulate(graph, x, False, Wanted(counts=names), {}, 1, None)
        assert names
        assert run.overflows == {
            name: everything.overflows[name] for name in (INPUT, *run.overflows) if name in run.overflows
        }
        assert {*run.overflows} == {INPUT, *names}
        assert np.array_equal(run.raw, everything.raw)

    def test_a_profile_has_it(self) -> None:
        graph = fxsim.load(MODEL)
        for source in (None, fxsim.read_source(MODEL)):
            quiet, loud = (profiles.profile(graph, x[:20], source).tensors[0] for x in (X, 1000 * X))
            assert (quiet.tensor, quiet.overflows) == ("lstm.x", 0)
            assert loud.overflows == int((1000 * X[:20] > graph.input.max * graph.input.lsb).sum()) > 100
            if source is None:
                # How large they were is not known.
                assert loud.enough == ""
            else:
                enough = Fixed.parse(loud.enough)
                assert (loud.float_high, enough.integer + (not enough.signed)) == (1000.0, 11)


def _only_input(to: Fixed) -> Graph:
    """A network of which nothing but its input leaves a format."""
    zero = Const(np.zeros((3, 1), np.int64), Fixed(2, 0))
    program = dense(Kernel(zero, None, Fixed(8, 0)), to.plain, Fixed(8, 0))
    return chain("net", (3,), to, (Node("dense", "dense", program),))


class TestDoor:
    def test_outputs_are_watched_where_they_are_made(self) -> None:
        assert door(regression()) == {"dense.y"}
        assert door(regression(preset="hls4ml")) == {"dense.wx"}
        # A table cannot overflow, and what it reads is inside.
        assert door(fxsim.load(MODEL)) == frozenset()
        assert door(fxsim.load(MODEL, preset="hls4ml")) == frozenset()

    def test_of_a_loop_the_result(self) -> None:
        graph = network("lstm", seed=3)
        inside = {name for name in simulation.simulate(graph, np.zeros((1, *graph.shape))).overflows if name != INPUT}
        assert len(inside) > 3
        assert door(graph) <= {"lstm.h"}

    def test_through_what_has_no_weights(self) -> None:
        graph = network("lstm", seed=3, tail=(4,))
        assert any(name.startswith("dense0.") for name in door(graph))
        assert not any(name.startswith("lstm.") for name in door(graph))


def told(graph: Graph, x: np.ndarray, **options: object) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        graph.predict(x, **options) if options else fxsim.predict(graph, x)
    assert all(one.category is OverflowWarning and one.filename == __file__ for one in found)
    assert len(found) <= 1
    return [str(one.message) for one in found]


class TestWarning:
    @pytest.mark.parametrize("sequences", [1, 3, 8, 9, 100])
    def test_inputs_that_do_not_fit(self, sequences: int) -> None:
        graph, x = fxsim.load(MODEL), X[:sequences]
        assert told(graph, x) == []
        share = f"{100 * (1000 * x > 31.98).mean():.3g}"
        message = f"values do not fit their formats: {share} % of input in ap_fixed<16,6> (11 integer bits would do)"
        assert told(graph, 1000 * x) == [message]
        assert told(graph, 1000 * x, warn=True) == [message]
        assert told(graph, 1000 * x, warn=False) == []

    @pytest.mark.parametrize("sequences", [1, 8, 100])
    @pytest.mark.parametrize(("preset", "tensor"), [("exact", "dense.y"), ("hls4ml", "dense.wx")])
    def test_outputs_that_do_not_fit(self, sequences: int, preset: str, tensor: str) -> None:
        x = np.ones((sequences, 2))
        assert told(regression("ap_fixed<24,9>", preset), x) == []
        message = f"values do not fit their formats: 100 % of {tensor} in ap_fixed<18,8> (9 integer bits would do)"
        assert told(regression("ap_fixed<18,8>", preset), x) == [message]

    @pytest.mark.parametrize("preset", ["exact", "hls4ml"])
    def test_the_bits_it_names_would_do(self, preset: str) -> None:
        """With them there is no warning, with one less there is; whatever the sizes, on both doors."""
        rng = np.random.default_rng(1)
        for _ in range(12):
            x, scale = rng.normal(0, 2.0 ** rng.integers(0, 9), (20, 2)), 2.0 ** -rng.integers(0, 8)
            bits = 2
            for _ in range(6):
                found = told(regression(f"ap_fixed<{bits + 14},{bits}>", preset, scale), x)
                if not found:
                    break
                needed = max(map(int, re.findall(r"(\d+) integer bits would do", found[0])))
                assert needed > bits, found
                bits = needed
            assert not found
            assert told(regression(f"ap_fixed<{bits + 13},{bits - 1}>", preset, scale), x)

    def test_a_missing_sign(self) -> None:
        x = np.array([[-3.0, 1.0, 1.0]])
        graph = _only_input(Fixed(6, 3, False))
        assert told(graph, x) == [
            "values do not fit their formats: 33.3 % of input in ap_ufixed<6,3> (3 integer bits and a sign would do)"
        ]

    def test_standard_filters(self) -> None:
        graph = fxsim.load(MODEL)
        assert issubclass(fxsim.OverflowWarning, RuntimeWarning)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", fxsim.OverflowWarning)
            graph.predict(1000 * X)
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            with pytest.raises(fxsim.OverflowWarning, match=r"^values do not fit their formats: "):
                graph.predict(1000 * X)

    def test_values_without_measure(self) -> None:
        (message,) = told(fxsim.load(MODEL), 1e200 * X[:5])
        assert "(666 integer bits would do)" in message

    def test_inside(self) -> None:
        """What a run of all counts says: at most three tensors by name, the input before others."""
        graph = fxsim.load(MODEL, preset="hls4ml")
        run = simulation.simulate(graph, 1000 * X[:8])
        line = describe(graph, 1000 * X[:8], run)
        assert re.fullmatch(
            r"values do not fit their formats: [\d.]+ % of input in ap_fixed<16,6> \(11 integer bits would do\)"
            r"(, [\d.]+ % of lstm\.\w+ in ap_fixed<16,6> \((at least )?\d+ integer bits would do\)){2}"
            r", and of \d+ other tensors",
            line,
        )
        assert describe(graph, X[:8], simulation.simulate(graph, X[:8])) == ""

    def test_few_at_the_limit_of_their_format(self) -> None:
        """A result that is exactly the largest number has not left the format."""
        graph = regression("ap_fixed<18,8>", scale=1.0)
        largest = graph.output.max * graph.output.lsb
        x = np.full((1, 2), largest / 252)
        near = [x + k * 2.0**-10 for k in range(-3, 4)]
        for one in near:
            run = simulation.simulate(graph, one)
            assert bool(told(graph, one)) == bool(run.overflows["dense.y"])
        assert {bool(told(graph, one)) for one in near} == {False, True}


class TestCommandLine:
    def test_one_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        np.save(tmp_path / "x.npy", X[:8])
        np.save(tmp_path / "big.npy", 1000 * X[:8])
        lines = {}
        for name in ("x", "big"):
            assert main(["predict", str(MODEL), str(tmp_path / f"{name}.npy"), "-o", str(tmp_path / "y.npy")]) == 0
            out, lines[name] = capsys.readouterr()
            assert out.endswith("y.npy: float64 (8, 10), ap_fixed<16,6,AP_RND,AP_SAT>\n")
        share = f"{100 * (1000 * X[:8] > 31.98).mean():.3g} % of input in ap_fixed<16,6> (11 integer bits would do)"
        assert lines == {"x": "", "big": f"fxsim: warning: values do not fit their formats: {share}\n"}
        got = np.load(tmp_path / "y.npy")
        assert np.array_equal(got, fxsim.load(MODEL).predict(1000 * X[:8], warn=False))
