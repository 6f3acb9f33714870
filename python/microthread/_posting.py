# SPDX-License-Identifier: MIT
"""interpreters.Worker: a function in an interpreter of its own, with messages to it and from it."""

from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from functools import partial
from typing import Any

from microthread import _core, _functions
from microthread.interpreters import (
    InterpreterClosed,
    RunFailed,
    _finish,
    _Request,
    _wait_for_end,
    create,
    create_channel,
)
from microthread.worker import _send, _work

_PATIENCE = 0.05  # seconds until what is busy is interrupted


class Worker:
    """Run a function or source in an interpreter of its own, after the Web Workers of browsers.

    target: a function, called with clones of args, importable or of __main__ and no closure; or
    source, run in the __main__ there, where `args` is bound. Waits until the interpreter is ready.
    Inside are microthread.worker.messages() and post_message(). When the target returns, the worker
    ends; other micro-threads of it get MicroThreadExit.
    """

    def __init__(self, target: Callable[..., Any] | str, /, *args: Any) -> None:
        described = target if isinstance(target, str) else _functions.describe(target)
        inbox, self._outgoing = create_channel()
        self._incoming, outbox = create_channel()
        self._failure = _core.deferred()
        self._on_message: Callable[[Any], object] | None = None
        self._on_error: Callable[[BaseException], object] | None = None
        self._dispatcher: _core.micro_thread | None = None
        self._name = "source" if isinstance(target, str) else getattr(target, "__name__", "call")
        self._interpreter = create()
        self._core = self._interpreter._worker
        try:
            with inbox, outbox:
                work = (_functions.describe(_work), (described, args, inbox, outbox), {})
                request = _Request(self._interpreter, "call", work)
            tender = _core.spawn(_tend, request, self._failure)
            tender.name = f"end of {self!r}"
            tender.add_done_callback(partial(_stop, self._core))
        except BaseException:
            self._core.stop()
            raise

    def __repr__(self) -> str:
        ended = " ended" if self._core.is_stopping else ""
        return f"<Worker {self._name} in interpreter {self._interpreter.id}{ended}>"

    def post_message(self, obj: Any, transfer: Iterable[_core.SharedBuffer] = ()) -> None:
        """Send a clone of obj to microthread.worker.messages() in the worker. Never waits.

        transfer: SharedBuffers in obj that are detached here: ValueError on use. Raises CloneError,
        PipeClosed when the worker has ended, ValueError after close(); nothing is detached then.
        BufferError for a buffer of which views live.
        """
        _send(self._outgoing, obj, transfer)

    def close(self) -> None:
        """Post no more: messages() in the worker ends after those that were posted."""
        self._outgoing.close()

    @property
    def on_message(self) -> Callable[[Any], object] | None:
        """Called with each message, one after the other, each time in a micro-thread of its own.

        Messages queue until it is set. None: they go to the iteration over the worker.
        """
        return self._on_message

    @on_message.setter
    def on_message(self, handler: Callable[[Any], object] | None) -> None:
        self._on_message = _check_handler("on_message", handler)
        if handler is None:
            if self._dispatcher is not None:
                self._dispatcher.cancel()
                self._dispatcher = None
        elif self._dispatcher is None:
            self._dispatcher = _core.spawn(self._dispatch)
            self._dispatcher.name = f"messages of {self!r}"

    @property
    def on_error(self) -> Callable[[BaseException], object] | None:
        """Called with the RunFailed when the worker ended by an exception, once it is set.

        Without it microthread.excepthook reports that, when the Worker is dropped.
        """
        return self._on_error

    @on_error.setter
    def on_error(self, handler: Callable[[BaseException], object] | None) -> None:
        self._on_error = _check_handler("on_error", handler)
        if handler is not None:
            self._failure.add_callbacks(None, self._hand_over)

    def __iter__(self) -> "Worker":
        return self

    def __next__(self) -> Any:
        """The next message; the end when the worker has ended and none is left.

        Raises RuntimeError while on_message is set, which gets them.
        """
        if self._on_message is not None:
            raise RuntimeError(f"the messages of {self!r} go to its on_message")
        try:
            return self._incoming.recv()
        except EOFError:
            raise StopIteration from None

    def terminate(self) -> None:
        """End it, without waiting: its micro-threads get MicroThreadExit where they wait.

        What is still busy after 50 ms is interrupted by the same exception, and what goes on after ten
        of them at each line; but nothing inside of a long call of C code.
        """
        if not self._core.is_stopping:
            self._core.stop()
            _core.spawn(_hurry, self._core).name = f"terminate {self!r}"

    def join(self, timeout: float | None = None) -> None:
        """Wait until nothing of it is left. Does not raise what it raised: see on_error."""
        _wait_for_end(self._core, timeout)

    def _dispatch(self):
        for message in self._incoming:
            _core.spawn(self._on_message, message)._join()

    def _hand_over(self, exception):
        if self._on_error is None:
            raise exception
        _core.spawn(self._on_error, exception)


def _check_handler(name, handler):
    if handler is not None and not callable(handler):
        raise TypeError(f"{name} must be callable or None, got {type(handler).__name__}")
    return handler


def _stop(core, tender):
    """End the interpreter once its target has ended, or there was no memory to wait for that."""
    core.stop()


def _tend(request, failure):
    """Wait for the target's end; it holds no Worker, which may be dropped."""
    try:
        _finish(request.wait())
    except (InterpreterClosed, CancelledError):
        pass  # terminated
    except RunFailed as error:
        if error.type_name != "SystemExit":
            failure.errback(error)


def _hurry(core):
    """Interrupt what does not give way, again and again until it has ended."""
    while True:
        core.interrupt()
        try:
            return _wait_for_end(core, _PATIENCE)
        except TimeoutError:
            continue


Worker.__module__ = "microthread.interpreters"
