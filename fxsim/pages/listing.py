# SPDX-License-Identifier: Apache-2.0
"""Tables for people and for programs: plain values under columns, as JSON, as CSV and as a part of a page."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

from .page import Table, Text, fragment

#: Rank of a column that the screen never shows.
HIDDEN = 99

#: What a verb found, by name: tables as their rows, and single facts.
Parts = Mapping[str, Sequence[Mapping[str, object]] | Mapping[str, object]]


@dataclass(frozen=True)
class Column:
    """One column of a listing.

    ``key``: its name in JSON and CSV. ``head``: what stands over it on the screen; the key by default. ``left``: text,
    aligned left; numbers are aligned right. ``rank``: a terminal that is too narrow loses the columns of the highest
    rank first, and never those of rank 0; the screen never shows ``HIDDEN`` ones. ``form``: how it shows floats;
    ``yes``: how it shows True. ``prose``: text that may be folded at blanks.
    """

    key: str
    head: str | None = None
    left: bool = False
    rank: int = 0
    form: str = ".5g"
    yes: str = "yes"
    prose: bool = False

    @property
    def name(self) -> str:
        """What stands over it."""
        return self.key.replace("_", " ") if self.head is None else self.head

    def text(self, value: object) -> str:
        """A cell as people read it: floats with few digits, nothing for None and False."""
        if value is None or isinstance(value, bool):
            return self.yes if value else ""
        if isinstance(value, float | Fraction):
            return format(float(value), self.form)
        return ", ".join(map(self.text, value)) if isinstance(value, tuple | list) else str(value)


@dataclass(frozen=True)
class Listing:
    """Rows of plain values (numbers, text, None, tuples of them) under columns.

    ``key``: what JSON and CSV call it. ``title``: what stands above it on the screen. ``marked``: the row that is set
    off from the others. ``minor``: rows that only JSON and CSV have. The screen leaves out a column without any value.
    """

    key: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]
    marked: int | None = None
    minor: Collection[int] = ()

    def records(self) -> list[dict[str, object]]:
        """Each row as a dictionary of everything it has."""
        return [{c.key: plain(v) for c, v in zip(self.columns, row, strict=True)} for row in self.rows]

    def shown(self) -> tuple[list[int], list[int]]:
        """Places of the rows and of the columns that the screen shows where it is wide enough."""
        rows = [n for n in range(len(self.rows)) if n not in self.minor]
        columns = [
            n
            for n, column in enumerate(self.columns)
            if column.rank < HIDDEN and any(self.rows[row][n] is not None for row in rows)
        ]
        return rows, columns

    def part(self, *without: str) -> Table:
        """The same for a page, without some columns."""
        rows, columns = self.shown()
        columns = [n for n in columns if self.columns[n].key not in without]
        heads = ["<" * self.columns[n].left + self.columns[n].name for n in columns]
        cells = [[self.columns[n].text(self.rows[row][n]) for n in columns] for row in rows]
        return Table(heads, cells, self.title, None if self.marked is None else rows.index(self.marked))


@dataclass(frozen=True)
class Summary:
    """Something told for people, notebooks and programs: a heading, facts by name, and tables.

    Its ``repr`` is the text that the command line shows; a notebook shows it as HTML.
    """

    heading: str
    facts: Mapping[str, Mapping[str, object]]
    listings: Sequence[Listing]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values (text, numbers, lists, dictionaries), as ``--json`` prints it."""
        found: dict[str, Any] = {name: plain(values) for name, values in self.facts.items()}
        for listing in self.listings:
            found.setdefault(listing.key, []).extend(listing.records())
        return found

    def __str__(self) -> str:
        from ..command.terminal import render, screen_width

        return "\n\n".join([self.heading, *(render(listing, screen_width()) for listing in self.listings)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return fragment([Text(self.heading), *(listing.part() for listing in self.listings)])


def of_records(
    key: str, title: str, columns: Sequence[Column], records: Sequence[Any], hidden: Iterable[str] = ()
) -> Listing:
    """A listing of dataclass instances; fields that ``columns`` leave out are only in JSON and CSV.

    ``hidden``: names of properties that are to be there, too.
    """
    known = {column.key for column in columns}
    rest = [field.name for field in fields(records[0])] if records else []
    whole = [*columns, *(Column(name, rank=HIDDEN) for name in (*rest, *hidden) if name not in known)]
    rows = [tuple(getattr(one, column.key) for column in whole) for one in records]
    return Listing(key, title, whole, rows)


def pairs(key: str, title: str, rows: Sequence[Sequence[object]]) -> Listing:
    """Names with a value each."""
    return Listing(key, title, (Column("name", "", left=True, prose=True), Column("value", "")), rows)


def plain(value: object) -> object:
    """A value as JSON has it: numbers as they are, a fraction as a float, None for what is no number."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | Fraction):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return str(value)


def json_text(parts: Parts) -> str:
    """All parts of a verb's result as one JSON object."""
    return json.dumps(parts, indent=1, allow_nan=False) + "\n"


def csv_text(parts: Parts) -> str:
    """All parts as one CSV table: ``table`` says which part a row is of, and the columns are those of all parts.

    What is a list is one cell, with blanks; what is not there is an empty cell.
    """
    rows = [
        {"table": name, **record}
        for name, part in parts.items()
        for record in ([part] if isinstance(part, Mapping) else part)
    ]
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return stream.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return json.dumps(value)
    return " ".join(str(_cell(item)) for item in value) if isinstance(value, tuple | list) else value
