# SPDX-License-Identifier: MIT
"""set_timeslice(): who runs for too long has to let others run, between two bytecodes only."""
import pytest

import microthread
from microthread import set_timeslice
from support import check_script


@pytest.mark.parametrize("seconds", [0, -1, 0.0009, 3601, float("nan"), float("inf")])
def test_slice_out_of_range_is_refused(seconds):
    with pytest.raises(ValueError, match="seconds must be None or from 0.001 to 3600, got"):
        set_timeslice(seconds)


def test_slice_that_is_no_number_is_refused():
    with pytest.raises(TypeError):
        set_timeslice([])


def test_two_endless_counters_share():
    check_script("""
        import microthread
        counts = [0, 0]
        def count(i):
            while min(counts) < 100_000:
                counts[i] += 1
        microthread.set_timeslice(0.002)
        both = [microthread.spawn(count, i) for i in range(2)]
        for thread in both:
            thread.wait()
        print("ok")
    """)


def test_busy_main_lets_others_run():
    check_script("""
        import microthread
        seen = []
        microthread.set_timeslice(0.002)
        microthread.spawn(seen.append, 1)
        while not seen:
            pass
        print("ok")
    """)


def test_server_answers_beside_a_busy_loop():
    check_script("""
        import microthread
        from microthread import socket
        is_over = False
        def busy():
            while not is_over:
                pass
        def echo(sock, address):
            while data := sock.recv(100):
                sock.sendall(data)
        server = microthread.StreamServer(("127.0.0.1", 0), echo)
        server.start()
        microthread.set_timeslice(0.005)
        hog = microthread.spawn(busy)
        with socket.create_connection(server.address) as client:
            for i in range(5):
                client.sendall(b"%d" % i)
                assert client.recv(10) == b"%d" % i
        is_over = True
        hog.wait()
        server.stop()
        print("ok")
    """)


def test_switched_off_nobody_is_interrupted():
    check_script("""
        import time, microthread
        seen = []
        for seconds in (0.002, 0.003, None):
            microthread.set_timeslice(seconds)
        other = microthread.spawn(seen.append, 1)
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            assert not seen
        other.wait()
        microthread.set_timeslice(None)
        print("ok")
    """)


def test_exception_under_way_and_its_traceback_stay_whole():
    check_script("""
        import sys, microthread
        def work(n):
            for _ in range(30):
                try:
                    try:
                        raise ValueError(n)
                    except ValueError as error:
                        for _ in range(20000):
                            pass
                        assert sys.exception() is error and error.args == (n,)
                        raise KeyError(n) from error
                except KeyError as error:
                    for _ in range(20000):
                        pass
                    assert error.args == (n,) and error.__cause__.args == (n,)
                    assert error.__traceback__.tb_lineno == 12, error.__traceback__.tb_lineno
            return n
        microthread.set_timeslice(0.001)
        threads = [microthread.spawn(work, n) for n in range(4)]
        assert [thread.wait() for thread in threads] == [0, 1, 2, 3]
        print("ok")
    """)


def test_generators_comprehensions_and_recursion_go_on_where_they_were():
    check_script("""
        import microthread
        def squares(n):
            for i in range(n):
                yield i * i
        def fibonacci(n):
            return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)
        def work():
            for _ in range(8):
                assert sum(squares(30000)) == sum([i * i for i in range(30000)])
                assert fibonacci(15) == 610
                assert sorted(range(2000), key=lambda i: -i)[0] == 1999
        microthread.set_timeslice(0.001)
        for thread in [microthread.spawn(work) for _ in range(3)]:
            thread.wait()
        print("ok")
    """)


def test_trace_function_is_not_interrupted_but_what_it_traces_is():
    check_script("""
        import sys, microthread
        inside = 0
        def tracer(frame, event, arg):
            global inside
            assert not inside
            inside += 1
            for _ in range(300):
                pass
            inside -= 1
            return tracer
        counts = [0, 0]
        def count(i):
            while min(counts) < 300:
                counts[i] += 1
        microthread.set_timeslice(0.002)
        sys.settrace(tracer)
        both = [microthread.spawn(count, i) for i in range(2)]
        for thread in both:
            thread.wait()
        sys.settrace(None)
        print("ok")
    """)


def test_destructor_callback_and_collector_are_not_interrupted():
    check_script("""
        import gc, time, microthread
        inside = 0
        others = 0
        def linger():
            global inside
            inside = 1
            end = time.monotonic() + 0.02
            while time.monotonic() < end:
                pass
            inside = 0
        class Slow:
            def __del__(self):
                linger()
        def watch():
            global others
            while not is_over:
                assert not inside
                others += 1
                microthread.yield_now()
        is_over = False
        gc.disable()  # one that begins by itself may do so in the OS thread that keeps the time
        gc.callbacks.append(lambda phase, info: linger())
        microthread.set_timeslice(0.001)
        watcher = microthread.spawn(watch)
        Slow()
        gc.collect()
        done = microthread.spawn(int)
        done.add_done_callback(lambda thread: linger())
        done.wait()
        gc.callbacks.pop(-2)
        before = others
        while others < before + 3:
            pass
        is_over = True
        watcher.wait()
        print("ok")
    """)


def test_cancellation_of_a_busy_one_comes_at_its_next_wait():
    check_script("""
        import microthread
        log = []
        def busy():
            global is_begun
            is_begun = True
            try:
                while not is_over:
                    pass
                log.append("loop left")
                microthread.sleep(0)
                log.append("not reached")
            finally:
                log.append("finally")
        is_begun = is_cancelled = is_over = False
        microthread.set_timeslice(0.002)
        def end():
            global is_over
            while not is_cancelled:
                microthread.sleep(0.001)
            microthread.sleep(0.02)
            assert log == []
            is_over = True
        microthread.spawn(end)
        with microthread.Group() as group:
            group.spawn(busy)
            while not is_begun:
                microthread.sleep(0.001)
            group.cancel()
            is_cancelled = True
        assert log == ["loop left", "finally"], log
        try:
            with microthread.timeout(0.01):
                for _ in range(10):
                    for _ in range(100_000):
                        pass
                    microthread.yield_now()
                while True:
                    microthread.yield_now()
        except TimeoutError:
            print("ok")
    """)


def test_queues_and_locks_hold_under_preemption():
    check_script("""
        import microthread
        lock, total = microthread.Lock(), 0
        queue = microthread.PriorityQueue()
        class Item:
            def __init__(self, n): self.n = n
            def __lt__(self, other):
                for _ in range(20): pass
                return self.n < other.n
        def add():
            global total
            for i in range(500):
                with lock:
                    before = total
                    for _ in range(20): pass
                    total = before + 1
                queue.put(Item(i))
        microthread.set_timeslice(0.001)
        for thread in [microthread.spawn(add) for _ in range(4)]:
            thread.wait()
        assert total == 2000 and queue.qsize() == 2000
        numbers = [queue.get().n for _ in range(2000)]
        assert numbers == sorted(numbers)
        print("ok")
    """)


def test_signals_and_deadlocks_are_as_ever():
    check_script("""
        import signal, microthread
        seen = []
        signal.signal(signal.SIGUSR1, lambda *args: seen.append(1))
        microthread.set_timeslice(0.001)
        other = microthread.spawn(lambda: [None for _ in range(300_000)])
        for _ in range(100):
            signal.raise_signal(signal.SIGUSR1)
            for _ in range(5000): pass
        other.wait()
        assert len(seen) == 100
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)  # a handler could wake somebody
        try:
            microthread.micro_pipe().take()
        except microthread.DeadlockError:
            print("ok")
    """)


def test_child_of_a_fork_is_preempted_too():
    check_script("""
        import os, warnings, microthread
        warnings.simplefilter("ignore")
        microthread.set_timeslice(0.002)
        child = os.fork()
        seen = []
        microthread.spawn(seen.append, 1)
        while not seen:
            pass
        if child:
            assert os.waitpid(child, 0)[1] == 0
            print("ok")
    """)


def test_patched_threads_in_endless_loops_share():
    check_script("""
        from microthread import patch
        patch.all()
        import threading, microthread
        microthread.set_timeslice(0.002)
        is_over = False
        def spin():
            while not is_over:
                pass
        thread = threading.Thread(target=spin)
        thread.start()
        is_over = True
        thread.join()
        print("ok")
    """)


def test_other_os_threads_and_interpreters_refuse_it_with_the_reason():
    caught = []

    def attempt():
        try:
            set_timeslice(0.01)
        except RuntimeError as error:
            caught.append(str(error))
        set_timeslice(None)  # it is off there

    microthread.run_blocking(attempt)
    assert "main OS thread of the main interpreter" in caught[0]
    check_script("""
        from microthread import interpreters
        other = interpreters.create()
        try:
            other.run("import microthread; microthread.set_timeslice(0.01)")
        except interpreters.RunFailed as error:
            assert error.type_name == "RuntimeError" and "main interpreter" in error.message
            print("ok")
        other.close()
    """)
