# SPDX-License-Identifier: MIT
"""What is built on interpreters and channels: shared locks, and groups that are spread."""
from support import HERE, check_script

START = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import microthread
from microthread import Group, interpreters, sleep, spawn, yield_now
from microthread.interpreters import *
import interpreter_functions as functions
"""


def check(body):
    check_script(START + body + "\nprint('ok')\n", timeout=60)


def test_lock_excludes_micro_threads_of_two_interpreters():
    check("""
def add(lock, memory, times):
    for _ in range(times):
        with lock:
            value = memory.load(0)
            yield_now()
            memory.store(0, value + 1)
lock, memory = Lock(), SharedBuffer(8)
one = create()
others = [one.spawn(add, lock, memory, 200) for _ in range(2)]
add(lock, memory, 200)
microthread.wait_all(others)
assert memory.load(0) == 600 and not lock.locked()
""")


def test_lock_here_is_that_of_threading():
    check("""
lock = Lock()
assert lock.acquire() and lock.locked()
assert not lock.acquire(False) and not lock.acquire(timeout=0.001)
waiter = spawn(lock.acquire)
yield_now()
lock.release()
assert waiter.wait() and lock.locked()
lock.release()
for wrong, error in ((lock.release, RuntimeError), (lambda: lock.acquire(False, 1), ValueError),
                     (lambda: Semaphore(-1), ValueError), (lambda: Semaphore("1"), TypeError),
                     (lambda: Semaphore().release(0), ValueError), (lambda: Condition(3), TypeError),
                     (Condition().wait, RuntimeError), (Condition().notify, RuntimeError)):
    try:
        wrong()
    except error:
        pass
    else:
        raise AssertionError(wrong)
with lock:
    waiter = spawn(lock.acquire)
    yield_now()
    waiter.cancel()
    waiter._join()
assert not lock.locked()
""")


def test_semaphore_counts_over_interpreters():
    check("""
def hold(semaphore, report, leave):
    with semaphore:
        report.send(1)
        leave.recv()
        report.send(-1)
semaphore = Semaphore(2)
receiver, report = create_channel()
leave_out, leave = create_channel()
some = [create() for _ in range(2)]
members = [i.spawn(hold, semaphore, report, leave_out) for i in some for _ in range(3)]
assert receiver.recv() == receiver.recv() == 1
try:
    receiver.recv(timeout=0.02)
except TimeoutError:
    pass
else:
    raise AssertionError  # a third is in
for _ in members:
    leave.send(None)
microthread.wait_all(members)
now = 2
for _ in range(10):
    now += receiver.recv()
    assert 0 <= now <= 2, now
assert now == 0
""")


def test_event_and_condition_wake_another_interpreter():
    check("""
def wait_for(event, condition, memory):
    assert event.wait(30)
    with condition:
        assert condition.wait_for(lambda: memory.load(0) == 7, 30)
    return "woken"
event, condition, memory = Event(), Condition(), SharedBuffer(8)
one = create()
handle = one.spawn(wait_for, event, condition, memory)
sleep(0.02)
assert not handle.done() and not event.is_set() and not event.wait(0.001)
event.set()
sleep(0.02)
with condition:
    memory.store(0, 7)
    condition.notify()
assert handle.wait() == "woken" and event.wait()
event.clear()
assert not event.is_set()
with condition:
    assert not condition.wait(0.001)
    condition.notify_all()
""")


def test_spread_group_runs_its_members_elsewhere_and_keeps_the_interpreters():
    check("""
def where(memory, n):
    from microthread.interpreters import get_current
    memory.add(0, 1)
    while memory.load(0) < 2:  # or it may have answered before the next member is given away
        sleep(0.001)
    return get_current().id
for _ in range(2):
    memory = SharedBuffer(8)
    with Group(interpreters=2) as group:
        found = set(group.map(where, [memory] * 10, range(10)))
    assert found == {1, 2}, found
with Group(1, interpreters=1) as group:
    assert group.limit == 1 and isinstance(group, Group)
    assert list(group.map(functions.double, range(3))) == [0, 2, 4]
assert len(list_all()) == 3
list_all()[1].close()
with Group(interpreters=2) as group:
    group.spawn(functions.double, 1)
for wrong, error in ((0, ValueError), ("2", TypeError)):
    try:
        Group(interpreters=wrong)
    except error as caught:
        assert "interp" in str(caught)
    else:
        raise AssertionError
""")


def test_spread_group_raises_the_rebuilt_failure_and_cancels_the_others():
    check("""
receiver, sender = create_channel()
try:
    with Group(interpreters=2) as group:
        group.spawn(functions.stay, sender)
        assert receiver.recv() == "in"
        group.spawn(functions.raise_odd)
except ExceptionGroup as failed:
    (error,) = failed.exceptions
    assert type(error) is functions.Odd and error.number == 3
    assert "in raise_odd" in error.__notes__[0]
assert receiver.recv() == "left"
try:
    with Group(interpreters=1) as group:
        group.spawn(functions.raise_local)
except ExceptionGroup as failed:
    assert isinstance(failed.exceptions[0], RunFailed)
""")


def test_several_whose_last_hope_goes_are_told_and_see_no_deadlock():
    check("""
def start(channels):
    def close_all():
        for sender in channels:
            sender.close()
    microthread.spawn(close_all)
one = create()
inside, outside = create_channel()
one.call(start, inside)
inside.close()
for _ in range(500):
    receiver, sender = create_channel()
    outside.send(sender)
    sender.close()
    for thread in [spawn(next, receiver, "closed") for _ in range(3)]:
        assert thread.wait() == "closed"
""")


def test_handlers_that_raise_while_main_receives_lose_no_message():
    check("""
import itertools, signal
COUNT = 2000
def send_all(sender, count):
    with sender:
        for n in range(count):
            sender.send(n)
            if n % 3 == 0:
                microthread.sleep(0.0002)
class Interrupted(Exception):
    pass
def handler(number, frame):
    if frame.f_code is pump.__code__:
        raise Interrupted
def pump():
    got.extend(itertools.islice(receiver, COUNT - len(got)))  # keeps what it has got when one raises
got, interrupts = [], 0
one = create()
for capacity in (None, 0, 1):
    got.clear()
    receiver, sender = create_channel(capacity)
    one.spawn(send_all, sender, COUNT)
    sender.close()
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    while len(got) < COUNT:
        try:
            pump()
        except Interrupted:
            interrupts += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert got == list(range(COUNT)), capacity
assert interrupts > 3, interrupts
""")


def test_spread_group_gives_each_member_to_the_least_loaded_interpreter():
    check("""
def stay(started, go):
    from microthread.interpreters import get_current
    started.send(get_current().id)
    go.recv()
started, started_in = create_channel()
gates = [create_channel() for _ in range(5)]
def begin(n):
    group.spawn(stay, started_in, gates[n][0])
    return started.recv()
with Group(interpreters=2) as group:
    first, second = begin(0), begin(1)
    assert {first, second} == {1, 2}
    third = begin(2)
    gates[0][1].send(None), gates[1][1].send(None)
    while len(microthread.threads()) > 2:
        sleep(0.001)
    assert begin(3) != third  # where nothing runs any more
    for _, gate in gates:
        gate.send(None)
""")


def test_spread_group_has_the_limit_and_the_order_of_any_group():
    check("""
def work(memory, n):
    now = memory.add(0, 1) + 1
    memory.add(8, 1)
    while memory.load(8) < 3:  # the first ones wait for each other
        sleep(0.001)
    sleep(0.002)
    memory.add(0, -1)
    return n, now
memory = SharedBuffer(16)
with Group(3, interpreters=2) as group:
    found = list(group.map(work, [memory] * 30, range(30)))
assert [n for n, _ in found] == list(range(30)) and max(now for _, now in found) == 3, found
try:
    group.spawn(functions.double, 1)
except RuntimeError as error:
    assert "has ended" in str(error)
else:
    raise AssertionError
""")


def test_spread_group_that_is_cancelled_or_fails_here_cancels_there():
    check("""
receiver, report = create_channel()
with Group(interpreters=2) as group:
    members = [group.spawn(functions.stay, report) for _ in range(3)]
    assert [receiver.recv() for _ in range(3)] == ["in"] * 3
    group.cancel()
assert all(member.cancelled() for member in members)
assert [receiver.recv_nowait() for _ in range(3)] == ["left"] * 3
try:
    with Group(interpreters=2) as group:
        group.spawn(functions.stay, report)
        assert receiver.recv() == "in"
        raise KeyError("block")
except ExceptionGroup as failed:
    (error,) = failed.exceptions
    assert type(error) is KeyError and receiver.recv_nowait() == "left"
else:
    raise AssertionError
""")
