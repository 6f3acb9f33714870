# SPDX-License-Identifier: MIT
"""run(), the clean entry point, and run_blocking(), the way out to worker OS threads."""

from __future__ import annotations

from microthread import _core, _workers

TYPE_CHECKING = False  # typing costs every program's start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def run(fn: Callable[..., Any], /, *args: Any) -> Any:
    """Run fn(*args) in a micro-thread and wait for it; return or raise what became of it.

    Then everything that was spawned below it is cancelled and waited for.
    """
    main = _core.micro_thread(fn, args)
    scope = main._scope = _core._new_scope()
    main.start()
    try:
        return main.wait()
    finally:
        while below := [thread for thread in _core.threads() if thread._scope == scope]:
            for thread in below:
                thread.cancel()
            for thread in below:
                thread._join()


def run_blocking(fn: Callable[..., Any], /, *args: Any) -> Any:
    """Run fn(*args) in a worker OS thread and wait for it; return or raise what became of it.

    When the caller is cancelled meanwhile, fn still runs to its end and its result is dropped.
    """
    import contextvars

    answer = _core.deferred()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            value = context.run(fn, *args)
        except BaseException as exception:
            answer.callback((None, exception))
        else:
            answer.callback((value, None))

    _workers.submit(work)
    return _outcome(answer)


def run_in_own_thread(fn: Callable[..., Any], /, *args: Any) -> Any:
    """As run_blocking(), in an OS thread made for it: for what may take as long as it likes.

    It does not hold up the end of the process.
    """
    answer = _core.deferred()

    def work() -> None:
        try:
            value = fn(*args), None
        except BaseException as exception:
            value = None, exception
        answer.callback(value)

    _workers.start_os_thread(work, ())
    return _outcome(answer)


def _outcome(answer: _core.deferred) -> Any:
    """Wait for a (value, exception) of an OS thread; return the one or raise the other."""
    _core._expect_wake(1)
    try:
        value, exception = answer.wait()
    finally:
        _core._expect_wake(-1)
    if exception is not None:
        try:
            raise exception
        finally:
            del exception  # or the traceback and this frame keep each other alive
    return value
