# SPDX-License-Identifier: Apache-2.0
"""``python tests/campaigns/hls4ml_table.py``: the tables of the campaign ``hls4ml`` in ``docs/hls4ml.md``."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["REPORT", "document", "tables"]

REPORT = Path(__file__).resolve().parent / "reports" / "hls4ml.json"
_PAGE = Path(__file__).resolve().parents[2] / "docs" / "hls4ml.md"
_BEGIN, _END = "<!-- campaign hls4ml: begin -->\n", "<!-- campaign hls4ml: end -->\n"
_WAYS = {"live": "`from_hls4ml`, live model", "configured": "`load` with the project's configuration"}
_GROUPS = {"keras2": "Keras 2, QKeras", "keras3": "Keras 3, PyTorch"}
#: Reasons of models with layers that fxsim does not have.
_FOREIGN = "a layer that fxsim does not have"
_RESULTS = ("equal", "different", "refused", "not compared")


def tables(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The tables of a report: what is equal, and every reason of a refusal."""
    lines = [
        "| tests | read by | models | equal | different | refused | accepted, not compared | aborted |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for group, row in results.items():
        for way, text in _WAYS.items():
            counts = " | ".join(str(row[f"{way} {result}"]) for result in _RESULTS)
            lines.append(f"| {_GROUPS[group]} | {text} | {row['models']} | {counts} | {row['aborted']} |")
    lines += [
        "",
        "Counting only the models all of whose layers fxsim supports:",
        "",
        "| read by | models | equal | different | refused | accepted, not compared |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for way, text in _WAYS.items():
        ours = sum((Counter(row["ours"][way]) for row in results.values()), Counter[str]())
        counts = " | ".join(str(ours[result]) for result in _RESULTS)
        lines.append(f"| {text} | {ours.total()} | {counts} |")
    lines += ["", "Every reason for a refusal or a difference:", "", "| read by | models | reason |", "|---|---:|---|"]
    for way in _WAYS:
        reasons: Counter[str] = Counter()
        for row in results.values():
            for words, tests in row["reasons"][way].items():
                reasons[_kind(words)] += len(tests)
        for words, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
            # The words stand in code, where Markdown changes nothing but the bar between cells.
            lines.append(f"| {way} | {count} | {words if words == _FOREIGN else f'`{words}`'} |".replace("\n", " "))
    return "\n".join(lines) + "\n"


def _kind(words: str) -> str:
    """A reason without names and numbers; of several obstacles the first. The report has all of them in full."""
    if re.search(r"fxsim does not import|its class must be known|must have weights in the model or be one of", words):
        return _FOREIGN
    words = re.sub(r"^\d+ obstacles: \(1\) ", "", words).partition(" (2) ")[0]
    if re.search(r"is a custom ", words):
        return "layer is a custom '…' of '…', not one of Keras"
    return re.sub(r"\d+", "N", re.sub(r"'[^']*'", "'…'", words)).replace("|", "/")


def document(page: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """A page with the tables between their two marks."""
    before, _, rest = page.partition(_BEGIN)
    _, _, behind = rest.partition(_END)
    return f"{before}{_BEGIN}\n{tables(results)}\n{_END}{behind}"


if __name__ == "__main__":
    made = document(_PAGE.read_text(encoding="utf-8"), json.loads(REPORT.read_text(encoding="utf-8")))
    _PAGE.write_text(made, encoding="utf-8")
