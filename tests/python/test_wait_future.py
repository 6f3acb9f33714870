# SPDX-License-Identifier: MIT
"""wait_future: a concurrent.futures.Future waited for from a micro-thread."""
import concurrent.futures
import gc
import threading
import time

import pytest

from microthread import deferred, run, sleep, spawn, wait_all, wait_future, yield_now
from support import check_script


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield pool


def test_future_gives_its_result_while_others_run(pool):
    has_run = threading.Event()
    spawn(lambda: (sleep(0.001), has_run.set()))
    assert wait_future(pool.submit(lambda: 5 if has_run.wait(60) else "nobody ran")) == 5


def test_future_raises_its_exception(pool):
    def fail():
        raise LookupError("there")

    with pytest.raises(LookupError, match="there") as caught:
        wait_future(pool.submit(fail))
    assert caught.traceback[-1].name == "fail"


def test_future_that_is_done():
    future = concurrent.futures.Future()
    future.set_result(3)
    assert wait_future(future) == 3 and wait_future(future, timeout=0) == 3


def test_future_that_was_cancelled():
    future = concurrent.futures.Future()
    spawn(future.cancel)
    with pytest.raises(concurrent.futures.CancelledError):
        wait_future(future)


def test_future_timed_out_goes_on():
    future = concurrent.futures.Future()
    for seconds in (0, 0.001):
        with pytest.raises(TimeoutError):
            wait_future(future, seconds)
    assert future.set_running_or_notify_cancel()
    spawn(future.set_result, 1)
    assert wait_future(future, timeout=60) == 1


def test_polling_a_future_does_not_grow_it():
    future = concurrent.futures.Future()
    for _ in range(100):
        with pytest.raises(TimeoutError):
            wait_future(future, 0)
    assert len(future._done_callbacks) == 1


def test_many_may_wait_for_one_future(pool):
    future = pool.submit(time.sleep, 0.01)
    assert wait_all([spawn(wait_future, future) for _ in range(20)]) == [None] * 20


def test_cancelled_waiter_of_a_future():
    future = concurrent.futures.Future()
    waiter = spawn(wait_future, future)
    yield_now()
    waiter.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        waiter.wait()
    assert not future.done()
    future.set_result(None)


def test_future_fulfilled_by_a_micro_thread():
    future = concurrent.futures.Future()
    spawn(sleep, 0.001).add_done_callback(future.set_result)
    assert wait_future(future).result() is None


def test_future_and_deferred_wait_alike_in_run(pool):
    def both():
        answer = deferred()
        spawn(answer.callback, 1)
        return answer.wait() + wait_future(pool.submit(int, "2"))

    assert run(both) == 3


def test_waiting_for_a_future_is_no_deadlock():
    check_script("""
        import concurrent.futures, time
        from microthread import wait_future
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            assert wait_future(pool.submit(time.sleep, 0.3)) is None
        with concurrent.futures.ProcessPoolExecutor(1) as pool:
            assert wait_future(pool.submit(pow, 2, 5)) == 32
        print("ok")
    """)


def test_done_futures_do_not_starve_others():
    future = concurrent.futures.Future()
    future.set_result(None)
    ran = []
    spawn(ran.append, 1)
    for _ in range(1000):
        wait_future(future)
    assert ran


def test_future_and_its_waiters_are_collected():
    future = concurrent.futures.Future()
    with pytest.raises(TimeoutError):
        wait_future(future, 0)
    from microthread import _several
    assert future in _several._awaited
    del future
    gc.collect()
    assert not len(_several._awaited)
