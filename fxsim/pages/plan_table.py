# SPDX-License-Identifier: Apache-2.0
"""Plans of a network beside each other, as a table and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .listing import HIDDEN, Column, Listing, Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rtl.plan.folding import Plan

_COLUMNS = (
    Column("reuse", left=True), Column("multipliers"), Column("dsp", "DSP", rank=2), Column("lut", "LUT", rank=3),
    Column("ff", "FF", rank=5), Column("bram", "BRAM", rank=6), Column("latency"), Column("us", rank=1, form=".3f"),
    Column("after_last", rank=8), Column("interval", rank=1),
    Column("sequences_per_s", "sequences/s", rank=7, form=".0f"), Column("chosen", left=True, yes="<-"),
)  # fmt: skip

#: Of the listing of a layer's stages.
STAGES = (
    Column("layer", left=True, rank=HIDDEN), Column("cycle"),
    Column("operators", "operators of the first beat", left=True, prose=True),
)  # fmt: skip


class Plans(list["Plan"]):
    """Plans from fast to small, of which none beats another, with a picture and a table."""

    def plot(self, chosen: Plan | None = None) -> Figure:
        """Latency against DSP blocks and LUTs, which notebooks show; ``chosen`` is marked."""
        from .table_files import figure

        picture = figure(9, 4)
        draw(self, chosen, picture)
        return picture

    def summary(self) -> Summary:
        """All plans as a table, for people, notebooks and programs."""
        return Summary(repr(self), {}, [listing(self, None)])

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return self.summary().to_dict()

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def __repr__(self) -> str:
        if not self:
            return "no plans"
        ends = f"from {self[0].told()} to {self[-1].told()}" if len(self) > 1 else self[0].told()
        return f"{len(self)} plans of {self[0].graph.name}: {ends}"


def listing(front: Sequence[Plan], chosen: Plan | None, title: str = "") -> Listing:
    """A front of plans from fast to small, and the chosen one in its place."""
    known = [one for one in front if chosen is None or one.folding != chosen.folding]
    whole = sorted(
        [*known, *([] if chosen is None else [chosen])], key=lambda plan: (plan.timing.latency, plan.multipliers)
    )
    marked = None if chosen is None else whole.index(chosen)
    return Listing("plans", title, _COLUMNS, [_row(one, chosen) for one in whole], marked)


def _row(one: Plan, chosen: Plan | None) -> Sequence[object]:
    timing, cost = one.timing, one.cost
    # Of each layer, the cycles in which its engines work on a step.
    reuse = "/".join(str(fold.reuse) for fold in one.folding.folds.values())
    cells = (cost.luts, cost.ff, cost.bram)
    return (
        reuse, one.multipliers, one.dsp, *cells, timing.latency, timing.latency / one.clock_mhz,
        timing.latency_after_last, timing.interval, one.clock_mhz * 1e6 / float(timing.interval),
        None if chosen is None else one is chosen,
    )  # fmt: skip


def draw(front: Sequence[Plan], chosen: Plan | None, picture: Figure) -> None:
    """Latency against DSP blocks and LUTs; the chosen plan is marked."""
    shown = [*front, *([chosen] if chosen else [])]
    panels = {
        "DSP blocks": {id(one): one.dsp for one in shown},
        "LUTs (estimated)": {id(one): one.cost.luts for one in shown},
    }
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
