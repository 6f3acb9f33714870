# SPDX-License-Identifier: MIT
"""Sockets while each of our allocations fails in turn: MemoryError, and nothing is lost."""
import importlib.util

import pytest

from support import check_script


@pytest.mark.parametrize("action", [
    "a.send(b'x'); b.recv(10)",
    "t = spawn(b.recv, 10); yield_now(); a.send(b'x'); t.wait()",
    "t = spawn(b.recv_into, bytearray(10)); yield_now(); a.send(b'x'); t.wait()",
    "t = spawn(b.recvmsg, 10); yield_now(); a.send(b'x'); t.wait()",
    "b.settimeout(0.0001); b.recv(1)",
    "t = spawn(server.accept); c = socket.create_connection(server.getsockname()); t.wait(); c.close()",
    "b.settimeout(0.01); t = spawn(a.sendall, b'x' * 1000000); yield_now(); b.recv(99999); b.recv(99)",
    "[one.close() for one in socket.socketpair()]",
    "s = StreamServer(('127.0.0.1', 0), print); s.start(); yield_now(); s.stop()",
])
def test_every_allocation_may_fail(action):
    check_script(f"""
        import os, warnings
        import microthread._server
        from microthread import StreamServer, _core, socket, spawn, threads, yield_now
        warnings.simplefilter("ignore")
        microthread.excepthook = lambda args: None
        def act(a, b, server):
            {action}
        failed = 0
        threads()  # makes the scheduler
        for n in [*range(1, 30), 10 ** 9]:
            fds = len(os.listdir("/proc/self/fd"))
            a, b = socket.socketpair()
            server = socket.create_server(("127.0.0.1", 0))
            _core._fail_allocation(n)
            try:
                act(a, b, server)
            except MemoryError:
                failed += 1
            except TimeoutError:
                pass
            finally:
                _core._fail_allocation(0)
            for sock in (a, b, server):
                sock.close()
            while len(threads()) > 1:
                threads()[-1].cancel()
                yield_now()
            assert len(os.listdir("/proc/self/fd")) == fds, n
        a, b = socket.socketpair()
        a.send(b"still")
        assert b.recv(10) == b"still"
        print("ok")
    """)


@pytest.mark.skipif(not importlib.util.find_spec("_testcapi"), reason="no _testcapi here")
def test_no_memory_for_what_came_is_nobody_elses_error():
    check_script("""
        import _testcapi
        from microthread import socket, spawn, yield_now
        a, b = socket.socketpair()
        def other():
            while True:
                yield_now()
        thread = spawn(other)
        a.sendall(b"x" * 20_000)
        b.recv(10)
        failed = 0
        for _ in range(1000):
            _testcapi.set_nomemory(0, 1)
            try:
                b.recv(10)
            except MemoryError:
                failed += 1
            finally:
                _testcapi.remove_mem_hooks()
        assert failed > 900 and not thread.done(), (failed, thread)
        print("ok")
    """)
