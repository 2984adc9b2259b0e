# SPDX-License-Identifier: Apache-2.0
"""hls4ml configurations: what is inherited from where, what is refused, and that every key that is read matters."""

import copy
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest
import sources
from sources import activation

from fxsim.errors import FxsimError
from fxsim.importers.source import Bidirectional, Dense, Flatten, Recurrent, Source, SourceLayer
from fxsim.program.fixed import Fixed, Overflow, Round
from fxsim.program.graph import Graph
from fxsim.program.ops import Dot, Lookup
from fxsim.quantization.hls4ml import inferred, quantize
from fxsim.simulator.run import predict

STEPS, FEATURES, UNITS = 4, 3, 6
#: Units of both directions of a Bidirectional that puts them side by side.
BOTH_UNITS = 4, 8


def cell(kind: str, name: str, inputs: int, units: int = UNITS, **options) -> Recurrent:
    rng = np.random.default_rng(len(name))
    wide = {"lstm": 4, "gru": 3, "simple_rnn": 1}[kind] * units
    weights = {
        "kernel": rng.normal(0, 0.4, (inputs, wide)),
        "recurrent_kernel": rng.normal(0, 0.4, (units, wide)),
        "bias": rng.normal(0, 0.4, wide),
    }
    if kind == "gru":
        weights["recurrent_bias"] = rng.normal(0, 0.4, wide)
    return sources.recurrent(kind, name, weights, **{"return_sequences": True, **options})


def dense(name: str, inputs: int, units: int, use_bias: bool = True) -> Dense:
    rng = np.random.default_rng(len(name))
    weights = {"kernel": rng.normal(0, 0.4, (inputs, units)), "bias": rng.normal(0, 0.4, units) * use_bias}
    return sources.dense(name, weights, use_bias)


def bidirectional(name: str, inputs: int, merge_mode: str = "concat", alike: bool = False) -> Bidirectional:
    units = (UNITS, UNITS) if alike else BOTH_UNITS
    forward = cell("gru", "forward_gru", inputs, units[0])
    backward = cell("gru" if alike else "lstm", "backward_cell", inputs, units[1])
    return Bidirectional(name, merge_mode=merge_mode, forward=forward, backward=backward)


def source(*layers: SourceLayer) -> Source:
    return Source("net", "inp", (STEPS, FEATURES), layers)


NET = source(
    cell("lstm", "rnn", FEATURES),
    bidirectional("bi", UNITS),
    dense("seq", sum(BOTH_UNITS), 4),
    activation("seq_relu", "relu"),
    Flatten("flat"),
    dense("mid", 4 * STEPS, 4),
    activation("mid_elu", "elu", alpha=0.75),
    dense("late", 4, 4),
    activation("late_sigmoid", "sigmoid"),
    dense("hard", 4, 4),
    activation("hard_hard_sigmoid", "hard_sigmoid", slope=0.2, shift=0.5),
    dense("out", 4, 4),
    activation("out_softmax", "softmax"),
)
A = "ap_fixed<14,5,AP_RND,AP_SAT>"
WIDE = "ap_fixed<40,20>"  # wider than anything inferred here
CELL = ("weight", "bias", "recurrent_weight", "recurrent_bias")
BOTH = [f"{side}_{name}" for side in ("forward", "backward") for name in CELL]


def entry(*variables: str, **keys) -> dict:
    return {"Precision": dict.fromkeys(variables, A), "ReuseFactor": 2, "Strategy": "Resource", "Trace": False, **keys}


def table(*variables: str, **keys) -> dict:
    return entry(*variables, TableSize=512, table_t=A, **keys)


#: Every key that is read, for every class of layers, none at its default.
FULL: dict = {
    "Model": {"Precision": {"default": "ap_fixed<16,6>", "maximum": WIDE}, "ReuseFactor": 3, "Strategy": "Resource"},
    "LayerName": {
        "inp": {"Precision": {"result": A}},
        "rnn": table(*CELL, "accum", "result", Static=True, RecurrentReuseFactor=1),
        "bi": table(*BOTH, "accum", "result", Static=True),
        "seq": entry("weight", "bias", "accum", "result"),
        "seq_relu": {"Precision": {"result": A}},
        "flat": {"Precision": {"result": "auto"}},
        "mid": {**entry("weight", "bias"), "Precision": {"weight": A, "bias": A, "accum": "auto", "result": "auto"}},
        "mid_elu": table("result", "param"),
        "late": entry("weight", "bias", "accum", "result"),
        "late_sigmoid": table("result"),
        "hard": entry("weight", "bias", "accum", "result"),
        "hard_hard_sigmoid": {"Precision": {"result": A}},
        "out": entry("weight", "bias", "accum", "result"),
        "out_softmax": {
            **entry("result", "accum", TableSize=64, Implementation="stable"),
            "exp_table_t": A,
            "inv_table_t": A,
            "inv_inp_t": A,
            "Skip": False,
        },
    },
}
#: What an activation or a Reshape does not read: a reuse factor and a strategy.
_NO_PRODUCTS = ("mid_elu", "late_sigmoid", "out_softmax")
_UNREAD = {(name, key) for name in _NO_PRODUCTS for key in ("ReuseFactor", "Strategy")}
#: Overwritten by hls4ml, or about the hardware alone; the model's own are set again by every layer of FULL.
_UNREAD |= {("rnn", "RecurrentReuseFactor"), ("rnn", "Static"), ("bi", "Static")}
_UNREAD |= {(name, "Trace") for name in FULL["LayerName"]} | {("Model", "ReuseFactor"), ("Model", "Strategy")}


def leaves(value, path: tuple = ()) -> Iterator[tuple]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path


def put(config, path: tuple, value) -> dict:
    changed = copy.deepcopy(config)
    inner = changed
    for key in path[:-1]:
        inner = inner.setdefault(key, {})
    inner[path[-1]] = value
    return changed


def other(path: tuple, value):
    """A legal value that is not ``value``."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return {"ReuseFactor": 1, "TableSize": 32}.get(path[-1], 1)
    return {"Strategy": "Latency", "Implementation": "latency"}.get(path[-1], "ap_fixed<13,6>")


def value_at(path: tuple):
    value = FULL
    for key in path:
        value = value[key]
    return value


def unread(path: tuple) -> bool:
    return path[-2:] in _UNREAD


@functools.cache
def digest(*without: str) -> str:
    return quantize(NET, fewer(FULL, *without)).digest


def fewer(config, *without: str) -> dict:
    names = {name: value for name, value in config["LayerName"].items() if name not in without}
    return {**config, "LayerName": names}


@pytest.mark.parametrize("path", list(leaves(FULL)), ids=".".join)
def test_every_key_matters_or_is_known_not_to(path):
    mutant = put(FULL, path, other(path, value_at(path)))
    without = ["late"] if path[-1] == "default" else []  # which then has the default
    same = quantize(NET, fewer(mutant, *without)).digest == digest(*without)
    assert same == unread(path)


@pytest.mark.parametrize("path", [path for path in leaves(FULL) if not unread(path)], ids=".".join)
def test_every_wrong_value_is_refused(path):
    with pytest.raises(FxsimError) as refusal:
        quantize(NET, put(FULL, path, "wrong"))
    message = str(refusal.value)
    assert "\n" not in message and path[-1] in message and "wrong" in message
    assert (repr(path[1]) if path[0] == "LayerName" else "Model") in message


@pytest.mark.parametrize("name", [None, *FULL["LayerName"]])
def test_unknown_keys_are_refused_everywhere(name):
    section = ("Model",) if name is None else ("LayerName", name)
    where = "Model" if name is None else f"layer '{name}'"
    with pytest.raises(FxsimError, match=rf"^{where}: key 'Presicion' must be one of .*Precision, .*Strategy"):
        quantize(NET, put(FULL, (*section, "Presicion"), "x"))
    with pytest.raises(FxsimError, match=rf"^{where}: Precision: key 'reslut' must be one of .*result"):
        quantize(NET, put(FULL, (*section, "Precision", "reslut"), A))


def named(**layers) -> dict:
    return {"Model": {"Precision": "ap_fixed<16,6>"}, "LayerName": layers}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (named(rmm={}), r"^LayerName must be one of inp, rnn, bi, .*, not 'rmm'$"),
        ({"LayerType": {"Conv2D": {}}}, r"^LayerType must be one of Input, LSTM, .*, not 'Conv2D'$"),
        ({"Modell": {}}, r"^the hls4ml configuration: key 'Modell' must be one of .*Model"),
        ({"HLSConfig": {"Modell": {}}}, r"^HLSConfig: key 'Modell' must be one of "),
        ({"HLSConfig": {}, "Model": {}}, r"^the project: key 'Model' must be one of .*HLSConfig"),
        ({"HLSConfig": {}, "Backend": "Quartus"}, r"^Backend must be one of Vivado, Vitis, .*, not 'Quartus'$"),
        ({"IOType": "io_serial"}, r"^IOType must be one of io_parallel, io_stream, not 'io_serial'$"),
        ({"Optimizers": ["x"]}, r"^the hls4ml configuration: Optimizers must be None, not \['x'\]$"),
        ({"Model": {"BitExact": True}}, r"^Model: BitExact must be False or None, not True$"),
        ({"Model": {"Compression": True}}, r"^Model: Compression must be False or 0 or None, not True$"),
        ({"Model": {"TargetCycles": 9}}, r"^Model: TargetCycles must be None, not 9$"),
        (named(out={"TargetCycles": 9}), r"^layer 'out': TargetCycles must be None, not 9$"),
        ({"Model": {"Precision": {"weight": A}}}, r"^Model: Precision must have the key 'default'$"),
        ({"Model": {"Precision": "auto"}}, r"^Model: Precision default must be a precision, not 'auto'$"),
        ({"Model": {"Precision": "float"}}, r"^Model: Precision default: precision must look like ap_fixed<W,I"),
        ({"Model": {"Precision": "ap_fixed<65,6>"}}, r"^Model: Precision default: .* the width must be from 1 to 64$"),
        ({"Model": {"Precision": "ap_fixed<16,6,AP_RND,AP_SAT,1>"}}, r"saturation bits must be 0, not 1$"),
        ({"Model": {"Precision": {"default": A, "table": A}}}, r"^Model: Precision: key 'table' must be one of "),
        ({"Model": {"Strategy": "Distributed_Arithmetic"}}, r"^Model: Strategy must be one of Latency, Resource, Res"),
        ({"Model": {"ReuseFactor": 0}}, r"^layer 'rnn': ReuseFactor must be an integer from 1 to \d+, not 0$"),
        (named(rnn={"TableSize": 1.5}), r"^layer 'rnn': TableSize must be an integer from 2 to 1048576, not 1.5$"),
        (named(rnn={"table_t": "auto"}), r"^layer 'rnn': table_t must be a precision, not 'auto'$"),
        (named(out={"table_t": A}), r"^layer 'out': key 'table_t' must be one of "),
        (named(out_softmax={"table_t": A}), r"^layer 'out_softmax': key 'table_t' must be one of .*exp_table_t"),
        (named(out_softmax={"TableSize": 1000}), r"^layer 'out_softmax': TableSize must be a power of two"),
        (named(out_softmax={"inv_inp_t": "ap_fixed<9,4>"}), r"^layer 'out_softmax': inv_inp_t must have at least 10"),
        (named(out_softmax={"Implementation": "exact"}), r"^layer 'out_softmax': Implementation must be one of stable"),
        (named(out={"Precision": "ap_fixed<1,1>"}), r"^layer 'out_softmax': the input of softmax must have at least"),
        ({"LayerType": {"InputLayer": {"Precision": {"result": A}}}}, r"^LayerType InputLayer: result has no effect"),
        ({"Model": 3}, r"^Model must be a dictionary, not 3$"),
        (
            named(rnn={"reuse_factor": 2}),
            r"^layer 'rnn': key 'reuse_factor' has no effect in hls4ml, which reads ReuseFa",
        ),
        (named(rnn={"strategy": "x"}), r"^layer 'rnn': key 'strategy' has no effect in hls4ml, which reads Strategy$"),
        (named(rnn={3: 4}), r"^layer 'rnn': key 3 must be one of "),
        (named(rnn={"table_sizes": 4}), r"^layer 'rnn': key 'table_sizes' must be one of "),
        ({"HLSConfig": {}, "ClokPeriod": 5}, r"^the project: key 'ClokPeriod' must be one of .*ClockPeriod"),
        (
            {"HLSConfig": {}, "AcceleratorConfig": {"Precision": {"Input": "ap_fixed<8,2>"}}},
            r"^AcceleratorConfig: Precision Input must be float or double, not 'ap_fixed<8,2>'$",
        ),
        (
            {"HLSConfig": {}, "AcceleratorConfig": {"Precision": 3}},
            r"^AcceleratorConfig: Precision must be a dictionary",
        ),
        ({"Model": []}, r"^Model must be a dictionary, not \[\]$"),
        ({"Model": {}, "LayerName": False}, r"^LayerName must be a dictionary, not False$"),
        (7, r"^the hls4ml configuration must be a dictionary, not 7$"),
    ],
)
def test_refusals(config, message):
    with pytest.raises(FxsimError, match=message) as refusal:
        quantize(NET, config)
    assert "\n" not in str(refusal.value)


def test_skip_is_for_the_last_layer():
    config = named(out_softmax={"Skip": True})
    assert quantize(NET, config).nodes[-1].name == "out"
    more = source(*NET.layers, dense("more", 4, 1))
    with pytest.raises(FxsimError, match=r"^layer 'out_softmax': Skip must be False for a layer that is not the last"):
        quantize(more, config)


def snake_case(entry: dict) -> dict:
    exact = ("Precision", "ReuseFactor", "Strategy")
    return {key if key in exact else re.sub(r"(?<!^)(?=[A-Z])", "_", key).lower(): entry[key] for key in entry}


def test_keys_in_snake_case():
    """hls4ml makes snake_case of every key of a layer that it does not ask for by its exact name."""
    names = {name: snake_case(entry) for name, entry in FULL["LayerName"].items()}
    assert {"table_size", "static", "trace", "skip", "implementation"} <= {
        key for entry in names.values() for key in entry
    }
    assert quantize(NET, {**FULL, "LayerName": names}).digest == digest()


def test_of_two_spellings_the_last_counts():
    sizes = [
        next(op.table.values.shape for op in quantize(NET, named(rnn=entry)).nodes[0].program if isinstance(op, Lookup))
        for entry in ({"TableSize": 64, "table_size": 32}, {"table_size": 32, "TableSize": 64}, {"tableSize": 128})
    ]
    assert sizes == [(32,), (64,), (128,)]


# --- What is inherited from where


def dots(graph: Graph, layer: str) -> list[Dot]:
    return [op for one in graph.nodes if one.name == layer for op in one.program.dots]


def formats(config: dict) -> tuple[str, str]:
    """Formats of the input product and its weights in the layer 'late'."""
    dot = dots(quantize(NET, config), "late")[0]
    return str(dot.type), str(dot.weights.type)


B, C, D, E = (f"ap_fixed<{width},6>" for width in (17, 18, 19, 20))


@pytest.mark.parametrize(
    ("config", "want"),
    [
        ({}, ("ap_fixed<16,6>", "ap_fixed<16,6>")),
        ({"Model": {"Precision": B}}, (B, B)),
        ({"Model": {"Precision": {"default": B, "weight": C}}}, (B, C)),
        ({"Model": {"Precision": {"default": B, "weight": C}}, "LayerType": {"Dense": {"Precision": D}}}, (D, D)),
        ({"LayerType": {"Dense": {"Precision": {"weight": C, "default": D}}}}, (D, C)),
        ({"LayerType": {"Dense": {"Precision": {"weight": C}}}, **named(late={"Precision": E})}, (E, E)),
        (named(late={"Precision": {"weight": C, "accum": D}}), (D, C)),
        (named(late={"Precision": {"weight": C, "accum": D}, "accum_t": E}), (E, C)),
        ({"HLSConfig": named(late={"Precision": E}), "Backend": "Vitis", "OutputDir": "x", "Part": "y"}, (E, E)),
        ({**named(late={"Precision": E}), "IOType": "io_stream", "ProjectName": "p"}, (E, E)),
    ],
)
def test_order_of_precisions(config, want):
    assert formats(config) == want


def test_layer_types_do_not_reach_a_dense_over_the_sequence():
    """hls4ml turns it into another class before it looks the type up."""
    graph = quantize(NET, {"LayerType": {"Dense": {"Precision": B}}})
    assert {str(dot.type) for dot in dots(graph, "seq")} == {"ap_fixed<16,6>"}
    assert {str(dot.type) for dot in dots(graph, "mid")} == {B}


def test_precision_of_tables_has_no_effect_and_the_key_of_the_layer_has():
    plain = quantize(NET, {})
    ignored = named(rnn={"Precision": {"table": A}}, out_softmax={"Precision": {"exp_table": A, "inv_inp": A}})
    assert quantize(NET, ignored).digest == plain.digest
    lookups = [op for op in quantize(NET, named(rnn={"table_t": A})).nodes[0].program if isinstance(op, Lookup)]
    assert lookups and {str(op.table.values.type) for op in lookups} == {A}


def test_what_layer_types_under_wrong_names_say_is_ignored_if_it_is_nothing():
    written = {"Precision": {"result": "auto", "table": "fixed<18,8,TRN,WRAP,0>"}, "ReuseFactor": 1, "TableSize": 1024}
    config = {"LayerType": {"InputLayer": {"Trace": False, "Precision": {"result": "auto"}}, "ELU": written}}
    assert quantize(NET, config).digest == quantize(NET, {}).digest


def test_integers_truncate_toward_zero():
    graph = quantize(NET, named(late={"Precision": {"result": "ap_int<9>", "accum": "ap_uint<8>"}}))
    assert dots(graph, "late")[0].type == Fixed(8, 0, False, Round.TRN_ZERO)
    assert next(one for one in graph.nodes if one.name == "late").program.type == Fixed(9, 0, True, Round.TRN_ZERO)


@pytest.mark.parametrize(
    ("ac", "ap"),
    [
        ("ac_fixed<12, 4>", "ap_fixed<12,4>"),
        ("ac_fixed<12,4,true>", "ap_fixed<12,4>"),
        ("ac_fixed<12,4,false,AC_RND,AC_SAT>", "ap_ufixed<12,4,AP_RND,AP_SAT>"),
        ("ac_fixed<12,4,1,AC_RND_CONV,AC_SAT_SYM>", "ap_fixed<12,4,AP_RND_CONV,AP_SAT_SYM>"),
        ("ac_int<9>", "ap_int<9>"),
        ("ac_int<9, False>", "ap_uint<9>"),
    ],
)
def test_formats_by_the_names_of_algorithmic_c(ac, ap):
    given, want = (quantize(NET, named(late={"Precision": {"result": text}})) for text in (ac, ap))
    assert given.digest == want.digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ac_fixed<12,4,maybe>", "precision 'ac_fixed<12,4,maybe>': the sign must be true or false, not 'maybe'"),
        ("ac_fixed<12>", "precision must look like "),
        ("ac_float<12,4,3>", "precision must look like "),
    ],
)
def test_formats_of_algorithmic_c_that_are_none(text, words):
    with pytest.raises(FxsimError, match=rf"^layer 'late': Precision result: {re.escape(words)}"):
        quantize(NET, named(late={"Precision": {"result": text}}))


def auto(*variables: str) -> dict:
    return {"Precision": dict.fromkeys(variables, "auto")}


def test_inference_follows_the_previous_layer():
    config = named(
        seq_relu={"Precision": {"result": "ap_ufixed<9,3>"}}, flat=auto("result"), mid=auto("accum", "result")
    )
    type = dots(quantize(NET, config), "mid")[0].type
    # 16 products of <9,3> unsigned and <16,6>: 9 + 16 + 4 bits, 3 + 6 + 4 before the point, one more for the bias.
    assert str(type) == "ap_fixed<30,14>"
    # Without 'auto' the Flatten is declared to have the default, and inference believes it.
    del config["LayerName"]["flat"]
    assert str(dots(quantize(NET, config), "mid")[0].type) == "ap_fixed<37,17>"
    config["Model"]["Precision"] = {"default": "ap_fixed<16,6>", "maximum": "ap_fixed<20,8>"}
    assert str(dots(quantize(NET, config), "mid")[0].type) == "ap_fixed<20,8>"


def test_inferred_formats():
    x, w = Fixed(16, 10), Fixed(16, 10)
    assert str(inferred(120, x, w, Fixed(16, 10), None)) == "ap_fixed<40,20>"
    assert str(inferred(1, x, w, Fixed(1, 0, False), None)) == "ap_fixed<33,13>"
    assert str(inferred(4, Fixed(8, 4, False), Fixed(8, 4, False), Fixed(8, 6), None)) == "ap_fixed<20,12>"
    assert inferred(4, x, w, w, Fixed(4, 30)) == Fixed(4, 30)
    assert inferred(4, Fixed(1, 8), Fixed(1, 8), Fixed(1, 8), None) == Fixed(10, 16)


@pytest.mark.parametrize(
    ("strategy", "reuse", "want"),
    [
        ("Latency", 4, 1),
        ("Resource", 1, 1),
        ("Resource", 2, 2),
        ("Resource", 3, 2),  # as near to 2 as to 4: the smaller
        ("Resource", 5, 4),
        ("resource", 13, 1),  # 16, that is all inputs: natural order
        ("Resource_unrolled", 8, 8),
        ("ResourceUnrolled", 999, 1),
    ],
)
def test_reuse_factors_become_the_order_of_a_sum(strategy, reuse, want):
    graph = quantize(NET, named(mid={"Strategy": strategy, "ReuseFactor": reuse}))
    assert [dot.stride for dot in dots(graph, "mid")] == [want]


@pytest.mark.parametrize(("io", "legal"), [("io_parallel", (1, 2, 6, 12)), ("io_stream", (1, 4, 12, 24, 36))])
def test_reuse_factors_of_a_dense_over_the_sequence(io, legal):
    """hls4ml replaces the model's by the nearest legal one, but keeps the layer's own and fails on illegal ones."""
    for reuse in legal:
        config = {**named(seq={"Strategy": "Resource", "ReuseFactor": reuse}), "IOType": io}
        assert [dot.stride for dot in dots(quantize(NET, config), "seq")] == [reuse if reuse < 12 else 1]
    model = {"Model": {"Strategy": "Resource", "ReuseFactor": 5}, "IOType": io}
    assert [dot.stride for dot in dots(quantize(NET, model), "seq")] == [4]
    for reuse in (5, 25, *((24,) if io == "io_parallel" else ())):
        with pytest.raises(FxsimError, match=rf"^layer 'seq': ReuseFactor of a Dense .* divide 12.*, not {reuse}$"):
            quantize(NET, {**model, "LayerName": {"seq": {"ReuseFactor": reuse}}})


# --- What hls4ml computes wrongly is computed as the model says


def values(*layers: SourceLayer, config=None):
    rng = np.random.default_rng(8)
    graph = quantize(source(*layers), config or {"Model": {"Precision": "ap_fixed<24,8,AP_RND,AP_SAT>"}, **FINE})
    return predict(graph, rng.normal(0, 1, (6, STEPS, FEATURES))), graph


FINE = {
    "LayerType": {kind: {"TableSize": 1 << 14, "table_t": "ap_fixed<26,4,AP_RND>"} for kind in ("GRU", "SimpleRNN")}
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_gru_with_the_reset_before_the_product():
    layer = cell("gru", "rnn", FEATURES, reset_after=False)
    layer.weights["recurrent_bias"][:] = 0
    got, _ = values(layer)
    x, w = np.random.default_rng(8).normal(0, 1, (6, STEPS, FEATURES)), layer.weights
    h = np.zeros((6, UNITS))
    for t in range(STEPS):
        z, r, c = np.split(x[:, t] @ w["kernel"] + w["bias"], 3, axis=1)
        uz, ur, uc = np.split(w["recurrent_kernel"], 3, axis=1)
        z, r = sigmoid(z + h @ uz), sigmoid(r + h @ ur)
        h = z * h + (1 - z) * np.tanh(c + (r * h) @ uc)
        assert np.abs(got[:, t] - h).max() < 0.01


def test_simple_rnn():
    layer = cell("simple_rnn", "rnn", FEATURES)
    got, _ = values(layer)
    x, w = np.random.default_rng(8).normal(0, 1, (6, STEPS, FEATURES)), layer.weights
    h = np.zeros((6, UNITS))
    for t in range(STEPS):
        h = np.tanh(x[:, t] @ w["kernel"] + h @ w["recurrent_kernel"] + w["bias"])
        assert np.abs(got[:, t] - h).max() < 0.01


@pytest.mark.parametrize(
    ("mode", "function"), [("sum", np.add), ("mul", np.multiply), ("ave", lambda a, b: (a + b) / 2)]
)
def test_directions_are_merged(mode, function):
    got, graph = values(bidirectional("bi", FEATURES, mode, alike=True))
    both, _ = values(bidirectional("bi", FEATURES, alike=True))
    assert [layer.name for layer in graph.nodes][-2:] == ["bi", f"bi_{mode}"]
    assert np.abs(got - function(both[..., :UNITS], both[..., UNITS:])).max() <= graph.output.lsb


@pytest.mark.parametrize("mode", ["sum", "mul", "ave"])
def test_directions_of_different_units_are_not_merged(mode):
    message = f"^layer 'bi': merge_mode '{mode}' takes directions of equal units, not 4 and 8; 'concat' takes any$"
    with pytest.raises(FxsimError, match=message):
        quantize(source(bidirectional("bi", FEATURES, mode)), {})


def test_large_inputs_of_a_table_read_its_end():
    wide = {"Model": {"Precision": "ap_fixed<16,6>"}, "LayerName": {"inp": {"Precision": "ap_fixed<40,36>"}}}
    graph = quantize(source(activation("act", "sigmoid")), wide)
    got = predict(graph, np.full((1, STEPS, FEATURES), [2.0**33, -(2.0**33), 0.0]))
    assert got[0, 0].tolist() == [1023 / 1024, 0.0, 0.5]


def test_hard_sigmoid_is_hls4mls_in_a_layer_and_the_models_in_a_cell():
    layer = quantize(source(activation("act", "hard_sigmoid", slope=1 / 6, shift=0.5)), {}).nodes[0]
    assert layer.program["y_slope"].values.data.tolist() == [13107]
    rnn = cell("lstm", "rnn", FEATURES, recurrent_activation=sources.function("hard_sigmoid", slope=1 / 6))
    assert quantize(source(rnn), {}).nodes[0].program["i_slope"].values.data.tolist() == [2**16 // 6]


def test_selu_in_a_stream_has_its_slope_in_the_inputs_format():
    net = source(activation("act", "selu"))
    parallel, stream = (quantize(net, {"IOType": io}).nodes[0].program for io in ("io_parallel", "io_stream"))
    assert str(parallel["y_slope"].type) == "ap_ufixed<16,1>"
    assert str(stream["y_slope"].type) == "ap_fixed<16,6>"


@pytest.mark.parametrize(("io", "entries"), [("io_parallel", 256), ("io_stream", 1024)])
def test_legacy_softmax_in_a_stream_has_tables_of_1024(io, entries):
    config = {**named(act={"Implementation": "legacy", "TableSize": 256}), "IOType": io}
    program = quantize(source(activation("act", "softmax")), config).nodes[-1].program
    assert {op.table.values.shape for op in program if isinstance(op, Lookup)} == {(entries,)}


@pytest.mark.parametrize(
    ("alpha", "want"),
    [
        (0.3, "ap_ufixed<8,-1>"),
        (1.0, "ap_ufixed<1,1>"),
        (0.0, "ap_ufixed<1,1>"),
        (-0.5, "ap_fixed<1,0>"),
        (0.75, "ap_ufixed<2,0>"),
        (-3.3, "ap_fixed<9,3>"),
        (6.0, "ap_ufixed<2,3>"),
    ],
)
def test_format_of_a_constant(alpha, want):
    config = named(act={"Precision": {"param": "auto"}})
    graph = quantize(source(activation("act", "leaky_relu", alpha=alpha)), config)
    assert str(graph.nodes[0].program["y_slope"].type) == want


# --- Linear activations


def linear(config: dict) -> list[str]:
    graph = quantize(source(dense("d", FEATURES, 2), activation("d_linear", "linear")), config)
    return [f"{layer.name} {type}" for layer, *_, type in graph.flow()]


def test_linear_activations_vanish_where_hls4ml_removes_them():
    assert linear({}) == ["d ap_fixed<16,6>"]
    assert linear(named(d=auto("accum", "result"), d_linear=auto("result"))) == ["d ap_fixed<35,15>"]
    assert linear(named(d=auto("accum", "result"), d_linear={"Precision": A})) == ["d ap_fixed<35,15>"]
    assert linear(named(d_linear={"Precision": A})) == ["d ap_fixed<16,6>", f"d_linear {A}"]
    assert linear(named(d={"Precision": A}, d_linear=auto("result"))) == [f"d {A}", "d_linear ap_fixed<16,6>"]


def test_a_linear_activation_that_only_the_configuration_has():
    net = source(dense("d", FEATURES, 2))
    assert [layer.name for layer in quantize(net, named(d_linear={"Precision": A})).nodes] == ["d", "d_linear"]
    assert [layer.name for layer in quantize(net, {}).nodes] == ["d"]
    active = source(dense("d", FEATURES, 2), activation("d_relu", "relu"))
    with pytest.raises(FxsimError, match=r"^LayerName must be one of inp, d, d_relu, not 'd_linear'$"):
        quantize(active, named(d_linear={"Precision": A}))


def test_layers_that_are_idle_at_inference_are_linear_activations():
    net = Source("net", "inp", (STEPS, FEATURES), (dense("d", FEATURES, 2),), idle=((0, "before"), (1, "drop")))
    fine = {"LayerName": {"d": {"Precision": A}}}
    assert [f"{one.name} {type}" for one, *_, type in quantize(net, fine).flow()] == [f"d {A}", "drop ap_fixed<16,6>"]
    assert [layer.name for layer in quantize(net, {}).nodes] == ["d"]
    named_too = {"LayerName": {"before": {"Precision": A}}}
    assert [layer.name for layer in quantize(net, named_too).nodes] == ["before", "d"]
    by_type = {"LayerType": {"Activation": {"Precision": A}}}
    assert [layer.name for layer in quantize(net, by_type).nodes] == ["before", "d", "drop"]


def test_relu_layers_of_keras_3_are_of_another_type():
    types = {"LayerType": {"Activation": {"Precision": A}, "ParametrizedActivation": {"Precision": "ap_fixed<9,4>"}}}
    for origin, want in (("", A), ("ReLU", "ap_fixed<9,4>")):
        layer = activation("act", "relu", origin)
        assert str(quantize(source(layer), types).output) == want


# --- Layers of Keras 2 and PyTorch


def test_prelu_has_a_slope_for_each_element():
    slopes = activation("act", "leaky_relu", alpha=(0.25, -0.5, 1.5))
    net = source(replace(slopes, origin="PReLU"))
    x = np.random.default_rng(0).integers(-999, 999, (6, STEPS, FEATURES)) / 64
    fine = quantize(net, named(act={"Precision": {"result": "ap_fixed<24,12>", "param": "ap_fixed<8,3>"}}))
    assert np.array_equal(predict(fine, x), np.where(x > 0, x, np.array([0.25, -0.5, 1.5]) * x))
    coarse = quantize(net, named(act={"Precision": {"result": "ap_fixed<24,12>", "param": "ap_fixed<3,2>"}}))
    assert np.array_equal(predict(coarse, x), np.where(x > 0, x, np.array([0.0, -0.5, 1.5]) * x))
    # Its class is one of its own, and a parameter left to hls4ml has the format of the input.
    auto = quantize(net, {"LayerType": {"PReLU": {"Precision": {"param": "auto", "result": A}}}})
    assert (auto.nodes[0].program["y_slope"].type, str(auto.output)) == (Fixed(16, 10), A)


def test_layers_at_every_step():
    """hls4ml has them between two markers, whose format must be that of the data."""
    inner = [dense("inner", FEATURES, 2), activation("inner_relu", "relu")]
    net = source(*(replace(layer, wrapper="td") for layer in inner))
    plain = quantize(net, {})
    assert [layer.name for layer in plain.nodes] == ["inner", "inner_relu"]
    # It is a Dense, and no convolution.
    assert dots(quantize(net, {"LayerType": {"Dense": {"Precision": B}}}), "inner")[0].type == Fixed.parse(B)
    for name in ("td", "td_end"):
        kept = named(**{name: {"Precision": {"result": "auto"}, "TimeStepLoopParallelism": "Off"}})
        assert quantize(net, kept).digest == plain.digest
        assert quantize(net, named(**{name: {"Precision": "ap_fixed<16,6>"}})).digest == plain.digest
        with pytest.raises(
            FxsimError, match=rf"^layer '{name}': Precision result must be that of its input, .*, not ap"
        ):
            quantize(net, named(**{name: {"Precision": B}}))


@pytest.mark.parametrize(
    ("layer", "io", "kinds"),
    [
        ({}, "io_parallel", ["flatten", "softmax"]),
        ({}, "io_stream", ["softmax"]),
        ({"origin": "Softmax"}, "io_parallel", ["softmax"]),
        ({"wrapper": "td"}, "io_parallel", ["softmax"]),
    ],
)
def test_softmax_over_all_steps_where_hls4ml_does_not_know_the_axis(layer, io, kinds):
    graph = quantize(source(replace(activation("act", "softmax"), **layer)), {"IOType": io})
    assert [one.kind for one in graph.nodes] == kinds
    assert graph.nodes[-1].program.elements == (FEATURES if len(kinds) == 1 else STEPS * FEATURES)


def test_modules_of_pytorch_have_the_names_of_hls4mls_trace():
    def net(*names: str, **options) -> Source:
        return replace(source(*(dense(name, FEATURES, FEATURES) for name in names)), **options)

    modules = ("head.0", "head.fcOut", "0", "plain")
    config = named(head_0={"Precision": B}, head_fc_out={"Precision": C}, _0={"Precision": D}, plain={"Precision": E})
    graph = quantize(net(*modules, framework="pytorch"), config)
    assert [str(dots(graph, name)[0].type) for name in modules] == [B, C, D, E]
    own = quantize(net(*modules, framework="pytorch"), named(**{"head.0": {"Precision": B}}))
    assert str(dots(own, "head.0")[0].type) == B
    with pytest.raises(FxsimError, match=r"^LayerName must be one of inp, head\.0, head\.0_linear, not 'head_0'$"):
        quantize(net("head.0"), named(head_0={"Precision": B}))


# --- Weights


@pytest.mark.parametrize(
    ("value", "want"), [(0.2499, 1), (0.24, 0), (-0.2501, -1), (-0.26, -2), (0.745, 2), (0.7451, 3)]
)
def test_weights_go_through_text(value, want):
    """With two decimals, a weight just below the grid is printed on it, and not truncated."""
    layer = dense("d", FEATURES, 1)
    layer.weights["kernel"][:] = value
    graph = quantize(source(layer), named(d={"Precision": {"weight": "ap_fixed<6,4>"}}))
    assert dots(graph, "d")[0].weights.data.reshape(-1).tolist() == [want] * FEATURES


def test_weights_wrap_or_saturate_by_their_own_modes():
    layer = dense("d", FEATURES, 1)
    layer.weights["kernel"][:] = 9.0
    for over, want in ((Overflow.WRAP, -28), (Overflow.SAT, 31)):
        config = named(d={"Precision": {"weight": f"ap_fixed<6,4,AP_RND,AP_{over.name}>"}})
        assert dots(quantize(source(layer), config), "d")[0].weights.data[0, 0] == want


def test_a_function_that_hls4ml_does_not_have() -> None:
    source = Source("net", "x", (3,), (activation("out", "log_softmax"),))
    with pytest.raises(FxsimError, match=r"^layer 'out': log_softmax is a function of preset exact, which"):
        quantize(source, {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1}})
