# SPDX-License-Identifier: Apache-2.0
"""Compiled kernels on disk: kept, used again, and never trusted when they are not whole."""

import numpy as np
import pytest

from fxsim.simulator import jit

TEXT = """define void @run(ptr %x, i64 %n) {{
  %v = load i64, ptr %x
  %w = add i64 %v, %n
  %s = mul i64 %w, {factor}
  store i64 %s, ptr %x
  ret void
}}"""


def run(factor: int) -> int:
    compiled = jit.Compiled(TEXT.format(factor=factor), pointers=1, integers=1)
    x = np.array([4], np.int64)
    compiled.call(x.ctypes.data, 3)
    return int(x[0])


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("FXSIM_CACHE_DIR", str(tmp_path / "kernels"))
    jit.host()


def test_a_kernel_is_kept_and_used_again(monkeypatch):
    assert run(5) == 35
    (kept,) = jit.folder().iterdir()

    def refuse(*args):
        raise AssertionError("compiled again")

    monkeypatch.setattr(jit.llvm, "create_pass_builder", refuse)
    assert run(5) == 35
    assert list(jit.folder().iterdir()) == [kept]
    with pytest.raises(AssertionError, match="compiled again"):
        run(6)


@pytest.mark.parametrize("damage", [lambda kept: kept[:100], lambda kept: b"", lambda kept: kept[:-1] + b"\0"])
def test_what_is_not_whole_is_compiled_again(damage):
    assert run(5) == 35
    (kept,) = jit.folder().iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    assert run(5) == 35
    assert len(kept.read_bytes()) == len(whole)


def test_a_folder_that_cannot_be_written_does_no_harm(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FXSIM_CACHE_DIR", str(tmp_path / "file" / "kernels"))
    assert run(5) == 35


def test_the_oldest_kernels_go(monkeypatch):
    monkeypatch.setattr(jit, "_MOST", 3)
    assert [run(k) for k in range(6)] == [7 * k for k in range(6)]
    assert len(list(jit.folder().iterdir())) == 3


def test_the_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("FXSIM_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert jit.folder() == tmp_path / "fxsim"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert jit.folder() == tmp_path / "home" / ".cache" / "fxsim"
