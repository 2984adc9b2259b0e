# SPDX-License-Identifier: Apache-2.0
"""The six networks of arXiv:2207.00559: trained, or of the same architectures with seeded weights.

The trained networks and their inputs are not part of the repository: ``--shared DIR`` names a folder with ``models``,
``data`` and ``golden``. Without it a network has random weights from a fixed seed and random inputs. Cycles, cells and
rates are then near those of the trained one, though not equal, because multiplications by constants of few digits and
proven ranges depend on the weights; accuracy means nothing. Such results never replace a committed baseline.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxsim.importers import read_model
from fxsim.importers.source import GRU, LSTM, Activation, Dense, Function, Source, SourceLayer

HERE = Path(__file__).resolve().parent
BASELINES = HERE / "baselines"
GATES = {"lstm": 4, "gru": 3}
#: What a results file says of its networks.
TRAINED, SEEDED = "trained", "seeded"
NOTICE = (
    "no --shared: networks of the same architectures with seeded weights on random inputs. Cycles, cells and rates are "
    "near those of the trained networks; accuracy means nothing. No baseline is written"
)


@dataclass(frozen=True)
class Network:
    """An architecture: names of its layers as in the trained file, and where that is below ``models``."""

    title: str
    cell: str
    steps: int
    features: int
    units: int
    #: Outputs and activation function of the Dense layers.
    dense: tuple[tuple[int, str], ...]
    #: Names of the recurrent layer and the Dense layers.
    names: tuple[str, ...]
    model: str
    parameters: int
    weights: str | None = None

    @property
    def shape(self) -> str:
        """Steps x features -> outputs of each layer."""
        sizes = (self.units, *(outputs for outputs, _ in self.dense))
        return f"{self.steps} x {self.features}" + "".join(f" -> {size}" for size in sizes)


_TOP = ((64, "relu"), (1, "sigmoid"))
_FLAVOUR = ((50, "relu"), (10, "relu"), (3, "softmax"))
_DRAW = ((256, "linear"), (128, "linear"), (5, "softmax"))
_TOP_NAMES = ("layer1", "layer3", "output_sigmoid")
_FLAVOUR_NAMES = ("dense_0", "dense_1", "output_softmax")
#: Small ones first; ``parameters`` as the paper's Table 1 has them.
NETWORKS = {
    "toptag/lstm": Network("Top tagging LSTM", "lstm", 20, 6, 20, _TOP, _TOP_NAMES, "toptag/lstm.h5", 3569),
    "toptag/gru": Network("Top tagging GRU", "gru", 20, 6, 20, _TOP, _TOP_NAMES, "toptag/gru.h5", 3089),
    "ftag/lstm": Network("Flavour tagging LSTM", "lstm", 15, 6, 120, _FLAVOUR, ("lstm1", *_FLAVOUR_NAMES),
                         "ftag/lstm_arch.json", 67553, "ftag/lstm_weights.h5"),
    "ftag/gru": Network("Flavour tagging GRU", "gru", 15, 6, 120, _FLAVOUR, ("gru", *_FLAVOUR_NAMES),
                        "ftag/gru_arch.json", 52673, "ftag/gru_weights.h5"),
    "quickdraw/lstm": Network("QuickDraw LSTM", "lstm", 100, 3, 128, _DRAW,
                              ("lstm_4", "dense_8", "dense_9", "rnn_densef"), "quickdraw/lstm.h5", 134149),
    "quickdraw/gru": Network("QuickDraw GRU", "gru", 100, 3, 128, _DRAW,
                             ("gru_13", "dense_27", "dense_28", "rnn_densef"), "quickdraw/gru.h5", 117637),
}  # fmt: skip


def source(name: str, shared: Path | None) -> Source:
    """A network in float: the trained one, or without ``shared`` one with seeded weights."""
    known = NETWORKS[name]
    if shared is not None:
        weights = None if known.weights is None else shared / "models" / known.weights
        return read_model(shared / "models" / known.model, weights)
    rng = np.random.default_rng([list(NETWORKS).index(name), 2207])

    def kernel(rows: int, columns: int) -> NDArray[np.float64]:
        return rng.normal(0, 1 / np.sqrt(rows), (rows, columns))

    cell, units, gates = known.cell, known.units, GATES[known.cell]
    settings: dict[str, Any] = {"units": units, "return_sequences": False, "use_bias": True}
    settings |= {"activation": Function("tanh"), "recurrent_activation": Function("sigmoid")}
    weights_of = {"kernel": kernel(known.features, gates * units), "recurrent_kernel": kernel(units, gates * units)}
    weights_of["bias"] = rng.normal(0, 0.3, gates * units)
    if cell == "gru":
        settings["reset_after"] = True
        weights_of["recurrent_bias"] = rng.normal(0, 0.3, gates * units)
    kind = {"lstm": LSTM, "gru": GRU}[cell]
    layers: list[SourceLayer] = [kind(known.names[0], weights=weights_of, **settings)]
    size = units
    for layer, (outputs, function) in zip(known.names[1:], known.dense, strict=True):
        own = {"kernel": kernel(size, outputs), "bias": rng.normal(0, 0.1, outputs)}
        layers.append(Dense(layer, units=outputs, use_bias=True, weights=own))
        if function != "linear":
            layers.append(Activation(f"{layer}_{function}", Function(function)))
        size = outputs
    return Source.row(name.replace("/", "_"), "x", (known.steps, known.features), tuple(layers))


def inputs(name: str, shared: Path | None) -> NDArray[np.float64]:
    """Test inputs of a network (sequences, steps, features): those beside the trained one, or 100 random sequences."""
    if shared is not None:
        (folder,) = (shared / "golden" / "real").glob(f"{name.replace('/', '_')}__*")
        with np.load(folder / "io.npz") as file:
            return np.asarray(file["x"], np.float64)
    known = NETWORKS[name]
    rng = np.random.default_rng([list(NETWORKS).index(name), 5590])
    return rng.normal(0, 1, (100, known.steps, known.features))


def kind(shared: Path | None) -> str:
    """``trained`` or ``seeded``."""
    return SEEDED if shared is None else TRAINED


def options(parser: argparse.ArgumentParser, baseline: str = "") -> None:
    """Add ``--shared`` and ``--json``, the file to write: ``baseline``, if any, where networks are trained."""
    text = "folder with the trained networks (models, data, golden); without it their weights are seeded"
    parser.add_argument("--shared", type=Path, help=text)
    more = f"; with --shared benchmarks/baselines/{baseline} if not given" if baseline else ""
    parser.add_argument("--json", type=Path, help=f"file to write the results to{more}")
    parser.set_defaults(baseline=BASELINES / baseline if baseline else None)


def parse(parser: argparse.ArgumentParser, given: Sequence[str] | None = None) -> Any:
    """What the command line asks for, with ``json`` resolved; says so where networks are seeded."""
    found = parser.parse_args(given)
    if found.shared is not None and not (found.shared / "models").is_dir():
        parser.error(f"--shared must be a folder with models, data and golden; {found.shared} has no models")
    if found.shared is None:
        if not getattr(found, "worker", None):
            print(f"{parser.prog}: {NOTICE}", file=sys.stderr, flush=True)
        if found.json is not None and found.json.resolve().parent == BASELINES:
            parser.error("baselines are of the trained networks: give --shared, or another --json")
    elif found.json is None:
        found.json = found.baseline
    return found
