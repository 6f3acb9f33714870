# SPDX-License-Identifier: MIT
"""The end of the process: every finally block runs, SystemExit ends it, nothing crashes."""
import sys

import pytest

from support import check_script, run_script


def test_finally_blocks_run_at_the_end_of_main():
    check_script("""
        import microthread
        from microthread import sleep, spawn
        def work(wait):
            try:
                wait()
            except microthread.MicroThreadExit as error:
                assert type(error) is microthread.MicroThreadExit
                raise
            finally:
                print("left")
        pipe, full = microthread.micro_pipe(), microthread.micro_pipe(1)
        full.put(1)
        for wait in (lambda: sleep(60), pipe.take, lambda: full.put(2), microthread.deferred().wait,
                     spawn(sleep, 60).wait, lambda: next(pipe)):
            spawn(work, wait)
        sleep(0.001)
        print("main ends")
    """, "main ends\n" + "left\n" * 6)


def test_clean_up_at_exit_may_wait_spawn_excluded():
    check_script("""
        import microthread
        from microthread import sleep, spawn
        log = microthread.micro_pipe()
        def helper():
            try:
                for item in log:
                    pass
            finally:
                print("helper left")
        def work():
            try:
                sleep(60)
            finally:
                sleep(0.002)
                log.put(1)
                microthread.yield_now()
                print("worker left")
        spawn(helper)
        spawn(work)
        sleep(0.001)
    """, "helper left\nworker left\n")


def test_those_that_never_ran_are_dropped():
    check_script("""
        import microthread
        thread = microthread.spawn(print, "never")
        thread.add_done_callback(lambda t: None)
        microthread.micro_thread(print, ("never",))
        print("ok")
    """)


def test_one_that_swallows_the_exit_gets_it_ten_times_at_most():
    check_script("""
        import microthread
        count = 0
        def work():
            global count
            while True:
                try:
                    microthread.sleep(60)
                except BaseException:
                    count += 1
                    print(count)
        microthread.spawn(work)
        microthread.sleep(0.001)
    """, "".join(f"{n}\n" for n in range(1, 11)))


def test_one_that_swallows_the_exit_and_yields_for_ever_is_left():
    check_script("""
        import microthread
        def work():
            while True:
                try:
                    microthread.yield_now()
                except BaseException:
                    pass
        def other():
            try:
                microthread.sleep(60)
            finally:
                print("ok")
        microthread.spawn(work)
        microthread.spawn(other)
        microthread.sleep(0.001)
    """)


def test_one_that_waits_in_vain_in_its_clean_up_does_not_hang_the_exit():
    check_script("""
        import microthread
        def work():
            try:
                microthread.sleep(60)
            finally:
                microthread.deferred().wait()
        def other():
            try:
                microthread.sleep(60)
            finally:
                print("ok")
        microthread.spawn(work)
        microthread.spawn(other)
        microthread.sleep(0.001)
    """)


@pytest.mark.parametrize("call, status", [("sys.exit(3)", 3), ("sys.exit()", 0), ("exit(4)", 4),
                                          ("raise SystemExit(5)", 5)])
def test_system_exit_in_a_micro_thread_ends_the_process(call, status):
    done = run_script(f"""
        import sys, microthread
        def other():
            try:
                microthread.sleep(60)
            finally:
                print("left")
        def work():
            {call}
        microthread.spawn(other)
        microthread.spawn(work)
        try:
            microthread.sleep(60)
        except SystemExit:
            print("in main")
            raise
    """)
    assert (done.returncode, done.stdout, done.stderr) == (status, "in main\nleft\n", "")


def test_system_exit_reaches_a_main_that_does_not_wait_at_its_next_wait():
    done = run_script("""
        import sys, microthread
        microthread.spawn(sys.exit, 7)
        microthread.yield_now()
        print("never")
    """)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")


def test_uncaught_exception_in_main_still_lets_the_others_leave():
    done = run_script("""
        import microthread
        def work():
            try:
                microthread.sleep(60)
            finally:
                print("left")
        microthread.spawn(work)
        microthread.sleep(0.001)
        raise ValueError("main")
    """)
    assert done.returncode == 1 and done.stdout == "left\n"
    assert done.stderr.count("Traceback") == 1 and "ValueError: main" in done.stderr


def test_atexit_functions_may_use_micro_threads():
    check_script("""
        import atexit
        atexit.register(lambda: print("before the import", microthread.spawn(lambda: 1)))
        import microthread
        def late():
            print(microthread.run(lambda: microthread.sleep(0.001) or "late"))
        atexit.register(late)
        microthread.spawn(microthread.sleep, 60)
        microthread.sleep(0.001)
    """.replace('print("before the import", microthread.spawn(lambda: 1))',
                'print("before", bool(microthread.spawn(lambda: 1)))'), "late\nbefore True\n")


def test_ten_thousand_parked_leave_at_exit():
    check_script("""
        import microthread
        count = 0
        def work():
            global count
            try:
                microthread.sleep(60)
            finally:
                count += 1
                if count == 10_000:
                    print("ok")
        for _ in range(10_000):
            microthread.spawn(work)
        microthread.sleep(0.001)
    """)


def test_generator_suspended_around_a_wait_is_closed():
    check_script("""
        import microthread
        def generate():
            try:
                microthread.sleep(60)
                yield
            finally:
                print("generator")
        def work():
            for _ in generate():
                pass
        microthread.spawn(work)
        microthread.sleep(0.001)
    """, "generator\n")


def test_exit_from_within_a_wait_in_del():
    check_script("""
        import microthread
        class Thing:
            def __del__(self):
                microthread.sleep(0.001)
                print("ok")
        kept = Thing()
        def work(thing):
            microthread.sleep(60)
        microthread.spawn(work, kept)
        microthread.sleep(0.001)
        del kept
    """)


def test_spawn_during_the_exit_never_runs():
    check_script("""
        import microthread
        def work():
            try:
                microthread.sleep(60)
            finally:
                assert microthread.spawn(print, "never").wait() is None
                print("ok")
        microthread.spawn(work)
        microthread.sleep(0.001)
    """)


def test_throw_and_cancel_during_the_exit():
    check_script("""
        import microthread
        threads = []
        def work(n):
            try:
                microthread.sleep(60)
            finally:
                for thread in threads:
                    thread.cancel()
                    thread.throw(ValueError)
                print(n)
        threads += [microthread.spawn(work, n) for n in range(3)]
        microthread.sleep(0.001)
        import microthread as mt
        mt.excepthook = lambda args: None
    """, "0\n1\n2\n")


def test_os_threads_with_parked_ones_at_exit():
    for daemon in (True, False):
        done = run_script(f"""
            import sys, threading, time, microthread
            ready = threading.Semaphore(0)
            def work():
                def parked():
                    try:
                        microthread.sleep({60 if daemon else 0.01})
                    finally:
                        if not {daemon}:
                            sys.stdout.write("left\\n")
                microthread.spawn(parked)
                microthread.spawn(parked)
                microthread.sleep(0.001)
                ready.release()
                if {daemon}:
                    microthread.sleep(60)
            for _ in range(3):
                threading.Thread(target=work, daemon={daemon}).start()
            for _ in range(3):
                ready.acquire()
            microthread.sleep(0.001)
        """)
        expected = "" if daemon else "left\n" * 6
        assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


def test_import_alone_is_silent():
    check_script("import microthread; print('ok')")


STUBBORN = """
    import microthread, signal, sys, time
    from microthread import _hooks

    class Log:  # what is written to stderr, which it reaches as well
        text = ""
        def write(self, text):
            self.text += text
            sys.__stderr__.write(text)
        def flush(self):
            sys.__stderr__.flush()

    def compute(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass

    def cook():
        try:
            microthread.sleep(1000)
        except microthread.MicroThreadExit:
            pass
        ACT
        print("ok")

    sys.stderr = Log()
    _hooks.PATIENCE = 0.05
    thread = microthread.micro_thread(cook, name="cook")
    thread.start()
    microthread.yield_now()
"""


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="3.12 starts no OS thread so late")
def test_one_that_computes_instead_of_leaving_is_named():
    done = run_script(STUBBORN.replace("ACT", """while "cook" not in sys.stderr.text:
            pass
        compute(0.3)"""))
    assert done.returncode == 0 and done.stdout == "ok\n"
    assert "exit waits for micro-thread cook (id " in done.stderr and "in cook\n" in done.stderr
    assert done.stderr.count("for micro-thread cook") == 1  # once for each time that it keeps the loop


def test_one_that_leaves_in_time_is_not_named():
    done = run_script(STUBBORN.replace("ACT", "").replace("0.05", "60"))
    assert done.returncode == 0 and done.stdout == "ok\n" and not done.stderr


def test_ctrl_c_ends_one_that_computes_for_ever_at_exit():
    done = run_script(STUBBORN.replace("ACT", """signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        compute(1e9)"""))
    assert not done.timed_out and done.stdout == "" and "KeyboardInterrupt" in done.stderr


def test_one_that_computes_is_told_of_only_while_others_are_left():
    check_script("""
        import threading, _thread
        import microthread
        microthread.spawn(int).wait()
        before = _thread._count()
        import atexit
        from microthread import _core
        shut_down = _core._shut_down
        def look():
            shut_down()
            print("ok" if _thread._count() == before else "another OS thread")
        _core._shut_down = look
    """)


@pytest.mark.parametrize("how", ["microthread.current().cancel()", "hold = expired(); next(hold)"])
def test_main_that_is_cancelled_waits_for_the_others_at_exit(how):
    check_script(f"""
        import microthread
        def expired():
            with microthread.move_on_after(0):
                yield
        def work():
            try:
                microthread.sleep(1000)
            finally:
                microthread.sleep(0.001)
                print("ok")
        microthread.spawn(work)
        microthread.yield_now()
        {how}
    """)


def test_all_that_is_thrown_into_main_at_exit_is_shown():
    done = run_script("""
        import microthread
        main = microthread.current()
        def work():
            try:
                microthread.sleep(1000)
            finally:
                main.throw(ValueError("one"))
                main.throw(LookupError("two"))
        microthread.spawn(work)
        microthread.yield_now()
    """)
    assert "ValueError: one" in done.stderr and "LookupError: two" in done.stderr
    assert "micro_thread main" in done.stderr


def test_clean_up_at_exit_imports_what_another_os_thread_is_loading(tmp_path):
    (tmp_path / "slowly.py").write_text("import time\ntime.sleep(0.3)\nwhole = 'ok'\n")
    check_script(f"""
        import sys, threading, time, microthread
        sys.path.insert(0, {str(tmp_path)!r})
        threading.Thread(target=__import__, args=("slowly",), daemon=True).start()
        while "slowly" not in sys.modules:
            time.sleep(0.001)
        def leave():
            try:
                microthread.sleep(10)
            finally:
                import slowly
                print(slowly.whole)
        microthread.spawn(leave)
        microthread.sleep(0)
    """)
