# SPDX-License-Identifier: MIT
"""What the workloads share: the CPU clock, and one way to run a coroutine function on each loop."""

import functools
import os
from time import process_time as cpu_clock

__all__ = ["all_cpus", "cpu_clock", "nothing", "nothing_async", "on_asyncio", "on_trio", "on_uvloop"]


def all_cpus():
    """Take back that this process is on one CPU: what is measured is several at once."""
    os.sched_setaffinity(0, range(os.cpu_count()))


def nothing():
    """What is spawned where only the spawning counts."""


async def nothing_async():
    """The same for the loops."""


def on_asyncio(function):
    """Run a coroutine function in a fresh asyncio loop."""

    @functools.wraps(function)
    def run(count, **case):
        import asyncio

        return asyncio.run(function(count, **case))

    return run


def on_uvloop(function):
    """Run the same coroutine function on uvloop."""

    @functools.wraps(function)
    def run(count, **case):
        import uvloop

        return uvloop.run(function(count, **case))

    return run


def on_trio(function):
    """Run a coroutine function under trio."""

    @functools.wraps(function)
    def run(count, **case):
        import trio

        return trio.run(functools.partial(function, count, **case))

    return run
