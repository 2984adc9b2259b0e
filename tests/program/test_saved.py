# SPDX-License-Identifier: Apache-2.0
"""Networks that Keras 2 and Keras 3 saved, in every container: read alike, and as those frameworks compute them.

The files of ``tests/saved`` were written by ``make.py`` there; ``pytest -m peer`` writes them anew and compares those.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from saved.make import CASES, HERE, KERAS2, STEPS

import fxsim
from fxsim.importers import hdf5, hdf5_child, read_model
from fxsim.importers.source import Source

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(HERE.glob("*.zip"))
#: What a model's files are read from: the model's, and its weights'.
CONTAINERS = (
    ("m.keras", None), ("m.h5", None), ("m.json", "m.weights.h5"), ("m.json", "old.h5"), ("m.json", "m.h5"),
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read HDF5 files here: a process for each of a hundred would take longer than all the rest."""

    def run(source: IO[bytes], out: IO[bytes]) -> None:
        source.seek(0)
        hdf5_child.read(source, hdf5.MAX_VALUES, out)

    monkeypatch.setattr(hdf5, "_run", run)


def sources(file: Path, folder: Path) -> Iterator[tuple[str, Source]]:
    """The network as each container has it."""
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
    steps = STEPS if file.stem.endswith("open") else None
    for model, weights in CONTAINERS:
        if all((folder / name).exists() for name in (model, weights or model)):
            path = None if weights is None else folder / weights
            yield f"{model} {weights or ''}", read_model(folder / model, path, steps)


def holds(file: Path, folder: Path) -> int:
    """Hold all containers of a case against each other, and against the framework's outputs; their number."""
    found = dict(sources(file, folder))
    first = found["m.keras "]
    for name, source in found.items():
        assert source == first, name
    if (folder / "x.npz").exists():
        x, wants = dict(np.load(folder / "x.npz")), list(np.load(folder / "y.npz").values())
    else:
        x, wants = np.load(folder / "x.npy"), [np.load(folder / "y.npy")]
    got = fxsim.predict_float(first, x)
    for one, want in zip(got.values() if isinstance(got, dict) else [got], wants, strict=True):
        # The framework computes with float32, a few hundred operations of which follow each other, on values near 1.
        assert np.abs(one - want.reshape(one.shape)).max() < 300 * np.finfo(np.float32).eps * max(1, np.abs(want).max())
        assert np.abs(want).max() > 0.05
    return len(found)


def test_all_cases_are_there() -> None:
    names = {f"keras3-{case}" for case in CASES} | {f"keras2-{case}" for case in CASES | KERAS2}
    assert {file.stem for file in FILES} == names
    assert max(file.stat().st_size for file in FILES) < 40_000


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_saved(file: Path, tmp_path: Path) -> None:
    assert holds(file, tmp_path) == (5 if file.stem.startswith("keras2") else 4)


def test_a_weight_that_is_not_the_framework_s_is_seen(tmp_path: Path) -> None:
    import h5py

    file = HERE / "keras3-nested.zip"
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path)
    with h5py.File(tmp_path / "m.h5", "r+") as h5:
        names = list(h5["model_weights/body"].attrs["weight_names"])
        kernel = h5["model_weights/body"][next(name for name in names if "backward" in name and "kernel" in name)]
        kernel[0, 0] += 0.001
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        for path in tmp_path.iterdir():
            if path.name != "other.zip":
                archive.write(path, path.name)
    (tmp_path / "there").mkdir()
    with pytest.raises(AssertionError, match=r"m\.h5"):
        holds(tmp_path / "other.zip", tmp_path / "there")


@pytest.mark.peer
@pytest.mark.parametrize(("name", "package"), [("keras3", "keras"), ("keras2", "tf_keras")])
def test_saved_anew(name: str, package: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    if importlib.util.find_spec("torch") is not None:
        env.setdefault("KERAS_BACKEND", "torch")
    command = [sys.executable, str(HERE / "make.py"), name, str(tmp_path), "--check"]
    subprocess.run(command, env=env, check=True, cwd=tmp_path)
    files = sorted(tmp_path.glob("*.zip"))
    assert len(files) == len(CASES | (KERAS2 if name == "keras2" else {}))
    for file in files:
        folder = tmp_path / file.stem
        folder.mkdir()
        assert holds(file, folder) >= 4
        shutil.rmtree(folder)
