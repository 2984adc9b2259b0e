# SPDX-License-Identifier: Apache-2.0
"""How many multipliers each layer gets: chosen by hand, by reuse, or by a budget. Pure Python."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from math import floor, prod

from fxsim.errors import FxsimError, show
from fxsim.graph import Graph
from fxsim.program import Program

from .cost import Cost, plan_cost
from .delays import Family, family
from .folds import Fold, fold_for_reuse, fold_multipliers, input_products, least_reuse, products
from .lower import WHOLE, HardLayer, lower
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

    def ways(self, steps: int) -> int:
        """Sequences that take turns in a layer of so many steps."""
        return self.interleave if steps > 1 else 1

    def to_json(self) -> dict[str, object]:
        """As written to a folding file and the manifest."""
        text: dict[str, object] = {
            name: {key: value for key, value in asdict(fold).items() if value is not None}
            for name, fold in self.folds.items()
        }
        whole = {name: getattr(self, name) for name in WHOLE if getattr(self, name) != getattr(Folding, name)}
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

    @cached_property
    def cost(self) -> Cost | None:
        """Cells, estimated; None for a family that is not calibrated."""
        return plan_cost(self)

    @property
    def dsp(self) -> int:
        """DSP blocks of all layers."""
        return self.cost.dsp if self.cost is not None else sum(s.dsp for s in self.schedules if s is not None)


def computing(graph: Graph, unroll: int = 1) -> list[HardLayer]:
    """The hardware layers that have a folding."""
    return [layer for layer in lower(graph, unroll) if layer.program is not None]


def by_reuse(
    graph: Graph,
    reuse: int | Mapping[str, int],
    multiplier: str = "auto",
    *,
    clock_mhz: float = 200.0,
    family_name: str = "xc7",
    base: Folding | None = None,
) -> Folding:
    """Each layer's engines take at most ``reuse`` cycles a step, with the fewest multipliers.

    A layer with fewer products than that has one multiplier an engine. ``multiplier`` says which constant products need
    none (``constants.CHOICES``). Above the least reuse, the products of a recurrent layer's input take as many cycles
    as the loop does at that clock, for they would only wait. ``base`` says what is to be interleaved, unrolled and a
    beat; unrolled, a layer takes a sequence every ``reuse`` cycles. Raises ``FxsimError`` naming the legal values.
    """
    base = base or Folding({})
    known, chosen = family(family_name), _by_reuse(graph, reuse, multiplier, base.unroll).folds
    check_clock(clock_mhz)
    check_interleave(lower(graph, base.unroll), base.interleave)
    folds = {}
    for layer in computing(graph, base.unroll):
        assert layer.program is not None
        fold, least = chosen[layer.name], _least(layer)
        wanted = reuse.get(layer.name, least) if isinstance(reuse, Mapping) else reuse
        if wanted > least:
            fold = slower_inputs(layer.program, fold, known, clock_mhz, base.ways(layer.steps))[-1][0]
        folds[layer.name] = fold
    return replace(base, folds=folds)


def slower_inputs(
    program: Program, fold: Fold, known: Family, clock_mhz: float, ways: int
) -> list[tuple[Fold, LayerSchedule]]:
    """The fold, and those with slower products of the input: each with fewer multipliers, none with a slower loop."""
    found = [(fold, schedule(program, fold, known, clock_mhz, ways))]
    if not input_products(program):
        return found
    loop = found[0][1].interval
    for cycles in range(fold.reuse + 1, loop + 1):
        slow = replace(fold, input=cycles)
        if fold_multipliers(program, slow) < found[-1][1].multipliers:
            # Engines whose results come together may not start together, so that one may end after the loop.
            plan = schedule(program, slow, known, clock_mhz, ways)
            if plan.interval > loop:
                break
            found.append((slow, plan))
    return found


def _by_reuse(graph: Graph, reuse: int | Mapping[str, int], multiplier: str = "auto", unroll: int = 1) -> Folding:
    """The same with one number of cycles for all engines of a layer."""
    layers = computing(graph, unroll)
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


def check_clock(clock_mhz: float) -> None:
    """Raise ``FxsimError`` for a clock that no family has."""
    if not isinstance(clock_mhz, int | float) or isinstance(clock_mhz, bool) or not 1 <= clock_mhz <= 2000:
        raise FxsimError(f"clock must be from 1 to 2000 MHz, not {show(clock_mhz)}")


def from_json(graph: Graph, text: str, where: str = "folding") -> Folding:
    """A folding file: ``{"layer": {"beats": G, "cycles": B}}`` or ``{"layer": {"reuse": R}}``.

    Beside beats and cycles may stand ``"multiplier"``: auto, dsp or lut, and ``"input"``: cycles a step of the products
    of a recurrent layer's input; beside the layers may stand ``"interleave"``, ``"unroll"`` and ``"beat"``. Layers that
    are not named are fully parallel.
    Raises ``FxsimError`` for anything else.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FxsimError(f"{where}: not JSON ({error})") from None
    whole = {name: data.pop(name) for name in WHOLE if name in data} if isinstance(data, dict) else {}
    if not isinstance(data, dict) or not all(isinstance(v, dict) for v in data.values()):
        raise FxsimError(f'{where}: must be {{"layer": {{"beats": G, "cycles": B}}}} or {{"layer": {{"reuse": R}}}}')
    unroll = whole.get("unroll", 1)
    _check_names(data, computing(graph, unroll))
    chosen: dict[str, Fold] = {}
    reuse: dict[str, int] = {}
    for name, value in data.items():
        if set(value) == {"reuse"}:
            reuse[name] = value["reuse"]
        elif set(value) - {"multiplier", "input"} == {"beats", "cycles"} and all(
            type(v) is (str if key == "multiplier" else int) for key, v in value.items()
        ):
            chosen[name] = Fold(**value)
        else:
            raise FxsimError(f"{where}: layer {show(name)} must have reuse, or beats and cycles, not {show(value)}")
    rest = _by_reuse(graph, reuse, unroll=unroll)
    return Folding({**rest.folds, **chosen}, **whole)


def make_plan(graph: Graph, folding: Folding, clock_mhz: float = 200.0, family_name: str = "xc7") -> Plan:
    """Schedules and timing of a network for a folding; raises ``FxsimError`` for one that a layer does not allow."""
    known = family(family_name)
    check_clock(clock_mhz)
    layers = lower(graph, folding.unroll)
    _check_names(folding.folds, [layer for layer in layers if layer.program is not None])
    check_interleave(layers, folding.interleave)
    source = _source(graph, layers[0], folding)
    schedules: list[LayerSchedule | None] = []
    for layer in layers:
        if layer.program is None:
            schedules.append(None)
            continue
        try:
            fold = folding.folds.get(layer.name, Fold())
            schedules.append(schedule(layer.program, fold, known, clock_mhz, folding.ways(layer.steps)))
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
        graph, tuple(layers), folding, tuple(schedules), tuple(stages), source, timing(stages, source), known, clock_mhz
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


def check_interleave(layers: Sequence[HardLayer], ways: int) -> None:
    """Raise ``FxsimError`` where so many sequences cannot take turns."""
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


@lru_cache(maxsize=64)
def choices(program: Program, multiplier: str = "auto") -> list[Fold]:
    """Foldings of a layer from fast to small, without those that need as many multipliers as a faster one."""
    found: list[tuple[int, Fold]] = []
    reuse, most = least_reuse(program), products(program)
    while True:
        fold = fold_for_reuse(program, reuse, multiplier)
        cost = fold_multipliers(program, fold)
        if not found or cost < found[-1][0]:
            found.append((cost, fold))
        if reuse >= most:
            return [fold for _, fold in found]
        reuse = min(most, reuse + max(1, reuse // 16))
