# SPDX-License-Identifier: Apache-2.0
"""Turns a Keras model's config and weights into a `Source`; all conventions of Keras end here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ..arguments import integer
from ..errors import ModelError, show
from .keras_files import Contents
from .keras_graph import MODELS, Entry, Model, Ref, read_model
from .keras_layers import MERGES, PER_STEP, Planned, plan, wrapped
from .keras_options import LAYERS, MAX_AXIS, REASONS, Options
from .keras_weights import LayerWeights, read_all
from .source import Door, Idle, Source, SourceLayer

__all__ = ["source_from_contents"]

Shape = tuple[int, ...]


def source_from_contents(contents: Contents, steps: int | None = None) -> Source:
    """Judge every layer of the config in order, then read the weights. Raises ModelError with all that is in the way.

    `steps`: the length of a sequence, where the model leaves it open.
    """
    if steps is not None:
        steps = integer(steps, "steps", 1, MAX_AXIS)
    model = read_model(contents.config)
    walk = _Walk(contents.generation)
    doors = walk.inputs(model, steps)
    needs, results = walk.model(model, [walk.wire(door.shape) for door in doors])
    walk.finish()
    arrays = read_all(contents.weights, needs)
    leaves = [leaf for layer in needs for leaf in layer.leaves]
    weights = {id(leaf): values for leaf, values in zip(leaves, arrays, strict=True)}
    names = _Names({*(door.name for door in doors), *model.names()})
    tensors = {number: door.name for number, door in enumerate(doors)}
    layers: list[SourceLayer] = []
    for step in walk.steps:
        values = weights[id(walk.leaves[id(step.entry)])]
        given = {want.key: value for want, value in zip(step.planned.expected, values, strict=True)}
        sources = tuple(tensors[wire] for wire in step.sources)
        for layer in step.planned.build(given):
            name = names.of(step.entry, layer.name)
            layers.append(replace(layer, name=name, wrapper=step.planned.wrapper, sources=sources))
            sources = (name,)
        tensors[step.result] = sources[0]
    if all(isinstance(layer, Idle) for layer in layers):
        raise ModelError("the model has no layer that computes anything")
    outputs = [tensors[wire] for wire in results]
    for name in outputs:
        if name not in names.given or outputs.count(name) > 1:
            raise ModelError(f"the model's output {show(name)} must be a layer's result, and be given once")
    needed = set(outputs)
    for layer in reversed(layers):
        if layer.name in needed:
            needed |= {*layer.sources}
    for door in doors:
        if door.name not in needed:
            raise ModelError(f"no output of the model depends on its input {show(door.name)}")
    # Of a model inside, not every output need be used.
    return Source(model.name, tuple(doors), tuple(one for one in layers if one.name in needed), tuple(outputs))


def _declared(model: Model) -> list[tuple[str, str, object]]:
    """Of each input its name, who says its shape, and the shape with the batch in front, not yet checked.

    A Sequential model may have it in its InputLayer, its first layer, beside its layers or in a model inside.
    """
    found = []
    for entry in model.inputs:
        where = f"layer {show(entry.label)}"
        keys = [key for key in ("batch_shape", "batch_input_shape") if key in entry.config]
        if len(keys) != 1:
            raise ModelError(f"{where} (InputLayer): option 'batch_shape' must be given once")
        found.append((entry.name, where, entry.config[keys[0]]))
    return found or [_undeclared(model)]


def _undeclared(model: Model) -> tuple[str, str, object]:
    """The same of a Sequential model without an InputLayer."""
    first = model.entries[0]
    where = f"layer {show(first.label)}"
    # Keras makes the same name when it adds the missing InputLayer.
    name = f"{first.name}_input"
    shape = first.config.get("batch_input_shape", model.built)
    if shape is None and first.inner is not None and first.inner.entries:
        return name, *_declared(first.inner)[0][1:]
    if shape is None:
        raise ModelError(f"{where}: the model was saved without its input's shape; build it first")
    return name, where, shape


@dataclass
class _Names:
    """Gives each layer of the source a name of its own; `taken` are those that stand in the model."""

    taken: set[str]
    given: set[str] = field(default_factory=set)

    def of(self, entry: Entry, name: str) -> str:
        """The name, or where another layer has it, one that is made of it."""
        path = () if name == entry.label else (f"{entry.label}/{name}",)
        tries: Iterable[str] = (name, *path, *(f"{name}_{number}" for number in range(1, len(self.given) + 3)))
        if name == entry.label and name not in self.given:
            tries = (name,)
        found = next(one for one in tries if one not in self.given and (one == entry.label or one not in self.taken))
        self.given.add(found)
        return found


@dataclass(frozen=True)
class _Step:
    """A layer's call: the wires that it reads, and the one that it makes."""

    entry: Entry
    planned: Planned
    sources: tuple[int, ...]
    result: int


@dataclass
class _Walk:
    """The walk over a model's calls, those of models inside it among them.

    A tensor is a wire, a number into `shapes`; the first ones are the inputs. `steps` are the calls in order, `leaves`
    the weights of each layer by its entry, `wrapped` what a TimeDistributed has inside. `obstacles` are what is in the
    way, `unknown` the layers of each class that is not imported, with its place there. `sure`: whether the shapes that
    have come out so far are those of the model.
    """

    generation: int
    shapes: list[Shape] = field(default_factory=list)
    steps: list[_Step] = field(default_factory=list)
    leaves: dict[int, LayerWeights] = field(default_factory=dict)
    wrapped: dict[int, Entry | None] = field(default_factory=dict)
    obstacles: list[str] = field(default_factory=list)
    unknown: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    sure: bool = True

    def wire(self, shape: Shape) -> int:
        """A new tensor."""
        self.shapes.append(shape)
        return len(self.shapes) - 1

    def inputs(self, model: Model, steps: int | None) -> list[Door]:
        """The inputs, of shapes (steps, features) or (features,); `steps` is that of sequences."""
        try:
            declared = _declared(model)
        except ModelError as error:
            self.obstacles += error.obstacles
            self.sure = False
            return [Door("", (1, 1))]
        sequences = [isinstance(shape, list) and len(shape) == 3 for _, _, shape in declared]
        return [
            Door(name, self._input(where, shape, steps if sequence or not any(sequences) else None))
            for (name, where, shape), sequence in zip(declared, sequences, strict=True)
        ]

    def _input(self, where: str, batch_shape: object, steps: int | None) -> Shape:
        """The shape, out of one with the batch in front."""
        if not isinstance(batch_shape, list) or not 2 <= len(batch_shape) <= 3:
            legal = "[batch, steps, features] or [batch, features]"
            return self._no_input(f"{where}: input shape must be {legal}, not {show(batch_shape)}")
        batch, *sizes = batch_shape
        if len(sizes) == 2 and sizes[0] is None:
            if steps is None:
                text = f"{where}: the length of a sequence is left open; give it as steps= (--steps)"
                return self._no_input(text, (1, *sizes[1:]))
            sizes[0] = steps
        for size in [*sizes, 1 if batch is None else batch]:
            if type(size) is not int or not 1 <= size <= MAX_AXIS:
                legal = f"sizes from 1 to {MAX_AXIS}"
                return self._no_input(f"{where}: input shape must have {legal}, not {show(batch_shape)}")
        if steps is not None and (len(sizes) == 1 or sizes[0] != steps):
            have = f"must be {sizes[0]}, as in the model" if len(sizes) == 2 else "are for a model of sequences"
            return self._no_input(f"{where}: steps {have}, not {steps}", tuple(sizes))
        return tuple(sizes)

    def _no_input(self, text: str, shape: Shape = (1, 1)) -> Shape:
        self.obstacles.append(text)
        self.sure = False
        return shape if all(type(size) is int and size > 0 for size in shape) else (1, 1)

    def finish(self) -> None:
        """Raise ModelError if anything is in the way."""
        for class_name, (place, labels) in self.unknown.items():
            names = ", ".join(map(show, labels[:4])) + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")
            what = REASONS.get(class_name, "which fxsim does not import")
            kind = class_name[:60]
            one = len(labels) == 1
            self.obstacles[place] = (
                f"layer {names} is a {kind}, {what}" if one else f"layers {names} are {kind}, {what}"
            )
        if self.obstacles:
            raise ModelError(*self.obstacles)

    def model(
        self, model: Model, wires: list[int], inside: Options | None = None
    ) -> tuple[list[LayerWeights], list[int]]:
        """The weights of a model's layers in the order of the file, and its results, for the tensors that it takes.

        `inside` is the TimeDistributed around the model.
        """
        if model.obstacles:
            self.obstacles += [text for text in model.obstacles if text not in self.obstacles]
            self.sure = False
        known = dict(zip((Ref(entry.name) for entry in model.inputs), wires, strict=False)) or {Ref(""): wires[0]}
        weights: dict[str, LayerWeights] = {}
        for call in model.calls:
            entry = call.entry
            sources = [known.get(ref, wires[0]) for ref in call.sources]
            # One step is flat already.
            if inside is not None and entry.class_name == "Flatten":
                weights[entry.name], results = _nothing(entry), sources
            elif inside is not None and entry.class_name in LAYERS and entry.class_name not in PER_STEP:
                inside.problem(f"{show(entry.name)} in its model is a {entry.class_name}, which is not for one step")
                weights[entry.name], results = _nothing(entry), sources
            else:
                need, results = self._entry(entry, sources, inside)
                if weights.setdefault(entry.name, need) != need:
                    self.obstacles.append(f"layer {show(entry.label)} is called on tensors of different shapes")
            known |= {Ref(entry.name, call.number, number): wire for number, wire in enumerate(results)}
        needs = [weights.get(entry.name, _nothing(entry)) for entry in model.layers]
        return needs, [known.get(ref, wires[0]) for ref in model.outputs]

    def _entry(self, entry: Entry, sources: list[int], inside: Options | None) -> tuple[LayerWeights, list[int]]:
        """The weights and the results of a call."""
        weights = _nothing(entry)
        if entry.inner is not None:
            self._check_inner(entry, entry.inner, sources, each=inside is not None)
            inner, results = self.model(entry.inner, sources, inside)
            return replace(weights, inner=tuple(inner)), results
        if entry.class_name not in LAYERS:
            if entry.class_name not in self.unknown:
                self.unknown[entry.class_name] = (len(self.obstacles), [])
                self.obstacles.append("")  # its sentence follows when all of them are known
            labels = self.unknown[entry.class_name][1]
            labels += [entry.label] if entry.label not in labels else []
            self.sure = False
            return weights, sources[:1]
        options = Options(entry.class_name, entry.label, entry.config)
        shapes = [self._shape(wire, inside is not None) for wire in sources]
        if len(shapes) != 1 and entry.class_name not in MERGES:
            options.problem(f"it must be called on 1 tensor, not on {len(shapes)}", doubt=True)
            self._note(options)
            return weights, sources[:1]
        if entry.class_name == "TimeDistributed":
            return self._time_distributed(entry, options, weights, sources)
        planned = plan(options, shapes, self.generation)
        self._note(options)
        if inside is not None:
            planned = self._on_steps(planned, sources, inside.name)
        return self._step(entry, planned, replace(weights, expected=planned.expected), sources)

    def _step(
        self, entry: Entry, planned: Planned, weights: LayerWeights, sources: list[int]
    ) -> tuple[LayerWeights, list[int]]:
        """Note a call; the first one of a layer gives its weights."""
        own = self.leaves.setdefault(id(entry), weights)
        result = self.wire(planned.shape)
        self.steps.append(_Step(entry, planned, tuple(sources), result))
        return own if own == weights else weights, [result]

    def _time_distributed(
        self, entry: Entry, options: Options, weights: LayerWeights, sources: list[int]
    ) -> tuple[LayerWeights, list[int]]:
        """A layer, or a model, on every step."""
        shape = self.shapes[sources[0]]
        if len(shape) != 2:
            options.misfit(f"its input must be (steps, features), not {shape}")
        wanted = "a Dense, an activation or a model of these"
        if id(entry) not in self.wrapped:
            self.wrapped[id(entry)] = wrapped(options, "layer", (*PER_STEP, *MODELS), wanted)
        inner = self.wrapped[id(entry)]
        if inner is None:
            self._note(options)
            return weights, sources
        if inner.inner is not None:
            needs, results = self.model(inner.inner, sources, options)
            self._note(options)
            model = LayerWeights(inner.class_name, inner.name, (), inner.label, inner.trainable, tuple(needs))
            return replace(weights, wrapped=model), results
        inside = Options(inner.class_name, inner.name, inner.config, options)
        planned = self._on_steps(plan(inside, [shape[-1:]], self.generation), sources, options.name)
        self._note(options)
        expected = tuple(replace(want, group="layer") for want in planned.expected)
        return self._step(entry, planned, replace(weights, expected=expected), sources)

    def _shape(self, wire: int, each: bool) -> Shape:
        """A tensor's shape, or that of each step."""
        return self.shapes[wire][-1:] if each else self.shapes[wire]

    def _on_steps(self, planned: Planned, sources: list[int], wrapper: str) -> Planned:
        """What a TimeDistributed makes of a layer that is planned for one step."""
        return replace(planned, shape=(*self.shapes[sources[0]][:-1], *planned.shape), wrapper=wrapper)

    def _check_inner(self, entry: Entry, model: Model, sources: list[int], *, each: bool) -> None:
        """A model inside has its own inputs, of the shapes that come."""
        if (takes := len(model.inputs) or 1) != len(sources):
            self.obstacles.append(f"model {show(entry.label)} takes {takes} tensors, it is called on {len(sources)}")
            self.sure = False
            return
        for given, wire in zip(model.inputs, sources, strict=False):
            shape, have = (
                self._shape(wire, each),
                given.config.get("batch_shape", given.config.get("batch_input_shape")),
            )
            if not self.sure or not isinstance(have, list):
                continue
            if not (len(have) == len(shape) + 1 and all(h in (None, s) for h, s in zip(have[1:], shape, strict=True))):
                self.obstacles.append(
                    f"model {show(entry.label)}: its input is {show(have)}, what comes is {[None, *shape]}"
                )
                self.sure = False

    def _note(self, options: Options) -> None:
        notes = options.notes
        self.obstacles += notes.problems + (notes.misfits if self.sure else [])
        self.sure = self.sure and not notes.doubt


def _nothing(entry: Entry) -> LayerWeights:
    """A layer before it is known what weights it has."""
    return LayerWeights(entry.class_name, entry.name, (), entry.label, entry.trainable)
