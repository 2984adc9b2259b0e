# SPDX-License-Identifier: Apache-2.0
"""The gateware under proof: small networks, engines and casts, as they are built for an export."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from amaranth.hdl import Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from fxsim.program.cells import Activation, CellTypes, Kernel, dense, gru, lstm, simple_rnn
from fxsim.program.fixed import Fixed, Overflow, Round
from fxsim.program.graph import Graph, Node, chain
from fxsim.program.integers import Const, Table
from fxsim.program.ops import Add, AnyOp, Dot, Input, Slice
from fxsim.program.program import Program
from rtl.gateware import axi, fixed
from rtl.gateware.layer import LayerCore
from rtl.gateware.matvec import MatVec
from rtl.gateware.network import NetworkTap
from rtl.gateware.packets import Packets
from rtl.gateware.stream import Beat, Buffer
from rtl.plan.delays import family
from rtl.plan.folding import Folding, Plan, make_plan
from rtl.plan.folds import Fold
from rtl.plan.lower import HardLayer
from rtl.plan.schedule import LayerSchedule
from rtl.plan.scheduler import schedule

from .casts import Format

_STEPS, _FEATURES, _UNITS = 3, 3, 4
_OPERANDS, _WEIGHTS = Fixed(2, 0), Fixed(3, 0)


def network(cell: str, sequences: bool = False) -> Graph:
    """A recurrent layer of four units, and (unless it gives ``sequences``) a Dense layer of two behind it.

    ``cell`` is lstm, gru, gru_before (reset_after=False) or simple_rnn.
    """
    rng = np.random.default_rng(1)
    inputs, weights, sums = Fixed(7, 5), Fixed(6, 4), Fixed(14, 9)
    gate, state = (Fixed(width, frac, True, Round.RND, Overflow.SAT) for width, frac in ((8, 7), (9, 6)))

    def kernel(rows: int, columns: int, biased: bool = True) -> Kernel:
        bias = Const(rng.integers(weights.min, weights.max + 1, columns), weights) if biased else None
        return Kernel(Const(rng.integers(weights.min, weights.max + 1, (rows, columns)), weights), bias, sums)

    def function(name: str) -> Activation:
        x = np.arange(-32, 32) / 8
        y = np.tanh(x) if name == "tanh" else 1 / (1 + np.exp(-x))
        values = np.clip(np.floor(y * 2**gate.frac), gate.min, gate.max).astype(np.int64)
        return Activation(name, Table(name, 3, Round.TRN, -32, Const(values, gate)))

    types = CellTypes(inputs, gate, gate, state, sums, gate, sums)
    functions = function("tanh"), function("sigmoid")
    if cell == "lstm":
        gates = kernel(_FEATURES, 4 * _UNITS), kernel(_UNITS, 4 * _UNITS, False)
        program = lstm(*gates, types, *functions)
    elif cell == "simple_rnn":
        program = simple_rnn(kernel(_FEATURES, _UNITS), kernel(_UNITS, _UNITS, False), types, functions[0])
    else:
        gates = kernel(_FEATURES, 3 * _UNITS), kernel(_UNITS, 3 * _UNITS)
        program = gru(*gates, types, *functions, reset_after=cell == "gru")
    layers = [Node("rnn", cell.partition("_")[0] if cell != "simple_rnn" else cell, program, sequences)]
    if not sequences:
        layers.append(Node("dense", "dense", dense(kernel(_UNITS, 2), program.type, state)))
    return chain("proven", (_STEPS, _FEATURES), inputs, tuple(layers))


def plan(cell: str, fold: Fold, ways: int = 1, sequences: bool = False, beat: int | None = None) -> Plan:
    """That network with one fold for its recurrent layer."""
    return make_plan(network(cell, sequences), Folding({"rnn": replace(fold, multiplier="dsp")}, ways, beat=beat))


def layer(made: Plan, number: int = 0) -> LayerCore:
    """A layer of a plan, as the network instantiates it."""
    schedule, stage = made.schedules[number], made.stages[number]
    assert schedule is not None
    one = made.layers[number]
    return LayerCore(schedule, one.return_sequences, stage.depth, one is made.layers[-1])


class _OpaqueNetwork(wiring.Component):
    """In the place of a network: its streams, and nothing behind them."""

    def __init__(self, made: Plan) -> None:
        self.plan = made
        bits = made.layers[-1].elements * made.graph.output.width
        first = Beat(made.beat * made.graph.input.width)
        super().__init__({"i": In(stream.Signature(first)), "o": Out(stream.Signature(Beat(bits)))})

    def elaborate(self, platform: object) -> Module:
        return Module()

    def taps(self) -> list[NetworkTap]:
        """None."""
        return []

    def buffers(self) -> list[tuple[HardLayer, Buffer]]:
        """None."""
        return []


class _OpaquePackets(Packets):
    """In the place of the queue of packets: its ports."""

    def elaborate(self, platform: object) -> Module:
        return Module()


def top(made: Plan, framing: str = "tlast") -> axi.AxiTop:
    """The top of a plan, around anything that has a network's streams and remembers packets."""
    packets = _OpaquePackets(axi.most_sequences(made)) if framing == "count" else None
    return axi.AxiTop(_OpaqueNetwork(made), packets)


def product(
    fold: Fold, steps: int = 1, saturating: bool = False, gates: int = 1, stride: int = 1
) -> tuple[Dot, LayerSchedule]:
    """A matrix product of three inputs and four outputs, narrow enough for a solver to multiply, and its schedule.

    ``steps``: of weights that change with the step. ``gates``: how many outputs belong to a unit.
    """
    rng = np.random.default_rng(5)
    shape = (*((steps,) if steps > 1 else ()), 3, 4)
    weights = Const(rng.integers(_WEIGHTS.min, _WEIGHTS.max + 1, shape), _WEIGHTS)
    bias = Const(rng.integers(-8, 8, 4), Fixed(4, 0))
    type = Fixed(4, 0, overflow=Overflow.SAT) if saturating else Fixed(5, 0)
    dot = Dot(name="y", type=type, arg="x", weights=weights, bias=bias, stride=stride)
    ops: list[AnyOp] = [Input(name="x", type=_OPERANDS, elements=3), dot]
    if gates == 2:
        ops += [Slice(name=f"gate{k}", type=type, arg="y", start=2 * k, stop=2 * k + 2) for k in range(2)]
        ops.append(Add(name="sum", type=type, a="gate0", b="gate1"))
    made = schedule(Program(tuple(ops), ops[-1].name), replace(fold, multiplier="dsp"), family("xc7"), 200.0)
    return dot, made


def engine(dot: Dot, made: LayerSchedule) -> MatVec:
    """The engine of such a product."""
    known = made.bounds
    return MatVec(dot, known["y"], made.engines["y"], made.fold, made.units, _OPERANDS, known["x"])


def cast(value: Value, source: Format, to: Format, rounding: str, overflow: str) -> Value:
    """The gateware's cast."""
    wanted = Fixed(to.width, to.frac, to.signed, Round[rounding], Overflow[overflow])
    return fixed.cast(value, source.frac, wanted)
