# SPDX-License-Identifier: Apache-2.0
"""An exported folder, which is taken from one design to the next without touching what the user put there.

A folder that is not there yet appears whole, by one rename. In one that is there:

1. all new files are written into a folder ``.fxsim-…`` inside of it, where nobody looks;
2. that folder is renamed to ``.fxsim-commit``. Until then a failure leaves the old design, from then on the new one;
3. its files are moved to their places, files of the old design that the new one has not are removed, and the manifest
   comes last. Should the process be killed meanwhile, the next one that opens the folder does the rest
   (:func:`complete`), which it can because moving and removing may be repeated.

What belongs to a design is the list ``written`` in its manifest: paths and SHA-256. What is not on it, or has another
content, is the user's: it is left alone, or kept beside a new file that takes its name.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path, PurePosixPath

from ..errors import FxsimError
from .folder import MANIFEST, only_one, read_json

#: A design whose files are on their way to their places; and how folders begin that are not so far.
COMMIT, _STAGE = ".fxsim-commit", ".fxsim-stage-"
#: Written into a folder after its export, about the design that was there: names, and a key that such a file has.
_FOUND = {"synth_*.json": "cells", "route_*.json": "fmax_mhz"}
#: Files that fxsim itself changes after an export.
CHANGING = ("report.html",)


@contextmanager
def exported(target: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary folder whose files become those of ``target`` if the block ends well, and vanish if it does not.

    The block must write the manifest, with :func:`written` in it. ``target`` may not exist, be empty, or be an earlier
    export. Raises ``FxsimError`` for anything else, and for places that cannot be written. Warns of files that are not
    as fxsim had written them, whose names it needs.
    """
    if not os.fspath(target):
        raise FxsimError("the output folder must have a name")
    place = Path(os.path.realpath(target))
    with _refusing(target):
        there = place.exists()
        if there:
            _refuse_foreign(place, target)
        above = place if there else _existing(place.parent)
    with only_one(place) if there else nullcontext():
        with _refusing(target):
            if there:
                _complete(place)
                for old in place.glob(f"{_STAGE}*"):
                    shutil.rmtree(old, ignore_errors=True)
            # Inside, or in the nearest folder that exists: on the file system of the target, so that renames will do.
            stage = Path(tempfile.mkdtemp(dir=above, prefix=_STAGE if there else f".{place.name}."))
        try:
            mask = os.umask(0)
            os.umask(mask)
            stage.chmod(0o777 & ~mask)
            yield stage
            with _refusing(target):
                if there:
                    _refuse_obstacles(place, stage)
                    os.replace(stage, place / COMMIT)
                    try:
                        _complete(place)
                    except KeyboardInterrupt:
                        _complete(place)
                        raise
                else:
                    _appear(stage, place, target)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def _refusing(target: str | os.PathLike[str]) -> Iterator[None]:
    """What the system refuses, as one line."""
    try:
        yield
    except OSError as error:
        raise FxsimError(f"{target}: cannot write ({error.strerror or error})") from None


def written(folder: Path) -> dict[str, str]:
    """SHA-256 of the files in a folder, by path: what its manifest lists as ``written``."""
    return {path.relative_to(folder).as_posix(): _hash(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def complete(folder: Path) -> None:
    """Finish an export that was killed while its files went to their places; readers of a design call it first."""
    if (folder / COMMIT).is_dir():
        with only_one(folder), _refusing(folder):
            _complete(folder)


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _refuse_foreign(place: Path, name: str | os.PathLike[str]) -> None:
    if not place.is_dir():
        raise FxsimError(f"{name}: is not a folder")
    files = [path.name for path in place.iterdir() if path.name != COMMIT and not path.name.startswith(_STAGE)]
    if files and not (place / COMMIT / MANIFEST).is_file() and not _is_export(place):
        raise FxsimError(f"{name}: is neither empty nor an earlier export, so it is left alone")


def _is_export(folder: Path) -> bool:
    try:
        return "fxsim" in read_json(folder / MANIFEST)
    except FxsimError:
        return False


def _appear(stage: Path, place: Path, name: str | os.PathLike[str]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        # Made by somebody else meanwhile. A rename takes the place of an empty folder, but of nothing else.
        _refuse_foreign(place, name)
    os.replace(stage, place)


def _refuse_obstacles(place: Path, stage: Path) -> None:
    """Nothing is written through a link, nor in the place of a folder; what cannot be moved later is refused now."""
    for path in sorted(stage.rglob("*")):
        here = place / path.relative_to(stage)
        if path.is_file() and here.is_dir() and not here.is_symlink():
            raise FxsimError(f"{here}: must be a file, not a folder")
        if path.is_dir() and os.path.lexists(here):
            if here.is_symlink() or not here.is_dir():
                raise FxsimError(f"{here}: must be a folder, not a {'link' if here.is_symlink() else 'file'}")
            if not os.access(here, os.W_OK | os.X_OK):
                raise FxsimError(f"{here}: cannot write (Permission denied)")


def _complete(place: Path) -> None:
    """Move what is in ``COMMIT`` to its place. May be interrupted anywhere, and begun again."""
    commit = place / COMMIT
    if not (commit / MANIFEST).is_file():
        # Nothing, or what is left behind once the manifest has moved.
        shutil.rmtree(commit, ignore_errors=True)
        return
    old = _listed(place / MANIFEST)
    for name, content in written(commit).items():
        if name != MANIFEST:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            _set_aside(place, name, old, content)
            os.replace(commit / name, place / name)
    new = _listed(commit / MANIFEST) or {}
    for name, content in (old or {}).items():
        if name not in new and _inside(place, name) and _unchanged(place / name, name, content):
            (place / name).unlink()
            with suppress(OSError):  # not empty
                (place / name).parent.rmdir()
    for pattern, key in _FOUND.items():
        for path in place.glob(pattern):
            with suppress(FxsimError):  # another's
                if key in read_json(path):
                    path.unlink()
    os.replace(commit / MANIFEST, place / MANIFEST)
    shutil.rmtree(commit, ignore_errors=True)


def _listed(manifest: Path) -> dict[str, str] | None:
    """Paths and hashes of a design's files; None for one of before there was such a list."""
    try:
        facts = read_json(manifest)
    except FxsimError:
        return {}
    found = facts.get("written")
    return {str(name): str(content) for name, content in found.items()} if isinstance(found, dict) else None


def _set_aside(place: Path, name: str, old: dict[str, str] | None, new: str) -> None:
    """Keep a file of the user's beside the new one that gets its name."""
    path = place / name
    if not os.path.lexists(path) or old is None or _unchanged(path, name, old.get(name)):
        return
    if path.is_file() and not path.is_symlink() and _hash(path) == new:
        return
    number, beside = 1, path.with_name(f"{path.name}.orig")
    while os.path.lexists(beside):
        number += 1
        beside = path.with_name(f"{path.name}.orig{number}")
    os.replace(path, beside)
    kept = beside.relative_to(place).as_posix()
    warnings.warn(f"{name} was changed after fxsim wrote it: kept as {kept}", stacklevel=2)


def _unchanged(path: Path, name: str, content: str | None) -> bool:
    """Whether a file is one that fxsim has written and nobody has changed since."""
    if content is None or path.is_symlink() or not path.is_file():
        return False
    return name in CHANGING or _hash(path) == content


def _inside(place: Path, name: str) -> bool:
    """Whether a path of a list, which anyone may have written, stays in the folder, without links."""
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts:
        return False
    return not any((place / Path(*parts[:count])).is_symlink() for count in range(1, len(parts)))


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
