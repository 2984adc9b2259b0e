# SPDX-License-Identifier: Apache-2.0
"""Blocks with a mistake put into their text: what the proofs must refute to be worth something."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from unittest.mock import patch

from rtl.plan.folds import Fold

from ..errors import CheckError
from . import designs, engines, frames, interleaving, proofs, sequencers, streams
from .bench import Bench
from .casts import Format, pairs
from .prover import Method, Proof


@contextmanager
def mutated(target: str, old: str, new: str) -> Iterator[None]:
    """While it lasts, ``target`` (a module's class or function) has ``new`` for the one ``old`` in its text."""
    place, _, name = target.rpartition(".")
    module = import_module(place)
    thing = getattr(module, name)
    source = textwrap.dedent(inspect.getsource(thing))
    if source.count(old) != 1:
        raise CheckError(f"{target}: {old!r} must stand in it once, not {source.count(old)} times")
    names = dict(vars(import_module(thing.__module__)))
    exec("from __future__ import annotations\n" + source.replace(old, new), names)
    with patch.object(module, name, names[name]):
        yield


#: What is wrong; where; the text and the mistake for it; the bench, by name; cycles from reset in which it must show.
_MUTANTS = (
    ("a beat pushed while one leaves is dropped", "rtl.gateware.stream.Buffer", "filled == k + pop", "filled == k",
     "buffer", 8),
    ("valid waits for ready", "rtl.gateware.stream.Buffer", "valid.eq(filled != 0)",
     "valid.eq((filled != 0) & self.o.ready)",
     "buffer", 8),
    ("parts are swapped", "rtl.gateware.beats.Gather", "Cat(*parts, self.i.payload.data)",
     "Cat(self.i.payload.data, *parts)",
     "gather", 8),
    ("a broken vector leaves its parts behind", "rtl.gateware.beats.Gather", "Mux(ends, 0, number + 1)",
     "Mux(number == self.count - 1, 0, number + 1)", "gather", 8),
    ("parts leave high first", "rtl.gateware.beats.Spread", "steps.eq(steps[self.bits :])",
     "steps.eq(steps << self.bits)", "spread", 8),
    ("the next beat is taken too early", "rtl.gateware.beats.Spread", "(left == 1) & give", "left == 1", "spread", 8),
    ("a broken sequence gives a result", "rtl.gateware.network.Collect", "self.i.payload.last & ~self.i.payload.abort",
     "self.i.payload.last", "collect", 8),
    ("room is not spoken for", "rtl.gateware.network.Collect", "room - buffer.push +", "room +", "collect", 8),
    ("a slot's turn is skipped", "rtl.gateware.interleaver.Deal", "~active[turn] & some", "some", "deal", 10),
    ("a sequence starts out of order", "rtl.gateware.interleaver.Deal", "(active[turn] | (turn == first))", "1",
     "deal", 10),
    ("a state is not cleared after the last step", "rtl.gateware.state_memory.StateRing", "eq(self.ends)", "eq(0)",
     "ring", 10),
    ("a state of another sequence", "rtl.gateware.state_memory.StateRing", "reading.eq(after(reading, self.ways))",
     "reading.eq(after(after(reading, self.ways), self.ways))", "ring", 10),
    ("no error without TLAST", "rtl.gateware.axi.AxiTop", "take & (early | missing)", "take & early", "top", 10),
    ("results of broken sequences leave", "rtl.gateware.axi.AxiTop", "network.o.valid & ~network.o.payload.abort",
     "network.o.valid", "top", 10),
    ("what follows a missing TLAST is not dropped", "rtl.gateware.axi.AxiTop", "drop.eq(1)", "drop.eq(0)", "top", 10),
    ("TLAST inside a sequence is lost", "rtl.gateware.axi.AxiTop", "~final & (ended | self.s_axis_tlast)", "0",
     "counted", 10),
    ("a packet ends twice", "rtl.gateware.axi.AxiTop", "~final & (ended | self.s_axis_tlast)",
     "ended | self.s_axis_tlast", "counted", 10),
    ("TLAST ends a sequence", "rtl.gateware.axi.AxiTop", "payload.last.eq(final)",
     "payload.last.eq(final | self.s_axis_tlast)",
     "counted", 10),
    ("TLAST with each result", "rtl.gateware.axi.AxiTop", "payload.last & packets.front", "payload.last", "counted",
     10),
    ("a sequence more than there is room for", "rtl.gateware.axi.AxiTop", "~(final & packets.full)", "1", "counted",
     30),
    ("the bit of another sequence", "rtl.gateware.packets.Packets", "(oldest, self.get)", "(oldest, self.put)",
     "packets", 8),
    ("room is forgotten", "rtl.gateware.packets.Packets", "+ self.put - self.get", "+ self.put", "packets", 8),
    ("a token too early", "rtl.gateware.layer._Control", "plan.interval - 1", "plan.interval - 2", "layer", 20),
    ("room is given back twice", "rtl.gateware.layer._Control", "+ self.buffer.pop)", "+ 2 * self.buffer.pop)", "layer",
     50),
    ("room is lost when a result leaves as a token comes", "rtl.gateware.layer._Control", "+ self.buffer.pop)",
     "+ (self.buffer.pop & ~take))", "layer", 60),
    ("a result a cycle late", "rtl.gateware.layer._Control", "cycle = plan.result", "cycle = plan.result + 1",
     "layer",
     20),
    ("a beat too few", "rtl.gateware.layer.Phase", "m.If(self.beat == fold.beats - 1)",
     "m.If(self.beat == fold.beats - 2)",
     "layer", 20),
    ("a sum a product too short", "rtl.gateware.matvec._Slots", "self.step == e.depth - 1",
     "self.step == e.depth - 2", "engine",
     16),
    ("weights a slot late", "rtl.gateware.matvec._Slots", "Mux(restart, 0, self.address + 1)", "self.address + 1",
     "engine", 16),
    ("a sum goes on from the last", "testbenches.formal.designs.MatVec", "Mux(slot.opens(time), begin, total)", "total",
     "engine", 16),
    ("TRN for RND", "rtl.gateware.fixed.split", "Round.RND: guard,", "Round.RND: Const(0, 1),", "RND SAT", 1),
    ("ties to odd", "rtl.gateware.fixed.split", "(sticky | bit(shift))", "(sticky | ~bit(shift))", "RND_CONV WRAP", 1),
    ("the sticky bit is lost", "rtl.gateware.fixed.split", "Round.RND_MIN_INF: guard & sticky",
     "Round.RND_MIN_INF: guard & 0",
     "RND_MIN_INF SAT_ZERO", 1),
    ("WRAP for SAT", "rtl.gateware.fixed.limited", "overflow is Overflow.WRAP",
     "overflow in (Overflow.WRAP, Overflow.SAT)",
     "RND SAT", 1),
    ("SAT for SAT_ZERO", "rtl.gateware.fixed.limited", "overflow is Overflow.SAT_ZERO", "overflow is None",
     "TRN SAT_ZERO", 1),
    ("saturation one too late", "rtl.gateware.fixed._above", "value[k:-1].any()", "value[k + 1 : -1].any()",
     "TRN SAT", 1),
)  # fmt: skip


def mutants() -> list[Proof]:
    """A proof for every mistake, that must be refuted."""
    return [_mutant(*mutant) for mutant in _MUTANTS]


def _mutant(wrong: str, target: str, old: str, new: str, bench: str, depth: int) -> Proof:
    build = partial(_build, target, old, new, bench)
    method = Method.ALL_INPUTS if depth == 1 else Method.BOUNDED
    return Proof(target.removeprefix("rtl."), wrong, build, depth, method, control=bench == "layer")


def _build(target: str, old: str, new: str, bench: str) -> Bench:
    with mutated(target, old, new):
        return _bench(bench)


def _bench(name: str) -> Bench:
    """The bench of that name, around blocks as their modules have them now."""
    if " " in name:
        rounding, overflow = name.split()
        return proofs.cast_proof(rounding, overflow, pairs()[::9]).build()
    stream, convert, network = (import_module(f"rtl.gateware.{part}") for part in ("stream", "beats", "network"))
    if name == "buffer":
        return streams.queue(stream.Buffer(8, 3, True, True))
    if name == "gather":
        return streams.gather(convert.Gather(5, 3))
    if name == "spread":
        return streams.spread(convert.Spread(5, 3, True))
    if name == "collect":
        return streams.collect(network.Collect(3, 5, 2, True))
    if name == "deal":
        return interleaving.deal(import_module("rtl.gateware.interleaver").Deal(2, 3, 2))
    if name == "ring":
        return interleaving.ring(
            import_module("rtl.gateware.state_memory").StateRing(3, [1, -2], Format(3, 0, True).shape, 1)
        )
    if name == "engine":
        return engines.engine(designs.engine(*designs.product(Fold(2, 3))))
    if name == "packets":
        return streams.packets(import_module("rtl.gateware.packets").Packets(3))
    made = designs.plan("lstm", Fold(2, 1))
    if name == "top":
        return frames.top(designs.top(made))
    if name == "counted":
        return frames.counted(designs.top(made, "count"))
    assert name == "layer"
    return sequencers.layer(designs.layer(made))
