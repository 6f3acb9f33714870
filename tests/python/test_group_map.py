# SPDX-License-Identifier: MIT
"""Group.map: order, laziness, failures, an iterator that is dropped."""
import itertools

import pytest

from microthread import (Group, current, deferred, generate, move_on_after, put, sleep, spawn, threads,
                         yield_now)

FOREVER = 1000.0


@pytest.fixture(autouse=True)
def nobody_is_left():
    yield
    assert threads() == [current()]


@pytest.mark.parametrize("limit", [None, 1, 3, 100])
def test_results_come_in_order(limit):
    def slowly(n):
        sleep((10 - n) / 1e4)
        return -n

    with Group(limit) as group:
        assert list(group.map(slowly, range(10))) == [-n for n in range(10)]


def test_several_iterables_end_with_the_shortest():
    with Group() as group:
        assert list(group.map(lambda *args: args, "abc", itertools.count())) == [
            ("a", 0), ("b", 1), ("c", 2)]
        assert list(group.map(int, [])) == []


def test_all_are_spawned_at_once_without_a_limit():
    with Group() as group:
        results = group.map(lambda n: n, range(10))
        assert len(group) == 10
    assert list(results) == list(range(10))


@pytest.mark.parametrize("limit", [1, 3])
def test_limit_bounds_how_many_run_and_how_far_is_read(limit):
    read, running, most = [], set(), []

    def source():
        for n in itertools.count():
            read.append(n)
            yield n

    def work(n):
        running.add(n)
        most.append(len(running))
        yield_now()
        running.remove(n)
        return n

    with Group(limit) as group:
        results = group.map(work, source())
        for n in range(20):
            assert next(results) == n
            sleep(0)
            assert len(read) <= n + 2 * limit + 1
    assert max(most) == limit


def test_slow_head_does_not_keep_the_others_from_working():
    gate = deferred()

    def work(n):
        if n == 0:
            gate.wait()
        elif n == 3:
            gate.callback(None)
        return n

    with Group(2) as group:
        assert list(group.map(work, range(8))) == list(range(8))


def test_iterable_may_wait():
    def items():
        for n in range(5):
            sleep(0.0005)
            put(n)

    with Group(1) as group:
        assert list(group.map(lambda n: n * n, generate(items))) == [0, 1, 4, 9, 16]


def test_iterator_dropped_half_way_cancels_what_nobody_took():
    ended = []

    def work(n):
        try:
            if n:
                sleep(FOREVER)
            return n
        finally:
            ended.append(n)

    with Group(2) as group:
        other = group.spawn(lambda: sleep(0.002) or "other")
        for result in group.map(work, itertools.count()):
            assert result == 0
            yield_now()
            break
    assert other.result() == "other" and not group.cancelled and 0 in ended


def test_iterator_that_nobody_began_cancels_nothing():
    ended = []
    with Group() as group:
        group.map(ended.append, range(5))
    assert ended == list(range(5))


def test_failure_ends_the_block_and_comes_out_once():
    with pytest.raises(ExceptionGroup) as caught:
        with Group(2) as group:
            for _ in group.map(lambda n: 6 // n, [3, 2, 1, 0, 1, 2, 3]):
                sleep(0)
    assert [type(one) for one in caught.value.exceptions] == [ZeroDivisionError]


def test_failure_behind_the_head_ends_the_waiting_for_the_head():
    reached = []
    with pytest.raises(ExceptionGroup) as caught:
        with Group() as group:
            for _ in group.map(lambda n: sleep(FOREVER) if n else 1 / 0, [1, 1, 0]):
                reached.append(1)
            reached.append(2)
    assert [type(one) for one in caught.value.exceptions] == [ZeroDivisionError] and not reached


def test_failure_of_the_iterable_is_the_bodys():
    def source():
        yield 1
        yield 2
        yield 3
        raise OSError

    taken = []
    with pytest.raises(ExceptionGroup) as caught:
        with Group(1) as group:
            for result in group.map(lambda n: n, source()):
                taken.append(result)
    assert [type(one) for one in caught.value.exceptions] == [OSError] and taken == [1, 2]


def test_results_that_were_not_taken_in_the_block_can_be_taken_after_it():
    with Group(2) as group:
        results = group.map(lambda n: n, itertools.count())
    assert [next(results)] == [0]
    with pytest.raises(RuntimeError, match="has ended"):
        next(results)


def test_another_one_may_take_the_results():
    with Group(2) as group:
        results = group.map(lambda n: n, range(10))
        assert spawn(list, results).wait() == list(range(10))


def test_time_out_of_the_one_who_takes():
    with Group() as group:
        results = group.map(sleep, [FOREVER] * 3)
        with move_on_after(0.001):
            next(results)
        assert list(results) == []


@pytest.mark.parametrize("args, words", [
    ((3, []), "fn must be callable, got int"),
    ((int,), "at least one iterable"),
    ((int, 3), "iterables must be iterable, got int"),
])
def test_bad_argument_is_named(args, words):
    with Group() as group:
        with pytest.raises(TypeError, match=words):
            group.map(*args)
