# SPDX-License-Identifier: Apache-2.0
"""Latency and interval of a whole network, exactly, by following its tokens: pure Python, before anything is built."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise


@dataclass(frozen=True)
class Stage:
    """What the model needs to know of one hardware layer.

    ``interval``: cycles between tokens; ``latency``: edges from taking one to its result standing at the output;
    ``depth``: room of the output buffer; ``steps``: tokens of a sequence; ``sequences``: whether each gives a result.
    """

    interval: int
    latency: int
    depth: int
    steps: int
    sequences: bool


@dataclass(frozen=True)
class Timing:
    """``latency``, ``latency_after_last`` and ``interval`` in cycles, with source and sink always ready.

    ``interval`` is that of the steady state over many sequences; a Fraction only where sequences do not come evenly.
    """

    latency: int
    latency_after_last: int
    interval: int | Fraction


def follow(stages: list[Stage], sequences: int) -> tuple[list[list[int]], list[list[int]]]:
    """Edges at which each sequence's input beats are taken, and at which its output beats leave."""
    steps = stages[0].steps
    taken: list[list[int]] = [[] for _ in stages]  # edges at which each layer took its tokens
    left: list[list[int]] = [[] for _ in stages]  # edges at which its results left its buffer
    given = [0] * len(stages)  # results whose room is taken
    entered, out = [], []
    for _ in range(sequences):
        inputs: list[int] = []
        outputs: list[int] = []
        for step in range(steps):
            _enter(stages, 0, 0, taken, left, given, outputs)
            inputs.append(taken[0][-1])
            del step
        entered.append(inputs)
        out.append(outputs)
    return entered, out


def _enter(
    stages: list[Stage],
    k: int,
    ready: int,
    taken: list[list[int]],
    left: list[list[int]],
    given: list[int],
    outputs: list[int],
) -> int:
    """Let layer ``k`` take its next token, which stands at its input from edge ``ready``; returns the edge."""
    stage = stages[k]
    edge = ready
    if taken[k]:
        edge = max(edge, taken[k][-1] + stage.interval)
    if given[k] >= stage.depth:
        # Room comes back the cycle after a result has left.
        edge = max(edge, left[k][given[k] - stage.depth] + 1)
    taken[k].append(edge)
    position = (len(taken[k]) - 1) % stage.steps
    if stage.sequences or position == stage.steps - 1:
        given[k] += 1
        stands = edge + stage.latency
        if left[k]:
            stands = max(stands, left[k][-1] + 1)
        if k + 1 < len(stages):
            left[k].append(_enter(stages, k + 1, stands, taken, left, given, outputs))
        else:
            left[k].append(stands)
            outputs.append(stands)
    return edge


def timing(stages: list[Stage]) -> Timing:
    """Latency of the first sequence, and the interval once it has settled."""
    for sequences in (8, 32, 128):
        entered, out = follow(stages, sequences)
        ends = [beats[-1] for beats in out]
        gaps = [b - a for a, b in pairwise(ends)]
        # Settled: the second half repeats itself with some short period.
        tail = gaps[len(gaps) // 2 :]
        for period in range(1, len(tail) // 2 + 1):
            if all(a == b for a, b in zip(tail, tail[period:], strict=False)):
                interval = Fraction(sum(tail[:period]), period)
                return Timing(
                    out[0][0] - entered[0][0],
                    out[0][0] - entered[0][-1],
                    int(interval) if interval.denominator == 1 else interval,
                )
    raise AssertionError("the network's timing did not settle")
