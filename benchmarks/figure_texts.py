# SPDX-License-Identifier: Apache-2.0
"""What the figures in the pages say, out of the committed baselines and campaign reports; figures.py writes them.

A name is a path into a baseline (``rtl.cases.toptag_lstm_150.latency``) or one of ``TEXTS``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import published

from fxsim.errors import FxsimError, show

__all__ = ["ROOT", "TEXTS", "baseline", "text"]

ROOT = Path(__file__).resolve().parents[1]
#: Where a baseline is, by the first part of a figure's name.
BASELINES = ("rtl", "paper", "accuracy", "emulator", "cost", "timing", "sums")
PLACES = {name: f"benchmarks/baselines/{name}.json" for name in BASELINES}
PLACES |= {name: f"tests/campaigns/reports/{name}.json" for name in ("mutants", "plants", "gates", "coverage", "soak")}
#: Batches of the largest size and of few sequences.
LARGE, FEW = 10_000, 100
CELLS = ("lut", "lutram", "ff", "dsp", "bram")


@cache
def baseline(name: str, root: Path = ROOT) -> Any:
    """A baseline; one of seeded networks is refused."""
    found = json.loads((root / PLACES[name]).read_text(encoding="utf-8"))
    if isinstance(found, dict) and found.get("weights", published.TRAINED) != published.TRAINED:
        raise FxsimError(f"{PLACES[name]}: is of networks with {found['weights']} weights")
    return found


def text(name: str) -> str:
    """What stands for a figure; raises ``FxsimError`` for a name that there is not."""
    if name in TEXTS:
        try:
            return TEXTS[name]()
        except FxsimError:
            raise
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise FxsimError(f"figure {show(name)}: its baseline is not as it must be ({error!r})") from None
    first, *rest = name.split(".")
    if first not in PLACES:
        raise FxsimError(f"there is no figure {show(name)}")
    found = baseline(first)
    for part in rest:
        if not isinstance(found, dict) or part not in found:
            raise FxsimError(f"there is no figure {show(name)}: {PLACES[first]} has no {show(part)} there")
        found = found[part]
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if not isinstance(found, int | str) or isinstance(found, bool):
        raise FxsimError(f"figure {show(name)} must be a whole number or a text, not {show(found)}")
    return found if isinstance(found, str) else number(found)


def number(value: float | None) -> str:
    """A number with blanks between its thousands, a half kept (of block RAMs); a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:g}" if value % 1 == 0.5 else f"{round(value):,}".replace(",", " ")


def few(value: float) -> str:
    """Two digits, or all before the point."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown, with blank lines around it."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n\n" + "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n\n"


def between(values: Iterable[float], show: Callable[[float], str]) -> str:
    """The smallest and the largest."""
    found = sorted(values)
    return f"{show(found[0])} to {show(found[-1])}"


# --- rtl.json and paper.json


def _behind() -> str:
    found = baseline("rtl")["scan"]
    return "each" if found["dominated"] == found["runs"] else f"{found['dominated']} of {found['runs']}"


def _loop(preset: str, cell: str, family: str, clock_mhz: float) -> dict[str, Any]:
    for row in baseline("rtl")["loops"]:
        if (row["preset"], row["cell"], row["family"], row["clock_mhz"]) == (preset, cell, family, clock_mhz):
            return dict(row)
    raise FxsimError(f"rtl.json has no loop of {preset}, {cell}, {family} at {clock_mhz:g} MHz")


def _loop_ns() -> str:
    row = _loop("hls4ml", "lstm", "xcup", 300.0)
    return number(1000 * row["latency"] / row["clock_mhz"])


#: Designs that are in both rtl.json and paper.json, which must say the same of them.
SAME = {
    "toptag_lstm_parallel": "Top tagging LSTM, parallel",
    "toptag_gru_parallel": "Top tagging GRU, parallel",
    "toptag_lstm_150": "Top tagging LSTM, 150 multipliers",
    "toptag_lstm_64": "Top tagging LSTM, 64 multipliers",
    "ftag_lstm_2024": "Flavour tagging LSTM, 2024 multipliers",
    "quickdraw_lstm_2000": "QuickDraw LSTM, 2000 multipliers",
}


def _designs() -> str:
    rows = {row["design"]: row for row in baseline("paper")["designs"]}
    for case, found in baseline("rtl")["cases"].items():
        design = SAME.get(case, "")
        pairs = [(found[key], rows[design][key]) for key in ("latency", "interval")] if design else []
        if any(one != other for one, other in pairs):
            raise FxsimError(f"rtl.json and paper.json differ on latency or interval of {design}: {pairs}")
    cells = []
    for row in rows.values():
        other = row["published"]
        numbers = (row["latency"], other["cycles"], row["dsp"], other["dsp"], row["lut"] + row["lutram"], other["lut"])
        cells.append((row["design"], *map(number, numbers)))
    return table(("design", "cycles", "paper", "DSP", "paper", "LUT", "paper"), cells)


def _shares(preset: str, integer: int) -> dict[int, float]:
    """The least share of float's AUC of the toy jets' networks, by fractional bits."""
    (study,) = (one for one in baseline("paper")["studies"] if one["title"] == "Top tagging, toy jets")
    curves = [dict(c["points"]) for c in study["curves"] if (c["preset"], c["integer"]) == (preset, integer)]
    return {bits: min(curve[bits] for curve in curves) for bits in curves[0]}


def _rounded() -> str:
    return f"{100 * _shares('exact', 3)[4]:.1f} %"


def _truncated() -> str:
    enough = [bits for bits, share in _shares("hls4ml", 6).items() if share >= 0.995 * _shares("exact", 3)[4]]
    return str(min(enough))


def _toy_auc() -> str:
    (study,) = (one for one in baseline("paper")["studies"] if one["title"] == "Top tagging, toy jets")
    values = {f"{value:.2f}" for value in study["base"].values()}
    return " and ".join(sorted(values))


# --- cost.json


def _cost_errors() -> str:
    def cell(found: dict[str, Any]) -> str:
        return ", ".join(f"{value:g} %" if value else "0" for value in (found["median"], found["worst"]))

    rows = []
    for group, errors in baseline("cost")["errors"].items():
        unseen = errors["held out"]
        rows.append(
            (group, str(unseen["lut"]["designs"]), *(cell(unseen[kind]) for kind in ("lut", "ff", "dsp", "bram")))
        )
    return table(("", "designs", "LUT", "FF", "DSP", "BRAM"), rows)


def _fitted() -> str:
    return number(sum(errors["fitted"]["lut"]["designs"] for errors in baseline("cost")["errors"].values()))


def _worst() -> str:
    found = baseline("cost")["errors"].values()
    worst, kind = max(
        (errors["fitted"][cell]["worst"], cell) for errors in found for cell in ("lut", "ff", "dsp", "bram")
    )
    return f"{worst:.0f} % off in {kind.upper()}"


def _static_off() -> str:
    found = baseline("timing")["summary"]["ecp5"]["static_off_percent_judged"]
    return f"{found['median']:g} % in the median, and {found['worst']:g} % at worst"


def _seeds() -> str:
    """Seeds that each design was routed from."""
    counts = sorted({len(row["seeds_ns"]) for row in baseline("timing")["designs"] if "seeds_ns" in row})
    return f"{' to '.join(map(str, counts[:: max(1, len(counts) - 1)]))} seed{'' if counts == [1] else 's'}"


def _trained_cells() -> str:
    """Estimated against counted cells of the designs of rtl.json that have both, at its own preset hls4ml."""
    rows = []
    for name, row in baseline("rtl")["cases"].items():
        if "lut" in row:
            pairs = [(row["estimate"][kind], row[kind]) for kind in ("lut", "ff", "dsp", "bram")]
            rows.append((f"`{name}`", *(f"{number(one)} / {number(two)}" for one, two in pairs)))
    return table(("design", "LUT estimated / counted", "FF", "DSP", "BRAM"), rows)


# --- accuracy.json


def _accuracy() -> str:
    rows = baseline("accuracy")["rows"]
    networks = {"quickdraw/lstm": "QuickDraw LSTM", "quickdraw/gru": "QuickDraw GRU", "digits": "digits"}
    presets = ("exact", "hls4ml", "hls4ml RND SAT")
    lines = []
    for width in sorted({row["width"] for row in rows}):
        cells = [str(width)]
        for network in networks:
            found = {r["preset"]: r["accuracy"] for r in rows if (r["network"], r["width"]) == (network, width)}
            cells.append(" / ".join(f"{100 * found[preset]:.1f}" for preset in presets) + " %")
        lines.append(cells)
    floats = [next(row["float_accuracy"] for row in rows if row["network"] == network) for network in networks]
    lines.append(["float", *(f"{100 * value:.1f} %" for value in floats)])
    first, *others = networks.values()
    return table(("W", f"{first} {' / '.join(presets)}", *others), lines)


# --- sums.json


def _pairs_of_sums() -> list[tuple[Any, Any]]:
    """Rows of exact sums, each with that of narrow ones of the same network and precision."""
    rows = baseline("sums")["rows"]
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    for pair in pairs:
        same = len({(row["network"], row["precision"]) for row in pair}) == 1
        if not same or [row["sums"] for row in pair] != ["exact", "narrow"]:
            raise ValueError("rows are not pairs of exact and narrow sums")
    return pairs


def _sums() -> str:
    """Exact and narrow sums: accuracy and mean error of each network at three widths."""
    lines = []
    for one, other in _pairs_of_sums():
        if int(one["precision"].removeprefix("ap_fixed<").partition(",")[0]) in (12, 16, 20):
            precision = one["precision"].removeprefix("ap_fixed")
            share = " / ".join(f"{100 * row['accuracy']:.1f}" for row in (one, other)) + " %"
            error = " / ".join(f"{row['mean_error']:.1e}" for row in (one, other))
            lines.append([one["network"], f"`{precision}`", f"{one['bits']} / {other['bits']}", share, error])
    columns = ("network", "precision", "bits of U·h, exact / narrow", "accuracy", "mean error against float")
    return table(columns, lines)


def _worse_sums() -> str:
    """How much larger the mean error is with narrow sums where it grows most."""
    return f"{100 * max(b['mean_error'] / a['mean_error'] - 1 for a, b in _pairs_of_sums()):.0f} %"


# --- emulator.json


def _rows(threads: int | None = 1) -> Iterable[tuple[str, int, int, dict[str, float]]]:
    """Network, threads, batch, and sequences a second of all contenders."""
    for found in baseline("emulator")["networks"]:
        if threads in (None, found["threads"]):
            for row in found["rows"]:
                yield found["network"], found["threads"], row["batch"], row["sequences_per_second"]


def _ratio(ours: Sequence[str], other: str, show: Callable[[float], str]) -> str:
    """Least and largest ratio of rates, one thread, largest batch."""
    return between((r[one] / r[other] for _, _, batch, r in _rows() if batch == LARGE for one in ours), show)


def _title(network: str) -> str:
    title = published.NETWORKS[network].title
    return title if title.startswith("Quick") else title[0].lower() + title[1:]


def _rates() -> str:
    rows = []
    for network, _, batch, rate in _rows():
        if batch == LARGE:
            theirs = rate["hls4ml"]
            numbers = [number(rate["exact"]), number(rate["preset"])]
            numbers += [number(theirs) if theirs >= 100 else f"{theirs:.1f}", number(rate["onnxruntime"])]
            rows.append((_title(network), *numbers))
    columns = ("network", "fxsim, exact", "fxsim, hls4ml's bits", "hls4ml", "onnxruntime, float32")
    return table(columns, rows)


def _calls() -> str:
    batches = sorted({batch for _, _, batch, _ in _rows() if batch <= FEW})
    cells: dict[str, list[str]] = {}
    for network, _, batch, rate in _rows():
        if batch in batches:
            us = [few(1e6 * batch / rate[name]) for name in ("exact", "preset", "onnxruntime")]
            cells.setdefault(network, []).append(" / ".join(us))
    heads = ["1 sequence", *map(str, batches[1:])]
    return table(("network", *heads), ((_title(network), *own) for network, own in cells.items()))


def _pairs() -> list[tuple[str, float]]:
    """Every pair of one of ours and onnxruntime: what it is, and how often as fast ours is."""
    found = []
    for network, threads, batch, rate in _rows(None):
        for name, preset in (("exact", "exact"), ("preset", "hls4ml")):
            words = "one thread" if threads == 1 else f"{threads} threads"
            what = f"{_title(network)}, preset {preset}, {number(batch)} sequence{'s' if batch > 1 else ''}, {words}"
            found.append((what, rate[name] / rate["onnxruntime"]))
    return found


def _slower() -> list[str]:
    return [f"{what} ({ratio:.2f})" for what, ratio in _pairs() if ratio < 1]


def _costs(kind: str, show: Callable[[float], str]) -> str:
    costs = [
        own for found in baseline("emulator")["networks"] if found["threads"] == 1 for own in found["costs"].values()
    ]
    return between((own[kind] for own in costs), show)


def _overflows() -> str:
    most = max(
        own["overflows"] for n in baseline("emulator")["networks"] if n["threads"] == 1 for own in n["costs"].values()
    )
    return f"{100 * most - 100:.0f}"


def _speedup() -> str:
    costs = [
        own for found in baseline("emulator")["networks"] if found["threads"] == 2 for own in found["costs"].values()
    ]
    return between((own["speedup"] for own in costs), lambda x: f"{x:.2f}")


def _scan(key: str) -> str:
    (row,) = (row for row in baseline("emulator")["scan"] if row["preset"] == "exact")
    return number(row[key])


def _cold(kept: bool) -> str:
    return f"{max(row['first call'] for row in baseline('emulator')['cold'] if row['kept'] == kept):.2f}"


def _rate(network: str, contender: str) -> str:
    (rate,) = (r[contender] for name, _, batch, r in _rows() if (name, batch) == (network, LARGE))
    return number(rate)


# --- reports of the campaigns

#: The designs of campaigns as the page has them (campaigns/designs.py).
DESIGNS = {
    "lstm": "`lstm`: 4 units, parallel",
    "gru": "`gru`: 4 units, parallel",
    "folded": "`folded`: LSTM, reuse 4, Dense, relu",
    "interleaved": "`interleaved`: GRU, reuse 2, 3 sequences at a time, Dense, relu",
}


def _mutants() -> str:
    columns = ("mutants", "killed", "equivalent", "not killed", "undecided", "seconds")
    found = baseline("mutants")
    return table(
        ("design", *columns), ((name, *(str(found[key][c]) for c in columns)) for key, name in DESIGNS.items())
    )


def _mutants_sum(key: str) -> str:
    return number(sum(row[key] for row in baseline("mutants").values()))


def _killed_by(*starts: str) -> str:
    runs = [(name, count) for row in baseline("mutants").values() for name, count in row["killed by"].items()]
    return number(sum(count for name, count in runs if name in starts))


def _plants() -> str:
    faults = ("flipped weight bit", "TRN for RND", "WRAP for SAT", "beat dropped under backpressure")
    faults += ("latency off by one", "gates swapped", "state not cleared after TLAST", "table off by one")
    places = sorted(baseline("plants").items(), key=lambda item: (faults.index(item[1]["fault"]), item[0][-1]))
    rows = [(one["fault"], f"`{one['where']}`", f"`{one['noticed by'].split('[')[0]}`") for _, one in places]
    return table(("fault", "planted into", "noticed by"), rows)


def _plants_noticed() -> str:
    found = [one["noticed by"] != "none" for one in baseline("plants").values()]
    return f"All {len(found)}" if all(found) else f"{sum(found)} of {len(found)}"


def _gates() -> str:
    columns = ("design", "cells", "of them DSP48E1", "sequences", "differences", "latency, as predicted")
    rows = []
    for name, row in sorted(baseline("gates").items(), reverse=True):
        cells = (row["cells"], row["cells by type"]["DSP48E1"], row["sequences"], row["differences"], row["latency"])
        rows.append((f"`{name}`", *map(str, cells), str(row["cocotb tests"]), str(row["seconds"])))
    return table((*columns, "cocotb tests passed", "seconds"), rows)


def _coverage() -> str:
    rows = []
    for name in DESIGNS:
        row = baseline("coverage")[name]
        reached, _, whole = row["toggles"].partition(" of ")
        share = f"{100 * int(reached) / int(whole):.1f} %"
        rows.append((f"`{name}`", row["lines"], f"{row['toggles']}, {share}", str(row["seconds"])))
    return table(("design", "lines", "toggles (a bit, up or down)", "seconds"), rows)


def _soak() -> str:
    columns = ("network", "sequences", "bits that differ", "cycles", "harness, kB, least and most")
    rows = []
    for name, row in sorted(baseline("soak").items(), reverse=True):
        numbers = [number(row[key]) for key in ("sequences", "differences", "cycles")]
        python = ", ".join(number(int(one)) for one in row["python kB"].split(", "))
        rows.append((f"`{name}`", *numbers, row["harness kB"].replace(" to ", ", "), python, str(row["seconds"])))
    return table((*columns, "Python, peak kB after the first and the last chunk", "seconds"), rows)


def _whole(value: float) -> str:
    return f"{value:.0f}"


def _percent(value: float) -> str:
    return f"{100 * value - 100:.0f}"


TEXTS: dict[str, Callable[[], str]] = {
    "rtl.behind": _behind,
    "rtl.cells": _trained_cells,
    "rtl.loop.exact_lstm": lambda: str(_loop("exact", "lstm", "xc7", 200.0)["cycles_a_step"]),
    "rtl.loop.exact_gru": lambda: str(_loop("exact", "gru", "xc7", 200.0)["cycles_a_step"]),
    "rtl.loop.xc7_100": lambda: str(_loop("hls4ml", "lstm", "xc7", 100.0)["cycles_a_step"]),
    "rtl.loop.xcup_150": lambda: str(_loop("hls4ml", "lstm", "xcup", 150.0)["cycles_a_step"]),
    "rtl.loop.xcup_300": lambda: str(_loop("hls4ml", "lstm", "xcup", 300.0)["cycles_a_step"]),
    "rtl.loop.xcup_300_ns": _loop_ns,
    "paper.designs": _designs,
    "paper.rounded": _rounded,
    "paper.truncated": _truncated,
    "paper.toy_auc": _toy_auc,
    "cost.errors": _cost_errors,
    "cost.fitted": _fitted,
    "cost.worst": _worst,
    "timing.off": _static_off,
    "timing.seeds": _seeds,
    "accuracy.table": _accuracy,
    "sums.table": _sums,
    "sums.worse": _worse_sums,
    "emulator.rates": _rates,
    "emulator.calls": _calls,
    "emulator.hls4ml": lambda: _ratio(("exact", "preset"), "hls4ml", _whole),
    "emulator.hls4ml.exact": lambda: _ratio(("exact",), "hls4ml", _whole),
    "emulator.hls4ml.preset": lambda: _ratio(("preset",), "hls4ml", _whole),
    "emulator.onnxruntime": lambda: _ratio(("exact", "preset"), "onnxruntime", lambda x: f"{x:.1f}"),
    "emulator.pairs": lambda: number(len(_pairs())),
    "emulator.slower": lambda: number(len(_slower())),
    "emulator.slower.list": lambda: "; ".join(_slower()) or "none",
    "emulator.speedup": _speedup,
    "emulator.overflows": _overflows,
    "emulator.trace.one": lambda: _costs("trace of one", _percent),
    "emulator.trace.all": lambda: _costs("trace of all", _whole),
    "emulator.scan.empty": lambda: _scan("empty"),
    "emulator.scan.kept": lambda: _scan("kept"),
    "emulator.cold": lambda: _cold(False),
    "emulator.cold.kept": lambda: _cold(True),
    "emulator.toptag.preset": lambda: _rate("toptag/lstm", "preset"),
    "emulator.toptag.hls4ml": lambda: _rate("toptag/lstm", "hls4ml"),
    "mutants.table": _mutants,
    "mutants.all": lambda: _mutants_sum("mutants"),
    "mutants.killed": lambda: _mutants_sum("killed"),
    "mutants.equivalent": lambda: _mutants_sum("equivalent"),
    "mutants.undecided": lambda: _mutants_sum("undecided"),
    "mutants.first": lambda: _killed_by("bits and cycles"),
    "mutants.alone": lambda: _killed_by("alone"),
    "mutants.stalls": lambda: _killed_by("stalls", "slow sink", "slow source"),
    "mutants.frames": lambda: _killed_by("broken frames", "broken frames, stalls"),
    "mutants.resets": lambda: _killed_by("resets", "resets, stalls"),
    "mutants.volume": lambda: _killed_by("volume"),
    "plants.table": _plants,
    "plants.noticed": _plants_noticed,
    "gates.table": _gates,
    "coverage.table": _coverage,
    "soak.table": _soak,
}
