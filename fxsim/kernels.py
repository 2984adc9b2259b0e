# SPDX-License-Identifier: Apache-2.0
"""Fold 2: a network as one compiled function over blocks of sequences.

A block is a few vector registers wide, one sequence a lane, and stays in cache while all layers and steps pass over it.
Nothing but whole blocks crosses from Python to the function and back.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engine import Compiled, Host
from .fixed import Fixed
from .frame import WORDS, Frame, Kept, Wanted, aligned
from .graph import Layer, Shape
from .lanes import fits, word
from .passes import Flow, Pass
from .words import TooWide

Placed = tuple[Layer, Shape, Fixed]


def dtype(format: Fixed) -> type[np.signedinteger[Any]]:
    """The integers that hold a format between layers; those wider than 64 bits only pass through the reference."""
    return WORDS[word(format.min, format.max)]


class Scratch(threading.local):
    """Working memory of ``size`` bytes for each thread."""

    def __init__(self, size: int) -> None:
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
    output_bits: int
    output_rows: int
    data: NDArray[np.uint8]
    memory: Scratch
    states: Mapping[str, Kept]
    counts: Mapping[str, Kept]
    trace: Mapping[str, Kept]

    @cached_property
    def home(self) -> int:
        """Address of the constants."""
        return self.data.ctypes.data

    def run(self, x: NDArray[np.generic], states: Mapping[str, NDArray[np.generic]] | None = None) -> Result:
        """Run blocks ``x`` (blocks, rows, width). ``states`` (blocks, 1, elements, width) are rewritten."""
        blocks = x.shape[0]
        out = np.empty((blocks, self.output_rows, self.width), WORDS[self.output_bits])
        counts = {name: kept.zeros(blocks, self.width) for name, kept in self.counts.items()}
        trace = {name: kept.empty(blocks, self.width) for name, kept in self.trace.items()}
        kept = [*(states or {}).values(), *counts.values(), *trace.values()]
        places = np.array([array.ctypes.data for array in kept], np.int64)
        memory = self.memory.address
        at = places.ctypes.data if kept else memory  # which is not read then
        self.compiled.call(x.ctypes.data, out.ctypes.data, self.home, memory, at, blocks)
        return Result(out, states or {}, counts, trace)


@dataclass(frozen=True)
class Result:
    """What a kernel left: ``out`` (blocks, rows, width), the others (blocks, steps, elements, width)."""

    out: NDArray[np.generic]
    states: Mapping[str, NDArray[np.generic]]
    counts: Mapping[str, NDArray[np.generic]]
    trace: Mapping[str, NDArray[np.generic]]


def build(layers: Sequence[Placed], wanted: Wanted, width: int, machine: Host) -> Kernel:
    """The kernel of some layers in a row, each with the shape and format of its input; one at least has a program.

    ``width`` is a multiple of the machine's lanes. Raises :class:`~fxsim.words.TooWide` where 64 bits do not hold a
    result.
    """
    frame = Frame(wanted, width, machine)
    code, memory = frame.code, frame.memory
    flows = [(layer, _flow(layer, shape, type)) for layer, shape, type in layers if layer.program is not None]
    # All that is kept must be known before the first address into it is written.
    passes = [[Pass(frame, flow, *part) for part in layer.programs.items()] for layer, flow in flows]
    sizes = [flow.output_rows * frame.row(flow.output_bits) for _, flow in flows]
    between = [memory.take(size) for size in sizes[:-1]]
    first, last = flows[0][1], flows[-1][1]
    with code.loop_while("%blocks") as block:
        frame.block = block
        source = code.address("%x", 0, (block, first.steps * first.elements * frame.row(first.input_bits)))
        places = [code.address("%memory", offset) for offset in between]
        places.append(code.address("%out", 0, (block, sizes[-1])))
        for directions, to in zip(passes, places, strict=True):
            for direction, backward in zip(directions, (False, True), strict=False):
                direction.emit(source, to, backward=backward)
            source = to
    return Kernel(
        Compiled(code.text(), pointers=5, integers=1),
        width,
        last.output_bits,
        last.output_rows,
        frame.data.array(),
        Scratch(memory.peak),
        frame.states,
        frame.counts,
        frame.trace,
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
