# SPDX-License-Identifier: Apache-2.0
"""LLVM, as it comes with numba: from the text of a kernel to machine code for this processor."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from ..system.forks import hold_over_forks

_LOCK = threading.RLock()
# llvmlite's own, which engines that go away hold, too.
hold_over_forks(getattr(getattr(llvm.ffi.lib, "_lock", None), "_lock", None) or threading.RLock())
hold_over_forks(_LOCK)


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
    return Host(4, 32 if features.get("neon") else 16)


@functools.cache
def _features() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.get_host_cpu_features()


class Compiled:
    """Machine code of a module's function ``run``; call it with addresses and integers. Threads may share it.

    The code is kept on disk for the next process (:func:`folder`).
    """

    def __init__(self, text: str, pointers: int, integers: int) -> None:
        with _LOCK:
            target = llvm.Target.from_default_triple()
            cpu, features = llvm.get_host_cpu_name(), _features().flatten()
            machine = target.create_target_machine(cpu=cpu, features=features, opt=2, jit=True)
            # What a module leaves behind goes with its context.
            module = llvm.parse_assembly(text, llvm.create_context())
            key = "\n".join((llvmlite.__version__, cpu, features, text))
            place = folder()
            path = place / hashlib.sha256(key.encode()).hexdigest() if place else None
            code = _read(path) if path else None
            if code is None:
                options = llvm.create_pipeline_tuning_options(speed_level=2)
                # The kernels are vectors already.
                options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
                builder = llvm.create_pass_builder(machine, options)
                builder.getModulePassManager().run(module, builder)
            self._engine = llvm.create_mcjit_compiler(module, machine)
            if path:
                self._engine.set_object_cache(partial(_write, path), lambda _: code)
            self._engine.finalize_object()
            address = self._engine.get_function_address("run")
            # The machine code is the engine's; the text it came from is some thousand times larger.
            self._engine.remove_module(module)
            module.close()
        types = [ctypes.c_void_p] * pointers + [ctypes.c_int64] * integers
        #: ctypes lets other threads run meanwhile.
        self.call = ctypes.CFUNCTYPE(None, *types)(address)


# --- On disk

#: Kernels kept; the ones that were not used for longest go first.
_MOST = 512


def folder() -> Path | None:
    """Where compiled kernels are kept: $FXSIM_CACHE_DIR, or fxsim in the user's cache folder; None if there is none."""
    own = os.environ.get("FXSIM_CACHE_DIR")
    if own:
        return Path(own)
    # A relative path is not a user's folder, by the XDG specification; and "~" stays what it is where nobody's home is
    # known.
    for base in (os.environ.get("XDG_CACHE_HOME", ""), os.path.join(os.path.expanduser("~"), ".cache")):
        if os.path.isabs(base):
            return Path(base) / "fxsim"
    return None


def _read(path: Path) -> bytes | None:
    """A kept kernel; None if there is none, or not a whole one."""
    try:
        kept = path.read_bytes()
    except OSError:
        return None
    with suppress(OSError):  # the folder may be there to be read alone
        os.utime(path)
    return kept[32:] if hashlib.sha256(kept[32:]).digest() == kept[:32] else None


def _write(path: Path, _: object, code: bytes) -> None:
    """Keep a kernel. A folder that cannot be written only costs the next process its time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            try:
                file.write(hashlib.sha256(code).digest() + code)
                file.flush()
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
        kept = sorted(path.parent.glob("[0-9a-f]" * 64), key=lambda one: one.stat().st_mtime)
        for old in kept[:-_MOST]:
            old.unlink()
    except OSError:
        return
