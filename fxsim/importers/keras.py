# SPDX-License-Identifier: Apache-2.0
"""Turns a Keras model's config and weights into a `Source`; all conventions of Keras end here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ..arguments import integer
from ..errors import ModelError, show
from .keras_chain import MODELS, Chain, Entry, chain
from .keras_files import Contents
from .keras_layers import PER_STEP, Planned, plan, wrapped
from .keras_options import LAYERS, MAX_AXIS, REASONS, Options
from .keras_weights import LayerWeights, read_all
from .source import Source, SourceLayer

__all__ = ["source_from_contents"]

Shape = tuple[int, ...]


def source_from_contents(contents: Contents, steps: int | None = None) -> Source:
    """Judge every layer of the config in order, then read the weights. Raises ModelError with all that is in the way.

    `steps`: the length of a sequence, where the model leaves it open.
    """
    if steps is not None:
        steps = integer(steps, "steps", 1, MAX_AXIS)
    model = chain(contents.config)
    walk = _Walk(contents.generation)
    name, start = walk.input(model, steps)
    needs = walk.chain(model, start)
    walk.finish()
    arrays = read_all(contents.weights, needs)
    names = _Names({name, *model.names()})
    layers: list[SourceLayer] = []
    idle: list[tuple[int, str]] = []
    for (entry, planned), values in zip(walk.planned, arrays, strict=True):
        if planned.idle:
            idle.append((len(layers), names.of(entry, planned.idle)))
        weights = {want.key: value for want, value in zip(planned.expected, values, strict=True)}
        for layer in planned.build(weights):
            layers.append(replace(layer, name=names.of(entry, layer.name), wrapper=planned.wrapper))
    if not layers:
        raise ModelError("the model has no layer that computes anything")
    return Source(model.name, name, start, tuple(layers), tuple(idle))


def _declared(model: Chain) -> tuple[str, str, object]:
    """The input's name, who says its shape, and the shape with the batch in front, not yet checked.

    A Sequential model may have it in its InputLayer, its first layer, beside its layers or in a model inside.
    """
    first = model.entries[0]
    where = f"layer {show(first.label)}"
    if model.input is not None:
        keys = [key for key in ("batch_shape", "batch_input_shape") if key in first.config]
        if len(keys) != 1:
            raise ModelError(f"{where} (InputLayer): option 'batch_shape' must be given once")
        return first.name, where, first.config[keys[0]]
    # Keras makes the same name when it adds the missing InputLayer.
    name = f"{first.name}_input"
    shape = first.config.get("batch_input_shape", model.built)
    if shape is None and first.inner is not None and first.inner.entries:
        return name, *_declared(first.inner)[1:]
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
        path = f"{entry.label}/{name}"
        tries: Iterable[str] = (name, path, *(f"{name}_{number}" for number in range(1, len(self.given) + 3)))
        if name == entry.label and name not in self.given:
            tries = (name,)
        found = next(one for one in tries if one not in self.given and (one == entry.label or one not in self.taken))
        self.given.add(found)
        return found


@dataclass
class _Walk:
    """The walk over a model's layers, those of models inside it among them.

    `planned` are the layers in order; `obstacles` what is in the way, `unknown` the layers of each class that is not
    imported, with its place there. `sure`: whether the shape that has come out so far is that of the model.
    """

    generation: int
    planned: list[tuple[Entry, Planned]] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)
    unknown: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    sure: bool = True

    def input(self, model: Chain, steps: int | None) -> tuple[str, Shape]:
        """The input's name and shape, (steps, features) or (features,)."""
        try:
            name, where, declared = _declared(model)
        except ModelError as error:
            self.obstacles += error.obstacles
            self.sure = False
            return "", (1, 1)
        return name, self._input(where, declared, steps)

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

    def chain(self, model: Chain, shape: Shape) -> list[LayerWeights]:
        """The weights that a model's layers must have; `shape` is that of its input."""
        return self._layers(model, shape)[0]

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

    def _layers(self, model: Chain, shape: Shape, inside: Options | None = None) -> tuple[list[LayerWeights], Shape]:
        """The weights and the result's shape; `inside` is the TimeDistributed around the model."""
        if model.obstacles:
            self.obstacles += model.obstacles
            self.sure = False
        needs = []
        for entry in model.layers:
            # One step is flat already.
            if entry.class_name == "InputLayer" or (inside is not None and entry.class_name == "Flatten"):
                continue
            if inside is not None and entry.class_name in LAYERS and entry.class_name not in PER_STEP:
                inside.problem(f"{show(entry.name)} in its model is a {entry.class_name}, which is not for one step")
                continue
            need, shape = self._entry(entry, shape, inside)
            needs.append(need)
        return needs, shape

    def _entry(self, entry: Entry, shape: Shape, inside: Options | None) -> tuple[LayerWeights, Shape]:
        """The weights and the result's shape of one layer."""
        weights = LayerWeights(entry.class_name, entry.name, (), entry.label, entry.trainable)
        if entry.inner is not None:
            self._check_inner(entry, entry.inner, shape)
            inner, shape = self._layers(entry.inner, shape, inside)
            return replace(weights, inner=tuple(inner)), shape
        if entry.class_name not in LAYERS:
            if entry.class_name not in self.unknown:
                self.unknown[entry.class_name] = (len(self.obstacles), [])
                self.obstacles.append("")  # its sentence follows when all of them are known
            self.unknown[entry.class_name][1].append(entry.label)
            self.sure = False
            return weights, shape
        options = Options(entry.class_name, entry.label, entry.config)
        if entry.class_name == "TimeDistributed":
            return self._time_distributed(entry, options, weights, shape)
        planned = replace(plan(options, shape, self.generation), wrapper=inside.name if inside is not None else "")
        self._note(options)
        self.planned.append((entry, planned))
        return replace(weights, expected=planned.expected), planned.shape

    def _time_distributed(
        self, entry: Entry, options: Options, weights: LayerWeights, shape: Shape
    ) -> tuple[LayerWeights, Shape]:
        """A layer, or a model, on every step."""
        if len(shape) != 2:
            options.misfit(f"its input must be (steps, features), not {shape}")
        wanted = "a Dense, an activation or a model of these"
        inner = wrapped(options, "layer", (*PER_STEP, *MODELS), wanted)
        if inner is None:
            self._note(options)
            return weights, shape
        if inner.inner is not None:
            needs, result = self._layers(inner.inner, shape[-1:], options)
            self._note(options)
            model = LayerWeights(inner.class_name, inner.name, (), inner.label, inner.trainable, tuple(needs))
            return replace(weights, wrapped=model), (*shape[:-1], *result)
        inside = Options(inner.class_name, inner.name, inner.config, options)
        planned = replace(plan(inside, shape[-1:], self.generation), wrapper=options.name)
        self._note(options)
        self.planned.append((entry, planned))
        expected = tuple(replace(want, group="layer") for want in planned.expected)
        return replace(weights, expected=expected), (*shape[:-1], *planned.shape)

    def _check_inner(self, entry: Entry, model: Chain, shape: Shape) -> None:
        """A model inside has its own input, of the shape that comes."""
        given = model.input
        have = None if given is None else given.config.get("batch_shape", given.config.get("batch_input_shape"))
        if self.sure and isinstance(have, list):
            fits = len(have) == len(shape) + 1 and all(h in (None, s) for h, s in zip(have[1:], shape, strict=True))
            if not fits:
                self.obstacles.append(
                    f"model {show(entry.label)}: its input is {show(have)}, what comes is {[None, *shape]}"
                )
                self.sure = False

    def _note(self, options: Options) -> None:
        notes = options.notes
        self.obstacles += notes.problems + (notes.misfits if self.sure else [])
        self.sure = self.sure and not notes.doubt
