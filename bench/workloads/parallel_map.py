# SPDX-License-Identifier: MIT
"""parallel_map: many short sleeps, so many at a time, with the results in order."""

from workloads.common import cpu_clock, on_asyncio, on_trio, on_uvloop

TITLE = "parallel_map of 10,000 sleeps of 10 ms"
NOTE = ("CPU milliseconds for the whole map, results in order; the names are how many may run at once. The wall "
        "clock shows 10 ms for each round. gevent has a pool's map; the loops a gather or a nursery under "
        "a semaphore, as their users write it.")
UNIT = "ms"
CASES = {
    "limit-100": {"items": 10_000, "limit": 100},
    "limit-1000": {"items": 10_000, "limit": 1000},
}
SCALE = False
QUICK = ("limit-1000",)

SECONDS = 0.01


def checked(results, items, cpu):
    if results != list(range(items)):
        raise AssertionError("the results are not in order")
    return cpu, 1


def ours(count, items, limit):
    from microthread import parallel_map, sleep

    def work(n):
        sleep(SECONDS)
        return n

    start = cpu_clock()
    results = parallel_map(work, range(items), limit=limit)
    return checked(results, items, cpu_clock() - start)


def gevent_hub(count, items, limit):
    import gevent
    from gevent.pool import Pool

    def work(n):
        gevent.sleep(SECONDS)
        return n

    start = cpu_clock()
    results = Pool(limit).map(work, range(items))
    return checked(results, items, cpu_clock() - start)


async def coroutines(count, items, limit):
    import asyncio

    room = asyncio.Semaphore(limit)

    async def work(n):
        async with room:
            await asyncio.sleep(SECONDS)
            return n

    start = cpu_clock()
    results = await asyncio.gather(*map(work, range(items)))
    return checked(results, items, cpu_clock() - start)


async def trio_tasks(count, items, limit):
    import trio

    results = [None] * items
    room = trio.CapacityLimiter(limit)

    async def work(n):
        async with room:
            await trio.sleep(SECONDS)
            results[n] = n

    start = cpu_clock()
    async with trio.open_nursery() as nursery:
        for n in range(items):
            nursery.start_soon(work, n)
    return checked(results, items, cpu_clock() - start)


PEERS = {
    "microthread": ours,
    "gevent": gevent_hub,
    "asyncio": on_asyncio(coroutines),
    "uvloop": on_uvloop(coroutines),
    "trio": on_trio(trio_tasks),
}
