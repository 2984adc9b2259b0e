# SPDX-License-Identifier: Apache-2.0
"""Tables for any width: all columns, fewer, or on the side; no line too long, no number broken."""

from __future__ import annotations

import csv
import io
import json
import random
from dataclasses import dataclass
from fractions import Fraction

import pytest
from rich.cells import cell_len

from fxsim.command.table_layout import layout
from fxsim.command.terminal import render as text
from fxsim.pages.listing import HIDDEN, Column, Listing, csv_text, json_text, of_records, pairs, plain
from fxsim.pages.page import Section, render

COLUMNS = (
    Column("layer", left=True), Column("cycles"), Column("largest_error", rank=1), Column("low", "range from", rank=2),
    Column("high", "range to", rank=2), Column("digest", rank=HIDDEN),
)  # fmt: skip
ROWS = (("lstm", 120, 0.125, -1.5, 1.25, "a"), ("dense", 7, None, -0.000012345678, 12345678.9, "b"))
LISTING = Listing("layers", "Two layers", COLUMNS, ROWS, marked=1)

WIDE = """\
Two layers

layer  cycles  largest error   range from    range to
─────────────────────────────────────────────────────
lstm      120          0.125         -1.5        1.25
dense       7                 -1.2346e-05  1.2346e+07"""
HEADS_FOLDED = """\
Two layers

               largest
layer  cycles    error   range from    range to
───────────────────────────────────────────────
lstm      120    0.125         -1.5        1.25
dense       7           -1.2346e-05  1.2346e+07"""
SIDEWAYS = """\
Two layers

layer           lstm        dense
─────────────────────────────────
cycles           120            7
largest error  0.125
range from      -1.5  -1.2346e-05
range to        1.25   1.2346e+07"""
MANY = Listing("layers", "Two layers", COLUMNS, ROWS * 4)
FEWER = """\
Two layers

layer  cycles  largest error
────────────────────────────
lstm      120          0.125
dense       7
lstm      120          0.125
dense       7
lstm      120          0.125
dense       7
lstm      120          0.125
dense       7
Left out for lack of width: range from, range
to. --json and --csv print every column."""


@pytest.mark.parametrize(
    ("listing", "width", "shown"),
    [(LISTING, None, WIDE), (LISTING, 53, WIDE), (LISTING, 47, HEADS_FOLDED), (LISTING, 46, SIDEWAYS),
     (MANY, 46, FEWER)],
)  # fmt: skip
def test_what_stands_on_the_screen(listing: Listing, width: int | None, shown: str) -> None:
    assert text(listing, width) == shown


def test_on_its_side_in_parts() -> None:
    # 12 places are too few for layer and cycles beside each other, and for a number and the names.
    shown = text(Listing("x", "", COLUMNS, (ROWS[0],) * 2), 12).splitlines()
    assert shown[: len(shown) // 2] == [
        "layer   lstm", "────────────", "cycle    120", "s", "large  0.125", "st", "error", "range   -1.5", "from",
        "range   1.25", "to",
    ]  # fmt: skip
    alone = text(Listing("x", "", COLUMNS, ROWS[1:]), 20)
    assert "-1.2346e-05" in alone
    assert max(map(len, alone.splitlines())) <= 20


def test_a_row_alone_is_shown_on_its_side_with_all_it_has() -> None:
    one = Listing("layers", "", COLUMNS, ROWS[:1])
    assert text(one, 30) == (
        "layer           lstm\ncycles           120\nlargest error  0.125\nrange from      -1.5\nrange to        1.25"
    )


def test_columns_without_values_and_minor_rows_are_left_out() -> None:
    rows = (("a", 1, None, 2, 3, ""), ("b", 4, 0.5, 5, 6, ""))
    shown = text(Listing("x", "", COLUMNS, rows, minor={1}))
    assert "largest error" not in shown
    assert "b" not in shown.split()
    assert len(Listing("x", "", COLUMNS, rows, minor={1}).records()) == 2


def test_prose_is_folded_at_blanks() -> None:
    listing = pairs("x", "", [("values of all sequences compared", 1234567), ("different", 0)])
    assert text(listing, 30) == "values of all          1234567\nsequences compared\ndifferent                    0"


def test_a_name_wider_than_the_terminal_is_broken_and_nothing_else() -> None:
    listing = Listing("x", "", COLUMNS[:2], [("n" * 50, 123456)])
    shown = text(listing, 30)
    assert all(len(line) <= 30 for line in shown.splitlines())
    assert "123456" in shown
    assert shown.count("n") == 50


def test_wide_letters_take_two_places() -> None:
    listing = Listing("x", "", COLUMNS[:2], [("層層層", 12), ("a", 3)])
    assert [cell_len(line) for line in text(listing).splitlines()] == [14, 14, 14, 14]


def test_markup_and_emoji_codes_are_text() -> None:
    assert "[red]x[/red] :smile:" in text(Listing("x", "", COLUMNS[:1], [("[red]x[/red] :smile:",)]))


def test_styles_only_where_they_are_wanted() -> None:
    assert "\x1b[1m" in text(LISTING, 80, styled=True)
    assert "\x1b" not in text(LISTING, 80)


@pytest.mark.parametrize("seed", range(40))
def test_every_width_of_random_tables(seed: int) -> None:
    draw = random.Random(seed)

    def value(left: bool) -> object:
        if draw.random() < 0.1:
            return None
        return "w" * draw.randint(1, 12) if left else draw.choice((draw.random(), draw.randint(0, 10**8), 1e-9))

    columns = [
        Column("name", left=True),
        *(
            Column(f"{'c' * draw.randint(1, 8)}_{n}", left=draw.random() < 0.3, rank=draw.randint(0, 5))
            for n in range(draw.randint(1, 12))
        ),
    ]
    rows = [[f"row{n}", *(value(c.left) for c in columns[1:])] for n in range(draw.randint(1, 9))]
    listing = Listing("x", "", columns, rows)
    whole = words(text(listing))
    for width in range(30, 160, 13):
        shown = text(listing, width)
        assert all(len(line) <= width for line in shown.splitlines())
        table = words(shown.partition("Left out")[0])
        # Nothing that is not in the whole table: nothing is broken. And each row is there.
        assert set(table) <= set(whole)
        assert all(table.count(f"row{n}") == 1 for n in range(len(rows)))


def words(shown: str) -> list[str]:
    """Without the rules."""
    return [word for word in shown.split() if set(word) != {"─"}]


def test_a_layout_that_breaks_numbers_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fxsim.command.table_layout._least", lambda column, cells: 4)
    with pytest.raises(AssertionError):
        test_every_width_of_random_tables(1)


def test_ranks_that_do_not_fit_make_room_for_smaller_ones() -> None:
    columns = (Column("a"), Column("b", rank=1), Column("c", rank=2))
    rows = [("1", "2" * 30, "3")] * 9
    _, missing = layout(Listing("x", "", columns, rows), 20)
    assert missing == ["b"]


class TestPrograms:
    def test_json_has_everything_as_it_is(self) -> None:
        (one, two) = json.loads(json_text({"layers": MANY.records()}))["layers"][:2]
        assert one == {"layer": "lstm", "cycles": 120, "largest_error": 0.125, "low": -1.5, "high": 1.25, "digest": "a"}
        assert (two["largest_error"], two["low"]) == (None, -0.000012345678)

    def test_csv_has_one_header(self) -> None:
        parts = {"network": {"name": "a,b", "flag": True}, "layers": LISTING.records()}
        rows = list(csv.DictReader(io.StringIO(csv_text(parts))))
        assert [row["table"] for row in rows] == ["network", "layers", "layers"]
        assert (rows[0]["name"], rows[0]["flag"], rows[0]["layer"]) == ("a,b", "true", "")
        assert [float(row["low"]) for row in rows[1:]] == [-1.5, -0.000012345678]

    @pytest.mark.parametrize(
        ("value", "want"),
        [(Fraction(53, 3), 53 / 3), (float("nan"), None), (float("inf"), None), ((1, "a"), [1, "a"]),
         ({"a": Fraction(1, 2)}, {"a": 0.5}), (True, True), (Column, str(Column))],
    )  # fmt: skip
    def test_plain_values(self, value: object, want: object) -> None:
        assert plain(value) == want

    def test_records_bring_all_their_fields(self) -> None:
        @dataclass
        class Row:
            layer: str
            cycles: int
            more: tuple[int, ...]

            @property
            def double(self) -> int:
                return 2 * self.cycles

        listing = of_records("x", "", COLUMNS[:2], [Row("a", 1, (2, 3))], hidden=["double"])
        assert listing.records() == [{"layer": "a", "cycles": 1, "more": [2, 3], "double": 2}]
        assert "2" not in text(listing)

    def test_a_page_has_the_columns_of_the_screen(self) -> None:
        page = render("t", "", [Section("x", "", [LISTING.part("cycles")])])
        assert "<caption>Two layers</caption>" in page
        assert page.count("<th") == 4 + page.count("<thead")
        assert '<tr class="m"><td class="l">dense</td>' in page
