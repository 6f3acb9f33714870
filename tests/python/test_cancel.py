# SPDX-License-Identifier: MIT
"""cancel and throw: where the exception comes, what runs before it, what the waiter sees."""
import concurrent.futures
import contextlib

import pytest

import microthread as mt
from microthread import Cancelled, current, deferred, micro_pipe, micro_thread, sleep, spawn, yield_now
from support import check_script, until_all_wait


def parked(fn, *args):
    thread = spawn(fn, *args)
    while thread.state == "ready":
        yield_now()
    return thread


def test_cancel_raises_where_it_is_suspended():
    log = []

    def work():
        try:
            sleep(60)
        except Cancelled as error:
            log.append(type(error))
            raise

    thread = parked(work)
    assert thread.cancel() is True
    assert log == []  # only made ready
    with pytest.raises(concurrent.futures.CancelledError):
        thread.wait()
    assert log == [Cancelled] and thread.cancelled() and thread.done()


@pytest.mark.parametrize("method", ["wait", "result", "exception"])
def test_cancelled_one_raises_cancelled_error(method):
    thread = parked(sleep, 60)
    thread.cancel("because")
    thread._join()
    with pytest.raises(concurrent.futures.CancelledError, match="because"):
        getattr(thread, method)()


def test_cancel_message_reaches_the_exception():
    seen = []

    def work():
        try:
            sleep(60)
        except Cancelled as error:
            seen.append(error.args)
            raise

    thread = parked(work)
    thread.cancel(msg="why")
    thread._join()
    assert seen == [("why",)]


def test_cancel_of_a_finished_one_is_false():
    thread = spawn(lambda: 1)
    thread.wait()
    assert thread.cancel() is False and thread.throw(ValueError()) is False
    assert thread.wait() == 1 and not thread.cancelled()


def test_cancelled_before_its_first_run_never_calls_fn():
    ran = []
    for thread in (spawn(ran.append, 1), micro_thread(ran.append, (1,))):
        assert thread.cancel() is True
        if thread.state == "new":
            thread.start()
        with pytest.raises(concurrent.futures.CancelledError):
            thread.wait()
        assert thread.cancelled()
    assert ran == []


def test_thrown_into_before_its_first_run_never_calls_fn():
    ran = []
    thread = spawn(ran.append, 1)
    assert thread.throw(KeyError("k")) is True
    with pytest.raises(KeyError):
        thread.wait()
    assert ran == [] and not thread.cancelled()


def test_cancel_of_a_running_one_comes_at_its_next_wait():
    log = []

    def work():
        current().cancel()
        log.append("goes on")
        sleep(0.001)
        log.append("never")

    thread = spawn(work)
    with pytest.raises(concurrent.futures.CancelledError):
        thread.wait()
    assert log == ["goes on"]


@pytest.mark.parametrize("wait", [
    lambda: sleep(1),
    lambda: sleep(0),
    lambda: yield_now(),
    lambda: micro_pipe().take(),
    lambda: micro_pipe(0).put(1),
    lambda: deferred().wait(),
    lambda: spawn(sleep, 0.001).wait(),
    lambda: next(micro_pipe()),
], ids=["sleep", "sleep0", "yield", "take", "put", "deferred", "thread", "iteration"])
def test_every_wait_raises_what_is_pending(wait):
    log = []

    def work():
        current().throw(LookupError("first"))
        try:
            wait()
        except LookupError:
            log.append("thrown")
        current().cancel()
        wait()

    thread = spawn(work)
    with pytest.raises(concurrent.futures.CancelledError):
        thread.wait()
    assert log == ["thrown"]
    sleep(0.002)


def test_cancel_of_one_that_yielded_comes_in_its_yield():
    log = []

    def work():
        try:
            yield_now()
        except Cancelled:
            log.append("in yield")
            raise

    thread = spawn(work)
    yield_now()
    assert thread.state == "ready"
    thread.cancel()
    thread._join()
    assert log == ["in yield"] and thread.cancelled()


def test_finally_blocks_may_wait():
    log = []

    def work():
        try:
            try:
                sleep(60)
            finally:
                sleep(0.001)
                log.append("inner")
                micro_pipe(1).put(1)
                yield_now()
        finally:
            spawn(log.append, "outer").wait()

    thread = parked(work)
    thread.cancel()
    thread._join()
    assert log == ["inner", "outer"] and thread.cancelled()


def test_except_block_and_with_clean_up_may_wait():
    log = []

    class Manager:
        def __enter__(self):
            return self

        def __exit__(self, *args):
            sleep(0.001)
            log.append(args[0])

    @contextlib.contextmanager
    def generator():
        try:
            yield
        finally:
            sleep(0.001)
            log.append("generator")

    def work():
        with Manager(), generator():
            try:
                sleep(60)
            except Cancelled:
                sleep(0.001)
                log.append("except")
                raise

    thread = parked(work)
    thread.cancel()
    thread._join()
    assert log == ["except", "generator", Cancelled] and thread.cancelled()


def test_swallowed_cancellation_comes_again_at_each_wait():
    times = []

    def work():
        for n in range(4):
            try:
                sleep(60)
            except Cancelled:
                times.append(n)
        return "ended"

    thread = parked(work)
    thread.cancel()
    assert thread.wait() == "ended"
    assert times == [0, 1, 2, 3] and not thread.cancelled()


def test_cancel_again_leaves_clean_up_alone():
    gate, log = deferred(), []

    def work():
        try:
            sleep(60)
        finally:
            gate.wait()
            log.append("clean")

    thread = parked(work)
    thread.cancel()
    until_all_wait(thread)
    assert thread.cancel() is True
    sleep(0.001)
    gate.callback(None)
    thread._join()
    assert log == ["clean"]


def test_clean_up_that_raises_is_what_the_waiter_gets():
    def work():
        try:
            sleep(60)
        finally:
            raise ValueError("clean-up")

    thread = parked(work)
    thread.cancel()
    with pytest.raises(ValueError, match="clean-up") as caught:
        thread.wait()
    assert isinstance(caught.value.__context__, Cancelled) and not thread.cancelled()


def test_what_was_handed_over_is_returned_before_the_cancellation():
    pipe, log = micro_pipe(), []

    def work():
        log.append(pipe.take())
        log.append(pipe.take())

    thread = parked(work)
    pipe.put_nowait("given")
    thread.cancel()
    thread._join()
    assert log == ["given"] and thread.cancelled()


def test_cancelled_taker_leaves_the_items():
    pipe = micro_pipe()
    thread = parked(pipe.take)
    thread.cancel()
    pipe.put("kept")
    thread._join()
    assert thread.cancelled() and len(pipe) == 1 and pipe.take() == "kept"


def test_cancelled_putter_puts_nothing():
    pipe = micro_pipe(1)
    pipe.put(1)
    thread = parked(pipe.put, 2)
    thread.cancel()
    thread._join()
    assert pipe.take() == 1 and len(pipe) == 0


def test_cancelled_waiter_leaves_its_target_alone():
    gate = deferred()
    target = spawn(gate.wait)
    waiter = parked(target.wait)
    waiter.cancel()
    waiter._join()
    assert waiter.cancelled() and target.state == "waiting"
    gate.callback("on time")
    assert target.wait() == "on time"


def test_waiter_of_a_cancelled_one_is_not_cancelled_itself():
    target = parked(sleep, 60)
    waiter = parked(target.wait)
    target.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        waiter.wait()
    assert not waiter.cancelled()


def test_cancel_in_the_middle_of_a_chain_of_waiters():
    def work(n):
        return spawn(work, n - 1).wait() if n else sleep(60)

    first = parked(work, 5)
    sleep(0.001)
    last = mt.threads()[-1]
    last.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        first.wait()


def test_cancelled_is_a_micro_thread_exit_and_no_exception():
    assert issubclass(Cancelled, mt.MicroThreadExit)
    assert issubclass(mt.MicroThreadExit, BaseException)
    assert not issubclass(mt.MicroThreadExit, Exception)


def test_main_micro_thread_can_be_cancelled():
    check_script("""
        import microthread
        main = microthread.current()
        def work():
            assert main.cancel("from below")
        microthread.spawn(work)
        try:
            microthread.sleep(60)
        except microthread.Cancelled as error:
            assert error.args == ("from below",)
            print("ok")
    """)


def test_busy_producer_can_be_cancelled():
    check_script("""
        import microthread
        pipe = microthread.micro_pipe()
        def work():
            while True:
                pipe.put(1)
        def echo():
            for item in other:
                other.put(item)
        other = microthread.micro_pipe()
        other.put(1)
        threads = [microthread.spawn(work), microthread.spawn(echo)]
        microthread.sleep(0.001)
        for thread in threads:
            thread.cancel()
            thread._join()
            assert thread.cancelled()
        assert len(other) <= 1  # none if it was cancelled between its take and its put
        print("ok")
    """)
