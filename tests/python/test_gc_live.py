# SPDX-License-Identifier: MIT
"""The garbage collector and parked micro-threads that somebody can wake: they stay. And storms of
collections at odd times."""
import functools
import threading
import time
import weakref

import pytest

import microthread
from gc_support import alone, outer, settle  # noqa: F401
from microthread import (
    Event, Lock, SimpleQueue, after, deferred, generate, micro_pipe, move_on_after, put,
    run_blocking, select, shield, sleep, spawn, threads, timeout, yield_now)
from support import check_script


LIMIT = 60  # seconds for anything to come about


def comes(log):
    """Wait until something is in it."""
    with timeout(LIMIT):
        while not log:
            sleep(0.001)


def stays(thread, log):
    for _ in range(3):
        settle()
    assert not log and not thread.done() and thread in threads()


def test_one_that_sleeps_stays():
    log = []
    thread = spawn(outer, lambda *_: sleep(1000), log, None)
    stays(thread, log)


@pytest.mark.parametrize("wait", [
    lambda: micro_pipe().take(timeout=1000), lambda: deferred().wait(1000),
    lambda: Lock().acquire(timeout=1000) and Event().wait(1000),
    lambda: select(deferred(), after(1000)), lambda: select(deferred(), timeout=1000)])
def test_one_with_a_time_out_stays(wait):
    log = []
    stays(spawn(outer, lambda *_: wait(), log, None), log)


def test_one_in_a_block_with_a_limit_stays():
    log = []

    def work(*_):
        with move_on_after(1000), shield():
            deferred().wait()

    stays(spawn(outer, work, log, None), log)


def test_one_that_waits_for_a_descriptor_stays():
    import socket
    log = []
    left, right = socket.socketpair()
    with left, right:
        stays(spawn(outer, lambda *_: microthread.wait_readable(left.fileno()), log, None), log)
        stays(spawn(outer, lambda *_: select(deferred(), microthread.readable(left)), log, None), log)
        right.send(b"x")
        with timeout(LIMIT):
            while len(log) < 2:
                sleep(0.001)
    assert log == ["finally", "finally"]


def test_reader_of_a_live_generator_stays():
    log, gate = [], deferred()

    def source():
        put(1)
        gate.wait()
        put(2)

    def reader():
        log.extend(generate(source))

    spawn(reader)
    for _ in range(3):
        settle()
    assert log == [1]
    gate.callback(None)
    for _ in range(4):
        yield_now()
    assert log == [1, 2]


def test_selecting_reader_of_a_live_generator_stays():
    log, gate = [], deferred()

    def source():
        gate.wait()
        put(2)

    def reader():
        log.append(select(generate(source).taking(), deferred()))

    spawn(reader)
    for _ in range(3):
        settle()
    gate.callback(None)
    for _ in range(4):
        yield_now()
    assert log == [(0, 2)]


def test_one_that_only_a_callback_of_another_can_wake_stays():
    log = []

    def work(*_):
        spawn(sleep, 1000).add_done_callback(event_setter(log))

    def event_setter(log):
        event = Event()
        spawn(lambda: (event.wait(), log.append("woken")))
        return lambda thread: event.set()

    spawn(work)
    for _ in range(3):
        settle()
    assert log == []
    threads()[1].cancel()
    comes(log)
    assert log == ["woken"]


@pytest.mark.parametrize("make", [
    lambda: (queue := SimpleQueue(), queue.get, functools.partial(queue.put, 7))[1:],
    lambda: (one := deferred(), one.wait, functools.partial(one.callback, 7))[1:]])
def test_one_that_another_os_thread_will_wake_stays(make):
    wait, wake = make()
    log = []
    spawn(lambda wait: log.append(wait()), wait)
    go = threading.Event()

    def waker(wake):
        go.wait(LIMIT)
        wake()

    other = threading.Thread(target=waker, args=(wake,))
    other.start()
    del wait, wake
    for _ in range(3):
        settle()
    assert log == []
    go.set()
    comes(log)
    other.join()
    assert log == [7]


def test_one_that_waits_for_a_worker_stays():
    log = []
    spawn(lambda: log.append(run_blocking(lambda: time.sleep(0.05) or 3)))
    for _ in range(3):
        settle()
    comes(log)
    assert log == [3]


def test_one_inside_a_generator_is_left_alone():
    log = []

    def items():
        own = deferred()
        yield own.wait()

    thread = spawn(outer, lambda *_: list(items()), log, None)
    ref = weakref.ref(thread)
    del thread
    for _ in range(3):
        settle()
    assert ref() is not None and not log


def test_one_that_main_waits_for_stays():
    check_script("""
        import gc
        from microthread import DeadlockError, deferred, sleep, spawn
        thread = spawn(deferred().wait)
        def collector():
            for _ in range(5):
                sleep(0.001)
                gc.collect()
        spawn(collector)
        try:
            thread.wait()
        except DeadlockError:
            print("ok")
    """)


def test_subclass_with_a_finalizer_of_its_own_stays():
    log = []

    class Own(microthread.micro_thread):
        def __del__(self):
            log.append("del")

    thread = Own(lambda: deferred().wait())
    thread.start()
    stays(thread, log)


STORM = """
import gc, random
from microthread import *
from microthread import _core
from microthread import Event, Lock, Queue, RLock, Semaphore
random.seed(7)
{0}
pipes = [micro_pipe(random.choice([None, 0, 1, 4])) for _ in range(40)]
lock, event, queue = Lock(), Event(), Queue(3)
class Nasty:
    def __init__(self): self.me = self
    def __del__(self):
        yield_now()
        gc.collect()
        with move_on_after(0): deferred().wait()
def worker(n):
    try:
        rng = random.Random(n)
        mine = [micro_pipe(rng.choice([None, 0, 1])) for _ in range(2)]
        junk = [{{"a": mine}}, (mine, [Nasty()] if n % 50 == 0 else [])]
        junk.append(junk)
        for step in range(6):
            kind = rng.randrange(12)
            if kind == 0: select(rng.choice(pipes).taking(), rng.choice(mine).putting(n), after(0.001))
            elif kind == 1: mine[0].put(junk)
            elif kind == 2: rng.choice(pipes).take(timeout=0.001)
            elif kind == 3:
                with lock: yield_now()
            elif kind == 4: deferred().wait()
            elif kind == 5: [x for x in sorted([3, 1, 2], key=lambda v: (yield_now(), v)[1])]
            elif kind == 6: event.wait(0.001)
            elif kind == 7: queue.put(junk, timeout=0.001)
            elif kind == 8: spawn(lambda m=mine: m[1].take())
            elif kind == 9: raise ValueError(junk)
            elif kind == 10: {{"k": (lambda *a, **k: mine[1].take(timeout=0))(1, *mine, x=junk)}}
            else: yield_now()
    except (TimeoutError, Exception):
        gc.collect(rng.randrange(2))
        yield_now()
    finally:
        junk = None
import microthread
microthread.excepthook = lambda args: None
for n in range({1}):
    spawn(worker, n)
    if n % 20 == 0: sleep(0)
for _ in range(20):
    sleep(0.001)
    gc.collect()
    gc.get_objects()
left = len(threads())
gc.get_referrers(pipes[0]); gc.get_referents(*threads())
print("ok")
"""


@pytest.mark.parametrize("setting, count", [
    ("gc.set_threshold(1)", 300), ("gc.set_threshold(700, 3, 3)", 3000), ("", 3000)])
def test_storm_of_collections_breaks_nothing(setting, count):
    check_script(STORM.format(setting, count), timeout=120)
