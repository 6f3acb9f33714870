# SPDX-License-Identifier: MIT
"""Queue, LifoQueue, PriorityQueue: the standard library's, in which only the micro-thread waits.

Fair: an item goes to the getter that waits longest, room to the putter that waits longest. Who is told
of an item has it promised, so that nobody who comes later takes it away. What need not wait is done in the
core, unless a subclass has methods of its own for it. SimpleQueue is in the core altogether.
"""

import queue
import sys
import time
from typing import Any

from microthread._core import Lock, SimpleQueue, _Line, _QueueBase, _Waiters
from microthread._sync import Condition, take_back

__all__ = ["LifoQueue", "PriorityQueue", "Queue", "SimpleQueue"]

ALL = sys.maxsize  # of those who wait


def checked(timeout: float) -> float:
    """The time-out, if it is one."""
    if timeout >= 0:
        return timeout
    raise ValueError(f"timeout must be >= 0 or None, got {timeout!r}")


# Whose items go in and out by these methods of their containers, the first one's by the second's.
TAKES = ((queue.Queue, "popleft"), (queue.LifoQueue, "pop"))


def name_of_take(cls: type) -> str | None:
    """The method of cls's container that takes an item; None if cls has ways of its own."""
    for base, name in TAKES:
        if all(getattr(cls, one) is getattr(base, one) for one in ("_init", "_qsize", "_put", "_get")):
            return name
    return None


class Line(_Line):
    """Those who wait for an item, or for room; and how many of them were told and have not run yet."""

    __slots__ = ()

    def wait(self, mutex: Lock, timeout: float | None) -> bool:
        """Wait with the mutex released, to be told; with it held again, however this ends."""
        place = self.waiters.take_place()
        mutex.release()
        try:
            place.wait(timeout)
            mutex.acquire()
        except BaseException:
            take_back(mutex._is_held, mutex.acquire)
            if place.is_told():
                self.promised -= 1
            raise
        told = place.is_told()
        if told:
            self.promised -= 1
        return told


class Queue(_QueueBase, queue.Queue):
    """A queue as queue.Queue, for micro-threads of any OS thread; first come, first served.

    maxsize <= 0: unbounded. Subclasses may define _init, _qsize, _put and _get.
    """

    def __init__(self, maxsize: int = 0) -> None:
        self.maxsize = maxsize
        self._init(maxsize)
        self.mutex = Lock()
        self.not_empty = Condition(self.mutex)
        self.not_full = Condition(self.mutex)
        self.all_tasks_done = Condition(self.mutex)
        self.unfinished_tasks = 0
        self._not_empty_waiters = self.not_empty._waiters
        self._not_full_waiters = self.not_full._waiters
        self._standing = 0  # how many are in one of the lines, or were told and have not run yet
        name = f"<{type(self).__name__} at {id(self):#x}>"
        self._prepare(name_of_take(type(self)), self.mutex, Line(_Waiters(f"get from {name}")),
                      Line(_Waiters(f"put into {name}")), self._not_empty_waiters,
                      self._not_full_waiters)

    def __repr__(self) -> str:
        most = f" of {self.maxsize}" if self.maxsize > 0 else ""
        return f"<{type(self).__name__} at {id(self):#x}: {self._qsize()}{most} inside>"

    def _balance(self) -> None:
        """After a change: tell those who wait of what there is for them. The mutex is held."""
        size = self._qsize()
        self._getters.offer(size if size or not self.is_shutdown else ALL)
        self._putters.offer(ALL if self.is_shutdown or self.maxsize <= 0 else self.maxsize - size)

    def _can_put(self) -> bool:
        return self.maxsize <= 0 or self._qsize() + self._putters.promised < self.maxsize

    def _can_get(self) -> bool:
        return self._qsize() > self._getters.promised

    def _stand_in(self, line: Line, can_go: Any, is_over: Any, block: bool, timeout: float | None,
                  error: type) -> None:
        """Wait in a line until one can go, with the mutex held. Raises `error`, or ShutDown."""
        if timeout is not None:
            end = time.monotonic() + timeout
        left = timeout
        while True:
            if is_over():
                raise queue.ShutDown
            if can_go():
                return
            if not block:
                raise error
            self._standing += 1
            try:
                told = line.wait(self.mutex, left)
            except BaseException:
                self._balance()  # what was promised is for somebody else
                raise
            finally:
                self._standing -= 1
            if not told and not is_over():
                raise error
            if timeout is not None:
                left = max(0.0, end - time.monotonic())

    def _put_slowly(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """put() where it may have to wait, or is not a matter of course."""
        if timeout is not None:
            timeout = checked(timeout) if block else None
        with self.mutex:
            if self.is_shutdown or (self.maxsize > 0 and not self._can_put()):
                self._stand_in(self._putters, self._can_put, self._is_closed, block, timeout, queue.Full)
            self._put(item)
            self.unfinished_tasks += 1
            if self._standing:
                self._balance()
            if self._not_empty_waiters:
                self.not_empty.notify()

    def _get_slowly(self, block: bool = True, timeout: float | None = None) -> Any:
        """get() likewise."""
        if timeout is not None:
            timeout = checked(timeout) if block else None
        with self.mutex:
            if self._qsize() <= self._getters.promised:
                self._stand_in(self._getters, self._can_get, self._is_drained, block, timeout,
                               queue.Empty)
            item = self._get()
            if self._standing:
                self._balance()
            if self._not_full_waiters:
                self.not_full.notify()
            return item

    def _is_closed(self) -> bool:
        return self.is_shutdown

    def _is_drained(self) -> bool:
        return self.is_shutdown and not self._qsize()

    if hasattr(queue, "ShutDown"):

        def shutdown(self, immediate: bool = False) -> None:
            """Make put() raise queue.ShutDown, and get(), too, as soon as nothing is left.

            immediate: drop what is inside. All who wait and can never go on get it as well.
            """
            with self.mutex:
                self.is_shutdown = True
                while immediate and self._qsize():
                    self._get()
                    if self.unfinished_tasks > 0:
                        self.unfinished_tasks -= 1
                if immediate:
                    self.all_tasks_done.notify_all()
                self._balance()
                self.not_empty.notify_all()
                self.not_full.notify_all()


class LifoQueue(Queue, queue.LifoQueue):
    """A Queue that gives out the newest item first."""


class PriorityQueue(Queue, queue.PriorityQueue):
    """A Queue that gives out the least item first."""
