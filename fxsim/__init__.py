# SPDX-License-Identifier: Apache-2.0
"""fxsim: trained LSTM and GRU networks -> a bit-accurate fixed-point simulator and Verilog that gives the same bits.

The names of ``__all__`` are the whole interface. They are imported when first used, so that ``import fxsim`` is quick
and who only simulates needs no Amaranth.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .api import Ip, export, load, pareto, plan, read_source, synth
    from .checks import check
    from .errors import FxsimError, ModelError, OverflowWarning
    from .importers import from_pytorch
    from .pages.plan_table import Plans
    from .program.fixed import Fixed, Overflow, Round
    from .program.graph import Graph, Node, Tensor
    from .quantization.hls4ml_model import from_hls4ml
    from .quantization.presets import quantize
    from .simulator.run import Run, predict, simulate
    from .study.floating import predict as predict_float
    from .study.profiles import Profile, profile
    from .study.scan_file import ScanRow
    from .study.scans import Scan, scan

__version__ = "0.1.0"
__all__ = [
    "Fixed",
    "FxsimError",
    "Graph",
    "Ip",
    "ModelError",
    "Node",
    "Overflow",
    "OverflowWarning",
    "Plans",
    "Profile",
    "Round",
    "Run",
    "Scan",
    "ScanRow",
    "Tensor",
    "check",
    "export",
    "from_hls4ml",
    "from_pytorch",
    "load",
    "pareto",
    "plan",
    "predict",
    "predict_float",
    "profile",
    "quantize",
    "read_source",
    "scan",
    "simulate",
    "synth",
]

#: Where each name lives: module, and the name there.
_HOMES = {
    **dict.fromkeys(("Ip", "check", "export", "load", "pareto", "plan", "read_source", "synth"), "api"),
    **dict.fromkeys(("FxsimError", "ModelError", "OverflowWarning"), "errors"),
    **dict.fromkeys(("Fixed", "Overflow", "Round"), "program.fixed"),
    **dict.fromkeys(("Graph", "Node", "Tensor"), "program.graph"),
    "from_hls4ml": "quantization.hls4ml_model",
    "from_pytorch": "importers",
    **dict.fromkeys(("Profile", "profile"), "study.profiles"),
    **dict.fromkeys(("Run", "predict", "simulate"), "simulator.run"),
    "predict_float": "study.floating",
    "quantize": "quantization.presets",
    "Plans": "pages.plan_table",
    "ScanRow": "study.scan_file",
    **dict.fromkeys(("Scan", "scan"), "study.scans"),
}
_OTHER_NAMES = {"predict_float": "predict"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), _OTHER_NAMES.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
