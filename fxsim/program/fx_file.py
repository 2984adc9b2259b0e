# SPDX-License-Identifier: Apache-2.0
"""The ``.fx`` file: a graph as canonical JSON and arrays in a zip archive, and the files of version 1 (chains)."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import numpy as np

from ..errors import FxsimError, show
from ..files.folder import MOST_TEXT, write_whole
from ..files.npy import check_npy
from .fixed import Fixed, Overflow, Round
from .integers import Const, Table
from .nodes import Node, Shape, Tensor, bidirectional
from .ops import OPS
from .program import Program

if TYPE_CHECKING:
    from .graph import Graph

#: Version of the file that is written, and those that are read.
VERSION = 2
VERSIONS = (1, 2)
#: Bytes of all arrays of a .fx file: those of the largest model that is imported.
_MOST = 1 << 29


@dataclass(frozen=True)
class Layer1:
    """A layer of version 1: ``backward`` runs from the last step to the first, its results behind the program's."""

    name: str
    kind: str
    program: Program | None
    return_sequences: bool = True
    backward: Program | None = None
    steps: int | None = None


@dataclass(frozen=True)
class Graph1:
    """A network of version 1: layers in a row."""

    name: str
    shape: Shape
    input: Fixed
    layers: tuple[Layer1, ...]


#: Names of classes in files.
_NAMES: dict[type, str] = {Graph1: "Graph", Layer1: "Layer"}
#: Fields that came later: a file has them only where they have another value than the usual one.
_LATER: dict[type, frozenset[str]] = {Layer1: frozenset({"steps"})}
_ENUMS: dict[str, Any] = {c.__name__: c for c in (Round, Overflow)}


def version_1(graph: Graph) -> Graph1:
    """A chain as it stands in a file of version 1."""
    layers = tuple(
        Layer1(one.name, one.kind, one.program, one.return_sequences, None, one.steps) for one in graph.nodes
    )
    return Graph1(graph.name, graph.shape, graph.input, layers)


def _from_version_1(old: Graph1) -> Graph:
    from .graph import free_name, row

    nodes: list[Node] = []
    source = input_name = free_name(one.name for one in old.layers)
    for one in old.layers:
        if one.backward is None:
            nodes.append(Node(one.name, one.kind, one.program, one.return_sequences, one.steps, (source,)))
        elif one.program is None:
            raise FxsimError(f"layer {one.name!r}: a layer without a program has no backward program")
        else:
            nodes += bidirectional(one.name, one.kind, one.program, one.backward, one.return_sequences, source)
        source = one.name
    return row(old.name, old.shape, old.input, nodes, input_name)


def encode(graph: object) -> tuple[str, dict[str, bytes]]:
    """The graph as canonical JSON text, and the arrays it names by their content's hash."""
    arrays: dict[str, bytes] = {}
    return json.dumps(_encode(graph, arrays), sort_keys=True, separators=(",", ":")), dict(sorted(arrays.items()))


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write a graph: the same bytes for the same graph."""
    text, arrays = encode(graph)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        header = json.dumps({"fxsim": VERSION, "digest": graph.digest}, sort_keys=True)
        members = {"version.json": header.encode(), "graph.json": text.encode()}
        members |= {f"{key}.npy": data for key, data in arrays.items()}
        for name, data in members.items():
            info = zipfile.ZipInfo(name)  # a fixed date, so that the file depends on the graph alone
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    write_whole(path, buffer.getvalue())


def load(path: str | os.PathLike[str]) -> Graph:
    """Read a file; raises ``FxsimError`` with one line for anything but a whole one of a known version."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(_Members(archive))
    except FxsimError as error:
        raise FxsimError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    except FileNotFoundError:
        raise FxsimError(f"{path}: no such file") from None
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, RecursionError,
            EOFError, NotImplementedError, OverflowError, RuntimeError, MemoryError) as error:  # fmt: skip
        # Whatever a damaged archive provokes in the readers below us is the same to the user.
        reason = f"{' '.join(str(error).split()):.200}"
        raise FxsimError(f"{path}: not a readable .fx file ({type(error).__name__}: {reason})") from None
    except Exception as error:  # zlib.error is no OSError
        raise FxsimError(f"{path}: not a readable .fx file ({type(error).__name__})") from None


def _read(members: _Members) -> Graph:
    header = json.loads(members.read("version.json", MOST_TEXT))
    version = header.get("fxsim") if isinstance(header, dict) else None
    if type(version) is not int or version not in VERSIONS:
        raise FxsimError(f".fx version must be {' or '.join(map(str, VERSIONS))}, not {show(version)}")
    found = _content(json.loads(members.read("graph.json", MOST_TEXT)), members, version)
    graph = _from_version_1(found) if isinstance(found, Graph1) else found
    if (digest(found) if isinstance(found, Graph1) else graph.digest) != header.get("digest"):
        raise FxsimError("the digest does not match the content; the file was changed")
    return graph


def _content(text: Any, members: _Members, version: int = VERSION) -> Graph | Graph1:
    """What the text of a file of that version is."""
    from .graph import Graph

    whole = (Graph1, Layer1) if version == 1 else (Graph, Node, Tensor)
    classes = {_NAMES.get(c, c.__name__): c for c in (*whole, Program, Const, Table, Fixed, *OPS.values())}
    found = _decode(text, members, classes)
    if not isinstance(found, Graph | Graph1):
        raise FxsimError("holds no graph")
    return found


def digest(graph: object) -> str:
    """SHA-256 of a graph's text and arrays."""
    text, arrays = encode(graph)
    sha = hashlib.sha256(text.encode())
    for data in arrays.values():
        sha.update(data)
    return sha.hexdigest()


def _encode(value: Any, arrays: dict[str, bytes]) -> Any:
    if isinstance(value, np.ndarray):
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(value.astype("<i8")), allow_pickle=False)
        key = hashlib.sha256(buffer.getvalue()).hexdigest()[:32]
        arrays[key] = buffer.getvalue()
        return {"$": "array", "key": key}
    if isinstance(value, Enum):
        return {"$": type(value).__name__, "name": value.name}
    if is_dataclass(value):
        kind = type(value)
        names = [f.name for f in fields(value) if f.init]
        later = {f.name: f.default for f in fields(value) if f.name in _LATER.get(kind, ())}
        content = {
            name: getattr(value, name) for name in names if name not in later or getattr(value, name) != later[name]
        }
        return {
            "$": _NAMES.get(kind, kind.__name__), **{name: _encode(item, arrays) for name, item in content.items()}
        }  # fmt: skip
    if isinstance(value, tuple):
        return [_encode(item, arrays) for item in value]
    return value


class _Members:
    """The members of a .fx archive, with a bound on what is unpacked from it in all."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._left = _MOST

    def read(self, name: str, most: int = _MOST) -> bytes:
        """One member; it counts each time it is read."""
        size = self._archive.getinfo(name).file_size
        self._left -= size
        if size > most or self._left < 0:
            raise FxsimError(f"{name} unpacks to more than {most} bytes, or all members to more than {_MOST}")
        return self._archive.read(name)


def _decode(value: Any, members: _Members, classes: Mapping[str, type]) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item, members, classes) for item in value)
    if not isinstance(value, dict):
        return value
    kind = str(value.get("$"))
    if kind == "array":
        data = members.read(f"{value['key']}.npy")
        type = check_npy(io.BytesIO(data), len(data))
        if type != np.dtype("<i8"):
            raise FxsimError(f"array {value['key']} must be int64, not {type!s:.60}")
        return np.load(io.BytesIO(data), allow_pickle=False)
    if kind in _ENUMS:
        return _ENUMS[kind][value["name"]]
    if kind not in classes:
        raise FxsimError(f"unknown kind {show(kind)}")
    made: Any = classes[kind]
    known = {f.name for f in fields(made) if f.init}
    given = {name: _decode(item, members, classes) for name, item in value.items() if name != "$"}
    if set(given) | _LATER.get(made, frozenset()) != known:
        raise FxsimError(f"{kind} must have the fields {', '.join(sorted(known))}, not {show(sorted(given))}")
    hints = _hints(made)
    for name, item in given.items():
        if not _fits(item, hints[name]):
            legal = getattr(hints[name], "__name__", str(hints[name]))
            raise FxsimError(f"{name} of {kind} must be {legal}, not {show(item)}")
    return made(**given)


@lru_cache(maxsize=64)
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a field's type; True is no integer here."""
    if isinstance(hint, type):
        return isinstance(value, hint) and (hint is not int or type(value) is int)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return any(_fits(value, one) for one in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, arguments[0]) for item in value)
    return isinstance(value, origin)
