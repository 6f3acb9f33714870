# SPDX-License-Identifier: MIT
"""What the tests of the garbage collector share: ways to wait for what only the waiter can reach."""
import gc

import pytest

from microthread import (
    Condition, Event, Lock, MicroThreadExit, Queue, Semaphore, SimpleQueue, _core, deferred,
    micro_pipe, shield, spawn, threads, timeout, wait_all, yield_now)

collected = pytest.mark.skipif(not _core._sees_frames,
                               reason="this CPython does not say what a running frame refers to")


class Thing:
    """Something in the locals whose end can be seen."""


@pytest.fixture(autouse=True)
def alone():
    """Start without garbage and end without a micro-thread left."""
    gc.collect()
    gc.freeze()
    yield
    for thread in threads()[1:]:
        thread.throw(MicroThreadExit)  # a shield keeps cancel() out
    yield_now()
    yield_now()
    gc.unfreeze()
    gc.collect()
    yield_now()


def settle():
    """Park everybody, collect, and let those run who were told to leave."""
    yield_now()
    yield_now()
    gc.collect()
    gc.collect()  # an incremental collector may need two
    yield_now()
    yield_now()
    gc.collect()


def taking_from_a_pipe(log, thing):
    micro_pipe().take()


def putting_into_a_full_pipe(log, thing):
    pipe = micro_pipe(0)
    pipe.put(thing)


def iterating(log, thing):
    for _ in micro_pipe():
        pass


def waiting_for_a_deferred(log, thing):
    own = deferred()
    own.wait()


def waiting_for_a_chain(log, thing):
    outer, inner = deferred(), deferred()
    outer.add_callbacks(lambda value: inner)
    outer.callback(1)
    outer.wait()


def acquiring_a_lock(log, thing):
    lock = Lock()
    lock.acquire()
    lock.acquire()


def entering_a_lock(log, thing):
    lock = Lock()
    with lock:
        with lock:
            pass


def acquiring_a_semaphore(log, thing):
    Semaphore(0).acquire()


def waiting_for_an_event(log, thing):
    Event().wait()


def getting_from_a_simple_queue(log, thing):
    SimpleQueue().get()


def getting_from_a_queue(log, thing):
    Queue().get()


def waiting_for_a_condition(log, thing):
    condition = Condition()
    with condition:
        condition.wait()


def selecting(log, thing):
    one, two, pipe = deferred(), micro_pipe(), micro_pipe(0)
    _core.select(one, two.taking(), two.taking(), pipe.putting(thing))


def waiting_for_one_that_waits(log, thing):
    spawn(deferred().wait).wait()


def waiting_for_several(log, thing):
    wait_all([spawn(deferred().wait), spawn(deferred().wait)])


def deep_in_calls(log, thing):
    def descend(n, *rest, **names):
        if n:
            return [thing, descend(n - 1, *rest, n, **names)]
        return (lambda: (thing, micro_pipe().take()))()

    descend(50, 1, 2, a=thing)


def handling_an_exception(log, thing):
    try:
        raise ValueError(thing)
    except ValueError:
        micro_pipe().take()


def in_a_shield(log, thing):
    with shield():
        deferred().wait()


def in_a_block_without_limit(log, thing):
    with timeout(None):
        deferred().wait()


WAITS = [taking_from_a_pipe, putting_into_a_full_pipe, iterating, waiting_for_a_deferred,
         waiting_for_a_chain, acquiring_a_lock, entering_a_lock, acquiring_a_semaphore,
         waiting_for_an_event, getting_from_a_simple_queue, getting_from_a_queue,
         waiting_for_a_condition, selecting, waiting_for_one_that_waits, waiting_for_several,
         deep_in_calls, handling_an_exception, in_a_shield, in_a_block_without_limit]


def outer(wait, log, thing):
    try:
        wait(log, thing)
    except BaseException as exception:
        log.append(type(exception))
        raise
    finally:
        log.append("finally")
