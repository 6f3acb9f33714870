# SPDX-License-Identifier: MIT
"""Waiting for many at once: wait_all, as_completed, parallel_map; and for a Future of elsewhere."""

import weakref
from collections.abc import Callable, Iterable, Iterator
from operator import index
from typing import Any

from microthread import _core

# For each concurrent.futures.Future that somebody waits for, the deferred that it will fire.
_awaited: weakref.WeakKeyDictionary[Any, _core.deferred] = weakref.WeakKeyDictionary()


def _members(threads):
    try:
        return list(threads)
    except TypeError:
        if hasattr(threads, "__iter__"):
            raise
        raise TypeError(
            f"threads must be an iterable of micro_threads, got {type(threads).__name__}"
        ) from None


def wait_all(threads: Iterable[_core.micro_thread], timeout: float | None = None) -> list[Any]:
    """Wait for all of them and return their values, in the order given.

    The first failure is raised at once and the others go on; so they do after a TimeoutError.
    timeout: seconds >= 0 for all together, None for no limit.
    """
    ends = _core.ends(timeout)
    members = _members(threads)
    try:
        for member in dict.fromkeys(members):
            ends.watch(member)
        for member in ends:
            member.result()
    except BaseException:
        for member in members:
            ends.unwatch(member)
        members = member = None  # or the exception and this frame keep each other alive
        raise
    return [member.result() for member in members]


def as_completed(
    threads: Iterable[_core.micro_thread], timeout: float | None = None
) -> Iterator[_core.micro_thread]:
    """Iterate over micro-threads in the order in which they end, those that are done first.

    One that is given twice comes once. timeout: seconds >= 0 from this call on for all together,
    None for no limit; raises TimeoutError when it is up and the next one has not ended.
    """
    ends = _core.ends(timeout)
    members = dict.fromkeys(_members(threads))
    for member in members:
        ends.check(member)
    return _as_they_end(ends, members)


def _as_they_end(ends, members):
    try:
        for member in members:
            ends.watch(member)
        yield from ends
    finally:
        for member in members:
            ends.unwatch(member)


def wait_future(future: Any, timeout: float | None = None) -> Any:
    """Wait for a concurrent.futures.Future; return its result or raise its exception.

    timeout: seconds >= 0, None for no limit. After a TimeoutError, or when the caller is cancelled,
    the future goes on.
    """
    if not hasattr(future, "add_done_callback") or not hasattr(future, "result"):
        raise TypeError(
            f"future must be a concurrent.futures.Future, got {type(future).__name__}"
        )
    answer = _awaited.get(future)
    if answer is None:
        answer = _awaited[future] = _core.deferred()

        def fire(done):
            _awaited.pop(done, None)
            answer.callback(None)

        future.add_done_callback(fire)
    _core._expect_wake(1)
    try:
        answer.wait(timeout)
    finally:
        _core._expect_wake(-1)
    try:
        return future.result()
    finally:
        del future  # or its exception and this frame keep each other alive


def parallel_map(
    fn: Callable[..., Any],
    *iterables: Iterable[Any],
    limit: int | None = None,
    interpreters: int | None = None,
) -> list[Any]:
    """Call fn with the items of the iterables, each call in a micro-thread of its own.

    Returns the results in order. The first failure cancels the rest and is raised when they have
    ended; so does a cancellation of the caller. The iterables are read by the caller, with a limit
    only as far as there is room; the shortest counts.

    limit: how many may run at once, None for no limit.
    interpreters: call fn in so many other interpreters, each time in the least loaded one, as
    Group(interpreters=n) does. fn, the items and the results go there and back as in
    Interpreter.call(); a failure is the exception rebuilt, else interpreters.RunFailed.
    """
    if not callable(fn):
        raise TypeError(f"fn must be callable, got {type(fn).__name__}")
    if limit is not None:
        try:
            limit = index(limit)
        except TypeError:
            raise TypeError(f"limit must be an int or None, got {type(limit).__name__}") from None
        if limit < 1:
            raise ValueError(f"limit must be >= 1 or None, got {limit}")
    if not iterables:
        raise TypeError("parallel_map() needs at least one iterable after fn")
    source = zip(*map(_iterate, iterables))
    if interpreters is not None:
        from microthread._spread import spread_map

        return spread_map(fn, source, limit, interpreters)
    ends = _core.ends()
    results: list[Any] = []
    places: dict[_core.micro_thread, int] = {}  # of those that run, in results
    spawn, place_of, watch = _core.spawn, places.pop, ends.watch
    try:
        with _core.move_on_after(None) as reading:
            ends.cut(reading)  # by the first failure, also where an iterable waits
            while True:
                while ends or len(places) == limit:
                    member = next(ends)
                    results[place_of(member)] = member.result()
                args = next(source, None)
                if args is None:
                    break
                member = spawn(fn, *args)
                places[member] = len(results)
                results.append(None)
                watch(member)
        for member in ends:
            results[place_of(member)] = member.result()
    except BaseException:
        _dismiss(places)
        places.clear()
        member = None  # or the exception and this frame keep each other alive
        raise
    return results


def _iterate(iterable):
    try:
        return iter(iterable)
    except TypeError:
        if hasattr(iterable, "__iter__"):
            raise
        raise TypeError(
            f"iterables must be iterable, got {type(iterable).__name__}"
        ) from None


def _dismiss(members):
    """Cancel and wait for all. What had failed already is dropped: one failure is known."""
    for member in members:
        if not member.cancel() and not member.cancelled():
            member.exception()
    with _core.shield():
        try:
            for member in members:
                member._join()
        except BaseException:
            for member in members:
                member._join()
            raise
