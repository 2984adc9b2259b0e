# SPDX-License-Identifier: Apache-2.0
"""The delay table against the paths that it was calibrated on, and the chaining of operators."""

import pytest

from fxsim.errors import FxsimError
from fxsim.program.fixed import Fixed, Overflow, Round
from rtl.plan.delays import FAMILIES
from rtl.plan.pipeline import Pipeline, Place, Slot

XC7 = FAMILIES["xc7"]
WIDE = -(1 << 37), (1 << 37) - 1


def cast(round: Round, overflow: Overflow) -> float:
    return XC7.cast(20, Fixed(16, 10, True, round, overflow), *WIDE)


#: Measured register to register in ns, and the operators on the path.
PATHS = [
    (2.3, XC7.multiply),
    (4.2, XC7.multiply_out),
    (4.0, XC7.multiply_wide),
    *((ns, XC7.adder(bits)) for bits, ns in ((16, 1.25), (24, 1.4), (32, 1.6), (48, 1.9))),
    *((ns, levels * XC7.adder(36)) for levels, ns in ((1, 1.7), (2, 2.7), (3, 3.7), (4, 4.8))),
    (2.2, XC7.compress + XC7.adder(24)),
    (2.3, XC7.table_in),
    *((ns, levels * XC7.adder(36) + XC7.clamp + XC7.table_in) for levels, ns in enumerate((2.85, 3.95, 5.0, 6.0))),
    (3.2, XC7.block_out + XC7.clamp + XC7.table_in),
    (2.7, XC7.table_out),
    (1.7, cast(Round.TRN, Overflow.SAT)),
    (1.4, cast(Round.RND, Overflow.WRAP)),
    (3.1, cast(Round.RND, Overflow.SAT)),
]


@pytest.mark.parametrize(("measured", "net"), PATHS)
def test_the_table_gives_what_was_measured(measured, net):
    """To a twentieth of a nanosecond and a bit: the measurements were printed with one or two digits."""
    assert XC7.register + net == pytest.approx(measured, abs=0.06)


ECP5 = FAMILIES["ecp5"]

#: The same on ECP5, one run of one seed.
ECP5_PATHS = [
    *((ns, ECP5.adder(bits)) for bits, ns in ((8, 2.76), (16, 3.11), (24, 3.33), (32, 3.66), (48, 4.24))),
    *((ns, levels * ECP5.adder(20)) for levels, ns in ((2, 5.17), (3, 7.54), (4, 9.88))),
    *((ns, ECP5.product(bits, bits)[0]) for bits, ns in ((8, 6.91), (16, 6.96), (18, 7.26), (24, 11.60))),
    (9.34, ECP5.product(32, 18)[0]),
    (9.49, ECP5.multiply_out + ECP5.adder(32)),
    *((ns, ECP5.choice(count)) for count, ns in ((4, 2.45), (8, 3.58), (16, 5.14))),
    (3.08, ECP5.comparison(16)),
    (9.41, ECP5.multiply_out + ECP5.comparison(16)),
    (3.08, ECP5.adder(16) + ECP5.rounding),
    *((ns, ECP5.adder(16) + ECP5.rounding + ECP5.decision(Round.RND_CONV)) for ns in (4.34, 4.55, 5.13)),
    (5.20, ECP5.adder(16) + ECP5.rounding + ECP5.decision(Round.RND_ZERO)),
    (4.66, ECP5.adder(16) + ECP5.rounding + ECP5.decision(Round.TRN_ZERO)),
    (5.66, ECP5.adder(16) + ECP5.rounding + ECP5.comparison(16) + ECP5.rounded),
    *((ns, levels * ECP5.adder(20) + ECP5.clamp + ECP5.table_in) for levels, ns in enumerate((6.40, 8.98, 10.48))),
    (7.66, ECP5.clamp + ECP5.table_in),
    (6.66, ECP5.table_out),
]


@pytest.mark.parametrize(("measured", "net"), ECP5_PATHS)
def test_the_table_of_ecp5_is_near_to_what_was_measured(measured, net):
    assert ECP5.register + net == pytest.approx(measured, rel=0.2)


def test_blocks_of_a_product():
    assert [XC7.blocks(*factors) for factors in ((16, 16), (18, 25), (25, 18), (26, 18), (26, 26), (35, 35))] == [
        1, 1, 1, 2, 4, 4,
    ]  # fmt: skip
    assert FAMILIES["xcup"].blocks(27, 18) == 1
    assert XC7.product(16, 18) == (1.7, 1)
    assert XC7.product(26, 18) == (3.4, 2)


def test_operators_are_chained_while_they_fit():
    pipeline = Pipeline(XC7, 200.0)
    at = Place(0, 0.0)
    stands = []
    for _ in range(5):
        at = pipeline.operator(at, 1.0, 0.5, "an addition").stands
        stands.append(at)
    assert stands == [(0, 1.5), (0, 3.0), (1, 1.5), (1, 3.0), (2, 1.5)]
    with pytest.raises(FxsimError, match=r"^clock must be at most 194 MHz in family xc7, not 200: x takes 4.0 ns"):
        pipeline.operator(at, 4.03, 0.0, "x")
    # A cast that does not fit behind its operator has a register in front.
    assert pipeline.operator(Place(0, 1.0), 2.0, 2.5, "x") == Slot(0, 1, 2.5)


def test_products_and_tables_have_registers_inside():
    pipeline = Pipeline(XC7, 200.0)
    assert pipeline.product(Place(0, 2.1), (16, 16), 0.0, False, "a product") == Slot(0, 1, XC7.block_out, False)
    assert pipeline.product(Place(0, 2.3), (16, 16), 0.0, False, "a product") == Slot(1, 2, XC7.block_out, False)
    assert Pipeline(XC7, 100.0).product(Place(3, 0.0), (16, 16), 0.0, False, "a product").cycle == 3
    assert pipeline.lookup(Place(0, 1.0), 0.55, 0.57, "a table").doubled is False
    assert pipeline.lookup(Place(0, 1.5), 0.55, 0.57, "a table") == Slot(0, 1, XC7.table_out, True)
    # An index that takes too long for one cycle has a register before the memory.
    assert pipeline.lookup(Place(0, 0.0), 3.0, 0.57, "a table") == Slot(0, 2, XC7.table_out, False)
