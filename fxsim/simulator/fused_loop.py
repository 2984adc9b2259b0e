# SPDX-License-Identifier: Apache-2.0
"""Runs of elementwise ops of one size as one loop, whose values never leave the registers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..program.fixed import Round
from ..program.ops import Add, AnyOp, Elementwise, Lookup, Remainder
from . import elementwise
from .llvm import Var, Vec, fits, word
from .memory import WORDS
from .operands import Vectors


def emit(on: Vectors, ops: list[Elementwise], stored: set[str]) -> None:
    """Ops of one size in one loop; what only they read stays in registers."""
    code, sizes = on.code, on.program.sizes
    size = sizes[ops[0].name]
    for op in ops:
        if op.name in stored:
            on.places[op.name] = on.fresh(op.name, size, on.bits(op.name))
    counted = [op.name for op in ops if op.name in on.counters]
    spread = any(sizes[name] < size and on.number(name) is None for op in ops for name in op.args)
    sums = _split_sums(on, ops, stored)

    def body(at: str, v: str, tallies: Mapping[str, Var]) -> None:
        known: dict[str, Vec] = {}
        for op in ops:
            if op.name in sums:
                continue
            code.work = on.full(op.name)
            if isinstance(op, Lookup | Remainder) and op.arg in sums:
                result = _of_sum(on, op, sums[op.arg], at)
            else:
                for name in op.args:
                    if name not in known:
                        known[name] = on.every(name, v) if sizes[name] < size else on.argument(name, at)
                result = _apply(on, op, [known[name] for name in op.args], tallies.get(op.name))
            known[op.name] = code.resize(result, max(32, on.bits(op.name)))
            if op.name in stored:
                on.put(known[op.name], on.places[op.name], at)

    if on.frame.single or not (spread or counted):
        on.each(size, lambda at: body(at, "0", {}))
        return
    with code.loop(on.frame.vectors) as v, on.tallies(counted, v) as tallies, code.loop(size) as j:
        body(on.position(j, v), v, tallies)


def _apply(on: Vectors, op: Elementwise, args: list[Vec], tally: Var | None) -> Vec:
    """An elementwise op on vectors."""
    code = on.code
    if not isinstance(op, Lookup):
        return elementwise.apply(code, op, args, on.program, on.bounds, tally)
    arg = on.bounds[op.arg]
    index = elementwise.index(code, op, args[0], on.program[op.arg].type.frac, (arg.low, arg.high))
    return _read(on, op, index)


def _read(on: Vectors, op: Lookup, index: Vec) -> Vec:
    """Entries of the op's table."""
    entries = op.table.entries(op.type)
    bits = word(int(entries.min()), int(entries.max()))
    table = on.constants(op.name, entries.astype(WORDS[bits]), op.table.name)
    # LLVM 22 drops the mask of a lane whose neighbour it knows too much about. It cannot look through memory.
    nothing = on.code.load(on.constants(op.name, np.zeros(on.code.lanes, np.int32), "zeros"), 32)
    index = on.code.binary("or", index, nothing)
    return on.code.resize(on.code.lookup(table, bits, index), max(32, bits))


def _split_sums(on: Vectors, ops: list[Elementwise], stored: set[str]) -> dict[str, str]:
    """Sums of which only a table's index and the bits below it are wanted, with the operand that stands in two parts.

    The gates of a recurrent cell: their index needs no word that holds the sum.
    """
    found = {}
    for add in ops:
        known = on.bounds[add.name]
        if not isinstance(add, Add) or add.name in stored or known.overflows or known.exact_frac != add.type.frac:
            continue
        users = [one for one in on.program.ops if add.name in one.args]
        inside = {one.name for one in ops}
        if users and all(one.name in inside for one in users):
            parts = [name for name in add.args if _is_part_of_sum(on, name, add, users, inside)]
            if parts:
                found[add.name] = parts[0]
    return found


def _is_part_of_sum(on: Vectors, name: str, add: Add, users: list[AnyOp], inside: set[str]) -> bool:
    """Whether an operand is in two parts, and 32-bit words hold all that the users of its sum take of it."""
    other = add.b if name == add.a else add.a
    sizes, known = on.program.sizes, on.bounds[add.name]
    outside = not {name, other} & inside and sizes[name] == sizes[other] and on.number(name) is None
    if not outside or not on.place(name).split or on.program[name].type.frac != add.type.frac or on.bits(other) > 32:
        return False
    split = on.place(name).split
    for op in users:
        if isinstance(op, Lookup):
            plain = op.table.scale == 1 and op.table.round in (Round.TRN, Round.RND)
            shift = add.type.frac - op.table.frac
            if not plain or not split < shift < split + 30 or not fits(op.table.first, op.table.last, 32):
                return False
            half = 1 << (shift - split - 1)
            if not fits((known.low >> split) - half, (known.high >> split) + half, 32):
                return False
        elif not isinstance(op, Remainder) or not _is_above(op, add, split):
            return False
    return True


def _is_above(op: Remainder, add: Add, split: int) -> bool:
    """Whether a remainder keeps only bits of a sum above the first ``split``, and 32-bit words hold them."""
    low, high = add.type.frac - op.type.frac, add.type.frac - op.frac
    exact = op.type.round is Round.TRN and not op.type.signed and op.type.width >= high - low
    return exact and split <= low < high < split + 31


def _of_sum(on: Vectors, op: Lookup | Remainder, name: str, at: str) -> Vec:
    """What an op reads of a sum whose operand ``name`` is in two parts."""
    code, add, rows = on.code, on.program[op.arg], on.place(name)
    assert isinstance(add, Add)
    other = add.b if name == add.a else add.a
    upper, lower = (code.load(on.address(rows, at, behind), rows.bits) for behind in (0, rows.apart))
    left = add.type.frac - on.program[other].type.frac
    total = elementwise.upper_sum(code, upper, lower, rows.split, on.argument(other, at), left)
    if isinstance(op, Lookup):
        return _read(on, op, elementwise.upper_index(code, op, total, add.type.frac - op.table.frac - rows.split))
    return elementwise.bits(code, total, add.type.frac - op.type.frac - rows.split, op.type.frac - op.frac)
