# SPDX-License-Identifier: MIT
"""Random cancellations and time-outs, several OS threads: no permit, notice or item is lost."""
import gc
import queue
import random
import sys
import threading
import time

import pytest

import microthread
from microthread import (
    Barrier,
    BoundedSemaphore,
    Cancelled,
    Condition,
    Event,
    LifoQueue,
    Lock,
    PriorityQueue,
    Queue,
    RLock,
    Semaphore,
    SimpleQueue,
    sleep,
    spawn,
    yield_now,
)

CANCELS = 20_000  # for each kind


def cancel_at_random(make, count=CANCELS, crowd=20):
    """Keep a crowd of make()'s alive while `count` of them are cancelled; returns the last crowd."""
    chance = random.Random(1)
    crowd = [spawn(make()) for _ in range(crowd)]
    while count:
        for _ in range(chance.randrange(3)):
            yield_now()
        place = chance.randrange(len(crowd))
        if crowd[place].cancel():
            count -= 1
        crowd[place] = spawn(make())
    return crowd


def end(crowd):
    for thread in crowd:
        thread.cancel()
    for thread in crowd:
        thread._join()


@pytest.mark.parametrize("kind", [Lock, RLock, Semaphore, BoundedSemaphore])
def test_no_permit_is_lost(kind):
    permits = 1 if kind in (Lock, RLock) else 3
    lock = kind() if permits == 1 else kind(permits)
    inside, most, served = 0, 0, 0
    chance = random.Random(2)

    def make():
        def work():
            nonlocal inside, most, served
            while True:
                if not lock.acquire(timeout=chance.choice((1e-6, 1, 1))):
                    continue
                try:
                    inside += 1
                    most = max(most, inside)
                    if chance.random() < 0.7:
                        yield_now()
                    served += 1
                finally:
                    inside -= 1
                    lock.release()
        return work

    end(cancel_at_random(make))
    assert most == permits and inside == 0 and served > 100
    assert all(lock.acquire(False) for _ in range(permits))
    if kind is not RLock:
        assert not lock.acquire(False)


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue, SimpleQueue])
def test_no_item_is_lost_or_doubled(kind):
    items = kind() if kind is SimpleQueue else kind(3)
    put, got = [], []
    number = iter(range(10**9))
    chance = random.Random(3)

    def make():
        def putter():
            while True:
                item = next(number)
                try:
                    items.put(item, True, chance.choice((1e-6, 1, None)))
                except queue.Full:
                    continue
                put.append(item)
                if kind is SimpleQueue:
                    yield_now()

        def getter():
            while True:
                try:
                    got.append(items.get(True, chance.choice((1e-6, 1, None))))
                except queue.Empty:
                    continue

        return chance.choice((putter, getter))

    end(cancel_at_random(make))
    while not items.empty():
        got.append(items.get_nowait())
    assert len(got) > 100 and sorted(got) == sorted(put)


def test_no_notice_is_lost():
    condition, state = Condition(), {"made": 0, "used": 0}

    def make():
        def work():
            while True:
                with condition:
                    while state["made"] == state["used"]:
                        condition.wait()
                    state["used"] += 1
        return work

    def producer():
        while True:
            with condition:
                state["made"] += 1
                condition.notify()
            sleep(0)

    thread = spawn(producer)
    crowd = cancel_at_random(make)
    thread.cancel()
    thread._join()
    for _ in range(1_000):  # those who were told serve the rest
        yield_now()
    assert state["made"] == state["used"] > 100
    end(crowd)
    assert not condition._lock.locked() and len(condition._waiters) == 0


# ---- several OS threads ----


def in_os_threads(count, work):
    """work(n) in a micro-thread of each of `count` OS threads; the first failure is raised."""
    errors = []

    def main(n):
        try:
            spawn(work, n).wait()
        except BaseException as error:
            errors.append(error)

    crowd = [threading.Thread(target=main, args=(n,)) for n in range(count)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in crowd:
            thread.start()
        for thread in crowd:
            microthread.run_blocking(thread.join, 60)
            assert not thread.is_alive()
    finally:
        sys.setswitchinterval(interval)
    if errors:
        raise errors[0]


@pytest.mark.parametrize("kind", [Lock, RLock, Semaphore])
def test_locks_exclude_across_os_threads(kind):
    lock, total = kind(), 0

    def work(n):
        def member():
            nonlocal total
            for turn in range(100):
                with lock:
                    seen = total
                    if turn % 10 == 0:
                        yield_now()
                    total = seen + 1

        for thread in [spawn(member) for _ in range(3)]:
            thread.wait()

    in_os_threads(3, work)
    assert total == 900 and lock.acquire(False)


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue, SimpleQueue])
def test_queues_across_os_threads(kind):
    items = kind() if kind is SimpleQueue else kind(2)
    got = []

    def work(n):
        if n < 2:
            for number in range(500):
                items.put(number * 2 + n)
        else:
            members = [spawn(lambda: [got.append(items.get()) for _ in range(250)]) for _ in range(2)]
            for thread in members:
                thread.wait()

    in_os_threads(4, work)
    assert sorted(got) == list(range(1000)) and items.empty()


def test_events_conditions_and_barriers_across_os_threads():
    event, condition, barrier, log = Event(), Condition(), Barrier(3), []

    def work(n):
        event.wait()
        for _ in range(50):
            barrier.wait(60)
        with condition:
            log.append(n)
            condition.notify_all()
            assert condition.wait_for(lambda: len(log) == 3, 60)

    spawn(lambda: (sleep(0.02), event.set()))
    in_os_threads(3, work)
    assert sorted(log) == [0, 1, 2]


def test_waking_another_os_thread_is_prompt():
    there, back = SimpleQueue(), SimpleQueue()

    def echo():
        for _ in range(200):
            back.put(there.get())

    thread = threading.Thread(target=echo)
    thread.start()
    times = []
    for n in range(200):
        begun = time.monotonic()
        there.put(n)
        assert back.get() == n
        times.append(time.monotonic() - begun)
    assert sorted(times)[50] < 0.02  # the machine may be busy now and then
    thread.join()


# ---- memory ----


@pytest.mark.parametrize("kind", [Lock, RLock, Semaphore, BoundedSemaphore, Event, SimpleQueue, Condition])
def test_no_leak_over_many(kind):
    import tracemalloc

    def churn(count):
        for _ in range(count):
            thing = kind()
            if kind is SimpleQueue:
                thing.put(1)
                thing.get()
            elif kind is Condition:
                with thing:
                    thing.wait(0)
            elif kind is not Event:
                with thing:
                    pass

    churn(1_000)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    churn(50_000 if kind is not Condition else 5_000)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 20_000


def test_waiters_at_exit_are_told():
    from support import check_script

    check_script("""
        import microthread as mt
        lock, event, items, full = mt.Lock(), mt.Event(), mt.Queue(), mt.Queue(1)
        full.put(1)
        condition, barrier = mt.Condition(), mt.Barrier(2)
        lock.acquire()
        left = []
        def work(fn):
            try:
                fn()
            finally:
                left.append(1)
                if len(left) == 6:
                    print("ok")
        def wait():
            with condition:
                condition.wait()
        for fn in (lock.acquire, event.wait, items.get, lambda: full.put(1), wait, barrier.wait):
            mt.spawn(work, fn)
        mt.sleep(0)
    """)


def test_cancelled_is_what_a_cancelled_waiter_sees():
    lock = Lock()
    lock.acquire()

    def work():
        with pytest.raises(Cancelled):
            lock.acquire()

    thread = spawn(work)
    yield_now()
    thread.cancel()
    thread.wait()
