# SPDX-License-Identifier: Apache-2.0
"""What ``bench_emulator.py`` prints and draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import published
from rich import box
from rich.console import Console
from rich.table import Table

from fxsim.pages.table_files import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Results = dict[str, Any]

#: Contenders in the order of the tables, with their colour and marker in the picture.
CONTENDERS = {
    "exact": ("fxsim exact", "#0b6e99", "o"),
    "preset": ("fxsim hls4ml", "#c44e34", "s"),
    "hls4ml": ("hls4ml", "#8c5a2b", "v"),
    "onnxruntime": ("onnxruntime", "#444444", "D"),
    "numpy": ("numpy", "#999999", "^"),
}
RATIOS = (("preset", "hls4ml"), ("exact", "onnxruntime"), ("preset", "onnxruntime"), ("exact", "numpy"))


def show(results: Results) -> None:
    """Everything that was measured, as tables."""
    console = Console(width=150)
    console.print("  ".join(f"{name} {value}" for name, value in results["machine"].items()), highlight=False)
    load = ", ".join(f"{value:.2f}" for value in results["load_average"])
    console.print(f"{results['precision']}; load average before, between and after: {load}\n", highlight=False)
    for table in tables(results):
        # A title inside would be broken at the width of its table.
        title, table.title = table.title, None
        console.print(title, style="bold", highlight=False)
        console.print(table)
    for line in notes(results):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def tables(results: Results) -> Iterator[Table]:
    """Rates, work and ratios by number of threads, then what comes on top."""
    names = [name for name in CONTENDERS if name in results["networks"][0]["rows"][0]["timed"]]
    for threads in sorted({found["threads"] for found in results["networks"]}):
        own = [found for found in results["networks"] if found["threads"] == threads]
        peak = max(row["gemm"] for found in own for row in found["rows"])
        yield _rates(own, names, threads)
        yield _work(own, [name for name in names if name != "numpy"], threads, peak)
    yield _first(results, names)
    yield _costs(results)
    yield _cold(results)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    return table


def _rates(networks: Sequence[Results], names: Sequence[str], threads: int) -> Table:
    clock = "of processor time" if threads == 1 else "on the wall (hls4ml: one thread, it knows no more)"
    title = f"Sequences a second {clock}, {_threads(threads)}"
    table = _table(title, "network", "batch", *(CONTENDERS[name][0] for name in names))
    for found in networks:
        for row in found["rows"]:
            cells = (_number(row["sequences_per_second"][name]) for name in names)
            table.add_row(found["network"], str(row["batch"]), *cells)
    return table


def _work(networks: Sequence[Results], names: Sequence[str], threads: int, peak: float) -> Table:
    ratios = [(one, two) for one, two in RATIOS if one in names and (two in names or two == "numpy")]
    titles = (f"{CONTENDERS[one][0]}\n/ {CONTENDERS[two][0]}" for one, two in ratios)
    title = f"10^9 multiply-adds a second, share of the float32 GEMM peak of {peak / 1e9:.1f}, and ratios of rates"
    table = _table(f"{title}; {_threads(threads)}", "network", "batch", *(CONTENDERS[n][0] for n in names), *titles)
    for found in networks:
        for row in found["rows"]:
            rate = row["sequences_per_second"]
            work = {name: rate[name] * found["multiply_adds"] for name in names}
            cells = [f"{_number(work[name] / 1e9)}  {100 * work[name] / peak:4.1f} %" for name in names]
            cells += [f"{_number(rate[one] / rate[two])} x" for one, two in ratios]
            table.add_row(found["network"], str(row["batch"]), *cells)
    return table


def _first(results: Results, names: Sequence[str]) -> Table:
    timed = [name for name in names if name in results["networks"][0]["first"]]
    table = _table(
        "Seconds from the float network to the first output, packages imported (for hls4ml: convert and compile)",
        "network", *(CONTENDERS[name][0] for name in timed),
    )  # fmt: skip
    for found in results["networks"]:
        if found["threads"] == 1:
            table.add_row(found["network"], *(f"{found['first'][name]:.3f}" for name in timed))
    return table


def _costs(results: Results) -> Table:
    kinds = ("overflows", "trace of one", "trace of all")
    more = sorted({found["threads"] for found in results["networks"]} - {1})
    table = _table(
        "Time of a simulation that counts overflows or keeps traces, one thread, and of more threads, as ratios",
        "network", "preset", "sequences", *(f"{kind} / plain" for kind in kinds),
        *(f"{_threads(threads)} / one" for threads in more),
    )  # fmt: skip
    by = {(found["network"], found["threads"]): found["costs"] for found in results["networks"]}
    for (network, threads), costs in by.items():
        for preset, own in costs.items() if threads == 1 else ():
            cells = [f"{own[kind]:.2f}" for kind in kinds]
            cells += [f"{by[network, threads][preset]['speedup']:.2f} x" for threads in more]
            table.add_row(network, preset, str(own["sequences"]), *cells)
    return table


def _cold(results: Results) -> Table:
    keys = ("import", "load", "first call", "second call", "process")
    table = _table(
        f"Seconds of a fresh process, {results['cold'][0]['network']}, 100 sequences, one thread",
        "preset", "compiled code", *keys, "without import",
    )  # fmt: skip
    for row in results["cold"]:
        cells = [f"{row[key]:.4f}" for key in keys] + [f"{row['load'] + row['first call']:.4f}"]
        table.add_row(row["preset"], "kept on disk" if row["kept"] else "made", *cells)
    return table


def notes(results: Results) -> Iterator[str]:
    """What the tables leave open: the scan, samples, equality, and what was not installed."""
    networks = results["networks"]
    ones = {found["network"]: found for found in networks if found["threads"] == 1}
    one = next(iter(ones.values()))
    for row in results["scan"]:
        text = f"{row['precisions']} precisions x {row['sequences']} sequences of {row['network']}, "
        text += f"preset {row['preset']}: {row['empty']:.1f} s by fxsim.scan, again {row['kept']:.1f} s"
        own = ones.get(row["network"])
        if own and "hls4ml" in own["first"]:
            rate = own["rows"][-1]["sequences_per_second"]["hls4ml"]
            alone = row["precisions"] * (own["first"]["hls4ml"] + row["sequences"] / rate)
            text += f"; hls4ml's emulator, from its times above: {alone:.0f} s, {alone / row['empty']:.0f} x"
        yield text
    missing = [name for name in ("hls4ml", "onnxruntime") if name not in one["rows"][0]["timed"]]
    for name in missing:
        yield f'{name} is not installed, so its columns are left out: pip install ".[peer]"'
    if "hls4ml" not in missing:
        timed = ", ".join(
            f"{found['network']} {found['rows'][-1]['timed']['hls4ml']}" for found in networks if found["threads"] == 1
        )
        yield f"hls4ml's emulator takes one sequence at a time; it was timed on samples of at most: {timed}"
        pairs = [found["equality"] for found in networks]
        total, different = sum(pair["sequences"] for pair in pairs), sum(pair["different"] for pair in pairs)
        yield f"outputs of preset hls4ml that differ from hls4ml's emulator: {different}, of {total} sequences"


def _threads(threads: int) -> str:
    return {1: "one thread", 2: "two threads"}.get(threads, f"{threads} threads")


def _number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def picture(results: Results) -> Figure:
    """Rates by network on a logarithmic axis, a panel for each batch; one thread."""
    networks = [found for found in results["networks"] if found["threads"] == 1]
    batches = [row["batch"] for row in networks[0]["rows"]]
    whole = figure(4.2 * len(batches), 3.9)
    grid = whole.subplots(1, len(batches), sharey=True, squeeze=False)
    for i, (batch, axes) in enumerate(zip(batches, grid[0], strict=True)):
        for name, (label, colour, marker) in CONTENDERS.items():
            if name in networks[0]["rows"][i]["timed"]:
                rates = [found["rows"][i]["sequences_per_second"][name] for found in networks]
                axes.plot(range(len(rates)), rates, marker, color=colour, markersize=6.5, label=label)
        axes.set_yscale("log")
        axes.set_title(f"batch {batch}", fontsize=10)
        titles = [published.NETWORKS[found["network"]].title.replace(" ", "\n") for found in networks]
        axes.set_xticks(range(len(networks)), titles, fontsize=7)
        axes.tick_params(labelleft=True)
        axes.grid(True, axis="y", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    grid[0][0].set_ylabel("sequences a second, one thread")
    handles, labels = grid[0][0].get_legend_handles_labels()
    whole.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    return whole
