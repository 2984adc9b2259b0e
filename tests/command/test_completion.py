# SPDX-License-Identifier: Apache-2.0
"""Completion in a shell: verbs, options, families and files, as bash and zsh see them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fxsim.command.cli import parser
from fxsim.command.completion import SHELLS, script
from fxsim.errors import FxsimError


def complete(folder: Path, *words: str) -> list[str]:
    """What bash offers for the last of some words."""
    (folder / "fxsim.bash").write_text(script(parser(), "bash"))
    line = " ".join(f"'{word}'" for word in words)
    lines = (
        "source fxsim.bash",
        f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}",
        "_shtab_fxsim fxsim",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    )
    run = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    return sorted(run.stdout.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("fxsim", "pr"), ["predict", "profile"]),
        (("fxsim", "plan", "m.fx", "--mu"), ["--multiplier", "--multipliers"]),
        (("fxsim", "plan", "m.fx", "--multiplier", ""), ["auto", "dsp", "lut"]),
        (("fxsim", "export", "m.fx", "--family", "kin"), ["kintex7", "kintexu", "kintexup"]),
        (("fxsim", "info", "m"), ["model.keras", "more"]),
        (("fxsim", "check", "m"), ["more"]),
        (("fxsim", "completion", "b"), ["bash"]),
        (("fxsim", "info", "m.fx", "--cs"), ["--csv"]),
    ],
)
def test_bash(tmp_path: Path, words: tuple[str, ...], offered: list[str]) -> None:
    (tmp_path / "model.keras").touch()
    (tmp_path / "more").mkdir()
    assert complete(tmp_path, *words) == offered


def test_zsh_reads_its_script(tmp_path: Path) -> None:
    text = script(parser(), "zsh")
    assert text.startswith("#compdef fxsim")
    assert "(--json)--json[" in text or "--json[" in text
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    (tmp_path / "_fxsim").write_text(text)
    subprocess.run(["zsh", "-n", "_fxsim"], cwd=tmp_path, check=True)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_verb_is_in_it(shell: str) -> None:
    text = script(parser(), shell)
    for verb in ("info", "predict", "profile", "scan", "plan", "export", "check", "synth", "demo"):
        assert verb in text


def test_without_shtab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(FxsimError, match=r"^shtab is not installed; completion needs: pip install \"shtab>=1.7\"$"):
        script(parser(), "bash")
