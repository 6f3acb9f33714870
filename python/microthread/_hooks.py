# SPDX-License-Identifier: MIT
"""What happens at the edges of the process: unfetched exceptions, exit, fork."""

import atexit
import contextlib
import os
import sys
from typing import Any

from microthread import _core, _imports, _workers


def excepthook(args: _core.ExceptHookArgs, /) -> None:
    """Print the traceback of an exception that nobody fetched to sys.stderr.

    Assign a function of your own to microthread.excepthook to replace it. args has exc_type,
    exc_value, exc_traceback and micro_thread (None if a deferred's exception was not handled).
    """
    stream = sys.stderr
    if stream is None:
        return
    import traceback

    where = "a deferred" if args.micro_thread is None else f"micro-thread {args.micro_thread.name}"
    lines = traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback)
    stream.write(f"Exception in {where}:\n{''.join(lines)}")
    stream.flush()


def end_child(exception: BaseException | None) -> None:
    """End the process, the child of a fork in another OS thread than the first, as Python ends."""
    import threading

    status = 0
    if isinstance(exception, SystemExit):
        status = exception.code
        if status is None:
            status = 0
        elif not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    elif exception is not None:
        sys.excepthook(type(exception), exception, exception.__traceback__)
        status = 1
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        os._exit(status & 0xFF)


def _keep_wakeup_fd() -> None:
    """On 3.11 and 3.12 our wake-up descriptor is set for good: have it come back after another's."""
    import functools

    import _signal

    set_standard = _signal.set_wakeup_fd

    @functools.wraps(set_standard)
    def set_wakeup_fd(fd, /, *, warn_on_full_buffer=True):
        own = _core._signal_fd()
        if fd == -1 and own != -1:
            fd, warn_on_full_buffer = own, False
        other = set_standard(fd, warn_on_full_buffer=warn_on_full_buffer)
        return -1 if other == own else other

    _signal.set_wakeup_fd = set_wakeup_fd
    if "signal" in sys.modules:
        sys.modules["signal"].set_wakeup_fd = set_wakeup_fd


PATIENCE = 5.0  # seconds that one may keep the loop to itself at exit before that is told


def tell_who_holds_exit(watch: Any) -> None:
    """An OS thread: say on sys.stderr who keeps the others from leaving, and where it is."""
    for thread, seconds, frames in watch:
        from traceback import StackSummary  # not before: it costs more than most exits

        head = f"exit waits for micro-thread {thread.name} (id {thread.id}), which has kept the loop for"
        if sys.stderr is not None:
            sys.stderr.write(f"{head} {seconds:.1f} s:\n{''.join(StackSummary.extract(frames).format())}")
            sys.stderr.flush()
        frames.clear()
        del thread


def shut_down() -> None:
    """The end of this interpreter: its micro-threads leave; with the main one all workers end.

    One that computes for ever instead of leaving cannot be stopped, for its clean-up may take long; but it
    is named, and Ctrl-C reaches it.
    """
    watch = join = None
    if any(len(threads) > 1 for _, threads in _core._all_threads()):
        watch = _core._Watch(PATIENCE)
        with contextlib.suppress(RuntimeError):  # so late that no OS thread can be started
            join = _workers._start(lambda: tell_who_holds_exit(watch))
    try:
        _core._shut_down()
    finally:
        if watch is not None and join is not None:
            watch.stop()
            join()
    _core._stop_workers()


if sys.version_info < (3, 13):
    _keep_wakeup_fd()
_imports.install()
atexit.register(_workers.end)  # after the next one, whose clean-up may need them
atexit.register(shut_down)
os.register_at_fork(
    before=_core._before_fork,
    after_in_parent=_core._after_fork_in_parent,
    after_in_child=_core._after_fork_in_child,
)
os.register_at_fork(after_in_child=_workers.forget)
