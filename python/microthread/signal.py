# SPDX-License-Identifier: MIT
"""The standard library's signal module, with calls that wait only for their micro-thread.

All of its names are here: pause, sigwait, sigwaitinfo and sigtimedwait wait; the others are the
standard ones. Handlers run as ever.
"""

import os as _os
import signal as _standard
from signal import *  # noqa: F403  what is public, for those who read only this file
from time import monotonic as _monotonic
from typing import Any as _Any

from microthread import _core
from microthread._modules import adopt as _adopt

_adopt(_standard, globals())

# What microthread.patch puts into the standard module.
__patched__ = ("pause", "sigtimedwait", "sigwait", "sigwaitinfo")

_pause, _look = _standard.pause, _standard.sigtimedwait
_read, _write, _close = _os.read, _os.write, _os.close
_pausing: list[int] = []  # the writing ends of the pipes of those who pause; the first is told
_wakeup_before = -1  # the wake-up descriptor when nobody paused


def pause() -> None:
    """As signal.pause(): wait until a signal has come that has a handler."""
    global _wakeup_before
    reader, writer = _os.pipe2(_os.O_CLOEXEC | _os.O_NONBLOCK)
    try:
        if not _pausing:
            _wakeup_before = _standard.set_wakeup_fd(writer, warn_on_full_buffer=False)
    except ValueError:  # not the main OS thread
        _close(reader)
        _close(writer)
        return _pause()
    _pausing.append(writer)
    try:
        _core.wait_readable(reader)
    finally:
        _pass_on(reader, writer)
        _core._forget_fd(reader)
        _close(reader)
        _close(writer)


def _pass_on(reader: int, writer: int) -> None:
    """One that paused leaves; what it was told is for the others, too."""
    is_first = _pausing[0] == writer
    _pausing.remove(writer)
    if not is_first:
        return
    following = _pausing[0] if _pausing else _wakeup_before
    _standard.set_wakeup_fd(following, warn_on_full_buffer=False)
    try:
        signals = _read(reader, 1024)
    except BlockingIOError:
        return
    for fd in (*_pausing, _wakeup_before):
        if fd >= 0:
            try:
                _write(fd, signals)
            except OSError:
                pass  # full, or not there any more


def _wait(sigset: _Any, timeout: float | None) -> _Any:
    """What sigtimedwait() returns."""
    signals = set(sigset)
    found = _look(signals, 0)
    if found is not None:
        return found
    deadline = None if timeout is None else _monotonic() + timeout
    # A handler must not get what is waited for.
    unblocked = signals - _standard.pthread_sigmask(_standard.SIG_BLOCK, signals)
    fd = _core._open_signalfd(signals)
    try:
        while found is None:
            left = None if deadline is None else max(deadline - _monotonic(), 0)
            try:
                _core.wait_readable(fd, left)
            except TimeoutError:
                return None
            found = _look(signals, 0)
        return found
    finally:
        _core._forget_fd(fd)
        _close(fd)
        _standard.pthread_sigmask(_standard.SIG_UNBLOCK, unblocked)


def sigwait(sigset: _Any) -> _Any:
    """As signal.sigwait(): wait for one of these signals; returns its number."""
    number = _wait(sigset, None).si_signo
    try:
        return _standard.Signals(number)
    except ValueError:
        return number


def sigwaitinfo(sigset: _Any, /) -> _Any:
    """As signal.sigwaitinfo(): wait for one of these signals; returns its struct_siginfo."""
    return _wait(sigset, None)


def sigtimedwait(sigset: _Any, timeout: float, /) -> _Any:
    """As signal.sigtimedwait(): the same, or None after `timeout` seconds."""
    if not isinstance(timeout, (int, float)) or not timeout > 0:
        return _look(sigset, timeout)
    return _wait(sigset, timeout)
