# SPDX-License-Identifier: Apache-2.0
"""What hls4ml 1.3.0 leaves out of a network without a word, so that none of its nodes shows it: found in the network
itself, which hls4ml keeps in the project, and refused.

- Keras: ``stateful`` and ``go_backwards`` of recurrent layers; ``max_value``, ``threshold`` and ``negative_slope`` of
  Keras 2's layer ReLU;
- PyTorch: which steps of a recurrent layer's output are used, and any other indexing; the ``value`` of Threshold.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from ..errors import FxsimError, show
from ..importers.keras_files import Contents, live_contents, open_model
from .hls4ml_nodes import Node

_RECURRENT = ("LSTM", "GRU", "Bidirectional")
_CELLS = ("LSTM", "GRU", "SimpleRNN", "QLSTM", "QGRU", "QSimpleRNN")
#: Options of Keras 2's layer ReLU that hls4ml does not read, and what they must be.
_RELU = {"max_value": None, "threshold": 0, "negative_slope": 0}


def check(project: Mapping[str, Any], nodes: Sequence[Node]) -> None:
    """Refuse what is lost, naming layer and option; ``nodes`` are those that hls4ml made."""
    if "PytorchModel" in project:
        _check_pytorch(project["PytorchModel"], nodes)
    elif any(node.kind in _RECURRENT or node.find("activation") == "ReLU" for node in nodes):
        contents = _keras(project)
        if contents is not None:
            _check_keras(contents)


# --- Keras


def _keras(project: Mapping[str, Any]) -> Contents | None:
    """The Keras model of a project: an object, or files that must still be there."""
    model, json, weights = (project.get(key) for key in ("KerasModel", "KerasJson", "KerasH5"))
    if model is not None and not isinstance(model, str):
        return live_contents(model)
    with ExitStack() as stack:
        if json is not None:
            return stack.enter_context(open_model(json, weights))
        path = model or weights
        if path is not None:
            return stack.enter_context(open_model(path))
    return None


def _check_keras(contents: Contents) -> None:
    for class_name, config, backward in _entries(contents.config):
        name = config.get("name")
        if class_name in _CELLS:
            for key in ("stateful", "go_backwards"):
                if config.get(key) is True and not (backward and key == "go_backwards"):
                    raise FxsimError(f"layer {show(name)}: {key} must be False, which hls4ml ignores")
        elif class_name == "ReLU" and contents.generation == 2:
            for key, legal in _RELU.items():
                value = config.get(key)
                if value is not None and value != legal:
                    raise FxsimError(
                        f"layer {show(name)}: {key} of a ReLU must be {legal}, not {show(value)}, which hls4ml ignores"
                    )


def _entries(value: Any, backward: bool = False) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """Every object of a config by its class and config, and whether it is the backward layer of a Bidirectional."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _entries(item)
    elif isinstance(value, Mapping):
        class_name, config = value.get("class_name"), value.get("config")
        if isinstance(class_name, str) and isinstance(config, Mapping):
            yield class_name, config, backward
        for key, item in value.items():
            yield from _entries(item, backward=key == "backward_layer")


# --- PyTorch


def _check_pytorch(module: Any, nodes: Sequence[Node]) -> None:
    """Follow the results of recurrent layers through hls4ml's own trace of the module.

    hls4ml gives the last step of every recurrent layer, and takes each indexing for none.
    """
    recurrent = {node.name: node for node in nodes if node.kind in _RECURRENT}
    if isinstance(module, str):
        several = next((name for name, node in recurrent.items() if node.input_shape[0] > 1), None)
        if several is not None:
            raise FxsimError(
                f"layer {several!r}: hls4ml takes the last step of its output alone; that the PyTorch model does so, "
                f"too, cannot be seen in the file {show(module)}: give hls4ml the module itself"
            )
        return
    traced = sys.modules["hls4ml.utils.torch"].CustomFXTracer().trace(module)
    modules: Mapping[str, Any] = dict(module.named_modules())
    results: dict[Any, tuple[Node, str]] = {}  # of recurrent layers, and what they are
    for node in traced.nodes:
        kept = modules.get(node.target) if node.op == "call_module" else None
        if type(kept).__name__ == "Threshold" and kept is not None and kept.value != 0:
            raise FxsimError(
                f"layer {node.name!r}: value of a Threshold must be 0, not {show(kept.value)}, which hls4ml ignores"
            )
        if node.name in recurrent:
            results[node] = recurrent[node.name], "results"
        elif node.op == "call_function" and node.target is operator.getitem:
            # Unpacking names parts that nobody uses.
            if not node.users:
                continue
            source, index = node.args
            if source not in results:
                raise FxsimError(f"the PyTorch model takes [{_text(index)}] of {source.name!r}, which hls4ml ignores")
            layer, kind = results[source]
            results[node] = layer, _part(layer, kind, index)
        else:
            for layer, kind in (results[source] for source in node.all_input_nodes if source in results):
                steps = layer.input_shape[0]
                if kind in ("results", "sequence") and steps > 1:
                    raise FxsimError(
                        f"{layer.where}: the PyTorch model goes on with all {steps} steps, of which hls4ml takes the "
                        "last alone: take [:, -1] in the model"
                    )


def _part(layer: Node, kind: str, index: Any) -> str:
    """What an indexing of a recurrent layer's results gives: sequence, states, or the last hidden state."""
    if kind == "results" and index in (0, 1):
        return ("sequence", "states" if layer.kind == "LSTM" else "hidden")[index]
    if kind == "states" and index == 0:
        return "hidden"
    # In front of the final states is an axis of layers, of which there is one.
    if kind == "hidden" and index in (0, -1):
        return "hidden"
    every, last = slice(None), (-1, layer.input_shape[0] - 1, slice(-1, None))
    ends = [(every, step, *rest) for step in last for rest in ((), (every,), (Ellipsis,))]
    if kind == "sequence" and index in ends + [(Ellipsis, step, every) for step in last]:
        return "hidden"
    raise FxsimError(
        f"{layer.where}: the PyTorch model takes [{_text(index)}] of its {kind}, of which hls4ml takes the last hidden "
        "state alone: take [:, -1] of the sequence in the model"
    )


def _text(index: Any) -> str:
    """An indexing as it is written."""
    if isinstance(index, tuple):
        return ", ".join(map(_text, index))
    if isinstance(index, slice):
        ends = ["" if end is None else str(end) for end in (index.start, index.stop)]
        return ":".join(ends if index.step is None else [*ends, str(index.step)])
    return "..." if index is Ellipsis else str(index)
