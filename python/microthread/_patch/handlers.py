# SPDX-License-Identifier: MIT
"""Signal handlers: what one raises comes out in the main thread, whichever thread it interrupts.

So it is where threads are OS threads. Ctrl-C's own handler is left alone: it ends a thread that never
waits, and _thread's replacement passes it on.
"""

import signal as _standard
from contextlib import suppress
from typing import Any

from microthread import _core

PLACE = "the signal handlers"  # what install() changes

# Taken now: the engine puts ours in their place.
_signal, _getsignal = _standard.signal, _standard.getsignal


class _Handler:
    """Calls the program's handler."""

    __slots__ = ("handler",)

    def __init__(self, handler: Any) -> None:
        self.handler = handler

    def __call__(self, signalnum: int, frame: Any) -> None:
        try:
            self.handler(signalnum, frame)
        except BaseException as exception:
            main = _core.threads()[0]
            if _core.current() is main:
                raise
            main.throw(exception)


def _wrapped(handler: Any) -> Any:
    if not callable(handler) or handler is _standard.default_int_handler or type(handler) is _Handler:
        return handler
    return _Handler(handler)


def _bare(handler: Any) -> Any:
    return handler.handler if type(handler) is _Handler else handler


def signal(signalnum: int, handler: Any) -> Any:
    """As signal.signal(): set the handler of a signal; returns the one before."""
    return _bare(_signal(signalnum, _wrapped(handler)))


def getsignal(signalnum: int) -> Any:
    """As signal.getsignal(): the handler of a signal, as it was set."""
    return _bare(_getsignal(signalnum))


def install() -> None:
    """Mind the handlers that were set before."""
    _change(_wrapped)


def remove() -> None:
    """Put the program's own back."""
    _change(_bare)


def _change(change: Any) -> None:
    for number in _standard.valid_signals():
        handler = _getsignal(number)
        if (changed := change(handler)) is not handler:
            with suppress(ValueError):  # not the main thread of the main interpreter
                is_quiet = _core._is_quiet(number)
                _signal(number, changed)
                if is_quiet:
                    _core._mark_quiet(number)
