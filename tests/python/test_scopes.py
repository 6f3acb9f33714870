# SPDX-License-Identifier: MIT
"""timeout, move_on_after, shield: cancellation of blocks."""
import concurrent.futures
import math
import time

import pytest

import microthread
from microthread import Cancelled, current, move_on_after, shield, sleep, spawn, timeout, yield_now
from support import check_script

FOREVER = 1000.0
SOON = 0.005


def test_block_whose_time_is_up_ends_in_timeout_error():
    with pytest.raises(TimeoutError, match="0.005 s is up"):
        with timeout(SOON) as scope:
            sleep(FOREVER)
    assert scope.expired


def test_timeout_error_has_the_cancelled_as_its_context():
    with pytest.raises(TimeoutError) as caught:
        with timeout(SOON):
            sleep(FOREVER)
    assert isinstance(caught.value.__context__, Cancelled)


def test_block_that_is_quick_enough_is_left_alone():
    with timeout(FOREVER) as scope:
        sleep(0)
    assert not scope.expired
    sleep(0)


def test_move_on_after_ends_in_silence_and_says_so():
    done = []
    with move_on_after(SOON) as scope:
        sleep(FOREVER)
        done.append("not reached")
    assert scope.expired and not done


def test_move_on_after_that_is_quick_enough_has_not_expired():
    with move_on_after(FOREVER) as scope:
        sleep(0)
    assert not scope.expired


def test_none_is_no_limit():
    with timeout(None) as scope:
        sleep(0.001)
    assert not scope.expired


def test_timeout_of_zero_raises_at_the_first_wait():
    reached = []
    with pytest.raises(TimeoutError):
        with timeout(0):
            reached.append(1)
            sleep(0)
            reached.append(2)
    assert reached == [1]


def test_block_that_never_waits_again_is_left_alone():
    with timeout(0) as scope:
        pass
    assert scope.expired


def test_inner_block_expires_and_the_outer_goes_on():
    with timeout(FOREVER) as outer:
        with pytest.raises(TimeoutError):
            with timeout(SOON) as inner:
                sleep(FOREVER)
        sleep(0)
    assert inner.expired and not outer.expired


def test_outer_time_leaves_through_the_inner_block():
    left = []
    with pytest.raises(TimeoutError):
        with timeout(SOON) as outer:
            try:
                with timeout(FOREVER) as inner:
                    sleep(FOREVER)
            except BaseException as exception:
                left.append(type(exception))
                raise
    assert left == [Cancelled] and outer.expired and not inner.expired


def test_inner_silence_does_not_swallow_the_outer_time():
    after = []
    with pytest.raises(TimeoutError):
        with timeout(SOON):
            with move_on_after(FOREVER):
                sleep(FOREVER)
            after.append(1)
    assert after == []


def test_swallowed_cancellation_comes_again_at_each_wait():
    swallowed = 0
    with pytest.raises(TimeoutError):
        with timeout(SOON):
            while True:
                try:
                    sleep(FOREVER)
                except Cancelled:
                    swallowed += 1
                    if swallowed == 3:
                        raise
    assert swallowed == 3


def test_clean_up_may_wait():
    cleaned = []
    with pytest.raises(TimeoutError):
        with timeout(SOON):
            try:
                sleep(FOREVER)
            finally:
                sleep(0.002)
                cleaned.append(1)
    assert cleaned == [1]


def test_clean_up_can_be_bounded_in_its_turn():
    steps = []
    with pytest.raises(TimeoutError):
        with timeout(SOON):
            try:
                sleep(FOREVER)
            finally:
                with move_on_after(SOON) as scope:
                    sleep(FOREVER)
                steps.append(scope.expired)
                sleep(0.001)
    assert steps == [True]


def test_shield_keeps_the_time_out_until_its_end():
    steps = []
    with pytest.raises(TimeoutError):
        with timeout(SOON):
            with shield():
                sleep(4 * SOON)
                steps.append("shielded")
            sleep(FOREVER)
            steps.append("not reached")
    assert steps == ["shielded"]


def test_shield_keeps_cancel_until_its_end():
    steps = []

    def work():
        with shield():
            sleep(SOON)
            steps.append("shielded")
        sleep(FOREVER)

    thread = spawn(work)
    sleep(0)
    assert thread.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        thread.wait()
    assert steps == ["shielded"]


def test_timeout_inside_a_shield_works():
    with shield():
        with pytest.raises(TimeoutError):
            with timeout(SOON):
                sleep(FOREVER)


def test_cancel_from_outside_passes_a_block_that_has_not_expired():
    def work():
        with move_on_after(FOREVER):
            sleep(FOREVER)
        return "swallowed"

    thread = spawn(work)
    sleep(0)
    thread.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        thread.wait()


def test_cancel_from_outside_wins_over_an_expired_block():
    def work():
        with move_on_after(0):
            sleep(FOREVER)
        sleep(FOREVER)

    thread = spawn(work)
    thread.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        thread.wait()


def test_exceptions_of_the_block_pass():
    with pytest.raises(KeyError):
        with timeout(FOREVER):
            raise KeyError
    with pytest.raises(KeyError):
        with move_on_after(0):
            raise KeyError


def test_timed_out_take_has_taken_nothing():
    pipe = microthread.micro_pipe()
    with move_on_after(SOON):
        pipe.take()
    pipe.put(1)
    assert len(pipe) == 1


def test_item_that_was_handed_over_is_returned_though_the_time_is_up():
    handed = False
    while not handed:  # on a busy machine the time is up before
        pipe = microthread.micro_pipe()
        got = []
        with move_on_after(SOON) as scope:
            thread = spawn(hand_over_late, pipe, current())
            got.append(pipe.take())
            sleep(FOREVER)
        handed = thread.wait()
    assert got == ["item"] and scope.expired


def hand_over_late(pipe, reader):
    """Whether the reader was there for the item: it is ready then, but does not run before its time is up."""
    while reader.state == "ready":
        yield_now()
    pipe.put("item")
    handed = len(pipe) == 0
    end = time.monotonic() + 2 * SOON
    while time.monotonic() < end:
        pass
    return handed


def test_scope_left_in_another_micro_thread_is_an_error():
    scope = timeout(FOREVER)
    scope.__enter__()
    thread = spawn(scope.__exit__, None, None, None)
    with pytest.raises(RuntimeError, match="not entered by this micro-thread"):
        thread.wait()
    assert scope.__exit__(None, None, None) is False


def test_scope_entered_twice_is_an_error():
    with timeout(FOREVER) as scope:
        with pytest.raises(RuntimeError, match="in use"):
            scope.__enter__()


def test_scope_can_be_used_again_after_its_end():
    scope = move_on_after(SOON)
    for _ in range(2):
        with scope:
            sleep(FOREVER)
        assert scope.expired


@pytest.mark.parametrize("before", [SOON, 4 * SOON, FOREVER])
def test_block_has_its_own_time_whatever_an_earlier_one_had(before):
    with move_on_after(before):
        pass
    for span in (4 * SOON, SOON, 2 * SOON):
        begin = time.monotonic()
        with move_on_after(span) as scope:
            sleep(FOREVER)
        assert scope.expired and time.monotonic() - begin >= span


def test_outer_block_ends_after_inner_ones_that_had_less_time():
    for span in (40 * SOON, 10, 60):  # on a busy machine the first may be too little for three
        begin, log = time.monotonic(), []
        with move_on_after(span) as outer:
            for _ in range(3):
                with move_on_after(SOON) as inner:
                    sleep(FOREVER)
                log.append(inner.expired and not outer.expired)
            sleep(FOREVER)
        assert outer.expired and time.monotonic() - begin >= span
        if log == [True] * 3:
            return
    raise AssertionError(log)


def test_blocks_left_in_another_order_keep_their_times():
    def hold(seconds):
        with move_on_after(seconds) as scope:
            yield scope

    first, second = hold(FOREVER), hold(SOON)
    outer, inner = next(first), next(second)
    first.close()
    with pytest.raises(Cancelled):
        sleep(FOREVER)
    second.close()
    sleep(0)
    assert inner.expired and not outer.expired and microthread.stats()["timers"] == 0


def test_deadlock_after_a_block_of_long_time_is_seen_at_once():
    check_script("""
        import microthread
        with microthread.timeout(1000):
            microthread.sleep(0.001)
        try:
            microthread.deferred().wait()
        except microthread.DeadlockError:
            print("ok")
    """)


def test_callback_of_one_that_ended_inside_a_block_may_wait_and_have_its_own():
    log = []

    def work():
        scope = move_on_after(0)
        scope.__enter__()

    def tell(thread):
        sleep(SOON)
        timeout(FOREVER).__enter__()
        log.append(thread.result())

    thread = spawn(work)
    thread.add_done_callback(tell)
    while not log:
        sleep(SOON)
    sleep(0)
    assert log == [None] and microthread.stats()["timers"] == 0


def test_micro_thread_that_ends_inside_a_block_takes_the_timer_along():
    def work():
        timeout(SOON).__enter__()

    spawn(work).wait()
    assert microthread.stats()["timers"] == 0


@pytest.mark.parametrize("make", [timeout, move_on_after])
@pytest.mark.parametrize("seconds", [-1, -0.5, math.nan])
def test_bad_seconds_are_a_value_error(make, seconds):
    with pytest.raises(ValueError, match="seconds must be >= 0"):
        make(seconds)


@pytest.mark.parametrize("make", [timeout, move_on_after])
def test_wrong_arguments_are_a_type_error(make):
    with pytest.raises(TypeError, match="seconds"):
        make("1")
    with pytest.raises(TypeError):
        make()
    with pytest.raises(TypeError):
        make(1, 2)
    with pytest.raises(TypeError):
        shield(1)
    assert make(seconds=1).expired is False


def test_blocks_leave_nothing_behind():
    import gc
    import sys

    for _ in range(200):
        with move_on_after(FOREVER):
            pass
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(50_000):
        with timeout(FOREVER):
            pass
    gc.collect()
    assert sys.getallocatedblocks() - before < 200
    assert microthread.stats()["timers"] == 0
