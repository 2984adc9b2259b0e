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


#: Characters after which a message lists no more of a model's obstacles; there may be as many as it has layers.
_MOST_LISTED = 800


class ModelError(FxsimError):
    """A model that cannot be imported: a damaged file, or a network fxsim does not express exactly.

    ``obstacles`` has a sentence for each thing that is in the way. The message puts all of them into one line, behind
    ``where`` if that is given.
    """

    def __init__(self, *obstacles: str, where: str = "") -> None:
        super().__init__(*obstacles)
        self.obstacles = obstacles
        self.where = where

    def __str__(self) -> str:
        text = self.obstacles[0] if len(self.obstacles) == 1 else _listed(self.obstacles)
        return f"{self.where}: {text}" if self.where else text


def _listed(obstacles: tuple[str, ...]) -> str:
    shown = ""
    for number, text in enumerate(obstacles, 1):
        if len(shown) > _MOST_LISTED:
            shown += f" and {len(obstacles) - number + 1} more"
            break
        shown += f" ({number}) {text}"
    return f"{len(obstacles)} obstacles:{shown}"


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
