# SPDX-License-Identifier: Apache-2.0
"""Ops under other names, for programs that are put together from others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fxsim.program.ops import AnyOp, State


def renamed(op: AnyOp, names: Mapping[str, str]) -> AnyOp:
    """The op with its own name, its operands' and that of a state's update replaced."""
    if isinstance(op, State):
        return replace(op, name=names[op.name], update=names[op.update])
    return replace(op.with_args(*(names[arg] for arg in op.args)), name=names[op.name])
