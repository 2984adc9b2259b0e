# SPDX-License-Identifier: Apache-2.0
"""The waveforms of the documentation as stimulus and answer: docs/waves/*.json against Amaranth's simulator."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from amaranth.sim import Simulator
from networks import network
from rtl_bench import pack, plan_for, random_raw, unpack

from fxsim.simulator.run import simulate
from rtl.gateware.axi import axi_top
from rtl.plan.folding import Plan
from rtl.plan.widths import stride

#: Rows of a waveform that the source and the sink decide, and those that the design answers with.
GIVEN = ("s_axis_tvalid", "s_axis_tlast", "s_axis_tdata", "m_axis_tready")
ANSWERED = ("s_axis_tready", "m_axis_tvalid", "m_axis_tlast", "frame_error")
_LABEL = re.compile(r"([A-Z])(\d+)")


def shown_plan() -> Plan:
    """The design of all waveforms: an LSTM of 2 units and 3 steps, planned for 50 MHz."""
    return plan_for(network("lstm", steps=3, units=2, features=2, seed=6), 1, 50.0)


def row(lane: Mapping[str, Any]) -> list[str]:
    """What a lane shows in each cycle: "0", "1", "x", or the label of its data."""
    labels = iter(lane.get("data", ()))
    values: list[str] = []
    for symbol in lane["wave"]:
        if symbol == ".":
            values.append(values[-1])
        else:
            values.append(next(labels) if symbol in "=23456789" else symbol)
    assert next(labels, None) is None, f"{lane['name']}: more labels than beats"
    return values


@dataclass
class Wave:
    """A waveform's lanes by name, its nodes and the distances that its arrows claim."""

    source: Mapping[str, Any]

    @cached_property
    def lanes(self) -> dict[str, list[str]]:
        """Rows of all lanes but the clock."""
        found = {lane["name"]: row(lane) for lane in self._all() if lane.get("name", "aclk") != "aclk"}
        assert len({len(values) for values in found.values()}) == 1, "lanes of different lengths"
        return found

    def _all(self) -> list[Mapping[str, Any]]:
        return [lane for lane in self.source["signal"] if lane]

    def arrows(self) -> dict[str, tuple[int, int]]:
        """Length (which the text must end with) and last cycle of each arrow, by its text."""
        nodes = {name: cycle for lane in self._all() for cycle, name in enumerate(lane.get("node", "")) if name != "."}
        found = {}
        for edge in self.source.get("edge", ()):
            ends, text = edge.split(" ", 1)
            distance = nodes[ends[-1]] - nodes[ends[0]]
            what, claimed = text.rsplit(" ", 1)
            assert int(claimed) == distance, f"{edge}: the arrow is {distance} cycles long"
            found[what] = distance, nodes[ends[-1]]
        return found


def data(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Raw inputs (26 sequences A to Z, steps, features) and results (26, outputs)."""
    raw = random_raw(plan.graph, 26, seed=7)
    return raw, simulate(plan.graph, raw, raw=True).raw


def play(plan: Plan, given: Mapping[str, Sequence[str]], framing: str = "tlast") -> dict[str, list[str]]:
    """What the design answers in each cycle after reset to the rows :data:`GIVEN`: rows of ports, ``m_axis_tdata`` raw.

    A label such as B1 in ``s_axis_tdata`` is step 1 of sequence B; "x" is anything, here all bits set.
    """
    top = axi_top(plan, framing)
    raw, _ = data(plan)
    wide = stride(top.in_type)
    answers: dict[str, list[str]] = {name: [] for name in (*ANSWERED, "m_axis_tdata")}

    def word(label: str) -> int:
        match = _LABEL.fullmatch(label)
        return pack(raw[ord(match[1]) - ord("A"), int(match[2])], wide) if match else (1 << wide * top.inputs) - 1

    async def bench(ctx):
        async def edge():
            await ctx.delay(1e-6)
            ctx.set(top.aclk, 1)
            await ctx.delay(1e-6)
            ctx.set(top.aclk, 0)

        for _ in range(4):
            await edge()
        ctx.set(top.aresetn, 1)
        for valid, last, label, ready in zip(*(given[name] for name in GIVEN), strict=True):
            ctx.set(top.s_axis_tvalid, int(valid == "1"))
            ctx.set(top.s_axis_tlast, int(last == "1"))
            ctx.set(top.s_axis_tdata, word(label))
            ctx.set(top.m_axis_tready, int(ready == "1"))
            ports = (top.s_axis_tready, top.m_axis_tvalid, top.m_axis_tlast, top.frame_error)
            for name, port in zip(ANSWERED, ports, strict=True):
                answers[name].append(str(ctx.get(port)))
            answers["m_axis_tdata"].append(str(ctx.get(top.m_axis_tdata)))
            await edge()

    simulator = Simulator(top)
    simulator.add_testbench(bench)
    simulator.run()
    return answers


def compare(plan: Plan, wave: Wave, framing: str = "tlast") -> None:
    """Hold a waveform to the design: every bit of control in every cycle, every result, the length of every arrow."""
    lanes = wave.lanes
    answers = play(plan, {name: lanes[name] for name in GIVEN}, framing)
    for name in ANSWERED:
        # Without a beat, TLAST may be anything.
        seen = [
            "x" if name == "m_axis_tlast" and valid == "0" else bit
            for bit, valid in zip(answers[name], answers["m_axis_tvalid"], strict=True)
        ]
        shown = [
            "x" if name == "m_axis_tlast" and valid == "0" else bit
            for bit, valid in zip(lanes.get(name, answers[name]), answers["m_axis_tvalid"], strict=True)
        ]
        assert "".join(shown) == "".join(seen), f"{name}: the waveform shows {shown}, the design gives {seen}"
    _, results = data(plan)
    type, count = plan.graph.output, plan.graph.output_shape[-1]
    for cycle, label in enumerate(lanes["m_axis_tdata"]):
        assert (label == "x") == (answers["m_axis_tvalid"][cycle] == "0"), f"m_axis_tdata in cycle {cycle}: {label}"
        if label != "x":
            got = unpack(int(answers["m_axis_tdata"][cycle]), count, stride(type), type.signed)
            assert got == results[ord(label[-1]) - ord("A")].tolist(), f"m_axis_tdata in cycle {cycle}: not {label}"
    for what, (distance, end) in wave.arrows().items():
        assert distance == getattr(plan.timing, what.replace(" ", "_")), f"{what}: {distance} cycles are shown"
        assert answers["m_axis_tvalid"][end - 1 : end + 1] == ["0", "1"], f"{what}: no result begins in cycle {end}"
    # The source keeps a beat until it is taken: the rule by which the stimulus itself is legal.
    for cycle, (now, later) in enumerate(pairwise(zip(*(lanes[name] for name in GIVEN[:3]), strict=True))):
        if now[0] == "1" and answers["s_axis_tready"][cycle] == "0":
            assert later == now, f"the source's beat changes after cycle {cycle} before it is taken"
