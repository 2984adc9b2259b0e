# SPDX-License-Identifier: Apache-2.0
"""A planned network as deterministic Verilog text, and the manifest that describes it."""

from __future__ import annotations

import re
from typing import Any

from amaranth.back import verilog
from amaranth.hdl import Fragment, Module, Signal

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


class _TopWithTaps(AxiTop):
    """The top with named wires on the inner ops, for tests; synthesis drops them."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        # The layers' taps exist once the layers are elaborated.
        for layer, part in self.network.parts:
            del layer
            fragment = Fragment.get(part, platform)
            self._elaborated[id(part)] = fragment
        return m

    _elaborated: dict[int, Any] = {}


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
    module = Module()
    module.submodules.core = design
    del module
    fragment = design.elaborate(None)
    taps = []
    text = verilog.convert(fragment, name=top, ports=design.ports, emit_src=False, strip_internal_attrs=True)
    del taps
    return text, []


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


__all__ = ["Signal"]
