# SPDX-License-Identifier: Apache-2.0
"""Activation functions as Keras' configs have them: a name, or a layer that is one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..errors import ModelError, show
from .keras_graph import Entry
from .keras_options import ACTIVATIONS, Options
from .source import Function

__all__ = ["ACTIVATION_LAYERS", "function", "inner"]


def function(options: Options, key: str, generation: int, only: Sequence[str] | None = None) -> Function:
    """An activation option; what is not legal is noted in the options and read as a linear one.

    With ``only``, one of these functions, with the parameters that it has by its name.
    """
    value = options.get(key)
    if value is None:
        value = "linear"
    legal = [name for name in only or ACTIVATIONS if generation == 3 or name != "hard_tanh"]
    if isinstance(value, dict):
        found = _layer(options, key, value)
        if only is None or (found.name in legal and found == Function(found.name, **ACTIVATIONS[found.name])):
            return found
    elif isinstance(value, str) and value in legal:
        slope = {"slope": 1 / 6} if value == "hard_sigmoid" and generation == 3 else {}
        return Function(value, **{**ACTIVATIONS[value], **slope})
    options.refuse(key, value, "one of " + ", ".join(map(repr, legal)))
    return Function("linear")


def _layer(options: Options, key: str, value: dict[str, object]) -> Function:
    """A whole activation layer in place of a name."""
    if value.get("class_name") == "function":
        options.problem(
            f"option {show(key)} is the Python function {show(value.get('config'))}, which fxsim does not run"
        )
        return Function("linear")
    entry = inner(options, value, f"option {show(key)}", ACTIVATION_LAYERS)
    if entry is None:
        return Function("linear")
    return ACTIVATION_LAYERS[entry.class_name](Options(entry.class_name, entry.name, entry.config, options), 1)


def inner(options: Options, value: object, what: str, legal: Iterable[str], wanted: str = "") -> Entry | None:
    """A layer inside another one, of one of the `legal` classes, or `wanted` in words; what is none is noted."""
    try:
        entry = Entry.of(value, f"{options.where}: {what}")
    except ModelError as error:
        options.notes.problems += error.obstacles
        return None
    if entry.class_name in legal:
        return entry
    wanted = wanted or f"one of {', '.join(legal)}"
    options.problem(f"{what} is a {show(entry.class_name)}; it must be {wanted}")
    return None


def _relu(options: Options, rank: int) -> Function:
    # Older configs of Keras 2 have none of the three options.
    slope = options.number("negative_slope") if "negative_slope" in options else 0.0
    return Function("leaky_relu", alpha=slope) if slope else Function("relu")


def _leaky_relu(options: Options, rank: int) -> Function:
    # Keras 2 calls it alpha, Keras 3 negative_slope.
    keys = [key for key in ("alpha", "negative_slope") if key in options]
    if len(keys) == 2:
        options.problem("options 'alpha' and 'negative_slope' are the same; one must be given")
    return Function("leaky_relu", alpha=options.number(keys[0] if keys else "negative_slope"))


def _softmax(options: Options, rank: int) -> Function:
    axis = options.get("axis", -1)
    if isinstance(axis, list) and len(axis) == 1:
        axis = axis[0]
    if type(axis) is not int or axis not in (-1, rank):
        options.misfit(f"option 'axis' must be -1 (the last axis, {rank}), not {show(axis)}")
    return Function("softmax")


#: Layers that are an activation function; `rank` is that of their input without the batch.
ACTIVATION_LAYERS: dict[str, Callable[[Options, int], Function]] = {
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ThresholdedReLU": lambda options, rank: Function("thresholded_relu", theta=options.number("theta")),
    "ELU": lambda options, rank: Function("elu", alpha=options.number("alpha")),
    "Softmax": _softmax,
}
