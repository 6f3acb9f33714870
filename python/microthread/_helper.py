# SPDX-License-Identifier: MIT
"""The life of an OS thread that goes with a setting of the process."""

import atexit
import os
from collections.abc import Callable

from microthread import _workers


class Helper:
    """Runs a setting's OS threads: none is left at exit, and the child of a fork starts its own."""

    def __init__(self, stop: Callable[[], None], start_again: Callable[[], None]) -> None:
        """stop: end what runs, without waiting for it. start_again: called in the child of a fork."""
        self.stop = stop
        self.start_again = start_again
        self.joins: list[Callable[[], object]] = []
        self.is_prepared = False

    def run(self, fn: Callable[[], None]) -> None:
        """Call fn in an OS thread of its own, also under patch.threading()."""
        if not self.is_prepared:
            self.is_prepared = True
            atexit.register(self.end)
            os.register_at_fork(after_in_child=self.begin_again)
        self.joins.append(_workers._start(fn))

    def end(self) -> None:
        """At exit: no OS thread may be left when the interpreter goes."""
        self.stop()
        for join in self.joins:
            join()
        self.joins.clear()

    def begin_again(self) -> None:
        """In the child of a fork, which has no other OS threads."""
        self.joins.clear()
        self.start_again()
