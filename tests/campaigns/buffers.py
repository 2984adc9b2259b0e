# SPDX-License-Identifier: Apache-2.0
"""Faults in all that holds beats between layers: each is noticed by the regression, or proven to change nothing."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from campaigns.designs import export
from testbenches.equivalence import Prover
from testbenches.errors import CheckError
from testbenches.mutants import STAGES, Mutant, draw_each, hunt

__all__ = ["COLUMNS", "campaign"]

COLUMNS = ("design", "blocks", "faults", "noticed", "equivalent", "not noticed", "undecided", "seconds")
#: Names of the cells of what holds beats, by block: buffers behind layers; what joins, parts and deals beats; Flatten.
BLOCKS = {
    "Buffer": "*buffer.$*",
    "Gather": "*network.\\gather.$*",
    "Spread": "*network.\\spread.$*",
    "Deal": "*network.\\deal.$*",
    "Collect": "*network.\\flatten.$*",
}


def campaign(name: str, work: Path, sequences: int, seconds: int, most: int | None = None) -> dict[str, Any]:
    """Invert a bit of each port of each cell of a design's blocks, one at a time; at most ``most`` of a block.

    What the runs on ``sequences`` vectors do not notice is proven to change nothing, in at most ``seconds`` each, or
    found not to be noticed.
    """
    began = time.perf_counter()
    manifest, vectors = export(name, work, sequences, inner=True)
    faults: list[Mutant] = []
    blocks = {}
    for block, cells in BLOCKS.items():
        found = draw_each(manifest, work / "draw", cells)
        step = 1 if most is None else max(1, -(-len(found) // most))
        if found:
            blocks[block] = len(found[::step])
            faults += [fault.renumbered(len(faults) + k) for k, fault in enumerate(found[::step], 1)]
    if "Buffer" not in blocks:
        raise CheckError(f"design {name!r} has no buffer")
    verdicts = hunt(manifest, vectors, faults, work / "hunt", [stage for stage in STAGES if stage.name != "volume"])
    left = [verdict.mutant for verdict in verdicts if verdict.stage is None]
    prover = Prover(manifest, left, work / "prove") if left else None
    proofs = [(mutant, prover.compare(mutant, seconds)) for mutant in left if prover is not None]
    tally = Counter(proof.equivalent for _, proof in proofs)
    stages = Counter(verdict.stage for verdict in verdicts)
    return {
        "design": name,
        "blocks": ", ".join(f"{count} {block}" for block, count in blocks.items()),
        "faults": len(faults),
        "noticed": len(faults) - len(left),
        "equivalent": tally[True],
        "not noticed": tally[False],
        "undecided": tally[None],
        "seconds": round(time.perf_counter() - began),
        "noticed by": {stage.name: stages[stage.name] for stage in STAGES if stages[stage.name]},
        "left": [{"fault": str(mutant), "proof": str(proof)} for mutant, proof in proofs],
    }
