# SPDX-License-Identifier: MIT
"""The standard library's subprocess module, with calls that wait only for their micro-thread.

All of its names are here; Popen is a subclass of the standard one. The pipes to the child are files
whose reads and writes wait for the micro-thread, and its end is waited for by a descriptor of it
(pidfd).
"""

import io as _io
import subprocess as _standard
import types as _types
import warnings as _warnings
from subprocess import *  # noqa: F403  what is public, for those who read only this file
from time import monotonic as _monotonic
from typing import Any as _Any

from microthread import _core
from microthread import os as _ours
from microthread import selectors as _selectors
from microthread._modules import adopt as _adopt
from microthread._modules import rebound as _rebound

_adopt(_standard, globals())

# What microthread.patch puts into the standard module, whose functions all use it.
__patched__ = ("Popen",)

os = _ours
selectors = _selectors
_PopenSelector = _selectors.PollSelector


class _PipeFile(_io.FileIO):
    """One end of a pipe; as io.FileIO, but only the micro-thread waits."""

    def readinto(self, buffer: _Any, /) -> int | None:
        if not _ours.get_blocking(fd := self.fileno()):
            return super().readinto(buffer)
        return _core.readinto_fd(fd, buffer, True)

    def read(self, size: int | None = -1, /) -> bytes | None:
        if size is None or size < 0:
            return self.readall()
        if not _ours.get_blocking(fd := self.fileno()):
            return super().read(size)
        return _core.read_fd(fd, size, True)

    def readall(self) -> bytes | None:
        if not _ours.get_blocking(fd := self.fileno()):
            return super().readall()
        parts = []
        while part := _core.read_fd(fd, 65536, True):
            parts.append(part)
        return b"".join(parts)

    def write(self, data: _Any, /) -> int | None:
        if not _ours.get_blocking(fd := self.fileno()):
            return super().write(data)
        return _core.write_fd(fd, data, True)


def _open_pipe(fd: int, mode: str, buffering: int = -1) -> _Any:
    """As io.open(), of one end of a pipe, for bytes."""
    raw = _PipeFile(fd, mode)
    if buffering == 1:
        _warnings.warn(
            "line buffering (buffering=1) isn't supported in binary mode, "
            "the default buffer size will be used",
            RuntimeWarning,
            stacklevel=3,
        )
    if buffering == 0:
        return raw
    size = buffering if buffering > 1 else _io.DEFAULT_BUFFER_SIZE
    return (_io.BufferedReader if "r" in mode else _io.BufferedWriter)(raw, size)


# What the methods below call io.
io = _types.SimpleNamespace(**{name: getattr(_io, name) for name in _io.__all__})
io.open = _open_pipe


class Popen(_standard.Popen):
    """A subprocess.Popen whose calls wait only for the calling micro-thread."""

    def _wait(self, timeout: float | None) -> int:
        deadline = None if timeout is None else _monotonic() + timeout
        while self.returncode is None:
            with self._waitpid_lock:  # nobody waits while it is held
                if self.returncode is not None:
                    break
                pid, status = self._try_wait(_ours.WNOHANG)
                if pid == self.pid:
                    self._handle_exitstatus(status)
                    break
            left = None if deadline is None else deadline - _monotonic()
            if left is not None and left <= 0:
                raise _standard.TimeoutExpired(self.args, timeout)
            _ours._until_exit(self.pid, left)
        return self.returncode


for _name, _value in vars(_standard.Popen).items():
    if isinstance(_value, _types.FunctionType) and _name not in vars(Popen):
        if _value.__globals__ is vars(_standard):
            setattr(Popen, _name, _rebound(_value, globals()))
del _name, _value
