# SPDX-License-Identifier: Apache-2.0
"""Harnesses for a few sequences: the compiler does not optimize, which takes half of the time."""

from __future__ import annotations

from functools import partial

from testbenches import check, native

build = partial(native.build, optimize=False)
check_folder = partial(check.check_folder, optimize=False)
check_native = partial(check.check_native, optimize=False)
