# SPDX-License-Identifier: MIT
"""Many interpreters in one process, each with an OS thread, a scheduler and a loop of its own.

On CPython 3.12 and later each has its own GIL, so Python code runs in parallel; on 3.11 they share one
and PARALLEL is False. Channels carry messages, which are clones, between micro-threads of any of them.
Every call waits for its micro-thread only.
"""

import importlib
import os
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

from microthread import _core, _functions
from microthread._core import (
    CloneError,
    RecvChannel,
    SendChannel,
    SharedBuffer,
    clone,
    create_channel,
    register_clone,
)
from microthread._shared_sync import Condition, Event, Lock, Semaphore

__all__ = [
    "PARALLEL",
    "CloneError",
    "Condition",
    "Event",
    "Interpreter",
    "InterpreterClosed",
    "Lock",
    "RecvChannel",
    "RunFailed",
    "Semaphore",
    "SendChannel",
    "SharedBuffer",
    "Space",
    "Worker",
    "clone",
    "create",
    "create_channel",
    "get_current",
    "get_main",
    "list_all",
    "register_clone",
]

PARALLEL: bool = _core._PARALLEL

_LATER = {"Space": "_spaces", "Worker": "_posting"}

_known: weakref.WeakValueDictionary[int, "Interpreter"] = weakref.WeakValueDictionary()


class InterpreterClosed(RuntimeError):
    """The interpreter was closed, or is being closed."""


class RunFailed(RuntimeError):
    """An exception that nobody caught in another interpreter.

    type_name: module.QualName of its class, builtins bare. message: its text. formatted: its
    traceback. __cause__: the exception itself, rebuilt, where that can be done.
    """

    def __init__(self, type_name: str, message: str, formatted: str) -> None:
        super().__init__(type_name, message, formatted)
        self.type_name = type_name
        self.message = message
        self.formatted = formatted

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}" if self.message else self.type_name


class Interpreter:
    """An interpreter, as create(), list_all(), get_current() and get_main() give it.

    The same interpreter is always the same object.
    """

    def __init__(self, *args: Any) -> None:
        raise TypeError("use create() to make an interpreter")

    @property
    def id(self) -> int:
        """Its number in the process; the main one's is 0."""
        return self._id

    def __repr__(self) -> str:
        closed = self._worker is not None and self._worker.is_stopping
        return f"<Interpreter {self._id}{' closed' if closed else ''}>"

    def is_running(self) -> bool:
        """Whether its __main__ runs: the main one always, others during run()."""
        return self._id == 0 if self._worker is None else self._worker.is_busy

    def close(self, timeout: float | None = None) -> None:
        """End it: its micro-threads get MicroThreadExit, and this waits until they have left.

        timeout: seconds >= 0, None for no limit; after a TimeoutError it is still ending. Closing
        twice is allowed. RuntimeError for the main interpreter and from inside.
        """
        if self._worker is None:
            raise RuntimeError(f"{self!r} was not made by create(): it cannot be closed")
        if self._id == _own_id():
            raise RuntimeError(f"{self!r} cannot close itself")
        self._worker.stop()
        _wait_for_end(self._worker, timeout)

    def prepare_main(self, /, **names: Any) -> None:
        """Bind clones of these in its __main__. Raises CloneError, a ValueError, for what has none."""
        _finish(_Request(self, "prepare", names).wait())

    def run(self, source: str, /, **shared: Any) -> None:
        """Run source in its __main__ and wait for its end; `shared` is bound there before.

        Raises RunFailed for what it raises, RuntimeError when another run() is under way there.
        """
        if not isinstance(source, str):
            raise TypeError(f"source must be a str, got {type(source).__name__}")
        worker = self._need_worker()
        parcel = _core._pack((source, shared))
        if not worker.begin():
            raise RuntimeError(f"{self!r} is running already: another run() has not ended")
        try:
            request = _Request(self, "run", None, parcel)
        except BaseException:
            worker.end()
            raise
        _finish(request.wait())

    def call(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call fn there, in a micro-thread of its own, and return a clone of its value.

        fn: an importable function, or one of __main__ that is no closure. Raises RunFailed for what it
        raises, CloneError for what cannot be cloned. When the caller is cancelled so is fn, and its
        end is waited for.
        """
        return _finish(_Request(self, "call", (_functions.describe(fn), args, kwargs)).wait())

    def spawn(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> _core.micro_thread:
        """As call(), without waiting: returns a micro_thread that stands for the one over there.

        Its wait() gives the value, its cancel() cancels the other one.
        """
        request = _Request(self, "call", (_functions.describe(fn), args, kwargs))
        handle = _core.micro_thread(_follow, (request,))
        handle.name = f"{getattr(fn, '__name__', 'call')} in interpreter {self._id}"
        handle.add_done_callback(request.note_end)
        handle.start()
        return handle

    def _need_worker(self):
        if self._worker is None:
            raise RuntimeError(f"{self!r} was not made by create(): it takes no requests")
        if self._worker.is_stopping:
            raise InterpreterClosed(f"{self!r} is closed")
        return self._worker

    def _requests(self):
        if self._channel is None:
            self._channel = self._need_worker().requests()
        return self._channel


class _Request:
    """Something that an interpreter was asked to do, until its answer is here."""

    def __init__(self, interpreter, kind, content, parcel=None):
        interpreter._need_worker()
        self._interpreter = interpreter
        self._was_closed = False
        self._answer, reply = create_channel()
        if parcel is None:
            parcel = _core._pack(content)
        try:
            interpreter._requests().send_nowait((kind, reply, parcel))
        except _core.PipeClosed:
            raise self._closed() from None
        finally:
            reply.close()

    def _closed(self):
        return InterpreterClosed(f"{self._interpreter!r} was closed before it had answered")

    def wait(self):
        """The answer. A cancellation is passed on, and then waits for what comes of it."""
        message = self._wait()
        if message[0] is False and _core._is_leaving():
            _core.yield_now()  # told to leave, as all are: that others left may be why it failed
        return message

    def _wait(self):
        try:
            return self._receive()
        except _core.Cancelled:
            self.abandon()
            message = self._receive()
            if message[0] is None:
                raise
            return message
        except BaseException:
            self.abandon()
            raise

    def _receive(self):
        try:
            message = self._answer.recv()
        except EOFError:
            self._was_closed = True
            if _core._is_ending():
                raise _core.MicroThreadExit from None  # which is what everybody here gets
            raise self._closed() from None
        self._answer.close()
        return message

    def note_end(self, handle):
        """For the one who waits for it. That it was closed is no failure to report: nobody asked."""
        self.abandon()
        if self._was_closed and not handle.cancelled():
            handle.exception()

    def abandon(self):
        """Cancel it over there, unless the answer is here."""
        if self._answer.closed:
            return
        try:
            self._interpreter._requests().send_nowait(("cancel", None, self._answer.id))
        except (_core.PipeClosed, RuntimeError, ValueError):
            pass  # closed meanwhile


def _follow(request):
    message = request.wait()
    if message[0] is None:
        raise _core.Cancelled("it was cancelled in the other interpreter")
    return _finish(message)


def _finish(message):
    """The value of an answer, or its exception."""
    done, *rest = message
    if done:
        return None if rest[0] is None else rest[0].open()
    if done is None:
        raise CancelledError("it was cancelled in the other interpreter")
    type_name, text, formatted, parcel = rest
    failure = RunFailed(type_name, text, formatted)
    if hasattr(failure, "add_note"):
        failure.add_note("in the other interpreter:\n" + formatted.rstrip())
    try:
        cause = None if parcel is None else parcel.open()
    except Exception:
        cause = None  # its class cannot be imported here
    try:
        raise failure from cause
    finally:
        del failure, cause


def _original(failure):
    """The exception behind it, with a note of where it came from, or itself if that has not come."""
    cause = failure.__cause__
    if cause is None:
        return failure
    failure.__cause__ = None  # it becomes the context of its cause: no cycle
    cause.add_note("in another interpreter:\n" + failure.formatted.rstrip())
    return cause


def create(*, own_gil: bool = True) -> Interpreter:
    """Make an interpreter in an OS thread of its own and wait until it is ready.

    own_gil=False: it shares the main interpreter's GIL, for extension modules that refuse to be
    loaded otherwise; on 3.11 all do. It ends by close(), or with the process.
    """
    if sys.version_info[:2] == (3, 12):
        import datetime  # noqa: F401  # loaded first elsewhere, 3.12 aborts at exit

    paths = b"".join(os.fsencode(path) + b"\0" for path in sys.path if isinstance(path, str) and path)
    worker = _core._start_worker(paths, bool(own_gil))
    try:
        with worker.hello() as hello:
            hello.recv()
    except EOFError:
        pass
    except BaseException:
        worker.stop()
        raise
    if not worker.is_ready:
        raise RuntimeError(f"the interpreter could not be created: {worker.error}")
    return _known_as(worker.id, worker)


def _wait_for_end(worker, timeout):
    """Wait until nothing of it is left. All who wait have the same end of the channel: none closes it."""
    try:
        worker.ended().recv(timeout)
    except EOFError:
        pass


def _known_as(number, worker):
    interpreter = _known.get(number)
    if interpreter is None:
        interpreter = Interpreter.__new__(Interpreter)
        interpreter._id = number
        interpreter._worker = worker
        interpreter._channel = None
        _known[number] = interpreter
    return interpreter


def _of_ids(numbers):
    """The Interpreters with these ids, once each."""
    workers = {worker.id: worker for worker in _core._workers()}
    return [_known_as(number, workers.get(number)) for number in dict.fromkeys(numbers)]


def _own_id():
    worker = _core._worker_here()
    return 0 if worker is None else worker.id


def list_all() -> list[Interpreter]:
    """The main interpreter and all that create() has made and nobody has closed."""
    workers = [worker for worker in _core._workers() if worker.is_ready and not worker.is_stopping]
    return [get_main(), *(_known_as(worker.id, worker) for worker in workers)]


def get_current() -> Interpreter:
    """The interpreter that this code runs in."""
    worker = _core._worker_here()
    return get_main() if worker is None else _known_as(worker.id, worker)


def get_main() -> Interpreter:
    """The interpreter that the process began with."""
    return _known_as(0, None)


def __getattr__(name: str) -> Any:
    """Load what stands on top of this on first use."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"microthread.{_LATER[name]}"), name)
    globals()[name] = value
    return value
