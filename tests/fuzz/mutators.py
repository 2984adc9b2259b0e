# SPDX-License-Identifier: Apache-2.0
"""Ways to damage bytes, JSON values, JSON and YAML texts, zip archives, HDF5 files and .npy headers."""

from __future__ import annotations

import copy
import io
import json
import random
import re
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

#: Made by anything that executes what stands in a file; the worker looks for it after every case.
CANARY = "fuzz-canary"

ODD: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3.5,
    float("nan"),
    float("inf"),
    10**400,
    1 << 40,
    "",
    "x",
    "lstm",
    "inp",
    "LSTM",
    "relu\n",
    "\ud800",
    [],
    [[]],
    [None],
    [0, 0, 0],
    ["inp", 0, 0],
    {},
    {"class_name": []},
    {"class_name": "LSTM"},
    {"class_name": "LeakyReLU", "config": {"alpha": 0.1, "name": "q"}},
    {"config": {}},
    {"name": "float32"},
]

#: Added to ODD where time allows: large, and near the limits of what is accepted.
LARGE: list[Any] = [
    1 << 20,
    (1 << 20) + 1,
    1 << 31,
    1 << 63,
    -(1 << 63),
    1e308,
    -1e308,
    5e-324,
    -0.0,
    float("-inf"),
    "a" * 100_000,
    "9" * 5000,
    "1e999999999",
    "1/0",
    "ap_fixed<1024,512>",
    "ap_fixed<64,-400>",
    "../../etc/passwd",
    "\0",
    "a\0b",
    [0] * 10_000,
    {"class_name": "__tuple__", "items": [1, 2]},
    "__import__('os').system('touch " + CANARY + "')",
    {"class_name": "Lambda", "config": {"name": "l", "function": ["4wEAAAAAAAAA", None, None]}},
    "$",
    {"$": "array"},
    {"$": "Fixed"},
    {"$": "Graph"},
    {"$": "array", "key": "../x"},
    "auto",
    "Infinity",
    "\u2028",
    "\x1b[31m",
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) inside a JSON value."""
    here = list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    return [(value, key) for key, _ in here] + [place for _, child in here for place in places(child)]


def mutate(value: Any, rng: random.Random, odd: list[Any] = ODD) -> None:
    """Change one place of a JSON value: drop, repeat, swap, add a key, or put something odd there."""
    found = places(value)
    if not found:
        return
    container, key = rng.choice(found)
    action = rng.randrange(5)
    if action == 0:
        del container[key]
    elif action == 1 and isinstance(container, list):
        container.insert(key, copy.deepcopy(rng.choice(container)))
    elif action == 2:
        other, other_key = rng.choice(found)
        container[key] = copy.deepcopy(other[other_key])
    elif action == 3 and isinstance(container, dict):
        container[rng.choice(["x", "name", "module", "class_name", "config", "dtype", "axis"])] = rng.choice(odd)
    else:
        container[key] = copy.deepcopy(rng.choice(odd))


def mutated(value: Any, rng: random.Random) -> Any:
    """A copy with some changes; a number is often moved by a little, which keeps the whole legal for longer."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        numbers = [(c, k) for c, k in places(value) if type(c[k]) in (int, float)]
        if numbers and rng.random() < 0.3:
            container, key = rng.choice(numbers)
            container[key] = rng.choice(
                [container[key] + rng.choice([-1, 1]), -container[key], container[key] * 2, rng.randrange(-5, 70)]
            )
        else:
            mutate(value, rng, ODD + LARGE)
    return value


def json_text(value: Any, rng: random.Random) -> bytes:
    """A JSON value as text, now and then in a way that a writer would not."""
    text = json.dumps(value)
    kind = rng.randrange(40)
    if kind == 0:
        depth = rng.choice([100, 900, 5000, 200_000])
        text = text.replace("null", "[" * depth + "]" * depth, 1)
    elif kind == 1:
        depth = rng.choice([500, 3000, 100_000])
        text = '{"a":' * depth + text + "}" * depth
    elif kind == 2:
        numbers = list(re.finditer(r"(?<=[ \[:])[0-9]+(?=[,\]}])", text))
        if numbers:
            one = rng.choice(numbers)
            new = rng.choice(
                ["9" * 5000, "1e400", "-1e400", "NaN", "Infinity", "1E-5000", "0x10", "1_0", "\u0661", "1.0"]
            )
            text = text[: one.start()] + new + text[one.end() :]
    elif kind == 3:
        keys = list(re.finditer(r'"[^"]*": ', text))
        if keys:
            one = rng.choice(keys)
            text = text[: one.start()] + one[0] + rng.choice(["1, ", '"x", ', "[], "]) + text[one.start() :]
    elif kind == 4:
        return b"\xef\xbb\xbf" + text.encode()
    elif kind == 5:
        return text.encode(rng.choice(["utf-16", "utf-32", "utf-16-be"]))
    elif kind == 6:
        text += rng.choice(["\0", "x", text, "]", " " * 100_000])
    elif kind == 7:
        return damaged(text.encode(), rng)
    elif kind == 8 and rng.random() < 0.03:
        # What takes most memory for its size.
        text = text.replace("null", "[" + rng.choice(["[],", "{},", "1.5,"]) * (rng.choice([2, 5, 6]) << 20) + "0]", 1)
    return text.encode()


def damaged(data: bytes, rng: random.Random, other: bytes = b"") -> bytes:
    """Flip, overwrite, insert, delete, cut off or splice with `other`."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5, 30])):
        at, action = rng.randrange(len(out) + 1), rng.randrange(8)
        size = rng.choice([1, 1, 2, 4, 8, 64])
        if action <= 1 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif action == 2:
            out[at : at + size] = rng.randbytes(size)
        elif action == 3:
            out[at : at + size] = bytes([rng.choice([0, 1, 0x7F, 0x80, 0xFF])]) * size
        elif action == 4:
            out[at:at] = rng.choice([rng.randbytes(size), bytes(size), b"\xff" * size])
        elif action == 5:
            del out[at : at + size * rng.choice([1, 1, 16])]
        elif action == 6:
            number = rng.choice(
                [0, 1, 2, 0x7F, 0xFFFF, 1 << 20, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 64) - 1, len(out)]
            )
            out[at : at + 8] = number.to_bytes(8, "little")
        elif rng.random() < 0.3:
            del out[at:]
        else:
            source = other or data
            begin = rng.randrange(len(source) + 1)
            out[at : at + rng.choice([8, 100, len(out)])] = source[begin : begin + rng.choice([8, 100, 1000])]
    return bytes(out)


# --- HDF5: superblock, object headers, B-trees, heaps

_SIGNATURES = re.compile(rb"TREE|HEAP|SNOD|GCOL|OHDR|FRHP|BTHD|\x89HDF")
#: Messages of an object header: type, size of the data.
_MESSAGE = re.compile(rb"[\x01\x03\x05\x08\x0c\x10\x11\x15]\x00[\x04-\x60]\x00[\x00-\x05]\x00\x00\x00")


def hdf5(data: bytes, rng: random.Random, other: bytes = b"") -> bytes:
    """Damage where the library looks: behind a signature or in a message of an object header."""
    if rng.random() < 0.25:
        return damaged(data, rng, other)
    out = bytearray(data)
    spots = [match.start() for match in (_SIGNATURES if rng.random() < 0.5 else _MESSAGE).finditer(data)] or [0]
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.choice(spots) + rng.randrange(64)
        width = rng.choice([1, 1, 2, 4, 8])
        number = rng.choice(
            [0, 1, 2, 3, 8, 255, rng.randrange(1 << 16), (1 << 63) - 1, (1 << 64) - 1, rng.choice(spots)]
        )
        out[at : at + width] = (number & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    return bytes(out)


# --- Zip archives


def unzip(data: bytes) -> dict[str, bytes]:
    """The members of an archive by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezip(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of members, names repeated if they are."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, data)
    return stream.getvalue()


_BOMBS: dict[int, bytes] = {}


def bomb(mebibytes: int) -> bytes:
    """An archive's deflated zeros: the bytes of a whole archive with one member `bomb`."""
    if mebibytes not in _BOMBS:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            with archive.open("bomb", "w", force_zip64=True) as member:
                for _ in range(mebibytes):
                    member.write(bytes(1 << 20))
        _BOMBS[mebibytes] = stream.getvalue()
    return _BOMBS[mebibytes]


def archive(
    members: dict[str, bytes], inner: dict[str, Callable[[bytes, random.Random], bytes]], rng: random.Random
) -> bytes:
    """A damaged archive: mostly a member damaged by its own mutator and packed again, else the archive itself."""
    items = list(members.items())
    kind = rng.randrange(20)
    if kind < 12:
        wanted = [index for index, (name, _) in enumerate(items) if any(re.fullmatch(key, name) for key in inner)]
        index = rng.choice(wanted)
        name, data = items[index]
        change = next(inner[key] for key in inner if re.fullmatch(key, name))
        items[index] = (name, change(data, rng))
        return rezip(items, rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    index = rng.randrange(len(items))
    name, data = items[index]
    if kind == 12:
        items[index] = (rng.choice([f"../{name}", f"/{name}", name.upper(), "a/" * 400 + name, f"{name}\x7f"]), data)
    elif kind == 13:
        items.append((name, rng.choice([data, b"", damaged(data, rng)])))
    elif kind == 14:
        del items[index]
    elif kind == 15:
        # The bytes of a bomb under another name.
        whole = bomb(rng.choice([1, 1, 1, 1, 1, 1, 80, 1025]))
        return whole.replace(b"bomb", name.encode()[:4]) if rng.random() < 0.5 else spliced(items, name, whole)
    elif kind == 16:
        items[index] = (name, rng.choice([b"", rng.randbytes(100), rng.choice(items)[1], b"\x80\x04\x95", data * 2]))
    whole = rezip(items, rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    if kind < 17:
        return whole
    if kind == 17:
        return damaged(whole, rng)
    out = bytearray(whole)
    heads = [m.start() for m in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06)", whole)]
    for _ in range(rng.choice([1, 1, 2])):
        at = rng.choice(heads) + rng.randrange(4, 46)
        out[at : at + 2] = rng.choice([b"\xff\xff", b"\0\0", b"\1\0", rng.randbytes(2)])
    return bytes(out)


def spliced(items: list[tuple[str, bytes]], name: str, whole: bytes) -> bytes:
    """An archive of `items` in which a bomb stands in place of `name`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
        with zipfile.ZipFile(io.BytesIO(whole)) as source:
            for key, data in items:
                if key != name:
                    target.writestr(key, data)
            with source.open("bomb") as member, target.open(name, "w", force_zip64=True) as out:
                while chunk := member.read(1 << 20):
                    out.write(chunk)
    return stream.getvalue()


# --- .npy

_TYPES = [
    "|O",
    "<f8",
    "<f4",
    ">f8",
    "<f2",
    "<f16",
    "<c16",
    "<i8",
    ">i8",
    "|i1",
    "<u8",
    "|b1",
    "|S4",
    "|S1000000000",
    "<U3",
    "|V8",
    "|V0",
    "<M8[ns]",
    "<m8",
    "|S0",
    "O",
    "f8, i4",
    "(1000000,1000000)f8",
    "",
]
_SHAPES = [
    "()",
    "(0,)",
    "(-1,)",
    "(99999999999, 8)",
    "(1 << 3,)",
    "(18446744073709551616,)",
    "(2, 3, 4)",
    "(1,) * 99",
    "(True,)",
    "(1.0,)",
    "(" + "1, " * 65 + ")",
    "4",
    "None",
    "(9223372036854775807, 2)",
    "(0, 9223372036854775807)",
]


def npy(data: bytes, rng: random.Random) -> bytes:
    """An .npy file with another header, pickled objects, or damaged bytes."""
    kind = rng.randrange(6)
    if kind == 0:
        return damaged(data, rng)
    if kind == 1:
        stream = io.BytesIO()
        odd = rng.choice(
            [
                np.array([Payload()], object),
                np.zeros(3, [("a", "i4"), ("b", "O")]),
                np.array(["a"]),
                np.zeros((2, 2), complex),
                np.float64(3),
                np.zeros((0, 4)),
                np.full((2, 4, 3), np.nan),
                np.full((2, 4, 3), 1e308),
                np.zeros((2, 4, 3), ">i2"),
                np.zeros(3, "M8[s]"),
            ]
        )
        np.save(stream, odd, allow_pickle=True)
        return stream.getvalue()
    end = data.find(b"\n") + 1
    header, body = data[10:end].decode("latin1"), data[end:]
    if kind in (2, 5):
        header = re.sub(r"'descr': '[^']*'", lambda _: f"'descr': {rng.choice(_TYPES)!r}", header)
    if kind in (3, 5):
        header = re.sub(r"'shape': \([^)]*\)", lambda _: f"'shape': {rng.choice(_SHAPES)}", header)
    if kind == 4:
        header = rng.choice(
            [
                header.replace("False", rng.choice(["True", "1", "None", "0"])),
                header.replace("'shape'", "'x': [], 'shape'"),
                f"__import__('os').system('touch {CANARY}')\n",
                "[" * rng.choice([50, 500, 9000]) + "\n",
                "{'descr': [('a', '<f8', (99999, 99999))], 'fortran_order': False, 'shape': (9, 9), }\n",
                "{'descr': [('', '|O')] * 3, 'fortran_order': False, 'shape': (9,), }\n",
                damaged(header.encode("latin1"), rng).decode("latin1"),
            ]
        )
    text = header.encode("latin1", "replace")
    if rng.random() < 0.2:
        return b"\x93NUMPY\x02\x00" + rng.choice([len(text), 1 << 30, 0]).to_bytes(4, "little") + text + body
    return b"\x93NUMPY\x01\x00" + (len(text) & 0xFFFF).to_bytes(2, "little") + text + body


class Payload:
    """Leaves the canary when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (CANARY, "w")
