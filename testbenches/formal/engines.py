# SPDX-License-Identifier: Apache-2.0
"""The bench of matrix-vector engines: counters equal a naive count, results equal sums written out."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Mux, Value

from .bench import Bench
from .models import History


def engine(dut: Any) -> Bench:
    """``gateware.matvec.MatVec`` gives bias + x·weights of each token when its engine says, in the rows that it says.

    The operands and the sum must have one grid, so that no product is rounded.
    """
    b = Bench()
    e, fold, op = dut.engine, dut.fold, dut.op
    assert dut.arg.frac + op.weights.type.frac == op.type.frac
    inside = b.add("dut", dut)
    start, last = b.free(1, "start"), b.free(1, "last")
    x = [b.free(part.shape(), f"operand_{k}") for k, part in enumerate(dut.x)]
    b.m.d.comb += [dut.start.eq(start), dut.last.eq(last), *(a.eq(v) for a, v in zip(dut.x, x, strict=True))]

    # What the layer around it sees to: a token has the engine for itself, and its operands stand still meanwhile.
    starts = History(b, "start", start, max(e.ready - e.start + (fold.beats - 1) * fold.cycles, fold.reuse))
    running = starts.any(range(1, fold.reuse))
    b.assume(~(start & running))
    for part in x:
        b.assume(~running | (part == b.later(part, f"{part.name}_before")))
    # With weights that change with the step, the sequence ends with the last of them, or before.
    step = b.register(range(max(e.steps, 2)), "token_step")
    ends = b.register(1, "token_last")
    if e.steps > 1:
        b.assume(~start | last | (step != e.steps - 1))
        b.lemma("the step is one of the sequence", step < e.steps)
    closes = starts(fold.reuse - 1)
    with b.m.If(start):
        b.m.d.sync += ends.eq(last)
    with b.m.If(closes):
        b.m.d.sync += step.eq(Mux(last if fold.reuse == 1 else ends, 0, step + 1) if e.steps > 1 else 0)

    # Results: each beat's rows, so many cycles after the token's start.
    steps = History(b, "step", step, 0 if e.steps == 1 else e.ready - e.start + (fold.beats - 1) * fold.cycles)
    operands = [History(b, part.name, part, e.ready - e.start + fold.reuse) for part in x]
    lanes = dut.units // fold.beats
    for beat in range(fold.beats):
        ago = e.ready - e.start + beat * fold.cycles
        old = [operand(ago) for operand in operands]
        for row, result in enumerate(dut.result):
            output = row // lanes * dut.units + beat * lanes + row % lanes
            sums = [_sum(b, dut, weights, old, output) for weights in _matrices(op)]
            wanted: Value = sums[0]
            for k, other in enumerate(sums[1:], 1):
                wanted = Mux(steps(ago) == k, other, wanted)
            b.check(f"row {row} of beat {beat} is its sum", result == wanted, when=starts(ago))
    b.goal("a token at once after another", start & starts(fold.reuse))
    b.lemma("a token at a time", ~_crowded(starts, fold.reuse))
    if e.selected:
        _counters(b, dut, inside, starts, step, ends)
    return b


def _crowded(starts: History, reuse: int) -> Value:
    """Whether two starts were nearer to each other than allowed."""
    found: Value = Const(0, 1)
    for k in range(starts.cycles + 1):
        found = found | starts(k) & starts.any(range(k + 1, min(k + reuse, starts.cycles + 1)))
    return found


def _counters(b: Bench, dut: Any, inside: Any, starts: History, step: Value, ends: Value) -> None:
    """Which product is made in which cycle: what the counters must be, by the cycles since the token's start."""
    e, fold = dut.engine, dut.fold
    running = starts.any(range(fold.reuse))
    for now in range(fold.reuse):
        beat, cycle = divmod(now, fold.cycles)
        busy, here = cycle < e.busy, starts(now)
        turn, place = divmod(cycle, e.depth) if busy else (0, 0)
        slot = beat * e.busy + min(cycle, e.busy)
        # With the last product of a token the address goes on to the next one's.
        done = slot == fold.beats * e.busy
        address = (step * (fold.beats * e.busy) + slot) if e.steps > 1 else 0 if done else slot
        if e.steps > 1 and done:
            address = Mux(ends, 0, address)
        claim = f"the counters are right in cycle {now} of a token"
        right = (inside["step"] == place) & (inside["turn"] == turn) & (inside["busy"] == busy)
        b.check(claim, right & (inside["address"] == address), when=here)
        if now and e.steps > 1:
            b.lemma("the token's last is kept", inside["slot_last_held"] == ends, when=here)
        if fold.reuse > 1:
            counted = (inside["slot_beat"] == beat) & (inside["slot_cycle"] == cycle)
            b.check(claim, counted & (inside["slot_running"] == (now > 0)), when=here)
    rest = step * (fold.beats * e.busy) if e.steps > 1 else 0
    idle = (inside["step"] == 0) & (inside["turn"] == 0) & (inside["address"] == rest) & ~inside["busy"]
    if fold.reuse > 1:
        idle = idle & ~inside["slot_running"] & (inside["slot_beat"] == 0) & (inside["slot_cycle"] == 0)
    b.check("the counters rest between tokens", idle, when=~running)


def _matrices(op: Any) -> list[Any]:
    return list(op.weights.data) if op.weights.data.ndim == 3 else [op.weights.data]


def _sum(b: Bench, dut: Any, weights: Any, x: list[Value], output: int) -> Value:
    """Bias and products, added one after another; a saturating sum is limited after each."""
    op, width = dut.op, len(dut.result[0])
    bias = 0 if op.bias is None else int(op.bias.data[output]) << (op.type.frac - op.bias.type.frac)
    total: Value = Const(bias)
    for j in op.order():
        product = x[j] * int(weights[j, output])
        total = _limited(op, total + _limited(op, product)) if dut.engine.ordered else total + product
    wanted = b.signal(dut.result[0].shape(), f"sum{output}")
    b.m.d.comb += wanted.eq(total[:width])
    return wanted


def _limited(op: Any, value: Value) -> Value:
    assert op.type.overflow.name == "SAT"
    return Mux(value > op.type.max, op.type.max, Mux(value < op.type.min, op.type.min, value))
