# SPDX-License-Identifier: MIT
"""Interpreters: making, running, calling, ending. Each test in a process of its own."""
import sys

import pytest

from support import HERE, check_script

START = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import microthread
from microthread import interpreters, sleep, spawn, yield_now
from microthread.interpreters import *
import interpreter_functions as functions
"""


def check(body, **options):
    check_script(START + body + "\nprint('ok')\n", **{"timeout": 60, **options})


def test_two_functions_run_at_once_and_give_their_values():
    check("""
one, two = create(), create()
assert one.call(functions.double, 21) == 42
handles = [i.spawn(functions.double, n) for n, i in enumerate([one, two, one])]
assert [h.wait() for h in handles] == [0, 2, 4]
assert one.call(functions.keyword, 1, a=2) == ((1,), {"a": 2})
assert one.call(functions.keyword, fn=1) == ((), {"fn": 1})
""")


def test_list_identity_and_names():
    check("""
main = get_main()
assert get_current() is main and list_all() == [main] and main.id == 0 and main.is_running()
one = create()
assert list_all() == [main, one] and one.id > 0 and not one.is_running()
assert list_all()[1] is one and "Interpreter" in repr(one)
receiver, sender = create_channel()
one.run("from microthread.interpreters import get_current; s.send(get_current().id)", s=sender)
assert receiver.recv() == one.id
one.close()
assert list_all() == [main] and "closed" in repr(one)
assert PARALLEL == (sys.version_info >= (3, 12))
for call in (lambda: main.call(int), lambda: main.run(""), main.close):
    try:
        call()
    except RuntimeError as error:
        assert "not made by create" in str(error)
    else:
        raise AssertionError
try:
    Interpreter(3)
except TypeError:
    pass
""")


def test_functions_of_main_go_as_code_with_what_they_read():
    check("""
import math
LIMIT = 10
def helper(n): return min(n, LIMIT)
def root(n, *, plus=1): return math.isqrt(helper(n)) + functions.double(plus)
def factorial(n): return 1 if n < 2 else n * factorial(n - 1)
one = create()
assert one.call(root, 100) == 5 and one.call(root, 4, plus=0) == 2
assert one.call(factorial, 20) == math.factorial(20)
assert one.call(lambda n: n + LIMIT, 1) == 11
LIMIT = 20
assert one.call(lambda n: n + LIMIT, 1) == 21
assert one.call(math.sqrt, 4) == 2.0 and one.call(len, "four") == 4
def outer():
    def inner(n): return -n
    return inner
assert one.call(outer(), 3) == -3
""")


def test_closure_is_refused_by_the_name_of_its_variable():
    check("""
def outer():
    secret = 1
    return lambda: secret
one = create()
for call in (one.call, one.spawn):
    try:
        call(outer())
    except CloneError as error:
        assert "'secret'" in str(error), error
    else:
        raise AssertionError
for wrong in (3, None):
    try:
        one.call(wrong)
    except TypeError as error:
        assert "fn must be callable" in str(error)
""")


def test_exceptions_come_back_as_run_failed_with_the_original_as_cause():
    check("""
one = create()
try:
    one.call(functions.raise_odd)
except RunFailed as error:
    assert error.type_name == "interpreter_functions.Odd" and error.message == "(3, 'three')"
    assert type(error.__cause__) is functions.Odd and error.__cause__.number == 3
    assert "in raise_odd" in error.formatted and "_worker.py" not in error.formatted
    assert str(error) == "interpreter_functions.Odd: (3, 'three')"
try:
    one.call(functions.raise_local)
except RunFailed as error:
    assert error.type_name.endswith("raise_local.<locals>.Local") and error.__cause__ is None
for source, name in (("1/0", "ZeroDivisionError"), ("1/", "SyntaxError"),
                     ("raise SystemExit(3)", "SystemExit"),
                     ("raise KeyboardInterrupt", "KeyboardInterrupt"), ("sleep", "NameError")):
    try:
        one.run(source)
    except RunFailed as error:
        assert error.type_name == name, error.type_name
    else:
        raise AssertionError(source)
handle = one.spawn(functions.raise_odd)
assert type(handle.exception) and not handle.cancelled()
handle._join()
assert isinstance(handle.exception(), RunFailed) and handle.exception().__cause__.number == 3
assert one.call(functions.double, 1) == 2
""")


def test_value_that_cannot_be_cloned_is_an_error():
    check("""
one = create()
import threading
try:
    one.call(functions.ask_for_a_lock)
except RunFailed as error:
    assert "CloneError" in error.type_name and isinstance(error.__cause__, CloneError), error.type_name
for call in (lambda: one.call(functions.double, threading.Lock()), lambda: one.run("", x=threading.Lock()),
             lambda: one.prepare_main(x=threading.Lock())):
    try:
        call()
    except ValueError as error:
        assert isinstance(error, CloneError)
    else:
        raise AssertionError
assert not one.is_running()
""")


def test_request_that_cannot_be_begun_fails_alone():
    check("""
one = create()
one.run('''
import microthread._worker as worker
usual = worker._take_request
def fail(*args):
    worker._take_request = usual
    raise MemoryError("no room")
worker._take_request = fail
''')
handle = one.spawn(functions.double, 1)
handle._join()
error = handle.exception()
assert (error.type_name, error.message) == ("MemoryError", "no room"), error
assert one.call(functions.double, 2) == 4
""")


def test_run_and_prepare_main_share_one_main():
    check("""
one = create()
one.prepare_main(a=[1], self=2)
one.run("b = a + [self, c]; assert __name__ == '__main__'", c=3)
receiver, sender = create_channel()
one.run("s.send(b)", s=sender)
assert receiver.recv() == [1, 2, 3]
one.run("class Here: pass\\ns.send(Here.__module__)", s=sender)
assert receiver.recv() == "__main__"
try:
    one.run(5)
except TypeError as error:
    assert "source must be a str" in str(error)
""")


def test_second_run_at_once_is_refused():
    check("""
one = create()
receiver, sender = create_channel()
first = spawn(one.run, "r.recv()", r=receiver)
yield_now()
assert one.is_running()
try:
    one.run("pass")
except RuntimeError as error:
    assert "running already" in str(error)
else:
    raise AssertionError
assert one.call(functions.double, 2) == 4
sender.send(None)
first.wait()
assert not one.is_running()
one.run("pass")
""")


def test_cancel_of_a_handle_cancels_the_micro_thread_there():
    check("""
from concurrent.futures import CancelledError
one = create()
receiver, sender = create_channel()
handle = one.spawn(functions.stay, sender)
assert "stay" in handle.name and receiver.recv() == "in"
assert not handle.done() and handle.cancel()
try:
    handle.wait()
except CancelledError:
    pass
else:
    raise AssertionError
assert handle.cancelled() and receiver.recv() == "left"
early = one.spawn(functions.sleep_and_note, 60, sender)
early.cancel()
early._join()
assert early.cancelled()
""")


def test_time_limit_and_cancelled_caller_reach_the_call():
    check("""
import queue
one = create()
receiver, sender = create_channel()
seconds, began = 0.02, False
while not began:
    try:
        with microthread.timeout(seconds):
            one.call(functions.stay, sender)
    except TimeoutError:
        pass
    else:
        raise AssertionError
    try:
        began = receiver.recv_nowait() == "in"
    except queue.Empty:
        seconds *= 2
assert receiver.recv_nowait() == "left"  # its end was waited for
caller = spawn(one.call, functions.stay, sender)
assert receiver.recv() == "in"
caller.cancel()
caller._join()
assert caller.cancelled() and receiver.recv() == "left"
handle = one.spawn(functions.sleep_and_note, 0.02, sender)
try:
    handle.wait(0.001)
except TimeoutError:
    pass
assert handle.wait() is None and receiver.recv() == "left"
""")


def test_handles_are_micro_threads():
    check("""
from concurrent.futures import InvalidStateError
one = create()
seen = []
handle = one.spawn(functions.double, 4)
handle.add_done_callback(lambda h: seen.append(h.result()))
try:
    handle.result()
except InvalidStateError:
    pass
assert microthread.select(handle) == (0, 8) and seen == [8]
assert microthread.wait_all([one.spawn(functions.double, n) for n in range(3)]) == [0, 2, 4]
""")


def test_close_lets_its_micro_threads_leave_and_refuses_what_comes_later():
    check("""
one = create()
receiver, sender = create_channel()
handle = one.spawn(functions.stay, sender)
assert receiver.recv() == "in"
one.close()
one.close()
assert receiver.recv() == "left"
for call in (handle.wait, lambda: one.call(functions.double, 1), lambda: one.run(""),
             lambda: one.spawn(functions.double, 1), lambda: one.prepare_main(a=1)):
    try:
        call()
    except InterpreterClosed as error:
        assert "closed" in str(error) and isinstance(error, RuntimeError)
    else:
        raise AssertionError
""")


def test_close_is_silent_about_handles_that_nobody_waits_for():
    check("""
receiver, sender = create_channel()
one = create()
one.spawn(functions.sleep_and_note, 60, sender)
kept = one.spawn(functions.sleep_and_note, 60, sender)
one.call(functions.double, 1)  # by then they have begun
one.close()
assert receiver.recv() == receiver.recv() == "left"
kept._join()
try:
    kept.wait()
except InterpreterClosed:
    pass
else:
    raise AssertionError
microthread.excepthook = lambda args: print(args.exc_type.__name__, end=" ", flush=True)
two = create()
failed = two.spawn(functions.raise_odd)
failed._join()
del failed
two.close()
""", expected="RunFailed ok\n")


def test_close_with_a_time_limit_goes_on_ending():
    check("""
one = create()
receiver, sender = create_channel()
one.run('''
import microthread
def stay():
    try:
        microthread.sleep(60)
    finally:
        receiver.recv()
microthread.spawn(stay)
microthread.sleep(0)
''', receiver=receiver)
try:
    one.close(0.01)
except TimeoutError:
    sender.send("leave")
    one.close()
else:
    raise AssertionError
""")


def test_end_from_inside():
    check("""
one = create()
receiver, sender = create_channel()
one.run('''
from microthread import interpreters, spawn, sleep
try:
    interpreters.get_current().close()
except RuntimeError as error:
    assert "itself" in str(error)
def leave():
    raise SystemExit
spawn(leave)
s.send(1)
''', s=sender)
assert receiver.recv() == 1
while one in list_all():
    sleep(0.005)
""")


def test_refusing_module_is_told_of_own_gil():
    check("""
one = create()
try:
    one.call(functions.refuse)
except RunFailed as error:
    assert error.type_name == "ImportError" and "create(own_gil=False)" in error.message
    assert error.__cause__.name == "fake"
""")


def test_shared_gil():
    check("""
one = create(own_gil=False)
assert one.call(functions.double, 4) == 8
receiver, sender = create_channel()
handle = one.spawn(functions.stay, sender)
assert receiver.recv() == "in"
one.close()
assert receiver.recv() == "left"
handle._join()
handle.exception()
""")


def test_channels_between_interpreters_count_every_message():
    check("""
some = [create() for _ in range(4)]
receiver, sender = create_channel(100)
back_receiver, back_sender = create_channel()
makers = [i.spawn(functions.produce, sender, 10_000 * n, 2000) for n, i in enumerate(some)]
echoes = [i.spawn(functions.echo, receiver, back_sender) for i in some]
sleep(0.005)
holders = receiver.interpreters
assert set(holders) <= set(list_all()) and get_main() in holders
sender.close(), receiver.close(), back_sender.close()
got = sorted(back_receiver)
assert got == sorted(10_000 * n + k for n in range(4) for k in range(2000)), len(got)
microthread.wait_all(makers + echoes)
for i in some:
    i.close()
""")


def test_worker_that_ends_closes_its_ends():
    check("""
one = create()
receiver, sender = create_channel()
answer_receiver, answer_sender = create_channel()
one.prepare_main(kept=sender, answers=answer_receiver)
del sender
waiter = spawn(receiver.recv)
yield_now()
assert not waiter.done()
one.close()
try:
    waiter.wait()
except EOFError:
    pass
else:
    raise AssertionError
del answer_receiver
try:
    answer_sender.send(1)
except microthread.PipeClosed:
    pass
""")


def test_waiting_for_another_interpreter_is_no_deadlock():
    check("""
one = create()
receiver, sender = create_channel()
one.prepare_main(sender=sender)
del sender
starter = one.spawn(lambda: __import__("microthread").sleep(0.7))
one.run("import microthread; microthread.spawn(lambda: (microthread.sleep(0.7), sender.send(5)))")
assert receiver.recv() == 5
starter.wait()
""")


def test_interpreters_that_wait_hide_no_deadlock():
    check("""
some = [create(), create(own_gil=False)]
receiver, sender = create_channel()
for wait in (microthread.micro_pipe().take, receiver.recv):
    try:
        wait()
    except microthread.DeadlockError as error:
        assert "nothing can ever wake anyone" in str(error)
    else:
        raise AssertionError
""")


def test_answers_that_come_while_a_deadlock_is_looked_for_are_none():
    """All channels are closed over there by then, and their messages lie in the mailbox."""
    check("""
from microthread import parallel_map, wait_all
one = create()
for n in range(30):
    wait_all([spawn(yield_now) for _ in range(5000)])  # stacks to trim when nothing is ready
    sleep(0.01)
    assert parallel_map(lambda word: one.call(len, word), ["four"] * 300, limit=100) == [4] * 300
""")


@pytest.mark.parametrize("own_gil", [True, False])
def test_busy_interpreter_does_not_stop_the_others(own_gil):
    check(f"""
def spin():
    n = 0
    while n < 10**12:
        n += 1
one, two = create(own_gil={own_gil}), create(own_gil={own_gil})
busy = one.spawn(spin)
sleep(0.01)
assert two.call(functions.double, 2) == 4 and not busy.done()
busy_too = two.spawn(spin)
for _ in range(3):
    sleep(0.01)
assert not busy.done() and not busy_too.done()
""")


def test_one_who_gives_up_waiting_for_the_end_disturbs_nobody_else():
    check("""
def careful(begun, leave):
    try:
        begun.send(None)
        microthread.sleep(1000)
    finally:
        leave.recv()
one = create()
begun, begun_in = create_channel()
leave_out, leave = create_channel()
one.spawn(careful, begun_in, leave_out)
begun.recv()
others = [spawn(one.close) for _ in range(2)]
yield_now()
try:
    one.close(0.01)
except TimeoutError:
    pass
else:
    assert False
leave.send(None)
for other in others:
    other.wait()
""")


@pytest.mark.parametrize("end", ["one.close()", "one._worker.stop()", "del one"])
def test_handle_that_nobody_waits_for_is_silent_when_it_is_closed(end):
    check(f"""
reports = []
microthread.excepthook = reports.append
one = create()
for _ in range(3):
    one.spawn(microthread.sleep, 100)
kept = one.spawn(microthread.sleep, 100)
space = Space()
space.run(print, microthread.sleep, 100)
sleep(0.01)
{end}
space.close()
if "del" not in {end!r}:
    try:
        kept.wait()
    except InterpreterClosed:
        pass
    else:
        assert False
import gc
gc.collect()
assert not reports, reports
""")


def test_keyboard_interrupt_ends_a_wait_for_another_interpreter():
    check("""
import os, signal
one = create()
receiver, sender = create_channel()
spawn(lambda: (receiver.recv(), os.kill(os.getpid(), signal.SIGINT)))
try:
    one.call(functions.stay, sender)
except KeyboardInterrupt:
    assert receiver.recv() == "left"
else:
    raise AssertionError
""")


def test_many_cycles_of_create_and_close():
    check("""
for n in range(25):
    one = create()
    assert one.call(functions.double, n) == 2 * n
    one.close()
import threading
assert list_all() == [get_main()] and len(threading.enumerate()) == 1
""", timeout=120)


def test_interpreters_of_interpreters():
    check("""
one = create()
one.run("from microthread.interpreters import *; inner = create(); inner.run('x = 1')")
assert len(list_all()) == 3
list_all()[2].call(functions.double, 1)
one.close()
assert list_all()[1].call(functions.double, 2) == 4
""")


def test_cancelled_creation_leaves_nothing():
    check("""
thread = spawn(create)
yield_now()
thread.cancel()
thread._join()
thread.cancelled() or thread.result().close()  # it was ready before
sleep(0.1)
while len(list_all()) > 1:
    sleep(0.01)
""")
