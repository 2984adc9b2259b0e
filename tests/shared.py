# SPDX-License-Identifier: Apache-2.0
"""Where the reference answers and trained networks are, if this machine has them."""

from pathlib import Path

import pytest


def find() -> Path | None:
    """The folder ``shared`` beside the checkout (or beside a folder above it), else None."""
    for folder in Path(__file__).resolve().parents:
        if (folder / "shared" / "golden").is_dir():
            return folder / "shared"
    return None


SHARED = find()
needs_shared = pytest.mark.skipif(SHARED is None, reason="the folder of reference answers is not on this machine")
