# SPDX-License-Identifier: Apache-2.0
"""Words that other languages and tools have a meaning for, so that a design must not be called by them."""

from __future__ import annotations

#: Key words of Verilog-2005 and SystemVerilog-2017, and what every SystemVerilog program can see.
VERILOG = frozenset(
    """
    accept_on alias always always_comb always_ff always_latch and assert assign assume automatic before begin bind
    bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle checker class clocking cmos config
    const constraint context continue cover covergroup coverpoint cross deassign default defparam design disable
    dist do edge else end endcase endchecker endclass endclocking endconfig endfunction endgenerate endgroup
    endinterface endmodule endpackage endprimitive endprogram endproperty endsequence endspecify endtable endtask
    enum event eventually expect export extends extern final first_match for force foreach forever fork forkjoin
    function generate genvar global highz0 highz1 if iff ifnone ignore_bins illegal_bins implements implies import
    incdir include initial inout input inside instance int integer interconnect interface intersect join join_any
    join_none large let liblist library local localparam logic longint macromodule mailbox matches medium modport
    module nand negedge nettype new nexttime nmos nor noshowcancelled not notif0 notif1 null or output package
    packed parameter pmos posedge primitive priority process program property protected pull0 pull1 pulldown pullup
    pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase randsequence rcmos real realtime ref reg
    reject_on release repeat restrict return rnmos rpmos rtran rtranif0 rtranif1 s_always s_eventually s_nexttime
    s_until s_until_with scalared semaphore sequence shortint shortreal showcancelled signed small soft solve
    specify specparam static std string strong strong0 strong1 struct super supply0 supply1 sync_accept_on
    sync_reject_on table tagged task this throughout time timeprecision timeunit tran tranif0 tranif1 tri tri0 tri1
    triand trior trireg type typedef union unique unique0 unsigned until until_with untyped use uwire var vectored
    virtual void wait wait_order wand weak weak0 weak1 while wildcard wire with within wor xnor xor
    """.split()
)

#: Key words of VHDL-2008, in which case does not count.
VHDL = frozenset(
    """
    abs access after alias all and architecture array assert assume assume_guarantee attribute begin block body
    buffer bus case component configuration constant context cover default disconnect downto else elsif end entity
    exit fairness file for force function generate generic group guarded if impure in inertial inout is label
    library linkage literal loop map mod nand new next nor not null of on open or others out package parameter port
    postponed procedure process property protected pure range record register reject release rem report restrict
    restrict_guarantee return rol ror select sequence severity shared signal sla sll sra srl strong subtype then to
    transport type unaffected units until use variable vmode vprop vunit wait when while with xnor xor
    """.split()
)

#: Names of devices on Windows, where no file can have them, whatever its suffix and case.
DEVICES = frozenset("con prn aux nul".split()) | {f"{port}{n}" for port in ("com", "lpt") for n in range(10)}

#: Cells of the devices that Yosys maps to: another module of such a name would be taken for it.
CELLS = frozenset(
    """
    ALU54B AND2B1L BITSLICE_CONTROL BSCANE2 BSCAN_SPARTAN3 BSCAN_SPARTAN3A BSCAN_SPARTAN6 BSCAN_VIRTEX4
    BSCAN_VIRTEX5 BSCAN_VIRTEX6 BUFG BUFGCE BUFGCE_1 BUFGCE_DIV BUFGCTRL BUFGMUX BUFGMUX_1 BUFGMUX_CTRL
    BUFGMUX_VIRTEX4 BUFG_GT BUFG_GT_SYNC BUFG_PS BUFH BUFHCE BUFIO BUFIO2 BUFIO2FB BUFIO2_2CLK BUFIODQS BUFMR
    BUFMRCE BUFPLL BUFPLL_MCB BUFR BUFT CAPTUREE2 CAPTURE_SPARTAN3 CAPTURE_SPARTAN3A CAPTURE_VIRTEX4 CAPTURE_VIRTEX5
    CAPTURE_VIRTEX6 CARRY4 CARRY8 CCU2C CFGLUT5 CLKDIVF CMAC CMACE4 CRC32 CRC64 DCCA DCIRESET DCM DCM_ADV DCM_BASE
    DCM_CLKGEN DCM_PS DCM_SP DCSC DCUA DDRDLLA DELAYF DELAYG DLLDELD DNA_PORT DNA_PORTE2 DP16KD DPR16X4C DQSBUFM
    DSP48 DSP48A DSP48A1 DSP48E DSP48E1 DSP48E2 DTR ECLKBRIDGECS ECLKSYNCB EFUSE_USR EHXPLLL EMAC EXTREFB FDCE
    FDCE_1 FDCPE FDCPE_1 FDDRCPE FDDRRSE FDPE FDPE_1 FDRE FDRE_1 FDRSE FDRSE_1 FDSE FDSE_1 FE FIFO16 FIFO18 FIFO18E1
    FIFO18E2 FIFO18_36 FIFO36 FIFO36E1 FIFO36E2 FIFO36_72 FRAME_ECCE2 FRAME_ECCE3 FRAME_ECCE4 FRAME_ECC_VIRTEX4
    FRAME_ECC_VIRTEX5 FRAME_ECC_VIRTEX6 GND GSR GT11CLK GT11CLK_MGT GT11_CUSTOM GT11_DUAL GTHE1_QUAD GTHE2_CHANNEL
    GTHE2_COMMON GTHE3_CHANNEL GTHE3_COMMON GTHE4_CHANNEL GTHE4_COMMON GTM_DUAL GTPA1_DUAL GTPE2_CHANNEL
    GTPE2_COMMON GTP_DUAL GTXE1 GTXE2_CHANNEL GTXE2_COMMON GTX_DUAL GTYE3_CHANNEL GTYE3_COMMON GTYE4_CHANNEL
    GTYE4_COMMON HARD_SYNC HBM_ONE_STACK_INTF HBM_REF_CLK HBM_SNGLBLI_INTF_APB HBM_SNGLBLI_INTF_AXI
    HBM_TWO_STACK_INTF HPIO_VREF HSADC HSDAC IBUF IBUFDS IBUFDSE3 IBUFDS_DIFF_OUT IBUFDS_DIFF_OUT_IBUFDISABLE
    IBUFDS_DIFF_OUT_INTERMDISABLE IBUFDS_DLY_ADJ IBUFDS_DPHY IBUFDS_GTE2 IBUFDS_GTE3 IBUFDS_GTE4 IBUFDS_GTHE1
    IBUFDS_GTM IBUFDS_GTXE1 IBUFDS_IBUFDISABLE IBUFDS_INTERMDISABLE IBUFE3 IBUFG IBUFGDS IBUFGDS_DIFF_OUT
    IBUF_ANALOG IBUF_DLY_ADJ IBUF_IBUFDISABLE IBUF_INTERMDISABLE ICAPE2 ICAPE3 ICAP_SPARTAN3A ICAP_SPARTAN6
    ICAP_VIRTEX4 ICAP_VIRTEX5 ICAP_VIRTEX6 IDDR IDDR2 IDDR71B IDDRE1 IDDRX1F IDDRX2DQA IDDRX2F IDDR_2CLK IDELAY
    IDELAYCTRL IDELAYE2 IDELAYE3 IFDDRCPE IFDDRRSE ILKN ILKNE4 INV IN_FIFO IOBUF IOBUFDS IOBUFDSE3 IOBUFDS_DCIEN
    IOBUFDS_DIFF_OUT IOBUFDS_DIFF_OUT_DCIEN IOBUFDS_DIFF_OUT_INTERMDISABLE IOBUFDS_INTERMDISABLE IOBUFE3 IOBUF_DCIEN
    IOBUF_INTERMDISABLE IODELAY IODELAY2 IODELAYE1 IODRP2 IODRP2_MCB ISERDES ISERDES2 ISERDESE1 ISERDESE2 ISERDESE3
    ISERDES_NODELAY JTAGG KEEPER KEY_CLEAR L6MUX21 LDCE LDCPE LDPE LUT1 LUT2 LUT3 LUT4 LUT5 LUT6 LUT6_2 MASTER_JTAG
    MCB MMCME2_ADV MMCME2_BASE MMCME3_ADV MMCME3_BASE MMCME4_ADV MMCME4_BASE MMCM_ADV MMCM_BASE MULT18X18 MULT18X18D
    MULT18X18S MULT18X18SIO MULT_AND MUXCY MUXF5 MUXF6 MUXF7 MUXF8 MUXF9 OBUF OBUFDS OBUFDS_DPHY OBUFDS_GTE3
    OBUFDS_GTE3_ADV OBUFDS_GTE4 OBUFDS_GTE4_ADV OBUFDS_GTM OBUFDS_GTM_ADV OBUFT OBUFTDS ODDR ODDR2 ODDR71B ODDRE1
    ODDRX1F ODDRX2DQA ODDRX2DQSB ODDRX2F ODELAYE2 ODELAYE3 OFDDRCPE OFDDRRSE OFDDRTCPE OFDDRTRSE OR2L ORCY OSCG
    OSERDES OSERDES2 OSERDESE1 OSERDESE2 OSERDESE3 OSHX2A OUT_FIFO PCIE40E4 PCIE4CE4 PCIE_2_0 PCIE_2_1 PCIE_3_0
    PCIE_3_1 PCIE_A1 PCIE_EP PCSCLKDIV PDPW16KD PFUMX PHASER_IN PHASER_IN_PHY PHASER_OUT PHASER_OUT_PHY PHASER_REF
    PHY_CONTROL PLLE2_ADV PLLE2_BASE PLLE3_ADV PLLE3_BASE PLLE4_ADV PLLE4_BASE PLL_ADV PLL_BASE PMCD
    POST_CRC_INTERNAL PPC405_ADV PPC440 PS7 PS8 PULLDOWN PULLUP PUR RAM128X1D RAM128X1S RAM128X1S_1 RAM16X1D
    RAM16X1D_1 RAM16X1S RAM16X1S_1 RAM16X2S RAM16X4S RAM16X8S RAM256X1D RAM256X1S RAM32M RAM32M16 RAM32X16DR8
    RAM32X1D RAM32X1D_1 RAM32X1S RAM32X1S_1 RAM32X2S RAM32X4S RAM32X8S RAM512X1S RAM64M RAM64M8 RAM64X1D RAM64X1D_1
    RAM64X1S RAM64X1S_1 RAM64X2S RAM64X8SW RAMB16 RAMB16BWER RAMB16BWE_S18 RAMB16BWE_S18_S18 RAMB16BWE_S18_S9
    RAMB16BWE_S36 RAMB16BWE_S36_S18 RAMB16BWE_S36_S36 RAMB16BWE_S36_S9 RAMB16_S1 RAMB16_S18 RAMB16_S18_S18
    RAMB16_S18_S36 RAMB16_S1_S1 RAMB16_S1_S18 RAMB16_S1_S2 RAMB16_S1_S36 RAMB16_S1_S4 RAMB16_S1_S9 RAMB16_S2
    RAMB16_S2_S18 RAMB16_S2_S2 RAMB16_S2_S36 RAMB16_S2_S4 RAMB16_S2_S9 RAMB16_S36 RAMB16_S36_S36 RAMB16_S4
    RAMB16_S4_S18 RAMB16_S4_S36 RAMB16_S4_S4 RAMB16_S4_S9 RAMB16_S9 RAMB16_S9_S18 RAMB16_S9_S36 RAMB16_S9_S9 RAMB18
    RAMB18E1 RAMB18E2 RAMB18SDP RAMB32_S64_ECC RAMB36 RAMB36E1 RAMB36E2 RAMB36SDP RAMB4_S1 RAMB4_S16 RAMB4_S16_S16
    RAMB4_S1_S1 RAMB4_S1_S16 RAMB4_S1_S2 RAMB4_S1_S4 RAMB4_S1_S8 RAMB4_S2 RAMB4_S2_S16 RAMB4_S2_S2 RAMB4_S2_S4
    RAMB4_S2_S8 RAMB4_S4 RAMB4_S4_S16 RAMB4_S4_S4 RAMB4_S4_S8 RAMB4_S8 RAMB4_S8_S16 RAMB4_S8_S8 RAMB8BWER RFADC
    RFDAC RIU_OR ROM128X1 ROM16X1 ROM256X1 ROM32X1 ROM64X1 RXTX_BITSLICE RX_BITSLICE SGSR SPI_ACCESS SRL16 SRL16E
    SRLC16 SRLC16E SRLC32E STARTUPE2 STARTUPE3 STARTUP_SPARTAN3 STARTUP_SPARTAN3A STARTUP_SPARTAN3E STARTUP_SPARTAN6
    STARTUP_VIRTEX4 STARTUP_VIRTEX5 STARTUP_VIRTEX6 SUSPEND_SYNC SYSMON SYSMONE1 SYSMONE4 TEMAC TEMAC_SINGLE
    TRELLIS_COMB TRELLIS_DPR16X4 TRELLIS_FF TRELLIS_IO TRELLIS_RAM16X2 TSHX2DQA TSHX2DQSA TX_BITSLICE
    TX_BITSLICE_TRI URAM288 URAM288_BASE USRMCLK USR_ACCESSE2 USR_ACCESS_VIRTEX4 USR_ACCESS_VIRTEX5
    USR_ACCESS_VIRTEX6 VCC VCU VHI VLO XADC XORCY
    """.split()
)
