# SPDX-License-Identifier: Apache-2.0
"""``python tests/fuzz``: see ``campaign``."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:1] = [str(HERE.parents[1]), str(HERE.parent), str(HERE.parent / "importers")]

if sys.argv[1:2] == ["--worker"]:
    from fuzz.worker import main as work

    work(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "real", sys.argv[6])
else:
    from fuzz.campaign import main

    sys.exit(main())
