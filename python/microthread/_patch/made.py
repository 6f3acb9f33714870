# SPDX-License-Identifier: MIT
"""Locks, thread-local objects and queues that were made before the patch, and threads started before."""

import _queue
import gc
import selectors
import sys
import threading
import time
from collections.abc import Callable
from types import BuiltinMethodType
from typing import Any

from microthread import _core, _workers
from microthread import select as ours
from microthread._patch import threads
from microthread._patch.log import Change, Log
from microthread._patch.places import Place, Search, name_of, places_of, set_attribute, set_member
from microthread._sync import local

_Lock, _RLock, _Local = (threads._real[name] for name in ("LockType", "RLock", "_local"))
_SimpleQueue = _queue.SimpleQueue


class Busy(Exception):
    """An object cannot be replaced; the text says why."""


def _times_held(lock: Any) -> int:
    """How many times a lock must be released until it is free; Busy if only its holder can say."""
    if isinstance(lock, _Lock):
        return int(lock.locked())
    if not isinstance(lock, _RLock):
        return 0
    if not lock._is_owned():
        if not lock.acquire(False):
            raise Busy("is held")
        lock.release()
        return 0
    if _core._is_micro() or len(_core.threads()) > 1:
        raise Busy("is held")  # by this OS thread, which says nothing of who in it
    saved = lock._release_save()
    lock._acquire_restore(saved)
    return saved[0]


def _is_alone() -> bool:
    """Whether there is no other OS thread than this one and our workers."""
    return len(_core._os_threads()) <= 1 + len(_workers._workers)


def _new_local(old: Any) -> Any:
    if not _is_alone():
        raise Busy("may have values of other OS threads")
    new = local()
    new.__dict__.update(old.__dict__)
    return new


class SharedQueue(_core.SimpleQueue):
    """A SimpleQueue made earlier, which OS threads started earlier go on using as it was."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Look again and again: who waits for the original in C can be told of nothing."""
        end = None if timeout is None else time.monotonic() + timeout
        pause = 0.0005
        while True:
            try:
                return self._real.get(False)
            except _queue.Empty:
                if not block or (end is not None and time.monotonic() >= end):
                    raise
            _core.sleep(pause)
            pause = min(2 * pause, 0.01)

    def get_nowait(self) -> Any:
        """As get(block=False)."""
        return self._real.get(False)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Never waits."""
        self._real.put(item)

    def put_nowait(self, item: Any, /) -> None:
        """Never waits."""
        self._real.put(item)

    def empty(self) -> bool:
        """Whether there is nothing inside."""
        return self._real.empty()

    def qsize(self) -> int:
        """How many items are inside."""
        return self._real.qsize()


def _new_queue(old: Any) -> Any:
    new = _core.SimpleQueue()
    while not old.empty():
        new.put(old.get_nowait())
    return new


KINDS: dict[type, Callable[[Any], Any]] = {
    _Lock: lambda lock: _core.Lock(),
    _RLock: lambda lock: _core.RLock(),
    _Local: _new_local,
    _SimpleQueue: _new_queue,
}


class Probe:
    """A lock and a method of it to which nobody else refers: what the counts of references are then."""

    __slots__ = ("lock", "holders")

    def __init__(self) -> None:
        self.lock = threads._real["allocate_lock"]()
        self.holders = [[self.lock.acquire]]  # lists, which the collector knows
        gc.collect(0)


def _uncounted(value: Any, counted: list[Any]) -> int:
    """How many references there are that the collector does not know of."""
    return sys.getrefcount(value) - len(counted)


def repair(
    search: Search,
    log: Log,
    probe: Probe,
    objects: list[Any],
    found: dict[int, list[Any]],
    owners: dict[int, list[Any]],
) -> None:
    """Replace those objects to which every reference can be changed."""
    value = probe.lock  # counted as the others are
    usual = _uncounted(value, found[id(value)])
    objects.remove(value)
    for value in objects:
        changes: list[tuple[Place, str | None]] | None = _places(search, value, found, owners)
        if changes is None:
            continue  # ours
        where = changes[0][0].text if changes else "unknown places"
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        try:
            held = _times_held(value)
            is_whole = not any(place.setter is None for place, _ in changes)
            in_sets = sum(isinstance(place.key, list) for place, _ in changes)  # which refer to it
            is_whole = is_whole and _uncounted(value, found[id(value)]) <= usual + in_sets
            if type(value) is _SimpleQueue and not (is_whole and _is_alone()):
                changes = [change for change in changes if change[0].setter is not None]
                new = SharedQueue(value)
            elif not is_whole:
                raise Busy("is held" if held else "is used in a place that cannot be changed, or by what runs")
            else:
                new = KINDS[type(value)](value)
                for _ in range(held):
                    new.acquire()
        except Busy as busy:
            log.remaining[f"the {kind} of {where}, made earlier, {busy}"] += 1
            continue
        for place, method in changes:
            if method is None:
                log.make(Change(place, value, new))
            else:
                log.make(Change(place, getattr(value, method), getattr(new, method)))
        for _ in range(held):
            value.release()  # the holder will release the new one


def _places(
    search: Search, value: Any, found: dict[int, list[Any]], owners: dict[int, list[Any]]
) -> list[tuple[Place, str | None]] | None:
    """All places of an object and of its bound methods, with the method's name; None if it is ours."""
    result: list[tuple[Place, str | None]] = []
    for referrer in found[id(value)]:
        if isinstance(referrer, BuiltinMethodType):
            holders = owners.get(id(referrer), [])
            name = referrer.__name__
        else:
            holders, name = [referrer], None
        kept = value if name is None else referrer
        for holder in holders:
            places = places_of(search, holder, kept, owners)
            if places is None:
                return None
            result += [(place, name) for place in places]
        if not holders:
            result.append((Place(referrer, None, None, f"a bound method {name}()"), None))
    return sorted(result, key=lambda change: change[0].setter is None)


# ---- selectors ----


class _Epoll(ours.epoll):
    """Over that of a selector made earlier, which gets it back from undo()."""

    __slots__ = ()

    def __del__(self) -> None:
        pass


# Kept as they are: at the time of repair these names are ours.
_SELECTORS = (selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector)


def repair_selector(log: Log, selector: Any) -> bool:
    """Let a selector made earlier wait by what is ours. False: it is none, or OS threads may use it."""
    if type(selector) not in _SELECTORS or not _is_alone():
        return False
    kind = type(selector).__name__
    if kind == "SelectSelector":
        _set(log, selector, "_select", ours.select)
    elif kind == "EpollSelector":
        _set(log, selector, "_selector", _Epoll._over(selector._selector))
    else:
        _set(log, selector, "_selector", ours.poll._over(selector._selector, selector.get_map().values()))
    return True


# ---- threads ----

HANDLE = threads._real.get("_ThreadHandle")  # its objects are repaired with their Thread

_HANDLES = ("_os_thread_handle", "_handle")  # what the versions from 3.13 on call it


def repair_threads(log: Log) -> set[int]:
    """Let the threads that were made earlier be started and waited for by micro-threads.

    Returns the ids of the locks that this concerns.
    """
    handled = set()
    for thread in list(threading._dangling):
        if handle := next((name for name in _HANDLES if hasattr(thread, name)), None):
            real = getattr(thread, handle)
            is_new = not thread._started.is_set() and not real.is_done()
            ours = threads.ThreadHandle() if is_new else threads.RealHandle(real)
            _set(log, thread, handle, ours)
        elif thread._tstate_lock is not None:
            real = thread._tstate_lock
            handled.add(id(real))
            ours = threads.RealSentinel(real)
            _set(log, thread, "_tstate_lock", ours)
            if real in threading._shutdown_locks:
                place = Place(threading._shutdown_locks, [real], set_member, "threading._shutdown_locks")
                log.make(Change(place, real, ours))
    return handled


def _set(log: Log, owner: Any, name: str, ours: Any) -> None:
    place = Place(owner, name, set_attribute, f"{name_of(owner)}().{name}")
    log.make(Change(place, getattr(owner, name), ours))
