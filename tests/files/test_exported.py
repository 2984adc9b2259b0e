# SPDX-License-Identifier: Apache-2.0
"""Export over an export: fxsim's own files change, the user's stay, and at any moment one of the designs is there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from networks import network

import fxsim
from fxsim.errors import FxsimError
from fxsim.files import exported as module
from fxsim.files.exported import COMMIT, complete, exported, written

ROOT = Path(__file__).resolve().parents[2]

OLD = {"a.v": "old", "sim/a_tb.v": "old", "vivado/synth.tcl": "old", "report.html": "old"}
NEW = {"b.v": "new", "sim/b_tb.v": "new", "Makefile": "new", "report.html": "new"}
#: What a user has in the folder of a design.
USERS = {"vivado/build/routed.dcp": "hours", "notes.txt": "mine", "sim/wave.vcd": "mine", "b.v.mine": "mine"}


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def design(target: Path | str, files: dict[str, str]) -> None:
    """What an export does, without a design."""
    with exported(target) as stage:
        fill(stage, files)
        facts = {"fxsim": "0", "written": written(stage)}
        (stage / "manifest.json").write_text(json.dumps(facts))


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(errors="replace")
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


def test_a_new_folder_appears_whole(tmp_path):
    place = tmp_path / "deep" / "ip"

    def fail() -> None:
        with exported(place) as stage:
            fill(stage, OLD)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []
    design(place, OLD)
    assert content(place) == OLD
    assert [path.name for path in place.parent.iterdir()] == ["ip"]


def test_only_its_own_files_are_replaced(tmp_path):
    design(tmp_path, OLD)
    fill(tmp_path, USERS)
    design(tmp_path, NEW)
    assert content(tmp_path) == NEW | USERS
    design(tmp_path, {"c.v": "new"})
    assert content(tmp_path) == {"c.v": "new"} | USERS
    for name in USERS:
        (tmp_path / name).unlink()
    design(tmp_path, {"c.v": "new"})
    assert not (tmp_path / "Makefile").exists()


def test_folders_that_are_empty_then_go(tmp_path):
    design(tmp_path, OLD)
    design(tmp_path, {"c.v": "new"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.v", "manifest.json"]


def test_what_the_user_changed_is_kept(tmp_path):
    design(tmp_path, OLD)
    fill(tmp_path, {"vivado/synth.tcl": "my strategy", "a.v": "my patch", "report.html": "checked"})
    with pytest.warns(
        UserWarning, match=r"^vivado/synth\.tcl was changed after fxsim wrote it: kept as vivado/synth\.tcl\.orig$"
    ):
        design(tmp_path, NEW | {"vivado/synth.tcl": "new"})
    # a.v is not of the new design: it stays where it was. The page is changed by fxsim itself.
    kept = {"vivado/synth.tcl": "new", "vivado/synth.tcl.orig": "my strategy", "a.v": "my patch"}
    assert content(tmp_path) == NEW | kept
    fill(tmp_path, {"vivado/synth.tcl": "again"})
    with pytest.warns(UserWarning, match="orig2$"):
        design(tmp_path, NEW | {"vivado/synth.tcl": "newer"})
    assert content(tmp_path)["vivado/synth.tcl.orig2"] == "again"


def test_a_file_of_the_users_that_has_the_name_of_a_new_one(tmp_path):
    design(tmp_path, OLD)
    fill(tmp_path, {"Makefile": "mine", "sim/b_tb.v": "new"})
    with pytest.warns(UserWarning, match=r"^Makefile was changed after fxsim wrote it: kept as Makefile\.orig$"):
        design(tmp_path, NEW)
    assert content(tmp_path) == NEW | {"Makefile.orig": "mine"}


def test_an_export_of_before_there_was_a_list(tmp_path):
    fill(tmp_path, OLD | USERS | {"manifest.json": '{"fxsim": "0.1.0"}'})
    design(tmp_path, NEW)
    assert content(tmp_path) == OLD | USERS | NEW


def test_results_of_the_old_design_go(tmp_path):
    design(tmp_path, OLD)
    mine = {"synth_mine.json": '{"a": 1}', "synth_notes.json": "text"}
    fill(tmp_path, {"synth_xc7.json": '{"cells": {}}', "route_ecp5.json": '{"fmax_mhz": 1}', **mine})
    design(tmp_path, NEW)
    assert content(tmp_path) == NEW | mine


@pytest.mark.parametrize(
    "files",
    [
        {"thesis.tex": ""},
        *({"manifest.json": text} for text in ("", "[]", "{}", "\0", "[" * 100_000)),
        {".git/HEAD": ""},
    ],
)
def test_a_strangers_folder_is_refused(tmp_path, files):
    fill(tmp_path / "ip", files)
    with pytest.raises(FxsimError, match=r"ip: is neither empty nor an earlier export, so it is left alone$"):
        design(tmp_path / "ip", NEW)
    assert {
        path.relative_to(tmp_path / "ip").as_posix() for path in (tmp_path / "ip").rglob("*") if path.is_file()
    } == set(files)


def test_what_appears_meanwhile_is_not_replaced(tmp_path):
    def build() -> None:
        with exported(tmp_path / "ip"):
            fill(tmp_path, {"ip/thesis.tex": ""})

    with pytest.raises(FxsimError, match="is neither empty nor an earlier export"):
        build()
    assert [path.name for path in tmp_path.iterdir()] == ["ip"]


def test_two_exports_at_a_time(tmp_path):
    design(tmp_path, OLD)
    with pytest.raises(FxsimError, match=r"another process is writing there$"), exported(tmp_path):
        design(tmp_path, NEW)
    assert content(tmp_path) == OLD


def test_in_the_folder_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for files in (OLD, NEW):
        design(".", files)
        # The shell still stands in the folder that has the files.
        assert content(Path(os.getcwd())) == files == content(Path())
        assert os.stat(".").st_ino == os.stat(tmp_path).st_ino


# --- Links


def test_nothing_is_written_through_a_link(tmp_path):
    place, outside = tmp_path / "ip", tmp_path / "outside"
    design(place, OLD)
    shutil.move(place / "sim", outside)
    (place / "sim").symlink_to(outside)
    with pytest.raises(FxsimError, match=r"ip/sim: must be a folder, not a link$"):
        design(place, NEW)
    assert content(outside) == {"a_tb.v": "old"} and content(place) == content(place) | {"a.v": "old"}


def test_nothing_is_removed_through_a_link(tmp_path):
    place, outside = tmp_path / "ip", tmp_path / "outside"
    design(place, OLD)
    shutil.move(place / "vivado", outside)
    (place / "vivado").symlink_to(outside)
    design(place, NEW)
    assert content(outside) == {"synth.tcl": "old"} and (place / "vivado").is_symlink()


def test_a_link_in_the_place_of_a_file_is_kept_and_not_followed(tmp_path):
    place = tmp_path / "ip"
    design(place, OLD)
    fill(tmp_path, {"elsewhere": "old"})
    (place / "report.html").unlink()
    (place / "report.html").symlink_to(tmp_path / "elsewhere")
    (place / "Makefile").symlink_to("nowhere")
    with pytest.warns(UserWarning, match="kept as"):
        design(place, NEW)
    assert (tmp_path / "elsewhere").read_text() == "old" and not (place / "report.html").is_symlink()
    assert (place / "report.html.orig").is_symlink() and (place / "Makefile.orig").is_symlink()


@pytest.mark.parametrize("name", ["../outside", "/{}/outside", "..", "", ".", "sim/../../outside"])
def test_a_list_reaches_nothing_outside(tmp_path, name):
    """Whoever gives somebody a folder chooses its manifest."""
    place = tmp_path / "ip"
    design(place, OLD)
    fill(tmp_path, {"outside": "old"})
    facts = json.loads((place / "manifest.json").read_text())
    facts["written"][name.format(tmp_path)] = facts["written"]["a.v"]
    (place / "manifest.json").write_text(json.dumps(facts))
    design(place, NEW)
    assert (tmp_path / "outside").read_text() == "old" and content(place) == NEW


@pytest.mark.parametrize(
    ("there", "message"), [("sim", "must be a folder, not a file"), ("Makefile/x", "must be a file, not a folder")]
)
def test_obstacles_are_found_before_anything_moves(tmp_path, there, message):
    place = tmp_path / "ip"
    design(place, {"a.v": "old"})
    fill(place, {there: "mine"})
    with pytest.raises(FxsimError, match=message):
        design(place, NEW)
    assert content(place) == {"a.v": "old", there: "mine"}


# --- Killed at any moment

_KILLED = """
import json, os, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from fxsim.files import exported as module
left, place, files = int(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])

def counted(name, of):
    real = getattr(of, name)
    def call(*arguments, **options):
        global left
        if left == 0:
            os._exit(9)
        left -= 1
        return real(*arguments, **options)
    return call

real, writes = module.os, Path.write_text
module.os = type("Os", (), {{name: staticmethod(getattr(os, name)) for name in ("fspath", "umask", "access")}})
module.os.replace, module.os.path = counted("replace", real), real.path
module.os.W_OK, module.os.X_OK = real.W_OK, real.X_OK
for name in ("unlink", "rmdir", "write_text"):
    setattr(Path, name, counted(name, Path))
module.shutil.rmtree = counted("rmtree", module.shutil)
with module.exported(place) as stage:
    for name, text in files.items():
        (stage / name).parent.mkdir(exist_ok=True)
        (stage / name).write_text(text)
    (stage / "manifest.json").write_text(json.dumps({{"fxsim": "0", "written": module.written(stage)}}))
"""


@pytest.mark.parametrize("there", [True, False])
def test_killed_at_any_moment(tmp_path, there):
    """After each of its steps in turn: the next one who looks finds the old design or the new one, whole."""
    seen = set()
    for steps in range(60):
        place = tmp_path / str(steps)
        if there:
            design(place, OLD)
            fill(place, USERS)
        else:
            place.mkdir()
        code = _KILLED.format(root=str(ROOT))
        command = [sys.executable, "-c", code, str(steps), str(place), json.dumps(NEW)]
        status = subprocess.run(command, check=False).returncode
        assert status in (0, 9)
        committed = (place / COMMIT).is_dir()
        complete(place)
        after = {name: text for name, text in content(place).items() if not name.startswith(module._STAGE)}
        users = USERS if there else {}
        assert after in ((OLD if there else {}) | users, NEW | users), (steps, after)
        seen.add((committed, after == NEW | users))
        listed = json.loads((place / "manifest.json").read_text())["written"] if after != users else {}
        assert set(listed) == set(after) - set(users)
        # And whoever exports next is not hindered by what is left behind.
        design(place, NEW)
        assert content(place) == NEW | users and not (place / COMMIT).exists()
        assert [path.name for path in place.iterdir() if path.name.startswith(".")] == []
        if status == 0:
            break
    else:
        pytest.fail("it never ended")
    assert {(False, False), (True, True)} <= seen


def test_an_interrupt_while_files_move_is_too_late(tmp_path, monkeypatch):
    design(tmp_path, OLD)
    real, calls = os.replace, 0

    def interrupted(*arguments: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(module.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        design(tmp_path, NEW)
    assert content(tmp_path) == NEW and not (tmp_path / COMMIT).exists()


# --- The same by the verbs


def test_export_over_an_export(tmp_path):
    graph = network("gru", seed=1, steps=2, features=2, units=2)
    ip = fxsim.export(graph, tmp_path / "ip", top="one", reuse=2)
    assert ip.manifest["written"] == {k: v for k, v in written(ip.folder).items() if k != "manifest.json"}
    first = (ip.folder / "manifest.json").read_bytes()
    fill(ip.folder, USERS)
    other = fxsim.export(graph, tmp_path / "ip", top="two", family="ecp5", clock_mhz=60)
    found = set(content(ip.folder))
    assert found == {*other.manifest["written"], *USERS}
    assert not any("one" in name for name in found)
    fxsim.export(graph, tmp_path / "ip", top="one", reuse=2)
    assert (ip.folder / "manifest.json").read_bytes() == first


def test_verbs_finish_what_was_killed(tmp_path):
    graph = network("gru", seed=1, steps=2, features=2, units=2)
    ip = fxsim.export(graph, tmp_path / "ip", top="one")
    new = fxsim.export(graph, tmp_path / "new", top="two", reuse=2)
    shutil.copytree(new.folder, ip.folder / COMMIT)
    (ip.folder / COMMIT / "two.v").rename(ip.folder / "two.v")
    with pytest.raises(fxsim.FxsimError, match=r"^inputs hold no sequence$"):
        fxsim.check(ip.folder, inputs=np.zeros((0, 2, 2)))
    assert json.loads((ip.folder / "manifest.json").read_text())["top"] == "two"
    assert set(content(ip.folder)) == set(new.manifest["written"])
