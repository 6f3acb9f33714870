# SPDX-License-Identifier: MIT
"""os.fork() in a micro-thread: the child keeps only the one that forked."""
import sys

import pytest

from support import check_script, run_script

START = """
    import os, sys, warnings
    warnings.simplefilter("ignore")
    import microthread
    from microthread import current, deferred, micro_pipe, run, sleep, spawn, threads, yield_now

    def finish(pid):
        _, status = os.waitpid(pid, 0)
        print("status", os.waitstatus_to_exitcode(status))
"""


def check(body, expected):
    check_script(START + body, expected)


def test_child_has_the_forking_one_only_and_ends_with_it():
    check("""
    def other():
        try:
            sleep(0.02)
            print("other of", "parent" if os.getpid() == parent else "child")
        finally:
            if os.getpid() != parent:
                print("never in the child")
    def work():
        pid = os.fork()
        if pid:
            finish(pid)
            return
        assert threads() == [current()], threads()
        sleep(0.001)
        assert spawn(lambda: 5).wait() == 5
        print("child ends", flush=True)
    parent = os.getpid()
    spawn(other)
    yield_now()
    spawn(work).wait()
    sleep(0.03)
    print("parent ends")
    """, "child ends\nstatus 0\nother of parent\nparent ends\n")


def test_child_runs_finally_blocks_of_what_it_spawned():
    check("""
    def work():
        pid = os.fork()
        if pid:
            return finish(pid)
        def parked():
            try:
                sleep(60)
            finally:
                print("left", flush=True)
        spawn(parked)
        sleep(0.001)
    spawn(work).wait()
    """, "left\nstatus 0\n")


@pytest.mark.parametrize("end, status", [("sys.exit(5)", 5), ("os._exit(6)", 6), ("return 1", 0)])
def test_end_of_the_forked_one_is_the_end_of_the_child(end, status):
    check(f"""
    def work():
        pid = os.fork()
        if pid:
            return finish(pid)
        {end}
    spawn(work).wait()
    """, f"status {status}\n")


def test_failure_of_the_forked_one_ends_the_child_with_status_one():
    from support import run_script

    done = run_script(START + """
    def work():
        pid = os.fork()
        if pid:
            return finish(pid)
        raise ValueError("in the child")
    spawn(work).wait()
    """)
    assert done.stdout == "status 1\n" and done.stderr.count("ValueError: in the child") == 1


def test_fork_in_main_leaves_main_only():
    check("""
    spawn(sleep, 60)
    sleep(0.001)
    pid = os.fork()
    if pid:
        finish(pid)
    else:
        assert threads() == [current()]
        sleep(0.001)
        print("child", flush=True)
    """, "child\nstatus 0\n")


def test_fork_in_a_child_in_a_child():
    check("""
    def work(depth):
        spawn(sleep, 60)
        sleep(0.001)
        pid = os.fork()
        if pid:
            finish(pid)
        elif depth:
            spawn(work, depth - 1).wait()
        else:
            print("deepest", flush=True)
        sys.stdout.flush()
    spawn(work, 2).wait()
    """, "deepest\nstatus 0\nstatus 0\nstatus 0\n")


def test_fork_deep_in_calls_and_in_run():
    check("""
    def deep(n):
        if n:
            return deep(n - 1)
        pid = os.fork()
        if pid:
            return finish(pid)
        run(sleep, 0.001)
        print("child", flush=True)
    run(deep, 50)
    """, "child\nstatus 0\n")


def test_pipes_and_deferreds_work_in_the_child():
    check("""
    pipe, d = micro_pipe(0), deferred()
    def reader(name):
        print(name, pipe.take(), flush=True)
    spawn(reader, "parent")
    spawn(d.wait)
    yield_now()
    def work():
        pid = os.fork()
        if pid:
            return finish(pid)
        spawn(reader, "child")
        pipe.put("item")
        d.callback("x")
        assert d.wait() == "x"
        d.reset()
        yield_now()
    spawn(work).wait()
    pipe.put("item")
    yield_now()
    """, "child item\nstatus 0\nparent item\n")


def test_waiting_in_the_child_for_one_left_behind_raises():
    check("""
    from concurrent.futures import CancelledError
    other = spawn(sleep, 60)
    sleep(0.001)
    def work():
        pid = os.fork()
        if pid:
            return finish(pid)
        assert other.done()
        try:
            other.wait()
        except CancelledError:
            print("child", flush=True)
    spawn(work).wait()
    """, "child\nstatus 0\n")


def test_fork_in_another_os_thread():
    check("""
    import threading
    spawn(sleep, 60)
    sleep(0.001)
    def work():
        def inner():
            pid = os.fork()
            if pid:
                return finish(pid)
            assert threads() == [current()]
            sleep(0.001)
            assert spawn(lambda: 5).wait() == 5
            print("child", flush=True)
        spawn(sleep, 0.05)
        spawn(inner).wait()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    """, "child\nstatus 0\n")


@pytest.mark.parametrize("end, status", [("sys.exit(5)", 5), ("return 1", 0), ("sys.exit()", 0)])
def test_end_of_the_child_forked_in_another_os_thread(end, status):
    check(f"""
    import atexit, threading
    def inner():
        pid = os.fork()
        if pid:
            return finish(pid)
        def parked():
            try:
                sleep(60)
            finally:
                print("left", flush=True)
        spawn(parked)
        sleep(0)
        atexit.register(print, "atexit")
        {end}
    def work():
        spawn(sleep, 0.05)
        spawn(inner).wait()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    """, f"atexit\nleft\nstatus {status}\n")


def test_child_of_a_fork_with_other_os_threads_waiting():
    check("""
    import threading
    d = deferred()
    some = [threading.Thread(target=d.wait) for _ in range(3)]
    for thread in some:
        thread.start()
    sleep(0.005)
    def work():
        pid = os.fork()
        if pid:
            return finish(pid)
        sleep(0.001)
        d.callback(1)
        print("child", flush=True)
    spawn(work).wait()
    d.callback(1)
    for thread in some:
        thread.join()
    """, "child\nstatus 0\n")


def test_fork_before_anything_was_used():
    check("""
    pid = os.fork()
    if pid:
        finish(pid)
    else:
        print(spawn(lambda: "child").wait(), flush=True)
    """, "child\nstatus 0\n")


def test_run_blocking_works_in_the_child():
    check("""
    from microthread import run_blocking
    assert run_blocking(int, "5") == 5
    def work():
        pid = os.fork()
        if pid:
            return finish(pid)
        print(run_blocking(int, "6"), flush=True)
    spawn(work).wait()
    print(run_blocking(int, "7"))
    """, "6\nstatus 0\n7\n")


def test_deadlock_is_seen_in_the_child():
    check("""
    def work():
        pid = os.fork()
        if pid:
            return finish(pid)
        try:
            deferred().wait()
        except microthread.DeadlockError:
            print("child", flush=True)
    spawn(work).wait()
    """, "child\nstatus 0\n")


def test_atexit_functions_run_in_the_child():
    check("""
    import atexit
    def work():
        pid = os.fork()
        if pid:
            return finish(pid)
        atexit.register(lambda: print("atexit", run(lambda: 5), flush=True))
    spawn(work).wait()
    """, "atexit 5\nstatus 0\n")


def test_a_hundred_children():
    check("""
    def work(n):
        pid = os.fork()
        if pid:
            yield_now()
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == n
            return 1
        sleep(0)
        sys.exit(n)
    print(sum(thread.wait() for thread in [spawn(work, n) for n in range(50)]))
    """, "50\n")


@pytest.mark.parametrize("in_os_thread", [False, True])
def test_child_of_one_that_was_told_to_leave_ends_in_silence(in_os_thread):
    if not in_os_thread and sys.version_info[:2] == (3, 12):
        pytest.skip("3.12 itself refuses to fork so late")
    done = run_script(f"""
        import os, sys, threading, warnings
        import microthread
        warnings.simplefilter("ignore")
        def work():
            try:
                microthread.sleep(1000)
            finally:
                pid = os.fork()
                if pid:
                    print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        def main():
            microthread.spawn(work)
            microthread.yield_now()
        if {in_os_thread}:
            threading.Thread(target=main).start()
        else:
            main()
    """)
    assert done.stdout == "status 0\n" and done.stderr == "" and done.returncode == 0


WAITS = ["yield_now()", "sleep(0.02)", "lock.acquire(timeout=0.02)", "Event().wait(0.02)",
         "any(select([tail], [], [], 0)[0] for _ in range(3000))", "expect(TimeoutError, lambda: buffer.wait(0, 0, timeout=0.02))",
         "expect(EOFError, receiver.recv)"]


@pytest.mark.parametrize("wait", WAITS)
def test_handler_that_waits_before_ours_finds_the_others_gone(wait):
    done = run_script(f"""
        import os, sys, warnings
        warnings.simplefilter("ignore")
        def in_child():
            {wait}
            print("handler", len(threads()), current() is threads()[0], flush=True)
            try:
                Event().wait()
            except DeadlockError:
                pass
        os.register_at_fork(before=lambda: print("before", flush=True), after_in_child=in_child)
        from microthread import DeadlockError, Event, Lock, current, sleep, spawn, threads, yield_now
        from microthread.interpreters import SharedBuffer, create_channel
        from microthread.select import select
        head, tail = os.pipe()[::-1]
        buffer = SharedBuffer(64)
        receiver, sender = create_channel()
        sender.close()
        def expect(error, function):
            try:
                function()
            except error:
                return
            raise AssertionError(error)
        lock = Lock()
        lock.acquire()
        parent = os.getpid()
        def other():
            while not is_over:
                sleep(0)
                assert os.getpid() == parent
        def work():
            pid = os.fork()
            sleep(0.001)
            if pid == 0:
                print("child", len(threads()), flush=True)
                return
            print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        is_over = False
        spawn(other)
        spawn(work).wait()
        is_over = True
        spawn(work).wait()
        print(len(threads()))
    """)
    one = "before\nhandler 1 True\nchild 1\nstatus 0\n"
    assert (done.stdout, done.stderr, done.returncode) == (one + one + "1\n", "", 0)


def test_fork_that_fails_leaves_all_as_it_was():
    check("""
    import resource
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    if os.getuid() == 0:
        os.setuid(65534)
    def other():
        sleep(0.01)
        return 7
    thread = spawn(other)
    try:
        os.fork()
    except BlockingIOError:
        print("no child")
    print(thread.wait())
    """, "no child\n7\n")


def test_two_micro_threads_fork_at_once_and_a_handler_forks_again():
    check_script("""
    import os, warnings
    warnings.simplefilter("ignore")
    top = os.getpid()
    slow, again = False, False
    def before():
        global slow
        if slow:
            slow = False
            sleep(0.05)
    def in_child():
        global again
        yield_now()
        if again:
            again = False
            sleep(0.001)
            spawn(sleep, 60)
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
            print("in handler", len(threads()), flush=True)
    os.register_at_fork(before=before, after_in_child=in_child)
    from microthread import sleep, spawn, threads, yield_now

    def other():
        while not is_over:
            sleep(0.001)
            assert os.getpid() == top
    def work():
        pid = os.fork()
        if pid == 0:
            print("child", len(threads()), flush=True)
            os._exit(0)
        print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    is_over = False
    spawn(other)
    slow = True
    first = spawn(work)
    sleep(0.01)
    spawn(work).wait()
    first.wait()
    again = True
    work()
    is_over = True
    """, "child 1\nstatus 0\n" * 2 + "in handler 2\nchild 2\nstatus 0\n")
