# SPDX-License-Identifier: Apache-2.0
"""The graph of a Keras model: its layers, and which layer is called on which tensors, from inputs to outputs.

A model inside a model has a graph of its own, in place of a layer. A layer may be called several times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from ..errors import ModelError, show
from .keras_options import as_dict, as_list, words

__all__ = ["MODELS", "Call", "Entry", "Model", "Ref", "read_model"]

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
#: Models inside models inside models; Keras itself gives up not far beyond.
_DEEPEST = 8


@dataclass(frozen=True)
class Entry:
    """One layer as it stands in the config; `path` names the models around it, `inner` is the graph of a model."""

    class_name: str
    name: str
    config: dict[str, Any]
    inbound: list[Any] = field(default_factory=list)
    path: tuple[str, ...] = ()
    inner: Model | None = None

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
        inner = _model(class_name, config, name, (*path, name)) if class_name in MODELS else None
        return Entry(class_name, name, config, inbound, path, inner)


@dataclass(frozen=True)
class Ref:
    """A tensor: result number `tensor` of call number `call` of a layer."""

    layer: str
    call: int = 0
    tensor: int = 0


@dataclass(frozen=True)
class Call:
    """A layer that is called on tensors; `number` counts its calls."""

    entry: Entry
    number: int
    sources: tuple[Ref, ...]


@dataclass(frozen=True)
class Model:
    """A model's layers in the order of the file, and its calls, each behind those whose results it takes.

    `inputs` are its InputLayers; a Sequential model may have none, and then takes its only tensor as ``Ref("")``.
    `obstacles` says what is wrong with the graph; its layers then stand in a row, as in the file. `built` is the shape
    of the input that stands beside a Sequential model's layers.
    """

    name: str
    entries: list[Entry]
    inputs: tuple[Entry, ...] = ()
    calls: tuple[Call, ...] = ()
    outputs: tuple[Ref, ...] = ()
    built: object = None
    obstacles: tuple[str, ...] = ()

    @property
    def layers(self) -> list[Entry]:
        """The layers without the InputLayers."""
        return [entry for entry in self.entries if entry.class_name != "InputLayer"]

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


def read_model(model: dict[str, Any]) -> Model:
    """Give the graph of a model's config. Raises ModelError for what is no model of Keras."""
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
    return _model(class_name, config, name, ())


def _model(class_name: str, config: dict[str, Any], name: str, path: tuple[str, ...]) -> Model:
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
    built = config.get("build_input_shape")
    graph: _Graph | None = None
    if not obstacles:
        try:
            graph = _sequential(entries) if class_name == "Sequential" else _functional(config, entries, where)
        except ModelError as error:
            obstacles += error.obstacles
    return Model(name, entries, *(graph or _guess(entries)), built=built, obstacles=tuple(obstacles))


_Graph = tuple[tuple[Entry, ...], tuple[Call, ...], tuple[Ref, ...]]


def _sequential(entries: list[Entry]) -> _Graph:
    """The calls of layers in a row."""
    inputs = tuple(entries[:1]) if entries[0].class_name == "InputLayer" else ()
    before, calls = Ref(inputs[0].name if inputs else ""), []
    for entry in entries[len(inputs) :]:
        if entry.class_name == "InputLayer":
            raise ModelError(f"layer {show(entry.label)} is an InputLayer behind other layers")
        calls.append(Call(entry, 0, (before,)))
        before = Ref(entry.name)
    return inputs, tuple(calls), (before,)


# --- Functional models


def _functional(config: dict[str, Any], entries: list[Entry], where: str) -> _Graph:
    """The calls of a functional model in order. Raises ModelError with all that is wrong with its graph."""
    obstacles: list[str] = []
    calls: list[Call] = []
    for entry in entries:
        here = f"layer {show(entry.label)}"
        try:
            if entry.class_name == "InputLayer" and entry.inbound:
                raise ModelError(f"{here} is an InputLayer with an input")
            own = [Call(entry, n, _sources(node, here)) for n, node in enumerate(entry.inbound)]
            if not all(call.sources for call in own):
                raise ModelError(f"{here} is called on no tensor")
            calls += own
        except ModelError as error:
            obstacles += error.obstacles
    ends: dict[str, list[Ref]] = {}
    for key in ("input_layers", "output_layers"):
        try:
            ends[key] = _ends(config, key, where)
        except ModelError as error:
            obstacles += error.obstacles
    if obstacles:
        raise ModelError(*obstacles)
    refs = _Refs({entry.name: entry for entry in entries}, calls, ends["output_layers"])
    inputs = {ref.layer: refs.input(ref.layer, where) for ref in ends["input_layers"]}
    for entry in entries:
        if entry.class_name == "InputLayer" and entry.name not in inputs:
            raise ModelError(f"layer {show(entry.label)} is an InputLayer, but no input of {where}")
        if entry.class_name != "InputLayer" and not refs.calls[entry.name]:
            raise ModelError(f"layer {show(entry.label)} is not called on anything")
    named = []
    for call in calls:
        here = f"layer {show(call.entry.label)}: its input"
        named.append(Call(call.entry, call.number, tuple(refs.settled(ref, here) for ref in call.sources)))
    outputs = tuple(refs.settled(ref, f"{where}'s output") for ref in ends["output_layers"])
    return tuple(inputs.values()), tuple(_in_order(named, where)), outputs


def _guess(entries: list[Entry]) -> _Graph:
    """The layers as if they stood in a row: what is wrong with each is found all the same."""
    before, calls = Ref(""), []
    for entry in entries:
        if entry.class_name != "InputLayer":
            calls.append(Call(entry, 0, (before,)))
            before = Ref(entry.name)
    return tuple(entry for entry in entries[:1] if entry.class_name == "InputLayer"), tuple(calls), (before,)


class _Refs:
    """Judges the tensors that a functional model names."""

    def __init__(self, layers: dict[str, Entry], calls: list[Call], outputs: list[Ref]) -> None:
        self.layers = layers
        self.calls = Counter(call.entry.name for call in calls)
        self._last: dict[str, int] = {}
        for ref in (*(ref for call in calls for ref in call.sources), *outputs):
            self._last[ref.layer] = max(ref.call, self._last.get(ref.layer, 0))

    def input(self, name: str, where: str) -> Entry:
        """An InputLayer."""
        if name not in self.layers or self.layers[name].class_name != "InputLayer":
            raise ModelError(f"{where}'s input {show(name)} is no InputLayer of the model")
        return self.layers[name]

    def settled(self, ref: Ref, what: str) -> Ref:
        """The tensor, calls counted from 0: Keras 2 counts the making of a functional model as its first one."""
        entry = self.layers.get(ref.layer)
        if entry is None:
            raise ModelError(f"{what} {show(ref.layer)} is no layer of the model")
        made = 1 if entry.class_name == "InputLayer" else self.calls[ref.layer]
        results = len(entry.inner.outputs) if entry.inner is not None else 1
        call = ref.call - (entry.inner is not None and self._last[ref.layer] == made)
        if not 0 <= call < made or ref.tensor >= results:
            tensor = show([ref.layer, ref.call, ref.tensor])
            raise ModelError(f"{what} {tensor} must be a result of that layer, which is called {made} times")
        return Ref(ref.layer, call, ref.tensor)


def _in_order(calls: list[Call], where: str) -> list[Call]:
    """The calls, each behind those that it needs, otherwise in the order of the file."""
    place = {(call.entry.name, call.number): number for number, call in enumerate(calls)}
    needs = [{place[ref.layer, ref.call] for ref in call.sources if (ref.layer, ref.call) in place} for call in calls]
    readers: dict[int, list[int]] = {}
    for number, needed in enumerate(needs):
        for one in needed:
            readers.setdefault(one, []).append(number)
    ready = [number for number, needed in enumerate(needs) if not needed]
    ordered: list[Call] = []
    while ready:
        number = heappop(ready)
        ordered.append(calls[number])
        for reader in readers.get(number, ()):
            needs[reader].discard(number)
            if not needs[reader]:
                heappush(ready, reader)
    if len(ordered) < len(calls):
        left = next(call for call, needed in zip(calls, needs, strict=True) if needed)
        raise ModelError(f"layer {show(left.entry.label)} of {where} needs its own result")
    return ordered


def _ends(config: dict[str, Any], key: str, where: str) -> list[Ref]:
    """Give the layers in input_layers or output_layers: [[name, 0, 0], ...], or [name, 0, 0] of newer Keras 3."""
    value = config.get(key)
    found = list(value.values()) if isinstance(value, dict) else as_list(value, f"{where}'s {key}")
    if len(found) == 3 and isinstance(found[0], str):
        found = [found]
    if not found:
        raise ModelError(f"{where} has no {key.replace('_', ' ')}")
    return [_ref(one, f"{where}'s {key}") for one in found]


def _ref(value: object, where: str) -> Ref:
    """Give the tensor [layer, call, tensor]."""
    if (
        not isinstance(value, list)
        or len(value) != 3
        or not isinstance(value[0], str)
        or not all(type(index) is int and index >= 0 for index in value[1:])
    ):
        raise ModelError(f"{where} must be [layer, 0, 0], not {show(value)}")
    return Ref(*value)


def _sources(node: object, where: str) -> tuple[Ref, ...]:
    """Give the tensors that a layer is called on."""
    if isinstance(node, dict):
        return _keras3_sources(node, where)
    node = as_list(node, f"{where}: inbound node")
    # Keras 2: [["name", 0, 0, {arguments}]], one list a tensor; some versions leave the outer list out.
    tensors = [node] if node and isinstance(node[0], str) else node
    found = []
    for value in tensors:
        tensor = as_list(value, f"{where}: inbound node")
        if len(tensor) not in (3, 4):
            raise ModelError(f"{where}: inbound node must be [layer, 0, 0, arguments], not {show(tensor)}")
        _no_arguments(tensor[3] if len(tensor) == 4 else {}, where)
        found.append(_ref(tensor[:3], f"{where}: inbound node"))
    return tuple(found)


def _keras3_sources(node: dict[str, Any], where: str) -> tuple[Ref, ...]:
    _check_keys(node, words("args kwargs"), f"{where}: inbound node")
    args = as_list(node.get("args"), f"{where}: arguments")
    _no_arguments(node.get("kwargs", {}), where)
    if len(args) != 1:
        raise ModelError(f"{where} must be called on one tensor or one list of them, not on {len(args)} arguments")
    found = []
    for value in args[0] if isinstance(args[0], list) else args:
        tensor = as_dict(value, f"{where}: argument")
        if tensor.get("class_name") != "__keras_tensor__":
            raise ModelError(f"{where}: its argument must be a tensor, not {show(tensor.get('class_name'))}")
        history = as_dict(tensor.get("config"), f"{where}: argument").get("keras_history")
        found.append(_ref(history, f"{where}: keras_history"))
    return tuple(found)


def _no_arguments(value: object, where: str) -> None:
    """Refuse call arguments such as initial_state; training=True would leave dropout on."""
    for key, argument in as_dict(value, f"{where}: arguments").items():
        legal = (None, False) if key == "training" else (None,)
        # A layer that is called on several tensors has as many masks.
        each = argument if key == "mask" and isinstance(argument, list) else [argument]
        if not all(any(one is harmless for harmless in legal) for one in each):
            raise ModelError(
                f"{where}: call argument {show(key)} must be {' or '.join(map(str, legal))}, not {show(argument)}"
            )
