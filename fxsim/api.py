# SPDX-License-Identifier: Apache-2.0
"""The verbs: load, plan, export, check, synth. The command line is a thin layer over them.

Whatever builds or tests hardware is imported inside the function that needs it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import index, integer
from .checks import check as check
from .errors import FxsimError, show
from .extras import importing, require
from .families import canonical
from .files.exported import complete
from .importers import from_keras, read_model
from .importers.source import Source
from .pages import check_results
from .pages.listing import Summary
from .pages.page import Part
from .pages.plan_table import Plans
from .program.fixed import Fixed
from .program.graph import SUFFIX, Graph
from .quantization.presets import quantize

if TYPE_CHECKING:
    from rtl.plan.folding import Folding, Plan

Config = Mapping[str, Any] | str | os.PathLike[str]


def read_source(model: Any, weights: str | os.PathLike[str] | None = None, *, steps: int | None = None) -> Source:
    """The float network of a model file (.keras, .h5, .json with ``weights``) or of a live Keras model.

    ``steps``: the length of a sequence, for a model whose time axis is None; another one's must be that.
    """
    if isinstance(model, Source):
        if steps is not None and (len(model.shape) != 2 or model.shape[0] != integer(steps, "steps", 1)):
            raise FxsimError(f"steps must be left out, or those of the input {model.shape}, not {show(steps)}")
        return model
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        if path.suffix == SUFFIX:
            raise FxsimError(f"{path}: is a quantised graph; this needs the trained model")
        # A design is named after its file: frameworks name models "sequential_7".
        return replace(read_model(path, weights, steps), name=path.stem)
    if weights is not None:
        raise FxsimError("weights must be given for an architecture .json only")
    return from_keras(model, steps)


def load(
    model: Any,
    *,
    weights: str | os.PathLike[str] | None = None,
    precision: Fixed | str | None = None,
    config: Config | None = None,
    preset: str | None = None,
    table_size: int | None = None,
    sums: str | None = None,
    steps: int | None = None,
) -> Graph:
    """A quantised network, ready to simulate and to build.

    Parameters
    ----------
    model : path or Keras model
        .keras, .h5, an architecture .json with ``weights``, a saved .fx graph, or a live Keras model.
    weights : path, optional
        HDF5 weights of an architecture .json.
    precision, config, preset, table_size, sums
        As for :func:`fxsim.quantize`. A .fx graph has its formats and tables already and refuses all five.
    steps : int, optional
        Length of a sequence, for a model whose time axis is None. A .fx graph has its own and refuses it.

    Raises
    ------
    FxsimError
        The file is damaged, the network is not one that fxsim expresses exactly, or an option is not legal.
    """
    if isinstance(model, str | os.PathLike) and Path(model).suffix == SUFFIX:
        if any(option is not None for option in (weights, precision, config, preset, table_size, sums, steps)):
            raise FxsimError(
                f"{model}: has its weights, formats, tables and steps; "
                "give no weights, precision, config, preset, table_size, sums or steps"
            )
        return Graph.load(model)
    source = read_source(model, weights, steps=steps)
    return quantize(source, precision=precision, config=config, preset=preset, table_size=table_size, sums=sums)


def plan(
    graph: Graph,
    *,
    multipliers: int | None = None,
    dsp: int | None = None,
    lut: int | None = None,
    latency: int | None = None,
    interval: int | None = None,
    reuse: int | Mapping[str, int] | None = None,
    clock_mhz: float = 200.0,
    family: str = "xc7",
    multiplier: str = "auto",
    interleave: int = 1,
    unroll: int = 1,
    input_beat: str | int | None = None,
    framing: str | None = None,
) -> Folding:
    """The fastest folding of at most so many ``multipliers``, DSP blocks or LUTs, the smallest of at most ``latency``
    cycles or of a sequence each ``interval`` cycles, or that of a reuse.

    Exactly one of the six. ``multiplier``: how weights that never change are multiplied: by a DSP block ("dsp"), by
    shifting and adding ("lut"), or by what is cheaper ("auto"). ``interleave``, ``unroll``, ``input_beat`` and
    ``framing`` are those of :func:`export`. The folding remembers what it was planned for. Raises ``FxsimError`` with
    the attainable value if there is none.
    """
    with importing("plan", "rtl"):
        from rtl.plan.choice import choose, given
        from rtl.plan.folding import Folding, check_framing
        from rtl.plan.target import Target

    _check_graph(graph)
    budgets = {"multipliers": multipliers, "dsp": dsp, "lut": lut, "latency": latency, "interval": interval}
    choices = given(**budgets, reuse=reuse)
    if len(choices) != 1:
        raise FxsimError(f"a plan needs exactly one of {', '.join(budgets)} and reuse")
    base = Folding({}, interleave, unroll, _beat(graph, input_beat))
    chosen = choose(graph, choices.popitem(), Target.of(clock_mhz, family, multiplier), base)
    return chosen if framing is None else replace(chosen, framing=check_framing(framing))


def pareto(
    graph: Graph, *, clock_mhz: float = 200.0, family: str = "xc7", multiplier: str = "auto", count: int = 24
) -> Plans:
    """Plans of which none beats another in cycles and multipliers, about ``count`` from the fastest to the smallest.

    A list with a picture and a table (:class:`fxsim.pages.plan_table.Plans`). Each plan has ``folding``, ``timing``
    and ``cost`` (estimated cells; None for ecp5). Options as for :func:`plan`.
    """
    with importing("plan", "rtl"):
        from rtl.plan.search import pareto as front
        from rtl.plan.target import Target

    _check_graph(graph)
    return Plans(front(graph, Target.of(clock_mhz, family, multiplier), count))


def _beat(graph: Graph, input_beat: str | int | None) -> int | None:
    """Elements of an input beat."""
    beats = {"step": graph.entry[-1], "sequence": math.prod(graph.shape)}
    if input_beat is None:
        return None
    if isinstance(input_beat, str) and input_beat in beats:
        return beats[input_beat]
    beat = index(input_beat)
    if beat is None:
        raise FxsimError(f"input beat must be step, sequence or a number of elements, not {show(input_beat)}")
    return beat


@dataclass(frozen=True, repr=False)
class Ip:
    """An exported design: its folder, what its manifest says, and the plan it was built from."""

    folder: Path
    manifest: dict[str, Any]
    plan: Plan

    @property
    def latency_us(self) -> float:
        """Microseconds from the first input beat to the first output beat."""
        return float(self.manifest["timing"]["latency"] / self.manifest["clock_mhz"])

    @property
    def page(self) -> Path:
        """The folder's report.html; check and synth add what they find to it."""
        return self.folder / check_results.REPORT

    def summary(self) -> Summary:
        """The plan it was built from, for people, notebooks and programs."""
        return replace(self.plan.summary(), heading=repr(self))

    def to_dict(self) -> dict[str, Any]:
        """The manifest, and beside it the folder."""
        return {"folder": str(self.folder), **self.manifest}

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def __repr__(self) -> str:
        return f"Ip {self.manifest['top']} in {self.folder}: {self.plan.told()}"


def export(
    graph: Graph,
    folder: str | os.PathLike[str],
    *,
    folding: Folding | str | os.PathLike[str] | None = None,
    reuse: int | Mapping[str, int] | None = None,
    multipliers: int | None = None,
    dsp: int | None = None,
    lut: int | None = None,
    latency: int | None = None,
    interval: int | None = None,
    clock_mhz: float | None = None,
    family: str | None = None,
    multiplier: str | None = None,
    interleave: int | None = None,
    unroll: int | None = None,
    input_beat: str | int | None = None,
    framing: str | None = None,
    top: str | None = None,
    accuracy: Sequence[Part] = (),
    large: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Ip:
    """Write a design with its manifest, graph and golden vectors into a folder, all of it or nothing.

    Parameters
    ----------
    graph : Graph
        What to build.
    folder : path
        New, empty, or an earlier export, whose files are replaced: only those that fxsim wrote. What the user put
        there stays; a file that the user changed is kept under another name, with a ``UserWarning``.
    folding, reuse, multipliers, dsp, lut, latency, interval
        At most one of: a folding (or a file with one), cycles a step, a budget of multipliers, of DSP blocks, of LUTs
        (as estimated), of cycles to the first result, or of cycles a sequence. Without any, every layer is as parallel
        as it can be.
    clock_mhz, family
        What the pipeline registers are placed for: "xc7" (or "artix7", "kintex7", "spartan7", "virtex7", "zynq7000"),
        "xcu" ("kintexu", "virtexu"), "xcup" ("artixup", "kintexup", "virtexup", "zynqup") or "ecp5". The delays are
        those of speed grade -2 (``fxsim.families``), so a slower grade reaches a lower clock. By default what the
        folding was planned for, else 200 MHz and xc7.
    multiplier : {"auto", "dsp", "lut"}, optional
        How weights that never change are multiplied, as for :func:`plan`; "auto" by default. Not with a folding, which
        says it itself.
    interleave, unroll : int, optional
        How many sequences take turns in the recurrent layers; how many copies of the cell there are, 1 or one for each
        step. Those of the folding, or 1, by default.
    input_beat : {"step", "sequence"} or int, optional
        What one input beat holds: a time step, a whole sequence, or so many elements of a step. That of the folding,
        or a step, by default.
    framing : {"tlast", "count"}, optional
        What ends a sequence on the input: a beat with TLAST, which is an error anywhere else, or the number of its
        beats. With "count" TLAST ends packets of any number of sequences, as DMA engines send them; the last result of
        the sequence in which it came carries TLAST. By default what the folding was planned for, else "tlast".
    top : str, optional
        Name of the top module; made from the graph's name by default.
    accuracy : sequence of fxsim.pages.page.Part, optional
        How well the network does its work, for the folder's report.html.
    large : bool
        Whether a design may have more than ``rtl.cost.size.MOST_MULTIPLIERS`` multipliers or ``MOST_LUTS`` LUTs, which
        takes minutes to write; without it, such a design is refused with its size, unless a budget of multipliers, DSP
        blocks or LUTs has said how large it may be.
    progress : callable, optional
        Called with steps done and steps in all.

    Raises
    ------
    FxsimError
        An option is not legal, or contradicts the folding: another clock or family than it was planned for, another
        graph, another interleave, unroll or beat than it has.
    """
    with importing("export", "rtl"):
        from rtl.plan.choice import choose, complete_folding, given, one_of
        from rtl.plan.folding import FRAMINGS, Folding, agreed, check_framing, make_plan
        from rtl.plan.names import default_top, top_name
        from rtl.plan.target import RESOURCES, Target

    _check_graph(graph)
    require("export", "rtl")
    with importing("export"):
        from rtl.cost.size import check_size
        from rtl.export.write import write
    budgets = {"multipliers": multipliers, "dsp": dsp, "lut": lut, "latency": latency, "interval": interval}
    choice = one_of({"folding": folding, "reuse": reuse, **budgets})
    whole = given(interleave=interleave, unroll=unroll, beat=_beat(graph, input_beat))
    if folding is not None:
        chosen = complete_folding(graph, folding, multiplier, whole)
    else:
        target = Target.of(**given(clock_mhz=clock_mhz, family_name=family, multiplier=multiplier))
        chosen = choose(graph, choice, target, Folding({}, **whole))
    planned = make_plan(graph, chosen, clock_mhz, family)
    framing = check_framing(agreed("framing", framing, chosen.framing, FRAMINGS[0]))
    check_size(planned, large or (choice is not None and choice[0] in RESOURCES))
    top = default_top(graph.name) if top is None else top_name(top)
    facts = write(folder, planned, top, framing, accuracy, progress)
    return Ip(Path(folder), facts, planned)


def _check_graph(graph: object) -> None:
    if not isinstance(graph, Graph):
        raise FxsimError(f"graph must be a Graph, as fxsim.load gives it, not {type(graph).__name__}")


def synth(
    folder: str | os.PathLike[str], *, family: str | None = None, route: bool = False, timing: bool = False
) -> dict[str, Any]:
    """Cell counts of an exported folder from Yosys, also written to ``synth_<family>.json`` in it.

    ``family`` is that of the export by default. ``route`` also places and routes a design that was planned for ecp5,
    with nextpnr, and gives an entry ``route`` (``rtl.export.route.Routed``) with the clock it reaches. ``timing`` adds
    up the delays of the netlist's cells and wires, and gives an entry ``timing`` (``rtl.export.timing_report.Timed``)
    with the longest paths beside the plan's. Raises ``FxsimError`` if a tool is not installed or refuses the design.
    """
    with importing("synth", "rtl"):
        from rtl.export.route import FAMILY, route_design
        from rtl.export.synthesis import results, synthesize
        from rtl.export.timing_report import time_design

    place, found = Path(folder), dict[str, Any]()
    complete(place)
    if route and timing:
        raise FxsimError("route and timing exclude each other: routed designs are timed by nextpnr")
    if route:
        if family is not None and canonical(family) != FAMILY:
            raise FxsimError(f"family must be {FAMILY} to be routed, not {show(family)}")
        cells, found["route"] = route_design(place)
    elif timing:
        cells, found["timing"] = time_design(place, family)
    else:
        cells = synthesize(place, family)
    check_results.stamp(place, check_results.synthesis(results(place), found.get("timing")))
    return {**cells, **found}
