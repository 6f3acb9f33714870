# SPDX-License-Identifier: MIT
"""One writer, one reader, and the pipe between them: what an item costs, its put and its take."""

from workloads.common import cpu_clock, on_asyncio, on_trio, on_uvloop

TITLE = "Pipe: one item from a writer to a reader"
NOTE = ("One operation is one put and one take, the two Python loops around them included. Peers: "
        "`gevent.queue.SimpleQueue` and `Channel`, `asyncio.Queue`, trio's memory channels, Go's channels. "
        "Go has no unbounded channel, asyncio no rendezvous.")
UNIT = "ns"
CASES = {
    "unbounded": {"capacity": None},
    "1": {"capacity": 1},
    "128": {"capacity": 128},
    "rendezvous": {"capacity": 0},
}
GO = True
START = 2_000
MOST = 2_000_000


def skip(case, label):
    """Why this peer has no such pipe."""
    if label == "go" and case == "unbounded":
        return "no unbounded channels"
    if label in ("asyncio", "uvloop") and case == "rendezvous":
        return "no rendezvous queue"
    return None


def ours(count, capacity):
    from microthread import micro_pipe, spawn

    pipe = micro_pipe(capacity)

    def read():
        take = pipe.take
        for _ in range(count):
            take()

    def write():
        put = pipe.put
        for _ in range(count):
            put(None)

    start = cpu_clock()
    reader, writer = spawn(read), spawn(write)
    writer.wait()
    reader.wait()
    return cpu_clock() - start, count


def gevent_hub(count, capacity):
    import gevent
    from gevent.queue import Channel, SimpleQueue

    queue = Channel() if capacity == 0 else SimpleQueue(capacity)

    def read():
        get = queue.get
        for _ in range(count):
            get()

    def write():
        put = queue.put
        for _ in range(count):
            put(None)

    start = cpu_clock()
    reader, writer = gevent.spawn(read), gevent.spawn(write)
    writer.join()
    reader.join()
    return cpu_clock() - start, count


async def coroutines(count, capacity):
    import asyncio

    queue = asyncio.Queue(capacity or 0)

    async def read():
        get = queue.get
        for _ in range(count):
            await get()

    async def write():
        if capacity is None:
            put_nowait = queue.put_nowait
            for _ in range(count):
                put_nowait(None)
        else:
            put = queue.put
            for _ in range(count):
                await put(None)

    start = cpu_clock()
    reader, writer = asyncio.create_task(read()), asyncio.create_task(write())
    await writer
    await reader
    return cpu_clock() - start, count


async def trio_tasks(count, capacity):
    import math

    import trio

    sending, receiving = trio.open_memory_channel(math.inf if capacity is None else capacity)

    async def read():
        receive = receiving.receive
        for _ in range(count):
            await receive()

    async def write():
        if capacity is None:
            send_nowait = sending.send_nowait
            for _ in range(count):
                send_nowait(None)
        else:
            send = sending.send
            for _ in range(count):
                await send(None)

    start = cpu_clock()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(write)
    return cpu_clock() - start, count


PEERS = {
    "microthread": ours,
    "gevent": gevent_hub,
    "asyncio": on_asyncio(coroutines),
    "uvloop": on_uvloop(coroutines),
    "trio": on_trio(trio_tasks),
}
