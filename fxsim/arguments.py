# SPDX-License-Identifier: Apache-2.0
"""Numbers and arrays that callers pass, of Python, numpy or another library: made plain, or refused in one line."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FxsimError, show

__all__ = ["array", "by_name", "flag", "index", "integer", "real", "settle", "sizes"]


def _plain(value: Any) -> Any:
    """A scalar of numpy or of a tensor library as Python's; anything else as it is."""
    if getattr(value, "ndim", None) != 0 or not hasattr(value, "item"):
        return value
    try:
        return value.item()
    except Exception:  # a tensor may be anywhere, for example on a device that is gone
        return value


def index(value: object) -> int | None:
    """``value`` as an int if it is an integer of any type (``operator.index``), else None; True is no integer."""
    if type(value) is int:
        return value
    plain = _plain(value)
    if isinstance(plain, bool):
        return None
    try:
        return operator.index(plain)
    except Exception:  # an array raises TypeError, a tensor's library what it likes
        return None


def integer(value: object, name: str, low: int | None = None, high: int | None = None, *, note: str = "") -> int:
    """``value`` as an int from ``low`` to ``high``; raises ``FxsimError`` that names it, with ``note`` behind the
    limits.
    """
    found = index(value)
    if found is None or (low is not None and found < low) or (high is not None and found > high):
        raise FxsimError(f"{name} must be {_integers(low, high)}{note}, not {show(value)}")
    return found


def _integers(low: int | None, high: int | None) -> str:
    if low == 1 and high is None:
        return "a positive integer"
    if low is None:
        return "an integer"
    return f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}"


def settle(instance: object, *names: str) -> None:
    """Make integers of any type Python's in these fields of a frozen dataclass, so that equal ones look equal.

    What is no integer stays, for those who know the legal values to refuse.
    """
    for name in names:
        value = getattr(instance, name)
        found = index(value)
        if found is not None and found is not value:
            object.__setattr__(instance, name, found)


def by_name(names: Sequence[str], given: Any) -> dict[str, Any]:
    """What is given for each of some inputs, in their order: ``given`` itself for the only one.

    For several it is a dictionary, or a list in their order. Raises ``FxsimError`` with the names where some are
    missing or others are there.
    """
    legal = ", ".join(map(repr, names))
    if isinstance(given, Mapping):
        if set(given) != set(names):
            raise FxsimError(f"inputs must be {legal}, not {', '.join(map(repr, given)) or 'none'}")
        return {name: given[name] for name in names}
    if len(names) == 1:
        return {names[0]: given}
    if not isinstance(given, list | tuple) or len(given) != len(names):
        have = f"{len(given)}" if isinstance(given, list | tuple) else f"one {type(given).__name__}"
        raise FxsimError(f"inputs must be {len(names)} arrays, by name or in this order: {legal}; not {have}")
    return dict(zip(names, given, strict=True))


def sizes(value: Iterable[object], name: str, most: int, error: type[FxsimError] = FxsimError) -> tuple[int, ...]:
    """The shape of one input, (steps, features) or (features,), of integers up to ``most``; else raises ``error``."""
    try:
        found = [index(size) for size in value]
    except TypeError:
        found = []
    if len(found) not in (1, 2) or not all(size is not None and 1 <= size <= most for size in found):
        raise error(f"{name} must be (steps, features) or (features,), not {show(value)}")
    return tuple(size for size in found if size is not None)


def real(
    value: object, name: str, low: float = -math.inf, high: float = math.inf, *, unit: str = "", above: bool = False
) -> float:
    """``value``, a real number of any type, as a float from ``low`` (``above``: above it) to ``high``, and finite.

    Raises ``FxsimError`` that names it, with ``unit`` behind the limits; so it does for NaN, True and texts.
    """
    plain = _plain(value)
    try:
        found = math.nan if isinstance(plain, bool) or not isinstance(plain, Real) else float(plain)
    except OverflowError:  # an integer or fraction beyond all floats
        found = math.inf
    # The limits hold for the number itself: a fraction may be beyond one that its float is not.
    if not math.isfinite(found) or not low <= plain <= high or (above and plain == low):
        limits = f"above {low:g} and at most {high:g}" if above else f"from {low:g} to {high:g}"
        legal = "a finite number" if math.isinf(low) and math.isinf(high) else limits
        raise FxsimError(f"{name} must be {legal}{unit}, not {show(value)}")
    return found


def flag(value: object, name: str) -> bool:
    """``value`` as a bool if it is True or False of any type; raises ``FxsimError`` that names it."""
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise FxsimError(f"{name} must be True or False, not {show(value)}")
    return plain


def array(values: Any, name: str, wanted: str = "numbers", error: type[FxsimError] = FxsimError) -> NDArray[Any]:
    """``values`` as an array of integers, floats or bools, not copied where it is one.

    Raises ``error``, which begins with ``name`` and says what it must be, for texts, objects, complex numbers, lists
    whose rows differ in length, arrays with masked values, and whatever cannot be made an array (a tensor with
    gradients, or of a type that numpy does not have).
    """
    if np.ma.is_masked(values):
        raise error(f"{name} must be {wanted}, all of them there, not a masked array with values left out")
    try:
        found = np.asarray(values)
    except Exception as failure:  # what a sequence's or a tensor's own conversion raises may be anything
        reason = " ".join(str(failure).split()) or type(failure).__name__
        raise error(f"{name} must be {wanted}, not a {type(values).__name__} ({reason:.200})") from None
    if found.dtype.kind not in "fiub":
        raise error(f"{name} must be {wanted}, not {found.dtype!s:.60}")
    return found
