# SPDX-License-Identifier: MIT
"""100,000 sleeps of 0 to 1 seconds, all started at once: the CPU seconds until the last has ended."""

import random

from workloads.common import cpu_clock, on_asyncio, on_trio, on_uvloop

TITLE = "100,000 timers"
NOTE = ("CPU seconds from the first spawn to the last join. The wall clock shows at least one second. "
        "The names are the number of sleepers.")
UNIT = "s"
CASES = {"10000": {"sleepers": 10_000}, "100000": {"sleepers": 100_000}}
GO = True
SCALE = False
QUICK = ("10000",)


def delays(sleepers):
    """The same times for everybody."""
    source = random.Random(20)
    return [source.random() for _ in range(sleepers)]


def ours(count, sleepers):
    from microthread import sleep, spawn

    times = delays(sleepers)
    start = cpu_clock()
    threads = [spawn(sleep, seconds) for seconds in times]
    for thread in threads:
        thread.wait()
    return cpu_clock() - start, 1


def gevent_hub(count, sleepers):
    import gevent

    times = delays(sleepers)
    start = cpu_clock()
    threads = [gevent.spawn(gevent.sleep, seconds) for seconds in times]
    for thread in threads:
        thread.join()
    if not all(thread.successful() for thread in threads):
        raise next(thread.exception for thread in threads if thread.exception)
    return cpu_clock() - start, 1


async def coroutines(count, sleepers):
    import asyncio

    times = delays(sleepers)
    start = cpu_clock()
    tasks = [asyncio.create_task(asyncio.sleep(seconds)) for seconds in times]
    for task in tasks:
        await task
    return cpu_clock() - start, 1


async def trio_tasks(count, sleepers):
    import trio

    times = delays(sleepers)
    start = cpu_clock()
    async with trio.open_nursery() as nursery:
        for seconds in times:
            nursery.start_soon(trio.sleep, seconds)
    return cpu_clock() - start, 1


PEERS = {
    "microthread": ours,
    "gevent": gevent_hub,
    "asyncio": on_asyncio(coroutines),
    "uvloop": on_uvloop(coroutines),
    "trio": on_trio(trio_tasks),
}
