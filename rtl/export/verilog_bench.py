# SPDX-License-Identifier: Apache-2.0
"""A self-checking testbench in plain Verilog-2005, for any simulator, with its golden vectors as text."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Golden sequences that the testbench runs, twice each.
SEQUENCES = 32

_BENCH = Template("""\
// Holds $top against golden vectors: bits, order and TLAST at full rate and under random stalls, and the latency.
// Verilog-2005. It reads inputs.hex and expected.hex from the folder in which it runs, and says PASS or FAIL.
`timescale 1ns / 1ps
`default_nettype none

module ${top}_tb;
    parameter SEQUENCES = $sequences;
    localparam IN_BEATS = $in_beats, IN_BITS = $in_bits, OUT_BEATS = $out_beats, OUT_BITS = $out_bits;
    localparam LATENCY = $latency, TIMEOUT = $timeout;
    localparam SENT = SEQUENCES * IN_BEATS, EXPECTED = SEQUENCES * OUT_BEATS;

    reg [IN_BITS-1:0] inputs [0:SENT-1];
    reg [OUT_BITS-1:0] expected [0:EXPECTED-1];
    initial begin
        $$readmemh("inputs.hex", inputs);
        $$readmemh("expected.hex", expected);
    end

    reg clock = 0;
    always #$half clock = !clock;

    reg resetn = 0, stall = 0, in_valid = 0, out_ready = 0, answered = 0, done = 0;
    reg [31:0] random = 32'h1, cycle = 0, sent = 0, received = 0, quiet = 0, first_in = 0;
    wire in_ready, out_valid, out_last, frame_error;
    wire [OUT_BITS-1:0] out_data;

    $top dut (
        .$clock(clock), .$reset(resetn), .frame_error(frame_error),
        .${s}_tdata(inputs[sent < SENT ? sent : 0]), .${s}_tvalid(in_valid), .${s}_tready(in_ready),
        .${s}_tlast($in_last),
        .${m}_tdata(out_data), .${m}_tvalid(out_valid), .${m}_tready(out_ready), .${m}_tlast(out_last)
    );

    wire took = in_valid && in_ready, gave = out_valid && out_ready;
    wire [31:0] ahead = sent + (took ? 1 : 0);

    task fail(input [8*32-1:0] what);
        begin
            if (!done)
                $$display("FAIL: %0s at cycle %0d, input beat %0d, output beat %0d", what, cycle, sent, received);
            done <= 1;
        end
    endtask

    always @(posedge clock) begin
        cycle <= cycle + 1;
        random <= {random[30:0], random[31] ^ random[21] ^ random[1] ^ random[0]};
        if (cycle == 8) resetn <= 1;
        if (resetn && !done) begin
            // A beat that is offered stays until it is taken.
            if (!in_valid || in_ready) in_valid <= ahead < SENT && (!stall || random[0]);
            out_ready <= !stall || random[5];
            sent <= ahead;
            quiet <= took || gave ? 0 : quiet + 1;
            if (took && sent == 0) first_in <= cycle;
            if (frame_error !== 1'b0) fail("frame_error is not 0");
            if (out_valid === 1'bx) fail("tvalid is X");
            if (out_valid && !answered) begin
                answered <= 1;
                if (!stall && cycle - first_in != LATENCY) fail("latency differs");
            end
            if (gave) begin
                if (out_data !== expected[received]) begin
                    $$display("expected %h", expected[received]);
                    $$display("got      %h", out_data);
                    fail("output differs");
                end
                if (out_last !== ($out_last)) fail("TLAST differs");
                received <= received + 1;
            end
            if (quiet > TIMEOUT) fail("no beat moved any more");
            if (received == EXPECTED && quiet == TIMEOUT / 2) begin
                if (stall) begin
                    $$display("PASS: %0d sequences at full rate and %0d stalled, latency %0d cycles",
                              SEQUENCES, SEQUENCES, LATENCY);
                    done <= 1;
                end
                // Once more from reset, with stalls.
                stall <= 1;
                resetn <= 0;
                {sent, received, quiet, cycle} <= 0;
                in_valid <= 0;
            end
            if (received > EXPECTED) fail("more output than input");
        end
        if (done) $$finish;
    end
endmodule

`default_nettype wire
""")


def bench(facts: Mapping[str, Any], inputs: NDArray[np.int64], outputs: NDArray[np.int64]) -> dict[str, str]:
    """Texts by path from the exported folder: the testbench and its vectors.

    ``inputs`` and ``outputs`` are raw integers (sequences, beats, elements), of which :data:`SEQUENCES` are taken.
    """
    source, sink, timing = facts["input"], facts["output"], facts["timing"]
    count = min(SEQUENCES, len(inputs))
    # As patient as two sequences are long, with stalls.
    timeout = 16 * (timing["latency"] + int(timing["interval"]) + 64)
    whole, given = "sent % IN_BEATS == IN_BEATS - 1", "received % OUT_BEATS == OUT_BEATS - 1"
    if facts["framing"] == "count":
        # One packet for all sequences, as a DMA engine sends them; then, with stalls, TLAST with each beat.
        whole, given = "stall || sent == SENT - 1", f"{given} && (stall || received == EXPECTED - 1)"
    text = _BENCH.substitute(
        in_last=whole,
        out_last=given,
        top=facts["top"],
        clock=facts["clock"],
        reset=facts["reset"],
        s=source["prefix"],
        m=sink["prefix"],
        sequences=count,
        in_beats=source["beats_per_sequence"],
        in_bits=source["elements_per_beat"] * source["stride_bits"],
        out_beats=sink["beats_per_sequence"],
        out_bits=sink["elements_per_beat"] * sink["stride_bits"],
        latency=timing["latency"],
        timeout=timeout,
        half=f"{500 / float(facts['clock_mhz']):.3f}",
    )
    return {
        f"sim/{facts['top']}_tb.v": text,
        "sim/inputs.hex": _hex(inputs[:count], source["stride_bits"]),
        "sim/expected.hex": _hex(outputs[:count], sink["stride_bits"]),
    }


def _hex(values: NDArray[np.int64], stride: int) -> str:
    """One line a beat: its elements in two's complement, element 0 last, which is lowest."""
    mask, digits = (1 << stride) - 1, stride // 4
    beats = values.reshape(-1, values.shape[-1]).tolist()
    return "".join("".join(f"{value & mask:0{digits}x}" for value in reversed(beat)) + "\n" for beat in beats)
