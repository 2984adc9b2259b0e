# SPDX-License-Identifier: Apache-2.0
"""The order of a Keras model's layers: a Sequential model's list, or a functional model whose graph is one chain.

A model inside a model is a chain of its own, in place of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..errors import ModelError, show
from .keras_options import as_dict, as_list, words

__all__ = ["MODELS", "Chain", "Entry", "chain"]

#: Classes of models; Keras 2 calls a functional one by both of the last two names.
MODELS = ("Sequential", "Functional", "Model")
# Keys of a layer's entry beside its class and config. None changes what the layer computes; `inbound_nodes` is read by
# the functional model, `build_config` repeats shapes, `compile_config` is for training.
_ENTRY_KEYS = words(
    "class_name config name inbound_nodes module registered_name build_config shared_object_id compile_config"
)
_MODEL_KEYS = (_ENTRY_KEYS - {"inbound_nodes"}) | {"keras_version", "backend"}
_SEQUENTIAL_KEYS = words("name layers trainable dtype build_input_shape")
_FUNCTIONAL_KEYS = words("name layers trainable dtype input_layers output_layers")
_MODULES = ("keras", "tf_keras", "tensorflow.keras", "tensorflow.python.keras")
_CHAIN = "fxsim imports models that are one chain"
#: Models inside models inside models; Keras itself gives up not far beyond.
_DEEPEST = 8


@dataclass(frozen=True)
class Entry:
    """One layer as it stands in the config; `path` names the models around it, `inner` is the chain of a model."""

    class_name: str
    name: str
    config: dict[str, Any]
    inbound: list[Any] = field(default_factory=list)
    path: tuple[str, ...] = ()
    inner: Chain | None = None

    @property
    def label(self) -> str:
        """The name of the layer in the whole model: outer/inner."""
        return "/".join((*self.path, self.name))

    @property
    def trainable(self) -> bool:
        """Whether its weights stand among the trainable ones of a model around it."""
        return self.config.get("trainable", True) is not False

    @staticmethod
    def of(value: object, where: str, path: tuple[str, ...] = ()) -> Entry:
        """Check the frame of a layer's entry; its config is checked by `Options`."""
        entry = as_dict(value, where)
        class_name = entry.get("class_name")
        config = entry.get("config")
        if class_name in MODELS and isinstance(config, list):
            # Keras before 2.2.3 writes the bare list.
            config = {"name": entry.get("name", "sequential"), "layers": config}
        config = as_dict(config, f"{where}: config")
        name = config.get("name", entry.get("name"))
        for key, text in (("class_name", class_name), ("name", name)):
            if not isinstance(text, str) or not text or not text.isprintable():
                raise ModelError(f"{where}: {key} must be a text, not {show(text)}")
        assert isinstance(class_name, str) and isinstance(name, str)
        here = f"layer {show('/'.join((*path, name)))}"
        if entry.get("name", name) != name:
            raise ModelError(f"{here}: its entry has another name, {show(entry['name'])}")
        _check_keys(entry, _ENTRY_KEYS, here)
        _check_origin(entry, class_name, here)
        inbound = as_list(entry.get("inbound_nodes", []), f"{here}: inbound_nodes")
        inner = _chain(class_name, config, name, (*path, name)) if class_name in MODELS else None
        return Entry(class_name, name, config, inbound, path, inner)


@dataclass(frozen=True)
class Chain:
    """A model's layers in order, its InputLayer in front where it has one.

    `obstacles` says why the graph is no chain; the layers are then in the order of the file. `built` is the shape of
    the input that stands beside a Sequential model's layers.
    """

    name: str
    entries: list[Entry]
    built: object = None
    obstacles: tuple[str, ...] = ()

    @property
    def input(self) -> Entry | None:
        """The InputLayer, where the model has one."""
        return self.entries[0] if self.entries and self.entries[0].class_name == "InputLayer" else None

    @property
    def layers(self) -> list[Entry]:
        """The layers behind it."""
        return self.entries if self.input is None else self.entries[1:]

    def names(self) -> Iterator[str]:
        """Names of all layers in the whole model."""
        for entry in self.entries:
            yield entry.label
            if entry.inner is not None:
                yield from entry.inner.names()


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
    """Give the layers of a model's config in order. Raises ModelError for what is no model of Keras."""
    class_name = model.get("class_name")
    if class_name not in MODELS:
        raise ModelError(f"the model is a {show(class_name)}; fxsim imports Sequential and Functional models")
    _check_keys(model, _MODEL_KEYS, "the model")
    _check_origin(model, class_name, "the model")
    config = model.get("config")
    if isinstance(config, list):
        config = {"name": "sequential", "layers": config}
    config = as_dict(config, "the model's config")
    name = config.get("name", "model")
    if not isinstance(name, str) or not name or not name.isprintable():
        raise ModelError(f"the model's name must be a text, not {show(name)}")
    return _chain(class_name, config, name, ())


def _chain(class_name: str, config: dict[str, Any], name: str, path: tuple[str, ...]) -> Chain:
    """The same of a model inside the models `path`."""
    where = f"model {show('/'.join(path))}" if path else "the model"
    if len(path) > _DEEPEST:
        raise ModelError(f"{where}: models are nested too deep")
    _check_keys(config, _SEQUENTIAL_KEYS if class_name == "Sequential" else _FUNCTIONAL_KEYS, f"{where}'s config")
    layers = as_list(config.get("layers"), f"{where}'s layers")
    obstacles: list[str] = []
    entries: list[Entry] = []
    for number, layer in enumerate(layers):
        try:
            entries.append(Entry.of(layer, f"layer number {number}{f' of {where}' if path else ''}", path))
        except ModelError as error:
            obstacles += error.obstacles
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raise ModelError(f"two layers are named {show(entry.label)}; names must be unique", *obstacles)
        seen.add(entry.name)
    if not entries:
        raise ModelError(*(obstacles or [f"{where} has no layers"]))
    if not obstacles and class_name != "Sequential":
        entries = _functional(config, entries, where, obstacles)
    for entry in entries[1:]:
        if entry.class_name == "InputLayer" and not obstacles:
            obstacles.append(f"layer {show(entry.label)} is a second InputLayer; fxsim imports models of one input")
    return Chain(name, entries, config.get("build_input_shape"), tuple(obstacles))


# --- Functional models


def _functional(config: dict[str, Any], entries: list[Entry], where: str, obstacles: list[str]) -> list[Entry]:
    """Order a functional model's layers from its input to its output; `obstacles` takes what is in the way."""
    by_name = {entry.name: entry for entry in entries}
    following: dict[str, str] = {}
    before = len(obstacles)
    for entry in entries:
        try:
            _follow(entry, by_name, following)
        except ModelError as error:
            obstacles += error.obstacles
    ends = []
    for key in ("input_layers", "output_layers"):
        try:
            ends.append(_end(config, key, where, by_name))
        except ModelError as error:
            obstacles += error.obstacles
    if len(obstacles) > before:
        return entries
    first, last = ends
    if first not in by_name or by_name[first].class_name != "InputLayer":
        raise ModelError(f"{where}'s input {show(first)} is no InputLayer of the model")
    ordered = [by_name[first]]
    # Every layer has one source and every source one follower, so the walk cannot come back.
    while (name := following.get(ordered[-1].name)) is not None:
        ordered.append(by_name[name])
    if len(ordered) != len(entries):
        walked = {entry.name for entry in ordered}
        loose = next(entry for entry in entries if entry.name not in walked)
        raise ModelError(f"layer {show(loose.label)} is not on the chain from the input {show(first)}")
    if ordered[-1].name != last:
        raise ModelError(f"{where}'s output {show(last)} is not its last layer {show(ordered[-1].name)}")
    return ordered


def _follow(entry: Entry, by_name: dict[str, Entry], following: dict[str, str]) -> None:
    """Note which layer an entry follows."""
    where = f"layer {show(entry.label)}"
    if entry.class_name == "InputLayer":
        if entry.inbound:
            raise ModelError(f"{where} is an InputLayer with an input")
        return
    source = _source_of(entry, by_name)
    if source not in by_name:
        raise ModelError(f"{where}: its input {show(source)} is no layer of the model")
    if source in following:
        branches = f"{show(following[source])} and {show(entry.name)}"
        raise ModelError(f"layer {show(by_name[source].label)} branches to {branches}; {_CHAIN}")
    following[source] = entry.name


def _end(config: dict[str, Any], key: str, where: str, by_name: dict[str, Entry]) -> str:
    """Give the one layer in input_layers or output_layers: [[name, 0, 0]], or [name, 0, 0] of newer Keras 3."""
    value = as_list(config.get(key), f"{where}'s {key}")
    if len(value) == 1:
        value = as_list(value[0], f"{where}'s {key}")
    if (len(value) == 3 and all(isinstance(part, list) for part in value)) or len(value) == 2:
        raise ModelError(f"{where} has {len(value)} {key.replace('_', ' ')}; fxsim imports models of one")
    if len(value) != 3 or not isinstance(value[0], str):
        raise ModelError(f"{where}'s {key} must be one [name, 0, 0], not {show(config.get(key))}")
    return _only_output(value, f"{where}'s {key}", by_name)


def _only_output(tensor: list[Any], where: str, by_name: dict[str, Entry]) -> str:
    """Give the layer of [name, node, tensor], which must be its only output, where it is used once."""
    name, *indices = tensor
    # Keras 2 counts the making of a functional model as its first use.
    model = name in by_name and by_name[name].inner is not None
    if [type(index) for index in indices] != [int, int] or indices not in ([[0, 0], [1, 0]] if model else [[0, 0]]):
        raise ModelError(f"{where}: a layer is used more than once, or has several outputs: {show(indices)}")
    return str(name)


def _source_of(entry: Entry, by_name: dict[str, Entry]) -> str:
    """Give the name of the one layer whose output is this layer's input."""
    where = f"layer {show(entry.label)}"
    if len(entry.inbound) != 1:
        raise ModelError(f"{where} is used {len(entry.inbound)} times; {_CHAIN}")
    node = entry.inbound[0]
    if isinstance(node, dict):
        return _keras3_source(node, where, by_name)
    node = as_list(node, f"{where}: inbound node")
    # Keras 2: [["name", 0, 0, {arguments}]], one list a tensor; some versions leave the outer list out.
    tensors = [node] if node and isinstance(node[0], str) else node
    if len(tensors) != 1:
        raise ModelError(f"{where} has {len(tensors)} inputs; {_CHAIN}")
    tensor = as_list(tensors[0], f"{where}: inbound node")
    if len(tensor) not in (3, 4) or not isinstance(tensor[0], str):
        raise ModelError(f"{where}: inbound node must be [name, 0, 0, arguments], not {show(tensor)}")
    _no_arguments(tensor[3] if len(tensor) == 4 else {}, where)
    return _only_output(tensor[:3], where, by_name)


def _keras3_source(node: dict[str, Any], where: str, by_name: dict[str, Entry]) -> str:
    _check_keys(node, words("args kwargs"), f"{where}: inbound node")
    args = as_list(node.get("args"), f"{where}: arguments")
    _no_arguments(node.get("kwargs", {}), where)
    if len(args) != 1 or isinstance(args[0], list):
        count = len(args[0]) if len(args) == 1 else len(args)
        raise ModelError(f"{where} has {count} inputs; {_CHAIN}")
    tensor = as_dict(args[0], f"{where}: argument")
    if tensor.get("class_name") != "__keras_tensor__":
        raise ModelError(f"{where}: its argument must be a tensor, not {show(tensor.get('class_name'))}")
    history = as_dict(tensor.get("config"), f"{where}: argument").get("keras_history")
    if not isinstance(history, list) or len(history) != 3 or not isinstance(history[0], str):
        raise ModelError(f"{where}: keras_history must be [name, 0, 0], not {show(history)}")
    return _only_output(history, where, by_name)


def _no_arguments(value: object, where: str) -> None:
    """Refuse call arguments such as initial_state; training=True would leave dropout on."""
    for key, argument in as_dict(value, f"{where}: arguments").items():
        legal = (None, False) if key == "training" else (None,)
        if not any(argument is harmless for harmless in legal):
            raise ModelError(
                f"{where}: call argument {show(key)} must be {' or '.join(map(str, legal))}, not {show(argument)}"
            )
