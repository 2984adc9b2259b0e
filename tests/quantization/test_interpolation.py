# SPDX-License-Identifier: Apache-2.0
"""Interpolated tables: their errors and bounds, the ops that they are, and which table a precision asks for."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from fxsim.errors import FxsimError
from fxsim.program import reference
from fxsim.program.fixed import Fixed, Overflow, Round, to_float
from fxsim.program.graph import Graph, Node, chain
from fxsim.program.integers import Const, Table
from fxsim.program.interpolation import interpolated
from fxsim.program.ops import Add, Input, Lookup, Mul, Remainder
from fxsim.program.program import Builder, Program
from fxsim.program.ranges import bounds
from fxsim.quantization import exact_lines, exact_tables
from fxsim.quantization.exact_activations import Tables, interpolate
from fxsim.quantization.exact_formats import Formats
from fxsim.quantization.exact_functions import FUNCTIONS, function
from fxsim.quantization.exact_lines import Lines, best_lines
from fxsim.quantization.exact_tables import PLAIN, best_table, choose
from fxsim.simulator.run import simulate

NAMES = (*FUNCTIONS, "elu*0.3", "elu*-2.5")
ARGUMENTS = [Fixed(16, 12), Fixed(15, 8), Fixed(14, 13), Fixed(16, 10, False)]
#: Bits before the point of what is never negative.
POSITIVE = {"sigmoid": 0, "softplus_rest": 0, "exp": 1, "inverse": 1, "log": 0, "elu*-2.5": 2}


def result(name: str, frac: int) -> Fixed:
    """A format on the grid ``frac`` for the function's values; those of sigmoid and tanh end just below 1."""
    if name in POSITIVE:
        return Fixed(frac + POSITIVE[name], frac, False)
    return Fixed(frac + 1 + (name == "selu"), frac)


def evaluated(lines: Lines, raw: np.ndarray, argument: Fixed) -> np.ndarray:
    """The sums rounded down as the ops do, but not brought into the range of the result."""
    values, slopes, shift = lines.values, lines.slopes, argument.frac - lines.values.frac
    place = np.clip(raw >> shift, values.first, values.last) - values.first
    rest = (raw & ((1 << shift) - 1)) >> (argument.frac - lines.rest.frac)
    fracs = values.values.type.frac, slopes.values.type.frac + lines.rest.frac
    terms = values.values.data[place], slopes.values.data[place] * rest
    total = sum(term << (max(fracs) - frac) for term, frac in zip(terms, fracs, strict=True))
    return total >> (max(fracs) - lines.result.frac)


def all_of(argument: Fixed) -> np.ndarray:
    return np.arange(argument.min, argument.max + 1)


def asked(name: str, argument: Fixed) -> np.ndarray:
    """The raw inputs at which the function is asked for."""
    raw, of = all_of(argument), function(name)
    x = to_float(raw, argument)
    return raw[(x >= of.low) & (x <= of.high)]


def brute(name: str, lines: Lines, argument: Fixed) -> float:
    """The largest error, input by input."""
    raw = asked(name, argument)
    got = to_float(evaluated(lines, raw, argument), lines.result)
    return float(np.abs(got - function(name).value(to_float(raw, argument))).max())


@pytest.mark.parametrize("argument", ARGUMENTS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_the_error_is_as_asked_for_and_below_the_bound(name, argument):
    if not len(asked(name, argument)):
        pytest.skip("it is not asked for")
    found = 0
    for places in (3, 6, 8, 10):
        for frac in (places - 1, places + 2, 17):
            error, to = function(name).steps * 2.0**-places, result(name, frac)
            lines = best_lines(name, argument, to, error)
            if lines is None:
                continue
            found += 1
            got = evaluated(lines, all_of(argument), argument)
            assert to.min <= got.min() and got.max() <= to.max
            worst, largest = brute(name, lines, argument), exact_lines.largest_error(lines, argument)
            # The sum may round toward the function where the line is farthest from it, instead of away from it.
            assert worst <= largest + 1e-12 <= worst + to.lsb + 2e-12
            assert largest <= exact_lines.bound(lines, argument) + 1e-12
            # Lines of exp end a step below 1, and may be moved for it by a step of their values.
            assert largest <= error + to.lsb * (1.5 if name == "exp" else 1)
    assert found >= 4 or len(asked(name, argument)) == 1


def test_pieces_and_bits_follow_the_bound():
    """Four times the accuracy is twice the pieces, and a bit more of the rest and of the slope."""
    of = [best_lines("tanh", Fixed(36, 28), Fixed(26, 25), 2.0**-places) for places in (12, 14, 16, 18)]
    assert all(lines is not None for lines in of)
    assert np.diff([lines.values.frac for lines in of]).tolist() == [1, 1, 1]
    assert np.diff([lines.rest.width for lines in of]).tolist() == [1, 1, 1]
    assert np.diff([lines.slopes.values.type.frac for lines in of]).tolist() == [1, 1, 1]
    sizes = [lines.values.values.shape[0] for lines in of]
    assert all(1.9 < more / less < 2.4 for less, more in pairwise(sizes))


def moved(table: Table, values: np.ndarray) -> Table:
    return dataclasses.replace(table, values=Const(values, table.values.type))


@pytest.mark.parametrize("fault", ["slopes", "values", "rest", "half"])
def test_a_fault_is_seen(fault):
    """Tables that are moved by a piece, a rest of fewer bits, values without the half that rounds."""
    argument, error = Fixed(16, 10), 2.0**-10
    to = Fixed(10, 9) if fault == "half" else Fixed(18, 17)
    lines = best_lines("tanh", argument, to, error)
    assert brute("tanh", lines, argument) <= exact_lines.bound(lines, argument)
    values, slopes = lines.values.values.data, lines.slopes.values.data
    wrong = {
        "slopes": {"slopes": moved(lines.slopes, np.roll(slopes, 1))},
        "values": {"values": moved(lines.values, np.roll(values, 1))},
        "rest": {"rest": Fixed(lines.rest.width - 3, lines.rest.frac - 3, False)},
        "half": {"values": moved(lines.values, np.maximum(values - 1, values.min()))},
    }
    assert brute("tanh", dataclasses.replace(lines, **wrong[fault]), argument) > exact_lines.bound(lines, argument)


# --- As ops


ARGUMENT = Fixed(13, 9)


def program(name: str) -> tuple[Program, Lines]:
    """An interpolated table of 12 fractional bits, of which 9 are right."""
    to = dataclasses.replace(result(name, 12), round=Round.RND, overflow=Overflow.SAT)
    lines = best_lines(name, ARGUMENT, to, function(name).steps * 2.0**-9)
    assert lines is not None
    b = Builder()
    interpolate(b, "y", b.add(Input(name="x", type=ARGUMENT, elements=3)), lines, to)
    return b.build("y"), lines


def graph(made: Program) -> Graph:
    return chain("g", (3,), made.input.type, (Node("layer", "activation", made),))


def every() -> np.ndarray:
    raw = all_of(ARGUMENT)
    return np.concatenate([raw, raw[: -len(raw) % 3]]).reshape(-1, 3)


@pytest.mark.parametrize("name", NAMES)
def test_the_ops_are_the_lines(name):
    made, lines = program(name)
    assert [op.kind for op in made.ops] == ["input", "lookup", "lookup", "remainder", "mul", "add", "cast"]
    raw = every()
    run = simulate(graph(made), raw, raw=True, trace=True)
    assert np.array_equal(run.raw, evaluated(lines, raw, ARGUMENT))
    assert set(run.overflows.values()) <= {0}
    for row in range(0, len(raw), 97):
        assert reference.step(made, raw[row].tolist(), {})[0]["y"] == run.raw[row].tolist()


@pytest.mark.parametrize("name", NAMES)
def test_what_a_sum_can_be_is_proven_piece_by_piece(name):
    """Without that proof it could pass the format, and would be limited in hardware."""
    made, _ = program(name)
    known = bounds(made)
    assert not any(found.overflows for found in known.values())
    line = simulate(graph(made), every(), raw=True, trace=True).trace["layer.y_line"]
    assert known["y_line"].low <= line.min() and line.max() <= known["y_line"].high
    parts = [(known[part], known["y_line"].exact_frac - made[part].type.frac) for part in ("y_value", "y_rise")]
    low, high = (sum(getattr(part, end) << up for part, up in parts) for end in ("low", "high"))
    assert low <= known["y_line"].exact[0] and known["y_line"].exact[1] <= high
    assert known["y_line"].exact != (low, high)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_only_such_sums_are_taken_for_one(order):
    made, _ = program("tanh")

    def changed(name: str, **fields: object) -> Program:
        ops = [dataclasses.replace(op, **fields) if op.name == name else op for op in made.ops]
        return Program(tuple(ops), made.output)

    made = changed("y_line", **dict(zip(order, ("y_value", "y_rise"), strict=True)))
    made = changed("y_rise", **dict(zip(order, ("y_slope", "y_rest"), strict=True)))
    found = interpolated(made, made["y_line"])
    assert [op.name for op in (found.values, found.slopes, found.rest, found.rise)] == [
        "y_value", "y_slope", "y_rest", "y_rise",
    ]  # fmt: skip
    assert bounds(made)["y_line"] == bounds(program("tanh")[0])["y_line"]
    slopes = made["y_slope"].table
    for other in (
        changed("y_rest", frac=made["y_rest"].frac - 1),
        changed("y_slope", table=dataclasses.replace(slopes, round=Round.RND)),
        changed("y_slope", table=dataclasses.replace(slopes, first=slopes.first + 1)),
        changed("y_slope", table=dataclasses.replace(slopes, frac=slopes.frac - 1)),
        changed("y_slope", table=dataclasses.replace(slopes, scale=2)),
        changed("y_line", b="y_rest"),
    ):
        assert interpolated(other, other["y_line"]) is None
        line = simulate(graph(other), every(), raw=True, trace=True).trace["layer.y_line"]
        known = bounds(other)["y_line"]
        assert known.low <= line.min() and line.max() <= known.high


def test_sums_that_no_machine_integer_holds():
    wide = Const(np.array([0, 1 << 61, -(1 << 61)]), Fixed(63, 0))
    b = Builder()
    x = b.add(Input(name="x", type=Fixed(8, 4), elements=1))
    table = Table("t", 2, Round.TRN, 0, wide)
    value, slope = (b.add(Lookup(name=name, type=wide.type, arg=x, table=table)) for name in ("v", "s"))
    rest = b.add(Remainder(name="r", type=Fixed(2, 4, False), arg=x, frac=2))
    rise = b.add(Mul(name="m", type=Fixed(80, 4), a=slope, b=rest))
    b.add(Add(name="y", type=Fixed(90, 4), a=value, b=rise))
    made = b.build("y")
    assert interpolated(made, made["y"]) is not None
    known = bounds(made)["y"]
    largest = max(reference.step(made, [raw], {})[0]["y"][0] for raw in range(-128, 128))
    assert largest > 1 << 64 and known.high >= largest


# --- Which table a precision asks for


GATES = {"sigmoid": Fixed(17, 17, False), "tanh": Fixed(18, 17)}
SUM = Fixed(36, 28)


@pytest.mark.parametrize("name", NAMES)
def test_every_place_halves_the_error(name):
    """From 1024 entries to interpolated tables of as many pieces as it takes."""
    argument = Fixed(26, 24, False) if name in ("inverse", "log") else SUM
    limits = []
    # softsign comes near to 1 too slowly for any table.
    for places in range(2, 24 if name != "softsign" else 6):
        to = result(name, max(17, places + 3))
        table = choose(name, argument, to, None, places)
        module = exact_lines if isinstance(table, Lines) else exact_tables
        largest, limit = module.largest_error(table, argument), module.bound(table, argument)
        assert largest <= function(name).steps * 2.0**-places + to.lsb
        assert largest <= limit + 1e-12
        limits.append(limit)
        size = table.values.values.shape[0] if isinstance(table, Lines) else table.values.shape[0]
        assert size <= (1 << 16 if isinstance(table, Lines) else PLAIN[-1])
        if name in GATES:
            assert isinstance(table, Lines) == (places > 10)
    # Where the table changes with every place, so does what is promised of it.
    # 1024 entries are enough for all places up to 8; for the logarithm, of the numbers from 1 to 2 only, up to 10.
    start = 8 if name == "log" else 6
    assert all(less < 0.75 * more for more, less in zip(limits[start:], limits[start + 2 :], strict=False))


def test_1024_entries_stay_where_they_are_enough():
    for name, to in GATES.items():
        for places in range(1, 9):
            assert choose(name, SUM, to, None, places) == best_table(name, SUM, to, 1024)
        assert choose(name, SUM, to, None, 9) == best_table(name, SUM, to, 2048)
        assert choose(name, SUM, to, None, 10) == best_table(name, SUM, to, 4096)
        lines = choose(name, SUM, to, None, 11)
        assert isinstance(lines, Lines)
        # A plain table would have 8192 entries.
        bits = sum(table.values.shape[0] * table.values.type.width for table in (lines.values, lines.slopes))
        assert 30 * bits < 8192 * to.width


def test_an_input_of_few_bits_has_an_entry_each():
    for places in (12, 16, 20):
        table = choose("tanh", Fixed(12, 9), Fixed(24, 23), None, places)
        assert isinstance(table, Table) and table.frac == 9


def test_gates_have_the_bits_that_their_tables_are_worth():
    for precision, bits in (("<16,6>", 18), ("<18,2>", 18), ("<20,2>", 20), ("<24,6>", 21), ("<24,1>", 24)):
        formats = Formats.of(f"ap_fixed{precision}")
        assert Tables(formats).gate == bits
        assert Tables(formats, 1024).gate == Tables(formats, 65536).gate == 18
    # Even the largest table of a size errs by more than the half step of its values.
    assert exact_tables.largest_error(best_table("sigmoid", SUM, GATES["sigmoid"], 1 << 16), SUM) > 2.0**-17


def test_a_size_that_is_asked_for_is_never_interpolated():
    for size in (64, 1024, 65536):
        assert choose("tanh", SUM, GATES["tanh"], size, 20) == best_table("tanh", SUM, GATES["tanh"], size)


@pytest.mark.parametrize(("argument", "places"), [(SUM, 14), (Fixed(30, 22), 9), (Fixed(24, 22), 12)], ids=str)
def test_softsign_has_the_best_of_what_there_is(argument, places):
    to = Fixed(18, 17)
    found, plain = choose("softsign", argument, to, None, places), best_table("softsign", argument, to, PLAIN[-1])
    error = (exact_lines if isinstance(found, Lines) else exact_tables).largest_error(found, argument)
    assert error <= exact_tables.largest_error(plain, argument)


@pytest.mark.parametrize(
    ("precision", "places"),
    [("<16,6>", 10), ("<16,8>", 8), ("<16,1>", 15), ("<16,-4>", 15), ("<24,6>", 18), ("<24,1>", 23), ("<32,2>", 23),
     ("<8,12>", -4)],
)  # fmt: skip
def test_places_of_a_precision(precision, places):
    assert Formats.of(f"ap_fixed{precision}").places == places


@pytest.mark.parametrize("places", [6, 10, 14, 18])
def test_the_largest_element_alone_has_the_exponential_1(places):
    """However fine the table, so that softmax gives nobody else its share."""
    argument, to = Fixed(20, 16), Fixed(20, 19, False)
    table = choose("exp", argument, to, None, places, Round.TRN)
    raw = np.arange(-(1 << 18), 1)
    if isinstance(table, Lines):
        got = evaluated(table, raw, argument)
    else:
        got = np.array([table.values.data[table.index(r, argument.frac)] for r in raw.tolist()])
    assert got[-1] == 1 << 19 and got[:-1].max() < 1 << 19


def test_refusals():
    with pytest.raises(FxsimError, match=r"^table must be of one of sigmoid, .*, not 'sine'$"):
        choose("sine", SUM, GATES["tanh"], None, 8)
    assert best_lines("tanh", Fixed(6, 3), GATES["tanh"], 2.0**-10) is None
