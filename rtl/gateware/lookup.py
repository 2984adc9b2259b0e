# SPDX-License-Identifier: Apache-2.0
"""Tables in memories: the address from a number, and who shares a memory."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.memory import Memory, ReadPort

from fxsim.program.fixed import Fixed, smallest
from fxsim.program.integers import Table
from fxsim.program.ops import Lookup

from ..plan.early_lookup import looked_through
from ..plan.folds import least_bits
from ..plan.names import Names
from ..plan.schedule import LayerSchedule
from .carry_save import with_constant
from .control import Registers
from .fixed import rounded, shifted, split
from .rom import rom


class Tables:
    """The memories of a layer's tables; two readers share one with two ports."""

    def __init__(self, m: Module, registers: Registers, plan: LayerSchedule, names: Names) -> None:
        self.m, self.registers, self.plan, self.names = m, registers, plan, names
        self._memories: dict[tuple[Table, Fixed, Fixed, bool], list[Memory]] = {}

    def read(self, op: Lookup, x: Value) -> Value:
        """Read a table: index now, entry one (or two) cycles later."""
        table, slot = op.table, self.plan.slots[op.name]
        shift = self.plan.program[op.arg].type.frac - table.frac
        scaled = x if table.scale == 1 else x * Const(table.scale)
        if slot.doubled:
            index, up = split(scaled, shift, table.round)
        else:
            index, up = rounded(scaled, shift, table.round), Const(0, 0)
        return self._entry(op, index, up)

    def read_through(self, op: Lookup, operands: list[Value]) -> Value:
        """The same by the operands of the sum that is looked up."""
        plan, total = self.plan, self.plan.program[op.arg]
        known = plan.bounds[op.arg]
        found = looked_through(op, total, known)
        assert found is not None
        constant, shift = found
        low, high = known.exact
        width = max(smallest(min(low, -1), high + constant, 0).width, shift + 1)
        fracs = [plan.program[arg].type.frac for arg in total.args]
        one, two = (shifted(value, known.exact_frac - frac) for value, frac in zip(operands, fracs, strict=True))
        exact = with_constant(one, two, constant, width)
        return self._entry(op, exact[shift:].as_signed(), Const(0, 0))

    def _entry(self, op: Lookup, index: Value, up: Value) -> Value:
        """The entry at a rounded index; ``up``: the rounding of one that is not."""
        m, table, slot = self.m, op.table, self.plan.slots[op.name]
        whole = Signal(index.shape(), name=f"{op.name}_whole")
        place = Signal(range(len(table.values.data)), name=f"{op.name}_index")
        low, high = whole < table.first, whole > table.last
        m.d.comb += whole.eq(index)
        m.d.comb += place.eq(Mux(low, 0, Mux(high, table.last - table.first, whole - table.first)))
        # What lies below a doubled table reads its first entry, however it rounds.
        address: Value = Cat(Mux(low, 0, up), place) if slot.doubled else place
        if slot.cycle - slot.start == 2:
            address = self.registers.later(address, f"{op.name}_address")
        type = self.plan.bounds[op.name].narrow(op.type)
        port = self._port(op, slot.doubled, type)
        m.d.comb += [port.addr.eq(address), port.en.eq(1)]
        data: Value = port.data
        return data.as_signed() if type.signed else data

    def _port(self, op: Lookup, doubled: bool, type: Fixed) -> ReadPort.Signature:
        """A port of a memory with a lookup's entries; two readers share one with two ports."""
        # Shared only by readers with the same proven range: it decides how many bits of an entry are kept.
        key = (op.table, op.type, type, doubled)
        memories = self._memories.setdefault(key, [])
        if not memories or len(memories[-1].read_ports) == 2:
            entries = [int(v) for v in op.table.entries(op.type)]
            if doubled:
                # For each index the entry, and that of the next index, which is the one that it rounds up to.
                entries = [entry for pair in zip(entries, entries[1:] + entries[-1:], strict=True) for entry in pair]
            # Entries that no input reads may not fit the narrow format; they are never seen.
            memory = rom(entries, type.width, least_bits(self.plan.program, op.table))
            self.m.submodules[self.names.take(f"table_{op.name}{len(memories)}", "table")] = memory
            memories.append(memory)
        return memories[-1].read_port()
