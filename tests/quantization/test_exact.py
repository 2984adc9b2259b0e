# SPDX-License-Identifier: Apache-2.0
"""The exact preset: its tables and formats, its folds, its distance from float, and what it refuses."""

import dataclasses
import re

import numpy as np
import pytest
import sources
from shared import SHARED, needs_shared

from fxsim.demo.run import DATA, MODEL
from fxsim.errors import FxsimError
from fxsim.importers import read_model
from fxsim.importers.source import Bidirectional, Flatten, Function, Recurrent, Source, SourceLayer
from fxsim.program import reference
from fxsim.program.cells import ARITHMETIC, HALF_TABLED, TABLED
from fxsim.program.fixed import Fixed, Overflow, Round, cast_float, round_shift, to_float
from fxsim.program.graph import Graph, Node
from fxsim.program.integers import Table
from fxsim.program.ops import Dot, Lookup, State
from fxsim.program.program import Program
from fxsim.program.ranges import bounds
from fxsim.quantization import exact, hls4ml
from fxsim.quantization.exact_activations import Tables, constant, log_softmax, softmax, threshold
from fxsim.quantization.exact_formats import Formats, bias_const, lean, weight_const
from fxsim.quantization.exact_functions import FUNCTIONS, function
from fxsim.quantization.exact_tables import best_table, bound, largest_error, table_report
from fxsim.simulator import widths as words
from fxsim.simulator.run import predict, quantize_inputs, simulate
from fxsim.study.floating import predict as predict_float

FUNCTIONS_OF_LAYERS = (*ARITHMETIC, *TABLED, *HALF_TABLED)
PARAMETERS = {
    "elu": {"alpha": 0.7},
    "leaky_relu": {"alpha": 0.3},
    "thresholded_relu": {"theta": 0.37},
    "hard_sigmoid": {"slope": 1 / 6, "shift": 0.5},
}


def test_prelu_has_a_slope_for_each_element():
    """Slopes of 17 bits beside their largest; the network's result is rounded once more."""
    slopes = (0.3, -0.7, 0.0)
    layer = sources.activation("act", "leaky_relu", "PReLU", alpha=slopes)
    graph = exact.quantize(Source.row("net", "x", (4, 3), (layer,)), "ap_fixed<16,6>")
    x = np.random.default_rng(0).integers(-4096, 4096, (50, 4, 3)) / 1024
    want = np.where(x > 0, x, np.array(slopes) * x)
    assert np.abs(predict(graph, x) - want).max() <= graph.output.lsb / 2 + 4 * 2.0**-17
    few = sources.activation("act", "leaky_relu", "PReLU", alpha=(0.3, 0.7))
    with pytest.raises(FxsimError):
        exact.quantize(Source.row("net", "x", (4, 3), (few,)), "ap_fixed<16,6>")
    for bad, what in ((np.nan, "nan"), ("1", "'1'")):
        with pytest.raises(FxsimError, match=f"^layer 'act': option 'alpha' must be a finite number, not {what}$"):
            sources.activation("act", "leaky_relu", "PReLU", alpha=(0.3, 0.7, bad))


# --- Small networks


def cell(kind: str, rng, name="rnn", features=3, units=4, scale=0.6, **options) -> Recurrent:
    gates = {"lstm": 4, "gru": 3, "simple_rnn": 1}[kind]
    weights = {
        "kernel": rng.normal(0, scale, (features, gates * units)),
        "recurrent_kernel": rng.normal(0, scale, (units, gates * units)),
        "bias": rng.normal(0, scale, gates * units),
    }
    if kind == "gru":
        weights["recurrent_bias"] = rng.normal(0, scale, gates * units)
    if options.get("reset_after") is False:
        weights["recurrent_bias"] = np.zeros(gates * units)
    return sources.recurrent(kind, name, weights, **options)


def dense(rng, inputs, units, name="dense", scale=0.6) -> SourceLayer:
    weights = {"kernel": rng.normal(0, scale, (inputs, units)), "bias": rng.normal(0, scale, units)}
    return sources.dense(name, weights)


def activation(function: str, name="act", **parameters) -> SourceLayer:
    return sources.activation(name, function, **{**PARAMETERS.get(function, {}), **parameters})


def network(*layers: SourceLayer, shape=(5, 3)) -> Source:
    return Source.row("net", "input", shape, layers)


def bidirectional(kind: str, rng, mode: str, **options) -> Bidirectional:
    sides = {side: cell(kind, rng, f"{side}_rnn", **options) for side in ("forward", "backward")}
    if mode == "concat":  # only then may the directions have different units
        sides["backward"] = cell("lstm" if kind == "gru" else "gru", rng, "backward_rnn", units=7, **options)
    return Bidirectional("bi", merge_mode=mode, **sides)


def rng_of(name: str):
    return np.random.default_rng(sum(name.encode()))


def build(name: str) -> Source:
    """A network whose name says what is in it."""
    rng = rng_of(name)
    kind, *rest = name.split("/")
    if kind in ("lstm", "gru", "gru_before", "simple_rnn"):
        options = {}
        if kind == "gru_before":
            kind, options["reset_after"] = "gru", False
        if rest:
            options["activation"] = rest[0]
        if rest[1:]:
            options["recurrent_activation"] = rest[1]
        return network(cell(kind, rng, **options), dense(rng, 4, 2))
    if kind == "last":
        return network(cell(rest[0], rng, return_sequences=True))
    if kind == "stack":
        layers = cell(rest[0], rng, return_sequences=True), cell(rest[0], rng, "two", 4, return_sequences=True)
        return network(*layers, Flatten("flat"), dense(rng, 20, 3))
    if kind.startswith("bi_"):
        one = bidirectional(kind.removeprefix("bi_"), rng, rest[0], return_sequences=bool(rest[1:]))
        if rest[1:]:
            return network(one)
        return network(one, dense(rng, 11 if rest[0] == "concat" else 4, 2))
    if kind == "dense":
        return network(dense(rng, 3, 6), activation(rest[0]), dense(rng, 6, 2, "out"), shape=(3,))
    if kind == "act":
        return network(dense(rng, 3, 6), activation(rest[0]), shape=(3,))
    if kind == "first":
        return network(activation(rest[0]), dense(rng, 3, 6), shape=(3,))
    assert kind == "chain"
    return network(
        cell("lstm", rng), dense(rng, 4, 6), activation("relu"), dense(rng, 6, 5, "d2"), dense(rng, 5, 4, "d3"),
        activation("softmax", "probability"),
    )  # fmt: skip


NETWORKS = [
    "lstm", "gru", "gru_before", "simple_rnn", "chain", "stack/lstm", "stack/gru",
    "last/lstm", "last/gru", "last/simple_rnn",
    *(f"bi_gru/{mode}" for mode in ("concat", "sum", "ave", "mul")), "bi_gru/concat/last", "bi_gru/ave/last",
    "bi_simple_rnn/concat", "bi_simple_rnn/mul", "bi_simple_rnn/concat/last", "bi_lstm/sum",
    *(f"lstm/{f}/hard_sigmoid" for f in ("relu", "softsign", "linear", "hard_tanh")),
    "lstm/sigmoid/sigmoid", "lstm/tanh/relu", "lstm/elu/sigmoid", "lstm/selu/tanh", "lstm/softplus/softsign",
    "gru/relu/sigmoid", "gru/tanh/hard_sigmoid", "gru/sigmoid/tanh", "gru_before/softplus/relu",
    "simple_rnn/relu", "simple_rnn/hard_sigmoid",
    *(f"{where}/{f}" for where in ("dense", "act", "first") for f in (*FUNCTIONS_OF_LAYERS, "softmax", "log_softmax")),
]  # fmt: skip
#: Functions with a step, with long tails, and a cell whose state has no bound: not near to float in any precision.
STEEP = ("thresholded_relu", "softsign", "softplus/relu")


def inputs(source: Source, count=24):
    return np.clip(rng_of("inputs").normal(0, 1.0, (count, *source.shape)), -3.9, 3.9)


def programs(graph: Graph):
    return list(graph.programs.items())


def agrees_with_reference(graph: Graph, raw: np.ndarray) -> None:
    """Every op of every layer has the bits of the reference at every step."""
    run = simulate(graph, raw, raw=True, trace=True)
    for b, sequence in enumerate(raw.reshape(len(raw), -1, graph.shape[-1]).tolist()):
        trace: dict[str, list[list[int]]] = {}
        found = reference.network(graph, {graph.inputs[0].name: sequence}, trace)
        assert run.trace.keys() == trace.keys()
        for name, want in trace.items():
            assert run.trace[name][b].tolist() == want, name
        assert run.raw[b].ravel().tolist() == np.ravel(found[graph.outputs[0]]).tolist()


# --- Tables


FORMATS = [Fixed(12, 8), Fixed(10, 3), Fixed(14, 12), Fixed(9, 9), Fixed(16, 10), Fixed(5, 0), Fixed(11, 7, False)]


def brute(name: str, table: Table, argument: Fixed):
    """Difference of table and function for every input that is asked for."""
    of = function(name)
    raws = np.arange(argument.min, argument.max + 1)
    x = to_float(raws, argument)
    asked = (x >= of.low) & (x <= of.high)
    if not asked.any():
        return np.zeros(1)
    got = np.array([int(table.values.data[table.index(int(r), argument.frac)]) for r in raws[asked]])
    return np.abs(to_float(got, table.values.type) - of.value(x[asked]))


@pytest.mark.parametrize("argument", FORMATS, ids=str)
@pytest.mark.parametrize("name", [*FUNCTIONS, "elu*0.3", "elu*-2.5"])
def test_error_of_a_table_is_what_is_reported_and_below_the_bound(name, argument):
    if name == "inverse" and argument.max * argument.lsb < 1:
        pytest.skip("1/x is not asked for below 1")
    for size in (16, 300):
        for values in (Fixed(18, 15), Fixed(7, 7, False)):
            if not values.signed and function(name).value(np.array([-1.0]))[0] < 0:
                continue
            for index in (Round.RND, Round.TRN):
                table = best_table(name, argument, values, size, index)
                assert 2 <= table.values.shape[0] <= size
                worst = float(brute(name, table, argument).max())
                assert worst == pytest.approx(largest_error(table, argument), abs=1e-12)
                assert worst <= bound(table, argument) + 1e-12


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softsign", "softplus_rest", "elu"])
def test_no_other_table_of_the_size_is_better(name):
    argument, values, size = Fixed(9, 5), Fixed(18, 16), 20
    best = largest_error(best_table(name, argument, values, size), argument)
    of = function(name)
    x = to_float(np.arange(argument.min, argument.max + 1), argument)
    x = x[(x >= of.low) & (x <= of.high)]
    others = []
    for frac in range(-4, 6):
        index = np.floor(x * 2.0**frac + 0.5).astype(int)
        for first in range(int(index.min()), int(index.max()) + 1):
            place = np.clip(index, first, first + size - 1)
            # The best entry of a bin is the middle of the function's range over it.
            middle = {p: (of.value(x[place == p]).max() + of.value(x[place == p]).min()) / 2 for p in set(place)}
            others.append(max(abs(of.value(v) - middle[p]) for v, p in zip(x, place, strict=True)))
    assert best <= min(others) + values.lsb / 2 + 1e-12


def test_a_table_that_covers_the_format_is_the_rounded_function():
    argument, values = Fixed(8, 5), Fixed(16, 15, True, Round.RND, Overflow.SAT)
    table = best_table("tanh", argument, values, 1024)
    for raw in range(argument.min, argument.max + 1):
        got = int(table.values.data[table.index(raw, argument.frac)])
        assert got == cast_float(float(np.tanh(raw / 32)), values)


def test_a_table_ends_where_its_function_is_flat():
    table = best_table("tanh", Fixed(24, 12), Fixed(8, 7), 4096)
    assert table.values.shape[0] < 1500
    assert table.values.data[0] != table.values.data[1]
    assert table.values.data[-1] != table.values.data[-2]


def test_a_wrong_index_is_seen():
    argument, values = Fixed(16, 10), Fixed(17, 17, False)
    table = best_table("sigmoid", argument, values, 256)
    moved = dataclasses.replace(table, first=table.first + 1)
    floored = dataclasses.replace(table, round=Round.TRN)
    assert float(brute("sigmoid", moved, argument).max()) > 1.5 * bound(table, argument)
    assert float(brute("sigmoid", floored, argument).max()) > 1.5 * bound(table, argument)


def test_table_report():
    graph = exact.quantize(build("chain"), "ap_fixed<16,8>")
    rows = table_report(graph)
    assert [(row.layer, row.op, row.function) for row in rows] == [
        ("rnn", "i", "sigmoid"), ("rnn", "f", "sigmoid"), ("rnn", "g", "tanh"), ("rnn", "o", "sigmoid"),
        ("rnn", "act_c", "tanh"), ("probability", "e", "exp"), ("probability", "inverse", "inverse"),
    ]  # fmt: skip
    for row in rows:
        assert row.entries <= 1024
        assert 0 < row.error <= row.bound
        assert row.error_lsb == pytest.approx(row.error / Fixed.parse(row.values).lsb)
    sigmoid, tanh = rows[0], rows[2]
    assert sigmoid.step == 2**-6 and sigmoid.error < 2**-9 + 2**-17
    assert tanh.step == 2**-7 and tanh.error < 2**-8 + 2**-17


def test_table_report_of_interpolated_tables():
    graph = exact.quantize(build("lstm"), "ap_fixed<16,4>")
    rows = {row.op: row for row in table_report(graph)}
    assert list(rows) == [f"{gate}_{part}" for gate in ("i", "f", "g", "o", "act_c") for part in ("value", "slope")]
    assert (rows["g_value"].function, rows["g_slope"].function) == ("tanh", "tanh slope")
    for gate, steps in (("i", 0.5), ("g", 1.0), ("act_c", 1.0)):
        value, slope = rows[f"{gate}_value"], rows[f"{gate}_slope"]
        assert (value.error, value.bound, value.step, value.entries) == (
            slope.error, slope.bound, slope.step, slope.entries,
        )  # fmt: skip
        assert 0 < value.error <= value.bound
        assert value.error <= steps * 2.0**-12 + graph.nodes[0].program[gate].type.lsb
        assert value.error_lsb == value.error / graph.nodes[0].program[gate].type.lsb
    with pytest.raises(FxsimError, match=r"^table must be of one of sigmoid"):
        table_report(dataclasses.replace(graph, nodes=(renamed(graph.nodes[0]), *graph.nodes[1:])))


def renamed(layer: Node) -> Node:
    """The layer, but for the names of its tables."""
    ops = [
        dataclasses.replace(op, table=dataclasses.replace(op.table, name="other")) if isinstance(op, Lookup) else op
        for op in layer.program.ops
    ]
    return dataclasses.replace(layer, program=Program(tuple(ops), layer.program.output))


def test_table_report_refuses_other_presets():
    config = {"Model": {"Precision": {"default": "ap_fixed<16,6>"}, "ReuseFactor": 1, "Strategy": "Latency"}}
    graph = hls4ml.quantize(build("lstm"), config)
    with pytest.raises(FxsimError, match=r"^layer 'rnn': op 'i' has a table that is not of the exact preset$"):
        table_report(graph)


# --- Constants


def test_weights_use_all_bits():
    for largest, frac in ((0.3, 8), (0.5, 8), (0.51, 7), (1.0, 7), (-1.0, 7), (9.03, 3), (1e-9, 36), (0.0, 7)):
        const = weight_const(np.array([largest, largest / 3]), 8)
        assert const.type == Fixed(8, frac), largest
        error = np.abs(to_float(const.data, const.type) - [largest, largest / 3])
        assert error[0] <= const.type.lsb and error[1] <= const.type.lsb / 2


def test_bias_is_on_the_grid_of_the_products():
    const = bias_const(np.array([0.3, -1.7]), 20)
    assert const.type.frac == 20 and const.type.width == 22
    assert bias_const(np.array([1.5]), 90).type.frac == 61


def test_constants_are_narrow():
    assert constant(0.5).type == Fixed(1, 1, False)
    assert constant(-3.0).type.width == 3
    assert constant(0.0).data.tolist() == [0]
    assert abs(to_float(constant(0.2).data, constant(0.2).type)[0] - 0.2) <= 2**-20
    assert constant(0.2).type.width <= 17 and constant(-0.2).type.width <= 18


@pytest.mark.parametrize("theta", [0.0, 0.37, -0.37, 0.25, 3.9, 1e30, -1e30, 1e-300])
@pytest.mark.parametrize("argument", [Fixed(6, 3), Fixed(5, -1)], ids=str)
def test_threshold_divides_the_inputs_as_theta_does(theta, argument):
    const = threshold(theta, argument)
    limit = to_float(const.data, const.type)[0]
    for raw in range(argument.min, argument.max + 1):
        assert (raw * argument.lsb > limit) == (raw * argument.lsb > theta)


# --- Formats


def test_formats_of_an_lstm():
    graph = exact.quantize(build("lstm"), "ap_fixed<12,4>")
    program = graph.nodes[0].program
    types = {op.name: str(op.type) for op in program.ops}
    assert str(graph.input) == str(graph.output) == "ap_fixed<12,4,AP_RND,AP_SAT>"
    assert types["h"] == types["h_old"] == "ap_fixed<12,1,AP_RND,AP_SAT>"
    assert types["c"] == "ap_fixed<18,4,AP_RND,AP_SAT>"  # five steps: |c| < 5
    assert types["i"] == "ap_ufixed<17,0,AP_RND,AP_SAT>"
    assert types["g"] == "ap_fixed<18,1,AP_RND,AP_SAT>"
    for dot in program.dots:
        assert dot.weights.type.width == 12
        assert dot.type.frac == program[dot.arg].type.frac + dot.weights.type.frac
        assert dot.type.width <= 12 + 12 + 3


def test_directions_with_other_functions_have_one_format():
    """A hidden state within -1 and 1, or 0 and 1, beside one without limits: the range of both in as many bits."""
    rng, precision = rng_of("both"), "ap_fixed<12,4>"

    def result(forward: str, backward: str) -> str:
        one = bidirectional("lstm", rng, "concat")
        sides = {"forward": forward, "backward": backward}
        sides = {side: cell("gru", rng, side, units=3 + len(f), activation=f) for side, f in sides.items()}
        one = dataclasses.replace(one, **sides)
        source = network(one, dense(rng, 6 + len(forward + backward), 2))
        graph = exact.quantize(source, precision)
        x, wide = inputs(source), exact.quantize(source, "ap_fixed<30,6>")
        assert np.abs(wide.predict(x) - predict_float(source, x)).max() < 0.05
        return str(graph.tensors[one.name].type)

    assert result("tanh", "softsign") == "ap_fixed<12,1,AP_RND,AP_SAT>"
    assert result("sigmoid", "sigmoid") == "ap_ufixed<12,0,AP_RND,AP_SAT>"
    assert result("sigmoid", "tanh") == result("tanh", "sigmoid") == "ap_fixed<12,1,AP_RND,AP_SAT>"
    assert result("relu", "tanh") == result("sigmoid", "relu") == "ap_fixed<12,4,AP_RND,AP_SAT>"


@pytest.mark.parametrize("mode", ["sum", "mul", "ave"])
def test_directions_of_different_units_are_not_merged(mode):
    rng = rng_of("units")
    sides = {"forward": cell("gru", rng, units=1), "backward": cell("gru", rng, units=4)}
    message = f"^layer 'bi': merge_mode '{mode}' takes directions of equal units, not 1 and 4; 'concat' takes any$"
    with pytest.raises(FxsimError, match=message):
        Bidirectional("bi", merge_mode=mode, **sides)


def test_results_between_dense_layers_get_the_integer_bits_that_are_proven():
    rng = rng_of("fit")
    source = network(dense(rng, 3, 3, "a", 0.1), dense(rng, 3, 3, "b", 50.0), dense(rng, 3, 3, "c"), shape=(3,))
    graph = exact.quantize(source, "ap_fixed<14,5>")
    integers = [type.integer for *_, type in graph.flow()]
    assert integers[0] < 5 and integers[1] == 5 and integers[2] == 5
    assert all(type.width == 14 for *_, type in graph.flow())


def test_a_function_behind_a_dense_reads_the_exact_sum():
    graph = exact.quantize(build("dense/sigmoid"), "ap_fixed<10,3>")
    program = graph.nodes[0].program
    assert program["y"].type == program["wx"].type
    assert not bounds(program)["y"].overflows
    lookup = next(op for op in graph.nodes[1].program if isinstance(op, Lookup))
    assert graph.nodes[1].program.type == Fixed(10, 10, False, Round.RND, Overflow.SAT)
    assert lookup.table.round is Round.RND


def test_modes_of_the_precision_are_those_of_every_cast():
    graph = exact.quantize(build("chain"), "ap_fixed<14,5,AP_TRN_ZERO,AP_WRAP>")
    assert str(graph.input) == str(graph.output) == "ap_fixed<14,5,AP_TRN_ZERO,AP_WRAP>"
    program = graph.nodes[0].program
    assert program["c"].type.overflow is Overflow.WRAP
    # Formats whose range is the function's own have 1 as their only overflow, which must not become 0 or -1.
    assert program["h"].type.overflow is Overflow.SAT
    assert program["h"].type.round is Round.TRN_ZERO
    assert exact.quantize(build("chain"), "ap_fixed<14,5,AP_TRN,AP_WRAP>").input == Fixed(14, 9)
    assert exact.quantize(build("chain"), Fixed(14, 9)).input == Fixed(14, 9, True, Round.RND, Overflow.SAT)


@pytest.mark.parametrize("precision", ["ap_fixed<4,2>", "ap_fixed<18,6>"])
@pytest.mark.parametrize("name", NETWORKS)
def test_only_casts_that_are_meant_to_can_overflow(name, precision):
    graph = exact.quantize(build(name), precision)
    for prefix, program in programs(graph):
        words.check(program, bounds(program))  # machine integers are enough
        known = bounds(program)
        kept = {program.output} | {state.update for state in program.states}
        for op in program.ops:
            if op.name in kept or isinstance(op, State) or op.type.plain == graph.input.plain:
                continue
            if known[op.name].overflows:
                # Rounded up to the number that is just beyond the format.
                assert op.type.overflow is Overflow.SAT, (prefix, op.name)
                shift = known[op.name].exact_frac - op.type.frac
                low, high = (round_shift(end, shift, op.type.round) for end in known[op.name].exact)
                assert op.type.min <= low and high == op.type.max + 1, (prefix, op.name)
            if isinstance(op, Dot):
                assert known[op.name].exact_frac == program[op.arg].type.frac + op.weights.type.frac
                assert op.stride == 1


def shifts(op) -> bool:
    return op.kind == "constant" and bin(int(op.values.data[0])).count("1") == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_factors_fit_a_multiplier(name):
    graph = exact.quantize(build(name), "ap_fixed<16,6>")
    for prefix, program in programs(graph):
        for op in program.ops:
            if op.kind == "mul" and not any(shifts(program[arg]) for arg in op.args):
                widths = [program[arg].type.width + (not program[arg].type.signed) for arg in op.args]
                assert max(widths) <= 18, (prefix, op.name)
            if isinstance(op, Lookup):
                # Values that a slope is added to have one bit more, for the half that rounds the sum.
                assert op.type.width <= 18 + op.name.endswith("_value"), (prefix, op.name)


# --- Folds


#: With interpolated tables, behind sums that stand in one part or in two.
INTERPOLATED = [(name, precision) for name in ("lstm", "gru", "gru_before", "chain", "stack/lstm", "lstm/elu/sigmoid")
                for precision in ("ap_fixed<16,3>", "ap_fixed<23,5>")]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, "ap_fixed<16,6>") for name in NETWORKS), ("chain", "ap_fixed<8,3,AP_TRN,AP_WRAP>"), *INTERPOLATED],
)
def test_reference_equals_kernels(name, precision):
    graph = exact.quantize(build(name), precision, table_size=None if (name, precision) in INTERPOLATED else 256)
    agrees_with_reference(graph, quantize_inputs(graph, inputs(build(name), 6)))


def test_save_and_load(tmp_path):
    graph = exact.quantize(build("chain"), "ap_fixed<12,5>")
    graph.save(tmp_path / "net.fx")
    assert Graph.load(tmp_path / "net.fx") == graph
    assert exact.quantize(build("chain"), "ap_fixed<12,5>").digest == graph.digest


# --- Distance from float


@pytest.mark.parametrize("name", NETWORKS)
def test_more_bits_and_entries_come_nearer_to_float(name):
    source = build(name)
    x = inputs(source)
    want = predict_float(source, x)
    coarse, fine = (
        np.abs(predict(exact.quantize(source, precision, table_size=size), x) - want)
        for precision, size in (("ap_fixed<10,5>", 256), ("ap_fixed<22,7>", 8192))
    )
    if not any(word in name for word in STEEP):
        assert fine.max() < 5e-3
        assert fine.mean() < 1e-3
        assert coarse.max() < 0.6
    assert fine.mean() <= coarse.mean()


WIDTHS = (12, 16, 20, 24)


def falling(source: Source, x, integer: int, table_size: int | None = None):
    """Mean and largest errors of a network at each width."""
    want = predict_float(source, x)
    graphs = (exact.quantize(source, f"ap_fixed<{width},{integer}>", table_size=table_size) for width in WIDTHS)
    errors = [np.abs(predict(graph, x, warn=False) - want) for graph in graphs]
    return np.array([error.mean() for error in errors]), np.array([error.max() for error in errors])


@pytest.mark.parametrize("name", ["digits", "lstm", "gru", "stack"])
def test_more_bits_help_to_the_last(name):
    """Every four bits make the errors at most a fifth of what they were, up to 24."""
    if name == "digits":
        source, x, integer = read_model(MODEL), np.load(DATA)["x"][:120].astype(float), 3
    else:
        rng = rng_of(name)
        one = cell("gru" if name == "gru" else "lstm", rng, units=8, return_sequences=name == "stack")
        two = (cell("gru", rng, "two", 8, 8),) if name == "stack" else ()
        source = network(one, *two, dense(rng, 8, 3), activation("elu"), dense(rng, 3, 3, "out"), shape=(12, 3))
        x, integer = inputs(source, 100), 4
    mean, largest = falling(source, x, integer)
    assert np.all(mean[1:] < mean[:-1] / 5)
    assert np.all(largest[1:] < largest[:-1] / 5)
    if name in ("digits", "gru"):  # which tables of 1024 entries do not do
        mean, largest = falling(source, x, integer, 1024)
        assert mean[-1] > mean[1] / 2 and largest[-1] > largest[1] / 2


def test_a_dense_layer_is_within_its_bound():
    rng = rng_of("bound")
    layer = dense(rng, 8, 5)
    source = network(layer, shape=(8,))
    graph = exact.quantize(source, "ap_fixed<12,5>")
    x = to_float(quantize_inputs(graph, rng.normal(0, 1.0, (500, 8))), graph.input)
    dot = graph.nodes[0].program.dots[0]
    limit = np.abs(x).sum(axis=1, keepdims=True) * dot.weights.type.lsb + 2.0**-dot.type.frac + graph.output.lsb / 2
    assert np.all(np.abs(predict(graph, x) - predict_float(source, x)) <= limit)


@pytest.mark.parametrize("precision", ["ap_fixed<10,3>", "ap_fixed<13,3>", "ap_fixed<16,3>", "ap_fixed<24,3>"])
def test_an_lstm_is_within_its_bound(precision):
    """Errors added up through the formulas, with |functions| <= 1 and slopes 1/4 and 1."""
    rng = rng_of("lstm bound")
    source = network(cell("lstm", rng, scale=0.1, return_sequences=True), shape=(5, 3))
    graph = exact.quantize(source, precision)
    program = graph.nodes[0].program
    x = to_float(quantize_inputs(graph, rng.normal(0, 0.5, (300, 5, 3))), graph.input)
    of_table = {row.op.removesuffix("_value"): row.bound for row in table_report(graph)}
    wx, uh = program.dots
    recurrent = np.abs(source.layers[0].weights["recurrent_kernel"]).sum(axis=0).max()
    h = c = 0.0
    difference = np.abs(predict(graph, x) - predict_float(source, x))
    for t in range(5):
        total = np.abs(x[:, t]).sum(axis=1).max() * wx.weights.type.lsb + 2.0**-wx.type.frac
        total += recurrent * h + 4 * uh.weights.type.lsb * (1 + h)
        i, f, o = (total / 4 + of_table[gate] for gate in "ifo")
        g = total + of_table["g"]
        c = i + g + i * g + t * f + c + c * f + program["c"].type.lsb / 2
        act = c + of_table["act_c"]
        h = o + act + o * act + program["h"].type.lsb
        assert difference[:, t].max() <= h + graph.output.lsb / 2
    assert h < 160 * graph.input.lsb  # so that the test says something


@pytest.mark.parametrize("precision", ["ap_fixed<16,8>", "ap_fixed<16,6>", "ap_fixed<16,2>", "ap_fixed<22,4>"])
@pytest.mark.parametrize("elements", [1, 2, 3, 4, 5, 10, 100])
def test_softmax(elements, precision):
    formats = Formats.of(precision)
    rng = rng_of(f"softmax{elements}")
    input, result = Fixed(16, 11), Fixed(24, 23, False, Round.RND, Overflow.SAT)
    program = lean(softmax(input, elements, result, Tables(formats)), formats.wide)
    assert program.elements == elements
    known = bounds(program)
    assert [op.name for op in program.ops if known[op.name].overflows] in ([], ["y"])
    x = np.concatenate([rng.normal(0, s, (40, elements)) for s in (0.01, 0.3, 3.0, 20.0)])
    raw = np.clip(np.rint(x * 2.0**11), input.min, input.max).astype(int)
    traces = [reference.scan(program, [row.tolist()], {})[0][0] for row in raw]
    got = np.array([trace["y"] for trace in traces]) * result.lsb
    exp = np.exp((raw - raw.max(axis=1, keepdims=True)) / 2.0**11)
    want = exp / exp.sum(axis=1, keepdims=True)
    # exp is off by a step of the precision except at the largest element, a share by half of that, and by all that
    # ends in 0; the inverse by a quarter. Both are rounded, and the inverse once for each time that the sum is halved.
    step, share = 2.0**-formats.places, 2.0 ** -(formats.gate - 2)
    lost = max(row[np.array(trace["e"]) == 0].sum() for row, trace in zip(want, traces, strict=True))
    assert lost < elements * step
    assert np.abs(got - want).max() < step / 2 + step / 4 + lost + (2 + elements.bit_length()) * share
    assert np.abs(got.sum(axis=1) - 1).max() < 2 * step + elements * share
    # The largest is the largest, even one step above the next.
    assert np.array_equal(got.argmax(axis=1), raw.argmax(axis=1))


@pytest.mark.parametrize("precision", ["ap_fixed<16,8>", "ap_fixed<16,6>", "ap_fixed<16,2>", "ap_fixed<22,4>"])
@pytest.mark.parametrize("elements", [1, 2, 3, 5, 10, 100])
def test_log_softmax(elements, precision):
    formats = Formats.of(precision)
    rng = rng_of(f"log_softmax{elements}")
    input, result = Fixed(16, 11), Fixed(24, 18, True, Round.RND, Overflow.SAT)
    program = lean(log_softmax(input, elements, result, Tables(formats)), formats.wide)
    x = np.concatenate([rng.normal(0, s, (40, elements)) for s in (0.01, 0.3, 3.0, 8.0)])
    raw = np.clip(np.rint(x * 2.0**11), input.min, input.max).astype(int)
    got = np.array([reference.scan(program, [row.tolist()], {})[0][0]["y"] for row in raw]) * result.lsb
    below = (raw - raw.max(axis=1, keepdims=True)) / 2.0**11
    want = below - np.log(np.exp(below).sum(axis=1, keepdims=True))
    # The largest element's exp is exactly 1, so that the sum is at least 1 and off by the others' errors: its logarithm
    # by no more. The constants of the halvings have the bits of the logarithm.
    step, lsb = 2.0**-formats.places, program["log"].type.lsb
    exp, log = step + 2 * lsb, step / 2 + lsb
    halvings = sum(op.name.startswith("over_") for op in program.ops)
    bound = (elements - 1) * exp + log + halvings * lsb / 2 + result.lsb / 2
    clipped = np.clip(want, result.min * result.lsb, result.max * result.lsb)
    assert np.abs(got - clipped).max() <= bound
    assert np.array_equal(got.argmax(axis=1), raw.argmax(axis=1))
    # Of equal elements every exp is 1 and exact.
    (trace,), _ = reference.scan(program, [[700] * elements], {})
    equal = np.array(trace["y"]) * result.lsb
    assert np.abs(equal + np.log(elements)).max() <= log + halvings * lsb / 2 + result.lsb / 2


def test_softmax_keeps_the_order_of_the_two_largest():
    input, result = Fixed(16, 11), Fixed(16, 15, True, Round.RND, Overflow.SAT)
    program = softmax(input, 3, result, Tables(Formats.of("ap_fixed<16,1>")))
    for gap in range(1, 40):
        (trace,), _ = reference.scan(program, [[100, 100 + gap, 100 - 7]], {})
        assert trace["y"][1] > trace["y"][0] > 0


# --- Trained networks


@needs_shared
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_drawings(cell):
    drawings = np.load(SHARED / "data" / "quickdraw125.npz")
    source = read_model(SHARED / "models" / "quickdraw" / f"{cell}.h5")
    x = drawings["x"].astype(float)
    right = np.mean(predict_float(source, x).argmax(axis=1) == drawings["y"])
    assert right == {"lstm": 0.952, "gru": 0.928}[cell]
    for precision in ("ap_fixed<12,9>", "ap_fixed<14,9>", "ap_fixed<20,10>"):
        got = predict(exact.quantize(source, precision), x).argmax(axis=1)
        assert np.mean(got == drawings["y"]) >= right - 0.016, precision


@needs_shared
@pytest.mark.parametrize("width", [8, 18])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("folder", ["toptag", "ftag", "quickdraw"])
def test_trained_networks_run_on_machine_integers(folder, kind, width):
    files = (f"{kind}_arch.json", f"{kind}_weights.h5") if folder == "ftag" else (f"{kind}.h5", None)
    base = SHARED / "models" / folder
    source = read_model(base / files[0], base / files[1] if files[1] else None)
    for _, program in programs(exact.quantize(source, f"ap_fixed<{width},6>")):
        words.check(program, bounds(program))


def test_demo():
    data, source = np.load(DATA), read_model(MODEL)
    for precision in ("ap_fixed<16,6>", "ap_fixed<12,4>", "ap_fixed<10,4>", "ap_fixed<8,4>"):
        right = np.mean(predict(exact.quantize(source, precision), data["x"]).argmax(axis=1) == data["y"])
        assert right >= 0.97, precision


# --- Refusals


def refused(message: str):
    return pytest.raises(FxsimError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ("ap_ufixed<8,3>", "precision must be signed in the exact preset, ap_fixed<W,I>, not ap_ufixed<8,3>"),
        ("ap_fixed<1,1>", "precision ap_fixed<1,1>: width must be from 2 to 32 in the exact preset"),
        ("ap_fixed<33,6>", "precision ap_fixed<33,6>: width must be from 2 to 32 in the exact preset"),
        ("ap_fixed<16,65>", "precision ap_fixed<16,65>: integer bits must be from -32 to 64 in the exact preset"),
        (16, "precision must be a text like 'ap_fixed<16,6>' or a Fixed, not 16"),
    ],
)
def test_refuses_precision(precision, message):
    with refused(message):
        exact.quantize(build("lstm"), precision)


@pytest.mark.parametrize("size", [15, 65537, 0, 1024.0, True])
def test_refuses_table_size(size):
    with refused(f"table_size must be an integer from 16 to 65536, not {size!r}"):
        exact.quantize(build("lstm"), "ap_fixed<16,6>", table_size=size)


def changed(source: Source, place: int, **options) -> Source:
    layers = list(source.layers)
    layers[place] = dataclasses.replace(layers[place], **options)
    return dataclasses.replace(source, layers=tuple(layers))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lstm", {"units": 0}, "option 'units' must be a positive integer, not 0"),
        ("lstm", {"return_sequences": 1}, "option 'return_sequences' must be True or False, not 1"),
        ("gru", {"reset_after": None}, "option 'reset_after' must be True or False, not None"),
        ("lstm", {"activation": Function("hard_sigmoid", shift=0.5)}, "option 'slope' is missing"),
        ("lstm", {"recurrent_activation": Function("elu", alpha=None)}, "option 'alpha' is missing"),
        ("lstm", {"activation": Function("relu", alpha=0.5)}, "option 'alpha' is no parameter of relu"),
        (
            "lstm",
            {"activation": Function("swish")},
            (
                "activation must be one of linear, relu, hard_sigmoid, hard_tanh, leaky_relu, thresholded_relu, "
                "sigmoid, tanh, softplus, softsign, elu, selu, not 'swish'"
            ),
        ),
        ("lstm", {"use_bias": False}, "weight 'bias' must be zero without use_bias"),
        ("lstm", {"use_bias": 0}, "option 'use_bias' must be True or False, not 0"),
    ],
)
def test_refuses_options(name, options, message):
    with refused(f"layer 'rnn': {message}"):
        exact.quantize(changed(build(name), 0, **options), "ap_fixed<16,6>")


def test_refuses_units_that_weights_or_readers_do_not_have():
    with refused("layer 'dense' takes 4 elements a step, its input has 5"):
        changed(build("lstm"), 0, units=5)
    with refused("layer 'rnn': weight 'kernel' must have shape (3, 20), not (3, 16)"):
        exact.quantize(network(dataclasses.replace(build("lstm").layers[0], units=5)), "ap_fixed<16,6>")


def test_refuses_parameters_and_directions():
    with refused("layer 'act': option 'alpha' is missing"):
        activation("elu", alpha=None)
    with refused("layer 'act': option 'alpha' must be a finite number, not nan"):
        activation("elu", alpha=float("nan"))
    both = bidirectional("gru", rng_of("bi"), "concat")
    with refused("layer 'bi': option 'forward' must be a recurrent layer"):
        dataclasses.replace(both, forward=1)
    with refused("layer 'bi': option 'return_sequences' must be that of its forward layer"):
        dataclasses.replace(both, backward=dataclasses.replace(both.backward, return_sequences=True))
    with refused("layer 'bi': merge_mode must be one of concat, sum, ave, mul, not 'max'"):
        dataclasses.replace(both, merge_mode="max")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lstm", {"activation": Function("softsign")}),
        ("lstm", {"recurrent_activation": Function("tanh")}),
        ("lstm/tanh/hard_sigmoid", {"recurrent_activation": Function("hard_sigmoid", slope=0.25, shift=0.5)}),
        ("lstm/tanh/hard_sigmoid", {"recurrent_activation": Function("hard_sigmoid", slope=0.2, shift=0.25)}),
        ("lstm/elu", {"activation": Function("elu", alpha=0.5)}),
        ("gru", {"reset_after": False}),
        ("gru", {"return_sequences": True}),
        ("first/elu", {"function": Function("elu", alpha=0.4)}),
        ("first/leaky_relu", {"function": Function("leaky_relu", alpha=0.4)}),
        ("first/thresholded_relu", {"function": Function("thresholded_relu", theta=1.0)}),
        ("first/hard_sigmoid", {"function": Function("hard_sigmoid", slope=0.25, shift=0.5)}),
        ("first/hard_sigmoid", {"function": Function("hard_sigmoid", slope=1 / 6, shift=0.25)}),
        ("bi_gru/sum", {"merge_mode": "ave"}),
    ],
)
def test_every_option_counts(name, options):
    source = build(name)
    assert exact.quantize(source, "ap_fixed<16,6>") != exact.quantize(changed(source, 0, **options), "ap_fixed<16,6>")


def test_formats_are_checked_once():
    assert Formats.of("ap_fixed<16,6>").precision == Fixed(16, 10, True, Round.RND, Overflow.SAT)
    assert Formats.of("ap_fixed<16,6>").wide == 18
    assert Formats.of("ap_fixed<24,6>").wide == 24
    program = exact.quantize(build("last/lstm"), "ap_fixed<16,6>").nodes[0].program
    assert isinstance(program, Program)
    assert (program.output, program.type.integer) == ("y", 6)
