# SPDX-License-Identifier: Apache-2.0
"""Waveforms of a check: an FST file that another program reads, and that shows the sequence it should."""

from __future__ import annotations

import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from native_builds import check_folder
from test_testbenches import export, needs_icarus

from testbenches import waves
from testbenches.errors import CheckError, Mismatch
from testbenches.record import record

pywellen = pytest.importorskip("pywellen")
#: A cycle of the design's clock, 200 MHz, in ps; the harness begins with 16 cycles of reset.
PERIOD, RESET = 5000, 16


def changes(path: Path, name: str) -> list[tuple[int, int]]:
    """Times in ps and values of a signal of the top module."""
    wave = pywellen.Waveform(path=str(path))
    assert str(wave.timescale) == "1ps"
    (found,) = (var for var in wave.all_vars() if var.full_name == f"TOP.{name}")
    return [(int(time), int(value)) for time, value in found.tv]


@pytest.fixture(scope="module")
def design(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("design"), sequences=12)


def with_bug(design: Path, to: Path, bug: int) -> Path:
    shutil.copytree(design, to)
    text = (to / "running_sum.v").read_text()
    wrong = text.replace('$value$plusargs("bug=%d", bug)) bug = 0', f'$value$plusargs("bug=%d", bug)) bug = {bug}')
    assert wrong != text
    (to / "running_sum.v").write_text(wrong)
    return to


def test_the_first_sequence(design: Path, tmp_path: Path) -> None:
    told: list[str] = []
    shown = record(design, design / "vectors.npz", tmp_path / "w.fst")
    assert (shown, told) == ("the first sequence, to its result", [])
    assert [path.name for path in tmp_path.iterdir()] == ["w.fst"]
    # From the reset on; the first beat is taken at the edge in the middle of cycle 0, the result stands after 4 edges.
    start = RESET * PERIOD
    assert changes(tmp_path / "w.fst", "aresetn") == [(0, 0), (start, 1)]
    valid = changes(tmp_path / "w.fst", "m_axis_tvalid")
    assert valid[:2] == [(0, 0), (start + 3 * PERIOD + PERIOD // 2, 1)]
    data = dict(changes(tmp_path / "w.fst", "m_axis_tdata"))[valid[1][0]]
    assert data & 0xFFFF == int(np.load(design / "vectors.npz")["outputs"][0, 0, 0]) % (1 << 16)


def test_the_sequence_that_is_wrong(design: Path, tmp_path: Path) -> None:
    wrong = with_bug(design, tmp_path / "wrong", 1)
    with pytest.raises(Mismatch) as error:
        check_folder(wrong, wrong / "vectors.npz", cocotb=False)
    assert (error.value.sequence, error.value.drive) == (5, {"sequences": 12})
    shown = record(wrong, wrong / "vectors.npz", tmp_path / "w.fst", error=error.value)
    # Inner values were compared first, in a run whose outputs nobody looked at; this one stops where they differ.
    assert shown.startswith("sequence 5, to what is wrong at clock edge ")
    # Four beats a sequence, one a cycle: the sixth begins at cycle 20.
    times = changes(tmp_path / "w.fst", "aclk")
    assert times[0][0] == (RESET + 20) * PERIOD
    assert changes(tmp_path / "w.fst", "aresetn") == [((RESET + 20) * PERIOD, 1)]
    assert times[-1][0] < (RESET + 20 + 8) * PERIOD


def test_the_run_with_stalls_in_which_it_is_wrong(design: Path, tmp_path: Path) -> None:
    wrong = with_bug(design, tmp_path / "wrong", 3)
    with pytest.raises(Mismatch) as error:
        check_folder(wrong, wrong / "vectors.npz", cocotb=False)
    found = error.value
    assert (found.kind, found.drive) == ("unstable", {"sequences": 12, "idle": 0.3, "backpressure": 0.3})
    shown = record(wrong, wrong / "vectors.npz", tmp_path / "w.fst", error=found)
    assert shown.endswith(str(found).rpartition("clock edge ")[2].rstrip(")"))  # the same edge again
    assert 0 in dict(changes(tmp_path / "w.fst", "m_axis_tready")).values()


@needs_icarus
def test_a_cocotb_test_that_fails(design: Path, tmp_path: Path) -> None:
    wrong = with_bug(design, tmp_path / "wrong", 5)
    with pytest.raises(Mismatch) as error:
        check_folder(wrong, wrong / "vectors.npz", simulator="icarus")
    assert error.value.test == "early_tlast/stall=none"
    shown = record(wrong, wrong / "vectors.npz", tmp_path / "w.fst", error=error.value, simulator="icarus")
    assert shown == "cocotb test early_tlast/stall=none, which fails"
    assert pywellen.Waveform(path=str(tmp_path / "w.fst")).all_vars()


@needs_icarus
def test_icarus_shows_a_test(design: Path, tmp_path: Path) -> None:
    shown = record(design, design / "vectors.npz", tmp_path / "w.fst", simulator="icarus")
    assert shown == "cocotb test x_free_after_reset: the first sequence"
    assert (tmp_path / "w.fst").stat().st_size > 100


def test_a_place_that_cannot_be_written(design: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckError, match=r"file/w\.fst: cannot write \(Not a directory\)$"):
        record(design, design / "vectors.npz", tmp_path / "file" / "w.fst")


PROGRAM = """
#include <cstdio>
#include <vector>
#include "lz4.h"
#include "zlib.h"
int main(int, char** words) {
    std::vector<unsigned char> in, out;
    for (int c; (c = std::getchar()) != EOF;) in.push_back(static_cast<unsigned char>(c));
    unsigned long size;
    if (words[1][0] == 'l') {
        out.resize(LZ4_compressBound(in.size()));
        size = LZ4_compress_default((const char*)in.data(), (char*)out.data(), in.size(), out.size());
    } else {
        out.resize(size = compressBound(in.size()));
        if (compress2(out.data(), &size, in.data(), in.size(), 4) != Z_OK) return 1;
    }
    std::fwrite(out.data(), 1, size, stdout);
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("headers")
    (place / "main.cpp").write_text(PROGRAM)
    headers = Path(waves.__file__).parent / "fst_headers"
    subprocess.run(["c++", "-O1", "-I", headers, place / "main.cpp", "-o", place / "main"], check=True)
    return place / "main"


@pytest.mark.parametrize("size", [0, 1, 14, 15, 16, 269, 270, 271, 65534, 65535, 65536, 200_000])
def test_what_stands_in_for_the_libraries_writes_what_they_read(program: Path, size: int) -> None:
    data = np.random.default_rng(size).bytes(size)

    def packed(kind: str) -> bytes:
        return subprocess.run([program, kind], input=data, capture_output=True, check=True).stdout

    assert zlib.decompress(packed("z")) == data
    assert unpack_literals(packed("l")) == data


def unpack_literals(block: bytes) -> bytes:
    """An LZ4 block of one sequence without a match."""
    count, at = block[0] >> 4, 1
    assert block[0] & 15 == 0
    while count >= 15 and (at == 1 or block[at - 1] == 255):
        count += block[at]
        at += 1
    assert len(block) == at + count
    return block[at:]
