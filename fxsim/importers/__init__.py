# SPDX-License-Identifier: Apache-2.0
"""Trained models from other frameworks, read as data into a `Source`; no framework is needed to read a file.

New here: another framework or file format. Not here: fixed point, and any convention behind a `Source`.
May import: files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from .source import Source

__all__ = ["from_keras", "from_pytorch", "read_model"]


def read_model(
    path: str | os.PathLike[str], weights: str | os.PathLike[str] | None = None, steps: int | None = None
) -> Source:
    """Read a Keras 2 or 3 model file.

    `path` is a .keras archive, a .h5 or .hdf5 file, or an architecture .json; the last needs `weights`, an HDF5 file
    with its weights, which the others refuse. `steps` is the length of a sequence, for a model whose time axis is None.
    Raises ModelError if the file is damaged or holds something that fxsim does not import; its `obstacles` are all that
    is in the way. Nothing in the file is executed.
    """
    from .keras import source_from_contents
    from .keras_files import open_model

    with open_model(path, weights) as contents:
        return source_from_contents(contents, steps)


def from_keras(model: Any, steps: int | None = None) -> Source:
    """Take a live Keras 2, tf.keras or Keras 3 model, giving what `read_model` gives for its saved file.

    Raises ModelError if `model` is no built Keras model or holds something that fxsim does not import.
    """
    from .keras import source_from_contents
    from .keras_files import live_contents

    return source_from_contents(live_contents(model), steps)


def from_pytorch(
    model: Any, shape: Sequence[int], layers: Sequence[str], *, name: str = "network", input_name: str = "x"
) -> Source:
    """Take the weights of a PyTorch model and the order of its layers, which stands in no file.

    `model` is a module or its `state_dict()`; `shape` the input's, (steps, features) or (features,). `layers` names, in
    order, each module with weights (LSTM, GRU, RNN of any depth, one or both directions; Linear, PReLU), each
    activation function ("relu", or "name: relu" to name the layer; of a module, by its name with its parameters), and
    what happens to a sequence: "last" (`y[:, -1]`), "state" (the final hidden states, of both directions side by side)
    or "flatten". An RNN is written "name: tanh" or "name: relu". Raises ModelError if a layer has no weights, or
    weights are of no layer.
    """
    from .pytorch import source_from_state

    if not hasattr(model, "state_dict"):
        return source_from_state(model, shape, layers, name, input_name)
    modules = dict(model.named_modules()) if hasattr(model, "named_modules") else {}
    return source_from_state(model.state_dict(), shape, layers, name, input_name, modules)
