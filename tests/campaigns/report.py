# SPDX-License-Identifier: Apache-2.0
"""Tables on the terminal and JSON files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fxsim.files.folder import write_whole

__all__ = ["show", "write"]


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print rows as a table of Markdown."""
    texts = [[str(row[name]) for name in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    for line in (list(columns), ["-" * width for width in widths], *texts):
        print("| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |")


def write(path: Path, name: str, result: Mapping[str, Any]) -> None:
    """Put a result under its name in a JSON file; what the file says of others stays."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps({**known, name: result}, indent=1, sort_keys=True) + "\n").encode())
