# SPDX-License-Identifier: Apache-2.0
"""And-inverter graphs as AIGER files hold them. A literal is twice the number of a variable, plus 1 if inverted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import CheckError

__all__ = ["Aig", "Builder"]


@dataclass(frozen=True)
class Aig:
    """A sequential circuit whose registers start at 0: variables are inputs, then registers, then gates, from 1 on."""

    inputs: int
    latches: tuple[int, ...]  #: next value of each register
    outputs: tuple[int, ...]
    gates: tuple[tuple[int, int], ...]  #: the smaller literal first

    @classmethod
    def read(cls, path: Path) -> Aig:
        """Read a binary AIGER file; raise :class:`CheckError` unless every register starts at 0."""
        data = path.read_bytes()
        header, _, rest = data.partition(b"\n")
        kind, *numbers = header.split()
        if kind != b"aig" or len(numbers) != 5:
            raise CheckError(f"{path}: is not a plain binary AIGER file")
        top, inputs, latches, outputs, gates = map(int, numbers)
        lines = rest.split(b"\n", latches + outputs)
        starts = [line.split() for line in lines[:latches]]
        if any(len(start) == 2 and start[1] != b"0" for start in starts):
            raise CheckError(f"{path}: has a register that does not start at 0")
        body, place = lines[-1], 0

        def delta() -> int:
            nonlocal place
            value = shift = 0
            while True:
                byte = body[place]
                place += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    return value

        found = []
        for number in range(top - gates + 1, top + 1):
            high = 2 * number - delta()
            found.append((high - delta(), high))
        ends = tuple(int(line) for line in lines[latches : latches + outputs])
        return cls(inputs, tuple(int(start[0]) for start in starts), ends, tuple(found))

    def write(self, path: Path) -> None:
        """Write a binary AIGER file."""
        first = self.inputs + len(self.latches)
        top = first + len(self.gates)
        lines = [f"aig {top} {self.inputs} {len(self.latches)} {len(self.outputs)} {len(self.gates)}"]
        lines += [str(literal) for literal in (*self.latches, *self.outputs)]
        body = bytearray()
        for number, (low, high) in enumerate(self.gates, first + 1):
            for value in (2 * number - high, high - low):
                while value >= 0x80:
                    body.append(value & 0x7F | 0x80)
                    value >>= 7
                body.append(value)
        path.write_bytes("\n".join([*lines, ""]).encode() + bytes(body))

    def settle(self, inputs: Sequence[int], state: Sequence[int]) -> list[int]:
        """The value of every variable, from those of the inputs and registers; :func:`value` reads a literal."""
        values = [0, *inputs, *state]
        for one, two in self.gates:
            values.append((values[one >> 1] ^ one & 1) & (values[two >> 1] ^ two & 1))
        return values


class Builder:
    """Gates that are made once only: equal ones share a literal, and constants fold."""

    def __init__(self, inputs: int, latches: int) -> None:
        self.inputs, self.latches = inputs, latches
        self.gates: list[tuple[int, int]] = []
        self._known: dict[tuple[int, int], int] = {}

    def both(self, one: int, two: int) -> int:
        """AND of two literals."""
        if one > two:
            one, two = two, one
        if one == 0 or one == two ^ 1:
            return 0
        if one == 1 or one == two:
            return two
        found = self._known.get((one, two))
        if found is None:
            self.gates.append((one, two))
            found = 2 * (self.inputs + self.latches + len(self.gates))
            self._known[one, two] = found
        return found

    def either(self, one: int, two: int) -> int:
        """OR of two literals."""
        return self.both(one ^ 1, two ^ 1) ^ 1

    def differ(self, one: int, two: int) -> int:
        """XOR of two literals."""
        if one == two:
            return 0
        return self.both(self.both(one, two) ^ 1, self.both(one ^ 1, two ^ 1) ^ 1)

    def copy(self, source: Aig, replaced: Mapping[int, int]) -> list[int]:
        """Literals of all variables of a circuit; its inputs and registers are those here, or stand in ``replaced``."""
        leaves = source.inputs + len(source.latches)
        known = [replaced.get(variable, 2 * variable) for variable in range(leaves + 1)]
        for one, two in source.gates:
            known.append(self.both(known[one >> 1] ^ one & 1, known[two >> 1] ^ two & 1))
        return known
