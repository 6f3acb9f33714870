# SPDX-License-Identifier: MIT
"""The standard library's os module, with calls that wait only for their micro-thread.

All of its names are here. Pipes, terminals and sockets wait until they are ready; regular files are
read and written off the loop; children are waited for by a descriptor of theirs (pidfd). On a
non-blocking descriptor a call fails with BlockingIOError as ever. fork() is the standard one.
"""

import os as _standard
import stat as _stat
from os import *  # noqa: F403  what is public, for those who read only this file
from sys import modules as _modules
from typing import Any as _Any

from microthread import _core
from microthread._modules import adopt as _adopt
from microthread._run import run_blocking as _run_blocking
from microthread._run import run_in_own_thread as _run_in_own_thread

_adopt(_standard, globals())

# What microthread.patch puts into the standard module.
__patched__ = tuple(name for name in (
    "copy_file_range",
    "eventfd_read",
    "eventfd_write",
    "fdatasync",
    "fsync",
    "lockf",
    "open",
    "popen",
    "pread",
    "preadv",
    "pwrite",
    "pwritev",
    "read",
    "readv",
    "sendfile",
    "splice",
    "sync",
    "system",
    "wait",
    "wait3",
    "wait4",
    "waitid",
    "waitpid",
    "write",
    "writev",
) if hasattr(_standard, name))

# Taken now: microthread.patch puts ours in their place.
_original = {name: getattr(_standard, name) for name in __patched__}
_get_blocking, _close = _standard.get_blocking, _standard.close
_LOOK_AGAIN = 0.01  # seconds
_WHOLE_EXIT = _standard.WEXITED | _standard.WNOWAIT


# ---- reading and writing ----


def _of_socket(fd: int, call: str, *args: _Any) -> _Any:
    """What this method returns of the blocking socket that has this descriptor, below non-blocking;
    NotImplemented if there is none."""
    ours = _modules.get("microthread.socket")
    sock = ours and ours._blocking_socket(fd)
    return getattr(ours.socket, call)(sock, *args) if sock else NotImplemented


def read(fd: int, length: int, /) -> bytes:
    """As os.read(): up to length bytes; b'' at the end."""
    if length < 0:
        return _original["read"](fd, length)
    if not _get_blocking(fd):
        if (data := _of_socket(fd, "recv", length)) is not NotImplemented:
            return data
        return _original["read"](fd, length)
    return _core.read_fd(fd, length)


def write(fd: int, data: _Any, /) -> int:
    """As os.write(): writes all unless it fails half way; returns how many bytes went."""
    if not _get_blocking(fd):
        if _of_socket(fd, "sendall", data) is None:
            return memoryview(data).nbytes
        return _original["write"](fd, data)
    count = _core.write_fd(fd, data)
    with memoryview(data) as view:
        if count == view.nbytes or not count:
            return count
        with view.cast("B") as rest:
            try:
                while count < len(rest):
                    count += _core.write_fd(fd, rest[count:])
            except (OSError, _core.Cancelled):
                pass  # it comes again at the next call
    return count


def readv(fd: int, buffers: _Any, /) -> int:
    """As os.readv(): read into several buffers; returns how many bytes came."""
    if not _is_stream(fd):
        return _run_blocking(_original["readv"], fd, buffers)
    if (came := _of_socket(fd, "recvmsg_into", buffers)) is not NotImplemented:
        return came[0]
    _until_ready(fd, _core.wait_readable)
    return _original["readv"](fd, buffers)


def writev(fd: int, buffers: _Any, /) -> int:
    """As os.writev(): write several buffers; returns how many bytes went."""
    if not _get_blocking(fd):
        if (count := _of_socket(fd, "sendmsg", buffers)) is not NotImplemented:
            return count
        return _original["writev"](fd, buffers)
    return write(fd, b"".join(buffers))


def _is_stream(fd: int) -> bool:
    return fd >= 0 and _core._is_stream_fd(fd)


def _until_ready(fd: int, wait: _Any) -> None:
    """Wait until a blocking descriptor is ready at this very moment."""
    while _get_blocking(fd):
        try:
            return wait(fd, 0)
        except TimeoutError:
            wait(fd)


def _off_the_loop(name: str, fd: int, *args: _Any) -> _Any:
    """A call for regular files; on anything else it fails at once."""
    if _is_stream(fd):
        return _original[name](fd, *args)
    return _run_blocking(_original[name], fd, *args)


def pread(fd: int, length: int, offset: int, /) -> bytes:
    """As os.pread(), off the loop."""
    return _off_the_loop("pread", fd, length, offset)


def preadv(fd: int, buffers: _Any, offset: int, flags: int = 0, /) -> int:
    """As os.preadv(), off the loop."""
    return _off_the_loop("preadv", fd, buffers, offset, flags)


def pwrite(fd: int, data: _Any, offset: int, /) -> int:
    """As os.pwrite(), off the loop."""
    return _off_the_loop("pwrite", fd, data, offset)


def pwritev(fd: int, buffers: _Any, offset: int, flags: int = 0, /) -> int:
    """As os.pwritev(), off the loop."""
    return _off_the_loop("pwritev", fd, buffers, offset, flags)


def fsync(fd: _Any) -> None:
    """As os.fsync(), off the loop."""
    _core.fsync_fd(fd if isinstance(fd, int) else fd.fileno())


def fdatasync(fd: _Any) -> None:
    """As os.fdatasync(), off the loop."""
    _run_blocking(_original["fdatasync"], fd)


def sync() -> None:
    """As os.sync(), off the loop."""
    _run_blocking(_original["sync"])


def sendfile(out_fd: int, in_fd: int, offset: int | None, count: int) -> int:
    """As os.sendfile(); to a blocking descriptor from an OS thread of its own."""
    if not _get_blocking(out_fd):
        if offset is not None:
            sent = _of_socket(out_fd, "_sendfile", in_fd, offset, count)
            if sent is not NotImplemented:
                return sent
        return _original["sendfile"](out_fd, in_fd, offset, count)
    return _run_in_own_thread(_original["sendfile"], out_fd, in_fd, offset, count)


def copy_file_range(
    src: int, dst: int, count: int, offset_src: int | None = None, offset_dst: int | None = None
) -> int:
    """As os.copy_file_range(), off the loop."""
    return _run_blocking(
        _original["copy_file_range"], src, dst, count, offset_src, offset_dst
    )


def splice(
    src: int,
    dst: int,
    count: int,
    offset_src: int | None = None,
    offset_dst: int | None = None,
    flags: int = 0,
) -> int:
    """As os.splice(), in an OS thread of its own."""
    return _run_in_own_thread(
        _original["splice"], src, dst, count, offset_src, offset_dst, flags
    )


def open(path: _Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    """As os.open(); a FIFO waits for its other side."""
    if dir_fd is None and not flags & (_standard.O_NONBLOCK | _standard.O_CREAT):
        try:
            is_fifo = _stat.S_ISFIFO(_standard.stat(path).st_mode)
        except (OSError, TypeError, ValueError):
            is_fifo = False  # it fails in its own way
        if is_fifo:
            return _core.open_fd(path, flags, mode)
    return _original["open"](path, flags, mode, dir_fd=dir_fd)


def fdopen(
    fd: int, mode: str = "r", buffering: int = -1, encoding: str | None = None, *args: _Any, **kwargs: _Any
) -> _Any:
    """As os.fdopen(), by microthread.open(): the file's reads and writes wait."""
    if not isinstance(fd, int):
        raise TypeError(f"invalid fd type ({type(fd)}, expected integer)")
    from microthread import _files

    if "b" not in mode:
        encoding = _files.io.text_encoding(encoding)
    return _files.open(fd, mode, buffering, encoding, *args, **kwargs)


def lockf(fd: int, command: int, length: int, /) -> None:
    """As os.lockf(); F_LOCK waits in an OS thread of its own."""
    if command == _standard.F_LOCK:
        return _run_in_own_thread(_original["lockf"], fd, command, length)
    return _original["lockf"](fd, command, length)


def eventfd_read(fd: int) -> int:
    """As os.eventfd_read(): wait until the counter is not 0."""
    _until_ready(fd, _core.wait_readable)
    return _original["eventfd_read"](fd)


def eventfd_write(fd: int, value: int) -> None:
    """As os.eventfd_write(): wait until there is room for the value."""
    if value > 1 and _get_blocking(fd):  # that there is room for one says nothing of more
        return _run_in_own_thread(_original["eventfd_write"], fd, value)
    _until_ready(fd, _core.wait_writable)
    return _original["eventfd_write"](fd, value)


# ---- children ----


def waitpid(pid: int, options: int, /) -> tuple[int, int]:
    """As os.waitpid(): wait for a child, or for any; returns (pid, status)."""
    return _reap(_original["waitpid"], pid, options)


def wait() -> tuple[int, int]:
    """As os.wait(): wait for any child; returns (pid, status)."""
    return waitpid(-1, 0)


def wait3(options: int) -> tuple[int, int, _Any]:
    """As os.wait3(): wait for any child; returns (pid, status, rusage)."""
    return wait4(-1, options)


def wait4(pid: int, options: int) -> tuple[int, int, _Any]:
    """As os.wait4(): wait for a child; returns (pid, status, rusage)."""
    return _reap(_original["wait4"], pid, options)


def waitid(idtype: int, id: int, options: int, /) -> _Any:
    """As os.waitid(): wait for a change of a child's state."""
    call = _original["waitid"]
    if options & _standard.WNOHANG:
        return call(idtype, id, options)
    while (found := call(idtype, id, options | _standard.WNOHANG)) is None:
        _until_change(idtype, id, options)
    return found


def _reap(call: _Any, pid: int, options: int) -> _Any:
    if options & _standard.WNOHANG:
        return call(pid, options)
    wanted = _standard.WEXITED
    if options & _standard.WUNTRACED:
        wanted |= _standard.WSTOPPED
    if options & _standard.WCONTINUED:
        wanted |= _standard.WCONTINUED
    while not (found := call(pid, options | _standard.WNOHANG))[0]:
        if pid > 0:
            _until_change(_standard.P_PID, pid, wanted)
        elif pid == -1:
            _until_change(_standard.P_ALL, 0, wanted)
        else:
            _until_change(_standard.P_PGID, -pid or _standard.getpgrp(), wanted)
    return found


def _until_change(idtype: int, id: int, wanted: int) -> None:
    """Wait until a child has changed so; what it came to is left for others to fetch."""
    if idtype == _standard.P_PID and wanted | _standard.WNOWAIT == _WHOLE_EXIT:
        _until_exit(id, None)
    else:
        _run_in_own_thread(_original["waitid"], idtype, id, wanted | _standard.WNOWAIT)


def _until_exit(pid: int, timeout: float | None) -> None:
    """Wait until a child has ended or, perhaps, the time is up; nothing is fetched."""
    try:
        fd = _standard.pidfd_open(pid)
    except OSError:  # no such system call or process, or no descriptor left
        return _core.sleep(_LOOK_AGAIN if timeout is None else min(timeout, _LOOK_AGAIN))
    try:
        _core.wait_readable(fd, timeout)
    except TimeoutError:
        pass
    finally:
        _core._forget_fd(fd)
        _close(fd)


def system(command: _Any) -> int:
    """As os.system(), in an OS thread of its own."""
    return _run_in_own_thread(_original["system"], command)


def popen(cmd: str, mode: str = "r", buffering: int = -1) -> _Any:
    """As os.popen(): a file connected to a command's output ('r') or input ('w')."""
    if not isinstance(cmd, str):
        raise TypeError("invalid cmd type (%s, expected string)" % type(cmd))
    if mode not in ("r", "w"):
        raise ValueError("invalid mode %r" % mode)
    if buffering == 0 or buffering is None:
        raise ValueError("popen() does not support unbuffered streams")
    from microthread import subprocess

    end = "stdout" if mode == "r" else "stdin"
    process = subprocess.Popen(
        cmd, shell=True, text=True, bufsize=buffering, **{end: subprocess.PIPE}
    )
    return _standard._wrap_close(getattr(process, end), process)


for _name in ("copy_file_range", "eventfd_read", "eventfd_write", "splice"):
    if _name not in __patched__:
        del globals()[_name]  # the C library is too old
del _name
