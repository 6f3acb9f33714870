# SPDX-License-Identifier: MIT
"""microthread.select and microthread.selectors: as the standard ones, but only a micro-thread waits."""
import copy
import errno
import os
import pickle
import select as standard
import selectors as standard_selectors
import socket as standard_socket
from concurrent.futures import CancelledError
from time import monotonic

import pytest

from microthread import select, selectors, sleep, socket, spawn, stats, yield_now
from socket_support import LIMIT, connected, parked, soon  # noqa: F401


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for fd in ends:
        try:
            os.close(fd)
        except OSError:
            pass


def wait_by_select(fd, timeout):
    return bool(select.select([fd], [], [], timeout)[0])


def wait_by_poll(fd, timeout):
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return poll.poll(None if timeout is None else timeout * 1000) == [(fd, select.POLLIN)]


def wait_by_epoll(fd, timeout):
    with select.epoll() as epoll:
        epoll.register(fd, select.EPOLLIN)
        return epoll.poll(timeout) == [(fd, select.EPOLLIN)]


def by_selector(name):
    def wait(fd, timeout):
        with getattr(selectors, name)() as selector:
            key = selector.register(fd, selectors.EVENT_READ, "data")
            return selector.select(timeout) == [(key, selectors.EVENT_READ)]
    wait.__name__ = f"wait_by_{name}"
    return wait


SELECTORS = ("DefaultSelector", "EpollSelector", "PollSelector", "SelectSelector")
waits = pytest.mark.parametrize("wait", [
    wait_by_select, wait_by_poll, wait_by_epoll, *map(by_selector, SELECTORS)])


# ---- all of them ----


@waits
def test_wait_ends_when_the_descriptor_is_ready_and_others_run_meanwhile(wait, pipe):
    ticks = []

    def tick():
        for _ in range(5):
            sleep(0.001)
            ticks.append(1)
        os.write(pipe[1], b"x")

    spawn(tick)
    assert wait(pipe[0], LIMIT) and len(ticks) == 5


@waits
def test_wait_ends_without_a_limit(wait, pipe):
    spawn(lambda: (sleep(0.002), os.write(pipe[1], b"x")))
    assert wait(pipe[0], None)


@waits
def test_wait_ends_when_the_time_is_up(wait, pipe):
    took = LIMIT
    while took >= 1:  # it may come late once, not each time
        begun = monotonic()
        assert not wait(pipe[0], 0.02)
        took = monotonic() - begun
        assert took >= 0.02


@waits
def test_limit_zero_does_not_wait(wait, pipe):
    assert not wait(pipe[0], 0)
    os.write(pipe[1], b"x")
    assert wait(pipe[0], 0)


@waits
def test_two_wait_for_one_descriptor(wait, pipe):
    threads = [parked(wait, pipe[0], LIMIT) for _ in range(2)]
    os.write(pipe[1], b"x")
    assert [thread.wait(LIMIT) for thread in threads] == [True, True]


@waits
def test_one_that_finds_the_data_gone_waits_again(wait, pipe):
    os.set_blocking(pipe[0], False)
    taken = []

    def take():
        while wait(pipe[0], LIMIT):
            try:
                return taken.append(os.read(pipe[0], 1))
            except BlockingIOError:
                pass

    threads = [parked(take) for _ in range(2)]
    os.write(pipe[1], b"x")
    soon(lambda: taken)
    os.write(pipe[1], b"y")
    for thread in threads:
        thread.wait(LIMIT)
    assert taken == [b"x", b"y"]


@waits
def test_cancelled_wait_leaves_nothing_behind(wait, pipe):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        thread = parked(wait, pipe[0], None)
        thread.cancel()
        with pytest.raises(CancelledError):
            thread.wait(LIMIT)
    assert len(os.listdir("/proc/self/fd")) == before
    os.write(pipe[1], b"x")
    assert os.read(pipe[0], 10) == b"x"


@waits
def test_polling_in_a_loop_lets_others_run(wait, pipe):
    done = []
    spawn(done.append, 1)
    for _ in range(1000):
        wait(pipe[0], 0)
    assert done


# ---- select() ----


def test_select_gives_the_objects_in_their_lists(connected):
    one, two = connected
    two.send(b"x")
    standard_sock = standard_socket.socket(fileno=os.dup(one.fileno()))
    objects = [one, standard_sock, one.fileno()]
    assert select.select(objects, objects, objects, LIMIT) == (objects, objects, [])
    assert select.select((x for x in objects), [], (), LIMIT) == (objects, [], [])
    standard_sock.close()


def test_select_without_descriptors_is_a_sleep():
    begun = monotonic()
    assert select.select([], [], [], 0.01) == ([], [], []) and monotonic() - begun >= 0.01


def test_select_for_exceptional_data():
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        two, _ = server.accept()
        spawn(lambda: (sleep(0.002), two.send(b"!", socket.MSG_OOB)))
        assert select.select([], [], [one], LIMIT) == ([], [], [one])
        assert one.recv(1, socket.MSG_OOB) == b"!"
        two.close()  # a hang-up is no exceptional data
        begun, polls = monotonic(), stats()["polls"]
        assert select.select([], [], [one], 0.02) == ([], [], [])
        assert monotonic() - begun >= 0.02 and stats()["polls"] - polls < 100
        one.close()


def test_regular_file_is_always_ready(tmp_path):
    with open(tmp_path / "file", "w+b") as file:
        assert select.select([file], [file], [], None) == ([file], [file], [])
        assert select.select([], [], [file], 0.005) == ([], [], [])
        poll = select.poll()
        poll.register(file, select.POLLIN)
        assert poll.poll() == [(file.fileno(), select.POLLIN)]
        poll.modify(file, 0)
        assert poll.poll(5) == []
        with pytest.raises(PermissionError), select.epoll() as epoll:
            epoll.register(file)


@pytest.mark.parametrize("args", [
    ([-1], [], []), (["x"], [], []), (5, [], []), ([], None, []), ([object()], [], []),
    ([], [], [], -1), ([], [], [], "x"), ([], [], [], float("nan")), ([], [], [], 1e12),
    ([], [], [], 10**30), ([100000], [], []), ([[]], [], [])])
def test_bad_arguments_of_select_fail_as_the_standard_ones(args):
    with pytest.raises((TypeError, ValueError, OverflowError, OSError)) as theirs:
        standard.select(*args)
    with pytest.raises(type(theirs.value)) as ours:
        select.select(*args)
    assert str(ours.value) == str(theirs.value)


def test_descriptor_closed_under_select(pipe):
    limit, thread = 0.01, None
    while thread is None or thread.done():  # its time was up before it was closed
        limit *= 2
        thread = spawn(select.select, [pipe[0]], [], [], limit)
        while thread.state == "ready":
            yield_now()
    os.close(pipe[0])
    with pytest.raises(OSError) as caught:
        thread.wait(LIMIT)
    assert caught.value.errno == errno.EBADF


# ---- poll objects ----


def test_poll_events_are_those_of_the_standard_one(pipe):
    poll = select.poll()
    for fd in pipe:
        poll.register(fd)
    assert poll.poll() == [(pipe[1], select.POLLOUT)]
    poll.modify(pipe[1], 0)
    os.close(pipe[0])
    assert sorted(poll.poll()) == sorted([(pipe[0], select.POLLNVAL), (pipe[1], select.POLLERR)])
    poll.unregister(pipe[0])
    assert poll.poll() == [(pipe[1], select.POLLERR)]


def test_poll_for_nothing_but_a_hang_up(pipe):
    poll = select.poll()
    poll.register(pipe[0], 0)
    os.write(pipe[1], b"data that nobody asks for")
    spawn(lambda: (sleep(0.005), os.close(pipe[1])))
    assert poll.poll(LIMIT * 1000) == [(pipe[0], select.POLLHUP)]


@pytest.mark.parametrize("call", [
    lambda p: p.register("x"), lambda p: p.register(-1), lambda p: p.register(1, 1 << 20),
    lambda p: p.register(), lambda p: p.modify(1, 1), lambda p: p.unregister(1),
    lambda p: p.poll("x"), lambda p: p.poll(float("nan"))])
def test_bad_calls_of_poll_fail_as_the_standard_ones(call):
    with pytest.raises(Exception) as theirs:
        call(standard.poll())
    with pytest.raises(type(theirs.value)):
        call(select.poll())


@pytest.mark.parametrize("timeout", [None, -1, -0.5])
def test_poll_without_a_limit(timeout, pipe):
    poll = select.poll()
    poll.register(pipe[0], select.POLLIN)
    thread = parked(poll.poll, timeout)
    with pytest.raises(RuntimeError, match="concurrent poll"):
        poll.poll(0)
    os.write(pipe[1], b"x")
    assert thread.wait(LIMIT) == [(pipe[0], select.POLLIN)]
    assert poll.poll(timeout)


def test_poll_of_many(pipe):
    pipes = [os.pipe() for _ in range(20)]
    poll = select.poll()
    for reader, writer in pipes:
        poll.register(reader, select.POLLIN)
    spawn(lambda: (sleep(0.002), os.write(pipes[7][1], b"x")))
    assert poll.poll(LIMIT * 1000) == [(pipes[7][0], select.POLLIN)]
    for ends in pipes:
        for fd in ends:
            os.close(fd)


# ---- epoll objects ----


def test_epoll_object_does_all_of_the_standard_one(pipe):
    with select.epoll(sizehint=10, flags=0) as epoll:
        assert isinstance(epoll, standard.epoll) and isinstance(epoll, select.epoll)
        assert not epoll.closed and epoll.fileno() > 2
        for fd in pipe:
            epoll.register(fd, eventmask=select.EPOLLIN | select.EPOLLOUT)
        with pytest.raises(FileExistsError):
            epoll.register(pipe[0])
        assert epoll.poll() == [(pipe[1], select.EPOLLOUT)]
        os.write(pipe[1], b"x")
        assert len(epoll.poll(timeout=1, maxevents=1)) == 1
        assert len(epoll.poll(-1, 5)) == 2
        epoll.modify(pipe[1], 0)
        epoll.unregister(pipe[0])
        assert epoll.poll(0.005) == []
        with pytest.raises(FileNotFoundError):
            epoll.unregister(pipe[0])
        other = select.epoll.fromfd(os.dup(epoll.fileno()))
        other.register(pipe[0], select.EPOLLIN)
        assert epoll.poll(LIMIT) == [(pipe[0], select.EPOLLIN)]
        other.close()
    epoll.close()
    assert epoll.closed
    for call in (epoll.fileno, epoll.poll, epoll.__enter__):
        with pytest.raises(ValueError, match="closed epoll"):
            call()


@pytest.mark.parametrize("args", [("x",), (1, 0), (1, -2), (float("nan"),), (1, "x")])
def test_bad_arguments_of_epoll_fail_as_the_standard_ones(args):
    with standard.epoll() as theirs, pytest.raises(Exception) as expected:
        theirs.poll(*args)
    with select.epoll() as ours, pytest.raises(type(expected.value)):
        ours.poll(*args)
    with pytest.raises(ValueError):
        select.epoll(-5)
    with pytest.raises(OSError):
        select.epoll(flags=12345678)


def test_epoll_closed_under_its_poller(pipe):
    epoll = select.epoll()
    epoll.register(pipe[0], select.EPOLLIN)
    thread = parked(epoll.poll)
    epoll.close()
    with pytest.raises(OSError) as caught:
        thread.wait(LIMIT)
    assert caught.value.errno == errno.EBADF


def test_epoll_edge_triggered_and_one_shot(pipe):
    with select.epoll() as epoll:
        epoll.register(pipe[0], select.EPOLLIN | select.EPOLLET | select.EPOLLONESHOT)
        spawn(lambda: (sleep(0.002), os.write(pipe[1], b"x")))
        assert epoll.poll(LIMIT) == [(pipe[0], select.EPOLLIN)]
        assert epoll.poll(0.005) == []


def test_dropped_epoll_object_is_closed():
    before = len(os.listdir("/proc/self/fd"))
    select.epoll()
    assert len(os.listdir("/proc/self/fd")) == before


# ---- selectors ----


@pytest.mark.parametrize("name", SELECTORS)
def test_selector_is_one_of_the_standard_ones(name, connected):
    one, two = connected
    with getattr(selectors, name)() as selector:
        assert isinstance(selector, getattr(standard_selectors, name))
        key = selector.register(one, selectors.EVENT_READ | selectors.EVENT_WRITE)
        assert selector.select() == [(key, selectors.EVENT_WRITE)]
        key = selector.modify(one, selectors.EVENT_READ)
        assert selector.select(-1) == [] == selector.select(0.005)
        spawn(lambda: (sleep(0.002), two.send(b"x")))
        assert selector.select(LIMIT) == [(key, selectors.EVENT_READ)]
        assert selector.get_key(one) == key == selector.unregister(one)


def test_default_selector_is_that_of_the_platform():
    assert issubclass(selectors.DefaultSelector, standard_selectors.DefaultSelector)


def test_poll_refuses_more_milliseconds_than_the_system_knows(pipe):
    poll = select.poll()
    poll.register(pipe[0])
    for timeout in (1 << 31, 1 << 64, 1e300):
        with pytest.raises(OverflowError):
            poll.poll(timeout)


@pytest.mark.parametrize("kind", [select.poll, select.epoll])
def test_neither_copied_nor_pickled(kind):
    poller = kind()
    for call in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=f"cannot pickle 'select.{kind.__name__}' object"):
            call(poller)
