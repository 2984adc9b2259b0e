# SPDX-License-Identifier: Apache-2.0
"""A whole network over many sequences: blocks, threads, states in and out, traces, overflow counts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import kernels, reference, translation
from .errors import FxsimError
from .fixed import IntArray, cast_floats, to_float
from .graph import Graph, Layer
from .program import Program

#: Sequences in a block: enough to fill vector registers, few enough for the working memory to stay in cache.
BLOCK = 128
#: Narrower blocks leave vector registers empty.
LEAST_BLOCK = 16
#: A block that is traced keeps every op of every step; it is made narrower to stay under this many bytes.
TRACE_BYTES = 64 << 20

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Run:
    """What a simulation gives.

    ``raw``: raw integers of the output, (batch, *output shape). ``values``: the same as float64. ``state``: states
    after the last step by ``layer.state``, (batch, elements). ``overflows``: by ``layer.op``, how often a cast left
    its format (for a dot product: outputs of which some product, partial or final sum did), summed over the batch.
    ``trace``: by ``layer.op``, (batch, steps, elements), if asked for.
    """

    raw: IntArray
    values: NDArray[np.float64]
    state: dict[str, IntArray]
    overflows: dict[str, int]
    trace: dict[str, IntArray]


def quantize_inputs(graph: Graph, x: ArrayLike, raw: bool = False) -> IntArray:
    """The batch as raw integers of the input's format, (batch, *shape).

    ``x`` are values, or with ``raw`` raw integers. Raises ``FxsimError`` for another shape, NaN, infinity, or raw
    integers outside the format.
    """
    array = np.asarray(x)
    shape = "(batch, " + ", ".join(map(str, graph.shape)) + ")"
    if array.dtype.kind not in "fiub":
        raise FxsimError(f"input must be numbers of shape {shape}, not {array.dtype}")
    if array.ndim != 1 + len(graph.shape) or array.shape[1:] != graph.shape:
        raise FxsimError(f"input must have shape {shape}, not {array.shape}")
    if not raw:
        try:
            return cast_floats(array, graph.input)
        except FxsimError as error:
            raise FxsimError(f"input {error}") from None
    if array.dtype.kind not in "iu":
        raise FxsimError(f"raw input must be integers, not {array.dtype}")
    low, high = graph.input.min, graph.input.max
    if array.size and (int(array.min()) < low or int(array.max()) > high):
        raise FxsimError(f"raw input must be {low}..{high} ({graph.input}), not {array.min()}..{array.max()}")
    return array.astype(np.int64)


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
    inputs = quantize_inputs(graph, x, raw)
    batch = inputs.shape[0]
    given = _check_state(graph, state or {}, batch)
    wanted = None if trace is True else frozenset() if trace is False else frozenset(trace)
    if wanted:
        _check_trace(graph, wanted)
    tracing = wanted is None or bool(wanted)
    workers = _threads(threads)
    # A batch of few blocks is cut finer, so that every thread has one.
    share = max(LEAST_BLOCK, -(-batch // workers))
    block = min(_block_size(graph) if tracing else BLOCK, share)
    starts = list(range(0, batch, block))

    def work(start: int) -> _Part:
        stop = min(start + block, batch)
        part = _Part(wanted, overflows, {name: value[start:stop] for name, value in given.items()})
        _block(graph, inputs[start:stop], part)
        return part

    if workers == 1 or len(starts) <= 1:
        return _join(graph, _collect(map(work, starts), starts, block, batch, progress))
    pool = ThreadPoolExecutor(workers)
    try:
        return _join(graph, _collect(pool.map(work, starts), starts, block, batch, progress))
    finally:
        # An interrupt must not wait for the blocks that have not begun.
        pool.shutdown(cancel_futures=True)


def predict(
    graph: Graph, x: ArrayLike, *, threads: int | None = None, progress: Progress | None = None
) -> NDArray[np.float64]:
    """Outputs as float64 on the output's grid, (batch, *output shape); ``x`` as for :func:`simulate`."""
    return simulate(graph, x, overflows=False, threads=threads, progress=progress).values


def _threads(threads: int | None) -> int:
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if type(threads) is not int or threads < 1:
        raise FxsimError(f"threads must be a positive integer, not {threads!r}")
    return threads


@dataclass
class _Part:
    """One block: what is wanted of it, and what came of it."""

    wanted: frozenset[str] | None  # ops to trace, None for all
    counting: bool
    given: Mapping[str, IntArray]  # states before the first step
    out: IntArray = field(default_factory=lambda: np.empty(0, np.int64))  # (sequences, *output shape)
    state: dict[str, IntArray] = field(default_factory=dict)
    overflows: dict[str, int] = field(default_factory=dict)
    trace: dict[str, IntArray] = field(default_factory=dict)

    def traced(self, prefix: str, program: Program) -> list[str]:
        """Ops of a program to trace."""
        return [op.name for op in program.ops if self.wanted is None or f"{prefix}.{op.name}" in self.wanted]

    def count(self, prefix: str, counts: Iterable[tuple[str, int]]) -> None:
        """Add overflows of a program's ops."""
        for name, count in counts:
            key = f"{prefix}.{name}"
            self.overflows[key] = self.overflows.get(key, 0) + int(count)


def _collect(
    results: Iterable[_Part], starts: list[int], block: int, batch: int, progress: Progress | None
) -> list[_Part]:
    parts = []
    for start, part in zip(starts, results, strict=True):
        parts.append(part)
        if progress:
            progress(min(start + block, batch), batch)
    return parts


def _join(graph: Graph, parts: list[_Part]) -> Run:
    if not parts:
        raw = np.zeros((0, *graph.output_shape), np.int64)
        return Run(raw, to_float(raw, graph.output), {}, {}, {})
    raw = np.concatenate([part.out for part in parts])
    counts: dict[str, int] = {}
    for part in parts:
        for name, count in part.overflows.items():
            counts[name] = counts.get(name, 0) + count
    first = parts[0]
    return Run(
        raw,
        to_float(raw, graph.output),
        {name: np.concatenate([part.state[name] for part in parts]) for name in first.state},
        counts,
        {name: np.concatenate([part.trace[name] for part in parts]) for name in first.trace},
    )


def _check_state(graph: Graph, state: Mapping[str, ArrayLike], batch: int) -> dict[str, IntArray]:
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


def _check_trace(graph: Graph, wanted: frozenset[str]) -> None:
    known = {
        f"{prefix}.{op.name}"
        for layer in graph.layers
        for prefix, program in layer.programs.items()
        for op in program.ops
    }
    for name in sorted(wanted - known):
        raise FxsimError(f"trace must name layer.op, one of {', '.join(sorted(known))}, not {name!r}")


def _block_size(graph: Graph) -> int:
    rows = 1
    for layer, shape, _, _, _ in graph.flow():
        steps = shape[0] if len(shape) == 2 else 1
        for program in layer.programs.values():
            rows = max(rows, steps * sum(program.sizes.values()))
    return max(1, min(BLOCK, TRACE_BYTES // (8 * rows)))


# Keyed by identity: a Program hashes by its weights' bytes, which would cost more than a small run.
_MACHINES: dict[int, tuple[Program, translation.Machine | None]] = {}


def _machine(program: Program) -> translation.Machine | None:
    """The translated program, or None if only the reference can compute it."""
    found = _MACHINES.get(id(program))
    if found is None or found[0] is not program:
        try:
            machine = translation.translate(program)
        except translation.TooWide:
            machine = None
        if len(_MACHINES) > 4096:
            _MACHINES.clear()
        found = _MACHINES[id(program)] = (program, machine)
    return found[1]


def _block(graph: Graph, inputs: IntArray, part: _Part) -> None:
    """One block through all layers; arrays between layers are (steps, elements, sequences)."""
    batch = inputs.shape[0]
    flow = inputs.reshape(batch, -1, graph.shape[-1]).transpose(1, 2, 0)
    for layer in graph.layers:
        flow = _layer(layer, np.ascontiguousarray(flow), part)
    part.out = np.ascontiguousarray(flow.transpose(2, 0, 1)).reshape(batch, *graph.output_shape)


def _layer(layer: Layer, x: IntArray, part: _Part) -> IntArray:
    steps, elements, batch = x.shape
    if layer.program is None:
        return x.reshape(1, steps * elements, batch)
    kept = steps if layer.return_sequences else 1
    outs = []
    for (prefix, program), reverse in zip(layer.programs.items(), (False, True), strict=False):
        machine = _machine(program)
        if machine is None:
            outs.append(_run_reference(program, prefix, x, kept, reverse, part))
        else:
            outs.append(_run_machine(machine, prefix, x, kept, reverse, part))
    return outs[0] if len(outs) == 1 else np.concatenate(outs, axis=1)


def _run_machine(
    machine: translation.Machine, prefix: str, x: IntArray, kept: int, reverse: bool, part: _Part
) -> IntArray:
    program = machine.program
    steps, _, batch = x.shape
    mem = translation.first_state(machine, batch)
    for op in program.states:
        value = part.given.get(f"{prefix}.{op.name}")
        if value is not None:
            place = machine.places[op.name]
            mem[place : place + op.elements] = value.T
    names = part.traced(prefix, program)
    tracing = bool(names)
    trace = np.empty((steps, *mem.shape) if tracing else (1, 1, 1), np.int64)
    counts = np.zeros((max(1, len(machine.counted)), batch), np.int64)
    out = np.empty((kept, program.elements, batch), np.int64)
    kernels.run(
        machine.code, machine.data, machine.data32, machine.loads, machine.updates, mem,
        machine.places[program.input.name], x, machine.places[program.output], out, reverse,
        counts, part.counting, trace, tracing,
    )  # fmt: skip
    for op in program.states:
        place = machine.places[op.name]
        part.state[f"{prefix}.{op.name}"] = mem[place : place + op.elements].T.copy()
    if part.counting:
        part.count(prefix, zip(machine.counted, counts.sum(axis=1), strict=False))
    if tracing:
        for name in names:
            place, size = machine.places[name], program.sizes[name]
            part.trace[f"{prefix}.{name}"] = trace[:, place : place + size].transpose(2, 0, 1).copy()
    return out


def _run_reference(program: Program, prefix: str, x: IntArray, kept: int, reverse: bool, part: _Part) -> IntArray:
    """The same by Python integers, for results wider than a machine word. Slow, and equally exact."""
    steps, _, batch = x.shape
    rows: dict[str, list[list[list[int]]]] = {}
    after: dict[str, list[list[int]]] = {op.name: [] for op in program.states}
    overflowed: dict[str, int] = {}
    result = np.empty((kept, program.elements, batch), object)
    for b in range(batch):
        now = reference.initial_state(program)
        now |= {
            op.name: part.given[f"{prefix}.{op.name}"][b].tolist()
            for op in program.states
            if f"{prefix}.{op.name}" in part.given
        }
        order = x[::-1, :, b] if reverse else x[:, :, b]
        trace, now = reference.scan(program, order.tolist(), now, overflowed if part.counting else None)
        if reverse:
            trace = trace[::-1]
        for name, value in now.items():
            after[name].append(value)
        last = trace[0 if reverse else -1][program.output]
        for t in range(kept):
            result[t, :, b] = trace[t][program.output] if kept == steps else last
        for op_name in part.traced(prefix, program):
            rows.setdefault(op_name, []).append([values[op_name] for values in trace])
    part.count(prefix, overflowed.items())
    try:
        for name, vectors in after.items():
            part.state[f"{prefix}.{name}"] = np.array(vectors, np.int64)
        for name, steps_of in rows.items():
            part.trace[f"{prefix}.{name}"] = np.array(steps_of, object)
        return result.astype(np.int64)
    except OverflowError:
        raise FxsimError(f"layer {prefix!r}: a result is wider than 64 bits; give it a narrower precision") from None
