# SPDX-License-Identifier: Apache-2.0
"""How many multipliers each layer gets: chosen by hand, by reuse, or by a budget. Pure Python."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from math import floor, prod
from typing import Any

from fxsim.arguments import index, integer, settle
from fxsim.errors import FxsimError, show
from fxsim.pages.listing import Column, Listing, Summary
from fxsim.program.graph import Graph
from fxsim.program.program import Program
from fxsim.system.forks import cached_property

from ..cost.cost import Cost, plan_cost
from .delays import Family, family
from .folds import Fold, fold_for_reuse, fold_multipliers, input_products, least_reuse, products
from .lower import WHOLE, HardLayer, lower
from .schedule import LayerSchedule
from .scheduler import schedule
from .target import CLOCK_MHZ, FAMILY, Target, check_clock
from .timing import Source, Stage, Timing, timing
from .widths import beats, check_widths

#: What tells where a sequence ends.
FRAMINGS = ("tlast", "count")
#: Most sequences that take turns.
MOST_WAYS = 64


@dataclass(frozen=True)
class Folding:
    """A fold for each hardware layer that computes, by its name.

    ``interleave``: how many sequences take turns in the recurrent layers. ``unroll``: 1, or the number of steps, each
    of which then has hardware of its own. ``beat``: elements of an input beat; those of a step by default.

    ``clock_mhz``, ``family``, ``digest``, ``framing``: what it was planned for, the digest being that of the graph;
    None where it was made by hand. They make no two foldings different, but :func:`make_plan` and an export use them,
    and refuse others.
    """

    folds: Mapping[str, Fold]
    interleave: int = 1
    unroll: int = 1
    beat: int | None = None
    clock_mhz: float | None = field(default=None, compare=False)
    family: str | None = field(default=None, compare=False)
    digest: str | None = field(default=None, compare=False)
    framing: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        settle(self, *WHOLE)
        if self.clock_mhz is not None:
            object.__setattr__(self, "clock_mhz", check_clock(self.clock_mhz))

    def ways(self, steps: int) -> int:
        """Sequences that take turns in a layer of so many steps."""
        return self.interleave if steps > 1 else 1

    def to_json(self) -> dict[str, object]:
        """As written to the manifest: the layers, and beside them what is of the whole network and not as usual."""
        return {**self._layers(), **self._whole(WHOLE)}

    def to_file(self) -> str:
        """The text of a folding file, with what it was planned for; :func:`from_json` reads it."""
        return json.dumps({**self._whole((*_PLANNED, *WHOLE)), "layers": self._layers()}, indent=1) + "\n"

    def _layers(self) -> dict[str, object]:
        return {
            name: {key: value for key, value in asdict(fold).items() if value is not None}
            for name, fold in self.folds.items()
        }

    def _whole(self, names: Sequence[str]) -> dict[str, object]:
        return {name: getattr(self, name) for name in names if getattr(self, name) != getattr(Folding, name)}


_COLUMNS = (
    Column("layer", left=True), Column("reuse"), Column("beats", rank=3), Column("cycles", rank=3),
    Column("multipliers"), Column("interval", rank=1), Column("latency", rank=2),
)  # fmt: skip


@dataclass(frozen=True, repr=False)
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
    def cost(self) -> Cost:
        """Cells, estimated."""
        return plan_cost(self)

    @property
    def dsp(self) -> int:
        """DSP blocks of all layers."""
        return self.cost.dsp

    def told(self) -> str:
        """Size and speed in a line."""
        at = f"{self.timing.latency / self.clock_mhz:.3f} us at {self.clock_mhz:g} MHz, {self.family.name}"
        return (
            f"{self.multipliers} multipliers, latency {self.timing.latency} cycles ({at}), "
            f"interval {self.timing.interval} cycles"
        )

    def summary(self) -> Summary:
        """Cycles and cells, and the folding of each layer, for people, notebooks and programs."""
        timing, cost = self.timing, self.cost.to_json()
        facts = {
            "name": self.graph.name,
            "digest": self.graph.digest,
            "clock_mhz": self.clock_mhz,
            "family": self.family.name,
            "latency": timing.latency,
            "latency_after_last": timing.latency_after_last,
            "interval": timing.interval,
            "multipliers": self.multipliers,
            **cost,
            "dsp": self.dsp,
            "folding": self.folding.to_json(),
        }
        rows = [
            (layer.name, one.fold.reuse, one.fold.beats, one.fold.cycles, one.multipliers, one.interval, one.latency)
            for layer, one in zip(self.layers, self.schedules, strict=True)
            if one is not None
        ]
        return Summary(repr(self), {"plan": facts}, [Listing("layers", "Layers", _COLUMNS, rows)])

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain values."""
        return self.summary().to_dict()

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def __repr__(self) -> str:
        return f"Plan of {self.graph.name}: {self.told()}"


def computing(graph: Graph, unroll: int = 1) -> list[HardLayer]:
    """The hardware layers that have a folding."""
    return [layer for layer in lower(graph, unroll) if layer.program is not None]


#: Fields of a folding that say what it was planned for.
_PLANNED = ("digest", "clock_mhz", "family", "framing")


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
    return for_reuse(graph, reuse, Target.of(clock_mhz, family_name, multiplier), base or Folding({}))


def for_reuse(graph: Graph, reuse: int | Mapping[str, int], target: Target, base: Folding) -> Folding:
    """:func:`by_reuse` for a target."""
    chosen = _by_reuse(graph, reuse, target.multiplier, base.unroll).folds
    check_interleave(lower(graph, base.unroll), base.interleave)
    folds = {}
    for layer in computing(graph, base.unroll):
        assert layer.program is not None
        fold, least = chosen[layer.name], _least(layer)
        wanted = reuse.get(layer.name, least) if isinstance(reuse, Mapping) else reuse
        if wanted > least:
            fold = slower_inputs(layer.program, fold, target, base.ways(layer.steps))[-1][0]
        folds[layer.name] = fold
    return replace(base, folds=folds)


def slower_inputs(program: Program, fold: Fold, target: Target, ways: int) -> list[tuple[Fold, LayerSchedule]]:
    """The fold, and those with slower products of the input: each with fewer multipliers, none with a slower loop."""
    found = [(fold, schedule(program, fold, target.family, target.clock_mhz, ways))]
    if not input_products(program):
        return found
    loop = found[0][1].interval
    for cycles in range(fold.reuse + 1, loop + 1):
        slow = replace(fold, input=cycles)
        if fold_multipliers(program, slow) < found[-1][1].multipliers:
            # Engines whose results come together may not start together, so that one may end after the loop.
            plan = schedule(program, slow, target.family, target.clock_mhz, ways)
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
        wanted = dict.fromkeys(
            (layer.name for layer in layers), integer(reuse, "reuse", 1, most, note=" (one multiplier)")
        )
    chosen = {}
    for layer in layers:
        assert layer.program is not None
        value = wanted[layer.name]
        most = products(layer.program)
        if isinstance(reuse, Mapping):
            value = integer(value, f"reuse of layer {layer.name!r}", 1, most)
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


def check_framing(framing: object) -> str:
    """Give the framing back; raises ``FxsimError`` for one that there is not."""
    if framing not in FRAMINGS:
        raise FxsimError(f"framing must be one of {', '.join(FRAMINGS)}, not {show(framing)}")
    return str(framing)


def from_json(graph: Graph, text: str, where: str = "folding") -> Folding:
    """A folding file: ``{"layers": {"name": {"beats": G, "cycles": B}}}`` or ``{"layers": {"name": {"reuse": R}}}``.

    Beside beats and cycles may stand ``"multiplier"``: auto, dsp or lut, and ``"input"``: cycles a step of the products
    of a recurrent layer's input. Beside the layers may stand ``"interleave"``, ``"unroll"`` and ``"beat"``, and what
    the folding was planned for: ``"digest"`` (of the graph), ``"clock_mhz"``, ``"family"`` and ``"framing"``. Layers
    that are not named are fully parallel. The layers may also stand by themselves, ``{"name": {"reuse": R}}``, with
    interleave, unroll and beat beside them.

    Raises ``FxsimError`` for anything else, and for a file that was planned for another graph.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FxsimError(f"{where}: not JSON ({error})") from None
    layers, whole = _parts(data)
    if layers is None or not all(isinstance(v, dict) for v in layers.values()):
        raise FxsimError(
            f'{where}: must be {{"layers": {{"name": {{"beats": G, "cycles": B}}}}}}, or "reuse": R for beats and '
            f"cycles; beside the layers may stand {', '.join((*_PLANNED, *WHOLE))}"
        )
    whole = _planned(graph, whole, where)
    unroll = whole.get("unroll", 1)
    _check_names(layers, computing(graph, unroll))
    chosen: dict[str, Fold] = {}
    reuse: dict[str, int] = {}
    for name, value in layers.items():
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


def _parts(data: Any) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """A file's layers, None where it has none that could be, and what stands beside them."""
    if not isinstance(data, dict):
        return None, {}
    inner = data.get("layers")
    # A layer may be named "layers", too, but then it has a reuse, or beats and cycles.
    if isinstance(inner, dict) and all(isinstance(value, dict) for value in inner.values()):
        rest = {name: value for name, value in data.items() if name != "layers"}
        return (inner if set(rest) <= {*_PLANNED, *WHOLE} else None), rest
    whole = {name: data[name] for name in WHOLE if name in data and not isinstance(data[name], dict)}
    return {name: value for name, value in data.items() if name not in whole}, whole


def _planned(graph: Graph, whole: dict[str, Any], where: str) -> dict[str, Any]:
    """The same with the family's own name; raises ``FxsimError`` for what no plan has, and for another graph."""
    try:
        if "clock_mhz" in whole:
            check_clock(whole["clock_mhz"])
        if "family" in whole:
            whole = whole | {"family": family(whole["family"]).name}
        if "framing" in whole:
            check_framing(whole["framing"])
    except FxsimError as error:
        raise FxsimError(f"{where}: {error}") from None
    if whole.get("digest", graph.digest) != graph.digest:
        raise FxsimError(
            f"{where}: was planned for another network or other formats (digest {whole['digest']!s:.12}, not "
            f"{graph.digest:.12}): plan again, or take the digest out of the file"
        )
    return whole


def make_plan(graph: Graph, folding: Folding, clock_mhz: float | None = None, family_name: str | None = None) -> Plan:
    """Schedules and timing of a network for a folding.

    ``clock_mhz`` and ``family_name`` are those that the folding was planned for by default, else 200 MHz and xc7.
    Raises ``FxsimError`` for others than it was planned for, and for a folding that a layer does not allow.
    """
    clock_mhz = agreed("clock_mhz", clock_mhz, folding.clock_mhz, CLOCK_MHZ)
    known = family(agreed("family", family_name and family(family_name).name, folding.family, FAMILY))
    if folding.digest not in (None, graph.digest):
        digests = f"digest {folding.digest:.12}, not {graph.digest:.12}"
        raise FxsimError(f"the folding was planned for another graph ({digests}): plan again")
    clock_mhz = check_clock(clock_mhz)
    layers = lower(graph, folding.unroll)
    _check_names(folding.folds, [layer for layer in layers if layer.program is not None])
    check_interleave(layers, folding.interleave)
    source = _source(graph, layers[0], folding)
    check_widths(graph, layers, graph.entry[-1] if folding.beat is None else folding.beat, folding.interleave)
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
    if source.spread:
        # A layer that takes steps apart from each other need not have the next sequence at once.
        source = replace(source, eager=source.ways > 1 or schedules[0] is None or schedules[0].interval == 1)
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


def agreed(name: str, given: Any, planned: Any, usual: Any) -> Any:
    """What is given, what a folding was planned for, or the usual; raises ``FxsimError`` where the two differ."""
    if given is None:
        return usual if planned is None else planned
    if planned is not None and given != planned:
        raise FxsimError(
            f"{name} must be {planned}, for which the folding was planned, not {show(given)}: "
            "leave it out or plan again"
        )
    return given


def _source(graph: Graph, first: HardLayer, folding: Folding) -> Source:
    """How the input comes in; raises ``FxsimError`` naming the beats that there are."""
    elements, whole = graph.entry[-1], prod(graph.shape)
    beat = elements if folding.beat is None else folding.beat
    legal = beats(graph)
    if index(beat) not in legal:
        raise FxsimError(f"input beat must have {', '.join(map(str, legal))} elements, not {show(beat)}")
    vector = whole // first.steps
    if beat > vector:
        return Source(first.steps, folding.interleave, 1, True)
    return Source(first.steps, folding.interleave, vector // beat)


def check_interleave(layers: Sequence[HardLayer], ways: int) -> None:
    """Raise ``FxsimError`` where so many sequences cannot take turns."""
    if integer(ways, "interleave", 1, MOST_WAYS) == 1:
        return
    if layers[0].steps == 1:
        raise FxsimError(f"interleave must be 1 for a network without sequences, not {ways}")
    for layer in layers:
        flattens = layer.program is None or any(op.weights.data.ndim == 3 for op in layer.program.dots)
        gives = layer is layers[-1] and layer.return_sequences
        if layer.steps > 1 and (flattens or gives):
            raise FxsimError(
                f"interleave must be 1, not {ways}, because layer {layer.name!r} joins all steps or "
                "gives a result for each"
            )


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
