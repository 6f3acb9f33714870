# SPDX-License-Identifier: MIT
"""Import locks that know micro-threads.

importlib guards the loading of a module by a lock whose owner is an OS thread, so a micro-thread
that waits while it loads a module would let another one of its OS thread see the half-made module,
and one of another OS thread would block that whole OS thread. install() puts a lock in its place whose
owner is a micro-thread and which waits as everything here waits. The algorithm is that of
importlib._bootstrap: a re-entrant lock, and a chain of owners and what they wait for that is followed
to find import cycles, which then see a partly initialised module, as always.
"""

from __future__ import annotations

import importlib._bootstrap as bootstrap
from _collections import deque  # importing collections costs every program's start
from _thread import RLock, get_ident  # the real ones, whatever microthread.patch puts there

from microthread import _core

_waits: dict[int, "ModuleLock"] = {}  # micro-thread id: the lock it waits for


class ModuleLock:
    """A re-entrant lock for the loading of one module, owned by a micro-thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._guard = RLock()  # for the fields; never held over a wait
        self._owner: int | None = None  # id of the micro-thread that loads the module
        self._home = 0  # and its OS thread
        self._depth = 0
        self._waiters: deque[_core.deferred] = deque()

    def _is_circular(self, me: int) -> bool:
        """Whether the owner waits, by way of others, for a lock that `me` holds."""
        lock: ModuleLock | None = self
        seen = set()
        while lock is not None and lock._owner not in seen:
            if lock._owner == me:
                return True
            seen.add(lock._owner)
            lock = _waits.get(lock._owner)
        return False

    def acquire(self) -> bool:
        """Wait for the lock. Raises importlib's _DeadlockError for an import cycle."""
        me = _core.current().id
        while True:
            with self._guard:
                if self._owner is None or self._owner == me:
                    self._owner, self._home = me, get_ident()
                    self._depth += 1
                    return True
                if self._is_circular(me):
                    raise bootstrap._DeadlockError(f"deadlock detected by {self!r}")
                turn = _core.deferred()
                self._waiters.append(turn)
                _waits[me] = self
                is_elsewhere = self._home != get_ident()
            _core._expect_wake(is_elsewhere)
            try:
                turn.wait()
            except BaseException:
                with self._guard:
                    if not turn.fired:
                        self._waiters.remove(turn)
                    elif self._owner is None:
                        self._wake_next()  # our turn came too late: it is another one's
                raise
            finally:
                _core._expect_wake(-is_elsewhere)
                del _waits[me]

    def release(self) -> None:
        """Let go of it once; the last time wakes the longest waiter."""
        with self._guard:
            if self._owner != _core.current().id:
                raise RuntimeError("cannot release un-acquired lock")
            self._depth -= 1
            if self._depth == 0:
                self._owner = None
                self._wake_next()

    def _wake_next(self) -> None:
        if self._waiters:
            self._waiters.popleft().callback(None)

    def __repr__(self) -> str:
        return f"ModuleLock({self.name!r}) at {id(self)}"


def install() -> None:
    """Have importlib make these locks for the modules that are loaded from now on."""
    bootstrap._ModuleLock = ModuleLock
