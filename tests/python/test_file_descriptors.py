# SPDX-License-Identifier: MIT
"""The functions that files and microthread.os are made of: reads and writes by descriptor."""
import errno
import fcntl
import os
import threading

import pytest

from microthread import Cancelled, _core, current, sleep, spawn, timeout, yield_now

from file_support import on_each_backend, open_pty
from support import check_script, until_all_wait

OS_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


@on_each_backend
def test_regular_file_is_written_and_read(folder):
    fd = _core.open_fd(folder / "a", OS_WRITE)
    assert _core.write_fd(fd, b"hello") == 5
    assert _core.write_fd(fd, memoryview(b" world"), False) == 6
    _core.fsync_fd(fd)
    _core.truncate_fd(fd, 9)
    os.close(fd)
    fd = _core.open_fd(str(folder / "a"), os.O_RDONLY)
    assert not os.get_inheritable(fd)
    assert _core.read_fd(fd, 4) == b"hell"
    buffer = bytearray(100)
    assert _core.readinto_fd(fd, buffer) == 5 and buffer[:5] == b"o wor"
    assert _core.read_fd(fd, 10) == b""
    os.close(fd)


@on_each_backend
def test_large_read_and_write_are_whole(folder):
    data = os.urandom(1000) * 5000
    fd = os.open(folder / "a", os.O_RDWR | os.O_CREAT)
    assert _core.write_fd(fd, data) == len(data)
    os.lseek(fd, 0, os.SEEK_SET)
    assert _core.read_fd(fd, len(data) + 100) == data
    os.lseek(fd, 7, os.SEEK_SET)
    assert _core._readall_fd(fd) == data[7:]
    os.close(fd)


@on_each_backend
def test_many_at_once_keep_their_own_data(folder):
    def work(number):
        data = str(number).encode() * 1000
        fd = _core.open_fd(folder / str(number), OS_WRITE)
        _core.write_fd(fd, data)
        os.close(fd)
        fd = _core.open_fd(folder / str(number), os.O_RDONLY)
        assert _core.read_fd(fd, 10000) == data
        os.close(fd)

    for thread in [spawn(work, number) for number in range(300)]:
        thread.wait()


@on_each_backend
def test_errors_name_the_path_or_the_number(folder):
    with pytest.raises(FileNotFoundError) as caught:
        _core.open_fd(folder / "none", os.O_RDONLY)
    assert caught.value.filename == folder / "none"
    with pytest.raises(IsADirectoryError):
        _core.open_fd(folder, os.O_WRONLY)
    with pytest.raises(OSError) as caught:
        _core.read_fd(_core.open_fd(folder / "a", OS_WRITE), 1)
    assert caught.value.errno == errno.EBADF
    for call in (lambda: _core.read_fd(-1, 1), lambda: _core.write_fd(10**6, b"x"),
                 lambda: _core.fsync_fd(10**6)):
        with pytest.raises((OSError, ValueError)):
            call()
    with pytest.raises(OSError):
        _core.read_fd(0, -1)


@on_each_backend
def test_cancelled_before_it_begins_reads_nothing(folder):
    (folder / "a").write_bytes(b"abc")
    fd = os.open(folder / "a", os.O_RDONLY)

    def reader():
        current().cancel()
        with pytest.raises(Cancelled):
            _core.read_fd(fd, 2)

    spawn(reader).wait()
    assert _core.read_fd(fd, 10) == b"abc"
    os.close(fd)


@on_each_backend
def test_cancelled_write_is_whole_or_not_at_all(folder):
    done = []

    def writer(number):
        fd = os.open(folder / str(number), OS_WRITE)
        try:
            done.append((number, _core.write_fd(fd, b"x" * 100_000)))
        finally:
            os.close(fd)

    for number in range(60):
        thread = spawn(writer, number)
        yield_now()
        if number % 3:
            yield_now()
        thread.cancel()
        thread._join()
        size = os.stat(folder / str(number)).st_size
        assert size in (0, 100_000) and (size > 0) == ((number, 100_000) in done)


@on_each_backend
def test_pipe_waits_for_data_and_for_room(folder):
    r, w = os.pipe()
    order = []

    def reader():
        order.append(_core.read_fd(r, 100))

    thread = spawn(reader)
    until_all_wait(thread)
    assert thread.waiting_for == f"read fd {r}"
    order.append("written")
    assert _core.write_fd(w, b"data") == 4
    thread.wait()
    assert order == ["written", b"data"]
    writer = spawn(lambda: sum(_core.write_fd(w, b"x" * 100_000) for _ in range(3)))
    until_all_wait(writer)
    assert writer.waiting_for == f"write fd {w}"
    count = 0
    while not writer.done() or count < writer.result():
        count += len(_core.read_fd(r, 65536))
    os.close(w)
    assert _core.read_fd(r, 1) == b""
    os.close(r)


@on_each_backend
def test_pipe_that_times_out_loses_nothing(folder):
    r, w = os.pipe()
    with pytest.raises(TimeoutError):
        with timeout(0.01):
            _core.read_fd(r, 10)
    os.write(w, b"later")
    assert _core.read_fd(r, 10) == b"later"
    os.close(r)
    os.close(w)


def test_shared_descriptors_stay_blocking():
    for r, w in (os.pipe(), open_pty()):
        thread = spawn(_core.read_fd, r, 10)
        yield_now()
        assert not fcntl.fcntl(r, fcntl.F_GETFL) & os.O_NONBLOCK
        _core.write_fd(w, b"x\n")
        assert thread.wait().startswith(b"x")
        assert not fcntl.fcntl(w, fcntl.F_GETFL) & os.O_NONBLOCK
        os.close(r)
        os.close(w)


def test_tty_waits_for_its_line():
    main, tty = open_pty()
    thread = spawn(_core.read_fd, tty, 100)
    sleep(0.005)
    assert not thread.done()
    _core.write_fd(main, b"line\n")
    assert thread.wait() == b"line\n"
    os.close(main)
    os.close(tty)


@on_each_backend
def test_fifo_opens_when_both_sides_are_there(folder):
    os.mkfifo(folder / "fifo")
    reader = spawn(_core.open_fd, folder / "fifo", os.O_RDONLY)
    sleep(0.003)
    assert not reader.done()
    w = _core.open_fd(folder / "fifo", os.O_WRONLY)
    r = reader.wait()
    late = spawn(_core.read_fd, r, 10)
    yield_now()
    _core.write_fd(w, b"x")
    assert late.wait() == b"x"
    os.close(w)
    assert _core.read_fd(r, 1) == b""
    os.close(r)
    writer = spawn(_core.open_fd, folder / "fifo", os.O_WRONLY)
    sleep(0.003)
    assert not writer.done()
    writer.cancel()
    writer._join()
    assert writer.cancelled()


def test_cancelled_open_of_fifo_leaves_no_descriptor(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    before = len(os.listdir("/proc/self/fd"))
    thread = spawn(_core.open_fd, tmp_path / "fifo", os.O_RDONLY)
    sleep(0.003)
    thread.cancel()
    thread._join()
    assert len(os.listdir("/proc/self/fd")) == before


@on_each_backend
def test_devices_answer(folder):
    fd = _core.open_fd("/dev/zero", os.O_RDWR)
    assert _core.read_fd(fd, 3) == bytes(3)
    assert _core.write_fd(fd, b"abc") == 3
    os.close(fd)
    fd = _core.open_fd("/proc/self/status", os.O_RDONLY)
    assert _core.read_fd(fd, 5) == b"Name:"
    os.close(fd)


def test_who_reads_for_ever_gives_way(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 100)
    fd = os.open(tmp_path / "a", os.O_RDONLY)
    stop = []
    spawn(stop.append, 1)
    while not stop:
        _core.read_fd(fd, 0)
    os.close(fd)


@pytest.mark.parametrize("backend", ["uring", "threads"])
def test_fork_leaves_the_parents_means_alone(backend, tmp_path):
    check_script(f"""
        import os, warnings, microthread
        from microthread import _core, spawn
        warnings.simplefilter("ignore")  # workers are OS threads, and a fork warns of those
        path = {str(tmp_path / 'a')!r}
        def work(name):
            fd = _core.open_fd(path + name, os.O_RDWR | os.O_CREAT)
            for _ in range(50):
                assert _core.write_fd(fd, b"x" * 5000) == 5000
            os.lseek(fd, 0, 0)
            assert len(_core._readall_fd(fd)) == 250_000
            os.close(fd)
        def all(name):
            for thread in [spawn(work, f"{{name}}-{{n}}") for n in range(8)]:
                thread.wait()
        others = [spawn(work, str(n)) for n in range(4)]
        microthread.yield_now()
        pid = os.fork()
        if pid == 0:
            all("child")
            os._exit(0)
        all("parent")
        for thread in others:
            thread.wait()
        assert os.waitpid(pid, 0)[1] == 0
        print("ok")
    """, env={"MICROTHREAD_FILES": backend})


@pytest.mark.parametrize("backend", ["uring", "threads"])
def test_process_ends_while_files_are_used(backend, tmp_path):
    check_script(f"""
        import os, microthread
        from microthread import _core, spawn
        def work():
            fd = os.open({str(tmp_path / 'a')!r}, os.O_RDWR | os.O_CREAT)
            while True:
                _core.write_fd(fd, b"x" * 100_000)
        for _ in range(10):
            spawn(work)
        microthread.sleep(0.01)
        print("ok")
    """, env={"MICROTHREAD_FILES": backend})


def test_each_os_thread_has_means_of_its_own(tmp_path):
    def body():
        fd = _core.open_fd(tmp_path / str(threading.get_ident()), OS_WRITE)
        for _ in range(10):
            assert _core.write_fd(fd, b"x" * 1000) == 1000
        os.close(fd)

    threads = [threading.Thread(target=body) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all((tmp_path / name).stat().st_size == 10_000 for name in os.listdir(tmp_path))
    assert len(os.listdir(tmp_path)) >= 1
