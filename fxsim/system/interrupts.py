# SPDX-License-Identifier: Apache-2.0
"""Signals that end a command: the first one does, in whatever it falls, and no other one meanwhile."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

#: By the terminal, by ``kill``, by a terminal that is closed.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Seconds after which an interrupt that was lost comes again.
_AGAIN = 0.01
_received: list[signal.Signals] = []


def catch() -> None:
    """Have each of these signals raise ``KeyboardInterrupt``, but for those that this process was started to ignore."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)
    signal.signal(signal.SIGALRM, _raise)
    sys.unraisablehook = _lost


def ignore() -> None:
    """From now on, none of them does anything."""
    for number in (*_SIGNALS, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def received() -> signal.Signals | None:
    """The signal that has come, if one has."""
    return _received[0] if _received else None


def _raise(number: int, frame: FrameType | None) -> None:
    # What is half-written is removed on the way out, which a second signal must not interrupt.
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    if number != signal.SIGALRM:
        _received.append(signal.Signals(number))
    raise KeyboardInterrupt(_received[0].name)


def _lost(report: Any) -> None:
    """In a callback from C, or while an object goes away, nobody can catch an exception: Python only reports it."""
    if isinstance(report.exc_value, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    else:
        sys.__unraisablehook__(report)
