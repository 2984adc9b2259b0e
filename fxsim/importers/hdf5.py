# SPDX-License-Identifier: Apache-2.0
"""HDF5 files as a tree in memory: read in another process, because a damaged file can take the HDF5 library with it."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, show
from ..extras import complaint, find

__all__ = ["MAX_VALUES", "Dataset", "Group", "open_tree", "text", "text_list"]

#: Numbers in all arrays of a file together. A network for an FPGA has a thousandth of it.
MAX_VALUES = 1 << 26
#: What the other process may take: bytes beside the file's own, seconds of processor time and by the clock.
MEMORY = 2 << 30
SECONDS = 20
CLOCK = 60
_MAX_TREE = 1 << 28
_CHILD = Path(__file__).with_name("hdf5_child.py")


@dataclass(frozen=True)
class Dataset:
    """An array in a file; `type` is the name of the stored one, `at` where its values are or why they were not read."""

    shape: tuple[int, ...] | None
    type: str
    at: int | str
    stream: IO[bytes]

    def read(self) -> NDArray[np.float64]:
        """Give the values; raises ModelError if they are not there whole."""
        if not isinstance(self.at, int) or self.shape is None:
            raise ModelError(f"the weights file has more than {MAX_VALUES} numbers")
        self.stream.seek(self.at)
        data = self.stream.read(8 * math.prod(self.shape))
        if len(data) != 8 * math.prod(self.shape):
            raise _damaged("it was not read whole")
        return np.frombuffer(data, "<f8").reshape(self.shape)


@dataclass(frozen=True)
class Group:
    """Names and what stands there: a group, a dataset, or what the child says of something else (see `Node` there)."""

    texts: dict[str, Any]
    items: dict[str, Group | Dataset | dict[str, Any]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.items)

    def child(self, name: str) -> Group | Dataset | None:
        """Give what is at a name, None if nothing is there; links raise ModelError, for they can name another file."""
        found = self.items.get(name)
        if not isinstance(found, dict):
            return found
        if "link" in found:
            raise ModelError(f"weights file: {show(name)} is a link to another place, which fxsim does not follow")
        if "damaged" in found:
            raise _damaged(found["damaged"])
        return None

    def walk(self, path: str) -> Group | Dataset | None:
        """Give what is at a path of names, None if it is not there."""
        node: Group | Dataset | None = self
        for name in path.split("/"):
            if not isinstance(node, Group):
                return None
            if name in ("", ".", ".."):
                raise ModelError(f"weights file: bad path {show(path)}")
            node = node.child(name)
        return node


def texts(group: Group, name: str) -> list[str] | None:
    """Give the texts in an attribute of a group, None if it is not there."""
    if name not in group.texts:
        return None
    found = group.texts[name]
    if isinstance(found, str):
        raise _damaged(found)
    if found is None:
        raise ModelError(f"attribute {show(name)} must be text")
    return list(found)


def text(group: Group, name: str) -> str | None:
    """Give the one text in an attribute of a group, None if it is not there."""
    found = texts(group, name)
    if found is not None and len(found) != 1:
        raise ModelError(f"attribute {show(name)} must be one text")
    return found[0] if found else None


def text_list(group: Group, name: str) -> list[str] | None:
    """Give a list of texts, None if it is not there; Keras spreads one past 64 KiB over name0, name1, ..."""
    whole = texts(group, name)
    parts: list[str] = []
    number = 0
    while whole is None and (part := texts(group, f"{name}{number}")) is not None:
        parts += part
        number += 1
    return whole if whole is not None else parts if number else None


@contextmanager
def open_tree(source: IO[bytes]) -> Iterator[Group]:
    """Read the HDF5 file that is open as `source`, a file of the system; values can be read inside the context.

    Raises ModelError if the file is damaged, or if the process that reads it dies or takes too much.
    """
    with tempfile.TemporaryFile() as out:
        _run(source, out)
        out.seek(0)
        length = int.from_bytes(out.read(8), "little")
        try:
            tree = json.loads(out.read(length) if length <= _MAX_TREE else "")
            whole = None if "damaged" in tree else _group(tree, out, 8 + length)
        except (ValueError, LookupError, TypeError, AttributeError):
            raise _damaged("it was not read whole") from None
        if whole is None:
            raise _damaged(tree["damaged"])
        yield whole


def _run(source: IO[bytes], out: IO[bytes]) -> None:
    """Let a child read `source` and write `out`; it opens no file but modules."""
    if find("h5py") is None:
        raise ModelError(complaint(ModuleNotFoundError(name="h5py"), "reading HDF5"))
    if not sys.executable:
        raise ModelError("HDF5 files are read by another Python process, and sys.executable does not say which")
    source.seek(0)
    size = os.fstat(source.fileno()).st_size
    most = {"memory": MEMORY + size, "seconds": SECONDS, "output": _MAX_TREE + 8 * MAX_VALUES, "values": MAX_VALUES}
    # The parent's modules, wherever they are installed; -S, -s and -P look at no others.
    path = [os.path.abspath(place) for place in sys.path]
    # As -I, but an interpreter that was moved needs PYTHONHOME. Arrays are not computed with; and no filter is loaded
    # from a library that a file names.
    inherited = {name: value for name, value in os.environ.items() if name[:6] != "PYTHON" or name == "PYTHONHOME"}
    settings = {"OPENBLAS_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::"}
    try:
        status = subprocess.run(
            [sys.executable, "-S", "-s", "-P", str(_CHILD), json.dumps({"path": path, **most})],
            stdin=source,
            stdout=out,
            stderr=subprocess.DEVNULL,
            env=inherited | settings,
            timeout=CLOCK,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        raise _damaged(f"reading it takes longer than {CLOCK} s") from None
    if status == -getattr(signal, "SIGXCPU", 0):
        raise _damaged(f"reading it takes longer than {SECONDS} s")
    if status:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"status {status}"
        raise _damaged(f"the HDF5 library ended with {name}")


def _damaged(why: str) -> ModelError:
    return ModelError(f"the file is damaged or cannot be read: {why}")


def _group(node: dict[str, Any], stream: IO[bytes], start: int) -> Group:
    items: dict[str, Group | Dataset | dict[str, Any]] = {}
    for name, item in node["items"].items():
        if "items" in item:
            items[name] = _group(item, stream, start)
        elif "shape" in item:
            shape, at = item["shape"], item["at"]
            at = at if isinstance(at, str) else start + 8 * at
            items[name] = Dataset(None if shape is None else tuple(shape), item["type"], at, stream)
        else:
            items[name] = item
    return Group(node["texts"], items)
