# SPDX-License-Identifier: Apache-2.0
"""What the command line shows: results on standard output, progress on standard error if that is a terminal."""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..pages.listing import Listing, csv_text, json_text, plain
from .table_layout import GAP, Grid, layout

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.progress import Progress as RichProgress
    from rich.table import Table

#: Least width that a terminal is taken to have.
_LEAST = 20
#: Columns left out that a note names.
_LISTED = 6

Progress = Callable[[int, int], None]


class Output:
    """Where a verb puts its results: shown at once, or kept and written as JSON or CSV by :meth:`finish`.

    ``form``: text, json or csv. ``quiet``: no text and no bars; what a program asked for still comes. ``parts``: what
    that is, by name: an object, or a list of rows.
    """

    def __init__(self, form: str = "text", quiet: bool = False) -> None:
        self.form, self.quiet = form, quiet
        self.parts: dict[str, Any] = {}

    def table(self, listing: Listing) -> None:
        """Show a table; several of one key are one in JSON and CSV."""
        if self.form == "text":
            if not self.quiet:
                show(listing)
            return
        self.parts.setdefault(listing.key, []).extend(listing.records())

    def records(self, key: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Rows for programs alone."""
        if self.form != "text":
            self.parts[key] = [{name: plain(value) for name, value in row.items()} for row in rows]

    def fact(self, key: str, shown: str | Listing | None, values: Mapping[str, object]) -> None:
        """Show a line, a table or nothing, which is an object of ``values`` in JSON and a row in CSV."""
        if self.form != "text":
            self.parts[key] = {name: plain(value) for name, value in values.items()}
        elif isinstance(shown, Listing):
            self.table(shown)
        elif shown is not None:
            self.note(shown)

    def files(self, folder: str | Path, names: Sequence[str]) -> None:
        """Say what was written where."""
        self.fact("files", f"{folder}: {', '.join(names)}", {"folder": str(folder), "names": names})

    def warn(self, line: str) -> None:
        """Show a warning on standard error, whatever else is asked for."""
        print(f"fxsim: warning: {line}", file=sys.stderr)

    def note(self, line: str) -> None:
        """Show a line that is for people alone, folded at blanks."""
        if self.form == "text" and not self.quiet:
            print(fold(line, screen_width()))

    @contextmanager
    def progress(self, label: str) -> Iterator[Progress | None]:
        """A callable (done, all) that draws a bar on standard error, or None where nobody would see it."""
        with self.phases(label) as bars:
            yield None if bars is None else bars.progress

    @contextmanager
    def phases(self, label: str) -> Iterator[Bars | None]:
        """Bars for the phases of one task on standard error, or None where nobody would see them."""
        if self.quiet or not sys.stderr.isatty():
            yield None
            return
        from rich import progress as of
        from rich.console import Console

        columns = (
            of.TextColumn("{task.description}"), of.BarColumn(bar_width=20), of.MofNCompleteColumn(),
            of.TimeElapsedColumn(), of.TextColumn("left"), of.TimeRemainingColumn(),
        )  # fmt: skip
        with of.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            yield Bars(bar, label)

    def finish(self) -> None:
        """Write what was kept."""
        if self.form == "json":
            print(json_text(self.parts), end="")
        elif self.form == "csv":
            print(csv_text(self.parts), end="")


def fold(text: str, width: int | None) -> str:
    """Lines folded at blanks where they are longer than ``width``; what has no blank, such as a path, stays whole."""
    if width is None:
        return text
    lines = (textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) for line in text.split("\n"))
    return "\n".join("\n".join(some) for some in lines)


class Bars:
    """A bar for each phase: what is done of it and how much there is, for how long it has run and how long it will."""

    def __init__(self, bar: RichProgress, label: str) -> None:
        self._bar, self._label = bar, label
        self._task = bar.add_task(label, total=None)

    def phase(self, name: str) -> None:
        """A phase begins; the one before is done."""
        self._bar.remove_task(self._task)
        self._task = self._bar.add_task(f"{self._label}: {name}", total=None)

    def progress(self, done: int, total: int) -> None:
        """So much of the phase is done, of so much."""
        self._bar.update(self._task, completed=done, total=total)


def show(listing: Listing) -> None:
    """Print a table: as wide as the terminal; whole where standard output is none, for nothing is cut off in a file."""
    styled = sys.stdout.isatty()
    print(render(listing, screen_width(), styled and not plain_text()) + "\n")


def screen_width() -> int | None:
    """Characters in a line of the terminal, None where standard output is not one."""
    return max(_LEAST, shutil.get_terminal_size((80, 24)).columns) if sys.stdout.isatty() else None


def plain_text() -> bool:
    """Whether no colours are wanted (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


def render(listing: Listing, width: int | None = None, styled: bool = False) -> str:
    """The text of a table for a terminal of ``width`` characters; with all columns where none is given."""
    from rich.text import Text

    grids, missing = layout(listing, width)
    # Wide enough for any row where no width is given: nothing is folded then.
    console, stream = _console(width or 1 << 16, styled)
    if listing.title:
        console.print(Text(listing.title, style="bold"), end="\n\n")
    for place, grid in enumerate(grids):
        if place:
            console.print()
        console.print(_drawn(grid))
    if missing:
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        note = f"Left out for lack of width: {', '.join(missing[:_LISTED])}{more}. --json and --csv print every column."
        console.print(Text(note, style="dim"))
    # No line ends in the blanks that fill a column.
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())


def _console(width: int, styled: bool) -> tuple[Console, io.StringIO]:
    from rich.console import Console

    stream = io.StringIO()
    return Console(
        file=stream, width=width, highlight=False, emoji=False, force_terminal=styled, no_color=not styled
    ), stream


def _drawn(grid: Grid) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # A blank beside each column, and the box's own between two of them.
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
    table.show_header = any(grid.heads)
    heads = [textwrap.wrap(head, width) for head, width in zip(grid.heads, grid.widths, strict=True)]
    deepest = max(map(len, heads))
    for lines, left, width in zip(heads, grid.left, grid.widths, strict=True):
        side: JustifyMethod = "left" if left else "right"
        head = "\n".join([""] * (deepest - len(lines)) + lines)  # all of them stand on the rule
        table.add_column(Text(head), justify=side, overflow="fold", width=width)
    for place, row in enumerate(grid.rows):
        # As Text: names of layers may hold brackets, which would be read as markup.
        table.add_row(*map(Text, row), style="bold" if place == grid.marked else None)
    return table
