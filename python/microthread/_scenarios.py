# SPDX-License-Identifier: MIT
"""The three usage scenarios of the micro-threading PEP: forget it, run it beside, iterate over it."""

from __future__ import annotations

from microthread import _core

TYPE_CHECKING = False  # typing costs every program's start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# How far the function of generate() may run ahead of its reader.
_AHEAD = 16


def start_and_forget(
    fn: Callable[..., Any],
    /,
    *args: Any,
    exception_handler: Callable[..., Any] | None = None,
    **kwargs: Any,
) -> _core.micro_thread:
    """Run fn(*args, **kwargs) in a micro-thread that nobody will wait for.

    An exception goes to exception_handler(type, value, traceback), which runs in that micro-thread
    and may wait; without a handler, or when it raises itself, to microthread.excepthook. Returns the
    micro_thread.
    """
    if exception_handler is None:
        return _core.spawn(fn, *args, **kwargs)
    if not callable(fn):
        raise TypeError(f"fn must be callable, got {type(fn).__name__}")
    if not callable(exception_handler):
        raise TypeError(
            f"exception_handler must be callable or None, got {type(exception_handler).__name__}"
        )
    return _core.spawn(_run_handled, exception_handler, fn, args, kwargs)


def _run_handled(handler, fn, args, kwargs):
    try:
        fn(*args, **kwargs)
    except (_core.MicroThreadExit, SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exception:
        handler(type(exception), exception, exception.__traceback__)


def start_in_parallel(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> _core.micro_thread:
    """Run fn(*args, **kwargs) in a micro-thread whose value the caller will .wait() for."""
    return _core.spawn(fn, *args, **kwargs)


def generate(
    fn: Callable[..., Any], /, *args: Any, stdin: Any = None, **kwargs: Any
) -> _core.micro_pipe:
    """Run fn(*args, **kwargs) in a micro-thread and return a pipe of what it puts into its stdout.

    fn, and whatever it calls, writes with put() and take_from() and reads stdin with take(). It runs
    at most 16 objects ahead of the reader. The pipe closes when fn returns; when fn raises, the
    reader gets the same exception at the end; when its micro-thread is cancelled,
    concurrent.futures.CancelledError. Once the reader has closed or dropped the pipe, put() raises
    PipeClosed, which ends the micro-thread in silence if fn lets it out.

    stdin: a micro_pipe, for instance of another generate(), or None.
    """
    if stdin is not None and not hasattr(stdin, "take"):
        raise TypeError(f"stdin must be a micro_pipe or None, got {type(stdin).__name__}")
    pipe = _core.micro_pipe(_AHEAD)
    thread = _core.micro_thread(fn, args, kwargs, stdin=stdin)
    thread.stdout = writer = _core.pipe_writer(pipe)
    thread.add_done_callback(writer._end)
    thread.start()
    return pipe
