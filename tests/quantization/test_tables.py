# SPDX-License-Identifier: Apache-2.0
"""hls4ml's tables against the ones that its emulator made, and against the definitions of their functions."""

import json
import math

import numpy as np
import pytest
from shared import SHARED, needs_shared

from fxsim.errors import FxsimError
from fxsim.program.fixed import Fixed, cast_float
from fxsim.quantization import hls4ml_tables
from fxsim.quantization.hls4ml_tables import (
    hls4ml_table,
    legacy_exp_table,
    legacy_inverse_table,
    softmax_exp_table,
    softmax_inverse_table,
)


def golden():
    unit = SHARED / "golden" / "unit"
    types = json.loads((unit / "act_tables.json").read_text())["types"]
    data = np.load(unit / "act_tables.npz")
    for key in data:
        name, function, size = key.rsplit("_", 2)
        yield key, function, int(size), Fixed.parse(types[name]), data[key]


@needs_shared
def test_every_entry_of_every_golden_table():
    compared = 0
    for key, function, size, type, want in golden():
        got = hls4ml_table(function, size, type).values.data
        if function in hls4ml_tables.BELOW_ZERO:
            got = got[::-1]
        assert np.array_equal(got, want), key
        compared += want.size
    assert compared > 50_000


@needs_shared
def test_correct_rounding_would_not_do(monkeypatch):
    """The golden tables tell glibc's tanhf from a rounded exact tanh, so the test above can fail."""
    monkeypatch.setattr(
        hls4ml_tables, "_FUNCTIONS", {**hls4ml_tables._FUNCTIONS, "tanh": lambda x: np.tanh(x.astype(np.float64))}
    )
    hls4ml_table.cache_clear()
    differs = [
        key
        for key, function, size, type, want in golden()
        if function == "tanh" and not np.array_equal(hls4ml_table(function, size, type).values.data, want)
    ]
    hls4ml_table.cache_clear()
    assert differs


@pytest.mark.parametrize(("function", "exact"), [(hls4ml_tables.expf, np.exp), (hls4ml_tables.tanhf, np.tanh)])
def test_single_precision_functions_are_within_their_error(function, exact):
    x = np.random.default_rng(3).uniform(-8.9, 8.9, 200_000).astype(np.float32)
    want = exact(x.astype(np.float64))
    assert np.max(np.abs(function(x) - want) / np.spacing(np.abs(want).astype(np.float32))) < 2.5


def test_expf_at_the_ends():
    x = np.array([0.0, -0.0, 88.0, 89.0, 1e30, -104.0, -1e30], np.float32)
    assert hls4ml_tables.expf(x).tolist() == [1.0, 1.0, np.float32(math.exp(88.0)), math.inf, math.inf, 0.0, 0.0]


WIDE = Fixed(40, 32)


@pytest.mark.parametrize("size", [2, 3, 16, 777, 1000, 1024])
@pytest.mark.parametrize("function", ["sigmoid", "softplus", "softsign", "tanh"])
def test_index_is_hls4mls(function, size):
    half = hls4ml_tables.RANGES[function]
    table = hls4ml_table(function, size, WIDE)
    for raw in range(-700, 700, 3):
        index = math.trunc(raw * size / (2 * half * 64)) + half * size // (2 * half)
        assert table.index(raw, 6) == min(max(index, 0), size - 1)


@pytest.mark.parametrize("size", [2, 777, 1024])
def test_index_below_zero_is_hls4mls(size):
    table = hls4ml_table("elu", size, WIDE)
    for raw in range(-700, 1):
        index = min(math.trunc(-raw * size / (8 * 64)), size - 1)
        assert table.values.data[table.index(raw, 6)] == table.values.data[size - 1 - index]
        assert size - 1 - index == table.index(raw, 6)


@pytest.mark.parametrize("argument", [Fixed(6, 3), Fixed(6, 3, False), Fixed(9, 12), Fixed(5, -2)])
@pytest.mark.parametrize("size", [4, 32])
def test_softmax_tables_are_read_by_the_top_bits_of_the_word(argument, size):
    bits = size.bit_length() - 1
    type = Fixed.parse("ap_fixed<24,10,RND,SAT>")
    exp = softmax_exp_table(size, argument, type, negative=False)
    minus = softmax_exp_table(size, argument, type, negative=True)
    inverse = softmax_inverse_table(size, argument, type)
    for raw in range(argument.min, argument.max + 1):
        low = (raw >> (argument.width - bits)) << (argument.width - bits)
        x = low * 2.0**-argument.frac
        for table, value in ((exp, math.exp(x)), (minus, math.exp(-x)), (inverse, 1 / x if x else math.inf)):
            got = int(table.values.data[table.index(raw, argument.frac)])
            single = value if math.isinf(value) else float(np.float32(value))
            assert abs(got - cast_float(single, type)) <= 1


def test_legacy_softmax_tables():
    type = Fixed(18, 10)
    exp, inverse = legacy_exp_table(1024, type), legacy_inverse_table(1024, type)
    assert exp.values.data[exp.index(0, 5)] == 1024
    assert exp.values.data[exp.index(-3200, 5)] == 0
    assert inverse.values.data[inverse.index(0, 0)] == inverse.values.data[inverse.index(-5, 0)] == 0
    assert inverse.values.data[inverse.index(2, 0)] == 512
    assert inverse.values.data[inverse.index(1000, 0)] == 1024 // 64


@pytest.mark.parametrize("size", [0, 1, True, 2.0, (1 << 20) + 1])
def test_sizes_are_checked(size):
    with pytest.raises(FxsimError, match=r"^table size must be an integer from 2 to 1048576, not "):
        hls4ml_table("tanh", size, WIDE)


def test_refusals():
    with pytest.raises(FxsimError, match=r"^table must be of one of sigmoid, .*, selu, not 'sin'$"):
        hls4ml_table("sin", 16, WIDE)
    with pytest.raises(FxsimError, match=r"^table size must be a power of two up to 2\*\*6, not 100$"):
        softmax_exp_table(100, Fixed(6, 3), WIDE, negative=True)
    with pytest.raises(FxsimError, match=r"^table size must be a power of two up to 2\*\*6, not 128$"):
        softmax_inverse_table(128, Fixed(6, 3), WIDE)
