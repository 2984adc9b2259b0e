# SPDX-License-Identifier: Apache-2.0
"""Blocks with a mistake put into their text: what a proof must refute to be worth something."""

from __future__ import annotations

import inspect
import sys
import textwrap
from typing import Any

from testbenches.errors import CheckError


def mutated(thing: Any, old: str, new: str) -> Any:
    """A class or function with ``old`` in its source text replaced by ``new``; it must stand there exactly once."""
    source = textwrap.dedent(inspect.getsource(thing))
    if source.count(old) != 1:
        raise CheckError(f"{thing.__qualname__}: {old!r} must stand in it once, not {source.count(old)} times")
    namespace = dict(vars(sys.modules[thing.__module__]))
    lines = "\n" * (inspect.getsourcelines(thing)[1] - 1)
    exec(compile(lines + "from __future__ import annotations\n" + source.replace(old, new), thing.__module__, "exec"), namespace)
    return namespace[thing.__name__]
