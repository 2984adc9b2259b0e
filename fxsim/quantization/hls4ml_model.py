# SPDX-License-Identifier: Apache-2.0
"""A live hls4ml model -> the graph that computes what its emulator computes.

Read are the types, attributes and weights that hls4ml has resolved for each node, so nothing is inferred here. Every
attribute of every node is read, known not to change a number, or refused by name. hls4ml itself is not imported.
"""

from __future__ import annotations

import math
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FxsimError, show
from ..importers.gates import GATES, PYTORCH, reorder
from ..importers.source import (
    GRU,
    LSTM,
    MERGES,
    Activation,
    Bidirectional,
    Dense,
    Function,
    Recurrent,
    reshaped,
)
from ..program.graph import Graph
from . import hls4ml_lost
from .hls4ml_config import check_accelerator
from .hls4ml_layers import IMPLEMENTATIONS, Resolved, build
from .hls4ml_nodes import CELL, CLASSES, SIDES, Node

#: The version whose attributes and arithmetic are known.
VERSION = "1.3.0"
#: The development version behind it, and what was compared of it: networks of Keras 3 of these classes.
DEVELOPMENT = "1.4.0.dev"
_COMPARED = (
    "Input", "LSTM", "GRU", "Bidirectional", "Dense", "PointwiseConv1D", "Activation", "ParametrizedActivation",
    "HardActivation", "Softmax", "Reshape", "Repack",
)  # fmt: skip
_BACKENDS = ("Vivado", "Vitis", "VivadoAccelerator", "VitisAccelerator")

#: Functions that hls4ml's cells have.
_IN_CELLS = ("relu", "sigmoid", "tanh")
#: Functions of activation layers, by hls4ml's names in small letters.
_PLAIN = {name: name for name in ("linear", "relu", "sigmoid", "tanh", "softplus", "softsign", "selu")}
_WITH_PARAMETER = {
    "leakyrelu": "leaky_relu", "leaky_relu": "leaky_relu", "thresholdedrelu": "thresholded_relu",
    "thresholded_relu": "thresholded_relu", "elu": "elu",
}  # fmt: skip
_HARD = {name: name for name in ("hard_sigmoid", "hard_tanh")}


def from_hls4ml(model: Any) -> Graph:
    """The graph of a live hls4ml 1.3.0 model: the answers of its emulator, bit for bit.

    ``model`` is the ``ModelGraph`` that ``hls4ml.converters.convert_from_keras_model`` or
    ``convert_from_pytorch_model`` gives, compiled or not, for the backends Vivado and Vitis. Where its emulator is
    wrong (``docs/hls4ml.md`` says where), the graph is right. Raises ``FxsimError`` that names the node and the
    attribute which fxsim does not follow.
    """
    if type(model).__name__ != "ModelGraph" or not type(model).__module__.startswith("hls4ml."):
        raise FxsimError(f"the model must be a ModelGraph of hls4ml, not {type(model).__name__}")
    project: Mapping[str, Any] = model.config.config
    for key, legal in (("Backend", _BACKENDS), ("IOType", ("io_parallel", "io_stream"))):
        if project.get(key) not in legal:
            raise FxsimError(f"the hls4ml model: {key} must be {' or '.join(legal)}, not {project.get(key)!r}")
    check_accelerator(project.get("AcceleratorConfig"))
    # PyTorch's weights are (out, in), and hls4ml turns them only where it converts the model to channels last.
    options = (project.get("HLSConfig") or {}).get("Model") or {}
    turned = "PytorchModel" in project and options.get("ChannelsLastConversion") == "off"
    first, *nodes = _chain(model)
    _check_version(sys.modules["hls4ml"].__version__, project, nodes)
    hls4ml_lost.check(project, nodes)
    if turned and any(node.kind in ("Dense", "PointwiseConv1D") for node in nodes):
        _warn("hls4ml reads the weights of a PyTorch Linear in the wrong order here; the graph has the right one")
    layers = [one for before, node in pairwise([first, *nodes]) for one in _READERS[node.kind](node, before, turned)]
    return build(model.config.get_project_name(), first.shape, first.format("result_t"), layers, first.stream)


#: Front ends by the key that they leave in a project.
_FRONTS = {"PytorchModel": "PyTorch", "OnnxModel": "ONNX"}


def _check_version(version: str, project: Mapping[str, Any], nodes: Sequence[Node]) -> None:
    """Refuse versions before the one that is followed, and warn of what was not compared in those behind it."""
    if version == VERSION:
        return
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or tuple(map(int, numbers.groups())) < (1, 3) or version.startswith(f"{VERSION}."):
        raise FxsimError(f"hls4ml must be {VERSION} or newer, not {version}")
    if not version.startswith(DEVELOPMENT):
        _warn(f"hls4ml {version} was not compared with fxsim, which follows {VERSION}: compare a few answers")
        return
    others = sorted({node.kind for node in nodes} - set(_COMPARED))
    keras = f"Keras {getattr(sys.modules.get('keras'), '__version__', '2')[0]}"
    front = next((name for key, name in _FRONTS.items() if key in project), keras)
    if front != "Keras 3":
        others.insert(0, f"models of {front}")
    if others:
        _warn(f"hls4ml {version} was not compared with fxsim on {', '.join(others)}: compare a few answers")


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=3)


def _chain(model: Any) -> list[Node]:
    """The nodes from the input to the output, each of which takes the one before it."""
    nodes = [Node(node) for node in model.get_layers()]
    if not nodes or nodes[0].kind != "Input":
        raise FxsimError("the hls4ml model: its first node must be its input")
    for before, node in pairwise(nodes):
        if node.inputs != before.outputs or len(node.outputs) != 1 or node.kind == "Input":
            raise FxsimError(f"{node.where}: its input must be the output of {before.name!r} alone, not {node.inputs}")
    if list(model.outputs) != nodes[-1].outputs:
        raise FxsimError(f"the hls4ml model: its output must be that of {nodes[-1].name!r} alone, not {model.outputs}")
    return nodes


def _reshape(node: Node, before: Node, turned: bool) -> list[Resolved]:
    if node.shape == node.input_shape:
        return []
    if len(node.shape) > 2:
        raise FxsimError(f"{node.where}: a {node.kind} must give one axis, or steps and features, not {node.shape}")
    return [Resolved(layer, {}) for layer in reshaped(node.name, node.input_shape, node.shape)]


def _dense(node: Node, before: Node, turned: bool) -> list[Resolved]:
    sequence = node.kind == "PointwiseConv1D"
    inputs, units = (int(node.get(key)) for key in (("n_chan", "n_filt") if sequence else ("n_in", "n_out")))
    if node.input_shape[-1] != inputs:
        raise FxsimError(f"{node.where}: its input must have {inputs} features, not the shape {node.input_shape}")
    kernel = node.weight("weight", (units, inputs)).T if turned else node.weight("weight", (inputs, units))
    weights = {"kernel": kernel, "bias": node.weight("bias", (units,))}
    layer = Dense(node.name, units=units, use_bias=True, weights=weights)
    strides = node.strides({"weight": "reuse_factor"}, {"weight": inputs})
    return [Resolved(layer, node.formats("weight", "bias", "accum", "result"), strides=strides)]


#: hls4ml's classes of cells.
_CELLS: dict[str, type[LSTM | GRU]] = {"LSTM": LSTM, "GRU": GRU}


def _cell(node: Node, class_name: str, prefix: str, units: int) -> Recurrent:
    """A cell of a recurrent node; ``prefix`` is that of its attributes."""
    steps, features = int(node.get("n_timesteps")), int(node.get("n_in"))
    if node.input_shape != (steps, features):
        raise FxsimError(
            f"{node.where}: its input must have the shape {(steps, features)}, not {node.input_shape}: hls4ml has "
            "turned it (a PyTorch model must be converted with channels_last_conversion 'off')"
        )
    kind = _CELLS[class_name].kind
    order = (PYTORCH if node.find("pytorch") else GATES)[kind]
    wide = len(order) * units

    def weight(name: str, *shape: int) -> NDArray[np.float64]:
        return reorder(kind, order, node.weight(prefix + name, shape))

    settings: dict[str, Any] = {"units": units, "use_bias": True, "return_sequences": node.get("return_sequences")}
    for key in ("activation", "recurrent_activation"):
        settings[key] = Function(node.choice(prefix + key, _IN_CELLS))
    weights = {
        "kernel": weight("weight", features, wide),
        "recurrent_kernel": weight("recurrent_weight", units, wide),
        "bias": weight("bias", wide),
        "recurrent_bias": weight("recurrent_bias", wide),
    }
    if class_name == "GRU":
        settings["reset_after"] = True
    return _CELLS[class_name](node.name, weights=weights, **settings)


def _recurrent(node: Node, before: Node, turned: bool) -> list[Resolved]:
    units = int(node.get("n_out"))
    layer = _cell(node, node.kind, "", units)
    strides = node.strides(
        {"weight": "reuse_factor", "recurrent_weight": "recurrent_reuse_factor"},
        {"weight": int(node.get("n_in")), "recurrent_weight": units},
    )
    return [Resolved(layer, node.formats(*CELL, "accum", "result", "table"), node.table_size, strides)]


def _bidirectional(node: Node, before: Node, turned: bool) -> list[Resolved]:
    sides: dict[str, Recurrent] = {}
    merge = node.choice("merge_mode", MERGES)
    types = node.formats("accum", "result", "table")
    strides: dict[str, int] = {}
    for side in SIDES:
        units = int(node.get(f"{side}_n_states"))
        class_name = node.choice(f"{side}_class_name", tuple(_CELLS))
        sides[side] = _cell(node, class_name, f"{side}_", units)
        types |= node.formats(*(f"{side}_{name}" for name in CELL))
        strides |= node.strides(
            {f"{side}_{name}weight": f"{side}_{name}reuse_factor" for name in ("", "recurrent_")},
            {f"{side}_weight": int(node.get("n_in")), f"{side}_recurrent_weight": units},
        )
    layer = Bidirectional(node.name, merge_mode=merge, forward=sides["forward"], backward=sides["backward"])
    return [Resolved(layer, types, node.table_size, strides)]


def _time_distributed(node: Node, before: Node, turned: bool) -> list[Resolved]:
    """The markers around layers that run at every step, as all layers without states do here."""
    if node.format("result_t") != before.format("result_t"):
        # The emulator copies words from one to the other, and its compiler asks for one type.
        formats = f"{before.format('result_t')}, not {node.format('result_t')}"
        raise FxsimError(f"{node.where}: its format must be that of its input, {formats}, or hls4ml does not compile")
    if before.kind in ("Dense", "PointwiseConv1D") and before.find("activation", "linear") != "linear":
        raise FxsimError(
            f"{before.where}: hls4ml loses the activation {before.find('activation')!r} of a Dense inside a "
            "TimeDistributed: use the Dense without one, or an Activation behind it"
        )
    return []


def _activation(node: Node, before: Node, turned: bool) -> list[Resolved]:
    types = node.formats("result", "table")
    return [Resolved(Activation(node.name, Function(node.function(_PLAIN))), types, node.table_size)]


def _parametrized(node: Node, before: Node, turned: bool) -> list[Resolved]:
    function = node.function(_WITH_PARAMETER)
    # The number that its text in the C++ source means.
    value = float(f"{node.get('activ_param')}")
    parameter = "theta" if function == "thresholded_relu" else "alpha"
    layer = Activation(node.name, Function(function, **{parameter: value}))
    return [Resolved(layer, node.formats("result", "table", "param"), node.table_size)]


def _prelu(node: Node, before: Node, turned: bool) -> list[Resolved]:
    data = np.asarray(node.get("param").data, dtype=np.float64)
    if data.shape != node.input_shape:
        # The emulator reads one number an element, from whatever memory that is.
        raise FxsimError(f"{node.where}: param must have one number an element, {node.input_shape}, not {data.shape}")
    steps = data.reshape(-1, data.shape[-1])
    if np.any(steps != steps[0]):
        raise FxsimError(f"{node.where}: param must be the same at every step")
    layer = Activation(node.name, Function("leaky_relu", alpha=tuple(steps[0].tolist())))
    return [Resolved(layer, node.formats("result", "param"))]


def _hard(node: Node, before: Node, turned: bool) -> list[Resolved]:
    slope, shift = (float(node.get(key)) for key in ("slope", "shift"))
    name = node.function(_HARD)
    function = Function(name, slope=slope, shift=shift) if name == "hard_sigmoid" else Function(name)
    layer = Activation(node.name, function)
    return [Resolved(layer, node.formats("result", "slope", "shift"), line=(slope, shift))]


def _softmax(node: Node, before: Node, turned: bool) -> list[Resolved]:
    rank = len(node.input_shape)
    if node.get("axis") not in (-1, rank):
        raise FxsimError(f"{node.where}: axis must be -1 (the last axis, {rank}), not {show(node.get('axis'))}")
    types = node.formats("result", "accum", "exp_table", "inv_table", "inv_inp")
    implementation = node.choice("implementation", IMPLEMENTATIONS)
    together = math.prod(node.input_shape) // int(node.find("n_outer", 1))
    # In a stream, each word of all features at a step is normalised for itself. Keras 2's layer of its own, whose name
    # is in capitals, does not compile.
    whole = not node.stream and together != node.input_shape[-1] and node.get("activation") != "Softmax"
    layer = Activation(node.name, Function("softmax"))
    return [Resolved(layer, types, node.table_size, implementation=implementation, whole=whole)]


_READERS: dict[str, Callable[[Node, Node, bool], list[Resolved]]] = {
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "Bidirectional": _bidirectional,
    "Dense": _dense,
    "PointwiseConv1D": _dense,
    "Activation": _activation,
    "ParametrizedActivation": _parametrized,
    "PReLU": _prelu,
    "HardActivation": _hard,
    "Softmax": _softmax,
    "Reshape": _reshape,
    "Repack": _reshape,
    "TimeDistributed": _time_distributed,
}
assert {*_READERS, "Input"} == set(CLASSES)
