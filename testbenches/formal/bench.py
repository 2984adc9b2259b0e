# SPDX-License-Identifier: Apache-2.0
"""What a proof is written in: a block, free inputs, assumptions about them, checks, goals that must be reachable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, Cover, Fragment, Module, Signal, Value

from ..errors import CheckError


class Bench:
    """A module under construction; reset is free in it, so that everything is proven across resets too."""

    def __init__(self) -> None:
        self.m = Module()
        self._ports: list[Signal] = []
        self._lemmas: list[tuple[str, Any, Any]] = []
        self._count = 0

    def free(self, shape: Any, name: str) -> Signal:
        """An input that may be anything in every cycle."""
        signal = Signal(shape, name=name)
        self._ports.append(signal)
        return signal

    def own(self, *signals: Any) -> None:
        """Signals of a block that nobody drives become such inputs."""
        self._ports += [Value.cast(signal) for signal in signals]

    def signal(self, shape: Any, name: str) -> Signal:
        """A wire."""
        return Signal(shape, name=name)

    def register(self, shape: Any, name: str, reset: bool = True, init: Any = 0) -> Signal:
        """A register of the bench's own."""
        return Signal(shape, name=name, reset_less=not reset, init=init)

    def later(self, value: Value, name: str) -> Signal:
        """``value`` one cycle later, 0 after a reset."""
        signal = self.register(value.shape(), name)
        self.m.d.sync += signal.eq(value)
        return signal

    def assume(self, condition: Any) -> None:
        """Look only at runs in which ``condition`` holds in every cycle."""
        self.m.d.comb += Assume(condition)

    def check(self, claim: str, condition: Any, when: Any = 1) -> None:
        """``condition`` must hold in every cycle in which ``when`` does."""
        holds = self._wire("check")
        self.m.d.comb += [holds.eq(~Value.cast(when).bool() | Value.cast(condition).bool()), Assert(holds, claim)]

    def lemma(self, claim: str, condition: Any, when: Any = 1) -> None:
        """A check of the block's inner state (or the model's), only there for the induction to know."""
        self._lemmas.append((claim, condition, when))

    def goal(self, claim: str, condition: Any) -> None:
        """``condition`` must be possible, else the checks that speak of it would say nothing."""
        reached = self._wire("goal")
        self.m.d.comb += [reached.eq(Value.cast(condition).bool()), Cover(reached, claim)]

    def _wire(self, kind: str) -> Signal:
        self._count += 1
        return Signal(name=f"{kind}_{self._count}")

    def assume_stream(self, valid: Value, ready: Value, payload: Any) -> None:
        """A stream's source keeps the rule."""
        self.assume(self._keeps_rule(valid, ready, payload))

    def check_stream(self, valid: Value, ready: Value, payload: Any) -> None:
        """AXI-Stream: what is valid stays, and stays the same, until it is taken."""
        self.check("a valid beat stays until it is taken, and does not change", self._keeps_rule(valid, ready, payload))
        self.goal("a beat waits and is then taken", self.later(valid & ~ready, "waited") & valid & ready)

    def _keeps_rule(self, valid: Value, ready: Value, payload: Any) -> Value:
        self._count += 1
        payload = Value.cast(payload)
        stalled = self.later(valid & ~ready, f"stalled_{self._count}")
        before = self.later(payload, f"payload_{self._count}")
        return ~stalled | (valid & (payload == before))

    def add(self, name: str, block: Any) -> Inside:
        """Put the block under proof into the bench; gives its inner signals."""
        fragment = Fragment.get(block, None)
        self.m.submodules[name] = fragment
        return Inside(fragment)

    def rtlil(self, lemmas: bool = True) -> str:
        """The bench as Yosys reads it; once."""
        for claim, condition, when in self._lemmas if lemmas else []:
            self.check(claim, condition, when)
        text: str = rtlil.convert(Fragment.get(self.m, None), ports=self._ports, name="top")
        return text


def opened(block: Any) -> Any:
    """A block's module before it is put into a bench, for ports of the bench's own on its memories."""
    module = block.elaborate(None)
    block._MustUse__used = True  # else Amaranth warns that the block itself went nowhere
    return module


class Inside:
    """Signals that a block's own text assigns, by name: what an induction must know of its state."""

    def __init__(self, fragment: Any) -> None:
        self._found: dict[str, list[Signal]] = {}
        for signal in _assigned(fragment):
            known = self._found.setdefault(signal.name, [])
            if all(signal is not other for other in known):
                known.append(signal)

    def __getitem__(self, name: str) -> Signal:
        found = self._found.get(name, [])
        if len(found) != 1:
            raise CheckError(f"the proof names signal {name!r}, of which the block has {len(found)}")
        return found[0]


def _assigned(fragment: Any) -> Iterator[Signal]:
    for statements in fragment.statements.values():
        for statement in statements:
            yield from (signal for signal in statement._lhs_signals() if isinstance(signal, Signal))
    for part, *_ in fragment.subfragments:
        yield from _assigned(part)
