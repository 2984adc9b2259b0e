# SPDX-License-Identifier: Apache-2.0
"""One HTML page that needs nothing beside it: no network, no script; light or dark, as wide as the screen.

A page is data: sections of facts, tables, pictures and verdicts. It is built as a tree of elements, so that whatever
text comes in is escaped; nothing in it depends on the day or the machine.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from xml.etree.ElementTree import Element, SubElement, tostring

#: Colours that charts may use, as classes c0 to c7.
COLORS = 8
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --soft: #59636e; --line: #d8dee4; --tint: #f3f5f7;
  --good: #1a7f37; --bad: #cf222e; --s0: #0b6e99; --s1: #c44e34; --s2: #5b8c2a; --s3: #8452a6; --s4: #b8860b;
  --s5: #2a8c82; --s6: #a63d6f; --s7: #6b7280; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e4e8ec; --soft: #98a2ad; --line: #363c44;
  --tint: #1e2329; --good: #4ac26b; --bad: #ff7b72; --s0: #4fb3dd; --s1: #ef8a70; --s2: #98c864; --s3: #c09ae0;
  --s4: #e0b64c; --s5: #66c9be; --s6: #e583ad; --s7: #a0a8b4; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  overflow-wrap: anywhere; -webkit-text-size-adjust: 100%; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
p { margin: .5rem 0; max-width: 46rem; }
.lead, .note, figcaption, caption { color: var(--soft); }
.note, figcaption { font-size: .875rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: .6rem 1.2rem;
  margin: .8rem 0; }
dl div { min-width: 0; }
dt { color: var(--soft); font-size: .8125rem; }
dd { margin: 0; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .22rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); background: var(--tint); }
th.l, td.l { text-align: left; }
td.w { text-align: left; white-space: normal; min-width: 16rem; }
tr.m td { background: var(--tint); font-weight: 600; }
.verdict { margin: .8rem 0; padding: .5rem .9rem; border-left: .3rem solid var(--soft); background: var(--tint); }
.verdict.passed { border-color: var(--good); } .verdict.failed { border-color: var(--bad); }
.verdict b { margin-right: .5rem; } .passed b { color: var(--good); } .failed b { color: var(--bad); }
summary { cursor: pointer; padding: .2rem 0; }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; background: #fff; border-radius: .3rem; }
@media (max-width: 40rem) { table { font-size: .8125rem; } th, td { padding: .2rem .45rem; } }
svg { display: block; width: 100%; overflow: visible; font-size: 12px; }
svg text { fill: var(--soft); } svg text.k { fill: var(--ink); }
svg .grid { stroke: var(--line); stroke-width: 1; } .plot { padding: 0 1.2rem 0 3.2rem; }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .4rem 0; padding: 0; list-style: none;
  font-size: .8125rem; color: var(--soft); }
.key i { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem; vertical-align: -.08rem; }
""" + "".join(
    f".c{n} {{ fill: var(--s{n}); stroke: var(--s{n}); }} i.c{n} {{ background: var(--s{n}); }}\n"
    for n in range(COLORS)
)


class Part(Protocol):
    """Something that stands in a section."""

    def draw(self, parent: Element) -> None:
        """Append its elements to ``parent``."""


@dataclass(frozen=True)
class Text:
    """A paragraph; ``soft`` for what is said in passing."""

    text: str
    soft: bool = False

    def draw(self, parent: Element) -> None:
        add(parent, "p", self.text, "note" if self.soft else None)


@dataclass(frozen=True)
class Facts:
    """Names and values, side by side as far as the screen is wide."""

    rows: Sequence[tuple[object, object]]

    def draw(self, parent: Element) -> None:
        found = add(parent, "dl")
        for name, value in self.rows:
            row = add(found, "div")
            add(row, "dt", name)
            add(row, "dd", value)


@dataclass(frozen=True)
class Table:
    """Rows under columns; a name that starts with ``<`` is aligned left, with ``<<`` it is text that may be wrapped.

    ``marked``: the row that is set off from the others. A table that is too wide scrolls by itself.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    marked: int | None = None

    def draw(self, parent: Element) -> None:
        # Scrollable by keyboard, too.
        found = add(add(parent, "div", None, "scroll", tabindex="0"), "table")
        if self.caption:
            add(found, "caption", self.caption)
        kinds = ["w" if name.startswith("<<") else "l" if name.startswith("<") else None for name in self.columns]
        if any(name.lstrip("<") for name in self.columns):
            head = add(add(found, "thead"), "tr")
            for name, kind in zip(self.columns, kinds, strict=True):
                add(head, "th", name.lstrip("<"), "l" if kind else None, scope="col")
        body = add(found, "tbody")
        for place, row in enumerate(self.rows):
            line = add(body, "tr", None, "m" if place == self.marked else None)
            for value, kind in zip(row, kinds, strict=True):
                add(line, "td", value, kind)


@dataclass(frozen=True)
class Verdict:
    """A judgement: ``passed`` is None where there is none yet."""

    passed: bool | None
    word: str
    text: str

    def draw(self, parent: Element) -> None:
        state = {True: " passed", False: " failed", None: ""}[self.passed]
        found = add(parent, "p", None, f"verdict{state}")
        word = add(found, "b", self.word)
        word.tail = clean(self.text)


@dataclass(frozen=True)
class Picture:
    """A PNG file, as part of the page; ``description`` stands under it and for it."""

    png: bytes
    description: str

    def draw(self, parent: Element) -> None:
        found = add(parent, "figure")
        data = base64.b64encode(self.png).decode()
        add(found, "img", src=f"data:image/png;base64,{data}", alt=self.description)
        add(found, "figcaption", self.description)


@dataclass(frozen=True)
class Folded:
    """Parts that stand behind a line until it is opened."""

    title: str
    parts: Sequence[Part]

    def draw(self, parent: Element) -> None:
        found = add(parent, "details")
        add(found, "summary", self.title)
        for part in self.parts:
            part.draw(found)


@dataclass(frozen=True)
class Section:
    """Parts under a heading; ``id`` (letters and ``-``) is what :func:`replace_section` finds it by."""

    id: str
    title: str
    parts: Sequence[Part]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z-]*", self.id):
            raise ValueError(f"id must be small letters and -, not {self.id!r}")

    def element(self) -> Element:
        """The section as an element."""
        found = Element("section", id=self.id)
        add(found, "h2", self.title)
        for part in self.parts:
            part.draw(found)
        return found


def add(parent: Element, tag: str, text: object = None, kind: str | None = None, **attributes: str) -> Element:
    """A new last child, with text as people read it, CSS classes and attributes."""
    found = SubElement(parent, tag, {"class": kind} if kind else {}, **{k: clean(v) for k, v in attributes.items()})
    if text is not None:
        found.text = clean(f"{text:.5g}" if isinstance(text, float) else str(text))
    return found


def clean(text: str) -> str:
    """Text without the characters that no page may hold (control characters, halves of surrogate pairs)."""
    return "".join(c if c.isprintable() or c in "\n\t\xa0" else "\N{REPLACEMENT CHARACTER}" for c in text)


def render(title: str, lead: str, sections: Iterable[Section]) -> str:
    """The text of a page: a title, a sentence under it, sections with distinct ids."""
    whole = Element("html", lang="en")
    head = add(whole, "head")
    add(head, "meta", charset="utf-8")
    add(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    # No reader and no link in the page may fetch anything.
    rule = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    policy = add(head, "meta", content=rule)
    policy.set("http-equiv", "Content-Security-Policy")
    add(head, "title", title)
    add(head, "style").text = _STYLE
    body = add(whole, "body")
    add(body, "h1", title)
    add(body, "p", lead, "lead")
    for section in sections:
        body.append(section.element())
    return f"<!DOCTYPE html>\n{_text(whole)}\n"


def fragment(parts: Iterable[Part]) -> str:
    """Parts as HTML that stands in another page, such as a notebook."""
    whole = Element("div")
    for part in parts:
        part.draw(whole)
    return _text(whole)


def _text(element: Element) -> str:
    found = tostring(element, encoding="unicode", method="html")
    # A line for each block, so that two pages can be compared.
    return re.sub(
        r"(?<=>)(?=<(?:section|h2|p|dl|div|table|tr|figure|details|head|body|meta|/body|/section)\b)", "\n", found
    )


def replace_section(text: str, section: Section) -> str | None:
    """A page with this section in the place of the one with its id; None if the page has none."""
    pattern = re.compile(rf'<section id="{section.id}">.*?</section>', re.DOTALL)
    new = _text(section.element())
    found, count = pattern.subn(lambda _: new, text, count=1)
    return found if count else None
