# SPDX-License-Identifier: MIT
"""parallel_map: order, limit, laziness, failures, cancellation."""
import concurrent.futures
import contextvars
import gc
import itertools
import time
import weakref

import pytest

import microthread as mt
from microthread import (Cancelled, current, deferred, generate, parallel_map, put, sleep, spawn, threads,
                         timeout, yield_now)


@pytest.fixture
def reports(monkeypatch):
    seen = []
    monkeypatch.setattr(mt, "excepthook", lambda args: seen.append(args.exc_value))
    return seen


@pytest.mark.parametrize("limit", [None, 1, 3, 100])
def test_results_come_in_order(limit):
    def slowly(n):
        sleep((10 - n) / 1e4)
        return -n

    assert parallel_map(slowly, range(10), limit=limit) == [-n for n in range(10)]
    assert threads() == [current()]


def test_several_iterables_end_with_the_shortest():
    assert parallel_map(lambda *args: args, "abc", itertools.count()) == [
        ("a", 0), ("b", 1), ("c", 2)]


def test_no_items_give_an_empty_list():
    assert parallel_map(int, []) == []


def test_all_run_at_once_without_a_limit():
    gate, running = deferred(), []

    def work(n):
        running.append(n)
        if len(running) == 100:
            gate.callback(None)
        gate.wait()

    parallel_map(work, range(100))
    assert running == list(range(100))


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_no_more_than_the_limit_run_at_once(limit):
    running, most = set(), []

    def work(n):
        running.add(n)
        most.append(len(running))
        sleep(0.0001 * (n % 3 + 1))
        running.remove(n)

    parallel_map(work, range(40), limit=limit)
    assert max(most) == limit and len(most) == 40


def test_one_slow_item_does_not_hold_up_the_rest():
    gate = deferred()

    def work(n):
        if n == 0:
            gate.wait()
        elif n == 50:
            gate.callback(None)

    assert parallel_map(work, range(60), limit=2) == [None] * 60


def test_iterable_is_read_only_as_far_as_there_is_room():
    read = []

    def source():
        for n in range(20):
            read.append(n)
            yield n

    def work(n):
        assert len(read) <= n + 3
        yield_now()

    parallel_map(work, source(), limit=3)
    assert len(read) == 20


def test_iterable_may_wait():
    def items():
        for n in range(5):
            sleep(0.0005)
            put(n)

    assert parallel_map(lambda n: n * n, generate(items), limit=2) == [0, 1, 4, 9, 16]


def test_iterable_runs_in_the_caller():
    def source():
        for _ in range(3):
            yield current()

    assert parallel_map(lambda thread: thread, source(), limit=2) == [current()] * 3


def test_each_call_has_a_micro_thread_and_a_context_of_its_own():
    number = contextvars.ContextVar("number", default=0)
    number.set(7)
    seen = set()

    def work(n):
        assert number.get() == 7
        number.set(n)
        seen.add(current())

    parallel_map(work, range(10), limit=2)
    assert len(seen) == 10 and current() not in seen


def test_first_failure_cancels_the_rest_and_is_raised_after_they_ended(reports):
    ended = []

    def work(n):
        try:
            if n == 3:
                sleep(0.001)
                raise LookupError(n)
            sleep(60)
        finally:
            sleep(0.0001)
            ended.append(n)

    with pytest.raises(LookupError) as caught:
        parallel_map(work, range(6))
    assert sorted(ended) == list(range(6)) and threads() == [current()] and not reports
    assert caught.traceback[-1].name == "work"


def test_failure_stops_the_reading_of_the_iterable():
    read = []

    def source():
        for n in itertools.count():
            read.append(n)
            yield n

    with pytest.raises(ZeroDivisionError):
        parallel_map(lambda n: 1 // (n - 5), source(), limit=2)
    assert len(read) < 10


def test_failures_of_the_same_moment_are_dropped(reports):
    def work(n):
        sleep(0.0001)
        raise ValueError(n)

    with pytest.raises(ValueError) as caught:
        parallel_map(work, range(10))
    assert caught.value.args == (0,) and not reports


def test_failure_of_the_clean_up_is_reported(reports):
    def work(n):
        if n == 1:
            raise ValueError("first")
        try:
            sleep(60)
        finally:
            raise KeyError("clean-up")

    with pytest.raises(ValueError, match="first"):
        parallel_map(work, range(2))
    gc.collect()
    assert [type(value) for value in reports] == [KeyError]


def test_failure_ends_the_waiting_inside_the_iterable():
    ended = []

    def source():
        try:
            yield 0
            sleep(60)
        finally:
            yield_now()
            ended.append(1)

    with pytest.raises(ZeroDivisionError):
        parallel_map(lambda n: 1 / n, source())
    assert ended
    yield_now()


def test_failure_is_raised_though_the_iterable_goes_on():
    def source():
        yield 0
        for _ in range(3):
            try:
                sleep(60)
            except Cancelled:
                pass
            yield 1

    with pytest.raises(ZeroDivisionError):
        parallel_map(lambda n: 1 / n, source())


def test_failure_of_the_iterables_clean_up_is_raised():
    def source():
        try:
            yield 0
            sleep(60)
        finally:
            raise OSError

    with pytest.raises(OSError):
        parallel_map(lambda n: 1 / n, source())
    assert threads() == [current()]


def test_failure_of_the_iterable_cancels_and_is_raised():
    ended = []

    def source():
        yield 60
        yield_now()
        raise OSError("source")

    def work(seconds):
        try:
            sleep(seconds)
        finally:
            ended.append(seconds)

    with pytest.raises(OSError, match="source"):
        parallel_map(work, source())
    assert ended == [60]


@pytest.mark.parametrize("limit", [None, 2])
def test_cancellation_of_the_caller_cancels_the_members(limit):
    begun, ended = [], []

    def work(n):
        begun.append(n)
        try:
            sleep(60)
        finally:
            sleep(0.0001)
            ended.append(n)

    caller = spawn(parallel_map, work, range(4), limit=limit)
    while len(begun) < (limit or 4):
        yield_now()
    caller.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        caller.wait()
    assert ended == list(range(limit or 4)) and threads() == [current()]


def test_cancellation_in_the_iterable_cancels_the_members():
    begun, ended = [], []

    def source():
        yield 1
        sleep(60)

    def work(n):
        begun.append(n)
        try:
            sleep(60)
        finally:
            ended.append(n)

    caller = spawn(parallel_map, work, source())
    while not begun:
        yield_now()
    caller.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        caller.wait()
    assert ended == [1]


def test_second_cancellation_waits_for_the_clean_up_all_the_same():
    begun, ended, gate = [], [], deferred()

    def work(n):
        begun.append(n)
        try:
            sleep(60)
        finally:
            begun.append(n)
            gate.wait()
            ended.append(n)

    caller = spawn(parallel_map, work, range(3))
    while len(begun) < 3:
        yield_now()
    caller.cancel()
    while len(begun) < 6:
        yield_now()
    caller.cancel()
    caller.throw(KeyError("impatient"))
    sleep(0.001)
    assert not caller.done()
    gate.callback(None)
    with pytest.raises((KeyError, concurrent.futures.CancelledError)):
        caller.wait()
    assert ended == [0, 1, 2]


def test_time_limit_of_the_caller_cancels_the_members():
    with pytest.raises(TimeoutError):
        with timeout(0.002):
            parallel_map(sleep, [60] * 5)
    assert threads() == [current()]


def test_member_that_somebody_cancels_fails_the_call():
    spawn(lambda: threads()[-1].cancel("out"))
    with pytest.raises(concurrent.futures.CancelledError, match="out"):
        parallel_map(sleep, [60, 60])
    assert threads() == [current()]


def test_member_cancelled_before_it_ran_fails_the_call():
    def source():
        yield 60
        threads()[-1].cancel()

    with pytest.raises(concurrent.futures.CancelledError):
        parallel_map(sleep, source())


def test_nested_calls():
    def row(n):
        return sum(parallel_map(lambda k: n * k, range(5), limit=2))

    assert parallel_map(row, range(6), limit=3) == [10 * n for n in range(6)]


def test_failure_leaves_no_cycle():
    class Own(Exception):
        pass

    seen = []

    def work(n):
        error = Own()
        seen.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    gc.disable()
    try:
        with pytest.raises(Own) as caught:
            parallel_map(work, range(1))
        caught.value.__traceback__ = None
        del caught
        assert seen[0]() is None
    finally:
        gc.enable()


def test_ten_thousand_sleeps_at_a_limit_of_a_thousand():
    asleep, most = 0, 0

    def work(seconds):
        nonlocal asleep, most
        asleep += 1
        most = max(most, asleep)
        sleep(seconds)
        asleep -= 1

    parallel_map(sleep, [0.01] * 1000)
    start, worked = time.monotonic(), time.process_time()
    assert parallel_map(work, itertools.repeat(0.01, 10_000), limit=1000) == [None] * 10_000
    assert most == 1000 and time.process_time() - worked < 5
    assert time.monotonic() - start < 50  # 100 one after the other


@pytest.mark.parametrize("call, error, words", [
    (lambda: parallel_map(3, []), TypeError, ["fn", "callable", "int"]),
    (lambda: parallel_map(int), TypeError, ["iterable"]),
    (lambda: parallel_map(int, 3), TypeError, ["iterables", "iterable", "int"]),
    (lambda: parallel_map(int, [], None), TypeError, ["iterables", "NoneType"]),
    (lambda: parallel_map(int, [], limit=0), ValueError, ["limit", ">= 1", "0"]),
    (lambda: parallel_map(int, [], limit=-3), ValueError, ["limit", ">= 1", "-3"]),
    (lambda: parallel_map(int, [], limit=1.5), TypeError, ["limit", "int", "float"]),
    (lambda: parallel_map(int, [], limit="1"), TypeError, ["limit", "int", "str"]),
])
def test_bad_argument_is_named(call, error, words):
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)
