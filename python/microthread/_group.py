# SPDX-License-Identifier: MIT
"""Group: micro-threads that all end before the with block that they belong to."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from microthread import _core
from microthread._several import _iterate


class Group(_core.group):
    """A with block whose micro-threads have all ended when it is left.

    The first exception, of a member or of the block, cancels the others, the block at its next wait
    included; when all have ended, all exceptions are raised as one ExceptionGroup (BaseExceptionGroup
    if not all are Exceptions). A lone exception of the block that is no Exception comes out as it is.
    Members that were cancelled are no failures. Cancelling the owner cancels the members.

    limit: how many members may run at once, None for no limit; the others wait their turn.
    interpreters: run the members in so many other interpreters, each in the least loaded one, which
    are kept for the next group. Failures are the exceptions rebuilt, else interpreters.RunFailed.
    """

    __slots__ = ("__weakref__",)

    def __new__(cls, limit: int | None = None, *, interpreters: int | None = None) -> "Group":
        if interpreters is None or cls is not Group:
            return super().__new__(cls, limit)
        from microthread._spread import SpreadGroup

        return super().__new__(SpreadGroup, limit)

    def __init__(self, limit: int | None = None, *, interpreters: int | None = None) -> None:
        pass

    def map(self, fn: Callable[..., Any], /, *iterables: Iterable[Any]) -> Iterator[Any]:
        """Call fn with the items of the iterables, each call in a member; iterate over the results.

        They come in the order of the items; the shortest iterable counts. Without a limit all calls
        are spawned at once. With a limit of n the iterables are read 2 * n items ahead of the results
        that were taken, by whoever takes them. An iterator that is dropped half way cancels the calls
        whose results nobody took; one that nobody began to iterate over cancels nothing.
        """
        if not callable(fn):
            raise TypeError(f"fn must be callable, got {type(fn).__name__}")
        if not iterables:
            raise TypeError("map() needs at least one iterable after fn")
        source = zip(*map(_iterate, iterables))
        ahead = None if self.limit is None else 2 * self.limit
        spawn = self.spawn
        members: deque[_core.micro_thread] = deque()
        for args in islice(source, ahead):
            members.append(spawn(fn, *args))
        return _results(spawn, fn, source, members)


def _results(spawn, fn, source, members):
    try:
        while members:
            yield members[0].wait()
            members.popleft()
            for args in islice(source, 1):
                members.append(spawn(fn, *args))
    finally:
        for member in members:
            member.cancel()
