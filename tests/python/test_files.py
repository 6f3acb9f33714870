# SPDX-License-Identifier: MIT
"""microthread.open: what the builtin promises, for one micro-thread and for several at once."""
import builtins
import fcntl
import gc
import io
import itertools
import os
import warnings

import pytest

import microthread
from microthread import Cancelled, current, open, sleep, spawn, yield_now

from file_support import on_each_backend
from support import check_script, run_script


@on_each_backend
def test_text_is_what_the_builtin_writes_and_reads(folder):
    text = "grün\nzwei\r\ndrei\rende"
    for newline in (None, "", "\n", "\r", "\r\n"):
        for encoding in ("utf-8", "latin-1", "utf-16"):
            with builtins.open(folder / "a", "w", encoding=encoding, newline=newline) as file:
                file.write(text)
            with open(folder / "b", "w", encoding=encoding, newline=newline) as file:
                assert file.write(text) == len(text)
            assert (folder / "a").read_bytes() == (folder / "b").read_bytes()
            options = {"encoding": encoding, "newline": newline}
            with builtins.open(folder / "a", **options) as one, open(folder / "b", **options) as two:
                assert list(one) == list(two)
                one.seek(0), two.seek(0)
                assert one.read(7) == two.read(7) and one.tell() == two.tell()
                assert one.readline() == two.readline()
                assert one.readlines() == two.readlines() and two.read() == ""


@on_each_backend
def test_binary_calls_do_what_the_builtin_does(folder):
    data = bytes(range(256)) * 300
    for buffering in (-1, 0, 100):
        with open(folder / "a", "wb", buffering) as file:
            assert file.write(data) == len(data)
            file.writelines([b"x\n", bytearray(b"y")])
        with open(folder / "a", "rb", buffering) as file:
            assert file.read(10) == data[:10] and file.tell() == 10
            buffer = bytearray(500)
            assert file.readinto(buffer) == 500 and buffer == data[10:510]
            assert file.readline() == data[510:data.index(b"\n", 510) + 1]
            assert file.seek(-3, 2) == len(data) and file.readlines() == [b"x\n", b"y"]
            assert file.read() == b"" and file.seekable() and not file.isatty()
        with open(folder / "a", "r+b", buffering) as file:
            file.seek(5)
            file.write(b"HERE")
            assert file.seek(0) == 0 and file.read(9) == data[:5] + b"HERE"
            assert file.truncate(7) == 7 and file.seek(0) == 0
            assert file.read() == data[:5] + b"HE"
        with open(folder / "a", "ab", buffering) as file:
            file.write(b"end")
        assert (folder / "a").read_bytes() == data[:5] + b"HEend"


@on_each_backend
def test_modes_create_append_and_refuse(folder):
    with open(folder / "a", "x") as file:
        file.write("one")
    with pytest.raises(FileExistsError) as caught:
        open(folder / "a", "x")
    assert caught.value.filename == str(folder / "a")
    with open(folder / "a", "a+") as file:
        file.write("two")
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        assert file.read() == "onetwo"
    with open(folder / "a") as file, pytest.raises(io.UnsupportedOperation):
        file.write("x")
    with open(folder / "a", "w") as file, pytest.raises(io.UnsupportedOperation):
        file.read()
    with pytest.raises(IsADirectoryError):
        open(folder)
    with pytest.raises(ValueError):
        file.read()


@pytest.mark.parametrize("args, error", [
    (("a", "rw"), ValueError), (("a", "q"), ValueError), (("a", "rr"), ValueError),
    (("a", ""), ValueError), (("a", "rbt"), ValueError), (("a", 3), TypeError),
    (("a", "r", 0), ValueError), (("a", "rb", -1, "utf-8"), ValueError),
    (("a", "rb", -1, None, "strict"), ValueError), (("a", "rb", -1, None, None, "\n"), ValueError),
    (("a", "r", -1, 3), TypeError), ((3.5,), TypeError), ((None,), TypeError),
    (("a", "r", -1, None, None, "x"), ValueError), (("a", "r", -1, "no such"), LookupError),
    (("a", "r", -1, None, None, None, False), ValueError), (("nul\0",), ValueError),
    ((-1,), ValueError), (("no such file",), FileNotFoundError), ((987654,), OSError)])
def test_wrong_arguments_raise_what_the_builtin_raises(args, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text("text")
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for function in (builtins.open, open):
        with pytest.raises(error):
            function(*args)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_attributes_and_classes_are_the_standard_ones(tmp_path):
    with open(tmp_path / "a", "w", encoding="utf-8", errors="replace") as file:
        assert isinstance(file, io.TextIOWrapper) and isinstance(file.buffer, io.BufferedWriter)
        assert isinstance(file.buffer.raw, io.FileIO)
        assert file.mode == "w" and file.name == str(tmp_path / "a") and file.encoding == "utf-8"
        assert file.errors == "replace" and not file.line_buffering and file.fileno() > 2
        assert not os.get_inheritable(file.fileno())
        assert not fcntl.fcntl(file.fileno(), fcntl.F_GETFL) & os.O_NONBLOCK
    assert file.closed and file.buffer.closed and file.buffer.raw.closed
    with open(tmp_path / "a", "r+b") as file:
        assert isinstance(file, io.BufferedRandom) and file.mode == "rb+"
    with open(tmp_path / "a", "rb", 0) as file:
        assert isinstance(file, io.FileIO) and file.mode == "rb"
    assert open.__doc__ and microthread.open is open


def test_descriptors_openers_and_closefd(tmp_path):
    fd = os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT)
    with open(fd, "w", closefd=False) as file:
        file.write("kept")
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd) as file:
        assert file.read() == "kept"
    with pytest.raises(OSError):
        os.fstat(fd)
    asked = []

    def opener(path, flags):
        asked.append((path, flags))
        return os.open(tmp_path / path, flags)

    with open("a", opener=opener) as file:
        assert file.read() == "kept"
    assert asked[0][0] == "a"


def test_detached_layers_work_on(tmp_path):
    (tmp_path / "a").write_text("text")
    file = open(tmp_path / "a")
    buffer = file.detach()
    with pytest.raises(ValueError):
        file.read()
    raw = buffer.detach()
    assert raw.readall() == b"text"
    raw.close()


def test_closed_below_is_closed_above(tmp_path):
    file = open(tmp_path / "a", "w")
    file.buffer.raw.close()
    assert file.closed
    with pytest.raises(ValueError):
        file.write("x")


def test_subclass_of_the_text_class_iterates_by_its_own_readline(tmp_path):
    (tmp_path / "a").write_text("a\nb\n")

    class Upper(type(open(os.devnull))):
        def readline(self):
            return super().readline().upper()

    assert list(Upper(open(tmp_path / "a", "rb"))) == ["A\n", "B\n"]


# ---- several micro-threads, one file ----


@on_each_backend
def test_shared_file_gives_each_line_to_one_reader(folder):
    (folder / "a").write_text("".join(f"{n}\n" for n in range(5000)))
    for mode in ("r", "rb"):
        with open(folder / "a", mode, 64 if mode == "rb" else -1) as file:
            found = []

            def reader():
                for line in file:
                    found.append(int(line))

            for thread in [spawn(reader) for _ in range(5)]:
                thread.wait()
        assert sorted(found) == list(range(5000))


@on_each_backend
def test_shared_file_keeps_each_write_whole(folder):
    for buffering in (-1, 16):
        with open(folder / "a", "wb", buffering) as file:

            def writer(number):
                for _ in range(20):
                    file.write(b"%d" % number * 50 + b"\n")

            for thread in [spawn(writer, number) for number in range(8)]:
                thread.wait()
        lines = (folder / "a").read_bytes().splitlines()
        assert sorted(lines) == sorted(b"%d" % n * 50 for n in range(8) for _ in range(20))


@on_each_backend
def test_lock_keeps_several_writes_together(folder):
    with open(folder / "a", "w") as file:

        def writer(number):
            for _ in range(10):
                with file.lock(), file.lock():
                    file.write(f"{number}")
                    file.flush()
                    yield_now()
                    file.write(f"{number}\n")

        for thread in [spawn(writer, number) for number in range(5)]:
            thread.wait()
    assert all(line[0] == line[1] for line in (folder / "a").read_text().splitlines())


def test_who_waits_for_the_lock_of_a_file_can_be_cancelled(tmp_path):
    with open(tmp_path / "a", "w") as file:
        with file.lock():
            thread = spawn(file.write, "lost")
            yield_now()
            assert "acquire" in thread.waiting_for
            thread.cancel()
            thread._join()
        file.write("kept")
    assert (tmp_path / "a").read_text() == "kept"


@on_each_backend
def test_cancelled_writer_loses_nothing_that_was_accepted(folder):
    with open(folder / "a", "w", buffering=100) as file:
        accepted = []

        def writer():
            for number in itertools.count():  # where no write waits, many fit into one turn
                file.write(f"{number}\n")
                accepted.append(number)

        thread = spawn(writer)
        for _ in range(5):
            yield_now()
        thread.cancel()
        thread._join()
        assert thread.cancelled() and accepted
    lines = (folder / "a").read_text().splitlines()
    assert lines[:len(accepted)] == [str(number) for number in accepted]
    assert len(lines) <= len(accepted) + 1


def test_cancelled_one_still_closes_its_file(tmp_path):
    def work():
        with open(tmp_path / "a", "w") as file:
            file.write("data")
            written.set()
            sleep(1000)

    written = microthread.Event()
    thread = spawn(work)
    written.wait()
    thread.cancel()
    thread._join()
    assert thread.cancelled() and (tmp_path / "a").read_text() == "data"

    def close_cancelled():
        file = open(tmp_path / "a", "w")
        file.write("more")
        current().cancel()
        file.close()
        assert file.closed
        with pytest.raises(Cancelled):
            sleep(0)

    spawn(close_cancelled).wait()
    assert (tmp_path / "a").read_text() == "more"


# ---- ends ----


@on_each_backend
def test_dropped_file_is_written_and_closed_without_a_wait(folder):
    switched = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        file = open(folder / "a", "w")
        file.write("x" * 100_000)
        spawn(switched.append, 1)
        del file
        assert not switched and (folder / "a").stat().st_size == 100_000
    assert any(issubclass(one.category, ResourceWarning) for one in caught)


def test_file_left_open_is_written_at_exit(tmp_path):
    check_script(f"""
        import microthread
        file = microthread.open({str(tmp_path / 'a')!r}, "w")
        file.write("data")
        def work():
            mine = microthread.open({str(tmp_path / 'b')!r}, "w")
            mine.write("data")
            written.set()
            microthread.sleep(100)
        written = microthread.Event()
        microthread.spawn(work)
        written.wait()
        print("ok")
    """)
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "data"


def test_default_encoding_warning_names_the_callers_line():
    done = run_script("import microthread\nmicrothread.open('/dev/null')",
                      options=["-X", "warn_default_encoding"])
    assert done.returncode == 0 and "<string>:2: EncodingWarning" in done.stderr


def test_every_allocation_may_fail(tmp_path):
    check_script(f"""
        import os, microthread
        from microthread import _core, spawn
        path = {str(tmp_path / 'a')!r}
        def act():
            with microthread.open(path, "w") as file:
                file.write("data" * 10000)
            with microthread.open(path) as file:
                assert file.read() == "data" * 10000
        failed = 0
        act()
        for backend in ("quickest", "uring", "threads"):
            def body():
                global failed
                for n in range(1, 20):
                    fds = len(os.listdir("/proc/self/fd"))
                    _core._fail_allocation(n)
                    try:
                        act()
                    except (MemoryError, BlockingIOError):
                        failed += 1
                    finally:
                        _core._fail_allocation(0)
                    act()
            import threading
            os.environ["MICROTHREAD_FILES"] = backend
            thread = threading.Thread(target=body)
            thread.start()
            thread.join()
        assert failed
        print("ok")
    """)


# ---- the loop goes on ----


@pytest.mark.parametrize("backend", ["quickest", "uring", "threads"])
def test_ticker_keeps_ticking_while_files_are_read(backend, tmp_path):
    # In turns, not in time: that is measured by bench/.
    check_script(f"""
        from microthread import open, spawn, yield_now
        folder = {str(tmp_path)!r}
        for n in range(1000):
            with open(f"{{folder}}/{{n}}", "wb") as file:
                file.write(b"x" * 2000)
        with open(folder + "/big", "wb") as file:
            file.truncate(128 << 20)  # sparse
        ticks = since = most = 0
        def tick():
            global ticks, since
            while True:
                ticks += 1
                since = 0
                yield_now()
        names = iter(range(1000))
        def read():
            global since, most
            for n in names:
                with open(f"{{folder}}/{{n}}", "rb") as file:
                    assert len(file.read()) == 2000
                since += 1
                most = max(most, since)
        ticker = spawn(tick)
        for thread in [spawn(read) for _ in range(16)]:
            thread.wait()
        with open(folder + "/big", "rb") as file:
            for _ in range(8):
                before = ticks
                assert len(file.read(16 << 20)) == 16 << 20
                assert ticks - before >= 16, ticks - before  # it stands still for 1 MiB at most
            assert not file.read(1)
        assert most <= 200, most  # files read by 16 between two ticks
        print("ok")
    """, env={"MICROTHREAD_FILES": backend})


@pytest.mark.parametrize("mode, buffering, error", [
    ("w", 2.5, TypeError), ("w", "x", TypeError), ("wb", 1, RuntimeWarning)])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_refused_buffering_leaves_the_file_alone(mode, buffering, error, tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(error):
        microthread.open(path, mode, buffering)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("buffering", [0, -1])
def test_reading_into_what_cannot_be_written_loses_nothing(buffering):
    reader, writer = os.pipe()
    with microthread.open(reader, "rb", buffering) as file, builtins.open(writer, "wb", 0) as end:
        end.write(b"abc")
        for buffer in (b"xyz", 5):
            with pytest.raises(TypeError):
                file.readinto(buffer)
        assert file.read(3) == b"abc"


def test_destructor_that_waits_leaves_others_alone(tmp_path):
    reader, writer = os.pipe()
    with open(reader, "rb", 0) as pipe:

        class Slow(type(pipe)):
            def close(self):
                if not self.closed:
                    released.wait()
                super().close()

        def drop():
            path = tmp_path / "file"
            path.write_bytes(b"")
            Slow(path)

        released = microthread.Event()
        dropping = [spawn(drop) for _ in range(2)]
        yield_now()
        reading = spawn(pipe.read, 5)
        yield_now()
        assert reading.state == "waiting"  # not told that there is nothing
        released.set()
        os.write(writer, b"hello")
        assert reading.wait(60) == b"hello"
        for thread in dropping:
            thread.wait(60)
        second = spawn(pipe.read, 5)
        yield_now()
        assert second.state == "waiting"
        os.close(writer)
        assert second.wait(60) == b""
