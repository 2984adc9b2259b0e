# SPDX-License-Identifier: Apache-2.0
"""Narrow sums: what cutting the products does to every sum, and that nothing else changes."""

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from test_exact import (
    FUNCTIONS_OF_LAYERS,
    NETWORKS,
    activation,
    agrees_with_reference,
    build,
    cell,
    dense,
    inputs,
    network,
    programs,
    rng_of,
)

import fxsim
from fxsim.errors import FxsimError
from fxsim.importers.source import Function, Source
from fxsim.program import reference
from fxsim.program.fixed import Fixed, Round
from fxsim.program.graph import Graph
from fxsim.program.ops import Dot, Lookup
from fxsim.program.program import Program
from fxsim.program.ranges import bounds
from fxsim.quantization import exact, exact_sums
from fxsim.quantization.exact_sums import tolerance
from fxsim.quantization.presets import quantize
from fxsim.simulator.run import predict, quantize_inputs

CELLS = ("lstm", "gru", "gru_before", "simple_rnn")


def both(source: Source, precision: str, **options) -> tuple[Graph, Graph]:
    return exact.quantize(source, precision, **options), exact.quantize(source, precision, sums="narrow", **options)


def value(op: Dot, arg: Fixed, x: list[int]) -> list[Fraction]:
    """What a product with a vector is worth, from the reference."""
    raw = reference.dot(op, x, arg.frac, 0, reference.Caster(op.type))
    return [one * Fraction(2) ** -op.type.frac for one in raw]


def vectors(op: Dot, arg: Fixed, cut: int, rng) -> Iterator[list[int]]:
    """Inputs: zeros, random ones, and for each output those whose products lose the most when cut."""
    count = op.weights.shape[0]
    yield [0] * count
    for _ in range(10):
        yield rng.integers(arg.min, arg.max + 1, count).tolist()
    every = np.arange(arg.min, arg.max + 1)
    for column in op.weights.data.T[:4]:
        yield [int(every[np.argmax((w * every) & ((1 << cut) - 1))]) for w in column]


def off(exactly: Program, narrow: Program, rng) -> Iterator[tuple[str, Fraction]]:
    """How far each sum of the narrow program is off, for the same operands as the exact one's."""
    errors: dict[str, list[list[Fraction]]] = {}
    for op in narrow.dots:
        arg, full = narrow[op.arg].type, exactly[op.name]
        assert isinstance(full, Dot)
        assert (exactly[op.arg].type, full.weights) == (arg, op.weights)
        cut = arg.frac + op.weights.type.frac - op.type.frac
        errors[op.name] = [
            [a - b for a, b in zip(value(op, arg, x), value(full, arg, x), strict=True)]
            for x in vectors(op, arg, max(cut, 0), rng)
        ]
    if "uh" not in errors:
        for row in errors["wx"]:
            yield "wx", max(map(abs, row))
        return
    for x in errors["wx"]:
        for k, h in enumerate(errors["uh"]):
            rows = h + errors["uh_h"][k] if "uh_h" in errors else h
            whole = [a + b for a, b in zip(x, rows, strict=True)]
            yield "sum", max(map(abs, whole))
            if "rh" in {op.name for op in narrow.ops} and "uh_h" not in errors:
                # The reset gate is from 0 to 1; at 0 only the input's part is left.
                yield "sum_h", max(map(abs, x[-len(x) // 3 :]))


def worst(source: Source, precision: str, limits: list[Fraction], **options) -> float:
    """The largest error of any sum of the network's layers with products, in parts of what it may be."""
    pair = [[program for _, program in programs(graph) if program.dots] for graph in both(source, precision, **options)]
    assert len(pair[0]) == len(limits)
    found = Fraction(0)
    for one, other, limit in zip(*pair, limits, strict=True):
        found = max(found, *(error / limit for _, error in off(one, other, rng_of(precision))))
    return float(found)


def table(precision: str) -> Fraction:
    """What a table may be off, as an error of its input: a step of the precision, or what the smallest table has."""
    type = Fixed.parse(precision)
    return Fraction(2) ** -max(min(type.frac, type.width - 1, 23), 8)


PRECISIONS = (
    "ap_fixed<16,6>",
    "ap_fixed<12,4>",
    "ap_fixed<18,2>",
    "ap_fixed<8,3>",
    "ap_fixed<16,12>",
    "ap_fixed<16,-1>",
)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", CELLS)
def test_sums_of_cells_are_within_what_their_tables_may_be_off(kind, precision):
    for seed, (features, units) in enumerate(((3, 4), (1, 6), (7, 9), (11, 5))):
        rng = np.random.default_rng(seed)
        options = {"reset_after": False} if kind == "gru_before" else {}
        made = cell(kind.removesuffix("_before"), rng, "rnn", features, units, (0.2, 0.6, 1.5, 4.0)[seed], **options)
        assert worst(network(made, shape=(3, features)), precision, [table(precision)]) <= 1


@pytest.mark.parametrize("precision", PRECISIONS)
def test_sums_of_dense_layers_are_within_half_a_step_of_their_result(precision):
    rng = rng_of(precision)
    source = network(dense(rng, 9, 6), dense(rng, 6, 7, "two"), dense(rng, 7, 3, "out"), shape=(9,))
    graph, _ = both(source, precision)
    limits = [Fraction(2) ** -(layer.program.type.frac + 1) for layer in graph.nodes]
    assert worst(source, precision, limits) <= 1


@pytest.mark.parametrize("function", FUNCTIONS_OF_LAYERS)
def test_sums_in_front_of_functions(function):
    rng = rng_of(function)
    source = network(dense(rng, 9, 6), activation(function), dense(rng, 6, 3, "out"), shape=(9,))
    steepest = {"selu": Fraction(1.0507009873554805), "hard_sigmoid": Fraction(1 / 6)}.get(function, Fraction(1))
    for precision in PRECISIONS:
        graph = both(source, precision)[1]
        line = Fraction(2) ** -(graph.nodes[1].program.type.frac + 1) / steepest
        limit = {"sigmoid": table(precision), "tanh": table(precision), "softsign": table(precision)}.get(
            function, line
        )
        if function in ("softplus", "elu", "selu"):
            limit = min(line, table(precision))
        if function == "thresholded_relu":  # it jumps: its sum stays exact
            limit = Fraction(1, 10**9)
        assert worst(source, precision, [limit, Fraction(2) ** -(graph.output.frac + 1)]) <= 1


#: 14 products: the bound of 14 halves and two half steps, of a sixteenth of the limit each, is the limit itself.
FULL = network(cell("lstm", rng_of("full"), "rnn", 3, 11))


def test_the_bound_is_nearly_reached():
    assert 0.85 < worst(FULL, "ap_fixed<16,6>", [table("ap_fixed<16,6>")]) <= 1
    rng = rng_of("six")
    assert 0.85 < worst(network(dense(rng, 15, 4), shape=(15,)), "ap_fixed<16,6>", [Fraction(2) ** -11]) <= 1


def test_without_its_constant_a_sum_is_too_far_off(monkeypatch):
    monkeypatch.setattr(exact_sums, "centres", lambda kernel, frac: [Fraction(0)] * kernel.weights.shape[1])
    assert worst(FULL, "ap_fixed<16,6>", [table("ap_fixed<16,6>")]) > 1.7


def test_with_a_bit_less_a_sum_is_too_far_off(monkeypatch):
    places = exact_sums.places
    monkeypatch.setattr(exact_sums, "places", lambda kernels, error: places(kernels, error) - 1)
    assert worst(FULL, "ap_fixed<16,6>", [table("ap_fixed<16,6>")]) > 1.7


def test_the_largest_loss_is_exact():
    """Against all inputs: also of weights that are zero, or multiples of powers of two."""
    weights = fxsim.program.integers.Const(np.array([[0], [1], [-3], [8], [-12], [64], [-128]]), Fixed(8, 7))
    kernel = exact_sums.fitted(exact_sums.Kernel(weights, None, Fixed(1, 0)), Fixed(8, 4), 11)
    every = np.arange(-128, 128)
    for frac in range(3, 12):
        mask = (1 << (11 - frac)) - 1
        most = sum(int(((w * every) & mask).max()) for w in weights.data[:, 0])
        assert exact_sums.losses(kernel, frac) == [Fraction(most, 2**11)]


def test_fewer_bits_do_not_do():
    """The grid is the coarsest that has the error asked for."""
    graph, narrow = both(FULL, "ap_fixed<16,6>")
    wx, uh = narrow.nodes[0].program.dots
    assert (wx.type.frac, uh.type.frac) == (13, 13)
    assert (wx.type.round, wx.type.width < 24, uh.bias) == (Round.TRN, True, None)
    assert [op.type.frac for op in graph.nodes[0].program.dots] == [24, 29]


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_else_changes(name):
    """Tables, states, gates and the results of cells are as with exact sums, and sums still cannot overflow."""
    for precision in ("ap_fixed<16,6>", "ap_fixed<9,4>"):
        graph, narrow = both(build(name), precision)
        assert (graph.input, graph.output, graph.shape) == (narrow.input, narrow.output, narrow.shape)
        for (prefix, one), (same, other) in zip(programs(graph), programs(narrow), strict=True):
            assert prefix == same
            assert one.type.width >= other.type.width
            found = bounds(other)
            for op in other.ops:
                if isinstance(op, Dot):
                    assert not found[op.name].overflows
                if isinstance(op, Lookup) and one.states:
                    assert op.type == one[op.name].type
            assert [(op.name, op.type) for op in one.states] == [(op.name, op.type) for op in other.states]


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_before", "chain", "simple_rnn/relu", "dense/softplus"])
def test_errors_stay_in_proportion(name):
    """Narrow sums move a network no further than a few times what its precision does."""
    source = build(name)
    x = inputs(source)
    graph, narrow = both(source, "ap_fixed<16,4>")
    want = fxsim.predict_float(source, x)
    usual, got = (np.abs(predict(one, x) - want).mean() for one in (graph, narrow))
    assert got <= 2 * usual + graph.output.lsb


def test_reference_equals_kernels():
    for name in ("lstm", "gru", "gru_before", "simple_rnn", "chain", "lstm/tanh/relu", "stack/gru", "dense/elu"):
        for precision in ("ap_fixed<16,6>", "ap_fixed<23,5>"):
            graph = exact.quantize(build(name), precision, sums="narrow")
            agrees_with_reference(graph, quantize_inputs(graph, inputs(build(name), 4)))


def test_the_default_is_exact():
    source = build("chain")
    usual = quantize(source)
    assert usual == quantize(source, sums="exact") == quantize(source, sums=None) != quantize(source, sums="narrow")


def test_a_saved_graph_keeps_its_sums(tmp_path):
    graph = quantize(build("chain"), sums="narrow")
    graph.save(tmp_path / "net.fx")
    assert Graph.load(tmp_path / "net.fx") == graph
    assert graph.digest != quantize(build("chain")).digest


def test_sums_are_narrower_the_coarser_the_precision():
    fracs = [both(FULL, f"ap_fixed<{width},6>")[1].nodes[0].program.dots[1].type.frac for width in range(14, 22)]
    assert all(b == a + 1 for a, b in pairwise(fracs))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(
            ({"sums": bad}, re.escape(f"sums must be one of exact, narrow, not {bad!r}"))
            for bad in ("wide", "", "Narrow", 1, True, [])
        ),
        ({"sums": "narrow", "preset": "hls4ml"}, "^sums must be left out in preset hls4ml, which has its own formats"),
        ({"sums": "exact", "preset": "hls4ml"}, "^sums must be left out in preset hls4ml, which has its own formats"),
        ({"sums": "narrow", "config": {}}, "^sums must be left out in preset hls4ml, which has its own formats"),
        ({"sums": "wide", "preset": "hls4ml"}, "^sums must be one of exact, narrow, not 'wide'$"),
    ],
)  # fmt: skip
def test_refusals(options, message):
    with pytest.raises(FxsimError, match=message):
        quantize(build("lstm"), **options)


def test_steep_lines():
    half = Fraction(2) ** -11
    assert tolerance(Function("leaky_relu", alpha=(0.5, -4.0)), Fixed(16, 10), 10) == half / 4
    assert tolerance(Function("leaky_relu", alpha=0.5), Fixed(16, 10), 10) == half
    assert tolerance(Function("hard_sigmoid", slope=0.25, shift=0.5), Fixed(16, 10), 10) == half * 4
    assert tolerance(Function("thresholded_relu", theta=1.0), Fixed(16, 10), 10) == 0
