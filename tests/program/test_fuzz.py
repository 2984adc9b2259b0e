# SPDX-License-Identifier: Apache-2.0
"""A short fuzzing campaign, one of 100 000 cases (``-m long``), proof that it finds faults, and what it has found."""

from __future__ import annotations

import json
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz import seeds
from fuzz.campaign import campaign, run
from fuzz.mutators import CANARY, ODD, damaged, hdf5, mutated, npy, rezip, unzip
from fuzz.targets import PLANTS, TARGETS, command
from fuzz.worker import LONGEST

from fxsim import api, quantize
from fxsim.errors import FxsimError, show
from fxsim.files import arrays
from fxsim.program.fixed import Fixed
from fxsim.program.graph import Graph, Node, chain
from fxsim.program.ops import Concat, Input, Slice
from fxsim.program.program import Program
from fxsim.quantization.hls4ml_files import read_config
from rtl.export.synthesis import results
from rtl.plan.folding import from_json
from testbenches.errors import CheckError
from testbenches.manifest import Manifest
from testbenches.vectors import Vectors

SHARES = {name: share for name, (_, share) in TARGETS.items()}
SHORT = 1100
LONG = 100_000


@pytest.mark.parametrize("target", TARGETS)
def test_short_campaign(target: str) -> None:
    count = run(target, 0, SHORT * SHARES[target] // sum(SHARES.values()))
    assert count.findings == []
    # Neither so wild that nothing is taken, nor so tame that nothing is refused.
    assert count.taken and count.refused > count.cases / 10
    assert len(count.reasons) > 5


@pytest.mark.long
def test_long_campaign() -> None:
    counts = campaign(LONG, list(TARGETS), first=1_000_000)
    assert {name: count.findings for name, count in counts.items() if count.findings} == {}
    assert sum(count.cases for count in counts.values()) >= LONG


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_fault_is_found(plant: str) -> None:
    """Each takes one check out of the product, in the workers."""
    target, why, _ = PLANTS[plant]
    count = run(target, 0, 12_000, plant=plant, enough=1)
    assert any(why in found["why"] for found in count.findings), count.findings


def test_a_library_that_hangs_is_contained() -> None:
    """Here the file is read in the worker, where nothing ends the HDF5 library; its own process ends, in one line."""
    count = run("h5", 94, 95, plant="hangs")
    assert (count.contained, count.refused, count.findings) == ([94], 1, [])


def test_a_case_is_the_same_each_time() -> None:
    one, two = (run("precision", 0, 60) for _ in range(2))
    assert one.reasons == two.reasons


def test_mutators_change_what_they_are_given() -> None:
    rng = random.Random(0)
    data = seeds.h5()[0]
    assert sum(damaged(data, rng) != data for _ in range(100)) > 90
    assert sum(hdf5(data, rng) != data for _ in range(100)) > 80
    assert sum(npy(seeds.arrays()[0], rng) != seeds.arrays()[0] for _ in range(100)) > 90
    config = seeds.configs()[0]
    assert sum(mutated(config, rng) != config for _ in range(100)) > 90
    assert ODD[5:8] == [-1, 2, 3.5]  # what is put in was not changed


# --- What campaigns have found


def line(error: BaseException) -> str:
    text = str(error)
    assert len(text.splitlines()) == 1 and len(text) < LONGEST
    return text


def refused(call: Callable[..., Any], *given: Any) -> str:
    with pytest.raises((FxsimError, CheckError)) as caught:
        call(*given)
    return line(caught.value)


def header(shape: str, type: str, body: bytes = bytes(100)) -> bytes:
    text = f"{{'descr': {type!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + body


@pytest.mark.parametrize(
    ("shape", "type"),
    [
        ("(-1,)", "|V0"),  # ended the process with SIGFPE, inside of numpy
        ("(99999999999, 8)", "<f8"),  # took all memory
        ("(99999999999, 8)", "|S0"),
        ("(12,)", "<f8"),
        ("(13,)", "<f8"),
        ("(-1, -100)", "|i1"),
        ("(0, 9223372036854775807)", "<f8"),
    ],
)
def test_header_of_an_array(shape: str, type: str, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(header(shape, type))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", header(shape, type))
    assert "100 bytes of values" in refused(arrays.load_array, tmp_path / "x.npy")
    assert "100 bytes of values" in refused(arrays.load_arrays, tmp_path / "x.npz", "x")


def test_header_nested_too_deep(tmp_path: Path) -> None:
    """Python's parser says MemoryError."""
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + (9001).to_bytes(2, "little") + b"[" * 9000 + b"\n")
    assert "header" in refused(arrays.load_array, tmp_path / "x.npy")


def test_an_archive_with_something_else_than_arrays(tmp_path: Path) -> None:
    """What is no .npy file came out as bytes, which have no shape."""
    export = tmp_path / "ip"
    export.mkdir()
    for name, data in seeds.export().items():
        (export / name).write_bytes(data)
    with zipfile.ZipFile(export / "vectors.npz", "w") as archive:
        for name in ("inputs.npy", "outputs.npy"):
            archive.writestr(name, b"no array")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x", b"no array")
    assert "holds something else" in refused(Vectors.load, export / "vectors.npz", Manifest.load(export))
    assert "is not an .npz file of plain arrays" in refused(arrays.load_arrays, tmp_path / "x.npz", "x")


def test_zeros_that_pack_too_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_MOST", 1 << 20)
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros(1 << 15))
    assert "too many for measured data" in refused(arrays.load_arrays, tmp_path / "x.npz", "x")
    np.savez_compressed(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=1 << 15))
    assert arrays.load_arrays(tmp_path / "x.npz", "x")["x"].size == 1 << 15


def test_arrays_of_a_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named again and again, a small archive unpacked without end."""
    graph = seeds.graphs()[0]
    path = tmp_path / "g.fx"
    graph.save(path)
    with zipfile.ZipFile(path) as archive:
        size = sum(info.file_size for info in archive.infolist())
    assert Graph.load(path) == graph
    monkeypatch.setattr("fxsim.program.fx_file._MOST", size)  # tables of one function are one array
    assert "unpacks to more than" in refused(Graph.load, path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # Each was taken, and failed as a traceback when the graph was used.
        ('"$":"Table","first":-8,', '"$":"Table","first":1.5,', "first of Table must be int, not 1.5"),
        ('"$":"Table","first":-8,', '"$":"Table","first":true,', "first of Table must be int, not True"),
        ('"$":"Table","first":-8,', '"$":"Table","first":-9223372036854775808,', "Table frac and first must be within"),
        ('"scale":1,', '"scale":"1",', "scale of Table must be"),
        ('"update":"h"', '"update":7', "update of State must be"),
        ('"return_sequences":false', '"return_sequences":null', "return_sequences of Node must be"),
        ('"sources":["input"]', '"sources":null', "sources of Node must be"),
        (
            '"sources":["input"]',
            '"sources":["inputs"]',
            "layer 'lstm' reads 'inputs', which is no input and no earlier",
        ),
        ('"steps":null', '"steps":[]', "steps of Node must be"),
        ('"name":"lstm"', '"name":"' + "a" * 100_000 + '"', "layer names must have at most 200 printable characters"),
        ('"name":"lstm"', '"name":"a\\ud800"', "layer names must have at most 200 printable characters"),
        ('"output":"h"', '"output":"' + "a" * 100_000 + '"', "is not the name of an op"),
    ],
)
def test_fields_of_a_graph(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "g.fx"
    members = unzip(seeds.fx(seeds.graphs()[0]))
    text = members["graph.json"].decode()
    assert old in text
    members["graph.json"] = text.replace(old, new).encode()
    path.write_bytes(rezip(list(members.items())))
    assert message in refused(Graph.load, path)


@pytest.mark.skipif(os.name != "posix", reason="elsewhere names of files are text")
def test_names_of_files_that_are_no_text(tmp_path: Path) -> None:
    """Shown with an escape; standard output refused the whole line."""
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 2)))
    seeds.graphs()[0].save(tmp_path / "g.fx")
    command(
        [b.decode("utf-8", "surrogateescape") for b in (b"predict", b"g.fx", b"x.npy", b"-o", b"\xff.npy")], tmp_path
    )
    assert b"\xff.npy" in os.listdir(os.fsencode(tmp_path))


def test_sizes_of_a_graph(tmp_path: Path) -> None:
    """A file of 3 kB took all memory: every op of it had 16 million elements, and bounds are kept for each."""
    type = Fixed(16, 10)
    ops: list[Any] = [Input(name="x", type=type, elements=1 << 18)]
    for number in range(3):
        ops.append(Concat(name=f"c{number}", type=type, parts=(ops[-1].name,) * 2))
    assert "at most 1048576 elements together" in refused(Program, tuple(ops), "c2")
    small = Program((ops[0], Slice(name="s", type=type, arg="x", start=0, stop=1 << 18)), "s")
    assert chain("g", (16, 1 << 18), type, (Node("l", "pointwise", small),)).inputs[0].size == 1 << 22
    message = refused(chain, "g", (17, 1 << 18), type, (Node("l", "pointwise", small),))
    assert message == "an input must have at most 4194304 elements, not 4456448"


def test_texts_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fxsim.files.folder.MOST_TEXT", 1000)
    monkeypatch.setattr("testbenches.manifest._MOST", 1000)
    for name in ("c.json", "c.yml", "manifest.json"):
        (tmp_path / name).write_text(" " * 1001)
    for name in ("c.json", "c.yml"):
        assert refused(read_config, tmp_path / name).endswith("is larger than 1000 bytes")
    assert refused(Manifest.load, tmp_path).endswith("is larger than 1000 bytes")
    if Path("/dev/zero").exists():
        graph = seeds.graphs()[0]
        assert refused(lambda: api.export(graph, tmp_path / "ip", folding="/dev/zero")).endswith("than 1000 bytes")


ALIASES = "\n".join(
    ["  - &a0 [x, x, x, x, x, x, x, x, x]"] + [f"  - &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
)
YAML = {
    f"HLSConfig:\n{ALIASES}": "HLSConfig must be a dictionary",  # was written out for the message
    f"Model:\n  Strategy:\n{ALIASES}": "Strategy must be one of",
    f"Backend:\n{ALIASES}": "Backend must be one of",
    "Model: !!bool maybe": "not YAML",  # KeyError
    "Model: !!int ''": "not YAML",  # IndexError
    "Model: !!float ''": "not YAML",
    "Model: {ReuseFactor: 0x" + "f" * 9000 + "}": "an integer of 36000 bits",  # too long to be written in decimal
    "Model: !!python/object/apply:os.system ['touch " + CANARY + "']": "Model must be a dictionary, not ['touch",
    "Model: !!python/object/new:dict {Strategy: !!python/name:os.system ''}": "Strategy must be one of",
    "Model: {Precision: [" + "0, " * 9000 + "]}": "precision must look like",
    "Model: &a {Precision: *a}": "Model",
}


@pytest.mark.parametrize(("content", "message"), YAML.items(), ids=range(len(YAML)))
def test_yaml(content: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c.yml"
    path.write_text(content)
    assert message in refused(lambda: quantize(seeds.rich(), config=read_config(path)))
    assert not (tmp_path / CANARY).exists()


def test_long_precisions() -> None:
    assert "precision must look like" in refused(Fixed.parse, "ap_fixed<" + "9" * 5000)
    assert "rounding must be one of" in refused(Fixed.parse, "ap_fixed<8,4," + "x" * 5000 + ">")
    assert "rounding must be one of" in refused(Fixed.parse, "ap_fixed<8,4,RND\nCONV>")


def test_foldings() -> None:
    graph = seeds.graphs()[0]
    long = "x" * 5000
    fold = {"beats": 1, "cycles": 1, "multiplier": long}
    layers = ({"lstm": {"beats": [0] * 9000}}, {"lstm": fold}, {long: {"reuse": 1}})
    for value in (*layers, {"beat": long}, {"unroll": long}):
        refused(lambda value=value: api.export(graph, "nowhere", folding=from_json(graph, json.dumps(value))))


MANIFESTS: dict[str, tuple[Any, str]] = {
    "timing.interval": ("1e999999999", "'interval' must be a number"),  # was written out: hung
    "timing.interval#": ("1/0", "'interval' must be a number"),  # ZeroDivisionError
    "taps": ([{"layer": "lstm"}], "taps: 'width' is missing"),  # KeyError
    "input": (3, "'input' must be of type dict"),  # TypeError
    "input.elements_per_beat": (13, "has no whole beats of 13"),  # numpy's ValueError
    "top": ("x" * 9000, "is missing"),
}


@pytest.mark.parametrize("place", MANIFESTS)
def test_manifests(place: str, tmp_path: Path) -> None:
    value, message = MANIFESTS[place]
    for name, data in seeds.export().items():
        (tmp_path / name).write_bytes(data)
    facts = json.loads(seeds.export()["manifest.json"])
    inner = facts
    *path, last = place.rstrip("#").split(".")
    for key in path:
        inner = inner[key]
    inner[last] = value
    if place == "top":
        facts["files"] = ["x.v" * 3000]
        message = "does not exist"
    (tmp_path / "manifest.json").write_text(json.dumps(facts))
    assert message in refused(lambda: api.check(tmp_path, sequences=2))


def test_manifest_nested_too_deep(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("[" * 200_000)
    assert "is not JSON" in refused(Manifest.load, tmp_path)


@pytest.mark.parametrize("family", [{"$": "Graph"}, [], ["xc7"], 3, "xc8"])
def test_a_manifest_of_no_family(family: Any, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"family": family}))
    assert "family must be one of xc7" in refused(api.synth, tmp_path)


def test_a_message_shows_an_array_on_one_line() -> None:
    assert len(show(np.arange(4, 400, 7)).splitlines()) == 1


@pytest.mark.parametrize("text", ["{}", "[]", '{"family": "xcu"}', '{"family": "xc7", "lut": "1"}', "{"])
def test_cells_that_yosys_did_not_count(text: str, tmp_path: Path) -> None:
    (tmp_path / "synth_xcu.json").write_text(text)
    assert "synth_xcu.json" in refused(results, tmp_path)


def test_a_manifest_gives_yosys_no_commands(tmp_path: Path) -> None:
    """``top`` is a word of a Yosys command; a text with more in it ran programs."""
    for name, data in seeds.export().items():
        (tmp_path / name).write_bytes(data)
    facts = json.loads(seeds.export()["manifest.json"])
    for top in ("x; exec -- touch canary", "x\n!touch canary", "x y", "", 3, None):
        facts["top"] = top
        (tmp_path / "manifest.json").write_text(json.dumps(facts))
        before = os.getcwd()
        os.chdir(tmp_path)
        try:
            assert "'top' must be a Verilog identifier" in refused(api.synth, tmp_path)
        finally:
            os.chdir(before)
    assert not (tmp_path / "canary").exists()
