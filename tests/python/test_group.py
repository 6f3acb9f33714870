# SPDX-License-Identifier: MIT
"""Group: spawning, leaving, failing. The ways in which a block may end are in test_group_ends.py."""
import contextvars
import gc
import sys
import weakref

import pytest

import microthread as mt
from microthread import (Cancelled, Group, MicroThreadExit, current, deferred, micro_pipe, run, select,
                         sleep, spawn, threads, wait_all, yield_now)

FOREVER = 1000.0


@pytest.fixture(autouse=True)
def nobody_is_left():
    yield
    assert threads() == [current()]
    with mt.move_on_after(FOREVER):
        yield_now()  # nothing is pending in the main one


@pytest.fixture
def reports(monkeypatch):
    seen = []
    monkeypatch.setattr(mt, "excepthook", lambda args: seen.append(args.exc_value))
    return seen


def fail(error):
    raise error


# ---- spawning and leaving ----

def test_leaving_waits_for_all():
    ended = []

    def work(n):
        if n < 2:
            members[n + 1].wait()
        else:
            sleep(0.001)
        ended.append(n)
        return n

    with Group() as group:
        members = [group.spawn(work, n) for n in range(3)]
        assert not ended and len(group) == 3
    assert ended == [2, 1, 0] and len(group) == 0
    assert [member.result() for member in members] == [0, 1, 2]


def test_empty_block_is_left_at_once():
    with Group() as group:
        pass
    assert len(group) == 0 and not group.cancelled


def test_spawn_passes_arguments_and_gives_a_micro_thread():
    with Group() as group:
        member = group.spawn(lambda *args, **kwargs: (args, kwargs), 1, 2, x=3)
        assert isinstance(member, mt.micro_thread) and member in [member] and hash(member)
        assert member.wait() == ((1, 2), {"x": 3})
    assert repr(member).startswith("<micro_thread micro_thread-")


def test_member_runs_in_a_copy_of_the_callers_context():
    number = contextvars.ContextVar("number")
    number.set(1)
    with Group(1) as group:
        first = group.spawn(number.get)
        second = group.spawn(number.get)
        number.set(2)
        third = group.spawn(number.get)
    assert [member.result() for member in (first, second, third)] == [1, 1, 2]


def test_members_may_be_waited_for_in_every_way():
    with Group(1) as group:
        members = [group.spawn(lambda n: n, n) for n in range(6)]
        assert members[5].wait() == 5
        assert wait_all(members) == list(range(6))
        late = group.spawn(yield_now), group.spawn(int)
        assert select(late[1]) == (0, 0)
        assert list(mt.as_completed([group.spawn(yield_now), group.spawn(int)]))


def test_members_may_spawn_into_their_group_while_it_closes():
    seen = []

    def work(depth):
        yield_now()
        seen.append(depth)
        if depth:
            group.spawn(work, depth - 1)

    with Group() as group:
        group.spawn(work, 5)
    assert seen == [5, 4, 3, 2, 1, 0]


def test_others_may_spawn_into_a_group():
    with Group() as group:
        gate = group.spawn(sleep, 0.001)
        other = spawn(lambda: group.spawn(lambda: "done"))
        assert other.wait().wait() == "done"
    assert gate.done()


def test_group_that_ended_takes_nobody():
    with Group() as group:
        group.spawn(int)
    with pytest.raises(RuntimeError, match="has ended"):
        group.spawn(int)


def test_group_that_was_not_entered_takes_nobody():
    with pytest.raises(RuntimeError, match="not been entered"):
        Group().spawn(int)
    with pytest.raises(RuntimeError, match="not been entered"):
        Group().cancel()


def test_entering_twice_is_an_error():
    with Group() as group:
        with pytest.raises(RuntimeError, match="entered before"):
            group.__enter__()
    with pytest.raises(RuntimeError, match="entered before"):
        with group:
            pass


def test_leaving_what_was_not_entered_is_an_error():
    with pytest.raises(RuntimeError, match="not in its block"):
        Group().__exit__(None, None, None)


def test_bad_function_is_named():
    with Group() as group:
        with pytest.raises(TypeError, match="fn must be callable, got int"):
            group.spawn(3)
        with pytest.raises(TypeError, match="needs a function"):
            group.spawn()
    assert not group.cancelled


@pytest.mark.parametrize("limit, error, words", [
    (0, ValueError, "limit must be >= 1 or None, got 0"),
    (-5, ValueError, "limit must be >= 1 or None, got -5"),
    (-10**30, ValueError, "limit must be >= 1"),
    (1.5, TypeError, "limit must be an int or None, got float"),
    ("3", TypeError, "limit must be an int or None, got str"),
])
def test_bad_limit_is_named(limit, error, words):
    with pytest.raises(error, match=words):
        Group(limit)


def test_repr_and_length_say_who_is_inside():
    group = Group(2)
    assert "not entered" in repr(group) and group.limit == 2 and Group().limit is None
    with group as inside:
        assert inside is group and group
        for _ in range(5):
            group.spawn(yield_now)
        assert "open, 2 running, 3 waiting their turn" in repr(group) and len(group) == 5
    assert "ended, 0 running, 0 waiting" in repr(group) and len(group) == 0 and group


def test_owner_is_seen_to_wait_for_its_members():
    def own():
        with Group() as group:
            group.spawn(sleep, 0.002)
            group.spawn(sleep, 0.002)

    owner = spawn(own)
    sleep(0.001)
    assert owner.waiting_for.startswith("end of 2 members of <Group at 0x")
    owner.wait()


# ---- failures ----

def test_first_failure_cancels_the_others_and_comes_out_in_a_group(reports):
    ended = []

    def wait():
        try:
            sleep(FOREVER)
        finally:
            sleep(0.001)
            ended.append(1)

    with pytest.raises(ExceptionGroup) as caught:
        with Group() as group:
            others = [group.spawn(wait) for _ in range(3)]
            yield_now()
            bad = group.spawn(fail, KeyError("x"))
    assert [type(one) for one in caught.value.exceptions] == [KeyError]
    assert len(ended) == 3 and all(other.cancelled() for other in others)
    assert isinstance(bad.exception(), KeyError) and group.cancelled
    del caught, bad, group
    gc.collect()
    assert not reports


def test_failure_wakes_the_body_where_it_waits():
    reached = []
    with pytest.raises(ExceptionGroup):
        with Group() as group:
            group.spawn(fail, ValueError())
            try:
                sleep(FOREVER)
            except Cancelled:
                reached.append("cancelled")
                raise
            reached.append("not here")
    assert reached == ["cancelled"]


def test_failure_raises_at_each_wait_of_the_body():
    count = 0
    with pytest.raises(ExceptionGroup):
        with Group() as group:
            group.spawn(fail, ValueError())
            while count < 3:
                try:
                    sleep(FOREVER)
                except Cancelled:
                    count += 1
    yield_now()


def test_body_that_does_not_wait_runs_to_its_end():
    reached = []
    with pytest.raises(ExceptionGroup):
        with Group() as group:
            group.spawn(fail, ValueError())
            reached.append(1)
    assert reached


def test_all_failures_come_out_and_the_bodys_own_is_the_first():
    def clean_up():
        try:
            sleep(FOREVER)
        finally:
            raise OSError

    with pytest.raises(ExceptionGroup, match="failures in a Group") as caught:
        with Group() as group:
            group.spawn(clean_up)
            group.spawn(clean_up)
            yield_now()
            raise LookupError
    assert [type(one) for one in caught.value.exceptions] == [LookupError, OSError, OSError]


def test_exception_of_the_body_cancels_the_members():
    with pytest.raises(ExceptionGroup) as caught:
        with Group() as group:
            member = group.spawn(sleep, FOREVER)
            yield_now()
            raise LookupError
    assert member.cancelled() and [type(one) for one in caught.value.exceptions] == [LookupError]


def test_traceback_leads_to_the_failure():
    with pytest.raises(ExceptionGroup) as caught:
        with Group() as group:
            group.spawn(fail, ValueError())
    frames = []
    traceback = caught.value.exceptions[0].__traceback__
    while traceback:
        frames.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert frames == ["fail"] and caught.value.__context__ is None


def test_exception_that_the_body_got_by_waiting_for_the_member_comes_out_once():
    with pytest.raises(ExceptionGroup) as caught:
        with Group() as group:
            group.spawn(fail, ValueError()).wait()
    assert len(caught.value.exceptions) == 1


def test_failure_that_the_body_has_handled_is_raised_all_the_same():
    with pytest.raises(ExceptionGroup):
        with Group() as group:
            member = group.spawn(fail, ValueError())
            try:
                member.wait()
            except ValueError:
                pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, SystemExit])
def test_lone_base_exception_of_the_body_comes_out_bare(error):
    with pytest.raises(error):
        with Group() as group:
            member = group.spawn(sleep, FOREVER)
            raise error
    assert member.cancelled()


def test_base_exception_among_others_makes_a_base_exception_group():
    def leave():
        try:
            sleep(FOREVER)
        finally:
            raise GeneratorExit

    with pytest.raises(BaseExceptionGroup) as caught:
        with Group() as group:
            group.spawn(leave)
            group.spawn(fail, ValueError())
    assert type(caught.value) is BaseExceptionGroup
    assert [type(one) for one in caught.value.exceptions] == [ValueError, GeneratorExit]
    with pytest.raises(BaseExceptionGroup) as caught:
        with Group() as group:
            group.spawn(fail, GeneratorExit())
    assert [type(one) for one in caught.value.exceptions] == [GeneratorExit]


def test_member_that_ends_by_micro_thread_exit_is_no_failure():
    with Group() as group:
        group.spawn(fail, MicroThreadExit())
        other = group.spawn(lambda: yield_now() or 5)
    assert other.result() == 5 and not group.cancelled


def test_member_that_somebody_cancels_is_no_failure():
    with Group() as group:
        member = group.spawn(sleep, FOREVER)
        other = group.spawn(lambda: sleep(0.001) or 5)
        yield_now()
        member.cancel()
    assert member.cancelled() and other.result() == 5 and not group.cancelled


def test_member_that_waits_for_a_cancelled_sibling_is_no_failure():
    with pytest.raises(ExceptionGroup) as caught:
        with Group() as group:
            bad = deferred()
            group.spawn(bad.wait)
            one = group.spawn(sleep, FOREVER)
            group.spawn(one.wait)
            yield_now()
            bad.errback(ValueError())
            yield_now()
            one.wait()
    assert [type(one) for one in caught.value.exceptions] == [ValueError]


def test_failure_that_nobody_can_raise_is_reported(reports):
    def own():
        group = Group()
        group.__enter__()
        group.spawn(fail, ValueError())
        try:
            sleep(FOREVER)
        except Cancelled:
            pass
        assert not reports

    spawn(own).wait()
    assert [type(error) for error in reports] == [ValueError]


# ---- the object ----

def test_members_of_a_run_are_below_it():
    """run() cancels what was spawned below it, by whichever way."""
    groups = []

    def forget():
        group = Group()
        groups.append(group)
        group.__enter__()
        group.spawn(sleep, FOREVER)

    run(forget)
    assert len(groups[0]) == 0


def test_subclass_and_weak_reference():
    class Own(Group):
        def __init__(self, limit=None):
            self.note = limit

    with Own(3) as group:
        assert weakref.ref(group)() is group and group.note == group.limit == 3
        assert group.spawn(int).wait() == 0


def test_group_is_freed_without_the_garbage_collector():
    gc.disable()
    try:
        with Group(1) as group:
            group.spawn(int)
            group.spawn(int)
        ref = weakref.ref(group)
        del group
        assert ref() is None
        with pytest.raises(ExceptionGroup) as caught:
            with Group() as group:
                group.spawn(fail, ValueError())
        ref = weakref.ref(group)
        del group, caught
        assert ref() is None or sys.version_info < (3, 12)
    finally:
        gc.enable()


def test_members_that_ended_are_not_kept():
    class Value:
        pass

    seen = []

    def work():
        value = Value()
        seen.append(weakref.ref(value))
        return value

    with Group() as group:
        for _ in range(100):
            group.spawn(work)
        yield_now()
        yield_now()
        assert len(seen) == 100 and not any(ref() for ref in seen) and len(group) == 0


def test_pipe_between_members():
    pipe = micro_pipe(1)
    with Group() as group:
        taker = group.spawn(lambda: list(pipe))
        with pipe:
            pipe.take_from(range(10))
    assert taker.result() == list(range(10))
