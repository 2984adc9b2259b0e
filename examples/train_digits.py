# SPDX-License-Identifier: Apache-2.0
"""Train the demo network of fxsim: handwritten digits, read row by row by a small LSTM.

The data are scikit-learn's 1797 handwritten digits (8x8 pixels, 10 classes). An image is a sequence of 8 time
steps (its rows, top to bottom) of 8 features (pixel values / 16, so in 0..1 and exact with 4 fractional bits).
The network is LSTM(16) -> Dense(10, softmax). A fixed, stratified 20 % of the images (360) is held out for the
test and plays no part in training; the number of epochs is fixed (no early stopping). While training, weights
are clipped to +-3.5 (--clip), so that the trained network suits a fixed point format with few integer bits.
The seed is fixed, but another torch version or CPU may round differently and give other weights.

This script is not needed to use fxsim: what it writes is part of the package. To run it:

    pip install torch keras scikit-learn h5py
    python examples/train_digits.py              # writes fxsim/demo/digits.keras, digits_test.npz
    python examples/train_digits.py --cell gru   # GRU (reset_after=True): same files, but in ./digits_gru
"""

import argparse
import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"  # before keras is imported

import keras
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

DEMO = Path(__file__).resolve().parent.parent / "fxsim" / "demo"
BATCH = 64


class Clip(keras.constraints.Constraint):
    """Clip every weight to -limit..limit after each training step."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        return keras.ops.clip(w, -self.limit, self.limit)


def load_data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return x_train, y_train, x_test, y_test: x float32 (n, 8, 8) in 0..1, y int64 (n,)."""
    digits = load_digits()
    x = (digits.images / 16.0).astype(np.float32)
    y = digits.target.astype(np.int64)
    train_rows, test_rows = train_test_split(np.arange(len(y)), test_size=0.2, stratify=y, random_state=0)
    return x[train_rows], y[train_rows], x[test_rows], y[test_rows]


def augment(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add to the images their copies moved by one pixel up, down, left and right (zeros move in)."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    offsets = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]
    return np.concatenate([padded[:, r : r + 8, c : c + 8] for r, c in offsets]), np.tile(y, len(offsets))


def build(cell: str, units: int, clip: float | None = None, l2: float = 0.0) -> keras.Model:
    """Build the network; clip and l2 matter to training only and are left out of the saved one."""
    limit = Clip(clip) if clip else None
    decay = keras.regularizers.L2(l2) if l2 else None
    common = {"kernel_constraint": limit, "bias_constraint": limit, "kernel_regularizer": decay}
    recurrent = {"recurrent_constraint": limit, "recurrent_regularizer": decay, **common}
    if cell == "gru":
        layer = keras.layers.GRU(units, reset_after=True, name="gru", **recurrent)
    else:
        layer = keras.layers.LSTM(units, name="lstm", **recurrent)
    dense = keras.layers.Dense(10, activation="softmax", name="dense", **common)
    return keras.Sequential([keras.Input((8, 8), name="rows"), layer, dense], name="digits")


def train(x: np.ndarray, y: np.ndarray, args: argparse.Namespace) -> keras.Model:
    """Train on x, y; return the network without optimizer, constraints and regularizers."""
    keras.utils.set_random_seed(args.seed)
    x, y = augment(x, y)
    model = build(args.cell, args.units, args.clip, args.l2)
    rate = keras.optimizers.schedules.CosineDecay(0.01, args.epochs * -(-len(x) // BATCH))
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=BATCH, epochs=args.epochs, verbose=2)
    plain = build(args.cell, args.units)
    plain.set_weights(model.get_weights())
    return plain


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train the demo network of fxsim (handwritten digits).")
    parser.add_argument("--cell", choices=["lstm", "gru"], default="lstm")
    parser.add_argument("--units", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--l2", type=float, default=1e-4)
    parser.add_argument("--clip", type=float, default=3.5, help="limit of the weights' magnitude")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="folder to write to (default: fxsim/demo, for a GRU digits_gru)")
    args = parser.parse_args(argv)
    args.out = args.out or (DEMO if args.cell == "lstm" else Path("digits_gru"))
    return args


def main() -> None:
    """Train, report and save."""
    args = parse()
    torch.set_num_threads(1)
    x_train, y_train, x_test, y_test = load_data()
    model = train(x_train, y_train, args)
    for name, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        right = int((model.predict(x, verbose=0).argmax(-1) == y).sum())
        print(f"{name} accuracy (float): {right}/{len(y)} = {100 * right / len(y):.2f} %")
    for w, value in zip(model.weights, model.get_weights(), strict=True):
        print(f"{w.path:34} {value.shape!s:9} {value.min():+.4f} .. {value.max():+.4f}")
    args.out.mkdir(parents=True, exist_ok=True)
    model.save(args.out / "digits.keras")
    np.savez_compressed(args.out / "digits_test.npz", x=x_test, y=y_test)


if __name__ == "__main__":
    main()
