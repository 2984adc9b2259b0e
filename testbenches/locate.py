# SPDX-License-Identifier: Apache-2.0
"""Say where the first difference of a run stands: at the output, or at the tap that saw it first."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from .errors import Mismatch
from .manifest import Manifest, Stream, Tap
from .native import NativeRun
from .vectors import Vectors

__all__ = ["at_output", "at_taps", "difference"]

_FAULTS = {
    "tlast": "tlast is wrong",
    "unstable": "tdata or tlast changed while tvalid was high and tready low",
    "dropped": "tvalid fell before tready took the beat",
    "frame_error": "frame_error was raised though the frame was right",
    "no_frame_error": "frame_error was not raised though the frame was broken",
    "timing": "a sequence that came alone was not taken at once, or not answered after the latency",
    "extra": "an output beat that belongs to no sequence",
    "overfull": "a buffer behind a layer holds more beats than it has room for, or gets one when it is full",
    "timeout": "no beat moved for too long",
}


def difference(stream: Stream, want: NDArray[np.int64], got: NDArray[np.int64], sequence: int, step: int) -> Mismatch:
    """The first difference between two beats (elements,), of which ``got`` stands on the whole stride."""
    element = int(np.flatnonzero(want != got)[0])
    expected, found = int(want[element]), int(got[element])
    place = f"output, sequence {sequence}, step {step}, element {element}"
    span = 1 << stream.width
    if (expected - found) % span == 0:
        bits = found % (1 << stream.stride_bits)
        text = f"{place}: value {expected} is right but its padding is not: {bits:#0{stream.stride_bits // 4 + 2}x}"
        kind = "extension"
    else:
        found = (found - stream.low) % span + stream.low
        text = f"{place}: expected {expected}, got {found}"
        kind = "value"
    return Mismatch(text, kind, sequence=sequence, step=step, element=element, expected=expected, got=found)


def at_output(manifest: Manifest, vectors: Vectors, run: NativeRun) -> Mismatch:
    """Describe the fault of a run by its place on the output stream."""
    stream = manifest.output
    sequence, step = run.due, run.received % stream.beats_per_sequence
    if run.fault == "value":
        want = vectors.outputs[sequence % len(vectors), step]
        return difference(stream, want, run.outputs(stream, run.received)[0], sequence + vectors.first, step)
    assert run.fault is not None
    text = f"output, sequence {sequence}, step {step}: {_FAULTS[run.fault]} (clock edge {run.cycles}"
    if run.fault == "timeout":
        taken, beat = divmod(run.sent, manifest.input.beats_per_sequence)
        text += f"; the input waits at sequence {taken}, beat {beat} of {run.sequences} sequences"
    return Mismatch(text + ")", run.fault, sequence=sequence, step=step)


def at_taps(manifest: Manifest, vectors: Vectors, run: NativeRun, taps: tuple[Tap, ...]) -> Mismatch | None:
    """The first difference at the taps in the order sequence, step, program; None when every tap agrees."""
    first: tuple[tuple[int, Fraction, int], Mismatch] | None = None
    for order, tap in enumerate(taps):
        golden = vectors.taps[tap.name]
        beats = golden.shape[1]
        got = run.tap(order, tap)
        sequence_of = (np.arange(len(got)) // beats) % len(vectors)
        wrong = got != golden[sequence_of, np.arange(len(got)) % beats]
        if not wrong.any():
            continue
        index, element = (int(axis[0]) for axis in np.nonzero(wrong))
        sequence, beat = divmod(index, beats)
        step, part = divmod(beat, tap.beats_per_step)
        unit = part * tap.elements + element
        expected, found = int(golden[sequence % len(vectors), beat, element]), int(got[index, element])
        # A layer that gives one result a sequence does so after all steps of those above it.
        place = (sequence, Fraction(step + 1, beats // tap.beats_per_step), order)
        if first is None or place < first[0]:
            mismatch = Mismatch(
                f"layer {tap.layer!r}, op {tap.op!r}, sequence {sequence + vectors.first}, step {step}, unit {unit}: "
                f"expected {expected}, got {found}",
                "value",
                layer=tap.layer,
                op=tap.op,
                sequence=sequence + vectors.first,
                step=step,
                element=unit,
                expected=expected,
                got=found,
            )
            first = place, mismatch
    return first[1] if first else None
