# SPDX-License-Identifier: Apache-2.0
"""Read ``manifest.json`` and turn raw integers into bus words and back."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CheckError, show

__all__ = ["Buffer", "Manifest", "Stream", "Tap", "Timing", "pack", "unpack", "unpack_tap"]

_ELEMENT = re.compile(r"^ap_(u?)fixed<\s*(\d+)\s*,\s*-?\d+\s*(?:,\s*[A-Z_]+\s*(?:,\s*[A-Z_]+\s*(?:,\s*\d+\s*)?)?)?>$")
#: Beats that a buffer holds at most; those of real designs hold two to some ten.
_DEEPEST = 1 << 12
#: Bytes of a manifest; written ones have some thousand.
_MOST = 16 << 20
# Verilator renames identifiers with a double underscore, so the harness could not reach them by their own name.
_IDENTIFIER = re.compile(r"^(?!.*__)[A-Za-z_][A-Za-z0-9_]*$")


@dataclass(frozen=True)
class Stream:
    """One AXI-Stream port: its name and how elements lie on tdata."""

    prefix: str
    element: str
    width: int
    signed: bool
    stride_bits: int
    elements_per_beat: int
    beats_per_sequence: int

    @property
    def data_bits(self) -> int:
        """Width of tdata."""
        return self.stride_bits * self.elements_per_beat

    @property
    def words(self) -> int:
        """32-bit words that hold one beat."""
        return -(-self.data_bits // 32)

    @property
    def low(self) -> int:
        """Smallest raw integer of an element."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest raw integer of an element."""
        return (1 << (self.width - self.signed)) - 1


@dataclass(frozen=True)
class Tap:
    """An internal signal to compare: the result of one op of one layer."""

    layer: str
    op: str
    valid: str
    data: str
    width: int
    signed: bool
    elements: int
    beats_per_step: int

    @property
    def name(self) -> str:
        """``layer.op``, as the vectors name it."""
        return f"{self.layer}.{self.op}"

    @property
    def words(self) -> int:
        """32-bit words that hold one beat."""
        return -(-self.width * self.elements // 32)


@dataclass(frozen=True)
class Buffer:
    """The queue behind a layer: signals that are high when a beat enters or leaves, and the number of beats in it."""

    layer: str
    push: str
    pop: str
    filled: str
    depth: int
    passes: bool  #: whether a beat may pass through when it is empty
    beats_per_sequence: int


@dataclass(frozen=True)
class Timing:
    """Cycle counts, predicted or measured; None where a design has too few sequences to tell."""

    latency: int
    latency_after_last: int
    interval: Fraction | None


@dataclass(frozen=True)
class Manifest:
    """What the check needs of ``manifest.json``; :meth:`load` reads and validates it."""

    folder: Path
    top: str
    files: tuple[Path, ...]
    clock: str
    reset: str
    input: Stream
    output: Stream
    timing: Timing | None
    taps: tuple[Tap, ...]
    interleave: int = 1
    buffers: tuple[Buffer, ...] = ()  #: in the order in which a sequence passes them
    #: whether sequences are counted by beats, so that TLAST only ends packets
    counted: bool = False
    clock_mhz: float = 200.0

    @property
    def period_ps(self) -> int:
        """Length of a clock cycle."""
        return max(2, round(1e6 / self.clock_mhz))

    @property
    def settling(self) -> int:
        """Sequences that show a steady state: enough for several bursts of an interleaved design after its warm-up."""
        return max(64, 8 * self.interleave)

    @property
    def steady(self) -> int:
        """Sequences from which on a run without stalls shows the interval."""
        return 16 if self.interleave == 1 else self.settling

    @property
    def timeout(self) -> int:
        """Cycles without any handshake after which a design counts as stuck."""
        return 10_000 + 20 * self.drain

    @property
    def drain(self) -> int:
        """Cycles after which a design that has all its input has nothing left to say."""
        if self.timing is None:
            return 10_000
        # in an interleaved design a sequence may wait for those before it
        waiting = int(self.timing.interval or 0) * (2 * self.interleave - 1)
        return 64 + self.timing.latency + waiting

    @property
    def patience(self) -> int:
        """Cycles without anything happening at a port or a buffer after which nothing is under way."""
        if self.timing is None or self.interleave > 1:
            return self.drain
        # a step's result is at most as long on its way as the last step's; a layer takes steps at most so far apart
        step = -(-int(self.timing.interval or 0) // self.input.beats_per_sequence)
        return 64 + max(0, self.timing.latency_after_last) + 2 * step

    @property
    def burst(self) -> int:
        """Longest stall of a random run, in which the work on some sequences ends; what fills all buffers is a run."""
        return self.drain + 2 * int(self.timing.interval or 0) if self.timing else 1_000

    @classmethod
    def load(cls, folder: str | Path) -> Manifest:
        """Read ``manifest.json`` from a folder (or that file itself)."""
        path = Path(folder)
        if path.is_dir():
            if (path / ".fxsim-commit" / "manifest.json").is_file():
                raise CheckError(f"{path}: an export was interrupted here; fxsim check, synth or export finishes it")
            path = path / "manifest.json"
        try:
            with path.open("rb") as file:
                text = file.read(_MOST + 1)
            if len(text) > _MOST:
                raise CheckError(f"{path}: is larger than {_MOST} bytes")
            data = json.loads(text.decode("utf-8"))
        except OSError as error:
            raise CheckError(f"{path}: cannot be read: {error.strerror}") from None
        except CheckError:
            raise
        except (ValueError, RecursionError) as error:
            raise CheckError(f"{path}: is not JSON: {error}") from None
        try:
            return cls._from_dict(path.parent.resolve(), data)
        except CheckError as error:
            raise CheckError(f"{path}: {error}") from None

    @classmethod
    def _from_dict(cls, folder: Path, data: Any) -> Manifest:
        top = _name(data, "top")
        files = _get(data, "files", list)
        if not files or not all(isinstance(name, str) for name in files):
            raise CheckError(f"files must be a list of Verilog files, not {show(files)}")
        for name in files:
            # unlike Path's, this isfile takes names that no system does
            if not os.path.isfile(folder / name):
                raise CheckError(f"file {show(name)} of files does not exist")
        paths = tuple((folder / name).resolve() for name in files)
        return cls(
            folder=folder,
            top=top,
            files=paths,
            clock=_name(data, "clock"),
            reset=_name(data, "reset"),
            input=_stream(data, "input"),
            output=_stream(data, "output"),
            timing=_timing(_get(data, "timing", dict)) if "timing" in data else None,
            taps=tuple(_tap(tap, top) for tap in (_get(data, "taps", list) if "taps" in data else [])),
            buffers=tuple(_buffer(one, top) for one in (_get(data, "buffers", list) if "buffers" in data else [])),
            interleave=_positive(data, "interleave") if "interleave" in data else 1,
            counted=_framing(data) == "count" if "framing" in data else False,
            clock_mhz=_clock(data) if "clock_mhz" in data else 200.0,
        )


def _get(data: Any, key: str, kind: type) -> Any:
    if not isinstance(data, dict):
        raise CheckError(f"expected an object with {key!r}, not {show(data)}")
    if key not in data:
        raise CheckError(f"{key!r} is missing")
    value = data[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise CheckError(f"{key!r} must be of type {kind.__name__}, not {show(value)}")
    return value


def _name(data: Any, key: str) -> str:
    value: str = _get(data, key, str)
    if not _IDENTIFIER.match(value):
        raise CheckError(f"{key!r} must be a Verilog identifier without '__', not {show(value)}")
    return value


def _framing(data: Any) -> str:
    value: str = _get(data, "framing", str)
    if value not in ("tlast", "count"):
        raise CheckError(f"'framing' must be tlast or count, not {show(value)}")
    return value


def _positive(data: Any, key: str) -> int:
    value: int = _get(data, key, int)
    if value < 1:
        raise CheckError(f"{key!r} must be at least 1, not {show(value)}")
    return value


def _clock(data: Any) -> float:
    value = _get(data, "clock_mhz", object)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 1e5:
        raise CheckError(f"'clock_mhz' must be a number from 1 to 100000, not {show(value)}")
    return float(value)


def _stream(data: Any, key: str) -> Stream:
    port = _get(data, key, dict)
    try:
        element: str = _get(port, "element", str)
        match = _ELEMENT.match(element)
        if match is None:
            raise CheckError(f"'element' must look like 'ap_fixed<16,6>', not {show(element)}")
        signed, width = not match[1], int(match[2])
        stride = _positive(port, "stride_bits")
        # raw integers travel as int64
        if not 1 <= width <= 63 + signed:
            raise CheckError(f"'element' must be at most {63 + signed} bits wide, not {show(element)}")
        if stride % 8 or not width <= stride <= 64:
            raise CheckError(f"'stride_bits' must be a multiple of 8 from {width} to 64, not {show(stride)}")
        return Stream(
            prefix=_name(port, "prefix"),
            element=element,
            width=width,
            signed=signed,
            stride_bits=stride,
            elements_per_beat=_positive(port, "elements_per_beat"),
            beats_per_sequence=_positive(port, "beats_per_sequence"),
        )
    except CheckError as error:
        raise CheckError(f"{key}: {error}") from None


def _timing(data: Any) -> Timing:
    interval = _get(data, "interval", object)
    try:
        # the exponent of a text can have any size, and Fraction writes it out
        if len(str(interval)) > 40 or "e" in str(interval).lower():
            raise ValueError
        # a JSON number cannot hold 61/3; no schedule has a period of more than some thousand sequences
        exact = Fraction(str(interval)).limit_denominator(4096)
    except (ValueError, ZeroDivisionError):
        raise CheckError(f"timing: 'interval' must be a number or 'p/q', not {show(interval)}") from None
    return Timing(_get(data, "latency", int), _get(data, "latency_after_last", int), exact)


def _check_module(data: Any, top: str) -> None:
    module = data.get("module", top) if isinstance(data, dict) else top
    if module != top:
        raise CheckError(f"'module' must be the top module {top!r}, not {show(module)}")


def _buffer(data: Any, top: str) -> Buffer:
    try:
        _check_module(data, top)
        depth = _positive(data, "depth")
        if depth > _DEEPEST:
            raise CheckError(f"'depth' must be at most {_DEEPEST}, not {show(depth)}")
        return Buffer(
            layer=_get(data, "layer", str),
            push=_name(data, "push"),
            pop=_name(data, "pop"),
            filled=_name(data, "filled"),
            depth=depth,
            passes=_get(data, "passes", bool),
            beats_per_sequence=_positive(data, "beats_per_sequence"),
        )
    except CheckError as error:
        raise CheckError(f"buffers: {error}") from None


def _tap(data: Any, top: str) -> Tap:
    try:
        _check_module(data, top)
        width = _positive(data, "width")
        if width > 64:
            raise CheckError(f"'width' must be at most 64, not {width}")
        return Tap(
            layer=_get(data, "layer", str),
            op=_get(data, "op", str),
            valid=_name(data, "valid"),
            data=_name(data, "data"),
            width=width,
            signed=_get(data, "signed", bool),
            elements=_positive(data, "elements"),
            beats_per_step=_positive(data, "beats_per_step"),
        )
    except CheckError as error:
        raise CheckError(f"taps: {error}") from None


def pack(values: NDArray[np.int64], stream: Stream) -> NDArray[np.uint32]:
    """Raw integers (..., elements) to bus words (..., words), sign-extended to the stride, element 0 lowest."""
    # two's complement of a wider integer is the sign extension, so the low bytes are all there is to copy
    octets = np.ascontiguousarray(values, dtype="<i8").view(np.uint8).reshape(*values.shape, 8)
    used = octets[..., : stream.stride_bits // 8].reshape(*values.shape[:-1], stream.data_bits // 8)
    beats = np.zeros((*values.shape[:-1], stream.words * 4), dtype=np.uint8)
    beats[..., : used.shape[-1]] = used
    return beats.view("<u4")


def unpack(words: NDArray[np.uint32], stream: Stream) -> NDArray[np.int64]:
    """Bus words (..., words) to the integers (..., elements) that stand on the whole stride, padding included.

    An element whose padding is right lies between ``stream.low`` and ``stream.high``.
    """
    size = stream.stride_bits // 8
    octets = np.ascontiguousarray(words, dtype="<u4").view(np.uint8)[..., : stream.data_bits // 8]
    wide = np.zeros((*words.shape[:-1], stream.elements_per_beat, 8), dtype=np.uint8)
    wide[..., 8 - size :] = octets.reshape(*words.shape[:-1], stream.elements_per_beat, size)
    shift = 64 - stream.stride_bits
    if stream.signed:
        return np.asarray(wide.view("<i8")[..., 0] >> shift, dtype=np.int64)
    return np.asarray((wide.view("<u8")[..., 0] >> np.uint64(shift)).astype(np.int64))


def unpack_tap(words: NDArray[np.uint32], tap: Tap) -> NDArray[np.int64]:
    """Tap words (beats, words), elements packed without padding, to integers (beats, elements)."""
    octets = np.ascontiguousarray(words, dtype="<u4").view(np.uint8)
    bits = np.unpackbits(octets, axis=-1, bitorder="little")[:, : tap.width * tap.elements]
    bits = bits.reshape(len(words), tap.elements, tap.width)
    weights = np.left_shift(np.int64(1), np.arange(tap.width, dtype=np.int64))
    if tap.signed:
        weights[-1] = -weights[-1]
    return bits.astype(np.int64) @ weights
