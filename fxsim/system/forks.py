# SPDX-License-Identifier: Apache-2.0
"""What a fork must not break: locks that another thread holds, which the child would wait for without end."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, overload

T = TypeVar("T")


class Lock(Protocol):
    """What can be acquired and released, by one thread several times."""

    def acquire(self) -> Any:
        """Wait for it."""

    def release(self) -> Any:
        """Let go of it."""


def hold_over_forks(lock: Lock) -> None:
    """Let a fork wait until no other thread holds ``lock``.

    Of a thread that compiles, nothing but the locks that it holds is in the child. Of several locks, one that is
    acquired while another is held must be given first.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


class cached_property(Generic[T]):  # named as that of functools, which it replaces
    """:class:`functools.cached_property` as it is from Python 3.12 on: without a lock.

    The lock of 3.11 is one for all objects of a class, and a fork may leave it held. Two threads may both compute a
    value, which is the same.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> cached_property[T]: ...

    @overload
    def __get__(self, instance: object, owner: type | None = None) -> T: ...

    def __get__(self, instance: object | None, owner: type | None = None) -> cached_property[T] | T:
        if instance is None:
            return self
        value = instance.__dict__[self.name] = self.compute(instance)
        return value
