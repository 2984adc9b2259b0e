# SPDX-License-Identifier: Apache-2.0
"""Tests compile thousands of small kernels, which are none of the user's."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def kernels_of_the_session(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("FXSIM_CACHE_DIR", str(tmp_path_factory.mktemp("kernels")))
    yield
    patch.undo()
