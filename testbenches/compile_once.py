# SPDX-License-Identifier: Apache-2.0
"""A compiler that keeps the objects of Verilator's own library, which are the same for every design.

make calls it before the compiler's own name (``OBJCACHE`` of Verilator's makefiles), as ``ccache`` would be. The
library takes longer to compile than a small design. Objects stand where fxsim keeps compiled kernels; where that folder
cannot be written they are compiled each time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

#: Objects kept; the ones that were not used for longest go first.
_MOST = 48


def folder() -> Path | None:
    """Where objects are kept: $FXSIM_CACHE_DIR, or fxsim in the user's cache folder; None if there is none."""
    if own := os.environ.get("FXSIM_CACHE_DIR"):
        return Path(own).absolute()
    # A relative path is not a user's folder, by the XDG specification; and "~" stays what it is where nobody's home is
    # known.
    for base in (os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")):
        if os.path.isabs(base):
            return Path(base, "fxsim")
    return None


def compile_once(command: list[str]) -> int:
    """Run a compiler, or give what the same command has given before; the exit status."""
    source, place = Path(command[-1]), folder()
    if place is None or not {"-o", "-c"} <= set(command) or source.parent.name != "include":
        return subprocess.call(command)
    target = Path(command[command.index("-o") + 1])
    kept = place / f"verilator-{_digest(command, source, target)}.o"
    with suppress(OSError):
        code = kept.read_bytes()
        if hashlib.sha256(code[32:]).digest() == code[:32]:
            target.write_bytes(code[32:])
            os.utime(kept)
            return 0
    status = subprocess.call(command)
    # A folder that cannot be written only costs the next design its time.
    with suppress(OSError):
        if not status:
            _keep(kept, target.read_bytes())
    return status


def _digest(command: list[str], source: Path, target: Path) -> str:
    """Of all that makes an object: the options, the compiler, and each file of the library."""
    # Where headers stand says nothing of them: those of the library are looked at below.
    options = [word for word in command[1:-1] if word != str(target) and not word.startswith("-I")]
    compiler = Path(shutil.which(command[0]) or command[0]).resolve()
    parts = [*options, source.name]
    for path in (compiler, *sorted(source.parent.resolve().glob("*.[ch]*"))):
        found = path.stat()
        parts += [str(path), str(found.st_size), str(found.st_mtime_ns)]
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()


def _keep(path: Path, code: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        try:
            file.write(hashlib.sha256(code).digest() + code)
            file.flush()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
    for old in sorted(path.parent.glob("verilator-*.o"), key=lambda one: one.stat().st_mtime)[:-_MOST]:
        old.unlink()


if __name__ == "__main__":
    sys.exit(compile_once(sys.argv[1:]))
