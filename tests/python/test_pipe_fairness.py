# SPDX-License-Identifier: MIT
"""Who is served first, and that nobody whose data is always ready starves the rest."""
import pytest

from microthread import deferred, micro_pipe, sleep, spawn, yield_now
from support import check_script


def parked(fn, *args):
    thread = spawn(fn, *args)
    while thread.state == "ready":
        yield_now()
    return thread


def test_waiting_readers_are_served_in_order():
    pipe, order = micro_pipe(), []
    readers = [parked(lambda n=n: order.append((n, pipe.take()))) for n in range(20)]
    for n in range(20):
        pipe.put(n)
    for reader in readers:
        reader.wait()
    assert order == [(n, n) for n in range(20)]


@pytest.mark.parametrize("capacity", [0, 1, 3])
def test_waiting_writers_are_served_in_order(capacity):
    pipe = micro_pipe(capacity)
    for _ in range(capacity):
        pipe.put(-1)
    writers = [parked(pipe.put, n) for n in range(20)]
    assert [pipe.take() for _ in range(20 + capacity)] == [-1] * capacity + list(range(20))
    for writer in writers:
        writer.wait()


def test_late_reader_does_not_overtake_a_waiting_one():
    pipe, order = micro_pipe(), []
    first = parked(lambda: order.append(("first", pipe.take())))
    pipe.put_nowait(1)  # handed to the first, which has not run yet
    second = spawn(lambda: order.append(("second", pipe.take())))
    pipe.put_nowait(2)
    first.wait()
    second.wait()
    assert sorted(order) == [("first", 1), ("second", 2)]


def test_cancelled_reader_gives_its_place_to_the_next():
    pipe = micro_pipe()
    readers = [parked(pipe.take) for _ in range(3)]
    readers[0].cancel()
    pipe.put("a")
    pipe.put("b")
    readers[0]._join()
    assert [reader.wait() for reader in readers[1:]] == ["a", "b"]


def test_timed_out_writer_gives_its_place_to_the_next():
    pipe = micro_pipe(0)
    first = parked(pipe.put, "a", 0.001)
    second = parked(pipe.put, "b")
    with pytest.raises(TimeoutError):
        first.wait()
    assert pipe.take() == "b"
    second.wait()


@pytest.mark.parametrize("body", [
    "pipe.put(1); pipe.take()",
    "pipe.put(1); next(pipe)",
    "pipe.take_from([1, 2]); pipe.take(); pipe.take(1)",
    "fired.wait()",
    "yield_now()",
    "sleep(0)",
])
def test_always_ready_micro_thread_gives_way(body):
    check_script(f"""
        from microthread import deferred, micro_pipe, sleep, spawn, yield_now
        pipe, fired, done = micro_pipe(), deferred(), []
        fired.callback(1)
        def greedy():
            while not done:
                {body}
        spawn(greedy)
        sleep(0.001)
        done.append(1)
        print("ok")
    """)


@pytest.mark.parametrize("body", ["pipe.put(1); pipe.take()", "pipe.put(1); next(pipe)",
                                  "fired.wait()", "pipe.take_from([1, 1]); pipe.take(); pipe.take()",
                                  "sleep(0)"])
def test_always_ready_micro_thread_leaves_at_exit(body):
    check_script(f"""
        from microthread import deferred, micro_pipe, sleep, spawn, yield_now
        pipe, fired = micro_pipe(), deferred()
        fired.callback(1)
        def greedy():
            try:
                while True:
                    {body}
            finally:
                print("ok")
        spawn(greedy)
        sleep(0.001)
    """)


def test_call_that_goes_ahead_does_so_without_a_switch():
    import microthread

    pipe, gate = micro_pipe(), deferred()
    gate.callback(1)
    if microthread.stats()["switches"] is None:
        pytest.skip("no statistics")
    spawn(int)
    yield_now()
    before = microthread.stats()["switches"]
    for _ in range(3):
        pipe.put(1)
        pipe.take()
        gate.wait()
    assert microthread.stats()["switches"] <= before  # in a stress build nobody else is there


def test_ping_pong_alternates_strictly():
    there, back, log = micro_pipe(1), micro_pipe(1), []

    def pong():
        for item in there:
            log.append(("pong", item))
            back.put(item)

    thread = spawn(pong)
    for n in range(50):
        there.put(n)
        log.append(("ping", back.take()))
    there.close()
    thread.wait()
    assert log == [(who, n) for n in range(50) for who in ("pong", "ping")]


def test_timers_are_not_starved_by_a_full_run_queue():
    stop = []

    def busy():
        while not stop:
            yield_now()

    some = [spawn(busy) for _ in range(50)]
    sleep(0.005)
    stop.append(1)
    for thread in some:
        thread.wait()
