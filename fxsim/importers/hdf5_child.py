# SPDX-License-Identifier: Apache-2.0
"""Reads the HDF5 file on its standard input, in a process of its own; `hdf5` starts it and reads what it writes.

The HDF5 library is C that a damaged file can make crash, loop or take all memory. Here it has limits, opens no other
file (links and filters that are other files are not followed), and what it finds goes out as plain numbers and texts:
eight bytes with the length of a JSON text, little-endian, that text, and the values of the arrays as little-endian
float64. `Node` says what the text holds.

The file is run by its path, with the parent's module path as its argument, so it imports nothing of fxsim.
"""

from __future__ import annotations

import json
import math
import mmap
import re
import sys
from contextlib import suppress
from typing import Any

#: What stands at a name: {"texts": {...}, "items": {...}} a group with the texts of its attributes and what is in it,
#: {"shape": [...] or null, "type": "float32", "at": its place among all values or why they are not there} a dataset,
#: {"link": true}, {"other": true} a stored type, or {"damaged": "what the library says"}.
Node = dict[str, Any]

#: The attributes that are read; training leaves others, of any size.
_ATTRIBUTES = re.compile(r"model_config|keras_version|name|(layer|weight)_names[0-9]*")
#: Where training keeps its state beside the layers: optimizers (twice the size of the weights), metrics, losses.
_TRAINING = ("optimizer_weights", "optimizer", "metrics", "compiled_metrics", "compiled_loss", "loss_tracker")
_MAX_DEPTH = 32
_MAX_OBJECTS = 1 << 16
_MAX_TEXTS = 1 << 16
_MAX_CHARACTERS = 1 << 27


def limit(memory: int, seconds: int, output: int) -> None:
    """Bound this process's address space and output in bytes and its processor time, where the system can."""
    try:
        import resource
    except ImportError:  # Windows: only the parent's clock remains.
        return
    for name, most in (("AS", memory), ("CPU", seconds), ("FSIZE", output), ("CORE", 0)):
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(ValueError, OSError):  # macOS has the name and refuses.
            resource.setrlimit(kind, (most, hard))


def check_heaps(data: bytes | mmap.mmap) -> None:
    """Walk the heaps of texts in an HDF5 file, where one damaged size makes the HDF5 library loop for ever.

    A collection is GCOL, version 1, its size, then objects: index, references, size, the bytes. Object 0 is the free
    space at the end; its size counts its own header. Raises ValueError.
    """
    position = -1
    while (position := data.find(b"GCOL\x01", position + 1)) >= 0:
        end = position + int.from_bytes(data[position + 8 : position + 16], "little")
        at = position + 16
        while at + 16 <= end:
            index = int.from_bytes(data[at : at + 2], "little")
            size = int.from_bytes(data[at + 8 : at + 16], "little")
            step = (size + 23) // 8 * 8 if index else size
            if step < 16 or at + step > min(end, len(data)):
                raise ValueError("a heap of texts in it does not add up")
            at += step


class Reader:
    """One walk over a file: its tree, and the datasets whose values are to follow, `most` float64 in all."""

    def __init__(self, most: int) -> None:
        self.datasets: list[Any] = []
        self._values = 0
        self._most = most
        self._objects = 0
        self._characters = 0

    def tree(self, file: Any) -> Node:
        """Give the whole file, the state of training apart."""
        # A weights file of Keras 2 has the layers themselves here, whatever they are called.
        layers = any(name in file.attrs for name in ("layer_names", "layer_names0"))
        return self._group(file, () if layers else _TRAINING, _MAX_DEPTH)

    def _group(self, group: Any, left_out: tuple[str, ...], depth: int) -> Node:
        texts = {name: self._texts(group, name) for name in group.attrs if _ATTRIBUTES.fullmatch(name)}
        items = {name: self._node(group, name, depth - 1) for name in group if name not in left_out}
        return {"texts": texts, "items": items}

    def _node(self, group: Any, name: str, depth: int) -> Node:
        import h5py

        self._objects += 1
        if self._objects > _MAX_OBJECTS:
            raise ValueError(f"it has more than {_MAX_OBJECTS} groups and datasets")
        if depth == 0:  # Hard links can make a group its own child.
            return {"damaged": "groups are nested too deep"}
        try:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                return {"link": True}
            found = group[name]
            if isinstance(found, h5py.Dataset):
                return self._dataset(found)
        except Exception as error:
            return {"damaged": reason(error)}
        return self._group(found, (), depth) if isinstance(found, h5py.Group) else {"other": True}

    def _dataset(self, dataset: Any) -> Node:
        shape, dtype = dataset.shape, dataset.dtype
        node: Node = {"shape": shape, "type": str(dtype)[:60], "at": self._values}
        if dataset.is_virtual or dataset.external:
            node["at"] = "outside"
        elif shape is None or dtype.kind != "f" or dtype.itemsize > 8:
            node["at"] = "type"
        elif self._values + math.prod(shape) > self._most:
            node["at"] = "size"
        else:
            self._values += math.prod(shape)
            self.datasets.append(dataset)
        return node

    def _texts(self, group: Any, name: str) -> list[str] | str | None:
        """Give the texts of an attribute, None if it holds something else, or one text: why it cannot be read."""
        import h5py

        try:
            stored = group.attrs.get_id(name)
            # An empty list is stored as an empty array of floats.
            if stored.shape is None or math.prod(stored.shape) == 0:
                return []
            # Asked first, because h5py crashes on damaged types of variable length that are no texts.
            if stored.get_type().get_class() != h5py.h5t.STRING or math.prod(stored.shape) > _MAX_TEXTS:
                return None
            values = group.attrs[name]
            found = [values] if isinstance(values, str | bytes) else values.ravel().tolist()
            texts = [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in found]
        except Exception as error:
            return reason(error)
        self._characters += sum(map(len, texts))
        if self._characters > _MAX_CHARACTERS:
            raise ValueError(f"its attributes have more than {_MAX_CHARACTERS} characters")
        return texts


def reason(error: BaseException) -> str:
    """Give an error's kind and the beginning of its first line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:160]}" if text else type(error).__name__


def read(source: Any, most: int, out: Any) -> None:
    """Write the tree of an HDF5 file and its values, `most` in all."""
    import h5py
    import numpy as np

    with mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as data:
        check_heaps(data)
    with h5py.File(source, "r") as file:
        reader = Reader(most)
        write_tree(reader.tree(file), out)
        for dataset in reader.datasets:
            # A signalling NaN warns when it is widened; it is refused later.
            with np.errstate(invalid="ignore"):
                values = np.asarray(dataset[()]).astype("<f8", copy=False)
            if values.shape != dataset.shape:
                raise ValueError(f"{dataset.name} cannot be read whole")
            out.write(values.tobytes())


def write_tree(node: Node, out: Any) -> None:
    """Write one tree, in front of the values."""
    text = json.dumps(node).encode()
    out.write(len(text).to_bytes(8, "little") + text)


def main() -> None:
    """Read standard input; the argument is a JSON object: path (of modules), memory, seconds, output, values."""
    given = json.loads(sys.argv[1])
    sys.path[:] = given["path"]
    out = sys.stdout.buffer
    try:
        import h5py  # noqa: F401 - before the limits, for libraries reserve what they never use

        limit(given["memory"], given["seconds"], given["output"])
        read(sys.stdin.buffer, given["values"], out)
    except Exception as error:
        out.seek(0)
        out.truncate()
        write_tree({"damaged": reason(error)}, out)
    out.flush()


if __name__ == "__main__":
    main()
