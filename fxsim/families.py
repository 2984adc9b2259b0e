# SPDX-License-Identifier: Apache-2.0
"""Device families by all the names that people and tools give them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import FxsimError, show


@dataclass(frozen=True)
class DeviceFamily:
    """A family and its names.

    ``name``: in manifests and messages. ``parts``: its device families, as they are usually written. ``vivado``: the
    same in IP-XACT and ``get_property FAMILY``. ``others``: names that are accepted as well. ``delays``: what the table
    of operator delays (``rtl.plan.delays``) stands for.
    """

    name: str
    parts: tuple[str, ...]
    vivado: tuple[str, ...]
    others: tuple[str, ...]
    delays: str


FAMILIES: dict[str, DeviceFamily] = {
    one.name: one
    for one in (
        DeviceFamily(
            "xc7",
            ("artix7", "kintex7", "spartan7", "virtex7", "zynq7000"),
            ("artix7", "kintex7", "spartan7", "virtex7", "zynq"),
            ("7series", "series7", "zynq7"),
            "delays of Kintex-7, speed grade -2; grade -1 and Artix-7 are slower",
        ),
        DeviceFamily(
            "xcu",
            ("kintexu", "virtexu"),
            ("kintexu", "virtexu"),
            ("ultrascale", "kintexultrascale", "virtexultrascale"),
            "delays of xc7 times 0.72, an estimate for speed grade -2",
        ),
        DeviceFamily(
            "xcup",
            ("artixup", "kintexup", "virtexup", "zynqup"),
            ("artixuplus", "kintexuplus", "virtexuplus", "virtexuplusHBM", "zynquplus"),
            (
                "ultrascaleplus", "artixultrascaleplus", "kintexultrascaleplus", "virtexultrascaleplus",
                "zynqultrascaleplus", "zynquplusrfsoc", "zynqmp", "rfsoc",
            ),
            "delays of xc7 times 0.65, an estimate for speed grade -2",
        ),
        DeviceFamily(
            "ecp5",
            (),
            (),
            ("lfe5u", "lfe5um", "ecp5u", "ecp5um"),
            "delays of Lattice ECP5, speed grade 6, the slowest",
        ),
    )
}  # fmt: skip


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.lower()).replace("+", "plus")


_NAMES = {
    _plain(name): family.name
    for family in FAMILIES.values()
    for name in (family.name, *family.parts, *family.vivado, *family.others)
}


def canonical(name: object) -> str:
    """``xc7``, ``xcu``, ``xcup`` or ``ecp5`` for any name of a family, such as "Kintex UltraScale+".

    Letter case, blanks, ``-`` and ``_`` make no difference, and ``+`` is plus. Raises ``FxsimError`` with the names.
    """
    found = _NAMES.get(_plain(name)) if isinstance(name, str) else None
    if found is None:
        known = ", ".join(
            f"{one.name} ({', '.join(one.parts)})" if one.parts else one.name for one in FAMILIES.values()
        )
        raise FxsimError(f"family must be one of {known}, not {show(name)}")
    return found
