# SPDX-License-Identifier: Apache-2.0
"""``python -m testbenches.formal``: run the proofs and print what became of each."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from fxsim.errors import FxsimError
from fxsim.extras import importing
from fxsim.system.processes import end_descendants

from ..errors import CheckError

try:
    with importing("a proof", "rtl"):
        from .mutants import mutants
        from .proofs import proofs
        from .prover import Proof, Status, Verdict, prove
except FxsimError as error:
    print(error, file=sys.stderr)
    sys.exit(2)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status: 0 if all is proven, 1 if not, 2 if it could not be tried."""
    parser = argparse.ArgumentParser(prog="python -m testbenches.formal", description=__doc__)
    parser.add_argument("pattern", nargs="?", default="", help="only proofs whose line has this regular expression")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 8), help="how many at a time")
    parser.add_argument("--keep", type=Path, help="keep SymbiYosys's files, with waveforms of what fails, here")
    parser.add_argument("--mutants", action="store_true", help="instead, refute blocks with a mistake put into them")
    given = parser.parse_args(arguments)
    try:
        return _run(given)
    except (CheckError, re.error) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _run(given: argparse.Namespace) -> int:
    chosen = [proof for proof in (mutants() if given.mutants else proofs()) if re.search(given.pattern, str(proof))]
    if not chosen:
        raise CheckError(f"no proof has {given.pattern!r} in its line")
    wanted = Status.REFUTED if given.mutants else Status.PROVEN
    began, wrong, checks = time.monotonic(), 0, 0
    with ProcessPoolExecutor(given.jobs, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)) as pool:
        try:
            for verdict in pool.map(partial(_prove, keep=given.keep, lemmas=not given.mutants), chosen):
                wrong += verdict.status is not wanted
                checks += verdict.checks
                print(_line(verdict), flush=True)
        except BaseException:
            # The workers, and the provers that they wait for.
            end_descendants()
            raise
    seconds = time.monotonic() - began
    reached = f"{len(chosen) - wrong} of {len(chosen)} {wanted.value}"
    spent = getrusage(RUSAGE_CHILDREN)
    processor = spent.ru_utime + spent.ru_stime
    print(
        f"{reached}, {checks} checks, {seconds:.0f} s with {given.jobs} at a time, {processor:.0f} s of processor time"
    )
    return 1 if wrong else 0


def _prove(proof: Proof, keep: Path | None, lemmas: bool) -> Verdict:
    folder = None if keep is None else keep / re.sub(r"\W+", "_", str(proof))
    return prove(proof, folder, lemmas)


def _line(verdict: Verdict) -> str:
    proof = verdict.proof
    how = proof.method.value + (f", {proof.depth} cycles" if proof.depth > 1 else "")
    blamed = f": {'; '.join(verdict.blamed)}" if verdict.blamed else ""
    head = f"{proof.block:34} {proof.claim:58} {how:20} {verdict.checks:4} checks {verdict.seconds:6.1f} s"
    return f"{head}  {verdict.status.value}{blamed}"


if __name__ == "__main__":
    sys.exit(main())
