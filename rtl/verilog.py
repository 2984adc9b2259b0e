# SPDX-License-Identifier: Apache-2.0
"""A planned network as deterministic Verilog text, and the manifest that describes it."""

from __future__ import annotations

import re
import warnings
from typing import Any

from amaranth.back import verilog

import fxsim
from fxsim.errors import FxsimError
from fxsim.fixed import Fixed

from .axi import AxiTop, stride
from .folding import Plan

#: Words that cannot name a module, and the ports' own names.
_RESERVED = frozenset(
    "always and assign begin buf case default else end endcase endmodule for function if initial inout input integer "
    "module negedge not or output parameter posedge real reg signed task time tri wire xor while aclk aresetn".split()
)


def top_name(name: str) -> str:
    """Check the name of a top module; raises ``FxsimError`` unless it is a plain Verilog identifier."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", name) or name in _RESERVED:
        raise FxsimError(
            f"top must be a Verilog identifier (letters, digits, underscores, at most 63, no keyword), not {name!r}"
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
        text = verilog.convert(design, name=top, ports=design.ports, emit_src=False, strip_internal_attrs=True)
    return _plain_module_names(text, top), [tap.to_json(top) for tap in design.taps]


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
        "input": side("s_axis", graph.input, graph.shape[-1], plan.layers[0].steps),
        "output": side("m_axis", graph.output, out[-1], out[0] if len(out) == 2 else 1),
        "timing": {
            "latency": timing.latency,
            "latency_after_last": timing.latency_after_last,
            "interval": timing.interval if isinstance(timing.interval, int) else float(timing.interval),
        },
        "folding": plan.folding.to_json(),
        "cost": {"multipliers": plan.multipliers},
        "taps": taps,
    }
