# SPDX-License-Identifier: Apache-2.0
"""``python -m testbenches FOLDER VECTORS``: check exported Verilog without fxsim."""

from __future__ import annotations

import argparse
import sys

from .check import check_folder
from .cocotb_run import SIMULATORS
from .errors import CheckError
from .lint import lint_folder


def _probability(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to below 1, not {text}")
    return value


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when all is well, 2 with one line when not, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m testbenches", description="Check exported Verilog.")
    parser.add_argument("folder", help="folder with manifest.json and the Verilog")
    parser.add_argument("vectors", help=".npz file with inputs and outputs as raw integers")
    parser.add_argument("--simulator", choices=SIMULATORS, default="verilator", help="for cocotb")
    parser.add_argument("--sequences", type=int, default=20, help="sequences of each cocotb test")
    parser.add_argument("--idle", type=_probability, default=0.3, help="probability in the stalled native run")
    parser.add_argument("--backpressure", type=_probability, default=0.3, help="probability in the stalled native run")
    parser.add_argument("--no-native", action="store_true", help="leave the native harness out")
    parser.add_argument("--no-cocotb", action="store_true", help="leave cocotb out")
    parser.add_argument("--no-timing", action="store_true", help="do not compare cycles with the manifest")
    parser.add_argument("--lint", action="store_true", help="lint first")
    parser.add_argument("--build-dir", help="keep the builds here")
    given = parser.parse_args(arguments)
    try:
        if given.lint:
            lint_folder(given.folder)
        report = check_folder(
            given.folder,
            given.vectors,
            simulator=given.simulator,
            native=not given.no_native,
            cocotb=not given.no_cocotb,
            sequences=given.sequences,
            stalls=((given.idle, given.backpressure),) if given.idle or given.backpressure else (),
            timing=not given.no_timing,
            progress=_show if sys.stderr.isatty() else None,
            build_dir=given.build_dir,
        )
    except CheckError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(report)
    return 0


def _show(done: int, total: int) -> None:
    print(f"\r{done} of {total} sequences", end="\r", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
