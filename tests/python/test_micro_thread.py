# SPDX-License-Identifier: MIT
"""spawn, the long form, current, yield_now, sleep, threads, and what a micro_thread shows."""
import time
import traceback

import pytest

import microthread as mt
from microthread import current, micro_pipe, micro_thread, sleep, spawn, threads, yield_now


def park():
    """A micro-thread that waits until it is told to go on, and what tells it."""
    gate = mt.deferred()
    thread = spawn(gate.wait)
    while thread.state != "waiting":
        yield_now()
    return thread, gate


def test_spawn_returns_before_fn_runs():
    ran = []
    thread = spawn(ran.append, 1)
    assert ran == [] and thread.state == "ready" and not thread.done()
    thread.wait()
    assert ran == [1]


def test_spawn_passes_arguments():
    thread = spawn(lambda *args, **kwargs: (args, kwargs), 1, 2, fn=3, args=4, key=5)
    assert thread.wait() == ((1, 2), {"fn": 3, "args": 4, "key": 5})


def test_spawned_ones_run_in_fifo_order():
    order = []
    for thread in [spawn(order.append, i) for i in range(100)]:
        thread.wait()
    assert order == list(range(100))


def test_yield_now_goes_to_the_back_of_the_queue():
    order = []

    def work(name):
        for _ in range(3):
            order.append(name)
            yield_now()

    for thread in [spawn(work, name) for name in "abc"]:
        thread.wait()
    assert "".join(order) == "abcabcabc"


def test_sleep_zero_goes_to_the_back_of_the_queue():
    order = []

    def work(name):
        for _ in range(3):
            order.append(name)
            sleep(0)

    for thread in [spawn(work, name) for name in "abc"]:
        thread.wait()
    assert "".join(order) == "abcabcabc"


def test_yield_now_alone_returns_none():
    assert yield_now() is None and sleep(0) is None and sleep(0.0001) is None


def test_sleep_takes_at_least_that_long():
    start = time.monotonic()
    sleep(0.02)
    assert time.monotonic() - start >= 0.02


def test_sleepers_wake_in_the_order_of_their_deadlines():
    order = []

    def work(seconds):
        sleep(seconds)
        order.append(seconds)

    begun_within = 1.0
    while begun_within >= 0.01:  # else the deadlines are in another order
        order.clear()
        begun = time.monotonic()
        all_threads = [spawn(work, seconds) for seconds in (0.04, 0.01, 0.03, 0.02)]
        yield_now()
        begun_within = time.monotonic() - begun
        for thread in all_threads:
            thread.wait()
    assert order == [0.01, 0.02, 0.03, 0.04]


def test_sleep_lets_others_run():
    ran = []
    spawn(ran.append, 1)
    sleep(0.001)
    assert ran == [1]


def test_sleep_for_ages_can_be_cancelled():
    for seconds in (1e8, 1e10, 1e300, 10**400, float("inf")):
        thread = spawn(sleep, seconds)
        sleep(0.001)
        assert thread.state == "waiting"
        thread.cancel()
        thread._join()
        assert thread.cancelled()


def test_long_form_runs_once_started():
    thread = micro_thread(lambda *args, **kwargs: (args, kwargs), (1, 2), {"x": 3})
    assert thread.state == "new" and thread not in threads()
    assert thread.start() is None
    assert thread.wait() == ((1, 2), {"x": 3})


def test_long_form_takes_any_iterable_of_arguments_and_keywords():
    thread = micro_thread(kwargs=None, args=[1, 2], fn=lambda *args: args)
    thread.start()
    assert thread.wait() == (1, 2)


def test_long_form_starts_in_order_of_start():
    order = []
    first, second = (micro_thread(order.append, (i,)) for i in (1, 2))
    second.start()
    first.start()
    first.wait()
    second.wait()
    assert order == [2, 1]


def test_never_started_one_is_dropped_in_silence(capsys):
    thread = micro_thread(print, ("no",))
    del thread
    assert capsys.readouterr() == ("", "")


def test_subclass_keeps_its_class_and_attributes():
    class Mine(micro_thread):
        def __init__(self, fn, extra):
            self.extra = extra

        def __new__(cls, fn, extra):
            return super().__new__(cls, fn)

    thread = Mine(lambda: current(), "more")
    thread.start()
    assert thread.wait() is thread and thread.extra == "more"


def test_current_is_the_running_one():
    main = current()
    thread = spawn(current)
    assert thread.wait() is thread
    assert current() is main and main.name == "main"


def test_ids_are_ints_and_unique():
    some = [spawn(int) for _ in range(10)] + [micro_thread(int) for _ in range(10)] + [current()]
    assert all(type(thread.id) is int for thread in some[:10])
    for thread in some[10:20]:
        thread.start()
    assert len({thread.id for thread in some}) == len(some)
    for thread in some[:-1]:
        thread.wait()


def test_id_does_not_change_when_started():
    thread = micro_thread(int)
    before = thread.id
    thread.start()
    assert thread.id == before
    thread.wait()
    assert thread.id == before


def test_name_can_be_given_and_set():
    thread = micro_thread(int, name="worker 1")
    assert thread.name == "worker 1" and "worker 1" in repr(thread)
    thread.name = "worker 2"
    assert thread.name == "worker 2" and "worker 2" in repr(thread)
    plain = spawn(int)
    assert isinstance(plain.name, str) and str(plain.id) in plain.name
    plain.wait()


def test_state_goes_from_new_to_done():
    gate = mt.deferred()
    seen = []

    def work():
        seen.append(current().state)
        gate.wait()

    thread = micro_thread(work)
    states = [thread.state]
    thread.start()
    states.append(thread.state)
    sleep(0.001)
    states.append(thread.state)
    gate.callback(None)
    states.append(thread.state)
    thread.wait()
    states.append(thread.state)
    assert states == ["new", "ready", "waiting", "ready", "done"] and seen == ["running"]
    assert current().state == "running"


def test_repr_shows_name_and_state():
    thread = spawn(int)
    assert repr(thread) == f"<micro_thread {thread.name} ready>"
    thread.wait()
    assert repr(thread) == f"<micro_thread {thread.name} done>"


def test_waiting_for_names_what_it_waits_for():
    pipe, full = micro_pipe(), micro_pipe(1)
    full.put(1)
    target = spawn(sleep, 3600)
    begun = time.monotonic()
    cases = {
        "sleep": spawn(sleep, 3000),
        f"take from {pipe!r}": spawn(pipe.take),
        f"put into {full!r}": spawn(full.put, 2),
        f"end of {target.name}": spawn(target.wait),
        "deferred": spawn(mt.deferred().wait),
    }
    sleep(0.001)
    for text, thread in cases.items():
        assert text in thread.waiting_for, thread.waiting_for
    word, left, unit = cases["sleep"].waiting_for.split()
    assert (word, unit) == ("sleep", "s") and "." in left
    assert 3000 - (time.monotonic() - begun) - 0.1 <= float(left) <= 3000
    for thread in [*cases.values(), target]:
        thread.cancel()
        thread._join()
        assert thread.waiting_for is None


def test_waiting_for_is_none_when_it_waits_for_nothing():
    thread = micro_thread(yield_now)
    assert current().waiting_for is None and thread.waiting_for is None
    thread.start()
    assert thread.waiting_for is None
    thread.wait()


def test_frame_is_where_it_is_suspended():
    def inner(gate):
        marker = "here"
        gate.wait()
        return marker

    def outer(gate):
        return inner(gate)

    gate = mt.deferred()
    thread = spawn(outer, gate)
    assert thread.frame is None
    sleep(0.001)
    frame = thread.frame
    assert frame.f_code is inner.__code__ and frame.f_locals["marker"] == "here"
    assert frame.f_back.f_code is outer.__code__ and frame.f_back.f_back is None
    gate.callback(None)
    assert thread.wait() == "here"
    assert thread.frame is None and current().frame is None


def test_stack_is_a_stack_summary():
    def inner(gate):
        gate.wait()

    def outer(gate):
        inner(gate)

    gate = mt.deferred()
    thread = spawn(outer, gate)
    assert list(thread.stack()) == []
    sleep(0.001)
    stack = thread.stack()
    assert isinstance(stack, traceback.StackSummary)
    assert [entry.name for entry in stack] == ["outer", "inner"]
    assert current().stack()[-1].name == "test_stack_is_a_stack_summary"
    gate.callback(None)
    thread.wait()
    assert list(thread.stack()) == []


def test_kept_frame_outlives_its_micro_thread():
    def work(gate):
        value = 42
        gate.wait()
        return value

    gate = mt.deferred()
    thread = spawn(work, gate)
    sleep(0.001)
    frame = thread.frame
    gate.callback(None)
    thread.wait()
    assert frame.f_locals["value"] == 42 and frame.f_back is None


def test_threads_lists_unfinished_ones_with_main_first():
    before = threads()
    assert before[0] is current()
    thread, gate = park()
    fresh = spawn(int)
    assert threads() == [*before, thread, fresh]
    gate.callback(None)
    thread.wait()
    fresh.wait()
    assert threads() == before


def test_threads_in_a_micro_thread_has_main_first():
    main = current()
    listed = spawn(threads).wait()
    assert listed[0] is main and len(listed) >= 2


def test_stdin_and_stdout_are_kept():
    pipe = micro_pipe()
    thread = micro_thread(lambda: current().stdin, stdin=pipe)
    assert thread.stdin is pipe and thread.stdout is None
    thread.stdout = pipe
    assert thread.stdout is pipe
    thread.start()
    assert thread.wait() is pipe
    assert current().stdin is None


def test_weak_reference_dies_with_the_object():
    import weakref

    thread = spawn(int)
    thread.wait()
    ref = weakref.ref(thread)
    yield_now()  # the scheduler's own reference goes at the next switch
    del thread
    assert ref() is None


@pytest.mark.parametrize("stack_size", [1, 64 * 1024, 100_000, 2**20, 2**23, 2**26])
def test_stack_size_is_honoured(stack_size):
    def deep(n):
        return 0 if n == 0 else 1 + deep(n - 1)

    thread = micro_thread(deep, (100,), stack_size=stack_size)
    thread.start()
    assert thread.wait() == 100


def test_stacks_of_several_sizes_side_by_side():
    def work(n):
        for _ in range(3):
            yield_now()
        return n

    some = []
    for n in range(60):
        thread = micro_thread(work, (n,), stack_size=[None, 2**17, 2**18, 2**20][n % 4])
        thread.start()
        some.append(thread)
    assert [thread.wait() for thread in some] == list(range(60))


def test_many_generations_each_spawned_by_the_one_before():
    def work(n):
        return spawn(work, n - 1).wait() + 1 if n else 0

    assert spawn(work, 500).wait() == 500


def test_ten_thousand_at_once():
    gate = mt.deferred()
    some = [spawn(gate.wait) for _ in range(10_000)]
    sleep(0.001)
    assert all(thread.state == "waiting" for thread in some)
    gate.callback(7)
    assert sum(thread.wait() for thread in some) == 70_000
