# SPDX-License-Identifier: Apache-2.0
"""Layers of float networks for tests, as an importer gives them; what is not said is as Keras has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fxsim.importers.source import GRU, LSTM, Activation, Dense, Function, Recurrent, SimpleRNN

#: The parameters of functions that have any.
PARAMETERS: dict[str, dict[str, Any]] = {
    "elu": {"alpha": 1.0},
    "leaky_relu": {"alpha": 0.2},
    "thresholded_relu": {"theta": 1.0},
    "hard_sigmoid": {"slope": 0.2, "shift": 0.5},
}
CELLS: dict[str, type[Recurrent]] = {one.kind: one for one in (LSTM, GRU, SimpleRNN)}


def function(name: str, **parameters: Any) -> Function:
    """An activation function."""
    return Function(name, **{**PARAMETERS.get(name, {}), **parameters})


def recurrent(kind: str, name: str, weights: Mapping[str, np.ndarray], **settings: Any) -> Recurrent:
    """A recurrent layer of so many units as its weights have; its functions may be given by their names."""
    known = {"units": len(weights["recurrent_kernel"]), "return_sequences": False, "use_bias": True}
    known |= {"activation": "tanh"} | ({} if kind == "simple_rnn" else {"recurrent_activation": "sigmoid"})
    known |= {"reset_after": True} if kind == "gru" else {}
    known |= settings
    for key in ("activation", "recurrent_activation"):
        if isinstance(known.get(key), str):
            known[key] = function(known[key])
    return CELLS[kind](name, weights=weights, **known)


def dense(name: str, weights: Mapping[str, np.ndarray], use_bias: bool = True) -> Dense:
    """A Dense layer of so many units as its weights have."""
    return Dense(name, units=weights["kernel"].shape[1], use_bias=use_bias, weights=weights)


def activation(name: str, of: str, origin: str = "", **parameters: Any) -> Activation:
    """A layer that is a function."""
    return Activation(name, function(of, **parameters), origin=origin)
