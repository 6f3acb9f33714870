# SPDX-License-Identifier: MIT
"""The prime sieve: a chain of filters joined by pipes, one filter for each prime found.

All numbers up to the last prime wanted go in and then the chain closes, so that every peer moves
exactly the same items, however far ahead its pipes let it run. The last prime is checked.
"""

from workloads.common import cpu_clock, on_asyncio, on_trio, on_uvloop

TITLE = "Prime sieve: a chain of pipes"
NOTE = ("CPU milliseconds for the whole sieve: as many threads or tasks as primes. The names are "
        "the number of primes and the capacity of each pipe.")
UNIT = "ms"
CASES = {
    "500-primes-1": {"primes": 500, "last": 3571, "capacity": 1},
    "1000-primes-128": {"primes": 1000, "last": 7919, "capacity": 128},
}
GO = True
SCALE = False


def checked(found, last, cpu):
    if found != last:
        raise AssertionError(f"the sieve ended with {found}, not {last}")
    return cpu, 1


def ours(count, primes, last, capacity):
    from microthread import micro_pipe, spawn

    def numbers(right):
        put = right.put
        for n in range(2, last + 1):
            put(n)
        right.close()

    def sift(prime, left, right):
        put = right.put
        for n in left:
            if n % prime:
                put(n)
        right.close()

    start = cpu_clock()
    left = micro_pipe(capacity)
    spawn(numbers, left)
    for _ in range(primes):
        prime = left.take()
        right = micro_pipe(capacity)
        spawn(sift, prime, left, right)
        left = right
    for _ in left:
        raise AssertionError("a number after the last prime")
    return checked(prime, last, cpu_clock() - start)


def gevent_hub(count, primes, last, capacity):
    import gevent
    from gevent.queue import SimpleQueue

    def numbers(right):
        put = right.put
        for n in range(2, last + 1):
            put(n)
        put(None)

    def sift(prime, left, right):
        get, put = left.get, right.put
        while (n := get()) is not None:
            if n % prime:
                put(n)
        put(None)

    start = cpu_clock()
    left = SimpleQueue(capacity)
    gevent.spawn(numbers, left)
    for _ in range(primes):
        prime = left.get()
        right = SimpleQueue(capacity)
        gevent.spawn(sift, prime, left, right)
        left = right
    assert left.get() is None
    return checked(prime, last, cpu_clock() - start)


async def coroutines(count, primes, last, capacity):
    import asyncio

    async def numbers(right):
        put = right.put
        for n in range(2, last + 1):
            await put(n)
        await put(None)

    async def sift(prime, left, right):
        get, put = left.get, right.put
        while (n := await get()) is not None:
            if n % prime:
                await put(n)
        await put(None)

    start = cpu_clock()
    left = asyncio.Queue(capacity)
    tasks = [asyncio.create_task(numbers(left))]
    for _ in range(primes):
        prime = await left.get()
        right = asyncio.Queue(capacity)
        tasks.append(asyncio.create_task(sift(prime, left, right)))
        left = right
    assert await left.get() is None
    return checked(prime, last, cpu_clock() - start)


async def trio_tasks(count, primes, last, capacity):
    import trio

    async def numbers(right):
        send = right.send
        for n in range(2, last + 1):
            await send(n)
        await right.aclose()

    async def sift(prime, left, right):
        send = right.send
        async for n in left:
            if n % prime:
                await send(n)
        await right.aclose()

    start = cpu_clock()
    async with trio.open_nursery() as nursery:
        right, left = trio.open_memory_channel(capacity)
        nursery.start_soon(numbers, right)
        for _ in range(primes):
            prime = await left.receive()
            right, rest = trio.open_memory_channel(capacity)
            nursery.start_soon(sift, prime, left, right)
            left = rest
        async for _ in left:
            raise AssertionError("a number after the last prime")
    return checked(prime, last, cpu_clock() - start)


PEERS = {
    "microthread": ours,
    "gevent": gevent_hub,
    "asyncio": on_asyncio(coroutines),
    "uvloop": on_uvloop(coroutines),
    "trio": on_trio(trio_tasks),
}
