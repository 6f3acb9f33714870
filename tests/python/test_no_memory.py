# SPDX-License-Identifier: MIT
"""Out of memory: each of our allocations failing in turn, CPython's too, and no room for stacks."""
import importlib.util
import os

import pytest

from support import check_script, run_script

SWEEP = """
    import sys, os, threading
    import concurrent.futures, queue
    import microthread
    from microthread import *
    from microthread import current, deferred, micro_pipe, micro_thread, sleep, spawn, yield_now
    fail_nth = microthread._core._fail_allocation

    def sweep(prepare, action, most=60):
        # action(*prepare()) with the 1st, 2nd, ... allocation failing, until none fails.
        failed = 0
        for n in range(1, most):
            things = prepare()
            fail_nth(n)
            try:
                action(*things)
            except MemoryError:
                failed += 1
            finally:
                fail_nth(0)
            yield_now()
        action(*prepare())
        return failed
""".replace("    from microthread import *\n", "")


def check(body, **options):
    check_script(SWEEP + body, **options)


@pytest.mark.parametrize("action", [
    "[spawn(sleep, 0.0001) for _ in range(20)] and None",
    "[t.wait() for t in [spawn(yield_now) for _ in range(20)]]",
    "[t.wait() for t in [spawn(int) for _ in range(20)]]",
    "sleep(0.0001)",
    "[t.wait() for t in [spawn(sleep, 0.0001) for _ in range(100)]]",
    "[pipe.put(n) for n in range(2000)]",
    "pipe.take_from(range(2000))",
    "[t.wait() for t in [spawn(pipe.take, 0.0001), spawn(pipe.put, 1)]]",
    "deferred().wait(0)",
    "deferred().wait(0.0001)",
    "spawn(deferred().wait, 0.0001).wait()",
    "run(lambda: spawn(sleep, 3600))",
    "microthread.wait_writable(1, 0)",
    "group(lambda g: [g.spawn(sleep, 0.0001) for _ in range(20)])",
    "group(lambda g: list(g.map(int, range(20))), 2)",
])
def test_every_allocation_may_fail(action):
    check(f"""
    from microthread import Group, run
    def group(body, limit=None):
        try:
            with Group(limit) as g:
                body(g)
        except ExceptionGroup as error:
            raise error.exceptions[0]
        finally:
            assert not microthread.threads()[1:]
    def act(pipe):
        try:
            {action}
        except TimeoutError:
            pass
    microthread.excepthook = lambda args: None
    sweep(lambda: (micro_pipe(),), act)
    while len(microthread.threads()) > 1:
        sleep(0.001)  # some still sleep; none does so for ever
    assert spawn(lambda: "ok").wait() == "ok"
    assert microthread.threads() == [current()]
    print("ok")
    """)


def test_thread_without_a_stack_raises_memory_error_from_wait():
    check("""
    thread = micro_thread(print, ("never",), stack_size=2**20)
    seen = []
    thread.add_done_callback(lambda t: seen.append((t.done(), type(t.exception()))))
    thread.start()
    fail_nth(1)
    try:
        thread.wait()
    except MemoryError:
        yield_now()
        assert seen == [(True, MemoryError)], seen
        print("ok")
    fail_nth(0)
    """)


def test_done_callback_of_one_without_a_stack_may_wait():
    check("""
    log = []
    def callback(thread):
        sleep(0.001)
        log.append(spawn(lambda: 5).wait())
    class Thing:
        def __del__(self):
            sleep(0.001)
            log.append("del")
    def start(n):
        thread = micro_thread(print, ("never", Thing()), stack_size=2**(21 + n))
        thread.add_done_callback(callback)
        thread.start()
        return thread
    def waiter(thread):
        try:
            thread.wait()
        except MemoryError:
            log.append("waiter")
    for n in range(3):
        thread = start(n)
        others = [spawn(waiter, thread), spawn(sleep, 0.005)]
        fail_nth(n % 2 + 1)
        thread._join()
        fail_nth(0)
        for other in others:
            other.wait()
        while log.count(5) <= n:
            sleep(0.001)
        if not isinstance(thread.exception(), MemoryError):
            raise SystemExit(thread.exception())
        del thread
        while log.count("del") <= n:
            sleep(0.001)
    assert sorted(map(str, log)) == ["5"] * 3 + ["del"] * 3 + ["waiter"] * 3, log
    print("ok")
    """)


def test_last_one_to_end_meets_a_successor_without_a_stack():
    check("""
    def first():
        pass
    def main():
        a = spawn(first)
        b = micro_thread(first, stack_size=2**21)
        b.start()
        c = spawn(lambda: 5)
        fail_nth(1)
        a.wait()
        b._join()
        fail_nth(0)
        assert c.wait() == 5
        assert isinstance(b.exception(), MemoryError)
    spawn(first).wait()
    main()
    print("ok")
    """)


def test_scheduler_of_an_os_thread_may_fail_to_come_up():
    check("""
    def work(n, results):
        fail_nth(n)
        try:
            current()
            results.append("made")
        except MemoryError:
            results.append("failed")
        fail_nth(0)
        assert spawn(lambda: 5).wait() == 5
        results.append("works")
    results = []
    for n in range(1, 12):
        thread = threading.Thread(target=work, args=(n, results))
        thread.start()
        thread.join()
    assert results.count("works") == 11 and results[0] == "failed" and results[-2] == "made", results
    print("ok")
    """)


def test_no_descriptors_left_for_a_scheduler():
    check("""
    import resource
    def work(results):
        held = []
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        for _ in range(4):
            try:
                current()
                results.append("made")
                break
            except OSError as error:
                results.append(error.errno)
                for fd in held[:1]:
                    os.close(held.pop())
        for fd in held:
            os.close(fd)
        assert spawn(lambda: 5).wait() == 5
        results.append("works")
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    results = []
    thread = threading.Thread(target=work, args=(results,))
    thread.start()
    thread.join()
    assert results[0] == 24 and results[-1] == "works", results
    print("ok")
    """)


@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""),
                    reason="AddressSanitizer needs more address space than the limit leaves")
def test_more_threads_than_memory():
    check("""
    import resource
    gate = deferred()
    sleep(0.001)
    # Room for nine steps by which stacks grow, and for what Python needs: less than one step more.
    with open("/proc/self/statm") as file:
        most = int(file.read().split()[0]) * resource.getpagesize() + (9 * 64 + 32 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    count = 0
    def work():
        global count
        count += 1
        gate.wait()
        return 1
    some = [spawn(work) for _ in range(12_000)]
    sleep(0.001)
    assert 200 < count < 12_000, count
    gate.callback(None)
    good = bad = 0
    for thread in some:
        try:
            good += thread.wait()
        except MemoryError:
            bad += 1
    assert good == count and good + bad == 12_000 and bad, (good, bad, count)
    assert spawn(lambda: "ok").wait() == "ok"
    print("ok")
    """, timeout=60)


@pytest.mark.skipif(not importlib.util.find_spec("_testcapi"), reason="no _testcapi here")
@pytest.mark.parametrize("action", [
    "spawn(int, 5).wait()",
    "spawn(lambda **kwargs: kwargs, x=1).wait()",
    "micro_thread(int, [5], {}, name='x').start()",
    "micro_pipe(3).put(1)",
    "[micro_pipe().take(timeout=0)]",
    "deferred().wait(0.0001)",
    "spawn(sleep, 5).cancel()",
    "spawn(sleep, 5).cancel('why')",
    "spawn(sleep, 5).throw(ValueError)",
    "spawn(lambda: 1 / 0).wait()",
    "repr(spawn(int)), spawn(int).name, current().waiting_for",
    "micro_pipe().put_nowait(1), micro_pipe(0).take_nowait()",
    "current().context, spawn(int).context",
    "group(with_keywords)",
    "group(cancelled)",
    "group(failed)",
    "group(mapped, 1)",
])
def test_every_allocation_of_pythons_may_fail(action):
    done = run_script(SWEEP + f"""
    import _testcapi, traceback
    sys.unraisablehook = lambda args: None
    microthread.excepthook = lambda args: None
    def group(body, limit=None):
        with microthread.Group(limit) as g:
            body(g)
    # No function is made in these: CPython 3.12.1 crashes when there is no memory for one.
    def with_keywords(g):
        g.spawn(int, "1", base=10)
        g.spawn(int, "2", base=10)
    def cancelled(g):
        g.spawn(sleep, 60)
        sleep(0)
        g.cancel()
    def failed(g):
        g.spawn(sleep, 60)
        g.spawn(divmod, 1, 0)
        sleep(0)
        repr(g)
    def mapped(g):
        list(g.map(int, "1234"))
    def act():
        {action}
    for _ in range(2):
        try:
            act()
        except Exception:
            pass
    for n in range(1, 60):
        try:
            _testcapi.set_nomemory(n, n + 1)
            try:
                act()
            finally:
                _testcapi.remove_mem_hooks()
        except (MemoryError, TimeoutError, ZeroDivisionError, queue.Empty, ExceptionGroup):
            pass
        except SystemError as error:  # CPython's own, where it has no memory for a traceback
            assert str(error) == "error return without exception set", error
        for _ in range(3):
            try:
                yield_now()
            except MemoryError:
                pass
    for thread in microthread.threads()[1:]:
        thread.cancel()
        thread._join()
    assert spawn(lambda: "ok").wait() == "ok"
    print("ok")
    """)
    assert done.returncode == 0 and done.stdout == "ok\n", (done.returncode, done.stdout, done.stderr)
