# SPDX-License-Identifier: Apache-2.0
"""Static timing of a synthesized netlist: the longest paths between registers, found without placing anything.

Every cell takes what :mod:`rtl.plan.cell_delays` says, every wire what its fan-out makes of it. Paths from and to the
ports are left out, for a design is one part of a chip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from math import log2

from fxsim.errors import FxsimError

from ..plan.cell_delays import CellDelays
from .cell_timing import BLOCKS, Arc, Capture, cell_timing, kind
from .netlist import Cell, Netlist


@dataclass(frozen=True)
class Hop:
    """A bit on a path: the cell that drives it, the time at which it stands, and how many pins it drives."""

    cell: str
    name: str
    at: float
    pins: int


@dataclass(frozen=True)
class Path:
    """A path between two registers: its length in ns, what it ends in, and its bits."""

    length: float
    end: str
    target: str
    hops: tuple[Hop, ...]


class StaticTiming:
    """Arrival times of all bits of a netlist."""

    def __init__(self, netlist: Netlist, delays: CellDelays) -> None:
        self.netlist, self.delays = netlist, delays
        self._drivers: dict[int, Cell] = {}
        self._kinds: dict[int, str] = {}
        self._captures: list[tuple[Cell, Capture]] = []
        #: Blocks with a path between two registers of their own, and its length.
        self.inside: list[tuple[Cell, float]] = []
        arcs: dict[int, list[Arc]] = {}
        waits: dict[int, int] = {}
        #: When each bit stands, and the bit before it on the latest way there (itself where a clock launched it).
        self.arrivals: dict[int, float] = {}
        self._before: dict[int, int] = {}
        registers: dict[int, int] = {}
        for cell in netlist.cells:
            timing = cell_timing(cell, delays)
            for pin in cell.outputs:
                for bit in cell.pins[pin]:
                    if bit is not None:
                        self._drivers[bit], self._kinds[bit] = cell, kind(cell.type)
            # Wires to a block are longer, which counts with what happens behind them.
            far = delays.block if kind(cell.type) in BLOCKS else 0.0
            for arc in timing.arcs:
                if far and not arc.near:
                    arc = arc._replace(delay=arc.delay + far)
                arcs.setdefault(arc.source, []).append(arc)
                waits[arc.target] = waits.get(arc.target, 0) + 1
            for target, delay in timing.launches:
                if delay > self.arrivals.get(target, -1.0):
                    self.arrivals[target], self._before[target] = delay, target
            for capture in timing.captures:
                if far and not capture.near:
                    capture = capture._replace(delay=capture.delay + far)
                self._captures.append((cell, capture))
                if capture.near and kind(cell.type) == "register":
                    registers[capture.source] = registers.get(capture.source, 0) + 1
            if timing.inside:
                self.inside.append((cell, timing.inside))
        self._registers = registers
        self._walk(arcs, waits)

    def wire(self, bit: int, near: str) -> float:
        """What the wire from a bit to a cell takes that may stand near some kinds of cells."""
        if near and self._kinds.get(bit, "") in near.split() and self._registers.get(bit, 0) <= 1:
            return 0.0
        far = self.delays.block if self._kinds.get(bit) in BLOCKS else 0.0
        return self.delays.net + far + self.delays.fan_out * log2(self.netlist.sinks[bit])

    def _walk(self, arcs: dict[int, list[Arc]], waits: dict[int, int]) -> None:
        """Bits in the order of their dependence; raises ``FxsimError`` for a loop without a register."""
        ready = deque(bit for bit in arcs.keys() | self.arrivals.keys() if not waits.get(bit))
        done = 0
        while ready:
            bit = ready.popleft()
            done += 1
            at = self.arrivals.get(bit)
            for arc in arcs.get(bit, ()):
                if at is not None:
                    then = at + self.wire(bit, arc.near) + arc.delay
                    if then > self.arrivals.get(arc.target, -1.0):
                        self.arrivals[arc.target], self._before[arc.target] = then, bit
                waits[arc.target] -= 1
                if not waits[arc.target]:
                    ready.append(arc.target)
        if any(waits.values()):
            raise FxsimError("the netlist has a loop without a register")

    def ends(self) -> Iterator[tuple[float, Cell, Capture]]:
        """The longest path into every pin that a clock edge looks at."""
        for cell, capture in self._captures:
            at = self.arrivals.get(capture.source)
            if at is not None:
                yield at + self.wire(capture.source, capture.near) + capture.delay, cell, capture

    def path(self, length: float, cell: Cell, capture: Capture) -> Path:
        """The path that ends in a pin."""
        bits = [capture.source]
        while self._before[bits[-1]] != bits[-1]:
            bits.append(self._before[bits[-1]])
        hops = tuple(
            Hop(
                self._drivers[bit].type,
                self.netlist.names.get(bit, ""),
                self.arrivals[bit],
                self.netlist.sinks[bit],
            )
            for bit in reversed(bits)
        )
        return Path(length, capture.end, self.name(cell), hops)

    def name(self, cell: Cell) -> str:
        """What a register or block is called: by the first of its outputs that has a name."""
        for pin in sorted(cell.outputs):
            for bit in cell.pins[pin]:
                if bit is not None and bit in self.netlist.names:
                    return self.netlist.names[bit]
        return cell.name
