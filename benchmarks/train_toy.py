# SPDX-License-Identifier: Apache-2.0
"""Train the networks of top tagging on toy jets: 20 x 6 -> LSTM or GRU (20) -> Dense 64 relu -> Dense 1 sigmoid.

    KERAS_BACKEND=torch python benchmarks/train_toy.py

Keras and PyTorch are those of the extra ``peer``. Takes some minutes, writes ``benchmarks/toy/{lstm,gru}.keras`` and
prints the AUC on jets that were not trained on. Weights depend on the versions of both and on the processor, so that
the files of the repository need not come out again bit for bit.
"""

from __future__ import annotations

from pathlib import Path

import keras
from toy_jets import FEATURES, STEPS, TEST, TRAIN, WATCH, jets

HERE = Path(__file__).resolve().parent
EPOCHS, BATCH, TRAINED = 10, 512, 50_000


def network(cell: str) -> keras.Model:
    """The architecture of arXiv:2207.00559, untrained."""
    layers = keras.layers
    recurrent = layers.LSTM(20, name="lstm") if cell == "lstm" else layers.GRU(20, name="gru")
    return keras.Sequential(
        [
            keras.Input((STEPS, FEATURES)),
            recurrent,
            layers.Dense(64, activation="relu", name="dense"),
            layers.Dense(1, activation="sigmoid", name="output"),
        ],
        name=f"toy_{cell}",
    )


def main() -> None:
    """Train both and write them."""
    x, y = jets(TRAINED, TRAIN)
    watched, test = jets(10_000, WATCH), jets(10_000, TEST)
    for cell in ("lstm", "gru"):
        keras.utils.set_random_seed(7)
        model = network(cell)
        area = keras.metrics.AUC(num_thresholds=2000, name="auc")
        model.compile(keras.optimizers.Adam(4e-3), "binary_crossentropy", metrics=[area])
        slower = keras.callbacks.ReduceLROnPlateau(factor=0.4, patience=1, min_lr=1e-4)
        best = keras.callbacks.EarlyStopping(patience=4, restore_best_weights=True)
        model.fit(x, y, BATCH, EPOCHS, validation_data=watched, callbacks=[slower, best], verbose=2)
        print(cell, "AUC on the test jets:", model.evaluate(*test, batch_size=1000, verbose=0)[1])
        # Without the optimiser's state, which is twice the weights.
        plain = network(cell)
        plain.set_weights(model.get_weights())
        plain.save(HERE / "toy" / f"{cell}.keras")


if __name__ == "__main__":
    main()
