# SPDX-License-Identifier: MIT
"""No micro-thread outlives its Group: by whichever path its block is left, or is not."""
import concurrent.futures
import gc
import random

import pytest

import microthread as mt
from microthread import (Cancelled, Group, current, deferred, move_on_after, shield, sleep, spawn,
                         threads, timeout, yield_now)

FOREVER = 1000.0
LIMIT = 60  # seconds for anything to come about


@pytest.fixture(autouse=True)
def nobody_is_left():
    yield
    assert threads() == [current()]
    yield_now()


class Slow:
    """Members that take their time to clean up, or wait for a deferred in it; how many are inside."""

    def __init__(self, gate=None):
        self.inside = self.ended = 0
        self.gate = gate

    def __call__(self):
        self.inside += 1
        try:
            sleep(FOREVER)
        finally:
            if self.gate is not None:
                self.gate.wait()
            else:
                sleep(0.001)
            self.inside -= 1
            self.ended += 1

    def fill(self, group, count=3):
        for _ in range(count):
            group.spawn(self)


def test_return_waits_for_members():
    ended = []

    def own():
        with Group() as group:
            group.spawn(lambda: sleep(0.001) or ended.append(1))
            return "value"

    assert own() == "value" and ended


def test_break_waits_for_members():
    ended = []
    for _ in range(3):
        with Group() as group:
            group.spawn(lambda: sleep(0.001) or ended.append(1))
            break
    assert ended == [1]


def test_raise_cancels_and_waits_for_clean_up():
    work = Slow()
    with pytest.raises(ExceptionGroup):
        with Group() as group:
            work.fill(group)
            yield_now()
            raise ValueError
    assert work.ended == 3 and work.inside == 0


@pytest.mark.parametrize("is_in_body", [True, False])
def test_cancelled_owner_cancels_waits_and_is_cancelled(is_in_body):
    gate = deferred()
    work, reached = Slow(gate), []

    def own():
        with Group() as group:
            work.fill(group)
            if is_in_body:
                sleep(FOREVER)
        reached.append("not here")

    owner = spawn(own)
    sleep(0.001)
    owner.cancel("why")
    for _ in range(3):
        yield_now()
    assert work.inside == 3 and not owner.done()
    gate.callback(None)
    with pytest.raises(concurrent.futures.CancelledError, match="why"):
        owner.wait()
    assert work.ended == 3 and not reached and owner.cancelled()


def test_owner_cancelled_again_and_again_waits_all_the_same():
    gate = deferred()
    work = Slow(gate)

    def own():
        with Group() as group:
            work.fill(group)

    owner = spawn(own)
    sleep(0.0005)
    for _ in range(20):
        owner.cancel()
        yield_now()
    owner.throw(KeyError("thrown"))
    yield_now()
    assert work.inside == 3
    gate.callback(None)
    with pytest.raises(ExceptionGroup) as caught:
        owner.wait()
    assert [type(one) for one in caught.value.exceptions] == [KeyError] and work.ended == 3


def test_two_exceptions_thrown_while_the_group_ends_come_one_after_the_other():
    def own():
        try:
            with Group() as group:
                Slow().fill(group)
        except* KeyError as first:
            assert len(first.exceptions) == 1
        sleep(FOREVER)

    owner = spawn(own)
    yield_now()
    owner.throw(KeyError("first"))
    owner.throw(OSError("second"))
    with pytest.raises(OSError, match="second"):
        owner.wait()


def test_failures_of_the_clean_up_come_before_the_cancellation_of_the_owner():
    def work():
        try:
            sleep(FOREVER)
        finally:
            raise OSError

    def own():
        try:
            with Group() as group:
                group.spawn(work)
        except* OSError:
            sleep(0)  # still cancelled
            raise AssertionError("not reached")

    owner = spawn(own)
    yield_now()
    yield_now()
    owner.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        owner.wait()


def test_cancellations_that_except_star_has_grouped_are_still_cancellations():
    def wait_in_handler():
        try:
            raise ExceptionGroup("", [OSError()])
        except* OSError:
            sleep(FOREVER)  # what is raised here comes out in a BaseExceptionGroup

    def in_a_group():
        with Group() as group:
            group.spawn(group.cancel)
            wait_in_handler()
        return "went on"

    def in_a_block():
        with move_on_after(0.001):
            wait_in_handler()
        with pytest.raises(TimeoutError):
            with timeout(0.001):
                wait_in_handler()
        return "went on"

    assert spawn(in_a_group).wait() == spawn(in_a_block).wait() == "went on"
    alone = spawn(wait_in_handler)
    yield_now()
    alone.cancel()
    alone._join()
    assert alone.cancelled()


@pytest.mark.parametrize("is_in_body", [True, False])
def test_time_out_around_the_group(is_in_body):
    work = Slow()
    with pytest.raises(TimeoutError):
        with timeout(0.002):
            with Group() as group:
                work.fill(group)
                if is_in_body:
                    sleep(FOREVER)
    assert work.ended == 3


@pytest.mark.parametrize("is_in_body", [True, False])
def test_move_on_after_around_the_group(is_in_body):
    work = Slow()
    with move_on_after(0.002) as scope:
        with Group() as group:
            work.fill(group)
            if is_in_body:
                sleep(FOREVER)
    assert work.ended == 3 and scope.expired


def test_time_out_inside_the_block_is_the_bodys_own_failure():
    work = Slow()
    with pytest.raises(ExceptionGroup) as caught:
        with Group() as group:
            work.fill(group)
            with timeout(0.001):
                sleep(FOREVER)
    assert [type(one) for one in caught.value.exceptions] == [TimeoutError] and work.ended == 3


def test_time_out_of_the_block_while_a_failure_cancels_it():
    """The outer block is cancelled as well: its time-out is what comes out, with the failure inside."""
    def bad():
        try:
            sleep(FOREVER)
        finally:
            raise OSError

    with pytest.raises(ExceptionGroup):
        with timeout(0.001):
            with Group() as group:
                group.spawn(bad)
                sleep(FOREVER)


def test_shielded_owner_is_cancelled_after_its_group():
    ended = []

    def own():
        with shield():
            with Group() as group:
                group.spawn(lambda: sleep(0.001) or ended.append(1))
        yield_now()
        ended.append("not here")

    owner = spawn(own)
    yield_now()
    owner.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        owner.wait()
    assert ended == [1]


def test_group_in_the_clean_up_of_a_cancelled_one_works():
    ended = []

    def own():
        try:
            sleep(FOREVER)
        finally:
            with Group() as group:
                group.spawn(lambda: sleep(0.001) or ended.append(1))

    owner = spawn(own)
    yield_now()
    owner.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        owner.wait()
    assert ended == [1]


def test_failure_in_a_group_within_clean_up_cancels_its_body():
    """The Cancelled that is being handled is older than the group."""
    reached = []

    def own():
        try:
            sleep(FOREVER)
        finally:
            with Group() as group:
                group.spawn(lambda: 1 / 0)
                sleep(FOREVER)
                reached.append(1)

    owner = spawn(own)
    yield_now()
    owner.cancel()
    with pytest.raises(ExceptionGroup):
        owner.wait()
    assert not reached


def test_nested_groups_end_from_the_inside_out():
    order = []

    def inner():
        try:
            with Group() as group:
                for _ in range(3):
                    group.spawn(leaf)
        finally:
            order.append("inner")

    def leaf():
        try:
            sleep(FOREVER)
        finally:
            sleep(0.0005)
            order.append("leaf")

    with pytest.raises(ExceptionGroup) as caught:
        with Group() as outer:
            outer.spawn(inner)
            sleep(0.001)
            with Group() as middle:
                middle.spawn(inner)
                sleep(0.001)
                raise KeyError
    assert order == ["leaf", "leaf", "leaf", "inner"] * 2
    (failure,) = caught.value.exceptions
    assert [type(one) for one in failure.exceptions] == [KeyError]


def test_inner_failure_handled_outside_leaves_the_outer_group_alone():
    with Group() as outer:
        other = outer.spawn(lambda: sleep(0.002) or 5)
        try:
            with Group() as inner:
                inner.spawn(lambda: 1 / 0)
                sleep(FOREVER)
        except* ZeroDivisionError:
            sleep(0)
    assert other.result() == 5 and not outer.cancelled


def test_outer_cancellation_passes_through_an_inner_group():
    with Group() as outer:
        with Group() as inner:
            inner.spawn(sleep, FOREVER)
            outer.spawn(outer.cancel)
            sleep(FOREVER)
        raise AssertionError("not reached")
    assert inner.cancelled and outer.cancelled


def test_clean_up_that_spawns_is_waited_for():
    ended = []

    def work():
        try:
            sleep(FOREVER)
        finally:
            other.spawn(lambda: sleep(0.001) or ended.append("other"))
            assert group.spawn(ended.append, "not run").state == "ready"

    with Group() as other:
        with Group() as group:
            group.spawn(work)
            yield_now()
            group.cancel()
        assert not ended
    assert ended == ["other"]


def test_done_callback_that_waits_belongs_to_the_life_of_a_member():
    ended = []

    def callback(thread):
        sleep(0.001)
        ended.append(1)

    with Group() as group:
        group.spawn(int).add_done_callback(callback)
    assert ended == [1]


def test_member_that_is_its_own_groups_last_cannot_be_followed():
    errors = []

    def callback(thread):
        group.spawn(int)
        thread.add_done_callback(late)

    def late(thread):
        errors.append(1)

    with Group() as group:
        group.spawn(int).add_done_callback(callback)
    with pytest.raises(RuntimeError):
        group.spawn(int)
    assert errors == [1]


def test_generator_with_a_group_that_is_dropped():
    work = Slow()

    def generator():
        with Group() as group:
            work.fill(group)
            yield 1
            yield 2

    for _ in generator():
        yield_now()
        break
    gc.collect()
    assert work.ended == 3


def test_generator_with_a_group_that_another_one_closes():
    work = Slow()

    def generator():
        with Group() as group:
            work.fill(group)
            yield 1

    items = generator()
    assert spawn(next, items).wait() == 1
    yield_now()
    items.close()
    assert work.inside == 0


def test_generator_whose_owner_is_gone_still_ends_its_group():
    work = Slow()

    def generator():
        with Group() as group:
            work.fill(group)
            yield 1
            group.spawn(print, "not run")

    items = generator()
    owner = spawn(lambda: next(items) and sleep(0.0005))
    owner.wait()
    with timeout(LIMIT):
        while work.ended < 3:
            sleep(0.001)
    assert list(items) == []


def test_group_of_one_that_ended_without_leaving_is_cancelled():
    work = Slow()
    group = Group()
    spawn(lambda: work.fill(group.__enter__()) or sleep(0.0005)).wait()
    with timeout(LIMIT):
        while work.ended < 3:
            sleep(0.001)
    assert group.cancelled


def test_owner_whose_member_may_yet_fail_is_not_taken_for_garbage():
    seen = []

    def fail():
        sleep(0.003)
        raise OSError

    def source():
        yield 1
        deferred().wait()

    def own():
        try:
            with Group() as group:
                group.spawn(fail)
                deferred().wait()
        except* OSError:
            seen.append("group")

    def read():
        try:
            mt.parallel_map(lambda n: fail(), source())
        except OSError:
            seen.append("map")

    spawn(own)
    spawn(read)
    sleep(0.001)
    gc.collect()
    gc.collect()
    with timeout(LIMIT):
        while len(seen) < 2:
            sleep(0.001)
    assert sorted(seen) == ["group", "map"]


def test_random_cancellations_leave_nobody_behind():
    chance = random.Random(5)
    alive = set()

    def leaf(tree):
        me = current()
        alive.add(me)
        try:
            for _ in range(chance.randrange(4)):
                yield_now()
            if chance.random() < 0.1:
                raise ValueError
            if chance.random() < 0.1:
                chance.choice(tree).cancel()
            sleep(chance.random() / 1000)
        finally:
            try:
                if chance.random() < 0.3:
                    sleep(0.0001)
            finally:
                alive.discard(me)

    def branch(depth, tree):
        me = current()
        alive.add(me)
        mine = []
        try:
            with Group(chance.choice([None, 1, 2, 5])) as group:
                tree = [*tree, group]
                for _ in range(chance.randrange(1, 5)):
                    work = (branch, depth - 1, tree) if depth and chance.random() < 0.6 else (leaf, tree)
                    mine.append(group.spawn(*work))
                if chance.random() < 0.5:
                    with move_on_after(chance.random() / 1000):
                        sleep(0.0005)
                if chance.random() < 0.1:
                    raise KeyError
        except* (ValueError, KeyError):
            pass
        finally:
            assert len(group) == 0 and all(member.done() for member in mine)
            assert not alive & set(mine)
            alive.discard(me)

    for _ in range(300):
        roots = [spawn(branch, 3, []) for _ in range(3)]
        for _ in range(chance.randrange(12)):
            yield_now()
        for root in roots:
            if chance.random() < 0.3:
                root.cancel()
        for root in roots:
            root._join()
            assert root.cancelled() or root.exception() is None
    assert not alive


def test_cancelled_is_not_seen_by_the_code_after_the_block():
    for _ in range(3):
        with Group() as group:
            group.cancel()
            try:
                deferred().wait()
            except Cancelled:
                pass
        sleep(0.0001)
    with mt.timeout(FOREVER):
        sleep(0.0001)
