# SPDX-License-Identifier: Apache-2.0
"""A network over a part of a batch: by one kernel, or node by node where 64 bits do not hold every result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import FxsimError
from ..program import reference
from ..program.fixed import IntArray, Overflow
from ..program.graph import Graph, Node, Tensor
from ..program.program import Program
from ..system.forks import cached_property, hold_over_forks
from . import batches, network_kernel, overflows
from .jit import Host, host
from .memory import WORDS, Wanted, wants_count
from .network_kernel import Kernel
from .widths import TooWide

T = TypeVar("T")
#: Kernels kept for graphs that may come again.
_KEPT = 32


class Results:
    """Arrays of the whole batch, of which every chunk writes its part."""

    def __init__(self, batch: int, rows: Sequence[int]) -> None:
        self.batch = batch
        self.raw = [np.empty((batch, count), np.int64) for count in rows]
        self.state: dict[str, IntArray] = {}
        self.counts: dict[str, IntArray] = {}
        self.trace: dict[str, IntArray] = {}
        self.lock = threading.Lock()

    def array(self, of: dict[str, IntArray], name: str, *shape: int) -> IntArray:
        """The array of a name, made when first asked for."""
        with self.lock:
            if name not in of:
                of[name] = np.empty((self.batch, *shape), np.int64)
            return of[name]


@dataclass(frozen=True)
class Part:
    """A chunk of the batch: the sequences from ``start`` to ``stop``."""

    results: Results
    start: int
    stop: int
    given: Mapping[str, IntArray]  # states before the first step

    @property
    def sequences(self) -> int:
        return self.stop - self.start

    def place(self, of: dict[str, IntArray], name: str, *shape: int) -> IntArray:
        """The chunk's part of a result."""
        return self.results.array(of, name, *shape)[self.start : self.stop]


def inputs(tensor: Tensor, flat: NDArray[Any], raw: bool, width: int, left: IntArray) -> tuple[NDArray[Any], int]:
    """Sequences (sequences, rows) as blocks (blocks, rows, width) of raw integers.

    ``left`` (sequences) becomes how many values left the input's format in their cast; the second result is their sum.
    """
    sequences, rows = flat.shape
    out = np.zeros((-(-sequences // width), rows, width), network_kernel.dtype(tensor.type))
    if raw:
        batches.spread(flat, out)
        return out, 0
    return out, batches.quantize(np.ascontiguousarray(flat, np.float64), tensor.type, out, left)


@dataclass(frozen=True)
class Stretch:
    """A network that one kernel computes, or one node that only the reference can."""

    graph: Graph
    kernel: Kernel | None

    @cached_property
    def initial(self) -> dict[str, IntArray]:
        """States before the first step, other than zero."""
        programs = self.graph.programs.items()
        return {f"{prefix}.{op.name}": op.init.data for prefix, program in programs for op in program.states if op.init}

    def run(self, flows: Mapping[str, NDArray[Any]], wanted: Wanted, part: Part) -> dict[str, NDArray[Any]]:
        """The outputs for blocks (blocks, rows, width) of the inputs, by their names."""
        given = [flows[tensor.name] for tensor in self.graph.inputs]
        if self.kernel is not None:
            found = self._compiled(self.kernel, given, part)
        else:
            found = [_reference(self.graph, self.graph.nodes[0], given, wanted, part)]
        return dict(zip(self.graph.outputs, found, strict=True))

    def _compiled(self, kernel: Kernel, flows: Sequence[NDArray[Any]], part: Part) -> Sequence[NDArray[Any]]:
        states = {name: kept.zeros(flows[0].shape[0], kernel.width) for name, kept in kernel.states.items()}
        for name, value in states.items():
            if name in part.given:
                batches.spread(part.given[name], value[:, 0])
            elif name in self.initial:
                value[:] = self.initial[name][:, None]
        result = kernel.run(flows, states)
        whole = part.results
        for of, found in ((whole.state, result.states), (whole.counts, result.counts)):
            for name, value in found.items():
                batches.gather(value[:, 0], part.place(of, name, value.shape[2]))
        for name, value in result.trace.items():
            steps, rows = value.shape[1:3]
            flat = value.reshape(value.shape[0], steps * rows, kernel.width)
            batches.gather(flat, part.place(whole.trace, name, steps, rows).reshape(-1, steps * rows))
        return result.outs


class _Recent:
    """What was made for graphs last, found by their identity: to hash their weights would take longer than a run."""

    def __init__(self) -> None:
        self._found: dict[object, tuple[Graph, Any]] = {}
        self._lock = threading.RLock()  # what is made may need more that is made
        hold_over_forks(self._lock)

    def find(self, graph: Graph, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` made for ``graph`` and ``key``, now or before."""
        full = (id(graph), key)
        found = self._found.get(full)
        if found is None or found[0] is not graph:
            with self._lock:
                found = self._found.get(full)
                if found is None or found[0] is not graph:
                    found = self._found[full] = (graph, make())
                while len(self._found) > _KEPT:
                    del self._found[next(iter(self._found))]
        made: T = found[1]
        return made


_RECENT = _Recent()


def stretches(graph: Graph, wanted: Wanted, width: int, machine: Host) -> list[Stretch]:
    """The network in parts that follow one another, compiled for blocks of ``width``; kept for the next time."""
    return _RECENT.find(graph, (wanted, width, machine), lambda: _compile(graph, wanted, width, machine))


class Few(threading.local):
    """Outputs of up to :attr:`MOST` sequences and nothing else, in microseconds.

    What a batch needs for chunks, threads, states and traces takes longer than a small network.
    """

    MOST = 8

    def __init__(self, graph: Graph, kernel: Kernel, quantize: batches.Quantizer) -> None:
        self.graph, self.kernel, self._quantize = graph, kernel, quantize
        (self._input,), (self._output,) = graph.inputs, graph.results
        self._x = np.zeros((self.MOST, self._input.size, 1), network_kernel.dtype(graph.input))
        self._limits, self._blind = _limits(graph)
        self._left = np.zeros(self.MOST, np.int64)
        self._out = np.zeros((self.MOST, self._output.size), WORDS[kernel.outputs[0].bits])
        at = (self._x.ctypes.data, self._out.ctypes.data, kernel.home, kernel.memory.address, kernel.memory.address)
        self._call = partial(kernel.compiled.call, *at)
        self._scale = 2.0**-graph.output.frac

    def predict(self, x: NDArray[Any], watched: bool) -> NDArray[np.float64] | None:
        """Outputs of values ``x`` (sequences, *shape).

        None where the cast of a value is not plain arithmetic; and if overflows are ``watched``, where a value leaves
        the input's format or a result may leave the output's.
        """
        if watched and self._blind:
            return None
        count = len(x)
        values = np.ascontiguousarray(x.reshape(count, self._input.size), np.float64)
        left = self._quantize(values, self._x, self._left)
        if left < 0 or (left and watched):
            return None
        self._call(count)
        if watched and self._limits and batches.touches(self._out[:count], *self._limits):
            return None
        return np.multiply(self._out[:count], self._scale, dtype=np.float64).reshape(count, *self._output.shape)


def door(graph: Graph) -> frozenset[str]:
    """Ops whose casts make the outputs (:func:`fxsim.simulator.overflows.door`), found once for a graph."""
    return _RECENT.find(graph, door, lambda: overflows.door(graph))


def _limits(graph: Graph) -> tuple[tuple[int, int] | None, bool]:
    """Raw outputs at which a result may have saturated; and whether one may have left its format without a trace."""
    watched, to = door(graph), graph.output
    last = graph.by_name[graph.outputs[0]]
    ends = {f"{last.name}.{last.program.output}"} if last.program else set()
    if watched <= ends and to.overflow in (Overflow.SAT, Overflow.SAT_SYM):
        return ((to.min, to.max) if watched else None), False
    return None, bool(watched)


def few(graph: Graph) -> Few | None:
    """What predicts a few sequences; None where it takes more than one kernel, or numbers that are not plain.

    None also for several inputs or outputs.
    """
    return _RECENT.find(graph, Few, lambda: _few(graph))


def _few(graph: Graph) -> Few | None:
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        return None
    found, quantize = stretches(graph, Wanted(), 1, host()), batches.quantizer(graph.input)
    kernel = found[0].kernel if len(found) == 1 else None
    plain = graph.output.width <= 53 and abs(graph.output.frac) < 900
    return Few(graph, kernel, quantize) if kernel and quantize and plain else None


def _compile(graph: Graph, wanted: Wanted, width: int, machine: Host) -> list[Stretch]:
    try:
        return [Stretch(graph, network_kernel.build(graph, wanted, width, machine))]
    except TooWide:
        parts = [graph.alone(node) for node in graph.nodes]
        return [Stretch(part, _kernel_or_none(part, wanted, width, machine)) for part in parts]


def _kernel_or_none(graph: Graph, wanted: Wanted, width: int, machine: Host) -> Kernel | None:
    try:
        return network_kernel.build(graph, wanted, width, machine)
    except TooWide:
        return None


def _reference(graph: Graph, node: Node, flows: Sequence[NDArray[Any]], wanted: Wanted, part: Part) -> NDArray[Any]:
    """A node by Python integers, for results wider than a machine word. Slow, and equally exact."""
    blocks, _, width = flows[0].shape
    found = dict(zip((tensor.name for tensor in graph.inputs), flows, strict=True))
    xs = []
    for tensor in (graph.tensors[name] for name in node.sources):
        xs.append(np.empty((part.sequences, tensor.tokens, tensor.elements), np.int64))
        batches.gather(found[tensor.name], xs[-1].reshape(part.sequences, -1))
    if node.program is None:
        moved = [reference.move(node, [x[b].tolist() for x in xs]) for b in range(part.sequences)]
        result = np.array(moved, np.int64)
    else:
        inputs = dict(zip((op.name for op in node.program.inputs), xs, strict=True))
        result = _run_reference(node.program, node.name, inputs, node.return_sequences, wanted, part)
    out = np.zeros((blocks, result[0].size, width), network_kernel.dtype(graph.results[0].type))
    batches.spread(result.reshape(len(result), -1), out)
    return out


def _run_reference(
    program: Program, prefix: str, xs: Mapping[str, IntArray], all_steps: bool, wanted: Wanted, part: Part
) -> IntArray:
    """``xs`` (sequences, steps, elements) are the inputs by the names of their ops."""
    steps = next(iter(xs.values())).shape[1]
    names = [op.name for op in program.ops if f"{prefix}.{op.name}" in wanted.trace]
    rows: dict[str, list[list[list[int]]]] = {name: [] for name in names}
    after: dict[str, list[list[int]]] = {op.name: [] for op in program.states}
    counts: list[dict[str, int]] = []
    results = []
    for b in range(part.sequences):
        now = reference.initial_state(program)
        for op in program.states:
            if f"{prefix}.{op.name}" in part.given:
                now[op.name] = part.given[f"{prefix}.{op.name}"][b].tolist()
        count: dict[str, int] = {}
        sequence = [{name: x[b, t].tolist() for name, x in xs.items()} for t in range(steps)]
        trace, now = reference.scan(program, sequence, now, count if wanted.counts else None)
        counts.append(count)
        results.append([step[program.output] for step in (trace if all_steps else trace[-1:])])
        for name, value in now.items():
            after[name].append(value)
        for name in names:
            rows[name].append([values[name] for values in trace])
    whole = part.results
    try:
        for name in counts[0]:
            if wants_count(wanted, f"{prefix}.{name}"):
                part.place(whole.counts, f"{prefix}.{name}", 1)[:] = [[c[name]] for c in counts]
        for name, vectors in after.items() if wanted.states else ():
            part.place(whole.state, f"{prefix}.{name}", len(vectors[0]))[:] = vectors
        for name, steps_of in rows.items():
            place = whole.trace.setdefault(f"{prefix}.{name}", np.empty((whole.batch, *np.shape(steps_of[0])), object))
            place[part.start : part.stop] = steps_of
        return np.array(results, object).astype(np.int64)
    except OverflowError:
        raise FxsimError(f"layer {prefix!r}: a result is wider than 64 bits; give it a narrower precision") from None
