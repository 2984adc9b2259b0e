# SPDX-License-Identifier: Apache-2.0
"""Public data sets as arrays, from files that the reader has downloaded; nothing is fetched here.

LHC jets (hls4ml_LHCjet, HDF5, on Zenodo): each file has ``jets`` (jets, columns) named by ``jetFeatureNames``, among
them one-hot classes ``j_g, j_q, j_w, j_z, j_t``, and ``jetConstituentList`` (jets, constituents, columns) named by
``particleFeatureNames``. Quick, Draw! (Google, CC BY 4.0): a drawing a line in ``.ndjson`` (raw or simplified), or
arrays of (dx, dy, pen) in the ``.npz`` of sketch-rnn.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fxsim.errors import FxsimError, show

#: The classes of the LHC jets, in the order of their columns.
JET_CLASSES = ("j_g", "j_q", "j_w", "j_z", "j_t")
#: Columns of a constituent. The published models do not name the six that they take; these are relative to the jet.
JET_FEATURES = ("j1_ptrel", "j1_etarel", "j1_phirel", "j1_erel", "j1_deltaR", "j1_costhetarel")
#: Names of a file's kind before the class, as the drawings are offered for download.
_PREFIXES = ("full_simplified_", "full_raw_", "sketchrnn_")


def lhc_jets(
    paths: Iterable[Path], features: Sequence[str] = JET_FEATURES, steps: int = 20, most: int = 100_000
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The ``steps`` hardest constituents (jets, steps, features), zero where there are fewer, and classes (jets,).

    Raises ``FxsimError`` for a file that is not of this data set, or lacks a feature.
    """
    import h5py

    found, labels, count = [], [], 0
    for path in paths:
        try:
            with h5py.File(path, "r") as file:
                names = [_text(name) for name in file["particleFeatureNames"][:]]
                columns = [_text(name) for name in file["jetFeatureNames"][:]]
                picked = [_place(names, name, path) for name in ("j1_pt", *features)]
                one_hot = [_place(columns, name, path) for name in JET_CLASSES]
                rows = min(most - count, len(file["jets"]))
                constituents = file["jetConstituentList"][:rows][:, :, picked].astype(np.float64)
                truth = file["jets"][:rows][:, one_hot]
        except (OSError, KeyError) as error:
            raise FxsimError(f"{path}: is no file of LHC jets ({error})") from None
        if not (truth.sum(axis=1) == 1).all():
            raise FxsimError(f"{path}: each jet must have one class of {', '.join(JET_CLASSES)}")
        if constituents.shape[1] < steps:
            raise FxsimError(f"{path}: has {constituents.shape[1]} constituents a jet, fewer than {steps}")
        order = np.argsort(-constituents[:, :, 0], axis=1, kind="stable")[:, :steps]
        hardest = np.take_along_axis(constituents, order[:, :, None], axis=1)
        found.append(hardest[:, :, 1:] * (hardest[:, :, :1] > 0))
        labels.append(truth.argmax(axis=1))
        count += rows
        if count >= most:
            break
    if not found:
        raise FxsimError("no file of LHC jets is given")
    return np.concatenate(found), np.concatenate(labels)


def top_or_light(x: NDArray[np.float64], y: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Top quarks (1) against light quarks and gluons (0), of the five classes."""
    top, light = y == JET_CLASSES.index("j_t"), y < 2
    return x[top | light], top[top | light].astype(np.int64)


def _text(name: object) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _place(names: Sequence[str], name: str, path: Path) -> int:
    if name not in names:
        raise FxsimError(f"{path}: has no column {show(name)}; it has {', '.join(names)}")
    return list(names).index(name)


def quickdraw(
    paths: Iterable[Path], classes: Sequence[str], steps: int = 100, most: int = 1000
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Drawings (drawings, steps, 3) as (dx, dy, pen) and their classes (drawings,); at most ``most`` of a file.

    ``pen`` is 1 where a stroke ends. Drawings with fewer points are filled with zeros, of longer ones the first
    ``steps`` are taken. Raises ``FxsimError`` for a class that is not among ``classes``, or a damaged file.
    """
    x, y = [], []
    for path in paths:
        reader = _ndjson if path.suffix == ".ndjson" else _sketches
        for word, drawing in reader(path, most):
            if word not in classes:
                raise FxsimError(f"{path}: class {show(word)} is not one of {', '.join(classes)}")
            whole = np.zeros((steps, 3))
            whole[: len(drawing)] = drawing[:steps]
            x.append(whole)
            y.append(list(classes).index(word))
    if not x:
        raise FxsimError("the files hold no drawing")
    return np.array(x), np.array(y)


def _ndjson(path: Path, most: int) -> Iterator[tuple[str, NDArray[np.float64]]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            if number == most:
                return
            try:
                found = json.loads(line)
                drawing, word = [np.array(stroke[:2], float).T for stroke in found["drawing"]], str(found["word"])
                yield word, _steps(drawing)
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise FxsimError(f"{path}, line {number + 1}: is no drawing ({error})") from None


def _steps(strokes: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Strokes of points (points, 2) as steps (points - 1, 3) from each point to the next."""
    if not strokes or any(stroke.ndim != 2 or stroke.shape[1] != 2 for stroke in strokes):
        raise ValueError("a drawing must be strokes of x and y")
    points = np.concatenate(strokes)
    ends = np.zeros(len(points))
    ends[np.cumsum([len(stroke) for stroke in strokes]) - 1] = 1
    return np.column_stack([np.diff(points, axis=0), ends[1:]])


def _sketches(path: Path, most: int) -> Iterator[tuple[str, NDArray[np.float64]]]:
    word = path.stem
    for prefix in _PREFIXES:
        word = word.removeprefix(prefix)
    try:
        with zipfile.ZipFile(path) as archive, archive.open("test.npy") as file:
            drawings = _objects(file, path)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise FxsimError(f"{path}: is no file of sketch-rnn ({error})") from None
    for drawing in drawings[:most]:
        if not isinstance(drawing, np.ndarray) or drawing.ndim != 2 or drawing.shape[1] != 3:
            raise FxsimError(f"{path}: a drawing must be an array of (points, 3)")
        yield word, drawing.astype(float)


class _Arrays(pickle.Unpickler):
    """Reads arrays and nothing else: an array of arrays is a pickle, which could otherwise run anything."""

    _KNOWN = frozenset(
        {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
        | {(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")}
        | {(f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")}
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._KNOWN:
            raise FxsimError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _objects(file: Any, path: Path) -> NDArray[Any]:
    """The array of objects in a .npy file; the files were written by Python 2."""
    try:
        stream: BinaryIO = file
        version = npy.read_magic(stream)
        reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        _, _, dtype = reader(stream)
        if not dtype.hasobject:
            raise FxsimError(f"it holds {dtype}")
        found = _Arrays(stream, encoding="latin1").load()
    except (ValueError, EOFError, pickle.UnpicklingError, AttributeError, TypeError) as error:
        raise FxsimError(f"{path}: holds no array of drawings ({error})") from None
    if not isinstance(found, np.ndarray) or found.ndim != 1:
        raise FxsimError(f"{path}: holds no array of drawings")
    return found
