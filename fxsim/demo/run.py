# SPDX-License-Identifier: Apache-2.0
"""The demo: a trained network becomes Verilog, and the Verilog reads handwritten digits."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import api
from .. import golden as vectors
from ..command.terminal import Output
from ..extras import importing, require
from ..files.arrays import load_arrays, make_folder, save_array
from ..pages import check_results
from ..pages.listing import Column, Listing, pairs
from ..pages.page import Part, Text
from ..program.graph import Graph
from ..quantization.presets import quantize
from ..simulator.run import quantize_inputs
from ..study import floating

if TYPE_CHECKING:
    from testbenches import CheckReport

_HERE = Path(__file__).parent
MODEL, DATA = _HERE / "digits.keras", _HERE / "digits_test.npz"

#: Formats of the accuracy table; the last one is built.
PRECISIONS = ("ap_fixed<6,3>", "ap_fixed<8,4>", "ap_fixed<10,5>", "ap_fixed<16,6>")
#: Budget of the built design: small enough that Verilator compiles it in seconds.
MULTIPLIERS = 300
CLOCK_MHZ = 200.0


def run(folder: str, out: Output) -> None:
    """Show accuracy, export to ``folder``, simulate the Verilog on every test image and compare every bit."""
    with importing("demo", "rtl", "testbenches"):
        from testbenches.packages import REQUIREMENTS
        from testbenches.verilator import find_verilator, is_absent
    require("demo", "rtl", also=[REQUIREMENTS["verilator"]] if is_absent() else [])
    find_verilator()  # refused now, not after the work
    start = time.perf_counter()
    place = make_folder(folder)
    data = load_arrays(DATA, "x", "y")
    x, y = data["x"], data["y"]
    out.note(f"A small LSTM reads {len(x)} handwritten digits it has never seen, 8 x 8 pixels, row by row.")
    graph, accuracy = _accuracy(x, y, out)

    out.note(f"Verilog for {PRECISIONS[-1]}, at most {MULTIPLIERS} multipliers, {CLOCK_MHZ:g} MHz:")
    with out.progress("Python writes Verilog"):
        ip = api.export(graph, place / "ip", multipliers=MULTIPLIERS, clock_mhz=CLOCK_MHZ, accuracy=accuracy)
    predicted, used = ip.manifest["timing"], ip.manifest["cost"]["multipliers"]
    lines = (ip.folder / "digits.v").read_text().count("\n")
    out.note(
        f"{lines} lines, {used} multipliers; latency {predicted['latency']} cycles, predicted before it was built\n"
    )

    golden = vectors.golden(graph, quantize_inputs(graph, x))
    raw, found = _run_verilog(ip.folder, golden, out)
    measured = found.measured
    assert measured is not None
    save_array(place / "rtl_outputs.npy", raw)
    told = check_results.agrees(found, graph.output.width, f"the {len(x)} images; verilator")
    check_results.stamp(ip.folder, told, ip.manifest["files"])
    different, right = int((raw != golden["outputs"].reshape(raw.shape)).sum()), _right(raw, y)
    rows = [
        ("output values compared with the simulator, every bit", raw.size),
        ("of them different", different),
        ("digits read right, from the Verilog's own outputs", _share(right, y)),
        ("clock cycles run", found.cycles),
        ("latency in cycles, predicted = measured", f"{predicted['latency']} = {measured.latency}"),
        ("interval in cycles, predicted = measured", f"{predicted['interval']} = {measured.interval}"),
        (f"from the first row to the answer, at {CLOCK_MHZ:g} MHz", f"{ip.latency_us:.2f} us"),
    ]
    facts = {**asdict(found), "digits": len(x), "right": right, "clock_mhz": CLOCK_MHZ, "multipliers": used}
    out.fact("verilog", pairs("verilog", "The Verilog, run by Verilator on all of them", rows), facts)
    out.files(ip.folder, sorted(path.name for path in ip.folder.iterdir()))
    out.note(f"next: fxsim check {ip.folder}; fxsim synth {ip.folder}  ({time.perf_counter() - start:.0f} s)")
    out.note(f"all of it on one page: {ip.folder / check_results.REPORT}")


_COLUMNS = (
    Column("precision", left=True), Column("right", "digits read right"), Column("largest_error", form=".4f"),
    Column("sequences_per_s", "sequences/s", form=".0f", rank=1),
)  # fmt: skip


def _accuracy(x: NDArray[Any], y: NDArray[Any], out: Output) -> tuple[Graph, list[Part]]:
    """Show what the widths cost; give the network in the last one, and the same for a page."""
    source = api.read_source(MODEL)
    want = floating.predict(source, x)
    rows: list[tuple[object, ...]] = [("float", _share(_right(want, y), y), None, None)]
    for precision in PRECISIONS:
        graph = quantize(source, precision=precision)
        graph.predict(x, warn=False)  # compiles the kernels if need be, which is not to be timed
        begin = time.perf_counter()
        got = graph.predict(x, warn=False)
        rate = len(x) / (time.perf_counter() - begin)
        rows.append((precision, _share(_right(got, y), y), float(np.abs(got - want).max()), rate))
    title = "Simulated in Python, bit for bit what the gateware computes"
    out.table(Listing("precisions", title, _COLUMNS, rows))
    # Without the speed, which is this machine's.
    table = Listing("precisions", "", _COLUMNS, rows, marked=len(rows) - 1).part("sequences_per_s")
    return graph, [Text(f"{len(x)} handwritten digits that the network has never seen."), table]


def _right(outputs: NDArray[Any], y: NDArray[Any]) -> int:
    return int((outputs.argmax(axis=1) == y).sum())


def _share(right: int, y: NDArray[Any]) -> str:
    return f"{right} of {len(y)}, {100 * right / len(y):.1f} %"


def _run_verilog(folder: Path, golden: dict[str, NDArray[Any]], out: Output) -> tuple[NDArray[np.int64], CheckReport]:
    """Raw outputs of the Verilog (batch, outputs), and what was compared.

    Raises ``Mismatch`` at the first bit that is not the simulator's, or if it takes other cycles than predicted.
    """
    with importing("demo", "testbenches"):
        from testbenches import CheckReport
        from testbenches.locate import at_output
        from testbenches.manifest import Manifest
        from testbenches.native import build
        from testbenches.timing import compare
        from testbenches.vectors import Vectors

    manifest = Manifest.load(folder)
    with tempfile.TemporaryDirectory(prefix="fxsim_demo_") as work:
        path = Path(work) / "vectors.npz"
        path.write_bytes(vectors.encode(golden))
        read = Vectors.load(path, manifest)
        with out.progress("Verilator compiles the Verilog"):
            harness = build(manifest, Path(work) / "build")
        with out.progress("Verilator runs it") as update:
            result = harness.run(read, Path(work) / "run", progress=update)
        if result.fault is not None:
            raise at_output(manifest, read, result)
        assert result.timing is not None
        assert manifest.timing is not None
        compare(result.timing, manifest.timing)
        raw = result.outputs(manifest.output)
        # What differs has been raised by now.
        return raw, CheckReport(
            top=manifest.top,
            sequences=len(raw),
            cycles=result.cycles,
            values=raw.size,
            inner=0,
            differences=0,
            measured=result.timing,
            predicted=manifest.timing,
            tests=(),
        )
