# SPDX-License-Identifier: Apache-2.0
"""Faults planted into fxsim's own source, one at a time: the tests must turn red for each.

A mutant of the emitted Verilog shows that the regression notices what is wrong with a design. A fault in the source can
be in what the design is held against: the specification, the tables, the order of the gates. Then simulator and
Verilog agree with each other, and only what they are both held against can tell.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbenches.errors import CheckError

__all__ = ["COLUMNS", "PLANTS", "Plant", "campaign"]

COLUMNS = ("fault", "where", "noticed by", "seconds")
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Plant:
    """A fault: ``old``, which stands once in the file ``path``, becomes ``new``.

    ``tests``: files of tests that are to notice it, all of them part of the test command.
    """

    fault: str
    path: str
    old: str
    new: str
    tests: str

    def apply(self, root: Path) -> None:
        """Plant it into a checkout; raises CheckError where ``old`` does not stand once."""
        path = root / self.path
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise CheckError(f"{self.path}: {self.old!r} stands there {text.count(self.old)} times, not once")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


def _plants(short: str, fault: str, *rows: tuple[str, str, str, str]) -> dict[str, Plant]:
    return {f"{short}-{Path(row[0]).stem}-{k}": Plant(fault, *row) for k, row in enumerate(rows, 1)}


PLANTS: dict[str, Plant] = {
    **_plants(
        "weight", "flipped weight bit",
        ("rtl/gateware/matvec.py", "found.append(int(column[order[j]]) if j",
         "found.append(int(column[order[j]]) ^ (not p and not i and not d) if j", "test_rtl_layers"),
        ("fxsim/importers/gates.py", "ordered.setflags(write=False)",
         "ordered.reshape(-1)[0] *= -1; ordered.setflags(write=False)", "test_importers test_gates"),
        ("fxsim/simulator/dot.py", "weights, bias = dot_arithmetic.packed(product, cut)\n",
         "weights, bias = dot_arithmetic.packed(product, cut); weights = weights.copy(); weights.flat[0] ^= 1\n",
         "test_kernels"),
    ),
    **_plants(
        "round", "TRN for RND",
        ("fxsim/program/fixed.py", "Round.RND: rest >= half,", "Round.RND: False,", "test_fixed"),
        ("fxsim/program/fixed.py", "Round.RND: lambda: rest >= half,", "Round.RND: lambda: False,", "test_fixed"),
        ("fxsim/program/fixed.py", "Round.RND: lambda: rest >= 0.5,", "Round.RND: lambda: np.False_,", "test_fixed"),
        ("fxsim/simulator/llvm.py", "self.plus(a, 1 << (shift - 1)), shift)", "a, shift)", "test_kernels"),
        ("rtl/gateware/fixed.py", "Round.RND: guard,", "Round.RND: Const(0, 1),", "test_rtl_fixed"),
    ),
    **_plants(
        "overflow", "WRAP for SAT",
        ("fxsim/program/fixed.py", "if to.overflow is Overflow.WRAP:\n        value &=",
         "if to.overflow in (Overflow.WRAP, Overflow.SAT):\n        value &=", "test_fixed"),
        ("fxsim/program/fixed.py", "if to.overflow is Overflow.WRAP:\n        if to.width < 64:",
         "if to.overflow in (Overflow.WRAP, Overflow.SAT):\n        if to.width < 64:", "test_fixed"),
        ("fxsim/simulator/elementwise.py", "if to.overflow is Overflow.WRAP:",
         "if to.overflow in (Overflow.WRAP, Overflow.SAT):",
         "test_kernels"),
        ("rtl/gateware/fixed.py", "if to.overflow is Overflow.WRAP:",
         "if to.overflow in (Overflow.WRAP, Overflow.SAT):",
         "test_rtl_fixed"),
    ),
    **_plants(
        "beat", "beat dropped under backpressure",
        ("rtl/gateware/stream.py", "below = filled == k + pop if", "below = filled == k if", "test_rtl_layers"),
        ("rtl/gateware/layer.py", "i.ready.eq((wait == 0) & (room != 0))", "i.ready.eq(wait == 0)", "test_rtl_layers"),
        ("rtl/gateware/axi.py", "network.o.ready.eq(self.m_axis_tready | network.o.payload.abort)",
         "network.o.ready.eq(1)", "test_battery"),
    ),
    **_plants(
        "latency", "latency off by one",
        ("rtl/plan/schedule.py", "return self.result + self.tail + 1", "return self.result + self.tail + 2",
         "test_rtl_layers"),
        ("rtl/plan/folding.py", "latency += layer is layers[-1]", "latency += layer is layers[0]", "test_rtl_layers"),
        ("rtl/plan/timing.py", "results[0] - entered[source.beats - 1],", "results[0] - entered[source.beats - 1] + 1,",
         "test_rtl_layers"),
    ),
    **_plants(
        "gate", "gates swapped",
        ("fxsim/importers/gates.py", 'GATES = {"lstm": "ifgo"', 'GATES = {"lstm": "ifog"', "test_importers test_gates"),
        ("fxsim/importers/gates.py", '"gru": "rzh"', '"gru": "zrh"', "test_pytorch test_gates"),
        ("fxsim/program/cells.py", 'parts = _gates(b, "ifgo"', 'parts = _gates(b, "figo"', "test_exact test_api"),
        ("fxsim/program/cells.py", 'loops = _gates(b, "zrh"', 'loops = _gates(b, "rzh"', "test_exact test_api"),
    ),
    **_plants(
        "state", "state not cleared after TLAST",
        ("rtl/gateware/states.py", "[Mux(ends, Const(init, register.shape()), value) for", "[value for",
         "test_rtl_layers"),
        ("rtl/gateware/states.py", "self.m.d.sync += begins.eq(phase.ends(time))", "self.m.d.sync += begins.eq(0)",
         "test_rtl_layers test_beats"),
        ("rtl/gateware/states.py", "register.eq(Mux(phase.ends(time), Const(v, register.shape()), value))",
         "register.eq(value)", "test_rtl_layers"),
        ("rtl/gateware/state_memory.py", "begins.bit_select(writing, 1).eq(self.ends)",
         "begins.bit_select(writing, 1).eq(0)",
         "test_interleave"),
    ),
    **_plants(
        "table", "table off by one",
        ("fxsim/program/integers.py", "return min(max(index, self.first), self.last) - self.first",
         "return min(max(index + 1, self.first), self.last) - self.first", "test_kernels"),
        ("fxsim/simulator/elementwise.py", "code.plus(code.clamp(index, first, last), -first)",
         "code.plus(code.clamp(code.plus(index, 1), first, last), -first)", "test_kernels"),
        ("fxsim/quantization/hls4ml_tables.py",
         "return Table(name, frac, Round.TRN_ZERO, first, _const(values, type), size >> twos)",
         "return Table(name, frac, Round.TRN_ZERO, first + 1, _const(values, type), size >> twos)", "test_tables"),
        ("rtl/gateware/lookup.py", "table.last - table.first, whole - table.first))",
         "table.last - table.first, whole - table.first + 1))", "test_rtl_layers"),
    ),
}  # fmt: skip


def campaign(name: str, work: Path) -> dict[str, Any]:
    """Plant one fault into a copy of the checkout and run its tests there.

    The row says which test noticed it, "none" if none did. Raises CheckError where the tests cannot run.
    """
    plant, began = PLANTS[name], time.perf_counter()
    copy = work / "checkout"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    plant.apply(copy)
    noticed = _first_failure(copy, plant.tests.split())
    return {
        "fault": plant.fault,
        "where": plant.path,
        "noticed by": noticed or "none",
        "seconds": round(time.perf_counter() - began),
    }


def _first_failure(checkout: Path, files: Sequence[str]) -> str | None:
    """The first test that fails in a checkout; None if all pass."""
    # Kernels kept from an unharmed checkout would hide a fault in those who write them.
    env = {**os.environ, "FXSIM_CACHE_DIR": str(checkout / "cache"), "PYTHONPATH": str(checkout)}
    paths = [str(path.relative_to(ROOT)) for name in files for path in (ROOT / "tests").glob(f"*/{name}.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=no", "-p", "no:cacheprovider", *paths]
    done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) tests/\w+/(\S+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    if done.returncode != 1 or failed is None:
        raise CheckError(f"{' '.join(command)} gave {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
    return failed[1]
