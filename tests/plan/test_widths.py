# SPDX-License-Identifier: Apache-2.0
"""Wide beats and vectors: refused where Amaranth counts no further, and below that no more work than they have bits."""

from __future__ import annotations

import cProfile
import pstats
import warnings
from dataclasses import replace

import pytest
from amaranth.back import rtlil
from networks import network

from fxsim.errors import FxsimError
from fxsim.program.graph import Graph
from rtl.gateware.axi import axi_top
from rtl.plan.folding import Folding, Plan, by_reuse, make_plan
from rtl.plan.widths import WIDEST, stride


def planned(graph: Graph, **changes: object) -> Plan:
    return make_plan(graph, replace(by_reuse(graph, 3), **changes))  # type: ignore[arg-type]


def written(plan: Plan) -> str:
    top = axi_top(plan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return rtlil.convert(top, name="dut", emit_src=False)


def whole(steps: int) -> Plan:
    """A sequence in one beat."""
    return planned(network("gru", seed=4, steps=steps, features=4, units=2), beat=4 * steps)


def narrow(features: int) -> Plan:
    """A wide step in beats of one element."""
    graph = network("gru", seed=4, steps=2, features=features, units=1)
    return make_plan(graph, replace(by_reuse(graph, features), beat=1))


def joined(steps: int) -> Plan:
    """All steps' results as one vector."""
    return planned(network("gru", seed=4, steps=steps, units=2, flatten=True))


@pytest.mark.parametrize(("make", "size"), [(whole, 16), (narrow, 16), (joined, 16)])
def test_twice_as_wide_is_twice_the_work(make, size) -> None:  # type: ignore[no-untyped-def]
    """Function calls, which are the same in each run; four times as many are what squares would take."""
    counts = []
    for number in (size, 2 * size, 4 * size):
        plan = make(number)
        profile = cProfile.Profile()
        profile.runcall(written, plan)
        counts.append(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]
    assert counts[2] - counts[1] < 2.5 * (counts[1] - counts[0]), counts


def test_the_widest_beat_is_written() -> None:
    graph = network("gru", seed=4, steps=WIDEST // 16, features=1, units=1)
    assert stride(graph.input) == 16
    plan = planned(graph, beat=WIDEST // 16)
    assert f"wire width {WIDEST // 16 * 16} input" in written(plan)


@pytest.mark.parametrize(
    ("graph", "changes", "message"),
    [
        (
            {"steps": 1024, "features": 4},
            {"beat": 4096},
            r"^an input beat of 4096 elements takes 65536 bits, and s_axis_tdata .* beats, of 1, 2, 4 elements$",
        ),
        (
            {"steps": 2, "features": 5000},
            {},
            r"^an input beat of 5000 elements takes 80000 bits, and s_axis_tdata .* of 1, 2, \.\.\., 2500 elements$",
        ),
        (
            {"steps": 2000, "flatten": True},
            {},
            r"^a result of 8000 elements takes 128000 bits, and m_axis_tdata may have 65528 at most; choose fewer",
        ),
        (
            {"steps": 2, "features": 8000},
            {"beat": 1},
            r"^layer 'gru' takes a vector of 88000 bits, which may have 65528 at most; choose fewer elements or bits$",
        ),
    ],
)
def test_what_is_wider_is_refused_when_it_is_planned(
    graph: dict[str, object], changes: dict[str, object], message: str
) -> None:
    made = network("gru", seed=4, **graph)  # type: ignore[arg-type]
    with pytest.raises(FxsimError, match=message):
        make_plan(made, replace(Folding({}), **changes))  # type: ignore[arg-type]


def test_weights_of_a_wide_row_take_two_memories(monkeypatch: pytest.MonkeyPatch) -> None:
    from rtl_bench import agrees

    import rtl.gateware.matvec

    graph = network("gru", seed=5, features=6, tail=(3,))
    plan = make_plan(graph, by_reuse(graph, 4))
    assert "rom0_" not in written(plan)
    monkeypatch.setattr(rtl.gateware.matvec, "WIDEST", 16)
    assert "rom0_" in written(plan)
    agrees(plan, 6)
