# SPDX-License-Identifier: MIT
"""Lock, RLock, Semaphore, BoundedSemaphore, Event: threading's contract, fairness, cancellation."""
import gc
import math
import threading
import time
import weakref

import pytest

from microthread import (
    BoundedSemaphore,
    Cancelled,
    Event,
    Lock,
    RLock,
    Semaphore,
    sleep,
    spawn,
    yield_now,
)
from support import check_script

LOCKS = [Lock, RLock, Semaphore, BoundedSemaphore]


def parked(fn, *args):
    thread = spawn(fn, *args)
    while thread.state == "ready":
        yield_now()
    return thread


def in_other(fn, *args):
    """fn(*args) in another micro-thread: its result."""
    return spawn(fn, *args).wait()


@pytest.mark.parametrize("kind", LOCKS)
def test_acquire_and_release_exclude(kind):
    lock = kind()
    assert lock.acquire() is True
    assert in_other(lock.acquire, False) is False
    lock.release()
    with lock as entered:
        assert entered is True
        assert in_other(lambda: lock.acquire(blocking=False)) is False
    assert in_other(lambda: lock.acquire(False) and (lock.release() or "free")) == "free"


@pytest.mark.parametrize("kind", LOCKS)
def test_those_who_wait_are_served_in_order_and_nobody_jumps_the_queue(kind):
    lock, log = kind(), []

    def work(name):
        with lock:
            log.append(name)
            yield_now()

    lock.acquire()
    threads = [parked(work, n) for n in range(5)]
    lock.release()
    late = spawn(work, "late")
    if kind is not RLock:
        assert lock.acquire(False) is False  # it is the first waiter's already
    for thread in [*threads, late]:
        thread.wait()
    assert log == [0, 1, 2, 3, 4, "late"]


@pytest.mark.parametrize("kind", LOCKS)
def test_time_out_gives_false_and_leaves_no_trace(kind):
    lock = kind()
    lock.acquire()

    def work():
        begun = time.monotonic()
        assert lock.acquire(timeout=0.01) is False
        assert lock.acquire(True, 0) is False
        assert time.monotonic() - begun >= 0.01

    in_other(work)
    lock.release()
    assert in_other(lock.acquire, True, 5) is True


@pytest.mark.parametrize("kind", LOCKS)
def test_time_out_without_blocking_is_refused(kind):
    lock = kind()
    with pytest.raises(ValueError, match="does not block"):
        lock.acquire(False, 1)
    with pytest.raises(ValueError):
        lock.acquire(True, math.nan)
    with pytest.raises(TypeError):
        lock.acquire(True, "soon")
    with pytest.raises(TypeError):
        lock.acquire(wait=True)


@pytest.mark.parametrize("kind", [Lock, RLock])
def test_time_outs_of_locks_are_those_of_threading(kind):
    lock = kind()
    assert lock.acquire(timeout=-1) is True
    lock.release()
    assert lock.acquire(True, threading.TIMEOUT_MAX / 2) is True
    lock.release()
    for bad in (-2, -0.5):
        with pytest.raises(ValueError):
            lock.acquire(timeout=bad)
    for huge in (threading.TIMEOUT_MAX * 2, 1e100, math.inf):
        with pytest.raises(OverflowError):
            lock.acquire(timeout=huge)
    assert lock.acquire(False, -1) is True


def test_negative_time_outs_of_semaphore_and_event_do_not_wait():
    semaphore, event = Semaphore(1), Event()
    assert semaphore.acquire(timeout=-1) is True
    assert semaphore.acquire(timeout=-1) is False and event.wait(-1) is False


def test_release_of_what_is_not_held():
    with pytest.raises(RuntimeError, match="not locked"):
        Lock().release()
    lock = RLock()
    with pytest.raises(RuntimeError, match="owner"):
        lock.release()
    lock.acquire()
    with pytest.raises(RuntimeError, match="owner"):
        in_other(lock.release)
    lock.release()
    for kind in (Lock, RLock):
        with pytest.raises(TypeError):
            kind(1)


def test_lock_may_be_released_by_another_one():
    lock = Lock()
    lock.acquire()
    in_other(lock.release)
    assert not lock.locked()


def test_rlock_counts_and_is_owned_by_the_micro_thread():
    lock = RLock()
    assert not lock._is_owned() and lock._recursion_count() == 0 and not lock.locked()
    for _ in range(3):
        lock.acquire()
    assert lock._is_owned() and lock._recursion_count() == 3 and lock.locked()
    assert in_other(lock._is_owned) is False and in_other(lock._recursion_count) == 0
    saved = lock._release_save()
    assert in_other(lambda: lock.acquire(False) and (lock.release() or True))
    lock._acquire_restore(saved)
    assert lock._recursion_count() == 3
    for _ in range(2):
        lock.release()
        assert in_other(lock.acquire, False) is False
    lock.release()
    with pytest.raises(RuntimeError):
        lock._release_save()
    with pytest.raises(TypeError):
        lock._acquire_restore(None)


def test_owner_that_ended_is_nobody_else():
    lock = RLock()
    in_other(lock.acquire)
    assert lock.locked() and not lock._is_owned() and "has ended" in repr(lock)
    assert not any(in_other(lock.acquire, False) for _ in range(50))  # ids are not used again


def test_semaphore_counts():
    semaphore = Semaphore(2)
    assert semaphore.acquire() and semaphore.acquire() and not semaphore.acquire(False)
    semaphore.release(3)
    assert semaphore._value == 3
    with pytest.raises(ValueError, match="value must be >= 0, got -1"):
        Semaphore(-1)
    for bad in (0, -1):
        with pytest.raises(ValueError, match="one or more"):
            semaphore.release(bad)
    with pytest.raises(OverflowError):
        semaphore.release(2**63 - 1)
    assert Semaphore(value=0).acquire(blocking=False) is False


def test_release_of_many_wakes_so_many():
    semaphore, log = Semaphore(0), []
    for n in range(5):
        parked(lambda n=n: semaphore.acquire() and log.append(n))
    semaphore.release(3)
    sleep(0)
    assert log == [0, 1, 2] and semaphore._value == 0
    semaphore.release(n=4)
    sleep(0)
    assert log == [0, 1, 2, 3, 4] and semaphore._value == 2


def test_bounded_semaphore_is_not_released_too_often():
    semaphore = BoundedSemaphore(2)
    assert isinstance(semaphore, Semaphore)
    with pytest.raises(ValueError):
        semaphore.release()
    semaphore.acquire()
    with pytest.raises(ValueError):
        semaphore.release(2)
    semaphore.release()
    assert semaphore._value == 2


def test_event():
    event, log = Event(), []
    assert event.is_set() is False and event.wait(0) is False and event.wait(timeout=0.001) is False
    for n in range(3):
        parked(lambda n=n: log.append((n, event.wait())))
    event.set()
    event.clear()
    sleep(0)
    assert log == [(0, True), (1, True), (2, True)] and not event.isSet()
    event.set()
    event.set()
    assert event.wait() is True and event.wait(5) is True
    with pytest.raises(ValueError):
        event.wait(math.nan)
    with pytest.raises(TypeError):
        Event(1)


@pytest.mark.parametrize("kind", [Lock, RLock, Semaphore, Event])
def test_cancelled_waiter_leaves_no_trace(kind):
    thing, log = kind(), []
    wait = thing.wait if kind is Event else thing.acquire
    if kind is not Event:
        thing.acquire()
    first, second = parked(wait), parked(lambda: log.append(wait()))
    first.cancel()
    thing.set() if kind is Event else thing.release()
    first._join()
    second.wait()
    assert first.cancelled() and log == [True]


@pytest.mark.parametrize("kind", LOCKS)
def test_one_that_was_handed_it_has_it_and_is_cancelled_at_its_next_wait(kind):
    lock, log = kind(), []

    def work():
        with lock:
            log.append("has it")
            sleep(1)
            log.append("never")

    lock.acquire()
    thread = parked(work)
    lock.release()
    thread.cancel()
    thread._join()
    assert log == ["has it"] and thread.cancelled()
    assert lock.acquire(False)


def test_thrown_exception_comes_out_of_acquire():
    lock = Lock()
    lock.acquire()
    thread = parked(lock.acquire)
    thread.throw(LookupError)
    with pytest.raises(LookupError):
        thread.wait()
    lock.release()
    assert not lock.locked()


def test_clean_up_may_acquire():
    lock, log = Lock(), []

    def work():
        try:
            sleep(5)
        finally:
            with lock:
                log.append("cleaned up")

    lock.acquire()
    thread = parked(work)
    thread.cancel()
    sleep(0.001)
    lock.release()
    thread._join()
    assert log == ["cleaned up"] and not lock.locked()


def test_one_that_always_finds_the_lock_free_gives_way_and_can_be_cancelled():
    lock, event, done = Lock(), Event(), []
    event.set()

    def busy():
        while True:
            with lock:
                event.wait()

    thread = spawn(busy)
    other = spawn(lambda: [yield_now() for _ in range(5)] and done.append(1))
    other.wait()
    thread.cancel()
    thread._join()
    assert done and thread.cancelled() and not lock.locked()


@pytest.mark.parametrize("kind", [*LOCKS, Event])
def test_subclasses_weak_references_and_collection(kind):
    class Special(kind):
        def __init__(self, name):
            super().__init__()
            self.name, self.cycle = name, self

    assert gc.is_tracked(kind())
    special = Special("x")
    (special.set if kind is Event else special.acquire)()
    assert "Special " in repr(special)
    ref = weakref.ref(special)
    del special
    gc.collect()
    assert ref() is None


@pytest.mark.parametrize("kind", [*LOCKS, Event])
def test_at_fork_reinit_exists(kind):
    thing = kind()
    thing._at_fork_reinit()


def test_wait_that_cannot_get_memory_leaves_no_trace():
    check_script("""
        import microthread as mt
        from microthread import _core
        lock, event, queue = mt.Lock(), mt.Event(), mt.SimpleQueue()
        lock.acquire()
        for wait in (lambda: lock.acquire(timeout=5), lambda: event.wait(5), lambda: queue.get(timeout=5)):
            _core._fail_allocation(1)
            try:
                wait()
            except MemoryError:
                continue
            finally:
                _core._fail_allocation(0)
            raise AssertionError
        lock.release()
        assert not lock.locked() and "not set, 0 waiting" in repr(event) and "0 waiting" in repr(queue)
        print("ok")
    """)


def test_lock_in_a_timeout_block():
    import microthread

    lock = Lock()
    lock.acquire()
    with pytest.raises(TimeoutError):
        with microthread.timeout(0.01):
            lock.acquire()
    lock.release()
    assert not lock.locked()


def test_cancelled_is_raised_by_acquire():
    lock, seen = Lock(), []

    def work():
        try:
            lock.acquire()
        except Cancelled as error:
            seen.append(error)
            raise

    lock.acquire()
    thread = parked(work)
    thread.cancel()
    thread._join()
    assert len(seen) == 1
