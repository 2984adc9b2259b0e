# SPDX-License-Identifier: Apache-2.0
"""When everything happens: the cycle of every op of a layer, from its program, folding and clock.

Pure Python. The gateware is built from a :class:`LayerSchedule` and contains no other decision about time, so latency
and interval are known before anything is built.

A layer takes a *token*, one step's input vector, and works through it in ``beats`` groups of units, each beat taking
``cycles`` clock cycles; all times below are cycles after the first one in which the token stands in the layer's input
register (cycle 0), for beat 0. Beat g follows ``g * cycles`` later. Nothing inside a layer ever waits: a token enters
only when the layer can carry it to its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .folded import Engine, FoldedProgram
from .folds import lane_multipliers
from .pipeline import Slot
from .reads import Read


@dataclass(frozen=True)
class LayerSchedule(FoldedProgram):
    """A folded program with the time of everything in it; see also the fields of the classes that it is made of.

    ``segments`` are the cycles at which each group of beats starts: a matrix product of something computed in the step
    begins a new one; ``segment`` is that of each op. ``collected`` are the ops kept as whole vectors between segments.
    ``opened`` are the states that products read without a register of their own: out of the ops ``held``, whose
    registers keep their values until the next step. ``enters``: the cycle in which an interleaved token finds its
    states. ``reads``: where each op finds each operand, by the names of both. ``interval``: cycles between tokens;
    ``result``: the cycle in which beat 0 of the result is given to the buffer behind. ``longest``: the longest delay
    between two registers, on the scale of the family's table.
    """

    engines: Mapping[str, Engine]
    slots: Mapping[str, Slot]
    segment: Mapping[str, int]
    segments: tuple[int, ...]
    collected: frozenset[str]
    opened: frozenset[str]
    held: frozenset[str]
    enters: Mapping[str, int]
    reads: Mapping[tuple[str, str], Read]
    interval: int
    result: int
    longest: float

    @property
    def multipliers(self) -> int:
        """Multipliers of engines and lanes."""
        return sum(e.multipliers for e in self.engines.values()) + lane_multipliers(self.program, self.fold)

    @property
    def latency(self) -> int:
        """Edges from the one that takes a token to the one that brings its result into the buffer behind."""
        return self.result + self.tail + 1
