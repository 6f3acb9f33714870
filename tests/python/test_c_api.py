# SPDX-License-Identifier: MIT
"""The C API: deferreds that C code fires, and C code that waits. Each test in its own process."""
import pytest

from c_api_support import build_probe, check


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_probe(tmp_path_factory.mktemp("modules"))


# ---- firing with the GIL ----

def test_callback_wakes_who_waits_in_c_and_in_python(folder):
    check(folder, """
h = Handle()
waiters = [spawn(h.wait), spawn(h.object().wait), spawn(select, h.object())]
settle(*waiters)
value = object()
h.callback(value)
assert [w.wait() for w in waiters] == [value, value, (0, value)]
assert h.wait(0) is value
assert "fired" in raised(RuntimeError, h.callback, 1)
assert "fired" in raised(RuntimeError, h.errback, ValueError)
""")


def test_errback_takes_an_instance_a_class_or_what_is_set(folder):
    check(folder, """
for fire, kind in [(lambda h: h.errback(KeyError("k")), KeyError),
                   (lambda h: h.errback(LookupError), LookupError),
                   (lambda h: h.errback_set(OSError), OSError)]:
    h = Handle()
    fire(h)
    raised(kind, h.wait)
h = Handle()
assert "exception must be an exception, got int" in raised(TypeError, h.errback, 5)
assert "none is set" in raised(SystemError, h.errback_set, None)
h.callback("still pending until now")
assert h.wait() == "still pending until now"
""")


def test_callbacks_of_python_code_are_called_and_may_wait(folder):
    check(folder, """
def slowly(value):
    sleep(0.01)
    return value * 2
for fire in (lambda h: h.callback("posted"), lambda h: h.post("v"), lambda h: h.send("v", 0)):
    h = Handle()
    h.object().add_callbacks(slowly)
    fire(h)
    assert h.wait() == "postedposted"
h = Handle()
h.object().add_callbacks(None, lambda error: type(error))
h.send("e", 0)
assert h.wait() is KeyError
""")


def test_waiting_callback_does_not_hold_up_what_was_posted_after_it(folder):
    check(folder, """
first, second = Handle(), Handle()
first.object().add_callbacks(lambda value: second.wait() + " first")
first.post("v")
second.post("v")
assert first.wait(30) == "posted first"
""")


# ---- firing from an OS thread that knows nothing of Python ----

def test_post_from_a_foreign_thread_fires(folder):
    check(folder, """
h = Handle()
h.send("v", 0.05)
assert h.wait() == "posted"
h = Handle()
h.send("e", 0.05)
assert raised(KeyError, h.wait) == "'posted'"
h = Handle()
h.send("0", 0.05)
assert h.wait() is None
h = Handle()
h.send("n", 0.05)
assert "without an exception" in raised(SystemError, h.wait)
assert counts()[:2] == (3, 0)
""")


def test_others_run_while_one_waits_for_a_foreign_thread(folder):
    check(folder, """
h = Handle()
waiter = spawn(h.wait)
other = spawn(lambda: [yield_now() for _ in range(100)])
other.wait()
assert waiter.state == "waiting"
h.send("v", 0.01)
assert waiter.wait() == "posted"
""")


def test_many_posts_come_all_and_those_of_one_thread_in_order(folder):
    check(folder, """
handles = [Handle() for _ in range(1000)]
order = []
for n, h in enumerate(handles):
    h.object().add_callbacks(lambda value, n=n: order.append(n))
for h in handles:
    h.post("v")
for h in handles:
    h.wait()
assert order == list(range(1000))
handles = [Handle() for _ in range(200)]
for h in handles:
    h.send("v", 0.001)
assert [h.wait() for h in handles] == ["posted"] * 200
assert counts()[:2] == (1200, 0)
""")


def test_exactly_one_of_make_and_drop_is_called(folder):
    check(folder, """
h = Handle()
assert h.post("v") == 0 and h.post("v") == -1 and h.wait() == "posted"
assert h.post("v") == -1
assert counts()[:2] == (1, 2)
h = Handle()
h.callback(1)
assert h.post("v") == -1 and counts()[:2] == (1, 3)
h = Handle()
h.object().callback("from Python")   # C code cannot know
assert h.post("v") == 0
until(lambda: counts()[1] == 4)
assert h.wait() == "from Python" and counts()[0] == 1
""")


def test_post_reaches_waiters_when_the_thread_that_made_it_has_ended(folder):
    check(folder, """
import threading
made = []
def work():
    made.append(Handle())
    yield_now()
thread = threading.Thread(target=work)
thread.start()
thread.join()
(h,) = made
h.send("v", 0.05)
assert h.wait() == "posted"
""")


def test_waiters_in_several_os_threads_are_woken(folder):
    check(folder, """
import threading
h, values = Handle(), []
threads = [threading.Thread(target=lambda: values.append(h.wait())) for _ in range(3)]
for thread in threads:
    thread.start()
h.send("v", 0.1)
assert h.wait() == "posted"
for thread in threads:
    thread.join()
assert values == ["posted"] * 3
""")


def test_what_is_posted_inside_run_fires_after_it(folder):
    check(folder, """
h = Handle()
run(h.post, "v")
assert h.wait(30) == "posted"
""")


# ---- time-outs and cancellation ----

def test_timeout_changes_nothing(folder):
    check(folder, """
h = Handle()
raised(TimeoutError, h.wait, 0)
raised(TimeoutError, h.wait, 0.01)
for wrong in (-1, float("nan")):
    assert "timeout must be >= 0" in raised(ValueError, h.wait, wrong)
h.send("v", 0.01)
assert h.wait(30) == "posted"
with move_on_after(0.01) as block:
    Handle().wait()
assert block.expired
""")


def test_cancelled_waiter_leaves_it_pending(folder):
    check(folder, """
h = Handle()
waiter = spawn(h.wait)
settle(waiter)
waiter.cancel()
from concurrent.futures import CancelledError
raised(CancelledError, waiter.wait)
h.send("v", 0)
assert h.wait() == "posted"
""")


def test_cancelled_deferred_ignores_what_comes(folder):
    check(folder, """
from concurrent.futures import CancelledError
for fire in (lambda h: h.callback(1), lambda h: h.post("v"), lambda h: h.send("v", 0)):
    h = Handle()
    h.object().cancel()
    fire(h)
    raised(CancelledError, h.wait)
until(lambda: counts()[1] == 2)
assert counts()[0] == 0
""")


# ---- references ----

def test_last_reference_of_an_unfired_one_tells_who_waits(folder):
    check(folder, """
for give_up in (lambda h: h.unref(), lambda h: (h.send("u", 0.05), h.unref())):
    h = Handle()
    waiter = spawn(h.object().wait)
    settle(waiter)
    give_up(h)
    assert "given up" in raised(RuntimeError, waiter.wait)
del h
Handle().unref()     # nobody waits: nothing to tell
""")


def test_what_was_posted_comes_before_the_end_of_the_last_reference(folder):
    check(folder, """
h = Handle()
waiter = spawn(h.object().wait)
settle(waiter)
h.post("v")
h.unref()
assert waiter.wait() == "posted"
h = Handle()
d = h.object()
d.add_callbacks(lambda value: (sleep(0.01), value)[1])
h.send("v", 0)
h.unref()
assert d.wait() == "posted"
""")


def test_handles_and_their_objects_are_freed(folder):
    check(folder, """
import gc, weakref
class Value: pass
def cycle(fire):
    h, value = Handle(), Value()
    seen.append(weakref.ref(value))
    h.object().add_callbacks(lambda _, value=value: None)
    fire(h)
seen = []
cycle(lambda h: h.callback(1))
cycle(lambda h: (h.send("v", 0), h.wait()))
cycle(lambda h: h.post("v"))
cycle(lambda h: None)
until(lambda: gc.collect() >= 0 and not any(one() for one in seen))
assert len(seen) == 4
""")


# ---- deadlock, the end, a fork ----

def test_pending_one_may_still_wake_somebody(folder):
    check(folder, """
h = Handle()
h.send("v", 1.5)    # longer than the main micro-thread looks for somebody who could wake it
pipe = micro_pipe()
h.object().add_callbacks(pipe.put)
assert pipe.take() == "posted"
raised(DeadlockError, pipe.take)    # it has fired
del h
other = Handle()
raised(TimeoutError, pipe.take, 0.01)
del other
raised(DeadlockError, pipe.take)
""")


def test_fork_leaves_those_behind_who_would_fire(folder):
    check(folder, """
import os
h = Handle()
pid = os.fork()
if not pid:
    try:
        deferred().wait()
    except DeadlockError:
        h.callback("in the child")
        os._exit(h.wait() != "in the child")
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
h.send("v", 0)
assert h.wait() == "posted"
""")


def test_clean_up_at_exit_may_wait_for_a_foreign_thread(folder):
    check(folder, """
def work():
    try:
        sleep(1000)
    finally:
        h = Handle()
        h.send("v", 0.1)
        print(h.wait(), flush=True)
        h = Handle()
        h.object().add_callbacks(lambda value: value * 2)
        h.send("v", 0.1)
        print(h.wait(), flush=True)
settle(spawn(work))
""", "ok\nposted\npostedposted\n")


def test_process_ends_while_foreign_threads_hold_some(folder):
    check(folder, """
for n in range(20):
    h = Handle()
    h.send("vu"[n % 2], n * 0.002)
    h.object().add_callbacks(str)
left = Handle()
left.send("v", 30)
spawn(left.wait)
""")


# ---- waiting for other things ----

def test_wait_fd(folder):
    check(folder, """
import os, socket
READABLE, WRITABLE = 1, 2
a, b = socket.socketpair()
assert wait_fd(a.fileno(), WRITABLE) == WRITABLE
assert wait_fd(a.fileno(), WRITABLE, 0) == WRITABLE
assert wait_fd(a.fileno(), READABLE | WRITABLE) == WRITABLE
raised(TimeoutError, wait_fd, a.fileno(), READABLE, 0)
raised(TimeoutError, wait_fd, a.fileno(), READABLE, 0.01)
waiter = spawn(wait_fd, a.fileno(), READABLE)
settle(waiter)
assert "read fd" in waiter.waiting_for
b.send(b"x")
assert waiter.wait() == READABLE
assert wait_fd(a.fileno(), READABLE | WRITABLE, 0) == READABLE | WRITABLE
for args, text in [((-1, READABLE), "fd must be >= 0, got -1"),
                   ((0, 0), "events must be MT_READABLE, MT_WRITABLE or both, got 0"),
                   ((0, 4), "got 4"), ((0, 1, -2), "timeout must be >= 0, got -2.0")]:
    assert text in raised(ValueError, wait_fd, *args)
number = os.dup(0)
os.close(number)
for timeout in (0, 5):
    assert "Bad file descriptor" in raised(OSError, wait_fd, number, READABLE, timeout)
""")


def test_sleep(folder):
    check(folder, """
import capi_probe
from time import monotonic
order = []
def work(name, seconds):
    begun = monotonic()
    capi_probe.sleep(seconds)
    order.append(name)
    return monotonic() - begun
later, sooner, first = spawn(work, "later", 600), spawn(work, "sooner", 0.02), spawn(work, "first", 0)
assert sooner.wait() >= 0.02 and first.wait() >= 0
assert sorted(order) == ["first", "sooner"] and later.state == "waiting"
later.cancel()
assert "seconds must be >= 0, got -1.0" in raised(ValueError, capi_probe.sleep, -1)
waiter = spawn(capi_probe.sleep, float("inf"))
settle(waiter)
waiter.cancel()
""")


def test_run_blocking_lets_others_run(folder):
    check(folder, """
import capi_probe, os
pipes = [os.pipe() for _ in range(20)]
readers = [spawn(read_blocking, pipe[0]) for pipe in pipes]
settle(*readers)
assert readers[0].waiting_for == "run a C function", readers[0].waiting_for
for reader, pipe in reversed(list(zip(readers, pipes))):    # they block side by side
    os.write(pipe[1], b"x")
    assert reader.wait() == ord("x")
assert capi_probe.run_blocking(0) == 42.0 and counts()[2] == 1
assert "function must not be NULL" in raised(ValueError, capi_probe.run_blocking, 0, True)
""")


def test_run_blocking_that_has_begun_ends_and_one_that_has_not_never_runs(folder):
    check(folder, """
import capi_probe, os
from concurrent.futures import CancelledError
source, sink = os.pipe()
is_begun, begin = os.pipe()
values = []
def work():
    values.append(read_blocking(source, begin))
    microthread.sleep(0)
    values.append("not cancelled")
thread = spawn(work)
wait_readable(is_begun)
thread.cancel()
yield_now()
assert not thread.done()
os.write(sink, b"*")
raised(CancelledError, thread.wait)
assert values == [ord("*")]
def late():
    try:
        microthread.sleep(1000)
    except Cancelled:
        pass
    capi_probe.run_blocking(0)
thread = spawn(late)
settle(thread)
thread.cancel()
raised(CancelledError, thread.wait)
assert counts()[2] == 0
""")


def test_run_blocking_without_memory_is_an_error(folder):
    check(folder, """
import capi_probe
from microthread import _core
assert capi_probe.run_blocking(0) == 42.0
for nth in range(1, 5):
    _core._fail_allocation(nth)
    try:
        h = Handle()
    except MemoryError:
        continue
    finally:
        _core._fail_allocation(0)
    h.post("v")
    assert h.wait() == "posted"
""")
