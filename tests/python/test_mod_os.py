# SPDX-License-Identifier: MIT
"""microthread.os: descriptors and children; only a micro-thread waits."""
import contextlib
import fcntl
import os as standard
from concurrent.futures import CancelledError

import pytest

from microthread import os, sleep, socket, spawn
from socket_support import LIMIT, parked
from support import check_script


@pytest.fixture
def pipe():
    ends = standard.pipe()
    yield ends
    for fd in ends:
        with contextlib.suppress(OSError):
            standard.close(fd)


def more_than_fits(fd):
    """Data that this pipe cannot hold; how much it holds depends on the size of the kernel's pages."""
    return bytes(4 * fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ))


def held_child(status=0):
    """Its number, and what lets it end."""
    reader, writer = standard.pipe()
    pid = standard.fork()
    if not pid:
        standard.close(writer)
        standard.read(reader, 1)
        standard._exit(status)
    standard.close(reader)

    def release():
        standard.write(writer, b"x")
        standard.close(writer)

    return pid, release


def child(status=0):
    """It ends when others have run a while: never, if whoever waits for it blocks."""
    pid, release = held_child(status)

    def release_later():
        for _ in range(3):
            sleep(0.002)
        release()

    spawn(release_later)
    return pid


@contextlib.contextmanager
def others_running():
    """Some run in the block."""
    ticks = []

    def tick():
        while True:
            sleep(0.001)
            ticks.append(1)

    ticker = spawn(tick)
    yield
    ticker.cancel()
    assert ticks


# ---- reading and writing ----


def read(fd):
    return os.read(fd, 100)


def readv(fd):
    buffers = [bytearray(1), bytearray(100)]
    count = os.readv(fd, buffers)
    return b"".join(buffers)[:count]


@pytest.mark.parametrize("call", [read, readv])
def test_reading_a_pipe_waits_for_data(call, pipe):
    reader = parked(call, pipe[0])
    assert os.write(pipe[1], b"data") == 4
    assert reader.wait(LIMIT) == b"data"
    standard.close(pipe[1])
    assert call(pipe[0]) == b""


@pytest.mark.parametrize("call", [os.write, lambda fd, data: os.writev(fd, [b"", data])])
def test_writing_a_pipe_waits_for_room_and_writes_all(call, pipe):
    data = more_than_fits(pipe[1])
    writer = parked(call, pipe[1], data)
    left = len(data)
    while left:
        left -= len(os.read(pipe[0], left))
    assert writer.wait(LIMIT) == len(data)


def test_write_that_is_cancelled_half_way_says_how_much_went(pipe):
    counts, data = [], more_than_fits(pipe[1])
    writer = parked(lambda: counts.append(os.write(pipe[1], data)))
    writer.cancel()
    writer.wait(LIMIT)
    assert 0 < counts[0] < len(data) and len(os.read(pipe[0], len(data))) == counts[0]


def test_non_blocking_descriptor_fails_at_once(pipe):
    for fd in pipe:
        standard.set_blocking(fd, False)
    for call in (read, readv):
        with pytest.raises(BlockingIOError):
            call(pipe[0])
    with pytest.raises(BlockingIOError):
        while True:
            os.write(pipe[1], b"x" * 65536)


def test_regular_file(tmp_path):
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT, 0o600)
    assert os.write(fd, b"hello") == 5 and os.pwrite(fd, b"J", 0) == 1
    assert os.pwritev(fd, [b"!", b"?"], 5) == 2 and os.pread(fd, 100, 1) == b"ello!?"
    buffers = [bytearray(2), bytearray(2)]
    assert os.preadv(fd, buffers, 0) == 4 and buffers == [b"Je", b"ll"]
    os.fsync(fd)
    os.fdatasync(fd)
    assert os.read(fd, 10) == b"!?" and os.readv(fd, buffers) == 0
    copy = os.open(tmp_path / "copy", os.O_RDWR | os.O_CREAT)
    assert os.copy_file_range(fd, copy, 4, 0) == 4
    os.lockf(copy, os.F_LOCK, 0)
    os.close(fd)
    os.close(copy)
    assert (tmp_path / "copy").read_bytes() == b"Jell"


def test_fifo_waits_for_its_other_side(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    opener = parked(os.open, tmp_path / "fifo", os.O_RDONLY)
    writer = os.open(tmp_path / "fifo", os.O_WRONLY)
    reader = opener.wait(LIMIT)
    os.write(writer, b"x")
    assert os.read(reader, 1) == b"x"
    os.close(reader)
    os.close(writer)


def test_sendfile_to_a_pipe(pipe, tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    with open(tmp_path / "file", "rb") as file:
        assert os.sendfile(pipe[1], file.fileno(), 3, 100) == 4
    assert os.read(pipe[0], 100) == b"tent"


def test_eventfd():
    fd = os.eventfd(0)
    reader = parked(os.eventfd_read, fd)
    os.eventfd_write(fd, 1)
    assert reader.wait(LIMIT) == 1
    os.eventfd_write(fd, 2**64 - 2)
    writer = parked(os.eventfd_write, fd, 1)
    assert os.eventfd_read(fd) == 2**64 - 2
    writer.wait(LIMIT)
    assert os.eventfd_read(fd) == 1
    os.close(fd)


@pytest.mark.parametrize("name, args", [
    ("read", (-1, 1)), ("read", (999999, 1)), ("read", (0, -1)), ("read", ("x", 1)), ("read", (0, "x")),
    ("write", (-1, b"")), ("write", (1, "text")), ("write", (1,)), ("readv", (-1, [])),
    ("readv", (999999, [])), ("writev", (-1, [b"x"])), ("pread", (-1, 1, 0)), ("fsync", (-1,)),
    ("fsync", (999999,)), ("waitpid", ("x", 0)), ("waitpid", (2**22 + 1, 0)), ("waitpid", (-1, 1 << 20)),
    ("wait", ()), ("wait3", (0,)), ("wait4", (-1, 0)), ("waitid", (os.P_PID, 2**22 + 1, os.WEXITED)),
    ("waitid", (77, 1, os.WEXITED)), ("popen", (b"x",)), ("popen", ("x", "z")), ("popen", ("x", "r", 0)),
    ("open", ("/no/such/file", 0)), ("open", (None, 0)), ("eventfd_read", (999999,)),
    ("sendfile", (999999, 0, 0, 1)), ("system", (None,)), ("lockf", (999999, os.F_LOCK, 0))])
def test_bad_arguments_fail_as_in_the_standard_module(name, args):
    with pytest.raises(Exception) as theirs:
        getattr(standard, name)(*args)
    with pytest.raises(type(theirs.value)) as ours:
        getattr(os, name)(*args)
    assert getattr(ours.value, "errno", None) == getattr(theirs.value, "errno", None)


# ---- children ----


@pytest.mark.parametrize("wait", [
    lambda pid: os.waitpid(pid, 0), lambda pid: os.waitpid(-1, 0), lambda pid: os.waitpid(0, 0),
    lambda pid: os.wait(), lambda pid: os.wait3(0)[:2], lambda pid: os.wait4(pid, 0)[:2],
    lambda pid: os.waitpid(-standard.getpgrp(), 0)])
def test_waiting_for_a_child(wait):
    pid = child(7)
    with others_running():
        assert wait(pid) == (pid, 7 << 8)
    with pytest.raises(ChildProcessError):
        wait(pid)


@pytest.mark.parametrize("kind", [os.P_PID, os.P_ALL, os.P_PIDFD])
def test_waitid(kind):
    pid = child(7)
    fd = os.pidfd_open(pid)
    ident = {os.P_PID: pid, os.P_ALL: 0, os.P_PIDFD: fd}[kind]
    assert os.waitid(kind, ident, os.WEXITED | os.WNOHANG) is None
    with others_running():
        left = os.waitid(kind, ident, os.WEXITED | os.WNOWAIT)
    assert (left.si_pid, left.si_status) == (pid, 7)
    assert os.waitpid(pid, os.WNOHANG) == (pid, 7 << 8)
    os.close(fd)


def test_waiting_for_a_child_that_stops():
    pid = standard.posix_spawnp("sleep", ["sleep", "60"], standard.environ)
    spawn(lambda: (sleep(0.01), standard.kill(pid, 19)))  # SIGSTOP
    stopped, status = os.waitpid(pid, os.WUNTRACED)
    assert stopped == pid and os.WIFSTOPPED(status)
    standard.kill(pid, 9)
    assert os.waitpid(pid, 0) == (pid, 9)


def test_each_of_many_waiters_gets_a_child():
    pids = {child() for _ in range(5)}
    waiters = [spawn(os.wait) for _ in range(5)]
    assert {waiter.wait(LIMIT)[0] for waiter in waiters} == pids


def test_cancelled_waiter_leaves_the_child_to_others():
    before = len(standard.listdir("/proc/self/fd"))
    pid, release = held_child(3)
    for wait in (lambda: os.waitpid(pid, 0), os.wait):
        waiter = parked(wait)
        waiter.cancel()
        with pytest.raises(CancelledError):
            waiter.wait(LIMIT)
    release()
    assert os.waitpid(pid, 0) == (pid, 3 << 8)
    assert len(standard.listdir("/proc/self/fd")) == before


def test_waiter_that_is_left_does_not_hold_up_the_exit():
    check_script("""
        import time
        from microthread import os, sleep, socket, spawn
        pid = os.fork()
        if not pid:
            null = os.open("/dev/null", os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            os.execvp("sleep", ["sleep", "600"])
        spawn(os.wait)
        sleep(0.01)
        print("ok")
    """)


def test_without_pidfd(monkeypatch):
    def refuse(pid):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(standard, "pidfd_open", refuse)
    pid = child(7)
    assert os.waitpid(pid, 0) == (pid, 7 << 8)


def test_system_popen_and_spawn(tmp_path):
    fifo = str(tmp_path / "fifo")
    standard.mkfifo(fifo)
    end = standard.open(fifo, standard.O_RDWR)
    command = ("timeout", "60", "head", "-c", "1", fifo)  # ends well when others have run a while

    def release():
        for _ in range(3):
            sleep(0.002)
        standard.write(end, b"x")

    spawn(release)
    with others_running():
        assert os.system(f"{' '.join(command)} || exit 1; exit 7") == 7 << 8
    spawn(release)
    with others_running():
        with os.popen(f"{' '.join(command)}; echo text") as file:
            assert file.read() == "xtext\n"
    assert os.popen("exit 3").close() == 3 << 8
    spawn(release)
    with others_running():
        assert os.spawnlp(os.P_WAIT, command[0], *command) == 0
    standard.close(end)


# ---- sockets by their number ----


@pytest.mark.parametrize("send, receive", [
    (lambda fd: os.write(fd, b"ab"), read),
    (lambda fd: os.writev(fd, [b"a", b"b"]), readv)])
def test_blocking_socket_read_by_its_number_waits_as_the_socket(send, receive):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = parked(receive, ours.fileno())
        assert send(theirs.fileno()) == 2
        assert reader.wait(LIMIT) == b"ab"
        theirs.close()
        assert receive(ours.fileno()) == b""


def test_full_blocking_socket_written_by_its_number_takes_all():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # some systems' own is larger than data
        writer = parked(os.write, ours.fileno(), bytes(1 << 20))
        assert len(theirs.recv(1 << 20, socket.MSG_WAITALL)) == 1 << 20
        assert writer.wait(LIMIT) == 1 << 20


@pytest.mark.parametrize("timeout", [0, LIMIT])
def test_socket_with_a_timeout_read_by_its_number_never_waits(timeout):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(timeout)
        with pytest.raises(BlockingIOError):
            os.read(ours.fileno(), 1)


def test_number_of_a_closed_socket_is_no_socket(pipe):
    ours, theirs = socket.socketpair()
    fd = ours.fileno()
    ours.close()
    theirs.close()
    standard.dup2(pipe[0], fd)
    standard.set_blocking(fd, False)
    try:
        with pytest.raises(BlockingIOError):
            os.read(fd, 1)
    finally:
        standard.close(fd)


def test_file_sent_to_a_full_blocking_socket_waits(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 100)
    ours, theirs = socket.socketpair()
    with ours, theirs, open(tmp_path / "file", "rb") as file:
        theirs.setblocking(False)
        ours.setblocking(False)
        try:
            while True:
                ours.send(bytes(1 << 16))
        except BlockingIOError:
            ours.setblocking(True)
        sender = parked(os.sendfile, ours.fileno(), file.fileno(), 10, 20)
        theirs.setblocking(True)
        while sender.state != "done":
            theirs.recv(1 << 16)
            sleep(0)
        assert sender.result() == 20


def test_fdopen_waits_for_its_micro_thread_only(pipe):
    reader, writer = pipe
    with os.fdopen(reader, encoding="utf-8") as file:
        reading = parked(file.readline)
        with os.fdopen(writer, "w", -1, "utf-8", newline="\n") as end:
            end.write("grüße\n")
        assert reading.wait(LIMIT) == "grüße\n"
    with pytest.raises(TypeError, match="invalid fd type"):
        os.fdopen("name")
