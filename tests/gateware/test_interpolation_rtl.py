# SPDX-License-Identifier: Apache-2.0
"""Interpolated tables as gateware: every input, the cycle that they take longer, and faults that are noticed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from rtl_bench import agrees, random_raw, rtl_run
from test_exact import cell, dense
from test_exact import network as source
from test_interpolation import NAMES, every, graph, program

from fxsim.program.graph import Graph
from fxsim.program.integers import Const
from fxsim.program.program import Program
from fxsim.quantization.presets import quantize
from fxsim.simulator.run import simulate
from rtl.gateware.fixed import low_bits
from rtl.plan.folding import Folding, by_reuse, make_plan


@pytest.mark.parametrize("name", NAMES)
def test_every_input(name):
    made = graph(program(name)[0])
    raw = every()[NAMES.index(name) % 3 :: 3]
    plan = make_plan(made, Folding({}), (100.0, 200.0, 300.0)[NAMES.index(name) % 3])
    assert rtl_run(plan, raw).outputs.tolist() == simulate(made, raw, raw=True).raw.tolist()


def network(kind: str, precision: str, table_size: int | None = None) -> Graph:
    rng = np.random.default_rng(7)
    layers = cell(kind, rng, "cell", 3, 4), dense(rng, 4, 3)
    return quantize(source(*layers, shape=(4, 3)), precision=precision, table_size=table_size)


@pytest.mark.parametrize("reuse", [1, 3, 48])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_cells(kind, reuse):
    made = network(kind, "ap_fixed<14,1>")
    agrees(make_plan(made, by_reuse(made, reuse)), 3)


def test_a_cell_of_24_bits():
    """Gates of more bits than a DSP block multiplies."""
    made = network("lstm", "ap_fixed<24,3>")
    assert made.nodes[0].program["i"].type.width == 23
    agrees(make_plan(made, by_reuse(made, 2)), 3)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_table_in_the_loop_costs_a_cycle(kind):
    """At 200 MHz: the product, and behind it the value added on the way into the next product."""
    plain, lines = (network(kind, "ap_fixed<14,2>", size) for size in (1024, None))
    intervals = [make_plan(one, by_reuse(one, 1)).schedules[0].interval for one in (plain, lines)]
    assert intervals[1] - intervals[0] == 2


def changed(made: Graph, name: str) -> Graph:
    """The last bit of a table's entries is another one."""
    layer = made.nodes[0]
    ops = []
    for op in layer.program.ops:
        if op.name == name:
            values = op.table.values
            raw = np.where(values.data == values.type.max, values.data - 1, values.data + 1)
            op = dataclasses.replace(op, table=dataclasses.replace(op.table, values=Const(raw, values.type)))
        ops.append(op)
    return dataclasses.replace(
        made, nodes=(dataclasses.replace(layer, program=Program(tuple(ops), layer.program.output)),)
    )


@pytest.mark.parametrize("name", ["y_value", "y_slope"])
def test_a_bit_of_a_table_is_noticed(name):
    made = graph(program("tanh")[0])
    raw = random_raw(made, 300)
    expected = simulate(made, raw, raw=True).raw.tolist()
    assert rtl_run(make_plan(made, Folding({})), raw).outputs.tolist() == expected
    assert rtl_run(make_plan(changed(made, name), Folding({})), raw).outputs.tolist() != expected


def test_a_rest_that_is_cut_short_is_noticed(monkeypatch):
    made = graph(program("tanh")[0])
    raw = random_raw(made, 300)
    expected = simulate(made, raw, raw=True).raw.tolist()
    monkeypatch.setattr("rtl.gateware.elementwise.low_bits", lambda value, count: low_bits(value, count - 1))
    assert rtl_run(make_plan(made, Folding({})), raw).outputs.tolist() != expected
