# SPDX-License-Identifier: Apache-2.0
"""The process that reads HDF5 files: what it gives, and that nothing it may do reaches the parent."""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import h5py
import numpy as np
import pytest
from test_importers import SMALL, SMALL_WEIGHTS, write_h5

from fxsim.errors import ModelError
from fxsim.importers import hdf5, hdf5_child, read_model
from fxsim.importers.hdf5 import Dataset, Group, open_tree, text, text_list

Make = Callable[[h5py.File], object]


def written(make: Make) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the test's own
    with h5py.File(file, "w") as h5:
        make(h5)
    file.flush()
    return file


def refused(source: IO[bytes], why: str) -> None:
    with pytest.raises(ModelError) as caught, open_tree(source):
        pass
    assert str(caught.value) == f"the file is damaged or cannot be read: {why}"


def test_tree() -> None:
    values = {
        "half": np.array([0.5, 2], np.float16),
        "big": np.arange(6, dtype=">f4").reshape(2, 3) / 7,
        "scalar": np.float64(3),
        "none": np.zeros((0, 3), np.float32),
        "number": np.arange(3),
    }

    def make(h5: h5py.File) -> None:
        h5.attrs["model_config"] = "é"
        h5.attrs["keras_version"] = np.bytes_(b"2")
        h5.attrs["training_config"] = "left out"
        h5.attrs["name"] = 3
        for number, part in enumerate((["a", "b"], [b"c"])):
            h5.attrs[f"layer_names{number}"] = part
        for name, value in values.items():
            h5.create_dataset(f"layers/{name}", data=value)
        h5["layers/soft"] = h5py.SoftLink("/layers/half")
        h5["layers/type"] = np.dtype("f4")
        h5.create_dataset("optimizer_weights/x", data=[1.0])

    with written(make) as source, open_tree(source) as tree:
        assert (text(tree, "model_config"), text(tree, "keras_version")) == ("é", "2")
        assert text_list(tree, "layer_names") == ["a", "b", "c"] and text_list(tree, "weight_names") is None
        assert "training_config" not in tree.texts
        with pytest.raises(ModelError, match=r"^attribute 'name' must be text$"):
            text(tree, "name")
        # With the names of layers beside it, a group called like an optimizer's is a layer.
        assert [*tree] == ["layers", "optimizer_weights"]
        layers = tree.child("layers")
        assert isinstance(layers, Group)
        for name, value in values.items():
            found = layers.walk(name)
            assert isinstance(found, Dataset)
            assert (found.shape, found.type) == (value.shape, str(value.dtype))
            if name != "number":
                got = found.read()
                assert got.dtype == np.float64 and np.array_equal(got, value)
        assert layers.child("type") is None and layers.child("absent") is None and layers.walk("half/x") is None
        with pytest.raises(ModelError, match="'soft' is a link to another place"):
            layers.child("soft")


def test_state_of_optimizers_is_left_out() -> None:
    for name in ("optimizer", "optimizer_weights"):
        with written(lambda h5, name=name: h5.create_dataset(f"{name}/x", data=[1.0])) as source:
            with open_tree(source) as tree:
                assert [*tree] == []


def test_more_values_than_allowed_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "MAX_VALUES", 10)

    def make(h5: h5py.File) -> None:
        h5["a"], h5["b"], h5["c"] = np.zeros(8), np.zeros(8), np.zeros(2)
        h5.create_dataset("d", (1 << 40, 1 << 20), "f4", chunks=(1024, 1024))

    with written(make) as source, open_tree(source) as tree:
        found = {name: tree.child(name) for name in tree}
        assert [value.read().size for name, value in found.items() if name in "ac"] == [8, 2]
        for name in "bd":
            with pytest.raises(ModelError, match=r"^the weights file has more than 10 numbers$"):
                found[name].read()


def test_groups_without_end() -> None:
    def deep(h5: h5py.File) -> None:
        h5.require_group("/".join("a" * 80))

    with written(deep) as source, open_tree(source) as tree:
        with pytest.raises(ModelError, match="groups are nested too deep"):
            tree.walk("/".join("a" * 36))

    def loops(h5: h5py.File) -> None:
        for name in "abc":
            h5[name] = h5["/"]

    with written(loops) as source:
        refused(source, "ValueError: it has more than 65536 groups and datasets")


def test_a_heap_that_would_loop() -> None:
    with written(lambda h5: h5.attrs.create("model_config", "x" * 100)) as source:
        source.seek(0)
        data = source.read()
    at = data.index(b"GCOL\x01") + 16
    for size in (0, 8, 1 << 40):
        bad = data[: at + 8] + size.to_bytes(8, "little") + data[at + 16 :]
        with tempfile.TemporaryFile() as source:
            source.write(bad)
            source.flush()
            refused(source, "ValueError: a heap of texts in it does not add up")


# --- A child that does what a damaged file may make it do

DIES = {
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": "the HDF5 library ended with SIGSEGV",
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": "the HDF5 library ended with SIGKILL",
    "import os; os.abort()": "the HDF5 library ended with SIGABRT",
    "raise SystemExit(7)": "the HDF5 library ended with status 7",
    "raise RuntimeError('a traceback')": "the HDF5 library ended with status 1",
    "import time; time.sleep(60)": "reading it takes longer than 2 s",
    "pass": "it was not read whole",
    "import sys; sys.stdout.buffer.write(b'\\xff' * 100)": "it was not read whole",
    "import sys; sys.stdout.buffer.write(b'\\2' + bytes(7) + b'[]')": "it was not read whole",
    "import sys; sys.stdout.buffer.write(b'\\2' + bytes(7) + b'{}')": "it was not read whole",
    "import sys; sys.stdout.buffer.write(b'\\1' + bytes(7) + b'{}')": "it was not read whole",
}


@pytest.mark.parametrize(("code", "why"), DIES.items(), ids=range(len(DIES)))
def test_a_child_that_dies(code: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "CLOCK", 2 if "sleep" in code else 60)
    monkeypatch.setattr(hdf5, "_CHILD", tmp_path / "child.py")
    (tmp_path / "child.py").write_text(code)
    path = write_h5(tmp_path / "m.h5", SMALL, **SMALL_WEIGHTS)
    with pytest.raises(ModelError) as caught:
        read_model(path)
    assert str(caught.value) == f"{str(path)!r}: the file is damaged or cannot be read: {why}"


@pytest.mark.skipif(sys.platform != "linux", reason="limits are the system's; here they are known to hold")
@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("while True: pass", "reading it takes longer than 1 s"),
        ("bytearray(3 << 30)", "MemoryError"),
        ("out.write(bytes(1 << 20)); out.flush()", "OSError: [Errno 27] File too large"),
    ],
)
def test_limits_hold(code: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The true child, with a reading function that does not end, or asks for too much."""
    monkeypatch.setattr(hdf5, "SECONDS", 1 if "while" in code else 20)
    monkeypatch.setattr(hdf5, "_MAX_TREE", 1000)
    monkeypatch.setattr(hdf5, "MAX_VALUES", 1000)
    child = Path(hdf5_child.__file__).read_text()
    head = '    """Write the tree of an HDF5 file and its values, `most` in all."""\n'
    assert child.count(head) == 1
    (tmp_path / "child.py").write_text(child.replace(head, f"{head}    {code}\n"))
    monkeypatch.setattr(hdf5, "_CHILD", tmp_path / "child.py")
    with written(lambda h5: h5.create_group("layers")) as source:
        start = time.monotonic()
        refused(source, why)
        assert time.monotonic() - start < 30


def test_without_an_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_h5(tmp_path / "m.h5", SMALL, **SMALL_WEIGHTS)
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(ModelError, match="HDF5 files are read by another Python process"):
        read_model(path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    with pytest.raises(ModelError, match=r"FileNotFoundError"):
        read_model(path)


def test_the_child_uses_the_parents_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """h5py may be anywhere on the parent's path; what stands in the current folder is not imported."""
    (tmp_path / "h5py.py").write_text("raise SystemExit('the wrong one')")
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with written(lambda h5: h5.create_group("layers")) as source, open_tree(source) as tree:
        assert [*tree] == ["layers"]
    monkeypatch.setattr(sys, "path", [str(tmp_path / "empty")])
    with written(lambda h5: h5.create_group("layers")) as source:
        refused(source, "ModuleNotFoundError: No module named 'h5py'")


def test_values_that_the_child_did_not_write() -> None:
    node = {"texts": {}, "items": {"a": {"shape": [4], "type": "float32", "at": 0}}}
    group = hdf5._group(json.loads(json.dumps(node)), io.BytesIO(bytes(24)), 0)
    found = group.child("a")
    assert isinstance(found, Dataset)
    with pytest.raises(ModelError, match="it was not read whole"):
        found.read()
