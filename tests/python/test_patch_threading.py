# SPDX-License-Identifier: MIT
"""threading over micro-threads: start to end, names and numbers, locks, exit, fork."""
import sys

import pytest

from microthread import micro_pipe, spawn
from support import check_script, run_script

START = """
    from microthread import patch
    patch.all()
    import microthread, os, queue, sys, threading, time, _thread
"""


def test_threads_are_micro_threads_and_joined():
    check_script(START + """
    log, go = [], threading.Event()
    class Worker(threading.Thread):
        def run(self):
            time.sleep(0.001)
            go.wait()
            log.append((self.name, threading.current_thread() is self,
                        self.ident == threading.get_ident(), os.getpid() == self.native_id))
    workers = [Worker(name=str(i)) for i in range(10)]
    assert workers[0].ident is None and not workers[0].is_alive()
    for worker in workers:
        worker.start()
    assert set(workers) < set(threading.enumerate()) and threading.active_count() == 11
    assert all(worker.is_alive() for worker in workers)
    assert [t.name for t in microthread.threads()] == ["main", *map(str, range(10))]
    workers[0].join(0.001)
    assert workers[0].is_alive()
    go.set()
    for worker in workers:
        worker.join()
    assert len(log) == 10 and all(all(entry) for entry in log), log
    assert threading.enumerate() == [threading.main_thread()] == [threading.current_thread()]
    assert len({worker.ident for worker in workers}) == 10 and not workers[0].is_alive()
    for call, text in ((workers[0].start, "started once"), (threading.Thread().join, "before it is"),
                       (threading.current_thread().join, "current thread")):
        try:
            call()
        except RuntimeError as error:
            assert text in str(error), error
        else:
            raise AssertionError(text)
    print("ok")
    """)


def test_raw_thread_runs_in_an_empty_context_and_reports():
    check_script(START + """
    import contextvars
    var = contextvars.ContextVar("var", default=0)
    var.set(1)
    done, seen = _thread.allocate_lock(), []
    done.acquire()
    def work(a, *, b):
        seen.append((a, b, var.get(), _thread.get_ident()))
        done.release()
        _thread.exit()
    ident = _thread.start_new_thread(work, (1,), {"b": 2})
    done.acquire()
    assert seen == [(1, 2, 0, ident)], seen
    def fail():
        raise ValueError("lost")
    caught = []
    sys.unraisablehook = caught.append
    _thread.start_new_thread(fail, ())
    while not caught:
        time.sleep(0)
    assert str(caught[0].exc_value) == "lost" and "thread started by" in caught[0].err_msg
    for args in ((1, ()), (fail, []), (fail, (), [])):
        try:
            _thread.start_new_thread(*args)
        except TypeError:
            pass
        else:
            raise AssertionError(args)
    print("ok")
    """)


def test_excepthook_gets_the_thread_and_system_exit_is_silent():
    check_script(START + """
    caught = []
    threading.excepthook = lambda args: caught.append((args.exc_type, args.thread))
    def fail():
        raise ValueError
    threads = [threading.Thread(target=fail), threading.Thread(target=sys.exit)]
    for thread in threads:
        thread.start(); thread.join()
    assert caught == [(ValueError, threads[0]), (SystemExit, threads[1])]
    print("ok")
    """)
    done = run_script(START + "    t = threading.Thread(target=sys.exit); t.start(); t.join()")
    assert done.returncode == 0 and not done.stderr


def test_timer_event_condition_semaphore_and_barrier_wait_for_the_micro_thread():
    check_script(START + """
    event, condition = threading.Event(), threading.Condition()
    semaphore, barrier = threading.BoundedSemaphore(2), threading.Barrier(3)
    assert not event.wait(0.001)
    threading.Timer(0.005, event.set).start()
    assert event.wait(60)
    log, inside = [], []
    def user(i):
        with semaphore:
            inside.append(i); assert len(inside) <= 2; time.sleep(0.002); inside.remove(i)
        barrier.wait(60)
        with condition:
            log.append(i); condition.notify_all()
    threads = [threading.Thread(target=user, args=(i,)) for i in range(3)]
    for thread in threads: thread.start()
    with condition:
        assert condition.wait_for(lambda: len(log) == 3, 60)
        assert not condition.wait(0.001)
    print("ok")
    """)


def test_locks_serve_os_threads_as_well():
    check_script(START + """
    Real = patch.original("threading", "Thread")
    lock, jobs, simple = threading.Lock(), queue.Queue(2), queue.SimpleQueue()
    count = 0
    def add(n):
        global count
        for _ in range(n):
            with lock:
                value = count
                if not value % 50:
                    time.sleep(0)
                count = value + 1
        for i in range(5):
            jobs.put(i)
        simple.put("done")
    real = [Real(target=add, args=(300,)) for _ in range(2)]
    micro = [threading.Thread(target=add, args=(300,)) for _ in range(2)]
    for thread in real + micro: thread.start()
    assert sorted(jobs.get(timeout=60) for _ in range(20)) == sorted(list(range(5)) * 4)
    assert [simple.get(timeout=60) for _ in range(4)] == ["done"] * 4 and count == 1200
    for thread in real + micro: thread.join()
    print("ok")
    """)


def test_rlock_keeps_threads_apart():
    check_script(START + """
    rlock, log = threading.RLock(), []
    def user(name):
        with rlock:
            with rlock:
                log.append(name); time.sleep(0.002)
            log.append(name)
    threads = [threading.Thread(target=user, args=(i,)) for i in "ab"]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert "".join(log) == "aabb"
    print("ok")
    """)


def test_local_is_one_for_each_thread():
    check_script(START + """
    class Mine(threading.local):
        def __init__(self, n): self.n = n
    mine, seen = Mine(1), []
    def work():
        seen.append(mine.n); mine.n = 5; time.sleep(0.001); seen.append(mine.n)
    thread = threading.Thread(target=work); thread.start(); mine.n = 2; thread.join()
    assert seen == [1, 5] and mine.n == 2
    print("ok")
    """)


def test_unnamed_micro_thread_has_a_dummy_that_is_forgotten():
    check_script(START + """
    def work():
        me = threading.current_thread()
        assert me is threading.current_thread() and me.name == microthread.current().name and me.daemon
        assert me.ident == threading.get_ident() and me.is_alive()
    for _ in range(20):
        microthread.spawn(work).wait()
    assert threading.active_count() == 1
    print("ok")
    """)


def test_exit_waits_for_threads_and_ends_daemons():
    check_script(START + """
    go = threading.Event()
    def daemon():
        try:
            time.sleep(60)
        finally:
            print("daemon ends")
    def worker():
        go.wait()
        time.sleep(0.02)
        print("worker ends")
    threading.Thread(target=daemon, daemon=True).start()
    threading.Thread(target=worker).start()
    import atexit
    atexit.register(print, "atexit")
    print("main ends")
    go.set()
    """, "main ends\nworker ends\natexit\ndaemon ends\n")


def test_exit_with_an_error_still_waits():
    done = run_script(START + """
    threading.Thread(target=lambda: (time.sleep(0.01), print("worker ends"))).start()
    sys.exit(3)
    """)
    assert done.returncode == 3 and done.stdout == "worker ends\n" and not done.stderr


def test_stack_size_is_kept_and_checked():
    check_script(START + """
    assert threading.stack_size() == 0 and threading.stack_size(262144) == 0
    assert threading.stack_size() == 262144
    for bad in (1000, -1, 2**40):
        try:
            threading.stack_size(bad)
        except (ValueError, OverflowError):
            pass
        else:
            raise AssertionError(bad)
    thread = threading.Thread(target=compile, args=("1", "", "eval")); thread.start(); thread.join()
    assert threading.stack_size(0) == 262144
    print("ok")
    """)


def test_deep_calls_in_c_fit_a_thread():
    check_script(START + """
    import json, re
    def work():
        json.loads("[" * 100 + "]" * 100)
        compile("(" * 80 + ")" * 80, "", "eval")
        import xml.dom.minidom, email.message
    thread = threading.Thread(target=work); thread.start(); thread.join()
    print("ok")
    """)


def test_trace_and_profile_functions_end_with_their_thread():
    check_script(START + """
    calls = []
    def work(): pass
    threading.settrace(lambda frame, event, arg: calls.append(frame.f_code.co_name))
    threading.setprofile(lambda frame, event, arg: calls.append(event))
    thread = threading.Thread(target=work); thread.start(); thread.join()
    threading.settrace(None); threading.setprofile(None)
    assert "work" in calls and "call" in calls
    assert sys.gettrace() is None and sys.getprofile() is None
    print("ok")
    """)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="settrace_all_threads is of 3.12")
def test_what_is_set_for_all_threads_outlives_the_thread_that_was_running():
    check_script(START + """
    def tracer(frame, event, arg): pass
    def profiler(frame, event, arg): pass
    def work():
        threading.settrace_all_threads(tracer)
        threading.setprofile_all_threads(profiler)
    thread = threading.Thread(target=work); thread.start(); thread.join()
    assert sys.gettrace() is tracer and sys.getprofile() is profiler
    thread = threading.Thread(target=lambda: threading.settrace_all_threads(None)); thread.start(); thread.join()
    assert sys.gettrace() is None and sys.getprofile() is profiler
    threading.setprofile_all_threads(None)
    print("ok")
    """)


def test_interrupt_main_reaches_the_main_thread():
    check_script(START + """
    main = microthread.current()
    def interrupt():
        while not (main.waiting_for or "").startswith("sleep"):
            time.sleep(0.001)
        _thread.interrupt_main()
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        time.sleep(20)
    except KeyboardInterrupt:
        thread.join()
        print("ok")
    """)


def test_keyboard_interrupt_in_a_busy_thread_is_for_the_main_one():
    check_script(START + """
    import signal
    main = microthread.current()
    def busy():
        while not (main.waiting_for or "").startswith("sleep"):
            microthread.yield_now()
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(10 ** 6):
            pass
    threading.Thread(target=busy).start()
    try:
        time.sleep(20)
    except KeyboardInterrupt:
        print("ok")
    """)


def test_what_a_signal_handler_raises_comes_out_in_the_main_thread():
    check_script("""
    import os, signal, threading, time
    class Alarm(Exception): pass
    def handler(signum, frame):
        raise Alarm
    signal.signal(signal.SIGUSR1, handler)
    from microthread import patch
    patch.all()
    assert signal.getsignal(signal.SIGUSR1) is handler
    import microthread
    alive, main = [], microthread.current()
    def interrupted():
        while True:
            time.sleep(0.001)
            if (main.waiting_for or "").startswith("sleep"):
                os.kill(os.getpid(), signal.SIGUSR1)
                alive.append(1)
    thread = threading.Thread(target=interrupted, daemon=True)
    thread.start()
    came = 0
    while came < 5:
        try:
            time.sleep(20)
        except Alarm:
            came += 1
    assert thread.is_alive() and len(alive) >= 4
    assert signal.signal(signal.SIGUSR1, signal.SIG_IGN) is handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.signal(signal.SIGUSR2, handler) is signal.SIG_DFL
    print("ok")
    """)


def test_exit_in_a_signal_handler_ends_the_program():
    done = run_script("""
    from microthread import patch
    patch.all()
    import os, signal, sys, threading, time
    def handler(signum, frame):
        sys.exit(7)
    signal.signal(signal.SIGTERM, handler)
    def work():
        time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)
    threading.Thread(target=work).start()
    time.sleep(20)
    """)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", ""), done


def test_undo_gives_the_signal_handlers_back():
    check_script("""
    import _signal, signal
    def handler(signum, frame): pass
    signal.signal(signal.SIGUSR1, handler)
    from microthread import patch
    patch.all()
    assert _signal.getsignal(signal.SIGUSR1) is not handler
    assert "the signal handlers" in patch.report().patched["threading"]
    patch.undo()
    assert _signal.getsignal(signal.SIGUSR1) is handler is signal.getsignal(signal.SIGUSR1)
    print("ok")
    """)


def test_failure_of_a_daemon_thread_that_the_exit_ends_is_not_told():
    check_script(START + """
    def work():
        try:
            threading.Event().wait()
        finally:
            raise RuntimeError("a thread of CPython would not have come here")
    threading.Thread(target=work, daemon=True).start()
    print("ok")
    """)


@pytest.mark.parametrize("where", ["main", "thread"])
def test_child_of_a_fork_has_one_thread(where):
    check_script(START + "    import warnings; warnings.simplefilter('ignore')\n" + f"""
    other = threading.Thread(target=time.sleep, args=(0.2,))
    other.start()
    def fork():
        pid = os.fork()
        if pid == 0:
            assert threading.active_count() == 1 and not other.is_alive()
            assert threading.current_thread() is threading.main_thread()
            thread = threading.Thread(target=print, args=("child",)); thread.start(); thread.join()
            if {where == "main"}:
                os._exit(0)
            return
        assert os.waitpid(pid, 0)[1] == 0
        print("parent")
    if {where == "main"}:
        fork()
    else:
        thread = threading.Thread(target=fork); thread.start(); thread.join()
    assert threading.main_thread() is threading.current_thread()
    """, "child\nparent\n")


@pytest.mark.skipif(sys.version_info < (3, 13), reason="3.13 has handles")
def test_joinable_thread_has_a_handle():
    check_script(START + """
    gate = threading.Event()
    handle = _thread.start_joinable_thread(gate.wait)
    assert not handle.is_done() and handle.ident
    handle.join(0.001)
    assert not handle.is_done()
    gate.set()
    handle.join()
    assert handle.is_done()
    new = _thread._ThreadHandle()
    for call in (new.join, lambda: _thread.start_joinable_thread(print, handle=handle)):
        try:
            call()
        except RuntimeError:
            pass
        else:
            raise AssertionError
    print("ok")
    """)


def test_ctrl_c_in_a_thread_that_has_ended_comes_out_of_join():
    ran = []
    spawn(ran.append, 1)
    micro_pipe().put(1)
    if ran:
        pytest.skip("a stress build yields at every call: Ctrl-C comes out of start()")
    check_script(START + """
    thread = threading.Thread(target=_thread.interrupt_main)
    try:
        thread.start()
        thread.join()
    except KeyboardInterrupt:
        print("ok")
    """)


def test_workers_are_not_counted_as_threads():
    check_script(START + """
    before = _thread._count()
    microthread.run_blocking(int)
    assert _thread._count() == before
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait); thread.start()
    assert _thread._count() == before + 1
    gate.set()
    thread.join()
    assert _thread._count() == before
    print("ok")
    """)
