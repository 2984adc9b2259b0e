# SPDX-License-Identifier: Apache-2.0
"""Orders of gates."""

import numpy as np
import pytest

from fxsim.errors import ModelError
from fxsim.importers.gates import GATES, PYTORCH, reorder


@pytest.mark.parametrize(
    ("kind", "order", "want"),
    [
        ("lstm", "ifgo", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("lstm", "iofg", [0, 1, 4, 5, 6, 7, 2, 3]),
        ("gru", "zrh", [0, 1, 2, 3, 4, 5]),
        ("gru", "rzh", [2, 3, 0, 1, 4, 5]),
        ("simple_rnn", "h", [0, 1]),
    ],
)
def test_blocks_are_moved(kind, order, want):
    values = np.arange(2.0 * len(order))
    assert reorder(kind, order, values).tolist() == want
    assert reorder(kind, order, np.stack([values, -values])).tolist() == [want, [-w for w in want]]


def test_results_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        reorder("gru", PYTORCH["gru"], np.zeros(3))[0] = 1.0
    assert PYTORCH["lstm"] == GATES["lstm"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("conv", "h", np.zeros(3)), r"^kind must be one of lstm, gru, simple_rnn, not 'conv'$"),
        (("gru", "rzn", np.zeros(3)), r"^order of the gates must have each of z, r, h once, not 'rzn'$"),
        (("gru", "rrh", np.zeros(3)), r"^order of the gates must have each of z, r, h once, not 'rrh'$"),
        (("lstm", "ifgo", np.zeros((2, 6))), r"^the last axis of lstm weights must be a multiple of 4, not 6$"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ModelError, match=message):
        reorder(*arguments)
