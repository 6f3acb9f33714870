# SPDX-License-Identifier: MIT
"""Exceptions that nobody fetched: reported once, when the object is dropped or at exit."""
import pytest

import microthread as mt
from microthread import deferred, micro_thread, spawn, yield_now
from support import check_script, run_script


def fail(text="nobody"):
    raise ValueError(text)


@pytest.fixture
def seen(monkeypatch):
    calls = []
    monkeypatch.setattr(mt, "excepthook",
                        lambda args: calls.append((args.exc_type, str(args.exc_value),
                                                   args.exc_traceback, args.micro_thread.name)))
    return calls


def test_reported_when_done_and_dropped(seen):
    thread = spawn(fail)
    thread.name = "mine"
    yield_now()
    assert seen == []
    del thread
    yield_now()
    (call,) = seen
    assert call[0] is ValueError and call[1] == "nobody" and call[3] == "mine"
    assert call[2].tb_frame.f_code is fail.__code__


def test_reported_when_dropped_before_it_ran(seen):
    spawn(fail)
    yield_now()
    yield_now()
    assert len(seen) == 1


def test_hook_gets_the_micro_thread_itself(monkeypatch):
    calls = []
    monkeypatch.setattr(mt, "excepthook", calls.append)
    spawn(fail)
    yield_now()
    yield_now()
    (args,) = calls
    assert type(args).__name__ == "ExceptHookArgs" and isinstance(args.micro_thread, micro_thread)
    assert args.micro_thread.done() and args.micro_thread.exception() is args.exc_value
    exc_type, exc_value, exc_traceback, thread = args
    assert thread is args.micro_thread
    del args, thread
    calls.clear()
    yield_now()
    assert calls == []  # once


@pytest.mark.parametrize("fetch", ["wait", "result", "exception"])
def test_fetched_one_is_not_reported(seen, fetch):
    thread = spawn(fail)
    yield_now()
    try:
        getattr(thread, fetch)()
    except ValueError:
        pass
    del thread
    yield_now()
    assert seen == []


def test_cancelled_and_exiting_ones_are_not_reported(seen):
    thread = spawn(fail)
    thread.cancel()
    other = spawn(fail)
    other.throw(mt.MicroThreadExit)
    yield_now()
    del thread, other
    yield_now()
    assert seen == []


def test_hook_that_raises_is_reported_as_unraisable(monkeypatch):
    import sys

    odd = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: odd.append(args.exc_type))
    monkeypatch.setattr(mt, "excepthook", lambda args: 1 / 0)
    spawn(fail)
    yield_now()
    yield_now()
    assert odd == [ZeroDivisionError]


def test_hook_may_wait(monkeypatch):
    log = []

    def hook(args):
        mt.sleep(0.001)
        log.append(str(args.exc_value))

    monkeypatch.setattr(mt, "excepthook", hook)
    spawn(fail)
    while not log:
        yield_now()
    assert log == ["nobody"]


def test_default_hook_prints_the_traceback():
    done = run_script("""
        import microthread
        def fail():
            raise ValueError("text")
        microthread.spawn(fail).name = "mine"
        microthread.sleep(0.001)
        print("ok")
    """)
    assert done.returncode == 0 and done.stdout == "ok\n"
    assert done.stderr.startswith("Exception in micro-thread mine:\nTraceback (most recent call")
    assert done.stderr.rstrip().endswith("ValueError: text") and "in fail" in done.stderr


def test_reported_at_exit_when_still_held():
    done = run_script("""
        import microthread
        def fail():
            raise ValueError("text")
        held = microthread.spawn(fail)
        late = microthread.spawn(lambda: microthread.sleep(10) or 1)
        microthread.sleep(0.001)
        print("ok")
    """)
    assert done.returncode == 0 and done.stdout == "ok\n"
    assert done.stderr.count("ValueError: text") == 1


def test_failure_of_a_finally_block_at_exit_is_reported():
    done = run_script("""
        import microthread
        def work():
            try:
                microthread.sleep(10)
            finally:
                raise ValueError("in finally")
        held = microthread.spawn(work)
        microthread.sleep(0.001)
    """)
    assert done.returncode == 0 and done.stderr.count("ValueError: in finally") == 1


def test_default_hook_without_stderr_is_silent():
    check_script("""
        import sys, microthread
        sys.stderr = None
        microthread.spawn(lambda: 1 / 0)
        microthread.sleep(0.001)
        print("ok")
    """)


def test_reported_when_collected_in_a_cycle(seen):
    import gc

    def make():
        thread = spawn(fail)
        thread.add_done_callback(lambda _, thread=thread: None)
        holder = [thread]
        holder.append(holder)

    make()
    yield_now()
    yield_now()
    gc.collect()
    assert len(seen) == 1


def test_waiter_that_passes_it_on_takes_over_the_report(seen):
    first = spawn(fail)
    second = spawn(first.wait)
    second.name = "second"
    del first, second
    for _ in range(4):
        yield_now()
    assert [call[3] for call in seen] == ["second"]


def test_unfetched_deferred_at_exit_is_reported():
    done = run_script("""
        import microthread
        def work():
            d = microthread.deferred()
            d.errback(ValueError("text"))
        microthread.spawn(work).wait()
    """)
    assert done.returncode == 0
    assert done.stderr.startswith("Exception in a deferred") and "ValueError: text" in done.stderr


def test_failure_dropped_at_the_very_end_is_still_shown():
    done = run_script("""
        import microthread
        d = microthread.deferred()
        d.errback(ValueError("text"))
        cycle = [d]
        cycle.append(cycle)
    """)
    assert done.returncode == 0 and "ValueError: text" in done.stderr
    assert "ImportError" not in done.stderr


def test_deferred_that_failed_and_was_waited_for_is_silent(seen):
    d = deferred()
    waiter = spawn(d.wait)
    d.errback(ValueError())
    with pytest.raises(ValueError):
        waiter.wait()
    del d
    assert seen == []


def test_subclass_with_a_finalizer_of_its_own_is_reported_all_the_same(monkeypatch):
    seen = []
    monkeypatch.setattr(mt, "excepthook", seen.append)

    class Own(micro_thread):
        def __del__(self):
            seen.append("del")

    Own(fail, name="own").start()
    yield_now()
    yield_now()
    finalized, args = seen
    assert finalized == "del" and args.exc_type is ValueError
    assert args.micro_thread.name == "own" and args.micro_thread.done()
    assert args.micro_thread.exception() is args.exc_value


def test_hook_of_none_is_the_usual_one(capsys, monkeypatch):
    monkeypatch.setattr(mt, "excepthook", None)
    thread = micro_thread(lambda: 1 / 0, name="cook")
    thread.start()
    yield_now()
    del thread
    yield_now()
    shown = capsys.readouterr().err
    assert shown.startswith("Exception in micro-thread cook:\n") and "ZeroDivisionError" in shown
