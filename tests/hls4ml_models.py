# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for live hls4ml models, made from what was recorded of real ones; hls4ml is not needed."""

from __future__ import annotations

import copy
import json
import operator
import re
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from types import SimpleNamespace as Plain
from typing import Any

import numpy as np

#: A class of hls4ml by name and module, which is all that is asked of it.
ModelGraph = type("ModelGraph", (), {"__module__": "hls4ml.model.graph"})
_PRECISIONS = {name: type(name, (Plain,), {}) for name in ("APFixedPrecisionType", "APIntegerPrecisionType")}


def precision(width: int, integer: int, signed: bool = True, rounding: str = "TRN", saturation: str = "WRAP") -> Any:
    """A precision as the backends have it."""
    modes = [Enum("Mode", [name])[name] for name in (rounding, saturation)]
    return _PRECISIONS["APFixedPrecisionType"](
        width=width, integer=integer, signed=signed, rounding_mode=modes[0], saturation_mode=modes[1], saturation_bits=0
    )


def integers(width: int, signed: bool = True) -> Any:
    """An integer precision."""
    return _PRECISIONS["APIntegerPrecisionType"](width=width, signed=signed)


def node(name: str, kind: str, before: str, shape: tuple[int, ...], /, **attributes: Any) -> Any:
    """A node that takes the output of the node ``before``."""
    return Plain(
        name=name,
        class_name=kind,
        inputs=[before],
        outputs=[name],
        attributes=Plain(attributes={name: None, **attributes}),
        variable=Plain(shape=list(shape)),
    )


def model(*nodes: Any, io: str = "io_parallel", **project: Any) -> Any:
    """A model of these nodes."""
    made = ModelGraph()
    values = {"Backend": "Vivado", "IOType": io, "HLSConfig": {"Model": {}}, **project}
    config = Plain(config=values, get_config_value=values.get, get_project_name=lambda: "network")
    made.config, made.outputs = config, list(nodes[-1].outputs)
    for before, one in zip((nodes[0], *nodes), nodes, strict=False):
        one.model = made
        one.get_output_variable = lambda one=one: one.variable
        one.get_input_variable = lambda before=before: before.variable
    made.get_layers = lambda: list(nodes)
    return made


class TraceNode(Plain):
    """A node of a trace, told apart by what it is and not by what it holds."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


class Module:
    """A PyTorch module by its trace: a recurrent layer "rnn", what is taken of its results, and what then runs."""

    def __init__(self, indices: Sequence[object], then: str = "call_function", **modules: object) -> None:
        self.trace = [TraceNode(op="call_module", target="rnn", name="rnn", args=(), all_input_nodes=[], users={})]
        for index in indices:
            self.add("call_function", operator.getitem, f"getitem_{len(self.trace)}", index)
        self.add(then, "act", "act")
        self.modules = modules

    def add(self, op: str, target: object, name: str, *more: object) -> None:
        before = self.trace[-1]
        self.trace.append(
            TraceNode(op=op, target=target, name=name, args=(before, *more), all_input_nodes=[before], users={})
        )
        before.users[self.trace[-1]] = None

    def named_modules(self) -> list[tuple[str, object]]:
        return list(self.modules.items())


def recorded(folder: Path) -> Any:
    """The model that hls4ml made of a reference case."""
    resolved = json.loads((folder / "resolved.json").read_text())
    weights = np.load(folder / "qweights.npz")
    nodes = []
    for entry in resolved["layers"]:
        attributes = copy.deepcopy(entry["attributes"])
        types = {key: _precision(value["type"]) for key, value in entry["types"].items()}
        attributes |= {key: Plain(precision=type) for key, type in types.items()}
        for key in entry["weights"]:
            raw = weights[f"{entry['name']}/{key}"]
            attributes[key] = Plain(data=raw * 2.0 ** -entry["types"][f"{key}_t"]["type"]["fractional"])
        shape = next(iter(entry["variables"].values()))["shape"]
        nodes.append(node(entry["name"], entry["class_name"], entry["inputs"][0], shape, **attributes))
        nodes[-1].outputs = entry["outputs"]
    return model(*nodes, io=resolved["io_type"], Backend=resolved["backend"])


def _precision(recorded: dict[str, Any]) -> Any:
    if recorded["cls"] == "APIntegerPrecisionType":
        return integers(recorded["width"], recorded["signed"])
    modes = recorded["rounding"], recorded["saturation"]
    return precision(recorded["width"], recorded["integer"], recorded["signed"], *modes)


def replayed(record: dict[str, Any], **project: Any) -> Any:
    """The model of which ``hls4ml_projects/make.py`` kept all nodes."""
    nodes = []
    for entry in record["nodes"]:
        attributes = {key: _replayed(value) for key, value in entry["attributes"].items()}
        before = entry["inputs"][0] if entry["inputs"] else ""
        nodes.append(node(entry["name"], entry["class"], before, tuple(entry["shape"]), **attributes))
        nodes[-1].outputs, nodes[-1].attributes.attributes = entry["outputs"], attributes
    options = {"Model": {"ChannelsLastConversion": record["channels_last"]}}
    return model(*nodes, io=record["io"], HLSConfig=options, **project)


def _replayed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "precision" not in value:
        return Plain(**{key: np.array(item) if key == "data" else item for key, item in value.items()})
    kind, arguments = re.fullmatch(r"(u?fixed|u?int)<([^>]*)>", value["precision"]).groups()
    parts = arguments.split(",")
    if kind.endswith("int"):
        return Plain(precision=integers(int(parts[0]), kind == "int"))
    return Plain(precision=precision(int(parts[0]), int(parts[1]), kind == "fixed", *parts[2:4]))
