# SPDX-License-Identifier: Apache-2.0
"""Layers of a float network: their settings, weights, and the shape of what each makes of its inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..arguments import flag, integer, real
from ..errors import FxsimError, show

Shape = tuple[int, ...]

#: How a Bidirectional puts its directions together.
MERGES = ("concat", "sum", "ave", "mul")
#: What a Merge makes of its tensors.
FUNCTIONS = ("add", "subtract", "multiply", "average", "maximum", "minimum", "concatenate")
#: The parameters of functions that have any.
_PARAMETERS = {
    "elu": ("alpha",),
    "leaky_relu": ("alpha",),
    "thresholded_relu": ("theta",),
    "hard_sigmoid": ("slope", "shift"),
}


@dataclass(frozen=True)
class Function:
    """An activation function by its name, with the parameters that it has.

    ``alpha`` is elu's and leaky_relu's (a tuple has one an element, as PReLU), ``theta`` thresholded_relu's; ``slope``
    and ``shift`` are hard_sigmoid's.
    """

    name: str
    _: KW_ONLY
    alpha: float | tuple[float, ...] | None = None
    theta: float | None = None
    slope: float | None = None
    shift: float | None = None

    @property
    def parameters(self) -> dict[str, float | tuple[float, ...]]:
        """Those that are given, by their names."""
        given = {"alpha": self.alpha, "theta": self.theta, "slope": self.slope, "shift": self.shift}
        return {key: value for key, value in given.items() if value is not None}

    def checked(self, where: str) -> Function:
        """The function with parameters that are floats; raises ``FxsimError`` unless it has its own, and no other."""
        given, needed = self.parameters, _PARAMETERS.get(self.name, ())
        for key in given:
            if key not in needed:
                raise FxsimError(f"{where}: option {key!r} is no parameter of {self.name}")
        for key in needed:
            if key not in given:
                raise FxsimError(f"{where}: option {key!r} is missing")
        found: dict[str, float] = {}
        for key, value in given.items():
            if isinstance(value, tuple) and self.name == "leaky_relu":
                return Function(self.name, alpha=tuple(real(one, f"{where}: option 'alpha'") for one in value))
            found[key] = real(value, f"{where}: option {key!r}")
        return Function(self.name, **found)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class _Layer:
    """What all layers have.

    `sources` are the names of what it reads: inputs of the network, or results of layers before it, which have the
    layers' names; layers that compute the same are equal, whatever they read. `weights` are float64 and read-only,
    exactly the stored values. `origin` is the framework's class of the layer where other tools treat it unlike others
    of its kind; `wrapper` the name of the TimeDistributed around it.
    """

    kind: ClassVar[str]

    name: str = field(kw_only=False)
    weights: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    origin: str = ""
    wrapper: str = ""
    sources: tuple[str, ...] = field(default=(), compare=False)

    @property
    def where(self) -> str:
        """How messages about this layer begin."""
        return f"layer {self.name!r}"

    def __repr__(self) -> str:
        weights = ", ".join(f"{name} {value.shape}" for name, value in self.weights.items())
        return f"SourceLayer {self.name!r}: {self.kind}{f'; {weights}' if weights else ''}"

    def __eq__(self, other: object) -> bool:
        # The generated one would compare arrays with `==`, whose truth value is an error.
        if not isinstance(other, _Layer) or type(other) is not type(self):
            return NotImplemented
        return (
            all(
                getattr(self, one.name) == getattr(other, one.name)
                for one in fields(self)
                if one.compare and one.name != "weights"
            )
            and self.weights.keys() == other.weights.keys()
            and all(np.array_equal(value, other.weights[key]) for key, value in self.weights.items())
        )

    __hash__ = None  # type: ignore[assignment]

    def _settle(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _size(self, name: str) -> int:
        return integer(getattr(self, name), f"{self.where}: option {name!r}", 1)

    def _flag(self, name: str) -> bool:
        return flag(getattr(self, name), f"{self.where}: option {name!r}")

    def _check_features(self, shape: Shape) -> None:
        kernel = self.weights.get("kernel")
        if kernel is not None and len(kernel) != shape[-1]:
            raise FxsimError(f"{self.where} takes {len(kernel)} elements a step, its input has {shape[-1]}")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class _Recurrent(_Layer):
    """Weights: kernel (features, gates x units), recurrent_kernel (units, gates x units), bias (gates x units,).

    There may be a recurrent_bias. Without ``use_bias`` biases are zeros.
    """

    units: int
    activation: Function
    return_sequences: bool
    use_bias: bool

    def __post_init__(self) -> None:
        self._settle(
            units=self._size("units"),
            activation=self.activation.checked(self.where),
            return_sequences=self._flag("return_sequences"),
            use_bias=self._flag("use_bias"),
        )

    def result(self, shape: Shape) -> Shape:
        """Shape of the result for that of the input; raises ``FxsimError`` if it does not fit."""
        if len(shape) != 2:
            raise FxsimError(f"{self.where} is recurrent and takes (steps, features), not {shape}")
        self._check_features(shape)
        return (shape[0], self.units) if self.return_sequences else (self.units,)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class _Gated(_Recurrent):
    recurrent_activation: Function

    def __post_init__(self) -> None:
        super().__post_init__()
        self._settle(recurrent_activation=self.recurrent_activation.checked(self.where))


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class LSTM(_Gated):
    """A long short-term memory; gates i f g o."""

    kind: ClassVar[str] = "lstm"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class GRU(_Gated):
    """A gated recurrent unit; gates z r h. Its recurrent_bias is always there.

    ``reset_after``: whether the reset gate multiplies the state's product with its kernel, or the state itself.
    """

    kind: ClassVar[str] = "gru"

    reset_after: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        self._settle(reset_after=self._flag("reset_after"))


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SimpleRNN(_Recurrent):
    """A state that is a function of the input and itself."""

    kind: ClassVar[str] = "simple_rnn"


Recurrent = LSTM | GRU | SimpleRNN


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Bidirectional(_Layer):
    """Two directions over a sequence, each with weights of its own, put together by ``merge_mode``, one of MERGES."""

    kind: ClassVar[str] = "bidirectional"

    merge_mode: str
    forward: Recurrent
    backward: Recurrent

    def __post_init__(self) -> None:
        for side in ("forward", "backward"):
            if not isinstance(getattr(self, side), Recurrent):
                raise FxsimError(f"{self.where}: option {side!r} must be a recurrent layer")
        if self.merge_mode not in MERGES:
            raise FxsimError(f"{self.where}: merge_mode must be one of {', '.join(MERGES)}, not {self.merge_mode!r}")
        if self.forward.return_sequences != self.backward.return_sequences:
            raise FxsimError(f"{self.where}: option 'return_sequences' must be that of its forward layer")
        forward, backward = self.forward.units, self.backward.units
        if self.merge_mode != "concat" and forward != backward:
            raise FxsimError(
                f"{self.where}: merge_mode {self.merge_mode!r} takes directions of equal units, not {forward} and "
                f"{backward}; 'concat' takes any"
            )

    @property
    def return_sequences(self) -> bool:
        """Whether it gives the result of every step, which both directions do or neither."""
        return self.forward.return_sequences

    @property
    def sides(self) -> dict[str, Recurrent]:
        """Both directions by their names."""
        return {"forward": self.forward, "backward": self.backward}

    def result(self, shape: Shape) -> Shape:
        """Shape of the result for that of the input; raises ``FxsimError`` if it does not fit."""
        forward, backward = (side.result(shape) for side in self.sides.values())
        return (*forward[:-1], forward[-1] + backward[-1]) if self.merge_mode == "concat" else forward


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Dense(_Layer):
    """A product at every step. Weights: kernel (features, units), bias (units,), zeros without ``use_bias``."""

    kind: ClassVar[str] = "dense"

    units: int
    use_bias: bool

    def __post_init__(self) -> None:
        self._settle(units=self._size("units"), use_bias=self._flag("use_bias"))

    def result(self, shape: Shape) -> Shape:
        """Shape of the result for that of the input; raises ``FxsimError`` if it does not fit."""
        self._check_features(shape)
        return (*shape[:-1], self.units)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Activation(_Layer):
    """A function of every element, or of all elements of a step (softmax, log_softmax)."""

    kind: ClassVar[str] = "activation"

    function: Function = field(kw_only=False)

    def __post_init__(self) -> None:
        self._settle(function=self.function.checked(self.where))

    def result(self, shape: Shape) -> Shape:
        """Shape of the result for that of the input."""
        return shape


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Flatten(_Layer):
    """All steps joined into one vector."""

    kind: ClassVar[str] = "flatten"

    def result(self, shape: Shape) -> Shape:
        """Shape of the result for that of the input."""
        return (math.prod(shape),)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Reshape(_Layer):
    """A vector dealt into so many steps."""

    kind: ClassVar[str] = "reshape"

    steps: int = field(kw_only=False)

    def __post_init__(self) -> None:
        self._settle(steps=self._size("steps"))

    def result(self, shape: Shape) -> Shape:
        """Shape of the result for that of the input; raises ``FxsimError`` if it does not fit."""
        whole = math.prod(shape)
        if whole % self.steps or len(shape) == 2:
            raise FxsimError(f"{self.where}: steps must divide a vector of {whole}, not {show(self.steps)}")
        return (self.steps, whole // self.steps)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Idle(_Layer):
    """What does nothing at inference, as Dropout; other tools may round there."""

    kind: ClassVar[str] = "idle"

    def result(self, shape: Shape) -> Shape:
        """Shape of the result for that of the input."""
        return shape


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Reverse(_Layer):
    """The steps of a sequence in the other order."""

    kind: ClassVar[str] = "reverse"

    def result(self, shape: Shape) -> Shape:
        """Shape of the result for that of the input; raises ``FxsimError`` if it does not fit."""
        if len(shape) != 2:
            raise FxsimError(f"{self.where} takes (steps, features), not {shape}")
        return shape


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Repeat(_Layer):
    """A vector at every one of so many steps."""

    kind: ClassVar[str] = "repeat"

    steps: int = field(kw_only=False)

    def __post_init__(self) -> None:
        self._settle(steps=self._size("steps"))

    def result(self, shape: Shape) -> Shape:
        """Shape of the result for that of the input; raises ``FxsimError`` if it does not fit."""
        if len(shape) != 1:
            raise FxsimError(f"{self.where} takes a vector, not {shape}")
        return (self.steps, *shape)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class BatchNormalization(_Layer):
    """``gamma * (x - mean) / sqrt(variance + epsilon) + beta``, for each element of a step.

    Weights: gamma, beta, mean, variance, each (features,).
    """

    kind: ClassVar[str] = "batch_normalization"

    epsilon: float

    def __post_init__(self) -> None:
        self._settle(epsilon=real(self.epsilon, f"{self.where}: option 'epsilon'", 0.0))

    @property
    def scale(self) -> NDArray[np.float64]:
        """What an element is multiplied with."""
        scale: NDArray[np.float64] = self._vector("gamma") / np.sqrt(self._vector("variance") + self.epsilon)
        return scale

    @property
    def shift(self) -> NDArray[np.float64]:
        """What is then added."""
        shift: NDArray[np.float64] = self._vector("beta") - self._vector("mean") * self.scale
        return shift

    def _vector(self, key: str) -> NDArray[np.float64]:
        """A weight of as many elements as there are means; raises ``FxsimError`` if it is missing or another."""
        mean = self.weights.get("mean")
        if mean is None:
            raise FxsimError(f"{self.where}: weight 'mean' must have shape (features,), not none")
        found = self.weights.get(key)
        if found is None or found.shape != mean.shape:
            have = "none" if found is None else found.shape
            raise FxsimError(f"{self.where}: weight {key!r} must have shape {mean.shape}, not {have}")
        return found

    def result(self, shape: Shape) -> Shape:
        """Shape of the result for that of the input; raises ``FxsimError`` if it does not fit."""
        mean = self.weights.get("mean")
        if mean is not None and len(mean) != shape[-1]:
            raise FxsimError(f"{self.where} takes {len(mean)} elements a step, its input has {shape[-1]}")
        return shape


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Merge(_Layer):
    """Several tensors as one, element by element of each step; ``concatenate`` puts their elements side by side."""

    kind: ClassVar[str] = "merge"

    function: str = field(kw_only=False)

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            raise FxsimError(f"{self.where}: function must be one of {', '.join(FUNCTIONS)}, not {self.function!r}")

    def result(self, *shapes: Shape) -> Shape:
        """Shape of the result for those of the inputs; raises ``FxsimError`` if they do not fit."""
        if len(shapes) < 2 or (self.function == "subtract" and len(shapes) != 2):
            need = "2 tensors" if self.function == "subtract" else "at least 2 tensors"
            raise FxsimError(f"{self.where} takes {need}, not {len(shapes)}")
        same = {shape[:-1] if self.function == "concatenate" else shape for shape in shapes}
        if len(same) > 1 or len({len(shape) for shape in shapes}) > 1:
            raise FxsimError(f"{self.where} takes tensors that fit each other, not of {' and '.join(map(str, shapes))}")
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes)) if self.function == "concatenate" else shapes[0]


#: Layers that leave every value as it is, and in its order.
Moving = Flatten | Reshape | Idle
SourceLayer = Recurrent | Bidirectional | Dense | Activation | Moving | Reverse | Repeat | BatchNormalization | Merge


def result(layers: Iterable[SourceLayer], shape: Shape) -> Shape:
    """Shape of the result of layers in a row, for that of the first one's input."""
    for layer in layers:
        shape = layer.result(shape)
    return shape


def reshaped(name: str, shape: Shape, target: Shape) -> list[Flatten | Reshape]:
    """The layers that leave values in their order and bring them from one shape to another; the first has the name."""
    layers: list[Flatten | Reshape] = []
    if len(target) == 1 or (len(shape) > 1 and target != shape):
        layers.append(Flatten(name))
    if len(target) == 2 and target != shape:
        layers.append(Reshape(f"{name}_steps" if layers else name, target[0]))
    return layers


def shape_of(layer: SourceLayer, *shapes: Shape) -> Shape:
    """Shape of a layer's result for those of what it reads; raises ``FxsimError`` if they do not fit."""
    if isinstance(layer, Merge):
        return layer.result(*shapes)
    if len(shapes) != 1:
        raise FxsimError(f"{layer.where} takes 1 tensor, not {len(shapes)}")
    return layer.result(shapes[0])
