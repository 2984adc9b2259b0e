# SPDX-License-Identifier: Apache-2.0
"""Scripts for Vivado 2019.2 and later: a design on its own, as a packaged IP, and in a block design."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

from .ipxact import vlnv

#: A part of each family, for scripts that are given none.
PARTS: Mapping[str, str] = {"xc7": "xc7k325tffg900-2", "xcu": "xcku115-flvb2104-2-e", "xcup": "xcvu9p-flga2104-2-e"}

_XDC = Template("""\
# The clock that the pipeline of $top was made for; for synthesis out of context.
create_clock -name $clock -period $period [get_ports $clock]
""")

_HEAD = """\
# vivado -mode batch -source vivado/$script.tcl$usage
set here [file dirname [file normalize [info script]]]
set root [file dirname $$here]
set part [expr {[llength $$argv] > 0 ? [lindex $$argv 0] : "$part"}]
"""

_SYNTH = Template(
    "# Synthesis and implementation of $top out of context, with reports of cells and timing.\n"
    + _HEAD
    + """\
set out [file join $$here build]
file mkdir $$out
create_project -in_memory -part $$part
read_verilog [file join $$root $file]
read_xdc -mode out_of_context [file join $$here $top.xdc]
synth_design -top $top -part $$part -mode out_of_context
write_checkpoint -force [file join $$out synth.dcp]
report_utilization -file [file join $$out utilization_synth.rpt]
opt_design
place_design
phys_opt_design
route_design
write_checkpoint -force [file join $$out routed.dcp]
report_utilization -file [file join $$out utilization.rpt]
report_utilization -hierarchical -file [file join $$out utilization_by_layer.rpt]
report_timing_summary -file [file join $$out timing.rpt]
set slack [get_property SLACK [get_timing_paths -max_paths 1 -setup]]
puts "$top on $$part: slack $$slack ns at $mhz MHz, reports in $$out"
if {$$slack < 0} {
    puts "the clock is missed: export with a lower --clock-mhz, or for this family"
    exit 1
}
"""
)

_PACKAGE = Template(
    "# Look $top over with Vivado's IP packager and put it into an archive for an IP repository.\n"
    + _HEAD
    + """\
create_project -in_memory -part $$part
set core [ipx::open_core [file join $$root component.xml]]
ipx::update_checksums $$core
ipx::check_integrity $$core
ipx::save_core $$core
ipx::archive_core [file join $$here $top.zip] $$core
puts "[file join $$here $top.zip]: add it, or $$root itself, to the IP repositories of a project"
"""
)

_EXAMPLE = Template(
    "# A block design with $top alone, its streams led outside: a place to begin.\n"
    + _HEAD
    + """\
set work [file join $$here example]
create_project -force example $$work -part $$part
set_property ip_repo_paths $$root [current_project]
update_ip_catalog
create_bd_design example
set cell [create_bd_cell -type ip -vlnv $vlnv network]
make_bd_intf_pins_external [get_bd_intf_pins network/$source] [get_bd_intf_pins network/$sink]
make_bd_pins_external [get_bd_pins network/$clock] [get_bd_pins network/$reset] [get_bd_pins network/frame_error]
set_property CONFIG.FREQ_HZ $hz [get_bd_ports ${clock}_0]
validate_bd_design
save_bd_design
make_wrapper -files [get_files example.bd] -top -import
puts "block design in $$work"
"""
)

_SCRIPTS = {"synth": _SYNTH, "package": _PACKAGE, "example": _EXAMPLE}


def scripts(facts: Mapping[str, Any]) -> dict[str, str]:
    """Texts by path from the exported folder, for a manifest."""
    top, mhz = facts["top"], float(facts["clock_mhz"])
    values = {
        "top": top,
        "file": facts["files"][0],
        "clock": facts["clock"],
        "reset": facts["reset"],
        "source": facts["input"]["prefix"],
        "sink": facts["output"]["prefix"],
        "mhz": f"{mhz:g}",
        "hz": f"{mhz * 1e6:.0f}",
        "period": f"{1000 / mhz:.3f}",
        "part": PARTS[facts["family"]],
        "vlnv": vlnv(top),
        "usage": " -tclargs PART",
    }
    texts = {f"vivado/{name}.tcl": text.substitute(values, script=name) for name, text in _SCRIPTS.items()}
    return {f"vivado/{top}.xdc": _XDC.substitute(values), **texts}
