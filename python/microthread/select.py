# SPDX-License-Identifier: MIT
"""The standard library's select module, with calls that wait only for their micro-thread.

All of its names are here; `microthread.select(...)`, called, is the function of the package. What
is ready is asked of the standard library, with a time limit of 0; only the wait in between is ours.
"""

import errno as _errno
import select as _standard
from collections.abc import Callable as _Callable
from contextlib import suppress as _suppress
from functools import wraps as _wraps
from math import inf as _inf
from operator import index as _index
from select import *  # noqa: F403  what is public, for those who read only this file
from time import monotonic as _monotonic
from typing import Any as _Any

from microthread import _core
from microthread._modules import adopt as _adopt
from microthread._modules import mind_asyncio as _mind_asyncio

_adopt(_standard, globals())

# What microthread.patch puts into the standard module.
__patched__ = ("epoll", "poll", "select")

_select, _poll, _epoll = _standard.select, _standard.poll, _standard.epoll
_LONGEST = 9e9  # seconds; beyond that the standard library refuses
_MOST_MILLISECONDS = 2**31 - 1  # of poll()
_AGAIN = 0.002  # seconds


def _minds_asyncio(function: _Callable) -> _Callable:
    """As soon as asyncio's selector waits, each micro-thread has a running event loop of its own.

    To asyncio it is that of the OS thread. A micro-thread that took the loop of another one for its
    own would not wake it, nor could it run one.
    """

    @_wraps(function)
    def call(*args: _Any, **kwargs: _Any) -> _Any:
        _mind_asyncio()
        return function(*args, **kwargs)

    return call


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - _monotonic(), 0)


def _until(ready: _Callable, wanted: dict[int, int], deadline: float | None) -> _Any:
    """What ready() returns as soon as that is not empty, or when the time is up.

    wanted: for each descriptor that may change it, the poll events that may.
    """
    while True:
        try:
            _pause(wanted, _left(deadline))
        except TimeoutError:
            return ready()
        except OSError as error:
            if error.errno != _errno.EBADF:
                raise  # closed meanwhile: the standard library says it in its own way
        if found := ready():
            return found
        # Somebody else took it, or a hang-up that is not asked for shows for ever.
        left = _left(deadline)
        _core.sleep(_AGAIN if left is None else min(left, _AGAIN))


def _pause(wanted: dict[int, int], timeout: float | None) -> None:
    """Wait until a descriptor may be ready, or TimeoutError.

    By an epoll object of its own, itself readable: it knows every kind of event.
    """
    with _epoll() as watcher:
        for fd, mask in wanted.items():
            with _suppress(PermissionError):  # a file: it is ready already, or never
                watcher.register(fd, mask)
        fd = watcher.fileno()
        try:
            _core.wait_readable(fd, timeout)
        finally:
            _core._forget_fd(fd)  # the reactor must not watch what will be closed


def _seconds(timeout: _Any) -> float | None:
    """A time limit as a float; None if the standard library will refuse it."""
    try:
        seconds = timeout if isinstance(timeout, float) else float(_index(timeout))
    except OverflowError:
        return _inf
    except TypeError:
        return None
    return seconds if seconds >= 0 else None


@_minds_asyncio
def select(
    rlist: _Any, wlist: _Any, xlist: _Any, timeout: float | None = None, /
) -> tuple[list, list, list]:
    """As select.select(): wait until a descriptor is ready; returns three lists of those that are.

    timeout: seconds >= 0, None for no limit; empty lists when it is up.
    """
    seconds = _inf if timeout is None else _seconds(timeout)
    try:
        lists = [each if isinstance(each, list) else tuple(each) for each in (rlist, wlist, xlist)]
    except TypeError:
        seconds, lists = None, [rlist, wlist, xlist]
    if seconds is None or timeout is not None and seconds > _LONGEST:
        return _select(*lists, timeout)  # which raises
    ready = _select(*lists, 0)
    if seconds == 0 or any(ready):
        _core._tick()
        return ready
    wanted: dict[int, int] = {}
    masks = (_standard.POLLIN, _standard.POLLOUT, _standard.POLLPRI)
    for objects, mask in zip(lists, masks):
        for item in objects:
            fd = item if isinstance(item, int) else item.fileno()
            wanted[fd] = wanted.get(fd, 0) | mask
    deadline = None if timeout is None else _monotonic() + seconds

    def look() -> tuple[list, list, list] | None:
        found = _select(*lists, 0)
        return found if any(found) else None

    return _until(look, wanted, deadline) or ready


class poll:
    """poll(): a select.poll object whose poll() waits only for the micro-thread."""

    __slots__ = ("_poll", "_wanted", "_is_polling")

    def __init__(self) -> None:
        self._poll = _poll()
        self._wanted: dict[int, int] = {}
        self._is_polling = False

    @classmethod
    def _over(cls, standard: _Any, keys: _Any) -> "poll":
        """One over a standard object, in which these keys of a selector are registered."""
        self = cls()
        self._poll = standard
        for key in keys:
            read, write = _standard.POLLIN * (key.events & 1), _standard.POLLOUT * (key.events >> 1 & 1)
            self._wanted[key.fd] = read | write
        return self

    def __reduce__(self):
        raise TypeError(f"cannot pickle 'select.{type(self).__name__}' object")  # nor copy

    @property
    def __class__(self):
        """For isinstance() with the standard type."""
        return type(self._poll)

    def register(self, fd: _Any, eventmask: int = _standard.POLLIN | _standard.POLLOUT | _standard.POLLPRI, /) -> None:
        """Register a descriptor, or change the events asked of it."""
        self._poll.register(fd, eventmask)
        self._wanted[_number(fd)] = eventmask

    def modify(self, fd: _Any, eventmask: int, /) -> None:
        """Change the events asked of a registered descriptor; OSError(ENOENT) if it is not."""
        self._poll.modify(fd, eventmask)
        self._wanted[_number(fd)] = eventmask

    def unregister(self, fd: _Any, /) -> None:
        """Remove a descriptor; KeyError if it is not registered."""
        self._poll.unregister(fd)
        self._wanted.pop(_number(fd), None)

    @_minds_asyncio
    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Wait for events; returns a list of (descriptor, events).

        timeout: milliseconds, None or negative for no limit.
        """
        if self._is_polling:
            raise RuntimeError("concurrent poll() invocation")
        is_number = isinstance(timeout, (int, float))
        if timeout is None or is_number and timeout < 0:
            deadline = None
        elif is_number and timeout > _MOST_MILLISECONDS:  # CPython 3.15 takes it for no limit
            raise OverflowError(f"timeout must be <= {_MOST_MILLISECONDS} ms, got {timeout!r}")
        else:
            seconds = _seconds(timeout)
            if seconds is None:
                return self._poll.poll(timeout)  # which raises
            deadline = _monotonic() + seconds / 1000
        ready = self._poll.poll(0)
        if ready or timeout == 0:
            _core._tick()
            return ready
        self._is_polling = True
        try:
            return _until(lambda: self._poll.poll(0), self._wanted, deadline)
        finally:
            self._is_polling = False


def _number(fd: _Any) -> int:
    return fd if isinstance(fd, int) else fd.fileno()


class epoll:
    """epoll(sizehint=-1, flags=0): a select.epoll object whose poll() waits only for the micro-thread."""

    __slots__ = ("_epoll", "__weakref__")

    def __init__(self, sizehint: int = -1, flags: int = 0) -> None:
        self._epoll = _epoll(sizehint, flags)

    @classmethod
    def fromfd(cls, fd: int, /) -> "epoll":
        """An epoll object of a descriptor that there is."""
        return cls._over(_epoll.fromfd(fd))

    @classmethod
    def _over(cls, standard: _Any) -> "epoll":
        """One over a standard object."""
        self = cls.__new__(cls)
        self._epoll = standard
        return self

    def __reduce__(self):
        raise TypeError(f"cannot pickle 'select.{type(self).__name__}' object")  # nor copy

    @property
    def __class__(self):
        """For isinstance() with the standard type."""
        return _epoll

    @property
    def closed(self) -> bool:
        """True if it is closed."""
        return self._epoll.closed

    def fileno(self) -> int:
        """Its own descriptor."""
        return self._epoll.fileno()

    def close(self) -> None:
        """Close it; whoever polls it gets OSError(EBADF)."""
        if not self._epoll.closed:
            _core._forget_fd(self._epoll.fileno())
        self._epoll.close()

    def register(self, fd: _Any, eventmask: int = _standard.POLLIN | _standard.POLLOUT | _standard.EPOLLPRI) -> None:
        """Register a descriptor; OSError(EEXIST) if it is already."""
        self._epoll.register(fd, eventmask)

    def modify(self, fd: _Any, eventmask: int) -> None:
        """Change the events asked of a registered descriptor; OSError(ENOENT) if it is not."""
        self._epoll.modify(fd, eventmask)

    def unregister(self, fd: _Any) -> None:
        """Remove a descriptor; OSError(ENOENT) if it is not registered."""
        self._epoll.unregister(fd)

    @_minds_asyncio
    def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
        """Wait for events; returns a list of (descriptor, events).

        timeout: seconds, None or negative for no limit. maxevents: at most that many, -1 for no
        limit.
        """
        if timeout is None or isinstance(timeout, (int, float)) and timeout < 0:
            deadline = None
        else:
            seconds = _seconds(timeout)
            if seconds is None:
                return self._epoll.poll(timeout, maxevents)  # which raises
            deadline = _monotonic() + min(seconds, _LONGEST)
        ready = self._epoll.poll(0, maxevents)
        if ready or timeout == 0:
            _core._tick()
            return ready
        while not ready:
            try:
                _core.wait_readable(self._epoll.fileno(), _left(deadline))
            except TimeoutError:
                break
            ready = self._epoll.poll(0, maxevents)
        return ready

    def __enter__(self) -> "epoll":
        self._epoll.__enter__()  # ValueError if it is closed
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_epoll"):
            self.close()
