# SPDX-License-Identifier: Apache-2.0
"""The order of a cell's gates in its weights: frameworks differ, the project has one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError

__all__ = ["GATES", "PYTORCH", "reorder"]

#: The project's order, that of Keras: input, forget, candidate and output gate; update and reset gate and candidate.
GATES = {"lstm": "ifgo", "gru": "zrh", "simple_rnn": "h"}
#: PyTorch's, whose candidate of a GRU is called n there.
PYTORCH = {"lstm": "ifgo", "gru": "rzh", "simple_rnn": "h"}


def reorder(kind: str, order: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights or bias whose last axis has the gates in ``order``, brought into the project's; read-only.

    ``order`` names each gate of ``kind`` once, by the letters of ``GATES``. Raises ModelError for another order, or an
    axis that it does not divide.
    """
    if kind not in GATES:
        raise ModelError(f"kind must be one of {', '.join(GATES)}, not {kind!r}")
    want = GATES[kind]
    if sorted(order) != sorted(want):
        raise ModelError(f"order of the gates must have each of {', '.join(want)} once, not {order!r}")
    if values.shape[-1] % len(want):
        raise ModelError(f"the last axis of {kind} weights must be a multiple of {len(want)}, not {values.shape[-1]}")
    blocks = np.split(values, len(want), axis=-1)
    ordered: NDArray[np.float64] = np.concatenate([blocks[order.index(gate)] for gate in want], axis=-1)
    ordered.setflags(write=False)
    return ordered
