# SPDX-License-Identifier: Apache-2.0
"""Who is told what a check is doing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .tools import Progress

__all__ = ["SILENT", "Phase", "Watch"]

Phase = Callable[[str], None]


@dataclass(frozen=True)
class Watch:
    """``phase`` is told the name of each phase as it begins, ``progress`` what is done of it and how much there is."""

    phase: Phase | None = None
    progress: Progress | None = None

    def begin(self, name: str) -> None:
        """A phase begins."""
        if self.phase is not None:
            self.phase(name)


#: Nobody is told.
SILENT = Watch()
