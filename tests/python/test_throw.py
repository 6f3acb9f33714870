# SPDX-License-Identifier: MIT
"""throw: the same as cancel with any exception, once."""
import concurrent.futures
import contextlib

import pytest

import microthread as mt
from microthread import Cancelled, sleep, spawn, yield_now


def parked(fn, *args):
    thread = spawn(fn, *args)
    while thread.state == "ready":
        yield_now()
    return thread


def test_throw_raises_once_where_it_is_suspended():
    log = []

    def work():
        try:
            sleep(10)
        except ValueError as error:
            log.append(error)
        sleep(0.001)
        return "went on"

    thread = parked(work)
    error = ValueError("thrown")
    assert thread.throw(error) is True
    assert thread.wait() == "went on" and log == [error]


def test_throw_takes_a_class_and_calls_it():
    thread = parked(sleep, 10)
    thread.throw(KeyError)
    with pytest.raises(KeyError):
        thread.wait()


def test_thrown_exception_has_the_traceback_of_the_wait():
    def work():
        sleep(10)

    thread = parked(work)
    thread.throw(OSError("x"))
    thread._join()
    names = []
    traceback = thread.exception().__traceback__
    while traceback:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert names == ["work"]


def test_throw_of_micro_thread_exit_ends_it_in_silence():
    thread = parked(sleep, 10)
    thread.throw(mt.MicroThreadExit)
    assert thread.wait() is None and not thread.cancelled()


def test_throw_of_cancelled_counts_as_cancelled_once():
    log = []

    def work():
        with contextlib.suppress(Cancelled):
            sleep(10)
        sleep(0.001)
        log.append("went on")
        sleep(1000)

    thread = parked(work)
    thread.throw(Cancelled("x"))
    while not log and not thread.done():
        sleep(0.001)
    assert log == ["went on"]
    thread.throw(Cancelled("y"))
    with pytest.raises(concurrent.futures.CancelledError, match="y"):
        thread.wait()


def test_exceptions_thrown_before_the_first_arrived_come_in_turn():
    seen = []

    def work():
        for _ in range(3):
            try:
                mt.sleep(5)
            except ValueError as error:
                seen.append(error.args[0])

    thread = spawn(work)
    yield_now()
    for number in range(3):
        assert thread.throw(ValueError(number))
    thread.wait()
    assert seen == [0, 1, 2]


def test_exceptions_thrown_into_one_that_ends_by_the_first_are_dropped():
    thread = spawn(mt.sleep, 5)
    yield_now()
    thread.throw(KeyError)
    thread.throw(IndexError)
    with pytest.raises(KeyError):
        thread.wait()
