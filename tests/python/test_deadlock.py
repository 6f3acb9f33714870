# SPDX-License-Identifier: MIT
"""DeadlockError: raised in main when nothing can ever wake anyone, and only then."""
import pytest

from support import check_script


@pytest.mark.parametrize("wait", ["micro_pipe().take()", "micro_pipe(0).put(1)", "deferred().wait()",
                                  "next(micro_pipe())", "spawn(deferred().wait).wait()",
                                  "run(deferred().wait)"])
def test_main_that_waits_in_vain_is_told(wait):
    check_script(f"""
        from microthread import DeadlockError, deferred, micro_pipe, run, spawn
        try:
            {wait}
        except DeadlockError as error:
            assert isinstance(error, RuntimeError)
            print("ok")
    """)


def test_text_lists_who_waits_for_what_and_where():
    check_script("""
        from microthread import DeadlockError, current, micro_pipe, spawn, threads
        pipe = micro_pipe()
        def inner():
            pipe.take()
        def left():
            inner()
        def right(other):
            other.wait()
        first = spawn(left)
        second = spawn(right, first)
        first.name, second.name = "first", "second"
        try:
            second.wait()
        except DeadlockError as error:
            lines = str(error).splitlines()
            find = lambda name: [line for line in lines if line.strip().startswith(name)]
            (a,), (b,), (c,) = find("first"), find("second"), find("main")
            assert repr(pipe) in a and "<string>:5" in a, a
            assert "first" in b and "<string>:9" in b, b
            assert "second" in c and "<string>:14" in c, c
            print("ok")
    """.replace("\n        from", "\n        from", 1))


def test_two_that_wait_for_each_other_are_a_deadlock():
    check_script("""
        from microthread import DeadlockError, deferred, spawn
        threads = []
        def work(n):
            threads[1 - n].wait()
        threads += [spawn(work, 0), spawn(work, 1)]
        try:
            threads[0].wait()
        except DeadlockError:
            print("ok")
    """)


def test_program_goes_on_after_it():
    check_script("""
        from microthread import DeadlockError, deferred, micro_pipe, sleep, spawn
        pipe = micro_pipe()
        reader = spawn(pipe.take)
        for _ in range(3):
            try:
                reader.wait()
            except DeadlockError:
                pass
        pipe.put("ok")
        print(reader.wait())
    """)


def test_uncaught_it_ends_the_program_and_clean_up_runs():
    from support import run_script

    done = run_script("""
        from microthread import deferred, spawn
        def work():
            try:
                deferred().wait()
            finally:
                print("left")
        spawn(work).wait()
    """)
    assert done.returncode == 1 and done.stdout == "left\n" and "DeadlockError" in done.stderr


def test_callback_that_waits_for_ever_is_named():
    check_script("""
        import microthread
        thread = microthread.micro_thread(int, name="cook")
        thread.add_done_callback(lambda _: microthread.deferred().wait())
        thread.start()
        try:
            microthread.deferred().wait()
        except microthread.DeadlockError as error:
            assert "cook (done, in its callbacks) waits for deferred at" in str(error), error
            print("ok")
    """)


def test_a_timer_anywhere_is_no_deadlock():
    check_script("""
        from microthread import deferred, sleep, spawn
        d = deferred()
        def work():
            sleep(0.02)
            d.callback("ok")
        spawn(work)
        print(d.wait())
    """)


def test_wait_with_a_time_out_is_no_deadlock():
    check_script("""
        from microthread import deferred
        try:
            deferred().wait(0.01)
        except TimeoutError:
            print("ok")
    """)


def test_descriptor_is_no_deadlock():
    check_script("""
        import os, microthread
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            import time
            time.sleep(0.02)
            os.write(writer, b"x")
            os._exit(0)
        microthread.wait_readable(reader)
        os.waitpid(pid, 0)
        print("ok")
    """)


def test_other_os_thread_is_no_deadlock():
    check_script("""
        import threading, time
        from microthread import deferred
        d = deferred()
        def work():
            time.sleep(0.05)
            d.callback("ok")
        threading.Thread(target=work).start()
        print(d.wait())
    """)


def test_other_os_thread_that_ends_without_a_word_leaves_a_deadlock():
    check_script("""
        import threading, time
        from microthread import DeadlockError, deferred
        threading.Thread(target=time.sleep, args=(0.05,)).start()
        try:
            deferred().wait()
        except DeadlockError:
            print("ok")
    """)


def test_busy_worker_is_no_deadlock_and_an_idle_one_is_nobody():
    check_script("""
        import time
        from microthread import DeadlockError, deferred, run_blocking
        run_blocking(time.sleep, 0.05)
        try:
            deferred().wait()
        except DeadlockError:
            print("ok")
    """)


def test_worker_waits_for_what_its_callers_os_thread_will_do():
    check_script("""
        import microthread
        from microthread import Lock, deferred, run_blocking, sleep, spawn
        lock, value = Lock(), deferred()
        lock.acquire()
        def work():
            with lock:
                return value.wait()
        thread = spawn(run_blocking, work)
        sleep(0.02)
        lock.release()
        sleep(0.02)
        value.callback("ok")
        print(thread.wait())
    """)


def test_deadlock_in_another_os_thread_is_told_to_its_main():
    check_script("""
        import threading
        from microthread import DeadlockError, deferred, sleep
        def work():
            try:
                deferred().wait(0.02)
            except TimeoutError:
                print("timed out")
            except DeadlockError:
                print("told")
        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            sleep(0.01)
        print("ok")
    """, "timed out\nok\n")


def test_five_hundred_waiters_make_a_bounded_text():
    check_script("""
        from microthread import DeadlockError, deferred, spawn
        d = deferred()
        for _ in range(500):
            spawn(d.wait)
        try:
            d.wait()
        except DeadlockError as error:
            text = str(error)
        assert "450" in text.splitlines()[-1] or "451" in text.splitlines()[-1], text[-200:]
        print("ok")
    """)


def test_finalizers_that_wait_may_run_while_the_text_is_made():
    check_script("""
        import gc
        from microthread import DeadlockError, deferred, spawn, yield_now
        class Ring:
            def __init__(self):
                self.ring = self
            def __del__(self):
                yield_now()
        threads = [spawn(deferred().wait) for _ in range(20)]
        yield_now()
        for _ in range(3):
            gc.collect()
            gc.set_threshold(1)
            rings = [Ring() for _ in range(50)]
            del rings
            try:
                spawn(deferred().wait).wait()
            except DeadlockError as error:
                assert "main waits for end of" in str(error)
        print("ok")
    """)


def test_finalizer_that_wakes_main_while_the_text_is_made_ends_its_wait():
    check_script("""
        import microthread
        from microthread import _seeing, deferred
        answer = deferred()
        describe = _seeing.describe_deadlock
        def wake_and_describe():
            answer.callback("ok")
            return describe()
        _seeing.describe_deadlock = wake_and_describe
        print(answer.wait())
    """)


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT", "SIGALRM"])
@pytest.mark.parametrize("patched", [False, True])
def test_handler_of_a_signal_may_wake_who_waits(number, patched):
    check_script(f"""
    import os, signal, threading, _thread
    import microthread
    from microthread import patch
    if {patched}:
        patch.all()
    stop = microthread.Event()
    signal.signal(signal.{number}, lambda *_: stop.set())
    pid = os.getpid()
    if os.fork() == 0:
        microthread.sleep(0.1)
        os.kill(pid, signal.{number})
        os._exit(0)
    stop.wait()
    print("woken")
    signal.signal(signal.{number}, signal.SIG_DFL)
    try:
        microthread.Event().wait()
    except microthread.DeadlockError:
        print("nothing left")
    """, "woken\nnothing left\n")


def test_handlers_that_wake_nobody_are_no_hope():
    check_script("""
    import faulthandler, signal
    import microthread
    from microthread import patch
    def expect():
        try:
            microthread.Event().wait()
        except microthread.DeadlockError:
            print("deadlock")
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR2)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    expect()
    microthread.dump_on_signal(signal.SIGUSR1)
    microthread.dump_on_signal(signal.SIGINT)
    expect()
    microthread.set_timeslice(0.5)
    expect()
    patch.all()
    expect()
    microthread.dump_on_signal(signal.SIGUSR1)
    expect()
    microthread.dump_on_signal(signal.SIGUSR1, enable=False)
    microthread.dump_on_signal(signal.SIGINT, enable=False)
    expect()
    """, "deadlock\n" * 6)
