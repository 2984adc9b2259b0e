# SPDX-License-Identifier: Apache-2.0
"""Folders that appear whole or not at all, and small files read with care."""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import FxsimError

#: What makes a folder an export of ours.
MANIFEST = "manifest.json"
#: Bytes of a text file. JSON of that size can take a hundred times as much memory once it is read.
MOST_TEXT = 16 << 20


@contextmanager
def whole_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary folder that takes the place of ``target`` if the block ends well, and vanishes if it does not.

    ``target`` may not exist, be empty, or be an earlier export, which is replaced whole. Raises ``FxsimError`` for
    anything else, and for places that cannot be written.
    """
    if not os.fspath(target):
        raise FxsimError("the output folder must have a name")
    place = Path(os.path.realpath(target))
    _refuse_foreign(place, target)
    above = place.parent
    while not above.exists() and above != above.parent:
        above = above.parent
    try:
        # In the nearest folder that exists: on the file system of the target, so that a rename can move it there.
        temporary = Path(tempfile.mkdtemp(dir=above, prefix=f".{place.name}."))
    except OSError as error:
        raise FxsimError(f"{target}: cannot write ({error.strerror})") from None
    try:
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o777 & ~mask)
        yield temporary
        _refuse_foreign(place, target)
        try:
            _move(temporary, place)
        except OSError as error:
            raise FxsimError(f"{target}: cannot write ({error.strerror})") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _refuse_foreign(place: Path, name: str | os.PathLike[str]) -> None:
    try:
        if not place.exists():
            return
        if not place.is_dir():
            raise FxsimError(f"{name}: is not a folder")
        if any(place.iterdir()) and not _is_export(place):
            raise FxsimError(f"{name}: is neither empty nor an earlier export, so it is left alone")
    except OSError as error:
        raise FxsimError(f"{name}: cannot write ({error.strerror})") from None


def _is_export(folder: Path) -> bool:
    try:
        return "fxsim" in read_json(folder / MANIFEST)
    except FxsimError:
        return False


def _move(temporary: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists() or not any(place.iterdir()):
        os.replace(temporary, place)
        return
    # No call exchanges two folders everywhere: set the old one aside, and back should the new one not follow.
    aside = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
    try:
        os.replace(place, aside)
        try:
            os.replace(temporary, place)
        except BaseException:
            os.replace(aside, place)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


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
