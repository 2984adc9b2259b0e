# SPDX-License-Identifier: Apache-2.0
"""Fold 2: a network as one compiled function over blocks of sequences.

A block is a few vector registers wide, one sequence a lane, and stays in cache while all layers and steps pass over it.
Nothing but whole blocks crosses from Python to the function and back.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import KernelError
from ..program.fixed import Fixed
from ..program.graph import Graph, Tensor
from ..system.forks import cached_property
from .guards import CheckedCode, Checks, Guarded, Padding
from .jit import Compiled, Host
from .llvm import fits, word
from .memory import WORDS, Frame, Kept, Wanted, aligned
from .placing import Home, Placed, View, offsets, placed
from .program_kernel import Pass, Spot
from .widths import TooWide


def dtype(format: Fixed) -> type[np.signedinteger[Any]]:
    """The integers that hold a format between layers; those wider than 64 bits only pass through the reference."""
    return WORDS[word(format.min, format.max)]


class Scratch(threading.local):
    """Working memory of ``size`` bytes for each thread."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._array = aligned(size)
        #: Where it starts.
        self.address = self._array.ctypes.data


@dataclass(frozen=True)
class Port:
    """A tensor at a kernel's door: its name in messages, the words of its blocks, and their rows."""

    name: str
    bits: int
    rows: int


@dataclass(frozen=True)
class Kernel:
    """A compiled network, or a node of one, over blocks of ``width`` sequences.

    A block of each of the ``inputs`` is (steps * elements, width) of the integers that :func:`dtype` names for its
    format, and so is one of the ``outputs``. ``states``, ``counts`` and ``trace`` are what it keeps, by ``layer.op``.
    """

    compiled: Compiled
    width: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    data: NDArray[np.uint8]
    memory: Scratch
    states: Mapping[str, Kept]
    counts: Mapping[str, Kept]
    trace: Mapping[str, Kept]
    checks: Checks | None = None

    @cached_property
    def home(self) -> int:
        """Address of the constants."""
        return self.data.ctypes.data

    def run(self, xs: Sequence[NDArray[np.generic]], states: Mapping[str, NDArray[np.generic]] | None = None) -> Result:
        """Run blocks of each input, (blocks, rows, width). ``states`` (blocks, 1, elements, width) are rewritten."""
        blocks = xs[0].shape[0]
        for x, port in zip(xs, self.inputs, strict=True):
            self._must_be(x, blocks, port.rows, port.bits)
        for name, state in (states or {}).items():
            self._must_be(state[:, 0], blocks, self.states[name].rows, self.states[name].bits)
        outs = [np.empty((blocks, port.rows, self.width), WORDS[port.bits]) for port in self.outputs]
        counts = {name: kept.zeros(blocks, self.width) for name, kept in self.counts.items()}
        trace = {name: kept.empty(blocks, self.width) for name, kept in self.trace.items()}
        kept = {"state": states or {}, "overflows": counts, "trace": trace}
        if self.checks is not None:
            self._checked(self.checks, xs, outs, kept)
            return Result(outs, states or {}, counts, trace)
        places = np.array([array.ctypes.data for group in kept.values() for array in group.values()], np.int64)
        memory = self.memory.address
        at = places.ctypes.data if len(places) else memory  # which is not read then
        doors = (array.ctypes.data for array in (*xs, *outs))
        self.compiled.call(*doors, self.home, memory, at, blocks)
        return Result(outs, states or {}, counts, trace)

    def _must_be(self, array: NDArray[np.generic], blocks: int, rows: int, bits: int) -> None:
        """The last thing between arrays and a function that trusts their shapes."""
        if array.shape != (blocks, rows, self.width) or array.dtype != WORDS[bits] or not blocks:
            need = f"{(max(blocks, 1), rows, self.width)} of {bits} bits"
            raise KernelError(f"a kernel takes blocks of {need}, not {array.shape} of {array.dtype}")
        if not array.flags.c_contiguous:
            raise KernelError("a kernel takes blocks that stand behind one another")

    def _checked(
        self,
        checks: Checks,
        xs: Sequence[NDArray[np.generic]],
        outs: Sequence[NDArray[np.generic]],
        kept: Mapping[str, Mapping[str, NDArray[np.generic]]],
    ) -> None:
        """Run between guards; raises ``KernelError`` for what is touched beyond a tensor."""
        memory, data = Padding(self.memory.size, checks.tensors), Guarded("constants", self.data)
        sources = [Guarded(port.name, x) for port, x in zip(self.inputs, xs, strict=True)]
        results = [Guarded(port.name, out, poisoned=True) for port, out in zip(self.outputs, outs, strict=True)]
        groups = [(name, array, of) for of, group in kept.items() for name, array in group.items()]
        copies = [Guarded(f"{name} ({of})", array, poisoned=of == "trace") for name, array, of in groups]
        places = Guarded("addresses", np.array([copy.address for copy in copies], np.int64))
        fault = np.zeros(2, np.int64)
        arguments = (*sources, *results, data)
        self.compiled.call(
            *(one.address for one in arguments), memory.address, places.address, fault.ctypes.data, len(xs[0])
        )
        if fault[0]:
            raise KernelError(checks.accesses[int(fault[0]) - 1].outside(int(fault[1])))
        memory.check()
        for one in (*arguments, places, *copies):
            one.check(constant=one in (*sources, data, places))
        for out, result in zip(outs, results, strict=True):
            out[...] = result.array
        for copy, (_, array, _) in zip(copies, groups, strict=True):
            array[...] = copy.array


@dataclass(frozen=True)
class Result:
    """What a kernel left: of each output (blocks, rows, width), the others (blocks, steps, elements, width)."""

    outs: Sequence[NDArray[np.generic]]
    states: Mapping[str, NDArray[np.generic]]
    counts: Mapping[str, NDArray[np.generic]]
    trace: Mapping[str, NDArray[np.generic]]


def build(graph: Graph, wanted: Wanted, width: int, machine: Host) -> Kernel:
    """The kernel of a network.

    ``width`` is a multiple of the machine's lanes. Raises :class:`~fxsim.simulator.widths.TooWide` where 64 bits do
    not hold a result.
    """
    for tensor in graph.tensors.values():
        if not fits(tensor.type.min, tensor.type.max, 64):
            raise TooWide(f"{tensor.type} does not fit 64-bit integers")
    inputs, outputs = _ports(graph.inputs, "input"), _ports(graph.results, "output")
    pointers = [*_pointers("x", "given", inputs), *_pointers("out", "result", outputs)]
    frame = Frame(wanted, width, machine, pointers)
    code, memory = frame.code, frame.memory
    plan = placed(graph)
    # All that is kept must be known before the first address into it is written.
    passes = [Pass(frame, task.name, task.program, task.sources[0].tensor.tokens) for task in plan.tasks]
    between = _working_memory(frame, plan)
    with code.loop_while("%blocks") as block:
        frame.block = block
        homes: dict[Home, str] = {}
        for kind, ports in (("input", inputs), ("memory", ()), ("output", outputs)):
            for number, port in enumerate(ports):
                size = port.rows * frame.row(port.bits)
                pointer = pointers[number + (len(inputs) if kind == "output" else 0)]
                at = code.address(f"%{pointer}", 0, (block, size))
                homes[kind, number] = code.tensor(at, size, port.name)
            if kind == "memory":
                homes |= {home: code.address(*place) for home, place in between.items()}
        for one, task in zip(passes, plan.tasks, strict=True):
            spots = [_spot(frame, homes, view) for view in (*task.sources, task.to)]
            one.emit(spots[:-1], spots[-1], last=task.last)
    checks = Checks(tuple(code.accesses), tuple(memory.tensors)) if isinstance(code, CheckedCode) else None
    return Kernel(
        Compiled(code.text(), pointers=len(pointers) + (4 if checks else 3), integers=1),
        width,
        inputs,
        outputs,
        frame.data.array(),
        Scratch(memory.peak),
        frame.states,
        frame.counts,
        frame.trace,
        checks,
    )


def _bits(tensor: Tensor) -> int:
    return word(tensor.type.min, tensor.type.max)


def _ports(tensors: Sequence[Tensor], kind: str) -> tuple[Port, ...]:
    """The tensors at the door, by their names where there are several."""
    return tuple(Port(kind if len(tensors) == 1 else f"{kind} {one.name}", _bits(one), one.size) for one in tensors)


def _pointers(only: str, each: str, ports: Sequence[Port]) -> list[str]:
    return [only] if len(ports) == 1 else [f"{each}{number}" for number in range(len(ports))]


def _working_memory(frame: Frame, plan: Placed) -> dict[Home, tuple[str, int]]:
    """Where each block of working memory is addressed: from what, and how far."""
    sizes: dict[Home, int] = {}
    for number, tensor in enumerate(plan.memory):
        sizes["memory", number] = -(-tensor.size * frame.row(_bits(tensor)) // 64) * 64
    names = {("memory", number): f"result of {tensor.name}" for number, tensor in enumerate(plan.memory)}
    if frame.memory.gap:  # what is checked stands apart
        rows = {home: plan.memory[home[1]].size * frame.row(_bits(plan.memory[home[1]])) for home in sizes}
        return {home: frame.take(rows[home], names[home]) for home in sizes}
    starts = offsets(sizes, plan.lifetimes())
    if not sizes:
        return {}
    base, first = frame.take(max(starts[home] + size for home, size in sizes.items()), "results")
    return {home: (base, first + start) for home, start in starts.items()}


def _spot(frame: Frame, homes: Mapping[Home, str], view: View) -> Spot:
    bits = _bits(view.tensor)
    row = frame.row(bits)
    return Spot(homes[view.home], view.offset * row, view.row * row, bits, view.backward)
