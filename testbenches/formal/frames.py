# SPDX-License-Identifier: Apache-2.0
"""The bench of the AXI4-Stream top: whatever TLAST does, the network sees whole or broken sequences."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Mux, Value

from testbenches.formal.bench import Bench, opened


def top(dut: Any) -> Bench:
    """``rtl.axi.AxiTop`` around any network: frames, ``frame_error``, the layout of beats.

    In the network's place must be a component without content: the bench drives its outputs, as freely as the rules of
    its streams allow.
    """
    b = Bench()
    network = dut.network
    module = opened(dut)
    # The top's clock is the bench's, too, which therefore has to define it.
    b.m.domains += module._domains.pop("sync")
    inside = b.add("dut", module)
    b.own(dut.aclk, dut.aresetn, dut.s_tdata, dut.s_tvalid, dut.s_tlast, dut.m_tready)
    b.own(network.i.ready, network.o.valid, network.o.payload)
    i, o = network.i.payload, network.o.payload
    b.assume_stream(dut.s_tvalid, dut.s_tready, Cat(dut.s_tdata, dut.s_tlast))
    b.assume_stream(network.o.valid, network.o.ready, o)
    b.check_stream(dut.m_tvalid, dut.m_tready, Cat(dut.m_tdata, dut.m_tlast))
    b.check_stream(network.i.valid, network.i.ready, i)

    # All that counts is how many beats there have been since the last TLAST.
    count = b.register(range(dut.beats + 1), "since_tlast")
    accepted, over, final = dut.s_tvalid & dut.s_tready, count == dut.beats, count == dut.beats - 1
    with b.m.If(accepted):
        b.m.d.sync += count.eq(Mux(dut.s_tlast, 0, Mux(over, count, count + 1)))
    wrong = dut.s_tlast != final
    b.check("beats of a sequence that is too long are taken and dropped", dut.s_tready & ~network.i.valid, when=over)
    through = (dut.s_tready == network.i.ready) & (network.i.valid == dut.s_tvalid)
    b.check("all other beats go to the network when it takes them", through, when=~over)
    b.check("the network's sequences end in time", i.last == (dut.s_tlast | final), when=network.i.valid)
    b.check("a sequence of the wrong length is broken", i.abort == wrong, when=network.i.valid)
    b.check("an error in the cycle after a wrong TLAST", dut.frame_error == b.later(accepted & ~over & wrong, "due"))
    b.goal("a whole sequence after one that was too long", _after_too_long(b, accepted, over, final & dut.s_tlast))
    b.goal("a sequence that is too short", accepted & dut.s_tlast & ~final & ~over if dut.beats > 1 else Const(1))

    wide, width = len(dut.s_tdata) // dut.inputs, dut.in_type.width
    for k in range(dut.inputs):
        element = i.data[k * width : (k + 1) * width]
        b.check("elements are the low bits of their strides", element == dut.s_tdata[k * wide : k * wide + width])
    b.check("results of broken sequences are dropped", network.o.ready & ~dut.m_tvalid, when=network.o.valid & o.abort)
    passed = (dut.m_tvalid == network.o.valid) & (network.o.ready == dut.m_tready) & (dut.m_tlast == o.last)
    b.check("all other results leave when they are taken", passed, when=~o.abort)
    wide, width = len(dut.m_tdata) // dut.outputs, dut.out_type.width
    for k in range(dut.outputs):
        element = o.data[k * width : (k + 1) * width]
        number: Value = element.as_signed() if dut.out_type.signed else element
        out = dut.m_tdata[k * wide : (k + 1) * wide]
        extended = out.as_signed() == number if dut.out_type.signed else out == number
        b.check("results are extended to their strides", extended)

    b.lemma("beats are counted as in the model", inside["beat"] == Mux(over, 0, count), when=count <= dut.beats)
    b.lemma("what is dropped", (inside["drop"] == over) & (count <= dut.beats))
    return b


def _after_too_long(b: Bench, accepted: Value, over: Value, whole: Value) -> Value:
    before = b.register(1, "too_long_before")
    with b.m.If(over):
        b.m.d.sync += before.eq(1)
    return before & accepted & ~over & whole
