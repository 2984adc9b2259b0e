# SPDX-License-Identifier: Apache-2.0
"""The checked mode of kernels: no access outside of its tensor, no tensor that runs over into another.

:class:`CheckedCode` writes a comparison in front of every access to memory; an access that leaves its tensor stops the
function, which says where. :class:`Guarded` and :class:`Padding` are memory with words between tensors that nobody may
change, whichever way a kernel gets there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import KernelError
from .llvm import Code, Vec

#: Bytes between tensors, as many as the longest row has, and what fills them and all memory before a run.
GAP = 512
POISON = 0xA5


@dataclass(frozen=True)
class Tensor:
    """A part of memory that belongs to one name: the pointer to it in the text, and its bytes."""

    name: str
    pointer: str
    size: int


@dataclass(frozen=True)
class Access:
    """An access to memory by the function: for which op it reads or writes how many bytes of a tensor."""

    op: str
    how: str
    size: int
    tensor: Tensor
    table: bool

    def outside(self, at: int) -> str:
        """What is wrong with it, when it is ``at`` bytes behind the tensor's beginning."""
        if self.table:
            entries = self.tensor.size // self.size
            return f"op {self.op!r} {self.how} entry {at // self.size} of {self.tensor.name!r}, which has {entries}"
        return (
            f"op {self.op!r} {self.how} bytes {at} to {at + self.size - 1} of {self.tensor.name!r}, "
            f"which has {self.tensor.size}"
        )


class CheckedCode(Code):
    """A function that compares each address with the tensor that it is meant for.

    It has one pointer more, ``fault``, to two 64-bit integers: the number of the access that stopped it, from 1 on,
    and how far from its tensor's beginning it was. Where an address comes from is known when the text is written:
    memory that is no tensor's cannot be accessed at all.
    """

    def __init__(self, name: str, pointers: Sequence[str], integers: Sequence[str], lanes: int) -> None:
        super().__init__(name, (*pointers, "fault"), integers, lanes)
        self.accesses: list[Access] = []
        self._tensors: dict[str, Tensor] = {}

    def part(self, base: str, offset: int, size: int, name: str) -> tuple[str, int]:
        pointer = self.new()
        self.variables.append(f"  {pointer} = getelementptr i8, ptr {base}, i64 {offset}")
        return self.tensor(pointer, size, name), 0

    def tensor(self, pointer: str, size: int, name: str) -> str:
        # Another name, for one pointer may be the beginning of two tensors.
        own = self.op(f"getelementptr i8, ptr {pointer}, i64 0") if pointer in self._tensors else pointer
        self._tensors[own] = Tensor(name, own, size)
        return own

    def address(self, base: str, offset: int = 0, *terms: tuple[str, int]) -> str:
        found = super().address(base, offset, *terms)
        if base in self._tensors:
            self._tensors[found] = self._tensors[base]
        return found

    def load(self, place: str, bits: int, lanes: int = 0) -> Vec:
        self._check(place, "reads", (lanes or self.lanes) * bits // 8)
        return super().load(place, bits, lanes)

    def store(self, value: Vec, place: str) -> None:
        self._check(place, "writes", value.lanes * value.bits // 8)
        super().store(value, place)

    def number(self, place: str) -> str:
        self._check(place, "reads", 8)
        return super().number(place)

    def entry(self, table: str, bits: int, index: str) -> str:
        self._check(self.address(table, 0, (index, bits // 8)), "reads", bits // 8, table=True)
        return super().entry(table, bits, index)

    def _check(self, place: str, how: str, size: int, *, table: bool = False) -> None:
        """End the function if ``size`` bytes at ``place`` are not all in its tensor."""
        if place not in self._tensors:
            raise KernelError(f"op {self.work!r} {how} memory that is no tensor's")
        tensor = self._tensors[place]
        self.accesses.append(Access(self.work, how, size, tensor, table))
        start, here = (self.op(f"ptrtoint ptr {pointer} to i64") for pointer in (tensor.pointer, place))
        at = self.op(f"sub i64 {here}, {start}")
        # What is before the beginning is a large number.
        inside = self.op(f"icmp ult i64 {at}, {max(0, tensor.size - size + 1)}")
        number = len(self.accesses)
        self.line(f"br i1 {inside}, label %inside{number}, label %outside{number}")
        self.lines.append(f"outside{number}:")
        second = self.op("getelementptr i8, ptr %fault, i64 8")
        self.line(f"store i64 {number}, ptr %fault, align 8")
        self.line(f"store i64 {at}, ptr {second}, align 8")
        self.line("ret void")
        self.label = f"inside{number}"
        self.lines.append(f"{self.label}:")


@dataclass(frozen=True)
class Checks:
    """What is known of a kernel that is checked: its accesses, and the tensors in its memory: offset, bytes, name."""

    accesses: tuple[Access, ...]
    tensors: tuple[tuple[int, int, str], ...]


class Guarded:
    """A copy of an array, between words that nobody may change."""

    def __init__(self, name: str, array: NDArray[Any], *, poisoned: bool = False) -> None:
        self.name = name
        self._bytes = poison(2 * GAP + array.nbytes)
        self.array: NDArray[Any] = self._bytes[GAP : GAP + array.nbytes].view(array.dtype).reshape(array.shape)
        if not poisoned:
            self.array[...] = array
        self._before = None if poisoned else array

    @property
    def address(self) -> int:
        """Where the array starts."""
        return int(self.array.ctypes.data)

    def check(self, *, constant: bool = False) -> None:
        """Raise ``KernelError`` if what stands around the array was changed, or a ``constant`` one was itself."""
        size = self.array.nbytes
        for side, words in (("before", self._bytes[:GAP]), ("behind", self._bytes[GAP + size :])):
            if (words != POISON).any():
                raise KernelError(f"memory {side} {self.name!r}, which has {size} bytes, was overwritten")
        if constant and not np.array_equal(self.array, np.asarray(self._before)):
            raise KernelError(f"{self.name!r} was overwritten, which is only to be read")


class Padding:
    """Working memory in which tensors stand apart; what is between them must not change."""

    def __init__(self, size: int, tensors: Iterable[tuple[int, int, str]]) -> None:
        self.bytes = poison(size)
        #: Where it starts.
        self.address = int(self.bytes.ctypes.data)
        self._tensors = sorted(tensors)
        self._between = np.ones(size, bool)
        for start, length, _ in self._tensors:
            self._between[start : start + length] = False

    def check(self) -> None:
        """Raise ``KernelError`` if a byte between tensors was changed."""
        changed = np.flatnonzero(self._between & (self.bytes != POISON))
        if not changed.size:
            return
        at = int(changed[0])
        start, length, name = max((one for one in self._tensors if one[0] <= at), default=(0, 0, "the first tensor"))
        raise KernelError(
            f"memory {at - start} bytes behind the start of {name!r}, which has {length}, was overwritten"
        )


def poison(size: int) -> NDArray[np.uint8]:
    """Bytes that start at a line of cache, all of them poison."""
    buffer = np.empty(size + 64, np.uint8)
    start = -buffer.ctypes.data % 64
    bytes = buffer[start : start + size]
    bytes[:] = POISON
    return bytes
