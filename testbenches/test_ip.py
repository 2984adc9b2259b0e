# SPDX-License-Identifier: Apache-2.0
"""An exported folder as a pytest suite, for a project's own continuous integration.

    FXSIM_IP=ip pytest --pyargs testbenches.test_ip

``FXSIM_IP`` names the folder that ``fxsim export`` wrote; nothing else is needed. ``FXSIM_SIMULATOR`` is verilator (the
default) or icarus, ``FXSIM_SEQUENCES`` how many golden vectors each cocotb test uses (20 by default).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .check import check_folder
from .cocotb_run import COUNTED_TESTS, SIMULATORS, TESTS, run_cocotb
from .lint import lint_folder
from .manifest import Manifest

FOLDER = os.environ.get("FXSIM_IP")
SIMULATOR = os.environ.get("FXSIM_SIMULATOR", "verilator")
PROTOCOL = COUNTED_TESTS if FOLDER is not None and Manifest.load(FOLDER).counted else TESTS

pytestmark = pytest.mark.skipif(FOLDER is None, reason="FXSIM_IP names no exported folder")


@pytest.fixture(scope="module")
def folder() -> Path:
    """Give the folder that is tested."""
    assert FOLDER is not None
    return Path(FOLDER)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep one build for all tests."""
    return tmp_path_factory.mktemp("ip")


@pytest.mark.skipif(SIMULATOR != "verilator", reason="the native harness is Verilator's")
def test_bits_and_cycles(folder: Path, build: Path) -> None:
    """All golden vectors, without stalls and with: bits are the simulator's, cycles the manifest's."""
    check_folder(folder, folder / "vectors.npz", cocotb=False, build_dir=build)


def test_lint(folder: Path) -> None:
    """Verilator has nothing to say."""
    lint_folder(folder)


@pytest.mark.parametrize("name", PROTOCOL)
def test_protocol(folder: Path, build: Path, name: str) -> None:
    """One test of the cocotb regression."""
    assert SIMULATOR in SIMULATORS, f"FXSIM_SIMULATOR must be one of {', '.join(SIMULATORS)}, not {SIMULATOR!r}"
    sequences = int(os.environ.get("FXSIM_SEQUENCES", "20"))
    assert run_cocotb(
        folder, folder / "vectors.npz", simulator=SIMULATOR, sequences=sequences, build_dir=build, tests=[name]
    )
