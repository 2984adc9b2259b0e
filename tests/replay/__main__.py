# SPDX-License-Identifier: Apache-2.0
"""``python tests/replay``: record the named designs again, and say which of them changed in what."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:1] = [str(HERE.parents[1]), str(HERE.parent)]


def main() -> None:
    """Write ``hashes.json``."""
    from replay.designs import DESIGNS, HASHES, fingerprint, recorded

    before = recorded() if HASHES.exists() else {}
    now = {name: fingerprint(design) for name, design in DESIGNS.items()}
    for name, found in now.items():
        old = before.get(name, {})
        changed = [kind for kind, value in found.items() if old.get(kind) != value]
        if changed:
            print(f"{name}: {', '.join(changed) if old else 'new'}")
    for name in before.keys() - now.keys():
        print(f"{name}: gone")
    HASHES.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
