# SPDX-License-Identifier: Apache-2.0
"""The delay table against the paths that it was calibrated on, and the chaining of operators."""

import pytest

from fxsim.errors import FxsimError
from fxsim.fixed import Fixed, Overflow, Round
from rtl.delays import FAMILIES
from rtl.pipeline import Pipeline, Place, Slot

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
