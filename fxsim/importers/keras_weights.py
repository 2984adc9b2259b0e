# SPDX-License-Identifier: Apache-2.0
"""Which stored array is which layer's weight, in the three places Keras keeps them; each is checked, then read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, show
from .hdf5 import MAX_VALUES, Dataset, Group, text, text_list
from .hdf5_child import reason
from .keras_options import snake_case

__all__ = [
    "Expected",
    "H5Legacy",
    "H5Vars",
    "LayerWeights",
    "Live",
    "Stored",
    "WeightStore",
    "guarded",
    "read_all",
]

#: Weights of a whole model; a file may declare any number for free.
MAX_WEIGHTS = MAX_VALUES
#: Groups inside groups, more than models inside models can have.
_DEEPEST = 30
#: Names of numpy's types of floating point up to 8 bytes, of either order of bytes.
_FLOAT = re.compile(r"float(16|32|64)|[<>=]f[248]")


@dataclass(frozen=True)
class Expected:
    """One weight a layer must have.

    `group` and `index` are its place in a Keras 3 weights file, below the layer; `key` its name in the Keras 2 one.
    `trainable`: that of the part of a wrapper which has it.
    """

    key: str
    shapes: tuple[tuple[int, ...], ...]
    index: int
    group: str = ""
    trainable: bool = True


@dataclass(frozen=True)
class LayerWeights:
    """A layer of the model, and the weights it must have in the order of Keras's get_weights().

    `label` is its name in the whole model. A model inside the model has `inner` layers, a wrapper around one has it as
    `wrapped`; neither has weights of its own.
    """

    class_name: str
    name: str
    expected: tuple[Expected, ...] = ()
    label: str = ""
    trainable: bool = True
    inner: tuple[LayerWeights, ...] | None = None
    wrapped: LayerWeights | None = None

    @property
    def leaves(self) -> list[LayerWeights]:
        """The layers that have weights of their own, or none, in order."""
        if self.wrapped is not None:
            return self.wrapped.leaves
        return [self] if self.inner is None else [leaf for layer in self.inner for leaf in layer.leaves]

    def listed(self, generation: int) -> tuple[list[Place], list[Place]]:
        """The trainable weights and the frozen ones, each in the order in which a .h5 file has them, one by one.

        That is the layers' order; but a frozen model of Keras 2 still has what its layers would train first.
        """
        natural = [Place(leaf, number) for leaf in self.leaves for number in range(len(leaf.expected))]
        if self.inner is None and self.wrapped is None:
            free = [place for place in natural if self.trainable and place.want.trainable]
            return free, [place for place in natural if place not in free]
        parts = [layer.listed(generation) for layer in self.inner or (self.wrapped,) if layer is not None]
        first, last = ([place for part in parts for place in part[which]] for which in (0, 1))
        if self.trainable:
            return first, last
        return [], natural if generation == 3 or self.inner is None else first + last


@dataclass(frozen=True)
class Place:
    """One weight of a layer."""

    layer: LayerWeights
    number: int

    @property
    def want(self) -> Expected:
        """What it must be."""
        return self.layer.expected[self.number]


@dataclass(frozen=True)
class Stored:
    """An array that is there and not yet read. `type` and `shape` are what the file declares."""

    key: str
    shape: tuple[int, ...]
    type: str
    read: Callable[[], NDArray[Any]] = field(repr=False)


class WeightStore(Protocol):
    """Finds the arrays of all layers; raises if one is missing or one is left over."""

    def match(self, layers: Sequence[LayerWeights]) -> list[list[Stored]]:
        """Give one list a leaf of `layers`, in the order of its `expected`."""
        ...


@contextmanager
def guarded() -> Iterator[None]:
    """Make every failure of the zip and HDF5 libraries a ModelError.

    They raise nearly any type for damaged input (OSError, KeyError, RuntimeError, zlib.error, struct.error, ...), so
    this one place catches all. Only access to files stands inside; a mistake in judging a config must stay visible.
    """
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"the file is damaged or cannot be read: {reason(error)}") from error


def read_all(store: WeightStore, layers: Sequence[LayerWeights]) -> list[list[NDArray[np.float64]]]:
    """Read the weights of every leaf of `layers`, after all of their shapes and types are seen to be right."""
    leaves = [leaf for layer in layers for leaf in layer.leaves]
    total = sum(max(map(math.prod, weight.shapes)) for leaf in leaves for weight in leaf.expected)
    if total > MAX_WEIGHTS:
        raise ModelError(f"the model has {total} weights; fxsim imports at most {MAX_WEIGHTS}")
    with guarded():
        found = store.match(layers)
    pairs = [(leaf, list(zip(leaf.expected, arrays, strict=True))) for leaf, arrays in zip(leaves, found, strict=True)]
    obstacles = []
    for leaf, weights in pairs:
        for want, stored in weights:
            where = f"layer {show(leaf.label)}: weight {show(want.key)}"
            if stored.shape not in want.shapes:
                legal = " or ".join(map(str, want.shapes))
                obstacles.append(f"{where} has shape {show(stored.shape)}, expected {legal}")
            elif not _FLOAT.fullmatch(stored.type):
                obstacles.append(f"{where} has type {show(stored.type)}, expected float32 or float64")
    if obstacles:
        raise ModelError(*obstacles)
    return [[_read(leaf.label, want.key, stored) for want, stored in weights] for leaf, weights in pairs]


def _read(layer: str, key: str, stored: Stored) -> NDArray[np.float64]:
    # A signalling NaN warns when it is widened; it is refused below.
    with guarded(), np.errstate(invalid="ignore"):
        array = np.array(stored.read(), dtype=np.float64)
    if array.shape != stored.shape:
        raise ModelError(f"layer {show(layer)}: weight {show(key)} cannot be read whole")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        index = tuple(int(i) for i in bad[0])
        raise ModelError(f"layer {show(layer)}: weight {show(key)} is {array[index]} at index {index}")
    array.setflags(write=False)
    return array


def _in_order(layer: LayerWeights, places: Sequence[Place], arrays: Sequence[Stored]) -> list[Stored]:
    """Check a list of a layer's weights; names are checked where there are names."""
    want = [place.want.key.rpartition("/")[2] for place in places]
    have = [stored.key.rpartition("/")[2].partition(":")[0] for stored in arrays]
    if len(want) != len(have) or any(name not in ("", key) for key, name in zip(want, have, strict=True)):
        raise ModelError(f"layer {show(layer.label)} has the weights {_names(have)}, expected {_names(want)}")
    # A layer may have been renamed since, but weights that have another one's name were stored in another order.
    others = {leaf.name for leaf in layer.leaves}
    for place, stored in zip(places, arrays, strict=True):
        parts = stored.key.split("/")[:-1]
        if place.layer.name not in parts and (wrong := others.intersection(parts)):
            raise ModelError(
                f"layer {show(layer.label)}: the weights {show(stored.key)} stand where those of "
                f"{show(place.layer.name)} must be, not of {show(min(wrong))}"
            )
    return list(arrays)


def _names(keys: Iterable[str]) -> str:
    return "[" + ", ".join(show(key) for key in keys) + "]"


def _places(layer: LayerWeights) -> list[Place]:
    return [Place(layer, number) for number in range(len(layer.expected))]


class Live:
    """The weights of a model in memory: get_weights() of each layer, by its name in the whole model."""

    def __init__(self, arrays: Mapping[str, Sequence[NDArray[Any]]]) -> None:
        self._arrays = arrays

    def match(self, layers: Sequence[LayerWeights]) -> list[list[Stored]]:
        leaves = [leaf for layer in layers for leaf in layer.leaves]
        known = {leaf.label for leaf in leaves}
        for name, arrays in self._arrays.items():
            if len(arrays) and name not in known:
                raise ModelError(f"there are weights of a layer {show(name)} that the model does not have")
        return [
            _in_order(leaf, _places(leaf), [_held(array) for array in self._arrays.get(leaf.label, ())])
            for leaf in leaves
        ]


def _held(array: NDArray[Any]) -> Stored:
    return Stored("", array.shape, str(array.dtype), lambda: array)


# --- HDF5


def _stored(dataset: Dataset, key: str) -> Stored:
    if dataset.at == "outside":
        raise ModelError(f"weights file: {show(key)} keeps its values in another file, which fxsim does not follow")
    if dataset.shape is None:
        raise ModelError(f"weights file: {show(key)} is empty")
    return Stored(key, dataset.shape, dataset.type, dataset.read)


class H5Legacy:
    """Weights as Keras 2 writes them, Keras 3 too when it writes .h5.

    A group a layer by the layer's name; its attribute weight_names lists paths below it in get_weights() order. A model
    inside the model has one group for all its layers.
    """

    def __init__(self, group: Group, generation: int) -> None:
        self._group = group
        self._generation = generation

    def match(self, layers: Sequence[LayerWeights]) -> list[list[Stored]]:
        listed = text_list(self._group, "layer_names")
        if listed is None:
            raise ModelError("weights file: attribute 'layer_names' is missing")
        known = {layer.name for layer in layers}
        names = dict.fromkeys([*listed, *self._group])
        for name in names:
            # A layer's name may hold slashes, so it is a path; its first part is then in the listing of the group.
            if name in known or any(layer.startswith(f"{name}/") for layer in listed):
                continue
            group = self._group.walk(name)
            if name != "optimizer_weights" and isinstance(group, Group) and text_list(group, "weight_names"):
                raise ModelError(f"weights file: it has weights of {show(name)}, a layer that the model does not have")
        found: dict[Place, Stored] = {}
        for layer in layers:
            first, last = layer.listed(self._generation)
            places = [*first, *last]
            found |= zip(places, _in_order(layer, places, self._of_layer(layer, bool(places))), strict=True)
        return [[found[place] for place in _places(leaf)] for layer in layers for leaf in layer.leaves]

    def _of_layer(self, layer: LayerWeights, needed: bool) -> list[Stored]:
        group = self._group.walk(layer.name)
        if group is None and not needed:
            return []
        if not isinstance(group, Group):
            raise ModelError(f"weights file: the weights of layer {show(layer.label)} are missing")
        keys = text_list(group, "weight_names") or []
        if len(set(keys)) != len(keys):
            raise ModelError(f"weights file: layer {show(layer.label)} lists a weight twice in {_names(keys)}")
        arrays = []
        for key in keys:
            dataset = group.walk(key)
            if not isinstance(dataset, Dataset):
                raise ModelError(f"weights file: layer {show(layer.label)}: weight {show(key)} is missing")
            arrays.append(_stored(dataset, key))
        return arrays


class H5Vars:
    """Weights as Keras 3 writes them in model.weights.h5 and *.weights.h5, tf.keras from 2.12 on in the same.

    A group a layer, named by its class: layers/lstm, layers/lstm_1, ... in the order of the layers. Inside, arrays are
    vars/0, vars/1, ..., below the names of attributes for nested layers: cell/vars/0, forward_layer/cell/vars/0; a
    model has layers again. `named` says that the names of layers in the file are the model's own, so that they must
    agree.
    """

    #: tf.keras calls the container of a functional model by the second name, and there leaves numbers out.
    ROOTS = ("layers", "_layer_checkpoint_dependencies")

    def __init__(self, file: Group, *, named: bool) -> None:
        self._file = file
        self._named = named

    def match(self, layers: Sequence[LayerWeights]) -> list[list[Stored]]:
        return self._model(self._file, "", layers)

    def _model(self, model: Group, where: str, layers: Sequence[LayerWeights]) -> list[list[Stored]]:
        """The weights of a model's layers; `where` is its path in the file, with a slash at the end."""
        roots = [root for root in self.ROOTS if root in model.items]
        root = model.child(roots[0]) if roots else None
        if not isinstance(root, Group):
            raise ModelError(f"weights file: group {show(f'{where}layers')} is missing")
        for other in model:
            if other != roots[0] and any(True for _ in _datasets(model, other)):
                raise ModelError(f"weights file: {show(where + other)} has weights of no layer of the model")

        # Groups with arrays, by class and in the order of their numbers, are the layers with weights of that class.
        groups: dict[str, list[tuple[int, str, dict[str, Dataset]]]] = {}
        for name in root:
            arrays = dict(_datasets(root, name))
            if arrays:
                stem, number = _numbered(name, {snake_case(layer.class_name) for layer in layers})
                groups.setdefault(stem, []).append((number, name, arrays))
        for found in groups.values():
            found.sort(key=lambda item: item[0])

        result: list[list[Stored]] = []
        for layer in layers:
            if not any(leaf.expected for leaf in layer.leaves):
                result += [[] for _ in layer.leaves]
                continue
            found = groups.get(snake_case(layer.class_name), [])
            if not found:
                raise ModelError(f"weights file: the weights of layer {show(layer.label)} are missing")
            _, name, arrays = found.pop(0)
            self._check_name(layer, root, name)
            if layer.inner is None and layer.wrapped is None:
                result.append(self._of_layer(layer, name, arrays))
                continue
            place, inner = (name, layer.inner) if layer.wrapped is None else (f"{name}/layer", layer.wrapped.inner)
            group = root.walk(place)
            if not isinstance(group, Group) or not all(f"{name}/{key}".startswith(f"{place}/") for key in arrays):
                raise ModelError(f"weights file: the weights of layer {show(layer.label)} must be in {show(place)}")
            result += self._model(group, f"{where}{roots[0]}/{place}/", inner or ())
        for found in groups.values():
            if found:
                raise ModelError(f"weights file: {show(where + found[0][1])} has weights of no layer of the model")
        return result

    def _check_name(self, layer: LayerWeights, root: Group, name: str) -> None:
        holder = root.walk(f"{name}/vars")
        stored = text(holder, "name") if isinstance(holder, Group) else None
        if self._named and stored is not None and stored != layer.name:
            where = f"layer {show(layer.label)} ({show(name)})"
            raise ModelError(f"weights file: {where} has the weights of a layer named {show(stored)}")

    def _of_layer(self, layer: LayerWeights, name: str, arrays: dict[str, Dataset]) -> list[Stored]:
        where = f"weights file: layer {show(layer.label)} ({show(name)})"
        result = []
        for want in layer.expected:
            path = f"{want.group}/vars/{want.index}".lstrip("/")
            if path not in arrays:
                raise ModelError(f"{where}: weight {show(want.key)} is missing")
            result.append(_stored(arrays.pop(path), f"{name}/{path}"))
        if arrays:
            raise ModelError(f"{where} has a weight {show(min(arrays))} that the layer does not have")
        return result


def _numbered(name: str, stems: set[str]) -> tuple[str, int]:
    """Split dense_2 into the class's name and its number; a class's name may itself end in digits."""
    if name in stems:
        return name, 0
    match = re.fullmatch(r"(.+)_([1-9][0-9]{0,8})", name)
    return (match[1], int(match[2])) if match else (name, 0)


def _datasets(parent: Group, name: str, *, depth: int = _DEEPEST) -> Iterator[tuple[str, Dataset]]:
    """Give the path and dataset of every array below a child of a group, random states apart."""
    node = parent.child(name)
    if isinstance(node, Dataset):
        yield "", node
    elif isinstance(node, Group):
        # Hard links can make a group its own child; Keras itself nests no deeper than this.
        if depth == 0:
            raise ModelError("weights file: groups are nested too deep")
        for child in node:
            if child == "seed_generator":
                continue
            for path, dataset in _datasets(node, child, depth=depth - 1):
                yield f"{child}/{path}".rstrip("/"), dataset
