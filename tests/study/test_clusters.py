# SPDX-License-Identifier: Apache-2.0
"""Scans on a Dask cluster of two worker processes: the rows of one machine, whoever is killed meanwhile."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fxsim
from fxsim.demo.run import DATA, MODEL
from fxsim.errors import FxsimError
from fxsim.study import clusters
from fxsim.study.scan_file import NAME
from fxsim.study.scan_tasks import make_jobs, make_task
from fxsim.study.scans import run

distributed = pytest.importorskip("distributed")

ROOT = Path(__file__).resolve().parents[2]
SOURCE = fxsim.read_source(MODEL)
X, Y = np.load(DATA)["x"][:100], np.load(DATA)["y"][:100]
# A server that is killed leaves sockets and processes for the collector of garbage.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@contextmanager
def cluster(workers: int = 2, **options: Any) -> Iterator[Any]:
    import dask

    where = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ.PYTHONPATH": os.pathsep.join(where)}),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
            **options,
        ) as found,
    ):
        yield found


def pids(found: Any) -> list[int]:
    return [nanny.pid for nanny in found.workers.values()]


@pytest.fixture(scope="module")
def two() -> Iterator[Any]:
    with cluster() as found:
        yield found


def test_the_rows_of_one_machine(two: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"integers": [3, 4], "preset": "both"}
    seen: list[tuple[int, int]] = []
    here = fxsim.scan(SOURCE, X, Y, range(7, 10), **options)
    there = fxsim.scan(
        SOURCE, X, Y, range(7, 10), **options, folder=tmp_path,
        dask=two.scheduler_address, progress=lambda *at: seen.append(at),
    )  # fmt: skip
    assert there == here
    assert seen == [(done, 12) for done in range(13)]
    assert fxsim.scan(SOURCE, X, Y, range(7, 10), **options, folder=tmp_path) == here


def test_a_killed_worker(two: Any, tmp_path: Path) -> None:
    jobs = make_jobs(SOURCE, range(6, 18), integers=[3, 4])
    task = make_task(SOURCE, X, Y)
    killed: list[int] = []

    def kill(done: int, count: int) -> None:
        if done == 3:
            killed.append(pids(two)[0])
            os.kill(killed[0], signal.SIGKILL)

    there = run(task, jobs, Y, folder=tmp_path, dask=two.scheduler_address, progress=kill)
    assert len(killed) == 1
    assert there == run(task, jobs, Y)
    assert killed[0] not in pids(two)


def test_all_workers_killed_with_the_data(tmp_path: Path) -> None:
    jobs = make_jobs(SOURCE, range(6, 14), integers=[3, 4])
    task = make_task(SOURCE, X, Y)
    killed: list[int] = []

    with cluster() as found:

        def kill(done: int, count: int) -> None:
            if done == 3:
                killed.extend(pids(found))
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)

        assert run(task, jobs, Y, dask=found.scheduler_address, progress=kill) == run(task, jobs, Y)
    assert len(killed) == 2


def test_rows_that_are_lost_before_they_are_fetched(two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = make_jobs(SOURCE, range(6, 10))
    task = make_task(SOURCE, X, Y)
    fetch, lost = distributed.Future.result, set[str]()

    def result(future: Any, timeout: float | None = None) -> Any:
        if len(lost) < 2 and future.key not in lost:
            lost.add(future.key)
            raise distributed.client.FutureCancelledError(future.key, "its worker was killed")
        return fetch(future, timeout)

    monkeypatch.setattr(distributed.Future, "result", result)
    assert run(task, jobs, Y, dask=two.scheduler_address) == run(task, jobs, Y)
    assert len(lost) == 2


def test_a_scheduler_that_goes_away(tmp_path: Path) -> None:
    jobs = make_jobs(SOURCE, range(6, 14), integers=[3, 4])
    task = make_task(SOURCE, X, Y)
    with cluster() as found:

        def close(done: int, count: int) -> None:
            if done == 3:
                found.close()

        with pytest.raises(FxsimError, match=r"^dask: "):
            run(task, jobs, Y, folder=tmp_path, dask=found.scheduler_address, progress=close)
    done = len(json.loads((tmp_path / NAME).read_text())["rows"]) - 1
    assert 3 <= done < 16
    seen: list[tuple[int, int]] = []
    assert run(task, jobs, Y, folder=tmp_path, progress=lambda *at: seen.append(at)) == run(task, jobs, Y)
    assert seen[0] == (done, 16)


def test_a_worker_that_refuses(two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FxsimError, match=r"^hls4ml, ap_fixed<1,1>: layer 'dense_softmax': "):
        fxsim.scan(SOURCE, X, Y, [1], integers=[1], preset="hls4ml", dask=two.scheduler_address)
    monkeypatch.setattr(clusters, "_version", lambda: "9.9")
    with pytest.raises(FxsimError, match=rf"^dask: a worker has fxsim {fxsim.__version__}, not 9\.9$"):
        fxsim.scan(SOURCE, X, Y, [8], dask=two.scheduler_address)


def test_no_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "ANSWER", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(FxsimError, match=rf"^dask: no scheduler answers at '{address}' \("):
            fxsim.scan(SOURCE, X, Y, [8], dask=address, folder=tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
    for wrong in ("", "nonsense", "nonsense://x:1", "tcp://a", "tcp://a:1 ", "tcp://a:1/b", "tcp://:123456"):
        with pytest.raises(FxsimError, match=rf"^dask must be the address of a .*, like .*, not '{wrong}'$"):
            fxsim.scan(SOURCE, X, Y, [8], dask=wrong)


def test_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "WORKERS", 1)
    with cluster(workers=0) as found:
        with pytest.raises(FxsimError, match=rf"^dask: the scheduler at '{found.scheduler_address}' has no workers$"):
            fxsim.scan(SOURCE, X, Y, [8], dask=found.scheduler_address)
