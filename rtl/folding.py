# SPDX-License-Identifier: Apache-2.0
"""How many multipliers each layer gets: chosen by hand, by reuse, or by a budget. Pure Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import floor, prod

from fxsim.errors import FxsimError, show
from fxsim.graph import Graph

from .delays import Family, family
from .folds import Fold, fold_for_reuse, fold_multipliers, least_reuse, products
from .lower import HardLayer, lower
from .schedule import LayerSchedule
from .scheduler import schedule
from .timing import Source, Stage, Timing, timing

#: Most sequences that take turns.
MOST_WAYS = 64


@dataclass(frozen=True)
class Folding:
    """A fold for each hardware layer that computes, by its name.

    ``interleave``: how many sequences take turns in the recurrent layers. ``unroll``: 1, or the number of steps, each
    of which then has hardware of its own. ``beat``: elements of an input beat; those of a step by default.
    """

    folds: Mapping[str, Fold]
    interleave: int = 1
    unroll: int = 1
    beat: int | None = None

    def to_json(self) -> dict[str, object]:
        """As written to a folding file and the manifest."""
        text: dict[str, object] = {name: asdict(fold) for name, fold in self.folds.items()}
        whole = {name: getattr(self, name) for name in _WHOLE if getattr(self, name) != getattr(Folding, name)}
        return text | whole


@dataclass(frozen=True)
class Plan:
    """A network with its folding: schedules, the timing model's stages, timing and cost."""

    graph: Graph
    layers: tuple[HardLayer, ...]
    folding: Folding
    schedules: tuple[LayerSchedule | None, ...]
    stages: tuple[Stage, ...]
    source: Source
    timing: Timing
    family: Family
    clock_mhz: float

    @property
    def beat(self) -> int:
        """Elements of an input beat."""
        return prod(self.graph.shape) // self.source.beats

    @property
    def multipliers(self) -> int:
        """Multipliers of all layers."""
        return sum(s.multipliers for s in self.schedules if s is not None)

    @property
    def longest_path_ns(self) -> float:
        """The longest path between two registers by the delay table, in ns; what it knows nothing of is left out."""
        return self.family.path(max((s.longest for s in self.schedules if s is not None), default=0.0))

    @property
    def dsp(self) -> int:
        """DSP blocks of all layers."""
        return sum(s.dsp for s in self.schedules if s is not None)


def computing(graph: Graph) -> list[HardLayer]:
    """The hardware layers that have a folding."""
    return [layer for layer in lower(graph) if layer.program is not None]


#: Fields of a folding file that are of the whole network.
_WHOLE = ("interleave", "unroll", "beat")


def by_reuse(graph: Graph, reuse: int | Mapping[str, int], multiplier: str = "auto") -> Folding:
    """Each layer's engines take at most ``reuse`` cycles a step, with the fewest multipliers.

    A layer with fewer products than that has one multiplier an engine. ``multiplier`` says which constant products need
    none (``constants.CHOICES``). Raises ``FxsimError`` naming the legal values.
    """
    layers = computing(graph)
    if isinstance(reuse, Mapping):
        _check_names(reuse, layers)
        wanted = {layer.name: reuse.get(layer.name, _least(layer)) for layer in layers}
    else:
        most = max(products(layer.program) for layer in layers if layer.program)
        if type(reuse) is not int or not 1 <= reuse <= most:
            raise FxsimError(f"reuse must be an integer from 1 to {most} (one multiplier), not {show(reuse)}")
        wanted = {layer.name: reuse for layer in layers}
    chosen = {}
    for layer in layers:
        assert layer.program is not None
        value = wanted[layer.name]
        most = products(layer.program)
        if type(value) is not int or value < 1 or (isinstance(reuse, Mapping) and value > most):
            raise FxsimError(f"reuse of layer {layer.name!r} must be an integer from 1 to {most}, not {show(value)}")
        try:
            chosen[layer.name] = fold_for_reuse(layer.program, min(value, max(most, _least(layer))), multiplier)
        except FxsimError as error:
            raise FxsimError(f"layer {layer.name!r}: {error}") from None
    return Folding(chosen)


def _least(layer: HardLayer) -> int:
    assert layer.program is not None
    return least_reuse(layer.program)


def _check_names(given: Mapping[str, object], layers: list[HardLayer]) -> None:
    names = [layer.name for layer in layers]
    for name in given:
        if name not in names:
            raise FxsimError(f"folding names layer {show(name)}; the hardware layers are {', '.join(names)}")


def _check_clock(clock_mhz: float) -> None:
    if not isinstance(clock_mhz, int | float) or isinstance(clock_mhz, bool) or not 1 <= clock_mhz <= 2000:
        raise FxsimError(f"clock must be from 1 to 2000 MHz, not {show(clock_mhz)}")


def from_json(graph: Graph, text: str, where: str = "folding") -> Folding:
    """A folding file: ``{"layer": {"beats": G, "cycles": B}}`` or ``{"layer": {"reuse": R}}``.

    Beside beats and cycles may stand ``"multiplier"``: auto, dsp or lut; beside the layers may stand
    ``"interleave"``, ``"unroll"`` and ``"beat"``. Layers that are not named are fully parallel.
    Raises ``FxsimError`` for anything else.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FxsimError(f"{where}: not JSON ({error})") from None
    whole = {name: data.pop(name) for name in _WHOLE if name in data} if isinstance(data, dict) else {}
    if not isinstance(data, dict) or not all(isinstance(v, dict) for v in data.values()):
        raise FxsimError(f'{where}: must be {{"layer": {{"beats": G, "cycles": B}}}} or {{"layer": {{"reuse": R}}}}')
    layers = {layer.name: layer for layer in computing(graph)}
    _check_names(data, list(layers.values()))
    chosen: dict[str, Fold] = {}
    reuse: dict[str, int] = {}
    for name, value in data.items():
        if set(value) == {"reuse"}:
            reuse[name] = value["reuse"]
        elif set(value) - {"multiplier"} == {"beats", "cycles"} and all(
            type(v) is (str if key == "multiplier" else int) for key, v in value.items()
        ):
            chosen[name] = Fold(**value)
        else:
            raise FxsimError(f"{where}: layer {show(name)} must have reuse, or beats and cycles, not {show(value)}")
    rest = by_reuse(graph, reuse)
    return Folding({**rest.folds, **chosen}, **whole)


def make_plan(graph: Graph, folding: Folding, clock_mhz: float = 200.0, family_name: str = "xc7") -> Plan:
    """Schedules and timing of a network for a folding; raises ``FxsimError`` for one that a layer does not allow."""
    known = family(family_name)
    _check_clock(clock_mhz)
    layers = tuple(lower(graph, folding.unroll))
    _check_names(folding.folds, [layer for layer in layers if layer.program is not None])
    _check_interleave(layers, folding.interleave)
    source = _source(graph, layers[0], folding)
    schedules: list[LayerSchedule | None] = []
    for layer in layers:
        if layer.program is None:
            schedules.append(None)
            continue
        try:
            fold, ways = folding.folds.get(layer.name, Fold()), folding.interleave if layer.steps > 1 else 1
            schedules.append(schedule(layer.program, fold, known, clock_mhz, ways))
        except FxsimError as error:
            raise FxsimError(f"layer {layer.name!r}: {error}") from None
    stages = []
    spacing = 1  # cycles between the tokens that arrive
    for layer, plan in zip(layers, schedules, strict=True):
        interval, latency = (1, 0) if plan is None else (plan.interval, plan.latency)
        latency += layer is layers[-1]  # the last buffer's output is registered
        spacing = max(spacing, interval)
        if not layer.return_sequences:
            spacing *= layer.steps
        # As many results as can be under way at once, one that waits to be taken, one whose room is not back yet.
        depth = floor(latency / spacing) + 2
        stages.append(Stage(interval, latency, depth, layer.return_sequences))
    return Plan(
        graph, layers, folding, tuple(schedules), tuple(stages), source, timing(stages, source), known, clock_mhz
    )


def _source(graph: Graph, first: HardLayer, folding: Folding) -> Source:
    """How the input comes in; raises ``FxsimError`` naming the beats that there are."""
    elements, whole = graph.shape[-1], prod(graph.shape)
    beat = elements if folding.beat is None else folding.beat
    legal = sorted({*(size for size in range(1, elements + 1) if elements % size == 0), whole})
    if type(beat) is not int or beat not in legal:
        raise FxsimError(f"input beat must have {', '.join(map(str, legal))} elements, not {show(beat)}")
    vector = whole // first.steps
    if beat > vector:
        return Source(first.steps, folding.interleave, 1, True)
    return Source(first.steps, folding.interleave, vector // beat)


def _check_interleave(layers: tuple[HardLayer, ...], ways: int) -> None:
    if type(ways) is not int or not 1 <= ways <= MOST_WAYS:
        raise FxsimError(f"interleave must be an integer from 1 to {MOST_WAYS}, not {show(ways)}")
    if ways == 1:
        return
    if layers[0].steps == 1:
        raise FxsimError(f"interleave must be 1 for a network without sequences, not {ways}")
    for layer in layers:
        flattens = layer.program is None or any(op.weights.data.ndim == 3 for op in layer.program.dots)
        gives = layer is layers[-1] and layer.return_sequences
        if layer.steps > 1 and (flattens or gives):
            raise FxsimError(f"interleave must be 1, not {ways}, where layer {layer.name!r} joins or gives all steps")


def choices(layer: HardLayer, multiplier: str = "auto") -> list[Fold]:
    """Foldings of a layer from fast to small, without those that cost as much as a faster one."""
    assert layer.program is not None
    found: list[tuple[int, Fold]] = []
    reuse, most = least_reuse(layer.program), products(layer.program)
    while True:
        fold = fold_for_reuse(layer.program, reuse, multiplier)
        cost = fold_multipliers(layer.program, fold)
        if not found or cost < found[-1][0]:
            found.append((cost, fold))
        if reuse >= most:
            return [fold for _, fold in found]
        reuse = min(most, reuse + max(1, reuse // 16))


@dataclass(frozen=True)
class _Option:
    """A fold of a layer: its multipliers, its cycles alone from first beat to last result, and those it is busy for."""

    multipliers: int
    cycles: int
    busy: int
    fold: Fold


def by_budget(
    graph: Graph,
    *,
    multipliers: int | None = None,
    latency: int | None = None,
    interval: int | None = None,
    clock_mhz: float = 200.0,
    family_name: str = "xc7",
    multiplier: str = "auto",
) -> Folding:
    """The fastest folding of at most ``multipliers``, or the smallest of at most ``latency`` or ``interval`` cycles.

    Raises ``FxsimError`` with the attainable value if there is none.
    """
    given = [value for value in (multipliers, latency, interval) if value is not None]
    if len(given) != 1:
        raise FxsimError("give one of multipliers, latency and interval")
    wanted = given[0]
    if type(wanted) is not int or wanted < 1:
        raise FxsimError(f"the budget must be a positive integer, not {show(wanted)}")
    layers = computing(graph)
    known = family(family_name)
    _check_clock(clock_mhz)
    options: list[list[_Option]] = []
    for layer in layers:
        assert layer.program is not None
        row = []
        for fold in choices(layer, multiplier):
            plan = schedule(layer.program, fold, known, clock_mhz)
            cycles = (layer.steps - 1) * plan.interval + plan.latency
            row.append(_Option(plan.multipliers, cycles, layer.steps * plan.interval, fold))
        options.append(row)
    at = [len(row) - 1 for row in options]

    def total() -> int:
        return sum(row[k].multipliers for row, k in zip(options, at, strict=True))

    def reached() -> int | Fraction:
        timing = make_plan(graph, result(), clock_mhz, family_name).timing
        return timing.latency if interval is None else timing.interval

    def result() -> Folding:
        return Folding({layer.name: row[k].fold for layer, row, k in zip(layers, options, at, strict=True)})

    if multipliers is not None and total() > multipliers:
        raise FxsimError(f"multipliers must be at least {total()} (one an engine), not {multipliers}")
    # From the smallest on, always the step that saves most cycles for a multiplier. An interval is that of the layer
    # which is busy for longest, so that only a step of this one saves anything.
    while multipliers is not None or reached() > wanted:
        slowest = max(row[k].busy for row, k in zip(options, at, strict=True))
        best: tuple[float, int, int] | None = None
        for n, row in enumerate(options):
            now = row[at[n]]
            for k in range(at[n]):
                cost = row[k].multipliers - now.multipliers
                gain = now.cycles - row[k].cycles if interval is None else now.busy - row[k].busy
                idle = interval is not None and now.busy < slowest
                if gain <= 0 or idle or (multipliers is not None and total() + cost > multipliers):
                    continue
                rate = gain / max(cost, 1)
                if best is None or rate > best[0]:
                    best = (rate, n, k)
        if best is None:
            break
        at[best[1]] = best[2]
    if multipliers is None and reached() > wanted:
        name = "latency" if interval is None else "interval"
        raise FxsimError(f"{name} must be at least {reached()} cycles at {clock_mhz:g} MHz, not {wanted}")
    return result()
