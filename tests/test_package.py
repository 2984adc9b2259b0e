# SPDX-License-Identifier: Apache-2.0
"""What stands in an exported folder beside the design: each file is used as its reader would use it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import yaml
from networks import network
from test_battery import with_last_bit_flipped

import fxsim
from fxsim.simulation import simulate
from rtl.ipxact import port_list
from testbenches.verilator import find_verilator

SPIRIT = "{http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009}"
XILINX = "{http://www.xilinx.com}"
STUB = Path(__file__).with_name("vivado_stub.tcl")

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


def test_the_plain_testbench_passes_in_verilator(ip, tmp_path):
    folder = copy(ip, tmp_path / "ip")
    tool = find_verilator()
    command = [
        str(tool.executable),
        "--binary",
        "--timing",
        "-CFLAGS",
        "-std=c++20",
        "-Wno-fatal",
        "-Wno-WIDTH",
        "--Mdir",
        "build",
    ]
    subprocess.run(
        [*command, "--top-module", "tiny_tb", "sim/tiny_tb.v", "tiny.v"],
        cwd=folder, env=tool.environment(), check=True, capture_output=True,
    )  # fmt: skip
    run = subprocess.run(["../build/Vtiny_tb"], cwd=folder / "sim", capture_output=True, text=True, check=True)
    assert run.stdout.startswith("PASS: 32 sequences at full rate and 32 stalled")


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
def test_packaging_and_example_scripts(ip):
    status, lines = vivado(ip, "package")
    said = calls(lines)
    steps = ["ipx::open_core", "ipx::update_checksums", "ipx::check_integrity", "ipx::save_core", "ipx::archive_core"]
    assert status == 0 and [name for name in said if name.startswith("ipx")] == steps
    status, lines = vivado(ip, "example")
    assert status == 0 and "> create_bd_cell -type ip -vlnv fxsim:ip:tiny:1.0 network" in lines
    said = calls(lines)
    assert said.index("create_bd_cell") < said.index("make_bd_intf_pins_external") < said.index("validate_bd_design")
    assert "> set_property CONFIG.FREQ_HZ 200000000 <get_bd_ports>" in lines


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
