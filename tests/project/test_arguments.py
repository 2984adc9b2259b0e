# SPDX-License-Identifier: Apache-2.0
"""Numbers and arrays of other libraries, through every numeric parameter of the documented interface."""

from __future__ import annotations

import importlib
import inspect
import itertools
import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import network

import fxsim
from fxsim import arguments, golden
from fxsim.demo.run import DATA, MODEL
from fxsim.errors import FxsimError
from fxsim.files.arrays import load_arrays
from fxsim.program.fixed import Fixed
from fxsim.program.graph import Graph, Node
from fxsim.program.graph import Tensor as GraphTensor
from rtl.plan.folding import Folding, by_reuse, make_plan
from rtl.plan.folds import Fold
from rtl.plan.search import by_budget
from testbenches.errors import CheckError, count, probability

COUNT = itertools.count()
ROOT = Path(__file__).resolve().parents[2]
#: What stands for an integer n, and what does not though Python would convert it.
INTEGERS: list[Callable[[int], object]] = [np.int64, np.int8, np.uint16, lambda n: np.array(n, np.int32)]
REALS: list[Callable[[float], object]] = [np.float32, np.float64, np.int64, Fraction, lambda x: np.array(x), int]
NEVER: list[object] = [True, np.True_, "3", b"3", float("nan"), np.float32("nan"), 3 + 0j, np.array([3]), [3]]
NO_INTEGERS: list[object] = [*NEVER, np.float32(2), 2.0, Fraction(2), np.array(2.0)]
NO_REALS: list[object] = [*NEVER, float("inf"), 10**400, Fraction(10**400)]


def one_line(call: Callable[[], object], error: type[ValueError] = FxsimError) -> None:
    with pytest.raises(error) as caught:
        call()
    text = str(caught.value)
    assert re.fullmatch(r".{10,400}", text), text
    assert "Traceback" not in text


class Stand:
    """What a tensor library's scalar looks like."""

    ndim = 0

    def __init__(self, value: object) -> None:
        self.value = value

    def item(self) -> object:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


class Tensor:
    """What PyTorch's tensors do where numpy cannot have them."""

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.\nUse tensor.detach().numpy() instead.")


class TestNumbers:
    def test_integers_of_any_type(self) -> None:
        for make in (int, *INTEGERS, Stand):
            assert arguments.integer(make(5), "n", 1, 16) == 5  # type: ignore[operator]
            assert type(arguments.integer(make(5), "n")) is int  # type: ignore[operator]
        for value in (*NO_INTEGERS, None, Stand(True), Stand(RuntimeError("gone")), 0, 17, np.int64(17), -1):
            one_line(lambda value=value: arguments.integer(value, "n", 1, 16))
        with pytest.raises(FxsimError, match=r"^n must be an integer from 1 to 16 cycles, not np\.int64\(17\)$"):
            arguments.integer(np.int64(17), "n", 1, 16, note=" cycles")
        for low, legal in ((1, "a positive integer"), (2, "an integer of at least 2"), (None, "an integer")):
            with pytest.raises(FxsimError, match=rf"^n must be {legal}, not 'x'$"):
                arguments.integer("x", "n", low)

    def test_reals_of_any_type(self) -> None:
        for make in (float, *REALS, Stand):
            found = arguments.real(make(200), "f", 1, 2000)  # type: ignore[operator]
            assert found == 200.0 and type(found) is float
        assert arguments.real(np.float32(0.1), "f", 0, 1) == float(np.float32(0.1))
        for value in (*NO_REALS, None, 0.5, 2001, Fraction(2000) + Fraction(1, 10**30)):
            one_line(lambda value=value: arguments.real(value, "f", 1, 2000))
        one_line(lambda: arguments.real(0, "f", 0, 2, above=True))
        with pytest.raises(FxsimError, match=r"^f must be a finite number, not nan$"):
            arguments.real(float("nan"), "f")

    def test_flags_and_shapes(self) -> None:
        assert arguments.flag(np.True_, "f") is True and arguments.flag(False, "f") is False
        for value in (1, "True", None, np.int64(1)):
            one_line(lambda value=value: arguments.flag(value, "f"))
        for shape in ((4, 3), [4, 3], np.array([4, 3]), (np.int64(4), np.uint8(3))):
            found = arguments.sizes(shape, "shape", 9)
            assert found == (4, 3) and all(type(size) is int for size in found)
        for bad in (3, None, "43", (), (4, 3, 2), (True, 3), (4, 3.0), (0, 3), (4, 10), np.array([4.0, 3.0])):
            one_line(lambda bad=bad: arguments.sizes(bad, "shape", 9))

    def test_of_the_benches(self) -> None:
        for make in (int, *INTEGERS):
            assert count(make(5), "n") == 5  # type: ignore[operator]
        for value in (*NO_INTEGERS, None, 0):
            one_line(lambda value=value: count(value, "n"), CheckError)
        assert probability(np.float32(0.5), "p") == 0.5 == probability(Fraction(1, 2), "p")
        for value in (*NO_REALS, None, 1, -0.1):
            one_line(lambda value=value: probability(value, "p"), CheckError)


#: Arrays that are none: each is refused in one line wherever numbers are taken.
def no_arrays() -> list[object]:
    gone = np.ma.masked_array(np.zeros((2, 8, 8)), mask=np.arange(128).reshape(2, 8, 8) == 5)
    ragged = [[[0.0] * 8] * 8, [[0.0] * 8] * 7]
    return [
        Tensor(),
        [Tensor()],
        gone,
        ragged,
        np.zeros((2, 8, 8)).astype(object),
        np.zeros((2, 8, 8)).astype(str),
        [[["0"] * 8] * 8],
        np.zeros((2, 8, 8), complex),
        np.zeros((2, 8, 8), "datetime64[s]"),
        None,
        "x.npy",
        {"x": np.zeros((2, 8, 8))},
    ]


@pytest.mark.parametrize("value", no_arrays(), ids=lambda value: type(value).__name__)
def test_what_is_no_array_is_refused_in_one_line(value: object) -> None:
    source, graph = fxsim.read_source(MODEL), fxsim.load(MODEL)
    data = load_arrays(DATA, "x", "y")
    for call in (
        lambda: arguments.array(value, "input"),
        lambda: fxsim.predict_float(source, value),  # type: ignore[arg-type]
        lambda: fxsim.predict(graph, value),  # type: ignore[arg-type]
        lambda: fxsim.simulate(graph, value),  # type: ignore[arg-type]
        lambda: fxsim.simulate(graph, data["x"][:2], state={"lstm.h_old": value}),  # type: ignore[dict-item]
        lambda: fxsim.profile(graph, value),  # type: ignore[arg-type]
        lambda: fxsim.scan(source, value, None, [8]),  # type: ignore[arg-type]
        lambda: fxsim.from_pytorch({"fc.weight": value}, (3,), ["fc"]),
    ):
        one_line(call)
    if value is not None:
        one_line(lambda: fxsim.scan(source, data["x"], value, [8]))  # type: ignore[arg-type]


def test_the_library_that_refuses_is_quoted() -> None:
    with pytest.raises(FxsimError, match=r"^input must be numbers, not a Tensor \(Can't call .* grad\. Use .*\)$"):
        arguments.array(Tensor(), "input")
    torch = pytest.importorskip("torch")
    for tensor in (torch.zeros(2, requires_grad=True), torch.zeros(2, dtype=torch.bfloat16)):
        one_line(lambda tensor=tensor: arguments.array(tensor, "input"))
    assert arguments.integer(torch.tensor(3), "n") == 3 and arguments.real(torch.tensor(0.5), "f") == 0.5
    one_line(lambda: arguments.integer(torch.tensor(True), "n"))
    assert np.array_equal(arguments.array(torch.ones(2), "input"), [1, 1])


def test_a_mask_that_hides_nothing_is_none() -> None:
    assert arguments.array(np.ma.masked_array([1.0, 2.0]), "input").tolist() == [1.0, 2.0]


# --- Every numeric parameter


def graph() -> Graph:
    return network("lstm", steps=2, features=2, units=2)


def folding(**given: Any) -> Folding:
    return make_plan(graph(), Folding({}, **given)).folding


def fold(**given: Any) -> Folding:
    return make_plan(graph(), Folding({"lstm": Fold(**{"beats": 1, "cycles": 1, **given})})).folding


def scanned(**given: Any) -> object:
    data = load_arrays(DATA, "x", "y")
    return fxsim.scan(fxsim.read_source(MODEL), data["x"][:8], data["y"][:8], **{"widths": [8], **given})


def checked(tmp: Path, sequences: Any = 2, seed: Any = 1) -> object:
    """The sequences of a check; the rest of it takes too long here."""
    inputs = golden.random_inputs(graph(), sequences, seed)
    one_line(lambda: fxsim.check(tmp / "none", sequences=sequences, seed=seed))  # for there is no such folder
    return inputs.tolist()


def exported(tmp: Path, **given: Any) -> object:
    manifest = fxsim.export(graph(), tmp / "ip", **given).manifest
    return json.loads(json.dumps(manifest))


BUDGETS = {"multipliers": 40, "dsp": 40, "lut": 20000, "latency": 100, "interval": 100}
#: For each: a legal value, and a call that takes it and gives what can be compared.
INTEGER: dict[str, tuple[int, Callable[[Path, Any], object]]] = {
    "Fixed.width": (9, lambda _, n: repr(Fixed(n, 3))),
    "Fixed.frac": (3, lambda _, n: repr(Fixed(9, n))),
    "Node.steps": (3, lambda _, n: repr(Node("r", "reshape", steps=n).result(GraphTensor("x", None, 12, Fixed(8, 3))))),
    "Tensor.steps": (3, lambda _, n: repr(GraphTensor("x", n, 12, Fixed(8, 3)))),
    "Tensor.elements": (3, lambda _, n: repr(GraphTensor("x", None, n, Fixed(8, 3)))),
    "from_pytorch.shape": (3, lambda _, n: fxsim.from_pytorch({"a.weight": np.ones((2, 3))}, [n], ["a"]).shape),
    "simulate.threads": (2, lambda _, n: fxsim.simulate(graph(), np.zeros((2, 2, 2)), threads=n).raw.tolist()),
    "predict.threads": (2, lambda _, n: fxsim.predict(graph(), np.zeros((2, 2, 2)), threads=n).tolist()),
    "load.table_size": (64, lambda _, n: fxsim.load(MODEL, table_size=n).digest),
    "load.steps": (8, lambda _, n: fxsim.load(MODEL, steps=n).shape),
    "read_source.steps": (8, lambda _, n: fxsim.read_source(MODEL, steps=n).shape),
    "scan.table_size": (64, lambda tmp, n: scanned(table_size=n, folder=tmp / f"scan{next(COUNT)}")),
    "quantize.table_size": (64, lambda _, n: fxsim.quantize(fxsim.read_source(MODEL), table_size=n).digest),
    "scan.widths": (8, lambda _, n: scanned(widths=[n])),
    "scan.integers": (3, lambda _, n: scanned(integers=[n])),
    **{
        f"plan.{name}": (value, lambda _, n, name=name: fxsim.plan(graph(), **{name: n}))
        for name, value in {
            "multipliers": 40,
            "dsp": 40,
            "lut": 20000,
            "latency": 100,
            "interval": 100,
            "reuse": 2,
        }.items()
    },
    "plan.interleave": (2, lambda _, n: fxsim.plan(graph(), reuse=1, interleave=n)),
    "plan.unroll": (2, lambda _, n: fxsim.plan(graph(), reuse=1, unroll=n)),
    "plan.input_beat": (2, lambda _, n: fxsim.plan(graph(), reuse=1, input_beat=n)),
    "pareto.count": (3, lambda _, n: [one.folding for one in fxsim.pareto(graph(), count=n)]),
    **{
        f"export.{name}": (value, lambda tmp, n, name=name: exported(tmp, **{name: n}))
        for name, value in {
            "multipliers": 40,
            "dsp": 40,
            "lut": 20000,
            "latency": 100,
            "interval": 100,
            "reuse": 2,
        }.items()
    },
    "export.interleave": (2, lambda tmp, n: exported(tmp, interleave=n)),
    "export.unroll": (2, lambda tmp, n: exported(tmp, unroll=n)),
    "export.input_beat": (4, lambda tmp, n: exported(tmp, input_beat=n)),
    "check.sequences": (5, lambda tmp, n: checked(tmp, sequences=n)),
    "check.seed": (5, lambda tmp, n: checked(tmp, seed=n)),
    "Folding.interleave": (2, lambda _, n: json.dumps(folding(interleave=n).to_json())),
    "Folding.unroll": (2, lambda _, n: json.dumps(folding(unroll=n).to_json())),
    "Folding.beat": (2, lambda _, n: json.dumps(folding(beat=n).to_json())),
    "Fold.beats": (2, lambda _, n: json.dumps(fold(beats=n).to_json())),
    "Fold.cycles": (3, lambda _, n: json.dumps(fold(cycles=n).to_json())),
    "Fold.input": (4, lambda _, n: json.dumps(fold(input=n).to_json())),
    "by_reuse.reuse": (2, lambda _, n: by_reuse(graph(), {"lstm": n})),
    **{
        f"by_budget.{name}": (value, lambda _, n, name=name: by_budget(graph(), **{name: n}))
        for name, value in BUDGETS.items()
    },
}
REAL: dict[str, tuple[float, Callable[[Path, Any], object]]] = {
    "plan.clock_mhz": (150, lambda _, x: fxsim.plan(graph(), multipliers=40, clock_mhz=x)),
    "pareto.clock_mhz": (150, lambda _, x: [one.folding for one in fxsim.pareto(graph(), clock_mhz=x, count=3)]),
    "export.clock_mhz": (150, lambda tmp, x: exported(tmp, clock_mhz=x)),
    "make_plan.clock_mhz": (150, lambda _, x: make_plan(graph(), Folding({}), x).clock_mhz),
    "Folding.clock_mhz": (150, lambda _, x: Folding({}, clock_mhz=x).to_file()),
    "by_reuse.clock_mhz": (150, lambda _, x: by_reuse(graph(), 4, clock_mhz=x)),
    "by_budget.clock_mhz": (150, lambda _, x: by_budget(graph(), multipliers=40, clock_mhz=x)),
}
#: Numeric parameters that are looked at elsewhere, such as those of the benches and of place and route.
ELSEWHERE = {
    "predict.stacklevel": "of the caller that a warning names: as warnings.warn takes it",
    "check_folder.sequences": "test_of_the_benches",
    "check_folder.stalls": "test_of_the_benches",
    "route_design.clock_mhz": "test_route.py",
    "route_design.seed": "test_route.py",
}
#: Fields of what is given back.
RESULTS = ("Profile", "Run", "ScanRow", "Ip", "Plan", "CheckReport", "Mismatch")


def documented() -> dict[str, str]:
    """Every parameter of docs/api.md whose annotation has an int or a float, with the annotation."""
    found = {}
    for name in re.findall(r"^::: (\S+)$", (ROOT / "docs/api.md").read_text(), re.MULTILINE):
        module, _, last = name.rpartition(".")
        thing = getattr(importlib.import_module(module), last)
        if last in RESULTS or (isinstance(thing, type) and issubclass(thing, Exception)):
            continue
        for parameter in inspect.signature(thing).parameters.values():
            if re.search(r"^(?!Callable).*\b(int|float)\b", str(parameter.annotation)):
                found[f"{last}.{parameter.name}"] = str(parameter.annotation)
    return found


#: Those that a folding knows where nothing is given.
OPTIONAL = ("export.clock_mhz", "make_plan.clock_mhz", "Folding.clock_mhz")


def test_every_numeric_parameter_is_walked() -> None:
    known = documented()
    assert len(known) > 40
    assert known.keys() <= {*INTEGER, *REAL, *ELSEWHERE}
    for name, annotation in known.items():
        if name not in ELSEWHERE:
            assert name in (REAL if "float" in annotation else INTEGER)


@pytest.mark.parametrize("name", INTEGER)
def test_integers(name: str, tmp_path: Path) -> None:
    legal, call = INTEGER[name]
    want = call(tmp_path, legal)
    assert call(tmp_path, np.int64(legal)) == want
    for value in NO_INTEGERS:
        one_line(lambda value=value: call(tmp_path, value))


@pytest.mark.parametrize("name", REAL)
def test_reals(name: str, tmp_path: Path) -> None:
    legal, call = REAL[name]
    want = call(tmp_path, legal)
    for make in (np.float32, Fraction):
        assert call(tmp_path, make(legal)) == want
    for value in (*NO_REALS, *([] if name in OPTIONAL else [None])):
        one_line(lambda value=value: call(tmp_path, value))


def test_numbers_of_a_configuration() -> None:
    source = fxsim.read_source(MODEL)
    model = {"Precision": "fixed<16,6>", "ReuseFactor": 1}
    want = fxsim.quantize(source, config={"Model": model})
    assert fxsim.quantize(source, config={"Model": {**model, "ReuseFactor": np.int64(1)}}) == want
    for value in NO_INTEGERS:
        one_line(lambda value=value: fxsim.quantize(source, config={"Model": {**model, "ReuseFactor": value}}))
