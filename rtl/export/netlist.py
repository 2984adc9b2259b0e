# SPDX-License-Identifier: Apache-2.0
"""A synthesized netlist as Yosys writes it: cells of a device family, and what its bits are called."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fxsim.errors import FxsimError
from fxsim.system.forks import cached_property


@dataclass(frozen=True)
class Cell:
    """One cell: its type, its parameters as integers, the bits of its pins, and which pins are outputs.

    A pin that is no vector has one bit. Bits are numbers; constants are left out, as None.
    """

    name: str
    type: str
    parameters: Mapping[str, int]
    pins: Mapping[str, tuple[int | None, ...]]
    outputs: frozenset[str]

    def inputs(self) -> Iterator[tuple[str, int]]:
        """Input pins and the bits that drive them."""
        for pin, bits in self.pins.items():
            if pin not in self.outputs:
                for bit in bits:
                    if bit is not None:
                        yield pin, bit


@dataclass(frozen=True)
class Netlist:
    """The cells of a flat design; ``signals``: names in the source, with the bits of each."""

    cells: tuple[Cell, ...]
    signals: Mapping[str, tuple[int | None, ...]]

    @cached_property
    def names(self) -> dict[int, str]:
        """The name of each bit that has one in the source: of several the shortest in a layer, if there is one."""

        def order(name: str) -> tuple[bool, int, int, str]:
            return name.count(".") < 2, name.count("."), len(name), name

        found: dict[int, str] = {}
        for name in sorted(self.signals, key=order, reverse=True):
            bits = self.signals[name]
            for place, bit in enumerate(bits):
                if bit is not None:
                    found[bit] = name if len(bits) == 1 else f"{name}[{place}]"
        return found

    @cached_property
    def sinks(self) -> dict[int, int]:
        """How many pins each bit drives."""
        found: dict[int, int] = {}
        for cell in self.cells:
            for _, bit in cell.inputs():
                found[bit] = found.get(bit, 0) + 1
        return found


def read_netlist(path: Path, top: str) -> Netlist:
    """Read what ``write_json`` of Yosys wrote; raises ``FxsimError`` for anything else."""
    try:
        module = json.loads(path.read_bytes())["modules"][top]
        cells = tuple(_cell(name, one) for name, one in module["cells"].items())
        signals = {
            name: tuple(_bit(bit) for bit in one["bits"])
            for name, one in module["netnames"].items()
            if not one["hide_name"]
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FxsimError(f"{path}: is no netlist of Yosys ({type(error).__name__}: {error})") from None
    return Netlist(cells, signals)


def _cell(name: str, one: Mapping[str, Any]) -> Cell:
    return Cell(
        name,
        one["type"],
        {key: _parameter(value) for key, value in one["parameters"].items() if not key.startswith("INIT")},
        {pin: tuple(_bit(bit) for bit in bits) for pin, bits in one["connections"].items()},
        frozenset(pin for pin, direction in one["port_directions"].items() if direction == "output"),
    )


def _bit(bit: object) -> int | None:
    return bit if isinstance(bit, int) else None


def _parameter(value: str) -> int:
    """A parameter's number; texts and unknown bits count as 0."""
    try:
        return int(value, 2)
    except ValueError:
        return 0
