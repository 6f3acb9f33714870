# SPDX-License-Identifier: MIT
"""input() that waits only for its micro-thread."""

import builtins
from typing import Any

from microthread import _core, _workers

_input = builtins.input

_lock = _core.Lock()  # one reads at a time
_pending: _core.deferred | None = None  # of a caller that was cancelled: the next one's line


def input(prompt: Any = "", /) -> str:
    """As the builtin: print the prompt, read a line; in an OS thread of its own.

    When the caller is cancelled meanwhile, the line goes to the next call.
    """
    global _pending
    with _lock:
        if _pending is None:
            _pending = _core.deferred()
            _read(_pending, prompt)
        else:
            print(prompt, end="", flush=True)
        _core._expect_wake(1)
        try:
            line, exception = _pending.wait()
        finally:
            _core._expect_wake(-1)
        _pending = None
    if exception is not None:
        raise exception
    return line


def _read(answer: _core.deferred, prompt: Any) -> None:
    def read() -> None:
        try:
            answer.callback((_input(prompt), None))
        except BaseException as exception:
            answer.callback((None, exception))

    # Not one of the workers: the end of the process does not wait for a line.
    _workers.start_os_thread(read, ())
