# SPDX-License-Identifier: Apache-2.0
"""What is fuzzed: each target makes one damaged input out of a random generator and gives it to the product.

A target returns normally or raises what came out of the product. A case is a target and a number; nothing else decides
what it does, so that a finding can be run again.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import pkgutil
import random
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml
from programs import MOST_WORK, by_reference, inputs_of, odd_graph

from fxsim import api, quantize
from fxsim.__main__ import main
from fxsim.errors import FxsimError
from fxsim.files import arrays as files
from fxsim.files.folder import read_text
from fxsim.files.npy import check_npy
from fxsim.importers import read_model
from fxsim.importers.keras import source_from_contents
from fxsim.importers.keras_files import Contents
from fxsim.importers.keras_weights import Live
from fxsim.importers.source import Bidirectional, Source, SourceLayer
from fxsim.program.fixed import Fixed, Overflow, Round, cast_float
from fxsim.program.fx_file import _content, _Members
from fxsim.program.graph import Graph
from fxsim.program.ops import Lookup
from fxsim.program.ranges import bounds
from fxsim.quantization.hls4ml_config import parse
from fxsim.quantization.hls4ml_files import read_config
from fxsim.simulator.llvm import Code, Vec
from fxsim.simulator.program_kernel import Pass, Spot
from fxsim.simulator.run import quantize_inputs, simulate

from . import mutators, seeds
from .mutators import CANARY, LARGE, ODD, archive, damaged, hdf5, json_text, mutated, npy

Target = Callable[[random.Random, Path], None]


class Wrong(AssertionError):
    """The product took an input and made something wrong of it, or refused it in a wrong way."""


def finite(source: Source) -> None:
    """Every weight is a finite number."""

    def arrays(layer: SourceLayer) -> Iterator[np.ndarray]:
        yield from layer.weights.values()
        if isinstance(layer, Bidirectional):
            for side in layer.sides.values():
                yield from arrays(side)

    for layer in source.layers:
        for array in arrays(layer):
            if not np.isfinite(array).all():
                raise Wrong(f"layer {layer.name!r} has a weight that is not finite")


def used(source: Source, rng: random.Random) -> None:
    """A float network that was read is right, and can be quantised or is refused."""
    finite(source)
    if rng.random() < 0.1:
        preset = rng.choice(["exact", "hls4ml"])
        looked(quantize(source, precision=rng.choice(["ap_fixed<6,3>", "ap_fixed<16,6>"]), preset=preset))


def looked(graph: Graph) -> None:
    """Everything that `info` asks of a graph."""
    graph.digest, graph.output_shape, graph.output, graph.parameters, graph.work  # noqa: B018
    for program in graph.programs.values():
        bounds(program)


def keras(rng: random.Random, place: Path) -> None:
    """A .keras archive: config, metadata, weights or the archive itself."""
    data = rng.choice(seeds.keras())
    members = mutators.unzip(data)
    other = mutators.unzip(rng.choice(seeds.keras()))["model.weights.h5"]
    inner = {
        r".*\.json": lambda text, rng: json_text(mutated(json.loads(text), rng), rng),
        r".*\.h5": lambda weights, rng: hdf5(weights, rng, other),
    }
    path = place / "m.keras"
    path.write_bytes(archive(members, inner, rng))
    used(read_model(path), rng)


def h5(rng: random.Random, place: Path) -> None:
    """An .h5 file."""
    path = place / rng.choice(["m.h5", "m.hdf5", "m.keras"])
    path.write_bytes(hdf5(rng.choice(seeds.h5()), rng, rng.choice(seeds.h5())))
    used(read_model(path), rng)


def architecture(rng: random.Random, place: Path) -> None:
    """An architecture .json and its weights, of which one is damaged."""
    path, weights = place / "m.json", place / "w.h5"
    text, data = seeds.architecture(), seeds.h5()[0]
    if rng.random() < 0.7:
        text = json_text(mutated(json.loads(text), rng), rng)
    else:
        data = rng.choice([hdf5(data, rng), data, *seeds.keras()])
    path.write_bytes(text)
    weights.write_bytes(data)
    used(read_model(path, weights), rng)


def config(rng: random.Random, place: Path) -> None:
    """The config of a model in memory: no file is in the way."""
    from test_importers import RICH, RICH_WEIGHTS

    weights = RICH_WEIGHTS
    if rng.random() < 0.1:
        weights = copy.deepcopy(weights)
        array = rng.choice(rng.choice(list(weights.values())))
        array.flat[rng.randrange(array.size)] = rng.choice([np.nan, np.inf, -np.inf, 1e38, 1e-45])
    used(source_from_contents(Contents(mutated(RICH, rng), rng.choice([2, 3]), Live(weights))), rng)


def fx(rng: random.Random, place: Path) -> None:
    """A .fx file; its digest is often made right again, as one who forges a file would."""
    graph = rng.choice(seeds.graphs())
    members = mutators.unzip(seeds.fx(graph))
    path = place / "g.fx"
    if rng.random() < 0.6:
        data = mutated_graph(json.loads(members["graph.json"]), rng)
        for name in members:
            if name.endswith(".npy") and rng.random() < 0.1:
                members[name] = npy(members[name], rng)
        members["graph.json"] = json_text(data, rng)
        header = json.loads(members["version.json"])
        with contextlib.suppress(Exception):
            archived = zipfile.ZipFile(io.BytesIO(mutators.rezip(list(members.items()))))
            header["digest"] = _content(json.loads(members["graph.json"]), _Members(archived)).digest
        members["version.json"] = json.dumps(header).encode()
        path.write_bytes(mutators.rezip(list(members.items())))
    else:
        inner = {
            r".*\.json": lambda text, rng: json_text(mutated(json.loads(text), rng), rng),
            r".*\.npy": npy,
        }
        path.write_bytes(archive(members, inner, rng))
    loaded = Graph.load(path)
    looked(loaded)
    if rng.random() < 0.1 and loaded.work < 20_000:
        equal(loaded, rng)


def proportions(rng: random.Random, place: Path) -> None:
    """A .fx file of a legal network whose sizes have nothing in common; one number of some is another one."""
    graph = odd_graph(rng.getrandbits(31))
    path = place / "g.fx"
    graph.save(path)
    if rng.random() < 0.5:
        members = mutators.unzip(path.read_bytes())
        data = json.loads(members["graph.json"])
        numbers = [(c, k) for c, k in mutators.places(data) if type(c[k]) is int]
        container, key = rng.choice(numbers)
        container[key] = rng.choice([1, 2, container[key] + 1, container[key] - 1, 3 * container[key], 64, 1 << 20])
        header = json.loads(members["version.json"])
        members["graph.json"] = json.dumps(data).encode()
        with contextlib.suppress(FxsimError):
            archived = zipfile.ZipFile(io.BytesIO(mutators.rezip(list(members.items()))))
            header["digest"] = _content(data, _Members(archived)).digest
        members["version.json"] = json.dumps(header).encode()
        path.write_bytes(mutators.rezip(list(members.items())))
    loaded = Graph.load(path)
    if loaded.work < 3 * MOST_WORK:
        equal(loaded, rng)


def equal(graph: Graph, rng: random.Random) -> None:
    """Kernels in their checked mode give what the reference gives."""
    raw = inputs_of(graph, rng.choice([1, 2, 5, 20]) if graph.work < 10_000 else 1, rng.getrandbits(31))
    want = by_reference(graph, raw)
    for overflows in (True, False):
        got = simulate(graph, raw, raw=True, overflows=overflows, threads=1, checked=True).raw
        if not np.array_equal(got, want):
            raise Wrong(f"{np.count_nonzero(got != want)} of {want.size} numbers are not the reference's")


def mutated_graph(data: Any, rng: random.Random) -> Any:
    """The JSON of a graph changed so that much of it stays legal: numbers, modes and names swapped for others."""
    if rng.random() < 0.5:
        return mutated(data, rng)
    data = copy.deepcopy(data)
    found = mutators.places(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        container, key = rng.choice([(c, k) for c, k in found if not isinstance(c[k], (dict, list))])
        value = container[key]
        if type(value) is int:
            container[key] = rng.choice([value + 1, value - 1, -value, 0, 1, value * 1000, 1 << 20, 1 << 62])
        elif isinstance(value, bool):
            container[key] = not value
        elif isinstance(value, str):
            same = [c[k] for c, k in found if k == key and isinstance(c[k], str)]
            container[key] = rng.choice([*same, "", "x", *Round.__members__, *Overflow.__members__])
    return data


def hls4ml_config(rng: random.Random, place: Path) -> None:
    """An hls4ml configuration as JSON or YAML."""
    value = mutated(rng.choice(seeds.configs()), rng)
    for container, key in rng.sample(mutators.places(value), min(2, len(mutators.places(value)))):
        if isinstance(container.get(key) if isinstance(container, dict) else container[key], str):
            container[key] = precision_text(rng)
    if rng.random() < 0.5:
        path = place / "c.json"
        path.write_bytes(json_text(value, rng))
    else:
        path = place / rng.choice(["c.yml", "c.yaml"])
        path.write_bytes(yaml_text(value, rng))
    quantize(seeds.rich(), config=read_config(path))


_YAML = (
    "!!python/object/apply:os.system ['touch " + CANARY + "']",
    "!!python/object/apply:builtins.open ['" + CANARY + "', w]",
    "!!python/name:os.system",
    "!!python/object/new:type {}",
    "!!binary x",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!timestamp 2001-99-99",
    "2001-99-99",
    "2001-01-01",
    "0o17",
    "0b101",
    "1_000",
    "1:30:30",
    ".inf",
    ".nan",
    "~",
    "=",
    "<<: *a",
    "&a [*a]",
    "*nowhere",
    "!local x",
    "? [a, b]\n: c",
    "{a: {b: {c: ",
    "[" * 2000,
    "- " * 3000,
    "%YAML 9.9\n---",
    "--- a\n--- b",
    "!!int 0x",
    "!!float x",
    "!!str",
    "\t",
    "@",
    "`",
    "!!int '" + "9" * 1000 + "'",
    "!!int ''",
    "0x",
    "!!float ''",
    "!!bool maybe",
    "? {a: b}\n: c",
    "!!null x",
    "1:99999999999999999999:1",
    "&a {x: *a}",
    "!!seq {a: b}",
)


def yaml_text(value: Any, rng: random.Random) -> bytes:
    """A value as YAML, with tags, aliases and what else YAML has."""
    try:
        text = yaml.safe_dump(value, allow_unicode=rng.random() < 0.5)
    except (yaml.YAMLError, RecursionError, UnicodeError):
        text = "Model: {Precision: ap_fixed<16,6>}\n"
    kind = rng.randrange(8)
    if kind == 0:
        steps = rng.choice([3, 9, 30])
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, steps)]
        where = rng.choice(["Model", "LayerName", "Backend", "HLSConfig", "zzz", "LayerType"])
        key = rng.choice([f"{where}: *a{steps - 1}", f"{where}: {{Precision: *a{steps - 1}}}", f"*a{steps - 1}: 1"])
        text = "\n".join(lines) + f"\n{key}\n"
        if rng.random() < 0.7:  # as one value, so that no key above is in the way
            text = re.sub(r"^a\d+: ", "- ", "\n".join(lines), flags=re.M)
            text = f"{where}:\n" + "\n".join("  " + line for line in text.splitlines()) + "\n"
    elif kind <= 3:
        spots = [m.end() for m in re.finditer(r": ", text)] or [0]
        at = rng.choice(spots)
        end = text.find("\n", at)
        text = text[:at] + rng.choice(_YAML) + text[end if end >= 0 else at :]
    elif kind == 4:
        return damaged(text.encode("utf-8", "surrogatepass"), rng)
    elif kind == 5:
        text = rng.choice(_YAML)
    return text.encode(rng.choice(["utf-8", "utf-8", "utf-8", "utf-16"]), "surrogatepass")


_PIECES = (
    "ap_fixed",
    "ap_ufixed",
    "fixed",
    "ufixed",
    "ap_int",
    "ap_uint",
    "int",
    "auto",
    "float",
    "<",
    ">",
    ",",
    " ",
    "16",
    "6",
    "0",
    "-1",
    "+3",
    "1024",
    "1025",
    "64",
    "65",
    "63",
    "512",
    "513",
    "-512",
    "-513",
    "9" * 30,
    "9" * 1000,
    "1e3",
    "1_6",
    "0x10",
    "\u0661\u0666",
    "AP_RND",
    "RND_CONV",
    "AP_SAT",
    "SAT_SYM",
    "SAT_ZERO",
    "WRAP",
    "TRN_ZERO",
    "rnd",
    "ap_rnd_inf",
    "AP_AP_RND",
    "\n",
    "\t",
    "\0",
    "\u00a0",
    "²",
    ".",
    "16.0",
    "nan",
    "",
    "ap_fixed<16,6>",
    "<<",
    ">>",
    "(",
    "{}",
    "%s",
    "\ud800",
    "\u017f",
    "\u0131NT",
    "\U0001d7d9",
    "AP_WRAP_SM",
)


def precision_text(rng: random.Random) -> str:
    """Something like a precision."""
    kind = rng.randrange(4)
    if kind == 0:
        return "".join(rng.choices(_PIECES, k=rng.randrange(9)))
    width, integer = rng.choice([1, 2, 6, 16, 63, 64, 65, 1024, rng.randrange(-3, 1100)]), rng.randrange(-70, 70)
    fields = [
        str(width),
        str(integer),
        rng.choice([*Round.__members__, "x"]),
        rng.choice([*Overflow.__members__, "y"]),
        "0",
    ]
    text = rng.choice(["ap_fixed", "ap_ufixed", "fixed", "AP_FIXED"]) + f"<{','.join(fields[: rng.randrange(1, 6)])}>"
    if kind == 1:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(_PIECES) + text[at + rng.randrange(3) :]
    return text


def precision(rng: random.Random, place: Path) -> None:
    """A precision string, and what is made with it."""
    text: Any = precision_text(rng) if rng.random() < 0.97 else rng.choice(ODD + LARGE)
    kind = rng.randrange(20)
    if kind == 0:
        quantize(seeds.source(), precision=text, preset="exact")
    elif kind <= 2:
        quantize(seeds.source(), precision=text, preset="hls4ml")
    elif kind <= 4:
        parse(text, "here")
    else:
        one = Fixed.parse(text)
        if Fixed.parse(str(one)) != one:
            raise Wrong(f"{text!r} is {one}, which is another format")
        raw = cast_float(rng.choice([0.0, -1.0, 1e308, 5e-324, float("inf")]), one)
        if not (one.min <= raw <= one.max):
            raise Wrong(f"{text!r}: a cast leaves the range")


def arrays(rng: random.Random, place: Path) -> None:
    """An .npy or .npz file of inputs."""
    data = rng.choice(seeds.arrays())
    if rng.random() < 0.6:
        path = place / "x.npy"
        path.write_bytes(npy(data, rng))
        quantize_inputs(seeds.graphs()[0], files.load_array(path))
    else:
        path = place / "x.npz"
        path.write_bytes(archive({"x.npy": data, "y.npy": seeds.arrays()[2]}, {r".*\.npy": npy}, rng))
        found = files.load_arrays(path, "x")
        quantize_inputs(seeds.graphs()[0], found["x"])


def folding(rng: random.Random, place: Path) -> None:
    """A folding file."""
    from rtl.plan.folding import by_reuse, from_json, make_plan

    graph = seeds.graphs()[0]
    value = json.loads(json.dumps(by_reuse(graph, 2).to_json()))
    if rng.random() < 0.5:
        value[rng.choice(list(value)[:2])] = {"reuse": 2}
    if rng.random() < 0.5:
        value = {"digest": graph.digest, "clock_mhz": 200.0, "family": "xc7", "layers": value}
    value |= {"interleave": 1, "unroll": 1, "beat": 2}
    text = json_text(mutated(value, rng), rng)
    path = place / "f.json"
    path.write_bytes(text)
    plan = from_json(graph, read_text(path), str(path))
    if rng.random() < 0.5:
        make_plan(graph, plan)


def folder(rng: random.Random, place: Path) -> None:
    """An exported folder: manifest, graph or vectors; Verilator itself is left out."""
    files = dict(seeds.export())
    which = rng.choice(["manifest.json"] * 4 + ["vectors.npz"] * 2 + ["graph.fx"])
    if which == "manifest.json":
        facts = mutated(json.loads(files[which]), rng)
        if rng.random() < 0.2:
            facts[rng.choice(["top", "files", "family", "timing", "taps", "clock_mhz"])] = rng.choice(ODD + LARGE)
        files[which] = json_text(facts, rng)
    else:
        inner = {r".*\.npy": npy, r".*\.json": lambda text, rng: json_text(mutated(json.loads(text), rng), rng)}
        files[which] = archive(mutators.unzip(files[which]), inner, rng)
    ip = place / "ip"
    ip.mkdir(exist_ok=True)
    for name, data in files.items():
        (ip / name).write_bytes(data)
    with contextlib.chdir(place):
        if rng.random() < 0.3:
            api.synth(ip, family=rng.choice([None, "ecp5"]), route=rng.random() < 0.3)
        elif rng.random() < 0.3:
            api.check(ip, sequences=2)
        else:
            from testbenches.manifest import Manifest
            from testbenches.vectors import Vectors

            Vectors.load(ip / "vectors.npz", Manifest.load(ip))


_NUMBERS = (
    "0",
    "1",
    "-1",
    "2",
    "16",
    "40",
    "300",
    "1000000000000",
    "9" * 30,
    "9" * 1000,
    "1.5",
    "nan",
    "inf",
    "1e400",
    "",
    "x",
    "0x10",
    "1_0",
    "\u0661",
    "8:9",
    "9:8",
    "0:3",
    "8:8:8",
    "step",
    "sequence",
    " 3 ",
    "-0",
    "200",
    "1e3",
)
_TEXTS = (
    "",
    "x",
    "--",
    "-",
    "-o",
    "\n",
    "a\nb",
    "\0",
    "\udcff",
    "é",
    "a" * 1000,
    "../x",
    "/",
    ".",
    "..",
    "/dev/null",
    "/dev/zero",
    "1st",
    "module",
    "top",
    "%s%n",
    "{}",
    "--help=1",
    "@file",
    "xc7",
    "ecp5",
    "lut",
    "auto",
    "exact",
    "hls4ml",
    "icarus",
    "$(touch x)",
)
_VERBS = {
    "info": "--weights --precision --config --preset",
    "predict": "--output --raw --precision --config --preset",
    "profile": "--output --precision --preset",
    "scan": "--output --width --integer --layer --hold --precision --preset",
    "plan": "--reuse --multipliers --latency --interval --multiplier --clock-mhz --family --stages --output",
    "export": "--output --reuse --multipliers --latency --interval --folding --interleave --unroll --input-beat --top "
    "--family --clock-mhz --multiplier",
    "check": "--inputs --sequences --simulator",
    "synth": "--family --route",
    "demo": "--output",
}
_FLAGS = ("--raw", "--stages", "--route")


def arguments(rng: random.Random, place: Path) -> None:
    """A command line, as a user would mistype it."""
    inputs = {
        "tiny.fx": seeds.fx(seeds.graphs()[0]),
        "m.h5": seeds.h5()[0],
        "m.json": seeds.architecture(),
        "x.npy": seeds.arrays()[0],
        "d.npz": seeds.npz(x=np.arange(36.0).reshape(3, 4, 3) / 36, y=np.array([0, 1, 0])),
        "c.json": json.dumps(seeds.configs()[1]).encode(),
        "f.json": b'{"lstm": {"reuse": 2}}',
        "c.yml": b"Model: {Precision: 'ap_fixed<8,4>'}",
        "noise": b"noise",
    }
    for name, data in inputs.items():
        (place / name).write_bytes(data)
    names = [*inputs, "ip", "out", "no.npy"]
    verb = rng.choice([*_VERBS, "info", "plan", "plan"]) if rng.random() < 0.97 else rng.choice(_TEXTS)
    if verb == "demo" and rng.random() < 0.98:
        verb = "info"
    line = [verb] if rng.random() < 0.99 else []
    model = {"check": "ip", "synth": "ip", "demo": "out", "scan": "m.h5"}.get(verb, "tiny.fx")
    line += [model if rng.random() < 0.8 else rng.choice(names)]
    line += {
        "predict": ["x.npy", "-o", "y.npy"],
        "profile": ["x.npy", "-o", "p"],
        "scan": ["d.npz", "-o", "s", "--width", "8:9"],
        "export": ["-o", "new"],
    }.get(verb, [])
    for option in rng.choices(_VERBS.get(verb, "--x").split(), k=rng.choice([0, 1, 1, 2, 3])):
        value = rng.choice([rng.choice(_NUMBERS), rng.choice(_TEXTS), rng.choice(names), precision_text(rng)])
        line += rng.choice([[option, value], [f"{option}={value}"], [option]]) if option not in _FLAGS else [option]
    if rng.random() < 0.2:
        line.insert(rng.randrange(len(line) + 1), rng.choice(_TEXTS + _NUMBERS))
    if rng.random() < 0.1 and line:
        del line[rng.randrange(len(line))]
    # What a shell gives: no NUL, and bytes that are no UTF-8 as surrogates.
    command([word.replace("\0", "") for word in line], place)


def command(line: list[str], place: Path) -> None:
    """Run a command line in `place`; raises FxsimError with its one line, and Wrong for more or less than one."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    with contextlib.chdir(place), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(line)
        except SystemExit as error:
            status = error.code  # type: ignore[assignment]
        err.flush()
        text = err.buffer.getvalue().decode()  # type: ignore[attr-defined]
    if status == 0:
        return
    if status != 2 or not text.startswith("fxsim: ") or text.count("\n") != 1 or "internal error" in text:
        raise Wrong(f"{line!r}: status {status}, {text!r}")
    raise FxsimError(text.strip())


#: Every target with its share of a campaign.
TARGETS: dict[str, tuple[Target, int]] = {
    "keras": (keras, 18),
    "h5": (h5, 14),
    "architecture": (architecture, 6),
    "config": (config, 16),
    "fx": (fx, 14),
    "proportions": (proportions, 3),
    "hls4ml_config": (hls4ml_config, 10),
    "precision": (precision, 12),
    "arrays": (arrays, 8),
    "folding": (folding, 5),
    "folder": (folder, 5),
    "arguments": (arguments, 4),
}


def _lax(stream: Any, size: int) -> None:
    try:
        check_npy(stream, size)
    except ValueError as error:
        if "Python objects" not in str(error):
            raise


_READ = np.lib.format.read_array


def _unpickle(stream: Any, **given: Any) -> Any:
    return _READ(stream, allow_pickle=True)


_EMIT = Pass.emit


def _misplaced(self: Pass, sources: list[Spot], to: Spot, *, last: bool) -> None:
    """The backward direction's rows stand behind as many as it has itself."""
    wrong = self.program.elements * self.frame.row(to.bits)
    _EMIT(self, sources, replace(to, offset=wrong) if "backward" in self.prefix else to, last=last)


def _anywhere(code: Code, op: Lookup, index: Vec) -> Vec:
    """An index that is not brought into its table."""
    return code.resize(index, 32)


_ANYTHING = SimpleNamespace(fullmatch=lambda *given: True)

#: Faults for the fuzzer to find: a target that meets it, what the finding says, and what is replaced by what.
PLANTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "pickle": (
        "arrays",
        "code in the input was executed",
        {"fxsim.files.arrays.check_npy": _lax, "numpy.lib.format.read_array": _unpickle},
    ),
    "yaml": ("hls4ml_config", "code in the input was executed", {"yaml.SafeLoader": yaml.UnsafeLoader}),
    "header": ("arrays", "", {"fxsim.files.arrays.check_npy": print}),
    "size": ("keras", "memory", {"fxsim.importers.keras_files.MAX_JSON": 1 << 60}),
    "aliases": ("hls4ml_config", "Late", {"fxsim.quantization.hls4ml_config.show": repr}),
    "numbers": ("config", "not finite", {"numpy.argwhere": lambda array: np.zeros((0, 1), int)}),
    "objects": ("config", "Error", {"fxsim.importers.keras_graph.as_dict": lambda value, where: value}),
    "top": ("folder", "goes to Yosys", {"rtl.export.synthesis.re": _ANYTHING}),
    "message": ("precision", "lines", {"fxsim.program.fixed.show": str}),
    "rows": ("proportions", "", {"fxsim.simulator.program_kernel.Pass.emit": _misplaced}),
    "index": ("proportions", "KernelError: op", {"fxsim.simulator.elementwise._entry": _anywhere}),
}


#: A fault of the HDF5 library that the true child survives: without this check, damaged heaps hang the library.
HANGS = {"fxsim.importers.hdf5_child.check_heaps": print}


def plant(name: str) -> None:
    """Put one of the faults into this process."""
    for place, value in (HANGS if name == "hangs" else PLANTS[name][2]).items():
        module, _, attribute = place.rpartition(".")
        setattr(pkgutil.resolve_name(module), attribute, value)


def stand_ins(real: bool) -> None:
    """Put away what is too slow or dangerous: simulators, Yosys; and, unless `real`, the process that reads HDF5."""
    from amaranth.back import verilog

    import testbenches
    from fxsim.importers import hdf5 as parent
    from rtl.export import route, synthesis
    from testbenches.manifest import Manifest
    from testbenches.vectors import Vectors

    from . import worker

    def check_folder(folder: Path, vectors: Path, **given: Any) -> Any:
        Vectors.load(vectors, Manifest.load(folder))
        return testbenches.CheckReport("top", 0, 0, 0, 0, 0, None, None, ())

    testbenches.check_folder = check_folder

    def yosys(top: str, *rest: Any) -> dict[str, int]:
        # It is a word of a Yosys command, and Yosys has commands that start others.
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]*", top):
            raise Wrong(f"goes to Yosys as top: {top!r}")
        return {"LUT4": 1}

    synthesis._run = yosys
    synthesis.importlib = SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: True))
    route.find_command = lambda: "true"
    # Amaranth's Yosys is WebAssembly, which reserves more than the limit.
    seeds.export()
    verilog._convert_rtlil_text = lambda text, **given: text
    if not real:
        parent._run = worker.read_here
    os.environ.pop("FXSIM_TRACEBACK", None)
