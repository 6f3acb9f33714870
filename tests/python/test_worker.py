# SPDX-License-Identifier: MIT
"""interpreters.Worker: messages to it and from it, its errors, its end. Each test in a process of its own."""
import sys

import pytest

from support import check_script

START = """
import microthread
from microthread import PipeClosed, deferred, sleep, spawn, timeout
from microthread.interpreters import CloneError, RunFailed, SharedBuffer, Worker, list_all

def double_all():
    for message in microthread.worker.messages():
        microthread.worker.post_message(2 * message)

def fail(text):
    microthread.worker.post_message("first")
    raise ValueError(text)

def post(*values):
    for value in values:
        microthread.worker.post_message(value)

def nap():
    microthread.worker.post_message("napping")
    microthread.sleep(100)

def raises(kind, fn, *args):
    try:
        fn(*args)
    except kind as error:
        return str(error)
    raise AssertionError(f"{kind} was not raised")
"""


def check(body, **options):
    check_script(START + body + "\nprint('ok')\n", **options)


def test_messages_go_both_ways_and_iteration_ends_with_the_worker():
    check("""
worker = Worker(double_all)
for n in (1, 2, "a"):
    worker.post_message(n)
worker.close()
assert list(worker) == [2, 4, "aa"]
worker.join()
assert list(worker) == [] and len(list_all()) == 1 and "ended" in repr(worker)
raises(ValueError, worker.post_message, 1)
""")


def test_target_gets_clones_of_its_arguments():
    check("""
assert list(Worker(post, 1, [2], {"three": 3})) == [1, [2], {"three": 3}]
raises(CloneError, Worker, post, microthread.Lock())
raises(TypeError, Worker, 3)
def outer():
    secret = 1
    return lambda: secret
assert "'secret'" in raises(CloneError, Worker, outer())
for _ in range(5000):
    if len(list_all()) == 1:
        break
    sleep(0.01)
assert len(list_all()) == 1, list_all()
""")


def test_source_runs_in_main_with_args():
    check("""
worker = Worker('''
from microthread import worker
def answer(): return args[0] + 1
worker.post_message([answer(), __name__])
''', 41)
assert list(worker) == [[42, "__main__"]]
failed = deferred()
worker = Worker("1/")
worker.on_error = failed.callback
worker.join()
assert failed.wait(60).type_name == "SyntaxError"
""")


def test_on_message_gets_what_came_before_it_was_set_in_order():
    check("""
worker = Worker(double_all)
for n in range(100):
    worker.post_message(n)
while not len(list_all()) == 2:
    sleep(0)
first = next(worker)
seen, done = [], deferred()
def handler(message):
    sleep(0)
    seen.append(message)
    if message == 198:
        done.callback(None)
worker.on_message = handler
assert worker.on_message is handler
assert "on_message" in raises(RuntimeError, next, worker)
done.wait(60)
assert first == 0 and seen == list(range(2, 200, 2))
worker.on_message = None
worker.post_message(7)
assert next(worker) == 14
raises(TypeError, setattr, worker, "on_message", 3)
raises(TypeError, setattr, worker, "on_error", 3)
worker.terminate()
worker.join()
""")


def test_handler_that_raises_is_reported_and_the_next_message_comes():
    check("""
reports, done = [], deferred()
microthread.excepthook = lambda args: reports.append(args.exc_type)
def handler(message):
    if message == 1:
        raise KeyError(message)
    done.callback(message)
worker = Worker(post, 1, 2)
worker.on_message = handler
assert done.wait(60) == 2 and reports == [KeyError], reports
""")


def test_error_waits_for_on_error():
    check("""
worker = Worker(fail, "oh")
assert list(worker) == ["first"]
worker.join()
told = deferred()
worker.on_error = told.callback
error = told.wait(60)
assert type(error) is RunFailed and error.type_name == "ValueError" and error.message == "oh"
assert "in fail" in error.formatted and "worker.py" not in error.formatted, error.formatted
raises(PipeClosed, worker.post_message, 1)
""")


def test_error_without_on_error_is_reported_once():
    check("""
reports = []
microthread.excepthook = lambda args: reports.append(args.exc_value)
worker = Worker(fail, "oh")
worker.join()
sleep(0.01)
assert not reports
del worker
import gc
gc.collect()
for _ in range(5000):
    if reports:
        break
    sleep(0.01)
assert [error.message for error in reports] == ["oh"], reports
worker = Worker("import sys; sys.exit(3)")
worker.join()
del worker
gc.collect()
sleep(0.01)
assert len(reports) == 1
""")


def test_transferred_buffer_is_detached_in_the_sender_only():
    check("""
def fill():
    for buffer, value in microthread.worker.messages():
        buffer.store(0, value)
        microthread.worker.post_message(buffer, [buffer])
        try:
            buffer.load(0)
        except ValueError:
            microthread.worker.post_message("detached")
worker = Worker(fill)
one, two = SharedBuffer(8), SharedBuffer(8)
worker.post_message((one, 5), transfer=[one, one])
raises(ValueError, one.load, 0)
raises(ValueError, lambda: worker.post_message(1, [one]))
back = next(worker)
assert back.load(0) == 5 and next(worker) == "detached"
view = memoryview(two)
raises(BufferError, lambda: worker.post_message((two, 1), [back, two]))
assert back.load(0) == 5 and two.load(0) == 0
view.release()
raises(CloneError, lambda: worker.post_message(microthread.Lock(), [two]))
assert two.load(0) == 0
assert "bytes" in raises(TypeError, lambda: worker.post_message(1, [b"x"]))
worker.close()
worker.join()
raises(ValueError, lambda: worker.post_message(1, [two]))
assert two.load(0) == 0
""")


def test_terminate_ends_one_that_waits_and_its_finally_blocks_run():
    check("""
from microthread import _posting
_posting._PATIENCE = 50  # one that the machine stops is not busy
def careful():
    try:
        nap()
    finally:
        microthread.worker.post_message("clean")
worker = Worker(careful)
failed = []
worker.on_error = failed.append
assert next(worker) == "napping"
worker.terminate()
worker.terminate()
assert next(worker) == "clean"
worker.join()
assert list(worker) == [] and not failed
raises(PipeClosed, worker.post_message, 1)
""")


@pytest.mark.parametrize("loop", ["while True: pass", "while True: sum(range(1000))",
                                  "while True:\n        try:\n            while True: pass\n"
                                  "        except Exception: pass",
                                  "while True:\n        try:\n            while True: pass\n"
                                  "        except BaseException: pass"])
def test_terminate_interrupts_a_busy_loop(loop):
    check(f"""
import time
def spin():
    microthread.worker.post_message("spinning")
    {loop}
worker = Worker(spin)
assert next(worker) == "spinning"
worker.terminate()
worker.join(60)
assert list(worker) == []
""")


def test_terminate_of_a_long_call_of_c_code_gathers_no_os_threads():
    check("""
import os
def compute():
    microthread.worker.post_message("computing")
    sum(range(30_000_000))
worker = Worker(compute)
assert next(worker) == "computing"
before = len(os.listdir("/proc/self/task"))
worker.terminate()
most = 0
while True:
    try:
        worker.join(0.02)
        break
    except TimeoutError:
        most = max(most, len(os.listdir("/proc/self/task")))
assert most <= before + 2, (before, most)
""")


def test_terminate_leaves_clean_up_that_waits_alone():
    check("""
def careful():
    try:
        nap()
    finally:
        for _ in range(20):
            microthread.sleep(0.01)
        microthread.worker.post_message("clean")
worker = Worker(careful)
next(worker)
worker.terminate()
assert list(worker) == ["clean"]
""")


def test_join_runs_out_of_time_and_can_be_repeated():
    check("""
worker = Worker(nap)
for limit in (0, 0.001):
    raises(TimeoutError, worker.join, limit)
worker.terminate()
worker.join()
worker.join(0)
""")


def test_dropped_worker_is_told_by_the_end_of_its_messages():
    check("""
worker = Worker(double_all)
del worker
import gc
for _ in range(5000):
    gc.collect()
    if len(list_all()) == 1:
        break
    sleep(0.01)
assert len(list_all()) == 1
""")


def test_inside_functions_are_refused_outside():
    check("""
assert "Worker" in raises(RuntimeError, microthread.worker.post_message, 1)
assert "Worker" in raises(RuntimeError, microthread.worker.messages)
""")


def test_process_ends_with_workers_in_any_state():
    check("""
waiting, napping, fresh = Worker(double_all), Worker(nap), Worker(post, 1)
waiting.on_message = napping.on_error = lambda message: None
next(napping)
fresh.terminate()
""")
