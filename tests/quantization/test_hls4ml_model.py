# SPDX-License-Identifier: Apache-2.0
"""Live hls4ml models, by stand-ins: reference answers, and refusals of whatever fxsim does not follow."""

import contextlib
import json
import operator
import re
import sys
from types import SimpleNamespace as Plain

import hls4ml_models as stand
import numpy as np
import pytest
from shared import SHARED, needs_shared

import fxsim
from fxsim.errors import FxsimError
from fxsim.program.fixed import Fixed, Round

CASES = [] if SHARED is None else sorted(f.parent.name for f in (SHARED / "golden").glob("*/resolved.json"))


@pytest.fixture(autouse=True)
def hls4ml(monkeypatch):
    module = Plain(__version__="1.3.0")
    monkeypatch.setitem(sys.modules, "hls4ml", module)
    tracer = Plain(trace=lambda module: Plain(nodes=module.trace))
    monkeypatch.setitem(sys.modules, "hls4ml.utils.torch", Plain(CustomFXTracer=lambda: tracer))
    return module


@needs_shared
@pytest.mark.parametrize("name", CASES)
def test_reference_answers(name):
    folder = SHARED / "golden" / name
    graph = fxsim.from_hls4ml(stand.recorded(folder))
    assert np.array_equal(fxsim.predict(graph, np.load(folder / "inputs.npy")), np.load(folder / "outputs.npy"))


T = Plain(precision=stand.precision(16, 6))
TABLE = {"result_t": T, "table_t": T, "table_size": 1024}
DENSE = {"result_t": T, "accum_t": T, "weight_t": T, "bias_t": T}
CELL = {**DENSE, **TABLE, "recurrent_weight_t": T, "recurrent_bias_t": T}


def data(*shape: int):
    return Plain(data=np.random.default_rng(sum(shape)).normal(0, 0.5, shape))


def first():
    return stand.node("inp", "Input", "input", (4, 3), result_t=T)


def gru(**changes):
    read = {
        "n_timesteps": 4, "n_in": 3, "n_out": 2, "return_sequences": False, "strategy": "latency",
        "activation": "tanh", "recurrent_activation": "sigmoid", "weight": data(3, 6), "recurrent_weight": data(2, 6),
        "bias": data(6), "recurrent_bias": data(6), "reuse_factor": 1, "recurrent_reuse_factor": 1, **CELL,
    }  # fmt: skip
    return stand.node("rnn", "GRU", "inp", (2,), **{**read, **changes})


LSTM = gru().attributes.attributes | {
    "weight": data(3, 8),
    "recurrent_weight": data(2, 8),
    "bias": data(8),
    "recurrent_bias": data(8),
}


def dense(**changes):
    read = {"n_in": 2, "n_out": 5, "weight": data(2, 5), "bias": data(5), "strategy": "latency", "reuse_factor": 1}
    return stand.node("fc", "Dense", "rnn", (5,), **{**read, **DENSE, **changes})


def act(kind="Activation", function="relu", **changes):
    return stand.node("act", kind, "rnn", (2,), **{"activation": function, **TABLE, **changes})


def softmax(**changes):
    formats = {"accum_t": T, "exp_table_t": T, "inv_table_t": T, "inv_inp_t": T, "implementation": "stable", "axis": -1}
    return act("Softmax", "softmax", **{**formats, **changes})


def prelu(*shape: int, before: str = "rnn"):
    return stand.node("act", "PReLU", before, (2,), activation="PReLU", param=data(*shape), param_t=T, **TABLE)


def sequence():
    node = gru(return_sequences=True)
    node.variable.shape = [4, 2]
    return node


U = Plain(precision=stand.precision(12, 6))


def wrapped(activation: str = "linear", result=T):
    """A Dense inside a TimeDistributed of Keras 2: a marker in front of it and one behind."""
    inner = dense(activation=activation, weight_quantizer=None, bias_quantizer=None)
    inner.inputs, inner.variable.shape = ["td"], [5]
    markers = {"wrapped_layer": object(), "n_time_steps": 4, "time_step_loop_parallelism": "off"}
    start = stand.node("td", "TimeDistributed", "rnn", (2,), result_t=T, output_shape=[4, 5], **markers)
    return start, inner, stand.node("td_end", "TimeDistributed", "fc", (4, 5), result_t=result, **markers)


def test_order_of_gates():
    """PyTorch's is r, z, n."""
    keras, torch = gru(), gru(pytorch=True)
    turned = np.r_[2:4, 0:2, 4:6]
    for key in ("weight", "recurrent_weight", "bias", "recurrent_bias"):
        values = torch.attributes.attributes[key].data
        torch.attributes.attributes[key] = Plain(data=values[..., turned])
    assert fxsim.from_hls4ml(stand.model(first(), keras)) == fxsim.from_hls4ml(stand.model(first(), torch))


def test_pytorch_weights_that_hls4ml_reads_in_the_wrong_order_are_turned():
    right = fxsim.from_hls4ml(stand.model(first(), gru(), dense()))
    turned = dense()
    turned.attributes.attributes["weight"] = Plain(data=data(2, 5).data.T)
    project = {"PytorchModel": stand.Module(LAST), "HLSConfig": {"Model": {"ChannelsLastConversion": "off"}}}
    with pytest.warns(
        UserWarning, match=r"^hls4ml reads the weights of a PyTorch Linear in the wrong order here; the gr"
    ):
        assert fxsim.from_hls4ml(stand.model(first(), gru(), turned, **project)) == right


EVERY = slice(None)
LAST = (0, (EVERY, -1))


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
@pytest.mark.parametrize(
    ("indices", "want"),
    [
        (LAST, None),
        ((0, (EVERY, -1, EVERY)), None),
        ((0, (EVERY, 3)), None),
        ((0, (Ellipsis, -1, EVERY)), None),
        ((0, (EVERY, slice(-1, None))), None),
        ((0,), "goes on with all 4 steps, of which hls4ml takes the last alone: take [:, -1] in the model"),
        ((), "goes on with all 4 steps, of which hls4ml takes the last alone: take [:, -1] in the model"),
        ((0, (EVERY, 0)), "takes [:, 0] of its sequence, of which hls4ml takes the last hidden state alone: "),
        ((0, (EVERY, slice(None, -1))), "takes [:, :-1] of its sequence, of which hls4ml "),
        ((0, (EVERY, EVERY, 1)), "takes [:, :, 1] of its sequence, of which hls4ml "),
        ((*LAST, (EVERY, slice(0, 2, 1))), "takes [:, 0:2:1] of its hidden, of which hls4ml "),
        ((2,), "takes [2] of its results, of which hls4ml "),
    ],
)
def test_the_steps_that_a_pytorch_model_takes(kind, indices, want):
    """hls4ml gives the last step whatever the model does with the sequence."""
    node = stand.node("rnn", kind, "inp", (2,), **LSTM if kind == "LSTM" else gru().attributes.attributes)
    made = stand.model(first(), node, act(), PytorchModel=stand.Module(indices))
    if want is None:
        assert [layer.name for layer in fxsim.from_hls4ml(made).nodes] == ["rnn", "act"]
        return
    with pytest.raises(FxsimError, match=rf"^layer 'rnn': the PyTorch model {re.escape(want)}"):
        fxsim.from_hls4ml(made)


@pytest.mark.parametrize("rest", [(), (0,), (-1,)])
def test_final_states_of_pytorch(rest):
    for node, state in ((gru(), (1,)), (stand.node("rnn", "LSTM", "inp", (2,), **LSTM), (1, 0))):
        module = stand.Module((*state, *rest))
        assert fxsim.from_hls4ml(stand.model(first(), node, act(), PytorchModel=module)).output_shape == (2,)
    with pytest.raises(
        FxsimError, match=r"takes \[1\] of its states, of which hls4ml takes the last hidden state alone"
    ):
        fxsim.from_hls4ml(stand.model(first(), node, act(), PytorchModel=stand.Module((1, 1, *rest))))


def test_parts_that_a_pytorch_model_names_and_does_not_use():
    """As in ``output, (_, _) = self.rnn(x)``."""
    module = stand.Module(LAST)
    rnn = module.trace[0]

    def part(source, k):
        call = {"op": "call_function", "target": operator.getitem, "args": (source, k)}
        return stand.TraceNode(**call, name=f"part_{k}", all_input_nodes=[source], users={})

    states = part(rnn, 1)
    parts = [part(states, k) for k in (0, 1)]
    states.users = dict.fromkeys(parts)
    module.trace[1:1] = [states, *parts]
    node = stand.node("rnn", "LSTM", "inp", (2,), **LSTM)
    assert fxsim.from_hls4ml(stand.model(first(), node, act(), PytorchModel=module)).output_shape == (2,)
    parts[1].users = {module.trace[-1]: None}
    with pytest.raises(
        FxsimError, match=r"takes \[1\] of its states, of which hls4ml takes the last hidden state alone"
    ):
        fxsim.from_hls4ml(stand.model(first(), node, act(), PytorchModel=module))


@pytest.mark.parametrize("kind", ["Reshape", "Repack"])
def test_reshape_to_steps_and_features(kind):
    node = stand.node("r", kind, "inp", (2, 6))
    graph = fxsim.from_hls4ml(stand.model(first(), node))
    assert [(layer.name, layer.kind) for layer in graph.nodes] == [("r", "flatten"), ("r_steps", "reshape")]
    x = np.arange(graph.shape[0] * graph.shape[1]).reshape(1, *graph.shape) / 16
    assert graph.output_shape == (2, 6)
    assert np.array_equal(fxsim.predict(graph, x), x.reshape(1, 2, 6))


@pytest.mark.parametrize("units", [1, 2])
def test_a_matrix_of_one_row_or_column_may_be_given_as_a_vector(units):
    """Models that are made from a list of layers keep weights as they were given."""
    vector = data(2)
    column = stand.node("inp", "Input", "", (2 if units == 1 else 1,), result_t=T)
    changes = {"n_in": 3 - units, "n_out": units, "bias": data(units)}
    graphs = []
    for shape in ((2,), (3 - units, units)):
        node = dense(**changes, weight=Plain(data=vector.data.reshape(shape)))
        node.inputs, node.variable.shape = ["inp"], [units]
        graphs.append(fxsim.from_hls4ml(stand.model(column, node)))
    assert graphs[0] == graphs[1]
    node = dense(**changes, weight=data(4))
    node.inputs, node.variable.shape = ["inp"], [units]
    with pytest.raises(FxsimError, match=rf"^layer 'fc': weight must have shape \({3 - units}, {units}\), not \(4,\)$"):
        fxsim.from_hls4ml(stand.model(column, node))


def test_what_the_pass_of_quantizers_leaves_behind_is_known():
    plain = fxsim.from_hls4ml(stand.model(first(), gru(), act()))
    assert fxsim.from_hls4ml(stand.model(first(), gru(), act(trusted=True, _result_t_propagated=True))) == plain


def test_other_indexing_in_pytorch_is_refused():
    module = stand.Module(LAST)
    module.trace[1].args = (stand.TraceNode(name="x"), (EVERY, slice(1, 3)))
    with pytest.raises(FxsimError, match=r"^the PyTorch model takes \[:, 1:3\] of 'x', which hls4ml ignores$"):
        fxsim.from_hls4ml(stand.model(first(), gru(), act(), PytorchModel=module))
    threshold = type("Threshold", (), {"value": 0.5})()
    module = stand.Module(LAST, then="call_module", act=threshold)
    with pytest.raises(
        FxsimError, match=r"^layer 'act': value of a Threshold must be 0, not 0.5, which hls4ml ignores$"
    ):
        fxsim.from_hls4ml(stand.model(first(), gru(), act(), PytorchModel=module))


def test_pytorch_files_and_sequences_of_one_step():
    with pytest.raises(
        FxsimError, match=r"^layer 'rnn': hls4ml takes the last step of its output alone; .* 'net.pt': "
    ):
        fxsim.from_hls4ml(stand.model(first(), gru(), PytorchModel="net.pt"))
    short = stand.node("inp", "Input", "input", (1, 3), result_t=T)
    for module in ("net.pt", stand.Module((0,))):
        assert len(fxsim.from_hls4ml(stand.model(short, gru(n_timesteps=1), act(), PytorchModel=module)).nodes) == 2


def test_strategy_resource():
    """Outputs come first in memory, and the reuse factor is the order of the sum."""
    resource = {"strategy": "resource", "_weights_transposed": True}
    turned = dense(weight=Plain(data=data(2, 5).data.T), reuse_factor=2, **resource)
    plain, other = (fxsim.from_hls4ml(stand.model(first(), gru(), fc)).nodes[1].program for fc in (dense(), turned))
    assert plain.dots[0] == other.dots[0]
    wide = gru(
        weight=Plain(data=data(3, 6).data.T), recurrent_weight=Plain(data=data(2, 6).data.T), reuse_factor=3,
        recurrent_reuse_factor=1, **resource,
    )  # fmt: skip
    assert [dot.stride for dot in fxsim.from_hls4ml(stand.model(first(), wide)).nodes[0].program.dots] == [1, 1]


def test_integers_truncate_toward_zero():
    graph = fxsim.from_hls4ml(stand.model(first(), gru(), act(result_t=Plain(precision=stand.integers(9)))))
    assert graph.output == Fixed(9, 0, True, Round.TRN_ZERO)


@pytest.mark.parametrize(
    ("activation", "function", "negative"),
    [("leakyrelu", "leaky_relu", -0.5), ("leaky_relu", "leaky_relu", -0.5), ("thresholdedrelu", "thresholded_relu", 0)],
)
def test_functions_with_a_parameter(activation, function, negative):
    node = stand.node("act", "ParametrizedActivation", "inp", (4, 3), activation=activation, activ_param=0.5,
                      param_t=T, **TABLE)  # fmt: skip
    got = fxsim.predict(fxsim.from_hls4ml(stand.model(first(), node)), np.full((1, 4, 3), [-1.0, 0.25, 2.0]))
    assert got[0, 0].tolist() == [negative, 0.25 if function == "leaky_relu" else 0.0, 2.0]


def test_hard_functions_have_the_nodes_own_line():
    for function, want in (("hard_sigmoid", [0.0, 0.625, 1.0]), ("hard_tanh", [-1.0, 0.25, 1.0])):
        node = stand.node("act", "HardActivation", "inp", (4, 3), activation=function, slope=0.5, shift=0.5,
                          slope_t=T, shift_t=T, **TABLE)  # fmt: skip
        got = fxsim.predict(fxsim.from_hls4ml(stand.model(first(), node)), np.full((1, 4, 3), [-1.0, 0.25, 2.0]))
        assert got[0, 0].tolist() == want


def test_slopes_of_prelu():
    """One an element; at every step the same, or it is refused."""
    x = np.random.default_rng(0).integers(-999, 999, (6, 4, 3)) / 64
    slopes = np.array([0.25, -0.5, 1.5])
    for param in (slopes, np.tile(slopes, (4, 1))):
        node = prelu(*param.shape, before="inp")
        node.variable.shape, node.attributes.attributes["param"] = [4, 3], Plain(data=param)
        if param.ndim == 1:
            with pytest.raises(
                FxsimError, match=r"^layer 'act': param must have one number an element, \(4, 3\), not \(3"
            ):
                fxsim.from_hls4ml(stand.model(first(), node))
            continue
        got = fxsim.predict(fxsim.from_hls4ml(stand.model(first(), node)), x)
        assert np.array_equal(got, np.floor(np.where(x > 0, x, slopes * x) * 1024) / 1024)
        param[2, 1] = 0
        with pytest.raises(FxsimError, match=r"^layer 'act': param must be the same at every step$"):
            fxsim.from_hls4ml(stand.model(first(), node))


def test_time_distributed_layers_run_at_every_step():
    plain = fxsim.from_hls4ml(stand.model(first(), sequence(), *wrapped()))
    assert [layer.name for layer in plain.nodes] == ["rnn", "fc"]
    assert plain.output_shape == (4, 5)
    alone = fxsim.from_hls4ml(stand.model(first(), gru(), dense()))
    x = np.random.default_rng(0).normal(0, 1, (6, 4, 3))
    assert np.array_equal(plain.predict(x)[:, -1], alone.predict(x))


@pytest.mark.parametrize("name", ["activation", "weight", "strategy", "data_format", "skip", "n_in"])
def test_layers_may_have_the_names_of_attributes(name):
    """hls4ml puts a prefix before the variable of those that it reads itself; others stand in the attribute's place."""
    for reserved in (f"__hls4ml_reserved_out_{name}", name):
        node = gru()
        if reserved == name and name in ("activation", "weight", "strategy", "n_in"):
            continue
        del node.attributes.attributes["rnn"]
        node.name, node.outputs, node.attributes.attributes[reserved] = name, [name], Plain(shape=[2])
        assert fxsim.from_hls4ml(stand.model(first(), node)).nodes[0].name == name


@pytest.mark.parametrize("function", ["relu", "ReLU", "Relu"])
def test_front_ends_spell_functions_in_their_ways(function):
    graph = fxsim.from_hls4ml(stand.model(first(), gru(), act(function=function)))
    assert graph == fxsim.from_hls4ml(stand.model(first(), gru(), act()))


def test_quantized_weights_are_read_as_they_are():
    """Quantizers of QKeras have been applied, and formats follow them."""
    quantized = dense(weight_quantizer=object(), bias_quantizer=object(), bit_exact_transformed=True)
    graph = fxsim.from_hls4ml(stand.model(first(), gru(), quantized))
    assert graph == fxsim.from_hls4ml(stand.model(first(), gru(), dense()))


def test_softmax_over_all_steps_where_hls4ml_does_not_know_the_axis():
    alone = fxsim.from_hls4ml(stand.model(first(), over_steps(n_outer=4)))
    assert [layer.name for layer in alone.nodes] == ["act"]
    for options in ({}, {"n_outer": 1}):
        together = fxsim.from_hls4ml(stand.model(first(), over_steps(**options)))
        assert [layer.kind for layer in together.nodes] == ["flatten", "softmax"]
        assert together.nodes[-1].program.elements == 12
    stream = fxsim.from_hls4ml(stand.model(first(), over_steps(), io="io_stream"))
    assert stream.nodes == alone.nodes


def over_steps(**options):
    node = softmax(**options)
    node.inputs, node.variable.shape = ["inp"], [4, 3]
    return node


def test_names_and_shape():
    graph = fxsim.from_hls4ml(stand.model(first(), gru(), act(), io="io_stream"))
    assert (graph.name, graph.shape, graph.output_shape) == ("network", (4, 3), (2,))
    assert [layer.name for layer in graph.nodes] == ["rnn", "act"]


BITS = stand.precision(16, 6)
BITS.saturation_bits = 1
FLOAT = type("FloatPrecisionType", (), {"__str__": lambda self: "float<24,2,8,TRN>"})()


def keras(*layers: dict, version: str = "2.14.0"):
    """A live Keras model, as far as it is asked."""
    config = {"class_name": "Sequential", "keras_version": version, "config": {"name": "net", "layers": list(layers)}}
    return Plain(layers=[], to_json=lambda: json.dumps(config))


def entry(class_name: str, name: str, **config) -> dict:
    return {"class_name": class_name, "config": {"name": name, **config}}


KERAS = keras(entry("LSTM", "rnn", stateful=True))
BACK = keras(entry("LSTM", "rnn", stateful=False, go_backwards=True))
INNER = keras(entry("Bidirectional", "both", layer=entry("GRU", "inner", stateful=True)))
RELU = keras(entry("ReLU", "act", max_value=[6.0]), entry("LSTM", "rnn"))


@pytest.mark.parametrize(
    ("nodes", "project", "message"),
    [
        ([gru()], {"Backend": "Quartus"}, r"^the hls4ml model: Backend must be Vivado or .*, not 'Quartus'$"),
        ([gru()], {"IOType": "x"}, r"^the hls4ml model: IOType must be io_parallel or io_stream, not 'x'$"),
        ([gru()], {"KerasModel": KERAS}, r"^layer 'rnn': stateful must be False, which hls4ml ignores$"),
        ([gru()], {"KerasModel": BACK}, r"^layer 'rnn': go_backwards must be False, which hls4ml ignores$"),
        ([gru()], {"KerasModel": INNER}, r"^layer 'inner': stateful must be False, which hls4ml ignores$"),
        (
            [gru(), act(function="ReLU")],
            {"KerasModel": RELU},
            r"^layer 'act': max_value of a ReLU must be None, not \[6.0\], which hls4ml ignores$",
        ),
        ([gru()], {"KerasH5": "gone.h5"}, r"^'gone.h5': no such file$"),
        (
            [gru()],
            {"AcceleratorConfig": {"Precision": {"Input": "ap_fixed<8,2>"}}},
            r"^AcceleratorConfig: Precision Inp",
        ),
        ([stand.node("s", "SimpleRNN", "inp", (2,))], {}, r"^layer 's': its class must be one of .*, not 'SimpleRNN'$"),
        ([gru(magic=1)], {}, r"^layer 'rnn': attribute 'magic' is not known to fxsim, which reads or refuses all$"),
        ([gru(apply_reset_gate="before")], {}, r"^layer 'rnn': apply_reset_gate must be after, not 'before'$"),
        ([gru(pass_initial_states=True)], {}, r"^layer 'rnn': pass_initial_states must be False, not True$"),
        ([gru(target_cycles=3)], {}, r"^layer 'rnn': target_cycles must be None, not 3$"),
        ([gru(activation="elu")], {}, r"^layer 'rnn': activation must be one of relu, sigmoid, tanh, not 'elu'$"),
        ([gru(strategy="da")], {}, r"^layer 'rnn': strategy must be one of latency, resource, .*, not 'da'$"),
        ([gru(n_in=4, n_timesteps=3)], {}, r"^layer 'rnn': its input must have the shape \(3, 4\), not \(4, 3\): "),
        ([gru(weight=data(4, 6))], {}, r"^layer 'rnn': weight must have shape \(3, 6\), not \(4, 6\)$"),
        ([gru(weight_t=Plain(precision=BITS))], {}, r"^layer 'rnn': weight_t: saturation bits must be 0, not 1$"),
        ([gru(accum_t=Plain(precision=FLOAT))], {}, r"^layer 'rnn': accum_t must be a fixed-point or .*, not float<24"),
        ([gru(), act(function="binary_tanh")], {}, r"^layer 'act': activation must be one of linear, .*'binary_tanh'$"),
        (
            [gru(), act(function={"class_name": "x"})],
            {},
            r"^layer 'act': activation must be one of linear, .*\{'class_n",
        ),
        ([gru(), dense(n_in=7)], {}, r"^layer 'fc': its input must have 7 features, not the shape \(2,\)$"),
        (
            [gru(), dense(activ_param=1)],
            {},
            r"^layer 'fc': attribute 'activ_param' is not known to fxsim, which reads ",
        ),
        ([gru(), prelu(3)], {}, r"^layer 'act': param must have one number an element, \(2,\), not \(3,\)$"),
        (
            [sequence(), *wrapped(activation="relu")],
            {},
            r"^layer 'fc': hls4ml loses the activation 'relu' of a Dense ins",
        ),
        (
            [sequence(), *wrapped(result=U)],
            {},
            r"^layer 'td_end': its format must be that of its input, ap_fixed<16,6>, ",
        ),
        ([gru(), softmax(axis=1, n_inner=2)], {}, r"^layer 'act': n_inner must be 1, not 2$"),
        ([gru(), softmax(axis=0)], {}, r"^layer 'act': axis must be -1 \(the last axis, 1\), not 0$"),
        ([gru(), softmax(implementation="x")], {}, r"^layer 'act': implementation must be one of stable, .*, not 'x'$"),
        (
            [stand.node("r", "Reshape", "inp", (3, 2, 2))],
            {},
            r"^layer 'r': a Reshape must give one axis, or steps and ",
        ),
        ([dense()], {}, r"^layer 'fc': its input must be the output of 'inp' alone, not \['rnn'\]$"),
    ],
)
def test_refusals(nodes, project, message):
    with pytest.raises(FxsimError, match=message) as refusal:
        fxsim.from_hls4ml(stand.model(first(), *nodes, **project))
    assert "\n" not in str(refusal.value)


def test_what_is_no_model(hls4ml):
    for thing in (None, "model.keras", Plain()):
        with pytest.raises(FxsimError, match=r"^the model must be a ModelGraph of hls4ml, not "):
            fxsim.from_hls4ml(thing)


@pytest.mark.parametrize("version", ["1.2.0", "0.8.1", "1.3.0.dev7+g123", "unknown version"])
def test_older_versions_are_refused(hls4ml, version):
    hls4ml.__version__ = version
    with pytest.raises(FxsimError, match=rf"^hls4ml must be 1\.3\.0 or newer, not {re.escape(version)}$"):
        fxsim.from_hls4ml(stand.model(first(), gru()))


@pytest.mark.parametrize(
    ("version", "node", "project", "warning"),
    [
        ("1.4.0.dev61+g9a2b3c4", gru(), {}, None),
        (
            "1.4.0.dev61",
            prelu(2),
            {},
            "^hls4ml 1.4.0.dev61 was not compared with fxsim on PReLU: compare a few answers$",
        ),
        (
            "1.4.0.dev61",
            act(),
            {"PytorchModel": stand.Module(LAST)},
            "^hls4ml 1.4.0.dev61 was not .* on models of PyTorch: comp",
        ),
        ("1.4.0", gru(), {}, "^hls4ml 1.4.0 was not compared with fxsim, which follows 1.3.0: compare a few answers$"),
        ("2.0.1", gru(), {}, "^hls4ml 2.0.1 was not compared with fxsim, which follows 1.3.0: compare a few answers$"),
    ],
)
def test_newer_versions(hls4ml, monkeypatch, version, node, project, warning):
    """Of the development version, what was compared; of others that nothing was."""
    monkeypatch.setitem(sys.modules, "keras", Plain(__version__="3.5.0"))
    nodes = [gru(), node] if node.name == "act" else [node]
    want = fxsim.from_hls4ml(stand.model(first(), *nodes, **project))
    hls4ml.__version__ = version
    with pytest.warns(UserWarning, match=warning) if warning else contextlib.nullcontext():
        assert fxsim.from_hls4ml(stand.model(first(), *nodes, **project)) == want


def test_models_without_an_input_or_with_two_outputs():
    with pytest.raises(FxsimError, match=r"^the hls4ml model: its first node must be its input$"):
        fxsim.from_hls4ml(stand.model(gru()))
    two = stand.model(first(), gru(), act())
    two.outputs = ["rnn", "act"]
    with pytest.raises(FxsimError, match=r"^the hls4ml model: its output must be that of 'act' alone, not \['rnn', "):
        fxsim.from_hls4ml(two)
