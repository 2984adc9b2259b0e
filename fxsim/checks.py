# SPDX-License-Identifier: Apache-2.0
"""The verb check: an exported folder's Verilog against the simulator, in every bit and cycle.

Whatever tests hardware is imported inside the function that needs it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from . import vectors, verdicts
from .errors import FxsimError
from .exported import complete
from .extras import importing
from .fixed import IntArray
from .folder import MANIFEST, read_json
from .graph import Graph

if TYPE_CHECKING:
    from testbenches import CheckReport

#: Most sequences that each cocotb test of a check runs; the native harness takes all of them.
COCOTB_SEQUENCES = 20
#: Most sequences of a check whose inner ops are compared too.
INNER_SEQUENCES = 16
#: Bytes of traces that a check makes for that.
_TRACE_BYTES = 64 << 20


def check(
    folder: str | os.PathLike[str],
    *,
    sequences: int = 100,
    inputs: ArrayLike | None = None,
    simulator: str = "verilator",
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Simulate the Verilog of an exported folder; compare every output bit, inner ops and cycles with the prediction.

    Inner ops are compared on the first sequences, outputs on all. The verdict also goes into the folder's report.html.

    Parameters
    ----------
    folder : path
        An export.
    sequences : int
        How many random sequences (the corners among them), if ``inputs`` is not given.
    inputs : array, optional
        Values (batch, time, features) to use instead.
    simulator : {"verilator", "icarus"}
        What the cocotb tests run on. Verilator also runs every sequence natively, with and without stalls.
    seed : int
        Of the random sequences.
    progress : callable, optional
        Called with sequences done and sequences in all.

    Warns
    -----
    UserWarning
        All outputs are the same, so that few faults would show.

    Raises
    ------
    testbenches.Mismatch
        The design is wrong; its attributes name layer, op, sequence, step and unit of the first difference.
    testbenches.CheckError, FxsimError
        The check cannot be done.
    """
    from .simulation import quantize_inputs  # late: it brings a compiler

    place = Path(folder)
    complete(place)
    facts = read_json(place / MANIFEST)
    graph = Graph.load(place / "graph.fx")
    if facts.get("digest") != graph.digest:
        raise FxsimError(f"{place}: manifest.json and graph.fx are not of one export (their digests differ)")
    raw = vectors.random_inputs(graph, sequences, seed) if inputs is None else quantize_inputs(graph, inputs)
    if not len(raw):
        raise FxsimError("inputs hold no sequence")
    with importing("check", "testbenches"):
        from testbenches import Mismatch

    given = f"{len(raw)} random sequences, corners among them" if inputs is None else f"{len(raw)} given sequences"
    work = Path(tempfile.mkdtemp(prefix="fxsim_check_"))
    keep = False
    try:
        found, doubts = _check(place, graph, raw, simulator, work, progress)
        told = verdicts.agrees(found, graph.output.width, f"{given}; {simulator}", doubts)
        verdicts.stamp(place, told, facts["files"])
        return found
    except Exception as error:
        # The message sends the reader to the log.
        keep = getattr(error, "log", None) is not None
        if isinstance(error, Mismatch):
            verdicts.stamp(place, verdicts.differs(error, (place, work)), facts["files"])
        raise
    finally:
        if not keep:
            shutil.rmtree(work, ignore_errors=True)


def _check(
    place: Path,
    graph: Graph,
    raw: IntArray,
    simulator: str,
    work: Path,
    progress: Callable[[int, int], None] | None,
) -> tuple[CheckReport, list[str]]:
    """The report, and reasons to doubt it."""
    with importing("check", "testbenches"):
        from testbenches import Mismatch, check_folder
        from testbenches.manifest import Manifest

    path, inner = work / "vectors.npz", work / "inner.npz"
    manifest = Manifest.load(place)
    beat = manifest.input.elements_per_beat
    golden = vectors.golden(graph, raw, beat=beat)
    doubts: list[str] = []
    if len(raw) > 1 and (golden["outputs"] == golden["outputs"][0]).all():
        doubts.append(f"all {len(raw)} sequences have the same output, which hides most faults")
        warnings.warn(doubts[0], stacklevel=3)
    path.write_bytes(vectors.encode(golden))
    # Traces of all ops are large, so the inner ops are compared on as many of the first sequences as fit.
    taps = [asdict(tap) for tap in manifest.taps]
    looked = max(1, min(len(raw), INNER_SEQUENCES, _TRACE_BYTES // (8 * graph.traced())))
    inner.write_bytes(vectors.encode(vectors.golden(graph, raw[:looked], taps, beat)))
    count = min(len(raw), COCOTB_SEQUENCES)
    try:
        found = check_folder(
            place, path, inner=inner, simulator=simulator, sequences=count, build_dir=work, progress=progress
        )
        return found, doubts
    except Mismatch as error:
        if error.kind != "value" or error.sequence is None or error.layer is not None:
            raise
        # A sequence that was not looked into: alone, for sequences know nothing of each other.
        alone = error.sequence % len(raw)
        golden = vectors.golden(graph, raw[alone : alone + 1], taps, beat) | {"first": np.array(alone)}
        path.write_bytes(vectors.encode(golden))
        check_folder(place, path, simulator=simulator, cocotb=False, timing=False, build_dir=work)
        raise
