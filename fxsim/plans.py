# SPDX-License-Identifier: Apache-2.0
"""Plans of a network beside each other, as a table and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rtl.folding import Plan

COLUMNS = (
    "<reuse", "multipliers", "DSP", "LUT", "FF", "BRAM", "latency", "us", "after last", "interval", "sequences/s", "<",
)  # fmt: skip
#: Marks the plan that was asked for.
_CHOSEN = "<- chosen"


def rows(front: Sequence[Plan], chosen: Plan | None) -> Iterator[Sequence[object]]:
    """The table's rows, from fast to small: a front of plans, and the chosen one in its place."""
    known = [one for one in front if chosen is None or one.folding != chosen.folding]
    whole = [*known, *([] if chosen is None else [chosen])]
    for one in sorted(whole, key=lambda plan: (plan.timing.latency, plan.multipliers)):
        timing, cost = one.timing, one.cost
        # Of each layer, the cycles in which its engines work on a step.
        reuse = "/".join(str(fold.reuse) for fold in one.folding.folds.values())
        cells = ("", "", "") if cost is None else (cost.lut, cost.ff, f"{cost.bram:g}")
        yield (
            reuse, one.multipliers, one.dsp, *cells, timing.latency, f"{timing.latency / one.clock_mhz:.3f}",
            timing.latency_after_last, timing.interval, f"{one.clock_mhz * 1e6 / float(timing.interval):.0f}",
            _CHOSEN if one is chosen else "",
        )  # fmt: skip


def draw(front: Sequence[Plan], chosen: Plan | None, picture: Figure) -> None:
    """Latency against DSP blocks and, where they are estimated, LUTs; the chosen plan is marked."""
    panels = {"DSP blocks": {id(one): one.dsp for one in (*front, *([chosen] if chosen else []))}}
    luts = {id(one): one.cost.lut for one in (*front, *([chosen] if chosen else [])) if one.cost is not None}
    if luts:
        panels["LUTs (estimated)"] = luts
    for place, (name, amount) in enumerate(panels.items()):
        axes = picture.add_subplot(1, len(panels), place + 1)
        axes.plot([one.timing.latency for one in front], [amount[id(one)] for one in front], "o-", color="#0b6e99",
                  markersize=4, linewidth=1.2)  # fmt: skip
        if chosen is not None:
            at = (chosen.timing.latency, amount[id(chosen)])
            axes.plot(*at, "o", color="#c44e34", markersize=8)
            axes.annotate(f"{at[0]} cycles, {at[1]}", at, xytext=(8, 8), textcoords="offset points", color="#c44e34")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("latency (cycles)")
        axes.set_title(name, fontsize=10)
        axes.grid(True, color="#dddddd", linewidth=0.6)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    if front:
        one = front[0]
        picture.suptitle(f"{one.graph.name} at {one.clock_mhz:g} MHz, {one.family.name}", fontsize=11)
