# SPDX-License-Identifier: MIT
"""Lock, Semaphore, Event and Condition that several interpreters share: sent in a message, a copy is the
same one. Locks and semaphores are channels of permits, so they are fair, and who is cancelled has not
taken any; events and conditions are words of shared memory that are waited for."""

import queue
from collections.abc import Callable
from operator import index
from time import monotonic
from typing import Any

from microthread._core import SharedBuffer, create_channel, register_clone, shield


def _limit(blocking, timeout):
    """The timeout of recv() for threading's pair; -1 and None are no limit."""
    if not blocking:
        if timeout is not None and timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        return 0
    return None if timeout is None or timeout == -1 else timeout


class _Permits:
    """Permits in a channel: taking one is receiving it."""

    __slots__ = ("__weakref__", "_receiver", "_sender")

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Wait for a permit and take it; False when time was up. First come, first served."""
        try:
            self._receiver.recv(_limit(blocking, timeout))
        except TimeoutError:
            return False
        return True

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *args: Any) -> None:
        self.release()


class Semaphore(_Permits):
    """A number of permits, as threading.Semaphore, for all interpreters that it is sent to."""

    __slots__ = ()

    def __init__(self, value: int = 1) -> None:
        value = index(value)
        if value < 0:
            raise ValueError(f"value must be >= 0, got {value}")
        self._receiver, self._sender = create_channel()
        for _ in range(value):
            self._sender.send_nowait(None)

    def release(self, n: int = 1) -> None:
        """Give n permits back, to those who wait first."""
        if n < 1:
            raise ValueError(f"n must be >= 1, got {n}")
        for _ in range(n):
            self._sender.send_nowait(None)


class Lock(_Permits):
    """As threading.Lock, for all interpreters that it is sent to. Anybody may release it."""

    __slots__ = ()

    def __init__(self) -> None:
        self._receiver, self._sender = create_channel(1)
        self._sender.send_nowait(None)

    def release(self) -> None:
        """Hand it to the first who waits. RuntimeError when nobody has it."""
        try:
            self._sender.send_nowait(None)
        except queue.Full:
            raise RuntimeError("release of a lock that nobody has") from None

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self._receiver._count() == 0


class Event:
    """As threading.Event, for all interpreters that it is sent to."""

    __slots__ = ("__weakref__", "_word")

    def __init__(self) -> None:
        self._word = SharedBuffer(8)

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._word.load(0) == 1

    def set(self) -> None:
        """Set it, and wake everybody who waits."""
        self._word.store(0, 1)
        self._word.notify(0)

    def clear(self) -> None:
        """Let those who come now wait."""
        self._word.store(0, 0)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; False when time was up."""
        try:
            self._word.wait(0, 0, timeout)
        except TimeoutError:
            return self.is_set()
        return True


class Condition:
    """As threading.Condition, for all interpreters that it is sent to; its lock is a Lock of here.

    A wait may return without a notice, so look at what was waited for, or use wait_for().
    """

    __slots__ = ("__weakref__", "_lock", "_word", "acquire", "release")

    def __init__(self, lock: Lock | None = None) -> None:
        if lock is not None and not isinstance(lock, Lock):
            raise TypeError(f"lock must be an interpreters.Lock or None, got {type(lock).__name__}")
        self._be(Lock() if lock is None else lock, SharedBuffer(8))

    def _be(self, lock, word):
        self._lock, self._word = lock, word
        self.acquire, self.release = lock.acquire, lock.release

    def _check(self):
        if not self._lock.locked():
            raise RuntimeError("the condition's lock is not held: acquire it first")

    def wait(self, timeout: float | None = None) -> bool:
        """Let go of the lock, wait for a notice, take the lock again; False when time was up."""
        self._check()
        before = self._word.load(0)
        self.release()
        try:
            self._word.wait(0, before, timeout)
        except TimeoutError:
            return False
        finally:
            with shield():
                self.acquire()
        return True

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """Wait until predicate() is true; its last value."""
        end = None if timeout is None else monotonic() + timeout
        while not (value := predicate()):
            left = None if end is None else end - monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
        return value

    def notify(self, n: int = 1) -> None:
        """Wake n of those who wait."""
        self._check()
        self._word.add(0, 1)
        self._word.notify(0, n)

    def notify_all(self) -> None:
        """Wake all who wait."""
        self._check()
        self._word.add(0, 1)
        self._word.notify(0)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *args: Any) -> None:
        self.release()


def _make_permits(cls):
    def rebuild(ends):
        made = cls.__new__(cls)
        made._receiver, made._sender = ends
        return made

    register_clone(cls, lambda it: (it._receiver, it._sender), rebuild)


def _make_event(word):
    made = Event.__new__(Event)
    made._word = word
    return made


def _make_condition(parts):
    made = Condition.__new__(Condition)
    made._be(*parts)
    return made


for _cls in (Lock, Semaphore):
    _make_permits(_cls)
register_clone(Event, lambda it: it._word, _make_event)
register_clone(Condition, lambda it: (it._lock, it._word), _make_condition)
for _cls in (Lock, Semaphore, Event, Condition):
    _cls.__module__ = "microthread.interpreters"
