# SPDX-License-Identifier: Apache-2.0
"""Live hls4ml models, by stand-ins: reference answers, and refusals of whatever fxsim does not follow."""

import sys
from types import SimpleNamespace as Plain

import hls4ml_models as stand
import numpy as np
import pytest
from shared import SHARED, needs_shared

import fxsim
from fxsim.errors import FxsimError
from fxsim.fixed import Fixed, Round

CASES = [] if SHARED is None else sorted(f.parent.name for f in (SHARED / "golden").glob("*/resolved.json"))


@pytest.fixture(autouse=True)
def hls4ml(monkeypatch):
    module = Plain(__version__="1.3.0")
    monkeypatch.setitem(sys.modules, "hls4ml", module)
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


def dense(**changes):
    read = {"n_in": 2, "n_out": 5, "weight": data(2, 5), "bias": data(5), "strategy": "latency", "reuse_factor": 1}
    return stand.node("fc", "Dense", "rnn", (5,), **{**read, **DENSE, **changes})


def act(kind="Activation", function="relu", **changes):
    return stand.node("act", kind, "rnn", (2,), **{"activation": function, **TABLE, **changes})


def softmax(**changes):
    formats = {"accum_t": T, "exp_table_t": T, "inv_table_t": T, "inv_inp_t": T, "implementation": "stable", "axis": -1}
    return act("Softmax", "softmax", **{**formats, **changes})


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
    project = {"PytorchModel": object(), "HLSConfig": {"Model": {"ChannelsLastConversion": "off"}}}
    assert fxsim.from_hls4ml(stand.model(first(), gru(), turned, **project)) == right


def test_strategy_resource():
    """Outputs come first in memory, and the reuse factor is the order of the sum."""
    resource = {"strategy": "resource", "_weights_transposed": True}
    turned = dense(weight=Plain(data=data(2, 5).data.T), reuse_factor=2, **resource)
    plain, other = (fxsim.from_hls4ml(stand.model(first(), gru(), fc)).layers[1].program for fc in (dense(), turned))
    assert plain.dots[0] == other.dots[0]
    wide = gru(
        weight=Plain(data=data(3, 6).data.T), recurrent_weight=Plain(data=data(2, 6).data.T), reuse_factor=3,
        recurrent_reuse_factor=1, **resource,
    )  # fmt: skip
    assert [dot.stride for dot in fxsim.from_hls4ml(stand.model(first(), wide)).layers[0].program.dots] == [1, 1]


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


def test_names_and_shape():
    graph = fxsim.from_hls4ml(stand.model(first(), gru(), act(), io="io_stream"))
    assert (graph.name, graph.shape, graph.output_shape) == ("network", (4, 3), (2,))
    assert [layer.name for layer in graph.layers] == ["rnn", "act"]


BITS = stand.precision(16, 6)
BITS.saturation_bits = 1
FLOAT = type("FloatPrecisionType", (), {"__str__": lambda self: "float<24,2,8,TRN>"})()
KERAS = Plain(layers=[Plain(name="rnn", stateful=True)])
BACK = Plain(layers=[Plain(name="rnn", stateful=False, go_backwards=True)])


@pytest.mark.parametrize(
    ("nodes", "project", "message"),
    [
        ([gru()], {"Backend": "Quartus"}, r"^the hls4ml model: Backend must be Vivado or .*, not 'Quartus'$"),
        ([gru()], {"IOType": "x"}, r"^the hls4ml model: IOType must be io_parallel or io_stream, not 'x'$"),
        ([gru()], {"KerasModel": KERAS}, r"^layer 'rnn': stateful must be False, which hls4ml ignores$"),
        ([gru()], {"KerasModel": BACK}, r"^layer 'rnn': go_backwards must be False, which hls4ml ignores$"),
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
        ([gru(), dense(weight_quantizer=object())], {}, r"^layer 'fc': weight_quantizer must be None, not <object"),
        ([gru(), act(function="binary_tanh")], {}, r"^layer 'act': activation must be one of linear, .*'binary_tanh'$"),
        ([gru(), softmax(axis=1, n_inner=2)], {}, r"^layer 'act': n_inner must be 1, not 2$"),
        ([gru(), softmax(axis=0)], {}, r"^layer 'act': axis must be -1 \(the last axis, 1\), not 0$"),
        ([gru(), softmax(implementation="x")], {}, r"^layer 'act': implementation must be one of stable, .*, not 'x'$"),
        ([stand.node("r", "Reshape", "inp", (3, 4))], {}, r"^layer 'r': a Reshape must give one flat axis, not \(3, 4"),
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
    hls4ml.__version__ = "1.2.0"
    with pytest.raises(FxsimError, match=r"^hls4ml must be 1\.3\.0, whose arithmetic fxsim follows, not 1\.2\.0$"):
        fxsim.from_hls4ml(stand.model(first(), gru()))


def test_models_without_an_input_or_with_two_outputs():
    with pytest.raises(FxsimError, match=r"^the hls4ml model: its first node must be its input$"):
        fxsim.from_hls4ml(stand.model(gru()))
    two = stand.model(first(), gru(), act())
    two.outputs = ["rnn", "act"]
    with pytest.raises(FxsimError, match=r"^the hls4ml model: its output must be that of 'act' alone, not \['rnn', "):
        fxsim.from_hls4ml(two)
