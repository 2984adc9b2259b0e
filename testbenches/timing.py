# SPDX-License-Identifier: Apache-2.0
"""From clock edges to latency and interval, and the comparison with what was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from .errors import Mismatch
from .manifest import Timing

__all__ = ["compare", "steady_interval"]


def steady_interval(completions: Sequence[int], last_input: int) -> Fraction | None:
    """Cycles a sequence in the steady state, or None for fewer than four sequences.

    Parameters
    ----------
    completions : sequence of int
        Clock edges at which the last output beat of each sequence was taken, in a run without stalls.
    last_input : int
        Clock edge that accepted the last input beat. After it the pipeline only drains, at a rate of its own.
    """
    edges = [edge for edge in completions if edge <= last_input]
    if len(edges) < 8:
        edges = list(completions)
    if len(edges) < 4:
        return None
    steady = edges[len(edges) // 2 - 1 :]
    gaps = [after - before for before, after in pairwise(steady)]
    # Interleaved designs finish in bursts: average over whole periods only, or the answer depends on where we stop.
    for period in range(1, len(gaps) // 2 + 1):
        if all(gap == gaps[index - period] for index, gap in enumerate(gaps) if index >= period):
            return Fraction(sum(gaps[:period]), period)
    return Fraction(steady[-1] - steady[0], len(gaps))


def compare(measured: Timing, predicted: Timing) -> None:
    """Raise :class:`Mismatch` when a measured number is not the predicted one."""
    for name in ("latency", "latency_after_last", "interval"):
        want, got = getattr(predicted, name), getattr(measured, name)
        if got is not None and got != want:
            raise Mismatch(f"timing: {name} was predicted as {want} cycles, measured {got}", "timing")
