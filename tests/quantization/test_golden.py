# SPDX-License-Identifier: Apache-2.0
"""Every answer of hls4ml's compiled emulator: formats, weights, each layer's output, outputs. Equal means equal."""

import functools
import json

import numpy as np
import pytest
from shared import SHARED, needs_shared

from fxsim.importers import read_model
from fxsim.program.fixed import Fixed, Round, to_float
from fxsim.program.graph import Graph, Node, chain
from fxsim.program.integers import Const
from fxsim.program.ops import Dot, Lookup, Op
from fxsim.program.program import Program
from fxsim.quantization import hls4ml
from fxsim.simulator.run import predict, simulate

pytestmark = needs_shared

GOLDEN = None if SHARED is None else SHARED / "golden"
CASES = [] if GOLDEN is None else sorted(f.name for f in GOLDEN.iterdir() if (f / "resolved.json").is_file())
REAL = [] if GOLDEN is None else sorted(f.name for f in (GOLDEN / "real").iterdir())


@functools.cache
def load(name: str) -> Graph:
    folder = GOLDEN / name
    source = read_model(next(folder.glob("model.*")))
    return hls4ml.quantize(source, json.loads((folder / "hls_config.json").read_text()))


@functools.cache
def run(name: str):
    graph = load(name)
    wanted = [f"{prefix}.{program.output}" for prefix, program in graph.programs.items()]
    return simulate(graph, np.load(GOLDEN / name / "inputs.npy"), trace=wanted)


def resolved(name: str):
    """Every layer of the graph with what hls4ml resolved for it; a linear activation may be in neither."""
    graph = load(name)
    # The parts of a Bidirectional are not layers of their own there.
    parts = {f"{node.name}.{part}" for node in graph.nodes for part in ("forward", "reversed", "backward", "restored")}
    layers = {node.name: node for node in graph.nodes if node.name not in parts}
    for entry in json.loads((GOLDEN / name / "resolved.json").read_text())["layers"]:
        if entry["class_name"] != "Input":
            yield layers.pop(entry["name"]), entry
    assert not layers


def type_of(entry, key: str) -> Fixed:
    return Fixed.parse(entry["types"][key]["type"]["cpp"])


def sides(graph: Graph, layer: Node) -> list[tuple[Program, str]]:
    """The programs of a layer, with the prefix of their variables."""
    if layer.program is not None:
        return [(layer.program, "")]
    ends = ("forward", "backward") if layer.kind == "concat" else ()
    return [(graph.programs[f"{layer.name}.{side}"], f"{side}_") for side in ends]


def outputs(graph: Graph, layer: Node, trace, count: int):
    """The layer's output as its trace gives it, (count, ..., elements)."""
    parts = []
    for program, side in sides(graph, layer):
        name = f"{layer.name}.{side}".rstrip("._")
        values = to_float(trace[f"{name}.{program.output}"][:count], program.type)
        if not graph.by_name[name].return_sequences:
            values = values[:, -1:]
        # The backward direction takes the steps from the last one on.
        parts.append(values[:, ::-1] if side == "backward_" else values)
    return np.concatenate(parts, axis=-1)


def test_all_cases_are_here():
    assert len(CASES) == 58
    assert len(REAL) == 6


@pytest.mark.parametrize("name", CASES)
def test_outputs(name):
    want = np.load(GOLDEN / name / "outputs.npy")
    assert np.array_equal(run(name).values, want)


@pytest.mark.parametrize("name", CASES)
def test_every_layers_output(name):
    golden = np.load(GOLDEN / name / "trace.npz")
    samples = golden["sample_index"]
    trace = {key: value[samples] for key, value in run(name).trace.items()}
    layers = {layer.name: layer for layer, _ in resolved(name) if sides(load(name), layer)}
    assert {key for key in golden if key != "sample_index"} == set(layers)
    for key, layer in layers.items():
        got = outputs(load(name), layer, trace, len(samples))
        assert np.array_equal(got.reshape(golden[key].shape), golden[key]), key


@pytest.mark.parametrize("name", CASES)
def test_formats_and_sizes(name):
    graph = load(name)
    for layer, entry in resolved(name):
        assert graph.tensors[layer.name].type == type_of(entry, "result_t"), layer.name
        for program, prefix in sides(load(name), layer):
            for dot, matrix in zip(program.dots, ("", "recurrent_"), strict=False):
                assert dot.type == type_of(entry, "accum_t"), (layer.name, dot.name)
                assert dot.weights.type == type_of(entry, f"{prefix}{matrix}weight_t"), (layer.name, dot.name)
                assert dot.bias.type == type_of(entry, f"{prefix}{matrix}bias_t"), (layer.name, dot.name)
        for op in lookups(load(name), layer):
            size = int(entry["attributes"]["table_size"])
            if layer.kind != "softmax":
                assert op.table.values.shape == (size,), (layer.name, op.name)
                assert op.table.values.type == type_of(entry, "table_t"), (layer.name, op.name)
            elif entry["attributes"]["implementation"] != "legacy":
                key = "inv_table_t" if op.name == "inverse" else "exp_table_t"
                assert op.table.values.shape == (size,), (layer.name, op.name)
                assert op.table.values.type == type_of(entry, key), (layer.name, op.name)


@pytest.mark.parametrize("name", CASES)
def test_reuse_factors(name):
    for layer, entry in resolved(name):
        attributes = entry["attributes"]
        for program, prefix in sides(load(name), layer):
            for dot, matrix in zip(program.dots, ("", "recurrent_"), strict=False):
                factor = attributes[f"{prefix}{matrix}reuse_factor"]
                reordered = attributes["strategy"] != "latency" and factor < dot.weights.shape[0]
                assert dot.stride == (factor if reordered else 1), (layer.name, dot.name)


def lookups(graph: Graph, layer: Node) -> list[Lookup]:
    return [op for program, _ in sides(graph, layer) for op in program if isinstance(op, Lookup)]


@pytest.mark.parametrize("name", CASES)
def test_integer_weights(name):
    golden = np.load(GOLDEN / name / "qweights.npz")
    compared = set()
    for layer, entry in resolved(name):
        for program, prefix in sides(load(name), layer):
            for dot, matrix in zip(program.dots, ("", "recurrent_"), strict=False):
                weight, bias = (f"{layer.name}/{prefix}{matrix}{key}" for key in ("weight", "bias"))
                want = golden[weight].reshape(golden[weight].shape[-2:])
                # Transposed in memory for the strategy Resource.
                want = want.T if entry["attributes"].get("_weights_transposed") else want
                assert np.array_equal(dot.weights.data, want), weight
                assert np.array_equal(dot.bias.data, golden[bias]), bias
                compared |= {weight, bias}
    assert compared == set(golden)


@pytest.fixture(scope="module", params=REAL)
def real(request):
    folder = GOLDEN / "real" / request.param
    case = json.loads((folder / "case.json").read_text())
    weights = SHARED / "models" / case["weights"] if "weights" in case else None
    source = read_model(SHARED / "models" / case["model"], weights)
    graph = hls4ml.quantize(source, json.loads((folder / "hls_config.json").read_text()))
    return request.param, graph, np.load(folder / "io.npz")


def test_trained_networks_on_real_inputs(real):
    name, graph, io = real
    got = predict(graph, io["x"])
    assert np.array_equal(got, io["y"])
    if name.startswith("quickdraw"):
        drawings = np.load(SHARED / "data" / "quickdraw125.npz")
        assert np.array_equal(io["x"], drawings["x"])
        right = np.mean(got.argmax(axis=1) == drawings["y"])
        assert right == np.mean(io["y"].argmax(axis=1) == drawings["y"])
        assert right > 0.7


# --- The comparison must be able to fail.

MUTANT = "top_lstm__p12_5_rnd_sat"


def changed(graph: Graph, layer: str, name: str, change) -> Graph:
    """The graph with one op of one layer changed."""

    def program(old: Program) -> Program:
        assert name in old.by_name
        return Program(tuple(change(op) if op.name == name else op for op in old.ops), old.output)

    layers = tuple(
        Node(one.name, one.kind, program(one.program), one.return_sequences) if one.name == layer else one
        for one in graph.nodes
    )
    return chain(graph.name, graph.shape, graph.input, layers)


def flipped(op: Op) -> Op:
    assert isinstance(op, Dot)
    data = op.weights.data.copy()
    data[1, 3] ^= 1 << 3
    return type(op)(**{**vars(op), "weights": Const(data, op.weights.type)})


def floored(op: Op) -> Op:
    assert op.type.round is Round.RND
    plain = Fixed(op.type.width, op.type.frac, op.type.signed, Round.TRN, op.type.overflow)
    return type(op)(**{**vars(op), "type": plain})


@pytest.mark.parametrize(
    ("layer", "op", "change"), [("rnn", "uh", flipped), ("rnn", "f", floored), ("d1", "wx", floored)]
)
def test_a_mutant_is_caught(layer, op, change):
    want = np.load(GOLDEN / MUTANT / "outputs.npy")
    inputs = np.load(GOLDEN / MUTANT / "inputs.npy")
    graph = load(MUTANT)
    assert np.array_equal(predict(graph, inputs), want)
    assert not np.array_equal(predict(changed(graph, layer, op, change), inputs), want)
