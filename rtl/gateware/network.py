# SPDX-License-Identifier: Apache-2.0
"""A planned network as one component: layers in a row, joined by streams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..plan.folding import Plan
from ..plan.lower import HardLayer
from .beats import Gather, Spread
from .interleaver import Deal
from .layer import LayerCore, Tap
from .stream import Beat, Buffer, fill


class Collect(wiring.Component):
    """Joins the ``steps`` vectors of a sequence into one (Flatten), first step low.

    Latency: none from the last step to the result, or 1 if ``registered``; a step is taken every cycle while there is
    room for a result.

    Parameters
    ----------
    steps: of a sequence. bits: width of a vector. depth: results that the buffer behind it holds. registered: whether
    its output comes from registers alone.

    Members
    -------
    i : In(stream.Signature(Beat(bits)))
        The steps of sequences.
    o : Out(stream.Signature(Beat(steps * bits)))
        Whole sequences, out of the buffer.
    """

    def __init__(self, steps: int, bits: int, depth: int, registered: bool) -> None:
        self.steps, self.bits, self.depth, self.registered = steps, bits, depth, registered
        self.buffer = Buffer(steps * bits, depth, registered, False)
        super().__init__({"i": In(stream.Signature(Beat(bits))), "o": Out(stream.Signature(Beat(steps * bits)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.buffer = buffer = self.buffer
        wiring.connect(m, buffer.o, wiring.flipped(self.o))
        room = Signal(range(self.depth + 1), init=self.depth)
        step = Signal(range(self.steps))
        parts = [Signal(self.bits, name=f"part{k}", reset_less=True) for k in range(self.steps - 1)]
        take = Signal()
        m.d.comb += [
            self.i.ready.eq(room != 0),
            take.eq(self.i.valid & self.i.ready),
            buffer.push.eq(take & self.i.payload.last & ~self.i.payload.abort),
            buffer.beat.data.eq(Cat(*parts, self.i.payload.data)),
        ]
        m.d.sync += room.eq(room - buffer.push + buffer.pop)
        with m.If(take):
            m.d.sync += step.eq(Mux(self.i.payload.last, 0, step + 1))
        fill(m, parts, take, step, self.i.payload.data)
        return m


@dataclass(frozen=True)
class NetworkTap:
    """A tap of a layer with the graph's names for it."""

    layer: str
    op: str
    tap: Tap


class Network(wiring.Component):
    """All layers of a plan; sequences of ``Beat`` in, results out.

    Latency: ``plan.timing``.

    Parameters
    ----------
    plan: layers, schedules and buffers.

    Members
    -------
    i : In(stream.Signature(Beat(beat * input width)))
        The beats of sequences, as the input sends them.
    o : Out(stream.Signature(Beat(output width)))
        The results of the last layer.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.parts: list[tuple[HardLayer, LayerCore | Collect]] = []
        graph = plan.graph
        bits = prod(graph.shape) // plan.source.steps * graph.input.width
        for layer, schedule, stage in zip(plan.layers, plan.schedules, plan.stages, strict=True):
            part: LayerCore | Collect
            registered = layer is plan.layers[-1]
            if schedule is None:
                part = Collect(layer.steps, bits, stage.depth, registered)
            else:
                part = LayerCore(schedule, layer.return_sequences, stage.depth, registered)
            self.parts.append((layer, part))
            bits = layer.elements * layer.type.width
        self.front = list(self._front())
        first = plan.beat * graph.input.width
        super().__init__({"i": In(stream.Signature(Beat(first))), "o": Out(stream.Signature(Beat(bits)))})

    def _front(self) -> Iterator[tuple[str, Deal | Gather | Spread]]:
        """What brings the input's beats into the order in which the first layer takes vectors."""
        plan, source = self.plan, self.plan.source
        width = plan.graph.input.width
        vector = prod(plan.graph.shape) // source.steps * width
        if source.gather > 1:
            yield "gather", Gather(plan.beat * width, source.gather)
        if source.spread:
            yield "spread", Spread(vector, source.steps, source.eager)
        if source.ways > 1:
            yield "deal", Deal(vector, source.ways, source.steps)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        source = wiring.flipped(self.i)
        for name, part in [*self.front, *((layer.module, part) for layer, part in self.parts)]:
            m.submodules[name] = part
            wiring.connect(m, source, part.i)
            source = part.o
        wiring.connect(m, source, wiring.flipped(self.o))
        return m

    def buffers(self) -> list[tuple[HardLayer, Buffer]]:
        """The buffer behind each layer, the last one at the network's output."""
        return [(layer, part.buffer) for layer, part in self.parts]

    def taps(self) -> list[NetworkTap]:
        """The layers' taps, in program order."""
        found = []
        for layer, part in self.parts:
            for tap in getattr(part, "taps", []):
                if tap.op in layer.origin:
                    found.append(NetworkTap(*layer.origin[tap.op], tap))
        return found
