# SPDX-License-Identifier: Apache-2.0
"""The bench of a layer's control: every token is taken in time, worked on in its cycles, and gives its one result."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Mux, Value

from .bench import Bench, Inside, opened
from .models import History, Queue


def layer(dut: Any) -> Bench:
    """The control of ``gateware.layer.LayerCore`` is what its schedule says, whatever the data."""
    b = Bench()
    plan, fold = dut.plan, dut.plan.fold
    module = opened(dut)
    inside = b.add("dut", module)
    data = b.free(dut.bits_in, "data")
    valid, last, abort, ready = (b.free(1, name) for name in ("valid", "last", "abort", "ready"))
    b.m.d.comb += [
        dut.i.valid.eq(valid),
        dut.i.payload.data.eq(data),
        dut.i.payload.last.eq(last),
        dut.i.payload.abort.eq(abort),
        dut.o.ready.eq(ready),
    ]
    b.assume_stream(valid, dut.i.ready, Cat(last, abort))
    b.assume(~abort | last)
    take, given = valid & dut.i.ready, dut.o.valid & ready

    # A token is taken when the last one's interval is over and its result will find room.
    latency = plan.latency
    ends = [plan.segments[n] + 1 + fold.reuse for n in range(len(plan.segments))]
    takes = History(b, "take", take, max(latency, plan.interval, *ends))
    gives = History(b, "gives", take & (Const(1) if dut.return_sequences else last & ~abort), latency)
    tags = [History(b, name, value, latency) for name, value in (("last", last), ("abort", abort))]
    push, tag = gives(latency), Cat(*(history(latency) for history in tags))
    results = Queue(b, "results", 2, dut.depth, push, tag, given)
    some = results.count != 0
    under_way = gives.number(range(1, latency + 1)) + results.count
    free = ~takes.any(range(1, plan.interval))
    b.check(
        "a token is taken when its interval and its result's room allow it",
        dut.i.ready == (free & (under_way < dut.depth)),
    )
    b.check("every result stands in its cycle, and no other", dut.o.valid == (some if dut.registered else some | push))
    b.check(
        "results come in order, with their tokens' last and abort",
        Cat(dut.o.payload.last, dut.o.payload.abort) == Mux(some, results.front, tag),
        when=dut.o.valid,
    )
    b.check("no result meets a full buffer", ~push | (results.count < dut.depth))
    b.check_stream(dut.o.valid, ready, Cat(dut.o.payload.last, dut.o.payload.abort))
    _progress(b, dut, valid & ~take & ready, takes, results)
    for name, strobe, cycles in _strobes(dut):
        b.check(f"{name} works in its cycles", strobe == takes.any(cycles))
    _rings(b, dut, module, takes)
    b.goal("a token at once after another", take & takes(plan.interval))
    _lemmas(b, dut, inside, takes, under_way, results)
    return b


def _lemmas(b: Bench, dut: Any, inside: Inside, takes: History, under_way: Value, results: Queue) -> None:
    """What the induction must know of its state. ``under_way``: results in the pipeline and in the buffer."""
    plan, fold = dut.plan, dut.plan.fold
    b.lemma("room, results and those under way make the depth", inside["room"] == dut.depth - under_way)
    b.lemma("as many results as in the model", inside["filled"] == results.count)
    b.lemma("no more than the depth", under_way <= dut.depth)
    for k in range(1, takes.cycles):
        nearer = takes.any(range(k + 1, min(k + plan.interval, takes.cycles + 1)))
        b.lemma("tokens keep their interval", ~(takes(k) & nearer))
    waits: Value = Const(0)
    for k in range(plan.interval - 1, 0, -1):
        waits = Mux(takes(k), plan.interval - k, waits)
    b.lemma("the wait is what is left of the interval", inside["wait"] == waits)
    for k in range(dut.depth):
        right = results.word(k) == (Value.cast(inside[f"entry{k}"])[-2:] if dut.return_sequences else 1)
        b.lemma("every result is the model's", right, when=results.count > k)
    results.lemma()
    if fold.reuse > 1:
        for n, begin in enumerate(plan.segments):
            _phase(b, inside, f"phase{n}", fold, takes, begin + 1)


def _progress(b: Bench, dut: Any, waiting: Value, takes: History, results: Queue) -> None:
    """No deadlock: whoever waits while results are taken does so for a known number of cycles.

    After ``latency`` cycles without a new token nothing is under way, a cycle later one result has left, and another
    one later its room is back.
    """
    plan = dut.plan
    most = max(plan.interval - 1, plan.latency + 2)
    waited = b.register(range(most + 2), "waited_cycles")
    b.m.d.sync += waited.eq(Mux(waiting, Mux(waited > most, waited, waited + 1), 0))
    b.check(f"a token waits at most {most} cycles while results are taken", waited + waiting <= most)
    for k in range(1, min(most, takes.cycles) + 1):
        b.lemma("who waits was not taken", ~takes(k), when=waited >= k)
    for k in range(plan.latency + 1, most + 1):
        left = k - plan.latency
        b.lemma("results leave", results.count + left <= dut.depth, when=(waited == k) & (results.count != 0))


def _strobes(dut: Any) -> list[tuple[str, Value, list[int]]]:
    """When each op's results stand: its tap, and the cycles after the token's taking in which it must be high."""
    plan, fold = dut.plan, dut.plan.fold
    found = []
    for tap in dut.taps:
        engine, slot = plan.engines.get(tap.op), plan.slots.get(tap.op)
        if engine is None and slot is None:
            continue
        cycle, beats = (engine.ready if engine is not None else slot.cycle), range(fold.beats)
        if tap.op in plan.parked:
            # All its results stand together, in registers behind the engine.
            cycle, beats = cycle + 1, range(1)
        found.append((tap.op, tap.valid, [1 + cycle + beat * fold.cycles for beat in beats]))
    return found


def _rings(b: Bench, dut: Any, module: Any, takes: History) -> None:
    """The states of interleaved sequences: the new one is written before the next token of its sequence comes."""
    plan = dut.plan
    if plan.ways == 1:
        return
    for state in plan.program.states:
        ring = module.submodules[f"ring_{state.name}"]
        engine, slot = plan.engines.get(state.update), plan.slots.get(state.update)
        cycle = 1 + plan.tail + (engine.ready if engine is not None else slot.cycle)
        b.check(f"state {state.name} is written in its cycle", ring.done == takes(cycle))
        # The token that reads it now was taken so many cycles ago; those before it must have written theirs.
        enters = plan.enters.get(state.name, 0)
        b.check(
            f"state {state.name} is read in its cycle",
            ring.take == (takes(enters) if enters else dut.i.valid & dut.i.ready),
        )
        open_states = takes.number(range(enters + 1, cycle + 1))
        b.check(f"state {state.name} is written before it is read again", open_states < plan.ways, when=ring.take)


def _phase(b: Bench, inside: Inside, name: str, fold: Any, takes: History, begin: int) -> None:
    """The counters of beats and cycles, by the cycles since the token that they work on was taken."""
    beat: Value = Const(0)
    cycle: Value = Const(0)
    for now in range(1, fold.reuse):
        here = takes(begin + now)
        beat, cycle = Mux(here, now // fold.cycles, beat), Mux(here, now % fold.cycles, cycle)
    running = takes.any(range(begin + 1, begin + fold.reuse))
    right = (inside[f"{name}_beat"] == beat) & (inside[f"{name}_cycle"] == cycle)
    b.lemma(f"the counters of {name} are right", right & (inside[f"{name}_running"] == running))
