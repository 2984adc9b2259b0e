# SPDX-License-Identifier: Apache-2.0
"""Random Keras networks with random hls4ml configurations, and hls4ml's compiled emulator of them.

A case is made from its seed alone, of whatever the Keras has that is installed, 2 or 3. What hls4ml 1.3.0 cannot
convert or compile, aborts on or computes wrongly is kept out by the rules below, each by its name, and by nothing else;
``docs/hls4ml.md`` has a row for each:

- *no simple cells*: SimpleRNN gives memory that was never written;
- *reset after*: a GRU with ``reset_after=False`` is computed as one with True;
- *concat*: other merge modes of Bidirectional write past their buffer;
- *functions in cells*: relu, sigmoid and tanh alone compile;
- *hard_tanh*: does not compile;
- *parallel Bidirectional*: it does not compile with ``io_stream``;
- *no bias in a Bidirectional GRU*: hls4ml's reader of Keras 3 fails on it;
- *biases in Keras 2*: its reader of Keras 2 fails on a recurrent layer without one;
- *no softmax layer of Keras 2*: its layer Softmax does not compile;
- *no activation of a Dense in a TimeDistributed*: it is lost; and Keras 3's TimeDistributed cannot be converted;
- *no options of Keras 2's ReLU*: they are lost;
- *slopes of all steps*: those of a PReLU over a sequence are the same at every step;
- *more than one weight to unroll*: Resource_unrolled fails on a product of one weight, and does not compile where the
  reuse factor nearest to the one asked for is 1 (``aborts``);
- *one format in an LSTM*, and in a Bidirectional LSTM that is not static: it compiles if its input, accumulator and
  result have one format;
- *one format in a TimeDistributed*: it compiles if its markers have the format of what they stand beside;
- *reuse factors that abort*: the kernel of one product is chosen by another's reuse factor, and that of a Dense over a
  sequence stays as asked for, legal or not (``aborts``);
- *no integers from fractions*: ``ap_int`` makes +1 of a number between -1/2 and 0, so inputs and tables have others;
- *no ternary weights*: those of ``ap_int<2>`` are multiplied as -1, 0 or 1, so that -2 counts as 1;
- *nothing behind directions of unequal units*: Keras itself counts the forward ones twice;
- *words that softmax addresses*: table sizes are powers of two, and ``inv_inp_t`` is no narrower than the address.
"""

from __future__ import annotations

import copy
import multiprocessing
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROUNDINGS = ("TRN", "TRN_ZERO", "RND", "RND_ZERO", "RND_INF", "RND_MIN_INF", "RND_CONV")
OVERFLOWS = ("WRAP", "SAT", "SAT_ZERO", "SAT_SYM")
IN_CELLS = ("relu", "sigmoid", "tanh")
FUNCTIONS = ("linear", "relu", "sigmoid", "tanh", "softplus", "softsign", "elu", "selu", "hard_sigmoid")
SAMPLES = 40
KERAS = int(version("keras").partition(".")[0])


@dataclass
class Case:
    """A Keras model, an hls4ml configuration and project for it, inputs, and what it covers."""

    model: Any
    config: dict[str, Any]
    io: str  #: io_parallel or io_stream
    backend: str  #: Vivado or Vitis
    x: np.ndarray
    covers: set[str] = field(default_factory=set)


class Dice:
    """Random choices."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def one(self, *values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def size(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def precision(self, low: int = 6, high: int = 22, *, plain: float = 0.3, unsigned: float = 0.05) -> str:
        width = self.size(low, high)
        integer = self.size(1, min(width, 8)) if self.chance(0.9) else self.size(-1, width + 1)
        name = "ap_ufixed" if self.chance(unsigned) else "ap_fixed"
        if self.chance(0.03):
            return f"ap_int<{self.size(2, 10)}>"
        if self.chance(plain):
            return f"{name}<{width},{integer}>"
        return f"{name}<{width},{integer},AP_{self.one(*ROUNDINGS)},AP_{self.one(*OVERFLOWS)}>"


def case(seed: int) -> Case:
    """The case of a seed."""
    dice = Dice(seed)
    io = "io_stream" if dice.chance(0.25) else "io_parallel"
    backend = dice.one("Vivado", "Vivado", "Vivado", "Vitis")
    covers: set[str] = {io, backend}
    model = network(dice, io, covers)
    config = configuration(dice, model, covers)
    shape = model.input_shape[1:]
    x = dice.rng.normal(0, dice.one(0.5, 1.0, 4.0), (SAMPLES, *shape))
    x[0], x[1] = 0.0, np.round(x[1])
    if dice.chance(0.3):
        x[2:4] *= 50
    return within_means(Case(model, config, io, backend, x, covers))


# --- Networks


def network(dice: Dice, io: str, covers: set[str]) -> Any:
    """A Keras model: up to three recurrent layers, activations and Dense over the sequence, a tail of Dense layers."""
    import keras

    steps, features = dice.size(2, 5), dice.size(1, 5)
    layers = [keras.Input((steps, features), name="inp")]
    count = dice.one(0, 1, 1, 1, 2, 2, 3)
    sequence, tail = count == 0 or dice.chance(0.3), True
    for index in range(count):
        keep = index + 1 < count or sequence
        layers.append(recurrent(dice, f"rnn{index}", keep, io, covers))
        if "directions of unequal units" in covers:
            # Keras counts the forward units twice for what is behind.
            sequence, tail = keep, False
            break
        if keep and dice.chance(0.25):
            layers.append(dense(dice, f"seq{index}", covers))
            covers.add("dense over a sequence")
        if dice.chance(0.2):
            layers.append(activation(dice, f"act{index}", covers))
        if dice.chance(0.1):
            layers.append(keras.layers.Dropout(0.5, name=f"drop{index}"))
        if keep and KERAS == 2 and dice.chance(0.25):
            inner = dice.one(
                keras.layers.Dense(dice.size(2, 4), name=f"inner{index}"),
                keras.layers.Activation(dice.one(*FUNCTIONS[1:], "softmax"), name=f"inner{index}"),
            )
            layers.append(keras.layers.TimeDistributed(inner, name=f"td{index}"))
            covers.add("TimeDistributed")
    flat = not sequence
    if sequence and tail and dice.chance(0.6):
        layers.append(keras.layers.Flatten(name="flat"))
        covers.add("flatten")
        flat = True
    for index in range(dice.one(0, 1, 1, 2) if tail else 0):
        # hls4ml keeps apart what a layer gives and the attribute of that name.
        name = dice.one("weight", "n_out") if index == 0 and dice.chance(0.1) else f"dense{index}"
        layers.append(dense(dice, name, covers))
        if dice.chance(0.2):
            layers.append(activation(dice, "activation" if index == 0 and dice.chance(0.3) else f"tail{index}", covers))
    if tail and dice.chance(0.25) and KERAS == 3:
        layers.append(keras.layers.Softmax(name="softmax"))
        covers.add("softmax" if flat else "softmax at every step")
    if len(layers) == 1:
        layers.append(activation(dice, "act", covers))
    model = keras.Sequential(layers, name="net")
    spread = dice.one(0.3, 0.6, 1.2)
    for layer in model.layers:
        weights = [dice.rng.normal(0, spread, w.shape).astype(np.float32) for w in layer.get_weights()]
        if type(layer).__name__ == "PReLU":
            weights = [np.broadcast_to(w.reshape(-1, w.shape[-1])[0], w.shape) for w in weights]
        layer.set_weights(weights)
    return model


def recurrent(dice: Dice, name: str, sequences: bool, io: str, covers: set[str]) -> Any:
    import keras

    kind = dice.one("LSTM", "GRU")
    both = io == "io_parallel" and dice.chance(0.3)
    covers.add(f"Bidirectional {kind}" if both else kind)
    if sequences:
        covers.add("return_sequences")
    if not both:
        return cell(dice, kind, sequences, covers, name=name)
    if dice.chance(0.5):
        return keras.layers.Bidirectional(cell(dice, kind, sequences, covers, both=True), name=name)
    forward = cell(dice, kind, sequences, covers, both=True)
    units = forward.units if dice.chance(0.7) else dice.size(1, 5)
    backward = cell(dice, dice.one("LSTM", "GRU"), sequences, covers, both=True, go_backwards=True, units=units)
    covers.add("directions of their own")
    if units != forward.units:
        covers.add("directions of unequal units")
    return keras.layers.Bidirectional(forward, backward_layer=backward, name=name)


def cell(dice: Dice, kind: str, sequences: bool, covers: set[str], both: bool = False, **options: Any) -> Any:
    import keras

    options |= {"use_bias": dice.chance(0.8) or KERAS == 2, "return_sequences": sequences}
    if dice.chance(0.3):
        options |= {"activation": dice.one(*IN_CELLS), "recurrent_activation": dice.one(*IN_CELLS)}
        covers.add("functions in cells")
    if kind == "GRU":
        options["reset_after"] = True
        if both and KERAS == 3:
            options["use_bias"] = False
    return getattr(keras.layers, kind)(**{"units": dice.size(1, 5), **options})


def dense(dice: Dice, name: str, covers: set[str]) -> Any:
    import keras

    function = dice.one(*FUNCTIONS, *("softmax",) * 3)
    covers.add(function)
    units = dice.size(2, 5)
    return keras.layers.Dense(units, activation=function, use_bias=dice.chance(0.8), name=name)


def activation(dice: Dice, name: str, covers: set[str]) -> Any:
    import keras

    kind = dice.one("ReLU", "LeakyReLU", "ELU", "PReLU", "Activation", *(("ThresholdedReLU",) if KERAS == 2 else ()))
    covers.add(kind)
    make = getattr(keras.layers, kind)
    if kind == "LeakyReLU":
        return make(**{"negative_slope" if KERAS == 3 else "alpha": dice.one(0.25, 0.3, 0.7, 1.5)}, name=name)
    if kind == "ELU":
        return make(alpha=dice.one(1.0, 0.5, 0.3), name=name)
    if kind == "ThresholdedReLU":
        return make(theta=dice.one(0.25, 0.3, 1.0), name=name)
    if kind == "Activation":
        return make(dice.one(*FUNCTIONS[1:], "softmax"), name=name)
    if kind == "ReLU" and KERAS == 3 and dice.chance(0.5):
        return make(negative_slope=dice.one(0.25, 0.3), name=name)
    return make(name=name)


# --- Configurations


def fractional(precision: str) -> str:
    """The precision as ``ap_fixed``, if it is an ``ap_int``."""
    width = precision.removeprefix("ap_int<").removesuffix(">")
    return f"ap_fixed<{width},{width}>" if precision.startswith("ap_int") else precision


def configuration(dice: Dice, model: Any, covers: set[str]) -> dict[str, Any]:
    """What ``config_from_keras_model`` gives, with keys of it changed."""
    import hls4ml

    granularity = dice.one("model", "type", "name", "name")
    covers.add(f"granularity {granularity}")
    default = dice.one("ap_fixed<16,6>", "ap_fixed<18,8>", dice.precision(10, 20, unsigned=0))
    default = fractional(default)
    options = {"max_precision": dice.precision(12, 24, plain=1, unsigned=0)} if dice.chance(0.25) else {}
    if options:
        covers.add("maximum")
    config = hls4ml.utils.config_from_keras_model(
        model, granularity=granularity, backend="Vivado", default_precision=default, **options
    )
    config = copy.deepcopy(config)
    strategy = dice.one("Latency", "Resource", "Resource", "Resource_unrolled")
    if dice.chance(0.2):
        maximum = {"maximum": options["max_precision"]} if options else {}
        few = {
            dice.one("weight", "bias", "recurrent_weight"): dice.precision(unsigned=0).replace("ap_int<2>", "ap_int<3>")
        }
        config["Model"]["Precision"] = {"default": default, **maximum, **few}
        covers.add("precision of a variable")
    config["Model"] |= {"Strategy": strategy, "ReuseFactor": dice.one(1, 1, 2, 3, 4, 6)}
    covers.add(strategy)
    for section in ("LayerType", "LayerName"):
        for name, entry in config.get(section, {}).items():
            # hls4ml reads the sections of other types under other names than it writes them.
            if section == "LayerName" or name in ("LSTM", "GRU", "Bidirectional", "Dense", "Softmax", "Activation"):
                layer(dice, entry, covers)
            if entry.get("Static") and dice.chance(0.2):
                # hls4ml takes either spelling.
                entry[dice.one("Static", "static")] = False
                covers.add("not static")
    return config


def layer(dice: Dice, entry: dict[str, Any], covers: set[str]) -> None:
    """Change some keys of one entry."""
    precision = entry.get("Precision", {})
    if "ParallelizationFactor" in entry:
        entry["ParallelizationFactor"] = dice.one(1, 1, 2, 4)
    if "ReuseFactor" in entry:
        entry["ReuseFactor"] = dice.one(1, 2, 2, 3, 4, 5, 8)
        if dice.chance(0.4):
            entry["Strategy"] = dice.one("Latency", "Resource", "Resource_unrolled")
            covers.add(entry["Strategy"])
    for variable in precision:
        if not variable.endswith(("table", "inv_inp")) and dice.chance(0.5):
            precision[variable] = dice.precision().replace("ap_int<2>", "ap_int<3>")
    if set(precision) == {"result"}:
        # Of the input, or of a Reshape, which has no arithmetic.
        precision["result"] = fractional(precision["result"])
    if "TimeStepLoopParallelism" in entry:
        return
    if "Implementation" in entry:
        entry["Implementation"] = dice.one("stable", "stable", "latency", "legacy", "argmax")
        covers.add(f"softmax {entry['Implementation']}")
        for key in ("exp_table_t", "inv_table_t", "inv_inp_t"):
            if dice.chance(0.4):
                entry[key] = fractional(dice.precision(12, 22))
        entry["TableSize"] = dice.one(256, 1024, 1024, 4096)
    elif "TableSize" in entry:
        entry[dice.one("TableSize", "TableSize", "table_size")] = dice.one(1024, 1024, 512, 777, 2048)
        if dice.chance(0.5):
            entry["table_t"] = fractional(dice.precision(8, 20))
            covers.add("table formats")


# --- What keeps hls4ml within its means


def convert(case: Case, folder: Path | str) -> Any:
    """The hls4ml model of a case, not compiled."""
    import hls4ml

    return hls4ml.converters.convert_from_keras_model(
        case.model,
        hls_config=copy.deepcopy(case.config),
        output_dir=str(folder),
        project_name="peer",
        backend=case.backend,
        io_type=case.io,
    )


def within_means(case: Case) -> Case:
    """Give each LSTM the format of its input for accumulator and result, and each softmax words it can address."""
    for name in [name for layer in case.model.layers for name in (layer.name, f"{layer.name}_end")]:
        node = convert(case, "unused").graph.get(name)
        if node is None or not one_format(node):
            continue
        want = node.get_input_variable().type.precision
        entry = case.config.setdefault("LayerName", {}).setdefault(name, {})
        if node.class_name == "TimeDistributed":
            entry["Precision"] = f"ap_{want}".replace(",0>", ">")
            continue
        plain = entry.get("Precision")
        entry["Precision"] = {"default": plain} if isinstance(plain, str) else dict(plain or {})
        entry["Precision"] |= dict.fromkeys(("accum", "result"), f"ap_{want}".replace(",0>", ">"))
    for _ in range(20):
        graph = convert(case, "unused").graph
        wrong = [node for node in graph.values() if aborts(node)]
        if not wrong:
            break
        for node in wrong:
            # A reuse factor of one is legal everywhere.
            case.config.setdefault("LayerName", {}).setdefault(node.name, {})["ReuseFactor"] = 1
    for node in graph.values():
        if (
            node.class_name == "Softmax"
            and int(node.get_attr("table_size")) > 1 << node.get_attr("inv_inp_t").precision.width
        ):
            case.config.setdefault("LayerName", {}).setdefault(node.name, {})["inv_inp_t"] = "ap_fixed<18,8,RND,SAT>"
    return case


def one_format(node: Any) -> bool:
    """Whether the emulator of a layer compiles with one format alone."""
    kinds = [node.get_attr(f"{side}_class_name") for side in ("forward", "backward")]
    return node.class_name in ("LSTM", "TimeDistributed") or ("LSTM" in kinds and not node.get_attr("static"))


def aborts(node: Any) -> bool:
    """Whether the kernels that hls4ml picks for a layer's products contradict their reuse factors."""
    strategy, at = node.get_attr("strategy"), node.get_attr
    if node.class_name == "PointwiseConv1D" and strategy == "resource":
        inputs, factor = at("n_chan"), at("reuse_factor")
        stream = node.model.config.get_config_value("IOType") == "io_stream"
        return inputs % factor != 0 and not (stream and factor % inputs == 0)
    if strategy == "resource_unrolled" and at("reuse_factor") == 1:
        return True
    if node.class_name in ("LSTM", "GRU") and strategy == "resource":
        units = at("n_out")
        return (at("reuse_factor") <= units) != (at("recurrent_reuse_factor") <= units)
    if node.class_name == "Bidirectional" and strategy == "resource":
        for side in ("forward", "backward"):
            units, chosen = at(f"{side}_n_states"), at(f"{side}_reuse_factor")
            if at("reuse_factor") != chosen or (chosen <= units) != (at(f"{side}_recurrent_reuse_factor") <= units):
                return True
    return False


def emulate(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    """What the compiled emulator gives for every layer that computes, by its name, and for the network as ``""``.

    Arrays are (samples, elements). It runs in a process of its own, which an assertion of its headers may end.
    """
    inside = False  # of a TimeDistributed, where there is one step at a time
    for node in model.get_layers():
        marker = node.class_name == "TimeDistributed"
        node.set_attr("trace", not (inside or marker or node.class_name in ("Input", "Reshape", "Repack")))
        inside ^= marker
    model.config.trace_output = True
    model.write()
    folder = Path(model.config.get_output_dir())
    script = folder / "build_lib.sh"
    # Optimising takes longer than it saves for so few samples.
    script.write_text(script.read_text().replace("-O3", "-O1"))
    model._compile()
    # A trace would write and compile it all once more.
    model.compile = lambda: None

    def work() -> None:
        outputs, traces = model.trace(np.ascontiguousarray(x))
        answers = {"": np.asarray(outputs), **traces}
        np.savez(folder / "answers.npz", **{f"of {key}": value for key, value in answers.items()})

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the emulator ended with {process.exitcode}")
    with np.load(folder / "answers.npz") as answers:
        return {key.removeprefix("of "): answers[key].reshape(len(x), -1) for key in answers}


def differences(graph: Any, x: np.ndarray, want: dict[str, np.ndarray]) -> list[str]:
    """Layers of a graph whose outputs are not those of the emulator, ``""`` for the whole network."""
    from fxsim.simulator.run import simulate

    assert want.keys() - {""} <= graph.by_name.keys()
    names = [name for name in want if name]
    # The same network once more, with the result of every layer as an output.
    every = replace(graph, outputs=(*graph.outputs, *(name for name in names if name not in graph.outputs)))
    run = simulate(every, x)
    values = run.values if isinstance(run.values, dict) else {graph.outputs[0]: run.values}
    got = {"": values[graph.outputs[0]], **{name: values[name] for name in names}}
    return [name for name, values in want.items() if not np.array_equal(got[name].reshape(values.shape), values)]
