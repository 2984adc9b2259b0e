# SPDX-License-Identifier: Apache-2.0
"""Latency and interval of a whole network, exactly, by following its tokens: pure Python, before anything is built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise


@dataclass(frozen=True)
class Stage:
    """What the model needs to know of one hardware layer.

    ``interval``: cycles between tokens; ``latency``: edges from taking one to its result standing at the output;
    ``depth``: room of the output buffer; ``sequences``: whether each token gives a result, or only the last of a
    sequence.
    """

    interval: int
    latency: int
    depth: int
    sequences: bool


@dataclass(frozen=True)
class Timing:
    """``latency``, ``latency_after_last`` and ``interval`` in cycles, with source and sink always ready.

    ``interval`` is that of the steady state over many sequences; a Fraction only where sequences do not come evenly.
    """

    latency: int
    latency_after_last: int
    interval: int | Fraction


class _Layers:
    """Tokens on their way through the layers, one after another."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = stages
        self.taken: list[list[int]] = [[] for _ in stages]  # edges at which each layer took its tokens
        self.left: list[list[int]] = [[] for _ in stages]  # edges at which its results left its buffer
        self.ended: list[list[int]] = [[] for _ in stages]  # which tokens were the last of their sequences
        self.results: list[int] = []  # those at which results of sequences left the last one

    def enter(self, k: int, ready: int, ends: bool) -> int:
        """Let layer ``k`` take a token, which stands at its input from edge ``ready``; returns the edge.

        ``ends``: whether it is the last of a sequence that gives a result.
        """
        stage, taken, left = self.stages[k], self.taken[k], self.left[k]
        edge = ready
        if taken:
            edge = max(edge, taken[-1] + stage.interval)
        gives = stage.sequences or ends
        if ends:
            self.ended[k].append(len(taken))
        if len(left) >= stage.depth:
            # Room comes back the cycle after a result has left.
            edge = max(edge, left[len(left) - stage.depth] + 1)
        taken.append(edge)
        if gives:
            stands = edge + stage.latency
            if left:
                stands = max(stands, left[-1] + 1)
            if k + 1 < len(self.stages):
                left.append(self.enter(k + 1, stands, ends))
            else:
                left.append(stands)
                self.results.append(stands)
        return edge


@dataclass(frozen=True)
class Source:
    """How sequences come in: ``steps`` vectors each, of which ``ways`` sequences' take turns.

    ``gather``: beats of a vector. ``spread``: whether one beat is a whole sequence instead, taken ``eager``-ly with the
    last step of the one before, or an edge later.
    """

    steps: int
    ways: int = 1
    gather: int = 1
    spread: bool = False
    eager: bool = True

    @property
    def beats(self) -> int:
        """Input beats of a sequence."""
        return 1 if self.spread else self.steps * self.gather


def follow(stages: Sequence[Stage], source: Source, sequences: int) -> tuple[list[int], list[int]]:
    """Edges at which the input beats are taken, and at which the output beats leave."""
    layers = _Layers(stages)
    return _enter(layers, source, sequences), layers.results


def _enter(layers: _Layers, source: Source, sequences: int) -> list[int]:
    """Let sequences through; returns the edges at which their input beats are taken."""
    steps = source.steps
    if source.ways > 1:
        vectors = _dealt(layers, source, sequences)
    else:
        vectors = []
        for k in range(sequences * steps):
            before = vectors[-1] if vectors else -1
            vectors.append(layers.enter(0, before + source.gather, k % steps == steps - 1))
    if source.spread:
        # The first sequence comes in an edge before its first step.
        return [vectors[0] - 1, *(edge + (not source.eager) for edge in vectors[steps - 1 : -1 : steps])]
    entered: list[int] = []
    for edge in vectors:
        # All beats of a vector but the last are taken at once.
        before = entered[-1] if entered else -1
        entered += [*range(before + 1, before + source.gather), edge]
    return entered


@dataclass(frozen=True)
class Passage:
    """A layer and one sequence alone, up to its first result; cycles from the edge that takes the first input beat.

    ``begun``, ``taken``: when the layer takes the first and the last token that the result needs; ``left``: when what
    it makes of them goes on.
    """

    begun: int
    taken: int
    left: int


def passages(stages: Sequence[Stage], source: Source) -> tuple[int, list[Passage]]:
    """The cycle of the last input beat, and how the first sequence passes through each layer.

    From layer to layer, ``taken`` minus the ``left`` before it and ``left`` minus ``taken`` add up to the latency.
    """
    layers = _Layers(stages)
    entered = _enter(layers, source, 1)
    zero, found = entered[0], []
    for k, (stage, taken, left) in enumerate(zip(stages, layers.taken, layers.left, strict=True)):
        # Where every layer behind gives a result for each token, the first token has the first result.
        last = 0 if all(behind.sequences for behind in stages[k:]) else layers.ended[k][0]
        result = left[last] if stage.sequences else left[0]
        found.append(Passage(taken[0] - zero, taken[last] - zero, result - zero))
    return entered[-1] - zero, found


def _dealt(layers: _Layers, source: Source, sequences: int) -> list[int]:
    """Edges at which ``deal.Deal`` takes the vectors: its registers, cycle by cycle; edge t ends cycle t."""
    steps, ways = source.steps, source.ways
    filled, active = [0] * ways, [False] * ways
    read = [0] * ways  # steps read of the slot's sequence
    entered: list[int] = []
    into = first = turn = cycle = 0
    stands: int | None = None  # the edge at which the token at the output is taken
    closing: int | None = None  # its slot, if it is its sequence's last step
    while len(entered) < sequences * steps or any(filled) or stands is not None:
        ready = cycle - (entered[-1] if entered else -1) >= source.gather
        put = ready and len(entered) < sequences * steps and filled[into] < steps
        free = stands is None or stands == cycle
        some = any(filled) or any(active)
        get = free and filled[turn] > 0 and (active[turn] or turn == first)
        fill = free and not get and not active[turn] and some
        closed = closing
        if free:
            stands = closing = None
        target, slot = into, turn
        if put:
            entered.append(cycle)
            if len(entered) % steps == 0:
                into = (into + 1) % ways
        if get:
            if not active[slot]:
                first = (first + 1) % ways
            read[slot] = (read[slot] + 1) % steps
            ends = read[slot] == 0
            stands = layers.enter(0, cycle + 1, ends)
            closing = slot if ends else None
        elif fill:
            # It passes the layers that give a result each step, and then ends, broken.
            stands = layers.enter(0, cycle + 1, False)
        if closed is not None:
            active[closed] = False
        if get:
            active[slot] = True
        if get or fill:
            turn = (slot + 1) % ways
        elif not some:
            turn = target
        filled[target] += put
        filled[slot] -= get
        cycle += 1
    return entered


def timing(stages: Sequence[Stage], source: Source) -> Timing:
    """Latency of the first sequence, and the interval once it has settled."""
    ways = source.ways
    # The slots repeat together: no period of theirs is settled before each has had its turn.
    for sequences in (8 * ways, 32 * ways, 128 * ways):
        entered, results = follow(stages, source, sequences)
        beats = len(results) // sequences
        # Behind the last input the network only drains, at a rate of its own.
        ends = [edge for edge in results[beats - 1 :: beats] if edge <= entered[-1] or ways == 1]
        gaps = [b - a for a, b in pairwise(ends)]
        # Settled: the second half repeats itself with some short period.
        tail = gaps[len(gaps) // 2 :]
        for period in range(ways, len(tail) // 2 + 1, ways):
            if all(a == b for a, b in zip(tail, tail[period:], strict=False)):
                interval = Fraction(sum(tail[:period]), period)
                return Timing(
                    results[0] - entered[0],
                    results[0] - entered[source.beats - 1],
                    int(interval) if interval.denominator == 1 else interval,
                )
    raise AssertionError("the network's timing did not settle")
