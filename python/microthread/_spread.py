# SPDX-License-Identifier: MIT
"""Group(interpreters=n) and parallel_map(interpreters=n): members that run in other interpreters.

Each has a micro-thread here that calls in the least loaded of them. The interpreters are kept and used
again by the next one; what was imported there stays.
"""

from collections.abc import Callable, Iterator
from operator import index
from typing import Any

from microthread import _core, _functions, _worker
from microthread._group import Group
from microthread._several import _dismiss
from microthread.interpreters import (
    Interpreter,
    RunFailed,
    _finish,
    _original,
    create,
    create_channel,
)

_kept: list[Interpreter] = []
_making = _core.Lock()  # held while some are made: two at once shall not make too many
_load: dict[int, int] = {}  # members that run there, by id


def _take(number):
    """So many interpreters, those that are there first."""
    try:
        number = index(number)
    except TypeError:
        raise TypeError(f"interpreters must be an int or None, got {type(number).__name__}") from None
    if number < 1:
        raise ValueError(f"interpreters must be >= 1 or None, got {number}")
    with _making:
        _kept[:] = [one for one in _kept if not one._worker.is_stopping]
        missing = [_core.spawn(create) for _ in range(number - len(_kept))]
        try:
            for one in missing:
                one.wait()
        finally:
            for one in missing:
                one.cancel()
                if one.done() and not one.cancelled() and one.exception() is None:
                    _kept.append(one.result())
        return _kept[:number]


class SpreadGroup(Group):
    """A Group whose members run in so many other interpreters, each in the least loaded one."""

    __slots__ = ("_interpreters",)

    def __init__(self, limit: int | None = None, *, interpreters: int) -> None:
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


# ---- parallel_map ----


class _Lane:
    """One interpreter of a map: where its tasks go, and how many it has."""

    __slots__ = ("load", "server", "tasks")

    def __init__(self, interpreter, described, answers):
        there, self.tasks = create_channel()
        with there:
            self.server = interpreter.spawn(_worker.serve_map, described, there, answers)
        self.load = 0


def spread_map(
    fn: Callable[..., Any], source: Iterator[tuple], limit: int | None, interpreters: int
) -> list[Any]:
    """parallel_map() in so many interpreters.

    All calls share a channel to each interpreter and one back: an Interpreter.call() of its own for each,
    with its channel and its micro-thread here, takes ten times as long.
    """
    described = _functions.describe(fn)
    some = _take(interpreters)
    answers, answers_in = create_channel()
    with answers_in:
        lanes = [_Lane(one, described, answers_in) for one in some]
    room = None if limit is None else _core.Semaphore(limit)
    results: list[Any] = []  # of a call that has not ended, its lane
    collector = _core.spawn(_collect, answers, results, room)
    members = [collector, *(lane.server for lane in lanes)]
    ends = _core.ends()
    try:
        for member in members:
            ends.watch(member)
        with _core.move_on_after(None) as reading:
            ends.cut(reading)  # by the first failure, also where an iterable waits
            while not ends:
                if room is not None:
                    room.acquire()
                args = next(source, None)
                if args is None:
                    break
                lane = min(lanes, key=_load_of)
                lane.load += 1
                results.append(lane)
                try:
                    lane.tasks.send((len(results) - 1, args))
                except _core.PipeClosed:
                    break  # its server has ended, and says why
        for lane in lanes:
            lane.tasks.close()
        for member in ends:
            member.result()
    except BaseException as failure:
        _dismiss(members)
        # Or the exception and this frame keep each other alive.
        collector = members = member = lanes = lane = results = None
        if isinstance(failure, RunFailed):  # of serve_map: fn or an item is not to be had there
            raise _original(failure) from None
        raise
    return results


def _load_of(lane):
    return lane.load


def _collect(answers, results, room):
    for number, message in answers:
        results[number].load -= 1
        try:
            results[number] = _finish(message)
        except RunFailed as failure:
            raise _original(failure) from None
        if room is not None:
            room.release()
