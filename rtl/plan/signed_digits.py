# SPDX-License-Identifier: Apache-2.0
"""Products without a multiplier: by constants as a few shifted operands added, or all of them in logic."""

from __future__ import annotations

import numpy as np

from fxsim.errors import FxsimError, show
from fxsim.program.fixed import IntArray

#: The choice that uses no DSP block at all.
LOGIC = "lut"
#: The most signed digits of a constant that is multiplied by shifting and adding, by the choice of multipliers. One
#: digit is a shift. Two are one addition, in fewer LUTs than the product's own addition to a sum; more pay off only
#: where DSP blocks are short.
CHOICES = {"auto": 2, "dsp": 1, LOGIC: 64}


def most_digits(choice: str) -> int:
    """Digits that need no multiplier; raises ``FxsimError`` naming the choices."""
    if not isinstance(choice, str) or choice not in CHOICES:
        raise FxsimError(f"multiplier must be one of {', '.join(CHOICES)}, not {show(choice)}")
    return CHOICES[choice]


def digits(value: int) -> list[tuple[int, int]]:
    """The canonical signed digits of an integer: (+1 or -1, shift) pairs, the fewest whose sum it is."""
    found = []
    shift = 0
    while value:
        if value & 1:
            sign = 2 - (value & 3)
            found.append((sign, shift))
            value -= sign
        value >>= 1
        shift += 1
    return found


def digit_counts(values: IntArray) -> IntArray:
    """How many signed digits each value has: the bits in which it and its triple differ."""
    size = np.abs(values.astype(np.int64))
    counts: IntArray = np.bitwise_count(size ^ (3 * size)).astype(np.int64)
    return counts
