# Packages the machine as an IP for Vivado's block design: AXI4 master, AXI4-Lite slave with its memory map, interrupt.
#
#     vivado -mode batch -source package_vivado.tcl
#
# Then add the folder ip/ to a project's IP repositories.
set here [file dirname [file normalize [info script]]]

create_project -in_memory eightfold_packaging
add_files -norecurse [file join $here eightfold.v]
set_property top eightfold [current_fileset]
update_compile_order -fileset sources_1

ipx::package_project -root_dir [file join $here ip] -vendor eightfold -library accelerator -taxonomy /UserIP \
  -import_files -set_current true -force
set core [ipx::current_core]
set_property name @IDENTIFIER@ $core
set_property version @VERSION@ $core
set_property display_name {Eightfold @NAME@} $core
set_property description {@DESCRIPTION@} $core
set_property supported_families {artix7 Production kintex7 Production virtex7 Production zynq Production \
  zynquplus Production kintexu Production kintexuplus Production} $core

# The AXI ports are known by the names of their signals.
foreach {signal interface} {clk clock rst reset irq interrupt} {
  if {[llength [ipx::get_bus_interfaces $signal -of_objects $core]] == 0} {
    ipx::infer_bus_interface $signal xilinx.com:signal:${interface}_rtl:1.0 $core
  }
}
foreach bus {s_axi m_axi} {
  ipx::associate_bus_interfaces -busif $bus -clock clk -reset rst $core
}
set reset [ipx::get_bus_interfaces rst -of_objects $core]
set_property value ACTIVE_HIGH [ipx::add_bus_parameter POLARITY $reset]
set interrupt [ipx::get_bus_interfaces irq -of_objects $core]
set_property value LEVEL_HIGH [ipx::add_bus_parameter SENSITIVITY $interrupt]

# 4 KiB of registers; the master reaches 4 GiB.
set slave [ipx::get_bus_interfaces s_axi -of_objects $core]
if {[llength [ipx::get_memory_maps s_axi -of_objects $core]] == 0} {
  ipx::add_memory_map s_axi $core
  set_property slave_memory_map_ref s_axi $slave
}
set map [ipx::get_memory_maps s_axi -of_objects $core]
if {[llength [ipx::get_address_blocks -of_objects $map]] == 0} {
  ipx::add_address_block registers $map
}
set block [lindex [ipx::get_address_blocks -of_objects $map] 0]
set_property range 4096 $block
set_property width 32 $block
@REGISTERS@

ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
