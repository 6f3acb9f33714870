# SPDX-License-Identifier: MIT
"""StreamServer: addresses, handlers, limits, stopping, and what goes wrong in accept."""
import contextlib
import errno
import os
import time
from concurrent.futures import CancelledError

import pytest

import microthread
from microthread import (Cancelled, Event, StreamServer, current, sleep, socket, spawn, threads,
                         yield_now)
from socket_support import LIMIT, parked, soon
from support import check_script

LOCAL = ("127.0.0.1", 0)


def echo(sock, address):
    while data := sock.recv(65536):
        sock.sendall(data)


@contextlib.contextmanager
def serving(handler, address=LOCAL, **options):
    server = StreamServer(address, handler, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop(0)


def connect(server):
    if isinstance(server.address, tuple):
        return socket.create_connection(server.address[:2], timeout=LIMIT)
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(LIMIT)
    sock.connect(server.address)
    return sock


def ask(server, data=b"hello"):
    with connect(server) as sock:
        sock.sendall(data)
        return sock.recv(100)


@pytest.fixture
def address():
    """Of a port that nobody else gets meanwhile, whether a server with reuse_port listens there or not."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(LOCAL)
        yield holder.getsockname()


@pytest.fixture
def reports(monkeypatch):
    """What excepthook is told."""
    told = []
    monkeypatch.setattr(microthread, "excepthook", lambda args: told.append(args.exc_value))
    return told


# ---- serving ----


def test_echo():
    with serving(echo) as server:
        assert [ask(server) for _ in range(5)] == [b"hello"] * 5


def test_address_is_known_before_it_serves():
    server = StreamServer(LOCAL, echo)
    host, port = server.address
    assert host == "127.0.0.1" and port > 0 and "listening" in repr(server)
    sock = connect(server)  # the kernel accepts already
    server.start()
    sock.sendall(b"early")
    assert sock.recv(10) == b"early"
    sock.close()
    server.stop()
    assert server.address == (host, port) and "stopped" in repr(server)


def test_handler_gets_socket_and_address_in_its_own_micro_thread():
    seen = []

    def handler(sock, address):
        seen.append((type(sock), address, sock.getpeername(), current()))

    with serving(handler) as server:
        with connect(server) as sock:
            assert sock.recv(1) == b""
            assert seen[0][:3] == (socket.socket, sock.getsockname(), sock.getsockname())
        assert seen[0][3] is not current()


def test_every_ipv4_address_by_an_empty_host():
    with serving(echo, ("", 0)) as server:
        assert server.address[0] == "0.0.0.0"
        with socket.create_connection(("127.0.0.1", server.address[1]), timeout=LIMIT) as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"


def test_host_by_name():
    with serving(echo, ("localhost", 0)) as server:
        assert server.address[0] in ("127.0.0.1", "::1") and ask(server) == b"hello"


def test_ipv6_host():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no ::1 here: {error}")
    with serving(echo, ("::1", 0)) as server:
        assert server.address[0] == "::1" and ask(server) == b"hello"


def test_unix_path(tmp_path):
    path = str(tmp_path / "server")
    with serving(echo, path) as server:
        assert server.address == path and ask(server) == b"hello"
    assert not os.path.exists(path)


def test_unix_path_that_another_server_has_taken_over(tmp_path):
    path = str(tmp_path / "server")
    with serving(echo, path) as old:
        os.rename(path, path + ".old")
        with serving(echo, path) as new:
            old.stop()
            assert ask(new) == b"hello"


def test_abstract_unix_name():
    name = f"\0microthread-server-{os.getpid()}"
    with serving(echo, name) as server:
        assert server.address == name.encode() and ask(server) == b"hello"


def test_reuse_port():
    with serving(echo, reuse_port=True) as one:
        two = StreamServer(one.address, echo, reuse_port=True)
        two.stop()


@pytest.mark.parametrize("address, error", [
    (("127.0.0.1",), TypeError), (5, TypeError), (None, TypeError), ("/no/such/folder/x", OSError),
    (("127.0.0.1", -1), OverflowError), (("127.0.0.1", 70_000), OverflowError), ((None, 0), TypeError),
    (("", 70_000), OverflowError), ((5, 0), TypeError), (("127.0.0.1", "no-such-service"), OSError),
    (("192.0.2.1", 0), OSError)])  # 192.0.2.1: nobody's
def test_bad_address_is_refused(address, error):
    with pytest.raises(error):
        StreamServer(address, echo)


def test_address_in_use_is_refused():
    with serving(echo) as server, pytest.raises(OSError) as caught:
        StreamServer(server.address, echo)
    assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("options, error", [
    ({"limit": 0}, ValueError), ({"limit": -1}, ValueError), ({"limit": "x"}, TypeError), ({"limit": 2.5}, TypeError),
    ({"backlog": "x"}, TypeError), ({"colour": "red"}, TypeError)])
def test_bad_options_are_refused(options, error):
    with pytest.raises(error):
        StreamServer(LOCAL, echo, **options)


def test_handler_that_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="handler must be callable"):
        StreamServer(LOCAL, "echo")


# ---- the end of a handler ----


@pytest.mark.parametrize("end", [ValueError("bad"), None])
def test_connection_is_closed_for_the_handler(end, reports):
    kept = []

    def handler(sock, address):
        kept.append(sock)
        if end:
            raise end

    with serving(handler) as server:
        with connect(server) as sock:
            assert sock.recv(1) == b""
        soon(lambda: len(reports) == bool(end))
        assert kept[0].fileno() == -1
        assert ask(server, b"") == b""  # it goes on
        assert [e for e in reports if e is end] == reports


def test_connection_that_the_handler_closed_itself(reports):
    with serving(lambda sock, address: sock.close()) as server:
        assert ask(server, b"") == b""
        sleep(0.01)
    assert not reports


def test_detached_connection_outlives_its_handler():
    kept = []
    with serving(lambda sock, address: kept.append(sock.detach())) as server:
        with connect(server) as sock:
            soon(lambda: kept)
            with socket.socket(fileno=kept[0]) as taken:
                taken.sendall(b"alive")
                assert sock.recv(10) == b"alive"


def test_connection_of_which_a_file_is_kept_ends_with_its_handler():
    kept = []

    def handler(sock, address):
        kept.append(sock.makefile("rw"))
        kept[0].write("all of it")
        kept[0].flush()

    with serving(handler) as server, connect(server) as sock:
        assert sock.recv(100) == b"all of it"
        assert sock.recv(100) == b""


# ---- the limit ----


def test_limit_holds():
    active = peak = 0
    may_end = Event()

    def handler(sock, address):
        nonlocal active, peak
        active += 1
        peak = max(peak, active)
        may_end.wait()
        sleep(0.005)
        sock.sendall(b"served")
        active -= 1

    with serving(handler, limit=3) as server:
        clients = [spawn(ask, server, b"") for _ in range(12)]
        soon(lambda: active >= 3)
        sleep(0.01)
        may_end.set()
        assert [client.wait(LIMIT) for client in clients] == [b"served"] * 12
    assert peak == 3


def test_at_the_limit_nothing_is_accepted():
    with serving(echo, limit=1) as server:
        with connect(server) as first, connect(server) as second:
            first.sendall(b"x")
            assert first.recv(1) == b"x"
            second.sendall(b"y")
            second.settimeout(0.03)
            with pytest.raises(TimeoutError):
                second.recv(1)
            first.close()
            second.settimeout(LIMIT)
            assert second.recv(1) == b"y"


def test_handler_cancelled_before_it_ran_does_not_count():
    """Its connection is closed all the same."""
    with serving(lambda sock, address: sock.sendall(b"served"), limit=1) as server:
        one, two = socket.socketpair()
        server._begin(one, "somewhere")  # as the accepting micro-thread does
        threads()[-1].cancel()
        assert two.recv(1) == b"" and one.fileno() == -1
        assert ask(server, b"") == b"served"
        two.close()


# ---- stopping ----


def test_stop_waits_for_the_handlers(address):
    log = []

    def handler(sock, address):
        sock.sendall(b"!")
        sleep(0.03)
        log.append("done")

    server = StreamServer(address, handler, reuse_port=True)
    server.start()
    sock = connect(server)
    sock.recv(1)
    server.stop()
    assert log == ["done"] and sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(server)
    server.stop()  # again
    sock.close()


@pytest.mark.parametrize("timeout", [0, 0.02])
def test_stop_cancels_those_left(timeout):
    log = []

    def handler(sock, address):
        sock.sendall(b"!")
        try:
            sleep(60)
        except Cancelled:
            log.append("cancelled")
            sleep(0.01)
            log.append("cleaned up")
            raise

    server = StreamServer(LOCAL, handler)
    server.start()
    socks = [connect(server) for _ in range(3)]
    for sock in socks:
        sock.recv(1)
    began = time.monotonic()
    server.stop(timeout)
    assert time.monotonic() - began >= timeout
    assert sorted(log) == ["cancelled"] * 3 + ["cleaned up"] * 3
    for sock in socks:
        assert sock.recv(1) == b""
        sock.close()


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_stop_with_a_negative_timeout_is_refused(timeout):
    with serving(echo) as server:
        with pytest.raises(ValueError, match="timeout must be >= 0"):
            server.stop(timeout)
        assert ask(server) == b"hello"  # nothing has happened


def test_stop_by_a_handler():
    def handler(sock, address):
        server.stop()
        sock.sendall(b"stopped")

    server = StreamServer(LOCAL, handler)
    thread = parked(server.serve_forever)
    assert ask(server, b"") == b"stopped"
    thread.wait(LIMIT)


def test_stop_by_several_handlers():
    def handler(sock, address):
        sock.recv(1)
        server.stop()
        sock.sendall(b"stopped")

    server = StreamServer(LOCAL, handler)
    thread = parked(server.serve_forever)
    clients = [connect(server) for _ in range(3)]
    soon(lambda: "3 connections" in repr(server))
    for client in clients:
        client.sendall(b"x")
    for client in clients:
        with client:
            assert client.recv(100) == b"stopped"
    thread.wait(LIMIT)


def test_stop_while_it_waits_at_its_limit():
    with serving(lambda sock, address: sleep(60), limit=1) as server:
        with connect(server), connect(server):
            sleep(0.01)
            server.stop(0)


def test_serve_forever_returns_after_the_last_handler():
    log = []

    def handler(sock, address):
        sock.sendall(b"!")
        sleep(0.03)
        log.append("done")

    server = StreamServer(LOCAL, handler)
    thread = parked(server.serve_forever)
    with connect(server) as sock:
        sock.recv(1)
        stopper = spawn(server.stop)
        thread.wait(LIMIT)
        assert log == ["done"]
        stopper.wait(LIMIT)


def test_cancelled_serve_forever_stops_at_once(address):
    log = []

    def handler(sock, address):
        try:
            sock.sendall(b"!")
            sleep(60)
        finally:
            log.append("left")

    server = StreamServer(address, handler, reuse_port=True)
    thread = parked(server.serve_forever)
    with connect(server) as sock:
        sock.recv(1)
        thread.cancel()
        with pytest.raises(CancelledError):
            thread.wait(LIMIT)
        assert log == ["left"] and sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(server)


def test_starting_twice_or_after_the_end_is_refused():
    server = StreamServer(LOCAL, echo)
    server.start()
    for call in (server.start, server.serve_forever):
        with pytest.raises(RuntimeError, match="accepts connections already"):
            call()
    server.stop()
    for call in (server.start, server.serve_forever):
        with pytest.raises(RuntimeError, match="has been stopped"):
            call()


def test_server_that_never_served_can_be_stopped(address):
    server = StreamServer(address, echo, reuse_port=True)
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        connect(server)


def test_connection_accepted_while_it_stops_is_closed():
    server = StreamServer(LOCAL, echo)
    server.stop()
    one, two = socket.socketpair()
    before = threads()
    server._begin(one, "somewhere")  # accept() had it when stop() came
    assert one.fileno() == -1 and two.recv(1) == b"" and threads() == before
    two.close()


# ---- what goes wrong in accept ----


def test_it_survives_a_shortage_of_descriptors():
    check_script("""
        import os, resource
        from microthread import StreamServer, sleep, socket, spawn
        served = []
        def echo(sock, address):
            served.append(address)
            while data := sock.recv(100):
                sock.sendall(data)
        server = StreamServer(("127.0.0.1", 0), echo)
        server.start()
        sleep(0)
        clients = [socket.socket() for _ in range(20)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 9, 100))
        for sock in clients:
            sock.settimeout(60)
            sock.connect(server.address)
        while len(served) <= 5:
            sleep(0.001)
        sleep(0.1)
        assert len(served) < 20, len(served)
        for sock in clients:
            sock.sendall(b"x"); assert sock.recv(1) == b"x"; sock.close()
        assert len(served) == 20
        server.stop()
        print("ok")
    """)


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.ENOBUFS,
                                    errno.EPROTO])
def test_it_survives_failures_of_accept(number, monkeypatch):
    class Listener:
        def __init__(self, sock):
            self.sock, self.failures = sock, 3

        def __getattr__(self, name):
            return getattr(self.sock, name)

        def accept(self):
            if self.failures:
                self.failures -= 1
                raise OSError(number, os.strerror(number))
            return self.sock.accept()

    monkeypatch.setattr(microthread._server, "_PAUSE", 0.001)
    server = StreamServer(LOCAL, echo)
    listener = server._listener = Listener(server._listener)
    server.start()
    assert ask(server) == b"hello" and listener.failures == 0
    server.stop()


def test_another_failure_of_accept_closes_the_listener(address):
    server = StreamServer(address, echo, reuse_port=True)
    server._listener.shutdown(socket.SHUT_RDWR)  # accept gives EINVAL from now on
    with pytest.raises(OSError) as caught:
        server.serve_forever()
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(ConnectionRefusedError):
        connect(server)


def test_interrupt_ends_the_program():
    check_script("""
        import os, signal
        from microthread import StreamServer, sleep, socket, spawn
        def handler(sock, address):
            try:
                sock.sendall(b"!")
                sleep(60)
            finally:
                print("left", flush=True)
        server = StreamServer(("127.0.0.1", 0), handler)
        def client():
            with socket.create_connection(server.address) as sock:
                sock.recv(1)
                os.kill(os.getpid(), signal.SIGINT)
                sock.recv(1)
        spawn(client)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("interrupted")
    """, expected="left\ninterrupted\n")


def test_a_thousand_connections_leave_nothing_behind():
    check_script("""
        import gc, os
        from microthread import StreamServer, socket, stats, threads, sleep
        def echo(sock, address):
            while data := sock.recv(100):
                sock.sendall(data)
        server = StreamServer(("127.0.0.1", 0), echo)
        server.start()
        def round():
            socks = [socket.create_connection(server.address) for _ in range(100)]
            for sock in socks:
                sock.sendall(b"x")
            for sock in socks:
                assert sock.recv(1) == b"x"
                sock.close()
            while len(threads()) > 2:
                sleep(0.001)
            gc.collect()
            return len(gc.get_objects()), len(os.listdir("/proc/self/fd"))
        round()
        before = round()
        for _ in range(8):
            after = round()
        assert after[0] - before[0] < 50 and after[1] == before[1], (before, after)
        server.stop()
        assert len(threads()) == 1, threads()
        print("ok")
    """)
