# SPDX-License-Identifier: Apache-2.0
"""Counters that say which beat of which token is where in a layer's pipeline."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value

from ..plan.folds import Fold


class Registers:
    """Collects register transfers, wherever in a module's text they come to be needed."""

    def __init__(self) -> None:
        self._transfers: list[tuple[Signal, Value]] = []
        self._enabled: list[tuple[Value, list[tuple[Signal, Value]]]] = []

    def add(self, target: Signal, value: Value) -> None:
        """``target`` takes ``value`` at every clock edge."""
        self._transfers.append((target, value))

    def later(self, value: Value, name: str, reset_less: bool = True) -> Signal:
        """``value`` one cycle later."""
        register = Signal(value.shape(), name=name, reset_less=reset_less)
        self.add(register, value)
        return register

    def captured(self, values: list[Value], enable: Value, name: str) -> list[Value]:
        """Registers that take the values at the edges at which ``enable`` is high."""
        kept = [Signal(value.shape(), name=f"{name}_{k}", reset_less=True) for k, value in enumerate(values)]
        self._enabled.append((enable, list(zip(kept, values, strict=True))))
        return list(kept)

    def finish(self, m: Module) -> None:
        """Put the transfers into the module; call it once, outside of any condition."""
        m.d.sync += [target.eq(value) for target, value in self._transfers]
        for enable, transfers in self._enabled:
            with m.If(enable):
                m.d.sync += [target.eq(value) for target, value in transfers]


class Delay:
    """A value and its copies in later cycles, made as they are asked for."""

    def __init__(self, registers: Registers, value: Value, name: str, reset_less: bool = True) -> None:
        self._registers, self._name, self._reset_less = registers, name, reset_less
        self._copies: list[Value] = [value]

    def __call__(self, cycles: int) -> Value:
        """The value ``cycles`` cycles later."""
        if cycles < 0:
            raise ValueError(f"{self._name}: delay must not be negative, not {cycles}")
        while len(self._copies) <= cycles:
            name = f"{self._name}_d{len(self._copies)}"
            self._copies.append(self._registers.later(self._copies[-1], name, self._reset_less))
        return self._copies[cycles]


class Flow:
    """Signals of an op that pass by: those of beat 0 stand in ``cycle``, those of the next a beat later."""

    def __init__(self, registers: Registers, name: str, cycle: int, values: list[Value]) -> None:
        self.cycle, self.values = cycle, values
        self._delays = [Delay(registers, value, f"{name}{k}") for k, value in enumerate(values)]

    def at(self, cycle: int) -> list[Value]:
        """The signals in a later cycle of beat 0."""
        return [delay(cycle - self.cycle) for delay in self._delays]


class Relay(Flow):
    """The same where tokens are ``interval`` cycles apart: each copy stands that long, so that fewer are needed.

    ``stands``: cycles in which the signals themselves stand.
    """

    def __init__(
        self, registers: Registers, name: str, cycle: int, values: list[Value], phase: Phase, interval: int, stands: int
    ) -> None:
        super().__init__(registers, name, cycle, values)
        self._registers, self._name, self._phase = registers, name, phase
        self._interval, self._stands = interval, stands
        self._copies: list[list[Value]] = [values]

    def at(self, cycle: int) -> list[Value]:
        """The signals in a later cycle."""
        late = cycle - self.cycle - self._stands
        copies = 0 if late < 0 else 1 + late // self._interval
        while len(self._copies) <= copies:
            when = self.cycle + self._stands - 1 + (len(self._copies) - 1) * self._interval
            name = f"{self._name}_of{when}"
            self._copies.append(self._registers.captured(self._copies[-1], self._phase.strobe(when), name))
        return self._copies[copies]


class Phase:
    """Counts the beats of a token from the cycle in which ``start`` is high.

    Beat g occupies cycles ``g * fold.cycles`` to ``(g + 1) * fold.cycles - 1`` after it. The next ``start`` may come
    when the last beat is over, not before. ``last`` and ``abort`` must stand in the cycle of ``start``.
    """

    def __init__(
        self, m: Module, registers: Registers, name: str, fold: Fold, start: Value, last: Value, abort: Value
    ) -> None:
        self._m, self._registers, self._name, self.fold = m, registers, name, fold
        self.start = start
        self.active = Signal(name=f"{name}_active")
        self.beat = Signal(range(max(fold.beats, 2)), name=f"{name}_beat")
        self.cycle = Signal(range(max(fold.cycles, 2)), name=f"{name}_cycle")
        self.last, self.abort = self._tag(last, "last"), self._tag(abort, "abort")
        running = Signal(name=f"{name}_running")
        m.d.comb += self.active.eq(start | running)
        if fold.reuse > 1:
            with m.If(self.active):
                m.d.sync += running.eq(1)
                with m.If(self.cycle == fold.cycles - 1):
                    m.d.sync += self.cycle.eq(0)
                    with m.If(self.beat == fold.beats - 1):
                        m.d.sync += [self.beat.eq(0), running.eq(0)]
                    with m.Else():
                        m.d.sync += self.beat.eq(self.beat + 1)
                with m.Else():
                    m.d.sync += self.cycle.eq(self.cycle + 1)
        self._strobes: dict[int, Delay] = {}
        self._beat = Delay(registers, self.beat, f"{name}_beat")
        self._last = Delay(registers, self.last, f"{name}_last")
        self._abort = Delay(registers, self.abort, f"{name}_abort")

    def _tag(self, value: Value, name: str) -> Value:
        if self.fold.reuse == 1:
            return value
        held = Signal(name=f"{self._name}_{name}_held")
        tag = Signal(name=f"{self._name}_{name}")
        self._m.d.comb += tag.eq(value & self.start | held & ~self.start)
        self._m.d.sync += held.eq(tag)
        return tag

    def _split(self, time: int) -> tuple[int, int]:
        """``time`` as a cycle within the beat and the delay that remains."""
        within = min(time, self.fold.cycles - 1)
        return within, time - within

    def strobe(self, time: int) -> Value:
        """High in cycle ``time`` of every beat (which may be long after the beat's own cycles)."""
        within, rest = self._split(time)
        if within not in self._strobes:
            here = self.active if self.fold.cycles == 1 else self.active & (self.cycle == within)
            self._strobes[within] = Delay(self._registers, here, f"{self._name}_strobe{within}", reset_less=False)
        return self._strobes[within](rest)

    def index(self, time: int) -> Value:
        """Number of the beat whose cycle ``time`` it is."""
        return self._beat(self._split(time)[1])

    def final(self, time: int) -> Value:
        """High in cycle ``time`` of the last beat."""
        if self.fold.beats == 1:
            return self.strobe(time)
        return self.strobe(time) & (self.index(time) == self.fold.beats - 1)

    def first(self, time: int) -> Value:
        """High in cycle ``time`` of beat 0."""
        if time == 0:
            return self.start
        if self.fold.beats == 1:
            return self.strobe(time)
        return self.strobe(time) & (self.index(time) == 0)

    def ends(self, time: int) -> Value:
        """Whether the token in cycle ``time`` is the last of its sequence, broken or not."""
        return self._last(self._split(time)[1])

    def broken(self, time: int) -> Value:
        """Whether the token in cycle ``time`` ends a broken sequence."""
        return self._abort(self._split(time)[1])


def after(value: Value, count: int) -> Value:
    """The next of ``count`` numbers, around."""
    return Mux(value == count - 1, 0, value + 1)
