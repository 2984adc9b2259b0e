# SPDX-License-Identifier: Apache-2.0
"""Opens the files Keras writes, as data: the config as JSON, the weights as a store that is read by need.

Whatever is wrong with a file comes out as a ModelError of one line. Sizes are looked at before anything is read.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelError, show
from ..files.folder import MOST_TEXT
from .hdf5 import Group, open_tree, text
from .hdf5_child import reason
from .keras_graph import MODELS
from .keras_options import as_dict
from .keras_weights import H5Legacy, H5Vars, Live, WeightStore, guarded

__all__ = ["Contents", "live_contents", "open_model"]

MAX_JSON = MOST_TEXT
MAX_MEMBER = 1 << 30
_SUFFIXES = (".keras", ".h5", ".hdf5", ".json")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class Contents:
    """A model's config, the major version of the Keras that wrote it, and its weights."""

    config: dict[str, Any]
    generation: int
    weights: WeightStore


@contextmanager
def open_model(path: str | os.PathLike[str], weights: str | os.PathLike[str] | None = None) -> Iterator[Contents]:
    """Open a model file for as long as the context lasts; weights are read from it inside the context."""
    file = _regular_file(path)
    suffix = file.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ModelError(f"{_at(file)}: suffix {show(suffix)} is not one of {', '.join(_SUFFIXES)}")
    if suffix == ".json" and weights is None:
        raise ModelError(f"{_at(file)}: an architecture .json needs weights=, an HDF5 file with its weights")
    if suffix != ".json" and weights is not None:
        raise ModelError(f"{_at(file)}: weights= goes with an architecture .json only; this file has its own weights")
    with ExitStack() as stack, _named(file):
        with guarded():
            if suffix == ".json":
                assert weights is not None
                contents = stack.enter_context(_open_json(file, _regular_file(weights)))
            # By content: TensorFlow before 2.12 writes HDF5 under the name .keras too.
            elif _starts_with(file, _ZIP):
                contents = stack.enter_context(_open_zip(file))
            else:
                contents = stack.enter_context(_open_h5(file))
        yield contents


def live_contents(model: Any) -> Contents:
    """Take the config and weights of a live model, duck-typed: to_json(), layers, get_weights()."""
    if not callable(getattr(model, "to_json", None)) or not hasattr(model, "layers"):
        raise ModelError(f"from_keras needs a Keras model, not {show(type(model).__name__)}")
    try:
        architecture = model.to_json()
        arrays: dict[str, list[Any]] = {}
        _collect(model, "", arrays)
    except Exception as error:  # The model's own code runs here, a user's layer may raise anything.
        raise ModelError(f"the Keras model does not give its config and weights: {reason(error)}") from error
    config = _parse(architecture, "the model's config")
    return Contents(config, _generation(config, None), Live(arrays))


def _collect(model: Any, path: str, arrays: dict[str, list[Any]]) -> None:
    """The weights of a live model's layers by their names, those of models inside it as outer/inner.

    Wrappers are looked into, for Keras 2 gives their frozen weights behind the others.
    """
    for layer in model.layers:
        label = f"{path}{layer.name}"
        inner = getattr(layer, "layer", layer)
        if type(inner).__name__ in MODELS:
            _collect(inner, f"{path}{inner.name}/", arrays)
            continue
        sides = ("forward_layer", "backward_layer")
        cells = [getattr(layer, side) for side in sides] if all(hasattr(layer, side) for side in sides) else [layer]
        arrays.setdefault(label, []).extend(np.asarray(a) for cell in cells for a in cell.get_weights())


def _at(path: Path) -> str:
    return repr(str(path))


def _regular_file(path: str | os.PathLike[str]) -> Path:
    try:
        file = Path(path)
        if file.is_dir():
            raise ModelError(f"{_at(file)}: is a directory, not a file")
        if not file.exists():
            raise ModelError(f"{_at(file)}: no such file")
        if not file.is_file():
            raise ModelError(f"{_at(file)}: is not a regular file")
    except ModelError:
        raise
    except (OSError, TypeError, ValueError) as error:
        raise ModelError(f"{show(path)}: {reason(error)}") from error
    return file


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Put the file's name in front of what is wrong with it."""
    try:
        yield
    except ModelError as error:
        # The weights' file, which is named first, is inside the model's.
        where = ": ".join(filter(None, (_at(file), error.where)))
        raise ModelError(*error.obstacles, where=where) from error


def _starts_with(file: Path, magic: bytes) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(magic)) == magic


def _parse(source: str | bytes, where: str) -> dict[str, Any]:
    if len(source) > MAX_JSON:
        raise ModelError(f"{where} is larger than {MAX_JSON} bytes")
    try:
        value = json.loads(source, object_hook=_plain)
    except RecursionError:
        raise ModelError(f"{where} is nested too deep") from None
    except ValueError as error:
        raise ModelError(f"{where} is not valid JSON: {reason(error)}") from error
    return as_dict(value, where)


def _plain(value: dict[str, Any]) -> Any:
    """Undo the way in which some versions of Keras 2 write a tuple."""
    return value["items"] if value.keys() == {"class_name", "items"} and value["class_name"] == "__tuple__" else value


def _generation(config: dict[str, Any], stored: str | None) -> int:
    """Give the major version of Keras: from the config, else as stored beside it, else from the config's style."""
    version = config.get("keras_version", stored)
    if version is None:
        return 3 if "module" in config else 2
    match = re.match(r"([0-9]+)\.", version) if isinstance(version, str) else None
    if match is None or match[1] not in ("2", "3"):
        raise ModelError(f"keras_version must be 2.x or 3.x, not {show(version)}")
    return int(match[1])


@contextmanager
def _open_h5(file: Path) -> Iterator[Contents]:
    _must_be_hdf5(file)
    with file.open("rb") as stream, open_tree(stream) as h5:
        stored = text(h5, "model_config")
        if stored is None:
            raise ModelError("has no model_config, only weights at most: give the architecture .json and weights=")
        config = _parse(stored, "model_config")
        version = text(h5, "keras_version")
        generation = _generation(config, version)
        yield Contents(config, generation, _store(h5, generation, named=True))


@contextmanager
def _open_zip(file: Path) -> Iterator[Contents]:
    with zipfile.ZipFile(file) as archive:
        config = _parse(archive.read(_member(archive, "config.json", MAX_JSON)), "config.json")
        metadata = _parse(archive.read(_member(archive, "metadata.json", MAX_JSON)), "metadata.json")
        generation = _generation(config, metadata.get("keras_version"))
        with tempfile.TemporaryFile() as stream:
            with archive.open(_member(archive, "model.weights.h5", MAX_MEMBER)) as member:
                shutil.copyfileobj(member, stream)
            stream.flush()
            with open_tree(stream) as h5:
                yield Contents(config, generation, H5Vars(h5, named=True))


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> zipfile.ZipInfo:
    found = [info for info in archive.infolist() if info.filename == name]
    if len(found) != 1:
        raise ModelError(f"the archive has {'no' if not found else 'more than one'} {name}")
    # The reader gives no more bytes than declared here, whatever the compressed stream would expand to.
    if found[0].file_size > limit:
        raise ModelError(f"{name} declares {found[0].file_size} bytes, more than {limit}")
    return found[0]


@contextmanager
def _open_json(file: Path, weights: Path) -> Iterator[Contents]:
    if file.stat().st_size > MAX_JSON:
        raise ModelError(f"the config is larger than {MAX_JSON} bytes")
    config = _parse(file.read_bytes(), "the config")
    with ExitStack() as stack:
        with _named(weights), guarded():
            _must_be_hdf5(weights)
            h5 = stack.enter_context(open_tree(stack.enter_context(weights.open("rb"))))
            # Keras 3 leaves its version out of to_json(), but not its module.
            version = None if "module" in config else text(h5, "keras_version")
            generation = _generation(config, version)
            store = _store(h5, generation, named=False)
        yield Contents(config, generation, store)


def _must_be_hdf5(file: Path) -> None:
    if not _starts_with(file, _HDF5):
        raise ModelError("is neither an HDF5 file nor a .keras archive")


def _store(h5: Group, generation: int, *, named: bool) -> WeightStore:
    """Tell the layout of the weights in an HDF5 file."""
    if isinstance(group := h5.items.get("model_weights"), Group):
        return H5Legacy(group, generation)
    if "layer_names" in h5.texts or "layer_names0" in h5.texts:
        return H5Legacy(h5, generation)
    if any(root in h5.items for root in H5Vars.ROOTS):
        return H5Vars(h5, named=named)
    raise ModelError("has no weights that Keras 2 or 3 would write")
