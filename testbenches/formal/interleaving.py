# SPDX-License-Identifier: Apache-2.0
"""Benches of what interleaving takes: the ring of states, and the dealer of sequences to slots."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Mux, Signal, Value

from .bench import Bench, Inside, opened
from .models import Queue, after, count_ones


def ring(dut: Any) -> Bench:
    """``gateware.state_memory.StateRing`` gives each token what the token ``ways`` places before it has left, or
    initial values."""
    b = Bench()
    size, ways, width = len(dut.init), dut.ways, dut.shape.width
    module = opened(dut)
    # Ports of the proof's own, to tie the memory to the model.
    ports = [module.submodules.vectors.read_port(domain="comb") for _ in range(ways)]
    inside = b.add("dut", module)
    b.m.d.comb += [port.addr.eq(k) for k, port in enumerate(ports)]
    b.own(dut.take, dut.put, dut.ends, *dut.next)
    part = b.register(range(max(dut.beats, 2)), "part_number")
    final = part == dut.beats - 1
    b.m.d.comb += [dut.part.eq(1 << part if dut.beats > 1 else 1), dut.done.eq(dut.put & final)]

    # What the layer sees to: a token's state is written, in parts, before the next token of its sequence is taken.
    open_tokens = b.register(range(ways + 1), "open_tokens")
    b.m.d.sync += open_tokens.eq(open_tokens + dut.take - dut.done)
    b.assume(~dut.take | (open_tokens < ways))
    b.assume(~dut.put | (open_tokens != 0))
    with b.m.If(dut.put):
        b.m.d.sync += part.eq(Mux(final, 0, part + 1))

    mask = (1 << width) - 1
    init = sum((v & mask) << (k * width) for k, v in enumerate(dut.init))
    vectors = [b.register(width * size, f"vector{k}", init=init) for k in range(ways)]
    read, write = b.register(range(ways), "model_read"), b.register(range(ways), "model_write")
    seen, known = b.register(width * size, "seen"), b.register(1, "known")
    with b.m.If(dut.take):
        b.m.d.sync += [seen.eq(Array(vectors)[read]), known.eq(1), read.eq(after(read, ways))]
    share = width * size // dut.beats
    with b.m.If(dut.put):
        for k, vector in enumerate(vectors):
            with b.m.If(write == k):
                for n in range(dut.beats):
                    with b.m.If(part == n):
                        b.m.d.sync += vector[n * share : (n + 1) * share].eq(Cat(*dut.next))
    with b.m.If(dut.done):
        b.m.d.sync += write.eq(after(write, ways))
        for k, vector in enumerate(vectors):
            with b.m.If(dut.ends & (write == k)):
                b.m.d.sync += vector.eq(init)
    b.check("each token finds its state", Cat(*dut.now) == seen, when=known)
    b.goal("all slots are open", open_tokens == ways)
    b.goal("a state is read that was written", dut.take & (Array(vectors)[read] != init))

    b.lemma("places are the model's", (inside["reading"] == read) & (inside["writing"] == write))
    b.lemma("the model is sound", (read < ways) & (write < ways) & (open_tokens <= ways) & (part < dut.beats))
    b.lemma("parts are written of open tokens", (part == 0) | (open_tokens != 0))
    ahead = write + open_tokens
    b.lemma("places are as far apart as tokens are open", read == Mux(ahead >= ways, ahead - ways, ahead))
    for k, (port, vector) in enumerate(zip(ports, vectors, strict=True)):
        begins = inside["begins"][k]
        b.lemma("who begins has initial values", vector == init, when=begins & ~((write == k) & (part != 0)))
        for n in range(dut.beats):
            same = port.data[n * share : (n + 1) * share] == vector[n * share : (n + 1) * share]
            b.lemma("memory and model hold the same", same, when=~begins | ((write == k) & (part > n)))
    return b


def deal(dut: Any, most: int = 0) -> Bench:
    """``gateware.interleaver.Deal`` gives a step of each slot in turn; sequences in order, none lost.

    With ``most``: and a step waits no more cycles than that.
    """
    b = Bench()
    ways, depth = dut.ways, dut.depth
    source = opened(dut)
    # Ports of the proof's own, to tie the memory to the model.
    ports = [source.submodules.steps.read_port(domain="comb") for _ in range(ways * depth)]
    inside = b.add("dut", source)
    b.m.d.comb += [port.addr.eq(k) for k, port in enumerate(ports)]
    valid, payload, ready = b.free(1, "valid"), b.free(dut.bits + 2, "payload"), b.free(1, "ready")
    b.m.d.comb += [dut.i.valid.eq(valid), dut.i.payload.eq(payload), dut.o.ready.eq(ready)]
    b.assume_stream(valid, dut.i.ready, payload)
    b.check_stream(dut.o.valid, ready, dut.o.payload)
    last, abort = payload[dut.bits], payload[dut.bits + 1]
    taken, given = valid & dut.i.ready, dut.o.valid & ready
    # A sequence has at most as many steps as a slot holds: the AXI4-Stream top sees to it.
    step = b.register(range(depth), "step_in")
    b.assume(~abort | last)
    b.assume(last | (step != depth - 1))
    into = b.register(range(ways), "model_into")
    with b.m.If(taken):
        b.m.d.sync += [step.eq(Mux(last, 0, step + 1)), into.eq(Mux(last, after(into, ways), into))]

    # A filler is told from a step by its data; what data there is plays no other part.
    b.assume(~abort | (payload[: dut.bits] != 0))
    out = Value.cast(dut.o.payload)
    filler = out == 3 << dut.bits
    # While a sequence is under way the slots take turns, token by token; else the next sequence starts.
    open_slots = [b.register(1, f"open{k}") for k in range(ways)]
    first, before = b.register(range(ways), "model_first"), b.register(range(ways), "slot_before")
    turns, slot = Cat(*open_slots).any(), b.signal(range(ways), "slot")
    b.m.d.comb += slot.eq(Mux(turns, after(before, ways), first))
    is_open = Array(open_slots)[slot]
    # One more than the slot holds: the step that stands at the output.
    queues = [
        Queue(b, f"slot{k}", dut.bits + 2, depth + 1, taken & (into == k), payload, given & ~filler & (slot == k))
        for k in range(ways)
    ]
    with b.m.If(given):
        b.m.d.sync += before.eq(slot)
        with b.m.If(~filler):
            b.m.d.sync += is_open.eq(~out[dut.bits])
            with b.m.If(~is_open):
                b.m.d.sync += first.eq(after(first, ways))
    front, count = Array(q.front for q in queues)[slot], Array(q.count for q in queues)[slot]
    steps = dut.o.valid & ~filler
    b.check("a slot's steps come in order, and none that did not come in", (count != 0) & (out == front), when=steps)
    b.check("a slot whose sequence is under way gives its next step", ~filler, when=dut.o.valid & is_open)
    b.check("sequences start in the order in which they came", slot == first, when=steps & ~is_open)
    _deal_lemmas(b, dut, inside, ports, queues, open_slots, first=first, before=before, into=into, step=step)
    b.goal("two sequences under way", open_slots[0] & open_slots[1])
    b.goal("a filler between steps", given & filler & turns)
    if most:
        starts = given & ~filler & ~is_open
        _sequence_lemmas(b, dut, queues, open_slots, first, into, step != 0, taken & (step == 0), starts)
        _progress(b, most, valid & ~taken & ready, dut.o.valid | ~valid | ~ready)
    return b


def deal_in_time(dut: Any) -> Bench:
    """The same, and a step waits no longer than all slots' steps, a turn more, and two cycles of latency take."""
    return deal(dut, (dut.ways + 1) * dut.depth + 2)


def _progress(b: Bench, most: int, waiting: Value, goes_on: Value) -> None:
    """No deadlock, while tokens are taken at the output."""
    waited = b.register(range(most + 2), "waited_cycles")
    b.m.d.sync += waited.eq(Mux(waiting, Mux(waited > most, waited, waited + 1), 0))
    b.check(f"a step waits at most {most} cycles", waited + waiting <= most)
    idle = b.register(range(4), "idle_cycles")
    b.m.d.sync += idle.eq(Mux(goes_on, 0, Mux(idle == 3, 3, idle + 1)))
    b.check("while steps come in, tokens go out", idle < 3)
    b.goal("a step waits", waited != 0)


def _sequence_lemmas(
    b: Bench, dut: Any, queues: list[Queue], open_slots: list[Signal], first: Value, into: Value, partly: Value,
    begins: Value, starts: Value,
) -> None:  # fmt: skip
    """Where each sequence is: those that have not started stand in the slots from ``first`` on, the last in part."""
    ways, depth = dut.ways, dut.depth
    most = ways * (depth + 1)
    waiting = b.register(range(most + 1), "sequences_waiting")
    b.m.d.sync += waiting.eq(waiting + begins - starts)
    b.lemma("no more sequences than steps", waiting <= most)
    for number in range(most + 1):
        here = waiting == number
        for k in range(ways):
            slot_first = first == k
            b.lemma("the slot being filled", into == (k + number - partly) % ways, when=here & slot_first)
            for n in range(ways):
                own = sum((k + u) % ways == n for u in range(number))
                ends = count_ones([queues[n].word(j)[dut.bits] & (queues[n].count > j) for j in range(depth + 1)])
                right = ends + (partly & (into == n)) == own + open_slots[n]
                b.lemma("as many ends of sequences as sequences", right, when=here & slot_first)
    for n, queue in enumerate(queues):
        for j in range(depth + 1):
            end = queue.word(j)[dut.bits]
            b.lemma("sequences are whole", end | (partly & (into == n)), when=queue.count == j + 1)


def _deal_lemmas(
    b: Bench, dut: Any, inside: Inside, ports: list[Any], queues: list[Queue], open_slots: list[Signal], **model: Signal
) -> None:
    """What the induction must know of the dealer's state."""
    first, before, into, step = (model[name] for name in ("first", "before", "into", "step"))
    ways, depth = dut.ways, dut.depth
    stands, filler, given, turn = (inside[name] for name in ("stands", "filler", "given", "turn"))
    out, lasts = Value.cast(dut.o.payload), Value.cast(dut.o.payload)[dut.bits]
    real = stands & ~filler
    b.lemma("sequences go to slots in turn", (inside["into"] == into) & (into < ways) & (first < ways) & (step < depth))
    b.lemma("slots are numbers of slots", (given < ways) & (turn < ways) & (before < ways))
    active = [inside[f"active{k}"] for k in range(ways)]
    turns = Cat(*open_slots).any()
    b.lemma("the slot at the output is the model's", given == after(before, ways), when=stands & turns)
    b.lemma("a sequence starts in the next slot", given == first, when=real & ~Array(open_slots)[given])
    b.lemma("no filler for a sequence under way", ~Array(open_slots)[given], when=stands & filler)
    some_active = Cat(*active).any()
    b.lemma("the turn goes on", turn == after(given, ways), when=stands & some_active)
    b.lemma("the turn waits", turn == after(before, ways), when=~stands & some_active)
    b.lemma("the step at the output is no filler", (out == 3 << dut.bits) == filler, when=stands)
    starts = real & ~Array(open_slots)[given]
    b.lemma("the next to start", inside["first"] == Mux(starts, after(first, ways), first))
    for k in range(ways):
        here = real & (given == k)
        filled, oldest, newest = (inside[f"{name}{k}"] for name in ("filled", "oldest", "newest"))
        b.lemma("as many steps as in the model", queues[k].count == filled + here)
        ahead = oldest + filled
        wrapped = Mux(ahead >= depth, ahead - depth, ahead)
        b.lemma("places are sound", (filled <= depth) & (oldest < depth) & (newest < depth) & (newest == wrapped))
        b.lemma("a slot is active while its sequence is under way", active[k] == open_slots[k], when=~here)
        b.lemma("a slot is active until its last step stands", active[k] | lasts, when=here)
        queues[k].lemma()
        for j in range(depth + 1):
            b.lemma("steps are no fillers", queues[k].word(j) != 3 << dut.bits, when=queues[k].count > j)
        for j in range(depth):
            place = oldest + j
            row = Mux(place >= depth, place - depth, place)
            word = Array(port.data for port in ports[k * depth : (k + 1) * depth])[row]
            b.lemma(
                "memory and model hold the same",
                Value.cast(word) == Mux(here, queues[k].word(j + 1), queues[k].word(j)),
                when=filled > j,
            )
