# SPDX-License-Identifier: Apache-2.0
"""Benches of the stream blocks: each keeps the rule of AXI-Stream and equals a naive model."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Mux, Value

from .bench import Bench, opened
from .models import Queue, after


def queue(dut: Any) -> Bench:
    """``gateware.stream.Buffer`` is a queue, as long as nobody pushes into a full one, not even while a beat leaves
    it."""
    b = Bench()
    inside = b.add("dut", dut)
    push, beat, ready = b.free(1, "push"), b.free(dut.bits + 2, "beat"), b.free(1, "ready")
    b.m.d.comb += [dut.push.eq(push), dut.beat.eq(beat), dut.o.ready.eq(ready)]
    valid, payload = dut.o.valid, Value.cast(dut.o.payload)
    model = Queue(b, "model", dut.bits + 2, dut.depth, push, beat, valid & ready)
    b.assume(~push | (model.count < dut.depth))
    if not dut.steps:
        b.assume(beat[dut.bits :] == 1)
    some = model.count != 0
    b.check("valid when there is a beat", valid == (some if dut.registered else some | push))
    b.check("the oldest beat is at the output", payload == Mux(some, model.front, beat), when=valid)
    b.check_stream(valid, ready, payload)
    b.goal("full", model.count == dut.depth)
    b.lemma("as many beats as in the model", inside["filled"] == model.count)
    for k in range(dut.depth):
        kept = Value.cast(inside[f"entry{k}"])
        b.lemma("every beat is the model's", kept == model.word(k)[: len(kept)], when=model.count > k)
        if not dut.steps:
            b.lemma("every beat is a whole result", model.word(k)[dut.bits :] == 1, when=model.count > k)
    model.lemma()
    return b


def _source(b: Bench, dut: Any) -> tuple[Value, Value, Value, Value, Value]:
    """A free stream into a block, and a free sink behind it: data, last, abort of the input; taken; given."""
    bits = len(Value.cast(dut.i.payload)) - 2
    valid, payload, ready = b.free(1, "valid"), b.free(bits + 2, "payload"), b.free(1, "ready")
    b.m.d.comb += [dut.i.valid.eq(valid), dut.i.payload.eq(payload), dut.o.ready.eq(ready)]
    b.assume_stream(valid, dut.i.ready, payload)
    b.check_stream(dut.o.valid, ready, dut.o.payload)
    data, last, abort = payload[:bits], payload[bits], payload[bits + 1]
    b.assume(~abort | last)
    return data, last, abort, valid & dut.i.ready, dut.o.valid & ready


def gather(dut: Any) -> Bench:
    """``gateware.beats.Gather`` gives what has come in since the last vector, low first, with its last beat."""
    b = Bench()
    inside = b.add("dut", dut)
    data, last, abort, taken, given = _source(b, dut)
    number = b.register(range(dut.count), "number")
    parts = [b.register(dut.bits, f"got{k}", reset=False) for k in range(dut.count - 1)]
    full, ends = number == dut.count - 1, b.signal(1, "ends")
    b.m.d.comb += ends.eq(full | last)
    with b.m.If(taken):
        b.m.d.sync += number.eq(Mux(ends, 0, number + 1))
        b.m.d.sync += Array(parts)[number].eq(data)
    o = dut.o.payload
    b.check("a vector leaves as its last beat comes in", given == (taken & ends))
    b.check("beats before the last are always taken", dut.i.ready, when=~ends)
    b.check("the last beat is taken when the vector is", dut.i.ready == dut.o.ready, when=dut.i.valid & ends)
    b.check("a vector is its beats, the first low", o.data == Cat(*parts, data), when=dut.o.valid & full)
    b.check("last and abort are those of the last beat", (o.last == last) & (o.abort == abort), when=dut.o.valid)
    b.goal("a full vector", given & full)
    b.goal("a broken vector", given & ~full)
    b.lemma("the place is the model's", (inside["number"] == number) & (number < dut.count))
    for k, part in enumerate(parts):
        b.lemma("the parts are the model's", inside[f"part{k}"] == part, when=number > k)
    return b


def spread(dut: Any) -> Bench:
    """``gateware.beats.Spread`` gives the parts of each beat one after another, low first, before it takes the next."""
    b = Bench()
    inside = b.add("dut", dut)
    data, _, abort, taken, given = _source(b, dut)
    # The model keeps the beat as it came and counts the parts that have left.
    beat, broken = b.register(len(data), "beat_kept", reset=False), b.register(1, "abort_kept", reset=False)
    busy, number = b.register(1, "busy"), b.register(range(dut.count), "number")
    final = number == dut.count - 1
    with b.m.If(given):
        b.m.d.sync += [number.eq(after(number, dut.count)), busy.eq(~final)]
    with b.m.If(taken):
        b.m.d.sync += [beat.eq(data), broken.eq(abort), busy.eq(1)]
    o = dut.o.payload
    part = Array(beat[k * dut.bits : (k + 1) * dut.bits] for k in range(dut.count))[number]
    b.check("there is a part while some have not left", dut.o.valid == busy)
    b.check("the parts come in order", o.data == part, when=dut.o.valid)
    b.check("last with the last part", o.last == final, when=dut.o.valid)
    b.check("abort with the last part of a broken sequence", o.abort == (final & broken), when=dut.o.valid)
    if dut.eager:
        b.check("the next beat is taken with the last part, not before", dut.i.ready == (~busy | (given & final)))
        b.goal("the parts of two beats without a gap", given & final & taken)
    else:
        b.check("the next beat is taken after the last part", dut.i.ready == ~busy)
    b.lemma("as many parts left as in the model", inside["left"] == Mux(busy, dut.count - number, 0))
    b.lemma("the model is sound", (number < dut.count) & (busy | (number == 0)))
    for k in range(dut.count):
        rest = beat[k * dut.bits :]
        kept = inside["steps"][: len(rest)]
        b.lemma("the parts that are left", (kept == rest) & (inside["broken"] == broken), when=busy & (number == k))
    return b


def collect(dut: Any) -> Bench:
    """``gateware.network.Collect`` gives each whole sequence as one beat, and nothing of a broken one."""
    b = Bench()
    inside = b.add("dut", dut)
    data, last, abort, taken, given = _source(b, dut)
    step = b.register(range(dut.steps), "steps_in")
    parts = [b.register(dut.bits, f"got{k}", reset=False) for k in range(dut.steps - 1)]
    # What the AXI4-Stream top sees to: without abort a sequence has its length.
    b.assume(abort | (last == (step == dut.steps - 1)))
    with b.m.If(taken):
        b.m.d.sync += step.eq(Mux(last, 0, step + 1))
        b.m.d.sync += Array(parts)[step].eq(data)
    whole = taken & last & ~abort
    results = Queue(b, "results", dut.steps * dut.bits, dut.depth, whole, Cat(*parts, data), given)
    some = results.count != 0
    o = dut.o.payload
    b.check("steps are taken while there is room", dut.i.ready == (results.count < dut.depth))
    b.check("a result when there is one", dut.o.valid == (some if dut.registered else some | whole))
    b.check("results are whole sequences in order", o.data == Mux(some, results.front, Cat(*parts, data)), dut.o.valid)
    b.check("every result is a last, unbroken one", o.last & ~o.abort, when=dut.o.valid)
    b.goal("full", results.count == dut.depth)
    broke = b.register(1, "broke")
    with b.m.If(taken & last):
        b.m.d.sync += broke.eq(abort)
    b.goal("a whole sequence after a broken one", broke & whole)
    b.lemma("room and results make the depth", inside["room"] == dut.depth - results.count)
    b.lemma("as many results as in the model", inside["filled"] == results.count)
    b.lemma("the step is the model's", (inside["step"] == step) & (step < dut.steps))
    for k, part in enumerate(parts):
        b.lemma("the parts are the model's", inside[f"part{k}"] == part, when=step > k)
    for k in range(dut.depth):
        b.lemma("every result is the model's", inside[f"entry{k}"] == results.word(k), when=results.count > k)
    results.lemma()
    return b


def packets(dut: Any) -> Bench:
    """``gateware.packets.Packets`` is a queue of bits, as long as nobody puts into a full or takes out of an empty
    one."""
    b = Bench()
    depth = dut.depth
    module = opened(dut)
    # Ports of the proof's own, to tie the memory to the model.
    ports = [module.submodules.bits.read_port(domain="comb") for _ in range(depth)]
    inside = b.add("dut", module)
    b.m.d.comb += [port.addr.eq(k) for k, port in enumerate(ports)]
    b.own(dut.put, dut.ends, dut.get)
    model = Queue(b, "model", 1, depth, dut.put, dut.ends, dut.get)
    b.assume(~dut.put | (model.count != depth))
    b.assume(~dut.get | (model.count != 0))
    b.check("full when there is no room", dut.full == (model.count == depth))
    b.check("the oldest bit is in front", dut.front == model.front, when=model.count != 0)
    b.goal("full", dut.full)
    b.goal("a bit comes as another leaves", dut.put & dut.get & dut.front)
    b.lemma("as many bits as in the model", inside["count"] == model.count)
    newest, oldest = inside["newest"], inside["oldest"]
    b.lemma("places are sound", (oldest < depth) & (newest == _around(oldest + model.count, depth)))
    model.lemma()
    for k in range(depth):
        bit = Array(port.data for port in ports)[_around(oldest + k, depth)]
        b.lemma("memory and model hold the same", bit == model.word(k), when=model.count > k)
    return b


def _around(place: Value, count: int) -> Value:
    return Mux(place >= count, place - count, place)
