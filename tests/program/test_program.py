# SPDX-License-Identifier: Apache-2.0
"""What a legal program is: every refusal of Program, Const, Table and Graph, and the small helpers around them."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from networks import in_row

from fxsim.errors import FxsimError
from fxsim.program.fixed import Fixed, Round
from fxsim.program.graph import Graph, Node, chain
from fxsim.program.integers import Const, Table
from fxsim.program.nodes import bidirectional
from fxsim.program.ops import (
    OPS,
    Add,
    Cast,
    Concat,
    Constant,
    Dot,
    Input,
    Lookup,
    Op,
    Remainder,
    Select,
    Slice,
    State,
)
from fxsim.program.program import Builder, Program

X, Y = Fixed(8, 4), Fixed(10, 4)
INPUT = Input(name="x", type=X, elements=3)


def const(*shape: int, type: Fixed = X) -> Const:
    return Const(np.zeros(shape, np.int64), type)


def cast(name: str = "y", arg: str = "x", type: Fixed = Y) -> Cast:
    return Cast(name=name, type=type, arg=arg)


def dot(**fields) -> Dot:
    return Dot(**{"name": "d", "type": Y, "arg": "x", "weights": const(3, 2), **fields})


def part(start: int, stop: int, type: Fixed = X) -> Slice:
    return Slice(name="p", type=type, arg="x", start=start, stop=stop)


def remainder(frac: int) -> Remainder:
    return Remainder(name="r", type=Y, arg="x", frac=frac)


def state(**fields) -> State:
    return State(**{"name": "s", "type": X, "elements": 3, "update": "x", **fields})


@dataclass(frozen=True, kw_only=True)
class Stranger(Op):
    kind = "stranger"


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ([cast()], r"^op 'y' reads 'x', which no earlier op defines$"),
        ([INPUT, cast("x")], r"^op 'x' is defined twice$"),
        ([INPUT, cast("1y")], r"^op name must be letters, digits and underscores, not '1y'$"),
        ([INPUT, cast("")], r"^op name must be letters, digits and underscores, not ''$"),
        ([INPUT, Stranger(name="y", type=X)], r"^op 'y': Stranger is not one of input, state, .*, concat$"),
        ([Constant(name="y", type=X, values=const(2))], r"^a program must have at least one input$"),
        ([Input(name="y", type=X, elements=0)], r"^op 'y': size must be from 1 to 2\*\*24, not 0$"),
        ([Input(name="y", type=X, elements=1.0)], r"^op 'y': size must be from 1 to 2\*\*24, not 1.0$"),
        ([INPUT], r"^output 'y' is not the name of an op$"),
        ([INPUT, part(0, 3, Y)], r"^op 'p': type must be that of 'x', ap_fixed<8,4>, not ap_fixed<10,6>$"),
        ([INPUT, part(1, 4)], r"^op 'p': slice 1:4 is not inside 0:3$"),
        ([INPUT, part(2, 2)], r"^op 'p': slice 2:2 is not inside 0:3$"),
        ([INPUT, cast(), Concat(name="c", type=X, parts=("x", "y"))], r"^op 'c': type must be that of 'y', "),
        ([INPUT, Concat(name="c", type=X, parts=())], r"^op 'c': size must be from 1 to 2\*\*24, not 0$"),
        ([INPUT, dot(weights=const(2, 2))], r"^op 'd': weights must be \(\[steps,\] 3, outputs\), not \(2, 2\)$"),
        ([INPUT, dot(weights=const(3))], r"^op 'd': weights must be \(\[steps,\] 3, outputs\), not \(3,\)$"),
        ([INPUT, dot(weights=const(0, 3, 2))], r"^op 'd': weights must be \(\[steps,\] 3, outputs\), not \(0, 3, 2\)$"),
        ([INPUT, dot(bias=const(3))], r"^op 'd': bias must be \(2,\), not \(3,\)$"),
        ([INPUT, remainder(1025)], r"^op 'r': frac must be from -1024 to 1024, not 1025$"),
        ([INPUT, remainder(True)], r"^op 'r': frac must be from -1024 to 1024, not True$"),
        ([INPUT, dot(stride=4)], r"^op 'd': stride must be from 1 to 3, not 4$"),
        ([INPUT, dot(stride=True)], r"^op 'd': stride must be from 1 to 3, not True$"),
        (
            [INPUT, Constant(name="k", type=X, values=const(2)), Add(name="y", type=Y, a="x", b="k")],
            r"^op 'y': operands must have one size \(or 1\), not \[2, 3\]$",
        ),
        (
            [INPUT, Constant(name="k", type=X, values=const(2)), Select(name="y", type=Y, condition="x", a="k", b="x")],
            r"^op 'y': operands must have one size \(or 1\), not \[2, 3\]$",
        ),
        ([INPUT, Constant(name="y", type=Y, values=const(2))], r"^op 'y': values must be a vector of ap_fixed<10,6>$"),
        (
            [INPUT, Constant(name="y", type=X, values=const(2, 1))],
            r"^op 'y': values must be a vector of ap_fixed<8,4>$",
        ),
        ([INPUT, state(update="z")], r"^state 's' is updated by 'z', which no op defines$"),
        ([INPUT, state(elements=2)], r"^state 's' is 2 x ap_fixed<8,4>, its update 'x' is 3 x ap_fixed<8,4>$"),
        ([INPUT, state(type=Y)], r"^state 's' is 3 x ap_fixed<10,6>, its update 'x' is 3 x ap_fixed<8,4>$"),
        ([INPUT, state(init=const(2))], r"^op 's': init must be 3 values of ap_fixed<8,4>$"),
        ([INPUT, state(init=const(3, type=Y))], r"^op 's': init must be 3 values of ap_fixed<8,4>$"),
    ],
)
def test_illegal_programs_are_refused(ops, message):
    with pytest.raises(FxsimError, match=message):
        Program(tuple(ops), "y")


def test_a_legal_program_answers_about_itself():
    b = Builder()
    x = b.add(INPUT)
    s = b.add(state(update="kept"))
    d = b.add(dot(bias=const(2), stride=2))
    one = b.scalar("one", 1, X)
    b.add(Add(name="kept", type=X, a=x, b=s))
    b.add(Add(name="y", type=Y, a=d, b=one))
    program = b.build("y")
    assert b.type(d) == Y
    assert [op.name for op in program] == ["x", "s", "d", "one", "kept", "y"]
    assert program.sizes == {"x": 3, "s": 3, "d": 2, "one": 1, "kept": 3, "y": 2}
    assert (program.elements, program.type, program.parameters) == (2, Y, 8)
    assert program.input is program["x"]
    assert [op.name for op in program.states] == ["s"]
    assert [op.name for op in program.dots] == ["d"]
    assert program["d"].order() == [0, 2, 1]


def kinds(base: type[Op] = Op) -> set[type[Op]]:
    """All kinds of ops of the package: classes that have a kind, at any depth."""
    below = {one for one in base.__subclasses__() if one.__module__ == Op.__module__}
    return {one for one in below if one.kind}.union(*map(kinds, below))


def test_every_kind_is_in_a_group():
    # A class that no group has would be an op that no match is asked for.
    assert kinds() == set(OPS.values())


@pytest.mark.parametrize(
    ("op", "other"),
    [
        (INPUT, INPUT),
        (state(), state()),
        (dot(stride=2, bias=const(2)), dot(stride=2, bias=const(2), arg="u")),
        (remainder(3), Remainder(name="r", type=Y, arg="u", frac=3)),
        (Add(name="y", type=Y, a="p", b="q"), Add(name="y", type=Y, a="u", b="v")),
        (
            Select(name="y", type=Y, condition="p", a="q", b="r"),
            Select(name="y", type=Y, condition="u", a="v", b="w"),
        ),
        (Concat(name="y", type=Y, parts=("p", "q", "r", "s")), Concat(name="y", type=Y, parts=("u", "v", "w", "z"))),
    ],
)
def test_the_operands_of_an_op_are_replaced_in_their_order(op, other):
    args = ("u", "v", "w", "z")[: len(op.args)]
    changed = op.with_args(*args)
    assert (changed, changed.args) == (other, args)
    if not isinstance(op, Concat):  # which has any number of them
        with pytest.raises(ValueError, match="to unpack"):
            op.with_args(*args, "one_more")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros(2), r"^Const data must be integers, not float64$"),
        (np.array([200, 0]), r"^Const data must fit ap_fixed<8,4>, not span 0..200$"),
        (np.array([-129]), r"^Const data must fit ap_fixed<8,4>, not span -129..-129$"),
    ],
)
def test_illegal_constants_are_refused(data, message):
    with pytest.raises(FxsimError, match=message):
        Const(data, X)


def test_constants_are_read_only_copies():
    data = np.array([1, 2])
    held = Const(data, X)
    data[0] = 9
    assert held.data.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        held.data[0] = 3
    assert held == Const(np.array([1, 2]), X) and hash(held) == hash(Const(np.array([1, 2]), X))
    assert held not in (Const(np.array([1, 2]), Y), Const(np.array([1, 3]), X), Const(np.array([[1, 2]]), X), 1)


def table(**fields) -> Table:
    return Table(**{"name": "t", "frac": 2, "round": Round.TRN, "first": -2, "values": const(4), "scale": 3, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"values": const(1)}, r"^Table values must be a vector of 2 to 2\*\*20 entries, not of shape \(1,\)$"),
        ({"values": const(2, 2)}, r"^Table values must be a vector of 2 to 2\*\*20 entries, not of shape \(2, 2\)$"),
        ({"scale": 0}, r"^Table scale must be a positive integer, not 0$"),
    ],
)
def test_illegal_tables_are_refused(fields, message):
    with pytest.raises(FxsimError, match=message):
        table(**fields)


def test_index_of_a_table():
    # floor(x * 3 * 4) from -2 to 1
    assert [table().index(raw, 4) for raw in (-8, -3, -2, -1, 0, 1, 2, 3, 90)] == [0, 0, 0, 1, 2, 2, 3, 3, 3]
    assert table().last == 1
    nearest = table(round=Round.RND)
    assert [nearest.index(raw, 4) for raw in (-3, -2, -1, 0, 1, 2)] == [0, 1, 1, 2, 3, 3]


def test_entries_are_cast_to_the_ops_format():
    held = table(values=Const(np.array([-7, 5, 6, 100]), X))
    assert held.entries(Fixed(4, 3)).tolist() == [-4, 2, 3, 2]
    looked = Program((INPUT, Lookup(name="y", type=Fixed(4, 3), arg="x", table=held)), "y")
    assert looked.elements == 3


# --- Layers and graphs


def layer(name: str = "l", *, ops=None, output: str = "y", **fields) -> Node:
    return Node(name, "test", Program(tuple(ops or (INPUT, cast())), output), **fields)


COUNTER = (INPUT, state(update="y"), Add(name="y", type=X, a="x", b="s"))


def graph(*layers: Node, shape=(5, 3), input: Fixed = X) -> Graph:
    return chain("g", shape, input, layers)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: graph(), r"^a network must have at least one layer$"),
        (
            lambda: graph(layer(), shape=(2, 2, 3)),
            r"^input shape must be \(steps, features\) or \(features,\), not \(2, ",
        ),
        (lambda: graph(layer(), shape=(0, 3)), r"^input shape must be "),
        (lambda: graph(layer("a"), layer("a")), r"^layer names must be distinct and not empty, not 'a'$"),
        (lambda: graph(layer("")), r"^layer names must be distinct and not empty, not ''$"),
        (lambda: graph(layer(), shape=(5, 4)), r"^layer 'l' takes 3 elements a step, its input has 4$"),
        (lambda: graph(layer(), input=Y), r"^layer 'l' takes ap_fixed<8,4>, its input is ap_fixed<10,6>$"),
        (lambda: graph(layer(), layer("m")), r"^layer 'm' takes ap_fixed<8,4>, its input is ap_fixed<10,6>$"),
        (lambda: graph(layer(return_sequences=False)), r"^layer 'l' has no states, so return_sequences must be True$"),
        (
            lambda: graph(layer(ops=COUNTER), shape=(3,)),
            r"^layer 'l' is recurrent and takes \(steps, features\), not \(3,\)$",
        ),
        (
            lambda: graph(layer(ops=(INPUT, dot(weights=const(4, 3, 2))), output="d")),
            r"^layer 'l': op 'd' has weights for another number of steps$",
        ),
        (
            lambda: bidirectional("l", "test", layer().program, layer().program, True),
            r"^layer 'l': both directions must have states and one result format$",
        ),
    ],
)
def test_illegal_graphs_are_refused(build, message):
    with pytest.raises(FxsimError, match=message):
        build()


def test_shapes_through_a_graph():
    both = partial(bidirectional, "both", "test", Program(COUNTER, "y"), Program(COUNTER, "y"), True)
    wide = Input(name="x", type=X, elements=6)
    last = layer(
        "last", ops=(wide, state(elements=6, update="y"), Add(name="y", type=X, a="x", b="s")), return_sequences=False
    )
    net = in_row("g", (5, 3), X, (both, last, Node("flat", "flatten")))
    shapes = {"both.forward": (5, 3), "both.restored": (5, 3), "both": (5, 6), "last": (6,), "flat": (6,)}
    assert {name: net.tensors[name].shape for name in shapes} == shapes
    assert (net.output_shape, net.output, net.parameters) == ((6,), X, 0)
    assert list(net.programs) == ["both.forward", "both.backward", "last"]
    assert in_row("g", (5, 3), X, (both, Node("flat", "flatten"))).output_shape == (30,)


def test_the_digest_sees_every_field():
    """Each change below makes another network, so another digest."""
    base = graph(layer())
    others = [
        graph(layer(), shape=(6, 3)),
        graph(layer("m")),
        graph(Node("l", "other", layer().program)),
        graph(layer(ops=(INPUT, cast(type=Fixed(10, 5))))),
        graph(layer(ops=(INPUT, cast(type=Fixed(10, 4, True, Round.RND))))),
        graph(layer(ops=(INPUT, cast("z"), cast()))),
        graph(layer(ops=(INPUT, cast()), output="x")),
        chain("h", (5, 3), X, (layer(),)),
    ]
    assert len({net.digest for net in [base, *others]}) == 1 + len(others)
    assert graph(layer()).digest == base.digest
