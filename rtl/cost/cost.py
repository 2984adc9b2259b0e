# SPDX-License-Identifier: Apache-2.0
"""Cells of a plan, estimated before anything is built: what it is made of, times coefficients of the family.

The parts are counted from the schedules (:mod:`rtl.cost.layer_parts`, :mod:`rtl.cost.engine_parts`); what a part costs
is fitted to Yosys by ``benchmarks/calibrate_cost.py``, which writes :mod:`rtl.cost.coefficients` and says how far off
the estimates are on designs that the fit has not seen. DSP blocks and block RAMs need no coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil, prod
from typing import TYPE_CHECKING

from ..plan.schedule import LayerSchedule
from .coefficients import COEFFICIENTS
from .layer_parts import Wires, layer_parts, result_wires
from .parts import SYNTHESIS, Parts, bits, block_rams, deep

if TYPE_CHECKING:
    from ..plan.folding import Plan

#: The kinds of parts, in bits if nothing else is said, and what each is.
KINDS = {
    "adder": "additions, of several in a row the last one",
    "tree": "the other ones in a row, which become carry-save adders",
    "compress": "additions without carries",
    "compress again": "the same right behind others",
    "bias": "additions of constants to sums",
    "post": "additions that a 7-series DSP block makes behind its product",
    "accumulate": "sums that grow from cycle to cycle",
    "negate": "negations",
    "joint": "sums of the DSP blocks of a wide product",
    "logic": "partial products in logic",
    "mux": "multiplexers, in LUTs",
    "select": "choices between two values",
    "clear": "states, which begin anew",
    "compare": "comparisons and the choices they make",
    "round": "rounding additions",
    "sticky": "bits that a rounding looks at",
    "limit": "saturations",
    "detect": "bits that a saturation looks at",
    "clamp": "table indices",
    "rom": "read-only memories in LUTs, a sixteenth of their words times their different bits",
    "table": "the same of function tables",
    "buffer": "entries of buffers",
    "ring": "states of interleaved sequences",
    "control": "counters",
    "shift": "shift registers of up to 32 stages",
    "memory": "memories in LUTs of up to 32 words",
    "ff": "registers",
    "ff control": "registers of counters and of what follows them",
    "inside": "registers that 7-series DSP blocks take in",
    "rom register": "registers behind memories of weights",
    "table register": "registers behind tables in LUTs",
    "dsp": "DSP blocks",
    "bram": "block RAMs of 36 Kbit",
}


@dataclass(frozen=True)
class Cost:
    """Cells: LUTs of logic, LUTs used as memory or shift register, flip-flops, DSP blocks, block RAMs of 36 Kbit."""

    lut: int
    lutram: int
    ff: int
    dsp: int
    bram: float

    @property
    def luts(self) -> int:
        """All LUTs: of logic, and those used as memory or shift register."""
        return self.lut + self.lutram

    def to_json(self) -> dict[str, float]:
        """As the manifest holds it."""
        return asdict(self)


def cells(parts: Mapping[str, float], family: str) -> Cost:
    """The cells of some parts."""
    found = {
        cell: round(sum(value * parts.get(kind, 0) for kind, value in each.items()))
        for cell, each in COEFFICIENTS[family].items()
    }
    return Cost(found["lut"], found["lutram"], found["ff"], round(parts.get("dsp", 0)), parts.get("bram", 0))


def plan_cost(plan: Plan) -> Cost:
    """The cells of a plan."""
    return cells(plan_parts(plan), plan.family.name)


def schedule_cost(plan: LayerSchedule, sequences: bool) -> Cost:
    """The cells of a layer with a buffer as it usually is."""
    wires = Wires(plan.program.input.type.width)
    return cells(layer_parts(plan, sequences, 2, False, wires), plan.family.name)


def plan_parts(plan: Plan) -> Parts:
    """All parts of a plan."""
    parts = _front(plan)
    for each in parts_by_layer(plan):
        parts.include(each)
    return parts


def parts_by_layer(plan: Plan) -> list[Parts]:
    """The parts of each layer, with the buffer behind it."""
    found, wires = [], Wires(plan.graph.input.width)
    for layer, schedule, stage in zip(plan.layers, plan.schedules, plan.stages, strict=True):
        last = layer is plan.layers[-1]
        if schedule is not None:
            found.append(layer_parts(schedule, layer.return_sequences, stage.depth, last, wires))
            wires = result_wires(schedule.program, wires)
            continue
        # The steps of a sequence side by side.
        size = layer.elements * wires.width
        found.append(Parts({"ff": size * (1 + stage.depth), "buffer": size * (stage.depth - last)}))
    return found


def _front(plan: Plan) -> Parts:
    """What brings the input's beats into order, and the counters of the ports."""
    source = plan.source
    vector = prod(plan.graph.shape) // source.steps * plan.graph.input.width
    parts = Parts({"control": bits(source.beats) + 8, "ff control": bits(source.beats) + 2})
    if source.gather > 1:
        parts["ff"] += vector // source.gather * (source.gather - 1)
    if source.spread:
        parts["ff"] += vector * source.steps
        parts["buffer"] += vector * (source.steps - 1)
    if source.ways > 1:
        size = vector + 2
        counters = source.ways * (bits(source.steps + 1) + 2 * bits(source.steps) + 1) + 4 * bits(source.ways)
        parts.include({"control": counters, "ff control": counters, "ff": size})
        words, family = source.ways * source.steps, plan.family.name
        if deep(words):
            parts["bram"] += block_rams(words, size, 1, family)
        else:
            parts["memory"] += size * ceil(words / SYNTHESIS[family].words)
    return parts
