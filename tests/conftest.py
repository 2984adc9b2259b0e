# SPDX-License-Identifier: Apache-2.0
"""Tests compile thousands of small kernels, which are none of the user's; all workers share them."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def kernels_of_the_session(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    patch = pytest.MonkeyPatch()
    patch.setenv("FXSIM_CACHE_DIR", str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kernels"))
    yield
    patch.undo()
