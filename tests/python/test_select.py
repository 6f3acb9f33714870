# SPDX-License-Identifier: MIT
"""select(): exactly one of several things."""
import math
import os
import socket

import pytest

from microthread import (PipeClosed, after, deferred, micro_pipe, micro_thread, readable, select,
                         sleep, spawn, writable, yield_now)
from microthread._core import pipe_writer
from support import check_script

SOON = 0.003


def later(function, *args):
    sleep(SOON)
    return function(*args)


def test_ready_case_gives_its_index_and_value():
    empty, full = micro_pipe(), micro_pipe()
    full.put("x")
    assert select(empty.taking(), full.taking()) == (1, "x")
    assert len(full) == 0


def test_taking_waits_for_an_object():
    pipes = [micro_pipe(), micro_pipe(0)]
    for index, pipe in enumerate(pipes):
        spawn(later, pipe.put, index)
        assert select(*[one.taking() for one in pipes]) == (index, index)


def test_putting_waits_for_room():
    pipe = micro_pipe(1)
    pipe.put(1)
    taker = spawn(later, pipe.take)
    assert select(pipe.putting(2), micro_pipe().taking()) == (0, None)
    assert taker.wait() == 1 and pipe.take() == 2


def test_putting_into_a_rendezvous_meets_a_reader():
    pipe = micro_pipe(0)
    reader = spawn(pipe.take)
    yield_now()
    assert select(pipe.putting("x")) == (0, None)
    assert reader.wait() == "x"


def test_select_on_both_sides_meets_in_a_rendezvous():
    pipe = micro_pipe(0)
    reader = spawn(select, pipe.taking(), after(60))
    assert select(pipe.putting("x"), after(60)) == (0, None)
    assert reader.wait() == (0, "x")


def test_deferred_gives_its_result():
    one = deferred()
    spawn(later, one.callback, 7)
    assert select(micro_pipe().taking(), one) == (1, 7)
    assert select(one) == (0, 7)


def test_failed_deferred_raises():
    one = deferred()
    spawn(later, one.errback, KeyError("k"))
    with pytest.raises(KeyError):
        select(one)
    with pytest.raises(KeyError):
        select(micro_pipe().taking(), one)


def test_micro_thread_gives_its_value_or_raises():
    assert select(spawn(later, int, "3"), micro_pipe().taking()) == (0, 3)
    with pytest.raises(ValueError):
        select(spawn(later, int, "x"), micro_pipe().taking())


def test_done_micro_thread_is_ready():
    thread = spawn(int)
    thread.wait()
    assert select(thread, timeout=0) == (0, 0)


def test_unstarted_micro_thread_and_oneself_are_errors():
    from microthread import current

    with pytest.raises(RuntimeError, match="not started"):
        select(micro_thread(int))
    with pytest.raises(RuntimeError, match="itself"):
        select(current())


def test_after_comes_when_nothing_else_does():
    assert select(micro_pipe().taking(), after(SOON)) == (1, None)
    assert select(after(60), after(SOON)) == (1, None)
    assert select(after(0)) == (0, None)


def test_descriptors_are_waited_for():
    left, right = socket.socketpair()
    with left, right:
        assert select(readable(left), writable(left)) == (1, None)
        spawn(later, right.send, b"x")
        assert select(readable(left), after(60)) == (0, None)
        assert select(readable(left.fileno())) == (0, None)


def test_closed_descriptor_is_an_error():
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    with pytest.raises(OSError, match="Bad file descriptor"):
        select(readable(read))


def test_time_out_leaves_every_case_as_if_never_asked():
    empty, full, one = micro_pipe(), micro_pipe(1), deferred()
    full.put(1)
    for timeout in (0, SOON):
        with pytest.raises(TimeoutError):
            select(empty.taking(), full.putting(2), one, timeout=timeout)
    empty.put("a")
    assert empty.take() == "a" and full.take() == 1 and len(full) == 0
    one.reset()


def test_losing_cases_leave_no_trace():
    pipes = [micro_pipe(0) for _ in range(4)]
    waiting = spawn(select, *[pipe.taking() for pipe in pipes])
    yield_now()
    pipes[2].put("x")
    assert waiting.wait() == (2, "x")
    for pipe in pipes:
        with pytest.raises(TimeoutError):
            pipe.put("nobody takes it", timeout=0.001)


def test_cancelled_select_leaves_no_trace():
    pipe, full = micro_pipe(), micro_pipe(1)
    full.put(0)
    waiting = spawn(select, pipe.taking(), full.putting("lost?"))
    yield_now()
    waiting.cancel()
    yield_now()
    assert waiting.cancelled()
    pipe.put(1)
    assert pipe.take() == 1 and full.take() == 0 and len(full) == 0


def test_closed_pipes_raise_in_a_select():
    pipe = micro_pipe()
    pipe.close()
    with pytest.raises(EOFError):
        select(pipe.taking())
    with pytest.raises(PipeClosed):
        select(pipe.putting(1))


def test_closing_wakes_a_waiting_select():
    pipe = micro_pipe()
    spawn(later, pipe.close)
    with pytest.raises(EOFError):
        select(pipe.taking(), after(60))
    full = micro_pipe(0)
    spawn(later, full.close)
    with pytest.raises(PipeClosed):
        select(full.putting(1), after(60))
    failed = micro_pipe()
    spawn(later, failed.close, KeyError("why"))
    with pytest.raises(KeyError):
        select(failed.taking(), after(60))


def test_several_ready_cases_are_chosen_fairly():
    pipes = [micro_pipe() for _ in range(4)]
    for pipe in pipes:
        pipe.take_from(range(4000))
    counts = [0] * 4
    for _ in range(4000):
        index, _ = select(*[pipe.taking() for pipe in pipes])
        counts[index] += 1
    assert min(counts) > 700


def test_more_than_eight_cases_work():
    pipes = [micro_pipe() for _ in range(40)]
    spawn(later, pipes[33].put, "x")
    assert select(*[pipe.taking() for pipe in pipes]) == (33, "x")


def test_case_can_be_used_again():
    pipe = micro_pipe()
    case = pipe.taking()
    for number in range(3):
        pipe.put(number)
        assert select(case) == (0, number)


def test_select_without_cases_waits_for_its_time():
    with pytest.raises(TimeoutError):
        select(timeout=SOON)
    with pytest.raises(ValueError, match="at least one case"):
        select()


def test_busy_select_lets_others_run():
    pipe, ran = micro_pipe(), []
    pipe.take_from(range(2000))
    spawn(ran.append, 1)
    for _ in range(2000):
        select(pipe.taking())
    assert ran == [1]


@pytest.mark.parametrize("bad", [3, None, "x", print])
def test_wrong_case_names_its_index(bad):
    with pytest.raises(TypeError, match="case 1 must be"):
        select(after(1), bad)


def test_wrong_arguments_are_errors():
    for seconds in (-1, math.nan):
        with pytest.raises(ValueError, match="seconds must be >= 0"):
            after(seconds)
        with pytest.raises(ValueError, match="timeout must be >= 0"):
            select(after(1), timeout=seconds)
    with pytest.raises(TypeError, match="unexpected keyword argument 'wait'"):
        select(after(0), wait=1)
    with pytest.raises(TypeError):
        readable("x")


def test_waiting_for_names_every_case():
    pipe = micro_pipe()
    thread = spawn(select, pipe.taking(), deferred())
    yield_now()
    assert "take from" in thread.waiting_for and " or deferred" in thread.waiting_for
    thread.cancel()
    yield_now()


def test_wait_readable_with_timeout_zero_asks_the_kernel():
    from microthread import wait_readable, wait_writable

    left, right = socket.socketpair()
    with left, right:
        with pytest.raises(TimeoutError):
            wait_readable(left, 0)
        wait_writable(left, 0)
        right.send(b"x")
        wait_readable(left, 0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        wait_readable(1_000_000, 0)


def test_descriptor_closed_while_select_waits_is_an_error():
    from microthread import socket as our_socket

    left, right = our_socket.socketpair()
    with left, right:
        waiting = spawn(select, readable(left), micro_pipe().taking())
        yield_now()
        left.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            waiting.wait()


def test_descriptor_of_the_loop_itself_is_refused():
    check_script("""
        import os
        from microthread import readable, select, sleep, wait_readable
        sleep(0.001)
        own = [int(fd) for fd in os.listdir("/proc/self/fd") if "eventpoll" in link(fd)]
        for wait in (wait_readable, lambda fd: select(readable(fd))):
            try:
                wait(*own)
            except OSError as error:
                print(error.strerror)
        sleep(0.001)
    """.replace("        sleep(0.001)", """        def link(fd):
            try:
                return os.readlink(f"/proc/self/fd/{fd}")
            except OSError:
                return ""
        sleep(0.001)""", 1), "Invalid argument\n" * 2)


def test_writing_end_of_a_pipe_is_a_case():
    pipe = micro_pipe(1)
    writer = pipe_writer(pipe)
    assert select(writer.putting("a"), deferred()) == (0, None)
    assert pipe.take() == "a"
    writer.put("b")
    waiting = spawn(select, writer.putting("c"), deferred())
    yield_now()
    assert pipe.take() == "b" and waiting.wait() == (0, None) and pipe.take() == "c"


def test_writing_end_as_a_case_does_not_keep_its_pipe():
    pipe = micro_pipe(0)
    case = pipe_writer(pipe).putting(1)
    waiting = spawn(select, case, deferred())
    yield_now()
    del pipe
    with pytest.raises(PipeClosed):
        waiting.wait()
    with pytest.raises(PipeClosed):
        select(deferred(), case)
