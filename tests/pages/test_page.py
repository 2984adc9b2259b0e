# SPDX-License-Identifier: Apache-2.0
"""Pages: one file, whole, escaped; what is drawn is where its numbers say."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from fxsim.pages.charts import Bar, Lane, Plot, Series, Timeline
from fxsim.pages.page import Facts, Folded, Part, Picture, Section, Table, Text, Verdict, render, replace_section

HOSTILE = "</td><script>alert(1)</script>&\"'\x00\x1b]\ud800 <b>"
VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Holds a page to be balanced; collects its elements and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.text.append(data)


def read(text: str) -> Reader:
    """A page's content, after every rule that holds for all pages."""
    assert text.startswith("<!DOCTYPE html>\n")
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    without_data = re.sub(r"base64,[A-Za-z0-9+/=]*", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", without_data)
    tags = {tag for tag, _ in reader.elements}
    assert not tags & {"script", "link", "iframe", "object", "base", "form"}
    for tag, attributes in reader.elements:
        assert not any(name.startswith("on") or name in ("href", "style") for name in attributes), tag
        assert tag != "img" or str(attributes["src"]).startswith("data:image/png;base64,")
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    return reader


def page(*parts: Part) -> Reader:
    return read(render("T", "lead", [Section("one", "One", parts)]))


EVERY: list[Part] = [
    Text(HOSTILE),
    Text("soft", soft=True),
    Facts([(HOSTILE, HOSTILE), ("n", 3), ("x", 0.123456789)]),
    Table(("<a", "b", "<<c"), [(HOSTILE, 2, None)], caption=HOSTILE, marked=0),
    Verdict(True, "passed", HOSTILE),
    Folded(HOSTILE, [Text(HOSTILE)]),
    Picture(b"\x89PNG", HOSTILE),
    Timeline([Lane(HOSTILE, [Bar(0, 3, 0)])], [HOSTILE], HOSTILE, HOSTILE),
    Plot([Series(HOSTILE, [(1, 2), (3, 4)], dashed=True)], HOSTILE, HOSTILE, HOSTILE),
]


@pytest.mark.parametrize("part", EVERY, ids=lambda part: type(part).__name__)
def test_whatever_comes_in_stays_text(part):
    text = render(HOSTILE, HOSTILE, [Section("one", HOSTILE, [part])])
    reader = read(text)
    assert text.encode()  # no half of a surrogate pair is left
    assert not re.search(r"[\x00-\x08\x0e-\x1f]", text)
    assert "".join(reader.text).count("<script>alert(1)</script>") >= 2  # title and heading, as text


def test_the_rules_can_be_broken():
    text = render("T", "lead", [])
    for bad in ("</p>", "<div>", "<script></script>", '<img src="x.png">', '<p onclick="x"></p>', "http://x"):
        with pytest.raises(AssertionError):
            read(text.replace("</body>", f"{bad}</body>"))


def test_values_as_people_read_them():
    found = "".join(page(Facts([("a", 0.123456789), ("b", 1234567), ("c", 2.0)])).text)
    assert "0.12346" in found and "1234567" in found and "2" in found


def test_a_section_is_replaced_and_nothing_else():
    def whole(middle: Section) -> str:
        return render("T", "l", [Section("a", "A", [Text("1")]), middle, Section("c", "C", [Text(HOSTILE)])])

    before = whole(Section("b", "B", [Text("</section> old")]))
    new = Section("b", "B2", [Table(("x",), [(r"\1 new",)])])
    after = replace_section(before, new)
    assert after == whole(new)
    assert replace_section(before, Section("d", "D", [])) is None
    with pytest.raises(ValueError, match="id must be"):
        Section('x">', "X", [])


def test_bars_lie_where_they_say():
    lanes = [Lane("one", [Bar(0, 50, 0), Bar(50, 200, 1)]), Lane("two", [Bar(200, 200, 1)])]
    bars = [a for tag, a in page(Timeline(lanes, ["a", "b"], "cycles", "d")).elements if tag == "rect"]
    assert [(a["x"], a["width"], a["class"]) for a in bars] == [
        ("0.00%", "25.00%", "c0"), ("25.00%", "75.00%", "c1"), ("100.00%", "0.30%", "c1"),
    ]  # fmt: skip
    assert bars[0]["y"] == bars[1]["y"] != bars[2]["y"]


def test_points_lie_where_they_say():
    series = [
        Series("s", [(1, 1), (10, 10), (100, 100)]),
        Series("alone", [(10, 10), (0, 5), (float("nan"), 1)], False),
    ]
    elements = page(Plot(series, "x", "y", "d", log_x=True, log_y=True)).elements
    spots = [(float(str(a["cx"])[:-1]), float(str(a["cy"]))) for tag, a in elements if tag == "circle"]
    assert len(spots) == 4  # 0 and NaN have no place on a logarithmic axis
    assert spots[1] == spots[3] == (50, 130)
    assert spots[0][0] + spots[2][0] == pytest.approx(100, abs=0.02) and spots[0][1] > spots[2][1]
    assert sum(tag == "line" and a["class"] == "c0" for tag, a in elements) == 2
    assert not any(tag == "line" and a["class"] == "c1" for tag, a in elements)


@pytest.mark.parametrize("points", [[], [(5, 5)], [(5, 0), (5, 0)], [(-3, 1e-9), (4, 1e9)]])
def test_plots_of_little(points):
    page(Plot([Series("s", points)], "x", "y", "d"))
    page(Plot([Series("s", points)], "x", "y", "d", log_x=True, log_y=True))
