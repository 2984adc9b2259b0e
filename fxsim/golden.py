# SPDX-License-Identifier: Apache-2.0
"""Golden vectors: input sequences, and the integers that a design must answer with."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arguments import integer
from .errors import FxsimError
from .program.fixed import IntArray
from .program.graph import Graph

#: Corner sequences in front of the random ones: zeros, smallest, largest, and the last two in turns.
CORNERS = 4


def random_inputs(graph: Graph, sequences: int, seed: int = 0) -> IntArray:
    """Raw inputs (sequences, *graph.shape): the corners first, then random ones of every magnitude.

    The same for the same arguments. Raises ``FxsimError`` for a number of sequences that is not positive.
    """
    sequences, seed = integer(sequences, "sequences", 1), integer(seed, "seed", 0)
    low, high = graph.input.min, graph.input.max
    if graph.input.width > 64:
        raise FxsimError(f"input format must have at most 64 bits, not {graph.input}")
    shape = graph.shape
    rng = np.random.default_rng(seed)
    # Values over the whole range drive every gate into saturation, so each sequence gets a magnitude of its own.
    random = rng.integers(low, high, (sequences, *shape), dtype=np.int64, endpoint=True)
    random >>= rng.integers(0, graph.input.width, (sequences,) + (1,) * len(shape))
    turns = np.indices(shape).sum(axis=0) % 2
    corners = [np.zeros(shape, np.int64), np.full(shape, low), np.full(shape, high), np.where(turns, low, high)]
    count = min(CORNERS, sequences)
    random[:count] = corners[:count]
    return random


def golden(
    graph: Graph, raw: IntArray, taps: Sequence[Mapping[str, Any]] = (), beat: int | None = None
) -> dict[str, NDArray[Any]]:
    """Arrays of a vectors file for raw inputs (sequences, *graph.shape).

    ``beat``: elements of an input beat, those of a step by default. ``inputs`` and ``outputs`` are (sequences, beats,
    elements) raw integers, ``digest`` is the graph's. Each tap of a manifest (``layer``, ``op``, ``elements``,
    ``beats_per_step``) adds ``tap:layer.op``, all its beats in order.
    """
    from .simulator.run import simulate  # late: it brings a compiler

    names = [f"{tap['layer']}.{tap['op']}" for tap in taps]
    run = simulate(graph, raw, raw=True, trace=names or False, overflows=False)
    arrays: dict[str, NDArray[Any]] = {
        "inputs": _beats(raw, beat or graph.entry[-1], "an input"),
        "outputs": _beats(run.raw, graph.output_shape[-1], "an output"),
        "digest": np.array(graph.digest),
    }
    for name, tap in zip(names, taps, strict=True):
        arrays[f"tap:{name}"] = _beats(run.trace[name], tap["elements"], f"the tap {name}")
    return arrays


def _beats(values: NDArray[Any], elements: int, what: str) -> NDArray[Any]:
    """(sequences, ...) as (sequences, beats, elements)."""
    each = math.prod(values.shape[1:])
    if each % elements:
        raise FxsimError(f"{what} of {each} elements a sequence has no whole beats of {elements}")
    return values.reshape(len(values), -1, elements)


def encode(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of an .npz file; the same for the same arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
