# SPDX-License-Identifier: Apache-2.0
"""``python tests/campaigns mutants|buffers|plants|gates|coverage|soak|hls4ml``: see docs/verification.md."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:1] = [str(HERE.parents[1]), str(HERE.parent), str(HERE.parents[1] / "benchmarks")]

if __name__ == "__main__":
    from campaigns.command import main

    sys.exit(main())
