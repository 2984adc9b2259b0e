# SPDX-License-Identifier: Apache-2.0
"""A million different sequences of a trained network through the native harness, with random stalls."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Any

import published

import fxsim
from fxsim import golden as vectors
from testbenches.locate import at_output
from testbenches.manifest import Manifest
from testbenches.native import build
from testbenches.vectors import Vectors

__all__ = ["COLUMNS", "NETWORKS", "campaign"]

#: Top tagging networks of arXiv:2207.00559.
NETWORKS = {"toptag_lstm": "toptag/lstm", "toptag_gru": "toptag/gru"}
COLUMNS = ("design", "weights", "sequences", "differences", "cycles", "harness kB", "python kB", "seconds")
#: Most stalls are single cycles; the harness adds bursts.
IDLE, BACKPRESSURE = 0.1, 0.1


def campaign(name: str, shared: Path | None, work: Path, sequences: int, chunk: int) -> dict[str, Any]:
    """Run one network, trained or (``shared`` is None) with seeded weights.

    Raises :class:`testbenches.Mismatch` with the first difference.

    Vectors are made in chunks, each from a seed of its own, and forgotten. ``harness kB`` is the least and the most
    memory of the harness after 1000 sequences of a chunk and at its end, ``python kB`` the peak of this process after
    the first chunk and after the last.
    """
    began = time.perf_counter()
    graph = fxsim.load(published.source(NETWORKS[name], shared), precision="ap_fixed<16,6>", preset="hls4ml")
    work.mkdir(parents=True, exist_ok=True)
    fxsim.export(graph, work / "ip", multipliers=300, top=name)
    manifest = Manifest.load(work / "ip")
    harness = build(manifest, work / "native")
    done = cycles = 0
    harness_kb: list[int] = []
    python_kb: list[int] = []
    while done < sequences:
        count = min(chunk, sequences - done)
        golden = vectors.golden(graph, vectors.random_inputs(graph, count, seed=done))
        some = Vectors(golden["inputs"], golden["outputs"], {}, done)
        run = harness.run(some, work / "run", idle=IDLE, backpressure=BACKPRESSURE, seed=done + 1)
        if run.fault is not None:
            raise at_output(manifest, some, run)
        done += count
        cycles += run.cycles
        harness_kb += [memory for memory in run.memory if memory]
        python_kb.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        if sys.stderr.isatty():
            print(f"\r{name}: {done} of {sequences} sequences", end="\r", file=sys.stderr, flush=True)
    return {
        "design": name,
        "weights": published.kind(shared),
        "sequences": done,
        "differences": 0,
        "cycles": cycles,
        "harness kB": f"{min(harness_kb, default=0)} to {max(harness_kb, default=0)}",
        "python kB": f"{python_kb[0]}, {python_kb[-1]}",
        "seconds": round(time.perf_counter() - began),
    }
