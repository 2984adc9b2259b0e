# SPDX-License-Identifier: Apache-2.0
"""The cocotb tests; :func:`testbenches.cocotb_run.run_cocotb` runs them.

Settings come by environment: ``FXSIM_MANIFEST`` (folder), ``FXSIM_VECTORS`` (.npz), ``FXSIM_SEQUENCES`` (how many of
them each test uses), ``FXSIM_TIMING`` (0: do not compare cycles with the manifest) and ``FXSIM_FEW`` (1: as few
sequences and cycles as a test can do with, for designs whose sequences are long).
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge
from cocotbext.axi import AxiStreamBus, AxiStreamSink, AxiStreamSource  # type: ignore[import-untyped]

from . import timing
from .locate import difference
from .manifest import Manifest, Timing, pack, unpack
from .vectors import Vectors

STALLS = ("none", "random", "bursts")
#: Where packets end if sequences are counted: once for all of them, never, with each beat, anywhere.
PACKETS = ("whole", "low", "high", "random")
RESET_CYCLES = 8
#: Moments of a sequence's way at which a reset comes.
RESETS = 16
#: Whether sequences are so long that few of them must do, and then the most cycles to wait for what should not come.
FEW = os.environ.get("FXSIM_FEW") == "1"
PATIENCE = 4096


def pauses(kind: str, seed: int, longest: int) -> Iterator[bool] | None:
    """Generate one stall pattern: a bit for each cycle, or None for no stall at all."""
    if kind == "none":
        return None
    return _random(seed) if kind == "random" else _bursts(seed, longest)


def _random(seed: int) -> Iterator[bool]:
    rng = random.Random(seed)
    while True:
        yield rng.random() < 0.4


def _bursts(seed: int, longest: int) -> Iterator[bool]:
    rng = random.Random(seed)
    while True:
        for pause in (False, True):
            for _ in range(rng.randint(1, rng.choice((8, longest)))):
                yield pause


class _Frames:
    """What the input's beats say of frame_error: it is high in the cycle after the beat that shows a wrong length."""

    def __init__(self, size: int, counted: bool) -> None:
        self.size = size
        self.counted = counted  # no sequence is of a wrong length
        self.reset()

    def reset(self) -> None:
        """Begin with the first beat of a frame."""
        self.beats = 0
        self.broken = False  # TLAST is missing, and nothing counts until it comes
        self.due = False

    def take(self, last: bool) -> None:
        """Follow one beat."""
        if self.counted:
            return
        if self.broken:
            self.broken = not last
            return
        self.beats += 1
        whole = self.beats == self.size
        self.due = whole != last
        self.broken = whole and not last
        if whole or last:
            self.beats = 0


class Monitor:
    """Watch all ports, once a cycle, and hold them to the rules of the protocol.

    It samples at the falling edge: inputs change right after the rising edge and outputs are registered, so what stands
    there is what the next rising edge sees, on every simulator alike. ``edge`` is the number of that rising edge.
    """

    def __init__(self, tb: TB) -> None:
        self.tb = tb
        self.edge = 0
        self.moved = 0  # edge of the last handshake
        self.sent: list[int] = []  # edges that took an input beat
        self.out_stands: int | None = None  # first edge at which an output beat stood
        self.errors: list[int] = []  # edges at which frame_error was high
        self.frames: list[list[int]] = []  # tdata of each beat, split after TLAST
        self.completions: list[int] = []  # edges that took an output TLAST
        self.open: list[int] = []
        self.held: tuple[int, int] | None = None
        self.input = _Frames(tb.manifest.input.beats_per_sequence, tb.manifest.counted)

    async def run(self) -> None:
        """Sample until the test ends."""
        clock = FallingEdge(self.tb.clock)
        while True:
            await clock
            if self.tb.resetting:
                self.held = None
                self.open = []
                self.input.reset()
            else:
                self.sample()
            self.edge += 1

    def bit(self, name: str) -> int:
        """Value of a one-bit port, which must not be X."""
        value = getattr(self.tb.dut, name).value
        assert value.is_resolvable, f"{name} is {value} at clock edge {self.edge}"
        return int(value)

    def sample(self) -> None:
        """Look at one cycle."""
        source, sink = self.tb.manifest.input.prefix, self.tb.manifest.output.prefix
        error, due = self.bit("frame_error"), self.input.due
        if error:
            self.errors.append(self.edge)
        why = "the beat before ended a frame too soon or not in time" if due else "no beat before showed a wrong length"
        assert error == due, f"frame_error is {error} at clock edge {self.edge}, though {why}"
        self.input.due = False
        if self.bit(f"{source}_tready") & self.bit(f"{source}_tvalid"):
            self.sent.append(self.edge)
            self.moved = self.edge
            self.input.take(bool(self.bit(f"{source}_tlast")))
        ready = self.bit(f"{sink}_tready")
        if not self.bit(f"{sink}_tvalid"):
            assert self.held is None, f"tvalid fell before tready took the beat, at clock edge {self.edge}"
            return
        if self.out_stands is None:
            self.out_stands = self.edge
        value = getattr(self.tb.dut, f"{sink}_tdata").value
        assert value.is_resolvable, f"{sink}_tdata holds X while tvalid is high, at clock edge {self.edge}: {value}"
        beat = (value.to_unsigned(), self.bit(f"{sink}_tlast"))
        assert self.held in (None, beat), f"tdata or tlast changed while stalled, at clock edge {self.edge}"
        self.held = None if ready else beat
        if ready:
            self.moved = self.edge
            self.open.append(beat[0])
            if beat[1]:
                self.frames.append(self.open)
                self.completions.append(self.edge)
                self.open = []


class TB:
    """Clock, reset, source, sink and monitor of one test."""

    def __init__(
        self, dut: Any, idle: str = "none", backpressure: str = "none", tlast: Sequence[bool] | None = None
    ) -> None:
        self.dut = dut
        self.tlast = tlast  # of each input beat, where it is not that of the frames
        self.manifest = Manifest.load(os.environ["FXSIM_MANIFEST"])
        self.vectors = Vectors.load(os.environ["FXSIM_VECTORS"], self.manifest)
        self.count = min(int(os.environ.get("FXSIM_SEQUENCES", "20")), len(self.vectors))
        for stream in (self.manifest.input, self.manifest.output):
            width = len(getattr(dut, f"{stream.prefix}_tdata"))
            assert width == stream.data_bits, (
                f"{stream.prefix}_tdata is {width} bits wide, the manifest says {stream.data_bits}"
            )
        self.clock = getattr(dut, self.manifest.clock)
        self.reset_n = getattr(dut, self.manifest.reset)
        self.resetting = True
        self.reset_n.value = 0
        Clock(self.clock, 10, unit="ns").start()
        # the models log every frame
        logging.getLogger("cocotb").setLevel(logging.WARNING)
        logging.getLogger("cocotb.regression").setLevel(logging.INFO)  # which test runs
        self.source = self._endpoint(AxiStreamSource, self.manifest.input.prefix)
        self.sink = self._endpoint(AxiStreamSink, self.manifest.output.prefix)
        for endpoint, kind, seed in ((self.source, idle, 1), (self.sink, backpressure, 2)):
            endpoint.set_pause_generator(pauses(kind, seed, self.manifest.burst))
        self.monitor = Monitor(self)
        cocotb.start_soon(self.monitor.run())
        if tlast is not None:
            cocotb.start_soon(self._drive_tlast(tlast))

    def _endpoint(self, kind: Any, prefix: str) -> Any:
        logging.getLogger(f"cocotb.{self.dut._name}.{prefix}").setLevel(logging.WARNING)
        bus = AxiStreamBus.from_prefix(self.dut, prefix)
        if self.tlast is not None and prefix == self.manifest.input.prefix:
            del bus.tlast  # else the model would drive it
        # tdata is one "byte" to the model per 8 bits
        return kind(bus, self.clock, self.reset_n, reset_active_level=False, byte_size=8)

    async def _drive_tlast(self, values: Sequence[bool]) -> None:
        """Give each input beat its TLAST, and keep it until the beat is taken."""
        prefix = self.manifest.input.prefix
        port, valid, ready = (getattr(self.dut, f"{prefix}_{name}") for name in ("tlast", "tvalid", "tready"))
        for value in values:
            port.value = int(value)
            taken = False
            while not taken:
                await RisingEdge(self.clock)
                taken = not self.resetting and bool(int(valid.value) & int(ready.value))

    async def reset(self) -> None:
        """Reset the design; what the source still had to send is dropped."""
        self.resetting = True
        self.source.clear()
        self.reset_n.value = 0
        await self.cycles(RESET_CYCLES)
        self.monitor.frames = []
        self.reset_n.value = 1
        self.resetting = False

    async def cycles(self, count: int) -> None:
        """Let clock cycles pass."""
        for _ in range(count):
            await FallingEdge(self.clock)

    def send(self, sequence: int, beats: int | None = None) -> None:
        """Queue a sequence; with ``beats`` a frame of a wrong length, filled with the sequences that follow."""
        size = self.manifest.input.beats_per_sequence
        count = size if beats is None else beats
        order = [divmod(beat, size) for beat in range(count)]
        values = np.stack([self.vectors.inputs[(sequence + ahead) % len(self.vectors), beat] for ahead, beat in order])
        words = pack(values, self.manifest.input)
        octets = words.view(np.uint8).reshape(count, -1)[:, : self.manifest.input.data_bits // 8]
        self.source.send_nowait(octets.tobytes())

    async def finish(self, frames: int) -> None:
        """Wait for that many output frames since the start, then see that nothing follows."""
        await self.until(lambda: len(self.monitor.frames) >= frames)
        await self.quiet()
        came = len(self.monitor.frames)
        assert came == frames, f"{came} output frames came instead of {frames}"

    async def quiet(self) -> None:
        """Wait until a design that has all its input has nothing left to say."""
        await self.until(self.source.idle)
        await self.cycles(self.drain)

    @property
    def drain(self) -> int:
        """Cycles of that."""
        return min(self.manifest.drain, PATIENCE) if FEW else self.manifest.drain

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition; fail when no beat moves any more."""
        monitor = self.monitor
        start = monitor.edge
        while not condition():
            await FallingEdge(self.clock)
            waited = monitor.edge - max(monitor.moved, start)
            assert waited <= self.manifest.timeout, (
                f"timeout: no beat moved for {waited} cycles, after {len(monitor.sent)} input beats "
                f"and {len(monitor.frames)} output frames"
            )

    def expect(self, sequences: list[int], after_fault: tuple[int, ...] = ()) -> None:
        """Compare all output frames with those of these sequences.

        Where ``after_fault`` names the place of a frame that follows a broken one, beats of the broken sequence may
        stand before it: with one output beat a step they had left before the fault was known.
        """
        stream = self.manifest.output
        size = stream.beats_per_sequence
        assert len(self.monitor.frames) == len(sequences), (
            f"{len(self.monitor.frames)} output frames came instead of {len(sequences)}"
        )
        for place, (sequence, frame) in enumerate(zip(sequences, self.monitor.frames, strict=True)):
            tolerant = place in after_fault and size > 1
            assert len(frame) == size or (tolerant and len(frame) > size), (
                f"output frame {place} (sequence {sequence}) has TLAST at beat {len(frame) - 1} instead of {size - 1}"
            )
            words = np.frombuffer(
                b"".join(value.to_bytes(stream.words * 4, "little") for value in frame[-size:]), dtype="<u4"
            )
            got = unpack(words.reshape(size, stream.words), stream)
            want = self.vectors.outputs[sequence % len(self.vectors)]
            for step in range(size):
                if (got[step] != want[step]).any():
                    raise AssertionError(str(difference(stream, want[step], got[step], sequence, step)))
        assert size > 1 or not self.monitor.open, "an output beat without TLAST follows the last sequence"

    def expect_errors(self, count: int) -> None:
        """Demand that frame_error was high for that many cycles in all."""
        edges = self.monitor.errors
        assert len(edges) == count, f"frame_error was high for {len(edges)} cycles instead of {count}, at {edges[:8]}"


@cocotb.test()
async def x_free_after_reset(dut: Any) -> None:
    """From the first cycle after reset no output is X, even if the inputs are; the monitor looks at each cycle."""
    tb = TB(dut)
    await tb.reset()
    await tb.cycles(tb.drain)
    assert tb.monitor.out_stands is None, f"output before any input, at clock edge {tb.monitor.out_stands}"
    tb.send(0)
    await tb.finish(1)
    tb.expect([0])
    tb.expect_errors(0)


@cocotb.test()
async def no_stalls(dut: Any) -> None:
    """At full rate the bits are the vectors' and the cycles the manifest's."""
    tb = TB(dut)
    await tb.reset()
    # few vectors are sent more than once, for the interval is one of the steady state
    total = max(tb.count, tb.manifest.settling // 2, 6 * tb.manifest.interleave)
    for sequence in range(total):
        tb.send(sequence)
    await tb.finish(total)
    tb.expect(list(range(total)))
    tb.expect_errors(0)
    monitor = tb.monitor
    assert monitor.out_stands is not None
    last = monitor.sent[tb.manifest.input.beats_per_sequence - 1]
    measured = Timing(
        monitor.out_stands - monitor.sent[0],
        monitor.out_stands - last,
        timing.steady_interval(monitor.completions, monitor.sent[-1]),
    )
    if tb.manifest.timing is not None and os.environ.get("FXSIM_TIMING") != "0":
        timing.compare(measured, tb.manifest.timing)


@cocotb.test()
@cocotb.parametrize(idle=STALLS, backpressure=STALLS)
async def stalls(dut: Any, idle: str, backpressure: str) -> None:
    """Whatever the source and the sink do, the bits are the same."""
    tb = TB(dut, idle, backpressure)
    await tb.reset()
    for sequence in range(tb.count):
        tb.send(sequence)
    await tb.finish(tb.count)
    tb.expect(list(range(tb.count)))
    tb.expect_errors(0)


@cocotb.test()
async def stable_while_stalled(dut: Any) -> None:
    """A sink that does not take a beat for very long loses nothing; the monitor sees that tdata holds."""
    tb = TB(dut)
    tb.sink.pause = True
    await tb.reset()
    total = min(tb.count, 8)
    for sequence in range(total):
        tb.send(sequence)
    await tb.cycles(2 * tb.manifest.burst)
    assert tb.monitor.held is not None, f"no output stands after {2 * tb.manifest.burst} cycles"
    tb.sink.pause = False
    await tb.finish(total)
    tb.expect(list(range(total)))
    tb.expect_errors(0)


async def _faults(dut: Any, stall: str, lengths: list[int]) -> None:
    tb = TB(dut, stall, stall)
    await tb.reset()
    good = [0]
    after: list[int] = []
    broken = 0
    tb.send(0)
    for length in lengths:
        tb.send(1, length)
        broken += 1
        after.append(len(good))
        # nothing of a broken frame may be left in the next, nor in the one after
        for _ in range(1 if FEW else 2):
            good.append(len(good) + 1)
            tb.send(good[-1])
    # two broken frames in a row
    for length in (lengths[0], lengths[-1]) if not FEW else ():
        tb.send(2, length)
        broken += 1
    after.append(len(good))
    good.append(3)
    tb.send(3)
    # and one with nothing after it
    tb.send(1, lengths[-1])
    broken += 1
    await tb.finish(len(good))
    tb.expect(good, tuple(after))
    tb.expect_errors(broken)


@cocotb.test()
@cocotb.parametrize(stall=("none", "random"))
async def early_tlast(dut: Any, stall: str) -> None:
    """A frame that ends too soon raises frame_error for one cycle, gives no output and leaves no trace."""
    size = Manifest.load(os.environ["FXSIM_MANIFEST"]).input.beats_per_sequence
    # a frame has at least one beat, so with one beat a sequence none is too short
    if size > 1:
        await _faults(dut, stall, [1] if FEW else sorted({1, 2, size // 2, size - 1} & set(range(1, size))))


@cocotb.test()
@cocotb.parametrize(stall=("none", "random"))
async def missing_tlast(dut: Any, stall: str) -> None:
    """All beats up to the next TLAST belong to the broken frame, even when they are a whole number of sequences."""
    size = Manifest.load(os.environ["FXSIM_MANIFEST"]).input.beats_per_sequence
    await _faults(dut, stall, sorted({size + 1, 2 * size, 2 * size + 1}))


@cocotb.test()
@cocotb.parametrize(packets=PACKETS, stall=("none", "random"))
async def packets(dut: Any, packets: str, stall: str) -> None:
    """Sequences are counted, wherever packets end; TLAST comes with the last result of those in which one did."""
    manifest = Manifest.load(os.environ["FXSIM_MANIFEST"])
    size, each = manifest.input.beats_per_sequence, manifest.output.beats_per_sequence
    total = min(int(os.environ.get("FXSIM_SEQUENCES", "20")), 12)
    beats = total * size
    rng = random.Random(beats)
    tlast = {
        "whole": [beat == beats - 1 for beat in range(beats)],
        "low": [False] * beats,
        "high": [True] * beats,
        # with the first beat of every third sequence, too
        "random": [rng.random() < 1 / (2 * size) or beat % (3 * size) == size for beat in range(beats)],
    }[packets]
    tb = TB(dut, stall, stall, tlast)
    await tb.reset()
    for sequence in range(total):
        tb.send(sequence)
    monitor = tb.monitor
    await tb.until(lambda: sum(map(len, monitor.frames)) + len(monitor.open) >= total * each)
    await tb.quiet()
    ends = [any(tlast[k * size : (k + 1) * size]) for k in range(total)]
    want = [k * each for k in range(1, total + 1) if ends[k - 1]]
    got = [sum(map(len, monitor.frames[: k + 1])) for k in range(len(monitor.frames))]
    assert got == want, f"TLAST came with results {got}, counted from 1, instead of {want}"
    # as sequences, whatever the packets
    words = [*(word for frame in monitor.frames for word in frame), *monitor.open]
    monitor.frames, monitor.open = [words[k : k + each] for k in range(0, len(words), each)], []
    tb.expect(list(range(total)))
    tb.expect_errors(0)


@cocotb.test()
@cocotb.parametrize(moment=("first_beat", "middle", "last_beat", "output"))
async def reset_in_flight(dut: Any, moment: str) -> None:
    """A reset at any moment leaves nothing behind."""
    tb = TB(dut)
    tb.sink.pause = moment == "output"
    await tb.reset()
    size = tb.manifest.input.beats_per_sequence
    beats = {"first_beat": 1, "middle": max(1, size // 2), "last_beat": size, "output": 1}[moment]
    tb.send(0)
    tb.send(1)
    await tb.until(lambda: len(tb.monitor.sent) >= beats)
    if moment == "output":
        await tb.cycles(tb.manifest.drain)
        assert tb.monitor.held is not None, "no output stands though the sink has taken none"
    await tb.reset()
    tb.sink.pause = False
    await tb.quiet()
    assert not tb.monitor.frames and not tb.monitor.open, "output of a sequence from before the reset"
    total = min(tb.count, 3)
    for sequence in range(1, total + 1):
        tb.send(sequence)
    await tb.finish(total)
    tb.expect(list(range(1, total + 1)))
    tb.expect_errors(0)


@cocotb.test()
async def reset_anywhere(dut: Any) -> None:
    """A reset in any part of a sequence's way through the design, while the next one enters, leaves nothing behind."""
    tb = TB(dut)
    await tb.reset()
    tb.send(0)
    await tb.finish(1)
    way = tb.monitor.completions[0] - tb.monitor.sent[0]
    for moment in sorted({1 + way * part // RESETS for part in range(RESETS)}):
        await tb.reset()
        start = len(tb.monitor.sent)
        for sequence in range(3):
            tb.send(sequence)
        await tb.until(lambda start=start: len(tb.monitor.sent) > start)  # type: ignore[misc]
        await tb.cycles(moment)
        await tb.reset()
        tb.send(moment)
        tb.send(moment + 1)
        await tb.finish(2)
        tb.expect([moment, moment + 1])
    tb.expect_errors(0)
