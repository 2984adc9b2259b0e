# SPDX-License-Identifier: Apache-2.0
"""Arrays from files that anyone may have made: read as data, whole, of the expected kind, or refused in one line."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FxsimError
from .graph import write_whole

#: An .npz file unpacks to at most this many bytes.
_MOST = 8 << 30


def load_array(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array of an .npy file; raises ``FxsimError`` for anything else, object arrays among it."""
    try:
        # Mapped, the size that the header claims is held against the file's before any memory is taken.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise FxsimError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # a damaged header can make the reader raise nearly anything
        raise FxsimError(f"{path}: is not an .npy file of plain numbers ({_line(error)})") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise FxsimError(f"{path}: is an .npz file, an .npy file is needed")
    return array


def load_arrays(path: str | os.PathLike[str], *required: str) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file; raises ``FxsimError`` for anything else, or if a required one is missing."""
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise FxsimError(f"{path}: is an .npy file, an .npz file with {' and '.join(required)} is needed")
        with archive:
            sizes = [info.file_size for info in archive.zip.infolist()] if archive.zip else []
            if sum(sizes) > _MOST:
                raise FxsimError(f"{path}: an .npz file unpacks to at most {_MOST >> 30} GiB")
            arrays = {name: archive[name] for name in archive.files}
    except FxsimError:
        raise
    except OSError as error:
        raise FxsimError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # as above, and whatever a damaged archive provokes
        raise FxsimError(f"{path}: is not an .npz file of plain arrays ({_line(error)})") from None
    for name in required:
        if name not in arrays:
            raise FxsimError(f"{path}: array {name!r} is missing; it has {', '.join(arrays) or 'none'}")
    return arrays


def save_array(path: str | os.PathLike[str], array: NDArray[Any]) -> None:
    """Write an .npy file whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_whole(path, buffer.getvalue())


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
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
