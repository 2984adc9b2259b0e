# SPDX-License-Identifier: Apache-2.0
"""Runs of elementwise ops of one size as one loop, whose values never leave the registers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from . import arithmetic
from .fixed import Round
from .frame import WORDS
from .lanes import Var, Vec, fits, word
from .program import Add, Lookup, Op
from .rows import Vectors


def emit(on: Vectors, ops: list[Op], stored: set[str]) -> None:
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
            if isinstance(op, Lookup) and op.arg in sums:
                result = _read(on, op, _index_of_sum(on, op, sums[op.arg], at))
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


def _apply(on: Vectors, op: Op, args: list[Vec], tally: Var | None) -> Vec:
    """An elementwise op on vectors."""
    code = on.code
    if not isinstance(op, Lookup):
        return arithmetic.apply(code, op, args, on.program, on.bounds, tally)
    arg = on.bounds[op.arg]
    index = arithmetic.index(code, op, args[0], on.program[op.arg].type.frac, (arg.low, arg.high))
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


def _split_sums(on: Vectors, ops: list[Op], stored: set[str]) -> dict[str, str]:
    """Sums of which only a table's index is wanted, with the operand that stands in memory in two parts.

    The gates of a recurrent cell: their index needs no word that holds the sum.
    """
    found = {}
    for op in ops:
        add = on.program[op.arg] if isinstance(op, Lookup) else None
        if not isinstance(op, Lookup) or not isinstance(add, Add) or add not in ops or add.name in stored:
            continue
        users = [one for one in on.program.ops if add.name in one.args]
        plain = op.table.scale == 1 and op.table.round in (Round.TRN, Round.RND)
        known = on.bounds[add.name]
        if users == [op] and plain and not known.overflows and known.exact_frac == add.type.frac:
            inside = {one.name for one in ops}
            parts = [name for name in add.args if _is_part_of_sum(on, name, op, add, inside)]
            if parts:
                found[add.name] = parts[0]
    return found


def _is_part_of_sum(on: Vectors, name: str, op: Lookup, add: Add, inside: set[str]) -> bool:
    """Whether an operand is in two parts, and 32-bit words hold all that the index of its sum takes."""
    other = add.b if name == add.a else add.a
    sizes, known = on.program.sizes, on.bounds[add.name]
    outside = not {name, other} & inside and sizes[name] == sizes[other] and on.number(name) is None
    if not outside or not on.place(name).split or on.program[name].type.frac != add.type.frac:
        return False
    split, shift = on.place(name).split, add.type.frac - op.table.frac
    if not split < shift < split + 30 or on.bits(other) > 32:
        return False
    half = 1 << (shift - split - 1)
    if not fits(op.table.first, op.table.last, 32):
        return False
    return fits((known.low >> split) - half, (known.high >> split) + half, 32)


def _index_of_sum(on: Vectors, op: Lookup, name: str, at: str) -> Vec:
    """Index of a sum whose operand ``name`` is in two parts."""
    code, add, rows = on.code, on.program[op.arg], on.place(name)
    assert isinstance(add, Add)
    other = add.b if name == add.a else add.a
    upper, lower = (code.load(on.address(rows, at, behind), rows.bits) for behind in (0, rows.apart))
    left = add.type.frac - on.program[other].type.frac
    shift = add.type.frac - op.table.frac
    return arithmetic.index_of_sum(code, op, upper, lower, rows.split, on.argument(other, at), left, shift)
