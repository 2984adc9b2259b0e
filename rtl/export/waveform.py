# SPDX-License-Identifier: Apache-2.0
"""What the ports of a design do in each cycle while two sequences come in, as text for its README."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from ..plan.folding import Plan
from ..plan.timing import follow

#: Cycles up to which all are shown; of more, those in which something happens.
_ALL = 16


def cycles(plan: Plan) -> dict[str, dict[int, str]]:
    """Rows by port (``s_axis_tvalid`` ...) of cells by cycle, which is counted from the one that takes the first beat.

    Two sequences A and B come in with the source always valid, then it stops; the sink is always ready. A cell is 0, 1,
    the name of a beat (A0, yA), or empty where nothing is said.
    """
    taken, results = follow(plan.stages, plan.source, 2)
    taken, results = [edge - taken[0] for edge in taken], [edge - taken[0] for edge in results]
    beats, steps = plan.source.beats, len(results) // 2
    shown = _shown(taken, results[0], beats)
    rows: dict[str, dict[int, str]] = {}

    def row(name: str, cell: dict[int, str]) -> None:
        rows[name] = cell

    waiting = {cycle: bisect_left(taken, cycle) for cycle in shown}
    given = {cycle: results.index(cycle) for cycle in shown if cycle in results}
    row("s_axis_tvalid", {cycle: str(int(k < len(taken))) for cycle, k in waiting.items()})
    row("s_axis_tready", {cycle: str(int(cycle in taken)) if k < len(taken) else "" for cycle, k in waiting.items()})
    row("s_axis_tdata", {cycle: _beat("", k, beats) if k < len(taken) else "" for cycle, k in waiting.items()})
    row("s_axis_tlast", {c: str(int(k % beats == beats - 1)) if k < len(taken) else "" for c, k in waiting.items()})
    row("m_axis_tvalid", {cycle: str(int(cycle in given)) for cycle in shown})
    row("m_axis_tdata", {c: _beat("y", given[c], steps) if c in given else "" for c in shown})
    row("m_axis_tlast", {c: str(int(given[c] % steps == steps - 1)) if c in given else "" for c in shown})
    return rows


def waveform(plan: Plan) -> str:
    """The rows under each other; ``..`` stands for cycles that are left out."""
    rows = cycles(plan)
    shown = list(rows["s_axis_tvalid"])
    columns = [["cycle", *rows]]
    before = shown[0] - 1
    for cycle in shown:
        if cycle != before + 1:
            columns.append([".."] * (len(rows) + 1))
        columns.append([str(cycle), *(row[cycle] or "-" for row in rows.values())])
        before = cycle
    widths = [max(map(len, column)) for column in columns]
    lines: Iterator[tuple[str, ...]] = zip(*columns, strict=True)
    return "\n".join(
        " ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _shown(taken: list[int], result: int, beats: int) -> list[int]:
    last = taken[beats - 1]
    if result + 2 <= _ALL:
        return list(range(result + 2))
    around = (0, taken[min(1, len(taken) - 1)], last, result)
    return sorted({cycle for edge in around for cycle in range(edge - 1, edge + 2) if cycle >= 0})


def _beat(prefix: str, number: int, count: int) -> str:
    """Beat ``number`` of sequences of ``count``: A0, or A where there is only one."""
    sequence, beat = divmod(number, count)
    return f"{prefix}{'AB'[sequence]}{beat if count > 1 else ''}"
