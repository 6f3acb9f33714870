# SPDX-License-Identifier: MIT
"""The switch: a ring of members, each of which gives way `count` times.

One member, the leader, holds the clock. It gives way once so that all have started, and then
`count` times, in which every member is resumed exactly `count` times.
"""

from workloads.common import cpu_clock, on_asyncio, on_trio, on_uvloop

TITLE = "Switch: a ring in which everybody gives way"
NOTE = ("One operation is one switch, the Python loop around it included. greenlet has no scheduler: "
        "each member switches straight to the next one.")
UNIT = "ns"
CASES = {"2": {"ring": 2}, "100": {"ring": 100}, "10000": {"ring": 10_000}}
GO = True
START = 5


def ours(count, ring):
    from microthread import spawn, yield_now

    def member():
        for _ in range(count + 1):
            yield_now()

    def leader():
        members = [spawn(member) for _ in range(ring - 1)]
        yield_now()
        start = cpu_clock()
        for _ in range(count):
            yield_now()
        cpu = cpu_clock() - start
        for thread in members:
            thread.wait()
        return cpu

    return spawn(leader).wait(), count * ring


def bare_greenlet(count, ring):
    from functools import partial

    from greenlet import getcurrent, greenlet

    # Where a greenlet is first switched to decides how much of the C stack its switches copy. A pair is
    # fastest when one starts the other; a larger ring when the main greenlet starts each of them.
    main, from_main = getcurrent(), ring > 2

    def member(index):
        switch = members[(index + 1) % ring].switch
        if from_main:
            main.switch()
        for _ in range(count + 1):
            switch()

    def leader():
        switch = members[1].switch
        switch()
        start = cpu_clock()
        for _ in range(count):
            switch()
        return cpu_clock() - start

    members = [greenlet(leader)] + [greenlet(partial(member, i)) for i in range(1, ring)]
    if from_main:
        for each in members[1:]:
            each.switch()
    return members[0].switch(), count * ring


def gevent_hub(count, ring):
    import gevent

    sleep = gevent.sleep

    def member():
        for _ in range(count + 1):
            sleep(0)

    def leader():
        members = [gevent.spawn(member) for _ in range(ring - 1)]
        sleep(0)
        start = cpu_clock()
        for _ in range(count):
            sleep(0)
        cpu = cpu_clock() - start
        gevent.joinall(members)
        return cpu

    return gevent.spawn(leader).get(), count * ring


async def coroutines(count, ring):
    import asyncio

    sleep = asyncio.sleep

    async def member():
        for _ in range(count + 1):
            await sleep(0)

    members = [asyncio.create_task(member()) for _ in range(ring - 1)]
    await sleep(0)
    start = cpu_clock()
    for _ in range(count):
        await sleep(0)
    cpu = cpu_clock() - start
    for task in members:
        await task
    return cpu, count * ring


async def trio_tasks(count, ring):
    import trio

    checkpoint = trio.lowlevel.checkpoint

    async def member():
        for _ in range(count + 1):
            await checkpoint()

    async with trio.open_nursery() as nursery:
        for _ in range(ring - 1):
            nursery.start_soon(member)
        await checkpoint()
        start = cpu_clock()
        for _ in range(count):
            await checkpoint()
        cpu = cpu_clock() - start
    return cpu, count * ring


PEERS = {
    "microthread": ours,
    "greenlet": bare_greenlet,
    "gevent": gevent_hub,
    "asyncio": on_asyncio(coroutines),
    "uvloop": on_uvloop(coroutines),
    "trio": on_trio(trio_tasks),
}
