# SPDX-License-Identifier: Apache-2.0
"""AXI4-Stream around a network: element packing, TLAST, and what happens to broken sequences."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Const, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Flow, In, Member, Out

from ..plan.folding import Plan, check_framing
from ..plan.lower import HardLayer
from ..plan.widths import stride
from .network import Network, NetworkTap
from .packets import Packets
from .stream import Buffer, elements


@dataclass(frozen=True)
class TopTap:
    """A tap brought to the top module, and the names of its wires there."""

    source: NetworkTap
    valid: str
    data: str

    def to_json(self, top: str) -> dict[str, object]:
        """As listed in the manifest: the format is that of the op's raw integers, ``elements`` of them a beat."""
        tap = self.source.tap
        return {
            "layer": self.source.layer,
            "op": self.source.op,
            "module": top,
            "valid": self.valid,
            "data": self.data,
            "width": tap.width,
            "signed": tap.signed,
            "elements": tap.count,
            "beats_per_step": tap.beats,
        }


@dataclass(frozen=True)
class TopBuffer:
    """What a buffer does, brought to the top module, and the names of its wires there."""

    layer: HardLayer
    buffer: Buffer
    push: str
    pop: str
    filled: str

    def to_json(self, top: str) -> dict[str, object]:
        """As listed in the manifest, by the layer that fills it.

        ``passes``: whether a beat may pass through it when it is empty. ``beats_per_sequence``: beats of a sequence.
        """
        return {
            "layer": self.layer.name,
            "module": top,
            "push": self.push,
            "pop": self.pop,
            "filled": self.filled,
            "depth": self.buffer.depth,
            "passes": not self.buffer.registered,
            "beats_per_sequence": self.layer.steps if self.layer.return_sequences else 1,
        }


class AxiTop(wiring.Component):
    """The top of an exported design; ports named as Vivado's IP packager expects them.

    One input beat holds ``plan.beat`` elements, one output beat one result; each element sits in :func:`stride` bits,
    extended by its sign, element 0 low.

    ``framing`` tlast: TLAST marks the last beat of a sequence. A sequence whose TLAST comes early or not at all raises
    ``frame_error`` for one cycle and gives no (further) result; without TLAST, everything up to and with the next TLAST
    belongs to the broken sequence. The next sequence is computed as if nothing had been.

    ``framing`` count: a sequence is as many beats as it has, whatever TLAST does, and ``frame_error`` stays low. TLAST
    ends a packet, of any number of sequences; the last result of the sequence in which it came carries TLAST.

    Latency: ``plan.timing``.

    Inside, the wires ``tap<k>_valid`` and ``tap<k>_data`` show the results of inner ops to testbenches,
    ``buffer<k>_push``, ``buffer<k>_pop`` and ``buffer<k>_filled`` what the buffer behind each layer does; nothing reads
    them, so synthesis drops them.

    Parameters
    ----------
    network: what is inside. packets: where packets that end are remembered, if framing is count; None if it is tlast.

    Members
    -------
    aclk : In(1)
        The clock.
    aresetn : In(1)
        The reset, synchronous and active low.
    s_axis_tdata : In(inputs * stride(in_type))
        The elements of an input beat.
    s_axis_tvalid : In(1)
        Whether there is an input beat.
    s_axis_tready : Out(1)
        Whether it is taken.
    s_axis_tlast : In(1)
        Whether it is the last of its sequence, or of a packet, as ``framing`` says.
    m_axis_tdata : Out(outputs * stride(out_type))
        The elements of a result.
    m_axis_tvalid : Out(1)
        Whether there is a result.
    m_axis_tready : In(1)
        Whether it is taken.
    m_axis_tlast : Out(1)
        Whether it is the last of its sequence, or of a packet.
    frame_error : Out(1)
        High for a cycle after a TLAST that is early or missing.
    """

    def __init__(self, network: Network, packets: Packets | None = None) -> None:
        self.network, self.packets = network, packets
        plan = network.plan
        graph = plan.graph
        self.inputs, self.outputs = plan.beat, plan.layers[-1].elements
        self.beats = plan.source.beats
        self.in_type, self.out_type = graph.input, graph.output
        super().__init__(
            {
                "aclk": In(1),
                "aresetn": In(1),
                **_stream("s_axis", In, self.inputs * stride(self.in_type)),
                **_stream("m_axis", Out, self.outputs * stride(self.out_type)),
                "frame_error": Out(1),
            }
        )
        self._name_interfaces()

    def _name_interfaces(self) -> None:
        """Attributes by which Vivado knows clock, reset and streams where it gets a bare module."""
        for port, kind, parameters in (
            ("aclk", "signal:clock:1.0 aclk CLK", "ASSOCIATED_BUSIF s_axis:m_axis, ASSOCIATED_RESET aresetn"),
            ("aresetn", "signal:reset:1.0 aresetn RST", "POLARITY ACTIVE_LOW"),
        ):
            _interface(getattr(self, port), kind, f"{port}, {parameters}")
        for stream in ("s_axis", "m_axis"):
            for part in ("tdata", "tvalid", "tready", "tlast"):
                port = getattr(self, f"{stream}_{part}")
                size = f"{stream}, TDATA_NUM_BYTES {len(port) // 8}, HAS_TLAST 1, HAS_TREADY 1"
                _interface(port, f"interface:axis:1.0 {stream} {part.upper()}", size if part == "tdata" else None)

    @property
    def taps(self) -> list[TopTap]:
        """The network's taps, in program order."""
        return [TopTap(tap, f"tap{k}_valid", f"tap{k}_data") for k, tap in enumerate(self.network.taps())]

    @property
    def buffers(self) -> list[TopBuffer]:
        """The buffers behind the layers."""
        return [
            TopBuffer(layer, buffer, f"buffer{k}_push", f"buffer{k}_pop", f"buffer{k}_filled")
            for k, (layer, buffer) in enumerate(self.network.buffers())
        ]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.sync = ClockDomain("sync")
        m.d.comb += [ClockSignal().eq(self.aclk), ResetSignal().eq(~self.aresetn)]
        m.submodules.network = network = self.network
        width, wide = self.in_type.width, stride(self.in_type)
        data = Cat(*(self.s_axis_tdata[k * wide : k * wide + width] for k in range(self.inputs)))
        beat = Signal(range(max(self.beats, 2)), name="beat")
        final, take = Signal(name="last_beat"), Signal(name="take")
        m.d.comb += [
            final.eq(beat == self.beats - 1),
            network.i.payload.data.eq(data),
            take.eq(network.i.valid & network.i.ready),
        ]
        if self.packets is None:
            last = self._framed(m, beat, final, take)
        else:
            last = self._counted(m, self.packets, beat, final, take)
        for tap in self.taps:
            m.d.comb += [_shown(tap.source.tap.valid, tap.valid), _shown(tap.source.tap.data, tap.data)]
        for seen in self.buffers:
            buffer = seen.buffer
            shown = ((buffer.push, seen.push), (buffer.pop, seen.pop), (buffer.filled, seen.filled))
            m.d.comb += [_shown(value, name) for value, name in shown]
        type = self.out_type
        values = elements(Value.cast(network.o.payload), self.outputs, type.width, type.signed)
        m.d.comb += [
            self.m_axis_tdata.eq(Cat(*(_extended(v, stride(type), type.signed) for v in values))),
            self.m_axis_tlast.eq(last),
            self.m_axis_tvalid.eq(network.o.valid & ~network.o.payload.abort),
            network.o.ready.eq(self.m_axis_tready | network.o.payload.abort),
        ]
        return m

    def _framed(self, m: Module, beat: Signal, final: Signal, take: Signal) -> Value:
        """Sequences as TLAST frames them; gives the TLAST of results."""
        network = self.network
        drop, early, missing = (Signal(name=name) for name in ("drop", "early", "missing"))
        m.d.comb += [
            early.eq(self.s_axis_tlast & ~final),
            missing.eq(~self.s_axis_tlast & final),
            network.i.payload.last.eq(self.s_axis_tlast | final),
            network.i.payload.abort.eq(early | missing),
            network.i.valid.eq(self.s_axis_tvalid & ~drop),
            self.s_axis_tready.eq(network.i.ready | drop),
        ]
        m.d.sync += self.frame_error.eq(take & (early | missing))
        with m.If(take):
            m.d.sync += beat.eq(Mux(self.s_axis_tlast | final, 0, beat + 1))
            with m.If(missing):
                m.d.sync += drop.eq(1)
        with m.If(drop & self.s_axis_tvalid & self.s_axis_tlast):
            m.d.sync += drop.eq(0)
        return network.o.payload.last

    def _counted(self, m: Module, packets: Packets, beat: Signal, final: Signal, take: Signal) -> Value:
        """Sequences as their beats are counted; gives the TLAST of results."""
        network, o = self.network, self.network.o
        m.submodules.packets = packets
        ended, room = Signal(name="ended"), Signal(name="room")
        m.d.comb += [
            # Where the last beat waits for room, one sequence more than the network holds would be under way.
            room.eq(~(final & packets.full)),
            network.i.payload.last.eq(final),
            network.i.payload.abort.eq(0),
            self.frame_error.eq(0),
            network.i.valid.eq(self.s_axis_tvalid & room),
            self.s_axis_tready.eq(network.i.ready & room),
            packets.put.eq(take & final),
            packets.ends.eq(ended | self.s_axis_tlast),
            packets.get.eq(o.valid & o.ready & o.payload.last & ~o.payload.abort),
        ]
        with m.If(take):
            m.d.sync += [beat.eq(Mux(final, 0, beat + 1)), ended.eq(~final & (ended | self.s_axis_tlast))]
        return o.payload.last & packets.front


def axi_top(plan: Plan, framing: str = "tlast") -> AxiTop:
    """The top of a plan; ``framing`` as :class:`AxiTop` describes it."""
    counted = check_framing(framing) == "count"
    return AxiTop(Network(plan), Packets(most_sequences(plan)) if counted else None)


def most_sequences(plan: Plan) -> int:
    """No more sequences than this can be in a network with all their beats, and still have a result to give."""
    # Each layer holds as many results as its buffer, whole or under way. Beats that are spread are one sequence; slots
    # of sequences that take turns hold one each, and the step at their output may be the last of another.
    waiting = sum(stage.depth for stage in plan.stages)
    return waiting + plan.source.spread + (plan.source.ways + 1 if plan.source.ways > 1 else 0)


def _stream(prefix: str, flow: Flow, bits: int) -> dict[str, Member]:
    """The ports of an AXI4-Stream, of which all but tready go where the data go."""
    parts = {"tdata": flow(bits), "tvalid": flow(1), "tready": flow.flip()(1), "tlast": flow(1)}
    return {f"{prefix}_{name}": member for name, member in parts.items()}


def _interface(port: Signal, kind: str, parameters: str | None) -> None:
    port.attrs["X_INTERFACE_INFO"] = f"xilinx.com:{kind}"
    if parameters is not None:
        port.attrs["X_INTERFACE_PARAMETER"] = f"XIL_INTERFACENAME {parameters}"


def _shown(value: Value, name: str) -> Value:
    """A wire of that name, which shows a value to testbenches."""
    return Signal(len(value), name=name).eq(value)


def _extended(value: Value, width: int, signed: bool) -> Value:
    fill = value[-1] if signed else Const(0, 1)
    return Cat(value, fill.replicate(width - len(value)))
