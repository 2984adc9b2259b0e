# SPDX-License-Identifier: Apache-2.0
"""What every Keras layer's config may hold: each key is read, known not to matter at inference, or refused."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ModelError, show

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "LAYERS",
    "MAX_AXIS",
    "REASONS",
    "Options",
    "as_dict",
    "as_list",
    "snake_case",
    "words",
]

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


# The shape of the input stands in the first layer of a Sequential model of Keras 2, and Keras leaves it there when it
# puts the layer elsewhere: only the first layer's is read. `dtype` is checked for every layer.
_COMMON_USED = words("name dtype batch_input_shape batch_shape input_shape")
# What a trained network no longer needs to compute.
_COMMON_IGNORED = words("trainable activity_regularizer build_config autocast")
_KERNEL = words("kernel_initializer kernel_regularizer kernel_constraint")
_RECURRENT_KERNEL = words("recurrent_initializer recurrent_regularizer recurrent_constraint")
_BIAS = words("bias_initializer bias_regularizer bias_constraint")

# `unit_forget_bias` is in the initial bias only; dropout acts in training only.
_CELL_IGNORED = (
    _KERNEL | _RECURRENT_KERNEL | _BIAS | words("dropout recurrent_dropout seed implementation unit_forget_bias")
)
# How the same is computed; `zero_output_for_mask` acts with a mask only, and Masking is refused.
_LOOP_IGNORED = words("unroll use_cudnn zero_output_for_mask")
_LOOP_USED = words("return_sequences go_backwards")
_LOOP_ONLY: dict[str, tuple[object, ...]] = {
    "return_state": (False,),
    "stateful": (False,),
    "time_major": (False,),
    "num_constants": (None, 0),
    "input_dim": (None,),
}
_CELL_USED = words("units activation use_bias")
_GATED_USED = _CELL_USED | {"recurrent_activation"}
_DROPOUT = LayerSpec(ignored=words("rate noise_shape seed data_format"))


def _looped(used: frozenset[str]) -> LayerSpec:
    """A recurrent layer that has a cell's options as its own."""
    return LayerSpec(used | _LOOP_USED, _CELL_IGNORED | _LOOP_IGNORED, _LOOP_ONLY)


#: Every layer class that is imported.
LAYERS: dict[str, LayerSpec] = {
    "InputLayer": LayerSpec(
        ignored=words("batch_size"),
        only={"sparse": (False, None), "ragged": (False, None), "optional": (False,), "type_spec": (None,)},
    ),
    "LSTM": _looped(_GATED_USED),
    "GRU": _looped(_GATED_USED | {"reset_after"}),
    "SimpleRNN": _looped(_CELL_USED),
    "CuDNNLSTM": _looped(words("units")),
    "CuDNNGRU": _looped(words("units")),
    "RNN": LayerSpec(words("cell") | _LOOP_USED, _LOOP_IGNORED, _LOOP_ONLY),
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
    "Dropout": _DROPOUT,
    "SpatialDropout1D": _DROPOUT,
    "AlphaDropout": _DROPOUT,
    "GaussianNoise": LayerSpec(ignored=words("stddev seed")),
    "GaussianDropout": _DROPOUT,
    "ActivityRegularization": LayerSpec(ignored=words("l1 l2")),
    "Identity": LayerSpec(),
    # Keras 3 puts it between layers of different policies.
    "Cast": LayerSpec(),
    **dict.fromkeys(("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"), LayerSpec()),
    "Concatenate": LayerSpec(words("axis")),
    # `momentum` and the rest are about training; of a batch that is renormalised Keras keeps more weights.
    "BatchNormalization": LayerSpec(
        words("axis epsilon center scale"),
        words(
            "momentum fused synchronized renorm_clipping renorm_momentum beta_initializer gamma_initializer "
            "moving_mean_initializer moving_variance_initializer beta_regularizer gamma_regularizer beta_constraint "
            "gamma_constraint"
        ),
        {"renorm": (False,), "virtual_batch_size": (None,), "adjustment": (None,)},
    ),
    "RepeatVector": LayerSpec(words("n")),
}
#: The cells of an RNN, by the layer that is the same.
CELLS: dict[str, LayerSpec] = {
    "LSTMCell": LayerSpec(_GATED_USED, _CELL_IGNORED),
    "GRUCell": LayerSpec(_GATED_USED | {"reset_after"}, _CELL_IGNORED),
    "SimpleRNNCell": LayerSpec(_CELL_USED, _CELL_IGNORED),
    "StackedRNNCells": LayerSpec(words("cells")),
}
#: Why classes are not imported whose absence needs a word.
REASONS = {
    "Lambda": "whose function is Python code, which fxsim does not run",
    "Masking": "which leaves out steps; fxsim computes every step of a sequence",
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
    "log_softmax": {},
}

#: Policies whose weights are stored as numbers that numpy has; to compute in 16 bits only rounds more than fxsim's
#: floats do. A layer without weights may have the other one.
_POLICIES = ("float32", "float64", "float16", "mixed_float16", "mixed_bfloat16")
_WITHOUT_WEIGHTS = (*_POLICIES, "bfloat16")
_WEIGHTED = words("units layer cell cells epsilon")


@dataclass
class Notes:
    """What is wrong with a layer and those inside it, a sentence each.

    `misfits` are about the shape of its input. `doubt`: its result may have another shape than the one that is read.
    """

    problems: list[str] = field(default_factory=list)
    misfits: list[str] = field(default_factory=list)
    doubt: bool = False


class Options:
    """One layer's config, every key of it checked against the table of its class.

    What is not legal is noted and read as some legal value, so that all that is wrong with a layer is found. A layer
    inside another one shares its notes.
    """

    def __init__(self, class_name: str, name: str, config: dict[str, Any], inside: Options | None = None) -> None:
        self.class_name = class_name
        self.name = name
        self.where = f"layer {show(name)} ({class_name})"
        self.notes: Notes = Notes() if inside is None else inside.notes
        self.trainable = config.get("trainable", True) is not False
        self._config = config
        spec = {**LAYERS, **CELLS}[class_name]
        for key, value in config.items():
            if key in spec.only:
                if not any(_same(value, legal) for legal in spec.only[key]):
                    self.refuse(key, value, " or ".join(map(repr, spec.only[key])))
            elif key not in spec.used | spec.ignored | _COMMON_USED | _COMMON_IGNORED:
                self.problem(f"option {show(key)} is not known to fxsim, which reads or refuses all")
        policy = _policy(config.get("dtype"))
        legal = _POLICIES if spec.used & _WEIGHTED else _WITHOUT_WEIGHTS
        if policy is not None and not (isinstance(policy, str) and policy in legal):
            self.refuse("dtype", policy, "one of " + ", ".join(map(repr, legal)))

    def problem(self, text: str, *, doubt: bool = False) -> None:
        """Note what is wrong with this layer."""
        self.notes.problems.append(f"{self.where}: {text}")
        self.notes.doubt = self.notes.doubt or doubt

    def misfit(self, text: str) -> None:
        """Note that the layer does not fit the shape of its input."""
        self.notes.misfits.append(f"{self.where}: {text}")
        self.notes.doubt = True

    def refuse(self, key: str, value: object, legal: str, *, doubt: bool = False) -> None:
        """Note that an option's value is not legal."""
        self.problem(f"option {show(key)} must be {legal}, not {show(value)}", doubt=doubt)

    def __contains__(self, key: str) -> bool:
        return key in self._config

    def get(self, key: str, default: object = None) -> Any:
        """Give the option as it stands in the file; it must be there, or is noted and read as `default`."""
        if key not in self._config:
            self.problem(f"option {show(key)} is missing", doubt=True)
            return default
        return self._config[key]

    def size(self, key: str) -> int:
        """Give a count such as units."""
        value = self.get(key, 1)
        if type(value) is not int or not 1 <= value <= MAX_AXIS:
            self.refuse(key, value, f"an integer from 1 to {MAX_AXIS}", doubt=True)
            return 1
        return value

    def flag(self, key: str) -> bool:
        """Give True or False."""
        value = self.get(key, False)
        if type(value) is not bool:
            self.refuse(key, value, "True or False", doubt=True)
            return False
        return value

    def number(self, key: str) -> float:
        """Give a finite number."""
        value = self.get(key, 0.0)
        if type(value) not in (int, float) or abs(value) > 1e30 or not math.isfinite(value):
            self.refuse(key, value, "a finite number")
            return 0.0
        return float(value)

    def choice(self, key: str, legal: tuple[str, ...]) -> str:
        """Give a string out of `legal`."""
        value = self.get(key, legal[0])
        if not isinstance(value, str) or value not in legal:
            self.refuse(key, value, "one of " + ", ".join(map(repr, legal)))
            return legal[0]
        return value


def _same(value: object, legal: object) -> bool:
    """Compare strictly: False is not 0, but 0 is 0.0."""
    if isinstance(value, bool) or isinstance(legal, bool):
        return value is legal
    return isinstance(value, int | float | str | None) and value == legal


def _policy(dtype: object) -> object:
    """Give the name of a dtype policy, stored bare or as a serialised object; any other shape of it as it is."""
    if isinstance(dtype, dict) and dtype.get("class_name") in ("DTypePolicy", "Policy", "PolicyV1", "FloatDTypePolicy"):
        config = dtype.get("config")
        if isinstance(config, dict) and config.keys() <= {"name", "loss_scale"}:
            return config.get("name")
    if isinstance(dtype, dict) and dtype.get("class_name") == "DTypePolicyMap":
        config = dtype.get("config")
        if isinstance(config, dict) and config.keys() == {"default_policy", "policy_map"} and not config["policy_map"]:
            return _policy(config["default_policy"])
    return dtype
