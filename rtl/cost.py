# SPDX-License-Identifier: Apache-2.0
"""Cells of a plan, estimated before anything is built."""

from __future__ import annotations

from math import ceil, prod

from .folding import Plan
from .layer_parts import layer_parts
from .parts import Parts, bits


def plan_parts(plan: Plan) -> Parts:
    """All parts of a plan."""
    parts = Parts()
    for layer, schedule, stage in zip(plan.layers, plan.schedules, plan.stages, strict=True):
        last = layer is plan.layers[-1]
        if schedule is not None:
            parts += layer_parts(schedule, layer.return_sequences, stage.depth, last)
    return parts + _front(plan)


def _front(plan: Plan) -> Parts:
    """What brings the input's beats into order, and the counters of the ports."""
    source, width = plan.source, plan.graph.input.width
    vector = prod(plan.graph.shape) // source.steps * width
    parts = Parts({"control": bits(source.beats) + 8, "ff control": bits(source.beats) + 2})
    if source.gather > 1:
        parts["ff"] += vector // source.gather * (source.gather - 1)
    if source.spread:
        parts["ff"] += vector * source.steps
        parts["buffer"] += vector * (source.steps - 1)
    if source.ways > 1:
        words, size = source.ways * source.steps, vector + 2
        counters = source.ways * (bits(source.steps + 1) + 2 * bits(source.steps) + 1) + 4 * bits(source.ways)
        parts += Parts({"control": counters, "ff control": counters, "ff": size})
        parts["memory"] += size * ceil(words / 32)
    for layer, schedule, stage in zip(plan.layers, plan.schedules, plan.stages, strict=True):
        if schedule is None:
            size = layer.elements * layer.type.width
            parts["ff"] += size * (1 + stage.depth)
            parts["buffer"] += size * (stage.depth - (layer is plan.layers[-1]))
    return parts
