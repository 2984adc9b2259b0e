# SPDX-License-Identifier: Apache-2.0
"""Keras' recurrent cells, those of CuDNN among them: their options, and their weights in the order of a `Source`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .gates import GATES
from .keras_functions import function, inner
from .keras_graph import Entry
from .keras_options import CELLS, Options, snake_case
from .keras_weights import Expected
from .source import GRU, LSTM, Function, Recurrent, SimpleRNN

__all__ = ["Cell", "cell", "stacked"]

Array = NDArray[np.float64]
Weights = Mapping[str, Array]

#: Functions inside a recurrent layer: applied to each element, and without a parameter but hard_sigmoid's slope.
_FUNCTIONS = (
    "linear", "relu", "sigmoid", "tanh", "hard_sigmoid", "hard_tanh", "softplus", "softsign", "elu", "selu",
)  # fmt: skip
_KINDS: dict[str, type[Recurrent]] = {
    **dict.fromkeys(("LSTM", "LSTMCell", "CuDNNLSTM"), LSTM),
    **dict.fromkeys(("GRU", "GRUCell", "CuDNNGRU"), GRU),
    **dict.fromkeys(("SimpleRNN", "SimpleRNNCell"), SimpleRNN),
}


@dataclass(frozen=True)
class Cell:
    """A cell before its weights are read: the layer that runs it over a sequence, and what that needs."""

    layer: Recurrent
    expected: tuple[Expected, ...]
    trainable: bool = True

    def named(self, name: str, return_sequences: bool) -> Cell:
        """The cell in a layer of that name."""
        return replace(self, layer=replace(self.layer, name=name, return_sequences=return_sequences))

    def build(self, weights: Weights) -> Recurrent:
        """The layer with its weights."""
        layer, values = self.layer, dict(weights)
        zeros = np.zeros(values["kernel"].shape[1])
        bias = values.pop("bias", zeros)
        if bias.size != zeros.size and bias.ndim == 1:
            values, bias = _from_cudnn(layer, values, bias)
        values["bias"] = bias if bias.ndim == 1 else bias[0]
        if isinstance(layer, GRU):
            if layer.use_bias:
                # Configs that are older than the option do not have it; the bias tells.
                layer = replace(layer, reset_after=bias.ndim == 2)
            values["recurrent_bias"] = zeros if bias.ndim == 1 else bias[1]
        for value in values.values():
            value.setflags(write=False)
        return replace(layer, weights=values)


def cell(options: Options, features: int, generation: int, group: str = "cell") -> Cell:
    """The cell that a layer's or a cell's options describe, for so many features; they take what is wrong with it.

    `group`: where its weights stand below the layer's in the files of Keras 3.
    """
    kind = _KINDS[options.class_name]
    fast = options.class_name.startswith("CuDNN")

    def act(key: str, usual: str) -> Function:
        return Function(usual) if fast else function(options, key, generation, _FUNCTIONS)

    units, use_bias = options.size("units"), fast or options.flag("use_bias")
    read: dict[str, Any] = {"units": units, "use_bias": use_bias, "activation": act("activation", "tanh")}
    if kind is not SimpleRNN:
        read["recurrent_activation"] = act("recurrent_activation", "sigmoid")
    group = "" if fast else group
    wide = len(GATES[kind.kind]) * units
    biases: tuple[tuple[int, ...], ...] = ((wide,),)
    if kind is LSTM:
        biases = ((wide,), (2 * wide,))
    elif kind is GRU:
        known = True if fast else options.flag("reset_after") if "reset_after" in options else None
        if known is None and not use_bias:
            # As in the Keras of the time before the option.
            known = False
        before, after = ((wide,),), ((2, wide), (2 * wide,))
        biases = after if known else before if known is False else before + after
        read["reset_after"] = bool(known)
    expected = [
        Expected("kernel", ((features, wide),), 0, group),
        Expected("recurrent_kernel", ((units, wide),), 1, group),
    ]
    if use_bias:
        expected.append(Expected("bias", biases, 2, group))
    return Cell(kind(options.name, return_sequences=True, **read), tuple(expected), options.trainable)


def _from_cudnn(layer: Recurrent, weights: Weights, bias: Array) -> tuple[dict[str, Array], Array]:
    """Weights of CuDNNLSTM and CuDNNGRU, told by a bias of twice the size, as Keras 2 itself converts them.

    Source: ``_convert_rnn_weights`` in Keras 2's ``hdf5_format.py``. Kernels are transposed gate by gate, that of the
    input keeps its shape. An LSTM's two biases are added, in the precision in which they are stored.
    """

    def gates(kernel: Array, one: Callable[[Array], Array]) -> Array:
        return np.hstack([one(part) for part in np.hsplit(kernel, len(GATES[layer.kind]))])

    turned = {
        "kernel": gates(weights["kernel"], lambda part: part.T.reshape(part.shape, order="F")),
        "recurrent_kernel": gates(weights["recurrent_kernel"], lambda part: part.T),
    }
    both = bias.reshape(2, -1)
    if isinstance(layer, GRU):
        return turned, both
    total = both[0] + both[1]
    # float64 has more than twice the bits of float32, so that a sum rounded to both is that of float32.
    single = np.array_equal(both, both.astype(np.float32))
    return turned, total.astype(np.float32).astype(np.float64) if single else total


def stacked(options: Options, features: int, generation: int) -> list[Cell]:
    """The cells of an RNN, one or several on top of each other."""
    found: list[Cell] = []
    for entry, group in _entries(options):
        one = cell(Options(entry.class_name, entry.name, entry.config, options), features, generation, group)
        found.append(one)
        features = one.layer.units
    return found


def _entries(options: Options) -> list[tuple[Entry, str]]:
    """The cells' entries, and where their weights stand below the layer's in the files of Keras 3."""
    first = _entry(options, options.get("cell", {}))
    if first is None:
        return []
    if first.class_name != "StackedRNNCells":
        return [(first, "cell")]
    stack = Options(first.class_name, first.name, first.config, options)
    cells = stack.get("cells", [])
    if not isinstance(cells, list) or not cells:
        stack.refuse("cells", cells, "a list of cells", doubt=True)
        return []
    found: list[tuple[Entry, str]] = []
    counts: dict[str, int] = {}
    for value in cells:
        entry = _entry(stack, value)
        if entry is None or entry.class_name == "StackedRNNCells":
            stack.problem("its cells must be LSTMCell, GRUCell or SimpleRNNCell", doubt=True)
            return []
        stem = snake_case(entry.class_name)
        number = counts[stem] = counts.get(stem, -1) + 1
        found.append((entry, f"cell/cells/{stem}{f'_{number}' if number else ''}"))
    return found


def _entry(options: Options, value: object) -> Entry | None:
    entry = inner(options, value, "its cell", CELLS)
    options.notes.doubt = options.notes.doubt or entry is None
    return entry
