# SPDX-License-Identifier: Apache-2.0
"""Mutants of a design through the regression, and a proof for each that nothing notices."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from campaigns.designs import export
from testbenches.equivalence import Prover
from testbenches.mutants import STAGES, draw, hunt

__all__ = ["COLUMNS", "campaign"]

COLUMNS = ("design", "mutants", "killed", "equivalent", "not killed", "undecided", "seconds")


def campaign(name: str, work: Path, count: int, sequences: int, seconds: int) -> dict[str, Any]:
    """Hunt mutants of one design: ``count`` of them, on ``sequences`` vectors; a proof takes at most ``seconds``.

    ``not killed`` counts those for which the proof found a difference, ``undecided`` those for which it found nothing.
    """
    began = time.perf_counter()
    manifest, vectors = export(name, work, sequences)
    mutants = draw(manifest, work / "draw", count)
    verdicts = hunt(manifest, vectors, mutants, work / "hunt")
    left = [verdict.mutant for verdict in verdicts if verdict.stage is None]
    found = []
    if left:
        prover = Prover(manifest, left, work / "prove")
        found = [(mutant, prover.compare(mutant, seconds)) for mutant in left]
    tally = Counter(proof.equivalent for _, proof in found)
    stages = Counter(verdict.stage for verdict in verdicts)
    return {
        "design": name,
        "mutants": len(mutants),
        "killed": len(mutants) - len(left),
        "equivalent": tally[True],
        "not killed": tally[False],
        "undecided": tally[None],
        "seconds": round(time.perf_counter() - began),
        "sequences": sequences,
        "killed by": {stage.name: stages[stage.name] for stage in STAGES},
        "survivors": [{"mutant": str(mutant), "number": mutant.number, "proof": str(proof)} for mutant, proof in found],
    }
