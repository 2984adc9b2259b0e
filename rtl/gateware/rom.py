# SPDX-License-Identifier: Apache-2.0
"""Memories that are only read: weights and tables."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.lib.memory import Memory

from ..cost.parts import in_blocks
from ..plan.folds import BLOCK_BITS


def rom(words: Sequence[int], width: int, least: int = BLOCK_BITS) -> Memory:
    """A memory of the low ``width`` bits of these words; it is large from ``least`` bits on."""
    mask = (1 << width) - 1
    attributes = rom_style(len(words), width, least)
    return Memory(shape=width, depth=len(words), init=[word & mask for word in words], attrs=attributes)


def rom_style(depth: int, width: int, least: int = BLOCK_BITS) -> dict[str, str]:
    """Large read-only memories are asked to be block RAM; small ones are left to synthesis, which uses LUTs."""
    return {"rom_style": "block"} if in_blocks(depth, width, least) else {}
