# SPDX-License-Identifier: Apache-2.0
"""The order of a Keras model's layers: a Sequential model's list, or a functional model whose graph is one chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fxsim.errors import ModelError, show
from fxsim.importers.keras_options import LAYERS, Options, as_dict, as_list, words

__all__ = ["Chain", "Entry", "chain"]

# Keys of a layer's entry beside its class and config. None changes what the layer computes; `inbound_nodes` is read by
# the functional model, `build_config` repeats shapes, `compile_config` is for training.
_ENTRY_KEYS = words("class_name config name inbound_nodes module registered_name build_config shared_object_id")
_MODEL_KEYS = (_ENTRY_KEYS - {"inbound_nodes"}) | {"keras_version", "backend", "compile_config"}
_SEQUENTIAL_KEYS = words("name layers trainable dtype build_input_shape")
_FUNCTIONAL_KEYS = words("name layers trainable dtype input_layers output_layers")
_MODULES = ("keras", "tf_keras", "tensorflow.keras", "tensorflow.python.keras")


@dataclass(frozen=True)
class Entry:
    """One layer as it stands in the config."""

    class_name: str
    name: str
    config: dict[str, Any]
    inbound: list[Any]

    @staticmethod
    def of(value: object, where: str) -> Entry:
        """Check the frame of a layer's entry; its config is checked by `Options`."""
        entry = as_dict(value, where)
        class_name = entry.get("class_name")
        config = as_dict(entry.get("config"), f"{where}: config")
        name = config.get("name", entry.get("name"))
        for key, text in (("class_name", class_name), ("name", name)):
            if not isinstance(text, str) or not text or not text.isprintable():
                raise ModelError(f"{where}: {key} must be a text, not {show(text)}")
        assert isinstance(class_name, str) and isinstance(name, str)
        here = f"layer {show(name)}"
        if entry.get("name", name) != name:
            raise ModelError(f"{here}: its entry has another name, {show(entry['name'])}")
        _check_keys(entry, _ENTRY_KEYS, here)
        _check_origin(entry, class_name, here)
        return Entry(class_name, name, config, as_list(entry.get("inbound_nodes", []), f"{here}: inbound_nodes"))


@dataclass(frozen=True)
class Chain:
    """The layers in order, InputLayer apart; `input_shape` has the batch in front and is not yet checked."""

    name: str
    input_name: str
    input_where: str
    input_shape: object
    layers: list[Entry]


def _check_keys(value: dict[str, Any], known: frozenset[str], where: str) -> None:
    for key in value:
        if key not in known:
            raise ModelError(f"{where}: key {show(key)} is not known to fxsim, which reads or refuses all")


def _check_origin(entry: dict[str, Any], class_name: str, where: str) -> None:
    """Refuse a class that only shares its name with one of Keras."""
    module, registered = entry.get("module"), entry.get("registered_name")
    ours = module is None or (isinstance(module, str) and any(f"{module}.".startswith(f"{m}.") for m in _MODULES))
    if not ours or registered not in (None, class_name):
        raise ModelError(f"{where} is a custom {show(class_name)} of {show(registered or module)}, not one of Keras")


def chain(model: dict[str, Any]) -> Chain:
    """Give the layers of a model's config in order. Raises ModelError for anything that is no chain."""
    class_name = model.get("class_name")
    if class_name not in ("Sequential", "Functional", "Model"):
        raise ModelError(f"the model is a {show(class_name)}; fxsim imports Sequential and Functional models")
    _check_keys(model, _MODEL_KEYS, "the model")
    _check_origin(model, class_name, "the model")
    config = model.get("config")
    if class_name == "Sequential" and isinstance(config, list):
        # Keras before 2.2.3 writes the bare list.
        config = {"name": "sequential", "layers": config}
    config = as_dict(config, "the model's config")
    _check_keys(config, _SEQUENTIAL_KEYS if class_name == "Sequential" else _FUNCTIONAL_KEYS, "the model's config")
    name = config.get("name", "model")
    if not isinstance(name, str) or not name or not name.isprintable():
        raise ModelError(f"the model's name must be a text, not {show(name)}")
    layers = as_list(config.get("layers"), "the model's layers")
    entries = [Entry.of(layer, f"layer number {i}") for i, layer in enumerate(layers)]
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raise ModelError(f"two layers are named {show(entry.name)}; names must be unique")
        seen.add(entry.name)
        if entry.class_name not in LAYERS:
            raise ModelError(
                f"layer {show(entry.name)} is a {entry.class_name[:60]}, which fxsim does not import; "
                f"it imports: {', '.join(LAYERS)}"
            )
    if class_name != "Sequential":
        entries = _functional(config, entries)
    return _with_input(name, entries, config.get("build_input_shape"))


def _with_input(name: str, entries: list[Entry], built: object) -> Chain:
    """Take the InputLayer off; Sequential models may have the input's shape in the first layer or beside the list."""
    if not entries:
        raise ModelError("the model has no layers")
    first = entries[0]
    for entry in entries[1:]:
        if entry.class_name == "InputLayer":
            raise ModelError(f"layer {show(entry.name)} is a second InputLayer; fxsim imports models of one input")
    if first.class_name == "InputLayer":
        options = Options("InputLayer", first.name, first.config)
        keys = [key for key in ("batch_shape", "batch_input_shape") if key in options]
        if len(keys) != 1:
            raise ModelError(f"{options.where}: option 'batch_shape' must be given once")
        return Chain(name, first.name, f"layer {show(first.name)}", options.get(keys[0]), entries[1:])
    # Keras makes the same name when it adds the missing InputLayer.
    shape = first.config.get("batch_input_shape", built)
    if shape is None:
        raise ModelError(f"layer {show(first.name)}: the model was saved without its input's shape; build it first")
    return Chain(name, f"{first.name}_input", f"layer {show(first.name)}", shape, entries)


# --- Functional models


def _functional(config: dict[str, Any], entries: list[Entry]) -> list[Entry]:
    """Order a functional model's layers from its input to its output."""
    by_name = {entry.name: entry for entry in entries}
    following: dict[str, str] = {}
    for entry in entries:
        if entry.class_name == "InputLayer":
            if entry.inbound:
                raise ModelError(f"layer {show(entry.name)} is an InputLayer with an input")
            continue
        source = _source_of(entry)
        if source not in by_name:
            raise ModelError(f"layer {show(entry.name)}: its input {show(source)} is no layer of the model")
        if source in following:
            raise ModelError(
                f"layer {show(source)} branches to {show(following[source])} and {show(entry.name)}; "
                "fxsim imports models that are one chain"
            )
        following[source] = entry.name
    first = _end(config, "input_layers")
    last = _end(config, "output_layers")
    if first not in by_name or by_name[first].class_name != "InputLayer":
        raise ModelError(f"the model's input {show(first)} is no InputLayer of the model")
    ordered = [by_name[first]]
    # Every layer has one source and every source one follower, so the walk cannot come back.
    while (name := following.get(ordered[-1].name)) is not None:
        ordered.append(by_name[name])
    if len(ordered) != len(entries):
        walked = {entry.name for entry in ordered}
        loose = next(name for name in by_name if name not in walked)
        raise ModelError(f"layer {show(loose)} is not on the chain from the input {show(first)}")
    if ordered[-1].name != last:
        raise ModelError(f"the model's output {show(last)} is not its last layer {show(ordered[-1].name)}")
    return ordered


def _end(config: dict[str, Any], key: str) -> str:
    """Give the one layer in input_layers or output_layers: [[name, 0, 0]], or [name, 0, 0] of newer Keras 3."""
    value = as_list(config.get(key), f"the model's {key}")
    if len(value) == 1:
        value = as_list(value[0], f"the model's {key}")
    if (len(value) == 3 and all(isinstance(part, list) for part in value)) or len(value) == 2:
        raise ModelError(f"the model has {len(value)} {key.replace('_', ' ')}; fxsim imports models of one")
    if len(value) != 3 or not isinstance(value[0], str):
        raise ModelError(f"the model's {key} must be one [name, 0, 0], not {show(config.get(key))}")
    _zero_indices(value[1:], f"the model's {key}")
    return value[0]


def _zero_indices(indices: list[Any], where: str) -> None:
    if [type(index) for index in indices] != [int, int] or indices != [0, 0]:
        raise ModelError(f"{where}: a layer is used more than once, or has several outputs: {show(indices)}")


def _source_of(entry: Entry) -> str:
    """Give the name of the one layer whose output is this layer's input."""
    where = f"layer {show(entry.name)}"
    if len(entry.inbound) != 1:
        raise ModelError(f"{where} is used {len(entry.inbound)} times; fxsim imports models that are one chain")
    node = entry.inbound[0]
    if isinstance(node, dict):
        return _keras3_source(node, where)
    node = as_list(node, f"{where}: inbound node")
    # Keras 2: [["name", 0, 0, {arguments}]], one list a tensor; some versions leave the outer list out.
    tensors = [node] if node and isinstance(node[0], str) else node
    if len(tensors) != 1:
        raise ModelError(f"{where} has {len(tensors)} inputs; fxsim imports models that are one chain")
    tensor = as_list(tensors[0], f"{where}: inbound node")
    if len(tensor) not in (3, 4) or not isinstance(tensor[0], str):
        raise ModelError(f"{where}: inbound node must be [name, 0, 0, arguments], not {show(tensor)}")
    _zero_indices(tensor[1:3], where)
    _no_arguments(tensor[3] if len(tensor) == 4 else {}, where)
    return tensor[0]


def _keras3_source(node: dict[str, Any], where: str) -> str:
    _check_keys(node, words("args kwargs"), f"{where}: inbound node")
    args = as_list(node.get("args"), f"{where}: arguments")
    _no_arguments(node.get("kwargs", {}), where)
    if len(args) != 1 or isinstance(args[0], list):
        count = len(args[0]) if len(args) == 1 else len(args)
        raise ModelError(f"{where} has {count} inputs; fxsim imports models that are one chain")
    tensor = as_dict(args[0], f"{where}: argument")
    if tensor.get("class_name") != "__keras_tensor__":
        raise ModelError(f"{where}: its argument must be a tensor, not {show(tensor.get('class_name'))}")
    history = as_dict(tensor.get("config"), f"{where}: argument").get("keras_history")
    if not isinstance(history, list) or len(history) != 3 or not isinstance(history[0], str):
        raise ModelError(f"{where}: keras_history must be [name, 0, 0], not {show(history)}")
    _zero_indices(history[1:], where)
    return history[0]


def _no_arguments(value: object, where: str) -> None:
    """Refuse call arguments such as initial_state; training=True would leave dropout on."""
    for key, argument in as_dict(value, f"{where}: arguments").items():
        legal = (None, False) if key == "training" else (None,)
        if not any(argument is harmless for harmless in legal):
            raise ModelError(
                f"{where}: call argument {show(key)} must be {' or '.join(map(str, legal))}, not {show(argument)}"
            )
