# SPDX-License-Identifier: Apache-2.0
"""What fxsim raises when it refuses something: one clear line that says what is wrong, where, and what is legal."""

from __future__ import annotations

import reprlib


class FxsimError(ValueError):
    """Base of every refusal of fxsim; the command line prints it as its one line and exits with status 2."""

    def __reduce__(self) -> tuple[object, ...]:
        # Another process gets it as it is, whatever the constructor of its class takes.
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[FxsimError], args: tuple[object, ...]) -> FxsimError:
    return kind.__new__(kind, *args)


class ModelError(FxsimError):
    """A model that cannot be imported: a damaged file, or a network fxsim does not express exactly."""


class KernelError(RuntimeError):
    """A compiled kernel reached beyond a tensor: a fault of fxsim, which its checked mode finds."""


class OverflowWarning(RuntimeWarning):
    """Values left their formats in a prediction: the message names tensors, shares and enough integer bits."""


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 60
        self.maxlong = 30
        self.maxlevel = 3

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write thousands of digits.
        return super().repr_int(x, level) if x.bit_length() < 4096 else f"an integer of {x.bit_length()} bits"


_SHORT = _Short()


def show(value: object) -> str:
    """Give a short, single-line repr for a message, safe for values nested or shared without end."""
    # An array's has several.
    return " ".join(line.strip() for line in _SHORT.repr(value).split("\n"))
