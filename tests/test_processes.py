# SPDX-License-Identifier: Apache-2.0
"""Errors, forks and interrupts: what crosses the border of a process, and what a process leaves behind."""

from __future__ import annotations

import copy
import importlib
import inspect
import multiprocessing
import os
import pickle
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fxsim
import rtl
import testbenches
from fxsim.forks import cached_property
from testbenches.errors import CheckError, Mismatch

HERE = Path(__file__).resolve().parent
OURS = (fxsim, rtl, testbenches)


# --- Errors


def modules() -> Iterator[str]:
    """Every module of ours that can be imported without running something."""
    for package in OURS:
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith(("__main__", "test_ip", "cocotb_tests")):
                yield found.name


def kinds() -> list[type[BaseException]]:
    """Every class of ours that can be raised."""
    for name in modules():
        importlib.import_module(name)
    found, left = [], [BaseException]
    while left:
        kind = left.pop()
        left += kind.__subclasses__()
        if kind.__module__.partition(".")[0] in {package.__name__ for package in OURS}:
            found.append(kind)
    return sorted(set(found), key=lambda kind: f"{kind.__module__}.{kind.__name__}")


def example(kind: type[BaseException]) -> BaseException:
    """An error with something in each of its fields."""
    texts: list[str] = []
    named: dict[str, object] = {}
    if "__init__" not in {name for base in kind.__mro__ if base.__module__ != "builtins" for name in vars(base)}:
        return kind("what is wrong")
    for parameter in inspect.signature(kind).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = Path("a.log") if parameter.name == "log" else len(named)
        else:
            texts.append(f"{parameter.name} of it")
    return kind(*texts, **named)


def same(one: BaseException, two: BaseException) -> bool:
    return (type(one), one.args, str(one), one.__dict__) == (type(two), two.args, str(two), two.__dict__)


def test_errors_are_copied_whole() -> None:
    found = kinds()
    assert {"FxsimError", "ModelError", "KernelError", "TooWide", "CheckError", "Mismatch"} <= {
        kind.__name__ for kind in found
    }
    for kind in found:
        error = example(kind)
        error.add_note("seen by a test")
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert same(pickle.loads(pickle.dumps(error, protocol)), error), kind
        assert same(copy.copy(error), error) and same(copy.deepcopy(error), error)


def raise_one(number: int) -> None:
    raise example(kinds()[number])


def test_errors_cross_to_another_process() -> None:
    """A pool waits for ever for a result that it cannot read."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for number, kind in enumerate(kinds()):
            with pytest.raises(kind) as caught:
                pool.apply_async(raise_one, (number,)).get(60)
            error = example(kind)
            assert (str(caught.value), caught.value.args) == (str(error), error.args)
            assert {**vars(caught.value), "__notes__": 0} == {**vars(error), "__notes__": 0}


def test_what_an_error_says_is_not_said_twice() -> None:
    error = CheckError("it broke", log=Path("x.log"))
    assert str(pickle.loads(pickle.dumps(error))) == "it broke (log: x.log)"
    found = pickle.loads(pickle.dumps(Mismatch("differs", "value", layer="lstm", op="c", sequence=3, got=-1)))
    assert (found.kind, found.layer, found.op, found.sequence, found.got, found.step) == (
        "value", "lstm", "c", 3, -1, None,
    )  # fmt: skip


# --- Forks

#: A thread compiles one network after the other, on two threads of the pool, while the process forks; every child
#: compiles and runs one of its own.
FORKS = """
import itertools, os, signal, sys, threading, time
import numpy as np
from networks import network
from fxsim import simulation
from fxsim.simulation import predict, simulate

simulation.LEAST_WORK = 0
x = np.zeros((100, 4, 3))

def run(seed):
    graph = network("gru", seed=seed, units=3, tail=(2,))
    simulate(graph, x, threads=2, trace=True)
    predict(graph, x[:1])
    return graph.digest

def forever():
    for seed in itertools.count(1000):
        run(seed)

run(0)
threading.Thread(target=forever, daemon=True).start()
for number in range(int(sys.argv[1])):
    time.sleep(0.037 * number)
    child = os.fork()
    if not child:
        signal.alarm(60)  # ends a child that waits
        run(number)
        os._exit(7)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != 7:
        print("child", number, "ended with", os.waitstatus_to_exitcode(status))
        os._exit(1)
os._exit(0)
"""


def python(script: str, *arguments: str, **given: Any) -> subprocess.CompletedProcess[str]:
    """Run a script in a process that finds the tests' modules."""
    paths = os.pathsep.join([str(HERE), str(HERE.parent)])
    environment = {**os.environ, "PYTHONPATH": paths, **given}
    command = [sys.executable, "-W", "ignore", "-c", script, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_while_another_thread_compiles() -> None:
    done = python(FORKS, "12")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_lock_that_another_thread_holds_delays_a_fork() -> None:
    """The child has it free; and a thread that holds it itself may fork."""
    script = """
import os, threading, time
from fxsim.forks import hold_over_forks
lock = threading.RLock()
hold_over_forks(lock)
held = threading.Event()
def hold():
    with lock:
        held.set()
        time.sleep(0.5)
threading.Thread(target=hold).start()
held.wait()
for own in (False, True):
    if own:
        lock.acquire()
    child = os.fork()
    if not child:
        free = lock.acquire(timeout=5)
        os._exit(0 if free else 1)
    print(os.waitpid(child, 0)[1])
    if own:
        lock.release()
"""
    done = python(script)
    assert (done.stdout.split(), done.stderr) == (["0", "0"], "")


def test_a_property_is_computed_once_without_a_lock() -> None:
    calls = []

    class Square:
        side = 3

        @cached_property
        def area(self) -> int:
            """The square of the side."""
            calls.append(self)
            return self.side**2

    square, other = Square(), Square()
    assert (square.area, square.area, other.area) == (9, 9, 9)
    assert calls == [square, other]
    assert Square.area.__doc__ == "The square of the side."
    assert not [name for name in vars(Square.area) if "lock" in name]
    sources = [path.read_text() for package in OURS for path in Path(package.__path__[0]).rglob("*.py")]
    assert not [text for text in sources if re.search(r"from functools import [^\n]*cached_property", text)]
