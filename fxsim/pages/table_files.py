# SPDX-License-Identifier: Apache-2.0
"""Rows as CSV and as cells of a table, figures as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from ..extras import importing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def to_csv(rows: Sequence[Any]) -> bytes:
    """Rows of one dataclass as CSV with a header; what is a tuple is one cell, with blanks."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if rows:
        writer.writerow([field.name for field in fields(rows[0])])
        for row in rows:
            values = asdict(row).values()
            writer.writerow(" ".join(map(str, v)) if isinstance(v, tuple) else v for v in values)
    return text.getvalue().encode()


def short(values: Iterable[object]) -> list[str]:
    """Cells of a table: numbers with few digits, nothing for None."""
    return ["" if v is None else f"{v:.5g}" if isinstance(v, float) else str(v) for v in values]


def dimensions(shape: Iterable[int]) -> str:
    """A shape as people write it: 20 x 6."""
    return " x ".join(map(str, shape))


def figure(width: float, height: float) -> Figure:
    """An empty figure that needs no display, and that notebooks show; raises ``FxsimError`` without matplotlib."""
    with importing("a picture"):
        from matplotlib.figure import Figure

    class Picture(Figure):
        """A figure that shows itself: pyplot, which does it for its own, is not used."""

        def _repr_png_(self) -> bytes:
            return png(self)

    return Picture(figsize=(width, height), layout="constrained")


def png(picture: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
