# SPDX-License-Identifier: Apache-2.0
"""Folders that one process writes at a time, files written whole or not at all, and small files read with care."""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import FxsimError

#: What makes a folder an export of ours.
MANIFEST = "manifest.json"
#: Bytes of a text file. JSON of that size can take a hundred times as much memory once it is read.
MOST_TEXT = 16 << 20


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a folder that no other process can hold meanwhile; raises ``FxsimError`` where one does.

    The system lets go of it when the process ends, however it does.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FxsimError(f"{folder}: another process is writing there") from None
        except OSError:
            pass  # file systems without locks
        yield
    finally:
        os.close(handle)


def read_text(path: Path) -> str:
    """The text of a small file; raises ``FxsimError`` for what is none, or without end as a device can be."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_TEXT + 1)
        if len(data) > MOST_TEXT:
            raise FxsimError(f"{path}: is larger than {MOST_TEXT} bytes")
        # Editors and shells of Windows put a byte order mark in front.
        return data.decode("utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    except OSError as error:
        raise FxsimError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise FxsimError(f"{path}: is not text in UTF-8") from None


def read_json(path: Path) -> dict[str, Any]:
    """The object a JSON file holds; raises ``FxsimError`` for anything else."""
    try:
        data = json.loads(read_text(path))
    except FxsimError:
        raise
    except (ValueError, RecursionError) as error:
        raise FxsimError(f"{path}: is not JSON ({error})") from None
    if not isinstance(data, dict):
        raise FxsimError(f"{path}: must hold an object, not {type(data).__name__}")
    return data


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that it is there whole or not at all; raises ``FxsimError`` when the folder refuses.

    A device, pipe or socket of that name is refused, for a rename would destroy it.
    """
    target = Path(path)
    try:
        if target.exists() and not (target.is_file() or target.is_dir()):
            raise FxsimError(f"{target}: is not a regular file, so it is left alone")
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FxsimError(f"{target}: cannot write ({error.strerror})") from None
