# SPDX-License-Identifier: Apache-2.0
"""The timing of one cell: the ways through it, what its clock launches and what it captures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from fxsim.errors import FxsimError

from ..plan.cell_delays import CellDelays
from .netlist import Cell

#: What a path ends in: data, enable or reset of a register, or a pin of a memory.
End = Literal["data", "enable", "reset", "memory"]
#: Cells that are no part of a path: clock buffers, constants, and notes of Yosys.
_NOTHING = frozenset(("BUFG", "BUFGCTRL", "GND", "VCC", "GSR", "$scopeinfo"))
#: Kinds of cells that stand in columns of their own.
BLOCKS = frozenset(("ram", "dsp", "multiplier"))
_CLOCKS = frozenset(
    ("C", "CLK", "WCLK", "WCK", "CLKARDCLK", "CLKBWRCLK", "CLKA", "CLKB", "CLK0", "CLK1", "CLK2", "CLK3")
)


class Arc(NamedTuple):
    """A way through a cell, from the bit ``source`` to the bit ``target``, in ns.

    ``near``: kinds of cells that stand so close before it that the wire between them takes no time.
    """

    source: int
    target: int
    delay: float
    near: str = ""


class Launch(NamedTuple):
    """A bit that changes ``delay`` ns after a clock edge."""

    target: int
    delay: float


class Capture(NamedTuple):
    """A bit that must stand ``delay`` ns before a clock edge; ``near`` as for :class:`Arc`."""

    source: int
    delay: float
    end: End
    near: str = ""


@dataclass
class CellTiming:
    """All of a cell; ``inside``: the longest path from one of its registers to another one, or 0."""

    arcs: list[Arc] = field(default_factory=list)
    launches: list[Launch] = field(default_factory=list)
    captures: list[Capture] = field(default_factory=list)
    inside: float = 0.0


def cell_timing(cell: Cell, delays: CellDelays) -> CellTiming:
    """The timing of a cell of a family; raises ``FxsimError`` for a type that is not known."""
    found = CellTiming()
    if cell.type not in _NOTHING:
        for prefix, _, build in _TYPES:
            if cell.type.startswith(prefix):
                build(cell, delays, found)
                break
        else:
            raise FxsimError(f"cell type {cell.type} has no known timing")
    return found


def kind(type: str) -> str:
    """The kind of a cell's type, as ``near`` names it."""
    return next((kind for prefix, kind, _ in _TYPES if type.startswith(prefix)), "")


def _pins(cell: Cell, *names: str) -> list[int]:
    """The bits of some pins that are connected."""
    return [bit for name in names for bit in cell.pins.get(name, ()) if bit is not None]


def _outputs(cell: Cell, prefix: str = "") -> list[int]:
    return _pins(cell, *(pin for pin in cell.outputs if pin.startswith(prefix)))


def _data(cell: Cell) -> Iterable[str]:
    """Input pins but for the clocks."""
    return (pin for pin in cell.pins if pin not in cell.outputs and pin not in _CLOCKS)


def _logic(cell: Cell, delays: CellDelays, found: CellTiming) -> None:
    for target in _outputs(cell):
        found.arcs += [Arc(bit, target, delays.lut) for _, bit in cell.inputs()]


def _mux(cell: Cell, delays: CellDelays, found: CellTiming) -> None:
    for target in _outputs(cell):
        for pin, bit in cell.inputs():
            # The selecting input comes from elsewhere.
            found.arcs.append(Arc(bit, target, delays.mux, "" if pin in ("S", "C0", "SD") else "lut mux"))


def _carry(cell: Cell, delays: CellDelays, found: CellTiming) -> None:
    """CARRY4 and its like: place i is a select bit S[i], a data bit DI[i], a sum O[i] and a carry CO[i]."""
    for kind, from_chain in (("O", delays.carry_sum), ("CO", delays.carry_on)):
        for place, target in enumerate(cell.pins.get(kind, ())):
            if target is None:
                continue
            later = delays.carry_place * place if kind == "O" else 0.0
            for pin in ("CI", "CYINIT"):
                found.arcs += [Arc(bit, target, from_chain + later, "carry") for bit in _pins(cell, pin)]
            for pin, into, near in (("S", delays.carry_select, "lut"), ("DI", delays.carry_data, "")):
                for origin, bit in enumerate(cell.pins[pin][: place + 1]):
                    if bit is not None:
                        found.arcs.append(Arc(bit, target, into + delays.carry_place * (place - origin), near))


def _ccu2c(cell: Cell, delays: CellDelays, found: CellTiming) -> None:
    """Two LUTs of an ECP5 with a carry chain; the second sum needs what the chain makes of the first LUT."""
    for place in (0, 1):
        operands = _pins(cell, *(f"{pin}{place}" for pin in "ABCD"))
        onto = {f"S{place}": delays.carry_select, "COUT": delays.carry_data}
        if place == 0:
            onto["S1"] = delays.carry_select + delays.carry_place + delays.carry_sum
        found.arcs += [
            Arc(bit, target, delay) for pin, delay in onto.items() for bit in operands for target in _pins(cell, pin)
        ]
    onward = {"COUT": delays.carry_on, "S0": delays.carry_sum, "S1": delays.carry_sum + delays.carry_place}
    for bit in _pins(cell, "CIN"):
        found.arcs += [Arc(bit, target, delay, "carry") for pin, delay in onward.items() for target in _pins(cell, pin)]


def _register(cell: Cell, delays: CellDelays, found: CellTiming) -> None:
    found.launches += [Launch(bit, delays.register) for bit in _outputs(cell)]
    for pin in _data(cell):
        for bit in _pins(cell, pin):
            if pin in ("D", "DI"):
                found.captures.append(Capture(bit, delays.setup, "data", "lut mux carry"))
            elif pin == "CE":
                found.captures.append(Capture(bit, delays.enable, "enable"))
            else:
                found.captures.append(Capture(bit, delays.reset, "reset"))


def _shift(cell: Cell, delays: CellDelays, found: CellTiming) -> None:
    found.launches += [Launch(bit, delays.shift) for bit in _outputs(cell)]
    for pin in _data(cell):
        for bit in _pins(cell, pin):
            if pin in ("D", "CE"):
                found.captures.append(Capture(bit, delays.write, "data" if pin == "D" else "enable"))
            else:
                found.arcs += [Arc(bit, target, delays.lut) for target in _pins(cell, "Q")]


def _memory(cell: Cell, delays: CellDelays, found: CellTiming) -> None:
    """A memory in LUTs: read at once, written at the edge."""
    found.launches += [Launch(bit, delays.memory) for bit in _outputs(cell)]
    for pin in _data(cell):
        for bit in _pins(cell, pin):
            if pin.startswith(("ADDR", "DPRA")) or (pin[0] == "A" and pin[1:].isdigit()):
                # ADDRA reads DOA; the others have one port to read.
                port = f"DO{pin[4:]}" if pin.startswith("ADDR") else ""
                found.arcs += [Arc(bit, target, delays.lut) for target in _outputs(cell, port)]
            if not pin.startswith("DPRA"):
                found.captures.append(Capture(bit, delays.write, "enable" if pin.startswith("W") else "memory"))


def _dpr16x4(cell: Cell, delays: CellDelays, found: CellTiming) -> None:
    """A memory in LUTs of an ECP5: data and address to write are taken up as fast as by a register."""
    found.launches += [Launch(bit, delays.memory) for bit in _outputs(cell)]
    found.arcs += [Arc(bit, target, delays.lut) for bit in _pins(cell, "RAD") for target in _outputs(cell)]
    found.captures += [Capture(bit, delays.setup, "memory") for bit in _pins(cell, "DI", "WAD")]
    found.captures += [Capture(bit, delays.write, "enable") for bit in _pins(cell, "WRE")]


def _ram(cell: Cell, delays: CellDelays, found: CellTiming) -> None:
    """A block RAM: everything at the edge."""
    # On ECP5 Yosys leaves the register unused.
    registered = {port for port in "AB" if cell.parameters.get(f"DO{port}_REG")}
    for pin in cell.outputs:
        port = next((letter for letter in pin if letter in "AB"), "A")
        delay = delays.ram_register if port in registered else delays.ram
        found.launches += [Launch(bit, delay) for bit in _pins(cell, pin)]
    for pin in _data(cell):
        for bit in _pins(cell, pin):
            if pin.startswith("AD"):
                found.captures.append(Capture(bit, delays.ram_address, "memory"))
            elif pin.startswith("DI"):
                found.captures.append(Capture(bit, delays.ram_data, "memory"))
            else:
                found.captures.append(Capture(bit, delays.ram_enable, "reset" if pin.startswith("RST") else "enable"))


def _dsp(cell: Cell, delays: CellDelays, found: CellTiming) -> None:
    """A DSP block: what its registers split the way from a pin to the output into."""
    has = {name: cell.parameters.get(f"{name}REG", 0) > 0 for name in "ABCDMP"}
    for output, onward in (("P", 0.0), ("PCOUT", delays.onward)):
        for target in _pins(cell, output):
            if has["P"]:
                found.launches.append(Launch(target, delays.result_out + onward))
                continue
            if has["M"]:
                found.launches.append(Launch(target, delays.product_out + onward))
            for factor, name in enumerate("AB"):
                if has[name] and not has["M"]:
                    found.launches.append(Launch(target, delays.factor_out[factor] + onward))
    for pin in _data(cell):
        for bit in _pins(cell, pin):
            _dsp_pin(cell, pin, bit, has, delays, found)
    if has["P"] and not has["M"]:
        found.inside = max(
            (delays.factor_out[k] - delays.result_out for k, name in enumerate("AB") if has[name]), default=0.0
        )
    elif has["P"]:
        found.inside = delays.product_out - delays.result_out


def _dsp_pin(cell: Cell, pin: str, bit: int, has: dict[str, bool], delays: CellDelays, found: CellTiming) -> None:
    def onto_output(delay: float, near: str = "") -> None:
        for output, onward in (("P", 0.0), ("PCOUT", delays.onward)):
            found.arcs += [Arc(bit, target, delay + onward, near) for target in _pins(cell, output)]

    if pin.startswith(("CE", "RST")):
        found.captures.append(Capture(bit, delays.dsp_enable, "enable" if pin.startswith("CE") else "reset"))
    elif pin in ("A", "B", "D"):
        factor = int(pin == "B")
        if has[pin]:
            found.captures.append(Capture(bit, delays.factor[factor], "data"))
        elif has["M"]:
            found.captures.append(Capture(bit, delays.product[factor], "data"))
        elif has["P"]:
            found.captures.append(Capture(bit, delays.result[factor], "data"))
        else:
            onto_output(delays.through[factor])
    elif pin == "PCIN":
        if has["P"]:
            found.captures.append(Capture(bit, delays.cascade_result, "data", "dsp"))
        else:
            onto_output(delays.cascade, "dsp")
    elif pin == "C" and has["C"]:
        found.captures.append(Capture(bit, delays.factor[0], "data"))
    elif has["P"]:
        found.captures.append(Capture(bit, delays.term_result, "data"))
    else:
        # The third operand; a carry or a mode that comes from logic is as late.
        onto_output(delays.term)


def _multiplier(cell: Cell, delays: CellDelays, found: CellTiming) -> None:
    """MULT18X18D of an ECP5, whose registers Yosys leaves unused."""
    for pin in _data(cell):
        for bit in _pins(cell, pin):
            if pin.startswith(("CE", "RST")):
                found.captures.append(Capture(bit, delays.dsp_enable, "enable" if pin.startswith("CE") else "reset"))
            else:
                found.arcs += [Arc(bit, target, delays.through[0]) for target in _outputs(cell)]


#: Types by the beginning of their names, in the order in which they are tried; the kind of each; its timing.
_TYPES: tuple[tuple[str, str, Callable[[Cell, CellDelays, CellTiming], None]], ...] = (
    ("LUT", "lut", _logic),
    ("INV", "lut", _logic),
    ("MUXF", "mux", _mux),
    ("PFUMX", "mux", _mux),
    ("L6MUX21", "mux", _mux),
    ("CARRY", "carry", _carry),
    ("CCU2C", "carry", _ccu2c),
    ("FD", "register", _register),
    ("TRELLIS_FF", "register", _register),
    ("SRL", "shift", _shift),
    ("RAMB", "ram", _ram),
    ("DP16KD", "ram", _ram),
    ("RAM", "memory", _memory),
    ("TRELLIS_DPR16X4", "memory", _dpr16x4),
    ("DSP48E", "dsp", _dsp),
    ("MULT18X18D", "multiplier", _multiplier),
)
