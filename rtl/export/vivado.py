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
    """\
# A block design around $top: clock, reset, streams.
# vivado -mode batch -source vivado/example.tcl -tclargs WORDS
# Words, in any order:
#   fifo    a FIFO before and behind the network, streams led outside (the default)
#   dma     an AXI DMA engine sends and receives packets; its memory and control interfaces are led outside, for the
#           processor system of your board. With one transfer for many sequences, export with --framing count.
#   ports   the network alone, streams led outside
#   ila     a logic analyser on both streams and on frame_error
#   a part, for example $part (the default)
set here [file dirname [file normalize [info script]]]
set root [file dirname $$here]
set part "$part"
set kind fifo
set ila 0
foreach word $$argv {
    switch -- $$word {
        fifo - dma - ports { set kind $$word }
        ila { set ila 1 }
        default { set part $$word }
    }
}
# Bytes of a beat on either side; those of the DMA engine's streams, which are powers of two.
set in_bytes $in_bytes
set out_bytes $out_bytes
set dma_bytes $dma_bytes
if {$$kind ne "ports" && max($$in_bytes, $$out_bytes) > 512} {
    puts "a beat has more than the 512 bytes that Vivado's FIFO takes: use ports, or a narrower --input-beat"
    exit 1
}

# -- project and network
set work [file join $$here example]
create_project -force ${top}_example $$work -part $$part
set_property ip_repo_paths [list $$root] [current_project]
update_ip_catalog
create_bd_design ${top}_system
create_bd_cell -type ip -vlnv $vlnv network

# -- clock and reset: one clock for all, reset released in time with it
set clock [create_bd_port -dir I -type clk -freq_hz $hz clock]
set reset [create_bd_port -dir I -type rst resetn]
set_property CONFIG.POLARITY ACTIVE_LOW $$reset
create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset resets
connect_bd_net $$reset [get_bd_pins resets/ext_reset_in]
set clocked [list resets/slowest_sync_clk network/$clock]
set resetted [list network/$reset]

# -- streams: from each to the next
set source ""
set sink ""
if {$$kind eq "dma"} {
    create_bd_cell -type ip -vlnv xilinx.com:ip:axi_dma dma
    set_property -dict [list \\
        CONFIG.c_include_sg 0 \\
        CONFIG.c_sg_length_width 26 \\
        CONFIG.c_m_axi_mm2s_data_width [expr {max(32, 8 * $$dma_bytes)}] \\
        CONFIG.c_m_axis_mm2s_tdata_width [expr {8 * $$dma_bytes}] \\
        CONFIG.c_m_axi_s2mm_data_width [expr {max(32, 8 * $$dma_bytes)}] \\
    ] [get_bd_cells dma]
    lappend clocked dma/s_axi_lite_aclk dma/m_axi_mm2s_aclk dma/m_axi_s2mm_aclk
    lappend resetted dma/axi_resetn
    # Beats of the network are as wide as they are, those of the engine 1, 2, 4 ... bytes: converted between.
    foreach {name size} [list widen_in $$in_bytes narrow_out $$dma_bytes] {
        create_bd_cell -type ip -vlnv xilinx.com:ip:axis_dwidth_converter $$name
        set_property CONFIG.M_TDATA_NUM_BYTES $$size [get_bd_cells $$name]
        lappend clocked $$name/aclk
        lappend resetted $$name/aresetn
    }
    connect_bd_intf_net [get_bd_intf_pins dma/M_AXIS_MM2S] [get_bd_intf_pins widen_in/S_AXIS]
    connect_bd_intf_net [get_bd_intf_pins narrow_out/M_AXIS] [get_bd_intf_pins dma/S_AXIS_S2MM]
    set source [get_bd_intf_pins widen_in/M_AXIS]
    set sink [get_bd_intf_pins narrow_out/S_AXIS]
} else {
    set source [create_bd_intf_port -mode Slave -vlnv xilinx.com:interface:axis_rtl:1.0 stream_in]
    set sink [create_bd_intf_port -mode Master -vlnv xilinx.com:interface:axis_rtl:1.0 stream_out]
    set_property -dict [list CONFIG.TDATA_NUM_BYTES $$in_bytes CONFIG.HAS_TLAST 1 CONFIG.FREQ_HZ $hz] $$source
    set_property CONFIG.FREQ_HZ $hz $$sink
    set_property CONFIG.ASSOCIATED_BUSIF stream_in:stream_out $$clock
}
if {$$kind ne "ports"} {
    # Each holds at least two sequences.
    foreach {name depth} [list fifo_in $in_depth fifo_out $out_depth] {
        create_bd_cell -type ip -vlnv xilinx.com:ip:axis_data_fifo $$name
        set_property CONFIG.FIFO_DEPTH $$depth [get_bd_cells $$name]
        lappend clocked $$name/s_axis_aclk
        lappend resetted $$name/s_axis_aresetn
    }
    connect_bd_intf_net $$source [get_bd_intf_pins fifo_in/S_AXIS]
    connect_bd_intf_net [get_bd_intf_pins fifo_out/M_AXIS] $$sink
    set source [get_bd_intf_pins fifo_in/M_AXIS]
    set sink [get_bd_intf_pins fifo_out/S_AXIS]
}
connect_bd_intf_net $$source [get_bd_intf_pins network/$source]
connect_bd_intf_net [get_bd_intf_pins network/$sink] $$sink

# -- what else goes outside
make_bd_pins_external -name frame_error [get_bd_pins network/frame_error]
if {$$kind eq "dma"} {
    foreach {name pin} {control S_AXI_LITE memory_read M_AXI_MM2S memory_write M_AXI_S2MM} {
        make_bd_intf_pins_external -name $$name [get_bd_intf_pins dma/$$pin]
    }
    make_bd_pins_external -name sent [get_bd_pins dma/mm2s_introut]
    make_bd_pins_external -name received [get_bd_pins dma/s2mm_introut]
    set_property CONFIG.ASSOCIATED_BUSIF control:memory_read:memory_write $$clock
}
if {$$ila} {
    create_bd_cell -type ip -vlnv xilinx.com:ip:system_ila ila
    set_property -dict [list \\
        CONFIG.C_MON_TYPE MIX \\
        CONFIG.C_NUM_MONITOR_SLOTS 2 \\
        CONFIG.C_SLOT_0_INTF_TYPE xilinx.com:interface:axis_rtl:1.0 \\
        CONFIG.C_SLOT_1_INTF_TYPE xilinx.com:interface:axis_rtl:1.0 \\
        CONFIG.C_NUM_OF_PROBES 1 \\
    ] [get_bd_cells ila]
    connect_bd_intf_net [get_bd_intf_pins ila/SLOT_0_AXIS] [get_bd_intf_pins network/$source]
    connect_bd_intf_net [get_bd_intf_pins ila/SLOT_1_AXIS] [get_bd_intf_pins network/$sink]
    connect_bd_net [get_bd_pins network/frame_error] [get_bd_pins ila/probe0]
    lappend clocked ila/clk
    lappend resetted ila/resetn
}
foreach pin $$clocked { connect_bd_net $$clock [get_bd_pins $$pin] }
foreach pin $$resetted { connect_bd_net [get_bd_pins resets/peripheral_aresetn] [get_bd_pins $$pin] }

if {$$kind eq "dma"} { assign_bd_address }
validate_bd_design
save_bd_design
make_wrapper -files [get_files ${top}_system.bd] -top -import
puts "block design in $$work"
"""
)

_SCRIPTS = {"synth": _SYNTH, "package": _PACKAGE, "example": _EXAMPLE}


def scripts(facts: Mapping[str, Any]) -> dict[str, str]:
    """Texts by path from the exported folder, for a manifest."""
    top, mhz = facts["top"], float(facts["clock_mhz"])
    values: dict[str, object] = {
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
    sizes = {}
    for name, side in (("in", facts["input"]), ("out", facts["output"])):
        sizes[f"{name}_bytes"] = side["elements_per_beat"] * side["stride_bits"] // 8
        # A power of two, as the FIFO takes it, up to its largest.
        sizes[f"{name}_depth"] = min(32768, max(16, 1 << (2 * side["beats_per_sequence"] - 1).bit_length()))
    widest = max(sizes["in_bytes"], sizes["out_bytes"])
    values |= sizes | {"dma_bytes": min(128, 1 << (widest - 1).bit_length())}
    texts = {f"vivado/{name}.tcl": text.substitute(values, script=name) for name, text in _SCRIPTS.items()}
    return {f"vivado/{top}.xdc": _XDC.substitute(values), **texts}
