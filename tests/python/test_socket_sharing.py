# SPDX-License-Identifier: MIT
"""microthread.socket: several micro-threads and OS threads at one socket; what outlives what."""
import errno
import gc
import os
import struct
import threading

import pytest

from microthread import current, micro_pipe, sleep, socket, spawn, wait_readable, yield_now
from socket_support import (LIMIT, connected, fill, listener, parked, soon, tcp,  # noqa: F401
                            with_number)
from support import check_script

pair = connected
SHORT = 0.02  # seconds


def test_others_run_while_one_waits(pair):
    def tick():
        for _ in range(6):
            sleep(0.001)
        pair[1].send(b"x")

    spawn(tick)
    assert pair[0].recv(1) == b"x"


def test_two_readers_take_turns():
    one, two = socket.socketpair(type=socket.SOCK_DGRAM)
    got = {"a": [], "b": [], "c": []}

    def read(name):
        while data := two.recv(10):
            got[name].append(int(data))

    threads = [parked(read, name) for name in got]
    for n in range(30):
        one.send(b"%d" % n)  # all of it at once: nobody may take it all
    soon(lambda: sum(map(len, got.values())) == 30)
    assert sorted(sum(got.values(), [])) == list(range(30))
    assert all(len(mine) == 10 and mine == sorted(mine) for mine in got.values()), got
    for _ in threads:
        one.send(b"")
    for thread in threads:
        thread.wait(LIMIT)
    one.close()
    two.close()


def test_two_acceptors_take_turns(listener):
    got = {"a": 0, "b": 0}

    def accept(name):
        while True:
            listener.accept()[0].close()
            got[name] += 1

    threads = [parked(accept, name) for name in got]
    clients = [socket.create_connection(listener.getsockname()) for _ in range(10)]
    soon(lambda: sum(got.values()) == 10)
    assert got == {"a": 5, "b": 5}
    for thread in threads:
        thread.cancel()
    for client in clients:
        client.close()


def test_reader_and_writer_of_one_socket(tcp):
    """Both directions are full duplex."""
    data = os.urandom(500_000)
    threads = []
    for end in tcp:
        def read(end=end):
            got = b""
            while len(got) < len(data):
                got += end.recv(30_000)
            return got

        threads += [spawn(read), spawn(end.sendall, data)]
    assert [thread.wait(LIMIT) for thread in threads] == [data, None, data, None]


def test_always_ready_data_starves_nobody(pair):
    """After a bounded run of calls that need not wait, 32, the caller gives way all the same."""
    turns = []
    spawn(turns.append, 1)
    for _ in range(16):
        pair[0].send(b"x")
        pair[1].recv(1)
    assert turns


def test_ready_call_goes_ahead_without_a_switch(pair):
    ran = []
    spawn(ran.append, 1)
    micro_pipe().put(1)
    if ran:
        pytest.skip("a stress build yields at every call")
    for _ in range(7):
        pair[0].sendall(b"x")
        assert pair[1].recv(65536) == b"x"
    assert not ran
    yield_now()


def test_closed_reader_and_its_successor_with_the_same_number():
    """What was known about a descriptor dies with it."""
    for _ in range(20):
        one, two = socket.socketpair()
        reader = parked(two.recv, 10)
        one.sendall(b"x")
        assert reader.wait(LIMIT) == b"x"
        one.close()
        two.close()


def test_descriptor_closed_behind_our_back(pair):
    """Its successor with the same number is served; the old object gets an error."""
    reader = parked(pair[0].recv, 10)
    number = pair[0].fileno()
    os.close(number)
    fresh = with_number(number, socket.AF_INET, socket.SOCK_DGRAM)
    with pytest.raises(OSError) as caught:
        reader.wait(LIMIT)
    assert caught.value.errno == errno.EBADF
    fresh.bind(("127.0.0.1", 0))
    reader = parked(fresh.recv, 10)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(b"x", fresh.getsockname())
    assert reader.wait(LIMIT) == b"x"
    fresh.detach()  # the number is pair[0]'s to close


def test_reader_of_a_detached_socket_is_woken(pair):
    reader = parked(pair[0].recv, 10)
    fd = pair[0].detach()
    with pytest.raises(OSError) as caught:
        reader.wait(LIMIT)
    assert caught.value.errno == errno.EBADF
    os.close(fd)


def test_descriptor_that_a_duplicate_has_made_blocking():
    check_script('''
        import os, tempfile
        from microthread import socket, spawn, yield_now

        def made_blocking(sock):
            other = sock.dup()
            os.close(sock.detach())  # others shall find a blocking one
            assert os.get_blocking(other.fileno())
            return other

        def parked(fn, *args):
            thread = spawn(fn, *args)
            while thread.state != "waiting":  # in a stress build it takes several turns
                yield_now()
            return thread

        listener = made_blocking(socket.create_server(("127.0.0.1", 0)))
        accepting = parked(listener.accept)
        socket.create_connection(listener.getsockname()).close()
        accepting.wait(60)
        one, two = socket.socketpair()
        one = made_blocking(one)
        for call in (one.recv, one.recvmsg):
            reading = parked(call, 10)
            two.send(b"x")
            reading.wait(60)
        sending = parked(lambda: [one.sendmsg([b"x" * 10_000]) for _ in range(300)])
        got = 0
        while got < 3_000_000:
            got += len(two.recv(65536))
        sending.wait(60)
        with tempfile.TemporaryFile() as file:
            file.truncate(3_000_000)
            sending = parked(one.sendfile, file)
            got = 0
            while got < 3_000_000:
                got += len(two.recv(65536))
            assert sending.wait(60) == 3_000_000
        print("ok")
    ''')


def test_shutdown_wakes_the_reader(tcp):
    reader = parked(tcp[0].recv, 10)
    tcp[0].shutdown(socket.SHUT_RD)
    assert reader.wait(LIMIT) == b""


def test_reset_is_seen_by_reader_and_writer(tcp):
    reader = parked(tcp[0].recv, 10)
    tcp[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    tcp[1].close()
    with pytest.raises(ConnectionResetError):
        reader.wait(LIMIT)
    with pytest.raises(BrokenPipeError):
        tcp[0].sendall(b"x")


def test_close_that_lingers_waits_in_a_worker(tcp):
    ticks = []

    def tick():
        while True:
            ticks.append(1)
            sleep(0.001)

    fill(tcp[0])
    tcp[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LIMIT))
    closer = parked(tcp[0].close)
    ticker = spawn(tick)
    soon(lambda: len(ticks) > 5)
    assert not closer.done() and tcp[0].fileno() == -1
    while tcp[1].recv(1 << 20):
        pass
    closer.wait(LIMIT)
    ticker.cancel()


def test_waiting_on_a_socket_shows_what_it_waits_for(pair):
    reader = parked(pair[0].recv, 1)
    assert reader.waiting_for == f"read fd {pair[0].fileno()}"
    reader.cancel()


def test_wait_readable_takes_a_socket(pair):
    with pytest.raises(TimeoutError):
        wait_readable(pair[0], timeout=SHORT)
    pair[1].send(b"x")
    wait_readable(pair[0], timeout=LIMIT)
    assert pair[0].recv(1) == b"x"


def test_waiting_reader_holds_no_buffer():
    """What is asked for is not what is allocated."""
    check_script("""
        import resource
        from microthread import sleep, socket, spawn
        def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pairs = [socket.socketpair() for _ in range(100)]
        readers = [spawn(b.recv, 1 << 24) for a, b in pairs]
        sleep(0.01)
        before = peak()
        for a, b in pairs:
            a.send(b"x" * 64)
        assert [reader.wait(60) for reader in readers] == [b"x" * 64] * 100
        assert peak() - before < 2000, (before, peak())  # KiB
        print("ok")
    """)


# ---- OS threads, forks, the end ----


def test_each_os_thread_waits_in_its_own_loop(pair):
    readers, got = [], []

    def work():
        readers.append(current())
        got.append(pair[0].recv(10))
        readers.append(spawn(pair[0].recv, 10))
        got.append(readers[1].wait(LIMIT))

    thread = threading.Thread(target=work)
    thread.start()
    for n, data in enumerate((b"one", b"two")):
        soon(lambda n=n: len(readers) > n and readers[n].state == "waiting")
        pair[1].sendall(data)
    soon(lambda: not thread.is_alive())
    assert got == [b"one", b"two"]


def test_close_wakes_readers_of_other_os_threads(pair):
    readers, caught = [], []

    def work():
        readers.append(current())
        try:
            pair[0].recv(10)
        except OSError as error:
            caught.append(error.errno)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    mine = parked(pair[0].recv, 10)
    soon(lambda: [reader.state for reader in readers] == ["waiting"] * 3)
    pair[0].close()
    for thread in threads:
        thread.join(LIMIT)
    assert caught == [errno.EBADF] * 3
    with pytest.raises(OSError):
        mine.wait(LIMIT)


def test_number_reused_by_another_os_thread():
    """Each loop's knowledge of a descriptor ends when any OS thread closes it."""
    check_script("""
        import os, threading
        from microthread import run_blocking, socket, spawn, sleep
        def other():
            a, b = socket.socketpair()
            with a, b:
                a.send(b"x"); b.recv(1)
                reader = spawn(b.recv, 1); sleep(0.001); a.send(b"y"); assert reader.wait(60) == b"y"
        for n in range(50):
            if n % 2:
                thread = threading.Thread(target=other); thread.start(); thread.join(60)
                assert not thread.is_alive()
            else:
                other()
        print("ok")
    """)


def test_fork_leaves_both_with_working_sockets():
    check_script("""
        import os
        from microthread import socket, spawn, sleep
        a, b = socket.socketpair()
        reader = spawn(b.recv, 10)
        sleep(0.001)
        pid = os.fork()
        if pid == 0:
            c, d = socket.socketpair()
            inner = spawn(d.recv, 10)
            sleep(0.001)
            c.send(b"child")
            assert inner.wait(60) == b"child"
            a.send(b"from child")
            os._exit(0)
        assert reader.wait(60) == b"from child"
        assert os.waitpid(pid, 0)[1] == 0
        print("ok")
    """)


def test_finally_blocks_of_waiting_readers_run_at_exit():
    check_script("""
        from microthread import socket, spawn, yield_now
        a, b = socket.socketpair()
        server = socket.create_server(("127.0.0.1", 0))
        def read(call, *args):
            try:
                call(*args)
            finally:
                print("left")
        spawn(read, b.recv, 10); spawn(read, server.accept); spawn(read, b.recv_into, bytearray(5))
        yield_now()
        print("end")
    """, expected="end\nleft\nleft\nleft\n")


def test_nothing_leaks(pair):
    def traffic():
        for _ in range(300):
            pair[0].sendall(b"x" * 500)
            pair[1].recv(65536)
            pair[0].send(bytearray(b"y"))
            pair[1].recv_into(bytearray(10))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.bind(("127.0.0.1", 0))
                one.sendto(b"z", one.getsockname())
                one.recvfrom(100)
                one.settimeout(0)
                try:
                    one.recv(1)
                except BlockingIOError:
                    pass

    traffic()
    gc.collect()
    before = len(gc.get_objects()), len(os.listdir("/proc/self/fd"))
    traffic()
    gc.collect()
    after = len(gc.get_objects()), len(os.listdir("/proc/self/fd"))
    assert after[0] - before[0] < 50 and after[1] == before[1]
