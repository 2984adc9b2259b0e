# SPDX-License-Identifier: Apache-2.0
"""Draws ``docs/images/house.svg``: the folders of fxsim and rtl, and who imports whom, from the import statements.

``python docs/house.py`` writes the picture; with ``--check`` it says whether the committed one is up to date. An arrow
is an import at the top of a module; one that a chain of others implies is left out.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "house.svg"
#: What users call stands on top of all folders.
DOOR = "fxsim"
#: Modules that everybody imports are left out.
BASE = ("errors", "arguments", "extras", "families")
_TEXT = 'font-family="sans-serif" font-size="13" text-anchor="middle"'
_TIP = (
    '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
    '<path d="M0,0 L8,4 L0,8 z" fill="#777"/></marker></defs>'
)
_WIDTH, _HEIGHT, _GAP, _RISE = 142, 46, 26, 92


def folder(module: str) -> str:
    """The folder that a module lives in; the package itself for modules beside the folders."""
    parts = module.split(".")
    return ".".join(parts[:2]) if (ROOT / Path(*parts[:2])).is_dir() else parts[0]


def imported(path: Path) -> Iterator[str]:
    """The modules of fxsim and rtl that a file imports at its top."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    package = parts[:-1]
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            target = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                whole = f"{target}.{alias.name}"
                yield whole if (ROOT / whole.replace(".", "/")).with_suffix(".py").is_file() else target


def arrows() -> dict[str, set[str]]:
    """For each folder those that it imports."""
    found: dict[str, set[str]] = {}
    for package in ("fxsim", "rtl"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            if path.stem == "__init__" or module.removeprefix("fxsim.") in BASE:
                continue
            own = found.setdefault(folder(module), set())
            for target in imported(path):
                if target.split(".")[0] in ("fxsim", "rtl") and target.removeprefix("fxsim.") not in BASE:
                    own.add(folder(target))
    for name, targets in found.items():
        targets -= {name, DOOR}
        targets &= found.keys()
    return found


def floors(graph: dict[str, set[str]]) -> list[list[str]]:
    """The folders from the lowest up: each stands above all that it imports, but for those that import it as well."""
    level = dict.fromkeys(graph, 0)
    for _ in graph:
        for name, targets in graph.items():
            below = [level[one] + (0 if name in graph[one] else 1) for one in targets]
            level[name] = max([level[name], *below])
    level[DOOR] = max(max(level.values()), level[DOOR])
    return [sorted(name for name in graph if level[name] == floor) for floor in range(max(level.values()) + 1)]


def reduced(graph: dict[str, set[str]]) -> set[tuple[str, str]]:
    """The arrows that no chain of others implies."""

    def reach(name: str, seen: set[str]) -> set[str]:
        for one in graph[name] - seen:
            seen.add(one)
            reach(one, seen)
        return seen

    kept = set()
    for name, targets in graph.items():
        for one in targets:
            others = {two for two in targets - {one} if name not in graph[two] and two not in graph[one]}
            if name in graph[one] or not any(one in reach(two, set()) for two in others):
                kept.add((name, one))
    return kept


def draw() -> str:
    """The picture as SVG."""
    graph = arrows()
    rows = floors(graph)
    count = dict.fromkeys(graph, 0)
    for path in (path for package in ("fxsim", "rtl") for path in (ROOT / package).rglob("*.py")):
        if path.stem != "__init__":
            count[folder(".".join(path.relative_to(ROOT).with_suffix("").parts))] += 1
    width = max(len(row) for row in rows) * (_WIDTH + _GAP) + _GAP
    height = len(rows) * _RISE + _GAP
    place = {}
    for floor, row in enumerate(rows):
        left = (width - len(row) * (_WIDTH + _GAP) + _GAP) / 2
        for number, name in enumerate(row):
            place[name] = (left + number * (_WIDTH + _GAP), height - (floor + 1) * _RISE)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {_TEXT}>',
        _TIP,
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for above, below in sorted(reduced(graph)):
        (x1, y1), (x2, y2) = place[above], place[below]
        if y1 == y2:
            side = (x1 + _WIDTH, x2) if x1 < x2 else (x1, x2 + _WIDTH)
            ends = (side[0], y1 + _HEIGHT / 2, side[1], y2 + _HEIGHT / 2)
        else:
            ends = (x1 + _WIDTH / 2, y1 + _HEIGHT, x2 + _WIDTH / 2, y2)
        points = "x1={:.0f} y1={:.0f} x2={:.0f} y2={:.0f}".format(*ends)
        quoted = " ".join(f'{one.split("=")[0]}="{one.split("=")[1]}"' for one in points.split())
        lines.append(f'<line {quoted} stroke="#777" marker-end="url(#tip)"/>')
    for name, (x, y) in place.items():
        middle = f"{x + _WIDTH / 2:.0f}"
        shade = "#e3f1e3" if name.startswith("rtl") else "#e2ecf8"
        lines += [
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="{shade}" stroke="#555"/>',
            f'<text x="{middle}" y="{y + 20:.0f}" font-weight="bold">{escape(name.replace(".", "/"))}</text>',
            f'<text x="{middle}" y="{y + 37:.0f}" fill="#555" font-size="11">{count[name]} modules</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def main() -> int:
    """Write or check the picture; 1 if the committed one is stale."""
    drawn = draw()
    if "--check" not in sys.argv[1:]:
        PICTURE.write_text(drawn, encoding="utf-8")
    elif PICTURE.read_text(encoding="utf-8") != drawn:
        print(f"{PICTURE.relative_to(ROOT)} is stale: python docs/house.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
