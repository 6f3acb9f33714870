# SPDX-License-Identifier: MIT
"""The standard library's subprocess module, with calls that wait only for their micro-thread.

All of its names are here; Popen is a subclass of the standard one. The pipes to the child are files as
microthread.open() makes them, and its end is waited for by a descriptor of it (pidfd).
"""

import io as _io
import subprocess as _standard
import types as _types
import warnings as _warnings
from subprocess import *  # noqa: F403  what is public, for those who read only this file
from sys import modules as _modules
from time import monotonic as _monotonic
from typing import Any as _Any

from microthread import _files
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


def _open_pipe(fd: int, mode: str, buffering: int = -1) -> _Any:
    """As io.open(), of one end of a pipe, for bytes."""
    if buffering == 1:
        _warnings.warn(
            "line buffering (buffering=1) isn't supported in binary mode, "
            "the default buffer size will be used",
            RuntimeWarning,
            stacklevel=3,
        )
        buffering = -1
    return _files.open(fd, mode, buffering)


class _Names(dict):
    """The globals of Popen's methods: what is not in here is looked up in the standard module, live.

    So its switches work for ours, too, such as _USE_VFORK.
    """

    def __missing__(self, name: str) -> _Any:
        try:
            return getattr(_standard, name)
        except AttributeError:
            raise KeyError(name) from None


_io_names = _types.SimpleNamespace(**{name: getattr(_io, name) for name in _io.__all__})
_io_names.open, _io_names.TextIOWrapper = _open_pipe, _files.text_over
_names = _Names(
    __name__=__name__, __builtins__=__builtins__, io=_io_names, os=_ours, selectors=_selectors,
    _PopenSelector=_selectors.PollSelector,
)


def _lend(fds: _Any) -> None:
    """Sockets of ours among these block in the child as they seem to do here."""
    if ours := _modules.get("microthread.socket"):
        for fd in fds:
            ours._lend(fd)


_get_handles = _rebound(_standard.Popen._get_handles, _names)
_execute_child = _rebound(_standard.Popen._execute_child, _names)


class Popen(_standard.Popen):
    """A subprocess.Popen whose calls wait only for the calling micro-thread."""

    def _get_handles(self, *files: _Any) -> tuple[int, ...]:
        handles = _get_handles(self, *files)
        _lend(handles)
        return handles

    def _execute_child(
        self,
        args: _Any,
        executable: _Any,
        preexec_fn: _Any,
        close_fds: bool,
        pass_fds: _Any,
        *rest: _Any,
    ) -> None:
        _lend(pass_fds)
        _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, *rest)

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
            setattr(Popen, _name, _rebound(_value, _names))
del _name, _value
