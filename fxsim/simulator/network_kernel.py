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
from ..program.graph import Layer, Shape
from ..system.forks import cached_property
from .guards import CheckedCode, Checks, Guarded, Padding
from .jit import Compiled, Host
from .llvm import fits, word
from .memory import WORDS, Frame, Kept, Wanted, aligned
from .program_kernel import Flow, Pass
from .widths import TooWide

Placed = tuple[Layer, Shape, Fixed]


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
class Kernel:
    """A compiled run of layers over blocks of ``width`` sequences.

    A block of inputs is (steps * elements, width) of the integers that :func:`dtype` names for the format of the first
    layer's input, one of outputs (``output_rows``, width) in words of ``output_bits``. ``states``, ``counts`` and
    ``trace`` are what it keeps, by ``layer.op``.
    """

    compiled: Compiled
    width: int
    input_bits: int
    input_rows: int
    output_bits: int
    output_rows: int
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

    def run(self, x: NDArray[np.generic], states: Mapping[str, NDArray[np.generic]] | None = None) -> Result:
        """Run blocks ``x`` (blocks, rows, width). ``states`` (blocks, 1, elements, width) are rewritten."""
        blocks = x.shape[0]
        self._must_be(x, blocks, self.input_rows, self.input_bits)
        for name, state in (states or {}).items():
            self._must_be(state[:, 0], blocks, self.states[name].rows, self.states[name].bits)
        out = np.empty((blocks, self.output_rows, self.width), WORDS[self.output_bits])
        counts = {name: kept.zeros(blocks, self.width) for name, kept in self.counts.items()}
        trace = {name: kept.empty(blocks, self.width) for name, kept in self.trace.items()}
        kept = {"state": states or {}, "overflows": counts, "trace": trace}
        if self.checks is not None:
            self._checked(self.checks, x, out, kept)
            return Result(out, states or {}, counts, trace)
        places = np.array([array.ctypes.data for group in kept.values() for array in group.values()], np.int64)
        memory = self.memory.address
        at = places.ctypes.data if len(places) else memory  # which is not read then
        self.compiled.call(x.ctypes.data, out.ctypes.data, self.home, memory, at, blocks)
        return Result(out, states or {}, counts, trace)

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
        x: NDArray[np.generic],
        out: NDArray[np.generic],
        kept: Mapping[str, Mapping[str, NDArray[np.generic]]],
    ) -> None:
        """Run between guards; raises ``KernelError`` for what is touched beyond a tensor."""
        memory, data = Padding(self.memory.size, checks.tensors), Guarded("constants", self.data)
        source, result = Guarded("input", x), Guarded("output", out, poisoned=True)
        groups = [(name, array, of) for of, group in kept.items() for name, array in group.items()]
        copies = [Guarded(f"{name} ({of})", array, poisoned=of == "trace") for name, array, of in groups]
        places = Guarded("addresses", np.array([copy.address for copy in copies], np.int64))
        fault = np.zeros(2, np.int64)
        arguments = (source, result, data)
        self.compiled.call(
            *(one.address for one in arguments), memory.address, places.address, fault.ctypes.data, len(x)
        )
        if fault[0]:
            raise KernelError(checks.accesses[int(fault[0]) - 1].outside(int(fault[1])))
        memory.check()
        for one in (*arguments, places, *copies):
            one.check(constant=one in (source, data, places))
        out[...] = result.array
        for copy, (_, array, _) in zip(copies, groups, strict=True):
            array[...] = copy.array


@dataclass(frozen=True)
class Result:
    """What a kernel left: ``out`` (blocks, rows, width), the others (blocks, steps, elements, width)."""

    out: NDArray[np.generic]
    states: Mapping[str, NDArray[np.generic]]
    counts: Mapping[str, NDArray[np.generic]]
    trace: Mapping[str, NDArray[np.generic]]


def build(layers: Sequence[Placed], wanted: Wanted, width: int, machine: Host) -> Kernel:
    """The kernel of some layers in a row, each with the shape and format of its input; one at least has a program.

    ``width`` is a multiple of the machine's lanes. Raises :class:`~fxsim.simulator.widths.TooWide` where 64 bits do
    not hold a result.
    """
    frame = Frame(wanted, width, machine)
    code, memory = frame.code, frame.memory
    flows = [(layer, _flow(layer, shape, type)) for layer, shape, type in layers if layer.program is not None]
    # All that is kept must be known before the first address into it is written.
    passes = [[Pass(frame, flow, *part) for part in layer.programs.items()] for layer, flow in flows]
    sizes = [flow.output_rows * frame.row(flow.output_bits) for _, flow in flows]
    between = [frame.take(size, f"result of {layer.name}") for size, (layer, _) in zip(sizes[:-1], flows, strict=False)]
    first, last = flows[0][1], flows[-1][1]
    input_size = first.steps * first.elements * frame.row(first.input_bits)
    with code.loop_while("%blocks") as block:
        frame.block = block
        source = code.address("%x", 0, (block, input_size))
        source = code.tensor(source, input_size, "input")
        places = [code.address(*place) for place in between]
        places.append(code.tensor(code.address("%out", 0, (block, sizes[-1])), sizes[-1], "output"))
        for directions, to in zip(passes, places, strict=True):
            before = 0  # results of directions stand behind one another in each step's row
            for direction, backward in zip(directions, (False, True), strict=False):
                direction.emit(source, to, before, backward=backward)
                before += direction.program.elements
            source = to
    checks = Checks(tuple(code.accesses), tuple(memory.tensors)) if isinstance(code, CheckedCode) else None
    return Kernel(
        Compiled(code.text(), pointers=6 if checks else 5, integers=1),
        width,
        first.input_bits,
        first.steps * first.elements,
        last.output_bits,
        last.output_rows,
        frame.data.array(),
        Scratch(memory.peak),
        frame.states,
        frame.counts,
        frame.trace,
        checks,
    )


def _flow(layer: Layer, shape: Shape, type: Fixed) -> Flow:
    """What a layer passes over. Flatten, which changes no order, is not a layer here."""
    result, to = layer.result(shape, type)
    bits = []
    for format in (type, to):
        if not fits(format.min, format.max, 64):
            raise TooWide(f"{format} does not fit 64-bit integers")
        bits.append(word(format.min, format.max))
    steps, elements = shape if len(shape) == 2 else (1, shape[0])
    output_steps, output_elements = result if len(result) == 2 else (1, result[0])
    return Flow(steps, elements, bits[0], output_steps, output_elements, bits[1], output_steps * output_elements)
