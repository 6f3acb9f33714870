# SPDX-License-Identifier: MIT
"""Locks, semaphores, events, conditions and queues: what each costs alone, and from one member to another."""

import queue
import threading

from workloads.common import cpu_clock, on_asyncio, on_trio, on_uvloop

TITLE = "Synchronisation: lock, semaphore, hand-over, event, condition, queue"
NOTE = ("One operation is: `lock`, an acquire and a release that nobody contends; `semaphore`, the same; `hand-over`, a release of "
        "one semaphore and an acquire of another, by which two members take turns; `event`, a set, a wait "
        "and a clear, likewise; `condition`, a notice to the other one and a wait for its own; `queue`, a put and a get, unbounded, and with 16 places. The Python loops "
        "around them are included. trio's events cannot be cleared: a new one each time; its queue is a "
        "memory channel. `threading` is two OS threads, for reference.")
UNIT = "ns"
CASES = {
    "lock": {"what": "lock"},
    "hand-over": {"what": "hand_over"},
    "semaphore": {"what": "semaphore"},
    "event": {"what": "event"},
    "condition": {"what": "condition"},
    "queue": {"what": "queue", "size": 0},
    "queue-16": {"what": "queue", "size": 16},
}
START = 1_000
MOST = 2_000_000


def skip(case, label):
    """gevent has no condition."""
    return "no condition" if (case, label) == ("condition", "gevent") else None


class Blocking:
    """The workload over anything with threading's and queue's names. run(*functions) runs members."""

    def __init__(self, lock, semaphore, event, condition, queue, run):
        self.make_lock, self.make_semaphore, self.make_event = lock, semaphore, event
        self.make_condition, self.make_queue, self.run = condition, queue, run

    def __call__(self, count, what, **case):
        begun = cpu_clock()
        self.run(*getattr(self, what)(count, **case))
        return cpu_clock() - begun, count

    def lock(self, count):
        def member():
            lock = self.make_lock()
            acquire, release = lock.acquire, lock.release
            for _ in range(count):
                acquire()
                release()

        return (member,)

    def semaphore(self, count):
        def member():
            semaphore = self.make_semaphore(1)
            acquire, release = semaphore.acquire, semaphore.release
            for _ in range(count):
                acquire()
                release()

        return (member,)

    def condition(self, count):
        condition, turn = self.make_condition(self.make_lock()), [0]

        def member(mine, other):
            with condition:
                for _ in range(count // 2):
                    while turn[0] != mine:
                        condition.wait()
                    turn[0] = other
                    condition.notify()

        return lambda: member(0, 1), lambda: member(1, 0)

    def hand_over(self, count):
        a, b = self.make_semaphore(1), self.make_semaphore(0)

        def member(mine, other):
            acquire, release = mine.acquire, other.release
            for _ in range(count // 2):
                acquire()
                release()

        return lambda: member(a, b), lambda: member(b, a)

    def event(self, count):
        a, b = self.make_event(), self.make_event()
        a.set()

        def member(mine, other):
            wait, clear, give = mine.wait, mine.clear, other.set
            for _ in range(count // 2):
                wait()
                clear()
                give()

        return lambda: member(a, b), lambda: member(b, a)

    def queue(self, count, size):
        items = self.make_queue(size)

        def getter():
            get = items.get
            for _ in range(count):
                get()

        def putter():
            put = items.put
            for _ in range(count):
                put(None)

        return getter, putter


def ours(count, **case):
    import microthread as mt

    def run(*members):
        for thread in [mt.spawn(member) for member in members]:
            thread.wait()

    return Blocking(mt.Lock, mt.Semaphore, mt.Event, mt.Condition, mt.Queue, run)(count, **case)


def gevent_hub(count, **case):
    import gevent
    import gevent.event
    import gevent.lock
    import gevent.queue

    def run(*members):
        gevent.joinall([gevent.spawn(member) for member in members], raise_error=True)

    def make_queue(size):
        return gevent.queue.Queue(size or None)

    semaphore = gevent.lock.Semaphore
    return Blocking(semaphore, semaphore, gevent.event.Event, None, make_queue, run)(count, **case)


def os_threads(count, **case):
    def run(*members):
        threads = [threading.Thread(target=member) for member in members]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return Blocking(threading.Lock, threading.Semaphore, threading.Event, threading.Condition, queue.Queue,
                    run)(count, **case)


async def coroutines(count, what, size=0):
    import asyncio

    async def acquire_release(mine):
        acquire, release = mine.acquire, mine.release
        for _ in range(count):
            await acquire()
            release()

    async def converse(condition, turn, mine, other):
        async with condition:
            for _ in range(count // 2):
                while turn[0] != mine:
                    await condition.wait()
                turn[0] = other
                condition.notify()

    async def take_turns(mine, other):
        acquire, release = mine.acquire, other.release
        for _ in range(count // 2):
            await acquire()
            release()

    async def signal(mine, other):
        wait, clear, give = mine.wait, mine.clear, other.set
        for _ in range(count // 2):
            await wait()
            clear()
            give()

    async def getter(items):
        get = items.get
        for _ in range(count):
            await get()

    async def putter(items):
        put = items.put
        for _ in range(count):
            await put(None)

    if what == "lock":
        members = [acquire_release(asyncio.Lock())]
    elif what == "semaphore":
        members = [acquire_release(asyncio.Semaphore(1))]
    elif what == "condition":
        condition, turn = asyncio.Condition(), [0]
        members = [converse(condition, turn, 0, 1), converse(condition, turn, 1, 0)]
    elif what == "hand_over":
        a, b = asyncio.Semaphore(1), asyncio.Semaphore(0)
        members = [take_turns(a, b), take_turns(b, a)]
    elif what == "event":
        a, b = asyncio.Event(), asyncio.Event()
        a.set()
        members = [signal(a, b), signal(b, a)]
    else:
        items = asyncio.Queue(size)
        members = [getter(items), putter(items)]
    begun = cpu_clock()
    for task in [asyncio.create_task(member) for member in members]:
        await task
    return cpu_clock() - begun, count


async def trio_tasks(count, what, size=0):
    import math

    import trio

    async def acquire_release(mine):
        acquire, release = mine.acquire, mine.release
        for _ in range(count):
            await acquire()
            release()

    async def converse(condition, turn, mine, other):
        async with condition:
            for _ in range(count // 2):
                while turn[0] != mine:
                    await condition.wait()
                turn[0] = other
                condition.notify()

    async def take_turns(mine, other):
        acquire, release = mine.acquire, other.release
        for _ in range(count // 2):
            await acquire()
            release()

    async def signal(events, mine, other):
        for _ in range(count // 2):
            await events[mine].wait()
            events[mine] = trio.Event()
            events[other].set()

    async def getter(receiving):
        receive = receiving.receive
        for _ in range(count):
            await receive()

    async def putter(sending):
        send = sending.send
        for _ in range(count):
            await send(None)

    if what == "lock":
        members = [(acquire_release, trio.Lock())]
    elif what == "semaphore":
        members = [(acquire_release, trio.Semaphore(1))]
    elif what == "condition":
        condition, turn = trio.Condition(), [0]
        members = [(converse, condition, turn, 0, 1), (converse, condition, turn, 1, 0)]
    elif what == "hand_over":
        a, b = trio.Semaphore(1), trio.Semaphore(0)
        members = [(take_turns, a, b), (take_turns, b, a)]
    elif what == "event":
        events = [trio.Event(), trio.Event()]
        events[0].set()
        members = [(signal, events, 0, 1), (signal, events, 1, 0)]
    else:
        sending, receiving = trio.open_memory_channel(size or math.inf)
        members = [(getter, receiving), (putter, sending)]
    begun = cpu_clock()
    async with trio.open_nursery() as nursery:
        for member in members:
            nursery.start_soon(*member)
    return cpu_clock() - begun, count


PEERS = {
    "microthread": ours,
    "gevent": gevent_hub,
    "asyncio": on_asyncio(coroutines),
    "uvloop": on_uvloop(coroutines),
    "trio": on_trio(trio_tasks),
    "threading": os_threads,
}
