# SPDX-License-Identifier: Apache-2.0
"""The rows of a scan on a Dask cluster: the same rows, whichever worker finds them, and whichever dies meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import FxsimError, show
from ..extras import importing

if TYPE_CHECKING:
    from .scan_file import ScanRow
    from .scan_tasks import Job, Task

    Measure = Callable[[Task, Sequence[Job]], Iterator[ScanRow]]

#: Seconds until a scheduler must have answered, and a worker of it be there.
ANSWER, WORKERS = 10, 60
#: How often a row may be lost with the workers that had the data, which are then sent again.
LOSSES = 5
_ADDRESS = re.compile(r"(?:(?:tcp|tls|ws|wss|ucx)://)?[^/\s]+:[0-9]{1,5}")


@contextmanager
def connect(address: str) -> Iterator[Measure]:
    """What gives the rows of jobs, in the order in which a cluster's workers finish them.

    The network and the batch are sent to each worker once. Dask itself gives the rows of a worker that dies to
    others; rows that are lost with the data are asked for again. Raises ``FxsimError`` if there is no scheduler at
    ``address`` (``tcp://HOST:PORT``), no worker, one that has another version of fxsim, or one row that too many
    workers died of.
    """
    with importing("--dask"):
        from distributed import Client
    if not _ADDRESS.fullmatch(address):
        raise FxsimError(f"dask must be the address of a scheduler, like tcp://10.0.0.1:8786, not {show(address)}")
    try:
        client = Client(address, timeout=ANSWER, set_as_default=False)
    except Exception as error:  # OSError, TimeoutError, and what other protocols raise
        raise FxsimError(f"dask: no scheduler answers at {address!r} ({_line(error)})") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS)
        except TimeoutError:
            raise FxsimError(f"dask: the scheduler at {address!r} has no workers") from None

        def measure(task: Task, jobs: Sequence[Job]) -> Iterator[ScanRow]:
            try:
                yield from _rows(client, task, jobs)
            except FxsimError:
                raise
            except Exception as error:  # CommClosedError and others, of a scheduler that is gone
                raise FxsimError(f"dask: the scheduler at {address!r} was lost ({_line(error)})") from None

        yield measure


def _rows(client: Any, task: Task, jobs: Sequence[Job]) -> Iterator[ScanRow]:
    with importing("--dask"):
        from distributed import as_completed

    losses = dict.fromkeys(jobs, 0)
    left = list(jobs)
    while left:
        shared = client.scatter(task, broadcast=True, hash=False)
        futures = {client.submit(_work, shared, job, _version(), pure=False): job for job in left}
        left = []
        for future in as_completed(futures, loop=client.loop):
            row = _result(future, futures[future])
            if row is None:
                left.append(futures[future])
            else:
                yield row
        for job in left:
            losses[job] += 1
            if losses[job] > LOSSES:
                raise FxsimError(f"dask: rows were lost with their workers {LOSSES} times, last at {job.precision}")


def _version() -> str:
    from .. import __version__

    return __version__


def _work(task: Task, job: Job, version: str) -> ScanRow:
    """What a worker does; a row is the work of one thread, for the scheduler to count."""
    if _version() != version:
        raise FxsimError(f"dask: a worker has fxsim {_version()}, not {version}")
    return task.measure(job, threads=1)


def _result(future: Any, job: Job) -> ScanRow | None:
    """A row; None if it was lost with its worker, be it found already and not yet fetched."""
    if future.status in ("cancelled", "lost"):
        return None
    try:
        row: ScanRow = future.result()
    except FxsimError:
        raise
    except CancelledError:
        return None
    except Exception as error:  # KilledWorker, and whatever else a worker that is not ours can raise
        raise FxsimError(f"dask: {job.preset}, {job.precision}: {type(error).__name__}: {_line(error)}") from None
    return row


def _line(error: Exception) -> str:
    return f"{' '.join(str(error).split()) or type(error).__name__:.200}"
