# SPDX-License-Identifier: Apache-2.0
"""Which operators sit in which stage of a layer's pipeline, for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fxsim.program.ops import Lookup, Op, Reduction

from .folded import Engine
from .schedule import LayerSchedule


@dataclass(frozen=True)
class Stage:
    """What happens in one cycle of beat 0; ``offset``: when the last result in it stands, in the family's ns."""

    cycle: int
    operators: tuple[str, ...]
    offset: float


def heading(name: str, plan: LayerSchedule) -> str:
    """What stands over the stages of a layer."""
    return f"{name}: interval {plan.interval}, result in cycle {plan.result}"


def stages(plan: LayerSchedule, labels: Mapping[str, str] = MappingProxyType({})) -> list[Stage]:
    """The cycles of a layer in order, each with its operators; ``labels`` are those of the layer."""
    found: dict[int, list[str]] = {}
    latest: dict[int, float] = {}
    for op in plan.program.ops:
        if op.name in plan.engines:
            engine = plan.engines[op.name]
            for cycle, text in _engine(engine, labels.get(op.name, op.name)):
                found.setdefault(cycle, []).append(text)
            latest[engine.ready] = max(latest.get(engine.ready, 0.0), engine.offset)
        elif op.name in plan.slots:
            slot = plan.slots[op.name]
            name = labels.get(op.name, op.name)
            found.setdefault(slot.start, []).append(f"{name}: {_first(op, plan, labels)}")
            if slot.cycle > slot.start:
                found.setdefault(slot.cycle, []).append(f"{name}: {_last(op, plan)}")
            latest[slot.cycle] = max(latest.get(slot.cycle, 0.0), slot.offset)
    return [Stage(cycle, tuple(texts), latest.get(cycle, 0.0)) for cycle, texts in sorted(found.items())]


def _engine(engine: Engine, name: str) -> list[tuple[int, str]]:
    """Cycles of an engine's parts: the products, each row of adder levels between two registers, the accumulator."""
    cycle = engine.start + engine.selected
    found = [(engine.start, f"{name}: operands")] if engine.selected else []
    found.append((cycle, f"{name}: {engine.multipliers} products"))
    cycle += engine.stages
    levels = 0
    kind = "levels without carries" if engine.compressed else "adder levels"
    for registered in engine.registers[: len(engine.registers) - engine.accumulates - engine.compressed]:
        if registered and levels:
            found.append((cycle, f"{name}: {levels} {kind}"))
            levels = 0
        cycle += registered
        levels += 1
    if levels:
        found.append((cycle, f"{name}: {levels} {kind}"))
    if engine.compressed:
        found.append((cycle + engine.registers[-1], f"{name}: addition"))
    if engine.accumulates:
        found.append((cycle + engine.registers[-1], f"{name}: sum of {engine.depth} parts"))
    return found


def _first(op: Op, plan: LayerSchedule, labels: Mapping[str, str]) -> str:
    if op.name in plan.absorbed:
        dot = plan.absorbed[op.name].dot
        return f"a term of {labels.get(dot, dot)}"
    if isinstance(op, Lookup) and plan.slots[op.name].through:
        return f"index by the operands of {labels.get(op.arg, op.arg)}"
    if isinstance(op, Lookup):
        return f"index{' and rounding bit' if plan.slots[op.name].doubled else ''}"
    return op.kind


def _last(op: Op, plan: LayerSchedule) -> str:
    if op.name in plan.absorbed:
        return "sum"
    if isinstance(op, Lookup):
        return "table"
    return "result" if isinstance(op, Reduction) else "cast"
