# Stands in for Vivado: says what it is asked to do, answers what scripts look at, and knows the pins of the IPs.
# tclsh vivado_stub.tcl SCRIPT SLACK [PART]
set script [lindex $argv 0]
set slack [lindex $argv 1]
set argv [lrange $argv 2 end]
set argc [llength $argv]
proc say {args} { puts "> $args" }
foreach name {
    create_project read_verilog read_xdc synth_design write_checkpoint report_utilization opt_design place_design
    phys_opt_design route_design report_timing_summary set_property update_ip_catalog create_bd_design
    make_bd_intf_pins_external make_bd_pins_external validate_bd_design save_bd_design make_wrapper
    connect_bd_net connect_bd_intf_net assign_bd_address
    ipx::update_checksums ipx::check_integrity ipx::save_core ipx::archive_core create_clock
} {
    namespace eval [namespace qualifiers ::$name] {}
    proc ::$name {args} "say $name {*}\$args; return $name"
}
foreach name {get_files get_ports get_timing_paths current_project ipx::open_core} {
    namespace eval [namespace qualifiers ::$name] {}
    proc ::$name {args} "say $name {*}\$args; return <$name>"
}
proc get_property {name of} {
    say get_property $name $of
    return $::slack
}

# Pins of the IPs that block designs use, as their product guides have them: PG035, PG085, PG021, PG164, PG261.
set pins(xilinx.com:ip:axis_data_fifo) {s_axis_aclk s_axis_aresetn}
set pins(xilinx.com:ip:axis_dwidth_converter) {aclk aresetn}
set pins(xilinx.com:ip:axi_dma) {
    s_axi_lite_aclk m_axi_mm2s_aclk m_axi_s2mm_aclk axi_resetn mm2s_introut s2mm_introut
}
set pins(xilinx.com:ip:proc_sys_reset) {slowest_sync_clk ext_reset_in peripheral_aresetn}
set pins(xilinx.com:ip:system_ila) {clk resetn probe0}
set interfaces(xilinx.com:ip:axis_data_fifo) {S_AXIS M_AXIS}
set interfaces(xilinx.com:ip:axis_dwidth_converter) {S_AXIS M_AXIS}
set interfaces(xilinx.com:ip:axi_dma) {S_AXI_LITE M_AXIS_MM2S S_AXIS_S2MM M_AXI_MM2S M_AXI_S2MM}
set interfaces(xilinx.com:ip:proc_sys_reset) {}
set interfaces(xilinx.com:ip:system_ila) {SLOT_0_AXIS SLOT_1_AXIS}

proc create_bd_cell {args} {
    say create_bd_cell {*}$args
    lassign $args type ip vlnv name cell
    if {![info exists ::pins($name)]} {
        # That of the folder: its ports are those of component.xml.
        if {[string match xilinx.com:* $name]} { error "no such IP as $name" }
        set ::pins($name) {aclk aresetn frame_error}
        set ::interfaces($name) {s_axis m_axis}
    }
    set ::cells($cell) $name
    return $cell
}
proc get_bd_cells {name} {
    if {![info exists ::cells($name)]} { error "no such cell as $name" }
    return $name
}
proc look_up {known name} {
    upvar #0 $known table
    lassign [split $name /] cell pin
    if {[lsearch -exact $table($::cells([get_bd_cells $cell])) $pin] < 0} { error "$cell has no $pin" }
    return $name
}
proc get_bd_pins {name} { look_up pins $name }
proc get_bd_intf_pins {name} { look_up interfaces $name }
proc create_bd_port {args} { say create_bd_port {*}$args; return [lindex $args end] }
proc create_bd_intf_port {args} { say create_bd_intf_port {*}$args; return [lindex $args end] }
# So that [info script] is the script's, as in Vivado.
source $script
