# SPDX-License-Identifier: Apache-2.0
"""A BatchNormalization as part of the weights beside it, where float arithmetic says that this is the same."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..importers.source import (
    BatchNormalization,
    Bidirectional,
    Dense,
    Recurrent,
    Source,
    SourceLayer,
)

Weighted = Dense | Recurrent | Bidirectional


def folded(source: Source, kept: Container[str] = ()) -> Source:
    """The network without the scales that stand directly behind a Dense layer, or in front of what has weights.

    Behind: ``s (W x + b) + t`` has the kernel ``W s`` and the bias ``b s + t``. In front: ``W (s x + t) + b`` has the
    kernel ``s W`` and the bias ``b + W t``. Neither where something else reads the tensor between both, or where one of
    them is ``kept``. Weights are float64, so that nothing is lost before they get their formats.
    """
    while True:
        for layer in source.layers:
            if not isinstance(layer, BatchNormalization) or layer.name in kept:
                continue
            joined = _behind(source, layer, kept) or _in_front(source, layer, kept)
            if joined is not None:
                source = joined
                break
        else:
            return source


def alone(source: Source, name: str) -> bool:
    """Whether a tensor has one reader, and is no output."""
    return name not in source.outputs and sum(layer.sources.count(name) for layer in source.layers) == 1


def _behind(source: Source, scale: BatchNormalization, kept: Container[str]) -> Source | None:
    before = next((layer for layer in source.layers if layer.name == scale.sources[0]), None)
    if not isinstance(before, Dense) or before.name in kept or not alone(source, before.name):
        return None
    factor, shift = scale.scale, scale.shift
    weights = {"kernel": before.weights["kernel"] * factor, "bias": _bias(before) * factor + shift}
    return without(source, scale, replace(before, use_bias=True, weights=weights))


def _in_front(source: Source, scale: BatchNormalization, kept: Container[str]) -> Source | None:
    after = next(iter(source.readers(scale.name)), None)
    if not isinstance(after, Weighted) or after.name in kept or not alone(source, scale.name):
        return None
    if isinstance(after, Bidirectional):
        forward, backward = (_scaled(side, scale) for side in after.sides.values())
        return without(source, scale, replace(after, forward=forward, backward=backward))
    return without(source, scale, _scaled(after, scale))


T = TypeVar("T", bound=Dense | Recurrent)


def _scaled(layer: T, scale: BatchNormalization) -> T:
    """A layer that reads what a scale reads."""
    kernel = layer.weights["kernel"]
    bias = _bias(layer) + scale.shift @ kernel
    weights = {**layer.weights, "kernel": scale.scale[:, None] * kernel, "bias": bias}
    return replace(layer, use_bias=True, weights=weights)


def _bias(layer: Dense | Recurrent) -> NDArray[np.float64]:
    """A layer's bias: zeros where it has none."""
    bias: NDArray[np.float64] = layer.weights.get("bias", np.zeros(layer.weights["kernel"].shape[1]))
    return bias


def without(source: Source, scale: BatchNormalization, changed: SourceLayer) -> Source:
    """The network without the scale, one of its neighbours changed."""

    def renamed(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(scale.sources[0] if name == scale.name else name for name in names)

    layers = []
    for layer in source.layers:
        if layer is not scale:
            one = changed if layer.name == changed.name else layer
            layers.append(replace(one, sources=renamed(one.sources)))
    return replace(source, layers=tuple(layers), outputs=renamed(source.outputs))
