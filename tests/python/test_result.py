# SPDX-License-Identifier: MIT
"""wait, done, result, exception, add_done_callback, cancelled: what became of a micro-thread."""
import concurrent.futures
import sys
import traceback

import pytest

import microthread as mt
from microthread import current, deferred, micro_thread, sleep, spawn, yield_now
from support import check_script, until_all_wait


def fail(error):
    raise error


def test_wait_returns_the_value():
    thread = spawn(lambda: [1])
    value = thread.wait()
    assert value == [1] and thread.wait() is value and thread.result() is value


def test_wait_raises_the_same_exception():
    error = KeyError("gone")
    thread = spawn(fail, error)
    for _ in range(2):
        with pytest.raises(KeyError) as caught:
            thread.wait()
        assert caught.value is error


def test_wait_raises_with_the_traceback_of_where_it_happened():
    def inner():
        raise ValueError("deep")

    def outer():
        inner()

    thread = spawn(outer)
    with pytest.raises(ValueError) as caught:
        thread.wait()
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-2:] == ["outer", "inner"]
    assert names[0] == "test_wait_raises_with_the_traceback_of_where_it_happened"


def test_any_number_may_wait_and_wake_in_order():
    gate, order = deferred(), []
    target = spawn(gate.wait)

    def work(n):
        order.append((n, target.wait()))

    waiters = [spawn(work, n) for n in range(20)]
    until_all_wait(target, *waiters)
    gate.callback("x")
    for thread in waiters:
        thread.wait()
    assert order == [(n, "x") for n in range(20)]


def test_every_waiter_gets_the_exception():
    gate = deferred()
    target = spawn(gate.wait)
    waiters = [spawn(target.wait) for _ in range(5)]
    until_all_wait(target, *waiters)
    gate.errback(OSError(5, "no"))
    for thread in waiters:
        with pytest.raises(OSError, match="no"):
            thread.wait()


def test_wait_that_times_out_leaves_it_running():
    gate = deferred()
    thread = spawn(gate.wait)
    with pytest.raises(TimeoutError):
        thread.wait(0.002)
    with pytest.raises(TimeoutError):
        thread.wait(timeout=0)
    assert thread.state == "waiting"
    gate.callback(1)
    assert thread.wait(timeout=10) == 1
    assert thread.wait(0) == 1


def test_wait_with_timeout_zero_never_waits():
    ran = []
    thread = spawn(ran.append, 1)
    with pytest.raises(TimeoutError):
        thread.wait(0)
    assert ran == []
    thread.wait()


def test_waiting_for_oneself_is_refused():
    thread = spawn(lambda: current().wait())
    with pytest.raises(RuntimeError, match="itself"):
        thread.wait()
    with pytest.raises(RuntimeError, match="itself"):
        current().wait()


def test_waiting_for_one_never_started_is_refused():
    with pytest.raises(RuntimeError, match="start"):
        micro_thread(int).wait()


def test_unfinished_one_has_no_result_yet():
    thread = spawn(int)
    assert thread.done() is False and thread.cancelled() is False
    for method in (thread.result, thread.exception):
        with pytest.raises(concurrent.futures.InvalidStateError):
            method()
    thread.wait()
    assert thread.done() is True and thread.result() == 0 and thread.exception() is None


def test_failed_one_gives_its_exception():
    error = ValueError("x")
    thread = spawn(fail, error)
    yield_now()
    assert thread.done() and not thread.cancelled()
    assert thread.exception() is error
    with pytest.raises(ValueError) as caught:
        thread.result()
    assert caught.value is error


def test_exception_class_raised_without_instance_is_given_as_instance():
    thread = spawn(lambda: [][1])
    yield_now()
    assert type(thread.exception()) is IndexError


def test_micro_thread_exit_ends_it_in_silence(capsys):
    thread = spawn(fail, mt.MicroThreadExit("bye"))
    assert thread.wait() is None
    assert thread.exception() is None and not thread.cancelled()
    del thread
    yield_now()
    assert capsys.readouterr().err == ""


def test_done_callback_runs_with_the_thread_when_it_ends():
    seen = []
    thread = spawn(lambda: 5)
    thread.add_done_callback(lambda t: seen.append((t, t.done(), t.result())))
    assert seen == []
    thread.wait()
    assert seen == [(thread, True, 5)]


def test_done_callback_added_late_runs_at_once():
    thread = spawn(int)
    thread.wait()
    seen = []
    thread.add_done_callback(seen.append)
    assert seen == [thread]


def test_done_callbacks_run_in_the_order_of_adding():
    order = []
    thread = spawn(int)
    for n in range(5):
        thread.add_done_callback(lambda _, n=n: order.append(n))
    thread.wait()
    assert order == [0, 1, 2, 3, 4]


def test_done_callback_runs_for_failed_and_cancelled_ones():
    seen = []
    failed, cancelled, unstarted = spawn(fail, ValueError()), spawn(sleep, 10), spawn(sleep, 10)
    for thread in (failed, cancelled, unstarted):
        thread.add_done_callback(seen.append)
    unstarted.cancel()
    sleep(0.001)
    cancelled.cancel()
    cancelled._join()
    assert seen == [failed, unstarted, cancelled]
    assert isinstance(failed.exception(), ValueError)


def test_failing_done_callback_is_reported_and_the_others_run(monkeypatch):
    reported, seen = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: reported.append(args.exc_value))
    thread = spawn(lambda: 1)
    thread.add_done_callback(lambda _: fail(ZeroDivisionError("callback")))
    thread.add_done_callback(seen.append)
    assert thread.wait() == 1
    assert seen == [thread] and [str(error) for error in reported] == ["callback"]


def test_done_callback_may_wait():
    seen = []

    def callback(thread):
        sleep(0.001)
        seen.append(thread.result())

    thread = spawn(lambda: 1)
    thread.add_done_callback(callback)
    assert thread.wait() == 1
    while not seen:
        yield_now()
    assert seen == [1]


def test_one_in_its_done_callbacks_is_not_listed_any_more():
    seen = []
    gate = mt.deferred()
    thread = spawn(int)
    thread.add_done_callback(lambda one: (gate.wait(), seen.append(one)))
    yield_now()
    assert thread.done() and thread not in mt.threads()
    gate.callback(None)
    yield_now()
    assert seen == [thread]


def test_who_waits_goes_on_while_a_done_callback_waits():
    gate, log = mt.deferred(), []
    thread = spawn(sleep, 0)
    thread.add_done_callback(lambda _: (gate.wait(), log.append("callback")))
    waiter = spawn(lambda: log.append(thread.wait()))
    assert waiter.wait(timeout=60) is None and log == [None]
    gate.callback(None)
    yield_now()
    assert log == [None, "callback"]


def test_done_callback_that_fetches_and_waits_is_waited_for_at_the_end():
    check_script("""
        import microthread
        def fail(): raise ValueError
        def callback(thread):
            thread.exception()
            try:
                microthread.sleep(10)
            finally:
                print("ok")
        microthread.spawn(fail).add_done_callback(callback)
        microthread.sleep(0.001)
    """)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_exit_and_ctrl_c_of_a_done_callback_reach_the_main_one(error):
    seen = []
    thread = spawn(int)
    thread.add_done_callback(lambda _: fail(error()))
    thread.add_done_callback(seen.append)
    with pytest.raises(error):
        sleep(60)
    assert seen == [thread]


def test_late_done_callback_that_is_cut_short_cuts_its_caller_short():
    done = spawn(int)
    done.wait()

    def work():
        done.add_done_callback(lambda _: sleep(60))

    thread = spawn(work)
    yield_now()
    thread.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        thread.wait()
    with pytest.raises(KeyboardInterrupt):
        done.add_done_callback(lambda _: fail(KeyboardInterrupt()))


def test_exception_of_done_callback_does_not_reach_the_result(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda args: None)
    thread = spawn(fail, ValueError("mine"))
    thread.add_done_callback(lambda _: fail(KeyError("other")))
    with pytest.raises(ValueError, match="mine"):
        thread.wait()


def test_base_exceptions_of_ones_own_reach_the_waiter():
    class Odd(BaseException):
        pass

    with pytest.raises(Odd):
        spawn(fail, Odd()).wait()


def test_generator_exit_reaches_the_waiter():
    with pytest.raises(GeneratorExit):
        spawn(fail, GeneratorExit()).wait()


def test_stop_iteration_reaches_the_waiter():
    with pytest.raises(StopIteration):
        spawn(next, iter(())).wait()


def test_arguments_are_dropped_at_the_end():
    import weakref

    class Thing:
        pass

    thing = Thing()
    ref = weakref.ref(thing)
    thread = spawn(lambda *args, **kwargs: None, thing, key=thing)
    del thing
    assert ref() is not None
    thread.wait()
    yield_now()
    assert ref() is None
