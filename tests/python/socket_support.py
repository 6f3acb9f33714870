# SPDX-License-Identifier: MIT
"""What the tests of sockets and servers share."""
from time import monotonic

import pytest

from microthread import sleep, socket, spawn, yield_now

LIMIT = 60  # seconds after which a test that waits has failed


@pytest.fixture
def connected():
    """Two connected Unix sockets."""
    pair = socket.socketpair()
    for sock in pair:
        sock.settimeout(LIMIT)
    yield pair
    for sock in pair:
        sock.close()


@pytest.fixture
def tcp(listener):
    """Two connected TCP sockets."""
    sock = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    for end in (sock, accepted):
        end.settimeout(LIMIT)
    yield sock, accepted
    sock.close()
    accepted.close()


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(LIMIT)
        yield sock


def parked(fn, *args):
    """A micro-thread that has called fn(*args) and waits in it."""
    thread = spawn(fn, *args)
    while thread.state == "ready":
        yield_now()
    assert thread.state == "waiting", thread
    return thread


def soon(condition):
    """Wait until condition() is true; fails when that takes too long."""
    end = monotonic() + LIMIT
    while not condition():
        assert monotonic() < end, "it has not come to that"
        sleep(0.002)


def with_number(number, *args):
    """A new socket whose descriptor is this number, which was just closed; a smaller one may be free."""
    others = []
    while (sock := socket.socket(*args)).fileno() != number:
        others.append(sock)
    for other in others:
        other.close()
    return sock


def both_ways(one, other):
    one.sendall(b"there")
    assert other.recv(100) == b"there"
    other.sendall(b"and back")
    assert one.recv(100) == b"and back"


def fill(sock):
    """Send until there is no room. Returns how many bytes that took."""
    sock.setblocking(False)
    total = 0
    try:
        while True:
            total += sock.send(b"x" * 65536)
    except BlockingIOError:
        sock.settimeout(LIMIT)
        return total
