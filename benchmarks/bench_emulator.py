# SPDX-License-Identifier: Apache-2.0
"""Speed of the simulator, against hls4ml's compiled emulator, onnxruntime and numpy in the same run.

    pip install ".[peer,plots]"    # hls4ml, keras with torch, onnx, onnxruntime; hls4ml needs g++ as well
    python benchmarks/bench_emulator.py [--shared DIR] [--network NAME …] [--rounds N]

DIR holds ``models`` and ``golden`` (the trained networks of arXiv:2207.00559 with test inputs); without it their
weights are seeded (published.py), and the demo network stands for a model file. A contender whose packages are not
installed is left out, and the output says so. figures.py draws the picture and writes the pages.

Contenders take turns, and the best of several turns counts: in processor time for one thread, which other programs on
the machine hardly change, on the wall for several, which need a quiet machine. Each number of threads has a process of
its own, in which BLAS, OpenMP and onnxruntime have that number; hls4ml's emulator knows one thread only. It takes
sequences one by one at a steady rate, so it is timed on a sample of a batch, and its outputs for some more are compared
with those of preset hls4ml, which must be equal (``==``). A multiply-add is one of a weight with a value; the peak is
numpy's product of two square float32 matrices, with as many threads, in the same turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import emulator_report
import numpy as np
import peers
import published
from numpy.typing import NDArray

import fxsim
from fxsim.files.folder import write_whole
from fxsim.importers.source import Source
from fxsim.quantization.presets import quantize
from fxsim.simulator.run import predict, simulate
from fxsim.study.floating import predict as predict_float
from fxsim.study.scans import scan

PRECISION = "ap_fixed<16,6>"
BATCHES = (1, 8, 100, 10_000)
THREADS = (1, 2)
GEMM = 1024
#: The precisions of the scan, 100 in all.
SCAN = {"integers": (2, 3, 4, 5, 6), "widths": tuple(range(8, 28))}
#: Seconds that a turn of a contender takes at least, if necessary by several calls, and that all turns together take;
#: seconds of a turn of hls4ml's emulator, and of its sequences that are compared.
_TURN, _TURNS, _SAMPLE, _COMPARED = 0.05, 3.0, 0.3, 1.5
#: Seconds before a turn of several threads, in which those of the last turn stop to wait for work at full speed.
_PAUSE = 0.1
#: Bytes of a trace of all ops.
_TRACE_BYTES = 128 << 20

Results = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A network and 10 000 different inputs like those of its test."""

    name: str
    source: Source
    x: NDArray[np.float64]


def cases(shared: Path | None, names: Sequence[str]) -> Iterator[Case]:
    """The networks of the paper, or those named."""
    rng = np.random.default_rng(1)
    for name in published.NETWORKS:
        if names and name not in names:
            continue
        x = published.inputs(name, shared)
        x = x[rng.integers(len(x), size=max(BATCHES))]
        yield Case(name, published.source(name, shared), x + 0.01 * rng.normal(size=x.shape))


def turns(calls: Mapping[str, Callable[[], object]], rounds: int, threads: int) -> dict[str, float]:
    """Seconds of each call: the best of at least ``rounds`` in which all take turns, once all is compiled."""
    clock = time.process_time if threads == 1 else time.perf_counter
    repeats, best = {}, dict.fromkeys(calls, float("inf"))
    for name, call in calls.items():
        call()
        start = clock()
        call()
        repeats[name] = max(1, round(_TURN / (clock() - start)))
    begin, done = time.perf_counter(), 0
    while done < rounds or time.perf_counter() - begin < _TURNS:
        done += 1
        for name, call in calls.items():
            time.sleep(_PAUSE if threads > 1 else 0)
            start = clock()
            for _ in range(repeats[name]):
                call()
            best[name] = min(best[name], (clock() - start) / repeats[name])
    return best


def contenders(case: Case, threads: int, folder: str) -> dict[str, Callable[[], peers.Predict]]:
    """What builds each contender that is installed; hls4ml's has files in ``folder``."""
    found = {
        "exact": partial(simulator, case.source, "exact", threads),
        "preset": partial(simulator, case.source, "hls4ml", threads),
        "hls4ml": partial(peers.hls4ml, case.source, PRECISION, folder),
        "onnxruntime": partial(peers.onnxruntime, case.source, threads),
        "numpy": partial(peers.numpy, case.source),
    }
    return {name: build for name, build in found.items() if peers.available(name)}


def simulator(source: Source, preset: str, threads: int) -> peers.Predict:
    """The network in a preset, simulated by fxsim."""
    return partial(predict, quantize(source, precision=PRECISION, preset=preset), threads=threads)


def measure(case: Case, threads: int, rounds: int) -> Results:
    """One network with one number of threads: rates by batch, times to a first output, and whether bits are equal."""
    single: NDArray[Any] = case.x.astype(np.float32)
    inputs = {"onnxruntime": single, "numpy": single}
    want = predict_float(case.source, case.x[:100])
    calls: dict[str, peers.Predict] = {}
    result: Results = {"network": case.name, "threads": threads, "multiply_adds": peers.multiply_adds(case.source)}
    result |= {"first": {}, "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        for name, build in contenders(case, threads, folder).items():
            x: NDArray[Any] = inputs.setdefault(name, case.x)
            start = time.perf_counter()
            calls[name] = build()
            calls[name](x[:1])
            result["first"][name] = time.perf_counter() - start
            if x is single and not (error := np.abs(calls[name](x[:100]) - want).max()) < 1e-4:
                raise SystemExit(f"{case.name}: {name} differs from float64 by {error}")
        most = dict.fromkeys(calls, len(case.x))
        if "hls4ml" in calls:
            seconds = turns({"one": partial(calls["hls4ml"], case.x[:1])}, rounds, threads)["one"]
            most["hls4ml"] = max(1, round(_SAMPLE / seconds))
            x = case.x[: max(1, round(_COMPARED / seconds))]
            different = int(np.sum(calls["preset"](x) != calls["hls4ml"](x)))
            result["equality"] = {"sequences": len(x), "different": different}
        square = np.random.default_rng(2).random((GEMM, GEMM), np.float32)
        for batch in BATCHES:
            timed = {name: min(batch, most[name]) for name in calls}
            turn = {name: partial(call, inputs[name][: timed[name]]) for name, call in calls.items()}
            best = turns({**turn, "gemm": partial(np.matmul, square, square)}, rounds, threads)
            rates = {name: timed[name] / best[name] for name in calls}
            row = {"batch": batch, "timed": timed, "sequences_per_second": rates, "gemm": GEMM**3 / best["gemm"]}
            result["rows"].append(row)
    for preset in ("exact", "hls4ml"):
        graph = quantize(case.source, precision=PRECISION, preset=preset)
        own = costs(graph, case.x, rounds) if threads == 1 else speedup(graph, case.x, threads, rounds)
        result.setdefault("costs", {})[preset] = own
    return result


def costs(graph: fxsim.Graph, x: NDArray[np.float64], rounds: int) -> Results:
    """What overflow counts and traces cost on one thread, as ratios to the plain run."""
    layer = next(layer for layer in graph.nodes if layer.recurrent)
    assert layer.program is not None
    one = f"{layer.name}.{layer.program.output}"
    values = sum(graph.tokens[name] * sum(program.sizes.values()) for name, program in graph.programs.items())
    sample = x[: max(16, _TRACE_BYTES // (8 * values))]
    plain = partial(simulate, graph, sample, threads=1, overflows=False)
    ways: dict[str, Callable[[], object]] = {
        "overflows": partial(plain, overflows=True),
        "trace of one": partial(plain, trace=[one]),
        "trace of all": partial(plain, trace=True),
    }
    seconds = turns({"plain": plain, **ways}, rounds, 1)
    return {name: seconds[name] / seconds["plain"] for name in ways} | {"sequences": len(sample), "op": one}


def speedup(graph: fxsim.Graph, x: NDArray[np.float64], threads: int, rounds: int) -> Results:
    """The rate of several threads to that of one, on the largest batch."""
    seconds = turns({str(n): partial(predict, graph, x, threads=n) for n in (1, threads)}, rounds, threads)
    return {"speedup": seconds["1"] / seconds[str(threads)]}


#: A fresh process: seconds of importing, of loading, and of the first and the second call.
_COLD = """
import json, sys, time
import numpy as np
x = np.load(sys.argv[3])
start = time.perf_counter()
import fxsim
load, predict = fxsim.load, fxsim.predict
imported = time.perf_counter()
graph = load(sys.argv[1], preset=sys.argv[2])
loaded = time.perf_counter()
predict(graph, x, threads=1)
first = time.perf_counter()
predict(graph, x, threads=1)
second = time.perf_counter()
print(json.dumps([imported - start, loaded - imported, first - loaded, second - first]))
"""


def cold(shared: Path | None, rounds: int) -> list[Results]:
    """First calls with 100 sequences in fresh processes: once with nothing kept on disk, then with what that kept.

    The model is a file: that of top tagging, else the demo's.
    """
    demo = Path(fxsim.__path__[0]) / "demo"
    name, model, x = "digits", demo / "digits.keras", np.load(demo / "digits_test.npz")["x"]
    if shared is not None:
        name = "toptag/lstm"
        model, x = shared / "models" / published.NETWORKS[name].model, published.inputs(name, shared)
    found = []
    keys = ("import", "load", "first call", "second call", "process")
    for preset in ("exact", "hls4ml"):
        times = []
        with tempfile.TemporaryDirectory() as folder:
            np.save(f"{folder}/x.npy", np.resize(x, (100, *x.shape[1:])))
            own = {"NUMBA_CACHE_DIR": folder, "FXSIM_CACHE_DIR": folder}
            command = [sys.executable, "-c", _COLD, str(model), preset, f"{folder}/x.npy"]
            beside = Path(fxsim.__path__[0]).parent  # so that this fxsim is imported
            for _ in range(1 + rounds):
                start = time.perf_counter()
                done = subprocess.run(command, env=os.environ | own, cwd=beside, check=True, stdout=subprocess.PIPE)
                times.append([*json.loads(done.stdout), time.perf_counter() - start])
        for kept, seconds in ((False, times[0]), (True, np.min(times[1:], axis=0).tolist())):
            row = {"network": name, "preset": preset, "kept": kept}
            found.append(row | dict(zip(keys, seconds, strict=True)))
    return found


def scans(case: Case) -> list[Results]:
    """100 precisions on 10 000 sequences by ``fxsim.scan`` with all processors, kernels not yet and already on disk."""
    found = []
    for preset in ("exact", "hls4ml"):
        row: Results = {"network": case.name, "preset": preset, "sequences": len(case.x)}
        for state in ("empty", "kept"):
            start, count = time.perf_counter(), 0
            for integer in SCAN["integers"]:
                precision = f"ap_fixed<16,{integer}>"
                count += len(scan(case.source, case.x, None, SCAN["widths"], precision=precision, preset=preset)) - 1
            row |= {"precisions": count, state: time.perf_counter() - start}
        found.append(row)
    return found


def machine() -> Results:
    """What was measured on, and with which versions."""
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    found = {"cpu": cpu, "processors": os.cpu_count(), "python": platform.python_version()}
    for package in ("numpy", "numba", "hls4ml", "onnxruntime"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def run(arguments: argparse.Namespace) -> Results:
    """All measurements, each number of threads in a process of its own."""
    # What earlier runs have compiled is not for this one.
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FXSIM_CACHE_DIR"] = folder
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> Results:
    results: Results = {"weights": published.kind(arguments.shared), "machine": machine(), "precision": PRECISION}
    results["load_average"] = [os.getloadavg()[0]]
    results["cold"] = cold(arguments.shared, arguments.rounds)
    results["networks"] = []
    for threads in THREADS:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        own = {name: str(threads) for name in names} | {"KERAS_BACKEND": "torch"}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "found.json"
            command = [sys.executable, __file__, "--worker", str(threads), "--rounds", str(arguments.rounds)]
            command += ["--json", str(path), *([] if arguments.shared is None else ["--shared", str(arguments.shared)])]
            command += [f"--network={name}" for name in arguments.network]
            subprocess.run(command, env=os.environ | own, check=True)
            results["networks"] += json.loads(path.read_text())
        results["load_average"].append(os.getloadavg()[0])
    results["scan"] = scans(next(cases(arguments.shared, ["toptag/lstm"])))
    results["load_average"].append(os.getloadavg()[0])
    return results


def work(arguments: argparse.Namespace) -> list[Results]:
    """What the process of one number of threads does."""
    found = []
    for case in cases(arguments.shared, arguments.network):
        print(f"{case.name}, threads: {arguments.worker}", file=sys.stderr, flush=True)
        found.append(measure(case, arguments.worker, arguments.rounds))
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    published.options(parser, "emulator.json")
    names = list(published.NETWORKS)
    text = f"{', '.join(names)}; all without the option"
    parser.add_argument("--network", action="append", default=[], choices=names, metavar="NAME", help=text)
    parser.add_argument("--rounds", type=int, default=5, help="least number of turns of which the best counts")
    parser.add_argument("--reprint", action="store_true", help="show what the baseline holds, measure nothing")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    if "--reprint" in sys.argv[1:]:
        emulator_report.show(json.loads(parser.get_default("baseline").read_text()))
        return
    given = published.parse(parser)
    if given.network and given.json is not None and given.json == given.baseline:
        parser.error("the baseline has all networks: give another --json with --network")
    results: Any = work(given) if given.worker else run(given)
    if given.json is not None:
        write_whole(given.json, (json.dumps(results, indent=1) + "\n").encode())
    if not given.worker:
        emulator_report.show(results)


if __name__ == "__main__":
    main()
