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

from fxsim.errors import ModelError
from fxsim.importers.keras_options import show, snake_case

__all__ = [
    "Expected",
    "H5Legacy",
    "H5Vars",
    "LayerWeights",
    "Live",
    "Stored",
    "WeightStore",
    "attribute",
    "guarded",
    "read_all",
    "reason",
]

#: Weights of a whole model. A network for an FPGA has a thousandth of it; a file may declare any number for free.
MAX_WEIGHTS = 1 << 26
MAX_TEXTS = 1 << 16


@dataclass(frozen=True)
class Expected:
    """One weight a layer must have.

    `group` and `index` are its place in a Keras 3 weights file, below the layer; `key` its name in the Keras 2 one.
    """

    key: str
    shapes: tuple[tuple[int, ...], ...]
    index: int
    group: str = ""


@dataclass(frozen=True)
class LayerWeights:
    """A layer of the model, and the weights it must have in the order of Keras's get_weights()."""

    class_name: str
    name: str
    expected: tuple[Expected, ...]


@dataclass(frozen=True)
class Stored:
    """An array that is there and not yet read. `dtype` and `shape` are what the file declares."""

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], NDArray[Any]] = field(repr=False)


class WeightStore(Protocol):
    """Finds the arrays of all layers; raises if one is missing or one is left over."""

    def match(self, layers: Sequence[LayerWeights]) -> list[list[Stored]]:
        """Give one list a layer, in the order of its `expected`."""
        ...


def reason(error: BaseException) -> str:
    """Give an error's kind and the beginning of its first line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:160]}" if text else type(error).__name__


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
    """Read every layer's weights, after all of their shapes and types are seen to be right."""
    total = sum(max(map(math.prod, weight.shapes)) for layer in layers for weight in layer.expected)
    if total > MAX_WEIGHTS:
        raise ModelError(f"the model has {total} weights; fxsim imports at most {MAX_WEIGHTS}")
    with guarded():
        found = store.match(layers)
    pairs = [
        (layer, list(zip(layer.expected, arrays, strict=True))) for layer, arrays in zip(layers, found, strict=True)
    ]
    for layer, weights in pairs:
        for want, stored in weights:
            where = f"layer {show(layer.name)}: weight {show(want.key)}"
            if stored.shape not in want.shapes:
                legal = " or ".join(map(str, want.shapes))
                raise ModelError(f"{where} has shape {show(stored.shape)}, expected {legal}")
            if stored.dtype.kind != "f" or stored.dtype.itemsize > 8:
                raise ModelError(f"{where} has type {show(str(stored.dtype))}, expected float32 or float64")
    return [[_read(layer.name, want.key, stored) for want, stored in weights] for layer, weights in pairs]


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


def _in_order(layer: LayerWeights, arrays: Sequence[Stored]) -> list[Stored]:
    """Check a list that stands in get_weights() order; names are checked where there are names."""
    want = [weight.key.rpartition("/")[2] for weight in layer.expected]
    have = [stored.key.rpartition("/")[2].partition(":")[0] for stored in arrays]
    if len(want) != len(have) or any(name not in ("", key) for key, name in zip(want, have, strict=True)):
        raise ModelError(f"layer {show(layer.name)} has the weights {_names(have)}, expected {_names(want)}")
    return list(arrays)


def _names(keys: Iterable[str]) -> str:
    return "[" + ", ".join(show(key) for key in keys) + "]"


class Live:
    """The weights of a model in memory: layer name to get_weights()."""

    def __init__(self, arrays: Mapping[str, Sequence[NDArray[Any]]]) -> None:
        self._arrays = arrays

    def match(self, layers: Sequence[LayerWeights]) -> list[list[Stored]]:
        known = {layer.name for layer in layers}
        for name, arrays in self._arrays.items():
            if len(arrays) and name not in known:
                raise ModelError(f"there are weights of a layer {show(name)} that the model does not have")
        return [_in_order(layer, [_held(array) for array in self._arrays.get(layer.name, ())]) for layer in layers]


def _held(array: NDArray[Any]) -> Stored:
    return Stored("", array.shape, array.dtype, lambda: array)


# --- HDF5. Links are looked at before they are followed: a soft or external link can name another file.


def _child(group: Any, name: str, where: str) -> Any:
    """Give the group or dataset of a group by its own name, None if it is not there."""
    import h5py

    link = group.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise ModelError(f"{where}: {show(name)} is a link to another place, which fxsim does not follow")
    return group[name]


def _walk(group: Any, path: str) -> Any:
    """Give what is at a path of names below a group, None if it is not there."""
    import h5py

    for name in path.split("/"):
        if not isinstance(group, h5py.Group):
            return None
        if name in ("", ".", ".."):
            raise ModelError(f"weights file: bad path {show(path)}")
        group = _child(group, name, "weights file")
    return group


def _stored(dataset: Any, key: str) -> Stored:
    if dataset.is_virtual or dataset.external:
        raise ModelError(f"weights file: {show(key)} keeps its values in another file, which fxsim does not follow")
    shape = dataset.shape
    if shape is None:
        raise ModelError(f"weights file: {show(key)} is empty")
    return Stored(key, tuple(shape), dataset.dtype, lambda: dataset[()])


def _texts(group: Any, name: str) -> list[str] | None:
    """Give the texts in an attribute of an HDF5 group, None if it is not there."""
    import h5py

    if name not in group.attrs:
        return None
    stored = group.attrs.get_id(name)
    # An empty list is stored as an empty array of floats.
    if stored.shape is None or math.prod(stored.shape) == 0:
        return []
    # Asked first, because h5py crashes on damaged types of variable length that are no texts.
    if stored.get_type().get_class() != h5py.h5t.STRING or math.prod(stored.shape) > MAX_TEXTS:
        raise ModelError(f"attribute {show(name)} must be text")
    values = np.asarray(group.attrs[name]).ravel().tolist()
    return [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]


def attribute(group: Any, name: str) -> str | None:
    """Give the one text in an attribute of an HDF5 group, None if it is not there."""
    texts = _texts(group, name)
    if texts is not None and len(texts) != 1:
        raise ModelError(f"attribute {show(name)} must be one text")
    return texts[0] if texts else None


def _text_list(group: Any, name: str) -> list[str] | None:
    """Give a list of texts, None if it is not there; Keras spreads one past 64 KiB over name0, name1, ..."""
    whole = _texts(group, name)
    parts: list[str] = []
    number = 0
    while whole is None and (part := _texts(group, f"{name}{number}")) is not None:
        parts += part
        number += 1
    return whole if whole is not None else parts if number else None


class H5Legacy:
    """Weights as Keras 2 writes them, Keras 3 too when it writes .h5.

    A group a layer by the layer's name; its attribute weight_names lists paths below it in get_weights() order.
    """

    def __init__(self, group: Any) -> None:
        self._group = group

    def match(self, layers: Sequence[LayerWeights]) -> list[list[Stored]]:
        import h5py

        listed = _text_list(self._group, "layer_names")
        if listed is None:
            raise ModelError("weights file: attribute 'layer_names' is missing")
        known = {layer.name for layer in layers}
        names = dict.fromkeys([*listed, *self._group])
        for name in names:
            # A layer's name may hold slashes, so it is a path; its first part is then in the listing of the group.
            if name in known or any(layer.startswith(f"{name}/") for layer in listed):
                continue
            group = _walk(self._group, name)
            if name != "optimizer_weights" and isinstance(group, h5py.Group) and _text_list(group, "weight_names"):
                raise ModelError(f"weights file: it has weights of {show(name)}, a layer that the model does not have")
        return [_in_order(layer, self._of_layer(layer)) for layer in layers]

    def _of_layer(self, layer: LayerWeights) -> list[Stored]:
        import h5py

        group = _walk(self._group, layer.name)
        if group is None and not layer.expected:
            return []
        if not isinstance(group, h5py.Group):
            raise ModelError(f"weights file: the weights of layer {show(layer.name)} are missing")
        keys = _text_list(group, "weight_names") or []
        if len(set(keys)) != len(keys):
            raise ModelError(f"weights file: layer {show(layer.name)} lists a weight twice in {_names(keys)}")
        arrays = []
        for key in keys:
            dataset = _walk(group, key)
            if not isinstance(dataset, h5py.Dataset):
                raise ModelError(f"weights file: layer {show(layer.name)}: weight {show(key)} is missing")
            arrays.append(_stored(dataset, key))
        return arrays


class H5Vars:
    """Weights as Keras 3 writes them in model.weights.h5 and *.weights.h5, tf.keras 2.12 to 2.15 in .keras archives.

    A group a layer, named by its class: layers/lstm, layers/lstm_1, ... in the order of the layers. Inside, arrays are
    vars/0, vars/1, ..., below the names of attributes for nested layers: cell/vars/0, forward_layer/cell/vars/0.
    `named` says that the names of layers in the file are the model's own, so that they must agree.
    """

    #: tf.keras calls the container of a functional model by the second name, and there leaves numbers out.
    ROOTS = ("layers", "_layer_checkpoint_dependencies")

    def __init__(self, file: Any, *, named: bool) -> None:
        self._file = file
        self._named = named

    def match(self, layers: Sequence[LayerWeights]) -> list[list[Stored]]:
        import h5py

        roots = [root for root in self.ROOTS if self._file.get(root, getlink=True) is not None]
        root = _child(self._file, roots[0], "weights file") if roots else None
        if not isinstance(root, h5py.Group):
            raise ModelError("weights file: group 'layers' is missing")
        for other in self._file:
            if other not in (roots[0], "optimizer") and any(True for _ in _datasets(self._file, other)):
                raise ModelError(f"weights file: {show(other)} has weights of no layer of the model")

        # Groups with arrays, by class and in the order of their numbers, are the layers with weights of that class.
        groups: dict[str, list[tuple[int, str, dict[str, Any]]]] = {}
        for name in root:
            arrays = dict(_datasets(root, name))
            if arrays:
                stem, number = _numbered(name, {snake_case(layer.class_name) for layer in layers})
                groups.setdefault(stem, []).append((number, name, arrays))
        for found in groups.values():
            found.sort(key=lambda item: item[0])

        result: list[list[Stored]] = []
        for layer in layers:
            if not layer.expected:
                result.append([])
                continue
            found = groups.get(snake_case(layer.class_name), [])
            if not found:
                raise ModelError(f"weights file: the weights of layer {show(layer.name)} are missing")
            _, name, arrays = found.pop(0)
            result.append(self._of_layer(layer, root, name, arrays))
        for found in groups.values():
            if found:
                raise ModelError(f"weights file: {show(found[0][1])} has weights of no layer of the model")
        return result

    def _of_layer(self, layer: LayerWeights, root: Any, name: str, arrays: dict[str, Any]) -> list[Stored]:
        where = f"weights file: layer {show(layer.name)} ({show(name)})"
        if self._named:
            holder = _walk(root, f"{name}/vars")
            stored_name = attribute(holder, "name") if holder is not None else None
            if stored_name is not None and stored_name != layer.name:
                raise ModelError(f"{where} has the weights of a layer named {show(stored_name)}")
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


def _datasets(parent: Any, name: str, *, depth: int = 6) -> Iterator[tuple[str, Any]]:
    """Give the path and dataset of every array below a child of a group, random states apart."""
    import h5py

    node = _child(parent, name, "weights file")
    if isinstance(node, h5py.Dataset):
        yield "", node
    elif isinstance(node, h5py.Group):
        # Hard links can make a group its own child; Keras itself nests no deeper than this.
        if depth == 0:
            raise ModelError("weights file: groups are nested too deep")
        for child in node:
            if child == "seed_generator":
                continue
            for path, dataset in _datasets(node, child, depth=depth - 1):
                yield f"{child}/{path}".rstrip("/"), dataset
