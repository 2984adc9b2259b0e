# SPDX-License-Identifier: Apache-2.0
"""Which lines and which bits of the Verilog a regression reaches, by Verilator's coverage."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Coverage", "Point", "read"]

_FIELD = re.compile(r"\x01([^\x02]*)\x02([^\x01]*)")


@dataclass(frozen=True)
class Point:
    """Something to reach: a line, or a bit of a signal in one direction."""

    kind: str  #: ``line``, ``branch`` or ``toggle``
    line: int
    name: str  #: of a bit and its direction; nothing for a line


@dataclass(frozen=True)
class Coverage:
    """How often each point was reached, over all instances."""

    counts: dict[Point, int]

    def share(self, kinds: Iterable[str]) -> tuple[int, int]:
        """Points reached, and points in all, of some kinds."""
        found = [count for point, count in self.counts.items() if point.kind in kinds]
        return sum(count > 0 for count in found), len(found)

    def missed(self, kinds: Iterable[str]) -> list[Point]:
        """Points that were not reached, by line."""
        found = [point for point, count in self.counts.items() if not count and point.kind in kinds]
        return sorted(found, key=lambda point: (point.line, point.name))


def read(paths: Iterable[Path]) -> Coverage:
    """Add up coverage files of runs of the same design."""
    counts: dict[Point, int] = defaultdict(int)
    for path in paths:
        for line in path.read_text(errors="replace").splitlines():
            if not line.startswith("C '"):
                continue
            body, _, count = line[3:].rpartition("' ")
            fields = dict(_FIELD.findall(body))
            kind = fields.get("page", "").partition("/")[0].removeprefix("v_")
            # Verilator writes a character that C++ does not know in a name as __0 and its code
            plain = re.sub(r"__0([0-9A-Fa-f]{2})", lambda code: chr(int(code[1], 16)), fields.get("o", ""))
            name = plain if kind == "toggle" else ""
            counts[Point(kind, int(fields["l"]), name)] += int(count)
    return Coverage(dict(counts))
