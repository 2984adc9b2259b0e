# SPDX-License-Identifier: Apache-2.0
"""What the function of a network stands on: working memory, constants, and the arrays that it keeps for its caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import KernelError
from .guards import GAP, CheckedCode
from .jit import Host
from .llvm import Code

#: numpy's integers by their bits.
WORDS: dict[int, type[np.signedinteger[Any]]] = {16: np.int16, 32: np.int32, 64: np.int64}


@dataclass(frozen=True)
class Wanted:
    """What a kernel gives beside outputs: overflow counts, states after the last step, ops of every step by full name.

    ``counts``: of every op that can overflow, or of those named. ``given``: states before the first step may be all
    that their formats hold. ``checked``: every access to memory is compared with the tensor that it is meant for.
    """

    counts: bool | frozenset[str] = False
    states: bool = False
    given: bool = False
    trace: frozenset[str] = frozenset()
    checked: bool = False


def wants_count(wanted: Wanted, name: str) -> bool:
    """Whether the overflows of an op, by its full name, are counted."""
    return name in wanted.counts if isinstance(wanted.counts, frozenset) else wanted.counts


@dataclass(frozen=True)
class Rows:
    """Vectors in memory, one row an element: ``base + offset``, words of ``bits``.

    With ``split``, these are upper parts, and the sums of the lower ``split`` bits stand ``apart`` bytes behind them.
    """

    base: str
    offset: int
    bits: int
    split: int = 0
    apart: int = 0


@dataclass(frozen=True)
class Kept:
    """A named vector that a kernel keeps for its caller, as blocks of (steps, rows, width) words of ``bits``."""

    steps: int
    rows: int
    bits: int

    def shape(self, blocks: int, width: int) -> tuple[int, int, int, int]:
        """Of the array for some blocks."""
        return blocks, self.steps, self.rows, width

    def zeros(self, blocks: int, width: int) -> NDArray[np.generic]:
        """The array, for what is added to."""
        return np.zeros(self.shape(blocks, width), WORDS[self.bits])

    def empty(self, blocks: int, width: int) -> NDArray[np.generic]:
        """The array, for what is overwritten."""
        return np.empty(self.shape(blocks, width), WORDS[self.bits])


def aligned(size: int) -> NDArray[np.uint8]:
    """Bytes that start at a line of cache."""
    buffer = np.empty(size + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + size]


@dataclass
class Memory:
    """Working memory, handed out in lines of cache, ``gap`` bytes apart.

    ``tensors`` are the parts: offset, bytes, name. Without gaps, memory that is left is handed out again.
    """

    gap: int = 0
    size: int = 0
    peak: int = 0
    tensors: list[tuple[int, int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.size = self.peak = self.gap

    def take(self, size: int, name: str) -> int:
        """Offset of some bytes."""
        start = self.size
        self.tensors.append((start, size, name))
        self.size += -(-size // 64) * 64 + self.gap
        self.peak = max(self.peak, self.size)
        return start

    def leave(self, size: int) -> None:
        """Hand out again what was taken since memory had this size."""
        if not self.gap:
            self.size = size


@dataclass
class Data:
    """Constants: weights, biases, tables, ``gap`` bytes apart. Equal ones stand there once."""

    gap: int = 0
    places: dict[tuple[str, bytes], int] = field(default_factory=dict)
    size: int = 0

    def keep(self, values: NDArray[np.generic]) -> int:
        """Offset of the values' bytes."""
        key = (values.dtype.str, np.ascontiguousarray(values).tobytes())
        if key not in self.places:
            self.places[key] = self.size
            self.size += -(-len(key[1]) // 64) * 64 + self.gap
        return self.places[key]

    def array(self) -> NDArray[np.uint8]:
        """All bytes."""
        home = aligned(max(self.size, 64))
        for (_, values), start in self.places.items():
            home[start : start + len(values)] = np.frombuffer(values, np.uint8)
        return home


class Frame:
    """The function under construction, for blocks of ``width`` sequences, with all that it reads and writes.

    Its arguments are blocks of inputs and of outputs (``doors``), constants, working memory, a table of the addresses
    of what is kept, and the number of blocks; ``block`` is the index of the present one.
    """

    def __init__(self, wanted: Wanted, width: int, machine: Host, doors: Sequence[str] = ("x", "out")) -> None:
        if width == 1 and wanted.counts:
            raise KernelError("overflows are counted lane by lane, which blocks of one sequence do not have")
        if width != 1 and width % machine.lanes:
            raise KernelError(f"blocks must have 1 sequence or a multiple of {machine.lanes}, not {width}")
        self.wanted, self.width, self.machine = wanted, width, machine
        pointers, integers = (*doors, "data", "memory", "kept"), ("blocks",)
        self.code = (CheckedCode if wanted.checked else Code)("run", pointers, integers, machine.lanes)
        gap = GAP if wanted.checked else 0
        self.data = Data(gap)
        self.memory = Memory(gap)
        self.states: dict[str, Kept] = {}
        self.counts: dict[str, Kept] = {}
        self.trace: dict[str, Kept] = {}
        self.block = "0"

    @property
    def single(self) -> bool:
        """Whether a block is one sequence, whose elements are the lanes."""
        return self.width == 1

    @property
    def vectors(self) -> int:
        """Vectors of 32-bit words in a row."""
        return max(1, self.width // self.code.lanes)

    def row(self, bits: int) -> int:
        """Bytes of a row."""
        return self.width * bits // 8

    def rows(self, count: int, bits: int, name: str) -> Rows:
        """Fresh working memory."""
        return Rows(*self.take(count * self.row(bits), name), bits)

    def take(self, size: int, name: str) -> tuple[str, int]:
        """Fresh working memory in bytes: from where, and how far, it is addressed."""
        return self.code.part("%memory", self.memory.take(size, name), size, name)

    def constants(self, values: NDArray[np.generic], name: str) -> str:
        """Address of some constants."""
        return self.code.address(*self.code.part("%data", self.data.keep(values), values.nbytes, name))

    def kept(self, group: dict[str, Kept], name: str) -> str:
        """Address of the block's part of a kept vector; all must be known before the first is asked for."""
        order = [(id(of), one) for of in (self.states, self.counts, self.trace) for one in of]
        pointer = self.code.address("%kept", 8 * order.index((id(group), name)))
        array = self.code.op(f"load ptr, ptr {pointer}, align 8")
        kept = group[name]
        size = kept.steps * kept.rows * self.row(kept.bits)
        return self.code.tensor(self.code.address(array, 0, (self.block, size)), size, name)
