# SPDX-License-Identifier: MIT
"""Condition and Barrier: threading's contract, no notice lost, the lock held however a wait ends."""
import threading
import time

import pytest

from microthread import (
    Barrier,
    BrokenBarrierError,
    Cancelled,
    Condition,
    Lock,
    RLock,
    sleep,
    spawn,
    yield_now,
)


def parked(fn, *args):
    thread = spawn(fn, *args)
    while thread.state == "ready":
        yield_now()
    return thread


def until(condition):
    while not condition():
        yield_now()


@pytest.fixture(params=[None, Lock, RLock, threading.Lock, threading.RLock],
                ids=["default", "Lock", "RLock", "threading.Lock", "threading.RLock"])
def condition(request):
    return Condition(request.param and request.param())


def test_wait_and_notify_need_the_lock(condition):
    for call in (condition.wait, condition.notify, condition.notify_all):
        with pytest.raises(RuntimeError, match="not acquired"):
            call()


def test_notify_wakes_in_order_as_many_as_asked(condition):
    log = []

    def work(n):
        with condition:
            assert condition.wait() is True
            log.append(n)

    for n in range(6):
        parked(work, n)
    for count, total in ((1, 1), (2, 3), (0, 3)):
        with condition:
            condition.notify(count)
        until(lambda: len(log) >= total)
        sleep(0.001)  # for one more than was asked for
        assert log == list(range(total))
    with condition:
        condition.notify_all()
    until(lambda: len(log) >= 6)
    assert log == list(range(6))


def test_time_out_gives_false_with_the_lock_held(condition):
    with condition:
        begun = time.monotonic()
        assert condition.wait(0.01) is False and condition.wait(timeout=-1) is False
        assert time.monotonic() - begun >= 0.01
        assert condition._is_owned()
    assert not condition._is_owned()
    assert condition._waiters.tell(1) == 0


def test_wait_for(condition):
    state = []

    def work():
        with condition:
            return condition.wait_for(lambda: len(state) >= 2 and "enough")

    thread = parked(work)
    for n in range(2):
        with condition:
            state.append(n)
            condition.notify()
        sleep(0.001)
    assert thread.wait() == "enough"
    with condition:
        assert condition.wait_for(lambda: False, 0.005) is False
        assert condition.wait_for(lambda: 7, timeout=0) == 7


def test_recursive_lock_is_given_up_wholly():
    condition, log = Condition(), []

    def work():
        with condition, condition:
            condition.wait()
            log.append(condition._lock._recursion_count())

    thread = parked(work)
    with condition:
        condition.notify()
    thread.wait()
    assert log == [2] and not condition._lock.locked()


@pytest.mark.parametrize("kind", [Lock, RLock])
def test_cancelled_one_holds_the_lock_in_its_clean_up(kind):
    condition, log = Condition(kind()), []

    def work():
        with condition:
            try:
                condition.wait()
            except Cancelled:
                log.append(condition._lock.locked() and condition._is_owned())
                raise

    thread = parked(work)
    with condition:
        thread.cancel()
        sleep(0.001)
        assert log == []  # it waits for the lock, though it is cancelled
        thread.cancel()
        sleep(0.001)
    thread._join()
    assert log == [True] and thread.cancelled() and not condition._lock.locked()


def test_thrown_exceptions_while_it_takes_the_lock_back():
    condition, log = Condition(Lock()), []

    def work():
        with condition:
            try:
                condition.wait()
            except BaseException:
                log.append(condition._lock._is_held())
                raise

    thread = parked(work)
    with condition:
        for error in (KeyError, LookupError, ValueError):
            thread.throw(error)
            sleep(0.001)
    with pytest.raises(ValueError):
        thread.wait()
    assert log == [True] and not condition._lock.locked()


def test_notice_of_one_that_is_cancelled_goes_to_the_next():
    condition, log = Condition(), []

    def work(n):
        with condition:
            condition.wait()
            log.append(n)

    first, second = parked(work, 1), parked(work, 2)
    with condition:
        condition.notify()
        yield_now()  # the first one was told and waits for the lock now
        first.cancel()
        yield_now()
    second.wait()
    first._join()
    assert log == [2] and first.cancelled()


def test_notice_to_one_that_was_cancelled_before_reaches_another():
    condition, log = Condition(), []

    def work(n):
        with condition:
            condition.wait()
            log.append(n)

    first, second = parked(work, 1), parked(work, 2)
    with condition:
        first.cancel()
        condition.notify()
    second.wait()
    first._join()
    assert log == [2]


def test_waiting_for_and_repr():
    condition = Condition()

    def work():
        with condition:
            condition.wait()

    thread = parked(work)
    assert thread.waiting_for == f"notice of <Condition at {id(condition):#x}>"
    assert repr(condition) == f"<Condition at {id(condition):#x}: {condition._lock!r}, 1 waiting>"
    thread.cancel()
    thread._join()
    condition._at_fork_reinit()


def test_barrier_lets_all_go_at_once():
    barrier, log = Barrier(3, action=lambda: log.append("action")), []

    def work(n):
        for turn in range(4):
            index = barrier.wait()
            log.append((turn, index))

    assert isinstance(barrier, threading.Barrier) and barrier.parties == 3
    threads = [spawn(work, n) for n in range(3)]
    for thread in threads:
        thread.wait()
    for turn in range(4):
        part = log[turn * 4:turn * 4 + 4]
        assert part[0] == "action" and sorted(part[1:]) == [(turn, n) for n in range(3)]
    assert barrier.n_waiting == 0 and not barrier.broken


def test_barrier_breaks_by_time_out_abort_and_reset():
    assert BrokenBarrierError is threading.BrokenBarrierError
    barrier = Barrier(2, timeout=0.005)
    with pytest.raises(BrokenBarrierError):
        barrier.wait()
    assert barrier.broken
    with pytest.raises(BrokenBarrierError):
        barrier.wait(60)
    barrier.reset()
    thread = parked(barrier.wait, 60)
    assert barrier.n_waiting == 1
    assert thread.waiting_for == f"the others at <Barrier at {id(barrier):#x}>"
    barrier.reset()
    with pytest.raises(BrokenBarrierError):
        thread.wait()
    thread = parked(barrier.wait, 60)
    barrier.abort()
    with pytest.raises(BrokenBarrierError):
        thread.wait()
    with pytest.raises(ValueError):
        Barrier(0)


def test_cancelled_one_does_not_count_at_a_barrier():
    barrier = Barrier(2)
    thread = parked(barrier.wait)
    thread.cancel()
    thread._join()
    assert thread.cancelled() and barrier.n_waiting == 0 and not barrier.broken
    threads = [spawn(barrier.wait) for _ in range(2)]
    assert sorted(thread.wait() for thread in threads) == [0, 1]
