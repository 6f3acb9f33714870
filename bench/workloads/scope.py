# SPDX-License-Identifier: MIT
"""A block of limited time that is left in time, and the first of four pipes that are ready."""

from workloads.common import cpu_clock, on_asyncio, on_trio, on_uvloop

TITLE = "Limits of time, and the first of several things"
NOTE = ("One operation is: `timeout`, to enter and leave a block of 10 s, empty, on top of what waits already; "
        "`select-4`, to take from one of four pipes, all ready, and put the object back. Nobody else has a "
        "select over queues.")
UNIT = "ns"
CASES = {"timeout": {"what": "timeout"}, "select-4": {"what": "select"}}
START = 1_000
SECONDS = 10.0
WAYS = 4


def skip(case, label):
    """Only ours selects over pipes."""
    return "no select over queues" if case != "timeout" and label != "microthread" else None


def ours(count, what):
    from microthread import micro_pipe, select, timeout

    if what == "timeout":
        start = cpu_clock()
        for _ in range(count):
            with timeout(SECONDS):
                pass
        return cpu_clock() - start, count
    pipes = [micro_pipe() for _ in range(WAYS)]
    for pipe in pipes:
        pipe.put(None)
    a, b, c, d = pipes
    start = cpu_clock()
    for _ in range(count):
        index, obj = select(a.taking(), b.taking(), c.taking(), d.taking())
        pipes[index].put(obj)
    return cpu_clock() - start, count


def gevent_hub(count, what):
    from gevent import Timeout

    start = cpu_clock()
    for _ in range(count):
        with Timeout(SECONDS):
            pass
    return cpu_clock() - start, count


async def coroutines(count, what):
    import asyncio

    start = cpu_clock()
    for _ in range(count):
        async with asyncio.timeout(SECONDS):
            pass
    return cpu_clock() - start, count


async def trio_tasks(count, what):
    import trio

    start = cpu_clock()
    for _ in range(count):
        with trio.fail_after(SECONDS):
            pass
    return cpu_clock() - start, count


PEERS = {
    "microthread": ours,
    "gevent": gevent_hub,
    "asyncio": on_asyncio(coroutines),
    "uvloop": on_uvloop(coroutines),
    "trio": on_trio(trio_tasks),
}
