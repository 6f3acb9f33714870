# SPDX-License-Identifier: MIT
"""Group: cancel() from everywhere, and members that wait their turn."""
import threading
from concurrent.futures import CancelledError

import pytest

from microthread import Group, current, deferred, move_on_after, sleep, spawn, threads, yield_now

FOREVER = 1000.0


@pytest.fixture(autouse=True)
def nobody_is_left():
    yield
    assert threads() == [current()]
    with move_on_after(FOREVER):
        yield_now()  # nothing is pending in the main one


# ---- cancelling ----

def test_cancel_from_inside_is_silent():
    with Group() as group:
        member = group.spawn(sleep, FOREVER)
        yield_now()
        assert group.cancel() is True and group.cancel() is True
        sleep(FOREVER)
        raise AssertionError("not reached")
    assert member.cancelled() and group.cancelled and group.cancel() is False


def test_cancel_by_a_member_reaches_the_body_and_the_member():
    reached = []

    def work():
        group.cancel()
        reached.append(1)
        sleep(FOREVER)
        reached.append(2)

    with Group() as group:
        member = group.spawn(work)
        sleep(FOREVER)
        reached.append(3)
    assert reached == [1] and member.cancelled()


def test_cancel_from_outside():
    def own(groups):
        with Group() as group:
            groups.append(group)
            group.spawn(sleep, FOREVER)
            sleep(FOREVER)
        return "went on"

    groups = []
    owner = spawn(own, groups)
    sleep(0.001)
    groups[0].cancel()
    assert owner.wait() == "went on"


def test_cancel_while_the_block_is_being_left():
    with Group() as group:
        group.spawn(sleep, FOREVER)
        spawn(lambda: sleep(0.001) or group.cancel())


def test_cancel_from_another_os_thread():
    with Group() as group:
        group.spawn(sleep, FOREVER)
        timer = threading.Timer(0.005, group.cancel)
        timer.start()
        sleep(FOREVER)
    timer.join()


def test_spawning_from_another_os_thread_is_an_error():
    errors = []

    def elsewhere():
        try:
            group.spawn(int)
        except RuntimeError as error:
            errors.append(str(error))

    with Group() as group:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert "another OS thread" in errors[0]


def test_one_spawned_into_a_cancelled_group_never_runs():
    ran = []
    with Group() as group:
        group.cancel()
        member = group.spawn(ran.append, 1)
    assert member.cancelled() and not ran


def test_failure_while_cancelled_comes_out():
    def work():
        try:
            sleep(FOREVER)
        finally:
            raise OSError

    with pytest.raises(ExceptionGroup) as caught:
        with Group() as group:
            group.spawn(work)
            yield_now()
            group.cancel()
    assert [type(one) for one in caught.value.exceptions] == [OSError]


# ---- limit ----

@pytest.mark.parametrize("limit", [1, 3, 10**30])
def test_no_more_than_the_limit_run_at_once_in_the_order_of_spawning(limit):
    running, most, order = set(), [], []

    def work(n):
        order.append(n)
        running.add(n)
        most.append(len(running))
        sleep(0.0001 * (n % 3 + 1))
        running.remove(n)

    with Group(limit) as group:
        for n in range(20):
            group.spawn(work, n)
    assert max(most) == min(limit, 20) and order == list(range(20))


def test_one_that_waits_its_turn_is_new_until_then():
    gate = deferred()
    with Group(limit=1) as group:
        group.spawn(gate.wait)
        member = group.spawn(yield_now)
        assert member.state == "new" and not member.done() and member.id != current().id
        with pytest.raises(RuntimeError, match="started already"):
            member.start()
        with pytest.raises(TimeoutError):
            member.wait(0.0001)
        gate.callback(None)


def test_cancelling_one_that_waits_its_turn_ends_it_at_once():
    ran = []
    gate = deferred()
    with Group(limit=1) as group:
        group.spawn(gate.wait)
        members = [group.spawn(ran.append, n) for n in range(3)]
        members[1].cancel("why")
        with pytest.raises(CancelledError, match="why"):
            members[1].wait()
        assert group.spawn(int).state == "new"
        gate.callback(None)
    assert ran == [0, 2] and members[1].cancelled()


def test_throwing_into_one_that_waits_its_turn_ends_it_at_once():
    gate = deferred()
    with pytest.raises(ExceptionGroup) as caught:
        with Group(limit=1) as group:
            group.spawn(gate.wait)
            group.spawn(int).throw(KeyError())
    assert [type(one) for one in caught.value.exceptions] == [KeyError]


def test_cancelled_group_runs_nobody_who_waited_for_a_turn():
    ran = []
    with Group(limit=2) as group:
        for _ in range(2):
            group.spawn(sleep, FOREVER)
        members = [group.spawn(ran.append, n) for n in range(50)]
        yield_now()
        group.cancel()
    assert not ran and all(member.cancelled() for member in members)
