# SPDX-License-Identifier: MIT
"""What an interpreter of interpreters.create() runs: it serves requests until it is told to stop.

A request is (kind, reply, parcel): reply is the sending end of a channel that gets one answer, (True,
value) or (False, type_name, message, formatted, parcel of the exception or None), and closes with the
request whatever happens, so nobody waits in vain.
"""

import sys
import traceback

from microthread import _core, _functions

_REFUSAL = "does not support loading in subinterpreters"

_OURS = (__file__, _functions.__file__, __file__.replace("_worker.py", "worker.py"))

_main: dict = vars(sys.modules["__main__"])
_running: dict[int, _core.micro_thread] = {}  # by the id of the channel for the answer


def serve() -> None:
    """The main micro-thread of the interpreter; returns when it has stopped."""
    worker = _core._worker_here()
    requests, stop = worker.take_ends()
    server = _core.spawn(_take_requests, worker, requests)
    server.name = "server"
    worker.announce()
    try:
        stop.recv()
    except (EOFError, SystemExit, KeyboardInterrupt):
        pass  # told to; or some micro-thread has ended the whole interpreter
    worker.stop()
    server.cancel()
    requests.close()
    _core._shut_down()


def _take_requests(worker, requests):
    """Begin what is asked for. What cannot be begun is answered with the reason; others go on."""
    try:
        for kind, reply, parcel in _received(requests):
            try:
                _take_request(worker, kind, reply, parcel)
            except Exception as exception:
                if reply is not None:
                    with reply:
                        _answer(reply, _failure(exception))
    except ValueError:
        if not requests.closed:  # which it is when a request came just before the end
            raise


def _received(requests):
    """What comes. One for which there is no memory is lost: its asker hears that no answer will come."""
    while True:
        try:
            yield next(requests)
        except StopIteration:
            return
        except MemoryError:
            _core.sleep(0.01)  # until others have given some back


def _take_request(worker, kind, reply, parcel):
    if kind == "cancel":
        thread = _running.get(parcel)
        if thread is not None:
            thread.cancel()
        return
    if kind == "dump":
        with reply:
            _answer(reply, _describe())
        return
    thread = _core.spawn(_KINDS[kind], worker, reply, parcel)
    _running[reply.id] = thread
    thread.add_done_callback(_Ended(reply))


def _describe():
    from microthread._seeing import describe_interpreter

    return "".join(describe_interpreter())


class _Ended:
    """Called when a request's micro-thread is done, also if it never ran: the answer is over."""

    def __init__(self, reply):
        self._reply = reply

    def __call__(self, thread):
        _running.pop(self._reply.id, None)
        if thread.cancelled():
            _answer(self._reply, (None,))
        self._reply.close()


def _answer(reply, message):
    try:
        reply.send_nowait(message)
    except (_core.PipeClosed, ValueError):
        pass  # nobody wants to know


def _attempt(worker, work, *args):
    """The answer: what came of work(*args). Cancelled, and the end of the interpreter, pass through."""
    try:
        value = work(*args)
        return (True, None if value is None else _core._pack(value))
    except _core.Cancelled:
        raise
    except _core.MicroThreadExit:
        if worker.is_stopping:
            raise
        return (True, None)
    except BaseException as exception:
        message = _failure(exception)
        _forget(exception)
        return message


def _call(worker, reply, parcel):
    _answer(reply, _attempt(worker, _call_described, parcel))


def _call_described(parcel):
    described, args, kwargs = parcel.open()
    return _functions.find(described)(*args, **kwargs)


def _run(worker, reply, parcel):
    try:
        message = _attempt(worker, _run_source, parcel)
    finally:
        worker.end()
    _answer(reply, message)


def _run_source(parcel):
    source, names = parcel.open()
    _main.update(names)
    exec(compile(source, "<run>", "exec"), _main)


def _prepare(worker, reply, parcel):
    try:
        _main.update(parcel.open())
        message = (True, None)
    except Exception as exception:
        message = _failure(exception)
    _answer(reply, message)


_KINDS = {"call": _call, "run": _run, "prepare": _prepare}


def serve_map(described, tasks, answers):
    """Call the function for each task, (number, args), in a micro-thread of its own.

    Each gets (number, answer). What microthread._spread runs for a parallel_map().
    """
    from microthread._group import Group

    fn, worker = _functions.find(described), _core._worker_here()
    with tasks, answers, Group() as group:
        for number, args in tasks:
            group.spawn(_map_one, worker, fn, number, args, answers)


def _map_one(worker, fn, number, args, answers):
    message = (None,)
    try:
        message = _attempt(worker, fn, *args)
    finally:
        if not worker.is_stopping:  # or the end of the channel says more
            _answer(answers, (number, message))


def _failure(exception):
    """The answer that says what was raised, without the frames of this file."""
    if isinstance(exception, ImportError) and _REFUSAL in str(exception):
        exception = _explain(exception)
    trace = exception.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in _OURS:
        trace = trace.tb_next
    cls = type(exception)
    name = cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    try:
        text = str(exception)
    except Exception:
        text = "<the exception's text cannot be had>"
    try:
        formatted = "".join(traceback.format_exception(cls, exception, trace))
    except Exception:
        formatted = f"{name}: {text}\n"
    try:
        parcel = _core._pack(exception)
    except Exception:
        parcel = None
    return (False, name, text, formatted, parcel)


def _explain(refusal):
    told = ImportError(
        f"{refusal}; an interpreter of create(own_gil=False) can load it", name=refusal.name,
        path=refusal.path,
    )
    return told.with_traceback(refusal.__traceback__)


def _forget(exception):
    """Its frames are of no use any more, and may hold much."""
    exception.__traceback__ = None
