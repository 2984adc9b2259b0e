# SPDX-License-Identifier: Apache-2.0
"""Whether an .npy file is what its header claims, looked at before numpy reads it."""

from __future__ import annotations

import math
from typing import IO, Any

import numpy as np

from ..errors import show

__all__ = ["check_npy"]


def check_npy(stream: IO[bytes], size: int) -> np.dtype[Any]:
    """The type of the array in a .npy file of ``size`` bytes, of which only the header is read.

    Raises ValueError for a shape that is not that of its bytes: numpy takes memory for any shape, and a type of no
    bytes can end the process. Raises what numpy raises for headers that are none.
    """
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = read(stream)
    except MemoryError:  # what Python's parser says of brackets without end
        raise ValueError("its header cannot be read") from None
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if not dtype.itemsize or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size - stream.tell():
        raise ValueError(f"it has {size - stream.tell()} bytes of values, not those of {dtype!s:.60} {show(shape)}")
    return dtype
