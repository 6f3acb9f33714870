# SPDX-License-Identifier: MIT
"""microthread.socket: getaddrinfo and its kin, in workers and out of them."""
import socket as standard
import threading

import pytest

from microthread import sleep, socket, spawn
from support import check_script


NAMES = "a.name", ["alias"], ["127.0.0.1"]


@pytest.mark.parametrize("name, args", [
    ("getaddrinfo", ("a.name", 80)), ("gethostbyname", ("a.name",)),
    ("gethostbyname_ex", ("a.name",)), ("gethostbyaddr", ("127.0.0.1",)),
    ("getnameinfo", (("127.0.0.1", 80), 0)), ("getfqdn", ("a.name",))])
def test_ticker_keeps_ticking_while_a_name_is_looked_up(name, args, monkeypatch):
    has_ticked = threading.Event()

    def look_up(*args):
        return NAMES if has_ticked.wait(60) else None

    def tick():
        for _ in range(10):
            sleep(0.001)
        has_ticked.set()

    monkeypatch.setattr(socket._blocking, "gethostbyaddr" if name == "getfqdn" else name, look_up)
    spawn(tick)
    assert getattr(socket, name)(*args) == (NAMES if name != "getfqdn" else "a.name")


def test_names_give_what_the_standard_ones_give():
    for host, port in (("127.0.0.1", 80), ("::1", "80"), (None, 0), ("localhost", 443)):
        assert socket.getaddrinfo(host, port) == standard.getaddrinfo(host, port)
    assert socket.getaddrinfo("127.0.0.1", "http", type=socket.SOCK_STREAM) == \
        standard.getaddrinfo("127.0.0.1", "http", type=socket.SOCK_STREAM)
    assert socket.gethostbyname("127.0.0.1") == "127.0.0.1"
    assert socket.gethostbyname("localhost") == standard.gethostbyname("localhost")
    assert socket.getfqdn("127.0.0.1") == standard.getfqdn("127.0.0.1")
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert socket.getnameinfo(("127.0.0.1", 80), numeric) == ("127.0.0.1", "80")


def test_numeric_addresses_need_no_worker():
    check_script("""
        import threading
        from microthread import socket
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()).close()
        socket.getaddrinfo("::1", 80)
        socket.gethostbyname("127.0.0.1")
        assert threading.active_count() == 1, threading.enumerate()
        print("ok")
    """)


@pytest.mark.parametrize("args", [("x" * 300, 1), ("127.0.0.1", "no-such-service"),
                                  ("a\0b", 1), ("127.0.0.1", -5, 999)])
def test_bad_names_fail_as_the_standard_ones_do(args):
    with pytest.raises((OSError, ValueError, OverflowError)) as theirs:
        standard.getaddrinfo(*args)
    with pytest.raises(type(theirs.value)):
        socket.getaddrinfo(*args)
