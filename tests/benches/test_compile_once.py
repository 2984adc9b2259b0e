# SPDX-License-Identifier: Apache-2.0
"""Objects of Verilator's library are compiled once, and again as soon as anything that makes them has changed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from testbenches import compile_once
from testbenches.verilator import find_verilator

COMPILER = """#!/bin/sh
for word; do source=$word; done
echo "$@" >> calls
test -e broken && exit 3
cat "$source" > x.o
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder in which make works, with a compiler that says how often it was called."""
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "lib.cpp").write_text("library")
    (tmp_path / "include" / "lib.h").write_text("header")
    (tmp_path / "cc").write_text(COMPILER)
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("FXSIM_CACHE_DIR", str(tmp_path / "kept"))
    return tmp_path


def run(place: Path, *options: str, source: str = "include/lib.cpp") -> tuple[int, int]:
    """The exit status, and how often the compiler was called in all."""
    (place / "x.o").unlink(missing_ok=True)
    command = [sys.executable, "-I", "-S", compile_once.__file__, str(place / "cc"), *options, "-c", "-o", "x.o"]
    status = subprocess.run([*command, str(place / source)], cwd=place, check=False).returncode
    calls = (place / "calls").read_text().splitlines()
    if not status:
        assert (place / "x.o").read_text() == (place / source).read_text()
    return status, len(calls)


def test_once(place):
    assert [run(place, "-O1"), run(place, "-O1"), run(place, "-O1", "-Ielsewhere")] == [(0, 1)] * 3


def test_what_makes_another_object(place):
    assert run(place, "-O1") == (0, 1)
    assert run(place, "-O2") == (0, 2)
    (place / "include" / "lib.h").write_text("another header")
    assert run(place, "-O1") == (0, 3)
    (place / "include" / "lib.cpp").write_text("LIBRARY")
    assert run(place, "-O1") == (0, 4)
    (place / "cc").write_text(COMPILER + "# another compiler\n")
    assert run(place, "-O1") == (0, 5)
    assert run(place, "-O1") == (0, 5)


def test_files_of_the_design_are_always_compiled(place):
    (place / "Vdut.cpp").write_text("design")
    assert [run(place, source="Vdut.cpp") for _ in range(2)] == [(0, 1), (0, 2)]


def test_nothing_is_kept_of_a_failure(place):
    (place / "broken").touch()
    assert run(place) == (3, 1)
    assert not (place / "kept").exists()
    (place / "broken").unlink()
    assert run(place) == (0, 2)


def test_a_damaged_object_is_compiled_again(place):
    run(place)
    (kept,) = (place / "kept").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])
    assert run(place) == (0, 2)
    assert run(place) == (0, 2)


def test_a_place_that_cannot_be_written(place):
    (place / "kept").write_text("a file")
    assert [run(place) for _ in range(2)] == [(0, 1), (0, 2)]


@pytest.mark.parametrize("base", ["", "relative"])
def test_no_home(place, monkeypatch, base):
    monkeypatch.delenv("FXSIM_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", base)
    monkeypatch.setenv("HOME", "nowhere")
    assert [run(place) for _ in range(2)] == [(0, 1), (0, 2)]
    assert {path.name for path in place.iterdir()} == {"include", "cc", "calls", "x.o"}


def test_the_oldest_go(place):
    for k in range(compile_once._MOST + 3):
        path = place / "kept" / f"verilator-{k}.o"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
        os.utime(path, (k, k))
    run(place)
    left = {path.name for path in (place / "kept").iterdir()}
    assert len(left) == compile_once._MOST
    assert "verilator-3.o" not in left and "verilator-4.o" in left


def test_a_cache_of_the_users_own_stays(monkeypatch):
    monkeypatch.setenv("OBJCACHE", "ccache")
    assert find_verilator().environment()["OBJCACHE"] == "ccache"
    monkeypatch.delenv("OBJCACHE")
    words = shlex.split(find_verilator().environment()["OBJCACHE"])
    assert Path(words[-1]).samefile(compile_once.__file__)
