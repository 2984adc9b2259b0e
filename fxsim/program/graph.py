# SPDX-License-Identifier: Apache-2.0
"""A network as data: layers in a row, each a program and how it runs over a sequence."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Container, Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arguments import flag, index, settle, sizes
from ..errors import FxsimError, show
from ..files.folder import MOST_TEXT, write_whole
from ..files.npy import check_npy
from ..system.forks import cached_property
from .fixed import Fixed, Overflow, Round
from .integers import Const, Table
from .ops import OPS
from .program import LONGEST_NAME, Program

if TYPE_CHECKING:
    from ..pages.listing import Summary

#: Version of the ``.fx`` file; a reader refuses any other.
VERSION = 1
SUFFIX = ".fx"
#: Elements of one input, and of one sequence's result of a layer; memory and traces hold hundreds of them.
MOST_INPUTS = 1 << 22
#: Bytes of all arrays of a .fx file: those of the largest model that is imported.
_MOST = 1 << 29
Shape = tuple[int, ...]


@dataclass(frozen=True, repr=False)
class Layer:
    """A program run over the steps of a sequence.

    ``program`` None: the values stay in their order. Without ``steps`` that is Flatten, which joins the steps into one
    vector; with it Reshape, which deals a vector into so many steps. A program without states runs on every step by
    itself. One with states runs along the sequence from its initial states and gives every step's result if
    ``return_sequences``, else the last one's. ``backward`` runs from the last step to the first, and its results are
    put behind those of ``program`` (Bidirectional, concat).
    """

    name: str
    kind: str
    program: Program | None
    return_sequences: bool = True
    backward: Program | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        settle(self, "steps")
        object.__setattr__(
            self, "return_sequences", flag(self.return_sequences, f"layer {self.name!r}: return_sequences")
        )

    def __repr__(self) -> str:
        ops = sum(len(program.ops) for program in self.programs.values())
        return f"Layer {self.name!r}: {self.kind}, {ops} ops"

    @property
    def recurrent(self) -> bool:
        """Whether the program has states."""
        return self.program is not None and bool(self.program.states)

    @property
    def programs(self) -> dict[str, Program]:
        """The programs by the prefix that their ops carry in a trace."""
        if self.program is None:
            return {}
        if self.backward is None:
            return {self.name: self.program}
        return {f"{self.name}.forward": self.program, f"{self.name}.backward": self.backward}

    def result(self, shape: Shape, type: Fixed) -> tuple[Shape, Fixed]:
        """Shape and format of the result for those of the input; raises ``FxsimError`` where they do not fit."""
        if self.program is None:
            return self._moved(shape), type
        if self.steps is not None:
            raise FxsimError(f"layer {self.name!r}: steps must be left out where there is a program")
        for program in filter(None, (self.program, self.backward)):
            self._check_input(program, shape, type)
        elements = self.program.elements
        if self.backward is not None:
            if self.backward.type != self.program.type or not (self.recurrent and self.backward.states):
                raise FxsimError(f"layer {self.name!r}: both directions must have states and one result format")
            elements += self.backward.elements
        if not self.recurrent:
            if not self.return_sequences:
                raise FxsimError(f"layer {self.name!r} has no states, so return_sequences must be True")
            return (*shape[:-1], elements), self.program.type
        if len(shape) != 2:
            raise FxsimError(f"layer {self.name!r} is recurrent and takes (steps, features), not {shape}")
        return ((shape[0], elements) if self.return_sequences else (elements,)), self.program.type

    def _moved(self, shape: Shape) -> Shape:
        """Shape of the result of a layer without a program."""
        if self.backward is not None:
            raise FxsimError(f"layer {self.name!r}: a layer without a program has no backward program")
        whole = math.prod(shape)
        if self.steps is None:
            return (whole,)
        if index(self.steps) is None or not 1 <= self.steps <= whole or whole % self.steps or len(shape) == 2:
            raise FxsimError(f"layer {self.name!r}: steps must divide a vector of {whole}, not {show(self.steps)}")
        return self.steps, whole // self.steps

    def _check_input(self, program: Program, shape: Shape, type: Fixed) -> None:
        if program.input.elements != shape[-1]:
            raise FxsimError(
                f"layer {self.name!r} takes {program.input.elements} elements a step, its input has {shape[-1]}"
            )
        if program.input.type.plain != type.plain or program.input.type.min > type.min:
            raise FxsimError(f"layer {self.name!r} takes {program.input.type}, its input is {type}")
        for dot in program.dots:
            if dot.weights.data.ndim == 3 and dot.weights.shape[0] != (shape[0] if len(shape) > 1 else 1):
                raise FxsimError(f"layer {self.name!r}: op {dot.name!r} has weights for another number of steps")


@dataclass(frozen=True, repr=False)
class Graph:
    """A quantised network: what both the simulator and the gateware compute.

    ``shape`` is that of one input without the batch: (steps, features) or (features,). ``input`` is its format. Raises
    ``FxsimError`` that names the layer and what is wrong.
    """

    name: str
    shape: Shape
    input: Fixed
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", sizes(self.shape, "input shape", 1 << 20))
        if self.inputs > MOST_INPUTS:
            raise FxsimError(f"an input must have at most {MOST_INPUTS} elements, not {self.inputs}")
        if not self.layers:
            raise FxsimError("a network must have at least one layer")
        names = [layer.name for layer in self.layers]
        for name in names:
            if len(name) > LONGEST_NAME or not name.isprintable():
                raise FxsimError(f"layer names must have at most {LONGEST_NAME} printable characters, not {show(name)}")
            if not name or names.count(name) > 1:
                raise FxsimError(f"layer names must be distinct and not empty, not {show(name)}")
        prefixes = [prefix for layer in self.layers for prefix in layer.programs]
        for prefix in prefixes:
            if prefixes.count(prefix) > 1:
                raise FxsimError(f"layer names must be distinct, also from the directions of others: {show(prefix)}")
        for layer, _, _, result, _ in self.flow():
            if math.prod(result) > MOST_INPUTS:
                have = math.prod(result)
                raise FxsimError(
                    f"layer {layer.name!r}: its result must have at most {MOST_INPUTS} elements, not {have}"
                )

    def flow(self) -> Iterator[tuple[Layer, Shape, Fixed, Shape, Fixed]]:
        """Every layer with the shape and format of its input and of its result."""
        shape, type = self.shape, self.input
        for layer in self.layers:
            result, format = layer.result(shape, type)
            yield layer, shape, type, result, format
            shape, type = result, format

    @cached_property
    def entry(self) -> Shape:
        """Shape in which the input's values come in: behind a Reshape in front of all layers that compute, if any."""
        shape = self.shape
        for layer, _, _, result, _ in self.flow():
            if layer.program is not None:
                break
            if layer.steps is not None:
                shape = result
        return shape

    @cached_property
    def output_shape(self) -> Shape:
        """Shape of one output, without the batch."""
        return list(self.flow())[-1][3]

    @cached_property
    def inputs(self) -> int:
        """Elements of one input."""
        return math.prod(self.shape)

    @cached_property
    def outputs(self) -> int:
        """Elements of one output."""
        return math.prod(self.output_shape)

    @cached_property
    def output(self) -> Fixed:
        """Format of the output."""
        return list(self.flow())[-1][4]

    @property
    def parameters(self) -> int:
        """Weights and biases of all layers."""
        return sum(program.parameters for layer in self.layers for program in layer.programs.values())

    @cached_property
    def work(self) -> int:
        """Elements that ops of one sequence compute, products of matrices included."""
        total = 0
        for layer, shape, _, _, _ in self.flow():
            steps = shape[0] if len(shape) == 2 else 1
            for program in layer.programs.values():
                products = sum(dot.weights.shape[-1] * dot.weights.shape[-2] for dot in program.dots)
                total += steps * (products + sum(program.sizes.values()))
        return total

    def traced(self, names: Container[str] | None = None) -> int:
        """Integers in the traces of one sequence: of the ops that are named as ``layer.op``, or of all."""
        total = 0
        for layer, shape, _, _, _ in self.flow():
            steps = shape[0] if len(shape) == 2 else 1
            for prefix, program in layer.programs.items():
                sizes = program.sizes.items()
                total += steps * sum(size for op, size in sizes if names is None or f"{prefix}.{op}" in names)
        return total

    def summary(self) -> Summary:
        """Layers, tensors with their proven ranges, and tables, for people, notebooks and programs.

        ``print`` it, let a notebook show it, or take its ``to_dict()``.
        """
        from ..study.summaries import network  # it looks at the programs through others, which import this module

        return network(self)

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain values, as ``fxsim info --json`` prints it. Files are for :meth:`save`."""
        return self.summary().to_dict()

    def _repr_html_(self) -> str:
        from ..study.summaries import brief

        return brief(self)._repr_html_()

    def __repr__(self) -> str:
        def side(shape: Shape, type: Fixed) -> str:
            return f"{' x '.join(map(str, shape))} x {type}"

        ends = f"input {side(self.shape, self.input)}, output {side(self.output_shape, self.output)}"
        count = len(self.layers)
        return f"Graph {self.name}: {count} layer{'s' * (count > 1)}, {self.parameters} parameters; {ends}"

    def predict(self, x: ArrayLike, *, warn: bool = True) -> NDArray[np.float64]:
        """Outputs as float64 on the output's grid, (batch, *output shape), for ``x`` (batch, *shape).

        Warns (``OverflowWarning``), if not told otherwise, where inputs or outputs leave their formats.
        """
        from ..simulator.run import predict  # the simulator imports this module

        return predict(self, x, warn=warn, stacklevel=3)

    @property
    def digest(self) -> str:
        """SHA-256 over everything that decides the network's bits; equal graphs have equal digests."""
        text, arrays = _encode_graph(self)
        sha = hashlib.sha256(text.encode())
        for data in arrays.values():
            sha.update(data)
        return sha.hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the graph as ``.fx``: the same bytes for the same graph. See ``docs/program.md`` for the layout."""
        text, arrays = _encode_graph(self)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            header = json.dumps({"fxsim": VERSION, "digest": self.digest}, sort_keys=True)
            members = {"version.json": header.encode(), "graph.json": text.encode()}
            members |= {f"{key}.npy": data for key, data in arrays.items()}
            for name, data in members.items():
                info = zipfile.ZipInfo(name)  # a fixed date, so that the file depends on the graph alone
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, data)
        write_whole(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Graph:
        """Read a ``.fx`` file; raises ``FxsimError`` with one line for anything but a whole one of this version."""
        try:
            with zipfile.ZipFile(path) as archive:
                members = _Members(archive)
                header = json.loads(members.read("version.json", MOST_TEXT))
                version = header.get("fxsim") if isinstance(header, dict) else None
                if version != VERSION:
                    raise FxsimError(f"{path}: .fx version must be {VERSION}, not {show(version)}")
                graph = _decode(json.loads(members.read("graph.json", MOST_TEXT)), members)
            if not isinstance(graph, cls):
                raise FxsimError(f"{path}: holds no graph")
            if graph.digest != header.get("digest"):
                raise FxsimError(f"{path}: the digest does not match the content; the file was changed")
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
        return graph


#: Fields that came later: a file has them only where they have another value than the usual one.
_LATER: dict[str, frozenset[str]] = {"Layer": frozenset({"steps"})}
_CLASSES: dict[str, Any] = {c.__name__: c for c in (Graph, Layer, Program, Const, Table, Fixed, *OPS.values())}
_ENUMS: dict[str, Any] = {c.__name__: c for c in (Round, Overflow)}


def _encode_graph(graph: Graph) -> tuple[str, dict[str, bytes]]:
    """The graph as canonical JSON text, and the arrays it names by their content's hash."""
    arrays: dict[str, bytes] = {}
    return json.dumps(_encode(graph, arrays), sort_keys=True, separators=(",", ":")), dict(sorted(arrays.items()))


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
        kind = type(value).__name__
        names = [f.name for f in fields(value) if f.init]
        later = {f.name: f.default for f in fields(value) if f.name in _LATER.get(kind, ())}
        content = {
            name: getattr(value, name) for name in names if name not in later or getattr(value, name) != later[name]
        }
        return {"$": kind, **{name: _encode(item, arrays) for name, item in content.items()}}
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


def _decode(value: Any, members: _Members) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item, members) for item in value)
    if not isinstance(value, dict):
        return value
    kind = value.get("$")
    if kind == "array":
        data = members.read(f"{value['key']}.npy")
        type = check_npy(io.BytesIO(data), len(data))
        if type != np.dtype("<i8"):
            raise FxsimError(f"array {value['key']} must be int64, not {type!s:.60}")
        return np.load(io.BytesIO(data), allow_pickle=False)
    if kind in _ENUMS:
        return _ENUMS[kind][value["name"]]
    if kind not in _CLASSES:
        raise FxsimError(f"unknown kind {show(kind)}")
    known = {f.name for f in fields(_CLASSES[kind]) if f.init}
    given = {name: _decode(item, members) for name, item in value.items() if name != "$"}
    if set(given) | _LATER.get(kind, frozenset()) != known:
        raise FxsimError(f"{kind} must have the fields {', '.join(sorted(known))}, not {show(sorted(given))}")
    hints = _hints(_CLASSES[kind])
    for name, item in given.items():
        if not _fits(item, hints[name]):
            legal = getattr(hints[name], "__name__", str(hints[name]))
            raise FxsimError(f"{name} of {kind} must be {legal}, not {show(item)}")
    return _CLASSES[kind](**given)


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
