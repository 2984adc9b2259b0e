# SPDX-License-Identifier: Apache-2.0
"""Whole and right inputs, from which the damaged ones are made: the package's own model and the tests' own writers."""

from __future__ import annotations

import io
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from networks import network
from test_importers import (
    CELL,
    DENSE,
    RICH,
    RICH_WEIGHTS,
    SMALL,
    SMALL_WEIGHTS,
    bidirectional,
    dense,
    functional,
    gru,
    gru_weights,
    live,
    lstm,
    lstm_weights,
    sequential,
    weights_h5,
    write_h5,
    write_keras,
)

from fxsim import quantize
from fxsim.demo.run import MODEL
from fxsim.importers.source import Source
from fxsim.program.graph import Graph


@cache
def folder() -> Path:
    """Where writers that need a path write."""
    return Path(tempfile.mkdtemp(prefix="fxsim_fuzz_seeds_"))


@cache
def keras() -> tuple[bytes, ...]:
    """.keras archives."""
    sides = {
        f"layers/bidirectional/{side}_layer/cell/vars/{i}": array
        for side in ("forward", "backward")
        for i, array in enumerate(lstm_weights())
    }
    named = weights_h5(CELL | DENSE, {"layers/lstm": "lstm", "layers/dense": "dense"})
    files = [
        write_keras(folder() / "1.keras", SMALL, weights_h5(CELL | DENSE)),
        write_keras(folder() / "2.keras", functional(lstm(), dense(activation="relu"), keras3=True), named),
        write_keras(folder() / "3.keras", sequential(bidirectional("concat")), weights_h5(sides)),
    ]
    return (*(path.read_bytes() for path in files), MODEL.read_bytes())


@cache
def h5() -> tuple[bytes, ...]:
    """.h5 files with architecture and weights."""
    files = [
        write_h5(folder() / "1.h5", SMALL, **SMALL_WEIGHTS),
        write_h5(folder() / "2.h5", sequential(gru(reset_after=True)), gru=gru_weights()),
    ]
    return tuple(path.read_bytes() for path in files)


@cache
def source() -> Source:
    """A small float network."""
    return live(SMALL, **SMALL_WEIGHTS)


@cache
def rich() -> Source:
    """A float network of many kinds of layers."""
    return live(RICH, 3, **RICH_WEIGHTS)


@cache
def graphs() -> tuple[Graph, ...]:
    """Quantised networks."""
    return (
        network("lstm", steps=3, features=2, units=2, tail=(2,), entries=16),
        network("gru", seed=1, steps=3, features=2, units=2, return_sequences=True, entries=16),
        network("gru_before", seed=2, steps=2, features=2, units=2, flatten=True, entries=16),
        quantize(rich(), precision="ap_fixed<6,3>", preset="hls4ml"),
        quantize(live(sequential(bidirectional()), bi=lstm_weights() * 2), precision="ap_fixed<8,4>"),
    )


def fx(graph: Graph) -> bytes:
    """A .fx file."""
    path = folder() / "seed.fx"
    graph.save(path)
    return path.read_bytes()


@cache
def configs() -> tuple[dict[str, Any], ...]:
    """hls4ml configurations for `rich`."""
    types = {"default": "ap_fixed<16,6>", "weight": "fixed<8,3,RND,SAT>", "accum": "auto", "result": "ap_ufixed<7,2>"}
    cell = {
        "Precision": {**types, "recurrent_weight": "ap_fixed<9,3>"},
        "ReuseFactor": 2,
        "TableSize": 512,
        "table_t": "ap_fixed<18,8>",
    }
    full = {
        "Model": {
            "Precision": {"default": "ap_fixed<16,6>", "maximum": "ap_fixed<24,12>"},
            "ReuseFactor": 1,
            "Strategy": "Latency",
            "BramFactor": 10**9,
            "TraceOutput": False,
        },
        "LayerName": {
            "lstm": cell,
            "dense": {"Precision": types, "Strategy": "Resource", "ReuseFactor": 4},
            "soft": {"Precision": "auto", "exp_table_t": "ap_fixed<18,8>", "Implementation": "stable"},
        },
        "LayerType": {"Dense": {"Precision": "ap_fixed<10,5,AP_RND_CONV,AP_SAT_SYM>"}},
    }
    return (
        full,
        {"Model": {"Precision": "ap_fixed<12,5>"}},
        {"HLSConfig": full, "Backend": "Vitis", "IOType": "io_stream"},
    )


@cache
def arrays() -> tuple[bytes, ...]:
    """.npy files for `graphs()[0]`."""
    x = np.random.default_rng(0).normal(size=(4, 3, 2))
    return tuple(_npy(array) for array in (x, x.astype(np.float32), (8 * x).astype(np.int16)))


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(**given: np.ndarray) -> bytes:
    """An .npz file."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **given)
    return stream.getvalue()


@cache
def export() -> dict[str, bytes]:
    """Those files of an exported folder that fxsim reads."""
    from fxsim.api import export as write

    place = folder() / "ip"
    write(graphs()[0], place)
    return {path.name: path.read_bytes() for path in place.iterdir() if path.suffix in (".json", ".fx", ".npz", ".v")}


@cache
def architecture() -> bytes:
    """An architecture .json that goes with the first of `h5()`."""
    return json.dumps(SMALL).encode()
