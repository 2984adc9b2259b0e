# SPDX-License-Identifier: Apache-2.0
"""The folder of a design: Verilog, manifest, graph, golden vectors and pages, all of it or nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from fxsim import golden as vectors
from fxsim.files.exported import exported, written
from fxsim.files.folder import MANIFEST
from fxsim.pages.check_results import REPORT
from fxsim.pages.page import Part

from ..plan.folding import Plan
from .package import package
from .report import report
from .verilog import manifest, to_verilog

#: Sequences of the vectors that an export ships.
SHIPPED = 32


def write(
    folder: str | os.PathLike[str],
    plan: Plan,
    top: str,
    framing: str,
    accuracy: Sequence[Part] = (),
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write a design into a folder; gives the manifest. ``accuracy`` and ``progress`` are those of ``fxsim.export``.

    Raises ``FxsimError`` for a folder that cannot be written or has other files than an export's.
    """
    done, graph = _Steps(progress, 5), plan.graph
    with exported(folder) as temporary:
        design = to_verilog(plan, top, framing, done)
        facts = manifest(plan, top, [f"{top}.v"], design)
        golden = vectors.golden(graph, vectors.random_inputs(graph, SHIPPED), beat=plan.beat)
        done()
        graph.save(temporary / "graph.fx")
        texts = {f"{top}.v": design.text, **package(facts, plan, golden["inputs"], golden["outputs"])}
        texts[REPORT] = report(plan, facts, accuracy)
        for name, text in texts.items():
            place = temporary / name
            place.parent.mkdir(exist_ok=True)
            place.write_text(text, encoding="utf-8")
        (temporary / "vectors.npz").write_bytes(vectors.encode(golden))
        done()
        facts["written"] = written(temporary)
        (temporary / MANIFEST).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return facts


class _Steps:
    """Counts the steps of an export; each call is one done."""

    def __init__(self, progress: Callable[[int, int], None] | None, total: int) -> None:
        self._progress, self._done, self._total = progress, 0, total

    def __call__(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)
