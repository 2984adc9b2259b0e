# SPDX-License-Identifier: Apache-2.0
"""``python tests/campaigns mutants|buffers|plants|gates|coverage|soak|hls4ml``: see docs/verification.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from campaigns import buffers, coverage, gates, hls4ml_tests, mutants, plants, report, soak
from campaigns.designs import BUFFERED, DESIGNS
from fxsim.errors import FxsimError
from testbenches.errors import CheckError

CAMPAIGNS: dict[str, Any] = {
    "mutants": mutants,
    "buffers": buffers,
    "plants": plants,
    "gates": gates,
    "coverage": coverage,
    "soak": soak,
    "hls4ml": hls4ml_tests,
}
REPORTS = Path(__file__).resolve().parent / "reports"


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, not {text!r}")
    return value


def _committed(given: argparse.Namespace, verb: argparse.ArgumentParser) -> Path | None:
    """The report in the repository, if this is a whole campaign on trained networks, else none."""
    options = ("sequences", "count", "seconds", "one_of")
    if any(getattr(given, one, None) != verb.get_default(one) for one in options):
        return None
    return None if given.verb == "soak" and given.shared is None else REPORTS / f"{given.verb}.json"


def _run(given: argparse.Namespace, name: str, work: Path) -> tuple[dict[str, Any], bool]:
    """One row of a campaign, and whether it is as it should be."""
    match given.verb:
        case "mutants":
            row = mutants.campaign(name, work, given.count, given.sequences, given.seconds)
            return row, not (row["not killed"] or row["undecided"])
        case "buffers":
            row = buffers.campaign(name, work, given.sequences, given.seconds)
            return row, not (row["not noticed"] or row["undecided"])
        case "plants":
            row = plants.campaign(name, work)
            return row, row["noticed by"] != "none"
        case "gates":
            return gates.campaign(name, work, given.sequences), True
        case "hls4ml":
            row = hls4ml_tests.campaign(name, given.tests, given.python, work, given.answers, given.one_of)
            return row, not (row["live different"] or row["configured different"] or row["aborted"])
        case "coverage":
            return coverage.campaign(name, work, given.sequences), True
        case _:
            return soak.campaign(name, given.shared, work, given.sequences, given.chunk), True


def main(arguments: list[str] | None = None) -> int:
    """Run a campaign; 0 when all is well, 1 when something was found, 2 with one line when it cannot run."""
    parser = argparse.ArgumentParser(prog="python tests/campaigns", description="Verification in bulk.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    help = {
        "mutants": "planted faults through the regression, a proof for each that survives",
        "buffers": "the same for faults in what holds beats between layers",
        "plants": "faults planted into fxsim's own source, through the tests",
        "gates": "the netlist of Yosys for Xilinx through the regression",
        "coverage": "lines and toggles of the Verilog under the regression",
        "soak": "a million sequences of the top tagging networks with random stalls",
        "hls4ml": "hls4ml's own tests with fxsim beside them",
    }
    for verb, text in help.items():
        one = verbs.add_parser(verb, help=text)
        others = {"soak": soak.NETWORKS, "gates": gates.NAMES, "plants": plants.PLANTS, "buffers": BUFFERED,
                  "hls4ml": hls4ml_tests.GROUPS}  # fmt: skip
        choices = tuple(others.get(verb, DESIGNS))
        which = {"plants": "plant", "hls4ml": "group"}.get(verb, "design")
        one.add_argument(
            f"--{which}", dest="which", nargs="+", choices=choices, default=choices, metavar=which.upper(),
            help=f"which of {', '.join(choices)}; all by default",
        )  # fmt: skip
        text = f"JSON file to write; that of a whole campaign is {verb}.json in {REPORTS.name}"
        text += ", with --shared" if verb == "soak" else ""
        one.add_argument("--report", type=Path, help=text)
        one.add_argument("--work", type=Path, help="keep the files here")
        many = {"mutants": 40_000, "buffers": 400, "gates": 2_000, "coverage": 2_000, "soak": 1_000_000}.get(verb)
        if many:
            one.add_argument("--sequences", type=_positive, default=many, help="default: %(default)s")
        if verb == "mutants":
            one.add_argument(
                "--count", type=_positive, default=200, help="mutants of each design; default: %(default)s"
            )
        if verb in ("mutants", "buffers"):
            one.add_argument(
                "--seconds", type=_positive, default=120, help="for the proof of a mutant; default: %(default)s"
            )
        if verb == "soak":
            text = "folder with models/toptag; without it the weights of the networks are seeded"
            one.add_argument("--shared", type=Path, help=text)
            one.add_argument("--chunk", type=_positive, default=20_000, help="sequences made and run at a time")
        if verb == "hls4ml":
            one.add_argument("--tests", type=Path, required=True, help="test/pytest of hls4ml's source distribution")
            one.add_argument(
                "--python", type=Path, required=True, help="Python of an environment with hls4ml and the group's Keras"
            )
            one.add_argument("--answers", type=Path, required=True, help="keeps the emulator's answers for another run")
            one.add_argument(
                "--one-of", type=_positive, default=1, metavar="N", help="compile the emulator in one of N tests"
            )
    given = parser.parse_args(arguments)
    place = given.report or _committed(given, verbs.choices[given.verb])
    good = True
    try:
        with tempfile.TemporaryDirectory(prefix="fxsim_campaign_") as temporary:
            rows = []
            for name in given.which:
                work = (given.work or Path(temporary)).resolve() / name
                row, fine = _run(given, name, work)
                good = good and fine
                if place is not None:
                    report.write(place, name, row)
                rows.append(row)
            report.show(rows, CAMPAIGNS[given.verb].COLUMNS)
    except (CheckError, FxsimError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if good else 1
