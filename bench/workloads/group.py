# SPDX-License-Identifier: MIT
"""Structured groups: spawn 1,000 members, leave the block, and all have ended."""

from workloads.common import cpu_clock, nothing, nothing_async, on_asyncio, on_trio, on_uvloop

TITLE = "A group of 1,000: enter, spawn, wait for all, leave"
NOTE = ("One operation is one member's whole life in a group; they return at once. `limit-100`: at most 100 "
        "run at once. gevent has no groups that cancel each other: its Pool. The loops have no limit of "
        "their own: a semaphore around each member.")
UNIT = "ns"
CASES = {"1000": {"limit": None}, "limit-100": {"limit": 100}}
START = 3
BATCH = 1_000


def ours(count, limit):
    from microthread import Group

    start = cpu_clock()
    for _ in range(count):
        with Group(limit) as group:
            spawn = group.spawn
            for _ in range(BATCH):
                spawn(nothing)
    return cpu_clock() - start, count * BATCH


def gevent_hub(count, limit):
    from gevent.pool import Group, Pool

    start = cpu_clock()
    for _ in range(count):
        group = Pool(limit) if limit else Group()
        spawn = group.spawn
        for _ in range(BATCH):
            spawn(nothing)
        group.join()
    return cpu_clock() - start, count * BATCH


async def coroutines(count, limit):
    import asyncio

    async def limited():
        async with room:
            pass

    body = limited if limit else nothing_async
    start = cpu_clock()
    for _ in range(count):
        room = asyncio.Semaphore(limit or 1)
        async with asyncio.TaskGroup() as group:
            for _ in range(BATCH):
                group.create_task(body())
    return cpu_clock() - start, count * BATCH


async def trio_tasks(count, limit):
    import trio

    async def limited():
        async with room:
            pass

    body = limited if limit else nothing_async
    start = cpu_clock()
    for _ in range(count):
        room = trio.CapacityLimiter(limit or 1)
        async with trio.open_nursery() as nursery:
            for _ in range(BATCH):
                nursery.start_soon(body)
    return cpu_clock() - start, count * BATCH


PEERS = {
    "microthread": ours,
    "gevent": gevent_hub,
    "asyncio": on_asyncio(coroutines),
    "uvloop": on_uvloop(coroutines),
    "trio": on_trio(trio_tasks),
}
