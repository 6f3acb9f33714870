# SPDX-License-Identifier: MIT
"""microthread.socket: each call that waits, and how its wait ends."""
import errno
import os
import socket as standard
import time
from concurrent.futures import CancelledError

import pytest

import microthread
from microthread import select, sleep, socket, spawn, yield_now
from socket_support import LIMIT, connected, fill, listener, parked, with_number  # noqa: F401

pair = connected
SHORT = 0.02  # seconds


@pytest.fixture
def wait_of(pair, listener):
    """A function from a name below to a call that waits for what does not come: socket, fn, args."""
    sock = pair[0]
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagram.bind(("127.0.0.1", 0))
    fill(sock)
    sock.settimeout(None)
    listener.settimeout(None)
    buffer = bytearray(10)
    calls = {
        "recv": (sock, sock.recv, 10),
        "recv all": (sock, sock.recv, 10, socket.MSG_WAITALL),
        "recv_into": (sock, sock.recv_into, buffer),
        "recvmsg": (sock, sock.recvmsg, 10),
        "recvmsg_into": (sock, sock.recvmsg_into, [buffer]),
        "recvfrom": (datagram, datagram.recvfrom, 10),
        "recvfrom_into": (datagram, datagram.recvfrom_into, buffer),
        "send": (sock, sock.send, b"y"),
        "sendall": (sock, sock.sendall, b"y" * 100_000),
        "sendmsg": (sock, sock.sendmsg, [b"y"]),
        "accept": (listener, listener.accept),
    }
    yield calls.get
    datagram.close()


CALLS = ["recv", "recv all", "recv_into", "recvmsg", "recvmsg_into", "recvfrom", "recvfrom_into",
         "send", "sendall", "sendmsg", "accept"]


# ---- time-outs ----


@pytest.mark.parametrize("call", CALLS)
def test_time_out(call, wait_of):
    sock, function, *args = wait_of(call)
    sock.settimeout(SHORT)
    timers = microthread.stats()["timers"]
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="^timed out$") as caught:
        function(*args)
    assert time.monotonic() - began >= SHORT
    assert isinstance(caught.value, standard.timeout) and caught.value.errno is None
    assert microthread.stats()["timers"] == timers


@pytest.mark.parametrize("call", CALLS)
def test_time_out_of_zero_never_waits(call, wait_of):
    sock, function, *args = wait_of(call)
    ran = []
    spawn(ran.append, 1)
    sock.setblocking(False)
    with pytest.raises(BlockingIOError) as caught:
        function(*args)
    assert caught.value.errno == errno.EAGAIN and not ran
    yield_now()


@pytest.mark.parametrize("call", CALLS)
def test_cancelled(call, wait_of):
    sock, function, *args = wait_of(call)
    thread = parked(function, *args)
    thread.cancel()
    with pytest.raises(CancelledError):
        thread.wait(LIMIT)


@pytest.mark.parametrize("call", CALLS)
def test_closed_while_it_waits(call, wait_of):
    sock, function, *args = wait_of(call)
    threads = [parked(function, *args) for _ in range(3)]
    sock.close()
    for thread in threads:
        with pytest.raises(OSError) as caught:
            thread.wait(LIMIT)
        assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("call", CALLS)
def test_on_a_closed_socket(call, wait_of):
    sock, function, *args = wait_of(call)
    sock.close()
    with pytest.raises(OSError) as caught:
        function(*args)
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("call", ["bind", "connect", "sendto", "listen", "getsockname", "setblocking",
                                  "settimeout", "setsockopt", "shutdown", "dup", "sendfile"])
def test_other_calls_on_a_closed_socket(call):
    sock = socket.socket()
    sock.close()
    sock.close()  # twice is allowed
    address = ("127.0.0.1", 9)
    file = open(__file__, "rb")
    args = {"bind": (address,), "connect": (address,), "sendto": (b"x", address), "settimeout": (1,),
            "setblocking": (True,), "setsockopt": (1, 2, 3), "shutdown": (2,),
            "sendfile": (file,)}.get(call, ())
    with file, pytest.raises(OSError) as caught:
        getattr(sock, call)(*args)
    assert caught.value.errno == errno.EBADF


def test_closed_one_shows_it():
    sock = socket.socket()
    sock.close()
    assert sock.fileno() == -1 and "[closed]" in repr(sock)
    assert sock.connect_ex(("127.0.0.1", 9)) == errno.EBADF


def test_the_timeout_the_user_sees():
    with socket.socket() as sock:
        assert sock.gettimeout() is None and sock.timeout is None and sock.getblocking()
        for given, seen in ((5, 5.0), (0.25, 0.25), (0, 0.0), (0.1, 0.1), (None, None)):
            sock.settimeout(given)
            assert sock.gettimeout() == sock.timeout == seen
            assert sock.getblocking() == (seen != 0)
        sock.setblocking(False)
        assert sock.gettimeout() == 0.0
        sock.setblocking(True)
        assert sock.gettimeout() is None
        sock.settimeout(1e300)
        assert sock.gettimeout() > 1e9
        assert not os.get_blocking(sock.fileno())
    with socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        assert sock.gettimeout() == 0.0 and sock.type == socket.SOCK_STREAM


@pytest.mark.parametrize("bad", [-1, -0.001, float("nan"), float("-inf"), -(10 ** 400)])
def test_negative_timeout_is_refused(bad):
    with socket.socket() as sock:
        sock.settimeout(3)
        with pytest.raises(ValueError, match="timeout must be >= 0, got"):
            sock.settimeout(bad)
        assert sock.gettimeout() == 3


@pytest.mark.parametrize("bad", ["1", b"1", [], object()])
def test_timeout_of_another_type_is_refused(bad):
    with socket.socket() as sock, pytest.raises(TypeError, match="timeout must be"):
        sock.settimeout(bad)


def test_default_timeout_is_respected(listener):
    socket.setdefaulttimeout(LIMIT)
    try:
        with socket.socket() as sock:
            assert sock.gettimeout() == LIMIT == socket.getdefaulttimeout()
            sock.connect(listener.getsockname())
            accepted, _ = listener.accept()
            assert accepted.gettimeout() == LIMIT
            accepted.close()
        for one in socket.socketpair():
            assert one.gettimeout() == LIMIT
            one.close()
        with socket.create_connection(listener.getsockname()) as sock:
            assert sock.gettimeout() == LIMIT
        socket.setdefaulttimeout(SHORT)
        one, other = socket.socketpair()
        with one, other, pytest.raises(TimeoutError):
            one.recv(1)
    finally:
        socket.setdefaulttimeout(None)


def test_time_out_loses_nothing(pair):
    pair[0].settimeout(SHORT)
    with pytest.raises(TimeoutError):
        pair[0].recv(10)
    pair[1].sendall(b"late")
    assert pair[0].recv(10) == b"late"


def test_time_out_is_for_the_whole_of_sendall(pair):
    """Each wait in it is shorter than the time-out; what is sent takes far more of them than fit into it."""
    room = fill(pair[0])
    pair[0].settimeout(10 * SHORT)

    def drain():
        while True:
            pair[1].recv(2 * room)
            sleep(SHORT)

    reader = spawn(drain)
    with pytest.raises(TimeoutError):
        pair[0].sendall(b"y" * (50 * room))
    reader.cancel()


def test_connect_times_out():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        others = []
        while not others or select.select([], [others[-1]], [], 0)[1]:  # until the kernel's queue is full
            others.append(socket.socket())
            others[-1].setblocking(False)
            others[-1].connect_ex(server.getsockname())
            sleep(SHORT)
        with socket.socket() as sock:
            sock.settimeout(SHORT)
            with pytest.raises(TimeoutError):
                sock.connect(server.getsockname())
        with socket.socket() as sock:
            sock.settimeout(SHORT)
            assert sock.connect_ex(server.getsockname()) == errno.EAGAIN
        with socket.socket() as sock:
            thread = parked(sock.connect, server.getsockname())
            thread.cancel()
            with pytest.raises(CancelledError):
                thread.wait(LIMIT)
        with socket.socket() as sock:
            thread = parked(sock.connect, server.getsockname())
            sock.close()
            with pytest.raises(OSError) as caught:
                thread.wait(LIMIT)
            assert caught.value.errno == errno.EBADF
        for other in others:
            other.close()


def test_closed_while_it_connects_to_a_full_unix_socket(tmp_path):
    path = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind(path)
        server.listen(0)
        first.connect(path)
        second = socket.socket(socket.AF_UNIX)
        number = second.fileno()
        thread = parked(second.connect, path)
        second.close()
        with with_number(number, socket.AF_UNIX) as other:
            server.accept()[0].close()
            with pytest.raises(OSError) as caught:
                thread.wait(LIMIT)
            assert caught.value.errno == errno.EBADF
            with pytest.raises(OSError):  # nobody has connected this one
                other.getpeername()


def test_connect_to_a_full_unix_socket_waits(tmp_path):
    path = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(0)
        first, second = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        first.connect(path)
        second.settimeout(SHORT)
        with pytest.raises(TimeoutError):
            second.connect(path)
        second.settimeout(LIMIT)
        thread = parked(second.connect, path)
        server.accept()[0].close()
        thread.wait(LIMIT)
        first.close()
        second.close()
