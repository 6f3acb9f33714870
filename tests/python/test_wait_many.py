# SPDX-License-Identifier: MIT
"""wait_all and as_completed; bad arguments of these and of wait_future."""
import concurrent.futures
import gc
import threading
import time

import pytest

import microthread as mt
from microthread import (as_completed, current, deferred, micro_thread, run_blocking, sleep,
                         spawn, threads, wait_all, wait_future, yield_now)
from support import check_script


@pytest.fixture
def reports(monkeypatch):
    seen = []
    monkeypatch.setattr(mt, "excepthook", lambda args: seen.append(args.exc_value))
    return seen


def after(seconds, value):
    sleep(seconds)
    if isinstance(value, BaseException):
        raise value
    return value


def sleeper():
    return spawn(sleep, 60)


def end(*some):
    for thread in some:
        thread.cancel()
    yield_now()


# ---- wait_all ----

def test_wait_all_gives_values_in_the_order_given():
    assert wait_all([spawn(after, 0.003 - n / 1000, n) for n in range(3)]) == [0, 1, 2]
    assert wait_all([]) == [] and wait_all(iter(())) == []


def test_wait_all_of_those_that_are_done():
    some = [spawn(int, n) for n in range(3)]
    sleep(0.001)
    assert wait_all(some) == [0, 1, 2] and wait_all(iter(some), timeout=0) == [0, 1, 2]


def test_one_given_twice_counts_twice():
    thread = spawn(after, 0.001, 5)
    assert wait_all([thread, thread]) == [5, 5]


def test_first_failure_is_raised_at_once_and_the_others_go_on():
    slow, later = sleeper(), deferred()
    with pytest.raises(KeyError):
        wait_all([slow, fails := spawn(later.wait), spawn(after, 0.001, KeyError())])
    assert slow.state == fails.state == "waiting"
    later.errback(ValueError("later"))
    with pytest.raises(ValueError, match="later"):
        fails.wait()
    end(slow)


def test_failure_among_those_done_is_raised_even_by_a_poll():
    slow, bad = sleeper(), spawn(after, 0, KeyError())
    yield_now(), yield_now()
    with pytest.raises(KeyError):
        wait_all([slow, bad], timeout=0)
    end(slow)


def test_cancelled_one_raises_cancelled_error():
    thread = sleeper()
    spawn(thread.cancel, "x")
    with pytest.raises(concurrent.futures.CancelledError, match="x"):
        wait_all([thread])


def test_one_cancelled_before_it_ran():
    thread = sleeper()
    thread.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        wait_all([thread])


@pytest.mark.parametrize("seconds", [0, 0.002])
def test_wait_all_timed_out_leaves_no_trace(seconds):
    some = [sleeper() for _ in range(3)]
    yield_now()
    for _ in range(50 if seconds == 0 else 3):
        with pytest.raises(TimeoutError):
            wait_all(some, timeout=seconds)
    assert all(thread.state == "waiting" for thread in some)
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing).__name__ == "ends"]
    end(*some)


def test_zero_never_waits():
    thread, ran = sleeper(), []
    spawn(ran.append, 1)
    with pytest.raises(TimeoutError):
        wait_all([thread], 0)
    with pytest.raises(TimeoutError):
        next(as_completed([thread], timeout=0))
    assert not ran
    end(thread)


def test_time_counts_for_all_together():
    def end_after(other):
        other.wait()
        sleep(0.004)

    some = [spawn(sleep, 0.004)]
    while len(some) < 100:
        some.append(spawn(end_after, some[-1]))
    with pytest.raises(TimeoutError):
        wait_all(some, timeout=0.01)
    assert sum(thread.done() for thread in some) < 50
    end(*some)


def test_cancelled_waiter_leaves_the_others_alone():
    some = [sleeper(), sleeper()]
    waiter = spawn(wait_all, some)
    yield_now(), yield_now()
    assert waiter.waiting_for == "end of 2 micro_threads"
    waiter.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        waiter.wait()
    assert [thread.state for thread in some] == ["waiting"] * 2
    end(*some)


def test_failures_nobody_waited_for_are_reported(reports):
    def fail(n):
        if n:
            gate.wait()
        raise ValueError(n)

    gate = deferred()
    some = [spawn(fail, n) for n in range(3)]
    with pytest.raises(ValueError, match="0"):
        wait_all(some)
    gate.callback(None)
    for thread in some:
        thread._join()
    del some, thread
    gc.collect()
    assert sorted(value.args[0] for value in reports) == [1, 2]


def test_many_waiters_for_the_same():
    some = [spawn(after, 0.001, n) for n in range(10)]
    assert wait_all([spawn(wait_all, some) for _ in range(10)]) == [list(range(10))] * 10


def test_micro_threads_of_another_os_thread():
    made, go = [], threading.Event()

    def other():
        gate = deferred()
        made.extend(spawn(lambda n: (gate.wait(), n)[1], n) for n in range(3))
        go.set()
        run_blocking(time.sleep, 0.01)
        gate.callback(None)
        wait_all(made)

    os_thread = threading.Thread(target=other)
    os_thread.start()
    go.wait()
    assert wait_all(made, timeout=60) == [0, 1, 2]
    assert {thread.result() for thread in as_completed(made)} == {0, 1, 2}
    os_thread.join()


def test_ends_of_another_os_thread_come_one_by_one():
    made, go = [], threading.Event()

    def other():
        made.extend(spawn(after, 0.003 * n, n) for n in range(5))
        go.set()
        wait_all(made)

    os_thread = threading.Thread(target=other)
    os_thread.start()
    go.wait()
    assert [thread.result() for thread in as_completed(made, timeout=60)] == list(range(5))
    os_thread.join()


# ---- as_completed ----

def test_as_completed_gives_them_as_they_end():
    def end_after_the_next(n):
        if n < 2:
            some[n + 1].wait()
        return after(0.001, n)

    some = [spawn(end_after_the_next, n) for n in range(3)]
    assert [thread.result() for thread in as_completed(some)] == [2, 1, 0]


def test_as_completed_gives_the_done_ones_first_and_each_once():
    gate = deferred()
    slow, quick = spawn(gate.wait), spawn(after, 0, "quick")
    quick.wait()
    ends = as_completed([slow, quick, slow, quick])
    assert next(ends) is quick
    gate.callback(None)
    assert list(ends) == [slow]
    assert list(as_completed([])) == []


def test_as_completed_gives_failed_and_cancelled_ones_too():
    failed, cancelled = spawn(after, 0, KeyError()), sleeper()
    cancelled.cancel()
    assert set(as_completed([failed, cancelled])) == {failed, cancelled}
    assert isinstance(failed.exception(), KeyError) and cancelled.cancelled()


def test_as_completed_timed_out_after_those_that_are_done():
    done, slow = spawn(int), sleeper()
    done.wait()
    ends = as_completed([slow, done], timeout=0.005)
    assert next(ends) is done
    with pytest.raises(TimeoutError):
        next(ends)
    end(slow)


def test_time_of_as_completed_counts_from_the_call():
    slow = sleeper()
    ends = as_completed([slow], timeout=0.02)
    sleep(0.03)
    other = spawn(sleep, 0.01)
    with pytest.raises(TimeoutError):
        next(ends)
    assert not other.done()
    end(slow, other)


def test_as_completed_broken_off_leaves_no_trace():
    slow = sleeper()
    for thread in as_completed([spawn(int), slow]):
        break
    del thread
    as_completed([slow])
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing).__name__ == "ends"]
    end(slow)


def test_more_can_be_spawned_while_iterating():
    seen = []
    todo = [spawn(int)]
    while todo:
        for thread in as_completed(todo):
            todo.remove(thread)
            seen.append(thread)
            if len(seen) < 10:
                todo.append(spawn(int))
            break
    assert len(seen) == 10


def test_ready_ends_do_not_starve_others():
    some = [spawn(int) for _ in range(2000)]
    sleep(0.01)
    ran = []
    spawn(ran.append, 1)
    for _ in as_completed(some):
        if ran:
            break
    assert ran


def test_deadlock_names_what_is_waited_for():
    check_script("""
        import microthread
        def wait():
            microthread.deferred().wait()
        try:
            microthread.wait_all([microthread.spawn(wait), microthread.spawn(wait)])
        except microthread.DeadlockError as error:
            assert "main waits for end of 2 micro_threads" in str(error), error
            print("ok")
    """)


# ---- bad arguments ----

NAN = float("nan")
BAD_CALLS = [
    (lambda: wait_all(3), TypeError, ["threads", "iterable", "int"]),
    (lambda: wait_all(spawn(int)), TypeError, ["threads", "iterable", "micro_thread"]),
    (lambda: wait_all([3]), TypeError, ["threads", "micro_threads", "int"]),
    (lambda: wait_all([], -1), ValueError, ["timeout", ">= 0", "-1"]),
    (lambda: wait_all([], timeout=NAN), ValueError, ["timeout", ">= 0", "nan"]),
    (lambda: wait_all([], "x"), TypeError, ["timeout", "str"]),
    (lambda: wait_all([current()]), RuntimeError, ["main", "itself"]),
    (lambda: wait_all([micro_thread(int)]), RuntimeError, ["not started"]),
    (lambda: as_completed(3), TypeError, ["threads", "iterable", "int"]),
    (lambda: as_completed([3]), TypeError, ["threads", "micro_threads", "int"]),
    (lambda: as_completed([], -1), ValueError, ["timeout", ">= 0", "-1"]),
    (lambda: as_completed([current()]), RuntimeError, ["main", "itself"]),
    (lambda: as_completed([micro_thread(int)]), RuntimeError, ["not started"]),
    (lambda: wait_future(3), TypeError, ["future", "Future", "int"]),
    (lambda: wait_future(concurrent.futures.Future(), -1), ValueError, ["timeout", ">= 0", "-1"]),
]


@pytest.mark.parametrize("call, error, words", BAD_CALLS)
def test_bad_argument_is_named(call, error, words):
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


def test_bad_member_leaves_the_others_unwatched():
    slow = sleeper()
    with pytest.raises(TypeError):
        wait_all([slow, 3])
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing).__name__ == "ends"]
    end(slow)
    assert threads() == [current()]
