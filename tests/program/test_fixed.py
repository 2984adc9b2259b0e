# SPDX-License-Identifier: Apache-2.0
"""Casts against the answers of the ap_fixed headers, exhaustively for small widths against rational arithmetic."""

import json
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from shared import SHARED, needs_shared

from fxsim.errors import FxsimError
from fxsim.program.fixed import (
    Fixed,
    Overflow,
    Round,
    cast,
    cast_float,
    cast_floats,
    exact_product,
    exact_sum,
    round_shift,
    round_shifts,
    smallest,
    to_float,
)


def golden():
    unit = SHARED / "golden" / "unit"
    return json.loads((unit / "casts.json").read_text()), np.load(unit / "casts.npz")


def modes():
    return [(r, o) for r in Round for o in Overflow]


@needs_shared
def test_equals_every_fixed_to_fixed_answer():
    index, data = golden()
    compared = 0
    for case in index["fixed_to_fixed"]:
        src, dst = case["src"], case["dst"]
        frac = src["W"] - src["I"]
        for i, q in enumerate(index["Q_axis0"]):
            for j, o in enumerate(index["O_axis1"]):
                to = Fixed(dst["W"], dst["W"] - dst["I"], dst["signed"], Round[q], Overflow[o])
                got = [cast(int(v), frac, to) for v in data[case["key"] + "_in"]]
                assert got == data[case["key"] + "_out"][i, j].tolist(), (case, q, o)
                compared += len(got)
    assert compared > 300_000


@needs_shared
def test_equals_every_double_to_fixed_answer():
    index, data = golden()
    compared = 0
    for case in index["double_to_fixed"]:
        dst = case["dst"]
        values = data["dbl_in"]
        for i, q in enumerate(index["Q_axis0"]):
            for j, o in enumerate(index["O_axis1"]):
                to = Fixed(dst["W"], dst["W"] - dst["I"], dst["signed"], Round[q], Overflow[o])
                want = data[case["key"] + "_out"][i, j]
                assert [cast_float(v, to) for v in values] == want.tolist(), (case, q, o)
                assert np.array_equal(cast_floats(values, to), want), (case, q, o)
                compared += len(want)
    assert compared > 800_000


def naive(value: Fraction, to: Fixed) -> int:
    """Rounding by its definition on rationals: choose between the two neighbours."""
    scaled = value * Fraction(2) ** to.frac
    low = floor(scaled)
    if scaled == low:
        rounded = low
    else:
        near = {True: low, False: low + 1}[scaled - low < Fraction(1, 2)]
        tie = scaled - low == Fraction(1, 2)
        rounded = {
            Round.TRN: low,
            Round.TRN_ZERO: low if scaled > 0 else low + 1,
            Round.RND: low + 1 if tie else near,
            Round.RND_MIN_INF: low if tie else near,
            Round.RND_ZERO: (low if scaled > 0 else low + 1) if tie else near,
            Round.RND_INF: (low + 1 if scaled > 0 else low) if tie else near,
            Round.RND_CONV: (low if low % 2 == 0 else low + 1) if tie else near,
        }[to.round]
    bottom = -(2 ** (to.width - 1)) if to.signed else 0
    top = 2 ** (to.width - 1) - 1 if to.signed else 2**to.width - 1
    if to.overflow is Overflow.WRAP:
        return (rounded - bottom) % 2**to.width + bottom
    if to.overflow is Overflow.SAT_SYM and to.signed:
        return max(-top, min(top, rounded))
    if bottom <= rounded <= top:
        return rounded
    return 0 if to.overflow is Overflow.SAT_ZERO else max(bottom, min(top, rounded))


@pytest.mark.parametrize(("rounding", "over"), modes())
def test_cast_is_the_definition_for_all_small_formats(rounding, over):
    for width in range(1, 5):
        for frac in range(-2, 6):
            for signed in (True, False):
                to = Fixed(width, frac, signed, rounding, over)
                for raw in range(-32, 32):
                    assert cast(raw, 3, to) == naive(Fraction(raw, 8), to), (raw, to)


@pytest.mark.parametrize(("rounding", "over"), modes())
def test_array_of_floats_equals_one_by_one(rounding, over):
    rng = np.random.default_rng(1)
    values = np.concatenate(
        [
            rng.normal(0, 4, 300),
            rng.integers(-64, 64, 200) / 16,
            10.0 ** rng.uniform(-320, 308, 100) * rng.choice([-1, 1], 100),
            [0.0, -0.0, 5e-324, -5e-324, 2.0**63, -(2.0**63)],
        ]
    )
    for to in (
        Fixed(6, 3, True, rounding, over),
        Fixed(7, -2, False, rounding, over),
        Fixed(63, 40, True, rounding, over),
    ):
        assert cast_floats(values, to).tolist() == [cast_float(v, to) for v in values]


@pytest.mark.parametrize("mode", Round)
def test_arrays_are_rounded_as_one_by_one(mode):
    rng = np.random.default_rng(2)
    wide = rng.integers(-(1 << 61), 1 << 61, 60)
    for raw in (np.arange(-40, 41), wide, wide.astype(object) * 3**30):
        for shift in (-1, 0, 1, 2, 3, 5, 61, 62, 63, 80):
            if raw.dtype != object and shift < 0 and raw is wide:
                continue  # the caller sees to it that the result fits
            found = round_shifts(raw, shift, mode)
            assert [int(v) for v in found] == [round_shift(int(v), shift, mode) for v in raw], shift


def test_round_trip_of_values():
    to = Fixed(9, 4)
    raws = np.arange(to.min, to.max + 1)
    assert np.array_equal(cast_floats(to_float(raws, to), to), raws)


@pytest.mark.parametrize(
    ("text", "type"),
    [
        ("ap_fixed<16,6>", Fixed(16, 10)),
        ("ap_fixed<16, 6, AP_RND, AP_SAT>", Fixed(16, 10, True, Round.RND, Overflow.SAT)),
        ("fixed<18,8,RND_CONV,SAT_SYM,0>", Fixed(18, 10, True, Round.RND_CONV, Overflow.SAT_SYM)),
        ("ap_ufixed<8,-2,AP_TRN_ZERO>", Fixed(8, 10, False, Round.TRN_ZERO)),
        ("ap_fixed<8,12>", Fixed(8, -4)),
        ("ap_uint<3>", Fixed(3, 0, False)),
        ("int<5>", Fixed(5, 0)),
    ],
)
def test_parse_and_print(text, type):
    assert Fixed.parse(text) == type
    assert Fixed.parse(str(type)) == type


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ap_fixed<16>", r"precision must look like .*, not 'ap_fixed<16>'"),
        ("float", r"precision must look like .*, not 'float'"),
        ("ap_fixed<16,6,AP_UP>", r"rounding must be one of TRN, .*, not UP"),
        ("ap_fixed<16,6,AP_RND,AP_WRAP_SM>", r"overflow must be one of WRAP, .*, not WRAP_SM"),
        ("ap_fixed<16,6,AP_RND,AP_WRAP,2>", r"the number of saturation bits must be 0, not 2"),
        ("ap_fixed<0,0>", r"the width must be from 1 to 1024"),
        ("ap_fixed<16,>", r"precision must look like"),
        ("ap_fixed<1_6,6>", r"precision must look like"),
        ("ap_fixed<1\u0663,6>", r"precision must look like"),
        (None, r"precision must look like .*, not None"),
    ],
)
def test_bad_precisions_are_refused(text, message):
    with pytest.raises(FxsimError, match=message):
        Fixed.parse(text)


def test_bad_fields_are_refused():
    for width, frac, signed in ((0, 0, True), (True, 0, True), (8, 1.5, True), (8, 0, 1)):
        with pytest.raises(FxsimError, match="must be"):
            Fixed(width, frac, signed)


def test_nan_and_infinity():
    with pytest.raises(FxsimError, match="NaN"):
        cast_float(float("nan"), Fixed(8, 4))
    with pytest.raises(FxsimError, match=r"value at \(1,\) is inf"):
        cast_floats([0.0, float("inf")], Fixed(8, 4))
    assert cast_float(float("inf"), Fixed(8, 4, True, Round.TRN, Overflow.SAT)) == 127
    assert cast_float(float("-inf"), Fixed(8, 4)) == 0


@pytest.mark.parametrize("a", [Fixed(4, 1), Fixed(3, 4, False), Fixed(4, -1)])
@pytest.mark.parametrize("b", [Fixed(3, 2), Fixed(4, 0, False)])
def test_exact_formats_hold_every_result(a, b):
    for x in range(a.min, a.max + 1):
        for y in range(b.min, b.max + 1):
            product = exact_product(a, b)
            assert product.min <= x * y <= product.max
            for subtract in (False, True):
                total = exact_sum(a, b, subtract)
                value = (x << (total.frac - a.frac)) + (-1 if subtract else 1) * (y << (total.frac - b.frac))
                assert total.min <= value <= total.max


def test_smallest_is_tight():
    for low in range(-9, 1):
        for high in range(low, 9):
            type = smallest(low, high, 2)
            assert type.min <= low and high <= type.max
            if type.width > 1:
                less = Fixed(type.width - 1, 2, type.signed)
                assert not (less.min <= low and high <= less.max)
