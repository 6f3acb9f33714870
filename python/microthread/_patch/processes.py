# SPDX-License-Identifier: MIT
"""The semaphore below multiprocessing's locks and queues, waited for without blocking."""

import time

import _multiprocessing
from microthread import _core


class SemLock(_multiprocessing.SemLock):
    """Who waits looks again every 10 ms at most: no other process tells the loop of a release."""

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take it. timeout: seconds, None for no limit. Returns whether it was taken."""
        end = None if timeout is None else time.monotonic() + timeout
        pause = 0.0005
        while not super().acquire(False):
            if not block or (end is not None and time.monotonic() >= end):
                return False
            _core.sleep(pause)
            pause = min(2 * pause, 0.01)
        return True

    def __enter__(self) -> bool:
        return self.acquire()
