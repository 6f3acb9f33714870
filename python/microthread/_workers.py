# SPDX-License-Identifier: MIT
"""Worker OS threads for run_blocking(): real ones, whatever microthread.patch has replaced."""

from __future__ import annotations

import _thread
import os
from _collections import deque  # importing collections costs every program's start

from microthread import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 64  # what they run waits, for the most part

# Kept as they are: microthread.patch puts others in their place.
_allocate_lock = _thread.allocate_lock
_make_guard = _thread.RLock
_get_ident = _thread.get_ident
start_os_thread = _thread.start_new_thread

if hasattr(_thread, "start_joinable_thread"):
    _start_joinable = _thread.start_joinable_thread

    def _start(fn: Callable[[], None]) -> Callable[[], object]:
        """Run fn in a new OS thread; returns what waits for its very end."""
        return _start_joinable(fn, daemon=True).join

else:  # up to 3.12
    _set_sentinel = _thread._set_sentinel

    def _start(fn: Callable[[], None]) -> Callable[[], object]:
        """Run fn in a new OS thread; returns what waits for its very end."""
        running = _allocate_lock()
        running.acquire()
        ends = []

        def begin() -> None:
            sentinel = _set_sentinel()
            sentinel.acquire()
            ends.append(sentinel.acquire)
            running.release()
            fn()

        start_os_thread(begin, ())
        running.acquire()
        return ends[0]


class _Worker:
    """An OS thread that does one job after the other."""

    __slots__ = ("_job", "_turn", "join")

    def __init__(self, job: Callable[[], None]) -> None:
        self._job: Callable[[], None] | None = job
        self._turn = _allocate_lock()
        self._turn.acquire()
        self.join = _start(self._run)

    def give(self, job: Callable[[], None] | None) -> None:
        """Wake it for a job; None: to end."""
        self._job = job
        self._turn.release()

    def _run(self) -> None:
        _core._mark_service_thread()
        _idents.add(_get_ident())
        try:
            while (job := self._job) is not None:
                self._job = None
                job()
                del job
                if _next_job(self):
                    self._turn.acquire()
        finally:
            _idents.discard(_get_ident())


_guard = _make_guard()  # for all that follows; a signal handler may come while it is held
_workers: list[_Worker] = []
_idle: list[_Worker] = []
_backlog: deque[Callable[[], None]] = deque()
_idents: set[int] = set()


def _next_job(worker: _Worker) -> bool:
    """Whether the worker has to wait for its next job, which it is told of."""
    with _guard:
        if _backlog:
            worker._job = _backlog.popleft()
            return False
        _idle.append(worker)
        return True


def submit(job: Callable[[], None]) -> None:
    """Have job() called in a worker, as soon as one is free. It must not raise.

    When the interpreter ends and starts no OS thread any more, the job may be done right here.
    """
    with _guard:
        if _idle:
            _idle.pop().give(job)
            return
        if len(_workers) < _MOST:
            try:
                _workers.append(_Worker(job))
                return
            except RuntimeError:
                pass
        if _workers:
            _backlog.append(job)
            return
    job()


def is_worker() -> bool:
    """Whether the calling OS thread is one of these."""
    return _get_ident() in _idents


def end() -> None:
    """Wait until all jobs are done and the workers have ended. A later job starts new ones."""
    while _workers:
        worker = _workers[-1]
        with _guard:
            is_idle = worker in _idle
            if is_idle:
                _idle.remove(worker)
                _workers.remove(worker)
        if is_idle:
            worker.give(None)
            worker.join()
        else:
            _core.sleep(0.001)


def forget() -> None:
    """In the child of a fork: they are not here."""
    global _guard
    _guard = _make_guard()
    _workers.clear()
    _idle.clear()
    _backlog.clear()
    _idents.clear()
