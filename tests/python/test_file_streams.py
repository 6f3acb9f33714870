# SPDX-License-Identifier: MIT
"""microthread.open on what has no end yet: pipes, ttys, FIFOs."""
import builtins
import errno
import io
import os
import threading

import pytest

import microthread
from microthread import current, open, sleep, spawn, timeout, yield_now

from file_support import on_each_backend, open_pty


def test_pipe_passes_text_between_micro_threads():
    r, w = os.pipe()

    def write():
        with open(w, "w") as file:
            for number in range(20_000):
                file.write(f"{number}\n")

    writer = spawn(write)
    with open(r) as file:
        assert not file.seekable()
        assert [int(line) for line in file] == list(range(20_000))
    writer.wait()


def test_reader_of_a_pipe_does_not_wait_for_more_than_there_is():
    r, w = os.pipe()
    os.write(w, b"some")
    with open(r, "rb") as file:
        assert file.read1(100) == b"some"
        os.write(w, b"more")
        assert file.peek(1) == b"more"
        os.close(w)
        assert file.read() == b"more"


def test_half_a_line_is_not_lost_by_a_timeout():
    for mode, end in (("r", "\n"), ("r", "\r\n"), ("rb", "\n"), ("r", "\r")):
        r, w = os.pipe()
        with open(r, mode) as file:
            os.write(w, b"half")
            for _ in range(3):
                with pytest.raises(TimeoutError), timeout(0.002):
                    file.readline()
            os.write(w, f" a line{end}and ".encode())
            line = file.readline()
            assert line == ("half a line\n" if mode == "r" else b"half a line\n")
            if end != "\r":
                with pytest.raises(TimeoutError), timeout(0.002):
                    next(file)
            os.write(w, b"more")
            os.close(w)
            assert file.read() == ("and more" if mode == "r" else b"and more")


def test_bytes_that_came_are_not_lost_by_a_timeout():
    r, w = os.pipe()
    with open(r, "rb") as file:
        for call in (lambda: file.read(6), lambda: file.readinto(bytearray(6)), file.read,
                     lambda: file.readline(6), file.readlines):
            os.write(w, b"12345")
            with pytest.raises(TimeoutError), timeout(0.002):
                call()
            assert file.read1() == b"12345"
        os.write(w, b"ab\ncd\nef")
        assert file.readline(1) == b"a" and file.readline() == b"b\n" and file.peek() == b"cd\nef"
        buffer = bytearray(3)
        assert file.readinto(buffer) == 3 and buffer == b"cd\n" and file.readinto1(buffer) == 2
        os.close(w)
        assert file.read(5) == b"" and file.readline() == b"" and file.read1() == b""
    for call in (file.read, file.readline, file.peek, lambda: file.readinto(buffer)):
        with pytest.raises(ValueError):
            call()


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_cancelled_writer_of_a_full_pipe_loses_nothing(mode):
    r, w = os.pipe()
    accepted = []
    with open(w, mode) as file:

        def writer():
            for number in range(1_000_000):
                line = f"{number}\n"
                file.write(line if mode == "w" else line.encode())
                accepted.append(number)

        thread = spawn(writer)
        while thread.waiting_for != f"write fd {w}":
            yield_now()
        thread.cancel()
        thread._join()
        reader = spawn(lambda: builtins.list(open(r)))
    lines = [int(line) for line in reader.wait()]
    assert lines[:len(accepted)] == accepted and len(accepted) > 1000
    assert len(lines) - len(accepted) <= (mode == "w")


def test_characters_of_a_pipe_need_no_line():
    r, w = os.pipe()
    os.write(w, "grün".encode())
    with open(r, encoding="utf-8") as file:
        assert file.read(4) == "grün"
        os.write(w, b"a\nb")
        assert file.read(1) == "a" and file.readline() == "\n" and file.read(1) == "b"
        os.close(w)
        assert file.read() == "" and isinstance(file, io.TextIOWrapper)
        assert isinstance(file.buffer, io.BufferedReader)


def test_tty_is_line_buffered_and_waits():
    main, tty = open_pty()
    with open(tty, "r+b", 0) as both, open(main, "rb", 0, closefd=False) as reader:
        thread = spawn(both.read, 100)
        sleep(0.002)
        os.write(main, b"in\n")
        assert thread.wait() == b"in\n"
        assert both.write(b"out") == 3
        echoed = b""
        while not echoed.endswith(b"out"):
            echoed += reader.read(100)
    os.close(main)


def test_non_blocking_pipe_is_told_and_not_waited_for():
    r, w = os.pipe2(os.O_NONBLOCK)
    with open(r, "rb", 0) as file:
        assert file.read(1) is None and file.readinto(bytearray(1)) is None
        assert file.readall() is None
        with open(w, "wb", 0) as other:
            while other.write(b"x" * 65536):
                pass
            assert file.read(2) == b"xx"
    r, w = os.pipe2(os.O_NONBLOCK)
    with open(r, "rb") as file, open(w, "wb", 8192) as other:  # what it keeps fits into the pipe
        assert file.read(1) is None
        with pytest.raises(BlockingIOError):
            other.write(b"x" * 1_000_000)
        assert file.read(1) == b"x"
        file.read()
    with pytest.raises(BlockingIOError):
        r, w = os.pipe2(os.O_NONBLOCK)
        microthread._core.read_fd(r, 1)
    os.close(r)
    os.close(w)


def test_closing_a_raw_pipe_wakes_who_waits_for_it():
    r, w = os.pipe()
    file = open(r, "rb", 0)
    thread = spawn(file.read, 1)
    yield_now()
    file.close()
    with pytest.raises(OSError):
        thread.wait()
    os.close(w)


def test_closing_a_raw_pipe_wakes_readers_of_other_os_threads():
    r, w = os.pipe()
    file = open(r, "rb", 0)
    caught = []

    def work():
        readers.append(current())
        try:
            file.read(1)
        except OSError as error:
            caught.append(error.errno)

    readers = []
    thread = threading.Thread(target=work)
    thread.start()
    with timeout(60):
        while not readers or readers[0].waiting_for != f"read fd {r}":
            sleep(0.001)
    file.close()
    thread.join(60)
    os.close(w)
    assert caught == [errno.EBADF]


@on_each_backend
def test_fifo_joins_two_that_open_it(folder):
    os.mkfifo(folder / "fifo")

    def write():
        with open(folder / "fifo", "w") as file:
            file.write("through")

    def read():
        with open(folder / "fifo") as file:
            return file.read()

    for first, second in ((write, read), (read, write)):
        threads = [spawn(first), spawn(second)]
        assert "through" in [thread.wait() for thread in threads]
