# SPDX-License-Identifier: Apache-2.0
"""How a listing stands on a terminal of some width: all its columns, fewer of them, or the table on its side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..pages.listing import Column, Listing

#: Blanks between two columns.
GAP = 2


@dataclass(frozen=True)
class Grid:
    """Texts under heads, which may have several lines; ``widths``: characters of each column."""

    heads: Sequence[str]
    left: Sequence[bool]
    widths: Sequence[int]
    rows: Sequence[Sequence[str]]
    marked: int | None = None


def layout(listing: Listing, width: int | None = None) -> tuple[list[Grid], list[str]]:
    """What a terminal of ``width`` characters shows, and the names of the columns for which it has no room.

    All columns where they fit (None: always), with heads and prose folded at blanks if need be. Else the table on its
    side, where that shows all rows beside each other; else fewer columns; else on its side, in parts. Numbers and names
    stay whole; only what alone is wider than the terminal is broken.
    """
    rows, columns = listing.shown()
    shown = [listing.columns[n] for n in columns]
    cells = [[listing.columns[n].text(listing.rows[row][n]) for n in columns] for row in rows]
    marked = None if listing.marked is None else rows.index(listing.marked)
    full = [_widest([column.name, *(row[n] for row in cells)]) for n, column in enumerate(shown)]
    least = [_least(column, [row[n] for row in cells]) for n, column in enumerate(shown)]

    def grid(kept: Sequence[int]) -> Grid:
        wanted = [full[n] for n in kept]
        widths = wanted if width is None else _spread([least[n] for n in kept], wanted, width)
        picked = [[row[n] for n in kept] for row in cells]
        return Grid([shown[n].name for n in kept], [shown[n].left for n in kept], widths, picked, marked)

    if width is None or _line(least) <= width:
        return [grid(range(len(shown)))], []
    sides = list(_sideways([column.name for column in shown], cells, width))
    kept = _kept(shown, least, width)
    if len(sides) == 1 or not kept:
        return sides, []
    return [grid(kept)], [column.name for n, column in enumerate(shown) if n not in kept and column.name]


def _least(column: Column, cells: Sequence[str]) -> int:
    """The least width of a column: what is prose, as its head is, may be folded at blanks."""
    words = [word for cell in cells for word in cell.split()] if column.prose else cells
    return _widest([*column.name.split(), *words])


def _spread(least: Sequence[int], full: Sequence[int], width: int) -> list[int]:
    """Widths from least to full, as far as a line has room: the first columns first."""
    room = width - _line(least)
    found = []
    for few, all in zip(least, full, strict=True):
        found.append(min(all, few + max(room, 0)))
        room -= found[-1] - few
    return found


def _kept(columns: Sequence[Column], least: Sequence[int], width: int) -> list[int]:
    """Columns that fit: those of each rank together, from 0 on; none where those of rank 0 do not."""
    kept: list[int] = []
    for rank in sorted({column.rank for column in columns}):
        more = sorted(kept + [n for n, column in enumerate(columns) if column.rank == rank])
        if _line([least[n] for n in more]) <= width:
            kept = more
        elif not rank:
            return []
    return kept


def _sideways(names: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> Iterator[Grid]:
    """The rows as columns, as many beside each other as fit, under their first values; a row alone has no heads."""
    used = [n for n, name in enumerate(names) if name and any(row[n] for row in cells)]
    lines = [[row[n] for n in used] for row in cells]
    heads = [names[n] for n in used]
    widths = [_widest(line) for line in lines]
    # Names may be folded, so that numbers stay whole.
    first = min(_widest(heads), max(width - GAP - max(widths, default=0), width // 4))
    widths = [min(one, width - GAP - first) for one in widths]
    place = 0
    while used and place < len(lines):
        end = place + 1
        while end < len(lines) and _line([first, *widths[place : end + 1]]) <= width:
            end += 1
        body = [[head, *values] for head, *values in zip(heads, *lines[place:end], strict=True)]
        top = [""] * len(body[0]) if len(lines) == 1 else body.pop(0)
        yield Grid(top, [True, *[False] * (end - place)], [first, *widths[place:end]], body)
        place = end


def _line(widths: Sequence[int]) -> int:
    """Characters of a line."""
    return sum(widths) + GAP * (len(widths) - 1)


def _widest(texts: Sequence[str]) -> int:
    """Places on the screen that the widest of some texts takes."""
    from rich.cells import cell_len

    return max(map(cell_len, texts), default=0)
