# SPDX-License-Identifier: Apache-2.0
"""What the buffer behind each layer can do, and what of it a run has seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .errors import Mismatch
from .manifest import Buffer

__all__ = ["Counts", "counts", "demand", "events"]

#: Cycles by event: ``hold_2`` (it held two beats, and none came or left), ``push_1``, ``pop_2``, ``both_0``.
Counts = dict[str, int]

_TOLD = {
    "hold": "held {} while none came or left",
    "push": "held {} when one came",
    "pop": "held {} when one left",
    "both": "held {} when one came and one left",
}


def events(buffer: Buffer) -> tuple[str, ...]:
    """All that a buffer can do: a full one gets no beat, and none leaves an empty one, but for what passes through."""
    depth = buffer.depth
    return (
        *(f"push_{beats}" for beats in range(depth)),
        *(f"hold_{beats}" for beats in range(1, depth + 1)),
        *(f"pop_{beats}" for beats in range(1, depth + 1)),
        *(f"both_{beats}" for beats in range(0 if buffer.passes else 1, depth)),
    )


def counts(facts: Mapping[str, str], buffers: Sequence[Buffer]) -> tuple[Counts, ...]:
    """The counts of each buffer, out of what the harness printed."""
    return tuple(
        {event: int(facts[f"buffer{number}_{event}"]) for event in events(buffer)}
        for number, buffer in enumerate(buffers)
    )


def demand(buffers: Sequence[Buffer], runs: Iterable[tuple[Counts, ...]]) -> int:
    """Raise :class:`Mismatch` for what a buffer never did in any of the runs; returns how many events there are."""
    runs = list(runs)
    total = 0
    for number, buffer in enumerate(buffers):
        for event in events(buffer):
            total += 1
            if not any(run[number][event] for run in runs):
                kind, _, beats = event.partition("_")
                told = _TOLD[kind].format(f"{beats} beat" if beats == "1" else f"{beats} beats")
                raise Mismatch(
                    f"the buffer behind layer {buffer.layer!r}, which has room for {buffer.depth}, never {told}",
                    "buffer",
                    layer=buffer.layer,
                )
    return total
