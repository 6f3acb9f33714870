# SPDX-License-Identifier: MIT
"""start_and_forget, start_in_parallel, generate; put, take and take_from on stdout and stdin."""
import concurrent.futures
import gc
import sys

import pytest

import microthread as mt
from microthread import (Cancelled, MicroThreadExit, PipeClosed, current, deferred, generate,
                         micro_pipe, put, sleep, spawn, start_and_forget, start_in_parallel, take,
                         take_from, threads, yield_now)


@pytest.fixture
def reports(monkeypatch):
    seen = []
    monkeypatch.setattr(mt, "excepthook", lambda args: seen.append(args.exc_value))
    return seen


def settle(turns=50):
    for _ in range(turns):
        yield_now()


def count(start=0):
    while True:
        put(start)
        start += 1


# ---- start_and_forget, start_in_parallel ----

def test_start_in_parallel_gives_the_value_to_wait():
    assert start_in_parallel(lambda a, b=0: a + b, 1, b=2).wait() == 3


def test_start_in_parallel_raises_from_wait():
    with pytest.raises(ZeroDivisionError):
        start_in_parallel(lambda: 1 // 0).wait()


def test_forgotten_one_runs():
    ran = []
    start_and_forget(lambda *args, **kwargs: ran.append((args, kwargs)), 1, fn=2)
    settle()
    assert ran == [((1,), {"fn": 2})]


def test_exception_of_a_forgotten_one_goes_to_its_handler(reports):
    seen = []

    def fail(text):
        raise LookupError(text)

    start_and_forget(fail, "x", exception_handler=lambda *args: seen.append(args))
    settle()
    ((kind, value, traceback),) = seen
    assert kind is LookupError and value.args == ("x",) and not reports
    assert traceback.tb_next.tb_frame.f_code.co_name == "fail"


def test_without_a_handler_it_goes_to_excepthook(reports):
    start_and_forget(lambda: 1 // 0)
    settle()
    assert [type(value) for value in reports] == [ZeroDivisionError]


def test_exception_handler_may_wait():
    seen = []

    def handler(kind, value, traceback):
        sleep(0.001)
        seen.append(kind)

    start_and_forget(lambda: 1 // 0, exception_handler=handler).wait()
    assert seen == [ZeroDivisionError]


def test_exception_of_the_handler_goes_to_excepthook(reports):
    start_and_forget(lambda: 1 // 0, exception_handler=lambda *args: {}["x"])
    settle()
    assert [type(value) for value in reports] == [KeyError]
    assert type(reports[0].__context__) is ZeroDivisionError


def test_silent_exits_do_not_reach_the_handler(reports):
    seen = []

    def leave():
        raise MicroThreadExit

    thread = start_and_forget(sleep, 60, exception_handler=lambda *args: seen.append(args))
    start_and_forget(leave, exception_handler=lambda *args: seen.append(args))
    settle()
    thread.cancel()
    settle()
    assert thread.cancelled() and not seen and not reports


def test_system_exit_of_a_forgotten_one_reaches_main():
    def leave():
        sys.exit(3)

    start_and_forget(leave, exception_handler=print)
    with pytest.raises(SystemExit):
        deferred().wait()


# ---- generate ----

def test_generate_gives_what_is_put():
    def letters(text, *, end):
        for letter in text:
            put(letter)
        put(end)

    assert list(generate(letters, "abc", end="!")) == ["a", "b", "c", "!"]


def test_generate_returns_a_pipe_before_fn_runs():
    ran = []
    pipe = generate(ran.append, 1)
    assert isinstance(pipe, micro_pipe) and not ran
    assert list(pipe) == [] and ran == [1] and pipe.closed


def test_take_at_the_end_raises_eof():
    pipe = generate(int)
    with pytest.raises(EOFError):
        pipe.take()


def test_writer_does_not_run_away_from_its_reader():
    ran = []

    def write():
        for n in range(10_000):
            put(n)
            ran.append(n)

    pipe = generate(write)
    assert [next(pipe) for _ in range(3)] == [0, 1, 2]
    settle()
    assert 3 <= len(ran) <= 3 + pipe.capacity and pipe.capacity == 16


def test_writer_and_reader_take_turns_on_an_endless_stream():
    pipe = generate(count)
    assert [next(pipe) for _ in range(10_000)] == list(range(10_000))
    assert pipe.peak <= 16


def test_exception_of_fn_is_raised_by_next_after_what_was_put(reports):
    error = ValueError("mine")

    def write():
        put(1)
        raise error

    pipe = generate(write)
    assert next(pipe) == 1
    for _ in range(2):
        with pytest.raises(ValueError) as caught:
            next(pipe)
        assert caught.value is error
    assert any(entry.name == "write" for entry in caught.traceback)
    with pytest.raises(ValueError):
        pipe.take()
    del pipe
    gc.collect()
    assert not reports


def test_exception_that_the_reader_never_reached_is_reported_once(reports):
    def write():
        put(1)
        raise ValueError("unread")

    pipe = generate(write)
    assert next(pipe) == 1
    settle()
    assert not reports
    del pipe
    assert [str(value) for value in reports] == ["unread"]


def test_exception_after_the_reader_left_is_reported(reports):
    def write():
        try:
            count()
        except PipeClosed:
            raise ValueError("too late") from None

    next(generate(write))
    settle()
    assert [str(value) for value in reports] == ["too late"]


def test_waiting_readers_all_get_the_exception():
    def write():
        sleep(0.001)
        raise ValueError("mine")

    pipe = generate(write)
    readers = [spawn(next, pipe) for _ in range(3)]
    for reader in readers:
        with pytest.raises(ValueError):
            reader.wait()


@pytest.mark.parametrize("parked", [True, False])
def test_writer_learns_that_the_reader_dropped_the_pipe(parked, reports):
    ends, gate = [], deferred()

    def write():
        try:
            for n in range(100 if parked else 3):
                put(n)
            gate.wait()
            put("after")
        except PipeClosed as error:
            ends.append(error)
            raise

    pipe = generate(write)
    assert next(pipe) == 0
    settle()
    (writer,) = threads()[1:]
    assert writer.waiting_for.startswith("put into <micro_pipe" if parked else "deferred")
    assert parked or not ends
    del pipe
    gate.callback(None)
    settle()
    assert len(ends) == 1 and writer.done() and not reports


def test_loop_that_is_broken_off_drops_the_pipe():
    for n in generate(count):
        if n == 5:
            break
    settle()
    assert threads() == [current()]


def test_pipe_that_is_never_read_ends_its_writer_at_the_first_put():
    ran = []

    def write():
        ran.append("begin")
        put(1)
        ran.append("end")

    generate(write)
    settle()
    assert ran == ["begin"] and threads() == [current()]


def test_writer_learns_that_the_reader_closed_the_pipe(reports):
    pipe = generate(count)
    assert next(pipe) == 0
    settle()
    pipe.close()
    settle()
    assert threads() == [current()] and not reports
    assert list(pipe) == list(range(1, 17))


def test_with_block_around_the_pipe_ends_the_writer():
    with generate(count) as pipe:
        assert next(pipe) == 0
    settle()
    assert threads() == [current()] and pipe.closed


def test_writer_may_outlive_its_reader():
    log = []

    def write():
        try:
            count()
        except PipeClosed:
            sleep(0.001)
            log.append("went on")

    pipe = generate(write)
    assert next(pipe) == 0
    (writer,) = threads()[1:]
    del pipe
    writer.wait(60)
    assert log == ["went on"]


def test_closed_pipe_of_somebody_else_is_an_error_like_any_other():
    other = micro_pipe()
    other.close()
    pipe = generate(other.put, 1)
    with pytest.raises(PipeClosed):
        next(pipe)


def test_cancelled_writer_ends_its_reader_with_cancelled_error(reports):
    pipe = generate(lambda: (put(1), sleep(60)))
    assert next(pipe) == 1
    threads()[1].cancel("enough")
    with pytest.raises(concurrent.futures.CancelledError, match="enough"):
        next(pipe)
    assert not reports


def test_writer_cancelled_before_it_ran_ends_its_reader():
    pipe = generate(count)
    threads()[1].cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        next(pipe)


def test_exit_of_the_writer_is_the_usual_end():
    def write():
        put(1)
        raise MicroThreadExit

    assert list(generate(write)) == [1]


def test_cancelled_reader_takes_nothing():
    gate = deferred()
    pipe = generate(lambda: (gate.wait(), put(1)))
    reader = spawn(next, pipe)
    settle()
    reader.cancel()
    gate.callback(None)
    assert next(pipe) == 1 and reader.cancelled()


def test_writer_cancelled_in_put_has_not_put():
    def write():
        try:
            count()
        except Cancelled:
            current().stdout.close()
            raise

    pipe = generate(write)
    assert next(pipe) == 0
    settle()
    threads()[1].cancel()
    assert list(pipe) == list(range(1, 17))


BAD_CALLS = [
    (lambda: start_and_forget(3), ["fn", "callable", "int"]),
    (lambda: start_and_forget(3, exception_handler=print), ["fn", "callable", "int"]),
    (lambda: start_and_forget(int, exception_handler=3), ["exception_handler", "callable", "int"]),
    (lambda: start_in_parallel(3), ["fn", "callable", "int"]),
    (lambda: generate(3), ["fn", "callable", "int"]),
    (lambda: generate(), ["fn"]),
    (lambda: generate(int, stdin=[1]), ["stdin", "micro_pipe", "list"]),
    (lambda: put(), []),
    (lambda: put(1, 2), []),
    (lambda: take(1), []),
]


@pytest.mark.parametrize("call, words", BAD_CALLS)
def test_bad_argument_is_named(call, words):
    with pytest.raises(TypeError) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


def test_take_from_what_is_no_iterable():
    pipe = generate(lambda: take_from(3))
    with pytest.raises(TypeError, match="int"):
        next(pipe)
