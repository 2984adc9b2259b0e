# SPDX-License-Identifier: Apache-2.0
"""``python tests/campaigns mutants|buffers|plants|gates|coverage|soak|hls4ml``: see docs/verification.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaigns import buffers, coverage, gates, hls4ml_tests, mutants, plants, report, soak
from campaigns.designs import BUFFERED, DESIGNS
from fxsim.errors import FxsimError
from testbenches.errors import CheckError


@dataclass(frozen=True)
class Verb:
    """A campaign: its module, the names it runs on, how many sequences each has, and what one of the names is."""

    help: str
    module: Any
    names: Sequence[str]
    sequences: int = 0
    which: str = "design"


VERBS = {
    "mutants": Verb(
        "planted faults through the regression, a proof for each that survives", mutants, tuple(DESIGNS), 40_000
    ),
    "buffers": Verb("the same for faults in what holds beats between layers", buffers, tuple(BUFFERED), 400),
    "plants": Verb(
        "faults planted into fxsim's own source, through the tests", plants, tuple(plants.PLANTS), which="plant"
    ),
    "gates": Verb("the netlist of Yosys for Xilinx through the regression", gates, tuple(gates.NAMES), 2_000),
    "coverage": Verb("lines and toggles of the Verilog under the regression", coverage, tuple(DESIGNS), 2_000),
    "soak": Verb(
        "a million sequences of the top tagging networks with random stalls", soak, tuple(soak.NETWORKS), 1_000_000
    ),
    "hls4ml": Verb(
        "hls4ml's own tests with fxsim beside them", hls4ml_tests, tuple(hls4ml_tests.GROUPS), which="group"
    ),
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


def _add_options(parser: argparse.ArgumentParser, name: str, verb: Verb) -> None:
    """The options of all campaigns, and those of this one."""
    parser.add_argument(
        f"--{verb.which}", dest="which", nargs="+", choices=verb.names, default=verb.names, metavar=verb.which.upper(),
        help=f"which of {', '.join(verb.names)}; all by default",
    )  # fmt: skip
    shared = ", with --shared" if name == "soak" else ""
    parser.add_argument(
        "--report", type=Path,
        help=f"JSON file to write; that of a whole campaign is {name}.json in {REPORTS.name}{shared}",
    )  # fmt: skip
    parser.add_argument("--work", type=Path, help="keep the files here")

    def number(option: str, default: int, help: str, **more: str) -> None:
        parser.add_argument(option, type=_positive, default=default, help=help, **more)

    if verb.sequences:
        number("--sequences", verb.sequences, "default: %(default)s")
    if name == "mutants":
        number("--count", 200, "mutants of each design; default: %(default)s")
    if name in ("mutants", "buffers"):
        number("--seconds", 120, "for the proof of a mutant; default: %(default)s")
    if name == "soak":
        text = "folder with models/toptag; without it the weights of the networks are seeded"
        parser.add_argument("--shared", type=Path, help=text)
        number("--chunk", 20_000, "sequences made and run at a time")
    if name == "hls4ml":
        for option, text in (
            ("--tests", "test/pytest of hls4ml's source distribution"),
            ("--python", "Python of an environment with hls4ml and the group's Keras"),
            ("--answers", "keeps the emulator's answers for another run"),
        ):
            parser.add_argument(option, type=Path, required=True, help=text)
        number("--one-of", 1, "compile the emulator in one of N tests", metavar="N")


def _run_all(given: argparse.Namespace, place: Path | None) -> bool:
    """Run a campaign on each name, print and write its rows; whether all is as it should be."""
    rows, good = [], True
    with tempfile.TemporaryDirectory(prefix="fxsim_campaign_") as temporary:
        for name in given.which:
            row, fine = _run(given, name, (given.work or Path(temporary)).resolve() / name)
            good = good and fine
            if place is not None:
                report.write(place, name, row)
            rows.append(row)
        report.show(rows, VERBS[given.verb].module.COLUMNS)
    return good


def main(arguments: list[str] | None = None) -> int:
    """Run a campaign; 0 when all is well, 1 when something was found, 2 with one line when it cannot run."""
    parser = argparse.ArgumentParser(prog="python tests/campaigns", description="Verification in bulk.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, verb in VERBS.items():
        _add_options(verbs.add_parser(name, help=verb.help), name, verb)
    given = parser.parse_args(arguments)
    try:
        return 0 if _run_all(given, given.report or _committed(given, verbs.choices[given.verb])) else 1
    except (CheckError, FxsimError) as error:
        print(error, file=sys.stderr)
        return 2
