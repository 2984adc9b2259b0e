# SPDX-License-Identifier: Apache-2.0
"""An hls4ml configuration read as hls4ml 1.3.0 reads it: which precision and which option each layer gets.

Every key of a configuration is read, known not to change a number, or refused by name. ``Config`` checks the whole
dictionary at once; ``Settings`` then answers for one layer. The order in which hls4ml looks up a precision:
LayerName's variable, LayerName's plain string, the same two of LayerType, Model's variable, Model's default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..arguments import integer
from ..errors import FxsimError, show
from ..program.fixed import Fixed, Round

#: Precision where a configuration has none, and format of tables: hls4ml's own defaults.
DEFAULT = "fixed<16,6>"
TABLE = "fixed<18,8>"
#: Widest format that a configuration can give; inferred ones may be wider.
MAX_BITS = 64
#: Size of tables where a configuration has none.
TABLE_SIZE = 1024
_TABLE_SIZES = (2, 1 << 20)

STRATEGIES = {"latency": "Latency", "resource": "Resource", "resource_unrolled": "Resource_unrolled"}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True)
class Keys:
    """Keys of one class of layers beside the common ones.

    ``read`` decide numbers. ``harmless`` are about building hardware, or hls4ml itself overwrites them. ``only`` have
    values that fxsim does not follow. ``precision``
    are the variables read from ``Precision``; ``unread`` are those that hls4ml writes into its configurations and
    then does not read (``table`` is read from the layer's key ``table_t`` instead).
    """

    read: frozenset[str] = frozenset()
    harmless: frozenset[str] = frozenset()
    precision: frozenset[str] = frozenset()
    unread: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()


_CELL = "weight bias recurrent_weight recurrent_bias"
_RNN = Keys(
    _words("TableSize table_t accum_t"),
    _words("RecurrentReuseFactor Static"),
    _words(f"{_CELL} accum result"),
    _words("table"),
    _words("Direction"),
)
_DENSE = Keys(_words("accum_t"), _words("ParallelizationFactor ConvImplementation"), _words("weight bias accum result"))

#: Keys by class, by the names that hls4ml gives the classes.
CLASSES: dict[str, Keys] = {
    "Input": Keys(precision=_words("result")),
    "LSTM": _RNN,
    "GRU": replace(_RNN, only=_words("Direction ApplyResetGate")),
    "SimpleRNN": _RNN,
    "Bidirectional": Keys(
        _RNN.read,
        _words(
            "ForwardReuseFactor BackwardReuseFactor ForwardRecurrentReuseFactor BackwardRecurrentReuseFactor Static"
        ),
        _words("accum result") | {f"{side}_{name}" for side in ("forward", "backward") for name in _CELL.split()},
        _words("table"),
    ),
    "Dense": _DENSE,
    "PointwiseConv1D": _DENSE,
    "Activation": Keys(_words("TableSize table_t"), frozenset(), _words("result"), _words("table param")),
    "ParametrizedActivation": Keys(_words("TableSize table_t"), frozenset(), _words("result param"), _words("table")),
    "PReLU": Keys(_words("TableSize table_t"), frozenset(), _words("result param"), _words("table")),
    "HardActivation": Keys(_words("TableSize table_t"), frozenset(), _words("result"), _words("table slope shift")),
    "Softmax": Keys(
        _words("TableSize Implementation Skip exp_table_t inv_table_t inv_inp_t accum_t"),
        frozenset(),
        _words("result accum"),
        _words("table exp_table inv_table inv_inp"),
    ),
    "Reshape": Keys(precision=_words("result")),
    "BatchNormalization": Keys(precision=_words("scale bias result")),
    "Merge": Keys(precision=_words("result")),
    "Concatenate": Keys(precision=_words("result")),
    "RepeatVector": Keys(precision=_words("result")),
    "Reverse": Keys(),
    "TimeDistributed": Keys(harmless=_words("TimeStepLoopParallelism"), precision=_words("result")),
}

#: Classes that hls4ml writes under LayerType and looks up under other names: they can only say 'auto'.
_MISNAMED = {
    "InputLayer": "Input",
    "ReLU": "Activation",
    "LeakyReLU": "ParametrizedActivation",
    "ELU": "ParametrizedActivation",
    "ThresholdedReLU": "ParametrizedActivation",
}

_COMMON_READ = _words("Precision ReuseFactor Strategy")
_COMMON_HARMLESS = _words("Trace")
_COMMON_ONLY = _words("TargetCycles Compression")
#: Keys of layers that hls4ml asks for by exactly these names. It takes all others in snake_case, too.
_EXACT = _COMMON_READ | _COMMON_ONLY | {"ConvImplementation"}
#: Keys whose other values would change numbers in ways that fxsim does not follow.
_ONLY: dict[str, tuple[Any, ...]] = {
    "TargetCycles": (None,),
    "Compression": (False, 0, None),
    "BitExact": (False, None),
    "Direction": ("forward",),
    "ApplyResetGate": ("after",),
}

_MODEL_READ = _words("Precision ReuseFactor Strategy")
_MODEL_HARMLESS = _words(
    "BramFactor Trace TraceOutput ConvImplementation PipelineStyle PipelineInterval AllowDAFallback AllowV2Fallback "
    "ChannelsLastConversion InputsChannelLast TransposeOutputs"
)
_MODEL_ONLY = _words("TargetCycles Compression BitExact")

#: Keys of a whole hls4ml project, around its HLSConfig or beside Model. Backend and IOType are read.
_PROJECT_HARMLESS = _words(
    "OutputDir ProjectName ProjectDir OriginalProjectName StitchedProjectName Part XilinxPart Board ClockPeriod "
    "ClockUncertainty Version Stamp KerasModel KerasJson KerasH5 PytorchModel OnnxModel TensorFlowModel InputData "
    "OutputPredictions InputShape InputShapes OutputShapes WriterConfig TraceOutput FIFO"
)
_PROJECT_READ = {
    "Backend": ("Vivado", "Vitis", "VivadoAccelerator", "VitisAccelerator"),
    "IOType": ("io_parallel", "io_stream"),
}
_PROJECT_ONLY = _words("Flows Optimizers SkipOptimizers")
_ACCELERATOR = "AcceleratorConfig"
_SECTIONS = ("Model", "LayerType", "LayerName")


def parse(text: Any, where: str) -> Fixed | None:
    """The format that a precision names, or None for 'auto'.

    ``ap_int`` and ``ap_uint`` truncate toward zero: what their headers do with fractions, unlike ``ap_fixed``'s.
    ``ac_fixed<W,I,S,Q,O>`` and ``ac_int<W,S>`` mean the same with the sign as an argument, as in hls4ml.
    """
    if isinstance(text, str) and text.strip().lower() == "auto":
        return None
    try:
        text = _from_ac(text)
        type = Fixed.parse(text)
    except FxsimError as error:
        raise FxsimError(f"{where}: {error}") from None
    if type.width > MAX_BITS:
        raise FxsimError(f"{where}: precision {show(text)}: the width must be from 1 to {MAX_BITS}")
    integral = re.match(r"\s*(ap_)?u?int\b", text, re.IGNORECASE)
    return replace(type, round=Round.TRN_ZERO) if integral else type


def _from_ac(text: Any) -> Any:
    """``ac_fixed`` and ``ac_int`` by their names for Vivado and Vitis; what is neither stays as it is."""
    match = re.fullmatch(r"\s*ac_(fixed|int)\s*<([^<>]*)>\s*", text) if isinstance(text, str) else None
    if match is None:
        return text
    kind, fields = match[1], match[2].split(",")
    place = 2 if kind == "fixed" else 1
    sign = fields.pop(place).strip().lower() if len(fields) > place else "true"
    if sign not in ("true", "false", "1", "0"):
        raise FxsimError(f"precision {show(text)}: the sign must be true or false, not {show(sign)}")
    fields[place:] = [field.strip().removeprefix("AC_") for field in fields[place:]]
    return f"ap_{'u' * (sign in ('false', '0'))}{kind}<{','.join(fields)}>"


@dataclass(frozen=True)
class Settings:
    """What a configuration says about one layer; ``where`` begins messages about it."""

    name: str
    kind: str
    where: str
    _values: Mapping[str, Any]
    _precision: Callable[[str], Fixed | None]
    default: Fixed
    maximum: Fixed | None
    own_reuse: bool  #: whether the layer has a ReuseFactor of its own

    def precision(self, variable: str) -> Fixed | None:
        """The format of a variable, or None where it is 'auto'."""
        key = f"{variable}_t"
        if variable == "accum" and key in self._values:
            return parse(self._values[key], f"{self.where}: {key}")
        return self._precision(variable)

    def type(self, variable: str) -> Fixed:
        """The format of a variable, the model's default where it is 'auto'."""
        return self.precision(variable) or self.default

    def table(self, key: str, default: str) -> Fixed:
        """The format of a table, which only a key of the layer itself sets."""
        where = f"{self.where}: {key}"
        type = parse(self._values.get(key, default), where)
        if type is None:
            raise FxsimError(f"{where} must be a precision, not 'auto'")
        return type

    @property
    def table_size(self) -> int:
        """Entries of each table."""
        return self._number("TableSize", TABLE_SIZE, *_TABLE_SIZES)

    @property
    def reuse_factor(self) -> int:
        """ReuseFactor as requested."""
        return self._number("ReuseFactor", 1, 1, 1 << 40)

    @property
    def strategy(self) -> str:
        """latency, resource or resource_unrolled."""
        return _strategy(self._values.get("Strategy"), self.where)

    def choice(self, key: str, default: Any, legal: tuple[Any, ...]) -> Any:
        """The value of ``key``, one of ``legal``."""
        value = self._values.get(key, default)
        if not any(type(value) is type(one) and value == one for one in legal):
            raise FxsimError(f"{self.where}: {key} must be one of {', '.join(map(str, legal))}, not {show(value)}")
        return value

    def _number(self, key: str, default: int, least: int, most: int) -> int:
        return integer(self._values.get(key, default), f"{self.where}: {key}", least, most)


class Config:
    """A checked configuration for a network whose layers have the classes ``kinds``, by name.

    ``aliases``: names that layers may have in the configuration, too, with their own.

    Accepts what ``hls4ml.utils.config_from_keras_model`` gives, alone or as the ``HLSConfig`` of a project's
    dictionary. Raises ``FxsimError`` that names the layer and the key.
    """

    def __init__(
        self, config: Mapping[str, Any], kinds: Mapping[str, str], aliases: Mapping[str, str] | None = None
    ) -> None:
        self._project = _mapping(config, "the hls4ml configuration")
        self._hls = self._project
        harmless = {*_PROJECT_READ, *_PROJECT_HARMLESS, _ACCELERATOR}
        if "HLSConfig" in self._project:
            self._hls = _mapping(self._project["HLSConfig"], "HLSConfig")
            _known(self._hls, _SECTIONS, _PROJECT_ONLY, frozenset(), "HLSConfig")
            _known(self._project, ("HLSConfig",), frozenset(), harmless, "the project")
        else:
            _known(self._hls, _SECTIONS, _PROJECT_ONLY, harmless, "the hls4ml configuration")
        for key, legal in _PROJECT_READ.items():
            if key in self._project and self._project[key] not in legal:
                raise FxsimError(f"{key} must be one of {', '.join(legal)}, not {show(self._project[key])}")
        check_accelerator(self._project.get(_ACCELERATOR))
        self._kinds, self._aliases = kinds, aliases or {}
        self._check_model()
        self._types = self._layers("LayerType")
        self._names = self._layers("LayerName")

    @property
    def stream(self) -> bool:
        """Whether the project is built with io_stream."""
        return bool(self._project.get("IOType") == "io_stream")

    def has(self, layer: str) -> bool:
        """Whether LayerName has an entry for ``layer``."""
        return layer in self._names

    def _check_model(self) -> None:
        model = _mapping({} if self._hls.get("Model") is None else self._hls["Model"], "Model")
        _known(model, _MODEL_READ, _MODEL_ONLY, _MODEL_HARMLESS, "Model")
        self._model = model
        precision = model.get("Precision", DEFAULT)
        variables = frozenset[str]().union(*(keys.precision for keys in CLASSES.values()))
        if isinstance(precision, Mapping):
            _known(precision, ("default", "maximum", *sorted(variables)), frozenset(), frozenset(), "Model: Precision")
            if "default" not in precision:
                raise FxsimError("Model: Precision must have the key 'default'")
        else:
            precision = {"default": precision}
        self._model_precision = {key: parse(text, f"Model: Precision {key}") for key, text in precision.items()}
        for key in ("default", "maximum"):
            if key in precision and self._model_precision[key] is None:
                raise FxsimError(f"Model: Precision {key} must be a precision, not 'auto'")
        default = self._model_precision["default"]
        assert default is not None
        self._default = default
        _strategy(model.get("Strategy"), "Model")

    def _layers(self, section: str) -> dict[str, tuple[Mapping[str, Any], dict[str, Fixed | None]]]:
        """Values and precisions of each entry of a section, checked."""
        found: dict[str, tuple[Mapping[str, Any], dict[str, Fixed | None]]] = {}
        for name, value in _mapping({} if self._hls.get(section) is None else self._hls[section], section).items():
            if section == "LayerName":
                name = name if name in self._kinds else self._aliases.get(name, name)
                if name not in self._kinds:
                    raise FxsimError(f"LayerName must be one of {', '.join(self._kinds)}, not {show(name)}")
                where, kind = f"layer {name!r}", self._kinds[name]
            else:
                legal = [kind for kind in (*CLASSES, *_MISNAMED) if kind != "PointwiseConv1D"]
                if name not in legal:
                    raise FxsimError(f"LayerType must be one of {', '.join(legal)}, not {show(name)}")
                where, kind = f"LayerType {name}", _MISNAMED.get(name, name)
            keys = CLASSES[kind]
            harmless = _COMMON_HARMLESS | keys.harmless
            read, only = _COMMON_READ | keys.read, _COMMON_ONLY | keys.only
            values = _spelled(_mapping(value, where), read | harmless | only, where)
            _known(values, read, only, harmless, where)
            precision = self._entries(values.get("Precision"), keys, where)
            if where.startswith("LayerType") and name in _MISNAMED:
                said = [key for key, type in precision.items() if type is not None]
                said += [key for key in keys.read & values.keys() if values[key] != TABLE_SIZE]
                if said:
                    raise FxsimError(f"{where}: {said[0]} has no effect in hls4ml, which reads LayerType {kind}")
                continue
            found[name] = (values, precision)
        return found

    def _entries(self, precision: Any, keys: Keys, where: str) -> dict[str, Fixed | None]:
        if precision is None:
            return {}
        if not isinstance(precision, Mapping):
            return {"default": parse(precision, f"{where}: Precision")}
        _known(precision, ("default", *sorted(keys.precision)), frozenset(), keys.unread, f"{where}: Precision")
        parsed = {key: parse(text, f"{where}: Precision {key}") for key, text in precision.items()}
        return {key: type for key, type in parsed.items() if key not in keys.unread}

    def layer(self, name: str) -> Settings:
        """The settings of the layer ``name``."""
        kind = self._kinds[name]
        type_values, by_type = self._types.get(kind, ({}, {}))
        name_values, by_name = self._names.get(name, ({}, {}))
        values = {key: value for key, value in self._model.items() if key in ("ReuseFactor", "Strategy")}
        for layer in (type_values, name_values):
            # None stands for a key that is not there, as in hls4ml.
            values |= {key: value for key, value in layer.items() if value is not None}

        def precision(variable: str) -> Fixed | None:
            for table, key in ((by_name, variable), (by_name, "default"), (by_type, variable), (by_type, "default"),
                               (self._model_precision, variable)):  # fmt: skip
                if key in table:
                    return table[key]
            return self._default

        where, own = f"layer {name!r}", any(layer.get("ReuseFactor") for layer in (type_values, name_values))
        return Settings(name, kind, where, values, precision, self._default, self._model_precision.get("maximum"), own)


def table_sizes(size: int) -> dict[str, dict[str, int]]:
    """The section LayerType that gives all function tables ``size`` entries; raises ``FxsimError`` for another size."""
    size = integer(size, "table_size", *_TABLE_SIZES, note=" in preset hls4ml")
    return {kind: {"TableSize": size} for kind, keys in CLASSES.items() if "TableSize" in keys.read}


def _strategy(value: Any, where: str) -> str:
    """A strategy as hls4ml spells it inside: ``ResourceUnrolled`` and ``resource_unrolled`` are one."""
    if value is None:
        return "latency"
    name = _snake_case(value) if isinstance(value, str) else ""
    if name not in STRATEGIES:
        raise FxsimError(f"{where}: Strategy must be one of {', '.join(STRATEGIES.values())}, not {show(value)}")
    return name


def _snake_case(name: str) -> str:
    """A name as hls4ml writes it inside: ``TableSize`` is ``table_size``."""
    return re.sub(r"_{2,}", "_", re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower())


def _spelled(values: Mapping[str, Any], known: frozenset[str], where: str) -> dict[str, Any]:
    """The keys of a layer by the names that they have here; of two spellings the last counts, as in hls4ml."""
    names = {_snake_case(name): name for name in known - _EXACT}
    spelled = {}
    for key, value in values.items():
        snake = _snake_case(key) if isinstance(key, str) else key
        exact = next((name for name in _EXACT if key != name and snake == _snake_case(name)), None)
        if exact:
            raise FxsimError(f"{where}: key {show(key)} has no effect in hls4ml, which reads {exact}")
        spelled[key if key in _EXACT else names.get(snake, key)] = value
    return spelled


def check_accelerator(config: Any) -> None:
    """Refuse formats of an accelerator's wrapper that round once more: numbers pass through it unless it has floats."""
    if config is None:
        return
    precision = _mapping(config, _ACCELERATOR).get("Precision") or {}
    for key, value in _mapping(precision, f"{_ACCELERATOR}: Precision").items():
        if value not in ("float", "double"):
            raise FxsimError(f"{_ACCELERATOR}: Precision {key} must be float or double, not {show(value)}")


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise FxsimError(f"{where} must be a dictionary, not {show(value)}")
    return value


def _known(
    value: Mapping[str, Any], read: Any, only: frozenset[str], harmless: frozenset[str] | set[str], where: str
) -> None:
    """Refuse keys outside the three sets, and values of ``only`` that would change a number."""
    for key, entry in value.items():
        if key in only:
            legal = _ONLY.get(key, (None,))
            if not any(type(entry) is type(one) and entry == one for one in legal):
                raise FxsimError(f"{where}: {key} must be {' or '.join(map(str, legal))}, not {show(entry)}")
        elif key not in read and key not in harmless:
            raise FxsimError(f"{where}: key {show(key)} must be one of {', '.join(sorted({*read, *only, *harmless}))}")
