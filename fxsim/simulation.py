# SPDX-License-Identifier: Apache-2.0
"""A whole network over many sequences: blocks, threads, states in and out, traces, overflow counts."""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import blocks, kernels, reference
from .engine import Host, host
from .errors import FxsimError
from .fixed import Fixed, IntArray, cast_floats, to_float
from .frame import Wanted
from .graph import Graph, Layer, Shape
from .kernels import Kernel
from .program import Program
from .words import TooWide

#: Sequences that a thread takes at a time: enough to forget the cost of Python, few enough for the cache and for
#: progress to be seen.
CHUNK = 2048
#: A chunk that is traced keeps every op of every step; it is made smaller to stay under this many bytes.
TRACE_BYTES = 8 << 20
#: Results of ops, products of matrices included, below which a thread more costs more than it computes: half a
#: millisecond's.
LEAST_WORK = 20_000_000
#: Kernels kept for graphs that may come again.
_KEPT = 16

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Run:
    """What a simulation gives.

    ``raw``: raw integers of the output, (batch, *output shape). ``values``: the same as float64. ``state``: states
    after the last step by ``layer.state``, (batch, elements). ``overflows``: by ``layer.op``, how often a cast left
    its format (for a dot product: outputs of which some product, partial or final sum did), summed over the batch; ops
    that are proven never to do so are left out. ``overflow_counts``: the same by sequence, (batch,).
    ``trace``: by ``layer.op``, (batch, steps, elements), if asked for.
    """

    raw: IntArray
    values: NDArray[np.float64]
    state: dict[str, IntArray]
    overflows: dict[str, int]
    overflow_counts: dict[str, IntArray]
    trace: dict[str, IntArray]


def quantize_inputs(graph: Graph, x: ArrayLike, raw: bool = False) -> IntArray:
    """The batch as raw integers of the input's format, (batch, *shape).

    ``x`` are values, or with ``raw`` raw integers. Raises ``FxsimError`` for another shape, NaN, infinity, or raw
    integers outside the format.
    """
    array = _check_inputs(graph, x, raw)
    if raw:
        return array.astype(np.int64)
    try:
        return cast_floats(array, graph.input)
    except FxsimError as error:
        raise FxsimError(f"input {error}") from None


def _check_inputs(graph: Graph, x: ArrayLike, raw: bool) -> NDArray[Any]:
    """The batch as an array of the right shape; raw integers also of the right range."""
    array = np.asarray(x)
    shape = "(batch, " + ", ".join(map(str, graph.shape)) + ")"
    if array.dtype.kind not in "fiub":
        raise FxsimError(f"input must be numbers of shape {shape}, not {array.dtype}")
    if array.ndim != 1 + len(graph.shape) or array.shape[1:] != graph.shape:
        raise FxsimError(f"input must have shape {shape}, not {array.shape}")
    if raw:
        if array.dtype.kind not in "iu":
            raise FxsimError(f"raw input must be integers, not {array.dtype}")
        low, high = graph.input.min, graph.input.max
        if array.size and (int(array.min()) < low or int(array.max()) > high):
            raise FxsimError(f"raw input must be {low}..{high} ({graph.input}), not {array.min()}..{array.max()}")
    return array


def simulate(
    graph: Graph,
    x: ArrayLike,
    *,
    raw: bool = False,
    trace: bool | Iterable[str] = False,
    overflows: bool = True,
    state: Mapping[str, ArrayLike] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Run:
    """Run the network on a batch, bit for bit what its gateware computes.

    ``x`` is (batch, *graph.shape) values, or raw integers with ``raw``. ``trace`` keeps every op of every step, or
    those named ``layer.op``. ``state`` gives states before the first step by ``layer.state``, (batch, elements) raw
    integers; others start from their initial values. ``progress`` is called with sequences done and all. Raises
    ``FxsimError`` for inputs of another shape, not finite, or states that do not exist.
    """
    wanted = Wanted(overflows, True, bool(state), _traced(graph, trace))
    return _simulate(graph, x, raw, wanted, state or {}, threads, progress)


def predict(
    graph: Graph, x: ArrayLike, *, threads: int | None = None, progress: Progress | None = None
) -> NDArray[np.float64]:
    """Outputs as float64 on the output's grid, (batch, *output shape); ``x`` as for :func:`simulate`."""
    return _simulate(graph, x, False, Wanted(), {}, threads, progress).values


def _simulate(
    graph: Graph,
    x: ArrayLike,
    raw: bool,
    wanted: Wanted,
    state: Mapping[str, ArrayLike],
    threads: int | None,
    progress: Progress | None,
) -> Run:
    array = _check_inputs(graph, x, raw)
    batch = int(array.shape[0])
    given = _check_state(graph, state, batch)
    workers = _threads(threads)
    if batch * graph.work < LEAST_WORK:
        workers = 1
    share = max(1, -(-batch // workers))
    machine, width = _cut(share)
    most = _most(graph, wanted, width)
    rounds = -(-share // most)
    chunk = -(-share // (rounds * width)) * width
    stretches = _stretches(graph, wanted, width, machine)
    flat = array.reshape(batch, math.prod(graph.shape))

    results = _Results(batch, math.prod(graph.output_shape))

    def work(start: int) -> int:
        stop = min(start + chunk, batch)
        part = _Part(results, start, stop, {name: value[start:stop] for name, value in given.items()})
        try:
            flow = _inputs(graph, flat[start:stop], raw, width)
        except FxsimError:
            quantize_inputs(graph, array, raw)  # names the place in the whole batch
            raise
        for stretch in stretches:
            flow = stretch.run(flow, wanted, part)
        blocks.gather(flow, results.raw[start:stop])
        return stop

    starts = range(0, batch, chunk)
    if workers == 1 or len(starts) <= 1:
        _follow(map(work, starts), batch, progress)
        return results.run(graph)
    pool = ThreadPoolExecutor(workers)
    try:
        _follow(pool.map(work, starts), batch, progress)
    finally:
        # An interrupt must not wait for the chunks that have not begun.
        pool.shutdown(cancel_futures=True)
    return results.run(graph)


def _cut(sequences: int) -> tuple[Host, int]:
    """Lanes to use, and the width of blocks: narrow ones for a few sequences, for whom a wide one's lanes are empty."""
    machine = host()
    if sequences <= 4:
        return replace(machine, lanes=4), 4
    return machine, machine.lanes if sequences <= 2 * machine.lanes else 4 * machine.lanes


def _follow(ends: Iterable[int], batch: int, progress: Progress | None) -> None:
    for end in ends:
        if progress:
            progress(end, batch)


def _threads(threads: int | None) -> int:
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if type(threads) is not int or threads < 1:
        raise FxsimError(f"threads must be a positive integer, not {threads!r}")
    return threads


def _traced(graph: Graph, trace: bool | Iterable[str]) -> frozenset[str]:
    """Full names of the ops to trace; raises ``FxsimError`` for those that do not exist."""
    known = {
        f"{prefix}.{op.name}"
        for layer in graph.layers
        for prefix, program in layer.programs.items()
        for op in program.ops
    }
    if isinstance(trace, bool):
        return frozenset(known if trace else ())
    wanted = frozenset(trace)
    for name in sorted(wanted - known):
        raise FxsimError(f"trace must name layer.op, one of {', '.join(sorted(known))}, not {name!r}")
    return wanted


def _check_state(graph: Graph, state: Mapping[str, ArrayLike], batch: int) -> dict[str, IntArray]:
    if not state:
        return {}
    known = {
        f"{prefix}.{op.name}": op
        for layer in graph.layers
        for prefix, program in layer.programs.items()
        for op in program.states
    }
    given = {}
    for name, value in state.items():
        if name not in known:
            raise FxsimError(f"state must be one of {', '.join(known) or 'none'}, not {name!r}")
        op, array = known[name], np.asarray(value)
        if array.shape != (batch, op.elements) or array.dtype.kind not in "iu":
            raise FxsimError(
                f"state {name!r} must be integers of shape {(batch, op.elements)}, not {array.dtype} {array.shape}"
            )
        if array.size and (int(array.min()) < op.type.min or int(array.max()) > op.type.max):
            raise FxsimError(f"state {name!r} must fit {op.type}, not span {array.min()}..{array.max()}")
        given[name] = array.astype(np.int64)
    return given


def _most(graph: Graph, wanted: Wanted, width: int) -> int:
    """Sequences in the largest chunk."""
    if not wanted.trace:
        return CHUNK
    rows = 1
    for layer, shape, _, _, _ in graph.flow():
        steps = shape[0] if len(shape) == 2 else 1
        for prefix, program in layer.programs.items():
            rows += steps * sum(size for name, size in program.sizes.items() if f"{prefix}.{name}" in wanted.trace)
    return max(width, min(CHUNK, TRACE_BYTES // (8 * rows)))


class _Results:
    """Arrays of the whole batch, of which every chunk writes its part."""

    def __init__(self, batch: int, rows: int) -> None:
        self.batch = batch
        self.raw = np.empty((batch, rows), np.int64)
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

    def run(self, graph: Graph) -> Run:
        raw = self.raw.reshape(-1, *graph.output_shape)
        counts = {name: count[:, 0] for name, count in self.counts.items()}
        totals = {name: int(count.sum()) for name, count in counts.items()}
        return Run(raw, to_float(raw, graph.output), self.state, totals, counts, self.trace)


@dataclass(frozen=True)
class _Part:
    """A chunk of the batch: the sequences from ``start`` to ``stop``."""

    results: _Results
    start: int
    stop: int
    given: Mapping[str, IntArray]  # states before the first step

    @property
    def sequences(self) -> int:
        return self.stop - self.start

    def place(self, of: dict[str, IntArray], name: str, *shape: int) -> IntArray:
        """The chunk's part of a result."""
        return self.results.array(of, name, *shape)[self.start : self.stop]


# --- Layers


def _inputs(graph: Graph, flat: NDArray[Any], raw: bool, width: int) -> NDArray[Any]:
    """Sequences (sequences, rows) as blocks (blocks, rows, width) of raw integers."""
    sequences, rows = flat.shape
    out = np.zeros((-(-sequences // width), rows, width), kernels.dtype(graph.input))
    if raw:
        blocks.spread(flat, out)
    else:
        blocks.quantize(np.ascontiguousarray(flat, np.float64), graph.input, out)
    return out


@dataclass(frozen=True)
class _Stretch:
    """Layers that one kernel computes, or one that only the reference can."""

    layers: tuple[tuple[Layer, Shape, Fixed], ...]
    kernel: Kernel | None

    @cached_property
    def initial(self) -> dict[str, IntArray]:
        """States before the first step, other than zero."""
        programs = [part for layer, _, _ in self.layers for part in layer.programs.items()]
        return {f"{prefix}.{op.name}": op.init.data for prefix, program in programs for op in program.states if op.init}

    def run(self, flow: NDArray[Any], wanted: Wanted, part: _Part) -> NDArray[Any]:
        """The layers' results on blocks (blocks, rows, width), as such blocks."""
        if self.kernel is not None:
            return self._compiled(self.kernel, flow, part)
        layer, shape, type = self.layers[0]
        return _reference(layer, shape, type, flow, wanted, part)

    def _compiled(self, kernel: Kernel, flow: NDArray[Any], part: _Part) -> NDArray[Any]:
        states = {name: kept.array(flow.shape[0], kernel.width) for name, kept in kernel.states.items()}
        for name, value in states.items():
            if name in part.given:
                blocks.spread(part.given[name], value[:, 0])
            elif name in self.initial:
                value[:] = self.initial[name][:, None]
        result = kernel.run(flow, states)
        whole = part.results
        for of, found in ((whole.state, result.states), (whole.counts, result.counts)):
            for name, value in found.items():
                blocks.gather(value[:, 0], part.place(of, name, value.shape[2]))
        for name, value in result.trace.items():
            steps, rows = value.shape[1:3]
            flat = value.reshape(value.shape[0], steps * rows, kernel.width)
            blocks.gather(flat, part.place(whole.trace, name, steps, rows).reshape(-1, steps * rows))
        return result.out


_KERNELS: OrderedDict[tuple[int, Wanted, int, Host], tuple[Graph, list[_Stretch]]] = OrderedDict()
_LOCK = threading.Lock()


def _stretches(graph: Graph, wanted: Wanted, width: int, machine: Host) -> list[_Stretch]:
    """The graph's layers, compiled; kept for the next time."""
    # By identity: a graph hashes by its weights' bytes, which would cost more than a small run.
    key = (id(graph), wanted, width, machine)
    with _LOCK:
        found = _KERNELS.get(key)
        if found is None or found[0] is not graph:
            found = _KERNELS[key] = (graph, _compile(graph, wanted, width, machine))
        _KERNELS.move_to_end(key)
        while len(_KERNELS) > _KEPT:
            _KERNELS.popitem(last=False)
    return found[1]


def _compile(graph: Graph, wanted: Wanted, width: int, machine: Host) -> list[_Stretch]:
    layers = tuple((layer, shape, type) for layer, shape, type, _, _ in graph.flow())
    # Flatten changes nothing: steps and elements stand behind one another.
    real = tuple(one for one in layers if one[0].program is not None)
    if not real:
        return []
    try:
        return [_Stretch(real, kernels.build(layers, wanted, width, machine))]
    except TooWide:
        return [_Stretch((one,), _kernel_or_none(one, wanted, width, machine)) for one in real]


def _kernel_or_none(layer: tuple[Layer, Shape, Fixed], wanted: Wanted, width: int, machine: Host) -> Kernel | None:
    try:
        return kernels.build([layer], wanted, width, machine)
    except TooWide:
        return None


def _reference(
    layer: Layer, shape: Shape, type: Fixed, flow: NDArray[Any], wanted: Wanted, part: _Part
) -> NDArray[Any]:
    """A layer by Python integers, for results wider than a machine word. Slow, and equally exact."""
    steps, elements = (shape[0], shape[1]) if len(shape) == 2 else (1, shape[0])
    x = np.empty((part.sequences, steps, elements), np.int64)
    blocks.gather(flow, x.reshape(part.sequences, -1))
    kept = steps if layer.return_sequences else 1
    both = []
    for (prefix, program), backward in zip(layer.programs.items(), (False, True), strict=False):
        both.append(_run_reference(program, prefix, x, kept, backward, wanted, part))
    result = np.concatenate(both, axis=2)
    out = np.zeros((flow.shape[0], result[0].size, flow.shape[2]), kernels.dtype(layer.result(shape, type)[1]))
    blocks.spread(result.reshape(len(result), -1), out)
    return out


def _run_reference(
    program: Program, prefix: str, x: IntArray, kept: int, backward: bool, wanted: Wanted, part: _Part
) -> IntArray:
    steps = x.shape[1]
    names = [op.name for op in program.ops if f"{prefix}.{op.name}" in wanted.trace]
    rows: dict[str, list[list[list[int]]]] = {name: [] for name in names}
    after: dict[str, list[list[int]]] = {op.name: [] for op in program.states}
    counts: list[dict[str, int]] = []
    results = []
    for b, sequence in enumerate(x.tolist()):
        now = reference.initial_state(program)
        for op in program.states:
            if f"{prefix}.{op.name}" in part.given:
                now[op.name] = part.given[f"{prefix}.{op.name}"][b].tolist()
        count: dict[str, int] = {}
        trace, now = reference.scan(
            program, sequence[::-1] if backward else sequence, now, count if wanted.counts else None
        )
        counts.append(count)
        last = trace[-1][program.output]
        if backward:
            trace = trace[::-1]
        results.append([step[program.output] for step in trace] if kept == steps else [last])
        for name, value in now.items():
            after[name].append(value)
        for name in names:
            rows[name].append([values[name] for values in trace])
    whole = part.results
    try:
        for name in counts[0]:
            part.place(whole.counts, f"{prefix}.{name}", 1)[:] = [[c[name]] for c in counts]
        for name, vectors in after.items() if wanted.states else ():
            part.place(whole.state, f"{prefix}.{name}", len(vectors[0]))[:] = vectors
        for name, steps_of in rows.items():
            place = whole.trace.setdefault(f"{prefix}.{name}", np.empty((whole.batch, *np.shape(steps_of[0])), object))
            place[part.start : part.stop] = steps_of
        return np.array(results, object).astype(np.int64)
    except OverflowError:
        raise FxsimError(f"layer {prefix!r}: a result is wider than 64 bits; give it a narrower precision") from None
