# SPDX-License-Identifier: MIT
"""dump() and dump_on_signal(): every micro-thread, what it waits for, where, and who waits in a ring."""
import io
import threading
import time

import pytest

from microthread import (Condition, Lock, RLock, after, current, deferred, dump, dump_on_signal,
                         micro_pipe, micro_thread, select, sleep, spawn, stats, yield_now)
from support import check_script, run_script, until_all_wait


def dumped():
    file = io.StringIO()
    dump(file)
    return file.getvalue()


def until(condition):
    """Another OS thread gets there when it gets there; a test has a time limit."""
    while not condition():
        sleep(0.001)


def part(text, name):
    """The lines about one micro-thread."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"micro-thread {name} (id "))
    end = next(i for i in range(start + 1, len(lines)) if not lines[i].startswith(" "))
    return "\n".join(lines[start:end])


def start(name, fn, *args):
    thread = micro_thread(fn, args, name=name)
    thread.start()
    return thread


def stop(*some):
    for thread in some:
        thread.cancel()
    for thread in some:
        thread._join()
        assert thread.cancelled()


# ---- dump ----


def test_suspended_one_is_shown_with_its_wait_and_stack():
    pipe = micro_pipe()

    def inner():
        return pipe.take()

    def outer():
        return inner()

    reader = start("reader", outer)
    yield_now()
    text = part(dumped(), "reader")
    assert f"(id {reader.id}): waits for take from {pipe!r}\n" in text
    line = inner.__code__.co_firstlineno
    assert text.index("in outer") < text.index(f'line {line + 1}, in inner')
    assert text.rstrip().endswith("return pipe.take()")
    stop(reader)


def test_running_one_is_shown_without_the_frames_of_dump():
    text = part(dumped(), "main")
    assert ": running\n" in text and text.rstrip().endswith("dump(file)")


def test_running_one_that_is_not_main_is_shown():
    thread = start("runner", dumped)
    text = thread.wait()
    assert part(text, "runner").rstrip().endswith("dump(file)")
    assert "waits for end of runner" in part(text, "main")


def test_ready_ones_are_shown():
    def work():
        yield_now()
        yield_now()

    begun = start("begun", work)
    yield_now()
    fresh = start("fresh", work)
    text = dumped()
    assert ": ready\n" in part(text, "begun") and "in work" in part(text, "begun")
    assert part(text, "fresh").endswith(": ready, not begun")
    stop(begun, fresh)


def test_one_that_is_done_is_shown_while_its_callback_waits():
    def callback(thread):
        gate.wait()

    gate = deferred()
    thread = micro_thread(int, name="cook")
    thread.add_done_callback(callback)
    thread.start()
    yield_now()
    text = part(dumped(), "cook")
    assert "done, in its callbacks: waits for deferred at" in text and "in callback\n" in text
    gate.callback(None)
    yield_now()
    assert f"(id {thread.id})" not in dumped()


def test_done_and_new_ones_are_not_shown():
    done = start("finished", int)
    done.wait()
    new = micro_thread(int, name="unborn")
    text = dumped()
    assert "finished" not in text and "unborn" not in text
    assert new.state == "new"


def test_other_os_threads_are_shown_in_poll_and_in_a_call_that_blocks():
    ready, leave = threading.Event(), threading.Event()

    def blocked():
        ready.set()
        leave.wait()

    def polling(gate):
        gate.wait()

    def work():
        gates.append(gate := deferred())
        waiter = start("polls", polling, gate)
        waiter.wait()
        start("blocks", blocked).wait()

    def both_wait():
        text = dumped()
        return ("(helper): 2 micro-threads, 0 ready\n" in text and "gate.wait()" in part(text, "polls")
                and ": waits for deferred at" in part(text, "polls"))

    gates = []
    thread = threading.Thread(target=work, name="helper")
    thread.start()
    try:
        until(both_wait)
        gates[0].callback(None)
        ready.wait()
        until(lambda: "leave.wait()" in part(dumped(), "blocks"))
        assert ": running\n" in part(dumped(), "blocks")
    finally:
        leave.set()
        thread.join()


def test_os_thread_that_used_nothing_yet_is_shown():
    check_script("""
        import io, microthread
        file = io.StringIO()
        microthread.dump(file)
        assert "micro-thread main" in file.getvalue() and ": 1 micro-threads" in file.getvalue()
        print("ok")
    """)


def test_default_is_stderr_and_one_that_is_none_is_left_alone():
    done = run_script("""
        import sys, microthread
        microthread.dump()
        sys.stderr = None
        microthread.dump()
        print("ok")
    """)
    assert done.stdout == "ok\n" and done.stderr.count("micro-thread main (id") == 1


def test_file_that_raises_gives_that_error():
    class Full:
        def write(self, text):
            raise OSError(28, "full")

    with pytest.raises(OSError, match="full"):
        dump(Full())
    with pytest.raises(TypeError):
        dump(io.BytesIO())
    with pytest.raises(TypeError, match="file must have a write\\(\\) method, got int"):
        dump(3)


def test_file_needs_no_more_than_write():
    class Writer:
        def __init__(self):
            self.texts = []

        def write(self, text):
            yield_now()
            self.texts.append(text)

    writer = Writer()
    dump(writer)
    assert "micro-thread main" in "".join(writer.texts)


def test_stack_of_a_running_one_in_another_os_thread():
    box, ready, leave = [], threading.Event(), threading.Event()

    def work():
        box.append(current())
        ready.set()
        leave.wait()

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    names = [entry.name for entry in box[0].stack()]
    leave.set()
    thread.join()
    assert "work" in names
    assert list(box[0].stack()) == [] and box[0].frame is None


def test_in_the_child_of_a_fork_other_os_threads_have_no_stack():
    check_script("""
        import os, threading, warnings
        warnings.simplefilter("ignore")
        from microthread import current, deferred, dump, micro_thread, yield_now
        box, ready, leave = [], threading.Event(), threading.Event()
        def work():
            box.append(current())
            parked = micro_thread(deferred().wait, name="parked")
            parked.start()
            yield_now()
            box.append(parked)
            ready.set()
            leave.wait()
            parked.cancel()
        thread = threading.Thread(target=work)
        thread.start()
        ready.wait()
        pid = os.fork()
        if not pid:
            import io
            file = io.StringIO()
            dump(file)
            assert "parked" not in file.getvalue()
            assert [list(one.stack()) for one in box] == [[], []]
            assert [one.frame for one in box] == [None, None]
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
        leave.set()
        thread.join()
        print("ok")
    """)


# ---- rings ----


def rings_of(text):
    return [line for line in text.splitlines() if line.startswith("cycle: ")]


def ring_of(text):
    (ring,) = rings_of(text)
    return ring


def test_two_locks_in_opposite_order_are_a_cycle_while_others_live():
    a, b = Lock(), RLock()

    def left():
        with a:
            yield_now()
            b.acquire()

    def right():
        with b:
            yield_now()
            a.acquire()

    some = [start("left", left), start("right", right)]
    until_all_wait(*some)
    assert ring_of(dumped()) == ("cycle: left waits for the RLock held by right, "
                                 "which waits for the Lock held by left")
    stop(*some)
    assert not rings_of(dumped())


def test_lock_and_join_are_a_cycle():
    lock = Lock()
    threads = []

    def keeper():
        with lock:
            yield_now()
            threads[1].wait()

    threads += [start("keeper", keeper), start("taker", lock.acquire)]
    until_all_wait(*threads)
    assert ring_of(dumped()) == ("cycle: keeper waits for the end of taker, "
                                 "which waits for the Lock held by keeper")
    stop(*threads)


def test_lock_taken_twice_is_a_cycle_of_one_and_who_waits_outside_is_none_of_it():
    lock = Lock()

    def fool():
        lock.acquire()
        lock.acquire()

    some = [start("fool", fool)]
    until_all_wait(*some)
    some += [start("victim", lock.acquire), start("friend", some[0].wait)]
    until_all_wait(*some)
    assert ring_of(dumped()) == "cycle: fool waits for the Lock held by fool"
    lock.release()
    lock.release()
    lock.release()
    for thread in some:
        thread.wait()


def test_lock_of_a_condition_is_in_a_cycle():
    condition = Condition()
    threads = []

    def waiter():
        with condition:
            condition.wait()

    def holder():
        with condition:
            condition.notify()
            threads[0].wait()

    threads += [start("waiter", waiter)]
    until_all_wait(*threads)
    threads += [start("holder", holder)]
    until_all_wait(*threads)
    assert "waiter waits for the RLock held by holder" in ring_of(dumped())
    stop(threads[1], threads[0])


def test_wait_with_another_way_out_is_no_cycle():
    threads = []

    def work(n):
        select(threads[(n + 1) % 3], after(60))

    def limited():
        threads[0].wait(60)

    threads += [start("first", work, 0), start("second", work, 1), start("third", limited)]
    until_all_wait(*threads)
    assert not rings_of(dumped())
    stop(*threads)


def test_deadlock_error_points_the_cycle_out():
    check_script("""
        from microthread import DeadlockError, micro_thread
        threads = []
        def work(n):
            threads[(n + 1) % 3].wait()
        for n in range(3):
            threads.append(micro_thread(work, (n,), name="abc"[n]))
        for thread in threads:
            thread.start()
        try:
            threads[0].wait()
        except DeadlockError as error:
            lines = str(error).splitlines()
            assert len(lines) == 6 and lines[-1] == (
                "  cycle: a waits for the end of b, which waits for the end of c, "
                "which waits for the end of a"), str(error)
            print("ok")
    """)


# ---- dump_on_signal ----

SIGNALS = """
    import os, signal, sys, time, warnings
    warnings.simplefilter("ignore")
    from microthread import deferred, dump_on_signal, micro_thread, sleep, spawn, yield_now
    def send_from_elsewhere(is_time=lambda pid: True):
        # Another process sends it as soon as is_time(the number of this one).
        pid = os.getpid()
        if not os.fork():
            try:
                while not is_time(pid):
                    time.sleep(0.01)
                os.kill(pid, signal.SIGUSR1)
            finally:
                os._exit(0)
    def is_asleep(pid):
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "S"
"""


def run_signals(body):
    done = run_script(SIGNALS + body)
    assert done.returncode == 0 and done.stdout == "ok\n", (done.stdout, done.stderr)
    return done.stderr


def test_signal_dumps_while_everything_waits():
    text = run_signals("""
    gate = deferred()
    signal.signal(signal.SIGUSR1, lambda *_: gate.callback(None))
    dump_on_signal(signal.SIGUSR1)
    micro_thread(sleep, (600,), name="sleeper").start()
    send_from_elsewhere(is_asleep)
    spawn(gate.wait).wait()
    print("ok")
    """)
    assert text.count("micro-thread main (id ") == 1
    assert ": running, interrupted in its wait for end of micro_thread-" in part(text, "main")
    assert "spawn(gate.wait).wait()" in part(text, "main") or "<string>" in part(text, "main")
    assert "dump_and_go_on" not in text
    assert "waits for sleep" in part(text, "sleeper")


def test_signal_dumps_while_one_keeps_the_loop():
    text = run_signals("""
    seen = []
    signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    dump_on_signal(signal.SIGUSR1)
    def hog():
        send_from_elsewhere()
        while not seen:
            pass
    thread = micro_thread(hog, name="hog")
    thread.start()
    thread.wait()
    print("ok")
    """)
    assert ": running\n" in part(text, "hog") and "in hog" in part(text, "hog")
    assert "waits for end of hog" in part(text, "main")


def test_handler_of_before_is_called_and_put_back():
    text = run_signals("""
    seen = []
    def old(signum, frame):
        seen.append(signum)
    signal.signal(signal.SIGUSR1, old)
    dump_on_signal(signal.SIGUSR1)
    dump_on_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR1)
    assert seen == [signal.SIGUSR1]
    dump_on_signal(signal.SIGUSR1, enable=False)
    dump_on_signal(signal.SIGUSR1, enable=False)
    assert signal.getsignal(signal.SIGUSR1) is old
    signal.raise_signal(signal.SIGUSR1)
    assert len(seen) == 2
    print("ok")
    """)
    assert text.count("micro-thread main") == 1


def test_ctrl_c_still_interrupts_after_its_dump():
    text = run_signals("""
    dump_on_signal(signal.SIGINT)
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        print("ok")
    """)
    assert text.count("micro-thread main") == 1


def test_handler_that_somebody_chains_to_is_quiet_once_it_is_disabled():
    assert not run_signals("""
    dump_on_signal(signal.SIGUSR1)
    ours = signal.getsignal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, lambda *args: ours(*args))
    dump_on_signal(signal.SIGUSR1, enable=False)
    signal.raise_signal(signal.SIGUSR1)
    print("ok")
    """)


def test_broken_stderr_does_not_harm_who_is_interrupted():
    run_signals("""
    dump_on_signal(signal.SIGUSR1)
    real, sys.stderr = sys.stderr, open(os.devnull, "w")
    sys.stderr.close()
    signal.raise_signal(signal.SIGUSR1)
    sys.stderr = None
    signal.raise_signal(signal.SIGUSR1)
    sys.stderr = real
    print("ok")
    """)


def test_signal_in_the_middle_of_a_write_to_stderr_still_dumps():
    text = run_signals("""
    class Busy:
        def write(self, text):
            raise RuntimeError("reentrant call")
    dump_on_signal(signal.SIGUSR1)
    real, sys.stderr = sys.stderr, Busy()
    signal.raise_signal(signal.SIGUSR1)
    sys.stderr = real
    print("ok")
    """)
    assert text.count("micro-thread main") == 1


def test_errors_are_those_of_signal():
    import signal

    errors = []

    def work():
        try:
            dump_on_signal(signal.SIGUSR1)
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(errors) == 1 and "main thread" in str(errors[0])
    with pytest.raises(ValueError):
        dump_on_signal(9999)
    with pytest.raises(TypeError):
        dump_on_signal("SIGUSR1")
    with pytest.raises(OSError):
        dump_on_signal(signal.SIGKILL)
    with pytest.raises(ValueError):
        dump_on_signal(9999, enable=False)


# ---- stats ----


def test_stats_count_what_they_say():
    before = stats()
    sleeper = start("sleeper", sleep, 60)
    large = micro_thread(sleep, (60,), stack_size=4 * 1024 * 1024)
    large.start()
    yield_now()
    start("ready", int)
    after_it = stats()
    assert set(after_it) == {"threads", "ready", "waiting", "timers", "spawned", "switches", "polls",
                             "stacks", "stack_bytes"}
    change = {name: after_it[name] - before[name] for name in before}
    assert change["threads"] == 3 and change["ready"] == 1 and change["waiting"] == 2
    assert change["timers"] == 2 and change["spawned"] == 3 and change["stacks"] == 2
    assert change["switches"] >= 3 and change["stack_bytes"] >= 4 * 1024 * 1024
    assert all(type(value) is int for value in after_it.values())
    stop(sleeper, large)
    time.sleep(0)
