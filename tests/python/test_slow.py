# SPDX-License-Identifier: MIT
"""slow_threshold and slow_hook: who keeps the loop is reported once, while it lasts, with its stack."""
import operator
import re
import threading
import time

import pytest

import microthread
from microthread import _slow, current, micro_thread, sleep, spawn, threads, yield_now
from support import check_script, run_script

THRESHOLD = 0.02
LONG = 0.1  # longer than a threshold and the time between two looks, unless the machine is busy
LIMIT = 60  # seconds after which a test that waits has failed


@pytest.fixture
def reports():
    """The threshold is set; what is reported of this test's micro-threads."""
    seen = []
    usual = microthread.slow_hook
    microthread.slow_hook = seen.append
    microthread.slow_threshold = THRESHOLD
    yield seen
    microthread.slow_threshold = None
    microthread.slow_hook = usual


whose = operator.attrgetter("micro_thread")


# Each keeps the loop until it is reported, which on a busy machine takes long, and for a while more. It
# calls no function in Python: its own name is to be the last in the stack.


def hog(reports, times=1):
    me, end = current(), time.monotonic() + LIMIT
    while list(map(whose, reports)).count(me) < times and time.monotonic() < end:
        pass
    end = time.monotonic() + 3 * THRESHOLD
    while time.monotonic() < end:
        pass


def block(reports, times=1):
    me, end = current(), time.monotonic() + LIMIT
    while list(map(whose, reports)).count(me) < times and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(3 * THRESHOLD)


def start(name, fn, *args):
    thread = micro_thread(fn, args, name=name)
    thread.start()
    return thread


def until(condition):
    end = time.monotonic() + LIMIT
    while not condition() and time.monotonic() < end:
        sleep(0.002)
    assert condition()


def of(thread, reports):
    return [one for one in reports if one.micro_thread is thread]


@pytest.mark.parametrize("fn", [hog, block])
def test_one_that_keeps_the_loop_is_reported_once_with_its_stack(reports, fn):
    begun = time.monotonic()
    thread = start("slow", fn, reports)
    thread.wait()
    (report,) = of(thread, reports)
    assert THRESHOLD < report.seconds < time.monotonic() - begun
    assert report.stack[-1].name == fn.__name__


def test_report_comes_while_it_lasts(reports):
    def work():
        hog(reports)
        return len(of(current(), reports))

    assert spawn(work).wait() == 1


def test_each_time_is_reported_of_its_own(reports):
    def work():
        block(reports)
        yield_now()
        block(reports, 2)
        yield_now()
        block(reports, 3)

    thread = start("again", work)
    thread.wait()
    assert len(of(thread, reports)) == 3


def test_main_that_keeps_the_loop_is_reported(reports):
    def is_told():
        return [one for one in reports if one.stack[-1].name == "keep_busy"]

    def keep_busy():
        time.sleep(LONG)

    end = time.monotonic() + LIMIT
    while not is_told() and time.monotonic() < end:
        yield_now()
        keep_busy()
    report = is_told()[0]
    assert report.micro_thread is threads()[0]
    assert report.stack[-2].name.startswith("test_main")


def test_waiting_and_many_short_turns_are_not_slow():
    script = """
        import time, microthread
        from microthread import sleep, spawn, yield_now
        microthread.slow_threshold = 0.3
        def work():
            end = time.monotonic() + 0.4
            while time.monotonic() < end:
                yield_now()
        sleep(0.4)
        spawn(work).wait()
    """
    for _ in range(10):  # a machine that is too busy for 0.3 s makes a turn slow
        done = run_script(script)
        if not done.stderr:
            break
    assert (done.returncode, done.stderr) == (0, "")


def test_default_hook_prints_who_how_long_and_where():
    done = run_script("""
        import time, microthread
        def slow():
            while not told:
                time.sleep(0.01)
        told = []
        usual = microthread.slow_hook
        def hook(args):
            if args.micro_thread is thread:
                usual(args)
                told.append(1)
        thread = microthread.micro_thread(slow, name="the slow one")
        microthread.slow_hook = hook
        microthread.slow_threshold = 0.02
        thread.start()
        thread.wait()
    """)
    assert done.returncode == 0
    head, *stack = done.stderr.splitlines()
    assert re.fullmatch(r"micro-thread the slow one \(id 2\) has kept the loop for \d+\.\d{3} s:", head)
    # From 3.13 on there is the line, too. It is the first one if the machine stood still there.
    assert re.fullmatch(r'  File "<string>", line [345], in slow', stack[0])


def test_other_os_threads_loops_are_watched(reports):
    def work():
        start("elsewhere", block, reports).wait()

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: not thread.is_alive() and reports)
    (report,) = [one for one in reports if one.micro_thread.name == "elsewhere"]
    assert report.stack[-1].name == "block"


def test_os_thread_without_a_loop_is_left_alone(reports):
    def work():
        microthread.current()
        time.sleep(LONG)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: not thread.is_alive())
    # start() itself blocks this OS thread until the other one has begun, which may take long.
    assert {each.micro_thread for each in reports} <= {microthread.current()}


def test_hook_may_cancel_who_is_slow(reports):
    def hook(args):
        if args.micro_thread is thread:
            thread.cancel()
            reports.append(args)

    def work():
        block(reports)
        sleep(60)

    thread = micro_thread(work)
    microthread.slow_hook = hook
    thread.start()
    thread._join()
    assert thread.cancelled()


def test_hook_that_raises_is_shown_and_the_watch_goes_on():
    done = run_script("""
        import sys, time, microthread
        def hook(args):
            if args.micro_thread is not main:
                seen.append(args)
                raise ValueError("mine")
        usual = sys.excepthook
        def show(*args):
            usual(*args)
            shown.append(1)
        def slow():
            before = len(shown)
            while len(shown) == before:
                time.sleep(0.001)
        main, seen, shown = microthread.current(), [], []
        sys.excepthook = show
        microthread.slow_hook = hook
        microthread.slow_threshold = 0.02
        for n in range(2):
            microthread.spawn(slow).wait()
        print(len(seen))
    """)
    assert (done.returncode, done.stdout) == (0, "2\n")
    assert done.stderr.count("ValueError: mine") == 2


def test_threshold_can_be_changed_and_unset(reports):
    microthread.slow_threshold = 60
    reports.clear()  # of what went on before this test
    spawn(time.sleep, LONG).wait()
    microthread.slow_threshold = None
    spawn(time.sleep, LONG).wait()
    assert not reports and microthread.slow_threshold is None
    microthread.slow_threshold = 0
    assert microthread.slow_threshold == 0
    thread = spawn(block, reports)
    thread.wait()
    assert of(thread, reports)


def test_what_lasted_before_it_was_set_does_not_count(reports):
    microthread.slow_threshold = None
    reports.clear()  # of what went on before this test
    time.sleep(LONG)
    begun = time.monotonic()
    ends = []
    microthread.slow_hook = lambda args: ends.append((args.seconds, time.monotonic()))
    microthread.slow_threshold = THRESHOLD
    while not ends and time.monotonic() < begun + LIMIT:
        time.sleep(0.001)
    assert ends
    for seconds, end in ends:
        assert seconds <= end - begun


def test_no_report_comes_once_it_is_unset():
    check_script("""
        import os, threading, time, traceback
        import microthread
        reached, go_on = threading.Event(), threading.Event()
        usual = traceback.StackSummary.extract
        def extract(*args):
            reached.set()
            go_on.wait()
            return usual(*args)
        traceback.StackSummary.extract = extract
        def tasks():
            return len(os.listdir("/proc/self/task"))
        before = tasks()
        seen = []
        microthread.slow_hook = seen.append
        microthread.slow_threshold = 0.001
        def hog():
            while not reached.is_set():
                pass
        microthread.spawn(hog).wait()
        microthread.slow_threshold = None
        go_on.set()
        while tasks() != before:
            time.sleep(0.001)
        assert not seen
        print("ok")
    """)


def test_no_os_thread_is_left_when_it_is_unset():
    check_script("""
        import os, time
        import microthread
        def tasks():
            return len(os.listdir("/proc/self/task"))
        before = tasks()
        microthread.slow_threshold = 10
        assert tasks() == before + 1
        microthread.slow_threshold = None
        deadline = time.monotonic() + 50
        while tasks() != before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert tasks() == before
        print("ok")
    """)


def test_with_threads_patched_it_is_an_os_thread_still():
    check_script("""
        import microthread
        microthread.patch.all()
        import time
        seen = []
        microthread.slow_hook = seen.append
        microthread.slow_threshold = 0.02
        def hog():
            me = microthread.current()
            while me not in [args.micro_thread for args in seen]:
                pass
        microthread.spawn(hog).wait()
        print("ok")
    """)


@pytest.mark.parametrize("value, error", [(-1, ValueError), (-0.001, ValueError),
                                          (float("nan"), ValueError), ("1", TypeError),
                                          ([], TypeError)])
def test_bad_threshold_is_refused_and_the_old_one_stays(reports, value, error):
    with pytest.raises(error, match="slow_threshold"):
        microthread.slow_threshold = value
    assert microthread.slow_threshold == THRESHOLD
    thread = spawn(block, reports)
    thread.wait()
    assert of(thread, reports)


def test_package_is_a_module_like_any_other():
    import types

    assert isinstance(microthread, types.ModuleType) and "slow_threshold" in dir(microthread)
    with pytest.raises(AttributeError):
        microthread.nothing_of_this_name
    assert microthread.Condition


def test_exit_while_it_is_set_and_while_one_is_slow():
    check_script("""
        import atexit, time, microthread
        microthread.slow_threshold = 0.001
        microthread.slow_hook = lambda args: time.sleep(0.02)
        microthread.spawn(time.sleep, 0.02).wait()
        atexit.register(microthread.spawn, time.sleep, 0.01)
        print("ok")
    """)


def test_deadlock_is_still_found():
    check_script("""
        import microthread
        microthread.slow_threshold = 60
        microthread.sleep(0.01)
        try:
            microthread.deferred().wait()
        except microthread.DeadlockError:
            print("ok")
    """)


def test_child_of_a_fork_is_watched_too():
    check_script("""
        import os, time, warnings
        warnings.simplefilter("ignore")
        import microthread
        seen = []
        microthread.slow_hook = lambda args: seen.append(args.micro_thread)
        def slow():
            me, end = microthread.current(), time.monotonic() + 50
            while me not in seen and time.monotonic() < end:
                time.sleep(0.001)
            time.sleep(0.06)
        microthread.slow_threshold = 0.02
        microthread.sleep(0.01)
        pid = os.fork()
        thread = microthread.spawn(slow)
        thread.wait()
        assert seen.count(thread) == 1, seen
        if not pid:
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
        print("ok")
    """)


def test_set_by_the_hook_itself(reports):
    main, told = current(), []

    def hook(args):
        if args.micro_thread is not main:  # which the machine may have stopped at any time
            told.append(args)
            microthread.slow_threshold = None

    def work():
        end = time.monotonic() + LIMIT
        while not told and time.monotonic() < end:
            time.sleep(0.001)

    microthread.slow_hook = hook
    spawn(work).wait()
    spawn(time.sleep, LONG).wait()
    assert len(told) == 1


def test_set_by_the_hook_while_it_is_being_set(monkeypatch):
    told = threading.Event()

    def hook(args):
        microthread.slow_threshold = None
        told.set()

    def run_and_stand_still(fn):
        run(fn)
        assert told.wait(LIMIT)

    run = _slow.watcher.helper.run
    monkeypatch.setattr(_slow.watcher.helper, "run", run_and_stand_still)
    monkeypatch.setattr(microthread, "slow_hook", hook)
    microthread.slow_threshold = THRESHOLD
    assert microthread.slow_threshold is None


def test_threshold_that_cannot_be_watched_changes_nothing(reports, monkeypatch):
    def fail(fn):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(_slow.watcher.helper, "run", fail)
        with pytest.raises(RuntimeError, match="can't start"):
            microthread.slow_threshold = 50
    assert microthread.slow_threshold == THRESHOLD
    spawn(hog, reports).wait()
    assert reports
