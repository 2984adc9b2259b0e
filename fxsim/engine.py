# SPDX-License-Identifier: Apache-2.0
"""LLVM, as it comes with numba: from the text of a kernel to machine code for this processor."""

from __future__ import annotations

import ctypes
import functools
import threading
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm

_LOCK = threading.Lock()


@dataclass(frozen=True)
class Host:
    """What kernels want to know of a processor: 32-bit lanes of its vector registers, and how many of these it has."""

    lanes: int
    registers: int


@functools.cache
def host() -> Host:
    """This processor."""
    features = _features()
    if features.get("avx512f") and features.get("avx512bw"):
        return Host(16, 32)
    if features.get("avx2"):
        return Host(8, 16)
    return Host(4, 32 if llvm.get_host_cpu_features().get("neon") else 16)


@functools.cache
def _features() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.get_host_cpu_features()


class Compiled:
    """Machine code of a module's function ``run``; call it with addresses and integers. Threads may share it."""

    def __init__(self, text: str, pointers: int, integers: int) -> None:
        with _LOCK:  # LLVM's global context
            target = llvm.Target.from_default_triple()
            machine = target.create_target_machine(
                cpu=llvm.get_host_cpu_name(), features=_features().flatten(), opt=2, jit=True
            )
            module = llvm.parse_assembly(text)
            options = llvm.create_pipeline_tuning_options(speed_level=2)
            # The kernels are vectors already.
            options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
            builder = llvm.create_pass_builder(machine, options)
            builder.getModulePassManager().run(module, builder)
            self._engine = llvm.create_mcjit_compiler(module, machine)
            self._engine.finalize_object()
            address = self._engine.get_function_address("run")
        types = [ctypes.c_void_p] * pointers + [ctypes.c_int64] * integers
        #: ctypes lets other threads run meanwhile.
        self.call = ctypes.CFUNCTYPE(None, *types)(address)
