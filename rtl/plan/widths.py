# SPDX-License-Identifier: Apache-2.0
"""How wide beats and vectors are, and how wide they may be. Pure Python."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from fxsim.errors import FxsimError
from fxsim.program.fixed import Fixed
from fxsim.program.graph import Graph

from .lower import HardLayer

#: Most bits of tdata, of a vector inside, and of a word of a memory. Amaranth numbers the bits of a signal from 0 to
#: 65 535; all inputs of the top module share one such count, which begins at 2, and a vector has two bits more inside.
WIDEST = 65_528


def stride(type: Fixed) -> int:
    """Bits that one element takes on a bus: its width rounded up to whole bytes."""
    return -(-type.width // 8) * 8


def beats(graph: Graph) -> list[int]:
    """Elements that an input beat may have: a part of a step, a step, or a sequence."""
    elements = graph.entry[-1]
    return sorted({*(size for size in range(1, elements + 1) if elements % size == 0), prod(graph.shape)})


def check_widths(graph: Graph, layers: Sequence[HardLayer], beat: int, ways: int) -> None:
    """Raise ``FxsimError`` where a beat or a vector would have more than ``WIDEST`` bits.

    ``beat``: elements of an input beat. ``ways``: sequences that take turns.
    """
    size = stride(graph.input)
    if beat * size > WIDEST:
        fitting = [some for some in beats(graph) if some * size <= WIDEST]
        raise FxsimError(
            f"an input beat of {beat} elements takes {beat * size} bits, and s_axis_tdata may have {WIDEST} at most; "
            f"choose narrower beats, of {_listed(fitting)} elements"
        )
    last, size = layers[-1], stride(graph.output)
    if last.elements * size > WIDEST:
        raise FxsimError(
            f"a result of {last.elements} elements takes {last.elements * size} bits, and m_axis_tdata may have "
            f"{WIDEST} at most; choose fewer elements or bits"
        )
    first = layers[0]
    _check(f"layer {first.name!r} takes a vector", prod(graph.shape) // first.steps * graph.input.width)
    for layer in layers:
        _check(f"layer {layer.name!r} gives a vector", layer.elements * layer.type.width)
        if layer.program is not None and layer.steps > 1 and ways > 1:
            for state in layer.program.states:
                _check(f"layer {layer.name!r} interleaves a state", state.elements * state.type.width)


def _check(what: str, bits: int) -> None:
    if bits > WIDEST:
        raise FxsimError(f"{what} of {bits} bits, which may have {WIDEST} at most; choose fewer elements or bits")


def _listed(numbers: Sequence[int]) -> str:
    """Numbers, or the ends of many."""
    return ", ".join(map(str, numbers)) if len(numbers) <= 8 else f"{numbers[0]}, {numbers[1]}, ..., {numbers[-1]}"
