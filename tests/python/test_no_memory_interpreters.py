# SPDX-License-Identifier: MIT
"""Out of memory in channels, shared objects and interpreters: each allocation of ours, then of Python's,
failing in turn. What fails has not happened, and goes well the next time."""
import importlib.util

import pytest

from support import HERE, check_script

START = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import queue
import microthread
from microthread import Group, select, sleep, spawn, yield_now
from microthread._core import _fail_allocation as fail_nth
from microthread.interpreters import *
import interpreter_functions as functions
microthread.excepthook = lambda args: None

receiver, sender = create_channel()
narrow_receiver, narrow_sender = create_channel(0)

def exchange(*values):
    for value in values:
        sender.send(value)
    got = [receiver.recv() for _ in values]
    return got

def meet(value):
    other = spawn(narrow_receiver.recv)
    try:
        yield_now()
        while not other.done():
            try:
                narrow_sender.send(value, 0.1)
                break
            except TimeoutError:
                pass  # it was the other one who had no memory, or it was late
        return other.wait()
    finally:
        other.cancel()
        other._join()

def give_up():
    try:
        narrow_sender.send(1, 0.0001)
    except TimeoutError:
        pass
    try:
        receiver.recv(0.0001)
    except TimeoutError:
        pass

def choose():
    sender.send(1)
    return select(receiver.receiving(), narrow_receiver.receiving(), narrow_sender.sending([2]), timeout=0.001)

def wait_for_word():
    word = SharedBuffer(8)
    other = spawn(word.wait, 0, 0, 3600)
    while other.state == "ready":
        yield_now()
    word.notify(0)
    other.wait()

def empty():
    # What had been sent before the failure is still there.
    while True:
        try:
            receiver.recv_nowait()
        except queue.Empty:
            return
"""

ACTIONS = [
    "create_channel()",
    "exchange(*range(100))",
    "exchange(create_channel(), [sender, receiver], SharedBuffer(8), 'x' * 100_000)",
    "meet([1, 2])",
    "give_up()",
    "choose()",
    "exchange(Lock(), Semaphore(3), Event(), Condition())",
    "wait_for_word()",
    "sender.send_buffer(bytearray(1000)), receiver.recv()",
    "receiver.interpreters, sender.interpreters, receiver.id",
    "[lock.release() for lock in [Lock()] if lock.acquire()]",
    "iter(spawn(lambda: [1, 2]).wait())",
]


@pytest.mark.parametrize("action", ACTIONS)
def test_every_allocation_of_ours_may_fail(action):
    check_script(START + f"""
failed = 0
for n in range(1, 40):
    fail_nth(n)
    try:
        {action}
    except MemoryError:
        failed += 1
    finally:
        fail_nth(0)
    yield_now()
    empty()
{action}
empty()
assert exchange([1, {{2: 3}}], "a") == [[1, {{2: 3}}], "a"] and meet("b") == "b"
print("ok")
""", timeout=60)


@pytest.mark.skipif(not importlib.util.find_spec("_testcapi"), reason="no _testcapi here")
@pytest.mark.parametrize("action", ACTIONS)
def test_every_allocation_of_pythons_may_fail(action):
    check_script(START + f"""
import _testcapi
from microthread import threads
def cycle():
    {action}
def clean():
    for thread in threads()[1:]:
        thread.cancel()
    while len(threads()) > 1:
        yield_now()
    empty()
cycle()
clean()
for n in range(1, 200):
    try:
        _testcapi.set_nomemory(n, n + 1)
        try:
            cycle()
        finally:
            _testcapi.remove_mem_hooks()
    except (MemoryError, CloneError, TimeoutError, EOFError, PipeClosed):
        pass
    clean()
cycle()
clean()
assert exchange([1, {{2: 3}}], "a") == [[1, {{2: 3}}], "a"] and meet("b") == "b"
print("ok")
""".replace("PipeClosed)", "microthread.PipeClosed)"), timeout=60)


@pytest.mark.parametrize("action", [
    "one.call(functions.double, 4)",
    "one.spawn(functions.double, 4).wait()",
    "one.run('x = 5', y=[1, 2])",
    "one.prepare_main(a=[1], b={})",
    "one.call(functions.keyword, create_channel(), SharedBuffer(8))",
    "create().close()",
    "Worker(functions.double, 5).join()",
])
def test_interpreters_survive_it(action):
    check_script(START + f"""
one = create()
for n in range(1, 25):
    fail_nth(n)
    try:
        {action}
    except (MemoryError, RunFailed, InterpreterClosed):
        pass
    except RuntimeError as error:
        assert "could not be created" in str(error), error
    finally:
        fail_nth(0)
    if one._worker.is_stopping:
        one.close()
        one = create()
assert one.call(functions.double, 4) == 8
one.close()
print("ok")
""", timeout=60)


def test_request_that_cannot_be_received_is_lost_alone():
    check_script(START + """
one = create()
one.run('''
import builtins
import microthread._worker as worker
def next(requests):
    del worker.next
    builtins.next(requests)  # the message is gone, and with it the way back
    raise MemoryError
worker.next = next
''')
assert one.call(functions.double, 1) == 2  # it was waited for already
try:
    one.call(functions.double, 2)
except InterpreterClosed:
    pass
else:
    raise AssertionError("it was answered")
assert one.call(functions.double, 3) == 6
print("ok")
""")
