# SPDX-License-Identifier: Apache-2.0
"""A live hls4ml model -> the graph that computes what its emulator computes.

Read are the types, attributes and weights that hls4ml has resolved for each node, so nothing is inferred here. Every
attribute of every node is read, known not to change a number, or refused by name. hls4ml itself is not imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FxsimError
from .fixed import Fixed, Overflow, Round
from .graph import Graph
from .hls4ml_layers import IMPLEMENTATIONS, Resolved, build, check_sequence_reuse
from .importers.gates import GATES, PYTORCH, reorder
from .importers.source import SourceLayer

#: The version whose attributes and arithmetic are known.
VERSION = "1.3.0"
_BACKENDS = ("Vivado", "Vitis", "VivadoAccelerator", "VitisAccelerator")

#: Functions that hls4ml's cells have, and those of its activation layers by its names.
_IN_CELLS = ("relu", "sigmoid", "tanh")
_PLAIN = ("linear", "relu", "sigmoid", "tanh", "softplus", "softsign", "selu")
_WITH_PARAMETER = {
    "leakyrelu": "leaky_relu", "leaky_relu": "leaky_relu", "thresholdedrelu": "thresholded_relu", "elu": "elu",
}  # fmt: skip
_HARD = ("hard_sigmoid", "hard_tanh")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Attributes of any node that do not change a number: names, shapes that the weights have too, emitted code.
_HARMLESS = _words(
    "name class_name module index inputs outputs input_shape target_shape trace precision type_name use_bias dtype "
    "input_keras_tensor_names output_keras_tensor_names include_header config_cpp function_cpp index_t epsilon "
    "weight_data bias_data recurrent_weight_data recurrent_bias_data n_in n_out n_timesteps reuse_factor strategy "
    "result_t n_outer parallelization_factor resource_unrolled_dense_codegen resource_unrolled_dense_codegen_1 "
    "resource_unrolled_dense_codegen_2"
)
#: Attributes of any node of which only these values are followed.
_ONLY: dict[str, tuple[Any, ...]] = {
    "target_cycles": (None,),
    "compression": (False, 0, None),
    "data_format": ("channels_last",),
    "weight_quantizer": (None,),
    "bias_quantizer": (None,),
    "quantizer": (None,),
    "direction": ("forward", "bidirectional"),
    "return_state": (False,),
    "pass_initial_states": (False,),
    "time_major": (False,),
    "skip": (False,),
    "apply_reset_gate": ("after",),
    "forward_apply_reset_gate": ("after",),
    "backward_apply_reset_gate": ("after",),
    "n_inner": (1,),
    "exp_scale": (1.0,),
    "filt_width": (1,),
    "stride_width": (1,),
    "dilation_width": (1,),
    "pad_left": (0,),
    "pad_right": (0,),
}
_CELL = ("weight", "bias", "recurrent_weight", "recurrent_bias")
_SIDES = ("forward", "backward")
_OF_CELL = "activation recurrent_activation reuse_factor recurrent_reuse_factor static " + " ".join(_CELL)
_TYPES_OF_CELL = " ".join(f"{name}_t" for name in _CELL)
_RNN = _words(f"{_OF_CELL} {_TYPES_OF_CELL} return_sequences pytorch accum_t table_t table_size _weights_transposed")
_OF_SIDES = (
    f"{_OF_CELL} {_TYPES_OF_CELL} name class_name use_bias n_states data_format epsilon "
    "weight_data bias_data recurrent_weight_data recurrent_bias_data"
)
_DENSE = _words("weight bias weight_t bias_t accum_t _weights_transposed")
_TABLED = _words("activation table_t table_size")

#: The attributes of each class beside the common ones.
_CLASSES: dict[str, frozenset[str]] = {
    "Input": frozenset(),
    "LSTM": _RNN,
    "GRU": _RNN,
    "Bidirectional": _words("static return_sequences merge_mode pytorch accum_t table_t table_size _weights_transposed")
    | {
        f"{side}_{name}" for side in _SIDES for name in _words(f"{_OF_SIDES} recurrent_weight_data recurrent_bias_data")
    },
    "Dense": _DENSE,
    "PointwiseConv1D": _DENSE
    | _words(
        "n_chan n_filt in_width out_width padding n_partitions implementation conv_implementation line_buffer_codegen"
    ),
    "Activation": _TABLED,
    "ParametrizedActivation": _TABLED | {"activ_param", "param_t"},
    "HardActivation": _TABLED | _words("slope shift slope_t shift_t"),
    "Softmax": _TABLED | _words("axis implementation accum_t exp_table_t inv_table_t inv_inp_t"),
    "Reshape": frozenset(),
    "Repack": frozenset(),
}


def from_hls4ml(model: Any) -> Graph:
    """The graph of a live hls4ml 1.3.0 model: the answers of its emulator, bit for bit.

    ``model`` is the ``ModelGraph`` that ``hls4ml.converters.convert_from_keras_model`` or
    ``convert_from_pytorch_model`` gives, compiled or not, for the backends Vivado and Vitis. Where its emulator is
    wrong (``docs/hls4ml.md`` says where), the graph is right. Raises ``FxsimError`` that names the node and the
    attribute which fxsim does not follow.
    """
    if type(model).__name__ != "ModelGraph" or not type(model).__module__.startswith("hls4ml."):
        raise FxsimError(f"the model must be a ModelGraph of hls4ml, not {type(model).__name__}")
    version = sys.modules["hls4ml"].__version__
    if version != VERSION:
        raise FxsimError(f"hls4ml must be {VERSION}, whose arithmetic fxsim follows, not {version}")
    project: Mapping[str, Any] = model.config.config
    for key, legal in (("Backend", _BACKENDS), ("IOType", ("io_parallel", "io_stream"))):
        if project.get(key) not in legal:
            raise FxsimError(f"the hls4ml model: {key} must be {' or '.join(legal)}, not {project.get(key)!r}")
    # PyTorch's weights are (out, in), and hls4ml turns them only where it converts the model to channels last.
    options = (project.get("HLSConfig") or {}).get("Model") or {}
    turned = "PytorchModel" in project and options.get("ChannelsLastConversion") == "off"
    _check_lost(project.get("KerasModel"))
    first, *nodes = _chain(model)
    layers = [_READERS[node.kind](node, turned) for node in nodes]
    return build(model.config.get_project_name(), first.shape, first.format("result_t"), layers, first.stream)


def _check_lost(keras: Any) -> None:
    """Refuse options of the Keras model that hls4ml ignores, so that no node has them."""
    for layer in getattr(keras, "layers", ()):
        for key in ("go_backwards", "stateful"):
            if getattr(layer, key, False) is True:
                raise FxsimError(f"layer {layer.name!r}: {key} must be False, which hls4ml ignores")


class _Node:
    """One node of a model, whose attributes are all known."""

    def __init__(self, node: Any) -> None:
        self.name: str = node.name
        self.kind: str = node.class_name
        self.where = f"layer {self.name!r}"
        self.inputs: list[str] = list(node.inputs)
        self.outputs: list[str] = list(node.outputs)
        self.stream = node.model.config.get_config_value("IOType") == "io_stream"
        if self.kind not in _CLASSES:
            raise FxsimError(f"{self.where}: its class must be one of {', '.join(_CLASSES)}, not {self.kind!r}")
        self._attributes: Mapping[str, Any] = node.attributes.attributes
        known = _CLASSES[self.kind] | _HARMLESS | set(self.outputs)
        for key, value in self._attributes.items():
            if key in _ONLY:
                if not any(type(value) is type(legal) and value == legal for legal in _ONLY[key]):
                    raise FxsimError(f"{self.where}: {key} must be {' or '.join(map(str, _ONLY[key]))}, not {value!r}")
            elif key not in known:
                raise FxsimError(f"{self.where}: attribute {key!r} is not known to fxsim, which reads or refuses all")
        self.shape = self._shape(node.get_output_variable())
        self.input_shape = self._shape(node.get_input_variable()) if self.kind != "Input" else self.shape

    @staticmethod
    def _shape(variable: Any) -> tuple[int, ...]:
        return tuple(int(size) for size in variable.shape)

    def get(self, key: str) -> Any:
        """An attribute, which must be there."""
        if key not in self._attributes:
            raise FxsimError(f"{self.where}: attribute {key!r} is missing")
        return self._attributes[key]

    def has(self, key: str) -> bool:
        """Whether an attribute is there."""
        return key in self._attributes

    def choice(self, key: str, legal: tuple[str, ...]) -> str:
        """An attribute that is one of some texts."""
        value = self.get(key)
        if value not in legal:
            raise FxsimError(f"{self.where}: {key} must be one of {', '.join(legal)}, not {value!r}")
        return str(value)

    def format(self, key: str) -> Fixed:
        """The format of a type; integers truncate toward zero, as their headers do."""
        precision = self.get(key).precision
        name = type(precision).__name__.removeprefix("AP")
        if name == "IntegerPrecisionType":
            return Fixed(int(precision.width), 0, bool(precision.signed), Round.TRN_ZERO)
        if name != "FixedPrecisionType":
            raise FxsimError(f"{self.where}: {key} must be a fixed-point or integer format, not {precision}")
        if precision.saturation_bits:
            raise FxsimError(f"{self.where}: {key}: saturation bits must be 0, not {precision.saturation_bits}")
        modes = Round[precision.rounding_mode.name], Overflow[precision.saturation_mode.name]
        width = int(precision.width)
        return Fixed(width, width - int(precision.integer), bool(precision.signed), *modes)

    def formats(self, *names: str) -> dict[str, Fixed]:
        """Formats by their names without ``_t``."""
        return {name: self.format(f"{name}_t") for name in names}

    def weight(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The float weights of a variable, (inputs, outputs) or (outputs,)."""
        data = np.asarray(self.get(name).data, dtype=np.float64)
        if len(shape) == 2 and self._attributes.get("_weights_transposed"):
            # Outputs come first for the strategy Resource.
            data = np.moveaxis(data, 0, -1)
        # A Dense over a sequence is a convolution of width 1.
        if data.ndim == len(shape) + 1 and data.shape[0] == 1:
            data = data[0]
        if data.shape != shape:
            raise FxsimError(f"{self.where}: {name} must have shape {shape}, not {data.shape}")
        return data

    def strides(self, factors: Mapping[str, str], inputs: Mapping[str, int]) -> dict[str, int]:
        """The order of each product's sum, from the attributes of its reuse factor and its number of inputs."""
        strategy = self.choice("strategy", ("latency", "resource", "resource_unrolled"))
        if strategy == "latency":
            return {}
        strides = {}
        for weight, key in factors.items():
            factor, rows = int(self.get(key)), inputs[weight]
            if self.kind == "PointwiseConv1D":
                check_sequence_reuse(self.where, factor, rows, self.stream)
            strides[weight] = factor if factor < rows else 1
        return strides

    @property
    def table_size(self) -> int:
        """Entries of each table; hls4ml keeps a number or its text."""
        return int(self.get("table_size"))


def _chain(model: Any) -> list[_Node]:
    """The nodes from the input to the output, each of which takes the one before it."""
    nodes = [_Node(node) for node in model.get_layers()]
    if not nodes or nodes[0].kind != "Input":
        raise FxsimError("the hls4ml model: its first node must be its input")
    for before, node in pairwise(nodes):
        if node.inputs != before.outputs or len(node.outputs) != 1 or node.kind == "Input":
            raise FxsimError(f"{node.where}: its input must be the output of {before.name!r} alone, not {node.inputs}")
    if list(model.outputs) != nodes[-1].outputs:
        raise FxsimError(f"the hls4ml model: its output must be that of {nodes[-1].name!r} alone, not {model.outputs}")
    return nodes


def _flatten(node: _Node, turned: bool) -> Resolved:
    if len(node.shape) != 1:
        raise FxsimError(f"{node.where}: a {node.kind} must give one flat axis, not {node.shape}")
    return Resolved(SourceLayer(node.name, "flatten", {}, {}), {})


def _dense(node: _Node, turned: bool) -> Resolved:
    sequence = node.kind == "PointwiseConv1D"
    inputs, units = (int(node.get(key)) for key in (("n_chan", "n_filt") if sequence else ("n_in", "n_out")))
    kernel = node.weight("weight", (units, inputs)).T if turned else node.weight("weight", (inputs, units))
    layer = SourceLayer(
        node.name,
        "dense",
        {"units": units, "use_bias": True},
        {"kernel": kernel, "bias": node.weight("bias", (units,))},
    )
    strides = node.strides({"weight": "reuse_factor"}, {"weight": inputs})
    return Resolved(layer, node.formats("weight", "bias", "accum", "result"), strides=strides)


def _cell(node: _Node, kind: str, prefix: str, units: int) -> SourceLayer:
    """A cell of a recurrent node; ``prefix`` is that of its attributes."""
    steps, features = int(node.get("n_timesteps")), int(node.get("n_in"))
    if node.input_shape != (steps, features):
        raise FxsimError(
            f"{node.where}: its input must have the shape {(steps, features)}, not {node.input_shape}: hls4ml has "
            "turned it (a PyTorch model must be converted with channels_last_conversion 'off')"
        )
    order = (PYTORCH if node.has("pytorch") and node.get("pytorch") else GATES)[kind]
    wide = len(order) * units

    def weight(name: str, *shape: int) -> NDArray[np.float64]:
        return reorder(kind, order, node.weight(prefix + name, shape))

    options: dict[str, object] = {"units": units, "use_bias": True, "reset_after": True}
    options["return_sequences"] = node.get("return_sequences")
    for key in ("activation", "recurrent_activation"):
        options[key] = node.choice(prefix + key, _IN_CELLS)
    weights = {
        "kernel": weight("weight", features, wide),
        "recurrent_kernel": weight("recurrent_weight", units, wide),
        "bias": weight("bias", wide),
        "recurrent_bias": weight("recurrent_bias", wide),
    }
    return SourceLayer(node.name, kind, options, weights)


def _recurrent(node: _Node, turned: bool) -> Resolved:
    units = int(node.get("n_out"))
    layer = _cell(node, node.kind.lower(), "", units)
    strides = node.strides(
        {"weight": "reuse_factor", "recurrent_weight": "recurrent_reuse_factor"},
        {"weight": int(node.get("n_in")), "recurrent_weight": units},
    )
    return Resolved(layer, node.formats(*_CELL, "accum", "result", "table"), node.table_size, strides)


def _bidirectional(node: _Node, turned: bool) -> Resolved:
    options: dict[str, object] = {"return_sequences": node.get("return_sequences")}
    options["merge_mode"] = node.choice("merge_mode", ("concat", "sum", "ave", "mul"))
    types = node.formats("accum", "result", "table")
    strides: dict[str, int] = {}
    for side in _SIDES:
        units = int(node.get(f"{side}_n_states"))
        kind = node.choice(f"{side}_class_name", ("LSTM", "GRU")).lower()
        options[side] = _cell(node, kind, f"{side}_", units)
        types |= node.formats(*(f"{side}_{name}" for name in _CELL))
        strides |= node.strides(
            {f"{side}_{name}weight": f"{side}_{name}reuse_factor" for name in ("", "recurrent_")},
            {f"{side}_weight": int(node.get("n_in")), f"{side}_recurrent_weight": units},
        )
    return Resolved(SourceLayer(node.name, "bidirectional", options, {}), types, node.table_size, strides)


def _activation(node: _Node, turned: bool) -> Resolved:
    return Resolved(
        _function(node, node.choice("activation", _PLAIN)), node.formats("result", "table"), node.table_size
    )


def _parametrized(node: _Node, turned: bool) -> Resolved:
    function = _WITH_PARAMETER[node.choice("activation", tuple(_WITH_PARAMETER))]
    # The number that its text in the C++ source means.
    value = float(f"{node.get('activ_param')}")
    layer = _function(node, function, **{"theta" if function == "thresholded_relu" else "alpha": value})
    return Resolved(layer, node.formats("result", "table", "param"), node.table_size)


def _hard(node: _Node, turned: bool) -> Resolved:
    line = {key: float(node.get(key)) for key in ("slope", "shift")}
    return Resolved(_function(node, node.choice("activation", _HARD), **line), node.formats("result", "slope", "shift"))


def _softmax(node: _Node, turned: bool) -> Resolved:
    rank = len(node.input_shape)
    if node.get("axis") not in (-1, rank):
        raise FxsimError(f"{node.where}: axis must be -1 (the last axis, {rank}), not {node.get('axis')!r}")
    types = node.formats("result", "accum", "exp_table", "inv_table", "inv_inp")
    implementation = node.choice("implementation", IMPLEMENTATIONS)
    return Resolved(_function(node, "softmax"), types, node.table_size, implementation=implementation)


def _function(node: _Node, function: str, **parameters: float) -> SourceLayer:
    return SourceLayer(node.name, "activation", {"function": function, **parameters}, {})


_READERS: dict[str, Callable[[_Node, bool], Resolved]] = {
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "Bidirectional": _bidirectional,
    "Dense": _dense,
    "PointwiseConv1D": _dense,
    "Activation": _activation,
    "ParametrizedActivation": _parametrized,
    "HardActivation": _hard,
    "Softmax": _softmax,
    "Reshape": _flatten,
    "Repack": _flatten,
}
assert {*_READERS, "Input"} == set(_CLASSES)
