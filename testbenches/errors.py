# SPDX-License-Identifier: Apache-2.0
"""What a check raises: :class:`CheckError` when it cannot run, :class:`Mismatch` when the design is wrong."""

from __future__ import annotations

import operator
import reprlib
from numbers import Real
from pathlib import Path
from typing import Any

__all__ = ["CheckError", "Mismatch", "count", "probability", "show"]

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def show(value: object) -> str:
    """A short repr for a message."""
    return _SHORT.repr(value)


def count(value: object, name: str, low: int = 1) -> int:
    """``value`` as an int if it is an integer of any type, at least ``low``; raises :class:`CheckError`."""
    try:
        found = low - 1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        found = low - 1
    if found < low:
        raise CheckError(f"{name} must be an integer of at least {low}, not {show(value)}")
    return found


def probability(value: object, name: str) -> float:
    """``value`` as a float if it is a number of any type from 0 to below 1; raises :class:`CheckError`."""
    found: Any = value
    # The limits hold for the number itself, which may be beyond all floats.
    if isinstance(found, bool) or not isinstance(found, Real) or not 0 <= value < 1:  # type: ignore[operator]
        raise CheckError(f"{name} must be a probability from 0 to below 1, not {show(value)}")
    return float(found)


class CheckError(ValueError):
    """The check cannot be done or was not passed; the message is one line that says why.

    Parameters
    ----------
    log : Path, optional
        A log with the rest of the story; the message names it too.
    """

    def __init__(self, message: str, *, log: Path | None = None) -> None:
        super().__init__(message if log is None else f"{message} (log: {log})")
        self.log = log

    def __reduce__(self) -> tuple[object, ...]:
        # Another process gets it as it is: its arguments are not those of the constructor.
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[CheckError], args: tuple[object, ...]) -> CheckError:
    return kind.__new__(kind, *args)


class Mismatch(CheckError):
    """The Verilog does not do what the manifest and the vectors say.

    Parameters
    ----------
    kind : str
        ``value``, ``extension`` (padding bits), ``tlast``, ``unstable`` (tdata or tlast changed while stalled),
        ``dropped`` (tvalid fell while stalled), ``frame_error``, ``extra`` (more output than expected), ``timeout``,
        ``timing``, ``overfull`` (a buffer behind a layer), ``buffer`` (one never did what it can), ``lint`` or
        ``test`` (a cocotb test failed).
    layer, op : str, optional
        The tap at which the first difference stands; None when it was seen at the output.
    sequence, step, element : int, optional
        Where. At the output a step is a beat.
    expected, got : int, optional
        Raw integers.
    drive : dict, optional
        Arguments of :meth:`testbenches.native.Harness.run` with which it shows again.
    inner : bool
        Whether that was in a run of the vectors with taps, where these are others.
    test : str, optional
        The cocotb test that failed.
    """

    def __init__(
        self,
        message: str,
        kind: str,
        *,
        layer: str | None = None,
        op: str | None = None,
        sequence: int | None = None,
        step: int | None = None,
        element: int | None = None,
        expected: int | None = None,
        got: int | None = None,
        log: Path | None = None,
        drive: dict[str, Any] | None = None,
        inner: bool = False,
        test: str | None = None,
    ) -> None:
        super().__init__(message, log=log)
        self.kind = kind
        self.layer = layer
        self.op = op
        self.sequence = sequence
        self.step = step
        self.element = element
        self.expected = expected
        self.got = got
        self.drive = drive
        self.inner = inner
        self.test = test
