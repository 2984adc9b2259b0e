# SPDX-License-Identifier: Apache-2.0
"""Charts of a page as inline SVG: what happens when, and points in two dimensions.

Across they are measured in percent and down in pixels, so that they are as wide as the screen with text of one size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree.ElementTree import Element

from .page import COLORS, add, clean

_ROW, _BAR, _AXIS = 38, 14, 26
_HEIGHT = 260


@dataclass(frozen=True)
class Bar:
    """A stretch of time in a lane; ``kind`` is the place of its name in the timeline's ``kinds``."""

    start: float
    end: float
    kind: int


@dataclass(frozen=True)
class Lane:
    """A row of a timeline: its name, and what happens in it."""

    name: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Timeline:
    """Lanes under each other over one axis that begins at 0."""

    lanes: Sequence[Lane]
    kinds: Sequence[str]
    unit: str
    description: str

    def draw(self, parent: Element) -> None:
        figure = add(parent, "figure")
        end = max((bar.end for lane in self.lanes for bar in lane.bars), default=0) or 1
        height = _ROW * len(self.lanes)
        picture = _svg(figure, height + _AXIS, self.description)
        for tick in _ticks(0, end):
            x = _percent(tick / end)
            add(picture, "line", None, "grid", x1=x, x2=x, y1="0", y2=str(height))
            _label(picture, tick / end, height + 16, f"{tick:g}")
        for place, lane in enumerate(self.lanes):
            top = place * _ROW
            add(picture, "text", lane.name, "k", x="2", y=str(top + 14))
            for bar in lane.bars:
                # What takes no time is seen all the same.
                share = max((bar.end - bar.start) / end, 0.003)
                found = add(picture, "rect", None, f"c{bar.kind}", x=_percent(bar.start / end), width=_percent(share))
                found.set("y", str(top + 20))
                found.set("height", str(_BAR))
                add(found, "title", f"{lane.name}, {self.kinds[bar.kind]}: {bar.start:g} to {bar.end:g} {self.unit}")
        _key(figure, self.kinds)
        add(figure, "figcaption", f"{self.description}; in {self.unit}")


@dataclass(frozen=True)
class Series:
    """Points (x, y) of one colour, joined in their order if ``joined``; ``dashed`` lines are for what is compared."""

    name: str
    points: Sequence[tuple[float, float]]
    joined: bool = True
    dashed: bool = False
    large: bool = False


@dataclass(frozen=True)
class Plot:
    """Series over two axes, each linear or logarithmic. Points that are no numbers are left out."""

    series: Sequence[Series]
    x: str
    y: str
    description: str
    log_x: bool = False
    log_y: bool = False

    def draw(self, parent: Element) -> None:
        figure = add(parent, "figure")
        add(figure, "div", self.y, "note")
        inner = add(figure, "div", None, "plot")
        picture = _svg(inner, _HEIGHT + _AXIS, self.description)
        shown = [
            [p for p in one.points if _drawn(p[0], self.log_x) and _drawn(p[1], self.log_y)] for one in self.series
        ]
        across = _Axis.over((x for points in shown for x, _ in points), self.log_x)
        down = _Axis.over((y for points in shown for _, y in points), self.log_y)
        for tick in across.ticks():
            x = _percent(across.place(tick))
            add(picture, "line", None, "grid", x1=x, x2=x, y1="0", y2=str(_HEIGHT))
            _label(picture, across.place(tick), _HEIGHT + 16, f"{tick:g}")
        for tick in down.ticks():
            y = _pixels(down.place(tick))
            add(picture, "line", None, "grid", x1="0", x2="100%", y1=y, y2=y)
            found = add(picture, "text", f"{tick:g}", x="-6", y=y, dy="4")
            found.set("text-anchor", "end")
        for place, (one, points) in enumerate(zip(self.series, shown, strict=True)):
            kind = f"c{place % COLORS}"
            spots = [(_percent(across.place(x)), _pixels(down.place(y))) for x, y in points]
            for (x1, y1), (x2, y2) in pairwise(spots) if one.joined else ():
                line = add(picture, "line", None, kind, x1=x1, y1=y1, x2=x2, y2=y2)
                line.set("stroke-width", "1.5")
                if one.dashed:
                    line.set("stroke-dasharray", "5 4")
            for (x, y), point in zip(spots, points, strict=True):
                found = add(picture, "circle", None, kind, cx=x, cy=y, r="6" if one.large else "3")
                add(found, "title", f"{one.name}: {self.x} {point[0]:g}, {self.y} {point[1]:g}")
        add(figure, "div", self.x, "note")
        _key(figure, [one.name for one in self.series])
        add(figure, "figcaption", self.description)


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    log: bool

    @classmethod
    def over(cls, values: Iterable[float], log: bool) -> _Axis:
        found = list(values) or [1.0]
        low, high = min(found), max(found)
        if log:
            room = (high / low) ** 0.04 if high > low else 2
            return cls(low / room, high * room, True)
        room = (high - low) * 0.04 or abs(high) / 2 or 1
        return cls(low - room, high + room, False)

    def place(self, value: float) -> float:
        """From 0 at the low end to 1 at the high one."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        if not self.log:
            return list(_ticks(self.low, self.high))
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)))
        for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
            found = [m * 10.0**d for d in decades for m in steps if self.low <= m * 10.0**d <= self.high]
            if len(found) >= 4:
                break
        return found or [self.low, self.high]


def _drawn(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not log)


def _ticks(low: float, high: float) -> Iterator[float]:
    """Round numbers, at most nine."""
    rough = (high - low) / 8
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= rough)
    for k in range(math.ceil(low / step), math.floor(high / step) + 1):
        # Without the last bits of the product.
        yield float(f"{k * step:.10g}")


def _svg(parent: Element, height: int, description: str) -> Element:
    found = add(parent, "svg", None, None, role="img", height=str(height))
    found.set("aria-label", clean(description))
    return found


def _label(picture: Element, share: float, y: int, text: str) -> None:
    found = add(picture, "text", text, x=_percent(share), y=str(y))
    found.set("text-anchor", "start" if share < 0.02 else "end" if share > 0.98 else "middle")


def _key(figure: Element, names: Sequence[str]) -> None:
    found = add(figure, "ul", None, "key")
    for place, name in enumerate(names):
        row = add(found, "li")
        add(row, "i", "", f"c{place % COLORS}").tail = clean(name)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"


def _pixels(share: float) -> str:
    return f"{_HEIGHT * (1 - share):.1f}"
