# SPDX-License-Identifier: Apache-2.0
"""The bench of the AXI4-Stream top: whatever TLAST does, the network sees whole or broken sequences."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Mux, Value

from .bench import Bench, Inside, opened
from .models import Queue


def top(dut: Any) -> Bench:
    """``gateware.axi.AxiTop`` around any network: frames, ``frame_error``, the layout of beats.

    In the network's place must be a component without content: the bench drives its outputs, as freely as the rules of
    its streams allow.
    """
    b, inside = _around(dut)
    network = dut.network
    i, o = network.i.payload, network.o.payload

    # All that counts is how many beats there have been since the last TLAST.
    count = b.register(range(dut.beats + 1), "since_tlast")
    accepted, over, final = dut.s_axis_tvalid & dut.s_axis_tready, count == dut.beats, count == dut.beats - 1
    with b.m.If(accepted):
        b.m.d.sync += count.eq(Mux(dut.s_axis_tlast, 0, Mux(over, count, count + 1)))
    wrong = dut.s_axis_tlast != final
    b.check(
        "beats of a sequence that is too long are taken and dropped", dut.s_axis_tready & ~network.i.valid, when=over
    )
    through = (dut.s_axis_tready == network.i.ready) & (network.i.valid == dut.s_axis_tvalid)
    b.check("all other beats go to the network when it takes them", through, when=~over)
    b.check("the network's sequences end in time", i.last == (dut.s_axis_tlast | final), when=network.i.valid)
    b.check("a sequence of the wrong length is broken", i.abort == wrong, when=network.i.valid)
    b.check("an error in the cycle after a wrong TLAST", dut.frame_error == b.later(accepted & ~over & wrong, "due"))
    b.check("results have the network's TLAST", dut.m_axis_tlast == o.last, when=network.o.valid & ~o.abort)
    b.goal("a whole sequence after one that was too long", _after_too_long(b, accepted, over, final & dut.s_axis_tlast))
    b.goal("a sequence that is too short", accepted & dut.s_axis_tlast & ~final & ~over if dut.beats > 1 else Const(1))

    b.lemma("beats are counted as in the model", inside["beat"] == Mux(over, 0, count), when=count <= dut.beats)
    b.lemma("what is dropped", (inside["drop"] == over) & (count <= dut.beats))
    return b


def counted(dut: Any) -> Bench:
    """The same with framing count: sequences by the number of beats, packets by TLAST.

    ``gateware.packets.Packets`` is a block of its own, proven to be a queue: in its place, too, must be one without
    content.
    """
    b, inside = _around(dut)
    network, packets = dut.network, dut.packets
    i, o = network.i.payload, network.o.payload
    b.own(packets.full, packets.front)

    # A sequence is so many beats since reset; a packet ended in it if any of them had TLAST.
    beat, ended = b.register(range(max(dut.beats, 2)), "beats_in"), b.register(1, "packet_ended")
    accepted, final = dut.s_axis_tvalid & dut.s_axis_tready, beat == dut.beats - 1
    ends = ended | dut.s_axis_tlast
    with b.m.If(accepted):
        b.m.d.sync += [beat.eq(Mux(final, 0, beat + 1)), ended.eq(ends & ~final)]
    whole, result = accepted & final, network.o.valid & network.o.ready & o.last
    model = Queue(b, "sequences", 1, packets.depth, whole, ends, result)
    b.assume(packets.full == (model.count == packets.depth))
    b.assume((packets.front == model.front) | (model.count == 0))
    # What a network does: a result for each sequence that is in, and nothing of broken ones.
    b.assume(~network.o.valid | ~o.abort)
    b.assume(~network.o.valid | ~o.last | (model.count != 0))
    room = ~final | (model.count != packets.depth)
    through = (dut.s_axis_tready == (network.i.ready & room)) & (network.i.valid == (dut.s_axis_tvalid & room))
    b.check("beats go to the network when it takes them, and there is room for the sequence", through)
    b.check("the network's sequences end with their last beat", i.last == final, when=network.i.valid)
    b.check("no sequence is broken", ~i.abort & ~dut.frame_error)
    b.check("a sequence is remembered with its last beat", (packets.put == whole) & ~(whole & packets.full))
    b.check("and whether a packet ended in it", packets.ends == ends, when=whole)
    b.check("until its last result leaves", packets.get == result)
    tlast = o.last & model.front
    b.check(
        "TLAST with the last result of a sequence in which a packet ended",
        dut.m_axis_tlast == tlast,
        when=dut.m_axis_tvalid,
    )
    b.goal("full", model.count == packets.depth)
    if dut.beats > 1:
        before = b.register(1, "ended_before")
        with b.m.If(accepted & ~final & dut.s_axis_tlast):
            b.m.d.sync += before.eq(1)
        b.goal("a packet that ends before its sequence", result & dut.m_axis_tlast & before)
    b.goal("a result without TLAST", result & ~dut.m_axis_tlast)
    b.lemma("beats are counted as in the model", (inside["beat"] == beat) & (beat < dut.beats))
    b.lemma("whether a packet ended", inside["ended"] == ended)
    model.lemma()
    return b


def _around(dut: Any) -> tuple[Bench, Inside]:
    """What holds whatever ends a sequence: the rule of the streams, the layout of beats, no result of broken ones."""
    b = Bench()
    network = dut.network
    module = opened(dut)
    # The top's clock is the bench's, too, which therefore has to define it.
    b.m.domains += module._domains.pop("sync")
    inside = b.add("dut", module)
    b.own(dut.aclk, dut.aresetn, dut.s_axis_tdata, dut.s_axis_tvalid, dut.s_axis_tlast, dut.m_axis_tready)
    b.own(network.i.ready, network.o.valid, network.o.payload)
    i, o = network.i.payload, network.o.payload
    b.assume_stream(dut.s_axis_tvalid, dut.s_axis_tready, Cat(dut.s_axis_tdata, dut.s_axis_tlast))
    b.assume_stream(network.o.valid, network.o.ready, o)
    b.check_stream(dut.m_axis_tvalid, dut.m_axis_tready, Cat(dut.m_axis_tdata, dut.m_axis_tlast))
    b.check_stream(network.i.valid, network.i.ready, i)
    wide, width = len(dut.s_axis_tdata) // dut.inputs, dut.in_type.width
    for k in range(dut.inputs):
        element = i.data[k * width : (k + 1) * width]
        b.check("elements are the low bits of their strides", element == dut.s_axis_tdata[k * wide : k * wide + width])
    b.check(
        "results of broken sequences are dropped", network.o.ready & ~dut.m_axis_tvalid, when=network.o.valid & o.abort
    )
    passed = (dut.m_axis_tvalid == network.o.valid) & (network.o.ready == dut.m_axis_tready)
    b.check("all other results leave when they are taken", passed, when=~o.abort)
    wide, width = len(dut.m_axis_tdata) // dut.outputs, dut.out_type.width
    for k in range(dut.outputs):
        element = o.data[k * width : (k + 1) * width]
        number: Value = element.as_signed() if dut.out_type.signed else element
        out = dut.m_axis_tdata[k * wide : (k + 1) * wide]
        extended = out.as_signed() == number if dut.out_type.signed else out == number
        b.check("results are extended to their strides", extended)
    return b, inside


def _after_too_long(b: Bench, accepted: Value, over: Value, whole: Value) -> Value:
    before = b.register(1, "too_long_before")
    with b.m.If(over):
        b.m.d.sync += before.eq(1)
    return before & accepted & ~over & whole
