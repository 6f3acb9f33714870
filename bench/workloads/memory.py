# SPDX-License-Identifier: MIT
"""What a parked micro-thread holds: resident bytes, mappings, page tables, and the time to park them all.

Each is three Python frames deep and waits for one thing that all share. The process is measured
before the first spawn and once all are parked; then it leaves without unwinding them.
"""

import time

from workloads.common import cpu_clock, on_asyncio, on_trio, on_uvloop

TITLE = "Memory of a parked micro-thread, three Python frames deep"
NOTE = ("Resident bytes each: RSS of the process with all of them parked, less RSS before the first spawn, "
        "by their number; objects, frames, stacks and the list that holds them included. "
        "`tables`: the page tables, which RSS leaves out.")
UNIT = "bytes"
CASES = {
    "10k": {"parked": 10_000},
    "30k": {"parked": 30_000},
    "100k": {"parked": 100_000},
    "1M": {"parked": 1_000_000},
}
GO = True
SCALE = False
QUICK = ("10k",)
ROUNDS = 3
ROOM_FOR_A_MILLION = 8 << 30  # bytes of free memory, nearly twice what ours should take


def skip(case, label):
    """A million is asked of ours and of the leanest peers, and only where there is room."""
    if case == "1M":
        if label not in ("microthread", "asyncio", "go"):
            return "not asked for a million"
        if free_memory() < ROOM_FOR_A_MILLION:
            return f"less than {ROOM_FOR_A_MILLION >> 30} GiB of memory free"
    return None


def status(path, key):
    """One `Key:  n kB` line of a file in /proc, in bytes."""
    with open(path, encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
    raise KeyError(f"no {key} in {path}")


def free_memory():
    return status("/proc/meminfo", "MemAvailable")


class Gauge:
    """The process before; `full` compares it with the process after."""

    def __init__(self):
        self.before = self.now()
        self.cpu, self.wall = cpu_clock(), time.monotonic()

    @staticmethod
    def now():
        with open("/proc/self/maps", "rb") as maps:
            mappings = sum(1 for _ in maps)
        return (status("/proc/self/smaps_rollup", "Rss"), status("/proc/self/status", "VmPTE"), mappings)

    def full(self, parked, expected):
        """The figures, once `parked` of the `expected` wait."""
        cpu, wall = cpu_clock() - self.cpu, time.monotonic() - self.wall
        if parked != expected:
            raise AssertionError(f"{parked} of {expected} parked")
        rss, tables, mappings = (after - before for after, before in zip(self.now(), self.before))
        return {"value": rss / parked, "tables": tables / parked, "mappings": mappings,
                "cpu_seconds": cpu, "seconds": wall}


class Frames:
    """The three frames of whoever waits by a plain call, and the count of those that came so far."""

    def __init__(self, wait):
        self.wait, self.parked = wait, 0

    def outer(self):
        self.middle()

    def middle(self):
        self.inner()

    def inner(self):
        self.parked += 1
        self.wait()


class Coroutines:
    """The same three frames for the loops; `wait` gives something to await."""

    def __init__(self, wait):
        self.wait, self.parked = wait, 0

    async def outer(self):
        await self.middle()

    async def middle(self):
        await self.inner()

    async def inner(self):
        self.parked += 1
        await self.wait()


def ours(count, parked):
    from microthread import micro_pipe, spawn, yield_now

    frames = Frames(micro_pipe().take)
    spawn(yield_now).wait()
    gauge = Gauge()
    outer = frames.outer  # one bound method for all: its 64 bytes are not the micro-thread's
    threads = [spawn(outer) for _ in range(parked)]
    while frames.parked < parked:
        yield_now()
    return gauge.full(frames.parked, len(threads))


def bare_greenlet(count, parked):
    from greenlet import getcurrent, greenlet

    frames = Frames(getcurrent().switch)
    gauge = Gauge()
    greenlets = [greenlet(frames.outer) for _ in range(parked)]
    for each in greenlets:
        each.switch()
    return gauge.full(frames.parked, parked)


def gevent_hub(count, parked):
    import gevent
    from gevent.event import Event

    frames = Frames(Event().wait)
    gevent.spawn(gevent.sleep).join()
    gauge = Gauge()
    threads = [gevent.spawn(frames.outer) for _ in range(parked)]
    while frames.parked < parked:
        gevent.sleep(0)
    return gauge.full(frames.parked, len(threads))


async def coroutines(count, parked):
    import asyncio

    gate = asyncio.get_running_loop().create_future()
    frames = Coroutines(lambda: gate)
    await asyncio.create_task(asyncio.sleep(0))
    gauge = Gauge()
    tasks = [asyncio.create_task(frames.outer()) for _ in range(parked)]
    await asyncio.sleep(0)
    return leave(gauge.full(frames.parked, len(tasks)))


async def trio_tasks(count, parked):
    import trio

    frames = Coroutines(trio.Event().wait)
    async with trio.open_nursery() as nursery:
        gauge = Gauge()
        for _ in range(parked):
            nursery.start_soon(frames.outer)
        while frames.parked < parked:
            await trio.lowlevel.checkpoint()
        return leave(gauge.full(frames.parked, parked))


def leave(figures):
    """Hand the figures over and end the process here: nobody is woken."""
    import json
    import os

    print(json.dumps(figures), flush=True)
    os._exit(0)


PEERS = {
    "microthread": lambda count, parked: leave(ours(count, parked)),
    "greenlet": lambda count, parked: leave(bare_greenlet(count, parked)),
    "gevent": lambda count, parked: leave(gevent_hub(count, parked)),
    "asyncio": on_asyncio(coroutines),
    "uvloop": on_uvloop(coroutines),
    "trio": on_trio(trio_tasks),
}
