# SPDX-License-Identifier: MIT
"""Condition, Barrier and local: what stands on the locks and waiters of the core.

Everything here may be used by micro-threads of several OS threads.
"""

import threading
import time
import weakref
from collections.abc import Callable
from threading import BrokenBarrierError
from typing import Any

from microthread._core import Lock, RLock, _Waiters, current

__all__ = ["Barrier", "BrokenBarrierError", "Condition", "local"]


def take_back(is_held: Callable[[], bool], acquire: Callable[..., object], *args: Any) -> None:
    """Call acquire(*args) until the lock is held, then raise what came in between.

    A wait whose caller holds a lock must end with that lock held, however it ends. While an exception
    is being handled the waits of its clean-up go ahead, so each one that comes is handled once. A
    signal handler may raise just after the lock was taken.
    """
    if is_held():
        return
    try:
        acquire(*args)
    except BaseException:
        take_back(is_held, acquire, *args)
        raise


def never() -> bool:
    """What is known of a lock that cannot tell whether the caller has it."""
    return False


class Condition:
    """A condition as threading.Condition, for micro-threads.

    lock: a Lock or RLock of this package, or anything with acquire() and release(); None makes an
    RLock. notify() wakes those who wait in the order in which they came. One that is cancelled or
    runs out of time takes no notice away from the others.
    """

    def __init__(self, lock: Any = None) -> None:
        self._prepare(RLock() if lock is None else lock, f"notice of <Condition at {id(self):#x}>")

    def _prepare(self, lock: Any, text: str) -> None:
        self._lock = lock
        self._waiters = _Waiters(text)
        self.acquire = lock.acquire
        self.release = lock.release
        self._is_held = getattr(lock, "_is_held", never)
        for name in ("_release_save", "_acquire_restore", "_is_owned"):
            if hasattr(lock, name):
                setattr(self, name, getattr(lock, name))
        if type(lock) is Lock:
            self._is_owned = lock.locked

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()
        self._waiters.forget()

    def __enter__(self) -> Any:
        return self._lock.__enter__()

    def __exit__(self, *args: Any) -> Any:
        return self._lock.__exit__(*args)

    def __repr__(self) -> str:
        return f"<Condition at {id(self):#x}: {self._lock!r}, {len(self._waiters)} waiting>"

    # A lock that can be taken more than once has these three itself.

    def _release_save(self) -> Any:
        self._lock.release()

    def _acquire_restore(self, saved: Any) -> None:
        self._lock.acquire()

    def _is_owned(self) -> bool:
        if self._lock.acquire(False):
            self._lock.release()
            return False
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Let go of the lock, wait until notified, and take the lock again.

        timeout: seconds, None for no limit. Returns False when time was up. RuntimeError if the lock
        is not held. However it ends, the lock is held.
        """
        if not self._is_owned():
            raise RuntimeError("wait() needs the lock, which is not acquired")
        place = self._waiters.take_place()
        saved = self._release_save()
        try:
            told = place.wait(timeout)
        except BaseException:
            take_back(self._is_held, self._acquire_restore, saved)
            raise
        try:
            self._acquire_restore(saved)
        except BaseException:
            take_back(self._is_held, self._acquire_restore, saved)
            if told:
                self._waiters.tell(1)  # the notice is for somebody who can use it
            raise
        return told

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """Wait until predicate() is true; returns its last value.

        timeout: seconds for all of it, None for no limit.
        """
        result = predicate()
        if result or timeout is None:
            while not result:
                self.wait()
                result = predicate()
            return result
        end = time.monotonic() + timeout
        while not result:
            left = end - time.monotonic()
            if left <= 0:
                break
            self.wait(left)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wake the first n that wait. RuntimeError if the lock is not held."""
        if not self._is_owned():
            raise RuntimeError("notify() needs the lock, which is not acquired")
        self._waiters.tell(n)

    def notify_all(self) -> None:
        """Wake all that wait. RuntimeError if the lock is not held."""
        self.notify(len(self._waiters))

    notifyAll = notify_all


class _BarrierCondition(Condition):
    """The condition of a barrier, which is named in waiting_for."""

    def __init__(self, barrier: "Barrier") -> None:
        name = type(barrier).__name__
        self._prepare(Lock(), f"the others at <{name} at {id(barrier):#x}>")


class Barrier(threading.Barrier):
    """A barrier as threading.Barrier, for micro-threads. One that is cancelled does not count."""

    def __init__(self, parties: int, action: Callable[[], object] | None = None,
                 timeout: float | None = None) -> None:
        if parties < 1:
            raise ValueError(f"parties must be > 0, got {parties!r}")
        super().__init__(parties, action, timeout)
        self._cond = _BarrierCondition(self)


# ---- local ----

# The Life of each micro-thread that uses a local, by its id.
_lives: "weakref.WeakValueDictionary[int, Life]" = weakref.WeakValueDictionary()


class Life:
    """Held by a micro-thread as a callback for its end, and by nobody else: it ends with it."""

    __slots__ = ("__weakref__",)

    def __call__(self, thread: object) -> None:
        """At the end of the micro-thread, which lets go of its callbacks after this."""


def current_life() -> Life:
    """The running micro-thread's, made at its first use."""
    thread = current()
    life = _lives.get(thread.id)
    if life is None:
        _lives[thread.id] = life = Life()
        thread.add_done_callback(life)
    return life


class Values:
    """What a local keeps: a dict for each micro-thread, and how to begin one."""

    __slots__ = ("dicts", "init", "lives", "__weakref__")

    def __init__(self, args: tuple, kwargs: dict) -> None:
        self.dicts: dict[int, dict] = {}
        self.lives: dict[int, weakref.ref] = {}
        self.init = (args, kwargs)

    def begin(self) -> dict:
        """The dict of the running micro-thread, which has none yet."""
        number = current().id
        to_self = weakref.ref(self)

        def end(ref: object) -> None:
            values = to_self()
            if values is not None:
                values.lives.pop(number, None)
                values.dicts.pop(number, None)

        self.lives[number] = weakref.ref(current_life(), end)
        self.dicts[number] = attributes = {}
        return attributes


_values_of = object.__getattribute__


def attributes_of(self: "local") -> dict:
    """The running micro-thread's attributes; at its first use __init__ is called again."""
    values = _values_of(self, "_local__values")
    attributes = values.dicts.get(current().id)
    if attributes is None:
        attributes = values.begin()
        args, kwargs = values.init
        try:
            type(self).__init__(self, *args, **kwargs)
        except BaseException:
            values.dicts.pop(current().id, None)
            raise
    return attributes


def is_data_descriptor(cls: type, name: str) -> bool:
    """Whether the class decides about setting this attribute: a property, a slot."""
    for base in cls.__mro__:
        if name in base.__dict__:
            kind = type(base.__dict__[name])
            return hasattr(kind, "__set__") or hasattr(kind, "__delete__")
    return False


class local:
    """Attributes of which each micro-thread has its own, as threading.local for threads.

    Subclasses may have an __init__, which is called with the same arguments in each micro-thread that
    uses the object. The attributes are freed when their micro-thread ends.
    """

    __slots__ = ("_local__values", "__weakref__")

    def __new__(cls, /, *args: Any, **kwargs: Any) -> "local":
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError(f"{cls.__name__}() takes arguments only if it defines __init__")
        self = object.__new__(cls)
        values = Values(args, kwargs)
        object.__setattr__(self, "_local__values", values)
        values.begin()  # __init__ is about to be called
        return self

    def __getattribute__(self, name: str) -> Any:
        attributes = attributes_of(self)
        if name in attributes and not is_data_descriptor(type(self), name):
            return attributes[name]
        if name == "__dict__":
            return attributes
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "__dict__":
            raise AttributeError(f"{type(self).__name__!r} object attribute '__dict__' is read-only")
        attributes = attributes_of(self)
        if is_data_descriptor(type(self), name):
            object.__setattr__(self, name, value)
        else:
            attributes[name] = value

    def __delattr__(self, name: str) -> None:
        if name == "__dict__":
            raise AttributeError(f"{type(self).__name__!r} object attribute '__dict__' is read-only")
        attributes = attributes_of(self)
        if is_data_descriptor(type(self), name):
            object.__delattr__(self, name)
        elif name in attributes:
            del attributes[name]
        else:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
