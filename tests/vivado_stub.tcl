# Stands in for Vivado: says what it is asked to do, and answers what scripts look at.
# tclsh vivado_stub.tcl SCRIPT SLACK [PART]
set script [lindex $argv 0]
set slack [lindex $argv 1]
set argv [lrange $argv 2 end]
set argc [llength $argv]
proc say {args} { puts "> $args" }
foreach name {
    create_project read_verilog read_xdc synth_design write_checkpoint report_utilization opt_design place_design
    phys_opt_design route_design report_timing_summary set_property update_ip_catalog create_bd_design create_bd_cell
    make_bd_intf_pins_external make_bd_pins_external validate_bd_design save_bd_design make_wrapper
    ipx::update_checksums ipx::check_integrity ipx::save_core ipx::archive_core create_clock
} {
    namespace eval [namespace qualifiers ::$name] {}
    proc ::$name {args} "say $name {*}\$args; return $name"
}
foreach name {get_files get_bd_intf_pins get_bd_pins get_bd_ports get_ports get_timing_paths current_project ipx::open_core} {
    namespace eval [namespace qualifiers ::$name] {}
    proc ::$name {args} "say $name {*}\$args; return <$name>"
}
proc get_property {name of} {
    say get_property $name $of
    return $::slack
}
# So that [info script] is the script's, as in Vivado.
source $script
