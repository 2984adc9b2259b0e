# SPDX-License-Identifier: Apache-2.0
"""A float network -> the graph of integers: which preset, from the arguments that a user gives."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import FxsimError, show
from ..importers.source import Moving, Repeat, Reverse, Source
from ..program.fixed import Fixed
from ..program.graph import Graph
from . import exact, exact_sums, hls4ml
from .exact_tables import check_size
from .hls4ml_config import table_sizes
from .hls4ml_files import read_config

PRESETS = ("exact", "hls4ml")
#: Precision where none is given.
DEFAULT = "ap_fixed<16,6>"


def quantize(
    source: Source,
    *,
    precision: Fixed | str | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    preset: str | None = None,
    layers: Mapping[str, Fixed | str] | None = None,
    table_size: int | None = None,
    sums: str | None = None,
) -> Graph:
    """The network in integers; raises ``FxsimError`` for arguments that contradict each other, naming the legal ones.

    Preset ``exact`` (the default) takes a ``precision`` and derives all formats from it. Preset ``hls4ml`` computes
    what hls4ml's emulator does: from its configuration, a dictionary or the path of a JSON or YAML file (``config``
    implies this preset), or with ``precision`` for everything.

    ``table_size``: entries of every function table. Preset ``exact`` takes it as the most that a table has, from 16 to
    65536; without it tables are as large as the precision asks for, and interpolated where they would be too large.
    Preset ``hls4ml`` takes it as its ``TableSize``, from 2 to 1048576; without it that is 1024.

    ``sums``: how preset ``exact`` adds the products of matrices. "exact" (the default) keeps all their bits; "narrow"
    cuts each product below what the table or the cast behind the sum can see, so that adders are narrower. Preset
    ``hls4ml`` has its own formats of sums and takes none.

    ``layers`` gives layers that have formats (all but Flatten) a precision of their own, by name; with a ``config``,
    that is its LayerName.
    """
    if preset not in (None, *PRESETS):
        raise FxsimError(f"preset must be one of {', '.join(PRESETS)}, not {show(preset)}")
    if config is not None:
        if preset == "exact":
            raise FxsimError("preset must be hls4ml with a config, not exact: give exact a precision")
        if precision is not None:
            raise FxsimError("precision must be left out with a config, which has its own: Model, Precision")
    if config is not None and table_size is not None:
        raise FxsimError("table_size must be left out with a config, which has its own: LayerName, TableSize")
    check_sums(sums, "hls4ml" if config is not None else preset)
    if layers:
        if config is not None:
            raise FxsimError("layers must be left out with a config, which has its own: LayerName, Precision")
        check_layers(source, layers)
    if config is not None:
        return hls4ml.quantize(source, config if isinstance(config, Mapping) else read_config(config))
    if precision is None:
        precision = DEFAULT
    if preset == "hls4ml":
        model = {"Precision": {"default": str(_parsed(precision))}, "ReuseFactor": 1, "Strategy": "Latency"}
        names = {name: {"Precision": str(_parsed(one))} for name, one in (layers or {}).items()}
        types = {} if table_size is None else table_sizes(table_size)
        return hls4ml.quantize(source, {"Model": model, "LayerType": types, "LayerName": names})
    return exact.quantize(source, precision, layers=layers, table_size=table_size, sums=sums or exact_sums.SUMS[0])


def check_table_size(size: int, preset: str) -> None:
    """Raise ``FxsimError`` unless ``size`` is a number of entries that the tables of a preset can have."""
    if preset == "hls4ml":
        table_sizes(size)
    else:
        check_size(size)


def check_sums(sums: str | None, preset: str | None) -> None:
    """Raise ``FxsimError`` unless a preset (None: exact) can add so."""
    if sums is not None:
        exact_sums.check_sums(sums)
        if preset == "hls4ml":
            raise FxsimError("sums must be left out in preset hls4ml, which has its own formats of sums")


def _parsed(precision: Fixed | str) -> Fixed:
    """Parsed first, so that a mistake is reported as one of the precision and not of a configuration."""
    type = Fixed.parse(precision) if isinstance(precision, str) else precision
    if not isinstance(type, Fixed):
        raise FxsimError(f"precision must be a text like 'ap_fixed<16,6>' or a Fixed, not {show(precision)}")
    return type


def check_layers(source: Source, names: Iterable[str]) -> None:
    """Refuse names of layers that are not there, or that have no format."""
    legal = [layer.name for layer in source.layers if not isinstance(layer, Moving | Reverse | Repeat)]
    for name in names:
        if name not in legal:
            raise FxsimError(f"layer must be one of {', '.join(legal)}, not {show(name)}")
