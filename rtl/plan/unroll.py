# SPDX-License-Identifier: Apache-2.0
"""A layer's steps laid out one after another as one program without states: a copy of the cell for every step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fxsim.program.integers import Const
from fxsim.program.ops import AnyOp, Concat, Constant, Dot, Input, Slice, State
from fxsim.program.program import Program
from fxsim.program.ranges import bounds

from .names import Names
from .rename import renamed


def unrolled(program: Program, steps: int, sequences: bool) -> Program:
    """The program of a whole sequence: its vectors joined go in, the last step's result (or all, joined) comes out.

    What is known before the first step, such as products with the initial state, becomes constants.
    """
    source = program.input
    ops: list[AnyOp] = [replace(source, elements=source.elements * steps)]
    now: dict[str, str] = {}
    outputs = []
    names = Names([source.name])
    for step in range(steps):
        before = dict(now)
        for op in program.ops:
            if isinstance(op, State) and step:
                now[op.name] = before[op.update]
                continue
            if isinstance(op, Constant) and step:
                now[op.name] = before[op.name]
                continue
            name = names.take(f"{op.name}_{step}", "op")
            if isinstance(op, State):
                init = op.init or Const(np.zeros(op.elements, np.int64), op.type)
                ops.append(Constant(name=name, type=op.type, values=init))
            elif isinstance(op, Input):
                start = step * op.elements
                ops.append(Slice(name=name, type=op.type, arg=op.name, start=start, stop=start + op.elements))
            else:
                ops.append(renamed(op, {**now, op.name: name}))
            now[op.name] = name
        outputs.append(now[program.output])
    output = outputs[-1]
    if sequences:
        output = names.take("steps", "op")
        ops.append(Concat(name=output, type=program.type, parts=tuple(outputs)))
    return _folded(Program(tuple(ops), output))


def _folded(program: Program) -> Program:
    """Ops that always have one value become constants."""
    known = bounds(program)
    ops: list[AnyOp] = []
    for op in program.ops:
        found = known[op.name].result
        fixed = not isinstance(op, Input) and all(low == high for low, high in found)
        # A product that overflows has the bounds of its format, and is left alone.
        if fixed and not (isinstance(op, Dot) and known[op.name].overflows):
            values = Const(np.array([low for low, _ in found], np.int64), op.type)
            ops.append(Constant(name=op.name, type=op.type, values=values))
        else:
            ops.append(op)
    return Program(tuple(ops), program.output)
