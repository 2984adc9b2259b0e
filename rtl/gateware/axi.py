# SPDX-License-Identifier: Apache-2.0
"""AXI4-Stream around a network: element packing, TLAST, and what happens to broken sequences."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Const, Elaboratable, Module, Mux, ResetSignal, Signal, Value

from ..plan.folding import Plan, check_framing
from ..plan.lower import HardLayer
from ..plan.widths import stride
from .network import Network, NetworkTap
from .packets import Packets
from .stream import Buffer, elements


@dataclass(frozen=True)
class TopTap:
    """A tap brought to the top module as wires ``tap<k>_valid`` and ``tap<k>_data``."""

    source: NetworkTap
    valid: Signal
    data: Signal

    def to_json(self, top: str) -> dict[str, object]:
        """As listed in the manifest: the format is that of the op's raw integers, ``elements`` of them a beat."""
        tap = self.source.tap
        return {
            "layer": self.source.layer,
            "op": self.source.op,
            "module": top,
            "valid": self.valid.name,
            "data": self.data.name,
            "width": tap.width,
            "signed": tap.signed,
            "elements": tap.count,
            "beats_per_step": tap.beats,
        }


@dataclass(frozen=True)
class TopBuffer:
    """What a buffer does, brought to the top module as wires ``buffer<k>_push``, ``_pop`` and ``_filled``."""

    layer: HardLayer
    buffer: Buffer
    push: Signal
    pop: Signal
    filled: Signal

    def to_json(self, top: str) -> dict[str, object]:
        """As listed in the manifest, by the layer that fills it.

        ``passes``: whether a beat may pass through it when it is empty. ``beats_per_sequence``: beats of a sequence.
        """
        return {
            "layer": self.layer.name,
            "module": top,
            "push": self.push.name,
            "pop": self.pop.name,
            "filled": self.filled.name,
            "depth": self.buffer.depth,
            "passes": not self.buffer.registered,
            "beats_per_sequence": self.layer.steps if self.layer.return_sequences else 1,
        }


class AxiTop(Elaboratable):
    """The top of an exported design; ports named as Vivado's IP packager expects them.

    One input beat holds ``plan.beat`` elements, one output beat one result; each element sits in :func:`stride` bits,
    extended by its sign, element 0 low.

    ``framing`` tlast: TLAST marks the last beat of a sequence. A sequence whose TLAST comes early or not at all raises
    ``frame_error`` for one cycle and gives no (further) result; without TLAST, everything up to and with the next TLAST
    belongs to the broken sequence. The next sequence is computed as if nothing had been.

    ``framing`` count: a sequence is as many beats as it has, whatever TLAST does, and ``frame_error`` stays low. TLAST
    ends a packet, of any number of sequences; the last result of the sequence in which it came carries TLAST.

    Latency: ``plan.timing``.

    Ports: ``aclk``, ``aresetn`` (synchronous, active low), ``s_axis_t{data,valid,ready,last}``,
    ``m_axis_t{data,valid,ready,last}``, ``frame_error``. Inside, the wires ``tap<k>_valid`` and ``tap<k>_data`` show
    the results of inner ops to testbenches, ``buffer<k>_push``, ``buffer<k>_pop`` and ``buffer<k>_filled`` what the
    buffer behind each layer does; nothing reads them, so synthesis drops them.
    """

    def __init__(self, plan: Plan, framing: str = "tlast") -> None:
        self.plan, self.framing = plan, check_framing(framing)
        self.network = Network(plan)
        graph = plan.graph
        self.inputs, self.outputs = plan.beat, plan.layers[-1].elements
        self.beats = plan.source.beats
        self.in_type, self.out_type = graph.input, graph.output
        self.aclk = _clock_or_reset("clock", "CLK", "aclk", "ASSOCIATED_BUSIF s_axis:m_axis, ASSOCIATED_RESET aresetn")
        self.aresetn = _clock_or_reset("reset", "RST", "aresetn", "POLARITY ACTIVE_LOW")
        sizes = [self.inputs * stride(self.in_type), self.outputs * stride(self.out_type)]
        self.s_tdata, self.s_tvalid, self.s_tready, self.s_tlast = _stream("s_axis", sizes[0])
        self.m_tdata, self.m_tvalid, self.m_tready, self.m_tlast = _stream("m_axis", sizes[1])
        self.frame_error = Signal(name="frame_error")
        if framing == "count":
            self.packets = Packets(most_sequences(plan))
        self.taps = [self._tap(k, tap) for k, tap in enumerate(self.network.taps())]
        self.buffers = [
            TopBuffer(
                layer,
                buffer,
                Signal(name=f"buffer{k}_push"),
                Signal(name=f"buffer{k}_pop"),
                Signal.like(buffer.filled, name=f"buffer{k}_filled"),
            )
            for k, (layer, buffer) in enumerate(self.network.buffers())
        ]

    def _tap(self, k: int, tap: NetworkTap) -> TopTap:
        valid, data = Signal(name=f"tap{k}_valid"), Signal(len(tap.tap.data), name=f"tap{k}_data")
        return TopTap(tap, valid, data)

    @property
    def ports(self) -> list[Signal]:
        """All ports, in the order of the module's header."""
        return [
            self.aclk, self.aresetn, self.s_tdata, self.s_tvalid, self.s_tready, self.s_tlast,
            self.m_tdata, self.m_tvalid, self.m_tready, self.m_tlast, self.frame_error,
        ]  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.sync = ClockDomain("sync")
        m.d.comb += [ClockSignal().eq(self.aclk), ResetSignal().eq(~self.aresetn)]
        m.submodules.network = network = self.network
        width, wide = self.in_type.width, stride(self.in_type)
        data = Cat(*(self.s_tdata[k * wide : k * wide + width] for k in range(self.inputs)))
        beat = Signal(range(max(self.beats, 2)), name="beat")
        final, take = Signal(name="last_beat"), Signal(name="take")
        m.d.comb += [
            final.eq(beat == self.beats - 1),
            network.i.payload.data.eq(data),
            take.eq(network.i.valid & network.i.ready),
        ]
        last = self._counted(m, beat, final, take) if self.framing == "count" else self._framed(m, beat, final, take)
        for tap in self.taps:
            m.d.comb += [tap.valid.eq(tap.source.tap.valid), tap.data.eq(tap.source.tap.data)]
        for seen in self.buffers:
            buffer = seen.buffer
            m.d.comb += [seen.push.eq(buffer.push), seen.pop.eq(buffer.pop), seen.filled.eq(buffer.filled)]
        type = self.out_type
        values = elements(Value.cast(network.o.payload), self.outputs, type.width, type.signed)
        m.d.comb += [
            self.m_tdata.eq(Cat(*(_extended(v, stride(type), type.signed) for v in values))),
            self.m_tlast.eq(last),
            self.m_tvalid.eq(network.o.valid & ~network.o.payload.abort),
            network.o.ready.eq(self.m_tready | network.o.payload.abort),
        ]
        return m

    def _framed(self, m: Module, beat: Signal, final: Signal, take: Signal) -> Value:
        """Sequences as TLAST frames them; gives the TLAST of results."""
        network = self.network
        drop, early, missing = (Signal(name=name) for name in ("drop", "early", "missing"))
        m.d.comb += [
            early.eq(self.s_tlast & ~final),
            missing.eq(~self.s_tlast & final),
            network.i.payload.last.eq(self.s_tlast | final),
            network.i.payload.abort.eq(early | missing),
            network.i.valid.eq(self.s_tvalid & ~drop),
            self.s_tready.eq(network.i.ready | drop),
        ]
        m.d.sync += self.frame_error.eq(take & (early | missing))
        with m.If(take):
            m.d.sync += beat.eq(Mux(self.s_tlast | final, 0, beat + 1))
            with m.If(missing):
                m.d.sync += drop.eq(1)
        with m.If(drop & self.s_tvalid & self.s_tlast):
            m.d.sync += drop.eq(0)
        return network.o.payload.last

    def _counted(self, m: Module, beat: Signal, final: Signal, take: Signal) -> Value:
        """Sequences as their beats are counted; gives the TLAST of results."""
        network, o = self.network, self.network.o
        m.submodules.packets = packets = self.packets
        ended, room = Signal(name="ended"), Signal(name="room")
        m.d.comb += [
            # Where the last beat waits for room, one sequence more than the network holds would be under way.
            room.eq(~(final & packets.full)),
            network.i.payload.last.eq(final),
            network.i.payload.abort.eq(0),
            self.frame_error.eq(0),
            network.i.valid.eq(self.s_tvalid & room),
            self.s_tready.eq(network.i.ready & room),
            packets.put.eq(take & final),
            packets.ends.eq(ended | self.s_tlast),
            packets.get.eq(o.valid & o.ready & o.payload.last & ~o.payload.abort),
        ]
        with m.If(take):
            m.d.sync += [beat.eq(Mux(final, 0, beat + 1)), ended.eq(~final & (ended | self.s_tlast))]
        return o.payload.last & packets.front


def most_sequences(plan: Plan) -> int:
    """No more sequences than this can be in a network with all their beats, and still have a result to give."""
    # Each layer holds as many results as its buffer, whole or under way. Beats that are spread are one sequence; slots
    # of sequences that take turns hold one each, and the step at their output may be the last of another.
    waiting = sum(stage.depth for stage in plan.stages)
    return waiting + plan.source.spread + (plan.source.ways + 1 if plan.source.ways > 1 else 0)


def _stream(prefix: str, bits: int) -> list[Signal]:
    """tdata, tvalid, tready and tlast, with the attributes by which Vivado knows them where it gets a bare module."""
    ports = []
    for name, size in (("tdata", bits), ("tvalid", 1), ("tready", 1), ("tlast", 1)):
        attributes = {"X_INTERFACE_INFO": f"xilinx.com:interface:axis:1.0 {prefix} {name.upper()}"}
        if name == "tdata":
            attributes["X_INTERFACE_PARAMETER"] = (
                f"XIL_INTERFACENAME {prefix}, TDATA_NUM_BYTES {bits // 8}, HAS_TLAST 1, HAS_TREADY 1"
            )
        ports.append(Signal(size, name=f"{prefix}_{name}", attrs=attributes))
    return ports


def _clock_or_reset(kind: str, role: str, name: str, parameters: str) -> Signal:
    attributes = {
        "X_INTERFACE_INFO": f"xilinx.com:signal:{kind}:1.0 {name} {role}",
        "X_INTERFACE_PARAMETER": f"XIL_INTERFACENAME {name}, {parameters}",
    }
    return Signal(name=name, attrs=attributes)


def _extended(value: Value, width: int, signed: bool) -> Value:
    fill = value[-1] if signed else Const(0, 1)
    return Cat(value, fill.replicate(width - len(value)))
