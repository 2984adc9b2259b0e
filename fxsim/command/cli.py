# SPDX-License-Identifier: Apache-2.0
"""The options of the command line; what each verb does is in ``verbs``."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from typing import NoReturn, TypeAlias

from .. import __version__
from ..errors import FxsimError, show
from ..families import FAMILIES, canonical
from . import verbs
from .completion import SHELLS


class _Parser(argparse.ArgumentParser):
    """Complains in one line."""

    def error(self, message: str) -> NoReturn:
        """End with status 2 and one line."""
        self.exit(2, f"fxsim: {' '.join(message.split())} (see {self.prog} --help)\n")


class _Help(argparse.HelpFormatter):
    """Keeps the lines of a text that has several, and leaves room for the longest verb."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            self._action_max_length += 2  # verbs are indented, which argparse forgets

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" not in text:
            return super()._fill_text(text, width, indent)
        lines = text.splitlines()
        return "\n".join(textwrap.fill(line, width, subsequent_indent=" " * 8 * line.startswith(" ")) for line in lines)


_STATUS = """\
Exit status: 0 for success; 1 if check finds a difference; 2 for any other error, which one line explains.
fxsim VERB --help describes a verb."""
_FAMILIES = "Families:\n" + "\n".join(
    f"  {one.name:<4}  {'; '.join(filter(None, (', '.join(one.parts), one.delays)))}" for one in FAMILIES.values()
)


_Verbs: TypeAlias = "argparse._SubParsersAction[_Parser]"


def parser() -> argparse.ArgumentParser:
    """The whole command line; each verb sets ``run``, which is None where there is no verb."""
    top = _Parser(
        prog="fxsim",
        description="Turn trained LSTM and GRU networks into a bit-accurate simulator and Verilog with the same bits.",
        epilog=_STATUS,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"fxsim {__version__}")
    top.set_defaults(run=None, form="text", quiet=False, float=None)
    _common(top)
    all_verbs: _Verbs = top.add_subparsers(metavar="VERB", title="verbs", parser_class=_Parser)
    for add in (
        _add_info,
        _add_quantize,
        _add_predict,
        _add_profile,
        _add_scan,
        _add_plan,
        _add_export,
        _add_check,
        _add_synth,
        _add_demo,
    ):
        add(all_verbs)
    for verb in all_verbs.choices.values():
        _results(verb)
    one = _verb(all_verbs, "completion", "print a script that completes fxsim's options in your shell")
    one.add_argument("shell", choices=SHELLS)
    one.set_defaults(run=verbs.completion)
    return top


def _add_info(all_verbs: _Verbs) -> None:
    one = _model(all_verbs, "info", "show layers, parameters, formats, proven ranges and tables")
    one.set_defaults(run=verbs.info)


def _add_quantize(all_verbs: _Verbs) -> None:
    one = _model(all_verbs, "quantize", "write the quantised network as a .fx file, which all verbs take as MODEL")
    one.add_argument("-o", "--output", metavar="NET.fx", required=True, help="the file to write")
    one.set_defaults(run=verbs.quantize)


def _add_predict(all_verbs: _Verbs) -> None:
    one = _model(all_verbs, "predict", "compute the outputs for a batch of sequences, bit for bit as the Verilog does")
    one.add_argument("inputs", metavar="X.npy", help="inputs (batch, time, features)")
    one.add_argument("-o", "--output", metavar="Y.npy", required=True, help="float64 outputs (batch, ...)")
    one.add_argument("--raw", action="store_true", help="write raw integers (int64) instead")
    one.set_defaults(run=verbs.predict)


def _add_profile(all_verbs: _Verbs) -> None:
    one = _model(all_verbs, "profile", "show ranges, overflows and errors of every tensor on your data")
    one.add_argument("inputs", metavar="X.npy", help="inputs (batch, time, features)")
    one.add_argument("-o", "--output", metavar="DIR", required=True, help="folder for tables (CSV, JSON) and plots")
    _float(one)
    one.set_defaults(run=verbs.profile)


def _add_scan(all_verbs: _Verbs) -> None:
    one = _model(
        all_verbs, "scan", "show accuracy, AUC, R² and error for many formats", presets=("exact", "hls4ml", "both")
    )
    one.add_argument("data", metavar="DATA.npz", help="x (batch, time, features) and, optionally, labels y")
    one.add_argument(
        "-o", "--output", metavar="DIR", required=True,
        help="folder for tables and plots; a scan that was interrupted continues there",
    )  # fmt: skip
    one.add_argument(
        "--width",
        metavar="A:B",
        type=_widths,
        help="widths A to B, or a list: 8,12,16; required, unless MODEL is a .fx graph",
    )
    one.add_argument(
        "--integer",
        metavar="A:B",
        type=_integers,
        help="integer bits A to B, or a list (default: as in --precision)",
    )
    one.add_argument(
        "--layer", metavar="NAME", nargs="+", action="extend", default=[],
        help="vary one layer at a time and leave the others as in --precision; names joined by commas vary together",
    )  # fmt: skip
    one.add_argument(
        "--hold", metavar="RATIO", type=float,
        help="choose the narrowest format that keeps this share of float's AUC or R² (default: 0.99)",
    )  # fmt: skip
    one.add_argument(
        "--regression", action="store_true",
        help="labels are real numbers, even if they look like classes: show R² and errors against them",
    )  # fmt: skip
    _float(one)
    one.add_argument("--dask", metavar="ADDRESS", help="compute on the workers of this Dask scheduler")
    one.set_defaults(run=verbs.scan)


def _add_plan(all_verbs: _Verbs) -> None:
    one = _model(all_verbs, "plan", "list the best foldings, with cycles and cells")
    _design(one)
    one.add_argument("-o", "--output", metavar="FILE", help="write the chosen folding, for export --folding")
    one.add_argument("--plot", metavar="FILE.png", help="plot DSP blocks and LUTs against latency")
    one.add_argument("--stages", action="store_true", help="show what happens in each cycle of the chosen folding")
    one.set_defaults(run=verbs.plan)


def _add_export(all_verbs: _Verbs) -> None:
    one = _model(all_verbs, "export", "write Verilog, manifest, graph, golden vectors and Vivado scripts")
    one.add_argument("-o", "--output", metavar="DIR", required=True, help="a new or empty folder, or an earlier export")
    _design(one, file=True)
    one.add_argument("--interleave", metavar="K", type=int, help="sequences that take turns in a recurrent layer")
    one.add_argument("--unroll", metavar="U", type=int, help="copies of the cell: 1, or one for each step")
    one.add_argument(
        "--input-beat",
        metavar="BEAT",
        help="what one input beat holds: step (default), sequence, or a number of elements",
    )
    one.add_argument("--top", metavar="NAME", help="name of the top module (default: from the name of the model file)")
    one.add_argument("--data", metavar="DATA.npz", help="x and, optionally, y: adds accuracy and error to report.html")
    _float(one)
    one.add_argument("--yes", action="store_true", help="write a design of any size; a large one takes minutes")
    one.set_defaults(run=verbs.export)


def _add_check(all_verbs: _Verbs) -> None:
    one = _verb(all_verbs, "check", "simulate the Verilog and compare outputs, inner operations and cycles")
    one.add_argument("folder", metavar="DIR", help="an exported folder")
    what = one.add_mutually_exclusive_group()
    what.add_argument("--inputs", metavar="X.npy", help="inputs (batch, time, features)")
    what.add_argument(
        "--sequences", metavar="N", type=int,
        help="run exactly N random sequences, at full rate and with stalls (default: 100, or fewer of long ones)",
    )  # fmt: skip
    one.add_argument(
        "--quick", action="store_true", help="leave out the cocotb tests and inner operations, and run few sequences"
    )
    one.add_argument(
        "--waves", action="store_true",
        help="write DIR/waves.fst, the waveforms of the first sequence, or of the one in which something is wrong",
    )  # fmt: skip
    one.add_argument(
        "--simulator", choices=("verilator", "icarus"), default="verilator",
        help="what the cocotb tests run on (default: verilator)",
    )  # fmt: skip
    one.set_defaults(run=verbs.check)


def _add_synth(all_verbs: _Verbs) -> None:
    one = _verb(
        all_verbs, "synth", "count cells with Yosys; find the longest paths with --timing or --route", epilog=_FAMILIES
    )
    one.add_argument("folder", metavar="DIR", help="an exported folder")
    one.add_argument("--family", metavar="FAMILY", type=_family, help="device family (default: that of the export)")
    one.add_argument("--route", action="store_true", help="place and route with nextpnr as well; ecp5 only")
    one.add_argument(
        "--timing", action="store_true",
        help="estimate the longest paths between registers from the netlist",
    )  # fmt: skip
    one.set_defaults(run=verbs.synth)


def _add_demo(all_verbs: _Verbs) -> None:
    one = _verb(all_verbs, "demo", "do all of this with a small trained network that comes with fxsim")
    one.add_argument(
        "-o", "--output", metavar="DIR", default="fxsim-demo", help="folder to write (default: fxsim-demo)"
    )
    one.set_defaults(run=verbs.demo)


def _common(one: argparse.ArgumentParser) -> None:
    """Options that may stand before the verb and behind it."""
    missing = argparse.SUPPRESS  # what one of them has set, the other leaves alone
    one.add_argument(
        "-q", "--quiet", action="store_true", default=missing, help="print errors and warnings only; show no progress"
    )
    one.add_argument(
        "--no-color", action="store_true", default=missing, help="no bold text and no colors (as NO_COLOR=1)"
    )


def _verb(all_verbs: _Verbs, name: str, text: str, epilog: str | None = None) -> argparse.ArgumentParser:
    sentence = f"{text[0].upper()}{text[1:]}."
    one = all_verbs.add_parser(
        name, help=text, description=sentence, epilog=epilog, formatter_class=_Help, allow_abbrev=False
    )
    _common(one)
    return one


def _results(one: argparse.ArgumentParser) -> None:
    form = one.add_argument_group("results").add_mutually_exclusive_group()
    for option, text in (("--json", "a JSON object"), ("--csv", "CSV")):
        form.add_argument(
            option, dest="form", action="store_const", const=option.removeprefix("--"), default=argparse.SUPPRESS,
            help=f"print all results as {text}, and nothing else, on standard output",
        )  # fmt: skip


def _model(
    all_verbs: _Verbs, name: str, text: str, presets: Sequence[str] = ("exact", "hls4ml")
) -> argparse.ArgumentParser:
    """A verb that takes a model and how to quantise it."""
    one = _verb(all_verbs, name, text, epilog=_FAMILIES if name in ("plan", "export") else None)
    one.add_argument("model", metavar="MODEL", help=".keras, .h5, .json with --weights, or .fx")
    numerics = one.add_argument_group("numerics")
    numerics.add_argument("--weights", metavar="W.h5", help="the weights, if MODEL is an architecture .json")
    numerics.add_argument(
        "--steps", metavar="N", type=int, help="number of steps in a sequence, if the model leaves it open"
    )
    # Not exclusive for argparse: which of them go together is for quantize to say.
    numerics.add_argument(
        "--precision", metavar="P", help="a format such as ap_fixed<16,6> (default) or ap_fixed<12,5,AP_RND,AP_SAT>"
    )
    numerics.add_argument(
        "--config", metavar="FILE", help="an hls4ml configuration (JSON or YAML); implies --preset hls4ml"
    )
    numerics.add_argument(
        "--preset", choices=presets, help="the rule by which all formats follow from the precision (default: exact)"
    )
    numerics.add_argument(
        "--table-size",
        metavar="N",
        type=int,
        help="entries of every function table (default: as many as the precision needs)",
    )
    numerics.add_argument(
        "--sums",
        choices=("exact", "narrow"),
        help="sums of matrix products: exact (default), or narrow: each product is cut below what is read of the sum",
    )
    return one


def _float(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--float", metavar="MODEL", help="the trained model that MODEL was quantised from, if MODEL is a .fx graph"
    )


def _design(one: argparse.ArgumentParser, file: bool = False) -> None:
    """How fast and how large; ``file``: a folding file may say it, too."""
    whole = one.add_argument_group(
        "design",
        f"At most one of {'--folding, ' * file}--reuse, --multipliers, --dsp, --lut, --latency and --interval.",
    )
    group = whole.add_mutually_exclusive_group()
    if file:
        group.add_argument("--folding", metavar="FILE", help="a folding file, as plan -o writes it")
    group.add_argument("--reuse", metavar="R", type=int, help="use each multiplier R times in a time step")
    group.add_argument("--multipliers", metavar="N", type=int, help="the fastest design of at most N multipliers")
    group.add_argument("--dsp", metavar="N", type=int, help="the fastest design of at most N DSP blocks")
    group.add_argument("--lut", metavar="N", type=int, help="the fastest design of at most N LUTs (estimated)")
    group.add_argument("--latency", metavar="N", type=int, help="the smallest design of at most N cycles")
    group.add_argument(
        "--interval", metavar="N", type=int, help="the smallest design that takes a sequence every N cycles"
    )
    unless = " or that of --folding" * file
    whole.add_argument(
        "--multiplier", choices=("auto", "dsp", "lut"), default=None if file else "auto",
        help="what multiplies: dsp, DSP blocks; lut, LUTs alone; auto, DSP blocks, but LUTs for weights that are cheap "
        "there (default: auto)",
    )  # fmt: skip
    whole.add_argument(
        "--clock-mhz", metavar="F", type=float, default=None if file else 200.0,
        help=f"clock to plan for (default: 200{unless})",
    )  # fmt: skip
    whole.add_argument(
        "--family", metavar="FAMILY", type=_family, default=None if file else "xc7",
        help=f"device family, see below (default: xc7{unless})",
    )  # fmt: skip
    whole.add_argument(
        "--framing", choices=("tlast", "count"),
        help="how a sequence ends: with TLAST, or after its number of beats, as DMA engines need it "
        f"(default: tlast{unless})",
    )  # fmt: skip


def _family(text: str) -> str:
    try:
        return canonical(text)
    except FxsimError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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
