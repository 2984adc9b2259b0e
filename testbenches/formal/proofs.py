# SPDX-License-Identifier: Apache-2.0
"""All that is proven: which block, which claim, how, and to which depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from rtl.gateware.beats import Gather, Spread
from rtl.gateware.interleaver import Deal
from rtl.gateware.network import Collect
from rtl.gateware.packets import Packets
from rtl.gateware.state_memory import StateRing
from rtl.gateware.stream import Buffer
from rtl.plan.folds import Fold

from . import designs, engines, frames, interleaving, sequencers, streams
from .bench import Bench
from .casts import Format, casts, pairs
from .prover import Method, Proof

ROUNDINGS = ("TRN", "TRN_ZERO", "RND", "RND_ZERO", "RND_INF", "RND_MIN_INF", "RND_CONV")
OVERFLOWS = ("WRAP", "SAT", "SAT_ZERO", "SAT_SYM")


def proofs() -> list[Proof]:
    """Every proof, in the order of the table."""
    return [*_streams(), *_interleaving(), *_tops(), *_sequencers(), *_engines(), *_casts()]


def _of(bench: Callable[..., Bench], make: Callable[..., Any], *arguments: Any, **options: Any) -> Callable[[], Bench]:
    """A function that makes the block and puts it on the bench; one that can be sent to another process."""
    return partial(_build, bench, make, arguments, options)


def _build(bench: Callable[..., Bench], make: Callable[..., Any], arguments: Any, options: Any) -> Bench:
    return bench(make(*arguments, **options))


def _streams() -> Iterator[Proof]:
    claim = "keeps the stream rule; is a queue"
    for depth in (1, 2, 3, 5):
        for registered in (False, True):
            name = f"Buffer, {depth} beats, {'registered' if registered else 'passing'}"
            yield Proof(name, claim, _of(streams.queue, Buffer, 8, depth, registered, True), 2)
    for depth, registered in ((1, False), (2, False), (2, True)):
        name = f"Buffer of results, {depth} beats, {'registered' if registered else 'passing'}"
        yield Proof(name, claim, _of(streams.queue, Buffer, 8, depth, registered, False), 2)
    for count in (2, 3, 5):
        gather = _of(streams.gather, Gather, 5, count)
        yield Proof(f"Gather, {count} beats", "keeps the stream rule; joins beats in order", gather, 2)
        for eager in (True, False):
            name = f"Spread, {count} steps{'' if eager else ', with a gap'}"
            spread = _of(streams.spread, Spread, 5, count, eager)
            yield Proof(name, "keeps the stream rule; parts beats in order", spread, 2)
    for steps, depth, registered in ((2, 2, False), (3, 2, True), (4, 3, True)):
        build = _of(streams.collect, Collect, steps, 4, depth, registered)
        yield Proof(f"Collect, {steps} steps", "keeps the stream rule; gives whole sequences", build, 2)


def _interleaving() -> Iterator[Proof]:
    for ways, depth in ((2, 2), (3, 2), (2, 3)):
        build = _of(interleaving.deal, Deal, 2, ways, depth)
        yield Proof(f"Deal, {ways} ways, {depth} steps", "keeps the stream rule; no step lost or out of turn", build, 3)
    build = _of(interleaving.deal_in_time, Deal, 1, 2, 2)
    yield Proof("Deal, in time", "no deadlock: a step waits at most 8 cycles", build, 6, control=True)
    for ways, init, beats in ((3, [1, -2], 1), (2, [1, 0, 2, 3], 2), (4, [-3], 1)):
        build = _of(interleaving.ring, StateRing, ways, init, Format(3, 0, True).shape, beats)
        yield Proof(f"StateRing, {ways} ways, {beats} parts", "is one state a sequence", build, 3)


def _tops() -> Iterator[Proof]:
    claim = "keeps the stream rule; frames, errors and layout"
    for name, cell, sequences, beat in (
        ("a result a sequence", "lstm", False, None),
        ("a result a step", "gru", True, None),
        ("an element a beat", "lstm", False, 1),
        ("a sequence a beat", "lstm", False, 9),
    ):
        build = _of(frames.top, designs.top, designs.plan(cell, Fold(1, 1), 1, sequences, beat))
        yield Proof(f"AxiTop, {name}", claim, build, 2)
        build = _of(frames.counted, designs.top, designs.plan(cell, Fold(1, 1), 1, sequences, beat), "count")
        yield Proof(f"AxiTop, {name}, counted", "keeps the stream rule; packets and layout", build, 2)
    for depth in (2, 3, 5):
        yield Proof(f"Packets, {depth} sequences", "is a queue", _of(streams.packets, Packets, depth), 2)


def _sequencers() -> Iterator[Proof]:
    claim = "every token in its cycles; no result lost, no deadlock"
    for name, cell, fold, ways, sequences, number in (
        ("LSTM, reuse 1", "lstm", Fold(1, 1), 1, False, 0),
        ("LSTM, 4 beats", "lstm", Fold(4, 1), 1, False, 0),
        ("LSTM, 2 beats of 6 cycles", "lstm", Fold(2, 6), 1, True, 0),
        ("GRU, reuse 1", "gru", Fold(1, 1), 1, True, 0),
        ("GRU, 2 beats of 3 cycles", "gru", Fold(2, 3), 1, False, 0),
        ("GRU before, 2 beats, 2 segments", "gru_before", Fold(2, 1), 1, False, 0),
        ("GRU before, 4 beats of 2 cycles", "gru_before", Fold(4, 2), 1, True, 0),
        ("simple RNN, 3 cycles", "simple_rnn", Fold(1, 3), 1, False, 0),
        ("Dense behind it", "simple_rnn", Fold(1, 3), 1, False, 1),
        ("LSTM, 3 ways, 3 cycles", "lstm", Fold(1, 3), 3, False, 0),
        ("GRU, 5 ways, reuse 1", "gru", Fold(1, 1), 5, False, 0),
        ("GRU before, 4 ways, 2 beats", "gru_before", Fold(2, 1), 4, False, 0),
        ("LSTM, reuse 1, input of 3 cycles", "lstm", Fold(1, 1, input=3), 1, False, 0),
        ("GRU, 2 beats of 2 cycles, input of 5", "gru", Fold(2, 2, input=5), 1, True, 0),
        ("LSTM, 4 cycles, input of 14", "lstm", Fold(1, 4, input=14), 1, False, 0),
        ("GRU, 3 ways, reuse 1, input of 3 cycles", "gru", Fold(1, 1, input=3), 3, False, 0),
    ):
        made = designs.plan(cell, fold, ways, sequences)
        schedule = made.schedules[number]
        assert schedule is not None
        build = _of(sequencers.layer, designs.layer, made, number)
        # In so many cycles all registers of the pipeline have been written since the induction's arbitrary start.
        yield Proof(f"Layer, {name}", claim, build, schedule.latency + 3, control=True)


def _engines() -> Iterator[Proof]:
    for name, fold, options in (
        ("reuse 1", Fold(1, 1), {}),
        ("3 cycles", Fold(1, 3), {}),
        ("2 beats of 3 cycles", Fold(2, 3), {}),
        ("4 beats of 3 cycles", Fold(4, 3), {}),
        ("2 passes, 2 gates", Fold(2, 6), {"gates": 2}),
        ("weights of 2 steps, reuse 1", Fold(1, 1), {"steps": 2}),
        ("weights of 2 steps, 2 cycles", Fold(1, 2), {"steps": 2}),
        ("weights of 3 steps, 2 beats of 3", Fold(2, 3), {"steps": 3}),
        ("saturating, 3 cycles", Fold(1, 3), {"saturating": True}),
        ("saturating, stride 2, 2 beats of 4", Fold(2, 4), {"saturating": True, "stride": 2}),
    ):
        dot, made = designs.product(fold, **options)
        e = made.engines[dot.name]
        build = _of(engines.engine, designs.engine, dot, made)
        depth = e.ready - e.start + fold.reuse + 2
        yield Proof(f"MatVec, {name}", "counters and sums are those of a naive model", build, depth)


def _casts() -> Iterator[Proof]:
    every = pairs()
    for n, rounding in enumerate(ROUNDINGS):
        for k, overflow in enumerate(OVERFLOWS):
            # A sixth of the pairs for each; neighbours have other sixths.
            chosen = every[(n + k) % 6 :: 6]
            yield cast_proof(rounding, overflow, chosen)


def cast_proof(rounding: str, overflow: str, chosen: list[Any]) -> Proof:
    """The claim that the gateware's cast is the specified one for these pairs of formats."""
    claim = f"is the specified cast, for all inputs of {len(chosen)} pairs of formats"
    build = partial(casts, designs.cast, chosen, rounding, overflow)
    return Proof(f"cast {rounding} {overflow}", claim, build, 1, Method.ALL_INPUTS)
