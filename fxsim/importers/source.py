# SPDX-License-Identifier: Apache-2.0
"""The float network an importer gives: a graph of layers; no framework's conventions left in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..errors import FxsimError, show
from .layers import (
    FUNCTIONS,
    GRU,
    LSTM,
    MERGES,
    Activation,
    BatchNormalization,
    Bidirectional,
    Dense,
    Flatten,
    Function,
    Idle,
    Merge,
    Moving,
    Recurrent,
    Repeat,
    Reshape,
    Reverse,
    Shape,
    SimpleRNN,
    SourceLayer,
    reshaped,
    result,
    shape_of,
)

__all__ = [
    "FUNCTIONS",
    "GRU",
    "LSTM",
    "MERGES",
    "Activation",
    "BatchNormalization",
    "Bidirectional",
    "Dense",
    "Door",
    "Flatten",
    "Function",
    "Idle",
    "Merge",
    "Moving",
    "Recurrent",
    "Repeat",
    "Reshape",
    "Reverse",
    "SimpleRNN",
    "Source",
    "SourceLayer",
    "reshaped",
    "result",
    "shape_of",
]


@dataclass(frozen=True)
class Door:
    """An input of a network: its name, and its shape without the batch, (steps, features) or (features,)."""

    name: str
    shape: Shape


@dataclass(frozen=True, repr=False)
class Source:
    """A float network: its inputs, its layers, each behind what it reads, and the names of those that give the outputs.

    `framework` is keras or pytorch, whose names of layers other tools write in their own ways. Raises ``FxsimError``
    that names the layer which does not fit.
    """

    name: str
    inputs: tuple[Door, ...]
    layers: tuple[SourceLayer, ...]
    outputs: tuple[str, ...]
    framework: str = "keras"
    #: What each layer reads.
    edges: tuple[tuple[str, ...], ...] = field(init=False, repr=False)
    #: Shapes of all tensors by their names: the inputs, and the results of layers.
    shapes: Mapping[str, Shape] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", tuple(layer.sources for layer in self.layers))
        object.__setattr__(self, "shapes", self._shapes())
        if not self.inputs or not self.outputs:
            raise FxsimError("a network must have at least one input and one output")
        names = [*(door.name for door in self.inputs), *(layer.name for layer in self.layers)]
        for name in names:
            if names.count(name) > 1:
                raise FxsimError(f"names of inputs and layers must be distinct, not {show(name)}")
        for name in self.outputs:
            if name not in self.shapes or self.outputs.count(name) > 1:
                raise FxsimError(f"outputs must be distinct names of layers, not {show(name)}")

    @classmethod
    def row(
        cls,
        name: str,
        input_name: str,
        shape: Shape,
        layers: Iterable[SourceLayer],
        framework: str = "keras",
    ) -> Source:
        """A network of one input whose layers each read the one before them."""
        linked: list[SourceLayer] = []
        for layer in layers:
            linked.append(replace(layer, sources=(linked[-1].name if linked else input_name,)))
        return cls(name, (Door(input_name, shape),), tuple(linked), tuple(one.name for one in linked[-1:]), framework)

    def __repr__(self) -> str:
        layers = [*(f"{layer.name} ({layer.kind})" for layer in self.layers[:8]), *(["..."] * (len(self.layers) > 8))]
        single = len(self.inputs) == 1
        doors = [f"{'' if single else f'{one.name} '}{' x '.join(map(str, one.shape))}" for one in self.inputs]
        return f"Source {self.name}: input{'' if single else 's'} {', '.join(doors)}; {', '.join(layers)}"

    __hash__ = None  # type: ignore[assignment]

    def _shapes(self) -> dict[str, Shape]:
        found = {door.name: door.shape for door in self.inputs}
        for layer in self.layers:
            for name in layer.sources:
                if name not in found:
                    raise FxsimError(f"{layer.where} reads {show(name)}, which is no input and no layer before it")
            found[layer.name] = shape_of(layer, *(found[name] for name in layer.sources))
        return found

    @property
    def shape(self) -> Shape:
        """Shape of the only input; raises ``FxsimError`` if there are several."""
        return self._only.shape

    @property
    def input_name(self) -> str:
        """Name of the only input; raises ``FxsimError`` if there are several."""
        return self._only.name

    @property
    def _only(self) -> Door:
        if len(self.inputs) != 1:
            names = ", ".join(repr(door.name) for door in self.inputs)
            raise FxsimError(f"this needs a network of one input; {self.name!r} has {len(self.inputs)}: {names}")
        return self.inputs[0]

    def readers(self, name: str) -> list[SourceLayer]:
        """The layers that read a tensor."""
        return [layer for layer in self.layers if name in layer.sources]

    @property
    def active(self) -> Source:
        """The network without the layers that do nothing."""
        same: dict[str, str] = {}
        layers: list[SourceLayer] = []
        for layer in self.layers:
            sources = tuple(same.get(name, name) for name in layer.sources)
            if isinstance(layer, Idle):
                same[layer.name] = sources[0]
            else:
                layers.append(layer if sources == layer.sources else replace(layer, sources=sources))
        outputs = tuple(same.get(name, name) for name in self.outputs)
        return Source(self.name, self.inputs, tuple(layers), outputs, self.framework) if same else self
