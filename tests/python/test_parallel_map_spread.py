# SPDX-License-Identifier: MIT
"""parallel_map(interpreters=n): what plain parallel_map() promises, in other interpreters."""
from support import HERE, check_script

START = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import microthread
from microthread import parallel_map, sleep, spawn, threads
from microthread.interpreters import *
import interpreter_functions as functions

def fails(error, call):
    try:
        call()
    except error as caught:
        return caught
    raise AssertionError(call)
"""


def check(body):
    check_script(START + body + "\nassert threads() == [microthread.current()]\nprint('ok')\n", timeout=60)


def test_results_come_in_order_from_all_interpreters():
    check("""
def here(memory, together, *args):
    from microthread.interpreters import get_current
    memory.add(0, 1)
    while memory.load(0) < together:
        sleep(0.001)  # the first one is busy until others have begun
    return (get_current().id, *args)
for limit in (None, 1, 3, 100):
    together = 1 if limit == 1 else 2
    found = parallel_map(here, [SharedBuffer(8)] * 30, [together] * 30, range(30),
                         "abcdefghijklmnopqrstuvwxyzabcdefg", limit=limit, interpreters=2)
    assert [row[1:] for row in found] == list(zip(range(30), "abcdefghijklmnopqrstuvwxyzabcd"))
    found = {row[0] for row in found}
    assert found <= {1, 2} and len(found) >= together, found
assert parallel_map(len, ["a", "bc"], interpreters=1) == [1, 2] and len(list_all()) == 3
assert parallel_map(len, [], interpreters=2) == []
assert parallel_map(functions.double, range(2000), limit=50, interpreters=2) == list(range(0, 4000, 2))
""")


def test_no_more_than_the_limit_run_at_once():
    check("""
def work(memory, n):
    now = memory.add(0, 1) + 1
    memory.add(8, 1)
    while memory.load(8) < 3:
        sleep(0.001)  # three run at once
    sleep(0.001)
    memory.add(0, -1)
    return now
memory = SharedBuffer(16)
seen = parallel_map(work, [memory] * 40, range(40), limit=3, interpreters=2)
assert max(seen) == 3, seen
read = []
def source():
    for n in range(20):
        read.append(n)
        yield n
def wait_for(n, receiver):
    return receiver.recv()
receiver, sender = create_channel()
mapping = spawn(parallel_map, wait_for, source(), [receiver] * 20, limit=4, interpreters=2)
for n in range(20):
    assert len(read) <= n + 4, read
    sender.send(None)
    while len(read) < min(n + 5, 20):
        sleep(0.001)
assert mapping.wait() == [None] * 20
""")


def test_first_failure_is_the_rebuilt_original_and_cancels_the_rest():
    check("""
def work(n, report):
    if n == 3:
        report.recv()
        raise functions.Odd(3, "three")
    report.send("in")
    functions.sleep_and_note(60, report)
receiver, sender = create_channel()
def start(count):
    for _ in range(count):
        assert receiver.recv() == "in"
    go_in.send(None)
for limit in (None, 4):
    go, go_in = create_channel()
    reports = [sender, sender, sender, go, sender]
    spawn(start, 4 if limit is None else 3)
    error = fails(functions.Odd, lambda: parallel_map(work, range(5), reports, limit=limit, interpreters=2))
    assert error.number == 3 and "in work" in error.__notes__[0], error.__notes__
    left = 0
    while receiver._count():
        assert receiver.recv() == "left"
        left += 1
    assert left == (4 if limit is None else 3), left
error = fails(RunFailed, lambda: parallel_map(lambda n: functions.raise_local(), range(3), interpreters=2))
assert error.type_name.endswith("Local") and error.__cause__ is None
assert parallel_map(functions.double, range(3), interpreters=2) == [0, 2, 4]
""")


def test_failure_of_the_first_of_many():
    check("""
for limit in (None, 10):
    for bad in (0, 500, 999):
        error = fails(ZeroDivisionError, lambda: parallel_map(lambda n, bad: 1 // (n - bad), range(1000),
                                                              [bad] * 1000, limit=limit, interpreters=2))
""")


def test_failure_ends_the_waiting_inside_the_iterable():
    check("""
def source():
    yield 0
    sleep(60)
fails(ZeroDivisionError, lambda: parallel_map(lambda n: 1 / n, source(), interpreters=1))
def broken():
    yield 60
    raise OSError("source")
fails(OSError, lambda: parallel_map(sleep, broken(), interpreters=1))
""")


def test_failure_leaves_no_cycle():
    check("""
import gc, weakref
gc.collect()
gc.disable()
for work, error in ((functions.raise_odd, functions.Odd), (functions.raise_local, RunFailed)):
    caught = fails(error, lambda: parallel_map(lambda work: work(), [work] * 3, interpreters=2))
    seen = weakref.ref(caught)
    caught.__traceback__ = None
    del caught
    assert seen() is None, gc.get_referrers(seen())
""")


def test_what_cannot_be_cloned_fails_the_call():
    check("""
import threading
def outer():
    secret = 1
    return lambda: secret
error = fails(CloneError, lambda: parallel_map(outer(), [1], interpreters=1))
assert "'secret'" in str(error)
error = fails(CloneError, lambda: parallel_map(len, ["a", threading.Lock()], interpreters=1))
assert "lock" in str(error)
error = fails(CloneError, lambda: parallel_map(lambda n: functions.ask_for_a_lock(), [1], interpreters=1))
assert "lock" in str(error)
""")


def test_cancellation_reaches_the_calls():
    check("""
from concurrent.futures import CancelledError
def stay(report):
    report.send("in")
    functions.sleep_and_note(60, report)
receiver, sender = create_channel()
mapping = spawn(parallel_map, stay, [sender] * 3, interpreters=2)
assert [receiver.recv() for _ in range(3)] == ["in"] * 3
mapping.cancel()
fails(CancelledError, mapping.wait)
assert [receiver.recv_nowait() for _ in range(3)] == ["left"] * 3
try:
    with microthread.timeout(0.2):
        parallel_map(stay, [sender] * 3, interpreters=2)
except TimeoutError:
    words = [receiver.recv_nowait() for _ in range(receiver._count())]
    assert words.count("in") == words.count("left"), words
""")


def test_interpreter_that_is_closed_fails_the_call():
    check("""
def stay(report):
    report.send(get_current().id)
    sleep(60)
def close_first():
    first = receiver.recv()
    next(one for one in list_all() if one.id == first).close()
receiver, sender = create_channel()
closer = spawn(close_first)
error = fails(InterpreterClosed, lambda: parallel_map(stay, [sender] * 4, interpreters=2))
closer.wait()
assert parallel_map(functions.double, range(4), interpreters=2) == [0, 2, 4, 6]
""")


def test_two_at_once_share_the_interpreters():
    check("""
two = [spawn(parallel_map, functions.double, range(50), interpreters=2) for _ in range(2)]
assert [one.wait() for one in two] == [list(range(0, 100, 2))] * 2
assert len(list_all()) == 3
""")


def test_bad_argument_is_named():
    check("""
for wrong, error in ((0, ValueError), (-1, ValueError), ("2", TypeError), (1.5, TypeError)):
    caught = fails(error, lambda: parallel_map(len, [], interpreters=wrong))
    assert "interpreters must be" in str(caught), caught
fails(TypeError, lambda: parallel_map(3, [], interpreters=1))
fails(TypeError, lambda: parallel_map(len, interpreters=1))
fails(ValueError, lambda: parallel_map(len, [], limit=0, interpreters=1))
assert list_all() == [get_main()]
""")
