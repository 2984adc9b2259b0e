# SPDX-License-Identifier: Apache-2.0
"""The cell-cost model against Yosys: random designs synthesized, coefficients fitted, errors on designs held out.

    python benchmarks/calibrate_cost.py [--measure N] [--minutes M] [--fit]

Every third design is held out: no coefficient has seen it. ``--measure`` synthesizes designs until there are N of each
family, for at most M minutes, which takes half a minute a design; their cells stay in the JSON file, each with the
numbers that the design is made of again. ``--fit`` writes the coefficients, ``rtl/cost/coefficients.py``. Then, the
errors of the model as it stands are printed, and written into the JSON file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fxsim
from fxsim.errors import FxsimError
from fxsim.importers.source import GRU, LSTM, Activation, Dense, Function, SimpleRNN, Source, SourceLayer
from fxsim.program.graph import Graph
from fxsim.quantization.presets import quantize
from rtl.cost.coefficients import COEFFICIENTS
from rtl.cost.cost import plan_parts
from rtl.plan.folding import Folding, Plan, by_reuse, computing, from_json, make_plan
from rtl.plan.folds import products
from rtl.plan.signed_digits import LOGIC, digit_counts

Floats = NDArray[np.float64]
HERE = Path(__file__).resolve().parent
BASELINE = HERE / "baselines" / "cost.json"
COEFFICIENTS_FILE = HERE.parent / "rtl" / "cost" / "coefficients.py"
#: Families that are calibrated, and which designs of each are held out.
FAMILIES = ("xc7", "xcu", "xcup", "ecp5")
#: Families that share coefficients: synthesis uses the registers and adders inside of 7-series DSP blocks alone.
GROUPS = (("xc7",), ("xcu", "xcup"), ("ecp5",))
HELD_OUT = 3
#: Clocks that are planned for, in MHz.
CLOCKS = {"xc7": (100, 200, 200, 300), "xcu": (100, 200, 300), "xcup": (100, 200, 300, 400), "ecp5": (25, 40, 60)}
#: Networks of the size of top tagging, all products at once: one that is fitted to, and one that is not.
LARGE: dict[tuple[str, int], dict[str, Any]] = {
    ("xc7", 1): {"cell": "lstm", "preset": "hls4ml", "precision": "ap_fixed<12,5>", "multiplier": "auto"},
    ("xc7", 3): {"cell": "gru", "preset": "exact", "precision": "ap_fixed<14,5>", "multiplier": "auto"},
    ("xcu", 1): {"cell": "gru", "preset": "exact", "precision": "ap_fixed<10,4>", "multiplier": "dsp"},
    ("xcup", 3): {"cell": "lstm", "preset": "exact", "precision": "ap_fixed<12,4>", "multiplier": "auto"},
    ("ecp5", 1): {"cell": "lstm", "preset": "exact", "precision": "ap_fixed<10,4>", "multiplier": "auto"},
    ("ecp5", 3): {"cell": "gru", "preset": "hls4ml", "precision": "ap_fixed<12,5>", "multiplier": "auto"},
}
#: What each part costs by its structure; the fit stays close to it where the designs say little.
STRUCTURE: dict[str, dict[str, float]] = {
    "lut": {
        "adder": 1, "tree": 1.5, "compress": 1, "compress again": 1.7, "accumulate": 1, "bias": 0.5, "post": 0.5,
        "negate": 1, "joint": 1,
        "logic": 1.5, "mux": 1, "select": 0.7, "clear": 0.8, "compare": 2, "round": 1, "sticky": 0.25, "limit": 1.2,
        "detect": 0.3, "clamp": 1,
        "rom": 1.3, "table": 0.6, "buffer": 1, "ring": 0.7, "control": 2,
    },
    "lutram": {"shift": 1, "memory": 0.7, "control": 0.1},
    "ff": {"ff": 1, "ff control": 1, "inside": 1, "rom register": 1, "table register": 1},
}  # fmt: skip
#: How much the fit is held to it, relative to the designs' errors: registers are counted, LUTs depend on what synthesis
#: makes of each part.
HOLD = {"lut": 0.03, "lutram": 0.1, "ff": 0.3}
#: Relative error from which on a design counts less than half.
FAR = 0.1
#: Multipliers of the largest design, and bits of all its additions, roughly: Yosys is to take a minute, not an hour.
MOST, MOST_BITS = 500, 15000
GATES = {"lstm": 4, "gru": 3, "simple_rnn": 1}


def source(spec: dict[str, Any]) -> Source:
    """The float network of a design: normal weights from its seed, ``layers`` numbered cells or one without number."""
    rng = np.random.default_rng(spec["seed"])
    cell, units, size = spec["cell"], spec["units"], spec["features"]
    gates = GATES[cell]

    def weights(inputs: int, outputs: int) -> np.ndarray:
        return rng.normal(0, 1 / np.sqrt(inputs), (inputs, outputs))

    names = [f"{cell}{k}" for k in range(spec["layers"])] if "layers" in spec else [cell]
    kind = {"lstm": LSTM, "gru": GRU, "simple_rnn": SimpleRNN}[cell]
    layers: list[SourceLayer] = []
    for name in names:
        settings: dict[str, Any] = {"units": units, "return_sequences": name != names[-1], "use_bias": True}
        settings["activation"] = Function("tanh")
        found = {"kernel": weights(size, gates * units), "recurrent_kernel": weights(units, gates * units)}
        found["bias"] = rng.normal(0, 0.3, gates * units)
        if cell != "simple_rnn":
            settings["recurrent_activation"] = Function("sigmoid")
        if cell == "gru":
            settings["reset_after"] = spec["reset_after"]
            if spec["reset_after"]:
                found["recurrent_bias"] = rng.normal(0, 0.3, gates * units)
        layers.append(kind(name, weights=found, **settings))
        size = units
    for k, outputs in enumerate(spec["dense"]):
        found = {"kernel": weights(size, outputs), "bias": rng.normal(0, 0.3, outputs)}
        layers.append(Dense(f"dense{k}", units=outputs, use_bias=True, weights=found))
        layers.append(Activation(f"act{k}", Function(spec["activation"])))
        size = outputs
    return Source.row("cost", "x", (spec["steps"], spec["features"]), tuple(layers))


def network(spec: dict[str, Any]) -> Graph:
    """The network of a design."""
    size = spec.get("table_size", 1024)
    return quantize(source(spec), precision=spec["precision"], preset=spec["preset"], table_size=size)


def plan(spec: dict[str, Any]) -> Plan:
    """A design as it was measured."""
    graph = network(spec)
    folding = from_json(graph, json.dumps(spec["folding"]))
    return make_plan(graph, folding, spec["clock_mhz"], spec["family"])


@dataclass(frozen=True)
class Lot:
    """A set of random designs, each again what it was: ``number``, and what the designs of it are like.

    ``clocks``: what is planned for, in MHz, by family; ``units``: the most of a layer; ``multipliers``, ``bits``: of
    the largest design, the second those of all additions, roughly; ``large``: networks of given designs.
    """

    number: int
    clocks: Mapping[str, Sequence[int]]
    units: int = 32
    multipliers: int = MOST
    bits: int = MOST_BITS
    large: Mapping[tuple[str, int], Mapping[str, Any]] = field(default_factory=dict)


#: The designs that coefficients are fitted to and held against.
COST = Lot(2, CLOCKS, large=LARGE)


def draw(family: str, number: int, lot: Lot = COST) -> dict[str, Any]:
    """The numbers of a design; what cannot be built, or is too large, is drawn again."""
    rng = np.random.default_rng([FAMILIES.index(family), number, lot.number])
    while True:
        spec = _spec(rng) | {"family": family, "number": number, "clock_mhz": float(rng.choice(lot.clocks[family]))}
        multiplier = str(rng.choice(["auto", "auto", "dsp", "lut"]))
        large = lot.large.get((family, number))
        if large is not None:
            spec |= {"units": 20, "features": 6, "steps": 20, "dense": [], "layers": 1, **large}
            multiplier = spec.pop("multiplier")
        if spec["units"] > lot.units:
            continue
        try:
            graph = network(spec)
            folding = by_reuse(graph, 1, multiplier) if large else _folding(rng, graph, spec, multiplier)
            made = make_plan(graph, folding, spec["clock_mhz"], family)
        except FxsimError:
            continue
        if large or (made.multipliers <= lot.multipliers and _bits(made) <= lot.bits):
            return spec | {"folding": folding.to_json()}


def _spec(rng: np.random.Generator) -> dict[str, Any]:
    width = int(rng.integers(6, 25))
    return {
        "seed": int(rng.integers(1 << 30)),
        "cell": str(rng.choice(["lstm", "lstm", "gru", "gru", "simple_rnn"])),
        "layers": int(rng.choice([1, 1, 1, 1, 2])),
        "reset_after": bool(rng.random() < 0.6),
        "units": int(4 * 2 ** rng.uniform(0, 3)),
        "features": int(rng.integers(1, 13)),
        "steps": int(rng.integers(2, 13)),
        "dense": [int(n) for n in rng.integers(2, 17, int(rng.integers(0, 3)))],
        "activation": str(rng.choice(["relu", "relu", "sigmoid", "softmax"])),
        "precision": f"ap_fixed<{width},{int(rng.integers(2, max(3, width // 2)))}>",
        "preset": str(rng.choice(["exact", "hls4ml"])),
        "table_size": None if rng.random() < 0.6 else int(rng.choice([512, 1024, 2048])),
    }


def _folding(rng: np.random.Generator, graph: Graph, spec: dict[str, Any], multiplier: str) -> Folding:
    folds = {}
    parallel = rng.random() < 0.25
    for layer in computing(graph):
        reuse = 1 if parallel else int(2 ** rng.uniform(0, np.log2(products(layer.program))))
        folds[layer.name] = by_reuse(graph, {layer.name: reuse}, multiplier).folds[layer.name]
    folding = replace(by_reuse(graph, {}, multiplier), folds=folds)
    if rng.random() < 0.2:
        folding = replace(folding, interleave=int(rng.integers(2, 7)))
    elif rng.random() < 0.07:
        folding = replace(by_reuse(graph, {}, multiplier), unroll=spec["steps"])
    if rng.random() < 0.15:
        folding = replace(folding, beat=int(rng.choice([1, spec["features"] * spec["steps"]])))
    return folding


def _bits(made: Plan) -> int:
    """Bits of the additions of a plan's engines, roughly: no more than how long Yosys will take."""
    total = 0
    for schedule in made.schedules:
        for op in schedule.program.dots if schedule is not None else ():
            assert schedule is not None
            engine = schedule.engines[op.name]
            width = sum(schedule.widths(op))
            terms = engine.rows // engine.passes * engine.width
            digits = digit_counts(op.weights.data)
            if engine.constant:
                total += width * int(digits.sum(where=digits <= engine.digits))
            if schedule.fold.multiplier == LOGIC:
                total += engine.multipliers * width * width // 2
            total += width * terms
    return total


def measure(spec: dict[str, Any]) -> dict[str, Any]:
    """A design and its cells."""
    made = plan(spec)
    with tempfile.TemporaryDirectory() as folder:
        fxsim.export(made.graph, Path(folder) / "ip", folding=made.folding, clock_mhz=spec["clock_mhz"],
                     family=spec["family"], top="dut")  # fmt: skip
        began = time.perf_counter()
        found = fxsim.synth(Path(folder) / "ip")
    cells = {kind: found[kind] for kind in ("lut", "lutram", "ff", "dsp", "bram")}
    return spec | {"cells": cells, "seconds": round(time.perf_counter() - began, 1)}


def fit(designs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Coefficients, none below zero, with the least squared relative errors; a design that is far off counts less."""
    parts = [plan_parts(plan(one)) for one in designs]
    found = {}
    for cell, structure in STRUCTURE.items():
        if designs[0]["family"] == "xc7":
            # Registers inside of DSP blocks are no flip-flops.
            structure = {kind: value for kind, value in structure.items() if kind != "inside"}
        measured = np.array([one["cells"][cell] for one in designs], float)
        # Small counts are no more exact than a hundred cells.
        weight = 1 / np.maximum([one["cells"]["lut" if cell == "lutram" else cell] for one in designs], 100)
        rows = np.array([[each[kind] for kind in structure] for each in parts], float) * weight[:, None]
        start = np.array(list(structure.values()))
        hold = np.diag(HOLD[cell] * np.sqrt(len(designs)) / start)
        wanted, trust, best = measured * weight, np.ones(len(designs)), start
        for _ in range(8):
            squares = np.vstack([rows * trust[:, None], hold]), np.concatenate([wanted * trust, hold @ start])
            best = np.array(_least_squares(*squares))
            trust = 1 / np.sqrt(1 + ((rows @ best - wanted) / FAR) ** 2)
        found[cell] = dict(zip(structure, best.tolist(), strict=True))
    return found


def _least_squares(rows: Floats, wanted: Floats) -> list[float]:
    """The solution without negative numbers, one coordinate after the other."""
    square, right = rows.T @ rows, rows.T @ wanted
    found = np.zeros(len(right))
    for _ in range(5000):
        for k in range(len(found)):
            found[k] = max(0.0, found[k] - (square[k] @ found - right[k]) / square[k, k])
    return [round(float(value), 2) for value in found]


def write_coefficients(fitted: Mapping[tuple[str, ...], Mapping[str, Mapping[str, float]]]) -> None:
    """Write the module that holds them."""
    lines = [
        "# SPDX-License-Identifier: Apache-2.0",
        '"""Cells of each kind of part, by family; written by ``benchmarks/calibrate_cost.py --fit``."""',
    ]
    for group, cells in fitted.items():
        lines += ["", f"_{group[0].upper()}: dict[str, dict[str, float]] = {{"]
        for cell, each in cells.items():
            lines += [f'    "{cell}": {{', *(f'        "{kind}": {value},' for kind, value in each.items()), "    },"]
        lines.append("}")
    lines += ["", "COEFFICIENTS = {"]
    lines += [f'    "{family}": _{group[0].upper()},' for group in fitted for family in group]
    COEFFICIENTS_FILE.write_text("\n".join([*lines, "}"]) + "\n")


def errors(designs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Median and worst relative error of each kind of cell, in per cent; of LUTs as memory relative to all LUTs."""
    found: dict[str, list[float]] = {cell: [] for cell in ("lut", "lutram", "ff", "dsp", "bram")}
    for one in designs:
        estimate, measured = plan(one).cost.to_json(), one["cells"]
        for cell, values in found.items():
            whole = measured["lut"] + measured["lutram"] if cell == "lutram" else measured[cell]
            if whole:
                values.append(100 * abs(estimate[cell] - measured[cell]) / whole)
    return {
        cell: {"designs": len(values), "median": round(float(np.median(values)), 1), "worst": round(max(values), 1)}
        for cell, values in found.items()
        if values
    }


def held_out(one: Mapping[str, Any]) -> bool:
    """Whether no coefficient has seen a design."""
    return bool(one["number"] % HELD_OUT == 0)


def write(path: Path, results: Mapping[str, Any]) -> None:
    """A line for each design."""
    lines = ",\n  ".join(json.dumps(one) for one in results["designs"])
    found = json.dumps(results["errors"], indent=1).replace("\n", "\n ")
    path.write_text(f'{{\n "errors": {found},\n "designs": [\n  {lines}\n ]\n}}\n')


def main() -> None:
    """Measure, fit, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", metavar="N", type=int, default=0, help="designs of each family")
    parser.add_argument("--minutes", metavar="M", type=float, default=30.0, help="most minutes (default: 30)")
    parser.add_argument("--fit", action="store_true", help="print coefficients of the designs that are not held out")
    parser.add_argument("--families", nargs="*", default=FAMILIES, choices=FAMILIES, help="those to measure")
    parser.add_argument("--first", metavar="N", type=int, default=0, help="number of the first one")
    parser.add_argument("--json", type=Path, default=BASELINE)
    given = parser.parse_args()
    results = {"errors": {}, "designs": []}
    if given.json.exists():
        results |= json.loads(given.json.read_text())
    known = {(one["family"], one["number"]) for one in results["designs"]}
    ends = time.monotonic() + 60 * given.minutes
    for number in range(given.first, given.measure):
        for family in given.families:
            if (family, number) not in known and time.monotonic() < ends:
                results["designs"].append(measure(draw(family, number)))
                print(json.dumps(results["designs"][-1]), flush=True)
                write(given.json, results)
    by_group = {group: [one for one in results["designs"] if one["family"] in group] for group in GROUPS}
    if given.fit:
        fitted = {group: fit([one for one in designs if not held_out(one)]) for group, designs in by_group.items()}
        write_coefficients(fitted)
        COEFFICIENTS.update({family: found for group, found in fitted.items() for family in group})
    for group, designs in by_group.items():
        seen, unseen = ([one for one in designs if held_out(one) is which] for which in (False, True))
        results["errors"][", ".join(group)] = {"fitted": errors(seen), "held out": errors(unseen)}
    print(json.dumps(results["errors"], indent=1))
    write(given.json, results)


if __name__ == "__main__":
    main()
