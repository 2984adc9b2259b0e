# SPDX-License-Identifier: Apache-2.0
"""The best folding for a budget, and the front of all that no other beats. Pure Python.

Every layer has its own list of foldings. What they cost adds up, and so do their cycles but where layers work at the
same time; so the front of a network is made of the layers' fronts, and only what is shown or chosen is planned exactly.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from fxsim.arguments import integer
from fxsim.errors import FxsimError
from fxsim.program.fixed import IntArray
from fxsim.program.graph import Graph
from fxsim.program.program import Program

from ..cost.cost import schedule_cost
from .folding import Folding, Plan, check_interleave, choices, computing, make_plan, slower_inputs
from .folds import Fold, folds, least_reuse, products
from .lower import lower
from .signed_digits import LOGIC
from .target import RESOURCES, Budget, Target

#: Foldings of a network that are kept while layers are joined.
_MOST = 2000


@dataclass(frozen=True)
class Option:
    """A fold of a layer: what it costs, its cycles between tokens, between those of one sequence, and to a result."""

    fold: Fold
    cost: int
    interval: int
    turn: int
    latency: int


@dataclass(frozen=True)
class Front:
    """Foldings from small to fast: the cost of each, its cycles, and which option of each layer it has."""

    cost: IntArray
    cycles: IntArray
    picks: IntArray

    @property
    def arrays(self) -> tuple[IntArray, IntArray, IntArray]:
        """The three."""
        return self.cost, self.cycles, self.picks

    def best(self) -> Front:
        """Those that cost less than every faster one; not all of a great many."""
        order = np.lexsort((self.cycles, self.cost))
        cycles = self.cycles[order]
        keep = np.ones(len(order), bool)
        keep[1:] = cycles[1:] < np.minimum.accumulate(cycles)[:-1]
        order = order[keep]
        if len(order) > _MOST:
            order = order[np.linspace(0, len(order) - 1, _MOST).round().astype(np.int64)]
        return Front(self.cost[order], self.cycles[order], self.picks[order])

    def beside(self, other: Front) -> Front:
        """Each of these with each of other layers; their cycles add up."""
        one, two = np.divmod(np.arange(len(self.cost) * len(other.cost)), len(other.cost))
        picks = np.concatenate([self.picks[one], other.picks[two]], axis=1)
        return Front(self.cost[one] + other.cost[two], self.cycles[one] + other.cycles[two], picks).best()


class _Search:
    """The foldings of a network. ``resource``: what of it is to be small; ``base``: what it has beside folds."""

    def __init__(self, graph: Graph, target: Target, resource: str, base: Folding) -> None:
        check_interleave(lower(graph, base.unroll), base.interleave)
        self.graph, self.target, self.resource, self.base = graph, target, resource, base
        self.layers = computing(graph, base.unroll)
        self.options = []
        for layer in self.layers:
            assert layer.program is not None
            of = (layer.program, layer.return_sequences, base.ways(layer.steps))
            self.options.append(_options(*of, target, resource))

    def front(self, last: bool = True) -> Front:
        """The foldings that no other beats in cost and cycles, to the last result of a sequence or to the first."""
        groups: list[list[int]] = []
        for n, layer in enumerate(self.layers):
            before = self.layers[n - 1]
            if n and before.return_sequences and layer.steps == before.steps > 1:
                groups[-1].append(n)
            else:
                groups.append([n])
        steps = [self.layers[group[0]].steps for group in groups]
        if not last and self.layers[-1].return_sequences:
            steps[-1] = 1
        parts = [_together([self.options[n] for n in group], count) for group, count in zip(groups, steps, strict=True)]
        whole = parts[0]
        for part in parts[1:]:
            whole = whole.beside(part)
        return whole

    def folding(self, picks: Sequence[int]) -> Folding:
        """The folding of one option for each layer."""
        pairs = zip(self.layers, self.options, picks, strict=True)
        return replace(self.base, folds={layer.name: options[pick].fold for layer, options, pick in pairs})

    def plan(self, picks: Sequence[int]) -> Plan:
        """The same, planned."""
        return make_plan(self.graph, self.folding(picks), self.target.clock_mhz, self.target.family.name)

    def used(self, plan: Plan) -> int:
        """How much of the resource a plan takes."""
        if self.resource == "lut":
            return plan.cost.luts
        return plan.dsp if self.resource == "dsp" else plan.multipliers


@lru_cache(maxsize=64)
def _options(program: Program, sequences: bool, ways: int, target: Target, resource: str) -> list[Option]:
    """A layer's foldings from fast to small."""
    found = []
    for one in _folds(program, target.multiplier):
        for fold, plan in slower_inputs(program, one, target, ways):
            cost = plan.multipliers
            if resource != "multipliers":
                estimate = schedule_cost(plan, sequences)
                cost = estimate.dsp if resource == "dsp" else estimate.luts
            found.append(Option(fold, cost, plan.interval, plan.interval * ways, plan.latency))
    return found


def _folds(program: Program, multiplier: str) -> list[Fold]:
    """Foldings worth a look: in logic the fewest multipliers are not the fewest LUTs, so all of some reuses."""
    if multiplier != LOGIC:
        return choices(program, multiplier)
    reuse, most = least_reuse(program), products(program)
    found: dict[Fold, None] = {}
    while True:
        found.update(dict.fromkeys(folds(program, reuse, multiplier)))
        if reuse >= most:
            return list(found)
        reuse = min(most, reuse + max(1, reuse // 2))


def _together(rows: Sequence[Sequence[Option]], steps: int) -> Front:
    """Layers that work on the steps of a sequence at the same time, at the pace of the slowest."""
    fronts = []
    for pace in sorted({option.turn for row in rows for option in row}) if len(rows) > 1 else (None,):
        joined: Front | None = None
        for row in rows:
            kept = [n for n, option in enumerate(row) if pace is None or option.turn <= pace]
            cycles = [row[n].latency + (steps - 1) * row[n].turn * (pace is None) for n in kept]
            part = Front(
                np.array([row[n].cost for n in kept], np.int64), np.array(cycles, np.int64), np.array(kept)[:, None]
            )
            joined = part.best() if joined is None else joined.beside(part)
            if not len(joined.cost):
                break
        assert joined is not None
        if len(joined.cost):
            fronts.append(Front(joined.cost, joined.cycles + (steps - 1) * (pace or 0), joined.picks))
    return Front(*(np.concatenate(each) for each in zip(*(one.arrays for one in fronts), strict=True))).best()


def pareto(graph: Graph, target: Target, count: int = 24) -> list[Plan]:
    """Plans of which none beats another in cycles and cost, from fast to small: about ``count``, evenly spread.

    The cost is that of multipliers, or of LUTs where all multipliers are made of these; cycles are those to the last
    result of a sequence.
    """
    count = integer(count, "count", 2)
    search = _Search(graph, target, target.scarce, Folding({}))
    front = search.front()
    # Evenly on a logarithmic scale of cycles.
    wanted = np.geomspace(front.cycles[0], front.cycles[-1], count)
    places = sorted({int(np.abs(front.cycles - cycles).argmin()) for cycles in wanted})
    plans = [search.plan(front.picks[n].tolist()) for n in reversed(places)]
    return [plan for plan in plans if not any(_beats(other, plan, search) for other in plans)]


def _beats(one: Plan, two: Plan, search: _Search) -> bool:
    ours, theirs = ((plan.timing.latency, plan.timing.interval, search.used(plan)) for plan in (one, two))
    return ours != theirs and all(a <= b for a, b in zip(ours, theirs, strict=True))


def by_budget(
    graph: Graph,
    *,
    multipliers: int | None = None,
    dsp: int | None = None,
    lut: int | None = None,
    latency: int | None = None,
    interval: int | None = None,
    clock_mhz: float = 200.0,
    family_name: str = "xc7",
    multiplier: str = "auto",
    base: Folding | None = None,
) -> Folding:
    """The fastest folding of at most so many multipliers, DSP blocks or LUTs, or the smallest of so many cycles.

    ``latency``: cycles from the first input to the first result; ``interval``: between sequences. ``base`` says what
    is to be interleaved, unrolled and a beat. Raises ``FxsimError`` with the attainable value if there is none.
    """
    budgets = {"multipliers": multipliers, "dsp": dsp, "lut": lut, "latency": latency, "interval": interval}
    given = {name: value for name, value in budgets.items() if value is not None}
    if len(given) != 1:
        raise FxsimError("give one of multipliers, dsp, lut, latency and interval")
    ((what, most),) = given.items()
    target = Target.of(clock_mhz, family_name, multiplier)
    return for_budget(graph, Budget(what, most), target, base or Folding({}))


def for_budget(graph: Graph, budget: Budget, target: Target, base: Folding) -> Folding:
    """:func:`by_budget` for a target."""
    search = _Search(graph, target, budget.what if budget.what in RESOURCES else target.scarce, base)
    if budget.what == "interval":
        return _in_interval(search, budget)
    front = search.front(last=False)
    if budget.what == "latency":
        return _in_latency(search, front, budget)
    # What a plan takes beside its layers is small, but counts; LUTs of layers on their own are a little too many, for
    # not all bits of what comes before differ.
    most = budget.most * 1.1 if budget.what == "lut" else budget.most
    place = max(int(np.searchsorted(front.cost, most, side="right")) - 1, 0)
    while place >= 0:
        plan = search.plan(front.picks[place].tolist())
        if search.used(plan) <= budget.most:
            return plan.folding
        place -= 1
    raise budget.too_small(search.used(search.plan(front.picks[0].tolist())), target)


def _in_latency(search: _Search, front: Front, budget: Budget) -> Folding:
    """The smallest that is quick enough, by exact cycles."""

    def cycles(place: int) -> int:
        return search.plan(front.picks[place].tolist()).timing.latency

    place = bisect_left(range(len(front.cost)), -budget.most, key=lambda place: -cycles(place))
    if place == len(front.cost):
        raise budget.too_small(cycles(place - 1), search.target)
    return search.folding(front.picks[place].tolist())


def _in_interval(search: _Search, budget: Budget) -> Folding:
    """Of each layer the smallest that keeps the pace."""
    limit = budget.most
    while True:
        picks = []
        for layer, row in zip(search.layers, search.options, strict=True):
            enough = [n for n, option in enumerate(row) if layer.steps * option.interval <= limit] or [
                min(range(len(row)), key=lambda n: row[n].interval)
            ]
            picks.append(min(enough, key=lambda n: (row[n].cost, row[n].interval)))
        reached = search.plan(picks).timing.interval
        if reached <= budget.most:
            return search.folding(picks)
        chosen = zip(search.layers, search.options, picks, strict=True)
        slowest = max(layer.steps * row[n].interval for layer, row, n in chosen)
        if slowest > limit:
            raise budget.too_small(reached, search.target)
        limit = slowest - 1
