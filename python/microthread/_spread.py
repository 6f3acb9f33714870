# SPDX-License-Identifier: MIT
"""Group(interpreters=n): a group whose members run in other interpreters.

Each member is a micro-thread here that calls in the least loaded of them. The interpreters are kept and used
again by the next group; what was imported there stays.
"""

from collections.abc import Callable
from operator import index
from typing import Any

from microthread import _core
from microthread._group import Group
from microthread.interpreters import Interpreter, RunFailed, _original, create

_kept: list[Interpreter] = []
_load: dict[int, int] = {}  # members that run there, by id


def _take(count):
    """So many interpreters, those that are there first."""
    _kept[:] = [one for one in _kept if not one._worker.is_stopping]
    missing = [_core.spawn(create) for _ in range(count - len(_kept))]
    try:
        for one in missing:
            one.wait()
    finally:
        for one in missing:
            one.cancel()
            if one.done() and not one.cancelled() and one.exception() is None:
                _kept.append(one.result())
    return _kept[:count]


class SpreadGroup(Group):
    """A Group whose members run in so many other interpreters, each in the least loaded one."""

    __slots__ = ("_interpreters",)

    def __init__(self, limit: int | None = None, *, interpreters: int) -> None:
        try:
            interpreters = index(interpreters)
        except TypeError:
            raise TypeError(
                f"interpreters must be an int or None, got {type(interpreters).__name__}"
            ) from None
        if interpreters < 1:
            raise ValueError(f"interpreters must be >= 1 or None, got {interpreters}")
        self._interpreters = _take(interpreters)

    def spawn(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> _core.micro_thread:
        """Make a member that runs fn in another interpreter; see Interpreter.call()."""
        if not callable(fn):
            raise TypeError(f"fn must be callable, got {type(fn).__name__}")
        return super().spawn(self._call, fn, args, kwargs)

    def _call(self, fn, args, kwargs):
        one = min(self._interpreters, key=lambda one: _load.get(one.id, 0))
        _load[one.id] = _load.get(one.id, 0) + 1
        try:
            return one.call(fn, *args, **kwargs)
        except RunFailed as failure:
            raise _original(failure) from None
        finally:
            _load[one.id] -= 1
