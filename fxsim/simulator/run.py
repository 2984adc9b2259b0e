# SPDX-License-Identifier: Apache-2.0
"""A whole network over many sequences: blocks, threads, states in and out, traces, overflow counts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import arguments
from ..arguments import integer
from ..errors import FxsimError, OverflowWarning, show
from ..program.fixed import IntArray, cast_floats, to_float
from ..program.graph import Graph, Tensor
from . import batches
from .dispatch import Few, Part, Results, door, few, inputs, stretches
from .jit import Host, host
from .llvm import fits
from .memory import Wanted
from .overflows import describe, input_keys

#: Sequences that a thread takes at a time: enough to forget the cost of Python, few enough for the cache and for
#: progress to be seen.
CHUNK = 2048
#: A chunk that is traced keeps every op of every step; it is made smaller to stay under this many bytes.
TRACE_BYTES = 8 << 20
#: Results of ops, products of matrices included, below which a thread more costs more than it computes: half a
#: millisecond's.
LEAST_WORK = 20_000_000

#: What a prediction wants beside outputs.
_NOTHING = Wanted()

Progress = Callable[[int, int], None]


@dataclass(frozen=True, repr=False)
class Run:
    """What a simulation gives.

    ``raw``: raw integers of the output, (batch, *output shape); of several outputs, by their names. ``values``: the
    same as float64. ``state``: states after the last step by ``layer.state``, (batch, elements). ``overflows``: by
    ``layer.op``, how often a cast left its format (for a dot product: outputs of which some product, partial or final
    sum did), summed over the batch; ops that are proven never to do so are left out. Values that left the input's
    format in their cast are those of ``input`` (of several inputs, of each one's name), which raw integers do not have.
    ``overflow_counts``: the same by sequence, (batch,). ``trace``: by ``layer.op``, (batch, steps, elements) in the
    order in which the layer takes the steps, if asked for.
    """

    raw: Any
    values: Any
    state: dict[str, IntArray]
    overflows: dict[str, int]
    overflow_counts: dict[str, IntArray]
    trace: dict[str, IntArray]

    def __repr__(self) -> str:
        each = self.raw if isinstance(self.raw, dict) else {"": self.raw}
        count = len(next(iter(each.values())))
        traced = f", {len(self.trace)} traced tensors" if self.trace else ""
        shapes = ", ".join(f"{name} {raw.shape}".strip() for name, raw in each.items())
        outputs = f"outputs {shapes}, {sum(self.overflows.values())} overflows{traced}"
        return f"Run of {count} sequence{'s' * (count != 1)}: {outputs}"


def quantize_inputs(graph: Graph, x: Any, raw: bool = False) -> Any:
    """The batch as raw integers of the input's format, (batch, *shape); of several inputs, by their names.

    ``x`` are values, or with ``raw`` raw integers. Raises ``FxsimError`` for another shape, NaN, infinity, or raw
    integers outside the format.
    """
    arrays = _check_inputs(graph, x, raw)
    found = {}
    for what, tensor, array in zip(_names(graph), graph.inputs, arrays.values(), strict=True):
        try:
            found[tensor.name] = array.astype(np.int64) if raw else cast_floats(array, tensor.type)
        except FxsimError as error:
            raise FxsimError(f"{what} {error}") from None
    return found if len(found) > 1 else found[graph.inputs[0].name]


def _names(graph: Graph) -> list[str]:
    """What messages call the inputs."""
    return ["input"] if len(graph.inputs) == 1 else [f"input {tensor.name!r}" for tensor in graph.inputs]


def _check_inputs(graph: Graph, x: Any, raw: bool) -> dict[str, NDArray[Any]]:
    """The batch of each input as an array of the right shape; raw integers also of the right range."""
    names, given = _names(graph), graph.by_input(x)
    found = {
        tensor.name: _check_input(what, tensor, one, raw)
        for what, tensor, one in zip(names, graph.inputs, given.values(), strict=True)
    }
    batch = len(found[graph.inputs[0].name])
    for what, array in zip(names, found.values(), strict=True):
        if len(array) != batch:
            raise FxsimError(f"{what} must have as many sequences as the others, {batch}, not {len(array)}")
    return found


def _check_input(what: str, tensor: Tensor, x: ArrayLike, raw: bool) -> NDArray[Any]:
    batches = f"(batch, {', '.join(map(str, tensor.shape))})"
    array = arguments.array(x, what, f"numbers of shape {batches}")
    if array.shape[1:] != tensor.shape or array.ndim != 1 + len(tensor.shape):
        raise FxsimError(f"{what} must have shape {batches}, not {array.shape}")
    if raw:
        if array.dtype.kind not in "iu":
            raise FxsimError(f"raw {what} must be integers, not {array.dtype}")
        low, high = tensor.type.min, tensor.type.max
        if not fits(low, high, 64):
            raise FxsimError(f"{what} {tensor.type} does not fit 64-bit integers")
        if array.size and (int(array.min()) < low or int(array.max()) > high):
            raise FxsimError(f"raw {what} must be {low}..{high} ({tensor.type}), not {array.min()}..{array.max()}")
    return array


def simulate(
    graph: Graph,
    x: Any,
    *,
    raw: bool = False,
    trace: bool | Iterable[str] = False,
    overflows: bool = True,
    state: Mapping[str, ArrayLike] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    checked: bool = False,
) -> Run:
    """Run the network on a batch, bit for bit what its gateware computes.

    ``x`` is (batch, *graph.shape) values, or raw integers with ``raw``; of several inputs, a dictionary by their names
    or a list in their order. ``trace`` keeps every op of every step, or
    those named ``layer.op``. ``state`` gives states before the first step by ``layer.state``, (batch, elements) raw
    integers; others start from their initial values. ``progress`` is called with sequences done and all. ``checked``
    compares every access to memory with the tensor that it is meant for, several times slower: ``KernelError`` says
    that fxsim itself is wrong. Raises ``FxsimError`` for inputs of another shape, not finite, or states that do not
    exist.
    """
    wanted = Wanted(overflows, True, bool(state), _traced(graph, trace), checked)
    run = _simulate(graph, x, raw, wanted, state or {}, threads, progress)
    return run if overflows else replace(run, overflows={}, overflow_counts={})


def predict(
    graph: Graph,
    x: Any,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    warn: bool = True,
    stacklevel: int = 2,
) -> Any:
    """Outputs as float64 on the output's grid, (batch, *output shape); ``x`` as for :func:`simulate`.

    Several outputs come by their names.

    Warns with one ``OverflowWarning`` unless ``warn`` is False where inputs or outputs leave their formats: values of
    ``x`` that its format does not hold, and casts of the last layer. :func:`simulate` counts those inside as well.
    ``stacklevel`` is that of :func:`warnings.warn`.
    """
    arrays = _check_inputs(graph, x, False)
    first = arrays[graph.inputs[0].name]
    if 0 < len(first) <= Few.MOST and progress is None:
        _threads(threads)
        quick = few(graph)
        values = quick.predict(first, warn) if quick else None
        if values is not None:
            return values
    watched = door(graph) if warn else frozenset()
    run = _simulate(graph, arrays, False, Wanted(counts=watched) if watched else _NOTHING, {}, threads, progress)
    if warn and any(run.overflows.values()):
        warnings.warn(describe(graph, arrays, run), OverflowWarning, stacklevel)
    return run.values


def _simulate(
    graph: Graph,
    x: Any,
    raw: bool,
    wanted: Wanted,
    state: Mapping[str, ArrayLike],
    threads: int | None,
    progress: Progress | None,
) -> Run:
    arrays = _check_inputs(graph, x, raw)
    batch = len(arrays[graph.inputs[0].name])
    given = _check_state(graph, state, batch) if state else {}
    workers = _threads(threads)
    if batch * graph.work < LEAST_WORK:
        workers = 1
    cuts = _cuts(graph, batch, wanted, workers)
    # Before the threads start: it is they that wait for a kernel.
    compiled = {cut.width: stretches(graph, wanted, cut.width, cut.machine) for cut in cuts}
    results = Results(batch, [tensor.size for tensor in graph.results])
    doors = {
        tensor.name: (tensor, array.reshape(batch, tensor.size), np.zeros(batch, np.int64))
        for tensor, array in zip(graph.inputs, arrays.values(), strict=True)
    }

    def work(cut: _Cut) -> int:
        start, stop = cut.start, cut.stop
        part = Part(results, start, stop, {name: value[start:stop] for name, value in given.items()})
        flows = {}
        try:
            for name, (tensor, flat, left) in doors.items():
                flows[name], _ = inputs(tensor, flat[start:stop], raw, cut.width, left[start:stop])
        except FxsimError:
            quantize_inputs(graph, arrays, raw)  # names the place in the whole batch
            raise
        for stretch in compiled[cut.width]:
            flows |= stretch.run(flows, wanted, part)
        for name, place in zip(graph.outputs, results.raw, strict=True):
            batches.gather(flows[name], place[start:stop])
        return stop

    if workers == 1 or len(cuts) <= 1:
        _follow(map(work, cuts), batch, progress)
    else:
        # An interrupt ends the map, which calls off the chunks that have not begun.
        _follow(_pool(workers).map(work, cuts), batch, progress)
    outputs = {
        tensor.name: array.reshape(-1, *tensor.shape) for tensor, array in zip(graph.results, results.raw, strict=True)
    }
    values = {tensor.name: to_float(outputs[tensor.name], tensor.type) for tensor in graph.results}
    counts = {name: count[:, 0] for name, count in results.counts.items()}
    if not raw:
        left = [door[2] for door in doors.values()]
        counts = {**dict(zip(input_keys(graph), left, strict=True)), **counts}
    totals = {name: int(count.sum()) for name, count in counts.items()}
    if len(outputs) > 1:
        return Run(outputs, values, results.state, totals, counts, results.trace)
    name = graph.outputs[0]
    return Run(outputs[name], values[name], results.state, totals, counts, results.trace)


@dataclass(frozen=True)
class _Cut:
    """Sequences from ``start`` to ``stop``, in blocks of ``width`` for a machine."""

    start: int
    stop: int
    width: int
    machine: Host


def _cuts(graph: Graph, batch: int, wanted: Wanted, workers: int) -> list[_Cut]:
    """A batch in chunks that are about equal for every worker.

    Lanes without a sequence cost as much as those with one: where the batch is small, so are blocks, and a few
    sequences at its end go one by one, if nothing is counted.
    """
    machine = host()
    share = max(1, -(-batch // workers))
    few = 0 if wanted.counts else machine.lanes // 2
    width = machine.lanes if share < 32 * machine.lanes else 4 * machine.lanes
    whole = batch
    if width == machine.lanes and 0 < batch % width <= few:
        whole -= batch % width
    elif batch <= 4:
        machine, width = _narrow(machine), 4
    share = max(1, -(-whole // workers))
    rounds = -(-share // _most(graph, wanted, width))
    chunk = -(-share // (rounds * width)) * width
    cuts = [_Cut(start, min(start + chunk, whole), width, machine) for start in range(0, whole, chunk)]
    part = -(-(batch - whole) // workers)
    return cuts + [_Cut(start, min(start + part, batch), 1, machine) for start in range(whole, batch, max(part, 1))]


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    """Threads that stay, with their kernels' working memory: new ones would have to touch it page by page again."""
    return ThreadPoolExecutor(workers)


# The child of a fork has the pool, but not its threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


@cache
def _narrow(machine: Host) -> Host:
    return replace(machine, lanes=4)


def _follow(ends: Iterable[int], batch: int, progress: Progress | None) -> None:
    for end in ends:
        if progress:
            progress(end, batch)


def _threads(threads: int | None) -> int:
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return integer(threads, "threads", 1)


def _traced(graph: Graph, trace: bool | Iterable[str]) -> frozenset[str]:
    """Full names of the ops to trace; raises ``FxsimError`` for those that do not exist."""
    known = {f"{prefix}.{op.name}" for prefix, program in graph.programs.items() for op in program.ops}
    if isinstance(trace, bool):
        return frozenset(known if trace else ())
    wanted = frozenset(trace)
    for name in sorted(wanted - known):
        raise FxsimError(f"trace must name layer.op, one of {', '.join(sorted(known))}, not {show(name)}")
    return wanted


def _check_state(graph: Graph, state: Mapping[str, ArrayLike], batch: int) -> dict[str, IntArray]:
    known = {f"{prefix}.{op.name}": op for prefix, program in graph.programs.items() for op in program.states}
    given = {}
    for name, value in state.items():
        if name not in known:
            raise FxsimError(f"state must be one of {', '.join(known) or 'none'}, not {name!r}")
        op, array = known[name], arguments.array(value, f"state {name!r}", "integers")
        if not fits(op.type.min, op.type.max, 64):
            raise FxsimError(f"state {name!r}: its format {op.type} does not fit 64-bit integers")
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
    return max(width, min(CHUNK, TRACE_BYTES // (8 * (1 + graph.traced(wanted.trace)))))
