# SPDX-License-Identifier: MIT
"""Spawn and join: one by one, and in batches of 1,000 that are spawned first and then waited for."""

from workloads.common import cpu_clock, nothing, nothing_async, on_asyncio, on_trio, on_uvloop

TITLE = "Spawn, run, finish and join"
NOTE = ("One operation is one thread's or task's whole life. `single`: each is waited for before the next. "
        "`batch`: 1,000 are spawned, then all are waited for; they return at once. "
        "`batch-yield`: the same, and each gives way once, so that all 1,000 are alive together.")
UNIT = "ns"
CASES = {
    "single": {"batch": 1, "pause": False},
    "batch": {"batch": 1000, "pause": False},
    "batch-yield": {"batch": 1000, "pause": True},
}
GO = True
START = 3


def ours(count, batch, pause):
    from microthread import spawn, yield_now

    body = yield_once(yield_now) if pause else nothing

    def leader():
        start = cpu_clock()
        for _ in range(count):
            if batch == 1:
                spawn(body).wait()
            else:
                threads = [spawn(body) for _ in range(batch)]
                for thread in threads:
                    thread.wait()
        return cpu_clock() - start

    return spawn(leader).wait(), count * batch


def yield_once(give_way):
    def body():
        give_way()

    return body


def bare_greenlet(count, batch, pause):
    from greenlet import getcurrent, greenlet

    main = getcurrent()
    body = yield_once(main.switch) if pause else nothing
    start = cpu_clock()
    for _ in range(count):
        if batch == 1:
            greenlet(body).switch()
        else:
            greenlets = [greenlet(body) for _ in range(batch)]
            for each in greenlets:
                each.switch()
            if pause:
                for each in greenlets:
                    each.switch()
    return cpu_clock() - start, count * batch


def gevent_hub(count, batch, pause):
    import gevent

    body = yield_once(gevent.sleep) if pause else nothing
    spawn = gevent.spawn
    start = cpu_clock()
    for _ in range(count):
        if batch == 1:
            spawn(body).join()
        else:
            threads = [spawn(body) for _ in range(batch)]
            for thread in threads:
                thread.join()
    return cpu_clock() - start, count * batch


async def coroutines(count, batch, pause):
    import asyncio

    async def sleeper():
        await asyncio.sleep(0)

    body = sleeper if pause else nothing_async
    spawn = asyncio.create_task
    start = cpu_clock()
    for _ in range(count):
        if batch == 1:
            await spawn(body())
        else:
            tasks = [spawn(body()) for _ in range(batch)]
            for task in tasks:
                await task
    return cpu_clock() - start, count * batch


async def trio_tasks(count, batch, pause):
    import trio

    body = trio.lowlevel.checkpoint if pause else nothing_async
    start = cpu_clock()
    for _ in range(count):
        async with trio.open_nursery() as nursery:
            for _ in range(batch):
                nursery.start_soon(body)
    return cpu_clock() - start, count * batch


PEERS = {
    "microthread": ours,
    "greenlet": bare_greenlet,
    "gevent": gevent_hub,
    "asyncio": on_asyncio(coroutines),
    "uvloop": on_uvloop(coroutines),
    "trio": on_trio(trio_tasks),
}
