# SPDX-License-Identifier: Apache-2.0
"""``python benchmarks/bench_widths.py``: how long the Verilog of wide beats takes to write.

Each row is a GRU of 4 units whose sequence comes in one beat of 16-bit elements. Seconds are of processor time.
"""

from __future__ import annotations

import resource
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(ROOT), str(ROOT / "tests")]

from networks import network  # noqa: E402

from rtl.export.verilog import to_verilog  # noqa: E402
from rtl.plan.folding import by_reuse, make_plan  # noqa: E402

FEATURES = 4


def seconds() -> float:
    """Processor time of this process and of those that it started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Print a row for each width."""
    print("bits of tdata    seconds    kB of Verilog")
    for steps in (128, 256, 512, 1023):
        graph = network("gru", seed=4, steps=steps, features=FEATURES, units=4, tail=(2,))
        plan = make_plan(graph, replace(by_reuse(graph, 4), beat=steps * FEATURES))
        start = seconds()
        text, _ = to_verilog(plan, "wide")
        print(f"{steps * FEATURES * 16:13} {seconds() - start:10.2f} {len(text) / 1000:16.0f}", flush=True)


if __name__ == "__main__":
    main()
