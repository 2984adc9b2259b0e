# SPDX-License-Identifier: Apache-2.0
"""Loaders of public data sets, on small files of the same structure; the toy jets."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import public_data
import pytest
from toy_jets import jets

from fxsim.errors import FxsimError

PARTICLE = [
    "j1_px", "j1_py", "j1_pz", "j1_e", "j1_erel", "j1_pt", "j1_ptrel", "j1_eta", "j1_etarel", "j1_etarot", "j1_phi",
    "j1_phirel", "j1_phirot", "j1_deltaR", "j1_costheta", "j1_costhetarel", "j1_pdgid",
]  # fmt: skip
JET = ["j_ptfrac", "j_pt", "j_mass", "j_g", "j_q", "j_w", "j_z", "j_t", "j_undef"]


def jet_file(path: Path, count: int = 7, constituents: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    particles = rng.normal(size=(count, constituents, len(PARTICLE)))
    pt = PARTICLE.index("j1_pt")
    particles[:, :, pt] = np.abs(particles[:, :, pt]) + 0.1
    particles[:, -1] = 0  # not there
    table = rng.normal(size=(count, len(JET)))
    label = rng.integers(0, 5, count)
    table[:, 3:8] = np.eye(5)[label]
    with h5py.File(path, "w") as file:
        file["jets"], file["jetConstituentList"] = table, particles
        file["jetFeatureNames"] = np.array([name.encode() for name in JET])
        file["particleFeatureNames"] = np.array([name.encode() for name in PARTICLE])
    return particles, label


def test_jets_come_hardest_first(tmp_path):
    one, labels = jet_file(tmp_path / "a.h5")
    two, others = jet_file(tmp_path / "b.h5", seed=1)
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    x, y = public_data.lhc_jets(paths, ("j1_ptrel", "j1_etarel"), steps=3)
    assert x.shape == (14, 3, 2) and np.array_equal(y, [*labels, *others])
    for jet, particles in zip(x, [*one, *two], strict=True):
        order = sorted(range(5), key=lambda k: -particles[k, PARTICLE.index("j1_pt")])[:3]
        assert np.array_equal(jet, particles[order][:, [6, 8]])
    # All five: the one that is not there comes last, as zeros.
    assert not public_data.lhc_jets(paths, ("j1_etarel",), steps=5)[0][:, 4].any()
    assert len(public_data.lhc_jets(paths, steps=3, most=9)[0]) == 9
    x, y = public_data.top_or_light(np.arange(5)[:, None, None] * np.ones((5, 1, 1)), np.arange(5))
    assert x.ravel().tolist() == [0, 1, 4] and y.tolist() == [0, 0, 1]


def test_files_that_are_no_jets(tmp_path):
    jet_file(tmp_path / "a.h5")
    with pytest.raises(FxsimError, match=r"has no column 'j1_mass'; it has j1_px"):
        public_data.lhc_jets([tmp_path / "a.h5"], ("j1_mass",), steps=3)
    with pytest.raises(FxsimError, match="5 constituents a jet, fewer than 20"):
        public_data.lhc_jets([tmp_path / "a.h5"])
    (tmp_path / "b.h5").write_bytes(b"nothing")
    with pytest.raises(FxsimError, match="is no file of LHC jets"):
        public_data.lhc_jets([tmp_path / "b.h5"])
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["jets"][0, 3:8] = 0
    with pytest.raises(FxsimError, match="must have one class"):
        public_data.lhc_jets([tmp_path / "a.h5"], steps=3)
    with pytest.raises(FxsimError, match="no file"):
        public_data.lhc_jets([])


def line(word: str, *strokes: list[list[int]]) -> str:
    return json.dumps({"key_id": "1", "word": word, "recognized": True, "drawing": list(strokes)})


def test_drawings_as_steps(tmp_path):
    raw = line("bee", [[0, 3, 3], [0, 4, 9], [0, 10, 20]], [[5], [1], [30]])  # with times
    plain = line("ant", [[1, 2], [1, 1]], [[2, 2], [5, 6]])
    (tmp_path / "x.ndjson").write_text(f"{raw}\n{plain}\n")
    x, y = public_data.quickdraw([tmp_path / "x.ndjson"], ("ant", "bee"), steps=4)
    assert y.tolist() == [1, 0]
    assert x[0].tolist() == [[3, 4, 0], [0, 5, 1], [2, -8, 1], [0, 0, 0]]
    assert x[1].tolist() == [[1, 0, 1], [0, 4, 0], [0, 1, 1], [0, 0, 0]]
    # Of a long one the first steps; of a long file the first drawings.
    x, _ = public_data.quickdraw([tmp_path / "x.ndjson"], ("ant", "bee"), steps=2, most=1)
    assert x.tolist() == [[[3, 4, 0], [0, 5, 1]]]
    with pytest.raises(FxsimError, match="class 'bee' is not one of ant"):
        public_data.quickdraw([tmp_path / "x.ndjson"], ("ant",))
    for bad in ("{", '{"word": "ant"}', '{"word": "ant", "drawing": [[1]]}', '{"word": "ant", "drawing": []}', "[]"):
        (tmp_path / "x.ndjson").write_text(f"{plain}\n{bad}\n")
        with pytest.raises(FxsimError, match=r"x\.ndjson, line 2: is no drawing"):
            public_data.quickdraw([tmp_path / "x.ndjson"], ("ant",))


def sketches(path: Path, drawings: list[np.ndarray], protocol: int = 2) -> None:
    """A file as sketch-rnn has them: object arrays, pickled."""
    array = np.empty(len(drawings), object)
    array[:] = drawings
    with zipfile.ZipFile(path, "w") as archive:
        for split in ("train", "valid", "test"):
            with archive.open(f"{split}.npy", "w") as file:
                np.lib.format.write_array_header_1_0(
                    file, {"descr": "|O", "fortran_order": False, "shape": array.shape}
                )
                pickle.dump(array, file, protocol)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_drawings_of_sketch_rnn(tmp_path, protocol):
    drawings = [np.array([[3, 4, 0], [0, 5, 1]], np.int16), np.array([[1, 1, 1]], np.int16)]
    sketches(tmp_path / "sketchrnn_ant.npz", drawings, protocol)
    x, y = public_data.quickdraw([tmp_path / "sketchrnn_ant.npz"], ("ant",), steps=3)
    assert y.tolist() == [0, 0]
    assert x.tolist() == [[[3, 4, 0], [0, 5, 1], [0, 0, 0]], [[1, 1, 1], [0, 0, 0], [0, 0, 0]]]
    # numpy's own way of writing them.
    array = np.empty(2, object)
    array[:] = drawings
    np.savez(tmp_path / "ant.npz", train=array, valid=array, test=array)
    assert np.array_equal(public_data.quickdraw([tmp_path / "ant.npz"], ("ant",), steps=3)[0], x)


class Hostile:
    def __reduce__(self):
        return (exec, ("raise SystemExit('run')",))


def test_nothing_in_a_file_is_run(tmp_path):
    sketches(tmp_path / "ant.npz", [Hostile()])
    with pytest.raises(FxsimError, match=r"it asks for (builtins|__builtin__)\.exec"):
        public_data.quickdraw([tmp_path / "ant.npz"], ("ant",))
    for content, message in (([np.zeros((2, 2))], "array of \\(points, 3\\)"), ([1], "array of \\(points, 3\\)")):
        sketches(tmp_path / "ant.npz", content)
        with pytest.raises(FxsimError, match=message):
            public_data.quickdraw([tmp_path / "ant.npz"], ("ant",))
    np.savez(tmp_path / "ant.npz", test=np.zeros(3))
    with pytest.raises(FxsimError, match="holds float64"):
        public_data.quickdraw([tmp_path / "ant.npz"], ("ant",))
    (tmp_path / "ant.npz").write_bytes(b"PK")
    with pytest.raises(FxsimError, match="is no file of sketch-rnn"):
        public_data.quickdraw([tmp_path / "ant.npz"], ("ant",))


def test_toy_jets():
    x, y = jets(400, 3)
    again, _ = jets(400, 3)
    assert x.shape == (400, 20, 6) and np.array_equal(x, again) and not np.array_equal(x, jets(400, 4)[0])
    assert 0.4 < y.mean() < 0.6 and np.isfinite(x).all() and np.abs(x).max() < 16
    pt = x[:, :, 0]
    assert (np.diff(pt, axis=1) <= 0).all() and (pt.sum(axis=1) <= 1.0001).all()
    assert not x[pt == 0].any() and (pt == 0).any()
    # Three prongs share momentum more evenly than one, and lie farther apart.
    spread = (x[:, :, 4] * pt).sum(axis=1)
    assert spread[y == 1].mean() > 1.2 * spread[y == 0].mean()
