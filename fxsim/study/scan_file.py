# SPDX-License-Identifier: Apache-2.0
"""The rows of a scan, and the file that keeps them while it runs, so that one that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from ..errors import FxsimError
from ..files.arrays import make_folder
from ..files.folder import only_one, read_json, write_whole
from ..importers.source import (
    GRU,
    LSTM,
    Activation,
    BatchNormalization,
    Bidirectional,
    Dense,
    Flatten,
    Idle,
    Merge,
    Repeat,
    Reshape,
    Reverse,
    SimpleRNN,
    Source,
    SourceLayer,
)

#: The file, in the scan's folder.
NAME = "scan.json"


@dataclass(frozen=True)
class ScanRow:
    """What one format gives.

    ``preset`` is "float" in the row that the others are held against, and "graph" in that of a graph that was given,
    whose ``precision`` is the format of its input.

    ``layers``: names of the layers that have the format, with commas; empty for the whole network. ``auc``: area under
    the ROC curve, of several classes the mean of ``class_aucs``, those of each class against the rest. ``auc_ratio``:
    ``auc`` over that of float. ``largest_error``, ``mean_error``: absolute, against float, over all outputs.

    Where the labels are real numbers, ``r2`` is the coefficient of determination (:func:`fxsim.study.metrics.r2`),
    ``r2_ratio`` that over float's, and ``label_largest_error`` and ``label_mean_error`` are absolute errors against the
    labels. What needs labels of the other kind, or any, is None.
    """

    preset: str
    layers: str
    width: int | None
    integer: int | None
    precision: str
    accuracy: float | None
    auc: float | None
    auc_ratio: float | None
    class_aucs: tuple[float | None, ...]
    largest_error: float
    mean_error: float
    r2: float | None = None
    r2_ratio: float | None = None
    label_largest_error: float | None = None
    label_mean_error: float | None = None

    @property
    def score(self) -> float | None:
        """What a scan holds against float: AUC, or R² where the labels are real numbers."""
        return self.auc if self.r2 is None else self.r2

    @property
    def ratio(self) -> float | None:
        """That over float's."""
        return self.auc_ratio if self.r2_ratio is None else self.r2_ratio

    @property
    def frac(self) -> int:
        """Bits behind the point."""
        return (self.width or 0) - (self.integer or 0)


@dataclass
class Record:
    """The rows found so far, as ``scan.json`` of ``folder`` holds them; ``facts`` say of what they are."""

    folder: Path
    facts: Mapping[str, Any]
    rows: list[ScanRow]

    def add(self, row: ScanRow) -> None:
        """Keep a row: the file is replaced by one that has it, too."""
        self.rows.append(row)
        self.write(self.rows)

    def write(self, rows: Iterable[ScanRow]) -> None:
        """Write the file with these rows."""
        found = [asdict(row) for row in rows]
        data = {**self.facts, "digest": _digest_rows(found), "rows": found}
        write_whole(self.folder / NAME, (json.dumps(data, indent=1) + "\n").encode())


@contextmanager
def record(folder: str | Path, facts: Mapping[str, Any]) -> Iterator[Record]:
    """The record of a folder, which is made if it is not there; nobody else can write it meanwhile.

    ``facts`` are JSON values. Raises ``FxsimError`` if the folder holds the rows of other facts, naming the first that
    differs, or a file that is no record.
    """
    new = not Path(folder).exists()
    place = make_folder(folder)
    try:
        with only_one(place):
            for left in place.glob(f".{NAME}.*"):  # by a process that was killed while it wrote
                left.unlink(missing_ok=True)
            path = place / NAME
            yield Record(place, facts, _read(path, facts) if path.exists() else [])
    finally:
        if new:
            with suppress(OSError):  # for most often there is something in it now
                place.rmdir()


def _read(path: Path, facts: Mapping[str, Any]) -> list[ScanRow]:
    data = read_json(path)
    if not {*facts, "digest", "rows"} <= set(data):
        raise FxsimError(f"{path}: is not the record of a scan; give another folder")
    for name, value in facts.items():
        if data[name] != value:
            both = "" if name in ("model", "data") else f", {_said(data[name])} and not {_said(value)}"
            raise FxsimError(f"{path}: is the record of a scan of another {name}{both}; give another folder")
    if _digest_rows(data["rows"]) != data["digest"]:
        raise FxsimError(f"{path}: the digest does not match the rows; the file was changed")
    return [ScanRow(**row | {"class_aucs": tuple(row["class_aucs"])}) for row in data["rows"]]


def _digest_rows(rows: Any) -> str:
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _said(value: object) -> str:
    """Numbers as on the command line: A:B where they are consecutive."""
    if isinstance(value, list) and len(value) > 2 and value == list(range(value[0], value[-1] + 1)):
        return f"{value[0]}:{value[-1]}"
    items = value if isinstance(value, list) else [value]
    return f"{','.join('none' if item in ('', None) else str(item) for item in items):.200}"


def digest_source(source: Source) -> str:
    """SHA-256 over everything of a float network that its outputs can depend on, its name not among it."""
    sha = hashlib.sha256()
    active = source.active.layers
    names = [*(door.name for door in source.inputs), *(layer.name for layer in active)]
    if len(source.inputs) == 1 and all(one.sources == (name,) for one, name in zip(active, names, strict=False)):
        # Files of scans hold digests of networks in a row from the time when there were no others.
        idle, before = [], 0
        for layer in source.layers:
            if isinstance(layer, Idle):
                idle.append((before, layer.name))
            before += not isinstance(layer, Idle)
        _update(sha, (source.shape, active, tuple(idle)))
    else:
        doors = tuple((door.name, door.shape) for door in source.inputs)
        _update(sha, (doors, source.layers, source.edges, source.outputs))
    return sha.hexdigest()


def digest_arrays(*arrays: NDArray[Any] | None) -> str:
    """SHA-256 over arrays, their types and shapes."""
    sha = hashlib.sha256()
    _update(sha, arrays)
    return sha.hexdigest()


def _update(sha: Any, value: object) -> None:
    if isinstance(value, np.ndarray):
        sha.update(f"array {value.dtype.str} {value.shape} ".encode())
        sha.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, SourceLayer):
        _update(sha, (value.name, value.kind, _settings(value), value.weights, value.origin))
    elif isinstance(value, Mapping):
        _update(sha, tuple((key, value[key]) for key in sorted(value)))
    elif isinstance(value, tuple | list):
        sha.update(f"{len(value)} of ".encode())
        for item in value:
            _update(sha, item)
    else:
        sha.update(f"{type(value).__name__} {value!r} ".encode())


def _settings(layer: SourceLayer) -> dict[str, object]:
    """What a layer has of its own, by the names that digests have had from the first: files of scans hold them."""
    match layer:
        case LSTM() | GRU() | SimpleRNN():
            found: dict[str, object] = {
                "units": layer.units,
                "use_bias": layer.use_bias,
                "return_sequences": layer.return_sequences,
                "activation": layer.activation.name,
            }
            functions = [layer.activation]
            if not isinstance(layer, SimpleRNN):
                functions.append(layer.recurrent_activation)
                found["recurrent_activation"] = layer.recurrent_activation.name
            if isinstance(layer, GRU):
                found["reset_after"] = layer.reset_after
            for function in functions:
                if function.slope is not None:
                    found["hard_sigmoid_slope"] = function.slope
            return found
        case Bidirectional():
            return {"merge_mode": layer.merge_mode, "return_sequences": layer.return_sequences, **layer.sides}
        case Dense():
            return {"units": layer.units, "use_bias": layer.use_bias}
        case Activation():
            return {"function": layer.function.name, **layer.function.parameters}
        case Reshape() | Repeat():
            return {"steps": layer.steps}
        case Merge():
            return {"function": layer.function}
        case BatchNormalization():
            return {"epsilon": layer.epsilon}
        case Flatten() | Idle() | Reverse():
            return {}
        case _:
            assert_never(layer)
