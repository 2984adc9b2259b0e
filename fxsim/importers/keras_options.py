# SPDX-License-Identifier: Apache-2.0
"""What every Keras layer's config may hold: each key is read, known not to matter at inference, or refused."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fxsim.errors import ModelError, show

__all__ = ["ACTIVATIONS", "LAYERS", "MAX_AXIS", "Options", "as_dict", "as_list", "snake_case", "words"]

#: Longest axis of a tensor. Far above any network for an FPGA; it keeps sums of sizes in a hostile file harmless.
MAX_AXIS = 1 << 20


def as_dict(value: object, where: str) -> dict[str, Any]:
    """Give `value` if it is a JSON object, else raise ModelError."""
    if not isinstance(value, dict):
        raise ModelError(f"{where} must be a JSON object, not {show(value)}")
    return value


def as_list(value: object, where: str) -> list[Any]:
    """Give `value` if it is a JSON array, else raise ModelError."""
    if not isinstance(value, list):
        raise ModelError(f"{where} must be a JSON array, not {show(value)}")
    return value


def snake_case(class_name: str) -> str:
    """Give a class name as Keras writes it in weights files: SimpleRNN -> simple_rnn."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", class_name)).lower()


def words(text: str) -> frozenset[str]:
    """Give the words of a text, for tables of keys."""
    return frozenset(text.split())


@dataclass(frozen=True)
class LayerSpec:
    """The keys of one layer class: `used` are read, `ignored` do not matter, `only` allow just the values listed."""

    used: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    only: Mapping[str, tuple[object, ...]] = field(default_factory=dict)


# `batch_input_shape` is what Keras 2 gives the first layer of a Sequential model; `dtype` is checked for every layer.
_COMMON_USED = words("name dtype batch_input_shape")
_COMMON_IGNORED = words("trainable activity_regularizer build_config")
_KERNEL = words("kernel_initializer kernel_regularizer kernel_constraint")
_RECURRENT_KERNEL = words("recurrent_initializer recurrent_regularizer recurrent_constraint")
_BIAS = words("bias_initializer bias_regularizer bias_constraint")

# `zero_output_for_mask` acts with a mask only and Masking is refused; `unit_forget_bias` is in the initial bias only.
_RNN_IGNORED = (
    _KERNEL
    | _RECURRENT_KERNEL
    | _BIAS
    | words("dropout recurrent_dropout seed implementation unroll zero_output_for_mask unit_forget_bias use_cudnn")
)
_RNN_ONLY: dict[str, tuple[object, ...]] = {"return_state": (False,), "stateful": (False,), "time_major": (False,)}
_RNN_USED = words("units activation use_bias return_sequences go_backwards")
_GATED_USED = _RNN_USED | {"recurrent_activation"}

#: Every layer class that is imported.
LAYERS: dict[str, LayerSpec] = {
    "InputLayer": LayerSpec(
        words("batch_shape"),
        only={"sparse": (False, None), "ragged": (False, None), "optional": (False,), "type_spec": (None,)},
    ),
    "LSTM": LayerSpec(_GATED_USED, _RNN_IGNORED, _RNN_ONLY),
    "GRU": LayerSpec(_GATED_USED | {"reset_after"}, _RNN_IGNORED, _RNN_ONLY),
    "SimpleRNN": LayerSpec(_RNN_USED, _RNN_IGNORED, _RNN_ONLY),
    "Bidirectional": LayerSpec(words("merge_mode layer backward_layer"), only={"num_constants": (None, 0)}),
    "TimeDistributed": LayerSpec(words("layer")),
    "Dense": LayerSpec(
        words("units activation use_bias"),
        _KERNEL | _BIAS,
        {"quantization_config": (None,), "lora_rank": (None,), "lora_alpha": (None,)},
    ),
    "Activation": LayerSpec(words("activation")),
    "ReLU": LayerSpec(words("negative_slope"), only={"max_value": (None,), "threshold": (None, 0.0)}),
    "LeakyReLU": LayerSpec(words("alpha negative_slope")),
    "ThresholdedReLU": LayerSpec(words("theta")),
    "ELU": LayerSpec(words("alpha")),
    "PReLU": LayerSpec(words("shared_axes"), words("alpha_initializer alpha_regularizer alpha_constraint")),
    "Softmax": LayerSpec(words("axis")),
    "Flatten": LayerSpec(only={"data_format": ("channels_last", None)}),
    "Reshape": LayerSpec(words("target_shape")),
    "Dropout": LayerSpec(ignored=words("rate noise_shape seed")),
    "SpatialDropout1D": LayerSpec(ignored=words("rate noise_shape seed data_format")),
    "GaussianNoise": LayerSpec(ignored=words("stddev seed")),
    "GaussianDropout": LayerSpec(ignored=words("rate seed")),
    "ActivityRegularization": LayerSpec(ignored=words("l1 l2")),
}

#: Activation functions and their parameters, by their name in a config. hard_sigmoid's slope depends on the version.
ACTIVATIONS: dict[str, dict[str, float]] = {
    "linear": {},
    "relu": {},
    "sigmoid": {},
    "tanh": {},
    "hard_sigmoid": {"slope": 0.2, "shift": 0.5},
    "hard_tanh": {},
    "softmax": {},
    "softplus": {},
    "softsign": {},
    "elu": {"alpha": 1.0},
    "selu": {},
    "leaky_relu": {"alpha": 0.2},
}

_FLOATS = ("float32", "float64")


class Options:
    """One layer's config, every key of it checked against the table of its class."""

    def __init__(self, class_name: str, name: str, config: dict[str, Any]) -> None:
        self.class_name = class_name
        self.name = name
        self.where = f"layer {show(name)} ({class_name})"
        self._config = config
        spec = LAYERS[class_name]
        for key, value in config.items():
            if key in spec.only:
                if not any(_same(value, legal) for legal in spec.only[key]):
                    raise self.refuse(key, value, " or ".join(map(repr, spec.only[key])))
            elif key not in spec.used | spec.ignored | _COMMON_USED | _COMMON_IGNORED:
                raise ModelError(f"{self.where}: option {show(key)} is not known to fxsim, which reads or refuses all")
        policy = _policy(config.get("dtype"))
        if policy is not None and not (isinstance(policy, str) and policy in _FLOATS):
            raise self.refuse("dtype", policy, " or ".join(map(repr, _FLOATS)))

    def refuse(self, key: str, value: object, legal: str) -> ModelError:
        """Make the error for an option whose value is not legal."""
        return ModelError(f"{self.where}: option {show(key)} must be {legal}, not {show(value)}")

    def __contains__(self, key: str) -> bool:
        return key in self._config

    def get(self, key: str) -> Any:
        """Give the option as it stands in the file; it must be there."""
        if key not in self._config:
            raise ModelError(f"{self.where}: option {show(key)} is missing")
        return self._config[key]

    def size(self, key: str) -> int:
        """Give a count such as units."""
        value = self.get(key)
        if type(value) is not int or not 1 <= value <= MAX_AXIS:
            raise self.refuse(key, value, f"an integer from 1 to {MAX_AXIS}")
        return value

    def flag(self, key: str) -> bool:
        """Give True or False."""
        value = self.get(key)
        if type(value) is not bool:
            raise self.refuse(key, value, "True or False")
        return value

    def number(self, key: str) -> float:
        """Give a finite number."""
        value = self.get(key)
        if type(value) not in (int, float) or abs(value) > 1e30 or not math.isfinite(value):
            raise self.refuse(key, value, "a finite number")
        return float(value)

    def choice(self, key: str, legal: tuple[str, ...]) -> str:
        """Give a string out of `legal`."""
        value = self.get(key)
        if not isinstance(value, str) or value not in legal:
            raise self.refuse(key, value, "one of " + ", ".join(map(repr, legal)))
        return value


def _same(value: object, legal: object) -> bool:
    """Compare strictly: False is not 0, but 0 is 0.0."""
    if isinstance(value, bool) or isinstance(legal, bool):
        return value is legal
    return isinstance(value, int | float | str | None) and value == legal


def _policy(dtype: object) -> object:
    """Give the name of a dtype policy, stored bare or as a serialised object; any other shape of it as it is."""
    if isinstance(dtype, dict) and dtype.get("class_name") in ("DTypePolicy", "Policy", "FloatDTypePolicy"):
        config = dtype.get("config")
        if isinstance(config, dict) and config.keys() == {"name"}:
            return config["name"]
    return dtype
