# SPDX-License-Identifier: Apache-2.0
"""How Verilator's FST writer is built, also where liblz4 or zlib, which it wants, are not there to compile against."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

__all__ = ["prepare", "verilate"]

#: Headers that stand in for those of the libraries: they write the formats without compressing.
_HEADERS = Path(__file__).parent / "fst_headers"
#: What the makefile links. Of an archive without members nothing is taken.
_LIBRARIES, _EMPTY = ("liblz4.a", "libz.a"), b"!<arch>\n"


def verilate() -> list[str]:
    """Options of Verilator."""
    return ["--trace-fst"] if _libraries() else ["--trace-fst", "-LDFLAGS", "-L."]


def prepare(folder: Path) -> None:
    """Put what stands in for the libraries into a build folder, where they are needed."""
    if not _libraries():
        for path in sorted(_HEADERS.glob("*.h")):
            shutil.copy(path, folder)
        for name in _LIBRARIES:
            (folder / name).write_bytes(_EMPTY)


@cache
def _libraries() -> bool:
    """Whether a C++ program with both libraries compiles."""
    text = "#include <lz4.h>\n#include <zlib.h>\nint main() { return LZ4_compressBound(1) + compressBound(1) == 0; }\n"
    command = ["c++", "-x", "c++", "-", "-o", "/dev/null", "-llz4", "-lz"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False).returncode == 0
