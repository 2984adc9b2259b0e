# SPDX-License-Identifier: Apache-2.0
"""One node of a live hls4ml model: every attribute is read, known not to change a number, or refused by name.

What attributes a node has depends on its class, on the front end that made it (each copies options of its framework's
layers), and on the keys of the configuration, which hls4ml keeps as attributes, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FxsimError, show
from ..program.fixed import Fixed, Overflow, Round
from .hls4ml_layers import check_sequence_reuse


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CELL = ("weight", "bias", "recurrent_weight", "recurrent_bias")
SIDES = ("forward", "backward")
#: hls4ml puts this before the name of a layer that is also the name of an attribute ("activation" is one).
_RESERVED = "__hls4ml_reserved_out_"

#: Attributes of any node that do not change a number: names, shapes that the weights have too, emitted code.
_COMMON = _words(
    "name class_name module index inputs outputs input_shape target_shape output_shape trace precision type_name "
    "use_bias dtype input_keras_tensor_names output_keras_tensor_names include_header config_cpp function_cpp index_t "
    "epsilon weight_data bias_data recurrent_weight_data recurrent_bias_data param_data n_in n_out n_timesteps "
    "reuse_factor strategy result_t n_outer parallelization_factor bit_exact_transformed trusted _result_t_propagated "
    "resource_unrolled_dense_codegen resource_unrolled_dense_codegen_1 resource_unrolled_dense_codegen_2"
)
#: Attributes of any node of which only these values are followed.
_ONLY: dict[str, tuple[Any, ...]] = {
    "target_cycles": (None,),
    "compression": (False, 0, None),
    "data_format": ("channels_last",),
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
_OF_CELL = "activation recurrent_activation reuse_factor recurrent_reuse_factor static " + " ".join(CELL)
_TYPES_OF_CELL = " ".join(f"{name}_t" for name in CELL)
#: Quantizers of QKeras and others: the weights that are read have gone through them, the formats follow them.
_QUANTIZERS = _words("weight_quantizer bias_quantizer")
_RNN = _words(
    f"{_OF_CELL} {_TYPES_OF_CELL} return_sequences pytorch accum_t table_t table_size _weights_transposed"
) | (
    _QUANTIZERS | _words("recurrent_weight_quantizer accum_quantizer activation_quantizer recurrent_activation_config")
)
_OF_SIDES = (
    f"{_OF_CELL} {_TYPES_OF_CELL} name class_name use_bias n_states data_format epsilon "
    "weight_data bias_data recurrent_weight_data recurrent_bias_data"
)
# hls4ml makes a node of its own of a Dense layer's activation, but keeps the option where the front end is Keras 2.
_DENSE = _words("activation weight bias weight_t bias_t accum_t _weights_transposed") | _QUANTIZERS
_TABLED = _words("activation activation_quantizer table_t table_size")

#: The attributes of each class beside the common ones.
CLASSES: dict[str, frozenset[str]] = {
    "Input": frozenset(),
    "LSTM": _RNN,
    "GRU": _RNN,
    "Bidirectional": _words("static return_sequences merge_mode pytorch accum_t table_t table_size _weights_transposed")
    | {f"{side}_{name}" for side in SIDES for name in _words(_OF_SIDES)},
    "Dense": _DENSE,
    "PointwiseConv1D": _DENSE
    | _words(
        "n_chan n_filt in_width out_width padding n_partitions implementation conv_implementation line_buffer_codegen"
    ),
    "Activation": _TABLED,
    "ParametrizedActivation": _TABLED | {"activ_param", "param_t"},
    "PReLU": _TABLED | {"param", "param_t"},
    "HardActivation": _TABLED | _words("slope shift slope_t shift_t slope_prec shift_prec"),
    "Softmax": _TABLED | _words("axis implementation accum_t exp_table_t inv_table_t inv_inp_t"),
    "Reshape": frozenset(),
    "Repack": frozenset(),
    "TimeDistributed": _words("wrapped_layer n_time_steps time_step_loop_parallelism"),
}


class Node:
    """One node of a model, whose attributes are all known."""

    def __init__(self, node: Any) -> None:
        self.name: str = node.name
        self.kind: str = node.class_name
        self.where = f"layer {self.name!r}"
        self.inputs: list[str] = list(node.inputs)
        self.outputs: list[str] = list(node.outputs)
        self.stream = node.model.config.get_config_value("IOType") == "io_stream"
        if self.kind not in CLASSES:
            raise FxsimError(f"{self.where}: its class must be one of {', '.join(CLASSES)}, not {self.kind!r}")
        self._attributes: Mapping[str, Any] = node.attributes.attributes
        own = {name for output in self.outputs for name in (output, _RESERVED + output)}
        known = CLASSES[self.kind] | _COMMON | own
        for key, value in self._attributes.items():
            # The variable of a layer that is named like an attribute may stand in the attribute's place.
            if key in _ONLY and not (key in own and hasattr(value, "shape")):
                if not any(type(value) is type(legal) and value == legal for legal in _ONLY[key]):
                    legal = " or ".join(map(str, _ONLY[key]))
                    raise FxsimError(f"{self.where}: {key} must be {legal}, not {show(value)}")
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

    def find(self, key: str, default: Any = None) -> Any:
        """An attribute, or ``default`` where it is not there."""
        return self._attributes.get(key, default)

    def choice(self, key: str, legal: tuple[str, ...]) -> str:
        """An attribute that is one of some texts."""
        value = self.get(key)
        if value not in legal:
            raise FxsimError(f"{self.where}: {key} must be one of {', '.join(legal)}, not {show(value)}")
        return str(value)

    def function(self, legal: Mapping[str, str]) -> str:
        """The activation function by its name here; front ends spell it in several ways."""
        value = self.get("activation")
        name = value.lower() if isinstance(value, str) else ""
        if name not in legal:
            raise FxsimError(f"{self.where}: activation must be one of {', '.join(legal)}, not {show(value)}")
        return legal[name]

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
        # A vector that is given for a matrix of one row or column has the same order in both of its forms.
        if data.ndim == 1 and len(shape) == 2 and 1 in shape and data.size == math.prod(shape):
            data = data.reshape(shape)
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
