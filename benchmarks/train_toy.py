# SPDX-License-Identifier: Apache-2.0
"""Train the networks of top tagging on toy jets: 20 x 6 -> LSTM or GRU (20) -> Dense 64 relu -> Dense 1 sigmoid.

    KERAS_BACKEND=torch python benchmarks/train_toy.py

Keras and PyTorch are those of the extra ``peer``. PyTorch trains, for its own recurrent layers are many times as fast
as those of Keras on it, and Keras writes ``benchmarks/toy/{lstm,gru}.keras``, after both have given the same outputs.
Takes about a minute. Weights depend on the versions and on the processor, so that the files of the repository need not
come out again bit for bit.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import torch
from toy_jets import FEATURES, STEPS, TEST, TRAIN, WATCH, jets

HERE = Path(__file__).resolve().parent
UNITS, EPOCHS, BATCH, TRAINED = 20, 10, 500, 100_000
CELLS = {"lstm": (torch.nn.LSTM, keras.layers.LSTM), "gru": (torch.nn.GRU, keras.layers.GRU)}
#: Where Keras has each gate of PyTorch's order.
_GATES = {"lstm": [0, 1, 2, 3], "gru": [1, 0, 2]}


class Network(torch.nn.Module):
    """The architecture of arXiv:2207.00559; gives the logarithm of the odds."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        self.recurrent = CELLS[cell][0](FEATURES, UNITS, batch_first=True)
        self.hidden, self.output = torch.nn.Linear(UNITS, 64), torch.nn.Linear(64, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logarithms of the odds (batch,) of jets (batch, 20, 6)."""
        steps, _ = self.recurrent(x)
        return self.output(torch.relu(self.hidden(steps[:, -1])))[:, 0]


def train(cell: str) -> Network:
    """A trained network, as it was when it did best on jets to watch."""
    torch.manual_seed(7)
    network = Network(cell)
    x, y = (torch.from_numpy(part) for part in jets(TRAINED, TRAIN))
    watched, truth = (torch.from_numpy(part) for part in jets(20_000, WATCH))
    loss = torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(network.parameters(), 4e-3)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    best, kept = float("inf"), network.state_dict()
    for epoch in range(EPOCHS):
        for part in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            loss(network(x[part]), y[part].float()).backward()
            optimizer.step()
        slower.step()
        with torch.no_grad():
            found = float(loss(network(watched), truth.float()))
        print(cell, epoch, found, flush=True)
        if found < best:
            best, kept = found, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)
    return network


def to_keras(cell: str, network: Network) -> keras.Model:
    """The same network in Keras."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((STEPS, FEATURES)),
            CELLS[cell][1](UNITS, name=cell),
            layers.Dense(64, activation="relu", name="dense"),
            layers.Dense(1, activation="sigmoid", name="output"),
        ],
        name=f"toy_{cell}",
    )
    known = {name: value.numpy() for name, value in network.state_dict().items()}

    def gates(name: str) -> np.ndarray:
        value = known[f"recurrent.{name}_l0"]
        return np.concatenate([np.split(value, len(_GATES[cell]))[gate] for gate in _GATES[cell]])

    bias = np.stack([gates("bias_ih"), gates("bias_hh")])
    recurrent = [gates("weight_ih").T, gates("weight_hh").T, bias if cell == "gru" else bias.sum(axis=0)]
    dense = [known[f"{name}.{part}"].T for name in ("hidden", "output") for part in ("weight", "bias")]
    model.set_weights([*recurrent, *dense])
    return model


def main() -> None:
    """Train both and write them."""
    x, y = jets(10_000, TEST)
    for cell in CELLS:
        network = train(cell)
        model = to_keras(cell, network)
        with torch.no_grad():
            want = torch.sigmoid(network(torch.from_numpy(x))).numpy()
        got = model.predict(x, batch_size=1000, verbose=0)[:, 0]
        assert np.abs(got - want).max() < 1e-5
        right, wrong = got[y == 1], got[y == 0]
        print(cell, "AUC on the test jets:", (right[:, None] > wrong).mean())
        model.save(HERE / "toy" / f"{cell}.keras")


if __name__ == "__main__":
    main()
