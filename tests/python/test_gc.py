# SPDX-License-Identifier: MIT
"""The garbage collector and parked micro-threads: one that nobody can wake is told to leave."""
import collections
import gc
import sys
import threading
import weakref

import pytest

import microthread
from gc_support import WAITS, Thing, alone, collected, outer, settle  # noqa: F401
from microthread import (
    MicroThreadExit, deferred, generate, micro_pipe, put, sleep, spawn, take, threads, timeout,
    yield_now)
from support import check_script


@collected
@pytest.mark.parametrize("wait", WAITS)
def test_one_that_only_it_could_wake_leaves_and_is_freed(wait):
    log, thing = [], Thing()
    thing_ref, thread_ref = weakref.ref(thing), weakref.ref(spawn(outer, wait, log, thing))
    del thing
    yield_now()
    assert thread_ref() is not None and thing_ref() is not None
    settle()
    assert log == [MicroThreadExit, "finally"]
    assert thread_ref() is None and thing_ref() is None
    assert len(threads()) == 1


@pytest.mark.parametrize("wait", WAITS)
def test_no_reference_is_visited_twice(wait):
    spawn(outer, wait, [], Thing())
    for _ in range(4):
        yield_now()
    everything = gc.get_objects()
    visits = collections.Counter(id(one) for source in everything for one in gc.get_referents(source))
    for one in everything:
        ours = 2  # the list's and the loop's
        assert visits[id(one)] <= sys.getrefcount(one) - ours, type(one)


@collected
def test_reader_and_writer_that_only_know_each_other_leave():
    log = []

    def stage(name, source, sink):
        try:
            while True:
                sink.put(source.take())
        finally:
            log.append(name)

    here, there = micro_pipe(0), micro_pipe(0)
    spawn(stage, "a", here, there)
    spawn(stage, "b", there, here)
    del here, there
    settle()
    assert sorted(log) == ["a", "b"]


@collected
def test_generator_that_keeps_its_own_pipe_gets_pipe_closed():
    log = []

    class Source:
        def __init__(self):
            self.pipe = generate(self.work)

        def work(self):
            try:
                while True:
                    put(1)
            except microthread.PipeClosed:
                log.append("closed")
                raise
            finally:
                log.append("finally")

    source = Source()
    assert source.pipe.take() == 1
    ref = weakref.ref(source)
    del source
    settle()
    assert log == ["closed", "finally"] and ref() is None


@collected
def test_abandoned_pipeline_ends_from_its_source_on():
    log = []

    def source():
        try:
            deferred().wait()
        finally:
            log.append("source")

    def filter():
        try:
            while True:
                put(take())
        finally:
            log.append("filter")

    def reader(pipe):
        for _ in pipe:
            pass
        log.append("reader")

    spawn(reader, generate(filter, stdin=generate(source)))
    for _ in range(4):
        settle()
    assert log == ["source", "reader", "filter"] or set(log) >= {"source", "filter"}
    assert len(threads()) == 1


@collected
def test_clean_up_may_wait():
    log = []

    def work():
        try:
            deferred().wait()
        finally:
            sleep(0.001)
            log.append("slept")

    spawn(work)
    settle()
    with timeout(60):
        while not log:
            sleep(0.001)
    assert log == ["slept"]


@collected
def test_one_that_swallows_the_exit_gets_it_again():
    log = []

    def work():
        while True:
            try:
                deferred().wait()
            except MicroThreadExit:
                log.append(1)
                if len(log) == 3:
                    return

    spawn(work)
    settle()
    assert len(log) == 3 and len(threads()) == 1


@collected
def test_one_that_swallows_every_exit_stays_and_main_is_left_alone():
    log = []

    def work(until):
        while not until:
            try:
                deferred().wait()
            except MicroThreadExit:
                log.append(1)

    spawn(work, [])
    settle()
    sleep(0.001)
    assert len(log) == 10 and len(threads()) == 2
    threads()[1].throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        sleep(1000)


@collected
def test_exception_of_the_clean_up_is_reported(monkeypatch):
    seen = []
    monkeypatch.setattr(microthread, "excepthook", lambda args: seen.append(args.exc_type))

    def work():
        try:
            deferred().wait()
        finally:
            raise KeyError

    spawn(work)
    settle()
    assert seen == [KeyError]


@collected
def test_thousands_of_abandoned_ones_all_leave():
    left = []

    def work():
        mine = micro_pipe()
        mine.put([mine])
        try:
            while True:
                mine.take()
        finally:
            left.append(1)

    for _ in range(5000):
        spawn(work)
    for _ in range(4):
        settle()
    assert len(left) == 5000 and len(threads()) == 1


@collected
def test_collection_in_another_os_thread_wakes_it_here():
    left = []

    def work():
        try:
            deferred().wait()
        finally:
            left.append(threading.get_ident())

    spawn(work)
    yield_now()
    other = threading.Thread(target=lambda: [gc.collect() for _ in range(3)])
    other.start()
    with timeout(60):
        while other.is_alive() or not left:
            sleep(0.001)
    assert left == [threading.get_ident()]


def test_exit_with_abandoned_ones_runs_their_finally_once():
    check_script("""
        import gc
        from microthread import deferred, spawn, yield_now
        def work():
            try:
                deferred().wait()
            finally:
                print("left")
        spawn(work)
        yield_now()
        yield_now()
        gc.collect()
    """, "left\n")
