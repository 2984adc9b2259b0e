# SPDX-License-Identifier: Apache-2.0
"""The float network an importer gives: layers in order, options, weights; no framework's conventions left in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "MOVING", "Source", "SourceLayer"]

#: The kinds of layers, with the options each always has; `hard_sigmoid` functions carry their slope with them.
#:
#: ============= ============================================================== ====================================
#: kind          options                                                        weights
#: ============= ============================================================== ====================================
#: lstm          units activation recurrent_activation return_sequences use_bias kernel (n, 4u), recurrent_kernel
#:                                                                              (u, 4u), bias (4u,); gates i f g o
#: gru           the same and reset_after                                       kernel (n, 3u), recurrent_kernel
#:                                                                              (u, 3u), bias and recurrent_bias
#:                                                                              (3u,); gates z r h
#: simple_rnn    units activation return_sequences use_bias                     kernel, recurrent_kernel, bias
#: bidirectional merge_mode return_sequences forward backward (SourceLayers)    none
#: dense         units use_bias                                                 kernel (n, u), bias (u,)
#: activation    function and its parameters: alpha (PReLU: one an element),    none
#:               theta, or slope and shift
#: flatten       none                                                           none
#: reshape       steps                                                          none
#: ============= ============================================================== ====================================
#:
#: lstm and simple_rnn may have a recurrent_bias too. Without a bias its weights are zeros. Recurrent layers whose gates
#: use hard_sigmoid have `hard_sigmoid_slope`. reshape deals a vector into steps.
KINDS = ("lstm", "gru", "simple_rnn", "bidirectional", "dense", "activation", "flatten", "reshape")
#: The kinds whose layers leave every value as it is and where it is.
MOVING = ("flatten", "reshape")


@dataclass(frozen=True, eq=False, repr=False)
class SourceLayer:
    """One layer; `weights` are float64 and read-only, exactly the stored values.

    `origin` is the framework's class of the layer where other tools treat it unlike others of its kind; `wrapper` the
    name of the TimeDistributed around it.
    """

    name: str
    kind: str
    options: Mapping[str, object]
    weights: Mapping[str, NDArray[np.float64]]
    origin: str = ""
    wrapper: str = ""

    def __repr__(self) -> str:
        weights = ", ".join(f"{name} {value.shape}" for name, value in self.weights.items())
        return f"SourceLayer {self.name!r}: {self.kind}{f'; {weights}' if weights else ''}"

    def __eq__(self, other: object) -> bool:
        # The generated one would compare arrays with `==`, whose truth value is an error.
        if not isinstance(other, SourceLayer):
            return NotImplemented
        return (
            (self.name, self.kind, self.options) == (other.name, other.kind, other.options)
            and (self.origin, self.wrapper) == (other.origin, other.wrapper)
            and self.weights.keys() == other.weights.keys()
            and all(np.array_equal(value, other.weights[key]) for key, value in self.weights.items())
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, repr=False)
class Source:
    """A float network that is one chain of layers.

    `shape` is the input's, without the batch: (steps, features) or (features,). `idle` names layers that do nothing at
    inference, each with the number of layers before it; other tools may round there. `framework` is keras or pytorch,
    whose names of layers other tools write in their own ways.
    """

    name: str
    input_name: str
    shape: tuple[int, ...]
    layers: tuple[SourceLayer, ...]
    idle: tuple[tuple[int, str], ...] = ()
    framework: str = "keras"

    def __repr__(self) -> str:
        layers = [*(f"{layer.name} ({layer.kind})" for layer in self.layers[:8]), *(["..."] * (len(self.layers) > 8))]
        return f"Source {self.name}: input {' x '.join(map(str, self.shape))}; {', '.join(layers)}"

    __hash__ = None  # type: ignore[assignment]
