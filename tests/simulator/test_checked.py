# SPDX-License-Identifier: Apache-2.0
"""The checked mode of the kernels: what it says of accesses beyond a tensor, and that no planted one escapes it."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from networks import in_row, network
from programs import by_reference

from fxsim.errors import FxsimError, KernelError
from fxsim.program.fixed import Fixed, Overflow
from fxsim.program.graph import Graph, Node, chain
from fxsim.program.integers import Const, Table
from fxsim.program.nodes import bidirectional
from fxsim.program.ops import Add, Cast, Concat, Constant, Dot, Input, Lookup, Op, Slice, State, Sub
from fxsim.program.program import Program
from fxsim.simulator import (
    batches,
    elementwise,
    guards,
    llvm,
    memory,
    network_kernel,
    program_kernel,
)
from fxsim.simulator import (
    run as simulation,
)
from fxsim.simulator.guards import CheckedCode, Guarded
from fxsim.simulator.jit import Host
from fxsim.simulator.memory import Frame, Rows, Wanted
from fxsim.simulator.program_kernel import Spot
from fxsim.simulator.run import simulate

X = Fixed(9, 4)


def both_ways(forward: int, backward: int, **given: Any) -> Graph:
    """An LSTM beside a GRU, each with units of its own."""
    return network("lstm", seed=1, units=forward, backward=("gru", backward), return_sequences=True, **given)


def inputs(graph: Graph, batch: int) -> np.ndarray:
    shape = (batch, *graph.shape)
    return np.random.default_rng(0).integers(graph.input.min, graph.input.max, shape, endpoint=True)


def checked(graph: Graph, batch: int = 50) -> simulation.Run:
    return simulate(graph, inputs(graph, batch), raw=True, trace=True, threads=1, checked=True)


def without_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave only what stands between the tensors."""
    monkeypatch.setattr(CheckedCode, "_check", lambda *given, **more: None)


# --- Directions of other sizes


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize(
    ("forward", "backward", "batch"), [(3, 4, 50), (4, 3, 50), (3, 4, 1), (15, 17, 3), (1, 40, 5), (40, 1, 5)]
)
def test_directions_of_different_units(forward, backward, batch, sequences):
    """They were placed by their own number of elements: the process ended in free(), or numbers were wrong."""
    graph = network(
        "lstm", seed=3, units=forward, backward=("gru", backward), return_sequences=sequences, steps=5, tail=(2,)
    )
    raw = inputs(graph, batch)
    want = by_reference(graph, raw)
    for more in ({}, {"overflows": False}, {"checked": True}, {"checked": True, "overflows": False}):
        assert np.array_equal(simulate(graph, raw, raw=True, **more).raw, want)


@pytest.fixture
def misplaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake as it was: a backward direction's rows behind as many as it has itself."""
    right = program_kernel.Pass.emit

    def mistaken(self: program_kernel.Pass, sources: list[Spot], to: Spot, *, last: bool) -> None:
        wrong = self.program.elements * self.frame.row(to.bits)
        right(self, sources, replace(to, offset=wrong) if "backward" in self.prefix else to, last=last)

    monkeypatch.setattr(program_kernel.Pass, "emit", mistaken)


@pytest.mark.usefixtures("misplaced")
def test_an_overrun_is_caught_by_its_address():
    message = r"^op 'result of lstm\.backward' writes bytes \d+ to \d+ of 'output', which has \d+$"
    with pytest.raises(KernelError, match=message):
        checked(both_ways(3, 4))


@pytest.mark.usefixtures("misplaced")
def test_an_overrun_is_caught_by_what_it_destroys(monkeypatch):
    without_comparisons(monkeypatch)
    with pytest.raises(KernelError, match=r"^memory behind 'output', which has \d+ bytes, was overwritten$"):
        checked(both_ways(3, 4))


@pytest.mark.usefixtures("misplaced")
def test_an_overrun_between_layers(monkeypatch):
    graph = both_ways(3, 4, tail=(2,))
    with pytest.raises(KernelError, match="of 'result of lstm', which has"):
        checked(graph)
    without_comparisons(monkeypatch)
    with pytest.raises(KernelError, match=r"behind the start of 'result of lstm', which has \d+, was overwritten"):
        checked(replace(graph, name="again"))


# --- Other mistakes


def test_an_index_beyond_a_table(monkeypatch):
    monkeypatch.setattr(
        elementwise, "_entry", lambda code, op, index: code.resize(code.plus(index, -op.table.first), 32)
    )
    table = Table("steep", 3, X.round, -4, Const(np.arange(8), X))
    ops = Input(name="x", type=X, elements=3), Lookup(name="y", type=X, arg="x", table=table)
    graph = chain("g", (2, 3), X, (Node("line", "activation", Program(ops, "y")),))
    with pytest.raises(KernelError, match=r"^op 'line\.y' reads entry -?\d+ of 'line\.y \(steep\)', which has 8$"):
        checked(graph)


def test_working_memory_that_is_too_short(monkeypatch):
    graph = network("lstm", units=4)
    right = Frame.rows

    def short(self: Frame, count: int, bits: int, name: str) -> Rows:
        return right(self, max(1, count - 1), bits, name)

    monkeypatch.setattr(Frame, "rows", short)
    with pytest.raises(KernelError, match=r"^op '.*' writes bytes \d+ to \d+ of 'lstm\..*', which has \d+$"):
        checked(graph)
    without_comparisons(monkeypatch)
    with pytest.raises(KernelError, match=r"^memory \d+ bytes behind the start of 'lstm\..*', which has \d+, was over"):
        checked(replace(graph, name="again"))


def test_a_trace_that_is_too_short(monkeypatch):
    graph = network("lstm", units=4)
    right = memory.Kept.empty
    monkeypatch.setattr(
        memory.Kept, "empty", lambda self, *shape: right(replace(self, rows=max(1, self.rows - 1)), *shape)
    )
    without_comparisons(monkeypatch)
    with pytest.raises(
        KernelError, match=r"^memory behind 'lstm\.\w+ \(trace\)', which has \d+ bytes, was overwritten$"
    ):
        checked(graph, 3)


def test_a_step_too_many(monkeypatch):
    """Of weights that have a matrix for each step, the last one is read once more behind its end."""
    weights = Const(np.ones((4, 2, 3), np.int64), X)
    ops = Input(name="x", type=X, elements=2), Dot(name="y", type=Fixed(20, 8), arg="x", weights=weights)
    graph = chain("g", (4, 2), X, (Node("flat", "dense", Program(ops, "y")),))
    right = program_kernel.Pass.stage
    monkeypatch.setattr(
        program_kernel.Pass, "stage", lambda on, stage, t: right(on, stage, on.code.op(f"add i64 {t}, 1"))
    )
    with pytest.raises(KernelError, match=r"^op 'flat\.y' reads bytes \d+ to \d+ of 'flat\.y \(weights\)', which has"):
        checked(graph)


def test_memory_is_not_what_it_was(monkeypatch):
    """A state that nobody fills holds what the last run left, or by chance zeros; here never."""
    graph = network("lstm", seed=2, units=4)
    want = checked(graph).raw
    monkeypatch.setattr(program_kernel.Pass, "begin", lambda self, op: None)
    assert not np.array_equal(checked(replace(graph, name="again")).raw, want)


def test_memory_that_is_no_tensors(monkeypatch):
    monkeypatch.setattr(Frame, "constants", lambda self, values, name: self.code.address("%data", 0))
    with pytest.raises(KernelError, match=r"^op 'lstm\.\w+' reads memory that is no tensor's$"):
        checked(network("lstm"))


@pytest.mark.parametrize("at", [-1, 0, 4])
def test_what_stands_around_an_array(at):
    one = Guarded("weights", np.arange(4, dtype=np.int16))
    assert one.array.tolist() == [0, 1, 2, 3]
    one.check(constant=True)
    whole = np.frombuffer(one._bytes, np.int16).copy()
    one._bytes.view(np.int16)[guards.GAP // 2 + at] += 1
    assert (one._bytes.view(np.int16) != whole).sum() == 1
    place = {-1: "memory before 'weights', which has 8 bytes,", 0: "'weights'", 4: "memory behind 'weights'"}[at]
    with pytest.raises(KernelError, match=re.escape(place) + ".* was overwritten"):
        one.check(constant=True)
    if not at:
        one.check()  # what may be written may change


def test_blocks_of_another_shape():
    graph = network("lstm")
    narrow = Host(4, 16)
    kernel = simulation.stretches(graph, Wanted(), 4, narrow)[0].kernel
    assert kernel is not None
    rows = graph.inputs[0].size
    right = np.zeros((2, rows, 4), network_kernel.dtype(graph.input))
    assert kernel.run([right]).outs[0].shape == (2, graph.results[0].size, 4)
    wrong: list[np.ndarray] = [right[:, 1:], right[:0], right[:, :, :3], right.astype(np.int64)]
    for x in wrong:
        with pytest.raises(KernelError, match=rf"^a kernel takes blocks of \([12], {rows}, 4\) of 16 bits, not"):
            kernel.run([x])
    for width, wanted, message in (
        (6, Wanted(), "blocks must have 1 sequence or a multiple of 4, not 6"),
        (1, Wanted(counts=True), "overflows are counted lane by lane"),
    ):
        with pytest.raises(KernelError, match=message):
            simulation.stretches(graph, wanted, width, narrow)
    with pytest.raises(KernelError, match="behind one another"):
        kernel.run([np.zeros((4, rows, 2), np.int16).T.swapaxes(1, 1).reshape(2, rows, 4)[::-1]])


def test_batches_of_another_shape():
    """Eight sequences of five rows are two blocks of four."""
    raw, right = np.zeros((8, 5), np.int64), np.zeros((2, 5, 4), np.int16)
    left = np.zeros(8, np.int64)
    batches.spread(raw, right)
    batches.gather(right, raw)
    assert batches._quantize(raw.astype(float), right, left, 1.0, 0, 0, -8, 7, 4) == 0
    for wrong in (right[:1], np.ascontiguousarray(right[:, :4]), np.zeros((2, 6, 4), np.int16)):
        with pytest.raises(ValueError, match="blocks of another shape"):
            batches.spread(raw, wrong)
        with pytest.raises(ValueError, match="blocks of another shape"):
            batches.gather(wrong, raw)
        with pytest.raises(ValueError, match="blocks of another shape"):
            batches._quantize(raw.astype(float), wrong, left, 1.0, 0, 0, -8, 7, 4)
    with pytest.raises(ValueError, match="blocks of another shape"):
        batches._quantize(raw.astype(float), right, left[:7], 1.0, 0, 0, -8, 7, 4)


# --- What kernels take for granted, and who sees to it


def one_layer(*ops: Op, output: str = "y", steps: int = 2, name: str = "l", **given: Any) -> Graph:
    program = Program(ops, output)
    return chain("g", (steps, program.input.elements), program.input.type, (Node(name, "k", program, **given),))


def equal(graph: Graph, raw: np.ndarray) -> simulation.Run:
    """Kernels give what the reference gives, also in the checked mode."""
    want = by_reference(graph, raw)
    for more in ({}, {"overflows": False}, {"checked": True}):
        run = simulate(graph, raw, raw=True, **more)
        assert np.array_equal(run.raw, want)
    return run


def test_names_of_directions_are_no_other_layers():
    """Both were one array of states, of the size that the second layer has."""
    rnn = lambda size: Program(  # noqa: E731
        (
            Input(name="x", type=X, elements=2),
            Dot(name="w", type=X, arg="x", weights=Const(np.ones((2, size), np.int64), X)),
            State(name="s", type=X, elements=size, update="y"),
            Add(name="y", type=X, a="w", b="s"),
            Slice(name="z", type=X, arg="y", start=0, stop=1),
            Concat(name="two", type=X, parts=("z", "z")),
        ),
        "two",
    )
    first = Node("a.forward", "rnn", rnn(3))
    second = partial(bidirectional, "a", "rnn", rnn(100), rnn(2), True)
    four = Program((Input(name="x", type=X, elements=2),), "x")
    with pytest.raises(FxsimError, match=r"^layer names must be distinct and not empty, not 'a\.forward'$"):
        in_row("g", (2, 2), X, (first, Node("between", "k", four), second))


def test_a_value_that_a_symmetric_format_does_not_have():
    """Bounds of what reads it were too small by one."""
    symmetric = replace(X, overflow=Overflow.SAT_SYM)
    ops = (Input(name="x", type=symmetric, elements=1),)
    with pytest.raises(
        FxsimError, match=r"^layer 'l' takes ap_fixed<9,5,AP_TRN,AP_SAT_SYM>, its input is ap_fixed<9,5>$"
    ):
        chain("g", (1, 1), X, (Node("l", "k", Program(ops, "x")),))
    chain("g", (1, 1), symmetric, (Node("l", "k", Program((Input(name="x", type=X, elements=1),), "x")),))


@pytest.mark.parametrize("first", [1 << 40, (1 << 31) - 1, 1 << 31, -(1 << 31) - 5, -(1 << 40)])
def test_a_table_far_from_what_reads_it(first):
    """Limits of an index that 32 bits do not hold were cut off, and it was read up to 2**31 entries too far."""
    x, w = Fixed(16, 10), Fixed(16, 12)
    rng = np.random.default_rng(0)
    other = Fixed(24, 22)
    table = Table("far", 3, X.round, first, Const(np.array([3, 5]), X))
    graph = one_layer(
        Input(name="x", type=x, elements=5),
        Dot(name="wide", type=Fixed(44, 22), arg="x", weights=Const(rng.choice([w.min, w.max], (5, 6)), w)),
        Constant(name="more", type=other, values=Const(rng.integers(other.min, other.max, 6), other)),
        Add(name="sum", type=Fixed(60, 22), a="wide", b="more"),
        Lookup(name="y", type=X, arg="sum", table=table),
    )
    equal(graph, rng.integers(x.min, x.max, (40, 2, 5)))


def test_a_constant_that_no_word_holds():
    code = llvm.Code("run", (), (), 4)
    assert code.constant((1 << 32) - 1, 32).bits == 32
    for value in (1 << 32, -(1 << 31) - 1):
        with pytest.raises(KernelError, match=f"{value} does not fit a word of 32 bits"):
            code.constant(value, 32)


def test_as_many_overflows_as_32_bits_do_not_hold():
    """2**20 steps of 4 100 elements that all leave their format."""
    narrow, many = Fixed(1, 0), 4100
    steps = 1 << 20
    graph = one_layer(
        Input(name="x", type=X, elements=1),
        Constant(name="ones", type=X, values=Const(np.full(many, 200), X)),
        Cast(name="wrapped", type=narrow, arg="ones"),
        Slice(name="y", type=narrow, arg="wrapped", start=0, stop=1),
        steps=steps,
    )
    run = simulate(graph, np.zeros((1, steps, 1), np.int64), raw=True)
    assert run.overflows["l.wrapped"] == steps * many > 1 << 32


def test_slices_of_slices():
    """Each was looked up by a call within the one before."""
    ops: list[Op] = [Input(name="x", type=X, elements=4), Cast(name="c0", type=X, arg="x")]
    ops += [Slice(name=f"c{k}", type=X, arg=f"c{k - 1}", start=0, stop=4) for k in range(1, 3000)]
    ops += [Slice(name="end", type=X, arg="c2999", start=1, stop=3), Cast(name="y", type=X, arg="end")]
    graph = one_layer(*ops)
    raw = np.arange(16).reshape(2, 2, 4)
    assert np.array_equal(simulate(graph, raw, raw=True, checked=True).raw, raw[..., 1:3])


def test_formats_that_64_bits_do_not_hold():
    wide = Fixed(64, 0, False)
    graph = one_layer(Input(name="x", type=wide, elements=1), output="x", steps=1)
    with pytest.raises(FxsimError, match=r"^input ap_ufixed<64,64> does not fit 64-bit integers$"):
        simulate(graph, np.array([[[1 << 63]]], np.uint64), raw=True)
    state = one_layer(
        Input(name="x", type=X, elements=1), State(name="s", type=wide, elements=1, update="s"), output="s", steps=1
    )
    with pytest.raises(FxsimError, match=r"^state 'l\.s': its format ap_ufixed<64,64> does not fit 64-bit integers$"):
        simulate(state, np.zeros((1, 1, 1), np.int64), raw=True, state={"l.s": np.array([[1 << 63]], np.uint64)})


def test_results_between_layers_have_a_limit():
    ones = Const(np.ones((1, 1 << 10), np.int64), X)
    wide = Input(name="x", type=X, elements=1), Dot(name="y", type=X, arg="x", weights=ones)
    one_layer(*wide, steps=1 << 12)
    with pytest.raises(FxsimError, match=r"^tensor 'l' must have at most 4194304 elements, not 4195328$"):
        one_layer(*wide, steps=(1 << 12) + 1)


def test_states_that_follow_each_other_and_the_input():
    """A state may be updated by another, by a part of one, by the input or a constant."""
    graph = one_layer(
        Input(name="x", type=X, elements=3),
        State(name="a", type=X, elements=3, update="x"),
        State(name="b", type=X, elements=3, update="a"),
        State(name="c", type=X, elements=2, update="part"),
        State(name="d", type=X, elements=1, update="one"),
        Constant(name="one", type=X, values=Const(np.array([7]), X)),
        Slice(name="part", type=X, arg="b", start=1, stop=3),
        Sub(name="y", type=X, a="c", b="d"),
        Concat(name="all", type=X, parts=("y", "a", "b")),
        output="all",
        steps=6,
    )
    equal(graph, np.random.default_rng(1).integers(X.min, X.max, (20, 6, 3)))
