# SPDX-License-Identifier: Apache-2.0
"""Arrays from files that anyone may have made: read as data, whole, of the expected kind, or refused in one line."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FxsimError
from .folder import write_whole
from .npy import check_npy

_ZIP = b"PK\x03\x04"
#: An .npz file unpacks to at most this many bytes.
_MOST = 8 << 30
#: And a large one to no more than this times its size: numbers that were measured do not pack like zeros.
_DENSEST = 200


def load_array(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array of an .npy file; raises ``FxsimError`` for anything else, object arrays among it."""
    try:
        with open(path, "rb") as file:
            if file.read(len(_ZIP)) == _ZIP:
                raise FxsimError(f"{path}: is an .npz file, an .npy file is needed")
            file.seek(0)
            check_npy(file, os.fstat(file.fileno()).st_size)
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    except OSError as error:
        raise FxsimError(f"{path}: cannot be read ({error.strerror or error})") from None
    except FxsimError:
        raise
    except Exception as error:  # a damaged header can make the reader raise nearly anything
        raise FxsimError(f"{path}: is not an .npy file of plain numbers ({_line(error)})") from None


def load_arrays(path: str | os.PathLike[str], *required: str) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file; raises ``FxsimError`` for anything else, or if a required one is missing."""
    try:
        with open(path, "rb") as file:
            if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
                raise FxsimError(f"{path}: is an .npy file, an .npz file with {' and '.join(required)} is needed")
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            size, packed = sum(info.file_size for info in infos), sum(info.compress_size for info in infos)
            if size > _MOST or (size > _MOST // 8 and size > _DENSEST * packed):
                raise FxsimError(f"{path}: expands from {packed} to {size} bytes, too many for measured data")
            arrays = {}
            for info in infos:
                with archive.open(info) as member:
                    check_npy(member, info.file_size)
                with archive.open(info) as member:
                    arrays[info.filename.removesuffix(".npy")] = np.lib.format.read_array(member, allow_pickle=False)
    except FxsimError:
        raise
    except OSError as error:
        raise FxsimError(f"{path}: cannot be read ({error.strerror or error})") from None
    except MemoryError:
        raise FxsimError(f"{path}: its arrays do not fit into memory") from None
    except Exception as error:  # as above, and whatever a damaged archive provokes
        raise FxsimError(f"{path}: is not an .npz file of plain arrays ({_line(error)})") from None
    for name in required:
        if name not in arrays:
            raise FxsimError(f"{path}: array {name!r} is missing; it has {', '.join(arrays) or 'none':.200}")
    return arrays


def save_array(path: str | os.PathLike[str], array: NDArray[Any]) -> None:
    """Write an .npy file whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_whole(path, buffer.getvalue())


def save_arrays(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an .npz file whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_whole(path, buffer.getvalue())


def write_files(folder: str | os.PathLike[str], data: Mapping[str, bytes]) -> list[str]:
    """Write files into a folder, each whole or not at all; returns their names."""
    place = make_folder(folder)
    for name, content in data.items():
        write_whole(place / name, content)
    return list(data)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """The folder, made if it is not there; raises ``FxsimError`` where that is not possible."""
    if not os.fspath(path):
        raise FxsimError("the output folder must have a name")
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FxsimError(f"{path}: cannot write ({error.strerror})") from None
    return folder


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()):.200}"
