# SPDX-License-Identifier: Apache-2.0
"""The options of the command line; what each verb does is in ``verbs``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from . import __version__, verbs
from .errors import show

FAMILIES = ("xc7", "xcu", "xcup", "ecp5")


class _Parser(argparse.ArgumentParser):
    """Complains in one line."""

    def error(self, message: str) -> NoReturn:
        """End with status 2 and one line."""
        self.exit(2, f"fxsim: {' '.join(message.split())} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The whole command line; each verb sets ``run``."""
    top = _Parser(
        prog="fxsim",
        description="Trained LSTM and GRU networks to a bit-accurate simulator and Verilog that gives the same bits.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"fxsim {__version__}")
    verb = top.add_subparsers(metavar="VERB", required=True, parser_class=_Parser)

    one = _model(verb, "info", "layers, parameters, formats, ranges")
    one.set_defaults(run=verbs.info)

    one = _model(verb, "predict", "outputs for a batch of sequences, bit for bit those of the gateware")
    one.add_argument("inputs", metavar="X.npy", help="values, (batch, time, features)")
    one.add_argument("-o", "--output", metavar="Y.npy", required=True, help="float64, (batch, ...outputs)")
    one.add_argument("--raw", action="store_true", help="write raw integers (int64) instead")
    one.set_defaults(run=verbs.predict)

    one = _model(verb, "profile", "ranges, overflows and errors per tensor, as tables and a plot")
    one.add_argument("inputs", metavar="X.npy", help="values, (batch, time, features)")
    one.add_argument("-o", "--output", metavar="DIR", required=True, help="folder for tables (CSV, JSON) and plots")
    one.set_defaults(run=verbs.profile)

    one = _model(verb, "scan", "accuracy, AUC and error against bits", presets=("exact", "hls4ml", "both"))
    one.add_argument("data", metavar="DATA.npz", help="x (batch, time, features) and perhaps labels y")
    one.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        required=True,
        help="folder for tables and plots; a scan that was stopped goes on",
    )
    one.add_argument("--width", metavar="A:B", type=_widths, required=True, help="widths: A to B, or a list 8,12,16")
    one.add_argument("--integer", metavar="A:B", type=_integers, help="integer bits: A to B, or a list (as in P)")
    one.add_argument(
        "--layer", metavar="NAME", nargs="+", action="extend", default=[],
        help="give the formats to this layer alone, each by itself; names with commas between them: together",
    )  # fmt: skip
    one.add_argument(
        "--hold", metavar="RATIO", type=float, help="pick the narrowest with this share of float's AUC (0.99)"
    )
    one.add_argument("--dask", metavar="ADDRESS", help="compute on the workers of this Dask scheduler")
    one.set_defaults(run=verbs.scan)

    one = _model(verb, "plan", "table of the foldings that no other beats, with cycles and cells")
    _folding(one)
    one.add_argument("-o", "--output", metavar="FILE", help="write the chosen folding, for export --folding")
    one.add_argument("--plot", metavar="FILE.png", help="draw cycles against DSP blocks and LUTs")
    one.add_argument("--stages", action="store_true", help="show what each cycle of the chosen folding does")
    one.set_defaults(run=verbs.plan)

    one = _model(verb, "export", "Verilog, manifest, graph and golden vectors")
    one.add_argument("-o", "--output", metavar="DIR", required=True, help="new, empty, or an earlier export")
    _folding(one).add_argument("--folding", metavar="FILE", help="a folding of each layer, as plan -o writes it")
    one.add_argument("--interleave", metavar="K", type=int, help="sequences that take turns in a recurrent layer")
    one.add_argument("--unroll", metavar="U", type=int, help="copies of a cell: 1, or one for each step")
    one.add_argument("--input-beat", metavar="BEAT", help="step (default), sequence, or a number of elements")
    one.add_argument(
        "--framing", choices=("tlast", "count"), default="tlast",
        help="a sequence ends with TLAST (default), or when its beats are counted: for DMA engines",
    )  # fmt: skip
    one.add_argument("--top", metavar="NAME", help="name of the top module (default: made from the model's file name)")
    one.add_argument("--data", metavar="DATA.npz", help="x and perhaps y: accuracy and error, for report.html")
    one.add_argument("--yes", action="store_true", help="write a design of any size: a large one takes minutes")
    one.set_defaults(run=verbs.export)

    one = _verb(verb, "check", "simulate the Verilog; compare outputs, inner ops and cycles")
    one.add_argument("folder", metavar="DIR", help="an export")
    what = one.add_mutually_exclusive_group()
    what.add_argument("--inputs", metavar="X.npy", help="values, (batch, time, features)")
    what.add_argument("--sequences", metavar="N", type=int, default=100, help="random sequences (default: 100)")
    one.add_argument("--simulator", choices=("verilator", "icarus"), default="verilator")
    one.set_defaults(run=verbs.check)

    one = _verb(verb, "synth", "cell counts from Yosys; the clock reached on ECP5")
    one.add_argument("folder", metavar="DIR", help="an export")
    one.add_argument("--family", choices=FAMILIES, help="default: that of the export")
    one.add_argument("--route", action="store_true", help="place and route it with nextpnr, too: only for ecp5")
    one.set_defaults(run=verbs.synth)

    one = _verb(verb, "demo", "all of it on a small trained network that ships with the package")
    one.add_argument("-o", "--output", metavar="DIR", default="fxsim-demo", help="default: fxsim-demo")
    one.set_defaults(run=verbs.demo)
    return top


def _verb(verb: argparse._SubParsersAction[_Parser], name: str, text: str) -> argparse.ArgumentParser:
    return verb.add_parser(name, help=text, description=text, allow_abbrev=False)


def _model(
    verb: argparse._SubParsersAction[_Parser], name: str, text: str, presets: Sequence[str] = ("exact", "hls4ml")
) -> argparse.ArgumentParser:
    """A verb that takes a model and how to quantise it."""
    one = _verb(verb, name, text)
    one.add_argument("model", metavar="MODEL", help=".keras, .h5, .json with --weights, or .fx")
    numerics = one.add_argument_group("numerics")
    numerics.add_argument("--weights", metavar="W.h5", help="weights of an architecture .json")
    # Not exclusive for argparse: which of them go together is for quantize to say.
    numerics.add_argument("--precision", metavar="P", help="for example ap_fixed<16,6> or ap_fixed<12,5,AP_RND,AP_SAT>")
    numerics.add_argument(
        "--config", metavar="FILE", help="hls4ml's configuration (JSON, YAML); implies --preset hls4ml"
    )
    numerics.add_argument("--preset", choices=presets, help="rules for the formats inside (default: exact)")
    numerics.add_argument("--table-size", metavar="N", type=int, help="entries of every function table")
    return one


def _folding(one: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    group = one.add_mutually_exclusive_group()
    group.add_argument("--reuse", metavar="R", type=int, help="cycles a step in which a multiplier works")
    group.add_argument("--multipliers", metavar="N", type=int, help="the fastest design of at most N multipliers")
    group.add_argument("--dsp", metavar="N", type=int, help="the fastest design of at most N DSP blocks")
    group.add_argument("--lut", metavar="N", type=int, help="the fastest design of at most N LUTs, as estimated")
    group.add_argument("--latency", metavar="N", type=int, help="the smallest design of at most N cycles")
    group.add_argument("--interval", metavar="N", type=int, help="the smallest design of a sequence each N cycles")
    one.add_argument(
        "--multiplier", choices=("auto", "dsp", "lut"), default="auto", help="of weights that never change"
    )
    one.add_argument("--clock-mhz", metavar="F", type=float, default=200.0, help="default: 200")
    one.add_argument("--family", choices=FAMILIES, default="xc7", help="default: xc7")
    return group


def _widths(text: str) -> Sequence[int]:
    return _numbers(text, 1, 64, "8:20", "8,12,16")


def _integers(text: str) -> Sequence[int]:
    return _numbers(text, -32, 64, "2:6", "2,4,6")


def _numbers(text: str, least: int, most: int, span: str, some: str) -> Sequence[int]:
    """A to B, both included, or a list; no more of them than there are numbers that are legal."""
    try:
        if ":" in text:
            first, last = (int(part) for part in text.split(":"))
        else:
            found = [int(part) for part in text.split(",")]
            first, last = min(found), max(found)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be A:B or a list, for example {span} or {some}, not {show(text)}"
        ) from None
    if not least <= first <= last <= most:
        raise argparse.ArgumentTypeError(
            f"must be A:B with {least} <= A <= B <= {most}, or such a list, not {show(text)}"
        )
    return range(first, last + 1) if ":" in text else found
