# SPDX-License-Identifier: Apache-2.0
"""Ops under other names, for programs that are put together from others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

from fxsim.program.ops import Op


def renamed(op: Op, names: Mapping[str, str]) -> Op:
    """The op with its own and its operands' names replaced."""
    changes: dict[str, object] = {"name": names[op.name]}
    for field in fields(op):
        value = getattr(op, field.name)
        if field.name in ("a", "b", "arg", "condition", "update"):
            changes[field.name] = names[value]
        elif field.name == "parts":
            changes["parts"] = tuple(names[part] for part in value)
    return replace(op, **changes)  # type: ignore[arg-type]
